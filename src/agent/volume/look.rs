//! What is on a volume now: facts for the plan, without a decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;

use rustix::fs::{FileType, Stat, readlinkat};
use rustix::io::Errno;

use super::beneath::Dir;
use super::desired::{Desired, Directory, Weight, pages};
use super::error::{Fault, Stranger};
use super::names::{self, DATA, Own};
use crate::secret::{FilePath, SecretBytes};

/// What is in the root of a volume.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The number in `..data`, whether or not that generation is there.
    pub(super) pointed: Option<u64>,
    /// The generation that `..data` shows.
    pub(super) shown: Option<Shown>,
    /// All complete generations, the shown one among them.
    pub(super) generations: BTreeSet<u64>,
    /// Generations that were being made or removed.
    pub(super) unfinished: BTreeSet<u64>,
    /// Whether `..data_tmp` is there.
    pub(super) data_new: bool,
    /// Our visible links, by name.
    pub(super) links: BTreeSet<String>,
    /// Everything else.
    pub(super) foreign: BTreeSet<String>,
}

/// The generation that readers see.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) number: u64,
    pub(super) files: BTreeMap<FilePath, Found>,
    pub(super) dirs: BTreeMap<String, Directory>,
    /// Whether something is there that we never make: a link, a socket, a strange name.
    pub(super) odd: bool,
}

/// A file of a generation.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stamp: Stamp,
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    /// Whether it holds exactly what is desired. `false` where nothing was to be compared.
    pub(super) same: bool,
}

/// What changes when somebody touches a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    pub(super) size: u64,
    changed: (i64, u64),
}

/// Looks at the volume, and at the shown generation's files beside the desired ones.
/// Generations in `kept` were looked at before.
pub(super) fn look(
    root: &Dir,
    us: u32,
    kept: impl Fn(u64) -> bool,
    desired: Option<&Desired<'_>>,
) -> Result<Seen, Fault> {
    let mut seen = Seen::default();
    for entry in root.entries().map_err(Fault::io("list the volume"))? {
        let name = entry.name.to_string_lossy().into_owned();
        let own = names::parse(&name).filter(|_| entry.name.to_str().is_some());
        let ours = |kind| check(root, &name, entry.kind == kind, us);
        match own {
            Some(Own::Data) => {
                ours(FileType::Symlink)?;
                seen.pointed = Some(pointed(root)?);
            }
            Some(Own::DataNew) => {
                ours(FileType::Symlink)?;
                seen.data_new = true;
            }
            Some(Own::Generation(number)) => {
                if !kept(number) {
                    ours(FileType::Directory)?;
                }
                seen.generations.insert(number);
            }
            Some(Own::Unfinished(number)) => {
                ours(FileType::Directory)?;
                seen.unfinished.insert(number);
            }
            None if entry.kind == FileType::Symlink && leads_through_data(root, &name) => {
                seen.links.insert(name);
            }
            None => {
                seen.foreign.insert(name);
            }
        }
    }
    if let Some(number) = seen.pointed.filter(|number| seen.generations.contains(number)) {
        seen.shown = Some(shown(root, number, us, desired)?);
    }
    Ok(seen)
}

/// A name of ours must be of the kind that we make, and made by us.
fn check(root: &Dir, name: &str, kind_fits: bool, us: u32) -> Result<(), Fault> {
    let foreign = |found| Err(Fault::Foreign { name: name.to_owned(), found });
    if !kind_fits {
        return foreign(Stranger::OtherKind);
    }
    match root.stat(name) {
        Ok(stat) if stat.st_uid != us => foreign(Stranger::OwnedBy(stat.st_uid)),
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Fault::io("look at a generation")(errno)),
    }
}

/// The generation that `..data` leads to.
pub(super) fn pointed(root: &Dir) -> Result<u64, Fault> {
    let target = readlinkat(root, DATA, Vec::new()).map_err(Fault::io("read `..data`"))?;
    target
        .to_str()
        .ok()
        .and_then(names::number)
        .ok_or(Fault::Foreign { name: DATA.into(), found: Stranger::LeadsElsewhere })
}

/// Whether the link at `name` is the visible link that we make for it.
pub(super) fn leads_through_data(root: &Dir, name: &str) -> bool {
    let target = readlinkat(root, name, Vec::new());
    target.is_ok_and(|target| target.to_bytes() == names::through_data(name).as_bytes())
}

fn shown(root: &Dir, number: u64, us: u32, desired: Option<&Desired<'_>>) -> Result<Shown, Fault> {
    let failed = Fault::io("read the current generation");
    let name = names::generation(number);
    let top = root.dir(&name).map_err(&failed)?;
    let owner = top.own_stat().map_err(&failed)?.st_uid;
    if owner != us {
        return Err(Fault::Foreign { name, found: Stranger::OwnedBy(owner) });
    }
    let tree = tree(&top).map_err(&failed)?;
    let mut shown = Shown { number, files: BTreeMap::new(), dirs: tree.dirs, odd: tree.odd };
    for path in tree.files {
        let file = top.file(path.as_str()).map_err(&failed)?;
        let stat = rustix::fs::fstat(&file).map_err(&failed)?;
        let wanted = desired.and_then(|desired| desired.files.get(&path));
        let found = Found {
            stamp: Stamp::of(&stat),
            mode: stat.st_mode & 0o7777,
            user: stat.st_uid,
            group: stat.st_gid,
            same: wanted.is_some_and(|wanted| holds(file, &stat, wanted.bytes)),
        };
        shown.files.insert(path, found);
    }
    Ok(shown)
}

/// Whether the file holds exactly these bytes. One that can't be read does not.
fn holds(file: File, stat: &Stat, bytes: &SecretBytes) -> bool {
    size(stat) == bytes.len() as u64
        && read(file, bytes.len()).is_ok_and(|there| there.ct_eq(bytes))
}

/// All bytes of a file, of which there are `size`.
pub(super) fn read(file: File, size: usize) -> std::io::Result<SecretBytes> {
    // Room for all at once, so that no half-filled buffer is left behind.
    let mut bytes = Vec::with_capacity(size);
    let read = file.take(size as u64).read_to_end(&mut bytes);
    let bytes = SecretBytes::from(bytes);
    read.map(|_| bytes)
}

/// The names beneath a generation.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeSet<FilePath>,
    pub(super) dirs: BTreeMap<String, Directory>,
    pub(super) odd: bool,
}

/// Lists a generation. Handles are opened one at a time.
pub(super) fn tree(top: &Dir) -> rustix::io::Result<Tree> {
    let mut tree = Tree::default();
    let mut waiting = vec![".".to_owned()];
    while let Some(path) = waiting.pop() {
        let dir = top.dir(&path)?;
        for entry in dir.entries()? {
            let name = entry.name.to_string_lossy();
            let below = if path == "." { name.into_owned() } else { format!("{path}/{name}") };
            match (entry.kind, FilePath::parse(&below)) {
                (FileType::Directory, Ok(_)) => waiting.push(below),
                (FileType::RegularFile, Ok(file)) => {
                    tree.files.insert(file);
                }
                _ => tree.odd = true,
            }
        }
        let stat = dir.own_stat()?;
        let mode = stat.st_mode & 0o7777;
        tree.dirs.insert(path, Directory { mode, user: stat.st_uid, group: stat.st_gid });
    }
    Ok(tree)
}

/// What a generation takes.
pub(super) fn weigh(root: &Dir, number: u64) -> rustix::io::Result<Weight> {
    let top = root.dir(names::generation(number))?;
    let tree = tree(&top)?;
    let mut weight = Weight { bytes: 0, inodes: (tree.files.len() + tree.dirs.len()) as u64 };
    for path in tree.files {
        weight.bytes += pages(size(&rustix::fs::fstat(top.file(path.as_str())?)?));
    }
    Ok(weight)
}

impl Shown {
    /// The names that stand in the root of the volume.
    pub(super) fn tops(&self) -> BTreeSet<&str> {
        self.files.keys().map(FilePath::top).collect()
    }

    /// What the generation takes.
    pub(super) fn weight(&self) -> Weight {
        Weight {
            bytes: self.files.values().map(|file| pages(file.stamp.size)).sum(),
            inodes: (self.files.len() + self.dirs.len()) as u64,
        }
    }

    /// Each file and its stamp.
    pub(super) fn stamps(&self) -> BTreeMap<FilePath, Stamp> {
        self.files.iter().map(|(path, file)| (path.clone(), file.stamp)).collect()
    }
}

impl Stamp {
    /// One for tests of the plan, which knows no file.
    #[cfg(test)]
    pub(super) fn of_size(size: u64) -> Stamp {
        Stamp { inode: 0, size, changed: (0, 0) }
    }

    pub(super) fn of(stat: &Stat) -> Stamp {
        Stamp { inode: stat.st_ino, size: size(stat), changed: (stat.st_ctime, stat.st_ctime_nsec) }
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
