//! The annotations below `sidekey.dev/`, and what they say once they were read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::edit::{Path, Step, way};

mod keys;
mod read;

pub use keys::{KEYS, Key};
pub use read::read;

/// What every one of them begins with.
pub const PREFIX: &str = "sidekey.dev/";
/// Says that a pod was injected.
pub const STATUS: &str = "sidekey.dev/status";
/// Keeps what `--remove` needs.
pub const ORIGINAL: &str = "sidekey.dev/original";

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

/// Where the annotations are.
pub fn place() -> Vec<Step> {
    way!["metadata", "annotations"]
}
