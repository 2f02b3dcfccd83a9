//! `$SIDEKEY_POD_YAML`: what whoever made the pod knows of it, and what holds where the config is silent.

use super::decode::Sink;
use super::mistake::Span;
use super::yaml::{self, Kind, Node};

/// The variable.
pub const POD_VARIABLE: &str = "SIDEKEY_POD_YAML";

/// Puts in what the config does not say itself: whole sections, and of `init` and `defaults` each key.
pub(super) fn fill(root: &mut Node, env: &dyn Fn(&str) -> Option<String>, sink: &mut Sink) {
    let Some(text) = env(POD_VARIABLE).filter(|text| !text.is_empty()) else { return };
    let place = root.span.start();
    let mut mistakes = Vec::new();
    let Some(mut pod) = yaml::parse(&text, &mut mistakes) else {
        return sink.extend(mistakes.into_iter().map(|mistake| at(&place, mistake)));
    };
    sink.extend(mistakes.into_iter().map(|mistake| at(&place, mistake)));
    stand_at(&mut pod, &place);
    let (Kind::Map(entries), Kind::Map(given)) = (&mut root.kind, pod.kind) else { return };
    for (key, value) in given {
        let name = key.text().unwrap_or_default().to_owned();
        let one = |there: &&mut (Node, Node)| {
            let there = there.0.text().unwrap_or_default();
            there == name || (name == "volumes" && there == "volume")
        };
        match entries.iter_mut().find(one) {
            None => entries.push((key, value)),
            Some((_, there)) if name == "init" || name == "defaults" => inside(there, value),
            Some(_) => {}
        }
    }
}

fn inside(there: &mut Node, given: Node) {
    if let (Kind::Map(entries), Kind::Map(given)) = (&mut there.kind, given.kind) {
        for (key, value) in given {
            if !entries.iter().any(|(there, _)| there.text() == key.text()) {
                entries.push((key, value));
            }
        }
    }
}

/// Its places are not those of the config's text.
fn stand_at(node: &mut Node, place: &Span) {
    node.span = place.clone();
    match &mut node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter_mut().for_each(|item| stand_at(item, place)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                stand_at(key, place);
                stand_at(value, place);
            }
        }
    }
}

fn at(place: &Span, mistake: super::Mistake) -> super::Mistake {
    let what = format!("{} (in ${POD_VARIABLE})", mistake.what);
    super::Mistake { span: place.clone(), what, ..mistake }
}
