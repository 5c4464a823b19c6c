//! Layer 1: memory.  Aligned buffers, the append ring, and words that threads
//! wait on.  Does no I/O and knows no format.

pub mod aligned;
pub mod gate;
pub mod ring;

pub use aligned::AlignedBuf;
pub use gate::Gate;
