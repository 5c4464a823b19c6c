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

const BLOCK: u64 = 4096;
const FRAME: u64 = 64 << 10;
const FRAMES: u64 = 200;

fn header() -> SegmentHeader {
    SegmentHeader {
        index: 1,
        created_ns: 0,
        block_size: BLOCK as u32,
        segment_size: BLOCK + FRAMES * FRAME,
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

/// The segment: frame n holds number n alone, and bytes that are its own.
fn segment() -> (Arc<SimDisk>, Arc<dyn File>) {
    let header = header();
    let mut bytes = vec![0; header.segment_size as usize];
    header.encode(&mut bytes);
    let mut chain = 0;
    for number in 1..=FRAMES {
        let offset = BLOCK + (number - 1) * FRAME;
        let frame = &mut bytes[offset as usize..][..FRAME as usize];
        frame[FRAME_HEADER_LEN..].fill(number as u8);
        let body_crc = crc32c(&frame[FRAME_HEADER_LEN..]);
        let made = FrameHeader {
            body_len: (FRAME as usize - FRAME_HEADER_LEN) as u32,
            body_crc,
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
        chain = made.encode(header.place(), offset, frame);
    }
    let disk = SimDisk::new(1);
    let dir = disk.open_dir(Path::new("/log"), true).unwrap();
    disk.put_file("file", &bytes);
    let file = dir.open("file", Access::Read).unwrap();
    (disk, file)
}

fn walker(file: &Arc<dyn File>) -> Walker {
    let mut walker = Walker::new(Arc::clone(file), &header(), BLOCK, READ_AHEAD).unwrap();
    walker.read_ahead();
    walker
}

/// The frame at the walker's place is number `number`; goes behind it.
fn pass(walker: &mut Walker, number: u64) {
    let Look::Whole(frame, _) = walker.look() else { panic!("frame {number}: {:?}", walker.look()) };
    assert_eq!(frame.first_seq, number);
    assert!(walker.body(&frame).iter().all(|byte| *byte == number as u8), "frame {number} has another body");
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
fn a_read_ahead_that_fails_is_done_again() {
    for call in 0..18 {
        let (disk, file) = segment();
        disk.fail_kind(CallKind::Read, call, libc::EIO);
        let mut walker = walker(&file);
        (1..=FRAMES).for_each(|number| pass(&mut walker, number));
    }
}

/// From anywhere to anywhere, with pieces on their way.
#[test]
fn a_walker_that_goes_elsewhere_reads_what_is_there() {
    let (_disk, file) = segment();
    let mut walker = walker(&file);
    for (from, to) in [(1, 120), (3, 4), (150, FRAMES), (60, 170), (171, 171), (1, FRAMES)] {
        walker.go_to(BLOCK + (from - 1) * FRAME);
        (from..=to).for_each(|number| pass(&mut walker, number));
        if to == 170 {
            walker.forget();
        }
    }
}
