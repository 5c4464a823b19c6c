//! Layer 3: segment files as things with names and states.
#![forbid(unsafe_code)]

pub mod directory;
pub mod followed;
pub mod name;
pub mod retain;
pub mod spare;

pub use directory::{Directory, HeldDirectory, TakenOut, UNFINISHED_REPAIR};
pub use name::{SegmentName, State};
pub use spare::Spare;
