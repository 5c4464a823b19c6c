//! Compaction beside writers and readers, stopped at every step, failed at every
//! call, twice in a row.
//!
//! Method: operations of several records and an ending, over several segments; a
//! compaction lets go of the records of operations that ended, and of an ending
//! when everything that it ends is gone for good.  The judge is a plain list of
//! what was appended and what a reader saw last.  After any crash: whatever was
//! to be kept is there with its bytes; of each segment either all is there that
//! was there before, or exactly what was to be kept; what a reader missed once a
//! compaction had returned never comes back; and no ending is missing while
//! something that it ends is there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use twal::disk::sim::{CallKind, Counts, Keep, Stop};
use twal::{Candidate, Code, CompactOptions, Compacted, Entry, Error, How, Iter, Log, Options};

use super::kept::{Given, Known, ENDING, STEP};
use super::model::{payload, read_from, read_next, require, Verdict};
use super::rng::Rng;
use super::world::{tell_what_cuts_did, Machine, Story};

/// Smaller segments than any real log has, so that a few appends fill several.
pub fn machine(seed: u64) -> Machine {
    let options = Options {
        block_size: 512,
        segment_size: 64 << 10,
        segment_records_max: 16,
        ring_size: 16 << 10,
        max_retained_segments: 1,
        ..Options::default()
    };
    Machine::new(seed, options)
}

/// A life of appends, rolls and compactions.
pub struct Life<'story> {
    machine: Machine,
    pub known: RefCell<Known>,
    rng: RefCell<Rng>,
    story: &'story mut Story,
    /// Something fails, or stops, on purpose.
    troubled: bool,
    /// The disk's calls up to the end of the last compaction.
    after: Counts,
}

impl<'story> Life<'story> {
    pub fn new(machine: Machine, seed: u64, story: &'story mut Story) -> Self {
        let known = Known { segments: [1].into(), ..Known::default() };
        Life {
            machine,
            known: known.into(),
            rng: Rng::new(seed).into(),
            story,
            troubled: false,
            after: Counts::default(),
        }
    }

    /// A batch of steps and endings of a handful of operations.  False: it failed.
    pub fn append(known: &RefCell<Known>, rng: &mut Rng, log: &Log) -> Verdict<bool> {
        let count = rng.pick(&[1, 1, 1, 2, 3, 5]);
        let first = log.last_seq() + 1;
        let mut batch = Vec::new();
        {
            let known = known.borrow();
            let mut ended = known.ended();
            for uid in known.last() + 1..=known.last() + count {
                let newest = uid / 8 + 1;
                let open: Vec<u64> =
                    (newest.saturating_sub(4).max(1)..=newest).filter(|o| !ended.contains(o)).collect();
                let operation = if open.is_empty() { 1_000_000 + uid } else { rng.pick(&open) };
                let ends = rng.percent(30);
                if ends {
                    ended.insert(operation);
                }
                let len = rng.pick(&[0, 1, 8, 40, 300, 1500, 4000]);
                batch.push(Given { uid, len, operation, ends, batch_end: first + count });
            }
        }
        let payloads: Vec<_> = batch.iter().map(|given| payload(given.uid, given.len)).collect();
        let entries = batch.iter().zip(&payloads).map(|(given, data)| Entry {
            data,
            stream: given.operation,
            timestamp: Some(given.uid as i64 * 7),
            kind: if given.ends { ENDING } else { STEP },
            required: false,
        });
        let appended = log.append_batch(entries, How { sync: Some(true), no_wait: false });
        let mut known = known.borrow_mut();
        let seq = known.last() + 1;
        match appended {
            Ok(first_seq) => require!(first_seq == seq, "an append got {first_seq}, not {seq}"),
            Err(error) if matches!(error.code, Code::Io | Code::Poisoned) => {
                // Of a log that is poisoned already nothing more can be there.
                if known.maybe == 0 && error.code == Code::Io {
                    known.maybe = count;
                    known.given.extend(batch);
                }
                return Ok(false);
            }
            Err(_) => return Ok(false),
        }
        known.given.extend(batch);
        known.there.extend(seq..seq + count);
        Ok(true)
    }

    pub fn fill(&mut self, log: &Log, appends: u64) -> Verdict {
        for _ in 0..appends {
            let mut rng = self.rng.borrow_mut();
            if !Self::append(&self.known, &mut rng, log)? {
                require!(self.troubled, "an append fails: {:?}", log.stats().poisoned);
                break;
            }
            if rng.percent(4) {
                drop(log.roll());
            }
        }
        self.look_at_segments();
        Ok(())
    }

    fn look_at_segments(&self) {
        self.known.borrow_mut().segments.extend(segments_of(&self.machine));
    }

    /// One compaction, with appends, readers and trims from inside of it.
    fn compact(&mut self, log: &Log, busy: bool) -> Verdict<Result<Compacted, Error>> {
        self.look_at_segments();
        let (known, rng) = (&self.known, &self.rng);
        let ended = known.borrow().ended();
        // An application of the log keeps everything of some operations for other reasons.
        let held = rng.borrow_mut().next();
        let broken: RefCell<Verdict> = RefCell::new(Ok(()));
        let mut readers = Vec::new();
        if busy {
            readers.push(Reading::from(log, known, rng.borrow_mut().below(3), self.troubled)?);
            if let Ok(other) = self.machine.open_to_read() {
                readers.push(Reading::from(&other, known, rng.borrow_mut().below(3), self.troubled)?);
            }
        }
        let mut in_hand = 0;
        let asked = |candidate: &Candidate<'_>| {
            let record = &candidate.record;
            let (keep, seq) = {
                let known = known.borrow();
                let given = known.of(record.seq);
                let gone = |seq: u64| seq < candidate.gone_below || seq >= candidate.segment_first_seq;
                let lets_go = ended.contains(&given.operation)
                    && (held >> (given.operation % 64)) & 3 != 0
                    && (!given.ends || known.ended_by(record.seq).all(gone));
                (!lets_go, record.seq)
            };
            if !keep {
                known.borrow_mut().let_go.insert(seq);
            }
            in_hand += 1;
            if busy && in_hand % 5 == 0 {
                let meanwhile = Self::meanwhile(known, &mut rng.borrow_mut(), log, &mut readers);
                known.borrow_mut().segments.extend(segments_of(&self.machine));
                if let Err(text) = meanwhile {
                    *broken.borrow_mut() = Err(text);
                }
            }
            keep
        };
        let mut asked = asked;
        let below_seq = if rng.borrow_mut().percent(80) { u64::MAX } else { log.last_seq() / 2 };
        // Some segments then stay whole, although records of theirs could go.
        let saving_min = rng.borrow_mut().pick(&[0, 0, 30_000, 45_000, 55_000]);
        let result = log.compact(&CompactOptions { below_seq, saving_min }, &mut asked);
        broken.into_inner()?;
        self.after = self.machine.disk.counts();
        self.machine.disk.clear_faults();
        self.look_at_segments();
        for reader in &mut readers {
            reader.read_on(&self.known, u64::MAX, self.troubled)?;
            self.story.count("readers beside a compaction");
        }
        match &result {
            Ok(done) => {
                self.story.add("segments compacted", done.segments);
                self.story.add("records purged", done.records_purged);
                // An append beside its end may have been what the stop struck: then nothing can be read.
                if !self.machine.disk.is_down() {
                    self.settle(log, done)?;
                }
            }
            Err(error) => {
                require!(self.troubled, "compact fails: {:?} {error}", error.code);
            }
        }
        Ok(result)
    }

    /// After a compaction that returned: what is missing now is gone for good.
    fn settle(&mut self, log: &Log, done: &Compacted) -> Verdict {
        let read = self.known.borrow().check(log)?;
        let mut known = self.known.borrow_mut();
        let first = log.first_seq();
        let gone = known.there.iter().filter(|seq| **seq >= first && !read.contains(seq)).count() as u64;
        require!(gone <= done.records_purged, "{gone} records are missing, {} were purged", done.records_purged);
        require!(
            first > 1 || gone == done.records_purged,
            "{gone} records are missing, {} were purged",
            done.records_purged
        );
        known.there.retain(|seq| *seq < first || read.contains(seq));
        known.let_go.clear();
        // A reader that begins inside a hole gets the next record that was kept.
        let mut rng = self.rng.borrow_mut();
        for _ in 0..4 {
            let from = rng.within(first, log.last_seq() + 1);
            let (records, error) = read_from(log, from);
            require!(error.is_none(), "reading from {from} fails: {error:?}");
            let seqs: Vec<u64> = records.iter().map(|read| read.seq).collect();
            let expected: Vec<u64> = known.there.range(from..).copied().collect();
            require!(seqs == expected, "from {from}: {seqs:?}, not {expected:?}");
        }
        Ok(())
    }

    /// What happens while a compaction asks.
    fn meanwhile(known: &RefCell<Known>, rng: &mut Rng, log: &Log, readers: &mut [Reading]) -> Verdict {
        match rng.below(8) {
            0..=2 => drop(Self::append(known, rng, log)?),
            3 => drop(log.roll()),
            4 if rng.percent(20) => {
                let below = log.last_seq() / 4;
                let mut known = known.borrow_mut();
                known.released = known.released.max(below);
                drop(log.trim(below));
            }
            _ => {
                let at = rng.below(readers.len().max(1) as u64) as usize;
                if let Some(reader) = readers.get_mut(at) {
                    reader.read_on(known, rng.below(6), true)?;
                }
            }
        }
        Ok(())
    }
}

/// A reader that goes on while segments are rewritten.
struct Reading {
    _log: Log,
    iter: Iter,
    next: u64,
    trimmed: bool,
}

impl Reading {
    /// At some place of the log.
    fn from(log: &Log, known: &RefCell<Known>, thirds: u64, may_fail: bool) -> Verdict<Reading> {
        let from = log.first_seq() + thirds * (log.last_seq() + 1 - log.first_seq()) / 3;
        let iter = log.iter(from).map_err(|error| format!("a reader's begin: {error}"))?;
        let mut reading = Reading { _log: log.clone(), iter, next: from, trimmed: false };
        reading.read_on(known, 3, may_fail)?;
        Ok(reading)
    }

    /// Reads up to `count` records; none that is to be kept is passed over.
    fn read_on(&mut self, known: &RefCell<Known>, count: u64, may_fail: bool) -> Verdict {
        for _ in 0..count {
            if self.trimmed {
                return Ok(());
            }
            let known = known.borrow();
            match read_next(&mut self.iter) {
                Ok(Some(read)) => {
                    require!(read.seq >= self.next, "a reader got {} behind {}", read.seq, self.next);
                    let passed = known.there.range(self.next..read.seq).find(|seq| !known.let_go.contains(seq));
                    require!(passed.is_none(), "a reader at {} passed {passed:?} over", self.next);
                    let given = known.of(read.seq);
                    require!(read.data == payload(given.uid, given.len), "a reader got other bytes of {}", read.seq);
                    self.next = read.seq + 1;
                }
                Ok(None) => return Ok(()),
                Err(error) if error.code == Code::Trimmed && known.released > self.next => self.trimmed = true,
                Err(error) if may_fail && error.code == Code::Io => return Ok(()),
                Err(error) => return Err(format!("a reader at {} stops: {:?} {error}", self.next, error.code)),
            }
        }
        Ok(())
    }
}

fn segments_of(machine: &Machine) -> Vec<u64> {
    let names = machine.disk.names();
    let first_seq = |name: &String| name.strip_prefix("twal-")?.get(17..37)?.parse().ok();
    names.iter().filter_map(first_seq).collect()
}

/// What a crash left opens; and what it holds then stays, is whole, can be compacted again and written on.
pub fn check_crashed(crashed: &Machine, known: &Known, seed: u64, story: &mut Story) -> Verdict {
    story.count("crash states");
    tell_what_cuts_did(crashed, story);
    let log = crashed.reopen()?;
    let read = known.check(&log)?;
    let report = log.report();
    require!(report.records == read.len() as u64, "{report:?}, {} records were read", read.len());
    let cut = crashed.crashed(seed, Stop::PowerCut, Keep::Nothing);
    let again = cut.reopen()?;
    require!(known.check(&again)? == read, "another power cut changes what is there");
    again.close().map_err(|error| format!("close: {error}"))?;
    let orphans = crashed.disk.names().iter().filter(|name| name.contains("spare")).count();
    require!(orphans <= 2, "{orphans} spares after an opening");
    log.close().map_err(|error| format!("close: {error}"))?;
    let mut damage = String::new();
    let verified = twal::verify_on(crashed.disk.as_ref(), Path::new("log"), &mut |found| {
        damage = format!("{found:?}");
        true
    });
    let verified = verified.map_err(|error| format!("verify fails: {error}"))?;
    require!(verified.damaged == 0, "verify finds damage: {damage}");

    let mut life = Life::new(crashed.clone(), seed, story);
    *life.known.borrow_mut() = Known { maybe: 0, ..known.clone() };
    {
        let known = &mut life.known.borrow_mut();
        let last = report.last_seq as usize;
        known.given.truncate(last);
        known.there = read;
        known.let_go.clear();
    }
    let log = crashed.reopen()?;
    life.compact(&log, false)?.map_err(|error| format!("compact: {error}"))?;
    require!(Life::append(&life.known, &mut Rng::new(seed), &log)?, "no append after a recovery");
    log.close().map_err(|error| format!("close: {error}"))?;
    let verify = Options { verify: true, ..crashed.options.clone() };
    let log = crashed.open_with(&verify).map_err(|error| format!("an opening that verifies: {error}"))?;
    life.known.into_inner().check(&log).map(drop)
}

/// Appends and two compactions in a row, with everything beside them; stopped somewhere, if `stop` is reached.
fn lives(life: &mut Life<'_>, busy: bool) -> Verdict {
    let opened = life.machine.open();
    let log = match opened {
        Ok(log) => log,
        Err(error) => {
            require!(life.troubled, "open fails: {error}");
            return Ok(());
        }
    };
    life.fill(&log, 30)?;
    for round in 0..2 {
        let done = life.compact(&log, busy)?;
        if done.is_err() || life.machine.disk.is_down() {
            return Ok(());
        }
        if round == 0 {
            life.fill(&log, 8)?;
        }
    }
    if log.close().is_err() {
        require!(life.troubled, "close fails");
    }
    Ok(())
}

/// Nothing goes wrong but that the power may go at the end.
pub fn beside_writers_and_readers(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let machine = machine(rng.next());
    let mut life = Life::new(machine.clone(), rng.next(), story);
    lives(&mut life, true)?;
    let known = life.known.borrow().clone();
    for (stop, keep) in [(Stop::PowerCut, Keep::Nothing), (Stop::PowerCut, Keep::Random), (Stop::Kill, Keep::Random)] {
        let crashed = machine.crashed(rng.next(), stop, keep);
        check_crashed(&crashed, &known, rng.next(), story)?;
    }
    Ok(())
}

/// The same script stopped at step after step of both compactions.
pub fn every_step_stops(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let (disk_seed, life_seed, busy) = (rng.next(), rng.next(), seed % 4 == 3);
    let stop = [Stop::PowerCut, Stop::Kill][seed as usize % 2];
    // Where the first compaction begins: before that a stop is the business of other tests.
    let first = {
        let machine = machine(disk_seed);
        let mut life = Life::new(machine.clone(), life_seed, story);
        let log = machine.reopen()?;
        life.fill(&log, 30)?;
        machine.disk.steps()
    };
    for step in first.. {
        let machine = machine(disk_seed);
        machine.disk.set_tear_unit(rng.pick(&[512, 4096]));
        machine.disk.stop_at(step, stop);
        story.say(format!("{stop:?} at step {step}"));
        let mut life = Life::new(machine.clone(), life_seed, story);
        life.troubled = true;
        lives(&mut life, busy).map_err(|text| format!("{text}\n{}", machine.disk.trace()))?;
        let known = life.known.borrow().clone();
        if !machine.disk.restart() {
            return Ok(());
        }
        story.count("stops");
        for next in [Stop::Kill, Stop::PowerCut] {
            let crashed = machine.crashed(rng.next(), next, Keep::Random);
            check_crashed(&crashed, &known, rng.next(), story)
                .map_err(|text| format!("after {next:?}: {text}\n{}", machine.disk.trace()))?;
        }
    }
    Ok(())
}

fn spares_of(machine: &Machine) -> Vec<String> {
    machine.disk.names().into_iter().filter(|name| name.contains("spare")).collect()
}

/// The segments' files.
fn contents(machine: &Machine) -> BTreeMap<String, Option<Vec<u8>>> {
    let segments = machine.disk.names().into_iter().filter(|name| !name.contains("spare"));
    segments.map(|name| (name.clone(), machine.disk.content(&name))).collect()
}

const FAILING: [(CallKind, i32); 13] = [
    (CallKind::Create, libc::EIO),
    (CallKind::Create, libc::ENOSPC),
    (CallKind::Open, libc::EMFILE),
    (CallKind::Rename, libc::EIO),
    (CallKind::Rename, libc::ENOSPC),
    (CallKind::Remove, libc::EIO),
    (CallKind::DirSync, libc::EIO),
    (CallKind::Read, libc::EIO),
    (CallKind::Write, libc::EIO),
    (CallKind::Sync, libc::EIO),
    (CallKind::Allocate, libc::ENOSPC),
    (CallKind::Stat, libc::EIO),
    (CallKind::Lock, libc::ENOMEM),
];

/// How many seeds are all the cases.
pub fn case_count() -> u64 {
    FAILING.len() as u64
}

/// Every call of one kind in a compaction fails once.
pub fn every_call_fails(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let (kind, errno) = FAILING[seed as usize % FAILING.len()];
    for k in 0.. {
        let machine = machine(rng.next());
        let mut life = Life::new(machine.clone(), rng.next(), story);
        let log = machine.reopen()?;
        life.fill(&log, 24)?;
        let files = contents(&machine);
        let spares = spares_of(&machine);
        let before = machine.disk.counts().of(kind);
        machine.disk.fail_kind(kind, k, errno);
        life.story.say(format!("{kind:?} {k} fails with {errno}"));
        life.troubled = true;
        let done = life.compact(&log, false)?;
        let untouched = life.after.of(kind) - before <= k;
        let poisoned = log.stats().poisoned;
        if let Err(error) = &done {
            let known = matches!(error.code, Code::Io | Code::NoSpc | Code::NoMem);
            require!(known && error.os_errno == errno, "compact fails: {:?} {error}", error.code);
            let names = error.code == Code::Io && matches!(kind, CallKind::Rename | CallKind::DirSync);
            require!(poisoned == names, "{error}: poisoned is {poisoned}");
            if error.code == Code::NoSpc && log.stats().segments_compacted == 0 {
                require!(contents(&machine) == files, "no room, and something changed");
            }
        }
        let left = spares_of(&machine);
        require!(kind == CallKind::Remove || left == spares, "{spares:?} became {left:?}");
        life.known.borrow().check(&log)?;
        if !poisoned {
            let (known, rng) = (&life.known, &mut *life.rng.borrow_mut());
            require!(Life::append(known, rng, &log)?, "no append after a compaction that failed");
        }
        let known = life.known.borrow().clone();
        for (stop, keep) in
            [(Stop::PowerCut, Keep::Nothing), (Stop::PowerCut, Keep::Random), (Stop::Kill, Keep::Random)]
        {
            let crashed = machine.crashed(rng.next(), stop, keep);
            check_crashed(&crashed, &known, rng.next(), life.story)
                .map_err(|text| format!("after {stop:?} {keep:?}: {text}\n{}", machine.disk.trace()))?;
        }
        drop(log);
        if untouched {
            require!(done.is_ok(), "nothing failed, and {done:?}");
            break;
        }
        life.story.count("failed calls");
    }
    Ok(())
}
