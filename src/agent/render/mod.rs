//! From secrets to the bytes of files: formats, lists and templates, and the checks that a file
//! must pass before anybody sees it.
//!
//! Pure: everything happens in memory, nothing is read, and the clock is an argument. A file is
//! composed in one buffer that is wiped when it grows, and ends in [`SecretBytes`].
//!
//! # What the formats promise
//!
//! A value is delivered byte for byte, or the format refuses it by name.
//!
//! - **raw**: any bytes, unchanged. A list is joined with exactly one newline between two parts.
//! - **json**, **yaml**: one document; text stays text, so that `yes`, `0644` and `1e3` come back
//!   as the strings they were.
//! - **dotenv**: read alike by python-dotenv, by Node (`dotenv` and `--env-file`) and by Docker
//!   Compose's `env_file`; see [`dotenv`] for what they do not agree on, which is refused.
//! - **shell**: for `.` or `eval` in a POSIX shell; refuses only NUL, which no variable can hold.
//! - **properties**: for `java.util.Properties.load`, pure ASCII.
//! - **pkcs12**: for Java and OpenSSL, encrypted; the same bytes for the same content, see [`pkcs12`].
//! - templates: minijinja with strict undefined values, see [`template`].

mod base;
mod buffer;
mod check;
mod der;
mod document;
mod dotenv;
mod error;
mod lines;
mod pem;
mod pkcs12;
mod template;

use std::collections::BTreeMap;

pub use check::check_group;
pub use error::{CheckFailure, FormatFailure, PemFault, RenderError, TemplateFault};

use crate::agent::config::{Content, FieldRef, FileConfig, Format};
use crate::secret::{FilePath, Secret, SecretBytes, SecretName};
use template::Templates;

/// The secrets at hand, by the names the config gives them.
pub type Secrets<'a> = BTreeMap<&'a SecretName, &'a Secret>;

/// Turns secrets into the bytes of files. Templates are compiled once.
pub struct Renderer {
    templates: Templates,
}

impl Renderer {
    /// Compiles the templates, and finds what no secret could ever make right.
    ///
    /// # Errors
    ///
    /// Every mistake at once: templates that do not parse, and settings that exclude each other.
    pub fn compile(files: &BTreeMap<FilePath, FileConfig>) -> Result<Renderer, Vec<RenderError>> {
        let mut templates = Templates::default();
        let mut mistakes = Vec::new();
        for (path, file) in files {
            let result = match &file.content {
                Content::Template { .. } if file.decode_base64 => {
                    Err(RenderError::DecodedTemplate { file: path.clone() })
                }
                Content::Template { source, .. } => templates.add(path, source),
                Content::Entries(Format::Raw, _) => {
                    Err(RenderError::RawEntries { file: path.clone() })
                }
                _ => Ok(()),
            };
            mistakes.extend(result.err());
        }
        if mistakes.is_empty() { Ok(Renderer { templates }) } else { Err(mistakes) }
    }

    /// The bytes of one file.
    ///
    /// # Errors
    ///
    /// A secret or field that is missing or null, a value that the format can't carry, a template
    /// that fails. Never with a value in it.
    pub fn render(
        &self,
        file: &FilePath,
        config: &FileConfig,
        secrets: &Secrets<'_>,
    ) -> Result<SecretBytes, RenderError> {
        let base = base::Base { file, secrets, decode: config.decode_base64 };
        match &config.content {
            Content::Parts(parts) => base.joined(parts),
            Content::Whole(Format::Raw, part) => base.joined(std::slice::from_ref(part)),
            Content::Whole(format, part) => {
                let whole = base.whole(part)?;
                write(file, *format, &whole)
            }
            Content::Entries(format, entries) => {
                let entries = base.entries(entries)?;
                write(file, *format, &entries)
            }
            Content::Pkcs12 { parts, password } => {
                let pem = base.joined(parts)?;
                let secret = base.joined(std::slice::from_ref(password))?;
                pkcs12::write(&pem, &secret).map_err(|unfit| unfit.of(file, password))
            }
            Content::Template { secrets: names, .. } => self.templates.render(file, names, secrets),
        }
    }
}

/// The bytes of a variable of the environment; nothing for an optional field that is not there.
///
/// # Errors
///
/// A secret or field that is missing or null, and NUL, which no variable can hold.
pub fn variable(
    name: &str,
    field: &FieldRef,
    secrets: &Secrets<'_>,
) -> Result<Option<SecretBytes>, RenderError> {
    let Ok(file) = FilePath::parse(name) else { return Ok(None) };
    let base = base::Base { file: &file, secrets, decode: false };
    let value = base.joined(std::slice::from_ref(field))?;
    if field.optional && value.is_empty() {
        return Ok(None);
    }
    if value.expose().contains(&0) {
        let (format, key, why) = (Format::Raw, name.to_owned(), FormatFailure::Nul);
        return Err(RenderError::Refused { file, format, key, why });
    }
    Ok(Some(value))
}

fn write(
    file: &FilePath,
    format: Format,
    document: &base::Document<'_>,
) -> Result<SecretBytes, RenderError> {
    let refuse = |key: &str, why| RenderError::Refused {
        file: file.clone(),
        format,
        key: key.to_owned(),
        why,
    };
    match format {
        // The last two are no documents: other contents write them.
        Format::Json | Format::Raw | Format::Pkcs12 => document::json(document, &refuse),
        Format::Yaml => document::yaml(document, &refuse),
        Format::Dotenv => lines::write(document, dotenv::line, &refuse),
        Format::Shell => lines::write(document, lines::shell, &refuse),
        Format::Properties => lines::write(document, lines::properties, &refuse),
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
