//! A word that threads wait on: one futex for any number of waiters.
//!
//! The use is always the same three steps, and the order is what makes a wake-up
//! impossible to lose: take a [`Gate::ticket`], then look whether the awaited
//! thing has happened, then [`Gate::wait`] with that ticket.  Whoever makes it
//! happen does so first and calls [`Gate::open`] after.
//!
//! futex(2): the kernel compares the word with the expected value and sleeps as
//! one step.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// See the module.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Gate {
    /// Rises with every `open`.
    opened: AtomicU32,
    /// Threads between the announcement and the end of their wait.  `open`
    /// saves its system call when there are none.
    waiters: AtomicU32,
}

impl Gate {
    /// A gate that nobody waits at; also for statics.
    pub const fn new() -> Gate {
        Gate { opened: AtomicU32::new(0), waiters: AtomicU32::new(0) }
    }

    /// The state to wait from.
    pub fn ticket(&self) -> u32 {
        // SeqCst, as everywhere in this file: `wait` writes `waiters` and then reads
        // `opened`, `open` writes `opened` and then reads `waiters`; with anything
        // weaker both could miss the other's write.
        self.opened.load(Ordering::SeqCst)
    }

    /// Sleeps until the gate has been opened since `ticket`, or until
    /// `deadline`; false: the deadline passed.  May return early: look again.
    pub fn wait(&self, ticket: u32, deadline: Option<Instant>) -> bool {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let in_time = self.sleep(ticket, deadline);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        in_time
    }

    fn sleep(&self, ticket: u32, deadline: Option<Instant>) -> bool {
        if self.opened.load(Ordering::SeqCst) != ticket {
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
        // SAFETY: the word lives as long as `self`, which is borrowed; `timeout` is null or points at
        // `span`, which outlives the call; FUTEX_WAIT reads nothing else.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.opened.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                ticket,
                timeout,
            )
        };
        let timed_out = result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT);
        !timed_out
    }

    /// Lets every waiter look again.
    pub fn open(&self) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) == 0 {
            return;
        }
        // SAFETY: the word lives as long as `self`, which is borrowed; FUTEX_WAKE dereferences nothing else.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.opened.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                libc::c_int::MAX,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_wait_with_an_old_ticket_returns_at_once() {
        let gate = Gate::default();
        let ticket = gate.ticket();
        gate.open();
        assert!(gate.wait(ticket, None));
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let gate = Gate::default();
        assert!(!gate.wait(gate.ticket(), Some(Instant::now() + Duration::from_millis(2))));
        assert!(!gate.wait(gate.ticket(), Some(Instant::now())));
    }

    #[test]
    fn opening_wakes_all() {
        let shared = Arc::new((Gate::default(), AtomicBool::new(false)));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || loop {
                    let ticket = shared.0.ticket();
                    if shared.1.load(Ordering::Acquire) {
                        return;
                    }
                    shared.0.wait(ticket, None);
                })
            })
            .collect();
        shared.1.store(true, Ordering::Release);
        shared.0.open();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
