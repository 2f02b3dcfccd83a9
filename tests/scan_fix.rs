//! The advice is as good as its Sidekey config: the agent itself reads it.

#![cfg(all(feature = "scan", feature = "vault"))]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "scan_report/sample.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sample;

use sample::{At, HOSTILE, located};
use sidekey::agent::config::{self, Origin, Source, Surroundings};
use sidekey::scan::finding::{Finding, PlaceKind};

/// What the agent makes of it: the names of the files.
fn files(finding: &Finding) -> Vec<String> {
    let text = finding.fix.sidekey.clone();
    let around = Surroundings { env: &|_| None, uid: 64_917, in_pod: true };
    let source = Source { origin: Origin::File("sidekey.yaml".into()), text };
    let parsed = config::parse(&source, &around)
        .unwrap_or_else(|mistakes| panic!("{mistakes}\n{}", finding.fix.sidekey));
    assert!(parsed.warnings.is_empty(), "{}", finding.fix.sidekey);
    parsed.config.files.keys().map(ToString::to_string).collect()
}

#[test]
fn every_kind_of_place_gets_a_config_that_the_agent_accepts() {
    for &kind in PlaceKind::ALL {
        for rule in 0..4 {
            let at = At { kind, rule, path: b"app/config.yml", ..At::default() };
            let image = sample::image("x", vec![located(at)]);
            assert_eq!(files(&image.findings[0]).len(), 1, "{kind}");
        }
    }
}

#[test]
fn a_file_keeps_its_name_and_a_variable_becomes_a_line() {
    let at = At { path: b"srv/app/.npmrc", ..At::default() };
    assert_eq!(files(&sample::image("x", vec![located(at)]).findings[0]), [".npmrc"]);
    let at = At { kind: PlaceKind::Env, path: b"DB_PASSWORD", rule: 3, ..At::default() };
    assert_eq!(files(&sample::image("x", vec![located(at)]).findings[0]), ["app.env"]);
}

#[test]
fn names_that_an_attacker_chose_give_a_config_all_the_same() {
    let odd: [&[u8]; 10] = [
        b"a/..",
        b"a/...",
        b"..hidden",
        b"a/",
        b"",
        b"caf\xe9/\xff",
        b"1/2",
        b"a/#x",
        b"a/-",
        b"a/yes",
    ];
    for path in HOSTILE.iter().map(|name| name.as_bytes()).chain(odd) {
        for kind in [PlaceKind::File, PlaceKind::Env, PlaceKind::Label] {
            let at = At { kind, path, ..At::default() };
            let image = sample::image("x", vec![located(at)]);
            assert_eq!(files(image.findings.first().unwrap()).len(), 1, "{path:?}");
        }
    }
}
