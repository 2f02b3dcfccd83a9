//! What carries a directory: memory or a disk, swappable or not, and who may change it.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, fstat, fstatfs, major, minor, statat};

/// `f_type` of a tmpfs (`TMPFS_MAGIC`, linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
/// `f_type` of a ramfs (`RAMFS_MAGIC`, linux/magic.h).
const RAMFS: u64 = 0x8584_58f6;

/// What carries a directory, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The file system.
    pub kind: Kind,
    /// Whether its pages can reach a swap device.
    pub swap: Swap,
    /// The permission bits of the directory, with the set-group-id and sticky bits.
    pub mode: u32,
    /// Who owns the directory.
    pub owner: u32,
    /// The group of the directory.
    pub group: u32,
    /// Whether something is mounted exactly here, so that only who mounts it reaches it.
    pub mount_root: bool,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory, with a size limit.
    Tmpfs,
    /// Memory without a size limit, never swapped.
    Ramfs,
    /// Anything else, by its `f_type`: a disk, as far as we know.
    Other(u64),
}

/// Whether pages of a file system can reach a swap device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// Never: `noswap`, or a ramfs.
    Never,
    /// Nothing forbids it, but no swap is on now.
    NoneOn,
    /// Nothing forbids it, and swap is on.
    On,
    /// `/proc` does not tell.
    Unknown,
}

/// How far a directory keeps secrets from a disk and from strangers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grade {
    /// The word.
    pub level: Level,
    /// What keeps it from being `secure`, worst first.
    pub flaws: Vec<Flaw>,
}

/// The three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to complain of.
    Secure,
    /// Good today, not guaranteed.
    Weak,
    /// Secrets can reach a disk or a stranger.
    Insecure,
}

/// One thing that keeps a directory from being `secure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not in memory.
    OnDisk,
    /// Swap is on, and the file system may be swapped out.
    SwapOn,
    /// Everybody on the machine may write here: the mode lets others, and nothing is mounted here.
    OthersWrite,
    /// It belongs to a user that is neither root nor us.
    StrangeOwner(u32),
    /// The file system may be swapped out as soon as swap is switched on.
    Swappable,
    /// `/proc` does not tell whether it may be swapped out.
    SwapUnknown,
    /// It has no size limit.
    Unlimited,
}

/// Looks at what carries `dir`. Reads `/proc/self/mountinfo` and `/proc/swaps`, so it belongs
/// before the lock-in.
pub fn medium(dir: BorrowedFd<'_>) -> io::Result<Medium> {
    // The kernel's number has 32 bits; as a C long the top one may come back as a sign.
    let magic = fstatfs(dir)?.f_type.cast_unsigned() & 0xffff_ffff;
    let stat = fstat(dir)?;
    let above = statat(dir, "..", AtFlags::empty()).ok();
    let kind = match magic {
        TMPFS => Kind::Tmpfs,
        RAMFS => Kind::Ramfs,
        other => Kind::Other(other),
    };
    Ok(Medium {
        kind,
        swap: if kind == Kind::Ramfs { Swap::Never } else { swap(stat.st_dev) },
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        group: stat.st_gid,
        mount_root: above.is_some_and(|above| above.st_dev != stat.st_dev),
    })
}

fn swap(device: u64) -> Swap {
    let read = |path| std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned());
    let forbidden = read("/proc/self/mountinfo")
        .ok()
        .and_then(|table| forbids_swap(&table, major(device), minor(device)));
    match (forbidden, read("/proc/swaps")) {
        (Some(true), _) => Swap::Never,
        (Some(false), Ok(swaps)) if swaps.lines().count() > 1 => Swap::On,
        (Some(false), Ok(_)) => Swap::NoneOn,
        _ => Swap::Unknown,
    }
}

/// Whether the file system with this device number has `noswap` among its own options (the last
/// field, proc(5)); `None` if it is not in the table.
fn forbids_swap(mountinfo: &str, major: u32, minor: u32) -> Option<bool> {
    let device = format!("{major}:{minor}");
    let line = mountinfo.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    let (_, own) = line.split_once(" - ")?;
    Some(own.split(' ').nth(2)?.split(',').any(|option| option == "noswap"))
}

impl Medium {
    /// Whether it is memory.
    pub fn in_memory(&self) -> bool {
        !matches!(self.kind, Kind::Other(_))
    }

    /// The grade, as seen by a process of user `us`.
    pub fn grade(&self, us: u32) -> Grade {
        let mut flaws = Vec::new();
        let mut flaw = |there: bool, flaw| {
            if there {
                flaws.push(flaw);
            }
        };
        flaw(!self.in_memory(), Flaw::OnDisk);
        flaw(self.in_memory() && self.swap == Swap::On, Flaw::SwapOn);
        flaw(self.mode & 0o002 != 0 && !self.mount_root, Flaw::OthersWrite);
        flaw(self.owner != 0 && self.owner != us, Flaw::StrangeOwner(self.owner));
        flaw(self.in_memory() && self.swap == Swap::NoneOn, Flaw::Swappable);
        flaw(self.in_memory() && self.swap == Swap::Unknown, Flaw::SwapUnknown);
        flaw(self.kind == Kind::Ramfs, Flaw::Unlimited);
        let level = flaws.iter().map(|flaw| flaw.level()).max().unwrap_or(Level::Secure);
        Grade { level, flaws }
    }
}

impl Flaw {
    /// How bad it is.
    pub fn level(self) -> Level {
        match self {
            Flaw::OnDisk | Flaw::SwapOn | Flaw::OthersWrite | Flaw::StrangeOwner(_) => {
                Level::Insecure
            }
            Flaw::Swappable | Flaw::SwapUnknown | Flaw::Unlimited => Level::Weak,
        }
    }

    /// Whether `allow: [swap]` speaks of it.
    pub fn is_of_swap(self) -> bool {
        matches!(self, Flaw::SwapOn | Flaw::Swappable | Flaw::SwapUnknown)
    }
}

impl Level {
    /// The word used in health, metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Level::Secure => "secure",
            Level::Weak => "weak",
            Level::Insecure => "insecure",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::OnDisk => f.write_str("not in memory"),
            Flaw::SwapOn => f.write_str("swap is on and the mount lacks noswap"),
            Flaw::OthersWrite => f.write_str("every user of the machine may write here"),
            Flaw::StrangeOwner(uid) => write!(f, "belongs to uid {uid}"),
            Flaw::Swappable => f.write_str("the mount lacks noswap (no swap is on now)"),
            Flaw::SwapUnknown => f.write_str("/proc does not tell whether it may be swapped out"),
            Flaw::Unlimited => f.write_str("ramfs has no size limit"),
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.level.word())?;
        for (i, flaw) in self.flaws.iter().enumerate() {
            write!(f, "{}{flaw}", if i == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
25 24 0:23 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=64k
30 25 0:27 / /run/my\\040secrets rw shared:7 master:2 - tmpfs tmpfs rw,size=4096k,noswap,inode64
";

    #[test]
    fn noswap_counts_only_among_the_options_of_the_file_system_itself() {
        assert_eq!(forbids_swap(TABLE, 0, 23), Some(false));
        assert_eq!(forbids_swap(TABLE, 0, 27), Some(true));
        assert_eq!(forbids_swap(TABLE, 0, 2), None);
    }

    #[test]
    fn every_medium_gets_one_of_three_words_and_the_reasons() {
        let pod = Medium {
            kind: Kind::Tmpfs,
            swap: Swap::Never,
            mode: 0o777,
            owner: 0,
            group: 0,
            mount_root: true,
        };
        for (medium, text) in [
            (pod, "secure"),
            (Medium { mode: 0o2777, group: 2000, ..pod }, "secure"),
            (Medium { mode: 0o750, owner: 7, mount_root: false, ..pod }, "secure"),
            (
                Medium { swap: Swap::NoneOn, ..pod },
                "weak: the mount lacks noswap (no swap is on now)",
            ),
            (
                Medium { swap: Swap::Unknown, ..pod },
                "weak: /proc does not tell whether it may be swapped out",
            ),
            (Medium { kind: Kind::Ramfs, ..pod }, "weak: ramfs has no size limit"),
            (Medium { swap: Swap::On, ..pod }, "insecure: swap is on and the mount lacks noswap"),
            (
                Medium { kind: Kind::Other(0xef53), swap: Swap::On, ..pod },
                "insecure: not in memory",
            ),
            (
                Medium { mount_root: false, owner: 1000, ..pod },
                "insecure: every user of the machine may write here, belongs to uid 1000",
            ),
        ] {
            assert_eq!(medium.grade(7).to_string(), text);
        }
    }

    #[test]
    fn the_real_shared_memory_is_a_tmpfs_and_proc_is_not() {
        let look = |path: &str| medium(std::fs::File::open(path).unwrap().as_fd()).unwrap();
        assert_eq!(look("/dev/shm").kind, Kind::Tmpfs);
        assert!(!look("/proc").in_memory());
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let found = look(dir.path().to_str().unwrap());
        assert!(!found.mount_root);
        assert_eq!(found.mode, 0o700);
    }
}
