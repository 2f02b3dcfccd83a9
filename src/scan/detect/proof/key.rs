//! Private keys: do they parse, are they encrypted, and which public key do they belong to?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::signature::KeyPair as _;

use super::der::{self, BITS, INTEGER, OCTETS, OID, SEQUENCE};

/// What a key's bytes say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Key {
    /// Nobody can use it without a pass phrase.
    pub encrypted: bool,
    /// The SHA-256 of the public key, as SPKI or in SSH's form.
    pub public: Option<[u8; 32]>,
}

impl Key {
    /// `SHA256:…`, as SSH writes it.
    pub fn fingerprint(&self) -> Option<String> {
        self.public.map(|hash| format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)))
    }
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// An elliptic curve key is at most so long: P-521 has 66 bytes.
const SCALAR: std::ops::RangeInclusive<usize> = 20..=72;

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    <[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default()
}

/// PKCS #1, SEC 1, DSA, PKCS #8 plain and encrypted: the key that `bytes` begins with.
pub(in super::super) fn from_der(bytes: &[u8]) -> Option<Key> {
    let (body, _) = der::expect(bytes, SEQUENCE)?;
    let first = der::read(body)?;
    match first.tag {
        SEQUENCE => encrypted(first.content, first.rest),
        INTEGER => match first.content {
            [0 | 1] if der::expect(first.rest, SEQUENCE).is_some() => pkcs8(first.rest),
            [0] => pkcs1(first.rest).or_else(|| dsa(first.rest)),
            [1] => sec1(first.rest, None),
            _ => None,
        },
        _ => None,
    }
}

fn encrypted(algorithm: &[u8], rest: &[u8]) -> Option<Key> {
    let (oid, _) = der::expect(algorithm, OID)?;
    let (content, _) = der::expect(rest, OCTETS)?;
    let pkcs5 = oid.starts_with(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01]);
    (pkcs5 && content.len() >= 32).then_some(Key { encrypted: true, public: None })
}

fn pkcs8(rest: &[u8]) -> Option<Key> {
    let (algorithm, rest) = der::expect(rest, SEQUENCE)?;
    let (oid, parameters) = der::expect(algorithm, OID)?;
    let (key, _) = der::expect(rest, OCTETS)?;
    match oid {
        RSA => {
            let (body, _) = der::expect(key, SEQUENCE)?;
            pkcs1(der::expect(body, INTEGER)?.1)
        }
        EC => {
            let (body, _) = der::expect(key, SEQUENCE)?;
            sec1(der::expect(body, INTEGER)?.1, Some(parameters))
        }
        ED25519 => ed25519(der::expect(key, OCTETS)?.0),
        _ => (key.len() >= 20).then(Key::default),
    }
}

/// Modulus, exponents and primes, after the version.
fn pkcs1(rest: &[u8]) -> Option<Key> {
    let (n, rest) = der::expect(rest, INTEGER)?;
    let (e, mut rest) = der::expect(rest, INTEGER)?;
    let (_, after) = der::expect(rest, INTEGER)?;
    let (p, after) = der::expect(after, INTEGER)?;
    let (q, after) = der::expect(after, INTEGER)?;
    rest = after;
    for _ in 0..3 {
        rest = der::expect(rest, INTEGER)?.1;
    }
    if low(p).wrapping_mul(low(q)) != low(n)
        || n.len() < 32
        || e.is_empty()
        || e.len() > 9
        || n.last()? & 1 == 0
    {
        return None;
    }
    let numbers = der::wrap(SEQUENCE, &[&der::wrap(INTEGER, &[n]), &der::wrap(INTEGER, &[e])]);
    let algorithm = der::wrap(SEQUENCE, &[&der::wrap(OID, &[RSA]), &[5, 0]]);
    Some(Key { encrypted: false, public: Some(sha256(&spki(&algorithm, &numbers))) })
}

/// The lowest 64 bits: enough to see that the primes are those of the modulus.
fn low(number: &[u8]) -> u64 {
    number.iter().rev().take(8).rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

fn dsa(mut rest: &[u8]) -> Option<Key> {
    for _ in 0..5 {
        let (number, after) = der::expect(rest, INTEGER)?;
        rest = Some(after).filter(|_| number.len() >= 19)?;
    }
    rest.is_empty().then(Key::default)
}

/// The scalar, and if they are there, the curve and the public point.
fn sec1(rest: &[u8], curve: Option<&[u8]>) -> Option<Key> {
    let (scalar, mut rest) = der::expect(rest, OCTETS)?;
    let mut curve = curve.map(<[u8]>::to_vec);
    let mut point = None;
    if !SCALAR.contains(&scalar.len()) || scalar.iter().all(|&b| b == 0) {
        return None;
    }
    while let Some(element) = der::read(rest) {
        match element.tag {
            0xa0 => curve = Some(element.content.to_vec()),
            0xa1 => point = der::expect(element.content, BITS).map(|(bits, _)| bits.to_vec()),
            _ => return None,
        }
        rest = element.rest;
    }
    if !rest.is_empty() {
        return None;
    }
    let public = curve.zip(point).and_then(|(curve, bits)| {
        let algorithm = der::wrap(SEQUENCE, &[&der::wrap(OID, &[EC]), &curve]);
        Some(sha256(&spki(&algorithm, bits.get(1..)?)))
    });
    Some(Key { encrypted: false, public })
}

fn ed25519(seed: &[u8]) -> Option<Key> {
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    let algorithm = der::wrap(SEQUENCE, &[&der::wrap(OID, &[ED25519])]);
    Some(Key {
        encrypted: false,
        public: Some(sha256(&spki(&algorithm, pair.public_key().as_ref()))),
    })
}

fn spki(algorithm: &[u8], bits: &[u8]) -> Vec<u8> {
    der::wrap(SEQUENCE, &[algorithm, &der::wrap(BITS, &[&[0], bits])])
}

const OPENSSH: &[u8] = b"openssh-key-v1\0";

/// OpenSSH's own form.
pub(in super::super) fn from_openssh(bytes: &[u8]) -> Option<Key> {
    let rest = bytes.strip_prefix(OPENSSH)?;
    let (cipher, rest) = ssh_string(rest)?;
    let (_, rest) = ssh_string(rest)?;
    let (_, rest) = ssh_string(rest)?;
    let (public, rest) = ssh_string(rest.strip_prefix(&[0, 0, 0, 1])?)?;
    let (private, _) = ssh_string(rest)?;
    let fits = public.len() >= 30 && private.len() >= 32 && public.starts_with(&[0, 0, 0]);
    fits.then(|| Key { encrypted: cipher != b"none", public: Some(sha256(public)) })
}

fn ssh_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// An `OpenPGP` secret key packet.
pub(in super::super) fn from_pgp(bytes: &[u8]) -> Option<Key> {
    let (header, rest) = bytes.split_first()?;
    let (tag, skip) = match header {
        0x94 => (5, 1),
        0x95 => (5, 2),
        0x96 => (5, 4),
        0xc5 => (
            5,
            match rest.first()? {
                0..192 => 1,
                192..224 => 2,
                _ => 5,
            },
        ),
        _ => return None,
    };
    let body = rest.get(skip..)?;
    let (version, rest) = body.split_first()?;
    let algorithm = *rest.get(4)?;
    let after = pgp_public(algorithm, rest.get(if *version == 6 { 9 } else { 5 }..)?)?;
    let fits = tag == 5 && matches!(version, 4..=6);
    fits.then_some(Key { encrypted: *after.first()? != 0, public: None })
}

/// What follows the public numbers.
fn pgp_public(algorithm: u8, mut rest: &[u8]) -> Option<&[u8]> {
    let (curve, numbers, trailer) = match algorithm {
        1..=3 => (false, 2, false),
        16 => (false, 3, false),
        17 => (false, 4, false),
        18 => (true, 1, true),
        19 | 22 => (true, 1, false),
        25 | 27 => return rest.get(32..),
        _ => return None,
    };
    let counted = |data: &'_ [u8]| data.first().map(|&n| 1 + usize::from(n));
    if curve {
        rest = rest.get(counted(rest)?..)?;
    }
    for _ in 0..numbers {
        let (bits, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_be_bytes(*bits)).div_ceil(8)..)?;
    }
    if trailer { rest.get(counted(rest)?..) } else { Some(rest) }
}
