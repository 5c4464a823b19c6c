//! A file that does not change any more, seen as memory.
//!
//! Promises: bytes that [`Mapped::make_ready`] answered Ok for can be looked at,
//! and a device that failed to give them is an error, not a signal.  The kernel
//! has read them then, and holds them in its page cache until they are dropped.
//! Relies on: nobody shortens the file afterwards.  Looking at what is gone is
//! SIGBUS, which ends a process; so each piece is made ready just before it is
//! looked at, and the length is asked again each time.
//!
//! What is left of the danger: the moment between the two, and a page that the
//! kernel gave up and cannot read again.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};

use crate::base::bytes::{len_u64, usize_of};

/// MADV_POPULATE_READ of linux/mman.h, since 5.14: fault pages in now, and say what goes wrong instead of SIGBUS.
const POPULATE_READ: libc::c_int = 22;

/// What is made ready and dropped are multiples of this.
const PAGE: u64 = 64 << 10;

/// See the module.
pub struct Mapped {
    start: NonNull<u8>,
    len: usize,
    /// What was made ready and not dropped, as offsets.
    ready: std::ops::Range<u64>,
}

impl Mapped {
    /// The first `len` bytes of the file; Unsupported where reading cannot be made safe (Linux before 5.14).
    pub(super) fn new(file: impl AsFd, len: u64) -> io::Result<Mapped> {
        let len = usize_of(len);
        let size = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping where the kernel likes, for reading, of a descriptor that is open now: it takes
        // nothing away from anybody.
        let start = unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0)? };
        let mut mapped = Mapped { start: start.cast(), len, ready: 0..0 };
        match mapped.make_ready(0, 1) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(io::ErrorKind::Unsupported.into()),
            ready => ready.map(|()| mapped),
        }
    }

    /// Has the bytes from `from` to `to` read.
    pub fn make_ready(&mut self, from: u64, to: u64) -> io::Result<()> {
        let from = if self.ready.contains(&from) { self.ready.end } else { from / PAGE * PAGE };
        if from >= to {
            return Ok(());
        }
        self.advise(from, to.next_multiple_of(PAGE), POPULATE_READ)?;
        let start = if from == self.ready.end { self.ready.start } else { from };
        self.ready = start..to.next_multiple_of(PAGE).min(len_u64(self.len));
        Ok(())
    }

    /// Gives back what was made ready in front of `offset`; which bytes these are.
    pub fn drop_behind(&mut self, offset: u64) -> Option<(u64, u64)> {
        let (from, to) = (self.ready.start, (offset / PAGE * PAGE).min(self.ready.end));
        if to <= from {
            return None;
        }
        self.ready.start = to;
        // It fails for nothing that is mapped.
        self.advise(from, to, libc::MADV_DONTNEED).ok().map(|()| (from, to))
    }

    /// Gives all of it back.
    pub fn drop_all(&mut self) {
        // As above.
        let _ = self.advise(0, len_u64(self.len), libc::MADV_DONTNEED);
        self.ready = 0..0;
    }

    fn advise(&self, from: u64, to: u64, advice: libc::c_int) -> io::Result<()> {
        let (from, to) = (usize_of(from), usize_of(to).min(self.len));
        loop {
            // SAFETY: the range lies in our own mapping, which nobody else knows, and neither advice changes what
            // is read there.
            let result = unsafe { libc::madvise(self.start.as_ptr().add(from).cast(), to - from, advice) };
            match Errno::result(result) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                // What populating says where a fault would be SIGBUS.
                Err(Errno::EFAULT | Errno::EHWPOISON) => return Err(Errno::EIO.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: mapped for reading, this long, as long as `self` is.  Nobody changes the bytes: the owner maps
        // only segments that are complete, which nobody writes, under the lock that keeps them from being recycled.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, unmapped only here; nobody has a reference into it that outlives `self`.
        // It fails for nothing that is mapped.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

// SAFETY: it owns its mapping as a Vec<u8> owns its bytes; nothing in it is tied to a thread.
unsafe impl Send for Mapped {}
// SAFETY: shared access only reads.
unsafe impl Sync for Mapped {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LEN: u64 = 1 << 20;

    fn file(name: &str) -> std::fs::File {
        let path = std::env::temp_dir().join(format!("twal-mapped-{name}-{}", std::process::id()));
        let mut file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&(0..LEN).map(|at| (at % 251).to_le_bytes()[0]).collect::<Vec<u8>>()).unwrap();
        file
    }

    fn mapped(file: &std::fs::File) -> Option<Mapped> {
        match Mapped::new(file, LEN) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                eprintln!("skipped: this kernel cannot populate a mapping");
                None
            }
            other => Some(other.unwrap()),
        }
    }

    #[test]
    fn shows_what_is_in_the_file_also_after_it_was_dropped() {
        let file = file("shows");
        let Some(mut mapped) = mapped(&file) else { return };
        for piece in 0..16 {
            let from = piece * (LEN / 16);
            mapped.drop_behind(from);
            mapped.make_ready(from, from + LEN / 16).unwrap();
            for at in (from..from + LEN / 16).step_by(100) {
                assert_eq!(u64::from(mapped[usize_of(at)]), at % 251);
            }
            assert!(mapped.ready.start == from && mapped.ready.end == from + LEN / 16);
        }
        mapped.drop_all();
        mapped.make_ready(5, 6).unwrap();
        assert_eq!(mapped[5], 5);
    }

    /// Looking would be SIGBUS.
    #[test]
    fn what_a_shorter_file_lacks_is_an_error() {
        let file = file("shorter");
        let Some(mut mapped) = mapped(&file) else { return };
        file.set_len(LEN / 2).unwrap();
        assert!(mapped.make_ready(0, LEN / 2).is_ok());
        assert_eq!(mapped.make_ready(LEN / 2, LEN).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}
