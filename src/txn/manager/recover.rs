//! From the records of a log to a manager: back to the last checkpoint, forward from there.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{state_max, Manager, ManagerOptions};
use crate::base::{Code, Error, Result};
use crate::log::{Log, Record};
use crate::txn::event::{name_of, CHECKPOINT, CHECKPOINT_SHORT};
use crate::txn::plan::{Rebuild, Unfinished};
use crate::txn::Rules;

/// What a recovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Number of the record that it began with: the last checkpoint, or the log's first.
    pub from_seq: u64,
    /// Events replayed, checkpoints too.
    pub records_replayed: u64,
    /// Damaged records: always 0, for damage is an error.
    pub records_corrupted: u64,
    /// Checkpoints among the records replayed: recovery begins with the last one, so at most one.
    pub checkpoints: u64,
    /// Every operation that is not finished, and what is to be done: sagas, then transactions, by id.
    pub unfinished: Vec<Unfinished>,
}

impl Manager {
    /// Reads the log from its last checkpoint on, and gives its transactions a manager.  A log without a checkpoint gets
    /// one now, and so does one whose last import did not end; that one releases nothing; the later ones do, unless the options say to keep records.  From now on no trim releases what the manager needs, also when the manager is gone, until the log is closed:
    /// a program that trims recovers first.  One that fails changes nothing of that.
    ///
    /// # Errors
    /// Busy: the log has a manager.  Corrupt: damage, events that are not legal, or records that a compaction took
    /// and no checkpoint stands for: it was lost in a repair, or the program compacted before the log had a manager;
    /// its `seq` says where.  Version:
    /// a record that must not be ignored, of a later release.  Inval: the log's records are too small for a
    /// checkpoint.  ReadOnly, Poisoned, Closed, Io: as an append's.
    pub fn recover(log: &Log, options: &ManagerOptions) -> Result<(Manager, Recovery)> {
        let (state_max, clock) = (state_max(log)?, log.clock().clone());
        log.claim()?;
        // What fails leaves trims as they were, and before the claim is another's.
        let held_seq = log.hold_seq();
        let rebuilt = rebuild(log).inspect_err(|_| {
            log.hold(held_seq);
            log.unclaim();
        })?;
        let found = Recovery {
            from_seq: rebuilt.from_seq,
            records_replayed: rebuilt.rebuild.replayed,
            records_corrupted: 0,
            checkpoints: rebuilt.rebuild.checkpoints,
            unfinished: rebuilt.rebuild.plan(),
        };
        let checkpointed = rebuilt.checkpointed;
        let mut table = rebuilt.rebuild.into_table();
        let was_importing = table.is_importing();
        table.empty_import();
        // It may remember commits that the lost one had forgotten to make room.
        table.make_room(0, state_max);
        let manager = Manager::new(log, clock, *options, state_max, table);
        // Nobody waits for the next try of a resume when nothing can be noted down any more.
        let resumes = Arc::clone(&manager.inner.resumes);
        log.when_closing(Arc::new(move || resumes.end()))?;
        // Else a program that never lives for an interval would have more to replay each time.
        manager.lock()?.since_checkpoint = found.records_replayed - found.checkpoints;
        if checkpointed {
            manager.inner.compactor.checkpoint_seq.store(found.from_seq, Ordering::Relaxed);
            log.hold(manager.lock()?.table.oldest_seq().map_or(found.from_seq, |seq| seq.min(found.from_seq)));
        }
        if !checkpointed || was_importing {
            // It says that an import never was, or ids that are given again would be that one's.  And before the first event, so that events in a log whose beginning was released always have one in front.
            // There may be room for it when the program has trimmed.
            manager.write_keeping_checkpoint().inspect_err(|_| log.hold(held_seq))?;
        }
        manager.inner.compactor.begin();
        log.recovered();
        Ok((manager, found))
    }
}

/// What the records of a log say.
pub(super) struct Rebuilt {
    /// Number of the last checkpoint, or of the log's first record.
    pub(super) from_seq: u64,
    /// There is a checkpoint.
    pub(super) checkpointed: bool,
    pub(super) rebuild: Rebuild,
}

fn rebuild(log: &Log) -> Result<Rebuilt> {
    // An earlier manager of this handle may have left events that are not durable; readers end at what is.
    log.sync(0)?;
    log.hold(0);
    read(log)
}

/// Reads everything that is durable, from the last checkpoint on.
pub(super) fn read(log: &Log) -> Result<Rebuilt> {
    // Readers end there, and what others append meanwhile is no event.
    let last_seq = log.durable_seq();
    let checkpoint_seq = last_checkpoint(log, last_seq)?;
    let from_seq = checkpoint_seq.unwrap_or_else(|| log.first_seq());
    if from_seq > last_seq + 1 {
        // Another process' writer has released all that was known.
        let text = format!("record {last_seq} was released, the oldest is {from_seq}");
        return Err(Error::new(Code::Trimmed, text).about_seq(from_seq));
    }
    let mut rebuild = Rebuild::new(Rules::Strict);
    let (mut next_seq, mut hole) = (from_seq, None);
    for_each(log, from_seq, last_seq, |record| {
        if record.seq != next_seq {
            hole.get_or_insert(next_seq);
        }
        next_seq = record.seq + 1;
        if name_of(record.kind) == "unknown" {
            return Ok(()); // the caller's own; what must not be ignored has stopped the reader
        }
        if checkpoint_seq.is_none() && from_seq > 1 {
            let text = format!("the log begins with record {from_seq}, and no checkpoint stands for what was released");
            return Err(Error::new(Code::Corrupt, text));
        }
        rebuild.record(record.seq, record.kind, record.data).map_err(Error::from)
    })?;
    if next_seq <= last_seq {
        hole.get_or_insert(next_seq);
    }
    // A manager compacts only in front of a checkpoint.  If that was cut off by a repair, an older one, or none, is left,
    // and what happened behind it is not all there: operations could come back to life, and ids be given a second time.
    // Where nothing at all is left of them, the log looks as one that never had any and that its program compacted:
    // that one is refused, too.
    if let Some(seq) = hole {
        let text = "records are missing from here on, and no checkpoint behind them stands for what they said";
        return Err(in_segment(log, Error::new(Code::Corrupt, text).about_seq(seq)));
    }
    Ok(Rebuilt { from_seq, checkpointed: checkpoint_seq.is_some(), rebuild })
}

/// Number of the newest checkpoint that has a state.  Segments are looked through from the newest back: with the usual
/// intervals it lies in one of the last.
fn last_checkpoint(log: &Log, last_seq: u64) -> Result<Option<u64>> {
    let mut end_seq = last_seq;
    for (_, first_seq) in log.segment_starts().into_iter().rev() {
        let mut found = None;
        for_each(log, first_seq, end_seq, |record| {
            if record.kind == CHECKPOINT && record.data.len() > CHECKPOINT_SHORT {
                found = Some(record.seq);
            }
            Ok(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
        end_seq = first_seq - 1;
    }
    Ok(None)
}

/// Every record from `from_seq` to `to_seq`, in order.
fn for_each(log: &Log, from_seq: u64, to_seq: u64, mut take: impl FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
    if from_seq > to_seq {
        return Ok(());
    }
    let mut records = log.iter(from_seq)?;
    while let Some(record) = records.next_record()? {
        if record.seq > to_seq {
            return Ok(());
        }
        take(&record).map_err(|error| in_segment(log, error.about_seq(record.seq)))?;
        if record.seq == to_seq {
            return Ok(());
        }
    }
    Ok(())
}

fn in_segment(log: &Log, error: Error) -> Error {
    let starts = log.segment_starts();
    let segment = starts.iter().rev().find(|(_, first_seq)| *first_seq <= error.seq);
    segment.map_or(error.clone(), |(index, _)| error.in_segment(*index))
}
