//! What a layer has at which path: as little as tells what it does to the layers below.
//!
//! A name is kept as 60 bits of a keyed digest and 4 bits of kind, so that a million files are
//! 8 MB; links, whiteouts and hard links are kept in full, because their names are asked for.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use super::path::{normal, split, target};
use super::tar::{Member, MemberKind};
use crate::scan::limits::{Bound, Limits};

/// What a layer has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
    /// A symbolic link.
    Symlink,
    /// The path is removed from the layers below.
    Whiteout,
    /// What the layers below have in this directory is removed.
    Opaque,
}

impl Entry {
    fn code(self) -> u64 {
        self as u64
    }
}

const KIND: u64 = 0xf;

/// The digest of a path, with room for a kind.
fn key(path: &[u8]) -> u64 {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    HASHER.get_or_init(RandomState::new).hash_one(path) & !KIND
}

/// Draws the key of the digests, which has to be the same in all processes of a run.
pub fn prepare() {
    key(b"");
}

/// A layer's index. Made while the layer streams by, then [`Index::finish`]ed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<u64>,
    /// Which member came last, where several have one name.
    last: Vec<(u64, u32)>,
    ordinals: Vec<u32>,
    /// Symbolic links: where, and where to.
    pub links: Vec<(Vec<u8>, Vec<u8>)>,
    /// Hard links: the new name, and the old one.
    pub hard: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Index {
    /// Remembers a member; its path is normal.
    pub fn add(&mut self, member: &Member, path: &[u8], limits: &Limits) -> Result<(), Bound> {
        let (directory, name) = split(path);
        if name == b".wh..wh..opq" {
            self.push(directory, Entry::Opaque, member.ordinal);
        } else if let Some(gone) = name.strip_prefix(b".wh.") {
            if !gone.is_empty() && !gone.starts_with(b".wh.") {
                self.push(&join(directory, gone), Entry::Whiteout, member.ordinal);
            }
        } else {
            let entry = match member.kind {
                MemberKind::Directory => Entry::Directory,
                MemberKind::Symlink => Entry::Symlink,
                _ => Entry::Other,
            };
            self.push(path, entry, member.ordinal);
        }
        let list = match member.kind {
            MemberKind::Symlink => &mut self.links,
            MemberKind::Hardlink => &mut self.hard,
            _ => return Ok(()),
        };
        if list.len() >= limits.links {
            return Err(Bound::Links);
        }
        let to = match member.kind {
            MemberKind::Symlink => target(path, &member.link),
            _ => normal(&member.link),
        };
        list.push((path.to_vec(), to));
        Ok(())
    }

    fn push(&mut self, path: &[u8], entry: Entry, ordinal: u32) {
        self.entries.push(key(path) | entry.code());
        self.ordinals.push(ordinal);
    }

    /// Sorts what was added.
    pub fn finish(&mut self) {
        let ordinals = std::mem::take(&mut self.ordinals);
        let mut both: Vec<(u64, u32)> = self.entries.drain(..).zip(ordinals).collect();
        both.sort_unstable();
        let same = |a: &(u64, u32), b: &(u64, u32)| a.0 & !KIND == b.0 & !KIND;
        for group in both.chunk_by(same).filter(|group| group.len() > 1) {
            let last = group.iter().map(|(_, ordinal)| *ordinal).max().unwrap_or(0);
            self.last.push((group[0].0 & !KIND, last));
        }
        self.entries = both.into_iter().map(|(entry, _)| entry).collect();
        self.entries.dedup();
        self.entries.shrink_to_fit();
    }

    /// Whether the layer has `entry` at `path`.
    pub fn has(&self, path: &[u8], entry: Entry) -> bool {
        self.entries.binary_search(&(key(path) | entry.code())).is_ok()
    }

    /// Whether the layer puts something at `path` that is no directory.
    pub fn has_other(&self, path: &[u8]) -> bool {
        self.has(path, Entry::Other) || self.has(path, Entry::Symlink)
    }

    /// Whether the layer puts anything at `path`.
    pub fn has_any(&self, path: &[u8]) -> bool {
        self.has_other(path) || self.has(path, Entry::Directory)
    }

    /// The last member with the name, if there are several.
    pub fn last(&self, path: &[u8]) -> Option<u32> {
        let at = self.last.binary_search_by_key(&key(path), |(key, _)| *key).ok()?;
        Some(self.last[at].1)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The parts, for the way between two processes of one run.
    pub fn parts(&self) -> (&[u64], &[(u64, u32)]) {
        (&self.entries, &self.last)
    }

    /// An index out of its parts.
    pub fn from_parts(entries: Vec<u64>, last: Vec<(u64, u32)>) -> Index {
        Index { entries, last, ..Index::default() }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, name].join(&b'/') }
}
