//! An OCI layout as a directory: files beneath it, and nothing else.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open as open_path, openat2};

use super::Handed;
use crate::scan::image::store::Name;

/// The directory itself.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(open_path(path, flags, Mode::empty())?)
}

/// A file of it. Names come from the image, so that they lead nowhere else and to no device.
pub fn open(directory: &OwnedFd, name: &Name) -> io::Result<Handed> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let fd = openat2(directory, name.path(), flags, Mode::empty(), resolve)?;
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Handed { file: File::from(fd), size: u64::try_from(stat.st_size).ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_an_image_does_not_lead_out_of_the_layout() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        let layout = root.path().join("layout");
        std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        std::fs::write(layout.join("index.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", layout.join("blobs/sha256/l")).unwrap();
        let fd = directory(&layout).unwrap();
        assert!(open(&fd, &Name::Root).is_ok());
        for name in ["sha256:../../../secret", "sha256:l", "sha256:."] {
            assert!(open(&fd, &Name::Blob(name.to_owned())).is_err(), "{name}");
        }
        assert!(open(&fd, &Name::Member("../secret".to_owned())).is_err());
    }
}
