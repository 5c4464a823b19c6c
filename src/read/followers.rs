//! What lies behind a spot that reads badly: every block to the file's end is
//! tried, because the spot itself does not say how long it is.
//!
//! A follower is a verified header of the same file that comes after the last
//! taken frame: its epoch is not below, its number in the epoch is above, and
//! its first sequence number is not below the next one.  Its body need not be
//! whole.  Everything else (an older epoch's frame behind a tail that was cut)
//! is a leftover.

use super::Walker;
use crate::base::Result;
use crate::format::{Chain, FrameHeader};

/// What the blocks behind a spot say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Followers {
    /// There is one.
    pub any: bool,
    /// One says that the number after the last taken one was durable, or that
    /// this very place of the file was.
    pub says_durable: bool,
    /// Highest number that one says was durable.
    pub durable_seq: u64,
    /// End of the last one, as its header says; 0 if there is none.
    pub end: u64,
    /// Highest epoch of any verified header, leftovers too: the next opening goes above it.
    pub epoch_max: u64,
}

/// Looks through the blocks from the walker's place on; `last` is the end of
/// what was taken, `spot` the offset in question.  The walker ends anywhere.
pub fn find(walker: &mut Walker, last: &Chain, spot: u64, block_size: u64, segment_size: u64) -> Result<Followers> {
    let mut found = Followers::default();
    while walker.offset() + block_size <= segment_size {
        if let Some(header) = walker.look_at_header()? {
            found.epoch_max = found.epoch_max.max(header.epoch);
            if follows(last, &header) {
                found.any = true;
                found.says_durable |= header.durable_seq > last.last_seq || header.durable_end > spot;
                found.durable_seq = found.durable_seq.max(header.durable_seq);
                found.end = found.end.max(walker.offset() + header.frame_len(block_size));
            }
        }
        walker.pass_block();
    }
    Ok(found)
}

/// Whether `header` was composed after everything taken so far.
pub fn follows(last: &Chain, header: &FrameHeader) -> bool {
    (header.epoch, header.frame_number) > (last.epoch, last.frame_number) && header.first_seq > last.last_seq
}
