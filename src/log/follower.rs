//! A follower's copy, open for reading only: what is in it is what its position says, whatever its frames do.

use super::reader::Reader;
use super::{Inner, Log, Side};
use crate::base::clock::Clock;
use crate::base::{Code, Error, Result};
use crate::format::SinkSlot;
use crate::read::position::DurablePosition;
use crate::recover::copy;
use crate::recover::examine::{Damage, Examined};
use crate::segment::directory::Listing;
use crate::segment::followed::Followed;
use crate::segment::{Directory, SegmentName};

/// How often names are listed that a sink changes meanwhile.
const LOOKS: u32 = 20;

/// What a directory is to a reader.
pub(super) enum Kind {
    /// A log's.
    Log,
    /// A follower's; None: its position cannot be read.
    Copy(Option<DurablePosition>),
}

impl Kind {
    pub(super) fn of(listing: &Listing) -> Kind {
        if listing.sink {
            Kind::Copy(None)
        } else {
            Kind::Log
        }
    }
}

/// One look at a follower's copy; None: it is promoted meanwhile.  `listing` may be older than the position.
pub(super) fn look(
    directory: &Directory,
    listing: &Listing,
    verify: bool,
    position: &mut Option<DurablePosition>,
) -> Result<Option<Result<Examined, Damage>>> {
    let read = match DurablePosition::read(directory) {
        Ok(None) => return Ok(None),
        Ok(Some(read)) => read,
        // How far it is durable nobody knows then.
        Err(error) if error.code == Code::Corrupt => {
            let last_good_seq = listing.segments.first().map_or(0, |oldest| oldest.first_seq - 1);
            return Ok(Some(Err(Damage { error, last_good_seq })));
        }
        Err(error) => return Err(error),
    };
    if read.slot.index == 0 {
        return Err(Error::new(Code::NotFound, "the follower has nothing yet that could be read"));
    }
    // Names after the position: what has gone on since is above it.
    let now = directory.scan()?;
    if !now.sink {
        return Ok(None);
    }
    let read = position.insert(read);
    // A name that is none of a log's is the caller's business.
    let now = Listing { unknown: listing.unknown.clone(), ..now };
    Ok(Some(copy::examine(directory, &now, &read.slot, verify)))
}

impl Reader {
    /// The segments of a follower's copy, as they are named now, and its position; None: it is a log that is read.
    pub(super) fn followed(
        &self,
        directory: &Directory,
        clock: &Clock,
    ) -> Result<Option<(Vec<SegmentName>, SinkSlot)>> {
        for _ in 0..LOOKS {
            let (_, stopped) = self.look_on(clock);
            if !self.follows() {
                return Ok(None);
            }
            // Damaged, or another copy is in its place.
            if let Some(error) = stopped.filter(|_| self.is_damaged()) {
                return Err(error);
            }
            let slot = self.slot().ok_or_else(busy)?;
            let names = directory.scan()?.segments;
            if Followed::of(&names, &slot).wrong.is_empty() {
                return Ok(Some((names, slot)));
            }
        }
        Err(busy())
    }
}

fn busy() -> Error {
    Error::new(Code::Busy, "the follower's segments change too fast, or are damaged")
}

impl Log {
    /// The names and the position of a follower's copy; None: it is a log that is open.
    pub(crate) fn followed(&self) -> Result<Option<(Vec<SegmentName>, SinkSlot)>> {
        match &self.inner.side {
            Side::Reader(reader) if reader.follows() => reader.followed(&self.inner.directory, &self.inner.clock),
            _ => Ok(None),
        }
    }

    /// It is a follower's copy that is read here, and no log: it is open for reading only, and was not promoted since.
    pub fn is_follower(&self) -> bool {
        matches!(&self.inner.side, Side::Reader(reader) if reader.follows())
    }

    /// See [`Inner::judged`].
    pub(crate) fn judged(&self, error: Error) -> Error {
        self.inner.judged(error)
    }
}

impl Inner {
    /// What a reader met.  Of a follower's copy it is no damage if another copy is in its place by now.
    pub(super) fn judged(&self, error: Error) -> Error {
        match &self.side {
            Side::Reader(reader) if reader.follows() && matches!(error.code, Code::Corrupt | Code::Trimmed) => {
                reader.look_on(&self.clock).1.filter(|found| found.code == Code::State).unwrap_or(error)
            }
            _ => error,
        }
    }
}
