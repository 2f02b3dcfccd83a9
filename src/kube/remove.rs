//! The way back: what `sidekey.dev/original` names is taken out, and what it keeps is put back.

use serde_json::Value;

use super::edit::{self, Path, Refusal};
use super::splice::{Page, Splice, odd};
use super::yaml::{Kind, Node};

/// The splices that undo an injection of the pod at `pod`.
pub(super) fn splices(page: &Page<'_>, pod: &Node, original: &str) -> Result<Vec<Splice>, Refusal> {
    let at = super::annotation::at("original");
    let kept: Value = serde_json::from_str(original).map_err(|_| unreadable(&at))?;
    let added = kept.get("added").and_then(Value::as_array).ok_or_else(|| unreadable(&at))?;
    let added: Option<Vec<&str>> = added.iter().map(Value::as_str).collect();
    let mut added = added.ok_or_else(|| unreadable(&at))?;
    let ours = format!("/metadata/annotations/{}", super::annotation::ORIGINAL.replace('/', "~1"));
    let was = kept.get("was").and_then(Value::as_object);
    if !was.is_some_and(|was| was.contains_key(&ours)) {
        added.push(&ours);
    }
    let (shared, was): (Vec<_>, Vec<_>) =
        was.into_iter().flatten().partition(|(pointer, _)| is_shared(pod, pointer));
    let shared = shared.into_iter().map(|(pointer, _)| pointer.as_str());
    let added: Vec<String> =
        added.into_iter().chain(shared).flat_map(|p| only_ours(pod, p)).collect();
    let mut out: Vec<Splice> =
        added.iter().filter_map(|pointer| taken_out(page, pod, pointer, &added)).collect();
    for (pointer, text) in was {
        let text = text.as_str().ok_or_else(|| unreadable(&at))?;
        out.extend(put_back(page, pod, pointer, text)?);
    }
    Ok(without_overlaps(out))
}

/// Lists that others put their things into, too: what a mesh added since stays.
const SHARED: [&str; 3] = ["/spec/initContainers", "/spec/containers", "/spec/volumes"];

/// The elements of such a list that are not ours.
fn is_shared(pod: &Node, pointer: &str) -> bool {
    elements(pod, pointer).iter().any(|name| !is_ours(name))
}

/// The way itself, or where others have their things, the ways to ours.
fn only_ours(pod: &Node, pointer: &str) -> Vec<String> {
    if !is_shared(pod, pointer) {
        return vec![pointer.to_owned()];
    }
    let ours = elements(pod, pointer).into_iter().filter(|name| is_ours(name));
    ours.map(|name| format!("{pointer}/{name}")).collect()
}

fn elements(pod: &Node, pointer: &str) -> Vec<String> {
    let found = SHARED.contains(&pointer).then(|| follow(pod, &edit::steps(pointer))).flatten();
    match found.map(|found| &found.node.kind) {
        Some(Kind::List { items, .. }) => items.iter().map(|item| named(item)).collect(),
        _ => Vec::new(),
    }
}

fn is_ours(name: &str) -> bool {
    name == "sidekey" || name.starts_with("sidekey-")
}

fn unreadable(at: &Path) -> Refusal {
    Refusal::new(
        at.clone(),
        "can't take the injection back",
        "`sidekey.dev/original` is not what `inject` wrote",
        "take the manifest from before, or remove what Sidekey added by hand",
    )
}

/// A node, its parent and the key before it.
struct Found<'a> {
    parent: &'a Node,
    index: usize,
    key: Option<&'a Node>,
    node: &'a Node,
}

/// Follows a way with names. What somebody has taken out since is not found.
fn follow<'a>(top: &'a Node, steps: &[String]) -> Option<Found<'a>> {
    let mut parent = top;
    let mut found = None;
    for step in steps {
        let here = match &parent.kind {
            Kind::Map { entries, .. } => {
                let index = entries.iter().position(|(key, _)| key.text() == Some(step))?;
                let (key, node) = entries.get(index)?;
                Found { parent, index, key: Some(key), node }
            }
            Kind::List { items, .. } => {
                let index = items.iter().position(|item| named(item) == *step)?;
                Found { parent, index, key: None, node: items.get(index)? }
            }
            _ => return None,
        };
        parent = here.node;
        found = Some(here);
    }
    found
}

fn named(item: &Node) -> String {
    let name = item.get("name").and_then(Node::text).or_else(|| item.text());
    name.unwrap_or_default().to_owned()
}

fn taken_out(page: &Page<'_>, pod: &Node, pointer: &str, added: &[String]) -> Option<Splice> {
    let steps = edit::steps(pointer);
    let found = follow(pod, &steps)?;
    let flow = match &found.parent.kind {
        Kind::Map { flow, .. } | Kind::List { flow, .. } => *flow,
        _ => return None,
    };
    let (start, end) =
        if flow { in_brackets(&found, pointer, added)? } else { on_lines(page, &found)? };
    Some(Splice { start, end, text: String::new() })
}

/// From the end of the line before to the end of the last line.
fn on_lines(page: &Page<'_>, found: &Found<'_>) -> Option<(usize, usize)> {
    let first = match found.key {
        Some(key) => key.start,
        None => page.dash_of(found.node.start)?,
    };
    let line = page.line_start(first);
    let before = page.text.get(..line)?;
    let before = before.strip_suffix('\n').map_or(before, |b| b.strip_suffix('\r').unwrap_or(b));
    let end = found.key.map_or(found.node.end, |key| {
        page.behind_colon(key, found.node).map_or(found.node.end, |(_, end)| end)
    });
    Some((before.len(), end))
}

/// With the comma before it; at the front with the one behind it.
fn in_brackets(found: &Found<'_>, pointer: &str, added: &[String]) -> Option<(usize, usize)> {
    let parts: Vec<(usize, usize, String)> = match &found.parent.kind {
        Kind::Map { entries, .. } => {
            let each = entries.iter();
            each.map(|(k, v)| (k.start, v.end.max(k.end), k.text().unwrap_or_default().to_owned()))
                .collect()
        }
        Kind::List { items, .. } => items.iter().map(|i| (i.start, i.end, named(i))).collect(),
        _ => return None,
    };
    let (start, end, _) = parts.get(found.index)?;
    let prefix = &pointer[..=pointer.rfind('/')?];
    let ours = |name: &str| {
        let name = name.replace('~', "~0").replace('/', "~1");
        added.contains(&format!("{prefix}{name}"))
    };
    let front = parts[..found.index].iter().all(|(_, _, name)| ours(name));
    match (front, parts.get(found.index + 1), found.index.checked_sub(1).and_then(|i| parts.get(i)))
    {
        (true, Some((next, ..)), _) => Some((*start, *next)),
        (false, _, Some((_, previous, _))) => Some((*previous, *end)),
        _ => Some((*start, *end)),
    }
}

fn put_back(
    page: &Page<'_>,
    pod: &Node,
    pointer: &str,
    text: &str,
) -> Result<Option<Splice>, Refusal> {
    let Some(found) = follow(pod, &edit::steps(pointer)) else { return Ok(None) };
    let key = found.key.ok_or_else(|| odd(&Vec::new()))?;
    let (start, end) = page.behind_colon(key, found.node).ok_or_else(|| odd(&Vec::new()))?;
    Ok(Some(Splice { start, end, text: text.to_owned() }))
}

/// In the order of the text; what lies in a larger one goes with it, and neighbours are joined.
fn without_overlaps(mut splices: Vec<Splice>) -> Vec<Splice> {
    splices.sort_by_key(|splice| (splice.start, std::cmp::Reverse(splice.end)));
    let mut out: Vec<Splice> = Vec::new();
    for splice in splices {
        match out.last_mut() {
            Some(last) if splice.end <= last.end && splice.start < last.end => {}
            Some(last) if splice.start < last.end => last.end = splice.end,
            _ => out.push(splice),
        }
    }
    out
}
