//! copy, ship and receive: the same bytes elsewhere.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use twal::Log;

use crate::common::{options, scratch, segments_of};
use crate::harness::{a_log, append, args_on, assert_same, command, look, on, run, spawn, write_on, ANY_DISK};

fn dumped(dir: &Path) -> String {
    on(dir, "dump LOG --format json").ends(0).stdout
}

#[test]
fn a_copy_beside_the_writer_is_a_log_of_its_own() {
    let (dir, log) = a_log("copy");
    for n in 0..100u32 {
        append(&log, &n.to_le_bytes());
    }
    let to = scratch("tool-copy-to").join("copy");
    // What is durable is known from outside when something behind it says so.
    while on(&dir, "dump LOG --from 101").exit != 0 {}
    let copied = write_on(&dir, &format!("copy LOG {}", to.display())).ends(0).stdout;
    assert!(copied.contains("up to record 100"), "{copied}");
    assert_eq!(dumped(&to), dumped(&dir));
    on(&to, "verify LOG").ends(0);
    append(&log, b"not copied");
    let copy = Log::open(&to, &options()).unwrap();
    assert_eq!(append(&copy, b"its own"), 101);
    copy.close().unwrap();
    // It is nobody's follower any more.
    write_on(&dir, &format!("copy LOG {}", to.display())).ends(3);
    log.close().unwrap();
}

#[test]
fn what_is_shipped_is_received_byte_for_byte_and_goes_on_where_it_was() {
    let (dir, log) = a_log("ship");
    let to = scratch("tool-ship-to").join("follower");
    let path = to.to_str().unwrap();
    let [any, buffered] = ANY_DISK;
    let receive = |bytes: &[u8], more: &[&str]| {
        let mut child = command(&[&["receive", path, any, buffered], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may refuse before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        child.wait_with_output().unwrap()
    };
    let ship = |more: &str| command(&args_on(&dir, &format!("ship LOG {more}"))).output().unwrap().stdout;
    let mut position = String::new();
    for round in 0..3 {
        for n in 0..30u32 {
            append(&log, &n.to_le_bytes());
        }
        let last = log.last_seq();
        while on(&dir, &format!("dump LOG --from {}", last + 1)).exit != 0 {}
        let bytes = ship(&if round == 0 { String::new() } else { format!("--from {position}") });
        assert!(bytes.len() > 30 * 4096, "{}", bytes.len());
        // Cut short: what came whole was taken, and the rest is asked for again.
        let cut = receive(&bytes[..bytes.len() / 2], &[]);
        assert_eq!(cut.status.code(), Some(4), "{}", String::from_utf8_lossy(&cut.stderr));
        position = run(&["receive", path, "--position", any, buffered]).ends(0).stdout.trim().to_owned();
        let rest = receive(&ship(&format!("--from {position}")), &[]);
        assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
        let said = String::from_utf8(rest.stdout).unwrap();
        assert!(said.contains(&format!("up to record {last}")), "{said}");
        position = run(&["receive", path, "--position", any, buffered]).ends(0).stdout.trim().to_owned();
        assert!(said.contains(&position), "{said}");
    }
    // What was damaged on its way, or is no shipment, is refused.
    let mut bytes = ship("");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert_ne!(receive(&bytes, &[]).status.code(), Some(0));
    assert_eq!(receive(b"something else, and long enough", &[]).status.code(), Some(2));
    assert_eq!(on(&dir, "ship LOG --from nowhere").exit, 2);
    log.close().unwrap();
    let last = receive(&ship(&format!("--from {position}")), &["--promote"]);
    assert_eq!(last.status.code(), Some(0), "{}", String::from_utf8_lossy(&last.stderr));
    assert_eq!(dumped(&to), dumped(&dir));
    on(&to, "verify LOG").ends(0);
    let (ours, theirs) = (segments_of(&dir), segments_of(&to));
    assert!(
        ours.len() > 5 && ours[..ours.len() - 1].iter().all(|file| theirs.contains(file)),
        "the sealed ones are the same"
    );
}

/// With --follow it goes on with what comes, until a signal ends it at the end of a piece.
#[test]
fn what_becomes_durable_is_shipped_as_it_does() {
    let (dir, log) = a_log("ship-follow");
    append(&log, b"old");
    let args = args_on(&dir, "ship LOG -f");
    let (mut child, mut stdout) = spawn(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut shipped = Vec::new();
    for n in 0..3 {
        let mark = format!("a record that is new, number {n}");
        append(&log, mark.as_bytes());
        let mut piece = [0; 4096];
        while !shipped.windows(mark.len()).any(|bytes| bytes == mark.as_bytes()) {
            let len = stdout.read(&mut piece).unwrap();
            assert!(len > 0, "it ended");
            shipped.extend_from_slice(&piece[..len]);
        }
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    stdout.read_to_end(&mut shipped).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    log.close().unwrap();
    let to = scratch("tool-ship-follow-to").join("follower");
    let [any, buffered] = ANY_DISK;
    let mut receiving =
        command(&["receive", to.to_str().unwrap(), "--promote", any, buffered]).stdin(Stdio::piped()).spawn().unwrap();
    receiving.stdin.take().unwrap().write_all(&shipped).unwrap();
    assert_eq!(receiving.wait().unwrap().code(), Some(0));
    assert_eq!(dumped(&to), dumped(&dir));
}

/// What a follower has taken is durable while it waits for more; and what its peer left half-sent takes none of it along.
#[test]
fn what_has_come_is_durable_before_more_comes() {
    let (dir, log) = a_log("receive-idle");
    for n in 0..300u32 {
        append(&log, &n.to_le_bytes());
    }
    log.close().unwrap();
    let shipped = command(&args_on(&dir, "ship LOG")).output().unwrap().stdout;
    let to = scratch("tool-receive-idle-to").join("follower");
    let path = to.to_str().unwrap();
    let [any, buffered] = ANY_DISK;
    let begin = || {
        let mut child = command(&["receive", path, any, buffered])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        (child, stdin)
    };
    let position = || run(&["receive", path, "--position", any, buffered]).ends(0).stdout;
    let (mut child, mut stdin) = begin();
    // Its end is on its way.
    stdin.write_all(shipped.strip_suffix(b"TWALdone").expect("all was sent")).unwrap();
    // The position's file is there from the beginning, and written anew once all is durable.
    let last_seq = 300u64.to_le_bytes();
    let begun = Instant::now();
    while !std::fs::read(to.join("twal-sink")).is_ok_and(|bytes| bytes.windows(8).any(|word| word == last_seq)) {
        assert!(begun.elapsed() < Duration::from_secs(120), "it waits for more, and what there is is not durable");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(position().contains(":300:"), "{}", position());

    // Cut within a piece.
    let more = Log::open(&dir, &options()).unwrap();
    for n in 0..5u32 {
        append(&more, &n.to_le_bytes());
    }
    more.close().unwrap();
    let shipped = command(&args_on(&dir, &format!("ship LOG --from {}", position().trim()))).output().unwrap().stdout;
    let (child, mut stdin) = begin();
    let shipped = shipped.strip_suffix(b"TWALdone").expect("all was sent");
    stdin.write_all(&[shipped, b"TWALpart", &[0; 20]].concat()).unwrap();
    drop(stdin);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(4));
    assert!(position().contains(":305:"), "{}", position());

    // Its source is gone: nothing is awaited, and an input that is none promotes nothing.
    run(&["receive", path, "--promote", any, buffered]).ends(4);
    run(&["receive", path, "--no-input", any, buffered]).ends(2);
    run(&["receive", path, "--promote", "--no-input", any, buffered]).ends(0);
    assert_eq!(dumped(&to), dumped(&dir));
}

/// A source that breaks off in the middle makes no log of the half, whatever the pipe says of it.
#[test]
fn a_part_is_not_promoted() {
    let (dir, log) = a_log("ship-part");
    for n in 0..100u32 {
        append(&log, &n.to_le_bytes());
    }
    log.close().unwrap();
    let [any, buffered] = ANY_DISK;
    let to = scratch("tool-ship-part-to").join("follower");
    let path = to.to_str().unwrap();
    let receive = |bytes: &[u8], more: &[&str]| {
        let mut child = command(&[&["receive", path, any, buffered], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(bytes);
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    // Nothing at all makes nothing, and asking makes nothing either.
    assert_eq!(receive(b"", &["--promote"]).0, 4);
    let beginning = run(&["receive", path, "--position"]).ends(0).stdout;
    assert!(!to.exists());
    on(&dir, &format!("ship LOG --from {}2", beginning.trim().strip_suffix('0').unwrap())).ends(2);

    let mut sealed: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    sealed.retain(|path| path.extension().is_some_and(|state| state == "sealed"));
    sealed.sort();
    let whole = std::fs::read(&sealed[2]).unwrap();
    let mut damaged = whole.clone();
    // The body of its second frame.
    damaged[2 * 4096 + 96] ^= 1;
    std::fs::write(&sealed[2], damaged).unwrap();
    let ship = |more: &str| command(&args_on(&dir, &format!("ship LOG {more}"))).output().unwrap();
    let part = ship("");
    assert_eq!(part.status.code(), Some(1), "{}", String::from_utf8_lossy(&part.stderr));
    assert!(part.stdout.len() > 2 * 4096 && !part.stdout.ends_with(b"TWALdone"));
    let (exit, said) = receive(&part.stdout, &["--promote"]);
    assert_eq!(exit, 4, "{said}");
    assert!(said.contains("before all was sent"), "{said}");
    // What came is there, whole, and a follower's; also while somebody else has its lock.
    assert!(on(&to, "info LOG --json").ends(0).stdout.contains("\"follower\": true"));
    let position = run(&["receive", path, "--position"]).ends(0).stdout;
    let sink =
        twal::Sink::open(&to, &twal::SinkOptions { allow_any_fs: true, allow_buffered: true, ..Default::default() });
    let sink = sink.unwrap();
    assert_eq!(run(&["receive", path, "--position"]).ends(0).stdout, position);
    on(&to, "verify LOG").ends(0);
    sink.close().unwrap();

    std::fs::write(&sealed[2], whole).unwrap();
    let rest = ship(&format!("--from {}", position.trim()));
    assert_eq!(rest.status.code(), Some(0));
    assert_eq!(receive(&rest.stdout, &["--promote"]).0, 0);
    assert_eq!(dumped(&to), dumped(&dir));
}

/// One byte of a sealed segment: opening a follower does not read it, verifying does.
#[test]
fn rot_in_a_follower_is_found_before_it_is_promoted() {
    let (dir, log) = a_log("ship-rot");
    for n in 0..100u32 {
        append(&log, &n.to_le_bytes());
    }
    let to = scratch("tool-ship-rot-to").join("follower");
    write_on(&dir, &format!("copy LOG {} --follower", to.display())).ends(0);
    log.close().unwrap();
    on(&to, "verify LOG").ends(0);
    let first = std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
    let first = first.filter(|path| path.extension().is_some_and(|state| state == "sealed")).min().unwrap();
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[2 * 4096 + 96] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let found = on(&to, "verify LOG").ends(1).stdout;
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(found.contains(name) && found.contains("  acknowledged"), "{found}");
    write_on(&to, "repair LOG").ends(3);
}

/// A follower's copy can be looked at like a log, and copied on; what holds nothing is not made a follower's.
#[test]
fn a_follower_is_looked_at_and_copied() {
    let (dir, log) = a_log("ship-look");
    for n in 0..100u32 {
        append(&log, &n.to_le_bytes());
    }
    log.roll().unwrap();
    append(&log, b"the last");
    log.close().unwrap();
    let to = scratch("tool-ship-look-to").join("follower");
    write_on(&dir, &format!("copy LOG {} --follower", to.display())).ends(0);
    let before = look(&to);
    assert_eq!(dumped(&to), dumped(&dir));
    for words in ["tail LOG -n 3 --format json", "stats LOG --json", "verify LOG", "dump LOG --headers-only"] {
        let (ours, theirs) = (on(&to, words).ends(0).stdout, on(&dir, words).ends(0).stdout);
        assert!(ours == theirs || words == "stats LOG --json" || words == "verify LOG", "{words}: {ours}");
        assert!(!ours.is_empty());
    }
    let segments = on(&to, "segments LOG").ends(0).stdout;
    assert!(segments.lines().count() > 5 && segments.contains("sealed") && segments.contains("101  "), "{segments}");
    let info = on(&to, "info LOG --json").ends(0).stdout;
    assert!(info.contains("\"follower\": true") && info.contains("\"last_seq\": 101"), "{info}");
    assert!(on(&to, "info LOG").ends(0).stdout.contains("follower"));
    assert!(!on(&dir, "info LOG --json").ends(0).stdout.contains("follower"));
    let refused = write_on(&to, "hold set LOG mine 1").ends(3);
    assert!(refused.stderr.contains("follower"), "{}", refused.stderr);
    assert_same(&before, &look(&to), "looking");
    // A copy of the copy.
    let third = scratch("tool-ship-look-third").join("copy");
    write_on(&to, &format!("copy LOG {}", third.display())).ends(0);
    assert_eq!(dumped(&third), dumped(&dir));
    on(&third, "verify LOG").ends(0);
    let empty = scratch("tool-ship-look-empty");
    let refused = write_on(&empty, "receive LOG --no-input --promote").ends(3);
    assert!(refused.stderr.contains("nothing that could be promoted"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0, "something was left");
}
