//! What comes next for one operation, of which nothing is in flight.

use std::collections::BTreeSet;

use crate::txn::event::{Event, Name, SagaEvent, Step, TransactionEvent};
use crate::txn::{Direction, Family, Saga, SagaState, Table, Transaction, TransactionState};

/// Kind and id of an operation.
pub type Key = (Family, u64);

/// One step or participant and what is to be done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Step(Step),
    Shard { shard: Name, node: Name },
}

/// What this resume knows of an operation beside the log.
#[derive(Debug, Default)]
pub struct Known {
    /// Steps of the present level that failed, and how.
    pub failed: Vec<(u32, u32)>,
    /// Participants that were told what was decided.
    pub told: BTreeSet<Name>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These events, as one batch.
    Write(Vec<Event>),
    /// These actions, all at once.
    Act(Name, Direction, Vec<Part>),
    /// Nothing: it is finished.
    Finished,
    /// Nothing: it was not begun.
    Leave,
}

/// See [`Next`].
pub fn next(table: &Table, (family, id): Key, known: &Known) -> Next {
    match family {
        Family::Saga => table.saga(id).map_or(Next::Finished, |saga| next_of_saga(id, saga, &known.failed)),
        Family::Transaction => {
            let transaction = table.transaction(id);
            transaction.map_or(Next::Finished, |transaction| next_of_transaction(id, transaction, &known.told))
        }
    }
}

fn next_of_saga(id: u64, saga: &Saga, failed: &[(u32, u32)]) -> Next {
    let write = |events: Vec<SagaEvent>| Next::Write(events.into_iter().map(|event| Event::Saga(id, event)).collect());
    let act = |direction, indices: &[u32]| {
        let wanted = saga.steps().iter().filter(|step| indices.contains(&step.step.index));
        Next::Act(saga.coordinator, direction, wanted.map(|step| Part::Step(step.step.clone())).collect())
    };
    match saga.state() {
        SagaState::Created => Next::Leave,
        SagaState::Executing if !failed.is_empty() => {
            let failed = failed.iter().map(|&(step, error)| SagaEvent::StepFailed { step, error });
            write(failed.chain([SagaEvent::CompensationStart]).collect())
        }
        SagaState::Executing => match saga.to_execute().as_slice() {
            [] => write(vec![SagaEvent::Completed]),
            steps => act(Direction::Execute, steps),
        },
        SagaState::Failed => write(vec![SagaEvent::CompensationStart]),
        SagaState::Compensating => match saga.to_compensate().as_slice() {
            [] => write(vec![SagaEvent::Compensated]),
            steps => act(Direction::Compensate, steps),
        },
        SagaState::Completed | SagaState::Compensated | SagaState::Aborted => Next::Finished,
    }
}

fn next_of_transaction(id: u64, transaction: &Transaction, told: &BTreeSet<Name>) -> Next {
    let write = |event| Next::Write(vec![Event::Transaction(id, event)]);
    let tell = |direction, complete| {
        let untold = transaction.participants().iter().filter(|one| !told.contains(&one.shard));
        let parts: Vec<_> = untold.map(|one| Part::Shard { shard: one.shard, node: one.node }).collect();
        if parts.is_empty() {
            write(complete)
        } else {
            Next::Act(transaction.coordinator, direction, parts)
        }
    };
    match transaction.state() {
        TransactionState::Created => Next::Leave,
        TransactionState::Preparing | TransactionState::Refused => write(TransactionEvent::AbortStart),
        TransactionState::Prepared => write(TransactionEvent::CommitStart),
        TransactionState::Committing => tell(Direction::Commit, TransactionEvent::CommitComplete),
        TransactionState::Aborting => tell(Direction::Abort, TransactionEvent::AbortComplete),
        TransactionState::RollingBack => tell(Direction::Rollback, TransactionEvent::RollbackComplete),
        TransactionState::Committed | TransactionState::Aborted | TransactionState::RolledBack => Next::Finished,
    }
}
