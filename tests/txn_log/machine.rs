//! A simulated machine with one log.

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::txn::{Manager, ManagerOptions, Recovery};
use twal::{Code, Durability, Log, Options};

/// Simulated disk and clock, and how log and manager are opened on them.
pub struct Machine {
    pub disk: Arc<SimDisk>,
    pub clock: Clock,
    pub options: Options,
    pub managed: ManagerOptions,
}

impl Machine {
    pub fn new(seed: u64, durability: Durability) -> Machine {
        let clock = Clock::simulated();
        let disk = SimDisk::new(seed).with_clock(clock.clone());
        // GROUP's delay is beyond every test: what is durable was made so.
        let options = Options {
            durability: Some(durability),
            segment_size: 64 << 10,
            batch_records: 1 << 40,
            batch_delay_us: 60_000_000,
            flush_interval_ms: 60_000,
            ..Options::default()
        };
        let managed = ManagerOptions { checkpoint_interval: u64::MAX, ..ManagerOptions::default() };
        Machine { disk, clock, options, managed }
    }

    pub fn open_log(&self) -> Log {
        loop {
            let opened =
                Log::open_on(self.disk.as_ref(), Path::new("log"), &self.options, self.clock.clone(), Threads::None);
            match opened {
                Ok(log) => return log,
                Err(error) if error.code == Code::Locked && self.disk.late_writes() > 0 => self.disk.land_late_writes(),
                Err(error) => panic!("open fails: {error}"),
            }
        }
    }

    pub fn recover(&self) -> (Log, Manager, Recovery) {
        let log = self.open_log();
        let (manager, found) = Manager::recover(&log, &self.managed).unwrap_or_else(|error| panic!("{error:?}"));
        (log, manager, found)
    }

    /// The machine is off and on again; only what was flushed is left for certain.
    pub fn power_cut(&self) -> (Log, Manager, Recovery) {
        self.disk.power_cut();
        self.recover()
    }
}
