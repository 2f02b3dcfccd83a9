//! What each fuzz target does with its bytes. Used by the targets, and by the ordinary test that
//! replays the corpora (`tests/scan_fuzz.rs`).

use std::io::Read;
use std::sync::OnceLock;

use sidekey::scan::detect::{Detector, Pick, RuleSet, Subject};
use sidekey::scan::finding::PlaceKind;
use sidekey::scan::image::documents::{self, Config, List, Saved};
use sidekey::scan::image::feed::{Fault, Feed, Input, Section};
use sidekey::scan::image::layer::{self, Expected};
use sidekey::scan::image::look::Look;
use sidekey::scan::image::outbox::Outbox;
use sidekey::scan::image::tar::{Member, Visit, walk};
use sidekey::scan::image::unpack::{Level, Meter, Packing, Unpack};
use sidekey::scan::limits::{Bound, Deadline, Limits};

/// A target: its name, which is also its corpus's, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("tar_walk", tar_walk),
    ("gzip", gzip),
    ("zstd", zstd),
    ("documents", oci_documents),
    ("rules", rules),
    ("matcher", matcher),
    ("layer", whole_layer),
];

/// Small bounds, so that a bomb is over soon.
fn limits() -> Limits {
    Limits {
        layer_bytes: 16 << 20,
        nested_bytes: 16 << 20,
        ratio_from: 4 << 20,
        entries: 10_000,
        nested_entries: 1_000,
        ..Limits::default()
    }
}

fn detector() -> &'static Detector {
    static DETECTOR: OnceLock<Detector> = OnceLock::new();
    DETECTOR.get_or_init(|| {
        let rules = RuleSet::built_in().expect("the built-in rules are right");
        Detector::build(&rules, &Pick::default()).expect("the built-in rules compile")
    })
}

#[derive(Default)]
struct Counted {
    bytes: u64,
}

impl Visit for Counted {
    fn member(&mut self, _: &Member, content: &mut Section<'_>) -> Result<(), Fault> {
        loop {
            let count = content.peek(1)?.len();
            if count == 0 {
                return Ok(());
            }
            content.consume(count);
            self.bytes += count as u64;
        }
    }

    fn hidden(&mut self, _: &[u8], _: u64, _: &[u8]) {}

    fn partly(&mut self, _: &[u8], _: Bound) {}
}

/// The walk ends, and takes no byte twice.
pub fn tar_walk(data: &[u8]) {
    let mut counted = Counted::default();
    let mut feed = Input::new(data, 4096);
    let _ = walk(&mut feed, &limits(), 1000, &mut counted);
    assert!(counted.bytes <= data.len() as u64);
    assert!(feed.position() <= data.len() as u64);
}

fn unpacked(data: &[u8], packing: Packing) {
    let limits = limits();
    let meter = Meter::new(&limits, Deadline::NONE, 8 << 20);
    let mut aside = |_: &[u8]| {};
    let mut feed = Input::new(data, 4096);
    let mut unpack = Unpack::new(&mut feed, packing, Level::Layer, &meter, &mut aside);
    let mut buffer = vec![0; 32 << 10];
    let mut total = 0;
    while let Ok(count) = unpack.read(&mut buffer) {
        if count == 0 {
            break;
        }
        total += count as u64;
    }
    assert!(total <= limits.layer_bytes + buffer.len() as u64);
}

/// Any number of members, within the bounds.
pub fn gzip(data: &[u8]) {
    unpacked(data, Packing::Gzip);
}

/// Any number of frames, within the bounds.
pub fn zstd(data: &[u8]) {
    unpacked(data, Packing::Zstd);
}

/// Documents are read or refused.
pub fn oci_documents(data: &[u8]) {
    let _ = documents::index_or_manifest(data);
    let _ = documents::parse::<List<Saved>>(data);
    if let Ok(config) = documents::parse::<Config>(data) {
        let steps = &config.history.items;
        let _ = sidekey::scan::image::history::steps_of_layers(steps, steps.len());
        let _ = sidekey::scan::image::history::step_that_sets(steps, "ENV", "A");
    }
}

/// A rules file is read or refused; what is read can be built.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut set = RuleSet::default();
    if set.add("fuzz", text).is_ok() {
        let _ = Detector::build(&set, &Pick::default());
    }
}

/// The same hits, however the bytes are cut.
pub fn matcher(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let subject = Subject { path: b"app/.env", kind: PlaceKind::File };
    let hits = |size: usize| {
        let mut hits = Vec::new();
        let mut stream = detector().open(&subject);
        for chunk in bytes.chunks(size) {
            stream
                .push(chunk, &mut |hit| hits.push((hit.offset, hit.length, hit.rule, hit.inside)));
        }
        stream.finish(&mut |hit| hits.push((hit.offset, hit.length, hit.rule, hit.inside)));
        hits.sort();
        hits
    };
    assert_eq!(hits(usize::from(step) + 1), hits(bytes.len().max(1)));
}

/// A whole layer with everything in it.
pub fn whole_layer(data: &[u8]) {
    let limits = limits();
    let meter = Meter::new(&limits, Deadline::NONE, 8 << 20);
    let mut emit = |_| {};
    let outbox = Outbox::new(&limits, &mut emit);
    let look = Look { detector: detector(), meter: &meter, outbox: &outbox };
    let passage = layer::pass(&look, data, &Expected::default());
    assert!(passage.size <= data.len() as u64);
}
