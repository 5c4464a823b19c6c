//! What happens to operations, streams and the log: the events, their record types, and what each is to the log.
//!
//! Bytes are not here: `event/payload.rs` writes and reads them.  Nor is asked whether an event is legal.

mod payload;

use super::streams::{StreamEvent, STREAM_EVENTS};
use super::Family;

pub(super) use payload::get_name;
pub use payload::{operation_of, BadEvent, CHECKPOINT_SHORT};

/// Record type of a checkpoint.
pub const CHECKPOINT: u16 = 0xF0;
/// Record type of each saga event and its name, rising.
pub const SAGA_EVENTS: [(u16, &str); 11] = [
    (0x01, "created"),
    (0x02, "step_added"),
    (0x03, "execute_start"),
    (0x04, "step_succeeded"),
    (0x05, "step_failed"),
    (0x06, "compensation_start"),
    (0x07, "compensation_succeeded"),
    (0x08, "compensation_failed"),
    (0x09, "completed"),
    (0x0A, "compensated"),
    (0x0B, "aborted"),
];
/// Record type of each transaction event and its name, rising.
pub const TRANSACTION_EVENTS: [(u16, &str); 10] = [
    (0x10, "created"),
    (0x11, "participant_added"),
    (0x12, "prepare_start"),
    (0x13, "vote_received"),
    (0x14, "commit_start"),
    (0x15, "commit_complete"),
    (0x16, "abort_start"),
    (0x17, "abort_complete"),
    (0x18, "rollback_start"),
    (0x19, "rollback_complete"),
];

/// Record type of each marker of an import and its name, rising.
pub const IMPORT_EVENTS: [(u16, &str); 3] =
    [(IMPORT_STARTED, "import_started"), (IMPORT_ENDED, "import_ended"), (IMPORT_ABANDONED, "import_abandoned")];
const IMPORT_STARTED: u16 = 0x30;
const IMPORT_ENDED: u16 = 0x31;
const IMPORT_ABANDONED: u16 = 0x32;

/// A coordinator, shard or node: the program's 32 bytes.
pub type Name = [u8; 32];

/// A step of a saga, as it is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The program's number of it.
    pub index: u32,
    /// What is to be done, in the program's code.
    pub action: u8,
    /// Indices of the steps that must have succeeded before.
    pub depends_on: Vec<u32>,
    /// What the program needs to undo it; not interpreted.
    pub payload: Vec<u8>,
}

/// What happens to a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say what the names of the events say
pub enum SagaEvent {
    Created { coordinator: Name },
    StepAdded(Step),
    ExecuteStart,
    StepSucceeded { step: u32 },
    StepFailed { step: u32, error: u32 },
    CompensationStart,
    CompensationSucceeded { step: u32 },
    CompensationFailed { step: u32, retries: u32 },
    Completed,
    Compensated,
    Aborted,
}

/// What happens to a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransactionEvent {
    Created { coordinator: Name },
    ParticipantAdded { shard: Name, node: Name },
    PrepareStart,
    VoteReceived { shard: Name, commit: bool },
    CommitStart,
    CommitComplete,
    AbortStart,
    AbortComplete,
    RollbackStart,
    RollbackComplete,
}

/// The table of operations at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Sagas that were not finished.
    pub active_sagas: u64,
    /// Transactions that were not finished.
    pub active_transactions: u64,
    /// Their state, see [`super::snapshot`]; empty in the v2.6 layout.
    pub state: Vec<u8>,
}

/// One record of the transaction layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of the saga with this id.
    Saga(u64, SagaEvent),
    /// Of the transaction with this id.
    Transaction(u64, TransactionEvent),
    /// Of the stream with this tag.
    Stream(u64, StreamEvent),
    /// Operations with ids above these, the highest so far, are an import's, until it has ended.
    ImportStarted {
        /// The highest saga's; 0: there was none.
        saga_highest: u64,
        /// The highest transaction's.
        transaction_highest: u64,
    },
    /// What was imported is the log's from here on; without this it never was.
    ImportEnded,
    /// It has not ended and never will: what was imported never was.  The ids are those of its beginning, which may be released
    /// before this is.
    ImportAbandoned {
        /// The highest saga's.
        saga_highest: u64,
        /// The highest transaction's.
        transaction_highest: u64,
    },
    /// Of all.
    Checkpoint(Checkpoint),
}

/// The name of the event with this record type.
pub fn name_of(kind: u16) -> &'static str {
    let own = SAGA_EVENTS.iter().chain(&TRANSACTION_EVENTS);
    let events = own.chain(&STREAM_EVENTS).chain(&IMPORT_EVENTS).chain(&[(CHECKPOINT, "checkpoint")]);
    events.copied().find(|(code, _)| *code == kind).map_or("unknown", |(_, name)| name)
}

impl SagaEvent {
    /// The record type.
    pub fn kind(&self) -> u16 {
        match self {
            SagaEvent::Created { .. } => 0x01,
            SagaEvent::StepAdded(_) => 0x02,
            SagaEvent::ExecuteStart => 0x03,
            SagaEvent::StepSucceeded { .. } => 0x04,
            SagaEvent::StepFailed { .. } => 0x05,
            SagaEvent::CompensationStart => 0x06,
            SagaEvent::CompensationSucceeded { .. } => 0x07,
            SagaEvent::CompensationFailed { .. } => 0x08,
            SagaEvent::Completed => 0x09,
            SagaEvent::Compensated => 0x0A,
            SagaEvent::Aborted => 0x0B,
        }
    }
}

impl TransactionEvent {
    /// The record type.
    pub fn kind(&self) -> u16 {
        match self {
            TransactionEvent::Created { .. } => 0x10,
            TransactionEvent::ParticipantAdded { .. } => 0x11,
            TransactionEvent::PrepareStart => 0x12,
            TransactionEvent::VoteReceived { .. } => 0x13,
            TransactionEvent::CommitStart => 0x14,
            TransactionEvent::CommitComplete => 0x15,
            TransactionEvent::AbortStart => 0x16,
            TransactionEvent::AbortComplete => 0x17,
            TransactionEvent::RollbackStart => 0x18,
            TransactionEvent::RollbackComplete => 0x19,
        }
    }
}

impl Event {
    /// The record type.
    pub fn kind(&self) -> u16 {
        match self {
            Event::Saga(_, event) => event.kind(),
            Event::Transaction(_, event) => event.kind(),
            Event::Stream(_, event) => event.kind(),
            Event::ImportStarted { .. } => IMPORT_STARTED,
            Event::ImportEnded => IMPORT_ENDED,
            Event::ImportAbandoned { .. } => IMPORT_ABANDONED,
            Event::Checkpoint(_) => CHECKPOINT,
        }
    }

    /// As texts name it.
    pub fn name(&self) -> &'static str {
        name_of(self.kind())
    }

    /// Which operation; None of a stream's events, of an import's markers and of a checkpoint.
    pub fn operation(&self) -> Option<(Family, u64)> {
        match self {
            Event::Saga(id, _) => Some((Family::Saga, *id)),
            Event::Transaction(id, _) => Some((Family::Transaction, *id)),
            _ => None,
        }
    }

    /// An operation begins with it.
    pub fn begins(&self) -> bool {
        matches!(self.kind(), 0x01 | 0x10)
    }

    /// A decision: it must be durable before anybody acts on it, whatever the log's mode is (B14).
    pub fn must_be_durable(&self) -> bool {
        matches!(self.kind(), 0x01 | 0x03 | 0x06 | 0x10 | 0x12 | 0x14 | 0x16 | 0x18 | IMPORT_ENDED | CHECKPOINT)
    }

    /// The operation is finished with it: what took part in it may forget it, once that is durable.
    pub fn ends(&self) -> bool {
        matches!(self.kind(), 0x09 | 0x0A | 0x0B | 0x15 | 0x17 | 0x19)
    }

    /// An operation that is there comes nearer to its end, with nothing that it would have to do or to remember in addition.
    pub fn leads_to_end(&self) -> bool {
        // Neither begins nor starts anything, and a failed compensation may be told without end.
        matches!(self.kind(), 0x04..=0x07 | 0x09..=0x0B | 0x13..=0x19)
    }
}
