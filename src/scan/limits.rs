//! Every bound on what an image may make the scanner do, with the reason for each number.
//!
//! Reaching one is coverage (`limit` or `timeout`), never silence.

use std::time::{Duration, Instant};

/// The bounds of one run. The defaults are what `sidekey-scan` starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes together (`--memory`). 64 MiB runs beside a build in any CI job.
    pub memory: u64,
    /// Nested containers that are opened inside each other (`--max-depth`). A jar in a war in a deb
    /// in a tar.gz is 5; bombs are deeper.
    pub depth: u32,
    /// How long the whole run may take (`--timeout`).
    pub time: Duration,
    /// Unpacked bytes of one layer: four times the largest layers seen in practice (CUDA, 8 GB).
    pub layer_bytes: u64,
    /// Bytes unpacked out of nested containers of one layer, all levels together.
    pub nested_bytes: u64,
    /// Unpacked to packed bytes. Deflate can't do more than 1032; real layers stay below 100.
    pub ratio: u64,
    /// The ratio counts only beyond this many unpacked bytes: a sparse file is not a bomb.
    pub ratio_from: u64,
    /// Members of one layer. 8 bytes each are kept to tell what a later layer removed.
    pub entries: u32,
    /// Members of one nested container.
    pub nested_entries: u32,
    /// Bytes of the extended header of a tar member, or of a long name: Go reads 1 MiB, and container
    /// engines are written in Go.
    pub header_bytes: usize,
    /// Bytes of a manifest, index or config. Registries allow 4 MiB for a manifest.
    pub document_bytes: usize,
    /// Nesting of a JSON document: `serde_json` recurses no deeper.
    pub document_depth: usize,
    /// Platforms of an index, layers of an image, entries of a history.
    pub document_entries: usize,
    /// Links of a layer that are kept to follow a whiteout through them.
    pub links: usize,
    /// A random-access container (zip) is parsed whole up to this size.
    pub whole: usize,
    /// Findings stored of one image; the rest is counted.
    pub findings: usize,
    /// Places stored of one finding; the rest is counted.
    pub places: usize,
    /// Hits that one layer may hand over: ten times what is stored of an image, because many are one.
    pub hits: usize,
    /// Notes of one layer that are listed one by one; the rest is counted.
    pub skips: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory: 64 << 20,
            depth: 8,
            time: Duration::from_secs(60 * 60),
            layer_bytes: 32 << 30,
            nested_bytes: 8 << 30,
            ratio: 250,
            ratio_from: 64 << 20,
            entries: 1_000_000,
            nested_entries: 200_000,
            header_bytes: 1 << 20,
            document_bytes: 4 << 20,
            document_depth: 100,
            document_entries: 10_000,
            links: 100_000,
            whole: 4 << 20,
            findings: 10_000,
            places: 1_000,
            hits: 100_000,
            skips: 1_000,
        }
    }
}

/// A bound that was reached, by the name of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// [`Limits::memory`]: a window that does not fit. What is needed in bytes.
    Memory(u64),
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::layer_bytes`].
    LayerBytes,
    /// [`Limits::nested_bytes`].
    NestedBytes,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::entries`] or [`Limits::nested_entries`].
    Entries,
    /// [`Limits::header_bytes`].
    HeaderBytes,
    /// [`Limits::document_bytes`].
    DocumentBytes,
    /// [`Limits::document_entries`] or [`Limits::document_depth`].
    DocumentEntries,
    /// [`Limits::links`].
    Links,
    /// [`Limits::hits`].
    Hits,
}

impl Bound {
    /// What was reached, for people.
    pub fn text(self) -> String {
        match self {
            Bound::Memory(needed) => {
                let mib = needed.div_ceil(1 << 20);
                format!("needs a window that fits only with `--memory {mib}MiB`")
            }
            Bound::Depth => "nested deeper than `--max-depth`".to_owned(),
            Bound::LayerBytes => "the layer unpacks to more bytes than the limit".to_owned(),
            Bound::NestedBytes => {
                "nested containers unpack to more bytes than the limit".to_owned()
            }
            Bound::Ratio => "unpacks to more than 250 times its size".to_owned(),
            Bound::Entries => "more members than the limit".to_owned(),
            Bound::HeaderBytes => "an extended header is longer than the limit".to_owned(),
            Bound::DocumentBytes => "a document is longer than the limit".to_owned(),
            Bound::DocumentEntries => "a document has more entries than the limit".to_owned(),
            Bound::Links => "more links than the limit".to_owned(),
            Bound::Hits => "more hits in one layer than the limit".to_owned(),
        }
    }
}

/// When the run has to be over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Never.
    pub const NONE: Deadline = Deadline(None);

    /// `time` after `now`.
    pub fn after(now: Instant, time: Duration) -> Deadline {
        Deadline(now.checked_add(time))
    }

    /// Whether it is past.
    pub fn over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}
