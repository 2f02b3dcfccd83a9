//! Why a store did not give what was asked for, and what follows from that: whether to try again,
//! and who waits.

use std::time::Duration;

use crate::agent::reason::{Reason, Report};
#[cfg(any(feature = "vault", feature = "aws"))]
use crate::secret::FieldPath;
use crate::secret::StoreName;

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may pass by itself: back off and try again.
    Transient,
    /// The store is there, and somebody has to unseal it: ask slowly.
    Sealed,
    /// The store asks for fewer requests; wait long, whatever it names.
    Overload {
        /// How long the store asked us to wait, between 1 s and 5 min.
        after: Option<Duration>,
    },
    /// Somebody must change something first.
    Permanent,
}

/// Who backs off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that comes from this store.
    Store,
    /// This secret only.
    Secret,
}

/// Why a store did not give what was asked for.
#[derive(Debug)]
pub enum StoreError {
    /// This binary was built without that kind of store.
    KindMissing {
        /// The store's name.
        store: StoreName,
    },
    /// Vault or OpenBao.
    #[cfg(feature = "vault")]
    Vault(super::vault::VaultError),
    /// An age-encrypted file.
    #[cfg(feature = "local")]
    Local(super::local::LocalError),
    /// AWS.
    #[cfg(feature = "aws")]
    Aws(super::aws::AwsError),
}

impl StoreError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            StoreError::KindMissing { .. } => Retry::Permanent,
            #[cfg(feature = "vault")]
            StoreError::Vault(error) => error.retry(),
            #[cfg(feature = "local")]
            StoreError::Local(error) => error.retry(),
            #[cfg(feature = "aws")]
            StoreError::Aws(error) => error.retry(),
        }
    }

    /// Who backs off.
    pub fn scope(&self) -> Scope {
        match self {
            StoreError::KindMissing { .. } => Scope::Store,
            #[cfg(feature = "vault")]
            StoreError::Vault(error) => error.scope(),
            #[cfg(feature = "local")]
            StoreError::Local(error) => error.scope(),
            #[cfg(feature = "aws")]
            StoreError::Aws(error) => error.scope(),
        }
    }

    /// Whether it says of what was asked for, and not of the store or the way there, that asking
    /// again does not help.
    pub fn is_about_one_thing(&self) -> bool {
        (self.scope(), self.retry()) == (Scope::Secret, Retry::Permanent)
    }

    /// The machine's word for it.
    pub fn reason(&self) -> Reason {
        self.report().reason
    }

    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        match self {
            StoreError::KindMissing { store } => Report::new(
                Reason::NotYet,
                format!("store `{store}` can't be used"),
                "this binary was built without its kind of store",
            )
            .hint("build with the cargo feature named like the kind (`vault`, `aws`, `local`)"),
            #[cfg(feature = "vault")]
            StoreError::Vault(error) => error.report(),
            #[cfg(feature = "local")]
            StoreError::Local(error) => error.report(),
            #[cfg(feature = "aws")]
            StoreError::Aws(error) => error.report(),
        }
    }
}

#[cfg(feature = "vault")]
impl From<super::vault::VaultError> for StoreError {
    fn from(error: super::vault::VaultError) -> StoreError {
        StoreError::Vault(error)
    }
}

#[cfg(feature = "local")]
impl From<super::local::LocalError> for StoreError {
    fn from(error: super::local::LocalError) -> StoreError {
        StoreError::Local(error)
    }
}

#[cfg(feature = "aws")]
impl From<super::aws::AwsError> for StoreError {
    fn from(error: super::aws::AwsError) -> StoreError {
        StoreError::Aws(error)
    }
}

/// The why and the hint of a field that a secret does not have; `there` are the names of those it has.
#[cfg(any(feature = "vault", feature = "aws"))]
pub(super) fn field_missing(field: &FieldPath, there: &[String]) -> (String, String) {
    let hint = match there {
        [] => "it has no fields; write the field in the store".to_owned(),
        _ => format!("it has: {}", there.join(", ")),
    };
    (format!("there is no field `{field}`, or it is null"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_not_built_in_is_named_with_the_way_to_get_it() {
        let error = StoreError::KindMissing { store: StoreName::parse("dev").unwrap() };
        let report = error.report();
        assert!(report.what.contains("`dev`"));
        assert!(report.hint.is_some());
        assert_eq!((error.retry(), error.scope()), (Retry::Permanent, Scope::Store));
    }
}
