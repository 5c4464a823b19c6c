//! From a follower's directory to the state that its position speaks of.
//!
//! What is in front of the position was acknowledged: damage there refuses.
//! What is behind it was not: it is cut off, and fetched again.  What a crash can
//! have left behind it:
//!
//! | | what is set right |
//! |---|---|
//! | bytes behind the position's offset | zeros are written over them |
//! | a segment above the position's, without a frame: it was begun, or a promotion began it | it is removed |
//! | the position's own segment named as sealed: a promotion did it | it is active again |
//! | the one before named active: the rename was still to come | it is sealed, or archived |
//! | spares | they are removed |
//!
//! All of it is looked at first; nothing is changed in a directory that is refused.

use std::sync::Arc;

use super::sink::{finish, Segment, SlotFile};
use super::track::{is_zero, Track};
use super::window::{read_exactly, Window};
use crate::base::bytes::usize_of;
use crate::base::clock::Clock;
use crate::base::limits::FRAME_SIZE_CAP;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, Durable, File};
use crate::format::{SegmentHeader, SinkSlot};
use crate::mem::AlignedBuf;
use crate::read::segment::{self, OpenSegment};
use crate::read::sparse::Holes;
use crate::recover::examine;
use crate::segment::directory::{lock_for_writing, Listing};
use crate::segment::followed::Followed;
use crate::segment::name::{HOLDS, SINK};
use crate::segment::{Directory, SegmentName, State};

/// What a sink begins with.
pub(super) struct Found {
    pub slots: SlotFile,
    pub slot: SinkSlot,
    pub segment: Option<Segment>,
}

/// Makes the directory, which the caller has locked, a follower's, or sets it right.
pub(super) fn reopen(directory: &Directory, clock: &Clock) -> Result<Found> {
    let listing = directory.scan()?;
    if let Some(unknown) = listing.unknown.first() {
        return Err(Error::new(Code::Corrupt, examine::unknown_name(unknown)));
    }
    if listing.holds {
        // A copied one would hold for ever what the promoted log is asked to give back.
        let text = format!("the directory has a file of holds ({HOLDS}), which is a log's and no follower's");
        return Err(Error::new(Code::State, text));
    }
    if !listing.sink {
        return begin(directory, &listing, clock);
    }
    let file = directory.follower_position(Access::Write)?;
    let failed = |error| Error::os(format_args!("cannot flush {SINK}"), &error);
    // A write of a killed process may be on its way.
    lock_for_writing(file.as_ref(), &SINK, clock)?;
    file.sync().map_err(failed)?;
    let (mut slots, slot) = SlotFile::read(file)?;
    let names = Followed::of(&listing.segments, &slot);
    if let Some((name, text)) = names.wrong.first() {
        let index = name.map_or(slot.index, |name| name.index);
        return Err(Error::new(Code::Corrupt, text.clone()).in_segment(index));
    }
    let segment = match names.own {
        Some(own) => Some(open_segment(directory, &names, own, &slot, clock)?),
        None => None,
    };
    if let Some(above) = names.above {
        check_only_begun(directory, &above)?;
    }
    set_right(directory, &listing, &names)?;
    if let Some(Segment { file, track }) = &segment {
        cut(file.as_ref(), &track.header, track.offset)?;
    }
    // Before anybody is told: its own write may have failed behind what is read here, and a flush that comes later
    // says nothing of that.  What it speaks of was flushed before it was written at all.
    slots.write_again(&slot)?;
    Ok(Found { slots, slot, segment })
}

/// A directory in which nothing is followed yet.
fn begin(directory: &Directory, listing: &Listing, clock: &Clock) -> Result<Found> {
    listing.check_no_log()?;
    remove_spares(directory, listing)?;
    let slot = SinkSlot { number: 1, ..SinkSlot::default() };
    let file = directory.begin_following(&SlotFile::first(directory, &slot)?)?;
    lock_for_writing(file.as_ref(), &SINK, clock)?;
    let (slots, slot) = SlotFile::read(file)?;
    Ok(Found { slots, slot, segment: None })
}

/// Verifies what is in front of the position: every header, the seals that they name, every byte of the newest segment.
fn open_segment(
    directory: &Directory,
    names: &Followed,
    own: SegmentName,
    slot: &SinkSlot,
    clock: &Clock,
) -> Result<Segment> {
    let (_, file) = directory.open_segment(own.index, Access::Write)?;
    lock_for_writing(file.as_ref(), &own, clock)?;
    let failed = |error| Error::os(format_args!("cannot flush {own}"), &error).in_segment(own.index);
    // Before it is read: what a killed process left in the kernel reads well now and could be gone after a power cut.
    file.sync().map_err(failed)?;
    directory.sync()?;
    let elders = &names.names[..names.names.len() - 1];
    let from = elders.iter().rposition(|name| name.state == State::Archived).unwrap_or(0);
    let mut before: Option<OpenSegment> = None;
    for name in &elders[from..] {
        before = Some(examine::open_next(directory, name, before.as_ref(), Access::Read)?.0);
    }
    let (opened, _) = examine::open_next(directory, &own, before.as_ref(), Access::Write)?;
    let header = opened.header;
    if (header.log_id, header.salt, header.generation) != (slot.log_id, slot.salt, slot.generation) {
        let text = "the segment is not the one that the follower's position names";
        return Err(Error::new(Code::Corrupt, text).in_segment(own.index));
    }
    let track = walk(&file, header, slot)?;
    Ok(Segment { file, track })
}

/// Every byte up to the position.
fn walk(file: &Arc<dyn File>, header: SegmentHeader, slot: &SinkSlot) -> Result<Track> {
    let mut track = Track::begin(header);
    let there = u64::from(header.block_size)..=header.segment_size;
    if !there.contains(&slot.offset) || !slot.offset.is_multiple_of(u64::from(header.block_size)) {
        return Err(track.damaged("the follower's position is no place in its segment"));
    }
    let mut window = Window::new()?;
    while track.offset < slot.offset && !track.read(file, &mut window, slot.offset)?.is_empty() {}
    if track.is_sealed() {
        // Nothing vouches for what is behind a seal, and nobody reads it.
        track.offset = track.offset.max(slot.offset);
    }
    if track.offset != slot.offset || track.chain != slot.chain {
        return Err(track.damaged("what is durable by the follower's position is not there"));
    }
    Ok(track)
}

/// A segment above the position was begun, and no more: its first frame comes when the position is in it.  One that has
/// frames was acknowledged, and the position is an old one that somebody has put back.
fn check_only_begun(directory: &Directory, above: &SegmentName) -> Result<()> {
    let opened = match segment::open(directory, above.index, Access::Read) {
        Ok(opened) => opened,
        Err(error) if error.code == Code::Corrupt => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut track = Track::begin(opened.header);
    match track.read(&opened.file, &mut Window::new()?, opened.header.segment_size) {
        Err(error) if error.code == Code::Corrupt => Ok(()),
        Err(error) => Err(error),
        Ok(read) if read.is_empty() => Ok(()),
        Ok(_) => {
            let text = format!("{above} holds records, and by {SINK} it is not there: an earlier {SINK} was put back");
            Err(Error::new(Code::Corrupt, text).in_segment(above.index))
        }
    }
}

/// What a crash left half done is finished or taken back; durable.
fn set_right(directory: &Directory, listing: &Listing, names: &Followed) -> Result<()> {
    if let Some(own) = names.own {
        // First: in between, a promoted log's names would look like those of one that lost its newest segment.
        directory.set_state(own, State::Active)?;
    }
    if let Some(above) = names.above {
        directory.drop_file(&above.to_string())?;
    }
    directory.sync()?;
    if let Some(index) = names.unfinished {
        finish(directory, index)?;
    }
    remove_spares(directory, listing)
}

fn remove_spares(directory: &Directory, listing: &Listing) -> Result<()> {
    for &n in &listing.spares {
        if let Some(spare) = directory.open_spare(n)? {
            directory.remove_spare(spare)?;
        }
    }
    Ok(())
}

/// Makes what is behind the position zeros again: blocks of zeros are not shipped.
fn cut(file: &dyn File, header: &SegmentHeader, offset: u64) -> Result<()> {
    let failed = |error| Error::os("cannot cut off what was not durable", &error).at(header.index, offset);
    let mut buf = AlignedBuf::zeroed(usize_of(FRAME_SIZE_CAP.min(header.segment_size - offset)))?;
    let (mut at, mut changed) = (offset, false);
    // A header may say that there are terabytes.
    let mut holes = Holes::of_room(file);
    loop {
        at = holes.pass(file, at, u64::from(header.block_size), header.segment_size);
        if at >= header.segment_size {
            break;
        }
        let len = FRAME_SIZE_CAP.min(header.segment_size - at);
        // What cannot be read is written over, too.
        let read = read_exactly(file, &mut buf, header.index, at, len);
        if read.is_err() || !is_zero(&buf[..usize_of(len)]) {
            buf.fill(0);
            file.write_at(&buf[..usize_of(len)], at, Durable::No).map_err(failed)?;
            changed = true;
        }
        at += len;
    }
    if changed {
        file.sync().map_err(failed)?;
    }
    Ok(())
}
