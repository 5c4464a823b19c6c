//! Goal: what is exported of a compacted log is legal: an operation that lost its beginning is refused or counted, never
//! written.
//! Method: operations that begin in one segment and end in another, compacted; the files are replayed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twal::base::clock::Clock;
use twal::disk::sim::SimDisk;
use twal::disk::{Access, Disk, LockByte, LockKind};
use twal::interchange::{ReadOptions, Reader, WriteOptions, Writer};
use twal::txn::interchange::{export, export_log, replay, Exported, LeftOut, Replayed};
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::{Applied, CompactionOptions, Manager, Purge, SagaSpec};
use twal::{Code, Durability, Entry, Error, How, IterOptions, Log};

use super::compaction::SEAL;
use super::inspect::{at_open, idle, reader};
use super::machine::Machine;
use super::{saga, transaction};

/// What was exported, and what the files say.
fn exported(log: &Log, leave_out: bool) -> Result<(Exported, Replayed), Error> {
    let (files, dir) = (SimDisk::new(1), Path::new("v26"));
    let writer = Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated())?;
    let done = export(log, &IterOptions::default(), writer, leave_out)?;
    let mut reader = Reader::open_on(files.as_ref(), dir, ReadOptions::default())?;
    Ok((done, replay(&mut reader, STATE_BYTES_DEFAULT)?))
}

/// What finished is compacted away in the segment where it began, and not in the active one, where it ended.
#[test]
fn operations_that_lost_their_beginning_are_not_exported() {
    let mut machine = Machine::new(1, Durability::Sync);
    machine.managed.keep_records = true;
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N E"), None).unwrap(); // never finished: all ids are above a whole one's
    manager.append(&saga(2, "N E"), None).unwrap();
    manager.append(&transaction(1, "N +1 P v1 C"), None).unwrap();
    manager.append(&transaction(2, "N +1 P v1 C D"), None).unwrap();
    log.roll().unwrap();
    manager.append(&saga(2, "D"), None).unwrap();
    manager.append(&transaction(1, "D"), None).unwrap();
    let (done, found) = exported(&log, false).unwrap();
    assert_eq!((done.left_out, found.wrong_count, found.plan.len()), (LeftOut::default(), 0, 1));

    manager.compact(&CompactionOptions::default()).unwrap();
    manager.append(&saga(3, "N E"), None).unwrap();
    let end = manager.append(&transaction(2, "R"), None).unwrap();
    manager.append(&transaction(2, "S"), None).unwrap();
    let refused = exported(&log, false).unwrap_err();
    assert!(refused.code == Code::Unsupported && refused.seq < end, "the first of them: {refused}");
    let (done, found) = exported(&log, true).unwrap();
    assert_eq!((done.left_out.headless, done.left_out.headless_operations), (4, 3), "{done:?}");
    assert_eq!((found.wrong_count, found.isolated.len()), (0, 0), "{found:?}");
    assert_eq!(found.plan.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 3]);

    manager.compact(&SEAL).unwrap();
    let (done, found) = exported(&log, false).unwrap();
    assert_eq!((done.left_out.headless, found.wrong_count, found.plan.len()), (0, 0, 2));
}

/// Records that no manager wrote in this order: recovery refuses them, and so does an export.
#[test]
fn what_is_illegal_is_not_exported() {
    let machine = Machine::new(2, Durability::Sync);
    let log = machine.try_open().unwrap();
    let mut payload = Vec::new();
    for event in [saga(1, "N E D"), saga(2, "N D")].concat() {
        let kind = event.encode(&mut payload);
        let entry = Entry { data: &payload, stream: 0, timestamp: None, kind, required: true };
        log.append(&entry, How::default()).unwrap();
    }
    let refused = exported(&log, true).unwrap_err();
    assert_eq!((refused.code, refused.seq), (Code::Corrupt, 5), "{refused}");
}

/// An import would take them for damage.  Nor is a log damaged whose first of them is released: the next one stands behind
/// nothing then.
#[test]
fn ids_that_no_file_has_are_not_exported() {
    const HIGHEST: u64 = 1 << 63;
    let mut machine = Machine::new(4, Durability::Sync);
    machine.options.max_retained_segments = 1;
    let (log, manager, _) = machine.recover();
    manager.append(&saga(HIGHEST, "N E"), None).unwrap();
    assert_eq!(exported(&log, false).unwrap().1.plan.len(), 1, "the last that may be in a file");
    let high = manager.append(&saga(HIGHEST + 1, "N E"), None).unwrap();
    manager.append(&transaction(1, "N"), None).unwrap();
    let check = |records, operations, plan: &[u64]| {
        let refused = exported(&log, false).unwrap_err();
        assert_eq!(refused.code, Code::Unsupported, "{refused}");
        let (done, found) = exported(&log, true).unwrap();
        assert_eq!(done.left_out, LeftOut { high: records, high_operations: operations, ..LeftOut::default() });
        assert_eq!((found.wrong_count, found.plan.iter().map(|one| one.id).collect::<Vec<_>>()), (0, plan.to_vec()));
        refused.seq
    };
    assert_eq!(check(2, 1, &[HIGHEST, 1]), high);

    manager.append(&saga(HIGHEST, "D"), None).unwrap();
    manager.append(&transaction(1, "A B"), None).unwrap();
    log.roll().unwrap();
    manager.append(&saga(HIGHEST + 1, "D"), None).unwrap();
    let high = manager.append(&saga(HIGHEST + 2, "N E"), None).unwrap();
    manager.checkpoint().unwrap();
    assert!((2..high).contains(&log.first_seq()));
    check(3, 2, &[]);
    // A checkpoint that alone has it.
    log.roll().unwrap();
    manager.append(&transaction(2, "N"), None).unwrap();
    let only = manager.checkpoint().unwrap();
    let from_it = IterOptions { from_seq: only, ..IterOptions::default() };
    let (files, dir) = (SimDisk::new(1), Path::new("v26"));
    let writer = Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated()).unwrap();
    let left_out = export(&log, &from_it, writer, true).unwrap().left_out;
    assert_eq!((left_out.high, left_out.high_operations, left_out.headless_operations), (0, 1, 1));
    assert_eq!(manager.saga_create(&SagaSpec::default()).unwrap().id, HIGHEST + 3);
}

/// Each once, however many checkpoints hold it; also where only a checkpoint does.
#[test]
fn what_is_said_of_streams_is_counted_once() {
    let mut machine = Machine::new(3, Durability::Sync);
    machine.managed.keep_records = true;
    let (log, manager, _) = machine.recover();
    let said = |before: i64| {
        manager.tombstone(5, 2, b"n", None).unwrap();
        manager.purge(5, Purge { before, tag: 1, purged: 0 }, None).unwrap();
        manager.applied(6, Applied { epoch: 1, position: 1 }, None).unwrap();
    };
    let counted = |log: &Log| exported(log, true).unwrap().0.left_out;
    said(9);
    for _ in 0..3 {
        manager.checkpoint().unwrap();
        assert_eq!(counted(&log), LeftOut { streams: 3, ..LeftOut::default() });
    }
    said(8); // the purge stands beside the one of a later time
    assert_eq!(counted(&log).streams, 6);
    log.roll().unwrap();
    manager.checkpoint().unwrap();
    log.trim(log.last_seq()).unwrap();
    assert_eq!(exported(&log, false).unwrap_err().code, Code::Unsupported);
    assert_eq!(counted(&log).streams, 4, "a tombstone, two purges and a marker stand in the checkpoint");
    manager.applied(6, Applied { epoch: 1, position: 2 }, None).unwrap();
    manager.checkpoint().unwrap();
    assert_eq!(counted(&log).streams, 5);
}

/// The oldest is asked for, and goes while it is read: what is the oldest then is exported.
#[test]
fn what_is_released_while_it_is_exported_is_not_missed() {
    let lives = [false, true].into_iter().flat_map(|read_only| (0..2).map(move |left| (read_only, left)));
    for (read_only, left) in lives {
        let mut machine = Machine::new(3, Durability::Sync);
        machine.options.max_retained_segments = 1;
        let (log, manager, _) = machine.recover();
        for id in 1..=4 {
            manager.append(&saga(id, "N E D"), None).unwrap();
            log.roll().unwrap();
        }
        manager.append(&saga(5, "N E"), None).unwrap();
        idle(&machine, &log);
        let exported_log = if read_only { reader(&machine) } else { log.clone() };
        let until_seq = exported_log.durable_seq();
        let beside = log.clone();
        let release = move || {
            manager.checkpoint().unwrap();
            beside.tick();
        };
        at_open(&machine.disk, left, Box::new(release));
        let (files, dir) = (SimDisk::new(1), Path::new("v26"));
        let writer = || Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated());
        let all = |from_seq| export_log(&exported_log, (from_seq, until_seq), &writer, true);
        let done = all(0).unwrap();
        assert!(log.first_seq() > 1, "released");
        assert!((1..until_seq).contains(&done.written.records), "read_only {read_only}, open {left}: {done:?}");
        // Nothing but what the last of its begins has written.
        let mut files_read = Reader::open_on(files.as_ref(), dir, ReadOptions::default()).unwrap();
        assert_eq!(replay(&mut files_read, STATE_BYTES_DEFAULT).unwrap().summary.last_seq, until_seq);
        assert_eq!(all(1).unwrap_err().code, Code::Trimmed, "asked for by number");
    }
}

/// Commits over three segments, each of which has a part of every one, a checkpoint behind them, and what never ends.
fn committed() -> (Machine, Log, Manager) {
    let mut machine = Machine::new(6, Durability::Sync);
    machine.managed.keep_records = true;
    let (log, manager, _) = machine.recover();
    for part in ["N +1 P", "v1 C", "D"] {
        for id in 1..=3 {
            manager.append(&transaction(id, part), None).unwrap();
        }
        log.roll().unwrap();
    }
    manager.append(&transaction(4, "N"), None).unwrap();
    manager.checkpoint().unwrap();
    idle(&machine, &log);
    (machine, log, manager)
}

/// Exports all of `log` that is durable now, and replays it.
fn exported_whole(log: &Log) -> Result<(Exported, Replayed), Error> {
    let (files, dir) = (SimDisk::new(1), Path::new("v26"));
    let writer = || Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated());
    let done = export_log(log, (0, log.durable_seq()), &writer, true)?;
    let mut reader = Reader::open_on(files.as_ref(), dir, ReadOptions::default())?;
    Ok((done, replay(&mut reader, STATE_BYTES_DEFAULT)?))
}

/// A compaction at each open in turn, of all segments or of the first two: no commit is exported without its end, and
/// none is refused because its middle is not there.
#[test]
fn what_is_compacted_while_it_is_exported_is_no_mixture() {
    for (read_only, held) in [(false, false), (false, true), (true, false), (true, true)] {
        for left in 0.. {
            let (machine, log, manager) = committed();
            let third_seq = log.segments().unwrap()[2].first_seq;
            if held {
                log.hold_set("third", third_seq).unwrap();
            }
            let exported_log = if read_only { reader(&machine) } else { log.clone() };
            let acted = Arc::new(AtomicBool::new(false));
            let (acts, beside, clock) = (Arc::clone(&acted), log.clone(), machine.clock.clone());
            let compact = move || {
                assert!(manager.compact(&SEAL).unwrap().events_purged > 0);
                clock.pass(Duration::from_secs(1));
                beside.tick();
                acts.store(true, Ordering::Relaxed);
            };
            at_open(&machine.disk, left, Box::new(compact));
            let what = format!("read_only {read_only}, held {held}, open {left}");
            let (done, found) = exported_whole(&exported_log).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let unfinished: Vec<_> = found.plan.iter().map(|one| one.id).collect();
            assert_eq!((unfinished, found.wrong_count, found.isolated.len()), (vec![4], 0, 0), "{what}");
            let (whole, headless) = (done.left_out.headless == 0, if held { 3 } else { 0 });
            assert!(whole || done.left_out.headless == headless, "{what}: {done:?}");
            if !acted.load(Ordering::Relaxed) {
                assert!(left >= 6, "{left} opens only");
                break;
            }
        }
    }
}

/// At each reading the first segment is compacted when it was noted which file that is: the export begins again for a
/// while, and leaves no file when it gives up.
#[test]
fn what_is_compacted_at_each_reading_is_busy() {
    for read_only in [false, true] {
        let mut machine = Machine::new(7, Durability::Sync);
        machine.options.segment_size = 1 << 20;
        machine.managed.keep_records = true;
        let (log, manager, _) = machine.recover();
        for id in 1..=30 {
            manager.append(&transaction(id, "N +1"), None).unwrap();
        }
        log.roll().unwrap();
        manager.append(&transaction(31, "N"), None).unwrap();
        idle(&machine, &log);
        let exported_log = if read_only { reader(&machine) } else { log.clone() };
        let (files, dir, readings) = (SimDisk::new(1), Path::new("v26"), AtomicU32::new(0));
        let writer = || {
            let id = u64::from(readings.fetch_add(1, Ordering::Relaxed)) + 1;
            let (clock, log, manager) = (machine.clock.clone(), log.clone(), manager.clone());
            let finish = move || {
                manager.append(&transaction(id, "P v1 C D"), None).unwrap();
                assert!(manager.compact(&SEAL).unwrap().events_purged > 0);
                clock.pass(Duration::from_millis(80));
                log.tick();
            };
            at_open(&machine.disk, 0, Box::new(finish));
            Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated())
        };
        let until_seq = exported_log.durable_seq();
        let busy = export_log(&exported_log, (0, until_seq), &writer, true).unwrap_err();
        assert_eq!((busy.code, readings.load(Ordering::Relaxed)), (Code::Busy, 25), "{busy}");
        let none = Reader::open_on(files.as_ref(), dir, ReadOptions::default()).err().map(|error| error.code);
        assert_eq!(none, Some(Code::NotFound));
        let (done, found) = exported_whole(&exported_log).unwrap();
        assert_eq!((done.left_out.headless_operations, found.wrong_count), (0, 0));
        assert!(found.plan.iter().map(|one| one.id).eq(26..=31), "{:?}", found.plan);
    }
}

/// Whoever puts a file in the place of a segment's holds its lock for a moment, in which nobody can read it: a reading that
/// comes there then has not come to the log's end, and is made again.
#[test]
fn an_export_does_not_end_in_front_of_a_segment_that_is_locked() {
    let whole = exported_whole(&committed().1).unwrap();
    for read_only in [false, true] {
        let mut again = 0;
        for left in 0.. {
            let (machine, log, _manager) = committed();
            let exported_log = if read_only { reader(&machine) } else { log.clone() };
            let (acted, locked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
            let (acts, locks, disk) = (Arc::clone(&acted), Arc::clone(&locked), Arc::clone(&machine.disk));
            let lock = move || {
                let third = disk.names().into_iter().find(|name| name.starts_with("twal-0000000000000003-")).unwrap();
                let file = disk.open_dir(Path::new("log"), false).unwrap().open(&third, Access::Write).unwrap();
                let is_locked = file.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap();
                *locks.lock().unwrap() = is_locked.then_some(file);
                acts.store(true, Ordering::Relaxed);
            };
            at_open(&machine.disk, left, Box::new(lock));
            let (files, dir, readings) = (SimDisk::new(1), Path::new("v26"), AtomicU32::new(0));
            let writer = || {
                if readings.fetch_add(1, Ordering::Relaxed) > 0 {
                    *locked.lock().unwrap() = None;
                }
                Writer::create_on(files.as_ref(), dir, WriteOptions::default(), Clock::simulated())
            };
            let what = format!("read_only {read_only}, open {left}");
            let done = export_log(&exported_log, (0, exported_log.durable_seq()), &writer, true)
                .unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(done, whole.0, "{what}");
            let mut written = Reader::open_on(files.as_ref(), dir, ReadOptions::default()).unwrap();
            assert_eq!(replay(&mut written, STATE_BYTES_DEFAULT).unwrap(), whole.1, "{what}");
            again += readings.load(Ordering::Relaxed) - 1;
            if !acted.load(Ordering::Relaxed) {
                break;
            }
        }
        assert!(again >= 3, "read again {again} times only");
    }
}
