//! `secrets:`: what is fetched, and how often.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::aws::is_pinned;
use super::super::decode::{At, Decode, Named};
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::{Engine, OnDelete, SecretConfig, SecretRef};
use super::super::raw::{RawReference, RawSecret, RawStore};
use super::super::reference::{ReferenceError, check_path, long_field, parse_reference};
use super::super::units;
use super::super::yaml::{Kind, Node};
use super::{Context, choice};
use crate::secret::{FieldPath, SecretName, StoreName};

/// How often a secret is asked for when nobody says.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Asking more often is a load on the store and no gain for anybody.
const SHORTEST: Duration = Duration::from_millis(500);

/// The kind of the store that a reference names, as the config writes it.
fn kind_of<'a>(from: &SecretRef, stores: &'a Named<RawStore>) -> Option<&'a str> {
    let (_, store) = stores.entries.iter().find(|(name, _)| name.value == from.store.as_str())?;
    Some(store.value.kind.as_ref()?.value.as_str())
}

impl Context<'_> {
    pub(super) fn secrets(
        &mut self,
        raw: &Named<RawSecret>,
        stores: &Named<RawStore>,
        refresh: Option<Duration>,
    ) -> BTreeMap<SecretName, At<SecretConfig>> {
        let mut secrets = BTreeMap::new();
        for (name, secret) in &raw.entries {
            let parsed = self.named("a secret", name, SecretName::parse);
            let config = self.secret(name, secret, stores, refresh);
            if let (Some(parsed), Some(value)) = (parsed, config) {
                let shown = name.shown.clone();
                secrets.insert(parsed, At { value, span: name.span.clone(), shown });
            }
        }
        secrets
    }

    /// A refresh, if it leaves the store some peace.
    pub(super) fn refresh(&mut self, of: &str, refresh: &At<units::Span>) -> Duration {
        if refresh.value.0 < SHORTEST {
            self.mistakes.push(Mistake::new(
                &refresh.span,
                format!("the refresh of {of} is too short"),
                "below 500ms it is a load on the store and no gain",
                "write 500ms or more; 1m suits most secrets",
            ));
        }
        refresh.value.0.max(SHORTEST)
    }

    fn secret(
        &mut self,
        name: &At<String>,
        secret: &At<RawSecret>,
        stores: &Named<RawStore>,
        refresh: Option<Duration>,
    ) -> Option<SecretConfig> {
        let raw = &secret.value;
        let on_delete = self.on_delete(raw);
        let with = raw.with.as_ref().map(|with| self.parameters(&with.value)).unwrap_or_default();
        let engine = raw.engine.as_ref().and_then(|engine| self.engine(engine));
        let asked = raw.refresh.as_ref();
        let asked = asked.map(|refresh| self.refresh(&format!("`{}`", name.shown), refresh));
        let Some(from) = &raw.from else {
            if !raw.wrong.contains(&"from") {
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("secret `{}` has no `from`", name.shown),
                    "nothing says where it comes from",
                    "add `from: \"STORE:PATH\"`",
                ));
            }
            return None;
        };
        let span = &from.span;
        let from = self.reference(&from.value, &stores.known())?;
        self.fits_the_store(&from, span, raw, engine, stores);
        let kind = kind_of(&from, stores);
        let creds = from.path.split('/').skip(1).any(|part| part == "creds")
            && !from.path.ends_with("/creds")
            && kind != Some("aws");
        Some(SecretConfig {
            pinned: is_pinned(&from, kind == Some("aws")),
            leased: raw.lease.as_ref().map_or(creds, |lease| lease.value),
            engine,
            refresh: asked.or(refresh).unwrap_or(REFRESH),
            optional: raw.optional.as_ref().is_some_and(|optional| optional.value),
            on_delete,
            allow_expiry: raw.allow_expiry.as_ref().is_some_and(|allow| allow.value),
            with,
            from,
        })
    }

    fn engine(&mut self, engine: &At<String>) -> Option<Engine> {
        match engine.value.as_str() {
            "kv1" => Some(Engine::Kv1),
            "kv2" => Some(Engine::Kv2),
            "raw" => Some(Engine::Raw),
            _ => {
                self.mistakes.push(choice("engine", engine, &["kv1", "kv2", "raw"]));
                None
            }
        }
    }

    fn on_delete(&mut self, raw: &RawSecret) -> OnDelete {
        let Some(on_delete) = &raw.on_delete else { return OnDelete::Keep };
        match on_delete.value.as_str() {
            "remove" => return OnDelete::Remove,
            "fail" => return OnDelete::Fail,
            "keep" => {}
            _ => {
                let known = ["keep", "remove", "fail"];
                self.mistakes.push(choice("on_delete", on_delete, &known));
            }
        }
        OnDelete::Keep
    }

    /// What a kind of store can't do.
    fn fits_the_store(
        &mut self,
        from: &SecretRef,
        span: &Span,
        raw: &RawSecret,
        engine: Option<Engine>,
        stores: &Named<RawStore>,
    ) {
        let mut note = |span: &Span, what: &str, why: &str, hint: &str| {
            self.mistakes.push(Mistake::new(span, what, why, hint));
        };
        match kind_of(from, stores) {
            Some("aws") => self.fits_aws(from, span, raw),
            Some("local") => {
                if from.version.is_some() {
                    note(
                        span,
                        "a local store has no older versions",
                        "it holds one value of each secret",
                        "remove the `@` and what follows",
                    );
                }
                for (key, span) in [
                    ("with", raw.with.as_ref().map(|with| &with.span)),
                    ("engine", raw.engine.as_ref().map(|engine| &engine.span)),
                    ("lease", raw.lease.as_ref().map(|lease| &lease.span)),
                ] {
                    if let Some(span) = span {
                        let what = format!("`{key}` has no meaning for a local store");
                        note(
                            span,
                            &what,
                            "only a Vault has engines, parameters and leases",
                            "remove it",
                        );
                    }
                }
            }
            Some("vault") => {
                let number = |version: &String| version.parse::<u64>().is_ok_and(|n| n > 0);
                if from.version.as_ref().is_some_and(|version| !number(version)) {
                    note(
                        span,
                        "the version of a Vault's secret is a number",
                        "key-value version 2 counts versions from 1",
                        "write for example `@3`, or leave it out for the newest",
                    );
                }
                if from.version.is_some() && raw.with.is_some() {
                    note(
                        span,
                        "what is made for a request has no versions",
                        "`with` sends parameters, and each answer to them is new",
                        "remove the `@` and what follows, or `with`",
                    );
                }
                if from.version.is_some() && matches!(engine, Some(Engine::Kv1 | Engine::Raw)) {
                    note(
                        span,
                        "only key-value version 2 has older versions",
                        "`engine` says that this is something else",
                        "remove the `@` and what follows, or `engine`",
                    );
                }
                if from.path.contains("//") {
                    note(
                        span,
                        "the path has an empty part",
                        "names that begin with a slash are AWS's, and this store is a Vault",
                        "write the path without `//`",
                    );
                }
                if from.path.starts_with("v1/") {
                    note(
                        span,
                        "the path begins with `v1/`",
                        "`/v1/` is put in front of every path",
                        "write the path without it, as in `vault:secret/data/app`",
                    );
                }
            }
            _ => {}
        }
    }

    /// Reads the short or the long form.
    fn reference(&mut self, from: &Node, stores: &[&str]) -> Option<SecretRef> {
        if let Kind::Map(_) = &from.kind {
            return self.long_form(from, stores);
        }
        let text = At::<String>::decode(from, &mut self.mistakes)?;
        let is_store = |name: &str| stores.contains(&name);
        match parse_reference(&text.value, &is_store) {
            Ok(reference) => Some(reference),
            Err(error) => {
                self.bad_reference(&text, &error, stores);
                None
            }
        }
    }

    fn bad_reference(&mut self, text: &At<String>, error: &ReferenceError, stores: &[&str]) {
        let hint = match error {
            ReferenceError::UnknownStore(store) => suggest(store, stores),
            ReferenceError::NoStore => match stores.first() {
                Some(store) => format!("write `{store}:{}`", text.shown),
                None => "name the store in front: `STORE:PATH`".to_owned(),
            },
            ReferenceError::BadPath => {
                "write the API path as the store knows it, as in `vault:secret/data/app`".to_owned()
            }
            _ => "for example `vault:secret/data/app#password@3`, or the long form `{ store, path, field, version }`".to_owned(),
        };
        let what = format!("`{}` is not a reference", text.shown);
        // Part of the value stands in some of these errors, and a variable may have held it.
        let why = match error {
            ReferenceError::UnknownStore(_) | ReferenceError::BadStore(_)
                if text.shown.contains("${") =>
            {
                "what stands before the `:` is not in `stores:`".to_owned()
            }
            error => error.to_string(),
        };
        self.mistakes.push(Mistake::new(&text.span, what, why, hint));
    }

    fn long_form(&mut self, from: &Node, stores: &[&str]) -> Option<SecretRef> {
        let raw = RawReference::decode(from, &mut self.mistakes)?;
        for (key, given) in [("store", &raw.store), ("path", &raw.path)] {
            if given.is_none() && !raw.wrong.contains(&key) {
                self.mistakes.push(Mistake::new(
                    &from.span,
                    format!("the reference has no `{key}`"),
                    "`store` and `path` are both needed",
                    "write `{ store: NAME, path: PATH }`",
                ));
            }
        }
        let store = raw.store.and_then(|store| {
            let known = StoreName::parse(&store.value)
                .ok()
                .filter(|_| stores.contains(&store.value.as_str()));
            if known.is_none() {
                self.mistakes.push(Mistake::new(
                    &store.span,
                    format!("there is no store `{}`", store.shown),
                    "it is not in `stores:`",
                    suggest(&store.value, stores),
                ));
            }
            known
        });
        let mut note = |of: &At<String>, error: &ReferenceError| {
            self.mistakes.push(Mistake::new(
                &of.span,
                format!("`{}` can't be a part of a reference", of.shown),
                error.to_string(),
                "write it as the store knows it; nothing is percent-encoded in the long form",
            ));
        };
        let path = raw.path.and_then(|path| match check_path(&path.value) {
            Ok(()) => Some(path.value),
            Err(error) => {
                note(&path, &error);
                None
            }
        });
        let field = match &raw.field {
            None => FieldPath::Whole,
            Some(field) => long_field(&field.value).map_err(|error| note(field, &error)).ok()?,
        };
        let version = raw.version.map(|version| version.value);
        Some(SecretRef { store: store?, path: path?, field, version })
    }
}
