//! The device between two slices: what one contender left to be done must not fall into the time of the next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{machine, sys};

/// Nothing was transferred or discarded for so long: quiet.
const QUIET: Duration = Duration::from_millis(50);
/// A device that others use is never quiet.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file system and the device of a directory.
pub struct Settle {
    dir: PathBuf,
    /// What the kernel counts of the device, discards included; None if it has no such file.
    counters: Option<PathBuf>,
}

impl Settle {
    pub fn new(dir: &Path) -> Self {
        Settle { dir: dir.to_owned(), counters: machine::device_counters(dir) }
    }

    /// Writes out what the file system holds back, with it the removal of files, so that a file system mounted
    /// with discard tells the device now; and waits until the device has nothing to do, a second at most.
    pub fn settle(&self) -> std::io::Result<()> {
        sys::sync_file_system(&self.dir)?;
        let Some(counters) = &self.counters else { return Ok(()) };
        let look = || std::fs::read_to_string(counters).unwrap_or_default();
        let start = Instant::now();
        let (mut seen, mut seen_at) = (look(), start);
        while seen_at.elapsed() < QUIET && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
            let now = look();
            if now != seen {
                (seen, seen_at) = (now, Instant::now());
            }
        }
        Ok(())
    }
}
