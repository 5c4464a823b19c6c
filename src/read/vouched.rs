//! Whether a segment that has a successor is the one that this continues: asked before its first record is delivered.
//!
//! A file under the right name, and of the right log, may be another all the same: a copy of the log that went on by
//! itself has the same id, and other records under the same numbers.  The next segment's header names the seal of the
//! right one.
//! Damage is no contradiction: where that seal cannot be read, what lies in front of it can.

use std::sync::Arc;

use super::segment::{self, OpenSegment};
use super::{sealed, short, skip, Look, Walker};
use crate::base::bytes::usize_of;
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::frame::{Seal, FLAG_SEAL};
use crate::format::{Chain, SegmentHeader};
use crate::segment::{Directory, State};

/// Most bytes read at once.
const PIECE: usize = 64 << 10;

/// Corrupt: the next segment's header names another end than this one's.  With `next` that header is known already.
pub fn check(directory: &Directory, opened: &OpenSegment, next: Option<&SegmentHeader>) -> Result<()> {
    if short::is_of_later_generation(opened)? {
        let error = Error::new(Code::Corrupt, short::OTHERS_END).in_segment(opened.header.index);
        return Err(error.about_seq(opened.header.first_seq));
    }
    let mut next = next.copied();
    // What looks wrong beside a writer is looked at again.
    for _ in 0..2 {
        let behind = match next.take() {
            Some(next) => Some(next),
            None => header_behind(directory, opened)?,
        };
        let header = &opened.header;
        let is_behind = |next: &SegmentHeader| next.log_id == header.log_id && next.first_seq >= header.first_seq;
        let Some(behind) = behind.filter(is_behind) else { return Ok(()) };
        match check_seal(opened, &behind) {
            Err(error) if skip::is_damage(&error) => {}
            checked => return checked.map(drop),
        }
        if !has_another_end(opened, &behind)? {
            return Ok(());
        }
    }
    let text = format!("{} is another segment than the one that its successor continues", opened.name);
    let text = format!("{text}: the next header names another end");
    Err(Error::new(Code::Corrupt, text).in_segment(opened.header.index).about_seq(opened.header.first_seq))
}

/// What nobody can read vouches for nothing: None.
fn header_behind(directory: &Directory, opened: &OpenSegment) -> Result<Option<SegmentHeader>> {
    let index = opened.header.index + 1;
    if directory.segment(index).is_none() && opened.name.state != State::Active {
        // A reader's own list may be older than the file.
        directory.scan()?;
    }
    if directory.segment(index).is_none() {
        return Ok(None);
    }
    match segment::open_short(directory, index, Access::Read) {
        Ok(next) => Ok(Some(next.header)),
        // That may be gone at the next look.
        Err(error) if error.code == Code::NoMem => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether the frames that lie in the segment cannot be those that end in the seal which `next` names.
fn has_another_end(opened: &OpenSegment, next: &SegmentHeader) -> Result<bool> {
    let (header, named) = (&opened.header, &next.before);
    let mut walker = Walker::new(Arc::clone(&opened.file), header, u64::from(header.block_size), PIECE)?;
    walker.read_sparsely();
    let mut chain = header.before;
    loop {
        let offset = walker.offset();
        let (frame, identity) = match walker.look_at_head() {
            Look::Whole(frame, identity) if chain.continues_in(&frame) => (frame, identity),
            // Where it cannot be read any further nothing is delivered either.
            _ => return Ok(false),
        };
        chain = Chain::after(&frame, identity);
        if frame.has(FLAG_SEAL) {
            let seal = Seal::decode(walker.words(&frame));
            return Ok(seal.is_some_and(|seal| seal.end(chain, offset) != (*named, next.before_offset)));
        }
        walker.pass(&frame);
        let of_other_epoch =
            frame.epoch > named.epoch || (frame.epoch == named.epoch && frame.epoch_id != named.epoch_id);
        let is_beyond = !header.is_compacted() && walker.offset() > next.before_offset;
        if of_other_epoch || is_beyond || frame.last_seq() > named.last_seq {
            return Ok(true);
        }
    }
}

/// The segment before ends in the very seal that `header` names, or in one that stands for it.
pub fn check_seal(before: &OpenSegment, header: &SegmentHeader) -> Result<Seal> {
    let index = before.header.index;
    let block = usize_of(u64::from(before.header.block_size));
    let mut walker = Walker::new(before.file.clone(), &before.header, u64::from(before.header.block_size), block)?;
    let offset = sealed::seal_offset(&before.header, header, |at| {
        walker.go_to(at);
        walker.look_at_header().ok().flatten()
    });
    let wrong = |text: &'static str| Err(Error::new(Code::Corrupt, text).at(index, offset));
    if offset >= before.header.segment_size {
        return wrong("the next segment names a seal behind the end of this one");
    }
    walker.go_to(offset);
    match walker.look_over() {
        Look::Whole(frame, identity) if frame.has(FLAG_SEAL) => {
            let Some(seal) = Seal::decode(walker.words(&frame)) else {
                return wrong("the segment's seal says nothing");
            };
            if seal.first_seal.is_some() && !before.header.is_compacted() {
                return wrong("the segment's seal stands for another one, and it was never compacted");
            }
            if seal.end(Chain::after(&frame, identity), offset) != (header.before, header.before_offset) {
                return wrong("the segment does not end in the seal that the next one names");
            }
            let numbers = header.first_seq - before.header.first_seq;
            let counted = seal.record_count == numbers || (before.header.is_compacted() && seal.record_count < numbers);
            if seal.first_seq != before.header.first_seq || !counted {
                return wrong("the segment's seal contradicts its header");
            }
            Ok(seal)
        }
        Look::Unreadable(error) => Err(error),
        _ => wrong("the segment does not end in the seal that the next one names"),
    }
}
