//! A simulated machine with one log.

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{Keep, SimDisk};
use twal::txn::{Manager, ManagerOptions, Recovery};
use twal::{Code, Durability, Error, Log, Options};

/// Simulated disk and clock, and how log and manager are opened on them.
pub struct Machine {
    pub disk: Arc<SimDisk>,
    pub clock: Clock,
    pub options: Options,
    pub managed: ManagerOptions,
    pub threads: Threads,
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
        Machine { disk, clock, options, managed, threads: Threads::None }
    }

    pub fn try_open(&self) -> Result<Log, Error> {
        loop {
            match Log::open_on(self.disk.as_ref(), Path::new("log"), &self.options, self.clock.clone(), self.threads) {
                Err(error) if error.code == Code::Locked && self.disk.late_writes() > 0 => self.disk.land_late_writes(),
                opened => return opened,
            }
        }
    }

    /// The same with threads of the log's own, and the machine's clock.
    pub fn with_threads(seed: u64) -> Machine {
        let mut machine = Machine::new(seed, Durability::Sync);
        machine.clock = Clock::real();
        machine.disk = SimDisk::new(seed);
        machine.threads = Threads::Own;
        machine
    }

    /// This machine as it comes back if it loses power now, apart from this one.
    pub fn fork_after_cut(&self) -> Machine {
        let clock = Clock::simulated();
        let disk = self.disk.fork(1).with_clock(clock.clone());
        disk.set_keep(Keep::Nothing);
        disk.power_cut();
        Machine { disk, clock, options: self.options.clone(), ..*self }
    }

    pub fn try_recover(&self) -> Result<(Log, Manager, Recovery), Error> {
        let log = self.try_open()?;
        let (manager, found) = Manager::recover(&log, &self.managed)?;
        Ok((log, manager, found))
    }

    /// Panics if that fails: on a disk without faults it never does.
    pub fn recover(&self) -> (Log, Manager, Recovery) {
        self.try_recover().unwrap_or_else(|error| panic!("{error:?}\n{}", self.disk.trace()))
    }

    /// The process is killed, if it still lives, and comes back.
    pub fn recover_again(&self) -> (Log, Manager, Recovery) {
        self.disk.kill();
        self.recover()
    }

    /// The machine is off and on again; only what was flushed is left for certain.
    pub fn power_cut(&self) -> (Log, Manager, Recovery) {
        self.disk.power_cut();
        self.recover()
    }
}
