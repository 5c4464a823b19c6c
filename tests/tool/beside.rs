//! Beside a program that writes the log.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use serde_json::Value;
use twal::{Log, Options};

use crate::common::{options, scratch};
use crate::harness::{a_log, append, args_on, on, spawn, write_on};

/// Ends the writer when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_writer_is_looked_at_while_it_writes() {
    let dir = scratch("tool-beside").join("log");
    let log = Log::open(&dir, &Options { max_retained_segments: 2, segment_size: 8 << 20, ..options() }).unwrap();
    append(&log, b"first");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when an assertion fails: else the log grows for ever.
        let _ends = Ends(&done);
        let appending = scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                last = append(&log, &[7; 100]);
                if last % 1000 == 0 {
                    log.roll().unwrap();
                    // So that what is read stays as large, however fast this is.
                    log.trim(last.saturating_sub(10_000)).unwrap();
                }
            }
            last
        });
        for words in [
            "info LOG",
            "segments LOG",
            "dump LOG --limit 50 --format json",
            "tail LOG -n 5",
            "stats LOG",
            "verify LOG",
            "verify LOG --threads 4",
            "txn ls LOG",
            "hold list LOG",
        ] {
            // What is released while it is read is said, and is no damage.
            let ran = on(&dir, words);
            let was_released = ran.stderr.contains("released");
            assert!(ran.exit == 0 || (ran.exit == 1 && was_released), "{words}: {}", ran.stderr);
        }
        let pid = std::process::id().to_string();
        let info: Value = serde_json::from_str(&on(&dir, "info LOG --json").ends(0).stdout).unwrap();
        assert_eq!((&info["has_writer"], info["writer_pid"].to_string()), (&true.into(), pid.clone()));
        let doctor = on(&dir, "doctor LOG").stdout;
        assert!(doctor.contains(&format!("process {pid} (")), "{doctor}");
        write_on(&dir, "trim LOG --below 1").ends(3);
        done.store(true, Ordering::Relaxed);
        assert_eq!(appending.join().unwrap(), log.durable_seq());
    });
    // The first hold is the writer's; then anybody's.
    let refused = write_on(&dir, "hold set LOG follower 0").ends(3);
    assert!(refused.stderr.contains("first hold"), "{}", refused.stderr);
    log.hold_set("own", 0).unwrap();
    on(&dir, &format!("hold set LOG follower {}", log.last_seq())).ends(0);
    let listed = on(&dir, "hold list LOG --json").ends(0).stdout;
    let hold = |name: &str, seq: u64| format!("{{\"name\": \"{name}\", \"seq\": {seq}}}\n");
    assert_eq!(listed, hold("follower", log.last_seq()) + &hold("own", log.first_seq()));
    on(&dir, "hold drop LOG follower").ends(0);
    on(&dir, "hold drop LOG follower").ends(2);
    assert_eq!(log.holds().unwrap().len(), 1);
    log.close().unwrap();
    let info: Value = serde_json::from_str(&on(&dir, "info LOG --json").ends(0).stdout).unwrap();
    assert_eq!(info["has_writer"], false);
}

/// What another process appends is printed while both run; a signal ends it, and that is no failure.
#[test]
fn tail_follows_and_ends_by_signal() {
    let (dir, log) = a_log("follow");
    append(&log, b"old");
    let mut last = "last".to_owned();
    append(&log, last.as_bytes());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let args = args_on(&dir, "tail LOG -f -n 1 --format utf8");
        let (mut child, stdout) = spawn(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
        let mut next_payload = || lines.by_ref().find_map(|line| line.strip_prefix("    ").map(str::to_owned));
        // The last of all may be known to be durable only a moment later: then one before it was the last.
        while next_payload().expect("the last record") != last {}
        for n in 0..3 {
            last = format!("new {n}");
            append(&log, last.as_bytes());
            assert_eq!(next_payload().as_ref(), Some(&last));
        }
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(next_payload(), None);
    }
    log.close().unwrap();
}

/// Whoever reads it goes away while nothing comes: it does not wait for ever.
#[test]
fn tail_ends_when_nobody_reads_it() {
    let (dir, log) = a_log("follow-pipe");
    append(&log, b"only");
    let args = args_on(&dir, "tail LOG -f --format json");
    let (mut child, stdout) = spawn(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"seq\": 1,"), "{line}");
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    log.close().unwrap();
}
