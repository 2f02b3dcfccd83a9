//! The envelope of `sidekey seal`: what is longer than KMS takes, encrypted with a key that KMS
//! encrypts. `docs/aws.md` has this table for whoever reads or writes one without Sidekey.
//!
//! ```text
//! bytes  what
//! 8      `SKSEAL01`
//! 2      K: length of the encrypted data key, big-endian
//! 4      N: length of the plaintext, big-endian
//! K      the data key, as KMS encrypted it (with the encryption context)
//! 12     nonce
//! N      the ciphertext: AES-256-GCM, with everything before the nonce as additional data
//! 16     tag
//! ```

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::error::CiphertextFault;
use crate::secret::SecretBytes;

/// What every envelope begins with; the last two are its edition.
const MAGIC: &[u8; 8] = b"SKSEAL01";
const TAG: usize = 16;
const FIXED: usize = 14;

/// Bytes that may be sealed: what a file of the agent may have.
pub(super) const MAX_PLAIN: usize = 1024 * 1024 - 8 * 1024;

/// An envelope, taken apart.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// Everything that the tag also vouches for.
    head: &'a [u8],
    /// The data key, as KMS encrypted it.
    pub wrapped: &'a [u8],
    nonce: [u8; NONCE_LEN],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes an envelope apart; `None` if this is none.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Option<Envelope<'a>>, CiphertextFault> {
        if !bytes.starts_with(&MAGIC[..6]) {
            return Ok(None);
        }
        if bytes.len() < FIXED {
            return Err(CiphertextFault::CutShort);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(CiphertextFault::Edition);
        }
        let wrapped = usize::from(u16::from_be_bytes([bytes[8], bytes[9]]));
        let plain = u32::from_be_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]) as usize;
        let whole = plain.checked_add(FIXED + wrapped + NONCE_LEN + TAG);
        match whole.map(|whole| bytes.len().cmp(&whole)) {
            Some(std::cmp::Ordering::Equal) => {}
            Some(std::cmp::Ordering::Greater) => return Err(CiphertextFault::Changed),
            _ => return Err(CiphertextFault::CutShort),
        }
        let (head, rest) = bytes.split_at(FIXED + wrapped);
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let nonce = nonce.try_into().map_err(|_| CiphertextFault::CutShort)?;
        Ok(Some(Envelope { head, wrapped: &head[FIXED..], nonce, sealed }))
    }

    /// The plaintext, with the data key that KMS decrypted.
    pub(super) fn open(&self, key: &SecretBytes) -> Result<SecretBytes, CiphertextFault> {
        let mut buffer = self.sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let plain = cipher(key)?.open_in_place(nonce, Aad::from(self.head), &mut buffer);
        let len = plain.map_err(|_| CiphertextFault::Changed)?.len();
        buffer.truncate(len);
        Ok(SecretBytes::from(buffer))
    }
}

/// Makes an envelope. A data key seals once, so its nonce may be any.
pub(super) fn seal(
    key: &SecretBytes,
    wrapped: &[u8],
    nonce: [u8; NONCE_LEN],
    plain: &SecretBytes,
) -> Result<Vec<u8>, CiphertextFault> {
    let too_long = |_| CiphertextFault::TooLong;
    let mut out = MAGIC.to_vec();
    out.extend(u16::try_from(wrapped.len()).map_err(too_long)?.to_be_bytes());
    out.extend(u32::try_from(plain.len()).map_err(too_long)?.to_be_bytes());
    out.extend(wrapped);
    let mut sealed = plain.expose().to_vec();
    let aad = Aad::from(&out);
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .map_err(|_| CiphertextFault::TooLong)?;
    out.extend(nonce);
    out.extend(sealed);
    Ok(out)
}

fn cipher(key: &SecretBytes) -> Result<LessSafeKey, CiphertextFault> {
    let key = UnboundKey::new(&AES_256_GCM, key.expose());
    key.map(LessSafeKey::new).map_err(|_| CiphertextFault::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (SecretBytes, Vec<u8>) {
        let key = SecretBytes::from(vec![7; 32]);
        let plain = SecretBytes::from(b"plain text".to_vec());
        let envelope = seal(&key, b"wrapped key", [3; 12], &plain).unwrap();
        (key, envelope)
    }

    #[test]
    fn what_is_sealed_is_opened_and_has_the_documented_form() {
        let (key, bytes) = sealed();
        assert_eq!(&bytes[..14], b"SKSEAL01\0\x0b\0\0\0\x0a");
        assert_eq!(&bytes[14..25], b"wrapped key");
        assert_eq!(bytes.len(), 14 + 11 + 12 + 10 + 16);
        let envelope = Envelope::parse(&bytes).unwrap().unwrap();
        assert_eq!(envelope.wrapped, b"wrapped key");
        assert_eq!(envelope.open(&key).unwrap().expose(), b"plain text");
    }

    #[test]
    fn every_cut_is_told_from_a_change() {
        let (key, bytes) = sealed();
        for end in 6..bytes.len() {
            assert_eq!(Envelope::parse(&bytes[..end]).unwrap_err(), CiphertextFault::CutShort);
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let opened = match Envelope::parse(&changed) {
                Ok(None) => continue, // its first letters: not an envelope any more
                Ok(Some(envelope)) => envelope.open(&key).map(drop),
                Err(fault) => Err(fault),
            };
            assert!(opened.is_err(), "a change at {place} was taken");
        }
    }

    #[test]
    fn another_edition_and_what_is_no_envelope_are_told() {
        let (_, mut bytes) = sealed();
        bytes[7] = b'2';
        assert_eq!(Envelope::parse(&bytes).unwrap_err(), CiphertextFault::Edition);
        assert!(Envelope::parse(b"AQICAH").unwrap().is_none());
    }
}
