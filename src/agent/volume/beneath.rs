//! Directory handles beneath which everything of a volume happens: no path from here leaves its
//! directory or follows a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat, unlinkat,
};
use rustix::io::{Errno, Result, retry_on_intr};

/// A directory of the volume, by handle.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

/// A name in a directory and what it stands for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: FileType,
}

impl Dir {
    /// The root of a volume. Links on the way to it are the administrator's and are followed.
    pub(super) fn root(path: &Path) -> Result<Dir> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map(Dir)
    }

    /// A directory beneath this one; `.` is this one again.
    pub(super) fn dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        self.open(path.as_ref(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).map(Dir)
    }

    /// A file beneath this directory, to be read.
    pub(super) fn file(&self, path: impl AsRef<Path>) -> Result<File> {
        // NONBLOCK: a named pipe in the file's place must not stop us.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        self.open(path.as_ref(), flags, Mode::empty()).map(File::from)
    }

    /// A file that was not there before, in this directory.
    pub(super) fn create(&self, name: &str) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.open(Path::new(name), flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// What stands at a name of this directory, itself and not what it leads to.
    pub(super) fn stat(&self, name: &str) -> Result<Stat> {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// This directory.
    pub(super) fn own_stat(&self) -> Result<Stat> {
        fstat(&self.0)
    }

    /// Everything in this directory.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems don't tell (getdents(2)).
                FileType::Unknown => {
                    let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            entries.push(Entry { name: name.to_owned(), kind });
        }
        Ok(entries)
    }

    /// Removes a directory of this directory with all that is in it. One that is gone is fine.
    ///
    /// Handles are opened one at a time, so that the depth of a tree costs no descriptors.
    pub(super) fn remove_tree(&self, name: &str) -> Result<()> {
        let top = match self.dir(name) {
            Err(Errno::NOENT) => return Ok(()),
            top => top?,
        };
        let mut dirs = vec![PathBuf::from(".")];
        let mut next = 0;
        while let Some(path) = dirs.get(next).cloned() {
            next += 1;
            let dir = top.dir(&path)?;
            for entry in dir.entries()? {
                if entry.kind == FileType::Directory {
                    dirs.push(path.join(&entry.name));
                } else {
                    unlinkat(&dir.0, &entry.name, AtFlags::empty())?;
                }
            }
        }
        for path in dirs.iter().skip(1).rev() {
            let parent = top.dir(path.parent().unwrap_or(Path::new(".")))?;
            unlinkat(&parent.0, path.file_name().unwrap_or_default(), AtFlags::REMOVEDIR)?;
        }
        unlinkat(&self.0, name, AtFlags::REMOVEDIR)
    }

    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match retry_on_intr(|| openat2(&self.0, path, flags, mode, resolve)) {
            // Kernels before 5.6 lack it; some seccomp profiles deny what they don't know.
            Err(Errno::NOSYS | Errno::PERM) => self.open_by_parts(path, flags, mode),
            opened => opened,
        }
    }

    /// The same as `openat2`, one part at a time, so that no part can be a link.
    fn open_by_parts(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let mut parts: Vec<&OsStr> = Vec::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => parts.push(name),
                _ => return Err(Errno::XDEV),
            }
        }
        let Some((last, parents)) = parts.split_last() else {
            return retry_on_intr(|| openat(&self.0, ".", flags, mode));
        };
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir: Option<OwnedFd> = None;
        for part in parents {
            let at = dir.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            dir = Some(retry_on_intr(|| openat(at, *part, through, Mode::empty()))?);
        }
        let at = dir.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
        retry_on_intr(|| openat(at, *last, flags, mode))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Opener = fn(&Dir, &Path) -> Result<OwnedFd>;

    /// The kernel's way and the one for kernels without `openat2`.
    const WAYS: [Opener; 2] = [
        |dir, path| dir.open(path, OFlags::RDONLY, Mode::empty()),
        |dir, path| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir.open_by_parts(path, flags, Mode::empty())
        },
    ];

    #[test]
    fn neither_way_of_opening_follows_a_link_or_leaves_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        let inside = temp.path().join("in");
        std::fs::create_dir_all(inside.join("sub")).unwrap();
        std::fs::write(temp.path().join("outside"), "").unwrap();
        std::fs::write(inside.join("sub/file"), "").unwrap();
        symlink("/etc", inside.join("etc")).unwrap();
        symlink("sub", inside.join("alias")).unwrap();
        symlink("sub/file", inside.join("link")).unwrap();
        let dir = Dir::root(&inside).unwrap();
        for way in WAYS {
            let open = |path: &str| way(&dir, Path::new(path)).map(drop);
            assert_eq!(open("sub/file"), Ok(()));
            assert_eq!(open("."), Ok(()));
            for bad in
                ["../outside", "/etc/passwd", "etc/passwd", "alias/file", "link", "sub/../.."]
            {
                let refused = open(bad).unwrap_err();
                assert!(
                    [Errno::XDEV, Errno::LOOP, Errno::NOTDIR].contains(&refused),
                    "{bad}: {refused:?}"
                );
            }
        }
    }

    #[test]
    fn a_tree_is_removed_whatever_is_in_it_and_links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("tree/a/b/c")).unwrap();
        std::fs::write(temp.path().join("tree/a/b/file"), "").unwrap();
        std::fs::write(temp.path().join("kept"), "").unwrap();
        symlink("../kept", temp.path().join("tree/link")).unwrap();
        symlink(temp.path(), temp.path().join("tree/a/up")).unwrap();
        let dir = Dir::root(temp.path()).unwrap();
        dir.remove_tree("tree").unwrap();
        dir.remove_tree("tree").unwrap();
        assert!(!temp.path().join("tree").exists());
        assert!(temp.path().join("kept").exists());
    }
}
