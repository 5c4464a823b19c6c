//! Goal: a segment of a terabyte that nobody ever wrote takes no longer than its few blocks, and says the same.
//!
//! Method: on the simulated disk the reads are counted; what a scan finds is compared with what it finds in the same
//! bytes where nobody can say what was never written.

use std::io::Result;
use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::disk::real::RealDisk;
use twal::disk::sim::CallKind;
use twal::disk::{Access, Disk, Durable, File, LockByte, LockKind};
use twal::format::frame::FLAG_DATA;
use twal::read::stream::Stream;
use twal::read::{followers, Walker};
use twal::IoEngine;

use crate::forged::{do_all, simulated, written, OnDisk, BLOCK, DIR, EACH};
use crate::rng::Rng;
use crate::{forged, seeds};

const TERABYTE: u64 = 1 << 40;

/// Reads of all that [`do_all`] does with a log of three small segments: it opens each of them several times.
const READS_MAX: u64 = 5_000;

/// What is done to the log before its files grow: which one grows, and what in it is destroyed.
const CASES: [(&str, usize, Option<u32>); 4] = [
    ("newest whole", 2, None),
    ("newest damaged", 2, Some(FLAG_DATA)),
    ("sealed whole", 1, None),
    ("sealed damaged", 1, Some(FLAG_DATA)),
];

fn forged_files(segments: usize, which: usize, destroyed: Option<u32>) -> Vec<forged::File> {
    let mut files = written();
    files.truncate(segments);
    let file = &mut files[which];
    if let Some(flag) = destroyed {
        let at = file.first(flag) as usize;
        file.bytes[at + 60] ^= 1;
    }
    file.grow(TERABYTE);
    files
}

#[test]
fn a_hole_is_passed_over() {
    for (name, which, destroyed) in CASES {
        let files = forged_files(3, which, destroyed);
        let disk = simulated(&files);
        let clone = || -> Box<dyn Disk> { Box::new((*disk).clone()) };
        let came = do_all(&clone, Path::new(DIR), &Clock::simulated());
        let reads = disk.counts().of(CallKind::Read);
        println!("{name}: {reads} reads");
        assert!(reads <= READS_MAX, "{name}: {reads} reads");
        assert_eq!(came.damaged.is_empty(), destroyed.is_none(), "{name}: {came:?}");
        assert_eq!(came.written.is_none(), destroyed.is_none() || which == 1, "{name}: {came:?}");
        assert_eq!(came.iterated.1 == 3 * EACH, destroyed.is_none(), "{name}: {came:?}");
    }
}

/// The log's only segment, of which no frame can be read: all of the file is looked through for another header's.
#[test]
fn a_hole_is_passed_over_where_the_log_begins() {
    let mut files = written();
    files.truncate(1);
    // As if it had never been sealed.
    files[0].name = files[0].name.replace("sealed", "active");
    let frames = files[0].frames();
    for (at, _) in frames {
        files[0].bytes[at as usize + 60] ^= 1;
    }
    files[0].grow(TERABYTE);
    let disk = simulated(&files);
    let clone = || -> Box<dyn Disk> { Box::new((*disk).clone()) };
    let came = do_all(&clone, Path::new(DIR), &Clock::simulated());
    let reads = disk.counts().of(CallKind::Read);
    assert!(reads <= READS_MAX, "{reads} reads");
    assert!(came.written.is_some() && came.damaged == [(1, BLOCK)], "{came:?}");
}

/// The same on a real file system, which says by itself where its holes are.
#[test]
fn a_real_hole_is_passed_over() {
    for (name, which, destroyed) in CASES {
        let dir = match OnDisk::new(&name.replace(' ', "-"), &forged_files(3, which, destroyed)) {
            Ok(dir) => dir,
            Err(error) => return println!("skipped: there can be no such files here: {error}"),
        };
        let real = || -> Box<dyn Disk> { Box::new(RealDisk::new(IoEngine::Blocking, true, true)) };
        let came = do_all(&real, &dir.0, &Clock::real());
        assert_eq!(came.damaged.is_empty(), destroyed.is_none(), "{name}: {came:?}");
        assert_eq!(came.iterated.1 == 3 * EACH, destroyed.is_none(), "{name}: {came:?}");
    }
}

/// The same file, of which nobody can say what was never written.
struct Solid(Arc<dyn File>);

impl File for Solid {
    fn size(&self) -> Result<u64> {
        self.0.size()
    }
    fn room(&self) -> Result<u64> {
        Ok(u64::MAX)
    }
    fn names(&self) -> Result<u64> {
        self.0.names()
    }
    fn identity(&self) -> Result<(u64, u64)> {
        self.0.identity()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, _: &[u8], _: u64, _: Durable) -> Result<()> {
        unreachable!("readers only")
    }
    fn sync(&self) -> Result<()> {
        self.0.sync()
    }
    fn allocate(&self, _: u64) -> Result<()> {
        unreachable!("readers only")
    }
    fn truncate(&self, _: u64) -> Result<()> {
        unreachable!("readers only")
    }
    fn written_until(&self, offset: u64) -> Result<u64> {
        self.0.written_until(offset)
    }
    fn try_lock(&self, byte: LockByte, kind: LockKind) -> Result<bool> {
        self.0.try_lock(byte, kind)
    }
    fn unlock(&self, byte: LockByte) -> Result<()> {
        self.0.unlock(byte)
    }
    fn is_locked(&self, byte: LockByte) -> Result<bool> {
        self.0.is_locked(byte)
    }
}

/// What the two ways of looking for frames find from `from` on.
type Found = (std::result::Result<followers::Followers, twal::Error>, Vec<(u64, u64)>);

fn look(file: &Arc<dyn File>, header: &twal::format::SegmentHeader, from: u64, piece: usize) -> Found {
    let mut walker = Walker::new(Arc::clone(file), header, from, piece).unwrap();
    let last = header.before;
    let block = u64::from(header.block_size);
    let found = followers::find(&mut walker, &last, from, block, header.segment_size);
    let mut stream = Stream::new(Arc::clone(file), header).unwrap();
    let (mut at, mut headers) = (from, Vec::new());
    while at + block <= header.segment_size {
        if let Ok(Some(frame)) = stream.header_at(at) {
            headers.push((at, frame.frame_number));
        }
        at = stream.next_block(at);
    }
    (found, headers)
}

/// Frames, blocks of garbage and blocks of written zeros anywhere in a file that is mostly a hole, and longer or shorter
/// than its header says; some of it cannot be read.
#[test]
fn what_is_found_is_what_reading_all_finds() {
    for seed in seeds(60) {
        let mut rng = Rng::new(seed);
        let mut files = written();
        files.truncate(1);
        let size = rng.within(20, 1500) * BLOCK;
        files[0].grow(size);
        let (header, template) = (files[0].header(), files[0].frames());
        let disk = simulated(&files);
        let name = files[0].name.clone();
        let mut ours = 0;
        for _ in 0..rng.below(12) {
            let at = rng.within(16, size / BLOCK - 1) * BLOCK;
            let mut block = vec![0; BLOCK as usize];
            match rng.below(3) {
                0 => block.fill(0x5a),
                1 => {}
                _ => {
                    let mut frame = template[0].1;
                    frame.frame_number = rng.within(1, 100);
                    frame.encode(header.place(), at, &mut block);
                    ours += 1;
                }
            }
            disk.overwrite(&name, at, &block);
        }
        if rng.percent(30) {
            disk.set_size(&name, size + rng.below(64) * 512);
        } else if rng.percent(20) {
            disk.set_size(&name, (size - rng.below(20) * 512).max(17 * BLOCK));
        }
        if rng.percent(30) {
            // Where something was written: a hole is on no device.
            let at = rng.below(16) * BLOCK;
            disk.fail_reads(&name, at..at + 1, u64::MAX, libc::EIO);
        }
        let dir = disk.open_dir(Path::new(DIR), false).unwrap();
        let file: Arc<dyn File> = dir.open(&name, Access::Read).unwrap();
        let solid: Arc<dyn File> = Arc::new(Solid(dir.open(&name, Access::Read).unwrap()));
        for piece in [4096, 64 << 10, 1 << 20] {
            let from = rng.within(1, 30) * BLOCK;
            let (quick, whole) = (look(&file, &header, from, piece), look(&solid, &header, from, piece));
            assert_eq!(quick, whole, "TWAL_SEED={seed}: {ours} frames, from {from} by {piece}");
        }
    }
}
