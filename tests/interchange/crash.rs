//! An export that is stopped anywhere.

use std::path::Path;

use twal::base::clock::Clock;
use twal::disk::sim::{CallKind, SimDisk, Stop};
use twal::interchange::{ReadOptions, Reader, WriteOptions, Writer, Written};
use twal::{Code, Error};

use super::read_all;

const RECORDS: u64 = 50;

/// Five files, of which each takes several blocks.
fn write(disk: &SimDisk) -> Result<Written, Error> {
    let options = WriteOptions { file_records_max: 10, ..WriteOptions::default() };
    let mut writer = Writer::create_on(disk, Path::new("v26"), options, Clock::simulated())?;
    for seq in 1..=RECORDS {
        writer.append(0x01, seq, 0, &[seq.to_le_bytes()[0]; 400])?;
    }
    writer.finish()
}

/// How many records a reader finds; None: it refuses what is there, or nothing is.
fn found(disk: &SimDisk, what: &str) -> Option<usize> {
    let mut reader = match Reader::open_on(disk, Path::new("v26"), ReadOptions::default()) {
        Ok(reader) => reader,
        Err(error) => {
            assert_eq!(error.code, Code::NotFound, "{what}: {error}");
            return None;
        }
    };
    let (lines, error) = read_all(&mut reader);
    match error {
        None => {
            assert_eq!(reader.summary().torn, None, "{what}");
            Some(lines.len())
        }
        Some(error) => {
            assert_eq!((error.code, lines.len()), (Code::Corrupt, 0), "{what}: {error}");
            None
        }
    }
}

#[test]
fn an_export_is_whole_or_not_there_after_a_crash_at_any_step() {
    let first = SimDisk::new(0);
    assert_eq!(write(&first).unwrap().files, 5);
    let steps = first.steps();
    let (mut whole, mut not_there, mut again, mut left) = (0, 0, 0, 0);
    for stop in [Stop::PowerCut, Stop::Kill] {
        for step in 0..=steps {
            // Which of the names stay is drawn from many more subsets than what stays of a file.
            for seed in 0..if step + 8 > steps { 80 } else { 4 } {
                let what = format!("{stop:?} at step {step}, seed {seed}");
                let disk = SimDisk::new(seed);
                disk.stop_at(step, stop);
                let written = write(&disk);
                let acknowledged = written.is_ok();
                if acknowledged && stop == Stop::PowerCut {
                    disk.power_cut();
                }
                disk.restart();
                let there = found(&disk, &what);
                match there {
                    Some(records) => {
                        assert_eq!(records as u64, RECORDS, "{what}");
                        whole += 1;
                    }
                    None => {
                        assert!(!acknowledged, "{what}: an export that was acknowledged is not there");
                        not_there += 1;
                    }
                }
                // What is left before names were given is no hindrance; files that are there are left alone.
                match write(&disk) {
                    Ok(_) => {
                        assert_eq!(found(&disk, &what), Some(50), "{what}");
                        again += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.code, Code::Exists, "{what}: {error}");
                        assert_eq!(error.text.contains("to be removed"), there.is_none(), "{what}: {error}");
                        left += u64::from(there.is_none());
                    }
                }
            }
        }
    }
    println!("{steps} steps: {whole} whole, {not_there} not there, {again} written again, {left} in the way");
    assert!(left > 0 && whole > 15 && not_there > 150 && again > 150, "{whole}, {not_there}, {again}");
}

/// Every call fails once: an error, and nothing is there, but where only the last flush failed.
#[test]
fn an_export_that_meets_an_error_says_so() {
    let kinds =
        [CallKind::Create, CallKind::Write, CallKind::Sync, CallKind::Allocate, CallKind::Rename, CallKind::DirSync];
    for kind in kinds {
        let counted = SimDisk::new(0);
        write(&counted).unwrap();
        let calls = counted.counts().of(kind);
        assert!(calls >= 2, "{kind:?}");
        for call in 0..calls {
            for errno in [libc::EIO, libc::ENOSPC] {
                let disk = SimDisk::new(call);
                disk.fail_kind(kind, call, errno);
                let what = format!("{kind:?} {call} of {calls}, errno {errno}");
                let error = write(&disk).expect_err(&what);
                assert_eq!(error.os_errno, errno, "{what}: {error}");
                disk.clear_faults();
                let last_flush = kind == CallKind::DirSync && call == calls - 1;
                let expected = last_flush.then_some(50);
                assert_eq!(found(&disk, &what), expected, "{what}");
                if !matches!(kind, CallKind::Rename | CallKind::DirSync) {
                    assert_eq!(disk.names(), [""; 0], "{what}: nothing is left");
                }
            }
        }
    }
}
