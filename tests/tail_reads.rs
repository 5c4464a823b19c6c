//! Goal: who follows a log's end asks the device for what is new and for little else, and never for a block that is
//! being written; one that waits beside an end that nothing witnesses leaves the device time for others.
//!
//! Method: a log on the simulated disk, whose trace says where each read began and how long it was.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::{Code, Durability, Entry, How, Log, Options};

const BLOCK: u64 = 4096;
const SEGMENT: u64 = 1 << 20;
const MS: u64 = 1_000_000;

struct Machine {
    disk: Arc<SimDisk>,
    clock: Clock,
}

/// Bytes that were asked for, and from where on, in which segment.
struct Read {
    segment: String,
    offset: u64,
    len: u64,
}

impl Machine {
    fn new() -> Machine {
        let clock = Clock::simulated();
        Machine { disk: SimDisk::new(7).with_clock(clock.clone()), clock }
    }

    fn open(&self, options: Options) -> Log {
        let options = Options { block_size: 4096, segment_size: SEGMENT, ..options };
        Log::open_on(self.disk.as_ref(), Path::new("log"), &options, self.clock.clone(), Threads::None).unwrap()
    }

    /// What `body` has read of segments, their headers aside.
    fn reads_of<T>(&self, body: impl FnOnce() -> T) -> (Vec<Read>, T) {
        let before = self.disk.counts().of(CallKind::Read);
        let result = body();
        let count = usize::try_from(self.disk.counts().of(CallKind::Read) - before).unwrap();
        let trace = self.disk.trace();
        let lines: Vec<&str> = trace.lines().filter(|line| line.contains(" Read twal-0")).collect();
        assert!(lines.len() >= count, "the trace is too short for {count} reads");
        let parse = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let (offset, len) = words[4].split_once('+').unwrap();
            Read { segment: words[3][..21].to_owned(), offset: offset.parse().unwrap(), len: len.parse().unwrap() }
        };
        let reads = lines[lines.len() - count..].iter().map(parse);
        (reads.filter(|read| read.offset > 0).collect(), result)
    }

    /// End of the last block in which something was written, by segment.
    fn written(&self) -> BTreeMap<String, u64> {
        let segments = self.disk.names().into_iter().filter(|name| name.starts_with("twal-0"));
        let end = |name: &String| {
            let last = self.disk.content(name).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
            (last as u64 / BLOCK + 1) * BLOCK
        };
        segments.map(|name| (name[..21].to_owned(), end(&name))).collect()
    }
}

fn append(log: &Log, len: usize, sync: Option<bool>) -> u64 {
    let entry = Entry { data: &vec![7; len], stream: 0, timestamp: None, kind: 0x0100, required: false };
    log.append(&entry, How { sync, no_wait: false }).unwrap()
}

/// Records that come one by one, by twos and by threes, of some bytes and of some blocks, over several segments.
fn rounds() -> impl Iterator<Item = Vec<usize>> {
    (0..150).map(|round| (0..round % 3 + 1).map(|at| [100, 9_000, 40_000][(round / 7 + at) % 3]).collect())
}

/// What comes once it has come to the end is in memory: but for frames that are too long to be kept, and where the log
/// went on in another segment.
#[test]
fn in_the_writers_process_the_device_is_asked_for_little_once_at_most_and_not_before_it_is_durable() {
    const KEPT_MAX: u64 = 64 << 10;
    let machine = Machine::new();
    let log = machine.open(Options::default());
    let mut iter = log.iter(0).unwrap();
    assert!(iter.next_record().unwrap().is_none());
    let (mut times_read, mut long, mut last, mut from_memory) = (BTreeMap::new(), Vec::new(), 0, 0);
    for (round, mut lens) in rounds().enumerate() {
        if round % 5 == 0 {
            lens.push(100_000);
        }
        let before = log.reach();
        let mut has_long = false;
        for len in lens {
            last = append(&log, len, Some(true));
            let (frame, reach) = ((len as u64 + 128 + 40).next_multiple_of(BLOCK), log.reach());
            if frame > KEPT_MAX {
                has_long = true;
                let blocks = (reach.end - frame) / BLOCK..reach.end / BLOCK;
                long.extend(blocks.map(|block| (format!("twal-{:016}", reach.segment), block)));
            }
        }
        let (reads, ()) = machine.reads_of(|| while iter.next_record().unwrap().is_some() {});
        assert_eq!(iter.next_seq(), last + 1);
        let written = machine.written();
        let newest = written.iter().next_back().map(|(name, end)| (name[5..].parse().unwrap(), *end)).unwrap();
        assert_eq!((log.reach().segment, log.reach().end), newest, "everything was waited for");
        if !has_long && before.segment == log.reach().segment {
            assert!(reads.is_empty(), "round {round}");
            from_memory += 1;
        }
        for read in reads {
            // Of a segment that is complete everything is.
            let is_newest = written.keys().next_back() == Some(&read.segment);
            let (end, written) = (read.offset + read.len, written[&read.segment]);
            assert!(end <= if is_newest { written } else { SEGMENT }, "{}+{} of {written}", read.offset, read.len);
            for block in read.offset / BLOCK..end.min(written) / BLOCK {
                *times_read.entry((read.segment.clone(), block)).or_insert(0) += 1;
            }
        }
    }
    assert!(machine.written().len() > 2, "one segment says little");
    assert!(from_memory > 50, "{from_memory} rounds");
    let again: Vec<_> = times_read.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.is_empty(), "read more than once: {again:?}");
    assert!(long.len() > 100 && long.iter().all(|block| times_read.contains_key(block)), "what is not kept is read");
    log.close().unwrap();
}

/// A reader that goes through what is there, and does not wait at the end, has the device read each block once.
#[test]
fn what_was_there_is_read_once() {
    let machine = Machine::new();
    let log = machine.open(Options::default());
    let last = rounds().flatten().map(|len| append(&log, len, Some(true))).last().unwrap();
    let mut iter = log.iter(0).unwrap();
    let (reads, ()) = machine.reads_of(|| while iter.next_record().unwrap().is_some() {});
    assert_eq!(iter.next_seq(), last + 1);
    let read: u64 = reads.iter().map(|read| read.len).sum();
    let written: u64 = machine.written().values().map(|end| end - BLOCK).sum();
    let segments = machine.written().len() as u64;
    assert!((written..=written + segments * (64 << 10)).contains(&read), "{read} bytes of {written}");
    log.close().unwrap();
}

/// Bytes in memory are what the device was given, not what it has now: a reader that comes later finds its damage.
#[test]
fn what_is_in_memory_hides_damage_from_nobody_else() {
    let machine = Machine::new();
    let log = machine.open(Options::default());
    let mut follower = log.iter(0).unwrap();
    append(&log, 100, Some(true));
    while follower.next_record().unwrap().is_some() {}
    append(&log, 100, Some(true));
    let segment = machine.disk.names().into_iter().find(|name| name.starts_with("twal-0")).unwrap();
    // In front of the second record's frame are the header, the mark of the open and the first one; in front of the
    // record two headers.
    machine.disk.flip_bit(&segment, 3 * BLOCK + 128 + 40, 0);
    let mut other = log.iter(0).unwrap();
    assert!(other.next_record().unwrap().is_some());
    assert_eq!(other.next_record().map(drop).map_err(|error| error.code), Err(Code::Corrupt));
    while follower.next_record().unwrap().is_some() {}
    assert_eq!(follower.next_seq(), 3);
}

/// The look reads it, and then the reader does; all of what lies behind is looked at only where an end stays.
#[test]
fn elsewhere_what_is_new_is_read_twice_and_little_behind_it() {
    let machine = Machine::new();
    let group = Options { durability: Some(Durability::Group), batch_delay_us: 2000, ..Options::default() };
    let log = machine.open(group.clone());
    append(&log, 100, Some(true));
    log.tick();
    let reader = machine.open(Options { read_only: true, ..group });
    let mut iter = reader.iter(0).unwrap();
    while iter.wait_record(Some(0)).is_ok() {}
    let mut before = machine.written();
    let (mut read, mut calls, mut came, mut looks) = (0, 0, 0, 0);
    for lens in rounds() {
        for len in lens {
            append(&log, len, Some(true));
            log.tick();
        }
        // Longer than an end may stay before everything behind it is looked at.
        machine.clock.pass(Duration::from_millis(300));
        log.tick();
        let (reads, ()) = machine.reads_of(|| while iter.wait_record(Some(0)).is_ok() {});
        let written = machine.written();
        came += written.iter().map(|(name, end)| end - before.get(name).unwrap_or(&BLOCK)).sum::<u64>();
        before = written;
        calls += reads.len() as u64;
        read += reads.iter().map(|read| read.len).sum::<u64>();
        looks += 2;
    }
    assert_eq!(iter.next_seq(), log.durable_seq() + 1);
    // The first of two looks reads up to as much behind what is new, the second some blocks that are not there.
    assert!(read <= 3 * came + looks / 2 * 10 * BLOCK, "{read} bytes read of {came} in {looks} looks");
    assert!(calls <= 3 * looks, "{calls} reads in {looks} looks");
    reader.close().unwrap();
    log.close().unwrap();
}

/// A writer was killed and nobody came after it: what it wrote last is read by each look from where nothing witnesses
/// it any more.
#[test]
fn beside_a_killed_writer_looks_are_as_rare_as_they_are_long() {
    const IDLE_MARK_US: u64 = 1000;
    const WAITED_NS: u64 = 500 * MS;
    let machine = Machine::new();
    let asynchronous = Options {
        durability: Some(Durability::Async),
        flush_interval_ms: 60_000,
        idle_mark_us: IDLE_MARK_US,
        ..Options::default()
    };
    let log = machine.open(asynchronous.clone());
    let mut last = 0;
    for _ in 0..20 {
        last = append(&log, 40_000, None);
        log.tick();
    }
    machine.disk.kill();
    machine.disk.restart();
    std::mem::forget(log);
    let reader = machine.open(Options { read_only: true, ..asynchronous });
    let mut iter = reader.iter(0).unwrap();
    let code = |iter: &mut twal::Iter, ns| iter.wait_record(Some(ns)).map_err(|error| error.code).map(|_| ());
    while code(&mut iter, 0).is_ok() {}
    let delivered = iter.next_seq() - 1;
    assert!(delivered > 2 && delivered <= last, "{delivered} records are no long end");
    let before = machine.disk.counts();
    let began = machine.clock.now_ns();
    assert_eq!(code(&mut iter, WAITED_NS), Err(Code::Timeout));
    assert_eq!(machine.clock.now_ns() - began, WAITED_NS);
    let after = machine.disk.counts();
    // Each look asks for the directory's lock, and gives it back.
    let looks = (after.of(CallKind::Lock) - before.of(CallKind::Lock)) / 2;
    let end_bytes = delivered * 40_000;
    let most = WAITED_NS / (end_bytes * 4) + 2;
    assert!((2..=most).contains(&looks), "{looks} looks at {end_bytes} bytes, {most} at most");
    reader.close().unwrap();
}

/// What is read behind an end that stays, to see whether it is damage, is no part of a look's cost: looks come on time.
#[test]
fn an_idle_log_is_looked_at_on_time() {
    const PAUSE_NS: u64 = 700_000;
    const WAITED_NS: u64 = 4_000 * MS;
    let machine = Machine::new();
    let options = Options { idle_mark_us: 4 * PAUSE_NS / 1000, ..Options::default() };
    let log = machine.open(options.clone());
    append(&log, 100, Some(true));
    machine.clock.pass(Duration::from_millis(10));
    log.tick();
    let reader = machine.open(Options { read_only: true, ..options });
    let mut iter = reader.iter(0).unwrap();
    while iter.wait_record(Some(0)).is_ok() {}
    let before = machine.disk.counts();
    assert_eq!(iter.wait_record(Some(WAITED_NS)).map(|_| ()).map_err(|error| error.code), Err(Code::Timeout));
    let after = machine.disk.counts();
    let looks = after.of(CallKind::Lock) - before.of(CallKind::Lock);
    // Each look reads a block, and once a second one reads what lies behind the end.
    let behind = after.of(CallKind::Read) - before.of(CallKind::Read) - looks;
    assert!(behind >= 2 * (WAITED_NS / 1_000_000_000 - 1), "{behind} reads behind the end");
    let wanted = WAITED_NS / PAUSE_NS;
    assert!((wanted - 1..=wanted + 1).contains(&looks), "{looks} looks in {wanted} pauses");
    reader.close().unwrap();
    log.close().unwrap();
}
