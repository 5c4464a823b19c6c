//! Rounds: in each, every contender in turn does one slice of every job, the bare device first.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use twal::base::options::IoEngine;

use crate::args::{engine_name, Args};
use crate::bulk::{BATCHED, CLOCK_EVERY};
use crate::cell::{compare_engines, compare_with_peers, relate, relate_ratio, Cell};
use crate::hist::Histogram;
use crate::json::Json;
use crate::limit::Limit;
use crate::report::{fixed, grouped, micros, named, print_table, progress, Results};
use crate::scene::Failure;
use crate::settle::Settle;
use crate::slice::put_times;
use crate::sys;

/// This very program, also when its file was replaced meanwhile.
const MYSELF: &str = "/proc/self/exe";

/// Who does a slice.
#[derive(Debug, Clone)]
pub enum Contender {
    /// The bare device.
    Limit,
    /// The same by as many threads as append, but no more than `BARE_THREADS_MAX`.
    Bare,
    Twal(IoEngine),
    /// The same, told many records in one call.
    Batched(IoEngine),
    /// twal without its transactions: the records of an operation, appended with as many waits.
    Appends(IoEngine),
    Peer {
        name: String,
        version: String,
        /// How many bytes all producers of `async` leave unflushed; None: what the peers' program takes.
        unflushed: Option<usize>,
    },
}

impl Contender {
    pub fn name(&self) -> String {
        match self {
            Contender::Limit => "L".into(),
            Contender::Bare => "bare, as many threads".into(),
            Contender::Twal(engine) => format!("twal {}", engine_name(*engine)),
            Contender::Batched(engine) => format!("twal {}, {CLOCK_EVERY} a call", engine_name(*engine)),
            Contender::Appends(_) => "bare appends".into(),
            Contender::Peer { name, .. } => name.clone(),
        }
    }

    /// What kind of contender, in results.
    pub fn class(&self) -> &'static str {
        match self {
            Contender::Limit => "limit",
            Contender::Bare => "bare",
            Contender::Twal(_) | Contender::Batched(_) => "twal",
            Contender::Appends(_) => "appends",
            Contender::Peer { .. } => "peer",
        }
    }
}

/// More bare threads do not make the device faster.
const BARE_THREADS_MAX: usize = 16;

/// One slice to be done by all.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// As both kinds of slices name it.
    pub slice: &'static str,
    pub threads: usize,
    pub bytes: usize,
    pub time: Duration,
    pub rate: Option<usize>,
    /// What tells apart jobs that are otherwise the same: the pace, or what is waited for.
    pub how: Option<String>,
    /// What only twal's slices are told.
    pub twal_words: Vec<String>,
    /// Size of the bare durable writes that it is compared with.
    pub bare_size: Option<usize>,
    /// Nothing that a peer does is the same.
    pub no_peers: bool,
}

impl Job {
    /// What a record, or an operation, counts in a comparison with a bare write: of async and batches, L is a write of
    /// another size, so bytes are what compares.
    fn units(&self) -> (f64, f64) {
        if ["sync", "sagas", "commits2pc"].contains(&self.slice) {
            return (1.0, 1.0);
        }
        (self.bytes as f64, self.bare_size.unwrap_or(1) as f64)
    }
}

/// All that a run has at hand.
pub struct Contest<'a> {
    pub args: &'a Args,
    pub limit: Limit,
    pub settle: Settle,
    pub peers: Vec<Contender>,
    pub results: Results,
}

impl Contest<'_> {
    /// The engines asked for.
    pub fn engines(&self) -> Vec<Contender> {
        self.args.engines.iter().map(|engine| Contender::Twal(*engine)).collect()
    }

    /// Runs a slice of twal's and gives what it says.
    pub fn twal(&self, slice: &str, dir: &Path, words: &[String]) -> Result<Json, Failure> {
        run_and_read(self.twal_command(slice, dir, words)?)
    }

    pub fn twal_command(&self, slice: &str, dir: &Path, words: &[String]) -> Result<Command, Failure> {
        let mut command = Command::new(MYSELF);
        command.args(["slice", slice, "--dir"]).arg(dir).args(words);
        if self.args.allow_any_fs {
            command.arg("--allow-any-fs");
        }
        Ok(command)
    }

    /// Runs a slice of a peer's.
    pub fn peer(&self, name: &str, slice: &str, words: &[String]) -> Result<Json, Failure> {
        let path = self.args.peers.as_deref().ok_or("no peers")?;
        let mut command = Command::new(path);
        command.args([name, slice, "--dir"]).arg(&self.args.dir).args(words);
        run_and_read(command)
    }

    /// Does one slice.  L's is done here: it needs nothing of a process of its own.
    pub fn slice(&mut self, contender: &Contender, job: &Job) -> Result<Json, Failure> {
        let mut words: Vec<String> =
            ["--threads", &job.threads.to_string(), "--bytes", &job.bytes.to_string()].map(str::to_owned).to_vec();
        let time = match contender {
            // Only `offered` is ever longer, for segments to roll that peers do not have.
            Contender::Peer { .. } => job.time.min(self.args.slice * 3),
            _ => job.time,
        };
        words.extend(["--seconds".to_owned(), time.as_secs_f64().to_string()]);
        if let Some(rate) = job.rate {
            words.extend(["--rate".to_owned(), rate.to_string()]);
        }
        match contender {
            Contender::Limit => {
                let size = job.bare_size.ok_or("there is no bare write for this")?;
                let (rate, times) = self.limit.durable_writes(size, job.time.min(self.args.slice))?;
                Ok(limit_line(rate, 1, size, &times))
            }
            Contender::Bare => {
                let size = job.bare_size.ok_or("there is no bare write for this")?;
                let threads = job.threads.min(BARE_THREADS_MAX);
                let (rate, times) = self.limit.durable_writes_of(threads, size, job.time.min(self.args.slice))?;
                Ok(limit_line(rate, threads, size, &times))
            }
            Contender::Twal(engine) | Contender::Batched(engine) | Contender::Appends(engine) => {
                words.extend(["--engine".to_owned(), engine_name(*engine).to_owned()]);
                words.extend(job.twal_words.iter().cloned());
                match contender {
                    Contender::Appends(_) => words.push("--bare".to_owned()),
                    Contender::Batched(_) => words.extend(["--how", BATCHED].map(str::to_owned)),
                    _ => (),
                }
                self.twal(job.slice, &self.args.dir, &words)
            }
            Contender::Peer { name, unflushed, .. } => {
                if let Some(bytes) = unflushed {
                    words.extend(["--unflushed".to_owned(), bytes.to_string()]);
                }
                self.peer(name, job.slice, &words)
            }
        }
    }

    /// All rounds of all jobs; each round begins with another contender, so that nobody always comes after the same.
    /// A peer that fails is said to and left out; twal must not fail.
    /// An engine that this machine does not have is left out, too.
    pub fn rounds(
        &mut self,
        what: &str,
        jobs: &[Job],
        contenders: &[Contender],
        rounds: usize,
    ) -> Result<Vec<Vec<Cell>>, Failure> {
        let takes_part = |job: &Job, who: &Contender| match who {
            Contender::Bare => job.threads > 1, // one is L itself
            Contender::Peer { .. } => !job.no_peers,
            _ => true,
        };
        let cells = |job: &Job| contenders.iter().filter(|who| takes_part(job, who)).cloned().map(Cell::new).collect();
        let mut table: Vec<Vec<Cell>> = jobs.iter().map(cells).collect();
        for round in 1..=rounds {
            for (job, cells) in jobs.iter().zip(&mut table) {
                let mut gone = Vec::new();
                for at in turns(cells.len(), round) {
                    let cell = &mut cells[at];
                    let name = cell.contender.name();
                    progress(&format!("{what}: round {round} of {rounds}, {} × {} B, {name}", job.threads, job.bytes));
                    match self.slice(&cell.contender.clone(), job) {
                        Ok(line) => cell.add(&line),
                        Err(error) if leave_out(&cell.contender, error.as_ref()) => {
                            progress("");
                            println!("{name}, {} × {} B: left out: {error}", job.threads, job.bytes);
                            gone.push(at);
                        }
                        Err(error) => return Err(format!("{name}: {error}").into()),
                    }
                    self.settle.settle()?;
                }
                gone.sort_unstable();
                gone.into_iter().rev().for_each(|at| drop(cells.remove(at)));
            }
        }
        progress("");
        for (job, cells) in jobs.iter().zip(&mut table) {
            compare(job, cells);
        }
        Ok(table)
    }

    /// Prints the table of all jobs and writes their lines.
    pub fn show(&mut self, kind: &str, jobs: &[Job], table: &[Vec<Cell>]) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for (job, cells) in jobs.iter().zip(table) {
            for cell in cells {
                let value = |name: &str| cell.value(name);
                let own = [job.threads.to_string(), job.bytes.to_string()];
                let is_bare = matches!(cell.contender, Contender::Limit | Contender::Bare);
                let mut row = if is_bare {
                    vec![grouped(value("write_threads")), job.bare_size.map_or("–".into(), |size| size.to_string())]
                } else {
                    own.to_vec()
                };
                row.extend(job.how.clone());
                if let Some(rate) = job.rate {
                    row.push(grouped(rate as f64));
                }
                row.push(cell.contender.name());
                row.push(grouped(value("per_second")));
                row.extend(["p50_us", "p99_us", "p999_us", "max_us"].map(|name| micros(value(name))));
                if matches!(cell.contender, Contender::Bare) {
                    row.push("–".into());
                    row.extend(["rate_to_limit", "p50_to_limit", "p99_to_limit"].map(|name| fixed(value(name), 2)));
                }
                if !is_bare {
                    row.push(fixed(value("slowest_to_fastest"), 2));
                    row.push(fixed(value("rate_to_limit"), 2));
                    row.push(fixed(value("p50_to_limit"), 2));
                    row.push(fixed(value("p99_to_limit"), 2));
                    row.push(fixed(value("rate_to_best_peer"), 2));
                    row.push(fixed(value("cpu_us_per_record"), 2));
                    row.push(fixed(value("device_bytes_per_record_byte"), 2));
                    row.push(fixed(value("flushes_per_record"), 4));
                    row.push(grouped(value("page_cache_pages")));
                    row.push(fixed(value("peak_rss_kib") / 1024.0, 1));
                    row.push(grouped(value("spare_waits")));
                }
                rows.push(row);
                let mut fields = named([("threads", job.threads.into()), ("bytes", job.bytes.into())]);
                fields.extend(job.rate.map(|rate| ("rate".to_owned(), rate.into())));
                fields.extend(job.how.as_ref().map(|how| ("how".to_owned(), how.as_str().into())));
                fields.push(("rounds".to_owned(), cell.all("per_second").len().into()));
                fields.extend(cell.fields());
                self.results.put(kind, fields)?;
            }
        }
        let mut heads = vec!["thr", "bytes", "who", "records/s", "p50 µs", "p99", "p99.9", "max", "slow/fast", "× L"];
        heads.extend([
            "p50 × L's",
            "p99 × L's",
            "× best peer",
            "CPU µs/rec",
            "dev B/B",
            "flushes/rec",
            "cached pages",
            "peak MiB",
        ]);
        heads.push("spare waits");
        let rated = jobs.first().is_some_and(|job| job.rate.is_some());
        if rated {
            heads.insert(2, "offered/s");
        }
        let paced = jobs.first().is_some_and(|job| job.how.is_some());
        if paced {
            heads.insert(2, "pace");
        }
        print_table(&heads, 3 + usize::from(rated) + usize::from(paced), &rows);
        Ok(())
    }
}

/// The order of a round: everybody moves up by one from round to round.
pub fn turns(contenders: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |turn| (turn + round - 1) % contenders)
}

/// All comparisons within a job, each in its rounds.
fn compare(job: &Job, cells: &mut [Cell]) {
    if let Some(at) = cells.iter().position(|cell| matches!(cell.contender, Contender::Limit)) {
        let (own, bare) = job.units();
        relate(cells, at, "rate_to_limit", ("per_second", "per_second"), |rate, limit| rate * own / (limit * bare));
        relate_ratio(cells, at, "p50_to_limit", ("p50_us", "p50_us"));
        relate_ratio(cells, at, "p99_to_limit", ("p99_us", "p99_us"));
        relate_ratio(cells, at, "p99_to_limit_p50", ("p99_us", "p50_us"));
    }
    if let Some(at) = cells.iter().position(|cell| matches!(cell.contender, Contender::Appends(_))) {
        relate_ratio(cells, at, "rate_to_appends", ("per_second", "per_second"));
        relate_ratio(cells, at, "p50_to_appends", ("p50_us", "p50_us"));
    }
    compare_with_peers(cells);
    compare_engines(cells);
}

/// An engine that cannot run here is no failure, and neither is a peer.
fn leave_out(contender: &Contender, error: &(dyn std::error::Error + Send + Sync)) -> bool {
    match contender {
        Contender::Peer { .. } => true,
        Contender::Twal(IoEngine::Uring) => error.to_string().contains("io_uring"),
        _ => false,
    }
}

fn limit_line(rate: f64, threads: usize, size: usize, times: &Histogram) -> Json {
    let mut fields = vec![("per_second".to_owned(), Json::Number(rate))];
    fields.push(("records".to_owned(), times.count().into()));
    fields.push(("bytes_per_second".to_owned(), Json::Number(rate * size as f64)));
    fields.push(("write_bytes".to_owned(), size.into()));
    fields.push(("write_threads".to_owned(), threads.into()));
    put_times(|name, value| fields.push((name.to_owned(), Json::Number(value))), "", times);
    Json::Map(fields)
}

/// Runs a process that prints one JSON line.
fn run_and_read(mut command: Command) -> Result<Json, Failure> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(
            format!("{} ({})", why.trim().lines().next_back().unwrap_or("no reason given"), output.status).into()
        );
    }
    Ok(Json::parse(text.lines().last().unwrap_or_default())?)
}

/// The peers that can run here, after what `--list` says; the others and why not are printed.
pub fn list_peers(args: &Args) -> Result<Vec<Contender>, Failure> {
    let Some(path) = &args.peers else {
        println!("peers: not built, make bench-peers");
        return Ok(Vec::new());
    };
    let output = Command::new(path).arg("--list").output().map_err(|error| format!("{}: {error}", path.display()))?;
    let mut peers = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let (Some(name), Some(version)) = (fields.next(), fields.next()) else { continue };
        if args.only_peers.as_ref().is_some_and(|only| !only.contains(&name)) {
            continue;
        }
        if version == "-" {
            println!("peers: {name} cannot run here: {}", fields.next().unwrap_or_default());
        } else {
            peers.push(Contender::Peer { name, version, unflushed: None });
        }
    }
    let names: Vec<String> = peers
        .iter()
        .map(|peer| match peer {
            Contender::Peer { name, version, .. } => format!("{name} {version}"),
            other => other.name(),
        })
        .collect();
    println!("peers: {}", names.join(", "));
    Ok(peers)
}

/// A spinning process pinned to each CPU, until it is dropped.
pub struct Load(Vec<Child>);

impl Load {
    pub fn start() -> Result<Load, Failure> {
        let mut load = Load(Vec::new());
        for cpu in sys::allowed_cpus() {
            let spinner = Command::new(MYSELF).args(["slice", "spin", &cpu.to_string()]).spawn()?;
            load.0.push(spinner);
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for spinner in &mut self.0 {
            let _ = spinner.kill(); // it may be gone already
            let _ = spinner.wait();
        }
    }
}

/// A directory that is removed when dropped; what an earlier run left there is removed first.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(args: &Args, name: &str) -> Self {
        let dir = args.dir.join(format!("twal-bench-scratch-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what is left is removed by the next run
    }
}
