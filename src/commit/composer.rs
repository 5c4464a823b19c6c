//! The thread of frames: every frame that reaches the log's files gets its
//! header here, one after the other.
//!
//! A header names the frame before it, so headers are composed in the order that
//! the queue gave; the writes themselves may overtake each other.

use std::sync::Arc;

use crate::base::bytes::len_u64;
use crate::base::crc::crc32c;
use crate::disk::File;
use crate::format::frame::{Seal, FLAG_DATA, FLAG_MARK, FLAG_SEAL, SEAL_LEN};
use crate::format::{Chain, FrameHeader, Id, SegmentHeader, FRAME_HEADER_LEN};
use crate::read::Published;

/// What the next frame continues.
pub struct Composer {
    /// The active segment.
    pub file: Arc<dyn File>,
    /// Its header.
    pub header: SegmentHeader,
    /// Where the next frame goes.
    pub offset: u64,
    /// How the frames so far end.
    pub chain: Chain,
    /// Records and frames in the active segment.
    pub records: u64,
    pub frames: u64,
    /// This opening.
    pub epoch: u64,
    pub epoch_id: Id,
    /// Frames composed in this epoch.
    pub frame_number: u64,
    /// The queue's order of the next frame.
    pub next_order: u64,
    /// The active segment ends in a seal.
    pub sealed: bool,
    /// What readers at the log's end read from memory.
    pub reach: Arc<Published>,
}

/// What was durable when a frame is composed.
#[derive(Debug, Clone, Copy)]
pub struct Durable {
    /// Highest number.
    pub seq: u64,
    /// In the active segment, everything before this offset.
    pub end: u64,
}

impl Composer {
    /// Makes `frame`, whose records begin behind the header and end at
    /// `filled_len`, the next frame.  `first_seq..=last_seq` are its records.
    pub fn data(&mut self, frame: &mut [u8], filled_len: usize, last_seq: u64, records: u32, durable: Durable) {
        let first_seq = self.chain.last_seq + 1;
        self.compose(frame, filled_len, (last_seq + 1 - first_seq, records), FLAG_DATA, durable);
        self.records += u64::from(records);
    }

    /// Makes `block` a mark.
    pub fn mark(&mut self, block: &mut [u8], durable: Durable) {
        block.fill(0);
        self.compose(block, FRAME_HEADER_LEN, (0, 0), FLAG_MARK, durable);
    }

    /// Makes `block` the segment's seal.
    pub fn seal(&mut self, block: &mut [u8], durable: Durable) {
        block.fill(0);
        let (record_count, first_seq) = (self.records, self.header.first_seq);
        let seal = Seal { record_count, first_seq, frame_count: self.frames, first_seal: None };
        seal.encode(&mut block[FRAME_HEADER_LEN..]);
        self.compose(block, FRAME_HEADER_LEN + SEAL_LEN, (0, 0), FLAG_SEAL, durable);
        self.sealed = true;
    }

    fn compose(
        &mut self,
        frame: &mut [u8],
        filled_len: usize,
        (seq_span, records): (u64, u32),
        flags: u32,
        durable: Durable,
    ) {
        debug_assert!(!self.sealed && durable.seq <= self.chain.last_seq && durable.end <= self.offset);
        let body = &frame[FRAME_HEADER_LEN..filled_len];
        let header = FrameHeader {
            body_len: u32::try_from(body.len()).expect("the limits keep a frame's body below 4 GiB"),
            body_crc: crc32c(body),
            first_seq: self.chain.last_seq + 1,
            seq_span,
            record_count: records,
            flags,
            durable_seq: durable.seq,
            durable_end: durable.end,
            epoch: self.epoch,
            epoch_id: self.epoch_id,
            frame_number: self.frame_number + 1,
            chain: self.chain.identity,
        };
        let identity = header.encode(self.header.place(), self.offset, frame);
        self.reach.recent.keep(self.header.index, self.offset, frame);
        self.frame_number += 1;
        self.frames += 1;
        self.chain = Chain::after(&header, identity);
        self.offset += len_u64(frame.len());
    }
}
