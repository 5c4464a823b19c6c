//! Holds and the limit after something else went wrong: holds that were lost and set anew, a log that became shorter
//! than its holds say, names that a reader overlooks, a directory in the place of a file.
//!
//! Method: the whole log on the simulated disk; each test is one story.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use machine::*;
use twal::disk::sim::{CallKind, Keep};
use twal::{Code, Done, Durability, Entry, FindingKind, How, Log, Repair, SegmentState, SizePolicy};

#[path = "holds/machine.rs"]
#[allow(dead_code, reason = "the other test of holds needs the rest")]
mod machine;

/// The trim that failed is not done by the first hold that is set anew.
#[test]
fn a_reset_forgets_what_was_asked_for() {
    for trimmed_before in [false, true] {
        let machine = Machine::new(1);
        let log = machine.open().unwrap();
        fill(&log, 6).unwrap();
        log.hold_set("archive", 0).unwrap();
        log.hold_set("follower", 13).unwrap();
        if trimmed_before {
            log.trim(19).unwrap();
        }
        machine.disk.flip_bit(HOLDS, 9, 3);
        assert_eq!(code(log.trim(19)), Some(Code::Corrupt));
        log.hold_reset().unwrap();
        log.hold_set("follower", 13).unwrap();
        assert_eq!(log.first_seq(), 1, "nothing goes before the next trim");
        log.hold_set("archive", 0).unwrap();
        log.trim(19).unwrap();
        assert_eq!(holds(&log), BTreeMap::from([("archive".to_owned(), 1), ("follower".to_owned(), 13)]));
        assert_eq!(log.first_seq(), 1);
    }
}

/// The hold is set, and a name of what it let go could not be changed: called again, it goes.
#[test]
fn a_hold_that_is_set_again_releases_what_it_could_not() {
    let mut failures = 0;
    for k in 0..4 {
        let machine = Machine::new(1);
        let log = machine.open().unwrap();
        fill(&log, 6).unwrap();
        log.hold_set("a", 8).unwrap();
        log.trim(19).unwrap();
        machine.disk.fail_kind(CallKind::Rename, k, libc::EACCES);
        let set = log.hold_set("a", 14);
        failures += u64::from(set.is_err());
        machine.disk.clear_faults();
        log.hold_set("a", 14).unwrap();
        assert_eq!(log.first_seq(), 13, "rename {k}: {set:?}");
    }
    assert!(failures >= 3, "{failures}");
}

/// A reader that has read nothing since it was opened holds what is there by now, and not only what was there then.
#[test]
fn a_reader_holds_what_is_there_by_now() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    log.hold_set("mine", 0).unwrap();
    append(&log).unwrap();
    let reader = machine.open_to_read();
    let before = reader.last_seq();
    fill(&log, 3).unwrap();
    let last = log.durable_seq();
    assert!(last > before + 1);
    reader.hold_set("follower", last).unwrap();
    assert_eq!(holds(&log)["follower"], last);
    let refused = reader.hold_set("follower", last + 2).unwrap_err();
    assert_eq!(refused.code, Code::Inval);
    assert!(refused.text.contains(&format!("that can be seen from here by now is {last}")), "{refused}");
}

/// Not every failure to read them is damage.
#[test]
fn what_cannot_be_read_now_is_not_reported_as_damage() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    log.hold_set("a", 0).unwrap();
    log.close().unwrap();
    machine.disk.fail_reads(HOLDS, 0..512, 1, libc::EIO);
    assert!(!machine.open_to_read().report().holds_damaged);
    machine.disk.flip_bit(HOLDS, 9, 3);
    assert!(machine.open_to_read().report().holds_damaged);
}

/// A crash came between the file of holds and the header that speaks of it: nothing is told to be kept by the file alone.
#[test]
fn holds_that_no_header_speaks_of_are_the_writers_to_mend() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 3).unwrap();
    log.close().unwrap();
    let later = Machine { disk: machine.disk.fork(2), options: machine.options.clone(), clock: machine.clock.clone() };
    let log = later.open().unwrap();
    log.hold_set("a", 1).unwrap();
    log.close().unwrap();
    machine.disk.put_file(HOLDS, &later.disk.content(HOLDS).unwrap());

    let reader = machine.open_to_read();
    assert_eq!(code(reader.hold_set("follower", 4)), Some(Code::State));
    let log = machine.open().unwrap();
    reader.hold_set("follower", 4).unwrap();
    machine.disk.set_keep(Keep::Nothing);
    machine.disk.power_cut();
    drop((log, reader));
    machine.disk.remove_file(HOLDS);
    let log = machine.open().unwrap();
    assert_eq!(code(log.trim(10)), Some(Code::Corrupt));
    assert_eq!(log.first_seq(), 1);
}

/// It poisons nothing, is told, and a repair moves it away.
#[test]
fn what_is_no_file_in_the_place_of_the_holds_is_moved_away() {
    for name in [HOLDS, "twal-holds-new"] {
        let machine = Machine::new(1);
        let log = machine.open().unwrap();
        fill(&log, 3).unwrap();
        log.hold_set("a", 1).unwrap();
        if name == HOLDS {
            machine.disk.remove_file(HOLDS);
        }
        machine.disk.put_what_is_no_file(name);
        assert_eq!(code(log.hold_set("a", 4)), Some(Code::Corrupt), "{name}");
        assert_eq!(code(log.hold_reset()), Some(Code::Corrupt), "{name}");
        append(&log).unwrap();
        log.close().unwrap();
        let told = if name == HOLDS { FindingKind::Holds } else { FindingKind::Name };
        assert_eq!(machine.verify(), [told], "{name}");
        let mut repair = repair(&machine);
        assert_eq!(repair.steps().iter().map(|step| step.file.as_str()).collect::<Vec<_>>(), [name]);
        repair.apply(Path::new("/backup"), true).unwrap();
        drop(repair);
        let log = machine.open().unwrap();
        if name == HOLDS {
            assert_eq!(code(log.hold_set("a", 4)), Some(Code::Corrupt), "they are lost");
            log.hold_reset().unwrap();
        }
        log.hold_set("a", 4).unwrap();
        log.trim(10).unwrap();
        assert_eq!((log.first_seq(), log.last_seq()), (4, 10));
        log.close().unwrap();
        assert_eq!(machine.verify(), []);
    }
}

// ---- a log that has become shorter

fn repair(machine: &Machine) -> Repair {
    let disk = Box::new((*machine.disk).clone());
    Repair::plan_on(disk, Path::new(DIR), &machine.options, machine.clock.clone()).unwrap()
}

/// Damages the segment `index` behind its first record and has the log repaired.
fn cut_at(machine: &Machine, index: u64, first_seq: u64) {
    let name = format!("twal-{index:016}-{first_seq:020}.sealed");
    assert!(machine.disk.content(&name).is_some(), "{name} of {:?}", machine.disk.names());
    machine.disk.flip_bit(&name, 8192 + 60, 3);
    repair(machine).apply(Path::new("/backup"), true).unwrap();
}

/// The archive would leave out the new segments, and a trim would take them.
#[test]
fn a_repaired_log_keeps_what_comes_behind_its_new_end() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    log.hold_set("archive", 0).unwrap();
    log.hold_set("follower", 0).unwrap();
    fill(&log, 9).unwrap();
    log.archive_done(8).unwrap();
    log.hold_set("follower", 25).unwrap();
    log.close().unwrap();
    cut_at(&machine, 4, 7);
    let log = machine.open().unwrap();
    let end = log.last_seq();
    assert!((6..9).contains(&end), "{end}");
    assert_eq!(log.hold_set("follower", end + 1).map_err(|error| error.text), Ok(()));
    fill(&log, 5).unwrap();
    log.trim(log.last_seq() + 1).unwrap();
    assert!(log.first_seq() <= end + 1, "{} of {end}", log.first_seq());
    let mut after = 0;
    let mut next = 0;
    while let Some(segment) = log.archive_next(after).unwrap() {
        assert!(next == 0 || segment.first_seq == next, "{segment:?}");
        (after, next) = (segment.index, segment.last_seq + 1);
    }
    assert_eq!(next, log.last_seq() + 1, "all of it is there to be archived");
    log.archive_done(after).unwrap();
    log.hold_set("follower", next).unwrap();
    assert_eq!(log.first_seq(), next);
    log.close().unwrap();
    assert_eq!(machine.verify(), []);
}

/// The segment that is begun anew stands behind one that was there before the first hold.
#[test]
fn a_repaired_log_remembers_its_holds() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 3).unwrap();
    log.hold_set("a", 1).unwrap();
    fill(&log, 2).unwrap();
    log.close().unwrap();
    let second = machine.disk.names().into_iter().find(|name| name.starts_with("twal-0000000000000002-")).unwrap();
    machine.disk.flip_bit(&second, 8, 3);
    repair(&machine).apply(Path::new("/backup"), true).unwrap();
    machine.disk.remove_file(HOLDS);
    let log = machine.open().unwrap();
    assert_eq!(log.last_seq(), 3);
    fill(&log, 1).unwrap();
    assert_eq!(code(log.trim(4)), Some(Code::Corrupt));
}

/// What came out before it is used, and no file is left that nobody knows of.
#[test]
fn a_trim_that_is_stopped_keeps_the_spares_it_made() {
    let mut machine = Machine::new(1);
    machine.options.max_retained_segments = 64;
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    log.trim(19).unwrap();
    log.close().unwrap();
    machine.options.max_retained_segments = 1;
    let log = machine.open().unwrap();
    let third = machine.disk.names().into_iter().find(|name| name.starts_with("twal-0000000000000003-")).unwrap();
    machine.disk.put_what_is_no_file(&third);
    assert_eq!(code(log.trim(19)), Some(Code::Corrupt));
    assert_eq!(log.stats().segments_recycled, 2);
    assert_eq!(log.segments().unwrap_err().segment, 3);
    append(&log).unwrap();
}

/// What it is set at has to be there after a power cut.
#[test]
fn a_hold_makes_durable_what_is_before_it() {
    let mut machine = Machine::new(1);
    machine.options.durability = Some(Durability::Async);
    let log = machine.open().unwrap();
    log.hold_set("follower", 0).unwrap();
    fill(&log, 2).unwrap();
    append(&log).unwrap();
    append(&log).unwrap();
    assert!(log.durable_seq() < 8);
    log.hold_set("follower", 8).unwrap();
    assert!(log.durable_seq() >= 7, "{}", log.durable_seq());
    machine.disk.set_keep(Keep::Nothing);
    machine.disk.power_cut();
    drop(log);
    let log = machine.open().unwrap();
    assert!(log.last_seq() >= 7, "{}", log.last_seq());
    assert_eq!(holds(&log), BTreeMap::from([("follower".to_owned(), 8)]));
}

// ---- the limit

/// It is queued when the log grows, and what it was to be called with may be gone when its turn comes.
#[test]
fn a_hint_that_was_taken_back_is_not_called_late() {
    for taken_back in [false, true] {
        let mut machine = Machine::new(1);
        machine.options.log_size_max = 4 * (64 << 10);
        machine.options.log_size_policy = Some(SizePolicy::Hint);
        let log = machine.open().unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        log.size_hint(Some(Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        })))
        .unwrap();
        let (inside, seen) = (log.clone(), Arc::clone(&calls));
        let done = Done::new(move |_, _| {
            // One call at a time: the hint waits for this one to end.
            fill(&inside, 6).unwrap();
            assert_eq!(seen.load(Ordering::Relaxed), 0);
            if taken_back {
                inside.size_hint(None).unwrap();
            }
        });
        log.sync_async(0, Some(done)).unwrap();
        log.tick();
        assert_eq!(log.last_seq(), 18);
        assert_eq!(calls.load(Ordering::Relaxed) == 0, taken_back);
        log.close().unwrap();
    }
}

fn full(log: &Log) -> u64 {
    loop {
        let data = [1; 8000];
        match log
            .append(&Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false }, How::default())
        {
            Ok(seq) => assert!(seq < 10_000),
            Err(error) if error.code == Code::NoSpc => return log.last_seq(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whatever retention asks for, what was trimmed makes room: at the least limit, and with the default retention.
#[test]
fn a_trim_of_a_full_log_makes_room() {
    for (retained, limit) in [(1, 3), (0, 3), (0, 6), (2, 4)] {
        let mut machine = Machine::new(1);
        machine.options.max_retained_segments = retained;
        machine.options.log_size_max = limit * (64 << 10);
        let log = machine.open().unwrap();
        let mut last = full(&log);
        for round in 0..20 {
            log.trim(last + 1).unwrap();
            let next = full(&log);
            assert!(next > last, "{retained} retained, limit {limit}, round {round}");
            last = next;
            let segments = log.segments().unwrap();
            assert!(segments.iter().filter(|one| one.state == SegmentState::Archived).count() >= 1);
            let files = machine.disk.names().iter().filter(|name| *name != "twal-lock").count();
            assert!(files as u64 <= limit, "{:?}", machine.disk.names());
        }
        log.close().unwrap();
        assert_eq!(machine.verify(), []);
    }
    let mut machine = Machine::new(1);
    machine.options.log_size_max = 3 * (64 << 10) - 1;
    assert_eq!(code(machine.open()), Some(Code::Inval));
}

/// Its first hold needs a new segment, and is told that there is no room: nothing is held, and a trim makes room.
#[test]
fn a_first_hold_that_a_full_log_refuses_is_not_set() {
    let mut machine = Machine::new(1);
    machine.options.log_size_max = 4 * (64 << 10);
    let log = machine.open().unwrap();
    let last = full(&log);
    assert_eq!(code(log.hold_set("follower", 1)), Some(Code::NoSpc));
    assert_eq!(log.holds().unwrap(), []);
    log.trim(last + 1).unwrap();
    assert!(full(&log) > last);
    log.trim(log.last_seq() + 1).unwrap();
    log.hold_set("follower", 0).unwrap();
    assert_eq!(log.holds().unwrap().len(), 1);
    log.close().unwrap();
}

/// The program has trimmed once; the follower, in another process, moves on while the log is full.
#[test]
fn a_hold_that_a_reader_moves_on_makes_room() {
    let mut machine = Machine::new(1);
    machine.options.log_size_max = 5 * (64 << 10);
    let log = machine.open().unwrap();
    log.hold_set("follower", 1).unwrap();
    let last = full(&log);
    log.trim(last + 1).unwrap();
    assert_eq!(full(&log), last, "it is all held");
    let reader = machine.open_to_read();
    reader.hold_set("follower", last).unwrap();
    assert!(full(&log) > last);
    assert!(log.first_seq() <= last);
    log.close().unwrap();
    assert_eq!(machine.verify(), []);
}
