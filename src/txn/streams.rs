//! What is said of streams: tombstones, purges and applied markers.
//!
//! Records of a stream are the program's; what is here only says which of them
//! have left replay, and how far something outside was applied.  Legal in any
//! order: the highest tombstone of a stream wins, of applied markers the last one.
//!
//! A tombstone and a purge drop nothing that is written behind them, whatever
//! number or time they name: a stream that is used again begins anew.  So a later
//! purge of an earlier time says something, too: both stand, until one behind
//! them names a time as late as theirs.

use std::collections::BTreeMap;

use super::event::BadEvent;
use super::limits::{PURGES_MAX, STREAM_NAME_MAX};
use super::snapshot::{BadSnapshot, Bytes};
use super::Reason;
use crate::base::bytes::*;
use crate::read::Hidden;

/// Record type of each event and its name, rising.
pub const STREAM_EVENTS: [(u16, &str); 3] = [(TOMBSTONE, "tombstone"), (PURGE, "purge"), (APPLIED, "applied")];
const TOMBSTONE: u16 = 0x20;
const PURGE: u16 = 0x21;
const APPLIED: u16 = 0x22;

const AT_BODY: usize = 8; // behind the stream
/// Bytes of a tombstone without its name.
const TOMBSTONE_LEN: usize = AT_BODY + 8;
const PURGE_LEN: usize = AT_BODY + 17;
const APPLIED_LEN: usize = AT_BODY + 16;

/// Bytes of each in the table's state; of a tombstone without its name.
const TOMBSTONE_STATE: usize = 24;
const PURGE_STATE: usize = 40;
const APPLIED_STATE: usize = 32;

/// What happens to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// Its records with a lower number leave replay.
    Tombstone(Tombstone),
    /// Its records with a lower timestamp leave replay.
    Purge(Purge),
    /// Something outside was applied up to here.
    Applied(Applied),
}

/// The program dropped what a stream held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Records with a lower number are dropped.
    pub below_seq: u64,
    /// What the program calls the stream; not interpreted.
    pub name: Vec<u8>,
}

/// The program dropped what a stream held from before a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// Records with a lower timestamp are dropped.
    pub before: i64,
    /// The program's, not interpreted.
    pub tag: u8,
    /// How many records the program says it purged.
    pub purged: u64,
}

/// Names something external as applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The other side's epoch.
    pub epoch: u64,
    /// The place in it.
    pub position: u64,
}

impl StreamEvent {
    /// The record type.
    pub fn kind(&self) -> u16 {
        match self {
            StreamEvent::Tombstone(_) => TOMBSTONE,
            StreamEvent::Purge(_) => PURGE,
            StreamEvent::Applied(_) => APPLIED,
        }
    }

    /// The payload behind the stream.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            StreamEvent::Tombstone(Tombstone { below_seq, name }) => {
                out.extend(below_seq.to_le_bytes());
                out.extend(name);
            }
            StreamEvent::Purge(Purge { before, tag, purged }) => {
                out.extend(before.to_le_bytes());
                out.push(*tag);
                out.extend(purged.to_le_bytes());
            }
            StreamEvent::Applied(Applied { epoch, position }) => {
                out.extend(epoch.to_le_bytes());
                out.extend(position.to_le_bytes());
            }
        }
    }

    /// Stream and event of a payload; None: the type is none of these.
    pub(super) fn decode(kind: u16, payload: &[u8]) -> Option<Result<(u64, StreamEvent), BadEvent>> {
        let expected = match kind {
            TOMBSTONE => TOMBSTONE_LEN,
            PURGE => PURGE_LEN,
            APPLIED => APPLIED_LEN,
            _ => return None,
        };
        let len = payload.len();
        if len < expected || len > expected && kind != TOMBSTONE {
            return Some(Err(BadEvent::Length { kind, len, expected }));
        }
        if len > expected + STREAM_NAME_MAX {
            return Some(Err(BadEvent::Name(len - expected)));
        }
        let event = match kind {
            TOMBSTONE => StreamEvent::Tombstone(Tombstone {
                below_seq: get_u64(payload, AT_BODY),
                name: payload[TOMBSTONE_LEN..].to_vec(),
            }),
            PURGE => StreamEvent::Purge(Purge {
                before: get_i64(payload, AT_BODY),
                tag: payload[AT_BODY + 8],
                purged: get_u64(payload, AT_BODY + 9),
            }),
            _ => StreamEvent::Applied(Applied {
                epoch: get_u64(payload, AT_BODY),
                position: get_u64(payload, AT_BODY + 8),
            }),
        };
        Some(Ok((get_u64(payload, 0), event)))
    }
}

/// What stands of all streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streams {
    tombstones: BTreeMap<u64, Tombstone>,
    /// With the number of the record: it drops nothing behind it.  Numbers rise and times fall: what is behind a purge
    /// of the same time or a later one is all that the purge says.  None is empty.
    purges: BTreeMap<u64, Vec<(u64, Purge)>>,
    applied: BTreeMap<u64, (u64, Applied)>,
    /// Bytes of all in the state.
    len: usize,
}

impl Streams {
    /// The tombstones, by stream.  `below_seq` is at most the tombstone's own number.
    pub fn tombstones(&self) -> impl ExactSizeIterator<Item = (u64, &Tombstone)> {
        self.tombstones.iter().map(|(stream, tombstone)| (*stream, tombstone))
    }

    /// The purges that say something, by stream, then by number, each with the number of its record.
    pub fn purges(&self) -> impl Iterator<Item = (u64, u64, &Purge)> {
        self.purges.iter().flat_map(|(stream, purges)| purges.iter().map(|(seq, purge)| (*stream, *seq, purge)))
    }

    /// The last applied markers, by stream, each with the number of its record.
    pub fn applied(&self) -> impl ExactSizeIterator<Item = (u64, u64, &Applied)> {
        self.applied.iter().map(|(stream, (seq, applied))| (*stream, *seq, applied))
    }

    /// The tombstone of a stream.
    pub fn tombstone(&self, stream: u64) -> Option<&Tombstone> {
        self.tombstones.get(&stream)
    }

    /// The tombstone of the lowest stream from `stream` on.
    pub fn tombstone_from(&self, stream: u64) -> Option<(u64, &Tombstone)> {
        self.tombstones.range(stream..).next().map(|(stream, tombstone)| (*stream, tombstone))
    }

    /// The last purge of a stream.
    pub fn purge(&self, stream: u64) -> Option<&Purge> {
        self.purges.get(&stream)?.last().map(|(_, purge)| purge)
    }

    /// The last applied marker of a stream.
    pub fn applied_to(&self, stream: u64) -> Option<&Applied> {
        self.applied.get(&stream).map(|(_, applied)| applied)
    }

    /// Whether an event says nothing any more that a later one, or an earlier and stronger one, does not say: what it drops
    /// is dropped without it.
    pub(super) fn is_superseded(&self, seq: u64, stream: u64, event: &StreamEvent) -> bool {
        match event {
            StreamEvent::Tombstone(tombstone) => {
                let below_seq = tombstone.below_seq.min(seq);
                self.tombstones.get(&stream).is_some_and(|stands| stands.below_seq > below_seq)
            }
            StreamEvent::Purge(_) => {
                self.purges.get(&stream).is_some_and(|purges| purges.iter().all(|(stands, _)| *stands != seq))
            }
            StreamEvent::Applied(_) => self.applied.get(&stream).is_some_and(|(last, _)| *last > seq),
        }
    }

    /// Whether nothing is said of any stream.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tombstones, purges and applied markers stand here that `other` does not have.
    pub(super) fn count_not_in(&self, other: &Streams) -> usize {
        let tombstones = self.tombstones().filter(|(stream, stands)| other.tombstone(*stream) != Some(*stands));
        let has =
            |stream: u64, seq: u64| other.purges.get(&stream).is_some_and(|all| all.iter().any(|one| one.0 == seq));
        let purges = self.purges().filter(|(stream, seq, _)| !has(*stream, *seq));
        let applied = self.applied.iter().filter(|(stream, last)| other.applied.get(stream) != Some(*last));
        tombstones.count() + purges.count() + applied.count()
    }

    /// The filter that leaves out what is dropped.
    pub fn hidden(&self) -> Hidden {
        let mut hidden = Hidden::new();
        self.tombstones.iter().for_each(|(stream, tombstone)| hidden.hide_below(*stream, tombstone.below_seq));
        self.purges().for_each(|(stream, seq, purge)| hidden.hide_before(stream, purge.before, seq));
        hidden
    }

    /// Whether an event can be a record, and stand with the others of its stream.
    pub(super) fn check(&self, stream: u64, event: &StreamEvent) -> Result<(), Reason> {
        match event {
            StreamEvent::Tombstone(tombstone) if tombstone.name.len() > STREAM_NAME_MAX => Err(Reason::Limit),
            StreamEvent::Purge(purge) if self.purges_left_by(stream, purge) >= PURGES_MAX => Err(Reason::Purges),
            _ => Ok(()),
        }
    }

    /// How many purges of a stream still say something behind this one: those that name a later time.
    fn purges_left_by(&self, stream: u64, purge: &Purge) -> usize {
        let purges = self.purges.get(&stream).map_or(&[][..], Vec::as_slice);
        purges.partition_point(|(_, stands)| stands.before > purge.before)
    }

    /// Bytes in the state of what is there of the event's kind and stream.
    fn len_there(&self, stream: u64, event: &StreamEvent) -> usize {
        match event {
            StreamEvent::Tombstone(_) => {
                self.tombstones.get(&stream).map_or(0, |tombstone| TOMBSTONE_STATE + tombstone.name.len())
            }
            StreamEvent::Purge(_) => self.purges.get(&stream).map_or(0, |purges| purges.len() * PURGE_STATE),
            StreamEvent::Applied(_) if self.applied.contains_key(&stream) => APPLIED_STATE,
            StreamEvent::Applied(_) => 0,
        }
    }

    /// How many bytes an event adds to the state, at most.
    pub(super) fn growth(&self, stream: u64, event: &StreamEvent) -> usize {
        let len = match event {
            StreamEvent::Tombstone(tombstone) => TOMBSTONE_STATE + tombstone.name.len(),
            StreamEvent::Purge(purge) => (self.purges_left_by(stream, purge) + 1) * PURGE_STATE,
            StreamEvent::Applied(_) => APPLIED_STATE,
        };
        len.saturating_sub(self.len_there(stream, event))
    }

    /// Takes an event with number `seq`.  Returns the bytes of what it replaced in the state, and of what is there now.
    pub(super) fn apply(&mut self, seq: u64, stream: u64, event: &StreamEvent) -> (usize, usize) {
        let before = self.len_there(stream, event);
        match event {
            StreamEvent::Tombstone(tombstone) => {
                let below_seq = tombstone.below_seq.min(seq);
                if self.tombstones.get(&stream).is_none_or(|old| old.below_seq <= below_seq) {
                    self.tombstones.insert(stream, Tombstone { below_seq, ..tombstone.clone() });
                }
            }
            StreamEvent::Purge(purge) => {
                let left = self.purges_left_by(stream, purge);
                let purges = self.purges.entry(stream).or_default();
                purges.truncate(left);
                purges.push((seq, *purge));
            }
            StreamEvent::Applied(applied) => drop(self.applied.insert(stream, (seq, *applied))),
        }
        let now = self.len_there(stream, event);
        self.len = self.len - before + now;
        (before, now)
    }

    /// Bytes of all in the state.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The three counts, as the state's head has them.
    pub(super) fn put_counts(&self, out: &mut Vec<u8>) {
        for count in [self.tombstones.len(), self.purges().count(), self.applied.len()] {
            out.extend(u32::try_from(count).expect("the state's bytes are bounded").to_le_bytes());
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for (stream, tombstone) in &self.tombstones {
            out.extend(stream.to_le_bytes());
            out.extend(tombstone.below_seq.to_le_bytes());
            out.push(u8::try_from(tombstone.name.len()).expect("check keeps a name short"));
            out.extend([0; 7]);
            out.extend(&tombstone.name);
        }
        for (stream, seq, purge) in self.purges() {
            out.extend(stream.to_le_bytes());
            out.extend(seq.to_le_bytes());
            out.extend(purge.before.to_le_bytes());
            out.extend(purge.purged.to_le_bytes());
            out.push(purge.tag);
            out.extend([0; 7]);
        }
        for (stream, (seq, applied)) in &self.applied {
            out.extend(stream.to_le_bytes());
            out.extend(seq.to_le_bytes());
            out.extend(applied.epoch.to_le_bytes());
            out.extend(applied.position.to_le_bytes());
        }
    }

    /// What `put` wrote, of a state whose events have numbers up to `through_seq`.
    pub(super) fn get(counts: [u32; 3], through_seq: u64, bytes: &mut Bytes) -> Result<Streams, BadSnapshot> {
        let mut streams = Streams { len: bytes.len(), ..Streams::default() };
        // Counts that are too high run into the end; nothing is taken in advance for them.
        for _ in 0..counts[0] {
            let (stream, below_seq) = (bytes.u64()?, bytes.u64()?);
            let len = bytes.u8()?;
            bytes.zeros(7)?;
            let name = bytes.take(len.into())?.to_vec();
            check(&streams.tombstones, stream, below_seq <= through_seq)?;
            streams.tombstones.insert(stream, Tombstone { below_seq, name });
        }
        for _ in 0..counts[1] {
            let (stream, seq, before, purged) = (bytes.u64()?, bytes.u64()?, bytes.i64()?, bytes.u64()?);
            let tag = bytes.u8()?;
            bytes.zeros(7)?;
            let in_state = seq <= through_seq;
            match streams.purges.last_entry().filter(|last| *last.key() == stream) {
                Some(mut last) => {
                    let of_stream = last.get_mut();
                    let (before_seq, stands) = of_stream[of_stream.len() - 1];
                    let says = before_seq < seq && stands.before > before && of_stream.len() < PURGES_MAX;
                    (says && in_state).then_some(()).ok_or(BadSnapshot::Stream(stream))?;
                    of_stream.push((seq, Purge { before, tag, purged }));
                }
                None => {
                    check(&streams.purges, stream, in_state)?;
                    streams.purges.insert(stream, vec![(seq, Purge { before, tag, purged })]);
                }
            }
        }
        for _ in 0..counts[2] {
            let (stream, seq, epoch, position) = (bytes.u64()?, bytes.u64()?, bytes.u64()?, bytes.u64()?);
            check(&streams.applied, stream, seq <= through_seq)?;
            streams.applied.insert(stream, (seq, Applied { epoch, position }));
        }
        streams.len -= bytes.len();
        Ok(streams)
    }
}

/// Streams rise, and nothing is younger than the state.
fn check<T>(before: &BTreeMap<u64, T>, stream: u64, in_state: bool) -> Result<(), BadSnapshot> {
    let rises = before.keys().next_back().is_none_or(|before| *before < stream);
    (rises && in_state).then_some(()).ok_or(BadSnapshot::Stream(stream))
}
