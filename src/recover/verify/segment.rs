//! One segment, read to its end: every spot of it that is damaged, and what it holds.
//!
//! Knows nothing of the segments before it, so several can be read at the same
//! time; how they hang together is put together in `verify.rs`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use super::super::beginning::{self, Beginning};
use super::super::finding::{Acknowledged, Finding, Kind};
use super::super::verdict::{verdict, Spot, Verdict};
use super::follower::differs;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File, LockKind};
use crate::format::frame::FLAG_SEAL;
use crate::format::record::BadRecord;
use crate::format::{Chain, FrameHeader, Id, SegmentHeader, SinkSlot};
use crate::read::position::misplaced;
use crate::read::stream::{BadPlace, Body, Glimpse, Stream};
use crate::read::{followers, sealed, segment, Witnessed};
use crate::segment::{Directory, SegmentName};

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

/// The segment that is being walked.
struct Walk {
    name: SegmentName,
    header: SegmentHeader,
    file: Arc<dyn File>,
    stream: Stream,
    /// It may still be written.
    newest: bool,
    /// The follower's position is in this segment.
    until: Option<SinkSlot>,
    /// What the next segment says of this one's end.
    next: Option<SegmentHeader>,
    /// Where this one's seal is by that.
    seal_at: Option<u64>,
    offset: u64,
    chain: Chain,
    witnessed: Witnessed,
    /// Everything before was counted and told.
    counted: u64,
    /// Where a bad spot was seen; bad again there after another look is damage.
    doubted: Option<(u64, Chain)>,
    /// A place behind which a header says what was durable: looked for once.
    witness: Option<(u64, FrameHeader)>,
    /// Frames and records from the first one on, as long as none was missed.
    whole: Option<(u64, u64)>,
}

/// What lies behind a bad spot.
#[derive(Default)]
struct Behind {
    /// Where to go on.
    next: Option<(u64, FrameHeader)>,
    says_durable: bool,
    /// The first block that cannot be read: it may have been either.
    unreadable: Option<(u64, Error)>,
}

/// One segment's reading.
struct Reader<'a, 'r> {
    reading: &'r Reading<'a>,
    say: &'r mut dyn FnMut(Said) -> Result<(), Enough>,
    counted: Counted,
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
    fn tell(&mut self, finding: &Finding) -> Result<(), Enough> {
        (self.say)(Said::Found(finding.clone()))
    }

    fn open(&mut self, name: &SegmentName) -> Result<segment::OpenSegment> {
        let directory = self.reading.directory;
        let log_id = match self.reading.log_id {
            Some(log_id) => log_id,
            None => segment::open(directory, name.index, Access::Read)?.header.log_id,
        };
        segment::open_to_read(directory, name.index, &log_id)
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
        let mut stream = match Stream::new(Arc::clone(&opened.file) as Arc<dyn File>, &header) {
            Ok(stream) => stream,
            Err(error) => {
                self.counted.damaged = true;
                return self.tell(&Finding::of(Kind::Unreadable, name.to_string(), &error));
            }
        };
        let Reading { directory, position, .. } = *self.reading;
        let until = position.filter(|slot| slot.index == name.index);
        if let Some((slot, text)) = until.and_then(|slot| Some((slot, misplaced(&slot, &header)?))) {
            self.counted.damaged = true;
            return self.tell(&differs(name, &slot, (0, 0), name.first_seq, text));
        }
        // Behind a follower's position nothing says anything.
        let next = if until.is_none() { directory.segment(name.index + 1) } else { None };
        let next = next.and_then(|next| segment::open(directory, next.index, Access::Read).ok());
        let next = next.map(|next| next.header).filter(|next| next.log_id == header.log_id);
        let seal_at = next.map(|next| sealed::seal_offset(&header, &next, |at| stream.header_at(at).ok().flatten()));
        let mut walk = Walk {
            name: opened.name,
            header,
            file: opened.file,
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
        let walked = self.walk(&mut walk);
        self.counted.bytes += walk.stream.bytes;
        self.reading.pass(header.segment_size.saturating_sub(walk.counted));
        walked
    }

    fn walk(&mut self, walk: &mut Walk) -> Result<(), Enough> {
        loop {
            if self.reading.enough.load(Ordering::Relaxed) {
                return Err(Enough);
            }
            if walk.until.is_some_and(|slot| walk.offset >= slot.offset) {
                return self.check_position(walk, false);
            }
            let glimpse = walk.stream.look(walk.offset);
            match &glimpse {
                Glimpse::Whole(frame, identity, body) if walk.chain.continues_in(frame) && body.bad.is_empty() => {
                    let offset = walk.offset;
                    let ends = self.take(walk, frame, *identity, body)?;
                    if ends {
                        let end = body.seal.map_or((walk.chain, offset), |seal| seal.end(walk.chain, offset));
                        self.counted.chain = Some(end);
                        walk.chain = end.0;
                        return self.check_position(walk, true);
                    }
                }
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

    /// What is not the next frame: false, the segment is through.
    fn bad_spot(&mut self, walk: &mut Walk, glimpse: &Glimpse) -> Result<bool, Enough> {
        let behind = walk.look_behind(glimpse);
        // A frame that is the next one is never half-written, whatever its records are.
        let is_next = matches!(glimpse, Glimpse::Whole(frame, ..) if walk.chain.continues_in(frame));
        let may_be_end =
            walk.newest && !is_next && !behind.says_durable && !self.has_successor(walk) && !walk.is_spoilt(glimpse);
        let unreadable = matches!(glimpse, Glimpse::Unreadable(_));
        if may_be_end && !unreadable && behind.unreadable.is_none() {
            let spot = spot_of(glimpse, &walk.chain);
            return self.end(walk, spot, behind.next.is_some()).map(|()| false);
        }
        // Read again after the witness was seen, from where nothing can have been taken back.
        if walk.doubted != Some((walk.offset, walk.chain)) {
            walk.doubted = Some((walk.offset, walk.chain));
            walk.go_back();
            return Ok(true);
        }
        self.counted.damaged = true;
        if let Some((offset, error)) = behind.unreadable.as_ref().filter(|_| may_be_end && !unreadable) {
            // Nobody knows whether the log ends here.
            let found =
                Finding::of(Kind::Unreadable, walk.name.to_string(), &error.clone().at(walk.header.index, *offset));
            let seq = walk.chain.last_seq + 1;
            self.tell(&Finding { acknowledged: Acknowledged::Unknown, seq, ..found })?;
            return Ok(false);
        }
        let acknowledged = if may_be_end { Acknowledged::Unknown } else { Acknowledged::Yes };
        self.damage(walk, glimpse, &behind, acknowledged)?;
        walk.whole = None;
        // A frame whose header holds says where the next one begins.
        if let Glimpse::BadBody(frame, identity, _) | Glimpse::Whole(frame, identity, _) = glimpse {
            let end = walk.offset + frame.frame_len(u64::from(walk.header.block_size));
            if walk.chain.continues_in(frame) && end < walk.header.segment_size {
                walk.resume(end, Chain::after(frame, *identity));
                return Ok(true);
            }
        }
        let Some((offset, frame)) = behind.next else { return Ok(false) };
        walk.resume(offset, Chain::before(&frame));
        Ok(true)
    }

    /// A newer segment is there, though it was not when the names were read.
    fn has_successor(&self, walk: &Walk) -> bool {
        let Reading { directory, alone, .. } = self.reading;
        !alone && directory.scan().is_ok() && directory.segment(walk.header.index + 1).is_some()
    }

    /// Where the log ends, if nothing more is said about it.
    fn end(&mut self, walk: &Walk, spot: Spot, follower: bool) -> Result<(), Enough> {
        // Beside a writer it is where it writes; and one may have come.
        if verdict(spot, follower, false) != Verdict::Torn || !self.reading.alone || !self.still_alone() {
            return Ok(());
        }
        let text = "a write that nobody was promised is half there; opening cuts it off";
        self.tell(&Finding {
            segment: walk.header.index,
            offset: walk.offset,
            seq: walk.chain.last_seq + 1,
            last_seq: walk.chain.last_seq,
            acknowledged: Acknowledged::No,
            ..Finding::new(Kind::Torn, walk.name.to_string(), text)
        })
    }

    fn still_alone(&self) -> bool {
        let directory = self.reading.directory;
        matches!(directory.try_lock(LockKind::Shared), Ok(true)) && directory.unlock().is_ok()
    }

    /// Tells what is wrong at the walk's place.
    fn damage(
        &mut self,
        walk: &Walk,
        glimpse: &Glimpse,
        behind: &Behind,
        acknowledged: Acknowledged,
    ) -> Result<(), Enough> {
        let seq = walk.chain.last_seq + 1;
        let header = match glimpse {
            Glimpse::Whole(frame, ..) | Glimpse::BadBody(frame, ..) => Some(frame),
            _ => None,
        };
        let until = match (header, behind.next, walk.next) {
            (Some(frame), ..) if walk.chain.continues_in(frame) => frame.last_seq(),
            (_, Some((_, next)), _) => next.first_seq - 1,
            (_, None, Some(next)) => next.before.last_seq,
            // All that a follower's position speaks of.
            (_, None, None) => walk.until.map_or(0, |slot| slot.chain.last_seq),
        };
        let base = |kind, text| Finding {
            segment: walk.header.index,
            offset: walk.offset,
            seq,
            last_seq: until,
            acknowledged,
            ..Finding::new(kind, walk.name.to_string(), text)
        };
        let is_seal = walk.seal_at == Some(walk.offset);
        match glimpse {
            Glimpse::Unreadable(error) => {
                self.tell(&Finding { os_errno: error.os_errno, ..base(Kind::Unreadable, error.text.clone()) })
            }
            Glimpse::NoHeader(there, right) => {
                let (kind, text) = match is_seal {
                    true => (Kind::Seal, "the segment does not end in its seal"),
                    false => (Kind::Frame, "a frame that was acknowledged is damaged: no header of this file"),
                };
                self.tell(&Finding { expected: u64::from(*right), found: u64::from(*there), ..base(kind, text.into()) })
            }
            Glimpse::Whole(frame, _, body) if body.bad.is_empty() => self.tell(&Finding {
                expected: walk.chain.identity,
                found: frame.chain,
                ..base(Kind::Chain, "a whole frame, but not the one that continues here".into())
            }),
            Glimpse::Whole(frame, _, body) | Glimpse::BadBody(frame, _, body) => {
                if body.bad.is_empty() || !walk.chain.continues_in(frame) {
                    return self.tell(&Finding {
                        expected: u64::from(frame.body_crc),
                        found: u64::from(body.crc),
                        ..base(Kind::Body, "a frame that was acknowledged is damaged in its body".into())
                    });
                }
                for bad in &body.bad {
                    self.tell(&of_record(bad, base(Kind::Record, "".into()), frame))?;
                }
                Ok(())
            }
        }
    }
}

fn of_record(bad: &BadPlace, base: Finding, frame: &FrameHeader) -> Finding {
    let one = Finding { offset: bad.offset, seq: bad.seq, last_seq: bad.seq, ..base };
    let stream = bad.header.map(|header| header.stream);
    match bad.why {
        BadRecord::Payload => Finding {
            stream,
            expected: bad.header.map_or(0, |header| u64::from(header.payload_crc)),
            found: u64::from(bad.payload_crc),
            text: "a record's payload is damaged".into(),
            ..one
        },
        BadRecord::Version(version) => Finding {
            kind: Kind::Version,
            found: u64::from(version),
            text: "a record of a version that this release does not know".into(),
            ..one
        },
        BadRecord::Header => Finding {
            stream,
            last_seq: frame.last_seq(),
            text: "a record's header is damaged, and so the rest of its frame".into(),
            ..one
        },
        BadRecord::Length => Finding {
            last_seq: frame.last_seq(),
            expected: u64::from(frame.record_count),
            text: "a frame's records do not end where it does".into(),
            ..one
        },
    }
}

fn spot_of(glimpse: &Glimpse, last: &Chain) -> Spot {
    match glimpse {
        Glimpse::Unreadable(_) => Spot::Unreadable,
        Glimpse::Whole(frame, ..) | Glimpse::BadBody(frame, ..) if followers::follows(last, frame) => Spot::OurHeader,
        Glimpse::Whole(..) | Glimpse::BadBody(..) | Glimpse::NoHeader(..) => Spot::NoHeader,
    }
}

impl Walk {
    fn pass(&mut self, frame: &FrameHeader, identity: u64) {
        let offset = self.offset;
        self.offset += frame.frame_len(u64::from(self.header.block_size));
        self.chain = Chain::after(frame, identity);
        if self.newest {
            self.witnessed.pass(frame, offset, self.offset, self.chain);
        }
    }

    /// Goes on at a frame behind damage.
    fn resume(&mut self, offset: u64, chain: Chain) {
        self.offset = offset;
        self.chain = chain;
        (self.witnessed.end, self.witnessed.chain) = (offset, chain);
        self.witnessed.forget_behind();
    }

    /// Back to what is witnessed, and the device is asked again.
    fn go_back(&mut self) {
        self.stream.forget();
        self.witness = None;
        if self.newest {
            self.offset = self.witnessed.end;
            self.chain = self.witnessed.chain;
            self.witnessed.forget_behind();
        }
    }

    /// The log's first frame belongs here, and something else was written to the file.
    fn is_spoilt(&self, glimpse: &Glimpse) -> bool {
        let is_first = self.header.index == 1 && self.offset == u64::from(self.header.block_size);
        // What cannot be read is told as such.
        is_first
            && matches!(glimpse, Glimpse::NoHeader(..))
            && beginning::look(self.file.as_ref(), &self.header).is_ok_and(|looked| looked != Beginning::Unwritten)
    }

    /// Looks through the blocks behind the present place, as far as need be.
    fn look_behind(&mut self, glimpse: &Glimpse) -> Behind {
        let block = u64::from(self.header.block_size);
        let spot = self.offset;
        // Behind its seal a segment holds what it held in an earlier life.
        let end = self.seal_at.map_or(self.header.segment_size, |seal| seal.saturating_add(block));
        let end = end.min(self.until.map_or(u64::MAX, |slot| slot.offset)).min(self.header.segment_size);
        let mut behind = Behind { says_durable: !self.newest, ..Behind::default() };
        let says = |frame: &FrameHeader, last: &Chain| frame.durable_seq > last.last_seq || frame.durable_end > spot;
        if let Some((offset, frame)) = &self.witness {
            let counts = *offset > spot && followers::follows(&self.chain, frame) && says(frame, &self.chain);
            behind.says_durable |= counts;
        }
        let mut at = spot + block;
        if let Glimpse::Whole(frame, ..) = glimpse {
            // Not the next one, but perhaps a later one: then this very frame is where to go on.
            if followers::follows(&self.chain, frame) && !self.chain.continues_in(frame) {
                behind.next = Some((spot, *frame));
                behind.says_durable |= says(frame, &self.chain);
            }
        }
        while at + block <= end && !(behind.says_durable && behind.next.is_some()) {
            match self.stream.header_at(at) {
                Ok(Some(frame)) if followers::follows(&self.chain, &frame) => {
                    behind.next = behind.next.or(Some((at, frame)));
                    if says(&frame, &self.chain) {
                        behind.says_durable = true;
                        self.witness = Some((at, frame));
                    }
                }
                Ok(_) => {}
                Err(error) => behind.unreadable = behind.unreadable.or(Some((at, error))),
            }
            at += block;
        }
        behind
    }
}
