//! Asking for several at once: which names will be asked for, and what a batch brought for them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::Fault;
use crate::agent::config::{AwsPath, AwsService, SecretRef};
use crate::agent::store::Wanted;
use crate::secret::SecretBytes;

/// A value as a service hands it out, with its version.
pub(super) struct Piece {
    pub bytes: SecretBytes,
    pub version: String,
    /// Whether it is a list whose items have commas between them.
    pub is_list: bool,
}

/// What a batch brought for somebody who has not asked yet.
struct Kept {
    at: Duration,
    piece: Result<Piece, Fault>,
}

/// Names that will be asked for, and what is here for them already.
#[derive(Default)]
pub(super) struct Ahead {
    /// By service and name; the time is when it was asked for last.
    names: RefCell<BTreeMap<(AwsService, String), Option<Duration>>>,
    kept: RefCell<BTreeMap<(AwsService, String), Kept>>,
    /// Held while a batch is out, so that the others take what it brings.
    pub gate: tokio::sync::Mutex<()>,
}

impl Ahead {
    /// Learns which secrets will be asked for; those of before are forgotten.
    pub(super) fn expect<'a>(&self, refs: impl Iterator<Item = &'a SecretRef>) {
        let wanted = refs.filter(|from| from.version.is_none()).filter_map(|from| {
            match AwsPath::parse(&from.path)? {
                AwsPath::Secret(name) => Some((AwsService::SecretsManager, name.to_owned())),
                AwsPath::Parameter(name) if !name.starts_with("arn:") => {
                    Some((AwsService::Ssm, name.to_owned()))
                }
                _ => None,
            }
        });
        let wanted: BTreeSet<_> = wanted.collect();
        let mut names = self.names.borrow_mut();
        names.retain(|name, _| wanted.contains(name));
        for name in wanted {
            names.entry(name).or_insert(None);
        }
    }

    /// What a batch brought for `name`, if it is as fresh as `wanted` needs it. It is handed out once.
    pub(super) fn take(
        &self,
        service: AwsService,
        name: &str,
        wanted: &Wanted<'_>,
    ) -> Option<Result<Piece, Fault>> {
        let key = (service, name.to_owned());
        if let Some(asked) = self.names.borrow_mut().get_mut(&key) {
            *asked = Some(wanted.now);
        }
        let kept = self.kept.borrow_mut().remove(&key)?;
        (wanted.now.saturating_sub(kept.at) <= wanted.fresh).then_some(kept.piece)
    }

    /// Up to `most` others that will be asked for soonest: those that were asked for longest ago.
    /// Without an answer to compare with, the ones that never were.
    pub(super) fn others(
        &self,
        service: AwsService,
        name: &str,
        wanted: &Wanted<'_>,
        most: usize,
    ) -> Vec<String> {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|_, kept| wanted.now.saturating_sub(kept.at) <= wanted.fresh);
        let names = self.names.borrow();
        let mut others: Vec<_> = names
            .iter()
            .filter(|((of, other), asked)| {
                *of == service && other != name && (wanted.have.is_some() || asked.is_none())
            })
            .filter(|(key, _)| !kept.contains_key(*key))
            .map(|((_, other), asked)| (*asked, other.clone()))
            .collect();
        others.sort();
        others.into_iter().take(most).map(|(_, other)| other).collect()
    }

    /// Keeps what a batch brought for somebody else.
    pub(super) fn put(
        &self,
        service: AwsService,
        name: String,
        piece: Result<Piece, Fault>,
        wanted: &Wanted<'_>,
    ) {
        let key = (service, name);
        if self.names.borrow().contains_key(&key) {
            self.kept.borrow_mut().insert(key, Kept { at: wanted.now, piece });
        }
    }
}
