//! What a recovery finds in the records, and what is to be done about it.
//!
//! [`Rebuild`] takes the records one by one, from any point at or before the last
//! checkpoint that is wanted; each checkpoint replaces what was built before it.
//! [`plan`] is a pure function of the table: B4's table.
//!
//! Presumed abort: a transaction without its votes aborts.  With all of them commit
//! it commits, though the decision was not written: nobody can have been told to
//! abort, because `abort_start` would have been durable before.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::event::{operation_of, BadEvent, Event, Name};
use super::snapshot::BadSnapshot;
use super::{Family, Refusal, Rules, Saga, SagaState, Table, Transaction, TransactionState};
use crate::base::{Code, Error};

/// What is to be done about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing: it is finished, or was never begun.
    None,
    /// Run the steps without an outcome.
    SagaResumeExecute,
    /// Undo the steps that succeeded.
    SagaResumeCompensate,
    /// Commit at every participant.
    TxResumeCommit,
    /// Abort at every participant.
    TxResumeAbort,
    /// Undo the commit at every participant.
    TxResumeRollback,
}

impl Action {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Action::None => "none",
            Action::SagaResumeExecute => "saga_resume_execute",
            Action::SagaResumeCompensate => "saga_resume_compensate",
            Action::TxResumeCommit => "tx_resume_commit",
            Action::TxResumeAbort => "tx_resume_abort",
            Action::TxResumeRollback => "tx_resume_rollback",
        }
    }

    /// The same in the v2.6 words, which know no rollback.
    pub fn exported(self) -> Action {
        match self {
            Action::TxResumeRollback => Action::TxResumeAbort,
            other => other,
        }
    }

    /// For a saga in this state.
    pub fn of_saga(state: SagaState) -> Action {
        match state {
            SagaState::Executing => Action::SagaResumeExecute,
            SagaState::Failed | SagaState::Compensating => Action::SagaResumeCompensate,
            SagaState::Created | SagaState::Completed | SagaState::Compensated | SagaState::Aborted => Action::None,
        }
    }

    /// For a transaction in this state.
    pub fn of_transaction(state: TransactionState) -> Action {
        match state {
            TransactionState::Prepared | TransactionState::Committing => Action::TxResumeCommit,
            TransactionState::Preparing | TransactionState::Refused | TransactionState::Aborting => {
                Action::TxResumeAbort
            }
            TransactionState::RollingBack => Action::TxResumeRollback,
            TransactionState::Created
            | TransactionState::Committed
            | TransactionState::Aborted
            | TransactionState::RolledBack => Action::None,
        }
    }
}

/// Where an operation is, of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A saga.
    Saga(SagaState),
    /// A transaction.
    Transaction(TransactionState),
}

/// An operation that is not finished: B5's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Its kind.
    pub family: Family,
    /// Its id.
    pub id: u64,
    /// Where it is.
    pub state: State,
    /// What is to be done.
    pub action: Action,
    /// Number of its last record.
    pub last_seq: u64,
    /// Who ran it.
    pub coordinator: Name,
    /// Steps or participants.
    pub parts: usize,
    /// Steps done (in compensation: undone), or votes received.
    pub done: usize,
}

/// Every operation that is not finished: sagas, then transactions, by id.
pub fn plan(table: &Table) -> Vec<Unfinished> {
    let sagas = table.sagas().map(|(id, saga)| Unfinished::of_saga(id, saga));
    sagas.chain(table.transactions().map(|(id, transaction)| Unfinished::of_transaction(id, transaction))).collect()
}

/// The first in the order of [`plan`] that comes after this one, which may be gone.
pub fn next_after(table: &Table, (family, id): (Family, u64)) -> Option<Unfinished> {
    let behind = |id| (Bound::Excluded(id), Bound::Unbounded);
    let saga = || table.sagas.range(behind(id)).next().map(|(id, saga)| Unfinished::of_saga(*id, saga));
    let transaction = |after| {
        let found = table.transactions.range(behind(after)).next();
        found.map(|(id, transaction)| Unfinished::of_transaction(*id, transaction))
    };
    match family {
        Family::Saga => saga().or_else(|| transaction(0)),
        Family::Transaction => transaction(id),
    }
}

impl Unfinished {
    /// Of a saga.
    pub fn of_saga(id: u64, saga: &Saga) -> Unfinished {
        Unfinished {
            family: Family::Saga,
            id,
            state: State::Saga(saga.state()),
            action: Action::of_saga(saga.state()),
            last_seq: saga.last_seq,
            coordinator: saga.coordinator,
            parts: saga.steps().len(),
            done: saga.done(),
        }
    }

    /// Of a transaction.
    pub fn of_transaction(id: u64, transaction: &Transaction) -> Unfinished {
        Unfinished {
            family: Family::Transaction,
            id,
            state: State::Transaction(transaction.state()),
            action: Action::of_transaction(transaction.state()),
            last_seq: transaction.last_seq,
            coordinator: transaction.coordinator,
            parts: transaction.participants().len(),
            done: transaction.voted(),
        }
    }
}

/// A record that was not taken, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It is no event.
    Event(BadEvent),
    /// A checkpoint whose state is not one.
    Snapshot(BadSnapshot),
    /// It is not legal.
    Refused(Refusal),
    /// A checkpoint that says otherwise than the records before it.
    Differs,
}

impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Error {
        match rejected {
            Rejected::Event(bad) => bad.into(),
            Rejected::Snapshot(bad) => bad.into(),
            Rejected::Refused(refusal) => Error { code: Code::Corrupt, ..refusal.into() },
            Rejected::Differs => Error::new(Code::Corrupt, "the checkpoint says otherwise than the records before it"),
        }
    }
}

/// A table in the making.
#[derive(Debug)]
pub struct Rebuild {
    rules: Rules,
    table: Table,
    /// Events taken, those of isolated operations not counted.
    pub replayed: u64,
    /// Checkpoints met.
    pub checkpoints: u64,
    /// Records that are no events or not legal: the first [`REJECTED_KEPT`], and how many in all.
    pub rejected: Vec<(u64, Rejected)>,
    /// See [`Rebuild::rejected`].
    pub rejected_count: u64,
    /// Operations whose events are passed over, with the number of the first that was not legal.
    isolated: BTreeMap<(Family, u64), u64>,
}

/// How many rejected records are kept with their reason.
pub const REJECTED_KEPT: usize = 64;

impl Rebuild {
    /// With nothing read yet.
    pub fn new(rules: Rules) -> Rebuild {
        Rebuild {
            rules,
            table: Table::new(),
            replayed: 0,
            checkpoints: 0,
            rejected: Vec::new(),
            rejected_count: 0,
            isolated: BTreeMap::new(),
        }
    }

    /// Takes a record of twal's own type.  A record that is not taken isolates its operation and
    /// nothing else; the caller decides whether it goes on (an import) or stops (a log).
    pub fn record(&mut self, seq: u64, kind: u16, payload: &[u8]) -> Result<(), Rejected> {
        self.decoded(seq, kind, payload, Event::decode(kind, payload))
    }

    /// The same of a record of the v2.6 layout.
    pub fn record_short(&mut self, seq: u64, kind: u8, payload: &[u8]) -> Result<(), Rejected> {
        self.decoded(seq, kind.into(), payload, Event::decode_short(kind, payload))
    }

    fn decoded(
        &mut self,
        seq: u64,
        kind: u16,
        payload: &[u8],
        decoded: Result<Event, BadEvent>,
    ) -> Result<(), Rejected> {
        let taken = match decoded {
            Ok(event) => self.event(seq, &event),
            Err(bad) => {
                // Something happened to the operation, and nobody can say what.
                if let Some((family, id)) = operation_of(kind, payload).filter(|(_, id)| *id > 0) {
                    self.isolate(family, id, seq);
                }
                Err(Rejected::Event(bad))
            }
        };
        if let Err(rejected) = taken {
            self.rejected_count += 1;
            if self.rejected.len() < REJECTED_KEPT {
                self.rejected.push((seq, rejected));
            }
        }
        taken
    }

    fn event(&mut self, seq: u64, event: &Event) -> Result<(), Rejected> {
        if let Event::Checkpoint(checkpoint) = event {
            self.checkpoints += 1;
            if !checkpoint.state.is_empty() {
                let restored = Table::restore(checkpoint).map_err(Rejected::Snapshot)?;
                // One that has not ended is not in it.
                self.table.imported = None;
                // Only where every record was seen can the two be compared.
                let whole = self.table.through_seq() > 0 && self.isolated.is_empty();
                // The one that wrote it may have had to forget some commits, and knows the ids of what an import left out.
                self.table.remember_at_most(restored.remembered());
                self.table.raise_to(&restored);
                let differs = whole && restored != self.table;
                self.isolated.clear();
                self.table = restored;
                if differs {
                    return Err(Rejected::Differs);
                }
            }
        }
        if event.operation().is_some_and(|operation| self.isolated.contains_key(&operation)) {
            return Ok(());
        }
        self.table.apply(seq, event, self.rules).map_err(|refusal| {
            if let Some((family, id)) = event.operation() {
                self.isolate(family, id, seq);
            }
            Rejected::Refused(refusal)
        })?;
        self.replayed += 1;
        Ok(())
    }

    fn isolate(&mut self, family: Family, id: u64, seq: u64) {
        self.isolated.entry((family, id)).or_insert(seq);
        self.table.raise_highest(family, id); // an id that was seen is never handed out again
    }

    /// Whether the events of an operation are passed over.
    pub fn is_isolated(&self, operation: (Family, u64)) -> bool {
        self.isolated.contains_key(&operation)
    }

    /// Operations whose events are passed over, with the number of the first that was not legal.
    pub fn isolated(&self) -> impl ExactSizeIterator<Item = ((Family, u64), u64)> + '_ {
        self.isolated.iter().map(|(operation, seq)| (*operation, *seq))
    }

    /// The table so far.  An isolated operation is in it as it was before it was isolated.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// As [`Table::make_room`] for what is there already.
    pub(super) fn make_room(&mut self, state_max: usize) -> bool {
        self.table.make_room(0, state_max)
    }

    /// What is to be done.  An isolated operation is reported, and nothing is done about it:
    /// its records contradict each other.
    pub fn plan(&self) -> Vec<Unfinished> {
        let mut plan = plan(&self.table);
        for unfinished in &mut plan {
            if self.isolated.contains_key(&(unfinished.family, unfinished.id)) {
                unfinished.action = Action::None;
            }
        }
        plan
    }

    /// The table, to go on with.
    pub fn into_table(self) -> Table {
        self.table
    }
}
