//! `secrets:`: what is fetched, and how often.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::decode::{At, Decode, Named};
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::{Engine, OnDelete, SecretConfig, SecretRef};
use super::super::raw::{RawReference, RawSecret};
use super::super::reference::{ReferenceError, parse_reference};
use super::super::yaml::{Kind, Node};
use super::{Context, choice};
use crate::secret::{FieldPath, SecretName, StoreName};

/// How often a secret is asked for when nobody says.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Asking more often is a load on the store and no gain for anybody.
const SHORTEST: Duration = Duration::from_millis(500);

impl Context<'_> {
    pub(super) fn secrets(
        &mut self,
        raw: Option<Named<RawSecret>>,
        stores: &[String],
        refresh: Option<Duration>,
    ) -> BTreeMap<SecretName, At<SecretConfig>> {
        let mut secrets = BTreeMap::new();
        for (name, secret) in raw.into_iter().flatten() {
            let parsed = self.named("a secret", &name, SecretName::parse);
            let span = name.span.clone();
            let config = self.secret(&name.value, secret, stores, refresh);
            if let (Some(name), Some(value)) = (parsed, config) {
                secrets.insert(name, At { value, span });
            }
        }
        secrets
    }

    fn secret(
        &mut self,
        name: &str,
        secret: At<RawSecret>,
        stores: &[String],
        refresh: Option<Duration>,
    ) -> Option<SecretConfig> {
        let (raw, span) = (secret.value, secret.span);
        self.not_yet_of_secret(&raw);
        let engine = raw.engine.as_ref().and_then(|engine| match engine.value.as_str() {
            "kv1" => Some(Engine::Kv1),
            "kv2" => Some(Engine::Kv2),
            "raw" => Some(Engine::Raw),
            other => {
                self.mistakes.push(choice(&engine.span, "engine", other, &["kv1", "kv2", "raw"]));
                None
            }
        });
        let asked = raw.refresh.as_ref().map(|refresh| refresh.value.0);
        let short = asked.is_some_and(|asked| asked < SHORTEST);
        if let (true, Some(refresh)) = (short, &raw.refresh) {
            self.mistakes.push(Mistake::new(
                &refresh.span,
                format!("the refresh of `{name}` is too short"),
                "below 500ms it is a load on the store and no gain",
                "write 500ms or more; 1m suits most secrets",
            ));
        }
        let Some(from) = &raw.from else {
            self.mistakes.push(Mistake::new(
                &span,
                format!("secret `{name}` has no `from`"),
                "nothing says where it comes from",
                "add `from: \"STORE:PATH\"`",
            ));
            return None;
        };
        let from = self.reference(&from.value, stores)?;
        let creds = from.path.contains("/creds/");
        Some(SecretConfig {
            leased: raw.lease.as_ref().map_or(creds, |lease| lease.value),
            engine,
            refresh: asked.or(refresh).unwrap_or(REFRESH).max(SHORTEST),
            optional: raw.optional.is_some_and(|optional| optional.value),
            on_delete: OnDelete::Keep,
            from,
        })
    }

    fn not_yet_of_secret(&mut self, raw: &RawSecret) {
        if let Some(with) = &raw.with {
            self.mistakes.push(Mistake::not_yet(
                &with.span,
                "`with` is not there yet",
                "remove it; secrets that need parameters can't be fetched by this version",
            ));
        }
        if let Some(allow) = &raw.allow_expiry {
            self.mistakes.push(Mistake::not_yet(
                &allow.span,
                "`allow_expiry` is not there yet",
                "remove it; this version refuses answers with a lease",
            ));
        }
        let Some(on_delete) = &raw.on_delete else { return };
        match on_delete.value.as_str() {
            "keep" => {}
            "remove" | "fail" => self.mistakes.push(Mistake::not_yet(
                &on_delete.span,
                format!("`on_delete: {}` is not there yet", on_delete.value),
                "write `on_delete: keep`: the last good file stays, and the deletion is reported",
            )),
            other => {
                let known = ["keep", "remove", "fail"];
                self.mistakes.push(choice(&on_delete.span, "on_delete", other, &known));
            }
        }
    }

    /// Reads the short or the long form.
    fn reference(&mut self, from: &Node, stores: &[String]) -> Option<SecretRef> {
        if let Kind::Map(_) = &from.kind {
            return self.long_form(from, stores);
        }
        let text = String::decode(from, &mut self.mistakes)?;
        let is_store = |name: &str| stores.iter().any(|store| store == name);
        match parse_reference(&text, &is_store) {
            Ok(reference) => Some(reference),
            Err(error) => {
                self.bad_reference(&text, &error, &from.span, stores);
                None
            }
        }
    }

    fn bad_reference(
        &mut self,
        text: &str,
        error: &ReferenceError,
        span: &Span,
        stores: &[String],
    ) {
        let known: Vec<&str> = stores.iter().map(String::as_str).collect();
        let hint = match error {
            ReferenceError::UnknownStore(store) => suggest(store, &known),
            ReferenceError::NoStore => match known.first() {
                Some(store) => format!("write `{store}:{text}`"),
                None => "name the store in front: `STORE:PATH`".to_owned(),
            },
            _ => "for example `vault:secret/data/app#password@3`, or the long form `{ store, path, field, version }`".to_owned(),
        };
        let what = format!("`{}` is not a reference", text.escape_debug());
        self.mistakes.push(Mistake::new(span, what, error.to_string(), hint));
    }

    fn long_form(&mut self, from: &Node, stores: &[String]) -> Option<SecretRef> {
        let raw = RawReference::decode(from, &mut self.mistakes)?;
        let (Some(store), Some(path)) = (raw.store, raw.path.filter(|p| !p.value.is_empty()))
        else {
            self.mistakes.push(Mistake::new(
                &from.span,
                "a reference without store or path",
                "both are needed",
                "write `{ store: NAME, path: PATH }`",
            ));
            return None;
        };
        let known: Vec<&str> = stores.iter().map(String::as_str).collect();
        let name =
            StoreName::parse(&store.value).ok().filter(|_| known.contains(&store.value.as_str()));
        if name.is_none() {
            self.mistakes.push(Mistake::new(
                &store.span,
                format!("there is no store `{}`", store.value.escape_debug()),
                "it is not in `stores:`",
                suggest(&store.value, &known),
            ));
        }
        Some(SecretRef {
            store: name?,
            path: path.value,
            field: raw.field.map_or(FieldPath::Whole, |field| FieldPath::Field(field.value)),
            version: raw.version.map(|version| version.value),
        })
    }
}
