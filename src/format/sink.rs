//! The file `twal-sink`: how far a follower's copy of a log is durable.
//!
//! Pure.  Two slots, overwritten in turn; each is one write of two blocks with the same bytes.  So a write that is
//! torn hurts the slot that was being written and nobody was told of, and a block that rots hurts one copy of two
//! (docs/FORMAT.md, "Shipping").

use super::{Chain, Id};
use crate::base::bytes::*;
use crate::base::crc::crc32c;
use crate::base::limits::NUMBER_MAX;
use crate::base::{Code, Error, Result};

/// First bytes of each copy.
pub const SINK_MAGIC: &[u8; 8] = b"TWALsink";
/// Version of the file.
pub const SINK_VERSION: u32 = 1;
/// Bytes of a copy that are not zero padding.
pub const SINK_LEN: usize = 192;
/// Bytes of a copy; more where a device wants larger blocks.
pub const SINK_COPY_LEN: usize = 4096;
/// Copies in a slot.
pub const SINK_COPIES: usize = 2;
/// Slots in the file.
pub const SINK_SLOTS: usize = 2;

const AT_MAGIC: usize = 0;
const AT_VERSION: usize = AT_MAGIC + 8;
const AT_CRC: usize = AT_VERSION + 4;
const AT_NUMBER: usize = AT_CRC + 4;
const AT_LOG_ID: usize = AT_NUMBER + 8;
const AT_HISTORY_ID: usize = AT_LOG_ID + 16;
const AT_SALT: usize = AT_HISTORY_ID + 16;
const AT_INDEX: usize = AT_SALT + 16;
const AT_GENERATION: usize = AT_INDEX + 8;
const AT_OFFSET: usize = AT_GENERATION + 8;
const AT_EPOCH: usize = AT_OFFSET + 8;
const AT_EPOCH_ID: usize = AT_EPOCH + 8;
const AT_FRAME_NUMBER: usize = AT_EPOCH_ID + 16;
const AT_IDENTITY: usize = AT_FRAME_NUMBER + 8;
const AT_LAST_SEQ: usize = AT_IDENTITY + 8;
const AT_FIRST_INDEX: usize = AT_LAST_SEQ + 8;
const AT_RESERVED: usize = AT_FIRST_INDEX + 8;

const _: () = assert!(AT_RESERVED + 40 == SINK_LEN);
const _: () = assert!(SINK_LEN <= SINK_COPY_LEN);

/// What is durable of a follower's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkSlot {
    /// How often a slot was written.
    pub number: u64,
    /// Which log is followed; zeros: none yet.
    pub log_id: Id,
    /// Which history of it.
    pub history_id: Id,
    /// Salt of the newest segment's file.
    pub salt: Id,
    /// Its index; 0: there is no segment yet.
    pub index: u64,
    /// How often it had been compacted.
    pub generation: u64,
    /// Everything in front of this offset of it is durable, and all segments before it.
    pub offset: u64,
    /// How the frames up to there end.
    pub chain: Chain,
    /// Index of the segment that the copy began with; 0: there is no segment yet.
    pub first_index: u64,
}

impl SinkSlot {
    /// Writes one copy; `out` is [`SINK_COPY_LEN`] zeros or more.
    pub fn encode(&self, out: &mut [u8]) {
        out[AT_MAGIC..AT_VERSION].copy_from_slice(SINK_MAGIC);
        put_u32(out, AT_VERSION, SINK_VERSION);
        put_u64(out, AT_NUMBER, self.number);
        put_id(out, AT_LOG_ID, &self.log_id);
        put_id(out, AT_HISTORY_ID, &self.history_id);
        put_id(out, AT_SALT, &self.salt);
        put_u64(out, AT_INDEX, self.index);
        put_u64(out, AT_GENERATION, self.generation);
        put_u64(out, AT_OFFSET, self.offset);
        put_u64(out, AT_EPOCH, self.chain.epoch);
        put_id(out, AT_EPOCH_ID, &self.chain.epoch_id);
        put_u64(out, AT_FRAME_NUMBER, self.chain.frame_number);
        put_u64(out, AT_IDENTITY, self.chain.identity);
        put_u64(out, AT_LAST_SEQ, self.chain.last_seq);
        put_u64(out, AT_FIRST_INDEX, self.first_index);
        out[AT_RESERVED..SINK_LEN].fill(0);
        let crc = checksum(out);
        put_u32(out, AT_CRC, crc);
    }

    /// Reads one copy; None: it is torn, damaged, or was never written.  Version: a later release's; Corrupt:
    /// nobody wrote this.
    pub fn decode(bytes: &[u8]) -> Result<Option<SinkSlot>> {
        if bytes.len() < SINK_LEN
            || &bytes[AT_MAGIC..AT_VERSION] != SINK_MAGIC
            || get_u32(bytes, AT_CRC) != checksum(bytes)
        {
            return Ok(None);
        }
        let version = get_u32(bytes, AT_VERSION);
        if version != SINK_VERSION {
            let text = format!("a follower's position of version {version}; this library knows {SINK_VERSION}");
            return Err(Error::new(Code::Version, text));
        }
        let slot = SinkSlot {
            number: get_u64(bytes, AT_NUMBER),
            log_id: get_id(bytes, AT_LOG_ID),
            history_id: get_id(bytes, AT_HISTORY_ID),
            salt: get_id(bytes, AT_SALT),
            index: get_u64(bytes, AT_INDEX),
            generation: get_u64(bytes, AT_GENERATION),
            offset: get_u64(bytes, AT_OFFSET),
            chain: Chain {
                epoch: get_u64(bytes, AT_EPOCH),
                epoch_id: get_id(bytes, AT_EPOCH_ID),
                frame_number: get_u64(bytes, AT_FRAME_NUMBER),
                identity: get_u64(bytes, AT_IDENTITY),
                last_seq: get_u64(bytes, AT_LAST_SEQ),
            },
            first_index: get_u64(bytes, AT_FIRST_INDEX),
        };
        if !slot.is_sound() {
            let text = "the follower's position contradicts itself, or has a number at the end of what can be counted";
            return Err(Error::new(Code::Corrupt, text));
        }
        Ok(Some(slot))
    }

    /// What no sink comes to: whoever counts on from it would run over, or it began behind where it is.
    fn is_sound(&self) -> bool {
        self.number.max(self.chain.last_seq).max(self.index) < NUMBER_MAX && self.first_index <= self.index
    }

    /// The newest slot of a file whose copies have `copy_len` bytes; None: no copy is whole.
    pub fn newest(file: &[u8], copy_len: usize) -> Result<Option<SinkSlot>> {
        let mut newest: Option<SinkSlot> = None;
        for copy in file.chunks(copy_len).take(SINK_SLOTS * SINK_COPIES) {
            let slot = SinkSlot::decode(copy)?;
            newest = slot.into_iter().chain(newest).max_by_key(|slot| slot.number);
        }
        Ok(newest)
    }

    /// Offset of a copy of this slot, the newest of such a file, that has rotted, its twin being whole.  One that a torn
    /// write has not reached is none: it holds what was there before.  (A copy's bytes lie in one sector.)
    pub fn rotten_copy(&self, file: &[u8], copy_len: usize) -> Option<usize> {
        let slot = usize_of(self.number) % SINK_SLOTS * SINK_COPIES * copy_len;
        (slot..).step_by(copy_len).take(SINK_COPIES).find(|&at| {
            let Some(copy) = file.get(at..at + SINK_LEN) else { return false };
            let never_written = self.number <= len_u64(SINK_SLOTS) && copy.iter().all(|byte| *byte == 0);
            !never_written && !matches!(SinkSlot::decode(copy), Ok(Some(_)))
        })
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crate::base::crc::crc32c_append(crc32c(&bytes[..AT_CRC]), &bytes[AT_NUMBER..SINK_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u64) -> SinkSlot {
        SinkSlot {
            number,
            log_id: [1; 16],
            history_id: [2; 16],
            salt: [3; 16],
            index: 4,
            generation: 5,
            offset: 6 << 12,
            chain: Chain { epoch: 7, epoch_id: [8; 16], frame_number: 9, identity: 10, last_seq: 11 },
            first_index: 3,
        }
    }

    fn copy(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; SINK_COPY_LEN];
        slot(number).encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_was_written_is_read_and_every_flipped_bit_shows() {
        let bytes = copy(12);
        assert_eq!(SinkSlot::decode(&bytes), Ok(Some(slot(12))));
        for bit in 0..SINK_LEN * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SinkSlot::decode(&bad), Ok(None), "bit {bit}");
        }
        assert_eq!(SinkSlot::decode(&[0; SINK_COPY_LEN]), Ok(None));
        let mut later = bytes;
        put_u32(&mut later, AT_VERSION, 2);
        let crc = checksum(&later);
        put_u32(&mut later, AT_CRC, crc);
        assert_eq!(SinkSlot::decode(&later).map_err(|error| error.code), Err(Code::Version));
    }

    /// One block that rots takes nothing back, whichever; a torn write takes back what nobody was told of.
    #[test]
    fn the_newest_whole_copy_counts() {
        let file = [copy(2), copy(2), copy(1), copy(1)].concat();
        for rotten in 0..4 {
            let mut file = file.clone();
            file[rotten * SINK_COPY_LEN + AT_OFFSET] ^= 1;
            assert_eq!(SinkSlot::newest(&file, SINK_COPY_LEN), Ok(Some(slot(2))), "{rotten}");
        }
        let torn = [copy(2), vec![0; SINK_COPY_LEN], copy(1), copy(1)].concat();
        assert_eq!(SinkSlot::newest(&torn, SINK_COPY_LEN), Ok(Some(slot(2))));
        let torn = [vec![0; 2 * SINK_COPY_LEN], copy(1), copy(1)].concat();
        assert_eq!(SinkSlot::newest(&torn, SINK_COPY_LEN), Ok(Some(slot(1))));
        assert_eq!(SinkSlot::newest(&[0; 4 * SINK_COPY_LEN], SINK_COPY_LEN), Ok(None));
        assert_eq!(SinkSlot::newest(&[], SINK_COPY_LEN), Ok(None));
    }

    #[test]
    fn a_copy_that_rots_is_told_and_a_torn_write_is_not() {
        let whole = [copy(4), copy(4), copy(3), copy(3)].concat();
        assert_eq!(slot(4).rotten_copy(&whole, SINK_COPY_LEN), None);
        for (at, told) in [(0, Some(0)), (1, Some(SINK_COPY_LEN)), (2, None), (3, None)] {
            for byte in [0, AT_OFFSET, SINK_LEN - 1] {
                let mut file = whole.clone();
                file[at * SINK_COPY_LEN + byte] ^= 1;
                assert_eq!(slot(4).rotten_copy(&file, SINK_COPY_LEN), told, "copy {at}, byte {byte}");
            }
        }
        let zeros = vec![0; SINK_COPY_LEN];
        let torn = [copy(4), copy(2), copy(3), copy(3)].concat();
        assert_eq!(slot(4).rotten_copy(&torn, SINK_COPY_LEN), None);
        let gone = [copy(4), zeros.clone(), copy(3), copy(3)].concat();
        assert_eq!(slot(4).rotten_copy(&gone, SINK_COPY_LEN), Some(SINK_COPY_LEN));
        let first = [zeros.clone(), zeros.clone(), copy(1), zeros].concat();
        assert_eq!(slot(1).rotten_copy(&first, SINK_COPY_LEN), None);
    }
}
