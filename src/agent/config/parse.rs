//! From what a user wrote to what the program relies on.

mod files;
mod hooks;
mod places;
mod secrets;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::decode::{At, Decode, Named, Sink};
use super::group;
use super::mistake::{Mistake, Mistakes, Span, suggest};
use super::model::{Config, FieldRef, Then, WhenDown};
use super::raw::RawConfig;
use super::source::Source;
use super::{reference, substitute, yaml};
use crate::agent::reason::Reason;
use crate::secret::SecretName;

/// What the config may depend on besides its text.
pub struct Surroundings<'a> {
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The uid we run as.
    pub uid: u32,
    /// Whether we run in a pod.
    pub in_pod: bool,
}

/// A valid config, and what is not wrong but will hurt.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The config.
    pub config: Config,
    /// What will hurt.
    pub warnings: Vec<Mistake>,
}

/// Everything that conversions share.
struct Context<'a> {
    around: &'a Surroundings<'a>,
    mistakes: Sink,
    warnings: Sink,
}

/// Reads a whole config. Every mistake is found; nothing is connected to or opened.
pub fn parse(source: &Source, around: &Surroundings<'_>) -> Result<Parsed, Mistakes> {
    let mut context = Context { around, mistakes: Vec::new(), warnings: Vec::new() };
    let config = context.read(&source.text);
    match config {
        Some(config) if context.mistakes.is_empty() => {
            Ok(Parsed { config, warnings: context.warnings })
        }
        _ => {
            context.mistakes.sort_by_key(|mistake| (mistake.span.line, mistake.span.column));
            context.mistakes.dedup();
            Err(Mistakes {
                origin: source.origin.to_string(),
                text: source.text.clone(),
                mistakes: context.mistakes,
            })
        }
    }
}

impl Context<'_> {
    fn read(&mut self, text: &str) -> Option<Config> {
        if self.is_of_another_tool(text) {
            return None;
        }
        let Some(mut root) = yaml::parse(text, &mut self.mistakes) else {
            if self.mistakes.is_empty() {
                self.empty();
            }
            return None;
        };
        substitute::tree(&mut root, self.around.env, &mut self.mistakes);
        let raw = RawConfig::decode(&root, &mut self.mistakes)?;
        Some(self.config(raw, &root.span))
    }

    fn empty(&mut self) {
        self.mistakes.push(Mistake::new(
            &Span { bytes: 0..0, line: 1, column: 1 },
            "the config is empty",
            "nothing is said about stores, secrets or files",
            "begin with `stores:`, `secrets:` and `files:`; the README has a first config",
        ));
    }

    /// A config of Vault Agent and its like is HCL, and would give a hundred YAML mistakes.
    fn is_of_another_tool(&mut self, text: &str) -> bool {
        const BLOCKS: [&str; 6] = [
            "vault {",
            "auto_auth {",
            "template {",
            "listener \"",
            "pid_file =",
            "exit_after_auth =",
        ];
        let mut at = 0;
        for (number, line) in text.lines().enumerate() {
            if let Some(block) = BLOCKS.iter().find(|block| line.trim_start().starts_with(**block))
            {
                let span = Span { bytes: at..at + line.len(), line: number + 1, column: 1 };
                self.mistakes.push(Mistake::new(
                    &span,
                    "this is a config of Vault Agent or OpenBao's agent (HCL)",
                    format!("`{block}` begins a block of theirs"),
                    "Sidekey reads YAML: `stores:`, `secrets:`, `files:`; the README has a first config",
                ));
                return true;
            }
            at += line.len() + 1;
        }
        false
    }

    fn config(&mut self, raw: RawConfig, root: &Span) -> Config {
        self.refuse_skip_verify(root);
        let defaults = raw.defaults.map(|d| d.value).unwrap_or_default();
        let has_files = raw.files.is_some();
        let stores = self.stores(raw.stores.as_ref().map(|s| &s.value));
        let refresh = defaults.refresh.as_ref().map(|r| r.value.0);
        let known_secrets = names(raw.secrets.as_ref().map(|s| &s.value));
        let secrets = self.secrets(raw.secrets.map(|s| s.value), &names_of(&stores), refresh);
        let volumes = self.volumes(raw.volume.as_ref(), raw.volumes.as_ref(), has_files, root);
        let known_volumes = volumes.keys().map(ToString::to_string).collect::<Vec<_>>();
        let written = raw.files.map(|f| f.value);
        let files = self.files(written.as_ref(), &known_secrets, &known_volumes, &defaults);
        let groups = group::compute(&files, written.as_ref(), &mut self.mistakes);
        let state = self.state(raw.state.as_ref(), &volumes);
        let env = self.env(raw.env.as_ref().map(|e| &e.value), &known_secrets);
        let health = self.health(raw.health.map(|h| h.value));
        let metrics = self.metrics(raw.metrics.map(|m| m.value));
        let when_down = self.when_down(raw.when_down.map(|w| w.value));
        if let Some(revoke) = &raw.revoke {
            self.mistakes.push(Mistake::not_yet(
                &revoke.span,
                "`revoke` is not there yet",
                "remove it: this version keeps no leases that could be revoked",
            ));
        }
        let hooks = raw.on_change.map(|h| h.value).unwrap_or_default();
        let on_change = self.hooks(hooks, &groups, &secrets, &volumes);
        let init_within = raw
            .init
            .and_then(|init| init.value.within)
            .map_or(Duration::from_secs(180), |within| within.value.0);
        self.warn_of_unused(&secrets, &files, &env, root, state.is_some());
        Config {
            stores,
            secrets: secrets.into_iter().map(|(name, secret)| (name, secret.value)).collect(),
            files: files.into_iter().map(|(path, file)| (path, file.value)).collect(),
            groups,
            env,
            volumes,
            state,
            on_change,
            init_within,
            when_down,
            health,
            metrics,
        }
    }

    fn refuse_skip_verify(&mut self, root: &Span) {
        for name in ["BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"] {
            let set = (self.around.env)(name).is_some_and(|value| {
                !matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "f" | "false")
            });
            if set {
                self.mistakes.push(Mistake::new(
                    &Span { bytes: root.bytes.start..root.bytes.start, ..root.clone() },
                    format!("`{name}` is set"),
                    "it would switch off the verification of the store's certificate",
                    format!("unset {name}, and name the store's CA with `ca_file`"),
                ));
            }
        }
    }

    fn env(
        &mut self,
        raw: Option<&Named<String>>,
        secrets: &[String],
    ) -> BTreeMap<String, FieldRef> {
        let mut env = BTreeMap::new();
        for (name, value) in raw.into_iter().flatten() {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.value.is_empty()
                || name.value.starts_with(|c: char| c.is_ascii_digit())
                || !name.value.bytes().all(good)
            {
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("`{}` is not a variable's name", name.value.escape_debug()),
                    "a name is made of letters, digits and `_`, and does not begin with a digit",
                    "rename it",
                ));
            }
            if let Some(field) = self.field(&value.value, &value.span, secrets) {
                env.insert(name.value.clone(), field);
            }
        }
        env
    }

    /// Reads `NAME.FIELD` and checks that there is such a secret.
    fn field(&mut self, text: &str, span: &Span, secrets: &[String]) -> Option<FieldRef> {
        let Some(field) = reference::parse_field(text) else {
            self.mistakes.push(Mistake::new(
                span,
                format!("`{}` does not name a secret", text.escape_debug()),
                "it is NAME, NAME.FIELD or NAME/a/b, with `?` behind what may be missing",
                "write the name from `secrets:`, a dot, and the field",
            ));
            return None;
        };
        if secrets.iter().any(|name| name == field.secret.as_str()) {
            return Some(field);
        }
        let known: Vec<&str> = secrets.iter().map(String::as_str).collect();
        self.mistakes.push(Mistake::new(
            span,
            format!("there is no secret `{}`", field.secret),
            "it is not in `secrets:`",
            suggest(field.secret.as_str(), &known),
        ));
        None
    }

    fn when_down(&mut self, raw: Option<super::raw::RawWhenDown>) -> WhenDown {
        let raw = raw.unwrap_or_default();
        if let Some(then) = &raw.then {
            match then.value.as_str() {
                "keep" => {}
                "unready" | "exit" => self.mistakes.push(Mistake::not_yet(
                    &then.span,
                    format!("`then: {}` is not there yet", then.value),
                    "write `then: keep`: the files stay, and the reason `stale` is reported",
                )),
                other => self.mistakes.push(choice(
                    &then.span,
                    "then",
                    other,
                    &["keep", "unready", "exit"],
                )),
            }
        }
        WhenDown { serve_stale_for: raw.serve_stale_for.map(|s| s.value.0), then: Then::Keep }
    }

    fn warn_of_unused(
        &mut self,
        secrets: &BTreeMap<SecretName, At<super::SecretConfig>>,
        files: &BTreeMap<crate::secret::FilePath, At<super::FileConfig>>,
        env: &BTreeMap<String, FieldRef>,
        root: &Span,
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
            } else if secret.value.leased {
                self.warnings.push(
                    Mistake::new(
                        &secret.span,
                        format!("the secret `{name}` comes with a lease"),
                        "this version can't look after leases: it revokes them and refuses the answer",
                        "wait for a version with leases; `lease: false` if this path has none",
                    )
                    .because(Reason::LeaseUnexpected),
                );
            }
        }
        if !has_state {
            let span = Span { bytes: root.bytes.start..root.bytes.start, ..root.clone() };
            self.warnings.push(
                Mistake::new(
                    &span,
                    "there is no `state`",
                    "nothing is handed over at a restart: each start logs in anew",
                    "give `state: { path: … }` on a second tmpfs that only Sidekey mounts",
                )
                .because(Reason::NoHandover),
            );
        }
    }
}

/// A word that is none of those that may stand there.
fn choice(span: &Span, key: &str, written: &str, known: &[&str]) -> Mistake {
    Mistake::new(
        span,
        format!("`{}` is no value of `{key}`", written.escape_debug()),
        format!("it is one of {}", known.join(", ")),
        suggest(written, known),
    )
}

fn names<T>(raw: Option<&Named<T>>) -> Vec<String> {
    raw.into_iter().flatten().map(|(name, _)| name.value.clone()).collect()
}

fn names_of<K: ToString, V>(map: &BTreeMap<K, V>) -> Vec<String> {
    map.keys().map(ToString::to_string).collect()
}
