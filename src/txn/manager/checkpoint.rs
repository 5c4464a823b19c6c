//! Checkpoints: the table as one record, and the space that it gives back.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::MutexGuard;

use super::append::Origin;
use super::{Manager, State, CHECKPOINT_INTERVAL_DEFAULT};
use crate::base::messages::{Level, Message};
use crate::base::{Code, Error, Result};
use crate::txn::event::Event;
use crate::txn::Family;

impl Manager {
    /// Writes a checkpoint, durable on return, and releases the segments that only hold records which neither it
    /// nor an operation that is not finished needs, unless the options say to keep them.  Returns its number.
    ///
    /// # Errors
    /// As [`Manager::append`]; Busy: an import runs.  TooBig: the log was opened with smaller records than the table needs.  An error of
    /// the release alone, after which the checkpoint is there: its `seq` is the checkpoint's.
    pub fn checkpoint(&self) -> Result<u64> {
        let seq = self.write_checkpoint()?;
        self.compact_when_due();
        Ok(seq)
    }

    pub(super) fn write_checkpoint(&self) -> Result<u64> {
        let _turn = self.take_turn()?;
        self.checkpoint_in_turn()
    }

    /// Says that the last import never was, durable on return, if that is so and nothing says it yet: behind that its ids
    /// are another's.
    pub(super) fn abandon_import(&self) -> Result<()> {
        let _turn = self.take_turn()?;
        let state = self.lock()?;
        let is_abandoned = state.table.is_importing() && !state.import_runs;
        drop(state);
        if is_abandoned {
            self.write_durable()?;
        }
        Ok(())
    }

    /// A recovery's or an import's own.  It releases nothing: who asked for those has not asked for records to go.
    pub(super) fn write_keeping_checkpoint(&self) -> Result<u64> {
        let _turn = self.take_turn()?;
        Ok(self.write_durable()?.0)
    }

    fn take_turn(&self) -> Result<MutexGuard<'_, ()>> {
        let turn = self.inner.checkpointing.lock();
        turn.map_err(|_| Error::new(Code::Panic, "a panic has left a checkpoint half done"))
    }

    /// No operation of this kind gets an id up to this one any more, after a crash too: the checkpoint says so.
    pub(super) fn reserve_ids(&self, family: Family, id: u64) -> Result<()> {
        if self.lock()?.table.raise_highest(family, id) {
            self.write_keeping_checkpoint()?;
        }
        Ok(())
    }

    /// The thread whose event is the last of an interval writes the checkpoint, when its own call is done: whoever
    /// makes the work does it.  One that fails is tried again
    /// half an interval later, and is nobody's error; what stops the log stops the next call anyway.
    pub(super) fn checkpoint_when_due(&self) {
        let Ok(_turn) = self.inner.checkpointing.try_lock() else { return };
        // Another thread may have come first.
        if !self.lock().is_ok_and(|state| self.is_due(&state)) {
            return;
        }
        if self.checkpoint_or_tell() {
            return;
        }
        if let Ok(mut state) = self.lock() {
            state.since_checkpoint = state.since_checkpoint.min(self.interval() / 2);
        }
    }

    /// An event was refused because the log is as large as it may be, and only a checkpoint gives space back.  One
    /// that would release no more than the last one is not written.  False: there is still no space.
    pub(super) fn checkpoint_when_full(&self) -> bool {
        if !self.inner.log.has_limit() {
            return false;
        }
        let last_seq = self.inner.compactor.checkpoint_seq.load(Ordering::Relaxed);
        let Ok(_turn) = self.inner.checkpointing.lock() else { return false };
        // Another thread, refused likewise, may have come first.
        let is_new = self.inner.compactor.checkpoint_seq.load(Ordering::Relaxed) != last_seq;
        (is_new || self.checkpoint_or_tell()) && !self.inner.log.is_beyond_limit()
    }

    /// One that nobody asked for, and a compaction, if that is due then.
    fn checkpoint_or_tell(&self) -> bool {
        match self.checkpoint_in_turn() {
            Ok(_) => self.compact_when_due(),
            Err(error) => {
                // Unless an import has begun: it asks for one itself when it has ended.
                if error.code != Code::Busy {
                    self.checkpoint_failed(&error);
                }
                return false;
            }
        }
        true
    }

    pub(super) fn checkpoint_failed(&self, error: &Error) {
        self.inner.log.counters().checkpoints_failed.one();
        self.inner.log.say(Level::Warning, || Message::of(Level::Warning, "checkpoint_failed", error));
    }

    pub(super) fn is_due(&self, state: &State) -> bool {
        !state.import_runs && state.since_checkpoint >= self.interval()
    }

    fn interval(&self) -> u64 {
        match self.inner.options.checkpoint_interval {
            0 => CHECKPOINT_INTERVAL_DEFAULT,
            interval => interval,
        }
    }

    /// The steps of the table in `manager/mod.rs`.
    fn checkpoint_in_turn(&self) -> Result<u64> {
        let (seq, needed_seq) = match self.last_if_as_good()? {
            Some(last) => last,
            None => self.write_durable()?,
        };
        if !self.inner.options.keep_records {
            self.inner.log.trim(needed_seq).map_err(|error| error.about_seq(seq))?;
        }
        Ok(seq)
    }

    /// In a log that is larger than it may be, the last checkpoint, if a new one would say and release the same: what is
    /// left there is for those that give more back.
    fn last_if_as_good(&self) -> Result<Option<(u64, u64)>> {
        let (log, compactor) = (&self.inner.log, &self.inner.compactor);
        if !log.is_beyond_limit() {
            return Ok(None);
        }
        let last = {
            let state = self.lock()?;
            let seq = compactor.checkpoint_seq.load(Ordering::Relaxed);
            if state.since_checkpoint > 0 || seq < compactor.active_first() {
                return Ok(None);
            }
            (seq, state.table.oldest_seq().map_or(seq, |oldest_seq| oldest_seq.min(seq)))
        };
        // As behind every checkpoint.
        log.sync(0)?;
        Ok(Some(last))
    }

    /// All of them but the last.  The checkpoint's number, and that of the oldest record that is needed.
    fn write_durable(&self) -> Result<(u64, u64)> {
        let (seq, needed_seq) = self.append_checkpoint()?;
        let log = &self.inner.log;
        log.sync(seq)?;
        log.counters().checkpoints.one();
        // Release: whoever does not find an older one any more finds this number (`compact.rs`).
        self.inner.compactor.checkpoint_seq.store(seq, Ordering::Release);
        log.hold(needed_seq);
        Ok((seq, needed_seq))
    }

    /// Its number, and that of the oldest record that is needed once it is durable.
    fn append_checkpoint(&self) -> Result<(u64, u64)> {
        // As of the attempt that succeeded, which is the last.
        let oldest_seq = Cell::new(None);
        let build = |state: &State| {
            if state.import_runs {
                // Of the table without it: behind that, what was imported so far would not be there.
                return Err(Error::new(Code::Busy, "an import runs: no checkpoint is written until it has ended"));
            }
            oldest_seq.set(state.table.oldest_seq());
            let abandoned = state.table.is_importing().then(|| {
                let [saga_highest, transaction_highest] = state.table.highest_ids();
                Event::ImportAbandoned { saga_highest, transaction_highest }
            });
            Ok(abandoned.into_iter().chain([Event::Checkpoint(state.table.checkpoint())]).collect())
        };
        let appended = self.append_and_apply(build, Origin::Here)?;
        let seq = appended.last_seq;
        Ok((seq, oldest_seq.get().map_or(seq, |oldest_seq| oldest_seq.min(seq))))
    }
}
