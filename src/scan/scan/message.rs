//! What the pass says while it runs.

use crate::scan::finding::Trouble;
use crate::scan::image::layer::Passage;
use crate::scan::image::outbox::{Event, Seen};
use crate::scan::image::plan::Planned;

/// One thing that happened.
#[derive(Debug)]
pub enum Message {
    /// The reading of a blob or document begins.
    Begin {
        /// Its key.
        key: String,
    },
    /// A hit or a skip in it.
    Event {
        /// Its key.
        key: String,
        /// What.
        event: Event,
    },
    /// It was read.
    End {
        /// Its key.
        key: String,
        /// What came of it.
        passage: Box<Passage>,
    },
    /// A source holds this image.
    Image {
        /// The source, from 0.
        source: usize,
        /// The image.
        planned: Box<Planned>,
    },
    /// A source holds nothing that can be read.
    Failed {
        /// The source, from 0.
        source: usize,
        /// Why.
        trouble: Trouble,
    },
    /// A source was read to its end.
    Over {
        /// The source, from 0.
        source: usize,
    },
    /// So many stored bytes more were read.
    Progress(u64),
    /// What the kernel lacks to lock the pass in.
    Lacking(Vec<String>),
    /// There is nothing more to come.
    Done,
}

/// Who is told. Called from several threads.
pub type Tell<'a> = &'a (dyn Fn(Message) + Sync);

impl Seen {
    /// A copy, for a blob that several images have.
    #[must_use]
    pub fn copy(&self) -> Seen {
        let hit = &self.hit;
        Seen {
            kind: self.kind,
            path: self.path.clone(),
            ordinal: self.ordinal,
            inside: self.inside.clone(),
            instruction: self.instruction.clone(),
            hit: crate::scan::finding::Hit {
                rule: hit.rule,
                offset: hit.offset,
                length: hit.length,
                line: hit.line,
                column: hit.column,
                inside: hit.inside.clone(),
                secret: crate::secret::SecretBytes::copy_of(hit.secret.expose()),
                confidence: hit.confidence,
                severity: hit.severity,
                proof: hit.proof.clone(),
                weak: hit.weak,
                key_name: hit.key_name.clone(),
                allowed_inline: hit.allowed_inline,
            },
        }
    }
}
