//! What a manager tells.  No answer but the counts shows a decision, or an end, that is not durable: see the head of
//! `manager/mod.rs`.

use super::{Manager, State};
use crate::base::bytes::len_u64;
use crate::base::Result;
use crate::log::Log;
use crate::txn::event::Name;
use crate::txn::plan::{next_after, plan, Unfinished};
use crate::txn::{token, Direction, Family, Saga, SagaState, Status, Token, Transaction, TransactionState};

/// What a manager has counted since it was made, and what it has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of sagas appended.
    pub saga_events: u64,
    /// Events of transactions appended.
    pub transaction_events: u64,
    /// Tombstones, purges and applied markers appended.
    pub stream_events: u64,
    /// Checkpoints that are durable.
    pub checkpoints: u64,
    /// Automatic checkpoints that failed; each is tried again later.
    pub checkpoints_failed: u64,
    /// Compactions that came to their end.
    pub compactions: u64,
    /// Automatic compactions that failed; each is tried again later.
    pub compactions_failed: u64,
    /// Number of the last durable checkpoint, found or written: recovery begins with it, and needs every record behind it.
    pub checkpoint_seq: u64,
    /// Sagas that are not finished.
    pub active_sagas: u64,
    /// Transactions that are not finished.
    pub active_transactions: u64,
    /// Bytes of the table's state.
    pub state_bytes: u64,
    /// Recoveries since the log was opened: this manager's, and those of others that it had before.
    pub recoveries: u64,
}

/// What the managers of a log have counted there, all together.
pub(super) fn counted(log: &Log) -> Counts {
    let counters = log.counters();
    Counts {
        saga_events: counters.saga_events.get(),
        transaction_events: counters.transaction_events.get(),
        stream_events: counters.stream_events.get(),
        checkpoints: counters.checkpoints.get(),
        checkpoints_failed: counters.checkpoints_failed.get(),
        ..Counts::default()
    }
}

impl Manager {
    /// Where a saga is.
    ///
    /// # Errors
    /// Poisoned, Closed, Io: the log takes nothing more.
    pub fn saga_status(&self, id: u64) -> Result<Status<SagaState>> {
        self.look_at_ends(|state| state.table.saga_status(id), |status| *status == Status::Finished)
    }

    /// Where a transaction is.
    ///
    /// # Errors
    /// As [`Manager::saga_status`].
    pub fn transaction_status(&self, id: u64) -> Result<Status<TransactionState>> {
        self.look_at_ends(|state| state.table.transaction_status(id), |status| *status == Status::Finished)
    }

    /// A saga that is not finished, with its steps.
    ///
    /// # Errors
    /// As [`Manager::saga_status`].
    pub fn saga(&self, id: u64) -> Result<Option<Saga>> {
        self.look_at_ends(|state| state.table.saga(id).cloned(), Option::is_none)
    }

    /// A transaction that is not finished, or a committed one that is remembered, with its participants.
    ///
    /// # Errors
    /// As [`Manager::saga_status`].
    pub fn transaction(&self, id: u64) -> Result<Option<Transaction>> {
        let has_ended = |found: &Option<Transaction>| found.as_ref().is_none_or(|found| found.state().is_finished());
        self.look_at_ends(|state| state.table.transaction(id).cloned(), has_ended)
    }

    /// Every operation that is not finished, as it is now: sagas, then transactions, by id.
    ///
    /// # Errors
    /// As [`Manager::saga_status`].
    pub fn active(&self) -> Result<Vec<Unfinished>> {
        // What is missing in it has ended.
        self.look_at_ends(|state| plan(&state.table), |_| true)
    }

    /// Those of them that recovery found, or an import brought, and nobody runs.
    pub(in crate::txn) fn to_resume(&self) -> Result<Vec<Unfinished>> {
        let nobodys = |state: &State| {
            let mut all = plan(&state.table);
            all.retain(|one| state.to_resume.contains(&(one.family, one.id)));
            all
        };
        self.look_at_ends(nobodys, |_| true)
    }

    /// The first of them that comes after this one, for who goes through them one by one; (Saga, 0): the very first.
    ///
    /// # Errors
    /// As [`Manager::saga_status`].
    pub fn active_after(&self, after: (Family, u64)) -> Result<Option<Unfinished>> {
        self.look_at_ends(|state| next_after(&state.table, after), |_| true)
    }

    /// What was counted: of events, also those that are not durable.
    ///
    /// # Errors
    /// As [`Manager::saga_status`].
    pub fn counts(&self) -> Result<Counts> {
        let state = self.lock()?;
        let counts = Counts {
            compactions: self.inner.compactor.compactions.get(),
            compactions_failed: self.inner.compactor.compactions_failed.get(),
            checkpoint_seq: self.inner.compactor.checkpoint_seq.load(std::sync::atomic::Ordering::Relaxed),
            active_sagas: len_u64(state.table.sagas().len()),
            active_transactions: len_u64(state.table.transactions().len()),
            state_bytes: len_u64(state.table.state_len()),
            recoveries: self.inner.log.recoveries(),
            ..self.counted()
        };
        Ok(counts)
    }

    /// What the log has counted since this manager was made: there is one at a time.
    pub(super) fn counted(&self) -> Counts {
        let (now, before) = (counted(&self.inner.log), &self.inner.counted_before);
        Counts {
            saga_events: now.saga_events - before.saga_events,
            transaction_events: now.transaction_events - before.transaction_events,
            stream_events: now.stream_events - before.stream_events,
            checkpoints: now.checkpoints - before.checkpoints,
            checkpoints_failed: now.checkpoints_failed - before.checkpoints_failed,
            ..now
        }
    }

    /// The name of what is to be done to a saga's step, for whoever does it: the same after every crash.
    pub fn token_of_step(&self, saga: u64, step: u32, direction: Direction) -> Token {
        token::of_step(&self.inner.log.log_id(), saga, step, direction)
    }

    /// The same for a transaction's participant.
    pub fn token_of_shard(&self, transaction: u64, shard: &Name, direction: Direction) -> Token {
        token::of_shard(&self.inner.log.log_id(), transaction, shard, direction)
    }

    pub(in crate::txn) fn look<T>(&self, at: impl FnOnce(&State) -> T) -> Result<T> {
        self.look_at_ends(at, |_| false)
    }

    /// The same; where what is seen shows that an operation has ended, that is durable, too.
    fn look_at_ends<T>(&self, at: impl FnOnce(&State) -> T, shows_end: impl FnOnce(&T) -> bool) -> Result<T> {
        let state = self.lock()?;
        let seen = at(&state);
        let ended_seq = if shows_end(&seen) { state.ended_seq } else { 0 };
        let shown_seq = state.decided_seq.max(ended_seq);
        drop(state);
        self.wait_shown(shown_seq)?;
        Ok(seen)
    }

    /// Makes durable what an answer shows.  Of a decision its own caller is about to; of an end perhaps nobody.
    pub(super) fn wait_shown(&self, shown_seq: u64) -> Result<()> {
        if self.inner.log.durable_seq() >= shown_seq {
            return Ok(());
        }
        self.inner.log.sync(shown_seq)
    }
}
