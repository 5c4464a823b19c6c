//! Slices about a log that is already there: `fill` and `writer` make one, `replay`
//! and `open` read it; and `idle`, a log of which nobody wants anything.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use twal::base::options::{Durability, Options};
use twal::{Log, RecoveryReport};

use crate::bulk::{pour, BATCH};
use crate::json::Json;
use crate::scene::{self, Failure, Scene, SYNC};
use crate::slice::{append, reset_peak_memory, status_kib, Payload, Spec};
use crate::sys;

pub fn map<const N: usize>(fields: [(&str, Json); N]) -> Json {
    Json::Map(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// A log of `--count` records in `--dir` itself, written by batches of 1,000, cleanly closed.
pub fn fill(spec: &Spec) -> Result<Json, Failure> {
    let count = spec.count.ok_or("fill needs --count")?;
    let log = Log::open(&spec.dir, &spec.options(2))?;
    let mut payload = Payload::new(spec.bytes);
    for first in (0..count).step_by(BATCH as usize) {
        let last = pour(&log, &mut payload, first, BATCH.min(count - first), 0)?;
        log.sync(last)?;
    }
    log.close()?;
    Ok(map([("records", count.into())]))
}

/// Opens the log in `--dir`, says so, and writes until it is killed.
pub fn write_until_killed(spec: &Spec) -> Result<Json, Failure> {
    let options = Options { durability: Some(Durability::Group), ..spec.options(2) };
    let log = Log::open(&spec.dir, &options)?;
    let mut payload = Payload::new(spec.bytes);
    append(&log, payload.numbered(0), 0, SYNC)?;
    println!("writing");
    std::io::stdout().flush()?;
    // As many bytes as some frames and a part of one, in half a second some MiB.
    for n in 1.. {
        pour(&log, &mut payload, n, 7, 0)?;
        append(&log, payload.numbered(n), 0, SYNC)?;
    }
    Err("the numbers ended".into())
}

fn read_only(spec: &Spec) -> Options {
    Options { read_only: true, allow_any_fs: spec.allow_any_fs, ..Options::default() }
}

/// Every one of `--count` records once, in order, whole, opening included: a replay that loses some would be fast.
pub fn replay(spec: &Spec) -> Result<Json, Failure> {
    let count = spec.count.ok_or("replay needs --count")?;
    reset_peak_memory();
    let (cpu, start) = (sys::cpu_time(), Instant::now());
    let log = Log::open(&spec.dir, &read_only(spec))?;
    let mut expected = Payload::new(spec.bytes);
    let mut iter = log.iter(0)?;
    let mut next = 1;
    while let Some(record) = iter.next_record()? {
        if record.seq != next || record.data != expected.numbered(next - 1) {
            return Err(format!("record {next} came back as {}, {} bytes", record.seq, record.data.len()).into());
        }
        next += 1;
    }
    let (took, cpu) = (start.elapsed().as_secs_f64(), sys::cpu_time() - cpu);
    if next - 1 != count {
        return Err(format!("{} of {count} records came back", next - 1).into());
    }
    let peak = status_kib("VmHWM:");
    drop(iter);
    let found = log.report();
    log.close()?;
    let log_bytes = log_bytes(spec, &found)?;
    Ok(map([
        ("records", count.into()),
        ("seconds", took.into()),
        ("per_second", (count as f64 / took).into()),
        ("bytes_per_second", ((count * spec.bytes as u64) as f64 / took).into()),
        ("log_bytes_per_second", (log_bytes as f64 / took).into()),
        ("log_bytes", log_bytes.into()),
        ("cpu_us_per_record", (cpu.as_secs_f64() * 1e6 / count as f64).into()),
        ("page_cache_pages", scene::cached_pages(&spec.dir).map_or(f64::NAN, |(_, pages)| pages as f64).into()),
        ("peak_rss_kib", peak.into()),
    ]))
}

/// How many bytes of the files are log, as its opening found it.
pub fn log_bytes(spec: &Spec, found: &RecoveryReport) -> Result<u64, Failure> {
    let mut log_bytes = 0;
    for (index, _, size) in scene::segments(&spec.dir)? {
        log_bytes += match index.cmp(&found.end_segment) {
            std::cmp::Ordering::Less => size,
            std::cmp::Ordering::Equal => found.end_offset,
            std::cmp::Ordering::Greater => 0,
        };
    }
    Ok(log_bytes)
}

/// Opens the log in `--dir` once; `--how` is new, write, read or verify.
pub fn open(spec: &Spec) -> Result<Json, Failure> {
    let options = match spec.how.as_str() {
        "read" => read_only(spec),
        "verify" => Options { verify: true, ..read_only(spec) },
        "new" => {
            let _ = fs::remove_dir_all(&spec.dir);
            spec.options(1)
        }
        _ => spec.options(1),
    };
    reset_peak_memory();
    let start = Instant::now();
    let log = Log::open(&spec.dir, &options)?;
    let took = start.elapsed();
    let (found, peak) = (log.report(), status_kib("VmHWM:"));
    log.close()?;
    let line = map([
        ("open_us", (took.as_secs_f64() * 1e6).into()),
        ("records", found.records.into()),
        ("bytes_cut", found.bytes_cut.into()),
        ("tail", format!("{:?}", found.tail).into()),
        ("segments", scene::segments(&spec.dir)?.len().into()),
        ("page_cache_pages", scene::cached_pages(&spec.dir).map_or(f64::NAN, |(_, pages)| pages as f64).into()),
        ("peak_rss_kib", peak.into()),
    ]);
    if spec.how == "new" {
        fs::remove_dir_all(&spec.dir)?;
    }
    Ok(line)
}

/// A log with usual options that took one record and is then left alone for `--seconds`.
pub fn idle(spec: &Spec) -> Result<Json, Failure> {
    let before = status_kib("VmRSS:");
    let options = Options { io_engine: Some(spec.engine), allow_any_fs: spec.allow_any_fs, ..Options::default() };
    let scene = Scene::open(&spec.dir, "idle", &options)?;
    append(&scene.log, &[7; 128], 0, SYNC)?;
    // The mark comes 10 ms after the record; what the log has to zero ahead takes longer.
    scene.wait_until_quiet(Duration::from_secs(2));
    let (threads, switches) = switches_of_others()?;
    std::thread::sleep(spec.time);
    let (_, after) = switches_of_others()?;
    Ok(map([
        ("seconds", spec.time.as_secs_f64().into()),
        ("threads_of_twal", threads.into()),
        ("context_switches", after.saturating_sub(switches).into()),
        ("rss_kib", status_kib("VmRSS:").into()),
        ("rss_before_kib", before.into()),
        ("marks", scene.log.stats().marks.into()),
    ]))
}

/// Threads of this process but its first, and their context switches so far.
fn switches_of_others() -> Result<(usize, u64), Failure> {
    let me = std::process::id().to_string();
    let (mut threads, mut switches) = (0, 0);
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_string_lossy() == me {
            continue;
        }
        threads += 1;
        let text = fs::read_to_string(task.path().join("status"))?;
        let counts = text.lines().filter(|line| line.contains("ctxt_switches:"));
        switches += counts.filter_map(|line| line.rsplit('\t').next()?.trim().parse::<u64>().ok()).sum::<u64>();
    }
    Ok((threads, switches))
}

/// How long a writer is left to write before it is killed.
pub const WRITER_LIVES: Duration = Duration::from_millis(500);
