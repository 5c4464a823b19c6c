//! What hostile bytes are given to: one function a target, for the fuzzer on
//! nightly Rust and for tests/hostile.rs on stable.
//!
//! Each may do with the bytes what it likes, but panic, hang, or take memory
//! without measure; and what it delivers must be consistent in itself.
#![allow(clippy::cast_possible_truncation, dead_code)]

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::format::frame::{Cut, Seal};
use twal::format::v26;
use twal::format::{FrameHeader, Place, RecordHeader, SegmentHeader};
use twal::interchange::{ReadOptions, Reader};
use twal::segment::name::Named;
use twal::txn::interchange::replay;
use twal::txn::{Event, Table};
use twal::{IterOptions, Log, Options, Repair};

#[path = "shipping.rs"]
pub mod shipping;

/// A target: its name, and what is given the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 10] = [
    ("segment_header", segment_header),
    ("frame_header", frame_header),
    ("record", record),
    ("name", name),
    ("options", options),
    ("event", event),
    ("v26", v26),
    ("holds", shipping::holds),
    ("shipping", shipping::shipping),
    ("directory", directory),
];

const PLACE: fn() -> Place = || Place::new(&[1; 16], &[2; 16]);

/// A header that is believed is one that could have been written.
pub fn segment_header(bytes: &[u8]) {
    for writing in [false, true] {
        if let Ok(header) = SegmentHeader::decode(bytes, writing) {
            let mut again = vec![0; 512];
            header.encode(&mut again);
            assert_eq!(SegmentHeader::decode(&again, writing).expect("it was written"), header);
        }
    }
    let mut right = bytes.to_vec();
    right.resize(512, 0);
    put_crc(&mut right, 44, &[]);
    if let Ok(header) = SegmentHeader::decode(&right, true) {
        assert!(header.before.last_seq + 1 == header.first_seq && header.segment_size <= 1 << 40);
    }
}

/// The same of a frame, with the checksum made right as well; its body is a seal's or a cut's.
pub fn frame_header(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    right.resize(bytes.len().max(128), 0);
    right[..4].copy_from_slice(b"TWAF");
    let (_, crc) = FrameHeader::checksums(PLACE(), 4096, &right);
    right[4..8].copy_from_slice(&crc.to_le_bytes());
    for bytes in [bytes, &right] {
        if let Some((header, _)) = FrameHeader::decode(PLACE(), 4096, bytes) {
            assert!(header.frame_len(512) >= 128 && header.last_seq() >= header.first_seq - 1);
            assert!(header.durable_seq < header.first_seq);
            let _ = header.body_is_whole(&bytes[128..]);
        }
    }
    let _ = (Seal::decode(&right[128..]), Cut::decode(&right[128..]));
}

/// A record lies within the bytes.
pub fn record(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    right.resize(bytes.len().max(40), 0);
    put_crc(&mut right[..40], 0, &[]);
    for bytes in [bytes, &right] {
        if let Ok((header, payload)) = RecordHeader::decode(bytes) {
            assert_eq!(payload.len() as u64, u64::from(header.len));
        }
        let _ = RecordHeader::decode_header(bytes);
    }
}

/// A name that is a segment's is spelled as twal spells it.
pub fn name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for text in [text.to_string(), format!("twal-{text}"), format!("twal-spare-{text}")] {
        if let Named::Segment(segment) = Named::parse(&text) {
            assert_eq!(segment.to_string(), text);
        }
    }
}

/// A struct of options of whatever size it says.
pub fn options(bytes: &[u8]) {
    let mut words = [0u64; 1024];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(whole);
    }
    // No function: a pointer to one can be told from garbage by nobody.
    words[16] = 0;
    let missing = c"/nonexistent/twal-fuzz";
    // SAFETY: 8192 bytes are more than any size that is accepted; the rest is NULL.
    let code = unsafe {
        twal::ffi::verify::twal_verify(
            missing.as_ptr(),
            words.as_ptr().cast(),
            None,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    assert!(code < 0, "there is no such log");
}

/// An event is what its bytes say, and a checkpoint's state what a table says.
pub fn event(bytes: &[u8]) {
    let (kind, payload) = bytes.split_at(bytes.len().min(2));
    let kind = u16::from_le_bytes([kind.first().copied().unwrap_or(0), kind.get(1).copied().unwrap_or(0)]);
    let mut again = Vec::new();
    if let Ok(event) = Event::decode(kind, payload) {
        assert_eq!(event.encode(&mut again), kind);
        // The two short forms become long ones.
        let step = kind == 0x02 && payload.len() == 13;
        assert!(step || again == payload, "{event:?}");
        if let Event::Checkpoint(checkpoint) = &event {
            if let Ok(table) = Table::restore(checkpoint) {
                assert_eq!(&table.checkpoint(), checkpoint);
            }
        }
    }
    if let Ok(event) = Event::decode_short(bytes.first().copied().unwrap_or(0), payload) {
        event.encode_short(&mut again);
        assert_eq!(again, payload);
    }
}

/// Two files of the v2.6 layout, of which the second is the bytes, and the first one's records are the bytes behind a
/// header that is right; also with the records' checksums made right.
pub fn v26(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    let mut at = 0;
    while let Ok(header) = v26::RecordHeader::decode(&right[at..]) {
        let Some(record) = right.get_mut(at..at + header.record_len()) else { break };
        let crc = twal::base::crc::crc32(&record[v26::RECORD_HEADER_LEN..]);
        record[25..29].copy_from_slice(&crc.to_le_bytes());
        at += header.record_len();
    }
    let changed = right != bytes;
    for records in [bytes, &right].into_iter().take(1 + usize::from(changed)) {
        let mut first = vec![0; v26::FILE_HEADER_LEN];
        v26::FileHeader { segment: 1, ..v26::FileHeader::default() }.encode(&mut first);
        first.extend(records);
        let disk = SimDisk::new(1);
        let path = Path::new("v26");
        // Makes the directory.
        let _ = twal::disk::Disk::open_dir(disk.as_ref(), path, true);
        disk.put_file("wal_segment_001.wal", &first);
        for both in [false, true] {
            if both {
                disk.put_file("wal_segment_002.wal", bytes);
            }
            for (ignore_checksums, skip_damaged) in [(false, false), (true, false), (true, true)] {
                let options = ReadOptions { ignore_checksums, skip_damaged };
                let Ok(mut reader) = Reader::open_on(disk.as_ref(), path, options) else { continue };
                let found = replay(&mut reader, 1 << 20);
                let summary = reader.summary();
                assert!(found.is_ok() || !skip_damaged, "{found:?}");
                assert!(summary.records <= first.len() as u64 / 29 + bytes.len() as u64 / 29);
                if let Some(torn) = summary.torn {
                    assert!(torn.offset + summary.torn_bytes <= first.len().max(bytes.len()) as u64);
                }
            }
        }
    }
}

/// CRC-32C of all but the four bytes at `at`, put there.
fn put_crc(bytes: &mut [u8], at: usize, seed: &[u8]) {
    let crc = twal::base::crc::crc32c(seed);
    let crc = twal::base::crc::crc32c_append(crc, &bytes[..at]);
    let crc = twal::base::crc::crc32c_append(crc, &bytes[at + 4..]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

// ---- a whole directory

const WRITTEN: [(&str, &str); 3] = [
    (
        "twal-0000000000000001-00000000000000000001.archived",
        include_str!("../tests/golden/v30-written/twal-0000000000000001-00000000000000000001.archived.hex"),
    ),
    (
        "twal-0000000000000002-00000000000000000025.sealed",
        include_str!("../tests/golden/v30-written/twal-0000000000000002-00000000000000000025.sealed.hex"),
    ),
    (
        "twal-0000000000000003-00000000000000000049.active",
        include_str!("../tests/golden/v30-written/twal-0000000000000003-00000000000000000049.active.hex"),
    ),
];

const COMPACTED: [(&str, &str); 6] = [
    (
        "twal-0000000000000001-00000000000000000001.archived",
        include_str!("../tests/golden/v30-compacted/twal-0000000000000001-00000000000000000001.archived.hex"),
    ),
    (
        "twal-0000000000000002-00000000000000000034.archived",
        include_str!("../tests/golden/v30-compacted/twal-0000000000000002-00000000000000000034.archived.hex"),
    ),
    (
        "twal-0000000000000003-00000000000000000037.sealed",
        include_str!("../tests/golden/v30-compacted/twal-0000000000000003-00000000000000000037.sealed.hex"),
    ),
    (
        "twal-0000000000000004-00000000000000000073.sealed",
        include_str!("../tests/golden/v30-compacted/twal-0000000000000004-00000000000000000073.sealed.hex"),
    ),
    (
        "twal-0000000000000005-00000000000000000109.sealed",
        include_str!("../tests/golden/v30-compacted/twal-0000000000000005-00000000000000000109.sealed.hex"),
    ),
    (
        "twal-0000000000000006-00000000000000000145.active",
        include_str!("../tests/golden/v30-compacted/twal-0000000000000006-00000000000000000145.active.hex"),
    ),
];

/// A segment file from its text: see tests/golden.rs.
fn from_text(text: &str) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    for line in text.lines() {
        if let Some(size) = line.strip_prefix("size ") {
            bytes.resize(size.parse().expect("a size"), 0);
        } else if let Some(offset) = line.strip_prefix("block ") {
            at = offset.parse().expect("an offset");
        } else {
            for pair in line.as_bytes().chunks(2) {
                bytes[at] = u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
                at += 1;
            }
        }
    }
    bytes
}

/// A committed log, changed as the bytes say; also with checksums made right, so that the lies are believed.
pub fn directory(bytes: &[u8]) {
    directory_read_by(bytes, read_all);
}

/// The same, and `read_all` is what reads an open log, skipping damage or not.
pub fn directory_read_by(bytes: &[u8], read_all: impl Fn(&Log, bool) -> u64) {
    changed_directory(&WRITTEN, bytes, read_all);
}

/// The same of a log that was compacted.
#[allow(dead_code)] // only the tests call it
pub fn compacted_directory(bytes: &[u8]) {
    changed_directory(&COMPACTED, bytes, read_all);
}

/// `look` reads what was not compacted yet.
fn changed_directory(committed: &[(&str, &str)], bytes: &[u8], look: impl Fn(&Log, bool) -> u64) {
    let mut files: Vec<(String, Vec<u8>)> =
        committed.iter().map(|(name, text)| ((*name).to_owned(), from_text(text))).collect();
    for edit in bytes.chunks_exact(8).take(32) {
        change(&mut files, edit);
    }
    let disk = SimDisk::new(1);
    disk.set_align(512, 512);
    let clock = Clock::simulated();
    let log_options = Options { segment_size: 64 << 10, ..Options::default() };
    let open = |read_only| {
        let options = Options { read_only, ..log_options.clone() };
        Log::open_on(disk.as_ref(), Path::new("log"), &options, clock.clone(), Threads::None)
    };
    // Makes the directory.
    let _ = twal::disk::Disk::open_dir(disk.as_ref(), Path::new("log"), true);
    for (name, bytes) in &files {
        disk.put_file(name, bytes);
    }
    let read = open(true).ok().map(|log| (look(&log, false), look(&log, true)));
    let _ = twal::verify_on(disk.as_ref(), Path::new("log"), &mut |_| true);
    if let Ok(log) = open(false) {
        let _ = (look(&log, false), look(&log, true));
        let how = twal::CompactOptions { below_seq: u64::MAX, saving_min: 0 };
        if log.compact(&how, &mut |candidate| candidate.record.seq % 2 == 0).is_ok() {
            let _ = read_all(&log, true);
        }
        let _ = log.close();
    }
    let box_disk = Box::new(SimDisk::clone(&Arc::clone(&disk)));
    if let Ok(mut repair) = Repair::plan_on(box_disk, Path::new("log"), &log_options, clock.clone()) {
        if repair.apply(Path::new("backup"), true).is_ok() && read.is_some() {
            drop(repair);
            let log = open(false).expect("a repaired log opens");
            let _ = read_all(&log, false);
        }
    }
}

/// How many records there are; none is longer than its segment, and numbers rise.
pub fn read_all(log: &Log, skip_damaged: bool) -> u64 {
    let Ok(mut iter) = log.iter_with(IterOptions { skip_damaged, ..IterOptions::default() }) else { return 0 };
    in_order(std::iter::from_fn(|| {
        let record = iter.next_record().ok()??;
        assert!(record.data.len() <= 64 << 10);
        Some(record.seq)
    }))
}

/// Numbers rise.  How many there were.
pub fn in_order(seqs: impl Iterator<Item = u64>) -> u64 {
    let (mut last, mut count) = (0, 0);
    for seq in seqs {
        assert!(seq > last, "{seq} follows {last}");
        (last, count) = (seq, count + 1);
    }
    count
}

/// One change: which, of which file, where, and with what.
fn change(files: &mut Vec<(String, Vec<u8>)>, edit: &[u8]) {
    let [op, file, block, at, value @ ..] = edit else { return };
    let Some(which) = (!files.is_empty()).then(|| usize::from(*file) % files.len()) else { return };
    let value = [value[0], value[1], value[2], value[3]];
    let other = usize::from(value[0]) % files.len();
    let blocks = files[which].1.len() / 512;
    if blocks == 0 {
        return;
    }
    let base = usize::from(*block) % blocks * 512;
    let content = &mut files[which].1;
    match op % 12 {
        0 => content[base + usize::from(*at) * 2] ^= value[0],
        // A field of a frame's header, and its checksum made right.
        1 | 2 => {
            let at = base + usize::from(*at) % 31 * 4;
            content[at..at + 4].copy_from_slice(&value);
            make_right(content, base, op % 12 == 2);
        }
        // A field of the segment's header, likewise.
        3 => {
            let at = usize::from(*at) % 50 * 4;
            content[at..at + 4].copy_from_slice(&value);
            put_crc(&mut content[..512], 44, &[]);
        }
        4 => {
            let from = usize::from(value[0]) % blocks * 512;
            content.copy_within(from..from + 512, base);
        }
        5 => content.truncate(base + usize::from(*at)),
        6 => drop(files.remove(which)),
        7 => {
            files[which].0 = format!(
                "twal-{:016}-{:020}.{}",
                value[1],
                value[2],
                ["active", "sealed", "archived"][usize::from(*at) % 3]
            )
        }
        8 => {
            let bytes = files[other].1.clone();
            files[which].1 = bytes;
        }
        9 => content[base..].fill(value[0]),
        // A record's header, and all three checksums made right.
        10 => {
            let record = base + 128;
            let at = record + usize::from(*at) % 10 * 4;
            content[at..at + 4].copy_from_slice(&value);
            put_crc(&mut content[record..record + 40], 0, &[]);
            make_right(content, base, true);
        }
        _ => files.push((format!("twal-{}", String::from_utf8_lossy(&value).replace('/', "-")), vec![*at; 64])),
    }
}

/// The checksums of the frame at `base`: its header's, and with `body` the body's too.
fn make_right(content: &mut [u8], base: usize, body: bool) {
    let id = |at: usize| <[u8; 16]>::try_from(&content[at..at + 16]).expect("16 bytes");
    let place = Place::new(&id(80), &id(112));
    make_frame_right(place, base as u64, &mut content[base..], body);
}

/// The same of the frame that `frame` begins with, which lies at `offset` of its segment.
fn make_frame_right(place: Place, offset: u64, frame: &mut [u8], body: bool) {
    if body {
        let len = u32::from_le_bytes(frame[8..12].try_into().expect("4 bytes")) as usize;
        let end = (128 + len).min(frame.len());
        let crc = twal::base::crc::crc32c(&frame[128..end]);
        frame[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    let (_, crc) = FrameHeader::checksums(place, offset, frame);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}
