//! The typed config. Every value here has been checked; nothing here is a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::{FieldPath, FilePath, GroupName, SecretName, StoreName, VolumeName};

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where secrets come from.
    pub stores: BTreeMap<StoreName, StoreKind>,
    /// What is fetched.
    pub secrets: BTreeMap<SecretName, SecretConfig>,
    /// What the application reads.
    pub files: BTreeMap<FilePath, FileConfig>,
    /// Which files move together. Computed: every file is in exactly one.
    pub groups: Vec<GroupConfig>,
    /// The variables of `sidekey exec`.
    pub env: BTreeMap<String, FieldRef>,
    /// Where files go.
    pub volumes: BTreeMap<VolumeName, VolumeConfig>,
    /// Where a restart finds what it needs.
    pub state: Option<StateConfig>,
    /// Who is told of a new generation.
    pub on_change: Vec<HookConfig>,
    /// How long the first delivery may take.
    pub init_within: Duration,
    /// What happens while a store is down.
    pub when_down: WhenDown,
    /// When leases are given back.
    pub revoke: RevokeConfig,
    /// Where `/live` and `/ready` are served.
    pub health: HealthConfig,
    /// Where `/metrics` is served besides the health address.
    pub metrics: Option<SocketAddr>,
}

/// A store and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Vault or OpenBao.
    Vault(VaultConfig),
    /// An age-encrypted file.
    Local(LocalConfig),
    /// AWS: Secrets Manager, Parameter Store and KMS.
    Aws(AwsConfig),
}

/// AWS: Secrets Manager, Parameter Store and KMS, with the credentials of the SDK's default chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// The region; without it the profile's, then the instance's.
    pub region: Option<String>,
    /// The endpoint of every service that has none of its own.
    pub endpoint: Option<String>,
    /// The endpoints of single services.
    pub endpoints: BTreeMap<AwsService, String>,
    /// Whether FIPS endpoints are used.
    pub fips: bool,
    /// Whether dual-stack endpoints are used.
    pub dual_stack: bool,
    /// PEM certificates that replace the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// A role to assume with what the chain found.
    pub role: Option<AssumedRole>,
}

/// A role that is assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole {
    /// Its name.
    pub arn: String,
    /// What its trust policy expects as `sts:ExternalId`.
    pub external_id: Option<String>,
}

/// A service of AWS that we speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AwsService {
    /// Secrets Manager.
    SecretsManager,
    /// Parameter Store.
    Ssm,
    /// KMS.
    Kms,
    /// STS.
    Sts,
}

/// Vault or OpenBao.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// `http` or `https`, host and port, perhaps a path; no trailing slash.
    pub address: String,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// PEM certificates that replace the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// A certificate that we show in the TLS handshake.
    pub client_cert: Option<ClientCert>,
    /// Hosts (`host` or `host:port`) besides our own that a redirect may lead to.
    pub redirect_hosts: Vec<String>,
    /// How we log in.
    pub login: Login,
}

/// A client certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate and its chain.
    pub cert_file: PathBuf,
    /// The key.
    pub key_file: PathBuf,
}

/// How we prove to a Vault who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The pod's projected service account token, reviewed by the cluster.
    Kubernetes {
        /// The role in the store.
        role: String,
        /// Where the method is mounted.
        mount: String,
        /// The projected token.
        token_file: PathBuf,
    },
    /// A signed token, checked against keys that the store knows.
    Jwt {
        /// The role in the store.
        role: String,
        /// Where the method is mounted.
        mount: String,
        /// The token.
        token_file: PathBuf,
    },
    /// A role id and a secret id; the latter may be a wrapping token.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// Holds the role id.
        role_id_file: PathBuf,
        /// Holds the secret id, or the token that unwraps to it.
        secret_id_file: PathBuf,
    },
    /// The client certificate of the TLS handshake ([`VaultConfig::client_cert`]).
    Cert {
        /// The role in the store; without it the store looks for one that fits.
        role: Option<String>,
        /// Where the method is mounted.
        mount: String,
    },
    /// An AWS identity, shown by a signed request to STS that the store sends.
    Aws {
        /// The role in the store; without it the store takes the identity's own name.
        role: Option<String>,
        /// Where the method is mounted.
        mount: String,
        /// The region whose STS the store asks.
        region: String,
        /// What the store expects in `X-Vault-AWS-IAM-Server-ID`.
        server_id: Option<String>,
        /// How credentials are found.
        aws: Box<AwsConfig>,
    },
    /// A token that somebody else logged in for.
    Token(TokenSource),
}

/// Where a ready-made token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

/// An age-encrypted YAML file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The encrypted file.
    pub file: PathBuf,
    /// The age identity that decrypts it.
    pub key_file: PathBuf,
}

/// `STORE:PATH[#FIELD][@VERSION]`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Which store.
    pub store: StoreName,
    /// The path inside the store, percent-decoded.
    pub path: String,
    /// One field of what is there, or all of it.
    pub field: FieldPath,
    /// One version; without it the newest, and every newer one.
    pub version: Option<String>,
}

/// How a path of a Vault is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Key-value version 1.
    Kv1,
    /// Key-value version 2.
    Kv2,
    /// Whatever it is: the answer's `data` as it stands.
    Raw,
}

/// What happens to a file whose secret was deleted in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The last good file stays, and the deletion is reported.
    Keep,
    /// The files that need it are taken away.
    Remove,
    /// The last good file stays, and the pod is not ready.
    Fail,
}

/// Parameters of a request: with them a secret is written for, not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// What is sent, by name.
    pub values: BTreeMap<String, serde_json::Value>,
    /// What is read from a file each time and sent, by name.
    pub files: BTreeMap<String, PathBuf>,
}

impl Parameters {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.files.is_empty()
    }
}

/// One secret to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct SecretConfig {
    /// From where.
    pub from: SecretRef,
    /// How, where the answer's shape is not to decide.
    pub engine: Option<Engine>,
    /// How often a secret without a lease is asked for.
    pub refresh: Duration,
    /// Whether the first start succeeds without it.
    pub optional: bool,
    /// What its deletion means.
    pub on_delete: OnDelete,
    /// Whether it comes with a lease, as far as the config says: `lease:`, else the path.
    pub leased: bool,
    /// Whether its version names one value for ever, so that it is never polled. A label that can
    /// be moved to another value is polled.
    pub pinned: bool,
    /// Parameters of the request.
    pub with: Parameters,
    /// Whether `init` may deliver a lease that nobody renews.
    pub allow_expiry: bool,
}

/// `NAME`, `NAME.FIELD` or `NAME/a/b`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldRef {
    /// Which secret.
    pub secret: SecretName,
    /// Which part of it.
    pub field: FieldPath,
    /// Whether it may be missing (`?`).
    pub optional: bool,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Bytes as they are.
    Raw,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// `KEY=value` lines for dotenv readers.
    Dotenv,
    /// Java properties.
    Properties,
    /// `KEY='value'` lines for a POSIX shell.
    Shell,
    /// An encrypted key store.
    Pkcs12,
}

impl Format {
    /// The word for it, as the config writes it.
    pub fn word(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Json => "json",
            Format::Yaml => "yaml",
            Format::Dotenv => "dotenv",
            Format::Properties => "properties",
            Format::Shell => "shell",
            Format::Pkcs12 => "pkcs12",
        }
    }
}

/// What stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One value, or several joined by exactly one newline.
    Parts(Vec<FieldRef>),
    /// Named values in a format.
    Entries(Format, BTreeMap<String, FieldRef>),
    /// All fields of one secret (or of a part of one) in a format.
    Whole(Format, FieldRef),
    /// A key and its certificates as an encrypted PKCS#12 file.
    Pkcs12 {
        /// What is put in: PEM, joined.
        parts: Vec<FieldRef>,
        /// What encrypts it.
        password: FieldRef,
    },
    /// A template.
    Template {
        /// The minijinja source.
        source: String,
        /// The secrets it names.
        secrets: BTreeSet<SecretName>,
    },
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    /// What stands in it.
    pub content: Content,
    /// Whether the value is base64 and its decoded bytes are delivered.
    pub decode_base64: bool,
    /// Permission bits, at most 0440.
    pub mode: u32,
    /// The owner; without it the uid we run as.
    pub owner_user: Option<u32>,
    /// The group; without it the one the volume gives.
    pub owner_group: Option<u32>,
    /// Where it stands.
    pub volume: VolumeName,
}

impl FileConfig {
    /// Every secret that the file needs.
    pub fn secrets(&self) -> BTreeSet<&SecretName> {
        match &self.content {
            Content::Parts(parts) => parts.iter().map(|part| &part.secret).collect(),
            Content::Entries(_, entries) => entries.values().map(|part| &part.secret).collect(),
            Content::Whole(_, part) => BTreeSet::from([&part.secret]),
            Content::Pkcs12 { parts, password } => {
                parts.iter().chain([password]).map(|part| &part.secret).collect()
            }
            Content::Template { secrets, .. } => secrets.iter().collect(),
        }
    }
}

/// Files of one volume that move together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The name in `group:`, else the path of the first file.
    pub name: String,
    /// The name in `group:`, if there is one.
    pub given: Option<GroupName>,
    /// Where its files are.
    pub volume: VolumeName,
    /// Its files.
    pub files: BTreeSet<FilePath>,
    /// What they need.
    pub secrets: BTreeSet<SecretName>,
}

/// A directory that shows one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeConfig {
    /// Where it is mounted.
    pub path: PathBuf,
    /// How long the generation before the current one stays.
    pub keep_previous: Duration,
    /// Bytes that a generation and its predecessor may take together.
    pub size: u64,
    /// Whether something else than a tmpfs is accepted.
    pub allow_persistent: bool,
    /// Whether a tmpfs that may be swapped out passes without a warning.
    pub allow_swap: bool,
}

/// A tmpfs for what a restart needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Bytes it may take.
    pub size: u64,
    /// Whether something else than a tmpfs is accepted.
    pub allow_persistent: bool,
}

/// Somebody who is told of a new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    /// How.
    pub kind: HookKind,
    /// Only when one of these moved; empty: any.
    pub when: Vec<Trigger>,
    /// What shows that the application took it.
    pub confirm: Option<Confirm>,
}

/// What a hook waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A file.
    File(FilePath),
    /// A named group.
    Group(GroupName),
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// An HTTP request.
    Http {
        /// Where to.
        to: HttpTarget,
        /// `POST` unless said.
        method: String,
        /// Sent besides `Sidekey-Generation`.
        headers: BTreeMap<String, String>,
    },
    /// A signal through a pidfd.
    Signal {
        /// The signal's number.
        send: i32,
        /// To whom.
        to: ProcessMatch,
        /// Send it even to a process that would die of it.
        even_if_fatal: bool,
    },
    /// A command, without a shell, run by the helper.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
    },
}

/// Where an HTTP hook goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpTarget {
    /// Over TCP.
    Url(String),
    /// Over a Unix socket.
    Unix {
        /// The socket.
        socket: PathBuf,
        /// The path and query of the request.
        path: String,
    },
}

/// Which process is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessMatch {
    /// The kernel's short name (`comm`).
    Name(String),
    /// The path of the executable.
    Exe(PathBuf),
    /// The command line, arguments joined by spaces, contains this.
    Cmdline(String),
    /// The number in this file.
    PidFile(PathBuf),
}

/// What shows that the application took a generation, and what follows if nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The sign.
    pub by: ConfirmBy,
    /// How long to wait for it after each try.
    pub within: Duration,
    /// How often to tell again.
    pub retries: u32,
    /// What then.
    pub otherwise: Otherwise,
}

/// The sign of a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmBy {
    /// The HTTP hook's status.
    Status(u16),
    /// The command hook's exit code.
    Exit(i32),
    /// A file outside our volumes that holds the generation.
    File(PathBuf),
}

/// What follows when a generation is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The generation stays and the reason is `unconfirmed`.
    Report,
    /// The one before is published again.
    RollBack,
    /// The process is asked, then made, to end.
    Restart(ProcessMatch),
}

/// What happens while a store is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhenDown {
    /// How old a secret may grow before it is called stale; `None`: for ever.
    pub serve_stale_for: Option<Duration>,
    /// What then.
    pub then: Then,
}

/// What follows when a secret is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The files stay and the reason is `stale`.
    Keep,
    /// The files stay and the pod is not ready.
    Unready,
    /// `run` ends, so that the platform starts it anew.
    Exit,
}

/// When leases are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokeConfig {
    /// How long a credential lives on after its successor was confirmed.
    pub after: Duration,
    /// Whether everything is given back when the agent ends.
    pub on_exit: bool,
}

/// Where probes ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// The address.
    pub listen: Listen,
    /// Whether `POST /quit` ends the agent.
    pub quit: bool,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}
