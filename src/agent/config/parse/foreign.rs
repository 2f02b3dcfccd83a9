//! What is no config of ours: nothing at all, or a config of another tool. One helpful mistake then,
//! in place of a hundred that help nobody.

use super::super::mistake::{Mistake, Span};
use super::super::yaml::{Kind, Node};

const FIRST: &str =
    "Sidekey reads YAML: `stores:`, `secrets:`, `files:`; the README has a first config";

/// Blocks and settings of an agent's HCL. In YAML a `:` would follow.
const HCL: [&str; 14] = [
    "vault",
    "auto_auth",
    "template",
    "template_config",
    "env_template",
    "exec",
    "cache",
    "api_proxy",
    "listener",
    "sink",
    "telemetry",
    "pid_file",
    "exit_after_auth",
    "log_level",
];

/// A config without anything in it.
pub(super) fn empty() -> Mistake {
    Mistake::new(
        &Span { bytes: 0..0, line: 1, column: 1 },
        "the config is empty",
        "nothing is said about stores, secrets or files",
        "begin with `stores: { vault: { kind: vault, address: \"https://HOST:8200\" } }`, then \
         `secrets: { app: { from: \"vault:secret/data/app\" } }`, then \
         `files: { password: { from: app.password } }`",
    )
}

/// A config of Vault Agent, seen before YAML is tried: as YAML it would be nonsense.
pub(super) fn by_text(text: &str) -> Option<Mistake> {
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let start = line.len() - line.trim_start().len();
        let trimmed = line.trim();
        if let Some(block) = hcl_block(trimmed) {
            let bytes = at + start..at + start + trimmed.len();
            let column = line[..start].chars().count() + 1;
            return Some(Mistake::new(
                &Span { bytes, line: index + 1, column },
                "this is a config of Vault Agent or of OpenBao's agent (HCL)",
                format!("`{block}` is a word of theirs"),
                FIRST,
            ));
        }
        // Whatever comes first decides: below a key of ours, such a line is part of a template.
        if !trimmed.is_empty() && !trimmed.starts_with('#') && !trimmed.starts_with("//") {
            return None;
        }
        at += line.len();
    }
    None
}

fn hcl_block(line: &str) -> Option<&'static str> {
    HCL.into_iter().find(|word| {
        let Some(rest) = line.strip_prefix(word) else { return false };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            Some((_, rest)) => rest.trim_start(),
            None => rest,
        };
        rest.starts_with(['{', '='])
    })
}

/// A config of another tool that is YAML or JSON.
pub(super) fn by_keys(root: &Node) -> Option<Mistake> {
    let Kind::Map(entries) = &root.kind else { return None };
    let key = |name: &str| entries.iter().map(|(key, _)| key).find(|key| key.text() == Some(name));
    if let Some(auth) = key("auto_auth") {
        return Some(Mistake::new(
            &auth.span,
            "this is a config of Vault Agent or of OpenBao's agent",
            "`auto_auth` is a word of theirs",
            FIRST,
        ));
    }
    if let Some(sops) = key("sops") {
        return Some(Mistake::new(
            &sops.span,
            "this is a file that SOPS encrypted, not a config",
            "`sops` is a word of its own",
            "put what `sops --decrypt` shows into a store: `sidekey local edit FILE`; the config names \
             that store with `kind: local`",
        ));
    }
    if let Some(span) = entries.iter().find_map(|(_, value)| vals_reference(value, 0)) {
        return Some(Mistake::new(
            span,
            "this is a file for vals or helmfile, not a config",
            "`ref+` begins a reference of theirs",
            "`ref+vault://secret/data/app#/key` is `vault:secret/data/app#key` here: write \
             `secrets: { app: { from: \"vault:secret/data/app\" } }` and `files: { NAME: { from: app.key } }`",
        ));
    }
    let kind = entries.iter().find(|(name, _)| name.text() == Some("kind"));
    match (key("apiVersion"), kind) {
        (Some(version), Some((_, kind))) => Some(object(version, kind.text().unwrap_or_default())),
        _ => None,
    }
}

/// Objects of operators and drivers that fetch secrets too.
const OPERATORS: [&str; 8] = [
    "SecretProviderClass",
    "ExternalSecret",
    "ClusterExternalSecret",
    "SecretStore",
    "ClusterSecretStore",
    "VaultStaticSecret",
    "VaultDynamicSecret",
    "VaultPKISecret",
];

/// Objects that Sidekey is added to.
const WORKLOADS: [&str; 7] =
    ["Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"];

/// A Kubernetes object.
fn object(version: &Node, kind: &str) -> Mistake {
    if let Some(kind) = OPERATORS.into_iter().find(|known| *known == kind) {
        return Mistake::new(
            &version.span,
            format!("this is a Kubernetes object ({kind}), not a config"),
            "it is for an operator or a driver that fetches secrets itself",
            "the store it names stands below `stores:` here, each path below `secrets:`, and each key \
             below `files:`; the README has a first config",
        );
    }
    if WORKLOADS.contains(&kind) {
        return Mistake::new(
            &version.span,
            format!("this is a Kubernetes object ({kind}), not a config"),
            "`apiVersion` and `kind` are words of Kubernetes",
            "`sidekey inject -f FILE` adds Sidekey to it; the config stands in a file or a ConfigMap of its own",
        );
    }
    Mistake::new(
        &version.span,
        "this is a Kubernetes object, not a config",
        "`apiVersion` and `kind` are words of Kubernetes",
        "pass the text that stands in the ConfigMap, or mount the ConfigMap and pass its file",
    )
}

/// Where a reference of vals stands, not too deep.
fn vals_reference(node: &Node, depth: u32) -> Option<&Span> {
    match &node.kind {
        Kind::Map(entries) if depth < 8 => {
            entries.iter().find_map(|(_, value)| vals_reference(value, depth + 1))
        }
        Kind::List(items) if depth < 8 => {
            items.iter().find_map(|item| vals_reference(item, depth + 1))
        }
        _ => node.text().filter(|text| text.starts_with("ref+")).map(|_| &node.span),
    }
}
