//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use twal::base::options::IoEngine;

use crate::bulk;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: twal-bench [options]           measure
       twal-bench --report DIR        make BENCHMARKS.md and its plots of what was measured

  --workload LIST   of sync, loaded, async, offered, steady, fresh, batch1000, replay, open, rollover,
                    idle, tail, allocations, calls, sagas, commits2pc, txn_replay, compaction; default all of them
  --threads LIST    sync, loaded: numbers of appending threads; default 1,2,8,64,256
  --bytes LIST      sync, loaded, async, offered: sizes of the records; default 128,1024
  --rates LIST      offered: records a second; default 10000,100000,300000,1000000,3000000
  --pace LIST       offered: alone: one thread appends all that is due, syncs, and again; spin: every record when it
                    is due, on a CPU of the producer's own; sleep: in small bursts, by a producer that leaves the CPU
                    between them and is late by its sleep; default all
  --engines LIST    of auto, uring, blocking; default all three
  --peers PATH      twal-peers, to measure other logs, too
  --peer LIST       only these of them
  --rounds N        rounds, of which the median is printed; default 7
  --slice-ms N      time of one measurement; default 1000
  --quick           1 round, 200 ms, smaller data
  --dir DIR         where the logs are made; default build/bench
  --json FILE       where the results go, as JSON lines; default results.jsonl in DIR.  What was measured
                    before and is not measured again stays in it
  --fresh           empty that file first
  --allow-any-fs    also on a file system that cannot keep the log's promise
";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Sync,
    Loaded,
    Async,
    Offered,
    Steady,
    Fresh,
    Batch,
    Replay,
    Open,
    Rollover,
    Idle,
    Tail,
    Allocations,
    Calls,
    Sagas,
    Commits,
    TxnReplay,
    Compaction,
}

const WORKLOADS: [(&str, Workload); 18] = [
    ("sync", Workload::Sync),
    ("loaded", Workload::Loaded),
    ("async", Workload::Async),
    ("offered", Workload::Offered),
    ("steady", Workload::Steady),
    ("fresh", Workload::Fresh),
    ("batch1000", Workload::Batch),
    ("replay", Workload::Replay),
    ("open", Workload::Open),
    ("rollover", Workload::Rollover),
    ("idle", Workload::Idle),
    ("tail", Workload::Tail),
    ("allocations", Workload::Allocations),
    ("calls", Workload::Calls),
    ("sagas", Workload::Sagas),
    ("commits2pc", Workload::Commits),
    ("txn_replay", Workload::TxnReplay),
    ("compaction", Workload::Compaction),
];

impl Workload {
    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        WORKLOADS.iter().find(|(_, workload)| *workload == self).map_or("", |(name, _)| name)
    }
}

/// The name of an engine on the command line and in tables.
pub fn engine_name(engine: IoEngine) -> &'static str {
    match engine {
        IoEngine::Auto => "auto",
        IoEngine::Uring => "uring",
        IoEngine::Blocking => "blocking",
    }
}

/// The command line, read.
#[derive(Debug)]
pub struct Args {
    pub workloads: Vec<Workload>,
    pub threads: Vec<usize>,
    pub bytes: Vec<usize>,
    pub rates: Vec<usize>,
    pub paces: Vec<String>,
    pub engines: Vec<IoEngine>,
    pub peers: Option<PathBuf>,
    pub only_peers: Option<Vec<String>>,
    pub rounds: usize,
    pub slice: Duration,
    pub quick: bool,
    pub dir: PathBuf,
    pub json: PathBuf,
    pub fresh: bool,
    pub allow_any_fs: bool,
    /// Make the report here and measure nothing.
    pub report: Option<PathBuf>,
    /// The options that change what is measured, for the report.
    pub said: String,
}

/// None: help was asked for.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args {
        workloads: WORKLOADS.map(|(_, workload)| workload).to_vec(),
        threads: vec![1, 2, 8, 64, 256],
        bytes: vec![128, 1024],
        rates: vec![10_000, 100_000, 300_000, 1_000_000, 3_000_000],
        paces: PACES.map(str::to_owned).to_vec(),
        engines: vec![IoEngine::Auto, IoEngine::Uring, IoEngine::Blocking],
        peers: None,
        only_peers: None,
        rounds: 0,
        slice: Duration::ZERO,
        quick: false,
        dir: PathBuf::from(std::env::var_os("TWAL_BUILD").unwrap_or_else(|| "build".into())).join("bench"),
        json: PathBuf::new(),
        fresh: false,
        allow_any_fs: false,
        report: None,
        said: String::new(),
    };
    let (mut rounds, mut slice_ms, mut json) = (None, None, None);
    let mut said = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            // Paths say something of this machine, nothing of the measurement.
            if !["--dir", "--json", "--peers", "--report"].contains(&word.as_str()) {
                said.push(format!("{word} {value}"));
            }
            Ok::<String, String>(value)
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--quick" => args.quick = true,
            "--fresh" => args.fresh = true,
            "--allow-any-fs" => args.allow_any_fs = true,
            "--dir" => args.dir = value()?.into(),
            "--json" => json = Some(value()?.into()),
            "--report" => args.report = Some(value()?.into()),
            "--peers" => args.peers = Some(value()?.into()),
            "--peer" => args.only_peers = Some(list(&value()?, |name| Ok(name.to_owned()))?),
            "--rounds" => rounds = Some(number(&value()?)?),
            "--slice-ms" => slice_ms = Some(number(&value()?)?),
            "--threads" => args.threads = list(&value()?, number)?,
            "--bytes" => args.bytes = list(&value()?, record_size)?,
            "--rates" => args.rates = list(&value()?, number)?,
            "--pace" => args.paces = list(&value()?, pace)?,
            "--engines" => args.engines = list(&value()?, engine)?,
            "--workload" => args.workloads = workloads(&value()?)?,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if args.quick {
        said.insert(0, "--quick".into());
    }
    args.said = said.join(" ");
    args.rounds = rounds.unwrap_or(if args.quick { 1 } else { 7 });
    args.slice = Duration::from_millis(slice_ms.unwrap_or(if args.quick { 200 } else { 1000 }) as u64);
    args.json = json.unwrap_or_else(|| args.dir.join("results.jsonl"));
    Ok(Some(args))
}

pub fn number(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|n| *n > 0).ok_or(format!("{word} is not a number above 0"))
}

/// How `offered` offers: see the usage.
pub const PACES: [&str; 3] = [bulk::ALONE, "spin", "sleep"];

fn pace(word: &str) -> Result<String, String> {
    let known = PACES.contains(&word);
    known.then(|| word.to_owned()).ok_or(format!("{word}: a pace is alone, spin or sleep"))
}

fn record_size(word: &str) -> Result<usize, String> {
    number(word)
        .ok()
        .filter(|n| *n >= 8)
        .ok_or(format!("{word}: a record begins with its number, so it has at least 8 bytes"))
}

fn list<T>(words: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    words.split(',').map(one).collect()
}

pub fn engine(word: &str) -> Result<IoEngine, String> {
    [IoEngine::Auto, IoEngine::Uring, IoEngine::Blocking]
        .into_iter()
        .find(|engine| engine_name(*engine) == word)
        .ok_or(format!("unknown engine {word}"))
}

fn workloads(words: &str) -> Result<Vec<Workload>, String> {
    if words == "all" {
        return Ok(WORKLOADS.map(|(_, workload)| workload).to_vec());
    }
    list(words, |word| {
        let found = WORKLOADS.iter().find(|(name, _)| *name == word);
        found.map(|(_, workload)| *workload).ok_or(format!("unknown workload {word}"))
    })
}
