//! Compaction by the manager: when, as of which checkpoint, and on whose thread.  What goes is `txn/compaction.rs`'s to say.
//!
//! | step | what a crash or failure leaves |
//! |---|---|
//! | 1. the active segment is sealed, if the caller says so | a sealed segment |
//! | 2. a checkpoint is written, unless there is one that all sealed segments lie in front of, and nothing happened since | that checkpoint |
//! | 3. it is read back, and with it is decided | nothing |
//! | 4. segments that lie in front of it are rewritten, oldest first | some are rewritten, each whole; recovery begins behind all of them |
//!
//! A compaction is long, so an automatic one has a thread, which begins when one is due and ends with it.  It holds the log
//! and what is remembered, not the manager: the manager's end ends it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Manager;
use crate::base::counters::Counter;
use crate::base::messages::{Level, Message};
use crate::base::thread::spawn;
use crate::base::{Code, Error, Result};
use crate::log::{CompactOptions, Log};
use crate::txn::compaction::{records_of_unfinished, Compaction, Memory, Policy};
use crate::txn::event::CHECKPOINT;
use crate::txn::{Event, Table};

/// Share of the log's records, percent, that are needed no more when an automatic compaction begins.
pub const COMPACT_PERCENT_DEFAULT: u32 = 50;
/// Numbers in segments sealed since the last compaction, at which the next one begins.
pub const COMPACT_RECORDS_DEFAULT: u64 = 10_000;

/// What a compaction by call is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionOptions {
    /// Seal the active segment first, if the limit on the log's size leaves room for another.
    pub seal: bool,
    /// Only segments whose files become smaller by so many bytes; 0: by any.
    pub saving_min: u64,
}

/// What compactions of a manager share: with each other and with its thread.
pub(super) struct Compactor {
    log: Log,
    /// One compaction at a time.
    memory: Mutex<Memory>,
    /// The manager is going.
    is_over: AtomicBool,
    /// Number of the last durable checkpoint, found or written: noted before anything that a newer one makes needless,
    /// an older one too, is released or compacted away.
    pub(super) checkpoint_seq: AtomicU64,
    pub(super) compactions: Counter,
    pub(super) compactions_failed: Counter,
    /// As of the last compaction; written by it alone, read to say whether the next is due, for which old values will do.
    basis: Basis,
}

/// Where a compaction left the log.
struct Basis {
    /// Segments below this number were looked at.
    below_seq: AtomicU64,
    /// Records that it kept in them.
    records_kept: AtomicU64,
    /// Of these, records of operations.
    events_kept: AtomicU64,
    /// Events that the manager had written.
    events: AtomicU64,
}

impl Compactor {
    /// Nothing was compacted yet; what lies in front of the last checkpoint does not count towards the first.
    pub(super) fn new(log: &Log) -> Compactor {
        let zero = || AtomicU64::new(0);
        Compactor {
            log: log.clone(),
            memory: Mutex::default(),
            is_over: AtomicBool::new(false),
            checkpoint_seq: AtomicU64::new(0),
            compactions: Counter::default(),
            compactions_failed: Counter::default(),
            basis: Basis { below_seq: zero(), records_kept: zero(), events_kept: zero(), events: zero() },
        }
    }

    /// Counting for the first automatic compaction begins at the last checkpoint.
    pub(super) fn begin(&self) {
        self.basis.below_seq.store(self.checkpoint_seq.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Steps 3 and 4.
    fn run(&self, memory: &mut Memory, saving_min: u64, events: u64) -> Result<Compaction> {
        let active_first = self.active_first();
        let (seq, table) = self.last_checkpoint()?;
        let mut policy = Policy::new(seq, table, saving_min, memory);
        let options = CompactOptions { below_seq: seq, saving_min };
        self.log.compact_with(&options, &mut policy, &|| self.is_over.load(Ordering::Acquire))?;
        let done = policy.into_done();
        self.basis.below_seq.store(active_first.min(seq), Ordering::Relaxed);
        self.basis.records_kept.store(done.records_kept, Ordering::Relaxed);
        self.basis.events_kept.store(done.events_kept, Ordering::Relaxed);
        self.basis.events.store(events, Ordering::Relaxed);
        self.compactions.one();
        Ok(done)
    }

    /// Number and state of the last checkpoint.  By the time that one is read, another thread's may have released it.
    fn last_checkpoint(&self) -> Result<(u64, Table)> {
        loop {
            let seq = self.checkpoint_seq.load(Ordering::Acquire);
            match table_at(&self.log, seq) {
                Err(_) if self.checkpoint_seq.load(Ordering::Acquire) != seq => {}
                found => return found.map(|table| (seq, table)),
            }
        }
    }

    fn failed(&self, error: &Error) {
        self.compactions_failed.one();
        self.log.counters().compactions_failed.one();
        self.log.say(Level::Warning, || Message::of(Level::Warning, "compaction_failed", error));
    }

    pub(super) fn active_first(&self) -> u64 {
        self.log.segment_starts().last().map_or(0, |(_, first_seq)| *first_seq)
    }

    /// Alone from now on.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            // What is remembered may be half learnt; without it, more is read.
            let mut memory = poisoned.into_inner();
            *memory = Memory::default();
            self.memory.clear_poison();
            memory
        })
    }
}

/// The state of the checkpoint with this number, as recovery will find it.
fn table_at(log: &Log, seq: u64) -> Result<Table> {
    let mut records = log.iter(seq)?;
    if let Some(record) = records.next_record()?.filter(|record| record.seq == seq && record.kind == CHECKPOINT) {
        if let Event::Checkpoint(checkpoint) = Event::decode(record.kind, record.data)? {
            return Ok(Table::restore(&checkpoint)?);
        }
    }
    Err(Error::new(Code::Corrupt, "the last checkpoint is not where it was written").about_seq(seq))
}

impl Manager {
    /// Rewrites the sealed segments in front of the last checkpoint, which is written first if anything has happened since,
    /// without the records that nobody needs any more: of finished operations, of the program as far as tombstones and
    /// purges drop them, and older checkpoints.  Appends and readers go on meanwhile.
    ///
    /// Waits for an automatic compaction to end.
    ///
    /// # Errors
    /// As [`Manager::checkpoint`] and [`Log::compact`].
    pub fn compact(&self, options: &CompactionOptions) -> Result<Compaction> {
        let compactor = &self.inner.compactor;
        let mut memory = compactor.lock();
        if options.seal {
            match self.inner.log.roll() {
                // What is sealed already is what gives space back.
                Err(error) if error.code == Code::NoSpc && self.inner.log.has_limit() => {}
                rolled => rolled?,
            }
        }
        let seq = compactor.checkpoint_seq.load(Ordering::Relaxed);
        if self.lock()?.since_checkpoint > 0 || seq < compactor.active_first() {
            self.write_checkpoint()?;
        }
        compactor.run(&mut memory, options.saving_min, self.events_written())
    }

    /// Begins an automatic compaction, if the options ask for it, one is due, and none runs.  After a checkpoint.
    pub(super) fn compact_when_due(&self) {
        if !self.is_compaction_due() {
            return;
        }
        let Ok(mut thread) = self.inner.compacting.try_lock() else { return };
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let compactor = Arc::clone(&self.inner.compactor);
        let events = self.events_written();
        let compactions = compactor.compactions.get();
        let started = spawn("twal-compact", move || {
            let mut memory = compactor.lock();
            if compactor.compactions.get() != compactions {
                // One by call came first, and left nothing to do.
                return;
            }
            let done = compactor.run(&mut memory, 0, events);
            if let Some(error) = done.err().filter(|_| !compactor.is_over.load(Ordering::Acquire)) {
                compactor.failed(&error);
            }
        });
        match started {
            Ok(started) => *thread = Some(started),
            Err(error) => self.inner.compactor.failed(&Error::os("cannot start a thread", &error)),
        }
    }

    fn is_compaction_due(&self) -> bool {
        let options = &self.inner.options;
        if !options.compact && options.compact_percent == 0 && options.compact_records == 0 {
            return false;
        }
        let basis = &self.inner.compactor.basis;
        let starts = self.inner.log.segment_starts();
        let (Some((_, first)), Some((_, active_first))) = (starts.first(), starts.last()) else { return false };
        let from = basis.below_seq.load(Ordering::Relaxed).max(*first);
        let sealed = active_first.saturating_sub(from);
        if sealed == 0 {
            return false;
        }
        if sealed >= or_default(options.compact_records, COMPACT_RECORDS_DEFAULT) {
            return true;
        }
        let Ok(unfinished) = self.lock().map(|state| records_of_unfinished(&state.table)) else { return false };
        let records = basis.records_kept.load(Ordering::Relaxed) + (self.inner.log.last_seq() + 1).saturating_sub(from);
        // A compaction that ends on another thread between the two may have counted more.
        let written = self.events_written().saturating_sub(basis.events.load(Ordering::Relaxed));
        let needless = (basis.events_kept.load(Ordering::Relaxed) + written).saturating_sub(unfinished);
        is_enough(needless, records, options.compact_percent)
    }

    fn events_written(&self) -> u64 {
        let counted = self.counted();
        counted.saga_events + counted.transaction_events
    }
}

/// `needless` of `records` are so many percent; 0: as many as by default.
fn is_enough(needless: u64, records: u64, percent: u32) -> bool {
    let percent = or_default(percent.into(), COMPACT_PERCENT_DEFAULT.into());
    needless.saturating_mul(100) >= records.saturating_mul(percent)
}

fn or_default(number: u64, default: u64) -> u64 {
    if number == 0 {
        default
    } else {
        number
    }
}

/// The thread of the last automatic compaction.
pub(super) type Thread = Mutex<Option<JoinHandle<()>>>;

/// The manager goes: its compaction ends.
pub(super) fn end(compactor: &Compactor, thread: &mut Thread) {
    compactor.is_over.store(true, Ordering::Release);
    let thread = thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(thread) = thread {
        // A panic there is counted by nobody: the thread has nothing that was half done but its memory.
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::is_enough;

    #[test]
    fn half_of_the_records_is_enough_by_default() {
        for (needless, percent, expected) in
            [(49, 0, false), (50, 0, true), (74, 75, false), (75, 75, true), (1, 1, true)]
        {
            assert_eq!(is_enough(needless, 100, percent), expected, "{needless} of 100, {percent} %");
        }
    }
}
