//! What the frames of one segment testify of it, gathered while they are passed.
//!
//! Every frame says what was durable when it was composed.  What lies behind the
//! last such place may be gone at the next look: a flush that failed can take it
//! back, and the next writer puts other frames there.

use std::collections::VecDeque;

use crate::base::bytes::len_u64;
use crate::format::frame::FLAG_DATA;
use crate::format::{Chain, FrameHeader, SegmentHeader};

/// The testimony so far.
#[derive(Debug, Clone)]
pub struct Witnessed {
    /// Highest number that a frame or the segment's header says was durable.
    pub seq: u64,
    /// Everything before this offset was durable: the end of a frame.
    pub end: u64,
    /// How the frames up to there end.
    pub chain: Chain,
    /// The frames passed since, oldest first.
    behind: VecDeque<Behind>,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    end: u64,
    chain: Chain,
    data: bool,
}

impl Witnessed {
    /// Before the first frame: a segment's header is written when all before it is durable.
    pub fn by_header(header: &SegmentHeader) -> Self {
        Witnessed {
            seq: header.before.last_seq,
            end: u64::from(header.block_size),
            chain: header.before,
            behind: VecDeque::new(),
        }
    }

    /// Takes the testimony of the next frame, which lies at `offset..end`; `chain` is the chain behind it.
    pub fn pass(&mut self, frame: &FrameHeader, offset: u64, end: u64, chain: Chain) {
        self.seq = self.seq.max(frame.durable_seq);
        // A frame cannot testify for itself.
        let durable_end = frame.durable_end.min(offset);
        while let Some(front) = self.behind.front().filter(|front| front.end <= durable_end) {
            (self.end, self.chain) = (front.end, front.chain);
            self.behind.pop_front();
        }
        self.behind.push_back(Behind { end, chain, data: frame.has(FLAG_DATA) });
    }

    /// Forgets the frames that nothing testifies for.
    pub fn forget_behind(&mut self) {
        self.behind.clear();
    }

    /// Frames with records that nothing testifies for.
    pub fn frames_behind(&self) -> u64 {
        len_u64(self.behind.iter().filter(|frame| frame.data).count())
    }
}
