//! Seeds without end: `make soak`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::world::{play_one, Counts, Story};
use super::{compaction, faults, rot, run, shrink, tails, Verdict};

/// What is explored, by the name of the test that plays one seed of it; how many seeds of a hundred are its own.
type Explorer = (&'static str, u64, fn(u64, &mut Story) -> Verdict);

const EXPLORERS: [Explorer; 9] = [
    ("random_lives_lose_nothing", 82, |seed, story| shrink::play(seed, run::PLAN, story)),
    ("cut_tails_never_come_back", 6, tails::cut_tails),
    ("every_call_may_fail", 1, faults::every_call_fails),
    ("a_crash_at_every_step", 1, faults::every_step_stops),
    ("rot_is_refused_and_never_shortens", 1, rot::rot),
    ("a_spot_that_does_not_read_is_not_the_end", 1, rot::bad_reads),
    ("compactions_beside_writers_and_readers", 6, compaction::beside_writers_and_readers),
    ("a_compaction_may_be_stopped_at_any_step", 1, compaction::every_step_stops),
    ("every_call_of_a_compaction_may_fail", 1, compaction::every_call_fails),
];

/// After so many failures there is enough to look at.
const FAILURES_MAX: usize = 5;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays seeds for SOAK_SECONDS on SOAK_JOBS threads, from SOAK_SEED on.
pub fn soak() {
    let seconds = env("SOAK_SECONDS").unwrap_or(60);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = env("SOAK_JOBS").filter(|jobs| *jobs > 0).unwrap_or(cores);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Other seeds every time, and none that `make check` plays.
    let first = env("SOAK_SEED").unwrap_or(now << 20);
    println!("soak: {seconds} s, {jobs} jobs, from SOAK_SEED={first}");
    let began = Instant::now();
    let (next, totals, failures) = (AtomicU64::new(first), Mutex::new(Counts::new()), Mutex::new(Vec::new()));
    let over = || {
        let failed = failures.lock().unwrap_or_else(PoisonError::into_inner).len();
        began.elapsed() >= Duration::from_secs(seconds) || failed >= FAILURES_MAX
    };
    let explore = || {
        while !over() {
            // Relaxed: each number is taken once, and nothing else is shared by it.
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let (name, _, run) = explorer(seed);
            match play_one(name, seed, false, run) {
                Ok(counts) => {
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    counts.into_iter().for_each(|(what, count)| *totals.entry(what).or_default() += count);
                    *totals.entry(name).or_default() += 1;
                }
                Err(text) => {
                    println!("{text}\n>>> play it again: TWAL_SEED={seed} cargo test --test sim {name} -- --nocapture");
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push((name, seed));
                }
            }
        }
    };
    let states = || totals.lock().unwrap_or_else(PoisonError::into_inner).get("crash states").copied().unwrap_or(0);
    std::thread::scope(|scope| {
        (0..jobs).for_each(|_| drop(scope.spawn(explore)));
        let mut told = began;
        while !over() {
            std::thread::sleep(Duration::from_millis(100));
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let (states, elapsed) = (states(), began.elapsed().as_secs_f64());
                println!("{elapsed:5.0} s: {states} crash states, {:.0} a second", states as f64 / elapsed);
            }
        }
    });
    let elapsed = began.elapsed().as_secs_f64();
    let played = next.load(Ordering::Relaxed) - first;
    println!(
        "soak: {played} seeds and {} crash states in {elapsed:.0} s: {:.0} states a second",
        states(),
        states() as f64 / elapsed
    );
    let totals: BTreeMap<_, _> = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.iter().for_each(|(what, count)| println!("  {count:>10} {what}"));
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "violations: {failures:?}");
    println!("soak: no violation");
}

fn explorer(seed: u64) -> Explorer {
    let mut left = seed % 100;
    for explorer in EXPLORERS {
        match left.checked_sub(explorer.1) {
            None => return explorer,
            Some(rest) => left = rest,
        }
    }
    unreachable!("the shares are a hundred")
}
