//! Layer 1: bytes ↔ values.  Pure; docs/FORMAT.md is the one full description,
//! and `tests/format_docs.rs` holds the code to it.
//!
//! A segment file is a header block followed by frames; a frame is a header and
//! the records of one group commit, padded with zeros to the block.  Bytes from
//! disk are hostile: first the header's own checksum, then identity, then the
//! length, then the body.
#![forbid(unsafe_code)]

pub mod frame;
pub mod holds;
pub mod record;
pub mod segment_header;
pub mod sink;
pub mod v26;

pub use frame::{Chain, FrameHeader, FRAME_HEADER_LEN};
pub use holds::{Hold, HoldName, Holds};
pub use record::{RecordHeader, RECORD_HEADER_LEN};
pub use segment_header::{SegmentHeader, SEGMENT_HEADER_LEN};
pub use sink::SinkSlot;

/// A random identity.
pub type Id = [u8; 16];

/// What ties a frame to one life of one file of one log: a checksum that is
/// computed with it verifies nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// CRC-32C of log id and salt.
    seed: u32,
}

impl Place {
    /// The place of a file with this salt in this log.
    pub fn new(log_id: &Id, salt: &Id) -> Self {
        Place { seed: crate::base::crc::crc32c_append(crate::base::crc::crc32c(log_id), salt) }
    }

    /// A salt that makes this place in the log: as much of `random` as can be.  Only 32 bits of a salt are in the
    /// checksums, so any that has these is as good as the one that was lost.
    pub fn salt(self, log_id: &Id, random: Id) -> Id {
        let mut salt = random;
        let (free, bound) = salt.split_at_mut(12);
        let before = crate::base::crc::crc32c_append(crate::base::crc::crc32c(log_id), free);
        bound.copy_from_slice(&crate::base::crc::crc32c_bridge(before, self.seed));
        salt
    }

    /// The checksum to start from at `offset` of the file.
    fn at(self, offset: u64) -> u32 {
        crate::base::crc::crc32c_append(self.seed, &offset.to_le_bytes())
    }
}
