//! Goal: who waits for records gets them when they may be delivered, and no wait outlasts its time, the log, or damage.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::disk::{Access, Disk, LockByte, LockKind};
use twal::{Code, Durability, Entry, How, IterOptions, Log, Options};

const MS: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn open(disk: &Arc<SimDisk>, clock: &Clock, threads: Threads, read_only: bool) -> Log {
    let options = Options { durability: Some(Durability::Group), batch_delay_us: 2000, ..Options::default() };
    let options = Options { read_only, block_size: 4096, segment_size: 1 << 20, ..options };
    Log::open_on(disk.as_ref(), Path::new("log"), &options, clock.clone(), threads).unwrap()
}

fn simulated() -> (Arc<SimDisk>, Clock) {
    let clock = Clock::simulated();
    (SimDisk::new(1).with_clock(clock.clone()), clock)
}

fn append(log: &Log, sync: Option<bool>) -> u64 {
    let entry = Entry { data: &[7; 100], stream: 0, timestamp: None, kind: 0x0100, required: false };
    log.append(&entry, How { sync, no_wait: false }).unwrap()
}

/// The number of the next record, or why there is none; None: none is wanted any more.
fn wait(iter: &mut twal::Iter, timeout_ns: Option<u64>) -> Result<Option<u64>, Code> {
    iter.wait_record(timeout_ns).map(|record| record.map(|record| record.seq)).map_err(|error| error.code)
}

#[test]
fn in_the_writers_process_durability_ends_the_wait_or_its_time_does() {
    let (disk, clock) = simulated();
    let log = open(&disk, &clock, Threads::None, false);
    let mut iter = log.iter(0).unwrap();
    let before = clock.now_ns();
    assert_eq!(wait(&mut iter, Some(5 * MS)), Err(Code::Timeout));
    assert_eq!(clock.now_ns() - before, 5 * MS);
    // Accepted: durable when the batch is old enough.
    let before = clock.now_ns();
    append(&log, None);
    assert_eq!(wait(&mut iter, Some(MS)), Err(Code::Timeout));
    assert_eq!(wait(&mut iter, None), Ok(Some(1)));
    assert!((MS..=3 * MS).contains(&(clock.now_ns() - before)));
    assert_eq!(log.durable_seq(), 1);
    assert_eq!(wait(&mut iter, Some(0)), Err(Code::Timeout));
    // Where the bound is reached there is nothing to wait for.
    for options in [IterOptions { until_seq: 1, ..Default::default() }, IterOptions { limit: 1, ..Default::default() }]
    {
        let mut iter = log.iter_with(options).unwrap();
        assert_eq!(
            [wait(&mut iter, None), wait(&mut iter, None), wait(&mut iter, None)],
            [Ok(Some(1)), Ok(None), Ok(None)]
        );
    }
    log.close().unwrap();
    assert_eq!(wait(&mut iter, None), Err(Code::Closed));
}

/// Records that are left out do not end a wait, and do not make it spin.
#[test]
fn a_filter_waits_for_what_it_lets_through() {
    let (disk, clock) = simulated();
    let log = open(&disk, &clock, Threads::None, false);
    let only = |stream| IterOptions { streams: Some(vec![stream]), ..IterOptions::default() };
    let (mut all, mut none) = (log.iter_with(only(0)).unwrap(), log.iter_with(only(1)).unwrap());
    append(&log, Some(true));
    let before = clock.now_ns();
    assert_eq!(wait(&mut none, Some(3 * MS)), Err(Code::Timeout));
    assert_eq!(clock.now_ns() - before, 3 * MS);
    assert_eq!((none.next_seq(), wait(&mut all, None)), (2, Ok(Some(1))));
    log.close().unwrap();
}

#[test]
fn elsewhere_the_mark_ends_the_wait() {
    let (disk, clock) = simulated();
    let log = open(&disk, &clock, Threads::None, false);
    append(&log, Some(true));
    clock.pass(Duration::from_millis(11));
    log.tick();
    let reader = open(&disk, &clock, Threads::None, true);
    let mut iter = reader.iter(0).unwrap();
    assert_eq!(wait(&mut iter, None), Ok(Some(1)));
    append(&log, Some(true));
    // What no frame has told of yet is not delivered.
    let before = clock.now_ns();
    assert_eq!(wait(&mut iter, Some(50 * MS)), Err(Code::Timeout));
    assert_eq!(clock.now_ns() - before, 50 * MS);
    log.tick();
    assert_eq!(wait(&mut iter, Some(0)), Ok(Some(2)));
    // Nothing comes: looks get rare, every quarter of the idle mark, and each is one read of the end.
    let (reads, before) = (disk.counts().of(CallKind::Read), clock.now_ns());
    assert_eq!(wait(&mut iter, Some(500 * MS)), Err(Code::Timeout));
    let looks = disk.counts().of(CallKind::Read) - reads;
    assert_eq!(clock.now_ns() - before, 500 * MS);
    assert!((200..=210).contains(&looks), "{looks} reads in 500 ms");
    reader.close().unwrap();
    assert_eq!(wait(&mut iter, None), Err(Code::Closed));
    log.close().unwrap();
}

#[test]
fn elsewhere_damage_ends_the_wait() {
    let (disk, clock) = simulated();
    let log = open(&disk, &clock, Threads::None, false);
    for seq in 1..=3 {
        assert_eq!(append(&log, Some(true)), seq);
    }
    log.close().unwrap();
    let name = disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let reader = open(&disk, &clock, Threads::None, true);
    let mut iter = reader.iter(0).unwrap();
    assert_eq!(wait(&mut iter, None), Ok(Some(1)));
    let third = disk.content(&name).unwrap().windows(100).rposition(|bytes| bytes == [7; 100]).unwrap() as u64;
    disk.flip_bit(&name, third + 50, 2);
    let mut fresh = reader.iter(0).unwrap();
    assert_eq!([wait(&mut fresh, None), wait(&mut fresh, None)], [Ok(Some(1)), Ok(Some(2))]);
    assert_eq!([wait(&mut fresh, None), wait(&mut fresh, None)], [Err(Code::Corrupt); 2]);
}

/// Threads that watch are counted in the whole process: the tests that start some take turns.
static WATCHING: Mutex<()> = Mutex::new(());

fn threads_named(name: &str) -> usize {
    let of = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(of).filter(|comm| comm.trim() == name).count()
}

/// An eventfd of a reader: told of what comes, once more at the close; its thread ends.
#[test]
fn an_eventfd_elsewhere_is_told_and_its_thread_ends() {
    let _turn = WATCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let clock = Clock::real();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    let log = open(&disk, &clock, Threads::Own, false);
    append(&log, Some(true));
    let reader = open(&disk, &clock, Threads::Own, true);
    let eventfds: Vec<_> = (0..3).map(|_| reader.eventfd().unwrap()).collect();
    let told = |fd: &std::os::fd::OwnedFd| {
        let mut times = [0; 8];
        nix::unistd::read(fd, &mut times).is_ok()
    };
    for _ in 0..5 {
        let seq = append(&log, Some(true));
        let deadline = std::time::Instant::now() + PATIENCE;
        for fd in &eventfds {
            let mut heard = false;
            while !heard || reader.durable_seq() < seq {
                heard |= told(fd);
                assert!(std::time::Instant::now() < deadline, "{seq} is not there, or nobody was told");
                std::thread::yield_now();
            }
        }
    }
    // A thread has its name, and is gone, a moment later than it says.
    let watching = |wanted: usize| {
        let deadline = std::time::Instant::now() + PATIENCE;
        while threads_named("twal-watch") != wanted {
            assert!(std::time::Instant::now() < deadline, "{} threads, not {wanted}", threads_named("twal-watch"));
            std::thread::yield_now();
        }
    };
    watching(1);
    eventfds.iter().for_each(|fd| while told(fd) {});
    reader.close().unwrap();
    watching(0);
    assert!(eventfds.iter().all(told), "the close is told");
    assert_eq!(reader.eventfd().unwrap_err().code, Code::Closed);
    // One that is dropped and not closed ends too.
    let reader = open(&disk, &clock, Threads::Own, true);
    let eventfd = reader.eventfd().unwrap();
    watching(1);
    drop(reader);
    watching(0);
    assert!(told(&eventfd));
    log.close().unwrap();
}

/// One made after the damage was told: its thread is gone by then.
#[test]
fn a_late_eventfd_is_told_of_damage_too() {
    let _turn = WATCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let clock = Clock::real();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    let log = open(&disk, &clock, Threads::Own, false);
    for seq in 1..=3 {
        assert_eq!(append(&log, Some(true)), seq);
    }
    log.close().unwrap();
    let name = disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let content = disk.content(&name).unwrap();
    // By what it holds: on a busy machine idle marks stand between the records.
    let mut records = content.windows(100).enumerate().filter(|(_, bytes)| *bytes == [7; 100]);
    let (second, _) = records.nth(1).unwrap();
    disk.flip_bit(&name, second as u64 + 50, 2);
    let reader = open(&disk, &clock, Threads::Own, true);
    for _ in 0..3 {
        let eventfd = reader.eventfd().unwrap();
        let deadline = std::time::Instant::now() + PATIENCE;
        while nix::unistd::read(&eventfd, &mut [0; 8]).is_err() {
            assert!(std::time::Instant::now() < deadline, "nobody was told");
            std::thread::yield_now();
        }
    }
    reader.close().unwrap();
}

/// One record a segment, of which one is kept that is released; nothing goes out before it is asked for.
fn open_small(disk: &Arc<SimDisk>, clock: &Clock) -> Log {
    let options = Options {
        durability: Some(Durability::Group),
        batch_records: 1_000_000,
        batch_delay_us: 3_600_000_000,
        block_size: 4096,
        segment_size: 64 << 10,
        segment_records_max: 1,
        max_retained_segments: 1,
        spares: 8,
        ..Options::default()
    };
    Log::open_on(disk.as_ref(), Path::new("log"), &options, clock.clone(), Threads::None).unwrap()
}

/// When it was made, the record that it begins with was in no segment yet: those in front may go before it has come.
#[test]
fn a_reader_that_began_in_front_of_its_segment_needs_none_before_it() {
    let (disk, clock) = simulated();
    let log = open_small(&disk, &clock);
    for _ in 0..3 {
        append(&log, Some(true));
    }
    // Spares enough for all that is accepted next.
    (0..10).for_each(|_| log.tick());
    for _ in 0..5 {
        append(&log, None);
    }
    assert_eq!((log.durable_seq(), log.last_seq()), (3, 8));
    let mut iters: Vec<_> = (4..=9).map(|seq| log.iter(seq).unwrap()).collect();
    append(&log, None);
    log.sync(0).unwrap();
    log.trim(8).unwrap();
    log.tick();
    assert_eq!(log.first_seq(), 8);
    assert!(!disk.names().iter().any(|name| name.contains("-0000000000000005-")), "{:?}", disk.names());
    for (iter, seq) in iters.iter_mut().zip(4..) {
        let next = iter.next_record().map(|record| record.map(|record| record.seq)).map_err(|error| error.code);
        assert!(next == Ok(Some(seq)) || (seq < 8 && next == Err(Code::Trimmed)), "from {seq}: {next:?}");
    }
    log.close().unwrap();
}

/// A segment has its name a moment before readers are let in.
#[test]
fn a_reader_may_begin_while_its_segment_does() {
    let (disk, clock) = simulated();
    let log = open_small(&disk, &clock);
    for _ in 0..3 {
        append(&log, Some(true));
    }
    let newest = disk.names().into_iter().filter(|name| name.ends_with(".active")).max().unwrap();
    // As the writer does until the roll is done.
    let file = disk.open_dir(Path::new("log"), false).unwrap().open(&newest, Access::Write).unwrap();
    assert!(file.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap());
    let mut iters = [log.iter(3).unwrap(), log.iter(4).unwrap()];
    assert!(iters.iter_mut().all(|iter| iter.next_record().unwrap().is_none()));
    file.unlock(LockByte::Reader).unwrap();
    append(&log, Some(true));
    for (iter, seq) in iters.iter_mut().zip([3, 4]) {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
    }
    log.close().unwrap();
}
