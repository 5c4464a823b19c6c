//! What a repair changes of names: each step is durable when it returns, or by the next `sync`.

use std::sync::Arc;

use super::{cannot_open, is_no_file, lock, not_a_file, Directory, COPIES, UNFINISHED_REPAIR};
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File};
use crate::segment::{SegmentName, Spare, State};

impl Directory {
    /// From now on, until [`Directory::end_repair`], nobody opens this log.
    pub fn begin_repair(&self) -> Result<()> {
        match self.dir.create(UNFINISHED_REPAIR) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(Error::os(format_args!("cannot create {UNFINISHED_REPAIR}"), &error)),
        }
        self.sync()
    }

    /// Every change is made; the log may be opened again.
    pub fn end_repair(&self) -> Result<()> {
        self.sync()?;
        self.drop_file(UNFINISHED_REPAIR)?;
        self.sync()
    }

    /// Says that what is here are copies, and no log; durably, before there are any.
    pub fn begin_copies(&self) -> Result<()> {
        match self.dir.create(COPIES) {
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
                Err(Error::os(format_args!("cannot create {COPIES}"), &error))
            }
            _ => self.sync(),
        }
    }

    /// Whether [`Directory::begin_copies`] said so.
    pub fn holds_copies(&self) -> Result<bool> {
        self.has(COPIES)
    }

    /// Whether a repair was begun here that has not come to its end.
    pub fn has_unfinished_repair(&self) -> Result<bool> {
        self.has(UNFINISHED_REPAIR)
    }

    fn has(&self, name: &str) -> Result<bool> {
        let names = self.dir.list().map_err(|error| Error::os("cannot list the directory", &error))?;
        Ok(names.iter().any(|found| found == name))
    }

    /// Removes a file by name.  Durable with the next sync.
    pub fn drop_file(&self, name: &str) -> Result<()> {
        self.dir.remove(name).map_err(|error| Error::os(format_args!("cannot remove {name}"), &error))?;
        lock(&self.segments).retain(|segment| segment.to_string() != name);
        Ok(())
    }

    /// As [`Directory::publish`], where a file that is not the segment has its name.
    pub fn publish_over(&self, spare: &Spare, name: SegmentName) -> Result<()> {
        let _names = lock(&self.names);
        self.rename_over(&spare.name, &name.to_string())?;
        self.sync()
    }

    /// The segment is the newest again.  Durable with the next sync.
    pub fn revive(&self, name: SegmentName) -> Result<()> {
        let _names = lock(&self.names);
        if name.state == State::Active {
            return Ok(());
        }
        self.rename_segment(name, State::Active)
    }

    /// Whether this is a file, and not a directory, a link or a FIFO; what cannot be opened for another reason counts
    /// as one.
    pub fn is_file(&self, name: &str) -> Result<bool> {
        match self.dir.open(name, Access::Read) {
            Err(error) if is_no_file(&error) => Ok(false),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
                Err(cannot_open(&name, &error))
            }
            _ => Ok(true),
        }
    }

    /// The segment is no longer known.
    pub fn forget(&self, name: &SegmentName) {
        lock(&self.segments).retain(|segment| segment != name);
    }

    /// Moves what has this name into `to`, under this name or one like it that is free: says which.  Durable with both.
    pub fn move_out(&self, name: &str, to: &Directory, new: &str) -> Result<String> {
        let moved = free_name(new, |free| self.dir.move_to(name, to.dir.as_ref(), free));
        moved.map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(0);
            let why = match errno {
                libc::EXDEV => "it can only be moved, to a backup on the log's own file system",
                libc::EBUSY => "a mount point cannot be moved",
                _ => return Error::os(format_args!("cannot move {name}"), &error),
            };
            Error { os_errno: errno, ..Error::new(Code::Unsupported, format!("{}: {why}", not_a_file(&name))) }
        })
    }

    /// Swaps two names of which one is a spare's.  Durable with the next sync.
    pub fn exchange(&self, spare: &str, name: &str) -> Result<()> {
        self.dir
            .exchange(spare, name)
            .map_err(|error| Error::os(format_args!("cannot exchange {spare} and {name}"), &error))
    }

    /// Opens a file by name.
    pub fn open_file(&self, name: &str, access: Access) -> Result<Arc<dyn File>> {
        self.dir.open(name, access).map_err(|error| cannot_open(&name, &error))
    }

    /// Makes an empty file of that name, or of one like it that is free.
    pub fn create_like(&self, name: &str) -> Result<Arc<dyn File>> {
        let mut made = None;
        free_name(name, |free| self.dir.create(free).map(|file| made = Some(file)))
            .map_err(|error| Error::os(format_args!("cannot create {name}"), &error))?;
        Ok(made.expect("it was made"))
    }
}

/// Takes the name, or the first one like it that is free, and says which.
fn free_name(name: &str, mut take: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<String> {
    let mut free = name.to_owned();
    for n in 2..1000 {
        match take(&free) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => free = format!("{name}.{n}"),
            taken => return taken.map(|()| free),
        }
    }
    Err(std::io::Error::from_raw_os_error(libc::EEXIST))
}
