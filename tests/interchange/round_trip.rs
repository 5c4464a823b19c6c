//! Out of files into a log, and out of a log into files.

use std::path::Path;

use twal::base::clock::Clock;
use twal::disk::sim::{CallKind, SimDisk};
use twal::interchange::{ReadOptions, Reader, WriteOptions, Writer};
use twal::txn::interchange::{export, import, replay, Exported, Import, LeftOut};
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::{Event, Family, Rebuild, Rules, SagaEvent, Step, StreamEvent, Table, Tombstone};
use twal::{Code, Entry, Error, How, IterOptions, Log};

use super::golden::python;
use super::{common, disk_with, expected, files_of, golden, line_of, open_log, read_all, LogSink};

/// Imports a committed directory; the numbers in the files and in the log.
fn import_golden(name: &str, sink: &mut LogSink) -> Result<(Import, Vec<(u64, u64)>), Error> {
    let dir = golden(name);
    let mut numbers = Vec::new();
    let open = || Reader::open(&dir, ReadOptions::default());
    let import = import(&open, STATE_BYTES_DEFAULT, sink, &mut |old, new| numbers.push((old, new)))?;
    Ok((import, numbers))
}

/// Every record of a log, as an event.
fn events_of(log: &Log) -> Vec<(u64, i64, Event)> {
    let mut iter = log.iter(0).unwrap();
    let mut events = Vec::new();
    while let Some(record) = iter.next_record().unwrap() {
        events.push((record.seq, record.timestamp, Event::decode(record.kind, record.data).unwrap()));
    }
    events
}

#[test]
fn an_import_appends_what_a_strict_replay_takes() {
    let disk = SimDisk::new(1);
    let mut sink = LogSink::new(open_log(disk.as_ref()));
    // Something is there already: numbers begin behind it.
    sink.log
        .append(&Entry { data: b"x", stream: 0, timestamp: None, kind: 0x0100, required: false }, How::default())
        .unwrap();
    let (import, numbers) = import_golden("clean", &mut sink).unwrap();
    // Three operations lack a start: saga 2, transactions 2 and 3.
    assert_eq!((import.imported, import.added, import.left_out), (105, 3, 0));
    // Each of the two rollbacks begins a batch: commits in front of it could make a table forget what is rolled back.
    assert_eq!((import.first_seq, import.last_seq, sink.batches), (2, 109, 3));
    assert_eq!(sink.log.durable_seq(), 109);

    let old: Vec<u64> = (1..=106).filter(|seq| *seq != 54).collect(); // all but the checkpoint
    assert_eq!(numbers.iter().map(|(old, _)| *old).collect::<Vec<_>>(), old);
    assert!(numbers.is_sorted_by(|one, next| one.1 < next.1));

    let mut iter = sink.log.iter(2).unwrap();
    let mut rebuild = Rebuild::new(Rules::Strict);
    let mut news = numbers.iter().peekable();
    let lines = expected("clean");
    while let Some(record) = iter.next_record().unwrap() {
        rebuild.record(record.seq, record.kind, record.data).unwrap();
        if news.peek().is_some_and(|(_, new)| *new == record.seq) {
            let (old, _) = news.next().unwrap();
            assert_eq!(record.timestamp, -3 * i64::try_from(*old).unwrap(), "timestamps stay");
            let mut short = Vec::new();
            Event::decode(record.kind, record.data).unwrap().encode_short(&mut short);
            assert!(lines[usize::try_from(*old).unwrap() - 1].contains(&common::hex(&short)), "{old}");
        }
    }
    assert_eq!(rebuild.table(), &sink.table);
    let summary = |plan: Vec<twal::txn::Unfinished>| {
        plan.into_iter().map(|one| (one.family, one.id, one.action, one.parts, one.done)).collect::<Vec<_>>()
    };
    assert_eq!(summary(rebuild.plan()), summary(import.replayed.plan));

    let error = import_golden("clean", &mut sink).unwrap_err();
    assert_eq!((error.code, sink.log.last_seq()), (Code::Exists, 109), "ids stay, so they must be new: {error}");
}

#[test]
fn an_import_leaves_out_what_contradicts_itself() {
    let disk = SimDisk::new(1);
    let mut sink = LogSink::new(open_log(disk.as_ref()));
    let (import, numbers) = import_golden("illegal", &mut sink).unwrap();
    let left: Vec<_> = sink.table.sagas().map(|(id, _)| id).collect();
    assert_eq!(left, [0u64; 0]);
    let ids: std::collections::BTreeSet<_> =
        events_of(&sink.log).iter().map(|(_, _, event)| event.operation().unwrap()).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [(Family::Saga, 10), (Family::Transaction, 3)], "and no others");
    assert_eq!((import.imported, import.left_out), (numbers.len() as u64, 38 - numbers.len() as u64));
    assert_eq!((import.imported, import.replayed.wrong_count), (11, 6));
}

/// Whatever is wrong with the files, nothing was appended.
#[test]
fn files_that_are_refused_leave_the_log_as_it_was() {
    let mut files = files_of(&golden("clean"));
    let last = files[5].1.len() - 1;
    files[5].1[last] ^= 1;
    let disk = disk_with(&files);
    let log_disk = SimDisk::new(1);
    let mut sink = LogSink::new(open_log(log_disk.as_ref()));
    let open = || Reader::open_on(disk.as_ref(), Path::new("v26"), ReadOptions::default());
    let error = import(&open, STATE_BYTES_DEFAULT, &mut sink, &mut |_, _| panic!("nothing is appended")).unwrap_err();
    assert_eq!((error.code, error.segment, sink.log.last_seq()), (Code::Corrupt, 6, 0));
}

/// Many batches, and the same numbers told as were given.
#[test]
fn a_long_import_comes_in_batches() {
    let files = SimDisk::new(1);
    let mut writer =
        Writer::create_on(files.as_ref(), Path::new("v26"), WriteOptions::default(), Clock::simulated()).unwrap();
    let (mut seq, mut payload) = (0, Vec::new());
    for id in 1..=300 {
        for happened in [SagaEvent::Created { coordinator: [1; 32] }, SagaEvent::ExecuteStart, SagaEvent::Completed] {
            seq += 5;
            let kind = Event::Saga(id, happened).encode_short(&mut payload);
            writer.append(u8::try_from(kind).unwrap(), seq, 7, &payload).unwrap();
        }
    }
    assert_eq!(writer.finish().unwrap().records, 900);
    let disk = SimDisk::new(1);
    let mut sink = LogSink::new(open_log(disk.as_ref()));
    let open = || Reader::open_on(files.as_ref(), Path::new("v26"), ReadOptions::default());
    let mut numbers = Vec::new();
    let import = import(&open, STATE_BYTES_DEFAULT, &mut sink, &mut |old, new| numbers.push((old, new))).unwrap();
    assert_eq!((import.imported, import.first_seq, import.last_seq, sink.batches), (900, 1, 900, 4));
    assert_eq!(numbers, (1..=900).map(|new| (5 * new, new)).collect::<Vec<_>>());
}

// ---- out of a log

fn export_from(log: &Log, disk: &SimDisk, options: WriteOptions, leave_out: bool) -> Result<Exported, Error> {
    let writer = Writer::create_on(disk, Path::new("v26"), options, Clock::simulated())?;
    export(log, &IterOptions::default(), writer, leave_out)
}

fn read_exported(disk: &SimDisk) -> Vec<String> {
    let mut reader = Reader::open_on(disk, Path::new("v26"), ReadOptions::default()).unwrap();
    let (lines, error) = read_all(&mut reader);
    assert_eq!(error, None);
    assert_eq!(reader.summary().torn, None);
    lines
}

fn imported_log() -> Log {
    let mut sink = LogSink::new(open_log(SimDisk::new(1).as_ref()));
    import_golden("clean", &mut sink).unwrap();
    sink.log
}

/// What is exported is read by the library and by the script, and says the same as the log.
#[test]
fn an_export_is_read_by_others() {
    let log = imported_log();
    let dir = common::scratch("interchange-export");
    for (size, records, files) in [(64 << 20, 100_000, 1), (64 << 20, 20, 6), (600, 100_000, 12), (1, 100_000, 108)] {
        let out = dir.join(format!("{size}-{records}"));
        let options = WriteOptions { file_size_max: size, file_records_max: records };
        let exported = export(&log, &IterOptions::default(), Writer::create(&out, options).unwrap(), false).unwrap();
        let written = exported.written;
        assert_eq!((written.files, written.records, exported.left_out), (files, 108, LeftOut::default()));
        let on_disk = files_of(&out);
        assert_eq!(on_disk.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>(), written.bytes);
        let names: Vec<_> = (1..=files).map(|number| format!("wal_segment_{number:03}.wal")).collect();
        assert_eq!(on_disk.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
        assert!(size == 1 || on_disk.iter().all(|(_, bytes)| bytes.len() as u64 <= size));

        let mut reader = Reader::open(&out, ReadOptions::default()).unwrap();
        let (lines, error) = read_all(&mut reader);
        assert_eq!((lines.len(), error), (108, None));
        if let Some(text) = python("read.py", &out) {
            assert_eq!(text.lines().collect::<Vec<_>>(), lines, "the script reads the same");
        }
        let found = replay(&mut Reader::open(&out, ReadOptions::default()).unwrap(), STATE_BYTES_DEFAULT).unwrap();
        let mut rebuild = Rebuild::new(Rules::Strict);
        for (seq, _, event) in events_of(&log) {
            let mut payload = Vec::new();
            let kind = event.encode(&mut payload);
            rebuild.record(seq, kind, &payload).unwrap();
        }
        assert_eq!((found.plan, found.wrong_count), (rebuild.plan(), 0));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// One of what the layout cannot hold is enough to refuse; left out, it is counted, and the rest is there.
#[test]
fn what_the_layout_cannot_hold_is_refused_or_counted() {
    let created = |id| Event::Saga(id, SagaEvent::Created { coordinator: [1; 32] });
    let step = |depends_on: Vec<u32>, payload: &[u8]| {
        Event::Saga(1, SagaEvent::StepAdded(Step { index: 2, action: 3, depends_on, payload: payload.to_vec() }))
    };
    let first = Event::Saga(1, SagaEvent::StepAdded(Step { index: 1, action: 3, depends_on: vec![], payload: vec![] }));
    let dropped = StreamEvent::Tombstone(Tombstone { below_seq: 1, name: Vec::new() });
    let tombstone = Event::Stream(4, dropped);
    let mut table = Table::new();
    table.apply(1, &created(1), Rules::Strict).unwrap();
    let checkpoint = |table: &Table| Event::Checkpoint(table.checkpoint());
    let with_tombstone = {
        let mut table = table.clone();
        table.apply(2, &tombstone, Rules::Strict).unwrap();
        checkpoint(&table)
    };
    let none = LeftOut::default();
    type Records = Vec<(u64, Event)>;
    let cases: [(&str, Records, LeftOut, u64); 9] = [
        ("nothing", vec![(0, created(1)), (0, first.clone()), (0, checkpoint(&table))], none, 3),
        (
            "dependencies",
            vec![(0, created(1)), (0, first.clone()), (0, step(vec![1], b""))],
            LeftOut { steps: 1, ..none },
            3,
        ),
        ("a payload", vec![(0, created(1)), (0, step(vec![], b"undo"))], LeftOut { steps: 1, ..none }, 2),
        ("a tombstone", vec![(0, created(1)), (0, tombstone)], LeftOut { streams: 1, ..none }, 1),
        ("a tombstone in a checkpoint", vec![(0, created(1)), (0, with_tombstone)], LeftOut { streams: 1, ..none }, 2),
        ("a tag", vec![(7, created(1)), (0, first.clone())], LeftOut { tags: 1, ..none }, 2),
        (
            "an operation without its beginning",
            vec![(0, first.clone()), (0, created(2)), (0, first.clone())],
            LeftOut { headless: 2, headless_operations: 1, ..none },
            1,
        ),
        (
            "an operation that only a checkpoint has",
            vec![(0, checkpoint(&table)), (0, created(2))],
            LeftOut { headless_operations: 1, ..none },
            2,
        ),
        ("a record of the program", vec![(0, created(1))], LeftOut { program: 1, ..none }, 1),
    ];
    for (what, records, left_out, written) in cases {
        let disk = SimDisk::new(1);
        let log = open_log(disk.as_ref());
        for (stream, event) in &records {
            let mut payload = Vec::new();
            let kind = event.encode(&mut payload);
            let entry = Entry { data: &payload, stream: *stream, timestamp: Some(-9), kind, required: false };
            log.append(&entry, How::default()).unwrap();
        }
        if left_out.program > 0 {
            log.append(
                &Entry { data: b"x", stream: 0, timestamp: None, kind: 0x0100, required: false },
                How::default(),
            )
            .unwrap();
        }
        let files = SimDisk::new(1);
        let refused = export_from(&log, files.as_ref(), WriteOptions::default(), false);
        if left_out == none {
            assert_eq!(refused.unwrap().written.records, written, "{what}");
            continue;
        }
        let error = refused.unwrap_err();
        assert_eq!(error.code, Code::Unsupported, "{what}: {error}");
        assert!(error.seq > 0, "{what}");
        assert_eq!(files.names(), [""; 0], "{what}: no file is there");
        let exported = export_from(&log, files.as_ref(), WriteOptions::default(), true).unwrap();
        assert_eq!((exported.left_out, exported.written.records), (left_out, written), "{what}");
        let lines = read_exported(files.as_ref());
        assert_eq!(lines.len() as u64, written, "{what}");
        assert!(lines.iter().all(|line| line.contains(r#""timestamp": -9"#)));
    }
}

#[test]
fn a_directory_with_files_is_left_alone() {
    let log = imported_log();
    let disk = SimDisk::new(1);
    export_from(&log, disk.as_ref(), WriteOptions::default(), false).unwrap();
    let before = disk.content("wal_segment_001.wal");
    let error = export_from(&log, disk.as_ref(), WriteOptions::default(), false).unwrap_err();
    assert_eq!((error.code, disk.content("wal_segment_001.wal")), (Code::Exists, before));
    let other = SimDisk::new(1);
    let held =
        Writer::create_on(other.as_ref(), Path::new("v26"), WriteOptions::default(), Clock::simulated()).unwrap();
    let error = export_from(&log, other.as_ref(), WriteOptions::default(), false).unwrap_err();
    assert_eq!(error.code, Code::Locked, "two at once");
    drop(held);
    assert_eq!(other.names(), [""; 0], "one that is dropped leaves nothing");
    let writes = other.counts().of(CallKind::Write);
    let none = WriteOptions { file_records_max: 0, ..WriteOptions::default() };
    let error = export_from(&log, other.as_ref(), none, false).unwrap_err();
    assert_eq!((error.code, other.counts().of(CallKind::Write)), (Code::Inval, writes));
    let empty = open_log(SimDisk::new(1).as_ref());
    assert_eq!(export_from(&empty, other.as_ref(), WriteOptions::default(), false).unwrap().written.files, 1);
    assert_eq!(read_exported(other.as_ref()), [""; 0]);
}

/// Files beyond what is written at once, each byte as it was given.
#[test]
fn long_files_are_whole() {
    let disk = SimDisk::new(1);
    disk.set_align(4096, 512);
    let options = WriteOptions { file_size_max: 3 << 20, ..WriteOptions::default() };
    let mut writer = Writer::create_on(disk.as_ref(), Path::new("v26"), options, Clock::simulated()).unwrap();
    let payload = |seq: u64| vec![seq.to_le_bytes()[0]; 40_000 + usize::try_from(seq).unwrap() * 7];
    for seq in 1..=120 {
        writer.append(0x01, seq, 0, &payload(seq)).unwrap();
    }
    let big = writer.append(0x01, 121, 0, &[0; 65537]).unwrap_err();
    assert_eq!(big.code, Code::TooBig);
    let written = writer.finish().unwrap();
    assert_eq!((written.files, written.records), (2, 120));
    let mut reader = Reader::open_on(disk.as_ref(), Path::new("v26"), ReadOptions::default()).unwrap();
    for seq in 1..=120 {
        let record = reader.next_record().unwrap().unwrap_or_else(|| panic!("{seq}"));
        assert!(record.seq == seq && record.payload == payload(seq), "{}", line_of(&record).len());
    }
    assert_eq!(reader.next_record(), Ok(None));
    let sizes: u64 = disk.names().iter().map(|name| disk.content(name).unwrap().len() as u64).sum();
    assert_eq!(sizes, written.bytes);
}
