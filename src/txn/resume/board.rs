//! What is to be done, by whom, and when: the bookkeeping of a resume, under one lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::decide::{Key, Known, Part};
use crate::base::clock::Clock;
use crate::base::Error;
use crate::txn::event::Name;
use crate::txn::Direction;

/// One piece of work.
pub enum Job {
    /// Nothing of this operation is in flight: see what comes next.
    Look(Key),
    /// Ask a participant.
    Act(Act),
}

/// One action of an operation.
pub struct Act {
    pub key: Key,
    pub coordinator: Name,
    pub direction: Direction,
    pub part: Part,
    /// From 1 on.
    pub attempt: u32,
}

/// An operation that is being resumed.
#[derive(Default)]
pub struct Operation {
    pub known: Known,
    /// Actions that have no outcome yet: waiting, put off or being carried out.
    pub in_flight: usize,
    /// Why it is left.
    pub given_up: Option<Error>,
    /// It is finished.
    pub finished: bool,
}

#[derive(Default)]
pub struct Board {
    pub operations: BTreeMap<Key, Operation>,
    pub ready: VecDeque<Job>,
    /// What is begun goes on before another operation is begun.
    ends_first: bool,
    /// By the time that they are due, ns, and a number that keeps those of one time apart.
    delayed: BTreeMap<(u64, u64), Job>,
    delayed_count: u64,
    /// Jobs being carried out: each may make more.
    busy: usize,
    /// Nothing is begun any more.
    stopped: bool,
    /// Why.
    pub error: Option<Error>,
    pub calls: u64,
    pub retries: u64,
}

impl Board {
    /// Without operations.
    pub fn new(ends_first: bool) -> Board {
        Board { ends_first, ..Board::default() }
    }

    /// `jobs` of an operation that was begun: behind what others wait for, unless it is to end first.
    pub fn go_on_with(&mut self, jobs: impl DoubleEndedIterator<Item = Job>) {
        if self.ends_first {
            jobs.rev().for_each(|job| self.ready.push_front(job));
        } else {
            self.ready.extend(jobs);
        }
    }

    /// `job` at `due_ns` of the clock.
    pub fn put_off(&mut self, job: Job, due_ns: u64) {
        self.delayed_count += 1;
        self.delayed.insert((due_ns, self.delayed_count), job);
    }

    /// The log takes nothing more.
    pub fn stop(&mut self, error: Error) {
        self.stopped = true;
        self.error.get_or_insert(error);
    }
}

/// The board and who waits at it.
pub struct Desk {
    board: Mutex<Board>,
    changed: Condvar,
    clock: Clock,
}

/// A job that is carried out; when this goes, it is done.
pub struct Busy<'a>(&'a Desk);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut board = self.0.lock();
        board.busy -= 1;
        // A callback that panics takes its thread along; the others begin nothing more.
        board.stopped |= std::thread::panicking();
        drop(board);
        self.0.changed.notify_all();
    }
}

impl Desk {
    pub fn new(board: Board, clock: Clock) -> Desk {
        Desk { board: Mutex::new(board), changed: Condvar::new(), clock }
    }

    pub fn lock(&self) -> MutexGuard<'_, Board> {
        // Nothing that could panic runs under it but allocations.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// What it has come to, when all is done.
    pub fn take_board(&self) -> Board {
        std::mem::take(&mut *self.lock())
    }

    /// Nothing is begun any more, and nobody waits for what was put off.
    pub fn stop(&self, error: Error) {
        self.lock().stop(error);
        self.changed.notify_all();
    }

    /// The next job, as soon as there is one; None: all is done.
    pub fn take(&self) -> Option<(Job, Busy<'_>)> {
        let mut board = self.lock();
        loop {
            if board.stopped {
                return None;
            }
            if let Some(job) = board.ready.pop_front() {
                board.busy += 1;
                return Some((job, Busy(self)));
            }
            let now_ns = self.clock.now_ns();
            let due_ns = board.delayed.keys().next().map(|&(due_ns, _)| due_ns);
            board = match due_ns {
                None if board.busy == 0 => return None,
                None => self.wait(board, None),
                Some(due_ns) if due_ns <= now_ns => {
                    let due = board.delayed.pop_first().map(|(_, job)| job);
                    board.go_on_with(due.into_iter());
                    board
                }
                Some(due_ns) => match &self.clock {
                    // Time moves when nobody has anything else to do.
                    Clock::Simulated(_) if board.busy == 0 => {
                        self.clock.pass(Duration::from_nanos(due_ns - now_ns));
                        board
                    }
                    Clock::Simulated(_) => self.wait(board, None),
                    Clock::Real(_) => self.wait(board, self.clock.instant(due_ns)),
                },
            };
        }
    }

    /// Until something changed, or the deadline.
    fn wait<'b>(&self, board: MutexGuard<'b, Board>, deadline: Option<Instant>) -> MutexGuard<'b, Board> {
        match deadline {
            None => self.changed.wait(board).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(board, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}
