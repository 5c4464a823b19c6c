//! All operations that are not finished.
//!
//! Live path and replay call the same [`Table::apply`], in the order of the
//! log's numbers; so a table that was rebuilt equals the one that was lost.
//! What is live is checked first ([`Table::check`]), appended, then applied:
//! all three under one lock, or another event could come between.
//!
//! Nothing is kept of a finished operation: its id is not above the highest of its
//! kind and it is not here.  The exception is the last [`COMMITTED_KEPT`] committed
//! transactions, because a commit can be rolled back.  They give way where there is no room
//! for what is not finished.  That is not written to the log, and need not be: a table that was
//! rebuilt remembers at least what the lost one did, so it takes every event that was written.
//!
//! Memory is bounded by [`Table::state_len`], the bytes of the table's checkpoint:
//! see [`super::limits`].

use std::collections::{BTreeMap, VecDeque};

use super::event::{Event, SagaEvent, TransactionEvent};
use super::limits::{COMMITTED_KEPT, ID_LEAP_MAX};
use super::snapshot;
use super::{Family, Reason, Refusal, Rules, Saga, SagaState, Streams, Transaction, TransactionState};

/// What is known of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status<S> {
    /// No operation had this id yet.
    Unknown,
    /// It is in this state.
    Active(S),
    /// It is finished.
    Finished,
}

/// The operations that are not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(super) sagas: BTreeMap<u64, Saga>,
    pub(super) transactions: BTreeMap<u64, Transaction>,
    /// The last committed ones, in the order in which they committed.
    pub(super) committed: VecDeque<(u64, Transaction)>,
    /// What stands of streams.
    pub(super) streams: Streams,
    /// Highest id so far; 0: none.
    pub(super) saga_highest: u64,
    pub(super) transaction_highest: u64,
    /// Number of the last event applied.
    pub(super) through_seq: u64,
    /// Bytes of the checkpoint's state.
    pub(super) state_len: usize,
    /// Operations of an import that has not ended: see [`super::imported`].
    pub(super) imported: Option<Box<Table>>,
    /// Commits that were remembered here and gave way to those: the first of all, in their order.
    pub(super) gave_way: VecDeque<(u64, Transaction)>,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            sagas: BTreeMap::new(),
            transactions: BTreeMap::new(),
            committed: VecDeque::new(),
            streams: Streams::default(),
            saga_highest: 0,
            transaction_highest: 0,
            through_seq: 0,
            state_len: snapshot::HEADER_LEN,
            imported: None,
            gave_way: VecDeque::new(),
        }
    }
}

impl Table {
    /// A table without operations.
    pub fn new() -> Table {
        Table::default()
    }

    /// The sagas that are not finished, by id.
    pub fn sagas(&self) -> impl ExactSizeIterator<Item = (u64, &Saga)> {
        self.sagas.iter().map(|(id, saga)| (*id, saga))
    }

    /// The transactions that are not finished, by id.
    pub fn transactions(&self) -> impl ExactSizeIterator<Item = (u64, &Transaction)> {
        self.transactions.iter().map(|(id, transaction)| (*id, transaction))
    }

    /// A saga that is not finished.
    pub fn saga(&self, id: u64) -> Option<&Saga> {
        self.sagas.get(&id)
    }

    /// A transaction that is not finished, or a committed one that is remembered.
    pub fn transaction(&self, id: u64) -> Option<&Transaction> {
        self.transactions.get(&id).or_else(|| self.committed(id))
    }

    /// How many committed transactions are remembered.
    pub fn remembered(&self) -> usize {
        self.committed.len()
    }

    /// Tombstones, purges and applied markers.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    fn committed(&self, id: u64) -> Option<&Transaction> {
        self.committed.iter().find(|(other, _)| *other == id).map(|(_, transaction)| transaction)
    }

    /// What is known of a saga.
    pub fn saga_status(&self, id: u64) -> Status<SagaState> {
        status(self.sagas.get(&id).map(Saga::state), id, self.saga_highest)
    }

    /// What is known of a transaction.
    pub fn transaction_status(&self, id: u64) -> Status<TransactionState> {
        status(self.transactions.get(&id).map(Transaction::state), id, self.transaction_highest)
    }

    /// The id for the next operation of this kind; None: there is none left.
    pub fn next_id(&self, family: Family) -> Option<u64> {
        self.highest(family).checked_add(1)
    }

    pub(super) fn highest(&self, family: Family) -> u64 {
        match family {
            Family::Saga => self.saga_highest,
            Family::Transaction => self.transaction_highest,
        }
    }

    /// An id was seen though its operation is not known.  One that no operation can have says nothing of the others.
    /// Returns whether it is above those so far.
    pub(super) fn raise_highest(&mut self, family: Family, id: u64) -> bool {
        if id > ID_LEAP_MAX || id <= self.highest(family) {
            return false;
        }
        if let Some(imported) = &mut self.imported {
            return imported.raise_highest(family, id);
        }
        let highest = match family {
            Family::Saga => &mut self.saga_highest,
            Family::Transaction => &mut self.transaction_highest,
        };
        *highest = id;
        true
    }

    /// The ids up to another table's are used.
    pub(super) fn raise_to(&mut self, other: &Table) {
        self.saga_highest = self.saga_highest.max(other.saga_highest);
        self.transaction_highest = self.transaction_highest.max(other.transaction_highest);
    }

    /// Number of the last event applied.
    pub fn through_seq(&self) -> u64 {
        self.through_seq
    }

    /// Number of the oldest record that belongs to an operation not finished: what lies before it, and before
    /// the last checkpoint, nobody needs.
    pub fn oldest_seq(&self) -> Option<u64> {
        let sagas = self.sagas.values().map(|saga| saga.created_seq);
        sagas.chain(self.transactions.values().map(|transaction| transaction.created_seq)).min()
    }

    /// Number of the first record of an operation that is not finished.
    pub(super) fn created_seq(&self, (family, id): (Family, u64)) -> Option<u64> {
        match family {
            Family::Saga => self.sagas.get(&id).map(|saga| saga.created_seq),
            Family::Transaction => self.transactions.get(&id).map(|transaction| transaction.created_seq),
        }
    }

    /// Bytes that the state takes in a checkpoint: what the table's memory is measured by.
    pub fn state_len(&self) -> usize {
        self.state_len
    }

    /// Forgets committed transactions, the oldest first, until `grows` bytes more are within `state_max`.  False: that
    /// would not help, and nothing is forgotten.
    pub fn make_room(&mut self, grows: usize, state_max: usize) -> bool {
        let helps = self.needed_len() + grows <= state_max;
        while helps && self.len_with_import() + grows > state_max && self.forget_oldest_with_import() {}
        helps
    }

    /// Bytes of the state that do not give way.
    pub(super) fn needed_len(&self) -> usize {
        self.len_with_import() - self.remembered_len()
    }

    /// Bytes of the committed transactions that are remembered.
    fn remembered_len(&self) -> usize {
        let own: usize = self.committed.iter().map(|(_, transaction)| snapshot::transaction_len(transaction)).sum();
        own + self.imported.as_ref().map_or(0, |imported| imported.remembered_len())
    }

    /// The same until only `count` are remembered.
    pub(super) fn remember_at_most(&mut self, count: usize) {
        while self.committed.len() > count && self.forget_oldest() {}
    }

    pub(super) fn forget_oldest(&mut self) -> bool {
        let Some((_, oldest)) = self.committed.pop_front() else { return false };
        self.state_len -= snapshot::transaction_len(&oldest);
        true
    }

    /// Whether these events are legal, one after the other, and the state behind them takes at most
    /// `state_max` bytes, of which streams have at most half.  They are one batch: all or none.  Replay does not ask for room: what
    /// was taken once is taken again.
    pub fn check(&self, events: &[Event], rules: Rules, state_max: usize) -> Result<(), Refusal> {
        let imported = events.first().and_then(|event| self.imported_with(event));
        imported.unwrap_or(self).check_own(events, rules, state_max, self.len_with_import())
    }

    /// The same, where this table and the one beside it take `state_len` bytes together.
    fn check_own(&self, events: &[Event], rules: Rules, state_max: usize, state_len: usize) -> Result<(), Refusal> {
        // Legal first: whoever is told that there is no room may make some, and must not for what is refused anyway.
        if let [event] = events {
            self.check_one(event, rules)?;
        } else {
            let mut scratch = self.excerpt(events);
            events.iter().try_for_each(|event| scratch.apply(self.through_seq, event, rules))?;
        }
        let said = events.iter().filter(|event| matches!(event, Event::Stream(..)));
        let said = said.map(|event| self.growth(event)).sum::<usize>();
        // What is said of streams never finishes: if it had all the room, nothing could ever be begun again.
        if said > 0 && self.streams.len() + said > state_max.saturating_sub(snapshot::HEADER_LEN) / 2 {
            let event = events.iter().find(|event| matches!(event, Event::Stream(..))).expect("one of them grows");
            return Err(self.refusal(event, Reason::Streams));
        }
        let grows = events.iter().map(|event| self.growth(event)).sum::<usize>();
        let over = state_len + grows > state_max;
        match events.iter().find(|event| over && self.growth(event) > 0) {
            Some(event) => Err(self.refusal(event, Reason::Full)),
            None => Ok(()),
        }
    }

    /// How many bytes an event adds to the state, at most.
    pub(super) fn growth(&self, event: &Event) -> usize {
        match event {
            Event::Stream(stream, happened) => self.streams.growth(*stream, happened),
            event => snapshot::growth(event),
        }
    }

    /// A table of those operations, and of the streams if there are any, that the events are about.
    fn excerpt(&self, events: &[Event]) -> Table {
        let mut excerpt = Table {
            saga_highest: self.saga_highest,
            transaction_highest: self.transaction_highest,
            through_seq: self.through_seq,
            imported: self.imported.as_ref().map(|_| Box::default()),
            ..Table::new()
        };
        if events.iter().any(|event| matches!(event, Event::Stream(..))) {
            excerpt.streams = self.streams.clone();
        }
        for (family, id) in events.iter().filter_map(Event::operation) {
            match family {
                Family::Saga => excerpt.sagas.extend(self.sagas.get(&id).map(|saga| (id, saga.clone()))),
                Family::Transaction => {
                    let active = self.transactions.get(&id).map(|transaction| (id, transaction.clone()));
                    excerpt.transactions.extend(active);
                    if excerpt.committed(id).is_none() {
                        excerpt.committed.extend(self.committed(id).map(|transaction| (id, transaction.clone())));
                    }
                }
            }
        }
        excerpt.state_len = snapshot::len_of(&excerpt);
        excerpt
    }

    fn check_one(&self, event: &Event, rules: Rules) -> Result<(), Refusal> {
        let checked = match event {
            Event::Saga(id, SagaEvent::Created { .. }) => self.check_id(Family::Saga, *id, rules),
            Event::Transaction(id, TransactionEvent::Created { .. }) => self.check_id(Family::Transaction, *id, rules),
            Event::Saga(id, happened) => match self.sagas.get(id) {
                Some(saga) => saga.check(happened, rules),
                None => Err(self.absent(Family::Saga, *id)),
            },
            Event::Transaction(id, happened) => match self.transaction(*id) {
                Some(transaction) => transaction.check(happened, rules),
                None => Err(self.absent(Family::Transaction, *id)),
            },
            Event::Stream(stream, happened) => self.streams.check(*stream, happened),
            Event::ImportStarted { saga_highest, transaction_highest } => {
                self.check_highest([*saga_highest, *transaction_highest])
            }
            Event::ImportEnded => self.check_importing(),
            Event::ImportAbandoned { saga_highest, transaction_highest } => {
                self.check_importing().and_then(|()| self.check_highest([*saga_highest, *transaction_highest]))
            }
            Event::Checkpoint(_) => Ok(()), // says what the table is, changes nothing
        };
        checked.map_err(|reason| self.refusal(event, reason))
    }

    /// Takes the event with number `seq`.  One that is refused changes nothing.
    pub fn apply(&mut self, seq: u64, event: &Event, rules: Rules) -> Result<(), Refusal> {
        if let Some(imported) = self.imported_with_mut(event) {
            return imported.apply(seq, event, rules);
        }
        self.check_one(event, rules)?;
        match event {
            Event::Saga(id, SagaEvent::Created { coordinator }) => {
                self.saga_highest = *id;
                self.sagas.insert(*id, Saga::new(*coordinator, seq));
            }
            Event::Transaction(id, TransactionEvent::Created { coordinator }) => {
                self.transaction_highest = *id;
                self.transactions.insert(*id, Transaction::new(*coordinator, seq));
            }
            Event::Saga(id, happened) => {
                let saga = self.sagas.get_mut(id).expect("check_one found it");
                saga.apply(seq, happened, rules).expect("check_one took it");
                if saga.state().is_finished() {
                    self.state_len -= snapshot::saga_len(saga);
                    self.sagas.remove(id);
                }
            }
            Event::Transaction(id, happened) => self.apply_transaction(seq, *id, happened, rules),
            Event::Stream(stream, happened) => {
                let (before, now) = self.streams.apply(seq, *stream, happened);
                self.state_len = self.state_len - before + now;
            }
            Event::ImportStarted { .. } => self.start_import(),
            Event::ImportEnded => self.end_import(),
            Event::ImportAbandoned { .. } => {
                // A checkpoint in the same batch says the same table as one behind it.
                drop(self.drop_import());
                return Ok(());
            }
            Event::Checkpoint(_) => drop(self.drop_import()),
        }
        self.state_len += snapshot::growth(event);
        self.through_seq = self.through_seq.max(seq);
        Ok(())
    }

    fn apply_transaction(&mut self, seq: u64, id: u64, happened: &TransactionEvent, rules: Rules) {
        if let Some(at) = self.committed.iter().position(|(other, _)| *other == id) {
            // Back from the finished ones: check_one took the event, so it begins a rollback.
            let (_, transaction) = self.committed.remove(at).expect("it was just found");
            self.transactions.insert(id, transaction);
        }
        let transaction = self.transactions.get_mut(&id).expect("check_one found it");
        transaction.apply(seq, happened, rules).expect("check_one took it");
        if !transaction.state().is_finished() {
            return;
        }
        let transaction = self.transactions.remove(&id).expect("it was just changed");
        if transaction.state() == TransactionState::Committed {
            self.committed.push_back((id, transaction));
            self.remember_at_most(COMMITTED_KEPT);
        } else {
            self.state_len -= snapshot::transaction_len(&transaction);
        }
    }

    fn check_id(&self, family: Family, id: u64, rules: Rules) -> Result<(), Reason> {
        match id.checked_sub(self.highest(family)) {
            None | Some(0) => Err(Reason::NotAbove),
            Some(1) if rules == Rules::Strict => Ok(()),
            Some(_) if id > ID_LEAP_MAX => Err(Reason::Leap),
            Some(_) => Ok(()),
        }
    }

    fn absent(&self, family: Family, id: u64) -> Reason {
        if id > self.highest(family) {
            Reason::Unknown
        } else {
            Reason::Finished
        }
    }

    pub(super) fn refusal(&self, event: &Event, reason: Reason) -> Refusal {
        let (family, id) = event.operation().unzip();
        let (id, mut state) = (id.unwrap_or(0), "unknown");
        match family {
            Some(Family::Saga) => match self.saga_status(id) {
                Status::Active(active) => state = active.name(),
                Status::Finished => state = "finished",
                Status::Unknown => {}
            },
            Some(Family::Transaction) => match self.transaction_status(id) {
                Status::Active(active) => state = active.name(),
                Status::Finished => state = "finished",
                Status::Unknown => {}
            },
            None => {}
        }
        Refusal { family, id, state, event: event.name(), reason }
    }
}

fn status<S>(active: Option<S>, id: u64, highest: u64) -> Status<S> {
    match active {
        Some(state) => Status::Active(state),
        None if id == 0 || id > highest => Status::Unknown,
        None => Status::Finished,
    }
}
