//! `check --live`: logs in, asks for each secret, and for what the policy allows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::agent::config::{Config, SecretConfig, StoreKind, plan};
use crate::agent::pipeline;
use crate::agent::reason::{Reason, Report};
use crate::agent::rotate;
use crate::agent::store::{Need, Store, Wanted, needs, policy};
use crate::secret::StoreName;

/// What the stores said.
#[derive(Default)]
pub(super) struct Live {
    /// What can't be had.
    pub failures: Vec<Report>,
    /// What each store of kind `vault` allows.
    pub access: Vec<Access>,
}

/// What one store allows us.
pub(super) struct Access {
    store: StoreName,
    identity: String,
    /// What is needed, and what we may do there.
    rows: Vec<(Need, Vec<String>)>,
}

impl Access {
    fn missing(&self) -> Vec<&Need> {
        let missing = self.rows.iter().filter(|(need, may)| !need.is_met(may));
        missing.map(|(need, _)| need).collect()
    }

    /// For people: a table, and the policy that is missing.
    pub fn to_text(&self) -> String {
        let mut rows = vec![["ASKED", "PATH", "NEEDS", "MAY", ""].map(String::from).to_vec()];
        for (need, may) in &self.rows {
            let verdict = match (need.is_met(may), need.required) {
                (true, _) => "ok".to_owned(),
                (false, true) => format!("missing: {}", need.what_for),
                (false, false) => format!("better with it: {}", need.what_for),
            };
            rows.push(vec![
                self.store.to_string(),
                need.path.clone(),
                need.capability.to_owned(),
                may.join(","),
                verdict,
            ]);
        }
        let table = plan::table(&rows);
        let missing = self.missing();
        if missing.is_empty() {
            return table;
        }
        let policy = policy(missing);
        format!("{table}\nadd to the policy of {}:\n\n{policy}", self.identity)
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let paths = self.rows.iter().map(|(need, may)| {
            json!({
                "path": need.path, "needs": need.capability, "may": may,
                "ok": need.is_met(may), "required": need.required, "for": need.what_for,
            })
        });
        json!({
            "store": self.store.as_str(),
            "paths": paths.collect::<Vec<_>>(),
            "policy": policy(self.rows.iter().map(|(need, _)| need)),
            "missing_policy": policy(self.missing()),
        })
    }
}

/// Logs in to each store and reads each secret that something uses; nothing is kept or delivered.
pub(super) fn ask(config: &Config) -> Live {
    let failed = |report| Live { failures: vec![report], ..Live::default() };
    let named = pipeline::named_secrets(config);
    let used: Vec<&SecretConfig> =
        config.secrets.iter().filter(|(name, _)| named.contains(name)).map(|(_, s)| s).collect();
    let wanted: BTreeSet<StoreName> = used.iter().map(|s| s.from.store.clone()).collect();
    let stores = match pipeline::stores(&config.stores, &wanted) {
        Ok(stores) => stores,
        Err(report) => return failed(report),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return failed(Report::new(Reason::Bug, "can't start", "the kernel gives no event queue"));
    };
    runtime.block_on(async {
        let mut live = Live::default();
        for secret in &used {
            let Some(store) = stores.get(&secret.from.store) else { continue };
            if let Err(report) = try_out(store, secret).await
                && !secret.optional
            {
                live.failures.push(report);
            }
        }
        for (name, store) in &stores {
            live.access.extend(access(config, name, store, &used).await);
        }
        for store in stores.values().filter(|store| store.session_is_ours()) {
            store.logout().await;
        }
        live.failures.dedup();
        live
    })
}

/// Whether a secret can be had. One that would be made for the asking is not: the store is asked
/// whether it would be.
async fn try_out(store: &Store, secret: &SecretConfig) -> Result<(), Report> {
    let (from, now) = (&secret.from, rotate::now().0);
    if store.only_reads() {
        let files = pipeline::parameter_files(&secret.with)?;
        let wanted = Wanted { files: &files, ..Wanted::plain(from, &secret.with, now) };
        return store.fetch(wanted).await.map(drop).map_err(|error| error.report());
    }
    let writes = !secret.with.is_empty();
    let makes = store.makes(from, now).await.map_err(|error| error.report())?;
    if secret.leased || writes || makes {
        return store.may(from, writes, now).await.map_err(|error| error.report());
    }
    let wanted = Wanted { engine: secret.engine, ..Wanted::plain(from, &secret.with, now) };
    store.fetch(wanted).await.map(drop).map_err(|error| error.report())
}

/// What one store allows; nothing for a store that has no policies or does not say.
async fn access(
    config: &Config,
    name: &StoreName,
    store: &Store,
    used: &[&SecretConfig],
) -> Option<Access> {
    let kind = config.stores.get(name)?;
    let StoreKind::Vault(_) = kind else { return None };
    let needs = needs(used.iter().copied().filter(|secret| secret.from.store == *name));
    let paths: BTreeSet<String> = needs.iter().map(|need| need.path.clone()).collect();
    let paths: Vec<String> = paths.into_iter().collect();
    let may: BTreeMap<String, Vec<String>> =
        store.capabilities(&paths, rotate::now().0).await.ok()?;
    let row = |need: Need| {
        let may = may.get(&need.path).cloned().unwrap_or_default();
        (need, may)
    };
    let rows = needs.into_iter().map(row).collect();
    Some(Access { store: name.clone(), identity: plan::identity(kind), rows })
}
