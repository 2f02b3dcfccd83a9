//! Why a local store can't be read or written.

use std::io;
use std::path::PathBuf;

use crate::agent::reason::{Reason, Report};
use crate::agent::store::{Retry, Scope};
use crate::secret::StoreName;

/// What is wrong with a local store.
#[derive(Debug)]
pub struct LocalError {
    /// The encrypted file.
    pub file: PathBuf,
    /// What happened.
    pub fault: Fault,
}

/// What happened.
#[derive(Debug)]
pub enum Fault {
    /// The encrypted file can't be read or written.
    File {
        /// The system's word for it.
        kind: io::ErrorKind,
    },
    /// The key can't be read.
    KeyFile {
        /// The key's file.
        file: PathBuf,
        /// The system's word for it.
        kind: io::ErrorKind,
    },
    /// The key's file holds no age identity.
    NoKey {
        /// The key's file.
        file: PathBuf,
    },
    /// The key does not open the file.
    WrongKey,
    /// Not an age file.
    NotAge,
    /// An age file that is cut short or was changed.
    Damaged,
    /// What was encrypted is not YAML.
    NotYaml {
        /// The line, from 1; 0 where it is not known.
        line: usize,
    },
    /// What was encrypted is not a mapping of names.
    NotNames,
    /// There is no such secret.
    NotThere {
        /// Its name.
        name: String,
        /// One that is written nearly the same.
        near: Option<String>,
    },
    /// The secret has no such field.
    NoField {
        /// Its name.
        name: String,
        /// The fields it has.
        fields: Vec<String>,
    },
    /// A local store keeps no versions.
    Pinned {
        /// The store's name.
        store: StoreName,
    },
    /// Text that is no age recipient.
    NotARecipient {
        /// The text: it is public.
        text: String,
    },
    /// A value that YAML can't hold.
    NotText,
}

impl LocalError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self.fault {
            Fault::File { .. } | Fault::KeyFile { .. } => Retry::Transient,
            _ => Retry::Permanent,
        }
    }

    /// Who backs off.
    pub fn scope(&self) -> Scope {
        match self.fault {
            Fault::NotThere { .. } | Fault::NoField { .. } | Fault::Pinned { .. } => Scope::Secret,
            _ => Scope::Store,
        }
    }

    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let file = self.file.display();
        let cant = format!("can't open the local store `{file}`");
        match &self.fault {
            Fault::File { kind } => Report::new(Reason::StoreUnreachable, cant, kind.to_string())
                .hint("`sidekey local set FILE NAME.FIELD` makes one; correct `file` if it is elsewhere"),
            Fault::KeyFile { file, kind } => Report::new(
                Reason::IdentityUnavailable,
                cant,
                format!("its key `{}`: {kind}", file.display()),
            )
            .hint("`sidekey local keygen FILE` makes one; correct `key_file` if it is elsewhere"),
            Fault::NoKey { file } => Report::new(
                Reason::IdentityUnavailable,
                cant,
                format!("there is no age key in `{}`", file.display()),
            )
            .hint("a key is a line that begins with AGE-SECRET-KEY-1"),
            Fault::WrongKey => {
                Report::new(Reason::KeyMismatch, cant, "it was not encrypted for this key")
                    .hint("give the right `key_file`, or let somebody who can open it add this key")
            }
            Fault::NotAge => Report::new(Reason::AnswerMalformed, cant, "it is not an age file")
                .hint("correct `file`; `sidekey local edit` makes and changes such files"),
            Fault::Damaged => {
                Report::new(Reason::AnswerMalformed, cant, "it is cut short or was changed")
                    .hint("bring back an earlier copy")
            }
            Fault::NotYaml { line } => Report::new(
                Reason::AnswerMalformed,
                cant,
                format!("what is in it is not valid YAML (line {line})"),
            )
            .hint("mend it with `sidekey local edit`"),
            Fault::NotNames => {
                Report::new(Reason::AnswerMalformed, cant, "what is in it is not a mapping of names")
                    .hint("write `name:` and below it, indented, `field: value`")
            }
            Fault::NotThere { name, near } => {
                let report = Report::new(
                    Reason::NotFound,
                    format!("`{name}` is not in the local store `{file}`"),
                    "there is no such top-level key",
                );
                report.hint(near.as_ref().map_or_else(
                    || format!("add it with `sidekey local set {file} {name}.FIELD`"),
                    |near| format!("did you mean `{near}`?"),
                ))
            }
            Fault::NoField { name, fields } => Report::new(
                Reason::FieldMissing,
                format!("`{name}` in the local store `{file}` has no such field"),
                "the field is missing or null",
            )
            .hint(format!("its fields: {}", fields.join(", "))),
            Fault::Pinned { store } => Report::new(
                Reason::NotFound,
                format!("the store `{store}` has no versions"),
                "a local store keeps only the newest value",
                )
                .hint("remove `@VERSION` from the reference"),
            Fault::NotARecipient { text } => Report::new(
                Reason::ConfigInvalid,
                format!("`{}` is not an age recipient", text.escape_debug()),
                "a recipient begins with age1",
            )
            .hint("`sidekey local keygen` prints the recipient of a new key"),
            Fault::NotText => Report::new(
                Reason::FormatRefused,
                format!("can't put the value into `{file}`"),
                "it is not UTF-8, and YAML holds text only",
            )
            .hint("encode it as base64, and deliver the file with `decode: base64`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_says_what_why_and_what_to_do() {
        let kind = io::ErrorKind::NotFound;
        let name = || "db".to_owned();
        for fault in [
            Fault::File { kind },
            Fault::KeyFile { file: "key.txt".into(), kind },
            Fault::NoKey { file: "key.txt".into() },
            Fault::WrongKey,
            Fault::NotAge,
            Fault::Damaged,
            Fault::NotYaml { line: 3 },
            Fault::NotNames,
            Fault::NotThere { name: name(), near: None },
            Fault::NotThere { name: name(), near: Some("dbs".into()) },
            Fault::NoField { name: name(), fields: vec!["user".into()] },
            Fault::Pinned { store: StoreName::parse("dev").unwrap() },
            Fault::NotARecipient { text: "x".into() },
            Fault::NotText,
        ] {
            let report = LocalError { file: "s.age".into(), fault }.report();
            assert!(!report.what.is_empty() && !report.why.is_empty(), "{report}");
            assert!(report.hint.is_some(), "{report}");
        }
    }
}
