//! Files of the v2.6 layout into a log.
//!
//! They are read twice: once to the end, before anything is appended, so that
//! files that are refused leave the log as it was; and once to append.  What
//! contradicts itself is left out, its whole operation with it; its id is used all the same.
//!
//! A log's own replay is strict, so what the original did not write is added:
//! `abort_start` before its bare `abort_complete`, `compensation_start` before its
//! bare `compensation_succeeded`.  Ids stay: they name things outside.

use crate::base::{Code, Error, Result};
use crate::interchange::{Reader, Record};

use super::super::limits::ID_LEAP_MAX;
use super::super::{Event, Family, Rules, SagaEvent, Table, TransactionEvent};
use super::replay::{at, replay_noting, Replayed};

/// Events of one batch.
const BATCH: usize = 256;

/// Where events go: an open log, with the table of its operations.
pub trait Sink {
    /// The highest ids of a saga and of a transaction so far, 0 if there was none.
    ///
    /// # Errors
    /// The log takes nothing more.
    fn highest(&self) -> Result<[u64; 2]>;

    /// Before the first batch: from here on, what is appended is an import's.  Nothing is, if `check` refuses the highest
    /// ids.
    ///
    /// # Errors
    /// What `check` returns.  As an append.
    fn start(&mut self, check: &dyn Fn([u64; 2]) -> Result<()>) -> Result<()>;

    /// Bytes of all payloads that a batch has at most; a single event is tried, however long.
    fn batch_bytes_max(&self) -> usize;

    /// Appends the events as one batch and returns the first one's number.
    ///
    /// # Errors
    /// As an append.  What was appended before never was.
    fn append(&mut self, events: &[Imported]) -> Result<u64>;

    /// Behind the last batch: everything that was appended is the log's, durable on return.
    ///
    /// # Errors
    /// As an append and a sync.
    fn end(&mut self) -> Result<()>;

    /// Last of all: no operation of this kind gets an id up to this one any more.  Durable on return.
    ///
    /// # Errors
    /// As an append.
    fn reserve(&mut self, family: Family, id: u64) -> Result<()>;
}

/// An event, to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What happened.
    pub event: Event,
    /// The timestamp of the file's record.
    pub timestamp: i64,
}

/// What was imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// What the files hold.
    pub replayed: Replayed,
    /// Events appended that the files hold.
    pub imported: u64,
    /// Events appended that the original left out.
    pub added: u64,
    /// Records left out: of operations that contradict themselves, or no events.  Checkpoints are not counted.
    pub left_out: u64,
    /// Number of the first event in the log; 0: none.
    pub first_seq: u64,
    /// Number of the last.
    pub last_seq: u64,
}

/// Imports the files that `open` opens, twice; tells each record's number in the files and in the log to `numbers`.
///
/// # Errors
/// As [`replay()`](super::replay()).  Exists: an id in the files is not above the log's highest.  Then nothing was appended.
/// As [`Sink::append`] and [`Sink::end`]; State: the files have changed meanwhile.  Then the sink has not been ended.  As
/// [`Sink::reserve`]: then it has.
pub fn import(
    open: &dyn Fn() -> Result<Reader>,
    state_max: usize,
    sink: &mut dyn Sink,
    numbers: &mut dyn FnMut(u64, u64),
) -> Result<Import> {
    let mut lowest = [None; 2];
    let replayed = match replay_noting(&mut open()?, state_max, &mut lowest) {
        // What is there already has taken the room that it needs.
        Err(error) if error.code == Code::TooBig => {
            check_ids(lowest, sink.highest()?)?;
            return Err(error);
        }
        replayed => replayed?,
    };
    let mut reader = open()?;
    let mut run = Run {
        table: Table::new(),
        batch: Vec::new(),
        batch_bytes: 0,
        batch_state: 0,
        state_max,
        old: Vec::new(),
        sink,
        numbers,
        import: Import { replayed, ..Import::default() },
    };
    while let Some(record) = reader.next_record()? {
        run.take(&record)?;
    }
    if reader.summary() != &run.import.replayed.summary {
        return Err(Error::new(Code::State, "the files have changed while they were imported"));
    }
    run.flush()?;
    if run.import.first_seq > 0 {
        run.sink.end()?;
    }
    run.reserve_isolated()?;
    Ok(run.import)
}

/// Whether every id in the files is above those that the log has had.
fn check_ids(lowest: [Option<u64>; 2], highest: [u64; 2]) -> Result<()> {
    for family in [Family::Saga, Family::Transaction] {
        let highest = highest[at(family)];
        if let Some(id) = lowest[at(family)].filter(|id| *id <= highest) {
            let text = format!("{} {id} is in the files: the log's highest is {highest}", family.name());
            return Err(Error::new(Code::Exists, text));
        }
    }
    Ok(())
}

/// The second reading.
struct Run<'a> {
    /// As the log's own will be.
    table: Table,
    batch: Vec<Imported>,
    /// Of its payloads.
    batch_bytes: usize,
    /// Bytes of state, if nothing of the batch finishes: the log's table has room for a whole batch, or refuses it.
    batch_state: usize,
    /// That the log's table has room for.
    state_max: usize,
    /// The number in the files of each event of the batch; None: it was added.
    old: Vec<Option<u64>>,
    sink: &'a mut dyn Sink,
    numbers: &'a mut dyn FnMut(u64, u64),
    import: Import,
}

impl Run<'_> {
    fn take(&mut self, record: &Record<'_>) -> Result<()> {
        let event = match Event::decode_short(record.kind, record.payload) {
            Ok(Event::Checkpoint(_)) => return Ok(()), // its counts are the original's, and said of its log
            Ok(event) if !self.is_isolated(&event) => event,
            _ => {
                self.import.left_out += 1;
                return Ok(());
            }
        };
        if let Some(missing) = self.missing(&event) {
            self.push(record, missing, None)?;
        }
        self.push(record, event, Some(record.seq))
    }

    fn is_isolated(&self, event: &Event) -> bool {
        let isolated = &self.import.replayed.isolated;
        event.operation().is_some_and(|operation| isolated.binary_search(&operation).is_ok())
    }

    /// Their ids name something outside, though nobody knows what became of it: a new operation never has one of them.
    fn reserve_isolated(&mut self) -> Result<()> {
        for family in [Family::Saga, Family::Transaction] {
            let of_family = self.import.replayed.isolated.iter().filter(|(other, _)| *other == family);
            // What leaps is no operation's id.
            let highest = of_family.map(|(_, id)| *id).filter(|id| *id <= ID_LEAP_MAX).max();
            highest.map_or(Ok(()), |id| self.sink.reserve(family, id))?;
        }
        Ok(())
    }

    /// What the original left out before this event, if it is one of those.
    fn missing(&self, event: &Event) -> Option<Event> {
        let missing = match event {
            Event::Transaction(id, TransactionEvent::AbortComplete) => {
                Event::Transaction(*id, TransactionEvent::AbortStart)
            }
            Event::Saga(id, SagaEvent::CompensationSucceeded { .. }) => Event::Saga(*id, SagaEvent::CompensationStart),
            _ => return None,
        };
        let strict = self.table.check(std::slice::from_ref(event), Rules::Strict, usize::MAX);
        strict.is_err().then_some(missing)
    }

    fn push(&mut self, record: &Record<'_>, event: Event, old: Option<u64>) -> Result<()> {
        let (state, grows) = (self.table.state_len(), self.table.growth(&event));
        self.table.apply(record.seq, &event, Rules::Strict).map_err(|refusal| {
            let text = format!("the files have changed while they were imported: {}", Error::from(refusal).text);
            Error::new(Code::State, text).at(record.spot.file, record.spot.offset).about_seq(record.seq)
        })?;
        let mut payload = Vec::new();
        event.encode(&mut payload);
        let is_full =
            self.batch_bytes + payload.len() > self.sink.batch_bytes_max() || self.batch_state + grows > self.state_max;
        if is_full || matches!(event, Event::Transaction(_, TransactionEvent::RollbackStart)) {
            // Commits in the same batch could make the log's table forget the one that is rolled back.
            self.flush()?;
        }
        if self.batch.is_empty() {
            self.batch_state = state;
        }
        self.batch_state += grows;
        if self.table.state_len() > self.state_max {
            // What the first reading forgot; the log's table remembers at least as much.
            self.table.make_room(0, self.state_max);
        }
        self.batch.push(Imported { event, timestamp: record.timestamp });
        self.batch_bytes += payload.len();
        self.old.push(old);
        if self.batch.len() == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let lowest = self.import.replayed.lowest;
        if self.import.first_seq == 0 {
            self.sink.start(&|highest| check_ids(lowest, highest))?;
        }
        let first = self.sink.append(&self.batch)?;
        let import = &mut self.import;
        if import.first_seq == 0 {
            import.first_seq = first;
        }
        for (seq, old) in (first..).zip(self.old.drain(..)) {
            import.last_seq = seq;
            match old {
                Some(old) => {
                    import.imported += 1;
                    (self.numbers)(old, seq);
                }
                None => import.added += 1,
            }
        }
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }
}
