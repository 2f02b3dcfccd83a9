//! The corpora of the fuzz targets, replayed.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

#[test]
fn every_corpus_passes_through_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in bodies::TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(root.join(name)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            let bytes = std::fs::read(&path).unwrap();
            target(&bytes);
            // What a fuzzer tries first: cut anywhere, and one bit that is another.
            for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
                target(&bytes[..cut]);
            }
            let mut other = bytes.clone();
            let middle = other.len() / 3;
            if let Some(byte) = other.get_mut(middle) {
                *byte ^= 0x10;
                target(&other);
            }
            count += 1;
        }
        assert!(count >= 4, "the corpus of {name} has {count} files");
    }
}

#[test]
fn every_corpus_has_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in std::fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(bodies::TARGETS.iter().any(|(target, _)| *name == **target), "{}", name.display());
    }
}
