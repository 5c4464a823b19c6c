//! Keeps pthread_cancel() out of the library's system calls.
//!
//! A cancelled thread unwinds out of the call it is in, through Rust frames,
//! which ends the process.  So the thread's cancellation waits until the call has
//! come back: the host's next cancellation point takes it.

use std::ffi::c_int;

extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// PTHREAD_CANCEL_DISABLE of glibc and musl.
const DISABLE: c_int = 1;

/// This thread cannot be cancelled while it lives.
pub struct Uncancelled {
    before: c_int,
    /// It belongs to the thread that made it.
    _thread: std::marker::PhantomData<*const ()>,
}

impl Uncancelled {
    /// From now on.
    pub fn begin() -> Uncancelled {
        let mut before = DISABLE;
        // SAFETY: takes a known state and room for the old one; it concerns the calling thread only.
        unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
        Uncancelled { before, _thread: std::marker::PhantomData }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        // SAFETY: gives back what `begin` was given, on the same thread (not Send); the old state may be NULL.
        unsafe { pthread_setcancelstate(self.before, std::ptr::null_mut()) };
    }
}
