//! One record by its number.

use std::sync::atomic::Ordering;

use super::{closed, Log, Record, Side};
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::{Chain, SegmentHeader};
use crate::read::{seek, segment, vouched, Cursor, Way};
use crate::segment::{retain, State};

impl Log {
    /// Reads record `seq` and gives it to `with`.
    ///
    /// Which segment it is in, the names say; where in it, a few reads of some blocks (`read/seek.rs`).
    ///
    /// # Errors
    /// As `twal_read`.
    pub fn read<T>(&self, seq: u64, with: impl FnOnce(&Record<'_>) -> T) -> Result<T> {
        self.read_one(seq, with)
            .map_err(|error| self.doubted(self.inner.judged(error), seq))
            .inspect_err(|error| self.inner.met_damage(error))
    }

    /// Where the names are those of no whole log, or what is in front is damaged, nobody knows what was released, or
    /// taken out.
    pub(super) fn doubted(&self, error: Error, seq: u64) -> Error {
        let is_answer = matches!(error.code, Code::NotFound | Code::Trimmed);
        let Side::Reader(reader) = &self.inner.side else { return error };
        let Some(damage) = reader.damage().filter(|_| is_answer && !self.is_follower()) else { return error };
        let names = self.inner.directory.segments();
        if error.code == Code::Trimmed {
            if seq < retain::released_below(&names) {
                return error;
            }
            let oldest = names.get(retain::first_live(&names)).map_or(0, |oldest| oldest.index);
            let is_whole_segment = (damage.segment, damage.offset) == (oldest, 0);
            let is_lost_newer = names.last().is_some_and(|newest| newest.state != State::Active);
            if damage.code == Code::Corrupt && is_whole_segment && !is_lost_newer {
                return damage.about_seq(seq);
            }
        }
        // That a newer one is missing says nothing of those that are there.
        let wrong = retain::complaints(&names).into_iter().find(|(name, _)| {
            let is_newest = names.last() == Some(name);
            !(is_newest && name.state != State::Active)
        });
        wrong.map_or(error, |(name, text)| Error::new(Code::Corrupt, text).in_segment(name.index).about_seq(seq))
    }

    fn read_one<T>(&self, seq: u64, with: impl FnOnce(&Record<'_>) -> T) -> Result<T> {
        let inner = &self.inner;
        if inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let no_such = |text: String| Error::new(Code::NotFound, text).about_seq(seq);
        let (mut bound, mut stopped) = (inner.bound(), None);
        if seq > bound {
            (bound, stopped) = inner.look_on();
        }
        if seq == 0 || seq > bound {
            return Err(stopped.unwrap_or_else(|| no_such(format!("record {seq} is not durable"))));
        }
        let first_seq = self.first_seq();
        if seq < first_seq {
            let text = format!("record {seq} was released, the oldest is {first_seq}");
            return Err(Error::new(Code::Trimmed, text).about_seq(first_seq));
        }
        let way = Way { one: true, ..Way::default() };
        let mut cursor = Cursor::new(inner.directory.clone(), inner.log_id, seq, way)?;
        // What is not found in this way, or not right, is found by going all the way; or that says what is wrong.
        let placed = match self.place_of(seq, bound) {
            Ok(Some((header, offset, chain))) => cursor.go_to(&header, offset, chain),
            _ => false,
        };
        if !placed {
            let at = cursor.began();
            vouched::check(&inner.directory, &segment::open_to_read(&inner.directory, at, &inner.log_id)?, None)?;
        }
        cursor.end_at(seq);
        let mut found = cursor.advance(bound)?;
        if !found && !cursor.is_ended() {
            // See `Cursor::is_split`.
            (bound, stopped) = inner.look_on();
            found = cursor.advance(bound)?;
        }
        if !found {
            if cursor.is_ended() && cursor.is_compacted() {
                return Err(no_such(format!("record {seq} was taken out by a compaction")));
            }
            // It was acknowledged, and nothing took it out.
            return Err(stopped.unwrap_or_else(|| {
                let text = format!("record {seq} is not where the segments' names say");
                Error::new(Code::Corrupt, text).in_segment(cursor.began()).about_seq(seq)
            }));
        }
        let (header, data) = cursor.record();
        Ok(with(&Record::of(&header, data)))
    }

    /// Where the frame with `seq` begins, in which file, which is the right one, and what it continues.
    fn place_of(&self, seq: u64, bound: u64) -> Result<Option<(SegmentHeader, u64, Chain)>> {
        let directory = &self.inner.directory;
        let names = directory.segments();
        let Some(at) = names.iter().rposition(|name| name.first_seq <= seq) else { return Ok(None) };
        let opened = segment::open_to_read(directory, names[at].index, &self.inner.log_id)?;
        let (end, next_seq) = match names.get(at + 1) {
            Some(next) if next.index == names[at].index + 1 => {
                let next = segment::open_short(directory, next.index, Access::Read)?.header;
                vouched::check(directory, &opened, Some(&next))?;
                (seek::end_before(&opened, &next)?, next.first_seq)
            }
            Some(_) => return Ok(None),
            None => match self.inner.reach().get() {
                reach if reach.segment == opened.header.index => (reach.end, bound + 1),
                _ => return Ok(None),
            },
        };
        let found = seek::frame_of(&opened, seq, end, next_seq)?;
        Ok(found.map(|(offset, frame)| (opened.header, offset, Chain::before(&frame))))
    }
}
