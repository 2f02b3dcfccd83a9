//! The forms of a report, as files that a reader of the manual may look at: `tests/scan_report/*`.
//!
//! `SIDEKEY_TEST_WRITE=1 cargo test --features scan --test scan_report` writes them anew.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "scan_report/sample.rs"]
mod sample;

use std::path::Path;

use sidekey::scan::finding::{Gate, ScanReport, Severity, SkipReason, State, Verdict};
use sidekey::scan::report::{Format, Options, write};

fn written(format: Format, report: &ScanReport, options: &Options) -> String {
    let mut out = Vec::new();
    write(format, report, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shown(format: Format, report: &ScanReport) -> String {
    written(format, report, &Options::default())
}

fn golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scan_report").join(name);
    if std::env::var_os("SIDEKEY_TEST_WRITE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(expected == text, "{name} differs; SIDEKEY_TEST_WRITE=1 writes it anew:\n{text}");
}

#[test]
fn every_form_is_as_it_was() {
    for &format in Format::ALL {
        golden(&format!("full.{format}"), &shown(format, &sample::full()));
        golden(&format!("clean.{format}"), &shown(format, &sample::clean()));
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    for &format in Format::ALL {
        assert_eq!(shown(format, &sample::full()), shown(format, &sample::full()));
    }
}

#[test]
fn no_form_shows_a_secret_unless_asked() {
    let secrets =
        [sample::github_token(), sample::aws_secret(), sample::aws_id(), sample::PASSWORD.into()];
    for &format in Format::ALL {
        let text = shown(format, &sample::full());
        for secret in &secrets {
            assert!(!text.contains(secret), "{format} shows {secret}");
        }
    }
}

#[test]
fn reveal_shows_it_in_the_forms_for_the_own_desk() {
    let options = Options { reveal: true, ..Options::default() };
    for format in [Format::Text, Format::Json, Format::Jsonl] {
        let text = written(format, &sample::full(), &options);
        assert!(text.contains(&sample::github_token()), "{format}");
    }
}

#[test]
fn a_hostile_image_steers_no_terminal() {
    for &format in Format::ALL {
        let text = shown(format, &sample::hostile());
        let steers = |c: &char| {
            (c.is_control() && *c != '\n')
                || ('\u{2028}'..='\u{202e}').contains(c)
                || *c == '\u{2066}'
        };
        assert_eq!(text.chars().find(steers), None, "{format}");
    }
}

#[test]
fn text_has_colours_only_when_asked() {
    let plain = shown(Format::Text, &sample::full());
    assert!(!plain.contains('\x1b'));
    let coloured =
        written(Format::Text, &sample::full(), &Options { colour: true, ..Options::default() });
    assert!(coloured.contains("\x1b[1;31mCRITICAL"));
    let mut without = String::new();
    let mut rest = coloured.as_str();
    while let Some(at) = rest.find('\x1b') {
        without.push_str(&rest[..at]);
        rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
    }
    assert_eq!(without + rest, plain);
}

#[test]
fn a_failure_counts_more_than_findings_and_these_more_than_gaps() {
    let mut report = sample::full();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Failed, 2));
    report.images.pop();
    report.judge();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Findings, 1));
    assert!(!report.images[0].complete);
    report.images[0].findings.clear();
    report.judge();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Incomplete, 3));
    report.gate.accept = vec![SkipReason::Limit];
    report.judge();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Clean, 0));
    assert!(report.images[0].complete);
    report.gate.strict = true;
    report.judge();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Incomplete, 3));
}

#[test]
fn a_gap_that_was_not_kept_is_a_gap() {
    let mut report = sample::clean();
    report.images[0].coverage.skips_total = 5_000;
    report.judge();
    assert_eq!(report.verdict, Verdict::Clean, "notes only");
    report.images[0].coverage.gap_not_kept = true;
    report.judge();
    assert_eq!(report.verdict, Verdict::Incomplete);
}

#[test]
fn the_gate_says_which_findings_count() {
    use sidekey::scan::finding::{OriginGate, StateGate};
    let verdict = |gate: Gate, change: fn(&mut ScanReport)| {
        let mut report = sample::full();
        report.images.truncate(1);
        report.images[0].coverage.skips.clear();
        report.images[0].coverage.skips_total = 0;
        report.images[0].findings.retain(|found| found.rule == "github-pat");
        change(&mut report);
        report.gate = gate;
        report.judge();
        report.verdict
    };
    let gate = Gate::default;
    assert_eq!(verdict(gate(), |_| ()), Verdict::Findings);
    assert_eq!(verdict(Gate { fail_on: Severity::Critical, ..gate() }, |_| ()), Verdict::Clean);
    let deleted: fn(&mut ScanReport) = |report| {
        report.images[0].findings[0].places.retain(|place| place.state == State::Deleted);
    };
    assert_eq!(verdict(gate(), deleted), Verdict::Findings);
    assert_eq!(verdict(Gate { state: StateGate::Present, ..gate() }, deleted), Verdict::Clean);
    let base: fn(&mut ScanReport) = |report| {
        report.images[0].findings[0].places.iter_mut().for_each(|p| p.introduced.base = true);
    };
    assert_eq!(verdict(gate(), base), Verdict::Findings);
    assert_eq!(verdict(Gate { origin: OriginGate::Own, ..gate() }, base), Verdict::Clean);
}

#[test]
fn exit_zero_changes_the_code_and_not_the_verdict() {
    let mut report = sample::full();
    report.gate.exit_zero = true;
    report.judge();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Failed, 2));
    report.images.pop();
    report.judge();
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Findings, 0));
}

fn valid(schema: &str, text: &str) {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let document = serde_json::from_str(text).unwrap();
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler.add_resource("file:///schema.json", schema).unwrap();
    let index = compiler.compile("file:///schema.json", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(&document, index) {
        panic!("{error:#}");
    }
}

fn reports() -> [ScanReport; 3] {
    [sample::clean(), sample::full(), sample::hostile()]
}

#[test]
fn the_json_is_what_the_committed_schema_says() {
    let schema = include_str!("../docs/scan-report.schema.json");
    let revealed = Options { reveal: true, ..Options::default() };
    for report in reports() {
        valid(schema, &shown(Format::Json, &report));
        valid(schema, &written(Format::Json, &report, &revealed));
    }
}

#[test]
fn the_schema_knows_every_word_that_a_report_may_say() {
    use sidekey::scan::finding::{PlaceKind, SourceKind, Via};
    let schema = include_str!("../docs/scan-report.schema.json");
    let words = Via::ALL.iter().map(|via| via.word());
    let words = words.chain(PlaceKind::ALL.iter().map(|kind| kind.word()));
    let words = words.chain(SourceKind::ALL.iter().map(|kind| kind.word()));
    for word in words.chain(SkipReason::ALL.iter().map(|reason| reason.word())) {
        assert!(schema.contains(&format!("\"{word}\"")), "{word} is not in the schema");
    }
}

#[test]
fn the_sarif_is_valid() {
    let schema = include_str!("scan_report/sarif-2.1.0.schema.json");
    for report in reports() {
        valid(schema, &shown(Format::Sarif, &report));
    }
}

#[test]
fn the_sarif_has_relative_paths_and_no_snippet() {
    let text = shown(Format::Sarif, &sample::full());
    let sarif: serde_json::Value = serde_json::from_str(&text).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 4);
    assert_eq!(run["results"][0]["level"], "error");
    let uri = |result: usize| {
        &run["results"][result]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    };
    assert_eq!(
        (uri(2).as_str(), uri(3).as_str()),
        (Some("layer-2/app/.env"), Some("config/env/DB_PASSWORD"))
    );
    assert!(!text.contains("snippet"));
    let rule = run["results"][2]["ruleIndex"].as_u64().unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][usize::try_from(rule).unwrap()]["id"], "github-pat");
}

#[test]
fn the_junit_is_well_formed_and_counts_right() {
    for report in reports() {
        let text = shown(Format::Junit, &report);
        let document = roxmltree::Document::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let count = |name: &str| document.descendants().filter(|n| n.has_tag_name(name)).count();
        let said = |name: &str| document.root_element().attribute(name).unwrap().parse().unwrap();
        assert_eq!(
            (count("testcase"), count("failure"), count("error")),
            (said("tests"), said("failures"), said("errors"))
        );
        assert!(count("testcase") > 0);
    }
}

#[test]
fn github_sees_no_command_but_ours() {
    for format in [Format::Github, Format::Text, Format::Json, Format::Jsonl, Format::Sarif] {
        for line in shown(format, &sample::hostile()).lines() {
            let ours =
                ["::error file=", "::warning file=", "::notice ", "::error title=sidekey-scan::"];
            let command = line.trim_start().starts_with("::");
            let expected = format == Format::Github && ours.iter().any(|own| line.starts_with(own));
            assert!(!command || expected, "{format}: {line}");
            assert!(!line.contains("##["), "{format}: {line}");
        }
    }
}

#[test]
fn the_page_may_load_nothing_and_holds_no_markup_of_an_image() {
    let page = shown(Format::Html, &sample::hostile());
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    assert_eq!(page.matches("<script").count(), 2, "the data and the program");
    assert_eq!(page.matches("</script>").count(), 2);
    for loading in
        ["<img", "<link", "<iframe", " src=", "url(", "@import", "fetch(", "XMLHttp", "innerHTML"]
    {
        assert!(!page.contains(loading), "{loading}");
    }
}
