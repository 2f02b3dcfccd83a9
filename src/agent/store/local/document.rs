//! What is encrypted: secrets by their names, and for whom.

use std::collections::BTreeMap;

use super::error::LocalFault;
use super::yaml::{self, Entries};
use crate::secret::{SecretBytes, SecretValue};

/// The secrets of a local store.
#[derive(Debug, Default)]
pub struct Document {
    /// Whom it is encrypted for besides the key at hand.
    pub recipients: Vec<String>,
    entries: Entries,
}

impl Document {
    /// The comment that remembers for whom the file is encrypted: an age file itself does not tell.
    pub const RECIPIENTS: &str = "# recipients:";

    /// Reads the plaintext.
    ///
    /// # Errors
    ///
    /// What is wrong and where, never what stands there.
    pub fn read(plain: &SecretBytes) -> Result<Document, LocalFault> {
        let text = std::str::from_utf8(plain.expose()).map_err(|_| LocalFault::NotText)?;
        let recipients = text.lines().filter_map(|line| line.strip_prefix(Document::RECIPIENTS));
        let recipients = recipients.flat_map(str::split_whitespace).map(str::to_owned).collect();
        Ok(Document { recipients, entries: yaml::parse(text).map_err(LocalFault::Yaml)? })
    }

    /// One entry; the others are wiped.
    pub fn into_entry(mut self, name: &str) -> Result<SecretValue, LocalFault> {
        self.entries.remove(name).ok_or_else(|| LocalFault::NotFound {
            path: name.to_owned(),
            there: self.entries.into_keys().collect(),
        })
    }

    /// Sets an entry, or one field of it. An entry that had no fields is replaced by one that has.
    pub fn set(&mut self, name: &str, field: Option<&str>, value: SecretBytes) {
        let value = SecretValue::Text(value);
        let Some(field) = field else {
            self.entries.insert(name.to_owned(), value);
            return;
        };
        let entry = self.entries.entry(name.to_owned()).or_insert(SecretValue::Null);
        if !matches!(entry, SecretValue::Map(_)) {
            *entry = SecretValue::Map(BTreeMap::new());
        }
        if let SecretValue::Map(fields) = entry {
            fields.insert(field.to_owned(), value);
        }
    }

    /// The plaintext. Comments that were read are gone, but for the recipients.
    pub fn write(&self) -> SecretBytes {
        yaml::write(&Document::remember(&self.recipients), &self.entries)
    }

    /// The line that remembers `recipients`; nothing for none.
    pub fn remember(recipients: &[String]) -> String {
        match recipients {
            [] => String::new(),
            some => format!("{} {}\n", Document::RECIPIENTS, some.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        Document::read(&SecretBytes::copy_of(text.as_bytes())).unwrap()
    }

    fn text(document: &Document) -> String {
        String::from_utf8(document.write().expose().to_vec()).unwrap()
    }

    #[test]
    fn a_field_is_set_beside_the_others() {
        let mut document = read("# mine\ndb: {user: ada}\ntoken: t\n");
        document.set("db", Some("password"), SecretBytes::copy_of(b"hunter2"));
        document.set("new", Some("a.b"), SecretBytes::copy_of(b"x"));
        document.set("token", Some("value"), SecretBytes::copy_of(b"y"));
        document.set("plain", None, SecretBytes::copy_of(b"z"));
        assert_eq!(
            text(&document),
            "db:\n  password: \"hunter2\"\n  user: \"ada\"\nnew:\n  a.b: \"x\"\nplain: \"z\"\n\
             token:\n  value: \"y\"\n"
        );
    }

    #[test]
    fn the_recipients_stand_in_a_comment_that_stays() {
        let document = read("# recipients: age1a age1b\n# other\nx: 1\n# recipients: age1c\n");
        assert_eq!(document.recipients, ["age1a", "age1b", "age1c"]);
        assert_eq!(text(&document), "# recipients: age1a age1b age1c\nx: 1\n");
    }
}
