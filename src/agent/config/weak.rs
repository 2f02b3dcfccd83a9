//! What a config asks for that is weaker than it could be, said before a roll-out. Pure.

use std::path::Path;

use super::model::{
    Config, Confirm, HookConfig, HookKind, HttpTarget, Login, Otherwise, StoreKind, TokenSource,
};

/// Something that works and is weaker than it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weak {
    /// What it is about, as the config names it.
    pub what: String,
    /// What follows.
    pub why: &'static str,
}

/// Everything that is weak.
pub fn weak(config: &Config) -> Vec<Weak> {
    let mut found = Vec::new();
    let mut say = |what: String, why| found.push(Weak { what, why });
    for (name, store) in &config.stores {
        if let StoreKind::Vault(vault) = store
            && let Login::Token(TokenSource::Env(variable)) = &vault.login
        {
            let what = format!("store `{name}`: the token of ${variable}");
            say(what, "it stands in the environment, and ends when nobody renews it");
        }
    }
    for (name, volume) in &config.volumes {
        if volume.allow_persistent {
            say(format!("volume `{name}`: allow persistent"), "secrets may stay on a disk");
        }
        if volume.allow_swap {
            say(format!("volume `{name}`: allow swap"), "secrets may be written to the swap");
        }
    }
    match &config.state {
        Some(state) if state.allow_persistent => {
            say("state: allow persistent".to_owned(), "the token and leases may stay on a disk");
        }
        Some(_) => {}
        None => say("no `state`".to_owned(), "each restart logs in anew and takes out new leases"),
    }
    for (name, secret) in config.secrets.iter().filter(|(_, secret)| secret.allow_expiry) {
        if secret.leased {
            say(format!("secret `{name}`: allow_expiry"), "nobody may be there to renew its lease");
        }
    }
    for (path, file) in config.files.iter().filter(|(_, file)| file.owner_user.is_some()) {
        if file.mode.is_multiple_of(0o100) {
            let what = format!("file `{path}`: owned by {}", file.owner_user.unwrap_or_default());
            say(
                what,
                "only root or that user itself can write it: Sidekey shares the reader's uid",
            );
        }
    }
    for hook in &config.on_change {
        if needs_same_uid(hook) {
            let what = format!("hook `{}`", super::plan::target(hook));
            let why = "signals need the same uid and a shared PID namespace: the application can reach Sidekey's process";
            say(what, why);
        }
    }
    found
}

fn needs_same_uid(hook: &HookConfig) -> bool {
    let restarts = |confirm: &Confirm| matches!(confirm.otherwise, Otherwise::Restart(_));
    matches!(hook.kind, HookKind::Signal { .. }) || hook.confirm.as_ref().is_some_and(restarts)
}

/// What a hook can reach, in words.
pub fn reach(hook: &HookConfig) -> String {
    match &hook.kind {
        HookKind::Http { to: HttpTarget::Url(url), .. } => {
            let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let host = host.split('/').next().unwrap_or_default();
            if is_near(host) { "this pod".to_owned() } else { format!("the network: {host}") }
        }
        HookKind::Http { to: HttpTarget::Unix { .. }, .. } => {
            "whoever shares the socket's directory".to_owned()
        }
        HookKind::Signal { .. } => "processes of the same uid".to_owned(),
        HookKind::Command { argv } => {
            let program = argv.first().map(Path::new);
            let name = program.and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            format!("Sidekey's own container: `{name}` must be in its image")
        }
    }
}

fn is_near(host: &str) -> bool {
    let name = host.strip_prefix('[').map_or_else(
        || host.rsplit_once(':').map_or(host, |(name, _)| name),
        |bracketed| bracketed.split(']').next().unwrap_or_default(),
    );
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
