//! Compressed bytes to plain ones: every member, frame and stream of them, within the bounds.

use std::cell::Cell;
use std::io::{self, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::{DeflateDecoder, GzDecoder};
use liblzma::bufread::XzDecoder;

use super::feed::{Fault, Feed, Reader};
use super::windows;
use crate::scan::limits::{Bound, Deadline, Limits};

/// How bytes are compressed, told by their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames, skippable ones too.
    Zstd,
    /// Any number of streams.
    Xz,
    /// Any number of streams.
    Bzip2,
    /// RFC 1951, without a frame: a member of a zip.
    Deflate,
}

impl Packing {
    /// What `head` begins like.
    pub fn of(head: &[u8]) -> Option<Packing> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Some(Packing::Bzip2)
            }
            _ => None,
        }
    }
}

/// What one layer has used of the bounds.
pub struct Meter<'a> {
    /// The bounds.
    pub limits: &'a Limits,
    deadline: Deadline,
    /// Memory for the windows of decompressors that stand inside each other.
    room: u64,
    held: Cell<u64>,
    nested: Cell<u64>,
    until_check: Cell<u64>,
    short: Cell<bool>,
}

/// The time is looked at every so many bytes.
const CHECK: u64 = 1 << 20;

impl<'a> Meter<'a> {
    /// With `room` bytes for the windows of decompressors.
    pub fn new(limits: &'a Limits, deadline: Deadline, room: u64) -> Meter<'a> {
        let (held, nested, until_check) = (Cell::new(0), Cell::new(0), Cell::new(CHECK));
        Meter { limits, deadline, room, held, nested, until_check, short: Cell::new(false) }
    }

    /// For the decompressor of the layer alone, where that stands on another thread.
    #[must_use]
    pub fn beside(&self) -> Meter<'a> {
        Meter::new(self.limits, self.deadline, self.room)
    }

    /// Does something while that decompressor's window counts here too.
    pub fn holding<T>(
        &self,
        packing: Packing,
        work: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let window = windows::needed(packing, &[])?;
        self.hold(window)?;
        let done = work();
        self.release(window);
        done
    }

    /// Whether the time is over.
    pub fn on_time(&self) -> Result<(), Fault> {
        if self.deadline.over() { Err(Fault::Timeout) } else { Ok(()) }
    }

    fn passed(&self, count: u64) -> Result<(), Fault> {
        let left = self.until_check.get();
        if count < left {
            self.until_check.set(left - count);
            return Ok(());
        }
        self.until_check.set(CHECK);
        self.on_time()
    }

    /// Whether a window did not fit.
    pub fn is_short(&self) -> bool {
        self.short.get()
    }

    /// Takes `window` bytes, or says how much memory would do.
    fn hold(&self, window: u64) -> Result<(), Fault> {
        let held = self.held.get().saturating_add(window);
        if held > self.room {
            self.short.set(true);
            let needed = self.limits.memory.saturating_add(held - self.room);
            return Err(Fault::Limit(Bound::Memory(needed)));
        }
        self.held.set(held);
        Ok(())
    }

    fn release(&self, window: u64) {
        self.held.set(self.held.get().saturating_sub(window));
    }
}

/// Who unpacks: the layer itself or something in it, which have bounds of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The layer's own compression.
    Layer,
    /// A file in a layer.
    Nested,
}

enum Decoder<'f> {
    /// Between two members.
    Between(Reader<'f>),
    Gzip(Box<GzDecoder<Reader<'f>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Reader<'f>>>),
    Xz(Box<XzDecoder<Reader<'f>>>),
    Bzip2(Box<BzDecoder<Reader<'f>>>),
    Deflate(Box<DeflateDecoder<Reader<'f>>>),
    Over,
}

/// The plain bytes of a compressed feed. What follows the last member stays in the feed.
pub struct Unpack<'f> {
    packing: Packing,
    decoder: Decoder<'f>,
    meter: &'f Meter<'f>,
    level: Level,
    aside: &'f mut dyn FnMut(&[u8]),
    before: u64,
    out: u64,
    held: u64,
    any: bool,
}

impl<'f> Unpack<'f> {
    /// Unpacks `feed`; comments, names and skippable frames go to `aside`.
    pub fn new(
        feed: &'f mut dyn Feed,
        packing: Packing,
        level: Level,
        meter: &'f Meter<'f>,
        aside: &'f mut dyn FnMut(&[u8]),
    ) -> Unpack<'f> {
        let before = feed.position();
        let decoder = Decoder::Between(Reader(feed));
        Unpack { packing, decoder, meter, level, aside, before, out: 0, held: 0, any: false }
    }

    /// Begins the next member, if there is one.
    fn begin(&mut self) -> Result<(), Fault> {
        let Decoder::Between(mut reader) = std::mem::replace(&mut self.decoder, Decoder::Over)
        else {
            return Ok(());
        };
        if self.packing == Packing::Zstd {
            skippable_frames(&mut reader, &mut *self.aside)?;
        }
        let head = reader.0.peek(64)?;
        let matches = match self.packing {
            Packing::Deflate => !self.any,
            packing => Packing::of(head) == Some(packing),
        };
        if !matches {
            return Ok(());
        }
        let window = windows::needed(self.packing, head)?;
        self.meter.hold(window)?;
        self.held = window;
        self.any = true;
        self.decoder = self.open(reader, window)?;
        Ok(())
    }

    fn open(&mut self, reader: Reader<'f>, window: u64) -> Result<Decoder<'f>, Fault> {
        Ok(match self.packing {
            Packing::Gzip => {
                let decoder = GzDecoder::new(reader);
                if let Some(header) = decoder.header() {
                    for field in [header.filename(), header.comment(), header.extra()] {
                        (self.aside)(field.unwrap_or_default());
                    }
                }
                Decoder::Gzip(Box::new(decoder))
            }
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?.single_frame();
                decoder.window_log_max(window.max(1 << 10).next_power_of_two().ilog2().min(31))?;
                Decoder::Zstd(Box::new(decoder))
            }
            Packing::Xz => {
                let most = window.saturating_add(1 << 20);
                let stream = liblzma::stream::Stream::new_stream_decoder(most, 0)
                    .map_err(|_| Fault::Corrupt("no xz decoder"))?;
                Decoder::Xz(Box::new(XzDecoder::new_stream(reader, stream)))
            }
            Packing::Bzip2 => Decoder::Bzip2(Box::new(BzDecoder::new(reader))),
            Packing::Deflate => Decoder::Deflate(Box::new(DeflateDecoder::new(reader))),
        })
    }

    /// Ends a member: what is left of the feed is looked at again.
    fn end(&mut self) {
        let decoder = std::mem::replace(&mut self.decoder, Decoder::Over);
        self.decoder = match decoder {
            Decoder::Gzip(decoder) => Decoder::Between(decoder.into_inner()),
            Decoder::Zstd(decoder) => Decoder::Between(decoder.finish()),
            Decoder::Xz(decoder) => Decoder::Between(decoder.into_inner()),
            Decoder::Bzip2(decoder) => Decoder::Between(decoder.into_inner()),
            Decoder::Deflate(_) | Decoder::Over => Decoder::Over,
            Decoder::Between(reader) => Decoder::Between(reader),
        };
        self.meter.release(self.held);
        self.held = 0;
    }

    fn packed(&self) -> u64 {
        let position = match &self.decoder {
            Decoder::Between(reader) => reader.0.position(),
            Decoder::Gzip(decoder) => decoder.get_ref().0.position(),
            Decoder::Zstd(decoder) => decoder.get_ref().0.position(),
            Decoder::Xz(decoder) => decoder.get_ref().0.position(),
            Decoder::Bzip2(decoder) => decoder.get_ref().0.position(),
            Decoder::Deflate(decoder) => decoder.get_ref().0.position(),
            Decoder::Over => return u64::MAX,
        };
        position - self.before
    }

    /// Counts `count` bytes more against the bounds.
    fn count(&mut self, count: u64) -> Result<(), Fault> {
        let limits = self.meter.limits;
        self.out += count;
        self.meter.passed(count)?;
        match self.level {
            Level::Layer if self.out > limits.layer_bytes => {
                return Err(Fault::Limit(Bound::LayerBytes));
            }
            Level::Layer => {}
            Level::Nested => {
                let nested = self.meter.nested.get() + count;
                self.meter.nested.set(nested);
                if nested > limits.nested_bytes {
                    return Err(Fault::Limit(Bound::NestedBytes));
                }
            }
        }
        let most = self.packed().saturating_mul(limits.ratio);
        if self.out > limits.ratio_from && self.out > most {
            return Err(Fault::Limit(Bound::Ratio));
        }
        Ok(())
    }
}

impl Read for Unpack<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.decoder {
                Decoder::Over => return Ok(0),
                Decoder::Between(_) => {
                    self.begin()?;
                    continue;
                }
                Decoder::Gzip(decoder) => decoder.read(buffer),
                Decoder::Zstd(decoder) => decoder.read(buffer),
                Decoder::Xz(decoder) => decoder.read(buffer),
                Decoder::Bzip2(decoder) => decoder.read(buffer),
                Decoder::Deflate(decoder) => decoder.read(buffer),
            };
            match result.map_err(damaged)? {
                0 => self.end(),
                count => {
                    self.count(count as u64)?;
                    return Ok(count);
                }
            }
        }
    }
}

impl Drop for Unpack<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a decoder complains of is damage, unless the source below it failed.
fn damaged(error: io::Error) -> io::Error {
    let below = error.get_ref().is_some_and(|inner| inner.is::<Fault>());
    if below || error.kind() == io::ErrorKind::UnexpectedEof {
        return error;
    }
    Fault::Corrupt("the compressed bytes are damaged").into()
}

/// Frames that zstd passes over and somebody else may read.
fn skippable_frames(reader: &mut Reader<'_>, aside: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
    loop {
        let (0x50..=0x5f, [0x2a, 0x4d, 0x18, a, b, c, d]) = (match reader.0.peek(8)? {
            [first, rest @ ..] => (*first, rest.first_chunk::<7>().copied().unwrap_or_default()),
            [] => return Ok(()),
        }) else {
            return Ok(());
        };
        reader.0.consume(8);
        let mut left = u64::from(u32::from_le_bytes([a, b, c, d]));
        while left > 0 {
            let shown = reader.0.peek(1)?;
            if shown.is_empty() {
                return Err(Fault::Truncated);
            }
            let count = shown.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            aside(&shown[..count]);
            reader.0.consume(count);
            left -= count as u64;
        }
    }
}
