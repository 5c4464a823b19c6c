//! The keeper: everything slow that must not stand in an append's way.
//! Renames sealed segments, zeroes ahead, prepares spares.

use std::sync::{Arc, PoisonError};

use super::queue::Queue;
use super::writer::Unwound;
use super::Commit;
use crate::base::limits::{ZERO_PIECE, ZERO_PIECE_MAX};
use crate::base::messages::{Level, Message};
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::format::Holds;
use crate::segment::{spare, HeldDirectory, SegmentName, Spare, TakenOut};

/// How far ahead of the tail the first segment's file is kept zeroed, bytes.
const ZERO_AHEAD: u64 = 8 << 20;

/// Most ready spares that recycling adds up to, unless more are asked for.
const RECYCLED_MAX: u64 = 8;

enum Chore {
    Seal(u64),
    Zero { file: Arc<dyn File>, segment: u64, from: u64, to: u64 },
    Spare,
}

impl Commit {
    /// The keeper thread.
    pub(super) fn run_keeper(&self) {
        let _unwound = Unwound(self);
        loop {
            let ticket = self.chores.ticket();
            while self.keep_once() {}
            {
                let queue = self.lock();
                if (queue.keeper.stop && queue.stopped) || self.latch.first().is_some() {
                    return;
                }
            }
            self.chores.wait(ticket, None);
        }
    }

    /// Tells the keeper if it has something to do.  Under the queue's lock.
    pub(super) fn kick_keeper(&self, queue: &mut Queue) {
        if !queue.keeper.preparing && next_chore(queue, &self.config).is_some() {
            self.chores.open();
        }
    }

    /// Does one chore; false: there is none.
    pub(super) fn keep_once(&self) -> bool {
        if self.latch.first().is_some() {
            return false;
        }
        let mut queue = self.lock();
        let Some(chore) = next_chore(&queue, &self.config) else { return false };
        queue.keeper.preparing = true;
        drop(queue);
        let result = self.keep(chore);
        self.lock().keeper.preparing = false;
        if let Err(error) = result {
            self.poison_by(Error { code: Code::Io, ..error });
        }
        self.room.open();
        true
    }

    fn keep(&self, chore: Chore) -> Result<()> {
        match chore {
            Chore::Seal(index) => {
                self.directory.seal(index)?;
                let mut queue = self.lock();
                if queue.keeper.to_seal == Some(index) {
                    queue.keeper.to_seal = None;
                }
                Ok(())
            }
            Chore::Zero { file, segment, from, to } => {
                spare::zero(file.as_ref(), from, to, &mut || Ok(ZERO_PIECE))?;
                // The zeros' extents become part of the file now, not with the first frame that lies in them.
                file.sync().map_err(|error| Error::os("cannot flush zeros", &error).in_segment(segment))?;
                let mut queue = self.lock();
                if queue.tail.segment == segment {
                    queue.tail.ready_end = to;
                    if to == queue.tail.size {
                        queue.keeper.zeroing = None;
                    }
                }
                Ok(())
            }
            Chore::Spare => {
                self.come_back_within_limit();
                let asked = {
                    let keeper = &self.lock().keeper;
                    (keeper.reserve_asked > keeper.reserve_tried).then_some(keeper.reserve_asked)
                };
                let prepared = self.prepare_spare(asked.is_some());
                let mut queue = self.lock();
                queue.keeper.spare_wanted = false;
                queue.keeper.reserve_tried = asked.unwrap_or(queue.keeper.reserve_tried);
                match prepared {
                    Ok((spare, true)) => {
                        queue.keeper.reserve = Some(spare);
                        Ok(())
                    }
                    Ok((spare, false)) => {
                        queue.ready.push_back(spare);
                        queue.keeper.spare_failed = None;
                        Ok(())
                    }
                    // Not the log's failure: nothing of it was touched.  Whoever needs the room is told.
                    Err(error) if error.code != Code::Io => {
                        queue.keeper.spare_failures += 1;
                        self.counters.spare_failures.one();
                        // What is tried again and again is told once.
                        if queue.keeper.spare_failed.is_none() {
                            self.say(Level::Warning, || Message::of(Level::Warning, "spare_failed", &error));
                        }
                        queue.keeper.spare_failed = Some(error);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// A new file, and whether it is the one beyond the limit on the log's size, which only `reserve` asks for.
    fn prepare_spare(&self, reserve: bool) -> Result<(Spare, bool)> {
        let beyond = match self.check_limit() {
            Err(_) if reserve && self.may_go_beyond() => true,
            within => within.map(|()| false)?,
        };
        // The names that a spare will have need room, too.
        if !self.directory.keep_room() {
            let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
            return Err(Error::os("cannot keep room for names", &full));
        }
        let size = self.config.segment_size;
        let spare = spare::prepare_beside(&self.directory, size, size, &self.clock, &mut || self.pace())?;
        Ok((spare, beyond))
    }

    /// Between the pieces of a new file: how long the next one may be.
    fn pace(&self) -> Result<u64> {
        self.zero_if_due()?;
        let queue = self.lock();
        let awaited = queue.keeper.spare_wanted && queue.ready.is_empty();
        Ok(if awaited { ZERO_PIECE_MAX } else { ZERO_PIECE })
    }

    /// Appends may need zeros where they are.
    fn zero_if_due(&self) -> Result<()> {
        if let Some(first) = self.latch.first() {
            // Nothing is written after a failure.
            return Err(Error::poisoned_by(&first));
        }
        let Some(chore) = zero_chore(&self.lock()) else { return Ok(()) };
        // Unlike what is wrong with a spare, this is the log's failure, whatever the system calls it.
        self.keep(chore).map_err(|error| Error { code: Code::Io, ..error })?;
        self.room.open();
        Ok(())
    }
}

impl Commit {
    /// Releases sealed segments wholly below `below_seq` that no hold keeps, and takes out of the log
    /// what retention no longer keeps; as many as spares are wanted become spares.
    pub fn trim(&self, below_seq: u64) -> Result<()> {
        // Holds that cannot be read poison nothing: they only keep everything.
        let held = self.directory.hold_still(&self.clock)?;
        self.trim_names(&held, below_seq).inspect_err(|error| self.poison_if_names_are_lost(error))
    }

    fn trim_names(&self, held: &HeldDirectory<'_>, below_seq: u64) -> Result<()> {
        let archived = held.archive(below_seq)?;
        self.counters.segments_archived.add(archived);
        let wanted = {
            let mut queue = self.lock();
            let ready = crate::base::bytes::len_u64(queue.ready.len());
            let rolls = std::mem::take(&mut queue.keeper.rolls_since_trim);
            // An old file is ready as it is, a new one has to be zeroed: keep as many as are soon used.
            let wanted = rolls.min(RECYCLED_MAX).max(2 * self.config.spares).saturating_sub(ready);
            // On a full device some of the room has to be for names; beyond the limit on its size the log shrinks first.
            if self.directory.keep_room() && !queue.is_beyond() {
                wanted
            } else {
                0
            }
        };
        let TakenOut { spares, removed, failed } = held.take_out(self.config.max_retained_segments, wanted)?;
        let gone = removed + crate::base::bytes::len_u64(spares.len());
        self.counters.segments_removed.add(gone);
        self.say_release(archived, gone);
        for spare in spares {
            if spare::usable(&spare, self.config.segment_size)? {
                self.counters.segments_recycled.one();
                self.lock().ready.push_back(spare);
            } else {
                self.directory.remove_spare(spare)?;
            }
        }
        let made_fit = failed.map_or_else(|| self.make_fit(held), Err);
        let removed = removed + made_fit.as_ref().copied().unwrap_or(0);
        self.directory.keep_room();
        if removed > 0 {
            self.has_room_again();
        }
        self.room.open();
        self.chores.open();
        made_fit.map(drop)
    }

    /// Tells of segments that were released, or have left the log.
    pub(super) fn say_release(&self, archived: u64, removed: u64) {
        if archived + removed > 0 {
            self.say(Level::Info, || {
                Message::new(Level::Info, "release", "segments are released, or have left the log")
                    .with("archived", archived)
                    .with("removed", removed)
            });
        }
    }

    /// There is room on the device again: an append that was refused may try.
    pub fn has_room_again(&self) {
        self.come_back_within_limit();
        self.lock().keeper.spare_failed = None;
        self.room.open();
        self.chores.open();
    }

    /// A smaller file, written and flushed, takes the place of the sealed segment `name`; see
    /// [`Directory::replace`](crate::segment::Directory::replace).
    pub fn replace_sealed(&self, smaller: &Spare, name: SegmentName) -> Result<bool> {
        // Somebody may have begun to need it since it was chosen.
        let held = self.directory.hold_still(&self.clock)?;
        if held.keeps(&name) {
            return Ok(false);
        }
        self.directory.replace(smaller, name).inspect_err(|error| self.poison_if_names_are_lost(error))
    }

    /// Writes the holds anew, and sees to it that the log remembers that it has some.
    pub fn rewrite_holds(&self, mut held: HeldDirectory<'_>, holds: Holds) -> Result<()> {
        held.rewrite(holds).inspect_err(|error| self.poison_if_names_are_lost(error))?;
        drop(held);
        self.remember_holds()
    }

    /// The newest segment's header says that there are holds: with the file lost, nothing is given back.  A log
    /// that gets its first hold begins a new segment for that.
    pub fn remember_holds(&self) -> Result<()> {
        let remembered = || self.composer.lock().unwrap_or_else(PoisonError::into_inner).header.keeps_holds;
        // A header that was being composed just before the file was there is the reason for a second turn.
        while !remembered() {
            self.roll_anyway()?;
        }
        Ok(())
    }

    /// A name that could not be changed is as it was; a flush that failed leaves nobody to trust.
    pub fn poison_if_names_are_lost(&self, error: &Error) {
        if error.code == Code::Io {
            self.poison_by(error.clone());
        }
    }
}

/// What the keeper has to do, most urgent first.
fn next_chore(queue: &Queue, config: &crate::base::options::Config) -> Option<Chore> {
    let keeper = &queue.keeper;
    if keeper.stop && queue.stopped {
        return keeper.to_seal.map(Chore::Seal);
    }
    if let Some(chore) = zero_chore(queue) {
        return Some(chore);
    }
    if let Some(index) = keeper.to_seal {
        return Some(Chore::Seal(index));
    }
    let tail = &queue.tail;
    // A spare costs as much disk as a segment: not before the log is being used.
    let in_use = tail.segment > 1 || tail.offset >= tail.size / 4 || tail.size <= ZERO_AHEAD;
    let short = crate::base::bytes::len_u64(queue.ready.len()) < config.spares;
    // A roll that an append waits for has the disk, and the file system's journal, to itself.
    let rolling = tail.segment == queue.active_segment + 1;
    let ahead = in_use && short && !rolling && keeper.spare_failed.is_none();
    let asked = keeper.spare_wanted || keeper.reserve_asked > keeper.reserve_tried;
    let wanted = asked && queue.ready.is_empty();
    (!keeper.stop && (ahead || wanted)).then_some(Chore::Spare)
}

/// What has to be zeroed of the segment that is appended to.
fn zero_chore(queue: &Queue) -> Option<Chore> {
    let (keeper, tail) = (&queue.keeper, &queue.tail);
    let file = keeper.zeroing.as_ref().filter(|_| !keeper.stop)?;
    let ahead = ZERO_AHEAD.min(tail.size / 4).max(ZERO_PIECE);
    let wanted_end = tail.offset.saturating_add(ahead).max(keeper.zero_wanted).min(tail.size);
    if tail.ready_end >= wanted_end {
        return None;
    }
    // One step beyond what is needed now, so that this is not done for every frame.
    let to = wanted_end.saturating_add(ahead).min(tail.size);
    Some(Chore::Zero { file: Arc::clone(file), segment: tail.segment, from: tail.ready_end, to })
}
