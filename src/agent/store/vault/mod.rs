//! Vault and OpenBao: the typed requests of `vaultrs` over a client of our own, which bounds every
//! answer, follows redirects only where the config allows, and lets no body into an error.
//!
//! In reading order: `read` says which requests a fetch makes, `session` who we are, `answer`
//! what an answer means, `wire` how one travels.

mod answer;
mod error;
mod lease;
mod read;
mod redirect;
mod report;
mod request;
mod rhythm;
mod session;
mod tls;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use reqwest::Url;
use rustify::endpoint::Endpoint;
use rustify::errors::ClientError;
use zeroize::Zeroizing;

pub use error::{
    Absence, Fault, Malformed, RedirectFault, TlsFault, Unreachable, VaultError, Wait, Who,
};
pub use wire::Patience;

use super::{Fetched, Granted, Record, Session, Wanted};
use crate::agent::config::{Login, SecretRef, VaultConfig};
use crate::agent::identity::Identity;
use crate::secret::{DigestKey, Lease, SecretBytes, StoreName};

/// Requests to one store at a time: enough to hide the network's latency, too few for a start
/// with many secrets to be a burst of connections.
const MAX_REQUESTS: usize = 4;

/// A Vault or OpenBao.
pub struct VaultStore {
    name: StoreName,
    address: String,
    /// The address's own path, without a slash at the end.
    base: String,
    namespace: Option<String>,
    login: Login,
    identity: Identity,
    digest_key: Rc<DigestKey>,
    record: Record,
    wire: wire::Wire,
    tls: RefCell<tls::Tls>,
    sessions: session::Sessions,
    /// Whether the last answer was that the store is sealed.
    sealed: Cell<bool>,
    /// Requests under way; the others wait.
    turns: tokio::sync::Semaphore,
    /// Paths that answered with a lease, and whether it was revoked; asking again would make
    /// another one.
    leased: RefCell<BTreeMap<String, bool>>,
    /// Who signs, for a login with an AWS identity.
    #[cfg(feature = "aws")]
    caller: Option<super::aws::Caller>,
}

impl VaultStore {
    /// Opens the doors to the files of identity and TLS. Nothing goes over the network.
    pub fn build(
        name: &StoreName,
        config: &VaultConfig,
        digest_key: Rc<DigestKey>,
        sessions: Vec<Session>,
        record: Record,
    ) -> Result<VaultStore, VaultError> {
        let patience = Patience::default();
        VaultStore::build_with(name, config, digest_key, sessions, record, patience)
    }

    /// As [`VaultStore::build`], with other bounds on time: for tests of slow servers.
    pub fn build_with(
        name: &StoreName,
        config: &VaultConfig,
        digest_key: Rc<DigestKey>,
        mut sessions: Vec<Session>,
        record: Record,
        patience: Patience,
    ) -> Result<VaultStore, VaultError> {
        let fail = |fault| VaultError {
            store: name.clone(),
            address: config.address.clone(),
            path: String::new(),
            fault: Box::new(fault),
            logged_in: false,
        };
        let url = Url::parse(&config.address).map_err(|_| fail(Fault::Address))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(fail(Fault::Address));
        }
        #[cfg(feature = "aws")]
        let caller = match &config.login {
            Login::Aws { region, server_id, aws, .. } => {
                let key = Rc::clone(&digest_key);
                let opened = super::aws::Caller::open(name, aws, region, server_id.as_deref(), key);
                Some(opened.map_err(|error| fail(Fault::Aws(Box::new(error))))?)
            }
            _ => None,
        };
        let identity = Identity::open(&config.login).map_err(|e| fail(Fault::Identity(e)))?;
        let encrypted = url.scheme() == "https" || !config.redirect_hosts.is_empty();
        let tls = tls::Tls::open(config, encrypted).map_err(fail)?;
        let base = url.path().trim_end_matches('/').to_owned();
        let trust = tls.config().map_err(fail)?;
        let wire = wire::Wire::new(url, config.redirect_hosts.clone(), patience, trust);
        // A token that is given is read where it is given, and not taken from a record.
        sessions.retain(|session| !session.given && !identity.is_given());
        let store = VaultStore {
            name: name.clone(),
            address: config.address.clone(),
            base,
            namespace: config.namespace.clone(),
            login: config.login.clone(),
            identity,
            digest_key,
            record,
            wire: wire.map_err(fail)?,
            tls: RefCell::new(tls),
            sessions: session::Sessions::adopt(sessions),
            sealed: Cell::new(false),
            turns: tokio::sync::Semaphore::new(MAX_REQUESTS),
            leased: RefCell::default(),
            #[cfg(feature = "aws")]
            caller,
        };
        // So that what an earlier process made under it is known to be under it.
        store.take_given(Duration::ZERO);
        Ok(store)
    }

    /// Reads one secret; see [`super::Store::fetch`].
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, VaultError> {
        let outcome = self.steps(wanted).await;
        self.judged(&wanted.from.path, outcome)
            .map_err(|error| self.beside_a_login(error, wanted.now))
    }

    /// Whether the policy allows what a fetch would do. A store that does not say is believed to.
    pub async fn may(
        &self,
        from: &SecretRef,
        writes: bool,
        now: Duration,
    ) -> Result<(), VaultError> {
        let outcome = self.allows(&from.path, writes, now).await;
        self.judged(&from.path, outcome)
    }

    /// What the policy allows on each of these paths.
    pub async fn capabilities(
        &self,
        paths: &[String],
        now: Duration,
    ) -> Result<BTreeMap<String, Vec<String>>, VaultError> {
        let outcome = self.allows_on(paths, now).await;
        self.judged("sys/capabilities-self", outcome)
    }

    /// Whether a read of a secret may make something instead of showing what is there.
    pub async fn makes(&self, from: &SecretRef, now: Duration) -> Result<bool, VaultError> {
        let outcome = self.makes_at(&from.path, now).await;
        self.judged(&from.path, outcome)
    }

    /// Notes whether the store is sealed, and says whose request failed.
    fn judged<T>(&self, path: &str, outcome: Result<T, Fault>) -> Result<T, VaultError> {
        if let Err(Fault::Sealed) = &outcome {
            self.sealed.set(true);
        }
        outcome.map_err(|fault| self.error(path, fault))
    }

    /// Asks for more time for a lease, with the token that it was made under.
    pub async fn renew(&self, lease: &Lease) -> Result<Granted, VaultError> {
        let outcome = self.renew_by_name(lease).await;
        self.judged("sys/leases/renew", outcome)
    }

    /// Asks for more time for the token with that number.
    pub async fn renew_session(&self, serial: u64, now: Duration) -> Result<Granted, VaultError> {
        let outcome = self.renew_token(serial, now).await;
        self.judged("auth/token/renew-self", outcome)
    }

    /// Logs in anew; the token before stays good.
    pub async fn log_in(&self, now: Duration) -> Result<(), VaultError> {
        let outcome = self.replace_session(now).await;
        let judged = self.judged("auth/token/lookup-self", outcome);
        judged.map_err(|error| self.beside_a_login(error, now))
    }

    fn beside_a_login(&self, error: VaultError, now: Duration) -> VaultError {
        VaultError { logged_in: self.sessions.good(now).is_some(), ..error }
    }

    /// Revokes an earlier token of ours, and with it everything that was made under it.
    pub async fn let_go(&self, serial: u64) -> Result<(), VaultError> {
        let outcome = self.end_session(serial).await;
        self.judged("auth/token/revoke-self", outcome)
    }

    /// Copies of the sessions that are good, the current one first.
    pub fn sessions(&self) -> Vec<Session> {
        self.sessions.copies()
    }

    /// A copy of the session that is being tried out, if there is one.
    pub fn trial(&self) -> Option<Session> {
        self.sessions.trial()
    }

    /// Takes the token that somebody else logged in for as it is now. Says whether it is another one.
    pub fn look_at_given(&self, now: Duration) -> bool {
        self.take_given(now)
    }

    /// The file of a token that somebody else logs in for.
    pub fn given_file(&self) -> Option<&Path> {
        self.identity.given_file()
    }

    /// Revokes every token that we logged in for. One that was given stays.
    pub async fn logout(&self) {
        self.end_sessions().await;
    }

    /// Whether there is a session and it comes from a login of ours.
    pub fn session_is_ours(&self) -> bool {
        self.sessions.current().is_some_and(|live| !live.is_given())
    }

    /// Ends a lease before its time, with the token that it was made under.
    pub async fn revoke(&self, lease: &Lease) -> Result<(), VaultError> {
        let path = "sys/leases/revoke";
        let outcome = self.end_lease(lease).await;
        self.judged(path, outcome)
    }

    fn error(&self, path: &str, fault: Fault) -> VaultError {
        VaultError {
            store: self.name.clone(),
            address: self.address.clone(),
            path: path.to_owned(),
            fault: Box::new(fault),
            logged_in: false,
        }
    }

    /// Trusts what the files say now, if they changed.
    fn renew_trust(&self, now: Duration) -> Result<(), Fault> {
        match self.tls.borrow_mut().renewed(now) {
            Some(config) => self.wire.trust(config),
            None => Ok(()),
        }
    }

    /// One request and its answer, whatever its status.
    async fn call<E: Endpoint>(
        &self,
        endpoint: E,
        token: Option<&SecretBytes>,
    ) -> Result<answer::Reply, Fault> {
        let _turn = self.turns.acquire().await;
        let namespace = self.namespace.as_deref();
        let dress = request::Dress { base: &self.base, namespace, token };
        let answer = endpoint.with_middleware(&dress).exec(&self.wire).await;
        let response = answer.map_err(|error| match error {
            ClientError::ResponseError { source } => {
                source.downcast().unwrap_or(Fault::Unreachable(Unreachable::Other))
            }
            _ => Fault::Path,
        })?;
        let (head, body) = response.response.into_parts();
        let header = |name: HeaderName| {
            head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Ok(answer::Reply {
            status: head.status.as_u16(),
            content_type: header(CONTENT_TYPE),
            retry_after: header(RETRY_AFTER),
            date: header(DATE),
            body: Zeroizing::new(body),
        })
    }
}
