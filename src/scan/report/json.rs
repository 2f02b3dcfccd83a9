//! JSON: one document, or one object a line.

use std::io::{self, Write};

use serde::Serialize;

use super::Options;
use super::escape::JsonWriter;
use super::wire::{
    Covered, Document, Found, ImageHead, Known, Layer, Policy, SCHEMA_VERSION, Tool,
};
use crate::scan::finding::ScanReport;

/// One document, indented.
pub fn write(report: &ScanReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(JsonWriter::new(&mut *out), &Document::of(report, options))?;
    out.write_all(b"\n")
}

/// A line of the second form: what it is, then its fields.
#[derive(Serialize)]
struct Line<T> {
    r#type: &'static str,
    #[serde(flatten)]
    fields: T,
}

/// Begins an image.
#[derive(Serialize)]
struct Begin<'a> {
    #[serde(flatten)]
    head: ImageHead<'a>,
    layers: Vec<Layer<'a>>,
    coverage: Covered<'a>,
}

/// A finding, with the image before it.
#[derive(Serialize)]
struct Within<'a> {
    image: &'a str,
    platform: Option<&'a str>,
    #[serde(flatten)]
    found: Found<'a>,
}

/// The last line; without it, the report is cut.
#[derive(Serialize)]
struct End<'a> {
    schema_version: u32,
    tool: Tool<'a>,
    policy: Policy,
    baseline: Option<Known<'a>>,
    verdict: &'static str,
}

/// One object a line: each image, its findings, and the verdict last.
pub fn write_lines(report: &ScanReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    for image in &report.images {
        let begin = Begin {
            head: ImageHead::of(image),
            layers: image.layers.iter().map(Layer::of).collect(),
            coverage: Covered::of(&image.coverage, &report.gate),
        };
        line("image", begin, out)?;
        for found in &image.findings {
            let within = Within {
                image: &image.reference,
                platform: image.platform.as_deref(),
                found: Found::of(found, &report.gate, options),
            };
            line("finding", within, out)?;
        }
    }
    let end = End {
        schema_version: SCHEMA_VERSION,
        tool: Tool::of(report),
        policy: Policy::of(&report.gate),
        baseline: report.baseline.as_ref().map(Known::of),
        verdict: report.verdict.word(),
    };
    line("verdict", end, out)
}

fn line(r#type: &'static str, fields: impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(JsonWriter::new(&mut *out), &Line { r#type, fields })?;
    out.write_all(b"\n")
}
