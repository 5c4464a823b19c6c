//! Logs, open for this program.

use std::path::Path;

use twal::disk::real::RealDisk;
use twal::disk::LockKind;
use twal::segment::Directory;
use twal::{IoEngine, Log, Options, SegmentState, Tail};

use crate::cli::FileSystemArgs;
use crate::exit::Failure;

/// How often a log is opened anew that looks damaged beside its writer.
const TRIES: u32 = 10;

/// What is asked of a log that is only read: whoever wrote it has decided that its file system is good enough.
pub fn reading() -> Options {
    Options {
        read_only: true,
        allow_any_fs: true,
        allow_buffered: true,
        // Nothing is written, so nothing is gained by a ring.
        io_engine: Some(IoEngine::Blocking),
        ..Options::default()
    }
}

pub fn to_read(dir: &Path) -> Result<Log, Failure> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let log = Log::open(dir, &reading()).map_err(|error| Failure::opening(&error))?;
        // A writer that rolls and releases faster than the directory is read makes what is whole look damaged.
        if tries == 0 || log.report().tail != Tail::Damaged || !has_writer(dir)? {
            return Ok(log);
        }
    }
}

/// The same for what writes, with the log's own segment size: what this program makes is what the log's program would
/// have made.
pub fn writing(dir: &Path, args: &FileSystemArgs) -> Result<Options, Failure> {
    let newest = to_read(dir)?.segments()?.into_iter().rfind(|segment| segment.state == SegmentState::Active);
    Ok(Options {
        no_create: true,
        allow_any_fs: args.allow_any_fs,
        allow_buffered: args.allow_buffered,
        segment_size: newest.map_or(0, |segment| segment.size),
        // Removed is what somebody asked to be removed.
        max_retained_segments: u64::MAX,
        ..Options::default()
    })
}

pub fn to_write(dir: &Path, options: &Options) -> Result<Log, Failure> {
    Log::open(dir, options).map_err(|error| Failure::opening(&error))
}

/// Whether somebody has the log open for writing.
pub fn has_writer(dir: &Path) -> Result<bool, Failure> {
    let open = || -> twal::base::Result<bool> {
        let directory = Directory::open(&RealDisk::new(IoEngine::Blocking, true, true), dir, false)?;
        // Given back at once: while it is held no writer can open the log.
        let alone = directory.try_lock(LockKind::Shared)?;
        if alone {
            directory.unlock()?;
        }
        Ok(!alone)
    };
    open().map_err(|error| Failure::opening(&error))
}
