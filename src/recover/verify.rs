//! Reads all of a log and tells every spot that is damaged.  Changes nothing.
//!
//! Goes on behind a spot: with the next verified header that was composed after
//! what was read so far, and with the next segment.  Holds one buffer of a fixed
//! size, whatever the files say.
//!
//! Beside a writer, in this process or another, the end moves and names change:
//! a bad spot of the newest segment is told only if something behind it says
//! that it was durable, and it is still bad when everything that nothing
//! witnesses was read again after that was seen (`read/scout.rs` has the
//! stories).  What the writer releases meanwhile is passed over.

use std::sync::Arc;

use super::examine::unknown_name;
use super::finding::{Acknowledged, Finding, Kind};
use super::isolate;
use super::verdict::{verdict, Spot, Verdict};
use crate::base::{Code, Error, Result};
use crate::disk::{Access, File, LockKind};
use crate::format::frame::FLAG_SEAL;
use crate::format::record::BadRecord;
use crate::format::{Chain, FrameHeader, Id, SegmentHeader};
use crate::read::stream::{BadPlace, Body, Glimpse, Stream};
use crate::read::{followers, sealed, segment, Witnessed};
use crate::segment::directory::{not_a_file, Listing};
use crate::segment::name::{spare_name, HOLDS, HOLDS_NEW};
use crate::segment::{retain, Directory, SegmentName, State};

/// What was read, and how much of it is damaged.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Segment files that were read, archived ones too.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What was told, a torn end too.
    pub findings: u64,
    /// Those of them that are damage.
    pub damaged: u64,
    /// Of these, how many only a newer release can judge.
    pub unknown_version: u64,
    /// First number that is not released.
    pub first_seq: u64,
    /// Everything from `first_seq` up to here is whole.
    pub last_good_seq: u64,
    /// The last number that a whole frame shows, a mark too, damage in front of it or not.
    pub last_seq: u64,
    /// Whoever was told had enough.
    pub stopped: bool,
}

/// What is called with each finding; false: enough.
pub type Found<'f> = &'f mut dyn FnMut(&Finding) -> bool;

/// Reads the whole log in `directory`.
pub fn verify(directory: &Directory, found: Found<'_>) -> Result<Verified> {
    // Given back at once: while a reader holds it no writer can open the log.
    let alone = directory.try_lock(LockKind::Shared)?;
    if alone {
        directory.unlock()?;
    }
    let listing = settled(directory, alone)?;
    listing.check_no_follower()?;
    if listing.segments.is_empty() && listing.unknown.is_empty() {
        return Err(Error::new(Code::NotFound, "there is no log in the directory"));
    }
    let first_live = retain::first_live(&listing.segments);
    let newest = isolate::newest_header(directory, &listing.segments);
    let log_id = newest.map(|header| header.log_id);
    let first_seq = listing.segments.get(first_live).map_or(1, |name| name.first_seq);
    let mut verifier = Verifier {
        directory,
        found,
        alone,
        log_id,
        said: Verified { first_seq, last_good_seq: first_seq - 1, last_seq: first_seq - 1, ..Verified::default() },
        good: true,
        bad_from: u64::MAX,
        chain: None,
        before: None,
    };
    if let Some(header) = newest {
        directory.belongs_to(header.log_id, false, header.keeps_holds);
    }
    verifier.run(&listing);
    Ok(verifier.said)
}

/// The names, when they no longer change in ways that look like damage.
fn settled(directory: &Directory, alone: bool) -> Result<Listing> {
    let mut tries = if alone { 2 } else { 20 };
    loop {
        tries -= 1;
        let listing = directory.scan()?;
        let whole = !listing.segments.is_empty() && retain::check(&listing.segments).is_ok();
        if tries == 0 || whole {
            if alone {
                flush(directory, &listing)?;
            }
            return Ok(listing);
        }
    }
}

/// What a killed process left in the kernel must not be told as whole and then be lost.
fn flush(directory: &Directory, listing: &Listing) -> Result<()> {
    for name in listing.segments.iter().filter(|name| name.state == State::Active) {
        // What cannot be opened is told when it is to be read.
        let Ok((_, file)) = directory.open_segment(name.index, Access::Read) else { continue };
        file.sync().map_err(|error| Error::os(format_args!("cannot flush {name}"), &error).in_segment(name.index))?;
    }
    directory.sync()
}

/// The caller had enough.
struct Enough;

struct Verifier<'a, 'f> {
    directory: &'a Directory,
    found: Found<'f>,
    alone: bool,
    log_id: Option<Id>,
    said: Verified,
    /// No damage so far in what is not released.
    good: bool,
    /// From this segment on the names are wrong.
    bad_from: u64,
    /// How the segment before ended, and where its seal is; None: it is not known, or there was none.
    chain: Option<(Chain, u64)>,
    /// Index of the segment before.
    before: Option<u64>,
}

/// The segment that is being walked.
struct Walk {
    name: SegmentName,
    header: SegmentHeader,
    stream: Stream,
    /// It may still be written.
    newest: bool,
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

impl Verifier<'_, '_> {
    fn tell(&mut self, finding: &Finding) -> Result<(), Enough> {
        self.said.findings += 1;
        if finding.is_damage() {
            self.said.damaged += 1;
            self.said.unknown_version += u64::from(finding.kind == Kind::Version);
        }
        if (self.found)(finding) {
            return Ok(());
        }
        self.said.stopped = true;
        Err(Enough)
    }

    fn run(&mut self, listing: &Listing) {
        // Enough is no failure: what was said so far stands.
        let _ = self.names(listing).and_then(|()| self.holds()).and_then(|()| self.segments(&listing.segments));
    }

    fn names(&mut self, listing: &Listing) -> Result<(), Enough> {
        for unknown in &listing.unknown {
            let text = unknown_name(unknown);
            self.tell(&Finding { acknowledged: Acknowledged::Unknown, ..Finding::new(Kind::Name, unknown, text) })?;
            self.good = false;
        }
        // Opening takes spares over, and new holds are written where the last ones were.  What goes meanwhile is none.
        let no_files = listing
            .spares
            .iter()
            .map(|n| spare_name(*n))
            .chain([HOLDS_NEW.to_owned()])
            .filter(|spare| matches!(self.directory.is_file(spare), Ok(false)));
        for spare in no_files.collect::<Vec<_>>() {
            let text = not_a_file(&spare);
            self.tell(&Finding { acknowledged: Acknowledged::Unknown, ..Finding::new(Kind::Name, spare, text) })?;
        }
        let newest = listing.segments.last();
        for (name, text) in retain::complaints(&listing.segments) {
            // The one fault that leaves every file in its place is that a newer one is missing.
            if newest != Some(&name) || name.state == State::Active {
                self.bad_from = self.bad_from.min(name.index);
            }
            let seq = name.first_seq;
            self.tell(&Finding {
                segment: name.index,
                seq,
                last_seq: seq - 1,
                ..Finding::new(Kind::Name, name.to_string(), text)
            })?;
        }
        Ok(())
    }

    /// Nothing that can be read is worse for it: what is damaged is why nothing is released.
    fn holds(&mut self) -> Result<(), Enough> {
        // With no header that can be read nobody knows whose they would have to be.
        let Some(error) = self.log_id.and_then(|_| self.directory.holds().err()) else { return Ok(()) };
        let kind = match error.code {
            Code::Version => Kind::Version,
            Code::Corrupt => Kind::Holds,
            _ => Kind::Unreadable,
        };
        self.tell(&Finding::of(kind, HOLDS, &error))
    }

    fn segments(&mut self, names: &[SegmentName]) -> Result<(), Enough> {
        let first_live = retain::first_live(names);
        for (at, name) in names.iter().enumerate() {
            if self.before.is_some_and(|before| before + 1 != name.index) {
                // Allowed among the oldest; else the names were told.
                self.chain = None;
                self.good &= at <= first_live;
            }
            self.good &= name.index < self.bad_from;
            self.segment(name, at + 1 == names.len(), at >= first_live)?;
            self.before = Some(name.index);
        }
        Ok(())
    }

    fn segment(&mut self, name: &SegmentName, newest: bool, live: bool) -> Result<(), Enough> {
        let good_before = self.good;
        let chain = self.chain.take();
        let walked = self.walk_segment(name, newest, chain);
        if !live {
            // What is released takes nothing from what can be read.
            self.good = good_before;
        }
        walked
    }

    fn open(&mut self, name: &SegmentName) -> Result<segment::OpenSegment> {
        let log_id = match self.log_id {
            Some(log_id) => log_id,
            None => segment::open(self.directory, name.index, Access::Read)?.header.log_id,
        };
        segment::open_to_read(self.directory, name.index, &log_id)
    }

    fn walk_segment(&mut self, name: &SegmentName, newest: bool, chain: Option<(Chain, u64)>) -> Result<(), Enough> {
        let opened = match self.open(name) {
            // Released meanwhile, or not quite there yet.
            Err(error) if matches!(error.code, Code::Trimmed | Code::Busy) => return Ok(()),
            Err(error) => {
                self.good = false;
                let kind = match error.code {
                    Code::Version => Kind::Version,
                    Code::Corrupt => Kind::Header,
                    _ => Kind::Unreadable,
                };
                let seq = name.first_seq;
                return self.tell(&Finding {
                    segment: name.index,
                    seq,
                    last_seq: seq - 1,
                    ..Finding::of(kind, name.to_string(), &error)
                });
            }
            Ok(opened) => opened,
        };
        let header = opened.header;
        self.said.segments += 1;
        let wrong_first = header.index == 1 && header.before != Chain::default();
        if wrong_first || chain.is_some_and(|ended| ended != (header.before, header.before_offset)) {
            self.good = false;
            let (expected, _) = chain.unwrap_or_default();
            self.tell(&Finding {
                segment: name.index,
                seq: expected.last_seq + 1,
                last_seq: header.first_seq - 1,
                expected: expected.identity,
                found: header.before.identity,
                ..Finding::new(Kind::Chain, name.to_string(), "the segment does not continue the one before it")
            })?;
        }
        let mut stream = match Stream::new(Arc::clone(&opened.file) as Arc<dyn File>, &header) {
            Ok(stream) => stream,
            Err(error) => {
                self.good = false;
                return self.tell(&Finding::of(Kind::Unreadable, name.to_string(), &error));
            }
        };
        let next = self.directory.segment(name.index + 1);
        let next = next.and_then(|next| segment::open(self.directory, next.index, Access::Read).ok());
        let next = next.map(|next| next.header).filter(|next| next.log_id == header.log_id);
        let seal_at = next.map(|next| sealed::seal_offset(&header, &next, |at| stream.header_at(at).ok().flatten()));
        let mut walk = Walk {
            name: opened.name,
            header,
            stream,
            newest,
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
        self.said.bytes += walk.stream.bytes;
        walked
    }

    fn walk(&mut self, walk: &mut Walk) -> Result<(), Enough> {
        loop {
            let glimpse = walk.stream.look(walk.offset);
            match &glimpse {
                Glimpse::Whole(frame, identity, body) if walk.chain.continues_in(frame) && body.bad.is_empty() => {
                    let offset = walk.offset;
                    let ends = self.take(walk, frame, *identity, body)?;
                    if ends {
                        self.chain = Some(body.seal.map_or((walk.chain, offset), |seal| seal.end(walk.chain, offset)));
                        return Ok(());
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
            walk.counted = walk.offset;
            self.said.frames += 1;
            self.said.records += body.records;
            self.said.last_seq = self.said.last_seq.max(walk.chain.last_seq);
            if self.good {
                self.said.last_good_seq = self.said.last_good_seq.max(walk.chain.last_seq);
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
            self.good = false;
            return self.tell(&wrong("the segment's seal says nothing", 0, 0));
        };
        if seal.first_seq != walk.header.first_seq {
            self.good = false;
            let text = "the segment's seal is of another first record";
            self.tell(&wrong(text, walk.header.first_seq, seal.first_seq))?;
        }
        let Some((frames, records)) = walk.whole else { return Ok(()) };
        if seal.record_count != records {
            self.good = false;
            self.tell(&wrong("the segment's seal counts other records", records, seal.record_count))?;
        }
        // The seal itself was counted.
        if seal.frame_count != frames - 1 {
            self.good = false;
            self.tell(&wrong("the segment's seal counts other frames", frames - 1, seal.frame_count))?;
        }
        Ok(())
    }

    /// What is not the next frame: false, the segment is through.
    fn bad_spot(&mut self, walk: &mut Walk, glimpse: &Glimpse) -> Result<bool, Enough> {
        let behind = walk.look_behind(glimpse);
        // A frame that is the next one is never half-written, whatever its records are.
        let is_next = matches!(glimpse, Glimpse::Whole(frame, ..) if walk.chain.continues_in(frame));
        let may_be_end = walk.newest && !is_next && !behind.says_durable && !self.has_successor(walk);
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
        self.good = false;
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
        !self.alone && self.directory.scan().is_ok() && self.directory.segment(walk.header.index + 1).is_some()
    }

    /// Where the log ends, if nothing more is said about it.
    fn end(&mut self, walk: &Walk, spot: Spot, follower: bool) -> Result<(), Enough> {
        // Beside a writer it is where it writes; and one may have come.
        if verdict(spot, follower, false) != Verdict::Torn || !self.alone || !self.still_alone() {
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
        matches!(self.directory.try_lock(LockKind::Shared), Ok(true)) && self.directory.unlock().is_ok()
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
            (_, None, None) => 0,
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

    /// Looks through the blocks behind the present place, as far as need be.
    fn look_behind(&mut self, glimpse: &Glimpse) -> Behind {
        let block = u64::from(self.header.block_size);
        let spot = self.offset;
        // Behind its seal a segment holds what it held in an earlier life.
        let end = self.seal_at.map_or(self.header.segment_size, |seal| seal.saturating_add(block));
        let end = end.min(self.header.segment_size);
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
