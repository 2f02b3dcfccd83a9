//! The members of a cpio archive, with headers in ASCII (the payload of an rpm, an initramfs) or the
//! old binary ones.

use crate::scan::finding::Via;
use crate::scan::image::feed::{Fault, Feed, Section, drain, take};
use crate::scan::image::look::Look;
use crate::scan::image::spot::Spot;
use crate::scan::limits::Bound;

/// Walks from the first header to the trailer.
pub fn walk(look: &Look<'_>, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
    for _ in 0..look.meter.limits.nested_entries {
        let offset = feed.position();
        let head = read_header(feed)?;
        let name_size = usize::try_from(head.name_size).unwrap_or(usize::MAX);
        if name_size > look.meter.limits.header_bytes {
            return Err(Fault::Limit(Bound::HeaderBytes));
        }
        let mut name = take(feed, name_size)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        align(feed, head.align)?;
        if name == b"TRAILER!!!" {
            return Ok(());
        }
        let inner = spot.member(Via::Cpio, Some(&name), offset);
        look.name(&inner, &name);
        let mut content = Section::new(feed, head.size);
        if head.size > 0 {
            look.content(&mut content, &inner, Some(head.size))?;
        }
        drain(&mut content)?;
        align(feed, head.align)?;
    }
    Err(Fault::Limit(Bound::Entries))
}

struct Head {
    size: u64,
    name_size: u64,
    align: u64,
}

/// The length of a binary header.
const BINARY: usize = 26;

/// A number of a binary header, in whichever order of bytes it is.
fn unit(header: &[u8], index: usize) -> Option<u16> {
    let read = match header {
        [0xc7, 0x71, ..] => u16::from_le_bytes,
        [0x71, 0xc7, ..] => u16::from_be_bytes,
        _ => return None,
    };
    header.get(2 * index..)?.first_chunk().map(|pair| read(*pair))
}

/// Whether an old binary header begins here: a kind of file that there is, and a name that ends.
pub fn is_binary(head: &[u8]) -> bool {
    let kind = unit(head, 3).map(|mode| mode >> 12);
    let name = unit(head, 10).map_or(0, usize::from);
    matches!(kind, Some(1 | 2 | 4 | 6 | 8 | 10 | 12))
        && (2..1024).contains(&name)
        && head.get(BINARY + name - 1) == Some(&0)
}

fn binary(head: &[u8]) -> Option<Head> {
    let unit = |index| unit(head, index).map(u64::from);
    Some(Head { size: unit(11)? << 16 | unit(12)?, name_size: unit(10)?, align: 2 })
}

fn read_header(feed: &mut dyn Feed) -> Result<Head, Fault> {
    let magic = take(feed, 6)?;
    if matches!(magic[..2], [0xc7, 0x71] | [0x71, 0xc7]) {
        let head = [magic, take(feed, BINARY - 6)?].concat();
        return binary(&head).ok_or(Fault::Corrupt("a cpio header is damaged"));
    }
    let field = |bytes: &[u8], radix| {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(|text| u64::from_str_radix(text, radix).ok())
            .ok_or(Fault::Corrupt("a cpio header is damaged"))
    };
    match &magic[..] {
        b"070701" | b"070702" => {
            let rest = take(feed, 104)?;
            let (size, name_size) = (field(&rest[48..56], 16)?, field(&rest[88..96], 16)?);
            Ok(Head { size, name_size, align: 4 })
        }
        b"070707" => {
            let rest = take(feed, 70)?;
            let (name_size, size) = (field(&rest[53..59], 8)?, field(&rest[59..70], 8)?);
            Ok(Head { size, name_size, align: 1 })
        }
        _ => Err(Fault::Corrupt("a cpio header is damaged")),
    }
}

fn align(feed: &mut dyn Feed, to: u64) -> Result<(), Fault> {
    let over = feed.position() % to;
    if over > 0 {
        drain(&mut Section::new(feed, to - over))?;
    }
    Ok(())
}
