//! Layer 4: reading.  Never writes.
#![forbid(unsafe_code)]

pub mod ahead;
pub mod cursor;
pub mod followers;
pub mod hidden;
pub mod scout;
pub mod sealed;
pub mod segment;
pub mod skip;
pub mod stream;
pub mod walk;
pub mod witness;

pub use cursor::Cursor;
pub use hidden::Hidden;
pub use skip::Skipped;
pub use walk::{Look, Walker};
pub use witness::Witnessed;
