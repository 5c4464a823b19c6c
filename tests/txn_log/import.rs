//! Goal: an import that is stopped, or fails, anywhere leaves all of what the files hold or nothing, and a log that opens and
//! works on; no resume asks for what is finished in the files.
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
use twal::txn::{
    plan, Direction, Event, Family, Manager, Outcome, Rebuild, ResumeOptions, Rules, SagaSpec, Status, Table,
};
use twal::{Code, Durability, Entry, Error, How, Log};

use super::compaction_failures::{check_failure, FAILING};
use super::machine::Machine;
use super::shards::{Effect, Shards};
use super::{saga, transaction};

/// Ids in the files are above those in the log.
pub const FIRST_ID: u64 = 101;
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
pub fn files() -> Arc<SimDisk> {
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

pub fn import(manager: &Manager, files: &SimDisk) -> Result<Import, Error> {
    import_telling(manager, files, &mut |_, _| {})
}

pub fn import_telling(manager: &Manager, files: &SimDisk, told: &mut dyn FnMut(u64, u64)) -> Result<Import, Error> {
    let open = || Reader::open_on(files, Path::new("v26"), ReadOptions::default());
    manager.import(&open, told)
}

/// A log with a saga that executes and a transaction that is finished.
pub fn begun(machine: &Machine) -> (Log, Manager) {
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    manager.append(&transaction(1, "N +1 A"), None).unwrap();
    manager.append(&transaction(1, "B"), Some(true)).unwrap();
    (log, manager)
}

/// So small a ring that an import is written while it appends.
pub fn machine(seed: u64) -> Machine {
    let mut machine = Machine::new(seed, Durability::Sync);
    machine.options.ring_size = 32 << 10;
    machine.options.append_timeout_us = 1000;
    machine.managed.keep_records = true;
    machine
}

/// Every event that counts, with its number: what was imported behind a marker counts when its end is there.
fn events_of(log: &Log) -> Vec<(u64, Event)> {
    let (mut events, mut imported, mut highest) = (Vec::new(), Vec::new(), None);
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        if record.kind == FILLER {
            continue;
        }
        match Event::decode(record.kind, record.data).unwrap() {
            Event::ImportStarted { saga_highest, transaction_highest } => {
                imported.clear();
                highest = Some([saga_highest, transaction_highest]);
            }
            Event::ImportEnded => {
                events.append(&mut imported);
                highest = None;
            }
            Event::Checkpoint(_) | Event::ImportAbandoned { .. } => {
                imported.clear();
                highest = None;
            }
            event => {
                let (family, id) = event.operation().unwrap();
                let is_above = highest.is_some_and(|highest| id > highest[family as usize - 1]);
                if is_above { &mut imported } else { &mut events }.push((record.seq, event));
            }
        }
    }
    events
}

/// What a clean import makes of the log.
struct Whole {
    events: Vec<(u64, Event)>,
    /// Events that were there before.
    before: usize,
    /// What a resume does, of what the files hold as not finished.
    effects: Vec<Effect>,
}

/// What was there before and is not finished.
const BEGUN: Effect = (1, 1, Direction::Execute);

/// What a resume does: everything that it is about is finished.
fn resume(manager: &Manager) -> Vec<Effect> {
    let shards = Shards::new(|_| Outcome::Done);
    let resumed = manager.resume(&shards, &ResumeOptions { threads: 1, ..ResumeOptions::default() }).unwrap();
    assert_eq!(resumed.left, []);
    let mut effects = shards.memory.into_inner().unwrap().effects;
    effects.sort();
    effects
}

impl Whole {
    fn new(files: &SimDisk) -> Whole {
        let machine = machine(3);
        let (log, manager) = begun(&machine);
        let (before, last) = (events_of(&log).len(), log.last_seq());
        let mut told = Vec::new();
        let import = import_telling(&manager, files, &mut |_, seq| told.push(seq)).unwrap();
        assert!(import.added > 10, "{import:?}");
        assert_eq!((import.first_seq, import.last_seq), (last + 2, log.last_seq() - 1), "between its markers");
        assert_eq!((told.len() as u64, log.durable_seq()), (import.imported, log.last_seq()));
        let events = events_of(&log);
        assert_eq!(events.len() - before, (import.imported + import.added) as usize);
        // Nobody runs what an import brings unfinished: a resume finishes it, and leaves alone what was begun beside it.
        let unfinished = manager.active().unwrap().len();
        let effects = resume(&manager);
        assert!(unfinished > 10 && effects.len() > unfinished, "{unfinished}, {effects:?}");
        assert_eq!(manager.active().unwrap().iter().map(|one| one.id).collect::<Vec<_>>(), [1]);
        Whole { events, before, effects }
    }

    /// What is there is what was there before, and all of the import or nothing; the manager knows exactly that.
    /// Returns whether all of it is there.
    fn check(&self, log: &Log, manager: &Manager) -> bool {
        let there = events_of(log);
        let is_there = there.len() > self.before;
        assert!(there == self.events[..if is_there { self.events.len() } else { self.before }], "{}", there.len());
        let mut table = Table::new();
        there.iter().for_each(|(seq, event)| table.apply(*seq, event, Rules::Strict).unwrap());
        assert_eq!(manager.active().unwrap(), plan::plan(&table));
        is_there
    }

    /// The same after a crash; and the log works on: a resume asks for what is not finished in what is there and for nothing
    /// else, and the files are imported anew if nothing of them is there, else refused.
    fn check_crashed(&self, machine: &Machine, files: &SimDisk) -> bool {
        let (log, manager, found) = machine.recover();
        let is_there = self.check(&log, &manager);
        assert_eq!(found.unfinished, manager.active().unwrap());
        let own = [BEGUN];
        if is_there {
            assert_eq!(resume(&manager), [&own, &self.effects[..]].concat());
            let last = log.last_seq();
            assert_eq!((import(&manager, files).unwrap_err().code, log.last_seq()), (Code::Exists, last));
        } else {
            assert_eq!(resume(&manager), own);
            let again = import(&manager, files).unwrap();
            assert_eq!((again.imported + again.added) as usize, self.events.len() - self.before);
            assert_eq!(resume(&manager), self.effects);
        }
        drop((log, manager));
        let (_log, _manager, found) = machine.power_cut();
        assert_eq!(found.unfinished, []);
        is_there
    }
}

#[test]
fn a_stop_at_every_step_of_an_import_leaves_all_or_nothing() {
    let files = files();
    let whole = Whole::new(&files);
    let mut ends = [0, 0];
    for stop in [Stop::PowerCut, Stop::Kill] {
        for step in 0.. {
            let machine = machine(step);
            let (log, manager) = begun(&machine);
            machine.disk.stop_at(machine.disk.steps() + step, stop);
            let done = import(&manager, &files);
            drop((log, manager));
            let struck = machine.disk.restart();
            let is_there = whole.check_crashed(&machine, &files);
            assert!(done.is_err() || is_there, "acknowledged, and not there");
            ends[usize::from(is_there)] += 1;
            if !struck {
                break;
            }
        }
    }
    println!("{ends:?}: nothing is there, all is");
    assert!(ends[0] > 20 && ends[1] >= 2, "{ends:?}");
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
            let done = import(&manager, &files);
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
                log.sync(0).unwrap();
                assert_eq!(whole.check(&log, &manager), done.is_ok(), "{what}");
                went_on += u64::from(done.is_err());
            }
            drop((log, manager));
            if call % 2 == 0 {
                machine.disk.power_cut();
            } else {
                machine.disk.kill();
            }
            let is_there = whole.check_crashed(&machine, &files);
            assert!(is_there || done.is_err(), "{what}");
        }
    }
    println!("{failed} imports failed, {went_on} of them on a log that goes on");
    assert!(failed > 20 && went_on > 0, "{failed}, {went_on}");
}

const FILLER: u16 = 0x0200;

/// Appends records of the program until not one more has room.
fn fill(log: &Log) {
    for len in [1000, 100, 0] {
        let data = vec![1; len];
        let entry = Entry { data: &data, stream: 0, timestamp: None, kind: FILLER, required: false };
        while log.append(&entry, How { sync: Some(false), no_wait: false }).is_ok() {}
    }
}

/// The room ends in the import, and there is none to say that it never was: until there is, nothing is begun, on this log and
/// after a crash; then an operation is, or another import.
#[test]
fn an_import_onto_a_full_disk_says_so() {
    let files = files();
    let whole = Whole::new(&files);
    for next in ["a saga", "an import", "a crash"] {
        let machine = machine(5);
        let (log, manager) = begun(&machine);
        machine.disk.set_capacity(Some(machine.disk.room_taken()));
        let mut told = 0;
        let error = import_telling(&manager, &files, &mut |_, _| {
            told += 1;
            fill(&log);
        })
        .unwrap_err();
        assert_eq!((error.code, log.stats().poisoned), (Code::NoSpc, false), "{error}");
        assert!(told > 0, "the room ends in the middle");
        log.sync(0).unwrap();
        assert!(!whole.check(&log, &manager));
        let error = manager.saga_create(&SagaSpec::default()).unwrap_err();
        assert_eq!((error.code, log.stats().poisoned), (Code::NoSpc, false), "{error}");
        if next == "a crash" {
            drop((log, manager));
            machine.disk.power_cut();
            assert_eq!(machine.try_recover().map(drop).unwrap_err().code, Code::NoSpc);
            machine.disk.set_capacity(None);
            assert!(!whole.check_crashed(&machine, &files));
            continue;
        }
        machine.disk.set_capacity(None);
        if next == "an import" {
            let done = import(&manager, &files).unwrap();
            assert_eq!((done.imported + done.added) as usize, whole.events.len() - whole.before);
            assert_eq!(resume(&manager), whole.effects);
            continue;
        }
        assert_eq!(manager.saga_create(&SagaSpec { start: true, ..SagaSpec::default() }).unwrap().id, 2);
        drop((log, manager));
        let (_log, _manager, found) = machine.power_cut();
        assert_eq!(found.unfinished.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2]);
    }
}

/// Whatever is wrong with the files, whenever they are read, nothing is imported.
#[test]
fn files_that_cannot_be_read_are_not_imported() {
    let whole = Whole::new(&files());
    let mut appended = BTreeSet::new();
    for call in 0.. {
        let (machine, files) = (machine(call), files());
        let (log, manager) = begun(&machine);
        let (before, last) = (files.counts().of(CallKind::Read), log.last_seq());
        files.fail_kind(CallKind::Read, call, libc::EIO);
        let done = import(&manager, &files);
        let struck = files.counts().of(CallKind::Read) - before > call;
        files.clear_faults();
        if !struck {
            done.unwrap();
            break;
        }
        let error = done.expect_err("a read that failed");
        assert_eq!((error.code, log.stats().poisoned), (Code::Io, false), "{error}");
        log.sync(0).unwrap();
        assert!(!whole.check(&log, &manager));
        appended.insert(log.last_seq() > last);
        drop((log, manager));
        machine.disk.power_cut();
        whole.check_crashed(&machine, &files);
    }
    assert_eq!(appended.len(), 2, "in the first reading, and in the second");

    let (machine, files) = (machine(9), files());
    files.flip_bit("wal_segment_003.wal", 4000, 1);
    let (log, manager) = begun(&machine);
    let last = log.last_seq();
    let error = import(&manager, &files).unwrap_err();
    assert_eq!((error.code, error.segment, log.last_seq()), (Code::Corrupt, 3, last), "{error}");
    whole.check(&log, &manager);
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
        let (_log, manager, _) = machine.recover();
        let done = import(&manager, &files).unwrap();
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
    let (_log, manager, _) = machine.recover();
    let done = import(&manager, &files).unwrap();
    assert_eq!((done.imported, manager.active().unwrap().len()), (30 * 2 + 200 * 3, 30));
}

/// Files of 30 sagas that are not finished.
fn files_of_sagas(first_id: u64) -> Arc<SimDisk> {
    let (files, options) = (SimDisk::new(1), WriteOptions::default());
    let mut writer = Writer::create_on(files.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let mut payload = Vec::new();
    for (seq, event) in (1..).zip((first_id..first_id + 30).flat_map(|id| saga(id, "N E"))) {
        let kind = event.encode_short(&mut payload);
        writer.append(u8::try_from(kind).unwrap(), seq, 0, &payload).unwrap();
    }
    writer.finish().unwrap();
    files
}

/// What was imported has taken the room that it needs; that there is none for it again is not what is wrong.
#[test]
fn files_that_were_imported_exist_however_little_room_is_left() {
    let files = files_of_sagas(FIRST_ID);
    let mut machine = Machine::new(8, Durability::Sync);
    machine.options.record_size_max = 3000;
    let (log, manager, _) = machine.recover();
    import(&manager, &files).unwrap();
    let last_seq = log.last_seq();
    assert_eq!(import(&manager, &files).unwrap_err().code, Code::Exists);
    assert_eq!(import(&manager, &files_of_sagas(FIRST_ID + 30)).unwrap_err().code, Code::TooBig, "ids that are new");
    assert_eq!(log.last_seq(), last_seq);
}

/// The log's own commits are only remembered, and give way to what the files have unfinished, as to what is begun here.
#[test]
fn remembered_commits_of_the_log_leave_room_for_an_import() {
    let each = |letter: char| (1..=64).map(|shard| format!(" {letter}{shard}")).collect::<String>();
    let mut machine = Machine::new(9, Durability::Sync);
    machine.options.record_size_max = 10_000;
    let (_log, manager, _) = machine.recover();
    for id in 1..=2 {
        manager.append(&transaction(id, &format!("N{} P{} C D", each('+'), each('v'))), None).unwrap();
    }
    let remembered = manager.counts().unwrap().state_bytes;
    import(&manager, &files_of_sagas(FIRST_ID)).unwrap();
    let active = manager.active().unwrap();
    assert_eq!((active.len(), remembered > 8000), (30, true), "{remembered}");
    let (_log, _manager, found) = machine.power_cut();
    assert_eq!(found.unfinished, active);
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
        let imported = import(&manager, &files);
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
    import(&manager, &files).unwrap();
    assert_eq!(next(&manager), (6, 8));
    // Whoever reads it all, and not from that checkpoint on, finds no contradiction.
    let mut whole = Rebuild::new(Rules::Strict);
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        whole.record(record.seq, record.kind, record.data).unwrap();
    }
    assert_eq!(whole.plan(), manager.active().unwrap());
}
