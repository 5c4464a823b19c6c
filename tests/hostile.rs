//! Hostile bytes: every decoder, and whole directories, with damage whose
//! checksums are right.
//!
//! Method: the functions of fuzz/entries.rs, which the fuzzer runs too, are given
//! every file of fuzz/corpus and as many random inputs as fit in the time of a
//! test.  `TWAL_SEED=n` plays one input of the last test, `TWAL_HOSTILE_CASES=n`
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

#[test]
fn lies_with_right_checksums_do_no_harm() {
    let (from, to) = match env("TWAL_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, env("TWAL_HOSTILE_CASES").unwrap_or(2000)),
    };
    for seed in from..to {
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
        let entry = if seed % 2 == 0 { entries::directory } else { entries::compacted_directory };
        let run = std::panic::catch_unwind(|| entry(&bytes));
        assert!(run.is_ok(), "TWAL_SEED={seed} fails: {bytes:?}");
    }
}
