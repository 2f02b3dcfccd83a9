//! Keyed digests: how a value without a version gets one that tells nothing about the value.

use ring::hmac;

use super::SecretBytes;

/// Bytes of a digest: HMAC-SHA-256 (RFC 2104) cut to 128 bits, as RFC 2104 section 5 allows.
pub const DIGEST_LEN: usize = 16;

/// The key of a pod's digests. Random at the first start, kept in the state for restarts.
pub struct DigestKey {
    bytes: SecretBytes,
}

impl DigestKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// Makes a key of [`DigestKey::LEN`] random bytes.
    pub fn new(bytes: SecretBytes) -> DigestKey {
        DigestKey { bytes }
    }

    /// The digest of `bytes` under this key.
    pub fn digest(&self, bytes: &[u8]) -> [u8; DIGEST_LEN] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes.expose());
        let tag = hmac::sign(&key, bytes);
        let mut out = [0; DIGEST_LEN];
        out.copy_from_slice(&tag.as_ref()[..DIGEST_LEN]);
        out
    }

    /// The key itself, for the state.
    pub fn bytes(&self) -> &SecretBytes {
        &self.bytes
    }
}
