//! YAML documents as trees in which every node knows its bytes, with anchors, aliases and merge keys
//! as they were written. JSON is read by the same parser.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Bytes of one manifest: what an API server takes is 3 MiB for one object.
pub const MAX_BYTES: usize = 16 << 20;
/// How deep a document may be, what aliases repeat included. Custom resource definitions reach about 40.
const MAX_DEPTH: usize = 200;

/// A node and its place.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last one: of blocks, after their last value.
    pub end: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Whether an anchor (`&…`) stands on it.
    pub anchored: bool,
    /// How many levels there are from here on, through aliases.
    depth: usize,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In quotes.
    Quoted,
    /// `|` or `>`.
    Block,
}

/// What a node is.
#[derive(Debug)]
pub enum Kind {
    /// A value without parts.
    Scalar {
        /// Its text.
        text: String,
        /// How it is written.
        style: Style,
    },
    /// `*name`: what stands elsewhere.
    Alias(Rc<Node>),
    /// A list.
    List {
        /// Whether it is written in brackets.
        flow: bool,
        /// Its elements.
        items: Vec<Rc<Node>>,
    },
    /// Keys and values in the order of the text.
    Map {
        /// Whether it is written in braces.
        flow: bool,
        /// Its entries.
        entries: Vec<(Rc<Node>, Rc<Node>)>,
    },
}

impl Node {
    /// What it stands for: an alias is what it repeats.
    pub fn meant(&self) -> &Node {
        match &self.kind {
            Kind::Alias(node) => node,
            _ => self,
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.meant().kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The entry of this name that stands in the mapping itself.
    pub fn entry(&self, name: &str) -> Option<(&Rc<Node>, &Rc<Node>)> {
        let Kind::Map { entries, .. } = &self.kind else { return None };
        let found = entries.iter().find(|(key, _)| key.text() == Some(name));
        found.map(|(key, value)| (key, value))
    }

    /// The value of this name, through aliases.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.meant().entry(name).map(|(_, value)| value.meant())
    }
}

/// What can't be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Reads every document of a text. Empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Rc<Node>>, Unreadable> {
    let offsets: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
    let mut builder = Builder { text, offsets, anchors: HashMap::new(), open: Vec::new() };
    let mut roots = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Unreadable {
            line: error.marker().line(),
            why: error.info().to_owned(),
        })?;
        if let Event::DocumentStart(_) = event {
            builder.anchors.clear();
        }
        let Some(node) = builder.take(event, span) else { continue };
        if builder.open.len() + node.depth > MAX_DEPTH {
            let why = format!("more than {MAX_DEPTH} levels");
            return Err(Unreadable { line: node.line, why });
        }
        match builder.open.last_mut() {
            Some(open) => open.parts.push(node),
            None => roots.push(node),
        }
    }
    roots.retain(|root| !matches!(&root.kind, Kind::Scalar { text, .. } if text.is_empty()));
    Ok(roots)
}

struct Open {
    list: bool,
    flow: bool,
    parts: Vec<Rc<Node>>,
    start: usize,
    line: usize,
    anchor: usize,
}

struct Builder<'a> {
    text: &'a str,
    /// Byte offset of each character.
    offsets: Vec<usize>,
    anchors: HashMap<usize, Rc<Node>>,
    open: Vec<Open>,
}

impl Builder<'_> {
    fn byte(&self, index: usize) -> usize {
        self.offsets.get(index).copied().unwrap_or(self.text.len())
    }

    /// A node that is complete with this event.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<Rc<Node>> {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let line = span.start.line();
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                    _ => Style::Quoted,
                };
                // What is not there has no bytes, whatever the parser looked at when it noticed.
                let end = match style {
                    Style::Plain if text.is_empty() => start,
                    Style::Quoted => self.closing_quote(start, end),
                    _ => self.without_blanks(start, end),
                };
                let kind = Kind::Scalar { text: text.into_owned(), style };
                (Node { kind, start, end, line, anchored: anchor > 0, depth: 1 }, anchor)
            }
            Event::Alias(id) => {
                let target = self.anchors.get(&id).cloned()?;
                let depth = target.depth + 1;
                (Node { kind: Kind::Alias(target), start, end, line, anchored: false, depth }, 0)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                let list = matches!(event, Event::SequenceStart(..));
                let at = self.text.get(start..).unwrap_or_default();
                let flow = start < end && at.starts_with(if list { '[' } else { '{' });
                self.open.push(Open { list, flow, parts: Vec::new(), start, line, anchor });
                return None;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop()?;
                let anchor = open.anchor;
                (close(open, start), anchor)
            }
            _ => return None,
        };
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Some(node)
    }

    /// Behind the quote that closes: the parser looks further, to what comes next.
    fn closing_quote(&self, start: usize, end: usize) -> usize {
        let text = self.text.get(start..end).unwrap_or_default();
        let Some(open) = text.find(['"', '\'']) else { return end };
        let quote = text.as_bytes().get(open).copied().unwrap_or_default();
        let mut bytes = text.bytes().enumerate().skip(open + 1).peekable();
        while let Some((at, byte)) = bytes.next() {
            let twice = quote == b'\'' && bytes.peek().is_some_and(|(_, next)| *next == quote);
            match byte {
                b'\\' if quote == b'"' => _ = bytes.next(),
                _ if byte == quote && twice => _ = bytes.next(),
                _ if byte == quote => return start + at + 1,
                _ => {}
            }
        }
        end
    }

    fn without_blanks(&self, start: usize, end: usize) -> usize {
        let text = self.text.get(start..end).unwrap_or_default();
        start + text.trim_end_matches([' ', '\t', '\r', '\n']).len()
    }
}

fn close(open: Open, end: usize) -> Node {
    let depth = 1 + open.parts.iter().map(|part| part.depth).max().unwrap_or_default();
    let last = open.parts.last().map_or(open.start, |node| node.end);
    let end = if open.flow { end + 1 } else { last };
    let kind = if open.list {
        Kind::List { flow: open.flow, items: open.parts }
    } else {
        let mut parts = open.parts.into_iter();
        let mut entries = Vec::new();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            entries.push((key, value));
        }
        Kind::Map { flow: open.flow, entries }
    };
    Node { kind, start: open.start, end, line: open.line, anchored: open.anchor > 0, depth }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, way: &[&str]) -> String {
        let roots = parse(text).unwrap();
        let node = way.iter().fold(&*roots[0], |node, key| node.entry(key).unwrap().1);
        text[node.start..node.end].to_owned()
    }

    #[test]
    fn every_node_knows_its_bytes() {
        let text = "a: \"it's \\\" so\"   # c\nb: 'it''s'  # c\nc: { d: [1, 2 ] , e: \"x\" } # c\n\
            f: word  # c\ng:\n  - h\n\ni: |\n  text\n\n# c\nj:\n";
        for (way, bytes) in [
            (&["a"][..], "\"it's \\\" so\""),
            (&["b"], "'it''s'"),
            (&["c"], "{ d: [1, 2 ] , e: \"x\" }"),
            (&["c", "d"], "[1, 2 ]"),
            (&["c", "e"], "\"x\""),
            (&["f"], "word"),
            (&["i"], "text"),
            (&["j"], ""),
        ] {
            assert_eq!(piece(text, way), bytes);
        }
    }

    #[test]
    fn what_is_deep_is_refused_before_it_is_walked() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(MAX_DEPTH / 2)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 2)).unwrap_err().why.contains("levels"));
        let chain = |length: usize| {
            let links = (1..length).map(|i| format!("a{i}: &a{i} [*a{}]\n", i - 1));
            std::iter::once("a0: &a0 [x]\n".to_owned()).chain(links).collect::<String>()
        };
        assert!(parse(&chain(20)).is_ok());
        let error = parse(&chain(5000)).unwrap_err();
        assert!(error.why.contains("levels"), "{error:?}");
    }
}
