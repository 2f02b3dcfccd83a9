//! Private keys in armour, however the lines of it are broken: as they are, on one line, with
//! literal `\n`, indented, quoted and joined in program text.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;

use super::class::Class;
use super::credible;
use super::known;
use super::matcher::{Found, Scene, View};
use super::proof::key::{self, Key};
use super::rule::Rule;
use super::text;
use crate::scan::finding::{Confidence, Proof, Severity};

/// The most base64 of one key: RSA with 16,384 bits takes 12.5 KiB.
const LONGEST: usize = 16 << 10;
/// The least: an elliptic curve key of 128 bits.
const SHORTEST: usize = 60;
/// A few bits after the end, or none of the padding, are no reason to lose a key.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// What stands between the dashes.
struct Armour {
    label: Vec<u8>,
    base64: Vec<u8>,
    /// `Proc-Type: 4,ENCRYPTED` and the like.
    encrypted: bool,
    /// The matching end line is there.
    closed: bool,
    end: usize,
}

impl Scene<'_> {
    /// `at` is where the dashes before `BEGIN` are.
    pub(super) fn pem(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
    ) -> Option<Found> {
        let armour = read(view.data, at)?;
        let bytes = LENIENT.decode(&armour.base64).ok()?;
        let parsed = parse(&armour, &bytes);
        let mut found = Found::new(view, rule, number, at..armour.end);
        found.secret = canonical(&armour);
        match parsed {
            Some(key) => describe(&mut found, &key),
            None if armour.encrypted && armour.closed => {
                describe(&mut found, &Key { encrypted: true, public: None });
                found.proof.retain(|proof| *proof != Proof::KeyParses);
                found.confidence = Confidence::Likely;
            }
            None => {
                let shown = self.class == Class::Doc || credible::is_for_show(self.path);
                let real = armour.closed && begins_like_a_key(&bytes) && !shown;
                found.confidence = if real { Confidence::Likely } else { Confidence::Possible };
            }
        }
        // Debian's ssl-cert makes one on each machine, for its own name.
        if self.path.ends_with(b"ssl-cert-snakeoil.key") {
            found.severity = Severity::Info;
        }
        Some(found)
    }

    /// A store of keys: what it begins with, and an entry that is a private key.
    pub(super) fn key_store(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
    ) -> Option<Found> {
        let rest = &view.data[at..];
        let (start, length) = match rest {
            [0x02, 1, 3, ..] => pkcs12(view.data, at)?,
            [0xfe | 0xce, _, _, _, 0, 0, 0, 1 | 2, _, _, _, _, 0, 0, 0, 1, ..]
                if at == 0 && view.is_start =>
            {
                (0, view.data.len())
            }
            _ => return None,
        };
        let mut found = Found::new(view, rule, number, start..start + length);
        let shown = credible::is_for_show(self.path);
        found.confidence = if shown { Confidence::Possible } else { Confidence::Proved };
        found.proof = vec![Proof::Structure];
        Some(found)
    }

    /// `at` is where the version number of a key in DER stands; its sequence begins before it.
    pub(super) fn der(view: &View<'_>, rule: &Rule, number: u16, at: usize) -> Option<Found> {
        (2..=4).filter_map(|back| at.checked_sub(back)).find_map(|start| {
            let bytes = view.data.get(start..view.data.len().min(start + LONGEST))?;
            let nested =
                start >= 2 && view.data[start - 2] == 0x04 && bytes.get(2..5) == Some(&[2, 1, 1]);
            let key = key::from_der(bytes).filter(|_| !nested)?;
            let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
            let end = if bytes[1] == 0x82 { length + 4 } else { usize::from(bytes[1]) + 2 };
            let mut found = Found::new(view, rule, number, start..start + end.min(bytes.len()));
            describe(&mut found, &key);
            Some(found)
        })
    }
}

/// The sequence around version 3, if it holds data in a shroud.
fn pkcs12(data: &[u8], at: usize) -> Option<(usize, usize)> {
    const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    let content = data.get(at + 3..data.len().min(at + 30))?;
    let start = (2..=4).filter_map(|back| at.checked_sub(back)).find(|&start| {
        data[start] == 0x30 && start + 2 + usize::from(data[start + 1].saturating_sub(0x80)) == at
    })?;
    let length = data[start + 2..at].iter().fold(0, |n, &b| n << 8 | usize::from(b));
    let end = data.len().min(at + length.max(40));
    (text::contains(content, DATA) && length > 300).then_some((start, end - start))
}

fn describe(found: &mut Found, key: &Key) {
    found.confidence = Confidence::Proved;
    found.proof.push(Proof::KeyParses);
    if let Some(fingerprint) = key.fingerprint() {
        found.proof.push(Proof::PublicKey(fingerprint));
    }
    if key.encrypted {
        found.severity = Severity::Info;
        found.proof.push(Proof::Encrypted);
    }
    let is_known = key.public.is_some_and(|hash| known::is_known(&hash));
    // Of some kinds of keys the public half is not in the file.
    if is_known || key.public.is_none() && known::is_published(&found.secret) {
        found.severity = Severity::Info;
        found.confidence = Confidence::Possible;
        found.proof.push(Proof::Other("published_test_key"));
    }
}

/// The key in the armour that begins at `at`, if it parses.
pub(super) fn parse_at(data: &[u8], at: usize) -> Option<Key> {
    let armour = read(data, at)?;
    parse(&armour, &LENIENT.decode(&armour.base64).ok()?)
}

fn parse(armour: &Armour, bytes: &[u8]) -> Option<Key> {
    let mut key = match armour.label.as_slice() {
        b"OPENSSH PRIVATE KEY" => key::from_openssh(bytes)?,
        b"PGP PRIVATE KEY BLOCK" => key::from_pgp(bytes)?,
        _ if armour.encrypted => return None,
        _ => key::from_der(bytes).or_else(|| key::from_openssh(bytes))?,
    };
    key.encrypted |= armour.encrypted;
    Some(key)
}

/// A sequence that is about as long as it says, or OpenSSH's magic.
fn begins_like_a_key(bytes: &[u8]) -> bool {
    let sequence = matches!(
        bytes,
        [0x30, 0x82, _, _, 2 | 0x30, ..] | [0x30, _, 2, 1, ..] | [0x30, 0x81, _, 2, 1, ..]
    );
    sequence
        || bytes.starts_with(b"openssh-key-v1")
        || matches!(bytes, [0x94 | 0x95 | 0xc5, _, _, 4 | 0x58 | 0x86, ..])
}

fn canonical(armour: &Armour) -> Vec<u8> {
    let label = String::from_utf8_lossy(&armour.label);
    let mut out = format!("-----BEGIN {label}-----\n").into_bytes();
    for line in armour.base64.chunks(64) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    out
}

fn read(data: &[u8], at: usize) -> Option<Armour> {
    let rest = data.get(at..data.len().min(at + LONGEST + LONGEST / 4))?;
    let rest = rest.strip_prefix(b"-----BEGIN ")?;
    let dashes = rest.iter().take(40).position(|&b| b == b'-')?;
    let label = &rest[..dashes];
    let is_private = text::contains(label, b"PRIVATE KEY") && rest[dashes..].starts_with(b"-----");
    let body = rest.get(dashes + 5..).filter(|_| is_private)?;
    let (base64, encrypted, length) = body_of(body);
    let tail = &body[length..];
    let end = [&b"-----END "[..], label, b"-----"].concat();
    let closed = tail.starts_with(&end);
    let ends_at = at + 11 + dashes + 5 + length + if closed { end.len() } else { 0 };
    (base64.len() >= SHORTEST).then_some(Armour {
        label: label.to_vec(),
        base64,
        encrypted,
        closed,
        end: ends_at,
    })
}

/// The base64 in the body, whether its headers say that it is encrypted, and where it ends.
fn body_of(body: &[u8]) -> (Vec<u8>, bool, usize) {
    let mut base64 = Vec::new();
    let mut encrypted = false;
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        let rest = &body[at..];
        match byte {
            b'\\' => {
                let escaped = matches!(rest.get(1), Some(b'n' | b'r' | b't' | b'"' | b'\\'));
                at += 1 + usize::from(escaped);
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b',' | b'#' | b'*' | b'`' | b'>'
            | b'|' | b'.' => at += 1,
            b'+' if is_joint(rest) => at += 1,
            b'=' if base64.len() % 4 == 0 => at += 5.min(rest.len()),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => {
                if let Some(header) = header(rest) {
                    encrypted |= text::contains(&rest[..header], b"ENCRYPTED")
                        || rest.starts_with(b"DEK-Info");
                    at += header;
                } else {
                    base64.push(byte);
                    at += 1;
                }
            }
            b'&' if rest.starts_with(b"&#10;") => at += 5,
            b'&' if rest.starts_with(b"&#xA;") => at += 5,
            _ => break,
        }
        if base64.len() > LONGEST {
            break;
        }
    }
    (base64, encrypted, at)
}

/// `+` that joins strings: nothing but blanks and a quote around it.
fn is_joint(rest: &[u8]) -> bool {
    let after = rest[1..].iter().find(|b| !b.is_ascii_whitespace());
    rest.get(1).is_none_or(u8::is_ascii_whitespace) && matches!(after, Some(b'"' | b'\'' | b'`'))
}

/// `Name: value` at the beginning of a line: how long it is.
fn header(rest: &[u8]) -> Option<usize> {
    const NAMES: [&[u8]; 6] =
        [b"Proc-Type:", b"DEK-Info:", b"Version:", b"Comment:", b"Charset:", b"Hash:"];
    NAMES.iter().find(|name| rest.starts_with(name))?;
    let line = rest.iter().take(200).position(|&b| b == b'\n');
    let escaped = rest.windows(2).take(200).position(|pair| pair == b"\\n");
    Some(line.into_iter().chain(escaped).min().unwrap_or(rest.len().min(200)))
}
