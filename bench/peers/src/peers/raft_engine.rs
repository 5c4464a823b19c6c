//! raft-engine.
//!
//! - `write` with sync = true: threads queue, the first writes for all and calls
//!   fdatasync once.  Each thread has a Raft group of its own, as threads of a store
//!   have; groups share one log.
//! - A LogBatch takes many entries: batches, and writes without waiting, go that way.
//! - `Engine::sync` is not used: it writes an empty batch, and an empty batch returns
//!   before any flush (0.4.2).  So the last write before a flush is never empty here.
//! - batch_compression_threshold 0: no compression; it would be measured on a pattern.
//! - enable_log_recycle (the default) and prefill_for_recycle, so that it overwrites
//!   written blocks, which its configuration offers for exactly this.  As many files
//!   are filled ahead as the slice may need, of 64 MiB as twal's segments.
//! - Entries are protobuf messages by its API; BytesValue is the thinnest there is.
//! - purge_expired_files is not called in a slice: nothing is compacted, it would
//!   only look.
//! - Built without its default features, which are for scripting and for its own tools.

use std::path::Path;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::args::{Spec, Workload};
use crate::workload::{number_of, Checker, Failure, Log, Producer};

const FILE_BYTES: u64 = 64 << 20;
/// Files are filled ahead for at most this much.
const PREFILL_MAX: u64 = 2 << 30;
/// Writes without waiting gather this much.
const BATCH_BYTES: usize = 256 << 10;
/// What an entry takes beside its payload, about.
const OVERHEAD: u64 = 64;
/// Entries fetched at a time.
const FETCH: u64 = 1000;

struct Entries;

impl MessageExt for Entries {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        number_of(&entry.value)
    }
}

fn config(dir: &Path, prefill: u64) -> Result<Config, Failure> {
    Ok(Config {
        dir: dir.to_str().ok_or("the directory's name is not UTF-8")?.to_owned(),
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(FILE_BYTES),
        prefill_for_recycle: prefill > 0,
        prefill_limit: (prefill > 0).then_some(ReadableSize(prefill)),
        ..Config::default()
    })
}

pub struct RaftEngine(Engine);

impl Log for RaftEngine {
    const CONFIGURATION: &'static str =
        "no compression, target_file_size 64 MiB, log recycling with files filled ahead; \
         a Raft group a thread, a batch is a LogBatch";

    type Producer<'a> = Group<'a>;

    fn open(dir: &Path, spec: &Spec) -> Result<Self, Failure> {
        let of_rate = |rate| spec.payload_bytes(rate) / spec.bytes as u64 * (spec.bytes as u64 + OVERHEAD);
        let may_write = match spec.workload {
            Workload::Sync => of_rate(200_000),
            Workload::Offered => of_rate(spec.rate.unwrap_or(0)),
            Workload::Fill | Workload::Replay => 0, // how it is written is not measured
            Workload::Async | Workload::Batch => spec.payload_bytes(4_000_000).max(PREFILL_MAX / 4),
        };
        // It makes half as many again as it is told to.
        let prefill = may_write.min(PREFILL_MAX).next_multiple_of(FILE_BYTES * 3) / 3 * 2;
        Ok(RaftEngine(Engine::open(config(dir, prefill)?)?))
    }

    fn producer(&self, number: u64) -> Result<Group<'_>, Failure> {
        let pending = (Vec::new(), 0, 0);
        Ok(Group { engine: &self.0, group: number + 1, batch: LogBatch::default(), pending })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(()) // dropping it closes it
    }

    fn replay(dir: &Path, spec: &Spec, mut checker: Checker) -> Result<Checker, Failure> {
        let engine = Engine::open(config(dir, 0)?)?;
        let (group, last) = (1, spec.count.unwrap_or(0));
        let mut entries = Vec::new();
        for first in (1..=last).step_by(FETCH as usize) {
            entries.clear();
            engine.fetch_entries_to::<Entries>(group, first, (first + FETCH).min(last + 1), None, &mut entries)?;
            entries.iter().try_for_each(|entry| checker.check(&entry.value))?;
        }
        Ok(checker)
    }
}

pub struct Group<'a> {
    engine: &'a Engine,
    group: u64,
    batch: LogBatch,
    /// Entries, kept for their memory; how many of them wait to be written; their bytes.
    pending: (Vec<BytesValue>, usize, usize),
}

impl Group<'_> {
    fn push(&mut self, record: &[u8]) {
        let (entries, waiting, bytes) = &mut self.pending;
        if *waiting == entries.len() {
            entries.push(BytesValue::new());
        }
        entries[*waiting].value.clear();
        entries[*waiting].value.extend_from_slice(record);
        *waiting += 1;
        *bytes += record.len();
    }

    fn drain(&mut self, sync: bool) -> Result<(), Failure> {
        let (entries, waiting, bytes) = &mut self.pending;
        self.batch.add_entries::<Entries>(self.group, &entries[..*waiting])?;
        self.engine.write(&mut self.batch, sync)?;
        (*waiting, *bytes) = (0, 0);
        Ok(())
    }
}

impl Producer for Group<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.push(record);
        self.drain(true)
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        // Before the push: something is left for the flush.
        if self.pending.2 >= BATCH_BYTES {
            self.drain(false)?;
        }
        self.push(record);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self.pending.1 {
            0 => Ok(()), // the last flush covered all
            _ => self.drain(true),
        }
    }
}
