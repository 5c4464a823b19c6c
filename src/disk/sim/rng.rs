//! The simulated disk's chance: splitmix64, so that a seed means the same on
//! every machine and with every version of any library.
#![forbid(unsafe_code)]

/// A stream of numbers that its seed determines.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        // A first step apart, so that seeds 0, 1, 2 … do not begin alike.
        let mut rng = Rng(seed);
        rng.0 = rng.next();
        rng
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.  The modulo's bias does not matter here.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// True `eighths` times out of 8.
    pub(super) fn chance(&mut self, eighths: u64) -> bool {
        self.below(8) < eighths
    }

    /// How likely each part of something survives, in eighths.  Extremes are
    /// drawn as well: coins alone would never lose all or none of 1,000 sectors.
    pub(super) fn bias(&mut self) -> u64 {
        [0, 1, 4, 4, 4, 7, 8][crate::base::bytes::usize_of(self.below(7))]
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(crate::base::bytes::len_u64(at) + 1);
            items.swap(at, crate::base::bytes::usize_of(other));
        }
    }
}
