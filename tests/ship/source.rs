//! What a source yields: what is durable, in either process, and all of it whatever fails on the way.

use std::time::Duration;

use super::machine::*;
use twal::disk::sim::CallKind;
use twal::{Code, Entry, How, Log, Source};

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
