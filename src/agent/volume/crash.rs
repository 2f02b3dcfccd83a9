//! The crash loop: every plan is cut after every step, and every recovery from that as well. What
//! readers see is the old set or the new one, and the next start leaves nothing over.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::apply::Site;
use super::beneath::Dir;
use super::desired::{Desired, DesiredFile, Owner};
use super::look::look;
use super::plan::{Room, Step, Target, plan};
use super::{Gap, LINGER, Volume};
use crate::agent::config::VolumeConfig;
use crate::secret::{FilePath, SecretBytes, VolumeName};

type Set = [(&'static str, &'static str)];

const OLD: &Set = &[("gone", "old"), ("pair/key", "old"), ("pair/cert", "old"), ("one", "old")];
const NEW: &Set =
    &[("come/in/deep", "new"), ("pair/key", "new"), ("pair/cert", "new"), ("one", "x")];
const ROOM: Room = Room { size: 1 << 20, bytes: None, inodes: None };
const NOW: Duration = Duration::from_secs(1000);

fn owner() -> Owner {
    let user = rustix::process::geteuid().as_raw();
    Owner { user, group: rustix::process::getegid().as_raw() }
}

/// Hands the set to `f` as files to publish.
fn with<R>(set: &Set, f: impl FnOnce(&[DesiredFile<'_>]) -> R) -> R {
    let files: Vec<_> = set
        .iter()
        .map(|(path, text)| (FilePath::parse(path).unwrap(), SecretBytes::from((*text).to_owned())))
        .collect();
    let desired = |(path, bytes)| DesiredFile {
        path,
        bytes,
        mode: 0o440,
        owner_user: None,
        owner_group: None,
    };
    f(&files.iter().map(|(path, bytes)| desired((path, bytes))).collect::<Vec<_>>())
}

fn volume(dir: &TempDir) -> Volume {
    let config = VolumeConfig {
        path: dir.path().to_owned(),
        keep_previous: Duration::from_mins(5),
        size: 1 << 20,
        allow_persistent: false,
        allow_swap: false,
    };
    Volume::open(&VolumeName::parse("v").unwrap(), &config, Gap::STANDARD, NOW).unwrap()
}

/// A volume that shows generation 2 with the old set; generation 1 is not yet forgotten.
fn before() -> TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut volume = volume(&dir);
    let _ = with(&OLD[..2], |files| volume.publish(1, files, NOW)).unwrap();
    let _ = with(OLD, |files| volume.publish(2, files, NOW + LINGER)).unwrap();
    dir
}

/// Looks, plans generation `number` (or only to clear), and carries out `cut` steps of it.
/// Returns the whole plan.
fn interrupted(dir: &Path, new: Option<(u64, &Set)>, cut: usize) -> Vec<Step> {
    let root = Dir::root(dir).unwrap();
    let us = owner();
    let seen = look(&root, us.user, |_| false, None).unwrap();
    let kept = BTreeMap::new();
    let run = |desired: Option<&Desired<'_>>| {
        let target = desired.map_or(Target::AsShown, |desired| Target::New(desired, ROOM));
        let steps = plan(&seen, &kept, target).unwrap();
        Site::new(&root, us.user, desired).apply(&steps[..cut.min(steps.len())]).unwrap();
        steps
    };
    match new {
        None => run(None),
        Some((number, set)) => {
            with(set, |files| run(Some(&Desired::of(number, files, us).unwrap())))
        }
    }
}

/// What a reader gets that opens the names in the root of the volume.
fn readable(dir: &Path, set: &Set) -> bool {
    set.iter().all(|(path, text)| {
        std::fs::read(dir.join(path)).is_ok_and(|bytes| bytes == text.as_bytes())
    })
}

/// What a reader gets that opens `..data` once.
fn shown(dir: &Path) -> Vec<String> {
    let data = dir.join("..data");
    let mut found = Vec::new();
    let mut waiting = vec![data.clone()];
    while let Some(path) = waiting.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(&data).unwrap().display().to_string();
                found.push(format!("{name}={}", std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn as_shown(set: &Set) -> Vec<String> {
    let mut all: Vec<_> = set.iter().map(|(path, text)| format!("{path}={text}")).collect();
    all.sort();
    all
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Opens the volume as the next start does: exactly what is shown has names, and nothing is left
/// over. Generations before the shown one may live out their time.
fn starts_clean(dir: &TempDir, what: &str) -> u64 {
    let mut volume = volume(dir);
    volume.tidy(NOW + Duration::from_hours(1));
    let number = volume.generation().unwrap();
    let set = if number == 3 { NEW } else { OLD };
    assert_eq!(shown(dir.path()), as_shown(set), "{what}");
    assert!(readable(dir.path(), set), "{what}");
    let mut expected: Vec<_> =
        set.iter().map(|(path, _)| path.split('/').next().unwrap().to_owned()).collect();
    expected.extend([format!("..{number}"), "..data".to_owned()]);
    expected.sort();
    expected.dedup();
    assert_eq!(names(dir.path()), expected, "{what}");
    number
}

#[test]
fn a_rotation_cut_after_any_step_leaves_the_old_set_or_the_new_one() {
    let whole = interrupted(before().path(), Some((3, NEW)), 0);
    let swap = whole.iter().position(|step| *step == Step::Swap).unwrap();
    for cut in 0..=whole.len() {
        let dir = before();
        interrupted(dir.path(), Some((3, NEW)), cut);
        let what = format!("cut after {:?}", &whole[..cut]);
        let (number, set) = if cut > swap { (3, NEW) } else { (2, OLD) };
        assert_eq!(shown(dir.path()), as_shown(set), "{what}");
        assert!(readable(dir.path(), set), "{what}");
        assert_eq!(starts_clean(&dir, &what), number, "{what}");
        // And the volume takes the new set as if nothing had been.
        let mut volume = volume(&dir);
        let _ = with(NEW, |files| volume.publish(3, files, NOW)).unwrap();
        drop(volume);
        assert_eq!(starts_clean(&dir, &what), 3, "{what}");
    }
}

#[test]
fn a_recovery_cut_after_any_step_is_taken_up_by_the_next_start() {
    let whole = interrupted(before().path(), Some((3, NEW)), 0);
    for cut in 0..=whole.len() {
        for recovered in 0.. {
            let dir = before();
            interrupted(dir.path(), Some((3, NEW)), cut);
            let recovery = interrupted(dir.path(), None, recovered);
            starts_clean(&dir, &format!("cut after {cut}, then after {recovery:?}"));
            if recovered >= recovery.len() {
                break;
            }
        }
    }
}

#[test]
fn a_first_generation_cut_after_any_step_is_all_there_or_not_at_all() {
    let whole = interrupted(tempfile::tempdir_in("/dev/shm").unwrap().path(), Some((3, NEW)), 0);
    let swap = whole.iter().position(|step| *step == Step::Swap).unwrap();
    for cut in 0..=whole.len() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        interrupted(dir.path(), Some((3, NEW)), cut);
        let what = format!("cut after {:?}", &whole[..cut]);
        if cut > swap {
            assert_eq!(starts_clean(&dir, &what), 3);
            continue;
        }
        for (path, _) in NEW {
            assert!(!dir.path().join(path).exists(), "{path}: {what}");
        }
        assert_eq!(volume(&dir).generation(), None, "{what}");
        assert_eq!(names(dir.path()), [""; 0], "{what}");
    }
}
