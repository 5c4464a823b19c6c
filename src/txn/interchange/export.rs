//! A log's events as files of the v2.6 layout.
//!
//! The layout holds less than a log.  What it cannot hold is refused, or, if so
//! told, left out and counted: never dropped in silence.  Records keep their
//! numbers and timestamps.
//!
//! A compaction by the log's writer takes the beginning of an operation before its end; a reading that meets it halfway
//! could have the beginning from a file as it was, and lack the end, which the next file has lost.  So which files there
//! are is noted first, and no others are read: then all that is read was there at that one time.  Where another is in the
//! place of one of them, the export starts over, and opens all that it will read before it reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::bytes::len_u64;
use crate::base::limits::OPEN_CHANGING_MS;
use crate::base::{Code, Error, Result};
use crate::format::record::FIRST_CALLER_KIND;
use crate::interchange::{Writer, Written};
use crate::log::{IterOptions, Log, Record};

use super::super::limits::ID_LEAP_MAX;
use super::super::{Checkpoint, Event, Family, Rules, SagaEvent, Streams, Table};
use super::abandoned::{check_end, Abandoned};

/// Readings of a log that is compacted all the time that are made however long they take.
const READINGS_MIN: u32 = 20;

/// What an export wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// The files.
    pub written: Written,
    /// What they could not hold.
    pub left_out: LeftOut,
}

/// What was left out, because the layout cannot hold it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Records of the program's own types.
    pub program: u64,
    /// Tombstones, purges and applied markers: each once, also if only a checkpoint has it, because its record was released.
    pub streams: u64,
    /// Steps that were written without their dependencies and compensation payload.
    pub steps: u64,
    /// Records that were written without the tag of their stream.
    pub tags: u64,
    /// Records of operations whose beginning is not there to export.
    pub headless: u64,
    /// Those operations.
    pub headless_operations: u64,
    /// Records of operations whose id is above [`ID_LEAP_MAX`]: no file has one.
    pub high: u64,
    /// Those operations.
    pub high_operations: u64,
}

/// Writes a log's records from `from_seq` (0: the oldest) to `until_seq`.  If what is next to be read is released meanwhile
/// and the oldest was asked for, it begins again with what is the oldest then: less is left each time.  If it is compacted
/// meanwhile, it begins again, too.
///
/// # Errors
/// As [`export`]; Trimmed: the number asked for is gone, or what comes behind it went while it was read.  Busy: the log
/// was compacted at each of many readings, for two seconds at least.
pub fn export_log(
    log: &Log,
    (from_seq, until_seq): (u64, u64),
    writer: &dyn Fn() -> Result<Writer>,
    leave_out: bool,
) -> Result<Exported> {
    let clock = log.clock();
    let until_ns = clock.now_ns().saturating_add(OPEN_CHANGING_MS * 1_000_000);
    let (mut readings, mut may_pin) = (0, true);
    loop {
        let oldest = log.first_seq();
        // What is open stays as it is, however long the reading takes.
        let snapshot = readings > 0 && may_pin;
        let which = IterOptions { from_seq, until_seq, snapshot, ..IterOptions::default() };
        // What is gone is refused before there is a file.
        drop(log.iter_with(IterOptions { snapshot: false, ..which.clone() })?);
        match export(log, &which, writer()?, leave_out) {
            Err(error) if error.code == Code::Trimmed && from_seq == 0 && oldest < log.first_seq() => {}
            // So many files may not be open at a time.
            Err(error) if error.code == Code::NoMem && snapshot => may_pin = false,
            Err(error) if matches!(error.code, Code::Again | Code::Busy) => {
                readings += 1;
                if readings >= READINGS_MIN && clock.now_ns() >= until_ns {
                    let text = format!("the log changes too fast to be exported; the last reading found: {error}");
                    return Err(Error::new(Code::Busy, text));
                }
                clock.pass(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

/// Writes the records of `log` that `which` says; of imports that never ended nothing.
///
/// # Errors
/// Unsupported: the layout cannot hold a record, and nothing is to be left out.  Again: the log was compacted meanwhile.
/// As the reader and the writer.  Then no file is there.
pub fn export(log: &Log, which: &IterOptions, writer: Writer, leave_out: bool) -> Result<Exported> {
    let changed = || Error::new(Code::Again, "the log's files change just now");
    let durable_seq = log.durable_seq();
    let end_seq = if which.until_seq == 0 { durable_seq } else { which.until_seq.min(durable_seq) };
    let files = Arc::new(log.files_with(0, which.until_seq)?.ok_or_else(changed)?);
    let open = |from_seq| log.iter_of(Some(&files), IterOptions { from_seq, ..which.clone() });
    let (mut iter, all) = (open(which.from_seq)?, open(0));
    // What lies in front of them may be damaged, and is not asked for.
    let abandoned = match all.and_then(|all| Abandoned::find(all, end_seq)) {
        Err(error) if !matches!(error.code, Code::Again | Code::Busy | Code::NoMem) => {
            Abandoned::find(open(which.from_seq)?, end_seq)?
        }
        found => found?,
    };
    let mut run = Run {
        writer,
        leave_out,
        left_out: LeftOut::default(),
        begun: Table::new(),
        said: Streams::default(),
        headless: BTreeSet::new(),
        high: BTreeSet::new(),
        abandoned,
    };
    while let Some(record) = iter.next_record()? {
        if record.seq > run.abandoned.last_seq {
            break;
        }
        run.take(&record)?;
    }
    check_end(&iter, end_seq.min(run.abandoned.last_seq))?;
    run.left_out.headless_operations = len_u64(run.headless.len());
    run.left_out.high_operations = len_u64(run.high.len());
    Ok(Exported { written: run.writer.finish()?, left_out: run.left_out })
}

struct Run {
    writer: Writer,
    leave_out: bool,
    left_out: LeftOut,
    /// The operations whose `created` was met, as the records so far left them.  Others with higher ids may lack their
    /// beginnings all the same: a compaction takes what finished, from the front.
    begun: Table,
    /// What was said of streams so far.
    said: Streams,
    /// Operations whose beginning was not met.
    headless: BTreeSet<(Family, u64)>,
    /// Those whose ids no file has.
    high: BTreeSet<(Family, u64)>,
    abandoned: Abandoned,
}

impl Run {
    fn take(&mut self, record: &Record<'_>) -> Result<()> {
        if record.kind >= FIRST_CALLER_KIND {
            self.lose(record, "a record of the program")?;
            self.left_out.program += 1;
            return Ok(());
        }
        let decoded = Event::decode(record.kind, record.data);
        let event = decoded.map_err(|bad| Error::from(bad).about_seq(record.seq))?;
        match &event {
            Event::Stream(stream, happened) => {
                self.lose_said(record, 1)?;
                self.said.apply(record.seq, *stream, happened);
                return Ok(());
            }
            Event::Checkpoint(checkpoint) => self.check_whole(record, checkpoint)?,
            // They say how the log was written; what was imported stands by itself.
            Event::ImportStarted { .. } | Event::ImportEnded | Event::ImportAbandoned { .. } => return Ok(()),
            Event::Saga(..) | Event::Transaction(..) => {
                if self.abandoned.contains(record.seq, &event) {
                    return Ok(());
                }
                if !self.fits(record, &event)? {
                    return Ok(());
                }
            }
        }
        if record.stream != 0 {
            self.lose(record, "the tag of a stream")?;
            self.left_out.tags += 1;
        }
        if let Event::Saga(_, SagaEvent::StepAdded(step)) = &event {
            if !step.depends_on.is_empty() || !step.payload.is_empty() {
                self.lose(record, "what a step depends on, and its payload")?;
                self.left_out.steps += 1;
            }
        }
        let mut payload = Vec::new();
        let kind = event.encode_short(&mut payload);
        let kind = u8::try_from(kind).expect("the layout's events are below 0x0100");
        self.writer.append(kind, record.seq, record.timestamp, &payload)
    }

    /// Refuses, unless told to leave out.
    fn lose(&self, record: &Record<'_>, what: &str) -> Result<()> {
        if self.leave_out {
            return Ok(());
        }
        Err(Error::new(Code::Unsupported, format!("the v2.6 layout cannot hold {what}")).about_seq(record.seq))
    }

    /// Whether the event's operation has an id that files have, and its beginning was met; if not, the record is lost.
    ///
    /// # Errors
    /// Corrupt: that is so, and the event is not legal behind the others; recovery refuses such a log, too.
    fn fits(&mut self, record: &Record<'_>, event: &Event) -> Result<bool> {
        let Some((family, id)) = event.operation() else { return Ok(true) };
        if id > ID_LEAP_MAX {
            // Not asked whether it is legal: such an id is that only behind the one before it, which may be gone.
            self.lose_operation(record, family, id)?;
            self.left_out.high += 1;
            return Ok(false);
        }
        if !event.begins() && !self.was_begun(family, id) {
            self.lose_operation(record, family, id)?;
            self.left_out.headless += 1;
            return Ok(false);
        }
        let taken = self.begun.apply(record.seq, event, Rules::Strict);
        taken.map_err(|refusal| Error { code: Code::Corrupt, ..refusal.into() }.about_seq(record.seq))?;
        Ok(true)
    }

    fn was_begun(&self, family: Family, id: u64) -> bool {
        match family {
            Family::Saga => self.begun.saga(id).is_some(),
            Family::Transaction => self.begun.transaction(id).is_some(),
        }
    }

    fn lose_operation(&mut self, record: &Record<'_>, family: Family, id: u64) -> Result<()> {
        let (why, operations) = if id > ID_LEAP_MAX {
            ("which is above 2^63", &mut self.high)
        } else {
            ("without its beginning", &mut self.headless)
        };
        operations.insert((family, id));
        self.lose(record, &format!("{} {id}, {why}", family.name()))
    }

    /// A checkpoint may be all that is left of an operation, or of what is said of a stream: the records may have been
    /// released.
    fn check_whole(&mut self, record: &Record<'_>, checkpoint: &Checkpoint) -> Result<()> {
        if checkpoint.state.is_empty() {
            return Ok(());
        }
        let table = Table::restore(checkpoint).map_err(|bad| Error::from(bad).about_seq(record.seq))?;
        let sagas = table.sagas().map(|(id, _)| (Family::Saga, id));
        for (family, id) in sagas.chain(table.transactions().map(|(id, _)| (Family::Transaction, id))) {
            if !self.was_begun(family, id) {
                self.lose_operation(record, family, id)?;
            }
        }
        self.lose_said(record, table.streams().count_not_in(&self.said))?;
        self.said = table.streams().clone();
        Ok(())
    }

    /// `count` tombstones, purges or applied markers.
    fn lose_said(&mut self, record: &Record<'_>, count: usize) -> Result<()> {
        if count > 0 {
            self.lose(record, "what is said of a stream")?;
            self.left_out.streams += len_u64(count);
        }
        Ok(())
    }
}
