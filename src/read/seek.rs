//! Where in a segment a number is, without reading all in front of it.
//!
//! A frame's header says its own place and numbers, so it can be found from any
//! block; numbers rise with the offset.  The place is guessed from the numbers
//! on both sides, and from the middle where guessing does not help: a handful of
//! reads of some blocks each, then from frame to frame.
//!
//! Relies on: everything up to `end` was written in this life of the segment and
//! not cut since.  Behind the end may lie what a cut took away, and it verifies.
//! Finds nothing rather than something wrong: who asks goes the whole way then.

use super::segment::OpenSegment;
use super::{sealed, Walker};
use crate::base::Result;
use crate::format::{FrameHeader, SegmentHeader};

/// From here on it goes from frame to frame.
const NEAR: u64 = 128 << 10;
/// Most bytes read at once.
const PIECE: usize = 64 << 10;

/// A place, and a number there.
#[derive(Clone, Copy)]
struct Side {
    offset: u64,
    seq: u64,
}

/// Up to which offset a segment, which has this successor, is what it says: behind its seal may lie a cut tail.
pub fn end_before(opened: &OpenSegment, next: &SegmentHeader) -> Result<u64> {
    let mut walker = sparse(opened)?;
    let seal = sealed::seal_offset(&opened.header, next, |at| {
        walker.go_to(at);
        walker.look_at_header().ok().flatten()
    });
    Ok(seal.min(opened.header.segment_size))
}

fn sparse(opened: &OpenSegment) -> Result<Walker> {
    let header = &opened.header;
    let mut walker = Walker::new(opened.file.clone(), header, u64::from(header.block_size), PIECE)?;
    walker.read_sparsely();
    Ok(walker)
}

/// The frame that holds `seq`, and its offset; None: it was not found in front of `end`.  `next_seq` is a number that
/// is not in front of it.
pub fn frame_of(opened: &OpenSegment, seq: u64, end: u64, next_seq: u64) -> Result<Option<(u64, FrameHeader)>> {
    let header = &opened.header;
    let block = u64::from(header.block_size);
    let mut walker = sparse(opened)?;
    let mut low = Side { offset: block, seq: header.first_seq };
    let mut high = Side { offset: end, seq: next_seq };
    let mut guessing = true;
    while high.offset.saturating_sub(low.offset) > NEAR && low.seq < high.seq {
        let from = place(low, high, seq, guessing).clamp(low.offset + block, high.offset - block) / block * block;
        walker.go_to(from);
        let before = high.offset - low.offset;
        match next_header(&mut walker, high.offset, block)? {
            Some(frame) if frame.first_seq <= seq => {
                low = Side { offset: walker.offset(), seq: frame.first_seq };
                if frame.seq_span > 0 && seq <= frame.last_seq() {
                    return Ok(Some((walker.offset(), frame)));
                }
            }
            Some(frame) => high = Side { offset: from, seq: frame.first_seq.min(high.seq) },
            None => high.offset = from,
        }
        // A guess that did not halve what is left is followed by a look in the middle.
        guessing = !guessing || (high.offset - low.offset) * 2 <= before;
    }
    walker.go_to(low.offset);
    while walker.offset() < end {
        let Some(frame) = walker.look_at_header()? else { break };
        if frame.first_seq > seq {
            break;
        }
        if frame.seq_span > 0 && seq <= frame.last_seq() {
            return Ok(Some((walker.offset(), frame)));
        }
        walker.pass(&frame);
    }
    Ok(None)
}

/// Where to look next: where the number would be if all were equally long, a little in front of it; or the middle.
fn place(low: Side, high: Side, seq: u64, guessing: bool) -> u64 {
    let len = high.offset - low.offset;
    if !guessing || seq <= low.seq {
        return low.offset + len / 2;
    }
    let share = u128::from(len) * u128::from(seq - low.seq) / u128::from(high.seq - low.seq);
    let share = u64::try_from(share).unwrap_or(len).min(len);
    low.offset + share.saturating_sub(NEAR / 2)
}

/// The first verified header from the walker's place on, in front of `end`; the walker is there then.
fn next_header(walker: &mut Walker, end: u64, block: u64) -> Result<Option<FrameHeader>> {
    while walker.offset() + block <= end {
        if let Some(frame) = walker.look_at_header()? {
            return Ok(Some(frame));
        }
        walker.pass_block();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_between_the_sides() {
        let (low, high) = (Side { offset: 4096, seq: 1 }, Side { offset: 1 << 40, seq: u64::MAX });
        for seq in [1, 2, 1 << 20, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            for guessing in [false, true] {
                let at = place(low, high, seq, guessing);
                assert!((low.offset..=high.offset).contains(&at), "{seq}: {at}");
            }
        }
        // Equally long records: as near as can be, and not behind.
        let (low, high) = (Side { offset: 0, seq: 1 }, Side { offset: 1_000_000, seq: 1001 });
        assert_eq!(place(low, high, 501, true), 500_000 - NEAR / 2);
        assert_eq!(place(low, high, 501, false), 500_000);
        assert_eq!(place(low, high, 2, true), 0);
    }
}
