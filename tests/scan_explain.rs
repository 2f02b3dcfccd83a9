//! `explain`: one finding of a report, in full.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "scan_report/sample.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sample;

use sidekey::scan::finding::ScanReport;
use sidekey::scan::report::{ExplainError, Format, Options, explain, write};

fn json(report: &ScanReport) -> Vec<u8> {
    let mut out = Vec::new();
    write(Format::Json, report, &Options::default(), &mut out).unwrap();
    out
}

#[test]
fn a_finding_is_explained_by_its_fingerprint_its_first_digits_or_its_id() {
    let report = sample::full();
    let finding = report.images[0].findings.iter().find(|f| f.rule == "github-pat").unwrap();
    let whole = explain(&finding.fingerprint, &json(&report)).unwrap();
    for name in [&finding.fingerprint[..9], &finding.fingerprint[3..9], &finding.id] {
        assert_eq!(explain(name, &json(&report)).unwrap(), whole);
    }
    for part in [
        "GitHub personal access token (github-pat)\n  high, proved (checksum)\n",
        "    app/.env:3:14\n      layer 2, present\n      COPY . /app\n",
        "      layer 2, deleted by layer 3\n",
        "  1. Rotate it\n",
        "       RUN --mount=type=secret,",
        "       stores:\n         vault:\n",
    ] {
        assert!(whole.contains(part), "{part}\nis not in\n{whole}");
    }
    assert!(!whole.contains("AWS"));
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let report = json(&sample::full());
    assert_eq!(explain("v1:ffffffff", &report), Err(ExplainError::Unknown { findings: 4 }));
    assert_eq!(explain("v1:", &report), Err(ExplainError::Unknown { findings: 4 }));
    assert_eq!(explain("x", b"{\n  oops"), Err(ExplainError::NotJson { line: 2 }));
    assert_eq!(explain("x", b"[1]"), Err(ExplainError::NotAReport));
    assert_eq!(explain("x", b"{\"images\": []}"), Err(ExplainError::NotAReport));
    for error in [
        ExplainError::Unknown { findings: 4 },
        ExplainError::NotJson { line: 2 },
        ExplainError::NotAReport,
    ] {
        let trouble = error.trouble();
        for said in [&trouble.what, &trouble.why, &trouble.hint] {
            assert!(!said.is_empty() && !said.ends_with('.'), "{said}");
        }
    }
}

#[test]
fn a_hostile_report_steers_no_terminal() {
    let report = sample::hostile();
    for finding in &report.images[0].findings {
        let text = explain(&finding.id, &json(&report)).unwrap();
        let steers =
            |c: char| (c.is_control() && c != '\n') || ('\u{2028}'..='\u{202e}').contains(&c);
        assert!(!text.contains(steers), "{text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{text}");
    }
}
