//! Hits become findings: one secret is one finding, with every place it was seen.

#![cfg(feature = "scan")]

use proptest::prelude::*;
use sidekey::scan::finding::{
    Assembled, Confidence, Fingerprints, Hit, Introduced, Keep, Located, Place, PlaceKind, Proof,
    RuleId, RuleInfo, Severity, State, assemble,
};
use sidekey::secret::SecretBytes;

const GITHUB: u16 = 0;
const GENERIC: u16 = 1;
const AWS_ID: u16 = 2;
const AWS_SECRET: u16 = 3;

fn rules() -> Vec<RuleInfo> {
    let rule = |id: &str, family: &str, prefix: &str| RuleInfo {
        id: id.to_owned(),
        title: id.replace('-', " "),
        family: family.to_owned(),
        prefixes: vec![prefix.to_owned()],
        ..RuleInfo::default()
    };
    vec![
        rule("github-token", "github", "ghp_"),
        rule("generic-password", "generic", ""),
        rule("aws-access-key-id", "aws", "AKIA"),
        rule("aws-secret-access-key", "aws-secret", ""),
    ]
}

/// A hit to be told where it is.
struct At {
    rule: u16,
    secret: &'static str,
    layer: u32,
    path: &'static str,
    offset: u64,
    state: State,
    removed_by: Option<u32>,
    confidence: Confidence,
    kind: PlaceKind,
    instruction: Option<&'static str>,
}

const TOKEN: At = At {
    rule: GITHUB,
    secret: "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    layer: 0,
    path: "app/.env",
    offset: 4,
    state: State::Present,
    removed_by: None,
    confidence: Confidence::Proved,
    kind: PlaceKind::File,
    instruction: None,
};

const PASSWORD: At =
    At { rule: GENERIC, secret: "hunter2", confidence: Confidence::Likely, ..TOKEN };

fn located(at: &At) -> Located {
    let length = at.secret.len() as u64;
    let weak = at.rule == GENERIC;
    Located {
        hit: Hit {
            rule: RuleId(at.rule),
            offset: at.offset,
            length,
            line: Some(1),
            column: Some(at.offset + 1),
            inside: Vec::new(),
            secret: SecretBytes::copy_of(at.secret.as_bytes()),
            confidence: at.confidence,
            severity: Severity::High,
            proof: if weak { Vec::new() } else { vec![Proof::Checksum] },
            weak,
            key_name: weak.then(|| "PASSWORD".to_owned()),
            allowed_inline: false,
        },
        place: Place {
            kind: at.kind,
            path: Some(at.path.as_bytes().to_vec()),
            line: Some(1),
            column: Some(at.offset + 1),
            offset: at.offset,
            length,
            inside: Vec::new(),
            introduced: Introduced {
                layer: Some(at.layer),
                diff_id: None,
                instruction: at.instruction.map(Into::into),
                base: false,
            },
            state: at.state,
            removed_by: at.removed_by,
        },
    }
}

const KEEP: Keep = Keep {
    min_confidence: Confidence::Likely,
    findings: 10_000,
    places: 1_000,
    inline_allow: false,
};

fn assembled(hits: &[At], keep: &Keep) -> Assembled {
    let located = hits.iter().map(located).collect();
    assemble(located, &rules(), &Fingerprints::public(), keep)
}

#[test]
fn one_secret_in_many_places_is_one_finding() {
    let hits = [
        At { layer: 3, ..TOKEN },
        At { layer: 1, path: "root/.netrc", ..TOKEN },
        At { layer: 2, state: State::Deleted, removed_by: Some(3), path: "tmp/x", ..TOKEN },
    ];
    let findings = assembled(&hits, &KEEP).findings;
    assert_eq!(findings.len(), 1);
    let layers: Vec<_> = findings[0].places.iter().map(|p| p.introduced.layer.unwrap()).collect();
    assert_eq!(layers, [1, 3, 2], "the most visible, then the earliest, first");
    assert_eq!(findings[0].preview, "ghp_01…");
}

#[test]
fn a_copy_in_a_later_layer_was_brought_in_by_the_first() {
    let hits = [
        At { layer: 1, state: State::Overwritten, removed_by: Some(4), ..TOKEN },
        At { layer: 4, state: State::Overwritten, removed_by: Some(6), ..TOKEN },
        At { layer: 6, ..TOKEN },
    ];
    let findings = assembled(&hits, &KEEP).findings;
    let first = &findings[0].places[0];
    assert_eq!((first.state, first.introduced.layer), (State::Present, Some(1)));
    assert_eq!(findings[0].places_total, 3);
}

#[test]
fn a_generic_hit_over_a_specific_one_is_an_echo() {
    let echo = At { rule: GENERIC, offset: 2, ..TOKEN };
    let findings = assembled(&[echo, TOKEN], &KEEP).findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].rule, "github-token");
}

#[test]
fn a_weak_value_with_the_same_name_is_one_finding_and_with_another_value_is_another() {
    let elsewhere = At { path: "srv/.env", layer: 1, ..PASSWORD };
    let other = At { secret: "hunter3", path: "etc/x", ..PASSWORD };
    let findings = assembled(&[PASSWORD, elsewhere, other], &KEEP).findings;
    let mut places: Vec<_> = findings.iter().map(|finding| finding.places_total).collect();
    places.sort_unstable();
    assert_eq!(places, [1, 2]);
    assert!(findings.iter().all(|finding| finding.preview == "…"));
}

#[test]
fn a_weak_fingerprint_does_not_depend_on_the_value() {
    let changed = At { secret: "correct horse", ..PASSWORD };
    let one = assembled(&[PASSWORD], &KEEP).findings;
    let two = assembled(&[changed], &KEEP).findings;
    assert_eq!(one[0].fingerprint, two[0].fingerprint);
}

#[test]
fn what_is_less_sure_than_asked_is_not_reported() {
    let unsure = At { confidence: Confidence::Possible, ..PASSWORD };
    assert!(assembled(&[unsure], &KEEP).findings.is_empty());
    let unsure = At { confidence: Confidence::Possible, ..PASSWORD };
    let all = Keep { min_confidence: Confidence::Possible, ..KEEP };
    assert_eq!(assembled(&[unsure], &all).findings.len(), 1);
}

#[test]
fn what_is_beyond_the_bounds_is_counted() {
    let hits: Vec<At> = (0..10).map(|offset| At { offset, ..TOKEN }).collect();
    let few = Keep { places: 3, ..KEEP };
    let finding = &assembled(&hits, &few).findings[0];
    assert_eq!((finding.places.len(), finding.places_total), (3, 10));
    let none = Keep { findings: 0, ..KEEP };
    assert_eq!(assembled(&hits, &none).dropped, 1);
}

#[test]
fn an_instruction_is_told_without_the_secret() {
    let instruction = Some("ENV GITHUB_TOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyz");
    let hits = [At { instruction, kind: PlaceKind::Env, path: "GITHUB_TOKEN", ..TOKEN }];
    let result = assembled(&hits, &KEEP);
    let told = result.findings[0].places[0].introduced.instruction.as_deref();
    assert_eq!(told, Some("ENV GITHUB_TOKEN=[secret]"));
    assert_eq!(result.redactor.text("A=ghp_0123456789abcdefghijklmnopqrstuvwxyz"), "A=[secret]");
}

#[test]
fn a_file_named_like_a_token_is_told_without_it() {
    let path = "tmp/ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    let hits = [At { kind: PlaceKind::Filename, path, ..TOKEN }];
    let findings = assembled(&hits, &KEEP).findings;
    assert_eq!(findings[0].places[0].path.as_deref(), Some(&b"tmp/[secret]"[..]));
}

#[test]
fn the_halves_of_a_pair_name_each_other() {
    let id = At { rule: AWS_ID, secret: "AKIA0123456789ABCDEF", ..TOKEN };
    let secret = At { rule: AWS_SECRET, secret: "wJalrXUtnFEMI0123456789", offset: 90, ..TOKEN };
    let findings = assembled(&[id, secret, TOKEN], &KEEP).findings;
    let of = |rule: &str| findings.iter().find(|finding| finding.rule == rule).unwrap();
    let (id, secret) = (of("aws-access-key-id"), of("aws-secret-access-key"));
    assert_eq!(id.related, std::slice::from_ref(&secret.fingerprint));
    assert_eq!(secret.related, std::slice::from_ref(&id.fingerprint));
    assert!(of("github-token").related.is_empty());
}

proptest! {
    /// Threads hand hits over in any order.
    #[test]
    fn the_order_of_the_hits_does_not_matter(order in Just((0..9).collect::<Vec<usize>>()).prop_shuffle()) {
        let all = || -> Vec<At> {
            vec![
                At { layer: 2, ..TOKEN }, TOKEN, At { offset: 80, ..TOKEN }, PASSWORD,
                At { layer: 1, path: "b", ..PASSWORD }, At { rule: AWS_ID, ..TOKEN },
                At { rule: AWS_SECRET, secret: "wJalrXUtnFEMI0123456789", ..TOKEN },
                At { state: State::Deleted, path: "c", ..TOKEN },
                At { secret: "hunter3", path: "z", ..PASSWORD },
            ]
        };
        let straight = assembled(&all(), &KEEP);
        let mut shuffled: Vec<Option<At>> = all().into_iter().map(Some).collect();
        let shuffled: Vec<At> = order.iter().map(|&i| shuffled[i].take().unwrap()).collect();
        let shuffled = assembled(&shuffled, &KEEP);
        prop_assert_eq!(format!("{:?}", straight.findings), format!("{:?}", shuffled.findings));
    }
}
