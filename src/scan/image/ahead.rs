//! Unpacking on a thread of its own: the next bytes of a layer are inflated while the detector looks
//! at the last ones.
//!
//! How the bytes are cut into pieces depends on nothing but the bytes, so that what is found does not
//! depend on which thread is faster. A reader that stops before the end leaves the feed at a place
//! that does: such a layer has to be read again, without this.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::feed::{Fault, Feed};
use super::unpack::{Level, Meter, Packing, Unpack};

/// Bytes of a piece.
const PIECE: usize = 128 << 10;
/// Pieces that wait; one more is filled, and one is read.
const WAITING: usize = 2;

enum Piece {
    Plain(Vec<u8>),
    /// A comment or a name beside the bytes.
    Aside(Vec<u8>),
    Broken(Fault),
}

/// Unpacks `feed` on another thread while `take` reads the plain bytes on this one. `meter` is for the
/// other thread alone. Says what `take` said, and whether it has read to the end.
pub fn unpack<T>(
    feed: &mut (impl Feed + Send),
    packing: Packing,
    meter: Meter<'_>,
    aside: &mut dyn FnMut(&[u8]),
    take: impl FnOnce(&mut Pieces<'_>) -> T,
) -> (T, bool) {
    let (full, filled) = sync_channel(WAITING);
    let (used, spare) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || fill(feed, packing, &meter, &full, &spare));
        let mut pieces = Pieces { filled, used, piece: Vec::new(), at: 0, over: false, aside };
        let taken = take(&mut pieces);
        // What is dropped here tells the other thread to stop.
        (taken, pieces.over)
    })
}

/// Hands out the pieces in order, until nobody wants them.
fn fill(
    feed: &mut dyn Feed,
    packing: Packing,
    meter: &Meter<'_>,
    full: &SyncSender<Piece>,
    spare: &Receiver<Vec<u8>>,
) {
    let mut aside = |bytes: &[u8]| {
        // A layer may have a million members without a name.
        if !bytes.is_empty() {
            let _ = full.send(Piece::Aside(bytes.to_vec()));
        }
    };
    let mut unpack = Unpack::new(feed, packing, Level::Layer, meter, &mut aside);
    loop {
        let mut piece = spare.try_recv().unwrap_or_default();
        let end = fill_one(&mut unpack, &mut piece);
        if !piece.is_empty() && full.send(Piece::Plain(piece)).is_err() {
            return;
        }
        match end {
            None => {}
            Some(fault) => {
                if let Err(fault) = fault {
                    let _ = full.send(Piece::Broken(fault));
                }
                return;
            }
        }
    }
}

/// Fills a piece; says how the bytes end, if they do.
fn fill_one(unpack: &mut Unpack<'_>, piece: &mut Vec<u8>) -> Option<Result<(), Fault>> {
    piece.resize(PIECE, 0);
    let mut filled = 0;
    let end = loop {
        if filled == PIECE {
            break None;
        }
        match unpack.read(&mut piece[filled..]) {
            Ok(0) => break Some(Ok(())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(Err(error.into())),
        }
    };
    piece.truncate(filled);
    end
}

/// The plain bytes.
pub struct Pieces<'a> {
    filled: Receiver<Piece>,
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
    aside: &'a mut dyn FnMut(&[u8]),
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.over {
            match self.filled.recv() {
                Ok(Piece::Plain(piece)) => {
                    let _ = self.used.send(std::mem::replace(&mut self.piece, piece));
                    self.at = 0;
                }
                Ok(Piece::Aside(bytes)) => (self.aside)(&bytes),
                Ok(Piece::Broken(fault)) => {
                    self.over = true;
                    return Err(fault.into());
                }
                Err(_) => self.over = true,
            }
        }
        let rest = &self.piece[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::feed::Input;
    use super::*;
    use crate::scan::limits::{Deadline, Limits};

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::GzBuilder::new()
            .comment("beside")
            .write(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    /// What is read of `bytes`, what is heard beside, and whether it was all.
    fn read(bytes: &[u8], most: usize) -> (Result<Vec<u8>, Fault>, Vec<u8>, bool) {
        let limits = Limits::default();
        let meter = Meter::new(&limits, Deadline::NONE, 1 << 20);
        let mut beside = Vec::new();
        let mut feed = Input::new(bytes, 1 << 10);
        let mut aside = |bytes: &[u8]| beside.extend_from_slice(bytes);
        let (taken, over) = unpack(&mut feed, Packing::Gzip, meter, &mut aside, |pieces| {
            let mut plain = Vec::new();
            let read = pieces.take(most as u64).read_to_end(&mut plain);
            read.map(|_| plain).map_err(Fault::from)
        });
        (taken, beside, over)
    }

    #[test]
    fn the_bytes_are_those_of_all_members_in_order() {
        let text: Vec<u8> = (0..700_000_u32).map(|i| (i / 7).to_le_bytes()[0]).collect();
        let two = [packed(&text), packed(b"and more")].concat();
        let (plain, beside, over) = read(&two, usize::MAX);
        assert!(plain == Ok([&text[..], b"and more"].concat()) && over);
        assert_eq!(beside, b"besidebeside");
    }

    #[test]
    fn what_breaks_says_so_after_all_bytes_before_it() {
        let text = vec![b'x'; 300_000];
        let cut = packed(&text);
        let (plain, _, over) = read(&cut[..cut.len() - 9], usize::MAX);
        assert_eq!((plain, over), (Err(Fault::Truncated), true));
    }

    #[test]
    fn a_reader_that_stops_early_ends_the_other_thread_and_is_told_apart() {
        let text = vec![b'x'; 3_000_000];
        let (plain, _, over) = read(&packed(&text), 10);
        assert_eq!((plain, over), (Ok(b"xxxxxxxxxx".to_vec()), false));
    }
}
