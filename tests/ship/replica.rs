//! A follower's copy that is read: all that its position says is durable, nothing behind it, and never another copy's.

use super::machine::*;
use super::{play, story, Story, ENDS};
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Code, Error, Iter, IterOptions, Log, Position, SegmentState, Sink, Source};

/// A source that gives nothing back: a reader of the copy loses nothing to that, however late it is.
fn kept_story() -> Story {
    let source = Machine::new(1);
    let log = source.open().unwrap();
    let mut all = Vec::new();
    let mut shipping = Source::open(&log, None).unwrap();
    for turn in 0..10 {
        append_many(&log, 25);
        while let Some(piece) = shipping.next_piece(Some(0)).unwrap() {
            all.push(Kept::of(&piece));
        }
        if turn % 4 == 1 {
            log.roll().unwrap();
        }
    }
    drop(shipping);
    (source, log, all)
}

/// Every record that is new to `iter` is the source's; the number behind the last one.
fn read_on(iter: &mut Iter, context: &str) -> Result<u64, Error> {
    loop {
        let next = iter.next_seq();
        match iter.next_record()? {
            Some(found) => assert!(found.seq == next && found.data == record(next), "record {next}, {context}"),
            None => return Ok(iter.next_seq()),
        }
    }
}

/// Opens the copy and reads all that there is; the last number.
fn read_all(copy: &Machine, context: &str) -> Result<(Log, Iter), Error> {
    let log = copy.open_to_read()?;
    let mut iter = log.iter(0)?;
    let next = read_on(&mut iter, context)?;
    assert_eq!(next, log.last_seq() + 1, "{context}");
    assert!(log.is_follower(), "{context}");
    Ok((log, iter))
}

/// After each piece, and each flush: who follows and who comes get all up to the position and nothing behind it.
#[test]
fn a_copy_is_read_up_to_its_position() {
    let (source, _log, all) = story();
    let copy = Machine::new(2);
    assert_eq!(code(copy.open_to_read()), Some(Code::NotFound), "there is no directory");
    let mut sink = copy.sink().unwrap();
    assert_eq!(code(copy.open_to_read()), Some(Code::NotFound), "there is nothing in it");
    let mut following: Option<(Log, Iter)> = None;
    let mut behind = 0;
    for (at, piece) in all.iter().enumerate() {
        sink.write(&piece.piece()).unwrap();
        if at % 3 == 1 {
            sink.sync().unwrap();
        }
        let here = sink.position();
        behind += u64::from(piece.head.last_seq > here.last_seq);
        let context = format!("piece {at}");
        let (log, iter) = read_all(&copy, &context).unwrap();
        assert_eq!(log.durable_seq(), here.last_seq, "{context}");
        let report = log.report();
        assert_eq!((report.last_seq, report.end_segment), (here.last_seq, here.index), "{context}");
        assert_eq!(report.records, here.last_seq + 1 - report.first_seq, "{context}");
        let segments = log.segments().unwrap();
        let newest = segments.last().unwrap();
        assert_eq!((newest.index, newest.last_seq), (here.index, here.last_seq.max(newest.first_seq - 1)), "{context}");
        let (following, iter) = following.get_or_insert((log, iter));
        assert_eq!(read_on(iter, &context).unwrap(), here.last_seq + 1, "{context}");
        assert_eq!(following.durable_seq(), here.last_seq, "{context}");
        if here.last_seq >= following.first_seq() {
            following.read(here.last_seq, |found| assert!(found.data == record(found.seq))).unwrap();
        }
        assert_eq!(code(following.read(here.last_seq + 1, |_| ())), Some(Code::NotFound), "{context}");
    }
    assert!(behind > 5, "{behind} pieces lay behind the position");
    sink.close().unwrap();
    assert!(source.segments().len() > 2 && copy.segments().iter().any(|name| name.ends_with("archived")));
    // What is archived was released at the source, and is here.
    let (log, _) = read_all(&copy, "the end").unwrap();
    assert!(log.first_seq() > 1);
    assert_eq!(code(log.iter(log.first_seq() - 1)), Some(Code::Trimmed));
}

#[test]
fn every_way_of_reading_ends_at_the_position() {
    let (_source, _log, all) = story();
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    let (behind, durable) = all.split_last_chunk::<3>().map(|(durable, behind)| (behind, durable)).unwrap();
    durable.iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    sink.sync().unwrap();
    behind.iter().filter(|piece| piece.head.offset != 0).for_each(|piece| drop(sink.write(&piece.piece())));
    let here = sink.position();
    let log = copy.open_to_read().unwrap();
    let ways = [
        IterOptions { headers_only: true, ..IterOptions::default() },
        IterOptions { snapshot: true, ..IterOptions::default() },
        IterOptions { map_sealed: true, ..IterOptions::default() },
        IterOptions { skip_damaged: true, ..IterOptions::default() },
        IterOptions { from_segment: here.index, ..IterOptions::default() },
    ];
    for options in ways {
        let mut iter = log.iter_with(options.clone()).unwrap();
        while iter.next_record().unwrap().is_some() {}
        assert_eq!(iter.next_seq(), here.last_seq + 1, "{options:?}");
        assert_eq!(iter.skipped().spots, 0);
    }
    assert_eq!(
        code(log.iter_with(IterOptions { from_segment: here.index + 1, ..IterOptions::default() })),
        Some(Code::NotFound)
    );
    let verified = twal::Options { verify: true, read_only: true, ..copy.options.clone() };
    let threads = twal::commit::Threads::None;
    let checked = Log::open_on(&*copy.disk, std::path::Path::new(LOG), &verified, copy.clock.clone(), threads).unwrap();
    assert_eq!(checked.last_seq(), here.last_seq);
}

/// What cannot be done with a copy that is read.
#[test]
fn a_copy_is_read_and_no_more() {
    let (_source, _log, all) = story();
    let copy = Machine::new(2);
    play(&mut copy.sink().unwrap(), &all, &mut Position::default()).unwrap();
    let log = copy.open_to_read().unwrap();
    assert_eq!(code(copy.open()), Some(Code::State), "not written");
    assert_eq!(code(log.hold_set("mine", 0)), Some(Code::State), "nothing is held there");
    assert_eq!(code(log.hold_drop("mine")), Some(Code::State));
    assert_eq!(log.holds().unwrap(), []);
    assert_eq!(code(log.trim(1)), Some(Code::ReadOnly));
}

/// What a reader has delivered stays, whatever the power takes: it was durable, or was made so.
#[test]
fn what_was_delivered_is_durable() {
    let (_source, _log, all) = kept_story();
    let (begin, rest) = all.split_at(all.len() / 3);
    let (mut call, mut newer, mut over) = (0, 0, false);
    while !over {
        for seed in 0..8 {
            let copy = Machine::new(seed);
            let mut sink = copy.sink().unwrap();
            let mut told = Position::default();
            play(&mut sink, begin, &mut told).unwrap();
            let context = format!("write {call}, seed {seed}");
            let (_following, mut iter) = read_all(&copy, &context).unwrap();
            // A write that fails leaves of itself what it likes, in a cache only.
            copy.disk.fail_kind(CallKind::Write, call, libc::EIO);
            over = play(&mut sink, rest, &mut told).is_ok();
            copy.disk.clear_faults();
            let delivered = match seed % 2 {
                0 => read_on(&mut iter, &context).unwrap() - 1,
                _ => read_all(&copy, &context).unwrap().0.last_seq(),
            };
            assert!(delivered >= told.last_seq, "{context}: {told:?} was told, {delivered} delivered");
            newer += u64::from(delivered > told.last_seq);
            drop(sink);
            let copy = copy.crashed(seed, Stop::PowerCut, Keep::Nothing);
            let found = copy.reopened().position();
            assert!(found.last_seq >= delivered, "{context}: {delivered} was delivered, {} is there", found.last_seq);
        }
        call += 1;
    }
    assert!(call > 20 && newer > 10, "{call}, {newer}");
}

/// After each crash of the sink its copy is read, by who stays while another sink sets it right and goes on.
#[test]
fn a_reader_stays_while_a_sink_comes_back_at_any_step() {
    let (_source, log, all) = kept_story();
    let whole = Machine::new(2);
    play(&mut whole.sink().unwrap(), &all, &mut Position::default()).unwrap();
    let (mut read, mut begun) = (0, 0);
    for step in 0..whole.disk.steps() {
        for (seed, (stop, keep)) in (10..).zip(ENDS) {
            let copy = Machine::new(2);
            copy.disk.set_keep(keep);
            copy.disk.stop_at(step, stop);
            let mut told = Position::default();
            assert!(copy.sink().and_then(|mut sink| play(&mut sink, &all, &mut told)).is_err() && copy.disk.restart());
            copy.disk.reseed(seed);
            let context = format!("step {step}, {stop:?}, {keep:?}");
            let (reader, mut iter) = match read_all(&copy, &context) {
                Err(error) => {
                    // Nothing was ever there; or the name of its directory, or of its position, was not durable.
                    assert!(error.code == Code::NotFound && told.last_seq == 0, "{context}: {error}");
                    continue;
                }
                Ok(opened) => opened,
            };
            read += 1;
            assert!(reader.last_seq() >= told.last_seq, "{context}");
            // From the end on: it stands in front of a segment that may be only begun, and is in the directory.
            assert!(!reader.segments().unwrap().is_empty(), "{context}");
            let mut tail = reader.iter(reader.last_seq() + 1).unwrap();
            begun += u64::from(copy.segments().iter().any(|name| index_of(name) > reader.report().end_segment));
            let delivered = reader.last_seq();
            let mut sink = copy.reopened();
            assert!(sink.position().last_seq >= delivered, "{context}");
            all[next_of(&all, &sink.position())..].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
            sink.sync().unwrap();
            ship(&log, &mut sink);
            let end = sink.position().last_seq + 1;
            assert_eq!(read_on(&mut tail, &context).unwrap(), end, "{context}");
            assert_eq!(read_on(&mut iter, &context).unwrap(), end, "{context}");
        }
    }
    assert!(read > 100 && begun > 3, "{read} were read, {begun} with a segment above the position");
}

fn index_of(name: &str) -> u64 {
    name[5..21].parse().unwrap()
}

/// A copy that is promoted while it is read is a log, and goes on as one.
#[test]
fn a_reader_goes_on_with_the_promoted_log() {
    for records in [1, 30, 130, 300] {
        for rolled in [false, true] {
            let (source, copy) = (Machine::new(1), Machine::new(2));
            let log = source.open().unwrap();
            append_many(&log, records);
            if rolled {
                log.roll().unwrap();
            }
            let mut sink = copy.sink().unwrap();
            ship(&log, &mut sink);
            let context = format!("{records}, {rolled}");
            let (reader, mut iter) = read_all(&copy, &context).unwrap();
            append_many(&log, 7);
            ship(&log, &mut sink);
            sink.promote().unwrap();
            sink.close().unwrap();
            // Its last position counts, also who has not seen it.
            assert_eq!(read_on(&mut iter, &context).unwrap(), records + 8, "{context}");
            assert!(!reader.is_follower());
            let promoted = copy.open().unwrap();
            append_many(&promoted, 100);
            promoted.close().unwrap();
            assert_eq!(read_on(&mut iter, &context).unwrap(), records + 108, "{context}");
            assert_eq!(reader.durable_seq(), records + 107);
            reader.read(records + 50, |found| assert!(found.data == record(found.seq))).unwrap();
        }
    }
}

/// A promotion that fails somewhere leaves a follower, or a log: a reader goes on with either.
#[test]
fn a_reader_stays_beside_a_promotion_that_fails() {
    let (mut call, mut followers) = (0, 0);
    loop {
        let (source, copy) = (Machine::new(1), Machine::new(2));
        let log = source.open().unwrap();
        append_many(&log, 130);
        let mut sink = copy.sink().unwrap();
        ship(&log, &mut sink);
        let context = format!("call {call}");
        let (reader, mut iter) = read_all(&copy, &context).unwrap();
        copy.disk.fail_call(call, libc::EIO);
        let promoted = sink.promote();
        copy.disk.clear_faults();
        let mut tail = reader.iter(131).unwrap();
        drop(sink);
        append_many(&log, 60);
        if copy.disk.names().contains(&"twal-sink".to_owned()) {
            followers += 1;
            assert_eq!(read_on(&mut tail, &context).unwrap(), 131, "{context}");
            let mut sink = copy.reopened();
            ship(&log, &mut sink);
            for iter in [&mut iter, &mut tail] {
                assert_eq!(read_on(iter, &context).unwrap(), 191, "{context}");
            }
        } else {
            assert_eq!(read_on(&mut tail, &context).unwrap(), 131, "{context}");
            append_many(&copy.open().unwrap(), 60);
            assert_eq!(read_on(&mut iter, &context).unwrap(), 191, "{context}");
        }
        if promoted.is_ok() {
            break;
        }
        call += 1;
    }
    assert!(call > 10 && followers > 8, "{call}, {followers}");
}

/// A copy that is begun anew in the same directory is not the one that is read.
#[test]
fn a_reader_is_told_that_a_copy_was_begun_anew() {
    let (_source, _log, all) = kept_story();
    for kept in [0, 1, all.len() / 2, all.len()] {
        let copy = Machine::new(2);
        let mut sink = copy.sink().unwrap();
        play(&mut sink, &all, &mut Position::default()).unwrap();
        let position = copy.disk.content("twal-sink").unwrap();
        let (reader, mut end) = read_all(&copy, "before").unwrap();
        let first_seq = reader.first_seq();
        let mut middle = reader.iter(first_seq).unwrap();
        middle.next_record().unwrap();
        let mut shipping = Source::open(&reader, None).unwrap();
        drop(sink);
        copy.disk.names().iter().for_each(|name| copy.disk.remove_file(name));
        let gone = |error: Error, context: &str| {
            assert_eq!(error.code, Code::State, "{kept} pieces, {context}: {error}");
            assert!(error.text.contains("open it again"), "{error}");
        };
        if kept > 0 {
            let mut sink = copy.sink().unwrap();
            play(&mut sink, &all[..kept], &mut Position::default()).unwrap();
            sink.close().unwrap();
        }
        gone(read_on(&mut end, "end").unwrap_err(), "at the end");
        if let Err(error) = read_on(&mut middle, "middle") {
            gone(error, "in the middle");
        }
        gone(shipping.next_piece(Some(0)).err().unwrap(), "being shipped on");
        gone(reader.read(reader.last_seq() + 1, |_| ()).unwrap_err(), "by number");
        gone(reader.segments().unwrap_err(), "its segments");
        gone(Source::open(&reader, None).err().unwrap(), "shipped on");
        // An earlier position, put back over the file or in its place.
        if kept == all.len() {
            let (reader, mut end) = read_all(&copy, "again").unwrap();
            let older = reader.last_seq();
            let sink = copy.reopened();
            let now = copy.disk.content("twal-sink").unwrap();
            sink.close().unwrap();
            copy.disk.put_file("twal-sink", &position);
            gone(read_on(&mut end, "put back").unwrap_err(), "put back");
            assert!(now.len() == position.len() && older > 0);
        }
    }
}

/// An older position, written over the one that was read, is another copy's.
#[test]
fn a_position_that_falls_is_told() {
    let (_source, _log, all) = kept_story();
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    let (begin, rest) = all.split_at(all.len() / 2);
    play(&mut sink, begin, &mut Position::default()).unwrap();
    let older = copy.disk.content("twal-sink").unwrap();
    play(&mut sink, rest, &mut Position::default()).unwrap();
    drop(sink);
    let (_reader, mut iter) = read_all(&copy, "whole").unwrap();
    copy.disk.overwrite("twal-sink", 0, &older);
    assert_eq!(read_on(&mut iter, "older").map_err(|error| error.code), Err(Code::State));
}

/// A segment that is missing, whichever: what lies in front of it is read.
#[test]
fn a_missing_segment_is_told() {
    let (_source, _log, all) = kept_story();
    let copy = Machine::new(2);
    play(&mut copy.sink().unwrap(), &all, &mut Position::default()).unwrap();
    let names = copy.segments();
    assert!(names.len() > 3);
    for name in &names {
        let copy = copy.crashed(1, Stop::Kill, Keep::Everything);
        copy.disk.remove_file(name);
        let reader = copy.open_to_read().unwrap();
        let mut next = reader.first_seq();
        let mut iter = match reader.iter(0) {
            Err(error) => {
                assert!(error.code == Code::Corrupt && *name == names[0], "{name}: {error}");
                continue;
            }
            Ok(iter) => iter,
        };
        let error = loop {
            match iter.next_record() {
                Ok(Some(found)) => {
                    assert_eq!(found.seq, next, "{name}");
                    next += 1;
                }
                Ok(None) => panic!("{name}: it ends before {next}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, Code::Corrupt, "{name}: {error}");
        assert!(*name == names[0] || next == name[22..42].parse::<u64>().unwrap(), "{name}: {next}");
    }
}

/// In front of the position it is damage, whoever finds it; what lies in front of that is delivered.
#[test]
fn damage_in_front_of_the_position_is_told() {
    let (_source, _log, all) = kept_story();
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    let (behind, durable) = all.split_last().unwrap();
    play(&mut sink, durable, &mut Position::default()).unwrap();
    // Whole, and behind the position.
    sink.write(&behind.piece()).unwrap();
    assert!(behind.head.offset > 0 && sink.position().last_seq < behind.head.last_seq);
    drop(sink);
    let whole = copy.open_to_read().unwrap();
    let (first_seq, last_seq) = (whole.first_seq(), whole.last_seq());
    let segments = whole.segments().unwrap();
    let live: Vec<_> = segments.iter().filter(|segment| segment.state != SegmentState::Archived).collect();
    assert!(live.len() > 1);
    drop(whole);
    for segment in live {
        let copy = copy.crashed(segment.index, Stop::Kill, Keep::Everything);
        copy.disk.flip_bit(&segment.file, u64::from(BLOCK) + 16, 3);
        let reader = copy.open_to_read().unwrap();
        let mut iter = reader.iter(0).unwrap();
        let error = read_on(&mut iter, "damaged").unwrap_err();
        assert_eq!((error.code, error.segment), (Code::Corrupt, segment.index), "{error}");
        assert!((segment.first_seq..=segment.last_seq).contains(&iter.next_seq()), "{}", iter.next_seq());
        let mut skipping = reader.iter_with(IterOptions { skip_damaged: true, ..IterOptions::default() }).unwrap();
        let mut count = 0;
        while let Some(found) = skipping.next_record().unwrap() {
            assert!(found.data == record(found.seq));
            count += 1;
        }
        let skipped = skipping.skipped();
        assert!(skipped.spots == 1 && count + skipped.records == last_seq + 1 - first_seq, "{skipped:?}, {count}");
    }
    // Of the position itself: nobody knows how far it goes, and nothing is delivered.
    let len = copy.disk.content("twal-sink").unwrap().len();
    for at in (0..len as u64).step_by(512) {
        copy.disk.flip_bit("twal-sink", at + 100, 0);
    }
    let reader = copy.open_to_read().unwrap();
    assert_eq!(code(reader.iter(0).and_then(|mut iter| iter.next_record().map(drop))), Some(Code::Corrupt));
    assert!(reader.is_follower());
}

/// A sink that is dropped with unflushed pieces, and one that goes on: nobody is woken for what is not durable.
#[test]
fn an_unfinished_copy_wakes_nobody() {
    let (_source, _log, all) = story();
    let copy = Machine::new(2);
    let mut sink: Sink = copy.sink().unwrap();
    all[..6].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    sink.sync().unwrap();
    let (reader, mut iter) = read_all(&copy, "begin").unwrap();
    let before = reader.durable_seq();
    all[6..9].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    let waited = iter.wait_record(Some(5_000_000));
    if sink.position().last_seq == before {
        assert_eq!(waited.err().map(|error| error.code), Some(Code::Timeout));
    }
    sink.sync().unwrap();
    let next = before + 1;
    assert_eq!(iter.wait_record(Some(5_000_000)).unwrap().map(|found| found.seq), Some(next));
}

/// A follower's copy is a source itself: whatever its position, the follower of the follower gets the same files.
#[test]
fn a_copy_is_shipped_on() {
    for (source, _log, all) in [story(), kept_story()] {
        let (copy, further) = (Machine::new(2), Machine::new(3));
        let (mut sink, mut last) = (copy.sink().unwrap(), further.sink().unwrap());
        let mut reader = None;
        for (at, piece) in all.iter().enumerate() {
            sink.write(&piece.piece()).unwrap();
            if at % 2 == 0 {
                continue;
            }
            sink.sync().unwrap();
            let here = sink.position();
            ship(reader.get_or_insert_with(|| copy.open_to_read().unwrap()), &mut last);
            let there = last.position();
            let context = format!("piece {at}");
            assert_eq!(
                (there.index, there.last_seq, there.complete),
                (here.index, here.last_seq, here.complete),
                "{context}"
            );
            assert_eq!(there.log_id, here.log_id);
            assert_eq!(there.history_id, here.history_id);
            if here.index > 1 {
                // What is behind a seal may come later than it came here.
                assert!(there.offset <= here.offset, "{context}");
            }
        }
        assert_same(&source, &further, &last.position());
        assert_eq!(further.verify(), []);
        // What the promoted one does is another history.
        let reader = reader.unwrap();
        let mut shipping = Source::open(&reader, Some(&last.position())).unwrap();
        assert!(shipping.next_piece(Some(0)).unwrap().is_none());
        sink.promote().unwrap();
        assert_eq!(code(shipping.next_piece(Some(0)).map(drop)), Some(Code::State));
        assert_eq!(code(Source::open(&reader, Some(&last.position()))), Some(Code::State));
    }
}

/// A handle that was opened long ago, and asked nothing since: everything that it knows of has been given back.
#[test]
fn a_reader_that_has_not_looked_for_long_is_told_of_no_damage() {
    type Ask = fn(&Log) -> Result<u64, Error>;
    let asked: [(&str, Ask); 3] = [
        ("iter", |log| read_on(&mut log.iter(0)?, "late")),
        ("read", |log| log.read(1, |record| record.seq)),
        ("streams", |log| log.streams(0).map(|streams| streams.len() as u64)),
    ];
    for (what, ask) in asked {
        let (source, copy) = (Machine::new(1), Machine::new(2));
        let log = source.open().unwrap();
        append_many(&log, 10);
        let mut sink = copy.sink().unwrap();
        ship(&log, &mut sink);
        let reader = copy.open_to_read().unwrap();
        for _ in 0..5 {
            append_many(&log, 10);
            log.roll().unwrap();
            log.trim(log.durable_seq()).unwrap();
            append_many(&log, 1);
            ship(&log, &mut sink);
        }
        assert!(copy.segments().iter().all(|name| index_of(name) > 3), "{:?}", copy.segments());
        match ask(&reader) {
            Ok(found) => assert!(what != "read" && found > 0, "{what}: {found}"),
            Err(error) => assert!(error.code == Code::Trimmed && what == "read", "{what}: {error}"),
        }
        assert_eq!(ask(&reader).is_ok(), what != "read");
    }
}
