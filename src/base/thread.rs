//! Threads of a library inside somebody else's process.

use std::thread::{JoinHandle, Scope, ScopedJoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Starts a thread that blocks every signal: handlers are the host's and run on
/// the host's threads.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    with_signals_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn(run))
}

/// The same for a thread that ends before its scope does.
pub fn spawn_scoped<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() + Send + 'scope,
) -> std::io::Result<ScopedJoinHandle<'scope, ()>> {
    with_signals_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, run))
}

fn with_signals_blocked<T>(start: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    // A new thread inherits the mask: with it blocked here, no signal finds it unblocked there.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}
