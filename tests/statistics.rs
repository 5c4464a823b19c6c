//! Goal: what is measured is what passed, to the nanosecond, and what is counted is what happened.
//! Method: a simulated disk and clock, so that every time is known before.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::txn::{Manager, ManagerOptions, SagaSpec};
use twal::{Code, Durability, Entry, How, Log, Measured, Options};

const MS: u64 = 1_000_000;

fn entry(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false }
}

fn open(options: &Options) -> (Log, Arc<SimDisk>, Clock) {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    let log = Log::open_on(&*disk, Path::new("/log"), options, clock.clone(), Threads::None).unwrap();
    (log, disk, clock)
}

/// Of a histogram: how many, their sum, the highest.
fn seen(log: &Log, measured: Measured) -> (u64, u64, u64) {
    let got = log.histogram(measured);
    (got.count, got.sum, got.max)
}

#[test]
fn times_are_what_the_clock_says() {
    let (log, disk, clock) = open(&Options {
        durability: Some(Durability::Async),
        flush_interval_ms: 60_000,
        idle_mark_us: 3_600_000_000,
        ..Options::default()
    });
    let (opened, open_flushes) = (log.stats(), seen(&log, Measured::Flush));
    assert_eq!((opened.device_busy_ns, seen(&log, Measured::Append)), (0, (0, 0, 0)));
    for _ in 0..3 {
        log.append(&entry(&[7; 100]), How::default()).unwrap();
    }
    let queued = log.stats();
    assert_eq!((queued.queue_records, queued.frames_in_flight, queued.ring_bytes > 300), (3, 0, true));
    // Written a millisecond after the first of them, flushed when the sync asks for it, which takes 7 ms.
    clock.pass(Duration::from_millis(5));
    log.tick();
    let written = log.stats();
    assert_eq!((written.queue_records, written.queue_bytes, written.ring_bytes), (3, 4096, 0));
    assert_eq!(seen(&log, Measured::QueueWait), (1, 5 * MS, 5 * MS));
    assert_eq!(seen(&log, Measured::FrameRecords), (1, 3, 3));
    assert_eq!(seen(&log, Measured::FrameBytes), (1, 4096, 4096));
    assert_eq!(seen(&log, Measured::Flush), open_flushes);
    let slow = clock.clone();
    disk.behind_next_flush(Box::new(move || slow.pass(Duration::from_millis(7))));
    log.sync(0).unwrap();
    let (count, sum, max) = seen(&log, Measured::Flush);
    assert_eq!((sum, max), (7 * MS, 7 * MS));
    let stats = log.stats();
    assert_eq!((count, stats.queue_records, stats.queue_bytes), (stats.flushes, 0, 0));
    assert_eq!((stats.device_busy_ns, stats.elapsed_ns), (7 * MS, opened.elapsed_ns + 12 * MS));
    assert_eq!(
        (stats.durable_waits, seen(&log, Measured::Append)),
        (1, (0, 0, 0)),
        "nothing is measured of who does not wait"
    );
    log.append(&entry(&[7; 100]), How { sync: Some(true), no_wait: false }).unwrap();
    assert_eq!((log.stats().durable_waits, log.histogram(Measured::Append).count), (2, 1));
    log.close().unwrap();
}

/// What it has, not what was asked for.
#[test]
fn the_rings_size_is_told() {
    for (asked, has) in [(1, 4096), (8192, 8192), (8193, 12288)] {
        let (log, _, _) = open(&Options { ring_size: asked, ..Options::default() });
        assert_eq!(log.stats().ring_size, has);
        log.close().unwrap();
    }
}

/// Each kind of refusal has its own counter, and a batch is refused once.
#[test]
fn refusals_are_counted_by_why() {
    let small = Options { ring_size: 64 << 10, segment_size: 64 << 10, ..Options::default() };
    let (log, disk, _) = open(&Options { durability: Some(Durability::Async), append_timeout_us: 1000, ..small });
    let refusals = |log: &Log| {
        let stats = log.stats();
        let [again, timeout, nospace] = [stats.refused_again, stats.refused_timeout, stats.refused_nospace];
        [again, timeout, nospace, stats.refused_poisoned, stats.refused_other]
    };
    let no_wait = How { sync: None, no_wait: true };
    let refused = |how| loop {
        if let Err(error) = log.append_batch([entry(&[7; 1000]); 10].into_iter(), how) {
            return error.code;
        }
    };
    assert_eq!((refused(no_wait), refusals(&log)), (Code::Again, [1, 0, 0, 0, 0]));
    disk.set_capacity(Some(disk.room_taken()));
    assert_eq!((refused(How::default()), refusals(&log)), (Code::NoSpc, [1, 0, 1, 0, 0]));
    assert!(log.stats().spare_failures > 0);
    disk.set_capacity(None);
    log.append(&entry(b""), How::default()).unwrap();
    // What no log takes, and what this one does not.
    let wrong = |log: &Log| [log.stats().refused_inval, log.stats().refused_toobig];
    assert_eq!(log.append_batch([].into_iter(), How::default()).unwrap_err().code, Code::Inval);
    assert_eq!((wrong(&log), refusals(&log)), ([1, 0], [1, 0, 1, 0, 0]));
    assert_eq!(log.append(&entry(&[7; 64 << 10]), How::default()).unwrap_err().code, Code::TooBig);
    assert_eq!(log.reserve(&entry(b""), 64 << 10, How::default()).map(drop).unwrap_err().code, Code::TooBig);
    assert_eq!(log.reserve(&entry(b"x"), 1, How::default()).map(drop).unwrap_err().code, Code::Inval);
    assert_eq!((wrong(&log), refusals(&log)), ([2, 2], [1, 0, 1, 0, 0]));
    disk.fail_from(Some(CallKind::Write), 0, libc::EIO);
    log.sync(0).unwrap_err();
    for poisoned in 1..=3 {
        assert_eq!((refused(no_wait), refusals(&log)), (Code::Poisoned, [1, 0, 1, poisoned, 0]));
    }
    assert!(log.stats().poisoned);
    log.close().unwrap_err();
}

/// What transaction managers do is counted by the log, over all of them, and by each for itself.
#[test]
fn a_log_counts_what_its_managers_do() {
    let (log, _, _) = open(&Options::default());
    let options = ManagerOptions { checkpoint_interval: u64::MAX, ..ManagerOptions::default() };
    let counted = |log: &Log| {
        let stats = log.stats();
        [stats.saga_events, stats.transaction_events, stats.stream_events, stats.checkpoints]
    };
    let mut before = [0; 4];
    for life in 1..=3 {
        let (manager, _) = Manager::recover(&log, &options).unwrap();
        // The first recovery writes a checkpoint.
        let checkpoints = u64::from(life == 1);
        let saga = manager.saga_create(&SagaSpec { start: true, ..SagaSpec::default() }).unwrap();
        manager.saga_aborted(saga.id, None).unwrap();
        let counts = manager.counts().unwrap();
        let mine = [counts.saga_events, counts.transaction_events, counts.stream_events, counts.checkpoints];
        assert!(counts.saga_events >= 2 && counts.checkpoints == checkpoints, "{mine:?}");
        let now = counted(&log);
        assert_eq!(now, [0, 1, 2, 3].map(|at| before[at] + mine[at]), "life {life}");
        before = now;
        drop(manager);
        assert_eq!(counted(&log), before);
    }
    log.close().unwrap();
}
