//! The io_uring engine: a durable write is one `io_uring_enter`.
//!
//! Promises that every entry given to the kernel has completed before a call
//! returns, on every path: entries point at buffers and descriptors that are
//! only borrowed.  Relies on `probe.rs` for the durable primitive that suits
//! the device.  Reads, and everything but writes and flushes, are `real.rs`'s.
//!
//! A few rings ("lanes") stand side by side, so that as many threads can write
//! at once; each call has a lane for itself from submission to completion.
//! There is no submission-queue thread and no polling.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, IoUring, Probe};
use nix::errno::Errno;

use super::blocking::{fdatasync, off_t, pwrite, pwrite_dsync, refuses_dsync, write_fully, Engine, Patience};
use super::descriptors::Descriptors;
use super::probe::Primitive;
use super::Durable;

/// Threads that can have a write or flush in flight at once: two frames and
/// the keeper's zeroing, and one to spare.
const LANES: usize = 4;

/// Entries of a lane's ring.
const ENTRIES: u32 = 4;

/// Most entries of one call: a write and the flush linked to it.
const CALL_MAX: usize = 2;

const _: () = assert!(CALL_MAX <= ENTRIES as usize);

/// The entry never ran: what it is linked to failed or was short, or the kernel could start no thread of its own for
/// it, because the process has as many as it may (RLIMIT_NPROC, a cgroup's pids.max) or signals came too fast.  It
/// has swallowed no failure, so the calling thread does the same itself.  An entry without an answer of its own is
/// taken for one of these.
const NEVER_RAN: i32 = -libc::ECANCELED;

/// One ring.
struct Lane {
    /// None once the kernel refused the ring itself: see [`Lane::retire`].
    ring: Option<IoUring>,
}

impl Lane {
    /// Submits `entries` and waits for all of them with, usually, one system
    /// call.  Entry `i` carries user data `i`; its answer is `results[i]`.
    ///
    /// # Safety
    ///
    /// What the entries point at stays valid until this returns.
    unsafe fn run(&mut self, entries: &[Entry]) -> io::Result<[i32; CALL_MAX]> {
        let mut results = [NEVER_RAN; CALL_MAX];
        let Some(ring) = &mut self.ring else { return Err(Errno::EIO.into()) };
        // SAFETY: the caller keeps what the entries point at valid until this
        // returns, and this returns only when all have completed or were never
        // taken by the kernel and never will be (`retire`).
        if unsafe { ring.submission().push_multiple(entries) }.is_err() {
            // Every call empties the queue, so this is a bug; nothing was queued.
            return Err(Errno::EIO.into());
        }
        let (mut left, mut untaken) = (entries.len(), entries.len());
        let mut is_linked = true;
        let mut patience = Patience::new();
        loop {
            let entered = ring.submit_and_wait(left);
            left -= reap(ring, &mut results);
            if let Ok(taken) = entered {
                // The kernel ends a chain where a submission ends: what comes later waits for nothing.
                is_linked &= taken == untaken || untaken == 0;
                untaken = untaken.saturating_sub(taken);
            }
            if left == 0 {
                if !is_linked {
                    // They did well, but perhaps in front of what they were to come behind.
                    results[1..].iter_mut().filter(|result| **result == 0).for_each(|result| *result = NEVER_RAN);
                }
                return Ok(results);
            }
            match entered {
                // A signal, or a submission that stopped half way: go on.
                Ok(_) => {}
                // EINTR, or the kernel is short of memory for a moment.
                Err(error) if patience.again(&error) => {}
                Err(error) => {
                    self.retire(left, &mut results);
                    return Err(error);
                }
            }
        }
    }

    /// The kernel refuses to be entered with this ring.  What it took must
    /// still complete before the buffers go back; what it did not take must
    /// never be taken.  So: wait for the first by looking (any return from the
    /// kernel posts completions), then drop the ring with the second in it.
    fn retire(&mut self, left: usize, results: &mut [i32; CALL_MAX]) {
        if let Some(mut ring) = self.ring.take() {
            let untaken = ring.submission().len();
            let mut in_flight = left.saturating_sub(untaken);
            while in_flight > 0 {
                std::thread::sleep(Duration::from_millis(1));
                in_flight -= reap(&mut ring, results);
            }
        }
    }
}

/// Takes the completions that are there into `results`; how many.
fn reap(ring: &mut IoUring, results: &mut [i32; CALL_MAX]) -> usize {
    let mut count = 0;
    for completion in ring.completion() {
        let index = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
        if let Some(result) = results.get_mut(index) {
            *result = completion.result();
        }
        count += 1;
    }
    count
}

/// A completion's number as a count or an error.
fn count(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// See the module's comment.
pub(super) struct Uring {
    lanes: [Mutex<Lane>; LANES],
    /// Progress is a multiple of this.
    block_align: usize,
    /// How a durable write is made.
    primitive: Primitive,
    /// Set once when RWF_DSYNC was refused: flush by a linked FSYNC from then
    /// on.  Relaxed: publishes nothing, a late reader asks once more.
    dsync_refused: AtomicBool,
}

impl Uring {
    /// Sets the rings up and tries one.  The error is the kernel's answer.
    pub(super) fn new(block_align: usize, primitive: Primitive) -> io::Result<Self> {
        let mut rings = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            rings.push(ring()?);
        }
        try_out(&mut rings[0])?;
        let mut rings = rings.into_iter();
        let lanes = std::array::from_fn(|_| Mutex::new(Lane { ring: rings.next() }));
        Ok(Uring { lanes, block_align, primitive, dsync_refused: AtomicBool::new(false) })
    }

    /// A lane of one's own: the first that is free, so that a lone writer stays
    /// on one that is warm; the first of all if none is free.
    fn lane(&self) -> MutexGuard<'_, Lane> {
        for lane in &self.lanes {
            if let Ok(lane) = lane.try_lock() {
                return lane;
            }
        }
        // Poisoned: nothing panics between submission and completion, so a
        // panic elsewhere left no entry behind.
        self.lanes[0].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_once(&self, file: BorrowedFd<'_>, buf: &[u8], offset: u64, flags: i32) -> io::Result<usize> {
        let entry = write_entry(file, buf, offset)?.rw_flags(flags).build().user_data(0);
        // SAFETY: `buf` and `file` are borrowed until this function returns.
        let results = unsafe { self.lane().run(&[entry]) }?;
        match results[0] {
            NEVER_RAN if flags == libc::RWF_DSYNC => pwrite_dsync(file, buf, offset),
            NEVER_RAN => pwrite(file, buf, offset),
            result => count(result),
        }
    }

    /// A write linked to a flush.  A short write breaks the link and cancels
    /// the flush; then the count is short too, the caller writes the remainder
    /// through here, and that one's flush covers both.
    fn write_linked(&self, file: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
        let write = write_entry(file, buf, offset)?.build().flags(Flags::IO_LINK).user_data(0);
        let flush = flush_entry(file).user_data(1);
        // SAFETY: as in `write_once`.
        let results = unsafe { self.lane().run(&[write, flush]) }?;
        let written = match results[0] {
            NEVER_RAN => pwrite(file, buf, offset)?,
            result => count(result)?,
        };
        if written < buf.len() {
            return Ok(written);
        }
        flush_answer(file, results[1]).map(|()| written)
    }
}

fn write_entry(file: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<opcode::Write> {
    off_t(offset)?; // also keeps clear of "the current position", which is -1
    let len = u32::try_from(buf.len()).map_err(|_| Errno::EINVAL)?;
    Ok(opcode::Write::new(Fd(file.as_raw_fd()), buf.as_ptr(), len).offset(offset))
}

fn flush_entry(file: BorrowedFd<'_>) -> Entry {
    opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build()
}

/// A flush's answer.  EINTR and EAGAIN say that it did not run to its end and
/// reported no failure of the device, so it may run again, as may one that never did.
fn flush_answer(file: BorrowedFd<'_>, result: i32) -> io::Result<()> {
    match result {
        0 => Ok(()),
        again if [-libc::EINTR, -libc::EAGAIN, NEVER_RAN].contains(&again) => fdatasync(file),
        failed => count(failed).map(drop),
    }
}

impl Engine for Uring {
    fn write(&self, file: BorrowedFd<'_>, buf: &[u8], offset: u64, durable: Durable) -> io::Result<()> {
        let align = self.block_align;
        if durable == Durable::No {
            return write_fully(buf, offset, align, |piece, at| self.write_once(file, piece, at, 0));
        }
        if self.primitive == Primitive::WriteDsync && !self.dsync_refused.load(Ordering::Relaxed) {
            match write_fully(buf, offset, align, |piece, at| self.write_once(file, piece, at, libc::RWF_DSYNC)) {
                Err(error) if refuses_dsync(&error) => self.dsync_refused.store(true, Ordering::Relaxed),
                done => return done,
            }
        }
        write_fully(buf, offset, align, |piece, at| self.write_linked(file, piece, at))
    }

    fn note_descriptors(&self, all: &Descriptors) {
        for lane in &self.lanes {
            if let Some(ring) = &lane.lock().unwrap_or_else(PoisonError::into_inner).ring {
                // SAFETY: open while the ring is; the ring lives as long as this engine, which no child drops.
                all.note_borrowed(unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) });
            }
        }
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let flush = flush_entry(file).user_data(0);
        // SAFETY: the entry holds no pointer; `file` is borrowed until this
        // function returns.
        let results = unsafe { self.lane().run(&[flush]) }?;
        flush_answer(file, results[0])
    }
}

/// One ring.  COOP_TASKRUN (Linux 5.19): the thread that waits is in the kernel
/// anyway, so completions need no interrupt to reach it.
fn ring() -> io::Result<IoUring> {
    match IoUring::builder().setup_coop_taskrun().build(ENTRIES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(ENTRIES),
        made => made,
    }
}

/// Whether `ring` can be entered and knows the operations used here: a seccomp
/// filter may allow io_uring_setup alone, and WRITE came with Linux 5.6.
fn try_out(ring: &mut IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if !probe.is_supported(opcode::Write::CODE) || !probe.is_supported(opcode::Fsync::CODE) {
        return Err(Errno::ENOSYS.into());
    }
    let nop = opcode::Nop::new().build().user_data(0);
    // SAFETY: a no-operation points at nothing.
    unsafe { ring.submission().push(&nop) }.map_err(|_| Errno::EIO)?;
    let mut patience = Patience::new();
    let mut results = [NEVER_RAN; CALL_MAX];
    loop {
        let entered = ring.submit_and_wait(1);
        if reap(ring, &mut results) > 0 {
            return count(results[0]).map(drop);
        }
        match entered {
            Ok(_) => {}
            Err(error) if patience.again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why io_uring is not to be had, for people: `error` is what [`Uring::new`]
/// answered, `sysctl` the content of /proc/sys/kernel/io_uring_disabled if this
/// kernel has it (Linux 6.6).
pub(super) fn refusal(error: &io::Error, sysctl: Option<&str>) -> String {
    let policy = match (error.raw_os_error(), sysctl.map(str::trim)) {
        (Some(libc::EPERM), Some("2")) => "kernel.io_uring_disabled = 2 forbids it to every process",
        (Some(libc::EPERM), Some("1")) => {
            "kernel.io_uring_disabled = 1 forbids it to processes outside kernel.io_uring_group"
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "a seccomp filter or a security module forbids it (container runtimes do by default)"
        }
        (Some(libc::ENOSYS), Some(_)) => "a seccomp filter hides it (this kernel has it)",
        (Some(libc::ENOSYS | libc::EINVAL), _) => {
            "this kernel has none that can write (Linux 5.6 is needed), or a seccomp filter hides it"
        }
        (Some(libc::ENOMEM), _) => "RLIMIT_MEMLOCK or the cgroup leaves no memory for its rings",
        (Some(libc::EMFILE | libc::ENFILE), _) => "no file descriptor is left for its rings",
        _ => "the kernel refuses it",
    };
    format!("io_uring is not available: {policy} ({error})")
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn a_lane() -> Option<Lane> {
        match ring() {
            Ok(ring) => Some(Lane { ring: Some(ring) }),
            Err(error) => {
                println!("skipped: {}", refusal(&error, None));
                None
            }
        }
    }

    #[test]
    fn a_refusal_names_the_policy() {
        let cases = [
            (libc::EPERM, Some("2\n"), "io_uring_disabled = 2"),
            (libc::EPERM, Some("1\n"), "io_uring_group"),
            (libc::EPERM, Some("0\n"), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::ENOSYS, Some("0\n"), "seccomp filter hides it (this"),
            (libc::ENOSYS, None, "Linux 5.6"),
            (libc::ENOMEM, Some("0\n"), "RLIMIT_MEMLOCK"),
            (libc::EMFILE, None, "descriptor"),
            (libc::EIO, None, "kernel refuses"),
        ];
        for (errno, sysctl, words) in cases {
            let text = refusal(&io::Error::from_raw_os_error(errno), sysctl);
            assert!(text.contains(words), "{errno} {sysctl:?}: {text}");
        }
    }

    /// Both primitives, whatever the device here has: a directory's choice
    /// exercises only one of them.
    #[test]
    fn either_primitive_writes_all() {
        use std::os::unix::fs::{FileExt, OpenOptionsExt};
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).custom_flags(libc::O_TMPFILE);
        let Ok(file) = options.open(env!("CARGO_MANIFEST_DIR")) else { return println!("skipped: no O_TMPFILE here") };
        for (byte, primitive) in [(1, Primitive::WriteDsync), (2, Primitive::WriteThenFlush)] {
            let Ok(engine) = Uring::new(1, primitive) else { return println!("skipped: no io_uring here") };
            for durable in [Durable::Yes, Durable::No] {
                engine.write(file.as_fd(), &[byte; 9000], 100, durable).unwrap();
                engine.sync(file.as_fd()).unwrap();
                let mut back = [0; 9000];
                file.read_exact_at(&mut back, 100).unwrap();
                assert!(back.iter().all(|b| *b == byte), "{primitive:?} {durable:?}");
                file.write_all_at(&[0; 9000], 100).unwrap();
            }
        }
    }

    /// A write that cannot start cancels the flush behind it, and both answers come.
    #[test]
    fn a_failed_write_cancels_its_flush() {
        let Some(mut lane) = a_lane() else { return };
        let null = std::fs::File::open("/dev/null").unwrap(); // not open for writing
        let buf = [0; 512];
        let write = write_entry(null.as_fd(), &buf, 0).unwrap().build().flags(Flags::IO_LINK).user_data(0);
        let flush = flush_entry(null.as_fd()).user_data(1);
        // SAFETY: `buf` and `null` outlive the call.
        let results = unsafe { lane.run(&[write, flush]) }.unwrap();
        assert_eq!(results, [-libc::EBADF, -libc::ECANCELED]);
    }

    /// The kernel refuses the ring itself: the call fails, the entry is never
    /// submitted later, and the lane stays out of use.
    #[test]
    fn a_ring_that_cannot_be_entered_is_retired() {
        let Some(mut lane) = a_lane() else { return };
        let null = std::fs::File::open("/dev/null").unwrap();
        let ring_fd = lane.ring.as_ref().unwrap().as_raw_fd();
        // SAFETY: both descriptors are open and owned here; the ring's mappings
        // do not depend on its descriptor.
        assert!(unsafe { libc::dup2(null.as_raw_fd(), ring_fd) } >= 0);
        let flush = flush_entry(null.as_fd()).user_data(0);
        // SAFETY: the entry holds no pointer.
        assert!(unsafe { lane.run(std::slice::from_ref(&flush)) }.is_err());
        assert!(lane.ring.is_none());
        // SAFETY: as above.
        let error = unsafe { lane.run(&[flush]) }.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
}
