//! Leases over time: renewed while they are needed, and given back when they are not.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::agent::observe::{Event, LeaseStep, log_report as say_error};
use crate::agent::reason::{Reason, Report};
use crate::agent::rotate::{SETTLE, Timestamp};
use crate::agent::store::{Granted, Scope, StoreError};
use crate::secret::{Secret, SecretName, StoreName};

use super::Pipeline;
use super::compose::Group;
use super::fetch::{Answered, Request};
use super::holds::{Hold, Leaving};
use super::hooks::{Teller, waits_for};
use super::tracked::Tracked;

/// What came of a request about a lease.
pub(super) enum HoldAnswered {
    /// More time.
    Renewed(u64, Result<Granted, StoreError>),
    /// Its end.
    Revoked(u64, Result<(), StoreError>),
}

impl HoldAnswered {
    /// What went wrong.
    pub fn error(&self) -> Option<&StoreError> {
        match self {
            HoldAnswered::Renewed(_, result) => result.as_ref().err(),
            HoldAnswered::Revoked(_, result) => result.as_ref().err(),
        }
    }
}

impl Pipeline {
    /// Takes over what was just made, and writes it down before anything else is done with it.
    pub(super) fn hold(
        &mut self,
        secret: &SecretName,
        store: &StoreName,
        value: Rc<Secret>,
        now: Timestamp,
    ) {
        let id = self.holds.iter().map(|hold| hold.id).max().unwrap_or_default() + 1;
        self.holds.push(Hold::new(id, secret.clone(), store.clone(), value, now));
        self.plan_hold(id, now);
        self.save();
    }

    /// Decides when a lease is renewed, and when its secret is asked for anew.
    pub(super) fn plan_hold(&mut self, id: u64, now: Timestamp) {
        let roll = self.rolls.roll();
        let Some(hold) = self.holds.iter_mut().find(|hold| hold.id == id) else { return };
        let tracked = self.secrets.get_mut(&hold.secret);
        // Also what the config does not name any more is kept alive until it may go.
        hold.plan(tracked.as_ref().map_or(IDLE, |tracked| tracked.config.refresh), roll);
        let Some(tracked) = tracked.filter(|tracked| !tracked.asked) else { return };
        let newest = tracked.latest.as_ref().is_some_and(|latest| Rc::ptr_eq(latest, &hold.value));
        let terms = self.stores.get(&hold.store).map(|slot| &slot.terms);
        match hold.lease() {
            _ if !newest => {}
            None => hold.replace_at = tracked.due,
            // It ends with its login, however long it was made.
            Some(lease) if terms.is_some_and(|terms| terms.is_earlier(lease.under)) => {
                tracked.due = hold.replace_at.into_iter().chain([tracked.due.unwrap_or(now)]).min();
            }
            Some(_) => tracked.due = hold.replace_at,
        }
    }

    /// The renewal that is due longest at a store.
    pub(super) fn renew_due(&mut self, name: &StoreName, now: Timestamp) -> Option<Request> {
        let due = self.holds.iter_mut().filter(|hold| {
            let wants = hold.renew_at.is_some_and(|at| at <= now) && !hold.must_go(now);
            hold.store == *name && !hold.asked && wants
        });
        let hold = due.min_by_key(|hold| hold.renew_at)?;
        hold.asked = true;
        let (id, value) = (hold.id, Rc::clone(&hold.value));
        let store = Rc::clone(&self.stores.get(name)?.store);
        let name = name.clone();
        Some(Box::pin(async move {
            let granted = match &value.lease {
                Some(lease) => store.renew(lease).await,
                None => Ok(Granted { span: None, renewable: false }),
            };
            (name, Answered::Hold(HoldAnswered::Renewed(id, granted)))
        }))
    }

    /// The end of a lease whose time has come.
    pub(super) fn give_back_due(&mut self, name: &StoreName, now: Timestamp) -> Option<Request> {
        let due = self.holds.iter().position(|hold| {
            hold.store == *name && !hold.asked && hold.must_go(now) && !self.goes_along(hold, now)
        });
        let hold = &mut self.holds[due?];
        hold.asked = true;
        let (id, value) = (hold.id, Rc::clone(&hold.value));
        let store = Rc::clone(&self.stores.get(name)?.store);
        let name = name.clone();
        Some(Box::pin(async move {
            let revoked = match &value.lease {
                Some(lease) => store.revoke(lease).await,
                None => Ok(()),
            };
            (name, Answered::Hold(HoldAnswered::Revoked(id, revoked)))
        }))
    }

    /// Takes what a request about a lease brought.
    pub(super) fn note_hold(&mut self, answered: HoldAnswered, now: Timestamp) {
        match answered {
            HoldAnswered::Renewed(id, result) => self.note_renewal(id, result, now),
            HoldAnswered::Revoked(id, result) => self.note_revocation(id, result, now),
        }
    }

    fn note_renewal(&mut self, id: u64, result: Result<Granted, StoreError>, now: Timestamp) {
        let roll = self.rolls.roll();
        let Some(hold) = self.holds.iter_mut().find(|hold| hold.id == id) else { return };
        hold.asked = false;
        let secret = hold.secret.clone();
        match result {
            Ok(granted) => {
                hold.backoff.succeeded();
                hold.life.renewed(granted.span, granted.renewable, now);
                self.observe.say(&Event::Lease { secret: &secret, what: LeaseStep::Renewed });
                self.plan_hold(id, now);
                self.save();
            }
            Err(error) if error.is_about_one_thing() => {
                // Ended by somebody else, or not ours to renew any more: something new, at once.
                hold.renew_at = None;
                hold.replace_at = Some(now);
                let value = Rc::clone(&hold.value);
                self.observe.say(&Event::Lease { secret: &secret, what: LeaseStep::Lost });
                self.replace_soon(&secret, &value, now);
            }
            Err(error) => {
                // While the whole store is away, its gate decides.
                hold.renew_at = Some(match error.scope() {
                    Scope::Store => now,
                    Scope::Secret => {
                        let again = hold.backoff.failed(error.retry(), now, roll);
                        hold.life.hurried(again, error.retry(), now)
                    }
                });
            }
        }
    }

    /// Asks for something new in the place of `value`, if that is still the newest.
    pub(super) fn replace_soon(&mut self, secret: &SecretName, value: &Rc<Secret>, now: Timestamp) {
        let Some(tracked) = self.secrets.get_mut(secret) else { return };
        let newest = tracked.latest.as_ref().is_some_and(|latest| Rc::ptr_eq(latest, value));
        if newest && !tracked.asked {
            tracked.due = Some(tracked.due.map_or(now, |due| due.min(now)));
        }
    }

    fn note_revocation(&mut self, id: u64, result: Result<(), StoreError>, now: Timestamp) {
        let roll = self.rolls.roll();
        let Some(index) = self.holds.iter().position(|hold| hold.id == id) else { return };
        let hold = &mut self.holds[index];
        hold.asked = false;
        let what = match result {
            Ok(()) => LeaseStep::Revoked,
            Err(error) if error.is_about_one_thing() => {
                say_error(&not_revoked(&hold.secret, &error.report()));
                LeaseStep::NotRevoked
            }
            Err(error) => {
                let at = match error.scope() {
                    Scope::Store => now,
                    Scope::Secret => hold.backoff.failed(error.retry(), now, roll),
                };
                if let Some(leaving) = &mut hold.leaving {
                    leaving.at = Some(at);
                }
                return;
            }
        };
        let hold = self.holds.remove(index);
        self.observe.say(&Event::Lease { secret: &hold.secret, what });
        self.save();
    }

    /// Notes what nothing needs any more, and what ended by itself.
    ///
    /// Needed is: the newest value, what the newest good files were made of, what a volume shows,
    /// and, after a start or a change of the config, all that was there before until everything is
    /// published.
    pub(super) fn sort_out_holds(&mut self, now: Timestamp) {
        self.settle_lingering();
        let needed = self.needed();
        let mut changed = false;
        for hold in &mut self.holds {
            if hold.leaving.is_none() && !needed.contains(&Rc::as_ptr(&hold.value)) {
                let owed = owed(&hold.secret, &self.groups, &self.tellers, &self.unconfirmed);
                hold.leaving = Some(Leaving { owed, at: None });
                changed = true;
            }
            if let Some(leaving) = &mut hold.leaving {
                leaving.owed.retain(|hook| self.unconfirmed.contains_key(hook));
                if leaving.owed.is_empty() && leaving.at.is_none() {
                    leaving.at = Some(now.after(self.config.revoke.after));
                    changed = true;
                }
            }
        }
        let before = self.holds.len();
        self.holds.retain(|hold| {
            let gone = hold.leaving.is_some() && (hold.lease().is_none() || hold.life.is_over(now));
            !gone || hold.asked
        });
        self.ended.retain(|id| self.holds.iter().any(|hold| hold.id == *id));
        // The end may have come while the machine slept: nothing makes it longer any more.
        for hold in self.holds.iter_mut().filter(|hold| hold.life.is_over(now)) {
            hold.renew_at = None;
        }
        let over =
            self.holds.iter().filter(|hold| hold.life.is_over(now) && hold.leaving.is_none());
        let over: Vec<_> =
            over.map(|hold| (hold.id, hold.secret.clone(), Rc::clone(&hold.value))).collect();
        for (id, secret, value) in over {
            if self.ended.insert(id) {
                self.observe.say(&Event::Lease { secret: &secret, what: LeaseStep::Ended });
                self.replace_soon(&secret, &value, now);
            }
        }
        if changed || before != self.holds.len() {
            self.save();
        }
    }

    fn needed(&self) -> BTreeSet<*const Secret> {
        let newest = self.secrets.values().filter_map(|tracked| tracked.latest.as_ref());
        let shown = self.groups.iter().flat_map(|group| {
            let made = group.made_of.values().chain(group.shown.values());
            made.filter_map(|(_, secret)| secret.as_ref())
        });
        let command = self.runner.iter().flat_map(|runner| &runner.shown);
        newest.chain(shown).chain(command).chain(&self.lingering).map(Rc::as_ptr).collect()
    }

    /// What was there before is not needed any more once everything new is published.
    fn settle_lingering(&mut self) {
        let settled = self.started
            && self.carriers.values().all(|carrier| !carrier.dirty)
            && self.groups.iter().all(|group| !group.inherited.shown);
        if settled {
            self.lingering.clear();
        }
    }

    /// What an earlier process let go of waits for whoever has not confirmed its successor yet.
    pub(super) fn resume_leaving(&mut self) {
        for hold in &mut self.holds {
            if let Some(leaving) = hold.leaving.as_mut().filter(|leaving| leaving.at.is_none()) {
                leaving.owed = owed(&hold.secret, &self.groups, &self.tellers, &self.unconfirmed);
            }
        }
    }

    /// Whether it is not given back by itself but with its login: one of ours that nothing else
    /// needs.
    fn goes_along(&self, hold: &Hold, now: Timestamp) -> bool {
        let Some(under) = hold.lease().map(|lease| lease.under) else { return false };
        let Some(terms) = self.stores.get(&hold.store).map(|slot| &slot.terms) else {
            return false;
        };
        let last = terms.is_earlier(under) || !self.is_used(&hold.store);
        let mut others = self.holds.iter().filter(|other| other.is_under(&hold.store, under));
        last && terms.is_ours(under) && others.all(|other| other.must_go(now))
    }

    /// Whether a lease that the application uses ends before changes would have settled.
    pub(super) fn is_in_a_hurry(&self, secret: &SecretName, now: Timestamp) -> bool {
        let soon = now.after(SETTLE * 3);
        let newest = self.secrets.get(secret).and_then(|tracked| tracked.latest.as_ref());
        let mut used = self.holds.iter().filter(|hold| {
            let is_newest = newest.is_some_and(|newest| Rc::ptr_eq(newest, &hold.value));
            hold.secret == *secret && hold.leaving.is_none() && !is_newest
        });
        used.any(|hold| self.hold_ends(hold).is_some_and(|ends| ends < soon))
    }

    /// When something that was made for us ends: with its login at the latest.
    fn hold_ends(&self, hold: &Hold) -> Option<Timestamp> {
        let login =
            hold.lease().and_then(|lease| self.stores.get(&hold.store)?.terms.ends(lease.under));
        [hold.life.ends(), login].into_iter().flatten().min()
    }

    /// When a lease wants something next.
    pub(super) fn hold_wakes(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&StoreName, Timestamp)> {
        let free = self.holds.iter().filter(|hold| !hold.asked);
        free.flat_map(move |hold| {
            let leaves = hold.leaving.as_ref().and_then(|leaving| leaving.at);
            let wakes = match leaves {
                // From now on its login decides.
                Some(at) if at <= now && self.goes_along(hold, now) => [None, None],
                Some(at) if at <= now => [Some(at), None],
                leaves => [leaves, hold.renew_at],
            };
            wakes.into_iter().flatten().map(|at| (&hold.store, at))
        })
    }

    /// When the lease of a secret's newest value ends: with its login at the latest.
    pub(super) fn lease_ends(&self, secret: &Tracked) -> Option<Timestamp> {
        self.hold_ends(self.newest_hold(secret)?)
    }

    /// When the store last gave the lease of a secret's newest value more time.
    pub(super) fn lease_renewed(&self, secret: &Tracked) -> Option<Timestamp> {
        let hold = self.newest_hold(secret).filter(|hold| hold.lease().is_some())?;
        Some(hold.life.grants().2)
    }

    /// What holds a secret's newest value.
    pub(super) fn newest_hold(&self, secret: &Tracked) -> Option<&Hold> {
        let latest = secret.latest.as_ref()?;
        self.holds.iter().find(|hold| Rc::ptr_eq(&hold.value, latest))
    }
}

/// How often a lease without a known end is renewed when no config says so.
const IDLE: Duration = Duration::from_mins(5);

/// The hooks that have not confirmed what takes a secret's place.
fn owed(
    secret: &SecretName,
    groups: &[Group],
    tellers: &[Teller],
    unconfirmed: &BTreeMap<usize, u64>,
) -> BTreeSet<usize> {
    let concerned = |teller: &Teller| {
        let mut groups = groups.iter().filter(|group| group.config.secrets.contains(secret));
        groups.any(|group| waits_for(&teller.config, group))
    };
    let hooks = unconfirmed.keys().copied();
    hooks.filter(|&hook| tellers.get(hook).is_some_and(concerned)).collect()
}

/// A lease that stays though nobody needs it any more.
fn not_revoked(secret: &SecretName, cause: &Report) -> Report {
    Report::new(
        Reason::LeaseNotRevoked,
        format!("an old lease of `{secret}` could not be given back"),
        cause.why.clone(),
    )
    .hint("grant `update` on `sys/leases/revoke` to the policy; until then it lives to its end")
}
