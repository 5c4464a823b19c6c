//! A log to measure on: made, prepared, looked at, removed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use twal::base::options::{IoEngine, Options};
use twal::{Entry, How, Log, Stats};

use crate::args::engine_name;
use crate::sys;

/// Anything that ends a run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Return without waiting for the device.
pub const NO_SYNC: How = How { sync: Some(false), no_wait: false };
/// Return when durable.
pub const SYNC: How = How { sync: Some(true), no_wait: false };

/// What the directories of logs are called, before their names.
const PREFIX: &str = "twal-bench-log-";

/// A log in a directory of its own.
pub struct Scene {
    pub log: Log,
    pub dir: PathBuf,
    options: Options,
    /// Whether the files go with the log.
    removed: bool,
}

impl Scene {
    /// The log `name` below `parent`, as earlier slices left it.  So its segments are recycled ones, and a
    /// slice does not begin with writing them: a device that was just given gigabytes is not what it was before.
    pub fn open(parent: &Path, name: &str, options: &Options) -> Result<Self, twal::base::Error> {
        let dir = parent.join(format!("{PREFIX}{name}"));
        let log = Log::open(&dir, options)?;
        Ok(Scene { log, dir, options: options.clone(), removed: false })
    }

    /// The same, with more segments to recycle than spares are wanted: then none has to be made and zeroed
    /// while the clock runs.  A new log has to become such a one first.
    pub fn in_use(parent: &Path, name: &str, options: &Options) -> Result<Self, Failure> {
        let engine = options.io_engine.map_or("", engine_name);
        let scene = Scene::open(parent, &format!("{name}-{engine}-{}", options.segment_size >> 10), options)?;
        if scene.log.last_seq() == 0 {
            scene.leave_segments()?;
        }
        Ok(scene)
    }

    /// A new log, for slices that never use a segment again; it is removed when dropped.
    pub fn fresh(parent: &Path, name: &str, options: &Options) -> Result<Self, Failure> {
        let _ = fs::remove_dir_all(parent.join(format!("{PREFIX}{name}"))); // none is there, as a rule
        let mut scene = Scene::open(parent, name, options)?;
        scene.removed = true;
        Ok(scene)
    }

    /// Begins segments until those that were left behind are as many as there are spares, so that the next
    /// trim doubles the spares.  Spares beyond those that are wanted would be removed at the next opening.
    pub fn leave_segments(&self) -> Result<(), Failure> {
        let entry = Entry { data: b"roll", stream: 0, timestamp: None, kind: 0x0100, required: false };
        // One is the active one, one is retained.
        while segments(&self.dir)?.len() as u64 <= self.options.spares + 2 {
            self.log.append(&entry, SYNC)?;
            self.log.roll()?;
            self.log.append(&entry, SYNC)?;
        }
        Ok(())
    }

    /// Gives back what was written so far, and waits until the spares are whole
    /// and this process writes nothing any more.  So no slice pays for work that
    /// belongs to the one before it.  False: that did not come about.
    pub fn settle(&self) -> Result<bool, Failure> {
        let last = self.log.last_seq();
        if last > 0 {
            self.log.trim(last)?;
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            self.wait_until_quiet(Duration::from_millis(60));
            if self.whole_spares()? >= self.options.spares.max(1) {
                return Ok(true);
            }
            if start.elapsed() > Duration::from_secs(2) && self.wait_until_quiet(Duration::from_secs(2)) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Waits until this process has written nothing for so long; false: a minute was not enough.
    pub fn wait_until_quiet(&self, quiet: Duration) -> bool {
        let start = Instant::now();
        let (mut written, mut written_at) = (written_bytes(), start);
        while written_at.elapsed() < quiet {
            std::thread::sleep(Duration::from_millis(10));
            let now = written_bytes();
            if now != written {
                (written, written_at) = (now, Instant::now());
            }
            if start.elapsed() > Duration::from_secs(60) {
                return false;
            }
        }
        true
    }

    fn whole_spares(&self) -> Result<u64, Failure> {
        let mut whole = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("twal-spare-") {
                continue;
            }
            match entry.metadata() {
                Ok(meta) => whole += u64::from(meta.blocks() * 512 >= self.log.stats().segment_size),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (), // became a segment meanwhile
                Err(error) => return Err(error.into()),
            }
        }
        Ok(whole)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.log.close(); // a failed run says so elsewhere
        if self.removed {
            let _ = fs::remove_dir_all(&self.dir); // what is left is removed by the next run
        }
    }
}

/// Removes all logs below `parent`.
pub fn remove_all(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir_all(entry.path()); // what is left is removed by the next run
        }
    }
}

/// Bytes this process has sent to block devices; 0 if the kernel does not count.
pub fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0)
}

/// The options that every workload starts from.  Only what is trimmed and beyond
/// one archived segment is recycled, so the disk does not fill and the segments
/// of a long run are recycled ones.
pub fn options(engine: IoEngine, segment_size: u64, spares: u64, allow_any_fs: bool) -> Options {
    Options {
        io_engine: Some(engine),
        segment_size,
        spares,
        max_retained_segments: 1,
        allow_any_fs,
        ..Options::default()
    }
}

/// What a log counted between two looks at its stats.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted {
    pub flushes: u64,
    pub device_bytes: u64,
    pub sealed: u64,
    pub recycled: u64,
    pub spare_waits: u64,
    pub ring_waits: u64,
}

impl Counted {
    /// After less before.
    pub fn between(before: &Stats, after: &Stats) -> Self {
        Counted {
            flushes: after.flushes - before.flushes,
            device_bytes: after.device_bytes - before.device_bytes,
            sealed: after.segments_sealed - before.segments_sealed,
            recycled: after.segments_recycled - before.segments_recycled,
            spare_waits: after.spare_waits - before.spare_waits,
            ring_waits: after.ring_waits - before.ring_waits,
        }
    }
}

/// Files of the log in `dir`: index, path, size; oldest first, spares left out.
pub fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // twal-<index>-<first_seq>.<state>
        let index = name.strip_prefix("twal-").and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
        if let Some(index) = index {
            found.push((index, entry.path(), entry.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found)
}

/// The first number of every segment in `dir`.
pub fn first_seqs(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        // As above; a spare has no second number.
        let mut parts = name.to_str().and_then(|name| name.strip_prefix("twal-")).unwrap_or("").split(['-', '.']);
        let first: Option<u64> =
            parts.next().and_then(|index| index.parse::<u64>().ok()).and_then(|_| parts.next()?.parse().ok());
        found.extend(first);
    }
    Ok(found)
}

/// How many files the log has, and how many of their pages are in the page cache.
pub fn cached_pages(dir: &Path) -> io::Result<(usize, u64)> {
    let (mut files, mut pages) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // renamed meanwhile
            other => other?,
        };
        if file.metadata()?.is_file() {
            files += 1;
            pages += sys::cachestat(&file)?.cached;
        }
    }
    Ok((files, pages))
}
