//! From anchors to what was found: the pattern of a rule, what stands around it, the proof.

use std::collections::BTreeMap;
use std::ops::Range;

use super::PlaceKind;
use super::class::Class;
use super::detector::Detector;
use super::gate::SHORTEST;
use super::rule::{Rule, Shape};
use super::{credible, known, pair, placeholder, proof, text};
use crate::scan::finding::{Confidence, Inside, Proof, Severity};

/// A file that holds one value is no longer than this.
const WHOLE: usize = 4 << 10;
/// What silences a finding on its line, where that is allowed.
const ALLOW: &[u8] = b"sidekey:allow";
/// How far after its anchor a pattern may reach.
const REACH: usize = 4 << 10;

/// What is known of the whole subject.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub detector: &'a Detector,
    pub path: &'a [u8],
    pub kind: PlaceKind,
    pub class: Class,
    /// How many encodings were taken off.
    pub depth: u8,
}

/// The bytes in view, and those of them where anchors are looked for.
pub(super) struct View<'a> {
    pub data: &'a [u8],
    pub from: usize,
    pub to: usize,
    /// The first byte in view is the first of the subject.
    pub is_start: bool,
    /// The last byte in view is the last of the subject.
    pub is_end: bool,
}

impl<'a> View<'a> {
    /// All of some bytes.
    pub fn whole(data: &'a [u8]) -> View<'a> {
        View { data, from: 0, to: data.len(), is_start: true, is_end: true }
    }
}

/// What was found, with its place in the view.
pub(super) struct Found {
    pub rule: u16,
    /// Where the secret stands in the innermost bytes.
    pub span: Range<usize>,
    /// Where it, or what it is encoded in, stands in the view.
    pub outer: Range<usize>,
    pub inside: Vec<Inside>,
    pub secret: Vec<u8>,
    pub confidence: Confidence,
    pub severity: Severity,
    pub proof: Vec<Proof>,
    pub weak: bool,
    pub key_name: Option<String>,
    pub allowed_inline: bool,
}

impl<'a> Scene<'a> {
    /// Everything that begins in the part of the view that is looked at, in order.
    pub fn look(&self, view: &View<'a>) -> Vec<Found> {
        let mut anchors = Vec::new();
        self.detector.gate.find(view.data, view.from, view.to, &mut anchors);
        let mut found: Vec<Found> = self.whole(view).collect();
        for anchor in anchors {
            for &rule in &self.detector.owners[usize::from(anchor.literal)] {
                let mut hit = self.try_rule(view, rule, anchor.at);
                if let (Some(hit), Some(half)) =
                    (&mut hit, self.detector.rules[usize::from(rule)].half)
                {
                    pair::prove(view, half, hit);
                }
                found.extend(hit);
            }
        }
        let mut found = self.without_overlaps(found);
        let inside = self.inside(view, &found);
        found.retain(|plain| !inside.iter().any(|inner| self.is_better(inner, plain)));
        found.extend(inside);
        found.sort_by_key(|f| f.outer.start);
        found
    }

    /// What is inside says more than that the name of the whole is promising.
    fn is_better(&self, inner: &Found, plain: &Found) -> bool {
        let generic = self.detector.rules[usize::from(plain.rule)].shape.rank() > 2;
        let overlap = inner.outer.start < plain.outer.end && plain.outer.start < inner.outer.end;
        generic && overlap && inner.confidence <= plain.confidence
    }

    /// Where several rules see the same bytes, the surest and most particular one speaks.
    fn without_overlaps(&self, mut found: Vec<Found>) -> Vec<Found> {
        let rank = |f: &Found| {
            let shape = &self.detector.rules[usize::from(f.rule)].shape;
            (f.confidence == Confidence::Possible, shape.rank(), f.span.start, f.rule)
        };
        found.sort_by_key(rank);
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        found.retain(|f| {
            let before = taken.range(..f.span.end).next_back();
            let free = before.is_none_or(|(_, &end)| end <= f.span.start);
            if free {
                taken.insert(f.span.start, f.span.end);
            }
            free
        });
        found.sort_by_key(|f| f.span.start);
        found
    }

    /// Rules for files that hold one value and nothing else.
    fn whole(&self, view: &View<'a>) -> impl Iterator<Item = Found> {
        let is_file = self.kind == PlaceKind::File;
        let small = is_file && view.is_start && view.is_end && view.data.len() <= WHOLE;
        self.detector.whole.iter().filter(move |_| small).filter_map(|&number| {
            let rule = &self.detector.rules[usize::from(number)];
            let speaks = rule.speaks_in(self.class, self.path);
            let value =
                self.detector.pattern(number).filter(|_| speaks)?.captures(view.data)?.get(1)?;
            Self::judge(view, rule, number, value.range())
        })
    }

    fn try_rule(&self, view: &View<'_>, number: u16, at: usize) -> Option<Found> {
        let rule = &self.detector.rules[usize::from(number)];
        if !rule.speaks_in(self.class, self.path) {
            return None;
        }
        match rule.shape {
            Shape::Token => self.token(view, rule, number, at, 0),
            Shape::Near(back) => self.token(view, rule, number, at, back),
            Shape::Keyed => self.keyed(view, rule, number, at),
            Shape::Whole => None,
            Shape::Special(special) => self.special(view, rule, number, at, special),
        }
    }

    fn token(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
        back: usize,
    ) -> Option<Found> {
        let begin = at.saturating_sub(back);
        let window = &view.data[begin..view.data.len().min(at + REACH)];
        let pattern = self.detector.pattern(number)?;
        let mut tried = pattern.captures_iter(window).take_while(|captures| {
            captures.get(0).is_some_and(|whole| begin + whole.start() <= at)
        });
        let captures = tried.find(|captures| {
            captures.get(0).is_some_and(|whole| begin + whole.end() + back >= at + SHORTEST)
        })?;
        let whole = captures.get(0)?;
        let secret = captures.get(1).unwrap_or(whole);
        let span = begin + secret.start()..begin + secret.end();
        let edges = if captures.len() == 1 || back == 0 && rule.shape == Shape::Token {
            begin + whole.start()..begin + whole.end()
        } else {
            0..0
        };
        if !edges.is_empty() && !text::stands_alone(view.data, &edges) {
            return None;
        }
        let mut found = Self::judge(view, rule, number, span)?;
        if rule.weak && (self.class == Class::Doc || credible::is_for_show(self.path)) {
            found.confidence = Confidence::Possible;
        }
        Some(found)
    }

    /// The value has the form of the rule. Is it one?
    pub(super) fn judge(
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        span: Range<usize>,
    ) -> Option<Found> {
        let secret = &view.data[span.clone()];
        if text::entropy(secret) < rule.entropy
            || rule.weak
                && (placeholder::is_nothing(secret) || placeholder::is_reference(secret, true))
        {
            return None;
        }
        let mut found = Found::new(view, rule, number, span.clone());
        if let Some(check) = rule.check {
            match proof::check(check, secret) {
                proof::Outcome::Wrong => return None,
                proof::Outcome::Unproved => {}
                proof::Outcome::Proved(proofs) => {
                    found.confidence = Confidence::Proved;
                    found.proof = proofs;
                }
            }
        }
        let prefix = rule.info.prefixes.iter().find(|prefix| secret.starts_with(prefix.as_bytes()));
        let random = &secret[prefix.map_or(0, String::len)..];
        let proved = found.confidence == Confidence::Proved;
        if known::is_published(secret) {
            found.confidence = Confidence::Possible;
        }
        (proved || !placeholder::is_made_up(random)).then_some(found)
    }
}

impl Found {
    /// As the rule has it, before anything else is known.
    pub fn new(view: &View<'_>, rule: &Rule, number: u16, span: Range<usize>) -> Found {
        let line = text::line_around(view.data, &span);
        Found {
            rule: number,
            outer: span.clone(),
            inside: Vec::new(),
            secret: view.data[span.clone()].to_vec(),
            confidence: rule.confidence,
            severity: rule.severity,
            proof: Vec::new(),
            weak: rule.weak,
            key_name: None,
            allowed_inline: text::contains(line, ALLOW),
            span,
        }
    }
}

impl Rule {
    fn speaks_in(&self, class: Class, path: &[u8]) -> bool {
        let in_class = self.classes.is_empty() || self.classes.contains(&class);
        let in_path =
            self.paths.is_empty() || self.paths.iter().any(|end| path.ends_with(end.as_bytes()));
        in_class && in_path
    }
}
