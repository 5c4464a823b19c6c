//! What the inner parts cost, without a device where that can be: `make bench-micro`.
//!
//! | group | what one step is |
//! |---|---|
//! | checksum | CRC-32C over so many bytes |
//! | record | composing one record, checksums included; checking and taking apart one |
//! | reserve | a claim of one record's bytes in an open frame, and the copy into it |
//! | append | one append that does not wait, on a real log whose ring has room: the call as a program sees it |
//! | walk | a file of 8 MiB, written by batches of 1,000: its frames looked at; its records read through the iterator |

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{criterion_group, criterion_main, BatchSize, BenchmarkId, Criterion, Throughput};

use twal::base::crc::crc32c;
use twal::base::options::{Durability, IoEngine};
use twal::disk::real::RealDisk;
use twal::disk::Access;
use twal::format::record::record_len;
use twal::format::{RecordHeader, SEGMENT_HEADER_LEN};
use twal::mem::ring::{Ring, Space};
use twal::read::segment;
use twal::read::walk::{Look, Walker, READ_AHEAD};
use twal::segment::Directory;
use twal::{Entry, How, Log, Options};

const NO_SYNC: How = How { sync: Some(false), no_wait: false };

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [40, 128, 4096, 64 << 10] {
        let bytes = vec![0x5a; len];
        group.throughput(Throughput::Bytes(len as u64));
        group
            .bench_with_input(BenchmarkId::from_parameter(len), &bytes, |b, bytes| b.iter(|| crc32c(black_box(bytes))));
    }
    group.finish();
}

fn header(len: usize) -> RecordHeader {
    let len = u32::try_from(len).expect("a small payload");
    RecordHeader { kind: 0x0100, len, seq: 1, timestamp: 1, stream: 1, ..RecordHeader::default() }
}

fn record(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    for len in [128, 1024, 4096] {
        let payload = vec![0x5a; len];
        let mut out = vec![0; record_len(len)];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("encode", len), |b| {
            b.iter(|| header(len).encode(black_box(&payload), black_box(&mut out)));
        });
        header(len).encode(&payload, &mut out);
        group.bench_function(BenchmarkId::new("decode", len), |b| {
            b.iter(|| RecordHeader::decode(black_box(&out)).expect("it was just encoded"));
        });
    }
    group.finish();
}

/// As many records of `len` as a frame of 256 KiB takes, claimed and filled; gives how many.
fn fill_a_frame(ring: &Ring, space: &mut Space, payload: &[u8]) -> usize {
    let mut open = space.open(4096, 256 << 10).expect("no memory is needed").expect("the ring is empty");
    let mut claimed = 0;
    while open.room() >= payload.len() {
        open.claim(ring, payload.len()).bytes().copy_from_slice(payload);
        claimed += 1;
    }
    let closed = space.close(open);
    space.free(closed);
    claimed
}

fn reserve(c: &mut Criterion) {
    let mut group = c.benchmark_group("reserve");
    for len in [128, 1024] {
        let (ring, mut space) = Ring::new(32 << 20, 4096).expect("address space");
        let record = vec![0x5a; record_len(len)];
        let records = fill_a_frame(&ring, &mut space, &record);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter(|| fill_a_frame(&ring, &mut space, black_box(&record)));
        });
    }
    group.finish();
}

/// A directory below the build's, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let build = PathBuf::from(std::env::var_os("TWAL_BUILD").unwrap_or_else(|| "build".into()));
        let dir = build.join("bench").join(format!("twal-bench-micro-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.parent().expect("it was joined")).expect("the build's directory can be written");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what is left is removed by the next run
    }
}

fn pour(log: &Log, payload: &[u8], count: u64) -> u64 {
    let entry = Entry { data: payload, stream: 1, timestamp: None, kind: 0x0100, required: false };
    (0..count).fold(0, |_, _| log.append(&entry, NO_SYNC).expect("an append to a healthy log"))
}

fn append(c: &mut Criterion) {
    const APPENDS: u64 = 1000;
    let mut group = c.benchmark_group("append");
    for len in [128, 1024] {
        let dir = Scratch::new("append");
        let options =
            Options { durability: Some(Durability::Async), max_retained_segments: 1, spares: 2, ..Options::default() };
        let log = Log::open(&dir.0, &options).expect("a log below the build's directory");
        let payload = vec![0x5a; len];
        group.throughput(Throughput::Elements(APPENDS));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter_batched(
                || {
                    log.sync(0).expect("a sync of a healthy log");
                    if log.last_seq() > 0 {
                        log.trim(log.last_seq()).expect("a trim of a healthy log");
                    }
                },
                |()| pour(&log, &payload, APPENDS),
                BatchSize::PerIteration,
            );
        });
        log.close().expect("a healthy log closes");
    }
    group.finish();
}

/// A closed log of about 8 MiB in one segment.
fn small_log(dir: &Path) -> u64 {
    const RECORDS: u64 = 48_000;
    let log = Log::open(dir, &Options { segment_size: 16 << 20, ..Options::default() }).expect("a log");
    for _ in 0..RECORDS / 1000 {
        let last = pour(&log, &[0x5a; 128], 1000);
        log.sync(last).expect("a sync of a healthy log");
    }
    log.close().expect("a healthy log closes");
    RECORDS
}

fn walk_frames(directory: &Directory) -> u64 {
    let segment = segment::open(directory, 1, Access::Read).expect("the only segment");
    let start = u64::from(segment.header.block_size).max(SEGMENT_HEADER_LEN as u64);
    let mut walker = Walker::new(segment.file, &segment.header, start, READ_AHEAD).expect("memory");
    walker.read_ahead();
    let mut records = 0;
    while let Look::Whole(header, _) = walker.look() {
        records += u64::from(header.record_count);
        walker.pass(&header);
    }
    records
}

fn read_records(dir: &Path) -> u64 {
    let log = Log::open(dir, &Options { read_only: true, ..Options::default() }).expect("the log");
    let mut iter = log.iter(0).expect("a reader");
    let mut records = 0;
    while iter.next_record().expect("a healthy log").is_some() {
        records += 1;
    }
    records
}

fn walk(c: &mut Criterion) {
    let dir = Scratch::new("walk");
    let records = small_log(&dir.0);
    let disk = RealDisk::new(IoEngine::Auto, false, false);
    let directory = Directory::open(&disk, &dir.0, false).expect("the log's directory");
    directory.scan().expect("the log's names");
    assert_eq!(walk_frames(&directory), records);
    assert_eq!(read_records(&dir.0), records);
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Elements(records)).sample_size(20);
    group.bench_function("frames", |b| b.iter(|| walk_frames(&directory)));
    group.bench_function("records", |b| b.iter(|| read_records(&dir.0)));
    group.finish();
}

criterion_group!(micro, checksum, record, reserve, append, walk);
criterion_main!(micro);
