//! `explain`: one finding of a JSON report, with everything that can be done about it.

use std::fmt::Write;

use serde_json::Value;

use super::escape::plain;
use crate::scan::finding::Trouble;

/// So many digits of a fingerprint are enough to mean one finding.
const DIGITS: usize = 6;

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainError {
    /// It is no JSON.
    NotJson {
        /// The line where it stops being JSON.
        line: usize,
    },
    /// It is JSON, and no report.
    NotAReport,
    /// No finding has that fingerprint or id.
    Unknown {
        /// How many findings there are.
        findings: usize,
    },
}

impl ExplainError {
    /// What, why, and what to do.
    pub fn trouble(&self) -> Trouble {
        let (what, why, hint) = match self {
            ExplainError::NotJson { line } => (
                "the report can't be read",
                format!("it stops being JSON in line {line}"),
                "write one with `--format json`; an interrupted scan leaves half a file",
            ),
            ExplainError::NotAReport => (
                "the report can't be read",
                "it is JSON, but has no `schema_version` and `images`".to_owned(),
                "write one with `--format json`",
            ),
            ExplainError::Unknown { findings } => (
                "no such finding",
                format!("none of the {findings} findings of the report has that fingerprint or id"),
                "take the fingerprint (`v1:…`), its first digits, or the id from the same report",
            ),
        };
        Trouble { what: what.to_owned(), why, hint: hint.to_owned() }
    }
}

/// Explains the findings of `report` that `wanted` names: a fingerprint, its first digits, or an id.
pub fn explain(wanted: &str, report: &[u8]) -> Result<String, ExplainError> {
    let report: Value = serde_json::from_slice(report)
        .map_err(|error| ExplainError::NotJson { line: error.line() })?;
    let images = report["images"].as_array().filter(|_| report["schema_version"].is_u64());
    let images = images.ok_or(ExplainError::NotAReport)?;
    let mut out = String::new();
    let mut findings = 0;
    for image in images {
        for finding in list(&image["findings"]) {
            findings += 1;
            if names(wanted, finding) {
                if !out.is_empty() {
                    out.push('\n');
                }
                one(image, finding, &mut out);
            }
        }
    }
    if out.is_empty() { Err(ExplainError::Unknown { findings }) } else { Ok(out) }
}

fn names(wanted: &str, finding: &Value) -> bool {
    let digits = wanted.strip_prefix("v1:").unwrap_or(wanted);
    let fingerprint = text(finding, "fingerprint");
    let own = fingerprint.strip_prefix("v1:").unwrap_or(fingerprint);
    text(finding, "id") == wanted || (digits.len() >= DIGITS && own.starts_with(digits))
}

fn one(image: &Value, finding: &Value, out: &mut String) {
    let proof: Vec<_> = list(&finding["proof"]).iter().filter_map(Value::as_str).collect();
    let proof = if proof.is_empty() { String::new() } else { format!(" ({})", proof.join(", ")) };
    line(out, &format!("{} ({})", text(finding, "title"), text(finding, "rule")));
    line(out, &format!("  {}, {}{proof}", text(finding, "severity"), text(finding, "confidence")));
    line(out, &format!("  {}", text(finding, "fingerprint")));
    for said in
        ["grants", "preview"].map(|key| text(finding, key)).iter().filter(|said| said.len() > 3)
    {
        line(out, &format!("  {said}"));
    }
    if finding["suppressed"].is_object() {
        let why = &finding["suppressed"];
        line(out, &format!("  suppressed by {}: {}", text(why, "by"), text(why, "reason")));
    }
    line(out, &format!("\n  in {}", text(image, "reference")));
    for place in list(&finding["places"]) {
        spot(place, out);
    }
    let fix = &finding["fix"];
    step(out, 1, "Rotate it", &[text(fix, "rotate"), text(fix, "rotate_url")], "");
    step(out, 2, "Take it out of the build", &[text(fix, "remove")], text(fix, "dockerfile"));
    step(out, 3, "Let Sidekey supply it at run time", &[], text(fix, "sidekey"));
}

fn spot(place: &Value, out: &mut String) {
    let kind = text(place, "kind");
    let mut at = if kind == "file" { String::new() } else { format!("{kind} ") };
    at.push_str(text(place, "path"));
    for inside in list(&place["inside"]) {
        let name = inside["name"].as_str().unwrap_or_else(|| text(inside, "via"));
        let _ = write!(at, " → {name}");
    }
    match (place["line"].as_u64(), place["column"].as_u64()) {
        (Some(line), Some(column)) => drop(write!(at, ":{line}:{column}")),
        (Some(line), None) => drop(write!(at, ":{line}")),
        (None, _) => (),
    }
    line(out, &format!("    {at}"));
    let introduced = &place["introduced"];
    let layer =
        introduced["layer"].as_u64().map_or("config".into(), |layer| format!("layer {layer}"));
    let by = place["removed_by"].as_u64().map_or(String::new(), |by| format!(" by layer {by}"));
    let base = if introduced["base"] == true { ", base image" } else { "" };
    line(out, &format!("      {layer}{base}, {}{by}", text(place, "state")));
    if let Some(instruction) = introduced["instruction"].as_str() {
        line(out, &format!("      {}", plain(instruction)));
    }
}

fn step(out: &mut String, number: u32, head: &str, said: &[&str], code: &str) {
    let _ = writeln!(out, "\n  {number}. {head}");
    for said in said.iter().filter(|said| !said.is_empty()) {
        line(out, &format!("     {said}"));
    }
    for each in code.lines() {
        line(out, &format!("       {each}"));
    }
}

/// The report may be anybody's.
fn line(out: &mut String, text: &str) {
    let (indent, rest) = text.split_at(text.len() - text.trim_start().len());
    out.push_str(indent);
    out.push_str(&plain(rest));
    out.push('\n');
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
