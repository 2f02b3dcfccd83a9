//! The baseline: findings that somebody has looked at, with a reason and a last day.
//!
//! ```toml
//! [[ignore]]
//! fingerprint = "v1:2975ea3649e8ddac93598cad041aec35"
//! reason = "a key of the test fixture, revoked"
//! until = 2027-01-31
//! path = "app/test/*"      # optional, as are rule, image and by
//! ```
//!
//! An entry whose day has passed silences nothing, and says so; an entry that fits nothing is listed.

mod parse;

use std::fmt::Write;

use super::{Day, Finding, ImageReport, ScanReport, Suppressed, SuppressedBy};

pub use parse::{BaselineError, Mistake};

/// How long an entry holds that `--write-baseline` writes.
const DAYS: u32 = 90;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignore {
    /// Whose findings.
    pub fingerprint: String,
    /// Why.
    pub reason: String,
    /// The last day it holds.
    pub until: Day,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only if every place fits; `*` stands for anything.
    pub path: Option<String>,
    /// Only in images whose reference fits.
    pub image: Option<String>,
    /// Who looked.
    pub by: Option<String>,
    /// Its line in the file.
    pub line: usize,
}

/// What somebody has looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    /// In the order of the file.
    pub entries: Vec<Ignore>,
}

/// What came of a baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaselineUse {
    /// So many findings are silenced by it.
    pub suppressed: u64,
    /// Entries that would silence something if their day had not passed.
    pub expired: Vec<Ignore>,
    /// Entries that fit nothing.
    pub unused: Vec<Ignore>,
}

impl Baseline {
    /// Reads a baseline; every mistake at once.
    pub fn parse(text: &str) -> Result<Baseline, BaselineError> {
        parse::parse(text)
    }

    /// Silences what it knows, and judges anew.
    pub fn apply(&self, report: &mut ScanReport, today: Day) {
        let mut used = vec![false; self.entries.len()];
        let mut expired = vec![false; self.entries.len()];
        let mut suppressed = 0;
        for image in &mut report.images {
            let (reference, findings) = (&image.reference, &mut image.findings);
            for finding in findings.iter_mut().filter(|finding| finding.suppressed.is_none()) {
                let fitting =
                    self.entries.iter().enumerate().filter(|(_, e)| e.fits(reference, finding));
                let mut holds = None;
                for (index, entry) in fitting {
                    used[index] = true;
                    if entry.until < today {
                        expired[index] = true;
                    } else {
                        holds = holds.or(Some(entry));
                    }
                }
                if let Some(entry) = holds {
                    suppressed += 1;
                    finding.suppressed = Some(entry.suppressed());
                }
            }
        }
        let those = |marks: &[bool], wanted: bool| {
            let marked = self.entries.iter().zip(marks).filter(|(_, mark)| **mark == wanted);
            marked.map(|(entry, _)| entry.clone()).collect()
        };
        report.baseline = Some(BaselineUse {
            suppressed,
            expired: those(&expired, true),
            unused: those(&used, false),
        });
        report.judge();
    }
}

impl Ignore {
    fn fits(&self, reference: &str, finding: &Finding) -> bool {
        let only = |pattern: &Option<String>, text: &[u8]| {
            pattern.as_ref().is_none_or(|pattern| fits(pattern.as_bytes(), text))
        };
        self.fingerprint == finding.fingerprint
            && self.rule.as_ref().is_none_or(|rule| *rule == finding.rule)
            && only(&self.image, reference.as_bytes())
            && finding
                .places
                .iter()
                .all(|place| only(&self.path, place.path.as_deref().unwrap_or_default()))
    }

    fn suppressed(&self) -> Suppressed {
        let by = self.by.as_deref().map(|by| format!(" ({by})")).unwrap_or_default();
        Suppressed {
            by: SuppressedBy::Baseline,
            reason: format!("{}{by}", self.reason),
            until: Some(self.until.to_string()),
        }
    }
}

/// A baseline that silences all that counts in `report`, and keeps what is silenced already.
pub fn write_baseline(report: &ScanReport, today: Day) -> String {
    let mut text = format!(
        "# Findings that were there on {today}. Each entry needs a reason of its own: say it, or rotate\n\
         # the secret. `until` is its last day; `rule`, `path` and `image` narrow it, `by` says who looked.\n"
    );
    for image in &report.images {
        for finding in
            image.findings.iter().filter(|found| report.gate.counts(found) || by_baseline(found))
        {
            entry(&mut text, image, finding, today);
        }
    }
    text
}

fn by_baseline(finding: &Finding) -> bool {
    finding.suppressed.as_ref().is_some_and(|why| why.by == SuppressedBy::Baseline)
}

fn entry(text: &mut String, image: &ImageReport, finding: &Finding, today: Day) {
    let known = finding.suppressed.as_ref();
    let fresh = format!("was there on {today}");
    let reason = known.map_or(fresh.as_str(), |why| &why.reason);
    let until = known.and_then(|why| why.until.clone());
    let until = until.unwrap_or_else(|| today.later(DAYS).to_string());
    let _ = write!(
        text,
        "\n[[ignore]]\nfingerprint = {}\nreason = {}\nuntil = {until}\nrule = {}\nimage = {}\n",
        quoted(&finding.fingerprint),
        quoted(reason),
        quoted(&finding.rule),
        quoted(&image.reference),
    );
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_ascii() && !c.is_control() => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out + "\""
}

/// Whether `text` is `pattern`, in which `*` stands for anything. Goes on from the last star, so that
/// the time is at most the product of the lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
            }
            (Some(byte), _) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            (_, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("app/*", "app/test/key.pem", true),
            ("*.pem", "app/test/key.pem", true),
            ("app/*/k*.pem", "app/a/b/key.pem", true),
            ("app", "app/x", false),
            ("*", "", true),
            ("", "", true),
            ("a*b", "ab", true),
            ("a*b", "abc", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_quoted_comes_back() {
        for text in ["plain", "a\"b\\c", "\u{202e}\n\x07", "größe"] {
            let document: toml::Table = toml::from_str(&format!("x = {}", quoted(text))).unwrap();
            assert_eq!(document["x"].as_str(), Some(text));
        }
    }
}
