//! Where the threads that fill a frame meet the one that writes it.
//!
//! Claims are given out under the owner's lock and filled outside of it, by many
//! threads at once.  The slot counts those that were published; when that is as
//! many as were given, the frame is whole.
//!
//! `models/` runs this file through every order of its memory accesses.

use super::atomic::{AtomicU32, Ordering};
use super::Gate;

/// Somebody waits for the frame's last claim.
const AWAITED: u32 = 1 << 31;

/// Most claims of one frame.
pub const CLAIMS_MAX: u32 = AWAITED - 1;

/// See the module.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Slot {
    /// Claims published, and in the highest bit whether somebody waits for the last.
    published: AtomicU32,
    /// Opened when a claim was published while somebody waits.
    filled: Gate,
}

impl Slot {
    /// Begins with a new frame.  Nobody publishes into the last one any more.
    pub fn begin(&self) {
        // Relaxed: claims of the new frame are given under the lock that this runs under.
        self.published.store(0, Ordering::Relaxed);
    }

    /// One claim is filled.
    pub fn publish(&self) {
        // Release: the claim's bytes are written before.
        if self.published.fetch_add(1, Ordering::Release) & AWAITED != 0 {
            self.filled.open();
        }
    }

    /// Whether `claims` were published, whose bytes can then be read.
    pub fn is_filled(&self, claims: u32) -> bool {
        // Acquire: pairs with the release of every one of them.
        self.published.load(Ordering::Acquire) & !AWAITED == claims
    }

    /// Waits until `claims` were published.
    pub fn wait_filled(&self, claims: u32) {
        while !self.is_filled(claims) {
            let ticket = self.filled.ticket();
            // Who publishes after this opens the gate; who did so before is counted in what it returns.
            if self.published.fetch_or(AWAITED, Ordering::Acquire) & !AWAITED == claims {
                return;
            }
            self.filled.wait(ticket, None);
        }
    }
}
