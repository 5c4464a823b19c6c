//! How it ends: each number of the manual page.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use crate::common::scratch;
use crate::harness::{a_log, append, args_on, command, golden, on, run, write_on};

#[test]
fn nothing_is_wrong_0() {
    let dir = golden("v30-written", "exit-0");
    on(&dir, "verify LOG").ends(0);
    run(&["--help"]).ends(0);
    run(&["--version"]).ends(0);
    assert_eq!(run(&["--version"]).stdout, format!("twal {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn something_was_found_1() {
    let dir = crate::damage::damaged("exit-1");
    for words in ["verify LOG", "dump LOG", "tail LOG -n 99", "repair LOG --drop-acknowledged"] {
        on(&dir, words).ends(1);
    }
}

#[test]
fn what_is_asked_for_makes_no_sense_2() {
    for args in [&["frobnicate"][..], &["dump"], &["info", "--no-such-option", "x"], &["trim", "x"], &[]] {
        let ran = run(args).ends(2);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty());
    }
    let dir = golden("v30-written", "exit-2");
    for words in [
        "dump LOG --from 1",
        "dump LOG --from 1000000",
        "dump LOG --segment 1",
        "dump LOG --segment 0",
        "dump LOG --to 0",
        "dump LOG --from x",
        "dump LOG --headers-only --format raw",
        "dump LOG --headers-only --skip-damaged",
        "repair LOG --apply",
        "txn show LOG saga 77",
        "hold set LOG this-name-is-much-longer-than-the-39-characters-of-one 1",
    ] {
        let ran = on(&dir, words).ends(2);
        assert!(!ran.stderr.is_empty(), "{words}");
    }
}

#[test]
fn the_log_cannot_be_opened_3() {
    let none = scratch("tool-exit-3");
    let missing = none.join("missing");
    for words in
        ["info LOG", "segments LOG", "dump LOG", "tail LOG -f", "stats LOG", "verify LOG", "repair LOG", "txn ls LOG"]
    {
        for dir in [&none, &missing] {
            let ran = on(dir, words).ends(3);
            assert!(ran.stderr.starts_with("twal: ") && ran.stdout.is_empty(), "{words}: {}", ran.stderr);
        }
    }
    for words in ["trim LOG --below 1", "hold set LOG a 1", "import LOG LOG"] {
        write_on(&missing, words).ends(3);
    }
    assert!(!missing.exists());
    write_on(&missing, "bench LOG").ends(3);
    let (dir, log) = a_log("exit-3-locked");
    for words in ["trim LOG --below 1", "hold set LOG a 0", "hold reset LOG"] {
        write_on(&dir, words).ends(3);
    }
    on(&dir, "repair LOG").ends(3);
    log.close().unwrap();
}

#[test]
fn the_output_cannot_be_written_4() {
    let dir = golden("v30-written", "exit-4");
    for words in ["info LOG", "dump LOG", "verify LOG --json"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&args_on(&dir, words)).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{words}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"), "{words}");
    }
}

/// Who must not read a log does not find it damaged.
#[test]
fn what_may_not_be_read_is_not_damaged() {
    let dir = golden("v30-written", "exit-rights");
    let as_nobody = |words: &str| {
        let mut nobody = command(&args_on(&dir, words));
        // Whose the directory is, we are.
        if std::fs::metadata(&dir).unwrap().uid() == 0 {
            nobody.uid(65534);
        }
        let Ok(output) = nobody.output() else { return None };
        let text = [output.stdout, output.stderr].concat();
        Some((output.status.code()?, String::from_utf8(text).unwrap()))
    };
    let set_mode = |mode| {
        for entry in std::fs::read_dir(&dir).unwrap() {
            std::fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(mode)).unwrap();
        }
    };
    set_mode(0o644);
    if as_nobody("info LOG").is_none_or(|(exit, _)| exit != 0) {
        return println!("skipped: another user cannot come here");
    }
    set_mode(0);
    for words in ["info LOG", "dump LOG", "stats LOG", "verify LOG", "verify LOG --json"] {
        let (exit, said) = as_nobody(words).unwrap();
        assert!(exit == 3 && !said.contains("damaged  ") && !said.contains(" damaged;"), "{words}: {exit}: {said}");
    }
    set_mode(0o644);
    assert_eq!(as_nobody("verify LOG").unwrap().0, 0);
}

/// What the machine lacks is not the log's fault.
#[test]
fn descriptors_run_out_and_the_log_is_as_whole_as_ever() {
    let (dir, log) = a_log("exit-files");
    for n in 0..40u32 {
        append(&log, &n.to_le_bytes());
        log.roll().unwrap();
    }
    log.close().unwrap();
    let limited = |limit: u32, words: &str| {
        let script = format!("ulimit -n {limit} && exec \"$@\"");
        let mut args = vec!["-c".to_owned(), script, "sh".into(), env!("CARGO_BIN_EXE_twal").into()];
        args.extend(args_on(&dir, words));
        let output = std::process::Command::new("sh").args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    // Fewer than there are segments.
    for words in ["info LOG", "dump LOG", "stats LOG", "verify LOG", "segments LOG"] {
        assert_eq!(limited(24, words).0, 0, "{words}: {}", limited(24, words).1);
    }
    let (exit, said) = limited(5, "info LOG");
    assert!(exit == 4 && said.contains("Too many open files"), "{exit}: {said}");
}

#[test]
fn somebody_has_to_decide_5() {
    let dir = crate::damage::damaged("exit-5");
    on(&dir, "repair LOG").ends(5);
    let (held, log) = a_log("exit-5-held");
    append(&log, b"1");
    log.roll().unwrap();
    append(&log, b"2");
    log.hold_set("backup", 1).unwrap();
    log.close().unwrap();
    let ran = write_on(&held, "trim LOG --below 2").ends(5);
    assert_eq!(ran.stderr, "twal: not all of it was released: held by hold backup\n");
    assert!(ran.stdout.starts_with("kept      segment 1, records 1, held by hold backup\n"), "{}", ran.stdout);
    let files = scratch("tool-exit-5-files").join("files");
    let ran = on(&held, &format!("export LOG {}", files.display())).ends(5);
    assert!(ran.stderr.contains("--leave-out"), "{}", ran.stderr);
}
