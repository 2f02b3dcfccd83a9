//! The members of the zip family.
//!
//! What fits in memory is opened by its central directory, as every reader does; what is larger, or
//! whose directory is damaged, by its local headers as they stream by. The raw bytes meet the
//! detector in both cases, so that comments, gaps and what stands in front are covered.

use super::super::feed::{Fault, Feed, Input, Section, drain, take};
use super::super::look::{Look, ROOM};
use super::super::spot::Spot;
use super::super::unpack::{Level, Packing, Unpack};
use crate::scan::finding::{SkipReason, Via};
use crate::scan::limits::Bound;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";

/// Walks a zip that begins here.
pub fn walk(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    spot: &Spot,
    size: Option<u64>,
) -> Result<(), Fault> {
    let most = look.meter.limits.whole as u64;
    if size.is_some_and(|size| size <= most) {
        let bytes = whole(feed, look.meter.limits.whole)?;
        return match Directory::find(&bytes) {
            Some(directory) => directory.walk(look, &bytes, spot),
            None => local(look, &mut Input::new(&bytes[..], ROOM), spot),
        };
    }
    look.outbox.skip(spot, SkipReason::Partly, None);
    local(look, feed, spot)
}

/// A zip behind a script, if there is one.
pub fn appended(look: &Look<'_>, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
    let bytes = whole(feed, look.meter.limits.whole)?;
    match Directory::find(&bytes) {
        Some(directory) if spot.depth < look.meter.limits.depth => {
            directory.walk(look, &bytes, spot)
        }
        _ => Ok(()),
    }
}

/// The bytes of what can only be read whole; `None`, and noted, where it is too large for that.
pub(super) fn whole_or_partly(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    spot: &Spot,
    size: Option<u64>,
) -> Result<Option<Vec<u8>>, Fault> {
    let most = look.meter.limits.whole;
    if size.is_none_or(|size| size > most as u64) {
        look.outbox.skip(spot, SkipReason::Partly, None);
        return Ok(None);
    }
    whole(feed, most).map(Some)
}

fn whole(feed: &mut dyn Feed, most: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    loop {
        let shown = feed.peek(1)?;
        if shown.is_empty() || bytes.len() >= most {
            return Ok(bytes);
        }
        let count = shown.len().min(most - bytes.len());
        bytes.extend_from_slice(&shown[..count]);
        feed.consume(count);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from(u16::from_le_bytes(*bytes)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes)))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a header says of a member.
struct Entry {
    flags: u64,
    method: u64,
    packed: u64,
    name: Vec<u8>,
}

impl Entry {
    fn encrypted(&self) -> bool {
        self.flags & 1 != 0
    }

    /// The size stands behind the content.
    fn streamed(&self) -> bool {
        self.flags & 8 != 0
    }
}

/// The central directory of a zip that is in memory.
struct Directory {
    at: usize,
    count: u64,
    /// Bytes in front of the zip that its offsets don't know of.
    shift: usize,
}

impl Directory {
    fn find(bytes: &[u8]) -> Option<Directory> {
        let from = bytes.len().saturating_sub(22 + 0xffff);
        let end = bytes[from..].windows(4).rposition(|four| four == END)? + from;
        let count = u16_at(bytes, end + 10)?;
        let (size, offset) = (index(u32_at(bytes, end + 12)?), index(u32_at(bytes, end + 16)?));
        let at = end.checked_sub(size).filter(|at| *at >= offset)?;
        bytes.get(at..)?.starts_with(CENTRAL).then(|| Directory { at, count, shift: at - offset })
    }

    fn walk(&self, look: &Look<'_>, bytes: &[u8], spot: &Spot) -> Result<(), Fault> {
        let mut at = self.at;
        // Members that share bytes are how a small zip unpacks to petabytes.
        let mut left = bytes.len() as u64;
        for _ in 0..self.count.min(u64::from(look.meter.limits.nested_entries)) {
            let (entry, local, next) = self.entry(bytes, at).ok_or(Fault::Corrupt(DAMAGED))?;
            at = next;
            left = left.checked_sub(entry.packed).ok_or(Fault::Limit(Bound::Ratio))?;
            Directory::member(look, bytes, &entry, local, spot)?;
        }
        if self.count > u64::from(look.meter.limits.nested_entries) {
            return Err(Fault::Limit(Bound::Entries));
        }
        Ok(())
    }

    /// The entry at `at`, where its local header is, and where the next entry is.
    fn entry(&self, bytes: &[u8], at: usize) -> Option<(Entry, usize, usize)> {
        let head = bytes.get(at..)?;
        if !head.starts_with(CENTRAL) {
            return None;
        }
        let (name, extra, comment) =
            (index(u16_at(head, 28)?), index(u16_at(head, 30)?), index(u16_at(head, 32)?));
        let entry = Entry {
            flags: u16_at(head, 8)?,
            method: u16_at(head, 10)?,
            packed: u32_at(head, 20)?,
            name: head.get(46..46 + name)?.to_vec(),
        };
        let local = index(u32_at(head, 42)?).checked_add(self.shift)?;
        Some((entry, local, at + 46 + name + extra + comment))
    }

    fn member(
        look: &Look<'_>,
        bytes: &[u8],
        entry: &Entry,
        local: usize,
        spot: &Spot,
    ) -> Result<(), Fault> {
        let inner = spot.member(Via::Zip, Some(&entry.name), local as u64);
        look.name(&inner, &entry.name);
        let content = bytes.get(local..).filter(|head| head.starts_with(LOCAL)).and_then(|head| {
            let start = 30 + index(u16_at(head, 26)?) + index(u16_at(head, 28)?);
            let rest = head.get(start..)?;
            rest.get(..index(entry.packed).min(rest.len()))
        });
        let Some(content) = content else {
            look.outbox.skip(&inner, SkipReason::NestedCorrupt, None);
            return Ok(());
        };
        if entry.encrypted() {
            look.outbox.skip(&inner, SkipReason::EncryptedMember, None);
            return Ok(());
        }
        let feed = &mut Input::new(content, ROOM);
        unpacked(look, feed, entry, &inner, Some(entry.packed))
    }
}

const DAMAGED: &str = "a zip header is damaged";

/// The members as they stream by.
fn local(look: &Look<'_>, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
    for _ in 0..look.meter.limits.nested_entries {
        let offset = feed.position();
        if !feed.peek(4)?.starts_with(LOCAL) {
            // The central directory, or something that nobody knows: raw bytes.
            return Ok(());
        }
        let entry = local_entry(feed, look.meter.limits.header_bytes)?;
        let inner = spot.member(Via::Zip, Some(&entry.name), offset);
        look.name(&inner, &entry.name);
        if entry.encrypted() {
            look.outbox.skip(&inner, SkipReason::EncryptedMember, None);
            if entry.streamed() && entry.packed == 0 {
                return Ok(());
            }
            drain(&mut Section::new(feed, entry.packed))?;
        } else if entry.streamed() && entry.packed == 0 {
            if entry.method != 8 {
                return Err(Fault::Corrupt("a zip member has no size"));
            }
            unpacked(look, feed, &entry, &inner, None)?;
        } else {
            let mut content = Section::new(feed, entry.packed);
            unpacked(look, &mut content, &entry, &inner, Some(entry.packed))?;
            drain(&mut content)?;
        }
        if entry.streamed() {
            pass_descriptor(feed)?;
        }
    }
    Err(Fault::Limit(Bound::Entries))
}

fn local_entry(feed: &mut dyn Feed, most: usize) -> Result<Entry, Fault> {
    let head = take(feed, 30)?;
    let field = |value: Option<u64>| value.ok_or(Fault::Corrupt(DAMAGED));
    let (flags, method) = (field(u16_at(&head, 6))?, field(u16_at(&head, 8))?);
    let mut packed = field(u32_at(&head, 18))?;
    let (name, extra) = (index(field(u16_at(&head, 26))?), index(field(u16_at(&head, 28))?));
    if name + extra > most {
        return Err(Fault::Limit(Bound::HeaderBytes));
    }
    let name = take(feed, name)?;
    let extra = take(feed, extra)?;
    if packed == u64::from(u32::MAX) {
        packed = zip64(&extra).ok_or(Fault::Corrupt(DAMAGED))?;
    }
    Ok(Entry { flags, method, packed, name })
}

/// The packed size in the extra field of a large member.
fn zip64(mut extra: &[u8]) -> Option<u64> {
    loop {
        let (id, size) = (u16_at(extra, 0)?, index(u16_at(extra, 2)?));
        if id == 1 {
            return u64_at(extra, 12).or_else(|| u64_at(extra, 4));
        }
        extra = extra.get(4 + size..)?;
    }
}

/// What stands behind a member whose size was not known before.
fn pass_descriptor(feed: &mut dyn Feed) -> Result<(), Fault> {
    let head = feed.peek(28)?;
    let start = if head.starts_with(DESCRIPTOR) { 4 } else { 0 };
    // Sizes of 4 or 8 bytes: the next header tells.
    let next = |at: usize| {
        head.get(at..).is_some_and(|rest| rest.starts_with(LOCAL) || rest.starts_with(CENTRAL))
    };
    let count = [12, 20].into_iter().map(|size| start + size).find(|at| next(*at));
    feed.consume(count.unwrap_or(0));
    Ok(())
}

fn unpacked(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    entry: &Entry,
    inner: &Spot,
    size: Option<u64>,
) -> Result<(), Fault> {
    let packing = match entry.method {
        0 => return look.content(feed, inner, size),
        8 => Packing::Deflate,
        12 => Packing::Bzip2,
        93 => Packing::Zstd,
        95 => Packing::Xz,
        _ => {
            let detail = Some(format!("zip method {}", entry.method));
            look.outbox.skip(inner, SkipReason::UnsupportedFormat, detail);
            return Ok(());
        }
    };
    let mut aside = |_: &[u8]| {};
    let unpack = Unpack::new(feed, packing, Level::Nested, look.meter, &mut aside);
    match look.inflated(unpack, inner) {
        // A damaged member of a whole zip takes no other with it.
        Err(Fault::Corrupt(_) | Fault::Truncated) if size.is_some() => {
            look.outbox.skip(inner, SkipReason::NestedCorrupt, None);
            Ok(())
        }
        result => result,
    }
}
