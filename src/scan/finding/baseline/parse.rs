//! Reads a baseline: every mistake at once, each with its line and what to write instead.

use std::fmt;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use super::{Baseline, Ignore};
use crate::scan::finding::{Day, Trouble};

/// What an entry may say.
const KNOWN: [&str; 7] = ["fingerprint", "reason", "until", "rule", "path", "image", "by"];

/// Why a baseline can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// It is no TOML.
    Syntax {
        /// The line.
        line: usize,
    },
    /// Something besides `[[ignore]]`.
    Unknown {
        /// The line of the entry, or 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A key that every entry has.
    Missing {
        /// The line of the entry.
        line: usize,
        /// The key.
        key: &'static str,
    },
    /// No text, or an empty one.
    NoText {
        /// The line of the entry.
        line: usize,
        /// The key.
        key: &'static str,
    },
    /// Not `v1:` and 32 hexadecimal digits.
    NoFingerprint {
        /// The line of the entry.
        line: usize,
    },
    /// Not a day.
    NoDay {
        /// The line of the entry.
        line: usize,
    },
}

impl Mistake {
    /// What, why, and what to write instead.
    pub fn trouble(&self) -> Trouble {
        let (what, why, hint): (String, String, &str) = match self {
            Mistake::Syntax { line } => (
                format!("line {line} of the baseline can't be read"),
                "it is no TOML".to_owned(),
                "write `[[ignore]]` and below it `fingerprint = \"v1:…\"`, `reason`, `until`",
            ),
            Mistake::Unknown { line, key } => (
                format!("line {line} of the baseline: `{}`", key.escape_debug()),
                "no such key".to_owned(),
                "an entry has fingerprint, reason, until, and perhaps rule, path, image, by",
            ),
            Mistake::Missing { line, key } => (
                format!("line {line} of the baseline: no `{key}`"),
                "an exception without it is never looked at again".to_owned(),
                "every entry has fingerprint, reason and until",
            ),
            Mistake::NoText { line, key } => (
                format!("line {line} of the baseline: `{key}`"),
                "it is no text, or an empty one".to_owned(),
                "write a text in quotes",
            ),
            Mistake::NoFingerprint { line } => (
                format!("line {line} of the baseline: `fingerprint`"),
                "it is not `v1:` and 32 hexadecimal digits".to_owned(),
                "copy it from a report, or let `--write-baseline` write the entry",
            ),
            Mistake::NoDay { line } => (
                format!("line {line} of the baseline: `until`"),
                "it is not a day".to_owned(),
                "write it as 2027-01-31",
            ),
        };
        Trouble { what, why, hint: hint.to_owned() }
    }
}

/// Every mistake of a baseline. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineError {
    /// In the order of the file.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            let Trouble { what, why, hint } = mistake.trouble();
            writeln!(f, "error: {what}\n  why: {why}\n hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BaselineError {}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    ignore: Vec<Spanned<Table>>,
    #[serde(flatten)]
    rest: Table,
}

/// Reads the text of a baseline.
pub fn parse(text: &str) -> Result<Baseline, BaselineError> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        BaselineError { mistakes: vec![Mistake::Syntax { line: line_of(text, at) }] }
    })?;
    let mut mistakes: Vec<Mistake> =
        document.rest.keys().map(|key| Mistake::Unknown { line: 1, key: key.clone() }).collect();
    let mut entries = Vec::new();
    for table in document.ignore {
        let line = line_of(text, table.span().start);
        let mut reader = Reader { table: table.into_inner(), line, mistakes: &mut mistakes };
        entries.extend(reader.entry());
    }
    if mistakes.is_empty() { Ok(Baseline { entries }) } else { Err(BaselineError { mistakes }) }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

struct Reader<'a> {
    table: Table,
    line: usize,
    mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    /// Looks at every key, also after a mistake.
    fn entry(&mut self) -> Option<Ignore> {
        let line = self.line;
        let unknown = self.table.keys().filter(|key| !KNOWN.contains(&key.as_str()));
        self.mistakes.extend(unknown.map(|key| Mistake::Unknown { line, key: key.clone() }));
        let fingerprint = self.needed("fingerprint");
        let reason = self.needed("reason");
        let until = self.until();
        let [rule, path, image, by] = ["rule", "path", "image", "by"].map(|key| self.text(key));
        let fingerprint = fingerprint?;
        if !is_fingerprint(&fingerprint) {
            self.mistakes.push(Mistake::NoFingerprint { line });
        }
        Some(Ignore { fingerprint, reason: reason?, until: until?, rule, path, image, by, line })
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        match self.table.get(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.mistakes.push(Mistake::NoText { line: self.line, key });
                None
            }
        }
    }

    fn needed(&mut self, key: &'static str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.mistakes.push(Mistake::Missing { line: self.line, key });
        }
        self.text(key)
    }

    /// A date of TOML's own, or a text.
    fn until(&mut self) -> Option<Day> {
        let text = match self.table.get("until") {
            None => {
                self.mistakes.push(Mistake::Missing { line: self.line, key: "until" });
                return None;
            }
            Some(Value::String(text)) => text.clone(),
            Some(Value::Datetime(date)) => date.to_string(),
            Some(_) => String::new(),
        };
        let day = text.parse().ok();
        if day.is_none() {
            self.mistakes.push(Mistake::NoDay { line: self.line });
        }
        day
    }
}

fn is_fingerprint(text: &str) -> bool {
    let digits = text.strip_prefix("v1:").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
