//! Goal: after open and a little warming up, appending allocates nothing, in any
//! mode and by any call, on any thread of the process.
//! Method: an allocator that counts, alone in this program; logs on real files,
//! because the simulated disk allocates.  A program of its own, because the
//! usual harness allocates, too: after a minute it says that a test is slow.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use twal::{Code, Done, Durability, Entry, Error, How, IoEngine, Log, Options};

/// Counts while it is told to.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    if COUNTS.load(Ordering::SeqCst) {
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: passes everything on to the system's allocator; counting touches two atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(old, layout, new_size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

/// What `work` allocates, on all threads.
fn allocations(work: impl FnOnce()) -> u64 {
    COUNT.store(0, Ordering::SeqCst);
    COUNTS.store(true, Ordering::SeqCst);
    work();
    COUNTS.store(false, Ordering::SeqCst);
    COUNT.load(Ordering::SeqCst)
}

const APPENDS: u64 = 10_000;

/// How records are handed in.
#[derive(Debug, Clone, Copy)]
enum Call {
    Append,
    Batch,
    Gather,
    Reserve,
    /// An append without waiting, and a function that is called when it is durable.
    SyncAsync,
}

static REGISTERED: AtomicU64 = AtomicU64::new(0);
static CALLED: AtomicU64 = AtomicU64::new(0);

fn await_called() {
    while CALLED.load(Ordering::SeqCst) < REGISTERED.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

fn called(_: [usize; 2], _: u64, result: Result<(), Error>) {
    result.unwrap();
    CALLED.fetch_add(1, Ordering::SeqCst);
}

fn append(log: &Log, call: Call, times: u64) {
    let entry = |data| Entry { data, stream: 3, timestamp: None, kind: 0x0100, required: false };
    let data = [7; 200];
    let mut left = times;
    while left > 0 {
        let (records, seq) = match call {
            Call::Append => (1, log.append(&entry(&data), How::default())),
            Call::Batch => (5, log.append_batch([entry(&data); 5].into_iter(), How::default())),
            Call::Gather => {
                let parts = [IoSlice::new(&data[..20]), IoSlice::new(&[]), IoSlice::new(&data[20..])];
                (1, log.append_gather(&entry(&[]), &parts, How::default()))
            }
            Call::Reserve => {
                let mut room = log.reserve(&entry(&[]), 1500, How::default()).unwrap();
                room.data()[..200].copy_from_slice(&data);
                (1, room.commit(200))
            }
            Call::SyncAsync => {
                let seq = log.append(&entry(&data), How { sync: Some(false), no_wait: false }).unwrap();
                REGISTERED.fetch_add(1, Ordering::SeqCst);
                (1, log.sync_async(seq, Some(Done::Function(called, [1, 2]))).map(|()| seq))
            }
        };
        seq.unwrap();
        left -= records;
        // There is room for 1024 registrations from the first on; who has more outstanding pays for it.
        if left.is_multiple_of(500) {
            log.sync(0).unwrap();
            await_called();
        }
    }
}

/// A log whose next records lie in a file that is ready, with the next file ready beside it: what is
/// left to do is appending.  None: this engine cannot be had here.
fn open(dir: &Path, engine: IoEngine, durability: Durability) -> Option<Log> {
    let _ = std::fs::remove_dir_all(dir);
    let options = |block_size| Options {
        io_engine: Some(engine),
        durability: Some(durability),
        block_size,
        segment_size: if block_size == 512 { 64 << 20 } else { 512 << 20 },
        ..Options::default()
    };
    // Small blocks, where the device has them: less to write.
    let log = match Log::open(dir, &options(512)) {
        Err(error) if error.code == Code::Inval => Log::open(dir, &options(4096)),
        log => log,
    };
    let log = match log {
        Err(error) if error.code == Code::Unsupported => {
            println!("skipped: {error}");
            return None;
        }
        log => log.unwrap(),
    };
    append(&log, Call::Append, 1);
    log.roll().unwrap();
    let begun = Instant::now();
    let has_spare = || {
        let mut files = std::fs::read_dir(dir).unwrap();
        files.any(|file| file.unwrap().file_name().as_encoded_bytes().starts_with(b"twal-spare"))
    };
    // The name comes before the last byte of it: whoever prepares it sleeps when it is whole.
    let mut asleep = 0;
    while asleep < 20 {
        asleep = if has_spare() && keepers_sleep() { asleep + 1 } else { 0 };
        assert!(begun.elapsed() < Duration::from_secs(60), "no spare is prepared");
        std::thread::yield_now();
    }
    Some(log)
}

/// Every keeper of this process waits for something to do; one that waits for the device is in state D.
fn keepers_sleep() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let mut keepers = stats.filter(|stat| stat.contains("(twal-keeper)")).peekable();
    keepers.peek().is_some() && keepers.all(|stat| stat.contains(") S "))
}

fn main() {
    assert!(allocations(|| drop(vec![1; 100])) > 0, "the allocator counts");
    assert!(allocations(|| std::thread::scope(|scope| drop(scope.spawn(|| vec![1; 100])))) > 0, "on all threads");
    let mut found = Vec::new();
    for engine in [IoEngine::Blocking, IoEngine::Uring] {
        for durability in [Durability::Sync, Durability::Group, Durability::Async] {
            let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("allocations-{engine:?}-{durability:?}"));
            let Some(log) = open(&dir, engine, durability) else { continue };
            for call in [Call::Append, Call::Batch, Call::Gather, Call::Reserve, Call::SyncAsync] {
                append(&log, call, APPENDS / 10);
                let counted = allocations(|| append(&log, call, APPENDS));
                if counted > 0 {
                    found.push(format!("{engine:?} {durability:?} {call:?}: {counted}"));
                }
            }
            log.close().unwrap();
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
    assert!(found.is_empty(), "allocations in {APPENDS} appends: {found:#?}");
    assert_eq!(CALLED.load(Ordering::SeqCst), REGISTERED.load(Ordering::SeqCst));
    println!("no allocations in {APPENDS} appends of any kind");
}
