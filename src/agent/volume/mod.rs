//! The volume: a tmpfs that shows the application one complete generation of files.
//!
//! ```text
//! orders.env → ..data/orders.env        what the application opens
//! certs      → ..data/certs
//! ..data     → ..12                     the one link that a rotation replaces
//! ..12/        the current generation
//! ..11/        the one before, for `keep_previous`
//! ```
//!
//! A rotation is one rename, so a reader that opens `..data` once and reads beneath it sees one
//! generation, whatever is killed or full at any moment. `plan` holds the algorithm, `look` the
//! facts it needs, `apply` carries it out. `docs/reading-files.md` tells readers what to do.
//!
//! What never happens: a write outside the volume, a followed link, a file that others may read, a
//! change to the root's own mode, the removal of something that is not ours.

mod apply;
mod beneath;
#[cfg(test)]
mod crash;
mod desired;
mod error;
mod lives;
mod look;
pub mod medium;
mod names;
mod plan;
mod publish;
mod remark;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{getegid, geteuid};

use self::beneath::Dir;
use self::desired::{Owner, Weight};
use self::lives::Lives;
use self::look::Stamp;
use crate::agent::config::VolumeConfig;
use crate::secret::{FilePath, SecretBytes, VolumeName};

pub use desired::DesiredFile;
pub use error::{Fault, Stranger, Unfit, VolumeError};
pub use lives::{Gap, LINGER};
pub use medium::{Flaw, Grade, Kind, Level, Medium, Swap, medium};
pub use remark::Remark;

/// A volume that this process, and no other, writes to.
#[derive(Debug)]
pub struct Volume {
    name: VolumeName,
    path: PathBuf,
    size: u64,
    root: Dir,
    medium: Medium,
    us: Owner,
    shown: Option<Current>,
    lives: Lives,
    foreign: BTreeSet<String>,
    remarks: Vec<Remark>,
}

/// The shown generation, as it was left or found.
#[derive(Debug)]
struct Current {
    number: u64,
    weight: Weight,
    stamps: BTreeMap<FilePath, Stamp>,
}

/// What became of a set of files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Published {
    /// The volume shows exactly these files already; nothing was touched.
    Unchanged,
    /// The volume shows a new generation.
    Swapped {
        /// Files with other bytes, another owner or mode, or that were not there.
        changed: Vec<FilePath>,
        /// Files that are no longer there.
        removed: Vec<FilePath>,
    },
    /// The last rotation was a moment ago; nothing was touched. Try again at this time.
    Early {
        /// Since boot.
        until: Duration,
    },
}

impl Volume {
    /// Opens the volume and puts in order what an interrupted run left there.
    ///
    /// 1. Nothing that this process makes is open to others, whatever umask it was given: it is 077
    ///    from here on.
    /// 2. The root is opened; everything else happens beneath this handle.
    /// 3. It is memory, or the config allows less.
    /// 4. It is locked (flock(2)), for as long as this value lives.
    /// 5. Recovery. A complete generation before the current one lives out its time, counted from
    ///    now, because nothing on the volume tells how long it has been there.
    ///
    /// `now` is the time since boot, as everywhere here.
    pub fn open(
        name: &VolumeName,
        config: &VolumeConfig,
        gap: Gap,
        now: Duration,
    ) -> Result<Volume, VolumeError> {
        let fail = |fault| VolumeError { volume: name.clone(), path: config.path.clone(), fault };
        rustix::process::umask(Mode::RWXG | Mode::RWXO); // 1
        let root = Dir::root(&config.path).map_err(|errno| match errno {
            Errno::NOENT => fail(Fault::Missing),
            errno => fail(Fault::io("open the directory")(errno)),
        })?; // 2
        let medium = medium(rustix::fd::AsFd::as_fd(&root)).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            fail(Fault::io("look at the file system")(errno))
        })?;
        if let (Kind::Other(kind), false) = (medium.kind, config.allow_persistent) {
            return Err(fail(Fault::NotTmpfs { kind })); // 3
        }
        lock(&root).map_err(fail)?; // 4
        let inherits = medium.mode & 0o2000 != 0;
        let group = if inherits { medium.group } else { getegid().as_raw() };
        let mut volume = Volume {
            name: name.clone(),
            path: config.path.clone(),
            size: config.size,
            root,
            medium,
            us: Owner { user: geteuid().as_raw(), group },
            shown: None,
            lives: Lives::new(gap, config.keep_previous),
            foreign: BTreeSet::new(),
            remarks: Vec::new(),
        };
        volume.recover(now).map_err(fail)?; // 5
        Ok(volume)
    }

    /// Makes a volume's directory where nobody else could: the last part of `path`, 0750, if it is
    /// missing and the directory above it is ours alone. That is the case of `$XDG_RUNTIME_DIR`,
    /// outside a pod. Returns whether it was made.
    pub fn create_if_private(path: &Path) -> std::io::Result<bool> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(false);
        };
        let above = match Dir::root(parent) {
            Err(Errno::NOENT) => return Ok(false),
            above => above?,
        };
        let stat = above.own_stat()?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            return Ok(false);
        }
        match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
            Err(Errno::EXIST) => return Ok(false),
            made => made?,
        }
        rustix::fs::fchmod(above.dir(name)?, Mode::RWXU | Mode::RGRP | Mode::XGRP)?;
        Ok(true)
    }

    /// Its name in the config.
    pub fn name(&self) -> &VolumeName {
        &self.name
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What carries it. The root's owner and mode are the platform's, and are never changed.
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// How far it keeps secrets from a disk and from strangers.
    pub fn grade(&self) -> Grade {
        self.medium.grade(self.us.user)
    }

    /// The generation that `..data` shows.
    pub fn generation(&self) -> Option<u64> {
        self.shown.as_ref().map(|shown| shown.number)
    }

    /// No rotation before this time. `None`: any time.
    pub fn earliest_swap(&self) -> Option<Duration> {
        self.lives.earliest()
    }

    /// What was noticed since the last call.
    pub fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// All files of the current generation, to compare after a restart. Empty without one.
    pub fn read_current(&self) -> Result<BTreeMap<FilePath, SecretBytes>, VolumeError> {
        let Some(number) = self.generation() else { return Ok(BTreeMap::new()) };
        let read = || -> std::io::Result<_> {
            let top = self.root.dir(names::generation(number))?;
            let files = look::tree(&top)?.files.into_iter().map(|path| {
                let file = top.file(path.as_str())?;
                let size = Some(file.metadata()?.len()).filter(|&size| size <= self.size);
                let size = size.and_then(|size| usize::try_from(size).ok()).ok_or(Errno::FBIG)?;
                Ok((path, look::read(file, size)?))
            });
            files.collect()
        };
        read().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            self.error(Fault::io("read the current generation")(errno))
        })
    }

    fn error(&self, fault: Fault) -> VolumeError {
        VolumeError { volume: self.name.clone(), path: self.path.clone(), fault }
    }
}

/// One writer per volume. The lock goes with the handle, so also with a process that is killed.
fn lock(root: &Dir) -> Result<(), Fault> {
    match retry_on_intr(|| flock(root, FlockOperation::NonBlockingLockExclusive)) {
        Err(Errno::WOULDBLOCK) => Err(Fault::Locked),
        done => done.map_err(Fault::io("lock the directory")),
    }
}
