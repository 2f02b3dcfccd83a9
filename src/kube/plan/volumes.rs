//! The volumes: for the files, the state, the token, the config, and what Sidekey reads besides.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{ConfigFrom, Draft, Facts, Mode, way};
use crate::kube::annotation::{self, MountOf, PREFIX};
use crate::kube::quantity;

/// Where the config is for the agent when nobody says.
const CONFIG: &str = "/etc/sidekey";
/// Where the copy of the binary is in a container of the user's.
pub(super) const BINARY: &str = "/run/sidekey/bin";
/// Room for it: all kinds of stores fit into 12 MiB.
pub(super) const BINARY_SIZE: u64 = 16 << 20;
/// The life of a projected token, the shortest that Kubernetes gives.
const TOKEN_LIFE: u32 = 600;

/// What is mounted, and for whom.
pub(super) struct Volumes {
    /// Name and path of what the application reads.
    pub(super) files: Vec<(String, String)>,
    /// Mounts of Sidekey's containers besides those.
    pub(super) ours: Vec<Value>,
    /// Bytes of all that Sidekey writes to.
    pub(super) bytes: u64,
}

impl Draft<'_> {
    /// Adds the volumes that are not there, and says what there is.
    pub(super) fn volumes(&mut self, mode: Mode, facts: &Facts) -> Volumes {
        let mut all: Vec<Value> = Vec::new();
        let mut volumes = Volumes { files: Vec::new(), ours: Vec::new(), bytes: 0 };
        if mode == Mode::Env {
            all.push(memory("sidekey-bin", BINARY_SIZE));
        } else {
            for (index, shape) in facts.volumes.iter().enumerate() {
                let name = volume_name(&shape.name, index);
                all.push(memory(&name, shape.size));
                volumes.bytes += shape.size;
                volumes.files.push((name, shape.path.clone()));
            }
        }
        if matches!(mode, Mode::Native | Mode::Classic) {
            all.push(memory("sidekey-state", facts.state.1));
            volumes.bytes += facts.state.1;
            volumes.ours.push(json!({ "name": "sidekey-state", "mountPath": facts.state.0 }));
        }
        self.tokens_of(facts, &mut all, &mut volumes);
        if mode != Mode::Env {
            all.extend(self.config_volume());
            volumes.ours.push(read_only("sidekey-config", CONFIG));
        }
        self.mounts_of(facts, &mut all, &mut volumes);
        self.add_volumes(all);
        volumes
    }

    fn add_volumes(&mut self, all: Vec<Value>) {
        let there = self.pod.names("volumes");
        let name = |volume: &Value| volume.get("name").and_then(Value::as_str).map(str::to_owned);
        let missing =
            all.into_iter().filter(|v| name(v).is_none_or(|n| !there.contains(&n.as_str())));
        self.extend(way!["spec"], "volumes", None, missing.collect());
    }

    /// Projected tokens with an audience of their own, a volume for each directory.
    fn tokens_of(&self, facts: &Facts, all: &mut Vec<Value>, volumes: &mut Volumes) {
        let parent =
            |token: &Path| token.parent().map(|p| p.display().to_string()).unwrap_or_default();
        let places: BTreeSet<String> = facts.tokens.iter().map(|token| parent(token)).collect();
        let audience = self.settings.audience.as_deref().unwrap_or("vault");
        for (index, place) in places.into_iter().enumerate() {
            let name = numbered("sidekey-token", index);
            let here = facts.tokens.iter().filter(|token| parent(token) == place);
            let sources: Vec<Value> = here
                .map(|token| {
                    let file = token.file_name().unwrap_or_default().to_string_lossy();
                    json!({ "serviceAccountToken": {
                        "audience": audience, "expirationSeconds": TOKEN_LIFE, "path": file } })
                })
                .collect();
            all.push(json!({ "name": name, "projected": { "sources": sources } }));
            volumes.ours.push(read_only(&name, &place));
        }
    }

    fn config_volume(&self) -> Option<Value> {
        let source = match self.settings.config.as_ref()? {
            ConfigFrom::Inline(_) => json!({
                "name": "sidekey-config",
                "downwardAPI": { "items": [{
                    "path": "config.yaml",
                    "fieldRef": { "fieldPath": format!("metadata.annotations['{PREFIX}config']") },
                }] },
            }),
            ConfigFrom::Map { name, key } => json!({
                "name": "sidekey-config",
                "configMap": { "name": name, "items": [{ "key": key, "path": "config.yaml" }] },
            }),
        };
        Some(source)
    }

    /// What the pod says that Sidekey reads, and what the config reads and nobody mounts.
    fn mounts_of(&mut self, facts: &Facts, all: &mut Vec<Value>, volumes: &mut Volumes) {
        let there = self.pod.names("volumes");
        for (index, (of, place)) in self.settings.mounts.iter().enumerate() {
            let name = match of {
                MountOf::Volume(name) => name.clone(),
                _ => numbered("sidekey-mount", index),
            };
            match of {
                MountOf::Volume(name) if !there.contains(&name.as_str()) => {
                    let what = format!("there is no volume `{}`", name.escape_default());
                    let hint = crate::agent::config::suggest(name, &there);
                    let why = "`sidekey.dev/mounts` names it";
                    self.refuse(annotation::at("mounts"), &what, why, hint);
                }
                MountOf::Volume(_) => {}
                MountOf::ConfigMap(map) => {
                    all.push(json!({ "name": name, "configMap": { "name": map } }));
                }
                MountOf::Secret(secret) => {
                    all.push(json!({ "name": name, "secret": { "secretName": secret } }));
                }
            }
            volumes.ours.push(read_only(&name, place));
        }
        for path in &facts.reads {
            if !self.settings.mounts.iter().any(|(_, mount)| path.starts_with(mount)) {
                let what = format!("nothing mounts `{}`", path.display());
                let hint = "add `sidekey.dev/mounts`, such as `configmap:corp-ca=/etc/tls`";
                self.refuse(annotation::at("config"), &what, "the config reads it", hint);
            }
        }
    }
}

fn memory(name: &str, size: u64) -> Value {
    json!({ "name": name, "emptyDir": { "medium": "Memory", "sizeLimit": quantity::bytes(size) } })
}

pub(super) fn read_only(name: &str, place: &str) -> Value {
    json!({ "name": name, "mountPath": place, "readOnly": true })
}

fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

/// The name of a config's volume in the pod, where names are DNS labels.
fn volume_name(name: &str, index: usize) -> String {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label =
        name.len() <= 40 && name.bytes().all(|b| plain(b) || b == b'-') && !name.ends_with('-');
    let reserved = ["state", "token", "config", "bin", "mount", "volume"];
    if label && !reserved.iter().any(|word| name.starts_with(word)) {
        format!("sidekey-{name}")
    } else {
        format!("sidekey-volume-{}", index + 1)
    }
}
