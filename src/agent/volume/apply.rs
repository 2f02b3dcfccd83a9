//! Carries out steps, one after the other, without a decision.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, FallocateFlags, Gid, Mode, Stat, Uid, fallocate, fchmod, fchown, fstat, mkdirat,
    renameat, symlinkat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::beneath::Dir;
use super::desired::{Desired, Directory, Wanted};
use super::error::{Fault, Stranger};
use super::look::{Stamp, leads_through_data, pointed};
use super::names::{self, DATA, DATA_NEW};
use super::plan::Step;
use crate::secret::FilePath;

/// Where steps are carried out, and what they need and learn.
#[derive(Debug)]
pub(super) struct Site<'a> {
    root: &'a Dir,
    us: u32,
    desired: Option<&'a Desired<'a>>,
    /// The generation in the making. By handle: whoever puts something else in the place of its
    /// name gets no byte.
    making: Option<Making>,
    /// The files written, as they were left.
    pub(super) stamps: BTreeMap<FilePath, Stamp>,
}

#[derive(Debug)]
struct Making {
    dir: Dir,
    identity: (u64, u64),
}

/// A step failed; those before it are done.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) done: usize,
    pub(super) fault: Fault,
}

impl<'a> Site<'a> {
    pub(super) fn new(root: &'a Dir, us: u32, desired: Option<&'a Desired<'a>>) -> Site<'a> {
        Site { root, us, desired, making: None, stamps: BTreeMap::new() }
    }

    /// Carries out `steps` until one fails.
    pub(super) fn apply(&mut self, steps: &[Step]) -> Result<(), Stopped> {
        for (done, step) in steps.iter().enumerate() {
            self.carry_out(step).map_err(|fault| Stopped { done, fault })?;
        }
        Ok(())
    }

    fn carry_out(&mut self, step: &Step) -> Result<(), Fault> {
        let root = self.root;
        match step {
            // 1
            Step::DropLink => unlinkat(root, DATA_NEW, AtFlags::empty())
                .map_err(Fault::io("remove a leftover link")),
            Step::Retire(number) => {
                rename(root, &names::generation(*number), &names::unfinished(*number))
                    .map_err(Fault::io("retire an old generation"))
            }
            Step::Remove(number) => root
                .remove_tree(&names::unfinished(*number))
                .map_err(Fault::io("remove an old generation")),
            // 2
            Step::Begin(number) => self.begin(*number),
            // 3
            Step::Directory(path) => self.directory(path),
            Step::Write(path) => self.write(path),
            // 4
            Step::Settle(path) => self.settle(path),
            // 5
            Step::Complete(number) => self.complete(*number),
            // 6
            Step::Link(name) => symlinkat(names::through_data(name), root, name.as_str())
                .map_err(Fault::io("make a file's visible link")),
            // 7
            Step::Point(number) => symlinkat(names::generation(*number), root, DATA_NEW)
                .map_err(Fault::io("make the link to the new generation")),
            // 8
            Step::Swap => {
                rename(root, DATA_NEW, DATA).map_err(Fault::io("put the new generation in place"))
            }
            // 9
            Step::Check(number) => self.check(*number),
            // 10
            Step::Unlink(name) => self.unlink(name),
        }
    }

    fn begin(&mut self, number: u64) -> Result<(), Fault> {
        let failed = Fault::io("make the directory of a generation");
        let name = names::unfinished(number);
        mkdirat(self.root, &name, Mode::RWXU).map_err(&failed)?;
        let dir = self.root.dir(&name).map_err(&failed)?;
        let stat = dir.own_stat().map_err(&failed)?;
        if stat.st_uid != self.us {
            return Err(Fault::Foreign { name, found: Stranger::OwnedBy(stat.st_uid) });
        }
        self.making = Some(Making { dir, identity: identity(&stat) });
        Ok(())
    }

    fn directory(&self, path: &str) -> Result<(), Fault> {
        let failed = Fault::io("make a directory of a generation");
        let (parent, name) = self.parent(path).map_err(&failed)?;
        mkdirat(&parent, name, Mode::RWXU).map_err(failed)
    }

    fn write(&mut self, path: &FilePath) -> Result<(), Fault> {
        let failed = Fault::io("write a file");
        let wanted = self.desired.and_then(|desired| desired.files.get(path));
        let wanted = wanted.ok_or(Errno::INVAL).map_err(&failed)?;
        let (parent, name) = self.parent(path.as_str()).map_err(&failed)?;
        let mut file = parent.create(name).map_err(&failed)?;
        let owner = Directory { mode: wanted.mode, user: wanted.user, group: wanted.group };
        give(&file, path.as_str(), owner)?;
        let stamp = fill(&mut file, wanted).map_err(failed)?;
        self.stamps.insert(path.clone(), stamp);
        Ok(())
    }

    fn settle(&self, path: &str) -> Result<(), Fault> {
        let failed = Fault::io("open a directory of a generation");
        let wanted = self.desired.and_then(|desired| desired.dirs.get(path));
        let wanted = wanted.ok_or(Errno::INVAL).map_err(&failed)?;
        let dir = self.making().and_then(|making| making.dir.dir(path)).map_err(failed)?;
        give(&dir, path, *wanted)
    }

    fn complete(&self, number: u64) -> Result<(), Fault> {
        let failed = Fault::io("complete a generation");
        rename(self.root, &names::unfinished(number), &names::generation(number))
            .map_err(&failed)?;
        self.is_ours(number)
    }

    fn check(&self, number: u64) -> Result<(), Fault> {
        if pointed(self.root)? != number {
            return Err(Fault::Swapped { generation: number });
        }
        self.is_ours(number)
    }

    fn unlink(&self, name: &str) -> Result<(), Fault> {
        if !leads_through_data(self.root, name) {
            return Ok(());
        }
        unlinkat(self.root, name, AtFlags::empty()).map_err(Fault::io("remove a visible link"))
    }

    /// Whether the generation's name leads to the directory that we made.
    fn is_ours(&self, number: u64) -> Result<(), Fault> {
        let failed = Fault::io("look at the new generation");
        let made = self.making().map_err(&failed)?.identity;
        match self.root.stat(&names::generation(number)) {
            Ok(stat) if identity(&stat) == made => Ok(()),
            Ok(_) | Err(Errno::NOENT) => Err(Fault::Swapped { generation: number }),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The directory that `path` stands in, and its name there.
    fn parent<'p>(&self, path: &'p str) -> rustix::io::Result<(Dir, &'p str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        Ok((self.making()?.dir.dir(parent)?, name))
    }

    fn making(&self) -> rustix::io::Result<&Making> {
        self.making.as_ref().ok_or(Errno::INVAL)
    }
}

/// Sets mode and owner by descriptor and looks whether they stick: neither the umask nor a
/// set-group-id directory has a say. The mode comes first, because who gives a file away may no
/// longer change it.
fn give(fd: impl AsFd, path: &str, to: Directory) -> Result<(), Fault> {
    let failed = Fault::io("set owner and mode");
    fchmod(&fd, Mode::from_raw_mode(to.mode)).map_err(&failed)?;
    let is = |stat: &Stat| (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
    let now = fstat(&fd).map_err(&failed)?;
    if (now.st_uid, now.st_gid) != (to.user, to.group) {
        let user = (now.st_uid != to.user).then(|| Uid::from_raw(to.user));
        let group = (now.st_gid != to.group).then(|| Gid::from_raw(to.group));
        fchown(&fd, user, group).map_err(|errno| match errno {
            Errno::PERM | Errno::INVAL => {
                Fault::OwnerRefused { file: path.to_owned(), user: to.user, group: to.group }
            }
            errno => failed(errno),
        })?;
    }
    match fstat(&fd).map_err(&failed)? {
        stat if is(&stat) == (to.user, to.group, to.mode) => Ok(()),
        _ => Err(Fault::NotAsSet { file: path.to_owned() }),
    }
}

/// Fills a new file. Its pages are asked for beforehand, so that a full tmpfs says so at once and
/// not after the first half.
fn fill(file: &mut File, wanted: &Wanted<'_>) -> rustix::io::Result<Stamp> {
    let bytes = wanted.bytes.expose();
    if !bytes.is_empty() {
        let all = FallocateFlags::empty();
        match retry_on_intr(|| fallocate(&*file, all, 0, bytes.len() as u64)) {
            // A ramfs can't.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            done => done?,
        }
    }
    // Goes on after a short write and an interruption, as the first sign of a full disk or a signal.
    file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(Stamp::of(&fstat(file)?))
}

fn rename(root: &Dir, from: &str, to: &str) -> rustix::io::Result<()> {
    renameat(root, from, root, to)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
