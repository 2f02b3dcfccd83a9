//! How much memory a decompressor needs, told from the first bytes before it is made.

use super::feed::Fault;
use super::unpack::Packing;

/// Memory for unpacking what begins with `head`.
pub fn needed(packing: Packing, head: &[u8]) -> Result<u64, Fault> {
    match packing {
        // 32 KiB of window and the tables.
        Packing::Gzip | Packing::Deflate => Ok(64 << 10),
        // 900 KiB of block, four bytes each, and the tables.
        Packing::Bzip2 => Ok(4 << 20),
        Packing::Zstd => zstd(head).ok_or(Fault::Truncated)?,
        Packing::Xz => Ok(xz(head).unwrap_or(8 << 20).saturating_add(1 << 20)),
    }
}

/// The window of a frame (RFC 8878, 3.1.1.1). None if the header is cut.
fn zstd(head: &[u8]) -> Option<Result<u64, Fault>> {
    let descriptor = *head.get(4)?;
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    if dictionary > 0 {
        return Some(Err(Fault::Unsupported("a zstd frame needs a dictionary")));
    }
    if !single {
        let byte = *head.get(5)?;
        let base = 1u64 << (10 + (byte >> 3));
        return Some(Ok(base + base / 8 * u64::from(byte & 7)));
    }
    let size = match descriptor >> 6 {
        0 => u64::from(*head.get(5)?),
        1 => u64::from(u16::from_le_bytes(*head.get(5..7)?.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*head.get(5..9)?.first_chunk()?)),
        _ => u64::from_le_bytes(*head.get(5..13)?.first_chunk()?),
    };
    Some(Ok(size))
}

/// The dictionary of the first block of a stream.
fn xz(head: &[u8]) -> Option<u64> {
    let flags = *head.get(13)?;
    let mut at = 14;
    for present in [flags & 0x40, flags & 0x80] {
        if present != 0 {
            at = after_varint(head, at)?;
        }
    }
    for _ in 0..=(flags & 3) {
        let id = *head.get(at)?;
        let props = usize::from(*head.get(at + 1)?);
        if id == 0x21 {
            return dictionary(*head.get(at + 2)? & 0x3f);
        }
        at += 2 + props;
    }
    None
}

fn dictionary(byte: u8) -> Option<u64> {
    match byte {
        0..40 => Some((2 | u64::from(byte & 1)) << (u32::from(byte) / 2 + 11)),
        40 => Some(u64::from(u32::MAX)),
        _ => None,
    }
}

fn after_varint(head: &[u8], mut at: usize) -> Option<usize> {
    while *head.get(at)? & 0x80 != 0 {
        at += 1;
    }
    Some(at + 1)
}
