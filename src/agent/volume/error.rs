//! Everything that a volume can refuse, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::agent::reason::{Reason, Report};
use crate::secret::{FilePath, VolumeName};

/// A volume that refuses: which one, where it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeError {
    /// Which volume.
    pub volume: VolumeName,
    /// Where it is mounted.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a volume. Fields are names and numbers; no bytes of a file fit in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The directory is not there.
    Missing,
    /// It is neither tmpfs nor ramfs; the kernel's number for what it is.
    NotTmpfs {
        /// `f_type` of statfs(2).
        kind: u64,
    },
    /// Another process holds the lock.
    Locked,
    /// There is no room for the next generation.
    Full {
        /// Bytes that the next generation takes, in whole pages.
        needed: u64,
        /// Bytes that `size` or the file system still gives.
        available: u64,
    },
    /// There are no inodes for the next generation.
    NoInodes {
        /// Inodes that the next generation takes.
        needed: u64,
        /// Inodes that the file system still gives.
        available: u64,
    },
    /// A name that is ours is taken by something that we did not make.
    Foreign {
        /// `..data`, or the name of a generation.
        name: String,
        /// What is there instead.
        found: Stranger,
    },
    /// The place of a file's visible link is taken.
    NameTaken {
        /// The name in the root of the volume.
        name: String,
    },
    /// The kernel does not let us give a file away.
    OwnerRefused {
        /// Which file, or the directory that it stands in.
        file: String,
        /// The user asked for.
        user: u32,
        /// The group asked for.
        group: u32,
    },
    /// Owner or mode are not what was set.
    NotAsSet {
        /// Which file or directory.
        file: String,
    },
    /// Somebody put something else in the place of the new generation while it was made.
    Swapped {
        /// The generation.
        generation: u64,
    },
    /// The set can't be laid out: a mode that lets others read, or a path beneath another file.
    Unfit {
        /// Which file.
        file: FilePath,
        /// Why.
        why: Unfit,
    },
    /// The number of the new generation is not above all that are there.
    NotNewer {
        /// The number given.
        given: u64,
        /// The highest one there.
        there: u64,
    },
    /// The kernel refused a step.
    Io {
        /// What was being done, to follow "could not".
        doing: &'static str,
        /// The kernel's reason.
        errno: i32,
    },
}

/// What stands in the place of something of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Not the kind that we make: a file, a directory, a link.
    OtherKind,
    /// A link that leads elsewhere than to a generation.
    LeadsElsewhere,
    /// It belongs to another user.
    OwnedBy(u32),
}

/// Why a file can't be part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its mode allows more than 0440.
    Mode(u32),
    /// Another file stands where its directory would be, or it is there twice.
    PathTaken,
}

impl VolumeError {
    /// The reason for health, audit and the exit code.
    pub fn reason(&self) -> Reason {
        match self.fault {
            Fault::NotTmpfs { .. } => Reason::VolumeNotTmpfs,
            Fault::Locked => Reason::VolumeLocked,
            Fault::Full { .. } | Fault::NoInodes { .. } => Reason::VolumeFull,
            Fault::NotNewer { .. } => Reason::Bug,
            _ => Reason::VolumeRefused,
        }
    }

    /// What, why, and what to do.
    pub fn report(&self) -> Report {
        let VolumeError { volume, path, fault } = self;
        let what = match fault {
            Fault::Full { .. } | Fault::NoInodes { .. } => format!("volume `{volume}` is full"),
            Fault::Locked => format!("volume `{volume}` is locked"),
            Fault::NotTmpfs { .. } => format!("volume `{volume}` is not a tmpfs"),
            _ => format!("volume `{volume}` at {} can't be used", path.display()),
        };
        Report::new(self.reason(), what, fault.why()).hint(self.advice())
    }

    fn advice(&self) -> String {
        let VolumeError { volume, path, fault } = self;
        let path = path.display();
        match fault {
            Fault::Missing => format!("mount a tmpfs at {path}, or change `volumes.{volume}.path`"),
            Fault::NotTmpfs { .. } => format!(
                "mount a tmpfs at {path} (`emptyDir: {{ medium: Memory }}`); `allow: [persistent]` \
                 accepts that secrets reach a disk"
            ),
            Fault::Locked => {
                format!("give each agent a volume of its own; who holds it: `fuser -v {path}`")
            }
            Fault::Full { .. } => format!(
                "two generations must fit: raise `volumes.{volume}.size` and the size of the mount"
            ),
            Fault::NoInodes { .. } => {
                format!("mount {path} with more inodes (`nr_inodes`), or deliver fewer files")
            }
            Fault::Foreign { name, .. } => format!(
                "find out who else writes to {path}, then remove {path}/{name} and start again; \
                 other containers need it read-only"
            ),
            Fault::NameTaken { name } => {
                format!("remove {path}/{name}, or rename the file in `files`")
            }
            Fault::OwnerRefused { group, .. } => format!(
                "run with group {group} (`supplementalGroups`, or the pod's `fsGroup`), or change \
                 `owner_group` and `owner_user`"
            ),
            Fault::NotAsSet { .. } => {
                format!("use a plain tmpfs at {path}: this file system changes owners or modes")
            }
            Fault::Swapped { .. } => {
                format!("find out who else writes to {path}; other containers need it read-only")
            }
            Fault::Unfit { file, why: Unfit::Mode(_) } => {
                format!("set `mode: \"0440\"` or less on `files.{file}`")
            }
            Fault::Unfit { file, .. } => format!("rename `files.{file}`"),
            Fault::NotNewer { .. } => "report this: it is a bug of sidekey".into(),
            Fault::Io { errno, .. } => match Errno::from_raw_os_error(*errno) {
                Errno::ACCESS | Errno::PERM | Errno::ROFS => {
                    format!("let our user write to {path} (mode, `fsGroup`, `readOnly: false`)")
                }
                Errno::MFILE | Errno::NFILE => "raise the limit of open files".into(),
                _ => format!("look at the mount at {path}"),
            },
        }
    }
}

impl Fault {
    fn why(&self) -> String {
        match self {
            Fault::Missing => "the directory is not there".into(),
            Fault::NotTmpfs { kind } => {
                format!(
                    "the kernel says file system type 0x{kind:x}, so secrets could reach a disk"
                )
            }
            Fault::Locked => "another process writes to it".into(),
            Fault::Full { needed, available } => {
                format!("the next generation needs {needed} bytes, and {available} are available")
            }
            Fault::NoInodes { needed, available } => {
                format!("the next generation needs {needed} inodes, and {available} are available")
            }
            Fault::Foreign { name, found } => format!("`{name}` is not ours: {found}"),
            Fault::NameTaken { name } => format!("something that is not ours stands at `{name}`"),
            Fault::OwnerRefused { file, user, group } => {
                format!("the kernel does not let us give `{file}` to user {user}, group {group}")
            }
            Fault::NotAsSet { file } => {
                format!("owner or mode of `{file}` are not what was set a moment ago")
            }
            Fault::Swapped { generation } => {
                format!("somebody replaced generation {generation} while it was put in place")
            }
            Fault::Unfit { file, why: Unfit::Mode(mode) } => {
                format!(
                    "`{file}` asks for mode {mode:04o}, which lets more than reading by owner and group"
                )
            }
            Fault::Unfit { file, why: Unfit::PathTaken } => {
                format!("`{file}` and another file want the same place")
            }
            Fault::NotNewer { given, there } => {
                format!("generation {given} was to follow generation {there}")
            }
            Fault::Io { doing, errno } => {
                format!("could not {doing}: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }

    /// For `map_err`: the kernel refused what was being done.
    pub(super) fn io(doing: &'static str) -> impl Fn(Errno) -> Fault {
        move |errno| Fault::Io { doing, errno: errno.raw_os_error() }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stranger::OtherKind => f.write_str("it is of another kind than what we make"),
            Stranger::LeadsElsewhere => f.write_str("it is a link that leads elsewhere"),
            Stranger::OwnedBy(uid) => write!(f, "it belongs to uid {uid}"),
        }
    }
}

impl fmt::Display for VolumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

impl std::error::Error for VolumeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_says_what_why_and_how_to_mend_it() {
        let file = FilePath::parse("certs/tls.pem").unwrap();
        for (fault, words) in [
            (Fault::Missing, vec!["not there", "mount a tmpfs"]),
            (
                Fault::NotTmpfs { kind: 0xef53 },
                vec!["not a tmpfs", "0xef53", "allow: [persistent]"],
            ),
            (Fault::Locked, vec!["locked", "another process", "fuser"]),
            (Fault::Full { needed: 8192, available: 4096 }, vec!["full", "8192", "4096", "size"]),
            (Fault::NoInodes { needed: 5, available: 2 }, vec!["full", "5 inodes", "nr_inodes"]),
            (
                Fault::Foreign { name: "..data".into(), found: Stranger::LeadsElsewhere },
                vec!["`..data`", "leads elsewhere", "remove /run/x/..data"],
            ),
            (
                Fault::Foreign { name: "..3".into(), found: Stranger::OwnedBy(12) },
                vec!["`..3`", "uid 12", "read-only"],
            ),
            (
                Fault::Foreign { name: "..3".into(), found: Stranger::OtherKind },
                vec!["another kind"],
            ),
            (Fault::NameTaken { name: "certs".into() }, vec!["`certs`", "remove /run/x/certs"]),
            (
                Fault::OwnerRefused { file: "key".into(), user: 5, group: 2000 },
                vec!["`key`", "user 5", "group 2000", "supplementalGroups"],
            ),
            (Fault::NotAsSet { file: "key".into() }, vec!["`key`", "plain tmpfs"]),
            (Fault::Swapped { generation: 9 }, vec!["generation 9", "who else"]),
            (
                Fault::Unfit { file: file.clone(), why: Unfit::Mode(0o644) },
                vec!["certs/tls.pem", "0644", "0440"],
            ),
            (Fault::Unfit { file, why: Unfit::PathTaken }, vec!["certs/tls.pem", "rename"]),
            (Fault::NotNewer { given: 3, there: 4 }, vec!["generation 3", "4", "bug"]),
            (Fault::Io { doing: "make a link", errno: libc::EACCES }, vec!["make a link", "write"]),
            (Fault::Io { doing: "open it", errno: libc::EMFILE }, vec!["open it", "open files"]),
            (Fault::Io { doing: "open it", errno: libc::EIO }, vec!["open it", "mount"]),
        ] {
            let error = VolumeError {
                volume: VolumeName::parse("web").unwrap(),
                path: "/run/x".into(),
                fault,
            };
            let report = error.report();
            let text = report.to_string();
            assert!(report.what.contains("volume `web`"), "{text}");
            assert!(!report.why.is_empty() && report.hint.is_some(), "{text}");
            for word in words {
                assert!(text.contains(word), "{word:?} is not in {text}");
            }
            let expected = if report.reason == Reason::Bug { 70 } else { 73 };
            assert_eq!(report.reason.exit().code(), expected, "{text}");
        }
    }
}
