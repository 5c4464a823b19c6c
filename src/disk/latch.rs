//! The failure latch: after the first failed write or flush nothing is tried
//! again.
//!
//! Promises that once an operation failed no later one runs: a kernel that
//! failed a flush drops what it could not write and reports it once, so the
//! next flush succeeds without the data being there.  Relies on its owner
//! sending every write and flush through [`Latch::run`].  How one gets out is
//! left to the owner: a log is opened anew, with a new latch.

use std::io;
use std::sync::OnceLock;

use crate::base::{Error, Result};

/// Remembers the first failure.
#[derive(Debug, Default)]
pub struct Latch {
    /// Written once, by whoever fails first; read by everybody before an
    /// operation.  `OnceLock` orders the error's bytes before its presence.
    first: OnceLock<Error>,
}

impl Latch {
    /// A latch that nothing has tripped.
    pub const fn new() -> Self {
        Latch { first: OnceLock::new() }
    }

    /// Runs `op` unless something failed before.  `doing` says what for, in
    /// words that fit before a colon.  Two operations that run side by side and
    /// both fail each get their own error; the latch keeps one of them.
    pub fn run<T>(&self, doing: &str, op: impl FnOnce() -> io::Result<T>) -> Result<T> {
        if let Some(first) = self.first.get() {
            return Err(Error::poisoned_by(first));
        }
        op().map_err(|failure| {
            let error = Error::os(doing, &failure);
            self.trip(error.clone());
            error
        })
    }

    /// Trips the latch for a failure found elsewhere; the first one stays.
    pub fn trip(&self, error: Error) {
        // Err: somebody was first, and that failure is the one to name.
        let _ = self.first.set(error);
    }

    /// What tripped the latch.
    pub fn first(&self) -> Option<Error> {
        self.first.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Code;

    fn eio() -> io::Error {
        io::Error::from_raw_os_error(libc::EIO)
    }

    #[test]
    fn passes_results_through_until_something_fails() {
        let latch = Latch::new();
        assert_eq!(latch.run("cannot write", || Ok(7)), Ok(7));
        assert_eq!(latch.first(), None);
        let error = latch.run::<()>("cannot write", || Err(eio())).unwrap_err();
        assert_eq!((error.code, error.os_errno), (Code::Io, libc::EIO));
        assert_eq!(latch.first(), Some(error));
    }

    /// The story of the fsync that "succeeds" the second time: it must not run.
    #[test]
    fn after_a_failure_nothing_runs() {
        let latch = Latch::new();
        latch.run::<()>("cannot flush", || Err(eio())).unwrap_err();
        let mut ran = false;
        let error = latch
            .run("cannot flush again", || {
                ran = true;
                Ok(())
            })
            .unwrap_err();
        assert!(!ran);
        assert_eq!((error.code, error.os_errno), (Code::Poisoned, libc::EIO));
        assert!(error.text.contains("cannot flush:"), "{error}");
    }

    #[test]
    fn the_first_failure_stays() {
        let latch = Latch::new();
        latch.trip(Error::new(Code::Corrupt, "first").at(3, 4096));
        latch.trip(Error::new(Code::Io, "second"));
        assert_eq!(latch.first().unwrap().text, "first");
        let error = latch.run("cannot write", || Ok(())).unwrap_err();
        assert_eq!((error.code, error.segment, error.offset), (Code::Poisoned, 3, 4096));
    }
}
