//! A log that is open for reading only: where it ends is what its own frames
//! say (`read/scout.rs`), and damage is a value: what lies before it is read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::keep;
use super::layer::Kept;
use super::report::{count_of, live_segments, of_examined, RecoveryReport, Tail};
use super::tail::{Watch, PAUSE_MIN_NS, PAUSE_NS_A_BYTE};
use super::{Inner, Side};
use crate::base::clock::Clock;
use crate::base::counters::Counters;
use crate::base::options::Config;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, LockKind};
use crate::format::Id;
use crate::read::scout::Scout;
use crate::read::segment::open_to_read as open_segment_to_read;
use crate::read::{Published, Reach};
use crate::recover::examine::{self, Asked, Damage, Examined};
use crate::segment::{Directory, State};

/// What a log that is open for reading only knows of its end.
pub(super) struct Reader {
    /// Everything up to here can be delivered.  Written under `scout`.
    pub(super) bound: AtomicU64,
    /// The same as a place in the files.  Written under `scout`, before `bound`.
    pub(super) reach: Arc<Published>,
    scout: Mutex<Scouting>,
    /// Whether that knows of damage: a look may take long, and this is asked without waiting for it.
    damaged: AtomicBool,
    /// Who waits looks no sooner.  Written under `scout`.
    pub(super) due_ns: AtomicU64,
    pub(super) watch: Watch,
}

struct Scouting {
    scout: Option<Scout>,
    damage: Option<Damage>,
}

impl Reader {
    fn new(bound: u64, reach: Reach, scouting: Scouting) -> Reader {
        Reader {
            bound: AtomicU64::new(bound),
            reach: Arc::new(Published::new(reach)),
            damaged: AtomicBool::new(scouting.damage.is_some()),
            scout: Mutex::new(scouting),
            due_ns: AtomicU64::new(0),
            watch: Watch::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Scouting> {
        self.scout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Damage is known.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// What is known of it.
    pub(super) fn damage(&self) -> Option<Error> {
        let is_damaged = self.is_damaged();
        is_damaged.then(|| self.lock().damage.as_ref().map(|damage| damage.error.clone())).flatten()
    }

    /// How far can be read now, and why no further: damage, which stays, or what the machine lacks for the moment.
    pub(super) fn look_on(&self, clock: &Clock) -> (u64, Option<Error>) {
        let mut scouting = self.lock();
        let mut bound = self.bound.load(Ordering::Acquire);
        if let Some(damage) = &scouting.damage {
            return (bound, Some(damage.error.clone()));
        }
        let Some(scout) = &mut scouting.scout else { return (bound, None) };
        let walked_before = scout.bytes_walked();
        let (seen, stopped) = scout.look_on().unwrap_or_else(|error| (bound, Some(error)));
        let in_vain = seen <= bound;
        let walked = if in_vain { scout.bytes_walked() - walked_before } else { 0 };
        let cost_ns = walked.saturating_mul(PAUSE_NS_A_BYTE);
        self.due_ns.store(clock.now_ns().saturating_add(PAUSE_MIN_NS.max(cost_ns)), Ordering::Release);
        self.reach.set(self.reach.get().max(scout.reach()));
        bound = bound.max(seen);
        self.bound.store(bound, Ordering::Release);
        // Memory and descriptors come back; what the device says of the log stays.
        let damage = stopped.clone().filter(|error| matches!(error.code, Code::Corrupt | Code::Io | Code::Version));
        if let Some(error) = damage {
            scouting.damage = Some(Damage { error, last_good_seq: bound });
            self.damaged.store(true, Ordering::Release);
        }
        (bound, stopped)
    }
}

/// Opens what is there, damaged or not.
pub(super) fn open(directory: Arc<Directory>, config: Config, clock: &Clock) -> Result<Inner> {
    // Given back at once: while a reader holds it no writer can open the log.
    let alone = directory.try_lock(LockKind::Shared)?;
    if alone {
        directory.unlock()?;
    }
    let examined = examine_to_read(&directory, &config, alone);
    let counters = Arc::new(Counters::default());
    let mut keeps_holds = false;
    let (mut report, log_id, config, reader) = match examined? {
        Ok(found) => {
            let bound = if alone { found.end.last_seq } else { found.witnessed.seq };
            let mut report = of_examined(&directory, &found);
            report.last_seq = bound;
            report.records = count_of(report.first_seq, bound, found.purged);
            let config = config.for_log(found.newest.header.block_size)?;
            keeps_holds = found.newest.header.keeps_holds;
            let log_id = found.log_id;
            let reach = match alone {
                true => Reach { segment: found.newest.header.index, end: found.end_offset },
                false => Reach { segment: found.newest.header.index, end: found.witnessed.end },
            };
            let scout = Scout::new(
                Arc::clone(&directory),
                clock.clone(),
                (found.newest.file, found.newest.header),
                found.witnessed,
            )?;
            let scouting = Scouting { scout: Some(scout), damage: None };
            (report, log_id, config, Reader::new(bound, reach, scouting))
        }
        Err(damage) => {
            let first_seq = directory.first_seq();
            let bound = damage.last_good_seq.max(first_seq - 1);
            let report = RecoveryReport {
                first_seq,
                last_seq: bound,
                records: bound + 1 - first_seq,
                witnessed_seq: bound,
                segments: live_segments(&directory),
                tail: Tail::Damaged,
                end_segment: damage.error.segment,
                end_offset: damage.error.offset,
                ..RecoveryReport::default()
            };
            let log_id = any_log_id(&directory);
            let scouting = Scouting { scout: None, damage: Some(damage) };
            (report, log_id, config, Reader::new(bound, Reach { segment: 0, end: 0 }, scouting))
        }
    };
    keep::look(&directory, &mut report, (log_id, false), keeps_holds);
    Ok(Inner {
        directory,
        log_id,
        config,
        clock: clock.clone(),
        opened_ns: 0,
        counters,
        report,
        side: Side::Reader(Arc::new(reader)),
        closed: AtomicBool::new(false),
        kept: Kept::default(),
        compacting: Mutex::new(()),
    })
}

/// Damage is a value here: what lies before it can be read.
fn examine_to_read(directory: &Directory, config: &Config, alone: bool) -> Result<Result<Examined, Damage>> {
    let asked = Asked { access: Access::Read, verify: config.verify };
    // Beside a writer names change while they are read: what looks broken once may only have been in between.
    // With nobody there it is looked at twice: a writer may just have come, or gone.
    let (mut tries, mut damages) = (20, 0);
    loop {
        tries -= 1;
        let listing = directory.scan()?;
        listing.check_no_follower()?;
        if listing.segments.is_empty() {
            if tries > 0 && !alone {
                continue;
            }
            return Err(Error::new(Code::NotFound, "there is no log in the directory"));
        }
        if alone {
            for name in listing.segments.iter().filter(|name| name.state == State::Active) {
                let file = match directory.open_segment(name.index, Access::Read) {
                    Err(error) if error.code == Code::NotFound && tries > 0 => continue,
                    // Not a file at all: the examination says so, after what can be read.
                    Err(error) if error.code == Code::Corrupt => continue,
                    opened => opened?.1,
                };
                file.sync()
                    .map_err(|error| Error::os(format_args!("cannot flush {name}"), &error).in_segment(name.index))?;
            }
            directory.sync()?;
        }
        match examine::examine(directory, &listing, asked) {
            Err(damage) if damage.error.code == Code::Version => return Err(damage.error),
            Err(damage) => {
                damages += 1;
                if tries == 0 || (alone && damages == 2) {
                    return Ok(Err(damage));
                }
            }
            // Kept from being recycled from now on, and still what was looked at.
            Ok(mut found) => match open_segment_to_read(directory, found.newest.name.index, &found.log_id) {
                Ok(opened) if opened.header == found.newest.header => {
                    if alone {
                        // What a writer that came meanwhile has written is reported too.
                        opened.file.sync().map_err(|error| Error::os("cannot flush the active segment", &error))?;
                        directory.sync()?;
                    }
                    found.newest = opened;
                    return Ok(Ok(found));
                }
                Err(error) if tries == 0 => return Err(error),
                _ if tries == 0 => return Err(Error::new(Code::Busy, "the log changes too fast to be opened")),
                _ => {}
            },
        }
    }
}

/// Of a damaged log: whatever segment still says it.
fn any_log_id(directory: &Directory) -> Id {
    let header = |index| crate::read::segment::open(directory, index, Access::Read).map(|opened| opened.header);
    directory.segments().iter().find_map(|name| header(name.index).ok()).map_or([0; 16], |header| header.log_id)
}
