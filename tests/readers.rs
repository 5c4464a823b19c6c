//! Goal: readers never keep a writer from opening the log; one that reads for long reads ahead, and right.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use twal::{Entry, How, Log, Options};

fn dir(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn readers_that_poll_do_not_lock_a_writer_out() {
    let dir = dir("polled");
    let options = Options { segment_size: 1 << 20, allow_any_fs: true, ..Options::default() };
    let entry = Entry { data: b"polled", stream: 0, timestamp: None, kind: 0x0100, required: false };
    let log = Log::open(&dir, &options).unwrap();
    for _ in 0..20 {
        log.append(&entry, How::default()).unwrap();
    }
    log.close().unwrap();

    let (polling, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let opened = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reader = Log::open(&dir, &Options { read_only: true, ..options.clone() }).unwrap();
                let mut iter = reader.iter(0).unwrap();
                while !done.load(Ordering::Relaxed) {
                    polling.fetch_or(iter.next_record().unwrap().is_none(), Ordering::Relaxed);
                }
            });
        }
        while !polling.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let opened = Log::open(&dir, &options);
        done.store(true, Ordering::Relaxed);
        opened
    });
    let log = opened.unwrap();
    assert_eq!(log.append(&entry, How::default()), Ok(21));
    log.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

fn threads_named(name: &str) -> usize {
    let of = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(of).filter(|comm| comm.trim() == name).count()
}

/// Record `seq`: its length and its bytes follow from the number.
fn payload(seq: u64) -> Vec<u8> {
    let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let len = match mixed % 16 {
        0 => 0,
        1 => 300_000 + mixed % 100_000,
        // Behind a frame that is longer than a piece it is a while until pieces are read ahead again.
        2 if seq.is_multiple_of(5) => 2_500_000,
        _ => mixed % 20_000,
    };
    (0..len).map(|at| (mixed.wrapping_add(at * at) >> 3) as u8).collect()
}

#[test]
fn a_long_reading_is_done_ahead_and_is_right() {
    let mut reading = 0;
    let dir = dir("ahead");
    let options = Options { segment_size: 16 << 20, allow_any_fs: true, ..Options::default() };
    let log = Log::open(&dir, &options).unwrap();
    let count = 800;
    for seq in 1..=count {
        let data = payload(seq);
        let entry = Entry { data: &data, stream: seq, timestamp: None, kind: 0x0100, required: false };
        // Frames of one record, of several, and some that begin in the middle of a piece.
        let how = How { sync: Some(seq % 5 == 0), no_wait: false };
        assert_eq!(log.append(&entry, how), Ok(seq));
    }
    log.sync(0).unwrap();
    for (reader, from) in
        [(&log, 0), (&log, 37), (&Log::open(&dir, &Options { read_only: true, ..options }).unwrap(), 0)]
    {
        // What a mark has to witness first is not here yet.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut iter = reader.iter(from).unwrap();
        let mut next = from.max(1);
        while next <= count {
            match iter.next_record().unwrap() {
                Some(record) => {
                    assert!(record.seq == next && record.data == payload(next), "record {} for {next}", record.seq);
                    next += 1;
                }
                None => assert!(std::time::Instant::now() < deadline, "the reader ends at {next}"),
            }
            reading = reading.max(threads_named("twal-read-ahead"));
        }
        drop(iter);
        // The kernel lists a thread that has been joined for a moment more.
        while threads_named("twal-read-ahead") > 0 {
            assert!(std::time::Instant::now() < deadline, "the thread ends with its reader");
            std::thread::yield_now();
        }
    }
    assert_eq!(reading, 1, "nothing was read ahead");
    log.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Bytes that this thread has read, from files of any kind.
fn read_so_far() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

#[test]
fn who_follows_the_end_reads_little_more_than_what_is_new() {
    const RECORDS: u64 = 200;
    let dir = dir("followed");
    let options = Options { segment_size: 4 << 20, allow_any_fs: true, ..Options::default() };
    let entry = Entry { data: b"followed", stream: 0, timestamp: None, kind: 0x0100, required: false };
    let log = Log::open(&dir, &options).unwrap();
    let mut iter = log.iter(0).unwrap();
    let mut read = 0;
    for seq in 1..=RECORDS {
        log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
        let Some(before) = read_so_far() else { return println!("skipped: /proc says not what was read") };
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
        read += read_so_far().unwrap() - before;
    }
    // A block that is new, and some that are not there yet.
    assert!(read < RECORDS * (32 << 10), "{} bytes a record", read / RECORDS);
    log.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
