//! A reader as a C handle.

use std::ffi::c_int;

use super::entry::{record_of, twal_record};
use super::guard::{self, always, answer, call, guard, Purpose};
use super::log::twal_log;
use crate::base::{Code, Error};
use crate::disk::cancel::Uncancelled;
use crate::log::Iter;
use crate::mem::fork::ForkGuard;

/// A reader of one log.
///
/// From twal_recover_iter() to twal_iter_close(), which may come before or
/// after twal_close().  One thread at a time; any number of readers at once,
/// none of them stops a writer.
pub struct twal_iter {
    iter: Iter,
    fork: ForkGuard,
    /// A call panicked inside: nobody knows where the reader stands.
    broken: bool,
}

/// Begins to read at a number.
///
///   log       an open log, also a poisoned or a read-only one
///   from_seq  the first number wanted; 0: the oldest.  twal_last_seq() + 1 is
///             allowed: nothing yet.
///   iter_out  receives the reader; give it back with twal_iter_close().
///             Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     log or iter_out is NULL
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun
///   TWAL_E_TRIMMED   from_seq is below twal_first_seq()
///   TWAL_E_NOTFOUND  from_seq is above twal_last_seq() + 1
///   TWAL_E_IO        a file could not be opened or read
///   TWAL_E_NOMEM     no memory or file descriptor left
///   TWAL_E_CORRUPT   the log is damaged at that place
///   TWAL_E_BUSY      a writer elsewhere is just beginning that segment; ask
///                    again
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_recover_iter(log: *mut twal_log, from_seq: u64, iter_out: *mut *mut twal_iter) -> c_int {
    guard(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or room for a pointer (C contract).
        let iter_out = unsafe { guard::must_have(iter_out)? };
        // SAFETY: an open log (C contract).
        let iter = unsafe { call(log, Purpose::Look, always, |log| log.iter(from_seq))? };
        let handle = twal_iter { iter, fork: ForkGuard::new(), broken: false };
        // SAFETY: must_have has seen it.
        unsafe { iter_out.write(Box::into_raw(Box::new(handle))) };
        Ok(())
    })
}

/// Reads the next record.
///
/// Delivers what is durable at the time of the call, every byte of it checked.
/// 0 is not final: call again when there is more.  An error is final for this
/// reader, except TWAL_E_INVAL and TWAL_E_NOMEM.
///
///   iter        a reader
///   record_out  receives the record; its data is valid until the next call
///               on iter.  Untouched if the answer is not 1.
///
/// Returns 1 with a record, 0 at the end of what is durable, or
///
///   TWAL_E_INVAL    iter or record_out is NULL
///   TWAL_E_FORKED   this process is a fork()ed child
///   TWAL_E_CLOSED   the log was closed
///   TWAL_E_TRIMMED  what comes next was released and is gone
///   TWAL_E_IO       bytes could not be read; they may be readable later
///   TWAL_E_CORRUPT  the log is damaged here; twal_last_error() says where
///   TWAL_E_NOMEM    no memory or file descriptor left; call again when there is
///   TWAL_E_PANIC    a bug in twal was caught
///
/// Blocks:  on the device; never for a writer.
/// Threads: one at a time for each reader.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_iter_next(iter: *mut twal_iter, record_out: *mut twal_record) -> c_int {
    let next = || {
        // SAFETY: NULL or a reader that no other thread uses now (C contract).
        let handle = unsafe { iter.as_mut() }.ok_or_else(|| Error::new(Code::Inval, "the iterator is NULL"))?;
        // SAFETY: NULL or room for a record (C contract).
        let record_out = unsafe { guard::must_have(record_out)? };
        if handle.fork.forked() {
            return Err(guard::forked());
        }
        if handle.broken {
            return Err(Error::new(Code::Panic, "an earlier call panicked in this iterator"));
        }
        handle.broken = true; // until the call has come back
        let found = handle.iter.next_record();
        let found = found.map(|record| record.map(|record| record_of(&record)));
        handle.broken = false;
        let Some(record) = found? else { return Ok(0) };
        // SAFETY: must_have has seen it.
        unsafe { record_out.write(record) };
        Ok(1)
    };
    answer(next, |code| code)
}

/// Ends a reader; what its last record's data pointed to is gone.
///
/// Works before and after twal_close(), and in a fork()ed child.
///
///   iter  a reader; NULL does nothing
///
/// Blocks:  until a read on the way has come back.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_iter_close(iter: *mut twal_iter) {
    let _uncancelled = Uncancelled::begin();
    let close = || {
        if iter.is_null() {
            return Ok(());
        }
        // In a forked child too: what a reader holds there are copies of
        // descriptors, and the disk gives a lock back only in the process that
        // took it.
        // SAFETY: it came out of Box::into_raw in twal_recover_iter, and is
        // not used again (C contract).
        drop(unsafe { Box::from_raw(iter) });
        Ok(())
    };
    answer(close, |_| ());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    #[test]
    fn null_is_refused_by_all_but_close() {
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_recover_iter(null_mut(), 0, null_mut()), -101);
            assert_eq!(twal_iter_next(null_mut(), null_mut()), -101);
            twal_iter_close(null_mut());
        }
    }
}
