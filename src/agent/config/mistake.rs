//! What is wrong with a config: every mistake with its place, and what to do about it.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};

use crate::agent::reason::{Reason, Report};

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
        let length = text.len();
        let bytes = self.span.bytes.start.min(length)..self.span.bytes.end.min(length);
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
}

impl Mistakes {
    /// All of them for a person.
    pub fn render(&self, colour: bool) -> String {
        let each = self.mistakes.iter();
        let mut shown: Vec<String> = each
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
        Report::new(
            Reason::ConfigInvalid,
            format!("the config has {} mistakes", self.mistakes.len()),
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

/// The known word nearest to what was written, if any is near.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two slips in a short word, one more for every four letters.
    let far = 2 + written.chars().count() / 4;
    let by_distance =
        known.into_iter().map(|word| (strsim::damerau_levenshtein(written, word), word));
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
