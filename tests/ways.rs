//! Goal: whichever way a log is read, it is the same log: every option of a reader, and every record by its number,
//! against a plain reading of all; a snapshot stays whatever is released; what was released is told, never left out.
//!
//! Method: random logs on the simulated disk, rolled, cut by power cuts, trimmed and compacted; the writer's own handle
//! and one that only reads.  TWAL_SEED=n plays life n alone.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::{Candidate, Code, CompactOptions, Durability, Entry, Error, How, Iter, IterOptions, Log, Options};

#[allow(dead_code)] // other tests draw in other ways
#[path = "sim/rng.rs"]
mod rng;
use rng::Rng;

const DIR: &str = "log";

/// A record, with all that a reader says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    seq: u64,
    stream: u64,
    timestamp: i64,
    kind: u16,
    required: bool,
    continues: bool,
    data: Vec<u8>,
}

/// The next record; of a reader of headers with the payload that it gives when asked.
fn next(iter: &mut Iter, heads: bool) -> Result<Option<Seen>, Error> {
    let Some(record) = iter.next_record()? else { return Ok(None) };
    let mut seen = Seen {
        seq: record.seq,
        stream: record.stream,
        timestamp: record.timestamp,
        kind: record.kind,
        required: record.required,
        continues: record.batch_continues,
        data: record.data.to_vec(),
    };
    let len = record.len as usize;
    assert!(record.data.len() == if heads { 0 } else { len });
    if heads {
        seen.data = iter.payload()?.to_vec();
        assert_eq!(seen.data.len(), len);
    }
    assert_eq!(iter.next_seq(), seen.seq + 1);
    Ok(Some(seen))
}

fn read(log: &Log, options: &IterOptions) -> Result<Vec<Seen>, Error> {
    let mut iter = log.iter_with(options.clone())?;
    let mut all = Vec::new();
    while let Some(seen) = next(&mut iter, options.headers_only)? {
        all.push(seen);
    }
    Ok(all)
}

/// What a plain reading of `all` has to become.
fn expected(all: &[Seen], options: &IterOptions) -> Vec<Seen> {
    let wanted = |seen: &Seen| {
        options.streams.as_ref().is_none_or(|streams| streams.contains(&seen.stream))
            && options.kinds.as_ref().is_none_or(|kinds| kinds.contains(&seen.kind))
    };
    let filtered = options.streams.is_some() || options.kinds.is_some();
    let limit = if options.limit == 0 { usize::MAX } else { options.limit as usize };
    let until = if options.until_seq == 0 { u64::MAX } else { options.until_seq };
    let mut out = Vec::new();
    for (at, seen) in all.iter().enumerate() {
        if seen.seq < options.from_seq || seen.seq > until || out.len() == limit || !wanted(seen) {
            continue;
        }
        // Of a batch, the last one that is delivered ends it; a bound cuts it as it is.
        let batch = all[at..].iter().take_while(|seen| seen.continues).count();
        let continues = match filtered {
            true => all[at + 1..].iter().take(batch).any(&wanted),
            false => seen.continues,
        };
        out.push(Seen { continues, ..seen.clone() });
    }
    out
}

struct Life {
    disk: Arc<SimDisk>,
    clock: Clock,
    options: Options,
    rng: Rng,
}

impl Life {
    fn new(seed: u64) -> Life {
        let clock = Clock::simulated();
        let disk = SimDisk::new(seed).with_clock(clock.clone());
        let mut rng = Rng::new(seed);
        let block_size = rng.pick(&[512, 4096]);
        disk.set_align(block_size, 512);
        let options = Options {
            block_size,
            segment_size: rng.pick(&[64 << 10, 128 << 10, 1 << 20]),
            durability: Some(rng.pick(&[Durability::Sync, Durability::Group, Durability::Async])),
            max_retained_segments: 1,
            ..Options::default()
        };
        Life { disk, clock, options, rng }
    }

    fn open(&self, read_only: bool) -> Log {
        let options = Options { read_only, ..self.options.clone() };
        Log::open_on(self.disk.as_ref(), Path::new(DIR), &options, self.clock.clone(), Threads::None).unwrap()
    }

    /// Appends some, in batches too.
    fn append(&mut self, log: &Log, times: u64) {
        for _ in 0..times {
            let count = if self.rng.percent(30) { self.rng.within(2, 9) } else { 1 };
            let rng = &mut self.rng;
            let parts: Vec<(u64, u16, bool, Vec<u8>)> = (0..count)
                .map(|_| {
                    let longest = rng.pick(&[40, 40, 600, 6000]);
                    let len = rng.below(longest) as usize;
                    (rng.below(4), 0x0100 + rng.below(4) as u16, rng.percent(20), vec![rng.next() as u8; len])
                })
                .collect();
            let entries = parts.iter().map(|(stream, kind, required, data)| Entry {
                data,
                stream: *stream,
                timestamp: None,
                kind: *kind,
                required: *required,
            });
            let how = How { sync: rng.pick(&[None, Some(true), Some(false)]), no_wait: false };
            log.append_batch(entries, how).unwrap();
            if self.rng.percent(5) {
                log.roll().unwrap();
            }
            if self.rng.percent(20) {
                log.tick();
            }
        }
    }

    /// A log with some past: epochs, cut tails, released and compacted segments; all of it durable.
    fn make(&mut self) -> Log {
        let mut log = self.open(false);
        for _ in 0..self.rng.within(1, 5) {
            let times = self.rng.within(5, 60);
            self.append(&log, times);
            match self.rng.below(4) {
                0 => {
                    self.disk.power_cut();
                    std::mem::forget(log);
                    log = self.open(false);
                }
                1 => {
                    log.close().unwrap();
                    log = self.open(false);
                }
                2 => {
                    let below = self.rng.within(log.first_seq(), log.last_seq() + 1);
                    log.sync(0).unwrap();
                    log.trim(below).unwrap();
                }
                _ => {
                    let all = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
                    let gone = self.rng.below(4);
                    log.compact(&all, &mut |one: &Candidate<'_>| one.record.stream != gone).unwrap();
                }
            }
        }
        log.sync(0).unwrap();
        log
    }

    /// Some way to read.
    fn way(&mut self, first: u64, last: u64) -> IterOptions {
        let rng = &mut self.rng;
        let from_seq = if rng.percent(20) { 0 } else { rng.within(first, last + 1) };
        let some = |rng: &mut Rng, from: u64| -> Vec<u64> { (0..rng.below(4)).map(|_| from + rng.below(4)).collect() };
        IterOptions {
            from_seq,
            until_seq: if rng.percent(50) { 0 } else { rng.within(first, last + 3) },
            limit: if rng.percent(60) { 0 } else { rng.within(1, 20) },
            headers_only: rng.percent(50),
            snapshot: rng.percent(30),
            map_sealed: rng.percent(30),
            streams: rng.percent(30).then(|| some(rng, 0)),
            kinds: rng.percent(30).then(|| some(rng, 0x0100).into_iter().map(|kind| kind as u16).collect()),
            ..IterOptions::default()
        }
    }
}

fn seeds(lives: Range<u64>) -> Range<u64> {
    match std::env::var("TWAL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => lives,
    }
}

#[test]
fn every_way_of_reading_agrees() {
    for seed in seeds(0..40) {
        println!("TWAL_SEED={seed}");
        let mut life = Life::new(seed);
        let writer = life.make();
        // What only reads beside a writer delivers what a frame testifies to: here all, behind a mark.
        life.clock.pass(std::time::Duration::from_secs(1));
        writer.tick();
        let reader = life.open(true);
        let (first, last) = (writer.first_seq(), writer.last_seq());
        let all = read(&writer, &IterOptions::default()).unwrap();
        for log in [&writer, &reader] {
            assert_eq!(read(log, &IterOptions::default()).unwrap(), all);
            let some = |seq: &u64| seq + 4 > last || *seq < first + 9 || seq.is_multiple_of(3);
            for seq in (first.saturating_sub(3)..=last + 2).filter(some) {
                let found = log.read(seq, |record| (record.seq, record.stream, record.kind, record.data.to_vec()));
                match all.iter().find(|seen| seen.seq == seq) {
                    Some(seen) => assert_eq!(found, Ok((seq, seen.stream, seen.kind, seen.data.clone()))),
                    None if seq > 0 && seq < first => {
                        assert_eq!(found.map_err(|error| (error.code, error.seq)), Err((Code::Trimmed, first)));
                    }
                    None => assert_eq!(found.map_err(|error| error.code), Err(Code::NotFound), "{seq}"),
                }
            }
            for _ in 0..40 {
                let options = life.way(first, last);
                assert_eq!(read(log, &options).unwrap(), expected(&all, &options), "{options:?}");
            }
            // Page by page, each from a reader of its own.
            let (mut pages, mut from_seq, limit) = (Vec::new(), 0, life.rng.within(1, 30));
            loop {
                let mut iter = log.iter_with(IterOptions { from_seq, limit, ..IterOptions::default() }).unwrap();
                let before = pages.len();
                while let Some(seen) = next(&mut iter, false).unwrap() {
                    pages.push(seen);
                }
                from_seq = iter.next_seq();
                if !iter.is_ended() {
                    break;
                }
                assert_eq!((pages.len() - before) as u64, limit);
            }
            assert_eq!(pages, all);
        }
        writer.close().unwrap();
    }
}

/// Segments of some records each, without anything but data and marks.
fn rolled(seed: u64, segments: u64) -> (Life, Log) {
    let mut life = Life::new(seed);
    life.options.durability = Some(Durability::Sync);
    life.options.segment_size = 64 << 10;
    let log = life.open(false);
    for _ in 0..segments {
        life.append(&log, 8);
        log.roll().unwrap();
    }
    life.append(&log, 8);
    log.sync(0).unwrap();
    life.clock.pass(std::time::Duration::from_secs(1));
    log.tick();
    (life, log)
}

fn code_and_seq<T>(result: Result<T, Error>) -> Option<(Code, u64)> {
    result.err().map(|error| (error.code, error.seq))
}

#[test]
fn a_snapshot_stays_and_every_other_reader_is_told_where_the_log_begins() {
    for seed in 0..10 {
        let (mut life, writer) = rolled(seed, 6);
        let elsewhere = life.open(true);
        let all = read(&writer, &IterOptions::default()).unwrap();
        let last = writer.last_seq();
        let middle = all[all.len() / 2].seq;
        let snapshot = IterOptions { snapshot: true, ..IterOptions::default() };
        let bounded = IterOptions { until_seq: middle, ..snapshot.clone() };
        let mut kept: Vec<(Iter, u64)> = [&writer, &elsewhere]
            .into_iter()
            .flat_map(|log| [(log.iter_with(snapshot.clone()), last), (log.iter_with(bounded.clone()), middle)])
            .map(|(iter, until)| (iter.unwrap(), until))
            .collect();
        let mut plain = [writer.iter(0).unwrap(), elsewhere.iter(0).unwrap()];
        // Everything that can go goes, and its files become others.
        for _ in 0..8 {
            writer.roll().unwrap();
            writer.trim(writer.last_seq() + 1).unwrap();
            life.append(&writer, 8);
            writer.sync(0).unwrap();
            writer.tick();
        }
        let first = writer.first_seq();
        assert!(first > last, "nothing of that is there any more");
        for (iter, until) in &mut kept {
            let mut seen = Vec::new();
            while let Some(one) = next(iter, false).unwrap() {
                seen.push(one);
            }
            let expected: Vec<_> = all.iter().filter(|one| one.seq <= *until).cloned().collect();
            assert_eq!(seen, expected);
            assert!(iter.is_ended() && iter.next_record().unwrap().is_none(), "a snapshot does not grow");
        }
        for iter in &mut plain {
            // The segment that it has open it reads to its end.
            let mut seen = 0;
            let told = loop {
                match next(iter, false) {
                    Ok(Some(one)) => {
                        assert_eq!(one, all[seen]);
                        seen += 1;
                    }
                    Ok(None) => panic!("a silent end behind {seen} records"),
                    Err(error) => break (error.code, error.seq),
                }
            };
            assert_eq!(told, (Code::Trimmed, first));
            assert_eq!(code_and_seq(iter.next_record()), Some(told), "it stays");
        }
        for log in [&writer, &elsewhere] {
            assert_eq!(code_and_seq(log.iter(all[0].seq)), Some((Code::Trimmed, first)));
            assert_eq!(code_and_seq(log.read(all[0].seq, |_| ())), Some((Code::Trimmed, first)));
            let of_first = IterOptions { from_segment: 1, ..IterOptions::default() };
            assert_eq!(code_and_seq(log.iter_with(of_first)), Some((Code::Trimmed, first)));
        }
        // Who asks for the oldest gets the oldest that there is, also where the list of segments is an old one.
        let oldest = read(&life.open(true), &IterOptions::default()).unwrap()[0].seq;
        assert_eq!(oldest, first);
        writer.close().unwrap();
    }
}

/// An old list of segments: the reader opened before the trim, and looks first afterwards.
#[test]
fn the_oldest_is_the_oldest_that_is_there_now() {
    let (mut life, writer) = rolled(3, 6);
    let elsewhere = life.open(true);
    for _ in 0..8 {
        writer.roll().unwrap();
        writer.trim(writer.last_seq() + 1).unwrap();
        life.append(&writer, 8);
        writer.sync(0).unwrap();
        writer.tick();
    }
    life.clock.pass(std::time::Duration::from_secs(1));
    writer.tick();
    assert!(elsewhere.first_seq() < writer.first_seq(), "it has not looked yet");
    let plain = IterOptions::default();
    assert_eq!(read(&elsewhere, &plain).unwrap(), read(&writer, &plain).unwrap());
}

#[test]
fn a_reader_begins_at_any_segment_that_is_there() {
    let (life, log) = rolled(1, 5);
    let all = read(&log, &IterOptions::default()).unwrap();
    let mut before = 0;
    let newest = life.disk.names().iter().filter(|name| !name.contains("spare")).count() as u64;
    for index in 1..=newest {
        let seen = read(&log, &IterOptions { from_segment: index, ..IterOptions::default() }).unwrap();
        assert!(all.ends_with(&seen) && seen[0].seq > before, "segment {index}");
        before = seen[0].seq;
    }
    let of = |options| log.iter_with(options).err().map(|error| error.code);
    assert_eq!(of(IterOptions { from_segment: newest + 1, ..IterOptions::default() }), Some(Code::NotFound));
    assert_eq!(of(IterOptions { from_segment: 1, from_seq: 1, ..IterOptions::default() }), Some(Code::Inval));
    let skip = IterOptions { skip_damaged: true, ..IterOptions::default() };
    assert_eq!(of(IterOptions { headers_only: true, ..skip.clone() }), Some(Code::Inval));
    assert_eq!(of(IterOptions { snapshot: true, ..skip }), Some(Code::Inval));
}

#[test]
fn a_type_that_must_be_known_stops_a_reader_that_does_not_know_it() {
    let life = Life::new(1);
    let log = life.open(false);
    for (kind, required) in [(0x0100, true), (0x0101, false), (0x0102, false), (0x0100, false), (0x0102, true)] {
        let entry = Entry { data: b"x", stream: u64::from(kind), timestamp: None, kind, required };
        log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
    }
    let knows = |known: &[u16], options: IterOptions| {
        let mut iter = log.iter_with(IterOptions { known_kinds: Some(known.to_vec()), ..options }).unwrap();
        let mut seqs = Vec::new();
        loop {
            match iter.next_record() {
                Ok(Some(record)) => seqs.push(record.seq),
                Ok(None) => return (seqs, None),
                Err(error) => {
                    assert_eq!(code_and_seq(iter.next_record()), Some((error.code, error.seq)), "it stays");
                    return (seqs, Some((error.code, error.seq)));
                }
            }
        }
    };
    for headers_only in [false, true] {
        let plain = IterOptions { headers_only, ..IterOptions::default() };
        let stops = |seq| Some((Code::Type, seq));
        assert_eq!(knows(&[0x0100, 0x0101, 0x0102], plain.clone()), (vec![1, 2, 3, 4, 5], None));
        assert_eq!(knows(&[0x0102, 0x0100], plain.clone()), (vec![1, 3, 4, 5], None));
        assert_eq!(knows(&[0x0100], plain.clone()), (vec![1, 4], stops(5)));
        assert_eq!(knows(&[], plain.clone()), (vec![], stops(1)));
        assert_eq!(knows(&[0x0100], IterOptions { until_seq: 4, ..plain.clone() }), (vec![1, 4], None));
        assert_eq!(knows(&[0x0102], IterOptions { from_seq: 2, ..plain.clone() }), (vec![3, 5], None));
        // Whatever else is left out.
        let other = IterOptions { streams: Some(vec![0x0101]), kinds: Some(vec![0x0101]), ..plain };
        assert_eq!(knows(&[0x0100, 0x0101], other), (vec![2], stops(5)));
    }
}

/// Record 2 of three, 40 KB of payload each.
fn with_large_payloads() -> (Life, Log, String, u64) {
    let mut life = Life::new(1);
    life.options.segment_size = 1 << 20;
    life.options.block_size = 4096;
    life.disk.set_align(4096, 512);
    let log = life.open(false);
    for seq in 1..=3u8 {
        let entry = Entry { data: &[seq; 40_000], stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
    }
    let name = life.disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let content = life.disk.content(&name).unwrap();
    let payload = content.windows(40_000).position(|bytes| bytes == [2; 40_000]).unwrap() as u64;
    (life, log, name, payload)
}

const HEADS: IterOptions = IterOptions {
    from_seq: 0,
    from_segment: 0,
    until_seq: 0,
    limit: 0,
    skip_damaged: false,
    headers_only: true,
    snapshot: false,
    map_sealed: false,
    streams: None,
    kinds: None,
    known_kinds: None,
    hidden: None,
};

#[test]
fn of_headers_only_the_payload_is_not_read_and_its_damage_is_told_when_asked() {
    let (life, log, name, payload) = with_large_payloads();
    // A block of pure payload that the device does not give.
    let block = payload.next_multiple_of(4096) + 4096;
    life.disk.fail_reads(&name, block..block + 4096, u64::MAX, libc::EIO);
    let plain = read(&log, &IterOptions::default()).unwrap_err();
    assert_eq!(plain.code, Code::Io);
    let mut iter = log.iter_with(HEADS).unwrap();
    for seq in 1..=3 {
        assert_eq!(iter.next_record().unwrap().map(|record| (record.seq, record.len)), Some((seq, 40_000)));
        let payload = iter.payload().map(<[u8]>::to_vec);
        match seq {
            2 => assert_eq!(code_and_seq(payload).map(|(code, _)| code), Some(Code::Io)),
            _ => assert_eq!(payload, Ok(vec![seq as u8; 40_000])),
        }
    }
    assert!(iter.next_record().unwrap().is_none());
    assert_eq!(code_and_seq(iter.payload()), Some((Code::State, 0)));

    // A flipped bit, in the payload and in the header.
    life.disk.clear_faults();
    life.disk.flip_bit(&name, payload + 20_000, 3);
    assert_eq!(read(&log, &IterOptions::default()).unwrap_err().code, Code::Corrupt);
    let mut iter = log.iter_with(HEADS).unwrap();
    let corrupted = log.stats().corrupted_records;
    for seq in 1..=3 {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
        let expected = if seq == 2 { Some((Code::Corrupt, 2)) } else { None };
        for _ in 0..3 {
            assert_eq!(code_and_seq(iter.payload()), expected);
        }
    }
    assert_eq!(log.stats().corrupted_records, corrupted + 1, "however often it is asked for");
    life.disk.flip_bit(&name, payload + 20_000, 3);
    for byte in 1..=40 {
        life.disk.flip_bit(&name, payload - byte, 0);
        let mut iter = log.iter_with(HEADS).unwrap();
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(1));
        assert_eq!(code_and_seq(iter.next_record()).map(|(code, _)| code), Some(Code::Corrupt), "byte {byte}");
        life.disk.flip_bit(&name, payload - byte, 0);
    }
    assert_eq!(read(&log, &HEADS).unwrap().len(), 3);
}

/// A header that is whole, but of another record, as a block that was written to the wrong place has.
#[test]
fn a_header_that_is_not_the_frames_own_is_damage() {
    let (life, log, name, payload) = with_large_payloads();
    let content = life.disk.content(&name).unwrap();
    let other = content.windows(40_000).position(|bytes| bytes == [3; 40_000]).unwrap();
    life.disk.overwrite(&name, payload - 40, &content[other - 40..other]);
    let mut iter = log.iter_with(HEADS).unwrap();
    assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(1));
    assert_eq!(code_and_seq(iter.next_record()).map(|(code, _)| code), Some(Code::Corrupt));
}

/// The same within one frame: three records of a batch, the second with the header of the third.
#[test]
fn a_header_of_the_same_frame_in_another_place_is_damage() {
    let life = Life::new(1);
    let log = life.open(false);
    let data = [[1; 64], [2; 64], [3; 64]];
    let entries = data.iter().map(|data| Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false });
    log.append_batch(entries, How { sync: Some(true), no_wait: false }).unwrap();
    let name = life.disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let content = life.disk.content(&name).unwrap();
    let payload = |n: usize| content.windows(64).position(|bytes| bytes == data[n]).unwrap();
    for (to, from) in [(1, 2), (1, 0), (0, 1), (2, 1)] {
        let header = |n: usize| payload(n) - 40..payload(n);
        life.disk.overwrite(&name, header(to).start as u64, &content[header(from)]);
        let mut iter = log.iter_with(HEADS).unwrap();
        let told = loop {
            match iter.next_record() {
                Ok(Some(record)) => assert!(record.seq as usize <= to, "{} in place of {}", record.seq, to + 1),
                Ok(None) => panic!("a silent end"),
                Err(error) => break error.code,
            }
        };
        assert_eq!(told, Code::Corrupt);
        life.disk.overwrite(&name, header(to).start as u64, &content[header(to)]);
    }
    assert_eq!(read(&log, &HEADS).unwrap().len(), 3);
    // What only was read badly once is no damage.
    let mut iter = log.iter_with(HEADS).unwrap();
    life.disk.overwrite(&name, payload(1) as u64 - 40, &content[payload(2) - 40..payload(2)]);
    assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(1));
    life.disk.overwrite(&name, payload(1) as u64 - 40, &content[payload(1) - 40..payload(1)]);
    for seq in 2..=3 {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
    }
}

/// Frames of a tail that was cut verify, and their numbers were given again: behind the end, and behind the seal.
#[test]
fn a_cut_tail_is_never_found_by_number() {
    let mut life = Life::new(1);
    (life.options.block_size, life.options.segment_size) = (4096, 1 << 20);
    life.options.durability = Some(Durability::Sync);
    life.disk.set_align(4096, 512);
    let log = life.open(false);
    let append = |log: &Log, data: &[u8], sync| {
        let entry = Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How { sync: Some(sync), no_wait: false }).unwrap()
    };
    for seq in 1..=200u8 {
        append(&log, &[seq; 50], seq <= 10);
        life.clock.pass(std::time::Duration::from_millis(2));
        log.tick();
    }
    assert_eq!(log.durable_seq(), 10);
    let name = life.disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let content = life.disk.content(&name).unwrap();
    let eleventh = content.windows(50).position(|bytes| bytes == [11; 50]).unwrap() / 4096 * 4096;
    std::mem::forget(log);
    life.disk.kill();
    life.disk.restart();
    // Power failed, and the device had not come to it: all behind it is cut, and stays where it is.
    life.disk.overwrite(&name, eleventh as u64, &[0; 4096]);
    let log = life.open(false);
    assert_eq!(log.last_seq(), 10);
    let entry = Entry { data: b"anew", stream: 0, timestamp: None, kind: 0x0100, required: false };
    log.append_batch((11..=200u8).map(|_| entry), How { sync: Some(true), no_wait: false }).unwrap();
    let check = |what: &str| {
        for seq in 1..=200 {
            let found =
                log.read(seq, |record| record.data == if seq <= 10 { vec![seq as u8; 50] } else { b"anew".to_vec() });
            assert_eq!(found, Ok(true), "record {seq}, {what}");
        }
    };
    check("behind the end");
    log.roll().unwrap();
    append(&log, b"next", true);
    check("behind the seal");
    log.close().unwrap();
}

/// Most of the bytes of large records are passed over.
#[test]
fn headers_cost_few_reads_and_a_record_by_number_too() {
    let mut life = Life::new(1);
    (life.options.segment_size, life.options.block_size) = (16 << 20, 4096);
    life.options.durability = Some(Durability::Sync);
    life.disk.set_align(4096, 512);
    let log = life.open(false);
    for seq in 0..1500_u64 {
        let entry = Entry {
            data: &vec![1; (seq * 37 % 9000) as usize],
            stream: 0,
            timestamp: None,
            kind: 0x0100,
            required: false,
        };
        log.append(&entry, How::default()).unwrap();
    }
    let reads = || life.disk.counts().of(twal::disk::sim::CallKind::Read);
    for seq in [1, 2, 700, 1111, 1500] {
        let before = reads();
        assert_eq!(log.read(seq, |record| record.seq), Ok(seq));
        assert!(reads() - before <= 25, "{} reads for record {seq}", reads() - before);
    }
}
