//! The look at an image's documents: each value as what it is, then the raw bytes for the rest.

use super::documents::{Config, Run, Text};
use super::feed::{Fault, Input};
use super::history::{instruction, step_that_sets};
use super::look::Look;
use super::plan::Shown;
use super::spot::Spot;
use crate::scan::finding::PlaceKind;

/// Room for a document that streams by.
const ROOM: usize = 64 << 10;

/// Looks at one document.
pub fn look_at(look: &Look<'_>, shown: &Shown<'_>) -> Result<(), Fault> {
    match shown {
        Shown::Config(config, bytes) => {
            values(look, config);
            raw(look, bytes)
        }
        Shown::Manifest(annotations, bytes) => {
            for (name, value) in *annotations {
                one(look, PlaceKind::Annotation, Some(name), value, None);
            }
            raw(look, bytes)
        }
        Shown::Other(bytes) => raw(look, bytes),
    }
}

/// What stands in a document besides the values that were looked at one by one.
fn raw(look: &Look<'_>, bytes: &[u8]) -> Result<(), Fault> {
    let mut spot = spot(PlaceKind::Hidden, None);
    spot.name = b"document.json".to_vec();
    look.remaining(&mut Input::new(bytes, ROOM), &spot)
}

fn spot(kind: PlaceKind, name: Option<&str>) -> Spot {
    let path = name.map(|name| name.as_bytes().to_vec());
    Spot { kind, path, ..Spot::file(name.unwrap_or_default().into(), 0) }
}

fn one(
    look: &Look<'_>,
    kind: PlaceKind,
    name: Option<&str>,
    value: &str,
    instruction: Option<&str>,
) {
    let spot = Spot { instruction: instruction.map(str::to_owned), ..spot(kind, name) };
    match name {
        // The name says whether the value is a secret.
        Some(name) => look.value(&spot, format!("{name}={value}").as_bytes()),
        None => look.value(&spot, value.as_bytes()),
    }
}

fn values(look: &Look<'_>, config: &Config) {
    let history = &config.history.items;
    let step = |at: Option<usize>| at.map(|at| instruction(&history[at].created_by.0));
    if let Some(run) = &config.config {
        for variable in &run.env.items {
            let (name, value) = variable.0.split_once('=').unwrap_or((variable.0.as_str(), ""));
            let made = step(step_that_sets(history, "ENV", name));
            one(look, PlaceKind::Env, Some(name), value, made);
        }
        for (name, value) in &run.labels.items {
            let made = step(step_that_sets(history, "LABEL", name));
            one(look, PlaceKind::Label, Some(name), value, made);
        }
        commands(look, run);
    }
    one(look, PlaceKind::Author, None, &config.author.0, None);
    one(look, PlaceKind::History, None, &config.comment.0, None);
    for step in history {
        let made = Some(instruction(&step.created_by.0)).filter(|text| !text.is_empty());
        one(look, PlaceKind::History, None, &step.created_by.0, made);
        one(look, PlaceKind::History, None, &step.comment.0, made);
        one(look, PlaceKind::Author, None, &step.author.0, made);
    }
}

fn commands(look: &Look<'_>, run: &Run) {
    let joined =
        |words: &[Text]| words.iter().map(|word| word.0.as_str()).collect::<Vec<_>>().join(" ");
    one(look, PlaceKind::Command, None, &joined(&run.cmd.items), None);
    one(look, PlaceKind::Entrypoint, None, &joined(&run.entrypoint.items), None);
    if let Some(probe) = &run.healthcheck {
        one(look, PlaceKind::Healthcheck, None, &joined(&probe.test.items), None);
    }
    for trigger in &run.on_build.items {
        one(look, PlaceKind::Command, None, &trigger.0, None);
    }
}
