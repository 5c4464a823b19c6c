//! Counts the flushes of this process, whoever asks for them.
//!
//! Most peers do not say how often they flush, but all of them ask libc.  The
//! definitions here come before libc's in the order of symbol lookup, for this
//! executable and for the libraries it loads, and do the same but for the count.
//! A peer that writes with O_DSYNC or RWF_DSYNC would not be seen; flushes.sh
//! shows that none does.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static FLUSHES: AtomicU64 = AtomicU64::new(0);

/// How many flushes there were; None if the definitions here are not those that others find.
pub fn count() -> Option<u64> {
    // SAFETY: the name ends in a zero byte.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"fdatasync".as_ptr()) };
    (found.cast_const() == fdatasync as *const c_void).then(|| FLUSHES.load(Relaxed))
}

/// fdatasync(2), counted.
#[no_mangle]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    FLUSHES.fetch_add(1, Relaxed);
    // SAFETY: takes a number and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int }
}

/// fsync(2), counted.
#[no_mangle]
extern "C" fn fsync(fd: c_int) -> c_int {
    FLUSHES.fetch_add(1, Relaxed);
    // SAFETY: takes a number and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int }
}
