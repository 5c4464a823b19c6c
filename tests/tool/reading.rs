//! What only reads: outputs as committed, every format, and nothing changed.

use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::scratch;
use crate::harness::{
    a_log, append, append_as, args_on, assert_same, command, expect, golden, golden_lines, look, on, run,
};

/// Every command that only reads, with options that make a difference.
const READING: [&str; 22] = [
    "info LOG",
    "info LOG --json",
    "segments LOG",
    "segments LOG --json",
    "dump LOG",
    "dump LOG --format utf8",
    "dump LOG --format raw",
    "dump LOG --format json",
    "dump LOG --headers-only",
    "dump LOG --skip-damaged",
    "tail LOG",
    "stats LOG",
    "stats LOG --json",
    "verify LOG",
    "verify LOG --threads 8 --json",
    "repair LOG",
    "repair LOG --drop-acknowledged",
    "hold list LOG",
    "txn ls LOG",
    "txn show LOG saga 1",
    "export LOG LOG-not-made/files",
    "doctor LOG",
];

#[test]
fn outputs_are_as_committed() {
    let dir = golden("v30-written", "outputs");
    for (name, words) in [
        ("info.txt", "info LOG"),
        ("info.json", "info LOG --json"),
        ("segments.txt", "segments LOG"),
        ("dump.txt", "dump LOG --from 40 --to 55"),
        ("dump-utf8.txt", "dump LOG --from 40 --limit 5 --format utf8"),
        ("dump-headers.txt", "dump LOG --headers-only --limit 8"),
        ("tail.txt", "tail LOG -n 3"),
        ("stats.txt", "stats LOG --streams 2"),
        ("stats.json", "stats LOG --json"),
        ("verify.txt", "verify LOG"),
    ] {
        expect(name, &on(&dir, words).ends(0).stdout);
    }
    let compacted = golden("v30-compacted", "outputs-compacted");
    expect("segments-compacted.txt", &on(&compacted, "segments LOG").ends(0).stdout);
    // Compacted by a program without a manager: whether operations went with the records nobody knows.
    let refused = on(&compacted, "txn ls LOG").ends(1);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("no checkpoint behind them"), "{}", refused.stderr);
}

/// As a program of another language and as this tree's own second reader print it.
#[test]
fn records_as_json_are_those_of_the_committed_logs() {
    for log in ["v30-written", "v30-composed", "v30-compacted"] {
        let dir = golden(log, &format!("json-{log}"));
        let printed = on(&dir, "dump LOG --format json").ends(0).stdout;
        assert_eq!(printed, golden_lines(log), "{log}");
    }
}

/// What is printed as JSON is JSON, and says the same as the text.
#[test]
fn json_is_json() {
    let dir = golden("v30-written", "is-json");
    for words in ["info LOG --json", "segments LOG --json", "dump LOG --format json", "stats LOG --json"] {
        let printed = on(&dir, words).ends(0).stdout;
        let lines: Vec<Value> = printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
            .collect();
        assert!(!lines.is_empty() && lines.iter().all(Value::is_object), "{words}");
    }
    let verified = on(&dir, "verify LOG --json").ends(0).stdout;
    let verified: Value = serde_json::from_str(verified.lines().last().unwrap()).unwrap();
    assert_eq!((&verified["damaged"], verified["records"].as_u64().unwrap() > 0), (&0.into(), true));
    let heads = on(&dir, "dump LOG --format json --headers-only --limit 1").ends(0).stdout;
    let head: Value = serde_json::from_str(&heads).unwrap();
    assert!(head.get("payload").is_none() && head["len"] == 1, "{head}");
}

#[test]
fn records_are_chosen_by_number_segment_stream_and_type() {
    let (dir, log) = a_log("chosen");
    for n in 0..40u64 {
        append_as(&log, &n.to_le_bytes(), (n % 3, if n % 2 == 0 { 0x0100 } else { 0x0101 }));
        if n == 19 {
            log.roll().unwrap();
        }
    }
    let third = log.segments().unwrap()[2].first_seq;
    log.close().unwrap();
    let seqs = |words: &str| -> Vec<u64> {
        let printed = on(&dir, &format!("dump LOG --format json {words}")).ends(0).stdout;
        let seq = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        printed.lines().map(seq).collect()
    };
    let all = |wanted: &dyn Fn(u64) -> bool| (1..=40).filter(|seq| wanted(*seq)).collect::<Vec<u64>>();
    assert_eq!(seqs(""), all(&|_| true));
    assert_eq!(seqs("--from 7 --to 0x0b"), all(&|seq| (7..=11).contains(&seq)));
    assert_eq!(seqs("--segment 3 --limit 3"), [third, third + 1, third + 2]);
    assert_eq!(seqs("--stream 2 --stream 1"), all(&|seq| (seq - 1) % 3 != 0));
    assert_eq!(seqs("--type 0x101 --stream 0"), all(&|seq| seq % 2 == 0 && (seq - 1) % 3 == 0));
    let tail = on(&dir, "tail LOG -n 4 --type 0x100 --format json").ends(0).stdout;
    assert_eq!(tail.lines().count(), 2);
}

/// Payloads may hold anything, and a terminal may be at the other end.
#[test]
fn payloads_are_shown_as_they_are_or_escaped() {
    let (dir, log) = a_log("payloads");
    let payload: &[u8] = b"text \xc3\xa9\n\xff\xfe \x1b[2J\x00 back\\slash";
    append(&log, payload);
    append(&log, b"");
    append(&log, b"more");
    log.close().unwrap();
    let raw = command(&args_on(&dir, "dump LOG --format raw")).output().unwrap().stdout;
    assert_eq!(raw, [payload, b"more"].concat());
    expect("payloads-utf8.txt", &on(&dir, "dump LOG --format utf8").ends(0).stdout);
    expect("payloads-hex.txt", &on(&dir, "dump LOG --format hex").ends(0).stdout);
}

#[test]
fn an_empty_log_is_no_failure() {
    let (dir, log) = a_log("empty");
    log.close().unwrap();
    for words in ["info LOG", "segments LOG", "stats LOG", "verify LOG", "txn ls LOG", "hold list LOG"] {
        on(&dir, words).ends(0);
    }
    for words in ["dump LOG", "tail LOG", "tail LOG -n 0"] {
        assert_eq!(on(&dir, words).ends(0).stdout, "");
    }
}

/// On whole, damaged and empty logs, and on what is none.
#[test]
fn what_reads_changes_nothing() {
    let whole = golden("v30-written", "unchanged");
    let damaged = crate::damage::damaged("unchanged-damaged");
    let hostile = hostile("unchanged-hostile");
    let none = scratch("tool-unchanged-none");
    for dir in [&whole, &damaged, &hostile, &none] {
        let before = look(dir);
        for words in READING {
            let ran = on(dir, words);
            assert!((0..=5).contains(&ran.exit), "{words}: {}: {}", ran.exit, ran.stderr);
            assert_same(&before, &look(dir), words);
        }
    }
}

/// A directory in which somebody was busy: names that are none of a log's, and things that are no files.
fn hostile(name: &str) -> std::path::PathBuf {
    let dir = golden("v30-written", name);
    std::fs::write(dir.join("twal-\u{1b}[2Jevil"), b"x").unwrap();
    std::fs::write(dir.join("not-a-log"), b"x").unwrap();
    std::fs::create_dir(dir.join("twal-spare-7")).unwrap();
    std::fs::create_dir(dir.join("twal-0000000000000009-00000000000000000099.sealed")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("twal-holds-new")).unwrap();
    let fifo = dir.join("twal-0000000000000010-00000000000000000099.active");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    dir
}

#[test]
fn a_hostile_directory_is_told_of_and_does_nothing_to_the_terminal() {
    let dir = hostile("hostile");
    let verified = on(&dir, "verify LOG").ends(1);
    assert!(verified.stdout.contains("twal-\\u{1b}[2Jevil"), "{}", verified.stdout);
    for words in READING {
        let ran = on(&dir, words);
        assert_ne!(ran.exit, 101, "{words} panics: {}", ran.stderr);
        let controls = |text: &str| text.contains(|char: char| char.is_control() && char != '\n' && char != '\t');
        let raw = words.contains("raw");
        assert!(raw || !controls(&ran.stdout), "{words}: {:?}", ran.stdout);
        assert!(!controls(&ran.stderr), "{words}: {:?}", ran.stderr);
    }
}

/// Colour and progress are for terminals; `script` gives one.
#[test]
fn colour_is_for_terminals_alone() {
    let dir = crate::damage::damaged("colour");
    let bytes = run(&args_on(&dir, "verify LOG")).ends(1).stdout;
    assert!(!bytes.contains('\x1b'));
    let help = command(&["--help".to_owned()]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(help.status.success() && !help.stdout.contains(&0x1b));
    let script = Command::new("script").args(["-qec", "true", "/dev/null"]).stdin(Stdio::null()).output();
    if !script.is_ok_and(|output| output.status.success()) {
        return println!("skipped: script(1) gives no terminal here");
    }
    let on_terminal = |env: &[(&str, &str)]| {
        let line = format!("{} verify {}", env!("CARGO_BIN_EXE_twal"), dir.display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
        let output = command.envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(on_terminal(&[]).contains("\x1b[1;31mdamaged\x1b[0m"));
    assert!(!on_terminal(&[("NO_COLOR", "1")]).contains("\x1b[1;31m"));
    assert!(!on_terminal(&[("TERM", "dumb")]).contains("\x1b[1;31m"));
}

/// Whoever reads only the beginning of an output closes it: that is no failure to speak of.
#[test]
fn a_broken_pipe_ends_it_quietly() {
    let dir = golden("v30-written", "pipe");
    for words in ["dump LOG", "info LOG", "verify LOG", "tail LOG -f"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = command(&args_on(&dir, words)).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(141), ""), "{words}");
    }
}
