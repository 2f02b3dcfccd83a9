//! SARIF 2.1.0, as GitHub's code scanning takes it: relative paths, the worst first, no snippets.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::escape::{JsonWriter, plain};
use super::text::spot;
use super::{Options, worst_first};
use crate::scan::finding::{
    Confidence, Finding, ImageReport, Place, PlaceKind, ScanReport, Severity, SuppressedBy, Verdict,
};

/// GitHub takes no more results of one run.
const RESULTS: usize = 5_000;

/// Further places of a result: its own limits are far above, and the JSON has them all.
const RELATED: usize = 20;

/// GitHub refuses longer messages.
const MESSAGE: usize = 1_000;

/// Writes one run with all images.
pub fn write(report: &ScanReport, _options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let all = worst_first(report);
    let mut rules: Vec<&Finding> = Vec::new();
    for (_, found) in &all {
        if !rules.iter().any(|known| known.rule == found.rule) {
            rules.push(found);
        }
    }
    rules.sort_by(|a, b| a.rule.cmp(&b.rule));
    let index = |found: &Finding| rules.iter().position(|rule| rule.rule == found.rule);
    let results = all.iter().take(RESULTS).map(|(image, found)| result(image, found, index(found)));
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sidekey-scan",
                "version": report.tool.version,
                "semanticVersion": report.tool.version,
                "rules": rules.iter().map(|found| rule(found)).collect::<Vec<_>>(),
            } },
            "columnKind": "utf16CodeUnits",
            "invocations": [invocation(report)],
            "results": results.collect::<Vec<_>>(),
            "properties": { "verdict": report.verdict.word(), "findings": all.len() },
        }],
    });
    serde_json::to_writer_pretty(JsonWriter::new(&mut *out), &document)?;
    out.write_all(b"\n")
}

fn rule(found: &Finding) -> Value {
    let help = format!("{} {}", found.grants, found.fix.rotate);
    json!({
        "id": found.rule,
        "name": found.title,
        "shortDescription": { "text": found.title },
        "fullDescription": { "text": filled(&found.grants, &found.title) },
        "help": { "text": help, "markdown": help },
        "defaultConfiguration": { "level": level(found.severity) },
        "properties": {
            "tags": ["security", "secret"],
            "precision": precision(found.confidence),
            "security-severity": score(found.severity),
        },
    })
}

fn result(image: &ImageReport, found: &Finding, index: Option<usize>) -> Value {
    let text = match found.places.first() {
        Some(place) => format!("{} in {} ({})", found.title, spot(place), place.state),
        None => found.title.clone(),
    };
    let text = format!("{}: {}. {}", plain(&image.reference), text, found.fix.summary);
    let mut result = json!({
        "ruleId": found.rule,
        "level": level(found.severity),
        "message": { "text": text.chars().take(MESSAGE).collect::<String>() },
        "locations": found.places.first().map(|place| location(image, place)).into_iter().collect::<Vec<_>>(),
        "partialFingerprints": { "sidekey/v1": found.fingerprint },
        "properties": {
            "severity": found.severity.word(),
            "confidence": found.confidence.word(),
            "state": found.places.first().map(|place| place.state.word()),
            "places": found.places_total,
        },
    });
    if let Some(index) = index {
        result["ruleIndex"] = index.into();
    }
    let further: Vec<_> =
        found.places.iter().skip(1).take(RELATED).map(|place| location(image, place)).collect();
    if !further.is_empty() {
        result["relatedLocations"] = further.into();
    }
    if let Some(suppressed) = &found.suppressed {
        let inside = suppressed.by == SuppressedBy::Inline;
        result["suppressions"] = json!([{
            "kind": if inside { "inSource" } else { "external" },
            "status": "accepted",
            "justification": suppressed.reason,
        }]);
    }
    result
}

fn location(image: &ImageReport, place: &Place) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(place) } });
    let region = match (place.line, place.column) {
        (Some(line), Some(column)) => json!({ "startLine": line, "startColumn": column }),
        (Some(line), None) => json!({ "startLine": line }),
        // What is nested has an address in bytes that nobody else sees.
        (None, _) if !place.inside.is_empty() || place.kind != PlaceKind::File => {
            json!({ "startLine": 1 })
        }
        (None, _) => json!({ "byteOffset": place.offset, "byteLength": place.length }),
    };
    physical["region"] = region;
    let mut names = vec![json!({
        "name": plain(&image.reference),
        "fullyQualifiedName": image.digest.as_deref().unwrap_or(&image.reference),
        "kind": "resource",
    })];
    if let Some(instruction) = &place.introduced.instruction {
        names.push(json!({ "name": plain(instruction), "kind": "element" }));
    }
    json!({ "physicalLocation": physical, "logicalLocations": names })
}

/// `layer-2/app/.env`, `config/env/DB_PASSWORD`: relative, so that it is shown.
pub fn uri(place: &Place) -> String {
    let mut uri = match place.introduced.layer {
        Some(layer) => format!("layer-{layer}"),
        None => "config".to_owned(),
    };
    if place.kind != PlaceKind::File {
        uri.push('/');
        uri.push_str(place.kind.word());
    }
    let path = place.path.as_deref().unwrap_or_default();
    let names = place.inside.iter().filter_map(|inside| inside.name.as_deref());
    for part in std::iter::once(path).chain(names).filter(|part| !part.is_empty()) {
        uri.push('/');
        // A part that climbs would point out of the layer.
        let steps =
            part.split(|&byte| byte == b'/').filter(|step| !matches!(*step, b"" | b"." | b".."));
        let steps: Vec<String> = steps.map(percent).collect();
        uri.push_str(&steps.join("/"));
    }
    uri
}

fn percent(step: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for &byte in step {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn invocation(report: &ScanReport) -> Value {
    let mut notes = Vec::new();
    for image in &report.images {
        let reference = plain(&image.reference);
        if let Some(error) = &image.error {
            notes.push(note(
                "error",
                &format!("{reference}: {}: {}", plain(&error.what), plain(&error.why)),
            ));
        }
        for skip in &image.coverage.skips {
            let level = if report.gate.is_gap(skip.reason) { "warning" } else { "note" };
            let path = skip.path.as_deref().map(super::escape::plain_bytes).unwrap_or_default();
            let layer = skip.layer.map_or("config".to_owned(), |layer| format!("layer {layer}"));
            notes.push(note(level, &format!("{reference}: {}: {layer} {path}", skip.reason)));
        }
    }
    json!({
        "executionSuccessful": report.verdict != Verdict::Failed,
        "exitCode": report.exit_code(),
        "toolExecutionNotifications": notes,
    })
}

fn note(level: &str, text: &str) -> Value {
    json!({ "level": level, "message": { "text": text } })
}

fn filled<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium | Severity::Low => "warning",
        Severity::Info => "note",
    }
}

/// The middle of each of GitHub's ranges.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.5",
        Severity::Info => "0.5",
    }
}

fn precision(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Proved => "very-high",
        Confidence::Likely => "high",
        Confidence::Possible => "medium",
    }
}
