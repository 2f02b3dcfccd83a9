//! How much is found in files of every family of the must-find list, as real projects hold them, and
//! how many files are hit that only look like it. `tests/scan_recall/` holds them; every seed makes
//! other tokens. A file there is never changed to be found: what is missed stays missed.
//!
//! `SIDEKEY_RECALL_SHOW=1` names the files of the even half that are missed or hit; the odd half is
//! for counting only, so that it stays a measure of what nobody tuned for.
#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was missed is shown on demand")]

use std::collections::BTreeMap;

use sidekey::scan::detect::{Detector, Pick, PlaceKind, RuleSet, Subject, expand};
use sidekey::scan::finding::Confidence;

const LEAKY: &str = include_str!("scan_recall/leaky.txt");
const LOOKALIKE: &str = include_str!("scan_recall/lookalike.txt");
const SEEDS: std::ops::Range<u64> = 100..103;

struct Sample {
    family: &'static str,
    path: &'static str,
    text: &'static str,
}

/// Files, each begun by a line `@@ family | path`.
fn samples(corpus: &'static str) -> Vec<Sample> {
    let parts = corpus.strip_prefix("@@ ").unwrap().split("\n@@ ");
    parts
        .map(|part| {
            let (head, text) = part.split_once('\n').unwrap();
            let (family, path) = head.split_once(" | ").unwrap();
            Sample { family, path, text }
        })
        .collect()
}

fn rules_that_hit(detector: &Detector, rules: &RuleSet, sample: &Sample, seed: u64) -> Vec<String> {
    let mut hits = Vec::new();
    let subject = Subject { path: sample.path.as_bytes(), kind: PlaceKind::File };
    let text = [expand(sample.text, seed), b"\n".to_vec()].concat();
    detector.value(&subject, &text, &mut |hit| {
        if hit.confidence <= Confidence::Likely {
            hits.push(rules.rules[hit.rule.0 as usize].info.id.clone());
        }
    });
    hits
}

/// Hit and all, per family and half.
type Tally = BTreeMap<(&'static str, usize), (usize, usize)>;

fn tally(corpus: &'static str, leaky: bool) -> Tally {
    let rules = RuleSet::built_in().unwrap();
    let detector = Detector::build(&rules, &Pick::default()).unwrap();
    let show = std::env::var_os("SIDEKEY_RECALL_SHOW").is_some();
    let mut tally = Tally::new();
    for (number, sample) in samples(corpus).iter().enumerate() {
        for seed in SEEDS {
            let hits = rules_that_hit(&detector, &rules, sample, seed);
            let entry = tally.entry((sample.family, number % 2)).or_default();
            entry.0 += usize::from(!hits.is_empty());
            entry.1 += 1;
            if show && number % 2 == 0 && hits.is_empty() == leaky && seed == SEEDS.start {
                println!("{} {}: {hits:?}\n{}\n", sample.family, sample.path, sample.text);
            }
        }
    }
    for ((family, half), (hit, all)) in &tally {
        println!("{family:12} {half} {hit:4} of {all:4} {:3} %", hit * 100 / all);
    }
    tally
}

/// In percent, of one half.
fn share(tally: &Tally, half: usize) -> usize {
    let of_half = tally.iter().filter(|((_, of), _)| *of == half);
    let (hit, all) = of_half.fold((0, 0), |sum, (_, part)| (sum.0 + part.0, sum.1 + part.1));
    println!("half {half}: {hit} of {all}");
    hit * 100 / all
}

#[test]
fn of_files_of_all_families_nearly_all_are_found() {
    let tally = tally(LEAKY, true);
    let shares = [share(&tally, 0), share(&tally, 1)];
    assert!(shares[0] >= 88 && shares[1] >= 88, "{shares:?}");
}

#[test]
fn of_files_that_look_like_it_hardly_any_is_hit() {
    let tally = tally(LOOKALIKE, false);
    let shares = [share(&tally, 0), share(&tally, 1)];
    assert!(shares[0] <= 3 && shares[1] <= 3, "{shares:?}");
}
