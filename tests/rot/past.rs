//! A log with a past, and the plain list of what was acknowledged in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{Keep, SimDisk};
use twal::{CompactOptions, Entry, How, Log, Options};

use super::rng::Rng;

/// A record as it was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub data: Vec<u8>,
    pub stream: u64,
    pub batch_continues: bool,
}

/// What was done, and what is on the disk now.
pub struct Past {
    pub machine: Machine,
    /// Record `seq` is at `seq - 1`; all of them were acknowledged.
    pub given: Vec<Given>,
    /// Numbers whose records were let go by a compaction.
    pub holes: BTreeSet<u64>,
    /// The log begins here.
    pub first_seq: u64,
    /// What files held at some moments before.
    pub older: Vec<(String, Vec<u8>)>,
    /// The files as they are, in order of name; no spares.
    pub files: Vec<(String, Vec<u8>)>,
}

#[derive(Clone)]
pub struct Machine {
    pub disk: Arc<SimDisk>,
    pub clock: Clock,
    pub options: Options,
}

impl Machine {
    pub fn open(&self) -> Result<Log, twal::Error> {
        self.open_with(&self.options)
    }

    pub fn open_to_read(&self) -> Result<Log, twal::Error> {
        self.open_with(&Options { read_only: true, ..self.options.clone() })
    }

    pub fn open_with(&self, options: &Options) -> Result<Log, twal::Error> {
        Log::open_on(self.disk.as_ref(), Path::new("log"), options, self.clock.clone(), Threads::None)
    }

    /// The same files on a machine of its own.
    pub fn fork(&self, seed: u64) -> Machine {
        let clock = Clock::simulated();
        clock.pass(Duration::from_nanos(self.clock.now_ns()));
        let disk = self.disk.fork(seed).with_clock(clock.clone());
        disk.set_keep(Keep::Everything);
        disk.kill();
        Machine { disk, clock, options: self.options.clone() }
    }
}

const SYNC: How = How { sync: Some(true), no_wait: false };

impl Past {
    /// Lives some lives, as `seed` decides.
    pub fn live(seed: u64) -> Past {
        let mut rng = Rng::new(seed);
        let clock = Clock::simulated();
        let disk = SimDisk::new(rng.next()).with_clock(clock.clone());
        let block_size = rng.pick(&[512, 512, 4096]);
        disk.set_align(block_size, 512);
        let options = Options {
            block_size,
            segment_size: 64 << 10,
            max_retained_segments: rng.within(1, 3),
            verify: rng.percent(30),
            ..Options::default()
        };
        let machine = Machine { disk, clock, options };
        let mut past = Past {
            machine,
            given: Vec::new(),
            holes: BTreeSet::new(),
            first_seq: 1,
            older: Vec::new(),
            files: Vec::new(),
        };
        let compacts = !seed.is_multiple_of(3);
        for life in 0..rng.within(1, 3) {
            let log = past.machine.open().expect("a log that nobody harmed opens");
            assert_eq!(log.last_seq(), past.given.len() as u64, "life {life}");
            for _ in 0..rng.within(4, 22) {
                past.step(&log, &mut rng);
                if compacts && rng.percent(10) {
                    past.compact(&log, &mut rng);
                }
            }
            match rng.below(4) {
                0 => log.close().expect("closes"),
                1 => {
                    past.machine.clock.pass(Duration::from_millis(20));
                    log.tick();
                    past.machine.disk.power_cut();
                }
                _ => past.machine.disk.power_cut(),
            }
            drop(log);
        }
        let names = past.machine.disk.names().into_iter().filter(|name| !name.contains("spare"));
        let content = |name: String| past.machine.disk.content(&name).map(|content| (name, content));
        past.files = names.filter_map(content).collect();
        past
    }

    fn step(&mut self, log: &Log, rng: &mut Rng) {
        match rng.below(12) {
            0 => log.roll().expect("rolls"),
            1 if self.given.len() > 20 && rng.percent(50) => {
                let below = rng.below(self.given.len() as u64 + 1);
                log.trim(below).expect("trims");
                self.first_seq = log.first_seq();
            }
            2 => self.remember(),
            3 => {
                // Written together, flushed together, witnessed by the mark behind them.
                for _ in 0..rng.within(2, 4) {
                    self.append(log, rng, How { sync: Some(false), no_wait: false });
                    self.machine.clock.pass(Duration::from_millis(2));
                    log.tick();
                }
                log.sync(0).expect("syncs");
            }
            _ => self.append(log, rng, SYNC),
        }
        log.tick();
    }

    /// Lets go of some records of what is sealed.
    fn compact(&mut self, log: &Log, rng: &mut Rng) {
        if rng.percent(60) {
            log.roll().expect("rolls");
        }
        self.remember();
        let stays = rng.below(4);
        let mut let_go = BTreeSet::new();
        let options = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
        let done = log.compact(&options, &mut |candidate| {
            let keep = candidate.record.stream == stays || (stays > 0 && rng.percent(30));
            if !keep {
                let_go.insert(candidate.record.seq);
            }
            keep
        });
        let done = done.expect("compacts");
        let mut iter = log.iter(0).expect("a log that nobody harmed is read");
        while let Some(record) = iter.next_record().expect("reads") {
            let_go.remove(&record.seq);
        }
        assert_eq!(let_go.len() as u64, done.records_purged);
        self.holes.append(&mut let_go);
    }

    /// Whether record `seq` says that its batch goes on: one of the same batch is there behind it.
    pub fn batch_continues(&self, seq: u64) -> bool {
        let of_batch = (seq..).take_while(|at| self.given.get(*at as usize - 1).is_some_and(|at| at.batch_continues));
        of_batch.into_iter().any(|at| !self.holes.contains(&(at + 1)))
    }

    /// How many numbers from `first_seq` to `seq` belong to no record.
    pub fn holes_between(&self, first_seq: u64, seq: u64) -> u64 {
        self.holes.iter().filter(|hole| (first_seq..=seq).contains(hole)).count() as u64
    }

    /// The last record from `first_seq` to `seq`; the number before if there is none.
    pub fn last_there(&self, first_seq: u64, seq: u64) -> u64 {
        (first_seq..=seq).rev().find(|seq| !self.holes.contains(seq)).unwrap_or(first_seq - 1)
    }

    fn remember(&mut self) {
        let names = self.machine.disk.names().into_iter().filter(|name| !name.contains("spare"));
        for name in names {
            let content = self.machine.disk.content(&name).expect("it was listed");
            self.older.push((name, content));
        }
    }

    fn append(&mut self, log: &Log, rng: &mut Rng, how: How) {
        let count = if rng.percent(30) { rng.within(2, 5) } else { 1 };
        let first = self.given.len();
        for at in 0..count {
            let len = match rng.below(10) {
                0 => 0,
                1 => rng.within(3000, 9000),
                _ => rng.within(1, 900),
            };
            let mut data = vec![0; len as usize];
            data.iter_mut().for_each(|byte| *byte = rng.next() as u8);
            self.given.push(Given { data, stream: rng.below(4), batch_continues: at + 1 < count });
        }
        let entries: Vec<Entry<'_>> = self.given[first..]
            .iter()
            .map(|given| Entry {
                data: &given.data,
                stream: given.stream,
                timestamp: None,
                kind: 0x0100,
                required: false,
            })
            .collect();
        let seq = log.append_batch(entries.into_iter(), how).expect("appends");
        assert_eq!(seq, first as u64 + 1);
    }

    pub fn acked(&self) -> u64 {
        self.given.len() as u64
    }

    /// The newest file: where the end is.
    pub fn newest(&self) -> &str {
        &self.files.last().expect("a log has files").0
    }
}
