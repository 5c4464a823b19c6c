//! One group commit: a header of 128 bytes and whole records.
//!
//! The header can be trusted before a byte of the body is read: it has its own
//! checksum, which is seeded with log id, salt and offset, so a header of another
//! log, of a file's earlier life or from another place does not verify.
//!
//! Two of its fields are testimony.  `durable_seq` and `durable_end` say what was
//! durable when the frame was composed; a later frame thereby speaks for an
//! earlier one that reads badly (see `recover/verdict.rs`).

use super::{Id, Place};
use crate::base::bytes::*;
use crate::base::crc::{crc32c, crc32c_append, crc32c_seed};

/// Bytes in front of a frame's records.
pub const FRAME_HEADER_LEN: usize = 128;

/// First bytes of a frame: "TWAF".
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"TWAF");

/// The frame holds records.
pub const FLAG_DATA: u32 = 1;
/// The frame is empty and only says what is durable.
pub const FLAG_MARK: u32 = 2;
/// The frame ends its segment; its body is a [`Seal`].
pub const FLAG_SEAL: u32 = 4;
/// The frame was written by repair; what was behind it was cut.
pub const FLAG_CUT: u32 = 8;
const FLAGS_KNOWN: u32 = FLAG_DATA | FLAG_MARK | FLAG_SEAL | FLAG_CUT;

const AT_MAGIC: usize = 0;
const AT_CRC: usize = AT_MAGIC + 4;
const AT_BODY_LEN: usize = AT_CRC + 4;
const AT_BODY_CRC: usize = AT_BODY_LEN + 4;
const AT_FIRST_SEQ: usize = AT_BODY_CRC + 4;
const AT_SEQ_SPAN: usize = AT_FIRST_SEQ + 8;
const AT_RECORD_COUNT: usize = AT_SEQ_SPAN + 8;
const AT_FLAGS: usize = AT_RECORD_COUNT + 4;
const AT_DURABLE_SEQ: usize = AT_FLAGS + 4;
const AT_DURABLE_END: usize = AT_DURABLE_SEQ + 8;
const AT_EPOCH: usize = AT_DURABLE_END + 8;
const AT_EPOCH_ID: usize = AT_EPOCH + 8;
const AT_FRAME_NUMBER: usize = AT_EPOCH_ID + 16;
const AT_CHAIN: usize = AT_FRAME_NUMBER + 8;
const AT_RESERVED: usize = AT_CHAIN + 8;

const _: () = assert!(AT_RESERVED + 32 == FRAME_HEADER_LEN);
const _: () = assert!(FRAME_HEADER_LEN as u64 == crate::base::options::FRAME_HEADER_LEN);

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body.
    pub body_len: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// Number of the first record; of a frame without records, the next number.
    pub first_seq: u64,
    /// How many numbers the frame stands for.
    pub seq_span: u64,
    /// Records in the body: `seq_span`, or fewer in a compacted segment.
    pub record_count: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// Highest number that was durable when this frame was composed.
    pub durable_seq: u64,
    /// Everything before this offset of the same file was durable then.
    pub durable_end: u64,
    /// Which opening for writing composed it.
    pub epoch: u64,
    /// The same opening's random id.
    pub epoch_id: Id,
    /// Number of the frame in its epoch, from 1.
    pub frame_number: u64,
    /// Identity of the frame before it.
    pub chain: u64,
}

/// Where a run of frames has come to: what the next frame must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// Epoch of the last frame; 0 = no frame yet.
    pub epoch: u64,
    /// Its id.
    pub epoch_id: Id,
    /// Number of the last frame in its epoch.
    pub frame_number: u64,
    /// Identity of the last frame.
    pub identity: u64,
    /// Number of the last record up to here.
    pub last_seq: u64,
}

impl FrameHeader {
    /// Most bytes that a header can say of its frame, but for what is left of the last block.
    pub const LEN_MAX: u64 = u32::MAX as u64 + FRAME_HEADER_LEN as u64;

    /// Bytes of the frame on disk.
    pub fn frame_len(&self, block_size: u64) -> u64 {
        (len_u64(FRAME_HEADER_LEN) + u64::from(self.body_len)).next_multiple_of(block_size)
    }

    /// Number of the last record at the end of this frame.
    pub fn last_seq(&self) -> u64 {
        self.first_seq + self.seq_span - 1
    }

    /// The frame has this flag.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Puts the header in front of its body.  Returns the frame's identity.
    pub fn encode(&self, place: Place, offset: u64, out: &mut [u8]) -> u64 {
        put_u32(out, AT_MAGIC, FRAME_MAGIC);
        put_u32(out, AT_BODY_LEN, self.body_len);
        put_u32(out, AT_BODY_CRC, self.body_crc);
        put_u64(out, AT_FIRST_SEQ, self.first_seq);
        put_u64(out, AT_SEQ_SPAN, self.seq_span);
        put_u32(out, AT_RECORD_COUNT, self.record_count);
        put_u32(out, AT_FLAGS, self.flags);
        put_u64(out, AT_DURABLE_SEQ, self.durable_seq);
        put_u64(out, AT_DURABLE_END, self.durable_end);
        put_u64(out, AT_EPOCH, self.epoch);
        put_id(out, AT_EPOCH_ID, &self.epoch_id);
        put_u64(out, AT_FRAME_NUMBER, self.frame_number);
        put_u64(out, AT_CHAIN, self.chain);
        out[AT_RESERVED..FRAME_HEADER_LEN].fill(0);
        let crc = header_crc(place, offset, out);
        put_u32(out, AT_CRC, crc);
        identity(crc, self.body_crc)
    }

    /// The header at `offset` and the frame's identity, if it is one of this place.
    pub fn decode(place: Place, offset: u64, bytes: &[u8]) -> Option<(FrameHeader, u64)> {
        if bytes.len() < FRAME_HEADER_LEN || get_u32(bytes, AT_MAGIC) != FRAME_MAGIC {
            return None;
        }
        let crc = get_u32(bytes, AT_CRC);
        if crc != header_crc(place, offset, bytes) {
            return None;
        }
        let header = FrameHeader {
            body_len: get_u32(bytes, AT_BODY_LEN),
            body_crc: get_u32(bytes, AT_BODY_CRC),
            first_seq: get_u64(bytes, AT_FIRST_SEQ),
            seq_span: get_u64(bytes, AT_SEQ_SPAN),
            record_count: get_u32(bytes, AT_RECORD_COUNT),
            flags: get_u32(bytes, AT_FLAGS),
            durable_seq: get_u64(bytes, AT_DURABLE_SEQ),
            durable_end: get_u64(bytes, AT_DURABLE_END),
            epoch: get_u64(bytes, AT_EPOCH),
            epoch_id: get_id(bytes, AT_EPOCH_ID),
            frame_number: get_u64(bytes, AT_FRAME_NUMBER),
            chain: get_u64(bytes, AT_CHAIN),
        };
        header.is_sound().then(|| (header, identity(crc, header.body_crc)))
    }

    /// The checksum that the header at the front of `bytes` has, and the one that it should have at this place.
    pub fn checksums(place: Place, offset: u64, bytes: &[u8]) -> (u32, u32) {
        (get_u32(bytes, AT_CRC), header_crc(place, offset, bytes))
    }

    /// The only place at which the bytes of a header at `offset` verify; None: they are no header's.
    pub fn place_of(offset: u64, bytes: &[u8]) -> Option<Place> {
        if bytes.len() < FRAME_HEADER_LEN || get_u32(bytes, AT_MAGIC) != FRAME_MAGIC {
            return None;
        }
        let behind_crc = crc32c_seed(get_u32(bytes, AT_CRC), &bytes[AT_BODY_LEN..FRAME_HEADER_LEN]);
        let at = crc32c_seed(behind_crc, &bytes[..AT_CRC]);
        Some(Place { seed: crc32c_seed(at, &offset.to_le_bytes()) })
    }

    /// What no version of this format writes: a checksum made right by hand
    /// must still not lead a reader astray.
    fn is_sound(&self) -> bool {
        let kinds = self.flags & (FLAG_DATA | FLAG_MARK | FLAG_SEAL | FLAG_CUT);
        let holds_records = self.has(FLAG_DATA);
        self.flags & !FLAGS_KNOWN == 0
            && kinds.is_power_of_two()
            && self.first_seq >= 1
            && self.epoch >= 1
            && self.frame_number >= 1
            && self.first_seq.checked_add(self.seq_span).is_some()
            && (self.seq_span > 0) == holds_records
            && u64::from(self.record_count) <= self.seq_span
            && self.durable_seq < self.first_seq
    }

    /// The body is the one that was composed with this header.
    pub fn body_is_whole(&self, body: &[u8]) -> bool {
        len_u64(body.len()) == u64::from(self.body_len) && crc32c(body) == self.body_crc
    }
}

impl Chain {
    /// Whether `header` is the very next frame.
    pub fn continues_in(&self, header: &FrameHeader) -> bool {
        let same_epoch = header.epoch == self.epoch
            && header.epoch_id == self.epoch_id
            && Some(header.frame_number) == self.frame_number.checked_add(1);
        let new_epoch = header.epoch > self.epoch && header.frame_number == 1;
        header.chain == self.identity
            && Some(header.first_seq) == self.last_seq.checked_add(1)
            && (same_epoch || new_epoch)
    }

    /// The chain in front of `header`, as far as the header says it: what continues there.
    pub fn before(header: &FrameHeader) -> Chain {
        Chain {
            epoch: header.epoch,
            epoch_id: header.epoch_id,
            frame_number: header.frame_number - 1,
            identity: header.chain,
            last_seq: header.first_seq - 1,
        }
    }

    /// The chain behind `header`, as the next frame of the same file continues it.
    pub fn after(header: &FrameHeader, identity: u64) -> Chain {
        Chain {
            epoch: header.epoch,
            epoch_id: header.epoch_id,
            frame_number: header.frame_number,
            identity,
            last_seq: header.last_seq(),
        }
    }

    /// The chain behind a frame with this body, as whatever comes next continues it: behind the seal of a
    /// compacted segment, what the next segment's header has named since before the compaction.
    pub fn behind(header: &FrameHeader, identity: u64, body: &[u8]) -> Chain {
        let after = Chain::after(header, identity);
        let seal = if header.has(FLAG_SEAL) { Seal::decode(body) } else { None };
        seal.map_or(after, |seal| seal.end(after, 0).0)
    }
}

/// What a seal's body says about its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Records in the segment.
    pub record_count: u64,
    /// Number of the first record, or the next number if there is none.
    pub first_seq: u64,
    /// Frames in front of the seal.
    pub frame_count: u64,
    /// Of a compacted segment: the seal that the next segment's header names.
    pub first_seal: Option<FirstSeal>,
}

/// The seal that a segment had before it was ever compacted.  The header of the next segment names it and never
/// changes, so the seal of a compacted segment stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstSeal {
    /// Its identity.
    pub identity: u64,
    /// Where it was.
    pub offset: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Id of that epoch.
    pub epoch_id: Id,
    /// Its number in that epoch.
    pub frame_number: u64,
}

/// Bytes of a seal's body.
pub const SEAL_LEN: usize = 24;
/// Bytes of the body of a compacted segment's seal.
pub const COMPACTED_SEAL_LEN: usize = SEAL_LEN + 48;

impl Seal {
    /// Bytes of its body.
    pub fn body_len(&self) -> usize {
        if self.first_seal.is_some() {
            COMPACTED_SEAL_LEN
        } else {
            SEAL_LEN
        }
    }

    /// Puts the seal at the front of a frame's body.
    pub fn encode(&self, out: &mut [u8]) {
        put_u64(out, 0, self.record_count);
        put_u64(out, 8, self.first_seq);
        put_u64(out, 16, self.frame_count);
        if let Some(first) = &self.first_seal {
            put_u64(out, 24, first.identity);
            put_u64(out, 32, first.offset);
            put_u64(out, 40, first.epoch);
            put_id(out, 48, &first.epoch_id);
            put_u64(out, 64, first.frame_number);
        }
    }

    /// Reads a seal's body.
    pub fn decode(body: &[u8]) -> Option<Seal> {
        let first_seal = match body.len() {
            SEAL_LEN => None,
            COMPACTED_SEAL_LEN => Some(FirstSeal {
                identity: get_u64(body, 24),
                offset: get_u64(body, 32),
                epoch: get_u64(body, 40),
                epoch_id: get_id(body, 48),
                frame_number: get_u64(body, 64),
            }),
            _ => return None,
        };
        Some(Seal {
            record_count: get_u64(body, 0),
            first_seq: get_u64(body, 8),
            frame_count: get_u64(body, 16),
            first_seal,
        })
    }

    /// How the segment ends that this seal at `offset`, with `after` behind it, is the end of: what the header
    /// of the next segment says, chain and offset.
    pub fn end(&self, after: Chain, offset: u64) -> (Chain, u64) {
        let Some(first) = &self.first_seal else { return (after, offset) };
        let &FirstSeal { identity, offset, epoch, epoch_id, frame_number } = first;
        (Chain { epoch, epoch_id, frame_number, identity, last_seq: after.last_seq }, offset)
    }
}

/// What a cut mark's body says: what a repair cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The last number that what was cut still showed; 0: none.
    pub last_seq: u64,
    /// Segments that were dropped.
    pub segments: u64,
    /// Bytes of frames that were cut off in this segment.
    pub bytes: u64,
    /// Wall clock, nanoseconds since 1970, for people.
    pub cut_ns: i64,
}

/// Bytes of a cut mark's body.
pub const CUT_LEN: usize = 48;

impl Cut {
    /// Puts it at the front of a frame's body.
    pub fn encode(&self, out: &mut [u8]) {
        put_u64(out, 0, self.last_seq);
        put_u64(out, 8, self.segments);
        put_u64(out, 16, self.bytes);
        put_i64(out, 24, self.cut_ns);
        out[32..CUT_LEN].fill(0);
    }

    /// Reads a cut mark's body.
    pub fn decode(body: &[u8]) -> Option<Cut> {
        (body.len() >= CUT_LEN).then(|| Cut {
            last_seq: get_u64(body, 0),
            segments: get_u64(body, 8),
            bytes: get_u64(body, 16),
            cut_ns: get_i64(body, 24),
        })
    }
}

fn header_crc(place: Place, offset: u64, bytes: &[u8]) -> u32 {
    let crc = crc32c_append(place.at(offset), &bytes[..AT_CRC]);
    crc32c_append(crc, &bytes[AT_BODY_LEN..FRAME_HEADER_LEN])
}

/// 64 bits that name a frame: both its checksums.
fn identity(header_crc: u32, body_crc: u32) -> u64 {
    (u64::from(header_crc) << 32) | u64::from(body_crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            body_len: 80,
            body_crc: 0x1234_5678,
            first_seq: 10,
            seq_span: 2,
            record_count: 2,
            flags: FLAG_DATA,
            durable_seq: 9,
            durable_end: 8192,
            epoch: 3,
            epoch_id: [7; 16],
            frame_number: 5,
            chain: 0xfeed,
        }
    }

    fn place() -> Place {
        Place::new(&[1; 16], &[2; 16])
    }

    #[test]
    fn reads_back_what_was_written() {
        let mut bytes = [0xff; FRAME_HEADER_LEN];
        let identity = header().encode(place(), 8192, &mut bytes);
        assert_eq!(FrameHeader::decode(place(), 8192, &bytes), Some((header(), identity)));
        assert_eq!(header().frame_len(4096), 4096);
        assert_eq!(header().last_seq(), 11);
    }

    /// Log and salt are lost: one header gives back what they were there for.
    #[test]
    fn a_header_says_its_place() {
        let mut bytes = [0; FRAME_HEADER_LEN];
        header().encode(place(), 8192, &mut bytes);
        assert_eq!(FrameHeader::place_of(8192, &bytes), Some(place()));
        assert_ne!(FrameHeader::place_of(4096, &bytes), Some(place()));
        let salt = place().salt(&[1; 16], [9; 16]);
        assert_eq!(salt[..12], [9; 12]);
        assert_eq!(Place::new(&[1; 16], &salt), place());
        bytes[0] ^= 1;
        assert_eq!(FrameHeader::place_of(8192, &bytes), None);
    }

    #[test]
    fn verifies_at_its_own_place_only() {
        let mut bytes = [0; FRAME_HEADER_LEN];
        header().encode(place(), 8192, &mut bytes);
        assert!(FrameHeader::decode(place(), 4096, &bytes).is_none());
        assert!(FrameHeader::decode(Place::new(&[1; 16], &[3; 16]), 8192, &bytes).is_none());
        assert!(FrameHeader::decode(Place::new(&[3; 16], &[2; 16]), 8192, &bytes).is_none());
        assert!(FrameHeader::decode(place(), 8192, &bytes[..127]).is_none());
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut bytes = [0; FRAME_HEADER_LEN];
        header().encode(place(), 8192, &mut bytes);
        for bit in 0..FRAME_HEADER_LEN * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(place(), 8192, &bytes).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_senseless_header_is_not_believed_even_with_a_right_checksum() {
        let senseless = [
            FrameHeader { first_seq: 0, durable_seq: 0, ..header() },
            FrameHeader { seq_span: u64::MAX, ..header() },
            FrameHeader { seq_span: 0, record_count: 0, ..header() },
            FrameHeader { flags: FLAG_MARK, ..header() },
            FrameHeader { flags: FLAG_DATA | FLAG_SEAL, ..header() },
            FrameHeader { flags: FLAG_DATA | 0x100, ..header() },
            FrameHeader { record_count: 3, ..header() },
            FrameHeader { durable_seq: 10, ..header() },
            FrameHeader { epoch: 0, ..header() },
            FrameHeader { frame_number: 0, ..header() },
        ];
        for header in senseless {
            let mut bytes = [0; FRAME_HEADER_LEN];
            header.encode(place(), 8192, &mut bytes);
            assert!(FrameHeader::decode(place(), 8192, &bytes).is_none(), "{header:?}");
        }
    }

    #[test]
    fn the_chain_takes_the_next_frame_and_no_other() {
        let end = Chain { epoch: 3, epoch_id: [7; 16], frame_number: 4, identity: 0xfeed, last_seq: 9 };
        let next = header();
        assert!(end.continues_in(&next));
        assert!(end.continues_in(&FrameHeader { epoch: 4, epoch_id: [8; 16], frame_number: 1, ..next }));
        assert!(end.continues_in(&FrameHeader { epoch: 9, epoch_id: [8; 16], frame_number: 1, ..next }));
        for other in [
            FrameHeader { chain: 1, ..next },
            FrameHeader { first_seq: 11, ..next },
            FrameHeader { first_seq: 9, ..next },
            FrameHeader { frame_number: 4, ..next },
            FrameHeader { frame_number: 6, ..next },
            FrameHeader { epoch_id: [8; 16], ..next },
            FrameHeader { epoch: 2, frame_number: 1, ..next },
            FrameHeader { epoch: 4, frame_number: 2, ..next },
        ] {
            assert!(!end.continues_in(&other), "{other:?}");
        }
        assert_eq!(Chain::after(&next, 77).last_seq, 11);
        // A hostile header may say that nothing can follow.
        for end in [Chain { frame_number: u64::MAX, ..end }, Chain { last_seq: u64::MAX, ..end }] {
            let wrapped = FrameHeader { frame_number: end.frame_number.wrapping_add(1), ..next };
            assert!(!end.continues_in(&FrameHeader { first_seq: end.last_seq.wrapping_add(1), ..wrapped }));
        }
    }

    #[test]
    fn a_cut_reads_back() {
        let cut = Cut { last_seq: 5, segments: 6, bytes: 7, cut_ns: -8 };
        let mut bytes = [0xff; CUT_LEN];
        cut.encode(&mut bytes);
        assert_eq!(Cut::decode(&bytes), Some(cut));
        assert_eq!((bytes[32..].iter().max(), Cut::decode(&bytes[1..])), (Some(&0), None));
    }

    #[test]
    fn a_seal_reads_back() {
        let seal = Seal { record_count: 5, first_seq: 6, frame_count: 7, first_seal: None };
        let mut bytes = [0; SEAL_LEN];
        seal.encode(&mut bytes);
        assert_eq!(Seal::decode(&bytes), Some(seal));
        assert_eq!(Seal::decode(&bytes[1..]), None);
        assert_eq!(Chain::behind(&header(), 77, &bytes), Chain::after(&header(), 77), "no seal");
    }

    #[test]
    fn a_compacted_segment_ends_as_it_did_before() {
        let first = FirstSeal { identity: 1, offset: 2 << 12, epoch: 3, epoch_id: [4; 16], frame_number: 5 };
        let seal = Seal { record_count: 6, first_seq: 7, frame_count: 8, first_seal: Some(first) };
        let mut bytes = [0xff; COMPACTED_SEAL_LEN];
        seal.encode(&mut bytes);
        assert_eq!((Seal::decode(&bytes), seal.body_len()), (Some(seal), bytes.len()));
        for len in 0..COMPACTED_SEAL_LEN {
            assert_eq!(Seal::decode(&bytes[..len]).is_some(), len == SEAL_LEN, "{len}");
        }
        let frame = FrameHeader { flags: FLAG_SEAL, seq_span: 0, record_count: 0, ..header() };
        let end = Chain { epoch: 3, epoch_id: [4; 16], frame_number: 5, identity: 1, last_seq: 9 };
        assert_eq!(Chain::behind(&frame, 77, &bytes), end);
        assert_eq!(seal.end(Chain::after(&frame, 77), 4096), (end, 2 << 12));
    }
}
