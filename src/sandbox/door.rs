//! Handles to the directories of input files, taken before the process locks itself in.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

/// A file that may be replaced at any time, reached through a handle on its directory.
///
/// The handle is on the directory and not on the file, because the kubelet replaces projected
/// files by renaming a link (`token → ..data/token`): a handle on the file would show the old one
/// for ever.
#[derive(Debug)]
pub struct Door {
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl Door {
    /// Opens the directory of `path`. The file itself need not be there yet.
    pub fn open(path: &Path) -> io::Result<Door> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let dir =
            open(parent, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Door { dir, name, path: path.to_owned() })
    }

    /// The file as it is now. More than `cap` bytes are `FileTooLarge`.
    pub fn read(&self, cap: usize) -> io::Result<Vec<u8>> {
        let file = self.file(&self.name)?;
        let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if size > cap {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Room for the whole file at once, so that no half-filled buffers are left behind.
        let mut bytes = Vec::with_capacity(size + 1);
        file.take(cap as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > cap {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// Says whether the file was replaced or written to between two calls.
    pub fn stamp(&self) -> io::Result<Stamp> {
        let stat = rustix::fs::statat(&self.dir, &self.name, rustix::fs::AtFlags::empty())?;
        Ok(Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
        })
    }

    /// Where the file is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &OsStr) -> io::Result<File> {
        // NONBLOCK: a named pipe in the file's place must not stop us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(&self.dir, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_swapped_as_the_kubelet_does_is_seen_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (generation, token) in [("..1", "old"), ("..2", "new")] {
            std::fs::create_dir(path(generation)).unwrap();
            std::fs::write(path(generation).join("token"), token).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/token", path("token")).unwrap();
        let door = Door::open(&path("token")).unwrap();
        let before = door.stamp().unwrap();
        assert_eq!(door.read(16).unwrap(), b"old");
        symlink("..2", path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_eq!(door.read(16).unwrap(), b"new");
        assert_ne!(door.stamp().unwrap(), before);
    }

    #[test]
    fn what_is_too_large_or_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "12345").unwrap();
        let door = Door::open(&dir.path().join("f")).unwrap();
        assert_eq!(door.read(4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(door.read(5).unwrap(), b"12345");
        let directory = Door::open(dir.path()).unwrap();
        assert_eq!(directory.read(5).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
