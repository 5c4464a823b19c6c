//! Workloads without a wait for every record: async, batch1000, replay, open.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use twal::base::options::{Durability, IoEngine, Options};
use twal::{Entry, Log};

use crate::args::{engine_name, Args};
use crate::limit::{self, Limit};
use crate::report::{grouped, median, micros, print_table, progress, Report};
use crate::scene::{self, Counted, Failure, Scene, NO_SYNC};
use crate::sys;

const SEGMENT: u64 = 64 << 20;

/// Appends `count` records of `size` bytes without waiting.
fn pour(log: &Log, size: usize, count: u64, stream: u64) -> twal::base::Result<u64> {
    let mut payload = vec![0u8; size];
    let mut last = 0;
    for n in 0..count {
        payload[..8].copy_from_slice(&n.to_le_bytes());
        let entry = Entry { data: &payload, stream, timestamp: None, kind: 0x0100, required: false };
        last = log.append(&entry, NO_SYNC)?;
    }
    Ok(last)
}

/// Spares that `bytes` of log need so that none has to be made on the way.
fn spares_for(bytes: u64) -> u64 {
    bytes / SEGMENT + bytes / SEGMENT / 16 + 2
}

fn async_options(args: &Args, spares: u64) -> Options {
    Options {
        durability: Some(Durability::Async),
        ..scene::options(IoEngine::Auto, SEGMENT, spares, args.allow_any_fs)
    }
}

fn mega(bytes_per_s: f64) -> String {
    grouped(bytes_per_s / 1e6)
}

/// Producers that never wait; the clock stops when the last record is durable.
pub fn asynchronous(args: &Args, limit: &mut Limit, report: &mut Report) -> Result<(), Failure> {
    let total: u64 = if args.quick { 128 << 20 } else { 1 << 30 };
    println!(
        "Async: {} MiB of payload, no waits, then sync: counted is what is durable when that returns. Log with spares for\n\
         all of it, prepared before the clock starts; {} rounds. W: bare 1 MiB writes, O_DIRECT, depth 1, one flush.\n",
        total >> 20,
        args.rounds
    );
    // 64: a little more than the 40 bytes in front of every record.
    let options = async_options(args, spares_for(total / 128 * (128 + 64)));
    let scene = Scene::create(&args.dir, "async", &options)?;
    let mut rows = Vec::new();
    for (producers, size) in [(1u64, 128u64), (2, 128), (1, 1024), (2, 1024)] {
        let (mut rates, mut ratios, mut cpu_us) = (Vec::new(), Vec::new(), Vec::new());
        let mut counted = Counted::default();
        for round in 1..=args.rounds {
            progress(&format!("{producers} × {size} B, round {round}"));
            let bare = limit.bandwidth(total)?;
            scene.settle()?;
            let count = total / size / producers;
            let (before, cpu, start) = (scene.log.stats(), sys::cpu_time(), Instant::now());
            std::thread::scope(|scope| {
                let log = &scene.log;
                let all: Vec<_> =
                    (0..producers).map(|p| scope.spawn(move || pour(log, size as usize, count, p))).collect();
                all.into_iter().try_for_each(|one| one.join().expect("a producer does not panic").map(|_| ()))
            })?;
            scene.log.sync(0)?;
            let (took, cpu) = (start.elapsed().as_secs_f64(), sys::cpu_time() - cpu);
            let records = (count * producers) as f64;
            counted = Counted::between(&before, &scene.log.stats());
            rates.push(records / took);
            ratios.push(counted.device_bytes as f64 / took / bare);
            cpu_us.push(cpu.as_secs_f64() * 1e6 / records);
        }
        let rate = median(&rates);
        rows.push(vec![
            producers.to_string(),
            size.to_string(),
            grouped(rate),
            mega(rate * size as f64),
            format!("{:.2}", median(&ratios)),
            format!("{:.3}", median(&cpu_us)),
            counted.flushes.to_string(),
            counted.ring_waits.to_string(),
            counted.spare_waits.to_string(),
        ]);
        report.line(
            "async",
            &[
                ("producers", producers.into()),
                ("record_bytes", size.into()),
                ("records_per_s", rate.into()),
                ("device_rate_to_limit", median(&ratios).into()),
                ("cpu_us_per_record", median(&cpu_us).into()),
                ("flushes", counted.flushes.into()),
                ("ring_waits", counted.ring_waits.into()),
                ("spare_waits", counted.spare_waits.into()),
                ("rounds_records_per_s", rates.into()),
            ],
        )?;
    }
    progress("");
    let heads = [
        "producers",
        "bytes",
        "records/s",
        "payload MB/s",
        "device × W",
        "CPU µs/rec",
        "flushes",
        "ring waits",
        "spare waits",
    ];
    print_table(&heads, 1, &rows);
    println!("\npage cache: {}", scene::page_cache(&scene.dir));
    Ok(())
}

/// One producer: 1000 appends without a wait, then sync, again and again.
pub fn batches(args: &Args, limit: &mut Limit, report: &mut Report) -> Result<(), Failure> {
    const BATCH: u64 = 1000;
    println!(
        "Batch1000: one producer, {BATCH} appends of 128 B without a wait, then sync; {} rounds of {} ms.\n",
        args.rounds,
        args.slice.as_millis()
    );
    let mut rows = Vec::new();
    for engine in &args.engines {
        // At 6 M records/s a second takes 16 segments.
        let spares = (args.slice.as_millis() as u64 * 16).div_ceil(1000) + 4;
        let options = scene::options(*engine, SEGMENT, spares, args.allow_any_fs);
        let scene = match Scene::create(&args.dir, &format!("batch-{}", engine_name(*engine)), &options) {
            Err(error) if error.code == twal::base::Code::Unsupported => {
                println!("engine {}: not available: {error}", engine_name(*engine));
                continue;
            }
            other => other?,
        };
        let (mut rates, mut p50s, mut p99s, mut p50_ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut flushes, mut spare_waits) = (Vec::new(), 0);
        for round in 1..=args.rounds {
            progress(&format!("{}, round {round}", engine_name(*engine)));
            let (_, bare) = limit.durable_writes(args.slice / 4)?;
            scene.settle()?;
            let (before, start) = (scene.log.stats(), Instant::now());
            let (mut times, mut at) = (crate::hist::Histogram::new(), start);
            while at - start < args.slice {
                let last = pour(&scene.log, 128, BATCH, 0)?;
                scene.log.sync(last)?;
                let now = Instant::now();
                times.add((now - at).as_nanos() as u64);
                at = now;
            }
            let counted = Counted::between(&before, &scene.log.stats());
            rates.push((times.count() * BATCH) as f64 / (at - start).as_secs_f64());
            p50s.push(times.quantile_ns(0.5) as f64);
            p99s.push(times.quantile_ns(0.99) as f64);
            p50_ratios.push(times.quantile_ns(0.5) as f64 / bare.quantile_ns(0.5) as f64);
            flushes.push(counted.flushes as f64 / times.count() as f64);
            spare_waits += counted.spare_waits;
        }
        rows.push(vec![
            engine_name(*engine).to_owned(),
            grouped(median(&rates)),
            micros(median(&p50s)),
            micros(median(&p99s)),
            format!("{:.2}", median(&p50_ratios)),
            format!("{:.2}", median(&flushes)),
            spare_waits.to_string(),
            scene::page_cache(&scene.dir),
        ]);
        report.line(
            "batch1000",
            &[
                ("engine", engine_name(*engine).into()),
                ("records_per_s", median(&rates).into()),
                ("batch_p50_us", (median(&p50s) / 1e3).into()),
                ("batch_p99_us", (median(&p99s) / 1e3).into()),
                ("batch_p50_to_limit", median(&p50_ratios).into()),
                ("flushes_per_batch", median(&flushes).into()),
                ("spare_waits", spare_waits.into()),
                ("rounds_records_per_s", rates.into()),
            ],
        )?;
    }
    progress("");
    let heads =
        ["engine", "records/s", "batch p50 µs", "p99", "p50 × L's", "flushes/batch", "spare waits", "page cache"];
    print_table(&heads, 1, &rows);
    Ok(())
}

/// A log of `payload` bytes in records of `size`, closed; gives its directory.
fn fill(args: &Args, name: &str, payload: u64, size: u64) -> Result<Filled, Failure> {
    let need = payload / size * (size + 64) + 8 * SEGMENT;
    let free = sys::free_bytes(&args.dir)?;
    if free < need {
        return Err(format!("{} MiB are needed in {}, {} are free", need >> 20, args.dir.display(), free >> 20).into());
    }
    let dir = args.dir.join(format!("twal-bench-{name}"));
    let _ = fs::remove_dir_all(&dir);
    let filled = Filled { dir };
    progress(&format!("writing {} MiB", payload >> 20));
    let log = Log::open(&filled.dir, &async_options(args, 2))?;
    pour(&log, size as usize, payload / size, 0)?;
    log.close()?;
    progress("");
    Ok(filled)
}

/// A closed log on the disk, removed when dropped.
struct Filled {
    dir: PathBuf,
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn read_only(args: &Args) -> Options {
    Options { read_only: true, allow_any_fs: args.allow_any_fs, ..Options::default() }
}

/// Reads a whole log through the iterator, beside a bare read of the same bytes.
pub fn replay(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let payload: u64 = if args.quick { 128 << 20 } else { 1 << 30 };
    let records = payload / 128;
    println!(
        "Replay: {} records of 128 B read back through the iterator of a read-only log, beside a bare sequential read of\n\
         the same files up to the log's end (O_DIRECT, 1 MiB, depth 1); {} rounds.\n",
        grouped(records as f64),
        args.rounds
    );
    let filled = fill(args, "replay", payload, 128)?;
    let log = Log::open(&filled.dir, &read_only(args))?;
    let found = log.report();
    if found.records != records {
        return Err(format!("{records} records written, the log reports {}", found.records).into());
    }
    let mut files = Vec::new();
    for (index, path, size) in scene::segments(&filled.dir)? {
        if index <= found.end_segment {
            files.push((path, if index == found.end_segment { found.end_offset } else { size }));
        }
    }
    let (mut times, mut bare_times, mut cpu_us, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut file_bytes = 0;
    for round in 1..=args.rounds {
        progress(&format!("round {round} of {}", args.rounds));
        let (bytes, took) = limit::read_files(&files)?;
        file_bytes = bytes;
        bare_times.push(took.as_secs_f64());
        let resident = reset_peak_memory();
        let (cpu, start) = (sys::cpu_time(), Instant::now());
        read_all(&log, records)?;
        times.push(start.elapsed().as_secs_f64());
        cpu_us.push((sys::cpu_time() - cpu).as_secs_f64() * 1e6 / records as f64);
        memory.push(status_kib("VmHWM:").saturating_sub(resident) as f64);
    }
    progress("");
    let (time, bare) = (median(&times), median(&bare_times));
    let rates: Vec<f64> = times.iter().map(|time| records as f64 / time).collect();
    print_table(
        &["records/s", "payload MB/s", "log MB/s", "bare read MB/s", "time ÷ bare", "CPU µs/rec", "memory KiB"],
        0,
        &[vec![
            grouped(records as f64 / time),
            mega(payload as f64 / time),
            mega(file_bytes as f64 / time),
            mega(file_bytes as f64 / bare),
            format!("{:.2}", time / bare),
            format!("{:.3}", median(&cpu_us)),
            grouped(median(&memory)),
        ]],
    );
    report.line(
        "replay",
        &[
            ("records", records.into()),
            ("records_per_s", (records as f64 / time).into()),
            ("log_bytes_per_s", (file_bytes as f64 / time).into()),
            ("bare_bytes_per_s", (file_bytes as f64 / bare).into()),
            ("cpu_us_per_record", median(&cpu_us).into()),
            ("memory_kib", median(&memory).into()),
            ("rounds_records_per_s", rates.into()),
        ],
    )?;
    println!("\npage cache: {}", scene::page_cache(&filled.dir));
    log.close()?;
    Ok(())
}

/// Every record once, in order, whole: a replay that loses some would be fast.
fn read_all(log: &Log, records: u64) -> Result<(), Failure> {
    let mut iter = log.iter(0)?;
    let mut next = 1;
    while let Some(record) = iter.next_record()? {
        if record.seq != next || record.data.len() != 128 || record.data[..8] != (next - 1).to_le_bytes() {
            return Err(format!("record {next} came back as {}, {} bytes", record.seq, record.data.len()).into());
        }
        next += 1;
    }
    match next - 1 {
        n if n == records => Ok(()),
        n => Err(format!("{n} of {records} records came back").into()),
    }
}

/// Makes the kernel forget the peak; gives the resident memory, KiB.
fn reset_peak_memory() -> u64 {
    let _ = fs::write("/proc/self/clear_refs", "5"); // without it the peak is that of the whole run
    status_kib("VmRSS:")
}

fn status_kib(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0)
}

/// How long a cleanly closed log takes to open.
pub fn open(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let payload: u64 = if args.quick { 256 << 20 } else { 4 << 30 };
    println!("Open: a cleanly closed log of {} MiB in records of 1 KiB; {} rounds.\n", payload >> 20, args.rounds);
    let filled = fill(args, "open", payload, 1024)?;
    let writer = async_options(args, 1);
    let reader = read_only(args);
    let verify = Options { verify: true, ..reader.clone() };
    let kinds =
        [("for writing", &writer, args.rounds), ("read-only", &reader, args.rounds), ("verify all", &verify, 3)];
    let mut rows = Vec::new();
    for (name, options, rounds) in kinds {
        let mut times = Vec::new();
        let mut found = None;
        for round in 1..=rounds.min(args.rounds) {
            progress(&format!("{name}, round {round}"));
            let (took, its) = open_once(&filled.dir, options)?;
            times.push(took.as_nanos() as f64);
            if its.records != payload / 1024 {
                return Err(format!("{} records written, {name} reports {}", payload / 1024, its.records).into());
            }
            found = Some(its);
        }
        let Some(found) = found else { continue };
        let segments = scene::segments(&filled.dir)?.len();
        let max = times.iter().copied().fold(0.0, f64::max);
        rows.push(vec![
            name.to_owned(),
            micros(median(&times)),
            micros(max),
            grouped(found.duration_us as f64),
            segments.to_string(),
            found.records.to_string(),
            found.bytes_cut.to_string(),
            format!("{:?}", found.tail),
        ]);
        report.line(
            "open",
            &[
                ("how", name.into()),
                ("payload_bytes", payload.into()),
                ("open_us", (median(&times) / 1e3).into()),
                ("open_us_max", (max / 1e3).into()),
                ("segments", segments.into()),
            ],
        )?;
    }
    progress("");
    let heads = ["opened", "median µs", "max", "last, by its report", "segments", "records", "bytes cut", "tail"];
    print_table(&heads, 1, &rows);
    println!("\npage cache: {}", scene::page_cache(&filled.dir));
    Ok(())
}

fn open_once(dir: &Path, options: &Options) -> Result<(Duration, twal::RecoveryReport), Failure> {
    let start = Instant::now();
    let log = Log::open(dir, options)?;
    let took = start.elapsed();
    let found = log.report();
    log.close()?;
    Ok((took, found))
}
