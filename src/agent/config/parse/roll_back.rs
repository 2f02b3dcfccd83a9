//! `otherwise: roll_back`: only where the old value is still good.

use std::collections::BTreeMap;

use super::super::decode::At;
use super::super::mistake::{Mistake, Span};
use super::super::model::{
    Engine, GroupConfig, HookConfig, Otherwise, SecretConfig, StoreKind, Trigger,
};
use super::Context;
use crate::secret::{SecretName, StoreName};

/// Parts of a Vault's path that stand for a value made or changed by the store itself.
const MADE_ANEW: [&str; 6] = ["issue", "sign", "sign-verbatim", "static-creds", "decrypt", "otp"];

impl Context<'_> {
    /// Notes the secrets whose old value is no longer good when `hook` would put it back.
    pub(super) fn roll_back_can_work(
        &mut self,
        hook: &HookConfig,
        span: &Span,
        groups: &[GroupConfig],
        secrets: &BTreeMap<SecretName, At<SecretConfig>>,
        stores: &BTreeMap<StoreName, StoreKind>,
    ) {
        let rolls_back = matches!(&hook.confirm, Some(c) if c.otherwise == Otherwise::RollBack);
        if !rolls_back {
            return;
        }
        let concerned = groups.iter().filter(|group| {
            hook.when.is_empty()
                || hook.when.iter().any(|trigger| match trigger {
                    Trigger::File(file) => group.files.contains(file),
                    Trigger::Group(name) => group.given.as_ref() == Some(name),
                })
        });
        let mut names: Vec<&SecretName> = concerned.flat_map(|group| &group.secrets).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let Some(secret) = secrets.get(name).map(|secret| &secret.value) else { continue };
            if let Some(why) = why_not(secret, stores.get(&secret.from.store)) {
                self.mistakes.push(Mistake::new(
                    span,
                    format!("`roll_back` can't work for the secret `{name}`"),
                    why,
                    if secret.leased {
                        "write `otherwise: report`, narrow the hook with `when`, or say `lease: false` if the secret has none"
                    } else {
                        "write `otherwise: report` or `restart`, or narrow the hook with `when`"
                    },
                ));
            }
        }
    }
}

/// Why the value before is of no use, as far as the config can know.
fn why_not(secret: &SecretConfig, store: Option<&StoreKind>) -> Option<&'static str> {
    if matches!(store, Some(StoreKind::Local(_))) {
        return None;
    }
    if secret.leased {
        return Some("it has a lease: once that ends, the old value is no longer good");
    }
    if matches!(secret.engine, Some(Engine::Kv1 | Engine::Kv2)) {
        return None;
    }
    let made = secret.from.path.split('/').skip(1).any(|part| MADE_ANEW.contains(&part));
    let in_kv2 = secret.from.path.split('/').nth(1) == Some("data");
    (made && !in_kv2)
        .then_some("it is no key-value secret: the store makes it anew, and the old value ends")
}
