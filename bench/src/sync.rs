//! Slices where each thread appends one record, waits until it is durable, repeats:
//! `sync`, and `rollover`, which looks at the appends that begin a segment.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use twal::Log;

use crate::hist::Histogram;
use crate::json::Json;
use crate::scene::{self, Failure, Scene, SYNC};
use crate::slice::{append, measure, put_times, Done, Payload, Spec, WARM_UP};

/// One thread's part.
pub struct Share {
    pub times: Histogram,
    /// Number and time of every append, if they were asked for.
    each: Vec<(u64, u64)>,
    pub end: Instant,
}

/// When the threads stop.
pub struct Until<'a> {
    pub time: Duration,
    pub records: u64,
    pub stop: &'a AtomicBool,
    pub keep_each: bool,
}

pub fn run(spec: &Spec) -> Result<Json, Failure> {
    let scene = match spec.is_fresh() {
        true => Scene::fresh(&spec.dir, "fresh", &spec.options(1))?,
        false => Scene::in_use(&spec.dir, "sync", &spec.options(6))?,
    };
    let until = Until {
        time: spec.time,
        records: spec.count.unwrap_or(u64::MAX),
        stop: &AtomicBool::new(false),
        keep_each: false,
    };
    with_threads(spec, &until, appends(spec, &scene.log), |run| {
        measure(spec, &scene, |start| {
            let shares = run()?;
            Ok(done(start, &shares, Vec::new()))
        })
    })
}

pub fn done(start: Instant, shares: &[Share], more: Vec<(&'static str, f64)>) -> Done {
    let mut times = Histogram::new();
    shares.iter().for_each(|share| times.merge(&share.times));
    Done {
        records: times.count(),
        took: shares.iter().map(|share| share.end - start).max().unwrap_or_default(),
        shares: shares.iter().map(|share| share.times.count()).collect(),
        times: Some(times),
        more,
    }
}

/// What each thread does again and again, one record at a time.
pub fn appends<'a>(
    spec: &'a Spec,
    log: &'a Log,
) -> impl Fn(u64) -> Box<dyn FnMut() -> twal::base::Result<u64> + 'a> + Sync + 'a {
    move |thread| {
        let (mut payload, mut number) = (Payload::new(spec.bytes), 0);
        Box::new(move || {
            number += 1;
            append(log, payload.numbered(number - 1), thread, SYNC)
        })
    }
}

/// Starts the threads, lets them warm up, then calls `go` with what makes them run.  What one does again and again, `of_thread`
/// makes with the thread's number; it gives the number of a record.
pub fn with_threads<R, F: FnMut() -> twal::base::Result<u64>>(
    spec: &Spec,
    until: &Until<'_>,
    of_thread: impl Fn(u64) -> F + Sync,
    go: impl FnOnce(&mut dyn FnMut() -> Result<Vec<Share>, Failure>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let (warm, start_line) = (&Barrier::new(spec.threads + 1), &Barrier::new(spec.threads + 1));
    let of_thread = &of_thread;
    std::thread::scope(|scope| {
        let mut appenders: Vec<_> = (0..spec.threads as u64)
            .map(|thread| {
                scope.spawn(move || -> twal::base::Result<Share> {
                    let mut once = of_thread(thread);
                    // Whatever fails, every thread comes to both barriers.
                    let warmed = (0..WARM_UP).try_for_each(|_| once().map(drop));
                    warm.wait();
                    start_line.wait();
                    warmed?;
                    repeat_until(once, until)
                })
            })
            .collect();
        warm.wait();
        let mut started = false;
        let result = go(&mut || {
            started = true;
            start_line.wait();
            let join = |one: std::thread::ScopedJoinHandle<'_, _>| one.join().expect("an appender does not panic");
            Ok(appenders.drain(..).map(join).collect::<twal::base::Result<Vec<Share>>>()?)
        });
        if !started {
            start_line.wait(); // the threads must not wait for ever
        }
        result
    })
}

fn repeat_until(mut once: impl FnMut() -> twal::base::Result<u64>, until: &Until<'_>) -> twal::base::Result<Share> {
    let mut share = Share { times: Histogram::new(), each: Vec::new(), end: Instant::now() };
    let start = share.end;
    while share.end - start < until.time && share.times.count() < until.records {
        let seq = once()?;
        let after = Instant::now();
        let ns = (after - share.end).as_nanos() as u64;
        share.times.add(ns);
        if until.keep_each {
            share.each.push((seq, ns));
        }
        share.end = after;
        if until.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(share)
}

/// What is durable is given back every 5 ms, so segments are recycled while they
/// are needed.  The slice ends when `--segments` were sealed, or after `--count` records of each thread.
pub fn rollover(spec: &Spec) -> Result<Json, Failure> {
    let spares = match spec.segment_size >> 20 {
        0..16 => 4,
        16..=64 => 2,
        _ => 1,
    };
    let scene = Scene::in_use(&spec.dir, "rollover", &spec.options(spares))?;
    scene.log.roll()?; // the slice begins with a whole segment
    let stop = AtomicBool::new(false);
    let records = spec.count.unwrap_or(u64::MAX);
    let until = Until { time: spec.time, records, stop: &stop, keep_each: true };
    with_threads(spec, &until, appends(spec, &scene.log), |run| {
        measure(spec, &scene, |start| {
            let running = AtomicBool::new(true);
            std::thread::scope(|scope| {
                let trimmer = scope.spawn(|| trim_while(&scene, spec.segments, &running, &stop));
                let shares = run();
                running.store(false, Ordering::Relaxed);
                let firsts = trimmer.join().expect("the trimmer does not panic");
                let (shares, firsts) = (shares?, firsts?);
                let mut crossing = Histogram::new();
                for (seq, ns) in shares.iter().flat_map(|share| &share.each) {
                    if firsts.contains(seq) {
                        crossing.add(*ns);
                    }
                }
                let mut more = vec![("crossings", crossing.count() as f64)];
                put_times(
                    |name, value| match name {
                        "crossing_p50_us" => more.push(("crossing_p50_us", value)),
                        "crossing_max_us" => more.push(("crossing_max_us", value)),
                        _ => (),
                    },
                    "crossing_",
                    &crossing,
                );
                if crossing.count() == 0 {
                    more.truncate(1);
                }
                Ok(done(start, &shares, more))
            })
        })
    })
}

/// Trims, and gathers the first number of every segment that was begun.  What a trim removes was
/// durable when the directory was read, so no segment goes unseen.
fn trim_while(
    scene: &Scene,
    segments: Option<u64>,
    running: &AtomicBool,
    stop: &AtomicBool,
) -> Result<BTreeSet<u64>, Failure> {
    let mut firsts = BTreeSet::new();
    let sealed_before = scene.log.stats().segments_sealed;
    while running.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
        let durable = scene.log.durable_seq();
        firsts.extend(scene::first_seqs(&scene.dir)?);
        if durable > 0 {
            scene.log.trim(durable)?;
        }
        let sealed = scene.log.stats().segments_sealed - sealed_before;
        if segments.is_some_and(|wanted| sealed >= wanted) {
            stop.store(true, Ordering::Relaxed);
        }
    }
    Ok(firsts)
}
