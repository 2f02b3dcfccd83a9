//! Steps 3 to 5: when changes have settled, render each group that moved, and publish each volume's
//! next generation.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::agent::config::FileConfig;
use crate::agent::observe::{Event, log_report as say_error};
use crate::agent::reason::Report;
use crate::agent::render::{self, RenderError};
use crate::agent::rotate::{self, Backoff, Timestamp};
use crate::agent::store::Retry;
use crate::agent::volume::{DesiredFile, Published, Volume};
use crate::secret::{FilePath, SecretBytes, SecretName, VolumeName};

use super::Pipeline;
use super::compose::{self, Files, Group, Made, Moved, Refusal, Standing};

/// A volume and what is still to be done on it.
pub(super) struct Carrier {
    /// The volume itself.
    pub volume: Volume,
    /// Whether its next generation may differ from what it shows.
    pub dirty: bool,
    /// When to publish again: after a failure, or when the last rotation was a moment ago.
    pub retry: Option<Timestamp>,
    /// How long to wait after a failure.
    pub backoff: Backoff,
    /// Why the last publishing failed.
    pub failure: Option<Report>,
    /// When a generation has lived out its time.
    pub tidy: Option<Timestamp>,
}

impl Carrier {
    /// A volume on which nothing is to be done.
    pub fn new(volume: Volume) -> Carrier {
        Carrier {
            volume,
            dirty: false,
            retry: None,
            backoff: Backoff::default(),
            failure: None,
            tidy: None,
        }
    }
}

/// What one rotation changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Rotation {
    /// Its number, the same on every volume that moved.
    pub generation: u64,
    /// Files that are new, different or gone, on volumes that showed something before.
    pub files: BTreeSet<FilePath>,
    /// Groups with such files, by their place in the list.
    pub groups: BTreeSet<usize>,
    /// Volumes that show each group's newest files now, whether or not they moved for it.
    pub published: BTreeSet<VolumeName>,
    /// Whether any volume moved.
    pub swapped: bool,
    /// Whether it puts the files before back; a hook that refuses this one too is only reported.
    pub is_roll_back: bool,
}

impl Pipeline {
    /// A secret has a new value: its groups are made anew, and their other secrets asked again, so
    /// that a name and a password of two moments don't meet. The variables of a command are such a
    /// group too.
    pub(super) fn note_move(&mut self, name: &SecretName, now: Timestamp) {
        let variables = self.variable_secrets();
        let mut siblings = BTreeSet::new();
        for group in self.groups.iter_mut().filter(|group| group.config.secrets.contains(name)) {
            group.note_move(now);
            if let Some(moved) = group.moved.filter(|_| group.is_delivered()) {
                siblings.extend(group.config.secrets.iter().map(|sibling| (sibling, moved.at)));
            }
        }
        if let Some(runner) = self.runner.as_mut().filter(|_| variables.contains(name)) {
            let moved = Moved::again(runner.moved, now, variables.len());
            runner.moved = Some(moved);
            if runner.runs() {
                siblings.extend(variables.iter().map(|sibling| (sibling, moved.at)));
            }
        }
        for (sibling, at) in siblings {
            if let Some(tracked) = self.secrets.get_mut(sibling)
                && sibling != name
                && !tracked.asked
                && tracked.must_be_asked_since(at)
            {
                tracked.due = Some(now);
            }
        }
        self.settle.changed(now);
    }

    /// Renders every group that moved and can be rendered.
    pub(super) fn render_moved(&mut self) {
        for index in 0..self.groups.len() {
            if self.groups[index].moved.is_none() {
                continue;
            }
            match compose::standing(&self.groups[index], &self.secrets) {
                Standing::Waiting => {}
                Standing::Missing(refusal) => self.refuse(index, refusal),
                Standing::Complete => match self.render_group(&self.groups[index]) {
                    Ok(made) => self.accept(index, made),
                    Err(error) => {
                        let secrets = self.absent_optional(index);
                        self.groups[index].moved = None;
                        self.refuse(index, Refusal { report: error.report(), secrets });
                    }
                },
            }
        }
    }

    fn render_group(&self, group: &Group) -> Result<Made, RenderError> {
        let present = compose::present(&group.config, &self.secrets);
        let mut files = Files::new();
        for path in &group.config.files {
            let Some(config) = self.config.files.get(path) else { continue };
            let bytes = self.renderer.render(path, config, &present)?;
            files.insert(path.clone(), Rc::new(bytes));
        }
        let with_config = files
            .iter()
            .filter_map(|(path, bytes)| Some((path, (self.config.files.get(path)?, &**bytes))));
        let checked: BTreeMap<&FilePath, (&FileConfig, &SecretBytes)> = with_config.collect();
        render::check_group(&checked, rotate::unix_now())?;
        let of = group.config.secrets.iter().filter_map(|name| {
            let secret = self.secrets.get(name)?.latest.clone()?;
            Some((name.clone(), (secret.version.clone(), Some(secret))))
        });
        Ok(Made { of: of.collect(), files })
    }

    /// A secret was deleted, and its files go with it.
    pub(super) fn withdraw(&mut self, name: &SecretName) {
        if let Some(tracked) = self.secrets.get_mut(name) {
            tracked.latest = None;
        }
        for group in self.groups.iter_mut().filter(|group| group.config.secrets.contains(name)) {
            group.withdraw();
            if let Some(carrier) = self.carriers.get_mut(&group.config.volume) {
                carrier.dirty = true;
            }
        }
    }

    fn accept(&mut self, index: usize, made: Made) {
        let mut notices = self.tellers.iter().flat_map(|t| t.telling.iter().chain(&t.next));
        let unconfirmed = notices.any(|notice| notice.groups.contains(&index));
        let group = &mut self.groups[index];
        group.take(made, unconfirmed);
        // Also when nothing differs: the volume puts right what somebody else changed there.
        if let Some(carrier) = self.carriers.get_mut(&group.config.volume) {
            carrier.dirty = true;
        }
    }

    fn refuse(&mut self, index: usize, refusal: Refusal) {
        let group = &self.groups[index];
        let known = group.refused.as_ref().is_some_and(|old| old.report == refusal.report);
        if !known {
            let (group, reason) = (group.config.name.as_str(), refusal.report.reason);
            self.observe.say(&Event::RotationRefused { group, reason });
            if refusal.secrets.is_empty() {
                say_error(&refusal.report);
            }
        }
        self.groups[index].refused = Some(refusal);
    }

    /// Optional secrets of a group that are not there: if rendering fails, it is because of them.
    fn absent_optional(&self, index: usize) -> BTreeSet<SecretName> {
        let names = self.groups[index].config.secrets.iter();
        let absent = names.filter(|name| {
            self.secrets.get(name).is_some_and(|s| s.latest.is_none() && s.is_forgiven())
        });
        absent.cloned().collect()
    }

    /// Publishes every volume that may swap now, and notes whom to tell.
    pub(super) fn publish_and_tell(&mut self, now: Timestamp) {
        let generation = self.generation + 1;
        let mut rotation = Rotation { generation, ..Rotation::default() };
        let names: Vec<VolumeName> = self.carriers.keys().cloned().collect();
        for name in names {
            if self.may_publish(&name, now) {
                self.publish_volume(&name, now, &mut rotation);
            }
        }
        let published = |group: &&mut Group| rotation.published.contains(&group.config.volume);
        self.groups.iter_mut().filter(published).for_each(Group::published);
        if rotation.swapped {
            self.generation = generation;
            let moved = rotation.groups.iter().filter_map(|&index| self.groups.get(index));
            rotation.is_roll_back =
                moved.clone().count() > 0 && moved.clone().all(|g| g.rolling_back);
            for &index in &rotation.groups {
                self.groups[index].since = generation;
                self.groups[index].rolling_back = false;
            }
            if let (true, Some(refused)) = (rotation.is_roll_back, self.rolled_back) {
                self.observe.say(&Event::RolledBack { refused, generation });
            }
            self.must_tell(&rotation);
            self.save();
        }
    }

    fn may_publish(&self, name: &VolumeName, now: Timestamp) -> bool {
        self.carriers
            .get(name)
            .is_some_and(|carrier| carrier.dirty && carrier.retry.is_none_or(|retry| retry <= now))
    }

    fn publish_volume(&mut self, name: &VolumeName, now: Timestamp, rotation: &mut Rotation) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let groups = &self.groups;
        let ours = || groups.iter().enumerate().filter(|(_, group)| group.config.volume == *name);
        let files = &self.config.files;
        let desired: Vec<DesiredFile<'_>> = ours()
            .flat_map(|(_, group)| &group.good)
            .filter_map(|(path, bytes)| Some(desired(path, files.get(path)?, bytes)))
            .collect();
        let was_empty = carrier.volume.generation().is_none();
        let published = carrier.volume.publish(rotation.generation, &desired, now.0);
        carrier.tidy = carrier.volume.tidy(now.0).map(Timestamp);
        match published {
            Ok(Published::Early { until }) => carrier.retry = Some(Timestamp(until)),
            Ok(published) => {
                carrier.dirty = false;
                carrier.retry = None;
                carrier.failure = None;
                carrier.backoff.succeeded();
                rotation.published.insert(name.clone());
                let Published::Swapped { changed, removed } = published else { return };
                self.observe.say(&Event::Rotated {
                    generation: rotation.generation,
                    volume: name,
                    changed: &changed,
                    removed: &removed,
                });
                rotation.swapped = true;
                // Nobody has read an empty volume yet, so there is nobody to tell.
                if !was_empty {
                    let moved: BTreeSet<FilePath> = changed.into_iter().chain(removed).collect();
                    let touched = ours().filter(|(_, g)| !g.config.files.is_disjoint(&moved));
                    rotation.groups.extend(touched.map(|(index, _)| index));
                    rotation.files.extend(moved);
                }
            }
            Err(error) => {
                let report = error.report();
                let roll = self.rolls.roll();
                carrier.retry = Some(carrier.backoff.failed(Retry::Transient, now, roll));
                let known = carrier.failure.replace(report.clone());
                if known.as_ref() != Some(&report) {
                    say_error(&report);
                }
            }
        }
        self.note_remarks(name);
    }

    /// Removes generations that lived out their time.
    pub(super) fn tidy(&mut self, now: Timestamp) {
        for carrier in self.carriers.values_mut() {
            if carrier.tidy.is_some_and(|tidy| tidy <= now) {
                carrier.tidy = carrier.volume.tidy(now.0).map(Timestamp);
            }
        }
    }

    /// Says what the volume noticed.
    pub(super) fn note_remarks(&mut self, name: &VolumeName) {
        if let Some(carrier) = self.carriers.get_mut(name) {
            for remark in carrier.volume.take_remarks() {
                let remark = remark.to_string();
                self.observe.say(&Event::Remarked { volume: name, remark: &remark });
            }
        }
    }
}

fn desired<'a>(path: &'a FilePath, config: &FileConfig, bytes: &'a SecretBytes) -> DesiredFile<'a> {
    DesiredFile {
        path,
        bytes,
        mode: config.mode,
        owner_user: config.owner_user,
        owner_group: config.owner_group,
    }
}
