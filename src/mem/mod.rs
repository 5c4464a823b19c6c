//! Layer 1: memory.  Aligned buffers, the append ring, words that threads wait
//! on, and whether the process has forked.  Does no I/O and knows no format.

pub mod aligned;
pub mod fork;
mod futex;
pub mod gate;
pub mod ring;
pub mod slot;
pub mod waiting;

/// What is modelled is made of these: `models/` puts its own here.
pub(crate) mod atomic {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub use std::sync::{Mutex, MutexGuard, OnceLock};
}

pub use aligned::AlignedBuf;
pub use gate::Gate;
pub use waiting::Waiting;
