//! The newest archived segment's header and seal, made again.
//!
//! Its records were released and nobody reads them, but its seal is what tells a
//! log whose beginning was given back from one that lost it: without it no log
//! opens.  What the two blocks held can be known from what is around them:
//!
//! ```text
//!    of the header                from
//!    log, history, block          the next segment's header
//!    index, first number          the file's name
//!    size                         the file
//!    salt                         the checksum of any of its frames
//!    how the one before ended     its seal, if it is still there; else the first frame
//!
//!    of the seal                  from
//!    place, number, epoch         the next segment's header, which names the seal
//!    records                      the first numbers of both segments
//!    chain                        the header of the frame in front
//!    frames                       the body's checksum, which is half of its identity
//! ```
//!
//! A compacted segment is not made again: what it dropped is not known.
//!
//! Nothing is taken on trust: what is made must be the very seal whose identity,
//! both checksums of it, the next segment's header names.

use super::examine;
use super::fill::lengthen;
use super::finding::Acknowledged;
use super::plan::{Step, StepKind};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::crc::crc32c;
use crate::base::{random, Code, Error, Result};
use crate::disk::{Access, Durable, File};
use crate::format::frame::{Seal, FLAG_SEAL, SEAL_LEN};
use crate::format::{Chain, FrameHeader, Place, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::AlignedBuf;
use crate::read::sealed::{self, SealedEnd};
use crate::read::segment::{self, OpenSegment};
use crate::read::short;
use crate::read::skip::is_damage;
use crate::read::sparse::Holes;
use crate::read::stream::{Glimpse, Stream};
use crate::segment::{Directory, SegmentName};

/// How many places the frames of one file may claim: a block of records may begin like a frame.
const PLACES_MAX: usize = 8;

/// What is written again, and what it was.
pub struct Restored {
    /// Which segment.
    pub name: SegmentName,
    /// What is wrong with it.
    pub error: Error,
    /// How it ends.
    pub chain: Chain,
    /// Bytes that the file has, or is to have.
    size: u64,
    /// The header, unless it is whole.
    header: Option<AlignedBuf>,
    /// The seal and its offset, unless it is whole.
    seal: Option<(u64, AlignedBuf)>,
}

impl Restored {
    /// For people and programs.
    pub fn step(&self) -> Step {
        let seal = self.seal.as_ref().map_or(0, |(offset, _)| *offset);
        Step {
            kind: StepKind::Restore,
            file: self.name.to_string(),
            segment: self.name.index,
            offset: if self.header.is_some() { 0 } else { seal },
            first_seq: self.name.first_seq,
            last_seq: self.name.first_seq - 1,
            acknowledged: Acknowledged::No,
        }
    }

    /// Writes both, durably.
    pub fn write(&self, file: &dyn File) -> Result<()> {
        // It may be short, too.
        lengthen(file, self.name.index, self.size)?;
        let header = self.header.iter().map(|block| (0, block));
        for (offset, block) in header.chain(self.seal.iter().map(|(offset, block)| (*offset, block))) {
            let failed = |error| Error::os("cannot write the segment again", &error).at(self.name.index, offset);
            file.write_at(block, offset, Durable::No).map_err(failed)?;
        }
        file.sync().map_err(|error| Error::os("cannot flush the segment", &error).in_segment(self.name.index))
    }
}

/// What it takes to make `name`, of which `error` says what is wrong, the segment that `next` continues; None: it is
/// not known.
pub fn restore(
    directory: &Directory,
    names: &[SegmentName],
    name: &SegmentName,
    next: &SegmentName,
    error: &Error,
) -> Result<Option<Restored>> {
    let Some(next) = whole(segment::open_at_rest(directory, next.index, Access::Read)?)? else { return Ok(None) };
    let next = next.header;
    if next.index != name.index + 1 || next.first_seq < name.first_seq {
        return Ok(None);
    }
    let restored = |size, header: Option<AlignedBuf>, seal: Option<AlignedBuf>| Restored {
        name: *name,
        error: error.clone(),
        chain: next.before,
        size,
        header,
        seal: seal.map(|block| (next.before_offset, block)),
    };
    let opened = segment::open_at_rest(directory, name.index, Access::Write)?;
    if let Some((opened, _)) = whole(opened.and_then(|opened| examine::continue_in(opened, None)))? {
        let ours = opened.header.log_id == next.log_id && opened.header.block_size == next.block_size;
        let seal = if ours && !opened.header.is_compacted() { seal(&opened, &next)? } else { None };
        return Ok(seal.map(|seal| restored(opened.header.segment_size, None, Some(seal))));
    }
    let file = match directory.open_file(&name.to_string(), Access::Read) {
        // What is no file.
        Err(error) if error.code == Code::Corrupt => return Ok(None),
        opened => opened?,
    };
    let elder = names.iter().rev().find(|elder| elder.index + 1 == name.index);
    let elder = match elder {
        Some(elder) => segment::open_at_rest(directory, elder.index, Access::Read)?.ok(),
        None => None,
    };
    let ends = elder.filter(|elder| elder.header.log_id == next.log_id).and_then(|elder| {
        let SealedEnd { chain, before_offset, .. } = sealed::check(&elder).ok()?;
        (chain.last_seq + 1 == name.first_seq).then_some((chain, before_offset))
    });
    for place in places(file.as_ref(), &next)? {
        let Some(header) = header(file.as_ref(), name, &next, place, ends)? else { continue };
        let mut block = AlignedBuf::zeroed(usize_of(u64::from(header.block_size)))?;
        header.encode(&mut block);
        let opened = OpenSegment { name: *name, file: file.clone(), header };
        if whole(examine::check_seal(&opened, &next))?.is_some() {
            return Ok(Some(restored(header.segment_size, Some(block), None)));
        }
        if let Some(seal) = seal(&opened, &next)? {
            return Ok(Some(restored(header.segment_size, Some(block), Some(seal))));
        }
    }
    Ok(None)
}

/// None: damage.
fn whole<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The places that the file's frames, up to its seal, are of: one, but for records that look like frames.
fn places(file: &dyn File, next: &SegmentHeader) -> Result<Vec<Place>> {
    let mut block = AlignedBuf::zeroed(usize_of(u64::from(next.block_size)))?;
    let mut places = Vec::new();
    let block_size = u64::from(next.block_size);
    let size = file.size().map_err(|error| Error::os("cannot measure the segment", &error))?;
    let end = size.min(next.before_offset.saturating_add(block_size));
    let (mut holes, mut at) = (Holes::default(), block_size);
    while at < end && places.len() < PLACES_MAX {
        // What cannot be read says nothing.
        let read = file.read_at(&mut block, at).unwrap_or(0);
        if let Some(place) = FrameHeader::place_of(at, &block[..read]).filter(|place| !places.contains(place)) {
            places.push(place);
        }
        at = holes.pass(file, at + block_size, block_size, end);
    }
    Ok(places)
}

/// The header of a file whose frames are of `place`; `ends` says how the segment before ended.
fn header(
    file: &dyn File,
    name: &SegmentName,
    next: &SegmentHeader,
    place: Place,
    ends: Option<(Chain, u64)>,
) -> Result<Option<SegmentHeader>> {
    let block_size = u64::from(next.block_size);
    let size = file.size().map_err(|error| Error::os(format_args!("cannot measure {name}"), &error))?;
    let mut block = AlignedBuf::zeroed(usize_of(block_size))?;
    let read = file.read_at(&mut block, 0).unwrap_or(0);
    let kept = SegmentHeader::unverified_salt(&block[..read]);
    let salt = match kept.filter(|salt| Place::new(&next.log_id, salt) == place) {
        Some(salt) => salt,
        None => place.salt(&next.log_id, random::id()?),
    };
    let read = file.read_at(&mut block, block_size).unwrap_or(0);
    let first = FrameHeader::decode(place, block_size, &block[..read]).map(|(frame, _)| Chain::before(&frame));
    let unknown = Chain { last_seq: name.first_seq - 1, ..Chain::default() };
    let (before, before_offset) = match ends {
        _ if name.index == 1 => (Chain::default(), 0),
        Some(ends) => ends,
        None => (first.filter(|before| before.last_seq == unknown.last_seq).unwrap_or(unknown), 0),
    };
    let header = SegmentHeader {
        index: name.index,
        // Not known any more.
        created_ns: 0,
        segment_size: size / block_size * block_size,
        first_seq: name.first_seq,
        salt,
        generation: 0,
        before,
        before_offset,
        ..*next
    };
    header.encode(&mut block);
    // What would not be believed is not written.
    Ok(SegmentHeader::decode(&block, true).is_ok().then_some(header))
}

/// The seal that `next` names, at the end of `opened`.
fn seal(opened: &OpenSegment, next: &SegmentHeader) -> Result<Option<AlignedBuf>> {
    let block_size = u64::from(next.block_size);
    let end = next.before_offset;
    if end < block_size || end + block_size > opened.header.segment_size {
        return Ok(None);
    }
    let mut stream = Stream::new(opened.file.clone(), &opened.header)?;
    let frame_max = FrameHeader::LEN_MAX.next_multiple_of(block_size);
    // Nothing of it can lie behind what is there.
    let mut at = end.min(short::bytes_there(opened)?.next_multiple_of(block_size));
    let chain = loop {
        at -= block_size;
        if at == 0 {
            break opened.header.before.identity;
        }
        if end - at > frame_max {
            // None that begins here or further in front can end there.
            return Ok(None);
        }
        stream.expect_from_behind(at);
        let ends_there = |frame: FrameHeader| at + frame.frame_len(block_size) == end;
        // What cannot be read is passed over: then what is found does not end there.
        if !stream.header_at(at).is_ok_and(|frame| frame.is_some_and(ends_there)) {
            continue;
        }
        if let Glimpse::Whole(_, identity, _) | Glimpse::BadBody(_, identity, _) = stream.look(at) {
            break identity;
        }
    };
    let mut block = AlignedBuf::zeroed(usize_of(block_size))?;
    let body = FRAME_HEADER_LEN..FRAME_HEADER_LEN + SEAL_LEN;
    let (record_count, first_seq) = (next.first_seq - opened.header.first_seq, opened.header.first_seq);
    // 32 bits of a number that is smaller: at most one fits.
    let counted = (0..end / block_size).find(|frame_count| {
        Seal { record_count, first_seq, frame_count: *frame_count, first_seal: None }.encode(&mut block[body.clone()]);
        u64::from(crc32c(&block[body.clone()])) == next.before.identity & u64::from(u32::MAX)
    });
    if counted.is_none() {
        return Ok(None);
    }
    let frame = FrameHeader {
        body_len: u32::try_from(SEAL_LEN).expect("a few bytes"),
        body_crc: crc32c(&block[body]),
        first_seq: next.first_seq,
        seq_span: 0,
        record_count: 0,
        flags: FLAG_SEAL,
        // Everything in front was flushed before it was written.
        durable_seq: next.before.last_seq,
        durable_end: end,
        epoch: next.before.epoch,
        epoch_id: next.before.epoch_id,
        frame_number: next.before.frame_number,
        chain,
    };
    debug_assert!(len_u64(block.len()) == block_size);
    let identity = frame.encode(opened.header.place(), end, &mut block);
    Ok((identity == next.before.identity).then_some(block))
}
