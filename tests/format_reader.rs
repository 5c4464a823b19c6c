//! Goal: docs/FORMAT.md suffices to read a log, and the library reads no other.
//! Method: tests/format_reader.py, written from that page alone, and the
//! library read the same directories; they must agree on every record and on
//! the end.  Directories: what a log wrote in several lives, damaged in many
//! places, and the committed ones.  Without python3 the tests say so and pass.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

#[path = "golden/common.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{lines_of, options, read_only, scratch, segments_of, write_files};
use twal::format::frame::{FLAG_DATA, FLAG_SEAL};
use twal::format::{FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use twal::{CompactOptions, Entry, How, Log, Options, Tail};

const BLOCK: usize = 4096;

/// Names and bytes of a directory's segments.
type Files = Vec<(String, Vec<u8>)>;

/// What the script says of a directory: its records, and its end.
fn script(dir: &Path) -> (Vec<String>, String) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format_reader.py");
    let output = Command::new("python3").arg(script).arg(dir).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.is_empty(), "{}: {stderr}", dir.display());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let end = lines.pop().expect("a line for the end");
    assert_eq!(output.status.code(), Some(i32::from(end.contains("\"error\""))));
    (lines, end)
}

fn no_python() -> bool {
    let missing = !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if missing {
        println!("skipped: there is no python3 here");
    }
    missing
}

/// Script and library read `dir` alike.  Returns how it ended.
fn assert_alike(dir: &Path, what: &str) -> Tail {
    let log = Log::open(dir, &read_only()).unwrap();
    let (lines, error) = lines_of(&log);
    let (script_lines, script_end) = script(dir);
    assert_eq!(script_lines.len(), lines.len(), "{what}: {error:?} {script_end}");
    assert_eq!(script_lines, lines, "{what}");
    let report = log.report();
    match error {
        None => {
            let tail = if report.tail == Tail::Torn { "torn" } else { "clean" };
            let end = format!(
                r#"{{"end": {{"segment": {}, "offset": {}, "last_seq": {}, "tail": "{tail}"}}}}"#,
                report.end_segment, report.end_offset, report.last_seq
            );
            assert_eq!(script_end, end, "{what}");
            report.tail
        }
        Some(error) => {
            let damaged = script_end.contains(r#""tail": "damaged""#);
            assert!(damaged, "{what}: the library says {error}, the script {script_end}");
            Tail::Damaged
        }
    }
}

fn entry(data: &[u8], n: u64) -> Entry<'_> {
    let timestamp = n.is_multiple_of(3).then_some(-(n as i64));
    Entry { data, stream: n << 32 | 1, timestamp, kind: 0x0100 + (n % 7) as u16, required: n.is_multiple_of(5) }
}

/// Four lives of a log: segments that filled up and one that was rolled, batches, marks, all sizes of payload.
/// The last life is not closed, and nothing follows its last frame.
fn write_lives(dir: &Path) {
    let options = Options { idle_mark_us: 3_600_000_000, ..options() };
    for life in 0..3u64 {
        let log = Log::open(dir, &options).unwrap();
        for n in 0..50u64 {
            let data: Vec<u8> = (0..(n * 211 + life) % 2500).map(|at| (at * 31 + n) as u8).collect();
            log.append(&entry(&data, n), How { sync: Some(n % 4 == 0), no_wait: false }).unwrap();
            if n % 10 == 0 {
                let batch = (0..n).map(|_| entry(&data[..data.len() / 60], n)).collect::<Vec<_>>();
                if !batch.is_empty() {
                    log.append_batch(batch.into_iter(), How::default()).unwrap();
                }
            }
        }
        if life == 1 {
            log.roll().unwrap();
            log.trim(log.last_seq() / 2).unwrap();
        }
        log.sync(0).unwrap();
        if life == 2 {
            log.roll().unwrap();
            log.append(&entry(b"the newest segment has few frames", 1), How::default()).unwrap();
        }
        log.close().unwrap();
    }
    let log = Log::open(dir, &options).unwrap();
    log.append(&entry(b"small", 1), How::default()).unwrap();
    log.append(&entry(&[0x5a; 3 * BLOCK], 1), How::default()).unwrap();
    // The directory as a killed process leaves it.
    write_files(&scratch(&format!("{}-killed", dir.file_name().unwrap().to_str().unwrap())), &segments_of(dir));
    log.close().unwrap();
}

/// The frames of a segment: offset and header.
fn frames_of(bytes: &[u8]) -> Vec<(usize, FrameHeader)> {
    let header = SegmentHeader::decode(bytes, false).unwrap();
    let mut offset = header.block_size as usize;
    let mut frames = Vec::new();
    while let Some((frame, _)) = FrameHeader::decode(header.place(), offset as u64, &bytes[offset.min(bytes.len())..]) {
        frames.push((offset, frame));
        offset += frame.frame_len(u64::from(header.block_size)) as usize;
    }
    frames
}

#[test]
fn a_log_reads_alike_whole_and_damaged() {
    if no_python() {
        return;
    }
    let dir = scratch("format-reader");
    write_lives(&dir);
    assert_eq!(assert_alike(&dir, "closed"), Tail::Clean);
    let killed = dir.with_file_name("format-reader-killed");
    assert_eq!(assert_alike(&killed, "killed"), Tail::Clean);

    let whole = segments_of(&killed);
    assert!(whole.len() >= 5, "{} segments", whole.len());
    assert!(whole.iter().any(|(name, _)| name.ends_with(".archived")));
    let damaged = |what: &str, expected: Option<Tail>, damage: &dyn Fn(&mut Files)| {
        let dir = scratch("format-reader-damaged");
        let mut files = whole.clone();
        damage(&mut files);
        write_files(&dir, &files);
        let tail = assert_alike(&dir, what);
        assert!(expected.is_none_or(|expected| tail == expected), "{what}: {tail:?}");
    };
    let newest = whole.len() - 1;
    let tail_frames = frames_of(&whole[newest].1);
    let (last, frame) = *tail_frames.last().unwrap();
    assert!(frame.has(FLAG_DATA) && frame.body_len as usize > 3 * BLOCK && tail_frames.len() >= 3);

    // The very last frame, in all ways that a write can tear.
    damaged("a flipped bit in the last body", Some(Tail::Torn), &|files| files[newest].1[last + 999] ^= 4);
    damaged("the last frame's end missing", Some(Tail::Torn), &|files| files[newest].1[last + 2 * BLOCK..].fill(0));
    damaged("the last frame's header missing", Some(Tail::Clean), &|files| files[newest].1[last..last + 512].fill(0));
    damaged("only the last padding", Some(Tail::Clean), &|files| {
        let end = last + frame.frame_len(BLOCK as u64) as usize;
        files[newest].1[end - 1] ^= 1;
    });
    // Frames before it: each is damage as soon as something behind it says that it was durable.
    for &(offset, _) in &tail_frames[..tail_frames.len() - 1] {
        damaged("a header bit", Some(Tail::Damaged), &|files| files[newest].1[offset + 20] ^= 1);
        damaged("no header", Some(Tail::Damaged), &|files| files[newest].1[offset..offset + BLOCK].fill(0));
    }
    damaged("a body behind the header", Some(Tail::Damaged), &|files| {
        let (offset, _) = tail_frames.iter().find(|(_, frame)| frame.body_len > 0).unwrap();
        files[newest].1[offset + FRAME_HEADER_LEN] ^= 1;
    });
    // The last frame twice: at another place its header does not verify.
    damaged("a misdirected write", Some(Tail::Clean), &|files| {
        let len = frame.frame_len(BLOCK as u64) as usize;
        let copy = files[newest].1[last..last + len].to_vec();
        if last + 2 * len <= files[newest].1.len() {
            files[newest].1[last + len..last + 2 * len].copy_from_slice(&copy);
        }
    });

    // Segments before the newest: any damage is damage.
    let middle = whole.len() / 2;
    let middle_frames = frames_of(&whole[middle].1);
    for &(offset, _) in &middle_frames {
        damaged("a frame in the middle", Some(Tail::Damaged), &|files| files[middle].1[offset + 64] ^= 1);
    }
    damaged("a header in the middle", Some(Tail::Damaged), &|files| files[middle].1[300] ^= 1);
    damaged("a short file", Some(Tail::Damaged), &|files| files[middle].1.truncate(60 << 10));
    damaged("a missing file", Some(Tail::Damaged), &|files| drop(files.remove(middle)));
    damaged("the newest missing", Some(Tail::Damaged), &|files| drop(files.remove(newest)));
    damaged("two swapped", Some(Tail::Damaged), &|files| {
        let name = files[middle].0.clone();
        files[middle].0 = std::mem::replace(&mut files[middle + 1].0, name);
    });
    damaged("an unknown name", None, &|files| files.push(("twal-readme".to_owned(), Vec::new())));
    damaged("a foreign name", Some(Tail::Clean), &|files| files.push(("readme".to_owned(), Vec::new())));
    damaged("holds", Some(Tail::Clean), &|files| {
        files.push(("twal-holds".to_owned(), vec![0; 4096]));
        files.push(("twal-holds-new".to_owned(), Vec::new()));
    });
    damaged("a spare", Some(Tail::Clean), &|files| {
        let content = files[middle].1.clone();
        files.push(("twal-spare-7".to_owned(), content));
    });
}

/// Bits flipped at places that a fixed sequence chooses: whatever it means, both say the same.
#[test]
fn any_flipped_bit_reads_alike() {
    if no_python() {
        return;
    }
    let dir = scratch("format-reader-bits");
    let log = Log::open(&dir, &options()).unwrap();
    for n in 0..40u64 {
        log.append(&entry(&vec![n as u8; (n * 97 % 3000) as usize], n), How::default()).unwrap();
    }
    log.close().unwrap();
    let whole = segments_of(&dir);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..60 {
        let dir = scratch("format-reader-bit");
        let mut files = whole.clone();
        let at = next(files.len());
        // Half of them in the front of a block, where headers are.
        let offset = next(files[at].1.len() / BLOCK) * BLOCK + next(if round % 2 == 0 { 200 } else { BLOCK });
        files[at].1[offset] ^= 1 << next(8);
        write_files(&dir, &files);
        assert_alike(&dir, &format!("round {round}: byte {offset} of {}", files[at].0));
    }
}

#[test]
fn the_committed_logs_read_alike() {
    if no_python() {
        return;
    }
    for log in ["v30-composed", "v30-written", "v30-compacted"] {
        let dir = scratch(&format!("format-reader-{log}"));
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(log);
        for file in std::fs::read_dir(&golden).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "hex") {
                let bytes = common::from_text(&std::fs::read_to_string(&path).unwrap());
                write_files(&dir, &[(path.file_stem().unwrap().to_str().unwrap().to_owned(), bytes)]);
            }
        }
        assert_eq!(assert_alike(&dir, log), Tail::Torn);
        // And by the script alone, against the list that was committed with it.
        let expected = std::fs::read_to_string(golden.join("expected.jsonl")).unwrap();
        assert_eq!(script(&dir).0, expected.lines().collect::<Vec<_>>(), "{log}");
    }
}

/// Compacted segments, whole, damaged everywhere, and an older generation put back: that one is whole, too.
#[test]
fn a_compacted_log_reads_alike() {
    if no_python() {
        return;
    }
    let dir = scratch("format-reader-compacted");
    let log = Log::open(&dir, &options()).unwrap();
    let how = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    let mut generations = Vec::new();
    for round in 0..3u64 {
        for n in 0..20u64 {
            let data = vec![n as u8; (n * 40) as usize];
            log.append_batch([entry(&data, n); 3].into_iter(), How::default()).unwrap();
        }
        log.roll().unwrap();
        // One segment a round goes as a whole.
        let done =
            log.compact(&how, &mut |asked| asked.record.seq % 5 > round && !(61..=120).contains(&asked.record.seq));
        assert!(done.unwrap().segments > 0);
        generations.push(segments_of(&dir));
    }
    log.close().unwrap();
    assert_eq!(assert_alike(&dir, "closed"), Tail::Clean);
    let whole = segments_of(&dir);
    let damaged = |what: &str, expected: Tail, damage: &dyn Fn(&mut Files)| {
        let dir = scratch("format-reader-compacted-damaged");
        let mut files = whole.clone();
        damage(&mut files);
        write_files(&dir, &files);
        assert_eq!(assert_alike(&dir, what), expected, "{what}");
    };
    let header = |bytes: &[u8]| SegmentHeader::decode(bytes, false).unwrap();
    let twice = whole.iter().position(|(_, bytes)| header(bytes).generation >= 2).expect("one was compacted twice");
    let empty = whole.iter().position(|(_, bytes)| bytes.len() == 4 * BLOCK).expect("nothing is left of one");
    let size = whole[twice].1.len();
    let (seal, _) = *frames_of(&whole[twice].1).iter().find(|(_, frame)| frame.has(FLAG_SEAL)).unwrap();
    damaged("a frame", Tail::Damaged, &|files| files[twice].1[BLOCK + 24] ^= 1);
    damaged("the seal", Tail::Damaged, &|files| files[twice].1[seal + FRAME_HEADER_LEN + 30] ^= 1);
    damaged("a frame without records", Tail::Damaged, &|files| files[empty].1[BLOCK + 24] ^= 1);
    damaged("a short file", Tail::Damaged, &|files| files[twice].1.truncate(size - BLOCK));
    damaged("the block behind the seal", Tail::Clean, &|files| files[twice].1[size - 1] ^= 1);
    let older = generations.iter().flatten().find(|(name, bytes)| *name == whole[twice].0 && *bytes != whole[twice].1);
    let (_, older) = older.expect("it was another file once");
    damaged("an older generation", Tail::Clean, &|files| files[twice].1.clone_from(older));
    damaged("all that is newer gone", Tail::Damaged, &|files| {
        files.truncate(twice + 1);
        files[twice].0 = files[twice].0.replace(".sealed", ".active");
    });
    damaged("a block of an older generation", Tail::Damaged, &|files| {
        files[twice].1[BLOCK..2 * BLOCK].copy_from_slice(&older[BLOCK..2 * BLOCK]);
    });
}

/// The alarm rings: the script tells one byte of a payload, and damage, from none.
#[test]
fn canary() {
    if no_python() {
        return;
    }
    let dir = scratch("format-reader-canary");
    let log = Log::open(&dir, &options()).unwrap();
    log.append(&entry(b"the payload", 1), How::default()).unwrap();
    let (lines, _) = lines_of(&log);
    log.close().unwrap();
    assert_eq!(script(&dir).0, lines);
    let other = scratch("format-reader-canary-other");
    let log = Log::open(&other, &options()).unwrap();
    log.append(&entry(b"thy payload", 1), How::default()).unwrap();
    log.close().unwrap();
    let (other_lines, other_end) = script(&other);
    assert_ne!(other_lines, lines);
    assert!(other_end.contains(r#""tail": "clean""#));
    let mut files = segments_of(&other);
    // Not the last frame: the mark of close speaks for it.
    let (offset, _) = *frames_of(&files[0].1).iter().find(|(_, frame)| frame.has(FLAG_DATA)).unwrap();
    files[0].1[offset + FRAME_HEADER_LEN] ^= 1;
    write_files(&other, &files);
    assert!(script(&other).1.contains(r#""tail": "damaged""#));
}
