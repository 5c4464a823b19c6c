//! One slice of one workload on one log of twal's, in a process of its own, as
//! `twal-peers` does it for the others: so memory, processor time and what the
//! kernel counts are those of this log and nothing else.
//!
//!     twal-bench slice WORKLOAD --dir DIR [--engine E] [--threads N] ...

use std::path::PathBuf;
use std::time::{Duration, Instant};

use twal::base::options::{IoEngine, Options};
use twal::{Entry, How, Log};

use crate::args;
use crate::hist::Histogram;
use crate::json::Json;
use crate::report::Figures;
use crate::scene::{self, Counted, Failure, Scene};
use crate::txn::Operation;
use crate::{allocations, bulk, calls, logs, sync, sys, tail, txn};

/// The usual size of a segment.
pub const SEGMENT: u64 = 64 << 20;
/// Appends of each thread before the clock starts.
pub const WARM_UP: u64 = 16;
/// The kind of every record here.
const KIND: u16 = 0x0100;

/// What the command line of a slice says.
pub struct Spec {
    pub dir: PathBuf,
    pub engine: IoEngine,
    pub threads: usize,
    pub bytes: usize,
    pub time: Duration,
    /// Ends the slice sooner, or makes up its size.
    pub count: Option<u64>,
    pub rate: Option<u64>,
    pub segment_size: u64,
    /// Segments that are to be sealed in the slice.
    pub segments: Option<u64>,
    pub how: String,
    /// The records of transactions, appended as any others.
    pub bare: bool,
    pub allow_any_fs: bool,
}

impl Spec {
    /// Whether no segment may be used again: the log is a new one and nothing is trimmed.
    pub fn is_fresh(&self) -> bool {
        self.how == "fresh"
    }

    /// The options that every slice starts from.
    pub fn options(&self, spares: u64) -> Options {
        scene::options(self.engine, self.segment_size, spares, self.allow_any_fs)
    }
}

/// Runs what the words name and prints its figures as one JSON line.
pub fn main(mut words: impl Iterator<Item = String>) -> Result<(), Failure> {
    sys::die_with_parent();
    let workload = words.next().unwrap_or_default();
    if workload == "spin" {
        return spin(words.next().unwrap_or_default().parse()?);
    }
    let spec = parse(words)?;
    let line = match workload.as_str() {
        "sync" => sync::run(&spec)?,
        "rollover" => sync::rollover(&spec)?,
        "async" => bulk::asynchronous(&spec)?,
        "offered" => bulk::offered(&spec)?,
        "batch1000" => bulk::batches(&spec)?,
        "fill" => logs::fill(&spec)?,
        "writer" => logs::write_until_killed(&spec)?,
        "replay" => logs::replay(&spec)?,
        "open" => logs::open(&spec)?,
        "idle" => logs::idle(&spec)?,
        "tail" => tail::slice(&spec)?,
        "tailer" => tail::tailer(&spec)?,
        "allocations" => allocations::slice(&spec)?,
        "calls" => calls::slice(&spec)?,
        "sagas" => txn::run(&spec, Operation::Saga)?,
        "commits2pc" => txn::run(&spec, Operation::Commit)?,
        "txn_fill" => txn::fill(&spec)?,
        "txn_replay" => txn::replay(&spec)?,
        "compaction" => txn::compaction(&spec)?,
        _ => return Err(format!("no such slice: {workload}").into()),
    };
    println!("{line}");
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Spec, Failure> {
    let mut spec = Spec {
        dir: PathBuf::from("."),
        engine: IoEngine::Auto,
        threads: 1,
        bytes: 128,
        time: Duration::from_secs(1),
        count: None,
        rate: None,
        segment_size: SEGMENT,
        segments: None,
        how: String::new(),
        bare: false,
        allow_any_fs: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--dir" => spec.dir = value()?.into(),
            "--engine" => spec.engine = args::engine(&value()?)?,
            "--threads" => spec.threads = args::number(&value()?)?,
            "--bytes" => spec.bytes = args::number(&value()?)?,
            "--seconds" => spec.time = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--count" => spec.count = Some(value()?.parse()?),
            "--rate" => spec.rate = Some(value()?.parse()?),
            "--segment" => spec.segment_size = value()?.parse()?,
            "--segments" => spec.segments = Some(value()?.parse()?),
            "--how" => spec.how = value()?,
            "--bare" => spec.bare = true,
            "--allow-any-fs" => spec.allow_any_fs = true,
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    Ok(spec)
}

/// Keeps one CPU busy until it is killed.
fn spin(cpu: usize) -> Result<(), Failure> {
    sys::pin_to(cpu)?;
    loop {
        std::hint::spin_loop();
    }
}

/// A payload that begins with its number.
pub struct Payload(Vec<u8>);

impl Payload {
    pub fn new(bytes: usize) -> Self {
        Payload((0..bytes).map(|at| (at * 31 + 7) as u8).collect())
    }

    /// The payload with this number.
    pub fn numbered(&mut self, number: u64) -> &[u8] {
        self.0[..8].copy_from_slice(&number.to_le_bytes());
        &self.0
    }

    /// The payload as it is.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What every record here is.
pub fn entry(data: &[u8], stream: u64) -> Entry<'_> {
    Entry { data, stream, timestamp: None, kind: KIND, required: false }
}

/// Appends one payload; gives its number.
pub fn append(log: &Log, data: &[u8], stream: u64, how: How) -> twal::base::Result<u64> {
    log.append(&entry(data, stream), how)
}

/// What a workload itself knows of its slice.
pub struct Done {
    pub records: u64,
    /// From the start of the clock to the end of the last thread.
    pub took: Duration,
    pub times: Option<Histogram>,
    /// Records of each thread.
    pub shares: Vec<u64>,
    pub more: Vec<(&'static str, f64)>,
}

/// Settles the log, starts the clock, lets `work` do its work, and adds to it what was counted meanwhile.
pub fn measure(
    spec: &Spec,
    scene: &Scene,
    work: impl FnOnce(Instant) -> Result<Done, Failure>,
) -> Result<Json, Failure> {
    let settled = scene.settle()?;
    reset_peak_memory();
    let (before, written, cpu) = (scene.log.stats(), scene::written_bytes(), sys::cpu_time());
    let (done, allocations) = allocations::counted(|| work(Instant::now()));
    let done = done?;
    let (cpu, written) = (sys::cpu_time() - cpu, scene::written_bytes() - written);
    let after = scene.log.stats();
    let counted = Counted::between(&before, &after);
    let (records, seconds) = (done.records as f64, done.took.as_secs_f64());
    let payload = records * spec.bytes as f64;

    let mut figures = Figures::new();
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("records", records);
    put("seconds", seconds);
    put("per_second", records / seconds);
    put("bytes_per_second", payload / seconds);
    if let Some(times) = &done.times {
        put_times(&mut put, "", times);
    }
    let least = done.shares.iter().min().copied().unwrap_or(0) as f64;
    let most = done.shares.iter().max().copied().unwrap_or(0) as f64;
    put("slowest_thread", least);
    put("fastest_thread", most);
    put("cpu_us_per_record", cpu.as_secs_f64() * 1e6 / records);
    put("device_bytes_per_record_byte", written as f64 / payload);
    put("log_bytes_per_record_byte", counted.device_bytes as f64 / payload);
    put("log_bytes_per_second", counted.device_bytes as f64 / seconds);
    put("flushes", counted.flushes as f64);
    if let Ok((_, pages)) = scene::cached_pages(&scene.dir) {
        put("page_cache_pages", pages as f64);
    }
    put("peak_rss_kib", status_kib("VmHWM:") as f64);
    put("allocations", allocations as f64);
    put("segments_sealed", counted.sealed as f64);
    put("segments_recycled", counted.recycled as f64);
    put("spare_waits", counted.spare_waits as f64);
    put("ring_waits", counted.ring_waits as f64);
    put("unsettled", f64::from(u8::from(!settled)));
    for (name, value) in done.more {
        put(name, value);
    }
    scene.leave_segments()?;
    let mut fields: Vec<(String, Json)> =
        figures.into_iter().map(|(name, value)| (name, Json::Number(value))).collect();
    fields.push(("engine".into(), after.engine.to_string().into()));
    fields.push(("engine_reason".into(), after.engine_reason.to_string().into()));
    Ok(Json::Map(fields))
}

/// p50 … max under names that begin with `prefix`.
pub fn put_times<R>(mut put: impl FnMut(&str, f64) -> R, prefix: &str, times: &Histogram) {
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        put(&format!("{prefix}{name}_us"), times.quantile_ns(share) as f64 / 1e3);
    }
    put(&format!("{prefix}max_us"), times.max_ns() as f64 / 1e3);
}

/// Makes the kernel forget the peak.
pub fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5"); // without it the peak is that of the whole process
}

/// A line of /proc/self/status, in KiB.
pub fn status_kib(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0)
}
