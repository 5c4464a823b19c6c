//! JSON, as little of it as result lines need.

use std::fmt;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    /// In the order of the text.
    Map(Vec<(String, Json)>),
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Text(text)
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Json::Number(number)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Json::Number(number as f64)
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Json::Number(number as f64)
    }
}

impl Json {
    /// A map's value under `name`; Null where there is none.
    pub fn get(&self, name: &str) -> &Json {
        let Json::Map(fields) = self else { return &Json::Null };
        fields.iter().find(|(its, _)| its == name).map_or(&Json::Null, |(_, value)| value)
    }

    /// The number under `name`; NaN where there is none.
    pub fn number(&self, name: &str) -> f64 {
        match self.get(name) {
            Json::Number(number) => *number,
            _ => f64::NAN,
        }
    }

    /// The text under `name`; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Json::Text(text) => text,
            _ => "",
        }
    }

    /// The value that `text` is, with nothing behind it.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut parser = Parser { rest: text };
        let value = parser.value(0)?;
        parser.skip_space();
        match parser.rest {
            "" => Ok(value),
            rest => Err(format!("something behind the value: {rest:.20}")),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            // Six digits behind the point are more than any clock here has.
            Json::Number(number) if number.is_finite() => write!(f, "{}", (number * 1e6).round() / 1e6),
            Json::Number(_) => f.write_str("null"),
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::List(values) => {
                let each: Vec<String> = values.iter().map(Json::to_string).collect();
                write!(f, "[{}]", each.join(","))
            }
            Json::Map(fields) => {
                let each: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
                write!(f, "{{{}}}", each.join(","))
            }
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

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, word: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) {
            return Ok(());
        }
        Err(format!("{word} expected, not {:.20}", self.rest))
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > 16 {
            return Err("too deep".into());
        }
        self.skip_space();
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if self.take(word) {
                return Ok(value);
            }
        }
        if self.rest.starts_with('"') {
            return self.string().map(Json::Text);
        }
        if self.take("[") {
            let mut values = Vec::new();
            while !self.take("]") {
                if !values.is_empty() {
                    self.expect(",")?;
                }
                values.push(self.value(depth + 1)?);
            }
            return Ok(Json::List(values));
        }
        if self.take("{") {
            let mut fields = Vec::new();
            while !self.take("}") {
                if !fields.is_empty() {
                    self.expect(",")?;
                }
                self.skip_space();
                let name = self.string()?;
                self.expect(":")?;
                fields.push((name, self.value(depth + 1)?));
            }
            return Ok(Json::Map(fields));
        }
        let len = self.rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        word.parse().map(Json::Number).map_err(|_| format!("a value expected, not {word}{rest:.20}"))
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect("\"")?;
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('u') => {
                        let code: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&code, 16).map_err(|_| format!("\\u{code}"))?;
                        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    Some(c) if "\"\\/".contains(c) => out.push(c),
                    other => return Err(format!("escape {other:?}")),
                },
                c => out.push(c),
            }
        }
        Err("a text without an end".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = r#"{"a":"q\"b\\c\u000a é","n":[1,-2.5,1000000,null,true],"m":{}}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.text("a"), "q\"b\\c\n é");
        assert_eq!(json.to_string(), text);
        assert!(json.number("a").is_nan() && json.number("z").is_nan());
        assert_eq!(Json::Number(f64::NAN).to_string(), "null");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1 2]", "\"a", "{\"a\"}", "1 1", "nul", &"[".repeat(100)] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
