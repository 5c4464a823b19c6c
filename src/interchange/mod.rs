//! Layer 6: files of the v2.6 layout, as records to read and to write: docs/FORMAT.md, The v2.6 layout.
//!
//! What the records mean is asked elsewhere.  Through the same door to files as
//! everything, so that no page cache fills and every crash can be played.
//!
//! * [`name`]: which files of a directory are of the layout.
//! * [`read`]: their records in order, every one checked, or where it stopped.
//! * [`mod@write`]: a whole set of files, or none after any crash.
#![forbid(unsafe_code)]

pub mod name;
pub mod read;
pub mod write;

pub use read::{ReadOptions, Reader, Record, Spot, Summary};
pub use write::{WriteOptions, Writer, Written};

use crate::base::options::IoEngine;
use crate::disk::real::RealDisk;

/// The machine's disk, on any file system: nothing that is promised of a log is promised here.
fn real_disk() -> RealDisk {
    RealDisk::new(IoEngine::Blocking, true, true)
}
