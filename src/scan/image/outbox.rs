//! What the pass over one blob hands out: hits with their spot, skips, counts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::spot::Spot;
use crate::scan::finding::{Hit, Inside, PlaceKind, SkipReason};
use crate::scan::limits::Limits;

/// A hit and its spot in a blob, whichever layer of whichever image the blob is.
#[derive(Debug)]
pub struct Seen {
    /// What kind of spot.
    pub kind: PlaceKind,
    /// The file in the layer, or the name of the variable.
    pub path: Option<Vec<u8>>,
    /// The member of the layer's tar, counted from 0.
    pub ordinal: u32,
    /// Nested members and decodings, outermost first; the hit's own included.
    pub inside: Vec<Inside>,
    /// The instruction that set it, for a value of a config.
    pub instruction: Option<String>,
    /// What.
    pub hit: Hit,
}

/// A skip and its spot in a blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passed {
    /// Why.
    pub reason: SkipReason,
    /// The file in the layer.
    pub path: Option<Vec<u8>>,
    /// Nested members, outermost first.
    pub inside: Vec<Inside>,
    /// A number or a name that helps.
    pub detail: Option<String>,
}

/// What was read of one blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Plain bytes that met the detector.
    pub bytes_seen: u64,
    /// Files whose content was read, nested members included.
    pub files_seen: u64,
    /// Files with a skip.
    pub files_skipped: u64,
    /// Skips, also those not handed out.
    pub skips: u64,
    /// Hits that were not handed out.
    pub hits_dropped: u64,
}

/// What happens during the pass over a blob.
#[derive(Debug)]
pub enum Event {
    /// A hit.
    Seen(Seen),
    /// A skip.
    Passed(Passed),
}

/// Takes what the pass hands out, bounds it and counts it.
pub struct Outbox<'a> {
    limits: &'a Limits,
    emit: RefCell<&'a mut dyn FnMut(Event)>,
    counts: Cell<Counts>,
    hits: Cell<usize>,
    /// Digests of the secrets handed out from inside of the container that is open now.
    inner: RefCell<HashMap<u64, u32>>,
    hasher: RandomState,
    /// Objects of a git repository have been seen.
    git: Cell<bool>,
}

impl<'a> Outbox<'a> {
    /// Hands out through `emit`.
    pub fn new(limits: &'a Limits, emit: &'a mut dyn FnMut(Event)) -> Outbox<'a> {
        Outbox {
            limits,
            emit: RefCell::new(emit),
            counts: Cell::default(),
            hits: Cell::new(0),
            inner: RefCell::default(),
            hasher: RandomState::new(),
            git: Cell::new(false),
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// `count` plain bytes met the detector.
    pub fn read(&self, count: u64) {
        self.change(|counts| counts.bytes_seen += count);
    }

    /// A file was read.
    pub fn file(&self) {
        self.change(|counts| counts.files_seen += 1);
    }

    /// A hit at `spot`.
    pub fn hit(&self, spot: &Spot, mut hit: Hit) {
        if spot.depth > 0 || spot.kind != PlaceKind::File {
            let digest = self.hasher.hash_one(hit.secret.expose());
            *self.inner.borrow_mut().entry(digest).or_default() += 1;
        }
        if self.hits.get() >= self.limits.hits {
            self.change(|counts| counts.hits_dropped += 1);
            return;
        }
        self.hits.set(self.hits.get() + 1);
        let mut inside = spot.inside.clone();
        inside.append(&mut hit.inside);
        let (kind, path, ordinal) = (spot.kind, spot.path.clone(), spot.ordinal);
        let instruction = spot.instruction.clone();
        let seen = Seen { kind, path, ordinal, inside, instruction, hit };
        (self.emit.borrow_mut())(Event::Seen(seen));
    }

    /// Hits in the raw bytes of a container: those that were not found inside of it as well.
    pub fn raw_hits(&self, spot: &Spot, hits: Vec<Hit>) {
        for hit in hits {
            let digest = self.hasher.hash_one(hit.secret.expose());
            if !self.inner.borrow().contains_key(&digest) {
                self.hit(spot, hit);
            }
        }
    }

    /// The outermost container is closed.
    pub fn closed(&self) {
        self.inner.borrow_mut().clear();
    }

    /// An object of a git repository: said once for a blob, where the first one is.
    pub fn git_objects(&self, spot: &Spot) {
        if !self.git.replace(true) {
            self.skip(spot, SkipReason::GitObjects, None);
        }
    }

    /// Something at `spot` was not read as what it is.
    pub fn skip(&self, spot: &Spot, reason: SkipReason, detail: Option<String>) {
        let kept = usize::try_from(self.counts.get().skips).unwrap_or(usize::MAX);
        self.change(|counts| {
            counts.skips += 1;
            counts.files_skipped += 1;
        });
        // A reason that makes the image incomplete is never lost among the notes.
        if kept < self.limits.skips || (reason.is_incomplete() && kept < 2 * self.limits.skips) {
            let (path, inside) = (spot.path.clone(), spot.inside.clone());
            (self.emit.borrow_mut())(Event::Passed(Passed { reason, path, inside, detail }));
        }
    }
}
