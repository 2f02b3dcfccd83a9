//! Which edition of a secret this is.

use super::DIGEST_LEN;

/// A secret's version: the store's own, or a keyed digest where it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// A number that only grows (KV 2).
    Number(u64),
    /// An opaque name (AWS version ids).
    Id(String),
    /// A keyed digest of the value ([`super::DigestKey`]).
    Digest([u8; DIGEST_LEN]),
}

impl Version {
    /// Whether this version is older than `delivered` by the store's own count.
    pub fn is_older_than(&self, delivered: &Version) -> bool {
        matches!((self, delivered), (Version::Number(this), Version::Number(that)) if this < that)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Version::Number(n) => write!(f, "{n}"),
            Version::Id(id) => f.write_str(id),
            Version::Digest(digest) => digest.iter().take(4).try_for_each(|b| write!(f, "{b:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn only_numbers_have_an_order() {
        assert!(Version::Number(1).is_older_than(&Version::Number(2)));
        assert!(!Version::Number(2).is_older_than(&Version::Number(2)));
        assert!(!Version::Id("a".into()).is_older_than(&Version::Id("b".into())));
    }
}
