//! The system calls of the bench that std does not have.  All `unsafe` is here.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Alignment and size of every direct transfer here.
pub const BLOCK: usize = 4096;
/// Size of the big transfers.
pub const MIB: usize = 1 << 20;

#[repr(C, align(4096))]
#[derive(Clone)]
struct Block([u8; BLOCK]);

/// A buffer that O_DIRECT accepts.
pub struct Aligned(Vec<Block>);

impl Aligned {
    /// `len` bytes (a multiple of [`BLOCK`]) of `fill`.
    pub fn new(len: usize, fill: u8) -> Self {
        assert_eq!(len % BLOCK, 0);
        Aligned(vec![Block([fill; BLOCK]); len / BLOCK])
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.0.len() * BLOCK
    }
}

/// Opens a file for direct transfers; `create` also empties it.
pub fn open_direct(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .truncate(create)
        .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
        .open(path)
}

/// Writes the whole buffer at `offset`; with `dsync` the write is durable on return.
/// A short write is an error.
pub fn write_at(file: &File, buffer: &Aligned, offset: u64, dsync: bool) -> io::Result<()> {
    let piece = libc::iovec { iov_base: buffer.0.as_ptr().cast_mut().cast(), iov_len: buffer.len() };
    let flags = if dsync { libc::RWF_DSYNC } else { 0 };
    // SAFETY: the kernel only reads the iovec and the buffer it names; both live
    // in this frame or longer, and the call returns when it is done with them.
    let n = unsafe { libc::pwritev2(file.as_raw_fd(), &piece, 1, offset as libc::off_t, flags) };
    match usize::try_from(n) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(n) if n != buffer.len() => Err(io::Error::other("short write")),
        Ok(_) => Ok(()),
    }
}

/// Reads into the buffer from `offset`: the number of bytes, 0 at the end.
pub fn read_at(file: &File, buffer: &mut Aligned, offset: u64) -> io::Result<usize> {
    let len = buffer.len();
    let start = buffer.0.as_mut_ptr().cast();
    // SAFETY: `start` points at `len` writable bytes, borrowed mutably until the call returns.
    let n = unsafe { libc::pread(file.as_raw_fd(), start, len, offset as libc::off_t) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Writes out all that the file system of `dir` holds back (syncfs).
pub fn sync_file_system(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    // SAFETY: an open descriptor, which lives longer than the call.
    match unsafe { libc::syncfs(dir.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Processor time of this process, all threads, user and system.
pub fn cpu_time() -> Duration {
    // SAFETY: rusage is plain numbers; all zero is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a writable rusage.
    let rc = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(rc, 0, "getrusage of oneself cannot fail");
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Bytes free for this user on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statvfs is plain numbers; all zero is a value of it.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends in a zero byte, `stat` is writable.
    if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail * stat.f_frsize)
}

/// What cachestat(2) says about one file (Linux 6.5).
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct CacheStat {
    /// Pages in the page cache.
    pub cached: u64,
    /// Of those, changed and not yet written.
    pub dirty: u64,
    /// Of those, being written.
    pub writeback: u64,
    /// Pages dropped.
    pub evicted: u64,
    /// Of those, not long ago.
    pub recently_evicted: u64,
}

/// Pages of `file` in the page cache; ENOSYS where the kernel cannot say.
pub fn cachestat(file: &File) -> io::Result<CacheStat> {
    const SYS_CACHESTAT: libc::c_long = 451;
    let whole_file = [0u64, 0u64]; // struct cachestat_range: offset, length; length 0 = to the end
    let mut stat = CacheStat::default();
    // SAFETY: the kernel reads two u64 and writes five u64, which is what the pointers hold.
    let rc = unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), whole_file.as_ptr(), std::ptr::from_mut(&mut stat), 0u32)
    };
    if rc == 0 {
        Ok(stat)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ends this process when the thread that started it ends, however that comes about.
pub fn die_with_parent() {
    // SAFETY: takes numbers and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Lets this thread's sleeps end when they are due, not up to 50 µs later.
pub fn sleep_precisely() {
    // SAFETY: takes numbers and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// A system call that twal never makes: it parts, in a trace, what comes before from what comes after.
pub fn mark_trace() {
    // SAFETY: takes numbers and touches no memory of ours.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
}

/// The machine's monotonic clock, which all processes share.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec, which is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The CPUs that this process may run on.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: cpu_set_t is plain numbers; all zero is a value of it.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable and as large as it is said to be.
    let rc = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    if rc != 0 {
        return vec![0];
    }
    // SAFETY: below CPU_SETSIZE every number has its bit in the set.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Keeps this thread on one CPU.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: cpu_set_t is plain numbers; all zero is a value of it.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` was checked, so its bit is in the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel reads `set`, which is as large as it is said to be.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
