//! Why a run ends without a report: what, why, and what to do.

use std::fmt;

/// A failure of the run itself. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// What went wrong, why, and what to do.
    pub fn new(
        what: impl Into<String>,
        why: impl fmt::Display,
        hint: impl Into<String>,
    ) -> Failure {
        Failure { what: what.into(), why: why.to_string(), hint: hint.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  why: {}\n hint: {}", self.what, self.why, self.hint)
    }
}
