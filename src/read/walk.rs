//! From an offset of a segment, the next frame, or what is there instead.
//!
//! Says what it sees and judges nothing: whether a frame is the expected one,
//! and what its absence means, is its callers' business.

use std::sync::Arc;

use crate::base::bytes::{len_u64, usize_of};
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::format::{FrameHeader, Place, SegmentHeader, FRAME_HEADER_LEN};
use crate::mem::AlignedBuf;

/// Bytes read at once.
pub const READ_AHEAD: usize = 1 << 20;

/// A place in one segment file, with the bytes around it.
pub struct Walker {
    file: Arc<dyn File>,
    index: u64,
    place: Place,
    block_size: u64,
    segment_size: u64,
    buf: AlignedBuf,
    /// File offset of the buffer's first byte.
    buf_offset: u64,
    /// Bytes of the buffer that were read.
    buf_len: usize,
    offset: u64,
    /// Everything up to this number was durable when the next read was asked for, and when the buffer's was.
    durable_now: u64,
    durable_then: u64,
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
    /// A walker at `offset` of the segment with this header, reading `read_ahead` bytes at once.
    pub fn new(file: Arc<dyn File>, header: &SegmentHeader, offset: u64, read_ahead: usize) -> Result<Walker> {
        let block_size = u64::from(header.block_size);
        Ok(Walker {
            file,
            index: header.index,
            place: header.place(),
            block_size,
            segment_size: header.segment_size,
            // A small segment does not need a large buffer.
            buf: AlignedBuf::zeroed(read_ahead.min(usize_of(header.segment_size)).max(usize_of(block_size)))?,
            buf_offset: 0,
            buf_len: 0,
            offset,
            durable_now: 0,
            durable_then: 0,
        })
    }

    /// Index of the segment.
    pub fn index(&self) -> u64 {
        self.index
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

    /// Goes to the next block.
    pub fn pass_block(&mut self) {
        self.offset += self.block_size;
    }

    /// Forgets what was read ahead: the device is asked again.
    pub fn forget(&mut self) {
        self.buf_len = 0;
    }

    /// Everything up to `seq` is durable from now on: what is read of it later does not change any more.
    pub fn set_durable(&mut self, seq: u64) {
        self.durable_now = self.durable_now.max(seq);
    }

    /// Whether record `seq` was durable when the bytes that `look` showed were read.
    pub fn was_durable(&self, seq: u64) -> bool {
        seq <= self.durable_then
    }

    /// The frame header in this block, its body unseen; None: none of this file.
    pub fn look_at_header(&mut self) -> Result<Option<FrameHeader>> {
        self.load(FRAME_HEADER_LEN)?;
        let at = self.at();
        Ok(FrameHeader::decode(self.place, self.offset, &self.buf[at..self.buf_len]).map(|(header, _)| header))
    }

    /// What is here.
    pub fn look(&mut self) -> Look {
        if self.offset >= self.segment_size {
            return Look::FileEnd;
        }
        if let Err(error) = self.load(FRAME_HEADER_LEN) {
            return Look::Unreadable(error);
        }
        let at = self.at();
        let Some((header, identity)) = FrameHeader::decode(self.place, self.offset, &self.buf[at..self.buf_len]) else {
            return Look::NoHeader;
        };
        // The header is verified, but a frame never reaches beyond its file.
        if self.offset + header.frame_len(self.block_size) > self.segment_size {
            return Look::BadBody(header);
        }
        if let Err(error) = self.load(usize_of(header.frame_len(self.block_size))) {
            return Look::Unreadable(error);
        }
        if header.body_is_whole(self.body(&header)) {
            Look::Whole(header, identity)
        } else {
            Look::BadBody(header)
        }
    }

    /// The body of the frame that `look` showed as whole, until the walker reads on.
    pub fn body(&self, header: &FrameHeader) -> &[u8] {
        let start = self.at() + FRAME_HEADER_LEN;
        &self.buf[start..start + usize_of(u64::from(header.body_len))]
    }

    fn at(&self) -> usize {
        usize_of(self.offset - self.buf_offset)
    }

    /// Makes `len` bytes from the walker's place on available.
    fn load(&mut self, len: usize) -> Result<()> {
        let buffered = self.buf_offset..self.buf_offset + len_u64(self.buf_len);
        if buffered.contains(&self.offset) && self.offset + len_u64(len) <= buffered.end {
            return Ok(());
        }
        let left = usize_of(self.segment_size - self.offset);
        let least = len.next_multiple_of(usize_of(self.block_size)).min(left);
        if least > self.buf.len() {
            self.buf = AlignedBuf::zeroed(least)?;
        }
        let ahead = self.buf.len().min(left) / usize_of(self.block_size) * usize_of(self.block_size);
        self.buf_len = 0;
        self.buf_offset = self.offset;
        self.durable_then = self.durable_now;
        self.buf_len = match self.file.read_at(&mut self.buf[..ahead], self.offset) {
            Ok(read) => read,
            // A bad sector further on must not hide what is here.
            Err(_) => self.file.read_at(&mut self.buf[..least], self.offset).map_err(|error| {
                Error { code: Code::Io, ..Error::os("cannot read the segment", &error) }.at(self.index, self.offset)
            })?,
        };
        if self.buf_len < len {
            let text = format!("the segment file ends at {}", self.offset + len_u64(self.buf_len));
            self.buf_len = 0;
            return Err(Error::new(Code::Corrupt, text).at(self.index, self.offset));
        }
        Ok(())
    }
}
