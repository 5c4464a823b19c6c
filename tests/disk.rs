//! The door to the disk, on a real directory: one suite over both engines.
//!
//! Goal: what `twal::disk`'s traits promise holds for each engine alike.
//! Method: every test body takes an engine; `both` runs it on a fresh directory
//! with each.  What needs a process of its own (limits, filters) runs this very
//! program again with a variable set.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use twal::base::options::IoEngine;
use twal::disk::real::RealDisk;
use twal::disk::{Access, Dir, Disk, Durable, LockByte, LockKind};

const BLOCK: usize = 4096;

/// Linux 6.5, the same number on every architecture.
const CACHESTAT: libc::c_long = 451;

/// Bytes at an address that direct I/O takes.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn filled(len: usize, byte: u8) -> Self {
        let bytes = vec![byte; len + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK);
        Aligned { bytes, start, len }
    }
}

impl Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// Where block `index` begins.
fn at(index: usize) -> u64 {
    u64::try_from(index * BLOCK).unwrap()
}

fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}-{}", std::process::id()));
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => path,
    }
}

/// The build directory may be on any file system; the promise is not tested here.
fn open(engine: IoEngine, path: &Path) -> io::Result<Arc<dyn Dir>> {
    RealDisk::new(engine, true, true).open_dir(path, true)
}

fn both(name: &str, test: fn(&dyn Dir, &Path)) {
    for engine in [IoEngine::Blocking, IoEngine::Uring] {
        let path = fresh(&format!("{name}-{engine:?}"));
        match open(engine, &path) {
            Ok(dir) => {
                test(&*dir, &path);
                drop(dir);
                std::fs::remove_dir_all(&path).unwrap();
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => println!("skipped: {engine:?}: {error}"),
            Err(error) => panic!("{engine:?}: {error}"),
        }
    }
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

// ---- directories

#[test]
fn the_last_component_is_created_and_nothing_else() {
    let path = fresh("create");
    let disk = RealDisk::new(IoEngine::Auto, true, true);
    assert_eq!(errno(disk.open_dir(&path, false)), Some(libc::ENOENT));
    assert_eq!(errno(disk.open_dir(&path.join("below"), true)), Some(libc::ENOENT));
    assert!(!path.exists());
    let dir = disk.open_dir(&path, true).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(dir.list().unwrap(), [""; 0]);
    drop(disk.open_dir(&path, true).unwrap());

    std::fs::write(path.join("file"), "").unwrap();
    for create in [false, true] {
        assert_eq!(errno(disk.open_dir(&path.join("file"), create)), Some(libc::ENOTDIR));
        assert_eq!(errno(disk.open_dir(&path.join("file/below"), create)), Some(libc::ENOTDIR));
        assert_eq!(errno(disk.open_dir(Path::new(""), create)), Some(libc::ENOENT));
    }
    assert_eq!(dir.list().unwrap(), ["file"]);
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_relative_path_is_created_in_the_working_directory() {
    let name = format!("disk-relative-{}", std::process::id());
    drop(RealDisk::new(IoEngine::Blocking, true, true).open_dir(Path::new(&name), true).unwrap());
    std::fs::remove_dir(&name).unwrap();
}

#[test]
fn facts_name_the_engine_and_why() {
    both("facts", |dir, path| {
        let facts = dir.facts();
        println!("{facts:?}");
        assert!(path.to_string_lossy().contains(if facts.engine == "io_uring" { "Uring" } else { "Blocking" }));
        assert!(facts.reason.contains(facts.engine), "{facts:?}");
        assert!(!facts.file_system.is_empty());
        assert!(facts.block_align.is_power_of_two() && facts.mem_align.is_power_of_two());
    });
}

#[test]
fn memory_is_refused_unless_any_file_system_will_do() {
    let path = PathBuf::from(format!("/dev/shm/twal-disk-{}", std::process::id()));
    let error = match RealDisk::new(IoEngine::Auto, false, true).open_dir(&path, true) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => error,
        other => {
            let _ = std::fs::remove_dir(&path);
            return println!("skipped: /dev/shm is not a tmpfs: {:?}", other.err());
        }
    };
    assert!(error.to_string().contains("tmpfs"), "{error}");
    assert!(!path.exists(), "nothing is created on a refused file system");
    let dir = RealDisk::new(IoEngine::Auto, true, true).open_dir(&path, true).unwrap();
    println!("{:?}", dir.facts());
    let file = dir.create("twal-a").unwrap();
    file.allocate(at(2)).unwrap();
    file.write_at(&Aligned::filled(2 * BLOCK, 3), 0, Durable::Yes).unwrap();
    let mut buf = Aligned::filled(2 * BLOCK, 0);
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 2 * BLOCK);
    assert!(buf.iter().all(|byte| *byte == 3));
    // Where a file exists, it is asked, and nothing is written.
    assert!(RealDisk::new(IoEngine::Auto, true, true).open_dir(&path, false).is_ok());
    assert_eq!(dir.list().unwrap(), ["twal-a"]);
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn names_are_never_replaced() {
    both("names", |dir, _| {
        drop(dir.create("twal-a").unwrap());
        drop(dir.create("twal-b").unwrap());
        assert_eq!(errno(dir.create("twal-a")), Some(libc::EEXIST));
        assert_eq!(errno(dir.rename("twal-a", "twal-b")), Some(libc::EEXIST));
        assert_eq!(errno(dir.rename("twal-none", "twal-c")), Some(libc::ENOENT));
        dir.rename("twal-a", "twal-c").unwrap();
        dir.remove("twal-b").unwrap();
        assert_eq!(errno(dir.remove("twal-b")), Some(libc::ENOENT));
        assert_eq!(errno(dir.open("twal-b", Access::Read)), Some(libc::ENOENT));
        dir.sync().unwrap();
        assert_eq!(dir.list().unwrap(), ["twal-c"]);
    });
}

#[test]
fn one_file_may_take_anothers_name_when_it_is_told_to() {
    both("replace", |dir, _| {
        let (old, new) = (dir.create("twal-a").unwrap(), dir.create("twal-b").unwrap());
        for (file, fill, blocks) in [(&old, 1, 4), (&new, 2, 1)] {
            file.write_at(&Aligned::filled(blocks * BLOCK, fill), 0, Durable::Yes).unwrap();
        }
        assert!(old.room().unwrap() >= at(4) && new.room().unwrap() >= at(1));
        assert!(new.room().unwrap() < old.room().unwrap(), "room is what is taken");
        assert_eq!(errno(dir.replace("twal-none", "twal-a")), Some(libc::ENOENT));
        assert_eq!(errno(dir.replace("twal-b", "twal-none")), Some(libc::ENOENT));
        dir.replace("twal-b", "twal-a").unwrap();
        dir.sync().unwrap();
        assert_eq!(dir.list().unwrap(), ["twal-a"]);
        let mut buf = Aligned::filled(BLOCK, 0);
        for (file, fill) in [(&old, 1), (&dir.open("twal-a", Access::Read).unwrap(), 2)] {
            assert_eq!(file.read_at(&mut buf, 0).unwrap(), BLOCK);
            assert!(buf.iter().all(|byte| *byte == fill));
        }
    });
}

#[test]
fn the_directory_has_one_exclusive_holder() {
    both("dirlock", |dir, path| {
        let other = open(IoEngine::Blocking, path).unwrap();
        assert!(dir.try_lock(LockKind::Exclusive).unwrap());
        assert!(!other.try_lock(LockKind::Exclusive).unwrap());
        assert!(!other.try_lock(LockKind::Shared).unwrap());
        dir.unlock().unwrap();
        assert!(other.try_lock(LockKind::Shared).unwrap());
        assert!(dir.try_lock(LockKind::Shared).unwrap());
        assert!(!dir.try_lock(LockKind::Exclusive).unwrap());
        drop(other);
        assert!(dir.try_lock(LockKind::Exclusive).unwrap());
    });
}

// ---- files

#[test]
fn what_is_written_is_read() {
    both("bytes", |dir, _| {
        let file = dir.create("twal-a").unwrap();
        file.allocate(at(64)).unwrap();
        assert_eq!(file.size().unwrap(), at(64));
        file.write_at(&Aligned::filled(3 * BLOCK, 1), 0, Durable::Yes).unwrap();
        file.write_at(&Aligned::filled(BLOCK, 2), at(1), Durable::No).unwrap();
        file.sync().unwrap();
        file.write_at(&[], 0, Durable::Yes).unwrap();
        let reader = dir.open("twal-a", Access::Read).unwrap();
        let mut buf = Aligned::filled(4 * BLOCK, 9);
        assert_eq!(reader.read_at(&mut buf, 0).unwrap(), 4 * BLOCK);
        let blocks: Vec<_> = buf.chunks(BLOCK).map(|block| (block[0], block.iter().all(|b| *b == block[0]))).collect();
        assert_eq!(blocks, [(1, true), (2, true), (1, true), (0, true)]);
        for durable in [Durable::Yes, Durable::No] {
            assert_eq!(errno(reader.write_at(&Aligned::filled(BLOCK, 1), 0, durable)), Some(libc::EBADF));
            let beyond = file.write_at(&Aligned::filled(BLOCK, 1), u64::MAX - 4095, durable);
            assert_eq!(errno(beyond), Some(libc::EFBIG));
        }
    });
}

#[test]
fn a_read_ends_where_the_file_ends() {
    both("end", |dir, path| {
        drop(dir.create("twal-a").unwrap());
        std::fs::write(path.join("twal-a"), vec![7; 2 * BLOCK + 100]).unwrap();
        let file = dir.open("twal-a", Access::Read).unwrap();
        let mut buf = Aligned::filled(4 * BLOCK, 0);
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 2 * BLOCK + 100);
        assert_eq!(file.read_at(&mut buf, at(2)).unwrap(), 100);
        assert_eq!(file.read_at(&mut buf, at(3)).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf[..BLOCK], at(1)).unwrap(), BLOCK);
    });
}

#[test]
fn a_file_ends_where_it_is_told() {
    both("truncate", |dir, path| {
        let file = dir.create("twal-a").unwrap();
        file.write_at(&Aligned::filled(3 * BLOCK, 7), 0, Durable::No).unwrap();
        file.truncate(at(1) + 101).unwrap();
        file.sync().unwrap();
        assert_eq!(std::fs::read(path.join("twal-a")).unwrap(), vec![7; BLOCK + 101]);
        let mut buf = Aligned::filled(3 * BLOCK, 9);
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), BLOCK + 101);
        assert!(buf[..BLOCK + 101].iter().all(|byte| *byte == 7));
        let reader = dir.open("twal-a", Access::Read).unwrap();
        assert_eq!(errno(reader.truncate(0)), Some(libc::EINVAL), "it does not write");
    });
}

/// More threads than lanes, each on blocks of its own.
#[test]
fn threads_write_side_by_side() {
    both("threads", |dir, _| {
        let file = dir.create("twal-a").unwrap();
        file.allocate(at(8 * 16)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let file = &file;
                scope.spawn(move || {
                    for turn in 0..16u8 {
                        let durable = if turn % 4 == 3 { Durable::No } else { Durable::Yes };
                        let number = thread * 16 + turn;
                        file.write_at(&Aligned::filled(BLOCK, number), at(number.into()), durable).unwrap();
                        if turn % 8 == 7 {
                            file.sync().unwrap();
                        }
                    }
                });
            }
        });
        let mut buf = Aligned::filled(8 * 16 * BLOCK, 255);
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), buf.len());
        for (index, block) in buf.chunks(BLOCK).enumerate() {
            assert!(block.iter().all(|byte| usize::from(*byte) == index), "block {index}");
        }
    });
}

/// Signals that interrupt the thread in the kernel neither fail a write nor
/// let it return before it is done.
#[test]
fn signals_do_not_disturb_a_write() {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing; SIGUSR1 has no other use in this
    // program; the zeroed action has no flags, so calls are not restarted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    both("signals", |dir, _| {
        let file = dir.create("twal-a").unwrap();
        file.allocate(at(64)).unwrap();
        let stop = AtomicBool::new(false);
        // SAFETY: no argument, always succeeds.
        let writer = unsafe { libc::pthread_self() };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // SAFETY: the writer waits for this thread at the scope's end.
                    unsafe { libc::pthread_kill(writer, libc::SIGUSR1) };
                    std::thread::sleep(Duration::from_micros(20));
                }
            });
            for turn in 0..300usize {
                let place = at(turn % 64);
                let buf = Aligned::filled(BLOCK, u8::try_from(turn % 251).unwrap());
                file.write_at(&buf, place, Durable::Yes).unwrap();
                let mut back = Aligned::filled(BLOCK, 255);
                assert_eq!(file.read_at(&mut back, place).unwrap(), BLOCK);
                assert_eq!(*back, *buf);
            }
            file.sync().unwrap();
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn locks_conflict_between_descriptors_of_one_process() {
    both("locks", |dir, _| {
        let one = dir.create("twal-a").unwrap();
        let two = dir.open("twal-a", Access::Write).unwrap();
        let reader = dir.open("twal-a", Access::Read).unwrap();
        assert!(one.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
        assert!(!two.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
        assert!(reader.try_lock(LockByte::Reader, LockKind::Shared).unwrap());
        assert!(two.try_lock(LockByte::Reader, LockKind::Shared).unwrap());
        assert!(!one.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap());
        reader.unlock(LockByte::Reader).unwrap();
        drop(two);
        assert!(one.try_lock(LockByte::Reader, LockKind::Exclusive).unwrap());
        // Bytes are apart: giving one back keeps the other.
        one.unlock(LockByte::Reader).unwrap();
        let three = dir.open("twal-a", Access::Write).unwrap();
        assert!(!three.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
        // A write just before the drop does not hold the lock any longer.
        one.allocate(at(1)).unwrap();
        one.write_at(&Aligned::filled(BLOCK, 1), 0, Durable::Yes).unwrap();
        drop(one);
        assert!(three.try_lock(LockByte::Writer, LockKind::Exclusive).unwrap());
    });
}

#[test]
fn allocated_is_not_written() {
    both("allocate", |dir, _| {
        let file = dir.create("twal-a").unwrap();
        assert_eq!(file.written_until(0).unwrap(), 0);
        file.allocate(at(256)).unwrap();
        assert_eq!(file.size().unwrap(), at(256));
        file.write_at(&Aligned::filled(16 * BLOCK, 0), 0, Durable::Yes).unwrap();
        let until = file.written_until(0).unwrap();
        if until == at(256) {
            return println!("skipped: this file system does not tell unwritten from written");
        }
        assert_eq!(until, at(16));
        assert_eq!(file.written_until(at(4)).unwrap(), until);
        assert_eq!(file.written_until(at(32)).unwrap(), at(32));
        assert_eq!(file.written_until(at(256)).unwrap(), at(256));
        assert_eq!(file.written_until(at(512)).unwrap(), at(256));
        file.write_at(&Aligned::filled(240 * BLOCK, 0), at(16), Durable::No).unwrap();
        assert_eq!(file.written_until(0).unwrap(), at(256));
        file.allocate(at(1)).unwrap();
        assert_eq!(file.size().unwrap(), at(256), "never shortened");
    });
}

#[test]
fn the_page_cache_stays_empty() {
    both("cache", |dir, path| {
        // A tmpfs takes O_DIRECT, and is the page cache.
        if !dir.facts().direct || dir.facts().file_system == "tmpfs" {
            return println!("skipped: no direct I/O on {}", dir.facts().file_system);
        }
        let file = dir.create("twal-a").unwrap();
        file.allocate(at(64)).unwrap();
        file.write_at(&Aligned::filled(16 * BLOCK, 5), 0, Durable::Yes).unwrap();
        file.write_at(&Aligned::filled(16 * BLOCK, 5), at(16), Durable::No).unwrap();
        file.sync().unwrap();
        let mut buf = Aligned::filled(64 * BLOCK, 0);
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 64 * BLOCK);
        match cached_pages(&path.join("twal-a")) {
            Ok(pages) => assert_eq!(pages, 0),
            Err(error) => return println!("skipped: cachestat: {error}"),
        }
        // The alarm rings: a buffered read does leave pages.
        std::fs::read(path.join("twal-a")).unwrap();
        assert_ne!(cached_pages(&path.join("twal-a")).unwrap(), 0);
    });
}

/// Pages of a file in the page cache.
fn cached_pages(path: &Path) -> io::Result<u64> {
    let file = std::fs::File::open(path)?;
    let range = [0u64; 2]; // offset and length; length 0 is "to the end"
    let mut stat = [0u64; 5]; // the first is nr_cache
    let (range_at, stat_at) = (&raw const range, &raw mut stat);
    // SAFETY: both arrays have the size of the kernel's structs and live over the call.
    match unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range_at, stat_at, 0) } {
        0 => Ok(stat[0]),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn descriptors_close_on_exec() {
    both("exec", |dir, path| {
        let _file = dir.create("twal-a").unwrap();
        let mut seen = 0;
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let entry = entry.unwrap();
            // Another test's descriptor may be gone by now.
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            if !target.starts_with(path) && !target.to_string_lossy().contains("io_uring") {
                continue;
            }
            let fd: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
            // SAFETY: takes no pointer; a descriptor closed meanwhile is EBADF.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
            assert!(flags == -1 || flags & libc::FD_CLOEXEC != 0, "{target:?}");
            seen += 1;
        }
        assert!(seen >= 2, "the directory and the file");
    });
}

// ---- what needs limits or filters

/// Runs test `name` of this program alone in a process of its own.
fn alone(name: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("TWAL_DISK_CHILD", name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

fn is_child_for(name: &str) -> bool {
    std::env::var("TWAL_DISK_CHILD").is_ok_and(|child| child == name)
}

/// The limit on file sizes cuts a write short without any device error: four
/// of eight blocks land, the remainder is refused.  That is a failed write,
/// never a success, durable or not.
#[test]
fn a_write_cut_short_fails() {
    const NAME: &str = "a_write_cut_short_fails";
    if !is_child_for(NAME) {
        return alone(NAME);
    }
    both("short", |dir, _| {
        let limit = |bytes: u64| {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: `limit` lives over the call; this process runs one test
            // only, and the signal it ignores has no other use in it.
            unsafe {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                libc::setrlimit(libc::RLIMIT_FSIZE, &limit)
            }
        };
        let file = dir.create("twal-a").unwrap();
        file.allocate(at(16)).unwrap();
        file.write_at(&Aligned::filled(16 * BLOCK, 1), 0, Durable::Yes).unwrap();
        for (durable, byte) in [(Durable::Yes, 2), (Durable::No, 3)] {
            assert_eq!(limit(at(4)), 0);
            let done = file.write_at(&Aligned::filled(8 * BLOCK, byte), 0, durable);
            assert_eq!(limit(libc::RLIM_INFINITY), 0);
            assert_eq!(errno(done), Some(libc::EFBIG), "{durable:?}");
            let mut buf = Aligned::filled(8 * BLOCK, 0);
            assert_eq!(file.read_at(&mut buf, 0).unwrap(), 8 * BLOCK);
            assert!(buf[..4 * BLOCK].iter().all(|b| *b == byte) && buf[4 * BLOCK..].iter().all(|b| *b == 1));
            // The engine goes on: whether the log does is the latch's matter.
            file.write_at(&Aligned::filled(8 * BLOCK, 1), 0, durable).unwrap();
        }
    });
}

/// Under a filter as container runtimes set it, io_uring by name is refused
/// and the text names the filter; AUTO works.
#[test]
fn a_forbidden_io_uring_is_named() {
    const NAME: &str = "a_forbidden_io_uring_is_named";
    if !is_child_for(NAME) {
        return alone(NAME);
    }
    if let Err(error) = forbid(libc::SYS_io_uring_setup, libc::EPERM) {
        return println!("skipped: no seccomp: {error}");
    }
    let path = fresh("forbidden");
    let Err(error) = open(IoEngine::Uring, &path) else { panic!("io_uring in spite of the filter") };
    assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::Unsupported, None));
    let text = error.to_string();
    assert!(text.contains("seccomp") || text.contains("io_uring_disabled"), "{text}");
    let dir = open(IoEngine::Auto, &path).unwrap();
    assert_eq!(dir.facts().engine, "blocking");
    println!("{text}\n{}", dir.facts().reason);
    std::fs::remove_dir_all(&path).unwrap();
}

/// Makes one system call of this thread answer `errno` from now on.
fn forbid(call: libc::c_long, errno: i32) -> io::Result<()> {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let refusal = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap();
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the call's number
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::try_from(call).unwrap()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, refusal),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its steps live over the calls; the kernel copies them.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if set {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
