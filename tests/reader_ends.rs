//! Goal: what a reader says where it ends is so: an end only where nothing is wanted any more, damage and what only a
//! newer reader knows never passed over, and what the machine lacked for a moment gone in the next.
//!
//! Method: small logs on the simulated disk, each with the one thing that once hid what the reader had to say.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::base::crc::crc32c;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::format::frame::FLAG_DATA;
use twal::format::record::record_len;
use twal::format::{FrameHeader, RecordHeader, SegmentHeader, FRAME_HEADER_LEN};
use twal::{Code, CompactOptions, Entry, How, Iter, IterOptions, Log, Options};

const MS: u64 = 1_000_000;
const BLOCK: u32 = 4096;

struct Machine {
    disk: Arc<SimDisk>,
    clock: Clock,
}

impl Machine {
    fn new() -> Machine {
        let clock = Clock::simulated();
        Machine { disk: SimDisk::new(1).with_clock(clock.clone()), clock }
    }

    fn open_with(&self, options: Options) -> Log {
        let options = Options { block_size: BLOCK, segment_size: 64 << 10, ..options };
        Log::open_on(self.disk.as_ref(), Path::new("log"), &options, self.clock.clone(), Threads::None).unwrap()
    }

    fn open(&self, read_only: bool) -> Log {
        self.open_with(Options { read_only, ..Options::default() })
    }

    /// Flips a bit of record `seq`'s payload, in whichever file it is.
    fn damage(&self, seq: u8) {
        let at = |name: &str| self.disk.content(name)?.windows(100).position(|bytes| bytes == [seq; 100]);
        let names = self.disk.names();
        let (name, at) = names.iter().find_map(|name| Some((name, at(name)?))).expect("the record is there");
        self.disk.flip_bit(name, at as u64 + 50, 1);
    }
}

/// Appends records with these numbers, each in a frame of its own and acknowledged.
fn append(log: &Log, seqs: std::ops::RangeInclusive<u8>) {
    for seq in seqs {
        assert_eq!(append_one(log, &[seq; 100], 0x0100, false, true), u64::from(seq));
    }
}

fn append_one(log: &Log, data: &[u8], kind: u16, required: bool, sync: bool) -> u64 {
    let entry = Entry { data, stream: 0, timestamp: None, kind, required };
    log.append(&entry, How { sync: Some(sync), no_wait: false }).unwrap()
}

/// Appends a record for each of these numbers, of bytes that no other log has.
fn append_other(log: &Log, seqs: std::ops::RangeInclusive<u8>) {
    for seq in seqs {
        assert_eq!(append_one(log, &[!seq; 100], 0x0100, false, true), u64::from(seq));
    }
}

/// Appends this many records in one frame.
fn append_frame(log: &Log, count: usize) {
    let entries = vec![Entry { data: b"x", stream: 0, timestamp: None, kind: 0x0100, required: false }; count];
    log.append_batch(entries.into_iter(), How { sync: Some(true), no_wait: false }).unwrap();
}

/// Compacts the log without the records of these numbers; says how many went.
fn purge(log: &Log, seqs: std::ops::RangeInclusive<u64>) -> u64 {
    let all = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    log.compact(&all, &mut |asked| !seqs.contains(&asked.record.seq)).unwrap().records_purged
}

/// What reading record `seq` by its number comes to.
fn by_number(log: &Log, seq: u64) -> Result<u64, Code> {
    log.read(seq, |record| record.seq).map_err(|error| error.code)
}

/// Everything that is durable now, and no more.
fn snapshot() -> IterOptions {
    IterOptions { snapshot: true, ..IterOptions::default() }
}

/// Numbers, and how they end.
type Told = (Vec<u64>, Result<bool, (Code, u64)>);

/// The numbers up to the end, and how it ends, twice: as a look and as a wait say.
fn read(iter: &mut Iter) -> Told {
    let mut seqs = Vec::new();
    loop {
        let found = iter.next_record().map(|record| record.map(|record| record.seq));
        if let Ok(Some(seq)) = found {
            seqs.push(seq);
            continue;
        }
        let found = found.map(drop).map_err(|error| (error.code, error.seq));
        let waited = iter.wait_record(Some(5 * MS)).map(|record| assert!(record.is_none()));
        let waited = match waited.map_err(|error| (error.code, error.seq)) {
            Err((Code::Timeout, _)) => Ok(false),
            other => other.map(|()| true),
        };
        assert_eq!(found.err(), waited.err());
        assert_eq!(waited.unwrap_or(false), waited.is_ok() && iter.is_ended());
        return (seqs, waited);
    }
}

#[test]
fn a_snapshot_of_a_damaged_log_ends_at_the_damage_and_says_so() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=9);
    log.close().unwrap();
    machine.damage(6);
    let reader = machine.open(true);
    assert_eq!(reader.last_seq(), 5);
    let all = || reader.iter_with(snapshot());
    let until = |until_seq| reader.iter_with(IterOptions { until_seq, ..snapshot() });
    let told = Err((Code::Corrupt, 6));
    assert_eq!(read(&mut all().unwrap()), (vec![1, 2, 3, 4, 5], told));
    assert_eq!(read(&mut until(8).unwrap()), (vec![1, 2, 3, 4, 5], told));
    assert_eq!(read(&mut until(6).unwrap()), (vec![1, 2, 3, 4, 5], told));
    assert_eq!(read(&mut until(5).unwrap()), (vec![1, 2, 3, 4, 5], Ok(true)));
    assert_eq!(read(&mut until(3).unwrap()), (vec![1, 2, 3], Ok(true)));
}

#[test]
fn who_stopped_at_a_record_that_must_be_known_goes_on_with_it() {
    for headers_only in [false, true] {
        let log = Machine::new().open(false);
        // Frames of one record, and one of several.
        append(&log, 1..=2);
        for (kind, required) in [(0x0100, false), (0x0101, false), (0x0102, true), (0x0100, false)] {
            append_one(&log, b"x", kind, required, false);
        }
        log.sync(0).unwrap();
        append_one(&log, b"x", 0x0102, true, true);
        let stopped = |from_seq| {
            let known_kinds = Some(vec![0x0100]);
            let mut iter =
                log.iter_with(IterOptions { from_seq, known_kinds, headers_only, ..Default::default() }).unwrap();
            let (seqs, told) = read(&mut iter);
            (seqs, told, iter.next_seq())
        };
        let at = |seq| Err((Code::Type, seq));
        assert_eq!(stopped(0), (vec![1, 2, 3], at(5), 5));
        assert_eq!(stopped(5), (vec![], at(5), 5));
        assert_eq!(stopped(6), (vec![6], at(7), 7));
    }
}

#[test]
fn a_segment_compacted_while_a_record_of_it_is_looked_up_is_no_damage() {
    for seq in 5..=9 {
        let machine = Machine::new();
        // Frames of two openings are never made one.
        let log = machine.open(false);
        append(&log, 1..=6);
        log.close().unwrap();
        let log = Arc::new(machine.open(false));
        append(&log, 7..=9);
        log.roll().unwrap();
        append(&log, 10..=10);
        let compacted = Arc::new(AtomicBool::new(false));
        let (beside, done) = (Arc::clone(&log), Arc::clone(&compacted));
        machine.disk.behind_next_open(Box::new(move || {
            done.store(purge(&beside, 1..=4) == 4, Ordering::Relaxed);
        }));
        assert_eq!(log.read(seq, |record| record.seq).map_err(|error| error.to_string()), Ok(seq));
        assert!(compacted.load(Ordering::Relaxed), "nothing happened beside it");
    }
}

/// What another process knew to be durable ends in the middle of what is one frame by now.
#[test]
fn a_frame_that_a_compaction_made_larger_than_was_known_is_no_damage() {
    for known in 2..=8 {
        let machine = Machine::new();
        let log = machine.open(false);
        append(&log, 1..=known);
        let reader = || machine.open(true);
        let readers = [reader(), reader(), reader()];
        append(&log, known + 1..=9);
        log.roll().unwrap();
        append(&log, 10..=11);
        assert_eq!(purge(&log, 3..=3), 1);
        let last_seq = readers[0].last_seq();
        assert!((u64::from(known) - 1..=u64::from(known)).contains(&last_seq), "{last_seq}");
        for seq in 1..=last_seq {
            let expected = if seq == 3 { Err(Code::NotFound) } else { Ok(seq) };
            assert_eq!(by_number(&readers[0], seq), expected, "{seq} of {last_seq}");
        }
        // Nor is it an end.
        for (reader, options) in readers[1..].iter().zip([IterOptions::default(), snapshot()]) {
            let (seqs, told) = read(&mut reader.iter_with(options.clone()).unwrap());
            assert_eq!(seqs, [1, 2, 4, 5, 6, 7, 8, 9, 10], "{options:?}");
            assert_eq!(told, Ok(options.snapshot));
        }
    }
}

/// Damage up to where another process knew the log to be durable, and a whole segment has followed since: what lies
/// between is passed over by nobody.
#[test]
fn a_reader_that_skips_damage_goes_on_in_the_same_segment() {
    for known in 3..=6 {
        let machine = Machine::new();
        let log = machine.open(false);
        append(&log, 1..=known);
        let reader = machine.open(true);
        append(&log, known + 1..=9);
        log.roll().unwrap();
        append(&log, 10..=12);
        let last_seq = u8::try_from(reader.last_seq()).unwrap();
        machine.damage(last_seq);
        let (told, skipped) = read_skipping(&reader);
        let others: Vec<u64> = (1..=11).filter(|seq| *seq != u64::from(last_seq)).collect();
        assert_eq!((told, skipped), ((others, Ok(false)), (1, 1)), "{known}");
    }
}

/// The same in the writer's own process, where it happens while the reader is on its way there.
#[test]
fn a_reader_ends_behind_all_that_was_durable_when_it_was_asked() {
    for headers_only in [false, true] {
        let machine = Machine::new();
        let log = Arc::new(machine.open(false));
        append(&log, 1..=5);
        log.roll().unwrap();
        append_one(&log, b"x", 0x0101, false, true);
        log.roll().unwrap();
        append(&log, 7..=9);
        let options = IterOptions { kinds: Some(vec![0x0100]), headers_only, ..IterOptions::default() };
        let mut iter = log.iter_with(options).unwrap();
        for seq in 1..=5 {
            assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
        }
        // Behind the open of the segment that has nothing for it.
        let beside = Arc::clone(&log);
        machine.disk.behind_next_open(Box::new(move || {
            append(&beside, 10..=12);
            beside.roll().unwrap();
            append(&beside, 13..=13);
            assert_eq!(purge(&beside, 8..=8), 1);
        }));
        for seq in [7, 9, 10, 11, 12, 13] {
            assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
        }
        assert!(iter.next_record().unwrap().is_none());
    }
}

/// Nobody reads for a while, and the segment behind the one that the handle has come to is removed meanwhile.
#[test]
fn a_trim_while_nobody_read_ends_old_readers_and_no_new_ones() {
    let machine = Machine::new();
    let log = machine.open_with(Options { max_retained_segments: 1, ..Options::default() });
    append(&log, 1..=2);
    let reader = machine.open(true);
    let mut old = reader.iter(0).unwrap();
    for seq in 3..=8 {
        log.roll().unwrap();
        if seq < 8 {
            log.trim(log.last_seq() + 1).unwrap();
        }
        append(&log, seq..=seq);
        log.tick();
    }
    machine.clock.pass(Duration::from_secs(1));
    log.tick();
    let first = log.first_seq();
    assert!(first > 3 && first < 8, "there is a gap, and something behind it");
    assert_eq!(read(&mut old), (vec![1, 2], Err((Code::Trimmed, first))));
    let all: Vec<u64> = (first..=8).collect();
    for from_seq in [first, 0] {
        assert_eq!(read(&mut reader.iter(from_seq).unwrap()), (all.clone(), Ok(false)));
    }
    assert_eq!(by_number(&reader, 8), Ok(8));
    append(&log, 9..=9);
    machine.clock.pass(Duration::from_secs(1));
    log.tick();
    assert_eq!(read(&mut reader.iter(8).unwrap()), (vec![8, 9], Ok(false)));
}

#[test]
fn damage_up_to_the_last_number_wanted_ends_a_reader_that_skips_it() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=6);
    let of = |until_seq| {
        let mut iter = log.iter_with(IterOptions { skip_damaged: true, until_seq, ..IterOptions::default() }).unwrap();
        let seen = read(&mut iter);
        (seen, (iter.skipped().spots, iter.skipped().records))
    };
    machine.damage(5);
    machine.damage(6);
    assert_eq!(of(6), ((vec![1, 2, 3, 4], Ok(true)), (1, 2)));
    assert_eq!(of(5), ((vec![1, 2, 3, 4], Ok(true)), (1, 1)));
    assert_eq!(of(0), ((vec![1, 2, 3, 4], Ok(false)), (1, 2)));
    append(&log, 7..=7);
    assert_eq!(of(5), ((vec![1, 2, 3, 4], Ok(true)), (1, 1)));
    assert_eq!(of(7), ((vec![1, 2, 3, 4, 7], Ok(true)), (1, 2)));
    // It may be wanted later than it is there.
    assert_eq!(of(8), ((vec![1, 2, 3, 4, 7], Ok(false)), (1, 2)));
}

/// The next segment cannot be opened for want of a descriptor.
#[test]
fn what_the_machine_lacks_is_told_and_does_not_stay() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=2);
    let reader = machine.open(true);
    let mut iter = reader.iter(0).unwrap();
    assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(1));
    log.roll().unwrap();
    append(&log, 3..=4);
    machine.disk.fail_from(Some(CallKind::Open), 0, libc::EMFILE);
    let lacks = |error: Option<twal::Error>| assert_eq!(error.map(|error| error.code), Some(Code::NoMem));
    assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(2));
    for _ in 0..2 {
        lacks(iter.next_record().err());
        lacks(iter.wait_record(None).err());
        lacks(reader.read(3, |_| ()).err());
        lacks(reader.iter_with(snapshot()).err());
    }
    machine.disk.clear_faults();
    assert_eq!(read(&mut iter), (vec![3], Ok(false)));
}

/// A type of twal's own that a later release writes, in the same frame as what is wanted.
#[test]
fn what_must_be_known_concerns_only_who_reads_it() {
    let log = Machine::new().open(false);
    let kinds = [0x0100, 0x00ff, 0x0100, 0x0100, 0x00ff];
    let entries = kinds.map(|kind| Entry { data: b"x", stream: 0, timestamp: None, kind, required: kind == 0x00ff });
    log.append_batch(entries.into_iter(), How { sync: Some(true), no_wait: false }).unwrap();
    let found = |seq| log.read(seq, |record| record.seq).map_err(|error| (error.code, error.seq));
    let unknown = |seq| Err((Code::Version, seq));
    assert_eq!([1, 2, 3, 4, 5].map(found), [Ok(1), unknown(2), Ok(3), Ok(4), unknown(5)]);
    for headers_only in [false, true] {
        let of = |from_seq, until_seq| {
            let options = IterOptions { from_seq, until_seq, headers_only, ..IterOptions::default() };
            read(&mut log.iter_with(options).unwrap())
        };
        assert_eq!(of(0, 1), (vec![1], Ok(true)));
        assert_eq!(of(0, 0), (vec![1], Err((Code::Version, 2))));
        // It may say what those behind it mean.
        assert_eq!(of(3, 4), (vec![], Err((Code::Version, 2))));
    }
}

/// Every way to read on, with what it reads from `from_seq` on: all but the one that skips damage.
fn ways(from_seq: u64) -> [IterOptions; 4] {
    let plain = IterOptions { from_seq, ..IterOptions::default() };
    [
        plain.clone(),
        IterOptions { headers_only: true, ..plain.clone() },
        IterOptions { snapshot: true, ..plain.clone() },
        IterOptions { map_sealed: true, ..plain },
    ]
}

/// What a reader says that passes over damage: its numbers and how it ends, places, and numbers missing there.
fn read_skipping(log: &Log) -> (Told, (u64, u64)) {
    let mut iter = log.iter_with(IterOptions { skip_damaged: true, ..IterOptions::default() }).unwrap();
    let told = read(&mut iter);
    (told, (iter.skipped().spots, iter.skipped().records))
}

fn segment_file(disk: &SimDisk, index: u64) -> String {
    disk.names().into_iter().find(|name| name.starts_with(&format!("twal-{index:016}-"))).expect("the segment is there")
}

#[test]
fn the_segment_of_another_log_is_not_read_as_this_ones() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=6);
    log.roll().unwrap();
    append(&log, 7..=9);
    log.roll().unwrap();
    append(&log, 10..=12);
    log.close().unwrap();
    let others = Machine::new();
    let log = others.open(false);
    append_other(&log, 1..=6);
    log.roll().unwrap();
    log.close().unwrap();
    let name = segment_file(&others.disk, 1);
    machine.disk.put_file(&name, &others.disk.content(&name).unwrap());
    let reader = machine.open(true);
    for way in ways(0) {
        let told = reader.iter_with(way.clone()).map(|mut iter| read(&mut iter)).unwrap();
        assert!(matches!(&told, (seqs, Err((Code::Corrupt, _))) if seqs.is_empty()), "{way:?}: {told:?}");
    }
    assert_eq!(by_number(&reader, 1), Err(Code::Corrupt));
    assert_eq!(read_skipping(&reader), (((7..=12).collect(), Ok(false)), (1, 6)));
}

/// Two copies of one log go on separately, and then one has a segment of the other: it has the log's id, continues the
/// segment in front of it, and all its checksums hold.
#[test]
fn a_segment_of_a_copy_that_went_on_by_itself_is_not_read() {
    // As long as the right one, shorter, longer; and compacted.
    for (last, compacts) in [(12, false), (9, false), (16, false), (12, true)] {
        let machine = Machine::new();
        let log = machine.open(false);
        append(&log, 1..=6);
        log.roll().unwrap();
        append(&log, 7..=8);
        log.close().unwrap();
        let twin = Machine { disk: machine.disk.fork(2), clock: Clock::simulated() };
        let log = machine.open(false);
        append(&log, 9..=12);
        log.roll().unwrap();
        append(&log, 13..=14);
        log.close().unwrap();
        let log = twin.open(false);
        append_other(&log, 9..=last);
        log.roll().unwrap();
        if compacts {
            assert_eq!(purge(&log, 7..=7), 1);
        }
        log.close().unwrap();
        let name = segment_file(&machine.disk, 2);
        let (own, twins) = (machine.disk.content(&name).unwrap(), twin.disk.content(&name).unwrap());

        // Beside the writer, who has found it whole.
        let log = machine.open(false);
        machine.disk.put_file(&name, &twins);
        let reader = machine.open(true);
        let told = |from| (if from < 7 { (from..=6).collect() } else { Vec::new() }, Err((Code::Corrupt, 7)));
        for (handle, from) in [(&log, 1), (&log, 8), (&reader, 1), (&reader, 7), (&reader, 12)] {
            for way in ways(from) {
                let read = read(&mut handle.iter_with(way.clone()).unwrap());
                assert_eq!(read, told(from), "{last} {compacts} {way:?}");
            }
        }
        for seq in [7, 9, 12] {
            let read =
                |handle: &Log| handle.read(seq, |record| record.seq).map_err(|error| (error.code, error.segment));
            assert_eq!([read(&log), read(&reader)], [Err((Code::Corrupt, 2)); 2], "{last} {compacts} {seq}");
        }
        let rest = ((1..=6).chain(13..=14).collect(), Ok(false));
        assert_eq!((by_number(&log, 14), read_skipping(&log)), (Ok(14), (rest.clone(), (1, 6))));
        assert_eq!(read_skipping(&reader), (rest, (1, 6)));
        machine.disk.put_file(&name, &own);
        assert_eq!(read(&mut log.iter(0).unwrap()), ((1..=14).collect(), Ok(false)));
    }
}

/// Its seal is what the next segment's header names, and cannot be read; that hides nothing in front of it.
#[test]
fn a_segment_whose_seal_is_damaged_is_read_up_to_there() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=6);
    log.roll().unwrap();
    append(&log, 7..=8);
    log.close().unwrap();
    let log = machine.open(false);
    let name = segment_file(&machine.disk, 1);
    let content = machine.disk.content(&name).unwrap();
    let seal = content.chunks(BLOCK as usize).rposition(|block| block.starts_with(b"TWAF")).unwrap();
    machine.disk.overwrite(&name, (seal * BLOCK as usize) as u64, &[0; BLOCK as usize]);
    let reader = machine.open(true);
    for handle in [&log, &reader] {
        for way in ways(0) {
            let (seqs, told) = read(&mut handle.iter_with(way).unwrap());
            assert_eq!((seqs, told.map_err(|(code, _)| code)), ((1..=6).collect(), Err(Code::Corrupt)));
        }
        assert_eq!(by_number(handle, 6), Ok(6));
        assert_eq!(read_skipping(handle), (((1..=8).collect(), Ok(false)), (1, 0)));
    }
}

/// Puts another frame in the place of the newest one with records: these numbers, so many and of so long a span as its
/// header says, and every checksum right.  Nothing is behind it.
fn forge(machine: &Machine, seqs: &[u64], record_count: u32, seq_span: u64) {
    let name = machine.disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let mut content = machine.disk.content(&name).unwrap();
    let place = SegmentHeader::decode(&content, true).unwrap().place();
    let decode =
        |offset: usize| FrameHeader::decode(place, offset as u64, &content[offset..]).map(|(header, _)| header);
    let frames = (BLOCK as usize..content.len()).step_by(BLOCK as usize);
    let (offset, header) =
        frames.filter_map(|at| Some((at, decode(at)?))).rfind(|(_, header)| header.has(FLAG_DATA)).unwrap();
    let mut body = vec![0; seqs.len() * record_len(1)];
    for (seq, out) in seqs.iter().zip(body.chunks_mut(record_len(1))) {
        RecordHeader { kind: 0x0100, seq: *seq, len: 1, ..RecordHeader::default() }.encode(b"x", out);
    }
    content[offset..].fill(0);
    content[offset + FRAME_HEADER_LEN..][..body.len()].copy_from_slice(&body);
    let (body_len, body_crc) = (body.len() as u32, crc32c(&body));
    let forged = FrameHeader { body_len, body_crc, record_count, seq_span, ..header };
    forged.encode(place, offset as u64, &mut content[offset..]);
    machine.disk.put_file(&name, &content);
}

#[test]
fn numbers_that_do_not_rise_as_their_frame_says_are_damage() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=5);
    append_frame(&log, 2);
    log.close().unwrap();
    let rest: Vec<u64> = (1..=5).collect();
    forge(&machine, &[6, 7], 2, 2);
    assert_eq!(read(&mut machine.open(true).iter(0).unwrap()), ((1..=7).collect(), Ok(false)));
    // What the frame holds and says; and what is delivered of it.
    let cases: [(&[u64], u32, u64, &[u64]); 9] = [
        (&[7, 6], 2, 2, &[]),
        (&[6, 6], 2, 2, &[6]),
        (&[7], 2, 2, &[]),
        (&[6], 2, 2, &[]),
        (&[6], 5, 5, &[]),
        (&[], 2, 2, &[]),
        (&[6, 7], 1, 1, &[]),
        // Numbers may be missing where a segment was compacted; this one never was.
        (&[7], 1, 2, &[]),
        (&[], 0, 2, &[]),
    ];
    for (seqs, record_count, seq_span, delivered) in cases {
        forge(&machine, seqs, record_count, seq_span);
        let reader = machine.open(true);
        let expected = [&rest[..], delivered].concat();
        for way in ways(0) {
            let told = read(&mut reader.iter_with(way.clone()).unwrap());
            let last = 6 + delivered.len() as u64;
            assert_eq!(
                told,
                (expected.clone(), Err((Code::Corrupt, last))),
                "{seqs:?} {record_count} {seq_span} {way:?}"
            );
        }
        let found = by_number(&reader, 6);
        assert_eq!(found, delivered.first().copied().ok_or(Code::Corrupt), "{seqs:?} {record_count} {seq_span}");
        let (told, (spots, _)) = read_skipping(&reader);
        assert_eq!((told, spots), ((rest.clone(), Ok(false)), 1), "{seqs:?} {record_count} {seq_span}");
    }
}

/// A name that was given another first number contradicts the file in front of it: the records there are no holes.
#[test]
fn a_record_that_was_never_let_go_is_not_said_to_be() {
    let machine = Machine::new();
    let log = machine.open(false);
    append(&log, 1..=3);
    log.roll().unwrap();
    assert_eq!(purge(&log, 2..=2), 1);
    for _ in 0..2 {
        append_frame(&log, 4);
    }
    log.roll().unwrap();
    append(&log, 12..=14);
    log.close().unwrap();
    let name = segment_file(&machine.disk, 3);
    let content = machine.disk.content(&name).unwrap();
    machine.disk.remove_file(&name);
    machine.disk.put_file(&name.replace("-00000000000000000012.", "-00000000000000000010."), &content);
    let reader = machine.open(true);
    let found = |seq| by_number(&reader, seq);
    assert_eq!([1, 2, 3, 4, 7].map(found), [Ok(1), Err(Code::NotFound), Ok(3), Ok(4), Ok(7)]);
    assert_eq!([8, 9, 10, 11, 12, 14].map(found), [Err(Code::Corrupt); 6]);
}

#[test]
fn a_file_of_a_strange_name_hides_nothing_and_is_told_at_the_end() {
    for stray in ["twal-foo", "twal-spare-x"] {
        let machine = Machine::new();
        let log = machine.open(false);
        append(&log, 1..=5);
        log.roll().unwrap();
        append(&log, 6..=9);
        machine.disk.put_file(stray, b"");
        // Beside the writer up to where its frames say that they are durable, which the last one cannot say of itself.
        let beside = read(&mut machine.open(true).iter(0).unwrap());
        assert_eq!(beside, ((1..=8).collect(), Err((Code::Corrupt, 0))), "{stray}");
        // Killed: what nobody testifies for counts too.
        machine.disk.kill();
        drop(log);
        machine.disk.restart();
        let reader = machine.open(true);
        for way in ways(0) {
            let mut iter = reader.iter_with(way.clone()).unwrap();
            assert_eq!(read(&mut iter), ((1..=9).collect(), Err((Code::Corrupt, 0))), "{stray} {way:?}");
            assert!(iter.next_record().unwrap_err().to_string().contains(stray));
        }
        let mut some = reader.iter_with(IterOptions { until_seq: 7, ..IterOptions::default() }).unwrap();
        assert_eq!(read(&mut some), ((1..=7).collect(), Ok(true)));
        let found = |seq| by_number(&reader, seq);
        assert_eq!([1, 9, 10].map(found), [Ok(1), Ok(9), Err(Code::Corrupt)]);
        assert_eq!(read_skipping(&reader), (((1..=9).collect(), Ok(false)), (1, 0)));
        // Nothing can be read of what a repair left halfway.
        machine.disk.put_file("twal-repair-unfinished", b"");
        assert_eq!(read(&mut machine.open(true).iter(0).unwrap()).0, []);
        machine.disk.remove_file("twal-repair-unfinished");
        machine.damage(7);
        assert_eq!(read(&mut machine.open(true).iter(0).unwrap()), ((1..=6).collect(), Err((Code::Corrupt, 7))));
    }
}

#[test]
fn a_file_that_lost_its_end_hides_nothing_in_front_of_it() {
    let whole = Machine::new();
    let log = whole.open(false);
    append(&log, 1..=4);
    log.roll().unwrap();
    append(&log, 5..=9);
    log.close().unwrap();
    let last = (64 << 10) - 1;
    // Behind its last frame; in the middle of the header of a record's; and in the padding of one.
    let in_frame = |index, seq: u8| {
        let content = whole.disk.content(&segment_file(&whole.disk, index)).unwrap();
        let at = content.windows(100).position(|bytes| bytes == [seq; 100]).unwrap();
        (at / BLOCK as usize * BLOCK as usize + 64) as u64
    };
    for (index, size, good, rest) in [
        (1, last, 4, 5..=9),
        (1, in_frame(1, 3), 2, 5..=9),
        (1, in_frame(1, 3) + 1000, 3, 5..=9),
        (2, last, 9, 0..=0),
        (2, in_frame(2, 7), 6, 0..=0),
        (2, in_frame(2, 7) + 1000, 7, 0..=0),
        (2, u64::from(BLOCK), 4, 0..=0),
    ] {
        let machine = Machine { disk: whole.disk.fork(3), clock: Clock::simulated() };
        // Beside a writer who found it whole.
        let log = machine.open(false);
        let name = segment_file(&machine.disk, index);
        machine.disk.set_size(&name, size);
        let front: Vec<u64> = (1..=good).collect();
        let reader = machine.open(true);
        for handle in [&reader, &log] {
            if std::ptr::eq(handle, &log) && index == 2 {
                continue; // It is being written: the writer's own end is another one.
            }
            for way in ways(0) {
                let mut iter = handle.iter_with(way.clone()).unwrap();
                assert_eq!(read(&mut iter).0, front, "{index} {size} {way:?}");
                let error = iter.next_record().map(drop).unwrap_err();
                let place = (error.code, error.segment, error.offset);
                assert_eq!(place, (Code::Corrupt, index, size), "{index} {size} {way:?}: {error}");
            }
            let found = |seq| by_number(handle, seq);
            for seq in 1..=9 {
                let there = front.contains(&seq) || (rest.contains(&seq) && std::ptr::eq(handle, &log));
                assert_eq!(found(seq), if there { Ok(seq) } else { Err(Code::Corrupt) }, "{index} {size} {seq}");
            }
            let ((seqs, told), (spots, _)) = read_skipping(handle);
            let rest = rest.clone().filter(|seq| *seq > 0);
            assert_eq!(
                (seqs, told, spots),
                (front.iter().copied().chain(rest).collect(), Ok(false), 1),
                "{index} {size}"
            );
        }
        drop(reader);
        drop(log);
        machine.disk.set_size(&name, size);
        let options = Options { block_size: BLOCK, segment_size: 64 << 10, ..Options::default() };
        let opened = Log::open_on(&*machine.disk, Path::new("log"), &options, machine.clock.clone(), Threads::None);
        assert_eq!(opened.map(drop).unwrap_err().code, Code::Corrupt, "{index} {size}");
    }
}
