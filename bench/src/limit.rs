//! The yardstick: what the device does for a program that only writes or reads.
//!
//! L is the rate of `pwritev2(RWF_DSYNC)`, 4 KiB, O_DIRECT, depth 1, running
//! through a file of 64 MiB whose blocks were all written before: the cheapest
//! durable write there is.  It runs in every round beside what it is compared
//! with, because a device's speed drifts more within minutes than twal differs
//! from one version to the next.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::hist::Histogram;
use crate::sys::{self, Aligned, MIB};

const FILE_SIZE: u64 = 64 << 20;

/// The file that is written over and over.
pub struct Limit {
    file: File,
    path: PathBuf,
    next: u64,
}

impl Limit {
    /// Writes the file full of zeros and flushes it.
    pub fn prepare(dir: &Path) -> io::Result<Self> {
        let path = dir.join("twal-bench-limit");
        let file = sys::open_direct(&path, true)?;
        let zeros = Aligned::new(MIB, 0);
        for offset in (0..FILE_SIZE).step_by(MIB) {
            sys::write_at(&file, &zeros, offset, false)?;
        }
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Limit { file, path, next: 0 })
    }

    /// Durable writes of `size` bytes (a multiple of 4096) a second, and how long each took.  4 KiB: L.
    pub fn durable_writes(&mut self, size: usize, slice: Duration) -> io::Result<(f64, Histogram)> {
        let buffer = Aligned::new(size, 0x5a);
        let mut histogram = Histogram::new();
        let start = Instant::now();
        let mut before = start;
        while before - start < slice {
            if self.next + size as u64 > FILE_SIZE {
                self.next = 0;
            }
            sys::write_at(&self.file, &buffer, self.next, true)?;
            self.next += size as u64;
            let after = Instant::now();
            histogram.add((after - before).as_nanos() as u64);
            before = after;
        }
        Ok((histogram.count() as f64 / (before - start).as_secs_f64(), histogram))
    }

    /// The same by several threads at once, each in a part of the file of its own.
    pub fn durable_writes_of(&self, threads: usize, size: usize, slice: Duration) -> io::Result<(f64, Histogram)> {
        let part = FILE_SIZE / threads as u64 / size as u64 * size as u64;
        let start = Instant::now();
        let write = |thread: usize| -> io::Result<(Histogram, Instant)> {
            let (buffer, mut histogram) = (Aligned::new(size, 0x5a), Histogram::new());
            let (mut before, mut next) = (start, 0);
            while before - start < slice {
                sys::write_at(&self.file, &buffer, thread as u64 * part + next % part, true)?;
                next += size as u64;
                let after = Instant::now();
                histogram.add((after - before).as_nanos() as u64);
                before = after;
            }
            Ok((histogram, before))
        };
        let shares: Vec<(Histogram, Instant)> = std::thread::scope(|scope| {
            let write = &write;
            let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || write(thread))).collect();
            all.into_iter().map(|one| one.join().expect("a writer does not panic")).collect::<io::Result<_>>()
        })?;
        let mut histogram = Histogram::new();
        shares.iter().for_each(|(share, _)| histogram.merge(share));
        let took = shares.iter().map(|(_, end)| *end - start).max().unwrap_or_default();
        Ok((histogram.count() as f64 / took.as_secs_f64(), histogram))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // a leftover is overwritten next time
    }
}

/// Reads the first `len` bytes of each file, O_DIRECT, 1 MiB at a time, with `depth` reads
/// under way at once.  Gives the bytes read and the time.
pub fn read_files(files: &[(PathBuf, u64)], depth: usize) -> io::Result<(u64, Duration)> {
    let open: Vec<File> = files.iter().map(|(path, _)| sys::open_direct(path, false)).collect::<io::Result<_>>()?;
    let mut pieces = Vec::new();
    for (file, (_, len)) in open.iter().zip(files) {
        pieces.extend((0..*len).step_by(MIB).map(|offset| (file, offset)));
    }
    let (next, total) = (AtomicUsize::new(0), AtomicU64::new(0));
    let read = || -> io::Result<()> {
        let mut buffer = Aligned::new(MIB, 0);
        while let Some((file, offset)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let n = sys::read_at(file, &mut buffer, *offset)?;
            total.fetch_add(n as u64, Ordering::Relaxed);
        }
        Ok(())
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..depth).map(|_| scope.spawn(read)).collect();
        let mine = read();
        others.into_iter().map(|one| one.join().expect("a reader does not panic")).fold(mine, io::Result::and)
    })?;
    Ok((total.into_inner(), start.elapsed()))
}
