//! The layout of the state's file: JSON, with every byte string in base64.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Fault, Held, Snapshot};
use crate::agent::store::Session;
use crate::secret::{
    DIGEST_LEN, Lease, Secret, SecretBytes, SecretName, SecretValue, StoreName, Version,
};

/// The layout that this version writes and reads. New members with a default don't raise it; what an
/// older version would misunderstand does.
pub(super) const LAYOUT: u32 = 2;

/// The file's bytes, to be wiped by the caller. `boot` is the machine's id since it was started.
pub(super) fn write(snapshot: &Snapshot, boot: Option<&str>) -> Result<Vec<u8>, Fault> {
    let stored = Stored { boot: boot.map(str::to_owned), ..Stored::of(snapshot) };
    serde_json::to_vec(&stored).map_err(|_| Fault::Nonsense)
}

/// Reads what [`fn@write`] wrote. What is not ours in one part is not worth trusting in any.
pub(super) fn read(json: &[u8], boot: Option<&str>) -> Result<Snapshot, Fault> {
    let layout: Layout = serde_json::from_slice(json).map_err(|e| torn(&e))?;
    if layout.version != LAYOUT {
        return Err(Fault::OtherLayout { found: layout.version });
    }
    let stored: Stored = serde_json::from_slice(json).map_err(|e| torn(&e))?;
    let mut snapshot = stored.snapshot().ok_or(Fault::Nonsense)?;
    if stored.boot.as_deref() != boot {
        // Only on a disk does a file outlive the boot whose clock its times were told by.
        snapshot.sessions.clear();
        snapshot.holds.clear();
    }
    Ok(snapshot)
}

/// The error's text may quote a token; its place does not.
fn torn(error: &serde_json::Error) -> Fault {
    Fault::Torn { line: error.line(), column: error.column() }
}

/// The part that every layout has.
#[derive(Deserialize)]
struct Layout {
    version: u32,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(default)]
    boot: Option<String>,
    #[serde(default)]
    digest_key: Option<Wiped>,
    #[serde(default)]
    sessions: BTreeMap<String, Vec<StoredSession>>,
    #[serde(default)]
    holds: Vec<StoredHold>,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    unconfirmed: BTreeMap<usize, u64>,
    #[serde(default)]
    delivered: BTreeMap<String, StoredVersion>,
    #[serde(default)]
    refused: BTreeMap<String, StoredVersion>,
    #[serde(default)]
    origins: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    serial: u64,
    token: Wiped,
    first_ttl_ms: Option<u64>,
    ttl_ms: Option<u64>,
    renewable: bool,
    obtained_ms: u64,
    given: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredHold {
    secret: String,
    store: String,
    /// The value as JSON.
    value: Wiped,
    version: StoredVersion,
    lease: Option<StoredLease>,
    first_ms: Option<u64>,
    last_ms: Option<u64>,
    at_ms: u64,
    renewable: bool,
    replace_at_ms: Option<u64>,
    newest: bool,
    leaving: bool,
    leaving_at_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct StoredLease {
    id: Wiped,
    duration_ms: Option<u64>,
    renewable: bool,
    under: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredVersion {
    Number(u64),
    Id(String),
    Digest(String),
}

/// Text that holds a secret, wiped at the end.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Wiped(String);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn bytes(text: &str) -> Option<SecretBytes> {
    BASE64_STANDARD.decode(text).ok().map(SecretBytes::from)
}

impl Stored {
    fn of(snapshot: &Snapshot) -> Stored {
        let encode = |bytes: &SecretBytes| BASE64_STANDARD.encode(bytes.expose());
        let versions = |map: &BTreeMap<SecretName, Version>| {
            map.iter()
                .map(|(name, version)| (name.to_string(), StoredVersion::of(version)))
                .collect()
        };
        let sessions = snapshot.sessions.iter().map(|(name, sessions)| {
            let stored = sessions.iter().map(|session| StoredSession {
                serial: session.serial,
                token: Wiped(encode(&session.token)),
                first_ttl_ms: session.first_ttl.map(millis),
                ttl_ms: session.ttl.map(millis),
                renewable: session.renewable,
                obtained_ms: millis(session.obtained),
                given: session.given,
            });
            (name.to_string(), stored.collect())
        });
        Stored {
            version: LAYOUT,
            boot: None,
            digest_key: snapshot.digest_key.as_ref().map(|key| Wiped(encode(key))),
            sessions: sessions.collect(),
            // What can't be written as JSON is asked for again.
            holds: snapshot.holds.iter().filter_map(StoredHold::of).collect(),
            generation: snapshot.generation,
            unconfirmed: snapshot.unconfirmed.clone(),
            delivered: versions(&snapshot.delivered),
            refused: versions(&snapshot.refused),
            origins: snapshot.origins.clone(),
        }
    }

    /// `None` if a part of it is not what we write: then it is not worth trusting at all.
    fn snapshot(&self) -> Option<Snapshot> {
        let versions = |map: &BTreeMap<String, StoredVersion>| {
            map.iter()
                .map(|(name, version)| Some((SecretName::parse(name).ok()?, version.version()?)))
                .collect::<Option<BTreeMap<_, _>>>()
        };
        let sessions = self.sessions.iter().map(|(name, sessions)| {
            let live = sessions.iter().map(StoredSession::session).collect::<Option<_>>()?;
            Some((StoreName::parse(name).ok()?, live))
        });
        let digest_key = match &self.digest_key {
            Some(text) => Some(bytes(&text.0)?),
            None => None,
        };
        Some(Snapshot {
            digest_key,
            sessions: sessions.collect::<Option<_>>()?,
            holds: self.holds.iter().map(StoredHold::held).collect::<Option<_>>()?,
            generation: self.generation,
            unconfirmed: self.unconfirmed.clone(),
            delivered: versions(&self.delivered)?,
            refused: versions(&self.refused)?,
            origins: self.origins.clone(),
        })
    }
}

impl StoredSession {
    fn session(&self) -> Option<Session> {
        Some(Session {
            serial: self.serial,
            token: bytes(&self.token.0)?,
            first_ttl: self.first_ttl_ms.map(Duration::from_millis),
            ttl: self.ttl_ms.map(Duration::from_millis),
            renewable: self.renewable,
            obtained: Duration::from_millis(self.obtained_ms),
            given: self.given,
        })
    }
}

impl StoredHold {
    fn of(held: &Held) -> Option<StoredHold> {
        let encode = |bytes: &SecretBytes| Wiped(BASE64_STANDARD.encode(bytes.expose()));
        let lease = held.value.lease.as_ref().map(|lease| StoredLease {
            id: encode(&lease.id),
            duration_ms: lease.duration.map(millis),
            renewable: lease.renewable,
            under: lease.under,
        });
        Some(StoredHold {
            secret: held.secret.to_string(),
            store: held.store.to_string(),
            value: encode(&held.value.value.to_json().ok()?),
            version: StoredVersion::of(&held.value.version),
            lease,
            first_ms: held.first.map(millis),
            last_ms: held.last.map(millis),
            at_ms: millis(held.at),
            renewable: held.renewable,
            replace_at_ms: held.replace_at.map(millis),
            newest: held.newest,
            leaving: held.leaving.is_some(),
            leaving_at_ms: held.leaving.flatten().map(millis),
        })
    }

    fn held(&self) -> Option<Held> {
        let lease = match &self.lease {
            None => None,
            Some(lease) => Some(Lease {
                id: bytes(&lease.id.0)?,
                duration: lease.duration_ms.map(Duration::from_millis),
                renewable: lease.renewable,
                under: lease.under,
            }),
        };
        let value = SecretValue::from_json(bytes(&self.value.0)?.expose()).ok()?;
        let value = Secret { value, version: self.version.version()?, lease };
        Some(Held {
            secret: SecretName::parse(&self.secret).ok()?,
            store: StoreName::parse(&self.store).ok()?,
            value: Rc::new(value),
            first: self.first_ms.map(Duration::from_millis),
            last: self.last_ms.map(Duration::from_millis),
            at: Duration::from_millis(self.at_ms),
            renewable: self.renewable,
            replace_at: self.replace_at_ms.map(Duration::from_millis),
            newest: self.newest,
            leaving: self.leaving.then(|| self.leaving_at_ms.map(Duration::from_millis)),
        })
    }
}

impl StoredVersion {
    fn of(version: &Version) -> StoredVersion {
        match version {
            Version::Number(number) => StoredVersion::Number(*number),
            Version::Id(id) => StoredVersion::Id(id.clone()),
            Version::Digest(digest) => StoredVersion::Digest(BASE64_STANDARD.encode(digest)),
        }
    }

    fn version(&self) -> Option<Version> {
        Some(match self {
            StoredVersion::Number(number) => Version::Number(*number),
            StoredVersion::Id(id) => Version::Id(id.clone()),
            StoredVersion::Digest(text) => {
                let digest: [u8; DIGEST_LEN] =
                    BASE64_STANDARD.decode(text).ok()?.try_into().ok()?;
                Version::Digest(digest)
            }
        })
    }
}
