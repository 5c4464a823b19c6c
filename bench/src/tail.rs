//! The workload `tail`: when a reader that waits sees a record that was acknowledged, in the writer's process and in
//! another one, and what the reader costs the writer.

use std::io::{BufWriter, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use twal::base::options::{Durability, IoEngine, Options};
use twal::{Code, Entry, How, IterOptions, Log};

use crate::cell::{self, Cell};
use crate::contest::{turns, Contender, Contest};
use crate::hist::Histogram;
use crate::json::Json;
use crate::report::{fixed, grouped, micros, named, print_table, progress};
use crate::scene::{Failure, Scene};
use crate::slice::{append, measure, Done, Payload, Spec};
use crate::sys;

/// Spares of the log: enough for what is written meanwhile.
const SPARES: u64 = 4;
/// The stream of the last record: readers end there.
const LAST: u64 = u64::MAX;
/// Who reads, and how they stand in the table.
const READERS: [(&str, &str); 3] = [("none", "nobody"), ("inside", "this process"), ("elsewhere", "another process")];

/// When each number was acknowledged, or seen, nanoseconds of the machine's monotonic clock; 0: not.
struct Times {
    first: u64,
    at_ns: Vec<AtomicU64>,
}

impl Times {
    fn new(first: u64, count: usize) -> Times {
        Times { first, at_ns: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    fn note(&self, seq: u64, at_ns: u64) {
        if let Some(slot) = seq.checked_sub(self.first).and_then(|at| self.at_ns.get(at as usize)) {
            slot.store(at_ns, Ordering::Relaxed);
        }
    }

    fn get(&self, seq: u64) -> u64 {
        seq.checked_sub(self.first)
            .and_then(|at| self.at_ns.get(at as usize))
            .map_or(0, |at| at.load(Ordering::Relaxed))
    }
}

/// Reads from `first` on until the last record, and gives each number with the time at which it was seen.
fn follow(log: &Log, first: u64, mut seen: impl FnMut(u64, u64) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut iter = log.iter_with(IterOptions { from_seq: first, ..IterOptions::default() })?;
    loop {
        let Some(record) = iter.wait_record(None)? else { return Err("a reader without an end ended".into()) };
        seen(record.seq, sys::monotonic_ns())?;
        if record.stream == LAST {
            return Ok(());
        }
    }
}

/// The reader in another process: numbers and times go to its output.
pub fn tailer(spec: &Spec) -> Result<Json, Failure> {
    let log = Log::open(&spec.dir, &Options { read_only: true, ..spec.options(SPARES) })?;
    let first = spec.count.ok_or("tailer needs --count, the first number")?;
    // What is durable is visible here with the mark that follows it.
    while log.read(first - 1, |_| ()).is_err_and(|error| error.code == Code::NotFound) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    out.write_all(&0u128.to_le_bytes())?;
    out.flush()?;
    follow(&log, first, |seq, at_ns| {
        out.write_all(&seq.to_le_bytes())?;
        Ok(out.write_all(&at_ns.to_le_bytes())?)
    })?;
    out.flush()?;
    Ok(Json::Null)
}

/// Starts that process, returns when it reads, and gives what it says to `seen` in `take`.
struct Elsewhere(std::process::Child);

impl Elsewhere {
    fn start(spec: &Spec, scene: &Scene, first: u64) -> Result<Elsewhere, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["slice", "tailer", "--dir"]).arg(&scene.dir).args(["--count", &first.to_string()]);
        if spec.allow_any_fs {
            command.arg("--allow-any-fs");
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut word = [0; 16];
        child.stdout.as_mut().ok_or("no output")?.read_exact(&mut word)?;
        Ok(Elsewhere(child))
    }

    fn take(mut self, seen: &Times) -> Result<(), Failure> {
        let mut said = Vec::new();
        self.0.stdout.take().ok_or("no output")?.read_to_end(&mut said)?;
        if !self.0.wait()?.success() {
            return Err("the reader elsewhere failed".into());
        }
        // Behind the last pair stands the line that every slice ends with.
        for pair in said.chunks_exact(16) {
            let word = |at: usize| u64::from_le_bytes(pair[at..at + 8].try_into().expect("8 bytes"));
            seen.note(word(0), word(8));
        }
        Ok(())
    }
}

/// Notes when each record was acknowledged, until `last` is.
fn note_acknowledged(log: &Log, acked: &Times, last: &AtomicU64) -> twal::base::Result<()> {
    let mut next = acked.first;
    while next <= last.load(Ordering::Acquire) {
        match log.wait(next, Some(10_000_000)) {
            Err(error) if error.code == Code::Timeout => continue,
            other => other?,
        }
        let (durable, now_ns) = (log.durable_seq(), sys::monotonic_ns());
        (next..=durable).for_each(|seq| acked.note(seq, now_ns));
        next = durable + 1;
    }
    Ok(())
}

/// Records at `--rate` in small bursts, or without it appends that are waited for, as fast as they go.
fn write(spec: &Spec, log: &Log, thread: u64, start: Instant) -> twal::base::Result<u64> {
    let mut payload = Payload::new(spec.bytes);
    let mut records = 0;
    match spec.rate {
        Some(rate) => {
            sys::sleep_precisely();
            while start.elapsed() < spec.time {
                let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
                while records < due {
                    append(log, payload.numbered(records), thread, How::default())?;
                    records += 1;
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        None => {
            while start.elapsed() < spec.time {
                append(log, payload.numbered(records), thread, crate::scene::SYNC)?;
                records += 1;
            }
        }
    }
    Ok(records)
}

/// One slice: `--how none|inside|elsewhere`.
pub fn slice(spec: &Spec) -> Result<Json, Failure> {
    let options = Options {
        durability: Some(Durability::Group),
        batch_records: u64::MAX,
        batch_delay_us: 1,
        ..spec.options(SPARES)
    };
    let scene = Scene::in_use(&spec.dir, "tail", &options)?;
    let log = &scene.log;
    crate::bulk::pour(log, &mut Payload::new(spec.bytes), 0, 1000, 0)?;
    log.sync(0)?;
    let first = log.last_seq() + 1;
    let most = (spec.rate.unwrap_or(1_000_000) as f64 * spec.time.as_secs_f64() * 1.5) as usize + 10_000;
    let (acked, seen) = (Times::new(first, most), Times::new(first, most));
    let elsewhere = if spec.how == "elsewhere" { Some(Elsewhere::start(spec, &scene, first)?) } else { None };
    let (last, failed) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
    measure(spec, &scene, |start| {
        let done = std::thread::scope(|scope| -> Result<Done, Failure> {
            let reader = (spec.how == "inside").then(|| {
                scope.spawn(|| {
                    let noted = follow(log, first, |seq, at_ns| {
                        seen.note(seq, at_ns);
                        Ok(())
                    });
                    failed.fetch_or(noted.is_err(), Ordering::Relaxed);
                })
            });
            let taker = elsewhere.map(|child| {
                let (seen, failed) = (&seen, &failed);
                scope.spawn(move || failed.fetch_or(child.take(seen).is_err(), Ordering::Relaxed))
            });
            let waiter = spec.rate.map(|_| scope.spawn(|| note_acknowledged(log, &acked, &last)));
            let writers: Vec<_> =
                (0..spec.threads as u64).map(|thread| scope.spawn(move || write(spec, log, thread, start))).collect();
            let shares: twal::base::Result<Vec<u64>> =
                writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).collect();
            let took = start.elapsed();
            let end = Entry { data: b"", stream: LAST, timestamp: None, kind: 0x0100, required: false };
            last.store(log.append(&end, crate::scene::SYNC)?, Ordering::Release);
            if let Some(waiter) = waiter {
                waiter.join().expect("the waiter does not panic")?;
            }
            if let Some(reader) = reader {
                reader.join().expect("the reader does not panic");
            }
            if let Some(taker) = taker {
                taker.join().expect("the taker does not panic");
            }
            let shares = shares?;
            Ok(Done { records: shares.iter().sum(), took, times: None, shares, more: Vec::new() })
        })?;
        if failed.load(Ordering::Relaxed) {
            return Err("the reader failed".into());
        }
        let mut times = Histogram::new();
        let mut missing = 0;
        for seq in first..last.load(Ordering::Relaxed) {
            match (acked.get(seq), seen.get(seq)) {
                (0, _) => (),
                (_, 0) => missing += 1,
                (acked, seen) => times.add(seen.saturating_sub(acked)),
            }
        }
        if missing > 0 && spec.how != "none" {
            return Err(format!("{missing} records were not seen").into());
        }
        Ok(Done { times: (times.count() > 0).then_some(times), ..done })
    })
}

/// What is asked of the writer.
struct Load {
    rate: Option<u64>,
    threads: usize,
    name: &'static str,
}

const LOADS: [Load; 4] = [
    Load { rate: Some(100_000), threads: 1, name: "100,000/s" },
    Load { rate: Some(20), threads: 1, name: "20/s" },
    Load { rate: None, threads: 1, name: "1 thread that waits" },
    Load { rate: None, threads: 8, name: "8 threads that wait" },
];

pub fn tail(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!(
        "Tail: a reader that waits for each record, in the writer's process and in another one; times from when a record was\n\
         acknowledged until the reader has it. GROUP with a delay of 1 µs; an idle log marks its end after 10 ms. And appends that are\n\
         waited for, as fast as they go, with and without the reader. 128 B, {} rounds.\n",
        args.rounds
    );
    let mut rows = Vec::new();
    for load in &LOADS {
        let mut cells: Vec<Cell> = READERS.iter().map(|_| Cell::new(Contender::Twal(IoEngine::Auto))).collect();
        for round in 1..=args.rounds {
            for at in turns(READERS.len(), round) {
                let (how, name) = READERS[at];
                progress(&format!("tail, {}: round {round} of {}, {name}", load.name, args.rounds));
                let seconds = (args.slice * 3).as_secs_f64().to_string();
                let mut words = vec!["--how", how, "--seconds", &seconds];
                let (threads, rate) = (load.threads.to_string(), load.rate.map(|rate| rate.to_string()));
                words.extend(["--threads", &threads]);
                words.extend(rate.iter().flat_map(|rate| ["--rate", rate]));
                let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
                cells[at].add(&contest.twal("tail", &args.dir, &words)?);
                contest.settle.settle()?;
            }
        }
        progress("");
        cell::relate_ratio(&mut cells, 0, "rate_to_alone", ("per_second", "per_second"));
        for ((how, name), cell) in READERS.iter().zip(&cells) {
            let timed = load.rate.is_some() && *how != "none";
            let time = |name: &str| if timed { micros(cell.value(name)) } else { "–".into() };
            rows.push(vec![
                load.name.to_owned(),
                (*name).to_owned(),
                grouped(cell.value("per_second")),
                fixed(cell.value("rate_to_alone"), 3),
                time("p50_us"),
                time("p99_us"),
                time("p999_us"),
                time("max_us"),
                fixed(cell.value("cpu_us_per_record"), 2),
            ]);
            let mut fields = named([("how", (*how).into()), ("load", load.name.into()), ("bytes", 128usize.into())]);
            fields.extend(named([("rounds", args.rounds.into()), ("threads", load.threads.into())]));
            fields.extend(cell.fields());
            contest.results.put("tail", fields)?;
        }
    }
    print_table(
        &["written", "reader", "records/s", "× alone", "p50 µs", "p99", "p99.9", "max", "CPU µs/rec"],
        2,
        &rows,
    );
    Ok(())
}
