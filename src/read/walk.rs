//! From an offset of a segment, the next frame, or what is there instead.
//!
//! Says what it sees and judges nothing: whether a frame is the expected one,
//! and what its absence means, is its callers' business.

use std::sync::Arc;

use super::ahead::{Piece, Pieces};
use super::mapping::Mapping;
use super::short;
use super::sparse::{self, Holes};
use super::stream::Passing;
use super::Published;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::crc::crc32c_append;
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::format::frame::FLAG_DATA;
use crate::format::{FrameHeader, Place, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::aligned::ALIGN;
use crate::mem::AlignedBuf;

/// Most bytes read at once.
pub const READ_AHEAD: usize = 1 << 20;
/// Bytes read at first.
const PIECE_MIN: usize = 64 << 10;
/// Pieces read one after the other before the next ones are read ahead, on a thread.
const PIECES_IN_A_ROW: u32 = 6;

/// A place in one segment file, with the bytes around it.
///
/// The buffer has two halves: a piece is read into the second, and what the one
/// before had left over (the first part of a frame) is kept in front of it.
pub struct Walker {
    file: Arc<dyn File>,
    index: u64,
    place: Place,
    block_size: u64,
    segment_size: u64,
    /// Bytes of it that the file had when this began.
    there: u64,
    is_compacted: bool,
    buf: AlignedBuf,
    /// Index of the second half.
    half: usize,
    /// The bytes in the buffer, and the file offset of the first.
    view: std::ops::Range<usize>,
    view_offset: u64,
    offset: u64,
    /// Bytes of the next piece.
    piece: usize,
    /// Of the first one: a block where most of the bytes are passed over.
    piece_min: usize,
    /// Pieces read one after the other.
    in_a_row: u32,
    ahead: Ahead,
    /// The whole file, if it is read by mapping it: what is looked at lies there, and not in the buffer.
    mapped: Option<Mapping>,
    /// Everything up to this number was durable when the next read was asked for, and when what is in the buffer was.
    durable_now: u64,
    durable_then: u64,
    /// Everything in front of this offset is durable; 0: nobody knows.
    durable_until: u64,
    /// Bytes that were asked of the device.
    bytes_read: u64,
    /// What of the file is in memory, if it is being written by this process.
    recent: Option<Arc<Published>>,
    /// The next read is the device's.
    distrusts: bool,
    /// What was never written of the file is passed over where frames are looked for.
    holes: Holes,
}

/// What is given the pieces of a body: the frame, a place in the file, and the bytes there.
pub type Each<'e> = &'e mut dyn FnMut(&FrameHeader, u64, &[u8]);

/// Whether, and how far, this walker reads ahead.
enum Ahead {
    /// It does not.
    Never,
    /// It does when it has walked a while.
    Soon,
    /// It does.
    Now(Box<Pieces>),
}

/// What is at the walker's place.
#[derive(Debug, Clone)]
pub enum Look {
    /// A frame of this file, header and body whole; its identity.
    Whole(FrameHeader, u64),
    /// A header of this file, but the body is not the one composed with it.
    BadBody(FrameHeader),
    /// No header of this file.
    NoHeader,
    /// The file ends here.
    FileEnd,
    /// The device does not give the bytes, or the file is shorter than its header says.
    Unreadable(Error),
}

impl Walker {
    /// A walker at `offset` of the segment with this header, reading at most `read_ahead` bytes at once.
    pub fn new(file: Arc<dyn File>, header: &SegmentHeader, offset: u64, read_ahead: usize) -> Result<Walker> {
        let block_size = u64::from(header.block_size);
        // A small segment does not need a large buffer.
        // What cannot be measured now is found out by reading it.
        let there = file.size().map_or(header.segment_size, |size| size.min(header.segment_size));
        let half = read_ahead.min(usize_of(there)).max(usize_of(block_size)).next_multiple_of(ALIGN);
        let piece_min = half.min(PIECE_MIN).max(usize_of(block_size));
        Ok(Walker {
            file,
            index: header.index,
            place: header.place(),
            block_size,
            segment_size: header.segment_size,
            there,
            is_compacted: header.is_compacted(),
            buf: AlignedBuf::zeroed(2 * half)?,
            half,
            view: 0..0,
            view_offset: offset,
            offset,
            piece: piece_min,
            piece_min,
            in_a_row: 0,
            ahead: Ahead::Never,
            mapped: None,
            durable_now: 0,
            durable_then: 0,
            durable_until: 0,
            bytes_read: 0,
            recent: None,
            distrusts: false,
            holes: Holes::default(),
        })
    }

    /// Lets the walker read ahead when it goes on for long.
    pub fn read_ahead(&mut self) {
        self.ahead = Ahead::Soon;
    }

    /// Reads no more than a block where it goes on somewhere else: most of what lies between is not wanted.
    pub fn read_sparsely(&mut self) {
        self.piece_min = usize_of(self.block_size);
        (self.piece, self.ahead) = (self.piece_min, Ahead::Never);
    }

    /// Reads the file, which is complete, by mapping it, where that can be had.  Not one with holes: what is looked at of
    /// them takes room in the page cache, and on tmpfs in the file.
    pub fn read_mapped(&mut self) {
        if !sparse::is_there(self.file.as_ref(), self.segment_size) {
            return;
        }
        self.mapped = Mapping::of(&self.file, self.index, self.segment_size);
        if self.mapped.is_some() {
            self.ahead = Ahead::Never;
        }
    }

    /// The same for a walker that goes on where `before` ended, in the next segment.
    pub fn read_ahead_after(&mut self, before: Walker) {
        self.ahead = before.ahead;
        if let Ahead::Now(pieces) = &mut self.ahead {
            pieces.give_up();
            if !pieces.hold(2 * self.half) {
                self.ahead = Ahead::Soon;
            }
        }
        (self.piece, self.in_a_row) = (before.piece.min(self.half), before.in_a_row);
    }

    /// Corrupt, at the file's end: bytes of the segment are missing there.
    pub fn check_size(&self) -> Result<()> {
        short::check_size(self.file.as_ref(), self.index, self.segment_size)
    }

    /// Whether it reads this very file, not another one that is segment of the same index.
    pub fn reads(&self, header: &SegmentHeader) -> bool {
        self.index == header.index && self.place == header.place() && self.segment_size == header.segment_size
    }

    /// Index of the segment.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether records of the segment may be gone, and their numbers holes.
    pub fn is_compacted(&self) -> bool {
        self.is_compacted
    }

    /// Where the walker is.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to another block.
    pub fn go_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Goes behind the frame that `look` showed.
    pub fn pass(&mut self, header: &FrameHeader) {
        self.offset += header.frame_len(self.block_size);
    }

    /// Goes to the next block, or behind what was never written there.
    pub fn pass_block(&mut self) {
        self.offset += self.block_size;
        if self.available() == 0 {
            self.offset = self.holes.pass(self.file.as_ref(), self.offset, self.block_size, self.segment_size);
        }
    }

    /// Forgets what was read ahead: the device is asked again.
    pub fn forget(&mut self) {
        if let Some(mapped) = &mut self.mapped {
            mapped.forget();
        }
        (self.view, self.view_offset) = (0..0, self.offset);
        self.distrusts = true;
        // Whoever waits at the log's end comes here with every record: there is little behind it.
        self.piece = usize_of(self.block_size);
        self.in_a_row = 0;
    }

    /// Bytes that it asked the device for, on this thread.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// About so many bytes are there: the next piece has as many, if it is read from where the last one ended.
    pub fn expect(&mut self, bytes: u64) {
        self.piece = usize_of(bytes.next_multiple_of(self.block_size).min(len_u64(self.half))).max(self.piece_min);
    }

    /// Everything up to `seq` is durable from now on: what is read of it later does not change any more.  So is every
    /// byte in front of `until`, if that is known: no more is read than that, unless it is asked for.
    pub fn set_durable(&mut self, seq: u64, until: Option<u64>) {
        self.durable_now = self.durable_now.max(seq);
        self.durable_until = until.unwrap_or(0);
    }

    /// Reads what was written a moment ago from memory, where it is there and durable.
    pub fn read_recent(&mut self, reach: &Arc<Published>) {
        self.recent.get_or_insert_with(|| Arc::clone(reach));
    }

    /// Up to which number everything is durable in what is read up to `end` now.
    fn durable_in(&self, end: u64) -> u64 {
        if end <= self.durable_until {
            u64::MAX
        } else {
            self.durable_now
        }
    }

    /// Whether record `seq` was durable when the bytes that `look` showed were read.
    pub fn was_durable(&self, seq: u64) -> bool {
        seq <= self.durable_then
    }

    /// The frame header in this block, its body unseen; None: none of this file.
    pub fn look_at_header(&mut self) -> Result<Option<FrameHeader>> {
        Ok(self.decode_header()?.map(|(header, _)| header))
    }

    fn decode_header(&mut self) -> Result<Option<(FrameHeader, u64)>> {
        self.load(FRAME_HEADER_LEN)?;
        let at = self.at();
        Ok(FrameHeader::decode(self.place, self.offset, &self.bytes()[at..self.view.end]))
    }

    /// What is here; the body of a frame with records stays unseen: whole means that its header is verified and
    /// that it ends within the file.
    pub fn look_at_head(&mut self) -> Look {
        if self.offset >= self.segment_size {
            return Look::FileEnd;
        }
        match self.decode_header() {
            Ok(Some((header, identity)))
                if header.has(FLAG_DATA) && self.offset + header.frame_len(self.block_size) <= self.segment_size =>
            {
                Look::Whole(header, identity)
            }
            _ => self.look(),
        }
    }

    /// Where in [`Walker::bytes`] the `len` bytes at `at` of the file are, until the walker reads on.
    pub fn span(&mut self, at: u64, len: usize) -> Result<std::ops::Range<usize>> {
        let here = self.offset;
        self.offset = at / self.block_size * self.block_size;
        let into = usize_of(at - self.offset);
        let span = self.load(into + len).map(|()| self.at() + into..self.at() + into + len);
        self.offset = here;
        span
    }

    /// What [`Walker::span`] tells places of.
    pub fn bytes(&self) -> &[u8] {
        match &self.mapped {
            None => &self.buf,
            Some(mapped) => mapped,
        }
    }

    /// What is here.  A frame with records is in memory then, if it is whole; a long one is not taken there on its
    /// header's word alone.
    pub fn look(&mut self) -> Look {
        self.look_and(None)
    }

    /// As [`Walker::look`], for whoever does not ask for records: of a frame that is longer than what is read at once
    /// nothing stays in memory.
    pub fn look_over(&mut self) -> Look {
        self.look_and(Some(&mut |_, _, _| ()))
    }

    /// The same, and `each` is given the body of such a frame piece by piece.
    pub fn look_through(&mut self, each: Each<'_>) -> Look {
        self.look_and(Some(each))
    }

    /// With `pieces` a long frame is not kept.
    fn look_and(&mut self, mut pieces: Option<Each<'_>>) -> Look {
        if self.offset >= self.segment_size {
            return Look::FileEnd;
        }
        let (header, identity) = match self.decode_header() {
            Ok(Some(found)) => found,
            Ok(None) => return Look::NoHeader,
            Err(error) => return Look::Unreadable(error),
        };
        // The header is verified, but a frame never reaches beyond its file.
        if self.offset + header.frame_len(self.block_size) > self.segment_size {
            return Look::BadBody(header);
        }
        let is_kept = pieces.is_none() && header.has(FLAG_DATA);
        if self.is_long(&header) && !(is_kept && self.may_take(header.frame_len(self.block_size))) {
            let body = self.offset + len_u64(FRAME_HEADER_LEN);
            let mut records = is_kept.then(|| Passing::of(&header, body));
            let mut each = |at: u64, bytes: &[u8]| {
                if let Some(records) = &mut records {
                    records.feed(at, bytes);
                }
                if let Some(pieces) = &mut pieces {
                    pieces(&header, at, bytes);
                }
            };
            match self.sum(body, body + u64::from(header.body_len), &mut each) {
                Err(error) => return Look::Unreadable(error),
                Ok(crc) if crc != header.body_crc => return Look::BadBody(header),
                Ok(_) => {}
            }
            match records.map(|records| records.finish(&header, self.is_compacted)) {
                None => return Look::Whole(header, identity),
                // The checksum of zeros is nothing that only a writer knows.
                Some(Err(error)) => return Look::Unreadable(error.at(self.index, self.offset)),
                Some(Ok(())) => {}
            }
        }
        // Its padding nobody looks at: a file may end in it, and the records are there.
        if let Err(error) = self.load(FRAME_HEADER_LEN + usize_of(u64::from(header.body_len))) {
            return Look::Unreadable(error);
        }
        if header.body_is_whole(self.body(&header)) {
            Look::Whole(header, identity)
        } else {
            Look::BadBody(header)
        }
    }

    /// A frame that does not fit in what is read at once.
    fn is_long(&self, header: &FrameHeader) -> bool {
        header.frame_len(self.block_size) > len_u64(self.half)
    }

    /// Whether so many bytes may be taken into memory before any of them was looked at: they are no more than frames
    /// usually have, or the device holds as many of the file.
    pub fn may_take(&self, bytes: u64) -> bool {
        bytes <= len_u64(READ_AHEAD) || sparse::is_there(self.file.as_ref(), bytes)
    }

    /// The checksum of what lies from `at` to `end` in the file, read in pieces, which `each` is given with their places.
    pub fn sum(&mut self, mut at: u64, end: u64, each: &mut dyn FnMut(u64, &[u8])) -> Result<u32> {
        let here = self.offset;
        let mut crc = 0;
        while at < end {
            self.offset = at / self.block_size * self.block_size;
            let into = usize_of(at - self.offset);
            // What is in the buffer comes first: it is not moved about.
            let len = match self.available() / usize_of(self.block_size) {
                0 => self.half,
                blocks => blocks * usize_of(self.block_size),
            };
            let len = len.min(usize_of((end - self.offset).next_multiple_of(self.block_size)));
            if let Err(error) = self.load(len) {
                self.offset = here;
                // A file's missing end has a place of its own.
                return Err(if error.code == Code::Io { error.at(self.index, here) } else { error });
            }
            let until = len.min(usize_of(end - self.offset));
            let bytes = &self.bytes()[self.at() + into..self.at() + until];
            crc = crc32c_append(crc, bytes);
            each(at, bytes);
            at += len_u64(bytes.len());
        }
        self.offset = here;
        Ok(crc)
    }

    /// The body of the frame that was shown as whole, if it is one without records, until the walker reads on; nothing
    /// of one that is longer than any that is written.
    pub fn words(&self, header: &FrameHeader) -> &[u8] {
        if header.has(FLAG_DATA) || self.is_long(header) {
            return &[];
        }
        self.body(header)
    }

    /// The body of the frame with records that `look` showed as whole, until the walker reads on.
    pub fn body(&self, header: &FrameHeader) -> &[u8] {
        let start = self.at() + FRAME_HEADER_LEN;
        &self.bytes()[start..start + usize_of(u64::from(header.body_len))]
    }

    fn at(&self) -> usize {
        self.view.start + usize_of(self.offset - self.view_offset)
    }

    /// Bytes from the walker's place on that are in the buffer.
    fn available(&self) -> usize {
        let end = self.view_offset + len_u64(self.view.len());
        if self.offset < self.view_offset {
            return 0;
        }
        usize_of(end.saturating_sub(self.offset))
    }

    /// Makes `len` bytes from the walker's place on available.
    fn load(&mut self, len: usize) -> Result<()> {
        let available = self.available();
        if len <= available {
            return Ok(());
        }
        if let Some(mapped) = &mut self.mapped {
            let end = mapped.make_ready(self.offset, len).inspect_err(|_| self.view = 0..0)?;
            // What lies in front was given back, and is made ready again by whoever goes back.
            (self.view, self.view_offset) = (usize_of(self.offset)..end, self.offset);
            // A file that is complete does not change any more.
            self.durable_then = u64::MAX;
            return Ok(());
        }
        if self.offset + len_u64(len) > self.there {
            // No memory for what a header says and no file has.
            self.view = 0..0;
            return Err(self.ends_at(self.there));
        }
        let block = usize_of(self.block_size);
        let least = len.next_multiple_of(block).min(usize_of(self.segment_size - self.offset));
        // Only where a file ends in the middle of a block is there anything else to keep.
        let kept = if available.is_multiple_of(block) && least <= self.half { available } else { 0 };
        let follows = self.offset + len_u64(available) == self.view_offset + len_u64(self.view.len());
        self.in_a_row = if follows { self.in_a_row.saturating_add(1) } else { 0 };
        if !follows {
            self.piece = self.piece.min(self.piece_min.max(block));
        }
        if !self.take_ahead(kept, least)? {
            self.read_now(kept, least)?;
        }
        if self.view.len() < len {
            // The damage is where the file ends, which may lie in front of what is wanted.
            let end = self.offset + len_u64(self.view.len());
            let end = self.file.size().map_or(end, |size| size.min(end));
            self.view = 0..0;
            return Err(self.ends_at(end));
        }
        if least > self.half {
            // A long frame is read at once: what was read ahead of it would be read again.
            (self.piece, self.in_a_row) = (self.piece_min, 0);
        }
        self.ask_ahead();
        Ok(())
    }

    fn ends_at(&self, end: u64) -> Error {
        Error::new(Code::Corrupt, format!("the segment file ends at {end}")).at(self.index, end)
    }

    /// Reads what follows the `kept` bytes at the walker's place, at least up to `least` bytes from there.
    fn read_now(&mut self, kept: usize, least: usize) -> Result<()> {
        let start = if least <= self.half { self.half } else { 0 };
        let from = self.offset + len_u64(kept);
        let left = usize_of(self.segment_size - from);
        let block = usize_of(self.block_size);
        let mut wanted = self.piece.max(least - kept).min(left) / block * block;
        if from < self.durable_until {
            // What lies behind is written now or later, and would be read again.
            wanted = wanted.min(usize_of(self.durable_until - from).max(least - kept));
        }
        if kept > 0 {
            let at = self.at();
            self.buf.copy_within(at..at + kept, start - kept);
        }
        if self.read_from_memory(kept, start, least) {
            return Ok(());
        }
        if self.buf.len() < start + wanted {
            self.buf = AlignedBuf::zeroed(start + wanted)?;
        }
        self.piece = (if self.piece < PIECE_MIN { 4 } else { 2 } * self.piece).min(self.half);
        self.view = 0..0;
        self.bytes_read += len_u64(wanted);
        let read = match self.file.read_at(&mut self.buf[start..start + wanted], from) {
            Ok(read) => read,
            // A bad sector further on must not hide what is here.
            Err(_) => self.file.read_at(&mut self.buf[start..start + least - kept], from).map_err(|error| {
                Error { code: Code::Io, ..Error::os("cannot read the segment", &error) }.at(self.index, self.offset)
            })?,
        };
        let durable = self.durable_in(from + len_u64(read));
        self.show(kept, start, read, durable);
        Ok(())
    }

    /// As [`Walker::read_now`], if all that is wanted is in memory, and durable.
    fn read_from_memory(&mut self, kept: usize, start: usize, least: usize) -> bool {
        let Some(reach) = self.recent.as_ref().filter(|_| !std::mem::take(&mut self.distrusts)) else { return false };
        let from = self.offset + len_u64(kept);
        let most = usize_of(self.durable_until.saturating_sub(from)).min(self.half);
        // What it overwrites is behind the bytes that are kept.
        let read = reach.recent.read(self.index, from, &mut self.buf[start..start + most]);
        let is_enough = kept + read >= least && read > 0;
        self.view = 0..0;
        if is_enough {
            self.show(kept, start, read, u64::MAX);
        }
        is_enough
    }

    /// The buffer holds `kept` bytes in front of `start` and `read` behind it, from the walker's place on.
    fn show(&mut self, kept: usize, start: usize, read: usize, durable: u64) {
        self.view = start - kept..start + read;
        self.view_offset = self.offset;
        self.durable_then = if kept > 0 { self.durable_then.min(durable) } else { durable };
    }

    /// Takes the piece that was read ahead, if it is the one that is needed.
    fn take_ahead(&mut self, kept: usize, least: usize) -> Result<bool> {
        let Ahead::Now(pieces) = &mut self.ahead else { return Ok(false) };
        let from = self.offset + len_u64(kept);
        let fits = pieces.next() == Some(from) && !self.view.is_empty();
        let taken = if fits { pieces.take() } else { None };
        let (mut buf, read, durable) = match taken {
            Some((piece, Ok(read))) if kept + read >= least => (piece.buf, read, piece.durable),
            // What went wrong there is found out by reading it now.
            taken => {
                if let Some((piece, _)) = taken {
                    pieces.give_back(piece.buf);
                }
                pieces.give_up();
                return Ok(false);
            }
        };
        if kept > 0 {
            let at = self.view.start + usize_of(self.offset - self.view_offset); // as `at`, beside the borrow above
            buf[self.half - kept..self.half].copy_from_slice(&self.buf[at..at + kept]);
        }
        pieces.give_back(std::mem::replace(&mut self.buf, buf));
        self.show(kept, self.half, read, durable);
        Ok(true)
    }

    /// Has the next pieces read while this one is looked at.
    fn ask_ahead(&mut self) {
        if self.in_a_row < PIECES_IN_A_ROW || self.piece < self.half {
            return;
        }
        let behind_view = self.view_offset + len_u64(self.view.len());
        loop {
            let offset = match &self.ahead {
                Ahead::Now(pieces) => pieces.end().unwrap_or(behind_view),
                _ => behind_view,
            };
            let left = usize_of(self.segment_size.saturating_sub(offset));
            let len = self.half.min(left) / usize_of(self.block_size) * usize_of(self.block_size);
            let end = offset + len_u64(len);
            if len == 0 || (self.durable_until > 0 && end > self.durable_until) {
                // The file's end, or the log's: there is less than a piece, and most of the time nothing.
                return;
            }
            if matches!(self.ahead, Ahead::Soon) {
                self.ahead = Pieces::begin(2 * self.half).map_or(Ahead::Never, |pieces| Ahead::Now(Box::new(pieces)));
            }
            let durable = self.durable_in(end);
            let Ahead::Now(pieces) = &mut self.ahead else { return };
            let Some(buf) = pieces.spare() else { return };
            pieces.ask(Piece { file: Arc::clone(&self.file), offset, buf, start: self.half, len, durable });
        }
    }
}
