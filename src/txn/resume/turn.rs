//! One resume of a manager at a time, and its end from outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::board::Desk;
use crate::base::{Code, Error, Result};

/// The resumes of a manager.
#[derive(Default)]
pub struct Resumes {
    turn: Mutex<()>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// The one that runs.
    desk: Option<Arc<Desk>>,
    /// None begins any more.
    is_over: bool,
}

/// The right to resume.  When it goes, another may.
pub struct Turn<'a> {
    resumes: &'a Resumes,
    _turn: MutexGuard<'a, ()>,
}

impl Resumes {
    /// Busy: somebody else has it.
    pub fn take_turn(&self) -> Result<Turn<'_>> {
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            // A callback has panicked in an earlier one; nothing lies behind the lock.
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Error::new(Code::Busy, "another resume runs")),
        };
        Ok(Turn { resumes: self, _turn: turn })
    }

    /// Stops the one that runs, and lets none begin: the manager or its log is being closed.
    pub fn end(&self) {
        let mut running = self.running();
        running.is_over = true;
        if let Some(desk) = &running.desk {
            desk.stop(ended());
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// From here on the work at `desk` can be stopped.
    pub fn begin(self, desk: &Arc<Desk>) -> Result<Self> {
        let mut running = self.resumes.running();
        if running.is_over {
            return Err(ended());
        }
        running.desk = Some(Arc::clone(desk));
        drop(running);
        Ok(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.resumes.running().desk = None;
    }
}

fn ended() -> Error {
    Error::new(Code::Closed, "the manager or its log is closed")
}
