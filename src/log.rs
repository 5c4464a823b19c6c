//! [`Log`]: open = recover + commit; the Rust API.

use std::path::Path;

use crate::base::options::Options;
use crate::base::Result;

/// What a caller hands in: one record.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The payload; twal never looks into it.
    pub data: &'a [u8],
    /// A tag: shard, tenant, region.
    pub stream: u64,
    /// None: the logical clock.
    pub timestamp: Option<i64>,
    /// The caller's own types start at 0x0100.
    pub kind: u16,
    /// A reader that does not know the type must stop.
    pub required: bool,
}

/// How one append departs from the log's mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Return when durable.  None: as the log's mode says.
    pub sync: Option<bool>,
    /// Never wait for room: [`Code::Again`](crate::base::Code::Again) instead.
    pub no_wait: bool,
}

/// One record read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub seq: u64,
    /// Its tag.
    pub stream: u64,
    /// The caller's, or the logical clock's.
    pub timestamp: i64,
    /// Its type.
    pub kind: u16,
    /// A reader that does not know the type must stop.
    pub required: bool,
    /// More records of the same batch follow.
    pub batch_continues: bool,
    /// The payload, at an 8-byte aligned address.
    pub data: &'a [u8],
}

/// How the log ended when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// Behind the last frame was nothing of this log's.
    #[default]
    Clean,
    /// A frame that nothing acknowledged was half there; it was cut off.
    Torn,
    /// Acknowledged data is damaged (read-only open; a writer is refused).
    Damaged,
}

/// What open found.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Open made a new log.
    pub created: bool,
    /// Oldest number that can be read; last_seq + 1 if there is none.
    pub first_seq: u64,
    /// Newest number.
    pub last_seq: u64,
    /// Records from first_seq to last_seq.
    pub records: u64,
    /// Highest number that a frame or header of the log says was durable.
    pub witnessed_seq: u64,
    /// Segments that are not archived.
    pub segments: u64,
    /// Bytes behind the end that held something and were cut off.
    pub bytes_cut: u64,
    /// Frames that nothing witnessed, written again before this report.
    pub frames_rewritten: u64,
    /// How the log ended.
    pub tail: Tail,
    /// Index of the segment where it ends.
    pub end_segment: u64,
    /// Offset of the end in it, bytes.
    pub end_offset: u64,
    /// How long open took, microseconds.
    pub duration_us: u64,
}

/// What an open log has counted since it was opened.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // each is documented in the C header: twal_stats
pub struct Stats {
    pub records: u64,
    pub record_bytes: u64,
    pub batches: u64,
    pub frames: u64,
    pub frames_by_appender: u64,
    pub frames_by_writer: u64,
    pub marks: u64,
    pub flushes: u64,
    pub device_bytes: u64,
    /// Always 0: no acknowledged block is ever written again.
    pub bytes_written_twice: u64,
    pub segments_created: u64,
    pub segments_sealed: u64,
    pub segments_archived: u64,
    pub segments_removed: u64,
    pub segments_recycled: u64,
    pub spare_waits: u64,
    pub ring_waits: u64,
    pub ring_bytes: u64,
    pub refused_again: u64,
    pub refused_timeout: u64,
    pub refused_nospace: u64,
    pub corrupted_records: u64,
    pub recoveries: u64,
    pub poisoned: bool,
    pub engine: &'static str,
    pub engine_reason: String,
    pub file_system: String,
    pub block_size: u64,
    pub segment_size: u64,
    pub ring_size: u64,
    pub record_size_max: u64,
}

/// An open log.  Any thread may call; a clone is another handle to the same log.
#[derive(Clone)]
pub struct Log {
    _todo: (),
}

/// A reader of one log, for one thread at a time.
pub struct Iter {
    _todo: (),
}

#[allow(unused_variables, missing_docs)]
impl Log {
    pub fn open(dir: &Path, options: &Options) -> Result<Log> {
        unimplemented!()
    }
    pub fn append(&self, entry: &Entry<'_>, how: How) -> Result<u64> {
        unimplemented!()
    }
    pub fn append_batch<'a, I>(&self, entries: I, how: How) -> Result<u64>
    where
        I: ExactSizeIterator<Item = Entry<'a>> + Clone,
    {
        unimplemented!()
    }
    /// 0 = all accepted when the call begins.
    pub fn sync(&self, seq: u64) -> Result<()> {
        unimplemented!()
    }
    /// None = for ever; Some(0) looks.
    pub fn wait(&self, seq: u64, timeout_ns: Option<u64>) -> Result<()> {
        unimplemented!()
    }
    pub fn first_seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn last_seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn durable_seq(&self) -> u64 {
        unimplemented!()
    }
    pub fn trim(&self, below_seq: u64) -> Result<()> {
        unimplemented!()
    }
    pub fn roll(&self) -> Result<()> {
        unimplemented!()
    }
    pub fn iter(&self, from_seq: u64) -> Result<Iter> {
        unimplemented!()
    }
    pub fn report(&self) -> RecoveryReport {
        unimplemented!()
    }
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }
    /// Everything durable, every caller let out; later calls get Closed.
    pub fn close(&self) -> Result<()> {
        unimplemented!()
    }
    /// What a forked child does instead of close: closes the descriptors, touches neither disk nor lock.
    pub fn abandon_in_child(&self) {
        unimplemented!()
    }
}

#[allow(missing_docs)]
impl Iter {
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        unimplemented!()
    }
}
