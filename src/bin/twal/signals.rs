//! Signals that ask this program to end, taken as events instead of blows.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::Failure;

/// SIGINT, SIGTERM and SIGHUP of this process.  Made before any thread is: threads that are made later leave them alone.
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    pub fn take() -> Result<Signals, Failure> {
        let wanted: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        let failed = |errno: Errno| Failure::io("cannot wait for signals", &errno.into());
        wanted.thread_block().map_err(failed)?;
        let fd = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Signals { fd })
    }

    /// Waits until the eventfd `event` has counted something, and takes that: true; or until there is a signal: false.
    ///
    /// Fails like a write when nobody reads `output` any more: who waits would find that out too late.
    pub fn wait(&self, event: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<bool, Failure> {
        let mut fds = [
            PollFd::new(self.fd.as_fd(), PollFlags::POLLIN),
            // Nothing is asked of it: that its reader has gone is told in any case.
            PollFd::new(output, PollFlags::empty()),
            PollFd::new(event, PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::io("cannot wait", &errno.into())),
            }
        }
        let happened = |at: usize| fds[at].any().unwrap_or(true);
        if happened(0) {
            return Ok(false);
        }
        if happened(1) {
            return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into());
        }
        match nix::unistd::read(event, &mut [0; 8]) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(true),
            Err(errno) => Err(Failure::io("cannot read an eventfd", &errno.into())),
        }
    }

    /// Whether one has come.
    pub fn came(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}
