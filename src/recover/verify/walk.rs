//! A place in a segment that is being read, and what lies behind it.

use std::sync::Arc;

use super::super::beginning::{self, Beginning};
use crate::base::bytes::len_u64;
use crate::base::Error;
use crate::disk::File;
use crate::format::{Chain, FrameHeader, SegmentHeader, SinkSlot, FRAME_HEADER_LEN};
use crate::read::stream::{Glimpse, Stream};
use crate::read::{followers, Witnessed};
use crate::segment::SegmentName;

/// The segment that is being walked.
pub(super) struct Walk {
    pub(super) name: SegmentName,
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn File>,
    /// Where the file ends that lacks bytes of the segment; it has not been told yet.
    pub(super) missing: Option<Error>,
    /// Bytes of the segment that are there.
    pub(super) there: u64,
    pub(super) stream: Stream,
    /// It may still be written.
    pub(super) newest: bool,
    /// The follower's position is in this segment.
    pub(super) until: Option<SinkSlot>,
    /// What the next segment says of this one's end.
    pub(super) next: Option<SegmentHeader>,
    /// Where this one's seal is by that.
    pub(super) seal_at: Option<u64>,
    pub(super) offset: u64,
    pub(super) chain: Chain,
    pub(super) witnessed: Witnessed,
    /// Everything before was counted and told.
    pub(super) counted: u64,
    /// Where a bad spot was seen; bad again there after another look is damage.
    pub(super) doubted: Option<(u64, Chain)>,
    /// A place behind which a header says what was durable: looked for once.
    pub(super) witness: Option<(u64, FrameHeader)>,
    /// Frames and records from the first one on, as long as none was missed.
    pub(super) whole: Option<(u64, u64)>,
}

/// What lies behind a bad spot.
#[derive(Default)]
pub(super) struct Behind {
    /// Where to go on.
    pub(super) next: Option<(u64, FrameHeader)>,
    pub(super) says_durable: bool,
    /// The first block that cannot be read: it may have been either.
    pub(super) unreadable: Option<(u64, Error)>,
}

impl Walk {
    pub(super) fn pass(&mut self, frame: &FrameHeader, identity: u64) {
        let offset = self.offset;
        self.offset += frame.frame_len(u64::from(self.header.block_size));
        self.chain = Chain::after(frame, identity);
        if self.newest {
            self.witnessed.pass(frame, offset, self.offset, self.chain);
        }
    }

    /// No frame begins here any more: the file has ended.
    pub(super) fn is_behind_file(&self) -> bool {
        self.there < self.header.segment_size && self.offset + len_u64(FRAME_HEADER_LEN) > self.there
    }

    /// Goes on at a frame behind damage.
    pub(super) fn resume(&mut self, offset: u64, chain: Chain) {
        self.offset = offset;
        self.chain = chain;
        (self.witnessed.end, self.witnessed.chain) = (offset, chain);
        self.witnessed.forget_behind();
    }

    /// Back to what is witnessed, and the device is asked again.
    pub(super) fn go_back(&mut self) {
        self.stream.forget();
        self.witness = None;
        if self.newest {
            self.offset = self.witnessed.end;
            self.chain = self.witnessed.chain;
            self.witnessed.forget_behind();
        }
    }

    /// The log's first frame belongs here, and something else was written to the file.
    pub(super) fn is_spoilt(&self, glimpse: &Glimpse) -> bool {
        let is_first = self.header.index == 1 && self.offset == u64::from(self.header.block_size);
        // What cannot be read is told as such.
        is_first
            && matches!(glimpse, Glimpse::NoHeader(..))
            && beginning::look(self.file.as_ref(), &self.header).is_ok_and(|looked| looked != Beginning::Unwritten)
    }

    /// Looks through the blocks behind the present place, as far as need be.
    pub(super) fn look_behind(&mut self, glimpse: &Glimpse) -> Behind {
        let block = u64::from(self.header.block_size);
        let spot = self.offset;
        // Behind its seal a segment holds what it held in an earlier life.
        let end = self.seal_at.map_or(self.header.segment_size, |seal| seal.saturating_add(block));
        let end = end.min(self.until.map_or(u64::MAX, |slot| slot.offset)).min(self.header.segment_size);
        let mut behind = Behind { says_durable: !self.newest, ..Behind::default() };
        let says = |frame: &FrameHeader, last: &Chain| frame.durable_seq > last.last_seq || frame.durable_end > spot;
        if let Some((offset, frame)) = &self.witness {
            let counts = *offset > spot && followers::follows(&self.chain, frame) && says(frame, &self.chain);
            behind.says_durable |= counts;
        }
        let mut at = spot + block;
        if let Glimpse::Whole(frame, ..) = glimpse {
            // Not the next one, but perhaps a later one: then this very frame is where to go on.
            if followers::follows(&self.chain, frame) && !self.chain.continues_in(frame) {
                behind.next = Some((spot, *frame));
                behind.says_durable |= says(frame, &self.chain);
            }
        }
        while at + block <= end
            && at + len_u64(FRAME_HEADER_LEN) <= self.there
            && !(behind.says_durable && behind.next.is_some())
        {
            match self.stream.header_at(at) {
                Ok(Some(frame)) if followers::follows(&self.chain, &frame) => {
                    behind.next = behind.next.or(Some((at, frame)));
                    if says(&frame, &self.chain) {
                        behind.says_durable = true;
                        self.witness = Some((at, frame));
                    }
                }
                Ok(_) => {}
                Err(error) => behind.unreadable = behind.unreadable.or(Some((at, error))),
            }
            at = self.stream.next_block(at);
        }
        if at + block <= end && at + len_u64(FRAME_HEADER_LEN) > self.there && behind.unreadable.is_none() {
            behind.unreadable = self.missing.clone().map(|error| (self.there, error));
        }
        behind
    }
}
