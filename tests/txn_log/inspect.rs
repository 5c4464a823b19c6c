//! Goal: who reads a log's transactions without a manager never finds damage that is not there, whatever a manager
//! compacts or releases meanwhile, and finds what is there.
//! Method: the manager acts at one open of a file by the reader, at each in turn.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use twal::disk::sim::SimDisk;
use twal::txn::manager::inspect;
use twal::txn::plan::plan;
use twal::txn::{Manager, Unfinished};
use twal::{Code, Durability, Entry, How, Log, Options};

use super::compaction::SEAL;
use super::machine::Machine;
use super::saga;

/// The same log, open for reading only.
pub fn reader(machine: &Machine) -> Log {
    let options = Options { read_only: true, ..machine.options.clone() };
    Log::open_on(machine.disk.as_ref(), Path::new("log"), &options, machine.clock.clone(), machine.threads).unwrap()
}

/// Calls `act` at the open of a file that comes behind `left` others.
pub fn at_open(disk: &Arc<SimDisk>, left: u32, act: Box<dyn FnOnce() + Send>) {
    let again = Arc::clone(disk);
    disk.behind_next_open(Box::new(move || match left.checked_sub(1) {
        Some(left) => at_open(&again, left, act),
        None => act(),
    }));
}

/// The writer is idle for long enough to say what is durable.
pub fn idle(machine: &Machine, log: &Log) {
    machine.clock.pass(Duration::from_secs(1));
    log.tick();
}

/// Sagas over some segments, of which each but every fourth finishes, and one checkpoint in the middle of them.
fn life(keep_records: bool) -> (Machine, Log, Manager) {
    let mut machine = Machine::new(5, Durability::Sync);
    machine.managed.keep_records = keep_records;
    machine.options.max_retained_segments = 1;
    let (log, manager, _) = machine.recover();
    for id in 1..=8 {
        manager.append(&saga(id, "N +1 E"), None).unwrap();
        if id % 2 == 0 {
            log.roll().unwrap();
        }
        if id == 4 {
            manager.checkpoint().unwrap();
        }
    }
    (machine, log, manager)
}

/// Finishes what may finish.
fn finish(manager: &Manager) {
    for id in (1..=8).filter(|id| id % 4 != 0) {
        manager.append(&saga(id, "s1 D"), None).unwrap();
    }
}

fn found(log: &Log) -> Result<Vec<Unfinished>, (Code, u64)> {
    inspect(log).map(|found| plan(&found.table)).map_err(|error| (error.code, error.seq))
}

/// `act` at each open in turn, and what `inspect` says then: what was unfinished before that, or behind it.
fn at_each_open(keep_records: bool, act: fn(&Manager)) {
    for left in 0.. {
        let (machine, log, manager) = life(keep_records);
        let before = manager.active().unwrap();
        idle(&machine, &log);
        let reader = reader(&machine);
        let acted = Arc::new(AtomicBool::new(false));
        let beside = (Arc::clone(&acted), machine.clock.clone(), log.clone(), manager.clone());
        at_open(
            &machine.disk,
            left,
            Box::new(move || {
                let (acted, clock, log, manager) = beside;
                finish(&manager);
                act(&manager);
                clock.pass(Duration::from_secs(1));
                log.tick();
                acted.store(true, Ordering::Relaxed);
            }),
        );
        let seen = found(&reader);
        if !acted.load(Ordering::Relaxed) {
            assert!(left >= 4, "{left} opens only");
            assert_eq!(seen, Ok(before));
            return;
        }
        let after = manager.active().unwrap();
        assert_ne!(before, after);
        assert!(seen == Ok(before.clone()) || seen == Ok(after.clone()), "at open {left}: {seen:?}");
        assert_eq!(found(&self::reader(&machine)), Ok(after), "at open {left}");
    }
}

#[test]
fn a_compaction_beside_it_is_no_damage() {
    at_each_open(true, |manager| assert!(manager.compact(&SEAL).unwrap().events_purged > 0));
}

/// What goes is gone from some of the segments, and the others have theirs.
#[test]
fn a_compaction_of_the_older_half_beside_it_is_no_damage() {
    at_each_open(true, |manager| {
        let segments = manager.log().segments().unwrap();
        manager.log().hold_set("half", segments[segments.len() / 2].first_seq).unwrap();
        assert!(manager.compact(&SEAL).unwrap().events_purged > 0);
    });
}

#[test]
fn a_compaction_and_the_next_one_beside_it_are_no_damage() {
    at_each_open(true, |manager| {
        for id in 9..=10 {
            manager.append(&saga(id, "N +1 E s1 D"), None).unwrap();
            manager.compact(&SEAL).unwrap();
        }
    });
}

/// The log is compacted again while it is looked whether what was found stays.
#[test]
fn a_compaction_beside_each_reading_is_no_damage() {
    let mut most = 0;
    for left in 0..3 {
        for later in 0.. {
            let (machine, log, manager) = life(true);
            idle(&machine, &log);
            let (reader, disk, acts) = (reader(&machine), Arc::clone(&machine.disk), Arc::new(AtomicU32::new(0)));
            let (clock, counted, again) = (machine.clock.clone(), Arc::clone(&acts), manager.clone());
            let act = move || {
                let id = 9 + u64::from(counted.load(Ordering::Relaxed));
                again.append(&saga(id, "N +1 E s1 D"), None).unwrap();
                again.compact(&SEAL).unwrap();
                clock.pass(Duration::from_secs(1));
                log.tick();
                counted.fetch_add(1, Ordering::Relaxed);
            };
            let next = act.clone();
            at_open(
                &machine.disk,
                left,
                Box::new(move || {
                    act();
                    at_open(&disk, later, Box::new(next));
                }),
            );
            let seen = found(&reader);
            assert_eq!(seen, Ok(manager.active().unwrap()), "at open {left} and {later} behind it");
            if acts.load(Ordering::Relaxed) < 2 {
                break;
            }
            most = most.max(later);
        }
    }
    assert!(most >= 10, "{most} opens only: nothing was read again");
}

#[test]
fn a_release_beside_it_is_no_damage() {
    at_each_open(false, |manager| {
        manager.append(&saga(4, "s1 D"), None).unwrap();
        for _ in 0..3 {
            manager.log().roll().unwrap();
            manager.checkpoint().unwrap();
        }
    });
}

/// What was compacted went by a checkpoint that no frame calls durable yet: nobody can tell, so nobody calls it damage.
#[test]
fn what_went_by_a_checkpoint_without_a_witness_is_no_damage() {
    let (machine, log, manager) = life(true);
    idle(&machine, &log);
    let reader = reader(&machine);
    finish(&manager);
    manager.compact(&SEAL).unwrap();
    assert_eq!(found(&reader), Err((Code::Busy, 0)));
    assert_eq!(found(&self::reader(&machine)), Err((Code::Busy, 0)));
    idle(&machine, &log);
    assert_eq!(found(&reader), Ok(manager.active().unwrap()));
}

/// Nothing is left of what the reader knew.
#[test]
fn a_reader_that_knew_only_what_was_released_looks_on() {
    let (machine, log, manager) = life(false);
    idle(&machine, &log);
    let reader = reader(&machine);
    for id in 1..=8 {
        manager.append(&saga(id, "s1 D"), None).unwrap();
    }
    for _ in 0..3 {
        log.roll().unwrap();
        manager.checkpoint().unwrap();
    }
    manager.append(&saga(9, "N +1 E"), None).unwrap();
    idle(&machine, &log);
    // The files that there are, and not yet what is in them.
    reader.segments().unwrap();
    assert!(reader.first_seq() > reader.last_seq() + 1);
    assert_eq!(found(&reader), Ok(manager.active().unwrap()));
}

/// Of the writer's own process: what is accepted, and not durable, is not there yet, and is not missing.
#[test]
fn what_is_not_durable_yet_is_not_missing() {
    let machine = Machine::new(6, Durability::Group);
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    log.sync(0).unwrap();
    let entry = Entry { data: b"own", stream: 0, timestamp: None, kind: 0x0200, required: false };
    log.append(&entry, How { sync: Some(false), no_wait: false }).unwrap();
    assert!(log.durable_seq() < log.last_seq());
    assert_eq!(found(&log), Ok(manager.active().unwrap()));
}
