//! Carries a plan out.
//!
//! The order, and the crash behind each step:
//!   1. Copies of every file that is changed or goes, durable with their names:
//!      from here on nothing is lost for good.
//!   2. A file whose name no log has: whatever happens from now on, the log does
//!      not open until this repair is done or another one has been.  Without it a
//!      log of which only the newest files were removed would look whole.
//!      Then what is no file is moved to the copies.  Where that cannot be, it is
//!      all put back, and nothing was changed; where that cannot be either, the
//!      sign stays, and another repair goes on from there.
//!   3. What is restored, and files that lack only bytes behind their end; the
//!      cut mark, zeros over blocks behind it that cannot be read, and the bytes
//!      that the file lacks there; a segment to be begun gets its header and the mark
//!      while it is still a spare, and takes a damaged file's name in one step.
//!   4. The removals, and the name of the newest segment.  All of it durable.
//!   5. The file of step 2 goes: the log is whole.
//!
//! A repair after a crash in between plans anew from what is there, and comes
//! to the same end: what is behind the first damage is all that was changed, and
//! what was restored.

use std::sync::Arc;

use super::fill::lengthen;
use super::moves::{Moves, NotMoved};
use super::plan::{End, Newest, Plan, Step, StepKind};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::crc::crc32c;
use crate::base::limits::{BLOCK_SIZE_MAX, ZERO_AT_OPEN};
use crate::base::{random, Code, Error, Result};
use crate::disk::{Access, Durable, File};
use crate::format::frame::{Cut, CUT_LEN, FLAG_CUT};
use crate::format::{FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::AlignedBuf;
use crate::segment::directory::lock_for_writing;
use crate::segment::{spare, Directory, SegmentName, Spare, State};

/// Bytes copied at once.
const PIECE: usize = 1 << 20;

/// What the copies hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backup {
    /// Files that were copied.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that could not be read: they are zeros in the copy.
    pub unreadable: u64,
}

/// Applies `plan` to the log in `directory`, which the caller has locked, after copies into `backup`.
pub fn apply(directory: &Directory, plan: &Plan, backup: &Directory, clock: &Clock) -> Result<Backup> {
    if plan.changes_nothing() {
        return Ok(Backup::default());
    }
    // Room first: a full device is met before anything was changed.
    check_room(directory, plan, clock)?;
    let begun = match &plan.end {
        Some(end) => prepare(directory, end, clock)?,
        None => None,
    };
    let begun_file = begun.as_ref().map(|(_, name)| name.to_string());
    let kept = keep(directory, plan, begun.as_ref().map(|(spare, _)| spare).zip(begun_file.as_deref()), backup);
    let (copied, moved) = match kept {
        Ok(kept) => kept,
        Err(NotMoved { error, put_back }) => {
            // Made for nothing.  The first failure is the one to report.
            let _ = begun.filter(|_| put_back).map(|(spare, _)| directory.remove_spare(spare));
            return Err(error);
        }
    };
    if let Some(restored) = &plan.restored {
        let file = directory.open_file(&restored.name.to_string(), Access::Write)?;
        lock_for_writing(file.as_ref(), &restored.name, clock)?;
        restored.write(file.as_ref())?;
    }
    for fill in &plan.fills {
        let file = directory.open_file(&fill.name.to_string(), Access::Write)?;
        lock_for_writing(file.as_ref(), &fill.name, clock)?;
        lengthen(file.as_ref(), fill.name.index, fill.to)?;
    }
    if let Some(end @ End { newest: Newest::Kept { name, header, offset }, .. }) = &plan.end {
        let file = directory.open_file(&name.to_string(), Access::Write)?;
        lock_for_writing(file.as_ref(), name, clock)?;
        write_mark(file.as_ref(), header, *offset, end, clock)?;
        // After the mark: a segment of zeros and without it would pass for one that ends there by itself.
        clear_unreadable(file.as_ref(), header, *offset + u64::from(header.block_size))?;
        lengthen(file.as_ref(), header.index, header.segment_size)?;
    }
    let goes = |file: &str| plan.going().any(|step| step.file == file);
    if let Some((spare, name)) = begun.filter(|(_, name)| !moved.contains(&name.to_string())) {
        // Before the others go: their headers are all that still says which log this is.
        if goes(&name.to_string()) {
            // In one step: without a newest segment the archived one in front of it would pass for that.
            directory.publish_over(&spare, name)?;
        } else {
            directory.publish(&spare, name)?;
        }
    }
    for step in plan.going().filter(|step| !moved.contains(&step.file) && Some(&step.file) != begun_file.as_ref()) {
        directory.drop_file(&step.file)?;
    }
    directory.sync()?;
    if let Some(End { newest: Newest::Kept { name, .. }, .. }) = &plan.end {
        directory.revive(*name)?;
    }
    directory.end_repair()?;
    Ok(copied)
}

/// There is room for what files lack that are kept.
fn check_room(directory: &Directory, plan: &Plan, clock: &Clock) -> Result<()> {
    let missing = plan.fills.iter().map(|fill| fill.to - fill.from).sum::<u64>();
    let cut = match &plan.end {
        Some(End { newest: Newest::Kept { name, header, .. }, .. }) => {
            let file = directory.open_file(&name.to_string(), Access::Read)?;
            let size = file.size().map_err(|error| Error::os(format_args!("cannot measure {name}"), &error))?;
            header.segment_size.saturating_sub(size)
        }
        _ => 0,
    };
    if missing + cut == 0 {
        return Ok(());
    }
    let spare =
        spare::prepare(directory, (missing + cut).next_multiple_of(len_u64(BLOCK_SIZE_MAX as usize)), 0, clock)?;
    directory.remove_spare(spare)
}

/// Steps 1 and 2: copies, the sign of an unfinished repair, and the moves; which files were moved.  On failure nothing
/// was changed; or the sign stays.
fn keep(
    directory: &Directory,
    plan: &Plan,
    begun: Option<(&Spare, &str)>,
    backup: &Directory,
) -> Result<(Backup, Vec<String>), NotMoved> {
    let unchanged = |error| NotMoved { error, put_back: true };
    let mut moved = Vec::new();
    for step in plan.going() {
        if !directory.is_file(&step.file).map_err(unchanged)? {
            moved.push(step.file.clone());
        }
    }
    let files = plan.steps.iter().filter(|step| !moved.contains(&step.file));
    let copied = copy_all(directory, files, backup).map_err(unchanged)?;
    directory.begin_repair().map_err(unchanged)?;
    if let Err(failed) = Moves::make(directory, &moved, begun, backup) {
        if failed.put_back && !plan.unfinished {
            directory.end_repair().map_err(unchanged)?;
        }
        return Err(failed);
    }
    Ok((copied, moved))
}

/// A segment that is to be begun, whole but for its name.
fn prepare(directory: &Directory, end: &End, clock: &Clock) -> Result<Option<(Spare, SegmentName)>> {
    let Newest::Begun(header) = &end.newest else { return Ok(None) };
    let header = SegmentHeader { created_ns: clock.wall_ns(), ..*header };
    let spare = spare::prepare(directory, header.segment_size, ZERO_AT_OPEN, clock)?;
    spare.write_header(&header, Durable::Yes)?;
    write_mark(spare.file.as_ref(), &header, u64::from(header.block_size), end, clock)?;
    let name = SegmentName { index: header.index, first_seq: header.first_seq, state: State::Active };
    Ok(Some((spare, name)))
}

/// Zeros where nothing can be read behind the cut's mark: opening reads all that is behind the mark, and a block that
/// does not come would refuse the log again.  What is there goes in any case.  Durable: what cannot be read now may be
/// again after a power cut, and nobody knows of which epoch it is.
fn clear_unreadable(file: &dyn File, header: &SegmentHeader, from: u64) -> Result<()> {
    let block_size = usize_of(u64::from(header.block_size));
    let mut piece = AlignedBuf::zeroed(PIECE)?;
    let zeros = AlignedBuf::zeroed(block_size)?;
    let size = file.size().map_err(|error| Error::os("cannot measure the segment", &error).in_segment(header.index))?;
    let end = size.next_multiple_of(len_u64(block_size)).min(header.segment_size);
    let mut cleared = false;
    for at in (from..end).step_by(PIECE) {
        let len = PIECE.min(usize_of(end - at));
        if file.read_at(&mut piece[..len], at).is_ok() {
            continue;
        }
        for at in (at..at + len_u64(len)).step_by(block_size) {
            if file.read_at(&mut piece[..block_size], at).is_err() {
                file.write_at(&zeros, at, Durable::No)
                    .map_err(|error| Error::os("cannot write over what cannot be read", &error).at(header.index, at))?;
                cleared = true;
            }
        }
    }
    if cleared {
        file.sync().map_err(|error| Error::os("cannot flush the segment", &error).in_segment(header.index))?;
    }
    Ok(())
}

/// Writes the cut mark, durably: everything behind it is of an older epoch.
fn write_mark(file: &dyn File, header: &SegmentHeader, offset: u64, end: &End, clock: &Clock) -> Result<()> {
    let mut block = AlignedBuf::zeroed(usize_of(u64::from(header.block_size)))?;
    let body = FRAME_HEADER_LEN..FRAME_HEADER_LEN + CUT_LEN;
    Cut { cut_ns: clock.wall_ns(), ..end.cut }.encode(&mut block[body.clone()]);
    let mark = FrameHeader {
        body_len: u32::try_from(CUT_LEN).expect("a few bytes"),
        body_crc: crc32c(&block[body]),
        first_seq: end.chain.last_seq + 1,
        seq_span: 0,
        record_count: 0,
        flags: FLAG_CUT,
        durable_seq: end.chain.last_seq,
        durable_end: offset,
        epoch: end.epoch,
        epoch_id: random::id()?,
        frame_number: 1,
        chain: end.chain.identity,
    };
    mark.encode(header.place(), offset, &mut block);
    let failed = |error| Error::os("cannot write the cut mark", &error).at(header.index, offset);
    // What is in front of it is witnessed by it, so it has to be durable: a killed process may have left it unflushed.
    file.sync().map_err(failed)?;
    file.write_at(&block, offset, Durable::Yes).map_err(failed)
}

fn copy_all<'a>(directory: &Directory, steps: impl Iterator<Item = &'a Step>, backup: &Directory) -> Result<Backup> {
    let mut copied = Backup::default();
    for step in steps.filter(|step| step.kind != StepKind::Begin) {
        let from = directory.open_file(&step.file, Access::Read)?;
        let to = backup.create_like(&step.file)?;
        copy(&from, &to, (directory, backup), &mut copied)
            .map_err(|error| Error { text: format!("cannot copy {}: {}", step.file, error.text).into(), ..error })?;
        copied.files += 1;
    }
    backup.sync()?;
    Ok(copied)
}

/// The last block of a copy is filled up with zeros; what cannot be read is zeros too.
fn copy(
    from: &Arc<dyn File>,
    to: &Arc<dyn File>,
    (here, there): (&Directory, &Directory),
    copied: &mut Backup,
) -> Result<()> {
    let failed = |error| Error::os("a copy", &error);
    let align = usize_of(u64::from(here.facts().block_align.max(there.facts().block_align).clamp(512, BLOCK_SIZE_MAX)));
    let size = from.size().map_err(failed)?;
    // What nobody ever wrote is not copied: a file of a few blocks may say that it has petabytes.  Flushed first,
    // because file systems have taken for a hole what was on its way there.
    let sparse = from.room().map_err(failed)? < size && from.sync().is_ok();
    let last_block = size.saturating_sub(1) / len_u64(align) * len_u64(align);
    let mut piece = AlignedBuf::zeroed(PIECE)?;
    let mut at = 0;
    while at < size {
        if sparse {
            // What cannot be asked is read, block by block if need be.
            let data = from.data_from(at).unwrap_or(at) / len_u64(align) * len_u64(align);
            // The last block is written in any case: it makes the copy as long.
            let next = data.clamp(at, last_block.max(at));
            copied.bytes += next - at;
            at = next;
        }
        let read = match from.read_at(&mut piece, at) {
            Ok(read) => read,
            Err(_) => read_blocks(from.as_ref(), &mut piece, at, size, align, &mut copied.unreadable),
        };
        if read == 0 {
            return Err(Error::new(Code::Io, "the file has become shorter"));
        }
        let filled = read.next_multiple_of(align);
        piece[read..filled].fill(0);
        to.write_at(&piece[..filled], at, Durable::No).map_err(failed)?;
        at += len_u64(read);
        copied.bytes += len_u64(read);
    }
    to.sync().map_err(failed)
}

/// Block by block, where not all of them can be read.
fn read_blocks(file: &dyn File, piece: &mut [u8], at: u64, size: u64, align: usize, unreadable: &mut u64) -> usize {
    let len = usize_of(len_u64(piece.len()).min(size - at));
    for block in (0..len).step_by(align) {
        let end = (block + align).min(piece.len());
        if file.read_at(&mut piece[block..end], at + len_u64(block)).is_err() {
            piece[block..end].fill(0);
            *unreadable += len_u64(end.min(len) - block);
        }
    }
    len
}
