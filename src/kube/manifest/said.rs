//! What is said of a manifest: where, of which object, and of what was never rendered.

use serde_json::Value;

use crate::agent::reason::{Reason, Report};
use crate::kube::edit::{Path, Refusal, Remark, Step, way};
use crate::kube::shape;
use crate::kube::yaml::{self, Kind, Node, Style};

pub(super) fn unreadable(name: &str, text: &str, error: &yaml::Unreadable) -> Report {
    let what = format!("can't read {name}");
    if let Some(line) = template_line(text) {
        return rendered_first(&format!("{name}:{line}"));
    }
    Report::new(Reason::ConfigInvalid, what, format!("line {}: {}", error.line, error.why))
        .hint("give YAML or JSON; `kubectl apply --dry-run=client -f FILE` says more")
}

fn template_line(text: &str) -> Option<usize> {
    text.find("{{").map(|at| text[..at].matches('\n').count() + 1)
}

pub(super) fn rendered_first(place: &str) -> Report {
    let what = format!("{place}: this is a template that was not rendered");
    Report::new(Reason::ConfigInvalid, what, "`{{` stands where YAML has a value")
        .hint("render it first: `helm template … | sidekey inject`")
}

/// The line of a way, or of as much of it as there is.
pub(super) fn nearest_line(root: &Node, at: &[Step]) -> usize {
    let (mut node, mut line) = (root, root.line);
    for step in at {
        let next = match (step, &node.meant().kind) {
            (Step::Key(name), Kind::Map { .. }) => {
                node.meant().entry(name).map(|(key, value)| (value, key.line))
            }
            (Step::Index(index), Kind::List { items, .. }) => {
                items.get(*index).map(|item| (item, item.line))
            }
            _ => None,
        };
        let Some((next, at)) = next else { break };
        (node, line) = (next, at);
    }
    line
}

/// `Deployment shop/orders`.
pub(super) fn called(object: &Value) -> String {
    let text =
        |way: &str| object.pointer(way).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("/metadata/name").map(str::to_owned);
    let name = name.or_else(|| text("/metadata/generateName").map(|name| format!("{name}…")));
    let name = name.unwrap_or_else(|| "without a name".to_owned());
    let space = text("/metadata/namespace").map(|space| format!("{space}/")).unwrap_or_default();
    format!("{} {space}{name}", shape::kind(object)).escape_debug().to_string()
}

/// An annotation where nobody looks for it.
pub(super) fn astray(object: &Value, at: &Path, templates: &[Path]) -> Refusal {
    match templates.first() {
        Some(pod) => {
            let way: Vec<&str> = pod
                .iter()
                .filter_map(|step| match step {
                    Step::Key(key) => Some(key.as_str()),
                    Step::Index(_) => None,
                })
                .collect();
            Refusal::new(
                at.clone(),
                "the annotations of Sidekey stand in the wrong place",
                "pods don't inherit them from here",
                format!("move them to `{}.metadata.annotations`", way.join(".")),
            )
        }
        None => Refusal::new(
            at.clone(),
            "nobody knows where this kind has its pods",
            "it has no `template` with containers",
            format!(
                "say it: `--template-path {}=PATH`, such as `spec.podTemplate`",
                shape::kind(object)
            ),
        ),
    }
}

pub(super) fn knative() -> Remark {
    Remark::new(
        way!["spec"],
        "Knative must be told to take this",
        "it refuses init containers, and security contexts of pods, unless its feature flags allow them",
        "set `kubernetes.podspec-init-containers` and `kubernetes.podspec-securitycontext` in `config-features`, or let the webhook inject the pods",
    )
}

/// Where a template of Helm or its like stands that nobody rendered.
pub(super) fn unrendered(node: &Node) -> Option<usize> {
    match &node.kind {
        Kind::Scalar { text, style: Style::Plain } => text.contains("{{").then_some(node.line),
        Kind::Scalar { .. } | Kind::Alias(_) => None,
        Kind::List { items, .. } => items.iter().find_map(|item| unrendered(item)),
        Kind::Map { flow: true, entries } if matches!(entries.first(), Some((key, _)) if is_map(key)) => {
            Some(node.line)
        }
        Kind::Map { entries, .. } => {
            entries.iter().find_map(|(key, value)| unrendered(key).or_else(|| unrendered(value)))
        }
    }
}

fn is_map(node: &Node) -> bool {
    matches!(node.kind, Kind::Map { .. })
}
