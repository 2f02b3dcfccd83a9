//! What a config means for the pod: read from it where it is in the annotation, taken from the other
//! annotations where it is in a ConfigMap, which nobody reads here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ConfigFrom, Draft, Mode};
use crate::agent::config::{
    self, Config, Login, Origin, Source, StoreKind, Surroundings, Then, TokenSource, VaultConfig,
};
use crate::kube::annotation::{self, Shape};
use crate::kube::quantity;

/// Where the state is, unless the config says otherwise.
const STATE: &str = "/run/sidekey";
const STATE_SIZE: u64 = 2 << 20;
/// What the agent takes where the config is silent.
const VOLUME: (&str, &str, u64) = ("default", "/run/secrets/sidekey", 4 << 20);
const TOKEN: &str = "/var/run/secrets/tokens/vault";
const WITHIN: Duration = Duration::from_secs(180);
/// What the image brings itself.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the pod must know of the config.
pub(super) struct Facts {
    /// Where files go.
    pub(super) volumes: Vec<Shape>,
    /// The state's place and size.
    pub(super) state: (String, u64),
    /// Tokens to be projected.
    pub(super) tokens: Vec<PathBuf>,
    /// Files that Sidekey reads.
    pub(super) reads: Vec<PathBuf>,
    /// The ports of the stores; nothing if nobody knows.
    pub(super) ports: Option<BTreeSet<u16>>,
    /// Groups and users that files are given to.
    pub(super) groups: BTreeSet<u32>,
    pub(super) users: BTreeSet<u32>,
    /// Whether a hook sends signals.
    pub(super) signal: bool,
    /// How long the first delivery may take.
    pub(super) within: Duration,
    /// Whether stale files make the pod unready.
    pub(super) unready: bool,
    /// Where metrics are served.
    pub(super) metrics: Option<u16>,
    /// The variables of `exec`.
    pub(super) variables: Vec<String>,
    /// What `$SIDEKEY_POD_YAML` says: what holds where the config is silent.
    pub(super) pod_yaml: String,
}

impl Draft<'_> {
    pub(super) fn facts(&mut self, mode: Option<Mode>) -> Option<Facts> {
        let mode = mode.unwrap_or(Mode::Native);
        match &self.settings.config {
            None => {
                self.refuse(
                    annotation::place(),
                    "this pod asks for Sidekey and says not what for",
                    "there is neither `sidekey.dev/config` nor `sidekey.dev/config-map`",
                    "add one of them; `sidekey check` tries a config out beforehand",
                );
                None
            }
            Some(ConfigFrom::Map { .. }) => Some(self.stated(mode)),
            Some(ConfigFrom::Inline(text)) => {
                self.only_with_a_map();
                let config = self.parse(mode, text)?;
                self.fits(mode, &config);
                Some(self.read(mode, &config))
            }
        }
    }

    /// What the config itself says is not said twice.
    fn only_with_a_map(&mut self) {
        let s = self.settings;
        let said = [
            ("volumes", s.volumes.is_some()),
            ("signal", s.signal),
            ("init-within", s.init_within.is_some()),
            ("readiness", s.readiness),
            ("store-ports", s.store_ports.is_some()),
        ];
        for (name, _) in said.into_iter().filter(|(_, said)| *said) {
            let what = format!("`sidekey.dev/{name}` does nothing here");
            let why = "it describes a config in a ConfigMap, and this one is in the annotation";
            self.refuse(
                annotation::at(name),
                &what,
                why,
                "write it into the config, and remove it here",
            );
        }
    }

    /// A config that nobody sees here.
    fn stated(&mut self, mode: Mode) -> Facts {
        let s = self.settings;
        Facts {
            volumes: self.shapes(),
            state: (STATE.into(), STATE_SIZE),
            tokens: vec![TOKEN.into()],
            reads: Vec::new(),
            ports: s.store_ports.as_ref().map(|ports| ports.iter().copied().collect()),
            groups: BTreeSet::new(),
            users: BTreeSet::new(),
            signal: s.signal,
            within: s.init_within.unwrap_or(WITHIN),
            unready: s.readiness,
            metrics: s.metrics_port,
            variables: Vec::new(),
            pod_yaml: self.pod_yaml(mode, STATE),
        }
    }

    /// The volumes of a config that nobody sees here.
    fn shapes(&self) -> Vec<Shape> {
        let one = || Shape { name: VOLUME.0.into(), path: VOLUME.1.into(), size: VOLUME.2 };
        self.settings.volumes.clone().unwrap_or_else(|| vec![one()])
    }

    /// What holds in this pod where the config is silent.
    fn pod_yaml(&self, mode: Mode, state: &str) -> String {
        let s = self.settings;
        let mut lines = Vec::new();
        if mode != Mode::Init {
            lines.push(format!("health: {{ listen: \"unix:{state}/health.sock\" }}"));
        }
        if matches!(mode, Mode::Native | Mode::Classic) {
            lines.push(format!("state: {{ path: \"{state}\" }}"));
        }
        if let Some(within) = s.init_within {
            lines.push(format!("init: {{ within: {}ms }}", within.as_millis()));
        }
        if let Some(port) = s.metrics_port {
            lines.push(format!("metrics: {{ listen: \"0.0.0.0:{port}\" }}"));
        }
        // What the pod is made for, so that the agent refuses a config that needs more.
        if let (Some(ConfigFrom::Map { .. }), true) = (&s.config, mode != Mode::Env) {
            lines.push(format!("signal: {}", s.signal));
            lines.push("volumes:".to_owned());
            let volumes = self.shapes();
            lines.extend(volumes.iter().map(|volume| {
                let size = quantity::bytes(volume.size);
                format!("  {}: {{ path: \"{}\", size: {size} }}", volume.name, volume.path)
            }));
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// Reads the config as the agent will.
    fn parse(&mut self, mode: Mode, text: &str) -> Option<Config> {
        let source = Source { origin: Origin::Variable, text: text.to_owned() };
        let pod_yaml = self.pod_yaml(mode, STATE);
        let env = |name: &str| match name {
            config::POD_VARIABLE => Some(pod_yaml.clone()),
            _ => None,
        };
        let around = Surroundings { env: &env, uid: 64917, in_pod: true };
        match config::parse(&source, &around) {
            Ok(parsed) => Some(parsed.config),
            Err(mistakes) => {
                for mistake in &mistakes.mistakes {
                    let what =
                        format!("line {} of the config: {}", mistake.span.line, mistake.what);
                    self.refuse(annotation::at("config"), &what, &mistake.why, &mistake.hint);
                }
                None
            }
        }
    }

    /// What a config can ask for and a pod of this mode can't give.
    fn fits(&mut self, mode: Mode, config: &Config) {
        let at = || annotation::at("config");
        if mode == Mode::Env && !config.files.is_empty() {
            let why =
                "`env` gives variables, and the application has no volume that Sidekey writes to";
            let hint = "use `env:` in the config, or another mode for the files";
            self.refuse(at(), "the config has files", why, hint);
        }
        if mode != Mode::Env && config.files.is_empty() {
            let why = "`files:` is empty, and files are what this mode delivers";
            let hint = "add `files:`, or write `sidekey.dev/mode: env` for variables";
            self.refuse(at(), "there is nothing to deliver", why, hint);
        }
        let leased = |s: &config::SecretConfig| s.leased && !s.allow_expiry;
        if mode == Mode::Init
            && let Some((name, _)) = config.secrets.iter().find(|(_, s)| leased(s))
        {
            let what = format!("`init` can't deliver `{name}`");
            let why = "it comes with a lease, and nobody would renew it";
            let hint = "write `sidekey.dev/mode: native`, or `allow_expiry: true` on the secret if the work is over before the lease is";
            self.refuse(at(), &what, why, hint);
        }
    }

    fn read(&self, mode: Mode, config: &Config) -> Facts {
        let state = config.state.as_ref();
        let place = state.map_or(STATE.into(), |state| state.path.display().to_string());
        // A config that says nothing of its health gets the socket on its own state.
        let pod_yaml = self.pod_yaml(mode, &place);
        let files = || config.files.values();
        Facts {
            volumes: config
                .volumes
                .iter()
                .map(|(name, volume)| Shape {
                    name: name.to_string(),
                    path: volume.path.display().to_string(),
                    size: volume.size,
                })
                .collect(),
            state: (place, state.map_or(STATE_SIZE, |state| state.size)),
            tokens: self.tokens(config),
            reads: reads(config),
            ports: Some(config.stores.values().filter_map(port).collect()),
            groups: files().filter_map(|file| file.owner_group).collect(),
            users: files().filter_map(|file| file.owner_user).collect(),
            signal: config.on_change.iter().any(config::signals),
            within: config.init_within,
            unready: config.when_down.then == Then::Unready,
            metrics: config.metrics.map(|address| address.port()),
            variables: config.env.keys().cloned().collect(),
            pod_yaml,
        }
    }

    /// The tokens that the pod's platform is to give, where no mount of the user's does.
    fn tokens(&self, config: &Config) -> Vec<PathBuf> {
        let logins = vaults(config).filter_map(|vault| match &vault.login {
            Login::Kubernetes { token_file, .. } | Login::Jwt { token_file, .. } => {
                Some(token_file)
            }
            _ => None,
        });
        let given = |path: &Path| {
            path.starts_with("/var/run/secrets/kubernetes.io")
                || self.settings.mounts.iter().any(|(_, mount)| path.starts_with(mount))
        };
        let tokens: BTreeSet<&PathBuf> = logins.filter(|path| !given(path)).collect();
        tokens.into_iter().cloned().collect()
    }
}

fn vaults(config: &Config) -> impl Iterator<Item = &VaultConfig> {
    config
        .stores
        .values()
        .filter_map(|store| if let StoreKind::Vault(vault) = store { Some(vault) } else { None })
}

/// The port that a store is spoken to on.
fn port(store: &StoreKind) -> Option<u16> {
    let StoreKind::Vault(vault) = store else {
        return (!matches!(store, StoreKind::Local(_))).then_some(443);
    };
    let (scheme, rest) = vault.address.split_once("://")?;
    let host = rest.split('/').next()?;
    let written = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    written.or(Some(if scheme == "http" { 80 } else { 443 }))
}

/// Every file that Sidekey reads, besides projected tokens.
fn reads(config: &Config) -> Vec<PathBuf> {
    let mut reads: BTreeSet<PathBuf> = BTreeSet::new();
    for vault in vaults(config) {
        reads.extend(vault.ca_file.clone());
        reads.extend(
            vault.client_cert.iter().flat_map(|c| [c.cert_file.clone(), c.key_file.clone()]),
        );
        match &vault.login {
            Login::AppRole { role_id_file, secret_id_file, .. } => {
                reads.extend([role_id_file.clone(), secret_id_file.clone()]);
            }
            Login::Token(TokenSource::File(path)) => _ = reads.insert(path.clone()),
            _ => {}
        }
    }
    for store in config.stores.values() {
        if let StoreKind::Local(local) = store {
            reads.extend([local.file.clone(), local.key_file.clone()]);
        }
    }
    reads.extend(config.secrets.values().flat_map(|secret| secret.with.files.values().cloned()));
    reads.remove(Path::new(ROOTS));
    reads.into_iter().collect()
}
