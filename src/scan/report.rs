//! What a run says, in the form that its reader wants. Every string that comes from an image is
//! escaped here, for that form.

mod escape;
mod json;
mod text;
mod wire;

use std::io::{self, Write};

use super::finding::ScanReport;
use super::finding::words::words;

words! {
    /// The forms of a report.
    Format {
        /// For people.
        Text = "text",
        /// For programs; the contract.
        Json = "json",
        /// The same, one object a line.
        Jsonl = "jsonl",
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
}

impl Default for Options {
    fn default() -> Options {
        Options { reveal: false, colour: false, width: 100 }
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
    }
}
