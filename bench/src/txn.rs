//! Slices about transactions: `sagas` and `commits2pc`, with `--bare` the same records without a manager; `txn_fill` and
//! `txn_replay`, a long history and its recovery; `compaction`, beside appends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use twal::base::options::{Durability, Options};
use twal::txn::{
    Compaction, CompactionOptions, Event, Manager, ManagerOptions, SagaEvent, SagaSpec, Step, TransactionEvent,
};
use twal::{Entry, How, Log};

use crate::hist::Histogram;
use crate::json::Json;
use crate::logs::{log_bytes, map};
use crate::report::Figures;
use crate::scene::{Failure, Scene, NO_SYNC, SYNC};
use crate::slice::{append, measure, put_times, reset_peak_memory, status_kib, Spec};
use crate::sync::{appends, done, with_threads, Until};
use crate::sys;

/// Steps of a saga, one after the other, and participants of a two-phase commit.
const PARTS: u8 = 3;
/// One operation of so many of a history is not finished: of each kind the first, so that no checkpoint releases anything.
const UNFINISHED_EVERY: u64 = 1000;

/// What is carried out again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Of three steps, told in one call with its start.
    Saga,
    /// A two-phase commit of three participants, told in one call.
    Commit,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Every call, as in a log in mode SYNC.
    Calls,
    /// Decisions; the other events go along with the next of them.
    Decisions,
}

impl Waits {
    /// As the command line and the results name it.
    pub fn name(self) -> &'static str {
        match self {
            Waits::Calls => "every call",
            Waits::Decisions => "decisions",
        }
    }

    fn of(spec: &Spec) -> Result<Waits, Failure> {
        let known = [Waits::Calls, Waits::Decisions].into_iter().find(|waits| waits.name() == spec.how);
        Ok(known.ok_or("--how is \"every call\" or \"decisions\"")?)
    }

    /// The override of what is no decision.
    fn sync(self) -> Option<bool> {
        (self == Waits::Decisions).then_some(false)
    }
}

fn step(index: u8) -> Step {
    let depends_on = (index > 1).then(|| u32::from(index - 1)).into_iter().collect();
    Step { index: index.into(), action: index, depends_on, payload: Vec::new() }
}

impl Operation {
    /// Its events, call by call.
    fn calls(self, id: u64) -> Vec<Vec<Event>> {
        let parts = 1..=PARTS;
        match self {
            Operation::Saga => {
                let saga = |event| Event::Saga(id, event);
                let steps = parts.clone().map(|index| saga(SagaEvent::StepAdded(step(index))));
                let created = saga(SagaEvent::Created { coordinator: [1; 32] });
                let begun = [created].into_iter().chain(steps).chain([saga(SagaEvent::ExecuteStart)]).collect();
                let done = parts.map(|index| vec![saga(SagaEvent::StepSucceeded { step: index.into() })]);
                [begun].into_iter().chain(done).chain([vec![saga(SagaEvent::Completed)]]).collect()
            }
            Operation::Commit => {
                let commit = |event| Event::Transaction(id, event);
                let added = |n| commit(TransactionEvent::ParticipantAdded { shard: [n; 32], node: [n; 32] });
                let created = commit(TransactionEvent::Created { coordinator: [1; 32] });
                let begun = [created].into_iter().chain(parts.clone().map(added)).collect();
                let vote = |n| vec![commit(TransactionEvent::VoteReceived { shard: [n; 32], commit: true })];
                let decided = [TransactionEvent::CommitStart, TransactionEvent::CommitComplete];
                [begun, vec![commit(TransactionEvent::PrepareStart)]]
                    .into_iter()
                    .chain(parts.map(vote))
                    .chain(decided.map(|event| vec![commit(event)]))
                    .collect()
            }
        }
    }

    /// Bytes of the payloads of its records.
    pub fn bytes(self) -> usize {
        payloads(&self.calls(1)).iter().flat_map(|call| &call.records).map(|(_, payload)| payload.len()).sum()
    }

    /// Carries it out as a program does.
    fn carry_out(self, manager: &Manager, sync: Option<bool>) -> twal::base::Result<u64> {
        match self {
            Operation::Saga => {
                let steps = (1..=PARTS).map(step).collect();
                let spec = SagaSpec { id: None, coordinator: [1; 32], steps, start: true };
                let saga = manager.saga_create(&spec)?.id;
                for index in 1..=PARTS {
                    manager.saga_step_succeeded(saga, index.into(), sync)?;
                }
                manager.saga_completed(saga, sync)
            }
            Operation::Commit => {
                let participants: Vec<_> = (1..=PARTS).map(|n| ([n; 32], [n; 32])).collect();
                let commit = manager.transaction_create(None, [1; 32], &participants)?.id;
                manager.transaction_prepare(commit)?;
                for (shard, _) in &participants {
                    manager.transaction_vote(commit, *shard, true, sync)?;
                }
                manager.transaction_commit_start(commit)?;
                manager.transaction_commit_complete(commit, sync)
            }
        }
    }
}

/// The records of a call.
struct Call {
    /// Type and payload.
    records: Vec<(u16, Vec<u8>)>,
    /// One of them is a decision.
    decides: bool,
}

impl Call {
    /// As one batch; `kind` is that of all, None: their own.
    fn append(&self, log: &Log, kind: Option<u16>, how: How) -> twal::base::Result<u64> {
        let entries = self.records.iter().map(|(own, data)| Entry {
            data,
            stream: 0,
            timestamp: None,
            kind: kind.unwrap_or(*own),
            required: kind.is_none(),
        });
        log.append_batch(entries, how)
    }
}

fn payloads(calls: &[Vec<Event>]) -> Vec<Call> {
    let encode = |event: &Event| {
        let mut payload = Vec::new();
        (event.encode(&mut payload), payload)
    };
    let call = |events: &Vec<Event>| Call {
        records: events.iter().map(encode).collect(),
        decides: events.iter().any(Event::must_be_durable),
    };
    calls.iter().map(call).collect()
}

/// Each thread is a coordinator that carries out one operation after the other.  A record, in the figures, is an operation.
pub fn run(spec: &Spec, operation: Operation) -> Result<Json, Failure> {
    let waits = Waits::of(spec)?;
    let until = Until { time: spec.time, records: u64::MAX, stop: &AtomicBool::new(false), keep_each: false };
    let options = spec.options(6);
    if spec.bare {
        let scene = Scene::in_use(&spec.dir, "appends", &options)?;
        let log = &scene.log;
        let of_thread = |_| {
            let calls = payloads(&operation.calls(1));
            move || {
                let how = |call: &Call| if waits == Waits::Calls || call.decides { SYNC } else { NO_SYNC };
                calls.iter().try_fold(0, |_, call| call.append(log, Some(0x0100), how(call)))
            }
        };
        return with_threads(spec, &until, of_thread, |run| {
            measure(spec, &scene, |start| Ok(done(start, &run()?, Vec::new())))
        });
    }
    let scene = Scene::in_use(&spec.dir, "transactions", &options)?;
    let (manager, _) = Manager::recover(&scene.log, &ManagerOptions::default())?;
    let coordinator = &manager;
    let of_thread = |_| move || operation.carry_out(coordinator, waits.sync());
    with_threads(spec, &until, of_thread, |run| {
        // So that what lies in front is given back before the clock starts.
        manager.checkpoint()?;
        measure(spec, &scene, |start| Ok(done(start, &run()?, Vec::new())))
    })
}

/// Appends the events of finished operations, and a few that are not, of both kinds in turn: about `count`.  Gives how
/// many events, and operations that are not finished.
fn history(log: &Log, count: u64) -> Result<(u64, u64), Failure> {
    let (mut events, mut unfinished) = (0, 0);
    for id in 1.. {
        for operation in [Operation::Saga, Operation::Commit] {
            let mut calls = payloads(&operation.calls(id));
            if id % UNFINISHED_EVERY == 1 {
                calls.pop();
                unfinished += 1;
            }
            for call in &calls {
                call.append(log, None, NO_SYNC)?;
                events += call.records.len() as u64;
            }
        }
        if events >= count {
            break;
        }
    }
    log.sync(0)?;
    Ok((events, unfinished))
}

/// A closed log in `--dir` itself, with one checkpoint at its beginning and about `--count` events behind it.
pub fn fill(spec: &Spec) -> Result<Json, Failure> {
    let options = Options { durability: Some(Durability::Async), ..spec.options(2) };
    let log = Log::open(&spec.dir, &options)?;
    drop(Manager::recover(&log, &ManagerOptions::default())?);
    let (events, unfinished) = history(&log, spec.count.ok_or("txn_fill needs --count")?)?;
    log.close()?;
    Ok(map([("events", events.into()), ("unfinished", unfinished.into())]))
}

/// Opens the log of `txn_fill` and replays its `--count` events: `--how` is recover, or read for every record and no more.
pub fn replay(spec: &Spec) -> Result<Json, Failure> {
    let count = spec.count.ok_or("txn_replay needs --count")?;
    reset_peak_memory();
    let start = Instant::now();
    let log = Log::open(&spec.dir, &spec.options(2))?;
    let (open_us, cpu, start) = (start.elapsed().as_secs_f64() * 1e6, sys::cpu_time(), Instant::now());
    // Behind the checkpoint at the beginning.
    let (replayed, unfinished) = match spec.how.as_str() {
        "recover" => {
            let (_, found) = Manager::recover(&log, &ManagerOptions::default())?;
            (found.records_replayed - found.checkpoints, found.unfinished.len() as u64)
        }
        "read" => {
            let (mut records, mut iter) = (0, log.iter(0)?);
            while iter.next_record()?.is_some() {
                records += 1;
            }
            (records - 1, 0)
        }
        how => return Err(format!("--how is recover or read, not {how}").into()),
    };
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), sys::cpu_time() - cpu);
    if replayed != count {
        return Err(format!("{replayed} of {count} events came back").into());
    }
    let (peak, found) = (status_kib("VmHWM:"), log.report());
    log.close()?;
    let log_bytes = log_bytes(spec, &found)?;
    Ok(map([
        ("records", count.into()),
        ("unfinished", unfinished.into()),
        ("seconds", seconds.into()),
        ("open_us", open_us.into()),
        ("per_second", (count as f64 / seconds).into()),
        ("log_bytes_per_second", (log_bytes as f64 / seconds).into()),
        ("log_bytes", log_bytes.into()),
        ("cpu_us_per_record", (cpu.as_secs_f64() * 1e6 / count as f64).into()),
        ("peak_rss_kib", peak.into()),
    ]))
}

/// Runs `beside` while all threads append records that they wait for; gives what it gave, their times, how long it took.
fn beside_appends<R: Send>(
    spec: &Spec,
    log: &Log,
    beside: impl FnOnce() -> Result<R, Failure> + Send,
) -> Result<(R, Histogram, Duration), Failure> {
    let stop = AtomicBool::new(false);
    let until = Until { time: Duration::MAX, records: u64::MAX, stop: &stop, keep_each: false };
    with_threads(spec, &until, appends(spec, log), |run| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let stop = &stop;
            let beside = scope.spawn(move || {
                let done = beside();
                stop.store(true, Ordering::Relaxed);
                (done, start.elapsed())
            });
            let shares = run()?;
            let (done, took) = beside.join().expect("what runs beside does not panic");
            let mut times = Histogram::new();
            shares.iter().for_each(|share| times.merge(&share.times));
            Ok((done?, times, took))
        })
    })
}

/// A history of about `--count` events, of which all but a few are of finished operations, is compacted while `--threads`
/// append records that they wait for.  Before that they append for a while alone.
pub fn compaction(spec: &Spec) -> Result<Json, Failure> {
    let scene = Scene::fresh(&spec.dir, "compaction", &spec.options(4))?;
    let log = &scene.log;
    let (events, unfinished) = history(log, spec.count.ok_or("compaction needs --count")?)?;
    let options = ManagerOptions { keep_records: true, checkpoint_interval: u64::MAX, ..ManagerOptions::default() };
    let (manager, found) = Manager::recover(log, &options)?;
    if found.unfinished.len() as u64 != unfinished {
        return Err(format!("{} of {unfinished} unfinished operations came back", found.unfinished.len()).into());
    }
    log.roll()?;
    append(log, &[7; 128], 0, SYNC)?;
    let settled = scene.settle()?;
    let alone = || -> Result<(), Failure> {
        std::thread::sleep(spec.time);
        Ok(())
    };
    let ((), without, alone_for) = beside_appends(spec, log, alone)?;
    let compact = || -> Result<Compaction, Failure> { Ok(manager.compact(&CompactionOptions::default())?) };
    let (done, with, took) = beside_appends(spec, log, compact)?;
    if done.events_purged + done.events_kept < events || done.events_kept == 0 {
        return Err(format!("of {events} events: {done:?}").into());
    }
    let mut figures = Figures::new();
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("records", with.count() as f64);
    put("seconds", took.as_secs_f64());
    put("per_second", with.count() as f64 / took.as_secs_f64());
    put_times(&mut put, "", &with);
    put("without_per_second", without.count() as f64 / alone_for.as_secs_f64());
    put_times(&mut put, "without_", &without);
    put("compacted_bytes", done.bytes_before as f64);
    put("compacted_bytes_per_second", done.bytes_before as f64 / took.as_secs_f64());
    put("saved_share", done.bytes_saved as f64 / done.bytes_before as f64);
    put("events_purged", done.events_purged as f64);
    put("events_kept", done.events_kept as f64);
    put("unsettled", f64::from(u8::from(!settled)));
    Ok(Json::Map(figures.into_iter().map(|(name, value)| (name, Json::Number(value))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twal::txn::{Rules, Table};

    /// What the bare appends append is what the manager writes, with as many waits.
    #[test]
    fn bare_appends_are_the_records_of_the_operation() {
        for (operation, records, calls, decisions) in [(Operation::Saga, 9, 5, 1), (Operation::Commit, 10, 7, 3)] {
            let dir = std::env::temp_dir().join(format!("twal-bench-txn-{}-{operation:?}", std::process::id()));
            let log = Log::open(&dir, &Options { allow_any_fs: true, ..Options::default() }).unwrap();
            let (manager, _) = Manager::recover(&log, &ManagerOptions::default()).unwrap();
            operation.carry_out(&manager, Some(false)).unwrap();
            log.sync(0).unwrap();
            let mut iter = log.iter(2).unwrap(); // behind the first checkpoint
            let mut written = Vec::new();
            while let Some(record) = iter.next_record().unwrap() {
                written.push((record.kind, record.data.to_vec()));
            }
            drop((iter, manager));
            log.close().unwrap();
            std::fs::remove_dir_all(&dir).unwrap();
            let bare = payloads(&operation.calls(1));
            let all: Vec<_> = bare.iter().flat_map(|call| call.records.clone()).collect();
            assert_eq!(written, all);
            assert_eq!((all.len(), bare.len()), (records, calls));
            assert_eq!(bare.iter().filter(|call| call.decides).count(), decisions);
            let mut table = Table::new();
            for (seq, event) in (1..).zip(operation.calls(1).concat()) {
                table.apply(seq, &event, Rules::Strict).unwrap();
            }
            assert_eq!((table.sagas().len(), table.transactions().len()), (0, 0), "it is finished");
        }
    }
}
