//! Counts per stream.

use std::ffi::c_int;

use super::guard::guard_uncancelled;
use super::log::twal_log;
use super::sized::{self, Grows};
use crate::log::StreamCount;

/// What a log holds of one stream, as twal_streams() tells of it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_stream_count {
    /// sizeof(twal_stream_count), set by the caller in the first of an array.
    pub struct_size: u64,
    /// Which stream.
    pub stream: u64,
    /// Its records.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Number of the first.
    pub first_seq: u64,
    /// Number of the last.
    pub last_seq: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_stream_count {
    const NAME: &'static str = "twal_stream_count";
    const FIRST_SIZE: usize = 48;
}

const _: () = assert!(size_of::<twal_stream_count>() == 48);

/// Counts the records of each stream, and tells of the busiest.
///
/// It reads the log, from a number up to what is durable now: appends pay
/// nothing for it, and records that were trimmed or compacted away are not
/// counted.  Takes memory for each stream that there is.  A program that
/// wants to know often asks from where it has come to, and adds up.
///
///   log         an open log
///   from_seq    the first number that counts; 0: the oldest
///   counts_out  an array for capacity of them, whose first one's struct_size
///               is set: that is the size of each; NULL only if capacity is 0.
///               The stream with the most records comes first.  Untouched on
///               failure.
///   capacity    how many fit; further ones are left out
///   count_out   receives how many streams there are, at most 1000
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     log or count_out is NULL, counts_out is NULL and capacity
///                    is not 0, or struct_size is no size that a release of
///                    twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun
///   TWAL_E_TRIMMED   from_seq is below twal_first_seq(); or records went while
///                    they were being counted
///   TWAL_E_NOTFOUND  from_seq is above twal_last_seq() + 1
///   TWAL_E_CORRUPT, TWAL_E_VERSION, TWAL_E_IO, TWAL_E_PERM
///                    as twal_iter_next()
///   TWAL_E_NOMEM     no memory left
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device, for as long as reading takes.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_streams(
    log: *const twal_log,
    from_seq: u64,
    counts_out: *mut twal_stream_count,
    capacity: usize,
    count_out: *mut usize,
) -> c_int {
    // SAFETY: the C contract is the one asked for.
    guard_uncancelled(|| unsafe {
        sized::tell_all(log, counts_out, capacity, count_out, |log| log.streams(from_seq), count_of)
    })
}

fn count_of(count: &StreamCount) -> twal_stream_count {
    let StreamCount { stream, records, bytes, first_seq, last_seq } = *count;
    twal_stream_count { struct_size: 0, stream, records, bytes, first_seq, last_seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives() {
        let c = count_of(&StreamCount { stream: 1, records: 2, bytes: 3, first_seq: 4, last_seq: 5 });
        assert_eq!([c.stream, c.records, c.bytes, c.first_seq, c.last_seq], [1, 2, 3, 4, 5]);
    }

    #[test]
    fn null_is_refused() {
        let mut count = 7;
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_streams(std::ptr::null(), 0, std::ptr::null_mut(), 0, &raw mut count) }, -101);
        assert_eq!(count, 7, "untouched on failure");
    }
}
