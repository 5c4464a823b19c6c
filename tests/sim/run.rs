//! One run: a log's lives, each a random sequence of everything a caller may
//! do, each ended by a close or a crash; and at every turn a few of the ways a
//! crash could have gone, on forks of the disk.

use std::io::IoSlice;
use twal::disk::sim::{CallKind, Keep, Stop};

use twal::{Code, Durability, Entry, Error, How, Iter, Log, Options, Reservation};

use super::model::{payload, read_next, require, Given, Model, Seen, Verdict};
use super::notices::Notices;
use super::rng::Rng;
use super::world::{check_crashed, Machine, Story};

/// How a run is drawn.
#[derive(Clone, Copy)]
pub struct Plan {
    pub lives: u64,
    pub ops_max: u64,
    /// Percent of operations after which crashes are tried on forks.
    pub fork_percent: u64,
    /// Flushes do nothing: the run must fail.
    pub lies: bool,
}

pub const PLAN: Plan = Plan { lives: 5, ops_max: 40, fork_percent: 5, lies: false };

/// A run in progress.
pub struct Run<'story> {
    pub rng: Rng,
    pub machine: Machine,
    pub model: Model,
    pub story: &'story mut Story,
    plan: Plan,
    next_uid: u64,
    /// What the present life has seen go wrong.
    poisoned: bool,
    faults_planned: bool,
    /// The disk is full now; it was in this life; an append was refused for it.
    full: bool,
    was_full: bool,
    refused: bool,
    /// A reader of another process, and what it delivers next.
    tail: Option<(Log, Iter, u64)>,
    /// What is told without waiting.
    notices: Notices,
}

/// Whether a life goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    On,
    /// A stop has struck.
    Down,
}

pub fn options(rng: &mut Rng) -> Options {
    let block_size = rng.pick(&[512, 512, 4096]);
    Options { block_size, ..Options::default() }
}

/// What may differ from open to open.
fn redraw(options: &Options, rng: &mut Rng) -> Options {
    Options {
        durability: Some(rng.pick(&[Durability::Sync, Durability::Sync, Durability::Group, Durability::Async])),
        segment_size: rng.pick(&[64 << 10, 64 << 10, 128 << 10]),
        segment_records_max: rng.pick(&[0, 0, 0, 5, 30]),
        ring_size: rng.pick(&[8 << 10, 32 << 10, 256 << 10]),
        batch_records: rng.pick(&[1, 3, 8, 64]),
        batch_delay_us: rng.pick(&[100, 1000, 5000]),
        flush_interval_ms: rng.pick(&[1, 20, 1000]),
        max_retained_segments: rng.pick(&[1, 1, 2, 3]),
        idle_mark_us: rng.pick(&[100, 10_000]),
        append_timeout_us: rng.pick(&[0, 0, 0, 500]),
        spares: rng.pick(&[1, 1, 2]),
        verify: rng.percent(20),
        ..options.clone()
    }
}

impl<'story> Run<'story> {
    pub fn new(seed: u64, plan: Plan, story: &'story mut Story) -> Self {
        let mut rng = Rng::new(seed);
        let options = options(&mut rng);
        let machine = Machine::new(rng.next(), options);
        machine.disk.set_tear_unit(rng.pick(&[512, 4096]));
        machine.disk.set_late_within(rng.pick(&[1, 8, 32, 200]), 1_000_000_000);
        machine.disk.lie_about_flushes(plan.lies);
        Run {
            rng,
            machine,
            model: Model::default(),
            story,
            plan,
            next_uid: 1,
            poisoned: false,
            faults_planned: false,
            full: false,
            was_full: false,
            refused: false,
            tail: None,
            notices: Notices::default(),
        }
    }

    pub fn play(&mut self) -> Verdict {
        for life in 0..self.rng.within(2, self.plan.lives) {
            self.machine.options = redraw(&self.machine.options, &mut self.rng);
            let flow = self.live(life)?;
            self.notices.check_all_told(self.faults_planned || flow == Flow::Down)?;
            self.end_life(flow);
            let crash = self.machine.crashed(self.rng.next(), Stop::PowerCut, Keep::Random);
            check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
        }
        let log = self.machine.reopen()?;
        self.check_opened(&log)?;
        log.close().map_err(|error| format!("the last close fails: {error}"))
    }

    /// One life, up to its end by close (On), cut, kill or stop (Down).
    fn live(&mut self, life: u64) -> Verdict<Flow> {
        let keep = self.rng.pick(&[Keep::Random, Keep::Random, Keep::Random, Keep::Everything, Keep::Nothing]);
        self.machine.disk.set_keep(keep);
        if self.rng.percent(60) {
            let stop = self.rng.pick(&[Stop::PowerCut, Stop::PowerCut, Stop::Kill]);
            let most = self.rng.pick(&[12, 60, 250]);
            let after = self.rng.below(most);
            self.machine.disk.stop_at(self.machine.disk.steps() + after, stop);
            self.story.say(format!("-- life {life}: {stop:?} in {after} steps, keep {keep:?}"));
        } else {
            self.story.say(format!("-- life {life}: keep {keep:?}"));
        }
        self.story.say(format!("open {:?}", self.machine.options));
        let log = loop {
            match self.machine.open() {
                Ok(log) => break log,
                Err(_) if self.machine.disk.is_down() => {
                    self.story.say("stopped in open".into());
                    self.story.count("stopped in open");
                    return Ok(Flow::Down);
                }
                Err(error) if error.code == Code::Locked && self.machine.disk.late_writes() > 0 => {
                    self.machine.disk.land_late_writes();
                }
                Err(error) => {
                    return Err(format!("open fails: {:?} {error}\n{}", error.code, self.machine.disk.trace()));
                }
            }
        };
        if self.machine.disk.is_down() {
            // Open had returned from its last write when a chore behind it was stopped.
            return Ok(Flow::Down);
        }
        self.check_opened(&log)?;
        self.notices.begin(&log)?;
        // The open has written again what a failed flush might have dropped.
        self.model.flush_failed = false;
        if self.rng.percent(10) {
            let (kind, errno) =
                (self.rng.pick(&[CallKind::Write, CallKind::Sync]), self.rng.pick(&[libc::EIO, libc::ENOSPC]));
            let after = self.rng.below(60);
            self.machine.disk.fail_kind(kind, after, errno);
            self.faults_planned = true;
            self.model.flush_failed = true;
            self.story.say(format!("{kind:?} {after} from now fails with {errno}"));
        }
        for _ in 0..self.rng.within(1, self.plan.ops_max) {
            if self.op(&log)? == Flow::Down {
                self.story.count("stopped in a call");
                return Ok(Flow::Down);
            }
            self.look(&log)?;
            if self.rng.percent(self.plan.fork_percent) && !self.machine.disk.is_down() {
                let stop = self.rng.pick(&[Stop::PowerCut, Stop::PowerCut, Stop::Kill]);
                let crash = self.machine.crashed(self.rng.next(), stop, Keep::Random);
                self.story.say(format!("  fork: {stop:?}"));
                check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
            }
        }
        self.last_words(log)
    }

    fn last_words(&mut self, log: Log) -> Verdict<Flow> {
        match self.rng.below(4) {
            0 => {
                self.story.say("power cut".into());
                self.machine.disk.power_cut();
                Ok(Flow::Down)
            }
            1 => {
                self.story.say("kill".into());
                self.machine.disk.kill();
                Ok(Flow::Down)
            }
            _ => {
                self.story.say("close".into());
                match log.close() {
                    Ok(()) if self.machine.disk.is_down() => return Ok(Flow::Down),
                    Ok(()) => {
                        require!(!self.poisoned, "a poisoned log closes as if nothing were");
                        self.model.ack(self.model.last_seq());
                        self.model.witness(self.model.last_seq());
                        self.story.count("closed");
                    }
                    Err(_) if self.machine.disk.is_down() => return Ok(Flow::Down),
                    Err(error) => {
                        require!(self.faults_planned, "close fails: {error}");
                        require!(
                            matches!(error.code, Code::Io | Code::Poisoned),
                            "close fails with {:?}: {error}",
                            error.code
                        );
                        self.poisoned = true;
                    }
                }
                if !self.machine.disk.is_down() {
                    // What was planned for the writer must not strike the reader.
                    self.machine.disk.clear_faults();
                    self.poll_tail(None)?;
                }
                Ok(Flow::On)
            }
        }
    }

    fn end_life(&mut self, flow: Flow) {
        let disk = &self.machine.disk;
        if flow == Flow::Down {
            self.tail = None;
        }
        if disk.is_down() {
            disk.restart();
            self.tail = None;
        }
        // A stop that has not struck must not strike in the next life's open: that has one of its own.
        disk.stop_at(u64::MAX, Stop::Kill);
        disk.clear_faults();
        disk.set_capacity(None);
        (self.poisoned, self.faults_planned) = (false, false);
        (self.full, self.was_full) = (false, false);
    }

    fn check_opened(&mut self, log: &Log) -> Verdict {
        let seen = Seen::of(log);
        self.model.check(&seen, self.model.acked).map_err(|text| format!("{text}\n{}", self.machine.disk.trace()))?;
        Model::check_report(&seen)?;
        require!(
            log.last_seq() == seen.last_seq() && log.durable_seq() == seen.last_seq(),
            "last {} durable {} of {}",
            log.last_seq(),
            log.durable_seq(),
            seen.last_seq()
        );
        let report = log.report();
        let (given, last) = (self.model.last_seq(), seen.last_seq());
        self.story
            .say(format!("  opened {}..={last} of {given}, acked {}: {report:?}", seen.first_seq, self.model.acked));
        self.model.reported(&seen);
        Ok(())
    }

    /// After every call: marks only rise, and only to where they may.
    fn look(&mut self, log: &Log) -> Verdict {
        let (durable, last) = (log.durable_seq(), log.last_seq());
        let model = &mut self.model;
        require!(durable >= model.acked, "durable_seq {durable} is below {}, which was acknowledged", model.acked);
        require!(durable <= last, "durable_seq {durable} is above last_seq {last}");
        require!(model.is_batch_end(durable), "durable_seq {durable} is inside a batch");
        let given = model.last_seq();
        require!(
            last == given || (self.poisoned && last == given + model.maybe.len() as u64),
            "last_seq is {last}, accepted were {given}"
        );
        if durable <= given {
            model.ack(durable);
        }
        require!(log.first_seq() >= model.first_seq, "first_seq went back to {}", log.first_seq());
        self.notices.look(log, self.faults_planned || self.machine.disk.is_down())
    }

    // ---- What a caller may do ----

    fn op(&mut self, log: &Log) -> Verdict<Flow> {
        let what = self.rng.below(100);
        let flow = match what {
            0..=37 => self.append(log)?,
            38..=40 => self.reserve(log)?,
            41..=44 => self.sync_async(log)?,
            45..=57 => self.append_batch(log)?,
            58..=61 => self.sync(log)?,
            62..=64 => self.wait(log)?,
            65..=71 => self.tick(log)?,
            72..=74 => self.settle(log)?,
            75..=78 => self.roll(log)?,
            79..=83 => self.trim(log)?,
            84..=87 => self.iterate(log)?,
            88..=92 => {
                self.poll_tail(Some(log))?;
                Flow::On
            }
            93..=94 => self.fill_disk(log)?,
            95..=96 => self.overload(log)?,
            _ => self.misuse(log)?,
        };
        Ok(if self.machine.disk.is_down() { Flow::Down } else { flow })
    }

    /// An error of a call that had no reason of its own to fail.
    fn unexpected(&mut self, what: &str, error: &Error) -> Verdict<Flow> {
        if self.machine.disk.is_down() {
            return Ok(Flow::Down);
        }
        if error.code == Code::NoSpc && (self.full || self.faults_planned) {
            return Ok(Flow::On);
        }
        let io = matches!(error.code, Code::Io | Code::Poisoned);
        require!(
            io && (self.faults_planned || self.poisoned),
            "{what} fails: {:?} {error}\n{}",
            error.code,
            self.machine.disk.trace()
        );
        if !self.poisoned {
            self.story.say(format!("  poisoned in {what}: {error}"));
            self.story.count("poisoned");
            self.poisoned = true;
        }
        Ok(Flow::On)
    }

    pub fn record(&mut self, len_max: u64) -> Given {
        let uid = self.next_uid;
        self.next_uid += 1;
        let len = match self.rng.below(12) {
            0 => 0,
            1..=5 => self.rng.below(100),
            6..=9 => self.rng.below(1500),
            10 => self.rng.below(6000),
            _ => len_max - self.rng.below(50).min(len_max),
        };
        Given {
            uid,
            len: len.min(len_max) as usize,
            kind: 0x0100 + self.rng.below(0xff00) as u16,
            stream: self.rng.next(),
            timestamp: self.rng.percent(50).then(|| self.rng.next().cast_signed()),
            required: self.rng.percent(20),
            batch_continues: false,
        }
    }

    fn how(&mut self) -> How {
        How { sync: self.rng.pick(&[None, None, None, Some(true), Some(false)]), no_wait: self.rng.percent(8) }
    }

    fn waits(&self, how: How) -> bool {
        how.sync.unwrap_or(self.machine.options.durability == Some(Durability::Sync))
    }

    /// What an empty segment holds, from the documentation: a segment less header, mark and seal,
    /// less the frame's header and the record's.
    fn record_size_max(&self) -> u64 {
        let (block, size) = (u64::from(self.machine.options.block_size), self.machine.options.segment_size);
        (size / block - 3) * block - 128 - 40
    }

    fn append(&mut self, log: &Log) -> Verdict<Flow> {
        let len_max = self.record_size_max();
        let given = self.record(len_max);
        let how = self.how();
        self.append_all(log, vec![given], how)
    }

    fn append_batch(&mut self, log: &Log) -> Verdict<Flow> {
        let count = self.rng.within(1, 20);
        let room = self.record_size_max().saturating_sub(count * 50);
        let mut left = room;
        let mut batch = Vec::new();
        for at in 1..=count {
            let most = if self.rng.percent(5) { left } else { left.min(2000) };
            let given = self.record(most);
            left -= given.len as u64;
            batch.push(Given { batch_continues: at < count, ..given });
        }
        let how = self.how();
        self.append_all(log, batch, how)
    }

    pub fn append_all(&mut self, log: &Log, batch: Vec<Given>, how: How) -> Verdict<Flow> {
        let bytes: usize = batch.iter().map(|given| given.len).sum();
        let (before, durable_before) = (self.model.last_seq(), log.durable_seq());
        self.story.say(format!("append {} records {bytes} bytes {how:?} as {}", batch.len(), before + 1));
        let payloads: Vec<_> = batch.iter().map(|given| payload(given.uid, given.len)).collect();
        let result = match (batch.as_slice(), self.rng.percent(25)) {
            ([given], true) => {
                let cuts = [self.rng.below(given.len as u64 + 1), self.rng.below(given.len as u64 + 1)];
                append_cut(log, entry_of(given, &[]), &payloads[0], cuts.map(|cut| cut as usize), how)
            }
            ([given], false) => log.append(&entry_of(given, &payloads[0]), how),
            _ => {
                let entries: Vec<_> = batch.iter().zip(&payloads).map(|(given, data)| entry_of(given, data)).collect();
                log.append_batch(entries.into_iter(), how)
            }
        };
        self.appended(log, batch, how, (before, durable_before), result)
    }

    /// What an append of `batch` has answered, after `before` was the last number and `durable_before` durable.
    fn appended(
        &mut self,
        log: &Log,
        batch: Vec<Given>,
        how: How,
        (before, durable_before): (u64, u64),
        result: Result<u64, Error>,
    ) -> Verdict<Flow> {
        match result {
            Ok(first_seq) => {
                require!(first_seq == before + 1, "an append got {first_seq}, the last was {before}");
                require!(!self.poisoned, "a poisoned log accepts {first_seq}");
                self.model.given.extend(batch);
                if self.waits(how) {
                    let last_seq = self.model.last_seq();
                    require!(log.durable_seq() >= last_seq, "append returned before {last_seq} was durable");
                    self.model.ack(last_seq);
                    // Its frame was composed after that was durable, and says so.
                    self.model.witness(durable_before);
                }
                Ok(Flow::On)
            }
            Err(error) if self.machine.disk.is_down() => {
                self.story.say(format!("  {:?}: {error}", error.code));
                self.unknown_fate(batch);
                Ok(Flow::Down)
            }
            Err(error) => match error.code {
                Code::Io | Code::Poisoned => {
                    require!(!self.poisoned || error.code == Code::Poisoned, "a poisoned log answers {error}");
                    self.unknown_fate(batch);
                    self.unexpected("append", &error)
                }
                Code::Again if how.no_wait => Ok(Flow::On),
                // A spare that could not be prepared.
                Code::NoSpc if self.faults_planned => Ok(Flow::On),
                // Who does not wait is told of the last attempt to get room, and causes the next.
                Code::NoSpc if self.full || (self.was_full && how.no_wait) => {
                    self.refused = true;
                    Ok(Flow::On)
                }
                Code::Timeout if self.machine.options.append_timeout_us > 0 => Ok(Flow::On),
                _ => Err(format!("append fails: {:?} {error}", error.code)),
            },
        }
    }

    /// Reservations lie about while others append, and are committed or given up in any order.
    fn reserve(&mut self, log: &Log) -> Verdict<Flow> {
        let mut held: Vec<(Reservation, Given, How)> = Vec::new();
        for _ in 0..self.rng.within(1, 5) {
            let len_max = self.record_size_max();
            let given = self.record(len_max);
            let room = self.rng.within(given.len as u64, (given.len as u64 + 3000).min(len_max));
            // Who waits while he holds some waits for ever.
            let how = How { no_wait: true, ..self.how() };
            self.story.say(format!("reserve {room} bytes {how:?}"));
            match log.reserve(&entry_of(&given, &[]), room as usize, how) {
                Ok(mut reservation) => {
                    let data = reservation.data();
                    require!(data.len() as u64 == room, "{room} bytes were reserved, {} are there", data.len());
                    data.fill(0xee);
                    data[..given.len].copy_from_slice(&payload(given.uid, given.len));
                    held.push((reservation, given, how));
                }
                Err(error) if error.code == Code::Again => self.story.count("reservations refused"),
                Err(error) => return self.unexpected("reserve", &error),
            }
        }
        while !held.is_empty() {
            let flow = match self.rng.below(10) {
                0..=3 => {
                    let at = self.rng.below(held.len() as u64) as usize;
                    let (mut reservation, given, how) = held.swap_remove(at);
                    self.story.say(format!("commit {} bytes {how:?}", given.len));
                    self.story.count("commits");
                    let before = (self.model.last_seq(), log.durable_seq());
                    let result = reservation.commit(given.len);
                    let again = result.as_ref().is_err_and(|error| error.code == Code::Again);
                    require!(reservation.is_spent() || result.is_err(), "a reservation is committed and still there");
                    require!(!(again && reservation.is_spent()), "a reservation that was refused is gone");
                    self.appended(log, vec![given], how, before, result)?
                }
                4 => {
                    let at = self.rng.below(held.len() as u64) as usize;
                    held.swap_remove(at).0.cancel();
                    self.story.say("cancel".into());
                    Flow::On
                }
                5..=6 => {
                    let given = self.record(1500);
                    let how = How { no_wait: true, ..self.how() };
                    self.append_all(log, vec![given], how)?
                }
                7 => self.tick(log)?,
                8 => self.sync(log)?,
                _ => self.roll(log)?,
            };
            if flow == Flow::Down || self.machine.disk.is_down() {
                return Ok(Flow::Down);
            }
            self.look(log)?;
            if self.rng.percent(3) {
                let crash = self.machine.crashed(self.rng.next(), Stop::PowerCut, Keep::Random);
                self.story.say("  fork with reservations".into());
                check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
            }
        }
        Ok(Flow::On)
    }

    fn sync_async(&mut self, log: &Log) -> Verdict<Flow> {
        let last = self.model.last_seq();
        let seq = if self.rng.percent(60) { 0 } else { self.rng.below(last + 1) };
        self.story.say(format!("sync_async {seq}"));
        match self.notices.register(log, seq, last)? {
            Ok(()) => Ok(Flow::On),
            Err(error) => self.unexpected("sync_async", &error),
        }
    }

    /// The first append that fails for an I/O error may be there later; those behind it were not begun.
    fn unknown_fate(&mut self, batch: Vec<Given>) {
        if !self.poisoned && self.model.maybe.is_empty() {
            self.model.maybe = batch;
        }
    }

    fn sync(&mut self, log: &Log) -> Verdict<Flow> {
        let last = self.model.last_seq();
        let seq = if self.rng.percent(60) { 0 } else { self.rng.below(last + 1) };
        self.story.say(format!("sync {seq}"));
        match log.sync(seq) {
            Ok(()) => {
                self.model.ack(if seq == 0 { last } else { seq });
                Ok(Flow::On)
            }
            Err(error) => self.unexpected("sync", &error),
        }
    }

    fn wait(&mut self, log: &Log) -> Verdict<Flow> {
        let last = self.model.last_seq();
        let seq = if self.rng.percent(60) { 0 } else { self.rng.below(last + 1) };
        let timeout_ns = self.rng.pick(&[None, Some(0), Some(50_000), Some(50_000_000)]);
        self.story.say(format!("wait {seq} {timeout_ns:?}"));
        match log.wait(seq, timeout_ns) {
            Ok(()) => {
                self.model.ack(if seq == 0 { last } else { seq });
                Ok(Flow::On)
            }
            Err(error) if error.code == Code::Timeout && timeout_ns.is_some() => Ok(Flow::On),
            Err(error) => self.unexpected("wait", &error),
        }
    }

    fn tick(&mut self, log: &Log) -> Verdict<Flow> {
        let options = &self.machine.options;
        let us = match self.rng.below(6) {
            0 => 0,
            // What nobody waits for is written by then.
            1 | 2 => 1000,
            3 => options.batch_delay_us,
            4 => options.idle_mark_us,
            _ => options.flush_interval_ms * 1000,
        };
        self.story.say(format!("tick after {us} us"));
        let idle = us >= options.idle_mark_us;
        let durable = log.durable_seq();
        self.machine.pass_us(us);
        log.tick();
        self.notices.check_due_told(log)?;
        if idle && self.may_expect(log) {
            self.model.witness(durable);
        }
        Ok(Flow::On)
    }

    /// Time alone makes everything durable, and then witnessed.
    fn settle(&mut self, log: &Log) -> Verdict<Flow> {
        self.story.say("settle".into());
        let options = self.machine.options.clone();
        log.tick();
        self.machine.pass_us(options.flush_interval_ms * 1000 + options.batch_delay_us);
        log.tick();
        if self.may_expect(log) {
            let (durable, last) = (log.durable_seq(), log.last_seq());
            require!(durable == last, "flush_interval has passed, durable is {durable} of {last}");
        }
        let durable = log.durable_seq();
        self.machine.pass_us(options.idle_mark_us);
        log.tick();
        if self.may_expect(log) {
            self.model.ack(durable);
            self.model.witness(durable);
        }
        Ok(Flow::On)
    }

    /// The log works: what time has to bring, it brings.
    fn may_expect(&mut self, log: &Log) -> bool {
        if log.stats().poisoned && self.faults_planned && !self.poisoned && !self.machine.disk.is_down() {
            self.story.count("poisoned in tick");
            self.poisoned = true;
        }
        !self.poisoned && !self.machine.disk.is_down()
    }

    fn roll(&mut self, log: &Log) -> Verdict<Flow> {
        self.story.say("roll".into());
        let last = self.model.last_seq();
        match log.roll() {
            Ok(()) => {
                self.model.ack(last);
                self.model.witness(last);
                Ok(Flow::On)
            }
            Err(error) => self.unexpected("roll", &error),
        }
    }

    fn trim(&mut self, log: &Log) -> Verdict<Flow> {
        let below = self.rng.below(self.model.last_seq() + 2);
        self.story.say(format!("trim {below}"));
        self.model.released = self.model.released.max(below);
        match log.trim(below) {
            Ok(()) => {
                let first = log.first_seq();
                require!(first <= self.model.released.max(1), "trim below {below} released up to {first}");
                self.model.first_seq = self.model.first_seq.max(first);
                self.story.count("trims");
                Ok(Flow::On)
            }
            // A flush of names or of a recycled file failed: what had to be durable for it was not touched.
            Err(error) if error.code == Code::Io && self.faults_planned && !log.stats().poisoned => {
                self.story.count("trims failed alone");
                Ok(Flow::On)
            }
            Err(error) => self.unexpected("trim", &error),
        }
    }

    fn iterate(&mut self, log: &Log) -> Verdict<Flow> {
        let (first, last, durable) = (log.first_seq(), log.last_seq(), log.durable_seq());
        let from = if self.rng.percent(40) { 0 } else { self.rng.within(first.saturating_sub(3), last + 3) };
        self.story.say(format!("iterate from {from}"));
        let mut iter = match log.iter(from) {
            Ok(iter) => iter,
            Err(error) if self.machine.disk.is_down() => {
                let _ = error;
                return Ok(Flow::Down);
            }
            Err(error) => {
                let right = (error.code == Code::Trimmed && from < first)
                    || (error.code == Code::NotFound && from > last.max(first - 1) + 1);
                require!(right, "iter({from}) of {first}..={last}: {:?} {error}", error.code);
                return Ok(Flow::On);
            }
        };
        let from = if from == 0 { first } else { from };
        require!(from >= first && from <= last.max(first - 1) + 1, "iter({from}) of {first}..={last} is given");
        let mut reads = Vec::new();
        loop {
            match read_next(&mut iter) {
                Ok(Some(read)) => reads.push(read),
                Ok(None) => break,
                Err(_) if self.machine.disk.is_down() => return Ok(Flow::Down),
                Err(error) => return Err(format!("iterating from {from} fails: {error}")),
            }
        }
        require!(
            reads.len() as u64 == (durable + 1).saturating_sub(from),
            "from {from} to {durable} there are {} records",
            reads.len()
        );
        self.model.check_records(from, &reads)?;
        Ok(Flow::On)
    }

    /// A reader as of another process, which stays over calls, trims and even a close.
    fn poll_tail(&mut self, writer: Option<&Log>) -> Verdict {
        if self.machine.disk.is_down() {
            return Ok(());
        }
        if self.tail.is_none() && writer.is_some() {
            let log = match self.machine.open_to_read() {
                Err(_) if self.machine.disk.is_down() => return Ok(()),
                log => log.map_err(|error| format!("a reader cannot open: {error}"))?,
            };
            let next = log.first_seq();
            let iter = log.iter(0).map_err(|error| format!("a reader cannot begin: {error}"))?;
            self.story.say(format!("a reader begins at {next}"));
            self.tail = Some((log, iter, next));
        }
        let Some((reader, mut iter, mut next)) = self.tail.take() else { return Ok(()) };
        loop {
            match read_next(&mut iter) {
                Ok(Some(read)) => {
                    self.model
                        .check_records(next, std::slice::from_ref(&read))
                        .map_err(|text| format!("reader: {text}"))?;
                    next += 1;
                }
                Ok(None) => break,
                // A reader flushes: the stop may strike there.
                Err(_) if self.machine.disk.is_down() => return Ok(()),
                Err(error) => {
                    let released = next < self.model.released && error.code == Code::Trimmed;
                    require!(released, "a reader fails at {next}: {:?} {error}", error.code);
                    self.story.count("readers trimmed away");
                    return Ok(());
                }
            }
        }
        self.story.say(format!("a reader is at {next}"));
        self.story.count("reader polls");
        if let Some(writer) = writer {
            require!(next - 1 <= writer.durable_seq(), "a reader delivers {}, which is not durable", next - 1);
        } else if !self.poisoned {
            require!(next - 1 == self.model.last_seq(), "a reader of a closed log ends at {}", next - 1);
        }
        // Behind a flush that failed there may be a hole in front of the witness.
        require!(
            next > self.model.witnessed || self.poisoned,
            "a reader ends before {next}, witnessed is {}\n{}",
            self.model.witnessed,
            self.machine.disk.trace()
        );
        self.tail = Some((reader, iter, next));
        Ok(())
    }

    /// The disk is full: an error that goes away, and nothing is lost by it.
    fn fill_disk(&mut self, log: &Log) -> Verdict<Flow> {
        if self.poisoned || self.faults_planned {
            return Ok(Flow::On);
        }
        let disk = self.machine.disk.clone();
        let room = self.rng.pick(&[0, 4096, 40 << 10]);
        self.story.say(format!("the disk has {room} bytes left"));
        disk.set_capacity(Some(disk.room_taken() + room));
        (self.full, self.was_full, self.refused) = (true, true, false);
        for _ in 0..60 {
            let given = self.record(4000);
            let how = self.how();
            if self.append_all(log, vec![given], how)? == Flow::Down {
                return Ok(Flow::Down);
            }
            if self.refused {
                break;
            }
        }
        self.look(log)?;
        if self.refused {
            self.story.count("disk full");
            if self.rng.percent(50) {
                let crash = self.machine.crashed(self.rng.next(), Stop::PowerCut, Keep::Random);
                self.story.say("  fork: power cut on a full disk".into());
                check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
            }
            if self.rng.percent(50) && self.trim(log)? == Flow::Down {
                return Ok(Flow::Down);
            }
        }
        disk.set_capacity(None);
        self.full = false;
        self.story.say("the disk has room again".into());
        let given = self.record(100);
        self.append_all(log, vec![given], How { sync: Some(true), no_wait: false })
    }

    /// More than the ring holds, without waiting for durability.
    fn overload(&mut self, log: &Log) -> Verdict<Flow> {
        for _ in 0..self.rng.within(5, 40) {
            let given = self.record(1000);
            if self.append_all(log, vec![given], How { sync: Some(false), no_wait: false })? == Flow::Down {
                return Ok(Flow::Down);
            }
            if self.poisoned {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Refused, with the right code, without taking a number.
    fn misuse(&mut self, log: &Log) -> Verdict<Flow> {
        let len = self.record_size_max() as usize + 1;
        let data = vec![0; len];
        let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
        let code = |result: Result<u64, Error>| result.err().map(|error| error.code);
        let big = code(log.append(&entry, How::default()));
        require!(big == Some(Code::TooBig), "a record of {len} bytes: {big:?}");
        let nothing = Entry { data: &[], ..entry };
        let reserved = log.reserve(&nothing, len, How::default()).err().map(|error| error.code);
        require!(reserved == Some(Code::TooBig), "room for a record of {len} bytes: {reserved:?}");
        let gathered = code(log.append_gather(&nothing, &[&data[..1], &data[1..]].map(IoSlice::new), How::default()));
        require!(gathered == Some(Code::TooBig), "{len} bytes in parts: {gathered:?}");
        let none = code(log.append_batch(std::iter::empty(), How::default()));
        require!(none == Some(Code::Inval), "an empty batch: {none:?}");
        let beyond = code(log.sync(log.last_seq() + 1).map(|()| 0));
        require!(beyond == Some(Code::Inval), "sync beyond the last: {beyond:?}");
        if !self.machine.disk.is_down() {
            let second = code(self.machine.open().map(|_| 0));
            require!(second == Some(Code::Locked), "a second writer: {second:?}");
        }
        Ok(Flow::On)
    }
}

fn entry_of<'a>(given: &Given, data: &'a [u8]) -> Entry<'a> {
    let &Given { stream, timestamp, kind, required, .. } = given;
    Entry { data, stream, timestamp, kind, required }
}

/// Appends `data` in three parts.
fn append_cut(log: &Log, entry: Entry<'_>, data: &[u8], cuts: [usize; 2], how: How) -> Result<u64, Error> {
    let [from, to] = [cuts[0].min(cuts[1]), cuts[0].max(cuts[1])];
    log.append_gather(&entry, &[&data[..from], &data[from..to], &data[to..]].map(IoSlice::new), how)
}

/// Many short lives of small frames of few sizes, written and seldom flushed:
/// tails are cut again and again, and what was cut lies exactly where the next
/// life's frames end.  None of it may come back.
pub fn cut_tails(seed: u64, story: &mut Story) -> Verdict {
    let mut run = Run::new(seed, PLAN, story);
    run.machine.options = Options {
        block_size: 512,
        segment_size: 64 << 10,
        durability: Some(Durability::Async),
        flush_interval_ms: 1_000_000,
        idle_mark_us: 1_000_000,
        ..Options::default()
    };
    run.machine.disk.set_align(512, 512);
    run.machine.disk.set_tear_unit(512);
    for _ in 0..12 {
        let log = run.machine.reopen()?;
        run.check_opened(&log)?;
        if log.report().tail == twal::Tail::Torn {
            run.story.count("opened torn");
        }
        for _ in 0..run.rng.within(1, 6) {
            let len = run.rng.pick(&[100, 100, 700]);
            let given = run.record(len);
            let given = Given { len: len as usize, ..given };
            run.append_all(&log, vec![given], How { sync: Some(false), no_wait: false })?;
            run.machine.pass_us(1000);
            log.tick();
            if run.rng.percent(5) {
                run.sync(&log)?;
            }
        }
        if run.rng.percent(30) {
            // In the middle of a frame, with others before it unflushed.
            run.machine.disk.stop_at(run.machine.disk.steps(), Stop::PowerCut);
            let given = run.record(700);
            run.append_all(&log, vec![given], How { sync: Some(false), no_wait: false })?;
            run.machine.pass_us(1000);
            log.tick();
            run.machine.disk.restart();
        } else {
            run.machine.disk.power_cut();
        }
        run.story.count("power cuts");
    }
    let log = run.machine.reopen()?;
    run.check_opened(&log)
}
