//! The look at one content: its bytes to the detector and, where it is a container, the same bytes
//! to whoever opens it.

use super::feed::{Fault, Feed, Input, Tee, drain};
use super::nested::{self, Format};
use super::outbox::Outbox;
use super::spot::Spot;
use super::unpack::Meter;
use crate::scan::detect::{Detector, Subject};
use crate::scan::finding::{Confidence, Hit, PlaceKind, SkipReason};
use crate::scan::limits::Bound;

/// What a container is recognised by: a tar has its word at byte 257, a file system at 1080.
const HEAD: usize = 2048;

/// Room for one decompressor's output.
pub const ROOM: usize = 32 << 10;

/// Everything that a look needs.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The rules.
    pub detector: &'a Detector,
    /// The bounds.
    pub meter: &'a Meter<'a>,
    /// Where to.
    pub outbox: &'a Outbox<'a>,
}

impl Look<'_> {
    /// A short value: a name, a comment, a header.
    pub fn value(&self, spot: &Spot, bytes: &[u8]) {
        let subject = Subject { path: &spot.name, kind: spot.kind };
        self.outbox.read(bytes.len() as u64);
        self.detector.value(&subject, bytes, &mut |hit| self.outbox.hit(spot, hit));
    }

    /// A name, which may be a secret itself.
    pub fn name(&self, spot: &Spot, name: &[u8]) {
        self.value(&spot.kind(PlaceKind::Filename), name);
    }

    /// A content, to its end. `size` is how long it is, if that is known.
    pub fn content(
        &self,
        feed: &mut dyn Feed,
        spot: &Spot,
        size: Option<u64>,
    ) -> Result<(), Fault> {
        self.outbox.file();
        let head = feed.peek(HEAD)?;
        let subject = Subject { path: &spot.name, kind: spot.kind };
        let mut stream = self.detector.open(&subject);
        let format = Format::of(head, size, self.meter.limits.whole);
        if format.is_none() && is_git_object(head, &spot.name) {
            self.outbox.git_objects(spot);
        }
        match format {
            None => {
                let mut sink = |hit: Hit| self.outbox.hit(spot, hit);
                loop {
                    let shown = feed.peek(1)?;
                    if shown.is_empty() {
                        break;
                    }
                    let count = shown.len();
                    stream.push(shown, &mut sink);
                    self.outbox.read(count as u64);
                    feed.consume(count);
                }
                stream.finish(&mut sink);
                Ok(())
            }
            Some(format) => {
                let mut raw = Vec::new();
                let most = self.meter.limits.skips;
                let mut sink = |hit: Hit| {
                    if raw.len() < most {
                        raw.push(hit);
                    }
                };
                let result = {
                    let mut tap = |bytes: &[u8]| stream.push(bytes, &mut sink);
                    let mut tee = Tee::new(feed, &mut tap);
                    self.container(&mut tee, format, spot, size)
                };
                stream.finish(&mut sink);
                self.outbox.raw_hits(spot, raw);
                if spot.depth == 0 {
                    self.outbox.closed();
                }
                result
            }
        }
    }

    /// Opens a container. Whatever is wrong with it, its raw bytes are taken to the end.
    fn container(
        &self,
        feed: &mut dyn Feed,
        format: Format,
        spot: &Spot,
        size: Option<u64>,
    ) -> Result<(), Fault> {
        let opened = if spot.depth >= self.meter.limits.depth && format.opens() {
            Err(Fault::Limit(Bound::Depth))
        } else {
            nested::open(self, feed, format, spot, size)
        };
        if opened == Err(Fault::Timeout) {
            return opened;
        }
        // What broke below breaks again here, and is not the container's fault.
        let rest = drain(feed)?;
        match opened {
            Ok(()) => {}
            Err(fault) => {
                let (reason, detail) = told(&fault);
                self.outbox.skip(spot, reason, detail);
            }
        }
        self.outbox.read(rest);
        Ok(())
    }

    /// A content whose values were looked at one by one: only what was not found among them, and is
    /// sure enough not to be a second look at the same.
    pub fn remaining(&self, feed: &mut dyn Feed, spot: &Spot) -> Result<(), Fault> {
        let mut stream = self.detector.open(&Subject { path: &spot.name, kind: spot.kind });
        let mut raw = Vec::new();
        let most = self.meter.limits.skips;
        let mut sink = |hit: Hit| {
            if raw.len() < most && !hit.weak && hit.confidence <= Confidence::Likely {
                raw.push(hit);
            }
        };
        loop {
            let shown = feed.peek(1)?;
            if shown.is_empty() {
                break;
            }
            let count = shown.len();
            stream.push(shown, &mut sink);
            feed.consume(count);
        }
        stream.finish(&mut sink);
        self.outbox.read(feed.position());
        self.outbox.raw_hits(spot, raw);
        self.outbox.closed();
        Ok(())
    }

    /// The plain bytes of something compressed, as a content at `spot`.
    pub fn inflated(&self, reader: impl std::io::Read, spot: &Spot) -> Result<(), Fault> {
        self.content(&mut Input::new(reader, ROOM), spot, None)
    }
}

/// A packed or a loose object of a git repository, which is deflated and not opened.
fn is_git_object(head: &[u8], path: &[u8]) -> bool {
    let folder = |name: &[u8]| path.windows(name.len()).any(|part| part == name);
    match head {
        [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, ..] => true,
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            folder(b"/objects/") || path.starts_with(b"objects/")
        }
        _ => false,
    }
}

/// How a fault inside of a container is told.
fn told(fault: &Fault) -> (SkipReason, Option<String>) {
    match fault {
        Fault::Limit(_) => (SkipReason::Limit, Some(fault.to_string())),
        Fault::Unsupported(_) => (SkipReason::UnsupportedFormat, Some(fault.to_string())),
        Fault::Timeout => (SkipReason::Timeout, None),
        Fault::Io(_) => (SkipReason::Io, Some(fault.to_string())),
        Fault::Truncated | Fault::Corrupt(_) => {
            (SkipReason::NestedCorrupt, Some(fault.to_string()))
        }
    }
}
