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
//! list's lock, and close returns when the list is empty for good.  No rise is
//! missed, for the reason that `mem/waiting.rs` gives; the lock it speaks of is
//! the queue's, and a failure is told in the same way as a rise.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Commit, Threads};
use crate::base::messages::{Level, Message};
use crate::base::{thread, Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::mem::waiting::{Refused, Waiting};

/// Most eventfds of a log.
pub const EVENTFDS_MAX: usize = 16;

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

/// See the module.
#[derive(Default)]
pub(super) struct Notify {
    /// Filled from the front under the queue's lock, never emptied; each is a
    /// descriptor of the log's own, so that it can be written to whatever the
    /// caller does with his.
    eventfds: [OnceLock<EventFd>; EVENTFDS_MAX],
    /// The failure that poisoned the log was told.
    poison_told: AtomicBool,
    registrations: Waiting<Done>,
    caller: Mutex<Caller>,
}

/// Who calls.
#[derive(Default)]
struct Caller {
    /// The thread that calls, while there is one.
    calling: Option<ThreadId>,
    thread: Option<JoinHandle<()>>,
    /// No thread is started any more.
    ended: bool,
}

impl Notify {
    /// The durable mark has risen.
    pub fn risen(&self, durable_seq: u64) {
        self.signal();
        self.registrations.raised(durable_seq);
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

    fn caller(&self) -> MutexGuard<'_, Caller> {
        // Nothing of others' runs under this lock, so nothing panics under it.
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commit {
    /// An eventfd of the caller's, readable when the durable mark has risen.
    pub fn eventfd(&self) -> Result<OwnedFd> {
        let failed = |error: std::io::Error| Error::os("cannot make an eventfd", &error);
        let ours = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| failed(errno.into()))?;
        let theirs = ours.as_fd().try_clone_to_owned().map_err(failed)?;
        // Whoever raises the mark has this lock before it looks for eventfds: it sees this one, or has raised before.
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
            self.register(seq, done)?;
        }
        // After the registration: see `mem/waiting.rs`.
        let mut queue = self.lock();
        queue.demand_seq = queue.demand_seq.max(seq);
        self.kick(queue);
        if registered && (self.durable_seq() >= seq || self.latch.first().is_some()) {
            self.notify.registrations.wake();
        }
        Ok(())
    }

    fn register(self: &Arc<Self>, seq: u64, done: Done) -> Result<()> {
        self.need_caller()?;
        self.notify.registrations.add(seq, done).map_err(|refused| match refused {
            Refused::Ended => Error::new(Code::Closed, "the log is closed"),
            Refused::NoMemory => Error::new(Code::NoMem, "no memory for one more registration"),
        })
    }

    /// Calls `done` as soon as the thread that calls comes to it; false: it will not.
    pub(super) fn call_soon(&self, done: Done) -> bool {
        // A number that is durable already is answered at the next look.
        let added = self.notify.registrations.add(0, done).is_ok();
        self.notify.registrations.wake();
        added
    }

    /// There is a thread that calls.
    pub(super) fn need_caller(self: &Arc<Self>) -> Result<()> {
        if self.threads == Threads::Own {
            let mut caller = self.notify.caller();
            if caller.thread.is_none() && !caller.ended {
                caller.thread = Some(self.start_caller()?);
            }
        }
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
            let ticket = self.notify.registrations.ticket();
            while self.answer_one() {}
            self.config.messages.deliver();
            if self.notify.registrations.is_over() {
                return;
            }
            self.notify.registrations.sleep(ticket);
        }
    }

    /// Answers one registration that can be answered; false: there is none.
    fn answer_one(&self) -> bool {
        let taken = self.notify.registrations.take(|seq, ended| {
            if self.durable_seq() >= seq {
                return Some(Ok(()));
            }
            let lost = self.latch.first().or(ended.then(|| Error::new(Code::Closed, "the log was closed")));
            lost.map(|error| Err(error.about_seq(seq)))
        });
        let Some((seq, done, result)) = taken else { return false };
        done.call(seq, result);
        true
    }

    /// Answers what can be answered, on this thread; without a thread of its own.
    pub(super) fn answer_all(&self) {
        if let Some(_calling) = Calling::begin(self) {
            while self.answer_one() {}
            self.config.messages.deliver();
        }
    }

    /// This thread is inside a function that a registration was answered by.
    pub fn is_calling(&self) -> bool {
        self.notify.caller().calling == Some(std::thread::current().id())
    }

    /// Notes what `message` makes, for the thread that calls; under any lock.
    pub fn say(&self, level: Level, message: impl FnOnce() -> Message) {
        if self.config.messages.say(level, message) {
            self.notify.registrations.wake();
        }
    }

    /// What is noted is delivered by a thread of the log's own, if somebody listens.
    pub fn deliver_messages(self: &Arc<Self>) -> Result<()> {
        if self.config.messages.is_listened() {
            self.need_caller()?;
            self.notify.registrations.wake();
        }
        Ok(())
    }

    /// The log is poisoned: tells so, once.  Not under the queue's lock.
    pub(super) fn tell_poison(&self) {
        drop(self.lock());
        if !self.notify.poison_told.swap(true, Ordering::AcqRel) {
            self.notify.signal();
            if let Some(first) = self.latch.first() {
                self.say(Level::Error, || Message::of(Level::Error, "poison", &first));
            }
        }
        self.notify.registrations.wake();
    }

    /// Answers every registration; the durable mark rises no more.
    pub(super) fn end_notify(&self) {
        self.notify.caller().ended = true;
        self.notify.registrations.end();
        loop {
            let Some(thread) = self.notify.caller().thread.take() else { break };
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
        let mut caller = commit.notify.caller();
        if caller.calling.is_some() {
            return None;
        }
        caller.calling = Some(std::thread::current().id());
        drop(caller);
        Some(Calling(commit))
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.notify.caller().calling = None;
        if std::thread::panicking() {
            self.0.poison_by(Error::new(Code::Panic, "what was called for a durable record panicked"));
        }
    }
}

/// Starts the thread that calls anew when a panic ends it: the others have to be told of it.
struct Again<'commit>(&'commit Arc<Commit>);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        let mut caller = self.0.notify.caller();
        if std::thread::panicking() && caller.thread.is_some() {
            // If no thread can be had, they are told at close.
            caller.thread = self.0.start_caller().ok();
        }
    }
}
