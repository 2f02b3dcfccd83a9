//! Everything that AWS can answer instead of a secret, as facts: names, positions and numbers, and
//! never a word of an answer.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::words;
use crate::agent::identity::{Claims, IdentityError};
use crate::agent::reason::{Reason, Report};
use crate::agent::store::net::Trouble;
use crate::agent::store::{Retry, Scope};
use crate::secret::{FieldPath, JsonError, StoreName};

/// A request that did not bring a secret: which store, what was asked of it, and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsError {
    /// The store's name in the config.
    pub store: StoreName,
    /// What was asked for.
    pub action: Action,
    /// Of what.
    pub resource: String,
    /// What happened.
    pub fault: Box<Fault>,
    /// Whether another service of the store answers, so that only what needs this one waits.
    pub elsewhere: bool,
}

/// What is asked for, by the name that a policy has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The value of a secret.
    GetSecretValue,
    /// What is known of a secret.
    DescribeSecret,
    /// The values of several secrets.
    BatchGetSecretValue,
    /// One parameter.
    GetParameter,
    /// Several parameters.
    GetParameters,
    /// What is beneath a path.
    GetParametersByPath,
    /// A plaintext.
    Decrypt,
    /// A key for one ciphertext.
    GenerateDataKey,
    /// Credentials, before anything else.
    Credentials,
}

impl Action {
    /// The name in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Action::GetSecretValue => "secretsmanager:GetSecretValue",
            Action::DescribeSecret => "secretsmanager:DescribeSecret",
            Action::BatchGetSecretValue => "secretsmanager:BatchGetSecretValue",
            Action::GetParameter => "ssm:GetParameter",
            Action::GetParameters => "ssm:GetParameters",
            Action::GetParametersByPath => "ssm:GetParametersByPath",
            Action::Decrypt => "kms:Decrypt",
            Action::GenerateDataKey => "kms:GenerateDataKey",
            Action::Credentials => "sts:AssumeRole",
        }
    }
}

/// Where credentials come from, in the order of the SDK's default chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment,
    /// The shared files of the command line.
    Profile,
    /// A web identity token: IAM roles for service accounts.
    WebIdentity,
    /// The container's endpoint: EKS Pod Identity and ECS.
    Container,
    /// The instance's metadata (`IMDSv2`).
    Instance,
    /// A role assumed with what one of the others gave.
    Role,
}

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nothing in the chain has any.
    Nothing,
    /// The metadata service takes the question for a token and its answer does not arrive: it is one
    /// network hop too far away.
    HopLimit,
    /// The file of the web identity token can't be used.
    Token(IdentityError),
    /// One of the chain is set up and does not work.
    Broken {
        /// Which.
        origin: Origin,
    },
    /// One of the chain could not be asked.
    Unreachable {
        /// Which.
        origin: Origin,
        /// Why.
        trouble: Trouble,
    },
    /// The token service asks for fewer requests, or fails by itself.
    Busy {
        /// Which.
        origin: Origin,
        /// Its status.
        status: u16,
    },
    /// A role may not be assumed.
    Refused {
        /// With what.
        origin: Origin,
        /// The role.
        role: String,
        /// Why.
        why: Refusal,
        /// What the web identity token says of itself.
        claims: Option<Claims>,
    },
}

/// Why a role may not be assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The token has ended.
    Expired,
    /// The token is for somebody else, or nobody vouches for it.
    Token,
    /// The role's trust policy does not let us.
    Trust,
    /// The clocks differ.
    Clock,
}

/// Why a ciphertext can't be used, found before anything is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiphertextFault {
    /// There is none.
    Missing,
    /// It is no base64.
    NotBase64,
    /// It ends too early.
    CutShort,
    /// It is longer than KMS takes without an envelope.
    TooLong,
    /// It begins as an envelope of another edition.
    Edition,
    /// The envelope was changed.
    Changed,
    /// The context is not a mapping of texts.
    Context,
}

/// Why a text has no fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoFields {
    /// It is bytes and no text.
    Binary,
    /// It is not JSON.
    NotJson(JsonError),
    /// It is JSON, and no object.
    NotObject,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is switched off.
    Disabled,
    /// It is about to be deleted, being made, or without its material.
    State,
    /// It is not there, or in another account or region.
    NotFound,
    /// It is for something else.
    Usage,
    /// It is another one than the ciphertext was made with.
    Other,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing says which region is meant.
    NoRegion,
    /// The file of certificates can't be read.
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        kind: ErrorKind,
    },
    /// The file holds no certificates.
    Pem {
        /// The file.
        file: PathBuf,
    },
    /// There are no certificates to trust.
    NoRoots,
    /// There are no credentials.
    Login(Login),
    /// No complete answer came, or from nobody that we trust.
    Net(Trouble),
    /// Fewer requests are asked for.
    Throttled,
    /// An error of the service's own.
    Failed {
        /// Its status.
        status: u16,
    },
    /// The credentials have ended or are unknown, and new ones did not help.
    CredentialsRefused,
    /// The clocks differ by so many seconds; positive: ours is ahead.
    Skewed {
        /// By how many.
        seconds: i64,
    },
    /// It is not allowed.
    Denied {
        /// Whether it is the key behind it that may not be used.
        key: bool,
    },
    /// It is not there.
    Absent {
        /// Whether the version is, of something that is there.
        version: bool,
    },
    /// It is scheduled for deletion, and could be restored.
    Deleted,
    /// The key can't be used.
    Key(KeyFault),
    /// KMS does not accept the ciphertext.
    CiphertextRefused {
        /// Whether a context was sent.
        context: bool,
    },
    /// The ciphertext can't be used.
    Ciphertext(CiphertextFault),
    /// A field was asked for, and there are none.
    NoFields {
        /// The field.
        field: FieldPath,
        /// Why not.
        why: NoFields,
    },
    /// The field is missing or null.
    FieldMissing {
        /// The field.
        field: FieldPath,
        /// The fields that are there.
        there: Vec<String>,
    },
    /// The service does not take the request.
    Invalid,
    /// The answer is larger than we take.
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The answer is not what the API promises.
    Malformed,
    /// The path names nothing of AWS.
    Path,
}

impl Fault {
    /// Whether other credentials may help.
    pub(super) fn is_of_credentials(&self) -> bool {
        matches!(self, Fault::CredentialsRefused)
    }

    fn reason(&self) -> Reason {
        match self {
            Fault::NoRegion | Fault::Path => Reason::ConfigInvalid,
            Fault::File { .. } | Fault::Pem { .. } | Fault::NoRoots => Reason::TlsVerify,
            Fault::Login(Login::Refused { .. }) => Reason::LoginRefused,
            Fault::Login(Login::Unreachable { trouble: Trouble::Tls(_), .. }) => Reason::TlsVerify,
            Fault::Login(Login::Unreachable { .. }) => Reason::StoreUnreachable,
            Fault::Login(Login::Busy { .. }) => Reason::StoreThrottled,
            Fault::Login(_) => Reason::IdentityUnavailable,
            Fault::Net(Trouble::Unreachable(_)) => Reason::StoreUnreachable,
            Fault::Net(Trouble::Tls(_)) => Reason::TlsVerify,
            Fault::Throttled => Reason::StoreThrottled,
            Fault::Failed { .. } => Reason::StoreError,
            Fault::CredentialsRefused | Fault::Skewed { .. } => Reason::LoginRefused,
            Fault::Denied { .. } => Reason::PermissionDenied,
            Fault::Absent { .. } => Reason::NotFound,
            Fault::Deleted => Reason::SecretDeleted,
            Fault::Key(KeyFault::Other) | Fault::CiphertextRefused { .. } => Reason::KeyMismatch,
            Fault::Key(_) => Reason::PermissionDenied,
            Fault::Ciphertext(_) | Fault::Invalid | Fault::Malformed => Reason::AnswerMalformed,
            Fault::NoFields { .. } | Fault::FieldMissing { .. } => Reason::FieldMissing,
            Fault::TooLarge { .. } => Reason::TooLarge,
        }
    }
}

impl AwsError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match &*self.fault {
            Fault::Throttled | Fault::Login(Login::Busy { .. }) => Retry::Overload { after: None },
            Fault::Net(Trouble::Unreachable(_))
            | Fault::Failed { .. }
            | Fault::Login(
                Login::Nothing
                | Login::HopLimit
                | Login::Token(_)
                | Login::Broken { .. }
                | Login::Unreachable { trouble: Trouble::Unreachable(_), .. },
            ) => Retry::Transient,
            _ => Retry::Permanent,
        }
    }

    /// Who backs off.
    pub fn scope(&self) -> Scope {
        match &*self.fault {
            Fault::NoRegion
            | Fault::File { .. }
            | Fault::Pem { .. }
            | Fault::NoRoots
            | Fault::Login(_)
            | Fault::CredentialsRefused
            | Fault::Skewed { .. } => Scope::Store,
            Fault::Net(_) | Fault::Throttled if !self.elsewhere => Scope::Store,
            _ => Scope::Secret,
        }
    }

    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let (what, why, hint) = words::of(self);
        Report::new(self.fault.reason(), what, why).hint(hint)
    }
}
