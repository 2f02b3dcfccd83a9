//! Opens what the user named, and tells how it is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use super::error::Failure;
use crate::scan::finding::SourceKind;
use crate::scan::scan::attribute::Asked;
use crate::scan::scan::parser::Shape;
use crate::scan::source::daemon::{Daemon, Kind};
use crate::scan::source::registry::{Options, Registry};
use crate::scan::source::tree::Tree;
use crate::scan::source::wanted::{Claim, Origin, Wanted};
use crate::scan::source::{Door, layout};

/// An image that is open.
pub struct Opened {
    /// How it is read.
    pub shape: Shape,
    /// Who opens its parts.
    pub door: Door,
    /// What the report says of it.
    pub asked: Asked,
    /// Why it is not open after all.
    pub failure: Option<Failure>,
}

/// Opens an image. One that can't be opened takes no other with it.
pub fn open(wanted: &Wanted, options: &Options) -> Opened {
    let opened = match &wanted.origin {
        Origin::Path(path, claim) => at_path(path, *claim),
        Origin::Stdin => stdin(),
        Origin::Tree(path) => tree(path),
        Origin::Registry(text) => Registry::new(text, options)
            .map(|registry| (Shape::Named, Door::Registry(registry), SourceKind::Registry)),
        Origin::Docker(image) => Ok(daemon(Kind::Docker, image, SourceKind::Docker)),
        Origin::Podman(image) => Ok(daemon(Kind::Podman, image, SourceKind::Podman)),
    };
    let asked = |source| Asked { reference: wanted.reference.clone(), source };
    match opened {
        Ok((shape, door, source)) => Opened { shape, door, asked: asked(source), failure: None },
        Err(error) => Opened {
            shape: Shape::Over,
            door: Door::Closed,
            asked: asked(kind(&wanted.origin)),
            failure: Some(failure(wanted, &error)),
        },
    }
}

fn kind(origin: &Origin) -> SourceKind {
    match origin {
        Origin::Path(_, Claim::OciArchive) => SourceKind::OciArchive,
        Origin::Path(_, Claim::OciDir) => SourceKind::OciDir,
        Origin::Path(..) => SourceKind::DockerArchive,
        Origin::Stdin => SourceKind::Stdin,
        Origin::Tree(_) => SourceKind::Dir,
        Origin::Registry(_) => SourceKind::Registry,
        Origin::Docker(_) => SourceKind::Docker,
        Origin::Podman(_) => SourceKind::Podman,
    }
}

type Parts = (Shape, Door, SourceKind);

fn failure(wanted: &Wanted, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "name a file or directory that is there",
        io::ErrorKind::PermissionDenied => "give this user the right to read it",
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => {
            "`dir:PATH` reads a file tree, `oci-dir:PATH` an OCI layout"
        }
        _ => "`sidekey-scan --help` names what can be read",
    };
    Failure::new(format!("can't read `{}`", wanted.reference), error, hint)
}

fn at_path(path: &Path, claim: Claim) -> io::Result<Parts> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        let claimed = matches!(claim, Claim::Any | Claim::OciDir);
        if !claimed || !path.join("index.json").is_file() {
            let why = "it is a directory without an `index.json`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        return Ok((Shape::Named, Door::Layout(layout::directory(path)?), SourceKind::OciDir));
    }
    if claim == Claim::OciDir {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut file = File::open(path)?;
    let source = SourceKind::DockerArchive;
    if !metadata.is_file() {
        return Ok((Shape::Stream, Door::File(file), source));
    }
    // What is compressed can't be read at any place; everything else is looked at by the parser.
    let mut head = [0; 6];
    let count = file.read(&mut head)?;
    io::Seek::rewind(&mut file)?;
    let packed = matches!(
        head[..count],
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', ..] | [b'B', b'Z', b'h', ..]
    );
    let shape = if packed { Shape::Stream } else { Shape::Archive };
    Ok((shape, Door::File(file), source))
}

fn stdin() -> io::Result<Parts> {
    let fd = io::stdin().as_fd().try_clone_to_owned()?;
    Ok((Shape::Stream, Door::File(File::from(fd)), SourceKind::Stdin))
}

fn daemon(kind: Kind, image: &str, source: SourceKind) -> Parts {
    (Shape::Stream, Door::Daemon(Daemon::new(kind, image)), source)
}

fn tree(path: &Path) -> io::Result<Parts> {
    std::fs::metadata(path)?;
    Ok((Shape::Tree, Door::Tree(Tree::new(path.to_owned())), SourceKind::Dir))
}
