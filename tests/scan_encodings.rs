//! Secrets are found through the encodings they are wrapped in, once, with the way there.
#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sidekey::scan::detect::{Detector, Hit, Pick, PlaceKind, RuleSet, Subject, expand};
use sidekey::scan::finding::{Confidence, Via};

fn look(path: &str, bytes: &[u8]) -> Vec<Hit> {
    let set = RuleSet::built_in().unwrap();
    let detector = Detector::build(&set, &Pick::default()).unwrap();
    let mut hits = Vec::new();
    let subject = Subject { path: path.as_bytes(), kind: PlaceKind::File };
    detector.value(&subject, bytes, &mut |hit| hits.push(hit));
    hits.retain(|hit| hit.confidence <= Confidence::Likely);
    hits
}

fn token(seed: u64) -> Vec<u8> {
    expand("ghp_{A30}{crc}", seed)
}

fn text(seed: u64) -> Vec<u8> {
    [&b"GITHUB_TOKEN="[..], &token(seed), b"\nNAME=app\n"].concat()
}

/// Exactly one hit, the token, through these.
fn assert_found(bytes: &[u8], vias: &[Via], seed: u64) {
    let hits = look("srv/app/data.txt", bytes);
    let through: Vec<Vec<Via>> =
        hits.iter().map(|hit| hit.inside.iter().map(|i| i.via).collect()).collect();
    assert_eq!(through, [vias], "{}", String::from_utf8_lossy(bytes));
    assert_eq!(hits[0].secret.expose(), token(seed));
}

fn utf16(text: &[u8], bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.iter().flat_map(|&b| bytes(u16::from(b))).collect()
}

#[test]
fn base64_once_and_twice_in_both_alphabets_and_in_lines() {
    for seed in 0..30 {
        let once = STANDARD.encode(text(seed));
        assert_found(format!("data: {once}\n").as_bytes(), &[Via::Base64], seed);
        let twice = STANDARD.encode(&once);
        assert_found(format!("data: {twice}\n").as_bytes(), &[Via::Base64; 2], seed);
        let url = URL_SAFE_NO_PAD.encode(text(seed));
        assert_found(format!("{{\"a\":\"{url}\"}}").as_bytes(), &[Via::Base64], seed);
        let long = STANDARD.encode(
            [&b"some words before it, so that there are more lines\n"[..], &text(seed)].concat(),
        );
        let lines: Vec<&[u8]> = long.as_bytes().chunks(76).collect();
        assert_found(&lines.join(&b"\n"[..]), &[Via::Base64], seed);
    }
}

#[test]
fn hexadecimal_percent_and_escapes() {
    for seed in 0..30 {
        let each = |bytes: Vec<u8>, form: fn(u8) -> String| -> String {
            bytes.into_iter().map(form).collect()
        };
        let hex = each(text(seed), |byte| format!("{byte:02x}"));
        assert_found(format!("x={hex}\n").as_bytes(), &[Via::Hex], seed);
        let percent = each(token(seed), |byte| format!("%{byte:02X}"));
        assert_found(format!("https://acme.dev/?q={percent}\n").as_bytes(), &[Via::Percent], seed);
        let escaped = each(token(seed), |byte| format!("\\u{byte:04x}"));
        assert_found(format!("{{\"a\": \"{escaped}\"}}").as_bytes(), &[Via::Escape], seed);
    }
}

#[test]
fn utf16_alone_and_between_other_bytes() {
    for seed in 0..30 {
        assert_found(
            &[&[0xff, 0xfe][..], &utf16(&text(seed), u16::to_le_bytes)].concat(),
            &[Via::Utf16le],
            seed,
        );
        assert_found(
            &[&[0xfe, 0xff][..], &utf16(&text(seed), u16::to_be_bytes)].concat(),
            &[Via::Utf16be],
            seed,
        );
        let program = [
            &[0x7f, b'E', 1, 2, 3, 9, 9][..],
            &utf16(&text(seed), u16::to_le_bytes),
            &[1, 2, 3, 200, 7],
        ]
        .concat();
        assert_found(&program, &[Via::Utf16le], seed);
    }
}

#[test]
fn a_long_encoded_stretch_is_seen_to_its_end_and_once() {
    let mut plain = Vec::new();
    for seed in 0..300 {
        plain.extend_from_slice(&text(seed));
        plain.extend_from_slice(
            &expand("and some words that are not the point {l20} {l20} {l20}\n", seed).repeat(9),
        );
    }
    assert!(plain.len() > 200_000);
    let count = |bytes: &[u8]| {
        let hits = look("srv/app/data.txt", bytes);
        let tokens: Vec<Vec<u8>> = hits.iter().map(|hit| hit.secret.expose().to_vec()).collect();
        assert!(
            (0..300).all(|seed| tokens.contains(&token(seed))),
            "one is missing of {}",
            tokens.len()
        );
        tokens.len()
    };
    assert_eq!(count(&plain), 300);
    assert_eq!(count(STANDARD.encode(&plain).as_bytes()), 300);
    assert_eq!(count(&utf16(&plain, u16::to_le_bytes)), 300);
}

#[test]
fn a_helm_release_is_opened() {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed
        .write_all(
            &[b"{\"name\":\"shop\",\"config\":{\"token\":\"", &token(1)[..], b"\"}}"].concat(),
        )
        .unwrap();
    let release = STANDARD.encode(STANDARD.encode(packed.finish().unwrap()));
    let hits = look("var/release.yaml", format!("data:\n  release: {release}\n").as_bytes());
    let hit = hits.iter().find(|hit| hit.secret.expose() == token(1)).unwrap();
    let through: Vec<Via> = hit.inside.iter().map(|i| i.via).collect();
    assert_eq!(through, [Via::Base64, Via::Gzip]);
}
