//! What reading all of a follower's copy says, whatever its sink does meanwhile; and where it goes on, without its lock.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::machine::*;
use super::story;
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::format::SinkSlot;
use twal::{Acknowledged, Code, Finding, FindingKind, Position, Verified};

fn verified(machine: &Machine) -> (Verified, Vec<Finding>) {
    let mut findings = Vec::new();
    let verified = twal::verify_on(&*machine.disk, Path::new(LOG), &mut |finding| {
        findings.push(finding.clone());
        true
    });
    (verified.unwrap(), findings)
}

fn places(findings: &[Finding]) -> Vec<(FindingKind, u64, u64, u64, u64)> {
    findings.iter().map(|found| (found.kind, found.segment, found.offset, found.seq, found.last_seq)).collect()
}

fn position(machine: &Machine) -> Position {
    Position::of_follower_on(&*machine.disk, Path::new(LOG)).unwrap()
}

/// What is below this was released, and may have gone before it was read.
fn oldest_seq(machine: &Machine) -> u64 {
    machine.segments().iter().map(|name| name[22..42].parse().unwrap()).min().unwrap_or(1)
}

/// The copy is the source's files, so of the same flipped bit the same is said.
#[test]
fn rot_in_a_sealed_segment_is_found_where_it_is() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = varied(&source);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    let told = sink.position();
    sink.close().unwrap();
    log.close().unwrap();
    let (whole, findings) = verified(&copy);
    assert_eq!(places(&findings), []);
    assert_eq!((whole.segments, whole.last_good_seq), (copy.segments().len() as u64, told.last_seq));
    let (names, mut said, mut not_said) = (copy.segments(), 0, 0);
    let (newest, sealed) = names.split_last().unwrap();
    assert!(sealed.len() >= 4 && newest.ends_with(".active"), "{names:?}");
    for name in sealed {
        let blocks = copy.disk.content(name).unwrap().len() as u64 / u64::from(BLOCK);
        for block in (0..blocks).filter(|block| *block < 2 || block % 3 == 0) {
            let offset = block * u64::from(BLOCK) + block * 37 % u64::from(BLOCK);
            [&source, &copy].iter().for_each(|machine| machine.disk.flip_bit(name, offset, 5));
            let [expected, found] = [&source, &copy].map(|machine| verified(machine).1);
            assert_eq!(places(&found), places(&expected), "{name} at {offset}");
            assert!(found.iter().all(|found| found.acknowledged == Acknowledged::Yes && found.offset <= offset));
            *(if found.is_empty() { &mut not_said } else { &mut said }) += 1;
            [&source, &copy].iter().for_each(|machine| machine.disk.flip_bit(name, offset, 5));
        }
    }
    // Padding, and what lies behind a seal, is nobody's.
    assert!(said > 60 && not_said > 0, "{said} and {not_said}");
    assert_eq!(places(&verified(&copy).1), []);
}

/// A position of which every copy is whole, and that is none of its segment's.
#[test]
fn a_position_that_no_sink_has_written_is_damage() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = source.open().unwrap();
    append_many(&log, 100);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    drop(sink);
    let slot = SinkSlot::newest(&copy.disk.content("twal-sink").unwrap(), 4096).unwrap().unwrap();
    let block = u64::from(BLOCK);
    let chain = twal::format::Chain { identity: slot.chain.identity ^ 1, ..slot.chain };
    for wrong in [
        SinkSlot { offset: slot.offset + 1, ..slot },
        SinkSlot { offset: slot.offset - 1, ..slot },
        SinkSlot { offset: slot.offset + block, ..slot },
        SinkSlot { offset: slot.offset - block, ..slot },
        SinkSlot { offset: 0, ..slot },
        SinkSlot { offset: u64::MAX, ..slot },
        SinkSlot { salt: [9; 16], ..slot },
        SinkSlot { generation: 7, ..slot },
        SinkSlot { chain, ..slot },
    ] {
        let copy = copy.crashed(1, Stop::Kill, Keep::Everything);
        let mut bytes = vec![0; 4096];
        wrong.encode(&mut bytes);
        (0..4).for_each(|at| copy.disk.overwrite("twal-sink", at * 4096, &bytes));
        // A frame too far there is none.
        let too_far = wrong.offset == slot.offset + block;
        assert_eq!(copy.verify(), [if too_far { FindingKind::Frame } else { FindingKind::Position }], "{wrong:?}");
        assert_eq!(code(copy.sink()), Some(Code::Corrupt), "{wrong:?}");
    }
}

/// The sink goes on right behind the look at its position and the names, at the next file that is opened: segments are begun, sealed, released and removed.
#[test]
fn a_sink_that_moves_on_is_no_damage() {
    let (_source, _log, all) = story();
    for count in 0..all.len() {
        let copy = Machine::new(2);
        let mut sink = copy.sink().unwrap();
        all[..count].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
        sink.sync().unwrap();
        let told = sink.position();
        assert_eq!(position(&copy), told, "piece {count}");
        let rest = all[count..].to_vec();
        let disk = copy.disk.clone();
        let go_on = Box::new(move || {
            rest.iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
            // Not closed: it is still there.
            sink.sync().unwrap();
            std::mem::forget(sink);
        });
        // The first one is the position's.
        copy.disk.behind_next_open(Box::new(move || disk.behind_next_open(go_on)));
        let (verified, findings) = verified(&copy);
        assert_eq!(places(&findings), [], "piece {count}");
        assert!(verified.last_good_seq >= told.last_seq || oldest_seq(&copy) > told.last_seq, "piece {count}");
    }
}

/// The same with threads: a look at any moment of a sink's life.
#[test]
fn beside_a_sink_all_that_it_has_told_is_whole() {
    let (_source, _log, all) = story();
    for seed in 0..4 {
        let copy = Machine::new(seed);
        let mut sink = copy.sink().unwrap();
        // What was told is told before the number is here.
        let (told, ended) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for piece in &all {
                    sink.write(&piece.piece()).unwrap();
                    sink.sync().unwrap();
                    told.store(sink.position().last_seq, Ordering::Release);
                }
                ended.store(true, Ordering::Release);
                sink
            });
            loop {
                let (ended, told) = (ended.load(Ordering::Acquire), told.load(Ordering::Acquire));
                let (verified, findings) = verified(&copy);
                assert_eq!(places(&findings), []);
                let last = verified.last_good_seq;
                assert!(last >= told || oldest_seq(&copy) > told, "{last} of {told}");
                assert!(position(&copy).last_seq >= told);
                if ended {
                    break;
                }
            }
            writing.join().unwrap().close().unwrap();
        });
    }
}

#[test]
fn where_a_follower_goes_on_is_asked_without_making_one() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    assert_eq!(position(&copy), Position::default());
    assert!(copy.disk.names().is_empty());
    let log = source.open().unwrap();
    append_many(&log, 1);
    assert_eq!(code(Position::of_follower_on(&*source.disk, Path::new(LOG))), Some(Code::State));
    let sink = copy.sink().unwrap();
    assert_eq!(position(&copy), sink.position());
    assert_eq!(copy.verify(), [], "nothing in front of the beginning is damaged");
}

/// A flush of the new segment's file that fails ends the sink like any other.
#[test]
fn a_device_that_fails_ends_the_sink_whatever_it_was_asked() {
    let (_source, _log, all) = story();
    let at = (1..all.len()).find(|at| all[*at].head.offset == 0).unwrap();
    for kind in [CallKind::Sync, CallKind::Write, CallKind::DirSync] {
        let mut failures = 0;
        for call in 0.. {
            let copy = Machine::new(2);
            let mut sink = copy.sink().unwrap();
            all[..at].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
            copy.disk.fail_kind(kind, call, libc::EIO);
            match sink.write(&all[at].piece()) {
                Ok(()) => break,
                Err(error) => assert_eq!(error.code, Code::Io, "{kind:?} {call}: {error}"),
            }
            copy.disk.clear_faults();
            assert_eq!(code(sink.write(&all[at].piece())), Some(Code::Poisoned), "{kind:?} {call}");
            failures += 1;
        }
        assert!(failures > 0, "{kind:?}");
    }
}

/// To who has nothing a later segment's beginning is bytes that lack those in front of them, and no damage.
#[test]
fn a_copy_cannot_begin_behind_a_segment_that_is_not_released() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = source.open().unwrap();
    append_many(&log, 200);
    let all = pieces(&log, None);
    let second = all.iter().find(|kept| kept.head.index == 2).unwrap();
    let mut sink = copy.sink().unwrap();
    let refused = sink.write(&second.piece()).unwrap_err();
    assert_eq!((refused.code, refused.segment, refused.offset), (Code::NotFound, 2, 0));
    all.iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
}
