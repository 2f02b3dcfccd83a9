//! The store without a server: one age-encrypted YAML file, whose top-level keys are the secrets.

mod cipher;
mod document;
mod error;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub use cipher::{Key, generate_key};
pub use document::Document;
pub use error::{Fault, LocalError};

use super::{Answer, Wanted};
use crate::agent::config::{LocalConfig, nearest};
use crate::sandbox::door::{Door, Stamp};
use crate::secret::{DigestKey, FieldPath, Secret, SecretValue, StoreName, Version};

/// Bytes of the encrypted file: what one Kubernetes Secret or etcd object could hold is below.
const MAX_FILE: usize = 4 * 1024 * 1024;
/// Bytes of a key file: a key and its comments.
const MAX_KEY: usize = 64 * 1024;

/// An encrypted file and its key.
pub struct LocalStore {
    name: StoreName,
    file: Door,
    key: Door,
    digest_key: Rc<DigestKey>,
    /// The file as it was when each secret was read last. While it is the same, nothing moved, and
    /// nothing is decrypted: what is not needed now is not in memory.
    read: RefCell<BTreeMap<String, Stamp>>,
}

impl LocalStore {
    /// Opens the directories of both files.
    pub fn build(
        name: &StoreName,
        config: &LocalConfig,
        digest_key: Rc<DigestKey>,
    ) -> Result<LocalStore, LocalError> {
        let fail = |fault| LocalError { file: config.file.clone(), fault };
        let file = Door::open(&config.file).map_err(|e| fail(Fault::File { kind: e.kind() }))?;
        let key = Door::open(&config.key_file)
            .map_err(|e| fail(Fault::KeyFile { file: config.key_file.clone(), kind: e.kind() }))?;
        Ok(LocalStore { name: name.clone(), file, key, digest_key, read: RefCell::default() })
    }

    /// Reads one secret. Nothing is waited for: the file is local.
    pub fn fetch(&self, wanted: Wanted<'_>) -> Result<Answer, LocalError> {
        let Wanted { from, have, .. } = wanted;
        if from.version.is_some() {
            return Err(self.error(Fault::Pinned { store: self.name.clone() }));
        }
        let stamp = self.file.stamp().map_err(|e| self.error(Fault::File { kind: e.kind() }))?;
        if have.is_some() && self.read.borrow().get(&from.path) == Some(&stamp) {
            return Ok(Answer::Unmoved);
        }
        let document = self.document()?;
        let value = document.get(&from.path).ok_or_else(|| {
            let names = document.names();
            let near = nearest(&from.path, names.iter().copied()).map(str::to_owned);
            self.error(Fault::NotThere { name: from.path.clone(), near })
        })?;
        let json = value.to_json().map_err(|_| self.error(Fault::NotYaml { line: 0 }))?;
        self.read.borrow_mut().insert(from.path.clone(), stamp);
        let version = Version::Digest(self.digest_key.digest(json.expose()));
        if have == Some(&version) {
            return Ok(Answer::Unmoved);
        }
        // A copy of the one secret, so that the others don't live on with it.
        let value = SecretValue::from_json(json.expose())
            .map_err(|_| self.error(Fault::NotYaml { line: 0 }))?;
        let names: Vec<String> = value.field_names().into_iter().map(str::to_owned).collect();
        let value = match &from.field {
            FieldPath::Whole => value,
            field => value.into_part(field).ok_or_else(|| {
                self.error(Fault::NoField { name: from.path.clone(), fields: names })
            })?,
        };
        Ok(Answer::Moved(Secret { value, version, lease: None }))
    }

    /// The encrypted file.
    pub fn watch(&self) -> &Door {
        &self.file
    }

    fn document(&self) -> Result<Document, LocalError> {
        let sealed =
            self.file.read(MAX_FILE).map_err(|e| self.error(Fault::File { kind: e.kind() }))?;
        let key = self.key.read(MAX_KEY).map_err(|e| {
            self.error(Fault::KeyFile { file: self.key.path().to_owned(), kind: e.kind() })
        })?;
        let opened = Key::read(key, self.key.path())
            .and_then(|key| key.open(&sealed))
            .and_then(|text| Document::read(&text));
        opened.map_err(|fault| self.error(fault))
    }

    fn error(&self, fault: Fault) -> LocalError {
        LocalError { file: self.file.path().to_owned(), fault }
    }
}
