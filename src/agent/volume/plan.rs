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

#[cfg(test)]
mod tests {
    use super::super::desired::{DesiredFile, Directory, Owner};
    use super::super::look::{Found, Stamp};
    use super::*;
    use crate::secret::SecretBytes;

    type Touch = fn(&mut Found);

    const US: Owner = Owner { user: 7, group: 70 };
    const PLENTY: Room = Room { size: u64::MAX, bytes: None, inodes: None };

    fn path(text: &str) -> FilePath {
        FilePath::parse(text).unwrap()
    }

    /// A volume that shows generation 5 with these files, and their links.
    fn seen(files: &[&str]) -> Seen {
        let found = |size| Found {
            stamp: Stamp::of_size(size),
            mode: 0o440,
            user: 7,
            group: 70,
            same: true,
        };
        let files: BTreeMap<_, _> = files.iter().map(|text| (path(text), found(1))).collect();
        let tops = files.keys().map(|file| file.top().to_owned()).collect();
        let mut dirs = BTreeMap::new();
        let plain = Directory { mode: 0o750, user: 7, group: 70 };
        dirs.insert(".".to_owned(), plain);
        for file in files.keys() {
            if let Some((dir, _)) = file.as_str().split_once('/') {
                dirs.insert(dir.to_owned(), plain);
            }
        }
        Seen {
            pointed: Some(5),
            shown: Some(Shown { number: 5, files, dirs, odd: false }),
            generations: BTreeSet::from([5]),
            links: tops,
            ..Seen::default()
        }
    }

    fn desired<R>(files: &[&str], f: impl FnOnce(&Desired<'_>) -> R) -> R {
        let bytes = SecretBytes::from(b"1".to_vec());
        let paths: Vec<_> = files.iter().map(|text| path(text)).collect();
        let file = |path| DesiredFile {
            path,
            bytes: &bytes,
            mode: 0o440,
            owner_user: None,
            owner_group: None,
        };
        f(&Desired::of(6, &paths.iter().map(file).collect::<Vec<_>>(), US).unwrap())
    }

    fn planned(seen: &Seen, kept: &BTreeMap<u64, Kept>, room: Room, files: &[&str]) -> Vec<String> {
        let steps = desired(files, |desired| plan(seen, kept, Target::New(desired, room)).unwrap());
        steps.iter().map(|step| format!("{step:?}")).collect()
    }

    fn cleared(seen: &Seen, kept: &BTreeMap<u64, Kept>) -> Vec<Step> {
        plan(seen, kept, Target::AsShown).unwrap()
    }

    fn kept(number: u64, bytes: u64, fate: Fate) -> BTreeMap<u64, Kept> {
        BTreeMap::from([(number, Kept { weight: Weight { bytes, inodes: 2 }, fate })])
    }

    #[test]
    fn a_rotation_is_the_numbered_algorithm() {
        let mut seen = seen(&["gone", "pair/key"]);
        seen.data_new = true;
        seen.unfinished.insert(4);
        seen.generations.extend([3, 9]);
        let steps = planned(&seen, &kept(3, 4096, Fate::Needed), PLENTY, &["new", "pair/sub/key"]);
        assert_eq!(
            steps,
            [
                "DropLink",
                "Remove(4)",
                "Retire(9)",
                "Remove(9)",
                "Begin(6)",
                "Directory(\"pair\")",
                "Directory(\"pair/sub\")",
                "Write(FilePath(\"new\"))",
                "Write(FilePath(\"pair/sub/key\"))",
                "Settle(\"pair/sub\")",
                "Settle(\"pair\")",
                "Settle(\".\")",
                "Complete(6)",
                "Link(\"new\")",
                "Point(6)",
                "Swap",
                "Check(6)",
                "Unlink(\"gone\")",
            ]
        );
    }

    #[test]
    fn a_volume_in_order_needs_no_step() {
        assert_eq!(cleared(&seen(&["a", "b/c"]), &BTreeMap::new()), []);
        assert_eq!(cleared(&Seen::default(), &BTreeMap::new()), []);
    }

    #[test]
    fn links_are_repaired_without_a_new_generation() {
        let mut seen = seen(&["a", "b/c"]);
        seen.links = BTreeSet::from(["a".into(), "stale".into()]);
        assert_eq!(
            cleared(&seen, &BTreeMap::new()),
            [Step::Link("b".into()), Step::Unlink("stale".into())]
        );
        // What is not ours is left alone, even in the place of a link.
        seen.foreign.insert("b".into());
        assert_eq!(cleared(&seen, &BTreeMap::new()), [Step::Unlink("stale".into())]);
    }

    #[test]
    fn an_old_generation_stays_as_long_as_it_lives() {
        let mut seen = seen(&["a"]);
        seen.generations.insert(4);
        for fate in [Fate::Needed, Fate::Spare] {
            assert_eq!(cleared(&seen, &kept(4, 1, fate)), []);
        }
        let gone = [Step::Retire(4), Step::Remove(4)];
        assert_eq!(cleared(&seen, &kept(4, 1, Fate::Ended)), gone);
        assert_eq!(cleared(&seen, &BTreeMap::new()), gone);
    }

    #[test]
    fn everything_that_sets_two_sets_apart_is_a_change() {
        let unchanged = || seen(&["a", "b/c"]);
        let changes = |seen: &Seen| {
            desired(&["a", "b/c"], |desired| Changes::of(seen.shown.as_ref(), desired))
        };
        assert!(changes(&unchanged()).none());
        let a = path("a");
        let touches: [(&str, Touch); 4] = [
            ("bytes", |found| found.same = false),
            ("mode", |found| found.mode = 0o400),
            ("user", |found| found.user = 8),
            ("group", |found| found.group = 71),
        ];
        for (what, touch) in touches {
            let mut seen = unchanged();
            touch(seen.shown.as_mut().unwrap().files.get_mut(&a).unwrap());
            let changes = changes(&seen);
            assert_eq!(changes.changed, std::slice::from_ref(&a), "{what}");
        }
        let shapes: [fn(&mut Shown); 3] = [
            |shown| shown.odd = true,
            |shown| shown.dirs.get_mut("b").unwrap().mode = 0o777,
            |shown| {
                shown.dirs.insert("empty".into(), shown.dirs["b"]);
            },
        ];
        for shape in shapes {
            let mut seen = unchanged();
            shape(seen.shown.as_mut().unwrap());
            assert!(changes(&seen).shape);
        }
        let fewer = desired(&["a"], |desired| Changes::of(unchanged().shown.as_ref(), desired));
        assert_eq!((fewer.changed.len(), fewer.removed), (0, vec![path("b/c")]));
        let first = desired(&["a"], |desired| Changes::of(None, desired));
        assert_eq!(first.changed, [a]);
    }

    #[test]
    fn a_spare_generation_makes_room_and_a_needed_one_does_not() {
        let mut seen = seen(&["a"]); // one page
        seen.generations.insert(4);
        let room = |pages: u64| Room { size: pages * 4096, ..PLENTY };
        let full = |kept: &BTreeMap<u64, Kept>, room| {
            desired(&["a", "b"], |desired| plan(&seen, kept, Target::New(desired, room)))
        };
        let dropped = |steps: Vec<Step>| steps.contains(&Step::Retire(4));
        // One page is shown, two are kept, two are needed.
        assert!(!dropped(full(&kept(4, 8192, Fate::Spare), room(5)).unwrap()));
        assert!(dropped(full(&kept(4, 8192, Fate::Spare), room(4)).unwrap()));
        assert_eq!(
            full(&kept(4, 8192, Fate::Spare), room(2)),
            Err(Fault::Full { needed: 8192, available: 4096 })
        );
        assert_eq!(
            full(&kept(4, 8192, Fate::Needed), room(4)),
            Err(Fault::Full { needed: 8192, available: 4096 })
        );
        // The file system's own room counts as well; an ended generation gives its pages back.
        let left = |pages: u64| Room { bytes: Some(pages * 4096), ..PLENTY };
        assert!(full(&kept(4, 4096, Fate::Ended), left(1)).is_ok());
        assert!(full(&kept(4, 4096, Fate::Needed), left(1)).is_err());
        // A generation, two files, a new visible link, and the link in the making.
        let inodes = |inodes| Room { inodes: Some(inodes), ..PLENTY };
        assert!(full(&BTreeMap::new(), inodes(5)).is_ok());
        assert_eq!(
            full(&BTreeMap::new(), inodes(4)),
            Err(Fault::NoInodes { needed: 5, available: 4 })
        );
        assert!(dropped(full(&kept(4, 4096, Fate::Spare), inodes(3)).unwrap()));
    }

    #[test]
    fn a_number_that_is_not_new_and_a_taken_name_are_refused() {
        let refused = |seen: &Seen, kept: &BTreeMap<u64, Kept>| {
            desired(&["a", "b"], |desired| plan(seen, kept, Target::New(desired, PLENTY)))
        };
        let mut newer = seen(&["a"]);
        newer.shown.as_mut().unwrap().number = 6;
        assert_eq!(refused(&newer, &BTreeMap::new()), Err(Fault::NotNewer { given: 6, there: 6 }));
        assert_eq!(
            refused(&seen(&["a"]), &kept(8, 0, Fate::Needed)),
            Err(Fault::NotNewer { given: 6, there: 8 })
        );
        let mut taken = seen(&["a"]);
        taken.foreign.insert("b".into());
        assert_eq!(refused(&taken, &BTreeMap::new()), Err(Fault::NameTaken { name: "b".into() }));
    }
}
