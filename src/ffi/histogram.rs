//! What an open log has measured, as histograms.

use std::ffi::c_int;

use super::guard::{always, call, guard, Purpose};
use super::log::twal_log;
use super::sized::{self, Grows};
use crate::base::histogram::{bound, BUCKETS};
use crate::base::{Code, Error, Result};
use crate::log::Measured;
use crate::Distribution;

/// What twal_histogram_get() tells of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_histogram_kind {
    /// Nanoseconds that a frame waited: from its first record's acceptance
    /// until its write began.
    TWAL_HISTOGRAM_QUEUE_WAIT = 1,
    /// Nanoseconds of a frame's write, to the device and flushed where the
    /// write makes itself durable, as it does with TWAL_SYNC.
    TWAL_HISTOGRAM_WRITE = 2,
    /// Nanoseconds of a flush: one for each of twal_stats.flushes, writes that
    /// make themselves durable included.
    TWAL_HISTOGRAM_FLUSH = 3,
    /// Nanoseconds of an append that waited until its records were durable,
    /// from the call to its end.  Appends that do not wait are not measured: a
    /// look at the clock would cost as much as they do.
    TWAL_HISTOGRAM_APPEND = 4,
    /// Records of a frame.
    TWAL_HISTOGRAM_FRAME_RECORDS = 5,
    /// Bytes of a frame, as it is on the device.
    TWAL_HISTOGRAM_FRAME_BYTES = 6,
}

/// How often which number was met since the log was opened.
///
/// The buckets are the same for every kind, log and release, so that two
/// histograms can be added up, or taken from each other, number by number.
/// Bucket i counts the numbers above the bound of i - 1, up to its own bound,
/// which twal_histogram_bound(i) is: i + 1 for the first four, then
/// (5 + i % 4) << (i / 4 - 1), and UINT64_MAX for the last one.  That is 1, 2,
/// 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 and so on: four buckets from one power
/// of two to the next.  0 is in the first bucket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct twal_histogram {
    /// sizeof(twal_histogram), set by the caller.
    pub struct_size: u64,
    /// How many numbers: the sum of the buckets.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The highest of them; 0 if there is none.
    pub max: u64,
    /// How many in each bucket.
    pub buckets: [u64; 252],
}

// SAFETY: repr(C) without holes (2048 = 4 * 8 + 252 * 8), struct_size first, plain numbers.
unsafe impl Grows for twal_histogram {
    const NAME: &'static str = "twal_histogram";
    const FIRST_SIZE: usize = 2048;
}

const _: () = assert!(size_of::<twal_histogram>() == 2048 && BUCKETS == 252);

/// Copies out one of the histograms of what the log has measured.
///
/// One at a time, so that there is room for more of them in later releases.
/// What is counted while it is copied may be in one bucket and not yet in the
/// sum; the count is always that of the buckets.
///
///   log            an open log; one that is open for reading only measures
///                  nothing
///   kind           one of twal_histogram_kind
///   histogram_out  receives it; its struct_size must be set, as
///                  TWAL_HISTOGRAM_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   log or histogram_out is NULL, kind is none of
///                  twal_histogram_kind, or struct_size is no size that a
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
pub unsafe extern "C" fn twal_histogram_get(
    log: *const twal_log,
    kind: u32,
    histogram_out: *mut twal_histogram,
) -> c_int {
    guard(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        let measured = measured_of(kind)?;
        // SAFETY: NULL or a twal_histogram as long as it says (C contract).
        unsafe { sized::check(histogram_out)? };
        // SAFETY: an open log (C contract).
        let got = unsafe { call(log, Purpose::Look, always, |log| Ok(log.histogram(measured)))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(histogram_out, &histogram_of(&got)) }
    })
}

/// The highest number that a bucket of twal_histogram counts.
///
///   bucket  the bucket's index
///
/// Returns the bound; UINT64_MAX for the last bucket, and for those that there
/// are not.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub extern "C" fn twal_histogram_bound(bucket: usize) -> u64 {
    bound(bucket)
}

fn measured_of(kind: u32) -> Result<Measured> {
    Ok(match kind {
        1 => Measured::QueueWait,
        2 => Measured::Write,
        3 => Measured::Flush,
        4 => Measured::Append,
        5 => Measured::FrameRecords,
        6 => Measured::FrameBytes,
        other => return Err(Error::new(Code::Inval, format!("{other} is none of twal_histogram_kind"))),
    })
}

fn histogram_of(got: &Distribution) -> twal_histogram {
    twal_histogram { struct_size: 0, count: got.count, sum: got.sum, max: got.max, buckets: got.buckets }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null, null_mut};

    #[test]
    fn every_field_and_kind_arrives() {
        let got = Distribution { count: 1, sum: 2, max: 3, buckets: std::array::from_fn(|at| at as u64 + 4) };
        let c = histogram_of(&got);
        assert_eq!((c.count, c.sum, c.max, c.buckets[0], c.buckets[251]), (1, 2, 3, 4, 255));
        use twal_histogram_kind::*;
        let all = [
            (TWAL_HISTOGRAM_QUEUE_WAIT, Measured::QueueWait),
            (TWAL_HISTOGRAM_WRITE, Measured::Write),
            (TWAL_HISTOGRAM_FLUSH, Measured::Flush),
            (TWAL_HISTOGRAM_APPEND, Measured::Append),
            (TWAL_HISTOGRAM_FRAME_RECORDS, Measured::FrameRecords),
            (TWAL_HISTOGRAM_FRAME_BYTES, Measured::FrameBytes),
        ];
        for (kind, measured) in all {
            assert_eq!(measured_of(kind as u32), Ok(measured));
        }
        for none in [0, 7, u32::MAX] {
            assert_eq!(measured_of(none).unwrap_err().code, Code::Inval);
        }
    }

    #[test]
    fn null_is_refused() {
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_histogram_get(null(), 1, null_mut()) }, -101);
    }
}
