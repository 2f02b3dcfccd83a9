//! Why a match is more than its looks: checksums, structures, keys that parse, dates.

mod checksum;
pub(super) mod der;
pub(super) mod key;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;
use serde::Deserialize;

use super::{known, pem, placeholder, text};
use crate::scan::finding::Proof;

/// Padding may be missing.
const STANDARD: GeneralPurpose = engine(&base64::alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = engine(&base64::alphabet::URL_SAFE);

const fn engine(alphabet: &base64::alphabet::Alphabet) -> GeneralPurpose {
    let padding = base64::engine::DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config.with_decode_padding_mode(padding))
}

/// What can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// The last six characters are the CRC-32 of what stands between the prefix and them, in
    /// base 62: GitHub, npm.
    Crc32,
    /// A digest in hexadecimal has the same length, and is none.
    NotHex,
    /// A private key in armour, with escaped line ends.
    Pem,
    /// The same, in base64.
    Base64Pem,
    /// `user:password` in base64.
    BasicAuth,
    /// A Docker config in base64, with a login in it.
    DockerConfig,
    /// A macaroon of `PyPI`.
    Pypi,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is none.
    Wrong,
    /// It can't be told.
    Unproved,
    /// It is one.
    Proved(Vec<Proof>),
}

impl Outcome {
    fn or_unproved(fits: bool, proof: Proof) -> Outcome {
        if fits { Outcome::Proved(vec![proof]) } else { Outcome::Unproved }
    }

    fn or_wrong(fits: bool, proof: Proof) -> Outcome {
        if fits { Outcome::Proved(vec![proof]) } else { Outcome::Wrong }
    }
}

/// Checks `secret`.
pub(super) fn check(check: Check, secret: &[u8]) -> Outcome {
    match check {
        Check::Crc32 => Outcome::or_unproved(checksum::crc32_fits(secret), Proof::Checksum),
        Check::NotHex if secret.iter().all(u8::is_ascii_hexdigit) => Outcome::Wrong,
        Check::NotHex => Outcome::Unproved,
        Check::Pem => key_in(secret),
        Check::Base64Pem => STANDARD.decode(secret).map_or(Outcome::Wrong, |text| key_in(&text)),
        Check::BasicAuth => Outcome::or_wrong(basic(secret), Proof::Structure),
        Check::DockerConfig => Outcome::or_wrong(docker_config(secret), Proof::Structure),
        Check::Pypi => Outcome::or_wrong(is_macaroon(secret), Proof::Structure),
    }
}

fn key_in(text: &[u8]) -> Outcome {
    let Some(start) = text::find(text, b"-----BEGIN ") else { return Outcome::Wrong };
    match pem::parse_at(text, start) {
        // As a private key, it is told by the rule that knows the published ones.
        Some(key) if key.public.is_some_and(|hash| known::is_known(&hash)) => Outcome::Wrong,
        Some(key) => {
            let public = key.fingerprint().map(Proof::PublicKey);
            Outcome::Proved([Proof::KeyParses].into_iter().chain(public).collect())
        }
        None => Outcome::Unproved,
    }
}

fn basic(secret: &[u8]) -> bool {
    let decoded = STANDARD.decode(secret).or_else(|_| URL_SAFE.decode(secret)).unwrap_or_default();
    let Some(colon) = decoded.iter().position(|&b| b == b':') else { return false };
    let password = &decoded[colon + 1..];
    let readable = decoded.iter().all(|&b| (b' '..0x7f).contains(&b));
    readable
        && password.len() >= 3
        && !placeholder::is_made_up(password)
        && !placeholder::is_nothing(password)
        && !placeholder::is_reference(password, true)
}

fn docker_config(secret: &[u8]) -> bool {
    let decoded = STANDARD.decode(secret).unwrap_or_default();
    let Some(at) = text::find(&decoded, b"\"auth\"") else {
        return text::contains(&decoded, b"\"password\"");
    };
    let mut strings = decoded[at + 6..].split(|&b| b == b'"');
    strings.nth(1).is_some_and(basic)
}

/// Version 2, then the place it is for.
fn is_macaroon(token: &[u8]) -> bool {
    let body = token.strip_prefix(b"pypi-").and_then(|text| URL_SAFE.decode(text).ok());
    body.is_some_and(|body| {
        body.len() > 80
            && (body.starts_with(b"\x02\x01\x08pypi.org\x02")
                || body.starts_with(b"\x02\x01\x0dtest.pypi.org\x02"))
    })
}

/// The checksum that belongs after the last word of `text`, as GitHub and npm write it.
pub(super) fn checksum_of(text: &[u8]) -> String {
    let start = text.iter().rposition(|b| !b.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    String::from_utf8_lossy(&checksum::crc32_base62(&text[start..])).into_owned()
}
