//! Goal: an import that is stopped, or fails, anywhere leaves a prefix of its batches, each whole, and a log that opens and
//! works on; files that cannot be read leave nothing.
//! Method: files of a few hundred operations on a simulated disk of their own, imported into a log that has operations
//! already; stopped at every step, failed at every call of either disk, on a disk that is full.  The judge is what a clean
//! import appends.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::disk::sim::{CallKind, SimDisk, Stop};
use twal::interchange::{ReadOptions, Reader, WriteOptions, Writer};
use twal::txn::interchange::Import;
use twal::txn::{plan, Event, Family, Manager, Outcome, Rebuild, ResumeOptions, Rules, SagaSpec, Status, Table};
use twal::{Code, Durability, Error, Log};

use super::compaction_failures::{check_failure, FAILING};
use super::machine::Machine;
use super::shards::Shards;
use super::{saga, transaction};

/// Ids in the files are above those in the log.
const FIRST_ID: u64 = 101;
const OPERATIONS: u64 = 110;
const GROUP: usize = 22;

/// How a saga, and a transaction, go on behind their beginnings; some as the original's short forms have it, for which an
/// import adds an event; some are not finished.
const SAGAS: [&str; 4] = ["s1 s2 D", "s1", "s1 f2 u1 U", "s1 s2 C u2"];
const TRANSACTIONS: [&str; 5] = ["v1 v2 C D", "v1", "v1 B", "v1 v2 C D R", "v1 v2"];

fn tail(words: &[&'static str], id: u64) -> &'static str {
    words[usize::try_from(id).unwrap() % words.len()]
}

/// Five files or so; all operations of a group are begun before the first of them goes on.
fn files() -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    let options = WriteOptions { file_records_max: 300, ..WriteOptions::default() };
    let mut writer = Writer::create_on(disk.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let begun = |id| [saga(id, "N +1 +2 E"), transaction(id, "N +1 +2 P")].concat();
    let ended = |id| [saga(id, tail(&SAGAS, id)), transaction(id, tail(&TRANSACTIONS, id))].concat();
    let ids: Vec<u64> = (FIRST_ID..FIRST_ID + OPERATIONS).collect();
    let group = |ids: &[u64]| -> Vec<Event> {
        ids.iter().flat_map(|id| begun(*id)).chain(ids.iter().flat_map(|id| ended(*id))).collect()
    };
    let mut payload = Vec::new();
    for (seq, event) in (1..).zip(ids.chunks(GROUP).flat_map(group)) {
        let kind = event.encode_short(&mut payload);
        writer.append(u8::try_from(kind).unwrap(), seq, -7, &payload).unwrap();
    }
    assert!(writer.finish().unwrap().files >= 4);
    disk
}

/// What an import told: numbers in the log, and the last number of each batch.
#[derive(Default)]
struct Told {
    numbers: Vec<u64>,
    ends: BTreeSet<u64>,
}

fn import(log: &Log, manager: &Manager, files: &SimDisk, told: &mut Told) -> Result<Import, Error> {
    let open = || Reader::open_on(files, Path::new("v26"), ReadOptions::default());
    manager.import(&open, &mut |_, seq| {
        told.numbers.push(seq);
        told.ends.insert(log.last_seq());
    })
}

/// A log with a saga that executes and a transaction that is finished.
fn begun(machine: &Machine) -> (Log, Manager) {
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    manager.append(&transaction(1, "N +1 A"), None).unwrap();
    manager.append(&transaction(1, "B"), Some(true)).unwrap();
    (log, manager)
}

/// So small a ring that an import is written while it appends.
fn machine(seed: u64) -> Machine {
    let mut machine = Machine::new(seed, Durability::Sync);
    machine.options.ring_size = 32 << 10;
    machine.options.append_timeout_us = 1000;
    machine.managed.keep_records = true;
    machine
}

/// Every event of the log, with its number.
fn events_of(log: &Log) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        match Event::decode(record.kind, record.data).unwrap() {
            Event::Checkpoint(_) => {}
            event => events.push((record.seq, event)),
        }
    }
    events
}

/// What a clean import makes of the log.
struct Whole {
    events: Vec<(u64, Event)>,
    ends: BTreeSet<u64>,
    /// Events that were there before.
    before: usize,
}

impl Whole {
    fn new(files: &SimDisk) -> Whole {
        let machine = machine(3);
        let (log, manager) = begun(&machine);
        let (before, mut told) = (events_of(&log).len(), Told::default());
        let last = log.last_seq();
        let import = import(&log, &manager, files, &mut told).unwrap();
        assert!(import.added > 10 && told.ends.len() >= 5, "{import:?}, {} batches", told.ends.len());
        assert_eq!((import.first_seq, import.last_seq, log.durable_seq()), (last + 1, log.last_seq(), log.last_seq()));
        Whole { events: events_of(&log), ends: told.ends, before }
    }

    /// What is there is what was there before and whole batches from the first on; the manager knows exactly that.
    /// Returns how many imported events there are.
    fn check(&self, log: &Log, manager: &Manager) -> usize {
        let there = events_of(log);
        assert!(self.events.starts_with(&there) && there.len() >= self.before, "{} events", there.len());
        let imported = there.len() - self.before;
        assert!(imported == 0 || self.ends.contains(&there[there.len() - 1].0), "a batch was cut: {imported} events");
        let mut table = Table::new();
        there.iter().for_each(|(seq, event)| table.apply(*seq, event, Rules::Strict).unwrap());
        assert_eq!(manager.active().unwrap(), plan::plan(&table));
        imported
    }

    /// The same after a crash; and the log works on: the files are imported anew if nothing of them is there, else refused,
    /// and what is not finished is what it was.
    fn check_crashed(&self, machine: &Machine, files: &SimDisk) -> usize {
        let (log, manager, found) = machine.recover();
        let imported = self.check(&log, &manager);
        assert_eq!(found.unfinished, manager.active().unwrap());
        let (last, mut told) = (log.last_seq(), Told::default());
        let again = import(&log, &manager, files, &mut told);
        if imported == 0 {
            assert_eq!(told.numbers.len() as u64, again.unwrap().imported);
        } else {
            assert_eq!((again.unwrap_err().code, log.last_seq(), told.numbers.len()), (Code::Exists, last, 0));
        }
        manager.append(&saga(1, "s1"), None).unwrap();
        manager.append(&saga(1, "D"), None).unwrap();
        let active = manager.active().unwrap();
        assert!(active.iter().all(|one| (one.family, one.id) != (Family::Saga, 1)));
        drop((log, manager));
        let (_log, _manager, found) = machine.power_cut();
        assert_eq!(found.unfinished, active);
        imported
    }
}

#[test]
fn a_stop_at_every_step_of_an_import_leaves_whole_batches() {
    let files = files();
    let whole = Whole::new(&files);
    let (mut parts, mut lives) = (BTreeSet::new(), 0);
    for stop in [Stop::PowerCut, Stop::Kill] {
        for step in 0.. {
            let machine = machine(step);
            let (log, manager) = begun(&machine);
            machine.disk.stop_at(machine.disk.steps() + step, stop);
            let done = import(&log, &manager, &files, &mut Told::default());
            drop((log, manager));
            let struck = machine.disk.restart();
            let imported = whole.check_crashed(&machine, &files);
            assert!(done.is_err() || imported == whole.events.len() - whole.before, "acknowledged, and not there");
            parts.insert(imported);
            lives += 1;
            if !struck {
                break;
            }
        }
    }
    println!("{lives} lives, {} different ends", parts.len());
    assert!(parts.len() >= 4, "{parts:?}");
}

#[test]
fn every_call_of_an_import_may_fail() {
    let files = files();
    let whole = Whole::new(&files);
    let (mut failed, mut went_on) = (0, 0);
    for (kind, errno) in FAILING {
        for call in 0.. {
            let machine = machine(call);
            let (log, manager) = begun(&machine);
            let before = machine.disk.counts().of(kind);
            machine.disk.fail_kind(kind, call, errno);
            let mut told = Told::default();
            let done = import(&log, &manager, &files, &mut told);
            let struck = machine.disk.counts().of(kind) - before > call;
            machine.disk.clear_faults();
            let what = format!("{kind:?} {call} fails with {errno}: {done:?}");
            if let Err(error) = &done {
                check_failure(&log, error, &what);
                failed += 1;
            } else if !struck {
                break;
            }
            if log.stats().poisoned {
                let refused = manager.append(&saga(1, "s1"), None).unwrap_err();
                assert_eq!(refused.code, Code::Poisoned, "{what}");
            } else {
                // What was told is there, and nothing else; it goes on.
                log.sync(0).unwrap();
                let imported = whole.check(&log, &manager);
                let last = told.numbers.last().copied().unwrap_or(whole.events[whole.before - 1].0);
                assert_eq!(whole.events[whole.before + imported - 1].0, last, "{what}");
                went_on += u64::from(done.is_err());
            }
            drop((log, manager));
            if call % 2 == 0 {
                machine.disk.power_cut();
            } else {
                machine.disk.kill();
            }
            whole.check_crashed(&machine, &files);
        }
    }
    println!("{failed} imports failed, {went_on} of them on a log that goes on");
    assert!(failed > 20 && went_on > 0, "{failed}, {went_on}");
}

/// The room ends anywhere in the import: it says so, what was told is there, and the log goes on when there is room again.
#[test]
fn an_import_onto_a_full_disk_says_so() {
    let files = files();
    let whole = Whole::new(&files);
    let machine = machine(5);
    let (log, manager) = begun(&machine);
    machine.disk.set_capacity(Some(machine.disk.room_taken()));
    let mut told = Told::default();
    let error = import(&log, &manager, &files, &mut told).unwrap_err();
    assert_eq!((error.code, log.stats().poisoned), (Code::NoSpc, false), "{error}");
    machine.disk.set_capacity(None);
    log.sync(0).unwrap();
    let imported = whole.check(&log, &manager);
    assert!(imported > 0 && imported < whole.events.len() - whole.before, "{imported}");
    assert_eq!(whole.events[whole.before + imported - 1].0, *told.numbers.last().unwrap());
    drop((log, manager));
    machine.disk.power_cut();
    assert_eq!(whole.check_crashed(&machine, &files), imported);
}

/// Whatever is wrong with the files when they are read the first time, nothing is appended; and later nothing but whole
/// batches.
#[test]
fn files_that_cannot_be_read_are_not_imported() {
    let whole = Whole::new(&files());
    let (mut nothing, mut some) = (0, 0);
    for call in 0.. {
        let (machine, files) = (machine(call), files());
        let (log, manager) = begun(&machine);
        let before = files.counts().of(CallKind::Read);
        files.fail_kind(CallKind::Read, call, libc::EIO);
        let done = import(&log, &manager, &files, &mut Told::default());
        let struck = files.counts().of(CallKind::Read) - before > call;
        files.clear_faults();
        if !struck {
            done.unwrap();
            break;
        }
        let error = done.expect_err("a read that failed");
        assert_eq!((error.code, log.stats().poisoned), (Code::Io, false), "{error}");
        log.sync(0).unwrap();
        match whole.check(&log, &manager) {
            0 => nothing += 1,
            _ => some += 1,
        }
        drop((log, manager));
        machine.disk.power_cut();
        whole.check_crashed(&machine, &files);
    }
    assert!(nothing > 0 && some > 0, "{nothing}, {some}");

    let (machine, files) = (machine(9), files());
    files.flip_bit("wal_segment_003.wal", 4000, 1);
    let (log, manager) = begun(&machine);
    let last = log.last_seq();
    let error = import(&log, &manager, &files, &mut Told::default()).unwrap_err();
    assert_eq!((error.code, error.segment, log.last_seq()), (Code::Corrupt, 3, last), "{error}");
    whole.check(&log, &manager);
}

/// Nobody runs what an import brings unfinished: a resume finishes it, and leaves alone what was begun beside it.
#[test]
fn what_is_imported_can_be_resumed() {
    let (files, machine) = (files(), machine(8));
    let (log, manager) = begun(&machine);
    import(&log, &manager, &files, &mut Told::default()).unwrap();
    let unfinished = manager.active().unwrap().len();
    let shards = Shards::new(|_| Outcome::Done);
    let resumed = manager.resume(&shards, &ResumeOptions { threads: 1, ..ResumeOptions::default() }).unwrap();
    assert!(unfinished > 10, "{unfinished}");
    assert_eq!((resumed.finished, resumed.left), (u64::try_from(unfinished).unwrap() - 1, Vec::new()));
    assert_eq!(manager.active().unwrap().iter().map(|one| one.id).collect::<Vec<_>>(), [1]);
}

/// Commits that are only remembered give way to the next ones, in the first reading as in the log; what is rolled back is
/// there still.
#[test]
fn remembered_commits_do_not_fill_the_table() {
    let each = |letter: char| (1..=64).map(|shard| format!(" {letter}{shard}")).collect::<String>();
    let committed = format!("N{} P{} C D", each('+'), each('v'));
    let mut events: Vec<Event> = (1..=20).flat_map(|id| transaction(id, &committed)).collect();
    events.extend(transaction(20, "R S"));
    events.extend(transaction(21, "N +1 P"));
    let files = SimDisk::new(1);
    let options = WriteOptions::default();
    let mut writer = Writer::create_on(files.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let mut payload = Vec::new();
    for (seq, event) in (1..).zip(&events) {
        let kind = u8::try_from(event.encode_short(&mut payload)).unwrap();
        writer.append(kind, seq, 0, &payload).unwrap();
    }
    writer.finish().unwrap();
    for record_size_max in [5000, 10_000, 20_000] {
        let mut machine = Machine::new(7, Durability::Sync);
        machine.options.record_size_max = record_size_max;
        let (log, manager, _) = machine.recover();
        let done = import(&log, &manager, &files, &mut Told::default()).unwrap();
        assert_eq!((done.imported, done.left_out), (events.len() as u64, 0), "{record_size_max}");
        let active = manager.active().unwrap();
        assert_eq!(active.iter().map(|one| one.id).collect::<Vec<_>>(), [21]);
        let (_log, _manager, found) = machine.power_cut();
        assert_eq!(found.unfinished, active);
    }
}

/// The table has room for what is unfinished, and not for a whole batch on top of it before anything in it finishes.
#[test]
fn a_batch_ends_where_its_growth_would_not_fit() {
    let begun = (1..=30).flat_map(|id| saga(id, "N E"));
    let finished = (31..=230).flat_map(|id| saga(id, "N E D"));
    let files = SimDisk::new(1);
    let options = WriteOptions::default();
    let mut writer = Writer::create_on(files.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let mut payload = Vec::new();
    for (seq, event) in (1..).zip(begun.chain(finished)) {
        let kind = event.encode_short(&mut payload);
        writer.append(u8::try_from(kind).unwrap(), seq, 0, &payload).unwrap();
    }
    writer.finish().unwrap();
    let mut machine = Machine::new(8, Durability::Sync);
    machine.options.record_size_max = 4000;
    let (log, manager, _) = machine.recover();
    let done = import(&log, &manager, &files, &mut Told::default()).unwrap();
    assert_eq!((done.imported, manager.active().unwrap().len()), (30 * 2 + 200 * 3, 30));
}

/// Operations that contradict themselves are left out, and their ids are used: what is begun next, after any crash, never
/// has one of them.
#[test]
fn ids_of_what_is_left_out_are_used() {
    let events = [saga(3, "N E D"), transaction(7, "N +1 P v1 C v1"), saga(5, "N D")].concat();
    let files = SimDisk::new(1);
    let options = WriteOptions::default();
    let mut writer = Writer::create_on(files.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let mut payload = Vec::new();
    for (seq, event) in (1..).zip(&events) {
        let kind = event.encode_short(&mut payload);
        writer.append(u8::try_from(kind).unwrap(), seq, 0, &payload).unwrap();
    }
    writer.finish().unwrap();
    let next = |manager: &Manager| {
        let spec = SagaSpec::default();
        (manager.saga_create(&spec).unwrap().id, manager.transaction_create(None, [0; 32], &[]).unwrap().id)
    };
    let mut done = 0;
    for step in 0.. {
        let mut machine = Machine::new(step, Durability::Sync);
        machine.managed.checkpoint_interval = u64::MAX;
        let (log, manager, _) = machine.recover();
        machine.disk.stop_at(machine.disk.steps() + step, Stop::PowerCut);
        let imported = import(&log, &manager, &files, &mut Told::default());
        if let Ok(import) = &imported {
            let isolated = [(Family::Saga, 5), (Family::Transaction, 7)];
            assert_eq!((import.replayed.isolated.as_slice(), import.left_out), (isolated.as_slice(), 8));
            assert_eq!(manager.transaction_status(7).unwrap(), Status::Finished, "used, and nothing is known of it");
        }
        drop((log, manager));
        let struck = machine.disk.restart();
        let (_log, manager, found) = machine.recover();
        assert_eq!(found.unfinished, []);
        if imported.is_ok() {
            assert_eq!(next(&manager), (6, 8), "step {step}");
            done += 1;
        }
        if !struck {
            break;
        }
    }
    assert!(done > 0);

    // And without a crash.
    let machine = Machine::new(1, Durability::Sync);
    let (log, manager, _) = machine.recover();
    import(&log, &manager, &files, &mut Told::default()).unwrap();
    assert_eq!(next(&manager), (6, 8));
    // Whoever reads it all, and not from that checkpoint on, finds no contradiction.
    let mut whole = Rebuild::new(Rules::Strict);
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        whole.record(record.seq, record.kind, record.data).unwrap();
    }
    assert_eq!(whole.plan(), manager.active().unwrap());
}
