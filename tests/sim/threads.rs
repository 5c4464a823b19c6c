//! The log with threads of its own, many appenders, and writes that overtake
//! each other; then the power goes or the process is killed.
//!
//! What happens is up to the scheduler: a seed is a beginning, not a replay.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::{Code, Done, Durability, Entry, Error, How, Log, Options};

use super::model::{payload, require, Read, Seen, Verdict};
use super::rng::Rng;
use super::world::Story;

/// One append of a thread: its records are `first_uid..first_uid + count`.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    first_uid: u64,
    count: u64,
    len: usize,
    /// The number it got; None: it failed, its fate is unknown.
    first_seq: Option<u64>,
    durable: bool,
}

const THREADS: u64 = 4;

/// Registrations made, and answered.
#[derive(Default)]
struct Asked {
    registered: AtomicU64,
    told: Arc<AtomicU64>,
}

impl Asked {
    /// Registers for `seq`; when it is told, that is durable.
    fn register(&self, log: &Log, seq: u64, acked: &Arc<AtomicU64>) {
        let (told, acked) = (Arc::clone(&self.told), Arc::clone(acked));
        let done = Done::new(move |seq, result| {
            if result.is_ok() {
                acked.fetch_max(seq, Ordering::SeqCst);
            }
            told.fetch_add(1, Ordering::SeqCst);
        });
        if log.sync_async(seq, Some(done)).is_ok() {
            self.registered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Appends one record through a reservation, longer than it needs to be.
fn reserve_and_commit(log: &Log, entry: &Entry<'_>, how: How) -> Result<u64, Error> {
    let mut reservation = log.reserve(&Entry { data: &[], ..*entry }, entry.data.len() + 300, how)?;
    reservation.data()[..entry.data.len()].copy_from_slice(entry.data);
    reservation.commit(entry.data.len())
}

/// Appends until the life is over; what it tried and what it was told.
fn appender(
    log: &Log,
    mode: Durability,
    mut rng: Rng,
    uids: &AtomicU64,
    acked: &Arc<AtomicU64>,
    asked: &Asked,
) -> Verdict<Vec<Attempt>> {
    let mut attempts = Vec::new();
    loop {
        let (count, len) = (rng.pick(&[1, 1, 1, 2, 5]), 16 + rng.below(1200) as usize);
        let first_uid = uids.fetch_add(count, Ordering::SeqCst);
        let sync = rng.pick(&[None, None, Some(true), Some(false)]);
        let payloads: Vec<_> = (first_uid..first_uid + count).map(|uid| payload(uid, len)).collect();
        let entries: Vec<_> = (first_uid..)
            .zip(&payloads)
            .map(|(uid, data)| Entry { data, stream: uid, timestamp: Some(7), kind: 0x0300, required: false })
            .collect();
        let how = How { sync, no_wait: rng.percent(5) };
        let result = match (entries.as_slice(), rng.percent(30)) {
            ([entry], true) => reserve_and_commit(log, entry, how),
            _ => log.append_batch(entries.into_iter(), how),
        };
        let waited = sync.unwrap_or(mode == Durability::Sync);
        match result {
            Ok(first_seq) => {
                let last_seq = first_seq + count - 1;
                if waited {
                    require!(log.durable_seq() >= last_seq, "append returned before {last_seq} was durable");
                    acked.fetch_max(last_seq, Ordering::SeqCst);
                }
                attempts.push(Attempt { first_uid, count, len, first_seq: Some(first_seq), durable: waited });
                match rng.below(40) {
                    0 if log.sync(last_seq).is_ok() => {
                        acked.fetch_max(last_seq, Ordering::SeqCst);
                    }
                    1 => {
                        // Told or not, a roll loses nothing.
                        let _ = log.roll();
                    }
                    2 => std::thread::sleep(Duration::from_micros(300)),
                    3..=9 => asked.register(log, last_seq, acked),
                    _ => {}
                }
            }
            Err(error) if error.code == Code::Again => {}
            Err(error) => {
                let known = matches!(error.code, Code::Io | Code::Poisoned | Code::Closed);
                require!(known, "append fails: {:?} {error}", error.code);
                if error.code != Code::Closed {
                    attempts.push(Attempt { first_uid, count, len, first_seq: None, durable: false });
                }
                return Ok(attempts);
            }
        }
    }
}

/// Every record is one that was tried, whole, once, and where it was said to be.
fn check(seen: &Seen, attempts: &[Attempt], acked: u64, known: &[Read]) -> Verdict {
    require!(seen.error.is_none(), "reading fails: {:?}", seen.error);
    require!(seen.first_seq == 1, "the log begins at {}", seen.first_seq);
    require!(seen.last_seq() >= acked, "the log ends at {}, acknowledged was {acked}", seen.last_seq());
    require!(seen.records.starts_with(known), "records of an earlier life changed");
    let by_uid: BTreeMap<u64, &Attempt> = attempts
        .iter()
        .flat_map(|attempt| (0..attempt.count).map(move |at| (attempt.first_uid + at, attempt)))
        .collect();
    let mut places = BTreeMap::new();
    for (read, seq) in seen.records.iter().zip(1..) {
        require!(read.seq == seq, "record {} is where {seq} belongs", read.seq);
        if read.seq <= known.len() as u64 {
            continue;
        }
        let uid = read.stream;
        let Some(attempt) = by_uid.get(&uid) else { return Err(format!("record {seq} was invented: stream {uid}")) };
        let last = uid == attempt.first_uid + attempt.count - 1;
        require!(
            read.data == payload(uid, attempt.len)
                && read.timestamp == 7
                && read.kind == 0x0300
                && read.batch_continues != last,
            "record {seq} is not the one that was given"
        );
        let began = seq - (uid - attempt.first_uid);
        require!(attempt.first_seq.is_none_or(|first| first == began), "record {seq} of {attempt:?}");
        require!(places.insert(uid, seq).is_none(), "stream {uid} is there twice");
        if uid > attempt.first_uid {
            require!(places.get(&(uid - 1)) == Some(&(seq - 1)), "a batch is not in one piece at {seq}");
        }
    }
    let end = seen.records.last();
    require!(end.is_none_or(|end| !end.batch_continues), "the log ends inside a batch");
    for attempt in attempts.iter().filter(|attempt| attempt.durable) {
        require!(places.contains_key(&attempt.first_uid), "lost: {attempt:?}");
    }
    Ok(())
}

pub fn many_threads(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.next());
    let block_size = rng.pick(&[512, 4096]);
    disk.set_align(block_size, 512);
    disk.set_late_within(20, u64::MAX / 2);
    disk.set_concurrency(true);
    let uids = AtomicU64::new(1);
    let mut known: Vec<Read> = Vec::new();
    for life in 0..3 {
        let mode = rng.pick(&[Durability::Sync, Durability::Sync, Durability::Group, Durability::Async]);
        let options = Options {
            block_size,
            segment_size: rng.pick(&[64 << 10, 256 << 10]),
            ring_size: rng.pick(&[16 << 10, 1 << 20]),
            durability: Some(mode),
            batch_records: 8,
            flush_interval_ms: 5,
            idle_mark_us: rng.pick(&[100, 10_000]),
            ..Options::default()
        };
        story.say(format!("life {life}: {options:?}"));
        let open =
            |options: &Options| Log::open_on(disk.as_ref(), Path::new("log"), options, Clock::real(), Threads::Own);
        let log = open(&options).map_err(|error| format!("open fails: {:?} {error}", error.code))?;
        let before = Seen::of(&log);
        check(&before, &[], known.len() as u64, &known)?;
        let acked = Arc::new(AtomicU64::new(before.last_seq()));
        let asked = Asked::default();
        let over = AtomicBool::new(false);
        let reader_bad = Mutex::new(None);
        let rngs: Vec<_> = (0..THREADS).map(|_| Rng::new(rng.next())).collect();
        let (pause_us, end) = (rng.within(500, 25_000), rng.below(3));
        let mut cut_acked = 0;
        let results: Vec<Verdict<Vec<Attempt>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = rngs
                .into_iter()
                .map(|rng| {
                    let (log, uids, acked, asked) = (&log, &uids, &acked, &asked);
                    scope.spawn(move || appender(log, mode, rng, uids, acked, asked))
                })
                .collect();
            let reader = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let durable = log.durable_seq();
                    let (records, error) = super::model::read_from(&log, 0);
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    if error.is_some() || (records.len() as u64) < durable {
                        let text = format!("{} records of {durable}, {error:?}", records.len());
                        *reader_bad.lock().expect("no panic") = Some(text);
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            std::thread::sleep(Duration::from_micros(pause_us));
            over.store(true, Ordering::SeqCst);
            // Before the end begins: what is acknowledged by now is not to be lost.
            cut_acked = acked.load(Ordering::SeqCst);
            match end {
                0 => disk.power_cut(),
                1 => disk.kill(),
                _ => {
                    // Everything accepted becomes durable.
                    let closed = log.close();
                    assert!(closed.is_ok(), "close fails: {closed:?}");
                    cut_acked = log.last_seq();
                }
            }
            reader.join().expect("the reader does not panic");
            threads.into_iter().map(|thread| thread.join().expect("no appender panics")).collect()
        });
        if let Some(text) = reader_bad.into_inner().expect("no panic") {
            return Err(format!("a reader beside the appenders: {text}"));
        }
        let attempts: Vec<Attempt> = results.into_iter().collect::<Verdict<Vec<_>>>()?.into_iter().flatten().collect();
        drop(log);
        story.count(["power cuts", "kills", "closes"][end as usize]);
        let records: u64 = attempts.iter().map(|attempt| attempt.count).sum();
        *story.counts.entry("records").or_default() += records;
        let (registered, told) = (asked.registered.into_inner(), asked.told.load(Ordering::SeqCst));
        require!(registered == told, "{registered} registrations, {told} were told");
        *story.counts.entry("registrations").or_default() += registered;
        let acked = acked.load(Ordering::SeqCst).max(cut_acked);
        story.say(format!("{records} records tried, acked {acked}, end {end}"));
        let log =
            open(&options).map_err(|error| format!("reopen fails: {:?} {error}\n{}", error.code, disk.trace()))?;
        let seen = Seen::of(&log);
        check(&seen, &attempts, acked, &known).map_err(|text| format!("{text}\n{}", disk.trace()))?;
        if log.report().tail == twal::Tail::Torn {
            story.count("opened torn");
        }
        disk.power_cut();
        drop(log);
        let log = open(&options).map_err(|error| format!("third open fails: {error}"))?;
        seen.check_same(&Seen::of(&log), "open, power cut, open")?;
        log.close().map_err(|error| format!("close fails: {error}"))?;
        known = seen.records;
    }
    Ok(())
}
