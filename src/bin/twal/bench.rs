//! `twal bench`: how fast appends are here, roughly and soon.
//!
//! Of what is measured properly, and beside what, bench/README.md speaks.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use twal::{Entry, Error, How, IoEngine, Log, Options};

use crate::cli::{BenchArgs, EngineArg};
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::Out;
use crate::signals::Signals;

/// Between two looks whether that is enough, and what can be given back.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Microseconds, and how many appends took that long.
type Times = BTreeMap<u64, u64>;

pub fn run(args: &BenchArgs, out: &mut Out) -> Result<Exit, Failure> {
    let signals = Signals::take()?;
    let scratch = Scratch::make(&args.dir)?;
    let engine = match args.engine {
        EngineArg::Auto => IoEngine::Auto,
        EngineArg::Uring => IoEngine::Uring,
        EngineArg::Blocking => IoEngine::Blocking,
    };
    let options = Options {
        allow_any_fs: args.file_system.allow_any_fs,
        allow_buffered: args.file_system.allow_buffered,
        io_engine: Some(engine),
        max_retained_segments: 1,
        ..Options::default()
    };
    let log = open::to_write(&scratch.dir.join("log"), &options)?;
    let stats = log.stats();
    out.fact("engine", stats.engine_reason)?;
    out.fact("file system", stats.file_system)?;
    out.fact("records", format_args!("{} bytes, each waited for until it is durable", args.bytes))?;
    writeln!(out, "{:>8}  {:>12}  {:>10}  {:>10}  {:>10}", "threads", "records/s", "p50 us", "p99 us", "max us")?;
    for threads in &args.threads {
        out.flush()?;
        let data = vec![0x5a; usize::try_from(args.bytes).expect("a few")];
        let begun = Instant::now();
        let times = measure(&log, &data, *threads, Duration::from_secs(args.seconds), &signals)?;
        let Some(times) = times else { break };
        let millis = begun.elapsed().as_millis().max(1);
        let count: u64 = times.values().sum();
        let rate = u128::from(count) * 1000 / millis;
        let (p50, p99) = (quantile(&times, 50), quantile(&times, 99));
        let max = times.keys().next_back().copied().unwrap_or(0);
        writeln!(out, "{threads:>8}  {rate:>12}  {p50:>10}  {p99:>10}  {max:>10}")?;
    }
    log.close()?;
    drop(log);
    scratch.remove()?;
    Ok(Exit::Clean)
}

/// None: a signal has ended it.
fn measure(log: &Log, data: &[u8], threads: u16, time: Duration, signals: &Signals) -> Result<Option<Times>, Failure> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| append(log, data, &enough))).collect();
        let begun = Instant::now();
        let mut interrupted = false;
        let mut failed = None;
        while begun.elapsed() < time && !interrupted && failed.is_none() {
            std::thread::sleep(LOOK_EVERY);
            interrupted = signals.came();
            failed = log.trim(log.durable_seq()).err();
        }
        enough.store(true, Ordering::Relaxed);
        let mut all = Times::new();
        for worker in workers {
            match worker.join().expect("measuring does not panic") {
                Ok(times) => times.into_iter().for_each(|(us, count)| *all.entry(us).or_default() += count),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok((!interrupted).then_some(all)),
        }
    })
}

fn append(log: &Log, data: &[u8], enough: &AtomicBool) -> twal::base::Result<Times> {
    let mut times = Times::new();
    while !enough.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let entry = Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How::default())?;
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        *times.entry(us).or_default() += 1;
    }
    Ok(times)
}

/// What `percent` of the appends did not exceed.
fn quantile(times: &Times, percent: u64) -> u64 {
    let rank = (times.values().sum::<u64>() * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let found = times.iter().find(|(_, count)| {
        seen += **count;
        seen >= rank
    });
    found.map_or(0, |(us, _)| *us)
}

/// A directory that is gone when this is.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn make(parent: &Path) -> Result<Scratch, Failure> {
        // What begins with twal- is a log's, or damage of one.
        let dir = parent.join(format!("bench-of-twal-{}", std::process::id()));
        // It fails if it is there: what is in it would be somebody else's.
        let made = std::fs::create_dir(&dir);
        // As of a log that cannot be made there.
        let failed = |error| Failure::opening(&Error::os(format_args!("cannot make {}", dir.display()), &error));
        made.map_err(failed)?;
        Ok(Scratch { dir })
    }

    fn remove(&self) -> Result<(), Failure> {
        let removed = std::fs::remove_dir_all(&self.dir);
        removed.map_err(|error| Failure::io(format_args!("cannot remove {}", self.dir.display()), &error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It has gone already, unless something failed: then that is told.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_known_set() {
        let times: Times = (1..=100).map(|us| (us, 1)).collect();
        assert_eq!([50, 99, 100].map(|percent| quantile(&times, percent)), [50, 99, 100]);
        assert_eq!(quantile(&Times::from([(7, 1000), (9, 1)]), 99), 7);
        assert_eq!(quantile(&Times::new(), 50), 0);
    }
}
