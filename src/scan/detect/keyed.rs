//! Rules that look at assignments: a maker's name with the form of its keys, and the generic ones.

use std::ops::Range;

use super::assign::{self, Assignment, Sign};
use super::class::Class;
use super::credible::{self, Promise};
use super::matcher::{Found, Scene, View};
use super::rule::Rule;
use super::{known, names, placeholder, text};
use crate::scan::finding::Confidence;

/// How far after its maker's name a key may be assigned.
const NEAR: usize = 200;
/// How long a call may be.
const LOGIN: usize = 600;
/// What the name of such a key ends in.
const ENDINGS: [&str; 14] = [
    "key",
    "token",
    "secret",
    "password",
    "pass",
    "pwd",
    "auth",
    "apikey",
    "sid",
    "credential",
    "id",
    "value",
    "pat",
    "dsn",
];

impl Scene<'_> {
    /// The maker's name stands at `at`, in the name of the assignment or shortly before it.
    pub(super) fn keyed(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
    ) -> Option<Found> {
        if matches!(self.class, Class::Lock | Class::Generated | Class::Binary) {
            return None;
        }
        let length = rule.anchors.iter().map(|anchor| anchor.text.len()).find(|&length| {
            let bytes = view.data.get(at..at + length).unwrap_or_default();
            rule.anchors.iter().any(|anchor| bytes.eq_ignore_ascii_case(&anchor.text))
        })?;
        let direct = assign::around(view.data, at, at + length);
        let mut tried = direct.into_iter().chain(Self::following(view.data, at + length));
        tried.find_map(|found| self.fits(view, rule, number, &found))
    }

    fn fits(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        assignment: &Assignment,
    ) -> Option<Found> {
        let value = &view.data[assignment.value.clone()];
        let name = &view.data[assignment.name.clone()];
        let lower = name.to_ascii_lowercase();
        let has = |word: &String| lower.windows(word.len()).any(|part| part == word.as_bytes());
        if !rule.also.is_empty() && !rule.also.iter().any(has) {
            return None;
        }
        let inner = self.detector.pattern(number)?.find(value)?;
        let start = assignment.value.start;
        let span = start + inner.start()..start + inner.end();
        if placeholder::is_reference(&view.data[span.clone()], assignment.quoted) {
            return None;
        }
        let mut found = Self::judge(view, rule, number, span)?;
        if self.class == Class::Doc || credible::is_for_show(self.path) {
            found.confidence = found.confidence.max(Confidence::Possible);
        }
        found.key_name = Some(String::from_utf8_lossy(name).into_owned());
        Some(found)
    }

    /// Assignments in the lines after a maker's name: `acme:` and then `api_key: …`.
    fn following(data: &[u8], from: usize) -> impl Iterator<Item = Assignment> {
        let to = data.len().min(from + NEAR);
        let signs = (from..to).filter(|&at| matches!(data[at], b'=' | b':')).take(8);
        signs.filter_map(move |at| {
            let name = name_before(data, from, at)?;
            let last = names::parts(&data[name.clone()]).last()?.to_ascii_lowercase();
            let promising = ENDINGS.iter().any(|end| last.ends_with(end.as_bytes()));
            promising.then(|| assign::around(data, name.start, name.end)).flatten()
        })
    }

    /// No name, but the place among other arguments says what the value is.
    pub(super) fn login(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
    ) -> Option<Found> {
        let window = &view.data[at..view.data.len().min(at + LOGIN)];
        let value = self.detector.pattern(number)?.captures(window)?.get(1)?;
        let value = at + value.start()..at + value.end();
        let quoted = at < value.start && b"\"'`".contains(&view.data[value.start - 1]);
        let call = Assignment {
            name: at..at,
            value: value.clone(),
            quoted,
            sign: Sign::Argument,
            leads: false,
        };
        let confidence = credible::credible(self, view.data, &call, Promise::Password)?;
        let mut hit = Found::new(view, rule, number, value);
        hit.confidence = confidence;
        Some(hit)
    }

    /// The name says what the value is; is the value one?
    pub(super) fn generic(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
        promise: Promise,
    ) -> Option<Found> {
        if matches!(self.class, Class::Lock | Class::Generated | Class::Binary) {
            return None;
        }
        let length = rule.anchors.iter().map(|anchor| &anchor.text).filter(|text| {
            view.data.get(at..at + text.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(text))
        });
        let length = length.map(Vec::len).max()?;
        // An anchor may include the sign behind the name, to be rare enough.
        let anchor = &view.data[at..at + length];
        let start = at + anchor.iter().take_while(|&&b| !text::is_word(b)).count();
        let end = at + length - anchor.iter().rev().take_while(|&&b| !text::is_word(b)).count();
        // Most names end in something else, and a name is read faster than a value.
        if !names::promises(&view.data[assign::name_around(view.data, start, end)], &rule.keys) {
            return None;
        }
        let mut found = assign::around(view.data, start, end)?;
        found.value.start += scheme(&view.data[found.value.clone()]);
        let confidence = credible::credible(self, view.data, &found, promise)?;
        let name = String::from_utf8_lossy(&view.data[found.name.clone()]).into_owned();
        let mut hit = Found::new(view, rule, number, found.value);
        hit.confidence =
            if known::is_published(&hit.secret) { Confidence::Possible } else { confidence };
        hit.key_name = Some(name);
        hit.weak = true;
        Some(hit)
    }
}

/// `Bearer …`: how long the word before the credential is.
fn scheme(value: &[u8]) -> usize {
    const SCHEMES: [&[u8]; 6] =
        [b"Bearer ", b"bearer ", b"Token ", b"token ", b"Basic ", b"ApiKey "];
    SCHEMES.iter().find(|word| value.starts_with(word)).map_or(0, |word| word.len())
}

fn name_before(data: &[u8], from: usize, sign: usize) -> Option<Range<usize>> {
    let before = &data[from..sign];
    let skipped = before.iter().rev().take_while(|&&b| b" \t\"'`])".contains(&b)).count();
    let end = sign - skipped;
    let length = data[from..end]
        .iter()
        .rev()
        .take_while(|&&b| text::is_word(b) || b == b'-' || b == b'.')
        .count();
    (length > 1).then_some(end - length..end)
}
