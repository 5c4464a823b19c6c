//! Shipping: a follower's files are the source's, its position loses nothing, and nothing else gets in.
//!
//! Method: source and follower on simulated disks of their own.  The follower is stopped at every step that changes its
//! disk, and failed at every call; reopened it must have what its position said, and end with the same files.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use machine::*;
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Code, Error, FindingKind, Log, Position, Sink, Source};

#[path = "ship/machine.rs"]
mod machine;

#[path = "ship/checked.rs"]
mod checked;

#[path = "ship/hostile.rs"]
mod hostile;

#[path = "ship/source.rs"]
mod source;

#[path = "ship/elsewhere.rs"]
mod elsewhere;

#[path = "ship/lives.rs"]
mod lives;

#[path = "sim/rng.rs"]
mod rng;

#[path = "ship/promotion.rs"]
mod promotion;

#[path = "ship/replica.rs"]
mod replica;

const ENDS: [(Stop, Keep); 4] = [
    (Stop::PowerCut, Keep::Nothing),
    (Stop::PowerCut, Keep::Random),
    (Stop::PowerCut, Keep::Everything),
    (Stop::Kill, Keep::Everything),
];

#[test]
fn a_copy_is_the_same_files() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = varied(&source);
    let mut sink = copy.sink().unwrap();
    assert_eq!(sink.position(), Position::default());
    ship(&log, &mut sink);
    let before = sink.position();
    assert_same(&source, &copy, &before);
    assert_eq!(before.last_seq, log.durable_seq());
    assert!(copy.segments().len() >= 4, "{:?}", copy.segments());
    // In small steps, sealed early, released: the copy follows.
    for round in 0..6 {
        append_many(&log, 40);
        if round % 2 == 0 {
            log.roll().unwrap();
        }
        if round == 4 {
            log.trim(log.last_seq() - 20).unwrap();
        }
        ship(&log, &mut sink);
        assert_same(&source, &copy, &sink.position());
    }
    append_many(&log, 1);
    log.roll().unwrap();
    append_many(&log, 1);
    ship(&log, &mut sink);
    assert_eq!(source.segments(), copy.segments(), "released there, released here");
    sink.close().unwrap();
    // Reopened, and the writer gone: the rest comes from a reader's handle.
    let durable = log.durable_seq();
    log.close().unwrap();
    let log = source.open_to_read().unwrap();
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    assert_eq!(sink.position().last_seq, durable);
    assert_same(&source, &copy, &sink.position());
}

#[test]
fn a_compacted_log_is_shipped_as_it_is() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = varied(&source);
    assert!(compact(&log) > 0);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    assert_same(&source, &copy, &sink.position());
    let compacted = copy.segments().iter().any(|name| (copy.disk.content(name).unwrap().len() as u64) < SEGMENT);
    assert!(compacted, "no smaller file");
    sink.close().unwrap();
    copy.sink().unwrap();
}

/// A compaction in the middle of a segment: who has it open goes on; who comes back to it is told.
#[test]
fn compacted_in_the_middle() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = source.open().unwrap();
    append_many(&log, 20);
    let mut sink = copy.sink().unwrap();
    let mut shipping = Source::open(&log, None).unwrap();
    while let Some(piece) = shipping.next_piece(Some(0)).unwrap() {
        sink.write(&piece).unwrap();
    }
    sink.sync().unwrap();
    let middle = sink.position();
    assert!(middle.index == 1 && !middle.complete && middle.last_seq == 20);
    append_many(&log, 280);
    assert!(compact(&log) > 0);
    let back = Source::open(&log, Some(&middle)).err().unwrap();
    assert_eq!((back.code, back.segment, back.offset), (Code::Trimmed, 1, middle.offset));
    while let Some(piece) = shipping.next_piece(Some(0)).unwrap() {
        sink.write(&piece).unwrap();
    }
    sink.sync().unwrap();
    assert_eq!(sink.position().last_seq, 300);
    sink.promote().unwrap();
    sink.close().unwrap();
    // The segment that was open is as it was; those behind it were compacted when they were opened.
    let log = copy.open().unwrap();
    let mut iter = log.iter(1).unwrap();
    let mut seqs = Vec::new();
    while let Some(found) = iter.next_record().unwrap() {
        assert!(found.data == record(found.seq), "record {}", found.seq);
        seqs.push(found.seq);
    }
    let whole = (1..).zip(&seqs).take_while(|(expected, seq)| expected == *seq).count();
    assert!(whole as u64 > middle.last_seq && seqs.len() < 300, "{whole} of {}", seqs.len());
}

/// With a hold at the position's hold_seq neither a trim nor a compaction takes what is needed; without it the source
/// says that it is gone.
#[test]
fn a_hold_keeps_what_a_follower_needs() {
    for held in [true, false] {
        let source = Machine::new(1);
        let log = source.open().unwrap();
        append_many(&log, 300);
        let mut trimmed = 0;
        let all = pieces(&log, None);
        // Wherever the follower is.
        for stop in 1..all.len() {
            let (source, copy) = (source.crashed(1, Stop::PowerCut, Keep::Everything), &Machine::new(3));
            let log = source.open().unwrap();
            let mut sink = copy.sink().unwrap();
            all[..stop].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
            sink.sync().unwrap();
            let position = sink.position();
            if held {
                log.hold_set("follower", position.hold_seq).unwrap();
            }
            compact(&log);
            log.trim(log.last_seq()).unwrap();
            append_many(&log, 10);
            match Source::open(&log, Some(&position)) {
                Ok(_) => {
                    ship(&log, &mut sink);
                    assert_eq!(sink.position().last_seq, log.durable_seq());
                }
                Err(error) => {
                    assert!(!held, "{error}");
                    assert_eq!(error.code, Code::Trimmed, "{error}");
                    trimmed += 1;
                }
            }
        }
        assert_eq!(trimmed > 0, !held);
    }
}

// ---- crashes and failures

/// Writes and syncs these; says what it was told last.
fn play(sink: &mut Sink, pieces: &[Kept], told: &mut Position) -> Result<(), Error> {
    for (at, piece) in pieces.iter().enumerate() {
        sink.write(&piece.piece())?;
        if at % 3 == 1 {
            sink.sync()?;
            *told = sink.position();
        }
    }
    sink.sync()?;
    *told = sink.position();
    Ok(())
}

/// Nothing that was told is lost, nothing is there that was not written, and the rest comes.
fn goes_on((source, log, all): &Story, copy: &Machine, told: &Position, context: &str) {
    if copy.disk.names().contains(&"twal-sink".to_owned()) {
        assert_eq!(copy.verify(), [], "{context}");
    }
    let mut sink = copy.reopened();
    let found = sink.position();
    assert!(
        (found.index, found.offset) >= (told.index, told.offset),
        "{context}: {told:?} was told, {found:?} is there"
    );
    assert!(found.last_seq >= told.last_seq, "{context}");
    all[next_of(all, &found)..].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    sink.sync().unwrap();
    ship(log, &mut sink);
    let end = sink.position();
    assert_eq!(end.last_seq, log.durable_seq(), "{context}");
    assert_same(source, copy, &end);
    let spares = copy.disk.names().into_iter().filter(|name| name.contains("spare")).count();
    assert_eq!(spares, 0, "{context}");
    sink.close().unwrap();
    assert_eq!(copy.verify(), [], "{context}");
    // What was found stays found.
    assert_eq!(copy.reopened().position(), end, "{context}");
}

type Story = (Machine, Log, Vec<Kept>);

fn story() -> Story {
    let source = Machine::new(1);
    let log = source.open().unwrap();
    append_many(&log, 100);
    log.trim(log.last_seq() + 1).unwrap();
    append_many(&log, 40);
    let mut all = Vec::new();
    let mut shipping = Source::open(&log, None).unwrap();
    for turn in 0..10 {
        while let Some(piece) = shipping.next_piece(Some(0)).unwrap() {
            all.push(Kept::of(&piece));
        }
        append_many(&log, 12);
        match turn {
            4 => log.roll().unwrap(),
            6 | 9 => log.trim(log.last_seq()).unwrap(),
            _ => {}
        }
    }
    drop(shipping);
    (source, log, all)
}

#[test]
fn a_follower_that_is_stopped_at_any_step_goes_on() {
    let story = story();
    let all = &story.2;
    let whole = Machine::new(2);
    let mut told = Position::default();
    play(&mut whole.sink().unwrap(), all, &mut told).unwrap();
    let steps = whole.disk.steps();
    assert!(steps > 60, "{steps}");
    for step in 0..steps {
        for (seed, (stop, keep)) in (10..).zip(ENDS) {
            let copy = Machine::new(2);
            copy.disk.set_keep(keep);
            copy.disk.stop_at(step, stop);
            let mut told = Position::default();
            let played = copy.sink().and_then(|mut sink| play(&mut sink, all, &mut told));
            assert!(played.is_err() && copy.disk.restart(), "step {step} of {steps}");
            copy.disk.reseed(seed);
            goes_on(&story, &copy, &told, &format!("step {step}, {stop:?}, {keep:?}"));
        }
    }
}

/// What setting it right again takes may be stopped, too.
#[test]
fn a_follower_that_is_stopped_while_it_is_opened_again_goes_on() {
    let story = story();
    let all = &story.2;
    let whole = Machine::new(2);
    play(&mut whole.sink().unwrap(), all, &mut Position::default()).unwrap();
    let mut stops = 0;
    for step in 0..whole.disk.steps() {
        let copy = Machine::new(2);
        copy.disk.stop_at(step, Stop::PowerCut);
        let mut told = Position::default();
        assert!(copy.sink().and_then(|mut sink| play(&mut sink, all, &mut told)).is_err() && copy.disk.restart());
        for again in 0.. {
            let (stop, keep) = ENDS[again as usize % ENDS.len()];
            let copy = copy.crashed(again, Stop::PowerCut, Keep::Random);
            copy.disk.set_keep(keep);
            copy.disk.stop_at(copy.disk.steps() + again, stop);
            let opened = copy.sink();
            if !copy.disk.restart() {
                opened.unwrap();
                break;
            }
            assert!(opened.is_err());
            stops += 1;
            goes_on(&story, &copy, &told, &format!("step {step}, then {again}, {stop:?}, {keep:?}"));
        }
    }
    assert!(stops > 300, "{stops}");
}

#[test]
fn a_follower_whose_disk_fails_at_any_call_goes_on() {
    let story = story();
    let all = &story.2;
    for errno in [libc::EIO, libc::ENOSPC] {
        let mut call = 0;
        loop {
            let copy = Machine::new(2);
            copy.disk.fail_call(call, errno);
            let mut told = Position::default();
            let played = copy.sink().and_then(|mut sink| {
                let played = play(&mut sink, all, &mut told);
                if played.as_ref().is_err_and(|error| error.code == Code::Io) {
                    // Nothing is written behind a failed write, and what was told stays true.
                    let again = sink.sync().err().map(|error| error.code);
                    assert!(matches!(again, None | Some(Code::Poisoned)), "{again:?}");
                    let here = sink.position();
                    assert!((here.index, here.offset) >= (told.index, told.offset), "call {call}");
                }
                played
            });
            let Err(error) = played else { break };
            assert!(matches!(error.code, Code::Io | Code::NoSpc), "call {call}: {error}");
            copy.disk.clear_faults();
            for (seed, (stop, keep)) in (10..).zip(ENDS) {
                let copy = copy.crashed(seed, stop, keep);
                goes_on(&story, &copy, &told, &format!("call {call}, errno {errno}, {stop:?}, {keep:?}"));
            }
            call += 1;
        }
        assert!(call > 80, "{call}");
    }
}

/// A position whose write failed may still be read, from a cache that forgets it with the power: it is made durable
/// before it is told.
#[test]
fn a_position_that_is_told_again_is_durable() {
    let story = story();
    let all = &story.2;
    let (mut call, mut newer) = (0, 0);
    loop {
        let mut over = false;
        for seed in 0..12 {
            let copy = Machine::new(seed);
            copy.disk.fail_kind(CallKind::Write, call, libc::EIO);
            let mut told = Position::default();
            over = copy.sink().and_then(|mut sink| play(&mut sink, all, &mut told)).is_ok();
            copy.disk.clear_faults();
            copy.disk.fail_kind(CallKind::Sync, 0, libc::EIO);
            assert!(copy.sink().is_err() || over || copy.segments().is_empty(), "call {call}, seed {seed}");
            copy.disk.clear_faults();
            let again = copy.reopened().position();
            newer += u64::from((again.index, again.offset) > (told.index, told.offset));
            let copy = copy.crashed(seed, Stop::PowerCut, Keep::Nothing);
            goes_on(&story, &copy, &again, &format!("call {call}, seed {seed}"));
        }
        if over {
            break;
        }
        call += 1;
    }
    assert!(call > 30 && newer > 20, "{call}, {newer}");
}

/// A full disk is no failure of the copy: the same piece is taken when there is room.
#[test]
fn a_full_disk_can_wait() {
    let story = story();
    let all = &story.2;
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    copy.disk.set_capacity(Some(2 * SEGMENT));
    let mut refused = 0;
    for piece in all {
        while let Err(error) = sink.write(&piece.piece()) {
            assert_eq!(error.code, Code::NoSpc, "{error}");
            refused += 1;
            copy.disk.set_capacity(None);
        }
    }
    assert!(refused > 0);
    sink.close().unwrap();
    goes_on(&story, &copy, &Position::default(), "full");
}

// ---- damage

/// Bytes in front of the position were acknowledged: damage there is told with its place.  Behind it they were not.
#[test]
fn damage_in_front_of_the_position_is_refused_and_behind_it_cut() {
    let story = story();
    let all = &story.2;
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    let (last, synced) = all.split_last().unwrap();
    synced.iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    sink.sync().unwrap();
    let told = sink.position();
    sink.write(&last.piece()).unwrap();
    drop(sink);
    let newest = copy.segments().pop().unwrap();
    // The first byte of a block is no padding.
    for offset in (0..told.offset).step_by(BLOCK as usize) {
        let copy = copy.crashed(7, Stop::Kill, Keep::Everything);
        copy.disk.flip_bit(&newest, offset, 3);
        let error = copy.sink().err().unwrap();
        assert_eq!((error.code, error.segment), (Code::Corrupt, told.index), "{offset}: {error}");
        assert!(error.offset <= offset, "{error}");
        assert_ne!(copy.verify(), [], "{offset}");
        assert!(copy.disk.names().contains(&"twal-sink".to_owned()));
    }
    for offset in (told.offset..SEGMENT).step_by(BLOCK as usize) {
        let copy = copy.crashed(7, Stop::Kill, Keep::Everything);
        copy.disk.flip_bit(&newest, offset + 100, 3);
        goes_on(&story, &copy, &told, "behind");
    }
}

/// Whichever block of the position rots, nothing that was told is taken back; and without a position nothing is begun anew.
#[test]
fn the_position_survives_rot_and_is_never_guessed() {
    let all = story().2;
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    let place = |position: &Position| (position.index, position.offset);
    for (count, piece) in all.iter().enumerate() {
        let before = sink.position();
        sink.write(&piece.piece()).unwrap();
        sink.sync().unwrap();
        // A write that was torn in the worst way leaves nothing of its slot: the other one is what was told before it.
        let torn = [0, 2].map(|first| {
            let copy = copy.crashed(count as u64, Stop::PowerCut, Keep::Nothing);
            copy.disk.overwrite("twal-sink", first * 4096, &[0xa5; 2 * 4096]);
            place(&copy.sink().unwrap().position())
        });
        let [older, newer] = if torn[0] < torn[1] { torn } else { [torn[1], torn[0]] };
        assert_eq!(newer, place(&sink.position()), "piece {count}");
        assert!((place(&before)..newer).contains(&older), "piece {count}: {older:?}");
        let mut told = 0;
        for block in 0..4 {
            let copy = copy.crashed(count as u64, Stop::PowerCut, Keep::Nothing);
            copy.disk.flip_bit("twal-sink", block * 4096 + 60, 2);
            told += copy.verify().len();
            assert_eq!(copy.sink().unwrap().position(), sink.position(), "piece {count}, block {block}");
            assert_eq!(copy.verify(), [], "it is written anew");
        }
        assert_eq!(told, 2, "piece {count}: of the newest slot each copy");
    }
    for block in 0..4 {
        copy.disk.flip_bit("twal-sink", block * 4096 + 60, 2);
    }
    drop(sink);
    copy.disk.kill();
    assert_eq!(copy.verify(), [FindingKind::Position]);
    assert_eq!(code(copy.sink()), Some(Code::Corrupt));
    copy.disk.remove_file("twal-sink");
    assert_eq!(code(copy.sink()), Some(Code::State));
}

/// Each file but the newest: lost, it is missed.
#[test]
fn a_segment_that_is_missing_is_missed() {
    let source = Machine::new(1);
    let log = source.open().unwrap();
    append_many(&log, 300);
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    drop(sink);
    let names = copy.segments();
    assert!(names.len() >= 4);
    for name in &names {
        let copy = copy.crashed(1, Stop::Kill, Keep::Everything);
        copy.disk.remove_file(name);
        assert_eq!(copy.verify(), [FindingKind::Name], "{name}");
        assert_eq!(code(copy.sink()), Some(Code::Corrupt), "{name}");
    }
    // All that are older than one: also where that one is the only one left.
    for count in 1..names.len() {
        let copy = copy.crashed(1, Stop::Kill, Keep::Everything);
        names[..count].iter().for_each(|name| copy.disk.remove_file(name));
        assert_eq!(copy.verify(), [FindingKind::Name], "{count} of {}", names.len());
        assert_eq!(code(copy.sink()), Some(Code::Corrupt), "{count} of {}", names.len());
    }
}

/// The segment that a copy has begun with has no elders, wherever in the log that is; the next one has.
#[test]
fn a_copy_that_began_in_the_middle_misses_its_first_segment() {
    let source = Machine::new(1);
    let log = source.open().unwrap();
    append_many(&log, 300);
    log.trim(log.last_seq()).unwrap();
    let all = pieces(&log, None);
    let first = all[0].head.index;
    assert!(first > 1);
    let copy = Machine::new(2);
    for piece in &all {
        let mut sink = copy.sink().unwrap();
        sink.write(&piece.piece()).unwrap();
        sink.close().unwrap();
    }
    let names = copy.segments();
    assert!(names.len() > 1, "{names:?}");
    names[..names.len() - 1].iter().for_each(|name| copy.disk.remove_file(name));
    assert_eq!(code(copy.sink()), Some(Code::Corrupt));
}

/// An earlier position that somebody put back takes no acknowledged segment away.
#[test]
fn a_stale_position_is_no_reason_to_remove_records() {
    let all = story().2;
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    let (mut stale, mut refused) = (None, 0);
    for piece in &all {
        if piece.head.offset == 0 {
            stale = copy.disk.content("twal-sink");
        }
        sink.write(&piece.piece()).unwrap();
        sink.sync().unwrap();
        let copy = copy.crashed(1, Stop::PowerCut, Keep::Nothing);
        copy.disk.overwrite("twal-sink", 0, stale.as_ref().unwrap());
        let names = copy.segments();
        if piece.head.offset == 0 {
            // It has a header only, as behind a crash.
            assert_eq!(copy.verify(), []);
            copy.sink().unwrap();
        } else {
            assert_eq!(code(copy.sink()), Some(Code::Corrupt), "{}/{}", piece.head.index, piece.head.offset);
            assert_eq!(copy.segments(), names);
            assert!(copy.verify().contains(&FindingKind::Position));
            refused += 1;
        }
    }
    assert!(refused > 5, "{refused}");
}
