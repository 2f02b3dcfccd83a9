//! `$SIDEKEY_POD_YAML`: what whoever made the pod knows of it, and what holds where the config is silent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::decode::Sink;
use super::mistake::{Mistake, Span};
use super::model::{Config, HookKind, Otherwise};
use super::units;
use super::yaml::{self, Kind, Node};

/// The variable.
pub const POD_VARIABLE: &str = "SIDEKEY_POD_YAML";

/// What the pod was made for, where it says so: a config that needs more can't work in it.
#[derive(Default)]
pub(super) struct Bounds {
    /// The mounts and their sizes.
    volumes: Option<BTreeMap<PathBuf, u64>>,
    /// Whether it has a shared PID namespace and the application's uid.
    signal: Option<bool>,
}

impl Bounds {
    pub(super) fn check(&self, config: &Config, place: &Span, sink: &mut Sink) {
        for (name, volume) in &config.volumes {
            let Some(volumes) = &self.volumes else { break };
            let path = volume.path.display();
            let (what, why) = match volumes.get(&volume.path) {
                None => {
                    (format!("the pod has no volume at `{path}`"), "it was made for other ones")
                }
                Some(size) if *size < volume.size => (
                    format!("volume `{name}` is larger than the pod's"),
                    "what does not fit is never delivered",
                ),
                Some(_) => continue,
            };
            let hint = format!("write `sidekey.dev/volumes: {name}={path}:{}`", volume.size);
            sink.push(Mistake::new(place, what, why, hint));
        }
        if self.signal == Some(false) && config.on_change.iter().any(signals) {
            let why = "it has no shared PID namespace, and Sidekey has a uid of its own";
            let hint = "write `sidekey.dev/signal: \"true\"`, or tell the application by HTTP";
            sink.push(Mistake::new(place, "the pod was not made for hooks by signal", why, hint));
        }
    }
}

/// Whether a hook sends a signal, at once or when nothing confirms it.
pub fn signals(hook: &super::HookConfig) -> bool {
    let otherwise = hook.confirm.as_ref().map(|confirm| &confirm.otherwise);
    matches!(hook.kind, HookKind::Signal { .. }) || matches!(otherwise, Some(Otherwise::Restart(_)))
}

/// Puts in what the config does not say itself: whole sections, and of `init` and `defaults` each key.
pub(super) fn fill(
    root: &mut Node,
    env: &dyn Fn(&str) -> Option<String>,
    sink: &mut Sink,
) -> Bounds {
    let mut bounds = Bounds::default();
    let Some(text) = env(POD_VARIABLE).filter(|text| !text.is_empty()) else { return bounds };
    let place = root.span.start();
    let mut mistakes = Vec::new();
    let pod = yaml::parse(&text, &mut mistakes);
    sink.extend(mistakes.into_iter().map(|mistake| at(&place, mistake)));
    let Some(mut pod) = pod else { return bounds };
    stand_at(&mut pod, &place);
    let (Kind::Map(entries), Kind::Map(given)) = (&mut root.kind, pod.kind) else { return bounds };
    for (key, value) in given {
        let name = key.text().unwrap_or_default().to_owned();
        match name.as_str() {
            "volumes" => bounds.volumes = Some(sizes(&value)),
            "signal" => {
                bounds.signal = value.text().map(|text| text == "true");
                continue;
            }
            _ => {}
        }
        let same = |there: &&mut (Node, Node)| {
            let there = there.0.text().unwrap_or_default();
            there == name || (name == "volumes" && there == "volume")
        };
        match entries.iter_mut().find(same) {
            None => entries.push((key, value)),
            Some((_, there)) if name == "init" || name == "defaults" => inside(there, value),
            Some(_) => {}
        }
    }
    bounds
}

/// The path and the size of each volume.
fn sizes(volumes: &Node) -> BTreeMap<PathBuf, u64> {
    let Kind::Map(volumes) = &volumes.kind else { return BTreeMap::new() };
    let part = |volume: &Node, name: &str| match &volume.kind {
        Kind::Map(parts) => {
            let found = parts.iter().find(|(key, _)| key.text() == Some(name));
            found.and_then(|(_, value)| value.text()).map(str::to_owned)
        }
        _ => None,
    };
    let each = volumes.iter().filter_map(|(_, volume)| {
        let size = units::size(&part(volume, "size")?)?;
        Some((PathBuf::from(part(volume, "path")?), size))
    });
    each.collect()
}

fn inside(there: &mut Node, given: Node) {
    if let (Kind::Map(entries), Kind::Map(given)) = (&mut there.kind, given.kind) {
        for (key, value) in given {
            if !entries.iter().any(|(there, _)| there.text() == key.text()) {
                entries.push((key, value));
            }
        }
    }
}

/// Its places are not those of the config's text.
fn stand_at(node: &mut Node, place: &Span) {
    node.span = place.clone();
    match &mut node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter_mut().for_each(|item| stand_at(item, place)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                stand_at(key, place);
                stand_at(value, place);
            }
        }
    }
}

fn at(place: &Span, mistake: Mistake) -> Mistake {
    let what = format!("{} (in ${POD_VARIABLE})", mistake.what);
    Mistake { span: place.clone(), what, ..mistake }
}

#[cfg(test)]
mod tests {
    use super::super::{Listen, Origin, Parsed, Source, Surroundings, parse};
    use super::*;

    const CONFIG: &str = "stores: { dev: { kind: local, file: /s, key_file: /k } }\n\
        secrets: { a: { from: \"dev:a\" } }\nfiles: { a: { from: a.x } }\n";

    fn read(config: &str, pod: &str) -> Result<Parsed, String> {
        let source = Source { origin: Origin::Variable, text: config.to_owned() };
        let env = |name: &str| (name == POD_VARIABLE).then(|| pod.to_owned());
        let around = Surroundings { env: &env, uid: 64917, in_pod: true };
        parse(&source, &around).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_the_config_does_not_say_the_pod_does() {
        let pod = "state: { path: /run/sidekey }\nhealth: { listen: \"unix:/run/sidekey/h\" }\n\
            init: { within: 5m }\nvolumes: { default: { path: /v, size: 1MiB } }\n";
        let config = read(CONFIG, pod).unwrap().config;
        assert_eq!(config.state.unwrap().path, PathBuf::from("/run/sidekey"));
        assert_eq!(config.health.listen, Listen::Unix("/run/sidekey/h".into()));
        assert_eq!(config.init_within.as_secs(), 300);
        assert_eq!(config.volumes.values().next().unwrap().path, PathBuf::from("/v"));
    }

    #[test]
    fn what_the_config_says_is_stronger() {
        let config = format!("{CONFIG}state: {{ path: /mine }}\ninit: {{ within: 1m }}\n");
        let pod = "state: { path: /run/sidekey }\ninit: { within: 5m }\n";
        let config = read(&config, pod).unwrap().config;
        assert_eq!(config.state.unwrap().path, PathBuf::from("/mine"));
        assert_eq!(config.init_within.as_secs(), 60);
    }

    #[test]
    fn a_config_that_needs_more_than_the_pod_has_is_refused() {
        let pod = "signal: false\nvolumes: { default: { path: /v, size: 1MiB } }\n";
        for (more, why) in [
            ("volume: { path: /v, size: 1MiB }", ""),
            ("volume: { path: /w, size: 1MiB }", "the pod has no volume at `/w`"),
            ("volume: { path: /v, size: 2MiB }", "volume `default` is larger than the pod's"),
            (
                "on_change: [{ signal: { send: SIGHUP, to: { name: x } } }]",
                "not made for hooks by signal",
            ),
        ] {
            match read(&format!("{CONFIG}{more}\n"), pod) {
                Ok(_) => assert_eq!(why, "", "{more}"),
                Err(said) => assert!(!why.is_empty() && said.contains(why), "{said}"),
            }
        }
    }

    #[test]
    fn nonsense_from_the_pod_is_told_as_such() {
        let said = read(CONFIG, "state: [").unwrap_err();
        assert!(said.contains("$SIDEKEY_POD_YAML"), "{said}");
    }
}
