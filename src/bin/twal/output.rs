//! What is printed: text for people, JSON for programs.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use twal::{HeldBy, SegmentState};

/// Standard output.
pub struct Out {
    to: BufWriter<StdoutLock<'static>>,
    coloured: bool,
}

impl Out {
    pub fn new() -> Out {
        let stdout = io::stdout();
        let coloured = wants_colour(stdout.is_terminal(), |name| std::env::var(name).ok());
        Out { to: BufWriter::with_capacity(64 << 10, stdout.lock()), coloured }
    }

    /// A line of a list of facts.
    pub fn fact(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        writeln!(self, "{name:<14} {value}")
    }

    /// The same word, marked as bad on a terminal.
    pub fn bad(&self, word: &str) -> String {
        match self.coloured {
            true => format!("\x1b[1;31m{word}\x1b[0m"),
            false => word.to_owned(),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Colour is for terminals, and for nobody who said no: no-color.org.
fn wants_colour(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let refused = env("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !refused && env("TERM").is_none_or(|term| term != "dumb")
}

/// A JSON object in the making; names are put in as they are.
pub struct Json(String);

impl Json {
    pub fn new() -> Json {
        Json("{".into())
    }

    /// A number, or what is JSON already.
    pub fn put(mut self, name: &str, value: impl Display) -> Json {
        if self.0.len() > 1 {
            self.0.push_str(", ");
        }
        self.0.push_str(&format!("\"{name}\": {value}"));
        self
    }

    pub fn text(self, name: &str, text: impl Display) -> Json {
        self.put(name, quoted(&text.to_string()))
    }

    pub fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A list of what is JSON already.
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Text that cannot do anything to a terminal: what is no UTF-8, and control characters but line ends and tabs, as
/// escapes.
pub fn visible(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                '\n' | '\t' => out.push(char),
                char if char.is_control() || turns(char) => out.extend(char.escape_unicode()),
                char => out.push(char),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// Whether a character makes a terminal show others in another order, or in another line.
fn turns(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same in one line: names of files, and texts that hold some.
pub fn shown(text: impl Display) -> String {
    visible(text.to_string().as_bytes()).replace('\n', "\\n").replace('\t', "\\t")
}

/// 32 bytes of the program's: as text if they are some, with zeros behind.
pub fn name(bytes: &[u8; 32]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => text.to_owned(),
        _ => hex(bytes),
    }
}

/// Bytes, as people say them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while bytes >> (10 * (unit + 2)) > 0 && unit + 1 < UNITS.len() {
        unit += 1;
    }
    // In tenths, rounded down: no float is needed.
    let tenths = (u128::from(bytes) * 10) >> (10 * (unit + 1));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A moment as UTC; empty: it is not known.
pub fn utc(ns: i64) -> String {
    if ns == 0 {
        return "-".into();
    }
    let seconds = ns.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March, so that the day that is not always there is the last one; 400 of them are an era.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Numbers from one to another; last below first: none.
pub fn range(first: u64, last: u64) -> String {
    match last.checked_sub(first) {
        None => "none".into(),
        Some(0) => first.to_string(),
        Some(_) => format!("{first}..{last}"),
    }
}

pub fn state_name(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Active => "active",
        SegmentState::Sealed => "sealed",
        SegmentState::Archived => "archived",
    }
}

pub fn held_by_name(held_by: &HeldBy) -> String {
    match held_by {
        HeldBy::Nobody => "nobody".into(),
        HeldBy::Writer => "writer".into(),
        HeldBy::Hold(name) => format!("hold {name}"),
        HeldBy::Transactions => "transactions".into(),
        HeldBy::Reader => "reader".into(),
        HeldBy::Retention => "retention".into(),
        HeldBy::Unreadable => "unreadable holds".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_did_not_say_no() {
        let env =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert!(wants_colour(true, |_| None) && wants_colour(true, env("NO_COLOR", "")));
        assert!(!wants_colour(false, |_| None));
        assert!(!wants_colour(true, env("NO_COLOR", "1")) && !wants_colour(true, env("TERM", "dumb")));
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let second = 1_000_000_000;
        let cases = [
            (1, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400 * second, "2000-02-29T00:00:00Z"),
            (951_868_800 * second, "2000-03-01T00:00:00Z"),
            (1_700_000_000 * second, "2023-11-14T22:13:20Z"),
            (4_107_542_399 * second, "2100-02-28T23:59:59Z"),
            (4_107_542_400 * second, "2100-03-01T00:00:00Z"),
        ];
        for (ns, text) in cases {
            assert_eq!(utc(ns), text);
        }
    }

    #[test]
    fn sizes_are_in_the_largest_unit_that_fits() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (65536, "64.0 KiB"), (1 << 20, "1.0 MiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
        assert_eq!((size((3 << 30) - 1), size(u64::MAX)), ("2.9 GiB".into(), "16383.9 PiB".into()));
    }

    #[test]
    fn what_is_shown_does_nothing_to_a_terminal() {
        assert_eq!(visible(b"a\tb\\ \x1b[2J\xff\xc3\xa9\n"), "a\tb\\\\ \\u{1b}[2J\\xff\u{e9}\n");
        assert_eq!(visible("a\u{202e}b\u{2028}c".as_bytes()), "a\\u{202e}b\\u{2028}c");
        assert_eq!(shown("a\tb\n\u{9b}c"), "a\\tb\\n\\u{9b}c");
        assert_eq!(quoted("a\"\\\n\u{1b}"), "\"a\\\"\\\\\\u000a\\u001b\"");
        let mut bytes = [0; 32];
        assert_eq!(name(&bytes), "0".repeat(64));
        bytes[..4].copy_from_slice(b"node");
        assert_eq!(name(&bytes), "node");
        bytes[1] = 0xff;
        assert_eq!(name(&bytes)[..8], *"6eff6465");
    }
}
