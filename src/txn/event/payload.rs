//! Events as the payloads of records, and back: docs/FORMAT.md, Transactions.
//!
//! Bytes are hostile: nothing is taken that is not exactly an event, and every
//! refusal says which rule was broken.  Whether an event is legal is not asked here.

use super::{
    name_of, Checkpoint, Event, Family, Name, SagaEvent, Step, StreamEvent, TransactionEvent, CHECKPOINT,
    IMPORT_ABANDONED, IMPORT_ENDED, IMPORT_STARTED, SAGA_EVENTS, TRANSACTION_EVENTS,
};
use crate::base::bytes::*;
use crate::base::{Code, Error};
use crate::format::v26;
use crate::txn::limits::{DEPENDENCIES_MAX, STEP_PAYLOAD_MAX};

const AT_ID: usize = 0;
const AT_BODY: usize = AT_ID + 8;
/// Bytes of step_added as the v2.6 layout has it: without dependencies and payload.
const STEP_ADDED_SHORT: usize = AT_BODY + 5;
const AT_DEPENDENCY_COUNT: usize = STEP_ADDED_SHORT;
const AT_DEPENDENCIES: usize = AT_DEPENDENCY_COUNT + 4;
/// Bytes of a checkpoint as the v2.6 layout has it: the counts.
pub const CHECKPOINT_SHORT: usize = 16;

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

impl Event {
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
pub(in crate::txn) fn get_name(buf: &[u8], at: usize) -> Name {
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
