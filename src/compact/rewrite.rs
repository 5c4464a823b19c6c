//! Writes what a plan leaves of a segment into a file of its own, and reads it back.

use std::sync::Arc;

use super::plan::{self, Plan, PlannedFrame};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::crc::crc32c;
use crate::base::{Code, Error, Result};
use crate::disk::Durable;
use crate::format::frame::{FirstSeal, Seal, FLAG_DATA, FLAG_SEAL};
use crate::format::record::FLAG_BATCH_CONTINUES;
use crate::format::{Chain, FrameHeader, RecordHeader, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::AlignedBuf;
use crate::read::sealed::{self, SealedEnd};
use crate::read::segment::OpenSegment;
use crate::segment::directory::lock_for_writing;
use crate::segment::{Directory, Spare};

/// A file, whole and flushed, with what `plan` leaves of `segment`, which ends like `end`; `go_on` is asked between
/// frames.  On failure nothing is left behind.
pub fn rewrite(
    directory: &Directory,
    clock: &Clock,
    (segment, end, plan): (&OpenSegment, &SealedEnd, &Plan),
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Spare> {
    let Some(generation) = segment.header.generation.checked_add(1) else {
        let text = "the segment says that it was compacted as often as can be counted";
        return Err(Error::new(Code::Corrupt, text).at(segment.header.index, 0));
    };
    // Named like a spare until it is whole: every release ignores those when it reads, and clears them away.
    let spare = directory.create_spare()?;
    let header = SegmentHeader {
        created_ns: clock.wall_ns(),
        segment_size: plan.size(),
        salt: spare.salt,
        generation,
        ..segment.header
    };
    let written = write(&spare, clock, &header, (segment, end, plan), go_on);
    match written.and_then(|()| read_back(&spare, (segment, end, plan), header)) {
        Ok(()) => Ok(spare),
        Err(error) => {
            // The first failure is the one to report; an orphan is found again at the next open.
            let _ = directory.remove_spare(spare);
            Err(error)
        }
    }
}

fn write(
    spare: &Spare,
    clock: &Clock,
    header: &SegmentHeader,
    (segment, end, plan): (&OpenSegment, &SealedEnd, &Plan),
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    lock_for_writing(spare.file.as_ref(), &spare.name, clock)?;
    let size = header.segment_size;
    spare.file.allocate(size).map_err(|error| Error::os(format_args!("cannot allocate {size} bytes"), &error))?;
    let mut out = Output::new(spare, header, plan)?;
    let mut at = 0;
    sealed::walk(segment, &mut |frame, body| {
        go_on()?;
        for record in plan::records(frame, body) {
            let piece = record.map_err(|_| changed(segment))?;
            if plan.keeps(at) {
                out.put(&piece).ok_or_else(|| changed(segment))?;
            }
            at += 1;
            if piece.ends_batch {
                out.end_batch()?;
            }
        }
        Ok(())
    })
    .map_err(|stopped| stopped.error)?;
    out.finish(end)?;
    spare.write_header(header, Durable::No)?;
    spare.file.sync().map_err(|error| Error::os(format_args!("cannot flush {}", spare.name), &error))
}

/// The segment never changes: a device that gives other bytes the second time is not to be trusted.
fn changed(segment: &OpenSegment) -> Error {
    Error::new(Code::Io, "the segment reads otherwise than a moment ago").in_segment(segment.header.index)
}

/// The only copy of these records is about to go: what replaces it must be there, as the device has it.
fn read_back(
    spare: &Spare,
    (segment, end, plan): (&OpenSegment, &SealedEnd, &Plan),
    header: SegmentHeader,
) -> Result<()> {
    let failed = |error| Error::os(format_args!("cannot read {} back", spare.name), &error);
    let mut block = AlignedBuf::zeroed(usize_of(u64::from(header.block_size)))?;
    let read = spare.file.read_at(&mut block, 0).map_err(failed)?;
    let written = SegmentHeader::decode(&block[..read], true).is_ok_and(|decoded| decoded == header);
    let whole = OpenSegment { name: segment.name, file: Arc::clone(&spare.file), header };
    let seen = sealed::check(&whole).map_err(|stopped| stopped.error);
    match seen {
        Ok(seen) if written && (seen.chain, seen.before_offset) == (end.chain, end.before_offset) => {
            debug_assert_eq!(seen.records, plan.kept);
            Ok(())
        }
        Err(error) if error.code != Code::Corrupt => Err(error),
        _ => Err(Error::new(Code::Io, format!("{} does not read back as it was written", spare.name))),
    }
}

/// The frames being written.
struct Output<'a> {
    spare: &'a Spare,
    header: &'a SegmentHeader,
    plan: &'a Plan,
    /// The frame being filled, header and all.
    buf: AlignedBuf,
    /// Bytes of its body so far.
    filled: usize,
    /// Where in the buffer the last record of the batch begins that is being put together.
    last_of_batch: Option<usize>,
    /// How many planned frames were written.
    written: usize,
    offset: u64,
    chain: Chain,
    /// Frames, the seal too.
    frames: u64,
}

impl<'a> Output<'a> {
    fn new(spare: &'a Spare, header: &'a SegmentHeader, plan: &'a Plan) -> Result<Self> {
        let block = u64::from(header.block_size);
        let largest = plan.frames.iter().map(|frame| frame.frame_len(block)).max().unwrap_or(0).max(block);
        Ok(Output {
            spare,
            header,
            plan,
            buf: AlignedBuf::zeroed(usize_of(largest))?,
            filled: 0,
            last_of_batch: None,
            written: 0,
            offset: block,
            chain: header.before,
            frames: 0,
        })
    }

    fn planned(&self) -> Option<&'a PlannedFrame> {
        self.plan.frames.get(self.written)
    }

    /// The next record that stays; None: it was not planned.
    fn put(&mut self, piece: &plan::Piece<'_>) -> Option<()> {
        let planned = self.planned()?;
        let at = FRAME_HEADER_LEN + self.filled;
        let end = self.filled + piece.bytes.len();
        if len_u64(end) > planned.body_len {
            return None;
        }
        self.buf[at..at + piece.bytes.len()].copy_from_slice(piece.bytes);
        self.filled = end;
        self.last_of_batch = Some(at);
        Some(())
    }

    /// Behind the last record of a batch, kept or not.
    fn end_batch(&mut self) -> Result<()> {
        let Some(at) = self.last_of_batch.take() else { return Ok(()) };
        // The records behind it went: nothing of its batch follows any more.
        if RecordHeader::decode_header(&self.buf[at..]).is_ok_and(|last| last.flags & FLAG_BATCH_CONTINUES != 0) {
            RecordHeader::end_batch(&mut self.buf[at..]);
        }
        match self.planned() {
            Some(planned) if planned.body_len == len_u64(self.filled) => self.end_frame(),
            _ => Ok(()),
        }
    }

    fn end_frame(&mut self) -> Result<()> {
        let Some(&planned) = self.planned() else { return Ok(()) };
        let span = planned.last_seq + 1 - planned.first_seq;
        self.write_frame(FLAG_DATA, (planned.epoch, planned.epoch_id), (span, planned.records))?;
        self.written += 1;
        Ok(())
    }

    /// What is in the buffer becomes the next frame.
    fn write_frame(
        &mut self,
        flags: u32,
        (epoch, epoch_id): (u64, [u8; 16]),
        (seq_span, record_count): (u64, u32),
    ) -> Result<()> {
        let end = FRAME_HEADER_LEN + self.filled;
        let same_epoch = (self.chain.epoch, self.chain.epoch_id) == (epoch, epoch_id);
        let frame = FrameHeader {
            body_len: u32::try_from(self.filled).expect("no frame is longer than the one its records are from"),
            body_crc: crc32c(&self.buf[FRAME_HEADER_LEN..end]),
            first_seq: self.chain.last_seq + 1,
            seq_span,
            record_count,
            flags,
            // When this file gets its name everything in front is durable, in the log and in the file.
            durable_seq: self.chain.last_seq,
            durable_end: self.offset,
            epoch,
            epoch_id,
            frame_number: if same_epoch { self.chain.frame_number + 1 } else { 1 },
            chain: self.chain.identity,
        };
        let len = usize_of(frame.frame_len(u64::from(self.header.block_size)));
        self.buf[end..len].fill(0);
        let identity = frame.encode(self.header.place(), self.offset, &mut self.buf);
        self.spare
            .file
            .write_at(&self.buf[..len], self.offset, Durable::No)
            .map_err(|error| Error::os(format_args!("cannot write {}", self.spare.name), &error))?;
        self.chain = Chain::after(&frame, identity);
        self.offset += len_u64(len);
        self.frames += 1;
        self.filled = 0;
        Ok(())
    }

    /// Seals what was written as the end of a segment that ended like `end`.
    fn finish(mut self, end: &SealedEnd) -> Result<()> {
        if self.filled == 0 && self.planned().is_some_and(|frame| frame.body_len == 0) {
            self.end_frame()?;
        }
        if self.planned().is_some() || self.filled > 0 {
            return Err(
                Error::new(Code::Io, "the segment reads otherwise than a moment ago").in_segment(self.header.index)
            );
        }
        let Chain { identity, epoch, epoch_id, frame_number, .. } = end.chain;
        let seal = Seal {
            record_count: self.plan.kept,
            first_seq: self.header.first_seq,
            frame_count: self.frames,
            first_seal: Some(FirstSeal { identity, offset: end.before_offset, epoch, epoch_id, frame_number }),
        };
        let seal_offset = self.header.compacted_seal_offset();
        debug_assert_eq!(self.offset, seal_offset);
        seal.encode(&mut self.buf[FRAME_HEADER_LEN..]);
        self.filled = seal.body_len();
        self.write_frame(FLAG_SEAL, (epoch, epoch_id), (0, 0))?;
        let block = usize_of(u64::from(self.header.block_size));
        self.buf[..block].fill(0);
        self.spare
            .file
            .write_at(&self.buf[..block], self.offset, Durable::No)
            .map_err(|error| Error::os(format_args!("cannot write {}", self.spare.name), &error))
    }
}
