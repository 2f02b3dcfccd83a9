//! `check`: every mistake at once, and the plan.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use annotate_snippets::Level;
use serde_json::{Value, json};

use super::{CheckArgs, OutputFormat, complain, print, read_source, with_surroundings};
use crate::agent::config::{self, Config, Parsed, SecretConfig, Source};
use crate::agent::pipeline;
use crate::agent::reason::{Exit, Reason, Report};
use crate::agent::render::Renderer;
use crate::agent::rotate;
use crate::agent::store::{Store, Wanted};
use crate::secret::StoreName;

pub(super) fn check(args: &CheckArgs) -> Exit {
    if args.schema {
        print(&format!("{:#}\n", config::schema()));
        return Exit::Done;
    }
    let source = match read_source(&args.config) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let parsed = match with_surroundings(|around| config::parse(&source, around)) {
        Ok(parsed) => parsed,
        Err(mistakes) => {
            match args.output {
                OutputFormat::Json => {
                    let json = |mistakes: &[config::Mistake]| -> Vec<Value> {
                        mistakes.iter().map(config::Mistake::to_json).collect()
                    };
                    let (errors, warnings) = (&mistakes.mistakes, &mistakes.warnings);
                    answer_json(&json(errors), &json(warnings), &Value::Null);
                }
                OutputFormat::Text => {
                    let colour = std::io::stderr().is_terminal();
                    let _ = writeln!(std::io::stderr().lock(), "{}", mistakes.render(colour));
                }
            }
            return Exit::Config;
        }
    };
    let mut failures: Vec<Report> = Renderer::compile(&parsed.config.files)
        .map_or_else(|errors| errors.iter().map(|error| error.report()).collect(), |_| Vec::new());
    if args.live {
        failures.extend(live(&parsed.config));
    }
    match args.output {
        OutputFormat::Json => show_json(&parsed, &failures),
        OutputFormat::Text => show_text(&source, &parsed, &failures, args.live),
    }
    Exit::of_all(failures.iter().map(|report| report.reason))
}

fn show_json(parsed: &Parsed, failures: &[Report]) {
    let errors = failures.iter().map(|report| {
        json!({
            "line": null, "column": null, "reason": report.reason.word(),
            "what": report.what, "why": report.why, "hint": report.hint,
        })
    });
    let warnings: Vec<Value> = parsed.warnings.iter().map(config::Mistake::to_json).collect();
    answer_json(&errors.collect::<Vec<_>>(), &warnings, &config::plan::to_json(&parsed.config));
}

fn answer_json(errors: &[Value], warnings: &[Value], plan: &Value) {
    let answer = json!({
        "ok": errors.is_empty(), "errors": errors, "warnings": warnings, "plan": plan,
    });
    print(&format!("{answer:#}\n"));
}

fn show_text(source: &Source, parsed: &Parsed, failures: &[Report], live: bool) {
    let colour = std::io::stderr().is_terminal();
    let origin = source.origin.to_string();
    for warning in &parsed.warnings {
        let text = warning.render(Level::WARNING, &origin, &source.text, colour);
        let _ = writeln!(std::io::stderr().lock(), "{text}\n");
    }
    failures.iter().for_each(complain);
    print(&config::plan::to_text(&parsed.config));
    let verdict = match (failures.len(), live) {
        (0, true) => "ok: the config is valid, and every secret can be read",
        (0, false) => "ok: the config is valid (`--live` also asks the stores)",
        _ => "not ok",
    };
    print(&format!("\n{verdict}\n"));
}

/// Whether a secret can be had. One that would be made for the asking is not: the store is asked
/// whether it would be.
async fn try_out(store: &Store, secret: &SecretConfig) -> Result<(), Report> {
    let (from, now) = (&secret.from, rotate::now().0);
    if store.only_reads() {
        let files = pipeline::parameter_files(&secret.with)?;
        let wanted = Wanted { files: &files, ..Wanted::plain(from, &secret.with, now) };
        return store.fetch(wanted).await.map(drop).map_err(|error| error.report());
    }
    let writes = !secret.with.is_empty();
    let makes = store.makes(from, now).await.map_err(|error| error.report())?;
    if secret.leased || writes || makes {
        return store.may(from, writes, now).await.map_err(|error| error.report());
    }
    let wanted = Wanted { engine: secret.engine, ..Wanted::plain(from, &secret.with, now) };
    store.fetch(wanted).await.map(drop).map_err(|error| error.report())
}

/// Logs in to each store and reads each secret that something uses; nothing is kept or delivered.
fn live(config: &Config) -> Vec<Report> {
    let named = pipeline::named_secrets(config);
    let wanted: BTreeSet<StoreName> = config
        .secrets
        .iter()
        .filter(|(n, _)| named.contains(n))
        .map(|(_, s)| s.from.store.clone())
        .collect();
    let stores = match pipeline::stores(&config.stores, &wanted) {
        Ok(stores) => stores,
        Err(report) => return vec![report],
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return vec![Report::new(Reason::Bug, "can't start", "the kernel gives no event queue")];
    };
    runtime.block_on(async {
        let mut failures = Vec::new();
        for (_, secret) in config.secrets.iter().filter(|(name, _)| named.contains(name)) {
            let Some(store) = stores.get(&secret.from.store) else { continue };
            if let Err(report) = try_out(store, secret).await
                && !secret.optional
            {
                failures.push(report);
            }
        }
        for store in stores.values().filter(|store| store.session_is_ours()) {
            store.logout().await;
        }
        failures.dedup();
        failures
    })
}
