//! Hostile bytes: every decoder, and whole directories, with damage whose
//! checksums are right.
//!
//! Method: the functions of fuzz/entries.rs, which the fuzzer runs too, are given
//! every file of fuzz/corpus and as many random inputs as fit in the time of a
//! test.  `TWAL_SEED=n` plays one input of the last two tests, `TWAL_HOSTILE_CASES=n`
//! sets how many.
#![allow(clippy::cast_possible_truncation)]

use std::path::Path;

#[path = "../fuzz/entries.rs"]
mod entries;
#[allow(dead_code)]
#[path = "sim/rng.rs"]
mod rng;

use rng::Rng;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
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

#[test]
fn random_bytes_do_no_harm() {
    let mut rng = Rng::new(1);
    for (_, entry) in entries::TARGETS.iter().filter(|(name, _)| *name != "directory") {
        for _ in 0..20_000 {
            let len = rng.below(600) as usize;
            let bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
            entry(&bytes);
        }
    }
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

#[test]
fn lies_with_right_checksums_do_no_harm() {
    for seed in seeds(2000) {
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
        let run = std::panic::catch_unwind(|| entries::directory(&bytes));
        assert!(run.is_ok(), "TWAL_SEED={seed} fails: {bytes:?}");
    }
}
