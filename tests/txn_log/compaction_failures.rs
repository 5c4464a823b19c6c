//! Goal: a compaction by the manager that fails, for whatever reason, says so, and nothing is lost: the same operations are
//! there, now and after a crash, and when the reason is gone a compaction comes to its end.
//! Method: one history; every call of the simulated disk fails once; the disk is full; a segment in the middle is damaged.

use std::path::Path;

use twal::disk::sim::CallKind;
use twal::txn::{Manager, Unfinished};
use twal::{Code, Durability, Error, Log};

use super::compaction::{check_suffixes, check_works_on, history, records, Operations, SEAL};
use super::machine::Machine;

/// What fails, and how.
pub const FAILING: [(CallKind, i32); 12] = [
    (CallKind::Create, libc::EIO),
    (CallKind::Create, libc::ENOSPC),
    (CallKind::Open, libc::EMFILE),
    (CallKind::Rename, libc::EIO),
    (CallKind::Remove, libc::EIO),
    (CallKind::DirSync, libc::EIO),
    (CallKind::Read, libc::EIO),
    (CallKind::Write, libc::EIO),
    (CallKind::Sync, libc::EIO),
    (CallKind::Allocate, libc::ENOSPC),
    (CallKind::Stat, libc::EIO),
    (CallKind::Lock, libc::ENOMEM),
];

/// One of the errors that a call may end with, when a call of the disk has failed.
pub fn check_failure(log: &Log, error: &Error, what: &str) {
    let known = match error.code {
        Code::Io | Code::NoSpc | Code::NoMem => true,
        // What is prepared beside the call has failed.
        Code::Poisoned => log.stats().poisoned,
        _ => false,
    };
    assert!(known, "{what}");
}

fn machine(seed: u64) -> Machine {
    let mut machine = Machine::new(seed, Durability::Sync);
    machine.managed.keep_records = true;
    machine
}

/// What must be there whatever fails.
struct There {
    whole: Operations,
    active: Vec<Unfinished>,
}

impl There {
    fn of(log: &Log, manager: &Manager) -> There {
        There { whole: records(log).0, active: manager.active().unwrap() }
    }

    fn check(&self, log: &Log, manager: &Manager, what: &str) {
        assert_eq!(manager.active().unwrap(), self.active, "{what}");
        check_suffixes(log, manager, &self.whole);
    }

    /// The same after a crash, and what is left works on.
    fn check_crashed(&self, machine: &Machine, what: &str) {
        let (log, manager, found) = machine.recover();
        assert_eq!(found.unfinished, self.active, "{what}");
        self.check(&log, &manager, what);
        check_works_on(&log, &manager);
    }
}

#[test]
fn every_call_of_a_compaction_may_fail() {
    let (mut failed, mut went_on) = (0, 0);
    for (kind, errno) in FAILING {
        for call in 0.. {
            let machine = machine(call);
            let (log, manager) = history(&machine);
            let there = There::of(&log, &manager);
            let before = machine.disk.counts().of(kind);
            machine.disk.fail_kind(kind, call, errno);
            let done = manager.compact(&SEAL);
            let struck = machine.disk.counts().of(kind) - before > call;
            machine.disk.clear_faults();
            let what = format!("{kind:?} {call} fails with {errno}: {done:?}");
            if let Err(error) = &done {
                check_failure(&log, error, &what);
                assert_eq!(error.os_errno, errno, "{what}");
                failed += 1;
            } else if !struck {
                break;
            }
            if !log.stats().poisoned {
                there.check(&log, &manager, &what);
                went_on += u64::from(done.is_err());
            }
            drop((log, manager));
            if call % 2 == 0 {
                machine.disk.power_cut();
            } else {
                machine.disk.kill();
            }
            there.check_crashed(&machine, &what);
        }
    }
    println!("{failed} compactions failed, {went_on} of them on a log that goes on");
    assert!(failed > 30 && went_on > 10, "{failed}, {went_on}");
}

/// Room for the first of its files, for a few of them, for all: nothing is lost, and with room it comes to its end.
#[test]
fn a_compaction_on_a_full_disk_loses_nothing() {
    let (mut full, mut done) = (0, 0);
    for blocks in 0.. {
        let machine = machine(blocks);
        let (log, manager) = history(&machine);
        let there = There::of(&log, &manager);
        machine.disk.set_capacity(Some(machine.disk.room_taken() + blocks * 4096));
        let compacted = manager.compact(&SEAL);
        let what = format!("{blocks} blocks: {compacted:?}");
        assert!(!log.stats().poisoned, "{what}");
        there.check(&log, &manager, &what);
        match compacted {
            Ok(_) => done += 1,
            Err(error) => {
                assert_eq!(error.code, Code::NoSpc, "{what}");
                full += 1;
            }
        }
        machine.disk.set_capacity(None);
        if blocks % 2 == 0 {
            check_works_on(&log, &manager);
        } else {
            drop((log, manager));
            machine.disk.power_cut();
            there.check_crashed(&machine, &what);
        }
        if done == 3 {
            break;
        }
    }
    println!("{full} times the disk was full");
    assert!(full >= 3, "{full}");
}

/// It stops at the damage, and says where; what lies behind is as it was, and the log opens and goes on.
#[test]
fn a_compaction_stops_at_a_damaged_segment() {
    let mut machine = machine(1);
    let (log, manager) = history(&machine);
    let there = There::of(&log, &manager);
    log.roll().unwrap();
    let mut sealed: Vec<String> = machine.disk.names();
    sealed.retain(|name| name.ends_with(".sealed"));
    assert!(sealed.len() >= 3, "{sealed:?}");
    let middle = &sealed[sealed.len() / 2];
    let index: u64 = middle[5..21].parse().unwrap();
    machine.disk.flip_bit(middle, 4096 + 300, 3);
    let before = machine.disk.content(middle);
    for _ in 0..2 {
        let error = manager.compact(&SEAL).unwrap_err();
        assert_eq!((error.code, error.segment), (Code::Corrupt, index), "{error}");
    }
    assert!(log.stats().segments_compacted > 0, "those in front of it are done");
    assert_eq!((machine.disk.content(middle), log.stats().poisoned), (before, false));
    assert_eq!(manager.active().unwrap(), there.active);
    manager.checkpoint().unwrap();
    drop((log, manager));
    machine.disk.power_cut();
    // By itself it fails too, and that is counted and stops nothing.
    machine.managed.compact_records = 1;
    let (log, manager, found) = machine.recover();
    assert_eq!(found.unfinished, there.active);
    log.roll().unwrap();
    manager.checkpoint().unwrap();
    while manager.counts().unwrap().compactions_failed == 0 {
        std::thread::yield_now();
    }
    assert_eq!((manager.counts().unwrap().compactions, manager.active().unwrap()), (0, there.active));
    manager.checkpoint().unwrap();
    drop((log, manager));
    machine.disk.kill();
    let verified = twal::verify_on(machine.disk.as_ref(), Path::new("log"), &mut |_| true).unwrap();
    assert_eq!(verified.damaged, 1);
}
