//! Completion without a thread that waits.

use std::ffi::{c_int, c_void};
use std::os::fd::IntoRawFd;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use super::guard::{self, always, call, guard_uncancelled, Purpose};
use super::last_error;
use super::log::{accepted, twal_log};
use crate::base::{Code, Error, Result};
use crate::log::{Done, Log};

/// Makes an eventfd(2) that tells when records have become durable.
///
/// It becomes readable each time twal_durable_seq() has risen, once when the
/// log is poisoned, and once when it is closed; it can stand in poll, epoll,
/// io_uring and every event loop.  How far the log is, twal_durable_seq()
/// tells; read the eventfd first and ask then, so that no rise is missed.
/// (What became durable before this call has returned, it does not tell.)  It
/// is not blocking and close-on-exec.  The number that is read from it means
/// nothing.
///
/// On a log that is open for reading only, a thread of twal's looks whether the
/// log testifies to more, as often as twal_iter_wait() does, and until the log
/// is closed or damaged, whoever closed the eventfd; the eventfd also becomes
/// readable when the log is found damaged, or was so before this call.
///
/// Read it, wait on it, and do nothing else to it: never clear its O_NONBLOCK,
/// never write to it.  twal writes to the same open file when the mark rises.
/// If that file blocks and is full, the write never returns, and with it hang
/// appends, and twal_close().
///
/// The eventfd is yours: give it back with close(2) whenever you like, also
/// after twal_close().  The log has another descriptor of it, so that it never
/// writes to a number that you closed; one of its 16 stays taken until the log
/// is closed.
///
///   log     an open log
///   fd_out  receives the descriptor.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log or fd_out is NULL
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_BUSY       the log has 16 eventfds already
///   TWAL_E_NOMEM      no memory, thread or file descriptor left
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_eventfd(log: *mut twal_log, fd_out: *mut c_int) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or room for a descriptor (C contract).
        let fd_out = unsafe { guard::must_have(fd_out)? };
        // SAFETY: an open log (C contract).
        let eventfd = unsafe { call(log, Purpose::Change, always, Log::eventfd)? };
        // SAFETY: must_have has seen it.
        unsafe { fd_out.write(eventfd.into_raw_fd()) };
        Ok(())
    })
}

/// Makes every record up to a number durable, without waiting for it.
///
/// Asks for what twal_sync() asks for and returns at once.  done is called
/// exactly once for each call that returned TWAL_OK: with the number that was
/// waited for and TWAL_OK when every record up to it is durable, also if it was
/// so already; or with what poisoned the log, TWAL_E_IO as a rule, and then the
/// records' fate is unknown until the next open.  twal_close() returns after
/// the last of these calls has returned.
///
/// done is called on a thread of twal's, never inside this function, one call
/// at a time, lower numbers first: one that takes long delays the others, and
/// the messages of twal_message_callback(), which the same thread calls, and
/// nothing else.  It may call every function of twal, and wait in it; while
/// twal_close() runs they answer TWAL_E_CLOSED.  The one thing it cannot do is
/// to close this log: twal_close() returns TWAL_E_STATE there and leaves it
/// open.  It must not throw, longjmp() or end its thread, nor wait for the
/// thread that is inside twal_close(), or for what its own thread has to do:
/// another done of this log, or a message of it.  After a failure, twal_last_error()
/// tells more inside done.
///
///   log   an open log
///   seq   the last number that is to be durable; 0: all that were accepted
///         when the call began
///   done  what is called; NULL only asks for it, as a user of twal_eventfd()
///         does
///   arg   is passed on to done; twal does not look at it
///
/// Returns TWAL_OK, or, and then done is not called,
///
///   TWAL_E_INVAL      log is NULL, or seq is above twal_last_seq()
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_NOMEM      no memory or thread left
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any; done is called on one of twal's, which blocks all signals.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sync_async(
    log: *mut twal_log,
    seq: u64,
    done: Option<unsafe extern "C" fn(arg: *mut c_void, seq: u64, code: c_int)>,
    arg: *mut c_void,
) -> c_int {
    let done =
        done.map(|done| Done::Function(call_done, [(done as *const ()).expose_provenance(), arg.expose_provenance()]));
    // SAFETY: NULL or an open log (C contract).
    guard_uncancelled(|| unsafe { call(log, Purpose::Change, accepted(seq), |log| log.sync_async(seq, done)) })
}

/// Calls what was registered; `words` are what twal_sync_async made of it.
fn call_done(words: [usize; 2], seq: u64, result: Result<()>) {
    let code = result.map_or_else(|error| last_error::set(&error), |()| 0);
    let done = with_exposed_provenance::<()>(words[0]);
    // SAFETY: the word is a function of this type, exposed when it was registered.
    let done = unsafe { std::mem::transmute::<*const (), unsafe extern "C" fn(*mut c_void, u64, c_int)>(done) };
    // SAFETY: a function that may be called with this, on any thread, until the log is closed (C contract).
    unsafe { done(with_exposed_provenance_mut(words[1]), seq, code) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    #[test]
    fn null_is_refused() {
        let mut fd = 7;
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_eventfd(null_mut(), &raw mut fd), -101);
            assert_eq!(twal_eventfd(null_mut(), null_mut()), -101);
            assert_eq!(twal_sync_async(null_mut(), 0, None, null_mut()), -101);
        }
        assert_eq!(fd, 7, "untouched on failure");
    }
}
