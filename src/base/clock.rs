//! Time as a value that is passed in: the machine's monotonic clock, or one
//! that a simulation moves by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that never goes back, in nanoseconds since it was made.
#[derive(Debug, Clone)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`.
    Real(Instant),
    /// Nanoseconds that a simulation advances.
    Simulated(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn real() -> Self {
        Clock::Real(Instant::now())
    }

    /// A clock that stands still until `advance`.
    pub fn simulated() -> Self {
        Clock::Simulated(Arc::new(AtomicU64::new(0)))
    }

    /// Nanoseconds since the clock was made.
    pub fn now_ns(&self) -> u64 {
        match self {
            Clock::Real(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            // Relaxed: a simulation has no other memory to order by its time.
            Clock::Simulated(now) => now.load(Ordering::Relaxed),
        }
    }

    /// The machine's instant at `at_ns` of this clock; None far beyond what the machine can name.
    pub fn instant(&self, at_ns: u64) -> Option<Instant> {
        match self {
            Clock::Real(start) => start.checked_add(Duration::from_nanos(at_ns)),
            Clock::Simulated(_) => None,
        }
    }

    /// Lets `by` pass: sleeps, or moves the simulated time.
    pub fn pass(&self, by: Duration) {
        match self {
            Clock::Real(_) => std::thread::sleep(by),
            Clock::Simulated(now) => {
                let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
                now.fetch_add(by_ns, Ordering::Relaxed);
            }
        }
    }

    /// Wall-clock nanoseconds since 1970, for `created-at` fields only: nothing
    /// in the log is ordered by it.
    pub fn wall_ns(&self) -> i64 {
        match self {
            Clock::Real(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            Clock::Simulated(_) => 0,
        }
    }
}
