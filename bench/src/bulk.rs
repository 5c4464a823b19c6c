//! Slices that do not wait for every record: `async`, `batch1000`, and `offered`,
//! where records come at a given rate and it is measured when each is durable.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use twal::base::options::{Durability, Options};
use twal::{Code, How, Log};

use crate::hist::Histogram;
use crate::json::Json;
use crate::scene::{Failure, Scene, NO_SYNC};
use crate::slice::{append, entry, measure, Done, Payload, Spec};
use crate::sys;

/// Records of one batch.
pub const BATCH: u64 = 1000;
/// Spares of these logs: enough for what is written between two trims.
const SPARES: u64 = 4;
/// How many records go between two looks at the clock, and in one call where they go together.
pub const CLOCK_EVERY: u64 = 64;
/// The `--how` of `offered` by one thread that appends what is due, syncs, and does so again, as peers do.
pub const ALONE: &str = "alone";
/// The `--how` of `async` where they do.
pub const BATCHED: &str = "batched";

/// Appends `count` records without waiting; gives the last one's number.
pub fn pour(log: &Log, payload: &mut Payload, first: u64, count: u64, stream: u64) -> twal::base::Result<u64> {
    let mut last = 0;
    for n in first..first + count {
        last = append(log, payload.numbered(n), stream, NO_SYNC)?;
    }
    Ok(last)
}

/// As many records as there are payloads in one call, as peers are given a producer's records together.
fn pour_batch(log: &Log, payloads: &mut [Payload], first: u64, stream: u64) -> twal::base::Result<()> {
    for (payload, n) in payloads.iter_mut().zip(first..) {
        payload.numbered(n);
    }
    log.append_batch(payloads.iter().map(|payload| entry(payload.bytes(), stream)), NO_SYNC).map(drop)
}

/// Gives back what is durable every 5 ms while `running`.
fn trim_while(log: &Log, running: &AtomicBool) -> twal::base::Result<()> {
    while running.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
        let durable = log.durable_seq();
        if durable > 0 {
            log.trim(durable)?;
        }
    }
    Ok(())
}

/// One producer's part.
struct Share {
    records: u64,
    times: Histogram,
    end: Instant,
}

/// Runs `work` with a number in as many threads as there are producers, beside a thread that trims,
/// unless every segment is to be a fresh one.
fn produce(
    spec: &Spec,
    log: &Log,
    work: impl Fn(u64) -> twal::base::Result<Share> + Sync,
) -> Result<Vec<Share>, Failure> {
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let trimmer = scope.spawn(|| if spec.is_fresh() { Ok(()) } else { trim_while(log, &running) });
        let work = &work;
        let all: Vec<_> = (0..spec.threads as u64).map(|thread| scope.spawn(move || work(thread))).collect();
        let shares = all.into_iter().map(|one| one.join().expect("a producer does not panic")).collect();
        running.store(false, Ordering::Relaxed);
        trimmer.join().expect("the trimmer does not panic")?;
        let shares: twal::base::Result<Vec<Share>> = shares;
        Ok(shares?)
    })
}

fn done(start: Instant, shares: &[Share]) -> Done {
    let mut times = Histogram::new();
    shares.iter().for_each(|share| times.merge(&share.times));
    Done {
        records: shares.iter().map(|share| share.records).sum(),
        took: shares.iter().map(|share| share.end - start).max().unwrap_or_default(),
        times: (times.count() > 0).then_some(times),
        shares: shares.iter().map(|share| share.records).collect(),
        more: Vec::new(),
    }
}

/// Producers that never wait, for so long or for `--count` records; the clock stops when the last one is durable.
pub fn asynchronous(spec: &Spec) -> Result<Json, Failure> {
    let part = spec.count.unwrap_or(u64::MAX) / spec.threads as u64;
    let options = Options { durability: Some(Durability::Async), ..spec.options(SPARES) };
    let scene = match spec.is_fresh() {
        true => Scene::fresh(&spec.dir, "fresh", &options)?,
        false => Scene::in_use(&spec.dir, "async", &options)?,
    };
    pour(&scene.log, &mut Payload::new(spec.bytes), 0, 1000, 0)?;
    scene.log.sync(0)?;
    measure(spec, &scene, |start| {
        let shares = produce(spec, &scene.log, |thread| {
            let mut payload = Payload::new(spec.bytes);
            let mut payloads: Vec<_> = (0..CLOCK_EVERY).map(|_| Payload::new(spec.bytes)).collect();
            let mut records = 0;
            while records < part && start.elapsed() < spec.time {
                match spec.how == BATCHED {
                    true => pour_batch(&scene.log, &mut payloads, records, thread)?,
                    false => drop(pour(&scene.log, &mut payload, records, CLOCK_EVERY, thread)?),
                }
                records += CLOCK_EVERY;
            }
            scene.log.sync(0)?;
            Ok(Share { records, times: Histogram::new(), end: Instant::now() })
        })?;
        Ok(done(start, &shares))
    })
}

/// Each producer: 1,000 appends without a wait, then sync, again and again.  A time is one batch's.
pub fn batches(spec: &Spec) -> Result<Json, Failure> {
    let scene = Scene::in_use(&spec.dir, "batch", &spec.options(SPARES))?;
    let last = pour(&scene.log, &mut Payload::new(spec.bytes), 0, BATCH, 0)?;
    scene.log.sync(last)?;
    measure(spec, &scene, |start| {
        let shares = produce(spec, &scene.log, |thread| {
            let mut payload = Payload::new(spec.bytes);
            let mut share = Share { records: 0, times: Histogram::new(), end: Instant::now() };
            while share.end - start < spec.time {
                let last = pour(&scene.log, &mut payload, share.records, BATCH, thread)?;
                scene.log.sync(last)?;
                let now = Instant::now();
                share.times.add((now - share.end).as_nanos() as u64);
                share.end = now;
                share.records += BATCH;
            }
            Ok(share)
        })?;
        Ok(done(start, &shares))
    })
}

/// When each record that is under way was due: by its number, nanoseconds since the start, plus one.
/// A producer writes a slot (release) when it knows the number; the waiter takes it (acquire) and leaves 0.
struct Due(Vec<AtomicU64>);

impl Due {
    /// More than the ring holds records of 8 bytes.
    const SLOTS: usize = 1 << 20;

    fn new() -> Self {
        Due((0..Self::SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    fn slot(&self, seq: u64) -> &AtomicU64 {
        &self.0[seq as usize % Self::SLOTS]
    }

    fn put(&self, seq: u64, due_ns: u64) {
        let slot = self.slot(seq);
        while slot.load(Ordering::Relaxed) != 0 {
            std::thread::yield_now(); // the waiter is a whole round behind
        }
        slot.store(due_ns + 1, Ordering::Release);
    }

    /// The producer may not have come back from its append yet when its record is durable.
    fn take(&self, seq: u64) -> u64 {
        loop {
            match self.slot(seq).swap(0, Ordering::Acquire) {
                0 => std::thread::yield_now(),
                due => return due - 1,
            }
        }
    }
}

/// Records come at `--rate`, whatever the log does; a time is from when a record was due until the durable mark has it.
/// GROUP that waits for no more records than come while the device is busy: so the device sets the pace.
pub fn offered(spec: &Spec) -> Result<Json, Failure> {
    let rate = spec.rate.ok_or("offered needs --rate")?;
    if spec.how == ALONE {
        return offered_alone(spec, rate);
    }
    // Not batch_records 1: that makes every record a frame, and so a flush, of its own.
    let options = Options {
        durability: Some(Durability::Group),
        batch_records: u64::MAX,
        batch_delay_us: 1,
        ..spec.options(SPARES)
    };
    let scene = Scene::in_use(&spec.dir, "offered", &options)?;
    let log = &scene.log;
    pour(log, &mut Payload::new(spec.bytes), 0, 1000, 0)?;
    log.sync(0)?;
    let (due, ready) = (Due::new(), Barrier::new(spec.threads + 1));
    measure(spec, &scene, |_| {
        let first = log.last_seq() + 1;
        // All know it before the first record is due.
        let start = Instant::now() + Duration::from_millis(20);
        let last = AtomicU64::new(u64::MAX);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                ready.wait();
                wait_for_each(log, &due, first, &last, start)
            });
            let shares = produce(spec, log, |thread| {
                ready.wait();
                offer(spec, rate, log, &due, thread, start)
            });
            last.store(if shares.is_ok() { log.last_seq() } else { 0 }, Ordering::Release);
            let times = waiter.join().expect("the waiter does not panic");
            let (shares, times) = (shares?, times?);
            let mut late = Histogram::new();
            shares.iter().for_each(|share| late.merge(&share.times));
            Ok(Done {
                records: times.count(),
                took: start.elapsed(),
                times: Some(times),
                shares: shares.iter().map(|share| share.records).collect(),
                more: vec![
                    ("offered_late_p50_us", late.quantile_ns(0.5) as f64 / 1e3),
                    ("offered_late_p99_us", late.quantile_ns(0.99) as f64 / 1e3),
                ],
            })
        })
    })
}

/// Records come at `--rate` to one thread, which appends all that is due, syncs, and does so again, never asleep: what
/// the peers are measured by.
fn offered_alone(spec: &Spec, rate: u64) -> Result<Json, Failure> {
    if spec.threads != 1 {
        return Err("pace alone is of one thread".into());
    }
    let scene = Scene::in_use(&spec.dir, "offered", &spec.options(SPARES))?;
    let log = &scene.log;
    pour(log, &mut Payload::new(spec.bytes), 0, 1000, 0)?;
    log.sync(0)?;
    let interval_ns = 1e9 / rate as f64;
    let due_ns = |record: u64| (interval_ns * record as f64) as u64;
    measure(spec, &scene, |began| {
        let shares = produce(spec, log, |thread| {
            let mut payload = Payload::new(spec.bytes);
            let start = Instant::now();
            let mut share = Share { records: 0, times: Histogram::new(), end: start };
            // A log that cannot keep up is not waited for: its rate and its times say so.
            while due_ns(share.records) < spec.time.as_nanos() as u64 && share.end - start < spec.time * 3 / 2 {
                let now_ns = start.elapsed().as_nanos() as u64;
                let first = share.records;
                while due_ns(share.records) <= now_ns.min(spec.time.as_nanos() as u64 - 1) {
                    append(log, payload.numbered(share.records), thread, NO_SYNC)?;
                    share.records += 1;
                }
                if share.records == first {
                    std::hint::spin_loop();
                    continue;
                }
                log.sync(0)?;
                share.end = Instant::now();
                let durable_ns = (share.end - start).as_nanos() as u64;
                (first..share.records).for_each(|record| share.times.add(durable_ns - due_ns(record)));
            }
            Ok(share)
        })?;
        Ok(done(began, &shares))
    })
}

/// One producer of a share of the rate.  The times are how late its appends began.
fn offer(spec: &Spec, rate: u64, log: &Log, due: &Due, thread: u64, start: Instant) -> twal::base::Result<Share> {
    /// Pace spin: a sleep is ended this much before a record is due, the rest is waited for awake.
    /// Pace sleep: as long as this at least, and then what has become due goes out in one go.
    const AWAKE: Duration = Duration::from_micros(30);
    sys::sleep_precisely();
    let sleeps = spec.how == "sleep";
    let mut payload = Payload::new(spec.bytes);
    let interval_ns = 1e9 * spec.threads as f64 / rate as f64;
    let first_ns = interval_ns * thread as f64 / spec.threads as f64;
    let mut share = Share { records: 0, times: Histogram::new(), end: start };
    loop {
        let due_ns = (first_ns + interval_ns * share.records as f64) as u64;
        let due_at = start + Duration::from_nanos(due_ns);
        // A log that cannot keep up is not waited for: its rate and its times say so.
        if due_at - start >= spec.time || start.elapsed() > spec.time * 3 / 2 {
            share.end = Instant::now();
            return Ok(share);
        }
        let mut now = Instant::now();
        while now < due_at {
            match (due_at - now).checked_sub(AWAKE) {
                _ if sleeps => std::thread::sleep((due_at - now).max(AWAKE)),
                Some(rest) if rest > AWAKE => std::thread::sleep(rest),
                _ => std::hint::spin_loop(),
            }
            now = Instant::now();
        }
        share.times.add((now - due_at).as_nanos() as u64);
        let seq = append(log, payload.numbered(share.records), thread, How::default())?;
        due.put(seq, due_ns);
        share.records += 1;
    }
}

/// Follows the durable mark from record `first` to `last`, which is known when all are appended.
fn wait_for_each(log: &Log, due: &Due, first: u64, last: &AtomicU64, start: Instant) -> twal::base::Result<Histogram> {
    let (mut times, mut next) = (Histogram::new(), first);
    while next <= last.load(Ordering::Acquire) {
        match log.wait(next, Some(10_000_000)) {
            Err(error) if error.code == Code::Timeout => continue,
            other => other?,
        }
        let durable = log.durable_seq();
        let now_ns = start.elapsed().as_nanos() as u64;
        for seq in next..=durable {
            times.add(now_ns.saturating_sub(due.take(seq)));
        }
        next = durable + 1;
    }
    Ok(times)
}
