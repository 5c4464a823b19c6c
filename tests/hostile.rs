//! Hostile bytes: every decoder, and whole directories, with damage whose
//! checksums are right.
//!
//! Method: the functions of fuzz/entries.rs, which the fuzzer runs too, are given
//! every file of fuzz/corpus and as many random inputs as fit in the time of a
//! test.  No single piece of memory may be larger than what the files themselves
//! justify.  `TWAL_SEED=n` plays one input of the last two tests, `TWAL_HOSTILE_CASES=n`
//! sets how many.
#![allow(clippy::cast_possible_truncation)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[path = "hostile/ends.rs"]
mod ends;
#[path = "../fuzz/entries.rs"]
mod entries;
#[path = "hostile/forged.rs"]
mod forged;
#[path = "hostile/holes.rs"]
mod holes;
#[path = "hostile/later.rs"]
mod later;
#[path = "hostile/numbers.rs"]
mod numbers;
#[path = "hostile/overlaps.rs"]
mod overlaps;
#[allow(dead_code)]
#[path = "sim/rng.rs"]
mod rng;

use rng::Rng;

/// Most bytes that are asked for at once, whatever a length says: by a repair for its copies half of that, and all of it by
/// a reader's two halves, of a short file that a repair has made as long as its header says.
const PIECE_MAX: usize = 2 << 20;

/// Notes the largest piece that this thread has asked for: others tell of a canary's panic meanwhile.  And how much
/// all threads have at most.
struct Noting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// How many bytes more there were at most while `work` ran, those of tests beside it too.
fn peak_of(work: impl FnOnce()) -> usize {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = LIVE.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    work();
    PEAK.load(Ordering::SeqCst).saturating_sub(before)
}

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

// SAFETY: passes everything on to the system's allocator; noting touches one number, which needs no memory.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

fn note(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
    let live = LIVE.fetch_add(size, Ordering::SeqCst) + size;
    PEAK.fetch_max(live, Ordering::SeqCst);
}

/// Records of the committed log that are not released.
const RECORDS: u64 = 45;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What stable Rust runs here, what the fuzzer runs, and what is built for it.
#[test]
fn the_lists_of_targets_agree() {
    let read = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let here: Vec<&str> = entries::TARGETS.iter().map(|(name, _)| *name).collect();
    let (cargo, make) = (read("fuzz/Cargo.toml"), read("Makefile"));
    let bins = cargo.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1));
    assert_eq!(bins.collect::<Vec<_>>(), here);
    let in_make = make.lines().find_map(|line| line.strip_prefix("FUZZ_TARGETS ?= ")).unwrap();
    assert_eq!(in_make.split_whitespace().collect::<Vec<_>>(), here);
}

/// The one that was asked for, or as many as asked for, or these.
fn seeds(cases: u64) -> std::ops::Range<u64> {
    match env("TWAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..env("TWAL_HOSTILE_CASES").unwrap_or(cases),
    }
}

#[test]
fn the_corpus_is_replayed() {
    for (name, entry) in entries::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut count = 0;
        for file in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            entry(&bytes);
            count += 1;
        }
        assert!(count >= 3, "the corpus of {name} has {count} files");
    }
}

/// Gives `entry` random bytes: what it did not stand.
fn random_bytes(entry: fn(&[u8])) -> Option<Vec<u8>> {
    let mut rng = Rng::new(1);
    let mut input = || -> Vec<u8> {
        let len = rng.below(600) as usize;
        (0..len).map(|_| rng.next() as u8).collect()
    };
    (0..20_000).map(|_| input()).find(|bytes| std::panic::catch_unwind(|| entry(bytes)).is_err())
}

/// Each file of the corpus with a few bytes changed, cut, doubled or moved.
#[test]
fn a_changed_corpus_does_no_harm() {
    for (name, entry) in entries::TARGETS.iter().filter(|(name, _)| *name != "directory") {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        for (path, seed) in paths.iter().flat_map(|path| seeds(500).map(move |seed| (path, seed))) {
            let mut rng = Rng::new(seed);
            let mut bytes = std::fs::read(path).unwrap();
            for _ in 0..rng.within(1, 4) {
                let at = rng.below(bytes.len() as u64 + 1) as usize;
                let other = rng.below(bytes.len() as u64 + 1) as usize;
                match rng.below(5) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, rng.next() as u8),
                    2 => bytes.extend_from_within(at.min(other)..at.max(other)),
                    3 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
                    _ if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0xff][rng.below(4) as usize],
                    _ => {}
                }
            }
            let run = std::panic::catch_unwind(|| entry(&bytes));
            assert!(run.is_ok(), "TWAL_SEED={seed} fails with {}: {bytes:?}", path.display());
        }
    }
}

/// Gives `entry` edits of a directory, of each seed: the first that it did not stand.
fn lies(entry: fn(&[u8]), seeds: std::ops::Range<u64>) -> Option<(u64, Vec<u8>)> {
    let input = |seed| {
        let mut rng = Rng::new(seed);
        let len = rng.within(1, 8) * 8;
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        for edit in bytes.chunks_exact_mut(8) {
            // Where something is: the committed log's frames lie in front.
            edit[2] %= 48;
            if rng.percent(50) {
                // A small number where a number may stand.
                edit[5..8].fill(0);
            }
        }
        (seed, bytes)
    };
    seeds.map(input).find(|(_, bytes)| std::panic::catch_unwind(|| entry(bytes)).is_err())
}

#[test]
fn random_bytes_do_no_harm() {
    for (name, entry) in entries::TARGETS.iter().filter(|(name, _)| *name != "directory") {
        let failed = random_bytes(*entry);
        assert!(failed.is_none(), "{name} fails: {failed:?}");
    }
}

#[test]
fn lies_with_right_checksums_do_no_harm() {
    if let Some((seed, bytes)) = lies(in_bounds, seeds(2000)) {
        panic!("TWAL_SEED={seed} fails: {bytes:?}");
    }
}

fn in_bounds(bytes: &[u8]) {
    // Every other one of a log that was compacted.
    let entry = if bytes.len().is_multiple_of(16) { entries::directory } else { entries::compacted_directory };
    entry(bytes);
    let largest = LARGEST.get();
    assert!(largest <= PIECE_MAX, "somebody asked for {largest} bytes");
}

/// The alarm rings: a decoder that believes a length before it has checked anything, and readings of the directory
/// that cannot be right whatever was changed in it, or only if nothing was.
#[test]
fn canaries_are_caught() {
    fn believes_lengths(bytes: &[u8]) {
        let len = bytes.first_chunk().map_or(0, |len| u16::from_le_bytes(*len));
        let _ = &bytes[..usize::from(len)];
    }
    assert!(random_bytes(believes_lengths).is_some());
    assert!(random_bytes(|_| ()).is_none());
    let whole = |bytes: &[u8]| {
        let all = |log: &twal::Log, skip| {
            let count = entries::read_all(log, skip);
            assert_eq!(count, RECORDS, "something was changed");
            count
        };
        entries::directory_read_by(bytes, all);
    };
    whole(&[]);
    assert!(lies(whole, 0..50).is_some(), "no change shows");
    let twice = |bytes: &[u8]| {
        entries::directory_read_by(bytes, |log, skip| {
            let first = log.first_seq();
            entries::in_order([first, first].into_iter());
            entries::read_all(log, skip)
        })
    };
    assert!(lies(twice, 0..50).is_some(), "a record that comes twice passes");
}
