//! The vocabulary of the whole program: what a secret is, and what can be said of it without
//! showing it.
//!
//! Nothing here knows where secrets come from or where they go.

mod bytes;
mod digest;
mod lease;
mod name;
mod value;
mod version;

pub use bytes::SecretBytes;
pub use digest::{DIGEST_LEN, DigestKey};
pub use lease::Lease;
pub use name::{FilePath, FilePathError, GroupName, NameError, SecretName, StoreName, VolumeName};
pub use value::{FieldPath, JsonError, MAX_DEPTH, SecretValue};
pub use version::Version;

/// A named value or set of fields as a store handed it out.
///
/// It is shared by reference counting and never copied; `Debug` shows only the version.
pub struct Secret {
    /// What the store gave: a map of fields, or one value without fields.
    pub value: SecretValue,
    /// The version that this value is.
    pub version: Version,
    /// The lease it lives under, if the store gave one.
    pub lease: Option<Lease>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("version", &self.version).finish_non_exhaustive()
    }
}
