//! Two halves of a credential that stand together prove each other.
#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sidekey::scan::detect::{Detector, Pick, PlaceKind, RuleSet, Subject, expand};
use sidekey::scan::finding::{Confidence, Hit, Proof};

/// Rule, confidence and whether it is half of a pair, of all hits in the file, cut in pieces of `cut`.
fn hits(path: &str, text: &[u8], cut: usize) -> Vec<(String, Confidence, bool)> {
    let rules = RuleSet::built_in().unwrap();
    let detector = Detector::build(&rules, &Pick::default()).unwrap();
    let mut found = Vec::new();
    let mut sink = |hit: Hit| {
        let rule = rules.rules[usize::from(hit.rule.0)].info.id.clone();
        found.push((rule, hit.confidence, hit.proof.contains(&Proof::Paired)));
    };
    let mut stream = detector.open(&Subject { path: path.as_bytes(), kind: PlaceKind::File });
    for piece in text.chunks(cut) {
        stream.push(piece, &mut sink);
    }
    stream.finish(&mut sink);
    found.sort();
    found
}

#[test]
fn the_halves_of_an_aws_key_prove_each_other_and_the_session_token() {
    let text = "[a]\naws_access_key_id = ASIA{t16}\naws_secret_access_key = {b40}\naws_session_token = {b300}\n";
    let found = hits("root/.aws/credentials", &expand(text, 1), 1 << 16);
    let rules: Vec<&str> = found.iter().map(|(rule, ..)| rule.as_str()).collect();
    assert_eq!(rules, ["aws-access-key", "aws-secret-key", "aws-session-token"]);
    assert!(
        found.iter().all(|(_, sure, paired)| *sure == Confidence::Proved && *paired),
        "{found:?}"
    );
}

#[test]
fn a_secret_behind_its_key_needs_no_name() {
    let found =
        hits("root/accessKeys.csv", &expand("Access key ID,Secret\nAKIA{t16},{b40}\n", 2), 7);
    assert!(found.iter().any(|(rule, ..)| rule == "aws-secret-beside-key"), "{found:?}");
    assert!(found.iter().all(|(_, sure, _)| *sure == Confidence::Proved), "{found:?}");
}

#[test]
fn half_a_pair_or_one_with_an_example_proves_nothing() {
    let far =
        format!("id = AKIA{{t16}}\n{}\naws_secret_access_key = {{b40}}\n", "# -\n".repeat(200));
    let example =
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {b40}\n".to_owned();
    for text in [far, example, "key = AKIA{t16}\n".to_owned()] {
        let found = hits("app/x.ini", &expand(&text, 3), 1 << 16);
        assert!(!found.is_empty() && found.iter().all(|(_, _, paired)| !paired), "{found:?}");
    }
}

/// The window ends anywhere: between the halves, or in the middle of one.
#[test]
fn pairs_are_the_same_however_the_bytes_are_cut() {
    for before in (65_300..65_600).step_by(13).chain((69_500..69_700).step_by(13)) {
        let filler = "# settings\n".repeat(before / 11);
        let pair = "aws_access_key_id = AKIA{t16}\naws_secret_access_key = {b40}\n";
        let text = [filler.as_bytes(), &expand(pair, 4)].concat();
        for cut in [usize::MAX, 1000, 4096] {
            let found = hits("app/x.ini", &text, cut.min(text.len()));
            assert_eq!(found.len(), 2, "{before} {cut} {found:?}");
            assert!(found.iter().all(|(_, _, paired)| *paired), "{before} {cut}");
        }
    }
}
