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
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use twal::disk::sim::{CallKind, Counts, Keep, Stop};
use twal::{Candidate, Code, CompactOptions, Compacted, Entry, Error, How, Iter, Log, Options};

use super::model::{payload, read_from, read_next, require, Read, Verdict};
use super::rng::Rng;
use super::world::{tell_what_cuts_did, Machine, Story};

const STEP: u16 = 0x0200;
const ENDING: u16 = 0x0201;

/// A record as it was appended.
#[derive(Debug, Clone)]
struct Given {
    uid: u64,
    len: usize,
    operation: u64,
    ends: bool,
    /// First number of the batch behind this one; its own batch ends before.
    batch_end: u64,
}

/// What is known of the log, beside it.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Record `seq` is at `seq - 1`.
    given: Vec<Given>,
    /// Appended, and nobody knows with what success.
    maybe: u64,
    /// Numbers that a reader saw last, of those that were there then.
    there: BTreeSet<u64>,
    /// Numbers that the compaction under way lets go; they may be there or not.
    let_go: BTreeSet<u64>,
    /// First numbers of the segments.
    segments: BTreeSet<u64>,
    released: u64,
}

impl Known {
    fn last(&self) -> u64 {
        self.given.len() as u64
    }

    fn of(&self, seq: u64) -> &Given {
        &self.given[seq as usize - 1]
    }

    /// Numbers of the records that `ending` ends.
    fn ended_by(&self, ending: u64) -> impl Iterator<Item = u64> + '_ {
        let operation = self.of(ending).operation;
        (1..ending).filter(move |seq| self.of(*seq).operation == operation)
    }

    /// Operations that have an ending.
    fn ended(&self) -> BTreeSet<u64> {
        self.given.iter().filter(|given| given.ends).map(|given| given.operation).collect()
    }

    /// One record is what was appended under its number; `there` are the numbers that were read.
    fn check_record(&self, read: &Read, there: &BTreeSet<u64>) -> Verdict {
        require!(read.seq >= 1 && read.seq <= self.last(), "record {} was invented", read.seq);
        let given = self.of(read.seq);
        let same = read.data == payload(given.uid, given.len)
            && read.stream == given.operation
            && read.kind == if given.ends { ENDING } else { STEP }
            && read.timestamp == given.uid as i64 * 7;
        require!(same, "record {} is not what was appended: {given:?}", read.seq);
        let follows = there.range(read.seq + 1..given.batch_end).next().is_some();
        require!(read.batch_continues == follows, "record {}: batch continues is {}", read.seq, read.batch_continues);
        Ok(())
    }

    /// Everything that `log` gives is as it must be.  Returns the numbers.
    fn check(&self, log: &Log) -> Verdict<BTreeSet<u64>> {
        let first = log.first_seq();
        let (records, error) = read_from(log, 0);
        require!(error.is_none(), "reading fails: {error:?}");
        let read: BTreeSet<u64> = records.iter().map(|read| read.seq).collect();
        require!(read.len() == records.len(), "a record came twice");
        require!(records.windows(2).all(|pair| pair[0].seq < pair[1].seq), "numbers fall");
        require!(first <= self.released.max(1), "begins at {first}, released below {}", self.released);
        let (last, sure) = (log.last_seq(), self.last() - self.maybe);
        require!(last >= sure && last <= self.last(), "ends at {last} of {sure} to {}", self.last());
        for record in &records {
            self.check_record(record, &read)?;
        }
        for seq in first..=last {
            let there = read.contains(&seq);
            let was = self.there.contains(&seq) || seq > sure;
            require!(!there || was, "record {seq} was gone, and is there again");
            require!(there || !was || self.let_go.contains(&seq), "record {seq} was to be kept, and is gone");
        }
        // Each segment is as it was, or as it is to be.
        let starts: Vec<u64> = self.segments.iter().copied().filter(|start| *start <= last).collect();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(last + 1);
            let before: Vec<u64> = self.there.range(*start..end).copied().filter(|seq| *seq >= first).collect();
            let went = before.iter().filter(|seq| !read.contains(seq)).count();
            let to_go = before.iter().filter(|seq| self.let_go.contains(seq)).count();
            require!(went == 0 || went == to_go, "of segment {start} {went} of {to_go} records went");
        }
        for ending in (first..=last).filter(|seq| self.of(*seq).ends && !read.contains(seq)) {
            let left: Vec<u64> = self.ended_by(ending).filter(|seq| read.contains(seq)).collect();
            require!(left.is_empty(), "ending {ending} is gone, and {left:?} are there");
        }
        Ok(read)
    }
}

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
struct Life<'story> {
    machine: Machine,
    known: RefCell<Known>,
    rng: RefCell<Rng>,
    story: &'story mut Story,
    /// Something fails, or stops, on purpose.
    troubled: bool,
    /// The disk's calls up to the end of the last compaction.
    after: Counts,
}

impl<'story> Life<'story> {
    fn new(machine: Machine, seed: u64, story: &'story mut Story) -> Self {
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
    fn append(known: &RefCell<Known>, rng: &mut Rng, log: &Log) -> Verdict<bool> {
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

    fn fill(&mut self, log: &Log, appends: u64) -> Verdict {
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
                self.settle(log, done)?;
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
fn check_crashed(crashed: &Machine, known: &Known, seed: u64, story: &mut Story) -> Verdict {
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

/// A write of a compaction that was acknowledged and is not there, or elsewhere: the old file is still what counts.
pub fn lost_writes(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let machine = machine(rng.next());
    let mut life = Life::new(machine.clone(), rng.next(), story);
    let log = machine.reopen()?;
    life.fill(&log, 30)?;
    let mut asked = 0;
    let result = log.compact(&CompactOptions { below_seq: u64::MAX, saving_min: 0 }, &mut |candidate| {
        asked += 1;
        if asked == 1 {
            if seed.is_multiple_of(2) {
                machine.disk.lose_next_write();
            } else {
                machine.disk.misdirect_next_write(512 * rng.pick(&[-1, 1, 2]));
            }
        }
        candidate.record.seq % 3 == 0
    });
    match result {
        Err(error) => require!(error.code == Code::Io, "{:?} {error}", error.code),
        Ok(done) => return Err(format!("a write was lost, and nobody noticed: {done:?}")),
    }
    require!(!log.stats().poisoned, "poisoned by a file that is none of the log's");
    life.known.borrow().check(&log)?;
    let crashed = machine.crashed(rng.next(), Stop::PowerCut, Keep::Random);
    check_crashed(&crashed, &life.known.into_inner(), seed, story)
}

/// A reader that skips damage holds the old file, which rots after its content was copied; the new one is whole.
/// It goes on in that, where what it has not read yet begins.
pub fn a_reader_finds_its_place_in_the_new_file(seed: u64, story: &mut Story) -> Verdict {
    let mut machine = machine(seed);
    machine.options.segment_size = 512 << 10;
    machine.options.segment_records_max = 0;
    let data = vec![7; 3000];
    let entry = Entry { data: &data, stream: 1, timestamp: None, kind: STEP, required: false };
    // Two epochs in one segment: records of both never share a frame.
    for _ in 0..2 {
        let log = machine.reopen()?;
        for _ in 0..60 {
            log.append(&entry, How::default()).map_err(|error| format!("append: {error}"))?;
        }
        log.close().map_err(|error| format!("close: {error}"))?;
    }
    let log = machine.reopen()?;
    log.roll().map_err(|error| format!("roll: {error}"))?;
    let options = twal::IterOptions { from_seq: 0, skip_damaged: true };
    let mut iter = log.iter_with(options).map_err(|error| format!("a reader: {error}"))?;
    let mut seqs = vec![read_next(&mut iter).map_err(|error| format!("{error}"))?.map_or(0, |read| read.seq)];
    let disk = machine.disk.clone();
    let mut left = true;
    machine.disk.between_units(Some(Box::new(move |name, _| {
        // By then all of the segment was read for the second time.
        if name.contains("spare") && std::mem::take(&mut left) {
            let sealed = disk.names().into_iter().find(|name| name.ends_with("sealed")).expect("it was rolled");
            for at in 30..35 {
                disk.overwrite(&sealed, at * 3584 + 512, &[0; 512]);
            }
        }
    })));
    let done = log.compact(&CompactOptions { below_seq: u64::MAX, saving_min: 0 }, &mut |candidate| {
        candidate.record.seq % 5 != 0
    });
    machine.disk.between_units(None);
    let done = done.map_err(|error| format!("compact: {error}"))?;
    require!(done.segments == 1 && done.records_purged == 24, "{done:?}");
    while let Some(read) = read_next(&mut iter).map_err(|error| format!("the reader stops: {error}"))? {
        seqs.push(read.seq);
    }
    // What it had read ahead of the first epoch, and from the new file all that is kept of the second.
    let second: Vec<u64> = (61..=120).filter(|seq| seq % 5 != 0).collect();
    let of_second: Vec<u64> = seqs.iter().copied().filter(|seq| *seq > 60).collect();
    require!(of_second == second, "{seqs:?}");
    let skipped = iter.skipped();
    // Number 60 was let go: it belongs to the first frame of the second epoch.
    require!(skipped.spots == 1 && skipped.last_seq == 59, "{skipped:?}");
    story.count("readers that changed files");
    Ok(())
}
