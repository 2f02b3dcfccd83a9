//! What is encrypted: YAML whose top-level keys are secrets and whose mappings are fields. Scalars
//! follow YAML's core schema (1.2, chapter 10.3), but keep the text they were written with.

use std::collections::BTreeMap;

use super::Fault;
use crate::agent::config::yaml::{self, Kind, Node};
use crate::secret::{SecretBytes, SecretValue};

/// The comment that remembers for whom the file is encrypted: an age file itself does not tell.
const RECIPIENTS: &str = "# recipients:";

/// The secrets of a local store.
#[derive(Debug, Default)]
pub struct Document {
    /// Whom it is encrypted for besides the key at hand.
    pub recipients: Vec<String>,
    secrets: BTreeMap<String, SecretValue>,
}

impl Document {
    /// Reads the decrypted text. An error holds a line number and nothing of the text.
    pub fn read(text: &SecretBytes) -> Result<Document, Fault> {
        let text = std::str::from_utf8(text.expose()).map_err(|_| Fault::NotYaml { line: 0 })?;
        let recipients = text.lines().filter_map(|line| line.strip_prefix(RECIPIENTS));
        let recipients = recipients.flat_map(str::split_whitespace).map(str::to_owned).collect();
        let mut mistakes = Vec::new();
        let root = yaml::parse(text, &mut mistakes);
        if let Some(mistake) = mistakes.first() {
            return Err(Fault::NotYaml { line: mistake.span.line });
        }
        let secrets = match root {
            None => BTreeMap::new(),
            Some(node) if node.is_null() => BTreeMap::new(),
            Some(node) => match value(node) {
                SecretValue::Map(secrets) => secrets,
                _ => return Err(Fault::NotNames),
            },
        };
        Ok(Document { recipients, secrets })
    }

    /// A secret by its name.
    pub fn get(&self, name: &str) -> Option<&SecretValue> {
        self.secrets.get(name).filter(|value| !matches!(value, SecretValue::Null))
    }

    /// The names of all secrets.
    pub fn names(&self) -> Vec<&str> {
        self.secrets.keys().map(String::as_str).collect()
    }

    /// Sets a secret, or one field of it.
    pub fn set(&mut self, name: &str, field: Option<&str>, text: SecretBytes) {
        let value = SecretValue::Text(text);
        let Some(field) = field else {
            self.secrets.insert(name.to_owned(), value);
            return;
        };
        let secret = self.secrets.entry(name.to_owned()).or_insert(SecretValue::Null);
        if !matches!(secret, SecretValue::Map(_)) {
            *secret = SecretValue::Map(BTreeMap::new());
        }
        if let SecretValue::Map(fields) = secret {
            fields.insert(field.to_owned(), value);
        }
    }

    /// The text to encrypt: one secret a block, its fields as JSON, which is YAML too.
    pub fn write(&self) -> Result<SecretBytes, Fault> {
        let mut out = Vec::with_capacity(4096);
        if !self.recipients.is_empty() {
            out.extend(format!("{RECIPIENTS} {}\n", self.recipients.join(" ")).as_bytes());
        }
        for (name, value) in &self.secrets {
            line(&mut out, "", name, None)?;
            match value {
                SecretValue::Map(fields) if !fields.is_empty() => {
                    out.push(b'\n');
                    for (field, value) in fields {
                        line(&mut out, "  ", field, Some(value))?;
                    }
                }
                value => {
                    out.push(b' ');
                    out.extend(value.to_json().map_err(|_| Fault::NotText)?.expose());
                    out.push(b'\n');
                }
            }
        }
        Ok(SecretBytes::from(out))
    }
}

/// `key: value`, both as JSON; without a value nothing follows the colon.
fn line(
    out: &mut Vec<u8>,
    indent: &str,
    key: &str,
    value: Option<&SecretValue>,
) -> Result<(), Fault> {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let quoted = serde_json::to_string(key).map_err(|_| Fault::NotText)?;
    let word = plain && key.parse::<f64>().is_err() && !matches!(key, "true" | "false" | "null");
    out.extend(indent.as_bytes());
    out.extend(if word { key } else { &quoted }.as_bytes());
    out.push(b':');
    if let Some(value) = value {
        out.push(b' ');
        out.extend(value.to_json().map_err(|_| Fault::NotText)?.expose());
        out.push(b'\n');
    }
    Ok(())
}

fn value(node: Node) -> SecretValue {
    let null = node.is_null();
    match node.kind {
        _ if null => SecretValue::Null,
        Kind::List(items) => SecretValue::List(items.into_iter().map(value).collect()),
        Kind::Map(entries) => {
            let named = entries
                .into_iter()
                .filter_map(|(key, node)| Some((key.text()?.to_owned(), value(node))));
            SecretValue::Map(named.collect())
        }
        Kind::Scalar { text, plain: true } if text == "true" => SecretValue::Bool(true),
        Kind::Scalar { text, plain: true } if text == "false" => SecretValue::Bool(false),
        Kind::Scalar { text, plain } => {
            if plain && is_json_number(&text) {
                SecretValue::Number(SecretBytes::from(text))
            } else {
                SecretValue::Text(SecretBytes::from(text))
            }
        }
    }
}

/// Whether JSON would take it for a number. Others (`0x1f`, `0123`, `.5`) stay the text they are:
/// a password that looks like one of them must come out as it went in.
fn is_json_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::FieldPath;

    fn read(text: &str) -> Document {
        Document::read(&SecretBytes::from(text.to_owned())).unwrap()
    }

    fn delivered(document: &Document, name: &str, field: &str) -> Option<String> {
        let value = document.get(name)?.at(&FieldPath::Field(field.into()))?;
        let bytes = value.to_bytes().unwrap()?;
        Some(String::from_utf8(bytes.expose().to_vec()).unwrap())
    }

    #[test]
    fn scalars_come_out_as_they_were_written() {
        let document = read(
            "db:\n  a: 0123\n  b: 1.10\n  c: yes\n  d: true\n  e: \"true\"\n  f: 0x1f\n  g: ~\n  h: |\n    two\n    lines\n",
        );
        for (field, text) in [
            ("a", "0123"),
            ("b", "1.10"),
            ("c", "yes"),
            ("d", "true"),
            ("e", "true"),
            ("f", "0x1f"),
            ("h", "two\nlines\n"),
        ] {
            assert_eq!(delivered(&document, "db", field).as_deref(), Some(text), "{field}");
        }
        assert_eq!(delivered(&document, "db", "g"), None);
    }

    #[test]
    fn what_was_set_is_there_after_writing_and_reading() {
        let mut document = read("# recipients: age1abc\ndb: { user: u }\nother: plain\n");
        let odd = "a\nb \"c\" \\ # ' : {{ }} \u{1f511} \u{7f}";
        document.set("db", Some("password"), SecretBytes::from(odd.to_owned()));
        document.set("new", Some("field.with dots"), SecretBytes::from("x".to_owned()));
        document.set("1e3", None, SecretBytes::from("y".to_owned()));
        let again = Document::read(&document.write().unwrap()).unwrap();
        assert_eq!(again.recipients, ["age1abc"]);
        assert_eq!(again.names(), ["1e3", "db", "new", "other"]);
        assert_eq!(delivered(&again, "db", "password").as_deref(), Some(odd));
        assert_eq!(delivered(&again, "db", "user").as_deref(), Some("u"));
        assert_eq!(delivered(&again, "new", "field.with dots").as_deref(), Some("x"));
    }

    #[test]
    fn mistakes_are_told_by_their_line_only() {
        for (text, line) in [("a: 1\nb: [\n", 3), ("a: 1\na: 2\n", 2)] {
            let error = Document::read(&SecretBytes::from(text.to_owned())).unwrap_err();
            assert!(matches!(error, Fault::NotYaml { line: l } if l == line), "{text:?} {error:?}");
        }
        let list = SecretBytes::from("- a\n".to_owned());
        assert!(matches!(Document::read(&list), Err(Fault::NotNames)));
        assert!(Document::read(&SecretBytes::from(String::new())).unwrap().names().is_empty());
    }
}
