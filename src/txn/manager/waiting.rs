//! Since when transactions wait for their votes, by the log's clock.  Nothing of it is written: whoever recovers
//! aborts them anyway.

use std::collections::{BTreeMap, BTreeSet};

use super::{Begun, Manager};
use crate::base::{Code, Error, Result};
use crate::txn::event::{Event, TransactionEvent};
use crate::txn::{Status, Table, TransactionState};

/// The transactions that somebody runs, whose votes were asked for, and which neither have all of them to commit nor are
/// decided.
#[derive(Default)]
pub(super) struct Waiting {
    since_ns: BTreeMap<u64, u64>,
    /// Since when, and which: the same ones, the oldest first.
    by_age: BTreeSet<(u64, u64)>,
}

impl Waiting {
    /// An event of the transaction was applied to `table`.
    pub(super) fn applied(&mut self, table: &Table, id: u64, now_ns: u64) {
        use TransactionState::{Preparing, Refused};
        if matches!(table.transaction_status(id), Status::Active(Preparing | Refused)) {
            let since_ns = *self.since_ns.entry(id).or_insert(now_ns);
            self.by_age.insert((since_ns, id));
        } else if let Some(since_ns) = self.since_ns.remove(&id) {
            self.by_age.remove(&(since_ns, id));
        }
    }

    /// The one that has waited longest, if it began at `ns` or before.
    fn oldest_since(&self, ns: u64) -> Option<u64> {
        self.by_age.first().filter(|(since_ns, _)| *since_ns <= ns).map(|(_, id)| *id)
    }
}

impl Manager {
    /// Decides to abort the transaction that has waited longest for its votes, if that is `wait_ns` or more, and tells
    /// which.  Durable.  One that all voted to commit is for its coordinator to decide; one that nobody runs since a recovery or
    /// import is for a resume, which would find its decision taken.
    ///
    /// # Errors
    /// NotFound: none has.  Else as [`Manager::append`].
    pub fn transaction_expire(&self, wait_ns: u64) -> Result<Begun> {
        let by_ns = self.inner.clock.now_ns().checked_sub(wait_ns);
        self.begin(|state| {
            let oldest = by_ns.and_then(|ns| state.waiting.oldest_since(ns));
            let id =
                oldest.ok_or_else(|| Error::new(Code::NotFound, "no transaction has waited so long for its votes"))?;
            Ok(vec![Event::Transaction(id, TransactionEvent::AbortStart)])
        })
    }
}
