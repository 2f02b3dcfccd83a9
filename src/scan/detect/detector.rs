//! The compiled rules, shared by all threads.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::gate::{Gate, Literal};
use super::problem::RulesError;
use super::rule::{Rule, RuleSet, Shape};
use super::stream::Stream;
use super::{Hit, Subject};

/// The largest compiled pattern. The largest of the built-in ones takes a tenth of it.
const PATTERN_SIZE: usize = 1 << 20;
/// What a pattern may use to remember states while it searches.
const PATTERN_CACHE: usize = 256 << 10;

/// Which rules are wanted, and what time it is.
#[derive(Debug, Clone, Default)]
pub struct Pick {
    /// Only these, if any is named.
    pub only: Vec<String>,
    /// Not these.
    pub skip: Vec<String>,
    /// Seconds since 1970, to tell what has expired.
    pub now: u64,
}

/// Rules, ready to look at bytes. Build it once and share it.
pub struct Detector {
    pub(super) rules: Vec<Rule>,
    pub(super) gate: Gate,
    /// For each literal of the gate, the rules that it belongs to.
    pub(super) owners: Vec<Vec<u16>>,
    /// Rules that look at whole files, by their paths.
    pub(super) whole: Vec<u16>,
    pub(super) now: u64,
    wanted: Vec<bool>,
    /// Compiled when first needed: most images need few of them.
    patterns: Vec<OnceLock<Option<Regex>>>,
}

impl Detector {
    /// Prepares the rules of a set. Numbers in hits are positions in the set, whatever was picked.
    pub fn build(set: &RuleSet, pick: &Pick) -> Result<Detector, RulesError> {
        if let Some(id) = pick.only.iter().chain(&pick.skip).find(|id| set.named(id).is_none()) {
            return Err(RulesError::Unknown { id: id.clone() });
        }
        let is_wanted = |rule: &Rule| {
            let id = &rule.info.id;
            (pick.only.is_empty() || pick.only.contains(id)) && !pick.skip.contains(id)
        };
        let wanted: Vec<bool> = set.rules.iter().map(is_wanted).collect();
        let mut owners: BTreeMap<&Literal, Vec<u16>> = BTreeMap::new();
        let mut whole = Vec::new();
        for (number, rule) in (0_u16..).zip(&set.rules) {
            if !wanted[usize::from(number)] {
                continue;
            }
            if rule.shape == Shape::Whole {
                whole.push(number);
            }
            for anchor in &rule.anchors {
                let owners = owners.entry(anchor).or_default();
                if !owners.contains(&number) {
                    owners.push(number);
                }
            }
        }
        let gate = Gate::new(owners.keys().map(|&literal| literal.clone()).collect());
        Ok(Detector {
            gate,
            owners: owners.into_values().collect(),
            whole,
            now: pick.now,
            wanted,
            patterns: set.rules.iter().map(|_| OnceLock::new()).collect(),
            rules: set.rules.clone(),
        })
    }

    /// How many rules are in use.
    pub fn count(&self) -> usize {
        self.wanted.iter().filter(|&&wanted| wanted).count()
    }

    /// Compiles every pattern now and says which can't be.
    pub fn compile_all(&self) -> Result<(), RulesError> {
        for (number, rule) in (0_u16..).zip(&self.rules) {
            if self.pattern(number).is_none() {
                return Err(RulesError::Pattern { id: rule.info.id.clone() });
            }
        }
        Ok(())
    }

    /// Begins to look at the bytes of a subject.
    pub fn open<'d>(&'d self, subject: &Subject<'_>) -> Stream<'d> {
        Stream::new(self, subject)
    }

    /// Looks at a small whole value: a variable, a label, an instruction, a name.
    pub fn value(&self, subject: &Subject<'_>, bytes: &[u8], sink: &mut dyn FnMut(Hit)) {
        let mut stream = self.open(subject);
        stream.push(bytes, sink);
        stream.finish(sink);
    }

    pub(super) fn pattern(&self, rule: u16) -> Option<&Regex> {
        let rule = usize::from(rule);
        let compiled = self.patterns[rule].get_or_init(|| compile(&self.rules[rule].pattern));
        compiled.as_ref()
    }
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_CACHE)
        .build()
        .ok()
}
