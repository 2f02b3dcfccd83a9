//! From what was read to what is reported: every hit gets its layer, its instruction and its state.
//! Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::collect::{Blob, Collected};
use crate::scan::finding::{
    Assembled, Coverage, Fingerprints, ImageReport, Introduced, Keep, LayerReport, Located, Origin,
    Place, PlaceKind, RuleInfo, Skip, SkipReason, SourceKind, Suppressed, SuppressedBy, Trouble,
    assemble,
};
use crate::scan::image::index::Index;
use crate::scan::image::outbox::Seen;
use crate::scan::image::plan::{Planned, PlannedLayer};
use crate::scan::image::state::{Fate, Stack};
use crate::scan::limits::Limits;

/// What attribution needs besides what was read.
pub struct Terms<'a> {
    /// What a report says of each rule.
    pub rules: &'a [RuleInfo],
    /// How values get their names.
    pub prints: &'a Fingerprints,
    /// What is kept.
    pub keep: &'a Keep,
    /// The bounds.
    pub limits: &'a Limits,
    /// Base images: the one that was named, or that an annotation names.
    pub base: &'a dyn Fn(&Asked, &Planned) -> Option<&'a Base>,
    /// Paths that do not count.
    pub excluded: &'a dyn Fn(&[u8]) -> bool,
}

/// A base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Its name.
    pub name: String,
    /// The digests of its unpacked layers, for each of its platforms.
    pub stacks: Vec<Vec<String>>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As it was written.
    pub reference: String,
    /// Where it comes from.
    pub source: SourceKind,
}

/// Every image of every source, in their order.
pub fn attribute(collected: &Collected, asked: &[Asked], terms: &Terms<'_>) -> Vec<ImageReport> {
    let mut reports = Vec::new();
    for (number, asked) in asked.iter().enumerate() {
        let mut any = false;
        for (_, image) in collected.images.iter().filter(|(source, _)| *source == number) {
            any = true;
            reports.push(match image {
                Ok(planned) => {
                    let base = (terms.base)(asked, planned);
                    Image { collected, terms, planned, base }.report(asked)
                }
                Err(trouble) => failed(asked, trouble.clone()),
            });
        }
        if !any {
            let trouble = Trouble {
                what: "can't be read".to_owned(),
                why: "the process that reads it ended without a word".to_owned(),
                hint: "report the image to Sidekey; the others were read".to_owned(),
            };
            reports.push(failed(asked, trouble));
        }
    }
    reports
}

fn failed(asked: &Asked, trouble: Trouble) -> ImageReport {
    ImageReport {
        reference: asked.reference.clone(),
        source: asked.source,
        index_digest: None,
        digest: None,
        config_digest: None,
        platform: None,
        base: None,
        error: Some(trouble),
        complete: false,
        layers: Vec::new(),
        findings: Vec::new(),
        coverage: Coverage::default(),
    }
}

struct Image<'a, 't> {
    collected: &'a Collected,
    terms: &'a Terms<'t>,
    planned: &'a Planned,
    base: Option<&'a Base>,
}

impl<'a> Image<'a, '_> {
    fn blob(&self, key: Option<&String>) -> Option<&'a Blob> {
        self.collected.blobs.get(key?)
    }

    fn report(&self, asked: &Asked) -> ImageReport {
        let planned = self.planned;
        let nothing = Index::default();
        let passage = |layer: &PlannedLayer| self.blob(layer.key.as_ref())?.passage.as_ref();
        let indexes =
            planned.layers.iter().map(|layer| passage(layer).map_or(&nothing, |p| &p.index));
        let stack = Stack::new(indexes.collect());
        let base = self.base_layers();
        let mut located = Vec::new();
        for (at, layer) in (0..).zip(&planned.layers) {
            let Some(blob) = self.blob(layer.key.as_ref()) else { continue };
            let introduced = Introduced {
                layer: Some(at),
                diff_id: self.diff_id(layer).map(Arc::from),
                instruction: layer.instruction.as_deref().map(Arc::from),
                base: (at as usize) < base,
            };
            located.extend(blob.seen.iter().map(|seen| in_layer(seen, &introduced, &stack)));
        }
        for key in &planned.documents {
            let seen = self.blob(Some(key)).into_iter().flat_map(|blob| &blob.seen);
            located.extend(seen.map(in_document));
        }
        let mut made = assemble(located, self.terms.rules, self.terms.prints, self.terms.keep);
        for finding in &mut made.findings {
            let places = &finding.places;
            if places.iter().all(|place| place.path.as_deref().is_some_and(self.terms.excluded)) {
                finding.suppressed.get_or_insert(Suppressed {
                    by: SuppressedBy::Config,
                    reason: "every place is excluded".to_owned(),
                    until: None,
                });
            }
        }
        let coverage = self.coverage(&made);
        let error = planned.error.as_ref().map(|[what, why, hint]| Trouble {
            what: what.clone(),
            why: why.clone(),
            hint: hint.clone(),
        });
        ImageReport {
            reference: self.reference(asked),
            source: match asked.source {
                SourceKind::DockerArchive if !planned.saved => SourceKind::OciArchive,
                source => source,
            },
            index_digest: planned.index_digest.clone(),
            digest: planned.digest.clone(),
            config_digest: planned.config_digest.clone(),
            platform: planned.platform.clone(),
            base: self.base_name(base),
            error,
            complete: false,
            layers: self.layers(base, &made),
            findings: made.findings,
            coverage,
        }
    }

    /// An archive may hold several images, which are told apart by their names.
    fn reference(&self, asked: &Asked) -> String {
        let of_source = self.collected.images.iter().filter(|(_, image)| {
            image.as_ref().is_ok_and(|planned| planned.names != self.planned.names)
        });
        match self.planned.names.first() {
            Some(name) if of_source.count() > 0 && asked.source != SourceKind::Registry => {
                format!("{} ({name})", asked.reference)
            }
            _ => asked.reference.clone(),
        }
    }

    /// How many layers are those of the base: all of its layers, or none.
    fn base_layers(&self) -> usize {
        let own: Vec<Option<&str>> =
            self.planned.layers.iter().map(|layer| self.diff_id(layer)).collect();
        let is_below = |stack: &&Vec<String>| {
            stack.len() <= own.len() && stack.iter().zip(&own).all(|(b, o)| *o == Some(b.as_str()))
        };
        let stacks = self.base.into_iter().flat_map(|base| &base.stacks);
        stacks.filter(is_below).map(Vec::len).max().unwrap_or(0)
    }

    fn base_name(&self, base: usize) -> Option<String> {
        match self.base {
            Some(known) if base > 0 => Some(known.name.clone()),
            _ => self.planned.base.as_ref().map(|(name, _)| name.clone()),
        }
    }

    /// The digest of the layer unpacked: as the config says it, or as it was read.
    fn diff_id(&self, layer: &'a PlannedLayer) -> Option<&'a str> {
        layer.diff_id.as_deref().or_else(|| {
            let passage = self.blob(layer.key.as_ref())?.passage.as_ref()?;
            (passage.size == passage.unpacked && passage.size > 0).then_some(&passage.digest)
        })
    }

    fn layers(&self, base: usize, made: &Assembled) -> Vec<LayerReport> {
        let planned = self.planned.layers.iter().enumerate();
        let layers = planned.map(|(at, layer)| {
            let passage = self.blob(layer.key.as_ref()).and_then(|blob| blob.passage.as_ref());
            let read = passage.map(|passage| passage.digest.clone()).filter(|d| !d.is_empty());
            LayerReport {
                index: u32::try_from(at).unwrap_or(u32::MAX),
                digest: layer.digest.clone().or(read),
                diff_id: self.diff_id(layer).map(str::to_owned),
                media_type: layer.media_type.clone(),
                size: passage.map_or(layer.size.unwrap_or(0), |passage| passage.size),
                unpacked: passage.map_or(0, |passage| passage.unpacked),
                instruction: layer.instruction.as_deref().map(|text| made.redactor.text(text)),
                origin: match base {
                    0 => Origin::Unknown,
                    base if at < base => Origin::Base,
                    _ => Origin::Own,
                },
            }
        });
        layers.collect()
    }

    fn coverage(&self, made: &Assembled) -> Coverage {
        let mut skips = Skips { most: self.terms.limits.skips, ..Skips::default() };
        let mut coverage = Coverage {
            findings_dropped: made.dropped,
            sandbox: self.collected.lacking.clone(),
            ..Coverage::default()
        };
        let mut counted = BTreeSet::new();
        for (reason, layer, detail) in &self.planned.skips {
            let reason = reason.parse().unwrap_or(SkipReason::Io);
            skips.add(skip(reason, *layer, detail.clone()));
        }
        for (at, layer) in (0..).zip(&self.planned.layers) {
            if let Some(key) = &layer.key {
                let first = counted.insert(key);
                self.covered(key, Some((at, layer)), first, &mut coverage, &mut skips);
            } else {
                coverage.bytes_skipped += layer.size.unwrap_or(0);
            }
        }
        for key in &self.planned.documents {
            self.covered(key, None, counted.insert(key), &mut coverage, &mut skips);
        }
        for skip in &mut skips.kept {
            skip.path = skip.path.take().map(|path| made.redactor.bytes(&path));
        }
        skips.kept.sort();
        skips.kept.dedup();
        coverage.skips = skips.kept;
        coverage.skips_total = skips.total;
        coverage.gap_not_kept = skips.gap_lost;
        coverage
    }

    /// One blob or document. Its bytes count the first time.
    fn covered(
        &self,
        key: &str,
        layer: Option<(u32, &PlannedLayer)>,
        first: bool,
        coverage: &mut Coverage,
        skips: &mut Skips,
    ) {
        let at = layer.map(|(at, _)| at);
        let Some(blob) = self.collected.blobs.get(key) else {
            skips.add(skip(SkipReason::LayerUnreadable, at, Some("is missing".to_owned())));
            return;
        };
        let Some(passage) = &blob.passage else {
            skips.add(skip(SkipReason::ParserCrashed, at, None));
            return;
        };
        let counts = &passage.counts;
        if first {
            coverage.bytes_seen += counts.bytes_seen;
            coverage.files_seen += counts.files_seen;
            coverage.files_skipped += counts.files_skipped;
        }
        if counts.hits_dropped > 0 {
            let detail = format!("{} hits were counted and not kept", counts.hits_dropped);
            skips.add(skip(SkipReason::Limit, at, Some(detail)));
        }
        if let Some((_, layer)) = layer {
            coverage.bytes_skipped += layer.size.unwrap_or(0).saturating_sub(passage.size);
            if layer.tar && !passage.tar && passage.faults.is_empty() {
                let detail = "is no tar, and in no compression that is known".to_owned();
                skips.add(skip(SkipReason::UnknownLayerCompression, at, Some(detail)));
            }
        }
        let foreign = layer.is_some_and(|(_, layer)| layer.foreign) && passage.size == 0;
        for (reason, detail) in &passage.faults {
            let reason = if foreign { SkipReason::ForeignLayer } else { *reason };
            skips.add(skip(reason, at, detail.clone()));
        }
        for passed in &blob.passed {
            skips.add(Skip {
                reason: passed.reason,
                layer: at,
                path: passed.path.clone(),
                inside: passed.inside.clone(),
                detail: passed.detail.clone(),
            });
        }
        skips.total += counts.skips.saturating_sub(blob.passed.len() as u64);
    }
}

fn skip(reason: SkipReason, layer: Option<u32>, detail: Option<String>) -> Skip {
    Skip { reason, layer, path: None, inside: Vec::new(), detail }
}

/// Skips, as many as are kept.
#[derive(Default)]
struct Skips {
    kept: Vec<Skip>,
    total: u64,
    gap_lost: bool,
    most: usize,
}

impl Skips {
    fn add(&mut self, skip: Skip) {
        self.total += 1;
        if self.kept.len() < self.most {
            self.kept.push(skip);
            return;
        }
        // A gap is worth more than a note.
        let note = self.kept.iter().rposition(|kept| !kept.reason.is_incomplete());
        match note {
            Some(at) if skip.reason.is_incomplete() => self.kept[at] = skip,
            _ => self.gap_lost |= skip.reason.is_incomplete(),
        }
    }
}

fn in_layer(seen: &Seen, introduced: &Introduced, stack: &Stack<'_>) -> Located {
    let layer = introduced.layer.unwrap_or(0);
    let fate = match (seen.kind, &seen.path) {
        (PlaceKind::File | PlaceKind::Filename, Some(path)) => {
            stack.fate(layer, path, seen.ordinal)
        }
        _ => Fate::PRESENT,
    };
    located(seen, introduced.clone(), fate)
}

fn in_document(seen: &Seen) -> Located {
    let instruction = seen.instruction.as_deref().map(Arc::from);
    located(seen, Introduced { instruction, ..Introduced::default() }, Fate::PRESENT)
}

fn located(seen: &Seen, introduced: Introduced, fate: Fate) -> Located {
    let Seen { kind, path, inside, hit, .. } = seen.copy();
    let place = Place {
        kind,
        path,
        line: hit.line,
        column: hit.column,
        offset: hit.offset,
        length: hit.length,
        inside,
        introduced,
        state: fate.state,
        removed_by: fate.by,
    };
    Located { hit, place }
}
