//! Goal: include/twal.h says what src/ffi says.
//! Method: generate it anew and compare; `TWAL_WRITE_HEADER=1` writes it instead
//! (that is "make header").

use std::path::Path;

#[test]
fn the_header_is_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut generated = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/ffi/mod.rs"))
        .generate()
        .expect("src/ffi parses")
        .write(&mut generated);
    let generated = tidied(&String::from_utf8(generated).expect("the header is text"));
    let path = root.join("include/twal.h");
    if std::env::var_os("TWAL_WRITE_HEADER").is_some() {
        std::fs::write(&path, generated).expect("include/twal.h can be written");
        return;
    }
    let committed = std::fs::read_to_string(&path).expect("include/twal.h is there");
    for (number, (committed, generated)) in (1..).zip(committed.lines().zip(generated.lines())) {
        assert_eq!(committed, generated, "include/twal.h:{number} has drifted; run \"make header\" and commit");
    }
    assert_eq!(committed, generated, "include/twal.h has drifted; run \"make header\" and commit");
}

/// Whoever begins with the header looks for a function in its map.
#[test]
fn the_map_names_every_function() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name| std::fs::read_to_string(root.join(name)).expect("it is there");
    let (header, exported) = (read("include/twal.h"), read("twal.map"));
    let map = header.split(" * The map").nth(1).and_then(|behind| behind.split(" * The rules").next()).expect("a map");
    let named: Vec<&str> = map.split_whitespace().filter(|word| word.starts_with("twal_")).collect();
    let mut exported: Vec<&str> = exported.lines().filter_map(|line| line.trim().strip_suffix(';')).collect();
    exported.retain(|name| name.starts_with("twal_"));
    assert!(exported.len() > 100);
    for name in &exported {
        assert!(named.contains(name), "{name} is not in the header's map (cbindgen.toml)");
    }
    assert_eq!(named.len(), exported.len(), "the map names something twice, or what is not exported");
}

/// Style "both" gives every struct a tag and a name, and then uses the tag
/// everywhere; a C programmer writes the name.  And no two empty lines in a row.
fn tidied(header: &str) -> String {
    let mut out = String::new();
    let mut empty = false;
    for line in header.lines() {
        if line.is_empty() && empty {
            continue;
        }
        empty = line.is_empty();
        if line.starts_with("typedef struct ") {
            out.push_str(line);
        } else {
            out.push_str(&without_tags(line));
        }
        out.push('\n');
    }
    out
}

/// `struct twal_x ` → `twal_x `.
fn without_tags(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("struct twal_") {
        let name = &rest[at + "struct ".len()..];
        let len =
            name.bytes().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_').count();
        let whole_word = rest[..at].bytes().last().is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
        out.push_str(&rest[..at]);
        if !(whole_word && name[len..].starts_with(' ')) {
            out.push_str("struct ");
        }
        rest = name;
    }
    out + rest
}
