//! Events in files of the v2.6 layout: what they say, into a log, out of a log.
//!
//! * [`mod@replay`]: rebuilds the operations that the files hold and says what is to be done.
//! * [`mod@import`]: appends the events to a log, under new numbers.
//! * [`mod@export`]: writes a log's events as such files.

mod abandoned;
pub mod export;
pub mod import;
pub mod replay;

pub use export::{export, export_log, Exported, LeftOut};
pub use import::{import, Import, Imported, Sink};
pub use replay::{replay, Replayed, Wrong};
