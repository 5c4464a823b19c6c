//! Files of the v2.6 layout into the log of a manager: all of what they hold is the log's when it has ended, or nothing.
//!
//! | step | what a crash or failure leaves |
//! |---|---|
//! | 1. the files are read to their end | nothing was appended |
//! | 2. `import_started` is appended, if no id in the files was the log's | an import without an end |
//! | 3. the files are read again, and appended batch by batch; they are applied to a table apart (`imported.rs`) | the same |
//! | 4. `import_ended` is appended, and what is apart is put into the table, under one lock | the same, or all of it |
//! | 5. that is made durable | a crash: all of it; an I/O failure: one of the two, and the log takes nothing more |
//! | 6. a checkpoint says that the ids of what was left out are used, if no other id does; another is written if one is due | all of it, and those ids used or not |
//!
//! From 2 to 4, nobody else sees what is imported, and nobody begins an operation or writes a checkpoint: Busy.  What was
//! begun before goes on, between the batches.  Busy and not a wait, because `told` is called in the middle and may ask for either.
//! None of 2 and 3 is made durable by itself: the end of the log is lost before its beginning is, so where an event is, the marker
//! in front of it is, too.
//!
//! An import without an end never was.  Its ids are given again, so `import_abandoned` and a checkpoint, one batch, stand
//! between its records and the first of another operation: the failed import writes them; if it cannot, the next who
//! begins one, or fails; after a crash, recovery.  The marker, because compaction takes checkpoints away.  The same files can be imported again, and their actions have the same tokens: nobody has seen them.

use super::append::Origin;
use super::Manager;
use crate::base::bytes::usize_of;
use crate::base::{Code, Error, Result};
use crate::interchange::Reader;
use crate::txn::interchange::import::{import, Import, Imported, Sink};
use crate::txn::{Event, Family};

impl Manager {
    /// Appends the events of the files that `open` opens, twice, with their timestamps and new numbers; tells each
    /// record's number in the files and in the log to `told`.  Durable on return, and seen by nobody before: whatever
    /// happens, either all of it is the log's or nothing is.  Ids stay: they name things outside.
    ///
    /// Nobody begins an operation, or writes a checkpoint, meanwhile.
    ///
    /// # Errors
    /// Exists: an id in the files is not above the log's highest: no operation is begun twice.  TooBig: more is
    /// unfinished than the table has room for, and no id seen so far is the log's.  Corrupt, Version, NotFound: the files, with file number and offset.
    /// Busy: another import runs.  As [`Manager::append`]; State: the files have changed meanwhile.
    pub fn import(&self, open: &dyn Fn() -> Result<Reader>, told: &mut dyn FnMut(u64, u64)) -> Result<Import> {
        let room = self.inner.state_max.saturating_sub(self.look(|state| state.table.needed_len())?);
        let mut sink = Into { manager: self, is_started: false };
        import(open, room, &mut sink, told)
    }
}

struct Into<'a> {
    manager: &'a Manager,
    /// And has not ended.
    is_started: bool,
}

impl Sink for Into<'_> {
    fn highest(&self) -> Result<[u64; 2]> {
        self.manager.look(|state| state.table.highest_ids())
    }

    fn start(&mut self, check: &dyn Fn([u64; 2]) -> Result<()>) -> Result<()> {
        self.manager.abandon_import()?;
        let started = |state: &super::State| {
            if state.table.is_importing() {
                return Err(Error::new(Code::Busy, "another import runs"));
            }
            let highest = state.table.highest_ids();
            check(highest)?;
            let [saga_highest, transaction_highest] = highest;
            Ok(vec![Event::ImportStarted { saga_highest, transaction_highest }])
        };
        self.manager.append_as(started, Origin::Here)?;
        self.is_started = true;
        Ok(())
    }

    fn batch_bytes_max(&self) -> usize {
        usize_of(self.manager.inner.log.record_size_max())
    }

    fn append(&mut self, events: &[Imported]) -> Result<u64> {
        let stamps: Vec<i64> = events.iter().map(|imported| imported.timestamp).collect();
        let events: Vec<Event> = events.iter().map(|imported| imported.event.clone()).collect();
        let appended = self.manager.append_as(|_| Ok(events.clone()), Origin::Elsewhere { stamps: &stamps })?;
        Ok(appended.first_seq)
    }

    fn end(&mut self) -> Result<()> {
        self.manager.append_with(|_| Ok(vec![Event::ImportEnded]), None)?;
        self.is_started = false;
        Ok(())
    }

    fn reserve(&mut self, family: Family, id: u64) -> Result<()> {
        self.manager.reserve_ids(family, id)
    }
}

impl Drop for Into<'_> {
    fn drop(&mut self) {
        if self.is_started {
            self.manager.import_failed();
        }
    }
}

impl Manager {
    fn import_failed(&self) {
        // One that takes nothing more is recovered first.
        let Ok(mut state) = self.lock() else { return };
        state.import_runs = false;
        // Also where there is no room to note it down: what was there before is there as it was.
        state.table.empty_import();
        state.table.make_room(0, self.inner.state_max);
        drop(state);
        if let Err(error) = self.abandon_import() {
            self.checkpoint_failed(&error);
        }
    }
}
