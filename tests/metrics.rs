//! Goal: the metrics are what Prometheus reads, under the names that were promised, and say what the statistics say.
//! Method: a log with sagas, rollovers, a compaction and refusals on the simulated disk; its text goes through
//! Prometheus' own parser (tests/metrics.py, PyPI prometheus-client), and each number is compared.  Without python3 or
//! the parser the test says so and passes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::txn::{CompactionOptions, Manager, ManagerOptions, SagaSpec};
use twal::{Entry, How, Log, Measured, Options, Stats};

/// What the parser read: sample and value.  None: it is not here.
fn parsed(text: &str) -> Option<BTreeMap<String, f64>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.py");
    let started = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        println!("skipped: there is no python3 here");
        return None;
    };
    // Whatever becomes of it, what the script says counts.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(77) {
        println!("skipped: python3 has no prometheus-client (pip install prometheus-client)");
        return None;
    }
    assert!(output.status.success(), "the parser refused:\n{text}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    Some(lines.lines().map(sample).collect())
}

fn busy_log() -> Log {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    // Writes take time, and nothing else does: no time is 0, and none changes between two looks.
    let slow = clock.clone();
    disk.between_units(Some(Box::new(move |_, _| slow.pass(Duration::from_nanos(100_003)))));
    let options = Options { segment_size: 64 << 10, ..Options::default() };
    let log = Log::open_on(&*disk, Path::new("/log"), &options, clock.clone(), Threads::None).unwrap();
    let (manager, _) = Manager::recover(&log, &ManagerOptions { keep_records: true, ..Default::default() }).unwrap();
    for n in 0..30 {
        let saga = manager.saga_create(&SagaSpec { start: true, ..SagaSpec::default() }).unwrap();
        manager.saga_aborted(saga.id, None).unwrap();
        let entry = Entry { data: &[7; 3000], stream: n, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How { sync: Some(false), no_wait: false }).unwrap();
        clock.pass(Duration::from_micros(7 * n));
        log.append_batch([entry; 3].into_iter(), How::default()).unwrap();
    }
    manager.compact(&CompactionOptions { seal: true, saving_min: 0 }).unwrap();
    log
}

#[test]
fn prometheus_reads_what_the_statistics_say() {
    let log = busy_log();
    let mut text = String::new();
    log.metrics(&mut text).unwrap();
    let Some(read) = parsed(&text) else { return };
    let stats = log.stats();
    #[allow(clippy::type_complexity)] // a list of pairs
    let numbers: &[(&str, fn(&Stats) -> u64)] = &[
        // The names that operators were promised.
        ("twal_fsyncs_total", |stats| stats.flushes),
        ("twal_segments_created_total", |stats| stats.segments_created),
        ("twal_compaction_bytes_saved_total", |stats| stats.compaction_bytes_saved),
        ("twal_saga_events_total", |stats| stats.saga_events),
        ("twal_tx_events_total", |stats| stats.transaction_events),
        ("twal_corrupted_records_total", |stats| stats.corrupted_records),
        ("twal_checkpoints_total", |stats| stats.checkpoints),
        ("twal_recoveries_total", |stats| stats.recoveries),
        ("twal_bytes_written_twice_total", |_| 0),
        // The others.
        ("twal_records_total", |stats| stats.records),
        ("twal_record_bytes_total", |stats| stats.record_bytes),
        ("twal_batches_total", |stats| stats.batches),
        ("twal_frames_total", |stats| stats.frames),
        ("twal_frames_by_appender_total", |stats| stats.frames_by_appender),
        ("twal_frames_by_writer_total", |stats| stats.frames_by_writer),
        ("twal_marks_total", |stats| stats.marks),
        ("twal_device_bytes_total", |stats| stats.device_bytes),
        ("twal_segments_sealed_total", |stats| stats.segments_sealed),
        ("twal_segments_archived_total", |stats| stats.segments_archived),
        ("twal_segments_removed_total", |stats| stats.segments_removed),
        ("twal_segments_recycled_total", |stats| stats.segments_recycled),
        ("twal_segments_compacted_total", |stats| stats.segments_compacted),
        ("twal_spare_waits_total", |stats| stats.spare_waits),
        ("twal_spare_failures_total", |stats| stats.spare_failures),
        ("twal_ring_waits_total", |stats| stats.ring_waits),
        ("twal_durable_waits_total", |stats| stats.durable_waits),
        ("twal_compactions_total", |stats| stats.compactions),
        ("twal_compactions_failed_total", |stats| stats.compactions_failed),
        ("twal_records_purged_total", |stats| stats.records_purged),
        ("twal_stream_events_total", |stats| stats.stream_events),
        ("twal_checkpoints_failed_total", |stats| stats.checkpoints_failed),
        ("twal_queue_records", |stats| stats.queue_records),
        ("twal_queue_bytes", |stats| stats.queue_bytes),
        ("twal_frames_in_flight", |stats| stats.frames_in_flight),
        ("twal_ring_bytes", |stats| stats.ring_bytes),
        ("twal_ring_size_bytes", |stats| stats.ring_size),
        ("twal_block_size_bytes", |stats| stats.block_size),
        ("twal_segment_size_bytes", |stats| stats.segment_size),
        ("twal_poisoned", |stats| u64::from(stats.poisoned)),
        ("twal_refusals_total{kind=again}", |stats| stats.refused_again),
        ("twal_refusals_total{kind=timeout}", |stats| stats.refused_timeout),
        ("twal_refusals_total{kind=nospace}", |stats| stats.refused_nospace),
        ("twal_refusals_total{kind=poisoned}", |stats| stats.refused_poisoned),
        ("twal_refusals_total{kind=inval}", |stats| stats.refused_inval),
        ("twal_refusals_total{kind=toobig}", |stats| stats.refused_toobig),
        ("twal_refusals_total{kind=other}", |stats| stats.refused_other),
        ("twal_device_busy_seconds_total", |stats| stats.device_busy_ns),
        ("twal_elapsed_seconds_total", |stats| stats.elapsed_ns),
    ];
    let mut left = read.clone();
    let mut take = |name: &str| left.remove(name).unwrap_or_else(|| panic!("{name} is not there"));
    for (name, value) in numbers {
        let scale = if name.contains("_seconds") { 1e9 } else { 1.0 };
        // A number of nanoseconds is not exact as a number of seconds.
        assert_eq!((take(name) * scale).round(), value(&stats) as f64, "{name}");
    }
    assert!(stats.device_busy_ns > 0 && stats.device_busy_ns < stats.elapsed_ns, "{stats:?}");
    assert!(stats.saga_events > 60 && stats.checkpoints > 0 && stats.compaction_bytes_saved > 0, "{stats:?}");
    let seqs = [("first", log.first_seq()), ("last", log.last_seq()), ("durable", log.durable_seq())];
    for (which, seq) in seqs {
        assert_eq!(take(&format!("twal_{which}_seq")), seq as f64);
    }
    for (name, measured) in [
        ("queue_wait_seconds", Measured::QueueWait),
        ("write_seconds", Measured::Write),
        ("flush_seconds", Measured::Flush),
        ("append_seconds", Measured::Append),
        ("frame_records", Measured::FrameRecords),
        ("frame_size_bytes", Measured::FrameBytes),
    ] {
        let (got, seconds) = (log.histogram(measured), name.ends_with("_seconds"));
        assert!(got.count > 0 && got.sum > 0, "{name}");
        assert_eq!(take(&format!("twal_{name}_count")), got.count as f64, "{name}");
        let scale = if seconds { 1e9 } else { 1.0 };
        assert_eq!((take(&format!("twal_{name}_sum")) * scale).round(), got.sum as f64, "{name}");
        let prefix = format!("twal_{name}_bucket{{le=");
        let buckets: Vec<_> = read.iter().filter(|(sample, _)| sample.starts_with(&prefix)).collect();
        assert!(buckets.len() > 15, "{name}");
        for (sample, count) in buckets {
            let le: f64 = sample[prefix.len()..].trim_end_matches('}').parse().unwrap();
            let bound = (le * scale).round();
            let below =
                got.buckets.iter().enumerate().filter(|(at, _)| twal::base::histogram::bound(*at) as f64 <= bound);
            assert_eq!(*count, below.map(|(_, count)| *count).sum::<u64>() as f64, "{sample}");
            take(sample);
        }
    }
    // What tells how the log works is the only thing that is left.
    let left: Vec<_> = left.into_keys().collect();
    assert!(left.len() == 1 && left[0].starts_with("twal_info{engine=simulated"), "{left:?}");
}

/// What twal_metrics() says is enough is enough where every number is the highest, and every label as long as can be.
#[test]
fn the_room_that_is_promised_is_enough() {
    let log = busy_log();
    let mut text = String::new();
    log.metrics(&mut text).unwrap();
    let longest = |line: &str| match line.rsplit_once(' ') {
        Some(_) if line.starts_with('#') => line.len(),
        // Three labels of up to 255 bytes, each of which takes two where it is quoted.
        Some((name, _)) if name.starts_with("twal_info") => name.len() + 3 * 2 * 255 + 2,
        // Counts of up to 20 digits; the most nanoseconds, as seconds.
        Some((name, _)) => name.len() + 1 + "18446744073.709551615".len(),
        None => panic!("{line}"),
    };
    let most: usize = text.lines().map(|line| longest(line) + 1).sum();
    println!("{} bytes, {most} at most", text.len());
    let said = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ffi/metrics.rs")).unwrap();
    let promised: usize = said.split_once(" KiB are enough").unwrap().0.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(most < promised << 10, "{most} bytes, {promised} KiB are promised");
}

/// The parser does refuse: a text without its first line, or one that says something twice.
#[test]
fn canary() {
    let log = busy_log();
    let mut text = String::new();
    log.metrics(&mut text).unwrap();
    if parsed(&text).is_none() {
        return;
    }
    let cut = text.split_once('\n').unwrap().1;
    for wrong in [cut.to_owned(), text.repeat(2), text.replace("_count ", "_count 1"), text.replace("+Inf", "1.5")] {
        assert!(std::panic::catch_unwind(|| parsed(&wrong)).is_err());
    }
}
