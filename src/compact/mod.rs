//! Layer 5: sealed segments without the records that nobody needs any more.
//!
//! Who needs what is the caller's to say, record by record; this only makes
//! files smaller.  Sequence numbers stay: where records went, a frame stands
//! for more numbers than it has records.
//!
//! One segment, and the crash behind each step:
//!   1. Read and verify all of it; ask about each record.  Damage ends it here.
//!   2. Write what stays into a file named like a spare: a crash leaves a spare,
//!      which the next opening removes.
//!   3. Flush it, and read it back: nothing else has these records after step 4.
//!   4. Rename it over the segment.  A crash leaves one or the other, both whole.
//!   5. Flush the directory.  Only now does the next, younger segment begin: what
//!      ends other records may go only when those are gone for good.
//!
//! The next segment's header names the old seal and never changes, so the new
//! seal says for which one it stands, whatever is compacted how often.
//!
//! Takes no lock that an append waits for while it reads or writes a segment;
//! that on names is held over one rename and its flush.
#![forbid(unsafe_code)]

mod plan;
mod rewrite;

use crate::base::clock::Clock;
use crate::base::counters::Counters;
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::{Id, RecordHeader};
use crate::read::sealed::{self, SealedEnd};
use crate::read::segment::{check_writable, open_short, open_to_read, OpenSegment};
use crate::segment::{retain, Directory, SegmentName, Spare, State};
use plan::Plan;

/// A record that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its header.
    pub header: &'a RecordHeader,
    /// Its payload.
    pub payload: &'a [u8],
    /// Every record below this number that was not kept is gone for good: no crash brings it back.
    pub gone_below: u64,
    /// Number that its segment begins with: what goes from there on, goes together with this record.
    pub segment_first_seq: u64,
}

/// Who says what goes, record by record, oldest first.
pub trait Chooser {
    /// Whether the segment with this index stays as it is, without being read.
    fn passes(&mut self, _index: u64) -> bool {
        false
    }

    /// Whether a record is kept.
    fn keeps(&mut self, asked: &Candidate<'_>) -> bool;

    /// All records of a segment were asked about: whether it is rewritten even if that saves nothing, as long as it
    /// does not take more.
    fn insists(&self) -> bool {
        false
    }

    /// A segment is as it will be.
    fn done(&mut self, _segment: &Done) {}
}

impl<F: FnMut(&Candidate<'_>) -> bool> Chooser for F {
    fn keeps(&mut self, asked: &Candidate<'_>) -> bool {
        self(asked)
    }
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub index: u64,
    /// Bytes that its file takes now.
    pub bytes: u64,
    /// Bytes that it took more before.
    pub bytes_saved: u64,
    /// What was let go is gone for good.  False: something was let go, but too little would have been saved, and all of
    /// it is there.
    pub is_gone: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that became smaller.
    pub segments: u64,
    /// Records that went.
    pub records_purged: u64,
    /// Bytes that the files take less.
    pub bytes_saved: u64,
}

/// What to compact, and how.
pub struct Work<'a> {
    /// The log's directory.
    pub directory: &'a Directory,
    /// Which log.
    pub log_id: &'a Id,
    /// Its clock.
    pub clock: &'a Clock,
    /// What is counted.
    pub counters: &'a Counters,
    /// Segments wholly below this number are looked at.
    pub below_seq: u64,
    /// Bytes that a segment must become smaller by, at least.
    pub saving_min: u64,
    /// The log is larger than it may be: segments of which nothing goes are rewritten, too, if that makes them smaller.
    pub packs: bool,
    /// Whether to go on: asked often.
    pub go_on: &'a dyn Fn() -> Result<()>,
    /// Puts a file in a segment's place, durably; false: that segment is there no more.
    pub replace: &'a dyn Fn(&Spare, SegmentName) -> Result<bool>,
}

/// Compacts, oldest first.
pub fn compact(work: &Work<'_>, chooser: &mut dyn Chooser) -> Result<Compacted> {
    let mut done = Compacted::default();
    let names = work.directory.segments();
    let live = &names[retain::first_live(&names)..];
    let Some(first) = live.first() else { return Ok(done) };
    let mut gone_below = first.first_seq;
    for pair in live.windows(2).filter(|pair| pair[1].first_seq <= work.below_seq) {
        let (name, next_first) = (pair[0], pair[1].first_seq);
        if name.state != State::Sealed {
            // Its rename is still to come.
            break;
        }
        (work.go_on)()?;
        if !work.packs && chooser.passes(name.index) {
            // Whether something is there that was let go is known to the chooser alone.
            continue;
        }
        let segment = match open_to_read(work.directory, name.index, work.log_id).and_then(OpenSegment::whole) {
            // Released meanwhile: gone, as far as anybody reads.
            Err(error) if error.code == Code::Trimmed => Ok(None),
            opened => opened.map(Some),
        }?;
        let Some(segment) = segment else {
            gone_below = raised(gone_below, name, next_first);
            continue;
        };
        let (plan, end) = survey(work, &segment, gone_below, chooser)?;
        check_end(work.directory, name, &end, pair[1].index)?;
        let (room, saved_before) = (room_of(name, &segment)?, done.bytes_saved);
        let least = if chooser.insists() { work.saving_min } else { work.saving_min.max(1) };
        let rewrites = (plan.dropped > 0 || work.packs) && may_rewrite(work, &segment)?;
        let is_smaller = rewrites && make_smaller(work, name, (&segment, &end, &plan), least, &mut done)?;
        let is_gone = is_smaller || plan.dropped == 0;
        if is_gone {
            gone_below = raised(gone_below, name, next_first);
        }
        let bytes_saved = done.bytes_saved - saved_before;
        chooser.done(&Done { index: name.index, bytes: room.saturating_sub(bytes_saved), bytes_saved, is_gone });
    }
    Ok(done)
}

/// A later release's segment that this one may only read stays: what its header says more would be lost.
fn may_rewrite(work: &Work<'_>, segment: &OpenSegment) -> Result<bool> {
    match check_writable(work.directory, segment) {
        Err(error) if error.code == Code::Version => Ok(false),
        checked => checked.map(|()| true),
    }
}

/// Everything up to the next segment is gone, if everything up to this one is.
fn raised(gone_below: u64, name: SegmentName, next_first: u64) -> u64 {
    if gone_below == name.first_seq {
        next_first
    } else {
        gone_below
    }
}

/// Step 1.
fn survey(
    work: &Work<'_>,
    segment: &OpenSegment,
    gone_below: u64,
    chooser: &mut dyn Chooser,
) -> Result<(Plan, SealedEnd)> {
    let mut plan = Plan::new(segment.header.block_size);
    let segment_first_seq = segment.header.first_seq;
    let end = sealed::walk(segment, &mut |frame, body| {
        (work.go_on)()?;
        let taken = plan.take(frame, body, &mut |header, payload| {
            chooser.keeps(&Candidate { header, payload, gone_below, segment_first_seq })
        });
        taken.map_err(|_| Error::new(Code::Corrupt, "a record's header is damaged inside a whole frame"))
    })
    .map_err(|stopped| stopped.error)?;
    plan.finish(segment_first_seq, &end.chain);
    Ok((plan, end))
}

/// The frames of the segment `name` are those that its successor continues; what stands for it is vouched for by that.
fn check_end(directory: &Directory, name: SegmentName, end: &SealedEnd, next: u64) -> Result<()> {
    match open_short(directory, next, Access::Read) {
        Ok(next) => end.check_named(name.index, &next.header),
        // Released meanwhile, and so is this one.
        Err(_) if directory.segment(next).is_none_or(|next| next.state == State::Archived) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Bytes that the file of a segment takes.
fn room_of(name: SegmentName, segment: &OpenSegment) -> Result<u64> {
    let failed = |error| Error::os(format_args!("cannot look at {name}"), &error).in_segment(name.index);
    segment.file.room().map_err(failed)
}

/// Steps 2 to 5; false: the segment stays as it is, because less than `least` would be saved.
fn make_smaller(
    work: &Work<'_>,
    name: SegmentName,
    (segment, end, plan): (&OpenSegment, &SealedEnd, &Plan),
    least: u64,
    done: &mut Compacted,
) -> Result<bool> {
    let room = room_of(name, segment)?;
    if plan.size().saturating_add(least) > room {
        return Ok(false);
    }
    let spare = rewrite::rewrite(work.directory, work.clock, (segment, end, plan), work.go_on)?;
    // What the file system takes may be more than what was asked for.
    let failed = |error| Error::os(format_args!("cannot look at {name}"), &error).in_segment(name.index);
    let taken = spare.file.room().map_err(failed);
    let smaller = taken.as_ref().is_ok_and(|taken| taken.saturating_add(least) <= room);
    let replaced = match (work.go_on)() {
        Ok(()) if smaller => (work.replace)(&spare, name),
        Ok(()) => Ok(false),
        Err(error) => Err(error),
    };
    let bytes = room - taken.as_ref().copied().unwrap_or(room).min(room);
    if !matches!(replaced, Ok(true)) {
        // If the rename was done, there is no such spare; if it was not, an orphan is found again at the next open.
        let _ = work.directory.remove_spare(spare);
        taken?;
        return replaced;
    }
    done.segments += 1;
    done.records_purged += plan.dropped;
    done.bytes_saved += bytes;
    work.counters.segments_compacted.one();
    work.counters.records_purged.add(plan.dropped);
    work.counters.compaction_bytes_saved.add(bytes);
    Ok(true)
}
