//! Goal: what only a later release can read is told by verify, with its place, where a reader or an open refuses it, and
//! nowhere else.
//!
//! Method: feature bits of segment headers are set, with checksums made right, and records of types of twal's own that
//! nobody knows are written; verify is held to what a reader and an open say.

use std::path::Path;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::format::SegmentHeader;
use twal::{Code, CompactOptions, Effort, Entry, FindingKind, How, Log, Options, Verified};

use crate::forged::{options, simulated, written, File, BLOCK, DIR, EACH};

const AT_CRC: usize = 44;
const AT_COMPATIBLE: usize = 48;
const AT_READ_ONLY_COMPATIBLE: usize = 52;
const AT_INCOMPATIBLE: usize = 56;

/// A feature that nobody has.
fn set_feature(file: &mut File, at: usize) {
    file.bytes[at + 3] |= 0x80;
    let (right, _) = SegmentHeader::checksums(&file.bytes).unwrap();
    file.bytes[AT_CRC..AT_CRC + 4].copy_from_slice(&right.to_le_bytes());
}

fn open(disk: &SimDisk, read_only: bool) -> Result<Log, twal::Error> {
    let options = Options { read_only, ..options() };
    Log::open_on(disk, Path::new(DIR), &options, Clock::simulated(), Threads::None)
}

/// What a reader delivers, and what it ends with.
fn read(disk: &SimDisk) -> (u64, Option<(Code, u64)>) {
    let log = match open(disk, true) {
        Ok(log) => log,
        Err(error) => return (0, Some((error.code, error.seq))),
    };
    let (mut iter, mut last) = (log.iter(0).unwrap(), 0);
    loop {
        match iter.next_record() {
            Ok(Some(record)) => last = record.seq,
            Ok(None) => return (last, None),
            Err(error) => return (last, Some((error.code, error.seq))),
        }
    }
}

/// Kind, segment, offset and number of each finding; the same with one thread and with two.
fn verify(disk: &SimDisk) -> (Vec<(FindingKind, u64, u64, u64)>, Verified) {
    let with = |threads| {
        let mut found = Vec::new();
        let effort = Effort { threads, ..Effort::default() };
        let verified = twal::verify_on_with(disk, Path::new(DIR), effort, &mut |finding| {
            found.push((finding.kind, finding.segment, finding.offset, finding.seq));
            true
        });
        (found, verified.unwrap())
    };
    let (one, two) = (with(1), with(2));
    assert_eq!(one.0, two.0);
    one
}

#[test]
fn a_segment_with_an_unknown_feature() {
    for which in 0..3 {
        for at in [AT_COMPATIBLE, AT_READ_ONLY_COMPATIBLE, AT_INCOMPATIBLE] {
            let mut files = written();
            set_feature(&mut files[which], at);
            let disk = simulated(&files);
            let newest = which == 2;
            let refused_to_read = at == AT_INCOMPATIBLE;
            let refused_to_write = refused_to_read || (newest && at == AT_READ_ONLY_COMPATIBLE);
            let (index, first_seq) = (which as u64 + 1, which as u64 * EACH + 1);
            let (found, verified) = verify(&disk);
            let expected = (FindingKind::Version, index, 0, first_seq);
            assert_eq!(found, if refused_to_write { vec![expected] } else { vec![] }, "{which}, {at}");
            assert_eq!((verified.damaged, verified.unknown_version), (found.len() as u64, found.len() as u64));
            let good = if refused_to_read { first_seq - 1 } else { 3 * EACH };
            assert_eq!(verified.last_good_seq, good, "{which}, {at}");
            let (last, error) = read(&disk);
            assert_eq!(error.map(|(code, _)| code), refused_to_read.then_some(Code::Version), "{which}, {at}");
            assert_eq!(last, if refused_to_read { 0 } else { 3 * EACH });
            let opened = open(&disk, false).map(|log| log.close());
            assert_eq!(
                opened.err().map(|error| error.code),
                refused_to_write.then_some(Code::Version),
                "{which}, {at}"
            );
        }
    }
}

/// Compaction would lose what the header says more.
#[test]
fn a_segment_that_may_only_be_read_is_not_compacted() {
    for (at, compacted) in [(AT_COMPATIBLE, 2), (AT_READ_ONLY_COMPATIBLE, 1)] {
        let mut files = written();
        set_feature(&mut files[1], at);
        let disk = simulated(&files);
        let log = open(&disk, false).unwrap();
        let all = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
        let done = log.compact(&all, &mut |candidate| candidate.record.seq % EACH == 1).unwrap();
        assert_eq!(done.segments, compacted, "{at}");
        assert_eq!(done.records_purged, compacted * (EACH - 1));
        log.close().unwrap();
        assert_eq!(read(&disk), (3 * EACH, None));
        // The feature is where it was, or nobody had to keep it.
        let (found, _) = verify(&disk);
        assert_eq!(found, vec![]);
        let reopened = open(&disk, true).unwrap();
        assert_eq!(reopened.read(EACH + 2, |_| ()).is_ok(), at == AT_READ_ONLY_COMPATIBLE);
    }
}

/// One that must be known, in the middle of a frame; and in a frame of more bytes than are read at once.
#[test]
fn a_record_of_a_type_that_must_be_known() {
    for (kind, required) in [(0x00ff, true), (0x00ff, false), (0x0100, true)] {
        for len in [100, 3 << 20] {
            let disk = simulated(&[]);
            let big = Options { segment_size: 16 << 20, ring_size: 8 << 20, ..options() };
            let log = Log::open_on(disk.as_ref(), Path::new(DIR), &big, Clock::simulated(), Threads::None).unwrap();
            let data = vec![1; len];
            let entry = |kind, data| Entry { data, stream: 7, timestamp: None, kind, required };
            let how = How { sync: Some(true), no_wait: false };
            log.append(&entry(0x0100, b"first"), how).unwrap();
            let batch = [entry(0x0100, data.as_slice()), entry(kind, b"of twal's"), entry(0x0100, b"last")];
            log.append_batch(batch.into_iter(), how).unwrap();
            log.append(&entry(0x0100, b"behind"), how).unwrap();
            log.close().unwrap();
            let (found, verified) = verify(&disk);
            let unknown = required && kind < 0x0100;
            let (last, error) = read(&disk);
            assert_eq!(error, unknown.then_some((Code::Version, 3)), "{kind:#x}");
            assert_eq!(last, if unknown { 2 } else { 5 });
            assert_eq!(verified.records, 5, "all are whole");
            assert_eq!(verified.unknown_version, u64::from(unknown));
            assert_eq!(verified.last_good_seq, if unknown { 1 } else { 5 }, "whole frames in front of it");
            match found.as_slice() {
                [] => assert!(!unknown, "{kind:#x} is not told"),
                [(FindingKind::Version, 1, offset, 3)] => {
                    assert!(unknown && *offset > 2 * BLOCK + len as u64, "{kind:#x} at {offset}");
                }
                _ => panic!("{found:?}"),
            }
        }
    }
}
