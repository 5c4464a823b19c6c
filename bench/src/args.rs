//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use twal::base::options::IoEngine;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: twal-bench [options]

  --workload NAME   sync (default), async, batch1000, replay, open, rollover or all
  --threads LIST    sync: numbers of appending threads, default 1,8,64
  --engines LIST    of auto, uring, blocking; default all three
  --rounds N        rounds, of which the median is printed; default 7
  --slice-ms N      time of one measurement; default 1000
  --quick           3 rounds, 300 ms, smaller data
  --dir DIR         where the logs are made; default build/bench
  --allow-any-fs    also on a file system that cannot keep the log's promise
  --json FILE       write the results as JSON lines, too
";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Sync,
    Async,
    Batch,
    Replay,
    Open,
    Rollover,
}

const WORKLOADS: [(&str, Workload); 6] = [
    ("sync", Workload::Sync),
    ("async", Workload::Async),
    ("batch1000", Workload::Batch),
    ("replay", Workload::Replay),
    ("open", Workload::Open),
    ("rollover", Workload::Rollover),
];

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
    pub engines: Vec<IoEngine>,
    pub rounds: usize,
    pub slice: Duration,
    pub quick: bool,
    pub dir: PathBuf,
    pub allow_any_fs: bool,
    pub json: Option<PathBuf>,
}

/// None: help was asked for.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args {
        workloads: vec![Workload::Sync],
        threads: vec![1, 8, 64],
        engines: vec![IoEngine::Auto, IoEngine::Uring, IoEngine::Blocking],
        rounds: 7,
        slice: Duration::from_secs(1),
        quick: false,
        dir: PathBuf::from(std::env::var_os("TWAL_BUILD").unwrap_or_else(|| "build".into())).join("bench"),
        allow_any_fs: false,
        json: None,
    };
    let (mut rounds, mut slice_ms) = (None, None);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--quick" => args.quick = true,
            "--allow-any-fs" => args.allow_any_fs = true,
            "--dir" => args.dir = value()?.into(),
            "--json" => args.json = Some(value()?.into()),
            "--rounds" => rounds = Some(number(&value()?)?),
            "--slice-ms" => slice_ms = Some(number(&value()?)?),
            "--threads" => args.threads = list(&value()?, number)?,
            "--engines" => args.engines = list(&value()?, engine)?,
            "--workload" => args.workloads = workloads(&value()?)?,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    args.rounds = rounds.unwrap_or(if args.quick { 3 } else { 7 });
    args.slice = Duration::from_millis(slice_ms.unwrap_or(if args.quick { 300 } else { 1000 }) as u64);
    Ok(Some(args))
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|n| *n > 0).ok_or(format!("{word} is not a number above 0"))
}

fn list<T>(words: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    words.split(',').map(one).collect()
}

fn engine(word: &str) -> Result<IoEngine, String> {
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
