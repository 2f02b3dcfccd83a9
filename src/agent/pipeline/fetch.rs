//! Steps 1 and 2: what is due is asked for, and what came back is noted.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::agent::config::{OnDelete, Parameters, SecretRef};
use crate::agent::observe::{Event, FetchResult, log_report as say_error};
use crate::agent::reason::Reason;
use crate::agent::rotate::{self, Line, Pace, Roll, Timestamp};
use crate::agent::store::{Answer, Fetched, Retry, Scope, Store, StoreError, Wanted};
use crate::secret::{SecretName, StoreName};

use super::sessions::Terms;
use super::tracked::Tracked;
use super::watch::Stamped;
use super::{Mode, Pipeline};

/// A store and whether it may be asked now.
pub(super) struct Slot {
    /// The store itself.
    pub store: Rc<Store>,
    /// Who may ask it now.
    pub line: Line,
    /// Our logins there, and how long they live.
    pub terms: Terms,
    /// The file of a local store, as it was last looked at.
    pub stamped: Option<Stamped>,
}

impl Slot {
    /// A store that nobody asked yet.
    pub fn new(store: Store, roll: Roll) -> Slot {
        let stamped = store.watch().map(Stamped::of);
        let terms = Terms::adopt(&store.sessions(), roll);
        Slot { store: Rc::new(store), line: Line::default(), terms, stamped }
    }
}

/// A request's end.
pub(super) enum Answered {
    /// A secret was asked for.
    Secret {
        /// Which.
        secret: SecretName,
        /// As what: the config may have changed meanwhile.
        as_what: Box<(SecretRef, Parameters)>,
        /// What came.
        result: Result<Fetched, StoreError>,
    },
    /// More time for a lease, or its end.
    Hold(super::leases::HoldAnswered),
    /// Something about a login.
    Session(super::sessions::SessionAnswered),
}

/// A request on its way to a store.
pub(super) type Request = LocalBoxFuture<'static, (StoreName, Answered)>;

impl Pipeline {
    /// Tells each store what it will be asked for.
    pub(super) fn foretell(&self) {
        for (name, slot) in &self.stores {
            let ours = self.secrets.values().map(|tracked| &tracked.config.from);
            slot.store.expect(ours.filter(|from| from.store == *name));
        }
    }

    /// Starts requests at every store that is open and has something due: what keeps alive what is
    /// here comes first, then what is new, then what is given back.
    pub(super) fn ask(&mut self, now: Timestamp, mode: Mode) -> Vec<Request> {
        let mut requests = Vec::new();
        let names: Vec<StoreName> = self.stores.keys().cloned().collect();
        for name in names {
            while self.stores.get(&name).is_some_and(|slot| slot.line.is_free(now)) {
                let request = self
                    .tend_session(&name, now)
                    .or_else(|| self.renew_due(&name, now))
                    .or_else(|| self.fetch_due(&name, now, mode))
                    .or_else(|| self.give_back_due(&name, now));
                let Some(request) = request else { break };
                if let Some(slot) = self.stores.get_mut(&name) {
                    slot.line.asked();
                }
                requests.push(request);
            }
        }
        requests
    }

    fn fetch_due(&mut self, name: &StoreName, now: Timestamp, mode: Mode) -> Option<Request> {
        let keeps = mode == Mode::Stay || self.keeper.keeps();
        loop {
            let (secret, tracked) = first_due(&mut self.secrets, name, now)?;
            let store = Rc::clone(&self.stores.get(name)?.store);
            tracked.asked = true;
            tracked.due = None;
            match tracked.files() {
                Ok(files) => {
                    let leases = keeps || tracked.config.allow_expiry;
                    return Some(request(store, name.clone(), secret, tracked, files, leases, now));
                }
                Err(report) => {
                    let roll = self.rolls.roll();
                    tracked.failed(report.clone(), true, now);
                    tracked.due = Some(tracked.backoff.failed(Retry::Transient, now, roll));
                    self.observe
                        .say(&Event::FetchFailed { secret: &secret, reason: report.reason });
                    say_error(&report);
                }
            }
        }
    }

    /// Takes what a request brought.
    pub(super) fn note(&mut self, (store, answered): (StoreName, Answered), now: Timestamp) {
        let failed = match &answered {
            Answered::Secret { result, .. } => result.as_ref().err(),
            Answered::Hold(answered) => answered.error(),
            Answered::Session(answered) => answered.error(),
        };
        let outcome = failed.map_or("ok", |error| error.reason().word());
        let failure = failed.map(|error| (error.scope(), error.retry()));
        let roll = self.rolls.roll();
        if let Some(slot) = self.stores.get_mut(&store) {
            slot.line.heard(failure, now, roll);
        }
        if let Some((Scope::Store, retry)) = failure {
            self.hurry(&store, retry, now);
        }
        self.observe.say(&Event::Asked { store: &store, outcome });
        self.note_sessions(&store, now);
        match answered {
            Answered::Secret { secret, as_what, result } => {
                let same = |tracked: &Tracked| {
                    tracked.config.from == as_what.0 && tracked.config.with == as_what.1
                };
                // The config may have changed meanwhile: this answer is another path's then.
                if self.secrets.get(&secret).is_some_and(same) {
                    match result {
                        Ok(fetched) => self.note_answer(&secret, fetched, now),
                        Err(error) => self.note_failure(&secret, &error, now),
                    }
                    if let Some(tracked) = self.secrets.get_mut(&secret)
                        && std::mem::take(&mut tracked.outdated)
                    {
                        tracked.due = Some(now);
                    }
                } else if let Ok(Fetched { answer: Answer::Moved(value), .. }) = result {
                    self.hold(&secret, &store, Rc::new(value), now);
                }
            }
            Answered::Hold(answered) => self.note_hold(answered, now),
            Answered::Session(answered) => self.note_session(&store, answered, now),
        }
    }

    /// Sees to it that a store's long waits don't outlast what only the store can make longer.
    fn hurry(&mut self, name: &StoreName, retry: Retry, now: Timestamp) {
        let Some(slot) = self.stores.get_mut(name) else { return };
        let holds = self.holds.iter().filter(|hold| hold.store == *name && hold.leaving.is_none());
        let lives = holds.map(|hold| &hold.life).chain(slot.terms.life());
        if let Some(by) = lives.filter_map(|life| life.hurry(retry, now)).min() {
            slot.line.hurry(by);
        }
    }

    fn note_answer(&mut self, name: &SecretName, fetched: Fetched, now: Timestamp) {
        let Some(tracked) = self.secrets.get_mut(name) else { return };
        tracked.asked = false;
        tracked.rhythm = fetched.rhythm;
        let first = tracked.answered.is_none();
        let result = match fetched.answer {
            Answer::Unmoved => {
                tracked.unmoved(now);
                FetchResult::Unmoved
            }
            Answer::Moved(secret) => tracked.moved(secret, now),
        };
        let pace = tracked.pace(rotate::unix_now());
        tracked.due = rotate::next(pace, first, now, self.phase, self.rolls.roll());
        let is_planned = matches!(pace, Pace::Turns { .. } | Pace::Dated { .. });
        tracked.planned = tracked.due.filter(|_| is_planned);
        let version = tracked.seen.as_ref();
        self.observe.say(&Event::Fetched { secret: name, result, version });
        let made = (result == FetchResult::Moved && tracked.is_minted()).then(|| {
            let store = tracked.config.from.store.clone();
            (store, tracked.latest.clone())
        });
        if let Some((store, Some(value))) = made {
            self.hold(name, &store, value, now);
        }
        match result {
            FetchResult::Moved => {
                self.note_move(name, now);
                if self.is_in_a_hurry(name, now) {
                    self.settle.hurry(now.after(HURRY));
                }
            }
            // A group may have waited for exactly this answer.
            FetchResult::Unmoved | FetchResult::Refused if self.waits_for(name) => {
                self.settle.changed(now);
            }
            _ => {}
        }
    }

    fn note_failure(&mut self, name: &SecretName, error: &StoreError, now: Timestamp) {
        let (retry, roll) = (error.retry(), self.rolls.roll());
        let Some(tracked) = self.secrets.get_mut(name) else { return };
        let latest = tracked.latest.as_ref();
        let mut holds = self.holds.iter();
        let hold = holds.find(|hold| latest.is_some_and(|latest| Rc::ptr_eq(latest, &hold.value)));
        let report = error.report();
        let known = tracked.failure.as_ref().is_some_and(|old| old.report == report);
        tracked.failed(report.clone(), retry != Retry::Permanent, now);
        // While the whole store is away, its gate decides; the secret itself is due at once then.
        tracked.due = Some(match error.scope() {
            Scope::Store => now,
            Scope::Secret => {
                let again = tracked.backoff.failed(retry, now, roll);
                hold.map_or(again, |hold| hold.life.hurried(again, retry, now))
            }
        });
        let removes = tracked.config.on_delete == OnDelete::Remove;
        self.observe.say(&Event::FetchFailed { secret: name, reason: report.reason });
        if !known {
            say_error(&report);
        }
        if removes && report.reason == Reason::SecretDeleted {
            self.withdraw(name);
        }
        self.settle.changed(now);
    }

    /// Whether a group with changes waits for this secret.
    fn waits_for(&self, name: &SecretName) -> bool {
        let mut groups = self.groups.iter().filter(|group| group.moved.is_some());
        groups.any(|group| group.config.secrets.contains(name))
    }
}

/// How long other changes are waited for when a lease that is in use is about to end.
pub(super) const HURRY: Duration = Duration::from_millis(100);

/// An answer that came along with another one counts as new for this part of the time between two.
const FRESH: u32 = 8;

/// Of the secrets of a store that are due, the one that is due longest.
fn first_due<'a>(
    secrets: &'a mut BTreeMap<SecretName, Tracked>,
    store: &StoreName,
    now: Timestamp,
) -> Option<(SecretName, &'a mut Tracked)> {
    let due = secrets.iter_mut().filter(|(_, tracked)| {
        tracked.config.from.store == *store && tracked.due.is_some_and(|due| due <= now)
    });
    let (name, tracked) = due.min_by_key(|(_, tracked)| tracked.due)?;
    Some((name.clone(), tracked))
}

fn request(
    store: Rc<Store>,
    name: StoreName,
    secret: SecretName,
    tracked: &Tracked,
    files: BTreeMap<String, crate::secret::SecretBytes>,
    leases: bool,
    now: Timestamp,
) -> Request {
    let (from, engine) = (tracked.config.from.clone(), tracked.config.engine);
    let with = tracked.config.with.clone();
    let have = tracked.have().cloned();
    let fresh = tracked.config.refresh / FRESH;
    Box::pin(async move {
        let (have, now) = (have.as_ref(), now.0);
        let wanted =
            Wanted { from: &from, engine, have, with: &with, files: &files, leases, fresh, now };
        let result = store.fetch(wanted).await;
        (name, Answered::Secret { secret, as_what: Box::new((from, with)), result })
    })
}
