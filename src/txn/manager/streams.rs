//! Tombstones, purges and applied markers: told, and asked for.
//!
//! None of these is a decision: each is durable as `sync`, or else the log's mode, says.  What reads the answers sees a
//! tombstone as soon as it was told; compaction acts only on what a durable checkpoint holds.

use super::Manager;
use crate::base::Result;
use crate::read::Hidden;
use crate::txn::{Applied, Event, Purge, StreamEvent, Tombstone};

#[allow(clippy::missing_errors_doc)] // as `Manager::append`; questions as `Manager::saga_status`
impl Manager {
    /// Drops the program's records of `stream` with numbers below `below_seq`, and below the tombstone's own: readers that
    /// are told leave them out, and the next compaction takes them away.  `name` is kept and not interpreted.
    ///
    /// TooBig: a longer name than [`crate::txn::limits::STREAM_NAME_MAX`].
    pub fn tombstone(&self, stream: u64, below_seq: u64, name: &[u8], sync: Option<bool>) -> Result<u64> {
        self.stream_event(stream, &StreamEvent::Tombstone(Tombstone { below_seq, name: name.to_vec() }), sync)
    }

    /// The same of the records with timestamps below `purge.before`, of those in front of this one.
    ///
    /// TooBig: [`crate::txn::limits::PURGES_MAX`] others of the stream name later times.
    pub fn purge(&self, stream: u64, purge: Purge, sync: Option<bool>) -> Result<u64> {
        self.stream_event(stream, &StreamEvent::Purge(purge), sync)
    }

    /// Says how far something outside was applied.
    pub fn applied(&self, stream: u64, applied: Applied, sync: Option<bool>) -> Result<u64> {
        self.stream_event(stream, &StreamEvent::Applied(applied), sync)
    }

    fn stream_event(&self, stream: u64, event: &StreamEvent, sync: Option<bool>) -> Result<u64> {
        let appended = self.append_with(|_| Ok(vec![Event::Stream(stream, event.clone())]), sync)?;
        Ok(appended.first_seq)
    }

    /// The tombstone of the lowest stream from `from_stream` on: all of them, if asked again from the next stream on; behind
    /// `u64::MAX` there is none.
    pub fn next_tombstone(&self, from_stream: u64) -> Result<Option<(u64, Tombstone)>> {
        self.look(|state| {
            let found = state.table.streams().tombstone_from(from_stream);
            found.map(|(stream, tombstone)| (stream, tombstone.clone()))
        })
    }

    /// All tombstones, by stream.
    pub fn tombstones(&self) -> Result<Vec<(u64, Tombstone)>> {
        self.look(|state| {
            let all = state.table.streams().tombstones();
            all.map(|(stream, tombstone)| (stream, tombstone.clone())).collect()
        })
    }

    /// The last purge of a stream.
    pub fn purge_of(&self, stream: u64) -> Result<Option<Purge>> {
        self.look(|state| state.table.streams().purge(stream).copied())
    }

    /// The last applied marker of a stream.
    pub fn applied_to(&self, stream: u64) -> Result<Option<Applied>> {
        self.look(|state| state.table.streams().applied_to(stream).copied())
    }

    /// The filter for a reader that leaves out what tombstones and purges dropped, as of now.
    pub fn hidden(&self) -> Result<Hidden> {
        self.look(|state| state.table.streams().hidden())
    }
}
