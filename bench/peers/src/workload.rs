//! What every peer must do, and the workloads that make it do so.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::args::{Spec, Workload};
use crate::hist::Histogram;
use crate::process::{self, Counters, Scratch};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Records of one batch of `batch1000` and of what `replay` reads.
const BATCH: u64 = 1000;
/// `async`: how many records go between two looks at the clock.
const CLOCK_EVERY: u64 = 64;
/// `offered`: what is due is written up to so many records, then flushed, also where a peer writes more slowly than
/// records come.
const RECORDS_AT_ONCE: u64 = 100_000;
/// Appends of each thread before the clock starts.
const WARM_UP: u64 = 16;

/// A log of another make.
pub trait Log: Sync + Sized {
    /// What was set and differs from the defaults, for the results.
    const CONFIGURATION: &'static str;

    type Producer<'a>: Producer
    where
        Self: 'a;

    /// Makes a new log in `dir`, which is empty, with everything taken ahead that the peer can take ahead.
    fn open(dir: &Path, spec: &Spec) -> Result<Self, Failure>;

    /// What one thread appends with; `number` counts the threads from 0.
    fn producer(&self, number: u64) -> Result<Self::Producer<'_>, Failure>;

    /// Closes the log as its documentation wants it, with all records kept.
    fn close(self) -> Result<(), Failure>;

    /// Opens the log that is in `dir` and shows every record to `checker`, in order.
    fn replay(dir: &Path, spec: &Spec, checker: Checker) -> Result<Checker, Failure>;
}

/// One thread's way into a log.
pub trait Producer {
    /// Returns when the record is durable.
    fn append(&mut self, record: &[u8]) -> Result<(), Failure>;

    /// Takes the record without making it durable, the cheapest way that the peer offers.
    fn write(&mut self, record: &[u8]) -> Result<(), Failure>;

    /// Returns when all is durable that was written with `write` here.
    fn flush(&mut self) -> Result<(), Failure>;
}

/// The bytes that are appended: a number, then a pattern.
pub struct Record(Vec<u8>);

impl Record {
    pub fn new(bytes: usize) -> Self {
        Record((0..bytes).map(|at| (at * 31 + 7) as u8).collect())
    }

    /// The record with this number.
    pub fn numbered(&mut self, number: u64) -> &[u8] {
        self.0[..8].copy_from_slice(&number.to_le_bytes());
        &self.0
    }
}

/// The number that a record begins with.
pub fn number_of(record: &[u8]) -> u64 {
    record.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Compares what comes back with what was written: a replay that loses records would be fast.
pub struct Checker {
    expected: Record,
    next: u64,
}

impl Checker {
    fn new(bytes: usize) -> Self {
        Checker { expected: Record::new(bytes), next: 1 }
    }

    /// Takes the next record in order.
    pub fn check(&mut self, record: &[u8]) -> Result<(), Failure> {
        if record != self.expected.numbered(self.next) {
            let (number, len) = (number_of(record), record.len());
            return Err(format!("record {} came back as {number}, {len} bytes", self.next).into());
        }
        self.next += 1;
        Ok(())
    }

    fn checked(&self) -> u64 {
        self.next - 1
    }
}

/// What one slice measured.
pub struct Outcome {
    pub records: u64,
    pub took: Duration,
    /// One time an append, or one a batch; None where nobody waits.
    pub times: Option<Histogram>,
    /// Records of each thread.
    pub shares: Vec<u64>,
    /// Added while the clock ran.
    pub counted: Counters,
    pub cached_pages: Option<u64>,
    pub allocated_bytes: u64,
    pub peak_memory_kib: u64,
    /// From the start of the process to the start of the clock.
    pub setup: Duration,
}

/// Runs the slice; None if it is one that measures nothing.
pub fn run<L: Log>(spec: &Spec) -> Result<Option<Outcome>, Failure> {
    match spec.workload {
        Workload::Fill => fill::<L>(spec).map(|()| None),
        Workload::Replay => replay::<L>(spec).map(Some),
        Workload::Sync | Workload::Async | Workload::Batch | Workload::Offered => produce::<L>(spec).map(Some),
    }
}

/// What one thread did.
struct Share {
    records: u64,
    times: Histogram,
    end: Instant,
}

fn produce<L: Log>(spec: &Spec) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let scratch = Scratch::create(&spec.dir, &spec.peer)?;
    let log = L::open(scratch.path(), spec)?;
    let (warm, go) = (Barrier::new(spec.threads + 1), Barrier::new(spec.threads + 1));
    let outcome = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..spec.threads)
            .map(|thread| {
                let (log, warm, go) = (&log, &warm, &go);
                scope.spawn(move || -> Result<Share, Failure> {
                    // Whatever fails, every thread comes to both barriers.
                    let prepared = Appender::warm(log, spec, thread);
                    warm.wait();
                    go.wait();
                    prepared?.run(spec)
                })
            })
            .collect();
        warm.wait();
        let settled = process::settle(scratch.path());
        process::reset_peak_memory();
        let (before, start) = (Counters::now(scratch.path()), Instant::now());
        go.wait();
        let shares: Result<Vec<Share>, Failure> =
            threads.into_iter().map(|thread| thread.join().expect("a producer does not panic")).collect();
        let counted = Counters::now(scratch.path()).since(&before);
        settled?;

        let (shares, mut times) = (shares?, Histogram::new());
        shares.iter().for_each(|share| times.merge(&share.times));
        Ok::<_, Failure>(Outcome {
            records: shares.iter().map(|share| share.records).sum(),
            took: shares.iter().map(|share| share.end - start).max().unwrap_or_default(),
            times: (times.count() > 0).then_some(times),
            shares: shares.iter().map(|share| share.records).collect(),
            counted,
            cached_pages: process::cached_pages(scratch.path())?,
            allocated_bytes: process::allocated_bytes(scratch.path())?,
            peak_memory_kib: process::peak_memory_kib(),
            setup: start - begun,
        })
    })?;
    log.close()?;
    Ok(outcome)
}

/// One thread, about to append.
struct Appender<P> {
    producer: P,
    record: Record,
    /// Records appended so far, warm-up included.
    number: u64,
    thread: usize,
}

impl<P: Producer> Appender<P> {
    fn warm<'a, L: Log<Producer<'a> = P>>(log: &'a L, spec: &Spec, thread: usize) -> Result<Self, Failure> {
        let producer = log.producer(thread as u64)?;
        let mut appender = Appender { producer, record: Record::new(spec.bytes), number: 0, thread };
        for _ in 0..WARM_UP {
            match spec.workload {
                Workload::Sync => appender.append()?,
                _ => appender.write()?,
            }
        }
        if spec.workload != Workload::Sync {
            appender.producer.flush()?;
        }
        Ok(appender)
    }

    fn append(&mut self) -> Result<(), Failure> {
        self.number += 1;
        self.producer.append(self.record.numbered(self.number))
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.number += 1;
        self.producer.write(self.record.numbered(self.number))
    }

    fn run(mut self, spec: &Spec) -> Result<Share, Failure> {
        let start = Instant::now();
        // Of --count, each thread takes its part.
        let part = |count: u64| {
            let threads = spec.threads as u64;
            count / threads + u64::from((self.thread as u64) < count % threads)
        };
        let until = match spec.count {
            Some(count) => Until { deadline: None, records: part(count) },
            None => Until { deadline: Some(start + spec.time), records: u64::MAX },
        };
        let before = self.number;
        let mut times = Histogram::new();
        let end = match spec.workload {
            Workload::Sync => self.one_by_one(spec, start, &until, &mut times)?,
            Workload::Batch => self.batches(start, &until, &mut times)?,
            Workload::Offered => self.as_they_come(spec, start, &until, &mut times)?,
            _ => self.without_waiting(spec, start, &until)?,
        };
        Ok(Share { records: self.number - before, times, end })
    }

    fn one_by_one(
        &mut self,
        spec: &Spec,
        start: Instant,
        until: &Until,
        times: &mut Histogram,
    ) -> Result<Instant, Failure> {
        let (mut records, mut now) = (0, start);
        // At a given rate the threads take turns.
        let interval = spec.rate.map(|rate| Duration::from_secs_f64(spec.threads as f64 / rate as f64));
        let mut due = start + interval.unwrap_or_default().mul_f64(self.thread as f64 / spec.threads as f64);
        while until.go_on(now, records) {
            let mut begin = now;
            if let Some(interval) = interval {
                if now < due {
                    // How late the kernel wakes us is not the log's doing: the time counts from then.
                    std::thread::sleep(due - now);
                    begin = Instant::now();
                } else {
                    begin = due;
                }
                due += interval;
            }
            self.append()?;
            now = Instant::now();
            times.add((now - begin).as_nanos() as u64);
            records += 1;
        }
        Ok(now)
    }

    fn batches(&mut self, start: Instant, until: &Until, times: &mut Histogram) -> Result<Instant, Failure> {
        let (mut records, mut now) = (0, start);
        while until.go_on(now, records) {
            for _ in 0..BATCH {
                self.write()?;
            }
            self.producer.flush()?;
            let after = Instant::now();
            times.add((after - now).as_nanos() as u64);
            now = after;
            records += BATCH;
        }
        Ok(now)
    }

    /// Records come at the rate, whatever the log does.  All that is due is written, then flushed; what came
    /// meanwhile is the next batch.  A time is from when a record was due until its flush is done.
    fn as_they_come(
        &mut self,
        spec: &Spec,
        start: Instant,
        until: &Until,
        times: &mut Histogram,
    ) -> Result<Instant, Failure> {
        let rate = spec.rate.unwrap_or(1);
        let (mut records, mut now) = (0, start);
        let due_ns = |record: u64| (record as f64 * 1e9 / rate as f64) as u64;
        while until.go_on(now, records) {
            let first = records;
            while due_ns(records) <= start.elapsed().as_nanos() as u64 && records - first < RECORDS_AT_ONCE {
                self.write()?;
                records += 1;
            }
            if records == first {
                std::hint::spin_loop();
                now = Instant::now();
                continue;
            }
            self.producer.flush()?;
            now = Instant::now();
            let now_ns = (now - start).as_nanos() as u64;
            (first..records).for_each(|record| times.add(now_ns.saturating_sub(due_ns(record))));
        }
        Ok(now)
    }

    fn without_waiting(&mut self, spec: &Spec, start: Instant, until: &Until) -> Result<Instant, Failure> {
        let flush_every = (spec.unflushed / spec.threads / spec.bytes).max(1) as u64;
        let (mut records, mut unflushed, mut now) = (0, 0, start);
        while until.go_on(now, records) {
            self.write()?;
            records += 1;
            unflushed += 1;
            if unflushed == flush_every {
                self.producer.flush()?;
                unflushed = 0;
            }
            if records % CLOCK_EVERY == 0 {
                now = Instant::now();
            }
        }
        self.producer.flush()?;
        Ok(Instant::now())
    }
}

/// When a thread has done enough.
struct Until {
    deadline: Option<Instant>,
    records: u64,
}

impl Until {
    fn go_on(&self, now: Instant, records: u64) -> bool {
        records < self.records && self.deadline.is_none_or(|deadline| now < deadline)
    }
}

/// Writes `count` records in batches and closes the log.
fn fill<L: Log>(spec: &Spec) -> Result<(), Failure> {
    let log = L::open(&spec.dir, spec)?;
    let count = spec.count.unwrap_or(0);
    let mut record = Record::new(spec.bytes);
    let mut producer = log.producer(0)?;
    for number in 1..=count {
        producer.write(record.numbered(number))?;
        if number % BATCH == 0 || number == count {
            producer.flush()?;
        }
    }
    drop(producer);
    log.close()
}

fn replay<L: Log>(spec: &Spec) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let scratch = Scratch::create(&spec.dir, &spec.peer)?;
    let count = spec.count.unwrap_or(0);
    let filled = Command::new(std::env::current_exe()?)
        .args([spec.peer.as_str(), Workload::Fill.name(), "--dir"])
        .arg(scratch.path())
        .args(["--bytes", &spec.bytes.to_string(), "--count", &count.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if !filled.success() {
        return Err(format!("writing what is to be read: {filled}").into());
    }
    process::settle(scratch.path())?;
    process::drop_cached(scratch.path())?;
    process::reset_peak_memory();
    let (before, start) = (Counters::now(scratch.path()), Instant::now());
    let checker = L::replay(scratch.path(), spec, Checker::new(spec.bytes))?;
    let (took, counted) = (start.elapsed(), Counters::now(scratch.path()).since(&before));
    if checker.checked() != count {
        return Err(format!("{} of {count} records came back", checker.checked()).into());
    }
    Ok(Outcome {
        records: count,
        took,
        times: None,
        shares: vec![count],
        counted,
        cached_pages: process::cached_pages(scratch.path())?,
        allocated_bytes: process::allocated_bytes(scratch.path())?,
        peak_memory_kib: process::peak_memory_kib(),
        setup: start - begun,
    })
}
