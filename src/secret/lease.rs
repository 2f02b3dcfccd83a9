//! How long a store lets a secret live.

use std::time::Duration;

use super::SecretBytes;

/// A store's promise that a secret is good for a while.
#[derive(Debug)]
pub struct Lease {
    /// What renews and revokes it. Not a value, but nobody else's business either.
    pub id: SecretBytes,
    /// How long it lives from the moment of the answer; `None`: the store named no end.
    pub duration: Option<Duration>,
    /// Whether the store would make it longer.
    pub renewable: bool,
    /// The login it was made under (its serial number): it ends with
    /// that at the latest.
    pub under: u64,
}
