//! Goal: the oldest segments' files are deleted under an open log, which released nothing: no reader begins behind them
//! without a word, and nobody is told that they were released.
//!
//! Method: readers of every kind from a writer's handle, and from one that only reads, opened before; each asked twice,
//! because the first one's look at the directory is what the second one finds.
#![forbid(unsafe_code)]

use machine::{append, code, fill, Machine, EACH};
use twal::{Code, IterOptions, Log};

#[path = "holds/machine.rs"]
#[allow(dead_code, reason = "the tests of holds need the rest")]
mod machine;

const SEGMENTS: u64 = 6;

fn remove(machine: &Machine, index: u64) {
    let start = format!("twal-{index:016}-");
    let names = machine.disk.names();
    machine.disk.remove_file(names.iter().find(|name| name.starts_with(&start)).unwrap());
}

fn records(log: &Log, options: IterOptions) -> (Vec<u64>, Option<Code>, (u64, u64)) {
    let mut iter = match log.iter_with(options) {
        Ok(iter) => iter,
        Err(error) => return (Vec::new(), Some(error.code), (0, 0)),
    };
    let mut seqs = Vec::new();
    let failed = loop {
        match iter.next_record() {
            Ok(Some(record)) => seqs.push(record.seq),
            Ok(None) => break None,
            Err(error) => break Some(error.code),
        }
    };
    (seqs, failed, (iter.skipped().spots, iter.skipped().records))
}

/// With its first so many segments deleted.
fn is_told(log: &Log, lost: u64) {
    let all = IterOptions::default;
    let ways = [
        all(),
        IterOptions { snapshot: true, ..all() },
        IterOptions { headers_only: true, ..all() },
        IterOptions { from_seq: 1, ..all() },
        IterOptions { from_segment: 1, ..all() },
    ];
    for way in ways {
        for _ in 0..2 {
            let said = records(log, way.clone());
            assert_eq!(said, (Vec::new(), Some(Code::Corrupt), (0, 0)), "{way:?}");
        }
    }
    for _ in 0..2 {
        assert_eq!(code(log.read(1, |_| ())), Some(Code::Corrupt));
        assert_eq!(log.read(EACH * lost + 1, |record| record.seq), Ok(EACH * lost + 1));
        let (seqs, failed, skipped) = records(log, IterOptions { skip_damaged: true, ..all() });
        assert_eq!((seqs.first(), failed, skipped), (Some(&(EACH * lost + 1)), None, (1, EACH * lost)));
    }
    assert_eq!(code(log.streams(0)), Some(Code::Corrupt));
    assert_eq!(log.first_seq(), 1);
}

#[test]
fn what_was_deleted_was_not_released() {
    for lost in 1..SEGMENTS {
        let machine = Machine::new(lost);
        let log = machine.open().unwrap();
        fill(&log, SEGMENTS).unwrap();
        let beside = machine.open_to_read();
        (1..=lost).for_each(|index| remove(&machine, index));
        is_told(&log, lost);
        is_told(&beside, lost);
        // The writer goes on; what is opened anew says so too.
        append(&log).unwrap();
        log.close().unwrap();
        assert_eq!(code(machine.open()), Some(Code::Corrupt));
    }
}

#[test]
fn all_of_them() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, SEGMENTS).unwrap();
    let beside = machine.open_to_read();
    (1..=SEGMENTS + 1).for_each(|index| remove(&machine, index));
    for log in [&log, &beside] {
        for _ in 0..2 {
            assert_eq!(records(log, IterOptions::default()), (Vec::new(), Some(Code::Corrupt), (0, 0)));
            assert_eq!(code(log.read(1, |_| ())), Some(Code::Corrupt));
        }
    }
}

/// What a trim gives back while others read it is released, as ever.
#[test]
fn what_was_released_is() {
    let machine = Machine::new(1);
    let log = machine.open().unwrap();
    fill(&log, SEGMENTS).unwrap();
    let beside = machine.open_to_read();
    log.trim(4 * EACH + 1).unwrap();
    for log in [&log, &beside] {
        assert_eq!(records(log, IterOptions { from_seq: 1, ..IterOptions::default() }).1, Some(Code::Trimmed));
        assert_eq!(records(log, IterOptions::default()).0[0], 4 * EACH + 1);
        assert_eq!(code(log.read(1, |_| ())), Some(Code::Trimmed));
    }
}
