//! The failure latch: after the first failed write or flush nothing is tried
//! again.
//!
//! Promises that once an operation failed no later one runs: a kernel that
//! failed a flush drops what it could not write and reports it once, so the
//! next flush succeeds without the data being there.  Relies on its owner
//! sending every write and flush through [`Latch::run`].  How one gets out is
//! left to the owner: a log is opened anew, with a new latch.
//!
//! `models/` runs this file through every order of its memory accesses.

use crate::base::{Code, Error, Result};
use crate::mem::atomic::OnceLock;

/// Remembers the first failure.
#[derive(Debug, Default)]
pub struct Latch {
    /// Written once, by whoever fails first; read by everybody before an
    /// operation.  `OnceLock` orders the error's bytes before its presence.
    first: OnceLock<Error>,
}

impl Latch {
    /// A latch that nothing has tripped.
    #[cfg(not(loom))] // whose atomics are made at run time
    pub const fn new() -> Self {
        Latch { first: OnceLock::new() }
    }

    /// Runs `op` unless something failed before.  Whatever the operating system
    /// called the failure, to the caller it is [`Code::Io`]: the fate of what was
    /// written is unknown.  Two operations that run side by side and both fail
    /// each get their own error; the latch keeps one of them.
    pub fn run<T>(&self, op: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(first) = self.first.get() {
            return Err(Error::poisoned_by(first));
        }
        op().map_err(|failure| {
            let error = Error { code: Code::Io, ..failure };
            self.trip(error.clone());
            error
        })
    }

    /// Trips the latch for a failure found elsewhere; the first one stays.
    pub fn trip(&self, error: Error) {
        // Err: somebody was first, and that failure is the one to name.
        let _ = self.first.set(error);
    }

    /// Whether something has failed.
    #[inline]
    pub fn is_tripped(&self) -> bool {
        self.first.get().is_some()
    }

    /// What tripped the latch.
    pub fn first(&self) -> Option<Error> {
        self.first.get().cloned()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn full() -> Error {
        Error::os("cannot write", &std::io::Error::from_raw_os_error(libc::ENOSPC))
    }

    #[test]
    fn passes_results_through_until_something_fails() {
        let latch = Latch::new();
        assert_eq!(latch.run(|| Ok(7)), Ok(7));
        assert_eq!(latch.first(), None);
        let error = latch.run::<()>(|| Err(full())).unwrap_err();
        assert_eq!((error.code, error.os_errno), (Code::Io, libc::ENOSPC));
        assert_eq!(latch.first(), Some(error));
    }

    /// The story of the fsync that "succeeds" the second time: it must not run.
    #[test]
    fn after_a_failure_nothing_runs() {
        let latch = Latch::new();
        latch.run::<()>(|| Err(full())).unwrap_err();
        let mut ran = false;
        let error = latch
            .run(|| {
                ran = true;
                Ok(())
            })
            .unwrap_err();
        assert!(!ran);
        assert_eq!((error.code, error.os_errno), (Code::Poisoned, libc::ENOSPC));
    }

    #[test]
    fn the_first_failure_stays() {
        let latch = Latch::new();
        latch.trip(Error::new(Code::Panic, "first"));
        latch.trip(Error::new(Code::Io, "second"));
        assert_eq!(latch.first().map(|error| error.code), Some(Code::Panic));
    }
}
