//! Base images: the one that was named, and those that an image's own annotation names by digest in
//! the same registry. Only their documents are read.

use std::collections::BTreeMap;
use std::path::Path;

use super::args::Scan;
use super::error::Failure;
use super::open::{self, Opened};
use super::run;
use crate::scan::finding::SourceKind;
use crate::scan::image::plan::Planned;
use crate::scan::scan::attribute::{Asked, Base};
use crate::scan::scan::collect::Collected;
use crate::scan::scan::nursery::Nursery;
use crate::scan::source::registry::Options;
use crate::scan::source::registry::reference::{Reference, is_digest};
use crate::scan::source::wanted;

/// Annotations that are followed: images of one run share their bases.
const MOST: usize = 100;

/// The base images of a run.
#[derive(Default)]
pub struct Bases {
    named: Option<Base>,
    /// By name and digest.
    annotated: BTreeMap<String, Base>,
}

impl Bases {
    /// Reads what is known of them.
    pub fn find(
        args: &Scan,
        nursery: &Nursery,
        collected: &Collected,
        images: &[Opened],
        options: &Options,
    ) -> Result<Bases, Failure> {
        let mut bases = Bases::default();
        if let Some(name) = &args.base {
            let stacks = stacks(nursery, name, options)?;
            let failed = || {
                let hint = "name an image as the others are named";
                Failure::new(format!("can't read the base `{name}`"), "it has no layers", hint)
            };
            bases.named =
                Some(stacks.map(|stacks| Base { name: name.clone(), stacks }).ok_or_else(failed)?);
            return Ok(bases);
        }
        for (source, image) in &collected.images {
            let asked = images.get(*source).map(|image| &image.asked);
            let (Some(asked), Ok(planned)) = (asked, image) else { continue };
            let Some(reference) = annotated(asked, planned) else { continue };
            if bases.annotated.len() >= MOST || bases.annotated.contains_key(&reference) {
                continue;
            }
            // A base that is gone is no failure: the origin stays unknown.
            let text = format!("registry:{reference}");
            let stacks = stacks(nursery, &text, options).ok().flatten().unwrap_or_default();
            bases.annotated.insert(reference.clone(), Base { name: reference, stacks });
        }
        Ok(bases)
    }

    /// The base of an image.
    pub fn of(&self, asked: &Asked, planned: &Planned) -> Option<&Base> {
        let annotated = || self.annotated.get(&annotated(asked, planned)?);
        self.named.as_ref().or_else(annotated)
    }
}

/// The base that an annotation names, if it is in the registry that the image is from.
fn annotated(asked: &Asked, planned: &Planned) -> Option<String> {
    let (name, digest) = planned.base.as_ref()?;
    let digest = digest.as_ref().filter(|digest| is_digest(digest))?;
    if asked.source != SourceKind::Registry {
        return None;
    }
    let image = asked.reference.strip_prefix("registry:").unwrap_or(&asked.reference);
    let image = Reference::parse(image.trim_start_matches("//")).ok()?;
    let base = Reference::parse(name).ok()?;
    let same = image.registry == base.registry;
    same.then(|| format!("{}/{}@{digest}", base.registry, base.repository))
}

/// The layers of an image, for each of its platforms.
fn stacks(
    nursery: &Nursery,
    text: &str,
    options: &Options,
) -> Result<Option<Vec<Vec<String>>>, Failure> {
    let wanted = wanted::parse(text, &|path: &Path| path.exists());
    let opened = open::open(&wanted, options);
    if let Some(failure) = opened.failure {
        return Err(failure);
    }
    let collected = run::read(nursery, &mut [opened], true, &mut |_| {})?;
    let images = collected.images.iter().filter_map(|(_, image)| image.as_ref().ok());
    let stacks: Vec<Vec<String>> = images
        .filter_map(|planned| planned.layers.iter().map(|layer| layer.diff_id.clone()).collect())
        .filter(|stack: &Vec<String>| !stack.is_empty())
        .collect();
    Ok((!stacks.is_empty()).then_some(stacks))
}
