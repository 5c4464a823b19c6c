//! Goal: what a walker reads ahead of itself is what the file held, in order, and counts as durable only as far as was
//! durable when it was asked for; what fails there, or is not wanted any more, changes nothing.
//!
//! Method: a segment of frames of 64 KiB on the simulated disk, walked from end to end, with reads that fail.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation)]

use std::path::Path;
use std::sync::Arc;

use twal::base::crc::crc32c;
use twal::disk::sim::{CallKind, SimDisk};
use twal::disk::{Access, Disk, File};
use twal::format::frame::FLAG_DATA;
use twal::format::{Chain, FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use twal::read::walk::READ_AHEAD;
use twal::read::{Look, Walker};

#[allow(dead_code)]
#[path = "sim/rng.rs"]
mod rng;
use rng::Rng;

const BLOCK: u64 = 4096;
const FRAME: u64 = 64 << 10;
const FRAMES: u64 = 200;

fn header() -> SegmentHeader {
    header_of(FRAME, FRAMES)
}

fn header_of(len: u64, count: u64) -> SegmentHeader {
    SegmentHeader {
        index: 1,
        created_ns: 0,
        block_size: BLOCK as u32,
        segment_size: BLOCK + count * len,
        first_seq: 1,
        log_id: [1; 16],
        history_id: [2; 16],
        salt: [3; 16],
        keeps_holds: false,
        generation: 0,
        before: Chain::default(),
        before_offset: 0,
    }
}

/// Frame `number`, of that number alone, with a body of this byte; its identity.
fn put_frame(frame: &mut [u8], header: &SegmentHeader, (number, offset): (u64, u64), byte: u8, chain: u64) -> u64 {
    frame[FRAME_HEADER_LEN..].fill(byte);
    let made = FrameHeader {
        body_len: (frame.len() - FRAME_HEADER_LEN) as u32,
        body_crc: crc32c(&frame[FRAME_HEADER_LEN..]),
        first_seq: number,
        seq_span: 1,
        record_count: 1,
        flags: FLAG_DATA,
        durable_seq: number - 1,
        durable_end: offset,
        epoch: 1,
        epoch_id: [4; 16],
        frame_number: number,
        chain,
    };
    made.encode(header.place(), offset, frame)
}

/// A segment of `count` frames of `len` bytes, each with its number in its body.
fn segment_of(len: u64, count: u64) -> (Arc<SimDisk>, Arc<dyn File>) {
    let header = header_of(len, count);
    let mut bytes = vec![0; header.segment_size as usize];
    header.encode(&mut bytes);
    let mut chain = 0;
    for number in 1..=count {
        let offset = BLOCK + (number - 1) * len;
        let frame = &mut bytes[offset as usize..][..len as usize];
        chain = put_frame(frame, &header, (number, offset), number as u8, chain);
    }
    let disk = SimDisk::new(1);
    let dir = disk.open_dir(Path::new("/log"), true).unwrap();
    disk.put_file("file", &bytes);
    let file = dir.open("file", Access::Read).unwrap();
    (disk, file)
}

fn segment() -> (Arc<SimDisk>, Arc<dyn File>) {
    segment_of(FRAME, FRAMES)
}

fn walker(file: &Arc<dyn File>) -> Walker {
    let mut walker = Walker::new(Arc::clone(file), &header(), BLOCK, READ_AHEAD).unwrap();
    walker.read_ahead();
    walker
}

/// The frame at the walker's place is number `number`; goes behind it.
fn pass(walker: &mut Walker, number: u64) {
    pass_with(walker, number, number as u8);
}

/// The same, with a body of this byte.
fn pass_with(walker: &mut Walker, number: u64, byte: u8) {
    let Look::Whole(frame, _) = walker.look() else { panic!("frame {number}: {:?}", walker.look()) };
    assert_eq!(frame.first_seq, number);
    assert!(walker.body(&frame).iter().all(|found| *found == byte), "frame {number} has another body");
    walker.pass(&frame);
}

#[test]
fn all_of_a_segment_comes_in_order_and_is_read_once() {
    let (disk, file) = segment();
    let mut walker = walker(&file);
    (1..=FRAMES).for_each(|number| pass(&mut walker, number));
    assert!(matches!(walker.look(), Look::FileEnd));
    // 64 KiB, twice as many each time, then a piece after the other.
    let pieces = header().segment_size.div_ceil(READ_AHEAD as u64);
    let reads = disk.counts().of(CallKind::Read);
    assert!((pieces..pieces + 6).contains(&reads), "{reads} reads for {pieces} pieces");
    assert!(walker.bytes_read() < 5 << 20, "{} bytes were not read ahead", walker.bytes_read());
}

/// A writer may take back what was not durable yet: what was asked for before is as old as it was then.
#[test]
fn what_is_read_ahead_is_as_durable_as_when_it_was_asked_for() {
    let (_disk, file) = segment();
    let mut walker = walker(&file);
    let half = FRAMES / 2;
    walker.set_durable(half, None);
    (1..=half).for_each(|number| pass(&mut walker, number));
    walker.set_durable(FRAMES, None);
    let mut old = 0;
    for number in half + 1..=FRAMES {
        walker.look();
        let was_durable = walker.was_durable(number);
        assert!(!was_durable || old > 0, "frame {number} was asked for before it was durable");
        if !was_durable {
            assert_eq!(old, number - half - 1, "frame {number} was asked for behind newer ones");
            old += 1;
        }
        pass(&mut walker, number);
    }
    // What was in the buffer, and three pieces.
    let (least, most) = (3 * READ_AHEAD as u64 / FRAME, 4 * READ_AHEAD as u64 / FRAME + 1);
    assert!((least..=most).contains(&old), "{old} frames were read ahead");
}

#[test]
fn a_read_that_fails_once_is_done_again() {
    let reads = {
        let (disk, file) = segment();
        let mut walker = walker(&file);
        (1..=FRAMES).for_each(|number| pass(&mut walker, number));
        disk.counts().of(CallKind::Read)
    };
    for call in 0..reads {
        let (disk, file) = segment();
        disk.fail_kind(CallKind::Read, call, libc::EIO);
        let mut walker = walker(&file);
        (1..=FRAMES).for_each(|number| pass(&mut walker, number));
        assert!(disk.counts().of(CallKind::Read) > reads, "read {call} did not fail");
    }
}

/// From anywhere to anywhere, with pieces on their way; and what was forgotten is read again.
#[test]
fn a_walker_that_goes_elsewhere_reads_what_is_there() {
    let (disk, file) = segment();
    let mut walker = walker(&file);
    for (from, to) in [(1, 120), (3, 4), (150, FRAMES), (60, 170)] {
        walker.go_to(BLOCK + (from - 1) * FRAME);
        (from..=to).for_each(|number| pass(&mut walker, number));
    }
    let offset = BLOCK + 170 * FRAME;
    let mut frame = vec![0; FRAME as usize];
    put_frame(&mut frame, &header(), (171, offset), 0xee, 7);
    disk.overwrite("file", offset, &frame);
    walker.forget();
    pass_with(&mut walker, 171, 0xee);
    (172..=FRAMES).for_each(|number| pass(&mut walker, number));
}

/// A frame that is longer than a piece is read in one go, and nothing of what is behind it is read twice.
#[test]
fn long_frames_are_read_once() {
    const LONG: u64 = 3 << 19;
    let (disk, file) = segment_of(LONG, 20);
    let mut walker = Walker::new(Arc::clone(&file), &header_of(LONG, 20), BLOCK, READ_AHEAD).unwrap();
    walker.read_ahead();
    (1..=20).for_each(|number| pass(&mut walker, number));
    assert_eq!(disk.counts().of(CallKind::Read), 2 * 20, "a header, and the frame");
    assert!(walker.bytes_read() < 20 * (LONG + (80 << 10)), "{} bytes", walker.bytes_read());
}

/// Segments of a log may be of any sizes, one behind the other; who reads on takes the thread, and its buffers, along.
/// TWAL_SEED=n plays one row of them.
#[test]
fn segments_of_other_sizes_come_one_behind_the_other() {
    let asked = std::env::var("TWAL_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    for seed in asked.map_or(0..10, |seed| seed..seed + 1) {
        println!("TWAL_SEED={seed}");
        let mut rng = Rng::new(seed);
        let mut before: Option<Walker> = None;
        for _ in 0..60 {
            let (blocks, len) = ([16, 32, 256, 1024][rng.below(4) as usize], BLOCK * (1 + rng.below(8)));
            let count = (blocks - 1) * BLOCK / len;
            let (_disk, file) = segment_of(len, count);
            let mut walker = Walker::new(file, &header_of(len, count), BLOCK, READ_AHEAD).unwrap();
            match before.take() {
                Some(before) => walker.read_ahead_after(before),
                None => walker.read_ahead(),
            }
            (1..=count).for_each(|number| pass(&mut walker, number));
            assert!(matches!(walker.look(), Look::FileEnd));
            before = Some(walker);
        }
    }
}
