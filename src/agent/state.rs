//! What a restart needs: the session of each store, what was delivered, who has not confirmed yet.
//!
//! It is one file on a tmpfs that only Sidekey's containers mount, replaced by a rename. Whoever
//! reads it has the token, so it is treated like one: mode 0600 in a directory of mode 0700.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, fchmod, flock, open, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::agent::config::StateConfig;
use crate::agent::reason::{Reason, Report};
use crate::agent::store::Session;
use crate::agent::volume::medium;
use crate::sandbox::door::Door;
use crate::secret::{DIGEST_LEN, DigestKey, SecretBytes, SecretName, StoreName, Version};

const NAME: &str = "state.json";
const NEW: &str = "state.json.new";

/// The layout of the file. Another number is another program's, and is left alone.
const LAYOUT: u32 = 1;

/// What a restart needs.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The key of this pod's digests.
    pub digest_key: Option<SecretBytes>,
    /// Each store's session.
    pub sessions: BTreeMap<StoreName, Session>,
    /// The generation that was published last.
    pub generation: u64,
    /// Hooks (by their place in the config) that owe an answer, and for which generation.
    pub unconfirmed: BTreeMap<usize, u64>,
    /// The version of each secret that was delivered last.
    pub delivered: BTreeMap<SecretName, Version>,
    /// Versions that the application refused.
    pub refused: BTreeMap<SecretName, Version>,
}

impl Snapshot {
    /// The key of this pod's digests, if it is one.
    pub fn digest_key(&self) -> Option<DigestKey> {
        let key = self.digest_key.as_ref().filter(|key| key.len() == DigestKey::LEN)?;
        Some(DigestKey::new(SecretBytes::copy_of(key.expose())))
    }

    /// Keeps the key.
    pub fn keep_digest_key(&mut self, key: &DigestKey) {
        self.digest_key = Some(SecretBytes::copy_of(key.bytes().expose()));
    }
}

/// The directory of the state, held open and locked.
#[derive(Debug)]
pub struct State {
    dir: OwnedFd,
    door: Door,
    size: u64,
}

/// Why the state can't be used.
#[derive(Debug)]
pub struct StateError {
    path: PathBuf,
    fault: Fault,
}

/// What is wrong with the state.
#[derive(Debug)]
enum Fault {
    Io(io::ErrorKind),
    NotTmpfs,
    Locked,
    TooLarge { size: u64 },
    OtherLayout { found: u32 },
}

impl State {
    /// Opens and locks the directory. It has to be a tmpfs, or the config says otherwise.
    pub fn open(config: &StateConfig) -> Result<State, StateError> {
        let fail = |fault| StateError { path: config.path.clone(), fault };
        let io = |error: Errno| fail(Fault::Io(io::Error::from(error).kind()));
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = open(&config.path, flags, Mode::empty()).map_err(io)?;
        let carrier =
            medium(rustix::fd::AsFd::as_fd(&dir)).map_err(|e| fail(Fault::Io(e.kind())))?;
        if !carrier.in_memory() && !config.allow_persistent {
            return Err(fail(Fault::NotTmpfs));
        }
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(fail(Fault::Locked)),
            Err(error) => return Err(io(error)),
        }
        // A mount of the kubelet belongs to root and keeps its mode; the file's own mode guards it.
        let _ = fchmod(&dir, Mode::RWXU);
        let door = Door::open(&config.path.join(NAME)).map_err(|e| fail(Fault::Io(e.kind())))?;
        Ok(State { dir, door, size: config.size })
    }

    /// What an earlier process left. `None`: nothing, or nothing readable.
    pub fn load(&self) -> Result<Option<Snapshot>, StateError> {
        let cap = usize::try_from(self.size).unwrap_or(usize::MAX);
        let mut json = match self.door.read(cap) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(Fault::Io(error.kind()))),
        };
        let stored: Option<Stored> = serde_json::from_slice(&json).ok();
        json.zeroize();
        match stored {
            Some(stored) if stored.version == LAYOUT => Ok(stored.snapshot()),
            Some(stored) => Err(self.error(Fault::OtherLayout { found: stored.version })),
            None => Ok(None),
        }
    }

    /// Replaces what is there, whole or not at all.
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), StateError> {
        let io = |error: Errno| self.error(Fault::Io(io::Error::from(error).kind()));
        let mut json = serde_json::to_vec(&Stored::of(snapshot))
            .map_err(|_| self.error(Fault::Io(io::ErrorKind::InvalidData)))?;
        if json.len() as u64 > self.size / 2 {
            json.zeroize();
            return Err(self.error(Fault::TooLarge { size: self.size }));
        }
        // One that an earlier process left half-written.
        let _ = unlinkat(&self.dir, NEW, AtFlags::empty());
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.dir, NEW, flags, Mode::RUSR | Mode::WUSR).map_err(io)?;
        let written = File::from(file).write_all(&json);
        json.zeroize();
        written.map_err(|e| self.error(Fault::Io(e.kind())))?;
        renameat(&self.dir, NEW, &self.dir, NAME).map_err(io)
    }

    fn error(&self, fault: Fault) -> StateError {
        let path = self.door.path().parent().unwrap_or(Path::new("/")).to_owned();
        StateError { path, fault }
    }
}

impl StateError {
    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let what = format!("can't use the state in `{}`", self.path.display());
        let (reason, why, hint) = match &self.fault {
            Fault::Io(io::ErrorKind::NotFound) => (
                Reason::VolumeRefused,
                "there is no such directory".to_owned(),
                "mount a tmpfs there (`emptyDir: { medium: Memory }`), or correct `state.path`",
            ),
            Fault::Io(io::ErrorKind::StorageFull) => {
                (Reason::VolumeFull, "it is full".to_owned(), "raise the size of the tmpfs")
            }
            Fault::Io(kind) => (
                Reason::VolumeRefused,
                kind.to_string(),
                "let Sidekey's uid write there, and nobody else",
            ),
            Fault::NotTmpfs => (
                Reason::VolumeNotTmpfs,
                "it is not a tmpfs, and the token would be written to a disk".to_owned(),
                "mount a tmpfs there, or accept the disk with `state: { allow: [persistent] }`",
            ),
            Fault::Locked => (
                Reason::VolumeLocked,
                "another Sidekey uses it".to_owned(),
                "end the other one, or give each its own `state.path`",
            ),
            Fault::TooLarge { size } => (
                Reason::VolumeFull,
                format!("it does not fit twice into `state.size` of {size} bytes"),
                "raise `state.size` and the size of the tmpfs",
            ),
            Fault::OtherLayout { found } => (
                Reason::VolumeRefused,
                format!("its layout is {found}, and this version knows {LAYOUT}"),
                "use the version of Sidekey that wrote it, or start with an empty state",
            ),
        };
        Report::new(reason, what, why).hint(hint)
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(default)]
    digest_key: Option<String>,
    #[serde(default)]
    sessions: BTreeMap<String, StoredSession>,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    unconfirmed: BTreeMap<usize, u64>,
    #[serde(default)]
    delivered: BTreeMap<String, StoredVersion>,
    #[serde(default)]
    refused: BTreeMap<String, StoredVersion>,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    token: String,
    ttl_ms: Option<u64>,
    renewable: bool,
    obtained_ms: u64,
    given: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredVersion {
    Number(u64),
    Id(String),
    Digest(String),
}

impl Drop for StoredSession {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.digest_key.zeroize();
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
        let sessions = snapshot.sessions.iter().map(|(name, session)| {
            let stored = StoredSession {
                token: encode(&session.token),
                ttl_ms: session.ttl.map(millis),
                renewable: session.renewable,
                obtained_ms: millis(session.obtained),
                given: session.given,
            };
            (name.to_string(), stored)
        });
        Stored {
            version: LAYOUT,
            digest_key: snapshot.digest_key.as_ref().map(encode),
            sessions: sessions.collect(),
            generation: snapshot.generation,
            unconfirmed: snapshot.unconfirmed.clone(),
            delivered: versions(&snapshot.delivered),
            refused: versions(&snapshot.refused),
        }
    }

    /// `None` if a part of it is not what we write: then it is not worth trusting at all.
    fn snapshot(&self) -> Option<Snapshot> {
        let versions = |map: &BTreeMap<String, StoredVersion>| {
            map.iter()
                .map(|(name, version)| Some((SecretName::parse(name).ok()?, version.version()?)))
                .collect::<Option<BTreeMap<_, _>>>()
        };
        let sessions = self.sessions.iter().map(|(name, session)| {
            let live = Session {
                token: bytes(&session.token)?,
                ttl: session.ttl_ms.map(Duration::from_millis),
                renewable: session.renewable,
                obtained: Duration::from_millis(session.obtained_ms),
                given: session.given,
            };
            Some((StoreName::parse(name).ok()?, live))
        });
        let digest_key = match &self.digest_key {
            Some(text) => Some(bytes(text)?),
            None => None,
        };
        Some(Snapshot {
            digest_key,
            sessions: sessions.collect::<Option<_>>()?,
            generation: self.generation,
            unconfirmed: self.unconfirmed.clone(),
            delivered: versions(&self.delivered)?,
            refused: versions(&self.refused)?,
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, StateConfig) {
        // tmpfs everywhere that Linux is.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().to_owned();
        (dir, StateConfig { path, size: 64 * 1024, allow_persistent: false })
    }

    fn snapshot() -> Snapshot {
        let name = |name: &str| SecretName::parse(name).unwrap();
        let session = Session {
            token: SecretBytes::from(format!("hvs.{}", "token")),
            ttl: Some(Duration::from_secs(60)),
            renewable: true,
            obtained: Duration::from_millis(1234),
            given: false,
        };
        Snapshot {
            digest_key: Some(SecretBytes::from(vec![7; 32])),
            sessions: BTreeMap::from([(StoreName::parse("vault").unwrap(), session)]),
            generation: 9,
            unconfirmed: BTreeMap::from([(2, 9)]),
            delivered: BTreeMap::from([(name("a"), Version::Number(3))]),
            refused: BTreeMap::from([
                (name("b"), Version::Digest([5; DIGEST_LEN])),
                (name("c"), Version::Id("x".into())),
            ]),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_only_we_can_read_it() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        assert!(state.load().unwrap().is_none());
        state.save(&snapshot()).unwrap();
        state.save(&snapshot()).unwrap();
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        drop(state);
        let loaded = State::open(&config).unwrap().load().unwrap().unwrap();
        assert_eq!(format!("{loaded:?}"), format!("{:?}", snapshot()));
        let (name, session) = loaded.sessions.iter().next().unwrap();
        assert_eq!(name.as_str(), "vault");
        assert!(session.token.ct_eq(&SecretBytes::from(format!("hvs.{}", "token"))));
    }

    #[test]
    fn a_torn_or_foreign_file_is_no_state() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        for text in ["", "{", "[]", r#"{"version":1,"sessions":{"vault":{"token":"%"}}}"#] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            assert!(state.load().unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_left_of_an_interrupted_save_does_not_stop_the_next() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        std::fs::write(dir.path().join(NEW), "half").unwrap();
        state.save(&snapshot()).unwrap();
        assert!(!dir.path().join(NEW).exists());
    }

    #[test]
    fn every_refusal_says_what_why_and_what_to_do() {
        let (dir, config) = place();
        let _held = State::open(&config).unwrap();
        let locked = State::open(&config).unwrap_err().report();
        assert_eq!(locked.reason, Reason::VolumeLocked);
        let missing = StateConfig { path: dir.path().join("no"), ..config.clone() };
        assert!(State::open(&missing).unwrap_err().report().why.contains("no such directory"));
        let disk = StateConfig { path: env!("CARGO_MANIFEST_DIR").into(), ..config.clone() };
        assert_eq!(State::open(&disk).unwrap_err().report().reason, Reason::VolumeNotTmpfs);
        for fault in [
            Fault::Io(io::ErrorKind::StorageFull),
            Fault::Io(io::ErrorKind::PermissionDenied),
            Fault::TooLarge { size: 9 },
            Fault::OtherLayout { found: 2 },
        ] {
            let report = StateError { path: "/run/sidekey".into(), fault }.report();
            assert!(report.what.contains("/run/sidekey") && report.hint.is_some(), "{report}");
        }
    }
}
