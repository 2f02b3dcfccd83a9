//! Bytes to look at before they are taken: what every walker reads from.
//!
//! A feed shows the next bytes without copying them, so that a container is recognised by its first
//! bytes and the same bytes then go to the detector.

use std::io::{self, BufRead, Read};

use crate::scan::limits::Bound;

/// Why a feed ends before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes stop in the middle.
    #[error("ends in the middle")]
    Truncated,
    /// The bytes are not what they claim to be.
    #[error("{0}")]
    Corrupt(&'static str),
    /// Compressed in a way that nobody here reads, or encrypted.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The source failed.
    #[error("can't be read: {0}")]
    Io(io::ErrorKind),
    /// A bound of [`crate::scan::limits::Limits`].
    #[error("{}", .0.text())]
    Limit(Bound),
    /// The time is over.
    #[error("the time is over")]
    Timeout,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
            return fault.clone();
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Truncated,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Fault::Corrupt("the compressed bytes are damaged")
            }
            kind => Fault::Io(kind),
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::other(fault)
    }
}

/// Bytes to look at, then to take.
pub trait Feed {
    /// The next bytes: at least `want` of them unless the feed ends or breaks before; then what is
    /// left, and the fault only when nothing is left.
    fn peek(&mut self, want: usize) -> Result<&[u8], Fault>;

    /// Takes `count` of the bytes shown last.
    fn consume(&mut self, count: usize);

    /// How many bytes were taken.
    fn position(&self) -> u64;

    /// Takes `count` bytes that nobody wants to see.
    fn pass(&mut self, mut count: u64) -> Result<(), Fault> {
        while count > 0 {
            let shown = self.peek(1)?.len() as u64;
            if shown == 0 {
                return Err(Fault::Truncated);
            }
            let taken = shown.min(count);
            self.consume(usize::try_from(taken).unwrap_or(usize::MAX));
            count -= taken;
        }
        Ok(())
    }
}

/// Takes everything that is left.
pub fn drain(feed: &mut dyn Feed) -> Result<u64, Fault> {
    let before = feed.position();
    loop {
        let got = feed.peek(1)?.len();
        if got == 0 {
            return Ok(feed.position() - before);
        }
        feed.consume(got);
    }
}

/// Takes exactly `count` bytes.
pub fn take(feed: &mut dyn Feed, count: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(count.min(64 << 10));
    while bytes.len() < count {
        let shown = feed.peek(1)?;
        if shown.is_empty() {
            return Err(Fault::Truncated);
        }
        let taken = shown.len().min(count - bytes.len());
        bytes.extend_from_slice(&shown[..taken]);
        feed.consume(taken);
    }
    Ok(bytes)
}

/// A feed out of a reader, with a buffer of its own.
pub struct Input<R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    taken: u64,
    over: bool,
    fault: Option<Fault>,
}

impl<R: Read> Input<R> {
    /// With a buffer of `room` bytes, which is the most that can be peeked at.
    pub fn new(reader: R, room: usize) -> Input<R> {
        let buffer = vec![0; room].into_boxed_slice();
        Input { reader, buffer, start: 0, end: 0, taken: 0, over: false, fault: None }
    }

    fn fill(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        match self.reader.read(&mut self.buffer[self.end..]) {
            Ok(0) => self.over = true,
            Ok(count) => self.end += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.fault = Some(error.into()),
        }
    }
}

impl<R: Read> Feed for Input<R> {
    fn peek(&mut self, want: usize) -> Result<&[u8], Fault> {
        let want = want.min(self.buffer.len());
        while self.end - self.start < want && !self.over && self.fault.is_none() {
            self.fill();
        }
        match &self.fault {
            Some(fault) if self.start == self.end => Err(fault.clone()),
            _ => Ok(&self.buffer[self.start..self.end]),
        }
    }

    fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start = (self.start + count).min(self.end);
        self.taken += count as u64;
    }

    fn position(&self) -> u64 {
        self.taken
    }
}

/// The next `left` bytes of a feed.
pub struct Section<'a> {
    feed: &'a mut dyn Feed,
    origin: u64,
    left: u64,
    taken: u64,
}

impl<'a> Section<'a> {
    /// The next `size` bytes of `feed`.
    pub fn new(feed: &'a mut dyn Feed, size: u64) -> Section<'a> {
        Section { origin: feed.position(), feed, left: size, taken: 0 }
    }

    /// Where it begins in the feed around it.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes what is left, unseen.
    pub fn pass_rest(&mut self) -> Result<(), Fault> {
        let left = std::mem::take(&mut self.left);
        self.taken += left;
        self.feed.pass(left)
    }
}

impl Feed for Section<'_> {
    fn peek(&mut self, want: usize) -> Result<&[u8], Fault> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let shown = self.feed.peek(want.min(most))?;
        if shown.is_empty() {
            return Err(Fault::Truncated);
        }
        Ok(&shown[..shown.len().min(most)])
    }

    fn consume(&mut self, count: usize) {
        self.feed.consume(count);
        self.left -= count as u64;
        self.taken += count as u64;
    }

    fn position(&self) -> u64 {
        self.taken
    }
}

/// A feed whose bytes are shown to somebody else as they are taken.
pub struct Tee<'a> {
    feed: &'a mut dyn Feed,
    tap: &'a mut dyn FnMut(&[u8]),
    taken: u64,
}

impl<'a> Tee<'a> {
    /// What is taken from `feed` goes through `tap`.
    pub fn new(feed: &'a mut dyn Feed, tap: &'a mut dyn FnMut(&[u8])) -> Tee<'a> {
        Tee { feed, tap, taken: 0 }
    }
}

impl Feed for Tee<'_> {
    fn peek(&mut self, want: usize) -> Result<&[u8], Fault> {
        self.feed.peek(want)
    }

    fn consume(&mut self, count: usize) {
        if let Ok(shown) = self.feed.peek(count) {
            (self.tap)(&shown[..count]);
        }
        self.feed.consume(count);
        self.taken += count as u64;
    }

    fn position(&self) -> u64 {
        self.taken
    }
}

/// A feed as a reader, for the libraries that decompress.
pub struct Reader<'a>(pub &'a mut dyn Feed);

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let shown = self.fill_buf()?;
        let count = shown.len().min(buffer.len());
        buffer[..count].copy_from_slice(&shown[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.0.peek(1)?)
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, then breaks.
    struct Slow(&'static [u8], bool);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.split_first() {
                Some((first, rest)) => {
                    buffer[0] = *first;
                    self.0 = rest;
                    Ok(1)
                }
                None if self.1 => Err(io::ErrorKind::ConnectionReset.into()),
                None => Ok(0),
            }
        }
    }

    #[test]
    fn what_came_before_a_fault_is_seen_before_the_fault() {
        let mut feed = Input::new(Slow(b"abc", true), 16);
        assert_eq!(feed.peek(10), Ok(&b"abc"[..]));
        feed.consume(3);
        assert_eq!(feed.peek(1), Err(Fault::Io(io::ErrorKind::ConnectionReset)));
    }

    #[test]
    fn a_section_ends_where_it_ends_and_says_when_the_bytes_are_missing() {
        let mut feed = Input::new(Slow(b"abcdef", false), 4);
        let mut section = Section::new(&mut feed, 4);
        assert_eq!(drain(&mut section), Ok(4));
        assert_eq!(take(&mut feed, 2), Ok(b"ef".to_vec()));
        assert_eq!(drain(&mut Section::new(&mut feed, 1)), Err(Fault::Truncated));
    }

    #[test]
    fn everything_taken_through_a_tee_is_shown() {
        let mut seen = Vec::new();
        let mut tap = |bytes: &[u8]| seen.extend_from_slice(bytes);
        let mut feed = Input::new(Slow(b"abcdef", false), 4);
        let mut tee = Tee::new(&mut feed, &mut tap);
        assert_eq!(tee.peek(2), Ok(&b"ab"[..]));
        let mut text = String::new();
        Reader(&mut tee).read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), seen.as_slice()), ("abcdef", &b"abcdef"[..]));
    }
}
