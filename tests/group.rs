//! Goal: GROUP's two promises: nothing is written before a batch is full or old
//! enough, and what was accepted is durable when it is old enough.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::{Code, Durability, Entry, How, Log, Options};

fn entry(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false }
}

fn open(options: Options) -> (Log, Clock) {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    let options = Options { durability: Some(Durability::Group), ..options };
    let log = Log::open_on(&*disk, Path::new("/log"), &options, clock.clone(), Threads::None).unwrap();
    (log, clock)
}

/// A batch larger than a frame (1 MiB) still waits for its time.
#[test]
fn a_batch_of_several_frames_waits_as_one() {
    let options = Options { batch_records: 1_000_000, batch_delay_us: 3_000_000, ..Options::default() };
    let (log, clock) = open(Options { flush_interval_ms: 60_000, idle_mark_us: 60_000_000, ..options });
    let before = log.stats().device_bytes;
    for _ in 0..25 {
        log.append(&entry(&[7; 100_000]), How::default()).unwrap();
        log.tick();
    }
    clock.pass(Duration::from_millis(2900));
    log.tick();
    assert_eq!((log.stats().device_bytes - before, log.durable_seq()), (0, 0));
    clock.pass(Duration::from_millis(101));
    log.tick();
    assert_eq!(log.durable_seq(), 25);
    log.close().unwrap();
}

/// The number that makes a batch full counts over its frames.
#[test]
fn a_full_batch_of_several_frames_goes_out() {
    let (log, _clock) = open(Options {
        batch_records: 15,
        batch_delay_us: 60_000_000,
        flush_interval_ms: 60_000,
        ..Options::default()
    });
    for n in 1..=15 {
        assert_eq!(log.durable_seq(), 0);
        assert_eq!(log.append(&entry(&[7; 100_000]), How::default()), Ok(n));
        log.tick();
    }
    assert_eq!(log.durable_seq(), 15);
    log.close().unwrap();
}

/// A frame that was closed for a record that then found no room is durable in a batch's time.
#[test]
fn a_refused_append_does_not_put_the_batch_off() {
    let (log, clock) = open(Options {
        segment_size: 64 << 10,
        batch_records: 1_000_000,
        batch_delay_us: 100_000,
        flush_interval_ms: 60_000,
        ..Options::default()
    });
    let (mut last, mut refused) = (0, 0);
    for _ in 0..40 {
        match log.append(&entry(&[7; 20_000]), How { no_wait: true, ..How::default() }) {
            Ok(seq) => last = seq,
            Err(error) => {
                assert_eq!(error.code, Code::Again);
                refused += 1;
                break;
            }
        }
    }
    assert!(last > 0 && refused > 0);
    clock.pass(Duration::from_millis(101));
    log.tick();
    assert_eq!(log.durable_seq(), last);
    log.close().unwrap();
}
