//! A machine with a log whose segments are small, and what is done to it in the tests of holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::{Code, Entry, Error, FindingKind, How, Log, Options};

/// Where the log is.
pub const DIR: &str = "/log";
/// The file of holds.
pub const HOLDS: &str = "twal-holds";
/// Records of a segment.
pub const EACH: u64 = 3;

pub struct Machine {
    pub disk: Arc<SimDisk>,
    pub clock: Clock,
    pub options: Options,
}

impl Machine {
    pub fn new(seed: u64) -> Machine {
        let clock = Clock::simulated();
        let disk = SimDisk::new(seed).with_clock(clock.clone());
        let options = Options { segment_size: 64 << 10, max_retained_segments: 1, ..Options::default() };
        Machine { disk, clock, options }
    }

    pub fn open(&self) -> Result<Log, Error> {
        Log::open_on(&*self.disk, Path::new(DIR), &self.options, self.clock.clone(), Threads::None)
    }

    pub fn open_to_read(&self) -> Log {
        let options = Options { read_only: true, ..self.options.clone() };
        Log::open_on(&*self.disk, Path::new(DIR), &options, self.clock.clone(), Threads::None).unwrap()
    }

    pub fn verify(&self) -> Vec<FindingKind> {
        let mut kinds = Vec::new();
        twal::verify_on(&*self.disk, Path::new(DIR), &mut |finding| {
            kinds.push(finding.kind);
            true
        })
        .unwrap();
        kinds
    }
}

pub fn append(log: &Log) -> Result<u64, Error> {
    let seq = log.last_seq() + 1;
    let data = seq.to_le_bytes();
    log.append(&Entry { data: &data, stream: seq % 3, timestamp: None, kind: 0x0100, required: false }, How::default())
}

/// Segments of [`EACH`] records.
pub fn fill(log: &Log, segments: u64) -> Result<(), Error> {
    for _ in 0..segments {
        for _ in 0..EACH {
            append(log)?;
        }
        log.roll()?;
    }
    Ok(())
}

pub fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code)
}

pub fn holds(log: &Log) -> BTreeMap<String, u64> {
    log.holds().unwrap().into_iter().map(|hold| (hold.name, hold.seq)).collect()
}

/// Every record from the oldest on is there.
pub fn read_all(log: &Log) -> u64 {
    let mut iter = log.iter(0).unwrap();
    let mut next = log.first_seq();
    while let Some(record) = iter.next_record().unwrap() {
        assert_eq!((record.seq, record.data), (next, &next.to_le_bytes()[..]));
        next += 1;
    }
    next - 1
}
