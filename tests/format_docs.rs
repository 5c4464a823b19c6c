//! Goal: the format is what docs/FORMAT.md says, byte for byte.
//! Method: its tables are read and held against what the encoders write, and
//! against the table of verdicts.  That it stays what earlier releases wrote is
//! tests/golden.rs.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

use std::collections::BTreeMap;
use std::path::Path;

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

const BLOCK: usize = 4096;

/// The cells of the table with this header line, below the heading `## section`.
fn table(section: &str, header: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FORMAT.md")).unwrap();
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
        assert_eq!(bytes[offset..offset + size], value[..], "{section}: {name}");
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
            "no header where the log begins" => Spot::NoFirst,
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
    assert_eq!(seen, 5 * 2 * 2);
}
