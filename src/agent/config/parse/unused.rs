//! Warnings: what is not wrong, and will hurt or does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::decode::{At, Named};
use super::super::mistake::{Mistake, Span};
use super::super::model::{FieldRef, FileConfig, SecretConfig, StoreKind};
use super::super::raw::{RawHook, RawStore, RawVolume};
use super::Context;
use crate::agent::reason::Reason;
use crate::secret::{FilePath, SecretName, StoreName};

impl Context<'_> {
    pub(super) fn warn_of_stores(
        &mut self,
        stores: &BTreeMap<StoreName, StoreKind>,
        raw: &Named<RawStore>,
        secrets: &BTreeMap<SecretName, At<SecretConfig>>,
    ) {
        for (name, store) in &raw.entries {
            let Some(kind) = StoreName::parse(&name.value).ok().and_then(|n| stores.get(&n)) else {
                continue;
            };
            let used = secrets.values().any(|s| s.value.from.store.as_str() == name.value);
            if !used && !secrets.is_empty() {
                self.warnings.push(Mistake::new(
                    &name.span,
                    format!("no secret comes from the store `{}`", name.shown),
                    "only `sidekey get` can use it",
                    "use it, or remove it",
                ));
            }
            if let StoreKind::Vault(vault) = kind
                && is_plain_and_far(&vault.address)
            {
                let address = store.value.address.as_ref().map(|address| &address.span);
                self.warnings.push(Mistake::new(
                    address.unwrap_or(&name.span),
                    format!("the store `{}` is spoken to without TLS", name.shown),
                    "everybody on the way can read the login and the secrets",
                    "write `https://`, and `ca_file` if the store has a CA of its own",
                ));
            }
        }
    }

    pub(super) fn warn_of_secrets(
        &mut self,
        secrets: &BTreeMap<SecretName, At<SecretConfig>>,
        files: &BTreeMap<FilePath, At<FileConfig>>,
        env: &BTreeMap<String, FieldRef>,
        has_state: bool,
    ) {
        let in_files = files.values().flat_map(|file| file.value.secrets());
        let used: BTreeSet<&SecretName> =
            in_files.chain(env.values().map(|field| &field.secret)).collect();
        for (name, secret) in secrets {
            if !used.contains(name) {
                self.warnings.push(Mistake::new(
                    &secret.span,
                    format!("nothing uses the secret `{name}`"),
                    "no file and no variable names it, so it is never fetched",
                    "use it, or remove it",
                ));
            } else if secret.value.leased && !secret.value.allow_expiry && !has_state {
                self.warnings.push(
                    Mistake::new(
                        &secret.span,
                        format!("the secret `{name}` comes with a lease, and there is no `state`"),
                        "`sidekey init` refuses this config (exit 78), since nobody would renew the lease; `sidekey run` takes it, and each restart takes out another lease",
                        "give `state: { path: … }` on a second tmpfs; for a Job that is over before the lease is, say `allow_expiry: true`",
                    )
                    .because(Reason::NoHandover),
                );
            }
        }
    }

    /// Readers that look at who owns a key before they read it.
    pub(super) fn warn_of_keys(&mut self, files: &BTreeMap<FilePath, At<FileConfig>>) {
        for (path, file) in files {
            let (mode, owner) = (file.value.mode, file.value.owner_user);
            let Some((reader, demand)) = demanding_reader(path.as_str(), mode, owner) else {
                continue;
            };
            self.warnings.push(Mistake::new(
                &file.span,
                format!("{reader} may refuse `{path}` with mode {mode:04o}"),
                demand,
                "say `mode: \"0400\"` and `owner_user: UID` with the reader's uid, and run Sidekey as that \
                 uid (weaker: see `check`), or as root (`owner_user: 0` is enough for libpq)",
            ));
        }
    }

    pub(super) fn warn_of_volumes(
        &mut self,
        files: &BTreeMap<FilePath, At<FileConfig>>,
        several: Option<&At<Named<RawVolume>>>,
    ) {
        for (name, _) in several.iter().flat_map(|several| &several.value.entries) {
            if !files.values().any(|file| file.value.volume.as_str() == name.value) {
                self.warnings.push(Mistake::new(
                    &name.span,
                    format!("no file stands on the volume `{}`", name.shown),
                    "it would show an empty generation",
                    "put a file on it with `volume:`, or remove it",
                ));
            }
        }
    }

    pub(super) fn warn_of_hooks(&mut self, no_files: bool, hooks: &[At<RawHook>]) {
        if let (true, Some(hook)) = (no_files, hooks.first()) {
            self.warnings.push(Mistake::new(
                &hook.span,
                "this hook is never called",
                "there are no files that could change",
                "add `files:`, or remove `on_change:`",
            ));
        }
    }

    pub(super) fn warn_of_no_state(&mut self, root: &Span) {
        self.warnings.push(
            Mistake::new(
                root,
                "there is no `state`",
                "nothing is handed over at a restart: each start logs in anew",
                "give `state: { path: … }` on a second tmpfs that only Sidekey mounts",
            )
            .because(Reason::NoHandover),
        );
    }
}

/// Who reads a file of this name, and what it demands that this mode does not give.
fn demanding_reader(
    path: &str,
    mode: u32,
    owner: Option<u32>,
) -> Option<(&'static str, &'static str)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let open_to_others = mode & 0o077 != 0;
    let is_pgpass = matches!(name, ".pgpass" | "pgpass" | "pgpass.conf");
    let is_key = Path::new(name).extension().is_some_and(|extension| extension == "key");
    let is_libpq = is_key && path.contains("postgres");
    let is_ssh = ["id_rsa", "id_ecdsa", "id_ed25519", "id_ed25519_sk"].contains(&name)
        || (name.starts_with("ssh_host_") && name.ends_with("_key"));
    if !open_to_others {
        None
    } else if is_pgpass {
        Some(("libpq", "it ignores a password file that a group or others may read"))
    } else if is_libpq && owner != Some(0) {
        Some(("libpq", "it takes a key that a group may read only if root owns it"))
    } else if is_ssh {
        Some(("ssh", "it refuses a key of its own uid that a group or others may read"))
    } else {
        None
    }
}

/// Whether an address is `http://` to another host than this one.
fn is_plain_and_far(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let near = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !near && name != "localhost"
}
