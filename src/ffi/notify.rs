//! Completion without a thread that waits.

use std::ffi::c_int;
use std::os::fd::IntoRawFd;

use super::guard::{self, always, call, guard, Purpose};
use super::log::twal_log;
use crate::base::{Code, Error};
use crate::log::Log;

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
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_BUSY       the log has 16 eventfds already
///   TWAL_E_NOMEM      no memory or file descriptor left
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_eventfd(log: *mut twal_log, fd_out: *mut c_int) -> c_int {
    guard(|| {
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
        }
        assert_eq!(fd, 7, "untouched on failure");
    }
}
