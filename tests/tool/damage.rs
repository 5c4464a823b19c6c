//! Damaged logs: found, planned, repaired.

use std::path::{Path, PathBuf};

use serde_json::Value;

use twal::{Log, Options};

use crate::common::{options, scratch, segments_of};
use crate::harness::{append, assert_same, expect, golden, golden_lines, look, on, write_on};

/// The segment that is damaged.
const BROKEN: &str = "twal-0000000000000002-00000000000000000025.sealed";

/// Changes a byte of a payload: of the first record in the data frame with this number, from 0.
fn flip(path: &Path, number: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let is_data = |block: &&[u8]| block.starts_with(b"TWAF") && block[36] == 1;
    let frames: Vec<usize> =
        bytes.chunks(4096).enumerate().filter(|(_, block)| is_data(block)).map(|(at, _)| at * 4096).collect();
    bytes[frames[number] + 128 + 40] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

/// A committed log with a byte of a payload changed: of a record in the middle of a sealed segment.
pub fn damaged(name: &str) -> PathBuf {
    let dir = golden("v30-written", name);
    flip(&dir.join(BROKEN), 5);
    dir
}

#[test]
fn findings_say_where_what_and_whether_it_was_acknowledged() {
    let dir = damaged("findings");
    expect("verify-damaged.txt", &on(&dir, "verify LOG").ends(1).stdout);
    let printed = on(&dir, "verify LOG --json").ends(1).stdout;
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [finding, _torn, sum] = lines.as_slice() else { panic!("{printed}") };
    assert_eq!((&finding["file"], &finding["acknowledged"]), (&BROKEN.into(), &"yes".into()));
    assert_eq!(finding["segment"], 2);
    assert!(finding["expected"] != finding["found"] && finding["stream"].is_number(), "{finding}");
    assert_eq!(sum["damaged"], 1);
    // Reading comes to the same spot.
    let dumped = on(&dir, "dump LOG --format json").ends(1);
    assert_eq!(dumped.stdout.lines().count() + 25, usize::try_from(finding["seq"].as_u64().unwrap()).unwrap());
    assert!(dumped.stderr.starts_with("twal: ") && dumped.stderr.contains("segment 2"), "{}", dumped.stderr);
    let skipped = on(&dir, "dump LOG --format json --skip-damaged").ends(1);
    assert!(skipped.stdout.lines().count() < golden_lines("v30-written").lines().count());
    assert!(skipped.stderr.contains("passed over 1 damaged spots"), "{}", skipped.stderr);
}

/// Opening looks at headers and at the newest segment; so does info.
#[test]
fn a_damaged_header_is_seen_at_once() {
    let dir = golden("v30-written", "header");
    let mut bytes = std::fs::read(dir.join(BROKEN)).unwrap();
    bytes[100] ^= 1;
    std::fs::write(dir.join(BROKEN), bytes).unwrap();
    expect("info-damaged.txt", &on(&dir, "info LOG").ends(1).stdout);
    let info: Value = serde_json::from_str(&on(&dir, "info LOG --json").ends(1).stdout).unwrap();
    assert!(info["state"] == "damaged" && info["damage"].as_str().unwrap().contains("segment 2"), "{info}");
}

/// However many threads read: the same findings, in the same order.
#[test]
fn threads_find_the_same() {
    let dir = damaged("threads");
    flip(&dir.join("twal-0000000000000003-00000000000000000049.active"), 2);
    let one = on(&dir, "verify LOG --threads 1").ends(1).stdout;
    assert_eq!(one.matches("damaged  ").count(), 2, "{one}");
    for threads in [2, 3, 8] {
        assert_eq!(on(&dir, &format!("verify LOG --threads {threads}")).ends(1).stdout, one);
    }
}

/// What drops acknowledged records is refused until somebody says so; then a whole prefix is left, and copies of the rest.
#[test]
fn a_repair_is_planned_decided_and_carried_out() {
    let dir = damaged("repair");
    let backup = scratch("tool-repair-backup").join("copies");
    let before = look(&dir);
    let files = segments_of(&dir);
    let apply = format!("repair LOG --apply --backup {}", backup.display());
    let planned = on(&dir, "repair LOG").ends(5);
    expect("repair-plan.txt", &planned.stdout);
    assert!(planned.stderr.contains("--drop-acknowledged"), "{}", planned.stderr);
    write_on(&dir, &apply).ends(5);
    on(&dir, "repair LOG --drop-acknowledged").ends(1);
    assert!(!backup.exists());
    assert_same(&before, &look(&dir), "a repair that was not decided");

    write_on(&dir, &format!("{apply} --drop-acknowledged")).ends(0);
    on(&dir, "verify LOG").ends(0);
    assert_eq!(on(&dir, "repair LOG").ends(0).stdout, "nothing is damaged: there is nothing to repair\n");
    let left = on(&dir, "dump LOG --format json").ends(0).stdout;
    assert!(golden_lines("v30-written").starts_with(&left) && !left.is_empty(), "{left}");
    for (name, bytes) in segments_of(&backup) {
        let (_, was) = files.iter().find(|(file, _)| *file == name).unwrap();
        assert!(bytes == *was, "the copy of {name}");
    }
    let info = on(&dir, "info LOG").ends(0).stdout;
    assert!(info.contains("repaired"), "{info}");
}

/// A half-written end was promised to nobody: told, and no damage.
#[test]
fn a_torn_end_is_told_and_is_no_damage() {
    let dir = scratch("tool-torn").join("log");
    // Nothing behind the last frame says that it was durable.
    let log = Log::open(&dir, &Options { idle_mark_us: 3_600_000_000, ..options() }).unwrap();
    for n in 0..10u32 {
        append(&log, &n.to_le_bytes());
    }
    let cut = scratch("tool-torn-cut");
    for (name, mut bytes) in segments_of(&dir) {
        let last = bytes.chunks(4096).rposition(|block| block.starts_with(b"TWAF")).unwrap();
        bytes[last * 4096 + 128 + 40] ^= 1;
        std::fs::write(cut.join(name), bytes).unwrap();
    }
    log.close().unwrap();
    let verified = on(&cut, "verify LOG").ends(0).stdout;
    assert!(verified.starts_with("torn  ") && verified.contains("not acknowledged"), "{verified}");
    let info = on(&cut, "info LOG").ends(0).stdout;
    assert!(info.contains("opens, with a torn end"), "{info}");
    assert_eq!(on(&cut, "dump LOG --format json").ends(0).stdout.lines().count(), 9);
    assert!(on(&cut, "repair LOG").ends(0).stdout.starts_with("nothing is damaged"));
}
