//! The library's `base/` as far as the modelled files need it.

#[path = "../../../src/base/error.rs"]
pub mod error;
#[path = "../../../src/base/room.rs"]
pub mod room;

pub use error::{Code, Error, Result};
