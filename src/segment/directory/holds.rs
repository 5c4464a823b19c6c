//! The file of holds, `twal-holds`: read, locked, written anew.
//!
//! Whoever gives segments back, and whoever changes a hold, in this process or
//! in another, has the file locked meanwhile (OFD lock, byte 0).  The file is
//! replaced by rename, so a lock may turn out to be on the one before: then the
//! name is another file's, and the lock is taken again.
//!
//! Only the log's writer makes the first one: else it could give away, with
//! nothing to lock, what a hold in the making is for.
//!
//! Promises: where there should be holds and none can be read, nothing is given
//! back.  What "should" rests on: the file was seen by this very handle, or the
//! newest segment's header says that there was one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::{lock, retry, Directory, TakenOut};
use crate::base::bytes::usize_of;
use crate::base::clock::Clock;
use crate::base::limits::BLOCK_SIZE_MAX;
use crate::base::{Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::disk::{Access, Durable, File, LockByte, LockKind};
use crate::format::holds::HOLDS_FILE_LEN;
use crate::format::{Holds, Id};
use crate::mem::AlignedBuf;
use crate::segment::name::{HOLDS, HOLDS_NEW};
use crate::segment::{retain, SegmentName};

/// What a directory knows of its holds.
#[derive(Default)]
pub(super) struct Holding {
    /// Held by the thread that has the file locked, or has seen that there is none: then it is also the only one
    /// that makes it.  Taken before `names`.  True: no more turns, the
    /// directory may be another writer's.
    turn: Mutex<bool>,
    /// Whose holds these are, and whether this handle is the log's writer.
    owner: OnceLock<(Id, bool)>,
    /// There is a file, or it was lost.  Set once; the release publishes nothing.
    expected: AtomicBool,
}

/// A directory whose holds stay as they are, for as long as this is there.
pub struct HeldDirectory<'directory> {
    directory: &'directory Directory,
    _turn: MutexGuard<'directory, bool>,
    /// Locked.  None: there is no file.
    file: Option<Arc<dyn File>>,
    holds: Holds,
}

impl Directory {
    /// Says whose directory it is, whether the caller is the log's writer, and whether there must be holds.
    pub fn belongs_to(&self, log_id: Id, writer: bool, keeps_holds: bool) {
        self.holding.owner.get_or_init(|| (log_id, writer));
        if keeps_holds {
            self.holding.expected.store(true, Ordering::Release);
        }
    }

    /// Whether a segment that begins now says that there are holds.
    pub fn keeps_holds(&self) -> bool {
        self.holding.expected.load(Ordering::Acquire)
    }

    /// The holds, as they are at this moment.
    pub fn holds(&self) -> Result<Holds> {
        match self.open_holds(Access::Read)? {
            Some(file) => self.read_holds(file.as_ref()),
            None => Ok(Holds::default()),
        }
    }

    /// Locks the holds.  Locked: another process has them and does not let go.
    pub fn hold_still(&self, clock: &Clock) -> Result<HeldDirectory<'_>> {
        let turn = self.take_turn()?;
        let file = self.lock_file(clock)?;
        let holds = file.as_ref().map_or(Ok(Holds::default()), |file| self.read_holds(file.as_ref()))?;
        Ok(HeldDirectory { directory: self, _turn: turn, file, holds })
    }

    /// The same of holds that cannot be read: none are left.
    pub fn hold_nothing(&self, clock: &Clock) -> Result<HeldDirectory<'_>> {
        let turn = self.take_turn()?;
        let file = match self.lock_file(clock) {
            Err(error) if error.code == Code::Corrupt && error.os_errno == 0 => None,
            file => file?,
        };
        // Above whatever was there, if that can still be told.
        let number = file.as_ref().and_then(|file| self.read_holds(file.as_ref()).ok()).map_or(0, |holds| holds.number);
        Ok(HeldDirectory { directory: self, _turn: turn, file, holds: Holds { number, all: Vec::new() } })
    }

    fn take_turn(&self) -> Result<MutexGuard<'_, bool>> {
        let turn = lock(&self.holding.turn);
        match *turn {
            true => Err(Error::new(Code::Closed, "the log is closed")),
            false => Ok(turn),
        }
    }

    /// Waits for whoever changes holds, or names by them; nobody does from then on: the directory is to be given back.
    pub fn end_changes(&self) {
        *lock(&self.holding.turn) = true;
    }

    /// The file; None: there is none, and need be none.
    fn open_holds(&self, access: Access) -> Result<Option<Arc<dyn File>>> {
        if self.owner().1 && !self.keeps_holds() {
            // Nobody but this writer makes the first one.
            return Ok(None);
        }
        match self.dir.open(HOLDS, access) {
            Ok(file) => {
                self.holding.expected.store(true, Ordering::Release);
                Ok(Some(file))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                if self.keeps_holds() {
                    let text =
                        format!("{HOLDS} is missing: what the log's holds keep is not known, nothing is removed");
                    return Err(Error::new(Code::Corrupt, text));
                }
                Ok(None)
            }
            Err(error) => Err(super::cannot_open(&HOLDS, &error)),
        }
    }

    fn lock_file(&self, clock: &Clock) -> Result<Option<Arc<dyn File>>> {
        let failed = |error| Error::os(format_args!("cannot lock {HOLDS}"), &error);
        // The wait for a lock is a place where a thread of the host's can be cancelled.
        let _uncancelled = Uncancelled::begin();
        let mut locked = None;
        let done = retry(clock, || {
            let Some(file) = self.open_holds(Access::Write)? else { return Ok(true) };
            if !file.try_lock(LockByte::Writer, LockKind::Exclusive).map_err(failed)? {
                return Ok(false);
            }
            // Another one may have replaced it while this one waited for its lock.  That it has a name says nothing: a
            // backup may have linked it.
            let Some(named) = self.open_holds(Access::Read)? else { return Ok(false) };
            let same = named.identity().map_err(failed)? == file.identity().map_err(failed)?;
            locked = same.then_some(file);
            Ok(same)
        })?;
        if !done {
            return Err(Error::new(Code::Locked, format!("another process is changing {HOLDS}")));
        }
        Ok(locked)
    }

    fn read_holds(&self, file: &dyn File) -> Result<Holds> {
        let failed = |error| Error { code: Code::Io, ..Error::os(format_args!("cannot read {HOLDS}"), &error) };
        let mut bytes = AlignedBuf::zeroed(BLOCK_SIZE_MAX as usize)?;
        let len = file.read_at(&mut bytes, 0).map_err(failed)?;
        Holds::decode(&bytes[..len], &self.owner().0)
    }

    /// A directory that nobody has said this of is read by nobody who needs it.
    fn owner(&self) -> (Id, bool) {
        self.holding.owner.get().copied().unwrap_or_default()
    }

    pub(super) fn remove_if_there(&self, name: &str) -> Result<()> {
        match self.dir.remove(name) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            removed => removed.map_err(|error| super::cannot_remove(&name, &error)),
        }
    }

    /// The new file, written, flushed and locked.
    fn prepare_holds(&self, holds: &Holds) -> Result<Arc<dyn File>> {
        let failed = |error| Error::os(format_args!("cannot write {HOLDS_NEW}"), &error);
        // What a crash has left: its writer may still be about to write, so it is not used again.
        self.remove_if_there(HOLDS_NEW)?;
        let file = self.dir.create(HOLDS_NEW).map_err(failed)?;
        let len = HOLDS_FILE_LEN.max(usize_of(u64::from(self.facts().block_align)));
        let mut bytes = AlignedBuf::zeroed(len)?;
        holds.encode(&self.owner().0, &mut bytes);
        file.write_at(&bytes, 0, Durable::No).map_err(failed)?;
        file.sync().map_err(|error| Error { code: Code::Io, ..failed(error) })?;
        // Nobody else knows it; whoever finds it under its new name waits until the name is durable.
        file.try_lock(LockByte::Writer, LockKind::Exclusive).map_err(failed)?;
        Ok(file)
    }
}

impl HeldDirectory<'_> {
    /// The holds.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// There is a file.
    pub fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Writes the holds anew: the ones or the others are there after a crash, the new ones once this has returned.
    pub fn rewrite(&mut self, holds: Holds) -> Result<()> {
        let directory = self.directory;
        let file = match directory.prepare_holds(&holds) {
            // To move a hold forward is what gives room back.
            Err(error) if error.code == Code::NoSpc && directory.dir.give_room() => {
                let again = directory.prepare_holds(&holds);
                if again.is_err() {
                    directory.keep_room();
                }
                again?
            }
            prepared => prepared?,
        };
        if self.file.is_some() {
            directory.rename_over(HOLDS_NEW, HOLDS)?;
        } else {
            directory.rename(HOLDS_NEW, HOLDS)?;
        }
        directory.holding.expected.store(true, Ordering::Release);
        // The one before is unlocked with this: who waits for it finds its name taken.
        self.file = Some(file);
        self.holds = holds;
        directory.sync()?;
        directory.keep_room();
        Ok(())
    }

    /// See `Directory::archive`.
    pub fn archive(&self, below_seq: u64) -> Result<u64> {
        self.directory.archive(below_seq, &self.holds.all)
    }

    /// See `Directory::take_out`.
    pub fn take_out(&self, retained: u64, wanted: u64) -> Result<TakenOut> {
        self.directory.take_out(retained, wanted)
    }

    /// Whether a hold keeps this segment as it is.
    pub fn keeps(&self, name: &SegmentName) -> bool {
        let segments = self.directory.segments();
        let end_seq = segments.iter().find(|next| next.index > name.index).map_or(u64::MAX, |next| next.first_seq);
        self.holds.all.iter().any(|hold| retain::keeps(hold, name, end_seq))
    }
}
