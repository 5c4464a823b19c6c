//! Workload SYNC: each thread appends one record, waits until it is durable, repeats.
//! Workload rollover: the same, with segments so small that they roll all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use twal::base::options::IoEngine;
use twal::{Entry, Log};

use crate::args::{engine_name, Args};
use crate::hist::Histogram;
use crate::limit::Limit;
use crate::report::{grouped, median, micros, print_table, progress, Report};
use crate::scene::{self, Counted, Failure, Scene, SYNC};
use crate::sys;

const RECORD: usize = 128;

/// One measured stretch of time.
struct Slice {
    rate: f64,
    times: Histogram,
    counted: Counted,
    cpu: Duration,
}

/// The same quantity in every round.
#[derive(Default)]
struct Rounds(Vec<f64>);

impl Rounds {
    fn median(&self) -> f64 {
        median(&self.0)
    }
}

/// One row of the table, round by round.
#[derive(Default)]
struct Cell {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    p999: Rounds,
    max: f64,
    rate_ratio: Rounds,
    p50_ratio: Rounds,
    flushes: Rounds,
    bytes: Rounds,
    cpu_us: Rounds,
    total: Counted,
}

impl Cell {
    fn add_times(&mut self, rate: f64, times: &Histogram) {
        self.rate.0.push(rate);
        self.p50.0.push(times.quantile_ns(0.5) as f64);
        self.p99.0.push(times.quantile_ns(0.99) as f64);
        self.p999.0.push(times.quantile_ns(0.999) as f64);
        self.max = self.max.max(times.max_ns() as f64);
    }

    fn add(&mut self, slice: &Slice, limit: &(f64, Histogram)) {
        let records = slice.times.count() as f64;
        self.add_times(slice.rate, &slice.times);
        self.rate_ratio.0.push(slice.rate / limit.0);
        self.p50_ratio.0.push(slice.times.quantile_ns(0.5) as f64 / limit.1.quantile_ns(0.5) as f64);
        self.flushes.0.push(slice.counted.flushes as f64 / records);
        self.bytes.0.push(slice.counted.device_bytes as f64 / records);
        self.cpu_us.0.push(slice.cpu.as_secs_f64() * 1e6 / records);
        self.total.sealed += slice.counted.sealed;
        self.total.recycled += slice.counted.recycled;
        self.total.spare_waits += slice.counted.spare_waits;
        self.total.ring_waits += slice.counted.ring_waits;
    }

    /// Rate, times and spread: what L has, too.
    fn speed_columns(&self) -> Vec<String> {
        let low = self.rate.0.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.rate.0.iter().copied().fold(0.0, f64::max);
        vec![
            grouped(self.rate.median()),
            micros(self.p50.median()),
            micros(self.p99.median()),
            micros(self.p999.median()),
            micros(self.max),
            format!("{}–{}", grouped(low), grouped(high)),
        ]
    }

    fn cost_columns(&self) -> Vec<String> {
        vec![
            format!("{:.2}", self.rate_ratio.median()),
            format!("{:.2}", self.p50_ratio.median()),
            format!("{:.4}", self.flushes.median()),
            grouped(self.bytes.median()),
            format!("{:.2}", self.cpu_us.median()),
        ]
    }

    fn json(
        &self,
        report: &mut Report,
        workload: &str,
        threads: usize,
        engine: &str,
        segment: u64,
    ) -> std::io::Result<()> {
        report.line(
            workload,
            &[
                ("threads", threads.into()),
                ("engine", engine.into()),
                ("record_bytes", RECORD.into()),
                ("segment_bytes", segment.into()),
                ("records_per_s", self.rate.median().into()),
                ("p50_us", (self.p50.median() / 1e3).into()),
                ("p99_us", (self.p99.median() / 1e3).into()),
                ("p999_us", (self.p999.median() / 1e3).into()),
                ("max_us", (self.max / 1e3).into()),
                ("rate_to_limit", self.rate_ratio.median().into()),
                ("p50_to_limit", self.p50_ratio.median().into()),
                ("flushes_per_record", self.flushes.median().into()),
                ("device_bytes_per_record", self.bytes.median().into()),
                ("cpu_us_per_record", self.cpu_us.median().into()),
                ("segments_sealed", self.total.sealed.into()),
                ("segments_recycled", self.total.recycled.into()),
                ("spare_waits", self.total.spare_waits.into()),
                ("ring_waits", self.total.ring_waits.into()),
                ("rounds_records_per_s", self.rate.0.clone().into()),
            ],
        )
    }
}

/// `threads` threads on one log for `time`.  With `trimming`, what is durable is
/// given back every 5 ms, so segments are recycled while they are needed.
fn slice(log: &Log, threads: usize, time: Duration, trimming: bool) -> Result<Slice, Failure> {
    let start_line = &Barrier::new(threads + 1);
    let running = AtomicBool::new(true);
    let before = log.stats();
    std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || append_until(log, thread as u64, time, start_line)))
            .collect();
        let trimmer = trimming.then(|| scope.spawn(|| trim_while(log, &running)));
        start_line.wait();
        let cpu = sys::cpu_time();
        let start = Instant::now();
        let mut times = Histogram::new();
        let mut failure = None;
        for appender in appenders {
            match appender.join().expect("an appender does not panic") {
                Ok(its) => times.merge(&its),
                Err(error) => failure = Some(error),
            }
        }
        let (took, cpu) = (start.elapsed(), sys::cpu_time() - cpu);
        running.store(false, Ordering::Relaxed);
        if let Some(trimmer) = trimmer {
            trimmer.join().expect("the trimmer does not panic")?;
        }
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(Slice {
                rate: times.count() as f64 / took.as_secs_f64(),
                times,
                counted: Counted::between(&before, &log.stats()),
                cpu,
            }),
        }
    })
}

fn append_until(log: &Log, thread: u64, time: Duration, start_line: &Barrier) -> twal::base::Result<Histogram> {
    let payload = [thread as u8; RECORD];
    let entry = Entry { data: &payload, stream: thread, timestamp: None, kind: 0x0100, required: false };
    let mut times = Histogram::new();
    start_line.wait();
    let start = Instant::now();
    let mut before = start;
    while before - start < time {
        log.append(&entry, SYNC)?;
        let after = Instant::now();
        times.add((after - before).as_nanos() as u64);
        before = after;
    }
    Ok(times)
}

fn trim_while(log: &Log, running: &AtomicBool) -> twal::base::Result<()> {
    while running.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
        let durable = log.durable_seq();
        if durable > 0 {
            log.trim(durable)?;
        }
    }
    Ok(())
}

const SPEED_HEADS: [&str; 6] = ["records/s", "p50 µs", "p99", "p99.9", "max", "lowest–highest"];

/// SYNC for every number of threads and every engine.
pub fn run(args: &Args, limit: &mut Limit, report: &mut Report) -> Result<(), Failure> {
    println!("SYNC: every thread appends {RECORD} B, waits until durable, repeats.");
    println!(
        "One log an engine, open throughout: segments of 64 MiB, 4 spares. After every slice all is trimmed, and the next one\n\
         waits until the spares are whole and the device is quiet. {} rounds of {} ms a cell, L before every group of engines;\n\
         medians of the rounds, max of all. L: bare pwritev2(RWF_DSYNC), 4 KiB, O_DIRECT, depth 1, overwriting.\n",
        args.rounds,
        args.slice.as_millis()
    );
    const SEGMENT: u64 = 64 << 20;
    let mut scenes = Vec::new();
    for engine in &args.engines {
        let options = scene::options(*engine, SEGMENT, 4, args.allow_any_fs);
        match Scene::create(&args.dir, &format!("sync-{}", engine_name(*engine)), &options) {
            Ok(scene) => scenes.push((*engine, scene)),
            Err(error) if *engine != IoEngine::Auto && error.code == twal::base::Code::Unsupported => {
                println!("engine {}: not available: {error}", engine_name(*engine));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (engine, scene) in &scenes {
        let stats = scene.log.stats();
        println!("engine {}: {} ({})", engine_name(*engine), stats.engine, stats.engine_reason);
        scene.settle()?;
    }
    println!();

    let group = |_: &usize| (Cell::default(), scenes.iter().map(|_| Cell::default()).collect::<Vec<_>>());
    let mut groups: Vec<(Cell, Vec<Cell>)> = args.threads.iter().map(group).collect();
    let mut unsettled = 0;
    for round in 1..=args.rounds {
        for (threads, (limit_cell, cells)) in args.threads.iter().zip(&mut groups) {
            progress(&format!("round {round} of {}, {threads} threads", args.rounds));
            let bare = limit.durable_writes(args.slice)?;
            limit_cell.add_times(bare.0, &bare.1);
            for ((_, scene), cell) in scenes.iter().zip(cells) {
                cell.add(&slice(&scene.log, *threads, args.slice, false)?, &bare);
                unsettled += u32::from(!scene.settle()?); // L comes next, or another log: leave them the device
            }
        }
    }
    progress("");

    let mut rows = Vec::new();
    for (threads, (limit_cell, cells)) in args.threads.iter().zip(&groups) {
        let name = |engine: &str| vec![threads.to_string(), engine.to_owned()];
        rows.push([vec!["1".into(), "L".into()], limit_cell.speed_columns()].concat());
        limit_cell.json(report, "limit", 1, "bare", 0)?;
        for ((engine, _), cell) in scenes.iter().zip(cells) {
            rows.push([name(engine_name(*engine)), cell.speed_columns(), cell.cost_columns()].concat());
            cell.json(report, "sync", *threads, engine_name(*engine), SEGMENT)?;
        }
    }
    let heads = [
        ["threads", "engine"].as_slice(),
        &SPEED_HEADS,
        &["× L", "p50 × L's", "flushes/rec", "dev B/rec", "CPU µs/rec"],
    ];
    print_table(&heads.concat(), 2, &rows);
    println!();
    if unsettled > 0 {
        println!("in {unsettled} slices the spares were not ready at the start");
    }
    for (engine, scene) in &scenes {
        let total = scene.log.stats();
        println!(
            "{}: {} segments sealed, {} recycled, {} waits for a spare, {} for the ring; page cache: {}",
            engine_name(*engine),
            total.segments_sealed,
            total.segments_recycled,
            total.spare_waits,
            total.ring_waits,
            scene::page_cache(&scene.dir)
        );
    }
    Ok(())
}

/// Small segments beside usual ones, both with a trimmer at work.
pub fn rollover(args: &Args, limit: &mut Limit, report: &mut Report) -> Result<(), Failure> {
    println!(
        "Rollover: as SYNC, engine auto, while another thread trims all that is durable every 5 ms: segments of 2 MiB\n\
         (4 spares) beside segments of 64 MiB (2 spares). {} rounds of {} ms.\n",
        args.rounds,
        args.slice.as_millis()
    );
    const SIZES: [(u64, u64); 2] = [(2 << 20, 4), (64 << 20, 2)];
    const THREADS: [usize; 2] = [1, 8];
    let mut scenes = Vec::new();
    for (size, spares) in SIZES {
        let options = scene::options(IoEngine::Auto, size, spares, args.allow_any_fs);
        let scene = Scene::create(&args.dir, &format!("rollover-{}", size >> 20), &options)?;
        scene.settle()?;
        scenes.push(scene);
    }
    let mut cells: Vec<Cell> = (0..4).map(|_| Cell::default()).collect();
    for round in 1..=args.rounds {
        progress(&format!("round {round} of {}", args.rounds));
        let bare = limit.durable_writes(args.slice)?;
        for (t, threads) in THREADS.iter().enumerate() {
            for (s, scene) in scenes.iter().enumerate() {
                cells[t * 2 + s].add(&slice(&scene.log, *threads, args.slice, true)?, &bare);
                scene.settle()?;
            }
        }
    }
    progress("");
    let mut rows = Vec::new();
    for (t, threads) in THREADS.iter().enumerate() {
        for (s, (size, _)) in SIZES.iter().enumerate() {
            let cell = &cells[t * 2 + s];
            let rolls = [cell.total.sealed, cell.total.recycled, cell.total.spare_waits].map(|n| n.to_string());
            let name = vec![threads.to_string(), format!("{} MiB", size >> 20)];
            rows.push([name, cell.speed_columns(), rolls.to_vec()].concat());
            cell.json(report, "rollover", *threads, "auto", *size)?;
        }
    }
    let heads = [["threads", "segment"].as_slice(), &SPEED_HEADS, &["sealed", "recycled", "spare waits"]];
    print_table(&heads.concat(), 2, &rows);
    println!("\npage cache: {}", scene::page_cache(&scenes[0].dir));
    Ok(())
}
