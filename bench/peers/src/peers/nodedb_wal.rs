//! nodedb-wal.
//!
//! - SegmentedWal, "the primary WAL interface for production use", with its defaults:
//!   O_DIRECT, a write buffer of 2 MiB, segments of 64 MiB.
//! - It is to be kept in a mutex, by its documentation, and its append only buffers:
//!   sharing a sync between threads is left to its user.  Here as in NodeDB: whoever
//!   waits first leads, one sync covers all that was appended before it, the others
//!   wait for that or lead the next.
//! - With `DOUBLE_WRITE` its default, a second copy of the newest records in a buffer
//!   file, which is flushed before each sync; without, DwbMode::Off.
//! - It takes nothing ahead: its segments grow.  Its feature io-uring is a writer of a
//!   single file without segments, so not a log to compare with.
//! - No commit-time anchors and no encryption, as by default.

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
    commit: Mutex<Commit>,
    /// A sync has ended.
    ended: Condvar,
}

/// How far syncs have come.
struct Commit {
    durable_lsn: u64,
    has_leader: bool,
}

impl<const DOUBLE_WRITE: bool> NodedbWal<DOUBLE_WRITE> {
    fn append(&self, record: &[u8]) -> Result<u64, Failure> {
        let mut wal = self.wal.lock().expect("no thread panics");
        Ok(wal.append(RecordType::Put as u32, 1, 0, 0, record)?)
    }

    fn wait_durable(&self, lsn: u64) -> Result<(), Failure> {
        let mut commit = self.commit.lock().expect("no thread panics");
        while commit.durable_lsn < lsn {
            if commit.has_leader {
                commit = self.ended.wait(commit).expect("no thread panics");
                continue;
            }
            commit.has_leader = true;
            drop(commit);
            let synced = {
                let mut wal = self.wal.lock().expect("no thread panics");
                wal.sync().map(|()| wal.next_lsn() - 1)
            };
            commit = self.commit.lock().expect("no thread panics");
            commit.has_leader = false;
            self.ended.notify_all(); // after a failure the next one leads, and fails, too
            commit.durable_lsn = synced?;
        }
        Ok(())
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
            commit: Mutex::new(Commit { durable_lsn: 0, has_leader: false }),
            ended: Condvar::new(),
        })
    }

    fn producer(&self, _number: u64) -> Result<Buffered<'_, DOUBLE_WRITE>, Failure> {
        Ok(Buffered { log: self, last_lsn: 0 })
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
    last_lsn: u64,
}

impl<const DOUBLE_WRITE: bool> Producer for Buffered<'_, DOUBLE_WRITE> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.write(record)?;
        self.flush()
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.last_lsn = self.log.append(record)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.log.wait_durable(self.last_lsn)
    }
}
