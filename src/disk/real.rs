//! The machine's disk: directories and files as Linux gives them, whichever
//! engine moves the bytes.
//!
//! Promises what [`Disk`], [`Dir`] and [`File`] say; that every descriptor is
//! close-on-exec and bypasses the page cache ([`Facts::direct`]); and that
//! nothing is created where `probe.rs` refuses the file system.  Relies on
//! callers for alignment.  Leaves to them: names, locks' meaning, the order of
//! flushes, and never calling anything here in a forked child but drop.
//!
//! Where a durable write's promise cannot be kept, or an engine asked for by
//! name is not to be had, the error's kind is [`io::ErrorKind::Unsupported`],
//! it carries no errno, and its text names the reason.

use std::any::Any;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{fcntl, openat, posix_fadvise, PosixFadviseAdvice};
use nix::fcntl::{AtFlags, FallocateFlags, FcntlArg, OFlag, RenameFlags};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, Whence};

use super::blocking::{off_t, uninterrupted, Blocking, Engine, Patience};
use super::cancel::Uncancelled;
use super::descriptors::{Descriptors, Owned};
use super::names::names;
use super::uring::{self, Uring};
use super::{probe, Access, Cache, Dir, Disk, Durable, Facts, File, LockByte, LockKind, Mapped};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::limits;
use crate::base::options::IoEngine;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The machine's files, through one engine.
#[derive(Debug, Clone)]
pub struct RealDisk {
    asked: IoEngine,
    allow_any_fs: bool,
    allow_buffered: bool,
}

impl RealDisk {
    /// A disk that opens directories with the engine `asked` for.  The flags
    /// are [`crate::base::options::Options`]' of the same names.
    pub fn new(asked: IoEngine, allow_any_fs: bool, allow_buffered: bool) -> Self {
        RealDisk { asked, allow_any_fs, allow_buffered }
    }

    /// What an open directory's disk can do, and the engine for its files.
    fn probe(&self, dir: BorrowedFd<'_>, create: bool) -> io::Result<(Facts, Arc<dyn Engine>)> {
        let file_system = probe::file_system(dir, self.allow_any_fs)?;
        let alignment = probe::alignment(dir, create)?;
        if !alignment.direct && !self.allow_buffered {
            return Err(no_direct_io(&file_system.name));
        }
        let block = usize_of(alignment.block.into());
        let cache = probe::cache(dir);
        let choice = self.choose(cache, block)?;
        let (name, engine): (_, Arc<dyn Engine>) = match choice.rings {
            Some(rings) => ("io_uring", Arc::new(rings)),
            None => ("blocking", Arc::new(Blocking::new(block))),
        };
        let facts = Facts {
            engine: name,
            reason: choice.reason,
            cache,
            file_system: file_system.name,
            block_align: alignment.block,
            mem_align: alignment.mem,
            direct: alignment.direct,
            read_ahead: true,
        };
        Ok((facts, engine))
    }

    fn choose(&self, cache: Cache, block: usize) -> io::Result<probe::Choice<Uring>> {
        probe::choose(self.asked, cache, |primitive| {
            Uring::new(block, primitive).map_err(|error| {
                let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
                uring::refusal(&error, sysctl.as_deref())
            })
        })
    }
}

fn no_direct_io(file_system: &str) -> io::Error {
    probe::unsupported(format!("{file_system} has no direct I/O here (allow_buffered accepts it all the same)"))
}

impl Disk for RealDisk {
    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Dir>> {
        let _uncancelled = Uncancelled::begin();
        let fd = match uninterrupted(|| nix::fcntl::open(path, DIRECTORY, Mode::empty())) {
            Ok(fd) => {
                if create {
                    sync_parent_of(fd.as_fd())?;
                }
                fd
            }
            Err(Errno::ENOENT) if create => self.create_dir(path)?,
            Err(error) => return Err(error.into()),
        };
        let all = Descriptors::new();
        let (facts, engine) = self.probe(fd.as_fd(), create)?;
        engine.note_descriptors(&all);
        let fd = Owned::new(fd, &all);
        let dir = RealDir {
            fd,
            all,
            facts,
            engine,
            allow_buffered: self.allow_buffered,
            held: Held::new(),
            room: Mutex::new(None),
        };
        Ok(Arc::new(dir))
    }
}

impl RealDisk {
    /// Makes the last component of `path` and flushes the directory it is in.
    fn create_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::ENOENT.into()) };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let parent = uninterrupted(|| nix::fcntl::open(parent, DIRECTORY, Mode::empty()))?;
        // Before anything is created: what refuses leaves everything as it was.
        probe::file_system(parent.as_fd(), self.allow_any_fs)?;
        self.choose(probe::cache(parent.as_fd()), limits::BLOCK_SIZE_DEFAULT as usize)?;
        match nix::sys::stat::mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let dir = uninterrupted(|| openat(&parent, name, DIRECTORY, Mode::empty()))?;
        fsync(parent.as_fd())?;
        Ok(dir)
    }
}

/// Flushes the directory that an existing directory is in: whoever created it
/// (a caller, or an open that was killed) may not have.  Whoever may not open
/// the parent did not create anything in it, and where the parent cannot be
/// flushed at all (EINVAL: a read-only image with a mount point in it) nothing
/// was created either.
fn sync_parent_of(dir: BorrowedFd<'_>) -> io::Result<()> {
    let parent = match uninterrupted(|| openat(dir, "..", DIRECTORY, Mode::empty())) {
        Ok(parent) => parent,
        Err(Errno::EACCES | Errno::EPERM) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match fsync(parent.as_fd()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        done => done,
    }
}

/// No answer but success is taken for one: EROFS above all may mean that the
/// file system shut itself down.
fn fsync(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(uninterrupted(|| nix::unistd::fsync(fd))?)
}

/// Whether the directory `path`, or its parent if it is missing, is `top` or lies below it.
fn is_below(path: &Path, top: BorrowedFd<'_>) -> nix::Result<bool> {
    let flags = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
    let open = |path: &Path| uninterrupted(|| nix::fcntl::open(path, flags, Mode::empty()));
    let identity = |fd: BorrowedFd<'_>| nix::sys::stat::fstat(fd).map(|about| (about.st_dev, about.st_ino));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut at = match open(path) {
        Err(Errno::ENOENT) => open(parent)?,
        opened => opened?,
    };
    loop {
        let here = identity(at.as_fd())?;
        if here == identity(top)? {
            return Ok(true);
        }
        let above = uninterrupted(|| openat(&at, "..", flags, Mode::empty()))?;
        if identity(above.as_fd())? == here {
            return Ok(false);
        }
        at = above;
    }
}

// ---- locks that this descriptor holds

const DIRECTORY_BIT: u8 = 4;

/// Which locks are held, so that dropping gives them back at once, though a
/// kernel worker or a forked child may keep the open file itself a little
/// longer.  A child that drops its copy holds none: the locks are its parent's.
struct Held {
    /// Relaxed: publishes nothing; whoever drops has the object for itself.
    bits: AtomicU8,
    process: u32,
}

impl Held {
    fn new() -> Self {
        Held { bits: AtomicU8::new(0), process: std::process::id() }
    }

    fn set(&self, bit: u8) {
        self.bits.fetch_or(bit, Ordering::Relaxed);
    }

    fn clear(&self, bit: u8) {
        self.bits.fetch_and(!bit, Ordering::Relaxed);
    }

    /// Whether dropping has to give the lock back.
    fn owes(&mut self, bit: u8) -> bool {
        *self.bits.get_mut() & bit != 0 && self.process == std::process::id()
    }
}

// ---- a directory

/// See [`Dir`].
struct RealDir {
    fd: Owned,
    all: Arc<Descriptors>,
    facts: Facts,
    engine: Arc<dyn Engine>,
    allow_buffered: bool,
    held: Held,
    /// A file without a name that only takes room: given back when a rename finds none.
    room: Mutex<Option<Owned>>,
}

/// What it takes: a directory that outgrows its place needs a few blocks.
const ROOM: libc::off_t = 256 << 10;

impl RealDir {
    /// Gives the kept room back; false: there was none.
    fn give_room(&self) -> bool {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Shortening frees the blocks at once, closing would some time later.
        room.is_some_and(|room| uninterrupted(|| nix::unistd::ftruncate(&room, 0)).is_ok())
    }

    /// Does `change`, if need be in the room that was kept for names.
    fn change_name(&self, change: impl Fn() -> nix::Result<()>) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        match change() {
            Err(Errno::ENOSPC | Errno::EDQUOT) if self.give_room() => {
                change()?;
                self.keep_room();
                Ok(())
            }
            done => Ok(done?),
        }
    }

    /// Takes `from` out of `dir` and in here as `to`.
    fn rename_from(&self, dir: &Owned, from: &str, to: &str) -> nix::Result<()> {
        match nix::fcntl::renameat2(dir, from, &self.fd, to, RenameFlags::RENAME_NOREPLACE) {
            // The file system cannot exclude: look first.  The directory's lock
            // keeps other writers, the only ones who make such names, away.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                if self.exists(to)? {
                    return Err(Errno::EEXIST);
                }
                nix::fcntl::renameat(dir, from, &self.fd, to)
            }
            done => done,
        }
    }

    fn open_file(&self, name: &str, flags: OFlag) -> io::Result<RealFile> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let direct = if self.facts.direct { OFlag::O_DIRECT } else { OFlag::empty() };
        let open = |flags| uninterrupted(|| openat(&self.fd, name, flags, mode));
        let fd = match open(flags | direct) {
            // An existing directory without any file was not asked for O_DIRECT.
            Err(Errno::EINVAL) if self.facts.direct && self.allow_buffered => open(flags)?,
            Err(Errno::EINVAL) if self.facts.direct => return Err(no_direct_io(&self.facts.file_system)),
            opened => opened?,
        };
        let block_align = u64::from(self.facts.block_align);
        let fd = Owned::new(fd, &self.all);
        Ok(RealFile { fd, engine: Arc::clone(&self.engine), block_align, held: Held::new() })
    }

    /// Only a file is opened: a symbolic link leads elsewhere, and opening a FIFO may wait for ever.
    fn check_is_file(&self, name: &str) -> io::Result<()> {
        let about = nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if about.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Errno::ELOOP.into());
        }
        Ok(())
    }

    fn exists(&self, name: &str) -> nix::Result<bool> {
        match nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn flock(&self, operation: libc::c_int) -> io::Result<()> {
        // SAFETY: takes no pointer, and the descriptor is open while `self` is.
        uninterrupted(|| Errno::result(unsafe { libc::flock(self.fd.as_raw_fd(), operation) }))?;
        Ok(())
    }
}

impl Dir for RealDir {
    fn list(&self) -> io::Result<Vec<String>> {
        let _uncancelled = Uncancelled::begin();
        // A name that is not UTF-8 is not ours.
        Ok(names(self.fd.as_fd())?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let _uncancelled = Uncancelled::begin();
        let file = self.open_file(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL)?;
        if self.facts.file_system == "btrfs" {
            file.never_copy();
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let _uncancelled = Uncancelled::begin();
        self.check_is_file(name)?;
        let flags = match access {
            Access::Read => OFlag::O_RDONLY,
            Access::Write => OFlag::O_RDWR,
        };
        Ok(Arc::new(self.open_file(name, flags)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change_name(|| self.rename_from(&self.fd, from, to))
    }

    fn replace(&self, from: &str, over: &str) -> io::Result<()> {
        self.change_name(|| {
            if !self.exists(over)? {
                return Err(Errno::ENOENT);
            }
            nix::fcntl::renameat(&self.fd, from, &self.fd, over)
        })
    }

    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        match self.change_name(|| nix::fcntl::renameat2(&self.fd, one, &self.fd, other, RenameFlags::RENAME_EXCHANGE)) {
            // Nothing does the same in two steps: in between one of the names would be missing.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => {
                Err(probe::unsupported(format!("{} cannot swap two names", self.facts.file_system)))
            }
            done => done,
        }
    }

    fn move_to(&self, name: &str, to: &dyn Dir, new: &str) -> io::Result<()> {
        let Some(to) = (to as &dyn Any).downcast_ref::<RealDir>() else { return Err(Errno::EXDEV.into()) };
        self.change_name(|| to.rename_from(&self.fd, name, new))
    }

    fn keep_room(&self) -> bool {
        let _uncancelled = Uncancelled::begin();
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.is_some() {
            return true;
        }
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let taken = uninterrupted(|| openat(&self.fd, ".", flags, Mode::S_IRUSR | Mode::S_IWUSR)).and_then(|file| {
            uninterrupted(|| nix::fcntl::fallocate(&file, FallocateFlags::empty(), 0, ROOM))?;
            Ok(file)
        });
        let full = matches!(taken, Err(Errno::ENOSPC | Errno::EDQUOT));
        *room = taken.ok().map(|file| Owned::new(file, &self.all));
        !full
    }

    fn give_room(&self) -> bool {
        let _uncancelled = Uncancelled::begin();
        RealDir::give_room(self)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        Ok(nix::unistd::unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }

    fn sync(&self) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        fsync(self.fd.as_fd())
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let operation = match kind {
            LockKind::Shared => libc::LOCK_SH,
            LockKind::Exclusive => libc::LOCK_EX,
        };
        match self.flock(operation | libc::LOCK_NB) {
            Ok(()) => {
                self.held.set(DIRECTORY_BIT);
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.held.clear(DIRECTORY_BIT);
        self.flock(libc::LOCK_UN)
    }

    fn is_around(&self, path: &Path) -> bool {
        let _uncancelled = Uncancelled::begin();
        is_below(path, self.fd.as_fd()).unwrap_or(false)
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn abandon(&self) {
        self.all.close_all_in_child();
    }
}

impl Drop for RealDir {
    fn drop(&mut self) {
        if self.held.owes(DIRECTORY_BIT) {
            // On failure closing the descriptor gives it back.
            let _ = self.flock(libc::LOCK_UN);
        }
    }
}

// ---- a file

/// See [`File`].
struct RealFile {
    fd: Owned,
    engine: Arc<dyn Engine>,
    block_align: u64,
    held: Held,
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
    fn never_copy(&self) {
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
