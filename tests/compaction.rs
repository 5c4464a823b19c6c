//! Compaction on real files beside appenders and readers, each on a thread of its own.
//!
//! `tests/sim/compaction.rs` has the crashes and the failures; here are the threads.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use twal::{
    Acknowledged, Candidate, Code, CompactOptions, Compacted, Entry, Error, FindingKind, How, Iter, Log, Options,
    Repair, StepKind,
};

const APPENDERS: u64 = 4;
const RECORDS: u64 = 4000;
/// Records of this stream are kept, others are not.
const KEPT: u64 = 7;

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Whatever disk the tests run on will do, for nothing here depends on its flushes.
fn options() -> Options {
    Options { allow_any_fs: true, allow_buffered: true, segment_size: 64 << 10, ..Options::default() }
}

const ALL: CompactOptions = CompactOptions { below_seq: u64::MAX, saving_min: 0 };

fn compact(log: &Log) -> Result<Compacted, Error> {
    log.compact(&ALL, &mut |candidate: &Candidate<'_>| candidate.record.stream == KEPT)
}

fn append(log: &Log, n: u64, how: How) -> Result<u64, Error> {
    let data = vec![n as u8; (n * 37 % 700) as usize];
    let stream = if n.is_multiple_of(3) { KEPT } else { n % 3 };
    log.append(&Entry { data: &data, stream, timestamp: Some(n as i64), kind: 0x0100, required: false }, how)
}

/// Follows the log until it has seen record `last`, or everything while `ended` says so; the kept numbers that it saw.
fn follow(iter: &mut Iter, ended: &AtomicBool) -> BTreeSet<u64> {
    let (mut seen, mut before) = (BTreeSet::new(), 0);
    loop {
        let over = ended.load(Ordering::SeqCst);
        match iter.next_record().expect("a reader is never stopped") {
            Some(record) => {
                assert!(record.seq > before, "{} behind {before}", record.seq);
                before = record.seq;
                let n = record.timestamp as u64;
                assert!(record.data == vec![n as u8; (n * 37 % 700) as usize], "record {}", record.seq);
                if record.stream == KEPT {
                    seen.insert(record.seq);
                }
            }
            None if over => return seen,
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn appenders_and_readers_go_on_beside_it() {
    let dir = scratch("compaction-threads");
    let log = Log::open(&dir, &options()).unwrap();
    let other = Log::open(&dir, &Options { read_only: true, ..options() }).unwrap();
    let (appended, read) = (AtomicBool::new(false), AtomicBool::new(false));
    let next = AtomicU64::new(0);
    let (kept, purged, seen) = std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..APPENDERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut kept = BTreeSet::new();
                    while let n @ 0..RECORDS = next.fetch_add(1, Ordering::SeqCst) {
                        let seq = append(&log, n, How { sync: Some(n % 64 == 0), no_wait: false }).unwrap();
                        if n.is_multiple_of(3) {
                            kept.insert(seq);
                        }
                    }
                    kept
                })
            })
            .collect();
        let readers: Vec<_> = [&log, &other]
            .map(|log| {
                let mut iter = log.iter(0).unwrap();
                let appended = &appended;
                scope.spawn(move || follow(&mut iter, appended))
            })
            .into_iter()
            .collect();
        let compactor = scope.spawn(|| {
            let mut purged = 0;
            // However late it begins: its last one below is not the first.
            while !read.load(Ordering::SeqCst) || log.stats().compactions == 0 {
                purged += compact(&log).expect("nothing stops it").records_purged;
                // Readers that begin anew meanwhile find every record, too.
                let mut iter = other.iter(0).unwrap();
                while iter.next_record().expect("a reader is never stopped").is_some() {}
            }
            log.roll().unwrap();
            purged + compact(&log).unwrap().records_purged
        });
        let kept: BTreeSet<u64> = appenders.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        log.sync(0).unwrap();
        // A mark is what tells a reader of another process.
        log.roll().unwrap();
        appended.store(true, Ordering::SeqCst);
        let seen: Vec<_> = readers.into_iter().map(|thread| thread.join().unwrap()).collect();
        read.store(true, Ordering::SeqCst);
        (kept, compactor.join().unwrap(), seen)
    });
    assert_eq!(kept.len() as u64, RECORDS.div_ceil(3));
    assert_eq!(purged, RECORDS - RECORDS.div_ceil(3), "each record that is not kept goes once");
    assert!(seen[0] == kept, "a reader of this log missed a record");
    assert!(seen[1] == kept, "a reader of another handle missed a record");
    let stats = log.stats();
    assert_eq!((stats.records_purged, stats.poisoned), (purged, false));
    assert!(stats.compactions > 1 && stats.segments_compacted > 3 && stats.compaction_bytes_saved > 0, "{stats:?}");
    log.close().unwrap();
    let log = Log::open(&dir, &Options { verify: true, ..options() }).unwrap();
    assert_eq!(follow(&mut log.iter(0).unwrap(), &AtomicBool::new(true)), kept);
    assert_eq!((log.report().records, log.last_seq()), (kept.len() as u64, RECORDS));
    println!("{} segments compacted, {} compactions", stats.segments_compacted, stats.compactions);
}

/// What the files take is what is said: st_blocks, before and after.
#[test]
fn the_bytes_saved_are_real() {
    let dir = scratch("compaction-bytes");
    let log = Log::open(&dir, &options()).unwrap();
    let sealed = || -> u64 {
        use std::os::unix::fs::MetadataExt;
        let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
        let sealed = entries.filter(|entry| entry.file_name().to_str().unwrap().ends_with("sealed"));
        sealed.map(|entry| entry.metadata().unwrap().blocks() * 512).sum()
    };
    for n in 0..400 {
        append(&log, n, How { sync: Some(false), no_wait: false }).unwrap();
    }
    log.roll().unwrap();
    let before = sealed();
    let none = CompactOptions { saving_min: before, ..ALL };
    assert_eq!(log.compact(&none, &mut |_| false).unwrap(), Compacted::default(), "too little for what was asked");
    assert_eq!(log.compact(&ALL, &mut |_| true).unwrap(), Compacted::default(), "nothing goes");
    assert_eq!(sealed(), before);
    let done = compact(&log).unwrap();
    assert_eq!((before - sealed(), 400 - 134), (done.bytes_saved, done.records_purged));
    assert!(done.bytes_saved > before / 2, "{} of {before}", done.bytes_saved);
    assert_eq!(compact(&log).unwrap(), Compacted::default(), "a second time there is nothing to do");
}

#[test]
fn close_does_not_wait_for_the_rest_of_it() {
    let dir = scratch("compaction-close");
    let log = Log::open(&dir, &options()).unwrap();
    for n in 0..900 {
        append(&log, n, How { sync: Some(false), no_wait: false }).unwrap();
    }
    log.roll().unwrap();
    let (begun, begins) = mpsc::channel();
    let inside = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let compaction = scope.spawn(|| {
            let mut asked = 0;
            let result = log.compact(&ALL, &mut |_| {
                asked += 1;
                if asked == 1 {
                    let busy = log.compact(&ALL, &mut |_| true).map_err(|error| error.code);
                    assert_eq!(busy, Err(Code::Busy));
                    begun.send(()).unwrap();
                    // Until close has begun, and a while longer.
                    while log.sync(0).is_ok() {
                        std::thread::yield_now();
                    }
                    (0..20_000).for_each(|_| std::thread::yield_now());
                    inside.store(false, Ordering::SeqCst);
                }
                false
            });
            (result.map_err(|error| error.code), asked)
        });
        begins.recv().unwrap();
        log.close().unwrap();
        assert!(!inside.load(Ordering::SeqCst), "closed while a compaction may still change a name");
        // Nothing of it is left in the directory, which may be another's now.
        let next = Log::open(&dir, &options()).unwrap();
        let (result, asked) = compaction.join().unwrap();
        assert!(result == Err(Code::Closed) && asked < 900, "{result:?} after {asked}");
        assert_eq!(next.report().records, 900);
        assert_eq!(follow(&mut next.iter(0).unwrap(), &AtomicBool::new(true)).len(), 300);
    });
    assert_eq!(compact(&log).map_err(|error| error.code), Err(Code::Closed));
}

/// Only a segment that has a successor is compacted: where such a one is the newest, and is named as the newest is, the
/// newer ones are gone.
#[test]
fn the_loss_of_all_that_is_newer_than_a_compacted_segment_is_told() {
    let dir = scratch("compaction-newest");
    let log = Log::open(&dir, &options()).unwrap();
    for n in 0..100 {
        append(&log, n, How::default()).unwrap();
    }
    log.roll().unwrap();
    assert!(compact(&log).unwrap().segments > 0);
    let segments = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> = entries
            .filter(|path| path.extension().is_some_and(|state| state == "sealed" || state == "active"))
            .collect();
        segments.sort();
        segments
    };
    let before = segments();
    let compacted = before.iter().rfind(|path| path.extension().unwrap() == "sealed").unwrap();
    let kept = follow(&mut log.iter(0).unwrap(), &AtomicBool::new(true));
    for n in 100..200 {
        append(&log, n, How::default()).unwrap();
    }
    log.close().unwrap();
    let newer = segments();
    newer.iter().filter(|path| *path > compacted).for_each(|path| std::fs::remove_file(path).unwrap());
    std::fs::rename(compacted, compacted.with_extension("active")).unwrap();

    let lost = "the newest segment was compacted, which only older ones are: a newer one was lost";
    let refused = Log::open(&dir, &options()).map(drop).unwrap_err();
    assert_eq!((refused.code, &*refused.text), (Code::Corrupt, lost));
    let mut found = Vec::new();
    let verified = twal::verify(&dir, &options(), &mut |finding| {
        found.push((finding.kind, finding.acknowledged, finding.text.to_string()));
        true
    });
    assert_eq!(verified.unwrap().damaged, 1);
    assert_eq!(found, [(FindingKind::Name, Acknowledged::Yes, lost.to_owned())]);
    // What is there can be read, and then the reader is told.
    let reader = Log::open(&dir, &Options { read_only: true, ..options() }).unwrap();
    let mut iter = reader.iter(0).unwrap();
    let mut seen = BTreeSet::new();
    let told = loop {
        match iter.next_record() {
            Ok(Some(record)) => seen.insert(record.seq),
            Ok(None) => panic!("the end, and nothing is told"),
            Err(error) => break error,
        };
    };
    assert_eq!((told.code, &*told.text), (Code::Corrupt, lost));
    assert_eq!(seen, kept);
    drop((iter, reader));

    let mut repair = Repair::plan(&dir, &options()).unwrap();
    let steps: Vec<_> = repair.steps().iter().map(|step| (step.kind, step.acknowledged)).collect();
    assert_eq!(steps, [(StepKind::Begin, Acknowledged::Yes)]);
    let backup = scratch("compaction-newest-backup");
    assert_eq!(repair.apply(&backup, false).map_err(|error| error.code).err(), Some(Code::State));
    drop(repair);
    Repair::plan(&dir, &options()).unwrap().apply(&backup, true).unwrap();
    assert_eq!(twal::verify(&dir, &options(), &mut |_| true).unwrap().damaged, 0);
    let log = Log::open(&dir, &options()).unwrap();
    assert_eq!(follow(&mut log.iter(0).unwrap(), &AtomicBool::new(true)), kept);
    log.close().unwrap();
}

#[test]
fn who_may_not_compact_is_told() {
    let dir = scratch("compaction-refused");
    let log = Log::open(&dir, &options()).unwrap();
    append(&log, 0, How::default()).unwrap();
    assert_eq!(compact(&log).unwrap(), Compacted::default(), "nothing is sealed");
    let reader = Log::open(&dir, &Options { read_only: true, ..options() }).unwrap();
    assert_eq!(compact(&reader).map_err(|error| error.code), Err(Code::ReadOnly));
}
