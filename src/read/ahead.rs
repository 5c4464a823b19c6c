//! Reads the next piece of a file while the present one is looked at: one
//! thread, one piece.
//!
//! A reader that goes through a log in one go spends about as long on the
//! checksums of a piece as the device on reading it; side by side that is half
//! the time.  The thread sleeps between pieces and ends with its owner.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::base::thread;
use crate::disk::cancel::Uncancelled;
use crate::disk::File;
use crate::mem::fork::ForkGuard;
use crate::mem::AlignedBuf;

/// What is read, and where in the buffer it goes.
pub struct Piece {
    /// The file.
    pub file: Arc<dyn File>,
    /// Offset in it.
    pub offset: u64,
    /// Where the bytes go.
    pub buf: AlignedBuf,
    /// Index of the first one in `buf`.
    pub start: usize,
    /// How many are asked for.
    pub len: usize,
}

/// The thread and its one piece.
pub struct ReadAhead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    fork: ForkGuard,
    /// A piece was asked for and not taken: its offset.
    asked: Option<u64>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

enum State {
    Idle,
    Asked(Piece),
    Reading,
    Done(Piece, std::io::Result<usize>),
    Stop,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between taking a state out and putting the next one in.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            match std::mem::replace(&mut *state, State::Reading) {
                State::Asked(mut piece) => {
                    drop(state);
                    let read = piece.file.read_at(&mut piece.buf[piece.start..piece.start + piece.len], piece.offset);
                    state = self.lock();
                    if !matches!(*state, State::Stop) {
                        *state = State::Done(piece, read);
                    }
                    self.changed.notify_one();
                }
                State::Stop => return,
                other => {
                    *state = other;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl ReadAhead {
    /// Starts the thread; None: this process may have no more, and does without.
    pub fn start() -> Option<ReadAhead> {
        let shared = Arc::new(Shared { state: Mutex::new(State::Idle), changed: Condvar::new() });
        let runs = Arc::clone(&shared);
        let thread = thread::spawn("twal-read-ahead", move || runs.run()).ok()?;
        Some(ReadAhead { shared, thread: Some(thread), fork: ForkGuard::new(), asked: None })
    }

    /// Has `piece` read.  Nothing is asked for now.
    pub fn ask(&mut self, piece: Piece) {
        debug_assert!(self.asked.is_none(), "one piece at a time");
        self.asked = Some(piece.offset);
        *self.shared.lock() = State::Asked(piece);
        self.shared.changed.notify_one();
    }

    /// The offset of the piece that was asked for and not taken.
    pub fn asked(&self) -> Option<u64> {
        self.asked
    }

    /// The piece that was asked for, when it is there.
    pub fn take(&mut self) -> Option<(Piece, std::io::Result<usize>)> {
        self.asked.take()?;
        let mut state = self.shared.lock();
        loop {
            match std::mem::replace(&mut *state, State::Idle) {
                State::Done(piece, read) => return Some((piece, read)),
                other => {
                    *state = other;
                    state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.fork.forked() {
            // The thread is the parent's, and may have held the lock when the child came to be.
            std::mem::forget((thread, Arc::clone(&self.shared)));
            return;
        }
        // Dropped by whatever call of the host's: the join would unwind out of it.
        let _uncancelled = Uncancelled::begin();
        *self.shared.lock() = State::Stop;
        self.shared.changed.notify_one();
        // It has nothing to tell.
        let _ = thread.join();
    }
}
