//! A follower's copy: what its position says is durable, and no more.
//!
//! The position is read before the names.  Its sink may move on: then there is
//! more than it spoke of, which is looked at by nobody, and names have changed
//! as the sink changes them.  What still looks wrong is looked at again, with
//! the position of then.

use std::sync::Arc;

use super::super::finding::{Acknowledged, Finding, Kind};
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File};
use crate::format::SinkSlot;
use crate::read::segment;
use crate::read::stream::{Glimpse, Stream};
use crate::segment::directory::{FollowerPosition, Listing};
use crate::segment::followed::Followed;
use crate::segment::name::{HOLDS, SINK};
use crate::segment::{Directory, SegmentName};

/// What a look at a follower's directory says of it.
pub(super) struct Copy {
    /// Its position; None: how far it is durable is not known.
    pub(super) slot: Option<SinkSlot>,
    pub(super) names: Followed,
    /// What is wrong with the position.
    pub(super) findings: Vec<Finding>,
}

/// Reads the position; None: there is none.
pub(super) fn position(directory: &Directory, alone: bool) -> Option<Result<FollowerPosition>> {
    let file = match directory.follower_position(Access::Read) {
        Err(error) if error.code == Code::NotFound => return None,
        other => other,
    };
    let read = |file: Arc<dyn File>| {
        if alone {
            // What a killed process left in the kernel is not to be believed and then be lost.
            file.sync().map_err(|error| Error::flush(format_args!("cannot flush {SINK}"), &error))?;
        }
        FollowerPosition::read(file.as_ref())
    };
    Some(file.and_then(read))
}

impl Copy {
    /// The directory's names, listed after the position was read.
    pub(super) fn of(
        directory: &Directory,
        listing: &Listing,
        position: Result<FollowerPosition>,
        alone: bool,
    ) -> Copy {
        let known = position.and_then(|position| Ok((position.known()?, position.rotten)));
        let (slot, rotten) = match known {
            Ok(known) => known,
            Err(error) => {
                let kind = match error.code {
                    Code::Version => Kind::Version,
                    Code::Corrupt => Kind::Position,
                    _ => Kind::Unreadable,
                };
                return Copy {
                    slot: None,
                    names: Followed::default(),
                    findings: vec![Finding::of(kind, SINK, &error)],
                };
            }
        };
        let mut findings = Vec::new();
        if let Some(offset) = rotten {
            let text = "a copy of the follower's position is damaged; the other one is whole";
            // Of that copy: what it says is known.
            findings.push(Finding { offset, ..Finding::new(Kind::Position, SINK, text) });
        }
        if listing.holds {
            let text = "a file of holds, which is a log's and no follower's";
            let acknowledged = Acknowledged::Unknown;
            findings.push(Finding { acknowledged, ..Finding::new(Kind::Name, HOLDS, text) });
        }
        let names = Followed::of(&listing.segments, &slot);
        if let Some(above) = names.above.filter(|above| alone && holds_frames(directory, above)) {
            let text = format!("{above} holds records, and by {SINK} it is not there: an earlier {SINK} was put back");
            findings.push(Finding { segment: above.index, ..Finding::new(Kind::Position, SINK, text) });
        }
        Copy { slot: Some(slot), names, findings }
    }

    /// Nothing looks wrong that a sink which moves on could have made look so.
    pub(super) fn is_settled(&self) -> bool {
        self.findings.is_empty() && self.names.wrong.is_empty()
    }
}

/// No frame comes before the position is in its segment.  What cannot be read says nothing.
fn holds_frames(directory: &Directory, name: &SegmentName) -> bool {
    let looked = || -> Result<bool> {
        let opened = segment::open(directory, name.index, Access::Read)?;
        let offset = u64::from(opened.header.block_size);
        let glimpse = Stream::new(Arc::clone(&opened.file), &opened.header)?.look(offset);
        Ok(matches!(glimpse, Glimpse::Whole(frame, ..) if opened.header.before.continues_in(&frame)))
    };
    looked().unwrap_or(false)
}

/// The finding, if a walk that came to the position is not where that says it is.
pub(super) fn differs(
    name: &SegmentName,
    slot: &SinkSlot,
    (offset, identity): (u64, u64),
    seq: u64,
    text: &'static str,
) -> Finding {
    Finding {
        segment: name.index,
        offset,
        seq,
        last_seq: slot.chain.last_seq,
        expected: slot.chain.identity,
        found: identity,
        ..Finding::new(Kind::Position, name.to_string(), text)
    }
}
