//! What the log counts.  Lower layers add, `twal_stats` copies out.
//!
//! Every counter is a statistic: it is written with relaxed order and publishes
//! nothing, so no other memory may be read on the strength of its value.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::Histogram;
use super::Code;

/// One rising number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters of one open log.
#[derive(Debug, Default)]
#[allow(missing_docs)] // each is documented where C sees it: twal_stats
pub struct Counters {
    pub frames: Counter,
    pub marks: Counter,
    pub flushes: Counter,
    pub device_bytes: Counter,
    pub segments_created: Counter,
    pub segments_sealed: Counter,
    pub segments_archived: Counter,
    pub segments_removed: Counter,
    pub segments_recycled: Counter,
    pub spare_waits: Counter,
    pub ring_waits: Counter,
    pub refused_again: Counter,
    pub refused_timeout: Counter,
    pub refused_nospace: Counter,
    pub refused_poisoned: Counter,
    pub refused_other: Counter,
    pub refused_inval: Counter,
    pub refused_toobig: Counter,
    pub spare_failures: Counter,
    pub durable_waits: Counter,
    pub frames_by_appender: Counter,
    pub frames_by_writer: Counter,
    pub corrupted_records: Counter,
    pub compactions: Counter,
    pub segments_compacted: Counter,
    pub records_purged: Counter,
    pub compaction_bytes_saved: Counter,
    pub compactions_failed: Counter,
    pub saga_events: Counter,
    pub transaction_events: Counter,
    pub stream_events: Counter,
    pub checkpoints: Counter,
    pub checkpoints_failed: Counter,
    pub histograms: Histograms,
}

impl Counters {
    /// Counts an append that is refused, by why.
    #[cold]
    pub fn refused(&self, code: Code) {
        let refused = match code {
            Code::Again => &self.refused_again,
            Code::Timeout => &self.refused_timeout,
            Code::NoSpc => &self.refused_nospace,
            Code::Poisoned => &self.refused_poisoned,
            Code::Inval => &self.refused_inval,
            Code::TooBig => &self.refused_toobig,
            _ => &self.refused_other,
        };
        refused.one();
    }
}

/// What is measured of each, and not only counted.
#[derive(Debug, Default)]
#[allow(missing_docs)] // each is documented where C sees it: twal_histogram_kind
pub struct Histograms {
    pub queue_wait_ns: Histogram,
    pub write_ns: Histogram,
    pub flush_ns: Histogram,
    pub append_ns: Histogram,
    pub frame_records: Histogram,
    pub frame_bytes: Histogram,
}
