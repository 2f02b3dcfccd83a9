//! Fingerprints: the name of a secret that tells nothing about it.
//!
//! A value that can't be guessed is named by an HMAC over it, so that the same secret has the same
//! name in every layer, image and run. A value that could be guessed is named by where it stands:
//! a digest of `hunter2` would give it away to whoever tries a word list.

use crate::secret::{DIGEST_LEN, DigestKey, SecretBytes};

/// The key when none was given. Public on purpose: without a key of one's own, anyone may recompute.
const PUBLIC_KEY: &[u8; DigestKey::LEN] = b"sidekey-scan public fingerprints";

/// The least bytes of a key, so that it can't be guessed itself.
pub const KEY_AT_LEAST: usize = 16;

/// Makes fingerprints.
pub struct Fingerprints {
    key: DigestKey,
    private: bool,
}

/// A key for fingerprints that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint key has at least {KEY_AT_LEAST} bytes, and this one has {0}")]
pub struct KeyTooShort(pub usize);

impl Fingerprints {
    /// With the fixed, public key.
    pub fn public() -> Fingerprints {
        Fingerprints { key: DigestKey::new(SecretBytes::copy_of(PUBLIC_KEY)), private: false }
    }

    /// With a key of the user's own, under which weak values may be named by their value too.
    pub fn private(key: SecretBytes) -> Result<Fingerprints, KeyTooShort> {
        if key.len() < KEY_AT_LEAST {
            return Err(KeyTooShort(key.len()));
        }
        Ok(Fingerprints { key: DigestKey::new(key), private: true })
    }

    /// Of a value that can't be guessed.
    pub fn strong(&self, family: &str, value: &[u8]) -> String {
        self.name(&[b"value", family.as_bytes(), value])
    }

    /// Of a value that could be guessed.
    pub fn weak(&self, rule: &str, key_name: &str, path: &[u8], value: &[u8]) -> String {
        let value = if self.private { value } else { b"" };
        self.name(&[b"place", rule.as_bytes(), key_name.as_bytes(), path, value])
    }

    /// Which hits are of one value. Never leaves the process.
    pub(super) fn identity(&self, key_name: &str, value: &[u8]) -> [u8; DIGEST_LEN] {
        self.digest(&[b"identity", key_name.as_bytes(), value])
    }

    fn name(&self, parts: &[&[u8]]) -> String {
        format!("v1:{}", hex(&self.digest(parts)))
    }

    /// Every part is preceded by its length, so that no two lists of parts are one message.
    fn digest(&self, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
        let mut message = zeroize::Zeroizing::new(Vec::with_capacity(
            parts.iter().map(|part| part.len() + 8).sum(),
        ));
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        self.key.digest(&message)
    }
}

/// Two lower-case digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_has_the_same_name_in_every_run() {
        let name = Fingerprints::public().strong("github", b"value");
        assert_eq!(name, Fingerprints::public().strong("github", b"value"));
        assert_eq!((name.len(), &name[..3]), (35, "v1:"));
        assert_ne!(name, Fingerprints::public().strong("gitlab", b"value"));
        assert_ne!(name, Fingerprints::public().strong("github", b"valuf"));
    }

    #[test]
    fn this_release_names_values_as_the_last_one_did() {
        let name = Fingerprints::public().strong("github", b"value");
        assert_eq!(name, "v1:063b0b6288f92f179af8fcf0e01fdc50");
    }

    #[test]
    fn a_weak_value_is_not_in_its_name_unless_the_key_is_private() {
        let public = Fingerprints::public();
        let weak = |prints: &Fingerprints, value: &[u8]| {
            prints.weak("generic-password", "PASSWORD", b"app/.env", value)
        };
        assert_eq!(weak(&public, b"one"), weak(&public, b"two"));
        let private = Fingerprints::private(SecretBytes::copy_of(&[7; 32])).unwrap();
        assert_ne!(weak(&private, b"one"), weak(&private, b"two"));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let prints = Fingerprints::public();
        assert_ne!(prints.strong("ab", b"c"), prints.strong("a", b"bc"));
    }

    #[test]
    fn a_short_key_is_refused() {
        let short = Fingerprints::private(SecretBytes::copy_of(b"short"));
        assert_eq!(short.err(), Some(KeyTooShort(5)));
    }
}
