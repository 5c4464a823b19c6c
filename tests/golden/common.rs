//! What the tests of the format share: files as text, records as lines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use twal::{Log, Options, Record};

/// An empty directory for one test.
pub fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Small segments; whatever disk the tests run on will do, for nothing here depends on its flushes.
pub fn options() -> Options {
    Options { allow_any_fs: true, allow_buffered: true, segment_size: 64 << 10, ..Options::default() }
}

/// The same for reading only.
pub fn read_only() -> Options {
    Options { read_only: true, ..options() }
}

/// Every record as a line, as tests/format_reader.py prints it; and what ended the reading, if it was an error.
pub fn lines_of(log: &Log) -> (Vec<String>, Option<twal::Error>) {
    let mut lines = Vec::new();
    let mut iter = log.iter(0).unwrap();
    loop {
        match iter.next_record() {
            Ok(Some(record)) => lines.push(line_of(&record)),
            Ok(None) => return (lines, None),
            Err(error) => return (lines, Some(error)),
        }
    }
}

/// One record as a line of JSON.
pub fn line_of(record: &Record<'_>) -> String {
    let flags = u8::from(record.required) | u8::from(record.batch_continues) << 1;
    format!(
        r#"{{"seq": {}, "stream": {}, "timestamp": {}, "type": {}, "flags": {flags}, "len": {}, "payload": "{}"}}"#,
        record.seq,
        record.stream,
        record.timestamp,
        record.kind,
        record.data.len(),
        hex(record.data)
    )
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The names and bytes of a directory's segments, in order.
pub fn segments_of(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("twal-") && !name.starts_with("twal-spare-"))
        .map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap()))
        .collect();
    files.sort();
    files
}

/// Puts files into a directory.
pub fn write_files(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// A segment file from its text: see tests/golden.rs.
pub fn from_text(text: &str) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    for line in text.lines() {
        if let Some(size) = line.strip_prefix("size ") {
            bytes.resize(size.parse().unwrap(), 0);
        } else if let Some(offset) = line.strip_prefix("block ") {
            at = offset.parse().unwrap();
        } else {
            for pair in line.as_bytes().chunks(2) {
                bytes[at] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
                at += 1;
            }
        }
    }
    bytes
}
