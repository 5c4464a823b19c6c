//! Reads the next pieces of a file while the present one is looked at: one
//! thread, one piece after the other.
//!
//! A reader that goes through a log in one go spends about as long on the
//! checksums of a piece as the device on reading it; side by side that is half
//! the time.  Neither takes equally long for each piece: with some asked for at
//! once, the device goes on with the next one while this one is looked at, and
//! nobody waits for anybody to wake up.  The thread sleeps where nothing is
//! asked for and ends with its owner.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::base::bytes::len_u64;
use crate::base::{thread, Result};
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
    /// Up to which number everything was durable when it was asked for.
    pub durable: u64,
}

/// The thread.
pub struct ReadAhead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    fork: ForkGuard,
    /// Of the pieces that were asked for and not taken: where each begins and ends.
    asked: VecDeque<Range<u64>>,
}

struct Shared {
    state: Mutex<State>,
    /// Something was asked for, or is done, or the end is: one of the two waits at most.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: VecDeque<Piece>,
    done: VecDeque<(Piece, std::io::Result<usize>)>,
    stop: bool,
    /// The thread has ended: it panicked, or was told to stop.
    gone: bool,
}

/// Tells that the thread is gone, however it ends: nobody waits for it any more.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(&self) {
        let mut state = self.lock();
        while !state.stop {
            let Some(mut piece) = state.asked.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let read = piece.file.read_at(&mut piece.buf[piece.start..piece.start + piece.len], piece.offset);
            state = self.lock();
            state.done.push_back((piece, read));
            self.changed.notify_one();
        }
    }
}

impl ReadAhead {
    /// Starts the thread; None: this process may have no more, and does without.
    pub fn start() -> Option<ReadAhead> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let runs = Arc::clone(&shared);
        let thread = thread::spawn("twal-read-ahead", move || Gone(runs).0.run()).ok()?;
        Some(ReadAhead { shared, thread: Some(thread), fork: ForkGuard::new(), asked: VecDeque::new() })
    }

    /// Has `piece` read, behind those that were asked for.
    pub fn ask(&mut self, piece: Piece) {
        self.asked.push_back(piece.offset..piece.offset + len_u64(piece.len));
        self.shared.lock().asked.push_back(piece);
        self.shared.changed.notify_one();
    }

    /// Where the piece begins that [`ReadAhead::take`] waits for.
    pub fn next(&self) -> Option<u64> {
        self.asked.front().map(|piece| piece.start)
    }

    /// Where the last one ends.
    pub fn end(&self) -> Option<u64> {
        self.asked.back().map(|piece| piece.end)
    }

    /// The first of the pieces that were asked for and not taken, when it is there; None also if the thread is gone, and
    /// with it what it was asked for.
    pub fn take(&mut self) -> Option<(Piece, std::io::Result<usize>)> {
        self.asked.pop_front()?;
        let mut state = self.shared.lock();
        loop {
            if let Some(done) = state.done.pop_front() {
                return Some(done);
            }
            if state.gone {
                self.asked.clear();
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
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
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        // It has nothing to tell.
        let _ = thread.join();
    }
}

/// Pieces that are read ahead at once.
const PIECES: usize = 3;

/// Pieces of one file, and the buffers that they are read into.
pub struct Pieces {
    thread: ReadAhead,
    /// The buffers that the thread does not have, of `len` bytes each.
    spares: Vec<AlignedBuf>,
    len: usize,
}

impl Pieces {
    /// Buffers of `len` bytes, and the thread; None: there is no room for either.
    pub fn begin(len: usize) -> Option<Pieces> {
        let spares: Result<Vec<_>> = (0..PIECES).map(|_| AlignedBuf::zeroed(len)).collect();
        let spares = spares.ok()?;
        Some(Pieces { thread: ReadAhead::start()?, spares, len })
    }

    /// A buffer for another piece, if there is one.
    pub fn spare(&mut self) -> Option<AlignedBuf> {
        self.spares.pop()
    }

    /// The buffer is for another piece.  In the place of one of another length there is a new one: a long frame's is
    /// larger, and that of a segment smaller than the one before has no room for a piece.
    pub fn give_back(&mut self, buf: AlignedBuf) {
        if buf.len() == self.len {
            self.spares.push(buf);
            return;
        }
        drop(buf);
        // Without memory there is a piece less.
        self.spares.extend(AlignedBuf::zeroed(self.len));
    }

    /// Whether each buffer has `len` bytes.
    pub fn hold(&self, len: usize) -> bool {
        self.len >= len
    }

    /// Has `piece` read behind the others.
    pub fn ask(&mut self, piece: Piece) {
        self.thread.ask(piece);
    }

    /// Where the first piece begins.
    pub fn next(&self) -> Option<u64> {
        self.thread.next()
    }

    /// Where the last one ends.
    pub fn end(&self) -> Option<u64> {
        self.thread.end()
    }

    /// The first piece, when it is there.
    pub fn take(&mut self) -> Option<(Piece, std::io::Result<usize>)> {
        self.thread.take()
    }

    /// Nothing of what was asked for is wanted.
    pub fn give_up(&mut self) {
        while let Some((piece, _)) = self.take() {
            self.spares.push(piece.buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Access, Disk};

    #[test]
    fn a_buffer_of_another_length_is_not_kept() {
        let mut pieces = Pieces::begin(8192).unwrap();
        for round in 0..4 * PIECES {
            let spare = pieces.spare().unwrap();
            assert_eq!(spare.len(), 8192);
            let len = if round % 2 == 0 { 1 << 20 } else { 4096 };
            pieces.give_back(AlignedBuf::zeroed(len).unwrap());
        }
        let lens: Vec<_> = std::iter::from_fn(|| pieces.spare()).map(|spare| spare.len()).collect();
        assert_eq!(lens, [8192; PIECES]);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let disk = SimDisk::new(1);
        let dir = disk.open_dir(Path::new("/log"), true).unwrap();
        disk.put_file("file", &[7; 8192]);
        let file = dir.open("file", Access::Read).unwrap();
        let mut pieces = Pieces::begin(8192).unwrap();
        // The first one behind its buffer's end.
        for start in [8192, 4096] {
            let buf = pieces.spare().unwrap();
            pieces.ask(Piece { file: Arc::clone(&file), offset: 0, buf, start, len: 4096, durable: 0 });
        }
        assert!(pieces.take().is_none());
        assert_eq!((pieces.next(), pieces.end()), (None, None));
        let buf = pieces.spare().unwrap();
        pieces.ask(Piece { file, offset: 0, buf, start: 4096, len: 4096, durable: 0 });
        assert!(pieces.take().is_none());
    }
}
