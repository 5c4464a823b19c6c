//! Goal: whatever a crash leaves, the table is what the acknowledged events make, and behind them a prefix of those that
//! were not acknowledged; ids are not used again; what is released was not needed.
//! Method: random calls from a seed, legal and not, with checkpoints, compactions, rolls, trims and records of the program's own between
//! them; power cuts and kills in the middle of calls and between them.  The model knows what was handed in under which number.

use std::collections::BTreeSet;

use twal::disk::sim::Stop;
use twal::txn::{plan, CompactionOptions, Event, Family, Manager, Rules, Table};
use twal::{Code, Durability, Entry, Error, How, Log};

use super::machine::Machine;
use super::{saga, transaction};

#[path = "../sim/rng.rs"]
mod rng;
use rng::Rng;

const SEEDS: u64 = 1000;
const SAGA: [&str; 12] = ["N", "+1", "+2", "+3:1", "E", "s1", "s2", "f2", "C", "u1", "D", "U"];
const SAGA_BATCHES: [&str; 6] = ["N +1 +2 +3:1,2 E", "s1 s2", "f1 C", "s1 f2 C", "u2 u1 U", "s3 D"];
const TRANSACTION: [&str; 12] = ["N", "+1", "+2", "P", "v1", "v2", "n2", "C", "D", "A", "R", "S"];
const TRANSACTION_BATCHES: [&str; 6] = ["N +1 +2 P", "v1 v2 C", "v1 n2", "A B", "D", "R"];

/// What was handed in.
struct Model {
    /// The event with each number from 1 on; None: a checkpoint, or a record of the program's own.
    records: Vec<Option<Event>>,
    /// Everything up to here was acknowledged as durable.
    durable_seq: u64,
    /// First numbers of batches, beside which a crash may cut.
    begins: BTreeSet<u64>,
}

impl Model {
    fn next_seq(&self) -> u64 {
        self.records.len() as u64 + 1
    }

    fn take(&mut self, events: &[Event]) {
        self.begins.insert(self.next_seq());
        self.records.extend(events.iter().cloned().map(Some));
    }

    /// Numbers up to `last_seq` that are not known were given to checkpoints.
    fn fill(&mut self, last_seq: u64) {
        while self.next_seq() <= last_seq {
            self.begins.insert(self.next_seq());
            self.records.push(None);
        }
    }

    /// Nothing behind `last_seq` is there.
    fn cut(&mut self, last_seq: u64) {
        self.records.truncate(last_seq as usize);
        self.begins.retain(|begin| *begin <= last_seq);
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        for (seq, event) in (1..).zip(&self.records) {
            if let Some(event) = event {
                table.apply(seq, event, Rules::Strict).expect("the manager took it");
            }
        }
        table
    }
}

fn random_events(rng: &mut Rng, table: &Table) -> Vec<Event> {
    let of_saga = rng.percent(50);
    let family = if of_saga { Family::Saga } else { Family::Transaction };
    let batched = rng.percent(60);
    let words = match (of_saga, batched) {
        (true, false) => rng.pick(&SAGA),
        (true, true) => rng.pick(&SAGA_BATCHES),
        (false, false) => rng.pick(&TRANSACTION),
        (false, true) => rng.pick(&TRANSACTION_BATCHES),
    };
    let next_id = table.next_id(family).unwrap();
    let id = if words.starts_with('N') {
        next_id + rng.below(10) / 9
    } else {
        next_id.saturating_sub(rng.within(1, 6)).max(1)
    };
    if of_saga {
        saga(id, words)
    } else {
        transaction(id, words)
    }
}

/// One call; true: the log is down.
fn one_call(log: &Log, manager: &Manager, rng: &mut Rng, model: &mut Model, met: &mut BTreeSet<&'static str>) -> bool {
    let what = rng.below(100);
    let result = match what {
        0..=69 => {
            let table = model.table();
            let events = random_events(rng, &table);
            let sync = rng.pick(&[None, None, Some(true), Some(false)]);
            let legal = table.check(&events, Rules::Strict, usize::MAX);
            let decides = events.iter().any(Event::must_be_durable);
            let result = manager.append(&events, sync);
            match &result {
                Ok(seq) => {
                    assert_eq!((legal, *seq), (Ok(()), model.next_seq()));
                    model.take(&events);
                    if decides || sync == Some(true) {
                        model.durable_seq = model.next_seq() - 1;
                    }
                }
                Err(error) if matches!(error.code, Code::State | Code::TooBig) => {
                    let refusal = legal.expect_err("it was refused");
                    assert_eq!(*error, Error::from(refusal));
                    met.insert("refused");
                    return false;
                }
                // Its fate is unknown: it may be there, whole, or not.
                Err(_) => model.take(&events),
            }
            result.map(drop)
        }
        70..=79 => {
            let data = vec![9; rng.below(9000) as usize];
            let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0200, required: false };
            log.append(&entry, How { sync: Some(false), no_wait: false }).map(drop)
        }
        80..=89 => manager.checkpoint().map(|seq| {
            met.insert("checkpoints");
            model.durable_seq = seq;
        }),
        90..=93 => log.roll(),
        94..=95 => log.trim(rng.within(1, log.last_seq() + 1)),
        96..=97 => {
            let options = CompactionOptions { seal: rng.percent(80), saving_min: rng.pick(&[0, 0, 20_000]) };
            manager.compact(&options).map(|done| {
                if done.events_purged > 0 {
                    met.insert("compactions");
                }
                model.durable_seq = model.durable_seq.max(done.checkpoint_seq);
            })
        }
        _ => log.sync(0).map(|()| model.durable_seq = log.last_seq()),
    };
    match result {
        Ok(()) => {
            model.fill(log.last_seq());
            false
        }
        Err(error) => {
            assert!(matches!(error.code, Code::Io | Code::Poisoned), "{error:?}");
            // Of what was handed in, this much got a number.
            model.cut(log.last_seq());
            model.fill(log.last_seq());
            true
        }
    }
}

/// What recovery found is what the model says, up to where the log ends.
fn check(log: &Log, manager: &Manager, model: &mut Model, last_seq: u64) {
    assert!(last_seq >= model.durable_seq, "{last_seq} is left, {} was acknowledged", model.durable_seq);
    model.fill(last_seq);
    assert!(
        model.next_seq() == last_seq + 1 || model.begins.contains(&(last_seq + 1)),
        "a batch was cut at {last_seq}"
    );
    model.cut(last_seq);
    let table = model.table();
    assert_eq!(manager.active().unwrap(), plan::plan(&table));
    for family in [Family::Saga, Family::Transaction] {
        for id in 1..=table.next_id(family).unwrap() + 1 {
            match family {
                Family::Saga => {
                    assert_eq!(manager.saga(id).unwrap().as_ref(), table.saga(id));
                    assert_eq!(manager.saga_status(id).unwrap(), table.saga_status(id));
                }
                Family::Transaction => {
                    assert_eq!(manager.transaction(id).unwrap().as_ref(), table.transaction(id));
                    assert_eq!(manager.transaction_status(id).unwrap(), table.transaction_status(id));
                }
            }
        }
    }
    model.fill(log.last_seq());
    model.durable_seq = log.durable_seq();
}

fn life(seed: u64) -> BTreeSet<&'static str> {
    let mut rng = Rng::new(seed);
    let mut met = BTreeSet::new();
    let mut machine = Machine::new(seed, rng.pick(&[Durability::Sync, Durability::Group, Durability::Async]));
    machine.managed.checkpoint_interval = rng.pick(&[7, 40, u64::MAX]);
    machine.managed.keep_records = rng.percent(30);
    machine.options.max_retained_segments = rng.within(1, 3);
    let mut model = Model { records: Vec::new(), durable_seq: 0, begins: BTreeSet::new() };
    for _ in 0..5 {
        let (log, manager, _) = machine.recover();
        let last_seq = log.report().last_seq;
        check(&log, &manager, &mut model, last_seq);
        if log.first_seq() > 1 {
            met.insert("released");
        }
        let stop = rng.pick(&[Stop::PowerCut, Stop::Kill]);
        if rng.percent(70) {
            machine.disk.stop_at(machine.disk.steps() + rng.below(60), stop);
        }
        for _ in 0..rng.within(1, 60) {
            if one_call(&log, &manager, &mut rng, &mut model, &mut met) {
                met.insert("crashes within a call");
                break;
            }
        }
        drop((manager, log));
        if !machine.disk.is_down() && stop == Stop::PowerCut {
            machine.disk.power_cut();
            met.insert("power cuts between calls");
        } else {
            machine.disk.restart();
        }
    }
    met
}

#[test]
fn whatever_a_crash_leaves_nothing_acknowledged_is_lost() {
    let seeds = match std::env::var("TWAL_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..std::env::var("TWAL_TXN_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap()),
    };
    let whole = seeds.end - seeds.start >= SEEDS;
    let mut met = BTreeSet::new();
    for seed in seeds {
        let lived = std::panic::catch_unwind(|| life(seed));
        met.extend(lived.unwrap_or_else(|panic| {
            println!("TWAL_SEED={seed} fails");
            std::panic::resume_unwind(panic)
        }));
    }
    let wanted =
        ["checkpoints", "compactions", "crashes within a call", "power cuts between calls", "refused", "released"];
    assert!(!whole || wanted.iter().all(|what| met.contains(what)), "{met:?}");
}
