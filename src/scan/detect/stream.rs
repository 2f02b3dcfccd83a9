//! Bytes as they come, cut into windows that overlap, so that the result does not depend on how
//! they were cut before.

use super::class::Class;
use super::detector::Detector;
use super::matcher::{Found, Scene, View};
use super::{Hit, Subject};
use crate::scan::finding::RuleId;
use crate::secret::SecretBytes;

/// What stays in view before the bytes that are looked at: names before values, lines before keys.
pub(super) const BEHIND: usize = 4 << 10;
/// What has to be in view after an anchor: an RSA key of 16,384 bits in PEM, in JSON, is 13 KiB.
pub(super) const AHEAD: usize = 20 << 10;
/// How far one turn advances.
const STEP: usize = 64 << 10;
const FULL: usize = BEHIND + STEP + AHEAD;

/// A stream of bytes of one subject.
pub struct Stream<'d> {
    detector: &'d Detector,
    path: Box<[u8]>,
    subject: super::PlaceKind,
    class: Class,
    buffer: Vec<u8>,
    /// Where the buffer begins in the stream.
    base: u64,
    /// The first byte of the buffer where anchors were not looked for.
    from: usize,
    lines: Lines,
    started: bool,
}

/// Newlines before a place in the buffer.
#[derive(Default)]
struct Lines {
    /// Newlines before the buffer.
    before: u64,
    /// Where the line that the buffer begins in begins, in the stream.
    start: u64,
}

impl<'d> Stream<'d> {
    pub(super) fn new(detector: &'d Detector, subject: &Subject<'_>) -> Stream<'d> {
        Stream {
            detector,
            path: subject.path.into(),
            subject: subject.kind,
            class: Class::of(subject),
            buffer: Vec::new(),
            base: 0,
            from: 0,
            lines: Lines::default(),
            started: false,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut chunk: &[u8], sink: &mut dyn FnMut(Hit)) {
        while !chunk.is_empty() {
            let (now, later) = chunk.split_at(chunk.len().min(FULL - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
            if self.buffer.len() == FULL {
                self.turn(FULL - AHEAD, false, sink);
                self.forget();
            }
        }
    }

    /// There are no more bytes.
    pub fn finish(mut self, sink: &mut dyn FnMut(Hit)) {
        self.turn(self.buffer.len(), true, sink);
    }

    fn turn(&mut self, to: usize, is_end: bool, sink: &mut dyn FnMut(Hit)) {
        if !self.started {
            self.class = self.class.refined(&self.buffer);
            self.started = true;
        }
        let scene = Scene {
            detector: self.detector,
            path: &self.path,
            kind: self.subject,
            class: self.class,
            depth: 0,
        };
        let view =
            View { data: &self.buffer, from: self.from, to, is_start: self.base == 0, is_end };
        let mut lines = LineCounter { at: 0, line: self.lines.before, start: self.lines.start };
        for found in scene.look(&view) {
            sink(self.hit(found, &mut lines));
        }
        self.from = to;
    }

    /// Drops what no later turn needs to see.
    fn forget(&mut self) {
        let drop = self.from.saturating_sub(BEHIND);
        let mut lines = LineCounter { at: 0, line: self.lines.before, start: self.lines.start };
        lines.advance(&self.buffer, drop, self.base);
        self.lines = Lines { before: lines.line, start: lines.start };
        self.buffer.copy_within(drop.., 0);
        self.buffer.truncate(self.buffer.len() - drop);
        self.base += drop as u64;
        self.from -= drop;
    }

    fn hit(&self, found: Found, lines: &mut LineCounter) -> Hit {
        let at = found.outer.start;
        lines.advance(&self.buffer, at, self.base);
        let offset = self.base + at as u64;
        let text = self.class != Class::Binary;
        let mut inside = found.inside;
        if let Some(first) = inside.first_mut() {
            first.offset += self.base;
        }
        Hit {
            rule: RuleId(found.rule),
            offset: if inside.is_empty() { offset } else { found.span.start as u64 },
            length: found.span.len() as u64,
            line: text.then_some(lines.line + 1),
            column: text.then_some(offset - lines.start + 1),
            inside,
            secret: SecretBytes::from(found.secret),
            confidence: found.confidence,
            severity: found.severity,
            proof: found.proof,
            weak: found.weak,
            key_name: found.key_name,
            allowed_inline: found.allowed_inline,
        }
    }
}

impl Drop for Stream<'_> {
    /// What passed through may have been a secret.
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(self.buffer.as_mut_slice());
    }
}

/// Counts lines forward.
struct LineCounter {
    at: usize,
    line: u64,
    start: u64,
}

impl LineCounter {
    fn advance(&mut self, data: &[u8], to: usize, base: u64) {
        let Some(part) = data.get(self.at..to) else { return };
        self.line += memchr::memchr_iter(b'\n', part).count() as u64;
        if let Some(last) = memchr::memrchr(b'\n', part) {
            self.start = base + (self.at + last + 1) as u64;
        }
        self.at = to;
    }
}
