//! What a changed config asks for while the agent runs.

use std::collections::BTreeSet;

use super::model::Config;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Nothing changed.
    Unchanged,
    /// Secrets, files or timing changed: a rotation.
    Apply,
    /// These parts need a new start, because they bind, fork or open something.
    RestartNeeded(Vec<&'static str>),
}

/// Compares a running config with a new one.
pub fn reload(old: &Config, new: &Config) -> Reload {
    let parts = [
        ("stores", old.stores != new.stores),
        ("volumes", old.volumes != new.volumes),
        ("state", old.state != new.state),
        ("on_change", old.on_change != new.on_change),
        ("health", old.health != new.health),
        ("metrics", old.metrics != new.metrics),
    ];
    // A file of a parameter is opened at the start, like everything that is read.
    let files = |config: &Config| {
        let secrets = config.secrets.values();
        secrets.flat_map(|secret| secret.with.files.values().cloned()).collect::<BTreeSet<_>>()
    };
    let new_files = !files(new).is_subset(&files(old));
    let parts = parts.into_iter().chain([("a file of `with`", new_files)]);
    let changed: Vec<&str> = parts.filter_map(|(name, changed)| changed.then_some(name)).collect();
    if !changed.is_empty() {
        Reload::RestartNeeded(changed)
    } else if old == new {
        Reload::Unchanged
    } else {
        Reload::Apply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::{Origin, Source, Surroundings, parse};

    const OLD: &str = r#"
stores: { v: { kind: vault, address: "https://v", login: { token: { env: T } } } }
secrets: { a: { from: "v:secret/data/a" } }
files: { a: { from: a.x } }
volume: { path: /run/a }
on_change: [{ command: [/bin/reload] }]
"#;

    fn read(text: &str) -> Config {
        let origin = Origin::Variable;
        let around = Surroundings { env: &|_| None, uid: 1, in_pod: false };
        parse(&Source { origin, text: text.to_owned() }, &around).unwrap().config
    }

    #[test]
    fn what_was_bound_forked_or_opened_needs_a_restart_and_the_rest_is_a_rotation() {
        let restart = |parts: &[&'static str]| Reload::RestartNeeded(parts.to_vec());
        for (from, to, expected) in [
            ("{ a: { from: a.x } }", "{ a:   { from: a.x } }", Reload::Unchanged),
            ("a.x", "a.y", Reload::Apply),
            ("secret/data/a", "secret/data/b", Reload::Apply),
            ("https://v", "https://w", restart(&["stores"])),
            ("/run/a", "/run/b", restart(&["volumes"])),
            ("/bin/reload", "/bin/other", restart(&["on_change"])),
            ("volume:", "state: { path: /run/s }\nvolume:", restart(&["state"])),
            (
                "volume:",
                "health: { quit: true }\nmetrics: { listen: \"127.0.0.1:1\" }\nvolume:",
                restart(&["health", "metrics"]),
            ),
        ] {
            assert_eq!(
                reload(&read(OLD), &read(&OLD.replace(from, to))),
                expected,
                "{from} → {to}"
            );
        }
    }
}
