//! What writes because its name says so: trim, hold, import, export, bench.

use std::io::{BufRead, BufReader};
use std::path::Path;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use twal::{Log, SegmentState};

use crate::common::{options, scratch};
use crate::harness::{a_log, append, assert_same, look, on, run, spawn, write_on, ANY_DISK};

/// A log of segments of ten records each, and an eleventh of none.
fn ten_by_ten(name: &str) -> std::path::PathBuf {
    let (dir, log) = a_log(name);
    for n in 0..100u32 {
        append(&log, &n.to_le_bytes());
        if n % 10 == 9 {
            log.roll().unwrap();
        }
    }
    log.close().unwrap();
    dir
}

fn segments(dir: &Path) -> Vec<Value> {
    let printed = on(dir, "segments LOG --json").ends(0).stdout;
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn states(dir: &Path) -> Vec<(u64, String)> {
    let state = |segment: &Value| (segment["index"].as_u64().unwrap(), segment["state"].as_str().unwrap().to_owned());
    segments(dir).iter().map(state).collect()
}

fn archived(dir: &Path) -> Vec<u64> {
    states(dir).into_iter().filter(|(_, state)| state == "archived").map(|(index, _)| index).collect()
}

#[test]
fn a_trim_releases_whole_segments_and_removes_what_it_is_told() {
    let dir = ten_by_ten("trim");
    let trimmed = write_on(&dir, "trim LOG --below 35").ends(0).stdout;
    assert!(trimmed.contains("released  segment 3, records 21..30"), "{trimmed}");
    assert!(trimmed.ends_with("the oldest record is 31\n"), "{trimmed}");
    assert_eq!(archived(&dir), [1, 2, 3], "nothing is removed unless that is asked for");
    let trimmed = write_on(&dir, "trim LOG --below 51 --retain 2").ends(0).stdout;
    assert!(trimmed.contains("removed   segment 1, "), "{trimmed}");
    assert_eq!(archived(&dir), [4, 5]);
    write_on(&dir, "trim LOG --below 1000").ends(2);
    on(&dir, "verify LOG").ends(0);
}

#[test]
fn a_trim_stops_at_a_hold_and_says_whose() {
    let dir = ten_by_ten("trim-held");
    write_on(&dir, "hold set LOG backup 45").ends(0);
    // The first hold begins a segment.
    let newest = segments(&dir).pop().unwrap();
    assert_eq!((&newest["index"], &newest["size"]), (&12.into(), &(64 << 10).into()), "as large as the log's others");
    let trimmed = write_on(&dir, "trim LOG --below 61").ends(5);
    assert!(trimmed.stdout.contains("released  segment 4"), "{}", trimmed.stdout);
    for kept in ["segment 5, records 41..50", "segment 6, records 51..60"] {
        assert!(trimmed.stdout.contains(&format!("kept      {kept}, held by hold backup\n")), "{}", trimmed.stdout);
    }
    assert_eq!(trimmed.stderr, "twal: not all of it was released: held by hold backup\n", "once, and in one line");
    assert_eq!(archived(&dir), [1, 2, 3, 4]);
    // Forward only; and the same again is no change.
    let back = write_on(&dir, "hold set LOG backup 41").ends(2);
    assert!(back.stderr.contains("moves only forward"), "{}", back.stderr);
    write_on(&dir, "hold set LOG backup 61").ends(0);
    write_on(&dir, "trim LOG --below 61").ends(0);
    assert_eq!(archived(&dir), [1, 2, 3, 4, 5, 6]);
    assert_eq!(on(&dir, "hold list LOG").ends(0).stdout, format!("{:>20}  backup\n", 61));
    on(&dir, "hold drop LOG backup").ends(0);
    assert_eq!(on(&dir, "hold list LOG").ends(0).stdout, "");
    on(&dir, "hold drop LOG backup").ends(2);
}

#[test]
fn what_is_not_there_is_no_hold_and_keeps_nothing() {
    let dir = ten_by_ten("never-held");
    let dropped = on(&dir, "hold drop LOG backup").ends(2);
    assert_eq!(dropped.stderr, "twal: there is no hold backup\n");
    // The first hold begins a segment, and leaves one without records, which is not among what a trim kept.
    write_on(&dir, "hold set LOG backup 101").ends(0);
    let is_empty = |segment: &Value| segment["last_seq"].as_u64() < segment["first_seq"].as_u64();
    let trimmed = write_on(&dir, "trim LOG --below 101").ends(0).stdout;
    assert!(
        segments(&dir).iter().filter(|segment| segment["state"] == "sealed").any(is_empty) && !trimmed.contains("kept"),
        "{trimmed}"
    );
}

/// Where the holds were lost nothing is released, until somebody says that none are wanted.
#[test]
fn lost_holds_are_told_of_and_reset() {
    let dir = ten_by_ten("hold-reset");
    write_on(&dir, "hold set LOG backup 45").ends(0);
    std::fs::remove_file(dir.join("twal-holds")).unwrap();
    let info = on(&dir, "info LOG").ends(1).stdout;
    assert!(info.contains("hold reset"), "{info}");
    on(&dir, "verify LOG").ends(1);
    let plan = on(&dir, "repair LOG").ends(1).stdout;
    assert!(plan.contains("twal-holds is missing") && plan.contains("hold reset"), "{plan}");
    assert!(plan.contains("nothing else is damaged"), "{plan}");
    write_on(&dir, "trim LOG --below 51").ends(1);
    let segments = on(&dir, "segments LOG").ends(1).stdout;
    assert!(segments.contains("unreadable holds") && !segments.contains("archived"), "{segments}");
    write_on(&dir, "hold reset LOG").ends(0);
    assert!(!on(&dir, "repair LOG").ends(0).stdout.contains("holds"));
    write_on(&dir, "trim LOG --below 51").ends(0);
    assert_eq!(archived(&dir), [1, 2, 3, 4, 5]);
}

#[test]
fn files_of_the_older_layout_go_in_and_out() {
    let v26 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v26");
    let dir = scratch("tool-v26").join("log");
    let import = |from: &str, more: &str| write_on(&dir, &format!("import LOG {} {more}", v26.join(from).display()));
    import("clean", "").ends(3);
    assert!(!dir.exists(), "a log is made only if that is asked for");
    import("no-such-files", "--create").ends(3);
    assert!(!dir.exists(), "of files that are not there nothing is made");
    // Nor of files that are damaged, and a log that is there is as it was.
    let bad = scratch("tool-v26-bad");
    for entry in std::fs::read_dir(v26.join("clean")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, bad.join(path.file_name().unwrap())).unwrap();
    }
    let first = bad.join("wal_segment_001.wal");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[80] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    write_on(&dir, &format!("import LOG {} --create", bad.display())).ends(1);
    assert!(!dir.exists(), "of files that are refused nothing is made");
    let (own, log) = a_log("v26-own");
    append(&log, b"the program's");
    log.close().unwrap();
    let before = look(&own);
    write_on(&own, &format!("import LOG {}", bad.display())).ends(1);
    on(&own, "export LOG LOG --leave-out").ends(2);
    assert_same(&before, &look(&own), "a refused import or export");
    let imported = import("clean", "--create").ends(0).stdout;
    assert!(imported.contains("6 files"), "{imported}");
    import("clean", "").ends(2);
    let log = Log::open(&dir, &options()).unwrap();
    assert!(log.segments().unwrap().iter().any(|segment| segment.state == SegmentState::Active));
    log.close().unwrap();
    let files = scratch("tool-v26-out").join("files");
    let out = format!("export LOG {}", files.display());
    let exported = on(&dir, &format!("{out} --leave-out")).ends(0).stdout;
    assert!(exported.starts_with("written"), "{exported}");
    assert!(files.join("wal_segment_001.wal").exists());
    on(&dir, &out).ends(2);
    let nowhere = on(&dir, &format!("export LOG {}/missing/files --leave-out", files.display())).ends(3);
    assert!(nowhere.stderr.ends_with("its parent is missing\n"), "{}", nowhere.stderr);
    // What came out goes in again, with as many operations unfinished.
    let again = scratch("tool-v26-again").join("log");
    write_on(&again, &format!("import LOG {} --create", files.display())).ends(0);
    let unfinished = |dir: &Path| on(dir, "txn ls LOG --json").ends(0).stdout.lines().count();
    assert_eq!(unfinished(&again), unfinished(&dir));
}

#[test]
fn a_measurement_leaves_nothing_behind() {
    let dir = scratch("tool-bench");
    let is_empty = || std::fs::read_dir(&dir).unwrap().next().is_none();
    let [any, buffered] = ANY_DISK;
    let path = dir.to_str().unwrap();
    let ran = run(&["bench", path, "--seconds", "1", "--threads", "2", any, buffered]).ends(0);
    let last = ran.stdout.lines().last().unwrap();
    let columns: Vec<u64> = last.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(columns.len() == 5 && columns[0] == 2 && columns[1] > 0, "{last}");
    assert!(is_empty());
    let (mut child, stdout) = spawn(&["bench", path, "--seconds", "60", "--threads", "1", any, buffered]);
    let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("records/s")), "it has begun");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(is_empty(), "also when it is interrupted");
    // What was there before is left alone.
    run(&["bench", dir.join("missing").to_str().unwrap()]).ends(3);
}

/// What it says is what an open would find.
#[test]
fn the_doctor_says_what_an_open_finds() {
    let (dir, log) = a_log("doctor");
    let stats = log.stats();
    let said = on(&dir, "doctor LOG");
    let fact = |name: &str| {
        let line = said.stdout.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{}", said.stdout))[15..].to_owned()
    };
    assert_eq!(fact("engine"), stats.engine_reason);
    assert_eq!(fact("file system"), stats.file_system);
    for name in
        ["directory", "kernel", "direct I/O", "cache", "io_uring", "  sysctl", "  seccomp", "  memlock", "writer"]
    {
        assert!(!fact(name).is_empty());
    }
    assert!(said.stdout.lines().last().unwrap().starts_with("advice"), "{}", said.stdout);
    let uring = twal::Options { io_engine: Some(twal::IoEngine::Uring), ..options() };
    log.close().unwrap();
    match Log::open(&dir, &uring) {
        Ok(log) => {
            assert_eq!(fact("io_uring"), "available");
            log.close().unwrap();
        }
        Err(error) => assert!(error.to_string().contains(&fact("io_uring")), "{error}"),
    }
    // Where the promise cannot be kept, that is found.
    let objected = Log::open(&dir, &twal::Options { allow_any_fs: false, ..options() }).is_err();
    let bad = objected || fact("direct I/O") == "no";
    assert_eq!(said.exit, i32::from(bad), "{}", said.stdout);
    let nowhere = on(Path::new("/proc"), "doctor LOG");
    assert!(nowhere.exit == 1 && nowhere.stdout.contains("keeps no files"), "{}", nowhere.stdout);
    // One that nobody may write, root neither.
    let sealed = on(Path::new("/proc/self"), "doctor LOG");
    assert!(sealed.exit == 1 && sealed.stdout.contains("may write"), "{}", sealed.stdout);
    // A directory that is to be made is judged by the one that it will be in.
    let missing = on(&dir.join("new"), "doctor LOG");
    assert!(missing.stdout.contains("not yet"), "{}", missing.stdout);
    assert!(!dir.join("new").exists());
}
