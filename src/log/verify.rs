//! Reading all of a log and changing nothing: the Rust side of `twal_verify`.

use std::path::Path;

use crate::base::options::{Config, Options};
use crate::base::{Code, Error, Result};
use crate::disk::real::RealDisk;
use crate::disk::Disk;
use crate::recover::finding::Finding;
use crate::recover::verify::{self, Effort, Verified};
use crate::segment::Directory;

/// Reads every byte of the log in `dir` and calls `found` with each spot that is
/// damaged, until it says false.
///
/// # Errors
/// As `twal_verify`, but damage is no error here: [`Verified::damaged`] counts it.
pub fn verify(dir: &Path, options: &Options, found: &mut dyn FnMut(&Finding) -> bool) -> Result<Verified> {
    verify_with(dir, options, Effort::default(), found)
}

/// The same with several threads; `found` is called on this one alone, in the order of the segments.
///
/// # Errors
/// As [`verify()`].
pub fn verify_with(
    dir: &Path,
    options: &Options,
    effort: Effort<'_>,
    found: &mut dyn FnMut(&Finding) -> bool,
) -> Result<Verified> {
    let config = Config::check(options)?;
    let disk = RealDisk::new(config.io_engine, config.allow_any_fs, config.allow_buffered);
    verify_on_with(&disk, dir, effort, found)
}

/// The same on any disk.
///
/// # Errors
/// As [`verify()`].
pub fn verify_on(disk: &dyn Disk, dir: &Path, found: &mut dyn FnMut(&Finding) -> bool) -> Result<Verified> {
    verify_on_with(disk, dir, Effort::default(), found)
}

/// Both: on any disk, with several threads.
///
/// # Errors
/// As [`verify()`].
pub fn verify_on_with(
    disk: &dyn Disk,
    dir: &Path,
    effort: Effort<'_>,
    found: &mut dyn FnMut(&Finding) -> bool,
) -> Result<Verified> {
    verify::verify(&open_existing(disk, dir)?, effort, found)
}

/// The directory of a log that should be there.
pub(super) fn open_existing(disk: &dyn Disk, dir: &Path) -> Result<Directory> {
    if dir.as_os_str().is_empty() {
        return Err(Error::new(Code::Inval, "the directory's name is empty"));
    }
    Directory::open(disk, dir, false)
}
