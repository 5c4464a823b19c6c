//! Records in order, across segments, up to a bound.
//!
//! Promises: every record from the one asked for up to the bound, in order,
//! verified; or an error that says where it stopped and that stays.  Never fewer
//! records without an error; where damage is to be skipped, never without a count.
//! Relies on: the bound is durable, so what is below it and reads badly, twice,
//! is damage and not the tail.

use std::collections::VecDeque;
use std::sync::Arc;

use super::files::Files;
use super::filter::{Filter, UnknownKind};
use super::records::{bad_record, check_counts, check_number, check_records};
use super::segment::{open_to_read, OpenSegment};
use super::skip::{self, Onward, Skipped};
use super::walk::READ_AHEAD;
use super::{heads, vouched, Look, Published, Walker};
use crate::base::{Code, Error, Result};
use crate::format::frame::{FLAG_DATA, FLAG_SEAL};
use crate::format::record::{record_len, FLAG_BATCH_CONTINUES};
use crate::format::{Chain, FrameHeader, Id, RecordHeader, SegmentHeader, RECORD_HEADER_LEN};
use crate::segment::{retain, Directory, State};

/// Most bytes read at once where one record is wanted.
const ONE_RECORD: usize = 64 << 10;

/// So often a log may give back in the same moment what is looked for.
const LOOKS_MAX: u32 = 100;

/// A place in the log, from which records are read.
pub struct Cursor {
    directory: Arc<Directory>,
    log_id: Id,
    /// Records below are passed over.
    from_seq: u64,
    /// Index of the segment where it began.
    began: u64,
    /// What the header of its file says, if it could be opened.
    began_in: Option<SegmentHeader>,
    /// None only if the very first segment could not be opened: then `failed` says why.
    walker: Option<Walker>,
    /// The frames passed so far end like this.
    chain: Chain,
    /// The frame being read.
    frame: Option<Present>,
    /// The frame before was its segment's seal, and the next segment is not open yet.
    sealed: bool,
    /// What stopped the cursor; it stays.
    failed: Option<Error>,
    /// What was passed over; None: damage stops the cursor.
    skipped: Option<Skipped>,
    /// Behind damage, and nothing to go on with was found yet.
    lost: Option<Lost>,
    /// Records that are left out; None: none is.
    filter: Option<Filter>,
    /// The last number wanted.
    until_seq: u64,
    /// Everything up to there was delivered or left out.
    ended: bool,
    /// The frame that comes next begins in front of the bound that was asked for last, and ends behind it.
    split: bool,
    way: Way,
    /// Up to where the files are durable, if somebody says so.
    reach: Option<Arc<Published>>,
    /// The segments that come next, opened already: they stay while they are read, whatever is released.
    pinned: VecDeque<OpenSegment>,
    /// It was to begin with the oldest record.
    wants_all: bool,
    /// What is in front of where it has begun is missing, and counted.
    lacks_front: bool,
    /// The files that it reads, and none that a compaction put in the place of one; None: whichever are there.
    files: Option<Arc<Files>>,
}

/// How a cursor reads what is in its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// Damage is passed over.
    pub skip: bool,
    /// Of records the headers alone are read and checked, until a payload is asked for.
    pub heads_only: bool,
    /// Segments that are complete are mapped.
    pub mapped: bool,
    /// One record is wanted: no more memory than for some blocks; that its segment is the right one is seen to by
    /// whoever wants it.
    pub one: bool,
}

/// Where the cursor has lost its way.
struct Lost {
    /// Nothing was found up to here; None: nobody has looked yet.
    bound: Option<u64>,
    /// Index of the segment.
    index: u64,
}

/// The frame being read, and where in its body.
pub(super) struct Present {
    pub(super) header: FrameHeader,
    /// The chain behind it.
    behind: Chain,
    /// Where the records end; 0 of a frame without any.
    pub(super) records_end: usize,
    /// Where the present record's payload begins, and the next record.
    pub(super) payload: usize,
    pub(super) next: usize,
    /// The present record's header.
    pub(super) record: RecordHeader,
    /// Records gone to so far.
    pub(super) count: u32,
}

impl Cursor {
    /// A cursor in front of record `from_seq`, in whichever segment holds it.
    pub fn new(directory: Arc<Directory>, log_id: Id, from_seq: u64, way: Way) -> Result<Cursor> {
        let mut looks = 1;
        loop {
            match Self::look_for(&directory, log_id, from_seq, way) {
                // The segment that held it, or would have, was released in this moment, and another one has it by now.
                Err(error) if error.code == Code::Trimmed && directory.first_seq() <= from_seq && looks < LOOKS_MAX => {
                    looks += 1;
                }
                looked => return looked,
            }
        }
    }

    fn look_for(directory: &Arc<Directory>, log_id: Id, from_seq: u64, way: Way) -> Result<Cursor> {
        let (index, mut opened) = match retain::holding(&directory.segments(), from_seq) {
            // Held from now on: what is asked for is not recycled under the cursor.
            Some(name) => (name.index, open_to_read(directory, name.index, &log_id)),
            None => match directory.lost_elders()? {
                Some(error) => (error.segment, Err(error)),
                None if directory.segments().is_empty() && !directory.has_segment_files()? => {
                    (0, Err(Error::new(Code::Corrupt, "every segment is gone").about_seq(from_seq)))
                }
                None => {
                    let text = format!("record {from_seq} was released");
                    return Err(Error::new(Code::Trimmed, text).about_seq(directory.first_seq()));
                }
            },
        };
        let mut skipped = way.skip.then(Skipped::default);
        let mut lost = None;
        if opened.as_ref().is_err_and(|error| error.code == Code::Busy) {
            // No record of it is durable yet: in front of it is a place as well, and where there is one still.
            opened = open_to_read(directory, index - 1, &log_id).or(opened);
        }
        let opened = opened.and_then(|opened| {
            if !way.one {
                vouched::check(directory, &opened, None)?;
            }
            Ok(opened)
        });
        let began_in = opened.as_ref().ok().map(|opened| opened.header);
        let (walker, chain, failed) = match opened {
            Ok(opened) => {
                let mut walker = walker_of(&opened, way)?;
                if directory.facts().read_ahead && !way.heads_only && !way.one {
                    walker.read_ahead();
                }
                (Some(walker), opened.header.before, None)
            }
            Err(error) if way.skip && skip::is_damage(&error) => {
                if let Some(skipped) = &mut skipped {
                    skipped.begin(&error, from_seq);
                }
                lost = Some(Lost { bound: None, index });
                (None, Chain { last_seq: from_seq - 1, ..Chain::default() }, None)
            }
            Err(error) if stays(&error) && error.code != Code::Trimmed => (None, Chain::default(), Some(error)),
            Err(error) => return Err(error),
        };
        Ok(Cursor {
            directory: Arc::clone(directory),
            log_id,
            from_seq,
            began: began_in.map_or(index, |header| header.index),
            began_in,
            walker,
            chain,
            frame: None,
            sealed: false,
            failed,
            skipped,
            lost,
            filter: None,
            until_seq: u64::MAX,
            ended: false,
            split: false,
            way,
            reach: None,
            pinned: VecDeque::new(),
            wants_all: false,
            lacks_front: false,
            files: None,
        })
    }

    /// Looks again for the record that it was to begin with, and was in no segment when it was made: what it stands in
    /// front of instead was released.
    fn begin_again(&mut self) -> Result<()> {
        let anew = Self::new(Arc::clone(&self.directory), self.log_id, self.from_seq, self.way)?;
        *self = Cursor {
            filter: self.filter.take(),
            skipped: self.skipped.or(anew.skipped),
            until_seq: self.until_seq,
            reach: self.reach.take(),
            wants_all: self.wants_all,
            lacks_front: self.lacks_front,
            files: self.files.take(),
            ..anew
        };
        self.began_in.map_or(Ok(()), |header| self.check_file(&header))
    }

    /// Leaves records out from here on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = (!filter.is_empty()).then_some(filter);
    }

    /// Reads no block before it is durable as `reach` says, which is never behind a bound that was asked before.
    pub fn read_within(&mut self, reach: Arc<Published>) {
        self.reach = Some(reach);
    }

    /// Reads no other files than these.
    ///
    /// # Errors
    /// Again, also later, of the segment that it comes to: another one is in the place of one of them.
    pub fn read_of(&mut self, files: Arc<Files>) -> Result<()> {
        self.files = Some(files);
        self.began_in.map_or(Ok(()), |header| self.check_file(&header))
    }

    fn check_file(&self, header: &SegmentHeader) -> Result<()> {
        if self.files.as_ref().is_none_or(|files| files.admit(header)) {
            return Ok(());
        }
        let text = format!("segment {} is another file now: it was compacted", header.index);
        Err(Error::new(Code::Again, text).in_segment(header.index))
    }

    /// Delivers nothing above `seq`.
    pub fn end_at(&mut self, seq: u64) {
        self.until_seq = seq;
        self.ended = seq < self.from_seq;
    }

    /// Everything that is wanted was delivered or left out: nothing comes any more.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether what comes next lies in one frame with numbers above the bound that it was asked for last.  A compaction
    /// makes such frames, of segments that are complete: who looks how far all is durable now comes behind it.
    pub fn is_split(&self) -> bool {
        self.split
    }

    /// Whether records may be gone from the segment that it has come to.
    pub fn is_compacted(&self) -> bool {
        self.walker.as_ref().is_some_and(Walker::is_compacted)
    }

    /// Opens every segment up to the one with `seq`: from now on they stay as long as the cursor does.
    pub fn pin(&mut self, seq: u64) -> Result<()> {
        let Some(walker) = &self.walker else { return Ok(()) };
        let newest = self.directory.segments().last().map_or(0, |newest| newest.index);
        for index in walker.index() + 1..=newest {
            if self.directory.segment(index).is_some_and(|name| name.first_seq > seq) {
                break;
            }
            let opened = open_to_read(&self.directory, index, &self.log_id)?;
            self.check_file(&opened.header)?;
            self.pinned.push_back(opened);
        }
        Ok(())
    }

    /// The frame at `offset` of the file with this header is the next one, and `chain` is what it continues.  Nothing
    /// happens, and false, if the cursor has another one: the segment may have been compacted between two opens.
    pub fn go_to(&mut self, header: &SegmentHeader, offset: u64, chain: Chain) -> bool {
        let Some(walker) = self.walker.as_mut().filter(|walker| walker.reads(header)) else { return false };
        walker.go_to(offset);
        self.chain = chain;
        true
    }

    /// Index of the segment where it began.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// The number that the next record has at least: everything below was delivered, left out, or is missing.
    pub fn next_seq(&self) -> u64 {
        let passed = self.frame.as_ref().map_or(0, |frame| frame.record.seq);
        self.from_seq.max(passed.max(self.chain.last_seq) + 1)
    }

    /// What was passed over; None: damage stops this cursor.
    pub fn skipped(&self) -> Option<Skipped> {
        self.skipped
    }

    /// Goes to the next record that is not above `bound`; false: there is none yet.
    pub fn advance(&mut self, bound: u64) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.split = false;
        let mut advanced = self.advance_or_find(bound);
        while let Err(error) = &advanced {
            if let Some(lost) = &mut self.lost {
                // What keeps it from looking for the way on is no other damage, and may be gone at the next call.
                lost.bound = None;
                return advanced;
            }
            if self.skipped.is_none() || !skip::is_damage(error) {
                break;
            }
            let error = error.clone();
            self.lose(&error);
            advanced = self.advance_or_find(bound);
        }
        if let Err(error) = &advanced {
            if stays(error) {
                self.failed = Some(error.clone());
            }
        }
        advanced
    }

    /// As `try_advance`, from behind damage if that is where the cursor stands.
    fn advance_or_find(&mut self, bound: u64) -> Result<bool> {
        if self.lost.is_some() && !self.find_way(bound)? {
            return Ok(false);
        }
        self.try_advance(bound)
    }

    /// Damage: what was delivered so far ends here.
    fn lose(&mut self, error: &Error) {
        let index = self.lost.as_ref().map_or_else(|| self.at().index(), |lost| lost.index);
        (self.frame, self.sealed) = (None, false);
        let next_seq = self.from_seq.max(self.chain.last_seq + 1);
        if let Some(skipped) = &mut self.skipped {
            skipped.begin(error, next_seq);
        }
        self.lost = Some(Lost { bound: None, index });
    }

    /// It was asked for everything from the oldest record on, of a log that is damaged there: it misses what should be in
    /// front of where it has begun, whatever that was.
    ///
    /// A follower's copy (`follows`) may begin with any segment.
    pub fn read_all_of(&mut self, damage: &Error, follows: bool) {
        self.wants_all = true;
        let names = self.directory.segments();
        let passed_over = retain::of_index(&names, damage.segment)
            .is_some_and(|name| name.index < self.began && name.state != State::Archived);
        let missing = damage.segment == self.began && !follows && retain::is_missing_in_front(&names);
        if let Some(skipped) = self.skipped.as_mut().filter(|_| passed_over || missing) {
            skipped.begin(damage, self.from_seq);
            self.lacks_front = true;
        }
    }

    /// It was asked for these numbers too, which nobody released, and can begin only behind them.
    pub fn lack(&mut self, damage: &Error, seqs: std::ops::RangeInclusive<u64>) {
        if let Some(skipped) = &mut self.skipped {
            skipped.begin(damage, *seqs.start());
            skipped.up_to(*seqs.end());
        }
        (self.wants_all, self.lacks_front) = (true, true);
    }

    /// The log is damaged there, and this cursor has delivered all that can be read: a place that it did not count yet
    /// is one that it passes over, though nobody knows what was in it.  The newest file has, if it is missing, the place of
    /// the one before it; an older one that of the one behind it.  A file that is no segment has none, and counts if nothing
    /// else did.
    ///
    /// That is the first damage of the log.  The newest files may be damaged, too; `follows`: it is a follower's copy.
    pub fn end_in_front_of(&mut self, damage: &Error, follows: bool) -> Result<()> {
        let (Some(skipped), Some(walker)) = (&self.skipped, &self.walker) else { return Ok(()) };
        let is_gap = damage.offset == 0 && damage.segment == skipped.segment + 1;
        let is_behind = walker.index() > damage.segment || (is_gap && walker.index() == damage.segment);
        let is_counted = is_behind || (damage.segment, damage.offset) <= (skipped.segment, skipped.offset);
        let counted = skipped.spots > 0 && is_counted;
        let is_in_reach = self.wants_all || damage.segment == 0 || damage.segment >= self.began;
        if self.lost.is_some() {
            return Ok(());
        }
        let newer = skip::lost_behind(&self.directory, &self.log_id, walker.index(), follows)?;
        let is_last = |newer: &Error| skipped.spots > 0 && newer.segment == skipped.segment && skipped.offset == 0;
        let newer = newer.filter(|newer| !is_last(newer));
        let is_first = !counted && is_in_reach && !self.lacks_front;
        if is_first {
            self.lose(damage);
        }
        if let Some(newer) = newer.filter(|newer| !is_first || newer.segment != damage.segment) {
            self.lose(&newer);
        }
        Ok(())
    }

    /// Goes to where frames can be trusted again; false: there is no such place up to `bound`.
    fn find_way(&mut self, bound: u64) -> Result<bool> {
        let Some(lost) = &mut self.lost else { return Ok(true) };
        if lost.bound.is_some_and(|looked| bound <= looked) {
            return Ok(false);
        }
        lost.bound = Some(bound);
        let onward =
            skip::onward(&self.directory, &self.log_id, (self.walker.as_ref(), lost.index), &self.chain, bound)?;
        match onward {
            Onward::Here(opened, offset, chain) => {
                // A file of its own by now, perhaps: the segment may have been compacted since it was opened.
                let mut walker = walker_of(&opened, self.way)?;
                walker.go_to(offset);
                self.walker = Some(walker);
                self.chain = chain;
            }
            Onward::There(opened) => {
                self.walker = Some(walker_of(&opened, self.way)?);
                self.chain = opened.header.before;
            }
            Onward::Nowhere(missing) => {
                self.count_missing(missing);
                // Everything that is wanted was durable, and is not there.
                self.ended = missing >= self.until_seq;
                return Ok(false);
            }
        }
        self.count_missing(self.chain.last_seq);
        self.lost = None;
        Ok(true)
    }

    fn count_missing(&mut self, seq: u64) {
        if let Some(skipped) = &mut self.skipped {
            // What nobody wants is not missed.
            skipped.up_to(seq.min(self.until_seq));
        }
    }

    fn walker(&mut self) -> &mut Walker {
        self.walker.as_mut().expect("a cursor without a walker has failed")
    }

    fn at(&self) -> &Walker {
        self.walker.as_ref().expect("a cursor without a walker has failed")
    }

    fn try_advance(&mut self, bound: u64) -> Result<bool> {
        loop {
            if self.next_in_frame()? {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            if let Some(frame) = self.frame.take() {
                self.chain = frame.behind;
                self.walker().pass(&frame.header);
                self.sealed = frame.header.has(FLAG_SEAL);
            }
            if self.chain.last_seq >= self.until_seq {
                self.ended = true;
                return Ok(false);
            }
            if self.sealed {
                match self.next_segment() {
                    // Its name is there a moment before it can be read, and before it holds a durable record.
                    Err(error) if error.code == Code::Busy => return Ok(false),
                    Err(error) if error.code == Code::Trimmed && self.chain.last_seq + 1 < self.from_seq => {
                        self.begin_again()?;
                        if let Some(error) = &self.failed {
                            return Err(error.clone());
                        }
                        if !self.find_way(bound)? {
                            return Ok(false);
                        }
                    }
                    opened => opened?,
                }
                self.sealed = false;
            }
            if self.chain.last_seq >= bound {
                return Ok(false);
            }
            let (frame, identity) = self.next_frame(bound)?;
            if frame.last_seq() > bound {
                self.split = frame.first_seq <= bound;
                return Ok(false);
            }
            let (at, is_compacted) = (self.at(), self.at().is_compacted());
            let checked = match self.skipped {
                // A batch with a damaged record is passed over whole, not delivered up to there.
                Some(_) if frame.has(FLAG_DATA) => check_records(&frame, is_compacted, at.body(&frame)),
                _ => check_counts(&frame, is_compacted),
            };
            checked.map_err(|error| error.at(at.index(), at.offset()))?;
            let is_data = frame.has(FLAG_DATA);
            let records_end = if is_data { body_len(&frame) } else { 0 };
            self.frame = Some(Present {
                behind: match is_data {
                    true => Chain::after(&frame, identity),
                    false => Chain::behind(&frame, identity, self.at().words(&frame)),
                },
                records_end,
                payload: 0,
                next: if frame.last_seq() < self.from_seq { records_end } else { 0 },
                record: RecordHeader::default(),
                header: frame,
                count: 0,
            });
        }
    }

    /// The frame that continues the chain: something below the bound is still to come.
    fn next_frame(&mut self, bound: u64) -> Result<(FrameHeader, u64)> {
        let index = self.at().index();
        let until = self.reach.as_ref().and_then(|reach| reach.get().in_segment(index));
        if let (Some(walker), Some(reach)) = (&mut self.walker, &self.reach) {
            walker.read_recent(reach);
        }
        self.walker().set_durable(bound, until);
        let mut looked_again = false;
        loop {
            let heads_only = self.way.heads_only;
            let walker = self.walker();
            let seen = match if heads_only { walker.look_at_head() } else { walker.look() } {
                // Where numbers may be missing, a header that an older generation left would not show by its number.
                Look::Whole(frame, _) if heads_only && u64::from(frame.record_count) != frame.seq_span => walker.look(),
                seen => seen,
            };
            match seen {
                // What was read ahead of the bound may have been taken back and written anew since.
                Look::Whole(frame, _) if !self.at().was_durable(frame.last_seq().min(bound)) => {
                    self.walker().forget();
                }
                Look::Whole(frame, identity) if self.chain.continues_in(&frame) => return Ok((frame, identity)),
                // What was read ahead may be older than the bound.
                _ if !looked_again => {
                    looked_again = true;
                    self.walker().forget();
                }
                Look::Unreadable(error) => return Err(error.about_seq(self.chain.last_seq + 1)),
                _ => return Err(self.damage("a frame that was acknowledged is damaged")),
            }
        }
    }

    /// Goes to the next record of the frame; false: it has no more, or there is no frame.
    fn next_in_frame(&mut self) -> Result<bool> {
        let (Some(frame), Some(walker)) = (&mut self.frame, &mut self.walker) else { return Ok(false) };
        while frame.next < frame.records_end {
            let at = frame.next;
            let record = match self.way.heads_only {
                true => heads::next(walker, frame)?,
                false => {
                    let decoded = RecordHeader::decode(&walker.body(&frame.header)[at..]);
                    let next_seq = frame.header.first_seq.max(frame.record.seq.saturating_add(1));
                    let (record, payload) = decoded
                        .map_err(|bad| bad_record(bad).at(walker.index(), walker.offset()).about_seq(next_seq))?;
                    let is_last = at + record_len(payload.len()) >= frame.records_end;
                    check_number(&frame.header, (frame.count, frame.record.seq), record.seq, is_last)
                        .map_err(|error| error.at(walker.index(), walker.offset()))?;
                    record
                }
            };
            if record.seq > self.until_seq {
                self.ended = true;
                return Ok(false);
            }
            let unwanted = self.way.one && record.seq < self.from_seq;
            if record.must_be_known() && !unwanted {
                let text =
                    format!("a record of twal's own type {:#06x}, which this version must not ignore", record.kind);
                return Err(Error::new(Code::Version, text).at(walker.index(), walker.offset()).about_seq(record.seq));
            }
            frame.payload = at + RECORD_HEADER_LEN;
            frame.next = at + record_len(crate::base::bytes::usize_of(u64::from(record.len)));
            frame.count = frame.count.saturating_add(1);
            let passed = std::mem::replace(&mut frame.record, record);
            if record.seq < self.from_seq {
                continue;
            }
            match self.filter.as_ref().map_or(Ok(false), |filter| filter.leaves_out(&record)) {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(UnknownKind) => {
                    // Whoever goes on later begins with it.
                    frame.record = passed;
                    let text =
                        format!("a record of type {:#06x}, which this reader does not know and must", record.kind);
                    return Err(Error::new(Code::Type, text).at(walker.index(), walker.offset()).about_seq(record.seq));
                }
            }
        }
        Ok(false)
    }

    /// The record that [`Cursor::advance`] went to and verified; its payload too, unless only headers are read.
    pub fn record(&self) -> (RecordHeader, &[u8]) {
        let frame = self.frame.as_ref().expect("advance went to a record");
        if self.way.heads_only {
            return (frame.record, &[]);
        }
        let len = crate::base::bytes::usize_of(u64::from(frame.record.len));
        (frame.record, &self.at().body(&frame.header)[frame.payload..frame.payload + len])
    }

    /// The payload of the present record, read and verified now if it was not before; None: there is no record.
    pub fn payload(&mut self) -> Result<Option<&[u8]>> {
        if !self.way.heads_only {
            return Ok(self.frame.is_some().then(|| self.record().1));
        }
        let (Some(frame), Some(walker)) = (&self.frame, &mut self.walker) else { return Ok(None) };
        heads::payload(walker, frame).map(Some)
    }

    /// Whether more records of the same batch will be delivered: of those that follow in it, some may be left out.
    pub fn batch_continues(&mut self) -> bool {
        let (Some(frame), Some(walker)) = (&self.frame, &mut self.walker) else { return false };
        let (mut record, mut next) = (frame.record, frame.next);
        while record.flags & FLAG_BATCH_CONTINUES != 0 {
            let Some(filter) = &self.filter else { return true };
            // What is damaged shows when it is its turn.
            let follower = match self.way.heads_only {
                true => heads::at(walker, frame, next).ok(),
                false => walker
                    .body(&frame.header)
                    .get(next..frame.records_end)
                    .and_then(|rest| RecordHeader::decode_header(rest).ok()),
            };
            let Some(follower) = follower else { return true };
            if filter.leaves_out(&follower) != Ok(true) {
                return true;
            }
            next += record_len(crate::base::bytes::usize_of(u64::from(follower.len)));
            record = follower;
        }
        false
    }

    fn next_segment(&mut self) -> Result<()> {
        // Behind its seal nothing is read, but that bytes are missing there is not passed over in silence.
        self.at().check_size().map_err(|error| error.about_seq(self.chain.last_seq + 1))?;
        let index = self.at().index() + 1;
        let opened = match self.pinned.front() {
            Some(pinned) => pinned.clone(),
            None => {
                if self.directory.segment(index).is_none() {
                    // Another process' writer may have made it since we looked.
                    self.directory.scan()?;
                }
                open_to_read(&self.directory, index, &self.log_id)?
            }
        };
        self.check_file(&opened.header)?;
        if opened.header.before != self.chain {
            let text = "the segment does not continue the one before it";
            return Err(Error::new(Code::Corrupt, text).in_segment(index).about_seq(self.chain.last_seq + 1));
        }
        // What is pinned may have no successor any more but the one that is pinned with it.
        vouched::check(&self.directory, &opened, self.pinned.get(1).map(|next| &next.header))?;
        let mut walker = walker_of(&opened, self.way)?;
        // Not before: what there was no memory for is tried again.
        self.pinned.pop_front();
        if let Some(before) = self.walker.take() {
            walker.read_ahead_after(before);
        }
        self.walker = Some(walker);
        Ok(())
    }

    fn damage(&self, text: &'static str) -> Error {
        Error::new(Code::Corrupt, text).at(self.at().index(), self.at().offset()).about_seq(self.chain.last_seq + 1)
    }
}

/// Memory or descriptors may come back; damage does not.
fn stays(error: &Error) -> bool {
    matches!(error.code, Code::Corrupt | Code::Version | Code::Type | Code::Io | Code::Trimmed)
}

fn walker_of(opened: &OpenSegment, way: Way) -> Result<Walker> {
    let most = if way.one { ONE_RECORD } else { READ_AHEAD };
    let mut walker = Walker::new(Arc::clone(&opened.file), &opened.header, u64::from(opened.header.block_size), most)?;
    if way.heads_only {
        walker.read_sparsely();
    }
    if way.mapped && opened.name.state != State::Active {
        walker.read_mapped();
    }
    Ok(walker)
}

fn body_len(frame: &FrameHeader) -> usize {
    crate::base::bytes::usize_of(u64::from(frame.body_len))
}
