//! One method for each event, and for a whole saga or transaction at once.
//!
//! Each returns the number of its record.  `sync` is as in [`Manager::append`]; decisions have no
//! choice: they are durable when the method returns.  Errors are those of [`Manager::append`].

use super::{Manager, State};
use crate::base::{Code, Error, Result};
use crate::txn::event::{Event, Name, SagaEvent, Step, TransactionEvent};
use crate::txn::limits::ID_LEAP_MAX;
use crate::txn::Family;

/// A saga, told as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SagaSpec {
    /// None: the next one.  Else above every earlier saga's, and at most [`ID_LEAP_MAX`].
    pub id: Option<u64>,
    /// Who runs it: the program's bytes.
    pub coordinator: Name,
    /// Its steps; one that depends on others comes after them.
    pub steps: Vec<Step>,
    /// It is executed from now on: no step can be added.
    pub start: bool,
}

/// An operation, and an event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub id: u64,
    /// Number of the first record that the call wrote.
    pub seq: u64,
}

fn id_for(state: &State, family: Family, brought: Option<u64>) -> Result<u64> {
    match brought {
        Some(0) => Err(Error::new(Code::Inval, "an operation's id is not 0")),
        Some(id) if id > ID_LEAP_MAX => {
            Err(Error::new(Code::Inval, format!("the id {id} is above 2^63: those are only given, one by one")))
        }
        Some(id) => Ok(id),
        None => state.table.next_id(family).ok_or_else(|| Error::new(Code::State, "there are no ids left")),
    }
}

/// Sagas.
#[allow(clippy::missing_errors_doc)] // the head of this file has them
impl Manager {
    /// A new saga, with its steps, in one batch.  Durable.
    pub fn saga_create(&self, spec: &SagaSpec) -> Result<Begun> {
        let build = |state: &State| {
            let id = id_for(state, Family::Saga, spec.id)?;
            let created = SagaEvent::Created { coordinator: spec.coordinator };
            let steps = spec.steps.iter().cloned().map(SagaEvent::StepAdded);
            let start = spec.start.then_some(SagaEvent::ExecuteStart);
            Ok([created].into_iter().chain(steps).chain(start).map(|event| Event::Saga(id, event)).collect())
        };
        self.begin(build)
    }

    /// Events of the one operation that `build` chooses.
    pub(super) fn begin(&self, build: impl Fn(&State) -> Result<Vec<Event>>) -> Result<Begun> {
        let appended = self.append_with(build, None)?;
        let (_, id) = appended.events[0].operation().expect("it is an operation's");
        Ok(Begun { id, seq: appended.first_seq })
    }

    fn saga_event(&self, id: u64, event: SagaEvent, sync: Option<bool>) -> Result<u64> {
        self.append(&[Event::Saga(id, event)], sync)
    }

    /// One more step of a saga that is not started.
    pub fn saga_add_step(&self, id: u64, step: Step, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::StepAdded(step), sync)
    }

    /// Steps run from now on.  Durable.
    pub fn saga_start(&self, id: u64) -> Result<u64> {
        self.saga_event(id, SagaEvent::ExecuteStart, None)
    }

    /// A step is done.
    pub fn saga_step_succeeded(&self, id: u64, step: u32, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::StepSucceeded { step }, sync)
    }

    /// A step is not done and will not be.  To be written when no other step is in flight: see `saga.rs`.
    pub fn saga_step_failed(&self, id: u64, step: u32, error: u32, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::StepFailed { step, error }, sync)
    }

    /// What was done is undone from now on.  Durable.  To be written when no step is in flight, too: one whose outcome never
    /// comes is not undone.
    pub fn saga_compensation_start(&self, id: u64) -> Result<u64> {
        self.saga_event(id, SagaEvent::CompensationStart, None)
    }

    /// A step is undone.
    pub fn saga_compensation_succeeded(&self, id: u64, step: u32, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::CompensationSucceeded { step }, sync)
    }

    /// Undoing a step failed so many times; it can be tried again.
    pub fn saga_compensation_failed(&self, id: u64, step: u32, retries: u32, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::CompensationFailed { step, retries }, sync)
    }

    /// Finished: every step is done.
    pub fn saga_completed(&self, id: u64, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::Completed, sync)
    }

    /// Finished: everything that was done is undone.
    pub fn saga_compensated(&self, id: u64, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::Compensated, sync)
    }

    /// Finished: given up.
    pub fn saga_aborted(&self, id: u64, sync: Option<bool>) -> Result<u64> {
        self.saga_event(id, SagaEvent::Aborted, sync)
    }
}

/// Two-phase commits.
#[allow(clippy::missing_errors_doc)] // the head of this file has them
impl Manager {
    /// A new transaction with these participants (shard, node), in one batch; `id` None: the next one.  Durable.
    pub fn transaction_create(
        &self,
        id: Option<u64>,
        coordinator: Name,
        participants: &[(Name, Name)],
    ) -> Result<Begun> {
        let build = |state: &State| {
            let id = id_for(state, Family::Transaction, id)?;
            let added = |&(shard, node): &(Name, Name)| TransactionEvent::ParticipantAdded { shard, node };
            let created = std::iter::once(TransactionEvent::Created { coordinator });
            let events = created.chain(participants.iter().map(added));
            Ok(events.map(|event| Event::Transaction(id, event)).collect())
        };
        self.begin(build)
    }

    fn transaction_event(&self, id: u64, event: TransactionEvent, sync: Option<bool>) -> Result<u64> {
        self.append(&[Event::Transaction(id, event)], sync)
    }

    /// One more participant of a transaction that is not being prepared.
    pub fn transaction_add_participant(&self, id: u64, shard: Name, node: Name, sync: Option<bool>) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::ParticipantAdded { shard, node }, sync)
    }

    /// Votes are asked for from now on; no participant can be added.  Durable.
    pub fn transaction_prepare(&self, id: u64) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::PrepareStart, None)
    }

    /// A participant's vote.
    pub fn transaction_vote(&self, id: u64, shard: Name, commit: bool, sync: Option<bool>) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::VoteReceived { shard, commit }, sync)
    }

    /// Commit is decided; all have voted for it.  Durable.
    pub fn transaction_commit_start(&self, id: u64) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::CommitStart, None)
    }

    /// Every participant has committed.
    pub fn transaction_commit_complete(&self, id: u64, sync: Option<bool>) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::CommitComplete, sync)
    }

    /// Abort is decided.  Durable.
    pub fn transaction_abort_start(&self, id: u64) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::AbortStart, None)
    }

    /// Nothing of it is there at any participant.
    pub fn transaction_abort_complete(&self, id: u64, sync: Option<bool>) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::AbortComplete, sync)
    }

    /// A commit is undone from now on.  Durable.
    pub fn transaction_rollback_start(&self, id: u64) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::RollbackStart, None)
    }

    /// The commit is undone at every participant.
    pub fn transaction_rollback_complete(&self, id: u64, sync: Option<bool>) -> Result<u64> {
        self.transaction_event(id, TransactionEvent::RollbackComplete, sync)
    }
}
