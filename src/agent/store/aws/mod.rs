//! AWS: Secrets Manager, Parameter Store and KMS, with the workload's own identity.
//!
//! In reading order: `identity` says who we are, `secrets`, `parameters` and `kms` what is asked,
//! `answer` what a refusal means, `wire` how a request travels. The SDK signs and speaks; it does
//! not retry, because whoever asks us does.

mod ahead;
mod answer;
#[cfg(feature = "vault")]
mod caller;
mod envelope;
mod error;
mod identity;
mod kms;
mod parameters;
mod secrets;
mod value;
mod wire;
mod words;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::identity::{ResolveCachedIdentity, SharedIdentityCache};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

#[cfg(feature = "vault")]
pub use caller::Caller;
pub use error::{
    Action, AwsError, CiphertextFault, Fault, KeyFault, Login, NoFields, Origin, Refusal,
};

use super::net::trust::{TrustFault, client, trust};
use super::{Answer, Fetched, Wanted};
use crate::agent::config::{AwsConfig, AwsPath, AwsService, SecretRef};
use crate::sandbox::door::Door;
use crate::secret::{DigestKey, Secret, SecretValue, StoreName, Version};

/// Connections that are kept to one service.
const MAX_IDLE: usize = 4;

/// Until a connection stands: name, TCP and TLS.
const CONNECT: Duration = Duration::from_secs(3);

/// The same on one's own machine, where one hop too many means that nothing ever comes.
const CONNECT_NEAR: Duration = Duration::from_millis(500);

/// Until a whole answer is there.
const TOTAL: Duration = Duration::from_secs(30);

/// At most one look for other credentials in this time after refusals, for the whole store.
const LOGIN_PACE: Duration = Duration::from_mins(1);

/// An account of AWS in one region.
pub struct AwsStore {
    name: StoreName,
    config: AwsConfig,
    digest_key: Rc<DigestKey>,
    identity: identity::Identity,
    wire: wire::Wire,
    /// Known once the region is.
    clients: tokio::sync::OnceCell<Clients>,
    /// Requests that only look and were refused; not tried again.
    refused_probes: RefCell<BTreeSet<(Action, String)>>,
    /// The last time credentials were replaced though they had not ended.
    replaced: Cell<Option<Duration>>,
    /// What is asked for in one go.
    ahead: ahead::Ahead,
    /// Services whose last word was an answer.
    answering: RefCell<BTreeSet<AwsService>>,
}

/// What is asked, and the way there.
struct Clients {
    around: identity::Surroundings,
    secrets: aws_sdk_secretsmanager::Client,
    ssm: aws_sdk_ssm::Client,
    kms: aws_sdk_kms::Client,
}

/// Which request failed, and how.
struct Failed(Action, Fault);

impl AwsStore {
    /// Opens the directories of the files. Nothing goes over the network.
    pub fn build(
        name: &StoreName,
        config: &AwsConfig,
        digest_key: Rc<DigestKey>,
    ) -> Result<AwsStore, AwsError> {
        let fail = |fault| AwsError {
            store: name.clone(),
            action: Action::Credentials,
            resource: String::new(),
            fault: Box::new(fault),
            elsewhere: false,
        };
        let door = config.ca_file.as_ref().map(|file| {
            Door::open(file).map_err(|e| Fault::File { file: file.clone(), kind: e.kind() })
        });
        let door = door.transpose().map_err(fail)?;
        let tls = trust(door.as_ref()).map_err(|fault| fail(of_trust(fault)))?;
        let near = client(tls.clone(), CONNECT_NEAR, 1).ok_or_else(|| fail(Fault::NoRoots))?;
        let far = client(tls, CONNECT, MAX_IDLE).ok_or_else(|| fail(Fault::NoRoots))?;
        Ok(AwsStore {
            name: name.clone(),
            config: config.clone(),
            digest_key,
            identity: identity::Identity::open(config.role.clone()),
            wire: wire::Wire { far, near },
            clients: tokio::sync::OnceCell::new(),
            refused_probes: RefCell::default(),
            replaced: Cell::new(None),
            ahead: ahead::Ahead::default(),
            answering: RefCell::default(),
        })
    }

    /// Reads one secret; see [`super::Store::fetch`].
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, AwsError> {
        let mut outcome = self.try_once(&wanted).await;
        if let Err(Failed(_, fault)) = &outcome
            && fault.is_of_credentials()
            && self.may_replace(wanted.now)
        {
            self.identity.forget();
            outcome = self.try_once(&wanted).await;
        }
        self.judge(&wanted.from.path, outcome)
    }

    /// Learns what will be asked for; see [`super::Store::expect`].
    pub fn expect<'a>(&self, refs: impl Iterator<Item = &'a SecretRef>) {
        self.ahead.expect(refs);
    }

    async fn try_once(&self, wanted: &Wanted<'_>) -> Result<Fetched, Failed> {
        let path = AwsPath::parse(&wanted.from.path);
        let path = path.ok_or(Failed(Action::Credentials, Fault::Path))?;
        let asked = self.ask(path, wanted);
        tokio::time::timeout(TOTAL, asked)
            .await
            .unwrap_or_else(|_| Err(Failed(Action::Credentials, answer::slow())))
    }

    async fn ask(&self, path: AwsPath<'_>, wanted: &Wanted<'_>) -> Result<Fetched, Failed> {
        // What was decrypted stays so: nobody is asked, and credentials are not needed.
        let sealed = match path {
            AwsPath::Decrypt => match self.sealed(wanted)? {
                Some(sealed) => Some(sealed),
                None => return Ok(Answer::Unmoved.into()),
            },
            _ => None,
        };
        let clients = self.ready(wanted.now).await?;
        let answer = match (path, sealed) {
            (AwsPath::Secret(id), _) => self.secret(clients, id, wanted).await?,
            (AwsPath::Parameter(name), _) => self.parameter(clients, name, wanted).await?,
            (AwsPath::Subtree(path), _) => self.subtree(clients, path, wanted).await?,
            (AwsPath::Decrypt, Some(sealed)) => self.decrypt(clients, sealed, wanted).await?,
            (AwsPath::Decrypt, None) => Answer::Unmoved,
        };
        Ok(answer.into())
    }

    /// The clients, with credentials at hand.
    async fn ready(&self, now: Duration) -> Result<&Clients, Failed> {
        let fail = |fault| Failed(Action::Credentials, fault);
        let clients = self.clients.get_or_try_init(|| self.connect()).await.map_err(fail)?;
        self.identity.ready(&clients.around, now).await.map_err(fail)?;
        Ok(clients)
    }

    async fn connect(&self) -> Result<Clients, Fault> {
        let around = self.around(self.config.region.clone().map(Region::new));
        let around = match around.sdk.region() {
            Some(_) => around,
            None => self.around(Some(around.region().await.ok_or(Fault::NoRegion)?)),
        };
        let of = |service| self.sdk(around.sdk.region().cloned(), service);
        Ok(Clients {
            secrets: aws_sdk_secretsmanager::Client::new(&of(AwsService::SecretsManager)),
            ssm: aws_sdk_ssm::Client::new(&of(AwsService::Ssm)),
            kms: aws_sdk_kms::Client::new(&of(AwsService::Kms)),
            around,
        })
    }

    fn around(&self, region: Option<Region>) -> identity::Surroundings {
        let sdk = self.sdk(region, AwsService::Sts);
        let AwsConfig { fips, dual_stack, .. } = self.config;
        identity::Surroundings::new(sdk, self.wire.clone(), fips, dual_stack)
    }

    /// What the SDK needs to know for one service.
    fn sdk(&self, region: Option<Region>, service: AwsService) -> SdkConfig {
        let config = &self.config;
        let endpoint = config.endpoints.get(&service).or(config.endpoint.as_ref()).cloned();
        let timeouts = TimeoutConfig::builder().operation_timeout(TOTAL).build();
        let mut sdk = SdkConfig::builder()
            .region(region)
            .behavior_version(aws_config::BehaviorVersion::latest())
            .http_client(self.wire.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .identity_cache(no_cache())
            .credentials_provider(SharedCredentialsProvider::new(self.identity.held()))
            .use_fips(config.fips)
            .use_dual_stack(config.dual_stack);
        sdk.set_endpoint_url(endpoint);
        sdk.build()
    }

    /// Whether credentials may be replaced now though they have not ended; if so, that is the one
    /// time.
    fn may_replace(&self, now: Duration) -> bool {
        let last = self.replaced.get();
        let may = last.is_none_or(|last| now.saturating_sub(last) >= LOGIN_PACE);
        if may {
            self.replaced.set(Some(now));
        }
        may
    }

    /// Notes which services answer, and says whose request failed.
    fn judge(&self, path: &str, outcome: Result<Fetched, Failed>) -> Result<Fetched, AwsError> {
        let service = service_of(path);
        let silent = outcome.as_ref().is_err_and(|Failed(_, fault)| {
            matches!(fault, Fault::Net(_) | Fault::Login(_) | Fault::Throttled | Fault::NoRegion)
        });
        let mut answering = self.answering.borrow_mut();
        if silent {
            answering.remove(&service);
        } else {
            answering.insert(service);
        }
        drop(answering);
        outcome.map_err(|Failed(action, fault)| self.error(action, path, fault))
    }

    fn error(&self, action: Action, resource: &str, fault: Fault) -> AwsError {
        AwsError {
            store: self.name.clone(),
            action,
            resource: resource.to_owned(),
            fault: Box::new(fault),
            elsewhere: !self.answering.borrow().is_empty(),
        }
    }

    /// A value and its version as an answer, unless that version is the one that is here.
    fn moved(value: SecretValue, version: Version, wanted: &Wanted<'_>) -> Answer {
        if wanted.have == Some(&version) {
            return Answer::Unmoved;
        }
        Answer::Moved(Secret { value, version, lease: None })
    }

    fn is_refused(&self, action: Action, of: &str) -> bool {
        self.refused_probes.borrow().contains(&(action, of.to_owned()))
    }

    fn note_refused(&self, action: Action, of: &str) {
        self.refused_probes.borrow_mut().insert((action, of.to_owned()));
    }
}

fn service_of(path: &str) -> AwsService {
    match AwsPath::parse(path) {
        Some(AwsPath::Parameter(_) | AwsPath::Subtree(_)) => AwsService::Ssm,
        Some(AwsPath::Decrypt) => AwsService::Kms,
        _ => AwsService::SecretsManager,
    }
}

/// We keep credentials ourselves, and know when they end.
fn no_cache() -> impl ResolveCachedIdentity + 'static {
    let cache: SharedIdentityCache = aws_sdk_sts::config::IdentityCache::no_cache();
    cache
}

fn of_trust(fault: TrustFault) -> Fault {
    match fault {
        TrustFault::File { file, kind } => Fault::File { file, kind },
        TrustFault::Pem { file } => Fault::Pem { file },
        TrustFault::NoRoots | TrustFault::Tls => Fault::NoRoots,
    }
}
