//! What a run says, in the form that its reader wants. Every string that comes from an image is
//! escaped here, for that form.

mod escape;
mod explain;
mod github;
mod gitlab;
mod html;
mod json;
mod junit;
mod sarif;
mod text;
mod wire;

use std::io::{self, Write};

use super::finding::words::words;

use super::finding::{Finding, ImageReport, ScanReport};
pub use explain::{ExplainError, explain};

words! {
    /// The forms of a report.
    Format {
        /// For people.
        Text = "text",
        /// For programs; the contract.
        Json = "json",
        /// The same, one object a line.
        Jsonl = "jsonl",
        /// For code scanning.
        Sarif = "sarif",
        /// For test reports.
        Junit = "junit",
        /// For people, in a browser: one page that asks nothing of anybody.
        Html = "html",
        /// For the log of a GitHub workflow.
        Github = "github",
        /// For GitLab's security dashboard.
        Gitlab = "gitlab",
    }
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// With the secrets themselves.
    pub reveal: bool,
    /// With colours.
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// When the scan began, in seconds since 1970. Only GitLab's form has a time in it.
    pub started: u64,
    /// When it ended.
    pub ended: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { reveal: false, colour: false, width: 100, started: 0, ended: 0 }
    }
}

/// Writes `report` in `format`.
pub fn write(
    format: Format,
    report: &ScanReport,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Text => text::write(report, options, out),
        Format::Json => json::write(report, options, out),
        Format::Jsonl => json::write_lines(report, options, out),
        Format::Sarif => sarif::write(report, options, out),
        Format::Junit => junit::write(report, options, out),
        Format::Html => html::write(report, options, out),
        Format::Github => github::write(report, options, out),
        Format::Gitlab => gitlab::write(report, options, out),
    }
}

/// The findings of all images, the worst first; those of one image stay in their order.
fn worst_first(report: &ScanReport) -> Vec<(&ImageReport, &Finding)> {
    let mut all: Vec<(&ImageReport, &Finding)> = Vec::new();
    for image in &report.images {
        all.extend(image.findings.iter().map(|found| (image, found)));
    }
    all.sort_by_key(|(_, found)| (found.suppressed.is_some(), found.severity, found.confidence));
    all
}
