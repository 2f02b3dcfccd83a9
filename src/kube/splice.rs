//! Edits on a tree of places, as splices of its text: every byte outside of them stays.

use serde_json::Value;

use super::edit::{Edit, Path, Refusal, Step};
use super::emit::{self, Dash, Lines};
use super::yaml::{Kind, Node, Style};

/// What may stand between a dash and its element.
const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// Bytes that give way to a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: String,
}

/// A document's text and how it is written.
pub(super) struct Page<'a> {
    pub(super) text: &'a str,
    newline: &'static str,
    /// Whether it is JSON, where strings always have quotes.
    json: bool,
    /// How far lists stand to the right of their keys.
    pub(super) dash: Dash,
}

/// A splice, and of what was overwritten the text.
pub(super) type Spliced = (Splice, Option<String>);

impl<'a> Page<'a> {
    pub(super) fn new(text: &'a str) -> Page<'a> {
        let crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
        let json = text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']);
        Page { text, newline: if crlf { "\r\n" } else { "\n" }, json, dash: 0 }
    }

    /// The splice of one edit.
    pub(super) fn splice(&self, root: &Node, edit: &Edit) -> Result<Spliced, Refusal> {
        let place = find(root, edit.at())?;
        let at = edit.at();
        match edit {
            Edit::Key { key, value, .. } => self.key(place.node, key, value, at).map(|s| (s, None)),
            Edit::Items { index, items, .. } => {
                self.items(&place, *index, items, at).map(|s| (s, None))
            }
            Edit::Value { value, .. } => self.value(&place, value, at),
        }
    }

    fn key(&self, map: &Node, key: &str, value: &Value, at: &Path) -> Result<Splice, Refusal> {
        let Kind::Map { flow, entries } = &map.kind else { return Err(odd(at)) };
        let Some((first, last)) = entries.first().zip(entries.last()) else { return Err(odd(at)) };
        if *flow {
            let before = self.separator(map, &last.0);
            let entry = format!("{}: {}", self.word(key), self.inline(value, &before));
            return Ok(insert(last.1.end.max(last.0.end), format!("{before}{entry}")));
        }
        let lines = emit::entry(key, value, self.dash);
        self.below(&last.1, last.0.end, self.column(first.0.start), &lines, at)
    }

    fn items(
        &self,
        place: &Place<'_>,
        index: usize,
        new: &[Value],
        at: &Path,
    ) -> Result<Splice, Refusal> {
        let Kind::List { flow, items } = &place.node.kind else { return Err(odd(at)) };
        let Some(first) = items.first() else { return Err(odd(at)) };
        if *flow {
            let before = self.separator(place.node, items.last().unwrap_or(first));
            let words: Vec<String> = new.iter().map(|item| self.inline(item, &before)).collect();
            return Ok(match index.checked_sub(1).and_then(|before| items.get(before)) {
                Some(previous) => insert(
                    previous.end,
                    words.iter().flat_map(|word| [before.as_str(), word]).collect(),
                ),
                None => insert(
                    first.start,
                    words.iter().flat_map(|word| [word.as_str(), &before]).collect(),
                ),
            });
        }
        let dash = self.dash_of(first.start).ok_or_else(|| odd(at))?;
        let lines: Vec<String> = new.iter().flat_map(|item| emit::item(item, self.dash)).collect();
        match (index.checked_sub(1).and_then(|before| items.get(before)), place.key) {
            (Some(previous), _) => {
                self.below(previous, previous.start, self.column(dash), &lines, at)
            }
            (None, Some(key)) => {
                let end = self.line_end(key.end);
                Ok(insert(end, self.joined(self.column(dash), &lines)))
            }
            (None, None) => Err(odd(at)),
        }
    }

    fn value(&self, place: &Place<'_>, value: &Value, at: &Path) -> Result<Spliced, Refusal> {
        let key = place.key.ok_or_else(|| odd(at))?;
        let (start, end) = self.behind_colon(key, place.node).ok_or_else(|| odd(at))?;
        let was = self.text.get(start..end).ok_or_else(|| odd(at))?.to_owned();
        let text = if place.in_flow {
            format!(" {}", self.inline(value, ", "))
        } else {
            let deep = if value.is_array() { self.dash } else { 2 };
            let column = self.column(key.start);
            match emit::block(value, self.dash) {
                Lines::Inline(text) => format!(" {text}"),
                Lines::Below(lines) => self.joined(column + deep, &lines),
                Lines::Literal(lines) => format!(" |{}", self.joined(column + 2, &lines)),
            }
        };
        Ok((Splice { start, end, text }, Some(was)))
    }

    /// From behind the colon to the end of the value.
    pub(super) fn behind_colon(&self, key: &Node, value: &Node) -> Option<(usize, usize)> {
        let rest = self.text.get(key.end..)?;
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let start = key.end + blanks;
        self.text.get(start..)?.starts_with(':').then_some((start + 1, value.end.max(start + 1)))
    }

    /// Lines beneath what ends with `last`.
    fn below(
        &self,
        last: &Node,
        at_least: usize,
        column: usize,
        lines: &[String],
        at: &Path,
    ) -> Result<Splice, Refusal> {
        let leaf = leaf(last);
        let end = self.line_end(last.end.max(at_least));
        if let Kind::Scalar { text, style: Style::Block } = &leaf.kind
            && (text.ends_with("\n\n") || end == self.text.len())
        {
            return Err(Refusal::new(
                at.clone(),
                "can't write behind a block whose end counts",
                format!(
                    "the text that begins in line {} keeps its last line breaks, or ends without one",
                    leaf.line
                ),
                "write `|-` or `|` and end it with one line break",
            ));
        }
        Ok(insert(end, self.joined(column, lines)))
    }

    fn joined(&self, column: usize, lines: &[String]) -> String {
        let indent = " ".repeat(column);
        lines.iter().flat_map(|line| [self.newline, &indent, line]).collect()
    }

    /// What stands between two elements in brackets: a line break where they have lines of their own.
    fn separator(&self, node: &Node, last: &Node) -> String {
        if last.line == node.line {
            return ", ".to_owned();
        }
        format!(",{}{}", self.newline, " ".repeat(self.column(last.start)))
    }

    /// A value in brackets; on lines of its own where its neighbours are.
    fn inline(&self, value: &Value, separator: &str) -> String {
        if !self.json {
            return emit::flow(value);
        }
        let pretty = separator.strip_prefix(',').filter(|rest| rest.contains('\n'));
        match (pretty, serde_json::to_string_pretty(value)) {
            (Some(indent), Ok(text)) => text.replace('\n', indent),
            _ => value.to_string(),
        }
    }

    fn word(&self, key: &str) -> String {
        if self.json { Value::from(key).to_string() } else { emit::flow(&Value::from(key)) }
    }

    /// Where the line of a byte ends, before its line break.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let line =
            if line.len() < rest.len() { line.strip_suffix('\r').unwrap_or(line) } else { line };
        at + line.len()
    }

    /// Where the line of a byte begins.
    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// How many characters stand before a byte in its line; a byte order mark is none.
    fn column(&self, at: usize) -> usize {
        let line = self.text.get(self.line_start(at)..at).unwrap_or_default();
        line.trim_start_matches('\u{feff}').chars().count()
    }

    /// The dash before an element that begins here. Comments may stand between the two.
    pub(super) fn dash_of(&self, element: usize) -> Option<usize> {
        let mut before = self.text.get(..element)?.trim_end_matches(BLANK);
        while !before.ends_with('-') {
            let line = before.rfind('\n').map_or(0, |newline| newline + 1);
            let (above, last) = before.split_at(line);
            let dash = last.trim_start().strip_prefix('-').map(str::trim_start);
            before = match dash {
                Some(comment) if comment.starts_with('#') => {
                    &before[..before.len() - comment.len()]
                }
                None if last.trim_start().starts_with('#') => above,
                _ => return None,
            };
            before = before.trim_end_matches(BLANK);
        }
        Some(before.len() - 1)
    }

    /// How far the elements of the list at `key` stand to the right of it.
    pub(super) fn dash_at(&self, key: &Node, list: &Node) -> Option<Dash> {
        let Kind::List { flow: false, items } = &list.kind else { return None };
        let dash = self.dash_of(items.first()?.start)?;
        self.column(dash).checked_sub(self.column(key.start))
    }
}

fn insert(at: usize, text: String) -> Splice {
    Splice { start: at, end: at, text }
}

/// What is written last in a node.
fn leaf(node: &Node) -> &Node {
    match &node.kind {
        Kind::List { flow: false, items } => items.last().map_or(node, |item| leaf(item)),
        Kind::Map { flow: false, entries } => entries.last().map_or(node, |(_, value)| leaf(value)),
        _ => node,
    }
}

/// A node and the key before it.
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) key: Option<&'a Node>,
    pub(super) in_flow: bool,
}

/// Finds the node to be edited, which must stand where it is written.
pub(super) fn find<'a>(root: &'a Node, at: &[Step]) -> Result<Place<'a>, Refusal> {
    let mut place = Place { node: root, key: None, in_flow: false };
    let mut way: Path = Vec::new();
    own(root, &way)?;
    for step in at {
        way.push(step.clone());
        place = match (step, &place.node.kind) {
            (Step::Key(name), Kind::Map { flow, .. }) => match place.node.entry(name) {
                Some((key, node)) => Place { node, key: Some(key), in_flow: *flow },
                None => return Err(merged(&way, place.node.line)),
            },
            (Step::Index(index), Kind::List { items, .. }) => {
                let node = items.get(*index).ok_or_else(|| odd(&way))?;
                Place { node, key: None, in_flow: false }
            }
            _ => return Err(odd(&way)),
        };
        own(place.node, &way)?;
    }
    Ok(place)
}

/// A node that stands for itself alone.
fn own(node: &Node, at: &Path) -> Result<(), Refusal> {
    let what = match &node.kind {
        Kind::Alias(_) => "an alias (`*…`)",
        _ if node.anchored => "an anchor (`&…`)",
        _ => return Ok(()),
    };
    Err(Refusal::new(
        at.clone(),
        format!("can't edit beneath {what}"),
        format!("what stands in line {} is used elsewhere too, and would change there", node.line),
        "write it out in this place",
    ))
}

fn merged(at: &Path, line: usize) -> Refusal {
    Refusal::new(
        at.clone(),
        "can't edit what a merge key (`<<`) brings",
        format!("it does not stand in the mapping of line {line} itself"),
        "write it out in this place",
    )
}

pub(super) fn odd(at: &Path) -> Refusal {
    Refusal::new(
        at.clone(),
        "can't edit this",
        "it is written in a way that leaves no room beside it",
        "write it in the usual form, each key on its own line",
    )
}

/// Puts the splices of a text into it. Those at one place stand in their order.
pub(super) fn apply(text: &str, splices: &[Splice]) -> String {
    let mut out =
        String::with_capacity(text.len() + splices.iter().map(|s| s.text.len()).sum::<usize>());
    let mut at = 0;
    for splice in splices {
        out.push_str(text.get(at..splice.start).unwrap_or_default());
        out.push_str(&splice.text);
        at = splice.end.max(at);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
