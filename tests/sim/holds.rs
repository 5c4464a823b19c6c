//! Holds and the archive's acknowledgements in random lives: set, moved on and dropped by the writer and by readers,
//! cut off by any crash.  What a hold keeps is told by its number alone, whatever files there are.

use std::collections::{BTreeMap, BTreeSet};

use twal::{Code, Error, HoldInfo, Log};

use super::model::{require, Verdict};
use super::run::{Flow, Run};

const ARCHIVE: &str = "archive";
const NAMES: [&str; 3] = [ARCHIVE, "follower", "snapshot"];

/// Where each hold may be now; 0: it is not there.  More than one place, where a call ended without an answer.
#[derive(Debug, Clone, Default)]
pub struct Holds(BTreeMap<String, BTreeSet<u64>>);

impl Holds {
    fn places(&self, name: &str) -> BTreeSet<u64> {
        self.0.get(name).cloned().unwrap_or_else(|| [0].into())
    }

    /// The one place where it is; None: there may be another.
    fn place(&self, name: &str) -> Option<u64> {
        let places = self.places(name);
        places.first().copied().filter(|_| places.len() == 1)
    }

    /// There may be no hold at all.
    fn may_be_none(&self) -> bool {
        self.0.values().all(|places| places.contains(&0))
    }

    fn asked(&mut self, name: &str, seq: u64) {
        let places = self.places(name);
        self.0.insert(name.to_owned(), places.into_iter().chain([seq]).collect());
    }

    fn told(&mut self, name: &str, seq: u64) {
        self.0.insert(name.to_owned(), [seq].into());
    }

    /// As these are or as those are, or between the two.
    pub fn or(&self, other: &Holds) -> Holds {
        let names = self.0.keys().chain(other.0.keys()).cloned();
        Holds(
            names
                .map(|name| (name.clone(), self.places(&name).union(&other.places(&name)).copied().collect()))
                .collect(),
        )
    }

    /// Nothing from here on may be gone, wherever each of them is.
    fn kept_from(&self) -> u64 {
        let surely = self.0.values().filter(|places| !places.contains(&0));
        surely.filter_map(|places| places.last().copied()).min().unwrap_or(u64::MAX)
    }

    /// A log that begins at `first_seq` has lost nothing that is held.
    pub fn check_kept(&self, first_seq: u64) -> Verdict {
        let kept_from = self.kept_from();
        require!(first_seq <= kept_from, "the log begins at {first_seq}, held was from {kept_from} on: {self:?}");
        Ok(())
    }

    /// What the log says of its holds, and that it has what they keep.
    pub fn check(&self, seen: &Result<Vec<HoldInfo>, Error>, first_seq: u64) -> Verdict {
        let seen = seen.as_ref().map_err(|error| format!("the holds cannot be read: {error}"))?;
        for name in NAMES {
            let place = seen.iter().find(|hold| hold.name == name).map_or(0, |hold| hold.seq);
            require!(self.places(name).contains(&place), "hold {name} is at {place}: {self:?}");
        }
        for hold in seen {
            require!(NAMES.contains(&hold.name.as_str()), "a hold that nobody set: {hold:?}");
            require!(first_seq <= hold.seq, "the log begins at {first_seq}: {hold:?}");
        }
        Ok(())
    }

    /// An open for writing showed these: they stay.
    pub fn reported(&mut self, seen: &Result<Vec<HoldInfo>, Error>) {
        if let Ok(seen) = seen {
            *self = Holds(seen.iter().map(|hold| (hold.name.clone(), [hold.seq].into())).collect());
        }
    }
}

impl Run<'_> {
    /// A hold is set or dropped, or a segment acknowledged as archived; now and then by another process.
    pub fn change_hold(&mut self, log: &Log) -> Verdict<Flow> {
        let reader = if self.rng.percent(25) { Some(self.machine.open_to_read()) } else { None };
        let reader = match reader {
            Some(Err(_)) if self.machine.disk.is_down() => return Ok(Flow::Down),
            Some(Err(_)) if self.faults_planned => return Ok(Flow::On),
            Some(reader) => Some(reader.map_err(|error| format!("a reader cannot open: {error}"))?),
            None => None,
        };
        let by = reader.as_ref().unwrap_or(log);
        let name = self.rng.pick(&NAMES);
        match self.rng.below(10) {
            0..=1 => self.hold_drop(by, name),
            2..=5 if name == ARCHIVE => self.archive(by),
            _ => self.hold_set(by, name, reader.is_some()),
        }
    }

    fn hold_set(&mut self, log: &Log, name: &str, by_reader: bool) -> Verdict<Flow> {
        let (first, last, before) = (log.first_seq(), log.last_seq(), self.model.holds.place(name));
        let seq = match self.rng.below(4) {
            0 => 0,
            1 => last + 1 - self.rng.below(3).min(last),
            _ => self.rng.within(first.saturating_sub(2), last + 2),
        };
        let place = if seq == 0 { first } else { seq };
        self.story.say(format!("hold {name} at {seq}, by a reader: {by_reader}"));
        let result = log.hold_set(name, seq);
        let back = before.is_none_or(|before| place < before);
        match result {
            Ok(()) => {
                require!(place >= first && place <= last + 1, "hold {name} is set at {seq} of {first}..={last}");
                require!(before.is_none() || !back, "hold {name} went back to {place}: {:?}", self.model.holds);
                self.model.holds.told(name, place);
                self.story.count(if by_reader { "holds set by readers" } else { "holds set" });
                Ok(Flow::On)
            }
            Err(error) => match error.code {
                Code::Inval if place > last + 1 => Ok(Flow::On),
                Code::Trimmed if place < first => Ok(Flow::On),
                Code::State if back || by_reader => Ok(Flow::On),
                _ => {
                    self.model.holds.asked(name, place);
                    self.not_changed("hold_set", &error)
                }
            },
        }
    }

    fn hold_drop(&mut self, log: &Log, name: &str) -> Verdict<Flow> {
        self.story.say(format!("drop hold {name}"));
        let before = self.model.holds.place(name);
        match log.hold_drop(name) {
            Ok(()) => {
                require!(before != Some(0), "a hold is dropped that is not there: {name}");
                self.model.holds.told(name, 0);
                self.story.count("holds dropped");
                Ok(Flow::On)
            }
            Err(error) if error.code == Code::NotFound => {
                require!(self.model.holds.places(name).contains(&0), "hold {name} is gone: {:?}", self.model.holds);
                Ok(Flow::On)
            }
            // Before the first hold a reader is told so; also if its writer may or may not have set one.
            Err(error) if error.code == Code::State && self.model.holds.may_be_none() => Ok(Flow::On),
            Err(error) => {
                self.model.holds.asked(name, 0);
                self.not_changed("hold_drop", &error)
            }
        }
    }

    /// The next segment to be archived is the one where the hold stands; acknowledged, it keeps what is behind.
    fn archive(&mut self, log: &Log) -> Verdict<Flow> {
        let before = self.model.holds.place(ARCHIVE);
        let segment = match log.archive_next(0) {
            Ok(Some(segment)) => segment,
            Ok(None) => return Ok(Flow::On),
            Err(error) if error.code == Code::State => {
                require!(before.is_none_or(|before| before == 0), "nothing is archived: {:?}", self.model.holds);
                return Ok(Flow::On);
            }
            Err(error) => return self.not_changed("archive_next", &error),
        };
        self.story.say(format!("archived {} with {}..={}", segment.index, segment.first_seq, segment.last_seq));
        if let Some(before) = before {
            require!(segment.first_seq <= before, "{before} is not archived, the next is {segment:?}");
            require!(segment.last_seq + 1 >= before, "archived up to {before}, the next is {segment:?}");
        }
        let place = segment.last_seq + 1;
        match log.archive_done(segment.index) {
            Ok(()) => {
                self.model.holds.told(ARCHIVE, place.max(before.unwrap_or(0)));
                self.story.count("segments acknowledged as archived");
                Ok(Flow::On)
            }
            Err(error) => {
                self.model.holds.asked(ARCHIVE, place);
                self.not_changed("archive_done", &error)
            }
        }
    }

    fn not_changed(&mut self, what: &str, error: &Error) -> Verdict<Flow> {
        // A killed process' late write keeps the file's lock; the holds' own flush may fail and harm nothing else.
        let alone = (error.code == Code::Locked && self.machine.disk.late_writes() > 0)
            || (error.code == Code::Io && self.faults_planned);
        if alone && !self.machine.disk.is_down() {
            self.story.count("changes of holds failed alone");
            return Ok(Flow::On);
        }
        self.unexpected(what, error)
    }
}
