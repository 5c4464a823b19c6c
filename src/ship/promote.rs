//! From a follower's copy to a log that is written on.
//!
//! The order, and the crash behind each step:
//!   1. Everything written is durable, and the position says so.
//!   2. If the newest segment has no seal: one of a new epoch, at the position.
//!   3. The header of a new segment, which names the seal, with a history id of
//!      its own; then its name.
//!   4. The name of the older segment.
//!   5. `twal-sink` goes.  That is the moment: a crash before it leaves a
//!      follower, which cuts off what the steps before have written; one behind
//!      it leaves a log.
//!
//! The new history keeps the two apart for ever: a sink takes no piece of
//! another history than its own, whichever side has moved on.

use super::sink::{finish, new_file, Segment, Sink};
use super::track::Track;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::crc::crc32c;
use crate::base::limits::{NUMBER_MAX, SEGMENT_SIZE_DEFAULT};
use crate::base::{random, Code, Error, Result};
use crate::disk::{Durable, File};
use crate::format::frame::{Seal, FLAG_SEAL, SEAL_LEN};
use crate::format::{Chain, FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::AlignedBuf;
use crate::segment::{SegmentName, State};

impl Sink {
    /// Makes the copy a log that can be opened for writing, with a history of its own.  The sink is at its end then.
    ///
    /// # Errors
    /// As `twal_sink_promote`.
    pub fn promote(&mut self) -> Result<()> {
        self.sync()?;
        let Some(Segment { file, track }) = &self.segment else {
            return Err(Error::new(Code::State, "the follower has nothing yet that could be promoted"));
        };
        if track.chain.epoch >= NUMBER_MAX || track.chain.last_seq >= NUMBER_MAX {
            return Err(track.damaged("there is no higher epoch, or no higher number: nobody could write on"));
        }
        let old = track.header;
        // What a compaction leaves is no size to go on with.
        let segment_size = if old.is_compacted() { SEGMENT_SIZE_DEFAULT } else { old.segment_size };
        let (history_id, salt, epoch_id) = (random::id()?, random::id()?, random::id()?);
        let spare = new_file(&self.directory, &self.clock, &self.latch, segment_size)?;
        let (directory, clock) = (&self.directory, &self.clock);
        let promoted = self.latch.run(|| {
            let (before, before_offset) = match track.seal_offset {
                Some(seal_offset) => (track.chain, seal_offset),
                None => (write_seal(file.as_ref(), track, epoch_id)?, track.offset),
            };
            let header = SegmentHeader {
                index: old.index + 1,
                created_ns: clock.wall_ns(),
                segment_size,
                first_seq: before.last_seq + 1,
                history_id,
                salt,
                // The holds are the source's.
                keeps_holds: false,
                generation: 0,
                before,
                before_offset,
                ..old
            };
            spare.write_header(&header, Durable::Yes)?;
            let name = SegmentName { index: header.index, first_seq: header.first_seq, state: State::Active };
            directory.publish(&spare, name)?;
            finish(directory, old.index)?;
            directory.end_following()
        });
        promoted?;
        self.ended = true;
        Ok(())
    }
}

/// Ends the segment where it is; how the frames end then.
fn write_seal(file: &dyn File, track: &Track, epoch_id: crate::format::Id) -> Result<Chain> {
    let (header, offset) = (&track.header, track.offset);
    let mut block = AlignedBuf::zeroed(usize_of(u64::from(header.block_size)))?;
    if offset + len_u64(block.len()) > header.segment_size {
        return Err(track.damaged("the segment has no room for a seal"));
    }
    let body = FRAME_HEADER_LEN..FRAME_HEADER_LEN + SEAL_LEN;
    let seal =
        Seal { record_count: track.records, first_seq: header.first_seq, frame_count: track.frames, first_seal: None };
    seal.encode(&mut block[body.clone()]);
    let frame = FrameHeader {
        body_len: u32::try_from(SEAL_LEN).expect("a few bytes"),
        body_crc: crc32c(&block[body]),
        first_seq: track.chain.last_seq + 1,
        seq_span: 0,
        record_count: 0,
        flags: FLAG_SEAL,
        durable_seq: track.chain.last_seq,
        durable_end: offset,
        epoch: track.chain.epoch + 1,
        epoch_id,
        frame_number: 1,
        chain: track.chain.identity,
    };
    let identity = frame.encode(header.place(), offset, &mut block);
    file.write_at(&block, offset, Durable::Yes)
        .map_err(|error| Error::os("cannot write the seal", &error).at(header.index, offset))?;
    Ok(Chain::after(&frame, identity))
}
