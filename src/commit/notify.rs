//! Whoever is told without waiting: eventfds that become readable when the
//! durable mark has risen.
//!
//! Whoever completes a frame tells, after it has given the queue's lock back.
//! Where nobody asked, that is a load and no system call.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Commit;
use crate::base::{Code, Error, Result};

/// Most eventfds of a log.
pub const EVENTFDS_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Notify {
    /// Filled from the front under the queue's lock, never emptied; each is a
    /// descriptor of the log's own, so that it can be written to whatever the
    /// caller does with his.
    eventfds: [OnceLock<EventFd>; EVENTFDS_MAX],
    /// The failure that poisoned the log was told.
    poison_told: AtomicBool,
}

impl Notify {
    /// Makes every eventfd readable.
    pub fn signal(&self) {
        for eventfd in self.eventfds.iter().map_while(OnceLock::get) {
            // It fails only where the count is at its end: then it is readable already.
            let _ = eventfd.write(1);
        }
    }

    fn add(&self, eventfd: EventFd) -> Result<()> {
        let Some(place) = self.eventfds.iter().find(|place| place.get().is_none()) else {
            let text = format!("the log has {EVENTFDS_MAX} eventfds already");
            return Err(Error::new(Code::Busy, text));
        };
        place.set(eventfd).expect("places are filled under the queue's lock");
        Ok(())
    }
}

impl Commit {
    /// An eventfd of the caller's, readable when the durable mark has risen.
    pub fn eventfd(&self) -> Result<OwnedFd> {
        let failed = |error: std::io::Error| Error::os("cannot make an eventfd", &error);
        let ours = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| failed(errno.into()))?;
        let theirs = ours.as_fd().try_clone_to_owned().map_err(failed)?;
        // Whoever raises the mark, poisons or closes holds this lock before it tells: either it sees the
        // new eventfd, or what it did is seen here, or by the caller afterwards.
        let queue = self.lock();
        self.check_open(&queue)?;
        self.notify.add(ours)?;
        Ok(theirs)
    }

    /// The log is poisoned: tells so, once.  Not under the queue's lock.
    pub(super) fn tell_poison(&self) {
        drop(self.lock());
        if !self.notify.poison_told.swap(true, Ordering::AcqRel) {
            self.notify.signal();
        }
    }
}
