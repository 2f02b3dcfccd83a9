//! Which steps lead from what is on a volume to what should be. Pure: facts in, steps out, and the
//! steps can be printed, for they hold no secret.
//!
//! 1. **Recover.** The link in the making goes, every unfinished generation goes, and so does every
//!    complete one that nobody may read any more. Such a one is first renamed to the name of an
//!    unfinished one, so that a half-removed generation can never pass for a complete one.
//! 2. **Begin** `..N.tmp`, a directory that only we may enter.
//! 3. **Write** its directories and files: owner and mode first, by descriptor, then the bytes.
//! 4. **Settle** the owner and mode of its directories, the innermost first.
//! 5. **Complete** it: rename `..N.tmp` to `..N`.
//! 6. **Link** each name that readers don't have yet: `name → ..data/name`. Before the swap, so that
//!    new names appear by the same rename as new contents.
//! 7. **Point** `..data_tmp → ..N`.
//! 8. **Swap**: rename `..data_tmp` over `..data`. This is the one moment in which all changes.
//! 9. **Check** that what is shown is what was made.
//! 10. **Unlink** the names that are gone.
//!
//! Without a new generation there are only steps 1, 6 and 10.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::{Desired, Weight, link_bytes};
use super::error::Fault;
use super::look::{Seen, Shown};
use crate::secret::FilePath;

/// One change to the volume. The numbers are those of the algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// 1: remove `..data_tmp`.
    DropLink,
    /// 1: take away a complete generation's name.
    Retire(u64),
    /// 1: remove an unfinished generation.
    Remove(u64),
    /// 2: make the directory of a generation.
    Begin(u64),
    /// 3: make a directory in it.
    Directory(String),
    /// 3: make a file in it.
    Write(FilePath),
    /// 4: give a directory its owner and mode.
    Settle(String),
    /// 5: call the generation complete.
    Complete(u64),
    /// 6: make a visible link.
    Link(String),
    /// 7: make the link in the making.
    Point(u64),
    /// 8: put it in the place of `..data`.
    Swap,
    /// 9: look whether that generation is shown.
    Check(u64),
    /// 10: remove a visible link.
    Unlink(String),
}

/// What is to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// What is shown, and nothing left over.
    AsShown,
    /// A new generation, in this room.
    New(&'a Desired<'a>, Room),
}

/// How much room there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// `size` of the config, in bytes.
    pub(super) size: u64,
    /// Bytes that the file system has left; `None`: no limit.
    pub(super) bytes: Option<u64>,
    /// Inodes that the file system has left; `None`: no limit.
    pub(super) inodes: Option<u64>,
}

/// A generation that was shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// What it takes.
    pub(super) weight: Weight,
    /// What may become of it.
    pub(super) fate: Fate,
}

/// What may become of a generation that was shown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its time is over.
    Ended,
    /// It stays as long as there is room.
    Spare,
    /// Readers may still be in it.
    Needed,
}

/// What sets a new generation apart from the shown one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Files with other bytes, another owner or mode, or that were not there.
    pub(super) changed: Vec<FilePath>,
    /// Files that are no longer there.
    pub(super) removed: Vec<FilePath>,
    /// Whether directories differ, or there is something that we never make.
    pub(super) shape: bool,
}

impl Changes {
    pub(super) fn of(shown: Option<&Shown>, desired: &Desired<'_>) -> Changes {
        let Some(shown) = shown else {
            let changed = desired.files.keys().map(|&path| path.clone()).collect();
            return Changes { changed, removed: Vec::new(), shape: true };
        };
        let same = |path: &FilePath| match (shown.files.get(path), desired.files.get(path)) {
            (Some(is), Some(to_be)) => {
                is.same && (is.mode, is.user, is.group) == (to_be.mode, to_be.user, to_be.group)
            }
            _ => false,
        };
        let changed = desired.files.keys().filter(|path| !same(path));
        let removed = shown.files.keys().filter(|path| !desired.files.contains_key(path));
        Changes {
            changed: changed.map(|&path| path.clone()).collect(),
            removed: removed.cloned().collect(),
            shape: shown.odd || shown.dirs != desired.dirs,
        }
    }

    pub(super) fn none(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty() && !self.shape
    }
}

/// The steps to `target`. `kept` are the generations that were shown before and are still there.
pub(super) fn plan(
    seen: &Seen,
    kept: &BTreeMap<u64, Kept>,
    target: Target<'_>,
) -> Result<Vec<Step>, Fault> {
    let dropped = match target {
        Target::AsShown => BTreeSet::new(),
        Target::New(desired, room) => {
            fits_in(seen, kept, desired)?;
            make_room(seen, kept, desired, room)?
        }
    };
    let tops = match target {
        Target::AsShown => seen.shown.as_ref().map(Shown::tops).unwrap_or_default(),
        Target::New(desired, _) => desired.tops(),
    };
    let missing =
        tops.iter().filter(|&&top| !seen.links.contains(top) && !seen.foreign.contains(top));
    let links = missing.map(|&top| Step::Link(top.to_owned()));

    let mut steps = recover(seen, kept, &dropped); // 1
    match target {
        Target::AsShown => steps.extend(links), // 6
        Target::New(desired, _) => {
            steps.extend(build(desired)); // 2 to 5
            steps.extend(links); // 6
            steps.push(Step::Point(desired.generation)); // 7
            steps.push(Step::Swap); // 8
            steps.push(Step::Check(desired.generation)); // 9
        }
    }
    let gone = seen.links.iter().filter(|link| !tops.contains(link.as_str()));
    steps.extend(gone.map(|link| Step::Unlink(link.clone()))); // 10
    Ok(steps)
}

fn recover(seen: &Seen, kept: &BTreeMap<u64, Kept>, dropped: &BTreeSet<u64>) -> Vec<Step> {
    let shown = seen.shown.as_ref().map(|shown| shown.number);
    let stays = |number: &u64| {
        let lives = kept.get(number).is_some_and(|kept| kept.fate != Fate::Ended);
        Some(*number) == shown || (lives && !dropped.contains(number))
    };
    let mut steps = Vec::new();
    if seen.data_new {
        steps.push(Step::DropLink);
    }
    steps.extend(seen.unfinished.iter().map(|&number| Step::Remove(number)));
    for &number in seen.generations.iter().filter(|number| !stays(number)) {
        steps.extend([Step::Retire(number), Step::Remove(number)]);
    }
    steps
}

fn build<'a>(desired: &'a Desired<'_>) -> impl Iterator<Item = Step> + 'a {
    let dirs = || desired.dirs.keys();
    let made = dirs().filter(|path| *path != ".").map(|path| Step::Directory(path.clone()));
    let files = desired.files.keys().map(|&path| Step::Write(path.clone()));
    // A directory sorts before what is in it.
    let inner = dirs().rev().filter(|path| *path != ".").cloned();
    let settled = inner.chain([".".to_owned()]).map(Step::Settle);
    std::iter::once(Step::Begin(desired.generation)) // 2
        .chain(made) // 3
        .chain(files) // 3
        .chain(settled) // 4
        .chain([Step::Complete(desired.generation)]) // 5
}

/// A new generation has a number above all that are there, and its names are free.
fn fits_in(seen: &Seen, kept: &BTreeMap<u64, Kept>, desired: &Desired<'_>) -> Result<(), Fault> {
    let shown = seen.shown.as_ref().map(|shown| shown.number);
    let there = shown.into_iter().chain(kept.keys().copied()).max();
    if let Some(there) = there.filter(|&there| desired.generation <= there) {
        return Err(Fault::NotNewer { given: desired.generation, there });
    }
    match desired.tops().into_iter().find(|&top| seen.foreign.contains(top)) {
        Some(name) => Err(Fault::NameTaken { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// Which spare generations must go for the new one; an error where that is not enough.
fn make_room(
    seen: &Seen,
    kept: &BTreeMap<u64, Kept>,
    desired: &Desired<'_>,
    room: Room,
) -> Result<BTreeSet<u64>, Fault> {
    let new_links: Vec<_> =
        desired.tops().into_iter().filter(|&top| !seen.links.contains(top)).collect();
    let weight = desired.weight();
    let needed = Weight {
        bytes: weight.bytes + new_links.iter().map(|name| link_bytes(name)).sum::<u64>(),
        // The link in the making is one inode more, for a moment.
        inodes: weight.inodes + new_links.len() as u64 + 1,
    };
    let of = |fate| kept.values().filter(|k| k.fate == fate).map(|k| k.weight).sum::<Weight>();
    let shown = seen.shown.as_ref().map(Shown::weight).unwrap_or_default();
    let (ended, spare, busy) = (of(Fate::Ended), of(Fate::Spare), of(Fate::Needed));
    if needed.fits(room.left(shown + busy + spare, ended)) {
        return Ok(BTreeSet::new());
    }
    let left = room.left(shown + busy, ended + spare);
    if needed.fits(left) {
        let spare = kept.iter().filter(|(_, kept)| kept.fate == Fate::Spare);
        return Ok(spare.map(|(&number, _)| number).collect());
    }
    Err(if needed.bytes > left.bytes {
        Fault::Full { needed: needed.bytes, available: left.bytes }
    } else {
        Fault::NoInodes { needed: needed.inodes, available: left.inodes }
    })
}

impl Room {
    /// What is left when `staying` stays and `freed` goes.
    fn left(self, staying: Weight, freed: Weight) -> Weight {
        let in_size = self.size.saturating_sub(staying.bytes);
        let more =
            |have: Option<u64>, freed| have.map_or(u64::MAX, |have| have.saturating_add(freed));
        Weight {
            bytes: in_size.min(more(self.bytes, freed.bytes)),
            inodes: more(self.inodes, freed.inodes),
        }
    }
}
