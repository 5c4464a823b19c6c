//! The committed files.

use std::process::Command;

use twal::interchange::{ReadOptions, Reader, Spot};
use twal::txn::interchange::replay;
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::plan::Rejected;
use twal::txn::{Action, BadEvent, Event, Family, Reason};

use super::{common, expected, files_of, golden, read_dir};

const DIRECTORIES: [&str; 4] = ["clean", "torn", "nosums", "illegal"];
const NO_SUMS: ReadOptions = ReadOptions { ignore_checksums: true, skip_damaged: false };

/// Runs a script; None: there is no python3 here.
pub fn python(script: &str, dir: &std::path::Path) -> Option<String> {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no python3 here");
        return None;
    }
    let output = Command::new("python3").arg(golden(script)).arg(dir).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_script_makes_the_committed_files() {
    let made = common::scratch("interchange-made");
    if python("make.py", &made).is_none() {
        return;
    }
    for name in DIRECTORIES {
        assert_eq!(files_of(&made.join(name)), files_of(&golden(name)), "{name}");
        let lines = format!("{name}.jsonl");
        assert_eq!(std::fs::read(made.join(&lines)).unwrap(), std::fs::read(golden(&lines)).unwrap(), "{lines}");
    }
}

#[test]
fn every_record_is_read_as_the_script_wrote_it() {
    for name in DIRECTORIES {
        let options = if name == "nosums" { NO_SUMS } else { ReadOptions::default() };
        let (lines, error, reader) = read_dir(&golden(name), options);
        assert_eq!((lines, error), (expected(name), None), "{name}");
        let summary = reader.summary();
        assert_eq!(summary.files, files_of(&golden(name)).len() as u64);
        assert_eq!((summary.records, summary.damaged), (expected(name).len() as u64, 0));
        let torn = (name == "torn").then_some(Spot { file: 3, offset: 354 - 29 });
        assert_eq!(summary.torn.is_some(), torn.is_some(), "{name}: {summary:?}");
    }
    let (lines, error, reader) = read_dir(&golden("torn"), ReadOptions::default());
    let last = files_of(&golden("torn")).pop().unwrap().1.len() as u64;
    let torn = reader.summary().torn.unwrap();
    assert_eq!((error, torn.file, torn.offset + reader.summary().torn_bytes), (None, 3, last));
    assert_eq!(lines.len(), 44);
}

#[test]
fn checksums_are_looked_at_unless_told_otherwise() {
    let (lines, error, _) = read_dir(&golden("nosums"), ReadOptions::default());
    let error = error.unwrap();
    assert_eq!(
        (lines.len(), error.code, error.segment, error.offset, error.seq),
        (0, twal::Code::Corrupt, 1, 44, 1000)
    );
}

/// Every type and length of the layout is there, and the codec's table of lengths is that of the events.
#[test]
fn the_files_hold_every_event_of_the_layout() {
    let mut reader = Reader::open(&golden("clean"), ReadOptions::default()).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    while let Some(record) = reader.next_record().unwrap() {
        let event = Event::decode_short(record.kind, record.payload).unwrap();
        let mut payload = Vec::new();
        assert_eq!(event.encode_short(&mut payload), u16::from(record.kind));
        assert_eq!(payload, record.payload);
        kinds.insert(record.kind);
    }
    let all: Vec<u8> = (0..=255).filter(|kind| twal::format::v26::payload_len(*kind).is_some()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    assert_eq!(all.len(), 22);
}

#[test]
fn what_is_unfinished_is_planned() {
    let mut reader = Reader::open(&golden("clean"), ReadOptions::default()).unwrap();
    let found = replay(&mut reader, STATE_BYTES_DEFAULT).unwrap();
    assert_eq!((found.replayed, found.checkpoints, found.wrong_count), (106, 1, 0));
    assert_eq!((found.lowest, found.isolated.len()), ([Some(1), Some(1)], 0));
    let plan: Vec<_> = found.plan.iter().map(|one| (one.family, one.id, one.action, one.parts, one.done)).collect();
    let (saga, transaction) = (Family::Saga, Family::Transaction);
    assert_eq!(
        plan,
        [
            (saga, 5, Action::None, 1, 0),
            (saga, 6, Action::SagaResumeExecute, 2, 1),
            (saga, 7, Action::SagaResumeCompensate, 2, 0),
            (saga, 9, Action::SagaResumeCompensate, 1, 0),
            (transaction, 5, Action::None, 1, 0),
            (transaction, 6, Action::TxResumeAbort, 2, 1),
            (transaction, 7, Action::TxResumeCommit, 2, 2),
            (transaction, 8, Action::TxResumeCommit, 2, 2),
            (transaction, 9, Action::TxResumeAbort, 1, 1),
            (transaction, 12, Action::TxResumeRollback, 2, 2),
        ]
    );
    assert!(found.plan.iter().all(|one| one.coordinator == [7; 32]));
    assert_eq!(found.plan.last().unwrap().last_seq, 106);
}

/// Each is told with its place, and takes its own operation out of the plan, no other.
#[test]
fn what_is_illegal_is_told_and_isolated() {
    let mut reader = Reader::open(&golden("illegal"), ReadOptions::default()).unwrap();
    let found = replay(&mut reader, STATE_BYTES_DEFAULT).unwrap();
    let reasons: Vec<_> = found
        .wrong
        .iter()
        .map(|wrong| {
            let reason = match wrong.why {
                Rejected::Refused(refusal) => Ok(refusal.reason),
                Rejected::Event(bad) => Err(bad),
                other => panic!("{other:?}"),
            };
            (wrong.seq, reason)
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (10, Ok(Reason::Finished)),
            (12, Ok(Reason::Unknown)),
            (18, Ok(Reason::State)),
            (25, Err(BadEvent::Kind(0x20))),
            (26, Err(BadEvent::Vote(2))),
            (27, Err(BadEvent::Length { kind: 4, len: 9, expected: 12 })),
        ]
    );
    assert_eq!(found.wrong_count, 6);
    for wrong in &found.wrong {
        let line = &expected("illegal")[usize::try_from(wrong.seq).unwrap() - 1];
        let place = format!(r#"{{"file": {}, "offset": {}, "#, wrong.spot.file, wrong.spot.offset);
        assert!(line.starts_with(&place), "{wrong:?} is {line}");
    }
    let (saga, transaction) = (Family::Saga, Family::Transaction);
    assert_eq!(found.isolated, [(saga, 1), (saga, 2), (saga, 9), (transaction, 1), (transaction, 2)]);
    let plan: Vec<_> = found.plan.iter().map(|one| (one.family, one.id, one.action)).collect();
    assert_eq!(
        plan,
        [(saga, 1, Action::None), (transaction, 1, Action::None), (transaction, 2, Action::None)],
        "nothing is done about what contradicts itself"
    );
}

#[test]
fn the_state_is_bounded() {
    let mut reader = Reader::open(&golden("clean"), ReadOptions::default()).unwrap();
    let error = replay(&mut reader, 500).unwrap_err();
    assert_eq!(error.code, twal::Code::TooBig);
    assert!(error.segment > 0 && error.offset >= 44 && error.seq > 0, "{error}");
}
