//! `check`: every mistake at once, the plan, what is weak, and what will hurt later.

mod fleet;
mod live;
mod mounts;

use std::io::Write;

use annotate_snippets::Level;
use serde_json::{Value, json};

use super::{CheckArgs, OutputFormat, colour, complain, print, read_source, with_surroundings};
use crate::agent::config::{self, Mistake, Mistakes, Parsed, Source};
use crate::agent::reason::{Exit, Report};
use crate::agent::render::Renderer;
use crate::sandbox::{self, Confinement};
use live::Live;

/// What was found besides the plan.
struct Found {
    /// What is wrong.
    failures: Vec<Report>,
    /// What will hurt, and has no line in the config.
    remarks: Vec<Report>,
    /// What the stores said, if they were asked.
    live: Option<Live>,
    /// What a number of pods would ask for.
    fleet: Option<fleet::Fleet>,
}

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
        Err(mistakes) => return refuse(&mistakes, args.output),
    };
    let found = look(&parsed, args);
    match args.output {
        OutputFormat::Json => show_json(&parsed, &found),
        OutputFormat::Text => show_text(&source, &parsed, &found),
    }
    Exit::of_all(found.failures.iter().map(|report| report.reason))
}

/// A config with mistakes: they are all there is to say.
fn refuse(mistakes: &Mistakes, output: OutputFormat) -> Exit {
    match output {
        OutputFormat::Json => {
            let json = |mistakes: &[Mistake]| -> Vec<Value> {
                mistakes.iter().map(Mistake::to_json).collect()
            };
            answer_json(&json(&mistakes.mistakes), &json(&mistakes.warnings), &Value::Null, []);
        }
        OutputFormat::Text => {
            let _ = writeln!(std::io::stderr().lock(), "{}", mistakes.render(colour()));
        }
    }
    Exit::Config
}

fn look(parsed: &Parsed, args: &CheckArgs) -> Found {
    let config = &parsed.config;
    let mut failures: Vec<Report> = Renderer::compile(&config.files)
        .map_or_else(|errors| errors.iter().map(|error| error.report()).collect(), |_| Vec::new());
    let mut live = args.live.then(|| live::ask(config));
    failures.extend(live.iter_mut().flat_map(|live| std::mem::take(&mut live.failures)));
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut remarks = mounts::remarks(config, &mountinfo);
    let fleet = args.pods.map(|pods| fleet::Fleet::of(config, pods, args.quota));
    remarks.extend(fleet.iter().flat_map(|fleet| fleet.remarks(config)));
    Found { failures, remarks, live, fleet }
}

fn show_json(parsed: &Parsed, found: &Found) {
    let json = |report: &Report| {
        json!({
            "line": null, "column": null, "reason": report.reason.word(),
            "what": report.what, "why": report.why, "hint": report.hint,
        })
    };
    let errors: Vec<Value> = found.failures.iter().map(json).collect();
    let warnings = parsed.warnings.iter().map(Mistake::to_json);
    let warnings: Vec<Value> = warnings.chain(found.remarks.iter().map(json)).collect();
    let live = found.live.as_ref().map(|live| {
        let access = live.access.iter().map(live::Access::to_json);
        ("live", Value::Array(access.collect()))
    });
    let fleet = found.fleet.as_ref().map(|fleet| ("fleet", fleet.to_json()));
    let sandbox = ("sandbox", sandbox_json(&sandbox::offered()));
    let more = live.into_iter().chain(fleet).chain([sandbox]);
    answer_json(&errors, &warnings, &config::plan::to_json(&parsed.config), more);
}

/// How far `init` and `run` will be locked in, if they start on this machine.
fn sandbox_json(offered: &Confinement) -> Value {
    json!({
        "confinement": offered.level(), "landlock": offered.landlock, "seccomp": offered.seccomp,
    })
}

fn sandbox_text(offered: &Confinement) -> String {
    let mut text = format!("sandbox of `init` and `run` on this machine: {}\n", offered.level());
    for remark in offered.remarks() {
        text.push_str("  ");
        text.push_str(remark);
        text.push('\n');
    }
    text
}

fn answer_json(
    errors: &[Value],
    warnings: &[Value],
    plan: &Value,
    more: impl IntoIterator<Item = (&'static str, Value)>,
) {
    let mut answer = json!({
        "ok": errors.is_empty(), "errors": errors, "warnings": warnings, "plan": plan,
    });
    for (key, value) in more {
        answer[key] = value;
    }
    print(&format!("{answer:#}\n"));
}

fn show_text(source: &Source, parsed: &Parsed, found: &Found) {
    let colour = colour();
    let origin = source.origin.to_string();
    for warning in &parsed.warnings {
        let text = warning.render(Level::WARNING, &origin, &source.text, colour);
        let _ = writeln!(std::io::stderr().lock(), "{text}\n");
    }
    for remark in &found.remarks {
        let text = remark.to_string().replacen("error:", "warning:", 1);
        let _ = writeln!(std::io::stderr().lock(), "{text}\n");
    }
    found.failures.iter().for_each(complain);
    print(&config::plan::to_text(&parsed.config));
    for access in found.live.iter().flat_map(|live| &live.access) {
        print(&format!("\n{}", access.to_text()));
    }
    if let Some(fleet) = &found.fleet {
        print(&format!("\n{}", fleet.to_text()));
    }
    print(&format!("\n{}", sandbox_text(&sandbox::offered())));
    let verdict = match (found.failures.len(), &found.live) {
        (0, Some(_)) => "ok: the config is valid, and every secret can be read",
        (0, None) => "ok: the config is valid (`--live` also asks the stores)",
        _ => "not ok",
    };
    print(&format!("\n{verdict}\n"));
}
