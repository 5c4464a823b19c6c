//! Goal: the format stays what earlier releases wrote.
//! Method: the committed logs of tests/golden/ are read back, written on, and
//! made again.  What docs/FORMAT.md says of it is tests/format_docs.rs.
//!
//! A committed log is a folder: a text file for each segment (every block that
//! is not zeros, in hexadecimal) and expected.jsonl, a line for each record.
//!
//!   composed  made by this file from the encoders, all ids fixed: the same
//!             bytes every time.  Has what is hard to bring about otherwise: two
//!             frames in flight at a power cut, a cut tail, an archived segment.
//!   written   made once by a real log on a real disk.
//!   compacted likewise; most of its segments were compacted, some of them twice.
//!
//! `cargo test --test golden -- --ignored make_golden` writes them anew, each by a test of its own.  A
//! released version's folders are never written again: a new version gets new ones.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

#[path = "golden/common.rs"]
mod common;

use std::path::{Path, PathBuf};

use common::{from_text, hex, lines_of, options, read_only, scratch, segments_of, write_files};
use twal::base::crc::crc32c;
use twal::format::frame::{Seal, FLAG_DATA, FLAG_MARK, FLAG_SEAL, SEAL_LEN};
use twal::format::record::{record_len, FLAG_BATCH_CONTINUES, FLAG_REQUIRED};
use twal::format::{Chain, FrameHeader, RecordHeader, SegmentHeader, FRAME_HEADER_LEN};
use twal::{Candidate, CompactOptions, Entry, How, Log, Options, Record, Tail};

const BLOCK: usize = 4096;
const SEGMENT: usize = 64 << 10;
const LOGS: [&str; 3] = ["v30-composed", "v30-written", "v30-compacted"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn golden(log: &str) -> PathBuf {
    root().join("tests/golden").join(log)
}

// ---- files as text

/// A segment file as text.
fn to_text(bytes: &[u8]) -> String {
    let mut text = format!("size {}\n", bytes.len());
    for (at, block) in bytes.chunks(BLOCK).enumerate() {
        let used = block.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        if used > 0 {
            text += &format!("block {}\n", at * BLOCK);
            for line in block[..used].chunks(64) {
                text += &hex(line);
                text += "\n";
            }
        }
    }
    text
}

/// The committed segments of a log, by name, as they were on disk.
fn committed(log: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(golden(log))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, from_text(&std::fs::read_to_string(path).unwrap()))
        })
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{log} is not whole");
    files
}

fn expected(log: &str) -> Vec<String> {
    let text = std::fs::read_to_string(golden(log).join("expected.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A copy of a committed log that may be changed.
fn copy(log: &str, test: &str) -> PathBuf {
    let dir = scratch(&format!("golden-{test}-{log}"));
    write_files(&dir, &committed(log));
    dir
}

// ---- the composed log

/// Composes frames with fixed ids.  Not the library's composer: this one may
/// also leave a log as a power cut leaves it.
struct Composed {
    header: SegmentHeader,
    bytes: Vec<u8>,
    offset: usize,
    chain: Chain,
    epoch: (u64, u8),
    records: u64,
    frames: u64,
    /// What the next frames testify; `end` only until they follow it of themselves.
    durable_seq: u64,
    durable_end: u64,
    lines: Vec<String>,
}

impl Composed {
    fn new() -> Composed {
        let header = SegmentHeader {
            index: 1,
            created_ns: 1_700_000_000_000_000_000,
            block_size: BLOCK as u32,
            segment_size: SEGMENT as u64,
            first_seq: 1,
            log_id: *b"golden log id...",
            history_id: *b"golden log id...",
            salt: [1; 16],
            keeps_holds: false,
            generation: 0,
            before: Chain::default(),
            before_offset: 0,
        };
        let mut log = Composed {
            header,
            bytes: Vec::new(),
            offset: 0,
            chain: Chain::default(),
            epoch: (1, 0xe1),
            records: 0,
            frames: 0,
            durable_seq: 0,
            durable_end: 0,
            lines: Vec::new(),
        };
        log.begin(header);
        log
    }

    fn begin(&mut self, header: SegmentHeader) {
        self.header = header;
        self.bytes = vec![0; SEGMENT];
        header.encode(&mut self.bytes[..BLOCK]);
        self.offset = BLOCK;
        self.durable_end = BLOCK as u64;
        (self.records, self.frames) = (0, 0);
    }

    /// Puts a frame at the end.  Everything before it is durable, it says, unless `blind`.
    fn frame(&mut self, flags: u32, body: &[u8], span: u64, blind: bool) {
        if !blind {
            (self.durable_seq, self.durable_end) = (self.chain.last_seq, self.offset as u64);
        }
        let same_epoch = self.chain.epoch == self.epoch.0;
        let header = FrameHeader {
            body_len: body.len() as u32,
            body_crc: crc32c(body),
            first_seq: self.chain.last_seq + 1,
            seq_span: span,
            record_count: span as u32,
            flags,
            durable_seq: self.durable_seq,
            durable_end: self.durable_end,
            epoch: self.epoch.0,
            epoch_id: [self.epoch.1; 16],
            frame_number: if same_epoch { self.chain.frame_number + 1 } else { 1 },
            chain: self.chain.identity,
        };
        let len = header.frame_len(BLOCK as u64) as usize;
        let frame = &mut self.bytes[self.offset..self.offset + len];
        frame.fill(0);
        frame[FRAME_HEADER_LEN..][..body.len()].copy_from_slice(body);
        let identity = header.encode(self.header.place(), self.offset as u64, frame);
        self.chain = Chain::after(&header, identity);
        self.offset += len;
        self.records += span;
        self.frames += 1;
    }

    /// A data frame of batches: each a list of payload lengths.
    fn data(&mut self, batches: &[&[usize]], blind: bool) {
        let (mut body, mut seq) = (Vec::new(), self.chain.last_seq);
        for batch in batches {
            for (at, &len) in batch.iter().enumerate() {
                seq += 1;
                let payload: Vec<u8> = (0..len).map(|n| (n as u64 * 7 + seq) as u8).collect();
                let flags =
                    (u8::from(seq % 5 == 0) * FLAG_REQUIRED) | (u8::from(at + 1 < batch.len()) * FLAG_BATCH_CONTINUES);
                let header = RecordHeader {
                    payload_crc: 0,
                    kind: 0x0100 + (seq % 3) as u16,
                    flags,
                    len: len as u32,
                    seq,
                    timestamp: if seq % 4 == 0 { -(seq as i64) } else { seq as i64 },
                    stream: seq << 33,
                };
                let start = body.len();
                body.resize(start + record_len(len), 0xff);
                header.encode(&payload, &mut body[start..]);
                self.lines.push(format!(
                    r#"{{"seq": {seq}, "stream": {}, "timestamp": {}, "type": {}, "flags": {flags}, "len": {len}, "payload": "{}"}}"#,
                    header.stream, header.timestamp, header.kind, hex(&payload)
                ));
            }
        }
        self.frame(FLAG_DATA, &body, seq - self.chain.last_seq, blind);
    }

    fn mark(&mut self) {
        self.frame(FLAG_MARK, &[], 0, false);
    }

    /// Seals the segment and begins the next one; returns the sealed file's bytes.
    fn roll(&mut self) -> Vec<u8> {
        let (record_count, first_seq) = (self.records, self.header.first_seq);
        let seal = Seal { record_count, first_seq, frame_count: self.frames, first_seal: None };
        let mut body = [0; SEAL_LEN];
        seal.encode(&mut body);
        let before_offset = self.offset as u64;
        self.frame(FLAG_SEAL, &body, 0, false);
        let sealed = std::mem::take(&mut self.bytes);
        self.begin(SegmentHeader {
            index: self.header.index + 1,
            first_seq: self.chain.last_seq + 1,
            salt: [self.header.salt[0] + 1; 16],
            before: self.chain,
            before_offset,
            ..self.header
        });
        sealed
    }
}

/// The files of the composed log, and the lines of its records that can be read.
fn compose() -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    let name = |header: &SegmentHeader, state| format!("twal-{:016}-{:020}.{state}", header.index, header.first_seq);
    let mut files = Vec::new();
    let mut log = Composed::new();

    log.mark();
    log.data(&[&[5], &[0, 1, 100]], false);
    log.mark();
    files.push((name(&log.header, "archived"), log.roll()));
    log.lines.clear(); // released

    log.data(&[&[8; 10]], false);
    log.data(&[&[4500], &[7]], false); // of two blocks
    log.mark();
    log.epoch = (2, 0xe2); // closed and opened again
    log.mark();
    log.data(&[&[1], &[2], &[3]], false);
    files.push((name(&log.header, "sealed"), log.roll()));

    files.push((name(&log.header, "sealed"), log.roll())); // without a record

    log.data(&[&[300], &[301]], false);
    // Frames in flight when that life ended by a power cut, the first one torn: epoch 4 cuts them all off.
    let end = (log.offset, log.chain, log.records, log.frames, log.lines.len());
    for payload in [5000, 6, 7, 8, 9, 10] {
        log.data(&[&[payload]], true);
    }
    log.bytes[end.0 + FRAME_HEADER_LEN + 50] ^= 1;
    (log.offset, log.chain, log.records, log.frames) = (end.0, end.1, end.2, end.3);
    log.lines.truncate(end.4);
    log.epoch = (4, 0xe4); // one opening between died before it wrote anything
    log.mark();
    log.data(&[&[11, 12]], false);
    log.mark();
    log.data(&[&[13]], false);

    // The last power cut: two frames in flight, the second one landed whole, of the first only the header.
    // Behind it there is still a frame of epoch 2, a leftover.
    let (lines, torn) = (log.lines.len(), log.offset);
    log.data(&[&[200, 201]], false);
    log.data(&[&[202]], true);
    let landed = log.offset - BLOCK;
    log.bytes[torn + FRAME_HEADER_LEN..landed].fill(0);
    log.lines.truncate(lines);
    files.push((name(&log.header, "active"), log.bytes));
    (files, log.lines)
}

#[test]
fn the_encoders_make_the_committed_bytes() {
    let (files, lines) = compose();
    let committed = committed(LOGS[0]);
    assert_eq!(files.len(), committed.len());
    for ((name, made), (committed_name, kept)) in files.iter().zip(&committed) {
        assert_eq!(name, committed_name);
        let differs = made.iter().zip(kept).position(|(made, kept)| made != kept);
        assert_eq!((made.len(), differs), (kept.len(), None), "{name}");
    }
    assert_eq!(lines, expected(LOGS[0]));
}

/// Each header, frame and record of the committed files, decoded and encoded again, has the same bytes.
#[test]
fn what_is_decoded_encodes_alike() {
    for log in LOGS {
        let (mut frames, mut records) = (0, 0);
        for (name, bytes) in committed(log) {
            let header = SegmentHeader::decode(&bytes, true).unwrap();
            let mut again = vec![0; BLOCK];
            header.encode(&mut again);
            assert_eq!(again, bytes[..BLOCK], "{name}");
            let (mut offset, mut chain) = (BLOCK, header.before);
            while let Some((frame, identity)) =
                FrameHeader::decode(header.place(), offset as u64, &bytes[offset.min(bytes.len())..])
            {
                let body = &bytes[offset + FRAME_HEADER_LEN..][..frame.body_len as usize];
                if !frame.body_is_whole(body) || !chain.continues_in(&frame) {
                    break;
                }
                let mut again = vec![0; FRAME_HEADER_LEN];
                assert_eq!(frame.encode(header.place(), offset as u64, &mut again), identity);
                assert_eq!(again, bytes[offset..offset + FRAME_HEADER_LEN], "{name} {offset}");
                let mut at = 0;
                while frame.has(FLAG_DATA) && at < body.len() {
                    let (record, payload) = RecordHeader::decode(&body[at..]).unwrap();
                    let mut again = vec![0xff; record_len(payload.len())];
                    record.encode(payload, &mut again);
                    assert_eq!(again, body[at..at + again.len()], "{name} {offset} {at}");
                    at += again.len();
                    records += 1;
                }
                offset += frame.frame_len(BLOCK as u64) as usize;
                chain = Chain::after(&frame, identity);
                frames += 1;
            }
        }
        assert!(frames > 10 && records > 15, "{log}: {frames} frames, {records} records");
    }
}

// ---- the library on the committed logs

#[test]
fn committed_logs_are_read_back() {
    for log in LOGS {
        let dir = copy(log, "read");
        let before = segments_of(&dir);
        for verify in [false, true] {
            let reader = Log::open(&dir, &Options { verify, ..read_only() }).unwrap();
            let (lines, error) = lines_of(&reader);
            assert_eq!((lines, error), (expected(log), None), "{log}");
            let report = reader.report();
            assert_eq!(report.tail, Tail::Torn, "{log}");
            assert_eq!(report.records, expected(log).len() as u64, "{log}");
            assert!(report.first_seq > 1, "{log} has an archived segment");
        }
        assert_eq!(segments_of(&dir), before, "{log}: a reader never writes");
    }
}

/// The committed log has all that there is about compacted segments.
#[test]
fn the_compacted_log_is_one() {
    let files = committed(LOGS[2]);
    let generations: Vec<u64> =
        files.iter().map(|(_, bytes)| SegmentHeader::decode(bytes, false).unwrap().generation).collect();
    assert!(generations.contains(&2) && generations.contains(&1) && generations.last() == Some(&0), "{generations:?}");
    let archived = files.iter().position(|(name, _)| name.ends_with("archived")).unwrap();
    assert!(generations[archived] > 0, "{generations:?}");
    assert!(files.iter().any(|(_, bytes)| bytes.len() == 4 * BLOCK), "nothing is left of one");
    let numbers: Vec<u64> =
        expected(LOGS[2]).iter().map(|line| line.split([' ', ',']).nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).any(|pair| pair[0] + 1 < pair[1]), "no hole");
}

/// Numbers in holes: the next record that is there.
#[test]
fn a_reader_may_begin_in_a_hole() {
    let dir = copy(LOGS[2], "hole");
    let reader = Log::open(&dir, &read_only()).unwrap();
    let (mut seqs, mut iter) = (Vec::new(), reader.iter(0).unwrap());
    while let Some(record) = iter.next_record().unwrap() {
        seqs.push(record.seq);
    }
    for from in reader.first_seq()..=reader.last_seq() {
        let mut iter = reader.iter(from).unwrap();
        let next = iter.next_record().unwrap().map(|record| record.seq);
        assert_eq!(next, seqs.iter().copied().find(|seq| *seq >= from), "from {from}");
    }
}

#[test]
fn committed_logs_are_written_on() {
    for log in LOGS {
        let dir = copy(log, "write");
        let mut lines = expected(log);
        for life in 0..3 {
            let writer = Log::open(&dir, &Options { verify: true, ..options() }).unwrap();
            assert_eq!(lines_of(&writer), (lines.clone(), None), "{log} life {life}");
            let torn = if life == 0 { Tail::Torn } else { Tail::Clean };
            assert_eq!(writer.report().tail, torn, "{log} life {life}");
            let last_seq = writer.last_seq();
            for n in 1..=30 {
                let data = vec![n as u8; 3000];
                let entry = Entry { data: &data, stream: n, timestamp: None, kind: 0x0100, required: false };
                assert_eq!(writer.append(&entry, How::default()).unwrap(), last_seq + n);
            }
            lines = lines_of(&writer).0;
            writer.close().unwrap();
        }
    }
}

// ---- making them

/// A log with several lives, batches, marks, segments and a torn tail; one segment is archived.
fn write_one(dir: &Path) {
    // No mark but at open and close: the tail must be torn for want of a witness.
    let options = Options { idle_mark_us: 3_600_000_000, ..options() };
    for life in 0..3u64 {
        let log = Log::open(dir, &options).unwrap();
        for n in 0..6u64 {
            let data: Vec<u8> = (0..n * 11 + life).map(|at| (at * n) as u8).collect();
            let entry = Entry {
                data: &data,
                stream: life << 32 | n,
                timestamp: (n % 2 == 0).then_some(1_700_000_000 - n as i64),
                kind: 0x0100 + n as u16,
                required: n == 3,
            };
            log.append(&entry, How::default()).unwrap();
            log.append_batch([entry; 3].into_iter(), How { sync: Some(n % 2 == 0), no_wait: false }).unwrap();
        }
        if life == 2 {
            // Not closed: the directory is copied as a killed process leaves it, and the last frame is damaged.
            std::mem::forget(log);
            return;
        }
        log.roll().unwrap();
        log.trim(25).unwrap();
        log.close().unwrap();
    }
}

/// The same, and each life lets go of records: all of a segment, the ends of batches, of one segment twice.
fn write_compacted(dir: &Path) {
    let options = Options { idle_mark_us: 3_600_000_000, ..options() };
    for life in 0..5u64 {
        let log = Log::open(dir, &options).unwrap();
        for n in 0..12u64 {
            // What the second compaction takes from the first segment, so that it becomes smaller again.
            let large = life == 0 && n % 4 == 1;
            let data: Vec<u8> = (0..if large { 3000 } else { n * 11 + life }).map(|at| (at * n) as u8).collect();
            let entry = Entry { data: &data, stream: n, timestamp: None, kind: 0x0100 + life as u16, required: n == 3 };
            log.append_batch([entry; 3].into_iter(), How { sync: Some(n % 2 == 0), no_wait: false }).unwrap();
        }
        if life == 4 {
            std::mem::forget(log);
            return;
        }
        log.roll().unwrap();
        let how = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
        let mut keep = |candidate: &Candidate<'_>| {
            let Record { seq, stream, kind, .. } = candidate.record;
            // Nothing of the second life; of the others, every third batch is cut short, and later more.
            kind != 0x0101 && (stream % 3 != 0 || seq % 3 == 1) && (life == 0 || stream % 4 != 1)
        };
        let done = log.compact(&how, &mut keep).unwrap();
        assert!(done.segments > 0 && done.records_purged > 0, "{done:?}");
        if life == 1 {
            log.trim(37).unwrap();
        }
        log.close().unwrap();
    }
}

/// Offset of the last frame that is whole.
fn last_frame(bytes: &[u8]) -> usize {
    let header = SegmentHeader::decode(bytes, true).unwrap();
    let mut offset = BLOCK;
    loop {
        let (frame, _) = FrameHeader::decode(header.place(), offset as u64, &bytes[offset..]).unwrap();
        let next = offset + frame.frame_len(BLOCK as u64) as usize;
        if FrameHeader::decode(header.place(), next as u64, &bytes[next..]).is_none() {
            return offset;
        }
        offset = next;
    }
}

fn commit(log: &str, files: &[(String, Vec<u8>)], lines: &[String]) {
    let _ = std::fs::remove_dir_all(golden(log));
    std::fs::create_dir_all(golden(log)).unwrap();
    for (name, bytes) in files {
        assert_eq!(&from_text(&to_text(bytes)), bytes);
        std::fs::write(golden(log).join(format!("{name}.hex")), to_text(bytes)).unwrap();
    }
    std::fs::write(golden(log).join("expected.jsonl"), lines.join("\n") + "\n").unwrap();
}

#[test]
#[ignore = "writes tests/golden anew: only before a version of the format is released"]
fn make_golden() {
    let (files, lines) = compose();
    commit(LOGS[0], &files, &lines);

    let dir = scratch("golden-make");
    write_one(&dir);
    commit_torn(LOGS[1], &dir);
}

#[test]
#[ignore = "writes tests/golden anew: only before a version of the format is released"]
fn make_golden_compacted() {
    let dir = scratch("golden-make-compacted");
    write_compacted(&dir);
    commit_torn(LOGS[2], &dir);
}

/// Commits what is in `dir`, its last frame torn.
fn commit_torn(log: &str, dir: &Path) {
    let mut files = segments_of(dir);
    let (_, newest) = files.last_mut().unwrap();
    let torn = last_frame(newest);
    newest[torn + FRAME_HEADER_LEN + 60] ^= 0x10;
    let copy = scratch("golden-make-torn");
    write_files(&copy, &files);
    let (lines, error) = lines_of(&Log::open(&copy, &read_only()).unwrap());
    assert_eq!(error, None);
    commit(log, &files, &lines);
}
