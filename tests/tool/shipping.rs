//! copy, ship and receive: the same bytes elsewhere.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use twal::Log;

use crate::common::{options, scratch, segments_of};
use crate::harness::{a_log, append, args_on, assert_same, command, look, on, run, spawn, write_on, Ran, ANY_DISK};

fn dumped(dir: &Path) -> String {
    on(dir, "dump LOG --format json").ends(0).stdout
}

/// Appends this many records of four bytes.
fn append_many(log: &Log, count: u32) {
    for n in 0..count {
        append(log, &n.to_le_bytes());
    }
}

/// An open log with this many records.
fn a_log_of(name: &str, count: u32) -> (PathBuf, Log) {
    let (dir, log) = a_log(name);
    append_many(&log, count);
    (dir, log)
}

/// What is durable is known from outside when something behind it says so.
fn await_durable(dir: &Path, last_seq: u64) {
    while on(dir, &format!("dump LOG --from {}", last_seq + 1)).exit != 0 {}
}

/// What `ship` writes.
fn ship(dir: &Path, more: &str) -> Output {
    command(&args_on(dir, &format!("ship LOG {more}"))).output().unwrap()
}

/// A directory that receives.
struct Follower {
    dir: PathBuf,
}

impl Follower {
    fn new(name: &str) -> Follower {
        Follower { dir: scratch(&format!("tool-{name}-to")).join("follower") }
    }

    /// Receives what is written to the pipe.
    fn begin(&self, more: &[&str]) -> (Child, ChildStdin) {
        let [any, buffered] = ANY_DISK;
        let mut child = command(&[&["receive", self.dir.to_str().unwrap(), any, buffered], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        (child, stdin)
    }

    /// Receives these bytes, and no more come.
    fn receive(&self, bytes: &[u8], more: &[&str]) -> Ran {
        let (child, mut stdin) = self.begin(more);
        // It may refuse before it has read everything.
        let _ = stdin.write_all(bytes);
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Ran {
            exit: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `receive` of no input.
    fn run(&self, more: &[&str]) -> Ran {
        let [any, buffered] = ANY_DISK;
        run(&[&["receive", self.dir.to_str().unwrap(), any, buffered], more].concat())
    }

    fn position(&self) -> String {
        self.run(&["--position"]).ends(0).stdout.trim().to_owned()
    }

    /// Promoted, it is what the log in `dir` is.
    fn expect_same(&self, dir: &Path) {
        assert_eq!(dumped(&self.dir), dumped(dir));
        on(&self.dir, "verify LOG").ends(0);
    }
}

/// The log's sealed segments, oldest first.
fn sealed_in(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|state| state == "sealed"));
    paths.sort();
    paths
}

/// Changes a byte in the body of the second frame; what the file was.
fn damage(segment: &Path) -> Vec<u8> {
    let whole = std::fs::read(segment).unwrap();
    let mut damaged = whole.clone();
    damaged[2 * 4096 + 96] ^= 1;
    std::fs::write(segment, damaged).unwrap();
    whole
}

#[test]
fn a_copy_beside_the_writer_is_a_log_of_its_own() {
    let (dir, log) = a_log_of("copy", 100);
    let to = scratch("tool-copy-to").join("copy");
    await_durable(&dir, 100);
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
    let to = Follower::new("ship");
    let mut position = String::new();
    for round in 0..3 {
        append_many(&log, 30);
        let last = log.last_seq();
        await_durable(&dir, last);
        let bytes = ship(&dir, &if round == 0 { String::new() } else { format!("--from {position}") }).stdout;
        assert!(bytes.len() > 30 * 4096, "{}", bytes.len());
        // Cut short: what came whole was taken, and the rest is asked for again.
        to.receive(&bytes[..bytes.len() / 2], &[]).ends(4);
        let rest = ship(&dir, &format!("--from {}", to.position())).stdout;
        let said = to.receive(&rest, &[]).ends(0).stdout;
        assert!(said.contains(&format!("up to record {last}")), "{said}");
        position = to.position();
        assert!(said.contains(&position), "{said}");
    }
    // What was damaged on its way, or is no shipment, is refused.
    let mut bytes = ship(&dir, "").stdout;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert_ne!(to.receive(&bytes, &[]).exit, 0);
    to.receive(b"something else, and long enough", &[]).ends(2);
    on(&dir, "ship LOG --from nowhere").ends(2);
    log.close().unwrap();
    to.receive(&ship(&dir, &format!("--from {position}")).stdout, &["--promote"]).ends(0);
    to.expect_same(&dir);
    let (ours, theirs) = (segments_of(&dir), segments_of(&to.dir));
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
    let to = Follower::new("ship-follow");
    to.receive(&shipped, &["--promote"]).ends(0);
    to.expect_same(&dir);
}

/// What a follower has taken is durable while it waits for more; and what its peer left half-sent takes none of it along.
#[test]
fn what_has_come_is_durable_before_more_comes() {
    let (dir, log) = a_log_of("receive-idle", 300);
    log.close().unwrap();
    let shipped = ship(&dir, "").stdout;
    let to = Follower::new("receive-idle");
    let (mut child, mut stdin) = to.begin(&[]);
    // Its end is on its way.
    stdin.write_all(shipped.strip_suffix(b"TWALdone").expect("all was sent")).unwrap();
    // The position's file is there from the beginning, and written anew once all is durable.
    let last_seq = 300u64.to_le_bytes();
    let begun = Instant::now();
    while !std::fs::read(to.dir.join("twal-sink")).is_ok_and(|bytes| bytes.windows(8).any(|word| word == last_seq)) {
        assert!(begun.elapsed() < Duration::from_secs(120), "it waits for more, and what there is is not durable");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(to.position().contains(":300:"), "{}", to.position());

    // Cut within a piece.
    let more = Log::open(&dir, &options()).unwrap();
    append_many(&more, 5);
    more.close().unwrap();
    let shipped = ship(&dir, &format!("--from {}", to.position())).stdout;
    let shipped = shipped.strip_suffix(b"TWALdone").expect("all was sent");
    to.receive(&[shipped, b"TWALpart", &[0; 20]].concat(), &[]).ends(4);
    assert!(to.position().contains(":305:"), "{}", to.position());

    // Its source is gone: nothing is awaited, and an input that is none promotes nothing.
    to.run(&["--promote"]).ends(4);
    to.run(&["--no-input"]).ends(2);
    to.run(&["--promote", "--no-input"]).ends(0);
    to.expect_same(&dir);
}

/// A source that breaks off in the middle makes no log of the half, whatever the pipe says of it.
#[test]
fn a_part_is_not_promoted() {
    let (dir, log) = a_log_of("ship-part", 100);
    log.close().unwrap();
    let to = Follower::new("ship-part");
    // Nothing at all makes nothing, and asking makes nothing either.
    to.receive(b"", &["--promote"]).ends(4);
    let asking = ["receive", to.dir.to_str().unwrap(), "--position"];
    let beginning = run(&asking).ends(0).stdout;
    assert!(!to.dir.exists());
    on(&dir, &format!("ship LOG --from {}2", beginning.trim().strip_suffix('0').unwrap())).ends(2);

    let sealed = sealed_in(&dir);
    let whole = damage(&sealed[2]);
    let part = ship(&dir, "");
    assert_eq!(part.status.code(), Some(1), "{}", String::from_utf8_lossy(&part.stderr));
    assert!(part.stdout.len() > 2 * 4096 && !part.stdout.ends_with(b"TWALdone"));
    let said = to.receive(&part.stdout, &["--promote"]).ends(4).stderr;
    assert!(said.contains("before all was sent"), "{said}");
    // What came is there, whole, and a follower's; also while somebody else has its lock.
    assert!(on(&to.dir, "info LOG --json").ends(0).stdout.contains("\"follower\": true"));
    let position = run(&asking).ends(0).stdout;
    let any_disk = twal::SinkOptions { allow_any_fs: true, allow_buffered: true, ..Default::default() };
    let sink = twal::Sink::open(&to.dir, &any_disk).unwrap();
    assert_eq!(run(&asking).ends(0).stdout, position);
    on(&to.dir, "verify LOG").ends(0);
    sink.close().unwrap();

    std::fs::write(&sealed[2], whole).unwrap();
    let rest = ship(&dir, &format!("--from {}", position.trim()));
    assert_eq!(rest.status.code(), Some(0));
    to.receive(&rest.stdout, &["--promote"]).ends(0);
    to.expect_same(&dir);
}

/// One byte of a sealed segment: opening a follower does not read it, verifying does.
#[test]
fn rot_in_a_follower_is_found_before_it_is_promoted() {
    let (dir, log) = a_log_of("ship-rot", 100);
    let to = scratch("tool-ship-rot-to").join("follower");
    write_on(&dir, &format!("copy LOG {} --follower", to.display())).ends(0);
    log.close().unwrap();
    on(&to, "verify LOG").ends(0);
    let first = &sealed_in(&to)[0];
    damage(first);
    let found = on(&to, "verify LOG").ends(1).stdout;
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(found.contains(name) && found.contains("  acknowledged"), "{found}");
    write_on(&to, "repair LOG").ends(3);
}

/// A follower's copy can be looked at like a log, and copied on; what holds nothing is not made a follower's.
#[test]
fn a_follower_is_looked_at_and_copied() {
    let (dir, log) = a_log_of("ship-look", 100);
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
