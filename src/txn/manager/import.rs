//! Files of the v2.6 layout into the log of a manager.
//!
//! | step | what a crash or failure leaves |
//! |---|---|
//! | 1. the files are read to their end | nothing was appended |
//! | 2. they are read again, and appended batch by batch | the batches so far, each whole; `told` has named them |
//! | 3. a checkpoint says that the ids of what was left out are used, if no other id does | the same as behind 2; all batches |
//! | 4. all of it is made durable | a crash: a prefix of the batches; a failure: fate unknown, and the log takes nothing more |
//!
//! An import that was cut short is not taken up again: its operations are the log's, as far as they got, and their ids
//! are used, so the same files are refused.  What is unfinished is resumed like everything else.

use super::append::Origin;
use super::Manager;
use crate::base::bytes::usize_of;
use crate::base::Result;
use crate::interchange::Reader;
use crate::txn::interchange::import::{import, Import, Imported, Sink};
use crate::txn::{Event, Family};

impl Manager {
    /// Appends the events of the files that `open` opens, twice, with their timestamps and new numbers; tells each
    /// record's number in the files and in the log to `told`.  Durable on return.  Ids stay: they name things outside.
    ///
    /// # Errors
    /// Exists: an id in the files is not above the log's highest: no operation is begun twice.  TooBig: more is
    /// unfinished than the table has room for.  Corrupt, Version, NotFound: the files, with file number and offset.
    /// Then nothing was appended.
    ///
    /// As [`Manager::append`]; State: the files have changed meanwhile, or somebody else began an operation.  Then what
    /// was told of stays.
    pub fn import(&self, open: &dyn Fn() -> Result<Reader>, told: &mut dyn FnMut(u64, u64)) -> Result<Import> {
        let room = self.inner.state_max.saturating_sub(self.look(|state| state.table.state_len())?);
        let highest = self.look(|state| {
            [Family::Saga, Family::Transaction]
                .map(|family| state.table.next_id(family).map_or(u64::MAX, |next| next - 1))
        })?;
        let mut sink = Into { manager: self, highest, is_due: false };
        let done = import(open, room, &mut sink, told);
        if sink.is_due {
            self.checkpoint_when_due();
        }
        done
    }
}

struct Into<'a> {
    manager: &'a Manager,
    /// Ids of a saga and of a transaction when the import began.
    highest: [u64; 2],
    is_due: bool,
}

impl Sink for Into<'_> {
    fn highest(&self, family: Family) -> u64 {
        self.highest[usize::from(family == Family::Transaction)]
    }

    fn batch_bytes_max(&self) -> usize {
        usize_of(self.manager.inner.log.record_size_max())
    }

    fn append(&mut self, events: &[Imported]) -> Result<u64> {
        let stamps: Vec<i64> = events.iter().map(|imported| imported.timestamp).collect();
        let events: Vec<Event> = events.iter().map(|imported| imported.event.clone()).collect();
        let appended = self.manager.append_as(|_| Ok(events.clone()), Origin::Elsewhere { stamps: &stamps })?;
        self.is_due |= appended.due;
        Ok(appended.first_seq)
    }

    fn reserve(&mut self, family: Family, id: u64) -> Result<()> {
        self.manager.reserve_ids(family, id)
    }

    fn sync(&mut self) -> Result<()> {
        self.manager.inner.log.sync(0)
    }
}
