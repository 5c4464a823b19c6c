//! The older v2.6 layout: a file's header of 44 bytes, then records, each a header of
//! 29 bytes and its payload, packed.  Only read and written as an interchange form.
//!
//! A record's header has no checksum of its own, so a length may be a lie: whoever
//! reads holds it against [`PAYLOAD_MAX`] and the file's end.

use std::cmp::Ordering;

use crate::base::bytes::*;
use crate::base::crc::crc32;

/// Bytes in front of a file's records.
pub const FILE_HEADER_LEN: usize = 44;
/// Bytes in front of a record's payload.
pub const RECORD_HEADER_LEN: usize = 29;
/// Longest payload that is read, bytes: the layout's own are at most 72.
pub const PAYLOAD_MAX: u32 = 64 << 10;
/// Bytes of the longest record of the layout.
pub const RECORD_LEN_MAX: usize = RECORD_HEADER_LEN + 72;
/// Bytes that a device writes as one, at multiples of it: the smallest.
const SECTOR_LEN: u64 = 512;
/// Version of the layout.
pub const VERSION: u32 = 26;

const FILE_MAGIC: [u8; 8] = *b"TWALv2.6";
const AT_VERSION: usize = FILE_MAGIC.len();
const AT_SEGMENT: usize = AT_VERSION + 4;
const AT_CREATED: usize = AT_SEGMENT + 8;
const AT_RECORD_COUNT: usize = AT_CREATED + 8;
const AT_PREVIOUS: usize = AT_RECORD_COUNT + 8;
const _: () = assert!(AT_PREVIOUS + 8 == FILE_HEADER_LEN);

const RECORD_MAGIC: [u8; 4] = *b"WAL!";
const AT_KIND: usize = RECORD_MAGIC.len();
const AT_SEQ: usize = AT_KIND + 1;
const AT_TIMESTAMP: usize = AT_SEQ + 8;
const AT_LEN: usize = AT_TIMESTAMP + 8;
const AT_CRC: usize = AT_LEN + 4;
const _: () = assert!(AT_CRC + 4 == RECORD_HEADER_LEN);

/// Bytes of the payload of each record type of the layout; None: it has no such type.
pub fn payload_len(kind: u8) -> Option<u32> {
    Some(match kind {
        0x03 | 0x06 | 0x09..=0x0B | 0x12 | 0x14..=0x19 => 8,
        0x04 | 0x07 => 12,
        0x02 => 13,
        0x05 | 0x08 | 0xF0 => 16,
        0x01 | 0x10 => 40,
        0x13 => 41,
        0x11 => 72,
        _ => return None,
    })
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileHeader {
    /// Number of the file, as in its name.
    pub segment: u64,
    /// When it was made; for people.
    pub created: i64,
    /// Records in it; 0 also while it is written.
    pub record_count: u64,
    /// Number of the file before; 0 in the first.
    pub previous: u64,
}

/// Why bytes are not a file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFile {
    /// There are too few.
    Length,
    /// They begin otherwise.
    Magic,
    /// Another version.
    Version(u32),
}

impl FileHeader {
    /// Writes the header at the front of `out`.
    pub fn encode(&self, out: &mut [u8]) {
        out[..AT_VERSION].copy_from_slice(&FILE_MAGIC);
        put_u32(out, AT_VERSION, VERSION);
        put_u64(out, AT_SEGMENT, self.segment);
        put_i64(out, AT_CREATED, self.created);
        put_u64(out, AT_RECORD_COUNT, self.record_count);
        put_u64(out, AT_PREVIOUS, self.previous);
    }

    /// The header at the front of `bytes`.  It has no checksum: all of it may be a lie.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, BadFile> {
        if bytes.len() < FILE_HEADER_LEN {
            return Err(BadFile::Length);
        }
        if !bytes.starts_with(&FILE_MAGIC) {
            return Err(BadFile::Magic);
        }
        match get_u32(bytes, AT_VERSION) {
            VERSION => Ok(FileHeader {
                segment: get_u64(bytes, AT_SEGMENT),
                created: get_i64(bytes, AT_CREATED),
                record_count: get_u64(bytes, AT_RECORD_COUNT),
                previous: get_u64(bytes, AT_PREVIOUS),
            }),
            other => Err(BadFile::Version(other)),
        }
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordHeader {
    /// The record's type.
    pub kind: u8,
    /// Its number.
    pub seq: u64,
    /// Its writer's clock.
    pub timestamp: i64,
    /// Bytes of the payload.
    pub len: u32,
    /// CRC-32 of the payload.
    pub crc: u32,
}

/// Why bytes are not a record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRecord {
    /// There are too few.
    Length,
    /// They begin otherwise.
    Magic,
    /// The payload is longer than [`PAYLOAD_MAX`].
    TooLong(u32),
}

impl RecordHeader {
    /// The header of a record with this payload.
    pub fn of(kind: u8, seq: u64, timestamp: i64, payload: &[u8]) -> RecordHeader {
        let len = u32::try_from(payload.len()).ok().filter(|len| *len <= PAYLOAD_MAX);
        RecordHeader { kind, seq, timestamp, len: len.expect("no event is so long"), crc: crc32(payload) }
    }

    /// Bytes of the record.
    pub fn record_len(&self) -> usize {
        RECORD_HEADER_LEN + usize_of(self.len.into())
    }

    /// Whether this is the checksum of `payload`.
    pub fn verifies(&self, payload: &[u8]) -> bool {
        crc32(payload) == self.crc
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut out = [0; RECORD_HEADER_LEN];
        out[..AT_KIND].copy_from_slice(&RECORD_MAGIC);
        out[AT_KIND] = self.kind;
        put_u64(&mut out, AT_SEQ, self.seq);
        put_i64(&mut out, AT_TIMESTAMP, self.timestamp);
        put_u32(&mut out, AT_LEN, self.len);
        put_u32(&mut out, AT_CRC, self.crc);
        out
    }

    /// The header at the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<RecordHeader, BadRecord> {
        if bytes.len() < RECORD_HEADER_LEN {
            return Err(BadRecord::Length);
        }
        if !bytes.starts_with(&RECORD_MAGIC) {
            return Err(BadRecord::Magic);
        }
        match get_u32(bytes, AT_LEN) {
            len @ 0..=PAYLOAD_MAX => Ok(RecordHeader {
                kind: bytes[AT_KIND],
                seq: get_u64(bytes, AT_SEQ),
                timestamp: get_i64(bytes, AT_TIMESTAMP),
                len,
                crc: get_u32(bytes, AT_CRC),
            }),
            len => Err(BadRecord::TooLong(len)),
        }
    }
}

/// Whether the end of a file may be what a write that was interrupted left of one record of the layout: its first
/// bytes, then nothing or zeros.  It begins at offset `at` and has `left` bytes; `head` are the first
/// [`RECORD_HEADER_LEN`] of them (fewer if there are no more), `filled` how many there are up to the last that is not zero.
///
/// Asked of what is no whole record.  One that has all its bytes was cut where its zeros begin, or is damaged:
/// * zeros are behind it: the file was longer before, and a write may have ended at any byte;
/// * nothing is behind it: the write made the file longer, and lost bytes only as a device does, from a sector's
///   beginning to the end.
pub fn may_be_torn(head: &[u8], filled: u64, at: u64, left: u64) -> bool {
    let filled_head = usize_of(filled.min(len_u64(head.len())));
    let magic = filled_head.min(AT_KIND);
    if head[..magic] != RECORD_MAGIC[..magic] {
        return false;
    }
    if filled_head <= AT_KIND {
        return true;
    }
    let Some(len) = payload_len(head[AT_KIND]) else { return false };
    let record_len = len_u64(RECORD_HEADER_LEN) + u64::from(len);
    if head.len() < AT_CRC || get_u32(head, AT_LEN) != len {
        // Up to the end of the length field it may be half there; once something is behind, it is a number to hold to.
        return filled < len_u64(AT_CRC);
    }
    match left.cmp(&record_len) {
        Ordering::Less => true,
        Ordering::Equal => (at + filled).next_multiple_of(SECTOR_LEN) < at + record_len,
        Ordering::Greater => filled < record_len,
    }
}

/// The same of a file's header: `filled` are the file's bytes up to the last that is not zero.
pub fn may_be_torn_header(head: [u8; FILE_HEADER_LEN], filled: u64) -> bool {
    let magic = usize_of(filled.min(len_u64(FILE_MAGIC.len())));
    filled < len_u64(FILE_HEADER_LEN) && head[..magic] == FILE_MAGIC[..magic]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_is_longer_than_the_longest() {
        let longest = (0..=255).filter_map(payload_len).max().unwrap();
        assert_eq!(RECORD_HEADER_LEN + usize_of(longest.into()), RECORD_LEN_MAX);
    }

    const RECORD: [u8; RECORD_HEADER_LEN + 12] = *b"WAL!\x04\x07\0\0\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\
        \x0c\0\0\0\xf3\x46\x8e\x51abcdefgh\x01\0\0\0";

    #[test]
    fn a_record_is_these_bytes() {
        let payload = &RECORD[RECORD_HEADER_LEN..];
        let header = RecordHeader::of(4, 7, -2, payload);
        assert_eq!(header.encode()[..AT_CRC], RECORD[..AT_CRC]);
        assert_eq!(RecordHeader::decode(&header.encode()), Ok(header));
        assert!(header.verifies(payload) && !header.verifies(&payload[1..]));
        assert_eq!(RecordHeader::of(4, 7, -2, b"").crc, 0, "of no bytes");
    }

    #[test]
    fn a_length_beyond_the_limit_is_no_header() {
        for (len, good) in [(0, true), (PAYLOAD_MAX, true), (PAYLOAD_MAX + 1, false), (u32::MAX, false)] {
            let mut bytes = RECORD;
            put_u32(&mut bytes, AT_LEN, len);
            let expected = if good { Ok(len) } else { Err(BadRecord::TooLong(len)) };
            assert_eq!(RecordHeader::decode(&bytes).map(|header| header.len), expected);
        }
        assert_eq!(RecordHeader::decode(&RECORD[..28]), Err(BadRecord::Length));
        assert_eq!(RecordHeader::decode(&RECORD[1..]), Err(BadRecord::Magic));
    }

    fn torn_at(at: u64, bytes: &[u8]) -> bool {
        let filled = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        may_be_torn(&bytes[..bytes.len().min(RECORD_HEADER_LEN)], len_u64(filled), at, len_u64(bytes.len()))
    }

    /// Cut anywhere, and filled up with any number of zeros, it may be torn; with anything behind it, it may not.
    #[test]
    fn torn_is_a_prefix_and_zeros() {
        let torn = |bytes: &[u8]| torn_at(44, bytes);
        for cut in 0..RECORD.len() {
            for zeros in [0, 1, 40, 5000].into_iter().filter(|zeros| cut + zeros != RECORD.len()) {
                let mut bytes = RECORD[..cut].to_vec();
                bytes.resize(cut + zeros, 0);
                // The payload ends in zeros: without them it has all its bytes.
                assert!(torn(&bytes), "cut at {cut}, {zeros} zeros");
                bytes.resize(RECORD.len().max(cut + zeros), 0);
                bytes.push(1);
                assert!(!torn(&bytes), "cut at {cut}, {zeros} zeros, and more behind");
            }
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = [RECORD.as_slice(), &[0]].concat();
            bytes[at] = byte;
            torn(&bytes)
        };
        assert!(!with(0, b'w') && !with(3, 0) && !with(AT_KIND, 0x0C) && !with(AT_LEN, 13) && !with(AT_LEN + 3, 255));
        assert!(with(AT_SEQ, 9), "its last bytes are zeros");
    }

    /// A record that has all its bytes, at every place of a sector, with the bytes from `cut` on lost.
    #[test]
    fn a_whole_record_is_torn_only_where_its_end_is_lost() {
        let whole = [&RECORD[..RECORD.len() - 1], &[7]].concat();
        let lost_from = |cut: usize, zeros: usize| {
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(whole.len() + zeros, 0);
            bytes
        };
        let header = AT_LEN + 1; // its other bytes are zeros
        for at in 500..1100 {
            assert!(!torn_at(at, &whole) && !torn_at(at, &lost_from(whole.len(), 9)), "at {at}: nothing is lost");
            for cut in header..whole.len() {
                let filled = whole[..cut].iter().rposition(|byte| *byte != 0).unwrap() + 1;
                let is_sector = |lost: &usize| (at + len_u64(*lost)).is_multiple_of(512);
                let at_sector = (filled..whole.len()).any(|lost| is_sector(&lost));
                assert_eq!(torn_at(at, &lost_from(cut, 0)), at_sector, "at {at}, cut at {cut}, nothing behind");
                assert!(torn_at(at, &lost_from(cut, 1)), "at {at}, cut at {cut}, a zero behind");
            }
        }
    }

    #[test]
    fn a_file_header_is_these_bytes() {
        let header = FileHeader { segment: 3, created: -1, record_count: 5, previous: 2 };
        let mut bytes = [0xee; 50];
        header.encode(&mut bytes);
        let expected =
            b"TWALv2.6\x1a\0\0\0\x03\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x05\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0";
        assert_eq!(&bytes[..FILE_HEADER_LEN], expected);
        assert_eq!(bytes[FILE_HEADER_LEN..], [0xee; 6]);
        assert_eq!(FileHeader::decode(&bytes), Ok(header));
        assert_eq!(FileHeader::decode(&bytes[..43]), Err(BadFile::Length));
        bytes[8] = 25;
        assert_eq!(FileHeader::decode(&bytes), Err(BadFile::Version(25)));
        bytes[7] = b'7';
        assert_eq!(FileHeader::decode(&bytes), Err(BadFile::Magic));
    }
}
