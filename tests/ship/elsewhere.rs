//! A source in another process than the writer's, and a machine that loses its power: a follower has nothing that the log
//! has lost.
//!
//! Method: the writer is stopped at every step that changes its disk; a reader ships what it can see; the power is cut;
//! the log is opened for writing, and must go on from where the follower is.

use std::path::Path;

use super::machine::*;
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::disk::{Dir, Disk, LockKind};
use twal::{Code, Entry, Error, How, Log, Sink, Source};

/// Frames that are flushed and some that are not, rolls, a release.
fn write(machine: &Machine) -> Result<Log, Error> {
    let log = machine.open()?;
    for round in 0..14 {
        for at in 0..9 {
            let data = record(log.last_seq() + 1);
            let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
            log.append(&entry, How { sync: Some(at % 3 == 0), no_wait: false })?;
            log.tick();
        }
        match round {
            1 | 3 | 9 => log.roll()?,
            4 | 11 => log.trim(log.last_seq())?,
            _ => {}
        }
    }
    Ok(log)
}

/// Ships what a reader sees now; false: there is nothing to be opened yet.
fn ship_elsewhere(machine: &Machine, sink: &mut Sink) -> bool {
    let opened =
        machine.open_to_read().and_then(|log| Source::open(&log, Some(&sink.position())).map(|source| (log, source)));
    let Ok((_log, mut source)) = opened else { return false };
    loop {
        match source.next_piece(Some(0)) {
            Ok(Some(piece)) => sink.write(&piece).unwrap(),
            Ok(None) => break,
            Err(error) => {
                assert!(matches!(error.code, Code::Busy | Code::Trimmed), "{error}");
                break;
            }
        }
    }
    sink.sync().unwrap();
    true
}

/// Holds the directory's lock as a writer does that has not begun to write.
fn lock(machine: &Machine) -> Option<std::sync::Arc<dyn Dir>> {
    let dir = machine.disk.open_dir(Path::new(LOG), false).ok()?;
    assert!(dir.try_lock(LockKind::Exclusive).unwrap());
    Some(dir)
}

/// Beside a next writer that has yet to look at the log, and with none.
#[test]
fn what_was_shipped_elsewhere_outlives_a_power_cut_of_the_source() {
    let whole = Machine::new(1);
    write(&whole).unwrap();
    let steps = whole.disk.steps();
    assert!(steps > 80, "{steps}");
    let (mut shipped, mut tails) = (0, 0);
    for step in 0..steps {
        for next_writer in [false, true] {
            let machine = Machine::new(1);
            machine.disk.stop_at(step, Stop::Kill);
            // Stopped while it writes, or when it is closed.
            drop(write(&machine));
            assert!(machine.disk.restart());
            let locked = next_writer.then(|| lock(&machine));
            let copy = Machine::new(2);
            let mut sink = copy.sink().unwrap();
            if !ship_elsewhere(&machine, &mut sink) {
                continue;
            }
            let there = sink.position();
            shipped += u64::from(there.index > 0);
            drop(locked);
            for (seed, keep) in (10..).zip([Keep::Nothing, Keep::Random, Keep::Random, Keep::Everything]) {
                let context = format!("step {step}, next writer {next_writer}, {keep:?}, follower at {there:?}");
                let machine = machine.crashed(seed, Stop::PowerCut, keep);
                let log = machine.open().unwrap_or_else(|error| panic!("{context}: {error}"));
                tails += u64::from(log.report().frames_rewritten > 0);
                assert!(log.last_seq() >= there.last_seq, "{context}: {}", log.last_seq());
                let copy = copy.crashed(seed, Stop::Kill, Keep::Everything);
                let mut sink = copy.sink().unwrap();
                if let Err(error) = Source::open(&log, Some(&there)) {
                    panic!("{context}: {error}");
                }
                ship(&log, &mut sink);
                assert_eq!(sink.position().last_seq, log.durable_seq(), "{context}");
                assert_same(&machine, &copy, &sink.position());
            }
        }
    }
    assert!(shipped > steps && tails > 20, "{shipped}, {tails}");
}

/// The name of a new segment is made durable before its first byte is shipped; where that fails nothing is.
#[test]
fn a_segment_whose_name_is_not_durable_is_not_shipped() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    append_many(&log, 5);
    let reader = machine.open_to_read().unwrap();
    let mut source = Source::open(&reader, None).unwrap();
    machine.disk.fail_kind(CallKind::DirSync, 0, libc::EIO);
    // The kernel tells of it once: a flush behind it would say that all is well.
    for _ in 0..3 {
        assert_eq!(code(source.next_piece(Some(0))), Some(Code::Io));
    }
    assert_eq!(code(Source::open(&reader, None).unwrap().next_piece(Some(0))), Some(Code::Io), "nor for another one");
    let anew = machine.open_to_read().unwrap();
    let mut source = Source::open(&anew, None).unwrap();
    let piece = source.next_piece(Some(0)).unwrap().expect("the header");
    assert_eq!((piece.index, piece.offset), (1, 0));
}

/// Nobody testifies for a killed writer's last record; a copy has it all the same.
#[test]
fn a_copy_of_a_killed_writers_log_has_its_last_record() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    append_many(&log, 100);
    let killed = machine.crashed(1, Stop::Kill, Keep::Everything);
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    assert!(ship_elsewhere(&killed, &mut sink));
    assert_eq!(sink.position().last_seq, 100);
    let cut = killed.crashed(2, Stop::PowerCut, Keep::Nothing);
    let log = cut.open().unwrap();
    assert_eq!(log.last_seq(), 100);
    Source::open(&log, Some(&sink.position())).unwrap();
}
