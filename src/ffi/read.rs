//! One record by its number.

use std::ffi::{c_int, c_void};

use super::entry::{check_payload, record_of, twal_record};
use super::guard::{self, always, call, guard_uncancelled, Purpose};
use super::log::twal_log;
use crate::base::{Code, Error};

/// Reads one record by its number.
///
/// Every byte of it is checked.  The segment is found by the names in the
/// directory, the place in it by a few reads of some blocks: about ten reads of
/// the device, most of them 4 KiB, however many records the log has.  Who reads
/// many records in order is served better by an iterator.
///
///   log         an open log, also a poisoned or a read-only one
///   seq         the record's number
///   buf         where the payload is copied to; NULL only if size is 0
///   size        bytes of buf.  A payload that is longer is cut: compare
///               record_out->len, which is always the payload's true length
///   record_out  receives the record; its data is buf.  May not be NULL.
///               Untouched on failure, buf too.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     log or record_out is NULL, or buf is and size is not 0
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun
///   TWAL_E_TRIMMED   it was released; twal_last_error().seq is the oldest
///                    number there is
///   TWAL_E_STATE     the log is a follower's copy, and another one is in its
///                    place
///   TWAL_E_NOTFOUND  there is none with this number: it is 0, not durable yet,
///                    or a compaction took the record out
///   TWAL_E_IO        a file could not be opened or read
///   TWAL_E_PERM      the operating system refuses to open it
///   TWAL_E_NOMEM     no memory or file descriptor left
///   TWAL_E_CORRUPT   the log is damaged at that place
///   TWAL_E_VERSION   it is a record that this release cannot read
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device; never for a writer.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_read(
    log: *mut twal_log,
    seq: u64,
    buf: *mut c_void,
    size: usize,
    record_out: *mut twal_record,
) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        check_payload(buf, size)?;
        // SAFETY: NULL or room for a record (C contract).
        let record_out = unsafe { guard::must_have(record_out)? };
        let read = |log: &crate::log::Log| {
            log.read(seq, |record| {
                let fits = record.data.len().min(size);
                if fits > 0 {
                    // SAFETY: buf is not NULL, since size is above 0, and has `size` bytes that nobody else uses
                    // now (C contract); the record's bytes are ours.
                    unsafe { std::ptr::copy_nonoverlapping(record.data.as_ptr(), buf.cast(), fits) };
                }
                record_of(record)
            })
        };
        // SAFETY: an open log (C contract).
        let record = unsafe { call(log, Purpose::Look, always, read)? };
        // SAFETY: must_have has seen it.
        unsafe { record_out.write(twal_record { data: buf, ..record }) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    #[test]
    fn null_is_refused() {
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_read(null_mut(), 1, null_mut(), 0, null_mut()), -101);
        }
    }
}
