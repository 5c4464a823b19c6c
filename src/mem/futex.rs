//! futex(2): sleeping until a word changes.  The kernel compares the word with
//! the expected value and puts the thread to sleep as one step.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Sleeps while `word` is `expected`, until woken or until `deadline`; false:
/// the deadline passed.  May return early.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    if word.load(Ordering::SeqCst) != expected {
        return true;
    }
    let mut span = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let timeout = match deadline {
        None => std::ptr::null(),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            span.tv_sec = libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX);
            span.tv_nsec = libc::c_long::from(left.subsec_nanos().cast_signed());
            &raw const span
        }
    };
    // SAFETY: the word is borrowed for the whole call; `timeout` is null or points at `span`, which outlives
    // the call; FUTEX_WAIT reads nothing else.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected, timeout)
    };
    let timed_out = result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT);
    !timed_out
}

/// Wakes everybody who sleeps at `word`.
pub fn wake_all(word: &AtomicU32) {
    // SAFETY: the word is borrowed for the whole call; FUTEX_WAKE dereferences nothing else.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, libc::c_int::MAX);
    }
}
