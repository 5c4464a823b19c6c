//! How far a log is durable, as a place in its files: what readers of one
//! process read up to, so that no block is read before it is what it stays.

use std::sync::atomic::{AtomicU64, Ordering};

use super::recent::Recent;
use crate::base::limits::BLOCK_SIZE_MIN;

/// All bytes of the segment in front of `end` are durable, and so is every segment before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// Index of the segment; 0: nothing is known.
    pub segment: u64,
    /// Offset in its file: the end of a frame, or of the header's block.
    pub end: u64,
}

impl Reach {
    /// Offset in segment `index` up to which all is durable; None: of that nothing is known.
    pub fn in_segment(self, index: u64) -> Option<u64> {
        match self.segment.cmp(&index) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(self.end),
            std::cmp::Ordering::Greater => Some(u64::MAX),
        }
    }
}

/// A reach that one thread at a time moves on and any thread reads, never half of one and half of another.
///
/// One word: segments since the first in the upper half, blocks of the least size in the lower.  A segment has at most
/// 2^31 of these.  After 2^32 segments it stands still, and says less than could be said, not more.
pub struct Published {
    first: u64,
    /// The release publishes the bytes on disk that it tells of, to the acquire of whoever reads them.
    word: AtomicU64,
    /// What of it is in memory.
    pub recent: Recent,
}

impl Published {
    /// One that begins so.
    pub fn new(reach: Reach) -> Published {
        let published = Published { first: reach.segment, word: AtomicU64::new(0), recent: Recent::default() };
        published.set(reach);
        published
    }

    /// Moves it on.
    pub fn set(&self, reach: Reach) {
        let segments = (reach.segment - self.first).min(u64::from(u32::MAX));
        self.word.store((segments << 32) | (reach.end / u64::from(BLOCK_SIZE_MIN)), Ordering::Release);
    }

    /// As it is now.
    pub fn get(&self) -> Reach {
        let word = self.word.load(Ordering::Acquire);
        Reach { segment: self.first + (word >> 32), end: (word & u64::from(u32::MAX)) * u64::from(BLOCK_SIZE_MIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::SEGMENT_SIZE_MAX;

    #[test]
    fn every_reach_comes_back_as_it_was_set() {
        let published = Published::new(Reach { segment: 7, end: 4096 });
        assert_eq!(published.get(), Reach { segment: 7, end: 4096 });
        for segment in [7, 8, 7 + u64::from(u32::MAX)] {
            for end in [512, 1536, SEGMENT_SIZE_MAX] {
                published.set(Reach { segment, end });
                assert_eq!(published.get(), Reach { segment, end });
            }
        }
        published.set(Reach { segment: u64::MAX, end: 512 });
        assert_eq!(published.get(), Reach { segment: 7 + u64::from(u32::MAX), end: 512 });
    }

    #[test]
    fn of_a_later_segment_nothing_is_known_and_of_an_earlier_one_all_is() {
        let reach = Reach { segment: 5, end: 8192 };
        assert_eq!([4, 5, 6].map(|index| reach.in_segment(index)), [Some(u64::MAX), Some(8192), None]);
    }
}
