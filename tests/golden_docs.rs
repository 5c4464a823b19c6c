//! Goal: what the documentation repeats, it repeats exactly; what it points at, is there.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The output of a program and whether it succeeded; None: there is no such program.
fn run(program: &str, args: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(program).args(args).current_dir(root()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// The manual pages: names and texts.
fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<_> = std::fs::read_dir(root().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".3") || name.ends_with(".7"))
        .map(|name| (name.clone(), read(&format!("man/{name}"))))
        .collect();
    pages.sort();
    pages
}

#[test]
fn the_readme_holds_the_example() {
    let (readme, hello) = (read("README.md"), read("examples/hello.c"));
    assert!(readme.contains(&format!("```c\n{hello}```")), "README.md does not hold examples/hello.c as it is");
}

#[test]
fn the_chapter_of_transactions_holds_its_example() {
    let (chapter, example) = (read("docs/TRANSACTIONS.md"), read("examples/transactions.c"));
    assert!(
        chapter.contains(&format!("```c\n{example}```")),
        "docs/TRANSACTIONS.md does not hold its example as it is"
    );
}

#[test]
fn the_manual_says_what_the_header_says() {
    match run("python3", &["man/generate.py", "--check"]) {
        None => println!("skipped: there is no python3 here"),
        Some((same, text)) => assert!(same, "{text}"),
    }
}

#[test]
fn every_function_has_a_page() {
    let map = read("twal.map");
    let functions: Vec<_> = map.lines().filter_map(|line| line.trim().strip_suffix(';')).collect();
    let functions: Vec<_> = functions.into_iter().filter(|name| name.starts_with("twal_")).collect();
    assert!(functions.len() >= 21);
    let pages = pages();
    for function in &functions {
        let page = pages.iter().find(|(name, _)| *name == format!("{function}.3"));
        let (_, text) = page.unwrap_or_else(|| panic!("{function} has no page"));
        let text = match text.strip_prefix(".so man3/") {
            Some(other) => &pages.iter().find(|(name, _)| *name == other.trim_end()).expect("the page meant").1,
            None => text,
        };
        assert!(text.contains(&format!("{function}(")), "the page of {function} does not speak of it");
    }
    assert_eq!(pages.len(), functions.len() + 1, "a page for each function, and twal.7");
}

#[test]
fn the_manual_is_clean() {
    for (name, text) in pages().iter().filter(|(_, text)| !text.starts_with(".so ")) {
        assert!(text.contains(&format!("\"twal {}\"", env!("CARGO_PKG_VERSION"))), "{name} is of another version");
        match run("groff", &["-man", "-ww", "-z", "-Tutf8", &format!("man/{name}")]) {
            None => return println!("skipped: there is no groff here"),
            Some((good, complaints)) => assert!(good && complaints.is_empty(), "{complaints}"),
        }
    }
}

/// Links to files, and to headings of pages, lead somewhere.
#[test]
fn links_lead_somewhere() {
    let anchors = |text: &str| -> Vec<String> {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let keep = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
        let anchor =
            |line: &str| line.trim_start_matches('#').trim().to_lowercase().chars().filter(keep).collect::<String>();
        headings.map(|line| anchor(line).replace(' ', "-")).collect()
    };
    let mut links = 0;
    for page in ["README.md", "CHANGELOG.md", "docs/FORMAT.md", "docs/ARCHITECTURE.md"] {
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(page),
                file => root().join(page).parent().unwrap_or(Path::new(".")).join(file),
            };
            assert!(target.exists(), "{page}: {link} leads nowhere");
            if !heading.is_empty() {
                let there = anchors(&std::fs::read_to_string(target).unwrap());
                assert!(there.iter().any(|anchor| anchor == heading), "{page}: {link} leads nowhere: {there:?}");
            }
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links were found");
}

/// Every file that ARCHITECTURE.md names in `code style` with a folder in front is there.
#[test]
fn the_map_names_files_that_are_there() {
    let text = read("docs/ARCHITECTURE.md");
    let mut names = 0;
    for code in text.split('`').skip(1).step_by(2) {
        let is_path = code.contains('/') && !code.contains([' ', '<', '*', '=', '(']) && !code.starts_with('/');
        if is_path {
            let there = root().join("src").join(code).exists() || root().join(code).exists();
            assert!(there, "docs/ARCHITECTURE.md names {code}, which is not there");
            names += 1;
        }
    }
    assert!(names > 30, "only {names} files are named");
}
