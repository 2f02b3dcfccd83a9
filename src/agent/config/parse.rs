//! From what a user wrote to what the program relies on.

mod aws;
mod confirm;
mod files;
mod foreign;
mod hooks;
mod http;
mod login;
mod parameters;
mod places;
mod process;
mod roll_back;
mod secrets;
mod stores;
mod template;
mod unused;
mod vault;

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{At, Decode, Named, Sink};
use super::group;
use super::mistake::{Mistake, Mistakes, Span, suggest};
use super::model::{Config, FieldRef, RevokeConfig, Then, WhenDown};
use super::raw::RawConfig;
use super::source::Source;
use super::{pod, reference, substitute, yaml};

/// How long the first delivery may take unless the config says otherwise.
const INIT_WITHIN: Duration = Duration::from_secs(180);
/// How long an old credential lives on after a switch unless the config says otherwise.
const REVOKE_AFTER: Duration = Duration::from_secs(5 * 60);

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
    /// The config's text, for places inside of a value.
    text: &'a str,
    around: &'a Surroundings<'a>,
    mistakes: Sink,
    warnings: Sink,
}

/// Reads a whole config. Every mistake is found; nothing is connected to or opened.
pub fn parse(source: &Source, around: &Surroundings<'_>) -> Result<Parsed, Mistakes> {
    let text = source.text.as_str();
    let mut context = Context { text, around, mistakes: Vec::new(), warnings: Vec::new() };
    let config = context.read();
    let in_order = |mut mistakes: Sink| {
        mistakes.sort_by_key(|mistake| (mistake.span.line, mistake.span.column));
        mistakes.dedup();
        mistakes
    };
    match config {
        Some(config) if context.mistakes.is_empty() => {
            Ok(Parsed { config, warnings: in_order(context.warnings) })
        }
        _ => Err(Mistakes {
            origin: source.origin.to_string(),
            text: source.text.clone(),
            mistakes: in_order(context.mistakes),
            warnings: in_order(context.warnings),
        }),
    }
}

impl Context<'_> {
    fn read(&mut self) -> Option<Config> {
        if let Some(mistake) = foreign::by_text(self.text) {
            self.mistakes.push(mistake);
            return None;
        }
        let mut root = yaml::parse(self.text, &mut self.mistakes).filter(|root| !root.is_null());
        let Some(root) = &mut root else {
            if self.mistakes.is_empty() {
                self.mistakes.push(foreign::empty());
            }
            return None;
        };
        if let Some(mistake) = foreign::by_keys(root) {
            self.mistakes = vec![mistake];
            return None;
        }
        let bounds = pod::fill(root, self.around.env, &mut self.mistakes);
        substitute::tree(root, self.text, self.around.env, &mut self.mistakes);
        let raw = RawConfig::decode(root, &mut self.mistakes)?;
        let config = self.config(raw, &root.span.start());
        bounds.check(&config, &root.span.start(), &mut self.mistakes);
        Some(config)
    }

    /// `root` is where what is missing as a whole is shown.
    fn config(&mut self, raw: RawConfig, root: &Span) -> Config {
        let defaults = raw.defaults.map(|d| d.value).unwrap_or_default();
        let some_files = raw.files.is_some();
        let raw_stores = raw.stores.map(|stores| stores.value).unwrap_or_default();
        let raw_secrets = raw.secrets.map(|secrets| secrets.value).unwrap_or_default();
        let raw_files = raw.files.map(|files| files.value).unwrap_or_default();
        let raw_env = raw.env.map(|env| env.value).unwrap_or_default();
        if raw_stores.names.is_empty() && !raw.wrong.contains(&"stores") {
            self.mistakes.push(Mistake::new(
                root,
                "there is no store",
                "nothing says where secrets come from",
                "add `stores: { vault: { kind: vault, address: \"https://HOST:8200\" } }`",
            ));
        }
        let stores = self.stores(&raw_stores);
        let refresh = defaults.refresh.as_ref().map(|r| self.refresh("`defaults`", r));
        let secrets = self.secrets(&raw_secrets, &raw_stores, refresh);
        let volumes = self.volumes(raw.volume.as_ref(), raw.volumes.as_ref(), some_files, root);
        let files = self.files(&raw_files, &raw_secrets.known(), &volumes.names, &defaults);
        let groups = group::compute(&files, &raw_files, &mut self.mistakes);
        let state = self.state(raw.state.as_ref(), &volumes.known);
        let env = self.env(&raw_env, &raw_secrets.known());
        let health = self.health(raw.health.map(|h| h.value));
        let metrics = self.metrics(raw.metrics.as_ref(), &health);
        let when_down = self.when_down(raw.when_down.map(|w| w.value));
        let revoke = raw.revoke.map(|revoke| revoke.value).unwrap_or_default();
        let revoke = RevokeConfig {
            after: revoke.after.map_or(REVOKE_AFTER, |after| after.value.0),
            on_exit: revoke.on_exit.is_some_and(|on_exit| on_exit.value),
        };
        let hooks = raw.on_change.map(|h| h.value).unwrap_or_default();
        let private = places::private(&volumes.known, state.as_ref());
        let on_change = self.hooks(&hooks, &groups, &raw_files, &private);
        for (hook, raw) in &on_change {
            self.roll_back_can_work(hook, raw, &groups, &secrets, &stores);
        }
        let init_within = self.init_within(raw.init.map(|init| init.value));
        // What is used and what is not can be said only of a config without mistakes.
        if self.mistakes.is_empty() {
            self.warn_of_stores(&stores, &raw_stores, &secrets);
            self.warn_of_secrets(&secrets, &files, &env, state.is_some());
            self.warn_of_keys(&files);
            self.warn_of_volumes(&files, raw.volumes.as_ref());
            self.warn_of_hooks(files.is_empty(), &hooks);
            if state.is_none() && some_files {
                self.warn_of_no_state(root);
            }
        }
        Config {
            stores,
            secrets: secrets.into_iter().map(|(name, secret)| (name, secret.value)).collect(),
            files: files.into_iter().map(|(path, file)| (path, file.value)).collect(),
            groups,
            env,
            volumes: volumes.known,
            state,
            on_change: on_change.into_iter().map(|(hook, _)| hook).collect(),
            init_within,
            when_down,
            revoke,
            health,
            metrics,
        }
    }

    fn init_within(&mut self, init: Option<super::raw::RawInit>) -> Duration {
        let Some(within) = init.and_then(|init| init.within) else { return INIT_WITHIN };
        self.not_zero("within", &within);
        within.value.0
    }

    /// Notes a time of nothing where nothing could be done in it.
    fn not_zero(&mut self, key: &str, time: &At<super::units::Span>) {
        if time.value.0.is_zero() {
            self.mistakes.push(Mistake::new(
                &time.span,
                format!("`{key}` is no time at all"),
                "nothing can happen in it",
                "write for example 10s",
            ));
        }
    }

    fn env(&mut self, raw: &Named<String>, secrets: &[&str]) -> BTreeMap<String, FieldRef> {
        let mut env = BTreeMap::new();
        for (name, value) in &raw.entries {
            if !substitute::is_variable(&name.value) {
                self.mistakes.push(not_a_variable(name));
            }
            if let Some(field) = self.field(value, secrets) {
                env.insert(name.value.clone(), field);
            }
        }
        env
    }

    /// Reads `NAME.FIELD` and checks that there is such a secret.
    fn field(&mut self, text: &At<String>, secrets: &[&str]) -> Option<FieldRef> {
        let Some(field) = reference::parse_field(&text.value) else {
            let hint = if text.value.contains(':') {
                "give it a name below `secrets:`, and write that name here"
            } else {
                "write the name from `secrets:`, a dot, and the field"
            };
            self.mistakes.push(Mistake::new(
                &text.span,
                format!("`{}` does not name a secret", text.shown),
                "it is NAME, NAME.FIELD or NAME/a/b, with `?` behind what may be missing",
                hint,
            ));
            return None;
        };
        if secrets.contains(&field.secret.as_str()) {
            return Some(field);
        }
        self.mistakes.push(Mistake::new(
            &text.span,
            format!("`{}` names a secret that is not there", text.shown),
            "it is not in `secrets:`",
            suggest(field.secret.as_str(), secrets),
        ));
        None
    }

    fn when_down(&mut self, raw: Option<super::raw::RawWhenDown>) -> WhenDown {
        let raw = raw.unwrap_or_default();
        let mut after = Then::Keep;
        if let Some(then) = &raw.then {
            match then.value.as_str() {
                "keep" => {}
                "unready" => after = Then::Unready,
                "exit" => after = Then::Exit,
                _ => self.mistakes.push(choice("then", then, &["keep", "unready", "exit"])),
            }
            if after != Then::Keep && raw.serve_stale_for.is_none() {
                self.mistakes.push(Mistake::new(
                    &then.span,
                    format!("`then: {}` never happens", then.shown),
                    "without `serve_stale_for` no secret is ever too old",
                    "add `serve_stale_for: 12h`, or whatever age you can bear",
                ));
            }
        }
        if let Some(stale) = &raw.serve_stale_for {
            self.not_zero("serve_stale_for", stale);
        }
        WhenDown { serve_stale_for: raw.serve_stale_for.map(|s| s.value.0), then: after }
    }
}

/// A word that is none of those that may stand there.
fn choice(key: &str, written: &At<String>, known: &[&str]) -> Mistake {
    Mistake::new(
        &written.span,
        format!("`{}` is no value of `{key}`", written.shown),
        format!("it is one of {}", known.join(", ")),
        suggest(&written.value, known),
    )
}

fn not_a_variable(name: &At<String>) -> Mistake {
    Mistake::new(
        &name.span,
        format!("`{}` is not a variable's name", name.shown),
        "a name is made of letters, digits and `_`, and does not begin with a digit",
        "rename it",
    )
}
