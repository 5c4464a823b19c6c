//! Goal: a log that lost the checkpoint that a compaction went by is refused, wherever the compaction has left a hole: else
//! finished operations would come back to life, and ids and tokens be used a second time.
//! Method: a manager's compaction, then its checkpoint damaged, and a repair that drops what was acknowledged.

use std::path::Path;

use twal::txn::manager::inspect;
use twal::txn::{CompactionOptions, Manager};
use twal::{Code, Durability, Entry, Error, How, Log, Repair};

use super::compaction::SEAL;
use super::inspect::reader;
use super::machine::Machine;
use super::saga;

fn program(log: &Log, len: usize) {
    let entry = Entry { data: &vec![7; len], stream: 1, timestamp: None, kind: 0x0200, required: false };
    log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
}

fn machine(seed: u64) -> Machine {
    let mut machine = Machine::new(seed, Durability::Sync);
    machine.managed.keep_records = true;
    machine
}

/// The log is closed, its active segment loses its first record, the compaction's checkpoint, and is repaired.  What
/// recovery then says, and the number up to which the log reaches.
fn lose_the_last_checkpoint(machine: &Machine, log: Log, manager: Manager) -> (Error, u64) {
    let checkpoint_seq = manager.counts().unwrap().checkpoint_seq;
    drop(manager);
    log.close().unwrap();
    drop(log);
    let names = machine.disk.names();
    let active = names.iter().find(|name| name.ends_with(".active")).unwrap();
    machine.disk.flip_bit(active, 4096 + 60, 3);
    assert_eq!(machine.try_open().err().map(|error| error.code), Some(Code::Corrupt));
    let disk = Box::new((*machine.disk).clone());
    let mut repair = Repair::plan_on(disk, Path::new("log"), &machine.options, machine.clock.clone()).unwrap();
    repair.apply(Path::new("/backup"), true).unwrap();
    drop(repair);
    let log = machine.try_open().unwrap();
    assert_eq!(log.last_seq(), checkpoint_seq - 1);
    let refused = Manager::recover(&log, &machine.managed).err().expect("records are missing");
    // Who only reads is told the same, beside the writer and without it.
    let reader = reader(machine);
    assert_eq!(inspect(&reader).err().as_ref(), Some(&refused));
    let last_seq = log.last_seq();
    log.close().unwrap();
    assert_eq!(inspect(&reader).err().as_ref(), Some(&refused));
    assert_eq!(inspect(&self::reader(machine)).err().as_ref(), Some(&refused));
    (refused, last_seq)
}

/// Nothing of the operations is there any more: their ids would be given a second time.
#[test]
fn a_log_without_any_trace_of_its_operations_is_refused() {
    for records in [0, 5] {
        let machine = machine(records);
        let log = machine.try_open().unwrap();
        (0..records).for_each(|_| program(&log, 9));
        let (manager, _) = Manager::recover(&log, &machine.managed).unwrap();
        for id in 1..=30 {
            manager.append(&saga(id, "N A"), None).unwrap();
        }
        let done = manager.compact(&SEAL).unwrap();
        assert_eq!((done.events_purged, done.records_kept), (60, records));
        let (refused, last_seq) = lose_the_last_checkpoint(&machine, log, manager);
        assert_eq!((refused.code, refused.seq, last_seq), (Code::Corrupt, records + 1, records + 61), "{refused:?}");
    }
}

/// An older checkpoint is there, which knows the operation as unfinished; its end was behind that, and is gone.
#[test]
fn a_log_that_ends_in_a_hole_is_refused() {
    let mut machine = machine(7);
    machine.options.segment_size = 1 << 20;
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    log.roll().unwrap();
    manager.checkpoint().unwrap();
    (0..8).for_each(|_| program(&log, 120_000));
    log.roll().unwrap();
    let ended_seq = manager.append(&saga(1, "s1 D"), None).unwrap();
    let done = manager.compact(&CompactionOptions { saving_min: 100_000, ..SEAL }).unwrap();
    assert_eq!((done.events_purged, done.checkpoints_purged), (5, 1), "the second one saves too little: {done:?}");
    let (refused, last_seq) = lose_the_last_checkpoint(&machine, log, manager);
    assert_eq!((refused.code, refused.seq, last_seq), (Code::Corrupt, ended_seq, ended_seq + 1), "{refused:?}");
}
