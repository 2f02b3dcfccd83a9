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

/// Reads all sources, or only their documents.
pub fn read(
    nursery: &Nursery,
    shapes: &[Shape],
    plan_only: bool,
    open: Open<'_>,
    watch: &mut dyn FnMut(&Collected),
) -> io::Result<Collected> {
    let mut collected = Collected::default();
    let mut order = Order { sources: shapes.to_vec(), plan_only, ..Order::default() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::image::layer::Passage;
    use crate::scan::scan::message::Message;

    fn after(messages: Vec<Message>, sources: &[Shape]) -> (Collected, Order) {
        let mut collected = Collected::default();
        for message in messages {
            collected.take(message);
        }
        let mut order = Order { sources: sources.to_vec(), ..Order::default() };
        after_crash(&mut collected, &mut order);
        (collected, order)
    }

    fn begin(key: &str) -> Message {
        Message::Begin { key: key.to_owned() }
    }

    fn end(key: &str) -> Message {
        Message::End { key: key.to_owned(), passage: Box::<Passage>::default() }
    }

    #[test]
    fn the_only_blob_that_was_open_has_crashed_and_is_not_read_again() {
        let (collected, order) = after(vec![begin("a"), end("a"), begin("b")], &[Shape::Archive]);
        assert!(collected.blobs["b"].crashed && !collected.blobs["a"].crashed);
        assert_eq!((order.known, order.alone), (vec!["a".to_owned(), "b".to_owned()], true));
        assert_eq!(order.sources, [Shape::Archive]);
    }

    #[test]
    fn of_several_open_blobs_none_is_blamed_and_the_next_parser_reads_them_alone() {
        let (collected, order) = after(vec![begin("a"), begin("b")], &[Shape::Archive]);
        assert!(collected.blobs.values().all(|blob| !blob.crashed));
        assert!(order.known.is_empty() && order.alone);
    }

    #[test]
    fn a_crash_over_documents_costs_the_source_and_no_other() {
        let messages = vec![
            Message::Image { source: 0, planned: Box::default() },
            Message::Over { source: 0 },
        ];
        let (collected, order) = after(messages, &[Shape::Archive, Shape::Named, Shape::Named]);
        assert_eq!(order.sources, [Shape::Over, Shape::Over, Shape::Named]);
        assert_eq!(collected.images.len(), 1);
    }

    #[test]
    fn a_stream_can_t_be_read_again() {
        let (_, order) = after(vec![begin("a")], &[Shape::Stream, Shape::Archive]);
        assert_eq!(order.sources, [Shape::Over, Shape::Archive]);
    }
}
