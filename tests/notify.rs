//! Goal: whoever is told without waiting is told exactly once, whatever becomes
//! of the log: a failed write, a closure that panics, a last handle that goes
//! inside a closure, no threads.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::{Code, Done, Durability, Entry, How, Log, Options};

/// What a closure heard: what it was told of, the number, and Ok or the code.
type Told = (&'static str, u64, Result<(), Code>);

const PATIENCE: Duration = Duration::from_secs(60);

fn entry(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false }
}

/// Nothing goes out but what is asked for.
fn open(threads: Threads) -> (Log, Arc<SimDisk>, Clock) {
    let clock = if threads == Threads::Own { Clock::real() } else { Clock::simulated() };
    let disk = SimDisk::new(1).with_clock(clock.clone());
    let options = Options {
        durability: Some(Durability::Group),
        batch_records: 1_000_000,
        batch_delay_us: 3_600_000_000,
        flush_interval_ms: 3_600_000,
        idle_mark_us: 3_600_000_000,
        ..Options::default()
    };
    let log = Log::open_on(disk.as_ref(), Path::new("/log"), &options, clock.clone(), threads).unwrap();
    (log, disk, clock)
}

/// Lets the log work: its own threads do, or this one does it for them.
fn pass(log: &Log, threads: Threads) {
    match threads {
        Threads::Own => std::thread::yield_now(),
        Threads::None => log.tick(),
    }
}

fn note(what: &'static str, told: &Sender<Told>) -> Option<Done> {
    let told = told.clone();
    Some(Done::new(move |seq, result| told.send((what, seq, result.map_err(|error| error.code))).unwrap()))
}

fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(PATIENCE).expect("somebody is told in time")
}

/// Reads the eventfd; how often it was made readable since.
fn drain(eventfd: &OwnedFd) -> u64 {
    let mut times = [0; 8];
    nix::unistd::read(eventfd, &mut times).map_or(0, |_| u64::from_ne_bytes(times))
}

#[test]
fn a_failed_write_is_told_to_all_and_once() {
    for threads in [Threads::Own, Threads::None] {
        let (log, disk, _) = open(threads);
        let eventfd = log.eventfd().unwrap();
        let (tell, told) = channel();
        let marks = log.stats().marks;
        log.append(&entry(b"durable"), How { sync: Some(true), no_wait: false }).unwrap();
        assert_eq!(drain(&eventfd), 1);
        // The mark that follows a flush must not be what fails.
        while log.stats().marks == marks {
            pass(&log, threads);
        }
        for data in [b"one", b"two"] {
            log.append(&entry(data), How::default()).unwrap();
        }
        disk.fail_from(Some(CallKind::Write), 0, libc::EIO);
        log.sync_async(2, note("lost", &tell)).unwrap();
        // Perhaps it has failed by now: then this is refused, and not called.
        let second = log.sync_async(3, note("lost too", &tell));
        assert!(second.as_ref().is_ok() || second.as_ref().is_err_and(|error| error.code == Code::Poisoned));
        pass(&log, threads);
        assert_eq!(next(&told), ("lost", 2, Err(Code::Io)));
        if second.is_ok() {
            assert_eq!(next(&told), ("lost too", 3, Err(Code::Io)));
        }
        assert_eq!(log.sync_async(3, note("late", &tell)).unwrap_err().code, Code::Poisoned);
        // Who tells the eventfd may be another thread than who calls, and come later.
        let deadline = Instant::now() + PATIENCE;
        let mut times = drain(&eventfd);
        while times == 0 {
            assert!(Instant::now() < deadline, "the failure is told");
            std::thread::yield_now();
            times = drain(&eventfd);
        }
        assert_eq!(log.eventfd().unwrap_err().code, Code::Poisoned);
        assert_eq!(log.close().unwrap_err().code, Code::Poisoned);
        // Whoever else met the failure has done so by now.
        assert_eq!(times + drain(&eventfd), 2, "the failure is told once, and the close");
        drop((log, tell));
        assert!(told.recv().is_err(), "nothing is told twice");
    }
}

#[test]
fn without_threads_whoever_waits_calls() {
    let (log, _, _) = open(Threads::None);
    let (tell, told) = channel();
    for n in 1..=4u64 {
        log.append(&entry(b"data"), How::default()).unwrap();
        log.sync_async(n, note("one", &tell)).unwrap();
        // Already durable or not: never inside the call.
        assert!(told.try_recv().is_err());
        match n {
            1 => log.tick(),
            2 => log.sync(0).unwrap(),
            3 => log.wait(3, None).unwrap(),
            _ => log.close().unwrap(),
        }
        // A sync that had nothing to wait for has called nobody.
        assert!(n == 4 || log.durable_seq() == n);
        if n < 4 {
            log.tick();
        }
        assert_eq!(told.try_recv(), Ok(("one", n, Ok(()))));
    }
    assert_eq!(log.sync_async(1, note("late", &tell)).unwrap_err().code, Code::Closed);
    drop((log, tell));
    assert!(told.recv().is_err());
}

/// Lower numbers first, those of one number as they came.
#[test]
fn they_are_called_in_order() {
    let (log, _, _) = open(Threads::None);
    let (tell, told) = channel();
    for _ in 0..3 {
        log.append(&entry(b"data"), How::default()).unwrap();
    }
    for (seq, what) in [(3, "e"), (1, "a"), (2, "c"), (1, "b"), (2, "d"), (3, "f")] {
        log.sync_async(seq, note(what, &tell)).unwrap();
    }
    log.tick();
    let heard: String = told.try_iter().map(|(what, _, _)| what).collect();
    assert_eq!(heard, "abcdef");
    log.close().unwrap();
}

/// What a program's own bug does to its log is known, and the others hear of it.
#[test]
fn a_closure_that_panics_poisons_and_the_others_are_told() {
    let (log, _, _) = open(Threads::Own);
    let (tell, told) = channel();
    let (go, wait) = channel::<()>();
    for _ in 0..3 {
        log.append(&entry(b"data"), How::default()).unwrap();
    }
    let bad = move |_, _| {
        wait.recv().unwrap();
        panic!("on purpose");
    };
    log.sync_async(1, Some(Done::new(bad))).unwrap();
    log.sync_async(2, note("durable", &tell)).unwrap();
    log.wait(2, None).unwrap();
    go.send(()).unwrap();
    assert_eq!(next(&told), ("durable", 2, Ok(())));
    let later = log.append(&entry(b"later"), How::default());
    assert_eq!(later.unwrap_err().code, Code::Poisoned);
    assert!(log.close().is_err());
}

#[test]
fn a_closure_cannot_close_and_may_hold_the_last_handle() {
    let (log, disk, _) = open(Threads::Own);
    let (tell, told) = channel();
    log.append(&entry(b"data"), How::default()).unwrap();
    let (go, wait) = channel::<()>();
    let (held, tell_inside) = (log.clone(), tell.clone());
    let last = move |seq, result: Result<(), twal::Error>| {
        wait.recv().unwrap();
        result.unwrap();
        assert_eq!(held.close().unwrap_err().code, Code::State);
        // An append that waits works here, and a registration too.
        let seq = held.append(&entry(b"more"), How { sync: Some(true), no_wait: false }).unwrap() + seq;
        held.sync_async(0, note("behind", &tell_inside)).unwrap();
        tell_inside.send(("inside", seq, Ok(()))).unwrap();
    };
    log.sync_async(1, Some(Done::new(last))).unwrap();
    drop(log);
    go.send(()).unwrap();
    assert_eq!(next(&told), ("inside", 3, Ok(())));
    assert_eq!(next(&told), ("behind", 2, Ok(())));
    drop(tell);
    // The thread is done when nobody is left to tell.
    assert!(told.recv().is_err());
    let options = Options { durability: Some(Durability::Sync), ..Options::default() };
    let log = Log::open_on(disk.as_ref(), Path::new("/log"), &options, Clock::real(), Threads::Own).unwrap();
    assert_eq!(log.last_seq(), 2);
    log.close().unwrap();
}
