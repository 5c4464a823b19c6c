//! What a log's first segment holds where no frame of it can be read.
//!
//! Its file is new when it becomes the first segment, all zeros, and never one
//! that was something else before.  The first thing that is written behind the
//! header is a mark, durably, and before anything else: it fits in one sector,
//! which a crash leaves whole or zeros.  So without it there are zeros and
//! nothing else; whatever else is there was written behind it, and is damaged;
//! or the header is not the one that it was written with.

use crate::base::bytes::{len_u64, usize_of};
use crate::base::limits::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MAX};
use crate::base::Result;
use crate::disk::File;
use crate::format::{FrameHeader, SegmentHeader, SEGMENT_HEADER_LEN};
use crate::mem::AlignedBuf;
use crate::read::sparse::Holes;

/// Bytes read at once.
const PIECE: u64 = 256 << 10;

/// The smallest block, and what a device writes as a whole.
const SECTOR: usize = 512;

const _: () = assert!(SEGMENT_HEADER_LEN == SECTOR);

/// How many places are remembered: of what lies there at random each sector claims one.
const PLACES_MAX: usize = 64;

/// What to say of a first segment in which something lies, but not its first frame.
pub const SPOILT: &str = "the log's first frame is damaged, or the segment's header is not its own";

/// What lies behind the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Zeros: nothing was ever written.
    Unwritten,
    /// Something else.
    Spoilt,
    /// Frames that were written with another header.
    OfOther,
}

/// Reads all of the file: the block size may be another header's, too.  What cannot be read says nothing.
pub fn look(file: &dyn File, header: &SegmentHeader) -> Result<Beginning> {
    let mut piece = AlignedBuf::zeroed(usize_of(PIECE))?;
    let mut places = Vec::new();
    let mut found = Beginning::Unwritten;
    let mut holes = Holes::default();
    let mut at = 0;
    loop {
        at = holes.pass(file, at, u64::from(BLOCK_SIZE_MAX), header.segment_size);
        if at >= header.segment_size {
            break;
        }
        let len = PIECE.min(header.segment_size - at);
        let mut read = file.read_at(&mut piece[..usize_of(len)], at);
        if read.is_err() {
            let block = u64::from(header.block_size).max(u64::from(BLOCK_SIZE_DEFAULT)).min(len);
            read = file.read_at(&mut piece[..usize_of(block)], at);
            if read.is_err() {
                at += block;
                continue;
            }
        }
        let Ok(read @ 1..) = read else { break };
        for (offset, sector) in (at..).step_by(SECTOR).zip(piece[..read].chunks(SECTOR)).skip(usize::from(at == 0)) {
            if sector.iter().all(|byte| *byte == 0) {
                continue;
            }
            found = Beginning::Spoilt;
            let place = FrameHeader::place_of(offset, sector).filter(|place| *place != header.place());
            match place {
                // Two of them agree: no accident.
                Some(place) if places.contains(&place) => return Ok(Beginning::OfOther),
                Some(place) if places.len() < PLACES_MAX => places.push(place),
                _ => {}
            }
        }
        at += len_u64(read);
    }
    Ok(found)
}
