//! The log's directory: who may write it, which files are in it, and every
//! change of a name in the order that a crash may interrupt anywhere.
//!
//! Promises: when a function that changes names returns, the change is durable.
//! Relies on: one writer, which [`Directory::lock`] makes sure of.

mod follower;
mod holds;
mod repair;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::name::{Named, SegmentName, State};
use super::{retain, Spare};
use crate::base::clock::Clock;
use crate::base::limits::{LOCK_WAIT_MS, SPARE_NUMBER_MAX};
use crate::base::{random, Code, Error, Result};
use crate::disk::{Access, Dir, Disk, Facts, File, LockByte, LockKind};
use crate::format::Hold;
pub use follower::FollowerPosition;
pub use holds::HeldDirectory;
use holds::Holding;

/// How often the directory is read for a segment that should be there: one that is missing is damage.
const LOOKS: u32 = 20;

/// An open log directory and what is known to be in it.
pub struct Directory {
    dir: Arc<dyn Dir>,
    /// Segments in order of index.  Written by whoever changes or scans names, under `names`.
    segments: Mutex<Vec<SegmentName>>,
    /// The first number that there was before names in front were found missing that nobody released; 0: none are.
    /// Read and written under `segments`.
    lost_from: AtomicU64,
    /// Held over a change of names and its flush, so that two changes never interleave.
    names: Mutex<NextSpare>,
    /// Segments above are none of what is read: see [`Directory::end_at`].  Publishes nothing.
    last_index: AtomicU64,
    holding: Holding,
}

struct NextSpare(u64);

/// What came out of the log, durably.
pub struct TakenOut {
    /// To be used again.
    pub spares: Vec<Spare>,
    /// How many others.
    pub removed: u64,
    /// What stopped it.
    pub failed: Option<Error>,
}

/// Its presence says that a repair was begun and not finished.  As a name it is
/// nothing that a log has, so every release refuses the log until then.
pub const UNFINISHED_REPAIR: &str = "twal-repair-unfinished";

/// A file that says of a directory with segments in it that they are a repair's copies, and no log.
const COPIES: &str = "copies-of-twal";

/// What a directory holds.
#[derive(Debug, Default, Clone)]
pub struct Listing {
    /// In order of index.
    pub segments: Vec<SegmentName>,
    /// Numbers of the spares.
    pub spares: Vec<u64>,
    /// There is a file of holds.
    pub holds: bool,
    /// There is a follower's position.
    pub sink: bool,
    /// Files named `twal-…` that are nothing of ours.
    pub unknown: Vec<String>,
}

impl Listing {
    /// A follower's copy is not written, repaired or opened as a log: what lies above its position nobody vouches for.
    pub fn check_no_follower(&self) -> Result<()> {
        if !self.sink {
            return Ok(());
        }
        let text = format!(
            "the directory is a follower's ({}): promote it first, with twal_sink_promote()",
            super::name::SINK
        );
        Err(Error::new(Code::State, text))
    }

    /// Where a follower is to begin there is no log.
    pub fn check_no_log(&self) -> Result<()> {
        let Some(name) = self.segments.first() else { return Ok(()) };
        let text =
            format!("the directory holds a log ({name}) that is no follower's: {} is not there", super::name::SINK);
        Err(Error::new(Code::State, text))
    }
}

impl Directory {
    /// Opens (or with `create` makes) the directory at `path`.
    pub fn open(disk: &dyn Disk, path: &Path, create: bool) -> Result<Directory> {
        let dir = disk.open_dir(path, create).map_err(|error| {
            let failed = Error::os(format_args!("cannot open {}", shortened(path)), &error);
            match error.raw_os_error() {
                Some(libc::ENOTDIR | libc::ENAMETOOLONG | libc::ELOOP) => Error { code: Code::Inval, ..failed },
                _ => failed,
            }
        })?;
        Ok(Directory {
            dir,
            segments: Mutex::new(Vec::new()),
            lost_from: AtomicU64::new(0),
            names: Mutex::new(NextSpare(1)),
            last_index: AtomicU64::new(u64::MAX),
            holding: Holding::default(),
        })
    }

    /// What the disk under it can do.
    pub fn facts(&self) -> &Facts {
        self.dir.facts()
    }

    /// Locks the directory.  A process that was killed may hold its lock until
    /// its last write has come back, so this tries for a while.
    pub fn lock(&self, kind: LockKind, clock: &Clock) -> Result<()> {
        retry(clock, || self.dir.try_lock(kind).map_err(|error| Error::os("cannot lock the log's directory", &error)))?
            .then_some(())
            .ok_or_else(|| Error::new(Code::Locked, "another process or handle has the log open for writing"))
    }

    /// Locks the directory if nobody holds it.
    pub fn try_lock(&self, kind: LockKind) -> Result<bool> {
        self.dir.try_lock(kind).map_err(|error| Error::os("cannot lock the log's directory", &error))
    }

    /// Gives the directory's lock back.
    pub fn unlock(&self) -> Result<()> {
        self.dir.unlock().map_err(|error| Error::os("cannot unlock the log's directory", &error))
    }

    /// See [`Dir::is_around`].
    pub fn is_around(&self, path: &Path) -> bool {
        self.dir.is_around(path)
    }

    /// See [`Dir::keep_room`].
    pub fn keep_room(&self) -> bool {
        self.dir.keep_room()
    }

    /// See [`Dir::abandon`].
    pub fn abandon(&self) {
        self.dir.abandon();
    }

    /// Makes every change of names so far durable, by whomever.
    pub fn sync(&self) -> Result<()> {
        self.dir.sync().map_err(|error| Error::flush("cannot flush the log's directory", &error))
    }

    /// Reads the directory anew.
    pub fn scan(&self) -> Result<Listing> {
        // Against the writer of this process: a list read before its change must not replace what it noted after.
        let mut next = lock(&self.names);
        let names = self.dir.list().map_err(|error| match error.raw_os_error() {
            // It is open: somebody has removed it.
            Some(libc::ENOENT) => Error::new(Code::Corrupt, "the log's directory is gone"),
            _ => Error::os("cannot read the log's directory", &error),
        })?;
        let mut listing = Listing::default();
        for name in names {
            match Named::parse(&name) {
                Named::Segment(segment) => listing.segments.push(segment),
                Named::Spare(n) => listing.spares.push(n),
                Named::Unknown => listing.unknown.push(name),
                Named::Holds => listing.holds = true,
                Named::Sink => listing.sink = true,
                Named::HoldsNew | Named::SinkNew | Named::Foreign => {}
            }
        }
        let last_index = self.last_index.load(Ordering::Relaxed);
        listing.segments.retain(|segment| segment.index <= last_index);
        listing.segments.sort_unstable_by_key(|segment| (segment.index, segment.state, segment.first_seq));
        listing.spares.sort_unstable();
        listing.unknown.sort_unstable();
        // Nobody counts to the end of the range: behind a file that is named so there is no name.
        if let Some(&n) = listing.spares.iter().rfind(|n| **n < SPARE_NUMBER_MAX) {
            next.0 = next.0.max(n + 1);
        }
        let mut segments = lock(&self.segments);
        let before = std::mem::replace(&mut *segments, listing.segments.clone());
        // A follower's copy may begin with any segment; who looks at its position says what is missing.
        if listing.sink || !retain::has_lost_elders(&listing.segments) {
            self.lost_from.store(0, Ordering::Relaxed);
        } else if !retain::has_lost_elders(&before) {
            self.lost_from.store(first_seq(&before), Ordering::Relaxed);
        }
        drop(segments);
        Ok(listing)
    }

    /// What is wrong if segments in front, which were there when this was opened, are missing and were not released: who
    /// wants them is not told that they were.
    pub fn lost_elders(&self) -> Result<Option<Error>> {
        for _ in 0..LOOKS {
            if !self.has_lost_elders() {
                return Ok(None);
            }
            // A listing may lack a name that changes meanwhile.
            self.scan()?;
        }
        let index = self.segments().first().map_or(0, |oldest| oldest.index - 1);
        let text = "the oldest segments are missing, and were never released";
        let error = Error::new(Code::Corrupt, text).in_segment(index).about_seq(self.first_seq());
        Ok(self.has_lost_elders().then_some(error))
    }

    fn has_lost_elders(&self) -> bool {
        self.lost_from(&lock(&self.segments)).is_some()
    }

    fn lost_from(&self, segments: &[SegmentName]) -> Option<u64> {
        let lost_from = self.lost_from.load(Ordering::Relaxed);
        (lost_from != 0 && retain::has_lost_elders(segments)).then_some(lost_from)
    }

    /// Whether there is a file with a segment's name, behind [`Directory::end_at`] too.
    pub fn has_segment_files(&self) -> Result<bool> {
        let names = self.dir.list().map_err(|error| Error::os("cannot read the log's directory", &error))?;
        Ok(names.iter().any(|name| matches!(Named::parse(name), Named::Segment(_))))
    }

    /// The segments as they are now, none left out: a listing may lack a name that changes meanwhile, and what is
    /// decided by its neighbours then would be decided about it.  Busy: no listing is that of a whole log.
    pub fn scan_whole(&self) -> Result<Vec<SegmentName>> {
        let mut wrong = String::new();
        for _ in 0..LOOKS {
            let segments = self.scan()?.segments;
            match retain::check(&segments) {
                Ok(()) => return Ok(segments),
                Err((_, text)) => wrong = text,
            }
        }
        self.lost_elders()?.map_or(Ok(()), Err)?;
        Err(Error::new(Code::Busy, format!("the segments change too fast, or are damaged: {wrong}")))
    }

    /// Bytes of all segments' and spares' files.
    pub fn size(&self) -> Result<u64> {
        for _ in 0..LOOKS {
            let listing = self.scan()?;
            let segments = listing.segments.iter().map(ToString::to_string);
            let names = segments.chain(listing.spares.iter().map(|n| super::name::spare_name(*n)));
            let mut sum = 0;
            let mut whole = true;
            for name in names {
                match self.dir.open(&name, Access::Read).and_then(|file| file.size()) {
                    Ok(size) => sum += size,
                    // It has another name since the listing: counted in the next one.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => whole = false,
                    Err(error) => return Err(cannot_open(&name, &error)),
                }
            }
            if whole {
                return Ok(sum);
            }
        }
        Err(Error::new(Code::Busy, "the log's files change too fast to be measured"))
    }

    /// The segments, in order of index.
    pub fn segments(&self) -> Vec<SegmentName> {
        lock(&self.segments).clone()
    }

    /// The segment with this index.
    pub fn segment(&self, index: u64) -> Option<SegmentName> {
        retain::of_index(&lock(&self.segments), index)
    }

    /// Number of the oldest record that was not released.
    pub fn first_seq(&self) -> u64 {
        let segments = lock(&self.segments);
        self.lost_from(&segments).unwrap_or_else(|| first_seq(&segments))
    }

    /// Opens a segment by index.  Its name may change under us: look again then.
    pub fn open_segment(&self, index: u64, access: Access) -> Result<(SegmentName, Arc<dyn File>)> {
        let gone = || Error::new(Code::NotFound, format!("segment {index} is gone")).in_segment(index);
        // The list is a reader's own reading of the directory, and may have been left short like any other.
        let mut name = match self.segment(index) {
            Some(name) => name,
            None => self.find_again(index)?.ok_or_else(gone)?,
        };
        loop {
            match self.dir.open(&name.to_string(), access) {
                Ok(file) => return Ok((name, file)),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    let before = name;
                    name = self.find_again(index)?.ok_or_else(gone)?;
                    if name == before {
                        return Err(Error::os(format_args!("cannot open {name}"), &error).in_segment(index));
                    }
                }
                Err(error) => return Err(cannot_open(&name, &error).in_segment(index)),
            }
        }
    }

    /// None: it is gone.  A name that is changed while the directory is read may be left out of what was read, under
    /// its old name and under its new one; but segments go oldest first, so one that has elders is still there.
    fn find_again(&self, index: u64) -> Result<Option<SegmentName>> {
        for _ in 0..LOOKS {
            let segments = self.scan()?.segments;
            let found = segments.iter().find(|segment| segment.index == index);
            let released = !retain::has_lost_elders(&segments) && index < segments[0].index;
            if found.is_some() || released {
                return Ok(found.copied());
            }
        }
        Ok(None)
    }

    /// Opens a spare for writing; None: it is gone.
    pub fn open_spare(&self, n: u64) -> Result<Option<Spare>> {
        let (name, salt) = (super::name::spare_name(n), random::id()?);
        match self.dir.open(&name, Access::Write) {
            Ok(file) => Ok(Some(Spare { name, file, salt })),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(cannot_open(&name, &error)),
        }
    }

    /// Makes an empty spare.
    pub fn create_spare(&self) -> Result<Spare> {
        let salt = random::id()?;
        let name = {
            let mut next = lock(&self.names);
            next.0 += 1;
            super::name::spare_name(next.0 - 1)
        };
        let file = self.dir.create(&name).map_err(|error| Error::os(format_args!("cannot create {name}"), &error))?;
        Ok(Spare { name, file, salt })
    }

    /// Removes a spare.  Not durable by itself: a spare that comes back is harmless.
    pub fn remove_spare(&self, spare: Spare) -> Result<()> {
        let name = spare.name;
        self.dir.remove(&name).map_err(|error| Error::os(format_args!("cannot remove {name}"), &error))
    }

    /// A spare, its header durable, becomes the newest segment.
    pub fn publish(&self, spare: &Spare, name: SegmentName) -> Result<()> {
        let _names = lock(&self.names);
        self.rename(&spare.name, &name.to_string())?;
        self.sync()?;
        lock(&self.segments).push(name);
        Ok(())
    }

    /// The active segment `index`, its seal and its successor durable, becomes sealed.
    pub fn seal(&self, index: u64) -> Result<()> {
        let _names = lock(&self.names);
        let Some(name) = self.segment(index).filter(|name| name.state == State::Active) else { return Ok(()) };
        self.rename_segment(name, State::Sealed)?;
        self.sync()
    }

    /// A spare, written and flushed, takes the place of the sealed segment `name`, whose file lives on for those
    /// who have it open.  False: that segment is no longer there under this name.
    pub fn replace(&self, spare: &Spare, name: SegmentName) -> Result<bool> {
        let _names = lock(&self.names);
        if self.segment(name.index) != Some(name) || name.state != State::Sealed {
            return Ok(false);
        }
        self.rename_over(&spare.name, &name.to_string()).map_err(|error| error.in_segment(name.index))?;
        self.sync()?;
        Ok(true)
    }

    /// Sealed segments wholly below `below_seq` that none of `holds` keeps become archived.  Returns how many.
    fn archive(&self, below_seq: u64, holds: &[Hold]) -> Result<u64> {
        let _names = lock(&self.names);
        let releasable = retain::releasable(&self.segments(), below_seq, holds);
        for &name in &releasable {
            self.rename_segment(name, State::Archived)?;
        }
        if !releasable.is_empty() {
            self.sync()?;
        }
        Ok(crate::base::bytes::len_u64(releasable.len()))
    }

    /// Takes the archived segments beyond the `retained` newest out of the log,
    /// oldest first.  One that nobody reads becomes a spare while `wanted` says
    /// so; every other one is unlinked, and lives on for those who read it.
    /// The spares are returned with their writer's lock held.
    fn take_out(&self, retained: u64, mut wanted: u64) -> Result<TakenOut> {
        let mut next = lock(&self.names);
        let removable = retain::removable(&self.segments(), retained);
        if !removable.is_empty() {
            // An earlier flush of archived names may have failed or been interrupted; with the elders gone and
            // those names lost, the oldest file would be one that is neither the first nor archived.
            self.sync()?;
        }
        let (mut spares, mut removed) = (Vec::new(), 0);
        for name in &removable {
            match self.take_one_out(name, &mut next, wanted > 0) {
                Ok(Some(spare)) => {
                    spares.push(spare);
                    wanted -= 1;
                }
                Ok(None) => removed += 1,
                // What came out before it is out, and of use.
                Err(error) => {
                    if !spares.is_empty() || removed > 0 {
                        self.sync()?;
                    }
                    return Ok(TakenOut { spares, removed, failed: Some(error) });
                }
            }
            lock(&self.segments).retain(|segment| segment.index != name.index);
        }
        if !removable.is_empty() {
            // Before the first byte of a recycled file changes, its old name is durably gone.
            self.sync()?;
        }
        Ok(TakenOut { spares, removed, failed: None })
    }

    /// None: it was removed.
    fn take_one_out(&self, name: &SegmentName, next: &mut NextSpare, wanted: bool) -> Result<Option<Spare>> {
        let file_name = name.to_string();
        let recycled = if wanted { self.lock_unread(&file_name)? } else { None };
        let Some(file) = recycled else {
            self.dir.remove(&file_name).map_err(|error| cannot_remove(name, &error).in_segment(name.index))?;
            return Ok(None);
        };
        let (spare, salt) = (super::name::spare_name(next.0), random::id()?);
        next.0 += 1;
        self.rename(&file_name, &spare)?;
        Ok(Some(Spare { name: spare, file, salt }))
    }

    /// The file, locked as ours to overwrite; None: somebody reads it, or it has another name, a backup's say.
    fn lock_unread(&self, name: &str) -> Result<Option<Arc<dyn File>>> {
        let failed = |error| Error::os(format_args!("cannot recycle {name}"), &error);
        let file = self.dir.open(name, Access::Write).map_err(|error| cannot_open(&name, &error))?;
        if file.names().map_err(failed)? != 1 {
            return Ok(None);
        }
        let ours = file.try_lock(LockByte::Reader, LockKind::Exclusive).map_err(failed)?
            && file.try_lock(LockByte::Writer, LockKind::Exclusive).map_err(failed)?;
        Ok(ours.then_some(file))
    }

    fn rename_segment(&self, name: SegmentName, state: State) -> Result<()> {
        self.rename(&name.to_string(), &name.with(state).to_string())?;
        for segment in lock(&self.segments).iter_mut().filter(|segment| segment.index == name.index) {
            segment.state = state;
        }
        Ok(())
    }

    fn rename_over(&self, from: &str, over: &str) -> Result<()> {
        self.dir
            .replace(from, over)
            .map_err(|error| Error::os(format_args!("cannot rename {from} over {over}"), &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.dir.rename(from, to).map_err(|error| Error::os(format_args!("cannot rename {from} to {to}"), &error))
    }
}

/// The lowest of those that can be read: the oldest one's, unless its name is damaged.
fn first_seq(segments: &[SegmentName]) -> u64 {
    segments[retain::first_live(segments)..].iter().map(|segment| segment.first_seq).min().unwrap_or(1)
}

/// The end of a long path, so that an error's text has room for the reason.
fn shortened(path: &Path) -> String {
    let text = path.display().to_string();
    match text.char_indices().rev().nth(120) {
        Some((at, _)) => format!("...{}", &text[at..]),
        None => text,
    }
}

fn cannot_open(name: &dyn std::fmt::Display, error: &std::io::Error) -> Error {
    match is_no_file(error) {
        true => Error { os_errno: libc::ELOOP, ..Error::new(Code::Corrupt, not_a_file(name)) },
        false => Error::os(format_args!("cannot open {name}"), error),
    }
}

fn cannot_remove(name: &dyn std::fmt::Display, error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        // Not the device's failure: what was put there is no file.
        Some(libc::EISDIR) => Error::new(Code::Corrupt, not_a_file(name)),
        _ => Error::os(format_args!("cannot remove {name}"), error),
    }
}

/// What to say of it.
pub fn not_a_file(name: &dyn std::fmt::Display) -> String {
    format!("{name} is not a file")
}

fn is_no_file(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

/// Locks `file` as ours to write; see [`Directory::lock`] for why this waits.
pub fn lock_for_writing(file: &dyn File, name: &dyn std::fmt::Display, clock: &Clock) -> Result<()> {
    let failed = |error| Error::os(format_args!("cannot lock {name}"), &error);
    retry(clock, || file.try_lock(LockByte::Writer, LockKind::Exclusive).map_err(failed))?
        .then_some(())
        .ok_or_else(|| Error::new(Code::Locked, format!("{name} is still being written by another process")))
}

/// Tries until true, for [`LOCK_WAIT_MS`].
fn retry(clock: &Clock, mut attempt: impl FnMut() -> Result<bool>) -> Result<bool> {
    let until_ns = clock.now_ns().saturating_add(LOCK_WAIT_MS * 1_000_000);
    loop {
        if attempt()? {
            return Ok(true);
        }
        if clock.now_ns() >= until_ns {
            return Ok(false);
        }
        clock.pass(Duration::from_millis(2));
    }
}

/// No code under these locks can panic half-way through a change, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
