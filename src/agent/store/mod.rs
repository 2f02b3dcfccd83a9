//! Where secrets live, seen from the inside: one enum of the kinds, and what every kind promises.

mod error;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "vault")]
pub mod vault;

use std::rc::Rc;
use std::time::Duration;

pub use error::{Retry, Scope, StoreError};

use crate::agent::config::{Engine, SecretRef, StoreKind};
use crate::agent::reason::Report;
use crate::sandbox::door::Door;
use crate::secret::{DigestKey, Lease, Secret, SecretBytes, StoreName, Version};

/// A login's outcome: what a restart needs to go on without another one.
#[derive(Debug)]
pub struct Session {
    /// The store's token.
    pub token: SecretBytes,
    /// How long it lives from `obtained`; `None`: it has no end that we know of.
    pub ttl: Option<Duration>,
    /// Whether the store would make it longer.
    pub renewable: bool,
    /// When it was handed out, on the boot-time clock.
    pub obtained: Duration,
    /// Whether somebody else logged in for it; such a token is never revoked by us.
    pub given: bool,
}

impl Session {
    /// Another copy of it, to be kept. A type that holds a token has no `Clone` that could be
    /// derived by accident.
    #[must_use]
    pub fn duplicate(&self) -> Session {
        let token = SecretBytes::copy_of(self.token.expose());
        Session { token, ..*self }
    }
}

/// Called right after a login and before any further request, so that no lease can exist under a
/// token that nobody remembers. An error stops the login.
pub type Record = Box<dyn Fn(&StoreName, &Session) -> Result<(), ()>>;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which secret.
    pub from: &'a SecretRef,
    /// How to read the answer, where its shape is not to decide.
    pub engine: Option<Engine>,
    /// The version that is already here.
    pub have: Option<&'a Version>,
    /// The boot-time clock.
    pub now: Duration,
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// The version that is already here is still the one.
    Unmoved,
    /// Another version, or the first one.
    Moved(Secret),
}

/// A store of any kind.
pub enum Store {
    /// Vault or OpenBao.
    #[cfg(feature = "vault")]
    Vault(Box<vault::VaultStore>),
    /// An age-encrypted file.
    #[cfg(feature = "local")]
    Local(local::LocalStore),
}

#[cfg_attr(
    not(feature = "vault"),
    allow(unused_variables, reason = "not every kind looks at every argument")
)]
impl Store {
    /// Opens the files that the store needs (identity, CA, keys). Nothing goes over the network.
    ///
    /// `session` is what an earlier process logged in for, if its record was found.
    pub fn build(
        name: &StoreName,
        kind: &StoreKind,
        digest_key: Rc<DigestKey>,
        session: Option<Session>,
        record: Record,
    ) -> Result<Store, StoreError> {
        match kind {
            #[cfg(feature = "vault")]
            StoreKind::Vault(config) => {
                let store = vault::VaultStore::build(name, config, digest_key, session, record)?;
                Ok(Store::Vault(Box::new(store)))
            }
            #[cfg(feature = "local")]
            StoreKind::Local(config) => {
                drop((session, record));
                Ok(Store::Local(local::LocalStore::build(config, digest_key)?))
            }
            #[allow(unreachable_patterns, reason = "with every kind built in, none is left")]
            _ => {
                drop((digest_key, session, record));
                Err(StoreError::KindMissing { store: name.clone() })
            }
        }
    }

    /// Reads one secret, and logs in first where that is needed.
    ///
    /// After a 403 there is one new login (at most one a minute for the whole store) and one more
    /// try.
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Answer, StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.fetch(wanted).await?),
            #[cfg(feature = "local")]
            Store::Local(ref store) => Ok(store.fetch(wanted)?),
        }
    }

    /// Revokes the token, if we logged in for it ourselves. A token that was given stays.
    pub async fn logout(&self) {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.logout().await,
            #[cfg(feature = "local")]
            Store::Local(_) => {}
        }
    }

    /// Whether there is a session and it comes from a login of ours.
    pub fn session_is_ours(&self) -> bool {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.session_is_ours(),
            #[cfg(feature = "local")]
            Store::Local(_) => false,
        }
    }

    /// Ends a lease before its time.
    pub async fn revoke(&self, lease: &Lease) -> Result<(), StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.revoke(lease).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(()),
        }
    }

    /// The file whose change means "fetch now"; `None` for a store that is asked over the network.
    pub fn watch(&self) -> Option<&Door> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(_) => None,
            #[cfg(feature = "local")]
            Store::Local(ref store) => Some(store.watch()),
        }
    }

    /// What is not as safe as it could be, to be said at the start.
    pub fn remarks(&self) -> Vec<Report> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(_) => Vec::new(),
            #[cfg(feature = "local")]
            Store::Local(ref store) => store.remarks(),
        }
    }
}
