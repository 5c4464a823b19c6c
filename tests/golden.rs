//! Goal: the format stays what docs/FORMAT.md says and what earlier releases wrote.
//! Method: the tables of FORMAT.md are read and held against the encoders; the
//! committed logs of tests/golden/ are read back, written on, and made again.
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{from_text, hex, lines_of, options, read_only, scratch, segments_of, write_files};
use twal::base::crc::crc32c;
use twal::format::frame::{
    Cut, FirstSeal, Seal, COMPACTED_SEAL_LEN, CUT_LEN, FLAG_CUT, FLAG_DATA, FLAG_MARK, FLAG_SEAL, SEAL_LEN,
};
use twal::format::holds::{HOLDS_HEADER_LEN, HOLD_LEN};
use twal::format::record::{record_len, FLAG_BATCH_CONTINUES, FLAG_REQUIRED};
use twal::format::segment_header::FEATURE_COMPACTED;
use twal::format::sink::SINK_LEN;
use twal::format::{
    Chain, FrameHeader, Hold, HoldName, Holds, RecordHeader, SegmentHeader, SinkSlot, FRAME_HEADER_LEN,
    RECORD_HEADER_LEN, SEGMENT_HEADER_LEN,
};
use twal::recover::verdict::{verdict, Spot, Verdict};
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

// ---- docs/FORMAT.md holds the code

/// The cells of the table with this header line, below the heading `## section`.
fn table(section: &str, header: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/FORMAT.md")).unwrap();
    let start = text.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section}"));
    let text = &text[start + 4..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let start = text.find(&format!("\n| {header} |\n")).unwrap_or_else(|| panic!("{section} has no table {header}"));
    text[start + 1..]
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The fields of a header: name, offset, size.  Checks that they lie side by side and fill `len` bytes.
fn fields(section: &str, len: usize) -> Vec<(String, usize, usize)> {
    let mut end = 0;
    let mut found = Vec::new();
    for row in table(section, "offset | size | field | type | meaning") {
        let (offset, size) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!(end, offset, "{section}: {} does not begin where the field before it ends", row[2]);
        let width = match row[3].as_str() {
            "u8" => 1,
            "u16" => 2,
            "u32" => 4,
            "u64" | "i64" => 8,
            "id" => 16,
            "bytes" => size,
            other => panic!("{section}: {} has the unknown type {other}", row[2]),
        };
        assert_eq!(width, size, "{section}: {} of type {}", row[2], row[3]);
        end = offset + size;
        found.push((row[2].clone(), offset, size));
    }
    assert_eq!(end, len, "{section}: the fields do not fill the header");
    found
}

/// Every field of the table has, in `bytes`, the value that `expected` has for its name, and no other names are there.
fn assert_fields(section: &str, len: usize, bytes: &[u8], expected: &[(&str, Vec<u8>)]) {
    let mut expected: BTreeMap<&str, &Vec<u8>> = expected.iter().map(|(name, value)| (*name, value)).collect();
    for (name, offset, size) in fields(section, len) {
        let value = expected.remove(name.as_str()).unwrap_or_else(|| panic!("{section}: nobody writes {name}"));
        assert_eq!(hex(&bytes[offset..offset + size]), hex(value), "{section}: {name}");
    }
    assert!(expected.is_empty(), "{section} of docs/FORMAT.md does not name {:?}", expected.keys());
}

fn le<T: ToBytes>(value: T) -> Vec<u8> {
    value.bytes()
}

trait ToBytes {
    fn bytes(self) -> Vec<u8>;
}

macro_rules! to_bytes {
    ($($kind:ty)*) => { $(impl ToBytes for $kind { fn bytes(self) -> Vec<u8> { self.to_le_bytes().to_vec() } })* };
}
to_bytes!(u8 u16 u32 u64 i64);

fn distinct_segment_header() -> SegmentHeader {
    SegmentHeader {
        index: 0x0102_0304_0506_0708,
        created_ns: -0x1112_1314_1516_1718,
        block_size: 8192,
        segment_size: 0x21_2223 << 13,
        first_seq: 0x3132_3334_3536_3738,
        log_id: [0x41; 16],
        history_id: [0x42; 16],
        salt: [0x43; 16],
        keeps_holds: true,
        generation: 0x5152_5354_5556_5758,
        before: Chain {
            epoch: 0x6162_6364_6566_6768,
            epoch_id: [0x44; 16],
            frame_number: 0x7172_7374_7576_7778,
            identity: 0x8182_8384_8586_8788,
            last_seq: 0x3132_3334_3536_3737,
        },
        before_offset: 0x9192 << 13,
    }
}

#[test]
fn the_segment_header_is_as_documented() {
    let header = distinct_segment_header();
    let mut bytes = vec![0; BLOCK];
    header.encode(&mut bytes);
    // The documented checksum: all but its own four bytes.
    let crc = crc32c(&[&bytes[..44], &bytes[48..512]].concat());
    assert_fields(
        "Segment header",
        SEGMENT_HEADER_LEN,
        &bytes,
        &[
            ("magic", b"TWALv3.0".to_vec()),
            ("version", le(30u32)),
            ("index", le(header.index)),
            ("created_ns", le(header.created_ns)),
            ("record_count", le(0u64)),
            ("previous_index", le(header.index - 1)),
            ("crc", le(crc)),
            ("compatible", le(0u32)),
            ("read_only_compatible", le(1u32)),
            // It says that it is of a later generation than the first.
            ("incompatible", le(FEATURE_COMPACTED)),
            ("block_size", le(header.block_size)),
            ("segment_size", le(header.segment_size)),
            ("first_seq", le(header.first_seq)),
            ("log_id", header.log_id.to_vec()),
            ("history_id", header.history_id.to_vec()),
            ("salt", header.salt.to_vec()),
            ("cipher_id", le(0u32)),
            ("key_id", le(0u32)),
            ("generation", le(header.generation)),
            ("before_last_seq", le(header.before.last_seq)),
            ("before_identity", le(header.before.identity)),
            ("before_offset", le(header.before_offset)),
            ("before_epoch", le(header.before.epoch)),
            ("before_epoch_id", header.before.epoch_id.to_vec()),
            ("before_frame_number", le(header.before.frame_number)),
            ("reserved", vec![0; 312]),
        ],
    );
    assert!(bytes[SEGMENT_HEADER_LEN..].iter().all(|&byte| byte == 0));
    // Not only the encoder: what it wrote is what the decoder takes.
    assert_eq!(SegmentHeader::decode(&bytes, true), Ok(header));
}

#[test]
fn the_holds_are_as_documented() {
    let name = |text: &str| HoldName::new(text).unwrap();
    let first = Hold { name: name("archive"), seq: 0x0102_0304_0506_0708, index: 0x1112_1314_1516_1718 };
    let second = Hold { name: name("snapshot"), seq: 0x2122_2324_2526_2728, index: 0 };
    let holds = Holds { number: 0x3132_3334_3536_3738, all: vec![first, second] };
    let (log_id, mut bytes) = ([0x41; 16], vec![0; BLOCK]);
    holds.encode(&log_id, &mut bytes);
    let crc = crc32c(&[&bytes[..60], &bytes[64..64 + 2 * 56]].concat());
    assert_fields(
        "Holds",
        HOLDS_HEADER_LEN,
        &bytes,
        &[
            ("magic", b"TWALhold".to_vec()),
            ("version", le(1u32)),
            ("count", le(2u32)),
            ("log_id", log_id.to_vec()),
            ("number", le(holds.number)),
            ("reserved", vec![0; 20]),
            ("crc", le(crc)),
        ],
    );
    for (at, hold) in holds.all.iter().enumerate() {
        let mut name = hold.name.as_str().as_bytes().to_vec();
        name.resize(40, 0);
        let expected = [("seq", le(hold.seq)), ("index", le(hold.index)), ("name", name)];
        assert_fields("Hold", HOLD_LEN, &bytes[HOLDS_HEADER_LEN + at * HOLD_LEN..], &expected);
    }
    assert!(bytes[HOLDS_HEADER_LEN + 2 * HOLD_LEN..].iter().all(|&byte| byte == 0));
    assert_eq!(Holds::decode(&bytes, &log_id), Ok(holds));
}

#[test]
fn a_follower_s_position_is_as_documented() {
    let slot = SinkSlot {
        number: 0x0102_0304_0506_0708,
        log_id: [0x41; 16],
        history_id: [0x42; 16],
        salt: [0x43; 16],
        index: 0x1112_1314_1516_1718,
        generation: 0x2122_2324_2526_2728,
        offset: 0x3132_3334_3536_3738,
        chain: Chain {
            epoch: 0x4142_4344_4546_4748,
            epoch_id: [0x44; 16],
            frame_number: 0x5152_5354_5556_5758,
            identity: 0x6162_6364_6566_6768,
            last_seq: 0x7172_7374_7576_7778,
        },
        first_index: 0x0182_8384_8586_8788,
    };
    let mut bytes = vec![0; BLOCK];
    slot.encode(&mut bytes);
    let crc = crc32c(&[&bytes[..12], &bytes[16..SINK_LEN]].concat());
    let chain = slot.chain;
    let expected = [
        ("magic", b"TWALsink".to_vec()),
        ("version", le(1u32)),
        ("crc", le(crc)),
        ("number", le(slot.number)),
        ("log_id", slot.log_id.to_vec()),
        ("history_id", slot.history_id.to_vec()),
        ("salt", slot.salt.to_vec()),
        ("index", le(slot.index)),
        ("generation", le(slot.generation)),
        ("offset", le(slot.offset)),
        ("epoch", le(chain.epoch)),
        ("epoch_id", chain.epoch_id.to_vec()),
        ("frame_number", le(chain.frame_number)),
        ("identity", le(chain.identity)),
        ("last_seq", le(chain.last_seq)),
        ("first_index", le(slot.first_index)),
        ("reserved", vec![0; 40]),
    ];
    assert_fields("Shipping", SINK_LEN, &bytes, &expected);
    assert_eq!(SinkSlot::decode(&bytes), Ok(Some(slot)));
}

#[test]
fn the_frame_header_is_as_documented() {
    let header = FrameHeader {
        body_len: 0x0102_0304,
        body_crc: 0x1112_1314,
        first_seq: 0x2122_2324_2526_2728,
        seq_span: 0x3132_3334_3536_3738,
        record_count: 0x4142_4344,
        flags: FLAG_DATA,
        durable_seq: 0x2122_2324_2526_2720,
        durable_end: 0x6162_6364_6566_6768,
        epoch: 0x7172_7374_7576_7778,
        epoch_id: [0x81; 16],
        frame_number: 0x9192_9394_9596_9798,
        chain: 0xa1a2_a3a4_a5a6_a7a8,
    };
    let segment = distinct_segment_header();
    let offset = 0x0001_2000u64;
    let mut bytes = vec![0xff; FRAME_HEADER_LEN];
    let identity = header.encode(segment.place(), offset, &mut bytes);
    let seeded = [&segment.log_id, &segment.salt, &offset.to_le_bytes()[..], &bytes[..4], &bytes[8..128]].concat();
    let crc = crc32c(&seeded);
    assert_fields(
        "Frame header",
        FRAME_HEADER_LEN,
        &bytes,
        &[
            ("magic", b"TWAF".to_vec()),
            ("crc", le(crc)),
            ("body_len", le(header.body_len)),
            ("body_crc", le(header.body_crc)),
            ("first_seq", le(header.first_seq)),
            ("seq_span", le(header.seq_span)),
            ("record_count", le(header.record_count)),
            ("flags", le(header.flags)),
            ("durable_seq", le(header.durable_seq)),
            ("durable_end", le(header.durable_end)),
            ("epoch", le(header.epoch)),
            ("epoch_id", header.epoch_id.to_vec()),
            ("frame_number", le(header.frame_number)),
            ("chain", le(header.chain)),
            ("reserved", vec![0; 32]),
        ],
    );
    assert_eq!(identity, u64::from(crc) << 32 | u64::from(header.body_crc), "docs/FORMAT.md, Chain");
    assert_eq!(FrameHeader::decode(segment.place(), offset, &bytes), Some((header, identity)));
}

#[test]
fn the_record_and_the_seal_are_as_documented() {
    let payload = b"payload of 21 bytes..";
    let header = RecordHeader {
        payload_crc: 0,
        kind: 0x0102,
        flags: FLAG_REQUIRED,
        len: payload.len() as u32,
        seq: 0x2122_2324_2526_2728,
        timestamp: -0x3132_3334_3536_3738,
        stream: 0x4142_4344_4546_4748,
    };
    let mut bytes = vec![0xff; record_len(payload.len())];
    header.encode(payload, &mut bytes);
    assert_fields(
        "Record",
        RECORD_HEADER_LEN,
        &bytes,
        &[
            ("crc", le(crc32c(&bytes[4..40]))),
            ("payload_crc", le(crc32c(payload))),
            ("type", le(header.kind)),
            ("flags", le(header.flags)),
            ("version", le(1u8)),
            ("len", le(header.len)),
            ("seq", le(header.seq)),
            ("timestamp", le(header.timestamp)),
            ("stream", le(header.stream)),
        ],
    );
    assert_eq!((bytes.len(), &bytes[40..61], &bytes[61..]), (64, &payload[..], &[0, 0, 0][..]));

    let (record_count, first_seq, frame_count) = (0x0102_0304_0506_0708, 0x1112, 0x2122);
    let seal = Seal { record_count, first_seq, frame_count, first_seal: None };
    let mut bytes = vec![0xff; SEAL_LEN];
    seal.encode(&mut bytes);
    let expected =
        [("record_count", le(seal.record_count)), ("first_seq", le(0x1112u64)), ("frame_count", le(0x2122u64))];
    assert_fields("Seal", SEAL_LEN, &bytes, &expected);

    let first = FirstSeal {
        identity: 0x3132_3334_3536_3738,
        offset: 0x4142_4344_4546_4748,
        epoch: 0x5152_5354_5556_5758,
        epoch_id: [0x61; 16],
        frame_number: 0x7172_7374_7576_7778,
    };
    let mut bytes = vec![0xff; COMPACTED_SEAL_LEN];
    Seal { first_seal: Some(first), ..seal }.encode(&mut bytes);
    let of_first = [
        ("first_identity", le(first.identity)),
        ("first_offset", le(first.offset)),
        ("first_epoch", le(first.epoch)),
        ("first_epoch_id", first.epoch_id.to_vec()),
        ("first_frame_number", le(first.frame_number)),
    ];
    let expected: Vec<_> = expected.into_iter().chain(of_first).collect();
    assert_fields("Compacted segments", COMPACTED_SEAL_LEN, &bytes, &expected);

    let cut = Cut { last_seq: 0x0102_0304_0506_0708, segments: 0x1112, bytes: 0x2122, cut_ns: -0x3132 };
    let mut bytes = [0xff; CUT_LEN];
    cut.encode(&mut bytes);
    let expected = [
        ("last_seq", le(cut.last_seq)),
        ("segments", le(0x1112u64)),
        ("bytes", le(0x2122u64)),
        ("cut_ns", le(cut.cut_ns)),
        ("reserved", vec![0; 16]),
    ];
    assert_fields("Cut", CUT_LEN, &bytes, &expected);
}

/// The alarm rings: a byte that is not what the table says fails the comparison.
#[test]
#[should_panic(expected = "Seal: first_seq")]
fn canary_fields() {
    let seal = Seal { record_count: 1, first_seq: 2, frame_count: 3, first_seal: None };
    let mut bytes = vec![0; SEAL_LEN];
    seal.encode(&mut bytes);
    bytes.swap(8, 9);
    let expected = [("record_count", le(1u64)), ("first_seq", le(2u64)), ("frame_count", le(3u64))];
    assert_fields("Seal", SEAL_LEN, &bytes, &expected);
}

#[test]
fn the_flags_are_as_documented() {
    let flags = |section, header| -> Vec<(String, u32)> {
        let rows = table(section, header);
        rows.iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
    };
    let named = |list: &[(&str, u32)]| -> Vec<(String, u32)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    };
    assert_eq!(
        flags("Frame header", "flag | value | the frame"),
        named(&[("data", FLAG_DATA), ("mark", FLAG_MARK), ("seal", FLAG_SEAL), ("cut", FLAG_CUT)])
    );
    assert_eq!(
        flags("Record", "flag | value | meaning"),
        named(&[("required", u32::from(FLAG_REQUIRED)), ("batch continues", u32::from(FLAG_BATCH_CONTINUES))])
    );
}

/// Every row of the documented table, over all that its "any" stands for, is the code's verdict; and no combination is left out.
#[test]
fn the_verdicts_are_as_documented() {
    let mut seen = 0;
    for row in table("The end of the log", "the spot | a follower | says durable | verdict") {
        let spot = match row[0].as_str() {
            "next frame" => Spot::Next,
            "unreadable" => Spot::Unreadable,
            "our header" => Spot::OurHeader,
            "no header" => Spot::NoHeader,
            other => panic!("unknown spot {other}"),
        };
        let expected = match row[3].as_str() {
            "take" => Verdict::Take,
            "refuse" => Verdict::Refuse,
            "rot" => Verdict::Rot,
            "torn" => Verdict::Torn,
            "end" => Verdict::End,
            other => panic!("unknown verdict {other}"),
        };
        let meant = |cell: &str| match cell {
            "yes" => vec![true],
            "no" => vec![false],
            "any" | "-" => vec![false, true],
            other => panic!("unknown answer {other}"),
        };
        for follower in meant(&row[1]) {
            for says_durable in meant(&row[2]) {
                assert_eq!(verdict(spot, follower, says_durable), expected, "{row:?}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 4 * 2 * 2);
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
