//! Layer 1: memory.  Aligned buffers, the append ring, words that threads wait
//! on, and whether the process has forked.  Does no I/O and knows no format.

pub mod aligned;
pub mod fork;
pub mod gate;
pub mod ring;

pub use aligned::AlignedBuf;
pub use gate::Gate;
