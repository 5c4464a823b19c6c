//! All of a segment that is complete, from its header to its seal: every frame
//! and record of it verified, and none missing.

use super::records::check_records;
use super::segment::OpenSegment;
use super::stream::Passing;
use super::walk::READ_AHEAD;
use super::{Look, Walker};
use crate::base::{Code, Error, Result};
use crate::format::frame::{Seal, FLAG_DATA, FLAG_SEAL};
use crate::format::{Chain, FrameHeader, SegmentHeader};

/// How such a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedEnd {
    /// What the next segment's header says of it: how the frames end,
    pub chain: Chain,
    /// and where the seal is, or was before the segment was compacted.
    pub before_offset: u64,
    /// Offset behind the seal.
    pub offset: u64,
    /// Records in the segment.
    pub records: u64,
}

impl SealedEnd {
    /// The frames of segment `index` end where its successor says, whose header is `next`: others in their place, of a copy
    /// that went on by itself or cut off by a repair, may be whole too, and end in a seal of their own.
    pub fn check_named(&self, index: u64, next: &SegmentHeader) -> Result<()> {
        if (self.chain, self.before_offset) == (next.before, next.before_offset) {
            return Ok(());
        }
        let text = "the segment's frames are others than those that its successor continues: they end in another seal";
        Err(Error::new(Code::Corrupt, text).in_segment(index))
    }
}

/// Where a walk through a segment had to stop.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// What is there, and where.
    pub error: Error,
    /// How the frames in front of it end.
    pub end: Chain,
    /// Offset behind the last of them.
    pub offset: u64,
}

/// What is given each frame of a segment with its body, and may end the walk.
type Each<'e> = &'e mut dyn FnMut(&FrameHeader, &[u8]) -> Result<()>;

/// Walks `segment`; `each` is given every frame with its body, the seal too, and may end the walk.
pub fn walk(segment: &OpenSegment, each: Each<'_>) -> Result<SealedEnd, Stopped> {
    walk_and(segment, u64::MAX, Some(each))
}

/// The same for whoever asks for no frame: none that is longer than what is read at once stays in memory.
pub fn check(segment: &OpenSegment) -> Result<SealedEnd, Stopped> {
    walk_and(segment, u64::MAX, None)
}

/// The same up to offset `end`, where the frames of a segment end that is not complete.
pub fn check_up_to(segment: &OpenSegment, end: u64) -> Result<(), Stopped> {
    walk_and(segment, end, None).map(drop)
}

fn walk_and(segment: &OpenSegment, until: u64, mut each: Option<Each<'_>>) -> Result<SealedEnd, Stopped> {
    let header = &segment.header;
    let (mut end, mut records) = (header.before, 0);
    let block = u64::from(header.block_size);
    let stopped = |error, end, offset| Stopped { error, end, offset };
    let mut walker =
        Walker::new(segment.file.clone(), header, block, READ_AHEAD).map_err(|e| stopped(e, end, block))?;
    loop {
        let offset = walker.offset();
        if offset >= until {
            return Ok(SealedEnd { chain: end, before_offset: offset, offset, records });
        }
        let mut long: Option<Passing> = None;
        let look = match &each {
            Some(_) => walker.look(),
            None => walker.look_through(&mut |frame, at, bytes| {
                long.get_or_insert_with(|| Passing::of(frame, at)).feed(at, bytes);
            }),
        };
        let (frame, identity) = match look {
            Look::Whole(frame, identity) if end.continues_in(&frame) => (frame, identity),
            Look::Unreadable(error) => return Err(stopped(error, end, offset)),
            _ => return Err(stopped(rot(header.index, offset, &end), end, offset)),
        };
        let body = match &long {
            None if frame.has(FLAG_DATA) => walker.body(&frame),
            _ => walker.words(&frame),
        };
        let checked = match long {
            Some(long) => long.finish(&frame, header.is_compacted()),
            None => check_records(&frame, header.is_compacted(), body),
        };
        checked.map_err(|error| stopped(error.at(header.index, offset), end, offset))?;
        let seal = if frame.has(FLAG_SEAL) { Some(Seal::decode(body)) } else { None };
        if seal.is_some_and(|seal| !agrees(seal.as_ref(), header, records)) {
            let error = Error::new(Code::Corrupt, "the segment's seal contradicts what it ends");
            return Err(stopped(error.at(header.index, offset), end, offset));
        }
        if let Some(each) = &mut each {
            each(&frame, body).map_err(|error| stopped(error, end, offset))?;
        }
        records += u64::from(frame.record_count);
        end = Chain::after(&frame, identity);
        walker.pass(&frame);
        if let Some(seal) = seal.flatten() {
            let (chain, before_offset) = seal.end(end, offset);
            return Ok(SealedEnd { chain, before_offset, offset: walker.offset(), records });
        }
    }
}

/// The seal says what was counted, and stands for another one only after a compaction.
fn agrees(seal: Option<&Seal>, header: &SegmentHeader, records: u64) -> bool {
    seal.is_some_and(|seal| {
        let may_stand = header.is_compacted() || seal.first_seal.is_none();
        may_stand && seal.first_seq == header.first_seq && seal.record_count == records
    })
}

/// The error for acknowledged data that is damaged.
pub fn rot(index: u64, offset: u64, last: &Chain) -> Error {
    Error::new(Code::Corrupt, "a frame that was acknowledged is damaged").at(index, offset).about_seq(last.last_seq + 1)
}

/// Offset of the seal of the segment with this header, which has a successor: `frame_at` says which verified
/// header is at an offset.
pub fn seal_offset(
    header: &SegmentHeader,
    next: &SegmentHeader,
    frame_at: impl FnOnce(u64) -> Option<FrameHeader>,
) -> u64 {
    let named = next.before_offset;
    // The next header names the seal that was there before the segment was compacted; but one that a repair cut
    // and revived got a new seal, which is named again.
    let is_named = |frame: FrameHeader| {
        let last = (next.before.epoch, next.before.epoch_id, next.before.frame_number);
        frame.has(FLAG_SEAL) && (frame.epoch, frame.epoch_id, frame.frame_number) == last
    };
    if !header.is_compacted() || (named < header.segment_size && frame_at(named).is_some_and(is_named)) {
        return named;
    }
    header.compacted_seal_offset()
}
