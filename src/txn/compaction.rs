//! What a compaction lets go, as of a checkpoint.  Pure: it is asked record by record, and told what became of each segment.
//!
//! | a record in front of the checkpoint | goes when |
//! |---|---|
//! | of an operation | the operation is finished in the checkpoint, or not in it because its import never ended, and all older records of it are gone |
//! | a checkpoint | always: recovery begins at the one behind it |
//! | a tombstone, purge or applied marker | another one says all that it says |
//! | of the program | a tombstone or purge in the checkpoint drops it |
//! | anything else | never |
//!
//! The records of an operation go oldest first: what is left of one, after any crash and where a segment stayed as it was
//! because too little would have been saved, is always its end.  An end without a beginning is known for
//! what it is; a beginning without its end would be an operation come back to life.
//!
//! The checkpoint is the one that recovery will find, read from the log: what is not durable lets nothing go.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{operation_of, CHECKPOINT};
use super::{Event, Family, Status, StreamEvent, Table};
use crate::base::bytes::len_u64;
use crate::compact::{Candidate, Chooser, Done};
use crate::format::record::FIRST_CALLER_KIND;
use crate::read::Hidden;

/// Operations that are told apart where records had to stay; with more, no operation's records go any more.
const LINGERING_MAX: usize = 64 << 10;
/// What is remembered of all segments together, things; a segment beyond that is read each time.
const MEMORY_MAX: usize = 256 << 10;

type Operation = (Family, u64);

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Number of the checkpoint that it went by.
    pub checkpoint_seq: u64,
    /// Segments that were read: others have not changed since they were.
    pub segments_read: u64,
    /// Segments that became smaller.
    pub segments_compacted: u64,
    /// Records of finished operations that went.
    pub events_purged: u64,
    /// Checkpoints that went.
    pub checkpoints_purged: u64,
    /// Tombstones, purges and applied markers that went, because later ones say all that they said.
    pub stream_events_purged: u64,
    /// Records of the program that went, because of a tombstone or purge.
    pub dropped_purged: u64,
    /// Records of operations that are kept in the segments looked at.
    pub events_kept: u64,
    /// All records that are kept in them.
    pub records_kept: u64,
    /// Bytes that their files took.
    pub bytes_before: u64,
    /// Bytes that they take less.
    pub bytes_saved: u64,
}

impl Compaction {
    /// All records that went.
    pub fn records_purged(&self) -> u64 {
        self.events_purged + self.checkpoints_purged + self.stream_events_purged + self.dropped_purged
    }
}

/// What is known of segments from earlier compactions, so that they are not read again for nothing.
#[derive(Debug, Default)]
pub struct Memory {
    segments: BTreeMap<u64, Seen>,
    /// Things in it.
    things: usize,
    /// What was dropped then.
    hidden: Hidden,
    saving_min: u64,
}

impl Memory {
    fn forget(&mut self, index: u64) {
        if let Some(seen) = self.segments.remove(&index) {
            self.things -= seen.things();
        }
    }

    fn learn(&mut self, index: u64, seen: Seen) {
        self.forget(index);
        if self.things + seen.things() <= MEMORY_MAX {
            self.things += seen.things();
            self.segments.insert(index, seen);
        }
    }
}

/// What a segment was found to hold.
#[derive(Debug, Default)]
struct Seen {
    /// Operations of which it has records, and which are not finished.
    active: BTreeSet<Operation>,
    /// Finished ones whose records stay because older ones are there.
    blocked: BTreeSet<Operation>,
    /// Finished ones whose records were let go; what is remembered are those that are there all the same.
    let_go: BTreeSet<Operation>,
    /// Number, stream and event of what is said of streams.
    stream_events: Vec<(u64, u64, StreamEvent)>,
    events_kept: u64,
    records_kept: u64,
    bytes: u64,
}

impl Seen {
    fn things(&self) -> usize {
        1 + self.active.len() + self.blocked.len() + self.let_go.len() + self.stream_events.len()
    }
}

/// The choices of one compaction.
pub struct Policy<'a> {
    checkpoint_seq: u64,
    /// The checkpoint's.
    table: Table,
    hidden: Hidden,
    memory: &'a mut Memory,
    /// Finished operations of which older records are there.
    lingering: BTreeSet<Operation>,
    /// There are too many of those to tell them apart.
    all_linger: bool,
    /// The segment that is being asked about.
    here: Seen,
    /// What goes of it, if it is rewritten.
    going: Compaction,
    /// What was done with those before.
    done: Compaction,
}

impl<'a> Policy<'a> {
    /// As of the checkpoint with this number, whose state is `table`.
    pub fn new(checkpoint_seq: u64, table: Table, saving_min: u64, memory: &'a mut Memory) -> Policy<'a> {
        let hidden = table.streams().hidden();
        if hidden != memory.hidden || saving_min != memory.saving_min {
            *memory = Memory { hidden: hidden.clone(), saving_min, ..Memory::default() };
        }
        Policy {
            checkpoint_seq,
            table,
            hidden,
            memory,
            lingering: BTreeSet::new(),
            all_linger: false,
            here: Seen::default(),
            going: Compaction::default(),
            done: Compaction { checkpoint_seq, ..Compaction::default() },
        }
    }

    /// What was done.
    pub fn into_done(self) -> Compaction {
        self.done
    }

    /// Nothing is left to be done about it: it is finished, or was imported and never was.
    fn is_finished(&self, (family, id): Operation) -> bool {
        match family {
            Family::Saga => !matches!(self.table.saga_status(id), Status::Active(_)),
            Family::Transaction => !matches!(self.table.transaction_status(id), Status::Active(_)),
        }
    }

    fn lingers(&self, operation: Operation) -> bool {
        self.all_linger || self.lingering.contains(&operation)
    }

    fn keeps_operation(&mut self, operation: Operation) -> bool {
        if !self.is_finished(operation) {
            self.here.active.insert(operation);
        } else if self.lingers(operation) {
            self.here.blocked.insert(operation);
        } else {
            self.here.let_go.insert(operation);
            self.going.events_purged += 1;
            return false;
        }
        self.here.events_kept += 1;
        true
    }

    fn keeps_stream_event(&mut self, seq: u64, stream: u64, event: StreamEvent) -> bool {
        if self.table.streams().is_superseded(seq, stream, &event) {
            self.going.stream_events_purged += 1;
            return false;
        }
        self.here.stream_events.push((seq, stream, event));
        true
    }

    fn linger(&mut self, operations: &BTreeSet<Operation>) {
        self.lingering.extend(operations);
        if self.lingering.len() > LINGERING_MAX {
            self.all_linger = true;
            self.lingering.clear();
        }
    }

    /// Whether nothing more would go of a segment than went, or would have gone, last time.
    fn has_nothing_new(&self, seen: &Seen) -> bool {
        let superseded =
            |(seq, stream, event): &(u64, u64, StreamEvent)| self.table.streams().is_superseded(*seq, *stream, event);
        seen.active.iter().all(|operation| !self.is_finished(*operation))
            && seen.blocked.iter().all(|operation| self.lingers(*operation))
            && seen.let_go.iter().all(|operation| !self.lingers(*operation))
            && !seen.stream_events.iter().any(superseded)
    }
}

impl Chooser for Policy<'_> {
    fn passes(&mut self, index: u64) -> bool {
        let Some(seen) = self.memory.segments.get(&index).filter(|seen| self.has_nothing_new(seen)) else {
            return false;
        };
        self.done.events_kept += seen.events_kept;
        self.done.records_kept += seen.records_kept;
        self.done.bytes_before += seen.bytes;
        let there = seen.let_go.clone();
        self.linger(&there);
        true
    }

    fn keeps(&mut self, asked: &Candidate<'_>) -> bool {
        let record = asked.header;
        let keeps = if record.seq >= self.checkpoint_seq {
            true
        } else if record.kind >= FIRST_CALLER_KIND {
            let hides = self.hidden.hides(record);
            self.going.dropped_purged += u64::from(hides);
            !hides
        } else if record.kind == CHECKPOINT {
            self.going.checkpoints_purged += 1;
            false
        } else if let Some(operation) = operation_of(record.kind, asked.payload) {
            self.keeps_operation(operation)
        } else if let Ok(Event::Stream(stream, event)) = Event::decode(record.kind, asked.payload) {
            self.keeps_stream_event(record.seq, stream, event)
        } else {
            true
        };
        self.here.records_kept += u64::from(keeps);
        keeps
    }

    /// Once compacted, a segment is small, and without another record no smaller.  But what stays of an operation there keeps
    /// all of it everywhere.
    fn insists(&self) -> bool {
        self.going.events_purged > 0
    }

    fn done(&mut self, segment: &Done) {
        let (mut seen, going) = (std::mem::take(&mut self.here), std::mem::take(&mut self.going));
        seen.bytes = segment.bytes;
        let done = &mut self.done;
        done.segments_read += 1;
        done.bytes_before += segment.bytes + segment.bytes_saved;
        done.bytes_saved += segment.bytes_saved;
        if segment.is_gone {
            done.segments_compacted += u64::from(going.records_purged() > 0 || segment.bytes_saved > 0);
            done.events_purged += going.events_purged;
            done.checkpoints_purged += going.checkpoints_purged;
            done.stream_events_purged += going.stream_events_purged;
            done.dropped_purged += going.dropped_purged;
            seen.let_go.clear();
        } else {
            seen.events_kept += going.events_purged;
            seen.records_kept += going.records_purged();
            let there = seen.let_go.clone();
            self.linger(&there);
        }
        self.done.events_kept += seen.events_kept;
        self.done.records_kept += seen.records_kept;
        self.memory.learn(segment.index, seen);
    }
}

/// Records of operations that are not finished, about.
pub fn records_of_unfinished(table: &Table) -> u64 {
    // Created and started, each part, and each outcome.
    super::plan::plan(table).iter().map(|one| len_u64(2 + one.parts + one.done)).sum()
}
