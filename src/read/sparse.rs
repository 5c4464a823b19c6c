//! Files that have more bytes than they take room on the device.
//!
//! A file of a few blocks may say that it is a segment of a terabyte, and a
//! header of 128 bytes that its frame has a gigabyte.  So what was never written
//! is passed over without being read, and a length takes memory only where as
//! much is there.
//!
//! A hole reads as zeros, and no frame lies in zeros: to pass over it gives what
//! reading it gives.  A log's own segments have no holes, where the file system
//! takes room ahead; of them nothing but their size is asked.

use crate::disk::File;

/// Whether the device holds as many bytes of the file.
pub fn is_there(file: &dyn File, bytes: u64) -> bool {
    file.room().is_ok_and(|room| room >= bytes)
}

/// Where in one file nothing was ever written.
#[derive(Debug, Default)]
pub struct Holes {
    /// Whether there can be any; None: nobody has asked yet.
    any: Option<bool>,
}

impl Holes {
    /// Of a file that took its room ahead, too: what it never wrote of that is passed over as well.
    pub fn of_room(file: &dyn File) -> Holes {
        Holes { any: Some(file.sync().is_ok()) }
    }

    /// `at`, or where a hole is there, the first block behind it that may hold something; `end` if there is none in front
    /// of that.  A place between two blocks is the front one's.
    pub fn pass(&mut self, file: &dyn File, at: u64, block: u64, end: u64) -> u64 {
        if at >= end || !*self.any.get_or_insert_with(|| may_have_holes(file)) {
            return at;
        }
        // What cannot be asked is read.
        let data = file.data_from(at).unwrap_or(at);
        (data / block * block).clamp(at, end)
    }
}

/// Flushed before holes are looked for: file systems have taken for one what was on its way there.
fn may_have_holes(file: &dyn File) -> bool {
    let sparse = file.size().is_ok_and(|size| !is_there(file, size));
    sparse && file.sync().is_ok()
}
