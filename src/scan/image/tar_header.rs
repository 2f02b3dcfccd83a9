//! One header block of a tar, and the records of an extended header.

use super::feed::{Fault, Feed};
use super::tar::MemberKind;

/// A tar is made of blocks of this size.
pub const BLOCK: usize = 512;

/// Blocks of a sparse map that are followed: 21 holes each.
const SPARSE_BLOCKS: u64 = 1 << 16;

/// Whether there is nothing but zeros.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A header block whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    block: &'a [u8; BLOCK],
    /// What the member is, as written.
    pub flag: u8,
    /// Bytes of content. None if what is written is no number, or a negative one.
    pub size: Option<u64>,
}

impl<'a> Header<'a> {
    /// None if the checksum is wrong.
    pub fn parse(block: &'a [u8; BLOCK]) -> Option<Header<'a>> {
        let written = octal(&block[148..156])?;
        let spaces = 8 * u64::from(b' ');
        let unsigned: u64 = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() + spaces
            - block[148..156].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        // Old Sun tars sum signed bytes.
        let high = block[..148].iter().chain(&block[156..]).filter(|byte| **byte > 127).count();
        let signed = unsigned.checked_sub(256 * high as u64);
        let right = written == unsigned || Some(written) == signed;
        right.then(|| Header { block, flag: block[156], size: number(&block[124..136]) })
    }

    fn is_gnu(self) -> bool {
        self.block[257..265] == *b"ustar  \0"
    }

    fn is_posix(self) -> bool {
        self.block[257..263] == *b"ustar\0"
    }

    /// The name, joined with the prefix of a POSIX header.
    pub fn name(self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = text(&self.block[345..500]);
        if !self.is_posix() || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, name].join(&b'/')
    }

    /// Where a link points to.
    pub fn link(self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    /// What a member called `name` is.
    pub fn kind(self, name: &[u8]) -> MemberKind {
        match self.flag {
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'3' | b'4' | b'6' => MemberKind::Special,
            b'5' => MemberKind::Directory,
            // Before POSIX a directory was a file whose name ends with a slash.
            0 | b'0' if name.ends_with(b"/") => MemberKind::Directory,
            _ => MemberKind::File,
        }
    }

    /// The parts of the block that say nothing in an ordinary header, when they say something.
    pub fn gap(self, block: &[u8; BLOCK]) -> Option<Vec<u8>> {
        let owners = [&block[265..297], &block[297..329]];
        let plain = owners.iter().all(|owner| is_zero(owner) || **owner == root());
        let is_link = matches!(self.flag, b'1' | b'2' | b'K');
        let link = if is_link { after_nul(&block[157..257]) } else { &block[157..257] };
        let rest = if self.is_posix() { &block[500..] } else { &block[345..] };
        let name = after_nul(&block[..100]);
        if plain && is_zero(link) && is_zero(rest) && is_zero(name) {
            return None;
        }
        let parts = [name, link, owners[0], owners[1], rest];
        let parts: Vec<&[u8]> = parts.iter().map(|part| trim(part)).collect();
        Some(parts.join(&b'\n'))
    }

    /// How many blocks with the map of an old GNU sparse file follow.
    pub fn sparse_blocks(self, feed: &mut dyn Feed) -> Result<u64, Fault> {
        if self.flag != b'S' || !self.is_gnu() || self.block[482] == 0 {
            return Ok(0);
        }
        let mut count = 1;
        while count < SPARSE_BLOCKS {
            let end = usize::try_from(count).unwrap_or(usize::MAX) * BLOCK;
            let shown = feed.peek(end)?;
            match shown.get(end - BLOCK + 504) {
                Some(0) => return Ok(count),
                Some(_) => count += 1,
                // Longer than what can be seen ahead.
                None => break,
            }
        }
        Err(Fault::Corrupt("a sparse map does not end"))
    }
}

fn root() -> [u8; 32] {
    let mut name = [0; 32];
    name[..4].copy_from_slice(b"root");
    name
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn after_nul(field: &[u8]) -> &[u8] {
    &field[text(field).len()..]
}

fn trim(field: &[u8]) -> &[u8] {
    let start = field.iter().position(|byte| *byte != 0).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| *byte != 0).map_or(start, |last| last + 1);
    &field[start..end]
}

/// A number, in octal or (first bit set) in base 256. None if negative or no number.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    if first & 0x40 != 0 {
        return None;
    }
    rest.iter().try_fold(u64::from(first & 0x3f), |sum, byte| {
        sum.checked_mul(256)?.checked_add(u64::from(*byte))
    })
}

fn octal(field: &[u8]) -> Option<u64> {
    let field = text(field);
    let field = field.trim_ascii();
    field.iter().try_fold(0u64, |sum, byte| match byte {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// What the records of a PAX header say about a member.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Its name.
    pub path: Option<Vec<u8>>,
    /// Where a link points to.
    pub link: Option<Vec<u8>>,
    /// Bytes of content.
    pub size: Option<u64>,
}

impl Records {
    /// Reads `LENGTH KEY=VALUE\n` records as far as they are well-formed.
    pub fn parse(&mut self, mut bytes: &[u8]) {
        let mut sparse = None;
        while let Some((record, rest)) = split_record(bytes) {
            bytes = rest;
            let Some(equals) = record.iter().position(|byte| *byte == b'=') else { return };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = (!value.is_empty()).then(|| value.to_vec()),
                b"linkpath" => self.link = (!value.is_empty()).then(|| value.to_vec()),
                b"size" => self.size = decimal(value),
                b"GNU.sparse.name" => sparse = Some(value.to_vec()),
                _ => {}
            }
        }
        if sparse.is_some() {
            self.path = sparse;
        }
    }
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?;
    Some((record.strip_suffix(b"\n")?, &bytes[length..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}
