//! `stores:`: how each is reached, and how we log in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::decode::{At, Named};
use super::super::mistake::{Mistake, Span};
use super::super::model::{LocalConfig, StoreKind};
use super::super::raw::RawStore;
use super::{Context, choice};
use crate::secret::StoreName;

impl Context<'_> {
    pub(super) fn stores(&mut self, raw: &Named<RawStore>) -> BTreeMap<StoreName, StoreKind> {
        let mut stores = BTreeMap::new();
        let mut first_vault = None;
        for (name, store) in &raw.entries {
            let parsed = self.named("a store", name, StoreName::parse);
            let kind = self.store(name, store);
            if matches!(kind, Some(StoreKind::Vault(_))) {
                first_vault = first_vault.or(Some(&name.span));
            }
            if let (Some(name), Some(kind)) = (parsed, kind) {
                stores.insert(name, kind);
            }
        }
        if let Some(span) = first_vault {
            self.refuse_skip_verify(span);
        }
        stores
    }

    /// Reads a name, or says why it is none.
    pub(super) fn named<T>(
        &mut self,
        noun: &str,
        name: &At<String>,
        parse: impl Fn(&str) -> Result<T, crate::secret::NameError>,
    ) -> Option<T> {
        parse(&name.value)
            .map_err(|error| {
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("`{}` can't be the name of {noun}", name.shown),
                    error.to_string(),
                    "rename it",
                ));
            })
            .ok()
    }

    fn store(&mut self, name: &At<String>, store: &At<RawStore>) -> Option<StoreKind> {
        let raw = &store.value;
        let Some(kind) = &raw.kind else {
            if !raw.wrong.contains(&"kind") {
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("store `{}` has no `kind`", name.shown),
                    "the kind says how the store is spoken to",
                    "write `kind: vault` (Vault, OpenBao), `kind: aws` or `kind: local` (an encrypted file)",
                ));
            }
            return None;
        };
        match kind.value.as_str() {
            "vault" => {
                self.only_for(raw, "vault", &[LOCAL, AWS]);
                self.built_in("vault", cfg!(feature = "vault"), &kind.span);
                Some(StoreKind::Vault(self.vault(name, raw)?))
            }
            "local" => {
                self.only_for(raw, "local", &[CA, VAULT, AWS]);
                self.built_in("local", cfg!(feature = "local"), &kind.span);
                let file = self.needed(name, "file", raw.file.as_ref(), &raw.wrong);
                let key_file = self.needed(name, "key_file", raw.key_file.as_ref(), &raw.wrong);
                Some(StoreKind::Local(LocalConfig { file: file?, key_file: key_file? }))
            }
            "aws" => {
                self.only_for(raw, "aws", &[VAULT, LOCAL]);
                self.built_in("aws", cfg!(feature = "aws"), &kind.span);
                Some(StoreKind::Aws(self.aws(name, raw)?))
            }
            _ => {
                self.mistakes.push(choice("kind", kind, &["vault", "local", "aws"]));
                None
            }
        }
    }

    /// A kind of store that this binary was built without.
    fn built_in(&mut self, kind: &str, there: bool, span: &Span) {
        if !there {
            self.mistakes.push(Mistake::new(
                span,
                format!("this build of Sidekey has no stores of kind `{kind}`"),
                "it was built without them",
                format!("build it with the feature `{kind}`, or use the image that is published"),
            ));
        }
    }

    /// Notes keys that belong to other kinds of store.
    fn only_for(&mut self, raw: &RawStore, kind: &str, foreign: &[fn(&RawStore) -> Keys<'_>]) {
        for (key, span) in foreign.iter().flat_map(|keys| keys(raw)) {
            if let Some(span) = span {
                self.mistakes.push(Mistake::new(
                    span,
                    format!("`{key}` has no meaning for a store of kind `{kind}`"),
                    "it belongs to another kind of store",
                    "remove the key, or change `kind`",
                ));
            }
        }
    }

    /// A path that a store or login can't do without. `wrong` are the keys that were written wrongly.
    pub(super) fn needed(
        &mut self,
        of: &At<String>,
        key: &str,
        value: Option<&At<String>>,
        wrong: &[&str],
    ) -> Option<PathBuf> {
        match value {
            Some(path) => self.path(path),
            None if wrong.contains(&key) => None,
            None => {
                self.mistakes.push(Mistake::new(
                    &of.span,
                    format!("`{}` has no `{key}`", of.shown),
                    "it can't do without",
                    format!("add `{key}: PATH`"),
                ));
                None
            }
        }
    }

    /// The path of an input file; a relative one is relative to where Sidekey is started.
    pub(super) fn path(&mut self, path: &At<String>) -> Option<PathBuf> {
        let hint = match path.value.as_str() {
            "" => "write the path of the file",
            text if text.starts_with("~/") => "write `${HOME}/…`: nothing expands `~` here",
            text if text.ends_with('/') => "write the path of the file, not of its directory",
            _ => return Some(PathBuf::from(&path.value)),
        };
        self.mistakes.push(Mistake::new(
            &path.span,
            format!("`{}` is not the path of a file", path.shown),
            "it is read as it stands",
            hint,
        ));
        None
    }
}

type Keys<'a> = Vec<(&'static str, Option<&'a Span>)>;

fn span<T>(value: Option<&At<T>>) -> Option<&Span> {
    value.map(|value| &value.span)
}

const LOCAL: fn(&RawStore) -> Keys<'_> =
    |raw| vec![("file", span(raw.file.as_ref())), ("key_file", span(raw.key_file.as_ref()))];

const AWS: fn(&RawStore) -> Keys<'_> = |raw| {
    vec![
        ("region", span(raw.region.as_ref())),
        ("endpoint", span(raw.endpoint.as_ref())),
        ("endpoints", span(raw.endpoints.as_ref())),
        ("fips", span(raw.fips.as_ref())),
        ("dual_stack", span(raw.dual_stack.as_ref())),
        ("role_arn", span(raw.role_arn.as_ref())),
        ("external_id", span(raw.external_id.as_ref())),
    ]
};

const CA: fn(&RawStore) -> Keys<'_> = |raw| vec![("ca_file", span(raw.ca_file.as_ref()))];

const VAULT: fn(&RawStore) -> Keys<'_> = |raw| {
    vec![
        ("address", span(raw.address.as_ref())),
        ("namespace", span(raw.namespace.as_ref())),
        ("client_cert_file", span(raw.client_cert_file.as_ref())),
        ("client_key_file", span(raw.client_key_file.as_ref())),
        ("redirect_hosts", span(raw.redirect_hosts.as_ref())),
        ("login", span(raw.login.as_ref())),
    ]
};
