//! Logs, open for this program.

use std::path::Path;

use twal::disk::real::RealDisk;
use twal::disk::LockKind;
use twal::segment::Directory;
use twal::{Code, Error, IoEngine, Log, Options, SegmentState, Tail};

use crate::cli::FileSystemArgs;
use crate::exit::Failure;

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
    Log::open(dir, &reading()).map_err(|error| Failure::opening(&error))
}

/// The same for what makes no sense of a log that ends in damage: what lies behind that may be the very thing.
pub fn to_read_whole(dir: &Path) -> Result<Log, Failure> {
    let log = to_read(dir)?;
    match damage_of(&log)? {
        None => Ok(log),
        Some(damage) => Err(damage.into()),
    }
}

/// What is wrong, if opening found something: a reader behind the last good record is told.
pub fn damage_of(log: &Log) -> Result<Option<Error>, Failure> {
    if log.report().tail != Tail::Damaged {
        return Ok(None);
    }
    let mut iter = log.iter(log.last_seq() + 1)?;
    Ok(iter.next_record().err())
}

/// The last record to be read by who reads what is there now, and not what comes while it does.  Of a damaged log there
/// is no such number: whoever reads it is to come to the damage, which is no end.
pub fn last_seq_of(log: &Log) -> u64 {
    match log.report().tail {
        Tail::Damaged => u64::MAX,
        Tail::Clean | Tail::Torn => log.durable_seq(),
    }
}

/// The same for what writes, with the log's own segment size: what this program makes is what the log's program would
/// have made.
pub fn writing(dir: &Path, args: &FileSystemArgs) -> Result<Options, Failure> {
    let newest = to_read_whole(dir)?.segments()?.into_iter().rfind(|segment| segment.state == SegmentState::Active);
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

/// Whether the directory, if there is one, is a log's or a follower's.
pub fn holds_log(dir: &Path) -> Result<bool, Failure> {
    let look = || directory(dir)?.scan();
    match look() {
        Ok(listing) => Ok(listing.sink || listing.holds || !listing.segments.is_empty() || !listing.spares.is_empty()),
        Err(error) if error.code == Code::NotFound => Ok(false),
        Err(error) => Err(Failure::opening(&error)),
    }
}

fn directory(dir: &Path) -> twal::base::Result<Directory> {
    Directory::open(&RealDisk::new(IoEngine::Blocking, true, true), dir, false)
}

/// Whether somebody has the log open for writing.
pub fn has_writer(dir: &Path) -> Result<bool, Failure> {
    let open = || -> twal::base::Result<bool> {
        let directory = directory(dir)?;
        // Given back at once: while it is held no writer can open the log.
        let alone = directory.try_lock(LockKind::Shared)?;
        if alone {
            directory.unlock()?;
        }
        Ok(!alone)
    };
    open().map_err(|error| Failure::opening(&error))
}
