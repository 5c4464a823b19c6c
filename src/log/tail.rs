//! Waiting for records that are not there yet.
//!
//! In the writer's process the durable mark wakes who waits.  In another one
//! nothing does: direct writes over what a file holds already tell nobody.
//! There the next block is read again and again, more than a thousand times a second
//! while records come, and ever less often while none do; never later than a
//! quarter of the time after which an idle writer says that its last frame is
//! durable, unless the look itself takes long.
//!
//! An eventfd of a log that is open for reading only has a thread behind it that
//! looks in this way.  It ends with the log.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::reader::Reader;
use super::{Inner, Side};
use crate::base::clock::Clock;
use crate::base::{thread, Code, Error, Result};
use crate::commit::EVENTFDS_MAX;
use crate::disk::cancel::Uncancelled;
use crate::mem::Gate;
use crate::read::Reach;

/// Between two looks at least: what comes meanwhile is found by one.
pub(super) const PAUSE_MIN_NS: u64 = 700_000;

/// The same in the writer's process.  A reader that were woken with every frame would cost the writer a system call,
/// and the device a read, for each.
const REST_NS: u64 = 250_000;

/// Behind a look in vain, for each byte that it read to get to the end.  A long end that nothing witnesses is read again by each look,
/// and flushed: so that takes no more than some of a device's time.
pub(super) const PAUSE_NS_A_BYTE: u64 = 4;

/// How long to wait before the next look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    next_ns: u64,
    max_ns: u64,
}

impl Pause {
    fn new(idle_mark_ns: u64) -> Pause {
        Pause { next_ns: PAUSE_MIN_NS, max_ns: (idle_mark_ns / 4).max(PAUSE_MIN_NS) }
    }

    /// There was something.
    fn reset(&mut self) {
        self.next_ns = PAUSE_MIN_NS;
    }

    /// There was nothing: how long to wait now.
    fn next(&mut self) -> u64 {
        let now = self.next_ns;
        self.next_ns = now.saturating_mul(2).min(self.max_ns);
        now
    }
}

impl Inner {
    pub(super) fn pause(&self) -> Pause {
        Pause::new(self.config.idle_mark_ns)
    }

    /// Until when is waited, and the first pause.
    pub(super) fn begin_wait(&self, timeout_ns: Option<u64>) -> (Option<u64>, Pause) {
        (timeout_ns.map(|timeout_ns| self.clock.now_ns().saturating_add(timeout_ns)), self.pause())
    }

    /// Lets time pass until a reader that has read all it knew of reads again: `read_ns` after it did, or until `until_ns`.
    pub(super) fn rest_until_due(&self, read_ns: u64, until_ns: Option<u64>) {
        let due_ns = match &self.side {
            Side::Writer(_) => read_ns.saturating_add(REST_NS),
            Side::Reader(reader) => reader.due_ns.load(Ordering::Acquire),
        };
        let wake_ns = due_ns.min(until_ns.unwrap_or(u64::MAX));
        if self.clock.now_ns() >= wake_ns {
            return;
        }
        match &self.side {
            Side::Writer(commit) => commit.rest(wake_ns),
            Side::Reader(reader) => reader.watch.rest(&self.clock, wake_ns),
        }
    }

    /// Waits until more than `seen` may be there to be read, or bytes beyond `reach`; Timeout at `until_ns`.
    pub(super) fn wait_for_more(
        &self,
        seen: u64,
        reach: Option<Reach>,
        until_ns: Option<u64>,
        pause: &mut Pause,
    ) -> Result<()> {
        let reader = match &self.side {
            Side::Writer(commit) => {
                let left_ns = until_ns.map(|until_ns| until_ns.saturating_sub(self.clock.now_ns()));
                return commit.wait_beyond(seen + 1, reach, left_ns);
            }
            Side::Reader(reader) => reader,
        };
        let further = reach.is_some_and(|reach| reader.reach.get() > reach);
        if further || reader.bound.load(Ordering::Acquire) > seen {
            pause.reset();
            return Ok(());
        }
        let now_ns = self.clock.now_ns();
        if until_ns.is_some_and(|until_ns| now_ns >= until_ns) {
            return Err(Error::new(Code::Timeout, "the time given for waiting is over"));
        }
        let wake_ns = now_ns.saturating_add(pause.next()).max(reader.due_ns.load(Ordering::Acquire));
        reader.watch.rest(&self.clock, wake_ns.min(until_ns.unwrap_or(u64::MAX)));
        Ok(())
    }

    /// As `Commit::eventfd`, on whichever side.
    pub(super) fn eventfd(&self) -> Result<OwnedFd> {
        match &self.side {
            Side::Writer(commit) => commit.eventfd(),
            Side::Reader(reader) => reader.eventfd(&self.clock, self.pause()),
        }
    }
}

/// Whoever waits for a log that is open for reading only.
#[derive(Default)]
pub(super) struct Watch {
    /// Opened when the log is closed.
    gate: Gate,
    /// Set once, by close.
    ended: AtomicBool,
    told: Mutex<Told>,
}

/// Who is told, and by whom.
#[derive(Default)]
struct Told {
    eventfds: Vec<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn told(&self) -> MutexGuard<'_, Told> {
        // Nothing of others' runs under this lock, so nothing panics under it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass until `wake_ns`, or until the log is closed.
    fn rest(&self, clock: &Clock, wake_ns: u64) {
        let ticket = self.gate.ticket();
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        match clock.instant(wake_ns) {
            Some(deadline) => {
                self.gate.wait(ticket, Some(deadline));
            }
            None => clock.pass(std::time::Duration::from_nanos(wake_ns.saturating_sub(clock.now_ns()))),
        }
    }

    fn signal(&self) {
        let _uncancelled = Uncancelled::begin();
        for eventfd in &self.told().eventfds {
            // It fails only where the count is at its end: then it is readable already.
            let _ = eventfd.write(1);
        }
    }
}

impl Reader {
    fn eventfd(self: &Arc<Self>, clock: &Clock, pause: Pause) -> Result<OwnedFd> {
        let failed = |error: std::io::Error| Error::os("cannot make an eventfd", &error);
        let ours = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| failed(errno.into()))?;
        let theirs = ours.as_fd().try_clone_to_owned().map_err(failed)?;
        let mut told = self.watch.told();
        if self.watch.ended.load(Ordering::Acquire) {
            return Err(super::closed());
        }
        if told.eventfds.len() >= EVENTFDS_MAX {
            let text = format!("the log has {EVENTFDS_MAX} eventfds already");
            return Err(Error::new(Code::Busy, text));
        }
        if told.thread.is_none() {
            let (reader, clock, seen) = (Arc::clone(self), clock.clone(), self.bound.load(Ordering::Acquire));
            let thread = thread::spawn("twal-watch", move || reader.run_watch(&clock, pause, seen))
                .map_err(|error| Error { code: Code::NoMem, ..Error::os("cannot start a thread", &error) })?;
            told.thread = Some(thread);
        }
        told.eventfds.push(ours);
        drop(told);
        if self.is_damaged() {
            // The thread told those that were there, and has ended perhaps.  It looks before it tells: what it finds
            // from now on it tells this one, too.
            self.watch.signal();
        }
        Ok(theirs)
    }

    /// The thread.
    fn run_watch(&self, clock: &Clock, mut pause: Pause, mut seen: u64) {
        while !self.watch.ended.load(Ordering::Acquire) {
            let (bound, _) = self.look_on(clock);
            if bound > seen {
                seen = bound;
                pause.reset();
                self.watch.signal();
            }
            if self.is_damaged() {
                // Whoever reads is told; nothing comes any more.
                self.watch.signal();
                return;
            }
            let wake_ns = clock.now_ns().saturating_add(pause.next());
            self.watch.rest(clock, wake_ns.max(self.due_ns.load(Ordering::Acquire)));
        }
    }

    /// The log is closed: whoever waits goes on, and the thread ends.
    pub(super) fn end_watch(&self) {
        let thread = {
            // Under the lock: whoever makes an eventfd has made it before, or sees this.
            let mut told = self.watch.told();
            self.watch.ended.store(true, Ordering::Release);
            told.thread.take()
        };
        self.watch.gate.open();
        if let Some(thread) = thread {
            // One that panicked has nothing to tell.
            let _ = thread.join();
        }
        self.watch.signal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_the_idle_mark_and_begin_anew() {
        let mut pause = Pause::new(10_000_000);
        let pauses: Vec<u64> = (0..6).map(|_| pause.next()).collect();
        assert_eq!(pauses, [700_000, 1_400_000, 2_500_000, 2_500_000, 2_500_000, 2_500_000]);
        pause.reset();
        assert_eq!(pause.next(), PAUSE_MIN_NS);
        let mut short = Pause::new(1_000);
        assert_eq!([short.next(), short.next()], [PAUSE_MIN_NS; 2]);
    }
}
