//! What is wrong with a config: every mistake with its place, and what to do about it.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};

use crate::agent::reason::{Reason, Report};

/// How many mistakes are shown to a person; a hundred screens help nobody.
const SHOWN: usize = 100;

/// A place in the text: bytes, and the line and column of the first (both from 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Byte offsets.
    pub bytes: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Span {
    /// Where `needle` stands inside of this place of `document`; the place itself if it does not.
    pub(super) fn find(&self, document: &str, needle: &str) -> Span {
        let inside = document.get(self.bytes.clone()).unwrap_or_default();
        inside.find(needle).map_or_else(|| self.clone(), |at| self.part(document, at, needle.len()))
    }

    /// The `length` bytes from `at` on inside of this place.
    pub(super) fn part(&self, document: &str, at: usize, length: usize) -> Span {
        let start = self.bytes.start + at;
        let before = document.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Span { bytes: start..start + length, line, column }
    }

    /// The first byte alone: for what is said of a whole that has no name of its own.
    pub(super) fn start(&self) -> Span {
        Span { bytes: self.bytes.start..self.bytes.start, ..self.clone() }
    }

    /// What is underlined: no more than the first line, without the blanks at its end.
    fn underlined(&self, document: &str) -> Range<usize> {
        let boundary = |at: usize| {
            let at = at.min(document.len());
            (0..=at).rev().find(|&at| document.is_char_boundary(at)).unwrap_or(0)
        };
        let start = boundary(self.bytes.start);
        let end = boundary(self.bytes.end.max(start));
        let line = document[start..end].lines().next().unwrap_or_default().trim_end();
        start..start + line.len()
    }
}

/// One mistake, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub span: Span,
    /// `config_invalid` or `not_yet`; for a warning the reason it would lead to.
    pub reason: Reason,
    /// What is wrong.
    pub what: String,
    /// Why it is wrong.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Mistake {
    /// A mistake of the person who wrote the config.
    pub fn new(
        span: &Span,
        what: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Mistake {
        Mistake {
            span: span.clone(),
            reason: Reason::ConfigInvalid,
            what: what.into(),
            why: why.into(),
            hint: hint.into(),
        }
    }

    /// Something this version does not do yet.
    pub fn not_yet(span: &Span, what: impl Into<String>, hint: impl Into<String>) -> Mistake {
        let why = format!("Sidekey {} does not bring it", env!("CARGO_PKG_VERSION"));
        Mistake { reason: Reason::NotYet, ..Mistake::new(span, what, why, hint) }
    }

    /// The same with another reason.
    #[must_use]
    pub fn because(self, reason: Reason) -> Mistake {
        Mistake { reason, ..self }
    }

    /// As `check --output json` shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "line": self.span.line, "column": self.span.column, "reason": self.reason.word(),
            "what": self.what, "why": self.why, "hint": self.hint,
        })
    }

    /// As a compiler would show it.
    pub fn render(&self, level: Level<'_>, origin: &str, text: &str, colour: bool) -> String {
        let bytes = self.span.underlined(text);
        let snippet = Snippet::source(text)
            .path(origin)
            .annotation(AnnotationKind::Primary.span(bytes).label(self.why.as_str()));
        let title = level.primary_title(self.what.as_str()).element(snippet);
        let report = [title.element(Level::HELP.with_name("hint").message(self.hint.as_str()))];
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&report)
    }
}

/// Every mistake of a config, in the order of the text.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// Where the text is from, for messages.
    pub origin: String,
    /// The text.
    pub text: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
    /// What is not wrong but would hurt.
    pub warnings: Vec<Mistake>,
}

impl Mistakes {
    /// `not_yet` if nothing worse is wrong, else `config_invalid`.
    pub fn reason(&self) -> Reason {
        let not_yet = self.mistakes.iter().all(|mistake| mistake.reason == Reason::NotYet);
        if not_yet { Reason::NotYet } else { Reason::ConfigInvalid }
    }

    /// All of them for a person.
    pub fn render(&self, colour: bool) -> String {
        let each = self.mistakes.iter();
        let mut shown: Vec<String> = each
            .take(SHOWN)
            .map(|mistake| mistake.render(Level::ERROR, &self.origin, &self.text, colour))
            .collect();
        shown.push(match self.mistakes.len() {
            1 => "1 mistake; nothing was done".to_owned(),
            many => format!("{many} mistakes; nothing was done"),
        });
        shown.join("\n\n")
    }

    /// The first one, for a place that has room for one.
    pub fn report(&self) -> Report {
        let first = self.mistakes.first();
        let line = first.map_or(0, |mistake| mistake.span.line);
        let (what, hint) =
            first.map_or_else(Default::default, |m| (m.what.as_str(), m.hint.as_str()));
        let count = match self.mistakes.len() {
            1 => "a mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        Report::new(
            self.reason(),
            format!("the config has {count}"),
            format!("line {line}: {what}"),
        )
        .hint(hint)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The known word nearest to what was written, if any is near. Capitals don't count.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in a short word, one more for every four letters.
    let far = 1 + written.chars().count() / 4;
    let written = written.to_lowercase();
    let by_distance = known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, &word.to_lowercase()), word));
    by_distance.filter(|(distance, _)| *distance <= far).min().map(|(_, word)| word)
}

/// `did you mean …`, or which words there are.
pub fn suggest(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None if known.is_empty() => "there is none yet: write one first".to_owned(),
        None => format!("known here: {}", known.join(", ")),
    }
}
