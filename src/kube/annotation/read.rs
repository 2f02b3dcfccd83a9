//! From annotations to settings: every mistake is found, and a misspelt name gets the nearest.

use serde_json::Value;

use super::{ConfigFrom, KEYS, Mode, MountOf, PREFIX, Settings, Shape, Uid, at};
use crate::agent::config::{duration, size, suggest};
use crate::kube::edit::{Refusal, way};
use crate::kube::quantity;

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
