//! Readers of a log: records in order, from a place on, up to what is durable.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::report::Record;
use super::{closed, Inner, Log, Side};
use crate::base::messages::{Level, Message};
use crate::base::{Code, Error, Result};
use crate::read::recent::Following;
use crate::read::{skip, Cursor, Files, Filter, Hidden, Skipped, Way};
use crate::segment::retain;

/// A reader of one log, for one thread at a time.
pub struct Iter {
    inner: Arc<Inner>,
    cursor: Cursor,
    /// How far a damaged log can be read that is open for reading only, once that was needed.
    behind_damage: Option<u64>,
    /// How many records are still wanted.
    left: u64,
    /// The last call delivered a record.
    at_record: bool,
    /// When it last went on after it had all that there was.
    read_ns: u64,
    /// Where the damage is that was counted and told last: in front of which number, and whether in the payload of the
    /// record before it.  What fails stays, and every later call says so again.
    damage_told: Option<(u64, bool)>,
    /// In the writer's process, since it has come to the log's end: what is written is kept in memory for it.
    following: Option<Following>,
}

/// How a log is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IterOptions {
    /// The first number wanted; 0: the oldest.
    pub from_seq: u64,
    /// Index of the segment to begin with, instead of a number; 0: `from_seq` says.
    pub from_segment: u64,
    /// The last number wanted; 0: there is none.
    pub until_seq: u64,
    /// Most records wanted; 0: all.
    pub limit: u64,
    /// Damage is passed over and counted, instead of ending the reader.
    pub skip_damaged: bool,
    /// Headers alone are read and checked; [`Iter::payload`] reads the present record's payload.
    pub headers_only: bool,
    /// What is durable now, up to `until_seq`, is read, and stays until then, whatever is released meanwhile.
    pub snapshot: bool,
    /// Segments that are complete are mapped, where that can be had.
    pub map_sealed: bool,
    /// Streams wanted; None: all.
    pub streams: Option<Vec<u64>>,
    /// Types wanted; None: all.
    pub kinds: Option<Vec<u16>>,
    /// Types of the program's that it knows; None: all.  Others are left out, or stop the reader if they say so.
    pub known_kinds: Option<Vec<u16>>,
    /// Records that are left out, as if they were not there: what a table's tombstones and purges dropped.
    /// None: every record is delivered.
    pub hidden: Option<Arc<Hidden>>,
}

impl IterOptions {
    fn check(&self) -> Result<()> {
        let refused = |text| Err(Error::new(Code::Inval, text));
        if self.from_seq != 0 && self.from_segment != 0 {
            return refused("from_seq and from_segment both say where to begin");
        }
        if self.skip_damaged && (self.headers_only || self.snapshot) {
            return refused("a reader that skips damage reads payloads, and of no snapshot");
        }
        Ok(())
    }
}

impl Log {
    /// A reader from `from_seq` on; 0 = the oldest.
    ///
    /// # Errors
    /// As `twal_recover_iter`.
    pub fn iter(&self, from_seq: u64) -> Result<Iter> {
        self.iter_with(IterOptions { from_seq, ..IterOptions::default() })
    }

    /// A reader as `options` say.
    ///
    /// # Errors
    /// As `twal_iter_open`.
    pub fn iter_with(&self, options: IterOptions) -> Result<Iter> {
        self.iter_of(None, options)
    }

    /// As [`Log::iter_with`], of no other files than these, if some are given; Again, of the next record too: a compaction
    /// put another in the place of one.
    pub(crate) fn iter_of(&self, files: Option<&Arc<Files>>, options: IterOptions) -> Result<Iter> {
        options.check()?;
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let behind_damage = match &self.inner.side {
            Side::Reader(reader) if options.skip_damaged && reader.is_damaged() => {
                Some(self.inner.bound_behind_damage()?)
            }
            _ => None,
        };
        let mut has_looked = false;
        let mut cursor = loop {
            let oldest = self.first_seq();
            let asked = match options.from_segment {
                0 => options.from_seq,
                index => self.first_of_segment(index)?,
            };
            match self.cursor_of(asked, &options, files, behind_damage) {
                // The oldest went while it was opened: another one is the oldest now.
                Err(error) if error.code == Code::Trimmed && asked == 0 && oldest < self.first_seq() => {}
                // Or long ago, if nobody has looked where the follower is by now.
                Err(error) if error.code == Code::Trimmed && asked == 0 && !has_looked && self.is_follower() => {
                    has_looked = true;
                    self.inner.look_on();
                }
                made => break made.map_err(|error| self.inner.judged(error))?,
            }
        };
        let IterOptions { streams, kinds, known_kinds, hidden, limit, .. } = options;
        cursor.read_within(Arc::clone(self.inner.reach()));
        cursor.set_filter(Filter::new(streams, kinds, known_kinds, hidden));
        let left = if limit == 0 { u64::MAX } else { limit };
        let inner = Arc::clone(&self.inner);
        Ok(Iter {
            inner,
            cursor,
            behind_damage,
            left,
            at_record: false,
            read_ns: 0,
            damage_told: None,
            following: None,
        })
    }

    /// A cursor as `options` say, in front of `from_seq`, 0: of the oldest record.
    fn cursor_of(
        &self,
        from_seq: u64,
        options: &IterOptions,
        files: Option<&Arc<Files>>,
        behind_damage: Option<u64>,
    ) -> Result<Cursor> {
        let mut cursor = self.cursor_from(from_seq, options, behind_damage)?;
        files.map_or(Ok(()), |files| cursor.read_of(Arc::clone(files)))?;
        let until_seq = if options.until_seq == 0 { u64::MAX } else { options.until_seq };
        cursor.end_at(until_seq);
        if options.snapshot {
            let (bound, stopped) = self.inner.look_on();
            match stopped {
                None => cursor.end_at(bound.min(until_seq)),
                // Damage is no end: who comes there is told of it.
                Some(error) if error.code != Code::State && self.inner.is_damaged() => {}
                Some(error) => return Err(error),
            }
            if let Side::Reader(_) = &self.inner.side {
                // The writer's own list is right without a look, for which a roll would have to wait.
                self.inner.directory.scan()?;
            }
            cursor.pin(bound.min(until_seq))?;
        }
        Ok(cursor)
    }

    /// A cursor in front of `from_seq`, 0: of the oldest record.
    fn cursor_from(&self, from_seq: u64, options: &IterOptions, behind_damage: Option<u64>) -> Result<Cursor> {
        let (first_seq, last_seq) = (self.first_seq(), self.last_seq().max(behind_damage.unwrap_or(0)));
        let wants_all = from_seq == 0;
        let damage = match &self.inner.side {
            Side::Reader(reader) if options.skip_damaged => reader.damage(),
            _ => None,
        };
        let mut lacks = None;
        let from_seq = match from_seq {
            0 => first_seq,
            gone if gone < first_seq => {
                let text = format!("record {gone} was released, the oldest is {first_seq}");
                let error = self.doubted(Error::new(Code::Trimmed, text).about_seq(first_seq), gone);
                if !options.skip_damaged || !skip::is_damage(&error) {
                    return Err(error);
                }
                lacks = Some((error, gone));
                first_seq
            }
            there => there,
        };
        if from_seq > last_seq.max(first_seq - 1) + 1 {
            // Behind damage nobody knows what there is.
            if let (Side::Reader(reader), false) = (&self.inner.side, options.skip_damaged) {
                reader.damage().map_or(Ok(()), Err)?;
            }
            let text = format!("record {from_seq} does not exist, the last is {last_seq}");
            return Err(Error::new(Code::NotFound, text).about_seq(from_seq));
        }
        let way = Way {
            skip: options.skip_damaged,
            heads_only: options.headers_only,
            // The segment that a follower's position is in may be named as one that is complete.
            mapped: options.map_sealed && !self.is_follower(),
            one: false,
        };
        let mut cursor = Cursor::new(Arc::clone(&self.inner.directory), self.inner.log_id, from_seq, way)?;
        if let Some((error, gone)) = lacks {
            let until_seq = if options.until_seq == 0 { u64::MAX } else { options.until_seq };
            cursor.lack(&error, gone..=until_seq.min(first_seq - 1));
        } else if let Some(damage) = damage.filter(|_| wants_all) {
            cursor.read_all_of(&damage, self.is_follower());
        }
        Ok(cursor)
    }

    /// The first number of a segment that can be read.
    fn first_of_segment(&self, index: u64) -> Result<u64> {
        if let Side::Reader(_) = &self.inner.side {
            // The writer may have made it, or released it, since we looked.
            self.inner.directory.scan()?;
            self.inner.look_on();
        }
        let lost = self.inner.directory.lost_elders()?;
        let segments = self.inner.directory.segments();
        let live = &segments[retain::first_live(&segments)..];
        if let Some(oldest) = live.first().filter(|oldest| index < oldest.index) {
            lost.map_or(Ok(()), Err)?;
            let text = format!("segment {index} was released, the oldest is {}", oldest.index);
            return Err(Error::new(Code::Trimmed, text).in_segment(index).about_seq(oldest.first_seq));
        }
        let found = live.iter().find(|name| name.index == index);
        found
            .map(|name| name.first_seq)
            .ok_or_else(|| Error::new(Code::NotFound, format!("there is no segment {index}")).in_segment(index))
    }
}

impl Inner {
    pub(super) fn bound_behind_damage(&self) -> Result<u64> {
        match &self.side {
            // Nothing behind its position was ever acknowledged, whatever frames say there.
            Side::Reader(reader) if reader.follows() => Ok(reader.acknowledged_seq()),
            _ => skip::bound_behind_damage(&self.directory, &self.log_id),
        }
    }

    /// How far can be read now, and why no further if that is not just the end.
    pub(super) fn look_on(&self) -> (u64, Option<Error>) {
        match &self.side {
            Side::Writer(commit) => (commit.durable_seq(), None),
            Side::Reader(reader) => reader.look_on(&self.clock),
        }
    }

    /// A log that is open for reading only, and damage is known.
    pub(super) fn is_damaged(&self) -> bool {
        matches!(&self.side, Side::Reader(reader) if reader.is_damaged())
    }
}

impl Iter {
    /// The next record; None: there is none yet (the end is the durable mark at the call), or none wanted any more.
    ///
    /// # Errors
    /// As `twal_iter_next`; damage and trims stay.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        if self.advance()? {
            Ok(Some(self.record()))
        } else {
            Ok(None)
        }
    }

    /// As [`Iter::next_record`], but waits for a record if there is none yet; None is final: none is wanted any more.
    /// `timeout_ns` None = for ever, Some(0) looks.
    ///
    /// # Errors
    /// As `twal_iter_wait`.
    pub fn wait_record(&mut self, timeout_ns: Option<u64>) -> Result<Option<Record<'_>>> {
        let mut seen = self.inner.bound();
        // Who finds a record has nothing to wait for, nor to prepare.
        let (mut waiting, mut had_all) = (None, false);
        loop {
            let has_all = self.cursor.next_seq() > seen && !self.is_ended();
            if has_all {
                // Also of who is woken and finds a record in a later turn.
                had_all = true;
                let (until_ns, _) = waiting.get_or_insert_with(|| self.inner.begin_wait(timeout_ns));
                self.inner.rest_until_due(self.read_ns, *until_ns);
            }
            if self.advance()? {
                if had_all {
                    self.read_ns = self.inner.clock.now_ns();
                }
                return Ok(Some(self.record()));
            }
            if self.is_ended() {
                return Ok(None);
            }
            let (until_ns, pause) = waiting.get_or_insert_with(|| self.inner.begin_wait(timeout_ns));
            self.inner.wait_for_more(seen, None, *until_ns, pause)?;
            seen = self.inner.bound();
        }
    }

    /// Goes to the next record.
    fn advance(&mut self) -> Result<bool> {
        self.at_record = false;
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        if self.is_ended() {
            return Ok(false);
        }
        let spots = self.skipped().spots;
        let found = self.find_next().map_err(|error| self.inner.judged(error));
        for _ in spots..self.skipped().spots {
            self.inner.counters.corrupted_records.one();
            let skipped = self.skipped();
            self.inner.say(Level::Error, || {
                let text = "a damaged spot is passed over, as the reader was asked to";
                Message::new(Level::Error, "damage_skipped", text).with("spots", skipped.spots)
            });
        }
        if let Err(error) = &found {
            let place = (self.cursor.next_seq(), false);
            tell_damage(&self.inner, &mut self.damage_told, place, error);
        }
        self.at_record = found?;
        self.left -= u64::from(self.at_record);
        if let (false, None, Side::Writer(commit)) = (self.at_record, &self.following, &self.inner.side) {
            self.following = if self.is_ended() { None } else { Following::begin(commit.reach()) };
        }
        Ok(self.at_record)
    }

    /// The record that it went to.
    fn record(&mut self) -> Record<'_> {
        let batch_continues = self.cursor.batch_continues();
        let (header, data) = self.cursor.record();
        Record { batch_continues, ..Record::of(&header, data) }
    }

    /// Goes to the next record that is not above `bound`, or to the next one of the frame that holds that.
    fn advance_to(&mut self, bound: u64) -> Result<bool> {
        let (mut advanced, mut until) = (self.cursor.advance(bound)?, bound);
        while !advanced && self.cursor.is_split() {
            let (bound, _) = self.inner.look_on();
            if bound <= until {
                break;
            }
            until = bound;
            advanced = self.cursor.advance(until)?;
        }
        Ok(advanced)
    }

    fn find_next(&mut self) -> Result<bool> {
        let bound = self.inner.bound();
        if self.advance_to(bound)? {
            return Ok(true);
        }
        let Side::Reader(reader) = &self.inner.side else { return Ok(false) };
        if self.cursor.is_ended() {
            return Ok(false);
        }
        let (bound, stopped) = reader.look_on(&self.inner.clock);
        let follows = reader.follows();
        if self.advance_to(bound)? {
            return Ok(true);
        }
        let Some(error) = stopped.filter(|_| !self.cursor.is_ended()) else { return Ok(false) };
        if self.cursor.skipped().is_none() || !skip::is_damage(&error) {
            return Err(error);
        }
        let behind = match self.behind_damage {
            Some(behind) => behind,
            None => *self.behind_damage.insert(self.inner.bound_behind_damage()?),
        };
        let found = self.cursor.advance(bound.max(behind))?;
        if !found {
            self.cursor.end_in_front_of(&error, follows)?;
        }
        Ok(found)
    }

    /// The payload of the record that the last call delivered, read and verified now if it was not before.
    ///
    /// # Errors
    /// As `twal_iter_payload`.
    pub fn payload(&mut self) -> Result<&[u8]> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let none = || Error::new(Code::State, "the last call delivered no record");
        if !self.at_record {
            return Err(none());
        }
        let (inner, told, place) = (&self.inner, &mut self.damage_told, (self.cursor.next_seq(), true));
        let payload = self.cursor.payload().map_err(|error| inner.judged(error));
        payload.inspect_err(|error| tell_damage(inner, told, place, error))?.ok_or_else(none)
    }

    /// Nothing comes any more: `until_seq` or `limit` was reached.
    pub fn is_ended(&self) -> bool {
        self.left == 0 || self.cursor.is_ended()
    }

    /// Where to go on: everything below was delivered, left out, or is not there.
    pub fn next_seq(&self) -> u64 {
        self.cursor.next_seq()
    }

    /// What was passed over so far; nothing, if damage ends this reader.
    pub fn skipped(&self) -> Skipped {
        self.cursor.skipped().unwrap_or_default()
    }
}

/// Counts and tells of damage that a reader meets at `place`, if it has not `told` so of that place.
fn tell_damage(inner: &Inner, told: &mut Option<(u64, bool)>, place: (u64, bool), error: &Error) {
    if error.code == Code::Corrupt && told.replace(place) != Some(place) {
        inner.met_damage(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::base::options::Options;
    use crate::commit::{Entry, How, Threads};
    use crate::disk::sim::SimDisk;
    use std::path::Path;

    /// It had all, waited and was woken: the next time it waits, it rests.  The record was found in a later turn than
    /// the one that had all.
    #[test]
    fn a_reader_that_was_woken_knows_when_it_read() {
        let clock = Clock::simulated();
        let disk = SimDisk::new(1).with_clock(clock.clone());
        let log = Log::open_on(&*disk, Path::new("/log"), &Options::default(), clock.clone(), Threads::None).unwrap();
        let entry = Entry { data: &[7; 100], stream: 0, timestamp: None, kind: 0x0100, required: false };
        let mut iter = log.iter(0).unwrap();
        for seq in 1..=2 {
            log.append(&entry, How { sync: Some(false), no_wait: false }).unwrap();
            assert!(log.durable_seq() < seq, "there is something to wait for");
            assert_eq!(iter.wait_record(None).unwrap().map(|record| record.seq), Some(seq));
            assert_eq!(iter.read_ns, clock.now_ns(), "record {seq}");
            clock.pass(std::time::Duration::from_millis(1));
        }
        // One that is behind has nothing to rest for.
        for _ in 0..2 {
            log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
        }
        let read_ns = iter.read_ns;
        assert_eq!(iter.wait_record(None).unwrap().map(|record| record.seq), Some(3));
        assert_eq!((read_ns, iter.read_ns < clock.now_ns()), (iter.read_ns, true));
        log.close().unwrap();
    }
}
