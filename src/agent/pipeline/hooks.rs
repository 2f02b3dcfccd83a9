//! Step 6: tell whoever is concerned, and act on what they answer.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::agent::config::{HookConfig, Otherwise, Trigger};
use crate::agent::hook::{self, Hook, HookError};
use crate::agent::observe::{Event, HookResult, log_report as say_error};
use crate::agent::reason::{Reason, Report};
use crate::agent::rotate::Timestamp;

use super::Pipeline;
use super::compose::Group;
use super::rotation::Rotation;

/// A hook, and what it is doing.
pub(super) struct Teller {
    /// What the config says.
    pub config: HookConfig,
    /// The hook itself; `None` in `init`, which tells nobody: `run` does that.
    pub hook: Option<Rc<Hook>>,
    /// What is being told now.
    pub telling: Option<Rotation>,
    /// What is to be told after that: the newest, since one notice stands for all before it.
    pub next: Option<Rotation>,
    /// The generation whose process was restarted; once for each.
    pub restarted: Option<u64>,
    /// When it is to be restarted.
    pub restart_at: Option<Timestamp>,
    /// What came of the last notice.
    pub outcome: Option<Report>,
}

/// A restart on its way: whose hook, and what came of it.
pub(super) type Restart = LocalBoxFuture<'static, (usize, Result<(), HookError>)>;

/// Over how long the restarts of a fleet are spread.
const RESTART_SPREAD: Duration = Duration::from_secs(30);

/// A notice's end.
pub(super) struct Told {
    hook: usize,
    told: hook::Told,
}

/// A notice on its way.
pub(super) type Telling = LocalBoxFuture<'static, Told>;

impl Teller {
    /// A hook that has told nobody yet.
    pub fn new(config: HookConfig, hook: Option<Hook>) -> Teller {
        Teller {
            config,
            hook: hook.map(Rc::new),
            telling: None,
            next: None,
            restarted: None,
            restart_at: None,
            outcome: None,
        }
    }
}

impl Pipeline {
    /// Notes for each hook concerned that there is something to tell.
    pub(super) fn must_tell(&mut self, rotation: &Rotation) {
        let groups: BTreeSet<_> = rotation
            .groups
            .iter()
            .filter_map(|&index| self.groups[index].config.given.clone())
            .collect();
        let configs: Vec<&HookConfig> = self.tellers.iter().map(|teller| &teller.config).collect();
        let concerned = hook::concerned(&configs, &rotation.files, &groups);
        for index in concerned {
            self.unconfirmed.insert(index, rotation.generation);
            let teller = &mut self.tellers[index];
            let mut notice = rotation.clone();
            // A hook answers for what it waits for, and for nothing else.
            let groups = &self.groups;
            let config = &teller.config;
            notice.groups.retain(|&group| waits_for(config, &groups[group]));
            // What was not told yet is told with this one, and undone with it.
            if let Some(waiting) = teller.next.take() {
                notice.files.extend(waiting.files);
                notice.groups.extend(waiting.groups);
            }
            teller.next = Some(notice);
        }
    }

    /// Notes what an earlier process left unconfirmed: it is told again.
    pub(super) fn tell_again(&mut self) {
        for &index in self.unconfirmed.keys() {
            if let Some(teller) = self.tellers.get_mut(index) {
                let generation = self.generation;
                teller.next = Some(Rotation { generation, ..Rotation::default() });
            }
        }
    }

    /// Starts every notice whose hook is free.
    pub(super) fn tell(&mut self) -> Vec<Telling> {
        let mut tellings: Vec<Telling> = Vec::new();
        for (index, teller) in self.tellers.iter_mut().enumerate() {
            if teller.telling.is_some() {
                continue;
            }
            if let (Some(hook), Some(rotation)) = (teller.hook.clone(), teller.next.take()) {
                let generation = rotation.generation;
                teller.telling = Some(rotation);
                tellings.push(Box::pin(async move {
                    Told { hook: index, told: hook.tell(generation).await }
                }));
            }
        }
        tellings
    }

    /// Takes what a hook answered, and does what the config says where it was not confirmed.
    pub(super) fn note_told(&mut self, told: Told, now: Timestamp) {
        let Told { hook: index, told } = told;
        let Some(teller) = self.tellers.get_mut(index) else { return };
        let Some(rotation) = teller.telling.take() else { return };
        let generation = rotation.generation;
        self.observe.say(&Event::HookTold { hook: index, generation, result: result(&told) });
        let failed = match told {
            hook::Told::Done | hook::Told::Confirmed | hook::Told::NobodyToTell => None,
            hook::Told::Failed(error) | hook::Told::Unconfirmed(error) => Some(error.report()),
        };
        if failed.is_none() {
            teller.restart_at = None;
            if teller.next.is_none() {
                self.unconfirmed.remove(&index);
            }
        }
        teller.outcome.clone_from(&failed);
        if let Some(report) = failed {
            say_error(&report);
            match teller_otherwise(&self.tellers[index]) {
                Some(Otherwise::RollBack) => self.roll_back(index, &rotation),
                Some(Otherwise::Restart(_)) => self.restart_later(index, generation, now),
                Some(Otherwise::Report) | None => {}
            }
        }
        self.save();
    }

    /// Puts the files before back as a new generation, and remembers what was refused.
    ///
    /// Only what still shows the refused generation is undone: newer files are told by themselves.
    fn roll_back(&mut self, index: usize, rotation: &Rotation) {
        let shows_it = |&group: &usize| {
            let group = self.groups.get(group);
            group.is_some_and(|group| group.since == rotation.generation && !group.pending)
        };
        let undo: Vec<usize> = rotation.groups.iter().copied().filter(shows_it).collect();
        if undo.is_empty() && !rotation.groups.is_empty() && !rotation.is_roll_back {
            return;
        }
        let possible = !rotation.is_roll_back
            && !undo.is_empty()
            && undo.iter().all(|&group| self.can_roll_back(group));
        if !possible {
            let report = Report::new(
                Reason::RollBackImpossible,
                format!("generation {} was not confirmed and stays", rotation.generation),
                "the files before it are not at hand or no longer good",
            )
            .hint("mend the secret in the store, or restart the application");
            say_error(&report);
            self.tellers[index].outcome = Some(report);
            return;
        }
        for index in undo {
            let group = &mut self.groups[index];
            let Some((before, refused)) = group.roll_back() else { continue };
            if let Some(carrier) = self.carriers.get_mut(&group.config.volume) {
                carrier.dirty = true;
            }
            for (name, (version, _)) in refused {
                let old = before.get(&name);
                // A secret that did not move was not refused.
                if old.is_some_and(|(old, _)| *old == version) {
                    continue;
                }
                if let Some(tracked) = self.secrets.get_mut(&name) {
                    tracked.refuse(version, old.and_then(|(_, secret)| secret.clone()));
                }
            }
        }
        self.rolled_back = Some(rotation.generation);
    }

    /// Whether the files before the newest ones of a group are at hand and still good.
    fn can_roll_back(&self, group: usize) -> bool {
        let Some(group) = self.groups.get(group) else { return false };
        let no_lease = |name| self.secrets.get(name).is_none_or(|secret| !secret.is_minted());
        group.before.is_some() && group.config.secrets.iter().all(no_lease)
    }

    /// Restarts the process once for this generation, at a moment of this pod's own, so that a fleet
    /// does not restart at once.
    fn restart_later(&mut self, index: usize, generation: u64, now: Timestamp) {
        let wait = self.phase.of(RESTART_SPREAD);
        let teller = &mut self.tellers[index];
        if teller.restarted.replace(generation) != Some(generation) {
            teller.restart_at = Some(now.after(wait));
        }
    }

    /// Starts every restart whose moment has come.
    pub(super) fn restart_due(&mut self, now: Timestamp) -> Vec<Restart> {
        let mut restarts: Vec<Restart> = Vec::new();
        for (index, teller) in self.tellers.iter_mut().enumerate() {
            if teller.restart_at.is_none_or(|at| at > now) {
                continue;
            }
            teller.restart_at = None;
            if let (Some(hook), Some(Otherwise::Restart(target))) =
                (teller.hook.clone(), teller_otherwise(teller).cloned())
            {
                restarts.push(Box::pin(async move { (index, hook.restart(&target).await) }));
            }
        }
        restarts
    }

    /// Takes what came of a restart.
    pub(super) fn note_restart(&mut self, index: usize, result: Result<(), HookError>) {
        self.observe.say(&Event::Restarted { hook: index, done: result.is_ok() });
        if let Err(error) = result {
            say_error(&error.report());
        }
    }
}

/// Whether a hook is concerned by a group.
pub(super) fn waits_for(hook: &HookConfig, group: &Group) -> bool {
    hook.when.is_empty()
        || hook.when.iter().any(|trigger| match trigger {
            Trigger::File(file) => group.config.files.contains(file),
            Trigger::Group(name) => group.config.given.as_ref() == Some(name),
        })
}

fn teller_otherwise(teller: &Teller) -> Option<&Otherwise> {
    teller.config.confirm.as_ref().map(|confirm| &confirm.otherwise)
}

fn result(told: &hook::Told) -> HookResult {
    match told {
        hook::Told::Done => HookResult::Done,
        hook::Told::Confirmed => HookResult::Confirmed,
        hook::Told::NobodyToTell => HookResult::NobodyToTell,
        hook::Told::Failed(_) => HookResult::Failed,
        hook::Told::Unconfirmed(_) => HookResult::Unconfirmed,
    }
}
