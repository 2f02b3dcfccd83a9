//! The pass over one blob: unpack, walk the tar, look at every member and at every byte beside.

use std::cell::Cell;
use std::io::Read;

use ring::digest;

use super::ahead;
use super::feed::{Fault, Feed, Input, Section};
use super::index::Index;
use super::look::Look;
use super::nested::is_tar;
use super::outbox::Counts;
use super::path::normal;
use super::plan::hex;
use super::spot::Spot;
use super::tar::{self, Member, MemberKind, Visit};
use super::unpack::{Level, Packing, Unpack};
use crate::scan::finding::{PlaceKind, SkipReason};
use crate::scan::limits::Bound;

/// Room for the blob as it is stored.
const PACKED: usize = 64 << 10;

/// Room for the tar in it: what one step of the detector sees.
const PLAIN: usize = 128 << 10;

/// What the blob is meant to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The digest of the stored bytes.
    pub digest: Option<String>,
    /// How many stored bytes there are.
    pub size: Option<u64>,
    /// The digest of the unpacked bytes; it is checked where they are the stored ones.
    pub diff_id: Option<String>,
    /// A tar, or anything.
    pub role: Role,
}

/// What a blob is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A layer: its tar is walked.
    #[default]
    Layer,
    /// A blob of an artifact: a tar is walked, anything else is read as it is.
    Blob,
    /// A document about the build.
    Attestation,
}

/// What came of a blob, besides its hits and skips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Digest of the stored bytes.
    pub digest: String,
    /// Stored bytes.
    pub size: u64,
    /// Unpacked bytes.
    pub unpacked: u64,
    /// It is a tar, unpacked.
    pub tar: bool,
    /// What was read.
    pub counts: Counts,
    /// Why it was not read to its end, or is not what it should be.
    pub faults: Vec<(SkipReason, Option<String>)>,
    /// What it has at which path.
    pub index: Index,
}

/// Reads a blob to its end.
pub fn pass(look: &Look<'_>, reader: impl Read, expected: &Expected) -> Passage {
    pass_by(look, reader, expected, |look, stored, packing, expected, passage| {
        unpacked(look, stored, packing, expected, passage)
    })
}

/// The same, with a second thread that unpacks ahead. None where it has to be read without.
pub fn pass_ahead(
    look: &Look<'_>,
    reader: impl Read + Send,
    expected: &Expected,
) -> Option<Passage> {
    let whole = Cell::new(true);
    let passage = pass_by(look, reader, expected, |look, stored, packing, expected, passage| {
        let (result, over) = unpacked_ahead(look, stored, packing, expected, passage);
        // What is left of a broken tar is shown in pieces as they come, which are others here.
        whole.set(over && result.is_ok());
        result
    });
    whole.get().then_some(passage)
}

fn pass_by<R: Read>(
    look: &Look<'_>,
    reader: R,
    expected: &Expected,
    unpacked: impl Fn(
        &Look<'_>,
        &mut Input<&mut Hashed<R>>,
        Packing,
        &Expected,
        &mut Passage,
    ) -> Result<(), Fault>,
) -> Passage {
    let mut hashed = Hashed { reader, context: digest::Context::new(&digest::SHA256), size: 0 };
    let mut passage = Passage::default();
    let read = {
        let mut stored = Input::new(&mut hashed, PACKED);
        let read = layers(look, &mut stored, expected, &mut passage, unpacked);
        let stopped = matches!(read, Err(Fault::Timeout | Fault::Limit(_)));
        if stopped { read } else { super::feed::drain(&mut stored).and(read) }
    };
    passage.digest = hashed.digest();
    passage.size = hashed.size;
    passage.counts = look.outbox.counts();
    passage.index.finish();
    let whole = match read {
        Ok(()) => true,
        Err(fault) => {
            passage.faults.push(told(&fault));
            !matches!(fault, Fault::Timeout | Fault::Limit(_) | Fault::Io(_))
        }
    };
    if whole {
        compare(&mut passage, expected);
    }
    passage
}

/// Whether the bytes are those that were promised.
fn compare(passage: &mut Passage, expected: &Expected) {
    let other_digest = expected.digest.as_ref().is_some_and(|digest| *digest != passage.digest);
    let other_size = expected.size.is_some_and(|size| size != passage.size);
    let plain = passage.unpacked == passage.size;
    let other_diff = plain
        && expected.digest.is_none()
        && expected.diff_id.as_ref().is_some_and(|diff_id| *diff_id != passage.digest);
    let detail = match (other_size, other_digest, other_diff) {
        (true, ..) => format!("{} bytes instead of the promised number", passage.size),
        (_, true, _) => format!("the bytes have the digest {}", passage.digest),
        (_, _, true) => format!("the bytes have the diff_id {}", passage.digest),
        _ => return,
    };
    passage.faults.push((SkipReason::DigestMismatch, Some(detail)));
}

fn told(fault: &Fault) -> (SkipReason, Option<String>) {
    let reason = match fault {
        Fault::Truncated => SkipReason::LayerTruncated,
        Fault::Corrupt(_) => SkipReason::LayerUnreadable,
        Fault::Unsupported(_) => SkipReason::UnknownLayerCompression,
        Fault::Io(_) => SkipReason::Io,
        Fault::Limit(_) => SkipReason::Limit,
        Fault::Timeout => SkipReason::Timeout,
    };
    (reason, Some(fault.to_string()))
}

fn layers<F: Feed>(
    look: &Look<'_>,
    stored: &mut F,
    expected: &Expected,
    passage: &mut Passage,
    unpacked: impl Fn(&Look<'_>, &mut F, Packing, &Expected, &mut Passage) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Some(packing) = Packing::of(stored.peek(64)?) else {
        return plain(look, stored, expected, passage);
    };
    let result = unpacked(look, stored, packing, expected, passage);
    if matches!(result, Err(Fault::Timeout | Fault::Limit(_))) {
        return result;
    }
    // What follows the compressed bytes, or could not be decompressed.
    let rest = rest(look, stored, &beside());
    result.and(rest)
}

/// Where the bytes beside the layer's plain ones stand.
fn beside() -> Spot {
    Spot { kind: PlaceKind::Hidden, path: None, ..Spot::file(Vec::new(), 0) }
}

fn unpacked(
    look: &Look<'_>,
    stored: &mut impl Feed,
    packing: Packing,
    expected: &Expected,
    passage: &mut Passage,
) -> Result<(), Fault> {
    let spot = beside();
    let mut aside = |bytes: &[u8]| look.value(&spot, bytes);
    let unpack = Unpack::new(stored, packing, Level::Layer, look.meter, &mut aside);
    plain(look, &mut Input::new(unpack, PLAIN), expected, passage)
}

/// The same on two threads, for gzip: its window is always the same, and no other packing is so slow to unpack.
/// And whether all was read.
fn unpacked_ahead(
    look: &Look<'_>,
    stored: &mut (impl Feed + Send),
    packing: Packing,
    expected: &Expected,
    passage: &mut Passage,
) -> (Result<(), Fault>, bool) {
    if packing != Packing::Gzip {
        return (unpacked(look, stored, packing, expected, passage), true);
    }
    let spot = beside();
    let mut aside = |bytes: &[u8]| look.value(&spot, bytes);
    let meter = look.meter.beside();
    ahead::unpack(stored, packing, meter, &mut aside, |pieces| {
        look.meter
            .holding(packing, || plain(look, &mut Input::new(pieces, PLAIN), expected, passage))
    })
}

fn rest(look: &Look<'_>, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
    if feed.peek(1)?.is_empty() { Ok(()) } else { look.content(feed, spot, None) }
}

fn plain(
    look: &Look<'_>,
    feed: &mut dyn Feed,
    expected: &Expected,
    passage: &mut Passage,
) -> Result<(), Fault> {
    let head = feed.peek(1024)?;
    let zero = head.iter().all(|byte| *byte == 0);
    let result = if expected.role == Role::Layer && (is_tar(head) || zero) {
        passage.tar = true;
        walk(look, feed, passage)
    } else {
        let kind = match expected.role {
            Role::Attestation => PlaceKind::Attestation,
            Role::Blob | Role::Layer => PlaceKind::File,
        };
        let spot = Spot { kind, path: None, ..Spot::file(Vec::new(), 0) };
        look.content(feed, &spot, None)
    };
    passage.unpacked = feed.position();
    result
}

fn walk(look: &Look<'_>, feed: &mut dyn Feed, passage: &mut Passage) -> Result<(), Fault> {
    let limits = look.meter.limits;
    let mut visit = Members { look, index: &mut passage.index, bound: None };
    let walked = tar::walk(feed, limits, limits.entries, &mut visit);
    let bound = visit.bound;
    let walked = walked?;
    if let Some(bound) = bound {
        return Err(Fault::Limit(bound));
    }
    // A tar that stops right after a member is whole for every reader; one that has no end at all
    // and is no multiple of blocks was cut, which the walk has said.
    let _ = walked.ended;
    Ok(())
}

/// The members of the layer's tar.
struct Members<'a, 'b> {
    look: &'a Look<'b>,
    index: &'a mut Index,
    bound: Option<Bound>,
}

impl Visit for Members<'_, '_> {
    fn member(&mut self, member: &Member, content: &mut Section<'_>) -> Result<(), Fault> {
        let path = normal(&member.name);
        let mut spot = Spot::file(path, member.ordinal);
        if member.beyond {
            spot.kind = PlaceKind::Hidden;
        } else if let Err(bound) = self.index.add(member, &spot.name, self.look.meter.limits) {
            self.bound = Some(bound);
        }
        self.look.name(&spot, &member.name);
        if member.kind == MemberKind::Symlink {
            self.look.name(&spot, &member.link);
        }
        if content.left() == 0 {
            return Ok(());
        }
        self.look.content(content, &spot, Some(member.size))
    }

    fn hidden(&mut self, name: &[u8], _: u64, bytes: &[u8]) {
        let spot = Spot::file(normal(name), 0);
        let path = (!name.is_empty()).then(|| spot.name.clone());
        self.look.value(&Spot { kind: PlaceKind::Hidden, path, ..spot }, bytes);
    }

    fn partly(&mut self, name: &[u8], bound: Bound) {
        let spot = Spot::file(normal(name), 0);
        self.look.outbox.skip(&spot, SkipReason::Limit, Some(bound.text()));
    }
}

struct Hashed<R> {
    reader: R,
    context: digest::Context,
    size: u64,
}

impl<R> Hashed<R> {
    fn digest(&self) -> String {
        hex(self.context.clone().finish().as_ref())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.context.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}
