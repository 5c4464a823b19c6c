//! What an open log has counted.

use std::ffi::{c_char, c_int};

use super::guard::{always, call, guard, Purpose};
use super::log::twal_log;
use super::sized::{self, put_text, Grows};
use crate::base::{Code, Error};
use crate::log::Stats;

/// What an open log has counted since it was opened, and how it works here.
/// Every field is a number of its own: taken one by one, not at one instant.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct twal_stats {
    /// sizeof(twal_stats), set by the caller.
    pub struct_size: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes of their payloads.
    pub record_bytes: u64,
    /// Batches of more than one record.
    pub batches: u64,
    /// Frames written: what one group commit writes; and the seals of segments.
    pub frames: u64,
    /// Of these, with records, written by an appending thread itself.
    pub frames_by_appender: u64,
    /// Of these, with records, written by the log's writer thread.
    pub frames_by_writer: u64,
    /// Marks written: empty frames that say what is durable.
    pub marks: u64,
    /// Flushes of the device for records, durable writes included.
    pub flushes: u64,
    /// Bytes of frames, seals and marks written to the device; not those of
    /// segments' headers, nor what prepares a file or rewrites one.
    pub device_bytes: u64,
    /// Always 0: no acknowledged block is ever written again.
    pub bytes_written_twice: u64,
    /// Segments made.
    pub segments_created: u64,
    /// Segments finished: rollovers.
    pub segments_sealed: u64,
    /// Segments released.
    pub segments_archived: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Segments whose file was used again.
    pub segments_recycled: u64,
    /// Times the log waited for a segment to be prepared.
    pub spare_waits: u64,
    /// Times an append waited for room.
    pub ring_waits: u64,
    /// Bytes accepted and not yet written, now.
    pub ring_bytes: u64,
    /// Appends refused with TWAL_E_AGAIN.
    pub refused_again: u64,
    /// Appends refused with TWAL_E_TIMEOUT.
    pub refused_timeout: u64,
    /// Appends refused with TWAL_E_NOSPC.  An event of transactions that is
    /// refused at options.log_size_max, and again behind the checkpoint that
    /// it then writes, counts twice.
    pub refused_nospace: u64,
    /// Damaged records met by readers.
    pub corrupted_records: u64,
    /// Recoveries of what was there: 0 for a new log, else 1.
    pub recoveries: u64,
    /// 1 if a write or flush has failed, else 0.
    pub poisoned: u64,
    /// Bytes of a block.
    pub block_size: u64,
    /// Bytes of a new segment.
    pub segment_size: u64,
    /// Bytes of the ring.
    pub ring_size: u64,
    /// Bytes of payload of the largest record or batch.
    pub record_size_max: u64,
    /// The engine in use, such as "io_uring" or "blocking"; ends with a NUL.
    pub engine: [c_char; 16],
    /// Why this engine and this way to make writes durable; ends with a NUL.
    pub engine_reason: [c_char; 256],
    /// The file system, such as "ext4"; ends with a NUL.
    pub file_system: [c_char; 32],
    /// Compactions that came to their end.
    pub compactions: u64,
    /// Segments that they have made smaller.
    pub segments_compacted: u64,
    /// Records that they have taken away.
    pub records_purged: u64,
    /// Bytes that the segments' files take less.
    pub compaction_bytes_saved: u64,
    /// Records accepted and not durable, now.
    pub queue_records: u64,
    /// Bytes that these take on the device, now.
    pub queue_bytes: u64,
    /// Frames that are being written, now.
    pub frames_in_flight: u64,
    /// Nanoseconds during which at least one write or flush of records was on its
    /// way: of two calls, what it has risen by, divided by what elapsed_ns has,
    /// is the device's share of busy time.
    pub device_busy_ns: u64,
    /// Nanoseconds since the log was opened.
    pub elapsed_ns: u64,
    /// Calls that asked for records to be durable before they return: appends that
    /// wait; twal_sync() and twal_wait() where the records were not yet durable,
    /// also a twal_wait() that only looks.
    pub durable_waits: u64,
    /// Appends refused with TWAL_E_POISONED.
    pub refused_poisoned: u64,
    /// Appends refused because the next segment's file could not be made for
    /// another reason than room, such as TWAL_E_PERM or TWAL_E_NOMEM; or because
    /// the log was closing.
    pub refused_other: u64,
    /// Attempts to prepare a segment's file that failed.
    pub spare_failures: u64,
    /// Automatic compactions that failed; each is tried again later.
    pub compactions_failed: u64,
    /// Events of sagas appended by the log's transaction managers.
    pub saga_events: u64,
    /// Events of two-phase commits.
    pub transaction_events: u64,
    /// Tombstones, purges and applied markers.
    pub stream_events: u64,
    /// Checkpoints that are durable.
    pub checkpoints: u64,
    /// Automatic checkpoints that failed; each is tried again later.
    pub checkpoints_failed: u64,
    /// Appends refused with TWAL_E_INVAL, unless the log was NULL; of a
    /// reservation its beginning, not its twal_commit().
    pub refused_inval: u64,
    /// Appends refused with TWAL_E_TOOBIG.
    pub refused_toobig: u64,
}

// SAFETY: repr(C) without holes (704 = 29 * 8 + 16 + 256 + 32 + 21 * 8), struct_size
// first, plain numbers.
unsafe impl Grows for twal_stats {
    const NAME: &'static str = "twal_stats";
    const FIRST_SIZE: usize = 536;
}

const _: () = assert!(size_of::<twal_stats>() == 704 && std::mem::offset_of!(twal_stats, engine) == 232);

/// Copies out what the log has counted.
///
///   log        an open log
///   stats_out  receives the numbers; its struct_size must be set, as
///              TWAL_STATS_INIT does.  Fields that this release does not know
///              become 0.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   log or stats_out is NULL, or struct_size is no size that a
///                  release of twal ever had
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_close() has begun
///   TWAL_E_PANIC   a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_stats_get(log: *const twal_log, stats_out: *mut twal_stats) -> c_int {
    guard(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or a twal_stats as long as it says (C contract).
        unsafe { sized::check(stats_out)? };
        // SAFETY: an open log (C contract).
        let stats = unsafe { call(log, Purpose::Look, always, |log| Ok(log.stats()))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(stats_out, &stats_of(&stats)) }
    })
}

fn stats_of(stats: &Stats) -> twal_stats {
    let mut c = twal_stats {
        struct_size: 0,
        records: stats.records,
        record_bytes: stats.record_bytes,
        batches: stats.batches,
        frames: stats.frames,
        frames_by_appender: stats.frames_by_appender,
        frames_by_writer: stats.frames_by_writer,
        marks: stats.marks,
        flushes: stats.flushes,
        device_bytes: stats.device_bytes,
        bytes_written_twice: stats.bytes_written_twice,
        segments_created: stats.segments_created,
        segments_sealed: stats.segments_sealed,
        segments_archived: stats.segments_archived,
        segments_removed: stats.segments_removed,
        segments_recycled: stats.segments_recycled,
        spare_waits: stats.spare_waits,
        ring_waits: stats.ring_waits,
        ring_bytes: stats.ring_bytes,
        refused_again: stats.refused_again,
        refused_timeout: stats.refused_timeout,
        refused_nospace: stats.refused_nospace,
        corrupted_records: stats.corrupted_records,
        recoveries: stats.recoveries,
        poisoned: u64::from(stats.poisoned),
        block_size: stats.block_size,
        segment_size: stats.segment_size,
        ring_size: stats.ring_size,
        record_size_max: stats.record_size_max,
        engine: [0; 16],
        engine_reason: [0; 256],
        file_system: [0; 32],
        compactions: stats.compactions,
        segments_compacted: stats.segments_compacted,
        records_purged: stats.records_purged,
        compaction_bytes_saved: stats.compaction_bytes_saved,
        queue_records: stats.queue_records,
        queue_bytes: stats.queue_bytes,
        frames_in_flight: stats.frames_in_flight,
        device_busy_ns: stats.device_busy_ns,
        elapsed_ns: stats.elapsed_ns,
        durable_waits: stats.durable_waits,
        refused_poisoned: stats.refused_poisoned,
        refused_other: stats.refused_other,
        spare_failures: stats.spare_failures,
        compactions_failed: stats.compactions_failed,
        saga_events: stats.saga_events,
        transaction_events: stats.transaction_events,
        stream_events: stats.stream_events,
        checkpoints: stats.checkpoints,
        checkpoints_failed: stats.checkpoints_failed,
        refused_inval: stats.refused_inval,
        refused_toobig: stats.refused_toobig,
    };
    put_text(&mut c.engine, stats.engine);
    put_text(&mut c.engine_reason, &stats.engine_reason);
    put_text(&mut c.file_system, &stats.file_system);
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives() {
        let stats = Stats {
            records: 1,
            record_bytes: 2,
            batches: 3,
            frames: 4,
            frames_by_appender: 5,
            frames_by_writer: 6,
            marks: 7,
            flushes: 8,
            device_bytes: 9,
            bytes_written_twice: 10,
            segments_created: 11,
            segments_sealed: 12,
            segments_archived: 13,
            segments_removed: 14,
            segments_recycled: 15,
            spare_waits: 16,
            ring_waits: 17,
            ring_bytes: 18,
            refused_again: 19,
            refused_timeout: 20,
            refused_nospace: 21,
            corrupted_records: 22,
            recoveries: 23,
            poisoned: true,
            engine: "a name longer than its field",
            engine_reason: "reason".into(),
            file_system: "ext4".into(),
            block_size: 25,
            segment_size: 26,
            ring_size: 27,
            record_size_max: 28,
            compactions: 29,
            segments_compacted: 30,
            records_purged: 31,
            compaction_bytes_saved: 32,
            queue_records: 33,
            queue_bytes: 34,
            frames_in_flight: 35,
            device_busy_ns: 36,
            elapsed_ns: 37,
            durable_waits: 38,
            refused_poisoned: 39,
            refused_other: 40,
            spare_failures: 41,
            compactions_failed: 42,
            saga_events: 43,
            transaction_events: 44,
            stream_events: 45,
            checkpoints: 46,
            checkpoints_failed: 47,
            refused_inval: 48,
            refused_toobig: 49,
        };
        let c = stats_of(&stats);
        // SAFETY: a twal_stats begins with 29 u64, all written.
        let words = unsafe { std::slice::from_raw_parts((&raw const c).cast::<u64>(), 29) };
        let wanted: Vec<u64> = (0..29).map(|at| if at == 24 { 1 } else { at }).collect();
        assert_eq!(words, wanted);
        // SAFETY: behind the texts it goes on with 21 u64, all written.
        let behind = unsafe { std::slice::from_raw_parts(&raw const c.compactions, 21) };
        assert_eq!(behind, (29..50).collect::<Vec<u64>>());
        let text = |chars: &[c_char]| -> Vec<u8> {
            chars.iter().take_while(|char| **char != 0).map(|char| char.to_ne_bytes()[0]).collect()
        };
        assert_eq!(text(&c.engine), b"a name longer t");
        assert_eq!((text(&c.engine_reason), text(&c.file_system)), (b"reason".to_vec(), b"ext4".to_vec()));
    }

    #[test]
    fn null_is_refused() {
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_stats_get(std::ptr::null(), std::ptr::null_mut()) }, -101);
    }
}
