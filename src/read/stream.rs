//! Frames of one file looked at in pieces: what [`super::Walker`] says, with a
//! buffer of one size however long a frame is, and with the records of a
//! damaged frame that can still be told apart.
//!
//! For whoever checks and does not deliver: nothing of a frame stays in memory.

use std::sync::Arc;

use super::records::{bad_record, check_counts};
use super::sparse::Holes;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::crc::crc32c_append;
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::format::frame::{Seal, FLAG_DATA, FLAG_SEAL};
use crate::format::record::{record_len, BadRecord};
use crate::format::{FrameHeader, Place, RecordHeader, SegmentHeader, FRAME_HEADER_LEN, RECORD_HEADER_LEN};
use crate::mem::AlignedBuf;

/// Bytes of the buffer.
const PIECE: u64 = 1 << 20;
/// Bytes read first of what was forgotten, most of which is not looked at again.
const PIECE_AGAIN: usize = 64 << 10;
/// Most damaged, and most unknown, records of one frame that are told apart.
const BAD_MAX: usize = 64;
/// How many times the segment's bytes, or a buffer's if there are less, are looked at as bodies of frames at most.  Frames do
/// not overlap, and nobody looks at one more than a few times, beside a writer neither; only headers that were forged, each
/// of a frame that reaches over the next ones, ask for more.
const LOOKS_MAX: u64 = 8;

/// A record inside a frame that is not as it was written.
#[derive(Debug, Clone, Copy)]
pub struct BadPlace {
    /// Where it begins in the file.
    pub offset: u64,
    /// What is wrong.
    pub why: BadRecord,
    /// Its header, if that can be trusted.
    pub header: Option<RecordHeader>,
    /// The payload's checksum, computed.
    pub payload_crc: u32,
    /// Its number, if it can be known.
    pub seq: u64,
}

/// What is at an offset.
#[derive(Debug)]
pub enum Glimpse {
    /// A frame of this file with a whole body, and its identity.  Its records may be bad all the same.
    Whole(FrameHeader, u64, Body),
    /// A header of this file, but not the body that was composed with it.
    BadBody(FrameHeader, u64, Body),
    /// No header of this file: the checksum that is there, and the one that would be right.
    NoHeader(u32, u32),
    /// The device does not give the bytes, the file is too short, or too many forged frames claim them.
    Unreadable(Error),
}

/// What a body holds.
#[derive(Debug, Default)]
pub struct Body {
    /// Its checksum, computed.
    pub crc: u32,
    /// Records that are whole.
    pub records: u64,
    /// Those that are not; a bounded number of them.
    pub bad: Vec<BadPlace>,
    /// Whole ones that no reader delivers: where they begin, and their headers; a bounded number of them too.
    pub unknown: Vec<(u64, RecordHeader)>,
    /// Of a seal.
    pub seal: Option<Seal>,
}

/// One segment file, read in pieces.
pub struct Stream {
    file: Arc<dyn File>,
    index: u64,
    place: Place,
    block_size: u64,
    segment_size: u64,
    is_compacted: bool,
    buf: AlignedBuf,
    /// File offset of the buffer's first byte, and how many there are.
    start: u64,
    len: usize,
    /// How many are read next.
    piece: usize,
    holes: Holes,
    /// Bytes of bodies that were looked at so far.
    looked_at: u64,
    /// Bytes read so far.
    pub bytes: u64,
}

impl Stream {
    /// A view on the segment with this header.
    pub fn new(file: Arc<dyn File>, header: &SegmentHeader) -> Result<Stream> {
        let len = PIECE.min(header.segment_size);
        Ok(Stream {
            file,
            index: header.index,
            place: header.place(),
            block_size: u64::from(header.block_size),
            segment_size: header.segment_size,
            is_compacted: header.is_compacted(),
            buf: AlignedBuf::zeroed(usize_of(len))?,
            start: 0,
            len: 0,
            piece: usize_of(len),
            holes: Holes::default(),
            looked_at: 0,
            bytes: 0,
        })
    }

    /// Forgets what was read: the device is asked again.
    pub fn forget(&mut self) {
        self.len = 0;
        self.piece = PIECE_AGAIN.max(usize_of(self.block_size)).min(self.buf.len());
    }

    /// Offset of the block behind the one at `offset`; where nothing was ever written there, of the next one that may
    /// hold something, or the segment's end.
    pub fn next_block(&mut self, offset: u64) -> u64 {
        let next = offset + self.block_size;
        if (self.start..self.start + len_u64(self.len)).contains(&next) {
            return next;
        }
        self.holes.pass(self.file.as_ref(), next, self.block_size, self.segment_size)
    }

    /// For whoever goes from block to block towards the file's beginning: has what lies in front of the one at `offset`
    /// read together with it.
    pub fn expect_from_behind(&mut self, offset: u64) {
        if !(self.start..self.start + len_u64(self.len)).contains(&offset) {
            let front = (offset + self.block_size).saturating_sub(len_u64(self.buf.len()));
            // What cannot be read is found out by who looks at it.
            let _ = self.load(front.next_multiple_of(self.block_size));
        }
    }

    /// Bytes from `offset` on: at least 1, at most `max`, and not beyond `offset`'s piece.
    fn run(&mut self, offset: u64, max: u64) -> Result<&[u8]> {
        if offset < self.start || offset >= self.start + len_u64(self.len) {
            self.load(offset)?;
        }
        let from = usize_of(offset - self.start);
        let to = (len_u64(from) + max).min(len_u64(self.len));
        Ok(&self.buf[from..usize_of(to)])
    }

    fn load(&mut self, offset: u64) -> Result<()> {
        let block = offset / self.block_size * self.block_size;
        let wanted = len_u64(self.piece).min(self.segment_size - block) / self.block_size * self.block_size;
        self.len = 0;
        self.piece = (2 * self.piece).min(self.buf.len());
        let read = match self.file.read_at(&mut self.buf[..usize_of(wanted)], block) {
            Ok(read) => read,
            // A bad sector further on must not hide what is here.
            Err(_) => self.file.read_at(&mut self.buf[..usize_of(self.block_size)], block).map_err(|error| {
                Error { code: Code::Io, ..Error::os("cannot read the segment", &error) }.at(self.index, block)
            })?,
        };
        (self.start, self.len) = (block, read);
        self.bytes += len_u64(read);
        if offset >= block + len_u64(read) {
            let text = format!("the segment file ends at {}", block + len_u64(read));
            return Err(Error::new(Code::Corrupt, text).at(self.index, offset));
        }
        Ok(())
    }

    /// The verified frame header at `offset`, a multiple of the block; its body is not looked at.
    pub fn header_at(&mut self, offset: u64) -> Result<Option<FrameHeader>> {
        let place = self.place;
        let bytes = self.run(offset, len_u64(FRAME_HEADER_LEN))?;
        Ok(FrameHeader::decode(place, offset, bytes).map(|(header, _)| header))
    }

    /// What is at `offset`, a multiple of the block.
    pub fn look(&mut self, offset: u64) -> Glimpse {
        if offset + self.block_size > self.segment_size {
            return Glimpse::NoHeader(0, 0);
        }
        let place = self.place;
        let bytes = match self.run(offset, self.block_size) {
            Ok(bytes) => bytes,
            Err(error) => return Glimpse::Unreadable(error),
        };
        let Some((header, identity)) = FrameHeader::decode(place, offset, bytes) else {
            if bytes.len() < FRAME_HEADER_LEN {
                return Glimpse::NoHeader(0, 0);
            }
            let (there, right) = FrameHeader::checksums(place, offset, bytes);
            return Glimpse::NoHeader(there, right);
        };
        if offset + header.frame_len(self.block_size) > self.segment_size {
            return Glimpse::BadBody(header, identity, Body::default());
        }
        self.looked_at = self.looked_at.saturating_add(u64::from(header.body_len));
        if self.looked_at > LOOKS_MAX.saturating_mul(self.segment_size.max(PIECE)) {
            let text = "too many frames of the segment claim the same bytes: this one is not looked at";
            return Glimpse::Unreadable(Error::new(Code::Corrupt, text).at(self.index, offset));
        }
        match self.body(&header, offset + len_u64(FRAME_HEADER_LEN)) {
            Ok(body) if body.crc == header.body_crc => Glimpse::Whole(header, identity, body),
            Ok(body) => Glimpse::BadBody(header, identity, body),
            Err(error) => Glimpse::Unreadable(error),
        }
    }

    fn body(&mut self, header: &FrameHeader, from: u64) -> Result<Body> {
        let mut passing = Passing::of(header, from);
        let end = from + u64::from(header.body_len);
        let (mut at, mut seal) = (from, None);
        while at < end {
            let bytes = self.run(at, end - at)?;
            passing.feed(at, bytes);
            if header.has(FLAG_SEAL) && at == from {
                seal = Seal::decode(bytes);
            }
            at += len_u64(bytes.len());
        }
        Ok(Body { seal, ..passing.end(header, self.is_compacted) })
    }
}

/// The records of a long frame, checked while its body passes by.
pub(super) struct Passing {
    records: Option<Records>,
    found: Body,
}

impl Passing {
    /// Of a frame whose body begins at `from` of the file.
    pub(super) fn of(header: &FrameHeader, from: u64) -> Passing {
        let end = from + u64::from(header.body_len);
        let records = header.has(FLAG_DATA).then(|| Records::new(header, from, end));
        Passing { records, found: Body::default() }
    }

    /// `bytes` are at `at` of the file.
    pub(super) fn feed(&mut self, at: u64, bytes: &[u8]) {
        self.found.crc = crc32c_append(self.found.crc, bytes);
        if let Some(records) = &mut self.records {
            records.feed(at, bytes, &mut self.found);
        }
    }

    /// Behind the last byte.
    fn end(mut self, header: &FrameHeader, is_compacted: bool) -> Body {
        if let Some(records) = self.records {
            records.finish(header, is_compacted, &mut self.found);
        }
        self.found
    }

    /// The same, and what is wrong with the first record that is not as it should be.
    pub(super) fn finish(self, header: &FrameHeader, is_compacted: bool) -> Result<()> {
        match self.end(header, is_compacted).bad.first() {
            Some(bad) => Err(bad_record(bad.why).about_seq(bad.seq)),
            None => Ok(()),
        }
    }
}

/// Tells the records of a body apart.
struct Records {
    first_seq: u64,
    last_seq: u64,
    end: u64,
    /// Where the present record begins.
    record: u64,
    head: [u8; RECORD_HEADER_LEN],
    /// The present record's header, once it is there.
    header: Option<RecordHeader>,
    crc: u32,
    seq: u64,
    /// A header cannot be trusted: where the next record begins is not known.
    lost: bool,
}

impl Records {
    fn new(frame: &FrameHeader, from: u64, end: u64) -> Records {
        Records {
            first_seq: frame.first_seq,
            last_seq: frame.last_seq(),
            end,
            record: from,
            head: [0; RECORD_HEADER_LEN],
            header: None,
            crc: 0,
            seq: frame.first_seq - 1,
            lost: false,
        }
    }

    /// `bytes` are at `at` of the file.
    fn feed(&mut self, mut at: u64, mut bytes: &[u8], found: &mut Body) {
        while !self.lost && !bytes.is_empty() {
            let into = at - self.record;
            let head_len = len_u64(RECORD_HEADER_LEN);
            let used = if into < head_len {
                let from = usize_of(into);
                let used = bytes.len().min(RECORD_HEADER_LEN - from);
                self.head[from..from + used].copy_from_slice(&bytes[..used]);
                if from + used == RECORD_HEADER_LEN {
                    self.begin(found);
                }
                used
            } else {
                let header = self.header.expect("its header is there");
                let payload_end = head_len + u64::from(header.len);
                let record_end = len_u64(record_len(usize_of(u64::from(header.len))));
                let used = usize_of((record_end - into).min(len_u64(bytes.len())));
                let of_payload = usize_of(payload_end.saturating_sub(into)).min(used);
                self.crc = crc32c_append(self.crc, &bytes[..of_payload]);
                used
            };
            at += len_u64(used);
            bytes = &bytes[used..];
            self.end_record(at, found);
        }
    }

    fn begin(&mut self, found: &mut Body) {
        (self.header, self.crc) = (None, 0);
        match RecordHeader::decode_header_with(&self.head, self.end - self.record) {
            Ok(header) => self.header = Some(header),
            Err(why) => {
                self.lost = true;
                self.bad(why, found);
            }
        }
    }

    fn end_record(&mut self, at: u64, found: &mut Body) {
        let Some(header) = self.header else { return };
        if at < self.record + len_u64(record_len(usize_of(u64::from(header.len)))) {
            return;
        }
        if self.crc != header.payload_crc {
            self.bad(BadRecord::Payload, found);
        } else if header.seq <= self.seq || header.seq > self.last_seq {
            self.bad(BadRecord::Header, found);
        } else {
            found.records += 1;
            if header.must_be_known() && found.unknown.len() < BAD_MAX {
                found.unknown.push((self.record, header));
            }
        }
        self.seq = self.seq.max(header.seq);
        (self.header, self.record) = (None, at);
    }

    fn bad(&self, why: BadRecord, found: &mut Body) {
        if found.bad.len() < BAD_MAX {
            let seq = self.header.map_or(self.seq + 1, |header| header.seq).clamp(self.first_seq, self.last_seq);
            found.bad.push(BadPlace { offset: self.record, why, header: self.header, payload_crc: self.crc, seq });
        }
    }

    /// Behind the last byte: nothing may be left over, nothing may be missing.
    fn finish(mut self, frame: &FrameHeader, is_compacted: bool, found: &mut Body) {
        let counted = found.records + len_u64(found.bad.len());
        let is_wrong = counted != u64::from(frame.record_count) || check_counts(frame, is_compacted).is_err();
        let short = !self.lost && (self.record != self.end || is_wrong);
        if short && found.bad.len() < BAD_MAX {
            self.header = None;
            self.bad(BadRecord::Length, found);
        }
    }
}
