//! Damaged and hostile files.

use std::path::Path;

use twal::disk::sim::SimDisk;
use twal::format::v26::{payload_len, FileHeader, RecordHeader};
use twal::interchange::{ReadOptions, Reader};
use twal::txn::interchange::{import, replay};
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::plan::{Action, Rejected};
use twal::txn::{BadEvent, Event, Family, Rules, SagaEvent, Step, Table, TransactionEvent};
use twal::{Code, Error};

use super::{common, disk_with, expected, files_of, golden, open_log, read_all, LogSink};

type Files = Vec<(String, Vec<u8>)>;
const SKIP: ReadOptions = ReadOptions { ignore_checksums: false, skip_damaged: true };

/// The records before `error`, or the error of opening.
fn read(files: &Files, options: ReadOptions) -> (Vec<String>, Option<Error>, u64, bool) {
    let disk = disk_with(files);
    let mut reader = match Reader::open_on(disk.as_ref(), Path::new("v26"), options) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error), 0, false),
    };
    let (lines, error) = read_all(&mut reader);
    (lines, error, reader.summary().damaged, reader.summary().torn.is_some())
}

fn clean() -> Files {
    files_of(&golden("clean"))
}

/// Reads `clean`, changed: code, file and offset of the first damage.
fn refused(change: impl FnOnce(&mut Files)) -> (Code, u64, u64) {
    let mut files = clean();
    change(&mut files);
    let (lines, error, ..) = read(&files, ReadOptions::default());
    let error = error.expect("it is refused");
    assert!(expected("clean").starts_with(&lines), "a prefix");
    let (_, none, damaged, _) = read(&files, SKIP);
    assert!(none.is_none() && damaged > 0, "skipped and counted: {none:?}");
    (error.code, error.segment, error.offset)
}

/// A whole record of saga 1's type 0x03, under this number.
fn record(seq: u64, payload: &[u8]) -> Vec<u8> {
    [&RecordHeader::of(3, seq, 0, payload).encode(), payload].concat()
}

#[test]
fn sets_that_are_not_whole_are_refused() {
    let corrupt = |file, offset| (Code::Corrupt, file, offset);
    assert_eq!(refused(|files| drop(files.remove(2))), corrupt(4, 0), "a gap");
    assert_eq!(refused(|files| drop(files.remove(0))), corrupt(2, 36), "the first is missing");
    assert_eq!(
        refused(|files| files.push(("wal_segment_0003.wal".into(), files[2].1.clone()))),
        corrupt(3, 0),
        "twice"
    );
    assert_eq!(refused(|files| files[1].1[12] = 9), corrupt(2, 12), "another's number");
    assert_eq!(refused(|files| files[1].1[36] = 0), corrupt(2, 36), "another before it");
    assert_eq!(refused(|files| files[0].1[36] = 7), corrupt(1, 36), "the first has one before it");
    let highest = |files: &mut Files| files[0].1[36..44].fill(0xff);
    assert_eq!(refused(highest), corrupt(1, 36), "there is no file behind the highest");
    assert_eq!(refused(|files| files[1].1[28] = 19), corrupt(2, 28), "a record too many");
    assert_eq!(refused(|files| files[1].1[28] = 21), corrupt(2, 28), "a record too few");
    assert_eq!(refused(|files| files[1].1[28] = 0), corrupt(2, 28), "not filled in");
    assert_eq!(refused(|files| files[5].1[28] = 7), corrupt(6, 28), "the last holds fewer");
    assert_eq!(refused(|files| files[1].1[0] = b't'), corrupt(2, 0), "no magic");
    assert_eq!(refused(|files| files[1].1[8] = 30), (Code::Version, 2, 8));
    assert_eq!(refused(|files| files[0].0 = "wal_segment_1.wal".into()), corrupt(0, 0), "an odd name");
    assert_eq!(refused(|files| files[2].1.clear()), corrupt(3, 0), "empty");
    let mut files = clean();
    files[5].1[28] = 0;
    assert_eq!(read(&files, ReadOptions::default()).1, None, "the last may still be written");
    files.push(("wal_segment_007.wal.tmp".into(), b"x".to_vec()));
    files.push(("notes".into(), b"x".to_vec()));
    assert_eq!(read(&files, ReadOptions::default()).1, None, "others' files");
    let (_, error, ..) = read(&vec![("notes".into(), vec![])], ReadOptions::default());
    assert_eq!(error.unwrap().code, Code::NotFound);
}

#[test]
fn records_that_are_none_are_refused_at_their_place() {
    let corrupt = |offset| (Code::Corrupt, 2, offset);
    assert_eq!(refused(|files| files[1].1[44] = b'w'), corrupt(44), "no magic");
    assert_eq!(refused(|files| files[1].1[44 + 29] ^= 1), corrupt(44), "another payload");
    assert_eq!(refused(|files| files[1].1[44 + 25] ^= 1), corrupt(44), "another checksum");
    for len in [1 << 16 | 1, 1 << 24, u32::MAX - 28, u32::MAX] {
        let place = refused(|files| files[1].1[44 + 21..44 + 25].copy_from_slice(&u32::to_le_bytes(len)));
        assert_eq!(place, corrupt(44), "{len} bytes");
        let last = refused(|files| {
            let header = FileHeader { segment: 6, previous: 5, ..FileHeader::default() };
            header.encode(&mut files[5].1);
            files[5].1[44 + 21..44 + 25].copy_from_slice(&u32::to_le_bytes(len));
        });
        assert_eq!(last, (Code::Corrupt, 6, 44), "no interrupted write leaves {len} bytes in the last file");
    }
    assert_eq!(refused(|files| files[1].1[44 + 5] = 1), corrupt(44), "the number does not rise");
    let long = |len: u32| {
        let payload = vec![1; usize::try_from(len).unwrap()];
        let header = RecordHeader { kind: 3, seq: 900, timestamp: 0, len, crc: twal::base::crc::crc32(&payload) };
        let mut files = clean();
        files[5].1[28] += 1;
        files[5].1.extend([header.encode().as_slice(), &payload].concat());
        let (lines, error, ..) = read(&files, ReadOptions::default());
        (lines.len(), error.map(|error| (error.code, error.offset)))
    };
    assert_eq!(long(64 << 10), (107, None));
    let end = clean()[5].1.len() as u64;
    assert_eq!(long((64 << 10) + 1), (106, Some((Code::Corrupt, end))), "whole, and longer than any record");
    // What is longer than the file: a length that fits no type, and one that does.
    let one_less = clean()[1].1.len() - 1;
    assert_eq!(refused(|files| files[1].1.truncate(one_less)).1, 2);
    let error = refused(|files| files[5].1.extend(b"WAL!\x03garbage that goes on behind a record, not zeros"));
    assert_eq!(
        error,
        (Code::Corrupt, 6, clean()[5].1.len() as u64),
        "the header counts no more, and it is no torn record"
    );
}

/// Where the record of a line ends in its file.
fn end_of(line: &str) -> usize {
    let offset: usize = line.split(r#""offset": "#).nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    offset + 29 + payload_of(line).trim_end_matches("\"}").len() / 2
}

/// Whether the file ends with a record that has all its bytes, from `start` on, and lost no end that a device would lose.
fn is_rot(bytes: &[u8], start: usize) -> bool {
    let Some(record) = bytes.get(start..).filter(|record| record.len() > 29 && record[21] > 0) else { return false };
    let filled = start + record.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    record.len() == 29 + usize::from(record[21]) && !(filled..bytes.len()).any(|cut| cut % 512 == 0)
}

/// The last file, cut at each byte, filled up with zeros or not: every record that is whole, and no more.  It is
/// torn, not damaged, unless its header is there and counts more, or zeros fill up a record just to its end.
#[test]
fn the_last_file_may_be_torn_anywhere() {
    let all = expected("clean");
    let whole = clean();
    let last = whole.len() - 1;
    let begin = all.iter().position(|line| line.starts_with(r#"{"file": 6,"#)).unwrap();
    let header_filled = 37; // its last bytes are zeros
    let mut rots = 0;
    for (filled_in, cut, zeros) in [false, true].into_iter().flat_map(|filled_in| {
        (0..whole[last].1.len()).flat_map(move |cut| [0, 3, 44, 700].map(|zeros| (filled_in, cut, zeros)))
    }) {
        let mut files = whole.clone();
        if !filled_in {
            files[last].1[28..36].fill(0);
        }
        files[last].1.truncate(cut);
        files[last].1.resize(cut + zeros, 0);
        let (lines, error, _, torn) = read(&files, ReadOptions::default());
        let rotten = is_rot(&files[last].1, lines.get(begin..).and_then(<[_]>::last).map_or(44, |line| end_of(line)));
        let what = format!("{cut} bytes and {zeros} zeros, count filled in: {filled_in}: {error:?}");
        let count = all[begin..].iter().filter(|line| end_of(line) <= cut).count();
        // The payload's last bytes may be zeros: then zeros make it whole.
        let more = usize::from(zeros > 0 && lines.len() == begin + count + 1);
        assert!(lines == all[..begin + count + more], "{what}\n{lines:#?}");
        let header_is_there = cut >= 44 || cut >= header_filled && cut + zeros >= 44;
        if header_is_there && filled_in && lines.len() < all.len() {
            let error = error.expect("the header counts more records");
            assert_eq!((error.code, error.segment), (Code::Corrupt, 6), "{what}");
        } else if rotten {
            rots += 1;
            assert_eq!(error.map(|error| (error.code, error.segment)), Some((Code::Corrupt, 6)), "{what}");
        } else {
            let end = if header_is_there { lines[begin..].last().map_or(44, |line| end_of(line)) } else { 0 };
            assert_eq!((error, torn), (None, cut + zeros > end || !header_is_there), "{what}");
        }
    }
    assert!(rots > 0, "zeros that end with a record");
    // The same in any other file is damage, wherever it is cut, and whatever its header counts.
    for (filled_in, cut) in [false, true].into_iter().flat_map(|one| (0..whole[3].1.len()).map(move |cut| (one, cut))) {
        let mut files = whole.clone();
        if !filled_in {
            files[3].1[28..36].fill(0);
        }
        files[3].1.truncate(cut);
        let (_, error, _, torn) = read(&files, ReadOptions::default());
        let error = error.map(|error| (error.code, error.segment));
        // A file that counts no record and has none is whole: nothing in the layout says otherwise.
        let empty = cut == 44 && !filled_in;
        assert_eq!((error, torn), ((!empty).then_some((Code::Corrupt, 4)), false), "cut {cut}");
    }
}

/// A bit of the last record, which has all its bytes, in a file whose count is not filled in: never an interrupted write,
/// whatever the record ends in.
#[test]
fn a_damaged_last_record_is_damage() {
    let whole = clean();
    let last = whole.len() - 1;
    let (mut at, mut tried) = (44, [0, 0]);
    while at < whole[last].1.len() {
        let end = at + 29 + usize::from(whole[last].1[at + 21]);
        let mut files = whole.clone();
        files[last].1[28..36].fill(0);
        files[last].1.truncate(end);
        assert_eq!(read(&files, ReadOptions::default()).1, None);
        let ends_in_zero = files[last].1[end - 1] == 0;
        let crosses = at / 512 != (end - 1) / 512; // its end may be lost
        for bit in (at + 25) * 8..end * 8 {
            let mut one = files.clone();
            one[last].1[bit / 8] ^= 1 << (bit % 8);
            let (_, error, _, torn) = read(&one, ReadOptions::default());
            if crosses && ends_in_zero {
                assert!(torn || error.is_some(), "bit {bit} of the record at {at}");
                continue;
            }
            let error = error.map(|error| (error.code, error.segment, error.offset));
            let place = (Code::Corrupt, 6, u64::try_from(at).unwrap());
            assert_eq!((error, torn), (Some(place), false), "bit {bit} of the record at {at}");
            tried[usize::from(ends_in_zero)] += 1;
            let (_, error, damaged, torn) = read(&one, SKIP);
            assert_eq!((error, damaged, torn), (None, 1, false), "bit {bit} of the record at {at}");
        }
        at = end;
    }
    assert!(tried.iter().all(|count| *count > 0), "{tried:?}");
}

/// What the layout's types became later is not taken from such a file: a checkpoint with a state would stand in the
/// place of everything before it.
#[test]
fn later_forms_are_no_events_of_the_layout() {
    let mut table = Table::new();
    table.apply(1, &Event::Saga(900, SagaEvent::Created { coordinator: [1; 32] }), Rules::Strict).unwrap();
    let step = Step { index: 9, action: 1, depends_on: vec![1], payload: b"undo".to_vec() };
    let mut files = clean();
    let mut payload = Vec::new();
    for (seq, event) in
        [(107, Event::Checkpoint(table.checkpoint())), (108, Event::Saga(5, SagaEvent::StepAdded(step)))]
    {
        let kind = u8::try_from(event.encode(&mut payload)).unwrap();
        files[5].1.extend(RecordHeader::of(kind, seq, 0, &payload).encode());
        files[5].1.extend(&payload);
    }
    files[5].1[28] += 2;
    let disk = disk_with(&files);
    let mut reader = Reader::open_on(disk.as_ref(), Path::new("v26"), ReadOptions::default()).unwrap();
    let found = replay(&mut reader, STATE_BYTES_DEFAULT).unwrap();
    let wrong: Vec<_> = found.wrong.iter().map(|wrong| (wrong.seq, wrong.why)).collect();
    let len = table.checkpoint().state.len() + 16;
    assert_eq!(
        wrong,
        [
            (107, Rejected::Event(BadEvent::Length { kind: 0xF0, len, expected: 16 })),
            (108, Rejected::Event(BadEvent::Length { kind: 2, len: 25, expected: 13 })),
        ]
    );
    assert_eq!(found.isolated, [(Family::Saga, 5)]);
    assert_eq!(found.plan.len(), 10, "what was unfinished is there");
}

/// A bit of every byte of every file: never a record that was not written, never fewer without an error or a torn end; what
/// nothing covers (timestamps, types, numbers, for the layout has no checksum of them) may change.
#[test]
fn flipped_bits_never_pass_for_other_payloads() {
    let payloads: Vec<String> = expected("clean").iter().map(|line| payload_of(line).to_owned()).collect();
    let files = clean();
    let mut silent = 0;
    for (at, (name, bytes)) in files.iter().enumerate() {
        for bit in (0..bytes.len()).map(|byte| byte * 8 + byte % 8) {
            let mut one = files.clone();
            one[at].1[bit / 8] ^= 1 << (bit % 8);
            let (lines, error, _, torn) = read(&one, ReadOptions::default());
            let found: Vec<_> = lines.iter().map(|line| payload_of(line).to_owned()).collect();
            assert!(payloads.starts_with(&found), "{name}, bit {bit}");
            assert!(found.len() == payloads.len() || error.is_some() || torn, "{name}, bit {bit}");
            silent += usize::from(error.is_none());
            let (skipped, error, damaged, torn) = read(&one, SKIP);
            assert!(error.is_none(), "{name}, bit {bit}");
            assert!(skipped.len() == payloads.len() || damaged > 0 || torn, "{name}, bit {bit}");
        }
    }
    println!("{silent} flipped bits change a type, number or time only");
}

fn payload_of(line: &str) -> &str {
    line.split(r#""payload": ""#).nth(1).unwrap()
}

/// What is passed over is one record where its end is known, else the rest of its file.
#[test]
fn skipping_counts_what_it_passes_over() {
    let all = expected("clean");
    let mut files = clean();
    files[1].1[44 + 29] ^= 1; // the first record of file 2
    files[3].1[44] = b'w'; // all of file 4
    files.remove(4); // all of file 5
    let (lines, error, damaged, _) = read(&files, SKIP);
    let kept = |at: usize| at != 20 && !(60..100).contains(&at);
    let expected: Vec<_> = (0..).zip(&all).filter(|(at, _)| kept(*at)).map(|(_, line)| line.clone()).collect();
    assert_eq!((lines, error), (expected, None));
    assert_eq!(damaged, 4, "a record, a file's rest, a gap, and the file behind the gap names another");
}

#[test]
fn what_is_not_a_file_is_refused() {
    let dir = common::scratch("interchange-odd");
    let file = dir.join("wal_segment_002.wal");
    let first = clean()[0].1.clone();
    std::fs::write(dir.join("wal_segment_001.wal"), &first).unwrap();
    let refused = |what: &str| {
        let mut reader = Reader::open(&dir, ReadOptions::default()).unwrap();
        let (lines, error) = read_all(&mut reader);
        let error = error.unwrap_or_else(|| panic!("{what} was read"));
        assert_eq!((lines.len(), error.code, error.segment), (20, Code::Corrupt, 2), "{what}: {error}");
        assert!(error.text.contains("is not a file"), "{error}");
        let mut reader = Reader::open(&dir, SKIP).unwrap();
        let (lines, error) = read_all(&mut reader);
        assert_eq!((lines.len(), error, reader.summary().damaged), (20, None, 1), "{what} is passed over");
    };
    std::os::unix::fs::symlink(dir.join("wal_segment_001.wal"), &file).unwrap();
    refused("a symbolic link");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refused("a directory");
    std::fs::remove_dir(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("a FIFO");
    let missing = Reader::open(&dir.join("missing"), ReadOptions::default());
    assert_eq!(missing.err().map(|error| error.code), Some(Code::NotFound));
}

/// A file of many gigabytes without a byte in it, and one with a record at its end: neither is read into memory,
/// nor taken for what an interrupted write leaves.
#[test]
fn a_huge_tail_is_damage() {
    let dir = common::scratch("interchange-huge");
    let path = dir.join("wal_segment_001.wal");
    let mut bytes = vec![0; 44];
    FileHeader { segment: 1, ..FileHeader::default() }.encode(&mut bytes);
    bytes.extend(record(1, &[1; 8]));
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let read = || {
        let mut reader = Reader::open(&dir, ReadOptions::default()).unwrap();
        let (lines, error) = read_all(&mut reader);
        (lines.len(), error.map(|error| error.offset), reader.summary().torn_bytes)
    };
    let end = bytes.len() as u64;
    file.set_len(end + (8 << 20)).unwrap();
    assert_eq!(read(), (1, None, 8 << 20), "zeros");
    std::os::unix::fs::FileExt::write_at(&file, b"x", end + (5 << 20)).unwrap();
    assert_eq!(read(), (1, Some(end), 0), "and something in them");
    file.set_len(end).unwrap();
    file.set_len(100 << 30).unwrap();
    assert_eq!(read(), (1, Some(end), 0), "more than a file has");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn lengths_of_the_layout() {
    let known = |kind: u8| payload_len(kind).is_some();
    assert_eq!((0..=255).filter(|kind| known(*kind)).count(), 22);
    assert!((0..=255).filter_map(payload_len).all(|len| (8..=72).contains(&len)), "each begins with an id");
}

/// Ids that a file may not have, in two operations: those are left out, and what is behind them is taken.
#[test]
fn an_id_that_leaves_no_room_isolates_its_operation_alone() {
    let mut files = clean();
    files.truncate(1);
    let mut bytes = vec![0; 44];
    FileHeader { segment: 1, ..FileHeader::default() }.encode(&mut bytes);
    let mut payload = Vec::new();
    for (seq, id) in [(1, 4), (2, u64::MAX), (3, 5), (4, 1 << 63), (5, (1 << 63) + 1)] {
        Event::Saga(id, SagaEvent::Created { coordinator: [1; 32] }).encode_short(&mut payload);
        bytes.extend([RecordHeader::of(1, seq, 0, &payload).encode().as_slice(), &payload].concat());
    }
    files[0].1 = bytes;
    let disk = disk_with(&files);
    let mut reader = Reader::open_on(disk.as_ref(), Path::new("v26"), ReadOptions::default()).unwrap();
    let found = replay(&mut reader, STATE_BYTES_DEFAULT).unwrap();
    assert_eq!(found.isolated, [(Family::Saga, (1 << 63) + 1), (Family::Saga, u64::MAX)]);
    assert_eq!(found.wrong.iter().map(|wrong| wrong.seq).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(found.plan.iter().map(|one| one.id).collect::<Vec<_>>(), [4, 5, 1 << 63]);
}

/// The abort was decided and is damaged: without it, all votes commit.  Nothing is presumed of what is not finished, in
/// front of the damage or behind it; what is finished is imported.
#[test]
fn damage_that_is_passed_over_decides_nothing() {
    let transaction = |id, happened| Event::Transaction(id, happened);
    let begun = |id| {
        let shard = [2; 32];
        vec![
            transaction(id, TransactionEvent::Created { coordinator: [1; 32] }),
            transaction(id, TransactionEvent::ParticipantAdded { shard, node: [3; 32] }),
            transaction(id, TransactionEvent::PrepareStart),
            transaction(id, TransactionEvent::VoteReceived { shard, commit: true }),
        ]
    };
    let end =
        |id| vec![transaction(id, TransactionEvent::CommitStart), transaction(id, TransactionEvent::CommitComplete)];
    let aborted = vec![transaction(2, TransactionEvent::AbortStart)];
    let mut bytes = vec![0; 44];
    FileHeader { segment: 1, ..FileHeader::default() }.encode(&mut bytes);
    let (mut payload, mut damaged) = (Vec::new(), 0);
    for (seq, event) in (1..).zip([begun(1), end(1), begun(2), aborted, begun(3)].concat()) {
        let kind = u8::try_from(event.encode_short(&mut payload)).unwrap();
        if matches!(event, Event::Transaction(_, TransactionEvent::AbortStart)) {
            damaged = bytes.len() + 25; // its checksum
        }
        bytes.extend([RecordHeader::of(kind, seq, 0, &payload).encode().as_slice(), &payload].concat());
    }
    bytes[damaged] ^= 1;
    let disk = disk_with(&[("wal_segment_001.wal".into(), bytes)]);
    let open = || Reader::open_on(disk.as_ref(), Path::new("v26"), SKIP);
    let log_disk = SimDisk::new(1);
    let mut sink = LogSink::new(open_log(log_disk.as_ref()));
    let done = import(&open, STATE_BYTES_DEFAULT, &mut sink, &mut |_, _| {}).unwrap();
    let found = &done.replayed;
    assert_eq!((found.summary.damaged, found.wrong_count), (1, 0));
    assert_eq!(found.isolated, [(Family::Transaction, 2), (Family::Transaction, 3)]);
    let plan: Vec<_> = found.plan.iter().map(|one| (one.id, one.action)).collect();
    assert_eq!(plan, [(2, Action::None), (3, Action::None)], "reported, and nothing to be done");
    assert_eq!((done.imported, done.left_out, sink.table.transactions().len()), (6, 8, 0));
}
