//! A follower's position, for whoever is not its sink: reads, takes no lock, makes nothing.
//!
//! A sink may go on meanwhile: pieces that are shipped from there are the next ones, or ones that it has by then.  A
//! position whose own write failed, in a process that has ended, is only a sink's to doubt: it writes it again.

use std::path::Path;

use super::Position;
use crate::base::{Code, Error, Result};
use crate::disk::real::RealDisk;
use crate::disk::{Access, Disk};
use crate::format::{SegmentHeader, SinkSlot};
use crate::read::segment;
use crate::segment::directory::FollowerPosition;
use crate::segment::name::SINK;
use crate::segment::Directory;

/// How often a sink may be in the middle of a step.
const LOOKS: u32 = 20;

impl Position {
    /// Where the follower in directory `dir` goes on; the very beginning, where none has begun yet, or there is no such
    /// directory.
    ///
    /// # Errors
    /// As `twal_sink_open`, but for what only a look at every byte finds.
    pub fn of_follower(dir: &Path) -> Result<Position> {
        Self::of_follower_on(&RealDisk::new(crate::IoEngine::Blocking, true, true), dir)
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As [`Position::of_follower`].
    pub fn of_follower_on(disk: &dyn Disk, dir: &Path) -> Result<Position> {
        let directory = match Directory::open(disk, dir, false) {
            Err(error) if error.code == Code::NotFound => return Ok(Position::default()),
            other => other?,
        };
        let mut looks = 0;
        loop {
            looks += 1;
            let listing = directory.scan()?;
            if !listing.sink {
                listing.check_no_log()?;
                return Ok(Position::default());
            }
            let looked = look(&directory);
            let moved = |error: &Error| matches!(error.code, Code::Corrupt | Code::NotFound);
            match looked {
                Err(error) if looks < LOOKS && moved(&error) => {}
                looked => return looked,
            }
        }
    }

    /// What a slot says; `header` is that of its segment, if there is one yet.
    pub(super) fn of_slot(slot: &SinkSlot, header: Option<&SegmentHeader>) -> Position {
        let SinkSlot { log_id, history_id, salt, index, generation, offset, chain, .. } = *slot;
        let Some(header) = header else { return Position { log_id, history_id, ..Position::default() } };
        // A frame leaves room for a seal: only behind one the file can be full.
        let complete = offset == header.segment_size;
        Position {
            log_id,
            history_id,
            salt,
            index,
            generation,
            offset,
            identity: chain.identity,
            last_seq: chain.last_seq,
            // Of a segment that is not complete all is needed.
            hold_seq: if complete { chain.last_seq + 1 } else { header.first_seq },
            complete,
        }
    }
}

fn look(directory: &Directory) -> Result<Position> {
    let file = directory.follower_position(Access::Read)?;
    // What a killed sink left in the kernel is not to be acknowledged and then be lost.
    file.sync().map_err(|error| Error::os(format_args!("cannot flush {SINK}"), &error))?;
    let slot = FollowerPosition::read(file.as_ref())?.known()?;
    if slot.index == 0 {
        return Ok(Position::of_slot(&slot, None));
    }
    let header = segment::open(directory, slot.index, Access::Read)?.header;
    if (header.index, header.log_id, header.salt, header.generation)
        != (slot.index, slot.log_id, slot.salt, slot.generation)
    {
        let text = "the segment is not the one that the follower's position names";
        return Err(Error::new(Code::Corrupt, text).in_segment(slot.index));
    }
    Ok(Position::of_slot(&slot, Some(&header)))
}
