//! The annotations below `sidekey.dev/`: one table with the documentation of each, and what they say
//! once they were read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::edit::{Path, Refusal, Step, way};
use super::quantity;
use crate::agent::config::{duration, size, suggest};

/// What every one of them begins with.
pub const PREFIX: &str = "sidekey.dev/";
/// Says that a pod was injected.
pub const STATUS: &str = "sidekey.dev/status";
/// Keeps what `--remove` needs.
pub const ORIGINAL: &str = "sidekey.dev/original";

/// One annotation of the table.
#[derive(Debug)]
pub struct Key {
    /// What follows `sidekey.dev/`.
    pub name: &'static str,
    /// What somebody could write.
    pub example: &'static str,
    /// What it does, and what holds without it.
    pub doc: &'static str,
}

const fn key(name: &'static str, example: &'static str, doc: &'static str) -> Key {
    Key { name, example, doc }
}

/// Every annotation there is.
pub const KEYS: &[Key] = &[
    key(
        "inject",
        "true",
        "`\"true\"` asks for Sidekey, `\"false\"` leaves the pod alone whatever else it says",
    ),
    key(
        "mode",
        "native",
        "`native` (a sidecar that starts before the containers), `classic` (an init container and a sidecar beside them), `init` (fetch once: Jobs), `env` (variables instead of files); without it `native`, below Kubernetes 1.29 `init` for Jobs and `classic` for others",
    ),
    key("config", "stores: …", "Sidekey's config, as text"),
    key(
        "config-map",
        "orders-sidekey/config.yaml",
        "the config in a ConfigMap of the namespace, `NAME` or `NAME/KEY` (`config.yaml` without it)",
    ),
    key(
        "volumes",
        "default=/run/secrets/sidekey:4Mi",
        "with `config-map`: the volumes of that config, `NAME=PATH:SIZE` with commas between; without it one, `default`, of 4Mi",
    ),
    key(
        "signal",
        "true",
        "with `config-map`: that config has a hook by signal, or one that restarts. Sidekey then runs as the application's uid, in a shared PID namespace (weak)",
    ),
    key(
        "init-within",
        "180s",
        "with `config-map`: the `init.within` of that config, for the startup probe",
    ),
    key(
        "readiness",
        "true",
        "with `config-map`: that config says `then: unready`, so Sidekey gets a readiness probe",
    ),
    key(
        "store-ports",
        "8200",
        "with `config-map`: the ports of its stores, for a service mesh that is no native sidecar",
    ),
    key(
        "containers",
        "app,worker",
        "the containers that get the files (or variables); without it all, init containers too (with `env` all but those)",
    ),
    key(
        "mounts",
        "configmap:corp-ca=/etc/tls",
        "what Sidekey reads besides: `VOLUME=PATH` for a volume of the pod, `configmap:NAME=PATH`, `secret:NAME=PATH`, with commas between",
    ),
    key(
        "uid",
        "70917",
        "the uid that Sidekey runs as: a number, `application` (weak), or `omit` for OpenShift, which gives one (weak); without it 64917, or another if a container has that",
    ),
    key(
        "group",
        "2000",
        "the group that shares the files; without it 64917. A pod with `fsGroup` shares that one",
    ),
    key("token-audience", "vault", "the audience of the projected token; without it `vault`"),
    key("init-first", "true", "puts Sidekey before a service mesh, too"),
    key("cpu-request", "10m", "without it 10m"),
    key("cpu-limit", "100m", "without it none, unless the whole pod is Guaranteed"),
    key("memory-request", "16Mi", "without it 16Mi"),
    key("memory-limit", "64Mi", "without it 28Mi and the sizes of all volumes and the state"),
    key(
        "metrics-port",
        "9187",
        "serves metrics on this port; without it on the health socket only",
    ),
    key("log-level", "info", "`error`, `warn`, `info`, `debug` or `trace`"),
    key("status", "injected", "written by `inject`"),
    key(
        "original",
        "{\"added\":[\"/spec/volumes\"]}",
        "written by `inject`: what `--remove` needs",
    ),
];

/// How a pod gets its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An init container that goes on.
    Native,
    /// An init container, then one beside the application.
    Classic,
    /// An init container.
    Init,
    /// The application's command, run by `sidekey exec`.
    Env,
}

impl Mode {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Classic => "classic",
            Mode::Init => "init",
            Mode::Env => "env",
        }
    }
}

/// Where the config is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFrom {
    /// In the annotation.
    Inline(String),
    /// In a ConfigMap that nobody reads here.
    Map {
        /// Its name.
        name: String,
        /// The key in it.
        key: String,
    },
}

/// A volume of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name there.
    pub name: String,
    /// Where it is mounted.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountOf {
    /// A volume that the pod has.
    Volume(String),
    /// A ConfigMap.
    ConfigMap(String),
    /// A Secret.
    Secret(String),
}

/// Which uid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uid {
    /// One of our own.
    #[default]
    Ours,
    /// This one.
    Number(u32),
    /// The application's.
    Application,
    /// None: the platform gives one.
    Omit,
}

/// What a pod says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `mode`.
    pub mode: Option<Mode>,
    /// `config` or `config-map`.
    pub config: Option<ConfigFrom>,
    /// `volumes`.
    pub volumes: Option<Vec<Shape>>,
    /// `signal`.
    pub signal: bool,
    /// `init-within`.
    pub init_within: Option<Duration>,
    /// `readiness`.
    pub readiness: bool,
    /// `store-ports`.
    pub store_ports: Option<Vec<u16>>,
    /// `containers`.
    pub containers: Option<Vec<String>>,
    /// `mounts`.
    pub mounts: Vec<(MountOf, String)>,
    /// `uid`.
    pub uid: Uid,
    /// `group`.
    pub group: Option<u32>,
    /// `token-audience`.
    pub audience: Option<String>,
    /// `init-first`.
    pub init_first: bool,
    /// `cpu-request`, `cpu-limit`, `memory-request`, `memory-limit`.
    pub resources: BTreeMap<&'static str, String>,
    /// `metrics-port`.
    pub metrics_port: Option<u16>,
    /// `log-level`.
    pub log_level: Option<String>,
}

/// Where an annotation stands.
pub fn at(name: &str) -> Path {
    way!["metadata", "annotations", format!("{PREFIX}{name}").as_str()]
}

/// Whether a pod asks to be injected; nothing if it says nothing to us.
pub fn asks(annotations: &Value) -> Option<bool> {
    let ours = annotations.as_object()?.keys().any(|key| key.starts_with(PREFIX));
    let inject = annotations.get("sidekey.dev/inject").and_then(Value::as_str);
    ours.then(|| inject != Some("false"))
}

/// Reads them all; every mistake is found.
pub fn read(annotations: &Value) -> Result<Settings, Vec<Refusal>> {
    let mut reader = Reader { settings: Settings::default(), refusals: Vec::new() };
    let entries = annotations.as_object().into_iter().flatten();
    let mut says = false;
    for (key, value) in entries.filter_map(|(k, v)| Some((k.strip_prefix(PREFIX)?, v))) {
        says |= key == "inject";
        match value.as_str() {
            Some(text) => reader.read(key, text),
            None => reader.refuse(key, "it is no text", "put the value in quotes"),
        }
    }
    if !says && reader.refusals.is_empty() {
        reader.refusals.push(Refusal::new(
            way!["metadata", "annotations"],
            "this pod speaks of Sidekey and does not ask for it",
            "there is no `sidekey.dev/inject`",
            "add `sidekey.dev/inject: \"true\"`, or \"false\" to keep Sidekey out",
        ));
    }
    if reader.refusals.is_empty() { Ok(reader.settings) } else { Err(reader.refusals) }
}

struct Reader {
    settings: Settings,
    refusals: Vec<Refusal>,
}

impl Reader {
    fn refuse(&mut self, key: &str, why: impl Into<String>, hint: impl Into<String>) {
        let what = format!("can't use the annotation `{PREFIX}{}`", key.escape_default());
        self.refusals.push(Refusal::new(at(key), what, why, hint));
    }

    fn unknown(&mut self, key: &str) {
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        let hint = match crate::agent::config::nearest(key, names) {
            Some(name) => format!("did you mean `{PREFIX}{name}`?"),
            None => "docs/kubernetes.md has the list".to_owned(),
        };
        let what = format!("`{PREFIX}{}` is no annotation of Sidekey", key.escape_default());
        self.refusals.push(Refusal::new(at(key), what, "nobody would read it", hint));
    }

    fn read(&mut self, key: &str, text: &str) {
        match key {
            "inject" => _ = self.flag(key, text),
            "mode" => self.settings.mode = self.mode(text),
            "config" => self.config(key, ConfigFrom::Inline(text.to_owned())),
            "config-map" => self.config_map(text),
            "volumes" => self.settings.volumes = self.volumes(text),
            "signal" => self.settings.signal = self.flag(key, text),
            "init-within" => {
                self.settings.init_within = duration(text).filter(|within| !within.is_zero());
                self.wanted(key, self.settings.init_within.is_some(), "a duration, like 180s");
            }
            "readiness" => self.settings.readiness = self.flag(key, text),
            "store-ports" => {
                self.settings.store_ports = self.list(
                    key,
                    text,
                    |p| p.parse().ok().filter(|p| *p > 0),
                    "ports, like 8200,443",
                );
            }
            "containers" => {
                let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
                self.settings.containers = self.list(key, text, name, "names, like app,worker");
            }
            "mounts" => {
                let wanted = "VOLUME=/PATH, configmap:NAME=/PATH or secret:NAME=/PATH";
                self.settings.mounts = self.list(key, text, mount, wanted).unwrap_or_default();
            }
            "uid" => self.uid(text),
            "group" => {
                self.settings.group = text.parse().ok().filter(|group| *group > 0);
                self.wanted(key, self.settings.group.is_some(), "a number above 0, like 2000");
            }
            "token-audience" => {
                self.settings.audience = Some(text.to_owned()).filter(|a| !a.is_empty());
                self.wanted(key, self.settings.audience.is_some(), "a text, like vault");
            }
            "init-first" => self.settings.init_first = self.flag(key, text),
            "cpu-request" | "cpu-limit" | "memory-request" | "memory-limit" => {
                self.resource(key, text);
            }
            "metrics-port" => {
                self.settings.metrics_port = text.parse().ok().filter(|port| *port > 0);
                self.wanted(key, self.settings.metrics_port.is_some(), "a port, like 9187");
            }
            "log-level" => self.log_level(text),
            "status" | "original" => {}
            _ => self.unknown(key),
        }
    }

    fn wanted(&mut self, key: &str, good: bool, wanted: &str) {
        if !good {
            self.refuse(key, format!("its value is {wanted}"), "write it so");
        }
    }

    fn flag(&mut self, key: &str, text: &str) -> bool {
        self.wanted(key, matches!(text, "true" | "false"), "\"true\" or \"false\"");
        text == "true"
    }

    fn list<T>(
        &mut self,
        key: &str,
        text: &str,
        one: impl Fn(&str) -> Option<T>,
        wanted: &str,
    ) -> Option<Vec<T>> {
        let read: Option<Vec<T>> = text.split(',').map(|part| one(part.trim())).collect();
        self.wanted(key, read.is_some(), wanted);
        read
    }

    fn mode(&mut self, text: &str) -> Option<Mode> {
        let known = [Mode::Native, Mode::Classic, Mode::Init, Mode::Env];
        let mode = known.into_iter().find(|mode| mode.word() == text);
        if mode.is_none() {
            let words = known.map(Mode::word);
            self.refuse(
                "mode",
                format!("it is one of {}", words.join(", ")),
                suggest(text, &words),
            );
        }
        mode
    }

    fn config(&mut self, key: &str, from: ConfigFrom) {
        if self.settings.config.is_some() {
            let hint = "keep one of them";
            self.refuse(key, "there is `sidekey.dev/config` and `sidekey.dev/config-map`", hint);
        }
        self.settings.config = Some(from);
    }

    fn config_map(&mut self, text: &str) {
        let (name, key) = text.split_once('/').unwrap_or((text, "config.yaml"));
        let good = |text: &str| {
            let tame = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !text.is_empty() && text.bytes().all(tame)
        };
        self.wanted("config-map", good(name) && good(key), "NAME or NAME/KEY");
        let from = ConfigFrom::Map { name: name.to_owned(), key: key.to_owned() };
        self.config("config-map", from);
    }

    fn volumes(&mut self, text: &str) -> Option<Vec<Shape>> {
        let volumes = self.list("volumes", text, shape, "NAME=/PATH:SIZE, with commas between")?;
        let twice = |i: usize| volumes[..i].iter().any(|v: &Shape| v.name == volumes[i].name);
        if (0..volumes.len()).any(twice) {
            self.refuse("volumes", "a name stands there twice", "give each volume its own");
        }
        Some(volumes)
    }

    fn uid(&mut self, text: &str) {
        self.settings.uid = match text {
            "application" => Uid::Application,
            "omit" => Uid::Omit,
            _ => match text.parse() {
                Ok(uid) if uid > 0 => Uid::Number(uid),
                _ => {
                    let why = "its value is a number above 0, `application` or `omit`";
                    return self.refuse("uid", why, suggest(text, &["application", "omit"]));
                }
            },
        };
    }

    fn resource(&mut self, key: &str, text: &str) {
        let good = quantity::parse(text).is_some_and(|quantity| quantity > 0);
        self.wanted(key, good, "a quantity, like 10m or 64Mi");
        if let Some(known) = KEYS.iter().find(|known| known.name == key) {
            self.settings.resources.insert(known.name, text.to_owned());
        }
    }

    fn log_level(&mut self, text: &str) {
        let known = ["error", "warn", "info", "debug", "trace"];
        if !known.contains(&text) {
            self.refuse(
                "log-level",
                format!("it is one of {}", known.join(", ")),
                suggest(text, &known),
            );
        }
        self.settings.log_level = Some(text.to_owned());
    }
}

/// `NAME=/PATH:SIZE`.
fn shape(text: &str) -> Option<Shape> {
    let (name, rest) = text.split_once('=')?;
    let (path, bytes) = rest.rsplit_once(':')?;
    let name = crate::secret::VolumeName::parse(name).ok()?.to_string();
    let size = size(bytes).filter(|size| *size > 0)?;
    is_path(path).then(|| Shape { name, path: path.to_owned(), size })
}

fn mount(text: &str) -> Option<(MountOf, String)> {
    let (of, path) = text.split_once('=')?;
    let of = match of.split_once(':') {
        Some(("configmap", name)) if !name.is_empty() => MountOf::ConfigMap(name.to_owned()),
        Some(("secret", name)) if !name.is_empty() => MountOf::Secret(name.to_owned()),
        None if !of.is_empty() => MountOf::Volume(of.to_owned()),
        _ => return None,
    };
    is_path(path).then(|| (of, path.trim_end_matches('/').to_owned()))
}

/// An absolute path that is no way out.
fn is_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && !path.split('/').any(|part| part == "..")
        && !path.contains(':')
}

/// Where the annotations are.
pub fn place() -> Vec<Step> {
    way!["metadata", "annotations"]
}
