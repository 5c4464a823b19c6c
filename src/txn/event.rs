//! The events and the checkpoint as record payloads: docs/FORMAT.md, Transactions.
//!
//! Bytes are hostile: nothing is taken that is not exactly an event, and every
//! refusal says which rule was broken.  Whether an event is legal is not asked here.

use super::limits::{DEPENDENCIES_MAX, STEP_PAYLOAD_MAX};
use super::streams::{StreamEvent, STREAM_EVENTS};
use super::Family;
use crate::base::bytes::*;
use crate::base::{Code, Error};
use crate::format::v26;

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

const AT_ID: usize = 0;
const AT_BODY: usize = AT_ID + 8;
/// Bytes of step_added as the v2.6 layout has it: without dependencies and payload.
const STEP_ADDED_SHORT: usize = AT_BODY + 5;
const AT_DEPENDENCY_COUNT: usize = STEP_ADDED_SHORT;
const AT_DEPENDENCIES: usize = AT_DEPENDENCY_COUNT + 4;
/// Bytes of a checkpoint as the v2.6 layout has it: the counts.
pub const CHECKPOINT_SHORT: usize = 16;

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

/// Why a record is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadEvent {
    /// A type that is no event's.
    Kind(u16),
    /// The payload has not as many bytes as the type has.
    Length {
        /// The record's type.
        kind: u16,
        /// Bytes that there are.
        len: usize,
        /// Bytes that there must be (at least).
        expected: usize,
    },
    /// No operation has the id 0.
    ZeroId(u16),
    /// A vote is 0 or 1.
    Vote(u8),
    /// More dependencies than a step may have.
    Dependencies(u32),
    /// A longer compensation payload than a step may have.
    Payload(usize),
    /// A longer name than a tombstone may have.
    Name(usize),
}

impl From<BadEvent> for Error {
    fn from(bad: BadEvent) -> Error {
        let text = match bad {
            BadEvent::Kind(kind) => format!("record type {kind:#06x} is no event"),
            BadEvent::Length { kind, len, expected } => {
                format!("{} has {len} bytes, not {expected}", name_of(kind))
            }
            BadEvent::ZeroId(kind) => format!("{} has the id 0", name_of(kind)),
            BadEvent::Vote(vote) => format!("vote_received has the vote {vote}"),
            BadEvent::Dependencies(count) => format!("step_added has {count} dependencies"),
            BadEvent::Payload(len) => format!("step_added has a payload of {len} bytes"),
            BadEvent::Name(len) => format!("tombstone has a name of {len} bytes"),
        };
        Error::new(Code::Corrupt, text)
    }
}

/// The name of the event with this record type.
pub fn name_of(kind: u16) -> &'static str {
    let own = SAGA_EVENTS.iter().chain(&TRANSACTION_EVENTS);
    let events = own.chain(&STREAM_EVENTS).chain(&IMPORT_EVENTS).chain(&[(CHECKPOINT, "checkpoint")]);
    events.copied().find(|(code, _)| *code == kind).map_or("unknown", |(_, name)| name)
}

/// Which operation a record is of, without decoding it; None: of none, or it is no event.
pub fn operation_of(kind: u16, payload: &[u8]) -> Option<(Family, u64)> {
    let of = |events: &[(u16, &str)]| events.iter().any(|(code, _)| *code == kind);
    let family = if of(&SAGA_EVENTS) {
        Family::Saga
    } else if of(&TRANSACTION_EVENTS) {
        Family::Transaction
    } else {
        return None;
    };
    (payload.len() >= AT_BODY).then(|| (family, get_u64(payload, AT_ID)))
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

    /// The record: its type and its payload, in the place of what `out` held.
    pub fn encode(&self, out: &mut Vec<u8>) -> u16 {
        out.clear();
        self.encode_behind(out)
    }

    /// The same behind what is in `out`.
    pub fn encode_behind(&self, out: &mut Vec<u8>) -> u16 {
        if let Some((_, id)) = self.operation() {
            out.extend(id.to_le_bytes());
        }
        match self {
            Event::Saga(_, event) => encode_saga(event, out),
            Event::Transaction(_, event) => encode_transaction(event, out),
            Event::Stream(stream, event) => {
                out.extend(stream.to_le_bytes());
                event.encode(out);
            }
            Event::ImportStarted { saga_highest, transaction_highest }
            | Event::ImportAbandoned { saga_highest, transaction_highest } => {
                out.extend(saga_highest.to_le_bytes());
                out.extend(transaction_highest.to_le_bytes());
            }
            Event::ImportEnded => {}
            Event::Checkpoint(checkpoint) => {
                out.extend(checkpoint.active_sagas.to_le_bytes());
                out.extend(checkpoint.active_transactions.to_le_bytes());
                out.extend(&checkpoint.state);
            }
        }
        self.kind()
    }

    /// The record in the v2.6 layout: `step_added` and `checkpoint` lose what that does not know.
    pub fn encode_short(&self, out: &mut Vec<u8>) -> u16 {
        let kind = self.encode(out);
        match kind {
            0x02 => out.truncate(STEP_ADDED_SHORT),
            CHECKPOINT => out.truncate(CHECKPOINT_SHORT),
            _ => {}
        }
        kind
    }

    /// The event that a record of the v2.6 layout holds: in the short form, and none that came later.
    pub fn decode_short(kind: u8, payload: &[u8]) -> Result<Event, BadEvent> {
        let expected = v26::payload_len(kind);
        let (kind, len) = (u16::from(kind), payload.len());
        match expected.map(|expected| usize_of(expected.into())) {
            Some(expected) if expected == len => Event::decode(kind, payload),
            Some(expected) => Err(BadEvent::Length { kind, len, expected }),
            None => Err(BadEvent::Kind(kind)),
        }
    }

    /// The event that a record holds.  The two short forms of the v2.6 layout are events too.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Event, BadEvent> {
        if name_of(kind) == "unknown" {
            return Err(BadEvent::Kind(kind));
        }
        if let Some(decoded) = StreamEvent::decode(kind, payload) {
            return decoded.map(|(stream, event)| Event::Stream(stream, event));
        }
        check_len(kind, payload)?;
        if kind == CHECKPOINT {
            return Ok(Event::Checkpoint(Checkpoint {
                active_sagas: get_u64(payload, 0),
                active_transactions: get_u64(payload, 8),
                state: payload[CHECKPOINT_SHORT..].to_vec(),
            }));
        }
        if let Some(event) = decode_import(kind, payload) {
            return Ok(event);
        }
        let id = get_u64(payload, AT_ID);
        if id == 0 {
            return Err(BadEvent::ZeroId(kind));
        }
        if kind < TRANSACTION_EVENTS[0].0 {
            Ok(Event::Saga(id, decode_saga(kind, payload)?))
        } else {
            Ok(Event::Transaction(id, decode_transaction(kind, payload)?))
        }
    }
}

/// Bytes of the payload of a type; of `step_added` and `checkpoint` the fewest.
fn len_of(kind: u16) -> usize {
    match kind {
        0x01 | 0x10 => AT_BODY + 32,
        0x02 => STEP_ADDED_SHORT,
        0x04 | 0x07 => AT_BODY + 4,
        0x05 | 0x08 => AT_BODY + 8,
        0x11 => AT_BODY + 64,
        0x13 => AT_BODY + 33,
        IMPORT_STARTED | IMPORT_ABANDONED => 16,
        IMPORT_ENDED => 0,
        CHECKPOINT => CHECKPOINT_SHORT,
        _ => AT_BODY,
    }
}

fn check_len(kind: u16, payload: &[u8]) -> Result<(), BadEvent> {
    let (len, expected) = (payload.len(), len_of(kind));
    let good = match kind {
        0x02 => len == STEP_ADDED_SHORT || len >= AT_DEPENDENCIES,
        CHECKPOINT => len >= expected,
        _ => len == expected,
    };
    let expected = if kind == 0x02 && len > STEP_ADDED_SHORT { AT_DEPENDENCIES } else { expected };
    if good {
        Ok(())
    } else {
        Err(BadEvent::Length { kind, len, expected })
    }
}

/// A marker; the length was checked.
fn decode_import(kind: u16, payload: &[u8]) -> Option<Event> {
    let highest = || (get_u64(payload, 0), get_u64(payload, 8));
    match kind {
        IMPORT_STARTED => {
            let (saga_highest, transaction_highest) = highest();
            Some(Event::ImportStarted { saga_highest, transaction_highest })
        }
        IMPORT_ENDED => Some(Event::ImportEnded),
        IMPORT_ABANDONED => {
            let (saga_highest, transaction_highest) = highest();
            Some(Event::ImportAbandoned { saga_highest, transaction_highest })
        }
        _ => None,
    }
}

fn encode_saga(event: &SagaEvent, out: &mut Vec<u8>) {
    match event {
        SagaEvent::Created { coordinator } => out.extend(coordinator),
        SagaEvent::StepAdded(step) => {
            out.extend(step.index.to_le_bytes());
            out.push(step.action);
            let count = u32::try_from(step.depends_on.len()).expect("the table refuses more dependencies");
            out.extend(count.to_le_bytes());
            out.extend(step.depends_on.iter().flat_map(|index| index.to_le_bytes()));
            out.extend(&step.payload);
        }
        SagaEvent::StepSucceeded { step } | SagaEvent::CompensationSucceeded { step } => out.extend(step.to_le_bytes()),
        SagaEvent::StepFailed { step, error: number } | SagaEvent::CompensationFailed { step, retries: number } => {
            out.extend(step.to_le_bytes());
            out.extend(number.to_le_bytes());
        }
        SagaEvent::ExecuteStart
        | SagaEvent::CompensationStart
        | SagaEvent::Completed
        | SagaEvent::Compensated
        | SagaEvent::Aborted => {}
    }
}

fn encode_transaction(event: &TransactionEvent, out: &mut Vec<u8>) {
    match event {
        TransactionEvent::Created { coordinator } => out.extend(coordinator),
        TransactionEvent::ParticipantAdded { shard, node } => {
            out.extend(shard);
            out.extend(node);
        }
        TransactionEvent::VoteReceived { shard, commit } => {
            out.extend(shard);
            out.push(u8::from(*commit));
        }
        TransactionEvent::PrepareStart
        | TransactionEvent::CommitStart
        | TransactionEvent::CommitComplete
        | TransactionEvent::AbortStart
        | TransactionEvent::AbortComplete
        | TransactionEvent::RollbackStart
        | TransactionEvent::RollbackComplete => {}
    }
}

/// The 32 bytes at `at`; the length was checked.
pub(super) fn get_name(buf: &[u8], at: usize) -> Name {
    let mut name = [0; 32];
    name.copy_from_slice(&buf[at..at + 32]);
    name
}

fn decode_saga(kind: u16, payload: &[u8]) -> Result<SagaEvent, BadEvent> {
    let step = || get_u32(payload, AT_BODY);
    let number = || get_u32(payload, AT_BODY + 4);
    Ok(match kind {
        0x01 => SagaEvent::Created { coordinator: get_name(payload, AT_BODY) },
        0x02 => SagaEvent::StepAdded(decode_step(payload)?),
        0x03 => SagaEvent::ExecuteStart,
        0x04 => SagaEvent::StepSucceeded { step: step() },
        0x05 => SagaEvent::StepFailed { step: step(), error: number() },
        0x06 => SagaEvent::CompensationStart,
        0x07 => SagaEvent::CompensationSucceeded { step: step() },
        0x08 => SagaEvent::CompensationFailed { step: step(), retries: number() },
        0x09 => SagaEvent::Completed,
        0x0A => SagaEvent::Compensated,
        0x0B => SagaEvent::Aborted,
        other => return Err(BadEvent::Kind(other)),
    })
}

fn decode_step(payload: &[u8]) -> Result<Step, BadEvent> {
    let (index, action) = (get_u32(payload, AT_BODY), payload[AT_BODY + 4]);
    if payload.len() == STEP_ADDED_SHORT {
        return Ok(Step { index, action, depends_on: Vec::new(), payload: Vec::new() });
    }
    let count = get_u32(payload, AT_DEPENDENCY_COUNT);
    let dependencies = usize_of(u64::from(count));
    if dependencies > DEPENDENCIES_MAX {
        return Err(BadEvent::Dependencies(count));
    }
    let at_payload = AT_DEPENDENCIES + 4 * dependencies;
    if payload.len() < at_payload {
        return Err(BadEvent::Length { kind: 0x02, len: payload.len(), expected: at_payload });
    }
    let rest = &payload[at_payload..];
    if rest.len() > STEP_PAYLOAD_MAX {
        return Err(BadEvent::Payload(rest.len()));
    }
    let depends_on = (0..dependencies).map(|at| get_u32(payload, AT_DEPENDENCIES + 4 * at)).collect();
    Ok(Step { index, action, depends_on, payload: rest.to_vec() })
}

fn decode_transaction(kind: u16, payload: &[u8]) -> Result<TransactionEvent, BadEvent> {
    let name = || get_name(payload, AT_BODY);
    Ok(match kind {
        0x10 => TransactionEvent::Created { coordinator: name() },
        0x11 => TransactionEvent::ParticipantAdded { shard: name(), node: get_name(payload, AT_BODY + 32) },
        0x12 => TransactionEvent::PrepareStart,
        0x13 => match payload[AT_BODY + 32] {
            vote @ (0 | 1) => TransactionEvent::VoteReceived { shard: name(), commit: vote == 1 },
            vote => return Err(BadEvent::Vote(vote)),
        },
        0x14 => TransactionEvent::CommitStart,
        0x15 => TransactionEvent::CommitComplete,
        0x16 => TransactionEvent::AbortStart,
        0x17 => TransactionEvent::AbortComplete,
        0x18 => TransactionEvent::RollbackStart,
        0x19 => TransactionEvent::RollbackComplete,
        other => return Err(BadEvent::Kind(other)),
    })
}
