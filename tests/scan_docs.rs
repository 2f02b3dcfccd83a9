//! What docs/scanner.md claims is what the scanner says of itself.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![expect(clippy::disallowed_methods, reason = "it runs the binary under test")]

use std::process::Command;

use sidekey::scan::finding::{Baseline, Confidence, Severity, SkipReason, State};
use sidekey::scan::report::Format;

fn page() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("docs/scanner.md")).unwrap()
}

#[test]
fn every_option_that_the_page_names_is_in_the_help() {
    let help = Command::new(env!("CARGO_BIN_EXE_sidekey-scan")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let page = page();
    let named = page
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|w| w.starts_with("--"));
    let named: std::collections::BTreeSet<_> =
        named.filter(|word| word.len() > 4 && *word != "--mount").collect();
    assert!(named.len() > 8, "{named:?}");
    for option in named.iter().filter(|option| **option != "--help") {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn every_word_of_a_report_is_explained() {
    let page = page();
    let words = SkipReason::ALL.iter().map(|reason| reason.word());
    let words = words.chain(Format::ALL.iter().map(|format| format.word()));
    let words = words.chain(Severity::ALL.iter().map(|severity| severity.word()));
    let words = words.chain(Confidence::ALL.iter().map(|confidence| confidence.word()));
    for word in words.chain(State::ALL.iter().map(|state| state.word())) {
        assert!(page.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_baseline_of_the_page_is_one() {
    let page = page();
    let toml = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(Baseline::parse(toml).unwrap().entries.len(), 1);
}
