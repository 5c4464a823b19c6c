//! What is kept, and why: named holds, the archive's acknowledgements, and the
//! segments with what holds each of them.
//!
//! A hold is a name and a number: nothing from that number on is released, not
//! by a trim, not by a checkpoint, not by a compaction.  It is durable when the
//! call that set it returns, and may be set by any process that has the log open,
//! its writer or a reader.  What the file of holds is, and how it is locked, is
//! in `segment/directory/holds.rs`.

use std::sync::Arc;

use super::{closed, Log, RecoveryReport, Side};
use crate::base::bytes::len_u64;
use crate::base::clock::Clock;
use crate::base::{Code, Error, Result};
use crate::commit::{Commit, Hint};
use crate::disk::{Access, LockByte};
use crate::format::{Hold, HoldName, Holds, Id};
use crate::read::segment::peek;
use crate::segment::retain::{self, HeldBy};
use crate::segment::{Directory, SegmentName, State};

/// The hold that stands for what was not acknowledged as archived.
const ARCHIVE: &str = "archive";

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldInfo {
    /// Its name.
    pub name: String,
    /// Everything from this number on is kept.
    pub seq: u64,
}

/// A segment, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its index.
    pub index: u64,
    /// Where it is in its life.
    pub state: State,
    /// The first number that it can hold.
    pub first_seq: u64,
    /// The last one that it holds; below `first_seq`: none.
    pub last_seq: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Bytes of the device that the file takes.
    pub room: u64,
    /// When it was begun, wall clock, nanoseconds since 1970; 0: its header cannot be read.
    pub created_ns: i64,
    /// How often it was compacted.
    pub generation: u64,
    /// Why it is not on its way out.
    pub held_by: HeldBy,
    /// Name of its file, as it was when this was asked.
    pub file: String,
}

/// Tells the directory whose it is, and the report what holds there are.
pub(super) fn look(
    directory: &Directory,
    report: &mut RecoveryReport,
    (log_id, writer): (Id, bool),
    keeps_holds: bool,
) {
    directory.belongs_to(log_id, writer, keeps_holds);
    match directory.holds() {
        Ok(holds) => report.holds = len_u64(holds.all.len()),
        // What cannot be read just now is no damage.
        Err(error) => report.holds_damaged = matches!(error.code, Code::Corrupt | Code::Version),
    }
}

/// Moves back to the log's end what holds keep beyond it, before anything is written there: the log was cut by a
/// repair, or lost what was not durable.  What comes next would lie below such a hold, and go for all it says.
pub(super) fn end_at(directory: &Directory, last_seq: u64, newest: &SegmentName, clock: &Clock) -> Result<()> {
    let fitting = |hold: &Hold| match hold.index {
        0 => Hold { seq: hold.seq.min(last_seq + 1), ..*hold },
        index if index > newest.index || hold.seq > last_seq + 1 => {
            Hold { seq: hold.seq.min(newest.first_seq), index: index.min(newest.index), ..*hold }
        }
        _ => *hold,
    };
    // Where they cannot be read they keep everything.
    let fits = |holds: &Holds| holds.all.iter().all(|hold| fitting(hold) == *hold);
    if directory.holds().map_or(true, |holds| fits(&holds)) {
        return Ok(());
    }
    let mut held = directory.hold_still(clock)?;
    let all = held.holds().all.iter().map(fitting).collect();
    let number = held.holds().number + 1;
    held.rewrite(Holds { number, all })
}

/// A crash may have left holds that no header speaks of: lost, nobody would miss them.  What only lacks room for a new
/// segment may come later; until then no reader sets one.
pub(super) fn remember(directory: &Directory, commit: &Commit) -> Result<()> {
    if !directory.keeps_holds() {
        return Ok(());
    }
    match commit.remember_holds() {
        Err(error) if commit.poison().is_some() => {
            // The failure to report is the first one.
            let _ = commit.close();
            Err(error)
        }
        _ => Ok(()),
    }
}

/// A hold's name, if it can be one.
pub fn name_of(name: &str) -> Result<HoldName> {
    HoldName::new(name)
        .ok_or_else(|| Error::new(Code::Inval, "a hold's name has 1 to 39 characters, visible ASCII without spaces"))
}

impl Log {
    /// Nothing from `seq` on is given back until the hold `name` has moved on or was dropped; 0: the oldest number
    /// there is.  It is durable when this returns.
    ///
    /// The first hold that a log ever has is its writer's to set; then every process that has the log open may.
    ///
    /// # Errors
    /// As `twal_hold_set`.
    pub fn hold_set(&self, name: &str, seq: u64) -> Result<()> {
        let name = name_of(name)?;
        let mut last_seq = self.last_seq();
        if let (Side::Reader(_), true) = (&self.inner.side, seq > last_seq + 1) {
            // As it is now, not as it was when somebody last read.
            last_seq = self.inner.look_on().0;
        }
        if seq > last_seq + 1 {
            let seen = match &self.inner.side {
                Side::Writer(_) => "",
                Side::Reader(_) => " that can be seen from here by now",
            };
            let text = format!("a hold at {seq}: the last record{seen} is {last_seq}");
            return Err(Error::new(Code::Inval, text).about_seq(seq));
        }
        if let (Side::Writer(_), Some(before)) = (&self.inner.side, seq.checked_sub(1)) {
            // A power cut must not leave a hold behind the log's end.
            let commit = self.unpoisoned_writer()?;
            if before > commit.durable_seq() {
                commit.sync(before)?;
            }
        }
        self.change_holds(&|holds, segments| {
            let first_seq = segments.get(retain::first_live(segments)).map_or(1, |segment| segment.first_seq);
            let seq = if seq == 0 { first_seq } else { seq };
            let changed = holds.with(Hold { name, seq, index: 0 })?;
            if seq < first_seq {
                let text = format!("hold {name} at {seq}: that is gone, the oldest record is {first_seq}");
                return Err(Error::new(Code::Trimmed, text).about_seq(first_seq));
            }
            Ok(changed)
        })
    }

    /// The hold `name` is no more.
    ///
    /// # Errors
    /// As `twal_hold_drop`.
    pub fn hold_drop(&self, name: &str) -> Result<()> {
        let name = name_of(name)?;
        let missing = || Error::new(Code::NotFound, format!("there is no hold {name}"));
        self.change_holds(&|holds, _| holds.without(&name).ok_or_else(missing))
    }

    /// The holds, by name.
    ///
    /// # Errors
    /// As `twal_holds`.
    pub fn holds(&self) -> Result<Vec<HoldInfo>> {
        self.check_not_closed()?;
        let info = |hold: &Hold| HoldInfo { name: hold.name.as_str().to_owned(), seq: hold.seq };
        Ok(self.inner.directory.holds()?.all.iter().map(info).collect())
    }

    /// Begins with no hold at all, whatever there was: the way on where the holds were damaged or lost.
    ///
    /// # Errors
    /// As `twal_hold_reset`.
    pub fn hold_reset(&self) -> Result<()> {
        let commit = self.unpoisoned_writer()?;
        if !self.inner.directory.keeps_holds() {
            return Ok(());
        }
        let held = self.inner.directory.hold_nothing(&self.inner.clock)?;
        // The trim that failed for the lost holds asked too: the first one that is set anew must not do it.
        self.inner.kept.asked.ask_for_nothing();
        let none = Holds { number: held.holds().number + 1, all: Vec::new() };
        commit.rewrite_holds(held, none)
    }

    /// The oldest sealed segment above `after_index` (0: of all) that was not acknowledged as archived yet; None:
    /// there is none now.  Its file does not go, and is replaced by no other, before it is acknowledged.
    ///
    /// # Errors
    /// As `twal_archive_next`.
    pub fn archive_next(&self, after_index: u64) -> Result<Option<Segment>> {
        self.check_not_closed()?;
        let names = self.segment_names()?;
        let holds = self.inner.directory.holds()?;
        let hold = holds.get(&name_of(ARCHIVE)?).ok_or_else(no_archive)?;
        let next = names.windows(2).position(|pair| {
            pair[0].state == State::Sealed
                && pair[0].index > after_index
                && retain::keeps(hold, &pair[0], pair[1].first_seq)
        });
        let Some(at) = next else { return Ok(None) };
        self.segment_at(&names, at, Some(&holds))
    }

    /// The sealed segment `index`, and every one before it, is archived elsewhere: nothing is kept for that any more.
    ///
    /// # Errors
    /// As `twal_archive_done`.
    pub fn archive_done(&self, index: u64) -> Result<()> {
        let name = name_of(ARCHIVE)?;
        self.change_holds(&|holds, segments| {
            let hold = holds.get(&name).ok_or_else(no_archive)?;
            if index < hold.index {
                return Ok(holds.clone());
            }
            if segments.last().is_some_and(|newest| newest.index == index) {
                return Err(not_sealed(index));
            }
            let found = segments.windows(2).find(|pair| pair[0].index == index);
            let Some([segment, next]) = found else {
                let gone = segments.first().is_some_and(|oldest| index < oldest.index);
                let code = if gone { Code::Trimmed } else { Code::NotFound };
                return Err(Error::new(code, format!("there is no segment {index}")).in_segment(index));
            };
            if segment.state == State::Active {
                return Err(not_sealed(index));
            }
            if !retain::keeps(hold, segment, next.first_seq) {
                // The hold was set behind it.
                return Ok(holds.clone());
            }
            holds.with(Hold { name, seq: next.first_seq, index: next.index })
        })
    }

    /// Every segment, oldest first, with what holds it.
    ///
    /// # Errors
    /// As `twal_segments`.
    pub fn segments(&self) -> Result<Vec<Segment>> {
        self.check_not_closed()?;
        let names = match self.segment_names() {
            // Of a damaged log, those that are there.
            Err(error) if matches!(error.code, Code::Busy | Code::Corrupt) => self.inner.directory.segments(),
            names => names?,
        };
        let holds = self.inner.directory.holds().ok();
        let all: Result<Vec<_>> = (0..names.len()).map(|at| self.segment_at(&names, at, holds.as_ref())).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// None: it has gone meanwhile.
    fn segment_at(&self, names: &[SegmentName], at: usize, holds: Option<&Holds>) -> Result<Option<Segment>> {
        let (inner, name) = (&self.inner, names[at]);
        // By its index: it may have another name since, and be told of as it was.
        let file = match inner.directory.open_segment(name.index, Access::Read) {
            Err(error) if error.code == Code::NotFound => return Ok(None),
            opened => opened?.1,
        };
        let failed = |error| Error::os(format_args!("cannot look at {name}"), &error).in_segment(name.index);
        let retained = inner.config.max_retained_segments;
        let all = holds.map_or(&[][..], |holds| &holds.all);
        let held_by = match retain::held_by(names, at, retained, inner.kept.asked.hold_seq(), all) {
            HeldBy::Nobody if name.state == State::Sealed && holds.is_none() => HeldBy::Unreadable,
            HeldBy::Nobody if file.is_locked(LockByte::Reader).map_err(failed)? => HeldBy::Reader,
            held_by => held_by,
        };
        let header = peek(&inner.directory, name.index).ok();
        Ok(Some(Segment {
            index: name.index,
            state: name.state,
            first_seq: name.first_seq,
            last_seq: names
                .get(at + 1)
                .map_or_else(|| self.last_seq().max(name.first_seq - 1), |next| next.first_seq - 1),
            size: file.size().map_err(failed)?,
            room: file.room().map_err(failed)?,
            created_ns: header.map_or(0, |header| header.created_ns),
            generation: header.map_or(0, |header| header.generation),
            held_by,
            file: name.to_string(),
        }))
    }

    /// Who is told when the log would grow beyond [`Options::log_size_max`](crate::Options), with the bytes that its
    /// files would take and the limit; None: nobody.  It is called on the log's own thread that calls, under no lock,
    /// and may do whatever it likes with the log, but not close it.
    ///
    /// # Errors
    /// As `twal_size_hint`.
    pub fn size_hint(&self, hint: Option<Hint>) -> Result<()> {
        self.writer()?.set_hint(hint)
    }

    /// Releases what lies below `below_seq` and nothing holds; what a hold is in the way of, later.
    pub(super) fn release(&self, commit: &Arc<Commit>, below_seq: u64) -> Result<()> {
        let asked = &self.inner.kept.asked;
        if self.inner.directory.keeps_holds() {
            // First: a hold that moves on meanwhile finds it, or this finds the hold moved.
            asked.ask_for(below_seq);
        }
        commit.trim(below_seq.min(asked.hold_seq()))
    }

    /// From this number on a hold keeps everything.
    pub(super) fn held_seq(&self) -> Result<u64> {
        Ok(self.inner.directory.holds()?.all.iter().map(|hold| hold.seq).min().unwrap_or(u64::MAX))
    }

    /// Puts what `change` makes of the holds in their place, and releases what nothing holds any more.
    fn change_holds(&self, change: &dyn Fn(&Holds, &[SegmentName]) -> Result<Holds>) -> Result<()> {
        self.check_not_closed()?;
        let inner = &self.inner;
        let commit = match &inner.side {
            Side::Writer(_) => Some(self.unpoisoned_writer()?),
            Side::Reader(reader) if reader.follows() => {
                let text = "the directory is a follower's: what is kept there is what its source has not given back";
                return Err(Error::new(Code::State, text));
            }
            Side::Reader(_) => None,
        };
        let mut held = inner.directory.hold_still(&inner.clock)?;
        // After the lock: nothing is released while it is held.
        let segments = self.segment_names()?;
        let remembered = || -> Result<bool> {
            let Some(newest) = segments.last() else { return Ok(false) };
            Ok(peek(&inner.directory, newest.index)?.keeps_holds)
        };
        // If no header speaks of them and they are lost, a writer releases what was told to be kept.
        if commit.is_none() && !(held.is_there() && remembered()?) {
            return Err(Error::new(Code::State, "the log keeps no holds yet: its writer sets the first one"));
        }
        let changed = change(held.holds(), &segments)?;
        let is_first = !held.is_there();
        let same = changed.all == held.holds().all && !is_first;
        let Some(commit) = commit else {
            return if same { Ok(()) } else { held.rewrite(changed) };
        };
        if same {
            drop(held);
            // An earlier call may have come no further than to write them, or not released what they let go.
            commit.remember_holds()?;
        } else {
            let written = commit.rewrite_holds(held, changed.clone());
            if let (Err(error), true) = (&written, is_first) {
                self.take_back(commit, error, &changed)?;
            }
            written?;
        }
        match inner.kept.asked.asked_seq() {
            0 => Ok(()),
            asked_seq => self.release(commit, asked_seq),
        }
    }

    /// A log's first hold is written, and there is no room for the new segment whose header says so.  Who is told that
    /// counts on no hold, and gives back what makes room.
    fn take_back(&self, commit: &Commit, error: &Error, written: &Holds) -> Result<()> {
        if error.code != Code::NoSpc {
            return Ok(());
        }
        let mut held = self.inner.directory.hold_still(&self.inner.clock)?;
        if held.holds().all != written.all {
            return Ok(());
        }
        let number = held.holds().number + 1;
        held.rewrite(Holds { number, all: Vec::new() }).inspect_err(|error| commit.poison_if_names_are_lost(error))
    }

    fn unpoisoned_writer(&self) -> Result<&Arc<Commit>> {
        let commit = self.writer()?;
        commit.poison().map_or(Ok(commit), |first| Err(Error::poisoned_by(&first)))
    }

    pub(crate) fn check_not_closed(&self) -> Result<()> {
        match self.inner.closed.load(std::sync::atomic::Ordering::Acquire) {
            true => Err(closed()),
            false => Ok(()),
        }
    }

    /// The segments' names, as they are now.
    pub(super) fn segment_names(&self) -> Result<Vec<SegmentName>> {
        match &self.inner.side {
            Side::Writer(_) => Ok(self.inner.directory.segments()),
            Side::Reader(_) => match self.followed()? {
                Some((names, _)) => Ok(names),
                None => self.inner.directory.scan_whole(),
            },
        }
    }
}

fn not_sealed(index: u64) -> Error {
    Error::new(Code::State, format!("segment {index} is not sealed yet")).in_segment(index)
}

fn no_archive() -> Error {
    Error::new(Code::State, "nothing is archived: set a hold named archive first")
}
