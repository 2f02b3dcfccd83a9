//! What a number of pods asks of the stores: arithmetic on the config. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Config, Login, StoreKind};
use super::plan;
use crate::secret::{SecretName, StoreName};

/// What all pods together ask of one store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests a second, day in day out, for what is polled. Renewals of leases and logins come on
    /// top: two for each of their lives.
    pub polls: f64,
    /// Requests when all start at once.
    pub start: f64,
}

/// What `pods` pods ask of each store that is not a file.
pub fn loads(config: &Config, used: &BTreeSet<SecretName>, pods: u32) -> BTreeMap<StoreName, Load> {
    let mut loads: BTreeMap<StoreName, Load> = BTreeMap::new();
    for (_, secret) in config.secrets.iter().filter(|(name, _)| used.contains(*name)) {
        let name = &secret.from.store;
        let login = match config.stores.get(name) {
            None | Some(StoreKind::Local(_)) => continue,
            Some(StoreKind::Vault(vault)) if !matches!(vault.login, Login::Token(_)) => {
                f64::from(pods)
            }
            Some(_) => 0.0,
        };
        let load =
            loads.entry(name.clone()).or_insert_with(|| Load { start: login, ..Load::default() });
        load.start += f64::from(pods);
        if plan::is_polled(secret) {
            load.polls += f64::from(pods) / secret.refresh.as_secs_f64().max(0.001);
        }
    }
    loads
}
