//! A segment file that lacks bytes at its end.
//!
//! What lies in front of a missing end is what it was.  But a header may also say more than its file ever had: that of
//! an older generation, put back over the file of a compacted segment, which is smaller.  Then what continues that
//! header is what the compaction let go.  The file tells the two apart: a compacted segment ends as no other does, and
//! where its file ends.

use crate::base::bytes::{len_u64, usize_of};
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::format::frame::{Seal, FLAG_SEAL};
use crate::format::{FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::AlignedBuf;
use crate::read::segment::OpenSegment;

/// What to say of a file under an older generation's header.
pub const OTHERS_END: &str = "the file ends as a compacted segment, and its header is that of an older generation";

/// Corrupt, at the file's end: it lacks bytes of these.
pub fn check_size(file: &dyn File, index: u64, segment_size: u64) -> Result<()> {
    missing(index, size_of(file, index)?, segment_size).map_or(Ok(()), Err)
}

/// The same of a file of `size` bytes; None: it lacks nothing.
pub fn missing(index: u64, size: u64, segment_size: u64) -> Option<Error> {
    let text = || format!("the segment file has {size} of {segment_size} bytes");
    (size < segment_size).then(|| Error::new(Code::Corrupt, text()).at(index, size))
}

/// Bytes of the segment that are there.
pub fn bytes_there(opened: &OpenSegment) -> Result<u64> {
    Ok(size_of(opened.file.as_ref(), opened.header.index)?.min(opened.header.segment_size))
}

fn size_of(file: &dyn File, index: u64) -> Result<u64> {
    file.size().map_err(|error| {
        Error { code: Code::Io, ..Error::os("cannot tell the segment file's size", &error) }.in_segment(index)
    })
}

/// Whether the file is shorter than its header says because it is another generation's.
pub fn is_of_later_generation(opened: &OpenSegment) -> Result<bool> {
    let header = &opened.header;
    let (size, block) = (bytes_there(opened)?, u64::from(header.block_size));
    if size == header.segment_size || !size.is_multiple_of(block) {
        return Ok(false);
    }
    let Some(offset) = size.checked_sub(2 * block) else { return Ok(false) };
    let mut piece = AlignedBuf::zeroed(usize_of(block))?;
    // What cannot be read says nothing.
    let read = opened.file.read_at(&mut piece, offset).unwrap_or(0);
    Ok(is_compacted_seal(header, offset, &piece[..read]))
}

/// Whether `bytes` are the seal of a compacted file of this segment, whatever salt it was written with.
fn is_compacted_seal(header: &SegmentHeader, offset: u64, bytes: &[u8]) -> bool {
    let frame = FrameHeader::place_of(offset, bytes).and_then(|place| FrameHeader::decode(place, offset, bytes));
    let Some((frame, _)) = frame.filter(|(frame, _)| frame.has(FLAG_SEAL)) else { return false };
    let end = len_u64(FRAME_HEADER_LEN) + u64::from(frame.body_len);
    if end > len_u64(bytes.len()) {
        return false;
    }
    let body = &bytes[FRAME_HEADER_LEN..usize_of(end)];
    let seal = Seal::decode(body).filter(|_| frame.body_is_whole(body));
    seal.is_some_and(|seal| seal.first_seal.is_some() && seal.first_seq == header.first_seq)
}
