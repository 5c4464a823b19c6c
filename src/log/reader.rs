//! A log that is open for reading only: where it ends is what its own frames
//! say (`read/scout.rs`), and damage is a value: what lies before it is read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::follower::{self, Kind};
use super::keep;
use super::layer::Kept;
use super::report::{count_of, live_segments, of_examined, RecoveryReport, Tail};
use super::tail::{Watch, PAUSE_MIN_NS, PAUSE_NS_A_BYTE};
use super::{Inner, Side};
use crate::base::clock::Clock;
use crate::base::counters::Counters;
use crate::base::limits::OPEN_CHANGING_MS;
use crate::base::options::Config;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, LockKind};
use crate::format::{Id, SinkSlot};
use crate::read::position::PositionScout;
use crate::read::scout::Scout;
use crate::read::segment::{open_short, open_to_read as open_segment_to_read};
use crate::read::{Published, Reach};
use crate::recover::examine::{self, Asked, Damage, Examined};
use crate::segment::directory::{Listing, UNFINISHED_REPAIR};
use crate::segment::{Directory, SegmentName, State};

const NO_LOG: &str = "there is no log in the directory";

/// So many looks that find the same have found damage: a name changes three times at most (it is sealed, archived and
/// gone), so no listing that lacks one while it changes makes this many.
const LOOKS_SAME: u32 = 4;

/// Looks at a log that changes all the time that come one directly behind the other, and that are made however long
/// they take.
const LOOKS_MIN: u32 = 20;

/// What a log that is open for reading only knows of its end.
pub(super) struct Reader {
    /// Everything up to here can be delivered.  Written under `scout`.
    pub(super) bound: AtomicU64,
    /// The same as a place in the files.  Written under `scout`, before `bound`.
    pub(super) reach: Arc<Published>,
    scout: Mutex<Scouting>,
    /// Whether that knows of damage: a look may take long, and this is asked without waiting for it.
    damaged: AtomicBool,
    /// The directory is a follower's; until it is promoted.  Written under `scout`.
    follows: AtomicBool,
    /// Who waits looks no sooner.  Written under `scout`.
    pub(super) due_ns: AtomicU64,
    pub(super) watch: Watch,
    /// Why the names could not be made durable.  The kernel tells that once.
    unsynced: OnceLock<Error>,
}

struct Scouting {
    guide: Guide,
    damage: Option<Damage>,
    /// Of a follower's copy: everything up to here was durable by its position, damaged or not.
    acknowledged_seq: u64,
}

/// Who knows how far it goes.
enum Guide {
    /// Nobody any more: it is damaged.
    Nobody,
    /// The log's own frames.
    Log(Box<Scout>),
    /// The follower's position.
    Copy(Box<PositionScout>),
}

impl Reader {
    fn new(bound: u64, reach: Reach, follows: bool, scouting: Scouting) -> Reader {
        Reader {
            bound: AtomicU64::new(bound),
            reach: Arc::new(Published::new(reach)),
            damaged: AtomicBool::new(scouting.damage.is_some()),
            follows: AtomicBool::new(follows),
            scout: Mutex::new(scouting),
            due_ns: AtomicU64::new(0),
            watch: Watch::default(),
            unsynced: OnceLock::new(),
        }
    }

    /// Makes the names durable that are seen here.  Where that has failed it stays so: the next flush would do well, and
    /// cover nothing.
    pub(super) fn secure_names(&self, directory: &Directory) -> Result<()> {
        if let Some(error) = self.unsynced.get() {
            return Err(error.clone());
        }
        directory.sync().inspect_err(|error| drop(self.unsynced.set(error.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, Scouting> {
        self.scout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is a follower's copy that is read, and no log.
    pub(super) fn follows(&self) -> bool {
        self.follows.load(Ordering::Acquire)
    }

    /// Of a follower's copy, up to where it was acknowledged, damaged or not.
    pub(super) fn acknowledged_seq(&self) -> u64 {
        self.lock().acknowledged_seq
    }

    /// The position of a follower's copy that is not damaged.
    pub(super) fn slot(&self) -> Option<SinkSlot> {
        match &self.lock().guide {
            Guide::Copy(copy) => Some(*copy.slot()),
            Guide::Log(_) | Guide::Nobody => None,
        }
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

    /// Up to where the last look saw whole frames; what lies behind the bound may not be durable.
    pub(super) fn seen_seq(&self) -> u64 {
        let bound = self.bound.load(Ordering::Acquire);
        match &self.lock().guide {
            Guide::Log(scout) => scout.seen_seq().max(bound),
            Guide::Copy(_) | Guide::Nobody => bound,
        }
    }

    /// How far can be read now, and why no further: damage, which stays, or what the machine lacks for the moment.
    pub(super) fn look_on(&self, clock: &Clock) -> (u64, Option<Error>) {
        let mut scouting = self.lock();
        let mut bound = self.bound.load(Ordering::Acquire);
        if let Some(damage) = &scouting.damage {
            return (bound, Some(damage.error.clone()));
        }
        let walked_before = scouting.guide.bytes_walked();
        let looked = self.look_with(&mut scouting.guide, clock);
        let Some((seen, stopped)) = looked.unwrap_or_else(|error| Some((bound, Some(error)))) else {
            return (bound, None);
        };
        let in_vain = seen <= bound;
        let walked = if in_vain { scouting.guide.bytes_walked().saturating_sub(walked_before) } else { 0 };
        let cost_ns = walked.saturating_mul(PAUSE_NS_A_BYTE);
        self.due_ns.store(clock.now_ns().saturating_add(PAUSE_MIN_NS.max(cost_ns)), Ordering::Release);
        self.reach.set(self.reach.get().max(scouting.guide.reach()));
        bound = bound.max(seen);
        self.bound.store(bound, Ordering::Release);
        scouting.acknowledged_seq = scouting.acknowledged_seq.max(bound);
        // Memory and descriptors come back; what the device says of the log stays, and so does another copy in its place.
        let damage = stopped
            .clone()
            .filter(|error| matches!(error.code, Code::Corrupt | Code::Io | Code::Version | Code::State));
        if let Some(error) = damage {
            scouting.damage = Some(Damage { error, last_good_seq: bound });
            self.damaged.store(true, Ordering::Release);
        }
        (bound, stopped)
    }

    /// The highest number that can be delivered now, and what stops there; None: there is nobody to ask.
    fn look_with(&self, guide: &mut Guide, clock: &Clock) -> Result<Option<(u64, Option<Error>)>> {
        if let Guide::Copy(copy) = guide {
            if copy.look_on()? {
                return Ok(Some((copy.seq(), None)));
            }
            *guide = Guide::Log(Box::new(copy.into_log(clock.clone())?));
            self.follows.store(false, Ordering::Release);
        }
        match guide {
            Guide::Log(scout) => scout.look_on().map(Some),
            Guide::Copy(_) | Guide::Nobody => Ok(None),
        }
    }
}

impl Guide {
    fn bytes_walked(&self) -> u64 {
        match self {
            Guide::Log(scout) => scout.bytes_walked(),
            Guide::Copy(_) | Guide::Nobody => 0,
        }
    }

    /// Up to where the files are durable, as the last look found.
    fn reach(&self) -> Reach {
        match self {
            Guide::Log(scout) => scout.reach(),
            Guide::Copy(copy) => copy.reach(),
            Guide::Nobody => Reach { segment: 0, end: 0 },
        }
    }
}

/// No writer has the log.
fn is_unlocked(directory: &Directory) -> Result<bool> {
    let is_free = directory.try_lock(LockKind::Shared)?;
    if is_free {
        directory.unlock()?;
    }
    Ok(is_free)
}

/// Opens what is there, damaged or not.
pub(super) fn open(directory: Arc<Directory>, config: Config, clock: &Clock) -> Result<Inner> {
    // Given back at once: while a reader holds it no writer can open the log.
    let alone = is_unlocked(&directory)?;
    let (examined, kind) = examine_to_read(&directory, &config, clock, alone)?;
    let counters = Arc::new(Counters::default());
    let mut keeps_holds = false;
    let (follows, acknowledged_seq) = match &kind {
        Kind::Log => (false, 0),
        Kind::Copy(None) => (true, 0),
        Kind::Copy(Some(position)) => {
            directory.end_at(position.slot.index);
            (true, position.slot.chain.last_seq)
        }
    };
    let (mut report, log_id, config, reader) = match examined {
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
            let guide = match kind {
                Kind::Copy(Some(position)) => {
                    // The holds are the source's.
                    keeps_holds = false;
                    let copy = PositionScout::new(Arc::clone(&directory), position, found.newest);
                    Guide::Copy(Box::new(copy))
                }
                Kind::Copy(None) | Kind::Log => {
                    let newest = (found.newest.file, found.newest.header);
                    let scout = Scout::new(Arc::clone(&directory), clock.clone(), newest, found.witnessed)?;
                    Guide::Log(Box::new(scout))
                }
            };
            let scouting = Scouting { guide, damage: None, acknowledged_seq };
            (report, log_id, config, Reader::new(bound, reach, follows, scouting))
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
            let log_id = most_said_log_id(&directory);
            let scouting = Scouting { guide: Guide::Nobody, damage: Some(damage), acknowledged_seq };
            (report, log_id, config, Reader::new(bound, Reach { segment: 0, end: 0 }, follows, scouting))
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

/// What a look came to that did not find a whole log.
struct Unsettled {
    error: Error,
    /// What can be read in front of it, if that is damage and no fault of the machine.
    last_good_seq: Option<u64>,
    /// The segment that it was found in, as it is named.
    name: Option<SegmentName>,
}

impl Unsettled {
    fn new(error: Error, last_good_seq: Option<u64>, listing: &Listing) -> Unsettled {
        let name = listing.segments.iter().find(|name| name.index == error.segment).copied();
        Unsettled { error, last_good_seq, name }
    }

    fn of_damage(damage: Damage, listing: &Listing) -> Unsettled {
        // No descriptor, no memory, no permission: the log may be as whole as ever.
        let is_machines = matches!(damage.error.code, Code::NoMem | Code::Perm);
        Unsettled::new(damage.error, (!is_machines).then_some(damage.last_good_seq), listing)
    }

    /// A segment that somebody is beginning, or has released, is another one soon, however often it is found.
    fn is_same(&self, other: &Unsettled) -> bool {
        !matches!(self.error.code, Code::Busy | Code::Trimmed) && (&self.error, self.name) == (&other.error, other.name)
    }

    fn settled(self) -> Result<Result<Examined, Damage>> {
        match self.last_good_seq {
            Some(last_good_seq) => Ok(Err(Damage { error: self.error, last_good_seq })),
            None => Err(self.error),
        }
    }
}

/// Damage is a value here: what lies before it can be read.
///
/// Beside a writer names change while they are read, so what looks broken may only have been in between.  What stays is
/// found again: the same, in a segment of the same name, look after look.  What is another thing at every look is no
/// damage, and looked at until the writer takes a breath or `OPEN_CHANGING_MS` are over: then it is Busy.
fn examine_to_read(
    directory: &Directory,
    config: &Config,
    clock: &Clock,
    alone: bool,
) -> Result<(Result<Examined, Damage>, Kind)> {
    let asked = Asked { access: Access::Read, verify: config.verify };
    // With nobody there it is looked at twice all the same: a writer may just have come, or gone.
    let looks_same = if alone { 2 } else { LOOKS_SAME };
    let until_ns = clock.now_ns().saturating_add(OPEN_CHANGING_MS * 1_000_000);
    let (mut looks, mut same) = (0, 0);
    let mut before: Option<Unsettled> = None;
    loop {
        looks += 1;
        let listing = directory.scan()?;
        let mut kind = Kind::of(&listing);
        let is_empty = listing.segments.is_empty() && !listing.sink;
        let unsettled = match is_empty {
            true if alone && listing.holds => return Err(Error::new(Code::Corrupt, examine::LOST_LOG)),
            true if alone => return Err(Error::new(Code::NotFound, NO_LOG)),
            // Its writer may be just about to make it.
            true => None,
            false => match look_to_read(directory, &listing, asked, alone, &mut kind)? {
                Ok(found) => return Ok((Ok(found), kind)),
                Err(unsettled) => unsettled,
            },
        };
        same = match (&before, &unsettled) {
            (Some(before), Some(now)) if now.is_same(before) => same + 1,
            _ => 1,
        };
        if same >= looks_same {
            if let Some(stays) = unsettled {
                return Ok((stays.settled()?, kind));
            }
        }
        before = unsettled;
        if looks < LOOKS_MIN {
            continue;
        }
        // By both: a process that is kept from running has not looked meanwhile.
        if clock.now_ns() >= until_ns {
            return Err(match before {
                _ if is_empty => Error::new(Code::NotFound, NO_LOG),
                None => Error::new(Code::Busy, "the log changes too fast to be opened"),
                // Nobody changes it: what is different at each look is the device.
                Some(before) if alone && is_unlocked(directory)? => return Ok((before.settled()?, kind)),
                Some(before) => {
                    let text = format!("the log changes too fast to be opened; the last look found: {}", before.error);
                    Error::new(Code::Busy, text)
                }
            });
        }
        clock.pass(Duration::from_millis(1));
    }
}

/// One look; None: it was whole, and has changed since.
///
/// A file that is named as nothing of a log's is hides nothing that is in the others: it is the damage behind all that
/// can be read.  But what an unfinished repair left is no log yet.
fn look_to_read(
    directory: &Directory,
    listing: &Listing,
    asked: Asked,
    alone: bool,
    kind: &mut Kind,
) -> Result<Result<Examined, Option<Unsettled>>> {
    let stray = listing.unknown.first().filter(|_| !listing.unknown.iter().any(|name| name == UNFINISHED_REPAIR));
    let Some(stray) = stray else { return look_at_segments(directory, listing, asked, alone, kind) };
    let segments_only = Listing { unknown: Vec::new(), ..listing.clone() };
    Ok(match look_at_segments(directory, &segments_only, asked, alone, kind)? {
        Ok(found) => {
            let error = Error::new(Code::Corrupt, examine::unknown_name(stray));
            let last_seq = if alone { found.end.last_seq } else { found.witnessed.seq };
            Err(Some(Unsettled::new(error, Some(last_seq), listing)))
        }
        unsettled => unsettled,
    })
}

fn look_at_segments(
    directory: &Directory,
    listing: &Listing,
    asked: Asked,
    alone: bool,
    kind: &mut Kind,
) -> Result<Result<Examined, Option<Unsettled>>> {
    if alone && !listing.sink {
        for name in listing.segments.iter().filter(|name| name.state == State::Active) {
            let file = match directory.open_segment(name.index, Access::Read) {
                // Gone, or not a file at all: the examination says so, after what can be read.
                Err(error) if matches!(error.code, Code::NotFound | Code::Corrupt) => continue,
                opened => opened?.1,
            };
            file.sync()
                .map_err(|error| Error::flush(format_args!("cannot flush {name}"), &error).in_segment(name.index))?;
        }
        directory.sync()?;
    }
    let examined = match kind {
        Kind::Log => examine::examine(directory, listing, asked),
        Kind::Copy(position) => match follower::look(directory, listing, asked.verify, position)? {
            Some(examined) => examined,
            None => return Ok(Err(None)),
        },
    };
    let mut found = match examined {
        Ok(found) => found,
        Err(damage) if damage.error.code == Code::Version => return Err(damage.error),
        Err(damage) => return Ok(Err(Some(Unsettled::of_damage(damage, listing)))),
    };
    // Kept from being recycled from now on, and still what was looked at.
    match open_segment_to_read(directory, found.newest.name.index, &found.log_id) {
        Ok(opened) if opened.header == found.newest.header => {
            if alone {
                // What a writer that came meanwhile has written is reported too.
                opened.file.sync().map_err(|error| Error::flush("cannot flush the active segment", &error))?;
                directory.sync()?;
            }
            found.newest = opened;
            Ok(Ok(found))
        }
        Err(error) => Ok(Err(Some(Unsettled::new(error, None, listing)))),
        Ok(_) => Ok(Err(None)),
    }
}

/// Of a damaged log: what most of its headers say; of as many, what the newer one does.  A single file of another log is
/// not to pass for this one.
fn most_said_log_id(directory: &Directory) -> Id {
    let header = |index| open_short(directory, index, Access::Read).map(|opened| opened.header);
    let mut said: BTreeMap<Id, (u64, usize)> = BTreeMap::new();
    for (at, name) in directory.segments().iter().enumerate() {
        if let Ok(header) = header(name.index) {
            let (count, newest) = said.entry(header.log_id).or_default();
            (*count, *newest) = (*count + 1, at);
        }
    }
    said.into_iter().max_by_key(|(_, often)| *often).map_or([0; 16], |(log_id, _)| log_id)
}
