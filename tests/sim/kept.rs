//! What a log that is compacted must give, as a plain list beside it: operations
//! of several records and an ending, and which of them were let go.

use std::collections::BTreeSet;

use twal::Log;

use super::model::{payload, read_from, require, Read, Verdict};

pub const STEP: u16 = 0x0200;
pub const ENDING: u16 = 0x0201;

/// A record as it was appended.
#[derive(Debug, Clone)]
pub struct Given {
    pub uid: u64,
    pub len: usize,
    pub operation: u64,
    pub ends: bool,
    /// First number of the batch behind this one; its own batch ends before.
    pub batch_end: u64,
}

/// What is known of the log, beside it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Record `seq` is at `seq - 1`.
    pub given: Vec<Given>,
    /// Appended, and nobody knows with what success.
    pub maybe: u64,
    /// Numbers that a reader saw last, of those that were there then.
    pub there: BTreeSet<u64>,
    /// Numbers that the compaction under way lets go; they may be there or not.
    pub let_go: BTreeSet<u64>,
    /// First numbers of the segments.
    pub segments: BTreeSet<u64>,
    pub released: u64,
}

impl Known {
    pub fn last(&self) -> u64 {
        self.given.len() as u64
    }

    pub fn of(&self, seq: u64) -> &Given {
        &self.given[seq as usize - 1]
    }

    /// Numbers of the records that `ending` ends.
    pub fn ended_by(&self, ending: u64) -> impl Iterator<Item = u64> + '_ {
        let operation = self.of(ending).operation;
        (1..ending).filter(move |seq| self.of(*seq).operation == operation)
    }

    /// Operations that have an ending.
    pub fn ended(&self) -> BTreeSet<u64> {
        self.given.iter().filter(|given| given.ends).map(|given| given.operation).collect()
    }

    /// One record is what was appended under its number; `there` are the numbers that were read.
    pub fn check_record(&self, read: &Read, there: &BTreeSet<u64>) -> Verdict {
        require!(read.seq >= 1 && read.seq <= self.last(), "record {} was invented", read.seq);
        let given = self.of(read.seq);
        let same = read.data == payload(given.uid, given.len)
            && read.stream == given.operation
            && read.kind == if given.ends { ENDING } else { STEP }
            && read.timestamp == given.uid as i64 * 7;
        require!(same, "record {} is not what was appended: {given:?}", read.seq);
        let follows = there.range(read.seq + 1..given.batch_end).next().is_some();
        require!(read.batch_continues == follows, "record {}: batch continues is {}", read.seq, read.batch_continues);
        Ok(())
    }

    /// Everything that `log` gives is as it must be.  Returns the numbers.
    pub fn check(&self, log: &Log) -> Verdict<BTreeSet<u64>> {
        let first = log.first_seq();
        let (records, error) = read_from(log, 0);
        require!(error.is_none(), "reading fails: {error:?}");
        let read: BTreeSet<u64> = records.iter().map(|read| read.seq).collect();
        require!(read.len() == records.len(), "a record came twice");
        require!(records.windows(2).all(|pair| pair[0].seq < pair[1].seq), "numbers fall");
        require!(first <= self.released.max(1), "begins at {first}, released below {}", self.released);
        let (last, sure) = (log.last_seq(), self.last() - self.maybe);
        require!(last >= sure && last <= self.last(), "ends at {last} of {sure} to {}", self.last());
        for record in &records {
            self.check_record(record, &read)?;
        }
        for seq in first..=last {
            let there = read.contains(&seq);
            let was = self.there.contains(&seq) || seq > sure;
            require!(!there || was, "record {seq} was gone, and is there again");
            require!(there || !was || self.let_go.contains(&seq), "record {seq} was to be kept, and is gone");
        }
        // Each segment is as it was, or as it is to be.
        let starts: Vec<u64> = self.segments.iter().copied().filter(|start| *start <= last).collect();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(last + 1);
            let before: Vec<u64> = self.there.range(*start..end).copied().filter(|seq| *seq >= first).collect();
            let went = before.iter().filter(|seq| !read.contains(seq)).count();
            let to_go = before.iter().filter(|seq| self.let_go.contains(seq)).count();
            require!(went == 0 || went == to_go, "of segment {start} {went} of {to_go} records went");
        }
        for ending in (first..=last).filter(|seq| self.of(*seq).ends && !read.contains(seq)) {
            let left: Vec<u64> = self.ended_by(ending).filter(|seq| read.contains(seq)).collect();
            require!(left.is_empty(), "ending {ending} is gone, and {left:?} are there");
        }
        Ok(read)
    }
}
