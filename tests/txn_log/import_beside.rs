//! Goal: while an import runs, nobody is shown what it brings, and what was there before goes on; one that never ended is
//! forgotten by everybody.
//! Method: what others do, they do where the import tells of a record; the files are those of `import.rs`.

use std::cell::Cell;
use std::path::Path;

use twal::base::clock::Clock;
use twal::disk::sim::{CallKind, SimDisk};
use twal::interchange::{ReadOptions, Reader, WriteOptions, Writer};
use twal::txn::interchange::{export, replay};
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::{Event, Family, Manager, Outcome, ResumeOptions, SagaSpec, SagaState, Status};
use twal::{Code, IterOptions, Log};

use super::compaction::SEAL;
use super::import::{begun, files, import, import_telling, machine, FIRST_ID};
use super::shards::Shards;
use super::{saga, transaction};

fn code_of<T: std::fmt::Debug>(done: Result<T, twal::Error>) -> Code {
    done.unwrap_err().code
}

#[test]
fn nobody_is_shown_an_import_before_its_end() {
    let (files, machine) = (files(), machine(1));
    let (log, manager) = begun(&machine);
    let own = manager.append(&transaction(2, "N +1 +2 P v1"), None).unwrap();
    let before = (manager.active().unwrap(), manager.counts().unwrap());
    let calls = Cell::new(0);
    import_telling(&manager, &files, &mut |_, _| {
        calls.set(calls.get() + 1);
        if calls.get() % 100 != 1 {
            return;
        }
        let shards = Shards::new(|_| Outcome::Done);
        let options = ResumeOptions { threads: 1, ..ResumeOptions::default() };
        let resumed = std::thread::scope(|scope| scope.spawn(|| manager.resume(&shards, &options)).join().unwrap());
        let resumed = resumed.unwrap();
        assert_eq!((resumed.calls, resumed.finished, resumed.left), (0, 0, Vec::new()));
        assert_eq!(manager.active().unwrap(), before.0);
        assert_eq!(manager.active_after((Family::Transaction, 2)).unwrap(), None);
        let counts = manager.counts().unwrap();
        let tombstones = calls.get() / 100;
        assert_eq!((counts.active_sagas, counts.active_transactions), {
            (before.1.active_sagas, before.1.active_transactions)
        });
        assert_eq!(counts.state_bytes, before.1.state_bytes + 24 * tombstones);
        assert_eq!(manager.saga_status(FIRST_ID).unwrap(), Status::Unknown);
        assert_eq!(manager.transaction(FIRST_ID).unwrap(), None);
        // Not even who guesses an id has a part in it.
        assert_eq!(code_of(manager.append(&saga(FIRST_ID, "s1"), None)), Code::State);
        assert_eq!(code_of(manager.saga_create(&SagaSpec::default())), Code::Busy);
        assert_eq!(code_of(manager.append(&transaction(900, "N"), None)), Code::Busy);
        assert_eq!((code_of(manager.checkpoint()), code_of(manager.compact(&SEAL))), (Code::Busy, Code::Busy));
        assert_eq!(code_of(import(&manager, &files)), Code::Busy);
        manager.tombstone(calls.get(), 1, b"", None).unwrap();
    })
    .unwrap();
    assert!(calls.get() > 500);
    assert!(matches!(manager.saga_status(FIRST_ID).unwrap(), Status::Active(SagaState::Executing)));
    let active = manager.active().unwrap();
    assert!(active.len() > before.0.len() + 10 && before.0.iter().all(|one| active.contains(one)) && own > 0);
    assert_eq!(manager.saga_create(&SagaSpec::default()).unwrap().id, 211);
    let active = manager.active().unwrap();
    drop((log, manager));
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished, manager.tombstones().unwrap().len()), (active, calls.get() as usize / 100 + 1));
}

/// What was begun before goes on in the middle: to its end, and a commit is rolled back.
#[test]
fn what_was_begun_before_goes_on() {
    let (files, machine) = (files(), machine(2));
    let (log, manager) = begun(&machine);
    manager.append(&transaction(2, "N +1 P v1 C D"), None).unwrap();
    let mut calls = 0;
    import_telling(&manager, &files, &mut |_, _| {
        calls += 1;
        match calls {
            1 => drop(manager.append(&saga(1, "s1"), None).unwrap()),
            300 => drop(manager.append(&saga(1, "D"), None).unwrap()),
            500 => drop(manager.append(&transaction(2, "R"), Some(true)).unwrap()),
            _ => {}
        }
    })
    .unwrap();
    assert_eq!(manager.saga_status(1).unwrap(), Status::Finished);
    let active = manager.active().unwrap();
    assert_eq!(active.iter().find(|one| one.family == Family::Transaction).unwrap().id, 2);
    drop((log, manager));
    let (_log, _manager, found) = machine.power_cut();
    assert_eq!(found.unfinished, active);
}

/// An import that fails in its second reading.
fn failed(log: &Log, manager: &Manager) {
    let files = files();
    let mut told = 0;
    let done = import_telling(manager, &files, &mut |_, _| {
        told += 1;
        if told % 256 == 1 {
            log.roll().unwrap();
        }
        if told == 600 {
            files.fail_kind(CallKind::Read, 0, libc::EIO);
        }
    });
    assert_eq!(code_of(done), Code::Io);
}

/// Who took part in an operation finds its own in the log, whatever was imported under its id and never was.
fn begin_again(manager: &Manager) {
    assert_eq!(manager.saga_create(&SagaSpec { start: true, ..SagaSpec::default() }).unwrap().id, 2);
    manager.append(&saga(FIRST_ID, "N +7 E"), None).unwrap();
    manager.append(&transaction(FIRST_ID + 1, "N +7 P v7 C D"), Some(true)).unwrap();
}

fn check_again(manager: &Manager) {
    assert_eq!(manager.saga(FIRST_ID).unwrap().unwrap().steps()[0].step.index, 7);
    assert_eq!(manager.active().unwrap().iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2, FIRST_ID]);
}

fn exported(log: &Log) -> (u64, Vec<u64>) {
    let (files, dir) = (SimDisk::new(1), Path::new("v26"));
    let writer = Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated()).unwrap();
    let done = export(log, &IterOptions::default(), writer, true).unwrap();
    let mut reader = Reader::open_on(files.as_ref(), dir, ReadOptions::default()).unwrap();
    let found = replay(&mut reader, STATE_BYTES_DEFAULT).unwrap();
    assert_eq!((found.wrong_count, done.left_out.headless), (0, 0), "{found:?}");
    (done.written.records, found.plan.iter().map(|one| one.id).collect())
}

/// Crashes with and without a recovery between the import and what comes next, and a compaction behind it.
#[test]
fn the_ids_of_an_import_that_failed_are_given_again() {
    for crashes in [false, true] {
        let machine = machine(3);
        let (mut log, mut manager) = begun(&machine);
        let (records, plan) = exported(&log);
        assert_eq!(plan, [1]);
        failed(&log, &manager);
        log.sync(0).unwrap();
        assert_eq!(exported(&log).1, [1], "it never was");
        if crashes {
            drop((log, manager));
            (log, manager, _) = machine.power_cut();
        }
        begin_again(&manager);
        check_again(&manager);
        drop((log, manager));
        let (log, manager, _) = machine.power_cut();
        check_again(&manager);
        let (written, plan) = exported(&log);
        assert!(written > records && written < records + 20, "{written} records, {records} before");
        assert_eq!(plan, [1, 2, FIRST_ID]);

        let done = manager.compact(&SEAL).unwrap();
        assert!(done.events_purged > 300, "{done:?}");
        let mut iter = log.iter(0).unwrap();
        while let Some(record) = iter.next_record().unwrap() {
            let of = Event::decode(record.kind, record.data).unwrap().operation();
            assert!(of.is_none_or(|(_, id)| id <= FIRST_ID + 1), "what never was is taken away: {of:?}");
        }
        assert_eq!(exported(&log).1, [1, 2, FIRST_ID]);
        drop((log, manager));
        let (_log, manager, _) = machine.power_cut();
        check_again(&manager);
    }
}

/// The beginning of an import that failed may be released before its end is.
#[test]
fn an_import_that_failed_is_not_exported_without_its_beginning() {
    let machine = machine(4);
    let (log, manager) = begun(&machine);
    manager.append(&saga(1, "s1 D"), None).unwrap();
    failed(&log, &manager);
    manager.checkpoint().unwrap();
    let mut starts = Vec::new();
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        if let Ok(Event::Saga(_, twal::txn::SagaEvent::Created { .. })) = Event::decode(record.kind, record.data) {
            starts.push(record.seq);
        }
    }
    log.trim(starts[starts.len() / 2]).unwrap();
    let first_seq = log.first_seq();
    let left = starts.iter().filter(|seq| **seq >= first_seq).count();
    assert!(first_seq > starts[1] && left > 0, "{first_seq} of {starts:?}");
    assert_eq!(exported(&log).1, []);
}
