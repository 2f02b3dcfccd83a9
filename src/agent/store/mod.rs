//! Where secrets live, seen from the inside: one enum of the kinds, and what every kind promises.

#[cfg(feature = "aws")]
pub mod aws;
mod error;
#[cfg(feature = "local")]
pub mod local;
#[cfg(any(feature = "vault", feature = "aws"))]
pub mod net;
mod policy;
#[cfg(feature = "vault")]
pub mod vault;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use error::{Retry, Scope, StoreError};
pub use policy::{Need, needs, policy};

use crate::agent::config::{Engine, Parameters, SecretRef, StoreKind};
use crate::agent::reason::Report;
use crate::sandbox::door::Door;
use crate::secret::{DigestKey, Lease, Secret, SecretBytes, StoreName, Version};

/// A login's outcome: what a restart needs to go on without another one.
#[derive(Debug)]
pub struct Session {
    /// Which login of this pod at this store: each one has a higher number, and a token that was
    /// given has one of its own.
    pub serial: u64,
    /// The store's token.
    pub token: SecretBytes,
    /// How long it was to live at first; `None`: it has no end that we know of.
    pub first_ttl: Option<Duration>,
    /// How long it lives from `obtained`.
    pub ttl: Option<Duration>,
    /// Whether the store would make it longer.
    pub renewable: bool,
    /// When it was handed out or renewed last, on the boot-time clock.
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

/// More time, as the store granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How long from now; `None`: no end.
    pub span: Option<Duration>,
    /// Whether it can be renewed again.
    pub renewable: bool,
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
    /// Parameters of the request.
    pub with: &'a Parameters,
    /// What stands in the files that parameters name.
    pub files: &'a BTreeMap<String, SecretBytes>,
    /// Whether somebody looks after a lease. If nobody does, one that comes is given back at once.
    pub leases: bool,
    /// How old an answer may be that came along with another one and still counts as new.
    pub fresh: Duration,
    /// The boot-time clock.
    pub now: Duration,
}

impl<'a> Wanted<'a> {
    /// A read of what is there, without anything special about it; a lease is given back.
    pub fn plain(from: &'a SecretRef, with: &'a Parameters, now: Duration) -> Wanted<'a> {
        const NO_FILES: &BTreeMap<String, SecretBytes> = &BTreeMap::new();
        let fresh = Duration::ZERO;
        Wanted { from, engine: None, have: None, with, files: NO_FILES, leases: false, fresh, now }
    }
}

/// What makes a secret change, as far as the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Nothing that we know of.
    Unknown,
    /// The store changes it by itself, in so long.
    Turns(Duration),
    /// It has dates of its own, in seconds since 1970.
    Dated {
        /// Its first moment.
        from: i64,
        /// Its last moment.
        until: i64,
    },
}

/// An answer, and what it says of the next one.
#[derive(Debug)]
pub struct Fetched {
    /// The answer.
    pub answer: Answer,
    /// What makes the secret change.
    pub rhythm: Rhythm,
}

impl From<Answer> for Fetched {
    fn from(answer: Answer) -> Fetched {
        Fetched { answer, rhythm: Rhythm::Unknown }
    }
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
    /// AWS.
    #[cfg(feature = "aws")]
    Aws(Box<aws::AwsStore>),
}

#[cfg_attr(
    not(feature = "vault"),
    allow(unused_variables, reason = "not every kind looks at every argument")
)]
impl Store {
    /// Opens the files that the store needs (identity, CA, keys). Nothing goes over the network.
    ///
    /// `sessions` are what an earlier process logged in for, as far as its record was found.
    pub fn build(
        name: &StoreName,
        kind: &StoreKind,
        digest_key: Rc<DigestKey>,
        sessions: Vec<Session>,
        record: Record,
    ) -> Result<Store, StoreError> {
        match kind {
            #[cfg(feature = "vault")]
            StoreKind::Vault(config) => {
                let store = vault::VaultStore::build(name, config, digest_key, sessions, record)?;
                Ok(Store::Vault(Box::new(store)))
            }
            #[cfg(feature = "local")]
            StoreKind::Local(config) => {
                drop((sessions, record));
                Ok(Store::Local(local::LocalStore::build(config, digest_key)?))
            }
            #[cfg(feature = "aws")]
            StoreKind::Aws(config) => {
                drop((sessions, record));
                Ok(Store::Aws(Box::new(aws::AwsStore::build(name, config, digest_key)?)))
            }
            #[allow(unreachable_patterns, reason = "with every kind built in, none is left")]
            _ => {
                drop((digest_key, sessions, record));
                Err(StoreError::KindMissing { store: name.clone() })
            }
        }
    }

    /// Reads one secret, and logs in first where that is needed.
    ///
    /// After a 403 there is one new login (at most one a minute for the whole store) and one more
    /// try.
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.fetch(wanted).await?),
            #[cfg(feature = "local")]
            Store::Local(ref store) => Ok(store.fetch(wanted)?.into()),
            #[cfg(feature = "aws")]
            Store::Aws(ref store) => Ok(store.fetch(wanted).await?),
        }
    }

    /// Learns what will be asked for, so that a store can be asked for several at once.
    pub fn expect<'a>(&self, refs: impl Iterator<Item = &'a SecretRef>) {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(_) => drop(refs),
            #[cfg(feature = "local")]
            Store::Local(_) => drop(refs),
            #[cfg(feature = "aws")]
            Store::Aws(ref store) => store.expect(refs),
        }
    }

    /// Whether asking only shows what is there and never makes anything.
    pub fn only_reads(&self) -> bool {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(_) => false,
            #[cfg(feature = "local")]
            Store::Local(_) => true,
            #[cfg(feature = "aws")]
            Store::Aws(_) => true,
        }
    }

    /// Whether the store would give a secret, without asking for it.
    pub async fn may(
        &self,
        from: &SecretRef,
        writes: bool,
        now: Duration,
    ) -> Result<(), StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.may(from, writes, now).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(()),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(()),
        }
    }

    /// What the policy allows on each of these paths; nothing for a store without policies.
    pub async fn capabilities(
        &self,
        paths: &[String],
        now: Duration,
    ) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.capabilities(paths, now).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(BTreeMap::new()),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(BTreeMap::new()),
        }
    }

    /// Whether a read of a secret may make something instead of showing what is there.
    pub async fn makes(&self, from: &SecretRef, now: Duration) -> Result<bool, StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.makes(from, now).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(false),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(false),
        }
    }

    /// Asks for more time for a lease.
    pub async fn renew(&self, lease: &Lease) -> Result<Granted, StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.renew(lease).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(Granted { span: None, renewable: false }),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(Granted { span: None, renewable: false }),
        }
    }

    /// Asks for more time for the login with that number.
    pub async fn renew_session(&self, serial: u64, now: Duration) -> Result<Granted, StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.renew_session(serial, now).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(Granted { span: None, renewable: false }),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(Granted { span: None, renewable: false }),
        }
    }

    /// Logs in anew. The login before stays good, for what was made under it.
    pub async fn log_in(&self, now: Duration) -> Result<(), StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.log_in(now).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(()),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(()),
        }
    }

    /// Lets an earlier login go, and with it everything that was made under it.
    pub async fn let_go(&self, serial: u64) -> Result<(), StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.let_go(serial).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(()),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(()),
        }
    }

    /// Copies of the logins that are good, the current one first.
    pub fn sessions(&self) -> Vec<Session> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.sessions(),
            #[cfg(feature = "local")]
            Store::Local(_) => Vec::new(),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Vec::new(),
        }
    }

    /// What a restart needs: the logins of ours that are good, and one that may not stay. A token
    /// that was given is read where it is given.
    pub fn kept_sessions(&self) -> Vec<Session> {
        let all = self.sessions().into_iter().chain(self.trial());
        all.filter(|session| !session.given).collect()
    }

    /// A login that is being tried, and may not stay.
    fn trial(&self) -> Option<Session> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.trial(),
            #[cfg(feature = "local")]
            Store::Local(_) => None,
            #[cfg(feature = "aws")]
            Store::Aws(_) => None,
        }
    }

    /// The file of a token that somebody else logs in for, and that changes when they do it anew.
    pub fn given_file(&self) -> Option<&Path> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.given_file(),
            #[cfg(feature = "local")]
            Store::Local(_) => None,
            #[cfg(feature = "aws")]
            Store::Aws(_) => None,
        }
    }

    /// Takes the token that somebody else logged in for as it is now. Says whether it is another one.
    pub fn look_at_given(&self, now: Duration) -> bool {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.look_at_given(now),
            #[cfg(feature = "local")]
            Store::Local(_) => false,
            #[cfg(feature = "aws")]
            Store::Aws(_) => false,
        }
    }

    /// Revokes the token, if we logged in for it ourselves. A token that was given stays.
    pub async fn logout(&self) {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.logout().await,
            #[cfg(feature = "local")]
            Store::Local(_) => {}
            #[cfg(feature = "aws")]
            Store::Aws(_) => {}
        }
    }

    /// Whether there is a session and it comes from a login of ours.
    pub fn session_is_ours(&self) -> bool {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => store.session_is_ours(),
            #[cfg(feature = "local")]
            Store::Local(_) => false,
            #[cfg(feature = "aws")]
            Store::Aws(_) => false,
        }
    }

    /// Ends a lease before its time.
    pub async fn revoke(&self, lease: &Lease) -> Result<(), StoreError> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(ref store) => Ok(store.revoke(lease).await?),
            #[cfg(feature = "local")]
            Store::Local(_) => Ok(()),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Ok(()),
        }
    }

    /// The file whose change means "fetch now"; `None` for a store that is asked over the network.
    pub fn watch(&self) -> Option<&Door> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(_) => None,
            #[cfg(feature = "local")]
            Store::Local(ref store) => Some(store.watch()),
            #[cfg(feature = "aws")]
            Store::Aws(_) => None,
        }
    }

    /// What is not as safe as it could be, to be said at the start.
    pub fn remarks(&self) -> Vec<Report> {
        match *self {
            #[cfg(feature = "vault")]
            Store::Vault(_) => Vec::new(),
            #[cfg(feature = "local")]
            Store::Local(ref store) => store.remarks(),
            #[cfg(feature = "aws")]
            Store::Aws(_) => Vec::new(),
        }
    }
}
