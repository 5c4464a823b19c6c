//! What the kernel says about this process and about the files of a log.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{flushes, sys};

/// Counters that only grow.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    pub cpu: Duration,
    pub read_bytes: u64,
    pub written_bytes: u64,
    /// Written to the disk below the log, by anybody; None if it has no number of its own.
    pub disk_written_bytes: Option<u64>,
    pub context_switches: u64,
    pub flushes: Option<u64>,
}

impl Counters {
    pub fn now(dir: &Path) -> Self {
        Counters {
            cpu: sys::cpu_time(),
            read_bytes: io_field("read_bytes: "),
            written_bytes: io_field("write_bytes: "),
            disk_written_bytes: disk_written_bytes(dir),
            context_switches: context_switches(),
            flushes: flushes::count(),
        }
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Counters) -> Self {
        Counters {
            cpu: self.cpu - before.cpu,
            read_bytes: self.read_bytes - before.read_bytes,
            written_bytes: self.written_bytes - before.written_bytes,
            context_switches: self.context_switches - before.context_switches,
            disk_written_bytes: added(self.disk_written_bytes, before.disk_written_bytes),
            flushes: added(self.flushes, before.flushes),
        }
    }
}

fn added(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(now? - before?)
}

/// See the kernel's Documentation/block/stat.rst: the seventh number is 512-byte sectors written.
fn disk_written_bytes(dir: &Path) -> Option<u64> {
    let device = fs::metadata(dir).ok()?.dev();
    let path = format!("/sys/dev/block/{}:{}/stat", libc::major(device), libc::minor(device));
    let sectors: u64 = fs::read_to_string(path).ok()?.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

fn io_field(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0)
}

fn context_switches() -> u64 {
    // SAFETY: rusage is plain numbers; all zero is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a writable rusage.
    let rc = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(rc, 0, "getrusage of oneself cannot fail");
    (usage.ru_nvcsw + usage.ru_nivcsw) as u64
}

/// Makes the kernel forget how much memory was resident at most.
pub fn reset_peak_memory() {
    let _ = fs::write("/proc/self/clear_refs", "5"); // without it the peak is that of the whole process
}

/// The most memory that was resident since then, in KiB.
pub fn peak_memory_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |line: &str| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok();
    text.lines().find_map(field).unwrap_or(0)
}

/// Flushes the log's files, then waits until this process has written nothing for
/// a while.  So no slice pays for its own preparation, or for a peer's work in the
/// background on it.
pub fn settle(dir: &Path) -> io::Result<()> {
    const QUIET: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(10);
    for file in files(dir)? {
        file.sync_all()?;
    }
    let start = Instant::now();
    let (mut written, mut written_at) = (io_field("write_bytes: "), start);
    while written_at.elapsed() < QUIET && start.elapsed() < PATIENCE {
        std::thread::sleep(QUIET / 10);
        let now = io_field("write_bytes: ");
        if now != written {
            (written, written_at) = (now, Instant::now());
        }
    }
    Ok(())
}

/// A directory of its own for one slice, removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// What an earlier run left there is removed.
    pub fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(format!("twal-peers-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(Scratch(path.canonicalize()?))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left is removed by the next run
    }
}

/// The regular files in `dir`.  No peer makes directories in there.
fn files(dir: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        match File::open(entry?.path()) {
            Ok(file) if file.metadata()?.is_file() => files.push(file),
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (), // removed or renamed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Pages of the log's files in the page cache; None where the kernel cannot say (before 6.5).
pub fn cached_pages(dir: &Path) -> io::Result<Option<u64>> {
    let mut pages = 0;
    for file in files(dir)? {
        match sys::cachestat(&file) {
            Ok(stat) => pages += stat.cached,
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(pages))
}

/// Bytes that the log's files take on the disk.
pub fn allocated_bytes(dir: &Path) -> io::Result<u64> {
    files(dir)?.iter().map(|file| Ok(file.metadata()?.blocks() * 512)).sum()
}

/// Asks the kernel to drop the log's files from the page cache.  Only clean pages
/// go: see `settle`.
pub fn drop_cached(dir: &Path) -> io::Result<()> {
    for file in files(dir)? {
        // SAFETY: takes numbers and touches no memory of ours.
        let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    Ok(())
}
