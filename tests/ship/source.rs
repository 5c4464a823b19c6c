//! What a source yields: what is durable, in either process, and all of it whatever fails on the way.

use std::time::Duration;

use super::machine::*;
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Candidate, Code, CompactOptions, Done, Entry, How, Log, Position, Source};

/// Accepted and written, but not flushed.
fn append_unflushed(machine: &Machine, log: &Log) {
    let data = record(log.last_seq() + 1);
    let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
    log.append(&entry, How { sync: Some(false), no_wait: false }).unwrap();
    machine.clock.pass(Duration::from_millis(2));
    log.tick();
}

fn last_shipped(source: &mut Source) -> u64 {
    let mut last = 0;
    while let Some(piece) = source.next_piece(Some(0)).unwrap() {
        last = piece.last_seq;
    }
    last
}

#[test]
fn what_is_not_durable_is_not_shipped() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    append_many(&log, 5);
    let reader = machine.open_to_read().unwrap();
    let (mut here, mut elsewhere) = (Source::open(&log, None).unwrap(), Source::open(&reader, None).unwrap());
    assert_eq!(last_shipped(&mut here), 5);
    // Nothing testifies for the last record yet.
    assert_eq!(last_shipped(&mut elsewhere), 4);
    for _ in 0..3 {
        append_unflushed(&machine, &log);
    }
    assert_eq!((log.last_seq(), log.durable_seq()), (8, 5));
    let file = machine.segments().pop().unwrap();
    assert!(!machine.disk.unflushed_sectors(&file).is_empty(), "they are written");
    assert_eq!(last_shipped(&mut here), 0);
    assert!(last_shipped(&mut elsewhere) <= 5);
    log.sync(0).unwrap();
    assert_eq!(last_shipped(&mut here), 8);
    machine.clock.pass(Duration::from_millis(50));
    log.tick();
    assert_eq!(last_shipped(&mut elsewhere), 8, "a mark testifies for them");
}

/// Beside a writer that rolls over, and behind one that is gone: the same bytes in the end.
#[test]
fn another_process_ships_the_same_bytes() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = source.open().unwrap();
    append_many(&log, 1);
    let reader = source.open_to_read().unwrap();
    let mut sink = copy.sink().unwrap();
    for _ in 0..20 {
        append_many(&log, 13);
        ship(&reader, &mut sink);
        assert!(sink.position().last_seq < log.durable_seq());
        assert_same(&source, &copy, &sink.position());
    }
    log.close().unwrap();
    ship(&reader, &mut sink);
    assert_eq!(sink.position().last_seq, 261);
    assert_same(&source, &copy, &sink.position());
}

/// A reader in another process knows how far the file reached that was written; the one in its place is smaller, and
/// whole.
#[test]
fn a_segment_that_was_compacted_since_the_reader_looked_is_shipped() {
    for known in [1, 2, 3, 5, 8, 13, 21, 34, 39] {
        let (source, copy) = (Machine::new(1), Machine::new(2));
        let log = source.open().unwrap();
        append_many(&log, known);
        let reader = source.open_to_read().unwrap();
        append_many(&log, 40 - known);
        log.roll().unwrap();
        append_many(&log, 2);
        // Twice: a file that was compacted is replaced, too.
        let nothing = CompactOptions { below_seq: log.last_seq(), saving_min: 0 };
        for least in [11, 41] {
            let mut chooser = |asked: &Candidate<'_>| asked.record.seq >= least;
            assert_eq!(log.compact(&nothing, &mut chooser).unwrap().segments, 1, "{known}");
        }
        let mut sink = copy.sink().unwrap();
        ship(&reader, &mut sink);
        assert_eq!(sink.position().last_seq, 41, "{known}: nothing testifies for the last one yet");
        log.close().unwrap();
        ship(&reader, &mut sink);
        assert_eq!(sink.position().last_seq, 42, "{known}");
        assert_same(&source, &copy, &sink.position());
        assert_eq!(copy.verify(), [], "{known}");
    }
}

/// An error takes nothing with it: the next call yields what comes next.
#[test]
fn a_source_that_could_not_read_goes_on() {
    let machine = Machine::new(1);
    let log = varied(&machine);
    let whole = pieces(&log, None);
    let (reads, mut errors) = (|| machine.disk.counts().of(CallKind::Read), 0);
    for call in 0.. {
        let before = reads();
        machine.disk.fail_kind(CallKind::Read, call, libc::EIO);
        let mut source = None;
        let mut all = Vec::new();
        loop {
            if source.is_none() {
                source = Source::open(&log, None).map_err(|error| assert_eq!(error.code, Code::Io)).ok();
                errors += u64::from(source.is_none());
                continue;
            }
            match source.as_mut().unwrap().next_piece(Some(0)) {
                Ok(Some(piece)) => all.push(Kept::of(&piece)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.code, Code::Io, "{error}");
                    errors += 1;
                }
            }
        }
        machine.disk.clear_faults();
        let places = |all: &[Kept]| -> Vec<_> { all.iter().map(|kept| (kept.head.index, kept.head.offset)).collect() };
        assert_eq!(places(&all), places(&whole), "call {call}");
        assert!(all.iter().zip(&whole).all(|(one, other)| one.data == other.data), "call {call}");
        if reads() - before <= call {
            // It was never struck.
            break;
        }
    }
    assert!(errors > 10, "{errors}");
    // And damage is no end.
    let sealed = machine.segments().into_iter().find(|name| name.ends_with(".sealed")).unwrap();
    machine.disk.flip_bit(&sealed, 3 * u64::from(BLOCK), 1);
    let mut source = Source::open(&log, None).unwrap();
    let error = loop {
        match source.next_piece(Some(0)) {
            Ok(piece) => assert!(piece.is_some(), "an end in front of damage"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, Code::Corrupt, "{error}");
    assert_eq!(source.next_piece(Some(0)).err().map(|error| error.code), Some(Code::Corrupt), "it stays");
}

/// Where a follower is behind each piece of these.
fn positions(all: &[Kept]) -> Vec<Position> {
    let copy = Machine::new(9);
    let mut sink = copy.sink().unwrap();
    let place = |piece: &Kept| {
        sink.write(&piece.piece()).unwrap();
        sink.sync().unwrap();
        sink.position()
    };
    all.iter().map(place).collect()
}

/// Every field that says what a follower has is compared with what is here, wherever in the log the follower is: also
/// behind the seal of a segment that has no successor yet.
#[test]
fn a_follower_that_has_something_else_is_told_so() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    append_many(&log, 150);
    log.roll().unwrap();
    let all = pieces(&log, None);
    let newest = all.last().unwrap().head.index;
    let places = positions(&all);
    assert!(places.iter().any(|place| place.complete && place.index == newest - 1));
    drop(log);
    // A crash took the newest one's name: the one before is the newest, and sealed.
    let cut = machine.crashed(1, Stop::Kill, Keep::Everything);
    let last = cut.segments().pop().unwrap();
    cut.disk.remove_file(&last);
    let before = cut.segments().pop().unwrap();
    cut.disk.copy_file(&before, &before.replace(".sealed", ".active"));
    cut.disk.remove_file(&before);
    for (machine, most) in [(&machine, newest), (&cut, newest - 1)] {
        let log = machine.open_to_read().unwrap();
        let mut complete = 0;
        for right in places.iter().filter(|place| place.index <= most) {
            Source::open(&log, Some(right)).map_err(|error| panic!("{right:?}: {error}")).ok();
            complete += u64::from(right.complete && right.index == most);
            let mut wrongs = vec![
                Position { identity: right.identity ^ 1, ..*right },
                Position { last_seq: right.last_seq + 1, ..*right },
                Position { last_seq: right.last_seq.wrapping_sub(1), ..*right },
            ];
            if !right.complete {
                wrongs.push(Position { salt: [7; 16], ..*right });
                // No block begins there.
                wrongs.push(Position { offset: right.offset + 100, ..*right });
                wrongs.push(Position { offset: SEGMENT - 100, ..*right });
            }
            if right.offset == u64::from(BLOCK) {
                // Behind a seal every block is a place as good as the next.
                wrongs.push(Position { offset: right.offset + u64::from(BLOCK), ..*right });
            }
            if !right.complete && right.index == most {
                wrongs.push(Position { complete: true, ..*right });
            }
            for wrong in wrongs {
                assert_eq!(code(Source::open(&log, Some(&wrong))), Some(Code::State), "{wrong:?} for {right:?}");
            }
        }
        assert_eq!(complete, u64::from(most < newest));
    }
    // The end of a segment that has not ended.
    let log = machine.open_to_read().unwrap();
    let here = places.last().unwrap();
    let ended = Position { complete: true, offset: SEGMENT, ..*here };
    assert_eq!(code(Source::open(&log, Some(&ended))), Some(Code::State));
}

/// Damage in front of the follower's place is the source's, and no reason to distrust the follower.
#[test]
fn rot_in_front_of_a_follower_is_damage() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    append_many(&log, 150);
    let all = pieces(&log, None);
    let places = positions(&all);
    let mut struck = 0;
    for place in places.iter().filter(|place| !place.complete && place.offset > u64::from(BLOCK)) {
        let index = format!("twal-{:016}", place.index);
        let name = machine.segments().into_iter().find(|name| name.starts_with(&index)).unwrap();
        machine.disk.flip_bit(&name, u64::from(BLOCK) + 70, 1);
        let error = Source::open(&log, Some(place)).err().unwrap();
        assert_eq!(
            (error.code, error.segment, error.offset),
            (Code::Corrupt, place.index, u64::from(BLOCK)),
            "{error}"
        );
        machine.disk.flip_bit(&name, u64::from(BLOCK) + 70, 1);
        Source::open(&log, Some(place)).unwrap();
        struck += 1;
    }
    assert!(struck > 2, "{struck}");
}

/// A segment that ends while nobody appends is news to who waits.
#[test]
fn a_roll_of_an_idle_log_wakes_who_ships() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    append_many(&log, 5);
    let mut shipping = Source::open(&log, None).unwrap();
    while shipping.next_piece(Some(0)).unwrap().is_some() {}
    let rolling = log.clone();
    // Called while the source waits, which does all the work here.
    log.sync_async(5, Some(Done::new(move |_, _| rolling.roll().unwrap()))).unwrap();
    let (before, minute) = (machine.clock.now_ns(), 60_000_000_000);
    let mut found = Vec::new();
    while found.last() != Some(&(2, 0)) {
        let piece = shipping.next_piece(Some(minute)).unwrap().expect("the seal, what is behind it, and a header");
        found.push((piece.index, piece.offset));
    }
    assert!(machine.clock.now_ns() - before < minute, "it was not woken");
}

/// What was released may have been by a record that the follower does not have yet: it hears of the release with that.
#[test]
fn a_release_is_told_with_what_it_goes_by() {
    let (source, copy) = (Machine::new(31), Machine::new(32));
    let log = varied(&source);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    let from = sink.position();
    let before = pieces(&log, Some(&from));
    assert!(before.is_empty());
    append_many(&log, 200);
    log.trim(from.last_seq).unwrap();
    let released_seq = log.durable_seq();
    append_many(&log, 5);
    // The mark tells another process of the last record.
    source.clock.pass(Duration::from_millis(20));
    log.tick();
    let released = |all: &[Kept]| all.iter().map(|kept| kept.piece().archived).max().unwrap();
    for shipped in [pieces(&log, Some(&from)), pieces(&source.open_to_read().unwrap(), Some(&from))] {
        let (early, rest): (Vec<_>, Vec<_>) =
            shipped.into_iter().partition(|kept| kept.piece().last_seq < released_seq);
        assert!(early.len() > 2, "{}", early.len());
        assert_eq!(released(&early), 0);
        assert!(released(&rest) > 0);
    }
    // One that sees a release in the middle of its way.
    let mut shipping = Source::open(&log, Some(&from)).unwrap();
    let (mut told, mut ends) = (vec![(0, 0)], vec![log.durable_seq()]);
    while let Some(piece) = shipping.next_piece(Some(0)).unwrap() {
        sink.write(&piece).unwrap();
        told.push((piece.archived, piece.last_seq));
        if told.len() == 6 {
            append_many(&log, 100);
            log.trim(told.last().unwrap().1).unwrap();
            ends.push(log.durable_seq());
        }
    }
    let heard = told.windows(2).filter(|two| two[0].0 != two[1].0).map(|two| two[1].1).collect::<Vec<_>>();
    // With the first piece that has it.
    let has = |end: u64| told.iter().map(|(_, last_seq)| *last_seq).find(|last_seq| *last_seq >= end);
    assert_eq!(heard.iter().copied().map(Some).collect::<Vec<_>>(), ends.into_iter().map(has).collect::<Vec<_>>());
    log.tick();
    assert_eq!(source.segments(), copy.segments());
}
