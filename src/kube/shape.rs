//! Where an object has its pods: the kinds that everybody knows, a `template` with containers wherever
//! it is, and what the command line says.

use serde_json::Value;

use super::annotation::PREFIX;
use super::edit::{Path, Step, way};

/// How deep a template is looked for.
const MAX_DEPTH: usize = 24;

/// The objects of a document: itself, or the items of a list.
pub fn objects(root: &Value) -> Vec<Path> {
    let is_list = root.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List"));
    match root.get("items").and_then(Value::as_array) {
        Some(items) if is_list => (0..items.len()).map(|i| way!["items", i]).collect(),
        _ => vec![Vec::new()],
    }
}

/// What stands at the end of a way.
pub fn look<'a>(root: &'a Value, at: &[Step]) -> Option<&'a Value> {
    at.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

/// The kind of an object.
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or("object")
}

/// The ways to an object's pod templates. `extra` are those of the command line: a kind and a way.
pub fn templates(object: &Value, extra: &[(String, Vec<String>)]) -> Vec<Path> {
    let kind = kind(object);
    let ours = extra.iter().filter(|(of, _)| of == kind);
    let told: Vec<Path> =
        ours.map(|(_, way)| way.iter().map(|key| Step::Key(key.clone())).collect()).collect();
    if !told.is_empty() {
        return told.into_iter().filter(|way| look(object, way).is_some()).collect();
    }
    if kind == "Pod" {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    search(object, &mut Vec::new(), &mut found);
    found
}

/// Every `template` beneath that has containers.
fn search(value: &Value, at: &mut Path, found: &mut Vec<Path>) {
    let Value::Object(map) = value else { return };
    if at.len() > MAX_DEPTH {
        return;
    }
    for (key, inner) in map {
        at.push(Step::Key(key.clone()));
        let has = inner.pointer("/spec/containers").is_some_and(Value::is_array);
        if key == "template" && has {
            found.push(at.clone());
        } else {
            search(inner, at, found);
        }
        at.pop();
    }
}

/// The ways to every mapping called `annotations` with one of ours in it.
pub fn annotated(object: &Value) -> Vec<Path> {
    let mut found = Vec::new();
    walk(object, &mut Vec::new(), &mut found);
    found
}

fn walk(value: &Value, at: &mut Path, found: &mut Vec<Path>) {
    if at.len() > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                at.push(Step::Key(key.clone()));
                let ours = || inner.as_object()?.keys().find(|key| key.starts_with(PREFIX));
                if key == "annotations" && ours().is_some() {
                    found.push(at.clone());
                }
                walk(inner, at, found);
                at.pop();
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                at.push(Step::Index(index));
                walk(inner, at, found);
                at.pop();
            }
        }
        _ => {}
    }
}
