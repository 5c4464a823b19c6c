//! Threads of a library inside somebody else's process.

use std::thread::JoinHandle;

use nix::sys::signal::{SigSet, SigmaskHow};

/// A number that no other thread has at the same time.
pub fn token() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Starts a thread that blocks every signal: handlers are the host's and run on
/// the host's threads.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    // A new thread inherits the mask: with it blocked here, no signal finds it unblocked there.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    before.thread_set_mask()?;
    started
}
