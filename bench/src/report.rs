//! Results: a table for people, JSON lines for programs and for the report.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use crate::json::Json;

/// What one slice measured: name → number.  What was not measured is not in it.
pub type Figures = BTreeMap<String, f64>;

/// The fields that say what a line measured; a new line takes the place of one that measured the same.
const KEYS: [&str; 9] = ["kind", "contender", "threads", "bytes", "rate", "segment_bytes", "how", "load", "name"];

/// The file of results.  It is written anew after every line: a run that is
/// broken off has left what it measured.
pub struct Results {
    path: PathBuf,
    lines: Vec<Json>,
    /// When this run began, in every line of it.
    run: String,
}

impl Results {
    /// What is in the file already stays, unless `fresh`.
    pub fn open(path: &Path, fresh: bool, run: &str) -> Result<Self, String> {
        let lines = if fresh { Vec::new() } else { read(path)? };
        Ok(Results { path: path.to_owned(), lines, run: run.to_owned() })
    }

    /// Adds a line, or puts it in the place of the one with the same keys.
    pub fn put(&mut self, kind: &str, fields: Vec<(String, Json)>) -> io::Result<()> {
        let mut all = named([("kind", kind.into()), ("run", self.run.as_str().into())]);
        all.extend(fields);
        let line = Json::Map(all);
        let same = |other: &Json| KEYS.iter().all(|key| other.get(key) == line.get(key));
        match self.lines.iter().position(same) {
            Some(at) => self.lines[at] = line,
            None => self.lines.push(line),
        }
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)
    }
}

/// Fields of a line.
pub fn named<'a>(fields: impl IntoIterator<Item = (&'a str, Json)>) -> Vec<(String, Json)> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The lines of a file of results; none if there is no such file.
pub fn read(path: &Path) -> Result<Vec<Json>, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let parse = |(at, line)| Json::parse(line).map_err(|error| format!("{}, line {}: {error}", path.display(), at + 1));
    text.lines().enumerate().map(parse).collect()
}

/// Prints rows under heads: the first `left` columns to the left, numbers to the right.
pub fn print_table(heads: &[&str], left: usize, rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let print = |cells: &[&str]| {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if column < left {
                line.push_str(&format!("{cell:<width$}  "));
            } else {
                line.push_str(&format!("{cell:>width$}  "));
            }
        }
        println!("{}", line.trim_end());
    };
    print(heads);
    for row in rows {
        print(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// Says how far the run is, on a terminal; the next call takes its place, an empty one removes it.
pub fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{:79}\r{text}", "");
    }
}

/// The middle value (of an even number of values the mean of the two); NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// 12345678 → "12,345,678"; a dash for what was not measured.
pub fn grouped(number: f64) -> String {
    if number.is_nan() {
        return "–".into();
    }
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// With `digits` behind the point; a dash for what was not measured.
pub fn fixed(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "–".into();
    }
    format!("{number:.digits$}")
}

/// Microseconds, one digit behind the point where it says something.
pub fn micros(us: f64) -> String {
    if us < 1e3 {
        fixed(us, 1)
    } else {
        grouped(us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_thousands() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        let words = [grouped(12.0), grouped(123.0), grouped(1_234_567.4), grouped(f64::NAN)];
        assert_eq!(words, ["12", "123", "1,234,567", "–"]);
    }

    #[test]
    fn a_new_line_takes_the_place_of_the_old_one() {
        let path = std::env::temp_dir().join(format!("twal-bench-results-{}", std::process::id()));
        let put = |run: &str, threads: u64, rate: f64| {
            let mut results = Results::open(&path, false, run).unwrap();
            results.put("sync", named([("threads", threads.into()), ("per_second", rate.into())])).unwrap();
        };
        put("first", 1, 10.0);
        put("first", 2, 20.0);
        put("second", 1, 11.0);
        let mut results = Results::open(&path, false, "third").unwrap();
        for load in ["much", "little"] {
            results.put("tail", named([("how", "inside".into()), ("load", load.into())])).unwrap();
        }
        let mut lines = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let loads: Vec<_> = lines.split_off(2).iter().map(|line| line.text("load").to_owned()).collect();
        assert_eq!(loads, ["much", "little"]);
        let seen: Vec<_> = lines.iter().map(|line| (line.text("run"), line.number("per_second"))).collect();
        assert_eq!(seen, [("second", 11.0), ("first", 20.0)]);
    }
}
