//! YAML as a tree in which every node knows its place. Scalars keep their text, so that `0440` can be
//! a mode and `1.10` a version.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as MarkedSpan};

use super::mistake::{Mistake, Span};

/// Nodes that a document may have, aliases expanded: the largest real config has a few thousand.
const MAX_NODES: usize = 100_000;
/// How deep it may be.
const MAX_DEPTH: usize = 32;
/// Bytes of a config.
pub const MAX_BYTES: usize = 1024 * 1024;

/// A node and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub span: Span,
    /// Whether a mistake in it was noted already, so that no second one need be.
    pub broken: bool,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A value without parts.
    Scalar {
        /// Its text.
        text: String,
        /// Whether it stands without quotes, so that `true` and `5` are more than text.
        plain: bool,
        /// The text before variables were replaced, if it had any: what messages may quote.
        written: Option<String>,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the text.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Whether it is `null`, `~` or nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true, .. }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What a person would call it.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar as a message may quote it: what a variable held is not in it.
    pub fn shown(&self) -> Option<String> {
        match &self.kind {
            Kind::Scalar { text, written, .. } => {
                Some(written.as_ref().unwrap_or(text).escape_debug().to_string())
            }
            _ => None,
        }
    }
}

/// Reads one document. Mistakes that leave a tree behind are added to `mistakes`.
pub fn parse(text: &str, mistakes: &mut Vec<Mistake>) -> Option<Node> {
    // A byte order mark counts as a character to us, and not at all to the parser's columns.
    let offsets: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
    let mut builder = Builder { offsets, anchors: Vec::new(), nodes: 0, mistakes };
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let place = builder.point(error.marker());
                builder.mistakes.push(Mistake::new(
                    &place,
                    "this is not YAML",
                    error.info().to_owned(),
                    "check the indentation and the quotes of this line and the one above",
                ));
                return None;
            }
        };
        let place = builder.span(span);
        let done = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    builder.refuse_tag(&place);
                }
                let plain = style == ScalarStyle::Plain;
                let kind = Kind::Scalar { text: text.into_owned(), plain, written: None };
                Some((Node { kind, span: place, broken: false }, anchor))
            }
            Event::SequenceStart(anchor, tag) => {
                if tag.is_some() {
                    builder.refuse_tag(&place);
                }
                stack.push(Open { list: true, items: Vec::new(), span: place, anchor });
                None
            }
            Event::MappingStart(anchor, tag) => {
                if tag.is_some() {
                    builder.refuse_tag(&place);
                }
                stack.push(Open { list: false, items: Vec::new(), span: place, anchor });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => stack.pop().map(|open| {
                let anchor = open.anchor;
                (builder.close(open, &place), anchor)
            }),
            Event::Alias(anchor) => Some((builder.alias(anchor, place), 0)),
            Event::DocumentStart(_) if root.is_some() => {
                builder.mistakes.push(Mistake::new(
                    &place,
                    "there is a second document",
                    "a config is one YAML document",
                    "remove the `---` and what follows it",
                ));
                return root;
            }
            _ => None,
        };
        builder.nodes += 1;
        if builder.nodes > MAX_NODES || stack.len() > MAX_DEPTH {
            let place = stack.last().map(|open| open.span.clone()).unwrap_or_default();
            builder.mistakes.push(Mistake::new(
                &place,
                "the config is too large",
                format!("more than {MAX_NODES} values or {MAX_DEPTH} levels"),
                "split it, and look for an alias that repeats itself",
            ));
            return None;
        }
        if let Some((node, anchor)) = done {
            if anchor > 0 {
                builder.anchors.push((anchor, node.clone()));
            }
            match stack.last_mut() {
                Some(open) => open.items.push(node),
                None => root = Some(node),
            }
        }
    }
    root
}

struct Open {
    list: bool,
    items: Vec<Node>,
    span: Span,
    anchor: usize,
}

struct Builder<'a> {
    /// Byte offset of each character.
    offsets: Vec<usize>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
    mistakes: &'a mut Vec<Mistake>,
}

impl Builder<'_> {
    fn byte(&self, marker: &Marker) -> usize {
        let last = self.offsets.last().copied().unwrap_or_default();
        self.offsets.get(marker.index()).copied().unwrap_or(last)
    }

    fn span(&self, span: MarkedSpan) -> Span {
        Span {
            bytes: self.byte(&span.start)..self.byte(&span.end),
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }

    fn point(&self, marker: &Marker) -> Span {
        let at = self.byte(marker);
        Span { bytes: at..at, line: marker.line(), column: marker.col() + 1 }
    }

    fn refuse_tag(&mut self, place: &Span) {
        self.mistakes.push(Mistake::new(
            place,
            "a tag (`!…`) stands here",
            "a config has no use for tags",
            "remove it; put the value in quotes if it is to be text",
        ));
    }

    fn alias(&mut self, anchor: usize, place: Span) -> Node {
        if let Some((_, node)) = self.anchors.iter().rev().find(|(id, _)| *id == anchor) {
            self.nodes += count(node);
            return Node { span: place, ..node.clone() };
        }
        self.mistakes.push(Mistake::new(
            &place,
            "an alias (`*…`) stands inside what it repeats",
            "it would go on for ever",
            "write the value out",
        ));
        let kind = Kind::Scalar { text: String::new(), plain: true, written: None };
        Node { kind, span: place, broken: true }
    }

    fn close(&mut self, open: Open, end: &Span) -> Node {
        let span = Span { bytes: open.span.bytes.start..end.bytes.end, ..open.span };
        if open.list {
            return Node { kind: Kind::List(open.items), span, broken: false };
        }
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut broken = false;
        let mut items = open.items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            match key.text() {
                Some("<<") => {
                    broken = true;
                    self.mistakes.push(Mistake::new(
                        &key.span,
                        "a merge key (`<<`) stands here",
                        "YAML 1.2 has none, and readers differ in what it means",
                        "write the keys out, or use `defaults`",
                    ));
                }
                Some(name) => {
                    if let Some(line) = lines.get(name) {
                        self.mistakes.push(Mistake::new(
                            &key.span,
                            format!("`{}` stands here twice", name.escape_debug()),
                            format!("the first one is in line {line}"),
                            "remove one of them",
                        ));
                    } else {
                        lines.insert(name.to_owned(), key.span.line);
                        entries.push((key, value));
                    }
                }
                None => self.mistakes.push(Mistake::new(
                    &key.span,
                    format!("{} can't be a key", key.noun()),
                    "keys are names",
                    "put the key in quotes if it holds `{`, `[` or `:`",
                )),
            }
        }
        Node { kind: Kind::Map(entries), span, broken }
    }
}

fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar { .. } => 1,
        Kind::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + count(value)).sum::<usize>(),
    }
}
