//! Whoever is told without waiting: eventfds that become readable when the
//! durable mark has risen, and functions that are called when a number is
//! durable, or will not be.
//!
//! Whoever completes a frame tells, after it has given the queue's lock back.
//! Where nobody asked, that is two loads and no system call.
//!
//! Functions are called by a thread of their own, started for the first of
//! them, because what they do may take long, and may append and wait.  Exactly
//! once each: a registration leaves the list when it is answered, under the
//! list's lock, and close returns when the list is empty for good.
//!
//! Why no rise is missed by who registers: he puts himself in the list, then
//! takes the queue's lock, then looks.  Who raises the mark (or poisons) takes
//! the queue's lock for it, and looks at the list after.  Whichever of the two
//! has the lock second sees what the other did.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Commit, Threads};
use crate::base::{thread, Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::mem::Gate;

/// Most eventfds of a log.
pub const EVENTFDS_MAX: usize = 16;

/// Registrations there is room for from the first one on.
const REGISTRATIONS_AT_FIRST: usize = 1024;

/// What a registration is answered by: called once, with the number that was
/// waited for and Ok, or what poisoned the log.
pub enum Done {
    /// A closure.
    Closure(Box<dyn FnOnce(u64, Result<()>) + Send>),
    /// A function, and two words that it understands: needs no memory of its own.
    Function(fn([usize; 2], u64, Result<()>), [usize; 2]),
}

impl Done {
    /// Calls `closure`.
    pub fn new(closure: impl FnOnce(u64, Result<()>) + Send + 'static) -> Done {
        Done::Closure(Box::new(closure))
    }

    fn call(self, seq: u64, result: Result<()>) {
        match self {
            Done::Closure(closure) => closure(seq, result),
            Done::Function(function, words) => function(words, seq, result),
        }
    }
}

struct Registration {
    seq: u64,
    done: Done,
}

/// See the module.
pub(super) struct Notify {
    /// Filled from the front under the queue's lock, never emptied; each is a
    /// descriptor of the log's own, so that it can be written to whatever the
    /// caller does with his.
    eventfds: [OnceLock<EventFd>; EVENTFDS_MAX],
    /// The failure that poisoned the log was told.
    poison_told: AtomicBool,
    /// Lowest number that is registered, `u64::MAX` if none is.  Written under
    /// the list's lock; the queue's orders it for who raises the mark.
    lowest: AtomicU64,
    list: Mutex<List>,
    /// Opened when a registration may have to be answered.
    due: Gate,
}

#[derive(Default)]
struct List {
    /// By number, those of one number in the order they came in.
    registrations: VecDeque<Registration>,
    /// The thread that calls, while there is one.
    calling: Option<ThreadId>,
    thread: Option<JoinHandle<()>>,
    /// The log is closed: everything left is answered now, nothing more comes.
    ended: bool,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify {
            eventfds: Default::default(),
            poison_told: AtomicBool::new(false),
            lowest: AtomicU64::new(u64::MAX),
            list: Mutex::default(),
            due: Gate::default(),
        }
    }
}

impl Notify {
    /// The durable mark has risen.
    pub fn risen(&self, durable_seq: u64) {
        self.signal();
        // Relaxed: see the module for what orders it.
        if durable_seq >= self.lowest.load(Ordering::Relaxed) {
            self.due.open();
        }
    }

    /// Makes every eventfd readable.
    pub fn signal(&self) {
        if self.eventfds[0].get().is_none() {
            return;
        }
        // write(2) is a place where a thread of the host's can be cancelled.
        let _uncancelled = Uncancelled::begin();
        for eventfd in self.eventfds.iter().map_while(OnceLock::get) {
            // It fails only where the count is at its end: then it is readable already.
            let _ = eventfd.write(1);
        }
    }

    fn add_eventfd(&self, eventfd: EventFd) -> Result<()> {
        let Some(place) = self.eventfds.iter().find(|place| place.get().is_none()) else {
            let text = format!("the log has {EVENTFDS_MAX} eventfds already");
            return Err(Error::new(Code::Busy, text));
        };
        place.set(eventfd).expect("places are filled under the queue's lock");
        Ok(())
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing of others' runs under this lock, so nothing panics under it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_lowest(&self, list: &List) {
        let lowest = list.registrations.front().map_or(u64::MAX, |first| first.seq);
        self.lowest.store(lowest, Ordering::Relaxed);
    }
}

impl Commit {
    /// An eventfd of the caller's, readable when the durable mark has risen.
    pub fn eventfd(&self) -> Result<OwnedFd> {
        let failed = |error: std::io::Error| Error::os("cannot make an eventfd", &error);
        let ours = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| failed(errno.into()))?;
        let theirs = ours.as_fd().try_clone_to_owned().map_err(failed)?;
        // Under the lock, as the module says of who registers.
        let queue = self.lock();
        self.check_open(&queue)?;
        self.notify.add_eventfd(ours)?;
        Ok(theirs)
    }

    /// As [`Commit::sync`], without waiting: `done` is told.
    pub fn sync_async(self: &Arc<Self>, seq: u64, done: Option<Done>) -> Result<()> {
        let seq = self.seq_to_sync(seq)?;
        if self.lock().closing {
            return Err(Error::new(Code::Closed, "the log is closed or closing"));
        }
        let registered = done.is_some();
        if let Some(done) = done {
            self.register(Registration { seq, done })?;
        }
        // After the registration: see the module.
        let mut queue = self.lock();
        queue.demand_seq = queue.demand_seq.max(seq);
        self.kick(queue);
        if registered && (self.durable_seq() >= seq || self.latch.first().is_some()) {
            self.notify.due.open();
        }
        Ok(())
    }

    fn register(self: &Arc<Self>, registration: Registration) -> Result<()> {
        let mut list = self.notify.list();
        if list.ended {
            return Err(Error::new(Code::Closed, "the log is closed"));
        }
        let more = if list.registrations.capacity() == 0 { REGISTRATIONS_AT_FIRST } else { 1 };
        if list.registrations.try_reserve(more).is_err() {
            return Err(Error::new(Code::NoMem, "no memory for one more registration"));
        }
        if self.threads == Threads::Own && list.thread.is_none() {
            list.thread = Some(self.start_caller()?);
        }
        let place = list.registrations.partition_point(|before| before.seq <= registration.seq);
        list.registrations.insert(place, registration);
        self.notify.note_lowest(&list);
        Ok(())
    }

    fn start_caller(self: &Arc<Self>) -> Result<JoinHandle<()>> {
        let commit = Arc::clone(self);
        thread::spawn("twal-notify", move || commit.run_caller())
            .map_err(|error| Error { code: Code::NoMem, ..Error::os("cannot start a thread", &error) })
    }

    /// The thread that calls.
    fn run_caller(self: &Arc<Self>) {
        let _again = Again(self);
        let Some(_calling) = Calling::begin(self) else { return };
        loop {
            let ticket = self.notify.due.ticket();
            while self.answer_one() {}
            if self.notify.list().ended {
                return;
            }
            self.notify.due.wait(ticket, None);
        }
    }

    /// Answers one registration that can be answered; false: there is none.
    fn answer_one(&self) -> bool {
        let (Registration { seq, done }, result) = {
            let mut list = self.notify.list();
            let Some(seq) = list.registrations.front().map(|first| first.seq) else { return false };
            let result = if self.durable_seq() >= seq {
                Ok(())
            } else if let Some(first) = self.latch.first() {
                Err(first.about_seq(seq))
            } else if list.ended {
                Err(Error::new(Code::Closed, "the log was closed").about_seq(seq))
            } else {
                return false;
            };
            let Some(first) = list.registrations.pop_front() else { return false };
            self.notify.note_lowest(&list);
            (first, result)
        };
        done.call(seq, result);
        true
    }

    /// Answers what can be answered, on this thread; without a thread of its own.
    pub(super) fn answer_all(&self) {
        if let Some(_calling) = Calling::begin(self) {
            while self.answer_one() {}
        }
    }

    /// This thread is inside a function that a registration was answered by.
    pub fn is_calling(&self) -> bool {
        self.notify.list().calling == Some(std::thread::current().id())
    }

    /// The log is poisoned: tells so, once.  Not under the queue's lock.
    pub(super) fn tell_poison(&self) {
        drop(self.lock());
        self.notify.due.open();
        if !self.notify.poison_told.swap(true, Ordering::AcqRel) {
            self.notify.signal();
        }
    }

    /// Answers every registration; the durable mark rises no more.
    pub(super) fn end_notify(&self) {
        self.notify.list().ended = true;
        self.notify.due.open();
        loop {
            let Some(thread) = self.notify.list().thread.take() else { break };
            if thread.thread().id() == std::thread::current().id() {
                // The log's last handle was dropped by what is called: the others are answered when that returns.
                return;
            }
            // One that panicked has poisoned the log.
            let _ = thread.join();
        }
        self.answer_all();
    }
}

/// This thread calls, and no other.
struct Calling<'commit>(&'commit Commit);

impl<'commit> Calling<'commit> {
    /// None: a thread calls already, perhaps this one.
    fn begin(commit: &'commit Commit) -> Option<Self> {
        let mut list = commit.notify.list();
        if list.calling.is_some() {
            return None;
        }
        list.calling = Some(std::thread::current().id());
        drop(list);
        Some(Calling(commit))
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.notify.list().calling = None;
        if std::thread::panicking() {
            self.0.poison_by(Error::new(Code::Panic, "what was called for a durable record panicked"));
        }
    }
}

/// Starts the thread that calls anew when a panic ends it: the others have to be told of it.
struct Again<'commit>(&'commit Arc<Commit>);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        let mut list = self.0.notify.list();
        if std::thread::panicking() && list.thread.is_some() {
            // If no thread can be had, they are told at close.
            list.thread = self.0.start_caller().ok();
        }
    }
}
