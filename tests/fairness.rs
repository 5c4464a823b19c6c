//! Goal: whoever needs much of the ring gets it while others go on taking little; and whoever has reserved some of it can
//! still append while somebody else waits for that.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use twal::{Code, Durability, Entry, How, Log, Options};

const RING: u64 = 64 << 10;
/// Room for it is in the ring only when next to nothing else is.
const LARGE: usize = 50_000;
const SMALL: [u8; 100] = [7; 100];

/// On a real disk: a simulated one is so fast that the ring is empty all the time.
fn open(name: &str, durability: Durability, append_timeout_us: u64) -> Log {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fairness-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    let options = Options {
        durability: Some(durability),
        ring_size: RING,
        segment_size: 1 << 20,
        append_timeout_us,
        allow_any_fs: true,
        allow_buffered: true,
        ..Options::default()
    };
    Log::open(&dir, &options).unwrap()
}

fn entry(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false }
}

/// By an append, and by a reservation that is committed at once.
fn append_large(log: &Log, reserved: bool) -> u64 {
    if !reserved {
        return log.append(&entry(&[1; LARGE]), How::default()).unwrap();
    }
    let mut room = log.reserve(&entry(b""), LARGE, How::default()).unwrap();
    room.data().fill(1);
    room.commit(LARGE).unwrap()
}

#[test]
fn a_large_record_gets_its_room_beside_small_ones() {
    // So many may pass it by, all together: they take seconds.
    const SMALL_MAX: u64 = 100_000;
    for durability in [Durability::Async, Durability::Group] {
        for reserved in [false, true] {
            let log = open("large", durability, 0);
            let done = AtomicBool::new(false);
            let (passed_by, last) = std::thread::scope(|scope| {
                let flood = |_| {
                    scope.spawn(|| {
                        let mut count = 0;
                        while count < SMALL_MAX && !done.load(Ordering::Relaxed) {
                            log.append(&entry(&SMALL), How { sync: Some(false), no_wait: false }).unwrap();
                            count += 1;
                        }
                        count
                    })
                };
                let floods: Vec<_> = (0..8).map(flood).collect();
                let last = (0..5).fold(0, |_, _| append_large(&log, reserved));
                done.store(true, Ordering::Relaxed);
                let counts: Vec<u64> = floods.into_iter().map(|flood| flood.join().unwrap()).collect();
                (counts, last)
            });
            assert!(passed_by.iter().all(|count| *count < SMALL_MAX), "{durability:?}: {passed_by:?} passed it by");
            log.sync(last).unwrap();
            log.close().unwrap();
        }
    }
}

#[test]
fn who_has_reserved_room_can_append_while_somebody_waits_for_it() {
    let log = open("reserved", Durability::Async, 0);
    let mut room = log.reserve(&entry(b""), 30_000, How::default()).unwrap();
    std::thread::scope(|scope| {
        let large = scope.spawn(|| append_large(&log, false));
        // More than often enough for the large one to have lost its patience.
        let mut last = 0;
        for _ in 0..20_000 {
            last = log.append(&entry(&SMALL), How::default()).unwrap();
        }
        assert!(!large.is_finished());
        room.data().fill(2);
        assert_eq!(room.commit(30_000).unwrap(), last + 1);
        assert_eq!(large.join().unwrap(), last + 2);
    });
    assert!(log.stats().ring_waits > 0);
    log.close().unwrap();
}

/// Whoever gives up lets the others go on.
#[test]
fn a_large_record_that_is_not_waited_for_any_longer_stops_nobody() {
    let log = open("given-up", Durability::Async, Duration::from_millis(50).as_micros().try_into().unwrap());
    let room = log.reserve(&entry(b""), 30_000, How::default()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            for _ in 0..5 {
                let refused = log.append(&entry(&[1; LARGE]), How::default()).unwrap_err();
                assert_eq!(refused.code, Code::Timeout);
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            match log.append(&entry(&SMALL), How::default()) {
                // A thread may stall for as long as that.
                Err(error) if error.code == Code::Timeout => {}
                appended => drop(appended.unwrap()),
            }
        }
        large.join().unwrap();
    });
    drop(room);
    append_large(&log, false);
    log.close().unwrap();
}
