//! One segment's bytes, followed from its header to its last block: what comes
//! next, and whether it is that.  Source, sink and reopening all go by this.
//!
//! ```text
//!   header block | frames ... seal | whatever the file held before, or zeros
//!                ^ Track::begin    ^ sealed                               ^ complete
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::window::{Window, READ_MAX};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::limits::FRAME_SIZE_CAP;
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::format::frame::{Seal, FLAG_DATA, FLAG_SEAL};
use crate::format::{Chain, FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use crate::read::sparse::{self, Holes};
use crate::read::stream::{Glimpse, Stream};

/// Where in a segment a copy has come to, and how the frames up to there end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    pub header: SegmentHeader,
    pub offset: u64,
    /// Behind a seal, what the next segment's header says.
    pub chain: Chain,
    /// Behind a seal, its offset as the next header says it.
    pub seal_offset: Option<u64>,
    pub records: u64,
    pub frames: u64,
}

/// What is at a track's place.
enum Next {
    /// The next frame, so long.
    Frame(u64),
    /// A header that says so many bytes are needed to tell.
    Long(u64),
    /// Not the next frame, and why.
    Bad(&'static str),
}

impl Track {
    /// In front of the first frame.
    pub fn begin(header: SegmentHeader) -> Track {
        let offset = u64::from(header.block_size);
        Track { header, offset, chain: header.before, seal_offset: None, records: 0, frames: 0 }
    }

    /// The last frame was the segment's seal.
    pub fn is_sealed(&self) -> bool {
        self.seal_offset.is_some()
    }

    /// There is no more of this segment.
    pub fn is_complete(&self) -> bool {
        self.is_sealed() && self.offset == self.header.segment_size
    }

    /// Whether `header` is the next segment's.
    pub fn continues_in(&self, header: &SegmentHeader) -> bool {
        self.is_complete()
            && header.index == self.header.index + 1
            && header.log_id == self.header.log_id
            && header.block_size == self.header.block_size
            && Some(header.before_offset) == self.seal_offset
            && header.before == self.chain
    }

    /// Goes behind the whole frames at the front of `bytes`, the seal at most; says how many bytes they are, and what
    /// stopped it if that is not the end of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) -> (usize, Option<Error>) {
        let mut passed = 0;
        while passed < bytes.len() && !self.is_sealed() {
            match self.next(&bytes[passed..]) {
                Next::Frame(len) => passed += usize_of(len),
                Next::Long(_) => return (passed, Some(self.damaged("a frame that is not whole"))),
                Next::Bad(text) => return (passed, Some(self.damaged(text))),
            }
        }
        (passed, None)
    }

    /// The error for what is at this place.
    pub fn damaged(&self, text: &'static str) -> Error {
        Error::new(Code::Corrupt, text).at(self.header.index, self.offset).about_seq(self.chain.last_seq + 1)
    }

    fn next(&mut self, bytes: &[u8]) -> Next {
        let block = u64::from(self.header.block_size);
        let Some((frame, identity)) = FrameHeader::decode(self.header.place(), self.offset, bytes) else {
            return Next::Bad("no frame of this file");
        };
        let len = frame.frame_len(block);
        if !self.chain.continues_in(&frame) {
            return Next::Bad("a whole frame header, but not the one that continues here");
        }
        if len > self.header.segment_size - self.offset {
            return Next::Bad("a frame that reaches beyond its file");
        }
        if len > len_u64(bytes.len()) {
            return Next::Long(len);
        }
        let body = &bytes[FRAME_HEADER_LEN..FRAME_HEADER_LEN + usize_of(u64::from(frame.body_len))];
        if !frame.body_is_whole(body) {
            return Next::Bad("a frame with another body than was composed with it");
        }
        let after = Chain::after(&frame, identity);
        if frame.has(FLAG_SEAL) {
            let agrees = |seal: &Seal| {
                seal.first_seq == self.header.first_seq
                    && seal.record_count == self.records
                    && seal.frame_count == self.frames
                    && (seal.first_seal.is_none() || self.header.is_compacted())
            };
            let Some(seal) = Seal::decode(body).filter(agrees) else {
                return Next::Bad("a seal that contradicts its segment");
            };
            let (chain, seal_offset) = seal.end(after, self.offset);
            (self.chain, self.seal_offset) = (chain, Some(seal_offset));
        } else {
            self.chain = after;
        }
        self.records += u64::from(frame.record_count);
        self.frames += 1;
        self.offset += len;
        Next::Frame(len)
    }

    /// Reads whole frames in front of `end` and goes behind them.  Where in the window they are; nothing: `end` is here,
    /// or the segment is sealed.  Nothing that does not follow is passed: that is an error, unless something else was
    /// passed first.
    pub fn read(&mut self, file: &Arc<dyn File>, window: &mut Window, end: u64) -> Result<Range<usize>> {
        let mut wanted = u64::from(self.header.block_size);
        // Damage is no damage before it was read twice.
        let mut doubted = false;
        loop {
            let left = end.saturating_sub(self.offset);
            if left == 0 || self.is_sealed() {
                return Ok(0..0);
            }
            let here = window.load(file, self.header.index, self.offset, wanted.min(left), end)?;
            let len = here.len().min(usize_of(FRAME_SIZE_CAP.max(wanted)));
            let bytes = &window.bytes()[here.start..here.start + len];
            let mut passed = 0;
            let stopped = loop {
                if passed == len || self.is_sealed() {
                    break None;
                }
                match self.next(&bytes[passed..]) {
                    Next::Frame(len) => passed += usize_of(len),
                    other => break Some(other),
                }
            };
            match stopped {
                _ if passed > 0 => return Ok(here.start..here.start + passed),
                Some(Next::Long(frame)) if frame <= left && len_u64(len) < frame => {
                    if frame > READ_MAX && !sparse::is_there(file.as_ref(), frame) && !self.is_whole_in(file)? {
                        return Err(self.damaged("a long frame that is not whole, or holds no records"));
                    }
                    wanted = frame;
                }
                _ if !doubted => {
                    doubted = true;
                    window.forget();
                }
                Some(Next::Bad(text)) => return Err(self.damaged(text)),
                _ => return Err(self.damaged("a frame that ends behind what is durable")),
            }
        }
    }

    /// Whether the frame here is whole, read in pieces: a header alone may say any length.
    fn is_whole_in(&self, file: &Arc<dyn File>) -> Result<bool> {
        let mut stream = Stream::new(Arc::clone(file), &self.header)?;
        // Damage is no damage before it was read twice.
        for _ in 0..2 {
            match stream.look(self.offset) {
                // Without records none is so long.
                Glimpse::Whole(frame, _, body) if frame.has(FLAG_DATA) && body.bad.is_empty() => return Ok(true),
                Glimpse::Unreadable(error) => return Err(error),
                _ => stream.forget(),
            }
        }
        Ok(false)
    }

    /// Reads on behind the seal: how many zeros come first, in whole blocks, and where in the window bytes follow that
    /// are no blocks of zeros.
    pub fn read_rest(&mut self, file: &Arc<dyn File>, window: &mut Window) -> Result<(u64, Range<usize>)> {
        let (size, block) = (self.header.segment_size, usize_of(u64::from(self.header.block_size)));
        let start = self.offset;
        let mut holes = Holes::default();
        loop {
            self.offset = holes.pass(file.as_ref(), self.offset, len_u64(block), size);
            if self.offset >= size {
                break;
            }
            let here = window.load(file, self.header.index, self.offset, len_u64(block), size)?;
            let from = here.start;
            let bytes = &window.bytes()[from..here.end.min(from + usize_of(FRAME_SIZE_CAP))];
            let zeros = bytes.chunks(block).take_while(|block| is_zero(block)).count() * block;
            let data = bytes[zeros..].chunks(block).take_while(|block| !is_zero(block)).count() * block;
            self.offset += len_u64(zeros);
            if data > 0 {
                let skipped = self.offset - start;
                self.offset += len_u64(data);
                return Ok((skipped, from + zeros..from + zeros + data));
            }
        }
        Ok((self.offset - start, 0..0))
    }
}

/// Whether nothing but zeros is there.  In parts, because the compiler makes few instructions of each.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}
