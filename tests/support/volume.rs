//! Helpers for tests of the volume: a directory on a tmpfs, sets of files, and what is there.

#![expect(clippy::unwrap_used, reason = "a test stops where its helper cannot help")]
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sidekey::agent::config::VolumeConfig;
use sidekey::agent::volume::{DesiredFile, Fault, Gap, Published, Volume, VolumeError};
use sidekey::secret::{FilePath, SecretBytes, VolumeName};

/// A directory on `/dev/shm`, which is a tmpfs wherever there is a glibc.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub(crate) fn new() -> Tmpfs {
        Tmpfs(tempfile::Builder::new().prefix("sidekey-").tempdir_in("/dev/shm").unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// What is in the root, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.path())
    }
}

/// What is in a directory, sorted.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Files and what they hold.
pub(crate) struct Set {
    pub(crate) files: BTreeMap<FilePath, SecretBytes>,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
}

impl Set {
    pub(crate) fn of(files: &[(&str, &str)]) -> Set {
        let files = files
            .iter()
            .map(|(name, text)| (path(name), SecretBytes::from((*text).to_owned())))
            .collect();
        Set { files, mode: 0o440, group: None }
    }

    pub(crate) fn desired(&self) -> Vec<DesiredFile<'_>> {
        let desired = |(path, bytes)| DesiredFile {
            path,
            bytes,
            mode: self.mode,
            owner_user: None,
            owner_group: self.group,
        };
        self.files.iter().map(desired).collect()
    }
}

pub(crate) fn path(text: &str) -> FilePath {
    FilePath::parse(text).unwrap()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn volume_name() -> VolumeName {
    VolumeName::parse("default").unwrap()
}

pub(crate) fn config(path: &Path) -> VolumeConfig {
    VolumeConfig {
        path: path.to_owned(),
        keep_previous: Duration::from_mins(5),
        size: 4 << 20,
        allow_persistent: false,
        allow_swap: false,
    }
}

pub(crate) fn open(tmpfs: &Tmpfs) -> Volume {
    Volume::open(&volume_name(), &config(tmpfs.path()), Gap::STANDARD, secs(0)).unwrap()
}

pub(crate) fn publish(
    volume: &mut Volume,
    generation: u64,
    set: &Set,
    now: Duration,
) -> Result<Published, VolumeError> {
    volume.publish(generation, &set.desired(), now)
}

/// Publishes a set that must become a new generation.
pub(crate) fn swap(volume: &mut Volume, generation: u64, set: &Set, now: Duration) {
    let published = publish(volume, generation, set, now);
    assert!(matches!(published, Ok(Published::Swapped { .. })), "{published:?}");
}

/// Everything beneath a directory, by path, with what the files hold.
pub(crate) fn everything(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(path).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
                found.insert(name + "/", Vec::new());
            } else {
                found.insert(name, fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    found
}

/// Why a publication was refused.
pub(crate) fn fault(result: Result<Published, VolumeError>) -> Fault {
    result.unwrap_err().fault
}

/// Permission bits, set-id and sticky bits included.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
