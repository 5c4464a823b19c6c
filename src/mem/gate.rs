//! A word that threads wait on: one futex for any number of waiters.
//!
//! The use is always the same three steps, and the order is what makes a wake-up
//! impossible to lose: take a [`Gate::ticket`], then look whether the awaited
//! thing has happened, then [`Gate::wait`] with that ticket.  Whoever makes it
//! happen does so first and calls [`Gate::open`] after.
//!
//! `models/` runs this file through every order of its memory accesses.

use std::time::Instant;

use super::atomic::{AtomicU32, Ordering};
use super::futex;

/// Somebody sleeps, or is about to.
const AWAITED: u32 = 1;

/// How often it was opened is counted above that bit.
const OPENED: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Gate {
    /// Count and bit in one word: who opens and who goes to sleep change the same
    /// one, so one of them is first and the other sees it.
    word: AtomicU32,
}

impl Gate {
    /// A gate that nobody waits at; also for statics.
    #[cfg(not(loom))] // whose atomics are made at run time
    pub const fn new() -> Gate {
        Gate { word: AtomicU32::new(0) }
    }

    /// The state to wait from.
    pub fn ticket(&self) -> u32 {
        // Acquire: what was done before the gate was opened is seen when the ticket says that it was.
        self.word.load(Ordering::Acquire) & !AWAITED
    }

    /// Sleeps until the gate has been opened since `ticket`, or until
    /// `deadline`; false: the deadline passed.  May return early: look again.
    pub fn wait(&self, ticket: u32, deadline: Option<Instant>) -> bool {
        // Acquire: as in `ticket`.  Left behind by who gives up, the bit costs one needless wake-up.
        if self.word.fetch_or(AWAITED, Ordering::Acquire) & !AWAITED != ticket {
            return true;
        }
        futex::wait(&self.word, ticket | AWAITED, deadline)
    }

    /// Lets every waiter look again.
    pub fn open(&self) {
        let opened = |word: u32| Some((word & !AWAITED).wrapping_add(OPENED));
        // Release: what was done before is seen by who sees the new count.
        let before = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, opened);
        if before.is_ok_and(|before| before & AWAITED != 0) {
            futex::wake_all(&self.word);
        }
    }
}

#[cfg(all(test, not(loom)))]
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
