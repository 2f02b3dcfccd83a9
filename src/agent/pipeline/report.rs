//! Step 7: how things stand, for probes and people, and what a restart needs.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::agent::config::{OnDelete, Then};
use crate::agent::observe::{Event, Protections, SecretStatus, Status, log_report as say_error};
use crate::agent::reason::Reason;
use crate::agent::rotate::Timestamp;
use crate::sandbox::arena;
use crate::secret::SecretName;

use super::Pipeline;
use super::compose::Group;
use super::holds::Hold;
use super::tracked::Tracked;

impl Pipeline {
    /// Shows how things stand now.
    pub(super) fn show(&mut self, now: Timestamp) {
        let secrets: BTreeMap<String, SecretStatus> = self
            .secrets
            .iter()
            .map(|(name, secret)| (name.to_string(), self.secret_status(name, secret, now)))
            .collect();
        let reasons = self.reasons(now);
        let ready = self.is_ready(now);
        let before = self.shown.replace((ready, reasons.clone()));
        if before.as_ref().is_none_or(|before| *before != (ready, reasons.clone())) {
            let reasons: Vec<Reason> = reasons.iter().copied().collect();
            self.observe.say(&Event::Ready { ready, reasons: &reasons });
        }
        self.observe.show(Status {
            ready,
            generation: if self.started { self.generation.max(1) } else { 0 },
            sandbox: Protections {
                memory: arena::level().word(),
                dumpable: is_dumpable(),
                confinement: self.confinement.level(),
                landlock: self.confinement.landlock,
                seccomp: self.confinement.seccomp,
                possible: self.confinement.possible.iter().map(|deed| deed.word()).collect(),
            },
            reasons: reasons.into_iter().collect(),
            secrets,
        });
    }

    fn secret_status(&self, name: &SecretName, secret: &Tracked, now: Timestamp) -> SecretStatus {
        let failed = secret.failure.as_ref().map(|failure| (failure.report.reason, failure.since));
        let refused = self.groups.iter().find_map(|group| {
            let refusal = group.refused.as_ref().filter(|r| r.secrets.is_empty())?;
            group.config.secrets.contains(name).then_some(refusal.report.reason)
        });
        let stale = self.is_stale(secret, now).then_some(Reason::Stale);
        let doubted = secret.went_back.is_doubted().then_some(Reason::VersionWentBack);
        let rolled_back = secret.is_refused().then_some(Reason::RolledBack);
        let failed_for = failed.map(|(reason, _)| reason);
        let ends = self.lease_ends(secret);
        let ended = ends.is_some_and(|ends| ends <= now).then_some(Reason::LeaseEnded);
        let reason = failed_for.or(refused).or(rolled_back).or(doubted).or(ended).or(stale);
        let (next, next_step) = self.next_step(secret).unzip();
        SecretStatus {
            ok: reason.is_none() && secret.latest.is_some(),
            reason: reason.or_else(|| secret.latest.is_none().then_some(Reason::Starting)),
            since: failed.map(|(_, since)| since),
            answered: secret.answered,
            lease_ends: ends,
            next,
            next_step,
        }
    }

    /// When the store is asked next because of a secret, and what for.
    fn next_step(&self, secret: &Tracked) -> Option<(Timestamp, &'static str)> {
        let step = if secret.is_minted() { "replace" } else { "ask" };
        let renew = self.newest_hold(secret).and_then(|hold| hold.renew_at).map(|at| (at, "renew"));
        let (at, step) = secret.due.map(|due| (due, step)).into_iter().chain(renew).min()?;
        let gate = self.stores.get(&secret.config.from.store).and_then(|slot| slot.line.opens());
        Some((at.max(gate.unwrap_or_default()), step))
    }

    pub(super) fn is_stale(&self, secret: &Tracked, now: Timestamp) -> bool {
        self.stale_at(secret).is_some_and(|at| at < now)
    }

    /// When a secret is older than the config bears. A pinned version never is, one with a lease not
    /// before that is over, and what has a date on which it turns is fresh until then.
    pub(super) fn stale_at(&self, secret: &Tracked) -> Option<Timestamp> {
        let limit = self.config.when_down.serve_stale_for?;
        if secret.is_ageless() {
            return None;
        }
        // What an earlier process delivered is at least as old as this one.
        let answered = secret.answered.unwrap_or(secret.born);
        let fresh = answered.max(secret.planned.unwrap_or_default());
        let lease = self.lease_renewed(secret).unwrap_or_default();
        let ends = self.lease_ends(secret).unwrap_or_default();
        Some(fresh.max(lease).after(limit).max(ends))
    }

    /// Every required file is delivered, and the last rotation was not refused. One failed fetch is
    /// not unready, and with `then: keep` neither is a stale secret. A deleted one is with
    /// `on_delete: fail`.
    fn is_ready(&self, now: Timestamp) -> bool {
        let stale = self.config.when_down.then == Then::Unready
            && self.secrets.values().any(|secret| self.is_stale(secret, now));
        let deleted = |secret: &Tracked| {
            let failure = secret.failure.as_ref().map(|failure| failure.report.reason);
            secret.config.on_delete == OnDelete::Fail && failure == Some(Reason::SecretDeleted)
        };
        self.started
            && !stale
            && !self.secrets.values().any(deleted)
            && !self.secrets.values().any(Tracked::is_refused)
            && self.groups.iter().all(|group| group.is_delivered() || self.is_optional(group))
            && self.carriers.values().all(|carrier| carrier.failure.is_none())
            && self.groups.iter().all(|group| match &group.refused {
                Some(refusal) => !refusal.secrets.is_empty(),
                None => true,
            })
    }

    /// Whether a group may be missing because an optional secret is.
    fn is_optional(&self, group: &Group) -> bool {
        let mut secrets = group.config.secrets.iter().filter_map(|name| self.secrets.get(name));
        secrets.any(|secret| secret.latest.is_none() && secret.is_forgiven())
    }

    fn reasons(&self, now: Timestamp) -> BTreeSet<Reason> {
        let mut reasons = self.problems.clone();
        if !self.started {
            reasons.insert(Reason::Starting);
        }
        if !self.keeper.keeps() {
            reasons.insert(Reason::NoHandover);
        }
        let failures = self.secrets.values().filter_map(|secret| secret.failure.as_ref());
        reasons.extend(failures.map(|failure| failure.report.reason));
        let over = |ends: Timestamp| ends <= now;
        if self.secrets.values().any(|secret| self.lease_ends(secret).is_some_and(over)) {
            reasons.insert(Reason::LeaseEnded);
        }
        if self.secrets.values().any(|secret| self.is_stale(secret, now)) {
            reasons.insert(Reason::Stale);
        }
        if self.secrets.values().any(|secret| secret.went_back.is_doubted()) {
            reasons.insert(Reason::VersionWentBack);
        }
        let refused = self.groups.iter().filter_map(|group| group.refused.as_ref());
        reasons.extend(refused.map(|refusal| refusal.report.reason));
        let volumes = self.carriers.values().filter_map(|carrier| carrier.failure.as_ref());
        reasons.extend(volumes.map(|report| report.reason));
        for teller in &self.tellers {
            reasons.extend(teller.outcome.as_ref().map(|report| report.reason));
            if teller.outcome.is_some() && teller.config.confirm.is_some() {
                reasons.insert(Reason::Unconfirmed);
            }
        }
        if self.secrets.values().any(Tracked::is_refused) {
            reasons.insert(Reason::RolledBack);
        }
        reasons
    }

    fn is_newest(&self, hold: &Hold) -> bool {
        let tracked = self.secrets.get(&hold.secret);
        let latest = tracked.and_then(|tracked| tracked.latest.as_ref());
        latest.is_some_and(|latest| Rc::ptr_eq(latest, &hold.value))
    }

    /// Keeps what a restart needs. A state that can't be written is reported, and does not stop
    /// anything.
    pub(super) fn save(&mut self) {
        let (generation, unconfirmed) = (self.generation, self.unconfirmed.clone());
        let versions = |pick: fn(&Tracked) -> Option<&crate::secret::Version>| {
            let picked = self
                .secrets
                .iter()
                .filter_map(|(name, secret)| Some((name.clone(), pick(secret)?.clone())));
            picked.collect::<BTreeMap<_, _>>()
        };
        let delivered = versions(|secret| secret.seen.as_ref());
        let refused = versions(|secret| secret.refused.as_ref());
        let sessions = self.stores.iter().filter_map(|(name, slot)| {
            let ours = slot.store.kept_sessions();
            (!ours.is_empty()).then(|| (name.clone(), ours))
        });
        let sessions: BTreeMap<_, _> = sessions.collect();
        let holds: Vec<_> = self.holds.iter().map(|hold| hold.held(self.is_newest(hold))).collect();
        let saved = self.keeper.update(|snapshot| {
            snapshot.sessions = sessions;
            snapshot.holds = holds;
            snapshot.generation = generation;
            snapshot.unconfirmed = unconfirmed;
            snapshot.delivered = delivered;
            snapshot.refused = refused;
        });
        match saved {
            Ok(()) => {
                self.problems.retain(|r| !matches!(r, Reason::VolumeRefused | Reason::VolumeFull));
            }
            Err(report) => {
                if self.problems.insert(report.reason) {
                    say_error(&report);
                }
            }
        }
    }
}

fn is_dumpable() -> bool {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    !matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}
