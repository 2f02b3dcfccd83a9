//! Where in a blob the pass stands.

use crate::scan::finding::{Inside, PlaceKind, Via};

/// A file in a layer, or a member of a container in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// What kind of place.
    pub kind: PlaceKind,
    /// The file in the layer, normal.
    pub path: Option<Vec<u8>>,
    /// The member of the layer's tar.
    pub ordinal: u32,
    /// Nested members, outermost first.
    pub inside: Vec<Inside>,
    /// The innermost name, which tells what the content may be.
    pub name: Vec<u8>,
    /// Containers that are open around it.
    pub depth: u32,
    /// The instruction that set it, for a value of a config.
    pub instruction: Option<String>,
}

impl Spot {
    /// A file of the layer.
    pub fn file(path: Vec<u8>, ordinal: u32) -> Spot {
        Spot {
            kind: PlaceKind::File,
            name: path.clone(),
            path: Some(path),
            ordinal,
            inside: Vec::new(),
            depth: 0,
            instruction: None,
        }
    }

    /// The same place, as another kind.
    #[must_use]
    pub fn kind(&self, kind: PlaceKind) -> Spot {
        Spot { kind, ..self.clone() }
    }

    /// A member of the container that stands here.
    #[must_use]
    pub fn member(&self, via: Via, name: Option<&[u8]>, offset: u64) -> Spot {
        let mut inner = self.clone();
        inner.inside.push(Inside { via, name: name.map(<[u8]>::to_vec), offset });
        inner.depth += 1;
        match name {
            Some(name) => inner.name = name.to_vec(),
            None => inner.name = without_suffix(&self.name).to_vec(),
        }
        inner
    }

    /// Bytes of the container's own: a comment, a header.
    #[must_use]
    pub fn part(&self, via: Via, offset: u64) -> Spot {
        let mut part = self.clone();
        part.inside.push(Inside { via, name: None, offset });
        part
    }
}

/// `notes.txt.gz` holds `notes.txt`, `app.tgz` holds a tar.
fn without_suffix(name: &[u8]) -> &[u8] {
    const SUFFIXES: &[&[u8]] = &[b".gz", b".zst", b".xz", b".bz2", b".tgz", b".txz"];
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)).unwrap_or(name)
}
