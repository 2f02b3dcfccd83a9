//! The other side of the parsers: opens what they ask for, keeps what they say, and starts another
//! one when one crashes.

use std::io;
use std::os::fd::AsFd;

use super::codec::decode;
use super::collect::Collected;
use super::nursery::Nursery;
use super::parser::{MESSAGE, OPEN, Order, Shape, decode_open, encode_opened};
use crate::scan::image::store::Name;
use crate::scan::source::Handed;

/// Opens what a parser asks for, of a source by its number.
pub type Open<'a> = &'a mut dyn FnMut(usize, &Name) -> io::Result<Handed>;

/// Parsers that may crash in one run. Each crash costs one blob.
const MOST_CRASHES: u32 = 100;

/// Reads all sources.
pub fn read(
    nursery: &Nursery,
    shapes: &[Shape],
    open: Open<'_>,
    watch: &mut dyn FnMut(&Collected),
) -> io::Result<Collected> {
    let mut collected = Collected::default();
    let mut order = Order { sources: shapes.to_vec(), ..Order::default() };
    for _ in 0..MOST_CRASHES {
        one(nursery, &order, open, &mut collected, watch)?;
        if collected.done {
            break;
        }
        after_crash(&mut collected, &mut order);
    }
    Ok(collected)
}

/// One parser, to its end.
fn one(
    nursery: &Nursery,
    order: &Order,
    open: Open<'_>,
    collected: &mut Collected,
    watch: &mut dyn FnMut(&Collected),
) -> io::Result<()> {
    let channel = nursery.spawn()?;
    channel.send(&order.encode(), None)?;
    // Whatever is wrong with what comes in, the parser is done with.
    while let Ok(Some((mut frame, _))) = channel.receive() {
        match frame.split_first() {
            Some((&MESSAGE, rest)) => {
                let Ok(message) = decode(rest) else { return Ok(()) };
                collected.take(message);
                watch(collected);
            }
            Some((&OPEN, rest)) => {
                let Ok((source, name)) = decode_open(rest) else { return Ok(()) };
                let opened = open(source, &name);
                let answer = encode_opened(
                    &opened.as_ref().map(|handed| handed.size).map_err(|error| error.kind()),
                );
                let fd = opened.as_ref().ok().map(|handed| handed.file.as_fd());
                if channel.send(&answer, fd).is_err() {
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
        zeroize::Zeroize::zeroize(&mut frame);
        if collected.done {
            return Ok(());
        }
    }
    Ok(())
}

/// What the next parser leaves out.
fn after_crash(collected: &mut Collected, order: &mut Order) {
    let open: Vec<String> = collected
        .blobs
        .iter()
        .filter(|(_, blob)| blob.passage.is_none() && !blob.crashed)
        .map(|(key, _)| key.clone())
        .collect();
    match &open[..] {
        // It crashed between two blobs: over a document, or the list of an archive.
        [] => {
            let next = (0..order.sources.len()).find(|number| {
                order.sources[*number] != Shape::Over
                    && !collected.images.iter().any(|(source, _)| source == number)
            });
            match next {
                Some(number) => order.sources[number] = Shape::Over,
                None => order.sources.fill(Shape::Over),
            }
        }
        [key] => {
            if let Some(blob) = collected.blobs.get_mut(key) {
                blob.crashed = true;
            }
        }
        // One of several; the next parser reads them one by one.
        _ => {}
    }
    order.alone = true;
    let over = &collected.over;
    collected.images.retain(|(source, _)| over.contains(source));
    for (number, shape) in order.sources.iter_mut().enumerate() {
        // What came in order is gone.
        if over.contains(&number) || *shape == Shape::Stream {
            *shape = Shape::Over;
        }
    }
    let read = collected.blobs.iter().filter(|(_, blob)| blob.passage.is_some() || blob.crashed);
    order.known = read.map(|(key, _)| key.clone()).collect();
}
