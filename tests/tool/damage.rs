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
    let verified = on(&dir, "verify LOG --json").ends(1).stdout;
    let found: Value = serde_json::from_str(verified.lines().next().unwrap()).unwrap();
    let sum = |name: &str| found[name].as_str().unwrap().to_owned();
    assert!(found["kind"] == "header" && sum("expected") != sum("found") && sum("found") != "0x0", "{found}");
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

/// Every kind of step, and what is said where there is none.
#[test]
fn a_plan_says_in_words_what_is_done() {
    const ARCHIVED: &str = "twal-0000000000000001-00000000000000000001.archived";
    const NEWEST: &str = "twal-0000000000000003-00000000000000000049.active";
    let change = |dir: &Path, file: &str, at: usize| {
        let mut bytes = std::fs::read(dir.join(file)).unwrap();
        bytes[at] ^= 1;
        std::fs::write(dir.join(file), bytes).unwrap();
    };
    let cut = |dir: &Path, file: &str, size: u64| {
        std::fs::File::options().write(true).open(dir.join(file)).unwrap().set_len(size).unwrap();
    };
    type Break<'a> = Box<dyn Fn(&Path) + 'a>;
    let cases: [(&str, i32, Break<'_>); 8] = [
        ("a frame of a released segment", 0, Box::new(|dir| change(dir, ARCHIVED, 4096 + 30))),
        ("an interrupted repair", 1, Box::new(|dir| std::fs::write(dir.join("twal-repair-unfinished"), "").unwrap())),
        ("the header of a released segment", 1, Box::new(|dir| change(dir, ARCHIVED, 100))),
        ("a file that lacks its last byte", 1, Box::new(|dir| cut(dir, BROKEN, (64 << 10) - 1))),
        ("a header", 5, Box::new(|dir| change(dir, BROKEN, 100))),
        ("a strange file", 5, Box::new(|dir| std::fs::write(dir.join("twal-odd"), "odd").unwrap())),
        ("a file that lacks frames", 5, Box::new(|dir| cut(dir, BROKEN, 30_000))),
        ("the newest one lacks its end", 5, Box::new(|dir| cut(dir, NEWEST, 50_000))),
    ];
    let mut printed = String::new();
    for (number, (what, exit, damage)) in cases.iter().enumerate() {
        let dir = golden("v30-written", &format!("sentences-{number}"));
        damage(&dir);
        let words = if *exit == 5 { "repair LOG --drop-acknowledged" } else { "repair LOG" };
        if *exit == 5 {
            on(&dir, "repair LOG").ends(5);
        }
        let ran = on(&dir, words).ends((*exit).min(1));
        printed += &format!("# {what}\n{}", ran.stdout);
        if *exit > 0 {
            let backup = scratch(&format!("tool-sentences-backup-{number}")).join("copies");
            let done = write_on(&dir, &format!("{words} --apply --backup {}", backup.display())).ends(0).stdout;
            let last = done.lines().last().unwrap();
            let copies = segments_of(&backup).len();
            let said = format!("repaired; copies of {copies} files, ");
            assert!(
                last.starts_with(&said) && last.ends_with(&format!("are in {}", backup.display())),
                "{what}: {last}"
            );
            on(&dir, "verify LOG").ends(0);
        }
    }
    expect("repair-sentences.txt", &printed);
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

/// A log with a segment gone, or one whose header opening finds damaged, is never taken for one that ends there.
#[test]
fn nothing_takes_damage_for_the_end() {
    let nothing = |_: &Path| {};
    let header = |dir: &Path| {
        let mut bytes = std::fs::read(dir.join(BROKEN)).unwrap();
        bytes[100] ^= 1;
        std::fs::write(dir.join(BROKEN), bytes).unwrap();
    };
    let gone = |dir: &Path| std::fs::remove_file(dir.join(BROKEN)).unwrap();
    // As long as none of a log's is: what would be made like it has no such size.
    let short = |dir: &Path| {
        let newest = segments_of(dir).into_iter().map(|(name, _)| name).find(|name| name.ends_with("active")).unwrap();
        std::fs::File::options().write(true).open(dir.join(newest)).unwrap().set_len(50_000).unwrap();
    };
    type Break = fn(&Path);
    let ways: [(&str, Break); 4] = [("whole", nothing), ("header", header), ("gone", gone), ("short", short)];
    for (way, damage) in ways {
        let dir = golden("v30-written", &format!("end-{way}"));
        damage(&dir);
        let to = |n: u32| scratch(&format!("tool-end-{way}-{n}")).join("to").to_str().unwrap().to_owned();
        let reading = [
            "segments LOG".to_owned(),
            "dump LOG --format json".into(),
            "tail LOG -n 3".into(),
            "stats LOG".into(),
            "txn ls LOG".into(),
            "ship LOG".into(),
            format!("export LOG {} --leave-out", to(1)),
        ];
        for words in reading {
            let ran = on(&dir, &words);
            let expected = i32::from(way != "whole");
            assert_eq!(ran.exit, expected, "{way}: {words}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.stderr.is_empty(), way == "whole", "{way}: {words}");
        }
        if way != "whole" {
            for words in [format!("copy LOG {}", to(2)), "trim LOG --below 1".into(), "hold reset LOG".into()] {
                let ran = write_on(&dir, &words).ends(1);
                assert!(ran.stderr.contains("segment"), "{way}: {words}: {}", ran.stderr);
            }
        }
    }
}

/// Copies among another log's segments would make that one damaged.
#[test]
fn a_backup_goes_into_no_other_log() {
    let dir = damaged("backup-other");
    let (other, log) = crate::harness::a_log("backup-other-log");
    append(&log, b"one");
    log.close().unwrap();
    let before = look(&other);
    let repair = format!("repair LOG --apply --drop-acknowledged --backup {}", other.display());
    let ran = write_on(&dir, &repair).ends(2);
    assert!(ran.stderr.contains("holds a log"), "{}", ran.stderr);
    assert_same(&before, &look(&other), "a repair of another log");
    // What an earlier repair has left is this log's own.
    let backup = scratch("tool-backup-again").join("copies");
    for _ in 0..2 {
        for (name, bytes) in segments_of(&damaged("backup-again")) {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        let ran = write_on(&dir, &format!("repair LOG --apply --drop-acknowledged --backup {}", backup.display()));
        ran.ends(0);
    }
}
