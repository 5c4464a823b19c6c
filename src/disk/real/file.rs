//! One file of the real disk: its bytes, its room, the locks on its first two.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{fcntl, posix_fadvise, FallocateFlags, FcntlArg, PosixFadviseAdvice};
use nix::unistd::Whence;

use super::Held;
use crate::base::bytes::{len_u64, usize_of};
use crate::disk::blocking::{off_t, uninterrupted, Engine, Patience};
use crate::disk::cancel::Uncancelled;
use crate::disk::descriptors::Owned;
use crate::disk::{Durable, File, LockByte, LockKind, Mapped};

/// See [`File`].
pub(super) struct RealFile {
    pub(super) fd: Owned,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) block_align: u64,
    pub(super) held: Held,
}

/// What fcntl(2) takes for a lock of that kind on that byte.
fn ofd_lock_of(byte: LockByte, kind: libc::c_int) -> nix::Result<libc::flock> {
    // SAFETY: all zeros is a value of this struct of integers; l_pid has to be 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).map_err(|_| Errno::EINVAL)?;
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).map_err(|_| Errno::EINVAL)?;
    lock.l_start = byte.offset();
    lock.l_len = 1;
    Ok(lock)
}

impl LockByte {
    fn offset(self) -> libc::off_t {
        match self {
            LockByte::Writer => 0,
            LockByte::Reader => 1,
        }
    }

    fn bit(self) -> u8 {
        match self {
            LockByte::Writer => 1,
            LockByte::Reader => 2,
        }
    }
}

/// FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_NOCOW_FL of linux/fs.h.
#[allow(missing_docs)]
mod file_flags {
    nix::ioctl_read!(get, b'f', 1, libc::c_long);
    nix::ioctl_write_ptr!(set, b'f', 2, libc::c_long);
    pub const NOCOW: libc::c_long = 0x0080_0000;
}

impl RealFile {
    /// Has btrfs write the file's blocks in place: copied on write, each write
    /// would need new room, and a full disk would break what was taken ahead.
    /// Where that cannot be had, writes copy.
    pub(super) fn never_copy(&self) {
        let mut flags: libc::c_long = 0;
        // SAFETY: the descriptor is open while `self` is, and both calls take room for a long
        // (the kernel reads and writes its first four bytes).
        let _ = unsafe {
            file_flags::get(self.fd.as_raw_fd(), &raw mut flags).and_then(|_| {
                flags |= file_flags::NOCOW;
                file_flags::set(self.fd.as_raw_fd(), &raw const flags)
            })
        };
    }

    fn ofd_lock(&self, byte: LockByte, kind: libc::c_int) -> nix::Result<()> {
        let lock = ofd_lock_of(byte, kind)?;
        uninterrupted(|| fcntl(&self.fd, FcntlArg::F_OFD_SETLK(&lock))).map(drop)
    }
}

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        let size = nix::sys::stat::fstat(&self.fd)?.st_size;
        u64::try_from(size).map_err(|_| Errno::EIO.into())
    }

    fn room(&self) -> io::Result<u64> {
        // Always counted in these, whatever the file system's blocks are: stat(2).
        const UNIT: u64 = 512;
        let blocks = nix::sys::stat::fstat(&self.fd)?.st_blocks;
        u64::try_from(blocks).map_or_else(|_| Err(Errno::EIO.into()), |blocks| Ok(blocks.saturating_mul(UNIT)))
    }

    fn names(&self) -> io::Result<u64> {
        Ok(nix::sys::stat::fstat(&self.fd)?.st_nlink)
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        let about = nix::sys::stat::fstat(&self.fd)?;
        Ok((about.st_dev, about.st_ino))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let _uncancelled = Uncancelled::begin();
        let mut done = 0;
        let mut patience = Patience::new();
        while done < buf.len() {
            let at = offset + len_u64(done);
            let count = match nix::sys::uio::pread(&self.fd, &mut buf[done..], off_t(at)?) {
                Ok(count) => count,
                Err(error) if patience.again(&error.into()) => continue,
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                break;
            }
            // Direct I/O goes on from a whole block only.  A part of one is
            // where the file ends; if it ends elsewhere, that block is read again.
            let end = at + len_u64(count);
            let odd = usize_of(end % self.block_align).min(count);
            if odd == 0 || done + count == buf.len() {
                done += count;
            } else if self.size()? <= end {
                return Ok(done + count);
            } else if odd == count {
                return Err(Errno::EIO.into());
            } else {
                done += count - odd;
            }
        }
        Ok(done)
    }

    fn write_at(&self, buf: &[u8], offset: u64, durable: Durable) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        self.engine.write(self.fd.as_fd(), buf, offset, durable)
    }

    fn sync(&self) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        self.engine.sync(self.fd.as_fd())
    }

    /// Never shortens a file.  Where the file system cannot take the room
    /// ahead (EOPNOTSUPP), the file only gets its length, and a write into it
    /// may still find the disk full.
    fn allocate(&self, size: u64) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        let len = off_t(size)?;
        match uninterrupted(|| nix::fcntl::fallocate(&self.fd, FallocateFlags::empty(), 0, len)) {
            Err(Errno::EOPNOTSUPP) if self.size()? < size => {
                Ok(uninterrupted(|| nix::unistd::ftruncate(&self.fd, len))?)
            }
            Err(Errno::EOPNOTSUPP) => Ok(()),
            done => Ok(done?),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        let len = off_t(size)?;
        Ok(uninterrupted(|| nix::unistd::ftruncate(&self.fd, len))?)
    }

    /// A file system that cannot tell answers the file's size.  That is the
    /// safe error: a place wrongly taken for written costs a slower write, one
    /// wrongly taken for unwritten would be filled with zeros over data.
    fn written_until(&self, offset: u64) -> io::Result<u64> {
        let _uncancelled = Uncancelled::begin();
        let size = self.size()?;
        if offset >= size {
            return Ok(size);
        }
        // Moves the descriptor's position, which nothing here uses.
        match nix::unistd::lseek(&self.fd, off_t(offset)?, Whence::SeekHole) {
            Ok(hole) => Ok(u64::try_from(hole).map_or(size, |hole| hole.clamp(offset, size))),
            Err(Errno::ENXIO | Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(size),
            Err(error) => Err(error.into()),
        }
    }

    fn data_from(&self, offset: u64) -> io::Result<u64> {
        let _uncancelled = Uncancelled::begin();
        // Moves the descriptor's position, which nothing here uses.
        match nix::unistd::lseek(&self.fd, off_t(offset)?, Whence::SeekData) {
            Ok(data) => Ok(u64::try_from(data).map_or(offset, |data| data.max(offset))),
            Err(Errno::ENXIO) => self.size(),
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(offset),
            Err(error) => Err(error.into()),
        }
    }

    fn try_lock(&self, byte: LockByte, kind: LockKind) -> io::Result<bool> {
        let kind = match kind {
            LockKind::Shared => libc::F_RDLCK,
            LockKind::Exclusive => libc::F_WRLCK,
        };
        match self.ofd_lock(byte, kind) {
            Ok(()) => {
                self.held.set(byte.bit());
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self, byte: LockByte) -> io::Result<()> {
        self.held.clear(byte.bit());
        Ok(self.ofd_lock(byte, libc::F_UNLCK)?)
    }

    fn map(&self, len: u64) -> io::Result<Mapped> {
        Mapped::new(&self.fd, len)
    }

    fn uncache(&self, offset: u64, len: u64) {
        if let (Ok(offset), Ok(len)) = (off_t(offset), off_t(len)) {
            // An advice: what it is not taken for stays cached.
            let _ = posix_fadvise(&self.fd, offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }

    fn is_locked(&self, byte: LockByte) -> io::Result<bool> {
        // Would this one be in the way of an exclusive lock?  The answer replaces the question.
        let mut lock = ofd_lock_of(byte, libc::F_WRLCK)?;
        uninterrupted(|| fcntl(&self.fd, FcntlArg::F_OFD_GETLK(&mut lock)))?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        for byte in [LockByte::Writer, LockByte::Reader] {
            if self.held.owes(byte.bit()) {
                // On failure closing the descriptor gives it back.
                let _ = self.ofd_lock(byte, libc::F_UNLCK);
            }
        }
    }
}
