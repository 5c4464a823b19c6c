//! One record inside a frame: a header of 40 bytes, the payload, zeros to 8 bytes.
//!
//! The header has its own checksum, so type, stream and length can be trusted
//! without reading the payload.

use crate::base::bytes::*;
use crate::base::crc::crc32c;

/// Bytes in front of a record's payload.
pub const RECORD_HEADER_LEN: usize = 40;
/// Records begin at multiples of this in their frame's body, bytes.
pub const RECORD_ALIGN: usize = 8;
/// Version of the record header.
pub const RECORD_VERSION: u8 = 1;

/// A reader that does not know the type must stop.
pub const FLAG_REQUIRED: u8 = 1;
/// The next record belongs to the same batch.
pub const FLAG_BATCH_CONTINUES: u8 = 2;
const FLAGS_KNOWN: u8 = FLAG_REQUIRED | FLAG_BATCH_CONTINUES;

/// Types below this are twal's own.
pub const FIRST_CALLER_KIND: u16 = 0x0100;

/// Whether this library knows what a record of this type says: the caller's are the caller's matter; of its own,
/// those of docs/FORMAT.md, Transactions.
pub fn is_known_kind(kind: u16) -> bool {
    kind >= FIRST_CALLER_KIND || matches!(kind, 0x01..=0x0B | 0x10..=0x19 | 0x20..=0x22 | 0x30..=0x32 | 0xF0)
}

/// Payloads up to so many bytes are copied to the stack first, and from there to their place: a checksum over what was
/// just written there would wait for it, and a line of memory that another thread wrote last takes long to come.
const SMALL_PAYLOAD_LEN: usize = 256;

const AT_HEADER_CRC: usize = 0;
const AT_PAYLOAD_CRC: usize = AT_HEADER_CRC + 4;
const AT_KIND: usize = AT_PAYLOAD_CRC + 4;
const AT_FLAGS: usize = AT_KIND + 2;
const AT_VERSION: usize = AT_FLAGS + 1;
const AT_LEN: usize = AT_VERSION + 1;
const AT_SEQ: usize = AT_LEN + 4;
const AT_TIMESTAMP: usize = AT_SEQ + 8;
const AT_STREAM: usize = AT_TIMESTAMP + 8;

const _: () = assert!(AT_STREAM + 8 == RECORD_HEADER_LEN);
const _: () = assert!(RECORD_HEADER_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!(RECORD_HEADER_LEN as u64 == crate::base::options::RECORD_HEADER_LEN);

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordHeader {
    /// CRC-32C of the payload; `encode` computes it.
    pub payload_crc: u32,
    /// Type: below 0x0100 twal's, from there on the caller's.
    pub kind: u16,
    /// `FLAG_*`.
    pub flags: u8,
    /// Bytes of the payload.
    pub len: u32,
    /// The record's number.
    pub seq: u64,
    /// The caller's timestamp, or the logical clock's.
    pub timestamp: i64,
    /// The caller's tag.
    pub stream: u64,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRecord {
    /// The header's checksum does not fit its bytes.
    Header,
    /// A version this library does not know.
    Version(u8),
    /// The payload would end behind the frame.
    Length,
    /// The payload's checksum does not fit its bytes.
    Payload,
}

/// Bytes that a payload of `len` takes in a frame.
pub fn record_len(len: usize) -> usize {
    RECORD_HEADER_LEN + len.next_multiple_of(RECORD_ALIGN)
}

impl RecordHeader {
    /// Writes the record, padding included, at the front of `out`.  The payload's
    /// checksum is computed over the copy: a caller that changes its bytes
    /// meanwhile gets one version or the other, never a damaged record.
    pub fn encode(&self, payload: &[u8], out: &mut [u8]) {
        self.encode_parts(std::iter::once(payload), out);
    }

    /// The same of a payload that comes in parts, `len` bytes together.
    pub fn encode_parts<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
        let len = usize_of(u64::from(self.len));
        if len > SMALL_PAYLOAD_LEN {
            gather(parts, &mut out[RECORD_HEADER_LEN..][..len]);
            self.encode_around(out);
            return;
        }
        let mut payload = [0; SMALL_PAYLOAD_LEN];
        gather(parts, &mut payload[..len]);
        let padded = record_len(len) - RECORD_HEADER_LEN;
        out[RECORD_HEADER_LEN..][..padded].copy_from_slice(&payload[..padded]);
        self.encode_header(crc32c(&payload[..len]), out);
    }

    /// The same of a payload that is in its place already.
    pub fn encode_around(&self, out: &mut [u8]) {
        let len = usize_of(u64::from(self.len));
        let end = RECORD_HEADER_LEN + len;
        out[end..record_len(len)].fill(0);
        self.encode_header(crc32c(&out[RECORD_HEADER_LEN..end]), out);
    }

    /// Writes the header at the front of `out`, without reading there.
    fn encode_header(&self, payload_crc: u32, out: &mut [u8]) {
        let mut header = [0; RECORD_HEADER_LEN];
        put_u32(&mut header, AT_PAYLOAD_CRC, payload_crc);
        put_u16(&mut header, AT_KIND, self.kind);
        header[AT_FLAGS] = self.flags;
        header[AT_VERSION] = RECORD_VERSION;
        put_u32(&mut header, AT_LEN, self.len);
        put_u64(&mut header, AT_SEQ, self.seq);
        put_i64(&mut header, AT_TIMESTAMP, self.timestamp);
        put_u64(&mut header, AT_STREAM, self.stream);
        let crc = crc32c(&header[AT_PAYLOAD_CRC..]);
        put_u32(&mut header, AT_HEADER_CRC, crc);
        out[..RECORD_HEADER_LEN].copy_from_slice(&header);
    }

    /// Ends its batch behind the record at the front of `bytes`: the flag goes, everything else stays.
    pub fn end_batch(bytes: &mut [u8]) {
        bytes[AT_FLAGS] &= !FLAG_BATCH_CONTINUES;
        let crc = crc32c(&bytes[AT_PAYLOAD_CRC..RECORD_HEADER_LEN]);
        put_u32(bytes, AT_HEADER_CRC, crc);
    }

    /// The record at the front of `bytes`: header and payload, both verified.
    pub fn decode(bytes: &[u8]) -> Result<(RecordHeader, &[u8]), BadRecord> {
        let header = Self::decode_header(bytes)?;
        let payload = &bytes[RECORD_HEADER_LEN..][..usize_of(u64::from(header.len))];
        if !header.is_payload(payload) {
            return Err(BadRecord::Payload);
        }
        Ok((header, payload))
    }

    /// Whether it is of a type of twal's own that this library does not know and must not ignore.
    pub fn must_be_known(&self) -> bool {
        self.flags & FLAG_REQUIRED != 0 && !is_known_kind(self.kind)
    }

    /// Whether these bytes are its payload.
    pub fn is_payload(&self, bytes: &[u8]) -> bool {
        len_u64(bytes.len()) == u64::from(self.len) && crc32c(bytes) == self.payload_crc
    }

    /// The header alone; the payload's place is verified, its bytes are not.
    pub fn decode_header(bytes: &[u8]) -> Result<RecordHeader, BadRecord> {
        Self::decode_header_with(bytes, len_u64(bytes.len()))
    }

    /// The same of a record whose payload is not here: the frame has `room` bytes from the record's begin on.
    pub fn decode_header_with(bytes: &[u8], room: u64) -> Result<RecordHeader, BadRecord> {
        if bytes.len() < RECORD_HEADER_LEN
            || crc32c(&bytes[AT_PAYLOAD_CRC..RECORD_HEADER_LEN]) != get_u32(bytes, AT_HEADER_CRC)
        {
            return Err(BadRecord::Header);
        }
        if bytes[AT_VERSION] != RECORD_VERSION || bytes[AT_FLAGS] & !FLAGS_KNOWN != 0 {
            return Err(BadRecord::Version(bytes[AT_VERSION]));
        }
        let header = RecordHeader {
            payload_crc: get_u32(bytes, AT_PAYLOAD_CRC),
            kind: get_u16(bytes, AT_KIND),
            flags: bytes[AT_FLAGS],
            len: get_u32(bytes, AT_LEN),
            seq: get_u64(bytes, AT_SEQ),
            timestamp: get_i64(bytes, AT_TIMESTAMP),
            stream: get_u64(bytes, AT_STREAM),
        };
        if len_u64(record_len(usize_of(u64::from(header.len)))) > room {
            return Err(BadRecord::Length);
        }
        Ok(header)
    }
}

/// Puts the parts one behind the other.  They fill `out`, unless their owner has changed their lengths since they were
/// summed up: then what is too much is left out, and what is missing is zeros.
fn gather<'a>(parts: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) {
    let mut left = out;
    for part in parts {
        let (here, behind) = left.split_at_mut(part.len().min(left.len()));
        here.copy_from_slice(&part[..here.len()]);
        left = behind;
    }
    left.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(payload: &[u8]) -> (RecordHeader, Vec<u8>) {
        let header = RecordHeader {
            payload_crc: crc32c(payload),
            kind: 0x0102,
            flags: FLAG_REQUIRED,
            len: u32::try_from(payload.len()).unwrap(),
            seq: 9,
            timestamp: -5,
            stream: 1 << 40,
        };
        let mut bytes = vec![0xee; record_len(payload.len())];
        header.encode(payload, &mut bytes);
        (header, bytes)
    }

    #[test]
    fn reads_back_what_was_written() {
        for len in [0, 1, 7, 8, 9, 100, SMALL_PAYLOAD_LEN - 1, SMALL_PAYLOAD_LEN, SMALL_PAYLOAD_LEN + 1, 1000] {
            let payload: Vec<u8> = (1..=255).cycle().take(len).collect();
            let (header, bytes) = encoded(&payload);
            assert_eq!(RecordHeader::decode(&bytes), Ok((header, payload.as_slice())));
            assert!(bytes[RECORD_HEADER_LEN + payload.len()..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn parts_and_a_payload_in_place_make_the_same_record() {
        for len in [100, SMALL_PAYLOAD_LEN + 1] {
            let payload: Vec<u8> = (1..=255).cycle().take(len).collect();
            let (header, whole) = encoded(&payload);
            let parts = [&payload[..0], &payload[..33], &payload[33..33], &payload[33..40], &payload[40..]];
            let mut bytes = vec![0xdd; whole.len()];
            header.encode_parts(parts.into_iter(), &mut bytes);
            assert_eq!(bytes, whole, "{len}");
            bytes[..RECORD_HEADER_LEN].fill(0xcc);
            bytes[RECORD_HEADER_LEN + payload.len()..].fill(0xcc);
            header.encode_around(&mut bytes);
            assert_eq!(bytes, whole, "{len}");
        }
    }

    #[test]
    fn parts_whose_lengths_change_make_a_whole_record() {
        for len in [16, SMALL_PAYLOAD_LEN + 8] {
            let (header, whole) = encoded(&vec![7; len]);
            for parts in [vec![7; len + 9], vec![7; len - 9]] {
                let mut bytes = vec![0xdd; whole.len() + 16];
                header.encode_parts([&parts[..3], &parts[3..]].into_iter(), &mut bytes);
                let (_, payload) = RecordHeader::decode(&bytes).unwrap();
                let there = parts.len().min(len);
                assert_eq!(payload[..there], parts[..there]);
                assert!(payload[there..].iter().all(|&byte| byte == 0));
                assert!(bytes[whole.len()..].iter().all(|&byte| byte == 0xdd), "beyond its place");
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_header_and_payload_shows() {
        let (_, mut bytes) = encoded(b"sixteen bytes...");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHeader::decode(&bytes).is_err(), "bit {bit}");
            assert_eq!(RecordHeader::decode_header(&bytes).is_err(), bit < RECORD_HEADER_LEN * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_batch_is_ended_and_nothing_else_changes() {
        let payload = b"sixteen bytes...";
        let (header, _) = encoded(payload);
        let mut bytes = vec![0; record_len(payload.len())];
        RecordHeader { flags: FLAG_REQUIRED | FLAG_BATCH_CONTINUES, ..header }.encode(payload, &mut bytes);
        RecordHeader::end_batch(&mut bytes);
        assert_eq!(bytes, encoded(payload).1);
    }

    #[test]
    fn a_length_behind_the_frame_is_refused() {
        let (_, bytes) = encoded(b"sixteen bytes...");
        assert_eq!(RecordHeader::decode(&bytes[..48]), Err(BadRecord::Length));
        assert_eq!(RecordHeader::decode(&bytes[..39]), Err(BadRecord::Header));
    }
}
