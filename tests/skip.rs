//! Goal: a reader that passes over damage never passes over a record that only is not there yet, ends each call, and
//! counts each place once.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::path::Path;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::{Code, Entry, How, Iter, IterOptions, Log, Options};

const BLOCK: usize = 512;

/// The file as it is while frames 6 and 7 are in flight and 7 has landed first.
#[test]
fn a_frame_that_overtook_another_is_not_gone_on_with() {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    disk.set_align(BLOCK as u32, 512);
    let options = Options { block_size: BLOCK as u32, segment_size: 64 << 10, ..Options::default() };
    let log = Log::open_on(disk.as_ref(), Path::new("log"), &options, clock.clone(), Threads::None).unwrap();
    let segment = disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    for seq in 1..=7u8 {
        let entry = Entry { data: &[seq; 64], stream: 0, timestamp: None, kind: 0x0100, required: false };
        assert_eq!(log.append(&entry, How { sync: Some(seq <= 5), no_wait: false }), Ok(u64::from(seq)));
        clock.pass(Duration::from_millis(2));
        log.tick();
    }
    assert_eq!(log.durable_seq(), 5);
    let content = disk.content(&segment).unwrap();
    let block_of = |seq: u8| content.windows(64).position(|bytes| bytes == [seq; 64]).unwrap() / BLOCK * BLOCK;
    assert!(block_of(6) != block_of(7), "each has a frame of its own");
    // 5 was acknowledged, and rots; of 6 nothing has landed yet.
    disk.flip_bit(&segment, block_of(5) as u64 + 130, 1);
    let sixth = content[block_of(6)..][..BLOCK].to_vec();
    disk.overwrite(&segment, block_of(6) as u64, &[0; BLOCK]);

    let mut iter = log.iter_with(skips()).unwrap();
    for seq in 1..=4 {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
    }
    assert!(iter.next_record().unwrap().is_none(), "only 5 is durable, and it is damaged");
    assert_eq!((iter.skipped().spots, iter.skipped().records), (1, 1));
    // Now it lands, and a flush makes both durable.
    disk.overwrite(&segment, block_of(6) as u64, &sixth);
    log.sync(0).unwrap();
    assert_eq!(log.durable_seq(), 7);
    for seq in 6..=7 {
        assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq), "{:?}", iter.skipped());
    }
    assert!(iter.next_record().unwrap().is_none());
    assert_eq!((iter.skipped().spots, iter.skipped().records), (1, 1));
}

fn skips() -> IterOptions {
    IterOptions { skip_damaged: true, ..IterOptions::default() }
}

fn options() -> Options {
    Options { block_size: BLOCK as u32, segment_size: 64 << 10, ..Options::default() }
}

/// Three segments of three records each.
fn three_segments(disk: &SimDisk, clock: &Clock) {
    let log = Log::open_on(disk, Path::new("log"), &options(), clock.clone(), Threads::None).unwrap();
    for seq in 1..=9u8 {
        let entry = Entry { data: &[seq; 64], stream: 0, timestamp: None, kind: 0x0100, required: false };
        assert_eq!(log.append(&entry, How { sync: Some(true), no_wait: false }), Ok(u64::from(seq)));
        if seq % 3 == 0 {
            log.roll().unwrap();
        }
    }
    log.close().unwrap();
}

fn rest(iter: &mut Iter) -> Vec<u64> {
    std::iter::from_fn(|| iter.next_record().unwrap().map(|record| record.seq)).collect()
}

#[test]
fn a_directory_that_cannot_be_listed_ends_the_call_and_is_no_damage() {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    disk.set_align(BLOCK as u32, 512);
    three_segments(&disk, &clock);
    let first = disk.names().into_iter().min().unwrap();
    let content = disk.content(&first).unwrap();
    let second = content.windows(64).position(|bytes| bytes == [2; 64]).unwrap();
    let reading = Options { read_only: true, ..options() };
    let log = Log::open_on(disk.as_ref(), Path::new("log"), &reading, clock.clone(), Threads::None).unwrap();
    disk.flip_bit(&first, second as u64 + 1, 1);
    let mut iter = log.iter_with(skips()).unwrap();
    assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(1));
    disk.fail_from(Some(CallKind::List), 0, libc::EIO);
    for _ in 0..3 {
        assert_eq!(iter.next_record().map(|_| ()).unwrap_err().code, Code::Io);
        assert_eq!(iter.skipped().spots, 1, "no other damage");
    }
    disk.clear_faults();
    assert_eq!(rest(&mut iter), (3..=9).collect::<Vec<_>>());
    let skipped = iter.skipped();
    assert_eq!((skipped.spots, skipped.records, skipped.first_seq, skipped.last_seq), (1, 1, 2, 2));
}

#[test]
fn a_segment_that_is_missing_is_one_place() {
    for missing in [1, 2] {
        let clock = Clock::simulated();
        let disk = SimDisk::new(1).with_clock(clock.clone());
        disk.set_align(BLOCK as u32, 512);
        three_segments(&disk, &clock);
        let mut segments: Vec<String> = disk.names().into_iter().filter(|name| !name.contains("spare")).collect();
        segments.sort();
        disk.remove_file(&segments[missing]);
        let reading = Options { read_only: true, ..options() };
        let log = Log::open_on(disk.as_ref(), Path::new("log"), &reading, clock.clone(), Threads::None).unwrap();
        let mut iter = log.iter_with(skips()).unwrap();
        let lost = 3 * missing as u64 + 1..=3 * missing as u64 + 3;
        assert_eq!(rest(&mut iter), (1..=9).filter(|seq| !lost.contains(seq)).collect::<Vec<_>>(), "{segments:?}");
        assert!(iter.next_record().unwrap().is_none());
        let skipped = iter.skipped();
        assert_eq!((skipped.spots, skipped.records), (1, 3), "{skipped:?}");
        assert_eq!((skipped.first_seq, skipped.last_seq), (*lost.start(), *lost.end()), "{skipped:?}");
    }
}
