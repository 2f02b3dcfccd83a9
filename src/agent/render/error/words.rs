//! The words for each failure.

use std::fmt;

use super::{CheckFailure, FormatFailure, PemFault, TemplateFault};
use crate::agent::config::Format;

/// A span of time as a person says it.
pub(super) struct Span(pub(super) i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

impl FormatFailure {
    pub(super) fn sentence(self, format: Format, key: &str) -> String {
        let name = format.word();
        let key = key.escape_debug();
        match self {
            FormatFailure::KeyNotName => format!("`{key}` is not a name that {name} allows"),
            FormatFailure::KeyEmpty => {
                format!("a field has an empty name, which {name} can't hold")
            }
            FormatFailure::Nul => format!("`{key}` holds a NUL byte, which {name} can't carry"),
            FormatFailure::NotText => format!("`{key}` is not UTF-8, which {name} needs"),
            FormatFailure::CarriageReturn => {
                format!("`{key}` holds a carriage return, which readers of {name} drop")
            }
            FormatFailure::Quotes => {
                format!(
                    "`{key}` holds quotes or backslashes that readers of {name} take differently"
                )
            }
            FormatFailure::Substitution => {
                format!("`{key}` holds `${{…}}`, which some readers of {name} replace")
            }
            FormatFailure::NoFields => format!("the secret has no fields, which {name} needs"),
            FormatFailure::NoKey => "there is no private key in it".to_owned(),
            FormatFailure::SeveralKeys => "there is more than one private key in it".to_owned(),
            FormatFailure::NoCertificate => "there is no certificate in it".to_owned(),
            FormatFailure::PasswordNotText => format!("the password `{key}` is not UTF-8"),
        }
    }

    pub(super) fn hint(self, format: Format) -> String {
        match self {
            FormatFailure::KeyNotName if format == Format::Yaml => {
                "YAML keys on one line are short; name the value yourself under `from:`".to_owned()
            }
            FormatFailure::KeyNotName => {
                "a name is made of letters, digits and `_`; name the value yourself under `from:`"
                    .to_owned()
            }
            FormatFailure::KeyEmpty | FormatFailure::NoFields => {
                "name the values yourself under `from:`".to_owned()
            }
            FormatFailure::Nul | FormatFailure::NotText => {
                "deliver it as a file of its own (`raw`), or store it as base64".to_owned()
            }
            FormatFailure::NoKey | FormatFailure::SeveralKeys | FormatFailure::NoCertificate => {
                "put one private key in PEM form first, then its certificate, then the others"
                    .to_owned()
            }
            FormatFailure::PasswordNotText => "use a password of plain characters".to_owned(),
            FormatFailure::CarriageReturn | FormatFailure::Quotes | FormatFailure::Substitution => {
                "use format `json` or `shell`, or deliver it as a file of its own".to_owned()
            }
        }
    }
}

impl TemplateFault {
    /// Every fault, for tables.
    #[cfg(test)]
    pub(super) const ALL: [TemplateFault; 7] = [
        TemplateFault::Undefined,
        TemplateFault::None,
        TemplateFault::Unknown,
        TemplateFault::Operation,
        TemplateFault::Fuel,
        TemplateFault::TooLong,
        TemplateFault::Other,
    ];

    pub(super) fn sentence(self) -> &'static str {
        match self {
            TemplateFault::Undefined => "a name is not defined",
            TemplateFault::None => "a value is none",
            TemplateFault::Unknown => "a filter, test, function or method does not exist",
            TemplateFault::Operation => "a value is of the wrong kind for what is done to it",
            TemplateFault::Fuel => "it takes too many steps",
            TemplateFault::TooLong => "its output is longer than 4 MiB",
            TemplateFault::Other => "the template engine gave up",
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            TemplateFault::Undefined | TemplateFault::None => {
                "use `default`, or ask `is defined` first, where something may be missing"
            }
            TemplateFault::Unknown => {
                "there are minijinja's builtin filters and tests, `range`, `urlencode`, \
                 `b64encode`, `b64decode` and `tojson`; nothing reads files or the environment"
            }
            TemplateFault::Operation => "look at that line of the template, and at the secret",
            TemplateFault::Fuel | TemplateFault::TooLong => {
                "make the loops of the template smaller"
            }
            TemplateFault::Other => "make that line of the template simpler",
        }
    }
}

impl CheckFailure {
    pub(super) fn sentence(&self) -> String {
        match self {
            CheckFailure::Json { line, column } => {
                format!("it is not JSON at line {line}, column {column}")
            }
            CheckFailure::Yaml { line } => format!("it is not YAML at line {line}"),
            CheckFailure::Pem { line, fault } => {
                let fault = match fault {
                    PemFault::NoEnd => "a `-----BEGIN` has no `-----END` of its own",
                    PemFault::NotBase64 => "what stands there is not base64",
                    PemFault::Empty => "a block holds nothing",
                };
                format!("its PEM is broken at line {line}: {fault}")
            }
            CheckFailure::Certificate { line } => {
                format!("the certificate at line {line} can't be read")
            }
            CheckFailure::Key { line } => format!("the private key at line {line} can't be read"),
            CheckFailure::Expired { line, ago } => {
                format!("the certificate at line {line} ended {} ago", Span(*ago))
            }
            CheckFailure::NotYetValid { line, ahead } => {
                format!("the certificate at line {line} is valid only in {}", Span(*ahead))
            }
            CheckFailure::NotSigned { line } => {
                format!(
                    "the certificate at line {line} names an issuer that stands beside it and \
                     did not sign it"
                )
            }
            CheckFailure::Mismatch { certificate } => {
                format!("its private key is not the one of the certificate in `{certificate}`")
            }
        }
    }

    pub(super) fn hint(&self) -> String {
        match self {
            CheckFailure::Json { .. } | CheckFailure::Yaml { .. } => {
                "look at the value that stands there".to_owned()
            }
            CheckFailure::Pem { .. }
            | CheckFailure::Certificate { .. }
            | CheckFailure::Key { .. } => {
                "look at the value in the store: often newlines were lost or a part was cut off"
                    .to_owned()
            }
            CheckFailure::NotSigned { .. } => {
                "write certificate and chain in one step; after a change of the CA, issue anew"
                    .to_owned()
            }
            CheckFailure::Expired { .. } => "issue a new certificate into the store".to_owned(),
            CheckFailure::NotYetValid { .. } => {
                "compare the clocks of this node and of whoever issued it".to_owned()
            }
            CheckFailure::Mismatch { .. } => {
                "write key and certificate in one step, as two fields of one secret".to_owned()
            }
        }
    }
}
