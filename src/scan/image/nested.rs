//! Containers in a layer's files: which one it is, and the walk through it.

mod ar;
mod cpio;
mod pyc;
mod rpm;
mod sqlite;
mod zip;

use super::feed::{Fault, Feed, Section};
use super::look::Look;
use super::spot::Spot;
use super::tar::{self, Member, MemberKind, Visit};
use super::tar_header::{BLOCK, Header};
use super::unpack::{Level, Packing, Unpack};
use crate::scan::finding::{PlaceKind, SkipReason, Via};
use crate::scan::limits::Bound;

/// What a file is, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Compressed.
    Packed(Packing),
    /// A tar.
    Tar,
    /// Of the zip family.
    Zip,
    /// A script with a zip behind it.
    Appended,
    /// `ar`: a deb, a static library.
    Ar,
    /// A cpio.
    Cpio,
    /// An rpm.
    Rpm,
    /// A database of `SQLite`.
    Sqlite,
    /// Compiled Python.
    Pyc,
    /// Known, and not opened.
    Unsupported(&'static str),
}

impl Format {
    /// What begins with `head` and is `size` bytes long. None for everything that is no container.
    pub fn of(head: &[u8], size: Option<u64>, whole: usize) -> Option<Format> {
        if let Some(packing) = Packing::of(head) {
            return Some(Format::Packed(packing));
        }
        let known = match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Format::Zip,
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Format::Ar,
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2' | b'7', ..] => Format::Cpio,
            [0xc7, 0x71, ..] | [0x71, 0xc7, ..] if cpio::is_binary(head) => Format::Cpio,
            [0xed, 0xab, 0xee, 0xdb, ..] => Format::Rpm,
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Format::Unsupported("7z"),
            [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => Format::Unsupported("rar"),
            [b'h', b's', b'q', b's', ..] => Format::Unsupported("squashfs"),
            [b'#', b'!', ..] if size.is_some_and(|size| size <= whole as u64) => Format::Appended,
            _ if head.starts_with(sqlite::MAGIC) => Format::Sqlite,
            [_, _, b'\r', b'\n', ..] if pyc::is_pyc(head) => Format::Pyc,
            _ if head.get(1080..1082) == Some(&[0x53, 0xef]) => {
                Format::Unsupported("ext file system")
            }
            _ => return is_tar(head).then_some(Format::Tar),
        };
        Some(known)
    }

    /// Whether opening it is one level deeper.
    pub fn opens(self) -> bool {
        !matches!(self, Format::Unsupported(_) | Format::Appended)
    }
}

/// Whether a tar begins here: the checksum is right, and there is a name or an extended header.
pub fn is_tar(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else { return false };
    block[0] != 0 && Header::parse(block).is_some_and(|header| header.size.is_some())
}

/// Opens a container that stands at `spot`.
pub fn open(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    format: Format,
    spot: &Spot,
    size: Option<u64>,
) -> Result<(), Fault> {
    match format {
        Format::Packed(packing) => packed(look, feed, packing, spot),
        Format::Tar => {
            let mut visit = Inner { look, spot };
            let entries = look.meter.limits.nested_entries;
            tar::walk(feed, look.meter.limits, entries, &mut visit).map(|_| ())
        }
        Format::Zip => zip::walk(look, feed, spot, size),
        Format::Appended => zip::appended(look, feed, spot),
        Format::Ar => ar::walk(look, feed, spot),
        Format::Cpio => cpio::walk(look, feed, spot),
        Format::Rpm => rpm::walk(look, feed, spot),
        Format::Sqlite => sqlite::walk(look, feed, spot, size),
        Format::Pyc => pyc::walk(look, feed, spot, size),
        Format::Unsupported(name) => Err(Fault::Unsupported(name)),
    }
}

/// The way into something compressed.
pub fn via(packing: Packing) -> Via {
    match packing {
        Packing::Gzip => Via::Gzip,
        Packing::Zstd => Via::Zstd,
        Packing::Xz => Via::Xz,
        Packing::Bzip2 => Via::Bzip2,
        Packing::Deflate => Via::Zip,
    }
}

fn packed(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    packing: Packing,
    spot: &Spot,
) -> Result<(), Fault> {
    let inner = spot.member(via(packing), None, feed.position());
    // Names and comments stand in the raw bytes, which meet the detector anyway.
    let mut aside = |_: &[u8]| {};
    let unpack = Unpack::new(feed, packing, Level::Nested, look.meter, &mut aside);
    look.inflated(unpack, &inner)
}

/// The members of a tar in a file.
struct Inner<'a, 'b> {
    look: &'a Look<'b>,
    spot: &'a Spot,
}

impl Visit for Inner<'_, '_> {
    fn member(&mut self, member: &Member, content: &mut Section<'_>) -> Result<(), Fault> {
        let inner = self.spot.member(Via::Tar, Some(&member.name), member.offset);
        self.look.name(&inner, &member.name);
        if member.kind == MemberKind::Symlink {
            self.look.name(&inner, &member.link);
        }
        if content.left() == 0 {
            return Ok(());
        }
        self.look.content(content, &inner, Some(member.size))
    }

    fn hidden(&mut self, name: &[u8], offset: u64, bytes: &[u8]) {
        let inner = self.spot.member(Via::Tar, Some(name), offset);
        self.look.value(&inner.kind(PlaceKind::Hidden), bytes);
    }

    fn partly(&mut self, name: &[u8], bound: Bound) {
        let inner = self.spot.member(Via::Tar, Some(name), 0);
        self.look.outbox.skip(&inner, SkipReason::Limit, Some(bound.text()));
    }
}
