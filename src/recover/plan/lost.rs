//! What can still be told of what a plan lets go: its frames' headers say it.

use crate::base::bytes::len_u64;
use crate::base::Result;
use crate::format::{Chain, FRAME_HEADER_LEN};
use crate::read::segment::OpenSegment;
use crate::read::stream::Stream;
use crate::read::{followers, short};

/// What can still be told of what goes.
#[derive(Default)]
pub struct Lost {
    /// The last number that a header there shows.
    pub last_seq: u64,
    /// Highest epoch.
    pub epoch: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// A header there says that the first of it was durable.
    pub says_durable: bool,
}

impl Lost {
    /// Looks at every header of `opened` from `offset` on.
    /// Returns how many bytes the frames there take.
    pub fn look(&mut self, opened: &OpenSegment, chain: &Chain, offset: u64) -> Result<u64> {
        let mut bytes = 0;
        let header = opened.header;
        let block = u64::from(header.block_size);
        self.epoch = self.epoch.max(header.before.epoch);
        let mut stream = Stream::new(opened.file.clone(), &header)?;
        let there = short::bytes_there(opened)?;
        let mut at = offset;
        while at + len_u64(FRAME_HEADER_LEN) <= there {
            // What cannot be read says nothing.
            if let Ok(Some(frame)) = stream.header_at(at) {
                self.epoch = self.epoch.max(frame.epoch);
                if followers::follows(chain, &frame) {
                    self.last_seq = self.last_seq.max(frame.last_seq());
                    self.says_durable |= frame.durable_seq > chain.last_seq || frame.durable_end > offset;
                    bytes = at + frame.frame_len(block) - offset;
                }
            }
            at = stream.next_block(at);
        }
        Ok(bytes)
    }
}
