//! The repository checks itself: layers, `unsafe`, banned calls, lists that
//! must agree.
//!
//! Each rule is a function from text to complaints, so that the canaries at the
//! end can show that it fires; a rule that finds nothing in the tree proves
//! nothing before that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who may import whom: only from a lower rank.  `log` is src/log.rs.
const RANKS: [(&str, u32); 16] = [
    ("base", 0),
    ("format", 1),
    ("mem", 1),
    ("crypto", 1),
    ("disk", 2),
    ("segment", 3),
    ("read", 4),
    ("recover", 5),
    ("commit", 5),
    ("compact", 5),
    ("log", 6),
    ("interchange", 6),
    ("ship", 7),
    ("txn", 7),
    ("ffi", 8),
    ("bin", 8),
];

/// Imports that go down and are still wrong.
const NEVER: [(&str, &str, &str); 3] = [
    ("disk", "format", "a disk does not know what it stores"),
    ("segment", "crypto", "segments carry key ids, not keys"),
    ("txn", "disk", "transactions are a client of the log"),
];

/// Where `unsafe` may stand.
const UNSAFE_FOLDERS: [&str; 3] = ["mem", "disk", "ffi"];

/// How many lines above an `unsafe` its SAFETY comment may begin.
const SAFETY_DISTANCE: usize = 6;

/// What no code of the library does, and what to do instead.
const BANNED: [(&str, &str); 13] = [
    ("print!", "the library does not print: count it, or return it"),
    ("println!", "the library does not print: count it, or return it"),
    ("eprint!", "the library does not print: count it, or return it"),
    ("eprintln!", "the library does not print: count it, or return it"),
    ("dbg!", "the library does not print"),
    ("process::exit", "the process is the caller's"),
    ("process::abort", "the process is the caller's"),
    ("libc::exit", "the process is the caller's"),
    ("libc::abort", "the process is the caller's"),
    ("HashMap::new", "its hasher wants random bytes, and panics without: say which hasher"),
    ("HashSet::new", "its hasher wants random bytes, and panics without: say which hasher"),
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
];

/// What no file says, in code or comment.
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];

struct Source {
    /// Relative to src/.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// The layer it belongs to: its folder, or log for src/log.rs.  None for lib.rs.
    fn layer(&self) -> Option<&str> {
        let first = self.path.split('/').next().unwrap();
        let layer = first.strip_suffix(".rs").unwrap_or(first);
        (layer != "lib").then_some(layer)
    }

    fn complain(&self, line: usize, what: &str) -> String {
        let text = self.text.lines().nth(line).unwrap_or("").trim();
        format!("src/{}:{}: {what}: {text}", self.path, line + 1)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file under src/.
fn sources() -> Vec<Source> {
    fn collect(dir: &Path, src: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, src, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(src).unwrap().to_str().unwrap();
                found.push(Source::new(name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let src = root().join("src");
    let mut found = Vec::new();
    collect(&src, &src, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "found only {} files in {src:?}", found.len());
    found
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// --- reading Rust -------------------------------------------------------------

/// The text with comments and the insides of literals blanked; lines stay where
/// they are.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => at + find(&bytes[at..], b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => at + 2 + find(&bytes[at + 2..], b"*/") + 2,
            b'"' => end_of_string(bytes, at + 1),
            b'r' if !is_word(bytes, at) && raw_hashes(&bytes[at + 1..]).is_some() => {
                let hashes = raw_hashes(&bytes[at + 1..]).unwrap();
                let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
                let start = at + hashes + 2;
                start + find(&bytes[start..], &close) + close.len()
            }
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at + 3 + find(&bytes[at + 3..], b"'") + 1,
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at + 3,
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(out).unwrap()
}

/// Where `needle` begins in `bytes`, or their end.
fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap_or(bytes.len())
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// How many # a raw string begins with here; None if none begins.
fn raw_hashes(bytes: &[u8]) -> Option<usize> {
    let hashes = bytes.iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Whether the byte before `at` belongs to a word that goes on here.
fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// Code with what is only compiled for tests blanked too.
fn library_code_of(text: &str) -> String {
    let mut code = code_of(text).into_bytes();
    let mark = b"#[cfg(test)]";
    let mut at = 0;
    loop {
        let start = at + find(&code[at..], mark);
        if start >= code.len() {
            return String::from_utf8(code).unwrap();
        }
        let mut depth = 0;
        let mut end = start + mark.len();
        while end < code.len() {
            match code[end] {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            end += 1;
            if depth == 0 && matches!(code[end - 1], b'}' | b';') {
                break;
            }
        }
        code[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
}

/// Where `word` stands in `code` as a word of its own: byte offsets.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let after = code.as_bytes().get(at + word.len());
        let goes_on = word.ends_with(|char: char| char.is_alphanumeric())
            && after.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        !is_word(code.as_bytes(), *at) && !goes_on
    })
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count()
}

/// The first names behind a path's start: `x` of `x::y`, `a` and `b` of `{a::c, b}`.
fn names_at(code: &str) -> Vec<&str> {
    let name = |text: &str| text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    let code = code.trim_start();
    let Some(group) = code.strip_prefix('{') else { return vec![&code[..name(code)]] };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let one = group[start..at].trim();
                names.push(&one[..name(one)]);
                start = at + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

// --- the rules ----------------------------------------------------------------

fn rank(layer: &str) -> Option<u32> {
    RANKS.iter().find(|(name, _)| *name == layer).map(|(_, rank)| *rank)
}

/// Imports go down only.
fn layers(source: &Source) -> Vec<String> {
    let Some(layer) = source.layer() else { return Vec::new() };
    let Some(own) = rank(layer) else { return vec![source.complain(0, "a folder that is no layer: give it a rank")] };
    let code = code_of(&source.text);
    let mut roots: Vec<&str> = vec!["crate::", "twal::", "super::super::"];
    if source.path.ends_with("/mod.rs") || !source.path.contains('/') {
        roots.push("super::"); // there it is the crate's root
    }
    let mut found = Vec::new();
    for start in roots {
        for at in words(&code, start) {
            for name in names_at(&code[at + start.len()..]) {
                let Some(other) = rank(name).filter(|_| name != layer) else { continue };
                let never = NEVER.iter().find(|(from, to, _)| (*from, *to) == (layer, name));
                if other >= own {
                    found.push(source.complain(line_of(&code, at), &format!("{layer} may not import {name}")));
                } else if let Some((_, _, why)) = never {
                    found.push(source.complain(line_of(&code, at), &format!("{layer} may not import {name}, {why}")));
                }
            }
        }
    }
    found
}

/// `unsafe` stands where it may, and says why it is right.
fn unsafe_is_argued(source: &Source) -> Vec<String> {
    let code = code_of(&source.text);
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for at in words(&code, "unsafe") {
        let line = line_of(&code, at);
        let rest = code[at + "unsafe".len()..].trim_start();
        if !source.layer().is_some_and(|layer| UNSAFE_FOLDERS.contains(&layer)) {
            found.push(source.complain(line, "unsafe is for mem/, disk/ and ffi/"));
        } else if rest.starts_with('{') || rest.starts_with("impl") {
            let from = line.saturating_sub(SAFETY_DISTANCE);
            if !lines[from..=line].iter().any(|line| line.contains("// SAFETY:")) {
                found.push(source.complain(line, "unsafe without a SAFETY comment above it"));
            }
        }
    }
    found
}

/// Nothing that a library must not do, and nothing left unfinished.
fn banned(source: &Source) -> Vec<String> {
    let code = library_code_of(&source.text);
    let mut found = Vec::new();
    let a_program = source.layer() == Some("bin");
    for (what, why) in BANNED.iter().filter(|(what, _)| !a_program || matches!(*what, "todo!" | "unimplemented!")) {
        for at in words(&code, what) {
            found.push(source.complain(line_of(&code, at), why));
        }
    }
    if source.path != "ffi/guard.rs" {
        for at in words(&code, "catch_unwind") {
            found.push(source.complain(line_of(&code, at), "panics are caught in ffi/guard.rs only"));
        }
    }
    if source.path != "base/panics.rs" {
        for at in words(&code, "set_hook") {
            found.push(source.complain(line_of(&code, at), "the panic hook is the caller's, but in the C libraries"));
        }
    }
    for word in UNFINISHED {
        for at in words(&source.text, word) {
            found.push(source.complain(line_of(&source.text, at), "say it in an issue"));
        }
    }
    found
}

/// The functions that a Rust file exports.
fn exported(text: &str) -> BTreeSet<String> {
    let code = code_of(text); // of `extern "C" fn` it leaves `extern     fn`
    code.match_indices("extern")
        .filter_map(|(at, _)| {
            let rest = code[at + "extern".len()..].trim_start().strip_prefix("fn ")?;
            Some(rest[..rest.find(['(', '<'])?].to_owned())
        })
        .filter(|name| name.starts_with("twal_"))
        .collect()
}

/// The functions that a header declares.
fn declared(header: &str) -> BTreeSet<String> {
    let mut code = code_of(header);
    code = code.lines().filter(|line| !line.starts_with([' ', '#'])).collect::<Vec<_>>().join("\n");
    code.match_indices('(')
        .filter_map(|(at, _)| code[..at].rsplit([' ', '*', '\n']).next())
        // "twal_x)(" is the type of a function.
        .filter(|name| name.starts_with("twal_") && !name.ends_with(')'))
        .map(str::to_owned)
        .collect()
}

/// The functions that a version script exports.
fn mapped(map: &str) -> BTreeSet<String> {
    let names = map.lines().filter_map(|line| line.trim().strip_suffix(';'));
    names.filter(|name| name.starts_with("twal_")).map(str::to_owned).collect()
}

/// The complaints about lists that should be one.
fn disagree(name: &str, list: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Vec<String> {
    let missing = wanted.difference(list).map(|function| format!("{name} lacks {function}"));
    let extra = list.difference(wanted).map(|function| format!("{name} has {function}, src/ffi has not"));
    missing.chain(extra).collect()
}

/// Whether the changelog speaks of `version`.
fn has_section(changelog: &str, version: &str) -> bool {
    changelog.lines().any(|line| line.strip_prefix("## ").is_some_and(|title| title.split(' ').next() == Some(version)))
}

// --- the tree obeys them --------------------------------------------------------

#[test]
fn imports_go_down_only() {
    assert_none(sources().iter().flat_map(layers).collect());
}

#[test]
fn unsafe_code_is_where_it_may_be_and_says_why() {
    assert_none(sources().iter().flat_map(unsafe_is_argued).collect());
}

#[test]
fn nothing_banned_and_nothing_unfinished() {
    assert_none(sources().iter().flat_map(banned).collect());
}

#[test]
fn source_header_and_map_name_the_same_functions() {
    let ffi: Vec<Source> = sources().into_iter().filter(|source| source.layer() == Some("ffi")).collect();
    let exported: BTreeSet<String> = ffi.iter().flat_map(|source| exported(&source.text)).collect();
    assert!(exported.len() >= 21, "found only {exported:?}");
    assert_none(disagree("include/twal.h", &declared(&read("include/twal.h")), &exported));
    assert_none(disagree("twal.map", &mapped(&read("twal.map")), &exported));
}

#[test]
fn nothing_is_exported_elsewhere() {
    for source in sources().iter().filter(|source| source.layer() != Some("ffi")) {
        assert!(!code_of(&source.text).contains("no_mangle"), "src/{} exports a symbol", source.path);
    }
}

#[test]
fn the_changelog_has_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(has_section(&read("CHANGELOG.md"), version), "CHANGELOG.md has no section \"## {version}\"");
}

// --- the alarms ring --------------------------------------------------------------

#[test]
fn canary_layers() {
    let fires = |path: &str, text: &str| layers(&Source::new(path, text)).len();
    assert_eq!(fires("base/x.rs", "use crate::disk::Disk;"), 1);
    assert_eq!(fires("disk/x.rs", "fn f() { crate::segment::scan() }"), 1);
    assert_eq!(fires("format/x.rs", "use crate::mem::Ring;"), 1, "same rank");
    assert_eq!(fires("disk/x.rs", "use crate::format::Frame;"), 1, "down, and still wrong");
    assert_eq!(fires("read/x.rs", "use crate::{base::Error, commit::{a, b},\n recover};"), 2);
    assert_eq!(fires("commit/mod.rs", "use super::recover::open;"), 1);
    assert_eq!(fires("mem/x.rs", "use super::super::disk::Disk;"), 1);
    assert_eq!(fires("log.rs", "use crate::ffi::code;"), 1);
    assert_eq!(fires("misc/x.rs", ""), 1, "no layer");
    assert_eq!(fires("log.rs", "use crate::commit::Commit; use crate::base::{Code, Error};"), 0);
    assert_eq!(fires("base/x.rs", "//! See [`crate::disk`].\nconst A: &str = \"crate::disk\";"), 0);
    assert_eq!(fires("ffi/x.rs", "use super::log::twal_log; use crate::log::Log;"), 0);
    let complaint = layers(&Source::new("base/x.rs", "\nuse crate::log::Log;")).remove(0);
    assert_eq!(complaint, "src/base/x.rs:2: base may not import log: use crate::log::Log;");
}

#[test]
fn canary_unsafe() {
    let fires = |path: &str, text: &str| unsafe_is_argued(&Source::new(path, text)).len();
    assert_eq!(fires("log.rs", "// SAFETY: no\nfn f() { unsafe { g() } }"), 1, "not there");
    assert_eq!(fires("mem/x.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(fires("mem/x.rs", "unsafe impl Send for X {}"), 1);
    assert_eq!(fires("mem/x.rs", "// SAFETY: far\n\n\n\n\n\n\nunsafe { g() }"), 1);
    assert_eq!(fires("mem/x.rs", "// SAFETY: near\n\n\n\n\n\nunsafe { g() }"), 0);
    assert_eq!(fires("mem/x.rs", "pub unsafe fn f() {}"), 0);
    assert_eq!(fires("base/mod.rs", "#![forbid(unsafe_code)] // unsafe { }"), 0);
}

#[test]
fn canary_banned() {
    let fires = |path: &str, text: &str| banned(&Source::new(path, text)).len();
    for (what, _) in BANNED {
        assert_eq!(fires("base/x.rs", &format!("fn f() {{ std::{what}(1); }}")), 1, "{what}");
        assert_eq!(fires("base/x.rs", &format!("// {what}\nconst A: &str = \"{what}\";")), 0, "{what}");
        let test = format!("#[cfg(test)]\nmod tests {{ fn f() {{ {what}(1); }} }}");
        assert_eq!(fires("base/x.rs", &test), 0, "{what}");
        assert_eq!(fires("base/x.rs", &format!("{test}\nfn f() {{ {what}(1); }}")), 1, "behind the tests: {what}");
    }
    for word in UNFINISHED {
        assert_eq!(fires("base/x.rs", &format!("// {word}: later")), 1, "{word}");
    }
    let catches = "fn f() { std::panic::catch_unwind(g); }";
    let hooks = "fn f() { std::panic::set_hook(g); }";
    assert_eq!((fires("ffi/guard.rs", hooks), fires("base/panics.rs", hooks)), (1, 0));
    assert_eq!((fires("log.rs", catches), fires("ffi/log.rs", catches), fires("ffi/guard.rs", catches)), (1, 1, 0));
    assert_eq!((fires("bin/twal/main.rs", "println!()"), fires("bin/twal/main.rs", "todo!()")), (0, 1));
}

#[test]
fn canary_lists() {
    let rust = "#[no_mangle]\npub unsafe extern \"C\" fn twal_a(x: u8) {}\n/// extern \"C\" fn twal_c()\n\
                pub extern \"C\" fn twal_b() {}";
    let both = BTreeSet::from(["twal_a".to_owned(), "twal_b".to_owned()]);
    assert_eq!(exported(rust), both);
    assert_eq!(
        declared("/* twal_c() */\nint twal_a(twal_x *x,\n           int twal_d(int));\nconst char *twal_b(void);"),
        both
    );
    assert_eq!(mapped("TWAL_0.1 {\nglobal:\n    twal_a;\n    twal_b;\nlocal:\n    *;\n};"), both);
    let one = BTreeSet::from(["twal_a".to_owned(), "twal_z".to_owned()]);
    assert_eq!(disagree("x", &one, &both), ["x lacks twal_b", "x has twal_z, src/ffi has not"]);
    assert!(disagree("x", &both, &both).is_empty());
    assert!(has_section("# Changes\n\n## 0.1.0\n", "0.1.0") && has_section("## 0.1.0 (2030-01-01)\n", "0.1.0"));
    assert!(!has_section("## 0.1.01\n## 1.0.1.0\ntext 0.1.0", "0.1.0"));
}

#[test]
fn canary_reading() {
    assert_eq!(code_of("a // b\nc"), "a     \nc");
    assert_eq!(code_of("a /* b\n */ c"), "a     \n    c");
    let literals = r#"f("// \" x", 'y', '\'', "z");"#;
    let commas = literals.replace(|char| !"f(,) ;".contains(char), " ");
    assert_eq!(code_of(literals), commas, "neither a comment nor the end of a string");
    assert_eq!(code_of("r#\"a \" b\"# c"), "           c");
    assert_eq!(code_of("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)", "lifetimes are code");
    assert_eq!(names_at("{a::b, c::{d, e}, f}; g"), ["a", "c", "f"]);
    assert_eq!(names_at("a::b"), ["a"]);
}
