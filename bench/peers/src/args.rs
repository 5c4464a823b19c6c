//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: twal-peers PEER WORKLOAD [options]
       twal-peers --list

  PEER           one of those that --list names
  WORKLOAD       sync, async, batch1000, offered or replay
  --dir DIR      where the log is made, in a directory of its own that is removed again; default .
  --threads N    appending threads; default 1 (replay reads with one)
  --bytes B      bytes a record, at least 8; default 128
  --seconds S    time measured; default 1
  --count N      measure N records instead, however long that takes; replay needs it
  --unflushed B  async: what all producers together leave without a flush at most; default 4194304
  --rate R       records/s over all threads, a latency counted from when the append was due: of sync; offered
                 needs it, and has one thread, which writes all that is due and flushes it, again and again

Prints one JSON line.  Exits with 3 if the peer cannot run here.
";

/// What is done with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Sync,
    Async,
    Batch,
    Offered,
    Replay,
    /// Writes what Replay reads.  Replay runs it in a process of its own, so that
    /// the memory that writing took is not in the figure of reading.
    Fill,
}

const WORKLOADS: [(&str, Workload); 6] = [
    ("sync", Workload::Sync),
    ("async", Workload::Async),
    ("batch1000", Workload::Batch),
    ("offered", Workload::Offered),
    ("replay", Workload::Replay),
    ("fill", Workload::Fill),
];

impl Workload {
    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        WORKLOADS.iter().find(|(_, workload)| *workload == self).map_or("", |(name, _)| name)
    }
}

/// One slice.
#[derive(Debug, Clone)]
pub struct Spec {
    pub peer: String,
    pub workload: Workload,
    pub dir: PathBuf,
    pub threads: usize,
    pub bytes: usize,
    pub time: Duration,
    pub count: Option<u64>,
    pub rate: Option<u64>,
    /// `async`: what all producers together leave without a flush at most.
    pub unflushed: usize,
}

const UNFLUSHED: usize = 4 << 20;

impl Spec {
    /// How many bytes of records this slice may come to, if the peer does `records_per_s` of them.
    pub fn payload_bytes(&self, records_per_s: u64) -> u64 {
        let records = self.count.unwrap_or((records_per_s as f64 * self.time.as_secs_f64()) as u64);
        records * self.bytes as u64
    }
}

/// What the command line asks for.
pub enum Asked {
    Help,
    List,
    Run(Spec),
}

pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut names = Vec::new();
    let mut spec = Spec {
        peer: String::new(),
        workload: Workload::Sync,
        dir: PathBuf::from("."),
        threads: 1,
        bytes: 128,
        time: Duration::from_secs(1),
        count: None,
        rate: None,
        unflushed: UNFLUSHED,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--list" => return Ok(Asked::List),
            "--dir" => spec.dir = value()?.into(),
            "--threads" => spec.threads = number(&value()?)?,
            "--bytes" => spec.bytes = number(&value()?)?,
            "--seconds" => spec.time = seconds(&value()?)?,
            "--count" => spec.count = Some(number(&value()?)?),
            "--unflushed" => spec.unflushed = number(&value()?)?,
            "--rate" => spec.rate = Some(number(&value()?)?),
            _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
            _ => names.push(word),
        }
    }
    let [peer, workload] = <[String; 2]>::try_from(names).map_err(|_| "give a PEER and a WORKLOAD".to_owned())?;
    let found = WORKLOADS.iter().find(|(name, _)| *name == workload);
    spec.workload = found.ok_or(format!("unknown workload {workload}"))?.1;
    spec.peer = peer;
    match spec.workload {
        _ if spec.bytes < 8 => Err("a record begins with its number, so it has at least 8 bytes".into()),
        Workload::Replay | Workload::Fill if spec.count.is_none() => Err(format!("{workload} needs --count")),
        Workload::Replay | Workload::Fill if spec.threads > 1 => Err(format!("{workload} has one thread")),
        Workload::Offered if spec.rate.is_none() => Err(format!("{workload} needs --rate")),
        Workload::Offered if spec.threads > 1 => Err(format!("{workload} has one thread")),
        Workload::Sync | Workload::Offered => Ok(Asked::Run(spec)),
        _ if spec.rate.is_some() => Err("--rate is for sync and offered".into()),
        _ => Ok(Asked::Run(spec)),
    }
}

fn number<N: std::str::FromStr + Default + PartialOrd>(word: &str) -> Result<N, String> {
    word.parse().ok().filter(|n| *n > N::default()).ok_or(format!("{word} is not a number above 0"))
}

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = word.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.filter(|time| !time.is_zero()).ok_or(format!("{word} is not a number of seconds above 0"))
}
