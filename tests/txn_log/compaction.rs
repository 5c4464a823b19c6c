//! Goal: a compaction by the manager takes what nobody needs, and after any crash in it recovery finds the same operations:
//! none lost, none come back to life.
//! Method: one history, compacted on the simulated disk; then the same, stopped at every step, and behind each at every fourth of the next.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use twal::disk::sim::Stop;
use twal::txn::event::operation_of;
use twal::txn::{Applied, Compaction, CompactionOptions, Event, Family, Manager, Purge, Status};
use twal::{Candidate, CompactOptions};
use twal::{Code, Durability, Entry, How, IterOptions, Log};

use super::inspect::at_open;
use super::machine::Machine;
use super::{saga, transaction};

pub const SEAL: CompactionOptions = CompactionOptions { seal: true, saving_min: 0 };

/// 30 sagas of 5 records that finish and 10 of 3 that do not, among each other.
fn forty_sagas(manager: &Manager) {
    for id in 1..=40 {
        manager.append(&saga(id, "N +1 E"), None).unwrap();
    }
    for id in (1..=40).filter(|id| id % 4 != 1) {
        manager.append(&saga(id, "s1"), None).unwrap();
        manager.append(&saga(id, "D"), None).unwrap();
    }
}

/// Number and type of each record.
pub type Records = Vec<(u64, u16)>;
pub type Operations = BTreeMap<(Family, u64), Records>;

/// Each operation's records, and all others.
pub fn records(log: &Log) -> (Operations, Records) {
    let (mut operations, mut others) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        match operation_of(record.kind, record.data).filter(|_| record.kind < 0x100) {
            Some(operation) => operations.entry(operation).or_default().push((record.seq, record.kind)),
            None => others.push((record.seq, record.kind)),
        }
    }
    (operations, others)
}

/// A11(3).
#[test]
fn finished_sagas_go_and_unfinished_ones_stay() {
    let machine = Machine::new(1, Durability::Sync);
    let (log, manager, _) = machine.recover();
    forty_sagas(&manager);
    let done = manager.compact(&SEAL).unwrap();
    println!("{done:?}");
    assert_eq!((done.events_purged, done.events_kept, done.checkpoints_purged), (150, 30, 1));
    assert_eq!(done.records_purged(), 151);
    assert!(done.bytes_saved * 100 >= done.bytes_before * 75, "{done:?}");
    let stats = log.stats();
    assert_eq!((stats.records_purged, stats.compaction_bytes_saved), (151, done.bytes_saved));
    let active = manager.active().unwrap();
    assert_eq!(active.len(), 10);
    let (operations, _) = records(&log);
    assert_eq!(operations.values().map(Vec::len).collect::<Vec<_>>(), [3; 10]);

    let (log, manager, found) = machine.power_cut();
    assert_eq!((manager.active().unwrap(), found.unfinished), (active.clone(), active));
    assert_eq!(records(&log).0, operations);
    for id in (1..=40).filter(|id| id % 4 != 1) {
        assert_eq!(manager.saga_status(id).unwrap(), Status::Finished);
    }
    assert_eq!(manager.append(&saga(40, "N"), None).unwrap_err().code, Code::State, "an id is used once");
}

/// Nothing is read a second time for nothing; what finishes later goes later.
#[test]
fn a_segment_is_read_again_when_there_is_something_to_let_go() {
    let machine = Machine::new(2, Durability::Sync);
    let (_log, manager, _) = machine.recover();
    forty_sagas(&manager);
    let first = manager.compact(&SEAL).unwrap();
    let again = manager.compact(&SEAL).unwrap();
    // The first call's checkpoint is in the segment that the second has sealed.
    assert!(again.segments_read <= 1 && first.segments_read > 5, "{first:?} {again:?}");
    assert_eq!((again.events_purged, again.events_kept), (0, 30));
    manager.append(&saga(37, "s1 D"), None).unwrap();
    let third = manager.compact(&SEAL).unwrap();
    assert_eq!((third.events_purged, third.events_kept), (5, 27));
    assert!(third.segments_read < first.segments_read, "{third:?}");
    manager.tombstone(5, u64::MAX, b"", None).unwrap();
    assert!(manager.compact(&SEAL).unwrap().segments_read >= first.segments_read, "a tombstone concerns every segment");
}

fn program(log: &Log, stream: u64, timestamp: i64, len: usize) -> u64 {
    let data = vec![7; len];
    let entry = Entry { data: &data, stream, timestamp: Some(timestamp), kind: 0x0200, required: false };
    log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap()
}

#[test]
fn what_is_dropped_of_streams_is_hidden_and_then_gone() {
    let mut machine = Machine::new(3, Durability::Sync);
    machine.managed.keep_records = true;
    let (log, manager, _) = machine.recover();
    let mut kept = Vec::new();
    for at in 0..60 {
        let seqs = [program(&log, 5, at, 900), program(&log, 6, at, 900), program(&log, 7, at, 900)];
        kept.push((seqs, at));
    }
    let middle = kept[30].0[0];
    manager.tombstone(5, kept[10].0[0], b"five", None).unwrap();
    let second = manager.tombstone(5, middle, b"five", None).unwrap();
    manager.tombstone(5, 3, b"lower", None).unwrap();
    manager.purge(6, Purge { before: 20, tag: 1, purged: 4 }, Some(true)).unwrap();
    // A later purge of an earlier time drops what has come since, and the first one still what it dropped.
    let (_, stays) = (program(&log, 6, 5, 10), program(&log, 6, 15, 10));
    manager.purge(6, Purge { before: 10, tag: 2, purged: 1 }, Some(true)).unwrap();
    for position in 1..=3 {
        manager.applied(9, Applied { epoch: 2, position }, Some(false)).unwrap();
    }
    assert_eq!(manager.tombstones().unwrap().len(), 1);
    let (stream, tombstone) = manager.next_tombstone(0).unwrap().unwrap();
    assert_eq!((stream, tombstone.below_seq, tombstone.name.as_slice()), (5, middle, b"five".as_slice()));
    assert_eq!(manager.next_tombstone(6).unwrap(), None);
    let (five, six) = (program(&log, 5, 0, 10), program(&log, 6, 0, 10));
    let wanted: Vec<u64> = kept
        .iter()
        .flat_map(|(seqs, at)| seqs.iter().map(move |seq| (*seq, *at)).zip(5..))
        .filter(|((seq, at), stream)| !(*stream == 5 && *seq < middle || *stream == 6 && *at < 20))
        .map(|((seq, _), _)| seq)
        .chain([stays, five, six])
        .collect();
    let seen = |log: &Log, manager: Option<&Manager>| {
        let hidden = manager.map(|manager| Arc::new(manager.hidden().unwrap()));
        let mut iter = log.iter_with(IterOptions { hidden, ..IterOptions::default() }).unwrap();
        let mut seqs = Vec::new();
        while let Some(record) = iter.next_record().unwrap() {
            if record.kind >= 0x0100 {
                seqs.push(record.seq);
            }
        }
        seqs
    };
    assert_eq!(seen(&log, Some(&manager)), wanted, "hidden");
    assert_eq!(seen(&log, None).len(), 184, "who does not ask is shown all");
    let done = manager.compact(&SEAL).unwrap();
    assert_eq!((done.dropped_purged, done.stream_events_purged), (30 + 20 + 1, 2 + 2));
    let check = |log: &Log, manager: &Manager| {
        assert_eq!(seen(log, None), wanted, "gone");
        assert_eq!(manager.purge_of(6).unwrap().map(|purge| (purge.before, purge.tag, purge.purged)), Some((10, 2, 1)));
        assert_eq!(manager.applied_to(9).unwrap().map(|applied| applied.position), Some(3));
        assert_eq!(manager.tombstones().unwrap()[0].1.below_seq, middle);
        let own = records(log).1;
        assert!(own.contains(&(second, 0x20)), "the tombstone that stands stays");
    };
    check(&log, &manager);
    let (log, manager, _) = machine.power_cut();
    check(&log, &manager);
}

/// A log that is worth compacting, everything in it durable.
pub fn history(machine: &Machine) -> (Log, Manager) {
    let (log, manager, _) = machine.recover();
    for id in 1..=6 {
        manager.append(&saga(id, "N +1 +2 E"), None).unwrap();
        program(&log, id % 2, 5, 6000);
        manager.append(&transaction(id, "N +1 P"), None).unwrap();
        program(&log, 3, 5, 9000);
    }
    for id in [1, 2, 4, 5] {
        manager.append(&saga(id, "s1"), None).unwrap();
        program(&log, 3, 5, 5000);
        manager.append(&saga(id, if id == 4 { "f2 C u1 U" } else { "s2 D" }), None).unwrap();
        manager.append(&transaction(id + 1, "v1 C D"), None).unwrap();
    }
    manager.tombstone(1, u64::MAX, b"", None).unwrap();
    log.sync(0).unwrap();
    (log, manager)
}

/// What is left of a finished operation is its end, of another everything; the program's records are all there but dropped ones.
pub fn check_suffixes(log: &Log, manager: &Manager, whole: &Operations) {
    let (operations, _) = records(log);
    for (operation, all) in whole {
        let left = operations.get(operation).map_or(&[][..], Vec::as_slice);
        assert!(all.ends_with(left), "{operation:?}: {left:?} of {all:?}");
        let finished = match operation.0 {
            Family::Saga => manager.saga_status(operation.1).unwrap() == Status::Finished,
            Family::Transaction => manager.transaction_status(operation.1).unwrap() == Status::Finished,
        };
        assert!(finished || left == all, "{operation:?}: {left:?} of {all:?}");
    }
}

/// What is left of `history` works on: what is not finished finishes, and goes.
pub fn check_works_on(log: &Log, manager: &Manager) {
    for one in manager.active().unwrap() {
        let events = match one.family {
            Family::Saga => saga(one.id, "s1 s2 D"),
            Family::Transaction => transaction(one.id, "A B"),
        };
        manager.append(&events, None).unwrap();
    }
    let done: Compaction = manager.compact(&SEAL).unwrap();
    assert_eq!(done.events_kept, 0, "{done:?}");
    assert!(records(log).0.is_empty());
}

/// Steps of a second compaction from one stop to the next, from another one on behind each stop of the first: all steps of
/// both, and each of the one behind a quarter of those of the other.  Every pair takes four times as long.
const STRIDE: u8 = 4;

/// Stops at every step of a compaction, and behind each in the next; returns how many lives it lived.
fn stopped_at_every_step(stop: Stop) -> u64 {
    let mut lives = 0;
    let life = |first: Option<u64>, second: Option<u64>| -> (u64, u64) {
        let mut machine = Machine::new(7, Durability::Sync);
        machine.managed.keep_records = true;
        let (log, manager) = history(&machine);
        let (whole, _) = records(&log);
        let (active, hidden) = (manager.active().unwrap(), manager.hidden().unwrap());
        let mut steps = [0, 0];
        let (mut log, mut manager) = (log, manager);
        for (at, stopped) in [first, second].into_iter().enumerate() {
            let begin = machine.disk.steps();
            if let Some(step) = stopped {
                machine.disk.stop_at(begin + step, stop);
            }
            let done = manager.compact(&SEAL);
            steps[at] = machine.disk.steps() - begin;
            if stopped.is_none() {
                done.unwrap();
            }
            drop((manager, log));
            machine.disk.restart();
            let (again, recovered, found) = machine.recover();
            assert_eq!((&found.unfinished, &recovered.active().unwrap()), (&active, &active), "{first:?} {second:?}");
            assert_eq!(recovered.hidden().unwrap(), hidden);
            check_suffixes(&again, &recovered, &whole);
            (log, manager) = (again, recovered);
        }
        check_works_on(&log, &manager);
        (steps[0], steps[1])
    };
    let (first, _) = life(None, None);
    for step in 0..first {
        let (_, second) = life(Some(step), None);
        lives += 1;
        for step_after in (step % u64::from(STRIDE)..second).step_by(STRIDE.into()) {
            life(Some(step), Some(step_after));
            lives += 1;
        }
    }
    lives
}

#[test]
fn a_power_cut_at_every_step_of_a_compaction_and_in_the_next_loses_and_revives_nothing() {
    let lives = stopped_at_every_step(Stop::PowerCut);
    println!("{lives} lives");
    assert!(lives > 800, "{lives}");
}

#[test]
fn a_kill_at_every_step_of_a_compaction_and_in_the_next_loses_and_revives_nothing() {
    let lives = stopped_at_every_step(Stop::Kill);
    println!("{lives} lives");
    assert!(lives > 800, "{lives}");
}

/// The beginning lies in a segment that would become only a little smaller: nothing of the operation goes.
#[test]
fn an_operation_whose_beginning_stays_stays_whole() {
    let machine = Machine::new(4, Durability::Sync);
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap(); // never finished: nothing is released
    manager.append(&saga(2, "N +1 E"), None).unwrap();
    program(&log, 1, 0, 30_000);
    log.roll().unwrap();
    for id in 3..8 {
        manager.append(&saga(id, "N +1 E s1"), None).unwrap();
        manager.append(&saga(id, "D"), None).unwrap();
    }
    manager.append(&saga(2, "s1"), None).unwrap();
    manager.append(&saga(2, "D"), None).unwrap();
    let options = CompactionOptions { saving_min: 40_000, ..SEAL };
    for is_new in [true, false] {
        // The second time, what was seen is not read again: the first call's checkpoint alone is new.
        let done = manager.compact(&options).unwrap();
        assert_eq!(done.segments_read > 1, is_new, "{done:?}");
        assert_eq!(records(&log).0[&(Family::Saga, 2)].len(), 5, "{done:?}");
    }
    assert_eq!(manager.compact(&SEAL).unwrap().events_kept, 3);
    assert_eq!(records(&log).0.len(), 1);
}

/// A record is missing behind the checkpoint: recovery would find other operations than there were.
#[test]
fn recovery_refuses_a_hole_behind_its_checkpoint() {
    let mut machine = Machine::new(5, Durability::Sync);
    machine.managed.keep_records = true;
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    let gone = manager.append(&saga(1, "s1"), None).unwrap();
    manager.append(&saga(2, "N +1 E"), None).unwrap();
    log.roll().unwrap();
    let everything = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    let mut keep = |asked: &Candidate<'_>| asked.record.seq != gone;
    assert_eq!(log.compact(&everything, &mut keep).unwrap().records_purged, 0, "the manager holds it");
    drop((manager, log));
    machine.disk.kill();
    let log = machine.try_open().unwrap();
    assert_eq!(log.compact(&everything, &mut keep).unwrap().records_purged, 1);
    let refused = Manager::recover(&log, &machine.managed).err().unwrap();
    assert_eq!((refused.code, refused.seq), (Code::Corrupt, gone), "{refused:?}");
}

/// Off until asked for; then beside the calls, and its end is the manager's.
#[test]
fn compacts_by_itself_when_it_is_due() {
    // Beside records of the program's own, of which none goes.
    for (compact, percent, records, others, expected) in [
        (false, 0, 0, 0, false),
        (true, 0, 0, 0, true),
        (true, 0, 0, 100, true),
        (false, 90, 0, 0, false),
        (false, 0, 150, 0, true),
        (false, 20, 0, 0, true),
    ] {
        let mut machine = Machine::with_threads(6);
        machine.managed.keep_records = true;
        machine.managed.checkpoint_interval = 50;
        (machine.managed.compact, machine.managed.compact_percent) = (compact, percent);
        machine.managed.compact_records = records;
        let (log, manager, _) = machine.recover();
        for _ in 0..others {
            program(&log, 1, 0, 100);
        }
        forty_sagas(&manager);
        manager.checkpoint().unwrap();
        let mut counts = manager.counts().unwrap();
        while expected && counts.compactions + counts.compactions_failed == 0 {
            std::thread::yield_now();
            counts = manager.counts().unwrap();
        }
        // Another one by itself may be waiting: it gives way.
        manager.compact(&SEAL).unwrap();
        let counts = manager.counts().unwrap();
        assert_eq!(
            (counts.compactions > 1, counts.compactions_failed),
            (expected, 0),
            "{percent} {records} {others} {counts:?}"
        );
        assert_eq!(records_left(&log), 30);
        drop(manager);
        Manager::recover(&log, &machine.managed).expect("the thread has ended");
        log.close().unwrap();
    }
}

/// One by itself waits behind one by call, which takes the checkpoint away that it would have gone by: it gives way, and
/// is no failure.
#[test]
fn an_automatic_compaction_gives_way_to_one_by_call() {
    let mut machine = Machine::new(9, Durability::Sync);
    machine.managed.keep_records = true;
    machine.managed.compact_records = 1;
    let (_log, manager) = history(&machine);
    let (waiting, other) = (Arc::new(Mutex::new(None)), manager.clone());
    let mut begun = false;
    let (held, disk) = (Arc::clone(&waiting), Arc::clone(&machine.disk));
    machine.disk.between_units(Some(Box::new(move |name, _| {
        if begun || !name.contains("spare") {
            return;
        }
        begun = true;
        // While the first one writes, the second one by call waits for it, and then the one by itself.
        let (tell, told) = std::sync::mpsc::channel();
        let second = other.clone();
        *held.lock().unwrap() = Some(std::thread::spawn(move || {
            tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            second.compact(&SEAL)
        }));
        let status = Path::new("/proc").join(told.recv().unwrap()).join("status");
        while !std::fs::read_to_string(&status).unwrap().contains("\nState:\tS") {
            std::thread::yield_now();
        }
        other.checkpoint().unwrap();
        disk.between_units(None);
    })));
    manager.compact(&SEAL).unwrap();
    let second = waiting.lock().unwrap().take().expect("it wrote a smaller segment");
    second.join().unwrap().unwrap();
    // Behind the one by itself.
    manager.compact(&SEAL).unwrap();
    let counts = manager.counts().unwrap();
    assert_eq!((counts.compactions, counts.compactions_failed), (3, 0), "{counts:?}");
}

/// Another thread's checkpoints release what is in front of them, the checkpoint too that a compaction was about to go by.
#[test]
fn a_compaction_goes_by_a_checkpoint_that_is_still_there() {
    let mut machine = Machine::with_threads(10);
    machine.options.max_retained_segments = 1;
    let (log, manager, _) = machine.recover();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let releasing = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                log.roll().unwrap();
                manager.checkpoint().unwrap();
            }
        });
        let mut compacted = Ok(Compaction::default());
        for round in 0.. {
            compacted = compacted.and_then(|_| manager.compact(&CompactionOptions::default()));
            // The other one has had its turn.
            if round >= 4000 && log.first_seq() > 1 || compacted.is_err() {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        releasing.join().unwrap();
        compacted.unwrap();
    });
    log.close().unwrap();
}

/// Others go on while it reads, and seal a segment behind the checkpoint that it goes by: what lies there is not its business.
#[test]
fn what_is_sealed_behind_its_checkpoint_stays() {
    let mut stayed = 0;
    for left in 0..12 {
        let mut machine = Machine::new(12, Durability::Sync);
        machine.managed.keep_records = true;
        let (log, manager, _) = machine.recover();
        forty_sagas(&manager);
        let (beside, other) = (log.clone(), manager.clone());
        let go_on = move || {
            other.append(&saga(41, "N +1 E s1 D"), None).unwrap();
            other.append(&saga(42, "N +1 E"), None).unwrap();
            beside.roll().unwrap();
        };
        log.roll().unwrap();
        at_open(&machine.disk, left, Box::new(go_on));
        manager.compact(&CompactionOptions::default()).unwrap();
        machine.disk.behind_next_open(Box::new(|| {}));
        if manager.saga_status(42).unwrap() == Status::Unknown {
            break;
        }
        // In front of the checkpoint, if it came before that.
        let there = records(&log).0.get(&(Family::Saga, 41)).map_or(0, Vec::len);
        assert!(there == 5 || there == 0, "{left}: {there}");
        stayed += u32::from(there == 5);
        let (_log, manager, found) = machine.power_cut();
        assert_eq!((found.unfinished.len(), manager.saga_status(41)), (11, Ok(Status::Finished)), "{left}");
    }
    assert!(stayed > 2, "{stayed}");
}

fn records_left(log: &Log) -> usize {
    records(log).0.values().map(Vec::len).sum()
}

#[test]
fn stream_events_are_as_durable_as_they_are_asked_for() {
    let machine = Machine::new(8, Durability::Group);
    let (log, manager, _) = machine.recover();
    let first = manager.tombstone(1, 7, b"name", None).unwrap();
    assert!(log.durable_seq() < first);
    manager.applied(1, Applied { epoch: 1, position: 2 }, Some(true)).unwrap();
    assert_eq!(manager.purge(2, Purge { before: 1, tag: 2, purged: 3 }, Some(false)).unwrap(), first + 2);
    assert!(log.durable_seq() < first + 2);
    assert_eq!(manager.counts().unwrap().stream_events, 3);
    let refused = manager.tombstone(1, 8, &[b'x'; 256], None).unwrap_err();
    assert_eq!((refused.code, log.last_seq()), (Code::TooBig, first + 2));
    let event = Event::Stream(1, twal::txn::StreamEvent::Applied(Applied { epoch: 1, position: 3 }));
    assert_eq!(manager.append(&[event], None).unwrap_err().code, Code::Inval);
    let (_log, manager, _) = machine.power_cut();
    assert_eq!(manager.tombstones().unwrap()[0].0, 1);
    assert_eq!(manager.applied_to(1).unwrap().map(|applied| applied.position), Some(2));
}
