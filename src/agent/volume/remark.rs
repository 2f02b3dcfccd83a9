//! What a volume noticed and dealt with, or left alone: nothing that stops it, but somebody may
//! want to know.

use std::fmt;

use crate::secret::FilePath;

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// What an interrupted run left was put in order.
    Recovered {
        /// How many things were removed, made or renamed.
        steps: usize,
    },
    /// Something that is not ours stands in the root of the volume and was left alone.
    Foreign {
        /// Its name.
        name: String,
    },
    /// `..data` shows a generation that is not there.
    Gone {
        /// Its number.
        generation: u64,
    },
    /// Somebody touched the current generation. The next publication compares every byte.
    Touched {
        /// Its number.
        generation: u64,
        /// The files that changed, came or went.
        files: Vec<FilePath>,
    },
    /// `..data` was turned to another generation.
    Turned {
        /// The one that was shown last.
        from: u64,
        /// The one that is shown now, if any.
        to: Option<u64>,
    },
    /// What is no longer wanted could not be removed yet; it is tried again.
    NotTidied,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::Recovered { steps } => {
                write!(f, "put the leftovers of an interrupted run in order ({steps} steps)")
            }
            Remark::Foreign { name } => {
                write!(f, "`{}` is not ours, left alone", name.escape_debug())
            }
            Remark::Gone { generation } => write!(f, "generation {generation} is gone"),
            Remark::Touched { generation, files } => {
                write!(f, "somebody touched generation {generation}:")?;
                files.iter().try_for_each(|file| write!(f, " {file}"))
            }
            Remark::Turned { from, to: Some(to) } => {
                write!(f, "somebody turned `..data` from generation {from} to {to}")
            }
            Remark::Turned { from, to: None } => {
                write!(f, "somebody took generation {from} away from `..data`")
            }
            Remark::NotTidied => f.write_str("an old generation could not be removed yet"),
        }
    }
}
