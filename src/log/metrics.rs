//! What a log counts and measures, as text for Prometheus: its exposition format 0.0.4.
//!
//! Units are the format's base units, seconds and bytes; what only rises ends in `_total`.  A histogram is shown at
//! powers of two, every one of which is a bucket's bound: so each number shown is exact, and the same ones are
//! shown every time.

use std::fmt::{self, Write};
use std::ops::RangeInclusive;

use super::{Log, Measured, Stats};
use crate::base::histogram::Distribution;

const NS_PER_S: u64 = 1_000_000_000;

/// What a family of samples is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// A number that is a family by itself.
struct Number {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&Stats) -> u64,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Stats) -> u64) -> Number {
    Number { name, kind: Kind::Counter, help, value }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Stats) -> u64) -> Number {
    Number { name, kind: Kind::Gauge, help, value }
}

const NUMBERS: [Number; 39] = [
    counter("records_total", "Records appended.", |stats| stats.records),
    counter("record_bytes_total", "Bytes of their payloads.", |stats| stats.record_bytes),
    counter("batches_total", "Batches of more than one record.", |stats| stats.batches),
    counter("frames_total", "Frames written: what one group commit writes, and seals.", |stats| stats.frames),
    counter("frames_by_appender_total", "Of these, with records, by an appending thread.", |stats| {
        stats.frames_by_appender
    }),
    counter("frames_by_writer_total", "Of these, with records, by the writer's thread.", |stats| {
        stats.frames_by_writer
    }),
    counter("marks_total", "Marks written: empty frames that say what is durable.", |stats| stats.marks),
    counter("fsyncs_total", "Flushes of the device for records, durable writes included.", |stats| stats.flushes),
    counter("device_bytes_total", "Bytes of frames, seals and marks written.", |stats| stats.device_bytes),
    counter("bytes_written_twice_total", "Always 0: no acknowledged block is ever written again.", |stats| {
        stats.bytes_written_twice
    }),
    counter("segments_created_total", "Segments made.", |stats| stats.segments_created),
    counter("segments_sealed_total", "Segments finished: rollovers.", |stats| stats.segments_sealed),
    counter("segments_archived_total", "Segments released.", |stats| stats.segments_archived),
    counter("segments_removed_total", "Segments removed.", |stats| stats.segments_removed),
    counter("segments_recycled_total", "Segments whose file was used again.", |stats| stats.segments_recycled),
    counter("spare_waits_total", "Times an append waited for a segment's file.", |stats| stats.spare_waits),
    counter("spare_failures_total", "Attempts to prepare a segment's file that failed.", |stats| stats.spare_failures),
    counter("ring_waits_total", "Times an append waited for room in the ring.", |stats| stats.ring_waits),
    counter("durable_waits_total", "Calls that asked for records to be durable first.", |stats| stats.durable_waits),
    counter("corrupted_records_total", "Damaged records met by readers.", |stats| stats.corrupted_records),
    counter("recoveries_total", "Recoveries of what was there: 0 for a new log, else 1.", |stats| stats.recoveries),
    counter("compactions_total", "Compactions that came to their end.", |stats| stats.compactions),
    counter("compactions_failed_total", "Automatic compactions that failed.", |stats| stats.compactions_failed),
    counter("segments_compacted_total", "Segments made smaller by compactions.", |stats| stats.segments_compacted),
    counter("records_purged_total", "Records that compactions have taken away.", |stats| stats.records_purged),
    counter("compaction_bytes_saved_total", "Bytes that the segments' files take less.", |stats| {
        stats.compaction_bytes_saved
    }),
    counter("saga_events_total", "Events of sagas appended.", |stats| stats.saga_events),
    counter("tx_events_total", "Events of two-phase commits appended.", |stats| stats.transaction_events),
    counter("stream_events_total", "Tombstones, purges and applied markers appended.", |stats| stats.stream_events),
    counter("checkpoints_total", "Checkpoints that are durable.", |stats| stats.checkpoints),
    counter("checkpoints_failed_total", "Automatic checkpoints that failed.", |stats| stats.checkpoints_failed),
    gauge("queue_records", "Records accepted and not durable.", |stats| stats.queue_records),
    gauge("queue_bytes", "Bytes that these take on the device.", |stats| stats.queue_bytes),
    gauge("frames_in_flight", "Frames that are being written.", |stats| stats.frames_in_flight),
    gauge("ring_bytes", "Bytes accepted and not written.", |stats| stats.ring_bytes),
    gauge("ring_size_bytes", "Bytes that the ring has.", |stats| stats.ring_size),
    gauge("block_size_bytes", "Bytes of a block.", |stats| stats.block_size),
    gauge("segment_size_bytes", "Bytes of a new segment.", |stats| stats.segment_size),
    gauge("poisoned", "1 if a write or flush has failed, else 0.", |stats| u64::from(stats.poisoned)),
];

/// What a histogram's numbers are.
#[derive(Clone, Copy)]
enum Unit {
    Nanoseconds,
    Whole,
}

/// Name, help, unit, and the powers of two that are shown.
const HISTOGRAMS: [(&str, &str, Measured, Unit, RangeInclusive<u32>); 6] = [
    (
        "queue_wait_seconds",
        "Of each frame, from its first record's acceptance until its write began.",
        Measured::QueueWait,
        Unit::Nanoseconds,
        10..=34,
    ),
    (
        "write_seconds",
        "Of each frame, its write, with the flush where that is one with it.",
        Measured::Write,
        Unit::Nanoseconds,
        10..=34,
    ),
    ("flush_seconds", "Of each flush, durable writes included.", Measured::Flush, Unit::Nanoseconds, 10..=34),
    (
        "append_seconds",
        "Of each append that waited until it was durable, the whole call.",
        Measured::Append,
        Unit::Nanoseconds,
        10..=34,
    ),
    ("frame_records", "Records of each frame.", Measured::FrameRecords, Unit::Whole, 0..=16),
    ("frame_size_bytes", "Bytes of each frame on the device.", Measured::FrameBytes, Unit::Whole, 9..=30),
];

impl Log {
    /// Everything that [`Log::stats`] and [`Log::histogram`] tell, as Prometheus text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn metrics(&self, out: &mut dyn Write) -> fmt::Result {
        let stats = self.stats();
        about(out, "info", "gauge", "How the log works here.")?;
        write!(out, "twal_info{{version=\"{}\",engine=\"", env!("CARGO_PKG_VERSION"))?;
        label(out, stats.engine)?;
        out.write_str("\",engine_reason=\"")?;
        label(out, &stats.engine_reason)?;
        out.write_str("\",file_system=\"")?;
        label(out, &stats.file_system)?;
        out.write_str("\"} 1\n")?;
        for number in &NUMBERS {
            let kind = match number.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            about(out, number.name, kind, number.help)?;
            writeln!(out, "twal_{} {}", number.name, (number.value)(&stats))?;
        }
        let numbers = [
            ("first_seq", "Oldest record that can be read.", self.first_seq()),
            ("last_seq", "Newest record accepted.", self.last_seq()),
            ("durable_seq", "Newest record that is durable, with every one before it.", self.durable_seq()),
        ];
        for (name, help, seq) in numbers {
            about(out, name, "gauge", help)?;
            writeln!(out, "twal_{name} {seq}")?;
        }
        about(out, "refusals_total", "counter", "Appends refused, by why.")?;
        let refusals = [
            ("again", stats.refused_again),
            ("timeout", stats.refused_timeout),
            ("nospace", stats.refused_nospace),
            ("poisoned", stats.refused_poisoned),
            ("inval", stats.refused_inval),
            ("toobig", stats.refused_toobig),
            ("other", stats.refused_other),
        ];
        for (why, count) in refusals {
            writeln!(out, "twal_refusals_total{{kind=\"{why}\"}} {count}")?;
        }
        let times = [
            ("device_busy_seconds_total", "Time with a write or flush of records on its way.", stats.device_busy_ns),
            ("elapsed_seconds_total", "Time since the log was opened.", stats.elapsed_ns),
        ];
        for (name, help, ns) in times {
            about(out, name, "counter", help)?;
            writeln!(out, "twal_{name} {}", Seconds(ns))?;
        }
        for (name, help, measured, unit, powers) in HISTOGRAMS {
            about(out, name, "histogram", help)?;
            histogram(out, name, &self.histogram(measured), unit, powers)?;
        }
        Ok(())
    }
}

/// What stands before the samples of a family.
fn about(out: &mut dyn Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    write!(out, "# HELP twal_{name} {help}\n# TYPE twal_{name} {kind}\n")
}

fn histogram(
    out: &mut dyn Write,
    name: &str,
    got: &Distribution,
    unit: Unit,
    powers: RangeInclusive<u32>,
) -> fmt::Result {
    for power in powers {
        let bound = 1 << power;
        write!(out, "twal_{name}_bucket{{le=\"")?;
        number(out, bound, unit)?;
        writeln!(out, "\"}} {}", got.up_to(bound))?;
    }
    write!(out, "twal_{name}_bucket{{le=\"+Inf\"}} {}\ntwal_{name}_sum ", got.count)?;
    number(out, got.sum, unit)?;
    writeln!(out, "\ntwal_{name}_count {}", got.count)
}

fn number(out: &mut dyn Write, number: u64, unit: Unit) -> fmt::Result {
    match unit {
        Unit::Nanoseconds => write!(out, "{}", Seconds(number)),
        Unit::Whole => write!(out, "{number}"),
    }
}

/// Nanoseconds, written as seconds, exactly.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / NS_PER_S, self.0 % NS_PER_S)
    }
}

/// The value of a label, as the format quotes it.
fn label(out: &mut dyn Write, text: &str) -> fmt::Result {
    for char in text.chars() {
        match char {
            '\\' => out.write_str("\\\\")?,
            '"' => out.write_str("\\\"")?,
            '\n' => out.write_str("\\n")?,
            char => out.write_char(char)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_formats() {
        for (at, number) in NUMBERS.iter().enumerate() {
            let total = number.name.ends_with("_total");
            assert_eq!(total, matches!(number.kind, Kind::Counter), "{}", number.name);
            assert!(number.help.ends_with('.') && !number.help.contains(['\\', '\n']), "{}", number.name);
            assert!(NUMBERS[..at].iter().all(|other| other.name != number.name), "{} twice", number.name);
        }
    }

    #[test]
    fn labels_are_quoted() {
        let mut out = String::new();
        label(&mut out, "a \"b\"\\c\nd").unwrap();
        assert_eq!(out, r#"a \"b\"\\c\nd"#);
    }

    #[test]
    fn nanoseconds_become_seconds() {
        let text = |ns| Seconds(ns).to_string();
        assert_eq!([text(0), text(1), text(1024)], ["0.000000000", "0.000000001", "0.000001024"]);
        assert_eq!([text(1_500_000_000), text(u64::MAX)], ["1.500000000", "18446744073.709551615"]);
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let counted = crate::base::histogram::Histogram::default();
        [1, 2, 3, 4, 100].into_iter().for_each(|number| counted.add(number));
        let mut out = String::new();
        histogram(&mut out, "x", &counted.get(), Unit::Whole, 0..=3).unwrap();
        let lines = [
            "twal_x_bucket{le=\"1\"} 1",
            "twal_x_bucket{le=\"2\"} 2",
            "twal_x_bucket{le=\"4\"} 4",
            "twal_x_bucket{le=\"8\"} 4",
            "twal_x_bucket{le=\"+Inf\"} 5",
            "twal_x_sum 110",
            "twal_x_count 5",
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), lines);
    }
}
