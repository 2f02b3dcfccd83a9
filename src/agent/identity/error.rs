//! Why there is no proof of who we are.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::agent::reason::{Reason, Report, system_word};

/// Where a proof stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "`{}`", path.display()),
            Place::Variable(name) => write!(f, "the variable `{name}`"),
        }
    }
}

/// Why there is no proof of who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The directory of the file can't be opened.
    Directory {
        /// The file in it.
        file: PathBuf,
        /// What the system said.
        kind: ErrorKind,
    },
    /// The file can't be read.
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        kind: ErrorKind,
    },
    /// The environment variable is not set.
    NoVariable {
        /// Its name.
        variable: String,
    },
    /// Nothing is there, newlines aside.
    Empty {
        /// Where.
        place: Place,
    },
    /// A character that a proof can't have: a space, a control character, not ASCII.
    Character {
        /// Where.
        place: Place,
        /// Which byte, from 1.
        position: usize,
    },
}

impl IdentityError {
    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let report = |what: String, why: String, hint: &str| {
            Report::new(Reason::IdentityUnavailable, what, why).hint(hint)
        };
        match self {
            IdentityError::Directory { file, kind } => report(
                format!("cannot open the directory of `{}`", file.display()),
                system_word(*kind),
                "mount the volume that holds it at that path, readable for this user",
            ),
            IdentityError::Read { file, kind: ErrorKind::FileTooLarge } => report(
                format!("cannot use `{}` to log in", file.display()),
                format!("it has more than {} bytes", super::MAX_PROOF),
                "put the token alone into the file",
            ),
            IdentityError::Read { file, kind } => report(
                format!("cannot read `{}`", file.display()),
                system_word(*kind),
                "mount the token there (a projected service account token, or a file of your own), \
                 readable for this user",
            ),
            IdentityError::NoVariable { variable } => report(
                format!("there is no token in the variable `{variable}`"),
                "it is not set".into(),
                "set it, or name another login in the config",
            ),
            IdentityError::Empty { place } => report(
                format!("there is nothing to log in with in {place}"),
                "it is empty".into(),
                "put the token there; until then it is read again at every try",
            ),
            IdentityError::Character { place, position } => report(
                format!("cannot use {place} to log in"),
                format!("byte {position} is a space, a control character or not ASCII"),
                "put the token alone there, on one line",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_why_and_how_to_mend_it() {
        let file = PathBuf::from("/run/token");
        let place = Place::File(file.clone());
        for (error, what, why) in [
            (
                IdentityError::Directory { file: file.clone(), kind: ErrorKind::NotFound },
                "/run/token",
                "no such file",
            ),
            (
                IdentityError::Read { file: file.clone(), kind: ErrorKind::PermissionDenied },
                "/run/token",
                "permission denied",
            ),
            (IdentityError::Read { file, kind: ErrorKind::FileTooLarge }, "/run/token", "65536"),
            (IdentityError::NoVariable { variable: "T".into() }, "variable `T`", "not set"),
            (IdentityError::Empty { place: place.clone() }, "/run/token", "empty"),
            (IdentityError::Character { place, position: 7 }, "/run/token", "byte 7"),
        ] {
            let report = error.report();
            assert!(report.what.contains(what), "{report}");
            assert!(report.why.contains(why), "{report}");
            assert!(report.hint.is_some_and(|hint| !hint.is_empty()));
        }
    }
}
