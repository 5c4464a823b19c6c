//! Layer 0: words that every other layer uses.  Imports nothing of ours.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod clock;
pub mod counters;
pub mod crc;
pub mod error;
pub mod histogram;
pub mod limits;
pub mod messages;
pub mod options;
pub mod panics;
pub mod random;
pub mod room;
pub mod thread;

pub use error::{Code, Error, Result};
