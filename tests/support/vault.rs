//! A store of kind `vault`, as the pipeline holds one.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use sidekey::agent::config::{Engine, Login, Parameters, SecretRef, TokenSource, VaultConfig};
use sidekey::agent::store::vault::{Fault, Patience, VaultError, VaultStore};
use sidekey::agent::store::{Answer, Session, Wanted};
use sidekey::secret::{DigestKey, FieldPath, Secret, SecretBytes, SecretValue, StoreName, Version};

/// A config with a token from a file that need not exist.
pub(crate) fn vault_config(address: &str, login: Login) -> VaultConfig {
    VaultConfig {
        address: address.into(),
        namespace: None,
        ca_file: None,
        client_cert: None,
        redirect_hosts: Vec::new(),
        login,
    }
}

/// A store, the time that it is told, and the logins that it recorded.
pub(crate) struct Agent {
    pub(crate) store: VaultStore,
    pub(crate) now: Duration,
    /// The tokens of all logins so far.
    pub(crate) recorded: Rc<RefCell<Vec<String>>>,
}

/// Time enough that no bound is met by chance on a busy machine.
const PATIENT: Patience = Patience {
    connect: Duration::from_secs(30),
    first_byte: Duration::from_mins(1),
    total: Duration::from_mins(1),
};

impl Agent {
    pub(crate) fn new(config: &VaultConfig) -> Agent {
        Agent::with(config, None, PATIENT)
    }

    pub(crate) fn with(
        config: &VaultConfig,
        session: Option<Session>,
        patience: Patience,
    ) -> Agent {
        Agent::try_with(config, session, patience).unwrap()
    }

    pub(crate) fn try_with(
        config: &VaultConfig,
        session: Option<Session>,
        patience: Patience,
    ) -> Result<Agent, VaultError> {
        let recorded = Rc::<RefCell<Vec<String>>>::default();
        let log = Rc::clone(&recorded);
        let record = move |_: &StoreName, session: &Session| {
            let token = String::from_utf8(session.token.expose().to_vec()).unwrap();
            log.borrow_mut().push(token);
            Ok(())
        };
        let name = StoreName::parse("vault").unwrap();
        let key = Rc::new(DigestKey::new(SecretBytes::from(vec![7; DigestKey::LEN])));
        let store = VaultStore::build_with(
            &name,
            config,
            key,
            Vec::from_iter(session),
            Box::new(record),
            patience,
        )?;
        Ok(Agent { store, now: Duration::from_secs(1000), recorded })
    }

    /// With a token, which stands in a file below `dir`.
    pub(crate) fn with_token(address: &str, dir: &Path, token: &str) -> Agent {
        let file = dir.join("token");
        std::fs::write(&file, token).unwrap();
        Agent::new(&vault_config(address, Login::Token(TokenSource::File(file))))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, VaultError> {
        self.fetch(path, None, None, None).await
    }

    /// The secret, which must be there.
    pub(crate) async fn secret(&self, path: &str) -> Secret {
        moved(self.get(path).await.map_err(|e| e.report().to_string()).unwrap())
    }

    /// Why there is no secret.
    pub(crate) async fn fault(&self, path: &str) -> Fault {
        *self.get(path).await.unwrap_err().fault
    }

    pub(crate) async fn fetch(
        &self,
        path: &str,
        version: Option<&str>,
        engine: Option<Engine>,
        have: Option<&Version>,
    ) -> Result<Answer, VaultError> {
        let from = SecretRef {
            store: StoreName::parse("vault").unwrap(),
            path: path.into(),
            field: FieldPath::Whole,
            version: version.map(str::to_owned),
        };
        let with = Parameters::default();
        let wanted = Wanted { engine, have, ..Wanted::plain(&from, &with, self.now) };
        self.store.fetch(wanted).await.map(|fetched| fetched.answer)
    }
}

/// The secret of an answer that must bring one.
#[track_caller]
pub(crate) fn moved(answer: Answer) -> Secret {
    match answer {
        Answer::Moved(secret) => secret,
        Answer::Unmoved => panic!("nothing moved"),
    }
}

/// One field as it is delivered.
#[track_caller]
pub(crate) fn field(secret: &Secret, name: &str) -> String {
    let value = secret.value.at(&FieldPath::Field(name.into())).expect("the field is there");
    let bytes = SecretValue::to_bytes(value).unwrap().unwrap();
    String::from_utf8(bytes.expose().to_vec()).unwrap()
}
