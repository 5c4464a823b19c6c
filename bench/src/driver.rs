//! The workloads: which jobs, who takes part, which table.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::args::{Args, Workload};
use crate::contest::{Cell, Contender, Contest, Job, Load, Scratch};
use crate::json::Json;
use crate::limit;
use crate::logs::WRITER_LIVES;
use crate::report::{fixed, grouped, micros, print_table, progress};
use crate::scene::{self, Failure};
use crate::slice::SEGMENT;
use crate::sys;

use twal::base::options::IoEngine;

const BLOCK: usize = sys::BLOCK;

/// Runs one workload.  Its logs are kept from slice to slice and removed at its end.
pub fn run(contest: &mut Contest<'_>, workload: Workload) -> Result<(), Failure> {
    scene::remove_all(&contest.args.dir);
    let result = measure(contest, workload);
    scene::remove_all(&contest.args.dir);
    result
}

fn measure(contest: &mut Contest<'_>, workload: Workload) -> Result<(), Failure> {
    match workload {
        Workload::Sync | Workload::Loaded => sync(contest, workload),
        Workload::Async => asynchronous(contest),
        Workload::Offered => offered(contest),
        Workload::Steady => steady(contest),
        Workload::Batch => batches(contest),
        Workload::Replay => replay(contest),
        Workload::Open => open(contest),
        Workload::Rollover => rollover(contest),
        Workload::Idle => idle(contest),
    }
}

/// About how many seconds it takes: slices, and what making and removing the logs takes on an ordinary disk.
pub fn estimate(args: &Args, workload: Workload, peers: usize) -> f64 {
    let (rounds, engines, peers) = (args.rounds as f64, args.engines.len() as f64, peers as f64);
    let slice = args.slice.as_secs_f64();
    // Beside each slice a log is opened or made, settled and left.
    let all = |jobs: usize, engines: f64, beside: f64| {
        jobs as f64 * rounds * (slice + (engines + peers) * (slice + 0.9 + beside))
    };
    let small = if args.quick { 0.1 } else { 1.0 };
    match workload {
        Workload::Sync => all(sync_jobs(args, false).len(), engines, 0.0),
        Workload::Loaded => all(sync_jobs(args, true).len(), engines, 0.5),
        Workload::Async => all(async_jobs(args).len(), 1.0, slice / 2.0),
        Workload::Offered => {
            let jobs = offered_jobs(args);
            rounds * jobs.iter().map(|job| slice + job.time.as_secs_f64() + 1.0).sum::<f64>()
        }
        Workload::Steady => (rounds.min(STEADY_ROUNDS) * 10.0 + 2.0) * small,
        Workload::Batch => all(2, engines, slice / 2.0),
        Workload::Replay => 2.0 * small * (3.0 + rounds * 2.5 + rounds.min(PEER_REPLAYS) * peers * 9.0),
        Workload::Open => small * 15.0 + rounds * (1.5 + 4.0 * small),
        Workload::Rollover => rounds * 45.0 * small,
        Workload::Idle => idle_time(args).as_secs_f64() + 2.5,
    }
}

/// More rounds of them would take longer than all the rest, and say no more.
const PEER_REPLAYS: f64 = 3.0;
const STEADY_ROUNDS: f64 = 3.0;

fn sync_jobs(args: &Args, loaded: bool) -> Vec<Job> {
    let job = |threads, bytes, bare_size| Job {
        slice: "sync",
        threads,
        bytes,
        time: args.slice,
        bare_size: Some(bare_size),
        ..Job::default()
    };
    let mut jobs = Vec::new();
    for bytes in &args.bytes {
        jobs.extend(args.threads.iter().map(|threads| job(*threads, *bytes, BLOCK)));
    }
    if !loaded && args.threads.contains(&1) {
        jobs.push(job(1, 64 << 10, 64 << 10));
    }
    jobs
}

fn sync(contest: &mut Contest<'_>, workload: Workload) -> Result<(), Failure> {
    let loaded = workload == Workload::Loaded;
    let args = contest.args;
    println!(
        "{}: every thread appends a record, waits until it is durable, repeats{}. L: bare pwritev2(RWF_DSYNC), O_DIRECT,\n\
         depth 1, overwriting; 4 KiB, and for records of 64 KiB as much as they. {} rounds of {} ms.\n",
        if loaded { "Loaded" } else { "SYNC" },
        if loaded { ", beside one spinning process pinned to each CPU" } else { "" },
        args.rounds,
        args.slice.as_millis()
    );
    let jobs = sync_jobs(args, loaded);
    let load = loaded.then(Load::start).transpose()?;
    let contenders = [vec![Contender::Limit], contest.engines(), contest.peers.clone()].concat();
    let table = contest.rounds(workload.name(), &jobs, &contenders, args.rounds)?;
    drop(load);
    contest.show(workload.name(), &jobs, &table)
}

fn async_jobs(args: &Args) -> Vec<Job> {
    let mut jobs = Vec::new();
    for bytes in &args.bytes {
        for threads in [1, 2] {
            jobs.push(Job {
                slice: "async",
                threads,
                bytes: *bytes,
                time: args.slice,
                bare_size: Some(sys::MIB),
                ..Job::default()
            });
        }
    }
    jobs
}

/// twal chooses the engine here: that an engine can be forced matters to single writes.
fn auto(contest: &Contest<'_>) -> Vec<Contender> {
    let asked = contest.args.engines.contains(&IoEngine::Auto);
    vec![if asked { Contender::Twal(IoEngine::Auto) } else { Contender::Twal(contest.args.engines[0]) }]
}

fn asynchronous(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!(
        "Async: producers that do not wait; the clock stops when all is durable. twal is trimmed every 5 ms.\n\
         L: bare durable writes of 1 MiB; × L in bytes of records. {} rounds of {} ms.\n",
        args.rounds,
        args.slice.as_millis()
    );
    let jobs = async_jobs(args);
    let contenders = [vec![Contender::Limit], auto(contest), contest.peers.clone()].concat();
    let table = contest.rounds("async", &jobs, &contenders, args.rounds)?;
    contest.show("async", &jobs, &table)
}

fn steady(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let payload: u64 = if args.quick { 1 << 30 } else { 16 << 30 };
    println!(
        "Steady: one producer, {} GiB of 1 KiB records that nobody waits for, trimmed every 5 ms: segments come back.\n\
         L: bare durable writes of 1 MiB; × L in bytes of records.\n",
        payload >> 30
    );
    let jobs = [Job {
        slice: "async",
        threads: 1,
        bytes: 1024,
        time: Duration::from_secs(600), // of L no more than of a slice; twal ends with its count
        twal_words: ["--count", &(payload / 1024).to_string()].map(str::to_owned).to_vec(),
        bare_size: Some(sys::MIB),
        ..Job::default()
    }];
    let contenders = [vec![Contender::Limit], auto(contest)].concat();
    let table = contest.rounds("steady", &jobs, &contenders, args.rounds.min(STEADY_ROUNDS as usize))?;
    contest.show("steady", &jobs, &table)
}

fn offered_jobs(args: &Args) -> Vec<Job> {
    let job = |threads, bytes, rate, time| Job {
        slice: "offered",
        threads,
        bytes,
        time,
        rate: Some(rate),
        twal_words: vec!["--how".into(), args.pace.clone()],
        bare_size: Some(BLOCK),
    };
    let some = args.slice * 3;
    let mut jobs = Vec::new();
    for bytes in &args.bytes {
        for rate in &args.rates {
            // The one with a target runs long enough to roll over many segments.
            let time = if (*bytes, *rate) == (128, 1_000_000) { args.slice * 30 } else { some };
            jobs.push(job(1, *bytes, *rate, time));
        }
        let usual = args.rates.iter().filter(|rate| [100_000, 1_000_000].contains(*rate));
        jobs.extend(usual.map(|rate| job(2, *bytes, *rate, some)));
    }
    jobs
}

fn offered(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!(
        "Offered: records come at a given rate, whatever the log does; times from when a record was due until the durable\n\
         mark has it. GROUP with a delay of 1 µs, so the device sets the pace; trimmed every 5 ms. p50 × L's: L is 4 KiB, depth 1. {} rounds.\n",
        args.rounds
    );
    let jobs = offered_jobs(args);
    let contenders = [vec![Contender::Limit], auto(contest)].concat();
    let table = contest.rounds("offered", &jobs, &contenders, args.rounds)?;
    contest.show("offered", &jobs, &table)?;
    println!("\nHow late the records were offered (in the times above): p50, p99 µs");
    for (job, cells) in jobs.iter().zip(&table) {
        for cell in cells.iter().filter(|cell| matches!(cell.contender, Contender::Twal(_))) {
            let late = ["offered_late_p50_us", "offered_late_p99_us"].map(|name| micros(cell.value(name)));
            println!(
                "{} × {} B at {}/s: {}",
                job.threads,
                job.bytes,
                grouped(job.rate.unwrap_or(0) as f64),
                late.join(", ")
            );
        }
    }
    Ok(())
}

fn batches(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    // 1,000 records with 40 bytes in front of each, 128 in front of all, in whole blocks.
    let same_bytes = (1000 * (128 + 40) + 128usize).next_multiple_of(BLOCK);
    println!(
        "Batch1000: each producer appends 1,000 records of 128 B without a wait, then syncs, repeats; times are a batch's.\n\
         L: one bare durable write of the same bytes, {same_bytes}. {} rounds of {} ms.\n",
        args.rounds,
        args.slice.as_millis()
    );
    let job = |threads| Job {
        slice: "batch1000",
        threads,
        bytes: 128,
        time: args.slice,
        bare_size: Some(same_bytes),
        ..Job::default()
    };
    let jobs = [job(1), job(2)];
    let contenders = [vec![Contender::Limit], contest.engines(), contest.peers.clone()].concat();
    let table = contest.rounds("batch1000", &jobs, &contenders, args.rounds)?;
    contest.show("batch1000", &jobs, &table)
}

/// Files of a closed log and how far each is written.
fn log_files(dir: &std::path::Path, log_bytes: u64) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut left = log_bytes;
    let mut files = Vec::new();
    for (_, path, size) in scene::segments(dir)? {
        if left > 0 {
            files.push((path, size.min(left)));
            left = left.saturating_sub(size);
        }
    }
    Ok(files)
}

fn need_room(args: &Args, bytes: u64) -> Result<(), Failure> {
    let (need, free) = ((bytes + 8 * SEGMENT) >> 20, sys::free_bytes(&args.dir)? >> 20);
    if free < need {
        return Err(format!("{need} MiB are needed in {}, {free} are free", args.dir.display()).into());
    }
    Ok(())
}

fn replay(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let payload: u64 = if args.quick { 128 << 20 } else { 1 << 30 };
    println!(
        "Replay: {} MiB of records, written by batches of 1,000, read back in order, every one compared; opening included.\n\
         Beside a bare sequential read of the same files: O_DIRECT, 1 MiB, the better of depth 1 and 4. {} rounds, of peers\n\
         at most {PEER_REPLAYS}; theirs are written anew for each and dropped from the page cache.\n",
        payload >> 20,
        args.rounds
    );
    let mut rows = Vec::new();
    for bytes in [128u64, 4096] {
        let count = payload / bytes;
        need_room(args, payload + count * 48)?;
        let log = Scratch::new(args, "replay");
        let words = ["--bytes", &bytes.to_string(), "--count", &count.to_string()].map(str::to_owned);
        progress(&format!("replay: writing {} MiB", payload >> 20));
        contest.twal("fill", &log.0, &words)?;
        let mut cells = vec![Cell::new(Contender::Limit), Cell::new(Contender::Twal(IoEngine::Auto))];
        cells.extend(contest.peers.iter().cloned().map(Cell::new));
        // How many bytes of the files are log, only a reader knows.
        let mut log_bytes = contest.twal("replay", &log.0, &words)?.number("log_bytes") as u64;
        for round in 1..=args.rounds {
            for cell in &mut cells {
                let name = cell.contender.name();
                progress(&format!("replay of {bytes} B: round {round} of {}, {name}", args.rounds));
                match cell.contender.clone() {
                    Contender::Limit => {
                        let files = log_files(&log.0, log_bytes)?;
                        let rate = |depth| -> Result<f64, Failure> {
                            let (read, took) = limit::read_files(&files, depth)?;
                            Ok(read as f64 / took.as_secs_f64())
                        };
                        let (one, four) = (rate(1)?, rate(4)?);
                        let fields = [("depth_1", one), ("depth_4", four), ("log_bytes_per_second", one.max(four))];
                        cell.add(&Json::Map(fields.map(|(name, value)| (name.to_owned(), value.into())).to_vec()));
                    }
                    Contender::Twal(_) => {
                        let line = contest.twal("replay", &log.0, &words)?;
                        log_bytes = line.number("log_bytes") as u64;
                        cell.add(&line);
                    }
                    Contender::Peer { name, .. } if round as f64 <= PEER_REPLAYS => {
                        match contest.peer(&name, "replay", &words) {
                            Ok(line) => cell.add(&line),
                            Err(error) => println!("{name}, replay of {bytes} B: {error}"),
                        }
                    }
                    Contender::Peer { .. } => (),
                }
            }
        }
        progress("");
        let best = crate::contest::best_peer(&cells, "per_second");
        let bare = cells[0].value("log_bytes_per_second");
        for cell in &cells {
            let value = |name: &str| cell.value(name);
            let to_bare = value("log_bytes_per_second") / bare;
            rows.push(vec![
                bytes.to_string(),
                cell.contender.name(),
                grouped(value("per_second")),
                grouped(value("bytes_per_second") / 1e6),
                grouped(value("log_bytes_per_second") / 1e6),
                fixed(to_bare, 2),
                fixed(value("per_second") / best, 2),
                fixed(value("cpu_us_per_record"), 3),
                grouped(value("page_cache_pages")),
                fixed(value("peak_rss_kib") / 1024.0, 1),
            ]);
            let mut fields = vec![("threads", 1usize.into()), ("bytes", bytes.into())];
            fields.extend([
                ("rate_to_limit", to_bare.into()),
                ("rate_to_best_peer", (value("per_second") / best).into()),
            ]);
            fields.extend([("payload_bytes", payload.into()), ("rounds", args.rounds.into())]);
            fields.extend(cell.fields());
            contest.results.put("replay", fields)?;
        }
    }
    let heads = [
        "bytes",
        "who",
        "records/s",
        "payload MB/s",
        "log MB/s",
        "× bare read",
        "× best peer",
        "CPU µs/rec",
        "cached pages",
        "peak MiB",
    ];
    print_table(&heads, 2, &rows);
    Ok(())
}

/// Lets a writer write on in the log and kills it.
fn kill_a_writer(contest: &Contest<'_>, dir: &std::path::Path) -> Result<(), Failure> {
    let words = ["--bytes", "1024"].map(str::to_owned);
    let mut writer = contest.twal_command("writer", dir, &words)?.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let read = writer.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    std::thread::sleep(WRITER_LIVES);
    let alive = writer.try_wait()?.is_none();
    writer.kill()?;
    writer.wait()?;
    read.transpose()?;
    if line.trim() != "writing" || !alive {
        return Err("the writer that was to be killed ended by itself".into());
    }
    Ok(())
}

fn open(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let payload: u64 = if args.quick { 256 << 20 } else { 4 << 30 };
    println!(
        "Open: a log of {} MiB in records of 1 KiB: after a kill -9 of its writer, then cleanly closed; a new log. Beside a bare\n\
         direct read of the whole active segment (1 MiB, depth 1). {} rounds.\n",
        payload >> 20,
        args.rounds
    );
    need_room(args, payload + payload / 1024 * 48)?;
    let (log, new) = (Scratch::new(args, "open"), Scratch::new(args, "open-new"));
    progress(&format!("open: writing {} MiB", payload >> 20));
    let words = ["--bytes", "1024", "--count", &(payload / 1024).to_string()].map(str::to_owned);
    contest.twal("fill", &log.0, &words)?;
    const HOWS: [(&str, &str); 6] = [
        ("killed", "after kill -9"),
        ("clean", "cleanly closed"),
        ("new", "a new log"),
        ("read", "read-only"),
        ("verify", "read-only, verify all"),
        ("segment", "bare read of the active segment"),
    ];
    let mut cells: Vec<Cell> = HOWS.iter().map(|_| Cell::new(Contender::Twal(IoEngine::Auto))).collect();
    cells[5].contender = Contender::Limit;
    for round in 1..=args.rounds {
        for ((how, name), cell) in HOWS.iter().zip(&mut cells) {
            progress(&format!("open: round {round} of {}, {name}", args.rounds));
            let words = ["--how".to_owned(), (*how).to_owned()];
            match *how {
                "segment" => {
                    let (_, path, size) = scene::segments(&log.0)?.pop().ok_or("no segment")?;
                    let (_, took) = limit::read_files(&[(path, size)], 1)?;
                    cell.add(&Json::Map(vec![("open_us".into(), (took.as_secs_f64() * 1e6).into())]));
                }
                "verify" if round > 3 => (),
                _ => {
                    if *how == "killed" {
                        kill_a_writer(contest, &log.0)?;
                    }
                    let line = contest.twal("open", if *how == "new" { &new.0 } else { &log.0 }, &words)?;
                    if *how == "clean" && line.number("records") < (payload / 1024) as f64 {
                        return Err(format!("{} records written, open reports {line}", payload / 1024).into());
                    }
                    cell.add(&line);
                }
            }
        }
    }
    progress("");
    let mut rows = Vec::new();
    for ((how, name), cell) in HOWS.iter().zip(&cells) {
        let all = cell.all("open_us");
        let max = all.iter().copied().fold(f64::NAN, f64::max);
        rows.push(vec![
            (*name).to_owned(),
            micros(cell.value("open_us")),
            micros(max),
            micros(cell.value("open_us") - cells[5].value("open_us")),
            grouped(cell.value("segments")),
            grouped(cell.value("records")),
            grouped(cell.value("page_cache_pages")),
            fixed(cell.value("peak_rss_kib") / 1024.0, 1),
        ]);
        let mut fields = vec![("how", (*how).into()), ("payload_bytes", payload.into()), ("open_worst_us", max.into())];
        fields.extend([("rounds", all.len().into())]);
        fields.extend(cell.fields());
        contest.results.put("open", fields)?;
    }
    let heads = ["opened", "median µs", "max", "beyond the read", "segments", "records", "cached pages", "peak MiB"];
    print_table(&heads, 1, &rows);
    Ok(())
}

fn rollover(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let many: u64 = if args.quick { 5 } else { 50 };
    println!(
        "Rollover: as SYNC, engine auto, trimmed every 5 ms, so segments come back: over {many} segments of 64 MiB, as much time\n\
         without any, and 2 MiB segments. Crossing: appends that begin a segment. L: bare durable 4 KiB. {} rounds.\n",
        args.rounds
    );
    // Records of 16 KiB fill 64 MiB in a third of a second.  What does not cross a segment of 512 MiB is 470 MiB.
    struct Kind {
        how: &'static str,
        threads: usize,
        bytes: usize,
        segment: u64,
        more: [String; 4],
    }
    let seconds = if args.quick { "3" } else { "60" };
    let more = |flag: &str, value: u64| [flag.into(), value.to_string(), "--seconds".into(), seconds.into()];
    let small = (many * 4).max(20);
    let without = if args.quick { 8_000 } else { 24_000 };
    let kinds = [
        Kind { how: "without", threads: 1, bytes: 16 << 10, segment: 512 << 20, more: more("--count", without) },
        Kind { how: "64 MiB", threads: 1, bytes: 16 << 10, segment: 64 << 20, more: more("--segments", many) },
        Kind { how: "2 MiB", threads: 1, bytes: 128, segment: 2 << 20, more: more("--segments", small) },
        Kind { how: "2 MiB", threads: 8, bytes: 128, segment: 2 << 20, more: more("--segments", small) },
    ];
    let mut bare_cell = Cell::new(Contender::Limit);
    let mut cells: Vec<Cell> = kinds.iter().map(|_| Cell::new(auto(contest)[0].clone())).collect();
    let bare_job = Job { slice: "sync", time: args.slice, bare_size: Some(BLOCK), ..Job::default() };
    for round in 1..=args.rounds {
        let line = contest.slice(&Contender::Limit, &bare_job)?;
        bare_cell.add(&line);
        for (kind, cell) in kinds.iter().zip(&mut cells) {
            progress(&format!("rollover: round {round} of {}, {}, {} threads", args.rounds, kind.how, kind.threads));
            let mut words = ["--threads", &kind.threads.to_string(), "--bytes", &kind.bytes.to_string()]
                .map(str::to_owned)
                .to_vec();
            words.extend(["--segment".to_owned(), kind.segment.to_string()]);
            words.extend(kind.more.iter().cloned());
            cell.add(&contest.twal("rollover", &args.dir, &words)?);
        }
    }
    progress("");
    let bare = bare_cell.value("p50_us");
    let mut rows = vec![];
    for (kind, cell) in kinds.iter().zip(&cells) {
        let value = |name: &str| cell.value(name);
        rows.push(vec![
            kind.threads.to_string(),
            kind.bytes.to_string(),
            kind.how.to_owned(),
            grouped(value("per_second")),
            micros(value("p50_us")),
            micros(value("p99_us")),
            micros(value("p999_us")),
            micros(value("max_us")),
            grouped(value("crossings")),
            micros(value("crossing_p50_us")),
            fixed(value("crossing_p50_us") / bare, 2),
            micros(value("crossing_max_us")),
            grouped(value("segments_sealed")),
            grouped(value("segments_recycled")),
            grouped(value("spare_waits")),
            grouped(value("page_cache_pages")),
        ]);
        let mut fields = vec![("how", kind.how.into()), ("threads", kind.threads.into()), ("bytes", kind.bytes.into())];
        fields.extend([("segment_bytes", kind.segment.into()), ("limit_p50_us", bare.into())]);
        fields.extend([("p999_to_without", (value("p999_us") / cells[0].value("p999_us")).into())]);
        fields.extend([("rounds", args.rounds.into())]);
        fields.extend(cell.fields());
        contest.results.put("rollover", fields)?;
    }
    println!("L: p50 {} µs", micros(bare));
    let mut heads = vec!["thr", "bytes", "segments", "records/s", "p50 µs", "p99", "p99.9", "max", "crossings"];
    heads.extend(["crossing p50", "× L's p50", "crossing max", "sealed", "recycled", "spare waits", "cached pages"]);
    print_table(&heads, 3, &rows);
    Ok(())
}

fn idle_time(args: &Args) -> Duration {
    Duration::from_secs(if args.quick { 2 } else { 10 })
}

fn idle(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let time = idle_time(args);
    println!(
        "Idle: a log with usual options takes one record; after its mark nothing is wanted of it for {} s.\n",
        time.as_secs()
    );
    let words = ["--seconds".to_owned(), time.as_secs().to_string()];
    let line = contest.twal("idle", &args.dir, &words)?;
    let row = [
        fixed(line.number("rss_kib") / 1024.0, 1),
        fixed(line.number("rss_before_kib") / 1024.0, 1),
        grouped(line.number("threads_of_twal")),
        grouped(line.number("context_switches")),
        grouped(line.number("marks")),
    ];
    let heads = ["resident MiB", "before open", "twal's threads", "their context switches", "marks"];
    print_table(&heads, 0, &[row.to_vec()]);
    let mut cell = Cell::new(Contender::Twal(IoEngine::Auto));
    cell.add(&line);
    Ok(contest.results.put("idle", cell.fields())?)
}
