//! The blocking engine: a durable write is one `pwritev2(RWF_DSYNC)` on the
//! calling thread; and the loop that makes any engine's write whole.
//!
//! Promises a full write or an error.  Relies on `real.rs` for descriptors and
//! on callers for alignment.  Where kernel or file system do not know
//! `RWF_DSYNC`, `pwrite` and `fdatasync` do the same in two calls.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::descriptors::Descriptors;
use super::Durable;
use crate::base::bytes::len_u64;

/// What moves bytes to an open file, for any file of one directory.
pub(super) trait Engine: Send + Sync {
    /// Writes all of `buf` or fails, as [`super::File::write_at`] says.
    fn write(&self, file: BorrowedFd<'_>, buf: &[u8], offset: u64, durable: Durable) -> io::Result<()>;

    /// Flushes, as [`super::File::sync`] says.
    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()>;

    /// Notes descriptors of its own, if it has any.
    fn note_descriptors(&self, _all: &Descriptors) {}
}

/// Most bytes in one call: the kernel moves at most 2 GiB less a page at once
/// and an io_uring entry counts in 32 bits.  A multiple of every block size.
const PIECE_MAX: usize = 1 << 30;

/// How often a call that answers EAGAIN is made again, a millisecond apart.
const AGAIN_MAX: u32 = 5_000;

/// Counts the answers that mean "ask again".
pub(super) struct Patience {
    left: u32,
}

impl Patience {
    /// All of it.
    pub(super) fn new() -> Self {
        Patience { left: AGAIN_MAX }
    }

    /// Whether the call that failed with `error` is worth making again; waits
    /// a little if the kernel was short of something.
    pub(super) fn again(&mut self, error: &io::Error) -> bool {
        match error.raw_os_error() {
            Some(libc::EINTR) => true,
            Some(libc::EAGAIN | libc::EBUSY) if self.left > 0 => {
                self.left -= 1;
                std::thread::sleep(Duration::from_millis(1));
                true
            }
            _ => false,
        }
    }
}

/// Drives `some`, which writes a part of what it is given and says how much,
/// until all of `buf` is written.  Progress that is not a multiple of `align`,
/// or none, is EIO: what the device holds then is not known, and the remainder
/// could not be written with O_DIRECT anyway.
pub(super) fn write_fully(
    mut buf: &[u8],
    mut offset: u64,
    align: usize,
    mut some: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut patience = Patience::new();
    while !buf.is_empty() {
        let piece = &buf[..buf.len().min(PIECE_MAX)];
        match some(piece, offset) {
            Ok(count) if count == 0 || count > piece.len() || (count < piece.len() && count % align != 0) => {
                return Err(Errno::EIO.into());
            }
            Ok(count) => {
                buf = &buf[count..];
                offset += len_u64(count);
            }
            Err(error) if patience.again(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A place in a file as the system calls take it.
pub(super) fn off_t(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| Errno::EFBIG.into())
}

/// Makes a call again for as long as a signal of the host's interrupts it.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Flushes a file's data and what is needed to read it back.  An interrupted
/// flush reported nothing yet, so it may be made again; any other failure may not.
pub(super) fn fdatasync(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(uninterrupted(|| nix::unistd::fdatasync(file))?)
}

/// Whether the answer means that this kernel or file system has no per-write DSYNC.
pub(super) fn refuses_dsync(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

pub(super) fn pwrite(file: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
    Ok(nix::sys::uio::pwrite(file, buf, off_t(offset)?)?)
}

pub(super) fn pwrite_dsync(file: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
    let part = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    // SAFETY: the descriptor is open and `part` names `buf`, both borrowed for
    // the whole call; a write only reads from them.
    let count = unsafe { libc::pwritev2(file.as_raw_fd(), &part, 1, off_t(offset)?, libc::RWF_DSYNC) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// See the module's comment.
pub(super) struct Blocking {
    /// Progress is a multiple of this.
    block_align: usize,
    /// Set once when RWF_DSYNC was refused, so that it is not asked for on
    /// every write.  Relaxed: publishes nothing, a late reader asks once more.
    dsync_refused: AtomicBool,
}

impl Blocking {
    /// An engine for files whose writes are multiples of `block_align`.
    pub(super) fn new(block_align: usize) -> Self {
        Blocking { block_align, dsync_refused: AtomicBool::new(false) }
    }
}

impl Engine for Blocking {
    fn write(&self, file: BorrowedFd<'_>, buf: &[u8], offset: u64, durable: Durable) -> io::Result<()> {
        if durable == Durable::Yes && !self.dsync_refused.load(Ordering::Relaxed) {
            match write_fully(buf, offset, self.block_align, |piece, at| pwrite_dsync(file, piece, at)) {
                Err(error) if refuses_dsync(&error) => self.dsync_refused.store(true, Ordering::Relaxed),
                done => return done,
            }
        }
        write_fully(buf, offset, self.block_align, |piece, at| pwrite(file, piece, at))?;
        match durable {
            Durable::Yes => fdatasync(file),
            Durable::No => Ok(()),
        }
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        fdatasync(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `write_fully` over a scripted device; gives the calls it made.
    fn script(len: usize, align: usize, answers: &[Result<usize, i32>]) -> (io::Result<()>, Vec<(usize, u64)>) {
        let mut answers = answers.iter();
        let mut calls = Vec::new();
        let done = write_fully(&vec![0; len], 4096, align, |piece, at| {
            calls.push((piece.len(), at));
            answers.next().expect("a scripted answer").map_err(io::Error::from_raw_os_error)
        });
        assert!(answers.next().is_none(), "not all answers were asked for");
        (done, calls)
    }

    fn errno(done: io::Result<()>) -> Option<i32> {
        done.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn a_short_write_goes_on_with_the_remainder() {
        let (done, calls) = script(12288, 4096, &[Ok(4096), Err(libc::EINTR), Err(libc::EAGAIN), Ok(8192)]);
        assert_eq!(errno(done), None);
        assert_eq!(calls, [(12288, 4096), (8192, 8192), (8192, 8192), (8192, 8192)]);
    }

    #[test]
    fn no_progress_and_odd_progress_are_failures() {
        for (align, answers) in [(4096, &[Ok(0)][..]), (4096, &[Ok(100)]), (512, &[Ok(512), Ok(7)]), (1, &[Ok(9000)])] {
            let (done, _) = script(8192, align, answers);
            assert_eq!(errno(done), Some(libc::EIO), "{answers:?}");
        }
    }

    #[test]
    fn errors_come_through_and_nothing_follows() {
        let (done, calls) = script(8192, 4096, &[Ok(4096), Err(libc::ENOSPC)]);
        assert_eq!((errno(done), calls.len()), (Some(libc::ENOSPC), 2));
    }

    #[test]
    fn nothing_to_write_is_no_call() {
        let (done, calls) = script(0, 4096, &[]);
        assert_eq!((errno(done), calls.len()), (None, 0));
    }

    #[test]
    fn an_offset_beyond_the_kernels_is_too_big() {
        assert_eq!(off_t(1 << 63).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    }
}
