//! `get`: one secret's exact bytes to stdout.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use super::{GetArgs, complain, load};
use crate::agent::config::{self, Config, Engine, FieldRef, Parameters, SecretRef};
use crate::agent::pipeline;
use crate::agent::reason::{Exit, Reason, Report};
use crate::agent::rotate;
use crate::agent::store::{Answer, Store, Wanted};
use crate::secret::{FieldPath, Lease, Secret, SecretBytes, SecretValue};

pub(super) fn get(args: &GetArgs) -> Exit {
    let (_, parsed) = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match fetch(&parsed.config, args) {
        Ok(bytes) => write(&bytes),
        Err(report) => {
            complain(&report);
            report.reason.exit()
        }
    }
}

/// What a REF on the command line means.
struct Meant {
    from: SecretRef,
    engine: Option<Engine>,
    with: Parameters,
    field: FieldPath,
}

fn meant(config: &Config, text: &str) -> Result<Meant, Report> {
    let usage = |why: String, hint: String| {
        Report::new(
            Reason::ConfigInvalid,
            format!("`{}` names no secret", text.escape_debug()),
            why,
        )
        .hint(hint)
    };
    let stores: Vec<&str> = config.stores.keys().map(|name| name.as_str()).collect();
    if text.contains(':') {
        let from =
            config::parse_reference(text, &|name| stores.contains(&name)).map_err(|error| {
                usage(error.to_string(), "write STORE:PATH#FIELD@VERSION".to_owned())
            })?;
        return Ok(Meant {
            from,
            engine: None,
            with: Parameters::default(),
            field: FieldPath::Whole,
        });
    }
    let FieldRef { secret, field, .. } = config::parse_field(text).ok_or_else(|| {
        usage(
            "it is neither STORE:PATH nor NAME.FIELD".to_owned(),
            "see `sidekey get --help`".to_owned(),
        )
    })?;
    let Some(known) = config.secrets.get(&secret) else {
        let names: Vec<&str> = config.secrets.keys().map(|name| name.as_str()).collect();
        return Err(usage(
            "it is not in `secrets:`".to_owned(),
            config::suggest(secret.as_str(), &names),
        ));
    };
    let (from, with) = (known.from.clone(), known.with.clone());
    Ok(Meant { from, engine: known.engine, with, field })
}

fn fetch(config: &Config, args: &GetArgs) -> Result<SecretBytes, Report> {
    let text = args.reference.as_str();
    let meant = meant(config, text)?;
    let files = pipeline::parameter_files(&meant.with)?;
    let wanted = BTreeSet::from([meant.from.store.clone()]);
    let stores = pipeline::stores(&config.stores, &wanted)?;
    let store = stores.values().next().ok_or_else(|| {
        Report::new(Reason::ConfigInvalid, "there is no such store", "it is not in `stores:`")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| Report::new(Reason::Bug, "can't start", "the kernel gives no event queue"))?;
    runtime.block_on(async {
        let now = rotate::now().0;
        let Meant { from, engine, with, field } = &meant;
        let plain = Wanted::plain(from, with, now);
        let wanted = Wanted { engine: *engine, files: &files, leases: true, ..plain };
        let fetched = tokio::time::timeout(config.init_within, store.fetch(wanted)).await;
        let fetched = fetched.map(|fetched| fetched.map(|fetched| fetched.answer));
        let fetched = match fetched {
            Ok(Ok(Answer::Moved(secret))) => {
                let bytes = bytes_at(&secret, field, text);
                // What is not printed is of no use to anybody.
                let keeps = args.keep_lease && bytes.is_ok();
                if let Some(lease) = &secret.lease {
                    complain(&of_a_lease(text, lease, keeps));
                }
                leave(store, secret.lease.as_ref(), keeps).await;
                return bytes;
            }
            other => other,
        };
        leave(store, None, false).await;
        match fetched {
            Ok(Ok(_)) => Err(Report::new(Reason::Bug, "no value", "the store gave none")),
            Ok(Err(error)) => Err(error.report()),
            Err(_) => Err(Report::new(
                Reason::DeadlineOver,
                format!("no answer within {} s", config.init_within.as_secs_f64()),
                "the store is slow",
            )
            .hint("try again, or raise `init.within`")),
        }
    })
}

/// Gives back the lease and the login, unless the lease is kept: it hangs on the login.
async fn leave(store: &Store, lease: Option<&Lease>, keeps: bool) {
    if store.session_is_ours() {
        if lease.is_none() || !keeps {
            store.logout().await;
        }
    } else if let Some(lease) = lease.filter(|_| !keeps) {
        let _ = store.revoke(lease).await;
    }
}

fn of_a_lease(text: &str, lease: &Lease, kept: bool) -> Report {
    let what = format!("`{}` comes with a lease", text.escape_debug());
    if !kept {
        let why = "nobody would renew it, so it is revoked: what is printed is no longer good";
        return Report::new(Reason::LeaseUnexpected, what, why)
            .hint("say `--keep-lease` to let it live to its end");
    }
    let ends =
        lease.duration.map_or("at no known time".to_owned(), |d| format!("in {} s", d.as_secs()));
    let why = format!("nobody renews it: it ends {ends}, and with the login at the latest");
    Report::new(Reason::LeaseUnexpected, what, why)
        .hint("`sidekey run` renews leases and gives them back")
}

fn bytes_at(secret: &Secret, field: &FieldPath, text: &str) -> Result<SecretBytes, Report> {
    let missing = |fields: Vec<&str>| {
        let hint = match fields.as_slice() {
            [] => "it has no fields".to_owned(),
            fields => format!("its fields: {}", fields.join(", ")),
        };
        let what = format!("`{}` is not in the secret", text.escape_debug());
        Report::new(Reason::FieldMissing, what, "the field is missing or null").hint(hint)
    };
    let value = secret.value.at(field).ok_or_else(|| missing(secret.value.field_names()))?;
    match value {
        SecretValue::Null => Err(missing(Vec::new())),
        value => value
            .to_bytes()
            .map_err(|error| {
                Report::new(Reason::FormatRefused, "can't write the secret", error.to_string())
            })?
            .ok_or_else(|| missing(Vec::new())),
    }
}

/// Writes exact bytes, with a newline on a terminal.
pub(super) fn write(bytes: &SecretBytes) -> Exit {
    let mut out = std::io::stdout().lock();
    let newline: &[u8] = if out.is_terminal() { b"\n" } else { b"" };
    let written = out.write_all(bytes.expose()).and_then(|()| out.write_all(newline));
    if written.and_then(|()| out.flush()).is_ok() { Exit::Done } else { Exit::Volume }
}
