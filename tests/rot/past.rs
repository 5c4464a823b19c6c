//! A log with a past, and the plain list of what was acknowledged in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{Keep, SimDisk};
use twal::{Entry, How, Log, Options};

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
        let mut past = Past { machine, given: Vec::new(), first_seq: 1, older: Vec::new(), files: Vec::new() };
        for life in 0..rng.within(1, 3) {
            let log = past.machine.open().expect("a log that nobody harmed opens");
            assert_eq!(log.last_seq(), past.given.len() as u64, "life {life}");
            for _ in 0..rng.within(4, 22) {
                past.step(&log, &mut rng);
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
