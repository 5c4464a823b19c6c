//! How far was asked to be released, and how far may be.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that publish nothing.
pub struct Asked {
    /// No record from this number on is released; `u64::MAX`: nobody holds any.
    hold_seq: AtomicU64,
    /// The highest number that a release went below and a hold was in the way of: done when the hold moves on.
    asked_seq: AtomicU64,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { hold_seq: AtomicU64::new(u64::MAX), asked_seq: AtomicU64::new(0) }
    }
}

impl Asked {
    /// Nothing from this number on is released.
    pub fn hold_seq(&self) -> u64 {
        self.hold_seq.load(Ordering::Acquire)
    }

    /// Nothing from `seq` on is released from now on.
    pub fn hold(&self, seq: u64) {
        self.hold_seq.store(seq, Ordering::Release);
    }

    /// A release below `seq` could not be done as a whole.
    pub fn ask_for(&self, seq: u64) {
        self.asked_seq.fetch_max(seq, Ordering::AcqRel);
    }

    /// Nothing is released later any more: what was in the way is gone, and was not let go.
    pub fn ask_for_nothing(&self) {
        self.asked_seq.store(0, Ordering::Release);
    }

    /// How far was asked for; 0: nothing was.
    pub fn asked_seq(&self) -> u64 {
        self.asked_seq.load(Ordering::Acquire)
    }
}
