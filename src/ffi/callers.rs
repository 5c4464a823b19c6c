//! Who is inside a handle: counts callers, so that closing can let them out
//! before it frees what they stand on.
//!
//! One word, on a cache line of its own because every call changes it:
//!
//! | bits | meaning | written by |
//! |---|---|---|
//! | 0–29 | callers inside | each caller, on its way in and out |
//! | 30 | broken: a caller panicked inside | that caller |
//! | 31 | closing | the one thread that closes |
//!
//! How a caller leaves while the handle is being freed:
//!  1. The closer sets bit 31, then waits for bits 0–29 to become 0.
//!  2. The last caller takes its 1 off.
//!  3. **The closer may see that at once** and free the handle, before the caller
//!     has done anything else.
//!  4. So what wakes the closer cannot lie in the handle: there is one gate for
//!     the whole process.  Every closer that waits then looks once more, which
//!     costs nothing worth saving: closing is rare.
//!
//! `models/` runs this file through every order of its memory accesses.

use crate::mem::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use crate::mem::Gate;
#[cfg(loom)]
use crate::LEFT;

/// Opened when the last caller has left a handle that is closing.
#[cfg(not(loom))] // whose statics are made at run time
static LEFT: Gate = Gate::new();

const CLOSING: u32 = 1 << 31;
const BROKEN: u32 = 1 << 30;
const COUNT: u32 = BROKEN - 1;

/// The callers of one handle.
#[repr(align(64))]
#[derive(Default)]
pub(super) struct Callers(AtomicU32);

/// A caller that is inside until this is dropped.
pub(super) struct Inside {
    callers: *const Callers,
    /// What the word was when the caller came in.
    found: u32,
    /// Set when the call has come to its end; not set while a panic unwinds.
    finished: bool,
}

impl Callers {
    /// Keeps new callers out; false if somebody does so already.
    pub fn start_closing(&self) -> bool {
        // Acquire: what callers did before they left happened before what the
        // closer does, for those who left already.
        self.0.fetch_or(CLOSING, Ordering::Acquire) & CLOSING == 0
    }

    /// Waits until nobody is inside.
    pub fn wait_until_out(&self) {
        loop {
            let ticket = LEFT.ticket();
            // Acquire: pairs with the release in `Inside::drop`.
            if self.0.load(Ordering::Acquire) & COUNT == 0 {
                return;
            }
            LEFT.wait(ticket, None);
        }
    }
}

impl Inside {
    /// Goes in.  Also when the handle is closing: the caller must then leave
    /// without touching what the handle holds, see [`Inside::is_closing`].
    ///
    /// # Safety
    ///
    /// `callers` is alive now, and stays so until nobody is inside.
    pub unsafe fn enter(callers: *const Callers) -> Inside {
        // SAFETY: alive (contract).  Acquire: sees what set the bits.
        let found = unsafe { (*callers).0.fetch_add(1, Ordering::Acquire) };
        Inside { callers, found, finished: false }
    }

    /// Whether the handle was closing when the caller came in.
    pub fn is_closing(&self) -> bool {
        self.found & CLOSING != 0
    }

    /// Whether an earlier caller panicked inside.
    pub fn is_broken(&self) -> bool {
        self.found & BROKEN != 0
    }

    /// Leaves; dropping without this marks the handle as broken.
    pub fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let word: *const AtomicU32 = self.callers.cast();
        if !self.finished {
            // SAFETY: alive, since we are still counted.
            unsafe { (*word).fetch_or(BROKEN, Ordering::Relaxed) };
        }
        // SAFETY: alive until our 1 is off (step 2); not touched after it.
        // Release: the closer frees after all that we did.
        let left = unsafe { (*word).fetch_sub(1, Ordering::Release) };
        if left & CLOSING != 0 && left & COUNT == 1 {
            LEFT.open();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::Barrier;

    #[test]
    fn the_closer_waits_for_all_and_only_one_closes() {
        for _ in 0..100 {
            let callers = Callers::default();
            let out = AtomicBool::new(false);
            let inside = Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // SAFETY: `callers` outlives the scope.
                    let me = unsafe { Inside::enter(&raw const callers) };
                    assert!(!me.is_closing());
                    inside.wait();
                    out.store(true, Ordering::Relaxed); // ordered by leaving
                    me.finish();
                });
                inside.wait();
                assert!(callers.start_closing());
                assert!(!callers.start_closing());
                callers.wait_until_out();
                assert!(out.load(Ordering::Relaxed));
            });
            // SAFETY: as above.
            let late = unsafe { Inside::enter(&raw const callers) };
            assert!(late.is_closing() && !late.is_broken());
            late.finish();
        }
    }

    #[test]
    fn who_does_not_finish_breaks_it() {
        let callers = Callers::default();
        // SAFETY: `callers` outlives the caller.
        drop(unsafe { Inside::enter(&raw const callers) });
        // SAFETY: as above.
        let next = unsafe { Inside::enter(&raw const callers) };
        assert!(next.is_broken() && !next.is_closing());
        next.finish();
    }
}
