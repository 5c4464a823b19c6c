//! Goal: no length on disk takes memory that what is there does not justify.
//!
//! Method: a log of three segments is written; a frame's header claims far more than
//! the file has blocks for, and every checksum over it is made right.  Then all that
//! can be done with a directory is done with it, on a real disk, while the program's
//! allocator counts.  `TWAL_HOSTILE_BYTES=n` says how long the frames claim to be.

use std::path::{Path, PathBuf};

use twal::base::clock::Clock;
use twal::base::crc::{crc32c, crc32c_append};
use twal::commit::Threads;
use twal::disk::real::RealDisk;
use twal::disk::sim::SimDisk;
use twal::disk::Disk;
use twal::format::frame::{FLAG_CUT, FLAG_DATA, FLAG_MARK, FLAG_SEAL};
use twal::format::record::FIRST_CALLER_KIND;
use twal::format::{FrameHeader, SegmentHeader, FRAME_HEADER_LEN, RECORD_HEADER_LEN};
use twal::{CompactOptions, Entry, Error, How, IoEngine, IterOptions, Log, Options, Repair, Source};

use crate::peak_of;

/// Bytes of a block of these logs.
pub const BLOCK: u64 = 4096;
/// Records of each segment.
pub const EACH: u64 = 6;

/// What may be there at most, those of tests beside it too: readers have some buffers of a mebibyte each.
const PEAK_MAX: usize = 32 << 20;

/// Where the log is on a simulated disk.
pub const DIR: &str = "log";

/// How the logs are opened.
pub fn options() -> Options {
    let base = Options { allow_any_fs: true, allow_buffered: true, block_size: 4096, ..Options::default() };
    Options { segment_size: 64 << 10, ring_size: 1 << 20, io_engine: Some(IoEngine::Blocking), ..base }
}

/// A segment's file: what is in front, and how long it is.
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
    pub size: u64,
}

impl File {
    pub fn header(&self) -> SegmentHeader {
        SegmentHeader::decode(&self.bytes, true).unwrap()
    }

    /// Changes the segment's header.
    pub fn forge(&mut self, change: impl FnOnce(&mut SegmentHeader)) {
        let mut header = self.header();
        change(&mut header);
        header.encode(&mut self.bytes);
    }

    /// The file says that it has so many bytes, and has them: nothing was ever written there.
    pub fn grow(&mut self, size: u64) {
        self.forge(|header| header.segment_size = size);
        self.size = size;
    }

    /// The frames, from the first one on.
    pub fn frames(&self) -> Vec<(u64, FrameHeader)> {
        let (place, mut at, mut frames) = (self.header().place(), BLOCK, Vec::new());
        while at < self.bytes.len() as u64 {
            let Some((frame, _)) = FrameHeader::decode(place, at, &self.bytes[at as usize..]) else { break };
            frames.push((at, frame));
            at += frame.frame_len(BLOCK);
        }
        frames
    }

    /// Offset of the first frame that has this flag.
    pub fn first(&self, flag: u32) -> u64 {
        self.frames().iter().find(|(_, frame)| frame.has(flag)).expect("there is one").0
    }

    /// Changes the header of the frame at `offset`.
    pub fn forge_frame(&mut self, offset: u64, change: impl FnOnce(&mut FrameHeader)) {
        let place = self.header().place();
        let out = &mut self.bytes[offset as usize..];
        let (mut frame, _) = FrameHeader::decode(place, offset, out).expect("a frame");
        change(&mut frame);
        frame.encode(place, offset, out);
    }

    /// The checksum of `len` bytes at `offset`: what is there, and zeros behind it.
    fn crc(&self, offset: u64, len: u64) -> u32 {
        let there = &self.bytes[offset as usize..];
        let there = &there[..there.len().min(len as usize)];
        let (mut crc, mut left) = (crc32c(there), len as usize - there.len());
        let zeros = vec![0; 1 << 20];
        while left > 0 {
            let piece = left.min(zeros.len());
            crc = crc32c_append(crc, &zeros[..piece]);
            left -= piece;
        }
        crc
    }

    /// The frame at `offset` claims a body of `len` bytes, with the checksum of what lies there, or another one.
    fn claim(&mut self, offset: u64, len: u64, right: bool) {
        let crc = self.crc(offset + FRAME_HEADER_LEN as u64, len) ^ u32::from(!right);
        self.forge_frame(offset, |frame| {
            frame.body_len = len.try_into().unwrap();
            frame.body_crc = crc;
        });
    }
}

/// A log of three segments, the first two sealed, as files.
pub fn written() -> Vec<File> {
    let disk = SimDisk::new(1);
    let log = Log::open_on(disk.as_ref(), Path::new(DIR), &options(), Clock::simulated(), Threads::None).unwrap();
    for segment in 0..3 {
        if segment > 0 {
            log.roll().unwrap();
        }
        for record in 0..EACH {
            let data = [record as u8; 100];
            let entry = Entry { data: &data, stream: 0, timestamp: None, kind: FIRST_CALLER_KIND, required: false };
            log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
        }
    }
    log.close().unwrap();
    let names = disk.names().into_iter().filter(|name| !name.contains("spare"));
    names
        .map(|name| {
            let bytes = disk.content(&name).unwrap();
            File { name, size: bytes.len() as u64, bytes }
        })
        .collect()
}

/// The files on a simulated disk.
pub fn simulated(files: &[File]) -> std::sync::Arc<SimDisk> {
    let disk = SimDisk::new(1);
    drop(disk.open_dir(Path::new(DIR), true));
    for file in files {
        disk.put_file(&file.name, &file.bytes);
        disk.set_size(&file.name, file.size);
    }
    disk
}

/// The files in a real directory, which goes with this.
pub struct OnDisk(pub PathBuf);

impl OnDisk {
    pub fn new(name: &str, files: &[File]) -> std::io::Result<OnDisk> {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        let dir = OnDisk(dir);
        for file in files {
            let path = dir.0.join(&file.name);
            std::fs::write(&path, &file.bytes)?;
            std::fs::File::options().write(true).open(&path)?.set_len(file.size)?;
        }
        Ok(dir)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What came of all that can be done with a directory.
#[derive(Debug, Default)]
pub struct Came {
    /// Of an open for reading.
    pub read: Option<Error>,
    /// What plain reading ended with, and how many records it gave.
    pub iterated: (Option<Error>, u64),
    /// Damaged places that verify told: segment and offset.
    pub damaged: Vec<(u64, u64)>,
    /// Of a plan for a repair.
    pub planned: Option<Error>,
    /// Of an open with every byte looked at, and of an open for writing.
    pub verified: Option<Error>,
    pub written: Option<Error>,
}

/// Does all that can be done with a directory, what changes it last.
pub fn do_all(disk: &dyn Fn() -> Box<dyn Disk>, dir: &Path, clock: &Clock) -> Came {
    let open = |options: &Options| Log::open_on(disk().as_ref(), dir, options, clock.clone(), Threads::None);
    let mut came = Came::default();
    match open(&Options { read_only: true, ..options() }) {
        Ok(log) => {
            for (skip_damaged, headers_only, map_sealed) in
                [(true, false, false), (false, true, false), (false, false, true), (false, false, false)]
            {
                came.iterated =
                    iterate(&log, IterOptions { skip_damaged, headers_only, map_sealed, ..IterOptions::default() });
            }
            if let Ok(mut source) = Source::open(&log, None) {
                while let Ok(Some(_)) = source.next_piece(Some(0)) {}
            }
        }
        Err(error) => came.read = Some(error),
    }
    let _ = twal::verify_on(disk().as_ref(), dir, &mut |finding| {
        if finding.is_damage() {
            came.damaged.push((finding.segment, finding.offset));
        }
        true
    });
    came.planned = Repair::plan_on(disk(), dir, &options(), clock.clone()).err();
    came.verified = open(&Options { verify: true, ..options() }).and_then(|log| log.close()).err();
    came.written = open(&options())
        .and_then(|log| {
            let how = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
            // What is damaged is not compacted.
            let _ = log.compact(&how, &mut |candidate| candidate.record.seq % 2 == 0);
            log.close()
        })
        .err();
    came
}

/// Reads all: what it ended with, and how many records there were.
fn iterate(log: &Log, how: IterOptions) -> (Option<Error>, u64) {
    let headers_only = how.headers_only;
    let mut count = 0;
    let read = || -> Result<(), Error> {
        let mut iter = log.iter_with(how)?;
        while iter.next_record()?.is_some() {
            count += 1;
            if headers_only {
                iter.payload()?;
            }
        }
        Ok(())
    };
    let ended = read().err();
    (ended, count)
}

/// The record at the front of `bytes` has a payload of `len` bytes with this checksum; its own is right.
fn lengthen(bytes: &mut [u8], len: u64, payload_crc: u32) {
    bytes[4..8].copy_from_slice(&payload_crc.to_le_bytes());
    bytes[12..16].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
    let crc = crc32c(&bytes[4..RECORD_HEADER_LEN]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

fn claimed() -> u64 {
    crate::env("TWAL_HOSTILE_BYTES").unwrap_or(48 << 20)
}

/// The same on a real disk, and how much memory it took.
fn measured(name: &str, files: &[File]) -> Option<Came> {
    let dir = match OnDisk::new(name, files) {
        Ok(dir) => dir,
        Err(error) => {
            println!("skipped: there can be no such files here: {error}");
            return None;
        }
    };
    let real = || -> Box<dyn Disk> { Box::new(RealDisk::new(IoEngine::Blocking, true, true)) };
    let mut came = None;
    let started = std::time::Instant::now();
    let peak = peak_of(|| came = Some(do_all(&real, &dir.0, &Clock::real())));
    println!("{name}: at most {} KiB, {} ms", peak >> 10, started.elapsed().as_millis());
    assert!(peak <= PEAK_MAX, "{name}: {peak} bytes");
    came
}

/// Every kind of frame, in a segment that is complete and in the newest one.
#[test]
fn a_length_alone_takes_no_memory() {
    let len = claimed();
    for (kind, flag) in [("data", FLAG_DATA), ("mark", FLAG_MARK), ("seal", FLAG_SEAL), ("cut", FLAG_CUT)] {
        for (which, right) in [(1, false), (1, true), (2, false), (2, true)] {
            let mut files = written();
            let file = &mut files[which];
            file.grow((len + (64 << 10)).next_multiple_of(BLOCK));
            // A mark is there in the newest alone, a seal in the others; a cut in none.
            let is_there = file.frames().iter().any(|(_, frame)| frame.has(flag));
            let offset = file.first(if is_there { flag } else { FLAG_DATA });
            file.forge_frame(offset, |frame| {
                frame.flags = flag;
                if flag != FLAG_DATA {
                    (frame.record_count, frame.seq_span) = (0, 0);
                }
            });
            file.claim(offset, len, right);
            let name = format!("{kind}-in-{}-{right}", which + 1);
            let Some(came) = measured(&name, &files) else { return };
            // A whole mark is passed, and nothing continues it.
            let is_passed = right && matches!(flag, FLAG_MARK | FLAG_CUT);
            if which == 1 && !is_passed {
                // What is damaged in front of a successor is told, with its place.
                let (segment, at) = came.damaged[0];
                assert!(segment == 2 && (offset..offset + BLOCK).contains(&at), "{name}: {came:?}");
                assert!(came.verified.is_some_and(|error| (error.segment, error.offset) == (2, offset)), "{name}");
                assert!(came.iterated.1 < 3 * EACH, "{name}");
            }
        }
    }
}

/// A record whose own header holds, too: who reads headers alone and asks for its payload.
#[test]
fn nor_does_the_length_of_a_record() {
    let len = claimed();
    let mut files = written();
    let file = &mut files[1];
    file.grow((len + (64 << 10)).next_multiple_of(BLOCK));
    let offset = file.first(FLAG_DATA);
    let at = offset as usize + FRAME_HEADER_LEN;
    // The payload's checksum is that of another one.
    lengthen(&mut file.bytes[at..], len - RECORD_HEADER_LEN as u64, 0);
    file.claim(offset, len, false);
    let Some(came) = measured("record", &files) else { return };
    assert_eq!(came.iterated.1, EACH, "what is in front of it is read: {came:?}");
}

/// What is whole is delivered, however long it is and though the file system keeps none of its zeros.
#[test]
fn a_long_record_of_zeros_is_a_record() {
    let mut files = written();
    let len: u64 = 8 << 20;
    let file = files.last_mut().unwrap();
    file.grow(64 << 20);
    let (offset, _) = *file.frames().iter().rfind(|(_, frame)| frame.has(FLAG_DATA)).expect("a record");
    let at = offset as usize + FRAME_HEADER_LEN;
    file.bytes.truncate(at + RECORD_HEADER_LEN);
    let payload = len - RECORD_HEADER_LEN as u64;
    lengthen(&mut file.bytes[at..], payload, crc32c(&vec![0; payload as usize]));
    file.claim(offset, len, true);
    for mapped in [false, true] {
        let dir = match OnDisk::new("long", &files) {
            Ok(dir) => dir,
            Err(error) => return println!("skipped: there can be no such files here: {error}"),
        };
        let options = Options { read_only: true, ..options() };
        let log = Log::open(&dir.0, &options).unwrap();
        let mut iter = log.iter_with(IterOptions { map_sealed: mapped, ..IterOptions::default() }).unwrap();
        let mut lens = Vec::new();
        while let Some(record) = iter.next_record().unwrap() {
            assert!(record.data.len() == 100 || record.data.iter().all(|byte| *byte == 0));
            lens.push(record.data.len() as u64);
        }
        assert_eq!(lens.len() as u64, 3 * EACH);
        assert_eq!(lens.last(), Some(&(len - RECORD_HEADER_LEN as u64)));
    }
}

/// Every frame of a compacted segment, its seal too, which is not where the next segment's header says it was.
#[test]
fn damage_in_a_compacted_segment_is_told_with_its_place() {
    let disk = simulated(&written());
    let log = Log::open_on(disk.as_ref(), Path::new(DIR), &options(), Clock::simulated(), Threads::None).unwrap();
    let how = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    let done = log.compact(&how, &mut |candidate| candidate.record.seq % 2 == 0).unwrap();
    assert_eq!(done.segments, 2);
    log.close().unwrap();
    for name in &disk.names()[..2] {
        let bytes = disk.content(name).unwrap();
        let file = File { name: name.clone(), size: bytes.len() as u64, bytes };
        let index = file.header().index;
        let frames = file.frames();
        assert!(frames.len() == 2 && frames[1].1.has(FLAG_SEAL));
        for (offset, frame) in frames {
            let damaged = disk.fork(1);
            damaged.flip_bit(name, offset + 60, 1);
            let came = do_all(&|| Box::new((*damaged).clone()), Path::new(DIR), &Clock::simulated());
            assert_eq!(came.damaged, [(index, offset)], "{came:?}");
            let place = |error: &Option<Error>| error.as_ref().map(|error| (error.segment, error.offset));
            assert_eq!(place(&came.verified), Some((index, offset)), "{came:?}");
            let is_seal = frame.has(FLAG_SEAL);
            assert_eq!(
                place(&came.written),
                is_seal.then_some((index, offset)),
                "only the seal is looked at: {came:?}"
            );
            assert_eq!(place(&came.iterated.0), Some((index, offset)), "{came:?}");
        }
    }
}
