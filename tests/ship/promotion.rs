//! A copy that becomes a log: at once or not at all, with a history of its own.

use super::machine::*;
use super::ENDS;
use twal::{Code, Log, Source};

/// A source, a copy that has all of it, and their log.
fn followed(records: u64) -> (Machine, Machine, Log) {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = source.open().unwrap();
    append_many(&log, records);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    sink.close().unwrap();
    (source, copy, log)
}

#[test]
fn a_promoted_copy_is_a_log_with_all_that_was_durable() {
    for records in [1, 30, 80, 200, 300] {
        let (_source, copy, _log) = followed(records);
        let mut sink = copy.sink().unwrap();
        sink.promote().unwrap();
        assert_eq!(code(sink.sync()), Some(Code::State));
        assert_eq!(code(sink.promote()), Some(Code::State));
        assert_eq!(code(copy.open()), Some(Code::Locked), "the sink has it until it is closed");
        sink.close().unwrap();
        assert_eq!(copy.verify(), []);
        let log = copy.open().unwrap();
        assert_eq!(read_from(&log, 1), records);
        append_many(&log, 100);
        log.close().unwrap();
        let log = copy.open().unwrap();
        assert_eq!(read_from(&log, 1), records + 100);
        assert_eq!(copy.verify(), []);
        assert_eq!(code(copy.sink()), Some(Code::Locked));
        log.close().unwrap();
        assert_eq!(code(copy.sink()), Some(Code::State));
    }
}

#[test]
fn nothing_cannot_be_promoted() {
    let copy = Machine::new(1);
    let mut sink = copy.sink().unwrap();
    assert_eq!(code(sink.promote()), Some(Code::State));
    sink.close().unwrap();
    assert_eq!(code(copy.open()), Some(Code::State));
}

/// Stopped anywhere it is a follower with the same position, or a log; and either can be gone on with.
#[test]
fn a_promotion_that_is_stopped_at_any_step_is_done_or_not() {
    // The last segment in the middle, sealed, and one that was released and is the only one.
    for story in 0..3 {
        let (source, copy, log) = followed(130);
        if story > 0 {
            log.roll().unwrap();
        }
        if story == 2 {
            log.trim(log.last_seq() + 1).unwrap();
        }
        let copy = if story == 2 { Machine::new(5) } else { copy };
        let mut sink = copy.sink().unwrap();
        // Not the next segment's header.
        for kept in pieces(&log, Some(&sink.position())) {
            if story > 0 && kept.head.offset == 0 && sink.position().index > 0 {
                break;
            }
            sink.write(&kept.piece()).unwrap();
        }
        sink.sync().unwrap();
        let told = sink.position();
        sink.close().unwrap();
        let first = copy.crashed(0, ENDS[0].0, ENDS[0].1);
        let before = first.disk.steps();
        first.sink().unwrap().promote().unwrap();
        let steps = first.disk.steps() - before;
        assert!(steps >= 8, "{steps}");
        let (mut followers, mut logs) = (0, 0);
        for step in 0..steps {
            for (seed, (stop, keep)) in (10..).zip(ENDS) {
                let copy = copy.crashed(seed, ENDS[0].0, ENDS[0].1);
                copy.disk.set_keep(keep);
                copy.disk.stop_at(copy.disk.steps() + step, stop);
                let promoted = copy.sink().and_then(|mut sink| sink.promote());
                assert!(promoted.is_err() && copy.disk.restart(), "story {story}, step {step} of {steps}");
                let context = format!("story {story}, step {step}, {stop:?}, {keep:?}");
                if copy.disk.names().contains(&"twal-sink".to_owned()) {
                    followers += 1;
                    let mut sink = copy.reopened();
                    assert_eq!(sink.position(), told, "{context}");
                    assert_same(&source, &copy, &told);
                    if seed % 2 == 0 {
                        ship(&log, &mut sink);
                        assert_same(&source, &copy, &sink.position());
                        continue;
                    }
                    sink.promote().unwrap();
                } else {
                    logs += 1;
                }
                let opened = copy.open().unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(opened.last_seq(), told.last_seq, "{context}");
                if story < 2 {
                    assert_eq!(read_from(&opened, 1), told.last_seq, "{context}");
                }
                append_many(&opened, 3);
                drop(opened);
                assert_eq!(copy.verify(), [], "{context}");
            }
        }
        assert!(followers > 0 && logs > 0, "{followers} and {logs}");
    }
}

/// One step less, and a crash would leave neither.
#[test]
fn a_promotion_that_fails_leaves_a_follower() {
    let (source, copy, log) = followed(130);
    let told = copy.sink().unwrap().position();
    for errno in [libc::EIO, libc::ENOSPC] {
        for call in 0.. {
            let copy = copy.crashed(call, ENDS[0].0, ENDS[0].1);
            let mut sink = copy.sink().unwrap();
            copy.disk.fail_call(call, errno);
            if sink.promote().is_ok() {
                assert!(call > 8, "{call}");
                break;
            }
            drop(sink);
            let copy = copy.crashed(call, ENDS[1].0, ENDS[1].1);
            if copy.disk.names().contains(&"twal-sink".to_owned()) {
                let mut sink = copy.sink().unwrap();
                assert_eq!(sink.position(), told, "call {call}");
                ship(&log, &mut sink);
                assert_same(&source, &copy, &sink.position());
            } else {
                assert_eq!(read_from(&copy.open().unwrap(), 1), told.last_seq, "call {call}");
            }
        }
    }
}

/// Two histories are two: neither side takes the other's pieces; a new follower takes all of the promoted log.
#[test]
fn histories_do_not_mix() {
    let (_source, copy, log) = followed(130);
    let mut sink = copy.sink().unwrap();
    let old = sink.position();
    sink.promote().unwrap();
    sink.close().unwrap();
    let promoted = copy.open().unwrap();
    assert_eq!(promoted.log_id(), log.log_id());
    append_many(&promoted, 100);
    append_many(&log, 100);

    let stale = Machine::new(3);
    let mut behind = stale.sink().unwrap();
    ship(&log, &mut behind);
    let from_promoted = pieces(&promoted, None);
    for piece in &from_promoted {
        assert_eq!(code(behind.write(&piece.piece())), Some(Code::State), "a follower of the old history");
    }
    assert_eq!(code(Source::open(&promoted, Some(&old))), Some(Code::State));

    let fresh = Machine::new(4);
    let mut sink = fresh.sink().unwrap();
    ship(&promoted, &mut sink);
    assert_same(&copy, &fresh, &sink.position());
    for piece in &pieces(&log, None) {
        assert_eq!(code(sink.write(&piece.piece())), Some(Code::State), "a follower of the new one");
    }
    assert_eq!(code(Source::open(&log, Some(&sink.position()))), Some(Code::State));
    assert_ne!(sink.position().history_id, old.history_id);
    // And on, from generation to generation.
    sink.promote().unwrap();
    sink.close().unwrap();
    assert_eq!(read_from(&fresh.open().unwrap(), 1), 230);
    assert_eq!(fresh.verify(), []);
}
