//! Counts per stream: which streams a log's records are of, and how many bytes
//! each takes.
//!
//! Counted when asked, by reading: appends pay nothing for it, and what a trim,
//! a compaction or a tombstone took away is not counted.  Who keeps the counts
//! asks from where the last answer ended.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::{IterOptions, Log};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};

/// Most streams that are told of.
pub const STREAMS_MAX: usize = 1000;

/// What the log holds of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCount {
    /// Which.
    pub stream: u64,
    /// Its records.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Number of the first.
    pub first_seq: u64,
    /// Number of the last.
    pub last_seq: u64,
}

impl Log {
    /// The 1000 streams that have the most records from `from_seq` on (0: the oldest), the busiest first;
    /// of equal ones the lower first.
    ///
    /// # Errors
    /// As `twal_streams`.
    pub fn streams(&self, from_seq: u64) -> Result<Vec<StreamCount>> {
        let mut iter = self.iter_with(IterOptions { from_seq, ..IterOptions::default() })?;
        // The hasher of std's own choice wants random bytes, and panics where the kernel gives none.
        let mut counts: HashMap<u64, StreamCount, BuildHasherDefault<DefaultHasher>> = HashMap::default();
        let no_memory = |_| Error::new(Code::NoMem, "no memory to count one more stream");
        // Not what comes while this counts.
        let last_seq = self.durable_seq();
        while let Some(record) = iter.next_record()? {
            if record.seq > last_seq {
                break;
            }
            counts.try_reserve(1).map_err(no_memory)?;
            let (stream, seq) = (record.stream, record.seq);
            let none = StreamCount { stream, records: 0, bytes: 0, first_seq: seq, last_seq: seq };
            let count = counts.entry(stream).or_insert(none);
            count.records += 1;
            count.bytes += len_u64(record.data.len());
            count.last_seq = seq;
        }
        let mut busiest: Vec<StreamCount> = counts.into_values().collect();
        busiest.sort_unstable_by_key(|count| (std::cmp::Reverse(count.records), count.stream));
        busiest.truncate(STREAMS_MAX);
        Ok(busiest)
    }
}
