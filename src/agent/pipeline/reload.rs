//! A changed config while the agent runs: taken over, kept for a restart, or refused.

use std::collections::BTreeMap;

use crate::agent::config::{self, Config, Reload};
use crate::agent::observe::{Event, log_report as say_error};
use crate::agent::reason::{Reason, Report};
use crate::agent::render::Renderer;
use crate::agent::rotate::{self, Timestamp};
use crate::agent::store::Rhythm;
use crate::sandbox::door::Door;

use super::Pipeline;
use super::compose::Group;
use super::tracked::Tracked;
use super::watch::Stamped;

/// Reads the config again: the new one, or what is wrong with it. Given by whoever read it first.
pub type Reread = Box<dyn Fn(&Door) -> Result<Config, Report>>;

/// Where the config is read again when it changes.
pub struct ConfigSource {
    /// The file.
    pub door: Door,
    reread: Reread,
    stamped: Stamped,
}

impl ConfigSource {
    /// A file, and how it is read.
    pub fn new(door: Door, reread: Reread) -> ConfigSource {
        let stamped = Stamped::of(&door);
        ConfigSource { door, reread, stamped }
    }
}

impl Pipeline {
    /// Looks whether the config or a local store changed on disk, and whether somebody changed what
    /// stands on a volume.
    pub(super) fn look_around(&mut self, now: Timestamp) {
        self.look_at_the_clocks(now);
        if self.started {
            for carrier in self.carriers.values_mut() {
                carrier.dirty = true;
            }
            self.settle.changed(now);
        }
        for (name, slot) in &mut self.stores {
            let moved = match (slot.store.watch(), &mut slot.stamped) {
                (Some(door), Some(stamped)) => stamped.moved(door),
                _ => false,
            };
            if moved {
                // What was wrong with the file may be mended: it is read now, and not when the
                // store's back-off is over.
                slot.line.reopen();
                let of_store = |t: &&mut Tracked| t.config.from.store == *name && !t.asked;
                self.secrets.values_mut().filter(of_store).for_each(|t| t.due = Some(now));
            }
        }
        self.look_at_given(now);
        for tracked in self.secrets.values_mut() {
            let moved = tracked.doors.iter_mut().map(|(_, door, stamped)| stamped.moved(door));
            if moved.fold(false, |any, moved| any | moved) {
                tracked.outdated = tracked.asked;
                tracked.due = Some(now).filter(|_| !tracked.asked);
            }
        }
        if let Some(source) = &mut self.source
            && source.stamped.moved(&source.door)
        {
            self.reload(now);
        }
    }

    /// Somebody set the wall clock: what has dates of its own is timed anew, and nothing else.
    fn look_at_the_clocks(&mut self, now: Timestamp) {
        let unix = rotate::unix_now();
        if !self.clocks.jumped(now, unix) {
            return;
        }
        let dated = |t: &&mut Tracked| matches!(t.rhythm, Rhythm::Dated { .. }) && !t.asked;
        for tracked in self.secrets.values_mut().filter(dated) {
            let roll = self.rolls.roll();
            tracked.due = rotate::next(tracked.pace(unix), false, now, self.phase, roll);
            tracked.planned = tracked.due;
        }
    }

    /// Reads the config again and does what its change asks for.
    pub(super) fn reload(&mut self, now: Timestamp) {
        let Some(source) = &self.source else { return };
        let read = (source.reread)(&source.door);
        self.problems.remove(&Reason::ConfigInvalid);
        self.problems.remove(&Reason::RestartNeeded);
        match read.map(|new| (config::reload(&self.config, &new), new)) {
            Err(report) => self.keep_old(Reason::ConfigInvalid, &report),
            Ok((Reload::Unchanged, _)) => {}
            Ok((Reload::RestartNeeded(parts), _)) => {
                let report = Report::new(
                    Reason::RestartNeeded,
                    "the changed config takes effect at the next start",
                    format!("what changed can't change while running: {}", parts.join(", ")),
                )
                .hint("restart the container; until then the old config goes on");
                self.keep_old(Reason::RestartNeeded, &report);
            }
            Ok((Reload::Apply, new)) if self.lacks_a_store(&new) => {
                let report = Report::new(
                    Reason::RestartNeeded,
                    "the changed config takes effect at the next start",
                    "a secret comes from a store that nothing came from until now",
                )
                .hint("restart the container; until then the old config goes on");
                self.keep_old(Reason::RestartNeeded, &report);
            }
            Ok((Reload::Apply, new)) => self.apply(new, now),
        }
    }

    /// Whether a store is needed that was not opened at the start.
    fn lacks_a_store(&self, new: &Config) -> bool {
        let used = super::build::used_secrets(new);
        let mut secrets = new.secrets.iter().filter(|(name, _)| used.contains(name));
        secrets.any(|(_, secret)| !self.stores.contains_key(&secret.from.store))
    }

    fn keep_old(&mut self, reason: Reason, report: &Report) {
        self.problems.insert(reason);
        self.observe.say(&Event::ConfigKept { reason });
        say_error(report);
    }

    /// Takes over a new config. Secrets that are the same keep their values; groups are made anew.
    fn apply(&mut self, new: Config, now: Timestamp) {
        let renderer = match Renderer::compile(&new.files) {
            Ok(renderer) => renderer,
            Err(errors) => {
                for error in errors {
                    self.keep_old(Reason::ConfigInvalid, &error.report());
                }
                return;
            }
        };
        // What the volumes show was made by the old config until everything is published.
        let shown = self.groups.iter().flat_map(|group| group.shown.values());
        let shown: Vec<_> = shown.filter_map(|(_, secret)| secret.clone()).collect();
        self.lingering.extend(shown);
        let mut old = std::mem::take(&mut self.secrets);
        let used = match &self.runner {
            Some(_) => super::build::named_secrets(&new),
            None => super::build::used_secrets(&new),
        };
        for (name, config) in new.secrets.iter().filter(|(name, _)| used.contains(name)) {
            let kept = old
                .remove(name)
                .filter(|old| old.config.from == config.from && old.config.with == config.with);
            let mut tracked = kept.unwrap_or_else(|| Tracked::new(config.clone(), now));
            tracked.config = config.clone();
            if let Err(report) = tracked.open_files() {
                say_error(&report);
            }
            self.secrets.insert(name.clone(), tracked);
        }
        let shown: BTreeMap<_, _> =
            self.groups.iter().flat_map(|group| group.good.clone()).collect();
        if self.config.groups != new.groups {
            self.groups = new.groups.iter().cloned().map(Group::new).collect();
        }
        for group in &mut self.groups {
            group.adopt(&shown);
            group.note_move(now);
        }
        // What was being told names groups by their old place in the list.
        let same_groups = self.config.groups == new.groups;
        for teller in self.tellers.iter_mut().filter(|_| !same_groups) {
            for notice in teller.telling.iter_mut().chain(&mut teller.next) {
                notice.groups.clear();
            }
        }
        for carrier in self.carriers.values_mut() {
            carrier.dirty = true;
        }
        self.foretell();
        self.renderer = renderer;
        self.config = new;
        // With what is the newest now, or a restart would take a value of the old path for one of the
        // new, or ask for another one in vain.
        self.keeper.is_for(&self.config);
        self.save();
        self.settle.changed(now);
        self.observe.say(&Event::ConfigApplied);
    }
}
