//! Which files move together: those of one volume that share a secret, and those that say so.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{At, Named, Sink};
use super::mistake::Mistake;
use super::model::{FileConfig, GroupConfig};
use super::raw::RawFile;
use crate::secret::{FilePath, GroupName, VolumeName};

/// Joins files to groups. Every file is in exactly one.
pub(super) fn compute(
    files: &BTreeMap<FilePath, At<FileConfig>>,
    written: &Named<RawFile>,
    mistakes: &mut Sink,
) -> Vec<GroupConfig> {
    let given = given_names(files, written, mistakes);
    let mut groups: Vec<GroupConfig> = Vec::new();
    for (path, file) in files {
        let mut group = GroupConfig {
            name: String::new(),
            given: given.get(path).cloned(),
            volume: file.value.volume.clone(),
            files: BTreeSet::from([path.clone()]),
            secrets: file.value.secrets().into_iter().cloned().collect(),
        };
        // Whatever this file has in common with becomes one group with it.
        let (joined, apart) = groups.into_iter().partition(|other| belong_together(other, &group));
        groups = apart;
        let joined: Vec<GroupConfig> = joined;
        for other in joined {
            if let (Some(a), Some(b)) = (&group.given, &other.given)
                && a != b
            {
                mistakes.push(Mistake::new(
                    &file.span,
                    format!("the groups `{a}` and `{b}` share a secret"),
                    "files of one volume that share a secret move together",
                    "give them one name",
                ));
            }
            group.given = group.given.or(other.given);
            group.files.extend(other.files);
            group.secrets.extend(other.secrets);
        }
        groups.push(group);
    }
    for group in &mut groups {
        let first = group.files.first().map(ToString::to_string);
        let given = group.given.as_ref().map(ToString::to_string);
        group.name = given.or(first).unwrap_or_default();
    }
    groups.sort_by(|a, b| a.files.first().cmp(&b.files.first()));
    groups
}

fn belong_together(a: &GroupConfig, b: &GroupConfig) -> bool {
    a.volume == b.volume
        && (!a.secrets.is_disjoint(&b.secrets) || (a.given.is_some() && a.given == b.given))
}

/// The names that files give to their groups. A name on two volumes is a mistake: each volume swaps
/// by itself.
fn given_names(
    files: &BTreeMap<FilePath, At<FileConfig>>,
    written: &Named<RawFile>,
    mistakes: &mut Sink,
) -> BTreeMap<FilePath, GroupName> {
    let mut given = BTreeMap::new();
    let mut volume_of: BTreeMap<GroupName, &VolumeName> = BTreeMap::new();
    for (path, file) in &written.entries {
        let Some(group) = &file.value.group else { continue };
        let name = match GroupName::parse(&group.value) {
            Ok(name) => name,
            Err(error) => {
                mistakes.push(Mistake::new(
                    &group.span,
                    format!("`{}` can't be the name of a group", group.shown),
                    error.to_string(),
                    "rename it",
                ));
                continue;
            }
        };
        let Some((path, config)) =
            FilePath::parse(&path.value).ok().and_then(|path| files.get_key_value(&path))
        else {
            continue;
        };
        let volume = &config.value.volume;
        if *volume_of.entry(name.clone()).or_insert(volume) != volume {
            mistakes.push(Mistake::new(
                &group.span,
                format!("the group `{name}` is on two volumes"),
                "each volume swaps by itself, so files of two volumes can't move together",
                "put the files on one volume, or give them groups of their own",
            ));
        }
        given.insert(path.clone(), name);
    }
    given
}
