//! Layer 7: transactions that survive their coordinator.
//!
//! The floor is pure, values in, values out: it reads nothing, writes nothing, waits for nothing.
//!
//! * [`event`]: the events and the checkpoint as record payloads.
//! * [`saga`], [`two_phase`]: what each event does to one operation, and when it is refused.
//! * [`streams`]: what is dropped of streams, and how far something outside was applied.
//! * [`table`]: all operations that are not finished; the same `apply` live and in replay.
//! * [`imported`]: those of an import, apart until it has ended.
//! * [`snapshot`]: the table as a checkpoint's payload, and back.
//! * [`compaction`]: what a compaction lets go.
//! * [`plan`]: what a recovery found, and what is to be done about each operation.
//! * [`token`]: the name of each action, the same after every crash.
//!
//! On it stands what uses a log:
//!
//! * [`manager`]: checks, appends, applies; recovery and checkpoints.
//! * [`resume`]: carries a recovery's plan out.
//! * [`interchange`]: the same events in files of the v2.6 layout.
#![forbid(unsafe_code)]

pub mod compaction;
pub mod event;
pub mod imported;
pub mod interchange;
pub mod limits;
pub mod manager;
pub mod plan;
pub mod refusal;
pub mod resume;
pub mod saga;
pub mod snapshot;
pub mod streams;
pub mod table;
pub mod token;
pub mod two_phase;

pub use compaction::Compaction;
pub use event::{BadEvent, Checkpoint, Event, SagaEvent, Step, TransactionEvent};
pub use manager::{Begun, CompactionOptions, Counts, Manager, ManagerOptions, Recovery, SagaSpec};
pub use plan::{Action, Rebuild, State, Unfinished};
pub use refusal::{Reason, Refusal};
pub use resume::{Left, Outcome, Participants, ResumeOptions, Resumed, ShardAction, StepAction};
pub use saga::{Saga, SagaState, StepStatus};
pub use streams::{Applied, Purge, StreamEvent, Streams, Tombstone};
pub use table::{Status, Table};
pub use token::{Direction, Token};
pub use two_phase::{Participant, Transaction, TransactionState};

/// The two kinds of operations.  Their ids are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Steps that are undone by compensation.
    Saga = 1,
    /// Two-phase commit.
    Transaction = 2,
}

impl Family {
    /// As texts name it.
    pub fn name(self) -> &'static str {
        match self {
            Family::Saga => "saga",
            Family::Transaction => "transaction",
        }
    }
}

/// How strictly events are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// What twal itself writes, live and in replay.
    Strict,
    /// Files of the v2.6 layout, whose writer left out `abort_start` and `compensation_start`.
    Import,
}
