//! What a generation is to be: its files with owner and mode, and the directories they need.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;
use std::ops::Add;

use super::error::{Fault, Unfit};
use crate::secret::{FilePath, SecretBytes};

/// Bytes of a page: a tmpfs gives whole ones.
const PAGE: u64 = 4096;
/// Links with a target of this length or more take a page (`SHORT_SYMLINK_LEN`, mm/shmem.c).
const LONG_LINK: usize = 128;
/// More than reading by owner and group is never given.
const MODE_MAX: u32 = 0o440;

/// One file of the next generation.
#[derive(Clone, Copy, Debug)]
pub struct DesiredFile<'a> {
    /// Where it stands.
    pub path: &'a FilePath,
    /// What stands in it.
    pub bytes: &'a SecretBytes,
    /// Permission bits, at most 0440.
    pub mode: u32,
    /// The owner; without it the user we run as.
    pub owner_user: Option<u32>,
    /// The group; without it the one that the volume gives: the root's where it has the
    /// set-group-id bit, else ours.
    pub owner_group: Option<u32>,
}

/// A whole generation, as it is to be.
#[derive(Debug)]
pub(super) struct Desired<'a> {
    pub(super) generation: u64,
    pub(super) files: BTreeMap<&'a FilePath, Wanted<'a>>,
    /// By path beneath the generation; the generation itself is `.`.
    pub(super) dirs: BTreeMap<String, Directory>,
}

/// A file as it is to be.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) bytes: &'a SecretBytes,
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// A directory of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Who owns what says nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl<'a> Desired<'a> {
    /// Checks that the files can stand together, and says which directories they need.
    ///
    /// A directory is 0750 and of its files' group. Where files beneath it have several groups,
    /// none of them can be the directory's for all: it is 0751, so that each can pass and none but
    /// the directory's own can list.
    pub(super) fn of(
        generation: u64,
        files: &[DesiredFile<'a>],
        us: Owner,
    ) -> Result<Desired<'a>, Fault> {
        let mut wanted = BTreeMap::new();
        let mut groups: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        groups.insert(".".into(), BTreeSet::new());
        for file in files {
            let unfit = |why| Fault::Unfit { file: file.path.clone(), why };
            if file.mode & !MODE_MAX != 0 {
                return Err(unfit(Unfit::Mode(file.mode)));
            }
            let group = file.owner_group.unwrap_or(us.group);
            let user = file.owner_user.unwrap_or(us.user);
            for dir in above(file.path) {
                groups.entry(dir).or_default().insert(group);
            }
            let file_wanted = Wanted { bytes: file.bytes, mode: file.mode, user, group };
            if wanted.insert(file.path, file_wanted).is_some() {
                return Err(unfit(Unfit::PathTaken));
            }
        }
        if let Some(file) = wanted.keys().find(|path| groups.contains_key(path.as_str())) {
            return Err(Fault::Unfit { file: (*file).clone(), why: Unfit::PathTaken });
        }
        let dirs = groups
            .into_iter()
            .map(|(path, groups)| {
                let only = groups.first().filter(|_| groups.len() == 1);
                let mode = if groups.len() > 1 { 0o751 } else { 0o750 };
                let group = only.copied().unwrap_or(us.group);
                (path, Directory { mode, user: us.user, group })
            })
            .collect();
        Ok(Desired { generation, files: wanted, dirs })
    }

    /// The names that stand in the root of the volume.
    pub(super) fn tops(&self) -> BTreeSet<&str> {
        self.files.keys().map(|path| path.top()).collect()
    }

    /// What the files and their directories take.
    pub(super) fn weight(&self) -> Weight {
        Weight {
            bytes: self.files.values().map(|file| pages(file.bytes.len() as u64)).sum(),
            inodes: (self.files.len() + self.dirs.len()) as u64,
        }
    }
}

/// The directories above a file: `.`, then `certs`, then `certs/ca` for `certs/ca/root.pem`.
fn above(path: &FilePath) -> Vec<String> {
    let path = path.as_str();
    let inner = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
    std::iter::once(".".to_owned()).chain(inner).collect()
}

/// What something takes of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Bytes in whole pages.
    pub(super) bytes: u64,
    pub(super) inodes: u64,
}

impl Weight {
    pub(super) fn fits(self, room: Weight) -> bool {
        self.bytes <= room.bytes && self.inodes <= room.inodes
    }
}

impl Add for Weight {
    type Output = Weight;

    fn add(self, other: Weight) -> Weight {
        Weight { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
}

impl Sum for Weight {
    fn sum<I: Iterator<Item = Weight>>(weights: I) -> Weight {
        weights.fold(Weight::default(), Add::add)
    }
}

/// `bytes` in whole pages.
pub(super) fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}

/// Bytes that a visible link takes.
pub(super) fn link_bytes(name: &str) -> u64 {
    if super::names::through_data(name).len() < LONG_LINK { 0 } else { PAGE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Owner = Owner { user: 7, group: 70 };

    fn of(files: &[(&str, u32, Option<u32>)]) -> Result<Vec<(String, u32, u32)>, Fault> {
        let bytes = SecretBytes::from(b"x".to_vec());
        let paths: Vec<_> = files.iter().map(|(path, ..)| FilePath::parse(path).unwrap()).collect();
        let files: Vec<_> = files
            .iter()
            .zip(&paths)
            .map(|(&(_, mode, owner_group), path)| DesiredFile {
                path,
                bytes: &bytes,
                mode,
                owner_user: None,
                owner_group,
            })
            .collect();
        let desired = Desired::of(1, &files, US)?;
        Ok(desired.dirs.into_iter().map(|(path, d)| (path, d.mode, d.group)).collect())
    }

    #[test]
    fn a_directory_has_the_group_of_its_files() {
        assert_eq!(of(&[]).unwrap(), [(".".into(), 0o750, 70)]);
        assert_eq!(
            of(&[("a/b/c", 0o440, Some(2000))]).unwrap(),
            [(".".into(), 0o750, 2000), ("a".into(), 0o750, 2000), ("a/b".into(), 0o750, 2000)]
        );
    }

    #[test]
    fn a_directory_with_files_of_several_groups_can_be_passed_but_not_listed() {
        assert_eq!(
            of(&[("a/x", 0o440, Some(1)), ("b", 0o440, Some(2))]).unwrap(),
            [(".".into(), 0o751, 70), ("a".into(), 0o750, 1)]
        );
    }

    #[test]
    fn what_cannot_stand_together_is_refused_by_name() {
        let why = |files: &[(&str, u32, Option<u32>)]| match of(files) {
            Err(Fault::Unfit { file, why }) => (file.as_str().to_owned(), why),
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&[("a", 0o444, None)]), ("a".into(), Unfit::Mode(0o444)));
        assert_eq!(why(&[("a", 0o640, None)]), ("a".into(), Unfit::Mode(0o640)));
        assert_eq!(
            why(&[("a", 0o440, None), ("a/b", 0o440, None)]),
            ("a".into(), Unfit::PathTaken)
        );
        assert_eq!(why(&[("a", 0o440, None), ("a", 0o440, None)]), ("a".into(), Unfit::PathTaken));
    }

    #[test]
    fn room_is_counted_in_pages() {
        for (bytes, taken) in [(0, 0), (1, 4096), (4096, 4096), (4097, 8192)] {
            assert_eq!(pages(bytes), taken);
        }
        assert_eq!(link_bytes("short"), 0);
        assert_eq!(link_bytes(&"n".repeat(121)), 4096);
    }
}
