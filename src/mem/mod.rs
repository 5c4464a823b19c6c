//! Layer 1: memory.  Aligned buffers, the append ring, words that threads wait
//! on, and whether the process has forked.  Does no I/O and knows no format.

pub mod aligned;
pub mod fork;
mod futex;
pub mod gate;
pub mod ring;
pub mod slot;
pub mod waiting;

/// What `gate.rs`, `slot.rs` and `waiting.rs` are made of: `models/` puts its own here.
mod atomic {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub use std::sync::{Mutex, MutexGuard};
}

pub use aligned::AlignedBuf;
pub use gate::Gate;
pub use waiting::Waiting;
