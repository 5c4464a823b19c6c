//! Carries out one job after the other, on a few threads.

use std::sync::Arc;

use super::board::{Act, Board, Desk, Job, Operation};
use super::decide::{next, Key, Next, Part};
use super::{Left, Outcome, Participants, ResumeOptions, Resumed, ShardAction, StepAction};
use crate::base::bytes::len_u64;
use crate::base::{thread, Code, Error, Result};
use crate::txn::event::{Event, SagaEvent};
use crate::txn::plan::Action;
use crate::txn::{Direction, Manager};

const THREADS_DEFAULT: u32 = 4;
const ATTEMPTS_DEFAULT: u32 = 10;
const RETRY_DELAY_US_DEFAULT: u64 = 100_000;
const RETRY_DELAY_MAX_US_DEFAULT: u64 = 10_000_000;

/// A resume that runs.
struct Resume<'a> {
    manager: &'a Manager,
    participants: &'a dyn Participants,
    desk: Arc<Desk>,
    attempts_max: u32,
    delay_us: u64,
    delay_max_us: u64,
}

impl Manager {
    /// Finishes every operation that recovery found unfinished, or an import brought, and something is to be done about,
    /// as far as `participants` let it, and returns when nothing is left to do; also what an earlier one left.  What it
    /// reports as finished is durable.  What was begun since the recovery is whose who began it: a resume beside it
    /// would abort a transaction that is waiting for its votes.
    ///
    /// # Errors
    /// Busy: another resume runs.  Closed: [`Manager::end_resumes`], or the log is closed, also while it runs.  Io, Poisoned, Closed: the log takes
    /// nothing more; recover and resume again.
    pub fn resume(&self, participants: &dyn Participants, options: &ResumeOptions) -> Result<Resumed> {
        let turn = self.inner.resumes.take_turn()?;
        let or = |value, default| if value == 0 { default } else { value };
        let mut board = Board::new(self.inner.log.has_limit());
        for key in self.oldest_to_resume()? {
            board.operations.insert(key, Operation::default());
            board.ready.push_back(Job::Look(key));
        }
        let resume = Resume {
            manager: self,
            participants,
            desk: Arc::new(Desk::new(board, self.inner.clock.clone())),
            attempts_max: if options.attempts_max == 0 { ATTEMPTS_DEFAULT } else { options.attempts_max },
            delay_us: or(options.retry_delay_us, RETRY_DELAY_US_DEFAULT),
            delay_max_us: or(options.retry_delay_max_us, RETRY_DELAY_MAX_US_DEFAULT),
        };
        let _turn = turn.begin(&resume.desk)?;
        let threads = if options.threads == 0 { THREADS_DEFAULT } else { options.threads };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // With fewer threads it takes longer; this one is enough.
                if thread::spawn_scoped(scope, "twal-resume", || resume.run()).is_err() {
                    break;
                }
            }
            resume.run();
        });
        self.report(resume.desk.take_board())
    }

    /// What there is to do something about, the oldest first: in a log that is as large as it may be its end gives back more
    /// space than the others'.
    fn oldest_to_resume(&self) -> Result<Vec<Key>> {
        let mut all = self.to_resume()?;
        all.retain(|unfinished| unfinished.action != Action::None);
        let mut keys: Vec<Key> = all.iter().map(|unfinished| (unfinished.family, unfinished.id)).collect();
        self.look(|state| keys.sort_by_key(|key| state.table.created_seq(*key)))?;
        Ok(keys)
    }

    /// A resume that runs begins nothing more, and returns Closed when the calls of the program that it has made have come
    /// back; it waits for no further try.  None begins on this manager any more.  What it left is for the next recovery.
    pub fn end_resumes(&self) {
        self.inner.resumes.end();
    }

    fn report(&self, mut board: Board) -> Result<Resumed> {
        if let Some(error) = board.error {
            return Err(error);
        }
        self.inner.log.sync(0)?;
        let left = self.to_resume()?.into_iter().map(|operation| {
            let resumed = board.operations.get_mut(&(operation.family, operation.id));
            Left { operation, error: resumed.and_then(|resumed| resumed.given_up.take()) }
        });
        Ok(Resumed {
            left: left.collect(),
            finished: len_u64(board.operations.values().filter(|operation| operation.finished).count()),
            calls: board.calls,
            retries: board.retries,
        })
    }
}

/// What came of a piece of work: an error stops everything if the log takes nothing more, else its operation.
fn is_fatal(error: &Error) -> bool {
    matches!(error.code, Code::Io | Code::Poisoned | Code::Closed | Code::Panic)
}

impl Resume<'_> {
    fn run(&self) {
        while let Some((job, _busy)) = self.desk.take() {
            match job {
                Job::Look(key) => self.look(key),
                Job::Act(act) => self.act(act),
            }
        }
    }

    /// What comes next for an operation of which nothing is in flight.
    fn look(&self, key: Key) {
        loop {
            // Nobody else touches an operation of which nothing is in flight.
            let known = match self.desk.lock().operations.get_mut(&key) {
                Some(operation) => std::mem::take(&mut operation.known),
                None => return,
            };
            let next = self.manager.look(|state| next(&state.table, key, &known));
            let written = match next {
                Ok(Next::Write(events)) => self.manager.append(&events, None).map(drop),
                Ok(Next::Act(coordinator, direction, parts)) => {
                    let mut board = self.desk.lock();
                    let operation = board.operations.entry(key).or_default();
                    (operation.known, operation.in_flight) = (known, parts.len());
                    let act = |part| Job::Act(Act { key, coordinator, direction, part, attempt: 1 });
                    board.go_on_with(parts.into_iter().map(act));
                    return;
                }
                Ok(Next::Finished) => {
                    self.desk.lock().operations.entry(key).or_default().finished = true;
                    return;
                }
                Ok(Next::Leave) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                return self.give_up(key, error);
            }
        }
    }

    fn give_up(&self, key: Key, error: Error) {
        let mut board = self.desk.lock();
        if is_fatal(&error) {
            board.stop(error);
        } else if let Some(operation) = board.operations.get_mut(&key) {
            operation.given_up.get_or_insert(error);
        }
    }

    /// One call of the program, and what is to be logged of it.
    fn act(&self, act: Act) {
        // Nobody could note down what comes of it; and while nothing but tries is due, no append would say so.
        if let Some(trouble) = self.manager.inner.log.trouble() {
            return self.desk.lock().stop(trouble);
        }
        let outcome = self.ask(&act);
        {
            let mut board = self.desk.lock();
            board.calls += 1;
            board.retries += u64::from(act.attempt > 1);
            if outcome == Outcome::Retry && act.attempt < self.attempts_max {
                let due_ns = self.due_ns(act.attempt);
                board.put_off(Job::Act(Act { attempt: act.attempt + 1, ..act }), due_ns);
                return;
            }
        }
        if let Some(event) = event_of(&act, outcome) {
            if let Err(error) = self.manager.append(&[event], None) {
                self.give_up(act.key, error);
            }
        }
        self.note(&act, outcome);
    }

    /// When the try after this one is due.
    fn due_ns(&self, attempt: u32) -> u64 {
        let doubled = 1u64.checked_shl(attempt - 1).unwrap_or(u64::MAX);
        let delay_us = self.delay_us.saturating_mul(doubled).min(self.delay_max_us);
        self.desk.now_ns().saturating_add(delay_us.saturating_mul(1000))
    }

    fn ask(&self, act: &Act) -> Outcome {
        let Act { key: (_, id), coordinator, direction, part, attempt } = act;
        let (id, attempt, participants) = (*id, *attempt, self.participants);
        match part {
            Part::Step(step) => {
                let token = self.manager.token_of_step(id, step.index, *direction);
                let action = StepAction { saga: id, coordinator, step, token, attempt };
                if *direction == Direction::Execute {
                    participants.execute(&action)
                } else {
                    participants.compensate(&action)
                }
            }
            Part::Shard { shard, node } => {
                let token = self.manager.token_of_shard(id, shard, *direction);
                let action = ShardAction { transaction: id, coordinator, shard, node, token, attempt };
                match direction {
                    Direction::Commit => participants.commit(&action),
                    Direction::Rollback => participants.rollback(&action),
                    _ => participants.abort(&action),
                }
            }
        }
    }

    /// An action has its outcome; the last one of its operation has the next thing looked for.
    fn note(&self, act: &Act, outcome: Outcome) {
        let mut board = self.desk.lock();
        let Some(operation) = board.operations.get_mut(&act.key) else { return };
        match (outcome, &act.part) {
            (Outcome::Done, Part::Shard { shard, .. }) => {
                operation.known.told.insert(*shard);
            }
            (Outcome::Done, Part::Step(_)) => {}
            (Outcome::Failed(error), Part::Step(step)) if act.direction == Direction::Execute => {
                operation.known.failed.push((step.index, error));
            }
            (outcome, _) => {
                operation.given_up.get_or_insert_with(|| not_done(act, outcome));
            }
        }
        operation.in_flight -= 1;
        if operation.in_flight == 0 && operation.given_up.is_none() {
            board.go_on_with([Job::Look(act.key)].into_iter());
        }
    }
}

/// What is logged of an outcome as it comes.  Failed steps wait for the others of their level; of
/// participants only the whole is logged.
fn event_of(act: &Act, outcome: Outcome) -> Option<Event> {
    let Part::Step(step) = &act.part else { return None };
    let step = step.index;
    let event = match (act.direction, outcome) {
        (Direction::Execute, Outcome::Done) => SagaEvent::StepSucceeded { step },
        (Direction::Compensate, Outcome::Done) => SagaEvent::CompensationSucceeded { step },
        (Direction::Compensate, _) => SagaEvent::CompensationFailed { step, retries: act.attempt },
        _ => return None,
    };
    Some(Event::Saga(act.key.1, event))
}

fn not_done(act: &Act, outcome: Outcome) -> Error {
    let (action, attempt) = (format!("{:?}", act.direction).to_lowercase(), act.attempt);
    match outcome {
        Outcome::Failed(error) => {
            Error::new(Code::State, format!("{action} failed with {error} at try {attempt}, and cannot be passed over"))
        }
        _ => Error::new(Code::Timeout, format!("{action} has no outcome after {attempt} tries")),
    }
}
