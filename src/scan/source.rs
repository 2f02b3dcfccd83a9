//! Where images come from, on the side that opens: files, directories, standard input, a registry, a
//! daemon. Nothing here looks into what it opens.

pub mod daemon;
pub mod layout;
pub mod registry;
pub mod tree;
pub mod wanted;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::scan::image::store::Name;

/// Something opened for a parser.
pub struct Handed {
    /// To read from.
    pub file: File,
    /// How many bytes, if that is known.
    pub size: Option<u64>,
}

impl Handed {
    /// A whole file or stream.
    pub fn whole(file: File) -> Handed {
        Handed { file, size: None }
    }
}

/// Opens what belongs to one image.
pub enum Door {
    /// One file, opened beforehand.
    File(File),
    /// An OCI layout.
    Layout(OwnedFd),
    /// A file tree.
    Tree(tree::Tree),
    /// An image in a registry.
    Registry(registry::Registry),
    /// An image in a daemon.
    Daemon(daemon::Daemon),
    /// What could not be opened.
    Closed,
}

impl Door {
    /// Opens one thing.
    pub fn open(&mut self, name: &Name) -> io::Result<Handed> {
        match self {
            Door::File(file) => file.try_clone().map(Handed::whole),
            Door::Layout(directory) => layout::open(directory, name),
            Door::Tree(tree) => tree.stream().map(Handed::whole),
            Door::Registry(registry) => registry.open(name),
            Door::Daemon(daemon) => daemon.open(),
            Door::Closed => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Why something could not be opened, in more words than an error of the system has.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Door::Registry(registry) => registry.trouble(),
            Door::Daemon(daemon) => daemon.trouble.clone(),
            Door::File(_) | Door::Layout(_) | Door::Tree(_) | Door::Closed => None,
        }
    }
}
