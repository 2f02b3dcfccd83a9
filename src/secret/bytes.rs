//! The bytes of a secret, defined by what the type lacks.

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::sandbox::arena::Region;

/// The bytes of a secret, in memory that is locked where the kernel allows and wiped at the end.
///
/// There is no `Clone`, `Display`, `Serialize`, `PartialEq`, `Hash`, `Deref` or `AsRef`, so that
/// a secret cannot be printed, copied or compared by accident:
///
/// ```compile_fail
/// let secret = sidekey::secret::SecretBytes::from(b"s3cret".to_vec());
/// println!("{secret}");
/// ```
///
/// ```compile_fail
/// let secret = sidekey::secret::SecretBytes::from(b"s3cret".to_vec());
/// let copy = secret.clone();
/// ```
///
/// ```compile_fail
/// let secret = sidekey::secret::SecretBytes::from(b"s3cret".to_vec());
/// std::fs::write("/tmp/x", &secret);
/// ```
///
/// `Debug` prints a constant, not even a length:
///
/// ```
/// let secret = sidekey::secret::SecretBytes::from(b"s3cret".to_vec());
/// assert_eq!(format!("{secret:?}"), "SecretBytes");
/// ```
pub struct SecretBytes(Region);

impl SecretBytes {
    /// The one door to the bytes. Who may call it is counted in `tests/architecture.rs`.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in time that depends on the lengths only.
    pub fn ct_eq(&self, other: &SecretBytes) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Copies `bytes`, which stay with the caller to be wiped.
    pub fn copy_of(bytes: &[u8]) -> SecretBytes {
        let mut region = Region::new(bytes.len());
        region.copy_from_slice(bytes);
        SecretBytes(region)
    }
}

impl From<Vec<u8>> for SecretBytes {
    /// Moves the bytes into guarded memory and wipes the vector.
    fn from(mut bytes: Vec<u8>) -> SecretBytes {
        let secret = SecretBytes::copy_of(&bytes);
        bytes.zeroize();
        secret
    }
}

impl From<String> for SecretBytes {
    /// Moves the text into guarded memory and wipes the string.
    fn from(text: String) -> SecretBytes {
        SecretBytes::from(text.into_bytes())
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes")
    }
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::SecretBytes;

    assert_not_impl_any!(SecretBytes: Clone, std::fmt::Display, PartialEq, std::hash::Hash,
        std::ops::Deref, AsRef<[u8]>, AsRef<str>, std::borrow::Borrow<[u8]>);
    #[cfg(feature = "agent")]
    assert_not_impl_any!(SecretBytes: serde::Serialize);

    #[test]
    fn bytes_come_back_as_they_went_in() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(SecretBytes::from(bytes.clone()).expose(), bytes);
    }

    #[test]
    fn equality_needs_every_byte_and_the_length() {
        let secret = |s: &str| SecretBytes::from(s.to_owned());
        assert!(secret("abc").ct_eq(&secret("abc")));
        assert!(!secret("abc").ct_eq(&secret("abd")));
        assert!(!secret("abc").ct_eq(&secret("ab")));
    }
}
