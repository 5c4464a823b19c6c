//! What the log asks of the device on the way of a record, timed: how long each operation takes, and for how long the
//! device had anything to do for this log.
//!
//! Two appenders and the writer may be at it at once, so the busy time is that during which at least one of them is:
//! of the time that has passed, its share says how near the device is to its limit.  An operation that does not come
//! back counts while it lasts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Commit;
use crate::base::Result;

/// From when to when an operation ran, by the log's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub began_ns: u64,
    pub ended_ns: u64,
}

impl Span {
    pub fn took_ns(self) -> u64 {
        self.ended_ns - self.began_ns
    }
}

/// For how long at least one operation ran.
#[derive(Default)]
pub(super) struct Busy(Mutex<Running>);

#[derive(Default)]
struct Running {
    operations: u32,
    /// Since when there is at least one.
    since_ns: u64,
    /// Before that.
    busy_ns: u64,
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, Running> {
        // A few additions: nothing panics under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, now_ns: u64) {
        let mut running = self.lock();
        if running.operations == 0 {
            running.since_ns = now_ns;
        }
        running.operations += 1;
    }

    fn end(&self, now_ns: u64) {
        let mut running = self.lock();
        running.operations -= 1;
        if running.operations == 0 {
            // Whoever began last may have looked at the clock after who ends last.
            running.busy_ns += now_ns.saturating_sub(running.since_ns);
        }
    }

    /// Up to now, which the caller's clock says under the lock: so this never goes back.
    pub fn total_ns(&self, now_ns: impl FnOnce() -> u64) -> u64 {
        let running = self.lock();
        match running.operations {
            0 => running.busy_ns,
            _ => running.busy_ns + now_ns().saturating_sub(running.since_ns),
        }
    }
}

impl Commit {
    /// Runs an operation of the device through the latch; `flushes` says that it makes durable what it is about.
    pub(super) fn on_device(&self, flushes: bool, operation: impl FnOnce() -> Result<()>) -> Result<Span> {
        let began_ns = self.clock.now_ns();
        self.busy.begin(began_ns);
        let done = self.latch.run(operation);
        let ended_ns = self.clock.now_ns();
        self.busy.end(ended_ns);
        done?;
        let span = Span { began_ns, ended_ns };
        if flushes {
            self.counters.flushes.one();
            self.counters.histograms.flush_ns.add(span.took_ns());
        }
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_by_side_counts_once() {
        let busy = Busy::default();
        let now = |at| move || at;
        assert_eq!(busy.total_ns(now(7)), 0);
        busy.begin(10);
        assert_eq!(busy.total_ns(now(12)), 2, "also while it lasts");
        busy.begin(15);
        busy.end(20);
        assert_eq!(busy.total_ns(now(25)), 15);
        busy.end(30);
        assert_eq!((busy.total_ns(now(40)), busy.total_ns(now(50))), (20, 20), "and not when there is none");
        busy.begin(100);
        busy.end(99);
        busy.begin(100);
        busy.end(101);
        assert_eq!(busy.total_ns(now(200)), 21);
    }
}
