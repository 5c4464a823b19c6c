//! The workloads about transactions: `sagas`, `commits2pc`, `txn_replay` and `compaction`.

use std::time::Duration;

use crate::args::{Args, Workload};
use crate::cell::{self, Cell};
use crate::contest::{turns, Contender, Contest, Job, Scratch};
use crate::driver::{need_room, usual_engine, STEADY_ROUNDS};
use crate::json::Json;
use crate::limit;
use crate::reading::log_files;
use crate::report::{fixed, grouped, micros, named, print_table, progress};
use crate::scene::Failure;
use crate::slice::SEGMENT;
use crate::sys;
use crate::txn::{Operation, Waits};

/// Threads that each carry out one operation after the other.
const COORDINATORS: [usize; 3] = [1, 8, 64];

fn operation_of(workload: Workload) -> Operation {
    match workload {
        Workload::Sagas => Operation::Saga,
        _ => Operation::Commit,
    }
}

/// What is measured of sagas, or of two-phase commits.
pub fn jobs(args: &Args, workload: Workload) -> Vec<Job> {
    let job = |threads, waits: Waits| Job {
        slice: workload.name(),
        threads,
        bytes: operation_of(workload).bytes(),
        time: args.slice,
        how: Some(waits.name().to_owned()),
        twal_words: ["--how", waits.name()].map(str::to_owned).to_vec(),
        bare_size: Some(sys::BLOCK),
        ..Job::default()
    };
    COORDINATORS.iter().flat_map(|threads| [Waits::Calls, Waits::Decisions].map(|waits| job(*threads, waits))).collect()
}

pub fn operations(contest: &mut Contest<'_>, workload: Workload) -> Result<(), Failure> {
    let args = contest.args;
    let what = match operation_of(workload) {
        Operation::Saga => "Sagas of 3 steps, 9 records, told in 5 calls of which 1 is a decision",
        Operation::Commit => {
            "Two-phase commits of 3 participants, 10 records, told in 7 calls of which 3 are decisions"
        }
    };
    println!(
        "{what}; each coordinator is a thread that carries out one after the other, in a log in mode SYNC. Waited for: every\n\
         call, or decisions only, the rest with TWAL_APPEND_NO_SYNC. Bare appends: as many records, batches and waits, without a\n\
         manager. L: bare durable writes of 4 KiB. Checkpoints every 1,000 events. {} rounds of {} ms.\n",
        args.rounds,
        args.slice.as_millis()
    );
    let jobs = jobs(args, workload);
    let engine = usual_engine(args);
    let contenders = [Contender::Limit, Contender::Twal(engine), Contender::Appends(engine)];
    let table = contest.rounds(workload.name(), &jobs, &contenders, args.rounds)?;
    let mut rows = Vec::new();
    for (job, cells) in jobs.iter().zip(&table) {
        for cell in cells {
            let value = |name: &str| cell.value(name);
            // What a bare write of a block is beside appends says nothing.
            let is_bare = matches!(cell.contender, Contender::Limit);
            let beside = |name: &str| if is_bare { "–".into() } else { fixed(value(name), 2) };
            let mut row = vec![job.how.clone().unwrap_or_default(), cell.contender.name(), job.threads.to_string()];
            row.push(grouped(value("per_second")));
            row.extend(["p50_us", "p99_us", "max_us"].map(|name| micros(value(name))));
            row.extend(["rate_to_appends", "p50_to_appends", "rate_to_limit"].map(beside));
            row.push(fixed(value("flushes_per_record"), 3));
            row.push(fixed(value("cpu_us_per_record"), 1));
            row.push(fixed(value("peak_rss_kib") / 1024.0, 1));
            rows.push(row);
            let mut fields = named([("threads", job.threads.into()), ("bytes", job.bytes.into())]);
            fields.extend(job.how.as_ref().map(|how| ("how".to_owned(), how.as_str().into())));
            fields.push(("rounds".to_owned(), cell.all("per_second").len().into()));
            fields.extend(cell.fields());
            contest.results.put(workload.name(), fields)?;
        }
    }
    let mut heads = vec!["waited for", "who", "coordinators", "a second", "p50 µs", "p99", "max", "× appends"];
    heads.extend(["p50 × appends'", "× L", "flushes each", "CPU µs each", "peak MiB"]);
    print_table(&heads, 2, &rows);
    Ok(())
}

/// Events of the history that `txn_replay` and `compaction` have.
fn events(args: &Args) -> u64 {
    if args.quick {
        200_000
    } else {
        10_000_000
    }
}

/// About as many bytes as the log of so many events.
fn log_size(events: u64) -> u64 {
    events * 110
}

pub fn replay(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let (events, rounds) = (events(args), args.rounds.min(STEADY_ROUNDS as usize));
    println!(
        "Replay of transactions: twal_txn_recover() of {} events of sagas and two-phase commits, of which a few are not\n\
         finished, behind one checkpoint at the log's beginning: it is looked for from the end, so every record is read twice.\n\
         Beside it every record read once; and a bare sequential read of the same files, 1 MiB, depth 4. Opening, which reads\n\
         the last segment, is told apart. {rounds} rounds.\n",
        grouped(events as f64)
    );
    need_room(args, log_size(events))?;
    let log = Scratch::new(args, "txn-replay");
    progress("txn_replay: writing the events");
    let filled = contest.twal("txn_fill", &log.0, &["--count".to_owned(), events.to_string()])?;
    let (count, unfinished) = (filled.number("events"), filled.number("unfinished"));
    const HOWS: [&str; 3] = ["bare read", "read", "recover"];
    let mut cells = HOWS.map(|how| match how {
        "bare read" => Cell::new(Contender::Limit),
        _ => Cell::new(Contender::Twal(twal::base::options::IoEngine::Auto)),
    });
    let words = |how: &str| ["--how", how, "--count", &count.to_string()].map(str::to_owned);
    // How many bytes of the files are log, only a reader knows.
    let mut log_bytes = contest.twal("txn_replay", &log.0, &words("read"))?.number("log_bytes") as u64;
    for round in 1..=rounds {
        for at in turns(cells.len(), round) {
            let how = HOWS[at];
            progress(&format!("txn_replay: round {round} of {rounds}, {how}"));
            if how == "bare read" {
                let (read, took) = limit::read_files(&log_files(&log.0, log_bytes)?, 4)?;
                let rate = read as f64 / took.as_secs_f64();
                cells[at].add(&Json::Map(named([("log_bytes_per_second", rate.into())])));
            } else {
                let line = contest.twal("txn_replay", &log.0, &words(how))?;
                if how == "recover" && line.number("unfinished") != unfinished {
                    return Err(format!("{unfinished} operations are not finished, it says {line}").into());
                }
                log_bytes = line.number("log_bytes") as u64;
                cells[at].add(&line);
            }
            contest.settle.settle()?;
        }
    }
    progress("");
    cell::relate_ratio(&mut cells, 0, "rate_to_limit", ("log_bytes_per_second", "log_bytes_per_second"));
    cell::relate_ratio(&mut cells, 1, "rate_to_read", ("per_second", "per_second"));
    let mut rows = Vec::new();
    for (how, cell) in HOWS.iter().zip(&cells) {
        let value = |name: &str| cell.value(name);
        rows.push(vec![
            (*how).to_owned(),
            grouped(value("records")),
            grouped(value("log_bytes") / 1e6),
            grouped(value("per_second")),
            fixed(value("seconds"), 2),
            grouped(value("log_bytes_per_second") / 1e6),
            fixed(value("rate_to_limit"), 2),
            fixed(value("rate_to_read"), 2),
            fixed(value("cpu_us_per_record"), 3),
            fixed(value("open_us") / 1e3, 1),
            fixed(value("peak_rss_kib") / 1024.0, 1),
        ]);
        let mut fields = named([("how", (*how).into()), ("threads", 1usize.into()), ("bytes", 0usize.into())]);
        fields.push(("rounds".to_owned(), cell.all("log_bytes_per_second").len().into()));
        fields.extend(cell.fields());
        contest.results.put("txn_replay", fields)?;
    }
    let heads = [
        "how",
        "events",
        "log MB",
        "events/s",
        "seconds",
        "log MB/s",
        "× bare read",
        "× read",
        "CPU µs/event",
        "open ms",
        "peak MiB",
    ];
    print_table(&heads, 1, &rows);
    Ok(())
}

pub fn compaction(contest: &mut Contest<'_>) -> Result<(), Failure> {
    const APPENDERS: usize = 8;
    let args = contest.args;
    let (events, rounds) = (events(args), args.rounds.min(STEADY_ROUNDS as usize));
    let segment = if args.quick { 4 << 20 } else { SEGMENT };
    println!(
        "Compaction: {} events, of which a few are of operations that are not finished, compacted by call while {APPENDERS} threads\n\
         append 128 B and wait until it is durable; their times beside those without a compaction, in the same round. L: bare\n\
         durable writes of 4 KiB. {rounds} rounds.\n",
        grouped(events as f64)
    );
    need_room(args, log_size(events) * 2)?;
    // Of L no more than of a slice.
    let time = Duration::max(args.slice, Duration::from_millis(500));
    let job = Job {
        slice: "compaction",
        threads: APPENDERS,
        bytes: 128,
        time,
        twal_words: ["--count", &events.to_string(), "--segment", &segment.to_string()].map(str::to_owned).to_vec(),
        bare_size: Some(sys::BLOCK),
        ..Job::default()
    };
    let contenders = [Contender::Limit, Contender::Twal(usual_engine(args))];
    let mut table = contest.rounds("compaction", std::slice::from_ref(&job), &contenders, rounds)?;
    let cells = &mut table[0];
    let at = cells.len() - 1;
    for (name, own, other) in [
        ("p50_to_without", "p50_us", "without_p50_us"),
        ("p99_to_without", "p99_us", "without_p99_us"),
        ("rate_to_without", "per_second", "without_per_second"),
    ] {
        cell::relate_ratio(&mut cells[at..], 0, name, (own, other));
    }
    let cell = &cells[at];
    let value = |name: &str| cell.value(name);
    let beside = |what: &str, prefix: &str| {
        let figure = |name: &str| value(&format!("{prefix}{name}"));
        let mut row = vec![what.to_owned(), grouped(figure("per_second"))];
        row.extend(["p50_us", "p99_us", "p999_us", "max_us"].map(|name| micros(figure(name))));
        row
    };
    let rows = [beside("without", "without_"), beside("with", "")];
    print_table(&["compaction", "appends/s", "p50 µs", "p99", "p99.9", "max"], 1, &rows);
    println!(
        "p99 with ÷ without {}, L's p50 {} µs; {} MB of segments in {} s, {} MB/s, {} % of them saved",
        fixed(value("p99_to_without"), 2),
        micros(cells[0].value("p50_us")),
        grouped(value("compacted_bytes") / 1e6),
        fixed(value("seconds"), 2),
        grouped(value("compacted_bytes_per_second") / 1e6),
        fixed(value("saved_share") * 100.0, 1),
    );
    for cell in cells.iter() {
        let mut fields = named([("threads", job.threads.into()), ("bytes", job.bytes.into())]);
        fields.push(("rounds".to_owned(), cell.all("per_second").len().into()));
        fields.extend(cell.fields());
        contest.results.put("compaction", fields)?;
    }
    Ok(())
}
