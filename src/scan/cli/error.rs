//! Why a run ends without a report: what, why, and what to do.

use std::fmt;

use crate::scan::finding::Trouble;

/// A failure of the run itself. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: String,
    /// Further ones of the same file.
    pub more: Vec<Failure>,
}

impl Failure {
    /// What went wrong, why, and what to do.
    pub fn new(
        what: impl Into<String>,
        why: impl fmt::Display,
        hint: impl Into<String>,
    ) -> Failure {
        Failure { what: what.into(), why: why.to_string(), hint: hint.into(), more: Vec::new() }
    }

    /// Every mistake of a file at once.
    pub fn several(troubles: impl Iterator<Item = Trouble>) -> Failure {
        let mut all = troubles.map(Failure::from);
        match all.next() {
            Some(first) => Failure { more: all.collect(), ..first },
            None => Failure::new("the file can't be used", "it is wrong", "write it anew"),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(Trouble { what, why, hint }: Trouble) -> Failure {
        Failure { what, why, hint, more: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  why: {}\n hint: {}", self.what, self.why, self.hint)?;
        self.more.iter().try_for_each(|failure| write!(f, "\n{failure}"))
    }
}
