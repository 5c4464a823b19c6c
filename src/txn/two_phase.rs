//! One two-phase commit: which events are legal when, and what was decided.
//!
//! ```text
//! created ─prepare_start─▶ preparing ─all votes commit─▶ prepared ─commit_start─▶ committing
//!    │                      │  │                           │                       │   │
//!    │                      │  └─a vote aborts─▶ refused   │         commit_complete   │
//!    └──────abort_start─────┴───────────────────────┴──────┘                       ▼   │
//!                           ▼                                               committed  │
//!                        aborting ─abort_complete─▶ (finished)     rollback_start │    │
//!                                                                                 ▼    ▼
//!                                               (finished) ◀─rollback_complete─ rolling back
//! ```
//!
//! A rollback can be begun again while it runs; in all [`ROLLBACK_TRIES_MAX`] times.
//!
//! The votes are the decision's grounds, `commit_start` is the decision.  It is
//! refused unless every participant voted commit, and participants are fixed by
//! `prepare_start`.  Committed is finished, but can be rolled back while the table
//! remembers it.

use super::event::{Name, TransactionEvent};
use super::limits::{PARTICIPANTS_MAX, ROLLBACK_TRIES_MAX};
use super::{Reason, Rules};

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// Participants are added.
    Created,
    /// Votes are asked for.
    Preparing,
    /// Every participant voted commit; nothing is decided.
    Prepared,
    /// A participant voted abort; the abort is not begun.
    Refused,
    /// Commit is decided.
    Committing,
    /// Finished: every participant has committed.
    Committed,
    /// Abort is decided.
    Aborting,
    /// Finished: nothing of it is there.
    Aborted,
    /// A commit is being undone.
    RollingBack,
    /// Finished: the commit is undone.
    RolledBack,
}

impl TransactionState {
    /// As texts name it.
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Created => "created",
            TransactionState::Preparing => "preparing",
            TransactionState::Prepared => "prepared",
            TransactionState::Refused => "refused",
            TransactionState::Committing => "committing",
            TransactionState::Committed => "committed",
            TransactionState::Aborting => "aborting",
            TransactionState::Aborted => "aborted",
            TransactionState::RollingBack => "rolling back",
            TransactionState::RolledBack => "rolled back",
        }
    }

    /// Nothing is left to do.
    pub fn is_finished(self) -> bool {
        matches!(self, TransactionState::Committed | TransactionState::Aborted | TransactionState::RolledBack)
    }
}

/// One shard's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    /// Which shard.
    pub shard: Name,
    /// Which node has it.
    pub node: Name,
    /// Whether it voted commit; None before it voted.
    pub vote: Option<bool>,
}

/// A transaction that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who runs it: the program's bytes.
    pub coordinator: Name,
    /// Number of its first record.
    pub created_seq: u64,
    /// Number of its last record.
    pub last_seq: u64,
    pub(super) state: TransactionState,
    pub(super) rollback_tries: u8,
    pub(super) participants: Vec<Participant>,
}

impl Transaction {
    /// The transaction that `created` with number `seq` makes.
    pub fn new(coordinator: Name, seq: u64) -> Transaction {
        let state = TransactionState::Created;
        Transaction { coordinator, created_seq: seq, last_seq: seq, state, rollback_tries: 0, participants: Vec::new() }
    }

    /// Where it is.
    pub fn state(&self) -> TransactionState {
        self.state
    }

    /// Its participants, in the order in which they were added.
    pub fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// How often a rollback was begun.
    pub fn rollback_tries(&self) -> u8 {
        self.rollback_tries
    }

    /// Participants that voted.
    pub fn voted(&self) -> usize {
        self.participants.iter().filter(|participant| participant.vote.is_some()).count()
    }

    /// Whether `event` is legal now.
    pub fn check(&self, event: &TransactionEvent, rules: Rules) -> Result<(), Reason> {
        self.next(event, rules).map(drop)
    }

    /// Takes an event with number `seq`; one that is refused changes nothing.
    pub fn apply(&mut self, seq: u64, event: &TransactionEvent, rules: Rules) -> Result<(), Reason> {
        self.state = self.next(event, rules)?;
        match event {
            TransactionEvent::ParticipantAdded { shard, node } => {
                self.participants.push(Participant { shard: *shard, node: *node, vote: None });
            }
            TransactionEvent::VoteReceived { shard, commit } => {
                let voter = self.participants.iter_mut().find(|participant| participant.shard == *shard);
                voter.expect("next() found it").vote = Some(*commit);
            }
            TransactionEvent::RollbackStart => self.rollback_tries += 1,
            _ => {}
        }
        self.last_seq = seq;
        Ok(())
    }

    /// The state behind `event`.
    fn next(&self, event: &TransactionEvent, rules: Rules) -> Result<TransactionState, Reason> {
        use TransactionEvent as On;
        use TransactionState::*;
        match (self.state, event) {
            (Created, On::ParticipantAdded { shard, .. }) => self.check_participant(shard).map(|()| Created),
            (Created, On::PrepareStart) if self.participants.is_empty() => Err(Reason::Incomplete),
            (Created, On::PrepareStart) => Ok(Preparing),
            (Preparing | Refused, On::VoteReceived { shard, commit }) => self.voted_state(shard, *commit),
            (Preparing, On::CommitStart) => Err(Reason::Incomplete),
            (Prepared, On::CommitStart) => Ok(Committing),
            (Committing, On::CommitComplete) => Ok(Committed),
            (Created | Preparing | Prepared | Refused, On::AbortStart) => Ok(Aborting),
            (Aborting, On::AbortComplete) => Ok(Aborted),
            (Preparing | Prepared | Refused, On::AbortComplete) if rules == Rules::Import => Ok(Aborted),
            (Committing | Committed, On::RollbackStart) => Ok(RollingBack),
            (RollingBack, On::RollbackStart) if self.rollback_tries >= ROLLBACK_TRIES_MAX => Err(Reason::Limit),
            (RollingBack, On::RollbackStart) => Ok(RollingBack),
            (RollingBack, On::RollbackComplete) => Ok(RolledBack),
            _ => Err(Reason::State),
        }
    }

    fn check_participant(&self, shard: &Name) -> Result<(), Reason> {
        if self.participants.len() >= PARTICIPANTS_MAX {
            return Err(Reason::Limit);
        }
        if self.participants.iter().any(|participant| participant.shard == *shard) {
            return Err(Reason::Doubled);
        }
        Ok(())
    }

    /// The state when `shard` has voted, too.
    fn voted_state(&self, shard: &Name, commit: bool) -> Result<TransactionState, Reason> {
        let voter = self.participants.iter().find(|participant| participant.shard == *shard);
        if voter.ok_or(Reason::NoSuchPart)?.vote.is_some() {
            return Err(Reason::Decided);
        }
        Ok(match (self.state, commit) {
            (TransactionState::Refused, _) | (_, false) => TransactionState::Refused,
            _ if self.voted() + 1 == self.participants.len() => TransactionState::Prepared,
            _ => TransactionState::Preparing,
        })
    }

    /// What it was restored from makes sense: the same as if its events had been applied.
    pub(super) fn is_consistent(&self) -> bool {
        use TransactionState::*;
        let all_commit = !self.participants.is_empty() && self.participants.iter().all(|one| one.vote == Some(true));
        let an_abort = self.participants.iter().any(|one| one.vote == Some(false));
        let tries = match self.state {
            RollingBack => (1..=ROLLBACK_TRIES_MAX).contains(&self.rollback_tries),
            _ => self.rollback_tries == 0,
        };
        tries
            && match self.state {
                Created => self.voted() == 0,
                Preparing => !self.participants.is_empty() && !all_commit && !an_abort,
                Prepared | Committing | Committed | RollingBack => all_commit,
                Refused => an_abort,
                Aborting => true,
                Aborted | RolledBack => false,
            }
    }
}
