//! A follower's copy, looked at to be read: what is in front of its position, and nothing else.
//!
//! All of that was acknowledged, so there is no end to be judged: whatever does
//! not fit is damage, or the sink has gone on since the position was read.

use super::examine::{self, Damage, Examined};
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::frame::FLAG_SEAL;
use crate::format::{Chain, SinkSlot};
use crate::read::position::misplaced;
use crate::read::sealed::{rot, Stopped};
use crate::read::segment::OpenSegment;
use crate::read::walk::READ_AHEAD;
use crate::read::{Look, Walker, Witnessed};
use crate::segment::directory::Listing;
use crate::segment::followed::Followed;
use crate::segment::{Directory, State};

/// Looks at every header, at every seal through the header that names it, and at every byte of the newest segment up to
/// the position; with `verify` at every byte of all that are not released.  The position is in a segment.
pub fn examine(directory: &Directory, listing: &Listing, slot: &SinkSlot, verify: bool) -> Result<Examined, Damage> {
    let followed = Followed::of(&listing.segments, slot);
    let last_seq = slot.chain.last_seq;
    if let Some(unknown) = listing.unknown.first() {
        let error = Error::new(Code::Corrupt, examine::unknown_name(unknown));
        return Err(Damage { error, last_good_seq: followed.names.first().map_or(0, |name| name.first_seq - 1) });
    }
    if let Some((name, text)) = followed.wrong.into_iter().next() {
        let (index, first_seq) = name.map_or((slot.index, last_seq + 1), |name| (name.index, name.first_seq));
        let error = Error::new(Code::Corrupt, text).in_segment(index);
        return Err(Damage { error, last_good_seq: last_seq.min(first_seq - 1) });
    }
    let names = &followed.names;
    let from = names.iter().rposition(|name| name.state == State::Archived).unwrap_or(0);
    let (mut segments, mut purged): (Vec<OpenSegment>, u64) = (Vec::new(), 0);
    for name in &names[from..] {
        let opened = examine::open_next(directory, name, segments.last(), Access::Read);
        let damaged = |error| Damage { error, last_good_seq: name.first_seq - 1 };
        let (opened, purged_before) = opened.map_err(damaged)?;
        if segments.last().is_some_and(|before| before.name.state != State::Archived) {
            purged += purged_before;
        }
        if !verify {
            // Only the one before is asked again.
            segments.clear();
        }
        segments.push(opened);
    }
    if verify {
        examine::verify_all(&segments)?;
    }
    let newest = segments.pop().expect("a position is in a segment");
    let mut examined = examine_newest(newest, slot)?;
    examined.purged += purged;
    Ok(examined)
}

/// Walks the newest segment to the position.
fn examine_newest(newest: OpenSegment, slot: &SinkSlot) -> Result<Examined, Stopped> {
    let header = newest.header;
    let block = u64::from(header.block_size);
    let (mut end, mut sealed, mut records, mut frames) = (header.before, false, 0, 0);
    let stopped = |error: Error, end: Chain, offset| Stopped { error, end, offset };
    let wrong = |text: &'static str, end: Chain, offset| {
        let error = Error::new(Code::Corrupt, text).at(header.index, offset).about_seq(end.last_seq + 1);
        stopped(error, end, offset)
    };
    if header.log_id != slot.log_id {
        return Err(stopped(examine::of_another_log(header.index), end, block));
    }
    if let Some(text) = misplaced(slot, &header) {
        return Err(wrong(text, end, block));
    }
    let walker = Walker::new(newest.file.clone(), &header, block, READ_AHEAD);
    let mut walker = walker.map_err(|error| stopped(error, end, block))?;
    walker.set_durable(slot.chain.last_seq, Some(slot.offset));
    let mut looked_again = false;
    while walker.offset() < slot.offset && !sealed {
        let offset = walker.offset();
        match walker.look() {
            Look::Whole(frame, identity) if end.continues_in(&frame) => {
                end = Chain::behind(&frame, identity, walker.body(&frame));
                walker.pass(&frame);
                sealed = frame.has(FLAG_SEAL);
                records += u64::from(frame.record_count);
                frames += 1;
                looked_again = false;
            }
            // Damage is no damage before it was read twice.
            _ if !looked_again => {
                looked_again = true;
                walker.forget();
            }
            Look::Unreadable(error) => return Err(stopped(error, end, offset)),
            _ => return Err(stopped(rot(header.index, offset, &end), end, offset)),
        }
    }
    let end_offset = walker.offset();
    // Nothing vouches for what is behind a seal, and nobody reads it.
    if end != slot.chain || end_offset > slot.offset || (end_offset < slot.offset && !sealed) {
        return Err(wrong("what is durable by the follower's position is not there", end, end_offset));
    }
    let mut witnessed = Witnessed::by_header(&header);
    (witnessed.seq, witnessed.end, witnessed.chain) = (end.last_seq, end_offset, end);
    Ok(Examined {
        log_id: header.log_id,
        newest,
        end,
        end_offset,
        sealed,
        // It ends where the source's had got to when it was sent.
        lost_newer: false,
        records_in_newest: records,
        frames_in_newest: frames,
        witnessed,
        epoch_max: end.epoch,
        torn: false,
        bytes_cut: 0,
        purged: (end.last_seq + 1 - header.first_seq).saturating_sub(records),
        cut: None,
    })
}
