//! Where the documents and blobs of an image are, and how one is opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::feed::{Fault, Feed, Section};
use super::path::{normal, target};
use super::tar::{self, Member, MemberKind, Visit};
use crate::scan::limits::{Bound, Limits};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The document that everything begins with: an index or a manifest.
    Root,
    /// An index or manifest, by its digest.
    Manifest(String),
    /// Any other blob, by its digest.
    Blob(String),
    /// A member of an archive, by its path.
    Member(String),
}

impl Name {
    /// Where an OCI layout keeps it.
    pub fn path(&self) -> String {
        match self {
            Name::Root => "index.json".to_owned(),
            Name::Manifest(digest) | Name::Blob(digest) => {
                format!("blobs/{}", digest.replacen(':', "/", 1))
            }
            Name::Member(path) => path.clone(),
        }
    }

    /// The digest that the bytes have to have.
    pub fn digest(&self) -> Option<&str> {
        match self {
            Name::Manifest(digest) | Name::Blob(digest) => Some(digest),
            Name::Root | Name::Member(_) => None,
        }
    }
}

/// Something opened: a part of a file that can be read anywhere, or bytes that come in order.
pub struct Opened {
    file: Arc<File>,
    /// The next byte, where the file can be read anywhere.
    at: Option<u64>,
    left: u64,
    /// How many bytes there are, if that is known.
    pub size: Option<u64>,
}

impl Opened {
    /// A part of a file.
    pub fn part(file: Arc<File>, at: u64, size: u64) -> Opened {
        Opened { file, at: Some(at), left: size, size: Some(size) }
    }

    /// The file itself.
    pub fn into_file(self) -> Arc<File> {
        self.file
    }

    /// Bytes in order, to their end.
    pub fn stream(file: File, size: Option<u64>) -> Opened {
        Opened { file: Arc::new(file), at: None, left: u64::MAX, size }
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..most];
        let count = match &mut self.at {
            Some(at) => {
                let count = self.file.read_at(buffer, *at)?;
                *at += count as u64;
                count
            }
            None => self.file.as_ref().read(buffer)?,
        };
        self.left -= count as u64;
        Ok(count)
    }
}

/// Opens what somebody else has: a directory, a registry.
pub type Ask<'a> = &'a (dyn Fn(&Name) -> Result<Opened, Fault> + Sync);

/// Where the documents and blobs of an image are.
pub enum Store<'a> {
    /// In a tar that can be read anywhere.
    Archive(Archive),
    /// Somewhere else.
    Asked(Ask<'a>),
    /// In a stream that has passed; only the documents were kept.
    Kept(Kept),
}

/// What was kept of a stream.
#[derive(Debug, Default)]
pub struct Kept {
    /// Documents by their path.
    pub documents: BTreeMap<String, Vec<u8>>,
    /// Links: where, and where to.
    pub links: BTreeMap<String, String>,
}

impl Store<'_> {
    /// Opens a document or blob. None if it is not there.
    pub fn open(&self, name: &Name) -> Result<Option<Opened>, Fault> {
        match self {
            Store::Archive(archive) => Ok(archive.open(&name.path())),
            Store::Asked(ask) => match ask(name) {
                Err(Fault::Io(io::ErrorKind::NotFound)) => Ok(None),
                opened => opened.map(Some),
            },
            Store::Kept(_) => Ok(None),
        }
    }

    /// The path that a path really is, so that two names of one blob are one.
    pub fn real(&self, path: &str) -> String {
        match self {
            Store::Archive(archive) => archive.real(path),
            Store::Asked(_) => path.to_owned(),
            Store::Kept(kept) => {
                let mut path = String::from_utf8_lossy(&normal(path.as_bytes())).into_owned();
                for _ in 0..MOST_LINKS {
                    match kept.links.get(&path) {
                        Some(next) => path.clone_from(next),
                        None => break,
                    }
                }
                path
            }
        }
    }

    /// A whole document. None if it is not there.
    pub fn document(&self, name: &Name, most: usize) -> Result<Option<Vec<u8>>, Fault> {
        if let Store::Kept(kept) = self {
            return Ok(kept.documents.get(&self.real(&name.path())).cloned());
        }
        let Some(mut opened) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        opened.by_ref().take(most as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > most {
            return Err(Fault::Limit(Bound::DocumentBytes));
        }
        if opened.at.is_some() && opened.left > 0 {
            return Err(Fault::Truncated);
        }
        Ok(Some(bytes))
    }
}

/// The members of a tar that can be read anywhere.
pub struct Archive {
    file: Arc<File>,
    members: BTreeMap<Vec<u8>, (u64, u64)>,
    links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Why the list may not be whole.
    pub fault: Option<Fault>,
}

/// Links to links that are followed: as many as Linux does.
const MOST_LINKS: usize = 40;

impl Archive {
    /// Lists the members, passing over their content.
    pub fn list(file: Arc<File>, limits: &Limits) -> io::Result<Archive> {
        // `fstat` and not what `metadata` calls, which a locked-in process may not.
        let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        let mut archive = Archive {
            file: file.clone(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            fault: None,
        };
        let mut feed = Seek { file, at: 0, size, buffer: vec![0; 4096], start: 0, end: 0 };
        let mut list = Listed(&mut archive);
        let walked = tar::walk(&mut feed, limits, limits.nested_entries, &mut list);
        archive.fault = walked.err();
        Ok(archive)
    }

    /// Where a member is, links followed.
    fn find(&self, path: &str) -> Option<(u64, u64)> {
        let mut path = normal(path.as_bytes());
        for _ in 0..MOST_LINKS {
            if let Some(found) = self.members.get(&path) {
                return Some(*found);
            }
            path = self.links.get(&path)?.clone();
        }
        None
    }

    fn open(&self, path: &str) -> Option<Opened> {
        let (at, size) = self.find(path)?;
        Some(Opened::part(self.file.clone(), at, size))
    }

    /// How many bytes a member has.
    pub fn size(&self, path: &str) -> Option<u64> {
        self.find(path).map(|(_, size)| size)
    }

    /// Whether a member is there.
    pub fn has(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// The path that a path really is, so that two names of one blob are one.
    pub fn real(&self, path: &str) -> String {
        let mut path = normal(path.as_bytes());
        for _ in 0..MOST_LINKS {
            match self.links.get(&path) {
                Some(next) if !self.members.contains_key(&path) => path.clone_from(next),
                _ => break,
            }
        }
        String::from_utf8_lossy(&path).into_owned()
    }
}

struct Listed<'a>(&'a mut Archive);

impl Visit for Listed<'_> {
    fn member(&mut self, member: &Member, content: &mut Section<'_>) -> Result<(), Fault> {
        let path = normal(&member.name);
        if member.beyond {
            return Ok(());
        }
        match member.kind {
            MemberKind::File => {
                self.0.links.remove(&path);
                self.0.members.insert(path, (content.origin(), member.size));
            }
            MemberKind::Symlink => {
                let to = target(&path, &member.link);
                self.0.members.remove(&path);
                self.0.links.insert(path, to);
            }
            MemberKind::Hardlink => {
                self.0.members.remove(&path);
                self.0.links.insert(path, normal(&member.link));
            }
            MemberKind::Directory | MemberKind::Special => {}
        }
        Ok(())
    }

    fn hidden(&mut self, _: &[u8], _: u64, _: &[u8]) {}

    fn partly(&mut self, _: &[u8], _: Bound) {}
}

/// A file as a feed that passes over bytes without reading them.
struct Seek {
    file: Arc<File>,
    /// Where the buffer begins.
    at: u64,
    size: u64,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Feed for Seek {
    fn peek(&mut self, want: usize) -> Result<&[u8], Fault> {
        if self.end - self.start < want {
            self.at += self.start as u64;
            (self.start, self.end) = (0, 0);
            if self.buffer.len() < want {
                self.buffer.resize(want, 0);
            }
            while self.end < want {
                match self.file.read_at(&mut self.buffer[self.end..], self.at + self.end as u64)? {
                    0 => break,
                    count => self.end += count,
                }
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }

    fn position(&self) -> u64 {
        self.at + self.start as u64
    }

    fn pass(&mut self, count: u64) -> Result<(), Fault> {
        let to = self.position().checked_add(count).ok_or(Fault::Truncated)?;
        self.at = to.min(self.size);
        (self.start, self.end) = (0, 0);
        if to > self.size { Err(Fault::Truncated) } else { Ok(()) }
    }
}
