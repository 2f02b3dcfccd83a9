//! Everything that the state can refuse, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::stored::LAYOUT;
use crate::agent::reason::{Reason, Report, system_word};

/// Why the state, or what an earlier process left in it, can't be used.
#[derive(Debug)]
pub struct StateError {
    pub(super) path: PathBuf,
    pub(super) fault: Fault,
}

/// What is wrong. Fields are numbers; no part of the file fits in.
#[derive(Debug)]
pub(super) enum Fault {
    /// The kernel said no.
    Io(io::ErrorKind),
    /// The directory would outlive the pod.
    NotTmpfs,
    /// Another process has it.
    Locked,
    /// The old file and the new one have no room beside each other.
    TooLarge { size: u64 },
    /// A version of Sidekey with another layout wrote the file.
    OtherLayout { found: u32 },
    /// The file is no JSON, or JSON of another shape; where that shows.
    Torn { line: usize, column: usize },
    /// A name, a version or a token in the file is none.
    Nonsense,
    /// The file is a link, a directory, or another user's.
    Foreign,
}

impl StateError {
    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let path = self.path.display();
        let (reason, what) = match self.fault {
            Fault::OtherLayout { .. } | Fault::Torn { .. } | Fault::Nonsense | Fault::Foreign => (
                Reason::NoHandover,
                format!("what an earlier process left in `{path}` is not used"),
            ),
            Fault::NotTmpfs => (Reason::VolumeNotTmpfs, format!("can't use the state in `{path}`")),
            Fault::Locked => (Reason::VolumeLocked, format!("can't use the state in `{path}`")),
            Fault::Io(io::ErrorKind::StorageFull) | Fault::TooLarge { .. } => {
                (Reason::VolumeFull, format!("can't write the state in `{path}`"))
            }
            Fault::Io(_) => (Reason::VolumeRefused, format!("can't use the state in `{path}`")),
        };
        Report::new(reason, what, self.why()).hint(self.hint())
    }

    fn why(&self) -> String {
        match &self.fault {
            Fault::Io(io::ErrorKind::NotFound) => "there is no such directory".to_owned(),
            Fault::Io(io::ErrorKind::StorageFull) => "it is full".to_owned(),
            Fault::Io(kind) => system_word(*kind),
            Fault::NotTmpfs => {
                "it is not a tmpfs, and the token would be written to a disk".to_owned()
            }
            Fault::Locked => "another Sidekey uses it".to_owned(),
            Fault::TooLarge { size } => {
                format!("it does not fit twice into `state.size` of {size} bytes")
            }
            Fault::OtherLayout { found } => {
                format!("its layout is {found}, and this version knows {LAYOUT}")
            }
            Fault::Torn { line, column } => {
                format!("it is damaged at line {line}, column {column}")
            }
            Fault::Nonsense => "a part of it is not what Sidekey writes".to_owned(),
            Fault::Foreign => "the file is not ours: a link, no file, or another user's".to_owned(),
        }
    }

    fn hint(&self) -> &'static str {
        match &self.fault {
            Fault::Io(io::ErrorKind::NotFound) => {
                "mount a tmpfs there (`emptyDir: { medium: Memory }`), or correct `state.path`"
            }
            Fault::Io(io::ErrorKind::StorageFull) | Fault::TooLarge { .. } => {
                "raise `state.size` and the size of the tmpfs"
            }
            Fault::Io(_) => "let Sidekey's uid write there, and nobody else",
            Fault::NotTmpfs => {
                "mount a tmpfs there, or accept the disk with `state: { allow: [persistent] }`"
            }
            Fault::Locked => "end the other one, or give each its own `state.path`",
            Fault::OtherLayout { .. } => {
                "nothing: it logs in anew; the old token ends by itself, or revoke it in the store"
            }
            Fault::Torn { .. } | Fault::Nonsense => {
                "nothing: it logs in anew; should it happen again, see who else writes there"
            }
            Fault::Foreign => {
                "mount the state in Sidekey's containers only, and run `init` and `run` as one uid"
            }
        }
    }
}
