//! What it takes to make a damaged log one that opens: a plan that only describes.
//!
//! The rule is the simplest that keeps the second promise: the log keeps
//! everything in front of the first damage, and nothing behind it.
//!
//! ```text
//!    where the first damage is             what is planned
//! A  a frame of segment i                  cut i there; drop every later segment
//! B  segment i as a whole: its header,     drop i and every later segment; begin
//!    its place, or it is missing; it is    a new segment i behind the one before
//!    another log's (then it is isolated),
//!    or does not end as i + 1 says
//! C  nothing is damaged, but the newest    begin a new segment behind it
//!    segment is not active: a newer
//!    one was lost
//! D  something is named as if it were      isolate it (`isolate.rs`); nothing that the log can
//!    twal's, or is no file                  read is lost
//! E  the newest archived segment's header  make both again (`restore.rs`); if that
//!    or seal                               cannot be, none: nothing that can be
//!                                          read is damaged, and to cut would drop it
//! ```
//!
//! E comes beside A to C, which are then meant of what is behind it.
//!
//! Another log's segment is never kept, nor one that does not end as the next
//! one says: that one's header was written when the end was durable.  If such a
//! segment is the first, there is no plan: nothing would be left of the log.
//!
//! A cut and a new segment both get a cut mark: a frame of a new epoch that says
//! what was cut.  It makes leftovers of everything behind it.

use super::beginning::{self, Beginning};
use super::examine::{self, Examined};
use super::finding::Acknowledged;
use super::isolate;
use super::restore::{self, Restored};
use crate::base::bytes::len_u64;
use crate::base::limits::{BLOCK_SIZE_DEFAULT, INDEX_WRITTEN_MAX, NUMBER_MAX};
use crate::base::options::Config;
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::frame::{Cut, FLAG_SEAL};
use crate::format::{Chain, Id, SegmentHeader};
use crate::read::sealed::{self, SealedEnd, Stopped};
use crate::read::segment::OpenSegment;
use crate::read::skip::is_damage;
use crate::read::stream::{Body, Glimpse, Stream};
use crate::read::walk::READ_AHEAD;
use crate::read::{followers, segment};
use crate::read::{Look, Walker};
use crate::segment::directory::Listing;
use crate::segment::{retain, Directory, SegmentName, State, UNFINISHED_REPAIR};

/// What is done to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// The segment ends at the offset; what is behind goes.
    Cut,
    /// The segment goes.
    Drop,
    /// What is no segment of this log's, or not under that name, goes.
    Isolate,
    /// A new, empty segment is begun.
    Begin,
    /// Header and seal are written again, as they were; nothing goes.
    Restore,
}

/// One step of a plan.  Each file that is changed or goes is copied first; what is no file is moved.
#[derive(Debug, Clone)]
pub struct Step {
    /// What.
    pub kind: StepKind,
    /// To which file.
    pub file: String,
    /// Its segment's index, of a file that is isolated by its header; 0 if it is none.
    pub segment: u64,
    /// Of a cut, where; of a restoration, the first block that is written.
    pub offset: u64,
    /// First and last number that goes, as far as can be known; last below first: none.
    pub first_seq: u64,
    /// See `first_seq`.
    pub last_seq: u64,
    /// Whether some of it was acknowledged.
    pub acknowledged: Acknowledged,
}

/// The segment that will be the newest.
pub enum Newest {
    /// It is there, and ends here.
    Kept {
        /// Its name.
        name: SegmentName,
        /// Its header.
        header: SegmentHeader,
        /// Where the cut mark goes.
        offset: u64,
    },
    /// It is to be made.
    Begun(SegmentHeader),
}

const OTHERS_HEADER: &str =
    "the segment holds frames that another header was written with: its first 512 bytes are to \
                             blame, and no repair knows what they were: put them back from a backup";

/// How the log will end.
pub struct End {
    /// The newest segment.
    pub newest: Newest,
    /// How the frames that are kept end.
    pub chain: Chain,
    /// The cut mark's epoch.
    pub epoch: u64,
    /// What the cut mark says.
    pub cut: Cut,
}

/// A plan.
pub struct Plan {
    /// For people and programs.  None, although something is wrong: an earlier repair is only to be ended.
    pub steps: Vec<Step>,
    /// What was wrong first.
    pub damage: Option<Error>,
    /// None: no records go.
    pub end: Option<End>,
    /// Blocks that are written again before anything else changes.
    pub restored: Option<Restored>,
    /// An earlier repair was interrupted.
    pub unfinished: bool,
}

impl Plan {
    /// What leaves the log's directory.
    pub fn going(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.kind, StepKind::Drop | StepKind::Isolate))
    }
}

/// The first damage, and what is in front of it.
struct Found {
    error: Error,
    /// Position among the names of the segment that is damaged, or before which one is missing.
    at: usize,
    /// The last segment in front, if there is one, and the one that the damage is in.
    before: Option<OpenSegment>,
    here: Option<OpenSegment>,
    chain: Chain,
    offset: u64,
}

/// Plans; `listing` was scanned under the writer's lock.  Where no header is left that says the sizes, `config` does.
pub fn plan(directory: &Directory, mut listing: Listing, config: &Config) -> Result<Plan> {
    let unfinished = listing.unknown.iter().any(|name| name == UNFINISHED_REPAIR);
    let mut plan = Plan { steps: Vec::new(), damage: None, end: None, restored: None, unfinished };
    for (step, text) in isolate::isolate(directory, &mut listing)? {
        plan.damage.get_or_insert(Error::new(Code::Corrupt, text));
        plan.steps.push(step);
    }
    let names = &listing.segments;
    if names.is_empty() && !unfinished {
        return Err(Error::new(Code::NotFound, "there is no log in the directory"));
    }
    let log_id = isolate::log_of(directory, names);
    let (restored, found) = first_damage(directory, names, log_id)?;
    let error = restored.as_ref().map(|restored| &restored.error).or(found.as_ref().map(|found| &found.error)).cloned();
    if let Some(restored) = restored {
        plan.steps.push(restored.step());
        plan.restored = Some(restored);
    }
    if let Some(found) = found {
        plan_end(directory, names, found, (log_id, config), &mut plan)?;
    }
    plan.damage = error.or(plan.damage);
    if unfinished {
        plan.damage.get_or_insert(Error::new(Code::Corrupt, examine::unknown_name(UNFINISHED_REPAIR)));
    }
    // An archived segment that becomes the newest one no longer says that its elders were given back.
    if let Err((name, text)) = retain::check(&names_behind(names, &plan)) {
        let text = format!("what a repair could leave is no log, because {text}: read the log and write it anew");
        return Err(Error::new(Code::Unsupported, text).in_segment(name.index));
    }
    Ok(plan)
}

/// The names that the plan leaves.
fn names_behind(names: &[SegmentName], plan: &Plan) -> Vec<SegmentName> {
    let goes = |name: &SegmentName| {
        let file = name.to_string();
        plan.going().any(|step| step.file == file)
    };
    let mut left: Vec<SegmentName> = names.iter().filter(|name| !goes(name)).copied().collect();
    match plan.end.as_ref().map(|end| &end.newest) {
        Some(Newest::Kept { name, .. }) => {
            left.iter_mut().filter(|other| *other == name).for_each(|kept| kept.state = State::Active);
        }
        Some(Newest::Begun(header)) => {
            left.push(SegmentName { index: header.index, first_seq: header.first_seq, state: State::Active });
        }
        None => {}
    }
    left
}

/// Walks the log until something is not as it should be; the newest archived segment is passed over if it can be
/// restored.
fn first_damage(
    directory: &Directory,
    names: &[SegmentName],
    log_id: Option<Id>,
) -> Result<(Option<Restored>, Option<Found>)> {
    let live = retain::first_live(names);
    let mut wrong = retain::complaints(names);
    if names.last().is_some_and(examine::is_lost_newer) {
        // The worst, and the first; it leaves every file in its place.
        wrong.remove(0);
    }
    // The newest archived one says how the first live one begins.
    let from = live.saturating_sub(1);
    let elder = |bad: &SegmentName| names[..from].contains(bad);
    if let Some((name, text)) = wrong.iter().find(|(bad, _)| elder(bad)) {
        return Err(beyond_repair(&Error::new(Code::Corrupt, text.clone()).in_segment(name.index)));
    }
    let mut before: Option<OpenSegment> = None;
    let mut restored: Option<Restored> = None;
    let restore = |error: Error| -> Result<Restored> {
        let said = |name: &&SegmentName| wrong.iter().any(|(bad, _)| bad == *name);
        match names.get(live).filter(|next| !said(next)) {
            Some(next) => restore::restore(directory, names, &names[from], next, &error)?,
            None => None,
        }
        .ok_or_else(|| beyond_repair(&error))
    };
    let found = |error: Error, at, before: Option<OpenSegment>, chain| Found {
        error,
        at,
        before,
        here: None,
        chain,
        offset: 0,
    };
    let mut chain = Chain::default();
    // In front of `before`.
    let mut elder = (None, chain);
    for (at, name) in names.iter().enumerate().skip(from) {
        let newest = at + 1 == names.len();
        let said = wrong.iter().find(|(bad, _)| bad == name);
        let opened = match said {
            Some((_, text)) => Err(Error::new(Code::Corrupt, text.clone()).in_segment(name.index)),
            // What may only be read by this release is not repaired by it either.
            None => examine::open_next(directory, name, None, Access::Write).and_then(|(opened, _)| {
                let is_ours = log_id.is_none_or(|log_id| log_id == opened.header.log_id);
                is_ours.then_some(opened).ok_or_else(|| examine::of_another_log(name.index))
            }),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) if !is_damage(&error) => return Err(error),
            Err(error) if at < live => {
                chain = restored.insert(restore(error)?).chain;
                continue;
            }
            // It was whole when it spoke for the one before.
            Err(error) if at == live && restored.is_some() => return Err(beyond_repair(&error)),
            Err(error) if before.is_none() && said.is_none() && is_others(directory, name, log_id) => {
                return Err(nothing_left(&error));
            }
            Err(error) => return Ok((restored, Some(found(error, at, before, chain)))),
        };
        let header = opened.header;
        let follows = before.as_ref().is_none_or(|before| before.header.block_size == header.block_size);
        if before.is_some() && (!follows || header.before != chain) {
            if at > live && follows && !is_contradicted(directory, names.get(at + 1), &opened) {
                let error = Error::new(Code::Corrupt, "the segment does not end in the seal that the next one names");
                let error = error.in_segment(names[at - 1].index);
                let (Some(before), chain) = elder else { return Err(nothing_left(&error)) };
                return Ok((restored, Some(found(error, at - 1, Some(before), chain))));
            }
            let error = Error::new(Code::Corrupt, "the segment does not continue the one before it");
            return Ok((restored, Some(found(error.in_segment(name.index), at, before, chain))));
        }
        if let Some(Err(error)) = before.as_ref().map(|before| examine::check_seal(before, &header)) {
            return if is_damage(&error) { Ok((restored, Some(found(error, at, before, chain)))) } else { Err(error) };
        }
        let chain_before = chain;
        let walked = match newest && !examine::is_lost_newer(name) {
            true => examine::examine_tail(opened.clone()).and_then(|found| {
                let (end, offset) = (found.end, found.end_offset);
                let counts_on = examine::check_counts_on(&found);
                counts_on.map(|()| (end, offset)).map_err(|error| Stopped { error, end, offset })
            }),
            false if at < live => archived_end(directory, names, at, &opened),
            false => walk(&opened, newest),
        };
        match walked {
            Ok((end, _)) => chain = end,
            Err(stopped) if !is_damage(&stopped.error) => return Err(stopped.error),
            Err(stopped) if at < live => {
                chain = restored.insert(restore(stopped.error)?).chain;
                continue;
            }
            Err(Stopped { error, end, offset }) => {
                if names.len() == 1 && has_others_header(&opened, offset)? {
                    return Err(Error { code: Code::Unsupported, text: OTHERS_HEADER.into(), ..error });
                }
                let found = Found { error, at, before, here: Some(opened), chain: end, offset };
                return Ok((restored, Some(found)));
            }
        }
        elder = (before.replace(opened), chain_before);
    }
    let found = match names.last() {
        // Only after a repair that was interrupted.
        None => {
            let error = Error::new(Code::Corrupt, "a repair removed every segment and was interrupted");
            Some(found(error, 0, None, chain))
        }
        Some(newest) if examine::is_lost_newer(newest) => {
            let error = Error::new(Code::Corrupt, "the newest segment is not active: a newer one was lost");
            Some(found(error.in_segment(newest.index), names.len(), before, chain))
        }
        Some(_) => None,
    };
    Ok((restored, found))
}

/// No frame of the log's only segment was written with the header that it has now.
fn has_others_header(opened: &OpenSegment, offset: u64) -> Result<bool> {
    let header = &opened.header;
    let nothing_read = header.index == 1 && offset == u64::from(header.block_size);
    Ok(nothing_read && beginning::look(opened.file.as_ref(), header)? == Beginning::OfOther)
}

/// The first damage in an archived segment.
pub fn released_damage(directory: &Directory) -> Result<Option<Error>> {
    for name in directory.segments().iter().filter(|name| name.state == State::Archived) {
        let read = segment::open(directory, name.index, Access::Read)
            .and_then(|opened| walk_to_seal(&opened).map(drop).map_err(|stopped| stopped.error));
        match read {
            Err(error) if is_damage(&error) => return Ok(Some(error)),
            read => read?,
        }
    }
    Ok(None)
}

/// A newest segment that is not active may end without a seal: then it is cut there.
fn walk(opened: &OpenSegment, newest: bool) -> Result<(Chain, u64), Stopped> {
    if !newest {
        return walk_to_seal(opened);
    }
    let Examined { end, end_offset, sealed, .. } = examine::examine_tail(opened.clone())?;
    if sealed {
        return Ok((end, end_offset));
    }
    let error = Error::new(Code::Corrupt, "the newest segment is not active, and does not end in a seal");
    Err(Stopped { error: error.at(opened.name.index, end_offset), end, offset: end_offset })
}

/// Of the newest archived segment only the end matters.
fn archived_end(
    directory: &Directory,
    names: &[SegmentName],
    at: usize,
    opened: &OpenSegment,
) -> Result<(Chain, u64), Stopped> {
    let next = names.get(at + 1).map(|name| segment::open(directory, name.index, Access::Read));
    match next {
        Some(Ok(next)) if next.header.log_id == opened.header.log_id && next.name.index == opened.name.index + 1 => {
            let seen = examine::check_seal(opened, &next.header);
            let offset = next.header.before_offset;
            let end = next.header.before;
            seen.map(|_| (end, offset)).map_err(|error| Stopped { error, end, offset })
        }
        // The next one cannot say it.
        _ => walk_to_seal(opened),
    }
}

fn walk_to_seal(opened: &OpenSegment) -> Result<(Chain, u64), Stopped> {
    let SealedEnd { chain, offset, .. } = sealed::check(opened)?;
    Ok((chain, offset))
}

/// The segment behind `opened` says that this one ends otherwise than it does: what it says of the one in front of it
/// counts for nothing.
fn is_contradicted(directory: &Directory, next: Option<&SegmentName>, opened: &OpenSegment) -> bool {
    let next = next.and_then(|next| segment::open(directory, next.index, Access::Read).ok());
    next.filter(|next| next.header.log_id == opened.header.log_id)
        .is_some_and(|next| walk_to_seal(opened).is_ok_and(|(end, _)| end != next.header.before))
}

/// The segment's header can be read, and says that it is another log's.
fn is_others(directory: &Directory, name: &SegmentName, log_id: Option<Id>) -> bool {
    let opened = segment::open(directory, name.index, Access::Read);
    opened.is_ok_and(|opened| log_id.is_some_and(|log_id| log_id != opened.header.log_id))
}

fn nothing_left(error: &Error) -> Error {
    let text = format!(
        "{}, and nothing is in front of it: a repair would leave nothing of the log; put the segment's own file back, or \
         read what is behind it and write it anew",
        error.text
    );
    Error { code: Code::Unsupported, text: text.into(), ..error.clone() }
}

fn beyond_repair(error: &Error) -> Error {
    let text = format!(
        "nothing that can be read is damaged, but the newest archived segment is, and without it the log does not open: \
         {}; and what is left does not say what its header and seal were: read the log and write it anew",
        error.text
    );
    Error { code: Code::Unsupported, ..Error::new(Code::Unsupported, text).at(error.segment, error.offset) }
}

/// What goes, and where the log will end.
fn plan_end(
    directory: &Directory,
    names: &[SegmentName],
    found: Found,
    (log_id, config): (Option<Id>, &Config),
    plan: &mut Plan,
) -> Result<()> {
    let Found { error, at, before, here, mut chain, mut offset } = found;
    if let Some(here) = &here {
        // Behind the cut's mark a seal has to fit.  No record reaches into the last two blocks: what is there is a mark.
        let last = here.header.segment_size - 2 * u64::from(here.header.block_size);
        if offset > last {
            (chain, offset) = (chain_before(here, last)?, last);
        }
    }
    let first_seq = chain.last_seq + 1;
    let mut lost = Lost { epoch: chain.epoch, ..Lost::default() };
    let behind = if here.is_some() { at + 1 } else { at };
    if let Some(here) = &here {
        lost.bytes = lost.look(here, &chain, offset)?;
        let acknowledged = match behind < names.len() || lost.says_durable || error.code == Code::Corrupt {
            true => Acknowledged::Yes,
            false => Acknowledged::Unknown,
        };
        plan.steps.push(Step {
            kind: StepKind::Cut,
            file: here.name.to_string(),
            segment: here.name.index,
            offset,
            first_seq,
            last_seq: lost.last_seq.max(first_seq - 1),
            acknowledged,
        });
    }
    for (at, name) in names.iter().enumerate().skip(behind) {
        let next_first = names.get(at + 1).map_or(0, |next| next.first_seq);
        let before = lost.last_seq;
        if is_others(directory, name, log_id) {
            // Its numbers are another log's.
            plan.steps.push(isolate::unknown(&name.to_string()));
            lost.last_seq = lost.last_seq.max(next_first.saturating_sub(1));
            continue;
        }
        // What cannot be opened says nothing.
        if let Ok((opened, _)) = examine::open_next(directory, name, None, Access::Read) {
            lost.look(&opened, &chain, u64::from(opened.header.block_size))?;
        }
        let last_seq = lost.last_seq.max(next_first.saturating_sub(1)).max(before);
        plan.steps.push(Step {
            kind: StepKind::Drop,
            file: name.to_string(),
            segment: name.index,
            offset: 0,
            first_seq: name.first_seq,
            last_seq: if last_seq >= name.first_seq { last_seq } else { name.first_seq - 1 },
            acknowledged: Acknowledged::Yes,
        });
        lost.last_seq = lost.last_seq.max(last_seq);
    }
    let newest = match here {
        Some(here) => Newest::Kept { name: here.name, header: here.header, offset },
        None => {
            let header = begun(directory, names, before.as_ref(), chain, (log_id, config))?;
            plan.steps.push(Step {
                kind: StepKind::Begin,
                file: SegmentName { index: header.index, first_seq, state: State::Active }.to_string(),
                segment: header.index,
                offset: 0,
                first_seq,
                last_seq: lost.last_seq.max(first_seq - 1),
                acknowledged: Acknowledged::Yes,
            });
            Newest::Begun(header)
        }
    };
    let index = match &newest {
        Newest::Kept { header, .. } | Newest::Begun(header) => header.index,
    };
    if lost.epoch.max(chain.last_seq) >= NUMBER_MAX || index >= INDEX_WRITTEN_MAX {
        let text =
            format!("{}; and what a repair could leave has a number at the end of what can be counted", error.text);
        return Err(Error { code: Code::Unsupported, text: text.into(), ..error });
    }
    plan.end = Some(End {
        newest,
        chain,
        epoch: lost.epoch + 1,
        cut: Cut {
            last_seq: lost.last_seq,
            segments: len_u64(names.len().saturating_sub(behind)),
            bytes: lost.bytes,
            cut_ns: 0,
        },
    });
    Ok(())
}

/// How the frames of `opened` in front of `offset` end, where one begins.
fn chain_before(opened: &OpenSegment, offset: u64) -> Result<Chain> {
    let mut chain = opened.header.before;
    let block = u64::from(opened.header.block_size);
    let mut walker = Walker::new(opened.file.clone(), &opened.header, block, READ_AHEAD)?;
    while walker.offset() < offset {
        let Look::Whole(frame, identity) = walker.look_over() else { break };
        chain = Chain::after(&frame, identity);
        walker.pass(&frame);
    }
    if walker.offset() != offset {
        let error = Error::new(Code::Corrupt, "no frame begins where the segment's last mark was");
        return Err(error.at(opened.header.index, offset));
    }
    Ok(chain)
}

/// The header of a segment behind `before`; without one, of the very first.
fn begun(
    directory: &Directory,
    names: &[SegmentName],
    before: Option<&OpenSegment>,
    chain: Chain,
    (log_id, config): (Option<Id>, &Config),
) -> Result<SegmentHeader> {
    let salt = crate::base::random::id()?;
    let of_log = |header: &SegmentHeader| log_id.is_none_or(|log_id| log_id == header.log_id);
    let known = || names.iter().filter_map(|name| segment::peek(directory, name.index).ok()).filter(of_log);
    // Also of those that go: the holds may be lost, and nobody would miss them.  A header that nobody can read said it
    // perhaps, and the holds were lost with it: the file itself is left.
    let keeps_holds = known().any(|header| header.keeps_holds);
    if let Some(before) = before {
        let index = before.header.index + 1;
        let before_offset = seal_offset(before, &chain)?;
        return Ok(SegmentHeader {
            index,
            salt,
            first_seq: chain.last_seq + 1,
            before: chain,
            before_offset,
            generation: 0,
            segment_size: size_of_new(&before.header, config)?,
            keeps_holds: keeps_holds || before.header.keeps_holds,
            ..before.header
        });
    }
    // The same log, if any header still says which.
    let fresh = crate::base::random::id()?;
    let (log_id, history_id, block_size, segment_size) = match known().next() {
        Some(header) => (header.log_id, header.history_id, header.block_size, size_of_new(&header, config)?),
        None => {
            let block = match config.block_size_asked {
                0 => BLOCK_SIZE_DEFAULT.max(directory.facts().block_align),
                asked => asked,
            };
            (fresh, fresh, block, config.clone().for_log(block)?.segment_size)
        }
    };
    Ok(SegmentHeader {
        index: 1,
        created_ns: 0,
        block_size,
        segment_size,
        first_seq: 1,
        log_id,
        history_id,
        salt,
        keeps_holds,
        generation: 0,
        before: Chain::default(),
        before_offset: 0,
    })
}

/// As large as this one, unless compaction made it smaller.
fn size_of_new(header: &SegmentHeader, config: &Config) -> Result<u64> {
    if header.is_compacted() {
        return Ok(config.clone().for_log(header.block_size)?.segment_size);
    }
    Ok(header.segment_size)
}

/// What a new segment's header says of the place of the seal of `before`, behind which `chain` begins.
fn seal_offset(before: &OpenSegment, chain: &Chain) -> Result<u64> {
    let block = u64::from(before.header.block_size);
    let mut stream = Stream::new(before.file.clone(), &before.header)?;
    let mut at = block;
    while at + block <= before.header.segment_size {
        if matches!(stream.header_at(at), Ok(Some(frame)) if frame.has(FLAG_SEAL)) {
            if let Glimpse::Whole(frame, identity, Body { seal: Some(seal), .. }) = stream.look(at) {
                let (end, offset) = seal.end(Chain::after(&frame, identity), at);
                if end == *chain {
                    return Ok(offset);
                }
            }
        }
        at = stream.next_block(at);
    }
    Err(Error::new(Code::Corrupt, "the segment's seal has gone since it was read").in_segment(before.name.index))
}

/// What can still be told of what goes.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) last_seq: u64,
    epoch: u64,
    bytes: u64,
    pub(super) says_durable: bool,
}

impl Lost {
    /// Looks at every header of `opened` from `offset` on.
    /// Returns how many bytes the frames there take.
    pub(super) fn look(&mut self, opened: &OpenSegment, chain: &Chain, offset: u64) -> Result<u64> {
        let mut bytes = 0;
        let header = opened.header;
        let block = u64::from(header.block_size);
        self.epoch = self.epoch.max(header.before.epoch);
        let mut stream = Stream::new(opened.file.clone(), &header)?;
        let mut at = offset;
        while at + block <= header.segment_size {
            // What cannot be read says nothing.
            if let Ok(Some(frame)) = stream.header_at(at) {
                self.epoch = self.epoch.max(frame.epoch);
                if followers::follows(chain, &frame) {
                    self.last_seq = self.last_seq.max(frame.last_seq());
                    self.says_durable |= frame.durable_seq > chain.last_seq || frame.durable_end > offset;
                    bytes = at + frame.frame_len(block) - offset;
                }
            }
            at = stream.next_block(at);
        }
        Ok(bytes)
    }
}
