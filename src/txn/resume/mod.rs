//! Carries out what is to be done about operations that are not finished, through the program's own callbacks, until
//! each is finished or cannot be.
//!
//! What is logged before what:
//!
//! | | first, durable | then | then |
//! |---|---|---|---|
//! | a saga executes | execute_start | the steps of the lowest level not done, all at once | step_succeeded, each as it comes |
//! | it fails | | no other step in flight | step_failed and compensation_start, one batch, durable |
//! | it compensates | compensation_start | the steps of the highest level that stand, all at once | compensation_succeeded |
//! | a transaction commits | commit_start | all participants, at once | commit_complete |
//! | it aborts | abort_start | all participants, at once | abort_complete |
//! | it is rolled back | rollback_start | all participants, at once | rollback_complete |
//!
//! A crash anywhere is followed by a recovery and another resume.  What was done and not logged is asked for again, under
//! the same token; a participant that remembers tokens answers Done and does nothing.
//!
//! All operations go on side by side, the oldest first, so that no participant waits for another one's saga.  But in a log with a
//! limit on its size, what is begun goes on before another is: each outcome takes space, and only an end gives space back.  A log
//! that is as large as it may be could else be left with many that were begun, and none that can end.
//!
//! A step that neither succeeded nor failed when its tries are used up may have been done.  So its saga
//! neither goes on nor fails: it is left, and the next resume asks again.
//!
//! `decide.rs` says what comes next, as a function of the table; `board.rs` who does it; `work.rs` does it, and `turn.rs` ends it.

mod board;
mod decide;
mod turn;
mod work;

pub(super) use turn::Resumes;

use super::event::{Name, Step};
use super::plan::Unfinished;
use super::Token;
use crate::base::Error;

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, now or by an earlier call under the same token.
    Done,
    /// It is not done and will not be, with the program's error number.
    Failed(u32),
    /// Nobody knows, or not yet: ask again.
    Retry,
}

/// A step to be done or undone.
#[derive(Debug)]
pub struct StepAction<'a> {
    /// Which saga.
    pub saga: u64,
    /// Who ran it.
    pub coordinator: &'a Name,
    /// The step, as it was added.
    pub step: &'a Step,
    /// The action's name, the same after every crash.
    pub token: Token,
    /// 1 the first time in this resume.
    pub attempt: u32,
}

/// A participant to be told.
#[derive(Debug)]
pub struct ShardAction<'a> {
    /// Which transaction.
    pub transaction: u64,
    /// Who ran it.
    pub coordinator: &'a Name,
    /// Which shard.
    pub shard: &'a Name,
    /// Which node has it.
    pub node: &'a Name,
    /// The action's name, the same after every crash.
    pub token: Token,
    /// 1 the first time in this resume.
    pub attempt: u32,
}

/// Who carries actions out.  Called by several threads at once, with no lock held: it may use the manager, but not resume.
pub trait Participants: Sync {
    /// Does a step.  Failed: the saga is compensated.
    fn execute(&self, action: &StepAction<'_>) -> Outcome;
    /// Undoes a step.  Failed: the saga is left, compensating.
    fn compensate(&self, action: &StepAction<'_>) -> Outcome;
    /// Makes a shard's part final.  It was promised by the shard's vote: Failed leaves the transaction, committing.
    fn commit(&self, action: &ShardAction<'_>) -> Outcome;
    /// Drops a shard's part; also of one that has none.
    fn abort(&self, action: &ShardAction<'_>) -> Outcome;
    /// Undoes a shard's part that may be final.
    fn rollback(&self, action: &ShardAction<'_>) -> Outcome;
}

/// How operations are resumed.  0 is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResumeOptions {
    /// Threads that call at once, this one among them; 0: 4.
    pub threads: u32,
    /// Times that one action is asked for; 0: 10.
    pub attempts_max: u32,
    /// Before the second try, microseconds; it doubles each time.  0: 100,000.
    pub retry_delay_us: u64,
    /// The longest such wait, microseconds.  0: 10,000,000.
    pub retry_delay_max_us: u64,
}

/// What a resume came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Operations that it finished.
    pub finished: u64,
    /// Calls of the program's callbacks.
    pub calls: u64,
    /// Those among them that were not the first try.
    pub retries: u64,
    /// Operations that nobody runs and that are not finished, by kind and id.
    pub left: Vec<Left>,
}

/// An operation that a resume left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// As it is now.
    pub operation: Unfinished,
    /// Why; None: it was not begun, or was imported meanwhile.
    pub error: Option<Error>,
}
