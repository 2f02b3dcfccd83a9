//! What a changed config asks for while the agent runs.

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
    let changed: Vec<&str> =
        parts.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect();
    if !changed.is_empty() {
        Reload::RestartNeeded(changed)
    } else if old == new {
        Reload::Unchanged
    } else {
        Reload::Apply
    }
}
