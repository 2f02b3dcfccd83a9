//! The examples of rules, run: a rule finds each of its examples, and none of its counterexamples.

use super::problem::RulesError;
use super::template::expand;
use super::{Detector, Pick, PlaceKind, RuleSet, Subject};
use crate::scan::finding::Confidence;

/// How many different random parts each example is tried with.
const SEEDS: u64 = 20;

impl RuleSet {
    /// Runs all examples; every one that behaves otherwise than it should is a problem.
    pub fn try_examples(&self) -> Result<Vec<RulesError>, RulesError> {
        let detector = Detector::build(self, &Pick::default())?;
        detector.compile_all()?;
        let mut problems = Vec::new();
        for (rule, index) in self.rules.iter().zip(0..) {
            let finds = |text: &[u8]| {
                let mut found = false;
                let subject = Subject { path: rule.at.as_bytes(), kind: PlaceKind::File };
                detector.value(&subject, text, &mut |hit| {
                    let shown = hit.confidence <= Confidence::Likely;
                    found |= shown && hit.rule.0 == index;
                });
                found
            };
            let mut say = |number: usize, why| {
                let id = rule.info.id.clone();
                problems.push(RulesError::Example { id, number: number + 1, why });
            };
            for (number, example) in rule.examples.iter().enumerate() {
                if !(0..SEEDS).all(|seed| finds(&expand(example, seed))) {
                    say(number, "is not found");
                }
            }
            for (number, example) in rule.counterexamples.iter().enumerate() {
                if finds(&expand(example, 0)) {
                    say(number, "is found, and is a counterexample");
                }
            }
        }
        Ok(problems)
    }
}
