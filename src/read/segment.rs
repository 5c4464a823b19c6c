//! Opening one segment for reading: its header, verified against its name.

use std::sync::Arc;

use super::short;
use crate::base::limits::{BLOCK_SIZE_MAX, BLOCK_SIZE_MIN};
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File, LockByte, LockKind};
use crate::format::{Id, SegmentHeader};
use crate::mem::AlignedBuf;
use crate::segment::{Directory, SegmentName, State};

/// An open segment.
#[derive(Clone)]
pub struct OpenSegment {
    /// What its name said.
    pub name: SegmentName,
    /// Its file.
    pub file: Arc<dyn File>,
    /// What its header says.
    pub header: SegmentHeader,
}

impl OpenSegment {
    /// It, if its file has all the bytes that its header says.
    pub fn whole(self) -> Result<OpenSegment> {
        short::check_size(self.file.as_ref(), self.header.index, self.header.segment_size)?;
        Ok(self)
    }

    /// In a log: whether a compaction has put it, whole and durable, in the place of the file that was written.  (One that
    /// is active again was cut by a repair, and is written on.)
    pub fn is_replacement(&self) -> bool {
        self.header.is_compacted() && self.name.state != State::Active
    }
}

/// Reads and verifies the header of segment `index`; with `access` Write only
/// if this library may also write such a log.
pub fn open(directory: &Directory, index: u64, access: Access) -> Result<OpenSegment> {
    open_short(directory, index, access)?.whole()
}

/// As [`open`], also of a file that lacks bytes at its end: what lies in front of that can be read.
pub fn open_short(directory: &Directory, index: u64, access: Access) -> Result<OpenSegment> {
    let (name, file) = directory.open_segment(index, access)?;
    open_file(directory, name, file, access)
}

/// As [`open_short`], for whoever decides what becomes of the file: the inner error is what is wrong with it.  The outer
/// one is the machine's, which does not let it be opened now, and says nothing of what it holds.
pub fn open_at_rest(directory: &Directory, index: u64, access: Access) -> Result<Result<OpenSegment>> {
    at_rest(directory.open_segment(index, access), |(name, file)| open_file(directory, name, file, access))
}

/// The header in the file of segment `index`, whatever segment it says it is; errors as those of [`open_at_rest`].
pub fn peek_at_rest(directory: &Directory, index: u64) -> Result<Result<SegmentHeader>> {
    let read = |(_, file): (SegmentName, Arc<dyn File>)| read_header(directory, file.as_ref(), index, Access::Read);
    at_rest(directory.open_segment(index, Access::Read), read)
}

/// What `read` makes of a file that was opened.
fn at_rest<F, T>(opened: Result<F>, read: impl FnOnce(F) -> Result<T>) -> Result<Result<T>> {
    match opened {
        // What is no file.
        Err(error) if error.code == Code::Corrupt => Ok(Err(error)),
        opened => match read(opened?) {
            Err(error) if error.code == Code::NoMem => Err(error),
            read => Ok(read),
        },
    }
}

fn open_file(directory: &Directory, name: SegmentName, file: Arc<dyn File>, access: Access) -> Result<OpenSegment> {
    let index = name.index;
    let header = read_header(directory, file.as_ref(), index, access)?;
    if header.index != name.index || header.first_seq != name.first_seq {
        return Err(Error::new(
            Code::Corrupt,
            format!("{name} holds segment {} from record {} on", header.index, header.first_seq),
        )
        .in_segment(index));
    }
    Ok(OpenSegment { name, file, header })
}

/// A segment in a file of any name: its header's word is the only one; errors as those of [`open_at_rest`].
pub fn open_by_name(directory: &Directory, file_name: &str) -> Result<Result<OpenSegment>> {
    at_rest(directory.open_file(file_name, Access::Read), |file| {
        let header = read_header(directory, file.as_ref(), 0, Access::Read)?;
        let name = SegmentName { index: header.index, first_seq: header.first_seq, state: State::Sealed };
        Ok(OpenSegment { name, file, header })
    })
}

/// As [`open_short`] for a reader, who keeps the content from being recycled while the
/// file is open.  Trimmed, with the oldest number that there is: it is gone already; Busy: it is not there quite yet.
pub fn open_to_read(directory: &Directory, index: u64, log_id: &Id) -> Result<OpenSegment> {
    let trimmed = || {
        let first_seq = directory.first_seq();
        let text = format!("segment {index} was released, the oldest record is {first_seq}");
        Error::new(Code::Trimmed, text).in_segment(index).about_seq(first_seq)
    };
    let released = || -> Result<bool> {
        if directory.lost_elders()?.is_some() {
            return Ok(false);
        }
        let is_none = directory.segment(index).is_none_or(|name| name.state == State::Archived);
        Ok(is_none
            && match directory.segments().first() {
                Some(oldest) => index < oldest.index,
                // A follower that has gone on far beyond what this handle knows of.
                None => directory.has_segment_files()?,
            })
    };
    let opened = match directory.open_segment(index, Access::Read) {
        // Another thread's listing has it.
        Err(error) if error.code == Code::NotFound && directory.segment(index).is_some() => {
            directory.open_segment(index, Access::Read)
        }
        opened => opened,
    };
    let (name, file) = match opened {
        Err(error) if error.code == Code::NotFound && released()? => return Err(trimmed()),
        Err(error) if error.code == Code::NotFound => {
            return Err(Error { code: Code::Corrupt, ..error });
        }
        other => other?,
    };
    let locked = file
        .try_lock(LockByte::Reader, LockKind::Shared)
        .map_err(|error| Error::os(format_args!("cannot lock {name}"), &error).in_segment(index))?;
    if !locked {
        // Taken out of the log; or on its way into it: the writer gives the lock back after the name is durable.
        directory.scan()?;
        return Err(match directory.segment(index) {
            Some(name) if name.state != State::Archived => {
                Error::new(Code::Busy, format!("segment {index} is being begun")).in_segment(index)
            }
            _ => trimmed(),
        });
    }
    // Between the open and the lock the file may have become another segment.
    let header = read_header(directory, file.as_ref(), index, Access::Read);
    if header.as_ref().map_or(true, |header| header.index != index) {
        directory.scan()?;
        if released()? {
            return Err(trimmed());
        }
    }
    let header = header?;
    if header.log_id != *log_id || header.index != index || header.first_seq != name.first_seq {
        return Err(Error::new(Code::Corrupt, format!("{name} holds another segment")).in_segment(index));
    }
    Ok(OpenSegment { name, file, header })
}

/// Version: this library may read the segment, and must not write it.
pub fn check_writable(directory: &Directory, opened: &OpenSegment) -> Result<()> {
    read_header(directory, opened.file.as_ref(), opened.name.index, Access::Write).map(drop)
}

/// The header in the file of segment `index`, whatever segment it says it is.
pub fn peek(directory: &Directory, index: u64) -> Result<SegmentHeader> {
    let (_, file) = directory.open_segment(index, Access::Read)?;
    read_header(directory, file.as_ref(), index, Access::Read)
}

/// The checksums that differ in a header that is damaged: what should be there, and what is.  None where it is something
/// else that is wrong with the file.
pub fn differing_checksums(directory: &Directory, index: u64) -> Option<(u32, u32)> {
    let (_, file) = directory.open_segment(index, Access::Read).ok()?;
    let mut block = AlignedBuf::zeroed(BLOCK_SIZE_MAX as usize).ok()?;
    let least = directory.facts().block_align.clamp(BLOCK_SIZE_MIN, BLOCK_SIZE_MAX);
    let read = file.read_at(&mut block[..least as usize], 0).ok()?;
    SegmentHeader::checksums(&block[..read]).filter(|(expected, found)| expected != found)
}

fn read_header(directory: &Directory, file: &dyn File, index: u64, access: Access) -> Result<SegmentHeader> {
    let failed =
        |error| Error { code: Code::Io, ..Error::os("cannot read the segment header", &error) }.in_segment(index);
    // The largest block there can be: the log's own block size is only in the header.
    let mut block = AlignedBuf::zeroed(BLOCK_SIZE_MAX as usize)?;
    let read = match file.read_at(&mut block, 0) {
        Ok(read) => read,
        // A bad sector behind the header must not hide it.
        Err(_) => {
            let least = directory.facts().block_align.clamp(BLOCK_SIZE_MIN, BLOCK_SIZE_MAX);
            file.read_at(&mut block[..least as usize], 0).map_err(failed)?
        }
    };
    SegmentHeader::decode(&block[..read], access == Access::Write).map_err(|error| error.in_segment(index))
}
