//! Files of a log that are not its own: another log's header, another log's segment, a twin's that went on by itself.
//!
//! Method: two logs on simulated disks; pieces of one are put into the other.  Nothing of the other log is ever taken
//! for the log's own, and nothing of its own is lost in silence.
#![forbid(unsafe_code)]

use std::path::Path;

use machine::{code, Machine, DIR};
use twal::{Acknowledged, Code, CompactOptions, Entry, Error, FindingKind, How, Log, Options, Repair, StepKind};

#[path = "holds/machine.rs"]
#[allow(dead_code, reason = "the tests of holds need the rest")]
mod machine;

fn append(log: &Log, whose: &str, records: u64) {
    for _ in 0..records {
        let entry = Entry { data: whose.as_bytes(), stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How::default()).unwrap();
    }
}

/// A log of which each segment holds so many records.
fn log_of(whose: &str, segments: &[u64]) -> Machine {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    go_on(&log, whose, segments);
    log.close().unwrap();
    machine
}

fn go_on(log: &Log, whose: &str, segments: &[u64]) {
    for (at, records) in segments.iter().enumerate() {
        if at > 0 {
            log.roll().unwrap();
        }
        append(log, whose, *records);
    }
}

fn segments(machine: &Machine) -> Vec<String> {
    machine.disk.names().into_iter().filter(|name| !name.contains("spare")).collect()
}

/// The same file of the other log takes the place of the one at `at`.
fn exchange(machine: &Machine, at: usize, other: &Machine) {
    let (name, theirs) = (&segments(machine)[at], &segments(other)[at]);
    machine.disk.overwrite(name, 0, &other.disk.content(theirs).unwrap());
}

fn plan(machine: &Machine) -> Result<Repair, Error> {
    Repair::plan_on(Box::new((*machine.disk).clone()), Path::new(DIR), &machine.options, machine.clock.clone())
}

fn steps(repair: &Repair) -> Vec<(StepKind, u64)> {
    let index = |file: &str| file[5..21].parse().unwrap();
    repair.steps().iter().map(|step| (step.kind, index(&step.file))).collect()
}

/// All records, and whose they are.
fn records(machine: &Machine) -> Vec<String> {
    let log = machine.open().unwrap();
    let mut iter = log.iter(0).unwrap();
    let mut records = Vec::new();
    while let Some(record) = iter.next_record().unwrap() {
        records.push(String::from_utf8(record.data.to_vec()).unwrap());
    }
    records
}

/// 512 bytes, and every frame of the only segment is none of this log's: that is no empty log.
#[test]
fn another_header_is_no_empty_log() {
    for ours in [512, 4096, 16384] {
        for theirs in [512, 4096, 16384] {
            let log = |whose, records, block_size| {
                let mut machine = Machine::new(1);
                (machine.options.block_size, machine.options.segment_size) = (block_size, 1 << 20);
                let log = machine.open().unwrap();
                append(&log, whose, records);
                log.close().unwrap();
                machine.options.block_size = 0;
                machine
            };
            let (machine, other) = (log("ours", 10, ours), log("theirs", 3, theirs));
            let name = &segments(&machine)[0];
            machine.disk.overwrite(name, 0, &other.disk.content(name).unwrap()[..512]);
            for verify in [false, true] {
                let options = Options { verify, ..machine.options.clone() };
                let opened = Machine { options, ..machine_like(&machine) }.open();
                assert_eq!(code(opened), Some(Code::Corrupt), "blocks {ours}, {theirs}");
            }
            let log = machine.open_to_read();
            let read = log.iter(0).and_then(|mut iter| iter.next_record().map(|record| record.is_some()));
            assert_eq!(code(read), Some(Code::Corrupt), "blocks {ours}, {theirs}");
            drop(log);
            assert_eq!(machine.verify(), [FindingKind::Frame], "blocks {ours}, {theirs}");
            // Whatever it could write would be a guess.
            assert_eq!(code(plan(&machine)), Some(Code::Unsupported), "blocks {ours}, {theirs}");
        }
    }
}

fn machine_like(machine: &Machine) -> Machine {
    Machine { disk: machine.disk.fork(1), clock: machine.clock.clone(), options: machine.options.clone() }
}

/// The very first mark, with nothing behind it: it was durable before anything else, so it is not half-written.
#[test]
fn the_first_mark_is_missed_if_it_is_damaged() {
    let machine = log_of("ours", &[0]);
    let name = segments(&machine).remove(0);
    let whole = machine.disk.content(&name).unwrap();
    machine.disk.flip_bit(&name, 4096 + 60, 1);
    assert_eq!(code(machine.open()), Some(Code::Corrupt));
    assert_eq!(machine.verify(), [FindingKind::Frame]);
    let mut repair = plan(&machine).unwrap();
    assert_eq!(steps(&repair), [(StepKind::Cut, 1)]);
    repair.apply(Path::new("/backup"), true).unwrap();
    drop(repair);
    assert_eq!(machine.verify(), []);
    append(&machine.open().unwrap(), "again", 1);
    assert_eq!(records(&machine), ["again"]);
    // A log whose making was interrupted before the mark is a log all the same.
    let unwritten = log_of("ours", &[0]);
    let mut zeros = vec![0; whole.len()];
    zeros[..4096].copy_from_slice(&unwritten.disk.content(&name).unwrap()[..4096]);
    unwritten.disk.overwrite(&name, 0, &zeros);
    assert_eq!(unwritten.verify(), []);
    unwritten.open().unwrap();
}

/// Another log's segment goes, and what is behind it; nothing of it is kept.
#[test]
fn another_logs_segment_is_never_kept() {
    let other = log_of("theirs", &[3, 3, 3, 2]);
    for (at, kept) in [(1, 3), (2, 6), (3, 9)] {
        let machine = log_of("ours", &[3, 3, 3, 2]);
        let last = segments(&machine).len() - 1;
        exchange(&machine, at, &other);
        assert_eq!(code(machine.open()), Some(Code::Corrupt));
        let mut repair = plan(&machine).unwrap();
        let at = at as u64 + 1;
        let dropped = (at + 1..=last as u64 + 1).map(|index| (StepKind::Drop, index));
        let expected: Vec<_> =
            [(StepKind::Isolate, at)].into_iter().chain(dropped).chain([(StepKind::Begin, at)]).collect();
        assert_eq!(steps(&repair), expected);
        assert_eq!(repair.steps()[0].acknowledged, Acknowledged::Unknown);
        repair.apply(Path::new("/backup"), true).unwrap();
        drop(repair);
        assert_eq!(machine.verify(), []);
        assert_eq!(records(&machine), vec!["ours"; kept]);
    }
    // Nothing would be left: the log's own segments stay where they are.
    let machine = log_of("ours", &[3, 3, 2]);
    exchange(&machine, 0, &other);
    let names = machine.disk.names();
    let refused = plan(&machine).err().unwrap();
    assert_eq!((refused.code, refused.segment), (Code::Unsupported, 1), "{refused}");
    assert_eq!(machine.disk.names(), names);
    // Behind a released segment there is a place to begin.
    let machine = log_of("ours", &[3, 3, 3, 2]);
    machine.open().unwrap().trim(4).unwrap();
    exchange(&machine, 1, &other);
    let mut repair = plan(&machine).unwrap();
    assert_eq!(steps(&repair)[0], (StepKind::Isolate, 2));
    repair.apply(Path::new("/backup"), true).unwrap();
    drop(repair);
    assert_eq!(machine.verify(), []);
    assert_eq!(machine.open().unwrap().last_seq(), 3);
}

/// A copy of the log that went on by itself: its segment does not end as the next one says that it did.
#[test]
fn a_twins_segment_is_to_blame_and_not_those_behind_it() {
    for (at, kept) in [(1, 3), (2, 6)] {
        let common = log_of("ours", &[3, 1]);
        let twin = Machine { disk: common.disk.fork(2), ..machine_like(&common) };
        for (machine, whose) in [(&common, "ours"), (&twin, "theirs")] {
            let log = machine.open().unwrap();
            go_on(&log, whose, &[2, 3, 3, 2]);
            log.close().unwrap();
        }
        exchange(&common, at, &twin);
        if at == 2 {
            // Both its neighbours speak against it: that it is the one before that ends otherwise nobody says.
            assert_eq!(steps(&plan(&common).unwrap())[0], (StepKind::Drop, 3));
        }
        let mut repair = plan(&common).unwrap();
        assert_eq!(steps(&repair)[0], (StepKind::Drop, at as u64 + 1));
        repair.apply(Path::new("/backup"), true).unwrap();
        drop(repair);
        assert_eq!(common.verify(), []);
        assert_eq!(records(&common), vec!["ours"; kept]);
    }
    // Of the first segment nothing is in front.
    let common = log_of("ours", &[1]);
    let twin = Machine { disk: common.disk.fork(2), ..machine_like(&common) };
    for (machine, whose) in [(&common, "ours"), (&twin, "theirs")] {
        let log = machine.open().unwrap();
        go_on(&log, whose, &[2, 3]);
        log.close().unwrap();
    }
    exchange(&common, 0, &twin);
    let refused = plan(&common).err().unwrap();
    assert_eq!((refused.code, refused.segment), (Code::Unsupported, 1), "{refused}");
}

/// Its frames over the front of ours, with a seal of their own: ours is where the next segment says, and is not what they
/// end in.  Who reads all of it says so, and nothing is made of them.
#[test]
fn a_twins_frames_in_front_of_our_seal_are_found_by_whoever_reads_them_all() {
    let common = log_of("ours", &[1]);
    let twin = Machine { disk: common.disk.fork(2), ..machine_like(&common) };
    for (machine, whose, segments) in [(&common, "ours", [6, 3]), (&twin, "theirs", [2, 3])] {
        let log = machine.open().unwrap();
        go_on(&log, whose, &segments);
        log.close().unwrap();
    }
    let name = &segments(&common)[0];
    let theirs = twin.disk.content(&segments(&twin)[0]).unwrap();
    let end = theirs.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    common.disk.overwrite(name, 4096, &theirs[4096..end.next_multiple_of(4096)]);
    let verifying = Options { verify: true, ..common.options.clone() };
    let opened = Machine { options: verifying, ..machine_like(&common) }.open().err().unwrap();
    assert_eq!((opened.code, opened.segment), (Code::Corrupt, 1), "{opened}");
    let verified = twal::verify_on(&*common.disk, Path::new(DIR), &mut |_| true).unwrap();
    assert_eq!((verified.damaged, verified.last_good_seq), (1, 0), "none of them is ours for sure");
    let before = common.disk.content(name);
    let log = common.open().unwrap();
    let refused = log.compact(&CompactOptions { below_seq: 8, saving_min: 0 }, &mut |_| false).err().unwrap();
    assert_eq!((refused.code, refused.segment), (Code::Corrupt, 1), "{refused}");
    log.close().unwrap();
    assert!(common.disk.content(name) == before, "it is as it was");
    let refused = plan(&common).err().unwrap();
    assert_eq!((refused.code, refused.segment), (Code::Unsupported, 1), "{refused}");
}

/// A repair that was killed before its last step: the plan has no steps, and says what is wrong; applied, the log opens.
#[test]
fn a_repair_that_only_has_to_be_ended_is_planned() {
    let machine = log_of("ours", &[3, 2]);
    assert!(plan(&machine).unwrap().damage().is_none());
    machine.disk.put_file("twal-repair-unfinished", &[]);
    assert_eq!(code(machine.open()), Some(Code::Corrupt));
    let mut repair = plan(&machine).unwrap();
    assert_eq!(steps(&repair), []);
    assert_eq!(repair.damage().map(|error| error.code), Some(Code::Corrupt));
    repair.apply(Path::new("/backup"), false).unwrap();
    drop(repair);
    assert_eq!(records(&machine), vec!["ours"; 5]);
}

/// Holds prove that there was a log: it is not made anew in their place.
#[test]
fn a_log_that_lost_every_segment_is_not_made_anew() {
    let machine = log_of("ours", &[3]);
    let log = machine.open().unwrap();
    log.hold_set("archive", 0).unwrap();
    log.close().unwrap();
    for name in segments(&machine).iter().filter(|name| *name != "twal-holds") {
        machine.disk.remove_file(name);
    }
    let names = machine.disk.names();
    assert_eq!(code(machine.open()), Some(Code::Corrupt));
    for (read_only, no_create) in [(true, false), (false, true)] {
        let options = Options { read_only, no_create, ..machine.options.clone() };
        let (clock, path) = (machine.clock.clone(), Path::new(DIR));
        let opened = Log::open_on(&*machine.disk, path, &options, clock, twal::commit::Threads::None);
        assert_eq!(code(opened), Some(Code::Corrupt), "whoever opens it");
    }
    assert_eq!(machine.disk.names(), names);
    assert_eq!(machine.verify(), [FindingKind::Name]);
    machine.disk.remove_file("twal-holds");
    machine.open().unwrap();
}

/// Nobody reads what was released: damage in it is told by verify alone.
#[test]
fn what_was_released_is_not_validated_at_open() {
    let mut machine = log_of("ours", &[3, 3, 3]);
    machine.options.max_retained_segments = 3;
    machine.open().unwrap().trim(7).unwrap();
    for name in segments(&machine).iter().filter(|name| name.ends_with("archived")) {
        machine.disk.flip_bit(name, 2 * 4096 + 170, 1);
    }
    machine.options.verify = true;
    assert_eq!(machine.verify(), [FindingKind::Record, FindingKind::Record]);
    assert_eq!(records(&machine), vec!["ours"; 3]);
    let read = machine.open_to_read();
    let mut iter = read.iter(0).unwrap();
    let count = std::iter::from_fn(|| iter.next_record().unwrap().map(|record| record.seq)).count();
    assert_eq!(count, 3);
    drop(iter);
    let repair = plan(&machine).unwrap();
    assert_eq!(steps(&repair), []);
    let damage = repair.released_damage().unwrap();
    assert_eq!(damage.map(|error| (error.code, error.segment)), Some((Code::Corrupt, 1)));
}

/// That this process must not read files says nothing of what is in them.
#[test]
fn a_file_that_may_not_be_read_is_no_damage() {
    let machine = log_of("ours", &[3, 2]);
    machine.disk.fail_from(Some(twal::disk::sim::CallKind::Open), 0, libc::EACCES);
    let verified = twal::verify_on(&*machine.disk, Path::new(DIR), &mut |_| true).unwrap();
    assert_eq!((verified.damaged, verified.forbidden), (2, 2));
    // Any other failure is the device's.
    machine.disk.clear_faults();
    machine.disk.fail_from(Some(twal::disk::sim::CallKind::Open), 0, libc::EIO);
    let verified = twal::verify_on(&*machine.disk, Path::new(DIR), &mut |_| true).unwrap();
    assert_eq!((verified.damaged, verified.forbidden), (2, 0));
}
