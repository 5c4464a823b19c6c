//! An import's operations, apart from the log's own until it has ended: all of them become the log's then, or none.
//!
//! The files are another log's, and in the middle of them what is finished at their end is not finished yet.  Whoever
//! acted on that would do again what is done, or undo what is committed.
//!
//! | the log | its operations above the two highest of `import_started` |
//! |---|---|
//! | `import_started` and events | are apart: nobody is told of them |
//! | `import_ended` | are the log's, with what was begun before |
//! | `import_abandoned` | never were; their ids are given again |
//! | another `import_started`, a checkpoint, or nothing: before any of these two | the same |
//!
//! Nothing else is begun between `import_started` and what ends it, so an id says which of the two tables it is in.  The
//! bytes of both together are bounded, as they will be one.  Commits that the log only remembers give way to what is imported,
//! until it is known that it never was.

use super::event::Event;
use super::limits::COMMITTED_KEPT;
use super::snapshot::{self, HEADER_LEN};
use super::{Family, Reason, Refusal, Table};

impl Table {
    /// There is an import that has not ended: it runs, or was abandoned.
    pub fn is_importing(&self) -> bool {
        self.imported.is_some()
    }

    /// What is apart takes no room any more, and what gave way to it is there again.  The import is still to be abandoned.
    pub(super) fn empty_import(&mut self) {
        if let Some(imported) = self.imported.as_deref_mut() {
            *imported = Table::new();
        }
        while let Some((id, transaction)) = self.gave_way.pop_back() {
            self.state_len += snapshot::transaction_len(&transaction);
            self.committed.push_front((id, transaction));
        }
        self.remember_at_most(COMMITTED_KEPT);
    }

    /// There is none any more: it has ended, or never was.
    pub(super) fn drop_import(&mut self) -> Option<Box<Table>> {
        self.gave_way.clear();
        self.imported.take()
    }

    /// Of a saga and of a transaction, without what is apart; 0: none.
    pub(super) fn highest_ids(&self) -> [u64; 2] {
        [Family::Saga, Family::Transaction].map(|family| self.highest(family))
    }

    /// Bytes of the state, as it will be when what is apart is in it.
    pub(super) fn len_with_import(&self) -> usize {
        self.state_len + self.imported.as_ref().map_or(0, |imported| imported.state_len - HEADER_LEN)
    }

    /// Where the event's operation is, if it is an import's.
    pub(super) fn imported_with(&self, event: &Event) -> Option<&Table> {
        let imported = self.imported.as_deref()?;
        self.is_above(event).then_some(imported)
    }

    pub(super) fn imported_with_mut(&mut self, event: &Event) -> Option<&mut Table> {
        if self.imported.is_none() || !self.is_above(event) {
            return None;
        }
        self.imported.as_deref_mut()
    }

    fn is_above(&self, event: &Event) -> bool {
        event.operation().is_some_and(|(family, id)| id > self.highest(family))
    }

    /// Refuses events of operations that are an import's: for everybody else there are none.
    pub(super) fn check_not_imported(&self, events: &[Event]) -> Result<(), Refusal> {
        match events.iter().find(|event| self.imported_with(event).is_some()) {
            Some(event) => Err(self.refusal(event, Reason::Unknown)),
            None => Ok(()),
        }
    }

    pub(super) fn check_highest(&self, highest: [u64; 2]) -> Result<(), Reason> {
        (highest == self.highest_ids()).then_some(()).ok_or(Reason::Import)
    }

    pub(super) fn check_importing(&self) -> Result<(), Reason> {
        self.is_importing().then_some(()).ok_or(Reason::Import)
    }

    pub(super) fn start_import(&mut self) {
        // One that was abandoned before goes with it.
        self.imported = Some(Box::new(Table {
            saga_highest: self.saga_highest,
            transaction_highest: self.transaction_highest,
            ..Table::new()
        }));
    }

    pub(super) fn end_import(&mut self) {
        let Some(imported) = self.drop_import() else { return };
        self.state_len += imported.state_len - HEADER_LEN;
        self.saga_highest = imported.saga_highest;
        self.transaction_highest = imported.transaction_highest;
        self.through_seq = self.through_seq.max(imported.through_seq);
        self.sagas.extend(imported.sagas);
        self.transactions.extend(imported.transactions);
        // In the order in which they committed, some of each between those of the other.
        self.committed.extend(imported.committed);
        self.committed.make_contiguous().sort_by_key(|(_, transaction)| transaction.last_seq);
        self.remember_at_most(COMMITTED_KEPT);
    }

    /// Forgets the oldest commit of both: what is left is the last of them, as if they had been in one table.
    pub(super) fn forget_oldest_with_import(&mut self) -> bool {
        let oldest = |table: &Table| table.committed.front().map_or(u64::MAX, |(_, transaction)| transaction.last_seq);
        let own = oldest(self);
        match self.imported.as_deref_mut() {
            Some(imported) if oldest(imported) < own => imported.forget_oldest(),
            Some(_) => self.give_way(),
            None => self.forget_oldest(),
        }
    }

    /// The oldest commit is forgotten for as long as there is an import.
    fn give_way(&mut self) -> bool {
        let oldest = self.committed.front().cloned();
        self.gave_way.extend(oldest);
        if self.gave_way.len() > COMMITTED_KEPT {
            self.gave_way.pop_front();
        }
        self.forget_oldest()
    }
}
