//! Results: a table for people, a JSON line for programs.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// One value of a result.
#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Number(f64),
    Numbers(Vec<f64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number as f64)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(number as f64)
    }
}

impl From<Vec<f64>> for Value {
    fn from(numbers: Vec<f64>) -> Self {
        Value::Numbers(numbers)
    }
}

/// Where the JSON lines go, if anywhere.
pub struct Report {
    json: Option<File>,
}

impl Report {
    /// Starts the file anew.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        Ok(Report { json: path.map(File::create).transpose()? })
    }

    /// One line: `kind` and the fields.
    pub fn line(&mut self, kind: &str, fields: &[(&str, Value)]) -> io::Result<()> {
        let Some(file) = &mut self.json else { return Ok(()) };
        let mut line = format!("{{\"kind\":{}", quoted(kind));
        for (name, value) in fields {
            line.push_str(&format!(",{}:{}", quoted(name), json(value)));
        }
        line.push_str("}\n");
        file.write_all(line.as_bytes())
    }
}

fn json(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) if number.is_finite() => number.to_string(),
        Value::Number(_) => "null".into(),
        Value::Numbers(numbers) => {
            let each: Vec<String> = numbers.iter().map(|number| json(&Value::Number(*number))).collect();
            format!("[{}]", each.join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
        eprint!("\r{:60}\r{text}", "");
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

/// 12345678 → "12,345,678"
pub fn grouped(number: f64) -> String {
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

/// Nanoseconds as microseconds, one digit behind the point where it says something.
pub fn micros(ns: f64) -> String {
    if ns < 1e6 {
        format!("{:.1}", ns / 1e3)
    } else {
        grouped(ns / 1e3)
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
        assert_eq!(
            (grouped(12.0), grouped(123.0), grouped(1_234_567.4)),
            ("12".into(), "123".into(), "1,234,567".into())
        );
    }

    #[test]
    fn json_survives_what_texts_hold() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
        assert_eq!(json(&Value::Numbers(vec![1.0, f64::NAN])), "[1,null]");
    }
}
