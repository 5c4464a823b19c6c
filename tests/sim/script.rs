//! A run as data: what will be done in which life, piece by piece.
//!
//! Every piece has a seed of its own for its details, and for what the disk
//! draws meanwhile, so that one can be left out and the others stay as they
//! were: that is what lets a failing run be cut down (`shrink.rs`).

use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Durability, Options};

use super::rng::Rng;

/// How runs are drawn.
#[derive(Clone, Copy)]
pub struct Plan {
    pub lives: u64,
    pub ops_max: u64,
    /// Percent of calls after which a crash is tried on a fork.
    pub fork_percent: u64,
    /// Percent of calls during which crashes are tried on forks, between the landings of writes.
    pub within_percent: u64,
    /// How the disk is broken, so that the run must fail.
    pub broken: Option<Broken>,
}

pub const PLAN: Plan = Plan { lives: 5, ops_max: 40, fork_percent: 5, within_percent: 12, broken: None };

/// A disk that no log can survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Flushes, and durable writes, do nothing.
    FlushesLie,
    /// Now and then a write is acknowledged and never lands.
    LosesWrites,
}

/// What stays the same over all lives.
#[derive(Debug, Clone)]
pub struct Ground {
    pub options: Options,
    pub disk_seed: u64,
    pub tear_unit: u32,
    /// Within how many calls late writes land.
    pub late_within: u64,
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Append,
    Reserve,
    SyncAsync,
    Batch,
    Sync,
    Wait,
    Tick,
    Settle,
    Roll,
    Trim,
    ChangeHold,
    Iterate,
    PollTail,
    FillDisk,
    Overload,
    Overlap,
    Misuse,
    /// A crash on a fork, checked; this life goes on.
    Fork(Stop),
    /// From here on the life ends in so many steps.
    Stop(Stop, u64),
    /// The call of that kind after so many fails with this errno.
    Fail(CallKind, u64, i32),
    /// The next write is acknowledged and never lands: only of a broken disk.
    LoseWrite,
}

#[derive(Debug, Clone)]
pub struct Piece {
    pub what: What,
    pub seed: u64,
    /// Crashes are tried on forks while its writes land.
    pub within: bool,
}

/// How a life ends that no stop ends before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    PowerCut,
    Kill,
    Close,
}

#[derive(Debug, Clone)]
pub struct Life {
    pub options: Options,
    pub keep: Keep,
    /// So many steps from before the open.
    pub stop: Option<(Stop, u64)>,
    /// The device is full while the log is opened.
    pub full: bool,
    pub pieces: Vec<Piece>,
    pub end: End,
    /// For all that is drawn outside of the pieces.
    pub seed: u64,
}

#[derive(Debug, Clone)]
pub struct Script {
    pub ground: Ground,
    pub lives: Vec<Life>,
}

impl Ground {
    pub fn draw(rng: &mut Rng, plan: Plan) -> Ground {
        let options = Options { block_size: rng.pick(&[512, 512, 4096]), ..Options::default() };
        Ground {
            options,
            disk_seed: rng.next(),
            tear_unit: rng.pick(&[512, 4096]),
            late_within: rng.pick(&[1, 8, 32, 200]),
            broken: plan.broken,
        }
    }
}

impl Script {
    pub fn draw(seed: u64, plan: Plan) -> Script {
        let mut rng = Rng::new(seed);
        let ground = Ground::draw(&mut rng, plan);
        let lives = (0..rng.within(2, plan.lives)).map(|_| Life::draw(&mut rng, plan, &ground.options)).collect();
        Script { ground, lives }
    }

    /// How much there is of it: lives, and pieces in them.
    pub fn size(&self) -> usize {
        self.lives.iter().map(|life| 1 + life.pieces.len()).sum()
    }
}

impl Life {
    fn draw(rng: &mut Rng, plan: Plan, options: &Options) -> Life {
        let any_stop = |rng: &mut Rng| rng.pick(&[Stop::PowerCut, Stop::PowerCut, Stop::Kill]);
        let stop = rng.percent(30).then(|| (any_stop(rng), rng.pick(&[12, 60])));
        let mut life = Life {
            options: redraw(options, rng),
            keep: rng.pick(&[Keep::Random, Keep::Random, Keep::Random, Keep::Everything, Keep::Nothing]),
            stop: stop.map(|(stop, most)| (stop, rng.below(most))),
            full: rng.percent(5),
            pieces: Vec::new(),
            end: rng.pick(&[End::PowerCut, End::Kill, End::Close, End::Close]),
            seed: rng.next(),
        };
        for _ in 0..rng.within(1, plan.ops_max) {
            let (what, within) = (call(rng), rng.percent(plan.within_percent));
            life.pieces.push(Piece { what, seed: rng.next(), within });
            if rng.percent(plan.fork_percent) {
                let what = What::Fork(any_stop(rng));
                life.pieces.push(Piece { what, seed: rng.next(), within: false });
            }
        }
        let mut insert = |rng: &mut Rng, what| {
            let at = rng.below(life.pieces.len() as u64 + 1) as usize;
            life.pieces.insert(at, Piece { what, seed: rng.next(), within: false });
        };
        if rng.percent(30) {
            let stop = What::Stop(any_stop(rng), rng.below(12));
            insert(rng, stop);
        }
        if rng.percent(18) {
            use CallKind::{Allocate, Create, DirSync, Remove, Rename, Sync, Write};
            let kind = rng.pick(&[Write, Write, Write, Sync, Sync, Sync, DirSync, Rename, Create, Remove, Allocate]);
            let errno = rng.pick(&[libc::EIO, libc::ENOSPC, libc::ENOMEM]);
            let fail = What::Fail(kind, rng.below(30), errno);
            insert(rng, fail);
        }
        if plan.broken == Some(Broken::LosesWrites) {
            insert(rng, What::LoseWrite);
        }
        life
    }
}

/// What may differ from open to open.
fn redraw(options: &Options, rng: &mut Rng) -> Options {
    Options {
        durability: Some(rng.pick(&[Durability::Sync, Durability::Sync, Durability::Group, Durability::Async])),
        segment_size: rng.pick(&[64 << 10, 64 << 10, 128 << 10]),
        segment_records_max: rng.pick(&[0, 0, 0, 5, 30]),
        ring_size: rng.pick(&[8 << 10, 32 << 10, 256 << 10]),
        batch_records: rng.pick(&[1, 3, 8, 64]),
        batch_delay_us: rng.pick(&[100, 1000, 5000]),
        flush_interval_ms: rng.pick(&[1, 20, 1000]),
        max_retained_segments: rng.pick(&[1, 1, 2, 3]),
        idle_mark_us: rng.pick(&[100, 10_000]),
        append_timeout_us: rng.pick(&[0, 0, 0, 500]),
        spares: rng.pick(&[1, 1, 2]),
        verify: rng.percent(20),
        ..options.clone()
    }
}

fn call(rng: &mut Rng) -> What {
    match rng.below(100) {
        0..=29 => What::Append,
        30..=33 => What::ChangeHold,
        34..=36 => What::Reserve,
        37..=40 => What::SyncAsync,
        41..=53 => What::Batch,
        54..=57 => What::Sync,
        58..=60 => What::Wait,
        61..=67 => What::Tick,
        68..=70 => What::Settle,
        71..=74 => What::Roll,
        75..=79 => What::Trim,
        80..=83 => What::Iterate,
        84..=88 => What::PollTail,
        89..=90 => What::FillDisk,
        91..=93 => What::Overload,
        94..=97 => What::Overlap,
        _ => What::Misuse,
    }
}
