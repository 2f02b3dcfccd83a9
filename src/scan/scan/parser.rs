//! The process that parses: it takes an order, builds the detector, locks itself in, and reads what
//! it is handed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::channel::Channel;
use super::codec::{Garbled, In, Out, encode};
use super::drive::{Drive, Source};
use super::message::Message;
use crate::sandbox::jail;
use crate::scan::detect::{Detector, Pick, RuleSet};
use crate::scan::image::feed::Fault;
use crate::scan::image::platform::Wanted;
use crate::scan::image::store::{Name, Opened};
use crate::scan::limits::{Deadline, Limits};

/// What a parser knows before it is forked.
pub struct Setup {
    /// The rules.
    pub rules: RuleSet,
    /// Which of them.
    pub pick: Pick,
    /// The bounds.
    pub limits: Limits,
    /// When it has to be over.
    pub deadline: Deadline,
    /// Which platforms.
    pub wanted: Wanted,
    /// Threads at most.
    pub jobs: usize,
}

/// How a source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A tar that can be read anywhere.
    Archive,
    /// A tar that comes in order, perhaps compressed.
    Stream,
    /// Documents and blobs, each opened by its name.
    Named,
    /// The tar of a file tree.
    Tree,
    /// Nothing to do any more.
    Over,
}

/// What a parser is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The sources, in their order.
    pub sources: Vec<Shape>,
    /// Keys of blobs and documents that are not to be read again.
    pub known: Vec<String>,
    /// On one thread, to see which blob it is that ends the process.
    pub alone: bool,
    /// Documents only: which images there are, and which layers they have.
    pub plan_only: bool,
}

const SHAPES: [Shape; 5] = [Shape::Archive, Shape::Stream, Shape::Named, Shape::Tree, Shape::Over];

impl Order {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.number(self.sources.len() as u64);
        for shape in &self.sources {
            out.number(*shape as u64);
        }
        out.number(self.known.len() as u64);
        for key in &self.known {
            out.bytes(key.as_bytes());
        }
        out.number(self.alone.into());
        out.number(self.plan_only.into());
        out.0
    }

    fn decode(bytes: &[u8]) -> Result<Order, Garbled> {
        let mut input = In(bytes);
        let mut order = Order::default();
        for _ in 0..input.number()? {
            let shape = usize::try_from(input.number()?).ok().and_then(|at| SHAPES.get(at));
            order.sources.push(*shape.ok_or(Garbled)?);
        }
        for _ in 0..input.number()? {
            order.known.push(input.text()?);
        }
        order.alone = input.number()? != 0;
        order.plan_only = input.number()? != 0;
        Ok(order)
    }
}

/// First byte of a frame that is a message.
pub const MESSAGE: u8 = b'm';
/// First byte of a frame that asks for something to be opened.
pub const OPEN: u8 = b'o';

/// A request to open something.
pub fn encode_open(source: usize, name: &Name) -> Vec<u8> {
    let mut out = Out(vec![OPEN]);
    out.number(source as u64);
    let (kind, text) = match name {
        Name::Root => (0, ""),
        Name::Manifest(digest) => (1, digest.as_str()),
        Name::Blob(digest) => (2, digest.as_str()),
        Name::Member(path) => (3, path.as_str()),
    };
    out.number(kind);
    out.bytes(text.as_bytes());
    out.0
}

/// What a request asks for.
pub fn decode_open(bytes: &[u8]) -> Result<(usize, Name), Garbled> {
    let mut input = In(bytes);
    let source = usize::try_from(input.number()?).map_err(|_| Garbled)?;
    let kind = input.number()?;
    let text = input.text()?;
    let name = match kind {
        0 => Name::Root,
        1 => Name::Manifest(text),
        2 => Name::Blob(text),
        3 => Name::Member(text),
        _ => return Err(Garbled),
    };
    Ok((source, name))
}

/// The answer to a request: how many bytes there are, or why there are none.
pub fn encode_opened(result: &Result<Option<u64>, io::ErrorKind>) -> Vec<u8> {
    let mut out = Out::default();
    match result {
        Ok(size) => {
            out.number(0);
            out.number(size.unwrap_or(u64::MAX));
        }
        Err(io::ErrorKind::NotFound) => out.number(1),
        Err(io::ErrorKind::TimedOut) => out.number(3),
        Err(io::ErrorKind::PermissionDenied) => out.number(4),
        Err(_) => out.number(2),
    }
    out.0
}

/// The life of a parser. Its exit code.
pub fn live(channel: &Channel, setup: &Setup) -> i32 {
    jail::one_heap();
    let Ok(Some((order, _))) = channel.receive() else { return 1 };
    let (Ok(order), Ok(detector)) =
        (Order::decode(&order), Detector::build(&setup.rules, &setup.pick))
    else {
        return 1;
    };
    let lacking = jail::lock_in(setup.limits.memory);
    let line = Line { channel, sending: Mutex::new(()), asking: Mutex::new(()) };
    line.tell(&Message::Lacking(lacking.iter().map(|lock| lock.text().to_owned()).collect()));
    let jobs = if order.alone { 1 } else { setup.jobs };
    let tell = |message: Message| line.tell(&message);
    let (jobs, room, whole_room) = share(setup.limits.memory, jobs);
    let drive = Drive {
        detector: &detector,
        limits: &setup.limits,
        deadline: setup.deadline,
        wanted: &setup.wanted,
        jobs,
        room,
        whole_room,
        plan_only: order.plan_only,
        known: Mutex::new(order.known.into_iter().collect::<BTreeSet<_>>()),
        tell: &tell,
    };
    for (number, shape) in order.sources.iter().enumerate() {
        let ask = |name: &Name| line.ask(number, name);
        let whole = || line.ask(number, &Name::Root);
        match shape {
            Shape::Archive => drive.opened(number, whole(), Source::Archive),
            Shape::Stream => drive.opened(number, whole(), Source::Stream),
            Shape::Tree => drive.opened(number, whole(), Source::Tree),
            Shape::Named => drive.source(number, Source::Asked(&ask)),
            Shape::Over => {}
        }
    }
    line.tell(&Message::Done);
    0
}

/// Memory that the rest of the program takes: the process that opens, its reports, TLS.
const OUTSIDE: u64 = 20 << 20;
/// What a thread needs besides the windows of its decompressors.
const THREAD: u64 = 2 << 20;
/// Fewer bytes for windows than this are no use: the largest window of an ordinary zstd layer.
const WINDOWS: u64 = 8 << 20;

/// How many threads, how much memory for the windows of each, and of one that is alone: what the program and its rules
/// need is subtracted first.
fn share(memory: u64, jobs: usize) -> (usize, u64, u64) {
    let free = memory.saturating_sub(OUTSIDE).max(WINDOWS + THREAD);
    let jobs = (jobs as u64).clamp(1, free / (WINDOWS + THREAD));
    (usize::try_from(jobs).unwrap_or(1), free / jobs - THREAD, free - THREAD)
}

/// The way to the process that opens.
struct Line<'a> {
    channel: &'a Channel,
    sending: Mutex<()>,
    asking: Mutex<()>,
}

impl Line<'_> {
    fn send(&self, frame: &[u8]) {
        let _guard = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if self.channel.send(frame, None).is_err() {
            // Nobody listens any more.
            std::process::exit(1);
        }
    }

    fn tell(&self, message: &Message) {
        let mut frame = vec![MESSAGE];
        frame.append(&mut encode(message));
        self.send(&frame);
        zeroize::Zeroize::zeroize(&mut frame);
    }

    fn ask(&self, source: usize, name: &Name) -> Result<Opened, Fault> {
        let _guard = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        self.send(&encode_open(source, name));
        let lost = Fault::Io(io::ErrorKind::BrokenPipe);
        let (answer, fd) = self.channel.receive()?.ok_or(lost.clone())?;
        let mut input = In(&answer);
        match (input.number().map_err(|_| lost.clone())?, fd) {
            (0, Some(fd)) => {
                let size = input.number().ok().filter(|size| *size != u64::MAX);
                Ok(Opened::stream(File::from(fd), size))
            }
            (1, _) => Err(Fault::Io(io::ErrorKind::NotFound)),
            (3, _) => Err(Fault::Io(io::ErrorKind::TimedOut)),
            (4, _) => Err(Fault::Io(io::ErrorKind::PermissionDenied)),
            _ => Err(Fault::Io(io::ErrorKind::Other)),
        }
    }
}
