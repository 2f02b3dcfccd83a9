//! JUnit's XML: a suite for each image, a case for each finding and for the coverage.

use std::borrow::Cow;
use std::io::{self, Write};

use super::Options;
use super::escape::{plain, plain_bytes};
use super::text::spot;
use crate::scan::finding::{Finding, Gate, ImageReport, ScanReport};

/// Writes all images.
pub fn write(report: &ScanReport, _options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let suites: Vec<Suite<'_>> =
        report.images.iter().map(|image| Suite { image, gate: &report.gate }).collect();
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="sidekey-scan" tests="{}" failures="{}" errors="{}">"#,
        suites.iter().map(|suite| suite.tests()).sum::<usize>(),
        suites.iter().map(|suite| suite.failures()).sum::<usize>(),
        suites.iter().map(|suite| suite.errors()).sum::<usize>()
    )?;
    suites.iter().try_for_each(|suite| suite.write(out))?;
    writeln!(out, "</testsuites>")
}

struct Suite<'a> {
    image: &'a ImageReport,
    gate: &'a Gate,
}

impl Suite<'_> {
    fn tests(&self) -> usize {
        self.image.findings.len() + 1
    }

    fn failures(&self) -> usize {
        self.image.findings.iter().filter(|found| self.gate.counts(found)).count()
    }

    fn errors(&self) -> usize {
        usize::from(!self.image.complete)
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = xml(&self.image.reference).into_owned();
        let skipped = self.image.findings.len() - self.failures();
        writeln!(
            out,
            r#"  <testsuite name="{name}" tests="{}" failures="{}" errors="{}" skipped="{skipped}">"#,
            self.tests(),
            self.failures(),
            self.errors(),
        )?;
        self.coverage(&name, out)?;
        self.image.findings.iter().try_for_each(|found| self.case(&name, found, out))?;
        writeln!(out, "  </testsuite>")
    }

    /// Everything was read: a test like any other.
    fn coverage(&self, suite: &str, out: &mut dyn Write) -> io::Result<()> {
        let case = format!(r#"    <testcase classname="{suite}" name="everything was read""#);
        if self.image.complete {
            return writeln!(out, "{case}/>");
        }
        writeln!(out, "{case}>")?;
        let message = match &self.image.error {
            Some(error) => format!("{}: {}; {}", error.what, error.why, error.hint),
            None => "not everything was read".to_owned(),
        };
        writeln!(out, r#"      <error message="{}">"#, xml(&message))?;
        for skip in self.image.coverage.skips.iter().filter(|skip| self.gate.is_gap(skip.reason)) {
            let layer = skip.layer.map_or("config".to_owned(), |layer| format!("layer {layer}"));
            let path = skip.path.as_deref().map(plain_bytes).unwrap_or_default();
            let detail = skip.detail.as_deref().unwrap_or_default();
            writeln!(out, "{}", xml(&format!("{}: {layer} {path} {detail}", skip.reason)))?;
        }
        writeln!(out, "      </error>\n    </testcase>")
    }

    fn case(&self, suite: &str, found: &Finding, out: &mut dyn Write) -> io::Result<()> {
        let at = found.places.first().map(spot).unwrap_or_default();
        let name = xml(&format!("{}: {at}", found.title)).into_owned();
        writeln!(out, r#"    <testcase classname="{suite}" name="{name}">"#)?;
        if let Some(suppressed) = &found.suppressed {
            let message = format!("suppressed by {}: {}", suppressed.by, suppressed.reason);
            writeln!(out, r#"      <skipped message="{}"/>"#, xml(&message))?;
        } else if self.gate.counts(found) {
            let message = format!("{} ({}, {})", found.title, found.severity, found.confidence);
            writeln!(
                out,
                r#"      <failure type="{}" message="{}">"#,
                xml(&found.rule),
                xml(&message)
            )?;
            writeln!(out, "fingerprint: {}", xml(&found.fingerprint))?;
            writeln!(out, "preview: {}", xml(&found.preview))?;
            for place in &found.places {
                let layer = place.introduced.layer;
                let layer = layer.map_or("config".to_owned(), |layer| format!("layer {layer}"));
                writeln!(
                    out,
                    "{}",
                    xml(&format!("at: {} ({layer}, {})", spot(place), place.state))
                )?;
                if let Some(instruction) = &place.introduced.instruction {
                    writeln!(out, "{}", xml(&format!("    {}", plain(instruction))))?;
                }
            }
            writeln!(out, "rotate: {}", xml(&found.fix.rotate))?;
            writeln!(out, "remove: {}", xml(&found.fix.remove))?;
            writeln!(out, "      </failure>")?;
        } else {
            let message = format!("{} ({}), does not fail the scan", found.title, found.severity);
            writeln!(out, r#"      <skipped message="{}"/>"#, xml(&message))?;
        }
        writeln!(out, "    </testcase>")
    }
}

/// XML has no way to write control characters at all, so they are spelt out first.
fn xml(text: &str) -> Cow<'_, str> {
    let text = plain(text);
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text;
    }
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&apos;".to_owned(),
        c => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}
