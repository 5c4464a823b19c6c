//! Layer 4: reading.  Never writes.
#![forbid(unsafe_code)]

pub mod ahead;
pub mod cursor;
pub mod files;
pub mod filter;
pub mod followers;
mod heads;
pub mod hidden;
mod mapping;
pub mod position;
pub mod reach;
pub mod recent;
mod records;
pub mod scout;
pub mod sealed;
pub mod seek;
pub mod segment;
pub mod short;
pub mod skip;
pub mod sparse;
pub mod stream;
pub mod vouched;
pub mod walk;
pub mod witness;

pub use cursor::{Cursor, Way};
pub use files::Files;
pub use filter::Filter;
pub use hidden::Hidden;
pub use reach::{Published, Reach};
pub use skip::Skipped;
pub use walk::{Look, Walker};
pub use witness::Witnessed;
