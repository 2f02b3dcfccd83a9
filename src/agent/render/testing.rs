//! Secrets and files for the tests of this stage.

use std::collections::{BTreeMap, BTreeSet};

use super::{RenderError, Renderer, Secrets};
use crate::agent::config::{Content, FieldRef, FileConfig, Format};
use crate::secret::{
    FieldPath, FilePath, Secret, SecretBytes, SecretName, SecretValue, Version, VolumeName,
};

/// The file that every test renders.
pub(super) fn path() -> FilePath {
    FilePath::parse("app.conf").unwrap()
}

pub(super) fn file(content: Content) -> FileConfig {
    FileConfig {
        content,
        decode_base64: false,
        mode: 0o440,
        owner_user: None,
        owner_group: None,
        volume: VolumeName::parse("default").unwrap(),
    }
}

/// `NAME`, `NAME.FIELD` or `NAME/a/b`, with `?` at the end or not.
pub(super) fn part(text: &str) -> FieldRef {
    let (text, optional) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
    let name_ends = text.find(['.', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_ends);
    let field = match rest.split_at_checked(1) {
        Some((".", field)) => FieldPath::Field(field.to_owned()),
        Some((_, parts)) => FieldPath::Pointer(parts.split('/').map(str::to_owned).collect()),
        None => FieldPath::Whole,
    };
    FieldRef { secret: SecretName::parse(name).unwrap(), field, optional }
}

pub(super) fn parts(texts: &[&str]) -> Content {
    Content::Parts(texts.iter().map(|text| part(text)).collect())
}

pub(super) fn entries(format: Format, entries: &[(&str, &str)]) -> Content {
    let entries = entries.iter().map(|(key, text)| ((*key).to_owned(), part(text)));
    Content::Entries(format, entries.collect())
}

pub(super) fn template(source: &str) -> Content {
    let secrets = ["db", "tls", "more"].map(|name| SecretName::parse(name).unwrap());
    Content::Template { source: source.to_owned(), secrets: BTreeSet::from(secrets) }
}

pub(super) fn text(bytes: &[u8]) -> SecretValue {
    SecretValue::Text(SecretBytes::copy_of(bytes))
}

pub(super) fn map<'a>(fields: impl IntoIterator<Item = (&'a str, SecretValue)>) -> SecretValue {
    SecretValue::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Named secrets that live as long as a test.
pub(super) struct Vault(BTreeMap<SecretName, Secret>);

impl Vault {
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = (&'a str, SecretValue)>) -> Vault {
        let secrets = secrets.into_iter().map(|(name, value)| {
            let secret = Secret { value, version: Version::Number(1), lease: None };
            (SecretName::parse(name).unwrap(), secret)
        });
        Vault(secrets.collect())
    }

    /// One secret `db`, from JSON.
    pub(super) fn db(json: &str) -> Vault {
        Vault::of([("db", SecretValue::from_json(json.as_bytes()).unwrap())])
    }

    pub(super) fn secrets(&self) -> Secrets<'_> {
        self.0.iter().collect()
    }

    pub(super) fn render(&self, file: &FileConfig) -> Result<Vec<u8>, RenderError> {
        let files = BTreeMap::from([(path(), file.clone())]);
        let renderer = Renderer::compile(&files).map_err(|mut errors| errors.remove(0))?;
        let bytes = renderer.render(&path(), file, &self.secrets())?;
        Ok(bytes.expose().to_vec())
    }

    /// As [`Vault::render`], for text.
    pub(super) fn show(&self, content: Content) -> Result<String, RenderError> {
        self.render(&file(content)).map(|bytes| String::from_utf8(bytes).unwrap())
    }
}
