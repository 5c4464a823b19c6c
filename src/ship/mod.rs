//! Layer 7: shipping.  A [`Source`] yields a log's durable bytes as they are on
//! disk; a [`Sink`] makes them the same files in another directory, checks every
//! one of them, and says what is durable there.  Neither knows what a record
//! means.  How the pieces travel is the program's business.
//!
//! A piece is taken whole or not at all, and only where the one before ended: a
//! lost, doubled or foreign one changes nothing.  What a frame says of the
//! source's disk is no witness for the follower's: that is `twal-sink`'s word
//! (`format/sink.rs`), and a program acknowledges what [`Sink::position`] says.
#![forbid(unsafe_code)]

mod look;
mod promote;
mod reopen;
mod sink;
mod source;
mod track;
mod window;

pub use sink::{Sink, SinkOptions};
pub use source::Source;

use crate::base::crc::crc32c_append;
use crate::format::Id;

/// A place in a log's bytes, from which shipping goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Which log; zeros, as all else, at the very beginning.
    pub log_id: Id,
    /// Which history of it.
    pub history_id: Id,
    /// Salt of the segment's file.
    pub salt: Id,
    /// Index of the segment; 0: nothing of the log was shipped yet.
    pub index: u64,
    /// How often the segment had been compacted.
    pub generation: u64,
    /// Offset in its file.
    pub offset: u64,
    /// Identity of the last frame in front of it: it stands for everything before.
    pub identity: u64,
    /// The last number in front of it.
    pub last_seq: u64,
    /// A hold at this number keeps all that is still needed from here on.
    pub hold_seq: u64,
    /// The segment is complete: the next byte is the next segment's first.
    pub complete: bool,
}

/// Bytes of one segment, as they are on disk.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Which log.
    pub log_id: Id,
    /// Which history the log is in.
    pub history_id: Id,
    /// Salt of the segment's file.
    pub salt: Id,
    /// Index of the segment.
    pub index: u64,
    /// How often it was compacted.
    pub generation: u64,
    /// Where in the segment the piece begins.
    pub offset: u64,
    /// First of all so many zeros, which are not in `data`.
    pub zeros: u64,
    /// Number of the segment's first record.
    pub first_seq: u64,
    /// The last number behind the piece.
    pub last_seq: u64,
    /// Index of the newest segment that the source has released by what a follower has with this piece; 0: none.
    pub archived: u64,
    /// As [`Piece::checksum`] of what left the source.
    pub crc: u32,
    /// The bytes.
    pub data: &'a [u8],
}

impl Piece<'_> {
    /// CRC-32C of where the bytes belong, in which log and history, and of the bytes: behind a seal, and in the padding of
    /// frames, there is no other.
    pub fn checksum(&self) -> u32 {
        let numbers =
            [self.index, self.generation, self.offset, self.zeros, self.first_seq, self.last_seq, self.archived];
        let ids = [self.log_id, self.history_id, self.salt];
        let whose = ids.iter().fold(0, |crc, id| crc32c_append(crc, id));
        let place = numbers.iter().fold(whose, |crc, number| crc32c_append(crc, &number.to_le_bytes()));
        crc32c_append(place, self.data)
    }
}
