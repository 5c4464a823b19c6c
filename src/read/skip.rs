//! Reading on behind damage: where the next frame is that can be trusted, and
//! what was passed over.
//!
//! A frame is whole or not at all, and a batch lies in one frame: what is passed
//! over are whole frames, so no batch is ever delivered in part.
//! Never delivers what was cut: a frame behind a spot counts only if it was
//! composed after everything delivered before it, and in a segment that is
//! complete only in front of the seal that the next one names.

use std::sync::Arc;

use super::segment::{open_to_read, OpenSegment};
use super::stream::{Glimpse, Stream};
use super::{followers, sealed, short, vouched, Walker};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, LockKind};
use crate::format::{Chain, Id, FRAME_HEADER_LEN};
use crate::segment::{retain, Directory, State};

/// What a reader that skips damage has passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Damaged places, however long each is.
    pub spots: u64,
    /// Numbers that are missing because of them.
    pub records: u64,
    /// Where the last one begins.
    pub segment: u64,
    /// Offset in that segment.
    pub offset: u64,
    /// First and last number missing there; last below first: none.
    pub first_seq: u64,
    /// See `first_seq`.
    pub last_seq: u64,
}

impl Skipped {
    /// Another place; `next_seq` is the first number wanted that may be missing there.
    pub fn begin(&mut self, error: &Error, next_seq: u64) {
        self.spots += 1;
        (self.segment, self.offset) = (error.segment, error.offset);
        (self.first_seq, self.last_seq) = (next_seq, next_seq - 1);
    }

    /// At the last place everything up to `seq` is missing.
    pub fn up_to(&mut self, seq: u64) {
        if seq > self.last_seq {
            self.records += seq - self.last_seq;
            self.last_seq = seq;
        }
    }
}

/// Whether it is damage, which a reader may skip: not what the machine lacks, nor what only a newer release can read.
pub fn is_damage(error: &Error) -> bool {
    matches!(error.code, Code::Corrupt | Code::Io)
}

/// Where to go on.
pub enum Onward {
    /// In the same segment: at this offset a frame continues this.
    Here(Box<OpenSegment>, u64, Chain),
    /// In a later one.
    There(Box<OpenSegment>),
    /// Nowhere yet; up to this number all is missing.
    Nowhere(u64),
}

/// Looks for the next frame behind the walker's place, in this segment and those behind it; `chain` is how
/// what was delivered ended.  Nothing above `bound` counts.
pub fn onward(
    directory: &Directory,
    log_id: &Id,
    (walker, index): (Option<&Walker>, u64),
    chain: &Chain,
    bound: u64,
) -> Result<Onward> {
    directory.scan()?;
    if let Some(walker) = walker {
        if let Some(here) = in_segment(directory, log_id, walker, chain, bound)? {
            return Ok(here);
        }
    }
    for name in directory.segments().iter().filter(|name| name.index > index) {
        let opened = open_to_read(directory, name.index, log_id);
        match opened.and_then(|opened| vouched::check(directory, &opened, None).map(|()| opened)) {
            Ok(opened) if opened.header.before.last_seq >= chain.last_seq => {
                return Ok(Onward::There(Box::new(opened)));
            }
            // Another one in its place: no segment of this log lies there.
            Ok(_) => {}
            Err(error) if is_damage(&error) => {}
            Err(error) if error.code == Code::Busy => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Onward::Nowhere(bound))
}

fn in_segment(
    directory: &Directory,
    log_id: &Id,
    walker: &Walker,
    chain: &Chain,
    bound: u64,
) -> Result<Option<Onward>> {
    let Ok(opened) = open_to_read(directory, walker.index(), log_id) else { return Ok(None) };
    let header = opened.header;
    let block = u64::from(header.block_size);
    let next = super::segment::open_short(directory, walker.index() + 1, Access::Read).ok();
    let mut stream = Stream::new(Arc::clone(&opened.file), &header)?;
    // Behind its seal a segment holds what it held in an earlier life.
    let seal = next.map(|next| sealed::seal_offset(&header, &next.header, |at| stream.header_at(at).ok().flatten()));
    let end = seal.map_or(u64::MAX, |seal| seal.saturating_add(block)).min(short::bytes_there(&opened)?);
    // The segment may have been compacted since it was opened: then an offset means nothing.
    let mut at = if walker.reads(&header) { walker.offset() } else { block };
    while at + len_u64(FRAME_HEADER_LEN) <= end {
        // What cannot be read is passed over as well.
        if let Ok(Some(frame)) = stream.header_at(at) {
            let later = followers::follows(chain, &frame);
            if later && frame.last_seq() > bound {
                // Not in a later segment either, whatever there is by now: who knows more of the end comes back here.
                return Ok(Some(Onward::Nowhere(bound.min(frame.first_seq - 1))));
            }
            if later {
                match stream.look(at) {
                    Glimpse::Whole(frame, _, body) if body.bad.is_empty() => {
                        return Ok(Some(Onward::Here(Box::new(opened), at, Chain::before(&frame))))
                    }
                    _ => {}
                }
            }
        }
        at = stream.next_block(at);
    }
    Ok(None)
}

/// What is lost behind segment `index`, of which all was read that can be: a newer file that cannot be read, or one that is
/// not there.  None: nothing that is known of.  A follower's (`follows`) newest one may be any.
pub fn lost_behind(directory: &Directory, log_id: &Id, index: u64, follows: bool) -> Result<Option<Error>> {
    directory.scan()?;
    let names = directory.segments();
    for name in names.iter().filter(|name| name.index > index) {
        match open_to_read(directory, name.index, log_id) {
            Err(error) if is_damage(&error) => return Ok(Some(error)),
            // Released, or begun, in this moment.
            Err(error) if matches!(error.code, Code::Trimmed | Code::Busy) => {}
            opened => drop(opened?),
        }
    }
    let newest = names.last().filter(|newest| newest.state != State::Active && !follows);
    Ok(newest.map(|newest| Error::new(Code::Corrupt, retain::LOST_NEWER).in_segment(newest.index)))
}

/// How far a log that is damaged, and open for reading only, can be read at most: up to where something in it says
/// that it was durable, or to the end of what is whole where nobody writes it.
pub fn bound_behind_damage(directory: &Directory, log_id: &Id) -> Result<u64> {
    directory.scan()?;
    let alone = directory.try_lock(LockKind::Shared)?;
    if alone {
        directory.unlock()?;
    }
    let names = directory.segments();
    let opened = names.iter().rev().find_map(|name| open_to_read(directory, name.index, log_id).ok());
    let Some(opened) = opened else { return Ok(0) };
    let there = short::bytes_there(&opened)?;
    let OpenSegment { file, header, .. } = opened;
    // What has a successor is durable to its end.
    let settled = alone || names.last().is_some_and(|newest| newest.index > header.index);
    let block = u64::from(header.block_size);
    let mut stream = Stream::new(Arc::clone(&file), &header)?;
    let (mut at, mut chain, mut bound) = (block, header.before, header.before.last_seq);
    // The frames since the last damage: the number that the first one ends with.
    let mut run = Some(bound);
    while at + len_u64(FRAME_HEADER_LEN) <= there {
        match stream.look(at) {
            Glimpse::Whole(frame, identity, _) if chain.continues_in(&frame) => {
                bound = bound.max(frame.durable_seq);
                chain = Chain::after(&frame, identity);
                run = run.or(Some(chain.last_seq));
                at += frame.frame_len(block);
            }
            // A frame further on: from there on once more.
            Glimpse::Whole(frame, ..) if followers::follows(&chain, &frame) => {
                (chain, run) = (Chain::before(&frame), None);
            }
            _ => {
                if let Ok(Some(frame)) = stream.header_at(at) {
                    if followers::follows(&chain, &frame) {
                        bound = bound.max(frame.durable_seq);
                    }
                }
                at = stream.next_block(at);
            }
        }
    }
    // The last frames need no witness but one for the first of them.
    if settled && run.is_some_and(|first| first <= bound) {
        file.sync().map_err(|error| Error::flush("cannot flush the active segment", &error))?;
        bound = bound.max(chain.last_seq);
    }
    Ok(bound)
}
