//! GitLab's report of secret detection (`artifacts: reports: secret_detection`).

use std::io::{self, Write};

use serde_json::{Value, json};

use super::escape::{JsonWriter, plain};
use super::sarif::uri;
use super::text::spot;
use super::{Options, worst_first};
use crate::scan::finding::{Finding, ImageReport, ScanReport, Severity, Verdict, timestamp};

/// The version of GitLab's schema.
const VERSION: &str = "15.1.4";

/// An image has no commit, and the format demands one.
const NO_COMMIT: &str = "0000000";

/// Writes all findings that are not suppressed.
pub fn write(report: &ScanReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let shown = worst_first(report).into_iter().filter(|(_, found)| found.suppressed.is_none());
    let scanner = json!({
        "id": "sidekey-scan",
        "name": "sidekey-scan",
        "version": report.tool.version,
        "vendor": { "name": "Sidekey" },
    });
    let failed = report.verdict == Verdict::Failed;
    let document = json!({
        "version": VERSION,
        "scan": {
            "type": "secret_detection",
            "status": if failed { "failure" } else { "success" },
            "start_time": timestamp(options.started),
            "end_time": timestamp(options.ended),
            "analyzer": scanner,
            "scanner": scanner,
            "messages": messages(report),
        },
        "vulnerabilities": shown.map(|(image, found)| vulnerability(image, found)).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(JsonWriter::new(&mut *out), &document)?;
    out.write_all(b"\n")
}

fn vulnerability(image: &ImageReport, found: &Finding) -> Value {
    let place = found.places.first();
    let at = place.map(spot).unwrap_or_default();
    let mut location = json!({
        "file": place.map(uri).unwrap_or_default(),
        "commit": { "sha": NO_COMMIT },
    });
    if let Some(line) = place.and_then(|place| place.line) {
        location["start_line"] = line.into();
    }
    json!({
        "id": format!("{}/{}", found.fingerprint, image.digest.as_deref().unwrap_or(&image.reference)),
        "category": "secret_detection",
        "name": found.title,
        "description": format!("{} in {at} of {}. {}", found.title, plain(&image.reference), found.grants),
        "solution": format!("{} {}", found.fix.rotate, found.fix.remove),
        "severity": severity(found.severity),
        "location": location,
        "identifiers": [{
            "type": "sidekey_rule",
            "name": format!("sidekey-scan rule {}", found.rule),
            "value": found.rule,
        }],
    })
}

fn messages(report: &ScanReport) -> Vec<Value> {
    let incomplete = report.images.iter().filter(|image| !image.complete);
    let message = |image: &ImageReport| {
        let why = match &image.error {
            Some(error) => format!("{}: {}", plain(&error.what), plain(&error.why)),
            None => "not everything was read".to_owned(),
        };
        json!({ "level": "warn", "value": format!("{}: {why}", plain(&image.reference)) })
    };
    incomplete.map(message).collect()
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "Critical",
        Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low => "Low",
        Severity::Info => "Info",
    }
}
