//! The workloads: which jobs, who takes part, which table.

use std::time::Duration;

use crate::args::{Args, Workload};
use crate::bulk::{ALONE, CLOCK_EVERY};
use crate::cell::{self, Cell};
use crate::contest::{turns, Contender, Contest, Job, Load};
use crate::reading;
use crate::report::{fixed, grouped, micros, named, print_table, progress};
use crate::scene::{self, Failure};
use crate::slice::SEGMENT;
use crate::{calls, sys, tail, transacting};

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
        Workload::Fresh => fresh(contest),
        Workload::Batch => batches(contest),
        Workload::Replay => reading::replay(contest),
        Workload::Open => reading::open(contest),
        Workload::Rollover => rollover(contest),
        Workload::Idle => idle(contest),
        Workload::Tail => tail::tail(contest),
        Workload::Allocations => allocations(contest),
        Workload::Calls => calls::calls(contest),
        Workload::Sagas | Workload::Commits => transacting::operations(contest, workload),
        Workload::TxnReplay => transacting::replay(contest),
        Workload::Compaction => transacting::compaction(contest),
    }
}

/// About how many seconds it takes: slices, and what making and removing the logs takes on an ordinary disk.
pub fn estimate(args: &Args, workload: Workload, peers: usize) -> f64 {
    let (rounds, engines, peers) = (args.rounds as f64, args.engines.len() as f64, peers as f64);
    let slice = args.slice.as_secs_f64();
    // Beside each slice a log is opened or made, settled and left; then the device settles.
    let all = |jobs: usize, engines: f64, peers: f64, beside: f64| {
        jobs as f64 * rounds * (slice + 0.1 + (engines + peers) * (slice + 1.1 + beside))
    };
    let small = if args.quick { 0.1 } else { 1.0 };
    match workload {
        Workload::Sync => all(sync_jobs(args, false).len(), engines + 1.0, peers, 0.0),
        Workload::Loaded => all(sync_jobs(args, true).len(), engines + 1.0, peers, 0.5),
        Workload::Async => all(async_jobs(args).len(), 2.0, peers * UNFLUSHED.len() as f64, slice / 2.0),
        Workload::Offered => {
            let jobs = offered_jobs(args);
            let of_peers = |job: &Job| if job.no_peers { 0.0 } else { peers * (slice * 3.0 + 1.5) };
            rounds * jobs.iter().map(|job| slice + job.time.as_secs_f64() + 1.0 + of_peers(job)).sum::<f64>()
        }
        Workload::Steady => (rounds.min(STEADY_ROUNDS) * 10.0 + 2.0) * small,
        Workload::Fresh => (rounds.min(STEADY_ROUNDS) * 30.0 + 2.0) * small + rounds * (5.0 + peers * (slice + 1.0)),
        Workload::Batch => all(2, engines, peers, slice / 2.0),
        Workload::Replay => small * (9.0 + rounds * 7.5 + 2.0 * rounds.min(reading::PEER_REPLAYS) * peers * 9.0),
        Workload::Open => small * 15.0 + rounds * (1.5 + 4.0 * small),
        Workload::Rollover => rounds * 45.0 * small,
        Workload::Idle => idle_time(args).as_secs_f64() + 2.5,
        Workload::Tail => rounds * 12.0 * (slice * 3.0 + 1.5),
        Workload::Allocations | Workload::Calls => 5.0,
        Workload::Sagas | Workload::Commits => all(transacting::jobs(args, workload).len(), 2.0, 0.0, 0.0),
        Workload::TxnReplay => small * (10.0 + rounds.min(STEADY_ROUNDS) * 15.0),
        Workload::Compaction => small * rounds.min(STEADY_ROUNDS) * 25.0,
    }
}

/// More rounds would take longer than all the rest, and say no more.
pub const STEADY_ROUNDS: f64 = 3.0;

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
         depth 1, overwriting; 4 KiB, and for records of 64 KiB as much as they. Bare: the same by as many threads, 16 at most.\n\
         {} rounds of {} ms.\n",
        if loaded { "Loaded" } else { "SYNC" },
        if loaded { ", beside one spinning process pinned to each CPU" } else { "" },
        args.rounds,
        args.slice.as_millis()
    );
    let jobs = sync_jobs(args, loaded);
    let load = loaded.then(Load::start).transpose()?;
    let contenders = [vec![Contender::Limit, Contender::Bare], contest.engines(), contest.peers.clone()].concat();
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
    vec![Contender::Twal(usual_engine(contest.args))]
}

/// AUTO, if it is among those that are asked for.
pub fn usual_engine(args: &Args) -> IoEngine {
    if args.engines.contains(&IoEngine::Auto) {
        IoEngine::Auto
    } else {
        args.engines[0]
    }
}

/// How much peers leave unflushed in `async`: what suits one does not suit the other.
const UNFLUSHED: [usize; 3] = [4 << 20, 32 << 20, 256 << 20];

/// Every peer with each of `UNFLUSHED`.
fn peers_of_all_settings(peers: &[Contender]) -> Vec<Contender> {
    let set = |peer: &Contender, bytes: usize| match peer.clone() {
        Contender::Peer { name, version, .. } => Contender::Peer { name, version, unflushed: Some(bytes) },
        other => other,
    };
    peers.iter().flat_map(|peer| UNFLUSHED.map(|bytes| set(peer, bytes))).collect()
}

fn asynchronous(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!(
        "Async: producers that do not wait; the clock stops when all is durable. twal is trimmed every 5 ms; it is told one record a\n\
         call, and, in a line of its own, {CLOCK_EVERY}: peers are told many together, but nodedb-wal.\n\
         Peers flush every 4, 32 and 256 MiB; of each the best of the three stays.\n\
         L: bare durable writes of 1 MiB; × L in bytes of records. {} rounds of {} ms.\n",
        args.rounds,
        args.slice.as_millis()
    );
    let jobs = async_jobs(args);
    let batched = vec![Contender::Batched(usual_engine(args))];
    let contenders = [vec![Contender::Limit], auto(contest), batched, peers_of_all_settings(&contest.peers)].concat();
    let mut table = contest.rounds("async", &jobs, &contenders, args.rounds)?;
    table.iter_mut().for_each(cell::keep_best_setting);
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

/// Segments that were never used: without a trim none comes back.
fn fresh(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let payload: u64 = if args.quick { 512 << 20 } else { 16 << 30 };
    println!(
        "Fresh: nothing is trimmed, so every segment is a new file, whose blocks are zeroed first. One producer, {} MiB of 1 KiB\n\
         records that nobody waits for, beside bare durable writes of 1 MiB; and SYNC with 8 threads, segments of 8 MiB.\n",
        payload >> 20
    );
    need_room(args, payload + payload / 1024 * 48)?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let stream = [Job {
        slice: "async",
        threads: 1,
        bytes: 1024,
        time: Duration::from_secs(600), // of L no more than of a slice; twal ends with its count
        twal_words: words(&["--how", "fresh", "--count", &(payload / 1024).to_string()]),
        bare_size: Some(sys::MIB),
        ..Job::default()
    }];
    let contenders = [vec![Contender::Limit], auto(contest)].concat();
    let table = contest.rounds("fresh", &stream, &contenders, args.rounds.min(STEADY_ROUNDS as usize))?;
    contest.show("fresh", &stream, &table)?;
    println!();
    // By its records, not by its time: as many as fill several segments.
    let records = if args.quick { "4000" } else { "15000" };
    let groups = [Job {
        slice: "sync",
        threads: 8,
        bytes: 128,
        time: args.slice,
        twal_words: words(&["--how", "fresh", "--seconds", "60", "--count", records, "--segment", "8388608"]),
        bare_size: Some(BLOCK),
        ..Job::default()
    }];
    let contenders = [vec![Contender::Limit], auto(contest), contest.peers.clone()].concat();
    let table = contest.rounds("fresh", &groups, &contenders, args.rounds)?;
    contest.show("fresh", &groups, &table)
}

fn offered_jobs(args: &Args) -> Vec<Job> {
    let job = |pace: &str, threads, bytes, rate, time| Job {
        slice: "offered",
        threads,
        bytes,
        time,
        rate: Some(rate),
        how: Some(pace.to_owned()),
        twal_words: vec!["--how".into(), pace.to_owned()],
        bare_size: Some(BLOCK),
        // Of theirs one thread writes, flushes, and never sleeps.
        no_peers: pace != ALONE,
    };
    let some = args.slice * 3;
    let mut jobs = Vec::new();
    for (pace, bytes) in args.paces.iter().flat_map(|pace| args.bytes.iter().map(move |bytes| (pace, bytes))) {
        for rate in &args.rates {
            // The one with a target runs long enough to roll over many segments.
            let time = if (*bytes, *rate) == (128, 1_000_000) { args.slice * 30 } else { some };
            jobs.push(job(pace, 1, *bytes, *rate, time));
        }
        let usual = args.rates.iter().filter(|rate| pace != ALONE && [100_000, 1_000_000].contains(*rate));
        jobs.extend(usual.map(|rate| job(pace, 2, *bytes, *rate, some)));
    }
    jobs
}

fn offered(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!(
        "Offered: records come at a given rate, whatever the log does; times from when a record was due until the durable\n\
         mark has it. Alone, and peers: one thread that writes all that is due, flushes it, and does so again, never asleep. Spin, sleep:\n\
         GROUP with a delay of 1 µs, so the device sets the pace. Trimmed every 5 ms. p50 × L's: L is 4 KiB, depth 1. {} rounds.\n",
        args.rounds
    );
    let jobs = offered_jobs(args);
    let contenders = [vec![Contender::Limit], auto(contest), contest.peers.clone()].concat();
    let table = contest.rounds("offered", &jobs, &contenders, args.rounds)?;
    contest.show("offered", &jobs, &table)?;
    println!("\nHow late the records were offered (in the times above): p50, p99 µs");
    for (job, cells) in jobs.iter().zip(&table) {
        if job.how.as_deref() == Some(ALONE) {
            continue; // it is late by its flushes
        }
        for cell in cells.iter().filter(|cell| matches!(cell.contender, Contender::Twal(_))) {
            let late = ["offered_late_p50_us", "offered_late_p99_us"].map(|name| micros(cell.value(name)));
            println!(
                "{}, {} × {} B at {}/s: {}",
                job.how.as_deref().unwrap_or(""),
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

pub fn need_room(args: &Args, bytes: u64) -> Result<(), Failure> {
    let (need, free) = ((bytes + 8 * SEGMENT) >> 20, sys::free_bytes(&args.dir)? >> 20);
    if free < need {
        return Err(format!("{need} MiB are needed in {}, {free} are free", args.dir.display()).into());
    }
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
    // The bare device, then the kinds.
    let mut cells = vec![Cell::new(Contender::Limit)];
    cells.extend(kinds.iter().map(|_| Cell::new(auto(contest)[0].clone())));
    let bare_job = Job { slice: "sync", time: args.slice, bare_size: Some(BLOCK), ..Job::default() };
    for round in 1..=args.rounds {
        for at in turns(cells.len(), round) {
            let cell = &mut cells[at];
            let Some(kind) = at.checked_sub(1).map(|at| &kinds[at]) else {
                cell.add(&contest.slice(&Contender::Limit, &bare_job)?);
                continue;
            };
            progress(&format!("rollover: round {round} of {}, {}, {} threads", args.rounds, kind.how, kind.threads));
            let mut words = ["--threads", &kind.threads.to_string(), "--bytes", &kind.bytes.to_string()]
                .map(str::to_owned)
                .to_vec();
            words.extend(["--segment".to_owned(), kind.segment.to_string()]);
            words.extend(kind.more.iter().cloned());
            cell.add(&contest.twal("rollover", &args.dir, &words)?);
            contest.settle.settle()?;
        }
    }
    progress("");
    cell::relate_ratio(&mut cells, 0, "crossing_p50_to_limit", ("crossing_p50_us", "p50_us"));
    cell::relate_ratio(&mut cells, 1, "p999_to_without", ("p999_us", "p999_us"));
    let bare = cells[0].value("p50_us");
    let mut rows = vec![];
    for (kind, cell) in kinds.iter().zip(&cells[1..]) {
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
            fixed(value("crossing_p50_to_limit"), 2),
            micros(value("crossing_max_us")),
            grouped(value("segments_sealed")),
            grouped(value("segments_recycled")),
            grouped(value("spare_waits")),
            grouped(value("page_cache_pages")),
        ]);
        let mut fields =
            named([("how", kind.how.into()), ("threads", kind.threads.into()), ("bytes", kind.bytes.into())]);
        fields.extend(named([("segment_bytes", kind.segment.into()), ("limit_p50_us", bare.into())]));
        fields.push(("rounds".to_owned(), args.rounds.into()));
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

fn allocations(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!("Allocations: by all threads of the process while one appends, after open and 2,000 appends.\n");
    let line = contest.twal("allocations", &args.dir, &[])?;
    let row = [grouped(line.number("records")), grouped(line.number("allocations"))];
    print_table(&["appends", "allocations"], 0, &[row.to_vec()]);
    let mut cell = Cell::new(Contender::Twal(IoEngine::Auto));
    cell.add(&line);
    Ok(contest.results.put("allocations", cell.fields())?)
}
