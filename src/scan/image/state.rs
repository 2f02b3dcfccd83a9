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
    /// Links by where they are: the layer, and what they point to.
    targets: HashMap<&'a [u8], Vec<(u32, &'a [u8])>>,
}

impl<'a> Stack<'a> {
    /// The lowest layer first.
    pub fn new(layers: Vec<&'a Index>) -> Stack<'a> {
        let mut links: HashMap<&[u8], Vec<(u32, &[u8])>> = HashMap::new();
        let mut targets: HashMap<&[u8], Vec<(u32, &[u8])>> = HashMap::new();
        for (layer, index) in (0..).zip(&layers) {
            for (from, to) in &index.links {
                links.entry(to).or_default().push((layer, from));
                targets.entry(from).or_default().push((layer, to));
            }
        }
        Stack { layers, links, targets }
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
            let names = self.names(layer, path, above);
            let removed = names.iter().find_map(|(name, led)| removal(index, name, *led));
            if let Some(state) = removed {
                return Fate { state, by: Some(above) };
            }
        }
        Fate::PRESENT
    }

    /// The names under which an entry of the layer `above` reaches a file of `layer`, each with how
    /// much of it is a link: what happens to the link itself does not happen to the file.
    fn names(&self, layer: u32, path: &[u8], above: u32) -> Vec<(Vec<u8>, usize)> {
        let mut names = vec![(path.to_vec(), 0)];
        let mut next = 0;
        while next < names.len() && names.len() < MOST_NAMES {
            let name = names[next].0.clone();
            for directory in ancestors(&name) {
                let rest = &name[directory.len()..];
                // Written through a link, the file is where the link points to.
                for (from, target) in self.targets.get(directory).into_iter().flatten() {
                    if *from <= layer && self.stands(*from, directory, layer) {
                        names[next].1 = names[next].1.max(directory.len());
                        add(&mut names, target, rest, 0);
                    }
                }
                for (from, link) in self.links.get(directory).into_iter().flatten() {
                    if self.leads(*from, link, above) {
                        add(&mut names, link, rest, link.len());
                    }
                }
            }
            next += 1;
        }
        names
    }

    /// Whether a link of `layer` is still a link after the layer `last`.
    fn stands(&self, layer: u32, link: &[u8], last: u32) -> bool {
        (layer + 1..=last).all(|between| {
            let index = self.layers[between as usize];
            !index.has_any(link) && removal(index, link, 0).is_none()
        })
    }

    /// Whether what the layer `above` writes is led on by a link of `layer`.
    fn leads(&self, layer: u32, link: &[u8], above: u32) -> bool {
        if layer >= above {
            return layer == above;
        }
        let index = self.layers[above as usize];
        let goes = index.has(link, Entry::Directory) || index.has(link, Entry::Whiteout);
        !goes && self.stands(layer, link, above - 1)
    }

    /// Other names of a file of `layer`, given by it or by a layer above.
    fn hard_links(&self, layer: u32, path: &'a [u8]) -> Vec<(u32, &'a [u8])> {
        // The first is the file's own.
        let mut names: Vec<(u32, &[u8])> = vec![(layer, path)];
        let above = (0..).zip(&self.layers).skip(layer as usize);
        for (at, index) in above {
            for (new, old) in &index.hard {
                let is_old = |&(given, name): &(u32, &[u8])| {
                    name == old && (given == at || self.is_there(given, name, at))
                };
                if names.len() <= MOST_NAMES && names.iter().any(is_old) {
                    names.push((at, new));
                }
                // The file is itself the later name of an earlier one.
                if new == path && at == layer && names.len() <= MOST_NAMES {
                    names.push((at, old));
                }
            }
        }
        names.split_off(1)
    }

    /// Whether a name that `given` gave to a file still leads to it once `last` is unpacked.
    fn is_there(&self, given: u32, name: &[u8], last: u32) -> bool {
        self.name_fate(given, name, None).by.is_none_or(|by| by > last)
    }
}

fn add(names: &mut Vec<(Vec<u8>, usize)>, directory: &[u8], rest: &[u8], led: usize) {
    let name = if directory.is_empty() { rest[1..].to_vec() } else { [directory, rest].concat() };
    if !names.iter().any(|(known, _)| *known == name) {
        names.push((name, led));
    }
}

/// What a layer does to a path of a layer below it. The first `led` bytes of the path are a link.
fn removal(index: &Index, path: &[u8], led: usize) -> Option<State> {
    if index.has_other(path) || index.has(path, Entry::Directory) {
        return Some(State::Overwritten);
    }
    if index.has(path, Entry::Whiteout) {
        return Some(State::Deleted);
    }
    let gone = ancestors(path).take_while(|directory| directory.len() > led).any(|directory| {
        index.has(directory, Entry::Whiteout)
            || index.has(directory, Entry::Opaque)
            || index.has_other(directory)
    });
    let whole = led == 0 && index.has(b"", Entry::Opaque);
    // Through the link, the directory that it leads to is emptied.
    let emptied = led > 0 && index.has(&path[..led], Entry::Opaque);
    (gone || whole || emptied).then_some(State::Deleted)
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
