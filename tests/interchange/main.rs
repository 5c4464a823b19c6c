//! Goal: files of the v2.6 layout are read, replayed, imported and written as the layout says, hostile ones
//! refused with their place, and an export is whole or not there after any crash.
//! Method: committed files made by tests/golden/v26/make.py, which knows the layout and not the library; what
//! the library writes is read by tests/golden/v26/read.py; files with every kind of damage; a log on the
//! simulated disk whose export is stopped at each step.

#[allow(dead_code)]
#[path = "../golden/common.rs"]
mod common;
mod crash;
mod golden;
mod hostile;
mod round_trip;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::disk::Disk;
use twal::interchange::{ReadOptions, Reader, Record};
use twal::txn::interchange::{Imported, Sink};
use twal::txn::{Event, Family, Rules, Table};
use twal::{Entry, Error, How, Log, Options};

/// A committed directory.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v26").join(name)
}

/// Names and bytes of a directory's files, in order.
fn files_of(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A simulated disk with these files in directory `v26`.
fn disk_with(files: &[(String, Vec<u8>)]) -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    disk.open_dir(Path::new("v26"), true).unwrap();
    files.iter().for_each(|(name, bytes)| disk.put_file(name, bytes));
    disk
}

/// A record as make.py and read.py print it.
fn line_of(record: &Record<'_>) -> String {
    format!(
        r#"{{"file": {}, "offset": {}, "type": {}, "seq": {}, "timestamp": {}, "payload": "{}"}}"#,
        record.spot.file,
        record.spot.offset,
        record.kind,
        record.seq,
        record.timestamp,
        common::hex(record.payload)
    )
}

/// Every record as a line, and what ended the reading, if it was an error.
fn read_all(reader: &mut Reader) -> (Vec<String>, Option<Error>) {
    let mut lines = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => lines.push(line_of(&record)),
            Ok(None) => return (lines, None),
            Err(error) => {
                assert_eq!(reader.next_record().unwrap_err(), error, "it stays");
                return (lines, Some(error));
            }
        }
    }
}

/// The lines that the script wrote beside a committed directory.
fn expected(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(golden(&format!("{name}.jsonl"))).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn read_dir(dir: &Path, options: ReadOptions) -> (Vec<String>, Option<Error>, Reader) {
    let mut reader = Reader::open(dir, options).unwrap();
    let (lines, error) = read_all(&mut reader);
    (lines, error, reader)
}

/// A log on a simulated disk.
fn open_log(disk: &dyn Disk) -> Log {
    let options = Options { segment_size: 64 << 10, ..Options::default() };
    Log::open_on(disk, Path::new("log"), &options, Clock::simulated(), Threads::None).unwrap()
}

/// The smallest sink: a log, and the strict table of what is in it.
struct LogSink {
    log: Log,
    table: Table,
    batches: u64,
    reserved: Vec<(Family, u64)>,
}

impl LogSink {
    fn new(log: Log) -> LogSink {
        LogSink { log, table: Table::new(), batches: 0, reserved: Vec::new() }
    }
}

impl Sink for LogSink {
    fn highest(&self) -> Result<[u64; 2], Error> {
        Ok([Family::Saga, Family::Transaction].map(|family| self.table.next_id(family).unwrap() - 1))
    }

    fn start(&mut self, check: &dyn Fn([u64; 2]) -> Result<(), Error>) -> Result<(), Error> {
        check(self.highest()?)
    }

    fn batch_bytes_max(&self) -> usize {
        usize::MAX
    }

    fn append(&mut self, events: &[Imported]) -> Result<u64, Error> {
        let all: Vec<Event> = events.iter().map(|imported| imported.event.clone()).collect();
        self.table.check(&all, Rules::Strict, 1 << 20)?;
        let encoded: Vec<(u16, Vec<u8>)> = all
            .iter()
            .map(|event| {
                let mut payload = Vec::new();
                (event.encode(&mut payload), payload)
            })
            .collect();
        let entries = encoded.iter().zip(events).map(|((kind, payload), imported)| Entry {
            data: payload,
            stream: 0,
            timestamp: Some(imported.timestamp),
            kind: *kind,
            required: false,
        });
        let first = self.log.append_batch(entries, How::default())?;
        for (seq, event) in (first..).zip(&all) {
            self.table.apply(seq, event, Rules::Strict)?;
        }
        self.batches += 1;
        Ok(first)
    }

    fn reserve(&mut self, family: Family, id: u64) -> Result<(), Error> {
        self.reserved.push((family, id));
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.log.sync(0)
    }
}
