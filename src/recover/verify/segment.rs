//! One segment, read to its end: every spot of it that is damaged, and what it holds.
//!
//! Knows nothing of the segments before it, so several can be read at the same
//! time; how they hang together is put together in `verify.rs`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use super::super::examine::COMPACTED_NEWEST;
use super::super::finding::{Acknowledged, Finding, Kind};
use super::follower::differs;
use super::walk::Walk;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File};
use crate::format::frame::FLAG_SEAL;
use crate::format::{Chain, FrameHeader, Id, SegmentHeader, SinkSlot};
use crate::read::position::misplaced;
use crate::read::stream::{Body, Glimpse, Stream};
use crate::read::{sealed, segment, short, Witnessed};
use crate::segment::{Directory, SegmentName, State};

/// Whoever is told had enough.
pub(super) struct Enough;

/// What is told of a segment while it is read, in this order.
pub(super) enum Said {
    /// It can be read; it has this header.
    Opened(SegmentHeader),
    /// A spot.
    Found(Finding),
    /// That was all.
    Ended(Counted),
}

/// What a segment holds.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) frames: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// The last number that a whole frame shows.
    pub(super) last_seq: u64,
    /// The same in front of the first damage.
    pub(super) last_good_seq: u64,
    /// There is damage.
    pub(super) damaged: bool,
    /// How it ended, and where its seal is; None: it is not known.
    pub(super) chain: Option<(Chain, u64)>,
}

/// What all segments are read with.
pub(super) struct Reading<'a> {
    pub(super) directory: &'a Directory,
    /// No writer was there when it began.
    pub(super) alone: bool,
    pub(super) log_id: Option<Id>,
    /// A follower's: what is in front of it was acknowledged, and what is behind it is not read.
    pub(super) position: Option<SinkSlot>,
    /// Bytes of files that are through: the release publishes nothing.
    pub(super) done: Option<&'a AtomicU64>,
    /// Whoever is told had enough: publishes nothing.
    pub(super) enough: AtomicBool,
}

/// One segment's reading.
pub(super) struct Reader<'a, 'r> {
    pub(super) reading: &'r Reading<'a>,
    say: &'r mut dyn FnMut(Said) -> Result<(), Enough>,
    pub(super) counted: Counted,
}

impl Reading<'_> {
    /// Reads the segment `name`, and says all of it but that it ended.
    pub(super) fn read(
        &self,
        name: &SegmentName,
        newest: bool,
        say: &mut dyn FnMut(Said) -> Result<(), Enough>,
    ) -> (Counted, Result<(), Enough>) {
        let mut reader = Reader { reading: self, say, counted: Counted::default() };
        let read = reader.walk_segment(name, newest);
        (reader.counted, read)
    }

    fn pass(&self, bytes: u64) {
        if let Some(done) = self.done {
            done.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Reader<'_, '_> {
    pub(super) fn tell(&mut self, finding: &Finding) -> Result<(), Enough> {
        (self.say)(Said::Found(finding.clone()))
    }

    fn open(&mut self, name: &SegmentName) -> Result<segment::OpenSegment> {
        let directory = self.reading.directory;
        let log_id = match self.reading.log_id {
            Some(log_id) => log_id,
            None => segment::open_short(directory, name.index, Access::Read)?.header.log_id,
        };
        let opened = segment::open_to_read(directory, name.index, &log_id)?;
        if short::is_of_later_generation(&opened)? {
            return Err(Error::new(Code::Corrupt, short::OTHERS_END).in_segment(name.index));
        }
        Ok(opened)
    }

    fn walk_segment(&mut self, name: &SegmentName, newest: bool) -> Result<(), Enough> {
        let opened = match self.open(name) {
            // Released meanwhile, or not quite there yet.
            Err(error) if matches!(error.code, Code::Trimmed | Code::Busy) => return Ok(()),
            Err(error) => {
                self.counted.damaged = true;
                let kind = match error.code {
                    Code::Version => Kind::Version,
                    Code::Corrupt => Kind::Header,
                    _ => Kind::Unreadable,
                };
                let sums = match kind {
                    Kind::Header => segment::differing_checksums(self.reading.directory, name.index),
                    _ => None,
                };
                let (expected, found) = sums.map_or((0, 0), |(expected, found)| (expected.into(), found.into()));
                let seq = name.first_seq;
                return self.tell(&Finding {
                    segment: name.index,
                    seq,
                    last_seq: seq - 1,
                    expected,
                    found,
                    ..Finding::of(kind, name.to_string(), &error)
                });
            }
            Ok(opened) => opened,
        };
        let header = opened.header;
        (self.say)(Said::Opened(header))?;
        let stream = Stream::new(Arc::clone(&opened.file) as Arc<dyn File>, &header);
        let (mut stream, there) = match stream.and_then(|stream| Ok((stream, short::bytes_there(&opened)?))) {
            Ok(both) => both,
            Err(error) => {
                self.counted.damaged = true;
                return self.tell(&Finding::of(Kind::Unreadable, name.to_string(), &error));
            }
        };
        let Reading { directory, position, .. } = *self.reading;
        if newest && position.is_none() {
            self.check_writable(name, &opened)?;
        }
        let until = position.filter(|slot| slot.index == name.index);
        if let Some((slot, text)) = until.and_then(|slot| Some((slot, misplaced(&slot, &header)?))) {
            self.counted.damaged = true;
            return self.tell(&differs(name, &slot, (0, 0), name.first_seq, text));
        }
        // Behind a follower's position nothing says anything.
        let next = if until.is_none() { directory.segment(name.index + 1) } else { None };
        let next = next.and_then(|next| segment::open_short(directory, next.index, Access::Read).ok());
        let next = next.map(|next| next.header).filter(|next| next.log_id == header.log_id);
        let seal_at = next.map(|next| sealed::seal_offset(&header, &next, |at| stream.header_at(at).ok().flatten()));
        let mut walk = Walk {
            name: opened.name,
            header,
            file: opened.file,
            missing: short::missing(header.index, there, header.segment_size),
            there,
            stream,
            newest: newest && position.is_none(),
            until,
            next,
            seal_at,
            offset: u64::from(header.block_size),
            chain: header.before,
            witnessed: Witnessed::by_header(&header),
            counted: 0,
            doubted: None,
            witness: None,
            whole: Some((0, 0)),
        };
        let walked = self.walk(&mut walk).and_then(|()| self.tell_missing(&mut walk));
        self.counted.bytes += walk.stream.bytes;
        self.reading.pass(walk.there.saturating_sub(walk.counted));
        walked
    }

    /// The newest segment is the one that an open for writing goes on with.  Nothing of it is worse to read for it.
    fn check_writable(&mut self, name: &SegmentName, opened: &segment::OpenSegment) -> Result<(), Enough> {
        match segment::check_writable(self.reading.directory, opened) {
            Err(error) if error.code == Code::Version => {
                let seq = name.first_seq;
                let text = format!("the log can be read, but not be written: {}", error.text);
                let found = Finding::of(Kind::Version, name.to_string(), &error);
                self.tell(&Finding { seq, last_seq: seq - 1, text: text.into(), ..found })
            }
            // What is damaged now, and was not when it was opened, is somebody else's doing.
            _ => Ok(()),
        }
    }

    fn walk(&mut self, walk: &mut Walk) -> Result<(), Enough> {
        loop {
            if self.reading.enough.load(Ordering::Relaxed) {
                return Err(Enough);
            }
            if walk.until.is_some_and(|slot| walk.offset >= slot.offset) {
                return self.check_position(walk, false);
            }
            if walk.is_behind_file() {
                return Ok(());
            }
            let glimpse = walk.stream.look(walk.offset);
            match &glimpse {
                Glimpse::Whole(frame, identity, body) if walk.chain.continues_in(frame) && body.bad.is_empty() => {
                    let offset = walk.offset;
                    let ends = self.take(walk, frame, *identity, body)?;
                    if ends {
                        let end = body.seal.map_or((walk.chain, offset), |seal| seal.end(walk.chain, offset));
                        self.counted.chain = Some(end);
                        if walk.next.is_some_and(|next| end != (next.before, next.before_offset)) {
                            // Told of where the next one is read.  Which of the frames are others nobody knows.
                            (self.counted.last_good_seq, self.counted.damaged) = (0, true);
                        }
                        walk.chain = end.0;
                        return self.check_position(walk, true);
                    }
                }
                // A frame that goes on behind the file's end.
                Glimpse::Unreadable(error) if error.code == Code::Corrupt && walk.missing.is_some() => return Ok(()),
                _ => {
                    if !self.bad_spot(walk, &glimpse)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Goes behind a frame that is as it should be; true: it ends the segment.
    fn take(&mut self, walk: &mut Walk, frame: &FrameHeader, identity: u64, body: &Body) -> Result<bool, Enough> {
        let offset = walk.offset;
        walk.pass(frame, identity);
        if walk.offset > walk.counted {
            self.reading.pass(walk.offset - walk.counted);
            walk.counted = walk.offset;
            self.tell_unknown(walk, body)?;
            let counted = &mut self.counted;
            counted.frames += 1;
            counted.records += body.records;
            counted.last_seq = counted.last_seq.max(walk.chain.last_seq);
            if !counted.damaged {
                counted.last_good_seq = counted.last_seq;
            }
            if let Some((frames, records)) = &mut walk.whole {
                *frames += 1;
                *records += body.records;
            }
        }
        if !frame.has(FLAG_SEAL) {
            return Ok(false);
        }
        self.check_seal(walk, frame, offset, body)?;
        Ok(true)
    }

    /// Whole records at which every reader of this release stops.
    fn tell_unknown(&mut self, walk: &Walk, body: &Body) -> Result<(), Enough> {
        self.counted.damaged |= !body.unknown.is_empty();
        for (offset, record) in &body.unknown {
            let text = format!("a record of twal's own type {:#06x}, which this version must not ignore", record.kind);
            self.tell(&Finding {
                segment: walk.header.index,
                offset: *offset,
                seq: record.seq,
                last_seq: record.seq,
                stream: Some(record.stream),
                found: u64::from(record.kind),
                ..Finding::new(Kind::Version, walk.name.to_string(), text)
            })?;
        }
        Ok(())
    }

    /// The file's end is missing: told behind all that is in front of it.
    pub(super) fn tell_missing(&mut self, walk: &mut Walk) -> Result<(), Enough> {
        let Some(error) = walk.missing.take() else { return Ok(()) };
        self.counted.damaged = true;
        let seq = walk.chain.last_seq + 1;
        let until = walk.next.map_or(0, |next| next.before.last_seq);
        let acknowledged = if walk.newest { Acknowledged::Unknown } else { Acknowledged::Yes };
        let found = Finding::of(Kind::Header, walk.name.to_string(), &error);
        self.tell(&Finding { seq, last_seq: until.max(seq - 1), acknowledged, ..found })
    }

    /// Behind the last frame in front of a follower's position; behind a seal the position may be anywhere.
    fn check_position(&mut self, walk: &Walk, sealed: bool) -> Result<(), Enough> {
        let Some(slot) = walk.until else { return Ok(()) };
        let behind_seal = sealed && (walk.offset..=walk.header.segment_size).contains(&slot.offset);
        if walk.chain == slot.chain && (walk.offset == slot.offset || behind_seal) {
            return Ok(());
        }
        self.counted.damaged = true;
        let text = "what is durable by the follower's position is not what is there";
        let place = (walk.offset, walk.chain.identity);
        self.tell(&differs(&walk.name, &slot, place, walk.chain.last_seq + 1, text))
    }

    fn check_seal(&mut self, walk: &Walk, frame: &FrameHeader, offset: u64, body: &Body) -> Result<(), Enough> {
        let wrong = |text: &'static str, expected, found| Finding {
            segment: walk.header.index,
            offset,
            seq: frame.first_seq,
            last_seq: frame.first_seq - 1,
            expected,
            found,
            ..Finding::new(Kind::Seal, walk.name.to_string(), text)
        };
        let Some(seal) = body.seal else {
            self.counted.damaged = true;
            return self.tell(&wrong("the segment's seal says nothing", 0, 0));
        };
        if seal.first_seal.is_some() && !walk.header.is_compacted() {
            self.counted.damaged = true;
            self.tell(&wrong("the segment's seal stands for another one, and it was never compacted", 0, 0))?;
        }
        if walk.newest && walk.name.state == State::Active && walk.header.is_compacted() && seal.first_seal.is_some() {
            // It leaves every file in its place: nothing that can be read is worse for it.
            self.tell(&Finding { kind: Kind::Name, ..wrong(COMPACTED_NEWEST, 0, 0) })?;
        }
        if seal.first_seq != walk.header.first_seq {
            self.counted.damaged = true;
            let text = "the segment's seal is of another first record";
            self.tell(&wrong(text, walk.header.first_seq, seal.first_seq))?;
        }
        let Some((frames, records)) = walk.whole else { return Ok(()) };
        if seal.record_count != records {
            self.counted.damaged = true;
            self.tell(&wrong("the segment's seal counts other records", records, seal.record_count))?;
        }
        // The seal itself was counted.
        if seal.frame_count != frames - 1 {
            self.counted.damaged = true;
            self.tell(&wrong("the segment's seal counts other frames", frames - 1, seal.frame_count))?;
        }
        Ok(())
    }
}
