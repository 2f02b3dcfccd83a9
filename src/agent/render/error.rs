//! What can be wrong with a file before it is published, in names, numbers and positions.

mod words;

use crate::agent::config::Format;
use crate::agent::reason::{Reason, Report};
use crate::secret::{FieldPath, FilePath, SecretName};

/// Why a file can't be composed, or may not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// A secret that the file needs is not there.
    SecretMissing {
        /// The file.
        file: FilePath,
        /// The secret.
        secret: SecretName,
    },
    /// A field that the file needs is missing or null.
    FieldMissing {
        /// The file.
        file: FilePath,
        /// The line of the template, where it is one.
        line: Option<usize>,
        /// The secret.
        secret: SecretName,
        /// The field.
        field: FieldPath,
        /// The fields that the secret has.
        have: Vec<String>,
    },
    /// A value that is a part of the file is empty.
    ValueEmpty {
        /// The file.
        file: FilePath,
        /// The secret.
        secret: SecretName,
        /// The field.
        field: FieldPath,
    },
    /// The file has no bytes.
    FileEmpty {
        /// The file.
        file: FilePath,
    },
    /// `decode: base64` of a value that is not base64.
    NotBase64 {
        /// The file.
        file: FilePath,
        /// The secret.
        secret: SecretName,
        /// The field.
        field: FieldPath,
    },
    /// The format can't carry this value, or this key.
    Refused {
        /// The file.
        file: FilePath,
        /// Its format.
        format: Format,
        /// The key in the file; empty for the whole document.
        key: String,
        /// Why.
        why: FormatFailure,
    },
    /// `decode` beside a template.
    DecodedTemplate {
        /// The file.
        file: FilePath,
    },
    /// Named entries without a format.
    RawEntries {
        /// The file.
        file: FilePath,
    },
    /// The template does not parse.
    TemplateSyntax {
        /// The file.
        file: FilePath,
        /// The line of the template, from 1.
        line: usize,
        /// The parser's words. They quote the template, which is config and not secret.
        detail: String,
    },
    /// The template failed.
    Template {
        /// The file.
        file: FilePath,
        /// The line of the template, from 1; 0 where it is not known.
        line: usize,
        /// How.
        fault: TemplateFault,
    },
    /// A value that is not text in a template.
    TemplateBinary {
        /// The file.
        file: FilePath,
        /// The secret.
        secret: SecretName,
        /// The field.
        field: FieldPath,
    },
    /// The finished file fails a check.
    Check {
        /// The file.
        file: FilePath,
        /// Which check.
        failure: CheckFailure,
    },
}

/// Why a format can't carry a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatFailure {
    /// A key that is not a variable's name.
    KeyNotName,
    /// A key without characters.
    KeyEmpty,
    /// NUL.
    Nul,
    /// Bytes that are not UTF-8.
    NotText,
    /// A carriage return, which readers drop.
    CarriageReturn,
    /// Quotes of both kinds, or a quote beside `$` or `\`, which readers take differently.
    Quotes,
    /// `${…}`, which some readers replace even inside quotes.
    Substitution,
    /// A secret without fields where fields are needed.
    NoFields,
    /// No private key where one is needed.
    NoKey,
    /// More than one private key.
    SeveralKeys,
    /// No certificate where one is needed.
    NoCertificate,
    /// A password that is not UTF-8.
    PasswordNotText,
}

/// How a template failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateFault {
    /// A name that is nowhere defined.
    Undefined,
    /// `none` where text belongs.
    None,
    /// A filter, test, function or method that does not exist.
    Unknown,
    /// Something done to a value of the wrong kind.
    Operation,
    /// Too many steps, or too many bytes on the way.
    Fuel,
    /// More output than a file may have.
    TooLong,
    /// Anything else.
    Other,
}

/// Which check a finished file fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// Not JSON.
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Not YAML.
    Yaml {
        /// Line, from 1.
        line: usize,
    },
    /// Broken PEM.
    Pem {
        /// Line, from 1.
        line: usize,
        /// How.
        fault: PemFault,
    },
    /// A certificate that can't be read.
    Certificate {
        /// Line of its `BEGIN`, from 1.
        line: usize,
    },
    /// A private key that can't be read.
    Key {
        /// Line of its `BEGIN`, from 1.
        line: usize,
    },
    /// A certificate that has ended.
    Expired {
        /// Line of its `BEGIN`, from 1.
        line: usize,
        /// Seconds since it ended.
        ago: i64,
    },
    /// A certificate that is not valid yet.
    NotYetValid {
        /// Line of its `BEGIN`, from 1.
        line: usize,
        /// Seconds until it is.
        ahead: i64,
    },
    /// A certificate that was not signed by the CA of its issuer's name beside it.
    NotSigned {
        /// Line of its `BEGIN`, from 1.
        line: usize,
    },
    /// The private key in this file is not the one of the certificate.
    Mismatch {
        /// Where the certificate is.
        certificate: FilePath,
    },
}

/// How PEM is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemFault {
    /// A `BEGIN` without its `END`, or with the `END` of something else.
    NoEnd,
    /// Text inside that is not base64.
    NotBase64,
    /// Nothing inside.
    Empty,
}

impl RenderError {
    /// The machine's word for it.
    pub fn reason(&self) -> Reason {
        use RenderError as E;
        match self {
            E::SecretMissing { .. } => Reason::NotFound,
            E::FieldMissing { .. } => Reason::FieldMissing,
            E::ValueEmpty { .. } | E::FileEmpty { .. } => Reason::SecretEmpty,
            E::NotBase64 { .. } | E::Refused { .. } | E::TemplateBinary { .. } => {
                Reason::FormatRefused
            }
            E::DecodedTemplate { .. } | E::RawEntries { .. } | E::TemplateSyntax { .. } => {
                Reason::ConfigInvalid
            }
            E::Template { .. } => Reason::TemplateFailed,
            E::Check { .. } => Reason::CheckFailed,
        }
    }

    /// The file it is about.
    pub fn file(&self) -> &FilePath {
        use RenderError as E;
        match self {
            E::SecretMissing { file, .. }
            | E::FieldMissing { file, .. }
            | E::ValueEmpty { file, .. }
            | E::FileEmpty { file }
            | E::NotBase64 { file, .. }
            | E::Refused { file, .. }
            | E::DecodedTemplate { file }
            | E::RawEntries { file }
            | E::TemplateSyntax { file, .. }
            | E::Template { file, .. }
            | E::TemplateBinary { file, .. }
            | E::Check { file, .. } => file,
        }
    }

    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let file = self.file();
        let composing = format!("`{file}` can't be composed");
        let (what, why, hint) = match self {
            RenderError::SecretMissing { secret, .. } => (
                composing,
                format!("the secret `{secret}` is not there"),
                format!("put it into its store, or mark its use in `{file}` with `?`"),
            ),
            RenderError::FieldMissing { line, secret, field, have, .. } => (
                composing,
                format!("{}`{secret}{field}` is missing or null", at_line(*line)),
                fields_hint(secret, have),
            ),
            RenderError::ValueEmpty { secret, field, .. } => (
                composing,
                format!("`{secret}{field}` is empty"),
                "give it a value in its store, or mark it with `?` if it may be empty".to_owned(),
            ),
            RenderError::FileEmpty { .. } => (
                format!("`{file}` may not be published"),
                "it would be empty".to_owned(),
                "an empty file is never meant; look at what its secrets hold".to_owned(),
            ),
            RenderError::NotBase64 { secret, field, .. } => (
                composing,
                format!("`{secret}{field}` is not base64"),
                "leave out `decode: base64` if the value is meant as it stands".to_owned(),
            ),
            RenderError::Refused { format, key, why, .. } => {
                return Report::new(self.reason(), composing, why.sentence(*format, key))
                    .hint(why.hint(*format));
            }
            RenderError::DecodedTemplate { .. } => (
                composing,
                "`decode` stands beside a `template`, and does nothing there".to_owned(),
                "write `{{ name.field | b64decode }}` inside the template".to_owned(),
            ),
            RenderError::RawEntries { .. } => (
                composing,
                "named values need a format, and `raw` has no names".to_owned(),
                "choose `format:` json, yaml, dotenv, properties or shell".to_owned(),
            ),
            RenderError::TemplateSyntax { line, detail, .. } => (
                format!("the template of `{file}` can't be read"),
                format!("line {line}: {detail}"),
                "templates are written as for minijinja (Jinja2)".to_owned(),
            ),
            RenderError::Template { line, fault, .. } => (
                format!("the template of `{file}` failed"),
                format!("{}{}", at_line(Some(*line)), fault.sentence()),
                fault.hint().to_owned(),
            ),
            RenderError::TemplateBinary { secret, field, .. } => (
                format!("the template of `{file}` failed"),
                format!("`{secret}{field}` is not text"),
                "use `b64encode` on it, or deliver it as a file of its own".to_owned(),
            ),
            RenderError::Check { failure, .. } => {
                (format!("`{file}` may not be published"), failure.sentence(), failure.hint())
            }
        };
        Report::new(self.reason(), what, why).hint(hint)
    }
}

fn at_line(line: Option<usize>) -> String {
    line.filter(|&line| line > 0).map(|line| format!("line {line}: ")).unwrap_or_default()
}

fn fields_hint(secret: &SecretName, have: &[String]) -> String {
    /// Names that fit on a line or two; a secret with hundreds of fields is not listed.
    const SHOWN: usize = 12;
    let names = have.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug()));
    let names = names.collect::<Vec<_>>().join(", ");
    match have.len() {
        0 => format!("`{secret}` has no fields; use it without one"),
        n if n > SHOWN => format!("`{secret}` has {names} and {} more", n - SHOWN),
        _ => format!("`{secret}` has {names}"),
    }
}

#[cfg(test)]
mod tests;
