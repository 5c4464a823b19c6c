//! What open found.

use std::ffi::c_int;

use super::guard::{always, call, guard, Purpose};
use super::log::twal_log;
use super::sized::{self, Grows};
use crate::base::{Code, Error};
use crate::log::{RecoveryReport, Tail};

/// twal_recovery.tail: how the log ended when it was opened.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_tail {
    /// Behind the last frame was nothing of this log's.
    TWAL_TAIL_CLEAN = 1,
    /// A frame that nothing had acknowledged was half there; it was cut off.
    TWAL_TAIL_TORN = 2,
    /// Acknowledged data is damaged; only a read-only open goes on.
    TWAL_TAIL_DAMAGED = 3,
}

/// What twal_open() found.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_recovery {
    /// sizeof(twal_recovery), set by the caller.
    pub struct_size: u64,
    /// Oldest number that can be read; last_seq + 1 if there is none.
    pub first_seq: u64,
    /// Newest number.
    pub last_seq: u64,
    /// Records from first_seq to last_seq.
    pub records: u64,
    /// Highest number that the log itself proves was durable: no damage up to
    /// it can pass for a torn write.
    pub witnessed_seq: u64,
    /// Segments that are not archived.
    pub segments: u64,
    /// Bytes behind the end that held something and were cut off.
    pub bytes_cut: u64,
    /// Frames that nothing proved durable; written again before this report.
    pub frames_rewritten: u64,
    /// Index of the segment where the log ends.
    pub end_segment: u64,
    /// Offset of the end in it, bytes.
    pub end_offset: u64,
    /// How long opening took, microseconds.
    pub duration_us: u64,
    /// 1 if twal_open() made a new log, else 0.
    pub created: u32,
    /// One of twal_tail.
    pub tail: u32,
    /// First number that twal_repair_apply() cut off; 0: it did not, or the
    /// log has gone on to another segment since.  The number was given again.
    pub repaired_seq: u64,
    /// The last number that what was cut off still showed; below repaired_seq:
    /// none.
    pub repaired_last_seq: u64,
    /// Segments that the repair dropped.
    pub repaired_segments: u64,
    /// Bytes of frames that it cut off in the segment where the log then ended.
    pub repaired_bytes: u64,
    /// How many holds there are.
    pub holds: u64,
    /// 1 if the holds are damaged, were lost or cannot be read, and so nothing
    /// is released: see twal_hold_reset(); else 0.
    pub holds_damaged: u64,
}

// SAFETY: repr(C) without holes (144 = 17 * 8 + 2 * 4), struct_size first,
// plain numbers.
unsafe impl Grows for twal_recovery {
    const NAME: &'static str = "twal_recovery";
    const FIRST_SIZE: usize = 96;
}

const _: () = assert!(size_of::<twal_recovery>() == 144 && std::mem::offset_of!(twal_recovery, created) == 88);

/// Copies out what twal_open() found.
///
///   log         an open log
///   report_out  receives the report; its struct_size must be set, as
///               TWAL_RECOVERY_INIT does.  Fields that this release does not
///               know become 0.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   log or report_out is NULL, or struct_size is no size that
///                  a release of twal ever had
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_close() has begun
///   TWAL_E_PANIC   a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_recovery_get(log: *const twal_log, report_out: *mut twal_recovery) -> c_int {
    guard(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or a twal_recovery as long as it says (C contract).
        unsafe { sized::check(report_out)? };
        // SAFETY: an open log (C contract).
        let report = unsafe { call(log, Purpose::Look, always, |log| Ok(log.report()))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(report_out, &recovery_of(&report)) }
    })
}

fn recovery_of(report: &RecoveryReport) -> twal_recovery {
    let tail = match report.tail {
        Tail::Clean => twal_tail::TWAL_TAIL_CLEAN,
        Tail::Torn => twal_tail::TWAL_TAIL_TORN,
        Tail::Damaged => twal_tail::TWAL_TAIL_DAMAGED,
    };
    twal_recovery {
        struct_size: 0,
        first_seq: report.first_seq,
        last_seq: report.last_seq,
        records: report.records,
        witnessed_seq: report.witnessed_seq,
        segments: report.segments,
        bytes_cut: report.bytes_cut,
        frames_rewritten: report.frames_rewritten,
        end_segment: report.end_segment,
        end_offset: report.end_offset,
        duration_us: report.duration_us,
        created: u32::from(report.created),
        tail: tail as u32,
        repaired_seq: report.repaired_seq,
        repaired_last_seq: report.repaired_last_seq,
        repaired_segments: report.repaired_segments,
        repaired_bytes: report.repaired_bytes,
        holds: report.holds,
        holds_damaged: u64::from(report.holds_damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives() {
        let report = RecoveryReport {
            created: true,
            first_seq: 1,
            last_seq: 2,
            records: 3,
            witnessed_seq: 4,
            segments: 5,
            bytes_cut: 6,
            frames_rewritten: 7,
            tail: Tail::Damaged,
            end_segment: 8,
            end_offset: 9,
            duration_us: 10,
            repaired_seq: 11,
            repaired_last_seq: 12,
            repaired_segments: 13,
            repaired_bytes: 14,
            holds: 15,
            holds_damaged: true,
        };
        let c = recovery_of(&report);
        // SAFETY: a twal_recovery begins with 11 u64, all written.
        let words = unsafe { std::slice::from_raw_parts((&raw const c).cast::<u64>(), 11) };
        assert_eq!(words, (0..11).collect::<Vec<u64>>());
        assert_eq!((c.created, c.tail), (1, 3));
        let repaired = [c.repaired_seq, c.repaired_last_seq, c.repaired_segments, c.repaired_bytes];
        assert_eq!(repaired, [11, 12, 13, 14]);
        assert_eq!((c.holds, c.holds_damaged), (15, 1));
        for (tail, number) in [(Tail::Clean, 1), (Tail::Torn, 2)] {
            assert_eq!(recovery_of(&RecoveryReport { tail, ..RecoveryReport::default() }).tail, number);
        }
    }

    #[test]
    fn null_is_refused() {
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_recovery_get(std::ptr::null(), std::ptr::null_mut()) }, -101);
    }
}
