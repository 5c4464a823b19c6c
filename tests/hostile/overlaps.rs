//! Goal: frames that all claim the same bytes take no longer than a few frames that share them.
//!
//! Method: every block behind the first frames of a segment holds a forged header, verified, of a frame that reaches to
//! the segment's end, and no body is right.  On the simulated disk the reads are counted.

use std::path::Path;

use twal::base::clock::Clock;
use twal::disk::sim::CallKind;
use twal::disk::Disk;
use twal::format::frame::FLAG_DATA;
use twal::format::{FrameHeader, FRAME_HEADER_LEN};

use crate::forged::{do_all, simulated, written, File, BLOCK, DIR};

/// Bytes of the segment: one header in each of 2,048 blocks.
const SEGMENT: u64 = 8 << 20;

/// Reads of all that [`do_all`] does, each of a mebibyte at most.  If each body were read it would be 20,000 in verify alone,
/// and 9,000 of a reader that skips damage.
const READS_MAX: u64 = 4_000;

/// Bytes that verify reads: all of it, eight times what frames claim, and at each of the places the first piece once more.
const VERIFIED_MAX: u64 = 32 * SEGMENT;

fn forge(file: &mut File) {
    let place = file.header().place();
    let (_, pattern) = file.frames().into_iter().find(|(_, frame)| frame.has(FLAG_DATA)).unwrap();
    file.grow(SEGMENT);
    file.bytes.resize(SEGMENT as usize, 0);
    // What follows a damaged frame is looked for.
    let damaged = file.frames()[2].0;
    for (number, offset) in (damaged + BLOCK..SEGMENT).step_by(BLOCK as usize).enumerate() {
        let number = number as u64 + 1;
        let forged = FrameHeader {
            body_len: u32::try_from(SEGMENT - offset).unwrap() - FRAME_HEADER_LEN as u32,
            first_seq: pattern.first_seq + 100 + number,
            frame_number: pattern.frame_number + 100 + number,
            durable_seq: pattern.first_seq + 50,
            chain: number,
            ..pattern
        };
        forged.encode(place, offset, &mut file.bytes[offset as usize..]);
    }
    file.bytes[damaged as usize] ^= 1;
}

#[test]
fn what_many_frames_claim_is_not_read_for_each_of_them() {
    for (name, which) in [("sealed", 1), ("newest", 2)] {
        let mut files = written();
        forge(&mut files[which]);
        if let Some(next) = files.get_mut(which + 1) {
            next.forge(|header| header.before_offset = SEGMENT - BLOCK);
        }
        let disk = simulated(&files);
        let clone = || -> Box<dyn Disk> { Box::new((*disk).clone()) };
        let began = std::time::Instant::now();
        let came = do_all(&clone, Path::new(DIR), &Clock::simulated());
        let reads = disk.counts().of(CallKind::Read);
        let verified = twal::verify_on(disk.as_ref(), Path::new(DIR), &mut |_| true).unwrap();
        println!("{name}: {reads} reads, {} KiB by verify, {} ms", verified.bytes >> 10, began.elapsed().as_millis());
        assert!(!came.damaged.is_empty(), "{name}: {came:?}");
        assert!(reads <= READS_MAX, "{name}: {reads} reads");
        assert!(verified.bytes <= VERIFIED_MAX, "{name}: {} bytes", verified.bytes);
    }
}
