//! Named holds: what they keep, that they are durable when they say so, and that nothing is given back where they
//! cannot be read.
//!
//! Method: the whole log on the simulated disk.  A story of holds and trims is ended at every step that changes the
//! disk, and failed at every call; what was told must be so afterwards.  A failure names seed and step.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use machine::*;
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Candidate, Code, CompactOptions, Error, FindingKind, HeldBy, Log, Options, SegmentState};

#[path = "holds/machine.rs"]
mod machine;

#[test]
fn a_trim_stops_at_the_lowest_hold_and_goes_on_when_it_moves() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    log.hold_set("snapshot", 8).unwrap();
    log.hold_set("follower", 14).unwrap();
    log.trim(19).unwrap();
    assert_eq!(log.first_seq(), 7);
    log.hold_set("snapshot", 18).unwrap();
    assert_eq!(log.first_seq(), 13, "what was trimmed goes as soon as it may");
    log.hold_drop("follower").unwrap();
    assert_eq!(log.first_seq(), 16);
    log.hold_drop("snapshot").unwrap();
    assert_eq!(log.first_seq(), 19);
    fill(&log, 2).unwrap();
    assert_eq!(log.first_seq(), 19, "a trim is no standing order");
    log.close().unwrap();
    assert_eq!(machine.verify(), []);
}

#[test]
fn a_hold_alone_releases_nothing() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 100).unwrap();
    assert_eq!((log.first_seq(), log.segments().unwrap().len()), (1, 101));
    for seq in [1, 100, 301] {
        log.hold_set("a", seq).unwrap();
    }
    log.hold_drop("a").unwrap();
    assert_eq!(log.first_seq(), 1);
    assert_eq!(log.stats().segments_archived, 0);
}

#[test]
fn what_cannot_be_held_is_refused() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 3).unwrap();
    for name in ["", "two words", &"n".repeat(40), "\u{e4}"] {
        assert_eq!(code(log.hold_set(name, 1)), Some(Code::Inval), "{name:?}");
    }
    assert_eq!(code(log.hold_set("a", log.last_seq() + 2)), Some(Code::Inval));
    assert_eq!(code(log.hold_drop("a")), Some(Code::NotFound));
    assert!(!machine.disk.names().contains(&HOLDS.to_owned()), "nothing was set");
    log.hold_set("a", log.last_seq() + 1).unwrap();
    let back = log.hold_set("a", 9).unwrap_err();
    assert_eq!((back.code, back.seq), (Code::State, 10));
    log.hold_set("a", 10).unwrap();
    log.trim(10).unwrap();
    let gone = log.hold_set("b", 9).unwrap_err();
    assert_eq!((gone.code, gone.seq), (Code::Trimmed, 10));
    log.hold_set("oldest", 0).unwrap();
    assert_eq!(holds(&log), BTreeMap::from([("a".to_owned(), 10), ("oldest".to_owned(), 10)]));
    for n in 2..64 {
        log.hold_set(&format!("n{n}"), 0).unwrap();
    }
    assert_eq!(code(log.hold_set("one more", 0)), Some(Code::Inval));
    assert_eq!(code(log.hold_set("one-more", 0)), Some(Code::Busy));
    log.close().unwrap();
    assert_eq!(code(log.hold_set("a", 10)), Some(Code::Closed));
    assert_eq!(code(log.holds()), Some(Code::Closed));
}

// ---- crashes and failures

/// What a story does, one call each.
#[derive(Debug, Clone, Copy)]
enum Act {
    Fill(u64),
    Set(&'static str, u64),
    Drop(&'static str),
    Trim(u64),
}

const STORY: [Act; 13] = [
    Act::Fill(4),
    Act::Set("a", 4),
    Act::Trim(13),
    Act::Set("b", 8),
    Act::Set("a", 10),
    Act::Fill(2),
    Act::Trim(19),
    Act::Drop("b"),
    Act::Set("c", 12),
    Act::Set("a", 19),
    Act::Fill(1),
    Act::Set("c", 20),
    Act::Drop("c"),
];

/// What was told so far.
#[derive(Debug, Clone, Default)]
struct Told {
    holds: BTreeMap<String, u64>,
    last_seq: u64,
}

impl Told {
    /// As it is if `act` was done.
    fn after(&self, act: Act) -> Told {
        let mut told = self.clone();
        match act {
            Act::Set(name, seq) => drop(told.holds.insert(name.to_owned(), seq)),
            Act::Drop(name) => drop(told.holds.remove(name)),
            Act::Fill(_) | Act::Trim(_) => {}
        }
        told
    }
}

fn act(log: &Log, act: Act) -> Result<(), Error> {
    match act {
        Act::Fill(segments) => fill(log, segments),
        Act::Set(name, seq) => log.hold_set(name, seq),
        Act::Drop(name) => log.hold_drop(name),
        Act::Trim(below) => log.trim(below),
    }
}

/// Plays the story until a call fails; what was told, and the call that failed, if one did.
fn play(machine: &Machine) -> (Told, Option<(Act, Error)>) {
    let mut told = Told::default();
    let log = match machine.open() {
        Ok(log) => log,
        Err(error) => return (told, Some((Act::Fill(0), error))),
    };
    for now in STORY {
        let done = act(&log, now);
        told.last_seq = log.durable_seq();
        match done {
            Ok(()) => told = told.after(now),
            Err(error) => return (told, Some((now, error))),
        }
    }
    let _ = log.close();
    (told, None)
}

/// What is there after a crash is what was told, the interrupted call done or not; and it is kept.
fn check_told(machine: &Machine, told: &Told, failed: Option<Act>, what: &str) {
    let log = machine.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = log.report();
    assert!(!report.holds_damaged, "{what}");
    let found = holds(&log);
    assert_eq!(report.holds, found.len() as u64, "{what}");
    let after = failed.map(|act| told.after(act));
    assert!(
        found == told.holds || after.as_ref().is_some_and(|after| found == after.holds),
        "{what}: {found:?} after {told:?} and {failed:?}"
    );
    assert!(read_all(&log) >= told.last_seq, "{what}: {} of {told:?}", log.last_seq());
    let lowest = found.values().copied().min().unwrap_or(u64::MAX);
    assert!(log.first_seq() <= lowest.min(19), "{what}: from {} on, held {found:?}", log.first_seq());
    fill(&log, 1).unwrap();
    log.trim(log.last_seq() + 1).unwrap();
    assert!(log.first_seq() <= lowest, "{what}: trimmed up to {}, held {found:?}", log.first_seq());
    log.hold_set("a", log.last_seq() + 1).unwrap();
    log.close().unwrap();
    assert_eq!(machine.verify(), [], "{what}");
}

#[test]
fn every_crash_leaves_the_holds_that_were_told() {
    let whole = Machine::new(1);
    assert!(play(&whole).1.is_none());
    let steps = whole.disk.steps();
    assert!(steps > 100, "{steps}");
    let (mut cut, mut interrupted) = (0, 0);
    for step in 0..steps {
        for (stop, keep, seed) in [
            (Stop::PowerCut, Keep::Nothing, 1),
            (Stop::PowerCut, Keep::Random, step),
            (Stop::PowerCut, Keep::Random, steps + step),
            (Stop::Kill, Keep::Random, step),
        ] {
            let what = format!("step {step} of {steps}, {stop:?}, {keep:?}, seed {seed}");
            let machine = Machine::new(seed);
            machine.disk.set_keep(keep);
            machine.disk.stop_at(step, stop);
            let (told, failed) = play(&machine);
            cut += u64::from(machine.disk.restart());
            machine.disk.land_late_writes();
            interrupted += u64::from(matches!(failed, Some((Act::Set(..) | Act::Drop(_), _))));
            check_told(&machine, &told, failed.map(|(act, _)| act), &what);
        }
    }
    assert!(cut == 4 * steps && interrupted > 50, "{cut} cuts, {interrupted} in a hold");
}

#[test]
fn every_failure_leaves_a_hold_as_it_was_or_as_it_was_asked() {
    let whole = Machine::new(1);
    play(&whole);
    use CallKind::{
        Allocate, Create, DirSync, List, Lock, MakeDir, Open, OpenDir, Read, Remove, Rename, Stat, Sync, Write,
    };
    let kinds =
        [OpenDir, MakeDir, List, Create, Open, Rename, Remove, DirSync, Read, Write, Sync, Allocate, Stat, Lock];
    let calls: u64 = kinds.iter().map(|kind| whole.disk.counts().of(*kind)).sum();
    let (mut failures, mut of_holds) = (0, 0);
    for k in 0..calls {
        for errno in [libc::EIO, libc::ENOSPC, libc::EACCES] {
            let what = format!("call {k} of {calls} fails with {errno}");
            let machine = Machine::new(1);
            machine.disk.fail_call(k, errno);
            let (told, failed) = play(&machine);
            machine.disk.clear_faults();
            failures += u64::from(failed.is_some());
            of_holds += u64::from(matches!(failed, Some((Act::Set(..) | Act::Drop(_), _))));
            check_told(&machine, &told, failed.map(|(act, _)| act), &what);
        }
    }
    assert!(failures > 200 && of_holds > 50, "{failures} failures, {of_holds} of a hold");
}

// ---- lost and damaged

/// Six segments, a hold at 8; closed.
fn held_at_8(machine: &Machine) {
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    log.hold_set("snapshot", 8).unwrap();
    log.close().unwrap();
}

/// Nothing goes, and everybody is told why; until the holds are set anew.
fn check_nothing_goes(machine: &Machine, what: &str) {
    assert_eq!(machine.verify(), [FindingKind::Holds], "{what}");
    let log = machine.open().unwrap();
    assert!(log.report().holds_damaged, "{what}");
    let names = machine.disk.names();
    for result in [
        log.trim(19),
        log.hold_set("snapshot", 19),
        log.hold_set("new", 1),
        log.hold_drop("snapshot"),
        log.holds().map(drop),
        log.archive_done(1),
        log.compact(&CompactOptions { below_seq: u64::MAX, saving_min: 0 }, &mut |_: &Candidate<'_>| false).map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.code, Code::Corrupt, "{what}: {error}");
        assert!(error.text.contains("holds"), "{what}: {error}");
    }
    assert_eq!((log.first_seq(), machine.disk.names()), (1, names), "{what}");
    let all = log.segments().unwrap();
    assert!(all.iter().filter(|segment| segment.state == SegmentState::Sealed).count() >= 6);
    assert!(all.iter().rev().skip(1).all(|segment| segment.held_by == HeldBy::Unreadable), "{what}");
    append(&log).unwrap();
    assert_eq!(read_all(&log), 19, "{what}: everything else goes on");
    log.hold_reset().unwrap();
    assert_eq!((log.first_seq(), holds(&log)), (1, BTreeMap::new()), "{what}: a reset releases nothing");
    log.hold_set("snapshot", 8).unwrap();
    log.trim(19).unwrap();
    assert_eq!(log.first_seq(), 7, "{what}");
    log.close().unwrap();
    assert_eq!(machine.verify(), [], "{what}");
}

#[test]
fn lost_holds_keep_everything() {
    let machine = Machine::new(1);
    held_at_8(&machine);
    machine.disk.remove_file(HOLDS);
    check_nothing_goes(&machine, "lost");
}

/// The header that says that there were holds is durable before the first one is.
#[test]
fn holds_that_were_lost_at_once_keep_everything() {
    for records in [0, 1] {
        let machine = Machine::new(1);
        let log = machine.open().unwrap();
        fill(&log, 3).unwrap();
        for _ in 0..records {
            append(&log).unwrap();
        }
        log.hold_set("a", 1).unwrap();
        machine.disk.set_keep(Keep::Nothing);
        machine.disk.power_cut();
        drop(log);
        machine.disk.remove_file(HOLDS);
        let log = machine.open().unwrap();
        assert_eq!(code(log.trim(10)), Some(Code::Corrupt));
        assert_eq!(log.first_seq(), 1);
    }
}

#[test]
fn holds_that_are_lost_under_an_open_log_keep_everything() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    log.hold_set("a", 8).unwrap();
    machine.disk.remove_file(HOLDS);
    assert_eq!(code(log.trim(19)), Some(Code::Corrupt));
    assert_eq!(code(log.hold_set("a", 19)), Some(Code::Corrupt));
    assert_eq!(log.first_seq(), 1);
    log.hold_reset().unwrap();
    log.trim(19).unwrap();
    assert_eq!(log.first_seq(), 19);
}

#[test]
fn damaged_holds_keep_everything() {
    for offset in [0, 9, 12, 20, 40, 61, 64, 90] {
        let machine = Machine::new(1);
        held_at_8(&machine);
        machine.disk.flip_bit(HOLDS, offset, 3);
        check_nothing_goes(&machine, &format!("a bit at {offset}"));
    }
    let machine = Machine::new(1);
    held_at_8(&machine);
    machine.disk.set_size(HOLDS, 512);
    check_nothing_goes(&machine, "too short");
}

/// A file of another log is no statement about this one.
#[test]
fn another_logs_holds_keep_everything() {
    let (machine, other) = (Machine::new(1), Machine::new(2));
    held_at_8(&machine);
    held_at_8(&other);
    machine.disk.put_file(HOLDS, &other.disk.content(HOLDS).unwrap());
    check_nothing_goes(&machine, "another log's");
}

/// What cannot be read now may be read later: no poison, no release.
#[test]
fn holds_that_cannot_be_read_now_keep_everything_now() {
    let machine = Machine::new(1);
    held_at_8(&machine);
    let log = machine.open().unwrap();
    machine.disk.fail_reads(HOLDS, 0..512, 1, libc::EIO);
    assert_eq!(code(log.trim(19)), Some(Code::Io));
    assert_eq!(log.first_seq(), 1);
    append(&log).unwrap();
    log.trim(19).unwrap();
    assert_eq!(log.first_seq(), 7);
}

// ---- other processes

#[test]
fn a_reader_hands_its_hold_to_the_writer() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    let reader = machine.open_to_read();
    let refused = reader.hold_set("follower", 5).unwrap_err();
    assert_eq!(refused.code, Code::State, "the first one is the writer's: {refused}");
    log.hold_set("writer", 10).unwrap();
    reader.hold_set("follower", 5).unwrap();
    log.trim(19).unwrap();
    assert_eq!(log.first_seq(), 4);
    assert_eq!(code(reader.hold_set("late", 3)), Some(Code::Trimmed));
    reader.hold_set("follower", 12).unwrap();
    assert_eq!(log.first_seq(), 4, "nobody but the writer releases");
    log.trim(1).unwrap();
    assert_eq!(log.first_seq(), 4, "a trim for less is no trim for more");
    log.hold_set("writer", 11).unwrap();
    assert_eq!(log.first_seq(), 10);
    reader.hold_drop("follower").unwrap();
    assert_eq!(holds(&log), BTreeMap::from([("writer".to_owned(), 11)]));
    let seen = reader.segments().unwrap();
    assert_eq!(seen.iter().find(|segment| segment.index == 4).map(|segment| segment.held_by), {
        Some(HeldBy::Hold(twal::HoldName::new("writer").unwrap()))
    });
    log.close().unwrap();
    reader.hold_set("follower", 12).unwrap();
    assert_eq!(code(reader.hold_reset()), Some(Code::ReadOnly));
    let log = machine.open().unwrap();
    assert_eq!(holds(&log), BTreeMap::from([("follower".to_owned(), 12), ("writer".to_owned(), 11)]));
}

// ---- the archive

#[test]
fn what_is_not_acknowledged_as_archived_stays() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    assert_eq!(code(log.archive_next(0)), Some(Code::State));
    assert_eq!(code(log.archive_done(1)), Some(Code::State));
    // An idle log: for its first hold it begins a new segment, so the first one has no records.
    log.hold_set("archive", 0).unwrap();
    fill(&log, 3).unwrap();
    log.trim(10).unwrap();
    assert_eq!(log.first_seq(), 1);
    let mut archived = Vec::new();
    while let Some(next) = log.archive_next(archived.last().copied().unwrap_or(0)).unwrap() {
        assert!(machine.disk.content(&next.file).is_some());
        archived.push(next.index);
    }
    assert_eq!(archived, [1, 2, 3, 4], "none is left out, without records or with");
    assert_eq!(code(log.archive_done(5)), Some(Code::State), "it is being written");
    assert_eq!(code(log.archive_done(6)), Some(Code::NotFound));
    log.archive_done(1).unwrap();
    assert_eq!(log.archive_next(0).unwrap().map(|next| next.index), Some(2));
    log.archive_done(3).unwrap();
    log.archive_done(2).unwrap();
    assert_eq!(log.first_seq(), 7);
    log.close().unwrap();
    let log = machine.open().unwrap();
    log.trim(10).unwrap();
    let next = log.archive_next(0).unwrap().unwrap();
    assert_eq!((next.index, next.first_seq, next.last_seq, log.first_seq()), (4, 7, 9, 7));
    log.archive_done(4).unwrap();
    assert_eq!((log.archive_next(0).unwrap(), log.first_seq()), (None, 10), "what was trimmed goes now");
    log.archive_done(2).unwrap();
}

#[test]
fn what_is_held_is_not_compacted() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    log.hold_set("follower", 8).unwrap();
    let all = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    let mut asked = Vec::new();
    let done = log.compact(&all, &mut |candidate| {
        asked.push(candidate.record.seq);
        false
    });
    assert_eq!((done.unwrap().segments, asked), (2, (1..=6).collect()));
    assert_eq!(log.segments().unwrap().iter().filter(|segment| segment.generation > 0).count(), 2);
    log.close().unwrap();
    assert_eq!(machine.verify(), []);
}

#[test]
fn a_hold_that_is_set_during_a_compaction_keeps_its_segment() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 4).unwrap();
    log.hold_set("other", 13).unwrap();
    let all = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    let done = log.compact(&all, &mut |candidate| {
        if candidate.record.seq == 8 {
            log.hold_set("late", 7).unwrap();
        }
        false
    });
    assert_eq!(done.unwrap().segments, 2);
    let kept: Vec<u64> = log.segments().unwrap().iter().map(|segment| segment.generation).collect();
    assert_eq!(kept[..4], [1, 1, 0, 0]);
}

// ---- looking

#[test]
fn segments_say_who_holds_them() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    log.hold_set("snapshot", 11).unwrap();
    log.trim(8).unwrap();
    let held = |log: &Log| -> Vec<(u64, SegmentState, u64, u64, HeldBy)> {
        let all = log.segments().unwrap();
        all.iter().map(|one| (one.index, one.state, one.first_seq, one.last_seq, one.held_by)).collect()
    };
    let snapshot = HeldBy::Hold(twal::HoldName::new("snapshot").unwrap());
    use SegmentState::{Active, Archived, Sealed};
    let wanted = [
        (2, Archived, 4, 6, HeldBy::Retention),
        (3, Sealed, 7, 9, HeldBy::Nobody),
        (4, Sealed, 10, 12, snapshot),
        (5, Sealed, 13, 15, snapshot),
        (6, Sealed, 16, 18, snapshot),
        (7, Sealed, 19, 18, snapshot),
        (8, Active, 19, 18, HeldBy::Writer),
    ];
    assert_eq!(held(&log), wanted);
    assert_eq!(held(&machine.open_to_read()), wanted);
    let all = log.segments().unwrap();
    assert!(all.iter().all(|one| one.size == 64 << 10 && one.room == one.size));
    assert!(all.iter().all(|one| machine.disk.names().contains(&one.file)));
}

#[test]
fn a_reader_shows_where_it_stands() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 4).unwrap();
    let mut iter = log.iter(1).unwrap();
    iter.next_record().unwrap();
    // More are kept than there are, so that what is read is there to be looked at.
    log.trim(13).unwrap();
    assert_eq!(log.segments().unwrap()[0].index, 4, "what is read lives on without a name");
    drop((iter, log));
    let machine =
        Machine { options: Options { max_retained_segments: 64, ..Machine::new(1).options }, ..Machine::new(1) };
    let log = machine.open().unwrap();
    fill(&log, 4).unwrap();
    let mut iter = log.iter(1).unwrap();
    iter.next_record().unwrap();
    log.trim(13).unwrap();
    log.close().unwrap();
    let machine = Machine { options: Options { max_retained_segments: 1, ..machine.options.clone() }, ..machine };
    let other = machine.open_to_read();
    assert_eq!(other.segments().unwrap()[0].held_by, HeldBy::Reader);
    drop((iter, log));
    assert_eq!(other.segments().unwrap()[0].held_by, HeldBy::Nobody);
}

#[test]
fn streams_are_counted() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, 6).unwrap();
    append(&log).unwrap();
    let found = |from| -> Vec<[u64; 5]> {
        let all = log.streams(from).unwrap();
        all.iter().map(|one| [one.stream, one.records, one.bytes, one.first_seq, one.last_seq]).collect()
    };
    assert_eq!(found(0), [[1, 7, 56, 1, 19], [0, 6, 48, 3, 18], [2, 6, 48, 2, 17]]);
    assert_eq!(found(19), [[1, 1, 8, 19, 19]]);
    assert_eq!(found(20), Vec::<[u64; 5]>::new());
    log.trim(10).unwrap();
    assert_eq!(found(0), [[1, 4, 32, 10, 19], [0, 3, 24, 12, 18], [2, 3, 24, 11, 17]]);
    assert_eq!(code(log.streams(9)), Some(Code::Trimmed));
    assert_eq!(code(log.streams(21)), Some(Code::NotFound));
}
