//! The descriptors of one open directory, in a place that a forked child can
//! read without a lock.
//!
//! A child inherits a copy of each.  As long as one of them is open, so are the
//! parent's locks, even when the parent is dead: so a child that closes its copy
//! of a log has to close them, although whoever else owned them is out of reach
//! (other threads' stacks, locks that were held at the fork).
//!
//! Each slot holds a descriptor or -1.  Whoever takes it out of the slot closes
//! it, so nobody closes a number that is somebody else's by now.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

use super::cancel::Uncancelled;

/// Most descriptors that are noted; what is above stays open in a child until it ends or execs.
const SLOTS: usize = 256;
const FREE: RawFd = -1;

/// See the module's comment.
pub(super) struct Descriptors(Box<[AtomicI32]>);

impl Descriptors {
    pub(super) fn new() -> Arc<Descriptors> {
        Arc::new(Descriptors((0..SLOTS).map(|_| AtomicI32::new(FREE)).collect()))
    }

    /// A slot that holds `fd` now; None: all are taken.
    fn note(&self, fd: RawFd) -> Option<usize> {
        // Relaxed throughout: a slot says nothing about other memory, and a child starts as one thread.
        let free = |slot: &AtomicI32| slot.compare_exchange(FREE, fd, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.0.iter().position(free)
    }

    /// Notes a descriptor that an object owns which is never dropped in a child.
    pub(super) fn note_borrowed(&self, fd: BorrowedFd<'_>) {
        self.note(fd.as_raw_fd());
    }

    /// In a forked child: closes them all.  The kernel's objects are the parent's and stay as they are.
    pub(super) fn close_all_in_child(&self) {
        for slot in &self.0 {
            let fd = slot.swap(FREE, Ordering::Relaxed);
            if fd != FREE {
                // SAFETY: the slot held it, so nobody has closed it, and whoever finds the slot empty will not.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

/// A descriptor that its owner closes, or in a child [`Descriptors::close_all_in_child`].
pub(super) struct Owned {
    fd: RawFd,
    slot: Option<usize>,
    all: Arc<Descriptors>,
}

impl Owned {
    pub(super) fn new(fd: OwnedFd, all: &Arc<Descriptors>) -> Owned {
        let fd = fd.into_raw_fd();
        Owned { fd, slot: all.note(fd), all: Arc::clone(all) }
    }
}

impl AsFd for Owned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open while `self` is: it is closed in drop, or in a child that does nothing but drop afterwards
        // (Dir::abandon's contract).
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let ours = self.slot.is_none_or(|slot| self.all.0[slot].swap(FREE, Ordering::Relaxed) == self.fd);
        if ours {
            // Dropped by whatever call of the host's: close() would unwind out of it.
            let _uncancelled = Uncancelled::begin();
            // SAFETY: it was an OwnedFd's; its slot, if it has one, still held it, so nobody has closed it.
            drop(unsafe { OwnedFd::from_raw_fd(self.fd) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor that no other test has: one end of a pipe.
    fn open() -> OwnedFd {
        std::io::pipe().unwrap().1.into()
    }

    /// What a descriptor stands for.  Parallel tests may have taken its number when it was closed.
    fn what(fd: RawFd) -> Option<std::path::PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
    }

    #[test]
    fn each_is_closed_once_by_whoever_comes_first() {
        let all = Descriptors::new();
        let (one, two) = (Owned::new(open(), &all), Owned::new(open(), &all));
        let (first, second) = (one.as_raw_fd(), two.as_raw_fd());
        let were = (what(first), what(second));
        assert!(were.0.is_some() && were.1.is_some() && were.0 != were.1);
        drop(one);
        assert_ne!(what(first), were.0);
        all.close_all_in_child();
        assert_ne!(what(second), were.1);
        // The number is somebody else's now: the old owner must leave it alone.
        let other = nix::fcntl::fcntl(open(), nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(second)).unwrap();
        let is = what(other);
        drop(two);
        assert_eq!(what(other), is);
        // SAFETY: fcntl just gave it, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(other) });
    }

    #[test]
    fn those_above_the_slots_are_closed_by_their_owners() {
        let all = Descriptors::new();
        let many: Vec<_> = (0..SLOTS + 3).map(|_| Owned::new(open(), &all)).collect();
        let were: Vec<_> = many.iter().map(|one| (one.as_raw_fd(), what(one.as_raw_fd()))).collect();
        drop(many);
        assert!(were.into_iter().all(|(fd, was)| what(fd) != was));
        assert!(all.0.iter().all(|slot| slot.load(Ordering::Relaxed) == FREE));
    }
}
