//! Whether the writer lets those it has just woken append before it closes the
//! next frame.
//!
//! With a frame in flight for some threads while the others wait for the next
//! one, every thread waits for two writes: half of them are always in the wrong
//! frame.  Threads that are woken together mostly append again at once.  If the
//! writer gives them that moment, they and the others share one frame, and each
//! waits for one write.  The moment is a fraction of what the device takes, and
//! is not given where they do not come back, or where giving the CPU away once
//! took long: somebody else's program runs there.

/// Waiters of a frame from which on it is tried: fewer write for themselves.
const WAITERS_MIN: u32 = 3;
/// Waiters of it and of the next one from which on it is not: so many share the device's time well enough, and need
/// the CPU that the moment costs.
const WAITERS_ENOUGH: u32 = 12;
/// Frames in a row whose waiters did not come back, until it is given up for a while.
const MISSES_MAX: u32 = 4;
/// For so many frames.
const SKIP_AFTER_MISSES: u32 = 100;
/// The longest moment, and its share of the device's time.
const MOMENT_MAX_NS: u64 = 60_000;
const MOMENT_SHARE: u64 = 3;
/// Having given the CPU away for so long means that somebody else wants it.
const STALL_NS: u64 = 500_000;
/// Then it is not tried for so many times that.
const STALL_REST: u64 = 1000;

/// What was learnt from the frames so far.
#[derive(Debug, Default)]
pub struct Gather {
    skip: u32,
    misses: u32,
    rest_until_ns: u64,
}

impl Gather {
    /// How long to wait for the `waiters` of a frame whose write took `write_ns`, while `queued` wait for the next
    /// one; 0: not at all.
    pub fn moment_ns(&mut self, waiters: u32, queued: u32, write_ns: u64, now_ns: u64) -> u64 {
        if waiters < WAITERS_MIN || waiters + queued >= WAITERS_ENOUGH || now_ns < self.rest_until_ns {
            return 0;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return 0;
        }
        (write_ns / MOMENT_SHARE).min(MOMENT_MAX_NS)
    }

    /// It was tried: so many of `waiters` came back; the CPU was away for `away_ns` at most.
    pub fn learn(&mut self, came: u64, waiters: u32, away_ns: u64, now_ns: u64) {
        if away_ns >= STALL_NS {
            self.rest_until_ns = now_ns.saturating_add(away_ns.saturating_mul(STALL_REST));
        }
        if came * 2 >= u64::from(waiters) {
            self.misses = 0;
            return;
        }
        self.misses += 1;
        if self.misses >= MISSES_MAX {
            (self.misses, self.skip) = (0, SKIP_AFTER_MISSES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_tried_for_several_waiters_and_never_for_long() {
        let mut gather = Gather::default();
        assert_eq!(gather.moment_ns(2, 0, 90_000, 0), 0);
        assert_eq!(gather.moment_ns(3, 0, 90_000, 0), 30_000);
        assert_eq!(gather.moment_ns(3, 0, 9_000_000, 0), MOMENT_MAX_NS);
        assert!(gather.moment_ns(4, 4, 90_000, 0) > 0);
        assert_eq!(gather.moment_ns(8, 8, 90_000, 0), 0);
    }

    #[test]
    fn rests_when_nobody_comes_back() {
        let mut gather = Gather::default();
        for _ in 0..MISSES_MAX {
            assert!(gather.moment_ns(8, 0, 90_000, 0) > 0);
            gather.learn(1, 8, 1000, 0);
        }
        for _ in 0..SKIP_AFTER_MISSES {
            assert_eq!(gather.moment_ns(8, 0, 90_000, 0), 0);
        }
        assert!(gather.moment_ns(8, 0, 90_000, 0) > 0);
        gather.learn(8, 8, 1000, 0);
        assert!(gather.moment_ns(8, 0, 90_000, 0) > 0);
    }

    #[test]
    fn rests_when_others_want_the_cpu() {
        let mut gather = Gather::default();
        gather.learn(8, 8, 3_000_000, 1_000_000_000);
        assert_eq!(gather.moment_ns(8, 0, 90_000, 3_999_999_999), 0);
        assert!(gather.moment_ns(8, 0, 90_000, 4_000_000_000) > 0);
    }
}
