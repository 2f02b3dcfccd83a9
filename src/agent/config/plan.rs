//! What a config would do: the plan that `check` shows.

use std::fmt::Write as _;

use serde_json::{Value, json};

pub use super::fleet::{Load, loads};
use super::model::{
    Config, Confirm, ConfirmBy, Content, HookConfig, HookKind, HttpTarget, Login, Otherwise,
    ProcessMatch, SecretConfig, StoreKind, TokenSource, Trigger,
};
use crate::secret::{SecretName, VolumeName};

use super::weak::{reach, weak};

/// The plan for machines: `{secrets[], files[], volumes[], state, hooks[], weak[]}`.
pub fn to_json(config: &Config) -> Value {
    let secrets = config.secrets.iter().map(|(name, secret)| secret_json(config, name, secret));
    let files = config.files.iter().map(|(path, file)| {
        let group = config.groups.iter().find(|group| group.files.contains(path));
        let volume = config.volumes.get(&file.volume);
        json!({
            "path": path.as_str(),
            "volume": file.volume.as_str(),
            "mount": volume.map(|volume| volume.path.display().to_string()),
            "group": group.map(|group| group.name.clone()),
            "mode": format!("{:04o}", file.mode),
            "owner_user": file.owner_user,
            "owner_group": file.owner_group,
            "format": format_word(&file.content),
            "secrets": file.secrets().iter().map(|secret| secret.as_str()).collect::<Vec<_>>(),
        })
    });
    let hooks = config.on_change.iter().map(|hook| {
        json!({
            "kind": kind_word(hook),
            "to": target(hook),
            "reach": reach(hook),
            "when": hook.when.iter().map(trigger).collect::<Vec<_>>(),
            "confirm": hook.confirm.as_ref().map(confirm_words),
        })
    });
    let volumes = config.volumes.iter().map(|(name, volume)| {
        json!({
            "name": name.as_str(),
            "path": volume.path.display().to_string(),
            "size": volume.size,
            "keep_previous_seconds": volume.keep_previous.as_secs_f64(),
        })
    });
    let weak = weak(config);
    let weak = weak.iter().map(|weak| json!({ "what": weak.what, "why": weak.why }));
    json!({
        "secrets": secrets.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "volumes": volumes.collect::<Vec<_>>(),
        "state": config.state.as_ref().map(|state| state.path.display().to_string()),
        "hooks": hooks.collect::<Vec<_>>(),
        "weak": weak.collect::<Vec<_>>(),
    })
}

fn secret_json(config: &Config, name: &SecretName, secret: &SecretConfig) -> Value {
    json!({
        "name": name.as_str(),
        "store": secret.from.store.as_str(),
        "path": secret.from.path,
        "field": secret.from.field.to_string().trim_start_matches('.'),
        "version": secret.from.version,
        "identity": config.stores.get(&secret.from.store).map(identity),
        "refresh_seconds": secret.refresh.as_secs_f64(),
        "optional": secret.optional,
        "leased": secret.leased,
    })
}

/// The plan for people.
pub fn to_text(config: &Config) -> String {
    let mut rows =
        vec![vec!["SECRET", "FROM", "AS", "REFRESH"].into_iter().map(String::from).collect()];
    for (name, secret) in &config.secrets {
        rows.push(vec![
            name.to_string(),
            secret.from.to_string(),
            config.stores.get(&secret.from.store).map(identity).unwrap_or_default(),
            pace(secret),
        ]);
    }
    let mut text = table(&rows);
    let mut rows = vec![
        vec!["FILE", "MODE", "OWNER", "FORMAT", "GROUP", "VOLUME"]
            .into_iter()
            .map(String::from)
            .collect(),
    ];
    for (path, file) in &config.files {
        let id = |id: Option<u32>| id.map_or("-".to_owned(), |id| id.to_string());
        let mount = config.volumes.get(&file.volume).map(|v| v.path.display().to_string());
        let group = config.groups.iter().find(|group| group.files.contains(path));
        rows.push(vec![
            format!("{}/{path}", mount.unwrap_or_default()),
            format!("{:04o}", file.mode),
            format!("{}:{}", id(file.owner_user), id(file.owner_group)),
            format_word(&file.content).to_owned(),
            group.map(|group| group.name.clone()).unwrap_or_default(),
            file.volume.to_string(),
        ]);
    }
    if !config.files.is_empty() {
        let _ = write!(text, "\n{}", table(&rows));
    }
    let _ = write!(text, "{}", variables_text(config));
    let _ = write!(text, "{}", volumes_text(config));
    if !config.on_change.is_empty() {
        let mut rows = vec![
            vec!["HOOK", "TO", "REACHES", "WHEN", "CONFIRM"]
                .into_iter()
                .map(String::from)
                .collect(),
        ];
        for hook in &config.on_change {
            let when: Vec<String> = hook.when.iter().map(trigger).collect();
            rows.push(vec![
                kind_word(hook).to_owned(),
                target(hook),
                reach(hook),
                if when.is_empty() { "any".to_owned() } else { when.join(", ") },
                hook.confirm.as_ref().map_or("-".to_owned(), confirm_words),
            ]);
        }
        let _ = write!(text, "\n{}", table(&rows));
    }
    let weak = weak(config);
    if !weak.is_empty() {
        let mut rows = vec![["WEAK", "BECAUSE"].map(String::from).to_vec()];
        rows.extend(weak.into_iter().map(|weak| vec![weak.what, weak.why.to_owned()]));
        let _ = write!(text, "\n{}", table(&rows));
    }
    text
}

fn variables_text(config: &Config) -> String {
    if config.env.is_empty() {
        return String::new();
    }
    let mut rows = vec![["VARIABLE", "FROM"].map(String::from).to_vec()];
    for (name, field) in &config.env {
        let optional = if field.optional { " (optional)" } else { "" };
        rows.push(vec![name.clone(), format!("{}{}{optional}", field.secret, field.field)]);
    }
    format!("\n{}", table(&rows))
}

fn volumes_text(config: &Config) -> String {
    let mut rows = vec![["VOLUME", "AT", "SIZE", "KEEPS THE PREVIOUS"].map(String::from).to_vec()];
    let kib = |size: u64| format!("{} KiB", size / 1024);
    let used = |name: &VolumeName| config.files.values().any(|file| file.volume == *name);
    for (name, volume) in config.volumes.iter().filter(|(name, _)| used(name)) {
        rows.push(vec![
            name.to_string(),
            volume.path.display().to_string(),
            kib(volume.size),
            format!("{} s", volume.keep_previous.as_secs_f64()),
        ]);
    }
    if let Some(state) = &config.state {
        let path = state.path.display().to_string();
        rows.push(vec!["(state)".to_owned(), path, kib(state.size), "-".to_owned()]);
    }
    if rows.len() == 1 { String::new() } else { format!("\n{}", table(&rows)) }
}

/// Whether it is asked for each `refresh`, as far as the config tells.
pub fn is_polled(secret: &SecretConfig) -> bool {
    pace(secret).ends_with(" s")
}

/// When it is asked for again, as far as the config tells; the answer may tell more.
fn pace(secret: &SecretConfig) -> String {
    let has =
        |words: &[&str]| secret.from.path.split('/').skip(1).any(|part| words.contains(&part));
    if secret.pinned {
        "pinned".to_owned()
    } else if secret.from.path == "kms/decrypt" {
        "when it changes".to_owned()
    } else if secret.leased {
        "by its lease".to_owned()
    } else if !secret.with.is_empty() && has(&["issue", "sign", "sign-verbatim"]) {
        "by its dates".to_owned()
    } else if has(&["static-creds", "static-cred"]) {
        "by the store".to_owned()
    } else {
        format!("{} s", secret.refresh.as_secs_f64())
    }
}

/// Aligns columns; the last one is as long as it is.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Who we are to a store, in words.
pub fn identity(store: &StoreKind) -> String {
    match store {
        StoreKind::Local(local) => format!("key {}", local.key_file.display()),
        StoreKind::Aws(aws) => match &aws.role {
            Some(role) => format!("role {}", role.arn),
            None => "the AWS default chain".to_owned(),
        },
        StoreKind::Vault(vault) => match &vault.login {
            Login::Kubernetes { role, mount, .. } => format!("role {role} ({mount})"),
            Login::Jwt { role, mount, .. } => format!("role {role} ({mount})"),
            Login::AppRole { mount, .. } => format!("approle ({mount})"),
            Login::Cert { role: Some(role), mount } => format!("role {role} ({mount})"),
            Login::Cert { role: None, mount } => format!("certificate ({mount})"),
            Login::Aws { role: Some(role), mount, .. } => format!("role {role} ({mount})"),
            Login::Aws { role: None, mount, .. } => format!("AWS identity ({mount})"),
            Login::Token(TokenSource::Env(name)) => format!("token ${name}"),
            Login::Token(TokenSource::File(path)) => format!("token {}", path.display()),
        },
    }
}

fn format_word(content: &Content) -> &'static str {
    match content {
        Content::Parts(_) => "raw",
        Content::Pkcs12 { .. } => "pkcs12",
        Content::Template { .. } => "template",
        Content::Entries(format, _) | Content::Whole(format, _) => format.word(),
    }
}

fn kind_word(hook: &HookConfig) -> &'static str {
    match hook.kind {
        HookKind::Http { .. } => "http",
        HookKind::Signal { .. } => "signal",
        HookKind::Command { .. } => "command",
    }
}

pub(super) fn target(hook: &HookConfig) -> String {
    match &hook.kind {
        HookKind::Http { to: HttpTarget::Url(url), method, .. } => format!("{method} {url}"),
        HookKind::Http { to: HttpTarget::Unix { socket, path }, method, .. } => {
            format!("{method} unix:{}{path}", socket.display())
        }
        HookKind::Signal { send, to, .. } => format!("{} to {}", signal_name(*send), process(to)),
        // Arguments may be meant for nobody else's eyes.
        HookKind::Command { argv } => argv.first().cloned().unwrap_or_default(),
    }
}

fn signal_name(number: i32) -> String {
    let known = super::units::SIGNALS.iter().find(|(_, n)| *n == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

fn process(process: &ProcessMatch) -> String {
    match process {
        ProcessMatch::Name(name) => name.clone(),
        ProcessMatch::Exe(path) => path.display().to_string(),
        ProcessMatch::Cmdline(part) => format!("`{part}`"),
        ProcessMatch::PidFile(path) => format!("the process in {}", path.display()),
    }
}

fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::File(file) => file.to_string(),
        Trigger::Group(group) => group.to_string(),
    }
}

fn confirm_words(confirm: &Confirm) -> String {
    let by = match &confirm.by {
        ConfirmBy::Status(status) => format!("status {status}"),
        ConfirmBy::Exit(code) => format!("exit {code}"),
        ConfirmBy::File(path) => format!("file {}", path.display()),
    };
    let otherwise = match &confirm.otherwise {
        Otherwise::Report => "report".to_owned(),
        Otherwise::RollBack => "roll back".to_owned(),
        Otherwise::Restart(target) => format!("restart {}", process(target)),
    };
    format!("{by} within {} s, else {otherwise}", confirm.within.as_secs_f64())
}
