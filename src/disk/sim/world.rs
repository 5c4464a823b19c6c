//! The state behind the simulated disk's one lock.  [`super`] explains what each fault means.
//!
//! What is done with it: `calls` lets calls in, `names` are directories, `files` what is open, `writes` what is in
//! flight, `lives` how lives end and what outlives them, `damage` what tests do behind everybody's back.
#![forbid(unsafe_code)]

pub(super) mod calls;
mod damage;
mod files;
mod lives;
pub(super) mod names;
mod writes;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;

use self::calls::{Fault, TraceLine};
use self::damage::BadPlace;
use self::files::OpenFile;
use self::lives::Lock;
use self::names::Names;
use self::writes::Flight;
use super::inode::Inode;
use super::rng::Rng;
use super::{Counts, Keep, Stop};
use crate::base::clock::Clock;

pub(super) fn errno<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) keep: Keep,
    pub(super) tear_sectors: u64,
    pub(super) block_align: u32,
    pub(super) mem_align: u32,
    pub(super) capacity: Option<u64>,
    pub(super) lies: bool,
    pub(super) clock: Option<Clock>,
    /// Late writes land within so many calls and nanoseconds.
    pub(super) late_within: (u64, u64),
    pub(super) stop: Option<(u64, Stop)>,
    pub(super) faults: Vec<Fault>,
    pub(super) lose_writes: u64,
    pub(super) misdirect: VecDeque<i64>,
    pub(super) steps: u64,
    pub(super) counts: Counts,
    bad_places: Vec<BadPlace>,
    /// Between a stop and `restart`: no call has an effect.
    down: bool,
    pub(super) calls: u64,
    /// More than these are a call without end.
    pub(super) calls_max: u64,
    life: u64,
    last_id: u64,
    inodes: BTreeMap<u64, Inode>,
    dirs: BTreeMap<PathBuf, Names>,
    /// The directory that was opened first: where a test's bare names are.
    home: Option<PathBuf>,
    /// Descriptors of this life; one that is not here any more is dead.
    files: BTreeMap<u64, OpenFile>,
    open_dirs: BTreeMap<u64, PathBuf>,
    locks: Vec<Lock>,
    flights: BTreeMap<u64, Flight>,
    trace: VecDeque<TraceLine>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        World {
            rng: Rng::new(seed),
            keep: Keep::Random,
            tear_sectors: 1,
            block_align: 512,
            mem_align: 1,
            capacity: None,
            lies: false,
            clock: None,
            late_within: (32, 1_000_000_000),
            stop: None,
            faults: Vec::new(),
            lose_writes: 0,
            misdirect: VecDeque::new(),
            steps: 0,
            counts: Counts::default(),
            bad_places: Vec::new(),
            down: false,
            calls: 0,
            calls_max: u64::MAX,
            life: 1,
            last_id: 0,
            inodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            home: None,
            files: BTreeMap::new(),
            open_dirs: BTreeMap::new(),
            locks: Vec::new(),
            flights: BTreeMap::new(),
            trace: VecDeque::new(),
        }
    }

    /// A number that rises: identities and stamps.
    fn fresh(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
