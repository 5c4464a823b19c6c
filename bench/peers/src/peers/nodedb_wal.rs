//! nodedb-wal.
//!
//! - SegmentedWal, "the primary WAL interface for production use", with its defaults:
//!   O_DIRECT, a write buffer of 2 MiB, segments of 64 MiB.
//! - It is to be kept in a mutex, by its documentation, and its append only buffers:
//!   sharing a sync between threads is left to its user.  Here, as in NodeDB, whoever
//!   waits first leads, and the others wait for that sync or lead the next.  But in
//!   NodeDB nobody can append during a sync, because that holds the mutex; here those
//!   who come meanwhile queue their records, and the next leader appends them all,
//!   which with 64 threads makes groups several times as large.
//! - With `DOUBLE_WRITE` its default, a second copy of the newest records in a buffer
//!   file, which is flushed before each sync; without, DwbMode::Off.
//! - It takes nothing ahead: its segments grow.  Its feature io-uring is a writer of a
//!   single file without segments, so not a log to compare with.
//! - No commit-time anchors and no encryption, as by default.

use std::mem;
use std::path::Path;
use std::sync::{Condvar, Mutex};

use nodedb_wal::mmap_reader::MmapWalReader;
use nodedb_wal::segment::discover_segments;
use nodedb_wal::{verify_committed_prefix, DwbMode, RecordType, SegmentedWal, SegmentedWalConfig};

use crate::args::Spec;
use crate::workload::{Checker, Failure, Log, Producer};

fn config(dir: &Path, double_write: bool) -> SegmentedWalConfig {
    let mut config = SegmentedWalConfig::new(dir.to_owned());
    if !double_write {
        config.writer_config.dwb_mode = Some(DwbMode::Off);
    }
    config
}

pub struct NodedbWal<const DOUBLE_WRITE: bool> {
    wal: Mutex<SegmentedWal>,
    queue: Mutex<Queue>,
    /// A sync has ended.
    ended: Condvar,
}

/// Records that wait for a leader, and how far leaders have come.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Where each record ends in them.
    ends: Vec<usize>,
    /// Records ever queued.
    queued: u64,
    /// Of those, the first so many are durable.
    durable: u64,
    has_leader: bool,
}

impl<const DOUBLE_WRITE: bool> NodedbWal<DOUBLE_WRITE> {
    fn append_durable(&self, record: &[u8]) -> Result<(), Failure> {
        let mut queue = self.queue.lock().expect("no thread panics");
        queue.bytes.extend_from_slice(record);
        let end = queue.bytes.len();
        queue.ends.push(end);
        queue.queued += 1;
        let number = queue.queued;
        while queue.durable < number {
            if queue.has_leader {
                queue = self.ended.wait(queue).expect("no thread panics");
                continue;
            }
            queue.has_leader = true;
            let (bytes, ends) = (mem::take(&mut queue.bytes), mem::take(&mut queue.ends));
            let last = queue.queued;
            drop(queue);
            let synced = self.append_and_sync(&bytes, &ends);
            queue = self.queue.lock().expect("no thread panics");
            queue.has_leader = false;
            self.ended.notify_all();
            synced?; // the others try after that; a writer whose sync failed fails for ever
            queue.durable = last;
        }
        Ok(())
    }

    fn append_and_sync(&self, bytes: &[u8], ends: &[usize]) -> Result<(), Failure> {
        let mut wal = self.wal.lock().expect("no thread panics");
        let mut begin = 0;
        for end in ends {
            wal.append(RecordType::Put as u32, 1, 0, 0, &bytes[begin..*end])?;
            begin = *end;
        }
        Ok(wal.sync()?)
    }
}

impl<const DOUBLE_WRITE: bool> Log for NodedbWal<DOUBLE_WRITE> {
    const CONFIGURATION: &'static str = if DOUBLE_WRITE {
        "SegmentedWal with its defaults: O_DIRECT, double write; one sync for all that wait"
    } else {
        "SegmentedWal with O_DIRECT, double write off; one sync for all that wait"
    };

    type Producer<'a> = Buffered<'a, DOUBLE_WRITE>;

    fn open(dir: &Path, _spec: &Spec) -> Result<Self, Failure> {
        Ok(NodedbWal {
            wal: Mutex::new(SegmentedWal::open(config(dir, DOUBLE_WRITE))?),
            queue: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    fn producer(&self, _number: u64) -> Result<Buffered<'_, DOUBLE_WRITE>, Failure> {
        Ok(Buffered { log: self })
    }

    fn close(self) -> Result<(), Failure> {
        self.wal.into_inner().expect("no thread panics").sync()?;
        Ok(())
    }

    fn replay(dir: &Path, _spec: &Spec, mut checker: Checker) -> Result<Checker, Failure> {
        // A segment at a time: faster than replay_segments_mmap, which gives all records at
        // once, and in a tenth of the memory.
        for segment in discover_segments(dir)? {
            let mut reader = MmapWalReader::open(&segment.path, None)?;
            let mut last_lsn = 0;
            while let Some(record) = reader.next_record()? {
                last_lsn = record.header.lsn;
                checker.check(&record.payload)?;
            }
            verify_committed_prefix(&segment.path, reader.stop_reason(), last_lsn)?;
        }
        Ok(checker)
    }
}

pub struct Buffered<'a, const DOUBLE_WRITE: bool> {
    log: &'a NodedbWal<DOUBLE_WRITE>,
}

impl<const DOUBLE_WRITE: bool> Producer for Buffered<'_, DOUBLE_WRITE> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.log.append_durable(record)
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        let mut wal = self.log.wal.lock().expect("no thread panics");
        wal.append(RecordType::Put as u32, 1, 0, 0, record)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        // Returns at once if another's sync covered all that was written here.
        let mut wal = self.log.wal.lock().expect("no thread panics");
        Ok(wal.sync()?)
    }
}
