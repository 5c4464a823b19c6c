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
        // A look at the clock and a few additions: if the clock panics, nothing was changed yet.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation begins, and ends when what this returns is ended or goes.
    ///
    /// The clock is asked under the lock, here and at the end: so times come in the order in which operations begin and
    /// end, no time is counted twice or before it has passed, and the sum never falls, but by an operation that panicked.
    fn begin<N: Fn() -> u64>(&self, now_ns: N) -> Operation<'_, N> {
        let mut running = self.lock();
        let began_ns = now_ns();
        if running.operations == 0 {
            running.since_ns = began_ns;
        }
        running.operations += 1;
        Operation { busy: self, now_ns, began_ns }
    }

    /// Up to now, which the caller's clock says under the lock: so this goes back only where an operation panicked.
    pub fn total_ns(&self, now_ns: impl FnOnce() -> u64) -> u64 {
        let running = self.lock();
        match running.operations {
            0 => running.busy_ns,
            _ => running.busy_ns + now_ns().saturating_sub(running.since_ns),
        }
    }
}

/// One that runs.
struct Operation<'busy, N: Fn() -> u64> {
    busy: &'busy Busy,
    now_ns: N,
    began_ns: u64,
}

impl<N: Fn() -> u64> Operation<'_, N> {
    fn end(self) -> Span {
        let mut running = self.busy.lock();
        let span = Span { began_ns: self.began_ns, ended_ns: (self.now_ns)() };
        std::mem::forget(self);
        running.operations -= 1;
        if running.operations == 0 {
            running.busy_ns += span.ended_ns.saturating_sub(running.since_ns);
        }
        span
    }
}

impl<N: Fn() -> u64> Drop for Operation<'_, N> {
    /// It panicked: over, and when is not asked, for what panics here aborts the process.
    fn drop(&mut self) {
        self.busy.lock().operations -= 1;
    }
}

impl Commit {
    /// Runs an operation of the device through the latch; `flushes` says that it makes durable what it is about.
    pub(super) fn on_device(&self, flushes: bool, operation: impl FnOnce() -> Result<()>) -> Result<Span> {
        let running = self.busy.begin(|| self.clock.now_ns());
        let done = self.latch.run(operation);
        let span = running.end();
        done?;
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
    use std::cell::Cell;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    #[test]
    fn side_by_side_counts_once() {
        let (busy, clock) = (Busy::default(), Cell::new(7));
        let total = |at| {
            clock.set(at);
            busy.total_ns(|| clock.get())
        };
        let begin = |at| {
            clock.set(at);
            busy.begin(|| clock.get())
        };
        assert_eq!(total(7), 0);
        let first = begin(10);
        assert_eq!(total(12), 2, "also while it lasts");
        let second = begin(15);
        clock.set(20);
        assert_eq!(first.end().took_ns(), 10);
        assert_eq!(total(25), 15);
        clock.set(30);
        assert_eq!(second.end().took_ns(), 15);
        assert_eq!((total(40), total(50)), (20, 20), "and not when there is none");
    }

    /// A clock that is asked before the lock is had may say less than who had the lock before was told.
    #[test]
    fn the_clock_is_asked_under_the_lock() {
        let busy = Busy::default();
        let asked = Cell::new(0);
        let now_ns = || {
            assert!(busy.0.try_lock().is_err(), "another may begin, end or ask between the clock and this");
            asked.set(asked.get() + 1);
            asked.get()
        };
        let running = busy.begin(now_ns);
        assert_eq!(busy.total_ns(now_ns), 1);
        assert_eq!(running.end().took_ns(), 2);
        assert_eq!((asked.get(), busy.total_ns(now_ns)), (3, 2));
    }

    #[test]
    fn one_that_panics_is_over() {
        let (busy, clock) = (Busy::default(), Cell::new(10));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _running = busy.begin(|| clock.get());
            clock.set(13);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        clock.set(99);
        assert_eq!(busy.total_ns(|| clock.get()), 0);
    }

    /// Once more in the drop would be a panic in a panic, which aborts.
    #[test]
    fn a_clock_that_panics_is_asked_once() {
        let busy = Busy::default();
        let asked = Cell::new(0);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let running = busy.begin(|| {
                asked.set(asked.get() + 1);
                assert_eq!(asked.get(), 1, "the clock is broken");
                7
            });
            running.end()
        }));
        assert!(ended.is_err());
        assert_eq!((asked.get(), busy.total_ns(|| 99)), (2, 0));
    }
}
