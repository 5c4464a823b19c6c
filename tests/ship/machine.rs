//! Two simulated machines, one with a log and one that follows it, and pieces that can be kept.

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{Keep, SimDisk, Stop};
use twal::{Candidate, Code, CompactOptions, Entry, Error, FindingKind, How, Log, Options};
use twal::{Piece, Position, Sink, SinkOptions, Source};

pub const LOG: &str = "/log";
pub const BLOCK: u32 = 512;
pub const SEGMENT: u64 = 64 << 10;

/// A machine, and how its log or copy is opened.
pub struct Machine {
    pub disk: Arc<SimDisk>,
    pub clock: Clock,
    pub options: Options,
}

impl Machine {
    pub fn new(seed: u64) -> Machine {
        let clock = Clock::simulated();
        let disk = SimDisk::new(seed).with_clock(clock.clone());
        disk.set_align(BLOCK, 512);
        let options = Options {
            segment_size: SEGMENT,
            block_size: BLOCK,
            max_retained_segments: 1,
            log_size_max: 0,
            ..Options::default()
        };
        Machine { disk, clock, options }
    }

    pub fn open(&self) -> Result<Log, Error> {
        Log::open_on(&*self.disk, Path::new(LOG), &self.options, self.clock.clone(), Threads::None)
    }

    pub fn open_to_read(&self) -> Result<Log, Error> {
        let options = Options { read_only: true, ..self.options.clone() };
        Log::open_on(&*self.disk, Path::new(LOG), &options, self.clock.clone(), Threads::None)
    }

    pub fn sink(&self) -> Result<Sink, Error> {
        let options = SinkOptions { max_retained_segments: 1, ..SinkOptions::default() };
        Sink::open_on(&*self.disk, Path::new(LOG), &options, self.clock.clone())
    }

    /// A sink after a crash: what a killed process was writing may have to land first.
    pub fn reopened(&self) -> Sink {
        match self.sink() {
            Err(error) if error.code == Code::Locked => {
                self.disk.land_late_writes();
                self.sink().unwrap()
            }
            sink => sink.unwrap(),
        }
    }

    /// One way this machine may come back from a crash now.
    pub fn crashed(&self, seed: u64, stop: Stop, keep: Keep) -> Machine {
        let clock = Clock::simulated();
        let disk = self.disk.fork(seed).with_clock(clock.clone());
        disk.clear_faults();
        disk.set_keep(keep);
        match stop {
            Stop::PowerCut => disk.power_cut(),
            Stop::Kill => disk.kill(),
        }
        Machine { disk, clock, options: self.options.clone() }
    }

    pub fn verify(&self) -> Vec<FindingKind> {
        let mut kinds = Vec::new();
        twal::verify_on(&*self.disk, Path::new(LOG), &mut |finding| {
            kinds.push(finding.kind);
            true
        })
        .unwrap();
        kinds
    }

    /// The segments' names.
    pub fn segments(&self) -> Vec<String> {
        let names = self.disk.names().into_iter();
        names.filter(|name| name.contains('.')).collect()
    }
}

/// A piece that outlives its source.
#[derive(Clone)]
pub struct Kept {
    pub head: Piece<'static>,
    pub data: Vec<u8>,
}

impl Kept {
    pub fn of(piece: &Piece<'_>) -> Kept {
        Kept { head: Piece { data: &[], ..*piece }, data: piece.data.to_vec() }
    }

    pub fn piece(&self) -> Piece<'_> {
        Piece { data: &self.data, ..self.head }
    }
}

pub fn record(seq: u64) -> Vec<u8> {
    let len = usize::try_from(seq * 37 % 1500).unwrap();
    let mut data = vec![u8::try_from(seq % 251).unwrap(); len];
    data.extend(seq.to_le_bytes());
    data
}

pub fn append(log: &Log) -> Result<u64, Error> {
    let data = record(log.last_seq() + 1);
    let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
    log.append(&entry, How::default())
}

pub fn append_many(log: &Log, count: u64) {
    for _ in 0..count {
        append(log).unwrap();
    }
}

/// Every record from `first` on is there, and equal; the last number.
pub fn read_from(log: &Log, first: u64) -> u64 {
    let mut iter = log.iter(first).unwrap();
    let mut next = first;
    while let Some(found) = iter.next_record().unwrap() {
        assert_eq!(found.seq, next);
        assert!(found.data == record(next), "record {next}");
        next += 1;
    }
    next - 1
}

/// A log with all kinds of segments: full ones, some that were rolled early, compacted, released; and files that had
/// another life before.
pub fn varied(machine: &Machine) -> Log {
    let log = machine.open().unwrap();
    append_many(&log, 200);
    log.trim(log.last_seq() + 1).unwrap();
    append_many(&log, 150);
    log.roll().unwrap();
    append_many(&log, 3);
    log.roll().unwrap();
    append_many(&log, 60);
    assert!(log.stats().segments_recycled > 0, "no file has a past");
    log
}

/// Drops two of three records from every sealed segment.
pub fn compact(log: &Log) -> u64 {
    let options = CompactOptions { below_seq: log.last_seq(), saving_min: 0 };
    log.compact(&options, &mut |asked: &Candidate<'_>| asked.record.seq.is_multiple_of(3)).unwrap().segments
}

/// All that the source has, from there on.
pub fn pieces(log: &Log, from: Option<&Position>) -> Vec<Kept> {
    let mut source = Source::open(log, from).unwrap();
    let mut all = Vec::new();
    while let Some(piece) = source.next_piece(Some(0)).unwrap() {
        all.push(Kept::of(&piece));
    }
    all
}

/// Ships all that there is, from where the sink is.
pub fn ship(log: &Log, sink: &mut Sink) {
    let mut source = Source::open(log, Some(&sink.position())).unwrap();
    while let Some(piece) = source.next_piece(Some(0)).unwrap() {
        sink.write(&piece).unwrap();
    }
    sink.sync().unwrap();
}

/// Where in `all` a follower goes on that is there.
pub fn next_of(all: &[Kept], here: &Position) -> usize {
    let next = match (here.index, here.complete) {
        (0, _) => return 0,
        (index, true) => (index + 1, 0),
        (index, false) => (index, here.offset),
    };
    all.iter().position(|kept| (kept.head.index, kept.head.offset) == next).unwrap_or(all.len())
}

/// Each file of the copy is the source's of that index, as far as the position says.
pub fn assert_same(source: &Machine, copy: &Machine, position: &Position) {
    let theirs = source.segments();
    let ours = copy.segments();
    assert!(!ours.is_empty());
    for name in &ours {
        let index = &name[..21];
        let original =
            theirs.iter().find(|name| name.starts_with(index)).unwrap_or_else(|| panic!("{name}: {theirs:?}"));
        let (a, b) = (source.disk.content(original).unwrap(), copy.disk.content(name).unwrap());
        assert_eq!(a.len(), b.len(), "{name}");
        let newest = index == format!("twal-{:016}", position.index);
        let end = if newest { usize::try_from(position.offset).unwrap() } else { a.len() };
        assert!(a[..end] == b[..end], "{name} differs");
    }
    assert_eq!(ours.last().unwrap()[..21], format!("twal-{:016}", position.index), "{ours:?}");
}

pub fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code)
}
