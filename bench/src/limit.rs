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
use std::time::{Duration, Instant};

use crate::hist::Histogram;
use crate::sys::{self, Aligned, BLOCK, MIB};

const FILE_SIZE: u64 = 64 << 20;

/// The file that is written over and over.
pub struct Limit {
    file: File,
    path: PathBuf,
    small: Aligned,
    big: Aligned,
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
        Ok(Limit { file, path, small: Aligned::new(BLOCK, 0x5a), big: Aligned::new(MIB, 0x5a), next: 0 })
    }

    /// L: durable 4 KiB writes a second, and how long each took.
    pub fn durable_writes(&mut self, slice: Duration) -> io::Result<(f64, Histogram)> {
        let mut histogram = Histogram::new();
        let start = Instant::now();
        let mut before = start;
        while before - start < slice {
            sys::write_at(&self.file, &self.small, self.next, true)?;
            self.next = (self.next + BLOCK as u64) % FILE_SIZE;
            let after = Instant::now();
            histogram.add((after - before).as_nanos() as u64);
            before = after;
        }
        Ok((histogram.count() as f64 / (before - start).as_secs_f64(), histogram))
    }

    /// Bytes a second of 1 MiB writes, depth 1, with one flush at the end.
    pub fn bandwidth(&self, bytes: u64) -> io::Result<f64> {
        let start = Instant::now();
        for offset in (0..bytes).step_by(MIB) {
            sys::write_at(&self.file, &self.big, offset % FILE_SIZE, false)?;
        }
        self.file.sync_data()?;
        Ok(bytes as f64 / start.elapsed().as_secs_f64())
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // a leftover is overwritten next time
    }
}

/// Reads the first `len` bytes of each file in turn, O_DIRECT, 1 MiB at a time, depth 1.
/// Gives the bytes read and the time.
pub fn read_files(files: &[(PathBuf, u64)]) -> io::Result<(u64, Duration)> {
    let mut buffer = Aligned::new(MIB, 0);
    let mut total = 0;
    let start = Instant::now();
    for (path, len) in files {
        let file = sys::open_direct(path, false)?;
        let mut offset = 0;
        while offset < *len {
            let n = sys::read_at(&file, &mut buffer, offset)? as u64;
            if n == 0 {
                break;
            }
            offset += n;
        }
        total += offset;
    }
    Ok((total, start.elapsed()))
}
