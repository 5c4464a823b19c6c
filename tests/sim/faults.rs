//! The k-th call of a kind fails, for every k: no panic, no hang, no handle that
//! stays open, every waiter answered, the right class of error; and what was
//! acknowledged is there after a power cut.

use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Code, Durability, Entry, Error, How, Log, Options};

use super::between::beside_a_leaders_write;
use super::model::{payload, require, Given, Model, Seen, Verdict};
use super::notices::Notices;
use super::rng::Rng;
use super::world::{Machine, Story};

const KINDS: [CallKind; 14] = [
    CallKind::OpenDir,
    CallKind::MakeDir,
    CallKind::List,
    CallKind::Create,
    CallKind::Open,
    CallKind::Rename,
    CallKind::Remove,
    CallKind::DirSync,
    CallKind::Read,
    CallKind::Write,
    CallKind::Sync,
    CallKind::Allocate,
    CallKind::Stat,
    CallKind::Lock,
];

/// How a call may fail; the last one is a write of which only a beginning lands.
const FAILURES: [Failure; 6] = [
    Failure { errno: libc::EIO, short: false },
    Failure { errno: libc::ENOSPC, short: false },
    Failure { errno: libc::ENOMEM, short: false },
    Failure { errno: libc::EINTR, short: false },
    Failure { errno: libc::EAGAIN, short: false },
    Failure { errno: libc::EIO, short: true },
];

/// Far more calls of the disk than a script makes.
const CALLS_MAX: u64 = 50_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    errno: i32,
    short: bool,
}

impl Failure {
    fn may_strike(self, kind: CallKind) -> bool {
        (!self.short || kind == CallKind::Write) && (self.errno != libc::ENOSPC || kind.changes())
    }

    /// What a caller is told of it where nothing was written.
    fn class(self, kind: CallKind) -> Code {
        match self.errno {
            // Which names are durable is not known any more, whatever the system calls it.
            _ if kind == CallKind::DirSync => Code::Io,
            libc::ENOSPC => Code::NoSpc,
            libc::ENOMEM => Code::NoMem,
            _ => Code::Io,
        }
    }
}

/// In which order two frames in flight are completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    FirstFirst,
    SecondFirst,
}

struct Script<'story> {
    machine: Machine,
    model: Model,
    story: &'story mut Story,
    /// What is planned; None: the life is stopped instead.
    failure: Option<(CallKind, Failure)>,
    order: Order,
    notices: Notices,
    next_uid: u64,
    poisoned: bool,
}

fn entry<'a>(given: &Given, data: &'a [u8]) -> Entry<'a> {
    let &Given { stream, timestamp, kind, required, .. } = given;
    Entry { data, stream, timestamp, kind, required }
}

impl<'story> Script<'story> {
    fn new(machine: Machine, failure: Option<(CallKind, Failure)>, order: Order, story: &'story mut Story) -> Self {
        machine.disk.limit_calls(CALLS_MAX);
        let (model, notices) = (Model::default(), Notices::default());
        Script { machine, model, story, failure, order, notices, next_uid: 0, poisoned: false }
    }

    fn record(&mut self, len: usize, batch_continues: bool) -> Given {
        self.next_uid += 1;
        let uid = self.next_uid;
        Given { uid, len, kind: 0x0200, stream: uid % 3, timestamp: Some(5), required: false, batch_continues }
    }

    /// The error is one that the failure may be told as, and names it.
    fn check_error(&self, what: &str, error: &Error) -> Verdict {
        let Some((kind, failure)) = self.failure else {
            require!(matches!(error.code, Code::Io | Code::Poisoned), "{what}, stopped: {:?} {error}", error.code);
            return Ok(());
        };
        let known = matches!(error.code, Code::Io | Code::Poisoned) || error.code == failure.class(kind);
        require!(known, "{what} fails: {:?} {error}", error.code);
        require!(error.os_errno == failure.errno, "{what} names errno {}: {error}", error.os_errno);
        Ok(())
    }

    /// One append, and when it is refused for a reason that is gone, the next: that succeeds.
    fn append(&mut self, log: &Log, count: usize, len: usize, sync: bool) -> Verdict {
        let batch: Vec<Given> = (1..=count).map(|at| self.record(len, at < count)).collect();
        let refused = self.try_append(log, &batch, sync)?;
        require!(!refused || !self.try_append(log, &batch, sync)?, "refused again, and nothing fails any more");
        Ok(())
    }

    /// True: refused, nothing was written, no number is used.
    fn try_append(&mut self, log: &Log, batch: &[Given], sync: bool) -> Verdict<bool> {
        let payloads: Vec<_> = batch.iter().map(|given| payload(given.uid, given.len)).collect();
        let how = How { sync: Some(sync), no_wait: false };
        let (before, last) = (self.model.last_seq(), log.last_seq());
        let mut beside = Vec::new();
        let result = match batch {
            // The large ones are written in place, or another frame overtakes them.
            [given] if given.len >= 3000 && sync => {
                let (len, entry) = (given.len, entry(given, &[]));
                let append = |log: &Log| {
                    log.reserve(&entry, len + 700, how).and_then(|mut reservation| {
                        reservation.data()[..len].copy_from_slice(&payloads[0]);
                        reservation.commit(len)
                    })
                };
                if self.order == Order::FirstFirst {
                    append(log)
                } else {
                    let second = vec![self.record(600, false), self.record(20, false)];
                    let (result, inside) = beside_a_leaders_write(&self.machine, log, second, || append(log));
                    if inside.overtook {
                        self.story.count("frames that overtook another");
                    }
                    // It does not wait for the spare that the keeper makes behind a roll.
                    if let Some(error) = inside.refused.as_ref().filter(|error| error.code != Code::Again) {
                        self.check_error("an append beside another", error)?;
                    }
                    beside = inside.accepted;
                    result
                }
            }
            _ => log.append_batch(batch.iter().zip(&payloads).map(|(given, data)| entry(given, data)), how),
        };
        match result {
            Ok(first_seq) => {
                require!(!self.poisoned, "a poisoned log accepts {first_seq}");
                require!(first_seq == before + 1, "an append got {first_seq} after {before}");
                self.model.given.extend_from_slice(batch);
                if sync {
                    self.model.ack(self.model.last_seq());
                }
                self.model.given.extend(beside);
                // What came beside it may have failed.
                self.poisoned = log.stats().poisoned;
                Ok(false)
            }
            Err(error) if matches!(error.code, Code::Io | Code::Poisoned) => {
                self.check_error("append", &error)?;
                require!(!self.poisoned || error.code == Code::Poisoned, "a poisoned log answers {error}");
                require!(log.stats().poisoned, "{error}, and the log is not poisoned");
                if !self.poisoned && self.model.maybe.is_empty() {
                    self.model.maybe = [batch, &beside].concat();
                }
                self.poisoned = true;
                Ok(false)
            }
            Err(error) => {
                self.check_error("append", &error)?;
                require!(log.last_seq() == last, "a refused append took a number");
                require!(!log.stats().poisoned, "{error}, and the log is poisoned");
                self.story.count("appends refused");
                Ok(true)
            }
        }
    }

    fn fails(&mut self, log: &Log, what: &str, result: Result<(), Error>) -> Verdict<bool> {
        let Err(error) = result else { return Ok(false) };
        self.check_error(what, &error)?;
        if log.stats().poisoned {
            self.poisoned = true;
        }
        Ok(true)
    }

    /// Three lives with rolls, trims, recycled files, group commits, readers; the second ends in a power cut.
    fn play(&mut self) -> Verdict {
        for life in 0..3 {
            match self.machine.open() {
                Ok(log) => self.live(life, log)?,
                Err(error) => {
                    self.check_error("open", &error)?;
                    self.story.count("opens refused");
                }
            }
            self.notices.check_all_told(true)?;
            let handles = self.machine.disk.open_handles();
            require!(handles == 0, "life {life} is over, and {handles} handles are open");
            if life == 1 && !self.machine.disk.is_down() {
                self.machine.disk.power_cut();
            }
        }
        Ok(())
    }

    fn live(&mut self, life: u64, log: Log) -> Verdict {
        self.poisoned = log.stats().poisoned;
        let seen = Seen::of(&log);
        if let Some(error) = &seen.error {
            self.check_error("reading", error)?;
            self.model.check_records(seen.first_seq, &seen.records)?;
            // What it reports counts, read or not.
            let last = log.report().last_seq;
            require!(last >= self.model.acked, "ends at {last}, acked {}", self.model.acked);
            let given = std::mem::take(&mut self.model.given);
            self.model.given = given.into_iter().chain(self.model.maybe.drain(..)).take(last as usize).collect();
            self.model.ack(last);
        } else {
            self.model.check(&seen, self.model.acked)?;
            self.model.reported(&seen);
        }
        self.notices.begin(&log)?;
        for round in 0..12u64 {
            self.append(&log, 1 + (round % 3) as usize, 900, true)?;
            self.append(&log, 1, 3000, round % 2 == 0)?;
            self.append(&log, 2, 10, false)?;
            let last = self.model.last_seq();
            if let Err(error) = self.notices.register(&log, 0, last)? {
                self.fails(&log, "sync_async", Err(error))?;
            }
            if round % 5 == 4 {
                self.machine.pass_us(20_000);
                log.tick();
                let result = log.roll();
                let last = self.model.last_seq();
                if !self.fails(&log, "roll", result)? {
                    self.model.ack(last);
                }
            }
            if round % 4 == 3 {
                let below = self.model.last_seq().saturating_sub(3);
                self.model.released = self.model.released.max(below);
                let result = log.trim(below);
                self.fails(&log, "trim", result)?;
            }
            self.notices.look(&log, true)?;
            if log.stats().poisoned {
                log.tick();
                self.notices.check_none_waits(&log)?;
            }
        }
        let durable = log.durable_seq();
        require!(durable >= self.model.acked, "durable is {durable}, acked was {}", self.model.acked);
        self.model.ack(durable.min(self.model.last_seq()));
        self.reads_go_on(&log)?;
        self.another_reads(&log)?;
        if life == 0 {
            let closed = log.close();
            let last = self.model.last_seq();
            if !self.fails(&log, "close", closed)? {
                require!(!self.poisoned, "a poisoned log closes as if nothing were");
                self.model.ack(last);
            }
        }
        Ok(())
    }

    fn reads_go_on(&mut self, log: &Log) -> Verdict {
        let (records, error) = super::model::read_from(log, 0);
        self.model.check_records(log.first_seq(), &records)?;
        match error {
            None => require!(
                records.len() as u64 == log.durable_seq() + 1 - log.first_seq(),
                "{} records up to {}",
                records.len(),
                log.durable_seq()
            ),
            // The planned failure may be this very read.
            Some(error) => self.check_error("reading", &error)?,
        }
        Ok(())
    }

    /// As another process would, beside the writer.
    fn another_reads(&mut self, log: &Log) -> Verdict {
        match self.machine.open_to_read() {
            Ok(reader) => {
                let seen = Seen::of(&reader);
                self.model.check_records(seen.first_seq, &seen.records)?;
                let (last, durable) = (seen.last_seq(), log.durable_seq());
                require!(last <= durable, "a reader delivers {last}, durable is {durable}");
                seen.error.map_or(Ok(()), |error| self.check_error("another's reading", &error))
            }
            Err(error) => self.check_error("a reader's open", &error),
        }
    }
}

pub fn machine(seed: u64) -> Machine {
    Machine::new(
        seed,
        Options {
            block_size: 512,
            segment_size: 64 << 10,
            segment_records_max: 12,
            ring_size: 16 << 10,
            max_retained_segments: 1,
            durability: Some(Durability::Sync),
            ..Options::default()
        },
    )
}

/// Every kind of call with everything that may become of it, in both orders of completion.
fn cases() -> Vec<(CallKind, Failure, Order)> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for failure in FAILURES.into_iter().filter(|failure| failure.may_strike(kind)) {
            cases.push((kind, failure, Order::FirstFirst));
            cases.push((kind, failure, Order::SecondFirst));
        }
    }
    cases
}

/// How many seeds are all the cases.
pub fn case_count() -> u64 {
    cases().len() as u64
}

/// One seed is one case, over every k.
pub fn every_call_fails(seed: u64, story: &mut Story) -> Verdict {
    let cases = cases();
    let (kind, failure, order) = cases[seed as usize % cases.len()];
    let mut rng = Rng::new(seed);
    for k in 0.. {
        let machine = machine(rng.next());
        machine.disk.set_tear_unit(rng.pick(&[512, 4096]));
        if failure.short {
            machine.disk.shorten_write(k, failure.errno);
        } else {
            machine.disk.fail_kind(kind, k, failure.errno);
        }
        story.say(format!("{kind:?} {k}: {failure:?}, {order:?}"));
        let mut script = Script::new(machine.clone(), Some((kind, failure)), order, story);
        script.play().map_err(|text| format!("{text}\n{}", machine.disk.trace()))?;
        let model = script.model.clone();
        let untouched = machine.disk.counts().of(kind) <= k;
        for (stop, keep) in
            [(Stop::PowerCut, Keep::Nothing), (Stop::PowerCut, Keep::Random), (Stop::Kill, Keep::Everything)]
        {
            story.count("crash states");
            let crashed = machine.crashed(rng.next(), stop, keep);
            let seen = Seen::of(&crashed.reopen()?);
            model
                .check(&seen, model.acked)
                .map_err(|text| format!("after {stop:?} {keep:?}: {text}\n{}", machine.disk.trace()))?;
            let cut = crashed.crashed(rng.next(), Stop::PowerCut, Keep::Nothing);
            seen.check_same(&Seen::of(&cut.reopen()?), "open, power cut, open")?;
        }
        if untouched {
            break;
        }
        story.count("failed calls");
    }
    Ok(())
}

/// The same script, stopped at step after step.
pub fn every_step_stops(seed: u64, story: &mut Story) -> Verdict {
    let stop = [Stop::PowerCut, Stop::Kill][seed as usize % 2];
    let order = [Order::FirstFirst, Order::SecondFirst][seed as usize / 2 % 2];
    let mut rng = Rng::new(seed);
    for step in 0.. {
        let machine = machine(rng.next());
        machine.disk.set_tear_unit(rng.pick(&[512, 4096]));
        machine.disk.stop_at(step, stop);
        story.say(format!("{stop:?} at step {step}"));
        let mut script = Script::new(machine.clone(), None, order, story);
        script.play().map_err(|text| format!("{text}\n{}", machine.disk.trace()))?;
        let mut model = script.model.clone();
        // Nobody may have been told of a log that the stop cut short in its making.
        model.born = false;
        if !machine.disk.restart() {
            return Ok(());
        }
        for fork in 0..2 {
            let next = if fork == 0 { Stop::Kill } else { Stop::PowerCut };
            let crashed = machine.crashed(rng.next(), next, Keep::Random);
            super::world::check_crashed(&crashed, &model, &mut rng, story)
                .map_err(|text| format!("{text}\n{}", machine.disk.trace()))?;
        }
    }
    Ok(())
}
