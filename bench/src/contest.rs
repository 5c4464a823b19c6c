//! Rounds: in each, every contender in turn does one slice of every job, the bare device first.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use twal::base::options::IoEngine;

use crate::args::{engine_name, Args};
use crate::hist::Histogram;
use crate::json::Json;
use crate::limit::Limit;
use crate::report::{fixed, grouped, median, micros, print_table, progress, Figures, Results};
use crate::scene::Failure;
use crate::slice::put_times;
use crate::sys;

/// This very program, also when its file was replaced meanwhile.
const MYSELF: &str = "/proc/self/exe";

/// Who does a slice.
#[derive(Debug, Clone)]
pub enum Contender {
    /// The bare device.
    Limit,
    Twal(IoEngine),
    Peer {
        name: String,
        version: String,
    },
}

impl Contender {
    pub fn name(&self) -> String {
        match self {
            Contender::Limit => "L".into(),
            Contender::Twal(engine) => format!("twal {}", engine_name(*engine)),
            Contender::Peer { name, .. } => name.clone(),
        }
    }

    /// What kind of contender, in results.
    fn class(&self) -> &'static str {
        match self {
            Contender::Limit => "limit",
            Contender::Twal(_) => "twal",
            Contender::Peer { .. } => "peer",
        }
    }
}

/// One slice to be done by all.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// As both kinds of slices name it.
    pub slice: &'static str,
    pub threads: usize,
    pub bytes: usize,
    pub time: Duration,
    pub rate: Option<usize>,
    /// What only twal's slices are told.
    pub twal_words: Vec<String>,
    /// Size of the bare durable writes that it is compared with.
    pub bare_size: Option<usize>,
}

/// What one contender did of one job, round by round.
pub struct Cell {
    pub contender: Contender,
    rounds: Vec<Figures>,
    /// The last slice's texts: engine, configuration.
    texts: Vec<(String, String)>,
}

impl Cell {
    pub fn new(contender: Contender) -> Self {
        Cell { contender, rounds: Vec::new(), texts: Vec::new() }
    }

    /// Takes what a slice said.
    pub fn add(&mut self, line: &Json) {
        let mut figures = Figures::new();
        let Json::Map(fields) = line else { return };
        self.texts.clear();
        for (name, value) in fields {
            match value {
                Json::Number(number) => {
                    figures.insert(name.clone(), *number);
                }
                Json::Text(text) if ["engine", "engine_reason", "configuration", "tail"].contains(&name.as_str()) => {
                    self.texts.push((name.clone(), text.clone()));
                }
                _ => (),
            }
        }
        if let (Some(flushes), Some(records)) = (figures.get("flushes"), figures.get("records")) {
            figures.insert("flushes_per_record".into(), flushes / records);
        }
        self.rounds.push(figures);
    }

    fn set_last(&mut self, name: &str, value: f64) {
        if let Some(round) = self.rounds.last_mut().filter(|_| value.is_finite()) {
            round.insert(name.to_owned(), value);
        }
    }

    pub fn last(&self, name: &str) -> f64 {
        self.rounds.last().and_then(|round| round.get(name).copied()).unwrap_or(f64::NAN)
    }

    pub fn all(&self, name: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.get(name).copied()).collect()
    }

    /// The median of the rounds; of maxima the greatest; NaN of what was not measured.
    pub fn value(&self, name: &str) -> f64 {
        let all = self.all(name);
        if name.ends_with("max_us") {
            return all.into_iter().fold(f64::NAN, f64::max);
        }
        median(&all)
    }

    /// The fields of its line in the results.
    pub fn fields(&self) -> Vec<(&str, Json)> {
        let mut fields = vec![("contender", self.contender.name().into()), ("class", self.contender.class().into())];
        if let Contender::Peer { version, .. } = &self.contender {
            fields.push(("version", version.as_str().into()));
        }
        let mut names: Vec<&str> = self.rounds.iter().flat_map(|round| round.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        // What the job says already.
        names.retain(|name| !["threads", "bytes", "rate"].contains(name));
        fields.extend(names.iter().map(|name| (*name, self.value(name).into())));
        fields.extend(self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str().into())));
        let rates = self.all("per_second").into_iter().map(Json::Number).collect();
        fields.push(("rounds_per_second", Json::List(rates)));
        fields
    }
}

/// The fastest of the peers, by `name`; NaN if there is none.
pub fn best_peer(cells: &[Cell], name: &str) -> f64 {
    let peers = cells.iter().filter(|cell| matches!(cell.contender, Contender::Peer { .. }));
    peers.map(|cell| cell.value(name)).fold(f64::NAN, f64::max)
}

/// All that a run has at hand.
pub struct Contest<'a> {
    pub args: &'a Args,
    pub limit: Limit,
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
        words.extend(["--seconds".to_owned(), job.time.as_secs_f64().to_string()]);
        if let Some(rate) = job.rate {
            words.extend(["--rate".to_owned(), rate.to_string()]);
        }
        match contender {
            Contender::Limit => {
                let size = job.bare_size.ok_or("there is no bare write for this")?;
                let (rate, times) = self.limit.durable_writes(size, job.time.min(self.args.slice))?;
                Ok(limit_line(rate, size, &times))
            }
            Contender::Twal(engine) => {
                words.extend(["--engine".to_owned(), engine_name(*engine).to_owned()]);
                words.extend(job.twal_words.iter().cloned());
                self.twal(job.slice, &self.args.dir, &words)
            }
            Contender::Peer { name, .. } => self.peer(name, job.slice, &words),
        }
    }

    /// All rounds of all jobs.  A peer that fails is said to and left out; twal must not fail.
    /// An engine that this machine does not have is left out, too.
    pub fn rounds(
        &mut self,
        what: &str,
        jobs: &[Job],
        contenders: &[Contender],
        rounds: usize,
    ) -> Result<Vec<Vec<Cell>>, Failure> {
        let cells = |_: &Job| contenders.iter().map(|contender| Cell::new(contender.clone())).collect();
        let mut table: Vec<Vec<Cell>> = jobs.iter().map(cells).collect();
        for round in 1..=rounds {
            for (job, cells) in jobs.iter().zip(&mut table) {
                let (mut bare, mut gone) = (None, Vec::new());
                for (at, cell) in cells.iter_mut().enumerate() {
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
                    let last = [cell.last("per_second"), cell.last("p50_us"), cell.last("p99_us")];
                    if matches!(cell.contender, Contender::Limit) {
                        bare = Some(last);
                    } else if let Some(bare) = bare {
                        // Of async and batches, L is a write of another size: bytes are what compares.
                        let unit = if job.slice == "sync" { 1.0 } else { job.bytes as f64 };
                        let bare_unit = if job.slice == "sync" { 1.0 } else { job.bare_size.unwrap_or(1) as f64 };
                        cell.set_last("rate_to_limit", last[0] * unit / (bare[0] * bare_unit));
                        cell.set_last("p50_to_limit", last[1] / bare[1]);
                        cell.set_last("p99_to_limit", last[2] / bare[2]);
                        cell.set_last("p99_to_limit_p50", last[2] / bare[1]);
                    }
                }
                gone.into_iter().rev().for_each(|at| drop(cells.remove(at)));
            }
        }
        progress("");
        Ok(table)
    }

    /// Prints the table of all jobs and writes their lines.
    pub fn show(&mut self, kind: &str, jobs: &[Job], table: &[Vec<Cell>]) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for (job, cells) in jobs.iter().zip(table) {
            let best = best_peer(cells, "per_second");
            for cell in cells {
                let value = |name: &str| cell.value(name);
                let own = [job.threads.to_string(), job.bytes.to_string()];
                let is_limit = matches!(cell.contender, Contender::Limit);
                let mut row = if is_limit {
                    vec!["1".into(), job.bare_size.map_or("–".into(), |size| size.to_string())]
                } else {
                    own.to_vec()
                };
                if let Some(rate) = job.rate {
                    row.push(grouped(rate as f64));
                }
                row.push(cell.contender.name());
                row.push(grouped(value("per_second")));
                row.extend(["p50_us", "p99_us", "p999_us", "max_us"].map(|name| micros(value(name))));
                if !is_limit {
                    row.push(fixed(value("slowest_thread") / value("fastest_thread"), 2));
                    row.push(fixed(value("rate_to_limit"), 2));
                    row.push(fixed(value("p50_to_limit"), 2));
                    row.push(fixed(value("per_second") / best, 2));
                    row.push(fixed(value("cpu_us_per_record"), 2));
                    row.push(fixed(value("device_bytes_per_record_byte"), 2));
                    row.push(fixed(value("flushes_per_record"), 4));
                    row.push(grouped(value("page_cache_pages")));
                    row.push(fixed(value("peak_rss_kib") / 1024.0, 1));
                    row.push(grouped(value("spare_waits")));
                }
                rows.push(row);
                let mut fields = vec![("threads", job.threads.into()), ("bytes", job.bytes.into())];
                if let Some(rate) = job.rate {
                    fields.push(("rate", rate.into()));
                }
                fields.push(("rounds", cell.all("per_second").len().into()));
                fields.push(("rate_to_best_peer", (value("per_second") / best).into()));
                fields.extend(cell.fields());
                self.results.put(kind, fields)?;
            }
        }
        let mut heads = vec!["thr", "bytes", "who", "records/s", "p50 µs", "p99", "p99.9", "max", "slow/fast", "× L"];
        heads.extend(["p50 × L's", "× best peer", "CPU µs/rec", "dev B/B", "flushes/rec", "cached pages", "peak MiB"]);
        heads.push("spare waits");
        let rated = jobs.first().is_some_and(|job| job.rate.is_some());
        if rated {
            heads.insert(2, "offered/s");
        }
        print_table(&heads, if rated { 4 } else { 3 }, &rows);
        Ok(())
    }
}

/// An engine that cannot run here is no failure, and neither is a peer.
fn leave_out(contender: &Contender, error: &(dyn std::error::Error + Send + Sync)) -> bool {
    match contender {
        Contender::Peer { .. } => true,
        Contender::Twal(IoEngine::Uring) => error.to_string().contains("io_uring"),
        _ => false,
    }
}

fn limit_line(rate: f64, size: usize, times: &Histogram) -> Json {
    let mut fields = vec![("per_second".to_owned(), Json::Number(rate))];
    fields.push(("records".to_owned(), times.count().into()));
    fields.push(("bytes_per_second".to_owned(), Json::Number(rate * size as f64)));
    fields.push(("write_bytes".to_owned(), size.into()));
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
            peers.push(Contender::Peer { name, version });
        }
    }
    let names: Vec<String> = peers
        .iter()
        .map(|peer| match peer {
            Contender::Peer { name, version } => format!("{name} {version}"),
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
