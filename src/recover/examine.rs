//! From the files of a log to where it ends and what is wrong with it.  Reads only.
//!
//! Looks at every header, at every seal through the header that names it, and at
//! every byte of the newest segment; with `verify` at every byte of all that are
//! not released.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::limits::{INDEX_WRITTEN_MAX, NUMBER_MAX};
use crate::base::{thread, Code, Error, Result};
use crate::disk::Access;
use crate::format::frame::{Cut, Seal, FLAG_CUT, FLAG_SEAL};
use crate::format::{Chain, Id, SegmentHeader};
use crate::read::followers::{self, Followers};
use crate::read::sealed::{self, rot, Stopped};
use crate::read::segment::{self, OpenSegment};
pub use crate::read::vouched::check_seal;
use crate::read::walk::READ_AHEAD;
use crate::read::{short, Look, Walker, Witnessed};
use crate::recover::beginning::{self, Beginning};
use crate::recover::verdict::{verdict, Spot, Verdict};
use crate::segment::directory::Listing;
use crate::segment::{retain, Directory, SegmentName, State, UNFINISHED_REPAIR};

/// What was found.
pub struct Examined {
    /// The newest segment, open.
    pub newest: OpenSegment,
    /// Which log.
    pub log_id: Id,
    /// How the frames end.
    pub end: Chain,
    /// Offset behind the last frame, in the newest segment.
    pub end_offset: u64,
    /// The newest segment ends in a seal: the next frame belongs in a new one.
    pub sealed: bool,
    /// That seal stands for another one.  Only what had a successor is compacted: that was lost.
    pub lost_newer: bool,
    /// Records in the newest segment.
    pub records_in_newest: u64,
    /// Frames in the newest segment.
    pub frames_in_newest: u64,
    /// What the newest segment's header and frames say was durable.
    pub witnessed: Witnessed,
    /// Highest epoch of any frame, taken or not.
    pub epoch_max: u64,
    /// A frame that nobody was promised was cut off.
    pub torn: bool,
    /// Bytes from the end to the end of what was cut.
    pub bytes_cut: u64,
    /// Numbers up to the end that belong to no record, because compaction dropped it; archived segments not counted.
    pub purged: u64,
    /// The newest segment's last cut mark: the first number that a repair cut, and what it says.
    pub cut: Option<(u64, Cut)>,
}

/// The first damage of a log, and the last record before it.
#[derive(Debug, Clone)]
pub struct Damage {
    /// What and where.
    pub error: Error,
    /// Everything up to here can be read.
    pub last_good_seq: u64,
}

impl From<Stopped> for Damage {
    fn from(stopped: Stopped) -> Damage {
        Damage { error: stopped.error, last_good_seq: stopped.end.last_seq }
    }
}

/// What to look at, and how.
#[derive(Clone, Copy)]
pub struct Asked {
    /// Open the newest segment for writing, and refuse what may only be read.
    pub access: Access,
    /// Look at every byte that is not released.
    pub verify: bool,
}

/// Looks at the whole log; `listing` has at least one segment.
pub fn examine(directory: &Directory, listing: &Listing, asked: Asked) -> Result<Examined, Damage> {
    let names = &listing.segments;
    if let Some(unknown) = listing.unknown.first() {
        let text = unknown_name(unknown);
        let last_good_seq = names[0].first_seq - 1;
        return Err(Damage { error: Error::new(Code::Corrupt, text), last_good_seq });
    }
    let mut wrong = retain::complaints(names);
    // It leaves every file in its place, and is the first if it is there at all.
    let newest_lost = names.last().is_some_and(is_lost_newer).then(|| wrong.remove(0));
    let from = names.iter().rposition(|name| name.state == State::Archived).unwrap_or(0);
    let mut segments: Vec<OpenSegment> = Vec::new();
    let mut purged = 0;
    // Bytes at a file's end that hide nothing.
    let mut missing = None;
    for (at, name) in names.iter().enumerate().skip(from) {
        let newest = at + 1 == names.len();
        let named_bad = wrong.iter().find(|(bad, _)| bad == name);
        let opened = match named_bad {
            Some((_, text)) => Err(Error::new(Code::Corrupt, text.clone()).in_segment(name.index)),
            None => match asked.access {
                // What is missing at a file's end hides nothing in front of it: it is found behind that.
                Access::Read => segment::open_short(directory, name.index, Access::Read),
                Access::Write => segment::open(directory, name.index, if newest { asked.access } else { Access::Read }),
            }
            .and_then(|opened| continue_in(opened, segments.last())),
        };
        let damaged = |error| {
            // Its name may be the damage: what a later one begins with lies behind it.
            let next_seq = names[at..].iter().map(|name| name.first_seq).min().unwrap_or(name.first_seq);
            Damage { error, last_good_seq: next_seq - 1 }
        };
        let (opened, purged_before) = opened.map_err(damaged)?;
        if let (Access::Read, Some(before)) = (asked.access, segments.last()) {
            match check_size(before) {
                // Nobody reads there: all that is behind it can be delivered.
                Err(error) if before.name.state == State::Archived => missing = Some(error),
                checked => checked.map_err(damaged)?,
            }
        }
        if segments.last().is_some_and(|before| before.name.state != State::Archived) {
            purged += purged_before;
        }
        if !asked.verify {
            // A log may have more segments than this process may have files: only the one before is asked again.
            segments.clear();
        }
        segments.push(opened);
    }
    if asked.verify {
        verify_all(&segments)?;
    }
    let newest = segments.pop().expect("a listing has a segment");
    let missing = check_size(&newest).err().or(missing);
    let mut examined = examine_tail(newest)?;
    if asked.verify {
        // Its frames are whole.  What a host has changed in a reservation that it had committed is found in no other way.
        sealed::check_up_to(&examined.newest, examined.end_offset)?;
    }
    examined.purged += purged;
    let bad_name = newest_lost.or_else(|| wrong.into_iter().next());
    let bad_name = bad_name.map(|(name, text)| Error::new(Code::Corrupt, text).in_segment(name.index));
    let lost_newer = || examined.lost_newer.then(|| lost_newer(examined.newest.header.index));
    match missing.or(bad_name).or_else(lost_newer) {
        None => Ok(examined),
        Some(error) => Err(Damage { error, last_good_seq: examined.end.last_seq }),
    }
}

fn check_size(segment: &OpenSegment) -> Result<()> {
    short::check_size(segment.file.as_ref(), segment.header.index, segment.header.segment_size)
}

/// What to say where there are holds and nothing else.
pub const LOST_LOG: &str =
    "there is no segment, but twal-holds: a log was here, and was lost; without that file a new one can be made";

/// What to say of a file that is named as nothing of a log's is.
pub fn unknown_name(name: &str) -> String {
    match name {
        UNFINISHED_REPAIR => "a repair of this log was begun and interrupted: repair it again".to_owned(),
        _ => format!("{name} is named as if it were twal's, but twal writes no such file"),
    }
}

/// The one fault of names that leaves every file in its place: the newest is
/// missing.  All that is there can be read.
pub fn is_lost_newer(newest: &SegmentName) -> bool {
    newest.state != State::Active
}

/// The same of a newest segment that is named as it should be, and was compacted as only one with a successor is.
pub fn lost_newer(index: u64) -> Error {
    Error::new(Code::Corrupt, COMPACTED_NEWEST).in_segment(index)
}

/// See [`lost_newer`].
pub const COMPACTED_NEWEST: &str = "the newest segment was compacted, which only older ones are: a newer one was lost";

/// Opens a segment and checks that it continues the one before.  Also says how many numbers of that one belong
/// to no record.
pub fn open_next(
    directory: &Directory,
    name: &SegmentName,
    before: Option<&OpenSegment>,
    access: Access,
) -> Result<(OpenSegment, u64)> {
    continue_in(segment::open(directory, name.index, access)?, before)
}

/// As [`open_next`], of one that is open.
pub fn continue_in(opened: OpenSegment, before: Option<&OpenSegment>) -> Result<(OpenSegment, u64)> {
    let index = opened.name.index;
    let wrong = |text: &'static str| Err(Error::new(Code::Corrupt, text).in_segment(index));
    match before {
        None if index == 1 && opened.header.before != Chain::default() => {
            wrong("the first segment names one before it")
        }
        None => Ok((opened, 0)),
        Some(before) => {
            if opened.header.log_id != before.header.log_id {
                return Err(of_another_log(index));
            }
            let seal = check_seal(before, &opened.header)?;
            let purged = opened.header.first_seq - before.header.first_seq - seal.record_count;
            Ok((opened, purged))
        }
    }
}

/// Not this log's.
pub fn of_another_log(index: u64) -> Error {
    Error::new(Code::Corrupt, "the segment is of another log").in_segment(index)
}

/// Every byte of every segment that can be read but the newest, in parallel.
pub fn verify_all(segments: &[OpenSegment]) -> Result<(), Damage> {
    // The archived one in front of them is asked for its end alone: nobody reads it.
    let archived = segments.iter().take_while(|segment| segment.name.state == State::Archived).count();
    let older = &segments[archived.min(segments.len() - 1)..segments.len() - 1];
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4).min(older.len());
    let (next, damages) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // In order: everything in front of the first damage is taken before it is found.
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(segment) = older.get(at) else { return };
            // The newest one of all is no older one: each of these has a successor.
            if let Err(damage) = verify_one(segment, &segments[archived + at + 1].header) {
                damages.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads it takes longer; this one is enough.
            if thread::spawn_scoped(scope, "twal-verify", work).is_err() {
                break;
            }
        }
        work();
    });
    let damages = damages.into_inner().unwrap_or_else(PoisonError::into_inner);
    damages.into_iter().min_by_key(|damage| damage.error.segment).map_or(Ok(()), Err)
}

fn verify_one(segment: &OpenSegment, next: &SegmentHeader) -> Result<(), Damage> {
    let end = sealed::check(segment)?;
    // Which of its frames are others nobody knows: perhaps the first.
    let last_good_seq = segment.header.first_seq - 1;
    end.check_named(segment.header.index, next).map_err(|error| Damage { error, last_good_seq })
}

/// Walks the newest segment to the log's end.
pub fn examine_tail(newest: OpenSegment) -> Result<Examined, Stopped> {
    let header = newest.header;
    let block = u64::from(header.block_size);
    let walker = Walker::new(newest.file.clone(), &header, block, READ_AHEAD);
    let mut walker = walker.map_err(|error| Stopped { error, end: header.before, offset: block })?;
    let mut found = Examined {
        log_id: header.log_id,
        newest,
        end: header.before,
        end_offset: block,
        sealed: false,
        lost_newer: false,
        records_in_newest: 0,
        frames_in_newest: 0,
        witnessed: Witnessed::by_header(&header),
        epoch_max: header.before.epoch,
        torn: false,
        bytes_cut: 0,
        purged: 0,
        cut: None,
    };
    while !found.sealed {
        let look = walker.look_over();
        if let Look::Whole(frame, identity) = &look {
            if found.end.continues_in(frame) {
                assert_eq!(verdict(Spot::Next, false, false), Verdict::Take, "whatever follows");
                let offset = walker.offset();
                let cut = frame.has(FLAG_CUT).then(|| Cut::decode(walker.words(frame))).flatten();
                let seal = if frame.has(FLAG_SEAL) { Seal::decode(walker.words(frame)) } else { None };
                found.lost_newer = header.is_compacted() && seal.is_some_and(|seal| seal.first_seal.is_some());
                found.end = Chain::behind(frame, *identity, walker.words(frame));
                walker.pass(frame);
                found.end_offset = walker.offset();
                found.witnessed.pass(frame, offset, found.end_offset, found.end);
                found.epoch_max = found.epoch_max.max(frame.epoch);
                found.records_in_newest += u64::from(frame.record_count);
                found.frames_in_newest += 1;
                found.sealed = frame.has(FLAG_SEAL);
                if let Some(cut) = cut {
                    found.cut = Some((frame.first_seq, cut));
                }
                continue;
            }
        }
        let damaged = |error| Stopped { error, end: found.end, offset: found.end_offset };
        let mut spot = spot_of(&look, &found.end);
        let followers = match &look {
            Look::Unreadable(error) => {
                assert_eq!(verdict(spot, false, false), Verdict::Refuse, "whatever follows");
                return Err(damaged(error.clone()));
            }
            _ => {
                let spot_offset = walker.offset();
                walker.pass_block();
                followers::find(&mut walker, &found.end, spot_offset, block, header.segment_size).map_err(damaged)?
            }
        };
        if spot == Spot::NoHeader && header.index == 1 && found.end_offset == block {
            let looked = beginning::look(found.newest.file.as_ref(), &header).map_err(damaged)?;
            if looked != Beginning::Unwritten {
                spot = Spot::NoFirst;
            }
        }
        walker.go_to(found.end_offset);
        match verdict(spot, followers.any, followers.says_durable) {
            Verdict::Rot => {
                // A writer may have finished the frame since it was read: look again before calling it damaged.
                walker.forget();
                if matches!(walker.look_over(), Look::Whole(frame, _) if found.end.continues_in(&frame)) {
                    continue;
                }
                let error = rot(header.index, found.end_offset, &found.end);
                return Err(damaged(match spot {
                    Spot::NoFirst => Error { text: beginning::SPOILT.into(), ..error },
                    _ => error,
                }));
            }
            Verdict::Torn => {
                found.torn = true;
                found.bytes_cut = cut_end(&look, &followers, found.end_offset, block) - found.end_offset;
            }
            Verdict::End => {}
            Verdict::Take | Verdict::Refuse => unreachable!("taken and refused above"),
        }
        found.epoch_max = found.epoch_max.max(followers.epoch_max).max(epoch_of(&look));
        break;
    }
    found.purged = (found.end.last_seq + 1 - header.first_seq).saturating_sub(found.records_in_newest);
    Ok(found)
}

/// Nobody counts on where a number is at the end of its range.  No writer comes there: it is a lie, or damage that a
/// checksum let pass.
pub fn check_counts_on(examined: &Examined) -> Result<()> {
    let index = examined.newest.header.index;
    let counted = [
        ("epoch", examined.epoch_max, NUMBER_MAX),
        ("record", examined.end.last_seq, NUMBER_MAX),
        ("segment", index, INDEX_WRITTEN_MAX),
    ];
    let Some((what, number, max)) = counted.into_iter().find(|(_, number, max)| number >= max) else { return Ok(()) };
    let text = format!("{what} {number} is at the end of what can be counted ({max}): nobody can write on behind it");
    Err(Error::new(Code::Corrupt, text).at(index, examined.end_offset))
}

/// What every later open will hold the newest segment to, once it has a successor: no writer leaves another end, and to
/// write on behind one would make a log that does not open.
pub fn check_end(examined: &Examined) -> Result<()> {
    let Examined { newest, end, end_offset, .. } = examined;
    let header = &newest.header;
    let block = u64::from(header.block_size);
    let wrong = |text: &'static str| Err(Error::new(Code::Corrupt, text).at(header.index, *end_offset));
    if examined.sealed {
        let (first_seq, before_offset) = (end.last_seq + 1, end_offset - block);
        let next = SegmentHeader { first_seq, before: *end, before_offset, ..*header };
        return check_seal(newest, &next).map(drop);
    }
    if end_offset + block > header.segment_size {
        return wrong("the segment is full, and does not end in a seal");
    }
    if !header.is_compacted() && examined.records_in_newest != end.last_seq + 1 - header.first_seq {
        return wrong("the segment's frames hold fewer records than they have numbers, and it was never compacted");
    }
    Ok(())
}

fn spot_of(look: &Look, last: &Chain) -> Spot {
    match look {
        Look::Unreadable(_) => Spot::Unreadable,
        Look::Whole(frame, _) | Look::BadBody(frame) if followers::follows(last, frame) => Spot::OurHeader,
        Look::Whole(..) | Look::BadBody(_) | Look::NoHeader | Look::FileEnd => Spot::NoHeader,
    }
}

fn epoch_of(look: &Look) -> u64 {
    match look {
        Look::Whole(frame, _) | Look::BadBody(frame) => frame.epoch,
        _ => 0,
    }
}

/// End of what is cut off at `offset`.
fn cut_end(look: &Look, followers: &Followers, offset: u64, block: u64) -> u64 {
    let own = match look {
        Look::Whole(frame, _) | Look::BadBody(frame) => offset + frame.frame_len(block),
        _ => offset,
    };
    own.max(followers.end)
}
