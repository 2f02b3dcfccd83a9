//! Every rule finds its examples and nothing in its counterexamples, however the bytes are cut.
#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sidekey::scan::detect::{Detector, Pick, PlaceKind, RuleSet, Subject, expand};
use sidekey::scan::finding::Confidence;

/// The middle of November 2026.
const NOW: u64 = 1_794_700_000;

fn detector(set: &RuleSet) -> Detector {
    Detector::build(set, &Pick { now: NOW, ..Pick::default() }).unwrap()
}

/// The names of the rules that speak, with what they found.
fn found(detector: &Detector, set: &RuleSet, path: &str, text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let subject = Subject { path: path.as_bytes(), kind: PlaceKind::File };
    let mut found = Vec::new();
    detector.value(&subject, text, &mut |hit| {
        if hit.confidence <= Confidence::Likely {
            let id = set.rules[usize::from(hit.rule.0)].info.id.clone();
            found.push((id, hit.secret.expose().to_vec()));
        }
    });
    found
}

#[test]
fn every_rule_finds_each_of_its_examples_whatever_the_random_part_is() {
    let set = RuleSet::built_in().unwrap();
    let detector = detector(&set);
    let mut wrong = Vec::new();
    for rule in &set.rules {
        for (number, example) in rule.examples.iter().enumerate() {
            let missed = (0..20).filter(|&seed| {
                let text = expand(example, seed);
                let hits = found(&detector, &set, &rule.at, &text);
                !hits.iter().any(|(id, _)| *id == rule.info.id)
            });
            let missed = missed.count();
            if missed > 0 {
                let text = expand(example, 0);
                let instead = found(&detector, &set, &rule.at, &text);
                let instead: Vec<_> = instead.into_iter().map(|(id, _)| id).collect();
                wrong.push(format!(
                    "{} example {}: {missed} of 20 missed; {instead:?}",
                    rule.info.id,
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_rule_finds_one_of_its_counterexamples() {
    let set = RuleSet::built_in().unwrap();
    let detector = detector(&set);
    let mut wrong = Vec::new();
    for rule in &set.rules {
        for (number, example) in rule.counterexamples.iter().enumerate() {
            let text = expand(example, 7);
            for (id, _) in found(&detector, &set, &rule.at, &text) {
                wrong.push(format!(
                    "{} counterexample {}: found by {id}",
                    rule.info.id,
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_pattern_compiles_within_its_bounds() {
    let set = RuleSet::built_in().unwrap();
    detector(&set).compile_all().unwrap();
}

#[test]
fn how_the_bytes_are_cut_changes_nothing() {
    let set = RuleSet::built_in().unwrap();
    let detector = detector(&set);
    let mut text = Vec::new();
    for number in 0..400_u64 {
        text.extend_from_slice(&expand("GH=ghp_{A30}{crc}\nsome words {a500}\n", number));
    }
    let subject = Subject { path: b"app/.env", kind: PlaceKind::File };
    let look = |size: usize| {
        let mut stream = detector.open(&subject);
        let mut hits = Vec::new();
        let mut sink =
            |hit: sidekey::scan::detect::Hit| hits.push((hit.offset, hit.line, hit.column));
        text.chunks(size).for_each(|chunk| stream.push(chunk, &mut sink));
        stream.finish(&mut sink);
        hits
    };
    let whole = look(text.len());
    assert_eq!(whole.len(), 400);
    assert_eq!(whole[399].1, Some(799));
    assert_eq!(whole[399].2, Some(4));
    for size in [1, 7, 4096, 65_536] {
        assert_eq!(look(size), whole, "cut at every {size} bytes");
    }
}
