//! Layer 2: the only door to files.
//!
//! [`Disk`], [`Dir`] and [`File`] say what a call has done when it returns; the
//! two engines (`uring.rs`, `blocking.rs`, over the common `real.rs`) and the
//! simulated disk (`sim/`) keep that promise alike, so everything above runs
//! unchanged on any of them.  A disk does not know what it stores.
//!
//! What "durable" means below: on a device that honours flushes it is there
//! after a power loss.  What "written" means: the kernel has it; it survives the
//! death of the process, not of the machine.

mod blocking;
pub mod cancel;
mod descriptors;
pub mod latch;
mod mapped;
mod names;
mod probe;
pub mod real;
pub mod sim;
mod uring;

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use mapped::Mapped;
pub use probe::Cache;

/// Whether a write is durable when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// Written; a later [`File::sync`] makes it durable.
    No,
    /// This write, and only this one, is durable when the call returns: what
    /// was written before it without a flush still is not.
    Yes,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// Which byte of a file a lock covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockByte {
    /// Byte 0: whoever writes the file.
    Writer,
    /// Byte 1: whoever reads the file and needs its content to stay.
    Reader,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// By any number of holders.
    Shared,
    /// By one.
    Exclusive,
}

/// What an open directory's disk can do, and which engine was chosen why.
#[derive(Debug, Clone)]
pub struct Facts {
    /// "io_uring", "blocking" or "simulated".
    pub engine: &'static str,
    /// Why this engine and this durable primitive, for people.
    pub reason: String,
    /// What the device's cache does with a durable write.
    pub cache: Cache,
    /// Name of the file system.
    pub file_system: String,
    /// Offsets and lengths of reads and writes are multiples of this, bytes.
    pub block_align: u32,
    /// Addresses of buffers are multiples of this, bytes.
    pub mem_align: u32,
    /// Whether I/O bypasses the page cache.
    pub direct: bool,
    /// Whether a long reading is to be done ahead, on a thread of its own.
    pub read_ahead: bool,
}

/// A machine's files.
pub trait Disk: Send + Sync {
    /// Opens directory `path`.  With `create`, a missing last component is
    /// created (mode 0700) first, and the parent flushed.
    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Dir>>;
}

/// One open directory.
pub trait Dir: Any + Send + Sync {
    /// The names in it, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes file `name` (mode 0600), empty; fails if it exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens file `name`.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file; fails with EEXIST rather than replace another.  Durable after [`Dir::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames a file over another one, which loses this name: at every moment one of the two has it.
    /// Durable after [`Dir::sync`].
    fn replace(&self, from: &str, over: &str) -> io::Result<()>;

    /// Swaps two names, whatever has them, file or not: at every moment both are there.  Durable after [`Dir::sync`].
    fn exchange(&self, one: &str, other: &str) -> io::Result<()>;

    /// Gives what has this name, file or not, the name `new` in the directory `to`; fails with EEXIST rather than replace
    /// another, and with EXDEV where `to` is on another file system.  Durable after [`Dir::sync`] of `to` and then of
    /// this directory.
    fn move_to(&self, name: &str, to: &dyn Dir, new: &str) -> io::Result<()>;

    /// Keeps a little of the device's room back, so that a rename that needs some
    /// works on a full device.  False: the device is full now.  Where room cannot
    /// be kept for another reason, renames may find the device full.
    fn keep_room(&self) -> bool;

    /// Gives back what [`Dir::keep_room`] keeps, for whoever needs a little of it; false: nothing was kept.
    fn give_room(&self) -> bool;

    /// Removes a file's name.  Durable after [`Dir::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every creation, rename and removal that returned before durable.
    fn sync(&self) -> io::Result<()>;

    /// Tries to lock the directory against other openers; false: somebody holds it.
    fn try_lock(&self, kind: LockKind) -> io::Result<bool>;

    /// Gives the directory's lock back.
    fn unlock(&self) -> io::Result<()>;

    /// Whether the directory `path`, or what it would be made in, is this one or lies below it; false also where
    /// that cannot be told.
    fn is_around(&self, path: &Path) -> bool;

    /// What this directory's disk can do.
    fn facts(&self) -> &Facts;

    /// In a forked child: closes the child's copies of every descriptor of the
    /// directory and its files, and touches neither disk nor locks.  Of all these
    /// nothing may be used afterwards but drop.
    fn abandon(&self);
}

/// One open file.  Buffers, offsets and lengths obey [`Facts`].  Dropping it
/// closes it and gives its locks back, once every write issued has completed.
pub trait File: Send + Sync {
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;

    /// Bytes of the device that the file takes.
    fn room(&self) -> io::Result<u64>;

    /// Names that the file has: a backup may have linked it.
    fn names(&self) -> io::Result<u64>;

    /// Which file it is: the same for every descriptor of it, and for no other file meanwhile.
    fn identity(&self) -> io::Result<(u64, u64)>;

    /// Reads at `offset`; fewer bytes than asked only where the file ends.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `buf`, or fails: a short write is a failed write.
    fn write_at(&self, buf: &[u8], offset: u64, durable: Durable) -> io::Result<()>;

    /// Makes every write that returned before durable, with what is needed to
    /// read it back (size, extents).
    fn sync(&self) -> io::Result<()>;

    /// Takes the device's room for `size` bytes and makes the file that long,
    /// without writing it.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Shortens the file to `size` bytes, at any byte; durable after [`File::sync`].
    /// The end of whoever wrote whole blocks: nothing is written behind it afterwards.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// First offset from `offset` on that was allocated but never written, or
    /// the file's size if there is none: writes before it change no metadata.
    fn written_until(&self, offset: u64) -> io::Result<u64>;

    /// First offset from `offset` on that may hold other bytes than zeros, or the file's size if there is none; a disk
    /// that cannot tell answers `offset`.
    fn data_from(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }

    /// Tries to lock one byte through this very descriptor; false: somebody
    /// else's descriptor holds it.  Held until unlocked, or until the last
    /// reference to the open file is gone, which includes every write in
    /// flight: a killed process' late write still holds it.
    fn try_lock(&self, byte: LockByte, kind: LockKind) -> io::Result<bool>;

    /// Gives the lock back.
    fn unlock(&self, byte: LockByte) -> io::Result<()>;

    /// The first `len` bytes as memory, through the page cache; Unsupported where that cannot be had.  For files
    /// that nobody writes any more.
    fn map(&self, len: u64) -> io::Result<Mapped> {
        let _ = len;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Lets the page cache forget `len` bytes at `offset`, if it likes.
    fn uncache(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
    /// Whether somebody else's descriptor holds that lock, either way.
    fn is_locked(&self, byte: LockByte) -> io::Result<bool>;
}
