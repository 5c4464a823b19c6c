//! Goal: what cannot be appended leaves no trace, what may have been lost is told by nobody, and what recovery needs is
//! not released.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use twal::disk::sim::{CallKind, Keep};
use twal::txn::{Manager, ManagerOptions, SagaSpec, Status, TransactionState};
use twal::{Code, CompactOptions, Durability, Entry, How, Log};

use super::live::{spec, step};
use super::machine::Machine;
use super::{name, saga, transaction};

fn own(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false }
}

const SYNC: How = How { sync: Some(true), no_wait: false };
const NO_SYNC: How = How { sync: Some(false), no_wait: false };

/// Appends records of the program's own until the log begins its `segment`-th segment.
fn fill_up_to_segment(log: &Log, segment: u64) {
    while log.stats().segments_created < segment {
        log.append(&own(&[5; 8000]), How::default()).unwrap();
    }
}

/// While somebody waits for room, questions are answered: the lock is not held.  Else who holds the room and asks first
/// would wait for ever.
#[test]
fn the_lock_is_free_while_a_call_waits_for_room() {
    let mut machine = Machine::with_threads(71);
    machine.options.ring_size = 256 << 10;
    machine.options.segment_size = 4 << 20;
    let (log, manager, _) = machine.recover();
    let ring = usize::try_from(log.stats().ring_size).unwrap();
    let hog = log.reserve(&own(b""), ring - (64 << 10), How::default()).unwrap();
    let big = SagaSpec { start: false, ..spec((0..3).map(|n| big_step(n, 40 << 10)).collect()) };
    std::thread::scope(|scope| {
        let waits = log.stats().ring_waits;
        let creating = scope.spawn(|| manager.saga_create(&big));
        while log.stats().ring_waits == waits {
            std::thread::yield_now();
        }
        assert_eq!(manager.saga_status(1), Ok(Status::Unknown));
        drop(hog);
        assert_eq!(creating.join().unwrap().unwrap().id, 1);
    });
    assert_eq!(manager.saga(1).unwrap().unwrap().steps().len(), 3);
    log.close().unwrap();
}

fn big_step(index: u32, len: usize) -> twal::txn::Step {
    twal::txn::Step { payload: vec![7; len], ..step(index, &[]) }
}

#[test]
fn what_finds_no_room_leaves_no_trace() {
    let mut machine = Machine::new(72, Durability::Sync);
    machine.options.append_timeout_us = 1000;
    let (log, manager, _) = machine.recover();
    let one = manager.transaction_create(None, name(9), &[(name(1), name(2))]).unwrap();
    let hog = log.reserve(&own(b""), 48 << 10, How::default()).unwrap();
    machine.disk.set_capacity(Some(machine.disk.room_taken()));
    let full = loop {
        match log.append(&own(&[5; 4000]), How::default()) {
            Ok(_) => {}
            Err(error) => break error.code,
        }
    };
    assert_eq!(full, Code::NoSpc);
    let (last_seq, before) = (log.last_seq(), manager.active().unwrap());
    let refused = manager.saga_create(&spec((0..4).map(|n| big_step(n, 6000)).collect()));
    assert_eq!(refused.map_err(|error| error.code), Err(Code::NoSpc));
    assert_eq!((log.last_seq(), manager.active().unwrap()), (last_seq, before));
    machine.disk.set_capacity(None);
    drop(hog);
    manager.transaction_prepare(one.id).unwrap();
    assert_eq!(manager.saga_create(&spec(vec![step(1, &[])])).unwrap().id, 1, "the id was not used up");
}

/// After a failed write nothing more is taken and nothing is told: what it was to make durable may be there or not.
#[test]
fn a_failed_write_silences_the_manager() {
    for kind in [CallKind::Write, CallKind::Sync] {
        let machine = Machine::new(73, Durability::Group);
        let (log, manager, _) = machine.recover();
        let one = manager.transaction_create(None, name(9), &[(name(1), name(2))]).unwrap();
        machine.disk.fail_from(Some(kind), 0, EIO);
        let failed = manager.transaction_abort_start(one.id);
        let Err(error) = failed else { continue };
        assert_eq!(error.code, Code::Io);
        let poisoned = |error: twal::Error| error.code == Code::Poisoned;
        assert!(manager.transaction_status(one.id).is_err_and(poisoned), "abort_start may be lost: nobody is told");
        assert!(manager.active().is_err_and(poisoned));
        assert!(manager.transaction_prepare(one.id).is_err_and(poisoned));
        assert!(manager.checkpoint().is_err_and(poisoned));
        machine.disk.clear_faults();
        drop((manager, log));
        let (_log, manager, _) = machine.power_cut();
        let state = manager.transaction_status(one.id).unwrap();
        let known = [TransactionState::Created, TransactionState::Aborting].map(Status::Active);
        assert!(known.contains(&state), "{state:?}");
    }
}

const EIO: i32 = 5;

/// Also when it was somebody else's write, and what would be told is no decision.
#[test]
fn a_poisoned_log_is_asked_in_vain() {
    let machine = Machine::new(80, Durability::Group);
    let (log, manager, _) = machine.recover();
    manager.append(&transaction(1, "N +1 P v1 C"), None).unwrap();
    manager.append(&transaction(1, "D"), None).unwrap();
    assert_eq!(manager.transaction_status(1), Ok(Status::Finished));
    machine.disk.fail_kind(CallKind::Write, 0, EIO);
    assert_eq!(log.append(&own(b"x"), SYNC).map_err(|error| error.code), Err(Code::Io));
    let poisoned = |error: twal::Error| error.code == Code::Poisoned;
    assert!(manager.transaction_status(1).is_err_and(poisoned), "commit_complete is not there");
    assert!(manager.counts().is_err_and(poisoned));
}

/// A decision that one thread is about to make durable is not told to another before.  (Told of an abort, a participant
/// would drop its part; a crash then, and all votes say commit.)  Asked in the middle of the decision's write, who asks has
/// some time to be told too early; the write goes on after that.
#[test]
fn nobody_is_told_of_a_decision_that_is_not_durable() {
    const ROUNDS: u64 = 10;
    let machine = Machine::with_threads(74);
    let (log, manager, _) = machine.recover();
    let told = Arc::new((Mutex::new(None), Condvar::new()));
    let (ask, asked) = std::sync::mpsc::channel();
    let asking = {
        let (log, manager, told) = (log.clone(), manager.clone(), Arc::clone(&told));
        std::thread::spawn(move || {
            for id in asked {
                let aborting = if id % 2 == 0 {
                    manager.transaction_status(id) == Ok(Status::Active(TransactionState::Aborting))
                } else {
                    // A refusal tells it too.
                    manager.transaction_vote(id, name(1), true, Some(false)).unwrap_err().text.contains("aborting")
                };
                *told.0.lock().unwrap() = Some((aborting, log.durable_seq()));
                told.1.notify_all();
            }
        })
    };
    for id in 1..=ROUNDS {
        manager.append(&transaction(id, "N +1 P v1"), Some(true)).unwrap();
        let (told_too, mut ask) = (Arc::clone(&told), Some(ask.clone()));
        machine.disk.between_units(Some(Box::new(move |_, _| {
            if let Some(ask) = ask.take() {
                ask.send(id).unwrap();
                let answer = told_too.0.lock().unwrap();
                drop(told_too.1.wait_timeout_while(answer, Duration::from_millis(50), |answer| answer.is_none()));
            }
        })));
        let seq = manager.transaction_abort_start(id).unwrap();
        machine.disk.between_units(None);
        let answer = told.1.wait_while(told.0.lock().unwrap(), |answer| answer.is_none()).unwrap().take();
        let (aborting, durable_seq) = answer.unwrap();
        assert!(aborting && durable_seq >= seq, "{id}: told {aborting} when {durable_seq} was durable, it is {seq}");
    }
    drop(ask);
    asking.join().unwrap();
    log.close().unwrap();
}

/// Checkpoints release what nobody needs, and nothing else; a trim of the program's own passes neither.
#[test]
fn what_is_needed_is_held() {
    for keep_records in [false, true] {
        let mut machine = Machine::new(75, Durability::Sync);
        machine.managed.keep_records = keep_records;
        machine.options.max_retained_segments = 1;
        let (log, manager, _) = machine.recover();
        manager.append(&saga(1, "N +1 +2 E"), None).unwrap();
        fill_up_to_segment(&log, 4);
        log.trim(log.last_seq()).unwrap();
        assert_eq!(log.first_seq(), 1, "the checkpoint that recovery begins with");
        let open = manager.append(&saga(2, "N +1 E"), None).unwrap();
        manager.append(&saga(1, "s1 s2 D"), None).unwrap();
        fill_up_to_segment(&log, 6);
        manager.checkpoint().unwrap();
        if keep_records {
            assert_eq!(log.first_seq(), 1);
            log.trim(log.last_seq()).unwrap();
        }
        let held = log.first_seq();
        assert!(held > 1 && held <= open, "{held}: up to saga 2, which began at {open}");
        log.trim(log.last_seq()).unwrap();
        assert_eq!(log.first_seq(), held);
        drop(manager);
        log.trim(log.last_seq()).unwrap();
        assert_eq!(log.first_seq(), held, "also when the manager is gone");
        let (manager, found) = Manager::recover(&log, &machine.managed).unwrap();
        assert_eq!(found.unfinished.len(), 1);
        log.trim(log.last_seq()).unwrap();
        assert_eq!(log.first_seq(), held, "recovery begins behind it, and holds it all the same");
        manager.append(&saga(2, "s1 D"), None).unwrap();
        let checkpoint = manager.checkpoint().unwrap();
        log.trim(log.last_seq()).unwrap();
        assert!(log.first_seq() > open && log.first_seq() <= checkpoint);
        drop((manager, log));
        let (log, _manager, found) = machine.power_cut();
        assert_eq!((found.from_seq, found.unfinished.len()), (checkpoint, 0));
        fill_up_to_segment(&log, 3);
        log.trim(log.last_seq()).unwrap();
        assert!(log.first_seq() <= checkpoint, "held by recovery, too");
    }
}

/// Who recovers has asked for no record to go, the program's own least of all; later checkpoints release, as they are told.
#[test]
fn a_recovery_releases_nothing() {
    let mut machine = Machine::new(76, Durability::Sync);
    machine.options.max_retained_segments = 1;
    machine.managed = ManagerOptions::default();
    let log = machine.try_open().unwrap();
    fill_up_to_segment(&log, 6);
    let (manager, _) = Manager::recover(&log, &machine.managed).unwrap();
    assert_eq!((log.first_seq(), manager.counts().unwrap().checkpoints), (1, 1));
    drop((manager, log));
    let (log, manager, _) = machine.power_cut();
    assert_eq!(log.first_seq(), 1);
    manager.checkpoint().unwrap();
    assert!(log.first_seq() > 1);
}

/// A checkpoint that is not durable releases nothing: power is cut in each step of writing one.
#[test]
fn a_crash_at_every_step_of_a_checkpoint() {
    let mut crashes = 0;
    for at in 0.. {
        let mut machine = Machine::new(at, Durability::Group);
        machine.options.max_retained_segments = 1;
        machine.disk.set_keep(if at % 3 == 0 { Keep::Random } else { Keep::Nothing });
        let (log, manager, _) = machine.recover();
        manager.append(&saga(1, "N +1 +2 E"), None).unwrap();
        fill_up_to_segment(&log, 4);
        manager.append(&saga(1, "s1 s2 D"), Some(false)).unwrap();
        manager.append(&saga(2, "N +1 E"), None).unwrap();
        fill_up_to_segment(&log, 5);
        machine.disk.stop_at(machine.disk.steps() + at, twal::disk::sim::Stop::PowerCut);
        let done = manager.checkpoint();
        drop((manager, log));
        let struck = machine.disk.restart();
        let (_log, manager, found) = machine.recover();
        let [unfinished] = found.unfinished.as_slice() else { panic!("{at}: {found:?}") };
        assert_eq!((unfinished.id, manager.saga_status(1)), (2, Ok(Status::Finished)));
        if let Ok(seq) = done {
            assert_eq!(found.from_seq, seq);
        }
        if !struck {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 5, "{crashes}");
}

/// By interval, on the thread whose event is due; a failure is nobody's, and is made up for.
#[test]
fn checkpoints_come_by_themselves() {
    let mut machine = Machine::new(76, Durability::Sync);
    machine.managed = ManagerOptions { checkpoint_interval: 10, ..machine.managed };
    let (_log, manager, _) = machine.recover();
    for id in 1..=12 {
        manager.append(&saga(id, "N +1 E s1 D"), None).unwrap();
    }
    let counts = manager.counts().unwrap();
    assert_eq!((counts.checkpoints, counts.checkpoints_failed), (7, 0), "one at the beginning, six for 60 events");
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.from_seq, found.records_replayed), (counts.checkpoint_seq, 1));
    // Short lives add up.
    manager.append(&saga(13, "N +1 +2 E s1 s2"), None).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.from_seq, found.records_replayed), (counts.checkpoint_seq, 7));
    manager.append(&saga(14, "N +1 +2 E"), None).unwrap();
    assert_eq!(manager.counts().unwrap().checkpoints, 1);
}

/// A record of a type that only a later release knows: it must not be ignored, or it may.
#[test]
fn unknown_types_stop_recovery_if_they_must_be_known() {
    let machine = Machine::new(81, Durability::Sync);
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    let later = |required| Entry { kind: 0x0055, required, ..own(b"later") };
    log.append(&later(false), SYNC).unwrap();
    drop((log, manager));
    let (log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished.len(), found.records_replayed), (1, 4));
    let seq = log.append(&later(true), SYNC).unwrap();
    drop((log, manager));
    machine.disk.kill();
    let error = machine.try_recover().err().unwrap();
    assert_eq!((error.code, error.seq), (Code::Version, seq));
}

/// The table is larger than this opening's records may be: no checkpoint, and everything else goes on; one that was due
/// and failed is nobody's error.
#[test]
fn a_checkpoint_that_does_not_fit_is_tried_again() {
    let mut machine = Machine::new(77, Durability::Sync);
    machine.managed.checkpoint_interval = 10;
    let (_log, manager, _) = machine.recover();
    let steps = (1..=12).map(|n| big_step(n, 1300)).collect();
    manager.saga_create(&spec(steps)).unwrap();
    machine.options.record_size_max = 8000;
    let (_log, manager, _) = machine.power_cut();
    assert_eq!(manager.checkpoint().map_err(|error| error.code), Err(Code::TooBig));
    let full = manager.saga_create(&spec(vec![step(1, &[])]));
    assert_eq!(full.map_err(|error| error.code), Err(Code::Again), "the table is full until something finishes");
    for n in 1..=12 {
        manager.append(&saga(1, &format!("s{n}")), None).unwrap();
    }
    manager.append(&saga(1, "D"), None).unwrap();
    for id in 2..=5 {
        manager.append(&saga(id, "N +1 E s1 D"), None).unwrap();
    }
    let counts = manager.counts().unwrap();
    assert_eq!((counts.checkpoints, counts.checkpoints_failed), (2, 1), "it fits again");
    let too_big = manager.saga_create(&spec(vec![big_step(1, 8000)]));
    assert_eq!(too_big.map_err(|error| error.code), Err(Code::TooBig), "never, whatever finishes");
}

/// Damage, or no room for the first checkpoint: the program can still trim, but not what an earlier manager needs.
#[test]
fn a_failed_recovery_leaves_trims_as_they_were() {
    let begin = || {
        let mut machine = Machine::new(80, Durability::Sync);
        machine.options.max_retained_segments = 1;
        let log = machine.try_open().unwrap();
        fill_up_to_segment(&log, 4);
        (machine, log)
    };
    let check_trims = |log: &Log| {
        log.trim(log.last_seq()).unwrap();
        assert!(log.first_seq() > 8);
    };
    let (machine, log) = begin();
    let everything = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    assert_eq!(log.compact(&everything, &mut |asked| asked.record.seq != 2).unwrap().records_purged, 1);
    let refused = Manager::recover(&log, &machine.managed).err().unwrap();
    assert_eq!((refused.code, refused.seq), (Code::Corrupt, 2));
    check_trims(&log);

    let (machine, log) = begin();
    machine.disk.fail_from(Some(CallKind::Read), 0, 5);
    assert_eq!(Manager::recover(&log, &machine.managed).err().map(|error| error.code), Some(Code::Io));
    machine.disk.clear_faults();
    check_trims(&log);

    let (machine, log) = begin();
    let (manager, _) = Manager::recover(&log, &machine.managed).unwrap();
    let needed_seq = log.last_seq();
    drop(manager);
    fill_up_to_segment(&log, 8);
    machine.disk.fail_from(Some(CallKind::Read), 0, 5);
    assert_eq!(Manager::recover(&log, &machine.managed).err().map(|error| error.code), Some(Code::Io));
    machine.disk.clear_faults();
    check_trims(&log);
    assert!(log.first_seq() <= needed_seq);
    assert_eq!(Manager::recover(&log, &machine.managed).unwrap().1.from_seq, needed_seq);
}

/// Events without the checkpoint that stands for what was released in front of them: some may be missing.
#[test]
fn a_log_that_lost_its_beginning_is_refused() {
    let mut machine = Machine::new(78, Durability::Sync);
    machine.options.max_retained_segments = 1;
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 +2 E"), None).unwrap();
    fill_up_to_segment(&log, 3);
    // Legal by itself: only what is missing before it tells.
    let late = manager.append(&saga(2, "N +1 E"), None).unwrap();
    fill_up_to_segment(&log, 5);
    drop((manager, log));
    machine.disk.kill();
    // A program that trims without recovering first.
    let log = machine.try_open().unwrap();
    log.trim(late).unwrap();
    assert!(log.first_seq() > 1);
    let error = Manager::recover(&log, &machine.managed).err().unwrap();
    assert_eq!((error.code, error.seq), (Code::Corrupt, late));
    assert!(error.segment > 1);
    assert!(Manager::recover(&log, &machine.managed).is_err_and(|error| error.code == Code::Corrupt), "not Busy");
    // Records of the program's own alone are nobody's loss.
    let machine = Machine::new(79, Durability::Sync);
    let log = machine.try_open().unwrap();
    fill_up_to_segment(&log, 4);
    log.append(&own(b"x"), NO_SYNC).unwrap();
    log.trim(log.last_seq()).unwrap();
    let (_, found) = Manager::recover(&log, &machine.managed).unwrap();
    assert_eq!((found.records_replayed, found.checkpoints), (0, 0));
}
