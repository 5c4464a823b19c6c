//! The way of one call: checked, appended, applied, then durable.

use super::{Manager, State};
use crate::base::{Code, Error, Result};
use crate::commit::{Beyond, Entry};
use crate::txn::event::{Event, CHECKPOINT_SHORT};
use crate::txn::plan::plan;
use crate::txn::snapshot::HEADER_LEN;
use crate::txn::{Family, Reason, Rules};

/// What a call appended.
pub(super) struct Appended {
    pub first_seq: u64,
    pub last_seq: u64,
    /// The events, under the ids that they got.
    pub events: Vec<Event>,
    /// A checkpoint is due.
    pub due: bool,
}

/// Events as record payloads, one behind the other.
#[derive(Default)]
struct Payloads {
    bytes: Vec<u8>,
    /// Type of each, and where it ends.
    ends: Vec<(u16, usize)>,
}

impl Payloads {
    fn of(events: &[Event]) -> Payloads {
        let mut payloads = Payloads::default();
        for event in events {
            // Not by way of another buffer: a checkpoint is megabytes, and everybody else waits meanwhile.
            let kind = event.encode_behind(&mut payloads.bytes);
            payloads.ends.push((kind, payloads.bytes.len()));
        }
        payloads
    }

    /// A reader that does not know these must stop: without them it would take the log for another one.
    fn entries<'a>(&'a self, stream: u64, origin: Origin<'a>) -> impl ExactSizeIterator<Item = Entry<'a>> + Clone {
        self.ends.iter().enumerate().map(move |(at, &(kind, end))| {
            let start = if at == 0 { 0 } else { self.ends[at - 1].1 };
            let timestamp = match origin {
                Origin::Here => None,
                Origin::Elsewhere { stamps } => Some(stamps[at]),
            };
            Entry { data: &self.bytes[start..end], stream, timestamp, kind, required: true }
        })
    }
}

/// Where events come from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// The program; their time is the log's clock's.
    Here,
    /// Another log, with a time for each: an import's.
    Elsewhere { stamps: &'a [i64] },
}

impl Manager {
    /// Appends events of one operation as one batch, whole or not at all, and returns the first one's number.  Durable on
    /// return if one of them is a decision; else as `sync` says, None: as the log's mode says.
    ///
    /// # Errors
    /// State: one of them is not legal, nothing was appended.  Again: the table is full until something finishes.
    /// TooBig: a limit of the operation, or more than the log holds in a batch.  Inval: no event, or
    /// not of one operation.  Io, Poisoned: the fate of the events is known after the next recovery.  Else as [`crate::Log::append_batch`].
    pub fn append(&self, events: &[Event], sync: Option<bool>) -> Result<u64> {
        // Of one alone, because whether a batch is legal is asked of the table as it is: in another operation's commit
        // the table may forget the transaction that is to be rolled back next.
        let operation = events.first().and_then(Event::operation);
        if operation.is_none() || events.iter().any(|event| event.operation() != operation) {
            return Err(Error::new(Code::Inval, "a batch is of one saga or transaction, and has at least one event"));
        }
        let appended = self.append_with(|_| Ok(events.to_vec()), sync)?;
        Ok(appended.first_seq)
    }

    /// The same of events that depend on the state: `build` is called under the lock, again for each attempt.
    pub(super) fn append_with(
        &self,
        build: impl Fn(&State) -> Result<Vec<Event>>,
        sync: Option<bool>,
    ) -> Result<Appended> {
        let appended = self.append_as(build, Origin::Here)?;
        let decided = appended.events.iter().any(Event::must_be_durable);
        if decided || sync.unwrap_or_else(|| self.inner.log.is_sync()) {
            self.inner.log.sync(appended.last_seq)?;
        }
        if appended.due {
            self.checkpoint_when_due();
        }
        Ok(appended)
    }

    /// Steps 1 to 3.  Where the log is as large as it may be, a checkpoint is written once, and tried again.
    pub(super) fn append_as(
        &self,
        build: impl Fn(&State) -> Result<Vec<Event>>,
        origin: Origin<'_>,
    ) -> Result<Appended> {
        match self.append_and_apply(&build, origin) {
            Err(error) if error.code == Code::NoSpc && self.checkpoint_when_full() => {
                self.append_and_apply(&build, origin)
            }
            appended => appended,
        }
    }

    /// The same without help.
    pub(super) fn append_and_apply(
        &self,
        build: impl Fn(&State) -> Result<Vec<Event>>,
        origin: Origin<'_>,
    ) -> Result<Appended> {
        let mut turn = None;
        loop {
            let mut guard = Some(self.lock()?);
            let state = guard.as_mut().expect("just taken");
            let events = build(state)?;
            if state.table.is_importing() && matches!(origin, Origin::Here) && events.iter().any(Event::begins) {
                if state.import_runs {
                    let text = "an import runs: no operation is begun until it has ended";
                    return Err(Error::new(Code::Busy, text));
                }
                drop(guard);
                // Another one's: the checkpoint waits for room in a turn of its own.
                turn = None;
                self.abandon_import()?;
                continue;
            }
            if let Err(error) = self.admit(state, &events, origin) {
                let shown_seq = state.decided_seq.max(state.ended_seq);
                drop(guard);
                // The reason may be a decision, or an end, that is not durable yet.
                self.wait_shown(shown_seq)?;
                return Err(error);
            }
            let payloads = Payloads::of(&events);
            let entries = payloads.entries(self.inner.options.stream, origin);
            let beyond = beyond(state, &events, origin);
            let appended = self.inner.log.append_or_wait(entries, beyond, &mut turn, || drop(guard.take()))?;
            if let (Some(first_seq), Some(state)) = (appended, guard.as_mut()) {
                let last_seq = self.apply(state, first_seq, &events, origin);
                return Ok(Appended { first_seq, last_seq, events, due: self.is_due(state) });
            }
        }
    }

    fn admit(&self, state: &mut State, events: &[Event], origin: Origin<'_>) -> Result<()> {
        if let Origin::Here = origin {
            state.table.check_not_imported(events)?;
        }
        let max = self.inner.state_max;
        let grows: usize = events.iter().map(|event| state.table.growth(event)).sum();
        if grows > max - HEADER_LEN {
            let text = format!("{grows} bytes of state; all operations together may have {max}");
            return Err(Error::new(Code::TooBig, text));
        }
        match state.table.check(events, Rules::Strict, max) {
            // Else commits that are only remembered would keep a small table full for ever.
            Err(refusal) if refusal.reason == Reason::Full && state.table.make_room(grows, max) => {
                Ok(state.table.check(events, Rules::Strict, max)?)
            }
            checked => Ok(checked?),
        }
    }

    fn apply(&self, state: &mut State, first_seq: u64, events: &[Event], origin: Origin<'_>) -> u64 {
        let counted = self.inner.log.counters();
        let mut last_seq = first_seq;
        let now_ns = self.inner.clock.now_ns();
        for (seq, event) in (first_seq..).zip(events) {
            if let Event::ImportEnded = event {
                // Whoever ran them, nobody does here.
                let imported = state.table.imported.iter().flat_map(|imported| plan(imported));
                state.to_resume.extend(imported.map(|one| (one.family, one.id)));
            }
            state.table.apply(seq, event, Rules::Strict).expect("checked under the same lock");
            match event {
                Event::ImportStarted { .. } => state.import_runs = true,
                Event::ImportEnded => state.import_runs = false,
                _ => {}
            }
            // What is imported nobody is shown before its end, which is a decision.
            if let Origin::Here = origin {
                state.show(seq, event, now_ns);
            }
            match event.operation() {
                Some((Family::Saga, _)) => counted.saga_events.one(),
                Some((Family::Transaction, _)) => counted.transaction_events.one(),
                None if matches!(event, Event::Stream(..)) => counted.stream_events.one(),
                None => {}
            }
            state.since_checkpoint = match event {
                Event::Checkpoint(_) => 0,
                _ => state.since_checkpoint + 1,
            };
            last_seq = seq;
        }
        last_seq
    }
}

impl State {
    /// Notes what others may be told from now on, now that the event is applied.
    fn show(&mut self, seq: u64, event: &Event, now_ns: u64) {
        if event.must_be_durable() {
            self.decided_seq = seq;
        }
        if event.ends() {
            self.ended_seq = seq;
            if let Some(operation) = event.operation() {
                self.to_resume.remove(&operation);
            }
        }
        if let Some(operation @ (Family::Transaction, id)) = event.operation() {
            // One that nobody runs has no deadline: a resume would find its decision taken.
            if !self.to_resume.contains(&operation) {
                self.waiting.applied(&self.table, id, now_ns);
            }
        }
    }
}

/// What these may take of the segment beyond the limit on the log's size: what gives space back all of it, what must come
/// before as much as leaves room for that.
fn beyond(state: &State, events: &[Event], origin: Origin<'_>) -> Beyond {
    if matches!(origin, Origin::Elsewhere { .. }) {
        Beyond::No
    } else if events.iter().all(|event| matches!(event, Event::Checkpoint(_) | Event::ImportAbandoned { .. })) {
        Beyond::All
    } else if events.iter().all(Event::leads_to_end) {
        Beyond::AllBut(CHECKPOINT_SHORT + state.table.state_len())
    } else {
        Beyond::No
    }
}
