//! A C handle that one thread at a time uses: what it refuses before it does anything.

use super::guard;
use crate::base::{Code, Error, Result};
use crate::mem::fork::ForkGuard;

/// What is behind such a handle.
pub(super) struct Single<T> {
    value: T,
    fork: ForkGuard,
    /// A call panicked inside: nobody knows where it stands.
    broken: bool,
}

impl<T> Single<T> {
    pub fn new(value: T) -> Single<T> {
        Single { value, fork: ForkGuard::new(), broken: false }
    }

    /// Runs `body`, unless the handle refuses: forked, broken.
    pub fn run<R>(&mut self, body: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        if self.fork.forked() {
            return Err(guard::forked());
        }
        if self.broken {
            return Err(Error::new(Code::Panic, "an earlier call panicked in this handle"));
        }
        self.broken = true; // until the call has come back
        let done = body(&mut self.value);
        self.broken = false;
        done
    }

    /// Whether this is a forked child, which must touch nothing of its parent's.
    pub fn is_forked(&self) -> bool {
        self.fork.forked()
    }

    pub fn into_inner(self) -> T {
        self.value
    }
}
