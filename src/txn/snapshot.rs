//! The table as a checkpoint's payload, and back: docs/FORMAT.md, Transactions.
//!
//! What is restored equals what was written, or is refused: a checkpoint stands
//! in the place of every record before it, so half of one is worth nothing.

use super::event::{get_name, Checkpoint, Event, SagaEvent, Step, TransactionEvent};
use super::limits::COMMITTED_KEPT;
use super::saga::SagaStep;
use super::{Participant, Rules, Saga, SagaState, StepStatus, Streams, Table, Transaction, TransactionState};
use crate::base::bytes::*;
use crate::base::{Code, Error};

/// Version of the state's layout.
pub const VERSION: u32 = 1;

/// Bytes of an empty table's state.
pub const HEADER_LEN: usize = 48;
/// Bytes of a saga without its steps.
const SAGA_LEN: usize = 64;
/// Bytes of a step without dependencies and payload.
const STEP_LEN: usize = 20;
/// Bytes of a transaction without its participants.
const TRANSACTION_LEN: usize = 64;
/// Bytes of a participant.
const PARTICIPANT_LEN: usize = 65;

/// Why a checkpoint's state is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadSnapshot {
    /// It ends early, or goes on.
    Length,
    /// A layout this library does not know.
    Version(u32),
    /// A number that no state, status or vote has, or a reserved byte that is not 0.
    Number(u8),
    /// Ids do not rise, are above the highest, or 0.
    Id(u64),
    /// The counts in front of the state are not the state's.
    Count,
    /// A saga whose steps do not fit its state or each other.
    Saga(u64),
    /// A transaction whose votes do not fit its state.
    Transaction(u64),
    /// Streams do not rise, or are dropped by what is younger than the state.
    Stream(u64),
}

impl From<BadSnapshot> for Error {
    fn from(bad: BadSnapshot) -> Error {
        match bad {
            BadSnapshot::Version(version) => {
                Error::new(Code::Version, format!("the checkpoint has the unknown version {version}"))
            }
            bad => Error::new(Code::Corrupt, format!("the checkpoint's state is not one: {bad:?}")),
        }
    }
}

/// How many bytes an event of an operation adds to the state.
pub fn growth(event: &Event) -> usize {
    match event {
        Event::Saga(_, SagaEvent::Created { .. }) => SAGA_LEN,
        Event::Saga(_, SagaEvent::StepAdded(step)) => step_len(step),
        Event::Transaction(_, TransactionEvent::Created { .. }) => TRANSACTION_LEN,
        Event::Transaction(_, TransactionEvent::ParticipantAdded { .. }) => PARTICIPANT_LEN,
        _ => 0,
    }
}

fn step_len(step: &Step) -> usize {
    STEP_LEN + 4 * step.depends_on.len() + step.payload.len()
}

/// Bytes of a saga in the state.
pub fn saga_len(saga: &Saga) -> usize {
    SAGA_LEN + saga.steps.iter().map(|step| step_len(&step.step)).sum::<usize>()
}

/// Bytes of a transaction in the state.
pub fn transaction_len(transaction: &Transaction) -> usize {
    TRANSACTION_LEN + PARTICIPANT_LEN * transaction.participants.len()
}

/// Bytes of the table's state, counted anew.
pub fn len_of(table: &Table) -> usize {
    let remembered = table.committed.iter().map(|(_, transaction)| transaction);
    HEADER_LEN
        + table.sagas.values().map(saga_len).sum::<usize>()
        + table.transactions.values().chain(remembered).map(transaction_len).sum::<usize>()
        + table.streams.len()
}

impl Table {
    /// The checkpoint of what was applied so far.
    pub fn checkpoint(&self) -> Checkpoint {
        let mut out = Vec::with_capacity(self.state_len);
        out.extend(VERSION.to_le_bytes());
        out.extend(count(self.committed.len()));
        out.extend(self.saga_highest.to_le_bytes());
        out.extend(self.transaction_highest.to_le_bytes());
        out.extend(self.through_seq.to_le_bytes());
        self.streams.put_counts(&mut out);
        out.extend([0; 4]);
        self.sagas.iter().for_each(|(id, saga)| put_saga(*id, saga, &mut out));
        self.transactions.iter().for_each(|(id, transaction)| put_transaction(*id, transaction, &mut out));
        self.committed.iter().for_each(|(id, transaction)| put_transaction(*id, transaction, &mut out));
        self.streams.put(&mut out);
        assert_eq!(out.len(), self.state_len, "the table counts what its checkpoint takes");
        Checkpoint {
            active_sagas: len_u64(self.sagas.len()),
            active_transactions: len_u64(self.transactions.len()),
            state: out,
        }
    }

    /// The table that a checkpoint was made of.  A checkpoint of the v2.6 layout has no state: [`BadSnapshot::Length`].
    pub fn restore(checkpoint: &Checkpoint) -> Result<Table, BadSnapshot> {
        let mut bytes = Bytes(&checkpoint.state);
        let version = bytes.u32()?;
        if version != VERSION {
            return Err(BadSnapshot::Version(version));
        }
        let committed = bytes.u32()?;
        if usize_of(committed.into()) > COMMITTED_KEPT {
            return Err(BadSnapshot::Count);
        }
        let mut table = Table {
            saga_highest: bytes.u64()?,
            transaction_highest: bytes.u64()?,
            through_seq: bytes.u64()?,
            state_len: checkpoint.state.len(),
            ..Table::new()
        };
        let stream_counts = [bytes.u32()?, bytes.u32()?, bytes.u32()?];
        bytes.zeros(4)?;
        // A count that is too high runs into the end; nothing is taken in advance for it.
        for _ in 0..checkpoint.active_sagas {
            let (id, saga) = get_saga(&mut bytes)?;
            check_id(id, table.sagas.keys().next_back(), table.saga_highest)?;
            check_seqs(saga.created_seq, saga.last_seq, table.through_seq).ok_or(BadSnapshot::Saga(id))?;
            table.sagas.insert(id, saga);
        }
        for _ in 0..checkpoint.active_transactions {
            let (id, transaction) = get_transaction(&mut bytes, table.through_seq)?;
            check_id(id, table.transactions.keys().next_back(), table.transaction_highest)?;
            if transaction.state.is_finished() {
                return Err(BadSnapshot::Transaction(id));
            }
            table.transactions.insert(id, transaction);
        }
        for _ in 0..committed {
            let (id, transaction) = get_transaction(&mut bytes, table.through_seq)?;
            check_id(id, None, table.transaction_highest)?;
            let doubled = table.transactions.contains_key(&id) || table.committed.iter().any(|(other, _)| *other == id);
            if doubled || transaction.state != TransactionState::Committed {
                return Err(BadSnapshot::Transaction(id));
            }
            table.committed.push_back((id, transaction));
        }
        table.streams = Streams::get(stream_counts, table.through_seq, &mut bytes)?;
        if bytes.0.is_empty() {
            Ok(table)
        } else {
            Err(BadSnapshot::Length)
        }
    }
}

fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("limits keep counts small").to_le_bytes()
}

fn put_saga(id: u64, saga: &Saga, out: &mut Vec<u8>) {
    out.extend(id.to_le_bytes());
    out.extend(saga.created_seq.to_le_bytes());
    out.extend(saga.last_seq.to_le_bytes());
    out.extend(saga.coordinator);
    out.extend([number_of_saga(saga.state), 0, 0, 0]);
    out.extend(count(saga.steps.len()));
    for SagaStep { step, status, .. } in &saga.steps {
        let (number, detail) = number_of_step(*status);
        out.extend(step.index.to_le_bytes());
        out.extend([step.action, number]);
        out.extend(u16::try_from(step.depends_on.len()).expect("below STEPS_MAX").to_le_bytes());
        out.extend(detail.to_le_bytes());
        out.extend(count(step.payload.len()));
        out.extend([0; 4]);
        out.extend(step.depends_on.iter().flat_map(|index| index.to_le_bytes()));
        out.extend(&step.payload);
    }
}

fn put_transaction(id: u64, transaction: &Transaction, out: &mut Vec<u8>) {
    out.extend(id.to_le_bytes());
    out.extend(transaction.created_seq.to_le_bytes());
    out.extend(transaction.last_seq.to_le_bytes());
    out.extend(transaction.coordinator);
    out.extend([number_of_transaction(transaction.state), transaction.rollback_tries, 0, 0]);
    out.extend(count(transaction.participants.len()));
    for participant in &transaction.participants {
        out.extend(participant.shard);
        out.extend(participant.node);
        out.push(match participant.vote {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        });
    }
}

/// A saga; its steps are added again one by one, under the rules of live ones.
fn get_saga(bytes: &mut Bytes) -> Result<(u64, Saga), BadSnapshot> {
    let (id, created_seq, last_seq) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
    let mut saga = Saga::new(get_name(bytes.take(32)?, 0), created_seq);
    let state = bytes.number(saga_of_number)?;
    bytes.zeros(3)?;
    for _ in 0..bytes.u32()? {
        let (index, action, number) = (bytes.u32()?, bytes.u8()?, bytes.u8()?);
        let dependencies = usize::from(get_u16(bytes.take(2)?, 0));
        let (detail, len) = (bytes.u32()?, bytes.u32()?);
        bytes.zeros(4)?;
        let depends_on = bytes.take(4 * dependencies)?.chunks_exact(4).map(|index| get_u32(index, 0)).collect();
        let payload = bytes.take(usize_of(len.into()))?.to_vec();
        let step = SagaEvent::StepAdded(Step { index, action, depends_on, payload });
        saga.apply(created_seq, &step, Rules::Strict).map_err(|_| BadSnapshot::Saga(id))?;
        let status = step_of_number(number, detail).ok_or(BadSnapshot::Number(number))?;
        saga.steps.last_mut().expect("it was just added").status = status;
    }
    (saga.state, saga.last_seq) = (state, last_seq);
    saga.is_consistent().then_some((id, saga)).ok_or(BadSnapshot::Saga(id))
}

fn get_transaction(bytes: &mut Bytes, through_seq: u64) -> Result<(u64, Transaction), BadSnapshot> {
    let (id, created_seq, last_seq) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
    let mut transaction = Transaction::new(get_name(bytes.take(32)?, 0), created_seq);
    let state = bytes.number(transaction_of_number)?;
    let rollback_tries = bytes.u8()?;
    bytes.zeros(2)?;
    for _ in 0..bytes.u32()? {
        let (shard, node) = (get_name(bytes.take(32)?, 0), get_name(bytes.take(32)?, 0));
        let added = TransactionEvent::ParticipantAdded { shard, node };
        transaction.apply(created_seq, &added, Rules::Strict).map_err(|_| BadSnapshot::Transaction(id))?;
        let vote = match bytes.u8()? {
            0 => None,
            1 => Some(true),
            2 => Some(false),
            other => return Err(BadSnapshot::Number(other)),
        };
        *transaction.participants.last_mut().expect("it was just added") = Participant { shard, node, vote };
    }
    (transaction.state, transaction.last_seq, transaction.rollback_tries) = (state, last_seq, rollback_tries);
    let seqs = check_seqs(created_seq, last_seq, through_seq).is_some();
    (seqs && transaction.is_consistent()).then_some((id, transaction)).ok_or(BadSnapshot::Transaction(id))
}

fn check_id(id: u64, before: Option<&u64>, highest: u64) -> Result<(), BadSnapshot> {
    let rises = before.is_none_or(|before| *before < id);
    (id > 0 && rises && id <= highest).then_some(()).ok_or(BadSnapshot::Id(id))
}

fn check_seqs(created: u64, last: u64, through: u64) -> Option<()> {
    (created <= last && last <= through).then_some(())
}

// The numbers of states: never changed, never used again.

fn number_of_saga(state: SagaState) -> u8 {
    match state {
        SagaState::Created => 0,
        SagaState::Executing => 1,
        SagaState::Failed => 2,
        SagaState::Compensating => 3,
        SagaState::Completed | SagaState::Compensated | SagaState::Aborted => {
            unreachable!("finished ones are not kept")
        }
    }
}

fn saga_of_number(number: u8) -> Option<SagaState> {
    Some(match number {
        0 => SagaState::Created,
        1 => SagaState::Executing,
        2 => SagaState::Failed,
        3 => SagaState::Compensating,
        _ => return None,
    })
}

fn number_of_step(status: StepStatus) -> (u8, u32) {
    match status {
        StepStatus::Pending => (0, 0),
        StepStatus::Succeeded => (1, 0),
        StepStatus::Failed(error) => (2, error),
        StepStatus::CompensationFailed(retries) => (3, retries),
        StepStatus::Compensated => (4, 0),
    }
}

fn step_of_number(number: u8, detail: u32) -> Option<StepStatus> {
    Some(match (number, detail) {
        (0, 0) => StepStatus::Pending,
        (1, 0) => StepStatus::Succeeded,
        (2, error) => StepStatus::Failed(error),
        (3, retries) => StepStatus::CompensationFailed(retries),
        (4, 0) => StepStatus::Compensated,
        _ => return None,
    })
}

fn number_of_transaction(state: TransactionState) -> u8 {
    match state {
        TransactionState::Created => 0,
        TransactionState::Preparing => 1,
        TransactionState::Prepared => 2,
        TransactionState::Refused => 3,
        TransactionState::Committing => 4,
        TransactionState::Committed => 5,
        TransactionState::Aborting => 6,
        TransactionState::RollingBack => 7,
        TransactionState::Aborted | TransactionState::RolledBack => unreachable!("these are not kept"),
    }
}

fn transaction_of_number(number: u8) -> Option<TransactionState> {
    Some(match number {
        0 => TransactionState::Created,
        1 => TransactionState::Preparing,
        2 => TransactionState::Prepared,
        3 => TransactionState::Refused,
        4 => TransactionState::Committing,
        5 => TransactionState::Committed,
        6 => TransactionState::Aborting,
        7 => TransactionState::RollingBack,
        _ => return None,
    })
}

/// Bytes that are read from the front; what is not there is [`BadSnapshot::Length`].
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BadSnapshot> {
        let (front, rest) = self.0.split_at_checked(len).ok_or(BadSnapshot::Length)?;
        self.0 = rest;
        Ok(front)
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn u8(&mut self) -> Result<u8, BadSnapshot> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, BadSnapshot> {
        Ok(get_u32(self.take(4)?, 0))
    }

    pub(super) fn u64(&mut self) -> Result<u64, BadSnapshot> {
        Ok(get_u64(self.take(8)?, 0))
    }

    pub(super) fn i64(&mut self) -> Result<i64, BadSnapshot> {
        Ok(get_i64(self.take(8)?, 0))
    }

    fn number<T>(&mut self, meaning: impl Fn(u8) -> Option<T>) -> Result<T, BadSnapshot> {
        let number = self.u8()?;
        meaning(number).ok_or(BadSnapshot::Number(number))
    }

    pub(super) fn zeros(&mut self, len: usize) -> Result<(), BadSnapshot> {
        match self.take(len)?.iter().find(|byte| **byte != 0) {
            Some(other) => Err(BadSnapshot::Number(*other)),
            None => Ok(()),
        }
    }
}
