//! What a policy of Vault or OpenBao must allow: which path, what on it, and what for. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::agent::config::SecretConfig;

/// One rule that a policy needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The path, without the mount of the API.
    pub path: String,
    /// The capability that is asked for in a policy; one that includes it does as well.
    pub capability: &'static str,
    /// What for.
    pub what_for: &'static str,
    /// Whether nothing is delivered without it.
    pub required: bool,
}

impl Need {
    fn new(path: &str, capability: &'static str, what_for: &'static str, required: bool) -> Need {
        Need { path: path.to_owned(), capability, what_for, required }
    }

    /// Whether somebody who may do this is allowed what is needed.
    pub fn is_met(&self, may: &[String]) -> bool {
        let enough: &[&str] = match self.capability {
            "update" => &["update", "create", "root"],
            "read" => &["read", "root"],
            other => &[other, "root"],
        };
        may.iter().any(|one| enough.contains(&one.as_str()))
    }
}

/// What `secrets` of one store need, each path once.
pub fn needs<'a>(secrets: impl Iterator<Item = &'a SecretConfig>) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut leased = false;
    for secret in secrets {
        let path = secret.from.path.as_str();
        leased |= secret.leased;
        if secret.with.is_empty() {
            needs.push(Need::new(path, "read", "the secret", true));
            needs.extend(versions_of(path).filter(|_| !secret.pinned));
        } else {
            needs.push(Need::new(path, "update", "the secret, made for parameters", true));
        }
    }
    if leased {
        needs.push(Need::new("sys/leases/renew", "update", "renewing leases", true));
        let what_for = "giving old leases back; without it they live to their end";
        needs.push(Need::new("sys/leases/revoke", "update", what_for, false));
    }
    needs.sort_by(|a, b| (&a.path, a.capability).cmp(&(&b.path, b.capability)));
    needs.dedup_by(|a, b| a.path == b.path && a.capability == b.capability);
    needs
}

/// The metadata of a KV 2 path, if it is clear where its mount ends.
fn versions_of(path: &str) -> Option<Need> {
    let mut cuts = path.match_indices("/data/");
    let ((cut, data), None) = (cuts.next()?, cuts.next()) else { return None };
    let metadata = format!("{}/metadata/{}", &path[..cut], &path[cut + data.len()..]);
    let what_for = "asking for the version alone; without it each look reads the value";
    Some(Need::new(&metadata, "read", what_for, false))
}

/// A policy that allows this.
pub fn policy<'a>(needs: impl IntoIterator<Item = &'a Need>) -> String {
    let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for need in needs {
        by_path.entry(&need.path).or_default().push(need.capability);
    }
    let mut text = String::new();
    for (path, mut capabilities) in by_path {
        capabilities.sort_unstable();
        let capabilities: Vec<String> =
            capabilities.iter().map(|capability| format!("\"{capability}\"")).collect();
        let path = path.replace('\\', "\\\\").replace('"', "\\\"");
        let _ =
            writeln!(text, "path \"{path}\" {{ capabilities = [{}] }}", capabilities.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::config::{OnDelete, Parameters, parse_reference};

    fn secret(from: &str, leased: bool, writes: bool) -> SecretConfig {
        let mut with = Parameters::default();
        if writes {
            with.values.insert("ttl".to_owned(), "1h".into());
        }
        SecretConfig {
            from: parse_reference(from, &|_| true).unwrap(),
            engine: None,
            refresh: Duration::from_secs(60),
            optional: false,
            on_delete: OnDelete::Keep,
            leased,
            pinned: from.contains('@'),
            with,
            allow_expiry: false,
        }
    }

    #[test]
    fn a_policy_has_each_path_once_with_what_is_needed_there() {
        let secrets = [
            secret("vault:secret/data/a", false, false),
            secret("vault:secret/data/a#x", false, false),
            secret("vault:secret/data/b@3", false, false),
            secret("vault:database/creds/orders", true, false),
            secret("vault:pki/issue/web", false, true),
        ];
        assert_eq!(
            policy(&needs(secrets.iter())),
            "path \"database/creds/orders\" { capabilities = [\"read\"] }\n\
             path \"pki/issue/web\" { capabilities = [\"update\"] }\n\
             path \"secret/data/a\" { capabilities = [\"read\"] }\n\
             path \"secret/data/b\" { capabilities = [\"read\"] }\n\
             path \"secret/metadata/a\" { capabilities = [\"read\"] }\n\
             path \"sys/leases/renew\" { capabilities = [\"update\"] }\n\
             path \"sys/leases/revoke\" { capabilities = [\"update\"] }\n"
        );
    }

    #[test]
    fn what_includes_a_capability_is_enough() {
        let may = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let read = Need::new("x", "read", "", true);
        let update = Need::new("x", "update", "", true);
        assert!(read.is_met(&may(&["root"])) && read.is_met(&may(&["list", "read"])));
        assert!(!read.is_met(&may(&["deny"])) && !read.is_met(&may(&[])));
        assert!(update.is_met(&may(&["create"])) && !update.is_met(&may(&["read"])));
    }
}
