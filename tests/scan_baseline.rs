//! The baseline silences what somebody has looked at, until a day.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "scan_report/sample.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sample;

use sidekey::scan::finding::{Baseline, Day, Mistake, ScanReport, Verdict, write_baseline};
use sidekey::scan::report::{Format, Options, write};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// One image without gaps.
fn report() -> ScanReport {
    let mut report = sample::full();
    report.images.truncate(1);
    report.images[0].coverage.skips.clear();
    report.judge();
    report
}

fn github(report: &ScanReport) -> String {
    report.images[0].findings.iter().find(|f| f.rule == "github-pat").unwrap().fingerprint.clone()
}

fn baseline(fingerprint: &str, more: &str) -> Baseline {
    let text = format!(
        "[[ignore]]\nfingerprint = \"{fingerprint}\"\nreason = \"a test\"\nuntil = 2027-01-31\n{more}"
    );
    Baseline::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn silenced(report: &ScanReport) -> usize {
    report.images[0].findings.iter().filter(|finding| finding.suppressed.is_some()).count()
}

#[test]
fn what_a_baseline_names_is_silent_until_its_day() {
    for (today, expected) in [("2027-01-30", 1), ("2027-01-31", 1), ("2027-02-01", 0)] {
        let mut report = report();
        baseline(&github(&report), "").apply(&mut report, day(today));
        assert_eq!(silenced(&report), expected, "{today}");
        let known = report.baseline.as_ref().unwrap();
        assert_eq!((known.suppressed, known.expired.len()), (expected as u64, 1 - expected));
    }
}

#[test]
fn an_expired_entry_fails_again_and_says_so() {
    let mut report = report();
    report.images[0].findings.retain(|finding| finding.rule == "github-pat");
    let entry = baseline(&github(&report), "");
    entry.apply(&mut report, day("2027-01-01"));
    assert_eq!(report.verdict, Verdict::Clean);
    report.images[0].findings[0].suppressed = None;
    entry.apply(&mut report, day("2027-03-01"));
    assert_eq!(report.verdict, Verdict::Findings);
    let mut text = Vec::new();
    write(Format::Text, &report, &Options::default(), &mut text).unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("baseline, line 1: expired on 2027-01-31: a test")
    );
}

#[test]
fn an_entry_that_fits_nothing_is_listed() {
    let mut report = report();
    baseline(&format!("v1:{}", "0".repeat(32)), "").apply(&mut report, day("2027-01-01"));
    assert_eq!(report.baseline.as_ref().unwrap().unused.len(), 1);
    assert_eq!(silenced(&report), 0);
}

#[test]
fn rule_path_and_image_narrow_an_entry() {
    for (more, expected) in [
        ("rule = \"github-pat\"", 1),
        ("rule = \"other\"", 0),
        ("image = \"registry.example/shop/*\"", 1),
        ("image = \"registry.example/other/*\"", 0),
        ("path = \"app/*\"", 1),
        ("path = \"app/.env\"", 0), // it is elsewhere too
    ] {
        let mut report = report();
        baseline(&github(&report), more).apply(&mut report, day("2027-01-01"));
        assert_eq!(silenced(&report), expected, "{more}");
    }
}

#[test]
fn a_written_baseline_silences_what_it_was_written_from_and_stays_as_it_is() {
    let mut report = report();
    let today = day("2026-11-24");
    let written = write_baseline(&report, today);
    assert!(written.contains("until = 2027-02-22"), "{written}");
    assert!(!written.contains(&sample::github_token()) && !written.contains(sample::PASSWORD));
    Baseline::parse(&written).unwrap().apply(&mut report, today);
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(silenced(&report), 4);
    let again = write_baseline(&report, day("2026-12-24"));
    let body = |text: &str| text.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(body(&again), body(&written));
}

#[test]
fn the_report_lists_what_is_suppressed_with_its_reason() {
    let mut report = report();
    baseline(&github(&report), "by = \"jane\"").apply(&mut report, day("2027-01-01"));
    let mut text = Vec::new();
    write(Format::Text, &report, &Options::default(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("SUPPRESSED (1)"), "{text}");
    assert!(text.contains("by baseline until 2027-01-31: a test (jane)"), "{text}");
    assert!(text.contains("1 suppressed"), "{text}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = "[[ignore]]\nfingerprint = \"v1:xyz\"\nreason = \"\"\nuntil = \"soon\"\n\n\
                [[ignore]]\nfingreprint = \"v1:0\"\npath = 3\n";
    let error = Baseline::parse(text).unwrap_err();
    assert_eq!(
        error.mistakes,
        [
            Mistake::NoText { line: 1, key: "reason" },
            Mistake::NoDay { line: 1 },
            Mistake::NoFingerprint { line: 1 },
            Mistake::Unknown { line: 6, key: "fingreprint".into() },
            Mistake::Missing { line: 6, key: "fingerprint" },
            Mistake::Missing { line: 6, key: "reason" },
            Mistake::Missing { line: 6, key: "until" },
            Mistake::NoText { line: 6, key: "path" },
        ]
    );
    assert_eq!(Baseline::parse("ignore = 3").unwrap_err().mistakes, [Mistake::Syntax { line: 1 }]);
    assert_eq!(
        Baseline::parse("a = 1").unwrap_err().mistakes,
        [Mistake::Unknown { line: 1, key: "a".into() }]
    );
    assert_eq!(Baseline::parse("").unwrap().entries.len(), 0);
}

#[test]
fn every_mistake_says_what_why_and_what_to_do() {
    for mistake in [
        Mistake::Syntax { line: 1 },
        Mistake::Unknown { line: 1, key: "x".into() },
        Mistake::Missing { line: 1, key: "until" },
        Mistake::NoText { line: 1, key: "rule" },
        Mistake::NoFingerprint { line: 1 },
        Mistake::NoDay { line: 1 },
    ] {
        let trouble = mistake.trouble();
        for said in [&trouble.what, &trouble.why, &trouble.hint] {
            assert!(
                !said.is_empty() && !said.ends_with('.') && !said.starts_with(char::is_uppercase),
                "{said}"
            );
        }
    }
}
