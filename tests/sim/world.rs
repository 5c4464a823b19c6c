//! A simulated machine to run logs on, the story of a run, and the harness
//! that plays seeds and tells which one failed.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{Keep, SimDisk, Stop};
use twal::recover::verdict::reached;
use twal::{Code, Error, Log, Options};

use super::model::{require, Model, Seen, Verdict};
use super::rng::Rng;

/// What a test explored, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// What happened in a run, told when it fails.
pub struct Story {
    pub seed: u64,
    verbose: bool,
    lines: Vec<String>,
    pub counts: Counts,
}

impl Story {
    pub fn say(&mut self, line: String) {
        if self.verbose {
            println!("{line}");
        }
        watched(format!("seed {}: {line}", self.seed));
        self.lines.push(line);
    }

    pub fn new(seed: u64, verbose: bool) -> Story {
        Story { seed, verbose, lines: Vec::new(), counts: Counts::new() }
    }

    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// What happened so far, a line each.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// Simulated disk and clock, and how a log is opened on them.
#[derive(Clone)]
pub struct Machine {
    pub disk: Arc<SimDisk>,
    pub clock: Clock,
    pub options: Options,
}

impl Machine {
    pub fn new(seed: u64, options: Options) -> Machine {
        let clock = Clock::simulated();
        let disk = SimDisk::new(seed).with_clock(clock.clone());
        disk.set_align(options.block_size.max(512), 512);
        Machine { disk, clock, options }
    }

    /// The same state, apart; the caller ends the fork's life.
    fn fork(&self, seed: u64) -> Machine {
        let clock = Clock::simulated();
        clock.pass(Duration::from_nanos(self.clock.now_ns()));
        let disk = self.disk.fork(seed).with_clock(clock.clone());
        disk.clear_faults();
        Machine { disk, clock, options: self.options.clone() }
    }

    /// One way this machine may come back from a crash now.
    pub fn crashed(&self, seed: u64, stop: Stop, keep: Keep) -> Machine {
        let fork = self.fork(seed);
        fork.disk.set_keep(keep);
        match stop {
            Stop::PowerCut => fork.disk.power_cut(),
            Stop::Kill => fork.disk.kill(),
        }
        fork
    }

    pub fn open(&self) -> Result<Log, Error> {
        self.open_with(&self.options)
    }

    pub fn open_with(&self, options: &Options) -> Result<Log, Error> {
        Log::open_on(self.disk.as_ref(), Path::new("log"), options, self.clock.clone(), Threads::None)
    }

    pub fn open_to_read(&self) -> Result<Log, Error> {
        self.open_with(&Options { read_only: true, ..self.options.clone() })
    }

    /// Opens after crashes alone: that never fails, but while an earlier life's writes have yet to land.
    pub fn reopen(&self) -> Verdict<Log> {
        loop {
            match self.open() {
                Ok(log) => return Ok(log),
                Err(error) if error.code == Code::Locked && self.disk.late_writes() > 0 => {
                    self.disk.land_late_writes();
                }
                Err(error) => {
                    return Err(format!("open fails: {:?} {error}\n{}", error.code, self.disk.trace()));
                }
            }
        }
    }

    pub fn pass_us(&self, us: u64) {
        self.clock.pass(Duration::from_micros(us));
    }
}

/// Counts what this machine's power cuts took.
pub fn tell_what_cuts_did(machine: &Machine, story: &mut Story) {
    let counts = machine.disk.counts();
    story.add("names lost", counts.names_lost);
    story.add("old file sizes", counts.sizes_lost);
    story.add("files torn", counts.files_torn);
}

/// What a crash left opens, holds what was promised, and stays as reported.
/// Everything happens on forks: `crashed` is a fork already.
pub fn check_crashed(crashed: &Machine, model: &Model, rng: &mut Rng, story: &mut Story) -> Verdict {
    story.count("crash states");
    tell_what_cuts_did(crashed, story);
    if crashed.disk.late_writes() > 0 {
        story.count("crash states with late writes");
    }
    let mut read_only = None;
    if model.born && rng.percent(30) {
        // A reader without a writer, in front of recovery.
        let fork = crashed.crashed(rng.next(), Stop::Kill, Keep::Random);
        let late = fork.disk.late_writes() > 0;
        let log = fork.open_to_read().map_err(|error| format!("read-only open fails: {error}"))?;
        let seen = Seen::of(&log);
        model.check(&seen, model.acked).map_err(|text| format!("read-only: {text}"))?;
        if late {
            // What lands after the open is read, and was not there to be reported.
            let last = seen.report.last_seq;
            require!(last <= seen.last_seq(), "read-only: {last} was reported, {} is there", seen.last_seq());
        } else {
            Model::check_report(&seen).map_err(|text| format!("read-only: {text}"))?;
        }
        if !late && !model.flush_failed {
            // It flushed before it delivered.
            let cut = fork.crashed(rng.next(), Stop::PowerCut, Keep::Nothing);
            seen.check_same(&Seen::of(&cut.reopen()?), "read-only open, power cut, open")?;
        }
        read_only = (!late).then_some(seen);
    }
    let verified = if model.born && rng.percent(10) { verified(crashed, rng.next())? } else { None };
    let log = crashed.reopen()?;
    let seen = Seen::of(&log);
    model.check(&seen, model.acked).map_err(|text| format!("{text}\n{}", crashed.disk.trace()))?;
    if let Some(last) = verified {
        require!(last == seen.last_seq(), "verify ends at {last}, the log at {}", seen.last_seq());
        story.count("crash states verified");
    }
    Model::check_report(&seen)?;
    story.count(match log.report().tail {
        twal::Tail::Clean => "opened clean",
        twal::Tail::Torn => "opened torn",
        twal::Tail::Damaged => "opened damaged",
    });
    if log.report().frames_rewritten > 0 {
        story.count("opened with frames rewritten");
    }
    if let Some(before) = read_only {
        before.check_same(&seen, "read-only open, then open")?;
    }
    // What was reported stays, whatever happens the moment after.
    let cut = crashed.crashed(rng.next(), Stop::PowerCut, Keep::Nothing);
    let again = cut.reopen().map_err(|text| format!("after the second cut: {text}"))?;
    seen.check_same(&Seen::of(&again), "open, power cut, open")?;
    require!(
        again.report().tail == twal::Tail::Clean && again.report().frames_rewritten <= 1,
        "the second open finds more to do: {:?}",
        again.report()
    );
    if rng.percent(30) {
        let killed = crashed.crashed(rng.next(), Stop::Kill, Keep::Random);
        seen.check_same(&Seen::of(&killed.reopen()?), "open, kill, open")?;
    }
    if rng.percent(30) {
        let reader = crashed.open_to_read().map_err(|error| format!("read-only open beside a writer: {error}"))?;
        seen.check_same(&Seen::of(&reader), "open, reader beside it")?;
    }
    if rng.percent(30) {
        let random = crashed.crashed(rng.next(), Stop::PowerCut, Keep::Random);
        seen.check_same(&Seen::of(&random.reopen()?), "open, random power cut, open")?;
    }
    log.close().map_err(|error| format!("close fails: {error}"))?;
    let log = crashed.reopen()?;
    seen.check_same(&Seen::of(&log), "open, close, open")?;
    require!(
        log.report().tail == twal::Tail::Clean && log.report().bytes_cut == 0,
        "after a close: {:?}",
        log.report()
    );
    crashed.disk.set_capacity(None);
    let entry = twal::Entry { data: b"goes on", stream: 1, timestamp: None, kind: 0x0100, required: false };
    let seq = log
        .append(&entry, twal::How { sync: Some(true), no_wait: false })
        .map_err(|error| format!("no append after recovery: {error}"))?;
    require!(seq == seen.last_seq() + 1, "the next number is {seq}, the last was {}", seen.last_seq());
    let cut = crashed.crashed(rng.next(), Stop::PowerCut, Keep::Nothing);
    let longer = Seen::of(&cut.reopen()?);
    require!(longer.last_seq() == seq, "an acknowledged record behind a recovered tail is lost: {seq}");
    require!(
        longer.records[..longer.records.len() - 1] == seen.records[..],
        "a record changed when the next was appended"
    );
    log.close().map_err(|error| format!("close fails: {error}"))
}

/// Nothing is damaged, in what was released neither: where verify says that the log ends; None: writes are on their way.
pub fn verified(crashed: &Machine, seed: u64) -> Verdict<Option<u64>> {
    let fork = crashed.crashed(seed, Stop::Kill, Keep::Random);
    if fork.disk.late_writes() > 0 {
        return Ok(None);
    }
    let mut told = Vec::new();
    let mut tell = |finding: &twal::Finding| {
        told.push(format!("{finding:?}"));
        true
    };
    let verified = twal::verify_on(fork.disk.as_ref(), Path::new("log"), &mut tell);
    let verified = verified.map_err(|error| format!("verify fails: {error}"))?;
    require!(verified.damaged == 0, "a crash left damage:\n{}\n{}", told.join("\n"), crashed.disk.trace());
    Ok(Some(verified.last_good_seq))
}

// ---- Playing seeds ----

/// Plays `seeds` seeds, or the one that the environment names, and fails with the first that does; or if in all
/// of them one of the things in `met` was never met: then the test has lost what it is for.
pub fn play(name: &str, seeds: u64, met: &[&str], run: impl Fn(u64, &mut Story) -> Verdict + Sync) {
    play_many(name, seeds, 0, met, run);
}

/// The same, and all of them together try at least so many crash states.  Each seed is played on one thread, as many
/// at once as there are processors.
pub fn play_many(
    name: &str,
    seeds: u64,
    states_min: u64,
    met: &[&str],
    run: impl Fn(u64, &mut Story) -> Verdict + Sync,
) {
    let env = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let (from, to, verbose) = match env("TWAL_SEED") {
        Some(seed) => (seed, seed + 1, true),
        None => (0, env("TWAL_SIM_SEEDS").map_or(seeds, |asked| (seeds * asked).div_ceil(DEFAULT_SEEDS)), false),
    };
    let began = Instant::now();
    let (next, counts, failed) = (AtomicU64::new(from), Mutex::new(Counts::new()), Mutex::new(None));
    let explore = || {
        while lock(&failed).is_none() {
            // Relaxed: each number is taken once, and nothing else is shared by it.
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return;
            }
            match play_one(name, seed, verbose, &run) {
                Ok(more) => {
                    let mut counts = lock(&counts);
                    more.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
                }
                Err(text) => *lock(&failed) = Some(text),
            }
        }
    };
    std::thread::scope(|scope| {
        let jobs = std::thread::available_parallelism().map_or(1, |jobs| jobs.get());
        (0..jobs).for_each(|_| drop(scope.spawn(explore)));
    });
    if let Some(text) = lock(&failed).take() {
        panic!("{text}");
    }
    let counts = lock(&counts);
    println!("{name}: seeds {from}..{to} in {:.1} s: {counts:?}", began.elapsed().as_secs_f64());
    if to - from < seeds {
        return;
    }
    for what in met {
        assert!(counts.contains_key(what), "{name}: never met: {what}");
    }
    let states = counts.get("crash states").copied().unwrap_or(0);
    assert!(states >= states_min, "{name}: only {states} crash states, {states_min} are wanted");
}

/// Seeds of the main test: TWAL_SIM_SEEDS is in its measure, other tests take their share.
pub const DEFAULT_SEEDS: u64 = 2100;

/// One seed: what it explored, or how it failed, with its story.
pub fn play_one(
    name: &str,
    seed: u64,
    verbose: bool,
    run: impl Fn(u64, &mut Story) -> Verdict,
) -> Result<Counts, String> {
    let mut story = Story::new(seed, verbose);
    watched(format!("{name} seed {seed} begins"));
    let rows: Vec<_> = reached().collect();
    let result = caught(|| run(seed, &mut story));
    for ((row, before), (_, after)) in rows.into_iter().zip(reached()) {
        story.add(row, after - before);
    }
    unwatched();
    match result {
        Ok(()) => Ok(story.counts),
        Err(text) => Err(format!("{name}: TWAL_SEED={seed} fails\n{}\n>>> {text}", story.text())),
    }
}

/// What it says; a panic is a violation, too.
pub fn caught(run: impl FnOnce() -> Verdict) -> Verdict {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Err(format!("panic: {text}"))
    })
}

// ---- Nothing hangs ----

/// What each thread does, and for how many of the watchdog's own seconds: a machine that freezes the whole
/// process for a while does not count as one that hangs.
type Watched = Mutex<BTreeMap<String, (u64, String)>>;

fn all_watched() -> &'static Watched {
    static WATCHED: OnceLock<Watched> = OnceLock::new();
    WATCHED.get_or_init(|| {
        std::thread::spawn(|| loop {
            std::thread::sleep(Duration::from_secs(1));
            for (seconds, what) in lock(all_watched()).values_mut() {
                *seconds += 1;
                if *seconds > 30 {
                    eprintln!("HANGS: {what}");
                    std::process::exit(101);
                }
            }
        });
        Mutex::default()
    })
}

fn key(id: ThreadId) -> String {
    format!("{id:?}")
}

/// This thread does this now; if it is still at it much later, the test fails.
pub fn watched(what: String) {
    lock(all_watched()).insert(key(std::thread::current().id()), (0, what));
}

fn unwatched() {
    lock(all_watched()).remove(&key(std::thread::current().id()));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
