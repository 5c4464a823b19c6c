//! [`Log`]: open = recover + commit; the Rust API.

mod bytes;
mod compact;
mod follower;
mod iter;
mod keep;
mod layer;
mod lookup;
mod metrics;
mod reader;
mod repair;
mod report;
mod streams;
mod tail;
mod tell;
mod verify;

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::clock::Clock;
use crate::base::counters::Counters;
use crate::base::histogram::Distribution;
use crate::base::options::{Config, Options};
use crate::base::{Code, Error, Result};
use crate::commit::{Commit, Continue, Threads};
use crate::disk::real::RealDisk;
use crate::disk::Disk;
use crate::format::Id;
use crate::read::{Published, Reach};
use crate::recover::open as recover;
use crate::segment::Directory;

pub use crate::commit::{Done, Entry, How, Reservation};
pub use crate::compact::Compacted;
pub use crate::read::{Hidden, Skipped};
pub use crate::recover::finding::{Acknowledged, Finding, Kind as FindingKind};
pub use crate::recover::plan::{Step, StepKind};
pub use crate::recover::repair::Backup;
pub use crate::recover::verify::{Effort, Verified};
pub use crate::segment::retain::HeldBy;
pub use crate::segment::State as SegmentState;
pub use compact::{Candidate, CompactOptions};
pub use iter::{Iter, IterOptions};
pub(crate) use keep::name_of;
pub use keep::{HoldInfo, Segment};
use layer::Kept;
use reader::Reader;
pub use repair::Repair;
pub use report::{Measured, Record, RecoveryReport, Stats, Tail};
pub use streams::StreamCount;
pub use verify::{verify, verify_on, verify_on_with, verify_with};

/// An open log.  Any thread may call; a clone is another handle to the same log.
///
/// ```
/// use twal::{Entry, How, Log, Options};
///
/// # fn main() -> Result<(), twal::Error> {
/// # let dir = std::env::temp_dir().join(format!("twal-doc-{}", std::process::id()));
/// # let options = Options { allow_any_fs: true, ..Options::default() };
/// let log = Log::open(&dir, &options)?;
/// let entry = Entry { data: b"hello", stream: 0, timestamp: None, kind: 0x0100, required: false };
/// let seq = log.append(&entry, How::default())?; // durable when it returns
/// let mut reader = log.iter(seq)?;
/// let record = reader.next_record()?.expect("the record just appended");
/// assert_eq!(record.data, b"hello");
/// log.close()?;
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<Directory>,
    log_id: Id,
    config: Config,
    clock: Clock,
    /// When it was opened, by that clock.
    opened_ns: u64,
    counters: Arc<Counters>,
    report: RecoveryReport,
    side: Side,
    /// Set once, by close.
    closed: AtomicBool,
    /// What the transaction layer keeps, see `log/layer.rs`.
    kept: Kept,
    /// Held while sealed segments are rewritten; close waits for it.
    compacting: Mutex<()>,
}

enum Side {
    Writer(Arc<Commit>),
    Reader(Arc<Reader>),
}

impl Log {
    /// Opens the log in directory `dir`, or makes one.
    ///
    /// # Errors
    /// As `twal_open` in the C header.
    pub fn open(dir: &Path, options: &Options) -> Result<Log> {
        let config = Config::check(options)?;
        let disk = RealDisk::new(config.io_engine, config.allow_any_fs, config.allow_buffered);
        Self::open_config(&disk, dir, config, Clock::real(), Threads::Own)
    }

    /// The same on any disk, with any clock, with or without threads of its own.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_on(disk: &dyn Disk, dir: &Path, options: &Options, clock: Clock, threads: Threads) -> Result<Log> {
        Self::open_config(disk, dir, Config::check(options)?, clock, threads)
    }

    fn open_config(disk: &dyn Disk, dir: &Path, config: Config, clock: Clock, threads: Threads) -> Result<Log> {
        let messages = Arc::clone(&config.messages);
        let opened = Self::open_silently(disk, dir, config, clock, threads);
        tell::opened(&messages, dir, opened)
    }

    fn open_silently(disk: &dyn Disk, dir: &Path, config: Config, clock: Clock, threads: Threads) -> Result<Log> {
        if dir.as_os_str().is_empty() {
            return Err(Error::new(Code::Inval, "the directory's name is empty"));
        }
        let start_ns = clock.now_ns();
        let directory = Arc::new(Directory::open(disk, dir, !config.no_create)?);
        let mut inner = if config.read_only {
            reader::open(directory, config, &clock)?
        } else {
            open_to_write(directory, &config, &clock, threads)?
        };
        inner.opened_ns = start_ns;
        inner.report.duration_us = (clock.now_ns() - start_ns) / 1000;
        Ok(Log { inner: Arc::new(inner) })
    }

    fn writer(&self) -> Result<&Arc<Commit>> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        match &self.inner.side {
            Side::Writer(commit) => Ok(commit),
            Side::Reader(_) => Err(Error::new(Code::ReadOnly, "the log is open for reading only")),
        }
    }

    /// Counts an append whose arguments are refused.
    #[cold]
    pub(crate) fn refused(&self, error: Error) -> Error {
        self.inner.counters.refused(error.code);
        error
    }

    /// Appends one record and returns its number.
    ///
    /// # Errors
    /// As `twal_append_entry`.
    pub fn append(&self, entry: &Entry<'_>, how: How) -> Result<u64> {
        self.writer()?.append_gather(entry, std::iter::once(entry.data), how)
    }

    /// Appends records as one batch, whole or not at all; returns the first one's number.
    ///
    /// # Errors
    /// As `twal_append_batch`.
    pub fn append_batch<'a, I>(&self, entries: I, how: How) -> Result<u64>
    where
        I: ExactSizeIterator<Item = Entry<'a>> + Clone,
    {
        if entries.len() == 0 {
            return Err(self.refused(Error::new(Code::Inval, "a batch has at least one record")));
        }
        self.writer()?.append(entries, how)
    }

    /// Appends one record whose payload is `parts`, one after the other; the data of `entry` is empty.
    ///
    /// # Errors
    /// As `twal_append_gather`.
    pub fn append_gather(&self, entry: &Entry<'_>, parts: &[IoSlice<'_>], how: How) -> Result<u64> {
        self.append_parts(entry, parts.iter().map(|part| &**part), how)
    }

    /// The same of parts that are not in a slice.
    ///
    /// # Errors
    /// As `twal_append_gather`.
    pub fn append_parts<'a, I>(&self, entry: &Entry<'_>, parts: I, how: How) -> Result<u64>
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        if !entry.data.is_empty() {
            return Err(self.refused(Error::new(Code::Inval, "the payload is in the parts, entry.data must be empty")));
        }
        self.writer()?.append_gather(entry, parts, how)
    }

    /// Room for one record of up to `len` bytes in the log's memory, to be filled
    /// in place and then committed; dropping it cancels it.  The data of `entry` is
    /// empty.  Made for records of some KiB and more: each begins a frame.
    ///
    /// Until then it takes up room: where reservations leave too little, everybody
    /// waits for one to be committed.
    ///
    /// ```
    /// # use twal::{Entry, How, Log, Options};
    /// # fn main() -> Result<(), twal::Error> {
    /// # let dir = std::env::temp_dir().join(format!("twal-doc-reserve-{}", std::process::id()));
    /// # let log = Log::open(&dir, &Options { allow_any_fs: true, ..Options::default() })?;
    /// let entry = Entry { data: b"", stream: 0, timestamp: None, kind: 0x0100, required: false };
    /// let mut room = log.reserve(&entry, 64 << 10, How::default())?;
    /// room.data()[..5].copy_from_slice(b"hello"); // read(2) a request's body here
    /// let seq = room.commit(5)?; // durable when it returns
    /// # assert_eq!(seq, 1);
    /// # log.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As `twal_reserve`.
    pub fn reserve(&self, entry: &Entry<'_>, len: usize, how: How) -> Result<Reservation> {
        if !entry.data.is_empty() {
            return Err(self.refused(Error::new(Code::Inval, "the payload comes later, entry.data must be empty")));
        }
        self.writer()?.reserve(entry, len, how)
    }

    /// Makes everything up to `seq` durable; 0 = all accepted when the call begins.
    ///
    /// # Errors
    /// As `twal_sync`.
    pub fn sync(&self, seq: u64) -> Result<()> {
        self.writer()?.sync(seq)
    }

    /// Waits until `seq` is durable, without asking for a flush; 0 = all accepted
    /// when the call begins.  `timeout_ns` None = for ever, Some(0) looks.
    ///
    /// # Errors
    /// As `twal_wait`.
    pub fn wait(&self, seq: u64, timeout_ns: Option<u64>) -> Result<()> {
        let commit = self.writer()?;
        let last = if seq == 0 { commit.last_seq() } else { seq };
        if commit.durable_seq() < last {
            self.inner.counters.durable_waits.one();
        }
        commit.wait(seq, timeout_ns)
    }

    /// As [`Log::sync`], without waiting: `done` is called exactly once, on a
    /// thread of the log's own, when everything up to `seq` is durable, or will
    /// not be; at the latest by [`Log::close`].  None only asks for it.
    ///
    /// What is called may use the log, but not close it.  It should not panic:
    /// that poisons the log.
    ///
    /// # Errors
    /// As `twal_sync_async`; then `done` is not called.
    pub fn sync_async(&self, seq: u64, done: Option<Done>) -> Result<()> {
        self.writer()?.sync_async(seq, done)
    }

    /// A new eventfd that becomes readable each time the durable mark has risen,
    /// once when the log is poisoned and once when it is closed.  It is the
    /// caller's, to be dropped at any time; ask [`Log::durable_seq`] how far it is.
    /// On a log that is open for reading only a thread looks for it.
    ///
    /// # Errors
    /// As `twal_eventfd`.
    pub fn eventfd(&self) -> Result<OwnedFd> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        self.inner.eventfd()
    }

    /// Oldest number that can be read; of an empty or wholly trimmed log last_seq + 1.
    pub fn first_seq(&self) -> u64 {
        self.inner.directory.first_seq()
    }

    /// Newest accepted number, 0 = none yet.
    pub fn last_seq(&self) -> u64 {
        match &self.inner.side {
            Side::Writer(commit) => commit.last_seq(),
            Side::Reader(reader) => reader.bound.load(Ordering::Acquire),
        }
    }

    /// Highest number that is durable, with every one before it.
    pub fn durable_seq(&self) -> u64 {
        self.inner.bound()
    }

    /// Up to where the log's files are durable: what lies in front of it has its last content.  At least everything up
    /// to a [`Log::durable_seq`] that was asked for before.  One load, no lock.
    pub fn reach(&self) -> Reach {
        self.inner.reach().get()
    }

    /// Releases whole segments below `below_seq`; never what a transaction manager needs.
    ///
    /// # Errors
    /// As `twal_trim`.
    pub fn trim(&self, below_seq: u64) -> Result<()> {
        let commit = self.writer()?;
        let last_seq = commit.last_seq();
        if below_seq > last_seq + 1 {
            let text = format!("a trim below {below_seq}: the last record is {last_seq}");
            return Err(Error::new(Code::Inval, text).about_seq(below_seq));
        }
        if let Some(first) = commit.poison() {
            return Err(Error::poisoned_by(&first));
        }
        self.release(commit, below_seq)
    }

    /// Seals the active segment now, if it holds a record.
    ///
    /// # Errors
    /// As `twal_roll`.
    pub fn roll(&self) -> Result<()> {
        self.writer()?.roll()
    }

    /// What open found.
    pub fn report(&self) -> RecoveryReport {
        self.inner.report.clone()
    }

    /// What was counted since open.
    pub fn stats(&self) -> Stats {
        let (inner, counters) = (&self.inner, &self.inner.counters);
        let facts = inner.directory.facts();
        let ((accepted, depth), device_busy_ns, poisoned) = match &inner.side {
            Side::Writer(commit) => (commit.counted(), commit.busy_ns(), commit.poison().is_some()),
            Side::Reader(_) => Default::default(),
        };
        Stats {
            records: accepted.records,
            record_bytes: accepted.record_bytes,
            batches: accepted.batches,
            frames: counters.frames.get(),
            frames_by_appender: counters.frames_by_appender.get(),
            frames_by_writer: counters.frames_by_writer.get(),
            marks: counters.marks.get(),
            flushes: counters.flushes.get(),
            device_bytes: counters.device_bytes.get(),
            bytes_written_twice: 0,
            segments_created: counters.segments_created.get(),
            segments_sealed: counters.segments_sealed.get(),
            segments_archived: counters.segments_archived.get(),
            segments_removed: counters.segments_removed.get(),
            segments_recycled: counters.segments_recycled.get(),
            spare_waits: counters.spare_waits.get(),
            ring_waits: counters.ring_waits.get(),
            ring_bytes: depth.ring_bytes,
            refused_again: counters.refused_again.get(),
            refused_timeout: counters.refused_timeout.get(),
            refused_nospace: counters.refused_nospace.get(),
            corrupted_records: counters.corrupted_records.get(),
            recoveries: u64::from(!inner.report.created),
            compactions: counters.compactions.get(),
            segments_compacted: counters.segments_compacted.get(),
            records_purged: counters.records_purged.get(),
            compaction_bytes_saved: counters.compaction_bytes_saved.get(),
            poisoned,
            engine: facts.engine,
            engine_reason: facts.reason.clone(),
            file_system: facts.file_system.clone(),
            block_size: u64::from(inner.config.block_size),
            segment_size: inner.config.segment_size,
            ring_size: inner.config.ring_size,
            record_size_max: inner.config.record_size_max,
            queue_records: depth.records,
            queue_bytes: depth.bytes,
            frames_in_flight: depth.frames_in_flight,
            device_busy_ns,
            // After the busy time, so that it is never less.
            elapsed_ns: inner.clock.now_ns() - inner.opened_ns,
            durable_waits: counters.durable_waits.get(),
            refused_poisoned: counters.refused_poisoned.get(),
            refused_other: counters.refused_other.get(),
            refused_inval: counters.refused_inval.get(),
            refused_toobig: counters.refused_toobig.get(),
            spare_failures: counters.spare_failures.get(),
            compactions_failed: counters.compactions_failed.get(),
            saga_events: counters.saga_events.get(),
            transaction_events: counters.transaction_events.get(),
            stream_events: counters.stream_events.get(),
            checkpoints: counters.checkpoints.get(),
            checkpoints_failed: counters.checkpoints_failed.get(),
        }
    }

    /// How often which size or time of `measured` was met since open.
    pub fn histogram(&self, measured: Measured) -> Distribution {
        let histograms = &self.inner.counters.histograms;
        let histogram = match measured {
            Measured::QueueWait => &histograms.queue_wait_ns,
            Measured::Write => &histograms.write_ns,
            Measured::Flush => &histograms.flush_ns,
            Measured::Append => &histograms.append_ns,
            Measured::FrameRecords => &histograms.frame_records,
            Measured::FrameBytes => &histograms.frame_bytes,
        };
        histogram.get()
    }

    /// What an opening without threads calls to let time-driven work happen.
    pub fn tick(&self) {
        if let Side::Writer(commit) = &self.inner.side {
            commit.tick();
        }
    }

    /// Whether this thread is inside a function given to [`Log::sync_async`], or one that is told of messages.
    pub fn is_calling(&self) -> bool {
        let answers = match &self.inner.side {
            Side::Writer(commit) => commit.is_calling(),
            Side::Reader(_) => false,
        };
        answers || self.inner.config.messages.is_calling_here()
    }

    /// Everything durable, a mark at the end, locks given back.  Callers that
    /// wait for room get Closed; so does every later call.
    ///
    /// # Errors
    /// The failure that poisoned the log, if one did.  State: called from a
    /// function that the log calls; nothing was closed.
    pub fn close(&self) -> Result<()> {
        if self.is_calling() {
            return Err(Error::new(Code::State, "the log cannot be closed by what it calls"));
        }
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.inner.kept.close();
        // A compaction sees that and gives up: it must not change a name when the directory is somebody else's.
        drop(self.inner.compacting.lock().unwrap_or_else(PoisonError::into_inner));
        let closed = match &self.inner.side {
            Side::Writer(commit) => commit.close(),
            Side::Reader(reader) => {
                reader.end_watch();
                Ok(())
            }
        };
        tell::closed(&self.inner.config.messages);
        closed
    }

    /// Poisons the log because of a bug: a panic was caught on the way out of it.
    pub fn poison_by_panic(&self) {
        if let Side::Writer(commit) = &self.inner.side {
            commit.poison_by(Error::new(Code::Panic, "a panic was caught inside twal"));
        }
    }

    /// What a forked child does instead of close: gives back its copies of descriptors and of the ring, and
    /// touches neither disk nor locks.  What else there is of memory lies behind locks that the parent's
    /// threads may have held at the fork; it goes with the child.
    pub fn abandon_in_child(&self) {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.directory.abandon();
        if let Side::Writer(commit) = &self.inner.side {
            commit.abandon_in_child();
        }
        std::mem::forget(Arc::clone(&self.inner));
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the log is closed")
}

impl Drop for Inner {
    /// A log that is dropped is closed; what that meets, nobody is there to hear.
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            match &self.side {
                Side::Writer(commit) => drop(commit.close()),
                Side::Reader(reader) => reader.end_watch(),
            }
            tell::closed(&self.config.messages);
        }
    }
}

impl Inner {
    fn bound(&self) -> u64 {
        match &self.side {
            Side::Writer(commit) => commit.durable_seq(),
            Side::Reader(reader) => reader.bound.load(Ordering::Acquire),
        }
    }

    /// Up to where the files are durable: at least everything up to [`Inner::bound`], if that was asked before.
    fn reach(&self) -> &Arc<Published> {
        match &self.side {
            Side::Writer(commit) => commit.reach(),
            Side::Reader(reader) => &reader.reach,
        }
    }
}

fn open_to_write(directory: Arc<Directory>, config: &Config, clock: &Clock, threads: Threads) -> Result<Inner> {
    recover::lock(&directory, config, clock)?;
    let counters = Arc::new(Counters::default());
    let opened = recover::open(&directory, config, clock)?;
    let found = &opened.examined;
    let mut report = report::of_examined(&directory, found);
    report.created = opened.created;
    report.frames_rewritten = opened.frames_rewritten;
    let log_id = found.log_id;
    keep::look(&directory, &mut report, (log_id, true), opened.keeps_holds);
    keep::end_at(&directory, found.end.last_seq, &found.newest.name, clock)?;
    let config = opened.config.clone();
    if opened.created {
        counters.segments_created.one();
    }
    let from = Continue {
        file: Arc::clone(&found.newest.file),
        header: found.newest.header,
        end: found.end,
        end_offset: found.end_offset,
        sealed: found.sealed,
        records: found.records_in_newest,
        frames: found.frames_in_newest,
        epoch: opened.epoch,
        epoch_id: opened.epoch_id,
        to_seal: opened.to_seal,
        spares: opened.spares,
    };
    let commit =
        Commit::start(Arc::clone(&directory), config.clone(), clock.clone(), Arc::clone(&counters), threads, from)?;
    keep::remember(&directory, &commit)?;
    let kept = Kept::of_writer(Arc::clone(commit.asked()));
    Ok(Inner {
        directory,
        log_id,
        config,
        clock: clock.clone(),
        opened_ns: 0,
        counters,
        report,
        side: Side::Writer(commit),
        closed: AtomicBool::new(false),
        kept,
        compacting: Mutex::new(()),
    })
}
