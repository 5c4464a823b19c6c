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

mod file;

use std::any::Any;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{openat, AtFlags, FallocateFlags, OFlag, RenameFlags};
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use self::file::RealFile;
use super::blocking::{uninterrupted, Blocking, Engine};
use super::cancel::Uncancelled;
use super::descriptors::{Descriptors, Owned};
use super::names::names;
use super::uring::{self, Uring};
use super::{probe, Access, Cache, Dir, Disk, Facts, File, LockKind};
use crate::base::bytes::usize_of;
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
                probe::Refused { why: uring::refusal(&error, sysctl.as_deref()), error }
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
        // Shortening frees the blocks at once, closing would some time later.  ext4 gives them out again only when its
        // journal has committed that they are free.
        room.is_some_and(|room| {
            uninterrupted(|| nix::unistd::ftruncate(&room, 0)).is_ok()
                && uninterrupted(|| nix::unistd::fsync(&room)).is_ok()
        })
    }

    /// Does `change`, if need be in the room that was kept for names.
    fn change_name(&self, change: impl Fn() -> nix::Result<()>) -> io::Result<()> {
        let _uncancelled = Uncancelled::begin();
        let is_full = |done: &nix::Result<()>| matches!(done, Err(Errno::ENOSPC | Errno::EDQUOT));
        let mut done = change();
        if !is_full(&done) {
            return Ok(done?);
        }
        if self.give_room() {
            done = change();
        }
        if is_full(&done) {
            // What somebody else has freed a moment ago is not given out again before it is committed either.
            let _ = nix::unistd::syncfs(&self.fd);
            done = change();
        }
        done?;
        self.keep_room();
        Ok(())
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
