//! Steps 1 and 2: ask every secret that is due, and note what came back.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use crate::agent::config::SecretRef;
use crate::agent::observe::{Event, FetchResult, log_report as say_error};
use crate::agent::rotate::{self, Line, Timestamp};
use crate::agent::store::{Answer, Retry, Scope, Store, StoreError, Wanted};
use crate::secret::{SecretName, StoreName};

use super::Pipeline;
use super::tracked::Tracked;
use super::watch::Stamped;

/// A store and whether it may be asked now.
pub(super) struct Slot {
    /// The store itself.
    pub store: Rc<Store>,
    /// Who may ask it now.
    pub line: Line,
    /// The file of a local store, as it was last looked at.
    pub stamped: Option<Stamped>,
}

impl Slot {
    /// A store that nobody asked yet.
    pub fn new(store: Store) -> Slot {
        let stamped = store.watch().map(Stamped::of);
        Slot { store: Rc::new(store), line: Line::default(), stamped }
    }
}

/// A request's end.
pub(super) struct Answered {
    secret: SecretName,
    from: SecretRef,
    result: Result<Answer, StoreError>,
}

/// A request on its way.
pub(super) type Request = LocalBoxFuture<'static, Answered>;

impl Pipeline {
    /// Starts requests at every store that is open and has secrets that are due.
    pub(super) fn ask(&mut self, now: Timestamp) -> Vec<Request> {
        let mut requests = Vec::new();
        for (name, slot) in &mut self.stores {
            while slot.line.is_free(now) {
                let Some((secret, tracked)) = first_due(&mut self.secrets, name, now) else {
                    break;
                };
                slot.line.asked();
                tracked.asked = true;
                tracked.due = None;
                requests.push(request(&slot.store, secret, tracked, now));
            }
        }
        requests
    }

    /// Takes what a request brought: a value, the same one, or a failure and when to try again.
    pub(super) fn note(&mut self, answered: Answered, now: Timestamp) {
        let Answered { secret, from, result } = answered;
        let store = from.store.clone();
        let roll = self.rolls.roll();
        if let Some(slot) = self.stores.get_mut(&store) {
            let failure = result.as_ref().err().map(|error| (error.scope(), error.retry()));
            slot.line.heard(failure, now, roll);
        }
        let outcome = result.as_ref().map_or_else(|error| error.reason().word(), |_| "ok");
        self.observe.say(&Event::Asked { store: &store, outcome });
        // The config may have changed meanwhile: this answer is another path's then.
        if self.secrets.get(&secret).is_none_or(|tracked| tracked.config.from != from) {
            return;
        }
        match result {
            Ok(answer) => self.note_answer(&secret, answer, now),
            Err(error) => self.note_failure(&secret, &error, now),
        }
    }

    fn note_answer(&mut self, name: &SecretName, answer: Answer, now: Timestamp) {
        let Some(tracked) = self.secrets.get_mut(name) else { return };
        tracked.asked = false;
        let first = tracked.answered.is_none();
        let result = match answer {
            Answer::Unmoved => {
                tracked.unmoved(now);
                FetchResult::Unmoved
            }
            Answer::Moved(secret) => tracked.moved(secret, now),
        };
        tracked.due = rotate::next(tracked.pace(), first, now, self.phase, self.rolls.roll());
        let version = tracked.seen.as_ref();
        self.observe.say(&Event::Fetched { secret: name, result, version });
        match result {
            FetchResult::Moved => self.note_move(name, now),
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
        let report = error.report();
        let known = tracked.failure.as_ref().is_some_and(|old| old.report == report);
        tracked.failed(report.clone(), retry != Retry::Permanent, now);
        // While the whole store is away, its gate decides; the secret itself is due at once then.
        tracked.due = Some(match error.scope() {
            Scope::Store => now,
            Scope::Secret => tracked.backoff.failed(retry, now, roll),
        });
        self.observe.say(&Event::FetchFailed { secret: name, reason: report.reason });
        if !known {
            say_error(&report);
        }
        self.settle.changed(now);
    }

    /// Whether a group with changes waits for this secret.
    fn waits_for(&self, name: &SecretName) -> bool {
        let mut groups = self.groups.iter().filter(|group| group.moved.is_some());
        groups.any(|group| group.config.secrets.contains(name))
    }
}

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

fn request(store: &Rc<Store>, secret: SecretName, tracked: &Tracked, now: Timestamp) -> Request {
    let store = Rc::clone(store);
    let (from, engine) = (tracked.config.from.clone(), tracked.config.engine);
    let have = tracked.have().cloned();
    Box::pin(async move {
        let wanted = Wanted { from: &from, engine, have: have.as_ref(), now: now.0 };
        let result = store.fetch(wanted).await;
        Answered { secret, from, result }
    })
}
