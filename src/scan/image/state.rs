//! What became of a file in the layers above its own. Pure.
//!
//! A path of a layer is unpacked through the links of the layers below it (`lib/x` is `usr/lib/x`
//! where `lib → usr/lib`), so a file has as many names as there are links to its directories.

use std::collections::HashMap;

use super::index::{Entry, Index};
use super::path::ancestors;
use crate::scan::finding::State;

/// Names of one file that are looked at: links to links multiply.
const MOST_NAMES: usize = 64;

/// What became of something, and through which layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fate {
    /// What.
    pub state: State,
    /// The layer that did it.
    pub by: Option<u32>,
}

impl Fate {
    /// Nothing happened to it.
    pub const PRESENT: Fate = Fate { state: State::Present, by: None };
}

/// The layers of one image, ready to be asked.
pub struct Stack<'a> {
    layers: Vec<&'a Index>,
    /// Links by what they point to: the layer, and where the link is.
    links: HashMap<&'a [u8], Vec<(u32, &'a [u8])>>,
}

impl<'a> Stack<'a> {
    /// The lowest layer first.
    pub fn new(layers: Vec<&'a Index>) -> Stack<'a> {
        let mut links: HashMap<&[u8], Vec<(u32, &[u8])>> = HashMap::new();
        for (layer, index) in (0..).zip(&layers) {
            for (from, to) in &index.links {
                links.entry(to).or_default().push((layer, from));
            }
        }
        Stack { layers, links }
    }

    /// What became of the member `ordinal` of `layer`, called `path`.
    ///
    /// Its content stays until its last name goes.
    pub fn fate(&self, layer: u32, path: &[u8], ordinal: u32) -> Fate {
        let own = self.name_fate(layer, path, Some(ordinal));
        let others = self.hard_links(layer, path);
        others.into_iter().map(|(at, name)| self.name_fate(at, name, None)).fold(own, better)
    }

    fn name_fate(&self, layer: u32, path: &[u8], ordinal: Option<u32>) -> Fate {
        let Some(index) = self.layers.get(layer as usize) else { return Fate::PRESENT };
        if let (Some(ordinal), Some(last)) = (ordinal, index.last(path))
            && ordinal < last
        {
            return Fate { state: State::Overwritten, by: Some(layer) };
        }
        for (above, index) in (0..).zip(&self.layers).skip(layer as usize + 1) {
            let names = self.names(path, above);
            if let Some(state) = names.iter().find_map(|name| removal(index, name)) {
                return Fate { state, by: Some(above) };
            }
        }
        Fate::PRESENT
    }

    /// The names under which an entry of the layer `above` reaches `path`.
    fn names(&self, path: &[u8], above: u32) -> Vec<Vec<u8>> {
        let mut names = vec![path.to_vec()];
        let mut next = 0;
        while next < names.len() && names.len() < MOST_NAMES {
            let name = names[next].clone();
            next += 1;
            for directory in ancestors(&name) {
                let links = self.links.get(directory).into_iter().flatten();
                for (layer, link) in links.filter(|(layer, link)| self.stands(*layer, link, above))
                {
                    debug_assert!(*layer <= above);
                    let alias = [link, &name[directory.len()..]].concat();
                    if !names.contains(&alias) {
                        names.push(alias);
                    }
                }
            }
        }
        names
    }

    /// Whether a link of `layer` is still a link when the layer `above` is unpacked.
    fn stands(&self, layer: u32, link: &[u8], above: u32) -> bool {
        layer <= above
            && (layer + 1..=above).all(|between| {
                let index = self.layers[between as usize];
                !index.has_any(link) && removal(index, link).is_none()
            })
    }

    /// Other names of a file of `layer`, given by it or by a layer above.
    fn hard_links(&self, layer: u32, path: &[u8]) -> Vec<(u32, &'a [u8])> {
        let mut names: Vec<(u32, &[u8])> = Vec::new();
        let above = (0..).zip(&self.layers).skip(layer as usize);
        for (at, index) in above {
            for (new, old) in &index.hard {
                let known = old == path || names.iter().any(|(_, name)| name == old);
                if known && names.len() < MOST_NAMES {
                    names.push((at, new));
                }
                // The file is itself the later name of an earlier one.
                if new == path && at == layer && names.len() < MOST_NAMES {
                    names.push((at, old));
                }
            }
        }
        names
    }
}

/// What a layer does to a path of a layer below it.
fn removal(index: &Index, path: &[u8]) -> Option<State> {
    if index.has_other(path) || index.has(path, Entry::Directory) {
        return Some(State::Overwritten);
    }
    if index.has(path, Entry::Whiteout) {
        return Some(State::Deleted);
    }
    let gone = ancestors(path).any(|directory| {
        index.has(directory, Entry::Whiteout)
            || index.has(directory, Entry::Opaque)
            || index.has_other(directory)
    });
    (gone || index.has(b"", Entry::Opaque)).then_some(State::Deleted)
}

fn better(one: Fate, other: Fate) -> Fate {
    // The most visible; of two that are gone, the one that went last.
    match one.state.cmp(&other.state) {
        std::cmp::Ordering::Less => one,
        std::cmp::Ordering::Greater => other,
        std::cmp::Ordering::Equal => {
            if one.by >= other.by {
                one
            } else {
                other
            }
        }
    }
}
