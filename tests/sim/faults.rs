//! The k-th call of a kind fails, for every k: no panic, no hang, the right
//! class of error; and what was acknowledged is there after a power cut.

use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Code, Durability, Entry, Error, How, Log, Options};

use super::model::{payload, require, Given, Model, Seen, Verdict};
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

struct Script<'story> {
    machine: Machine,
    model: Model,
    story: &'story mut Story,
    next_uid: u64,
    poisoned: bool,
}

impl Script<'_> {
    fn append(&mut self, log: &Log, count: usize, len: usize, sync: bool) -> Verdict {
        let batch: Vec<Given> = (1..=count)
            .map(|at| {
                self.next_uid += 1;
                Given {
                    uid: self.next_uid,
                    len,
                    kind: 0x0200,
                    stream: 9,
                    timestamp: Some(5),
                    required: false,
                    batch_continues: at < count,
                }
            })
            .collect();
        let payloads: Vec<_> = batch.iter().map(|given| payload(given.uid, given.len)).collect();
        let entries: Vec<_> = payloads
            .iter()
            .map(|data| Entry { data, stream: 9, timestamp: Some(5), kind: 0x0200, required: false })
            .collect();
        let how = How { sync: Some(sync), no_wait: false };
        let (before, last) = (self.model.last_seq(), log.last_seq());
        let result = match entries.as_slice() {
            // The large ones are written in place.
            [entry] if len >= 3000 && sync => {
                let room = Entry { data: &[], ..*entry };
                log.reserve(&room, len + 700, how).and_then(|mut reservation| {
                    reservation.data()[..len].copy_from_slice(entry.data);
                    reservation.commit(len)
                })
            }
            _ => log.append_batch(entries.into_iter(), how),
        };
        match result {
            Ok(first_seq) => {
                require!(!self.poisoned, "a poisoned log accepts {first_seq}");
                require!(first_seq == before + 1, "an append got {first_seq} after {before}");
                self.model.given.extend(batch);
                if sync {
                    self.model.ack(self.model.last_seq());
                }
            }
            Err(error) if matches!(error.code, Code::Io | Code::Poisoned) => {
                require!(!self.poisoned || error.code == Code::Poisoned, "a poisoned log answers {error}");
                require!(log.stats().poisoned, "{error}, and the log is not poisoned");
                if !self.poisoned && self.model.maybe.is_empty() {
                    self.model.maybe = batch;
                }
                self.poisoned = true;
            }
            Err(error) => {
                require!(error.code == Code::NoSpc, "append fails: {:?} {error}", error.code);
                require!(log.last_seq() == last, "a refused append took a number");
                self.story.count("appends refused");
            }
        }
        Ok(())
    }

    fn fails(&mut self, log: &Log, what: &str, result: Result<(), Error>) -> Verdict<bool> {
        match result {
            Ok(()) => Ok(false),
            Err(error) => {
                let known = matches!(error.code, Code::Io | Code::Poisoned | Code::NoSpc);
                require!(known, "{what} fails: {:?} {error}", error.code);
                if log.stats().poisoned {
                    self.poisoned = true;
                }
                Ok(true)
            }
        }
    }

    /// Two lives with rolls, a trim, a recycled file, a group commit.
    fn play(&mut self) -> Verdict {
        for life in 0..2 {
            let log = match self.machine.open() {
                Ok(log) => log,
                Err(error) => {
                    let known = matches!(error.code, Code::Io | Code::NoSpc | Code::NotFound);
                    require!(known, "open fails: {:?} {error}", error.code);
                    self.story.count("opens refused");
                    continue;
                }
            };
            self.poisoned = log.stats().poisoned;
            let seen = Seen::of(&log);
            if let Some(error) = &seen.error {
                require!(error.code == Code::Io, "reading fails: {:?} {error}", error.code);
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
            for round in 0..12u64 {
                self.append(&log, 1 + (round % 3) as usize, 900, true)?;
                self.append(&log, 1, 3000, round % 2 == 0)?;
                self.append(&log, 2, 10, false)?;
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
            }
            let durable = log.durable_seq();
            require!(durable >= self.model.acked, "durable is {durable}, acked was {}", self.model.acked);
            self.model.ack(durable.min(self.model.last_seq()));
            self.reads_go_on(&log)?;
            if life == 0 {
                let closed = log.close();
                let last = self.model.last_seq();
                if !self.fails(&log, "close", closed)? {
                    require!(!self.poisoned, "a poisoned log closes as if nothing were");
                    self.model.ack(last);
                }
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
            Some(error) => require!(error.code == Code::Io, "reading fails: {:?} {error}", error.code),
        }
        Ok(())
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

/// One seed is one kind of call and one error, over every k.
pub fn every_call_fails(seed: u64, story: &mut Story) -> Verdict {
    let kind = KINDS[seed as usize % KINDS.len()];
    let errno = [libc::EIO, libc::ENOSPC][seed as usize / KINDS.len() % 2];
    if errno == libc::ENOSPC && !kind.changes() {
        return Ok(());
    }
    let mut rng = Rng::new(seed);
    for k in 0.. {
        let machine = machine(rng.next());
        machine.disk.fail_kind(kind, k, errno);
        story.say(format!("{kind:?} {k} fails with {errno}"));
        let mut script =
            Script { machine: machine.clone(), model: Model::default(), story, next_uid: 0, poisoned: false };
        script.play().map_err(|text| format!("{text}\n{}", machine.disk.trace()))?;
        let model = script.model.clone();
        let untouched = machine.disk.counts().of(kind) <= k;
        for (stop, keep) in
            [(Stop::PowerCut, Keep::Nothing), (Stop::PowerCut, Keep::Random), (Stop::Kill, Keep::Everything)]
        {
            let crashed = machine.crashed(rng.next(), stop, keep);
            let seen = Seen::of(&crashed.reopen()?);
            model
                .check(&seen, model.acked)
                .map_err(|text| format!("after {stop:?} {keep:?}: {text}\n{}", machine.disk.trace()))?;
            let cut = crashed.crashed(rng.next(), Stop::PowerCut, Keep::Nothing);
            seen.check_same(&Seen::of(&cut.reopen()?), "open, power cut, open")?;
        }
        story.count("failed calls");
        if untouched {
            break;
        }
    }
    Ok(())
}

/// The same script, stopped at step after step; each seed takes its share of the steps.
pub fn every_step_stops(seed: u64, story: &mut Story) -> Verdict {
    let stop = [Stop::PowerCut, Stop::Kill][seed as usize % 2];
    let mut rng = Rng::new(seed);
    for step in 0.. {
        let machine = machine(rng.next());
        machine.disk.set_tear_unit(rng.pick(&[512, 4096]));
        machine.disk.stop_at(step, stop);
        story.say(format!("{stop:?} at step {step}"));
        let mut script =
            Script { machine: machine.clone(), model: Model::default(), story, next_uid: 0, poisoned: false };
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
