//! Templates of files: whether they can be read, and which secrets they name.

use std::collections::BTreeSet;

use super::super::decode::At;
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::Content;
use super::Context;
use crate::secret::SecretName;

impl Context<'_> {
    pub(super) fn template(&mut self, template: &At<String>, secrets: &[&str]) -> Option<Content> {
        let source = &template.value;
        let mut engine = minijinja::Environment::new();
        // The renderer takes it away too: it would put everything into the file.
        engine.remove_global("debug");
        let named = engine
            .add_template_owned("template", source.clone())
            .and_then(|()| Ok(engine.get_template("template")?.undeclared_variables(false)));
        let named: BTreeSet<String> = match named {
            Ok(named) => named.into_iter().collect(),
            Err(error) => {
                let line = error.line().unwrap_or(1);
                self.mistakes.push(Mistake::new(
                    &self.line_of(template, line),
                    format!("the template is not valid in its line {line}"),
                    error.detail().unwrap_or("minijinja can't read it").to_owned(),
                    "templates are minijinja: `{{ secret.field }}`, `{% if … %}`, `{% for … %}`",
                ));
                return None;
            }
        };
        let functions: BTreeSet<&str> = engine.globals().map(|(name, _)| name).collect();
        let mut used = BTreeSet::new();
        for name in &named {
            match SecretName::parse(name) {
                Ok(secret) if secrets.contains(&name.as_str()) => {
                    used.insert(secret);
                }
                _ if functions.contains(name.as_str()) => {}
                _ => self.mistakes.push(Mistake::new(
                    &self.word_in(template, name),
                    format!("the template names `{name}`, and there is no such secret"),
                    "it is not in `secrets:`",
                    suggest(name, secrets),
                )),
            }
        }
        if named.is_empty() {
            self.warnings.push(Mistake::new(
                &template.span,
                "the template names no secret",
                "the file would be the same for ever",
                "write `{{ secret.field }}`, or keep the file in the image",
            ));
        }
        Some(Content::Template { source: source.clone(), secrets: used })
    }

    /// Where line `number` (from 1) of a template stands in the config; the whole template if the
    /// config has it in another shape (folded, or escaped).
    fn line_of(&self, template: &At<String>, number: usize) -> Span {
        let wanted =
            template.value.lines().nth(number.saturating_sub(1)).unwrap_or_default().trim();
        let line = template.span.line + number - 1;
        let start: usize = self.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let there = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        match there.find(wanted) {
            Some(column) if !wanted.is_empty() => {
                let whole = Span { bytes: start..start + there.len(), line, column: 1 };
                whole.part(self.text, column, wanted.len())
            }
            _ => template.span.clone(),
        }
    }

    /// Where a template first names `word`.
    fn word_in(&self, template: &At<String>, word: &str) -> Span {
        let inside = self.text.get(template.span.bytes.clone()).unwrap_or_default();
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let alone = |&(at, _): &(usize, &str)| {
            !inside[..at].ends_with(part_of_word)
                && !inside[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        };
        let found = inside.match_indices(word).find(alone);
        found.map_or_else(
            || template.span.clone(),
            |(at, _)| template.span.part(self.text, at, word.len()),
        )
    }
}
