//! `exec`: config and environment → secrets → the command.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::serve::{self, Wanted};
use super::{ExecArgs, Logging, complain, load};
use crate::agent::config::{
    self, Config, FieldRef, Login, OnDelete, Parameters, SecretConfig, SecretRef, StoreKind,
    TokenSource,
};
use crate::agent::pipeline::{self, Mode, Program};
use crate::agent::reason::{Reason, Report};
use crate::secret::{FieldPath, SecretName};

/// How often a reference in the environment is asked for.
const REFRESH: std::time::Duration = std::time::Duration::from_secs(5 * 60);

pub(super) fn exec(args: &ExecArgs, logging: Logging<'_>) -> u8 {
    let (source, parsed) = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit.code(),
    };
    let mut config = parsed.config;
    let environment = match take_references(&mut config, std::env::vars_os()) {
        Ok(environment) => environment,
        Err(reports) => return refuse(&reports),
    };
    if let Some(report) = nothing_or_too_much(&config, args.replace) {
        return refuse(&[report]);
    }
    let (observe, say) = serve::begin(&logging, "exec");
    let mode = if args.replace { Mode::Once } else { Mode::Stay };
    let wanted: Wanted = (
        Program {
            argv: args.command.clone(),
            environment,
            umask: logging.hardened.umask,
            core_limit: logging.hardened.core_limit,
        },
        args.replace,
    );
    let ending = serve::deliver(&config, &source, &observe, mode, Some(wanted));
    ending.reports.iter().for_each(say);
    if let Some((program, variables)) = ending.command {
        let failed = program.become_it(&variables);
        say(&failed.report);
        return failed.code;
    }
    ending.code.unwrap_or(ending.exit.code())
}

fn refuse(reports: &[Report]) -> u8 {
    reports.iter().for_each(complain);
    crate::agent::reason::Exit::of_all(reports.iter().map(|report| report.reason)).code()
}

/// What can be said before anything is asked for.
fn nothing_or_too_much(config: &Config, replace: bool) -> Option<Report> {
    let used = pipeline::named_secrets(config);
    if used.is_empty() {
        let what = "there is nothing to give to the command";
        return Some(
            Report::new(Reason::ConfigInvalid, what, "no variable and no file holds a secret")
                .hint(
                    "add `env: { NAME: SECRET.FIELD }`, or a variable like NAME=STORE:PATH#FIELD",
                ),
        );
    }
    let leased = config.secrets.iter().filter(|(name, secret)| {
        replace && used.contains(name) && secret.leased && !secret.allow_expiry
    });
    let names: Vec<String> = leased.map(|(name, _)| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        Report::new(
            Reason::ConfigInvalid,
            format!("`exec --replace` can't give {} to the command", names.join(", ")),
            "it comes with a lease, and a process that became the command renews nothing",
        )
        .hint("leave out `--replace`, or say `allow_expiry: true` if the command ends before the lease does")
    })
}

/// Takes the variables that are references out of the environment, and puts secrets into the config
/// for them. What is left is what the command gets, without what logs in to a store.
///
/// A value is a reference only if it begins with a configured store and has a `#`.
fn take_references(
    config: &mut Config,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(OsString, OsString)>, Vec<Report>> {
    let (mut left, mut mistakes) = (Vec::new(), Vec::new());
    let logins = logins(config);
    for (name, value) in variables {
        let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
        let store = text.split_once(':').map(|(store, _)| store);
        let known = store.is_some_and(|store| config.stores.keys().any(|k| k.as_str() == store));
        if !(known && text.contains('#')) {
            let shown = name.to_string_lossy();
            let given = config.env.contains_key(shown.as_ref());
            if !given && !is_login(&shown, &logins) {
                left.push((name, value));
            }
            continue;
        }
        match secret_for(config, &name, text) {
            Ok((field, new)) => {
                let variable = name.to_string_lossy().into_owned();
                config.secrets.extend(new.map(|new| (field.secret.clone(), new)));
                config.env.insert(variable, field);
            }
            Err(report) => mistakes.push(report),
        }
    }
    if mistakes.is_empty() { Ok(left) } else { Err(mistakes) }
}

/// What a reference means: a field of a secret that is in the config already, or of a new one. Two
/// variables that name one path are of one answer: a user and a password of two don't fit.
fn secret_for(
    config: &Config,
    name: &OsString,
    text: &str,
) -> Result<(FieldRef, Option<SecretConfig>), Report> {
    let shown = name.to_string_lossy();
    let wrong = |why: String| {
        Report::new(
            Reason::ConfigInvalid,
            format!("the variable `{}` holds no reference", shown.escape_debug()),
            why,
        )
        .hint("write STORE:PATH#FIELD, or STORE:PATH#FIELD@VERSION")
    };
    let secret = SecretName::parse(&format!("env_{shown}"))
        .map_err(|_| wrong("its name is not one for a variable".to_owned()))?;
    let stores: Vec<&str> = config.stores.keys().map(|name| name.as_str()).collect();
    let from = config::parse_reference(&at_version(text), &|name| stores.contains(&name))
        .map_err(|error| wrong(error.to_string()))?;
    let field = from.field.clone();
    let from = SecretRef { field: FieldPath::Whole, ..from };
    let same = |(_, known): &(&SecretName, &SecretConfig)| {
        known.from == from && known.with.is_empty() && !known.optional
    };
    if let Some((known, _)) = config.secrets.iter().find(same) {
        return Ok((FieldRef { secret: known.clone(), field, optional: false }, None));
    }
    let kind = config.stores.get(&from.store);
    let is_vault = matches!(kind, Some(StoreKind::Vault(_)));
    let pinned = config::is_pinned(&from, matches!(kind, Some(StoreKind::Aws(_))));
    let leased = is_vault && from.path.split('/').skip(1).any(|part| part == "creds");
    let secret_config = SecretConfig {
        from,
        engine: None,
        refresh: REFRESH,
        optional: false,
        on_delete: OnDelete::Keep,
        leased,
        pinned,
        with: Parameters::default(),
        allow_expiry: false,
    };
    Ok((FieldRef { secret, field, optional: false }, Some(secret_config)))
}

/// `#FIELD#VERSION`, as bank-vaults writes it, is `#FIELD@VERSION` here.
fn at_version(text: &str) -> String {
    match text.match_indices('#').collect::<Vec<_>>().as_slice() {
        [_, (second, _)] => format!("{}@{}", &text[..*second], &text[second + 1..]),
        _ => text.to_owned(),
    }
}

/// The variables that the config names as logins.
fn logins(config: &Config) -> Vec<String> {
    let named = config.stores.values().filter_map(|store| match store {
        StoreKind::Vault(vault) => match &vault.login {
            Login::Token(TokenSource::Env(name)) => Some(name.clone()),
            _ => None,
        },
        StoreKind::Local(_) | StoreKind::Aws(_) => None,
    });
    named.collect()
}

/// Whether a variable logs in to a store, or holds our config: not the command's business.
fn is_login(name: &str, logins: &[String]) -> bool {
    const KNOWN: [&str; 5] = [
        "BAO_TOKEN",
        "VAULT_TOKEN",
        "SIDEKEY_CONFIG_YAML",
        config::POD_VARIABLE,
        "SIDEKEY_LOCAL_KEY",
    ];
    KNOWN.contains(&name)
        || name.ends_with("_SECRET_ID")
        || logins.iter().any(|login| login == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_hash_is_the_version_of_bank_vaults() {
        for (text, meant) in [
            ("vault:secret/data/x#a#3", "vault:secret/data/x#a@3"),
            ("vault:secret/data/x#a", "vault:secret/data/x#a"),
            ("vault:secret/data/x#a@3", "vault:secret/data/x#a@3"),
        ] {
            assert_eq!(at_version(text), meant);
        }
    }

    #[test]
    fn what_logs_in_is_not_for_the_command() {
        let logins = ["MY_TOKEN".to_owned()];
        for name in ["VAULT_TOKEN", "BAO_TOKEN", "APP_SECRET_ID", "MY_TOKEN", "SIDEKEY_CONFIG_YAML"]
        {
            assert!(is_login(name, &logins), "{name}");
        }
        for name in ["PATH", "TOKEN", "SECRET_ID_FILE", "VAULT_ADDR"] {
            assert!(!is_login(name, &logins), "{name}");
        }
    }
}
