//! The first block of a segment file.
//!
//! Bytes 0–43 are those of the v2.6 layout (docs/FORMAT.md, "Segment header"),
//! the rest is native.  The checksum is verified before version and features are
//! believed, and both before anything else.  `before` says how the segment
//! before ended: the header is a witness for all of that segment.

use super::{Chain, Id, Place};
use crate::base::bytes::*;
use crate::base::crc::{crc32c, crc32c_append};
use crate::base::limits::*;
use crate::base::{Code, Error, Result};

/// Bytes of the header that are not zero padding.
pub const SEGMENT_HEADER_LEN: usize = 512;
/// First bytes of a segment.
pub const SEGMENT_MAGIC: &[u8; 8] = b"TWALv3.0";
/// Version of the format.
pub const FORMAT_VERSION: u32 = 30;
/// Incompatible feature: numbers are missing from the segment, and its seal stands for an earlier one.
pub const FEATURE_COMPACTED: u32 = 1;
/// Read-only compatible feature: the log keeps holds.  A writer that does not know of them would give away what they
/// keep; and where their file is missing, it was lost.
pub const FEATURE_HOLDS: u32 = 1;
/// Blocks of the least that compaction leaves of a segment: header, one frame, seal, one block of room.
pub const COMPACTED_BLOCKS_MIN: u64 = 4;

const AT_MAGIC: usize = 0;
const AT_VERSION: usize = AT_MAGIC + 8;
const AT_INDEX: usize = AT_VERSION + 4;
const AT_CREATED: usize = AT_INDEX + 8;
const AT_RECORD_COUNT: usize = AT_CREATED + 8;
const AT_PREVIOUS_INDEX: usize = AT_RECORD_COUNT + 8;
const AT_CRC: usize = AT_PREVIOUS_INDEX + 8;
const AT_COMPATIBLE: usize = AT_CRC + 4;
const AT_READ_ONLY_COMPATIBLE: usize = AT_COMPATIBLE + 4;
const AT_INCOMPATIBLE: usize = AT_READ_ONLY_COMPATIBLE + 4;
const AT_BLOCK_SIZE: usize = AT_INCOMPATIBLE + 4;
const AT_SEGMENT_SIZE: usize = AT_BLOCK_SIZE + 4;
const AT_FIRST_SEQ: usize = AT_SEGMENT_SIZE + 8;
const AT_LOG_ID: usize = AT_FIRST_SEQ + 8;
const AT_HISTORY_ID: usize = AT_LOG_ID + 16;
const AT_SALT: usize = AT_HISTORY_ID + 16;
const AT_CIPHER_ID: usize = AT_SALT + 16;
const AT_KEY_ID: usize = AT_CIPHER_ID + 4;
const AT_GENERATION: usize = AT_KEY_ID + 4;
const AT_BEFORE_LAST_SEQ: usize = AT_GENERATION + 8;
const AT_BEFORE_IDENTITY: usize = AT_BEFORE_LAST_SEQ + 8;
const AT_BEFORE_OFFSET: usize = AT_BEFORE_IDENTITY + 8;
const AT_BEFORE_EPOCH: usize = AT_BEFORE_OFFSET + 8;
const AT_BEFORE_EPOCH_ID: usize = AT_BEFORE_EPOCH + 8;
const AT_BEFORE_FRAME_NUMBER: usize = AT_BEFORE_EPOCH_ID + 16;
const AT_RESERVED: usize = AT_BEFORE_FRAME_NUMBER + 8;

const _: () = assert!(AT_CRC == 44); // REQUIREMENTS A5: 44 bytes, in this order
const _: () = assert!(AT_RESERVED == 200);
const _: () = assert!(SEGMENT_HEADER_LEN <= BLOCK_SIZE_MIN as usize);

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Index of the segment, from 1.
    pub index: u64,
    /// Wall-clock nanoseconds since 1970, for people.
    pub created_ns: i64,
    /// Bytes of a block of this log.
    pub block_size: u32,
    /// Bytes of this file.
    pub segment_size: u64,
    /// Number of the first record that the segment can hold.
    pub first_seq: u64,
    /// Which log.
    pub log_id: Id,
    /// Which history of it: new at promotion.
    pub history_id: Id,
    /// Random for each life of the file.
    pub salt: Id,
    /// The file of holds was there before this header was written.
    pub keeps_holds: bool,
    /// How often the segment was compacted.
    pub generation: u64,
    /// How the segment before ended.
    pub before: Chain,
    /// Offset of its last frame, the seal; 0 in the first segment.
    pub before_offset: u64,
}

impl SegmentHeader {
    /// Records were dropped from it since it was sealed.
    pub fn is_compacted(&self) -> bool {
        self.generation > 0
    }

    /// Where the seal of a compacted segment is: one block is left behind it, so that a repair that has to cut
    /// at the seal leaves room for another one.
    pub fn compacted_seal_offset(&self) -> u64 {
        self.segment_size - 2 * u64::from(self.block_size)
    }

    /// What seeds the checksums of this file's frames.
    pub fn place(&self) -> Place {
        Place::new(&self.log_id, &self.salt)
    }

    /// Writes the header; `out` is one zeroed block.
    pub fn encode(&self, out: &mut [u8]) {
        out[AT_MAGIC..AT_VERSION].copy_from_slice(SEGMENT_MAGIC);
        put_u32(out, AT_VERSION, FORMAT_VERSION);
        put_u64(out, AT_INDEX, self.index);
        put_i64(out, AT_CREATED, self.created_ns);
        put_u64(out, AT_RECORD_COUNT, 0);
        put_u64(out, AT_PREVIOUS_INDEX, self.index - 1);
        put_u32(out, AT_COMPATIBLE, 0);
        put_u32(out, AT_READ_ONLY_COMPATIBLE, if self.keeps_holds { FEATURE_HOLDS } else { 0 });
        put_u32(out, AT_INCOMPATIBLE, if self.is_compacted() { FEATURE_COMPACTED } else { 0 });
        put_u32(out, AT_BLOCK_SIZE, self.block_size);
        put_u64(out, AT_SEGMENT_SIZE, self.segment_size);
        put_u64(out, AT_FIRST_SEQ, self.first_seq);
        put_id(out, AT_LOG_ID, &self.log_id);
        put_id(out, AT_HISTORY_ID, &self.history_id);
        put_id(out, AT_SALT, &self.salt);
        put_u32(out, AT_CIPHER_ID, 0);
        put_u32(out, AT_KEY_ID, 0);
        put_u64(out, AT_GENERATION, self.generation);
        put_u64(out, AT_BEFORE_LAST_SEQ, self.before.last_seq);
        put_u64(out, AT_BEFORE_IDENTITY, self.before.identity);
        put_u64(out, AT_BEFORE_OFFSET, self.before_offset);
        put_u64(out, AT_BEFORE_EPOCH, self.before.epoch);
        put_id(out, AT_BEFORE_EPOCH_ID, &self.before.epoch_id);
        put_u64(out, AT_BEFORE_FRAME_NUMBER, self.before.frame_number);
        out[AT_RESERVED..SEGMENT_HEADER_LEN].fill(0);
        let crc = header_crc(out);
        put_u32(out, AT_CRC, crc);
    }

    /// The bytes where the salt is, of a header that may be damaged anywhere.
    pub fn unverified_salt(bytes: &[u8]) -> Option<Id> {
        (bytes.len() >= SEGMENT_HEADER_LEN).then(|| get_id(bytes, AT_SALT))
    }

    /// The checksum that should be there, and the one that is, of a header that may be damaged anywhere.
    pub fn checksums(bytes: &[u8]) -> Option<(u32, u32)> {
        (bytes.len() >= SEGMENT_HEADER_LEN).then(|| (header_crc(bytes), get_u32(bytes, AT_CRC)))
    }

    /// Reads a header.  Corrupt: damage; Version: a format that this library
    /// does not know (for reading, or at all with `writing`).
    pub fn decode(bytes: &[u8], writing: bool) -> Result<SegmentHeader> {
        let corrupt = |text: String| Error::new(Code::Corrupt, text);
        if bytes.len() < SEGMENT_HEADER_LEN {
            return Err(corrupt(format!("a segment of {} bytes has no whole header", bytes.len())));
        }
        let (found, expected) = (get_u32(bytes, AT_CRC), header_crc(bytes));
        if &bytes[AT_MAGIC..AT_VERSION] != SEGMENT_MAGIC && bytes.starts_with(b"TWALv") && found == expected {
            return Err(Error::new(Code::Version, "the segment header has another format's magic"));
        }
        if &bytes[AT_MAGIC..AT_VERSION] != SEGMENT_MAGIC || found != expected {
            return Err(corrupt(format!(
                "the segment header is damaged: checksum {found:#010x}, computed {expected:#010x}"
            )));
        }
        let version = get_u32(bytes, AT_VERSION);
        if version != FORMAT_VERSION {
            return Err(Error::new(
                Code::Version,
                format!("format version {version}; this library knows {FORMAT_VERSION}"),
            ));
        }
        let (incompatible, read_only) = (get_u32(bytes, AT_INCOMPATIBLE), get_u32(bytes, AT_READ_ONLY_COMPATIBLE));
        let cipher = get_u32(bytes, AT_CIPHER_ID);
        if incompatible & !FEATURE_COMPACTED != 0 || (writing && read_only & !FEATURE_HOLDS != 0) || cipher != 0 {
            return Err(Error::new(
                Code::Version,
                format!(
                    "features that this library does not know: incompatible {incompatible:#x}, read-only compatible {read_only:#x}, cipher {cipher}"
                ),
            ));
        }
        let header = SegmentHeader {
            index: get_u64(bytes, AT_INDEX),
            created_ns: get_i64(bytes, AT_CREATED),
            block_size: get_u32(bytes, AT_BLOCK_SIZE),
            segment_size: get_u64(bytes, AT_SEGMENT_SIZE),
            first_seq: get_u64(bytes, AT_FIRST_SEQ),
            log_id: get_id(bytes, AT_LOG_ID),
            history_id: get_id(bytes, AT_HISTORY_ID),
            salt: get_id(bytes, AT_SALT),
            keeps_holds: read_only & FEATURE_HOLDS != 0,
            generation: get_u64(bytes, AT_GENERATION),
            before: Chain {
                last_seq: get_u64(bytes, AT_BEFORE_LAST_SEQ),
                identity: get_u64(bytes, AT_BEFORE_IDENTITY),
                epoch: get_u64(bytes, AT_BEFORE_EPOCH),
                epoch_id: get_id(bytes, AT_BEFORE_EPOCH_ID),
                frame_number: get_u64(bytes, AT_BEFORE_FRAME_NUMBER),
            },
            before_offset: get_u64(bytes, AT_BEFORE_OFFSET),
        };
        if !header.is_sound()
            || header.is_compacted() != (incompatible & FEATURE_COMPACTED != 0)
            || get_u64(bytes, AT_PREVIOUS_INDEX).checked_add(1) != Some(header.index)
        {
            return Err(corrupt("the segment header contradicts itself".to_owned()));
        }
        Ok(header)
    }

    /// What no version of this format writes.
    fn is_sound(&self) -> bool {
        let block = u64::from(self.block_size);
        // What is left of a compacted segment may be less than any segment begins with.
        let size_min = if self.is_compacted() { COMPACTED_BLOCKS_MIN * block } else { SEGMENT_SIZE_MIN };
        self.index >= 1
            && self.first_seq >= 1
            && self.before.last_seq == self.first_seq - 1
            && self.block_size.is_power_of_two()
            && (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&self.block_size)
            && (size_min..=SEGMENT_SIZE_MAX).contains(&self.segment_size)
            && self.segment_size.is_multiple_of(block)
            && self.before_offset.is_multiple_of(block)
            && self.before_offset < SEGMENT_SIZE_MAX
    }
}

fn header_crc(bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&bytes[..AT_CRC]), &bytes[AT_COMPATIBLE..SEGMENT_HEADER_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            index: 7,
            created_ns: 1_700_000_000_000_000_000,
            block_size: 4096,
            segment_size: 1 << 20,
            first_seq: 100,
            log_id: [1; 16],
            history_id: [2; 16],
            salt: [3; 16],
            keeps_holds: false,
            generation: 0,
            before: Chain { epoch: 4, epoch_id: [5; 16], frame_number: 6, identity: 0xabcd, last_seq: 99 },
            before_offset: 8192,
        }
    }

    #[test]
    fn reads_back_what_was_written() {
        let mut bytes = vec![0; 4096];
        header().encode(&mut bytes);
        assert_eq!(SegmentHeader::decode(&bytes, true), Ok(header()));
    }

    /// REQUIREMENTS A5: these fields, in this order, at these offsets.
    #[test]
    fn the_first_44_bytes_are_those_of_v26() {
        let mut bytes = vec![0; 4096];
        header().encode(&mut bytes);
        assert_eq!(&bytes[..8], b"TWALv3.0");
        assert_eq!(get_u32(&bytes, 8), 30);
        assert_eq!(get_u64(&bytes, 12), 7);
        assert_eq!(get_i64(&bytes, 20), 1_700_000_000_000_000_000);
        assert_eq!(get_u64(&bytes, 28), 0);
        assert_eq!(get_u64(&bytes, 36), 6);
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut bytes = vec![0; 4096];
        header().encode(&mut bytes);
        for bit in 0..SEGMENT_HEADER_LEN * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes, false).map_err(|e| e.code), Err(Code::Corrupt), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn features_stop_those_who_do_not_know_them() {
        for (at, writing, refused) in [
            (AT_COMPATIBLE, true, false),
            (AT_READ_ONLY_COMPATIBLE, false, false),
            (AT_READ_ONLY_COMPATIBLE, true, true),
            (AT_INCOMPATIBLE, false, true),
        ] {
            let mut bytes = vec![0; 4096];
            header().encode(&mut bytes);
            put_u32(&mut bytes, at, 2);
            let crc = header_crc(&bytes);
            put_u32(&mut bytes, AT_CRC, crc);
            let expected = if refused { Some(Code::Version) } else { None };
            assert_eq!(SegmentHeader::decode(&bytes, writing).err().map(|error| error.code), expected);
        }
    }

    #[test]
    fn a_log_with_holds_says_so() {
        let with_holds = SegmentHeader { keeps_holds: true, ..header() };
        let mut bytes = vec![0; 4096];
        with_holds.encode(&mut bytes);
        assert_eq!(get_u32(&bytes, AT_READ_ONLY_COMPATIBLE), FEATURE_HOLDS);
        for writing in [true, false] {
            assert_eq!(SegmentHeader::decode(&bytes, writing), Ok(with_holds));
        }
    }

    #[test]
    fn a_compacted_segment_says_so_to_those_who_do_not_know_it() {
        let compacted = SegmentHeader { generation: 3, segment_size: 4 * 4096, ..header() };
        let mut bytes = vec![0; 4096];
        compacted.encode(&mut bytes);
        assert_eq!(get_u32(&bytes, AT_INCOMPATIBLE), FEATURE_COMPACTED);
        assert_eq!(SegmentHeader::decode(&bytes, true), Ok(compacted));
        assert_eq!(compacted.compacted_seal_offset(), 2 * 4096);
        for wrong in [
            SegmentHeader { generation: 3, segment_size: 3 * 4096, ..header() },
            SegmentHeader { generation: 0, segment_size: 4 * 4096, ..header() },
        ] {
            wrong.encode(&mut bytes);
            assert_eq!(SegmentHeader::decode(&bytes, true).map_err(|error| error.code), Err(Code::Corrupt));
        }
        // Generation and bit say the same.
        for (generation, bit) in [(0, FEATURE_COMPACTED), (1, 0)] {
            SegmentHeader { generation, ..header() }.encode(&mut bytes);
            put_u32(&mut bytes, AT_INCOMPATIBLE, bit);
            let crc = header_crc(&bytes);
            put_u32(&mut bytes, AT_CRC, crc);
            assert_eq!(SegmentHeader::decode(&bytes, true).map_err(|error| error.code), Err(Code::Corrupt));
        }
    }
}
