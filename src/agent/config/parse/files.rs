//! `files:`: what stands in each, and how it is written.

use std::collections::BTreeMap;

use super::super::decode::{At, Decode, Named};
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::{Content, FieldRef, FileConfig, Format};
use super::super::raw::{RawDefaults, RawFile, RawKeyStore};
use super::super::substitute::is_variable;
use super::super::yaml::{Kind, Node};
use super::{Context, choice, not_a_variable};
use crate::secret::{FieldPath, FilePath, SecretName, VolumeName};

const FORMATS: [&str; 7] = ["raw", "json", "yaml", "dotenv", "properties", "shell", "pkcs12"];

impl Context<'_> {
    pub(super) fn files(
        &mut self,
        raw: &Named<RawFile>,
        secrets: &[&str],
        volumes: &[String],
        defaults: &RawDefaults,
    ) -> BTreeMap<FilePath, At<FileConfig>> {
        let mut files = BTreeMap::new();
        for (path, file) in &raw.entries {
            let parsed = match FilePath::parse(&path.value) {
                Ok(path) => Some(path),
                Err(error) => {
                    self.mistakes.push(Mistake::new(
                        &path.span,
                        format!("`{}` can't be the path of a file", path.shown),
                        error.to_string(),
                        "write a path beneath the volume, like `certs/tls.pem`",
                    ));
                    None
                }
            };
            let config = self.file(path, &file.value, secrets, volumes, defaults);
            if let (Some(parsed), Some(value)) = (parsed, config) {
                let (span, shown) = (path.span.clone(), path.shown.clone());
                files.insert(parsed, At { value, span, shown });
            }
        }
        self.no_file_is_a_directory(&files);
        files
    }

    fn no_file_is_a_directory(&mut self, files: &BTreeMap<FilePath, At<FileConfig>>) {
        for (path, file) in files {
            let text = path.as_str();
            for (slash, _) in text.match_indices('/') {
                let above = FilePath::parse(&text[..slash]).ok();
                let above = above.and_then(|above| files.get_key_value(&above));
                if let Some((above, other)) = above
                    && other.value.volume == file.value.volume
                {
                    self.mistakes.push(Mistake::new(
                        &other.span,
                        format!("`{above}` is a file and a directory"),
                        format!("`{path}` stands beneath it"),
                        "rename one of them",
                    ));
                }
            }
        }
    }

    fn file(
        &mut self,
        path: &At<String>,
        raw: &RawFile,
        secrets: &[&str],
        volumes: &[String],
        defaults: &RawDefaults,
    ) -> Option<FileConfig> {
        let volume = self.volume_of(raw, volumes, path);
        let decode = self.decode(raw);
        let format = self.format(raw);
        if let (Some(password), Some(_)) =
            (&raw.password, format.filter(|format| *format != Format::Pkcs12))
        {
            self.mistakes.push(Mistake::new(
                &password.span,
                format!("`{}` has a password and is not encrypted", path.shown),
                "only the format `pkcs12` has one",
                "remove `password`",
            ));
        }
        let content = match (&raw.from, &raw.template) {
            (Some(from), None) if format == Some(Format::Pkcs12) => {
                self.pkcs12(path, &from.value, raw, secrets)
            }
            (Some(from), None) => self.content(path, &from.value, format, secrets),
            (None, Some(template)) => {
                if let Some(format) = &raw.format {
                    self.mistakes.push(Mistake::new(
                        &format.span,
                        format!("`{}` has a template and a format", path.shown),
                        "a template writes the file as it is to be",
                        "remove `format`",
                    ));
                }
                self.template(template, secrets)
            }
            (None, None) if raw.wrong.iter().any(|key| ["from", "template"].contains(key)) => None,
            (from, _) => {
                let what = if from.is_some() { "two contents" } else { "no content" };
                self.mistakes.push(Mistake::new(
                    &path.span,
                    format!("`{}` has {what}", path.shown),
                    "a file is made `from` secrets or by a `template`",
                    "write one of `from: NAME.FIELD` and `template: …`",
                ));
                None
            }
        };
        let content = content?;
        if let Some(decode) = decode
            && !matches!(&content, Content::Parts(parts) if parts.len() == 1)
        {
            self.mistakes.push(Mistake::new(
                decode,
                format!("`{}` can't be decoded", path.shown),
                "`decode` takes the base64 of one value",
                "write `from: NAME.FIELD`, without a format",
            ));
        }
        let id = |own: &Option<At<u32>>, inherited: &Option<At<u32>>| {
            own.as_ref().or(inherited.as_ref()).map(|id| id.value)
        };
        Some(FileConfig {
            content,
            decode_base64: decode.is_some(),
            mode: raw.mode.as_ref().or(defaults.mode.as_ref()).map_or(0o440, |mode| mode.value.0),
            owner_user: id(&raw.owner_user, &defaults.owner_user),
            owner_group: id(&raw.owner_group, &defaults.owner_group),
            volume: volume?,
        })
    }

    /// Where `decode: base64` is written, if it is.
    fn decode<'a>(&mut self, raw: &'a RawFile) -> Option<&'a Span> {
        let decode = raw.decode.as_ref()?;
        if decode.value != "base64" {
            self.mistakes.push(choice("decode", decode, &["base64"]));
            return None;
        }
        Some(&decode.span)
    }

    fn volume_of(
        &mut self,
        raw: &RawFile,
        volumes: &[String],
        path: &At<String>,
    ) -> Option<VolumeName> {
        let (name, shown, span) = match &raw.volume {
            Some(volume) => (volume.value.as_str(), volume.shown.as_str(), &volume.span),
            None => ("default", "default", &path.span),
        };
        if volumes.iter().any(|volume| volume == name) {
            return VolumeName::parse(name).ok();
        }
        let known: Vec<&str> = volumes.iter().map(String::as_str).collect();
        let (why, hint) = match &raw.volume {
            Some(_) => ("it is not in `volumes:`", suggest(name, &known)),
            None => (
                "a file that names no volume stands on the one called `default`",
                "say `volume:` here, or add `default: { path: … }` to `volumes:`".to_owned(),
            ),
        };
        let what = format!("there is no volume `{shown}`");
        self.mistakes.push(Mistake::new(span, what, why, hint));
        None
    }

    /// The format, `raw` if none is written; nothing if what is written is none.
    fn format(&mut self, raw: &RawFile) -> Option<Format> {
        let Some(format) = &raw.format else {
            return (!raw.wrong.contains(&"format")).then_some(Format::Raw);
        };
        Some(match format.value.as_str() {
            "raw" => Format::Raw,
            "json" => Format::Json,
            "yaml" => Format::Yaml,
            "dotenv" => Format::Dotenv,
            "properties" => Format::Properties,
            "shell" => Format::Shell,
            "pkcs12" => Format::Pkcs12,
            _ => {
                self.mistakes.push(choice("format", format, &FORMATS));
                return None;
            }
        })
    }

    /// `format` is nothing where a mistake in it was noted; what stands in `from` is read all the same.
    fn content(
        &mut self,
        path: &At<String>,
        from: &Node,
        format: Option<Format>,
        secrets: &[&str],
    ) -> Option<Content> {
        match &from.kind {
            Kind::Map(entries) => self.entries(path, entries, from, format, secrets),
            Kind::List(items) => Some(self.parts(path, items, from, format, secrets)),
            Kind::Scalar { .. } => {
                let text = At::<String>::decode(from, &mut self.mistakes)?;
                let field = self.field(&text, secrets)?;
                if field.optional {
                    self.mistakes.push(Mistake::new(
                        &from.span,
                        format!("`{}` may be empty", path.shown),
                        "its only part is marked with `?`",
                        "remove the `?`, or make the secret `optional: true`",
                    ));
                }
                Some(match format? {
                    Format::Raw => Content::Parts(vec![field]),
                    format => Content::Whole(format, field),
                })
            }
        }
    }

    /// A key store: one secret with the fields that PKI issues, or a list of PEM parts.
    fn pkcs12(
        &mut self,
        path: &At<String>,
        from: &Node,
        raw: &RawFile,
        secrets: &[&str],
    ) -> Option<Content> {
        let password = match &raw.password {
            Some(password) => self.field(password, secrets),
            None => {
                if !raw.wrong.contains(&"password") {
                    self.mistakes.push(Mistake::new(
                        &path.span,
                        format!("`{}` has no `password`", path.shown),
                        "a PKCS#12 file is encrypted, and its reader needs the same password",
                        "add `password: SECRET.FIELD`",
                    ));
                }
                None
            }
        };
        let parts = if let Kind::Map(_) = &from.kind {
            self.key_and_certificates(from, secrets)?
        } else if let Content::Parts(parts) =
            self.content(path, from, Some(Format::Raw), secrets)?
        {
            match parts.as_slice() {
                [whole] if whole.field == FieldPath::Whole => of_pki(&whole.secret),
                _ => parts,
            }
        } else {
            return None;
        };
        Some(Content::Pkcs12 { parts, password: password? })
    }

    /// `{ key, certificate, chain }`, in this order whatever the order of the text.
    fn key_and_certificates(&mut self, from: &Node, secrets: &[&str]) -> Option<Vec<FieldRef>> {
        let raw = RawKeyStore::decode(from, &mut self.mistakes)?;
        for (name, given) in [("key", &raw.key), ("certificate", &raw.certificate)] {
            if given.is_none() && !raw.wrong.contains(&name) {
                self.mistakes.push(Mistake::new(
                    &from.span,
                    format!("the key store has no `{name}`"),
                    "a key and its certificate belong together",
                    "write `{ key: NAME.private_key, certificate: NAME.certificate, chain: \"NAME.ca_chain?\" }`",
                ));
            }
        }
        let given = [raw.key, raw.certificate, raw.chain].into_iter().flatten();
        let fields: Vec<Option<FieldRef>> = given.map(|text| self.field(&text, secrets)).collect();
        fields.into_iter().collect()
    }

    /// Named values in a format.
    fn entries(
        &mut self,
        path: &At<String>,
        entries: &[(Node, Node)],
        from: &Node,
        format: Option<Format>,
        secrets: &[&str],
    ) -> Option<Content> {
        if format == Some(Format::Raw) {
            self.mistakes.push(Mistake::new(
                &path.span,
                format!("`{}` has named values and no format", path.shown),
                "nothing says how names and values are written",
                "add `format: dotenv`, json, yaml, properties or shell",
            ));
        }
        if entries.is_empty() {
            self.mistakes.push(Mistake::new(
                &from.span,
                format!("`{}` may be empty", path.shown),
                "nothing stands in it",
                "write `NAME: SECRET.FIELD` for each value",
            ));
        }
        let mut named = BTreeMap::new();
        for (key, value) in entries {
            let text = At::<String>::decode(value, &mut self.mistakes);
            let field = text.and_then(|text| self.field(&text, secrets));
            let Some(name) = key.text() else { continue };
            let variable = matches!(format, Some(Format::Dotenv | Format::Shell));
            if variable && !is_variable(name) {
                let shown = key.shown().unwrap_or_default();
                let key = At { value: name.to_owned(), span: key.span.clone(), shown };
                self.mistakes.push(not_a_variable(&key));
            }
            if let Some(field) = field {
                named.insert(name.to_owned(), field);
            }
        }
        Some(Content::Entries(format?, named))
    }

    /// Values that are joined.
    fn parts(
        &mut self,
        path: &At<String>,
        items: &[Node],
        from: &Node,
        format: Option<Format>,
        secrets: &[&str],
    ) -> Content {
        if format.is_some_and(|format| format != Format::Raw) {
            self.mistakes.push(Mistake::new(
                &from.span,
                format!("`{}` is a list with a format", path.shown),
                "a list is joined as it is, with a newline between its parts",
                "write a mapping of names to fields, or remove `format`",
            ));
        }
        let parts: Vec<Option<FieldRef>> = items
            .iter()
            .map(|item| {
                let text = At::<String>::decode(item, &mut self.mistakes)?;
                self.field(&text, secrets)
            })
            .collect();
        if parts.iter().all(|part| part.as_ref().is_some_and(|part| part.optional)) {
            self.mistakes.push(Mistake::new(
                &from.span,
                format!("`{}` may be empty", path.shown),
                "nothing in it is required",
                "name at least one field without `?`",
            ));
        }
        Content::Parts(parts.into_iter().flatten().collect())
    }
}

/// The fields that a secret of a PKI has, in the order of a PEM file.
fn of_pki(secret: &SecretName) -> Vec<FieldRef> {
    let field = |name: &str, optional| FieldRef {
        secret: secret.clone(),
        field: FieldPath::Field(name.to_owned()),
        optional,
    };
    vec![field("private_key", false), field("certificate", false), field("ca_chain", true)]
}
