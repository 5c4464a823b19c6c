//! Histograms of whole numbers, nanoseconds or bytes or records, over all that 64 bits can say.
//!
//! The buckets are fixed: from one power of two to the next there are four of the same width, so a number is known to
//! a quarter, and histograms of different logs and releases can be added up.  A bucket ends with its bound, which it
//! includes: 1, 2, 3, 4, then 5, 6, 7, 8, 10, 12, 14, 16, 20 and so on; powers of two are bounds.
//!
//! Adding is two relaxed additions, and a third write for a new highest number; nothing is allocated.  What is read
//! beside it is one moment's for each bucket, not for all: the count is the sum of the buckets, so that the two agree.

use std::sync::atomic::{AtomicU64, Ordering};

use super::bytes::usize_of;

/// How many buckets there are.
pub const BUCKETS: usize = 252;

/// Buckets from one power of two to the next, as a power of two.
const SPLIT_BITS: u32 = 2;
const SPLIT: usize = 1 << SPLIT_BITS;

/// The bucket of a number; 0 shares the first one with 1.
fn bucket_of(number: u64) -> usize {
    // Bounds belong to the bucket that they end, so it is the number below that says the bucket.
    let below = number.saturating_sub(1);
    if below < SPLIT as u64 {
        return usize_of(below);
    }
    let shift = below.ilog2() - SPLIT_BITS;
    (shift as usize + 1) * SPLIT + usize_of(below >> shift) % SPLIT
}

/// The highest number in a bucket; `u64::MAX` for the last one, and beyond.
pub fn bound(bucket: usize) -> u64 {
    if bucket < SPLIT {
        return bucket as u64 + 1;
    }
    if bucket >= BUCKETS - 1 {
        return u64::MAX;
    }
    ((SPLIT + 1 + bucket % SPLIT) as u64) << (bucket / SPLIT - 1)
}

/// Numbers, counted by bucket.
#[derive(Debug)]
pub struct Histogram {
    sum: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Histogram { sum: zero(), max: zero(), buckets: std::array::from_fn(|_| zero()) }
    }
}

impl Histogram {
    /// Counts `number`.
    pub fn add(&self, number: u64) {
        // Statistics, as every counter: relaxed.
        self.buckets[bucket_of(number)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number, Ordering::Relaxed);
        if number > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn get(&self) -> Distribution {
        let buckets: [u64; BUCKETS] = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        Distribution {
            count: buckets.iter().sum(),
            sum: self.sum.load(Ordering::Relaxed),
            max: self.max.load(Ordering::Relaxed),
            buckets,
        }
    }
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// How many numbers: the sum of the buckets.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The highest of them.
    pub max: u64,
    /// How many in each bucket, which ends with its [`bound`].
    pub buckets: [u64; BUCKETS],
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { count: 0, sum: 0, max: 0, buckets: [0; BUCKETS] }
    }
}

impl Distribution {
    /// How many numbers are at most `number`; exact where that is a bucket's bound.
    pub fn up_to(&self, number: u64) -> u64 {
        self.buckets[..=bucket_of(number)].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every boundary: a bound is the last of its bucket, the number behind it the first of the next.
    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!((bucket_of(0), bucket_of(1)), (0, 0));
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(bound(bucket)), bucket);
            if bucket > 0 {
                assert_eq!(bucket_of(bound(bucket - 1) + 1), bucket, "behind {}", bound(bucket - 1));
            }
        }
        assert_eq!(bound(BUCKETS - 1), u64::MAX);
        assert_eq!((bound(BUCKETS), bound(usize::MAX)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn bounds_are_what_the_header_says() {
        let first: Vec<u64> = (0..20).map(bound).collect();
        assert_eq!(first, [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]);
        for power in 0..64 {
            let number = 1u64 << power;
            assert_eq!(bound(bucket_of(number)), number, "powers of two are bounds");
        }
        for bucket in 4..BUCKETS - 1 {
            let (from, to) = (bound(bucket - 1), bound(bucket));
            assert!(to - from <= from / 4, "no wider than a quarter: {from} to {to}");
        }
    }

    #[test]
    fn counts_sums_and_finds_the_highest() {
        let histogram = Histogram::default();
        assert_eq!(histogram.get(), Distribution::default());
        for number in [0, 1, 4096, 4097, 5120, 5121, u64::MAX] {
            histogram.add(number);
        }
        let got = histogram.get();
        assert_eq!((got.count, got.max), (7, u64::MAX));
        assert_eq!(got.sum, 18434, "1 less because 2^64 - 1 was added");
        assert_eq!((got.up_to(1), got.up_to(4096), got.up_to(5120)), (2, 3, 5));
        assert_eq!((got.up_to(6144), got.up_to(u64::MAX - 1), got.up_to(u64::MAX)), (6, 7, 7));
        assert_eq!(got.buckets.iter().filter(|count| **count > 0).count(), 5);
    }
}
