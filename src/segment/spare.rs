//! Files prepared ahead of use, so that an append never grows a file.
//!
//! Appending to merely allocated space would commit the file system's journal
//! with every frame (an unwritten extent becomes a written one), so a spare is
//! written with zeros, or is an old segment whose blocks were written already.

use std::sync::Arc;

use super::directory::lock_for_writing;
use super::Directory;
use crate::base::bytes::usize_of;
use crate::base::clock::Clock;
use crate::base::limits::{ZERO_PIECE, ZERO_PIECE_MAX};
use crate::base::{Code, Error, Result};
use crate::disk::{Durable, File, LockByte, LockKind};
use crate::format::SegmentHeader;
use crate::mem::AlignedBuf;

/// A file that can become a segment.
pub struct Spare {
    /// Its present name.
    pub name: String,
    /// Open for writing, writer's lock held; of a recycled one the reader's lock
    /// too, until it is a segment again.
    pub file: Arc<dyn File>,
    /// Of its life as a segment.  Drawn here: a roll that got no random bytes could not be given up half way.
    pub salt: [u8; 16],
}

impl Spare {
    /// Writes the header of the segment that the spare is to become.
    pub fn write_header(&self, header: &SegmentHeader, durable: Durable) -> Result<()> {
        let mut block = AlignedBuf::zeroed(usize_of(u64::from(header.block_size)))?;
        header.encode(&mut block);
        self.file
            .write_at(&block, 0, durable)
            .map_err(|error| Error::os("cannot write the segment header", &error).in_segment(header.index))
    }
}

/// Makes a spare of `size` bytes of which the first `zeroed` are written; the
/// rest is only allocated.  Flushed.  On failure nothing is left behind.
pub fn prepare(directory: &Directory, size: u64, zeroed: u64, clock: &Clock) -> Result<Spare> {
    prepare_beside(directory, size, zeroed, clock, &mut || Ok(ZERO_PIECE))
}

/// The same, where `pace` is called before each piece, for what is more urgent, and says how long the piece may be.  If
/// it fails, so does this.
pub fn prepare_beside(
    directory: &Directory,
    size: u64,
    zeroed: u64,
    clock: &Clock,
    pace: &mut dyn FnMut() -> Result<u64>,
) -> Result<Spare> {
    let spare = directory.create_spare()?;
    match fill(&spare, size, zeroed, clock, pace) {
        Ok(()) => Ok(spare),
        Err(error) => {
            // The first failure is the one to report; an orphan is found again at the next open.
            let _ = directory.remove_spare(spare);
            Err(error)
        }
    }
}

fn fill(spare: &Spare, size: u64, zeroed: u64, clock: &Clock, pace: &mut dyn FnMut() -> Result<u64>) -> Result<()> {
    lock_for_writing(spare.file.as_ref(), &spare.name, clock)?;
    spare.file.allocate(size).map_err(|error| Error::os(format_args!("cannot allocate {size} bytes"), &error))?;
    zero(spare.file.as_ref(), 0, zeroed.min(size), pace)?;
    spare.file.sync().map_err(|error| Error::os(format_args!("cannot flush {}", spare.name), &error))
}

/// Writes zeros from `from` to `to`, in pieces as long as `pace` says before each, [`ZERO_PIECE_MAX`] at most.  Not
/// flushed.
pub fn zero(file: &dyn File, from: u64, to: u64, pace: &mut dyn FnMut() -> Result<u64>) -> Result<()> {
    let zeros = AlignedBuf::zeroed(usize_of(ZERO_PIECE_MAX.min(to - from)))?;
    let mut at = from;
    while at < to {
        let len = pace()?.min(to - at);
        file.write_at(&zeros[..usize_of(len)], at, Durable::No)
            .map_err(|error| Error::os("cannot write zeros ahead of use", &error))?;
        at += len;
    }
    Ok(())
}

/// Takes a spare over that an earlier opening left: locked, of full size, every
/// block written, flushed now.  None: not usable, and removed.
pub fn adopt(directory: &Directory, n: u64, size: u64, clock: &Clock) -> Result<Option<Spare>> {
    let Some(spare) = directory.open_spare(n)? else { return Ok(None) };
    let names = spare.file.names();
    if names.map_err(|error| Error::os(format_args!("cannot look at {}", spare.name), &error))? != 1 {
        // Also a segment, by a rename that a crash left half done, or somebody's copy: only the name is ours.
        directory.remove_spare(spare)?;
        return Ok(None);
    }
    lock_for_writing(spare.file.as_ref(), &spare.name, clock)?;
    // A reader may still have it open from its life as a segment: then it is not ours to overwrite.
    let unread = spare
        .file
        .try_lock(LockByte::Reader, LockKind::Exclusive)
        .map_err(|error| Error::os(format_args!("cannot lock {}", spare.name), &error))?;
    if unread && usable(&spare, size)? {
        Ok(Some(spare))
    } else {
        directory.remove_spare(spare)?;
        Ok(None)
    }
}

/// Whether a recycled segment or a found spare can be used as it is; flushes it.
pub fn usable(spare: &Spare, size: u64) -> Result<bool> {
    let failed = |error| Error::os(format_args!("cannot prepare {}", spare.name), &error);
    if spare.file.size().map_err(failed)? != size || spare.file.written_until(0).map_err(failed)? < size {
        return Ok(false);
    }
    spare.file.sync().map_err(|error| Error { code: Code::Io, ..failed(error) })?;
    Ok(true)
}
