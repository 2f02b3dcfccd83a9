//! A file tree as a tar, so that the process that parses needs no directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pipe::{PipeFlags, pipe_with};

const BLOCK: usize = 512;

/// Directories below each other that are entered. Deeper than any path the kernel takes.
const DEEPEST: usize = 2048;

/// What could not be read: the path in the tree, and why.
pub type Unread = Arc<Mutex<BTreeMap<PathBuf, io::ErrorKind>>>;

/// A file tree.
pub struct Tree {
    root: PathBuf,
    /// What could not be read, so far.
    pub unread: Unread,
}

impl Tree {
    /// The tree below `root`.
    pub fn new(root: PathBuf) -> Tree {
        Tree { root, unread: Arc::default() }
    }

    /// Its tar, as a stream.
    pub fn stream(&self) -> io::Result<File> {
        let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
        let (root, unread) = (self.root.clone(), self.unread.clone());
        let writer = move || {
            let mut writer = Writer { out: BufWriter::new(File::from(write)), unread };
            // An error of the pipe: nobody reads any more.
            let _ = writer.whole(&root);
        };
        std::thread::Builder::new().name("tree".to_owned()).spawn(writer)?;
        Ok(File::from(read))
    }
}

struct Writer {
    out: BufWriter<File>,
    unread: Unread,
}

impl Writer {
    fn whole(&mut self, root: &Path) -> io::Result<()> {
        if fs::symlink_metadata(root)?.is_dir() {
            self.directory(root, Path::new(""), 0)?;
        } else {
            let name = root.file_name().map(PathBuf::from).unwrap_or_default();
            self.entry(root, &name, 0)?;
        }
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }

    fn note(&self, name: &Path, error: &io::Error) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.insert(name.to_owned(), error.kind());
    }

    /// In the order of the names, so that two runs are alike.
    fn directory(&mut self, path: &Path, name: &Path, depth: usize) -> io::Result<()> {
        let read = fs::read_dir(path).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut names = match read {
            Ok(names) => names,
            Err(error) => {
                self.note(name, &error);
                return Ok(());
            }
        };
        names.sort();
        for child in names {
            self.entry(&path.join(&child), &name.join(&child), depth + 1)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &Path, depth: usize) -> io::Result<()> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.note(name, &error);
                return Ok(());
            }
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            if depth > DEEPEST {
                self.note(name, &io::ErrorKind::InvalidFilename.into());
                return Ok(());
            }
            self.header(name, b'5', 0, b"")?;
            self.directory(path, name, depth)
        } else if kind.is_symlink() {
            let target = fs::read_link(path).unwrap_or_default();
            self.header(name, b'2', 0, target.as_os_str().as_bytes())
        } else if kind.is_file() {
            self.file(path, name)
        } else {
            self.header(name, b'6', 0, b"")
        }
    }

    fn file(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        // Never through a link, and never waiting for a pipe that took the file's place.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = match opened.and_then(|file| Ok((file.metadata()?, file))) {
            Ok((metadata, file)) if metadata.is_file() => (metadata.size(), file),
            Ok(_) => return Ok(()),
            Err(error) => {
                self.note(name, &error);
                return Ok(());
            }
        };
        let (size, mut file) = file;
        self.header(name, b'0', size, b"")?;
        let mut left = size;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match file.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.note(name, &error);
                    break;
                }
            };
            self.out.write_all(&buffer[..count])?;
            left -= count as u64;
        }
        // A file that shrank while it was read.
        let zeros = left + (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        io::copy(&mut io::repeat(0).take(zeros), &mut self.out).map(drop)
    }

    /// A header, with a PAX header before it when a name is long.
    fn header(&mut self, name: &Path, flag: u8, size: u64, link: &[u8]) -> io::Result<()> {
        let name = name.as_os_str().as_bytes();
        if name.len() > 100 || link.len() > 100 {
            let mut records = record(b"path", name);
            records.extend(record(b"linkpath", link));
            self.out.write_all(&block(b"pax", b'x', records.len() as u64, b""))?;
            self.out.write_all(&records)?;
            let padding = (BLOCK - records.len() % BLOCK) % BLOCK;
            self.out.write_all(&[0; BLOCK][..padding])?;
        }
        self.out.write_all(&block(name, flag, size, link))
    }
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    if value.is_empty() {
        return Vec::new();
    }
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

fn block(name: &[u8], flag: u8, size: u64, link: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], most: usize| {
        let count = bytes.len().min(most);
        block[at..at + count].copy_from_slice(&bytes[..count]);
    };
    put(0, name, 100);
    put(100, b"0000644\0", 8);
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes(), 12);
    } else {
        put(124, &[0x80, 0, 0, 0], 4);
        put(128, &size.to_be_bytes(), 8);
    }
    put(148, b"        ", 8);
    put(156, &[flag], 1);
    put(157, link, 100);
    put(257, b"ustar\x0000", 8);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
