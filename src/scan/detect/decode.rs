//! Text inside text: what stands in another encoding is decoded and looked at in turn.

mod base;
mod escape;
mod utf16;

use std::ops::Range;

use super::class::Class;
use super::matcher::{Found, Scene, View};
use crate::scan::finding::{Confidence, Inside, Via};
use zeroize::Zeroize;

/// How often encodings are looked for inside each other: a Helm release is base64, base64, gzip.
const DEPTH: u8 = 4;

/// A stretch of bytes that decodes.
pub(super) struct Decoded {
    pub via: Via,
    /// Where the encoded bytes stand.
    pub span: Range<usize>,
    pub bytes: Vec<u8>,
}

impl Decoded {
    /// Whether this turn reports it: a long stretch is seen by several turns.
    fn is_in(&self, view: &View<'_>, found: &Found) -> bool {
        let at = match self.via {
            Via::Gzip => self.span.start,
            _ => self.span.start + found.outer.start * self.span.len() / self.bytes.len().max(1),
        };
        at >= view.from && (at < view.to || view.is_end)
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl Scene<'_> {
    /// What is found inside the encodings in the part of the view that is looked at.
    pub(super) fn inside(&self, view: &View<'_>, plain: &[Found]) -> Vec<Found> {
        if self.depth >= DEPTH {
            return Vec::new();
        }
        let mut pieces = Vec::new();
        base::find(view, &mut pieces);
        utf16::find(view, &mut pieces);
        escape::find(view, &mut pieces);
        let mut all = Vec::new();
        for piece in pieces {
            let found = self.inner(piece.via).look(&View::whole(&piece.bytes));
            let mine = found.into_iter().filter(|found| piece.is_in(view, found));
            all.extend(mine.map(|found| outwards(found, &piece)));
        }
        all.retain(|found: &Found| !plain.iter().any(|other| is_said_by(found, other)));
        all
    }

    fn inner(&self, via: Via) -> Scene<'_> {
        let class = match (self.class, via) {
            (Class::Binary, _) => Class::Text,
            (Class::Config | Class::Shell, Via::Base64 | Via::Hex | Via::Gzip) => Class::Text,
            (class, _) => class,
        };
        Scene { class, depth: self.depth + 1, ..*self }
    }
}

fn outwards(mut found: Found, piece: &Decoded) -> Found {
    let step = Inside { via: piece.via, name: None, offset: piece.span.start as u64 };
    found.inside.insert(0, step);
    found.outer = piece.span.clone();
    found
}

/// The outer bytes have been recognised as something particular already, or the same was found.
fn is_said_by(found: &Found, other: &Found) -> bool {
    let overlaps = other.outer.start < found.outer.end && found.outer.start < other.outer.end;
    overlaps && (other.confidence == Confidence::Proved || other.secret == found.secret)
}
