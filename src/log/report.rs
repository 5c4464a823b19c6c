//! What a log tells: records, how it was found, what was counted.

use crate::format::record::{FLAG_BATCH_CONTINUES, FLAG_REQUIRED};
use crate::format::RecordHeader;
use crate::recover::examine::Examined;
use crate::segment::{retain, Directory};

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
    /// Bytes of payload, also where `data` is not read.
    pub len: u32,
    /// The payload, at an 8-byte aligned address; of a reader of headers empty.
    pub data: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record with this header.
    pub(super) fn of(header: &RecordHeader, data: &'a [u8]) -> Record<'a> {
        Record {
            seq: header.seq,
            stream: header.stream,
            timestamp: header.timestamp,
            kind: header.kind,
            required: header.flags & FLAG_REQUIRED != 0,
            batch_continues: header.flags & FLAG_BATCH_CONTINUES != 0,
            len: header.len,
            data,
        }
    }
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
    /// Records from first_seq to last_seq; fewer than these numbers where compaction dropped some.
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
    /// First number that a repair cut; 0: none did, or it is no longer in the newest segment.
    pub repaired_seq: u64,
    /// The last number that what was cut still showed.
    pub repaired_last_seq: u64,
    /// Segments that the repair dropped.
    pub repaired_segments: u64,
    /// Bytes of frames that it cut off in the segment where the log ended then.
    pub repaired_bytes: u64,
    /// How many holds there are.
    pub holds: u64,
    /// The holds are damaged, were lost or cannot be read: nothing is given back until they are set anew.
    pub holds_damaged: bool,
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
    pub compactions: u64,
    pub segments_compacted: u64,
    pub records_purged: u64,
    pub compaction_bytes_saved: u64,
    pub poisoned: bool,
    pub engine: &'static str,
    pub engine_reason: String,
    pub file_system: String,
    pub block_size: u64,
    pub segment_size: u64,
    pub ring_size: u64,
    pub record_size_max: u64,
    pub queue_records: u64,
    pub queue_bytes: u64,
    pub frames_in_flight: u64,
    pub device_busy_ns: u64,
    pub elapsed_ns: u64,
    pub durable_waits: u64,
    pub refused_poisoned: u64,
    pub refused_other: u64,
    pub refused_inval: u64,
    pub refused_toobig: u64,
    pub spare_failures: u64,
    pub compactions_failed: u64,
    pub saga_events: u64,
    pub transaction_events: u64,
    pub stream_events: u64,
    pub checkpoints: u64,
    pub checkpoints_failed: u64,
}

/// What is measured of each, and not only counted: [`Log::histogram`](super::Log::histogram).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// Of each frame, nanoseconds from its first record's acceptance until its write begins.
    QueueWait,
    /// Of each frame, nanoseconds of its write; that of a durable one includes the flush.
    Write,
    /// Of each flush, nanoseconds; also of writes that include it.
    Flush,
    /// Of each append that waits until it is durable, nanoseconds of the whole call.
    Append,
    /// Records of each frame.
    FrameRecords,
    /// Bytes of each frame, as it is on the device.
    FrameBytes,
}

/// Segments that are not archived.
pub(super) fn live_segments(directory: &Directory) -> u64 {
    let segments = directory.segments();
    crate::base::bytes::len_u64(segments.len() - retain::first_live(&segments))
}

/// Records from one number to another, of which `purged` are gone.  Beside a writer `first_seq` may have moved beyond
/// what was last when it was looked for.
pub(super) fn count_of(first_seq: u64, last_seq: u64, purged: u64) -> u64 {
    (last_seq + 1).saturating_sub(first_seq).saturating_sub(purged)
}

/// The report on a log that is whole.
pub(super) fn of_examined(directory: &Directory, found: &Examined) -> RecoveryReport {
    let first_seq = directory.first_seq();
    RecoveryReport {
        created: false,
        first_seq,
        last_seq: found.end.last_seq,
        records: count_of(first_seq, found.end.last_seq, found.purged),
        witnessed_seq: found.witnessed.seq,
        segments: live_segments(directory),
        bytes_cut: found.bytes_cut,
        frames_rewritten: 0,
        tail: if found.torn { Tail::Torn } else { Tail::Clean },
        end_segment: found.newest.name.index,
        end_offset: found.end_offset,
        duration_us: 0,
        repaired_seq: found.cut.map_or(0, |(first_seq, _)| first_seq),
        repaired_last_seq: found.cut.map_or(0, |(_, cut)| cut.last_seq),
        repaired_segments: found.cut.map_or(0, |(_, cut)| cut.segments),
        repaired_bytes: found.cut.map_or(0, |(_, cut)| cut.bytes),
        holds: 0,
        holds_damaged: false,
    }
}

#[cfg(test)]
mod tests {
    use super::count_of;

    #[test]
    fn what_was_released_meanwhile_is_not_counted() {
        assert_eq!(count_of(5, 14, 3), 7);
        assert_eq!(count_of(15, 14, 0), 0);
        assert_eq!(count_of(30, 14, 3), 0);
    }
}
