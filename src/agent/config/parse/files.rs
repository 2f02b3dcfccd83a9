//! `files:`: what stands in each, and how it is written.

use std::collections::{BTreeMap, BTreeSet};

use super::super::decode::{At, Decode, Named};
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::{Content, FieldRef, FileConfig, Format};
use super::super::raw::{RawDefaults, RawFile};
use super::super::yaml::{Kind, Node};
use super::{Context, choice};
use crate::secret::{FilePath, SecretName, VolumeName};

const FORMATS: [&str; 7] = ["raw", "json", "yaml", "dotenv", "properties", "shell", "pkcs12"];

impl Context<'_> {
    pub(super) fn files(
        &mut self,
        raw: Option<&Named<RawFile>>,
        secrets: &[String],
        volumes: &[String],
        defaults: &RawDefaults,
    ) -> BTreeMap<FilePath, At<FileConfig>> {
        let mut files = BTreeMap::new();
        for (path, file) in raw.into_iter().flatten() {
            let parsed = match FilePath::parse(&path.value) {
                Ok(path) => Some(path),
                Err(error) => {
                    self.mistakes.push(Mistake::new(
                        &path.span,
                        format!("`{}` can't be the path of a file", path.value.escape_debug()),
                        error.to_string(),
                        "write a path beneath the volume, like `certs/tls.pem`",
                    ));
                    None
                }
            };
            let config = self.file(&path.value, file, secrets, volumes, defaults);
            if let (Some(parsed), Some(value)) = (parsed, config) {
                files.insert(parsed, At { value, span: path.span.clone() });
            }
        }
        self.no_file_is_a_directory(&files);
        files
    }

    fn no_file_is_a_directory(&mut self, files: &BTreeMap<FilePath, At<FileConfig>>) {
        for (path, file) in files {
            let below = format!("{path}/");
            let inside = files.iter().find(|(other, f)| {
                other.as_str().starts_with(&below) && f.value.volume == file.value.volume
            });
            if let Some((other, _)) = inside {
                self.mistakes.push(Mistake::new(
                    &file.span,
                    format!("`{path}` is a file and a directory"),
                    format!("`{other}` stands beneath it"),
                    "rename one of them",
                ));
            }
        }
    }

    fn file(
        &mut self,
        path: &str,
        file: &At<RawFile>,
        secrets: &[String],
        volumes: &[String],
        defaults: &RawDefaults,
    ) -> Option<FileConfig> {
        let raw = &file.value;
        let volume = self.volume_of(raw, volumes, &file.span);
        let decode_base64 = match &raw.decode {
            None => false,
            Some(decode) if decode.value == "base64" => true,
            Some(decode) => {
                self.mistakes.push(choice(&decode.span, "decode", &decode.value, &["base64"]));
                false
            }
        };
        let format = self.format(raw);
        let content = match (&raw.from, &raw.template) {
            (Some(from), None) => self.content(path, &from.value, format?, secrets),
            (None, Some(template)) => {
                if let Some(format) = &raw.format {
                    self.mistakes.push(Mistake::new(
                        &format.span,
                        format!("`{path}` has a template and a format"),
                        "a template writes the file as it is to be",
                        "remove `format`",
                    ));
                }
                self.template(template, secrets)
            }
            (from, _) => {
                let what = if from.is_some() { "two contents" } else { "no content" };
                self.mistakes.push(Mistake::new(
                    &file.span,
                    format!("`{path}` has {what}"),
                    "a file is made `from` secrets or by a `template`",
                    "write one of `from: NAME.FIELD` and `template: …`",
                ));
                None
            }
        };
        let content = content?;
        if decode_base64 && !matches!(&content, Content::Parts(parts) if parts.len() == 1) {
            self.mistakes.push(Mistake::new(
                &file.span,
                format!("`{path}` can't be decoded"),
                "`decode` takes the base64 of one value",
                "write `from: NAME.FIELD`",
            ));
        }
        let id = |own: &Option<At<u32>>, inherited: &Option<At<u32>>| {
            own.as_ref().or(inherited.as_ref()).map(|id| id.value)
        };
        Some(FileConfig {
            content,
            decode_base64,
            mode: raw.mode.as_ref().or(defaults.mode.as_ref()).map_or(0o440, |mode| mode.value.0),
            owner_user: id(&raw.owner_user, &defaults.owner_user),
            owner_group: id(&raw.owner_group, &defaults.owner_group),
            volume: volume?,
        })
    }

    fn volume_of(&mut self, raw: &RawFile, volumes: &[String], file: &Span) -> Option<VolumeName> {
        let (name, span) = match &raw.volume {
            Some(volume) => (volume.value.as_str(), &volume.span),
            None => ("default", file),
        };
        if volumes.iter().any(|volume| volume == name) {
            return VolumeName::parse(name).ok();
        }
        let known: Vec<&str> = volumes.iter().map(String::as_str).collect();
        self.mistakes.push(Mistake::new(
            span,
            format!("there is no volume `{}`", name.escape_debug()),
            "it is not in `volumes:`",
            suggest(name, &known),
        ));
        None
    }

    #[expect(clippy::option_option, reason = "a bad format is not the same as none")]
    fn format(&mut self, raw: &RawFile) -> Option<Option<Format>> {
        let Some(format) = &raw.format else { return Some(None) };
        let known = match format.value.as_str() {
            "raw" => Format::Raw,
            "json" => Format::Json,
            "yaml" => Format::Yaml,
            "dotenv" => Format::Dotenv,
            "properties" => Format::Properties,
            "shell" => Format::Shell,
            "pkcs12" => {
                self.mistakes.push(Mistake::not_yet(
                    &format.span,
                    "the format `pkcs12` is not there yet",
                    "keep the PKCS#12 file itself in the store, and deliver it with `decode: base64`",
                ));
                return None;
            }
            other => {
                self.mistakes.push(choice(&format.span, "format", other, &FORMATS));
                return None;
            }
        };
        Some(Some(known))
    }

    fn content(
        &mut self,
        path: &str,
        from: &Node,
        format: Option<Format>,
        secrets: &[String],
    ) -> Option<Content> {
        match &from.kind {
            Kind::Map(entries) => {
                let Some(format) = format.filter(|format| *format != Format::Raw) else {
                    self.mistakes.push(Mistake::new(
                        &from.span,
                        format!("`{path}` has named values and no format"),
                        "nothing says how names and values are written",
                        "add `format: dotenv`, json, yaml, properties or shell",
                    ));
                    return None;
                };
                let mut named = BTreeMap::new();
                for (key, value) in entries {
                    let text = String::decode(value, &mut self.mistakes);
                    let field = text.and_then(|text| self.field(&text, &value.span, secrets));
                    if let (Some(key), Some(field)) = (key.text(), field) {
                        self.key_of_format(key, format, &value.span);
                        named.insert(key.to_owned(), field);
                    }
                }
                Some(Content::Entries(format, named))
            }
            Kind::List(items) => {
                if let Some(format) = format.filter(|format| *format != Format::Raw) {
                    self.mistakes.push(Mistake::new(
                        &from.span,
                        format!("`{path}` is a list in the format `{format:?}`").to_lowercase(),
                        "a list is joined as it is, with a newline between its parts",
                        "write a mapping of names to fields, or remove `format`",
                    ));
                }
                let parts: Vec<FieldRef> = items
                    .iter()
                    .filter_map(|item| {
                        let text = String::decode(item, &mut self.mistakes)?;
                        self.field(&text, &item.span, secrets)
                    })
                    .collect();
                if items.is_empty() || parts.iter().all(|part| part.optional) {
                    self.mistakes.push(Mistake::new(
                        &from.span,
                        format!("`{path}` may be empty"),
                        "nothing in it is required",
                        "name at least one field without `?`",
                    ));
                }
                Some(Content::Parts(parts))
            }
            Kind::Scalar { .. } => {
                let text = String::decode(from, &mut self.mistakes)?;
                let field = self.field(&text, &from.span, secrets)?;
                if field.optional {
                    self.mistakes.push(Mistake::new(
                        &from.span,
                        format!("`{path}` may be empty"),
                        "its only part is marked with `?`",
                        "remove the `?`, or make the secret `optional: true`",
                    ));
                }
                Some(match format {
                    None | Some(Format::Raw) => Content::Parts(vec![field]),
                    Some(format) => Content::Whole(format, field),
                })
            }
        }
    }

    fn key_of_format(&mut self, key: &str, format: Format, span: &Span) {
        let variable = matches!(format, Format::Dotenv | Format::Shell);
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bad = key.is_empty()
            || key.starts_with(|c: char| c.is_ascii_digit())
            || !key.bytes().all(good);
        if variable && bad {
            self.mistakes.push(Mistake::new(
                span,
                format!("`{}` is not a variable's name", key.escape_debug()),
                "a name is made of letters, digits and `_`, and does not begin with a digit",
                "rename it",
            ));
        }
    }

    fn template(&mut self, template: &At<String>, secrets: &[String]) -> Option<Content> {
        let source = template.value.clone();
        let mut env = minijinja::Environment::empty();
        let named = match env.add_template_owned("template", source.clone()) {
            Ok(()) => env.get_template("template").map(|t| t.undeclared_variables(false)),
            Err(error) => Err(error),
        };
        let named = match named {
            Ok(named) => named,
            Err(error) => {
                let line =
                    error.line().map_or(String::new(), |line| format!(" in its line {line}"));
                self.mistakes.push(Mistake::new(
                    &template.span,
                    format!("the template is not valid{line}"),
                    error.detail().unwrap_or("minijinja can't read it").to_owned(),
                    "templates are minijinja: `{{ secret.field }}`, `{% if … %}`, `{% for … %}`",
                ));
                return None;
            }
        };
        let known: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut used = BTreeSet::new();
        for name in &named {
            match SecretName::parse(name) {
                Ok(secret) if known.contains(&name.as_str()) => {
                    used.insert(secret);
                }
                _ => self.mistakes.push(Mistake::new(
                    &template.span,
                    format!("the template names `{name}`, and there is no such secret"),
                    "it is not in `secrets:`",
                    suggest(name, &known),
                )),
            }
        }
        if named.is_empty() {
            self.warnings.push(Mistake::new(
                &template.span,
                "the template names no secret",
                "the file would be the same for ever",
                "write `{{ secret.field }}`, or keep the file in the image",
            ));
        }
        Some(Content::Template { source, secrets: used })
    }
}
