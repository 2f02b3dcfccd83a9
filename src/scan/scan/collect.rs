//! What the pass said, kept until everything is known.

use std::collections::{BTreeMap, BTreeSet};

use super::message::Message;
use crate::scan::finding::Trouble;
use crate::scan::image::layer::Passage;
use crate::scan::image::outbox::{Event, Passed, Seen};
use crate::scan::image::plan::Planned;

/// A blob or document, as it was read.
#[derive(Debug, Default)]
pub struct Blob {
    /// Hits.
    pub seen: Vec<Seen>,
    /// Skips.
    pub passed: Vec<Passed>,
    /// What came of it. None while it is being read.
    pub passage: Option<Passage>,
    /// The process that read it ended without a word.
    pub crashed: bool,
}

/// Everything that was said.
#[derive(Debug, Default)]
pub struct Collected {
    /// By key.
    pub blobs: BTreeMap<String, Blob>,
    /// Images and failures with the source that they belong to.
    pub images: Vec<(usize, Result<Planned, Trouble>)>,
    /// Sources that were read to their end.
    pub over: BTreeSet<usize>,
    /// What the kernel lacks.
    pub lacking: Vec<String>,
    /// Stored bytes that were read.
    pub progress: u64,
    /// Nothing more will come.
    pub done: bool,
}

impl Collected {
    /// Takes one message.
    pub fn take(&mut self, message: Message) {
        match message {
            // A second reading replaces what an unfinished first one left.
            Message::Begin { key } => {
                self.blobs.insert(key, Blob::default());
            }
            Message::Event { key, event } => {
                let blob = self.blobs.entry(key).or_default();
                match event {
                    Event::Seen(seen) => blob.seen.push(seen),
                    Event::Passed(passed) => blob.passed.push(passed),
                }
            }
            Message::End { key, passage } => {
                let blob = self.blobs.entry(key).or_default();
                blob.passage = Some(*passage);
                sort(blob);
            }
            Message::Image { source, planned } => self.images.push((source, Ok(*planned))),
            Message::Failed { source, trouble } => self.images.push((source, Err(trouble))),
            Message::Over { source } => {
                self.over.insert(source);
            }
            Message::Progress(count) => self.progress += count,
            Message::Lacking(lacking) => self.lacking = lacking,
            Message::Done => self.done = true,
        }
    }
}

/// Members come in the order of the tar, but what is found in the raw bytes of a container comes
/// after what was found inside of it.
fn sort(blob: &mut Blob) {
    blob.seen.sort_by(|a, b| {
        let key = |seen: &Seen| (seen.ordinal, seen.hit.offset, seen.hit.length, seen.hit.rule);
        key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path)).then_with(|| a.inside.cmp(&b.inside))
    });
    blob.passed.sort();
}
