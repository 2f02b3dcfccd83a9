//! What can be wrong with rules.

use crate::scan::finding::Trouble;

/// Why rules can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// The file is no TOML, or has fields that rules don't have.
    #[error("{file} is no rules file (line {line})")]
    Syntax {
        /// The file's name.
        file: String,
        /// The line, from 1; 0 if unknown.
        line: usize,
    },
    /// A rule contradicts itself.
    #[error("rule `{id}` in {file} {why}")]
    Rule {
        /// The file's name.
        file: String,
        /// The rule's name.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A pattern is no regular expression, or too large a one.
    #[error("the pattern of rule `{id}` can't be used")]
    Pattern {
        /// The rule's name.
        id: String,
    },
    /// Two rules have one name.
    #[error("two rules are named `{id}`")]
    Twice {
        /// The name.
        id: String,
    },
    /// No rule has that name.
    #[error("there is no rule `{id}`")]
    Unknown {
        /// The name.
        id: String,
    },
    /// An example of a rule behaves otherwise than it should.
    #[error("example {number} of rule `{id}` {why}")]
    Example {
        /// The rule's name.
        id: String,
        /// Which, from 1.
        number: usize,
        /// What it did.
        why: &'static str,
    },
    /// More rules than numbers.
    #[error("there are more than 65,535 rules")]
    TooMany,
}

impl RulesError {
    /// What, why and what to do.
    pub fn trouble(&self) -> Trouble {
        let (why, hint) = match self {
            RulesError::Syntax { .. } => (
                "it has to be TOML with `[[provider]]` and `[[provider.rule]]` tables",
                "compare it with the output of `sidekey-scan rules show github-token`",
            ),
            RulesError::Rule { .. } => (
                "a rule that can't be used as written would silently find nothing",
                "correct the rule, or take it out",
            ),
            RulesError::Pattern { .. } => (
                "it does not compile within the bounds of the detector",
                "use the syntax of Rust's `regex`, without look-around, and smaller repetitions",
            ),
            RulesError::Twice { .. } => {
                ("a name in a report has to mean one rule", "rename one of them")
            }
            RulesError::Unknown { .. } => {
                ("it was named in an option", "list the names with `sidekey-scan rules list`")
            }
            RulesError::Example { .. } => {
                ("examples are the tests of a rule", "correct the pattern or the example")
            }
            RulesError::TooMany => ("rules are numbered in two bytes", "split the file"),
        };
        Trouble { what: self.to_string(), why: why.to_owned(), hint: hint.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_why_and_what_to_do() {
        let (file, id) = ("rules.toml".to_owned(), "acme-key".to_owned());
        let all = [
            RulesError::Syntax { file: file.clone(), line: 3 },
            RulesError::Rule { file, id: id.clone(), why: "has no example" },
            RulesError::Pattern { id: id.clone() },
            RulesError::Twice { id: id.clone() },
            RulesError::Unknown { id: id.clone() },
            RulesError::Example { id, number: 1, why: "is not found" },
            RulesError::TooMany,
        ];
        for error in all {
            let trouble = error.trouble();
            for part in [&trouble.what, &trouble.why, &trouble.hint] {
                assert!(!part.is_empty() && !part.ends_with('.'), "{part}");
            }
        }
    }
}
