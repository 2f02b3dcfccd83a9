//! What can be wrong with a local store, in names and positions.

use std::io;
use std::path::PathBuf;

use crate::agent::config::nearest;
use crate::agent::reason::{Reason, Report};
use crate::agent::store::{Retry, Scope};
use crate::secret::FieldPath;

/// Why a local store did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalError {
    /// The encrypted file.
    pub file: PathBuf,
    /// The key that was to open it.
    pub key_file: PathBuf,
    /// What is wrong.
    pub fault: Box<LocalFault>,
}

/// What is wrong with a local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalFault {
    /// The store's file can't be read.
    FileUnreadable(io::ErrorKind),
    /// The key's file can't be read.
    KeyUnreadable(io::ErrorKind),
    /// The key's file has no key in it.
    KeyEmpty,
    /// A line of the key's file is no X25519 key.
    KeyLine {
        /// Which line, from 1.
        line: usize,
    },
    /// The store is sealed for other keys.
    KeyMismatch,
    /// The store is sealed with a passphrase.
    Passphrase,
    /// The file is empty.
    FileEmpty,
    /// The file is not made by age.
    NotAge,
    /// The file is cut off or changed.
    Damaged,
    /// A text that should name a recipient does not.
    Recipient {
        /// Which one, from 1.
        number: usize,
    },
    /// More can open the file than we know by name.
    RecipientsUnknown {
        /// How many can open it.
        sealed_for: usize,
        /// How many of them we could name.
        known: usize,
    },
    /// The file was changed by somebody else in the meantime.
    Changed,
    /// The file can't be written.
    Unwritable(io::ErrorKind),
    /// What is inside is not UTF-8.
    NotText,
    /// What is inside is not the YAML of a store.
    Yaml(YamlFault),
    /// There is no such entry.
    NotFound {
        /// The entry.
        path: String,
        /// The entries there are.
        there: Vec<String>,
    },
    /// The entry has no such field, or it is null.
    FieldMissing {
        /// The entry.
        path: String,
        /// The field.
        field: FieldPath,
        /// The fields there are.
        there: Vec<String>,
    },
    /// A version was asked for.
    NoVersions {
        /// The entry.
        path: String,
    },
}

/// What is wrong with the YAML inside. All places are line and column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamlFault {
    /// It does not parse.
    Syntax((usize, usize)),
    /// One mapping has a key twice.
    DuplicateKey((usize, usize)),
    /// A key is not a plain text.
    KeyNotText((usize, usize)),
    /// The document is not a mapping.
    NotMapping((usize, usize)),
    /// A second document begins.
    Second((usize, usize)),
    /// A tag other than `!!str` and `!!binary`.
    Tag((usize, usize)),
    /// `!!binary` of something that is not base64.
    NotBase64((usize, usize)),
    /// An alias.
    Alias((usize, usize)),
    /// Nested too deeply.
    TooDeep((usize, usize)),
}

impl YamlFault {
    /// Where, and what.
    pub fn sentence(self) -> String {
        let ((line, column), what) = match self {
            YamlFault::Syntax(at) => (at, "this is not YAML"),
            YamlFault::DuplicateKey(at) => (at, "this key was there already"),
            YamlFault::KeyNotText(at) => (at, "a key must be a text on one line"),
            YamlFault::NotMapping(at) => (at, "this is not a mapping of names"),
            YamlFault::Second(at) => (at, "a second document begins"),
            YamlFault::Tag(at) => (at, "this tag means nothing here"),
            YamlFault::NotBase64(at) => (at, "this is not base64"),
            YamlFault::Alias(at) => (at, "aliases are not understood here"),
            YamlFault::TooDeep(at) => (at, "this is nested too deeply"),
        };
        format!("line {line}, column {column}: {what}")
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            YamlFault::Syntax(_) => {
                "check the indentation and quotes of this line and the one above"
            }
            YamlFault::DuplicateKey(_) => "keep one of them",
            YamlFault::KeyNotText(_) | YamlFault::TooDeep(_) => {
                "write one entry per secret, and its fields below it"
            }
            YamlFault::NotMapping(_) => "write `name:` and below it, indented, `field: value`",
            YamlFault::Second(_) => "remove the `---`",
            YamlFault::Tag(_) => "only `!!str` and `!!binary` are known; quote what is text",
            YamlFault::NotBase64(_) => "leave out `!!binary` if the value is meant as it stands",
            YamlFault::Alias(_) => "write the value out, or quote it if it is text",
        }
    }
}

impl LocalError {
    /// A file that is wrong does not mend itself; when it changes it is read again anyway.
    pub fn retry(&self) -> Retry {
        Retry::Permanent
    }

    /// Whether the whole store is of no use, or this entry only.
    pub fn scope(&self) -> Scope {
        match *self.fault {
            LocalFault::NotFound { .. }
            | LocalFault::FieldMissing { .. }
            | LocalFault::NoVersions { .. } => Scope::Secret,
            _ => Scope::Store,
        }
    }

    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let about = self.about_the_key().or_else(|| self.about_the_file());
        let (reason, why, hint) = about.unwrap_or_else(|| self.about_what_is_inside());
        Report::new(reason, self.what(), why).hint(hint)
    }

    fn what(&self) -> String {
        let file = self.file.display();
        match &*self.fault {
            LocalFault::NotText | LocalFault::Yaml(_) => {
                format!("the local store {file} can't be read")
            }
            LocalFault::Recipient { .. }
            | LocalFault::RecipientsUnknown { .. }
            | LocalFault::Changed
            | LocalFault::Unwritable(_) => format!("the local store {file} can't be written"),
            LocalFault::NotFound { path, .. } => {
                format!("`{}` is not in the local store", path.escape_debug())
            }
            LocalFault::FieldMissing { path, field, .. } => {
                format!("`{}` of `{}` can't be delivered", name(field), path.escape_debug())
            }
            LocalFault::NoVersions { path } => {
                format!("no version of `{}` can be delivered", path.escape_debug())
            }
            _ => format!("the local store {file} can't be opened"),
        }
    }

    fn about_the_key(&self) -> Option<(Reason, String, String)> {
        let key = self.key_file.display();
        let make = "make one with `sidekey local keygen`";
        Some(match &*self.fault {
            LocalFault::KeyUnreadable(io::ErrorKind::NotFound) => {
                (Reason::IdentityUnavailable, format!("there is no key file {key}"), make.into())
            }
            LocalFault::KeyUnreadable(kind) => {
                let why = format!("its key file {key}: {}", why(*kind));
                (Reason::IdentityUnavailable, why, access(*kind))
            }
            LocalFault::KeyEmpty => {
                let why = format!("the key file {key} has no key in it");
                (Reason::KeyMismatch, why, make.into())
            }
            LocalFault::KeyLine { line } => (
                Reason::KeyMismatch,
                format!("line {line} of the key file {key} is no age key"),
                "a key begins with AGE-SECRET-KEY-1; ssh keys and plug-ins are not understood"
                    .into(),
            ),
            LocalFault::KeyMismatch => (
                Reason::KeyMismatch,
                format!("it is sealed for other keys than those in {key}"),
                "use the key it was made with, or have its owner add yours with \
                 `sidekey local edit --recipient`"
                    .into(),
            ),
            LocalFault::Passphrase => (
                Reason::KeyMismatch,
                "it is sealed with a passphrase, which an agent can't type".into(),
                "encrypt it for a key instead (`age -r age1…`)".into(),
            ),
            LocalFault::Recipient { number } => (
                Reason::ConfigInvalid,
                format!("recipient {number} is not one of age's"),
                "a recipient begins with age1; `sidekey local keygen` prints it".into(),
            ),
            LocalFault::RecipientsUnknown { sealed_for, known } => (
                Reason::ConfigInvalid,
                format!(
                    "{sealed_for} keys can open it and only {known} are known here; \
                     the others would be shut out"
                ),
                "name them once with `sidekey local recipients FILE --add AGE1…`; the file remembers them"
                    .into(),
            ),
            _ => return None,
        })
    }

    fn about_the_file(&self) -> Option<(Reason, String, String)> {
        let make = "make it with `sidekey local set`";
        Some(match &*self.fault {
            LocalFault::FileUnreadable(io::ErrorKind::NotFound) => {
                (Reason::StoreUnreachable, "there is no such file".to_owned(), make.into())
            }
            LocalFault::FileUnreadable(kind) => {
                (Reason::StoreUnreachable, why(*kind), access(*kind))
            }
            LocalFault::FileEmpty => {
                (Reason::AnswerMalformed, "the file is empty".into(), make.into())
            }
            LocalFault::NotAge => (
                Reason::AnswerMalformed,
                "the file was not made by age".into(),
                "`sidekey local edit` makes one; a plain YAML file is not taken".into(),
            ),
            LocalFault::Damaged => (
                Reason::AnswerMalformed,
                "the file is cut off or was changed".into(),
                "put the last good copy in its place".into(),
            ),
            LocalFault::Changed => (
                Reason::StoreUnreachable,
                "somebody else changed it in the meantime".into(),
                "do it again; nothing was written".into(),
            ),
            LocalFault::Unwritable(kind) => (
                Reason::VolumeRefused,
                kind.to_string(),
                "its directory must let us make a file beside it".into(),
            ),
            _ => return None,
        })
    }

    fn about_what_is_inside(&self) -> (Reason, String, String) {
        let file = self.file.display();
        match &*self.fault {
            LocalFault::Yaml(fault) => {
                (Reason::AnswerMalformed, fault.sentence(), fault.hint().into())
            }
            LocalFault::NotFound { path, there } => (
                Reason::NotFound,
                format!("{file} has no such entry"),
                suggestion(path, there, "entries"),
            ),
            LocalFault::FieldMissing { field, there, .. } => (
                Reason::FieldMissing,
                format!("{file} has no such field there, or it is null"),
                suggestion(&name(field), there, "fields"),
            ),
            LocalFault::NoVersions { .. } => (
                Reason::NotFound,
                "a local store has only the newest".into(),
                "leave out the `@`".into(),
            ),
            _ => (
                Reason::AnswerMalformed,
                "what is inside is not UTF-8".into(),
                "a local store is YAML".into(),
            ),
        }
    }
}

/// The kind of an error of the file system, in the standard library's words.
fn why(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::FileTooLarge => "it is too large to be one".to_owned(),
        io::ErrorKind::InvalidInput => "it is not a file".to_owned(),
        kind => kind.to_string(),
    }
}

fn access(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::PermissionDenied => "let the user that Sidekey runs as read it".to_owned(),
        _ => "look at its path".to_owned(),
    }
}

fn name(field: &FieldPath) -> String {
    let text = field.to_string();
    text.strip_prefix('.').unwrap_or(&text).escape_debug().to_string()
}

fn suggestion(written: &str, there: &[String], noun: &str) -> String {
    /// Names that fit on a line or two.
    const SHOWN: usize = 12;
    let quote = |name: &str| format!("`{}`", name.escape_debug());
    if let Some(near) = nearest(written, there.iter().map(String::as_str)) {
        return format!("did you mean {}?", quote(near));
    }
    let shown: Vec<_> = there.iter().take(SHOWN).map(|name| quote(name)).collect();
    match there.len() {
        0 => format!("it has no {noun}"),
        n if n > SHOWN => format!("its {noun}: {} and {} more", shown.join(", "), n - SHOWN),
        _ => format!("its {noun}: {}", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
