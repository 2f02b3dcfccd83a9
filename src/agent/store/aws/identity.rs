//! Who we are to AWS: the sources of the SDK's default chain in its order, asked one by one so that
//! an error can say which of them failed and why; then a role, if the config names one.
//!
//! 1. the environment; 2. a profile; 3. a web identity token (IRSA); 4. the container's endpoint
//!    (EKS Pod Identity, ECS); 5. the instance's metadata, version 2 only.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_sts::types as sts;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use super::answer::{Refused, refused};
use super::error::{Fault, Login, Origin, Refusal};
use super::wire::Wire;
use crate::agent::config::AssumedRole;
use crate::agent::identity::{Claims, IdentityError, Place};
use crate::agent::store::net::{Trouble, Unreachable, Wait};
use crate::sandbox::door::Door;
use crate::secret::SecretBytes;

/// New credentials are fetched this long before the old ones end. AWS hands new ones out at the
/// latest five minutes before.
const MARGIN: Duration = Duration::from_mins(5);

/// After a refresh that failed while the old ones are good, how long until the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// How long the container's or the instance's endpoint may take for one answer (catalogue row 32).
const NEAR: Duration = Duration::from_secs(1);

/// How long a whole look for credentials may take.
const TOTAL: Duration = Duration::from_secs(15);

/// Bytes that a web identity token may have.
const MAX_TOKEN: usize = 64 * 1024;

/// The credentials at hand, as the SDK's clients see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Option<Credentials>>>);

impl Held {
    fn get(&self) -> Option<Credentials> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, credentials: Option<Credentials>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }
}

impl ProvideCredentials for Held {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(
            self.get().ok_or_else(CredentialsError::not_loaded_no_source),
        )
    }
}

/// Where a web identity token and its role are.
struct WebIdentity {
    token: Result<Door, IdentityError>,
    role: String,
    session: Option<String>,
}

/// Finds credentials, and keeps them while they are good.
pub(super) struct Identity {
    held: Held,
    web: Option<WebIdentity>,
    role: Option<AssumedRole>,
    /// Held while somebody fetches, so that the others wait for that.
    gate: tokio::sync::Mutex<()>,
    /// When a refresh failed last, on the boot-time clock.
    failed: std::cell::Cell<Option<Duration>>,
}

impl Identity {
    /// Opens the directory of the web identity token. Nothing goes over the network.
    pub(super) fn open(role: Option<AssumedRole>) -> Identity {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let web = variable("AWS_WEB_IDENTITY_TOKEN_FILE").map(|file| {
            let file = PathBuf::from(file);
            let door = Door::open(&file);
            WebIdentity {
                token: door.map_err(|e| IdentityError::Directory { file, kind: e.kind() }),
                role: variable("AWS_ROLE_ARN").unwrap_or_default(),
                session: variable("AWS_ROLE_SESSION_NAME"),
            }
        });
        Identity {
            held: Held::default(),
            web,
            role,
            gate: tokio::sync::Mutex::new(()),
            failed: std::cell::Cell::new(None),
        }
    }

    /// What the clients ask.
    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// Forgets the credentials at hand.
    pub(super) fn forget(&self) {
        self.held.set(None);
    }

    /// Sees to it that credentials are at hand. Old ones that are still good do while new ones can't
    /// be had.
    pub(super) async fn ready(&self, at: &Surroundings, now: Duration) -> Result<(), Fault> {
        let _gate = self.gate.lock().await;
        let (good, fresh) = match self.held.get() {
            None => (false, false),
            Some(held) => (has_more_than(&held, Duration::ZERO), has_more_than(&held, MARGIN)),
        };
        let paused = self.failed.get().is_some_and(|at| now.saturating_sub(at) < PAUSE);
        if fresh || good && paused {
            return Ok(());
        }
        let found = tokio::time::timeout(TOTAL, self.find(at)).await.unwrap_or_else(|_| {
            let trouble = Trouble::Unreachable(Unreachable::Slow(Wait::Total));
            Err(Fault::Login(Login::Unreachable { origin: Origin::Container, trouble }))
        });
        match found {
            Ok(credentials) => {
                self.failed.set(None);
                self.held.set(Some(credentials));
                Ok(())
            }
            Err(_) if good => {
                self.failed.set(Some(now));
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    async fn find(&self, at: &Surroundings) -> Result<Credentials, Fault> {
        let found = self.chain(at).await?;
        let Some(role) = &self.role else { return Ok(found) };
        let config = at.sdk.to_builder();
        let config = config.credentials_provider(
            aws_credential_types::provider::SharedCredentialsProvider::new(found),
        );
        let request = aws_sdk_sts::Client::new(&config.build())
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(session_name())
            .set_external_id(role.external_id.clone());
        let answer = request
            .send()
            .await
            .map_err(|error| of_sts(refused(&error), Origin::Role, &role.arn, None))?;
        credentials_of(answer.credentials, Origin::Role)
    }

    async fn chain(&self, at: &Surroundings) -> Result<Credentials, Fault> {
        let conf = at.provider_config();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if is_set("AWS_ACCESS_KEY_ID") != is_set("AWS_SECRET_ACCESS_KEY") {
            return Err(Fault::Login(Login::Broken { origin: Origin::Environment }));
        }
        if let Some(found) =
            found(EnvironmentVariableCredentialsProvider::new(), Origin::Environment).await?
        {
            return Ok(found);
        }
        let profile = ProfileFileCredentialsProvider::builder().configure(&conf).build();
        if let Some(found) = found(profile, Origin::Profile).await? {
            return Ok(found);
        }
        if let Some(web) = &self.web {
            return web_identity(web, at).await;
        }
        let container = EcsCredentialsProvider::builder()
            .configure(&conf)
            .connect_timeout(NEAR)
            .read_timeout(NEAR)
            .build();
        if let Some(found) = found(container, Origin::Container).await? {
            return Ok(found);
        }
        let instance =
            ImdsCredentialsProvider::builder().configure(&conf).imds_client(at.metadata()).build();
        match instance.provide_credentials().await {
            Ok(found) => Ok(found),
            Err(error) => Err(Fault::Login(no_instance(&error))),
        }
    }
}

/// What one of the chain has; `None` if it is not set up.
async fn found(
    provider: impl ProvideCredentials,
    origin: Origin,
) -> Result<Option<Credentials>, Fault> {
    match provider.provide_credentials().await {
        Ok(found) => Ok(Some(found)),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Ok(None),
        Err(error) => Err(Fault::Login(match trouble_in(&error) {
            Some(trouble) => Login::Unreachable { origin, trouble },
            None => Login::Broken { origin },
        })),
    }
}

fn no_instance(error: &CredentialsError) -> Login {
    match trouble_in(error) {
        // The connection stands, so the service is there; only its answer does not arrive.
        Some(Trouble::Unreachable(Unreachable::Slow(Wait::FirstByte))) => Login::HopLimit,
        _ if matches!(error, CredentialsError::CredentialsNotLoaded(_)) => Login::Nothing,
        Some(trouble) => Login::Unreachable { origin: Origin::Instance, trouble },
        None => Login::Broken { origin: Origin::Instance },
    }
}

/// What our own client said, within what the SDK made of it.
fn trouble_in(error: &CredentialsError) -> Option<Trouble> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Some(*trouble);
        }
        cause = error.source();
    }
    None
}

async fn web_identity(web: &WebIdentity, at: &Surroundings) -> Result<Credentials, Fault> {
    let origin = Origin::WebIdentity;
    if web.role.is_empty() {
        return Err(Fault::Login(Login::Broken { origin }));
    }
    let token = token(web).map_err(|error| Fault::Login(Login::Token(error)))?;
    let claims = Claims::of(&token);
    let request = aws_sdk_sts::Client::new(&at.sdk)
        .assume_role_with_web_identity()
        .role_arn(&web.role)
        .role_session_name(web.session.clone().unwrap_or_else(session_name))
        .web_identity_token(String::from_utf8_lossy(token.expose()).into_owned());
    let answer =
        request.send().await.map_err(|error| of_sts(refused(&error), origin, &web.role, claims))?;
    credentials_of(answer.credentials, origin)
}

fn token(web: &WebIdentity) -> Result<SecretBytes, IdentityError> {
    let door = web.token.as_ref().map_err(Clone::clone)?;
    let file = || door.path().to_owned();
    let mut bytes =
        door.read(MAX_TOKEN).map_err(|e| IdentityError::Read { file: file(), kind: e.kind() })?;
    let end = bytes.iter().rposition(|b| !b.is_ascii_whitespace()).map_or(0, |last| last + 1);
    bytes.truncate(end);
    if bytes.is_empty() {
        return Err(IdentityError::Empty { place: Place::File(file()) });
    }
    Ok(SecretBytes::from(bytes))
}

fn of_sts(refused: Refused, origin: Origin, role: &str, claims: Option<Claims>) -> Fault {
    let no =
        |why, claims| Fault::Login(Login::Refused { origin, role: role.to_owned(), why, claims });
    match refused {
        Refused::Net(trouble) => Fault::Login(Login::Unreachable { origin, trouble }),
        Refused::TooLarge | Refused::Malformed => Fault::Malformed,
        Refused::Said { code, status, skew, .. } => match code.as_str() {
            "ExpiredTokenException" | "ExpiredToken" => no(Refusal::Expired, claims),
            "InvalidIdentityToken"
            | "InvalidIdentityTokenException"
            | "IDPRejectedClaim"
            | "InvalidParameterValue"
            | "ValidationError" => no(Refusal::Token, claims),
            "SignatureDoesNotMatch" | "RequestExpired" if skew.is_some() => {
                no(Refusal::Clock, None)
            }
            "AccessDenied" | "AccessDeniedException" => no(Refusal::Trust, None),
            "InvalidClientTokenId" | "SignatureDoesNotMatch" | "UnrecognizedClientException" => {
                Fault::CredentialsRefused
            }
            _ if status >= 500 || matches!(status, 400 | 429) => {
                Fault::Login(Login::Busy { origin, status })
            }
            _ => no(Refusal::Trust, None),
        },
    }
}

fn credentials_of(given: Option<sts::Credentials>, origin: Origin) -> Result<Credentials, Fault> {
    let given = given.ok_or(Fault::Login(Login::Broken { origin }))?;
    let end = SystemTime::try_from(given.expiration).map_err(|_| Fault::Malformed)?;
    Ok(Credentials::builder()
        .access_key_id(given.access_key_id)
        .secret_access_key(given.secret_access_key)
        .session_token(given.session_token)
        .expiry(end)
        .provider_name("sidekey")
        .build())
}

fn has_more_than(credentials: &Credentials, margin: Duration) -> bool {
    credentials.expiry().is_none_or(|end| SystemTime::now() + margin < end)
}

/// By what a session is called in the account's audit log: the pod's name.
fn session_name() -> String {
    let pod = std::env::var("HOSTNAME").unwrap_or_default();
    let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name: String = "sidekey-".chars().chain(pod.chars()).filter(good).take(64).collect();
    name.trim_end_matches('-').to_owned()
}

/// What every request to AWS needs besides credentials.
pub(super) struct Surroundings {
    /// Region, client, endpoints; for STS as it stands.
    pub sdk: SdkConfig,
    wire: Wire,
    fips: bool,
    dual_stack: bool,
}

impl Surroundings {
    /// Around a region that is not known yet.
    pub(super) fn new(sdk: SdkConfig, wire: Wire, fips: bool, dual_stack: bool) -> Surroundings {
        Surroundings { sdk, wire, fips, dual_stack }
    }

    /// The region of the profile, or of the instance.
    pub(super) async fn region(&self) -> Option<Region> {
        let conf = self.provider_config();
        let profile = ProfileFileRegionProvider::builder().configure(&conf).build();
        if let Some(region) = profile.region().await {
            return Some(region);
        }
        let instance =
            ImdsRegionProvider::builder().configure(&conf).imds_client(self.metadata()).build();
        instance.region().await
    }

    fn provider_config(&self) -> ProviderConfig {
        ProviderConfig::without_region()
            .with_region(self.sdk.region().cloned())
            .with_http_client(self.wire.clone())
            .with_retry_config(RetryConfig::disabled())
            .with_use_fips(Some(self.fips))
            .with_use_dual_stack(Some(self.dual_stack))
    }

    /// The metadata service, asked once: what waits for it is asked again by us.
    fn metadata(&self) -> aws_config::imds::Client {
        aws_config::imds::Client::builder()
            .configure(&self.provider_config())
            .max_attempts(1)
            .connect_timeout(NEAR)
            .read_timeout(NEAR)
            .build()
    }
}
