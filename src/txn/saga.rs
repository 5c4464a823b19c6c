//! One saga: which events are legal when, and what is left to do or to undo.
//!
//! ```text
//! created ──execute_start──▶ executing ──completed──▶ (finished)
//!                              │    │
//!                  step_failed │    │ compensation_start
//!                              ▼    ▼
//!                           failed ─▶ compensating ──compensated──▶ (finished)
//! ```
//!
//! Levels: a step that depends on none has level 0, every other one is one above
//! the highest that it depends on.  The steps of a level run at once, and the
//! next level begins when all have succeeded.  Compensation goes from the
//! highest level down, and a lower level begins when all of one are undone.
//! In both directions an event of another level is refused.
//!
//! The log does not say which steps were begun, only their outcomes.  So whoever
//! runs steps writes `step_failed`, or `compensation_start` without one, when no
//! other step is in flight any more: what has no outcome in a saga that failed was
//! then never begun, or is begun again under the same token in one that did not.
//! An outcome that comes late is taken until the saga is finished, and undone like
//! the others.

use super::event::{Name, SagaEvent, Step};
use super::limits::{DEPENDENCIES_MAX, STEPS_MAX, STEP_PAYLOAD_MAX};
use super::{Reason, Rules};

/// Where a saga is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SagaState {
    /// Steps are added.
    Created,
    /// Steps run.
    Executing,
    /// A step failed; compensation is decided, not begun.
    Failed,
    /// Steps are undone.
    Compensating,
    /// Finished: every step succeeded.
    Completed,
    /// Finished: every step that succeeded is undone.
    Compensated,
    /// Finished: given up.
    Aborted,
}

impl SagaState {
    /// As texts name it.
    pub fn name(self) -> &'static str {
        match self {
            SagaState::Created => "created",
            SagaState::Executing => "executing",
            SagaState::Failed => "failed",
            SagaState::Compensating => "compensating",
            SagaState::Completed => "completed",
            SagaState::Compensated => "compensated",
            SagaState::Aborted => "aborted",
        }
    }

    /// Nothing happens to it any more.
    pub fn is_finished(self) -> bool {
        matches!(self, SagaState::Completed | SagaState::Compensated | SagaState::Aborted)
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepStatus {
    /// No outcome yet.
    Pending,
    /// Done.
    Succeeded,
    /// Not done, with the program's error number.
    Failed(u32),
    /// Done, and undoing it failed so many times.
    CompensationFailed(u32),
    /// Done and undone.
    Compensated,
}

impl StepStatus {
    /// It was done, whatever came after.
    fn was_done(self) -> bool {
        matches!(self, StepStatus::Succeeded | StepStatus::CompensationFailed(_) | StepStatus::Compensated)
    }

    /// It is done and not undone.
    pub fn stands(self) -> bool {
        matches!(self, StepStatus::Succeeded | StepStatus::CompensationFailed(_))
    }
}

/// A step and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaStep {
    /// As it was added.
    pub step: Step,
    /// See the file's head.
    pub level: u32,
    /// Where it is.
    pub status: StepStatus,
}

/// A saga that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga {
    /// Who runs it: the program's bytes.
    pub coordinator: Name,
    /// Number of its first record.
    pub created_seq: u64,
    /// Number of its last record.
    pub last_seq: u64,
    pub(super) state: SagaState,
    /// In the order in which they were added.
    pub(super) steps: Vec<SagaStep>,
}

/// What an event changes.
struct Change {
    state: SagaState,
    step: Option<(usize, StepStatus)>,
}

impl Saga {
    /// The saga that `created` with number `seq` makes.
    pub fn new(coordinator: Name, seq: u64) -> Saga {
        Saga { coordinator, created_seq: seq, last_seq: seq, state: SagaState::Created, steps: Vec::new() }
    }

    /// Where it is.
    pub fn state(&self) -> SagaState {
        self.state
    }

    /// Its steps, in the order in which they were added.
    pub fn steps(&self) -> &[SagaStep] {
        &self.steps
    }

    /// Whether `event` is legal now.
    pub fn check(&self, event: &SagaEvent, rules: Rules) -> Result<(), Reason> {
        if let SagaEvent::StepAdded(step) = event {
            return self.check_step(step).map(drop);
        }
        self.change(event, rules).map(drop)
    }

    /// Takes an event with number `seq`; one that is refused changes nothing.
    pub fn apply(&mut self, seq: u64, event: &SagaEvent, rules: Rules) -> Result<(), Reason> {
        if let SagaEvent::StepAdded(step) = event {
            let level = self.check_step(step)?;
            self.steps.push(SagaStep { step: step.clone(), level, status: StepStatus::Pending });
        } else {
            let change = self.change(event, rules)?;
            self.state = change.state;
            if let Some((at, status)) = change.step {
                self.steps[at].status = status;
            }
        }
        self.last_seq = seq;
        Ok(())
    }

    /// The level that a new step has.
    fn check_step(&self, step: &Step) -> Result<u32, Reason> {
        if self.state != SagaState::Created {
            return Err(Reason::State);
        }
        let dependencies: usize = self.steps.iter().map(|old| old.step.depends_on.len()).sum();
        if self.steps.len() >= STEPS_MAX
            || dependencies + step.depends_on.len() > DEPENDENCIES_MAX
            || step.payload.len() > STEP_PAYLOAD_MAX
        {
            return Err(Reason::Limit);
        }
        if self.position(step.index).is_some() {
            return Err(Reason::Doubled);
        }
        let mut level = 0;
        for (at, index) in step.depends_on.iter().enumerate() {
            // Only steps that are there already: so there is no circle.
            let on = self.position(*index).ok_or(Reason::Dependency)?;
            if step.depends_on[..at].contains(index) {
                return Err(Reason::Dependency);
            }
            level = level.max(self.steps[on].level + 1);
        }
        Ok(level)
    }

    /// What an event changes that is no `step_added`.
    fn change(&self, event: &SagaEvent, rules: Rules) -> Result<Change, Reason> {
        use SagaState::*;
        let state = |state| Ok(Change { state, step: None });
        match (self.state, event) {
            (Created, SagaEvent::ExecuteStart) => state(Executing),
            (Executing | Failed | Compensating, SagaEvent::StepSucceeded { step }) => {
                self.outcome(*step, StepStatus::Succeeded, self.state)
            }
            (Executing | Failed | Compensating, SagaEvent::StepFailed { step, error }) => {
                let next = if self.state == Executing { Failed } else { self.state };
                self.outcome(*step, StepStatus::Failed(*error), next)
            }
            (Executing | Failed, SagaEvent::CompensationStart) => state(Compensating),
            (Compensating, SagaEvent::CompensationSucceeded { step }) => self.undone(*step, StepStatus::Compensated),
            (Failed, SagaEvent::CompensationSucceeded { step }) if rules == Rules::Import => {
                self.undone(*step, StepStatus::Compensated)
            }
            (Compensating, SagaEvent::CompensationFailed { step, retries }) => {
                self.undone(*step, StepStatus::CompensationFailed(*retries))
            }
            (Executing, SagaEvent::Completed) => {
                self.need(self.steps.iter().all(|step| step.status == StepStatus::Succeeded))?;
                state(Completed)
            }
            (Compensating, SagaEvent::Compensated) => {
                self.need(self.to_compensate().is_empty())?;
                state(Compensated)
            }
            (Created | Executing | Failed | Compensating, SagaEvent::Aborted) => {
                self.need(self.may_be_given_up())?;
                state(Aborted)
            }
            _ => Err(Reason::State),
        }
    }

    fn need(&self, fact: bool) -> Result<(), Reason> {
        fact.then_some(()).ok_or(Reason::Incomplete)
    }

    /// Nothing that is known stands, or undoing it failed: else it must be compensated.
    fn may_be_given_up(&self) -> bool {
        let failed = |step: &SagaStep| matches!(step.status, StepStatus::CompensationFailed(_));
        self.to_compensate().is_empty() || self.steps.iter().any(failed)
    }

    fn position(&self, index: u32) -> Option<usize> {
        self.steps.iter().position(|step| step.step.index == index)
    }

    /// The outcome of a step that runs.
    fn outcome(&self, index: u32, status: StepStatus, state: SagaState) -> Result<Change, Reason> {
        let at = self.position(index).ok_or(Reason::NoSuchPart)?;
        if self.steps[at].status != StepStatus::Pending {
            return Err(Reason::Decided);
        }
        if self.level_open() != Some(self.steps[at].level) {
            return Err(Reason::Level);
        }
        Ok(Change { state, step: Some((at, status)) })
    }

    /// The outcome of undoing a step.
    fn undone(&self, index: u32, status: StepStatus) -> Result<Change, Reason> {
        let at = self.position(index).ok_or(Reason::NoSuchPart)?;
        match self.steps[at].status {
            StepStatus::Pending | StepStatus::Failed(_) => return Err(Reason::Incomplete),
            StepStatus::Compensated => return Err(Reason::Decided),
            StepStatus::Succeeded | StepStatus::CompensationFailed(_) => {}
        }
        if self.level_to_undo() != Some(self.steps[at].level) {
            return Err(Reason::Level);
        }
        Ok(Change { state: SagaState::Compensating, step: Some((at, status)) })
    }

    /// The lowest level with a step that was not done: the one that runs.
    fn level_open(&self) -> Option<u32> {
        self.steps.iter().filter(|step| !step.status.was_done()).map(|step| step.level).min()
    }

    /// The highest level with a step that stands.
    fn level_to_undo(&self) -> Option<u32> {
        self.steps.iter().filter(|step| step.status.stands()).map(|step| step.level).max()
    }

    /// Steps that may run now, all at once: those of the lowest level not done that have no outcome.
    /// Of a saga that is not executing: none.
    pub fn to_execute(&self) -> Vec<u32> {
        if self.state == SagaState::Executing {
            self.undecided()
        } else {
            Vec::new()
        }
    }

    /// Steps without an outcome that may have been begun.
    pub fn undecided(&self) -> Vec<u32> {
        if matches!(self.state, SagaState::Executing | SagaState::Failed | SagaState::Compensating) {
            self.indices(self.level_open(), |status| status == StepStatus::Pending)
        } else {
            Vec::new()
        }
    }

    /// Steps that are to be undone now, all at once: those of the highest level that stand.
    pub fn to_compensate(&self) -> Vec<u32> {
        self.indices(self.level_to_undo(), StepStatus::stands)
    }

    fn indices(&self, level: Option<u32>, wanted: impl Fn(StepStatus) -> bool) -> Vec<u32> {
        let of_level = self.steps.iter().filter(|step| Some(step.level) == level);
        of_level.filter(|step| wanted(step.status)).map(|step| step.step.index).collect()
    }

    /// Steps that are done; of a saga that is compensated, those undone.
    pub fn done(&self) -> usize {
        let undoing = matches!(self.state, SagaState::Failed | SagaState::Compensating);
        let counts = |step: &&SagaStep| match step.status {
            StepStatus::Compensated => undoing,
            status => !undoing && status.was_done(),
        };
        self.steps.iter().filter(counts).count()
    }

    /// What it was restored from makes sense: the same as if its events had been applied.
    pub(super) fn is_consistent(&self) -> bool {
        use StepStatus::*;
        let any = |wanted: fn(StepStatus) -> bool| self.steps.iter().any(|step| wanted(step.status));
        let failed = any(|status| matches!(status, Failed(_)));
        let undone = any(|status| matches!(status, CompensationFailed(_) | Compensated));
        let ran = self.steps.iter().filter(|step| step.status != Pending);
        let levels = ran.map(|step| step.level).max() <= self.level_open() || self.level_open().is_none();
        levels
            && match self.state {
                SagaState::Created => self.steps.iter().all(|step| step.status == Pending),
                SagaState::Executing => !failed && !undone,
                SagaState::Failed => failed && !undone,
                SagaState::Compensating => true,
                SagaState::Completed | SagaState::Compensated | SagaState::Aborted => false,
            }
    }
}
