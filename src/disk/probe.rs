//! What the disk under a directory is, and what follows from it.
//!
//! Promises to refuse what cannot keep a durable write's promise, to say what
//! alignment O_DIRECT wants, and to choose engine and durable primitive by the
//! device.  Relies on /proc and /sys only where their silence is the safe
//! answer (an unknown device has a volatile cache).  Writes nothing where a log
//! exists already, so a reader's open never writes and a full disk can be opened.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{openat, OFlag};
use nix::sys::stat::Mode;

use super::blocking::uninterrupted;
use super::names::names;
use crate::base::options::IoEngine;

/// An error that upper layers answer with TWAL_E_UNSUPPORTED: its kind is
/// `Unsupported`, it carries no errno, its text names the policy or the lack.
pub(super) fn unsupported(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text.into())
}

// ---- the file system

/// The file system that holds a directory.
pub(super) struct FileSystem {
    /// As /proc/self/mountinfo calls it: "ext4", "fuse.sshfs".
    pub(super) name: String,
    /// Why it cannot keep a durable write's promise.
    pub(super) objection: Option<&'static str>,
}

/// File systems by the number that statfs gives.  The name is for machines
/// where mountinfo does not tell; the objection is why a log must not be there.
const KNOWN: &[(u64, &str, Option<&str>)] = &[
    (0xef53, "ext4", None),
    (0x5846_5342, "xfs", None),
    (0x9123_683e, "btrfs", None),
    (0xf2f5_2010, "f2fs", None),
    (0xca45_1a4e, "bcachefs", None),
    (0x2fc1_2fc1, "zfs", None),
    (OVERLAY, "overlay", None),
    (0x0102_1994, "tmpfs", MEMORY),
    (0x8584_58f6, "ramfs", MEMORY),
    (0x9584_58f6, "hugetlbfs", MEMORY),
    (0x6573_5546, "fuse", USER_SPACE),
    (0x6969, "nfs", NETWORK),
    (0x517b, "smb", NETWORK),
    (0xff53_4d42, "cifs", NETWORK),
    (0xfe53_4d42, "smb2", NETWORK),
    (0x5346_414f, "afs", NETWORK),
    (0x6b41_4653, "afs", NETWORK),
    (0x00c3_6400, "ceph", NETWORK),
    (0x0102_1997, "9p", NETWORK),
    (0x7375_7245, "coda", NETWORK),
    (0x564c, "ncp", NETWORK),
    (0x0bd0_0bd0, "lustre", NETWORK),
    (0x1983_0326, "beegfs", NETWORK),
    (0x4750_4653, "gpfs", NETWORK),
    (0x2003_0528, "orangefs", NETWORK),
    (0x786f_4256, "vboxsf", NETWORK),
    (0x00c0_ffee, "hostfs", NETWORK),
    (0xbacb_acbc, "vmhgfs", NETWORK),
    (0x7c7c_6673, "prl_fs", NETWORK),
    (0x5346_4846, "wslfs", NETWORK),
    (0xaad7_aaea, "panfs", NETWORK),
    (0xbeef_dead, "snfs", NETWORK),
    (0x9fa0, "proc", NO_FILES),
    (0x6265_6572, "sysfs", NO_FILES),
    (0x6265_6570, "configfs", NO_FILES),
    (0x6462_6720, "debugfs", NO_FILES),
    (0x7472_6163, "tracefs", NO_FILES),
    (0x0027_e0eb, "cgroup", NO_FILES),
    (0x6367_7270, "cgroup2", NO_FILES),
];
const OVERLAY: u64 = 0x794c_7630;
const NETWORK: Option<&str> = Some("it is a network or host file system: a flush here is not a flush on the device");
const USER_SPACE: Option<&str> = Some("its flushes end in a user-space program (FUSE)");
const MEMORY: Option<&str> = Some("it is kept in memory");
const NO_FILES: Option<&str> = Some("it shows what the kernel knows, and keeps no files");
const VOLATILE: &str = "it is an overlay mounted `volatile`: its flushes do nothing";
const UNKNOWN_OVERLAY: &str = "it is an overlay, and /proc/self/mountinfo does not say whether it is `volatile`";

/// A file system as a verdict.  `mount` is its type and options from mountinfo.
fn file_system_of(magic: u64, mount: Option<(&str, &str)>) -> FileSystem {
    let known = KNOWN.iter().find(|known| known.0 == magic);
    let name = match (mount, known) {
        (Some((name, _)), _) => name.to_string(),
        (None, Some(known)) => known.1.to_string(),
        (None, None) => format!("file system {magic:#x}"),
    };
    let objection = match (known.and_then(|known| known.2), mount) {
        (None, Some((_, options))) if magic == OVERLAY => {
            options.split(',').any(|option| option == "volatile" || option == "fsync=volatile").then_some(VOLATILE)
        }
        (None, None) if magic == OVERLAY => Some(UNKNOWN_OVERLAY),
        (objection, _) => objection,
    };
    FileSystem { name, objection }
}

/// Type and super block options of mount `id` in the text of mountinfo.
fn mount_of(mountinfo: &str, id: u64) -> Option<(&str, &str)> {
    let line = mountinfo.lines().find(|line| line.split(' ').next().and_then(|word| word.parse().ok()) == Some(id))?;
    let mut words = line.split_once(" - ")?.1.split(' ');
    let name = words.next()?;
    Some((name, words.nth(1)?))
}

/// The mount that an open descriptor is on, from its text in /proc/self/fdinfo.
fn mount_id(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// A file of /proc; empty where there is none, or none for us.  Being short of descriptors must not pass for that:
/// an overlay would be refused for good.
fn proc_text(path: &str) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if is_shortage(&error) => Err(error),
        read => Ok(read.unwrap_or_default()),
    }
}

/// Whether what failed can succeed as soon as somebody closes a file.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The file system that holds `dir`; an error if it is refused.
pub(super) fn file_system(dir: BorrowedFd<'_>, allow_any: bool) -> io::Result<FileSystem> {
    let magic = u64::try_from(nix::sys::statfs::fstatfs(dir)?.filesystem_type().0).unwrap_or(0);
    let mountinfo = proc_text("/proc/self/mountinfo")?;
    let fdinfo = proc_text(&format!("/proc/self/fdinfo/{}", dir.as_raw_fd()))?;
    let found = file_system_of(magic, mount_id(&fdinfo).and_then(|id| mount_of(&mountinfo, id)));
    match found.objection {
        Some(objection) if !allow_any => Err(unsupported(format!(
            "{} cannot keep the promise of a durable write: {objection} (allow_any_fs accepts it all the same)",
            found.name
        ))),
        _ => Ok(found),
    }
}

// ---- the device

/// What a device's cache does with a write that is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// No volatile cache: a completed write is durable.
    WriteThrough,
    /// Volatile, and single writes can be forced through.
    VolatileFua,
    /// Volatile; only a flush of all of it makes anything durable.
    Volatile,
    /// Not found out; taken for volatile.
    Unknown,
}

impl Cache {
    /// As texts say it.
    pub fn text(self) -> &'static str {
        match self {
            Cache::WriteThrough => "the device's cache is write-through",
            Cache::VolatileFua => "the device has a volatile cache and FUA",
            Cache::Volatile => "the device has a volatile cache and no FUA",
            Cache::Unknown => "the device's cache is unknown, so taken for volatile without FUA",
        }
    }
}

/// The cache as sysfs describes it in queue/write_cache and queue/fua.
fn cache_of(write_cache: Option<&str>, fua: Option<&str>) -> Cache {
    match (write_cache.map(str::trim), fua.map(str::trim)) {
        (Some("write through"), _) => Cache::WriteThrough,
        (Some("write back"), Some("1")) => Cache::VolatileFua,
        (Some("write back"), _) => Cache::Volatile,
        _ => Cache::Unknown,
    }
}

/// The cache of the device that holds `dir`.  A partition has its disk's; a
/// file system with a device number of its own (btrfs, overlay) is unknown.
pub(super) fn cache(dir: BorrowedFd<'_>) -> Cache {
    let Ok(stat) = nix::sys::stat::fstat(dir) else { return Cache::Unknown };
    let (major, minor) = (nix::sys::stat::major(stat.st_dev), nix::sys::stat::minor(stat.st_dev));
    let Ok(device) = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else { return Cache::Unknown };
    let disk = match device.parent() {
        Some(parent) if device.join("partition").exists() => PathBuf::from(parent),
        _ => device,
    };
    let read = |name: &str| std::fs::read_to_string(disk.join("queue").join(name)).ok();
    cache_of(read("write_cache").as_deref(), read("fua").as_deref())
}

// ---- the choice

/// How a write is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Primitive {
    /// The write carries RWF_DSYNC.
    WriteDsync,
    /// A plain write linked to a flush.
    WriteThenFlush,
}

/// The engine and primitive chosen, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice<R> {
    /// The rings; None: the blocking engine.
    pub(super) rings: Option<R>,
    /// One sentence.
    pub(super) reason: String,
}

/// Why io_uring cannot be had.
pub(super) struct Refused {
    /// For people.
    pub(super) why: String,
    /// What the kernel answered.
    pub(super) error: io::Error,
}

impl Refused {
    /// What was asked for by name is unsupported, unless it can be had as soon as somebody closes a file.
    fn into_error(self) -> io::Error {
        match is_shortage(&self.error) {
            true => self.error,
            false => unsupported(self.why),
        }
    }
}

/// Chooses by what was asked for and the device's cache; `rings` tries to set
/// io_uring up, or says why it cannot be had.
///
/// | asked | cache | io_uring | engine, primitive |
/// |---|---|---|---|
/// | blocking | any | not tried | blocking, RWF_DSYNC |
/// | io_uring | write-through or FUA | yes | io_uring, RWF_DSYNC |
/// | io_uring | volatile or unknown | yes | io_uring, write linked to flush |
/// | io_uring | any | no | refused; short of descriptors: that error |
/// | auto | volatile or unknown | any | blocking, RWF_DSYNC |
/// | auto | write-through or FUA | yes | io_uring, RWF_DSYNC |
/// | auto | write-through or FUA | no | blocking, RWF_DSYNC |
///
/// Without FUA an asynchronous RWF_DSYNC write is flushed by a kernel worker
/// bound to one CPU; where that is busy, a write takes a scheduler tick
/// (measured: 4 ms instead of 56 µs).  On the calling thread it does not.
pub(super) fn choose<R>(
    asked: IoEngine,
    cache: Cache,
    rings: impl FnOnce(Primitive) -> Result<R, Refused>,
) -> io::Result<Choice<R>> {
    let forced = matches!(cache, Cache::WriteThrough | Cache::VolatileFua);
    let device = cache.text();
    let blocking =
        |why: String| Choice { rings: None, reason: format!("blocking, pwritev2 with RWF_DSYNC: {why}; {device}") };
    match asked {
        IoEngine::Blocking => Ok(blocking("asked for".into())),
        // Not the first choice here; but whoever wonders is told if it could not even be chosen.
        IoEngine::Auto if !forced => Ok(blocking(match rings(Primitive::WriteThenFlush) {
            Ok(_) => "the fastest on such a device".into(),
            Err(refused) => refused.why,
        })),
        IoEngine::Auto | IoEngine::Uring => {
            let (primitive, how) = match forced {
                true => (Primitive::WriteDsync, "write with RWF_DSYNC"),
                false => (Primitive::WriteThenFlush, "write linked to a flush"),
            };
            match rings(primitive) {
                Ok(rings) => Ok(Choice { rings: Some(rings), reason: format!("io_uring, {how}: {device}") }),
                Err(refused) if asked == IoEngine::Auto => Ok(blocking(refused.why)),
                Err(refused) => Err(refused.into_error()),
            }
        }
    }
}

// ---- alignment

/// What reads and writes must be aligned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alignment {
    /// Offsets and lengths.
    pub(super) block: u32,
    /// Addresses.
    pub(super) mem: u32,
    /// Whether O_DIRECT works; without it, both are 1.
    pub(super) direct: bool,
}

/// Where nobody says, what every block device takes.
const USUAL: Alignment = Alignment { block: 4096, mem: 4096, direct: true };
const BUFFERED: Alignment = Alignment { block: 1, mem: 1, direct: false };

/// Finds the alignment for files of `dir`.  With `may_create` and no file of a
/// log there, asks a scratch file; without, assumes what is usual.
pub(super) fn alignment(dir: BorrowedFd<'_>, may_create: bool) -> io::Result<Alignment> {
    if let Some((file, name)) = existing(dir)? {
        return Ok(stated(&file).unwrap_or_else(|| by_reading(dir, &name)));
    }
    match may_create {
        true => by_writing(dir),
        false => Ok(USUAL),
    }
}

/// Some regular file of a log in `dir`.
fn existing(dir: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, CString)>> {
    for name in names(dir)? {
        if !name.to_bytes().starts_with(b"twal-") {
            continue;
        }
        // O_PATH: a name to ask about, whatever it is and whoever may read it.
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let Ok(file) = uninterrupted(|| openat(dir, name.as_c_str(), flags, Mode::empty())) else { continue };
        if nix::sys::stat::fstat(&file)?.st_mode & libc::S_IFMT == libc::S_IFREG {
            return Ok(Some((file, name)));
        }
    }
    Ok(None)
}

/// What statx says; None if this kernel or file system says nothing.
fn stated(file: &OwnedFd) -> Option<Alignment> {
    // SAFETY: all zeros is a value of this struct of integers.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, the empty path is a constant, and `stat`
    // is writable for the kernel during the call.
    let answer = unsafe {
        libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &raw mut stat)
    };
    if answer != 0 || stat.stx_mask & libc::STATX_DIOALIGN == 0 {
        return None;
    }
    Some(match (stat.stx_dio_offset_align, stat.stx_dio_mem_align) {
        (0, _) | (_, 0) => BUFFERED, // "not supported on this file"
        (block, mem) => Alignment { block, mem, direct: true },
    })
}

/// A block in memory, aligned for any device's direct I/O.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Tries a direct read of a file that is there.  Any failure but "no O_DIRECT"
/// will come again, and be reported, where the file is really read.
fn by_reading(dir: BorrowedFd<'_>, name: &CString) -> Alignment {
    let mut block = Block([0; 4096]);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECT | OFlag::O_CLOEXEC;
    let read = uninterrupted(|| openat(dir, name.as_c_str(), flags, Mode::empty()))
        .and_then(|file| uninterrupted(|| nix::sys::uio::pread(&file, &mut block.0, 0)));
    match read {
        Err(Errno::EINVAL) => BUFFERED,
        _ => USUAL,
    }
}

/// Asks a scratch file, and writes one block to it if statx says nothing.
fn by_writing(dir: BorrowedFd<'_>) -> io::Result<Alignment> {
    let scratch = match Scratch::new(dir, OFlag::O_DIRECT) {
        Ok(scratch) => scratch,
        Err(Errno::EINVAL) => return Ok(BUFFERED),
        Err(error) => return Err(error.into()),
    };
    if let Some(stated) = stated(&scratch.file) {
        return Ok(stated);
    }
    match uninterrupted(|| nix::sys::uio::pwrite(&scratch.file, &Block([0; 4096]).0, 0)) {
        Ok(4096) => Ok(USUAL),
        Ok(_) => Err(Errno::EIO.into()),
        Err(Errno::EINVAL) => Ok(BUFFERED),
        Err(error) => Err(error.into()),
    }
}

/// A file that is gone when this is dropped.
struct Scratch<'d> {
    dir: BorrowedFd<'d>,
    file: OwnedFd,
    /// None: it never had a name.
    name: Option<String>,
}

impl<'d> Scratch<'d> {
    /// Without a name where the file system can (nothing is left behind even if
    /// the process is killed), else named `.twal-probe-…`.
    fn new(dir: BorrowedFd<'d>, extra: OFlag) -> nix::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | extra;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        match uninterrupted(|| openat(dir, Path::new("."), flags | OFlag::O_TMPFILE, mode)) {
            Ok(file) => return Ok(Scratch { dir, file, name: None }),
            // EISDIR, ENOENT: a kernel or file system without O_TMPFILE, or
            // EINVAL: without O_DIRECT.  A named file tells which.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => {}
            Err(error) => return Err(error),
        }
        for attempt in 0.. {
            let name = format!(".twal-probe-{}-{attempt}", std::process::id());
            match uninterrupted(|| openat(dir, name.as_str(), flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)) {
                Ok(file) => return Ok(Scratch { dir, file, name: Some(name) }),
                Err(Errno::EEXIST) if attempt < 100 => {}
                Err(error) => {
                    if error == Errno::EINVAL {
                        // Older kernels leave the name behind when they refuse O_DIRECT.
                        let _ = nix::unistd::unlinkat(dir, name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir);
                    }
                    return Err(error);
                }
            }
        }
        Err(Errno::EEXIST)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // A leftover is harmless: its name is not a log's.
            let _ = nix::unistd::unlinkat(self.dir.as_fd(), name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_cannot_keep_the_promise_are_refused() {
        let cases = [
            (0xef53, Some(("ext4", "rw")), "ext4", None),
            (0xef53, None, "ext4", None),
            (0x1234, None, "file system 0x1234", None),
            (0x0102_1994, Some(("tmpfs", "rw,size=4k")), "tmpfs", MEMORY),
            (0x6573_5546, Some(("fuse.sshfs", "rw")), "fuse.sshfs", USER_SPACE),
            (0x6573_5546, Some(("virtiofs", "rw")), "virtiofs", USER_SPACE),
            (0x6969, Some(("nfs4", "rw")), "nfs4", NETWORK),
            (0x6969, None, "nfs", NETWORK),
            (0x517b, None, "smb", NETWORK),
            (0xff53_4d42, Some(("cifs", "rw")), "cifs", NETWORK),
            (0xfe53_4d42, Some(("cifs", "rw")), "cifs", NETWORK),
            (0xfe53_4d42, None, "smb2", NETWORK),
            (0x0102_1997, Some(("9p", "rw,trans=virtio")), "9p", NETWORK),
            (0x00c3_6400, None, "ceph", NETWORK),
            (0x5346_414f, None, "afs", NETWORK),
            (0x6b41_4653, None, "afs", NETWORK),
            (0x7375_7245, None, "coda", NETWORK),
            (0x564c, None, "ncp", NETWORK),
            (0x0bd0_0bd0, None, "lustre", NETWORK),
            (0x1983_0326, None, "beegfs", NETWORK),
            (0x786f_4256, None, "vboxsf", NETWORK),
            (0xbacb_acbc, None, "vmhgfs", NETWORK),
            (0x6573_5546, None, "fuse", USER_SPACE),
            (0x8584_58f6, None, "ramfs", MEMORY),
            (0x9584_58f6, None, "hugetlbfs", MEMORY),
            (0x9fa0, Some(("proc", "rw")), "proc", NO_FILES),
            (0x6265_6572, None, "sysfs", NO_FILES),
            (0x5846_5342, Some(("xfs", "rw")), "xfs", None),
            (0x9123_683e, Some(("btrfs", "rw")), "btrfs", None),
            (OVERLAY, Some(("overlay", "rw,upperdir=/u,fsync=volatile")), "overlay", Some(VOLATILE)),
            (OVERLAY, Some(("overlay", "rw,lowerdir=/l,upperdir=/u,workdir=/w")), "overlay", None),
            (OVERLAY, Some(("overlay", "rw,lowerdir=/l,upperdir=/u,workdir=/w,volatile")), "overlay", Some(VOLATILE)),
            (OVERLAY, Some(("overlay", "rw,upperdir=/volatile")), "overlay", None),
            (OVERLAY, None, "overlay", Some(UNKNOWN_OVERLAY)),
        ];
        for (magic, mount, name, objection) in cases {
            let found = file_system_of(magic, mount);
            assert_eq!((found.name.as_str(), found.objection), (name, objection), "{magic:#x} {mount:?}");
        }
    }

    #[test]
    fn a_mount_is_found_by_its_id() {
        let text = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw,discard\n\
                    2 21 0:30 /a\\040b /mnt rw,noatime - overlay none rw,lowerdir=/x,volatile\n\
                    3 21 broken\n";
        assert_eq!(mount_of(text, 21), Some(("ext4", "rw,discard")));
        assert_eq!(mount_of(text, 2), Some(("overlay", "rw,lowerdir=/x,volatile")));
        assert_eq!(mount_of(text, 3), None);
        assert_eq!(mount_of(text, 1), None);
    }

    #[test]
    fn silence_about_the_cache_is_never_safety() {
        assert_eq!(cache_of(Some("write through\n"), Some("0\n")), Cache::WriteThrough);
        assert_eq!(cache_of(Some("write back\n"), Some("1\n")), Cache::VolatileFua);
        assert_eq!(cache_of(Some("write back\n"), Some("0\n")), Cache::Volatile);
        assert_eq!(cache_of(Some("write back\n"), None), Cache::Volatile);
        assert_eq!(cache_of(None, Some("1\n")), Cache::Unknown);
        assert_eq!(cache_of(Some("novel"), Some("1")), Cache::Unknown);
    }

    /// Every combination of the table above `choose`.
    #[test]
    fn the_engine_is_chosen_by_the_table() {
        use Cache::{Unknown, Volatile, VolatileFua, WriteThrough};
        use IoEngine::{Auto, Blocking, Uring};
        #[derive(Debug, PartialEq)]
        enum Got {
            Blocked,
            Rings(Primitive),
            Refused,
        }
        for asked in [Auto, Uring, Blocking] {
            for cache in [WriteThrough, VolatileFua, Volatile, Unknown] {
                for available in [true, false] {
                    let forced = matches!(cache, WriteThrough | VolatileFua);
                    let expected = match (asked, forced, available) {
                        (Blocking, _, _) | (Auto, false, _) | (Auto, true, false) => Got::Blocked,
                        (Auto | Uring, true, true) => Got::Rings(Primitive::WriteDsync),
                        (Uring, false, true) => Got::Rings(Primitive::WriteThenFlush),
                        (Uring, _, false) => Got::Refused,
                    };
                    let choice = choose(asked, cache, |primitive| {
                        let error = io::Error::from_raw_os_error(libc::EPERM);
                        available.then_some(primitive).ok_or(Refused { why: "POLICY".into(), error })
                    });
                    let (got, text) = match choice {
                        Ok(Choice { rings: Some(primitive), reason }) => (Got::Rings(primitive), reason),
                        Ok(Choice { rings: None, reason }) => (Got::Blocked, reason),
                        Err(error) => {
                            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
                            (Got::Refused, error.to_string())
                        }
                    };
                    assert_eq!(got, expected, "{asked:?} {cache:?} {available}");
                    let policy_matters = got == Got::Refused || (asked == Auto && !available);
                    assert_eq!(text.contains("POLICY"), policy_matters, "{text}");
                }
            }
        }
    }

    #[test]
    fn this_kernel_says_what_direct_io_wants() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = std::fs::File::open(path).unwrap();
        let found = alignment(dir.as_fd(), true).unwrap();
        assert!(found.block.is_power_of_two() && found.mem.is_power_of_two(), "{found:?}");
        let left = std::fs::read_dir(path).unwrap().filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(".twal-probe-"))
        });
        assert_eq!(left.count(), 0);
    }
}
