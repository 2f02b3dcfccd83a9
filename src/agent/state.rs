//! What a restart needs: the session of each store, what was delivered, who has not confirmed yet.
//!
//! It is one file on a tmpfs that only Sidekey's containers mount, replaced by a rename. Whoever
//! reads it has the token, so it is treated like one: mode 0600 in a directory of mode 0700.

mod error;
mod stored;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, open, openat, renameat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroize;

use crate::agent::config::StateConfig;
use crate::agent::store::Session;
use crate::agent::volume::medium;
use crate::secret::{DigestKey, Secret, SecretBytes, SecretName, StoreName, Version};

use error::Fault;
pub use error::StateError;

const NAME: &str = "state.json";
const NEW: &str = "state.json.new";

/// What a restart needs.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The key of this pod's digests.
    pub digest_key: Option<SecretBytes>,
    /// Each store's sessions: the current one, and earlier ones that leases still hang on.
    pub sessions: BTreeMap<StoreName, Vec<Session>>,
    /// What was made for us and is still good.
    pub holds: Vec<Held>,
    /// The generation that was published last.
    pub generation: u64,
    /// Hooks (by their place in the config) that owe an answer, and for which generation.
    pub unconfirmed: BTreeMap<usize, u64>,
    /// The version of each secret that was delivered last.
    pub delivered: BTreeMap<SecretName, Version>,
    /// Versions that the application refused.
    pub refused: BTreeMap<SecretName, Version>,
    /// What each store and each secret was when this was kept: a session belongs to one address and
    /// one login, a version to one path.
    pub origins: BTreeMap<String, String>,
}

/// Something that was made for us: a lease with its value, or a value that each asking makes anew.
#[derive(Clone, Debug)]
pub struct Held {
    /// Whose value it is.
    pub secret: SecretName,
    /// Where it was made.
    pub store: StoreName,
    /// The value, and the lease if it has one.
    pub value: Rc<Secret>,
    /// What the lease was granted at first, …
    pub first: Option<Duration>,
    /// … what it was granted last, …
    pub last: Option<Duration>,
    /// … and when, on the boot-time clock.
    pub at: Duration,
    /// Whether it can be renewed again.
    pub renewable: bool,
    /// When something new is to be asked for in its place.
    pub replace_at: Option<Duration>,
    /// Whether it is the newest value of its secret.
    pub newest: bool,
    /// Whether nothing needs it any more, and when it is given back then; no time: when its
    /// successor is confirmed.
    pub leaving: Option<Option<Duration>>,
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
    path: PathBuf,
    size: u64,
    boot: Option<String>,
}

impl State {
    /// Opens and locks the directory. It has to be a tmpfs, or the config says otherwise.
    ///
    /// The lock lives as long as any copy of the handle: whoever forks without closing what it
    /// inherits keeps it.
    pub fn open(config: &StateConfig) -> Result<State, StateError> {
        let dir = open_dir(config).map_err(|fault| StateError { path: config.path.clone(), fault });
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Ok(State { dir: dir?, path: config.path.clone(), size: config.size, boot })
    }

    /// What an earlier process left; `None` is nothing. What can't be used is an error, after which
    /// a first [`State::save`] starts afresh.
    pub fn load(&self) -> Result<Option<Snapshot>, StateError> {
        let Some(mut json) = self.read().map_err(|fault| self.error(fault))? else {
            return Ok(None);
        };
        let snapshot = stored::read(&json, self.boot.as_deref());
        json.zeroize();
        snapshot.map(Some).map_err(|fault| self.error(fault))
    }

    /// Replaces what is there, whole or not at all:
    ///
    /// 1. what an interrupted save left is removed;
    /// 2. the new file is written beside the old one, which has to fit twice into the size;
    /// 3. a rename puts it in place. tmpfs has nothing to be flushed to.
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), StateError> {
        let mut json =
            stored::write(snapshot, self.boot.as_deref()).map_err(|fault| self.error(fault))?;
        let saved = self.replace(&json);
        json.zeroize();
        saved.map_err(|fault| self.error(fault))
    }

    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.dir, NAME, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::ACCESS) => return Err(Fault::Foreign),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_uid != geteuid().as_raw() {
            return Err(Fault::Foreign);
        }
        if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > self.size {
            return Err(Fault::Nonsense);
        }
        // Room for all of it at once, so that no half-filled buffers are left behind.
        let mut json = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or_default() + 1);
        File::from(file).take(self.size).read_to_end(&mut json)?;
        Ok(Some(json))
    }

    fn replace(&self, json: &[u8]) -> Result<(), Fault> {
        if json.len() as u64 > self.size / 2 {
            return Err(Fault::TooLarge { size: self.size });
        }
        self.remove_new(); // 1
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.dir, NEW, flags, Mode::RUSR | Mode::WUSR)?;
        let done = File::from(file).write_all(json).map_err(Fault::from); // 2
        let done = done.and_then(|()| Ok(renameat(&self.dir, NEW, &self.dir, NAME)?)); // 3
        if done.is_err() {
            // Half a file would take the room that the next attempt needs.
            self.remove_new();
        }
        done
    }

    fn remove_new(&self) {
        let _ = unlinkat(&self.dir, NEW, AtFlags::empty());
    }

    fn error(&self, fault: Fault) -> StateError {
        StateError { path: self.path.clone(), fault }
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Fault {
        io::Error::from(error).into()
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error.kind())
    }
}

fn open_dir(config: &StateConfig) -> Result<OwnedFd, Fault> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = open(&config.path, flags, Mode::empty())?;
    if !medium(dir.as_fd())?.in_memory() && !config.allow_persistent {
        return Err(Fault::NotTmpfs);
    }
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Fault::Locked),
        Err(error) => return Err(error.into()),
    }
    // What an interrupted save left: it was never read, and holds a token.
    let _ = unlinkat(&dir, NEW, AtFlags::empty());
    // A mount of the kubelet belongs to root and keeps its mode; the file's own mode guards it.
    if fstat(&dir)?.st_uid == geteuid().as_raw() {
        fchmod(&dir, Mode::RWXU)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::agent::reason::{Reason, Report};
    use crate::secret::{DIGEST_LEN, Lease, SecretValue};

    fn place() -> (tempfile::TempDir, StateConfig) {
        // tmpfs everywhere that Linux is.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().to_owned();
        (dir, StateConfig { path, size: 64 * 1024, allow_persistent: false })
    }

    fn snapshot() -> Snapshot {
        let name = |name: &str| SecretName::parse(name).unwrap();
        let session = Session {
            serial: 4,
            token: SecretBytes::from(format!("hvs.{}", "token")),
            first_ttl: Some(Duration::from_secs(90)),
            ttl: Some(Duration::from_secs(60)),
            renewable: true,
            obtained: Duration::from_millis(1234),
            given: false,
        };
        let lease = Lease {
            id: SecretBytes::from(format!("database/creds/{}", "x")),
            duration: Some(Duration::from_secs(50)),
            renewable: true,
            under: 4,
        };
        let value = SecretValue::from_json(br#"{"password":"p","n":[1,null]}"#).unwrap();
        let value = Secret { value, version: Version::Digest([3; DIGEST_LEN]), lease: Some(lease) };
        let held = Held {
            secret: name("db"),
            store: StoreName::parse("vault").unwrap(),
            value: Rc::new(value),
            first: Some(Duration::from_secs(50)),
            last: Some(Duration::from_secs(40)),
            at: Duration::from_millis(99),
            renewable: true,
            replace_at: Some(Duration::from_millis(33_099)),
            newest: false,
            leaving: Some(Some(Duration::from_millis(5))),
        };
        let plain = Held { leaving: Some(None), newest: true, ..held.clone() };
        Snapshot {
            holds: vec![held, plain],
            digest_key: Some(SecretBytes::from(vec![7; 32])),
            origins: BTreeMap::new(),
            sessions: BTreeMap::from([(StoreName::parse("vault").unwrap(), vec![session])]),
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
        let (name, sessions) = loaded.sessions.iter().next().unwrap();
        assert_eq!(name.as_str(), "vault");
        let value = loaded.holds[0].value.value.to_json().unwrap();
        assert!(value.ct_eq(&SecretBytes::from(r#"{"n":[1,null],"password":"p"}"#.to_owned())));
        let lease = loaded.holds[0].value.lease.as_ref().unwrap();
        assert!(
            lease.id.ct_eq(&SecretBytes::from("database/creds/x".to_owned())) && lease.under == 4
        );
        assert!(sessions[0].token.ct_eq(&SecretBytes::from(format!("hvs.{}", "token"))));
    }

    /// Why what lies there is not used.
    fn refused(state: &State) -> Report {
        let report = state.load().unwrap_err().report();
        assert_eq!(report.reason, Reason::NoHandover);
        report
    }

    #[test]
    fn a_torn_file_is_not_used_and_the_next_save_starts_afresh() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        state.save(&snapshot()).unwrap();
        let whole = std::fs::read(dir.path().join(NAME)).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(dir.path().join(NAME), &whole[..cut]).unwrap();
            let text = refused(&state).to_string();
            assert!(text.contains("damaged at line 1, column"), "{text}");
        }
        state.save(&snapshot()).unwrap();
        assert_eq!(state.load().unwrap().unwrap().generation, 9);
    }

    #[test]
    fn what_another_version_or_another_hand_wrote_is_not_used() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        for (text, why) in [
            ("[]", "damaged"),
            (r#"{"version":1,"sessions":"of another shape"}"#, "layout is 1"),
            (r#"{"version":2,"sessions":{"vault":7}}"#, "damaged"),
            (r#"{"version":2,"digest_key":"%"}"#, "not what Sidekey writes"),
            (r#"{"version":2,"delivered":{"a b":{"number":1}}}"#, "not what Sidekey writes"),
            (r#"{"version":2,"refused":{"a":{"digest":"AAAA"}}}"#, "not what Sidekey writes"),
        ] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            assert!(refused(&state).why.contains(why), "{text}");
        }
        std::fs::write(dir.path().join(NAME), vec![b' '; 100 * 1024]).unwrap();
        assert!(refused(&state).why.contains("not what"), "larger than the state may be");
    }

    #[test]
    fn an_error_quotes_nothing_of_the_file() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        let canary = ["canary", "7319"].concat();
        for text in [
            format!("{canary:?}"),
            format!(r#"{{"version":{canary:?}}}"#),
            format!(r#"{{"version":2,"sessions":{{"vault":{canary:?}}}}}"#),
            format!(r#"{{"version":2,"generation":{canary:?}}}"#),
            format!(r#"{{"version":2,"delivered":{{"a":{{{canary:?}:1}}}}}}"#),
        ] {
            std::fs::write(dir.path().join(NAME), &text).unwrap();
            let error = state.load().unwrap_err();
            let said = format!("{error:?} {}", error.report());
            assert!(!said.contains(&canary), "{text}: {said}");
        }
    }

    #[test]
    fn a_link_or_a_directory_in_the_files_place_is_not_followed() {
        let (dir, config) = place();
        let state = State::open(&config).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, r#"{"version":2,"generation":3}"#).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(NAME)).unwrap();
        assert!(refused(&state).why.contains("not ours"));
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(NEW)).unwrap();
        state.save(&snapshot()).unwrap();
        assert_eq!(state.load().unwrap().unwrap().generation, 9);
        assert!(std::fs::read_to_string(&elsewhere).unwrap().contains(":3"), "left alone");
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        std::fs::create_dir(dir.path().join(NAME)).unwrap();
        assert!(refused(&state).why.contains("not ours"));
    }

    #[test]
    fn a_session_of_another_boot_is_forgotten_and_the_rest_is_kept() {
        let (_dir, config) = place();
        let mut state = State::open(&config).unwrap();
        state.save(&snapshot()).unwrap();
        state.boot = Some("another".to_owned());
        let loaded = state.load().unwrap().unwrap();
        assert!(loaded.sessions.is_empty() && loaded.holds.is_empty());
        assert_eq!((loaded.generation, loaded.delivered.len()), (9, 1));
    }

    #[test]
    fn a_save_that_fails_leaves_the_old_state_and_no_half_file() {
        let (dir, config) = place();
        let small = StateConfig { size: 600, ..config };
        let state = State::open(&small).unwrap();
        let mut next = Snapshot { generation: 1, ..Snapshot::default() };
        state.save(&next).unwrap();
        let long = Version::Id("x".repeat(300));
        next.delivered = BTreeMap::from([(SecretName::parse("a").unwrap(), long)]);
        assert_eq!(state.save(&next).unwrap_err().report().reason, Reason::VolumeFull);
        assert_eq!(state.load().unwrap().unwrap().generation, 1);
        // A directory in the new file's place can't be removed by `unlink`.
        std::fs::create_dir(dir.path().join(NEW)).unwrap();
        assert!(state.save(&Snapshot::default()).is_err());
        assert_eq!(state.load().unwrap().unwrap().generation, 1);
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
    fn the_directory_becomes_0700_and_has_one_user_at_a_time() {
        let (dir, config) = place();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let held = State::open(&config).unwrap();
        let mode = std::fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        assert_eq!(State::open(&config).unwrap_err().report().reason, Reason::VolumeLocked);
        drop(held);
        assert!(State::open(&config).is_ok());
    }

    #[test]
    fn a_disk_is_refused_unless_the_config_accepts_it() {
        let (dir, config) = place();
        let missing = StateConfig { path: dir.path().join("no"), ..config.clone() };
        assert!(State::open(&missing).unwrap_err().report().why.contains("no such directory"));
        let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let refused = StateConfig { path: disk.path().to_owned(), ..config };
        assert_eq!(State::open(&refused).unwrap_err().report().reason, Reason::VolumeNotTmpfs);
        assert!(State::open(&StateConfig { allow_persistent: true, ..refused }).is_ok());
    }

    #[test]
    fn every_refusal_says_what_why_and_what_to_do() {
        use io::ErrorKind::{NotFound, PermissionDenied, StorageFull};
        for (fault, reason, why) in [
            (Fault::Io(NotFound), Reason::VolumeRefused, "no such directory"),
            (Fault::Io(StorageFull), Reason::VolumeFull, "full"),
            (Fault::Io(PermissionDenied), Reason::VolumeRefused, "permission denied"),
            (Fault::NotTmpfs, Reason::VolumeNotTmpfs, "not a tmpfs"),
            (Fault::Locked, Reason::VolumeLocked, "another Sidekey"),
            (Fault::TooLarge { size: 9 }, Reason::VolumeFull, "9 bytes"),
            (Fault::OtherLayout { found: 2 }, Reason::NoHandover, "2"),
            (Fault::Torn { line: 3, column: 4 }, Reason::NoHandover, "line 3, column 4"),
            (Fault::Nonsense, Reason::NoHandover, "not what"),
            (Fault::Foreign, Reason::NoHandover, "not ours"),
        ] {
            let report = StateError { path: "/run/sidekey".into(), fault }.report();
            assert_eq!(report.reason, reason, "{report}");
            assert!(report.what.contains("`/run/sidekey`"), "{report}");
            assert!(report.why.contains(why), "{report}");
            assert!(report.hint.is_some_and(|hint| hint.len() > 20), "{why}");
        }
    }
}
