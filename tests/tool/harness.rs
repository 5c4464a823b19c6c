//! Running the program, and logs to run it on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use twal::{Entry, How, Log, Options};

use crate::common::{from_text, options, scratch};

/// What it takes to write on whatever disk the tests run on.
pub const ANY_DISK: [&str; 2] = ["--allow-any-fs", "--allow-buffered"];

/// What a run came to.
pub struct Ran {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The same, if it ended like this.
    pub fn ends(self, exit: i32) -> Ran {
        assert_eq!(self.exit, exit, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

pub fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twal"));
    command.args(args).stdin(Stdio::null());
    command
}

pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    let output = command(args).output().unwrap();
    Ran {
        exit: output.status.code().expect("it ends by itself"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A run whose standard output is read while it goes on.
pub fn spawn(args: &[&str]) -> (Child, ChildStdout) {
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

/// `twal` and what follows it, with the log's directory behind the subcommand.
pub fn on(dir: &Path, words: &str) -> Ran {
    run(&args_on(dir, words))
}

/// The same for what writes.
pub fn write_on(dir: &Path, words: &str) -> Ran {
    let mut args = args_on(dir, words);
    args.extend(ANY_DISK.map(str::to_owned));
    run(&args)
}

/// `LOG` stands for the directory.
pub fn args_on(dir: &Path, words: &str) -> Vec<String> {
    words.split_whitespace().map(|word| word.replace("LOG", dir.to_str().unwrap())).collect()
}

/// A committed log, in a directory of its own.
pub fn golden(log: &str, name: &str) -> PathBuf {
    let dir = scratch(&format!("tool-{name}"));
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(log);
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "hex") {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(dir.join(path.file_stem().unwrap()), from_text(&text)).unwrap();
        }
    }
    dir
}

/// The records of a committed log, as lines of JSON.
pub fn golden_lines(log: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(log).join("expected.jsonl");
    std::fs::read_to_string(path).unwrap()
}

/// An open log in a directory of its own.
pub fn a_log(name: &str) -> (PathBuf, Log) {
    let dir = scratch(&format!("tool-{name}")).join("log");
    let log = Log::open(&dir, &Options { max_retained_segments: u64::MAX, ..options() }).unwrap();
    (dir, log)
}

pub fn append(log: &Log, data: &[u8]) -> u64 {
    append_as(log, data, (1, 0x0100))
}

pub fn append_as(log: &Log, data: &[u8], (stream, kind): (u64, u16)) -> u64 {
    let entry = Entry { data, stream, timestamp: Some(1_700_000_000), kind, required: false };
    log.append(&entry, How::default()).unwrap()
}

/// Everything that is to be seen of a directory: names, whatever they name, bytes, and when they were changed.
pub fn look(dir: &Path) -> Vec<(String, String, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = Vec::new();
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    for path in entries.chain([dir.to_owned()]) {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let facts = format!(
            "{:?} inode {} mode {:o} size {} blocks {} changed {}.{:09} {}.{:09}",
            meta.file_type(),
            meta.ino(),
            meta.mode(),
            meta.size(),
            meta.blocks(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        seen.push((path.to_str().unwrap().to_owned(), facts, bytes));
    }
    seen.sort();
    seen
}

pub fn assert_same(before: &[(String, String, Vec<u8>)], after: &[(String, String, Vec<u8>)], what: &str) {
    let facts = |seen: &[(String, String, Vec<u8>)]| -> Vec<(String, String)> {
        seen.iter().map(|(name, facts, _)| (name.clone(), facts.clone())).collect()
    };
    assert_eq!(facts(before), facts(after), "{what} has changed something");
    assert!(before == after, "{what} has changed bytes");
}

/// Compares with what is committed, or commits it.
pub fn expect(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tool/expected").join(name);
    same_or_write(&path, text);
}

/// As [`expect`], of any file of the tree.
pub fn same_or_write(path: &Path, text: &str) {
    if std::env::var_os("TWAL_WRITE_TOOL").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (number, (committed, now)) in (1..).zip(committed.lines().zip(text.lines())) {
        assert_eq!(committed, now, "{}:{number} has drifted; \"make tool-text\" writes it anew", path.display());
    }
    assert_eq!(committed, text, "{} has drifted; \"make tool-text\" writes it anew", path.display());
}
