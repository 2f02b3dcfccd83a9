//! The local store: YAML in a file that age encrypts. For the laptop, for a first try, and as the
//! store of our own tests.
//!
//! `STORE:NAME` is the entry `NAME` of the YAML; its mapping are the fields. There are no versions,
//! so a keyed digest of the value stands for one. The file and the key are read anew each time,
//! through handles on their directories, and the plaintext is gone after each answer.

mod cipher;
mod document;
mod error;
mod yaml;

use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use zeroize::Zeroizing;

pub use cipher::{Key, count_recipients, seal};
pub use document::Document;
pub use error::{LocalError, LocalFault, YamlFault};

use super::{Answer, Wanted};
use crate::agent::config::LocalConfig;
use crate::agent::reason::{Reason, Report};
use crate::sandbox::door::Door;
use crate::secret::{DIGEST_LEN, DigestKey, Secret, SecretValue, Version};

/// Bytes of a local store: a laptop's secrets, and no mistake of naming a film.
pub const MAX_STORE: usize = 16 << 20;

/// Bytes of a key file: dozens of keys with their comments.
pub const MAX_KEY: usize = 64 << 10;

/// An age-encrypted YAML file and the key that opens it.
pub struct LocalStore {
    file: Door,
    key_file: Door,
    digest_key: Rc<DigestKey>,
}

impl LocalStore {
    /// Takes handles on the directories of the file and of the key; neither is read yet.
    ///
    /// # Errors
    ///
    /// A directory that is not there or may not be entered.
    pub fn build(
        config: &LocalConfig,
        digest_key: Rc<DigestKey>,
    ) -> Result<LocalStore, LocalError> {
        let fail = |fault| LocalError {
            file: config.file.clone(),
            key_file: config.key_file.clone(),
            fault: Box::new(fault),
        };
        let file = Door::open(&config.file);
        let key_file = Door::open(&config.key_file);
        Ok(LocalStore {
            file: file.map_err(|error| fail(LocalFault::FileUnreadable(error.kind())))?,
            key_file: key_file.map_err(|error| fail(LocalFault::KeyUnreadable(error.kind())))?,
            digest_key,
        })
    }

    /// Reads one entry, or a part of it.
    pub fn fetch(&self, wanted: Wanted<'_>) -> Result<Answer, LocalError> {
        self.read(wanted).map_err(|fault| LocalError {
            file: self.file.path().to_owned(),
            key_file: self.key_file.path().to_owned(),
            fault: Box::new(fault),
        })
    }

    fn read(&self, wanted: Wanted<'_>) -> Result<Answer, LocalFault> {
        let path = &wanted.from.path;
        if wanted.from.version.is_some() {
            return Err(LocalFault::NoVersions { path: path.clone() });
        }
        let entry = self.document()?.into_entry(path)?;
        let there = entry.field_names().into_iter().map(str::to_owned).collect();
        let field = &wanted.from.field;
        let value = entry.into_part(field).ok_or_else(|| LocalFault::FieldMissing {
            path: path.clone(),
            field: field.clone(),
            there,
        })?;
        let version = Version::Digest(self.digest(&value));
        if wanted.have == Some(&version) {
            return Ok(Answer::Unmoved);
        }
        Ok(Answer::Moved(Secret { value, version, lease: None }))
    }

    fn document(&self) -> Result<Document, LocalFault> {
        let key = self.key_file.read(MAX_KEY).map(Zeroizing::new);
        let key = Key::parse(&key.map_err(|error| LocalFault::KeyUnreadable(error.kind()))?)?;
        let sealed = self.file.read(MAX_STORE);
        let sealed = sealed.map_err(|error| LocalFault::FileUnreadable(error.kind()))?;
        Document::read(&key.open(&sealed)?)
    }

    fn digest(&self, value: &SecretValue) -> [u8; DIGEST_LEN] {
        let mut canonical = Zeroizing::new(Vec::with_capacity(4096));
        feed(value, &mut canonical);
        self.digest_key.digest(&canonical)
    }

    /// The file whose change means "fetch now".
    pub fn watch(&self) -> &Door {
        &self.file
    }

    /// What is not as safe as it could be: a key that everybody may read. It is still used, because
    /// a cluster mounts Secrets that way.
    pub fn remarks(&self) -> Vec<Report> {
        key_remark(self.key_file.path()).into_iter().collect()
    }
}

/// A warning where others may read the key.
pub fn key_remark(key_file: &std::path::Path) -> Option<Report> {
    let mode = std::fs::metadata(key_file).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        Report::new(
            Reason::PermissionDenied,
            format!("everybody may read the key {}", key_file.display()),
            format!("its mode is {:04o}", mode & 0o7777),
        )
        .hint(format!("chmod 600 {}", key_file.display()))
    })
}

/// One spelling for each value: kind, length, content.
fn feed(value: &SecretValue, out: &mut Vec<u8>) {
    let mut piece = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    };
    match value {
        SecretValue::Null => piece(b'0', b""),
        SecretValue::Bool(flag) => piece(b'b', &[u8::from(*flag)]),
        SecretValue::Number(text) => piece(b'n', text.expose()),
        SecretValue::Text(bytes) => piece(b't', bytes.expose()),
        SecretValue::List(items) => {
            piece(b'l', &(items.len() as u64).to_le_bytes());
            for item in items {
                feed(item, out);
            }
        }
        SecretValue::Map(fields) => {
            piece(b'm', &(fields.len() as u64).to_le_bytes());
            for (name, value) in fields {
                out.extend((name.len() as u64).to_le_bytes());
                out.extend(name.as_bytes());
                feed(value, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
