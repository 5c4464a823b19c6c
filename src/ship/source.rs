//! The source's side: a log's durable bytes, piece by piece.
//!
//! Over any open log, in the writer's process or in another one beside it.  Has
//! one segment open, which stays as it is meanwhile: a compaction leaves the old
//! file to whoever reads it, and both end alike.

use std::ops::Range;

use super::sink::hex;
use super::track::Track;
use super::window::Window;
use super::{Piece, Position};
use crate::base::{Code, Error, Result};
use crate::format::{Id, SegmentHeader};
use crate::log::Log;
use crate::read::segment::{open_to_read, peek, OpenSegment};
use crate::read::Reach;
use crate::segment::{SegmentName, State};

/// Yields a log's durable bytes, from a place on.  One thread at a time.
pub struct Source {
    log: Log,
    /// The log is a follower's copy.
    follows: bool,
    history_id: Id,
    at: At,
    window: Window,
    released: Released,
}

/// What the source has released, as far as the follower is told.
///
/// A checkpoint releases what lies in front of it, and a follower that had given that back without having the checkpoint
/// could be promoted, and know neither.  So the follower hears of a release with the record that was the last durable
/// one when it was seen: whatever the release goes by was durable before a name changed.
#[derive(Default)]
struct Released {
    /// Index of the newest segment that the follower was told of.
    told: u64,
    /// That of the next one to tell of, and the record that has to be there.
    next: Option<(u64, u64)>,
}

/// Where it has come to.
enum At {
    /// In front of this segment; behind this one, if one was shipped or the follower has it.
    Before(u64, Option<Behind>),
    /// In this one; at offset 0 until its header's block was shipped.
    In(Box<OpenSegment>, Box<Track>),
}

/// What the next segment has to continue.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// Identity of the last frame.
    identity: u64,
    last_seq: u64,
}

/// A piece that lies in the window.
struct Cut {
    header: SegmentHeader,
    offset: u64,
    zeros: u64,
    bytes: Range<usize>,
    last_seq: u64,
}

impl Source {
    /// A source that goes on at `from`; None: at the beginning, which is the newest segment that was released, or the
    /// oldest one there is.
    ///
    /// # Errors
    /// As `twal_source_open`.
    pub fn open(log: &Log, from: Option<&Position>) -> Result<Source> {
        Self::open_at(log, from).map_err(|error| log.judged(error))
    }

    fn open_at(log: &Log, from: Option<&Position>) -> Result<Source> {
        log.check_not_closed()?;
        let directory = log.directory();
        let followed = log.followed()?;
        let follows = followed.is_some();
        let newest_of = |segments: &[SegmentName]| segments.last().map_or(0, |newest| newest.index);
        let (segments, history_id) = match followed {
            // What a follower has so far may all be from before its source's last promotion.
            Some((segments, slot)) => (segments, slot.history_id),
            None => {
                let segments = directory.scan_whole()?;
                let history_id = peek(directory, newest_of(&segments))?.history_id;
                (segments, history_id)
            }
        };
        let newest = newest_of(&segments);
        let window = Window::new()?;
        let archived = segments.iter().rfind(|name| name.state == State::Archived);
        let mut released = Released::default();
        let at = match from.filter(|from| from.index != 0) {
            None => {
                // A copy that begins with this one has nothing that was released.
                released.told = archived.map_or(0, |name| name.index);
                At::Before(archived.or(segments.first()).map_or(1, |name| name.index), None)
            }
            Some(from) if from.complete => At::Before(from.index.saturating_add(1), Some(Behind::of(from))),
            Some(from) => At::Before(from.index, None),
        };
        let mut source = Source { log: log.clone(), follows, history_id, at, window, released };
        if let Some(from) = from.filter(|from| from.index != 0 || from.log_id != Id::default()) {
            source.check_origin(from)?;
        }
        if let Some(from) = from.filter(|from| from.index != 0) {
            source.go_to(from, newest)?;
        }
        Ok(source)
    }

    fn check_origin(&self, from: &Position) -> Result<()> {
        let differ = |what: &str, theirs: &Id, ours: &Id| {
            let text = format!("the position is of {what} {}, the log's is {}", hex(theirs), hex(ours));
            Err(Error::new(Code::State, text).at(from.index, from.offset))
        };
        let log_id = self.log.log_id();
        if from.log_id != log_id {
            return differ("log", &from.log_id, &log_id);
        }
        if from.history_id != self.history_id {
            return differ("history", &from.history_id, &self.history_id);
        }
        Ok(())
    }

    /// Goes to the follower's place, if what it has is what is here.
    fn go_to(&mut self, from: &Position, newest: u64) -> Result<()> {
        let ahead = || {
            let text = "the follower has more than this log, or something else";
            Error::new(Code::State, text).at(from.index, from.offset).about_seq(from.last_seq)
        };
        if from.index > newest {
            return Err(ahead());
        }
        // Of the newest one no header says yet how it ended: it is read like one that is not complete.
        if from.complete && from.index < newest {
            // Its first piece is still to come.
            return match self.open_next() {
                Err(error) if error.code == Code::Busy => Ok(()),
                opened => opened.map(drop),
            };
        }
        let opened = open_to_read(self.log.directory(), from.index, &self.log.log_id())?.whole()?;
        if opened.header.generation != from.generation {
            let text = "the segment was compacted in the middle of shipping it: begin anew, with a hold";
            return Err(Error::new(Code::Trimmed, text)
                .at(from.index, from.offset)
                .about_seq(self.log.directory().first_seq()));
        }
        let mut track = Track::begin(opened.header);
        let is_place = (track.offset..=opened.header.segment_size).contains(&from.offset)
            && from.offset.is_multiple_of(u64::from(opened.header.block_size));
        if opened.header.salt != from.salt || !is_place {
            return Err(ahead());
        }
        // What is in front of this was acknowledged.
        let acknowledged = match from.index < newest {
            true => opened.header.segment_size,
            false => self.log.reach().in_segment(from.index).unwrap_or(0).min(opened.header.segment_size),
        };
        loop {
            match track.read(&opened.file, &mut self.window, from.offset) {
                Ok(read) if read.is_empty() => break,
                Ok(_) => {}
                Err(error) if error.code == Code::Corrupt => {
                    // Rot here, or a position that is no frame's end or is beyond all that is here.
                    let rotten = track.offset < acknowledged
                        && track.read(&opened.file, &mut self.window, acknowledged).is_err();
                    return Err(if rotten { error } else { ahead() });
                }
                Err(error) => return Err(error),
            }
        }
        if track.is_sealed() {
            track.offset = track.offset.max(from.offset);
        }
        let end = (track.offset, track.chain.identity, track.chain.last_seq, track.is_complete());
        if end != (from.offset, from.identity, from.last_seq, from.complete) {
            return Err(ahead());
        }
        self.at = At::In(Box::new(opened), Box::new(track));
        Ok(())
    }

    /// The next piece of what is durable; None: there is none within the time.  `timeout_ns` None = for ever, Some(0)
    /// looks.
    ///
    /// # Errors
    /// As `twal_source_next`.
    pub fn next_piece(&mut self, timeout_ns: Option<u64>) -> Result<Option<Piece<'_>>> {
        let mut waiting = None;
        let cut = loop {
            let seen = (self.log.durable_seq(), self.log.reach());
            if let Some(cut) = self.look().map_err(|error| self.log.judged(error))? {
                break cut;
            }
            let log = &self.log;
            let waiting = waiting.get_or_insert_with(|| log.begin_waiting(timeout_ns));
            match log.wait_beyond(seen, waiting) {
                Err(error) if error.code == Code::Timeout => return Ok(None),
                waited => waited?,
            }
        };
        let archived = self.released_with(cut.last_seq);
        let data = &self.window.bytes()[cut.bytes];
        let piece = Piece {
            log_id: cut.header.log_id,
            history_id: self.history_id,
            salt: cut.header.salt,
            index: cut.header.index,
            generation: cut.header.generation,
            offset: cut.offset,
            zeros: cut.zeros,
            first_seq: cut.header.first_seq,
            last_seq: cut.last_seq,
            archived,
            crc: 0,
            data,
        };
        Ok(Some(Piece { crc: piece.checksum(), ..piece }))
    }

    /// The newest released segment that a follower may be told of which has everything up to `last_seq`.
    fn released_with(&mut self, last_seq: u64) -> u64 {
        let released = &mut self.released;
        if released.next.is_none() {
            let segments = self.log.directory().segments();
            let archived = segments.iter().rfind(|name| name.state == State::Archived).map_or(0, |name| name.index);
            if archived > released.told {
                // What cannot be told now is told with a later piece.
                released.next = self.log.seen_seq().ok().map(|seen_seq| (archived, seen_seq));
            }
        }
        if let Some((archived, _)) = released.next.take_if(|(_, seen_seq)| *seen_seq <= last_seq) {
            released.told = archived;
        }
        released.told
    }

    /// A piece, if there is one now.
    fn look(&mut self) -> Result<Option<Cut>> {
        self.log.check_not_closed()?;
        // Most of the time there is more of what is known to be durable: asking may take a read.
        if let Some(cut) = self.look_within(self.log.reach())? {
            return Ok(Some(cut));
        }
        let stopped = self.log.look_further()?;
        match (self.look_within(self.log.reach())?, stopped) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// A piece of what is durable in front of this.
    fn look_within(&mut self, reach: Reach) -> Result<Option<Cut>> {
        let (active, durable_end) = (reach.segment, reach.end);
        // After the reach: where that is beyond the copy, this is known.
        self.check_follows()?;
        loop {
            match &mut self.at {
                At::Before(index, _) if *index > active => break,
                At::Before(..) => {
                    let opened = match self.open_next() {
                        // Its name is there a moment before it can be read.
                        Err(error) if error.code == Code::Busy => break,
                        opened => opened?,
                    };
                    if self.follows {
                        // The reach says nothing of another copy, begun anew since: that is known behind the open.
                        if let Some(error) = self.log.look_further()?.filter(|error| error.code == Code::State) {
                            return Err(error);
                        }
                        self.check_follows()?;
                    }
                    let track = Track { offset: 0, ..Track::begin(opened.header) };
                    self.at = At::In(Box::new(opened), Box::new(track));
                }
                At::In(_, track) if track.is_complete() => {
                    let behind = Behind { identity: track.chain.identity, last_seq: track.chain.last_seq };
                    self.at = At::Before(track.header.index + 1, Some(behind));
                }
                At::In(opened, track) => {
                    let (header, file) = (track.header, &opened.file);
                    // The reach may be of the file that a compaction has replaced since.  What replaced it is durable
                    // to its end; a follower's copy of that is so to its position.
                    let is_whole = header.index < active || (!self.follows && opened.is_replacement());
                    let end = if is_whole { header.segment_size } else { durable_end };
                    if self.follows && track.is_sealed() && header.index == active && end < header.segment_size {
                        // What is behind a seal comes in pieces, too; as zeros it would be another file.
                        break;
                    }
                    let mut next = **track;
                    let (zeros, bytes) = if track.offset == 0 {
                        next = Track::begin(header);
                        // A follower that has a segment which a power cut takes from here would be ahead for ever.
                        self.log.secure_names()?;
                        let here = self.window.load(file, header.index, 0, next.offset, next.offset)?;
                        (0, here)
                    } else if track.is_sealed() {
                        next.read_rest(file, &mut self.window)?
                    } else {
                        (0, next.read(file, &mut self.window, end)?)
                    };
                    if zeros == 0 && bytes.is_empty() {
                        break;
                    }
                    let offset = track.offset;
                    **track = next;
                    return Ok(Some(Cut { header, offset, zeros, bytes, last_seq: next.chain.last_seq }));
                }
            }
        }
        Ok(None)
    }

    fn check_follows(&self) -> Result<()> {
        if self.follows && !self.log.is_follower() {
            let text = "the follower that is shipped from was promoted: what comes next is another history's";
            return Err(Error::new(Code::State, text));
        }
        Ok(())
    }

    /// Opens the next segment; Busy: it is not there quite yet.
    fn open_next(&self) -> Result<OpenSegment> {
        let At::Before(index, behind) = &self.at else {
            unreachable!("only in front of a segment there is a next one")
        };
        let opened = open_to_read(self.log.directory(), *index, &self.log.log_id())?.whole()?;
        let before = &opened.header.before;
        if behind.is_some_and(|behind| (behind.identity, behind.last_seq) != (before.identity, before.last_seq)) {
            let text = "the segment does not continue what the follower has";
            return Err(Error::new(Code::State, text).in_segment(*index).about_seq(before.last_seq));
        }
        Ok(opened)
    }
}

impl Behind {
    fn of(from: &Position) -> Behind {
        Behind { identity: from.identity, last_seq: from.last_seq }
    }
}
