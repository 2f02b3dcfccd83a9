//! Everything that a Vault or OpenBao can answer instead of a secret, as facts: names, positions
//! and numbers, and never a word of an answer's body.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::identity::{Claims, IdentityError};
use crate::agent::reason::{Reason, Report};
use crate::agent::store::net::Trouble;
pub use crate::agent::store::net::{TlsFault, Unreachable, Wait};
use crate::agent::store::{Retry, Scope};
use crate::secret::{FieldPath, JsonError, StoreName};

/// A request that did not bring a secret: which store, which path, and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultError {
    /// The store's name in the config.
    pub store: StoreName,
    /// Its address.
    pub address: String,
    /// The path that was asked for.
    pub path: String,
    /// What happened.
    pub fault: Box<Fault>,
    /// Whether there is a login that is still good, so that only what needs another one waits.
    pub logged_in: bool,
}

/// As whom we asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// As what a login made of us.
    Login {
        /// `kubernetes`, `jwt`, `approle` or `cert`.
        method: &'static str,
        /// Where the method is mounted.
        mount: String,
        /// The role, where the config names one.
        role: Option<String>,
    },
    /// With a token that somebody else logged in for.
    Token,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Login { role: Some(role), .. } => write!(f, "role `{role}`"),
            Who::Login { method, mount, role: None } => {
                write!(f, "the {method} login at `{mount}`")
            }
            Who::Token => f.write_str("the given token"),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The address is not one.
    Address,
    /// A file for TLS can't be read.
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        kind: ErrorKind,
    },
    /// A file for TLS does not hold what it should.
    Pem {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// There are no certificates to trust.
    NoRoots,
    /// There is no proof of who we are.
    Identity(IdentityError),
    /// There are no credentials of AWS to log in with.
    #[cfg(feature = "aws")]
    Aws(Box<crate::agent::store::aws::AwsError>),
    /// No complete answer came.
    Unreachable(Unreachable),
    /// TLS could not be set up.
    Tls(TlsFault),
    /// We were sent somewhere that is not allowed.
    Redirect(RedirectFault),
    /// The store is sealed.
    Sealed,
    /// A server that can't answer now: standby, not initialised, removed.
    NotActive {
        /// The status it said so with.
        status: u16,
    },
    /// Fewer requests are asked for.
    Throttled {
        /// 429, or 503 for load.
        status: u16,
        /// How long to wait, between 1 s and 5 min.
        after: Option<Duration>,
    },
    /// An error of the store's own.
    Failed {
        /// Its status.
        status: u16,
    },
    /// The server is behind another one that we have already read from (412).
    Lagging,
    /// The login was refused.
    LoginRefused {
        /// As whom.
        who: Who,
        /// The status.
        status: u16,
        /// What the signed token says of itself.
        claims: Option<Claims>,
        /// Whether that token is past its end by our own clock.
        expired: bool,
    },
    /// The wrapping token was used already, or was never one.
    WrappingUsed,
    /// The wrapping token holds something else than a secret id of this login's mount.
    WrappingForeign,
    /// The login could not be recorded, so it was given up.
    NotRecorded,
    /// Reading was refused, after a new login too.
    Denied {
        /// As whom.
        who: Who,
        /// The status.
        status: u16,
        /// The path that was probably meant, on a KV 2 mount.
        meant: Option<String>,
    },
    /// The store does not answer a read of this path.
    NotReadable {
        /// The status.
        status: u16,
    },
    /// It is not there.
    Absent(Absence),
    /// It was deleted, and could be restored.
    Deleted {
        /// Which version.
        version: u64,
    },
    /// The answer is not what the API promises.
    Malformed(Malformed),
    /// The body is encoded though nothing but plain was asked for.
    Encoded,
    /// The answer, or one value in it, is too large.
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The answer came with a lease.
    LeaseUnexpected {
        /// Whether the lease is gone again.
        revoked: bool,
    },
    /// The path can't be asked for.
    Path,
    /// What stands in the file of a parameter is not text.
    ParameterNotText {
        /// The parameter.
        name: String,
    },
    /// The version is not a number.
    VersionNotNumber,
    /// The path has no versions.
    VersionUnknown,
    /// The field is missing or null.
    FieldMissing {
        /// The field.
        field: FieldPath,
        /// The fields that are there.
        there: Vec<String>,
    },
}

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectFault {
    /// It says nothing that we could follow.
    Unreadable,
    /// From `https` to `http`.
    Downgrade,
    /// To a host or port that the config does not name.
    Stranger,
    /// To another redirect.
    TooMany,
}

/// In what way something is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nothing is known of it.
    Never,
    /// Nothing is mounted there, or the namespace is another one.
    NoEngine,
    /// The path lacks the `data/` of a KV 2 mount.
    NeedsData {
        /// The path that was probably meant.
        meant: Option<String>,
    },
    /// That version was destroyed for good.
    Destroyed {
        /// Which version.
        version: u64,
    },
}

/// In what way an answer is not what the API promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not JSON, or with a key that comes twice, or too deep.
    Json(JsonError),
    /// Not JSON by its own `Content-Type`.
    ContentType,
    /// No `data`.
    NoData,
    /// Not the shape of KV 2, which `engine: kv2` asks for.
    NotKv2,
    /// Another version than the one asked for.
    OtherVersion,
    /// A login without a token.
    NoToken,
    /// A status that means nothing here.
    Status(u16),
}

impl Fault {
    /// The same fault, seen while the body was read.
    pub(super) fn in_the_body(self) -> Fault {
        match self {
            Fault::Unreachable(Unreachable::Cut | Unreachable::Other | Unreachable::NotHttp) => {
                Fault::Unreachable(Unreachable::CutInBody)
            }
            fault => fault,
        }
    }

    /// Whether a new login failed, and nothing else.
    fn is_of_a_login(&self) -> bool {
        #[cfg(feature = "aws")]
        if let Fault::Aws(_) = self {
            return true;
        }
        matches!(
            self,
            Fault::Identity(_)
                | Fault::LoginRefused { .. }
                | Fault::WrappingUsed
                | Fault::WrappingForeign
                | Fault::NotRecorded
        )
    }

    fn reason(&self) -> Reason {
        match self {
            #[cfg(feature = "aws")]
            Fault::Aws(error) => error.report().reason,
            Fault::Address
            | Fault::File { .. }
            | Fault::Pem { .. }
            | Fault::NoRoots
            | Fault::Path
            | Fault::ParameterNotText { .. }
            | Fault::VersionNotNumber
            | Fault::VersionUnknown => Reason::ConfigInvalid,
            Fault::Identity(error) => error.report().reason,
            Fault::Unreachable(_) => Reason::StoreUnreachable,
            Fault::Tls(_) => Reason::TlsVerify,
            Fault::Redirect(_) => Reason::RedirectRefused,
            Fault::Sealed => Reason::StoreSealed,
            Fault::Throttled { .. } => Reason::StoreThrottled,
            Fault::NotActive { .. } | Fault::Failed { .. } | Fault::Lagging => Reason::StoreError,
            Fault::LoginRefused { .. } | Fault::WrappingUsed | Fault::WrappingForeign => {
                Reason::LoginRefused
            }
            Fault::NotRecorded => Reason::VolumeRefused,
            Fault::Denied { .. } => Reason::PermissionDenied,
            Fault::Absent(_) => Reason::NotFound,
            Fault::Deleted { .. } => Reason::SecretDeleted,
            Fault::Malformed(_) | Fault::Encoded | Fault::NotReadable { .. } => {
                Reason::AnswerMalformed
            }
            Fault::TooLarge { .. } => Reason::TooLarge,
            Fault::LeaseUnexpected { .. } => Reason::LeaseUnexpected,
            Fault::FieldMissing { .. } => Reason::FieldMissing,
        }
    }
}

impl VaultError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match &*self.fault {
            #[cfg(feature = "aws")]
            Fault::Aws(error) => error.retry(),
            Fault::Identity(_)
            | Fault::Unreachable(_)
            | Fault::NotActive { .. }
            | Fault::Failed { .. }
            | Fault::Lagging
            | Fault::NotRecorded => Retry::Transient,
            Fault::Sealed => Retry::Sealed,
            Fault::Throttled { after, .. } => Retry::Overload { after: *after },
            _ => Retry::Permanent,
        }
    }

    /// Who backs off.
    pub fn scope(&self) -> Scope {
        match &*self.fault {
            fault if self.logged_in && fault.is_of_a_login() => Scope::Secret,
            #[cfg(feature = "aws")]
            Fault::Aws(_) => Scope::Store,
            Fault::Address
            | Fault::File { .. }
            | Fault::Pem { .. }
            | Fault::NoRoots
            | Fault::Identity(_)
            | Fault::Unreachable(_)
            | Fault::Tls(_)
            | Fault::Redirect(_)
            | Fault::Sealed
            | Fault::NotActive { .. }
            | Fault::Throttled { .. }
            // What stands before the store says that it can't reach it.
            | Fault::Failed { status: 502 | 504 }
            | Fault::LoginRefused { .. }
            | Fault::WrappingUsed
            | Fault::WrappingForeign
            | Fault::NotRecorded => Scope::Store,
            _ => Scope::Secret,
        }
    }

    /// The machine's word for it.
    pub fn reason(&self) -> Reason {
        self.fault.reason()
    }

    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        super::report::of(self)
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Fault {
        match trouble {
            Trouble::Unreachable(why) => Fault::Unreachable(why),
            Trouble::Tls(why) => Fault::Tls(why),
        }
    }
}

impl fmt::Display for Fault {
    /// For the error that passes through `rustify`; people read [`VaultError::report`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().word())
    }
}

impl std::error::Error for Fault {}
