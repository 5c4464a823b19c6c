//! How far a follower's copy can be read: to its position, whatever its frames say.
//!
//! What a frame of the copy says was durable was so at the source.  Of this disk the
//! file `twal-sink` alone testifies.  What it speaks of was flushed before it was
//! written; it itself may be on its way, so it is flushed before it is believed.
//!
//! Each look asks whether the copy is still the one that was opened:
//!
//! | `twal-sink` | the directory is |
//! |---|---|
//! | the same file, with the same slot or a newer one | that follower's, durable up to there |
//! | gone, and the newest segment has a history of its own | a log's: it was promoted |
//! | gone otherwise; another file; an older slot | not what was opened: begun anew, or put back |

use std::sync::Arc;

use super::scout::Scout;
use super::segment::{self, open_to_read, OpenSegment};
use super::{Reach, Witnessed};
use crate::base::clock::Clock;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File};
use crate::format::{SegmentHeader, SinkSlot};
use crate::segment::directory::FollowerPosition;
use crate::segment::name::SINK;
use crate::segment::Directory;

/// How often what does not fit together is looked at: a sink may be in the middle of a step.
const LOOKS: u32 = 4;

/// A position that a crash does not take back.
#[derive(Clone)]
pub struct DurablePosition {
    /// The file that says it.
    pub file: Arc<dyn File>,
    /// What it says.
    pub slot: SinkSlot,
}

impl DurablePosition {
    /// The directory's; None: it is no follower's.
    pub fn read(directory: &Directory) -> Result<Option<DurablePosition>> {
        let file = match directory.follower_position(Access::Read) {
            Err(error) if error.code == Code::NotFound => return Ok(None),
            opened => opened?,
        };
        let slot = FollowerPosition::read(file.as_ref())?.known()?;
        flush(file.as_ref())?;
        Ok(Some(DurablePosition { file, slot }))
    }
}

/// After it was read: what was read is in front of the flush then.
fn flush(file: &dyn File) -> Result<()> {
    file.sync().map_err(|error| Error { code: Code::Io, ..Error::os(format_args!("cannot flush {SINK}"), &error) })
}

/// Why the position cannot be one in the segment with this header.
pub fn misplaced(slot: &SinkSlot, header: &SegmentHeader) -> Option<&'static str> {
    let block = u64::from(header.block_size);
    if (header.salt, header.generation) != (slot.salt, slot.generation) {
        return Some("the segment is not the one that the follower's position names");
    }
    let is_place = (block..=header.segment_size).contains(&slot.offset) && slot.offset.is_multiple_of(block);
    (!is_place).then_some("the follower's position is no place in its segment")
}

/// Follows a follower's position.
pub struct PositionScout {
    directory: Arc<Directory>,
    position: DurablePosition,
    /// The segment that it is in.
    own: OpenSegment,
}

impl PositionScout {
    /// A scout of a copy that is whole up to `position`, which is in the segment `own`.
    pub fn new(directory: Arc<Directory>, position: DurablePosition, own: OpenSegment) -> PositionScout {
        PositionScout { directory, position, own }
    }

    /// The position.
    pub fn slot(&self) -> &SinkSlot {
        &self.position.slot
    }

    /// Everything up to this number can be delivered.
    pub fn seq(&self) -> u64 {
        self.slot().chain.last_seq
    }

    /// The same as a place in the files.
    pub fn reach(&self) -> Reach {
        Reach { segment: self.slot().index, end: self.slot().offset }
    }

    /// Looks how far the copy is by now; false: it was promoted, and [`PositionScout::into_log`] goes on.  State: the
    /// directory is not that copy any more.
    pub fn look_on(&mut self) -> Result<bool> {
        let mut looks = 0;
        loop {
            looks += 1;
            match self.look() {
                Err(error) if looks < LOOKS && matches!(error.code, Code::Corrupt | Code::Trimmed | Code::State) => {}
                // The sink has gone on and given back what it was in: the next look finds where it is.
                Err(error) if matches!(error.code, Code::Trimmed | Code::Busy) => return Ok(true),
                looked => return looked,
            }
        }
    }

    fn look(&mut self) -> Result<bool> {
        let failed = |error| Error::os(format_args!("cannot look at {SINK}"), &error);
        let named = match self.directory.follower_position(Access::Read) {
            Err(error) if error.code == Code::NotFound => return self.look_at_log().map(|()| false),
            opened => opened?,
        };
        // Ours is open, so no other file has its number.
        if named.identity().map_err(failed)? != self.position.file.identity().map_err(failed)? {
            return Err(replaced());
        }
        self.go_on()?;
        Ok(true)
    }

    /// To the newest slot of the file that was read before.
    fn go_on(&mut self) -> Result<()> {
        let file = self.position.file.as_ref();
        let (slot, last) = (FollowerPosition::read(file)?.known()?, self.position.slot);
        if slot == last {
            return Ok(());
        }
        if slot.number <= last.number || (slot.log_id, slot.history_id) != (last.log_id, last.history_id) {
            return Err(replaced());
        }
        flush(file)?;
        if slot.index != last.index {
            self.directory.end_at(slot.index);
            self.own = open_to_read(&self.directory, slot.index, &slot.log_id)?;
        }
        if let Some(text) = misplaced(&slot, &self.own.header) {
            return Err(Error::new(Code::Corrupt, text).in_segment(slot.index));
        }
        self.position.slot = slot;
        Ok(())
    }

    /// The file has no name any more: a promotion took it, or the copy is gone.  Its last word is not needed: a log's end
    /// is what its frames say.
    fn look_at_log(&self) -> Result<()> {
        self.directory.end_at(u64::MAX);
        let listing = self.directory.scan()?;
        let newest = listing.segments.last().filter(|newest| !listing.sink && newest.index > self.slot().index);
        let header = newest.map(|newest| segment::open(&self.directory, newest.index, Access::Read)).transpose()?;
        let slot = self.slot();
        let is_promoted = header
            .is_some_and(|opened| opened.header.log_id == slot.log_id && opened.header.history_id != slot.history_id);
        if is_promoted {
            Ok(())
        } else {
            Err(replaced())
        }
    }

    /// A scout of the log that the copy has become.
    pub fn into_log(&self, clock: Clock) -> Result<Scout> {
        let OpenSegment { file, header, .. } = &self.own;
        // From the segment's begin: how far frames of it are durable is theirs to say now.
        let witnessed = Witnessed::by_header(header);
        Scout::new(Arc::clone(&self.directory), clock, (Arc::clone(file), *header), witnessed)
    }
}

fn replaced() -> Error {
    let text = "the directory is not the follower's copy any more that was opened: it was begun anew, put back or \
                removed; open it again";
    Error::new(Code::State, text)
}
