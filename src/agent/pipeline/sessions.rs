//! Our logins at a store: renewed, replaced before they end, and let go only when nothing hangs on
//! them any more.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::agent::observe::{Event, log_report as say_error};
use crate::agent::rotate::{Backoff, Kind, Life, Roll, Step, Timestamp};
use crate::agent::store::{Granted, Retry, Scope, Session, StoreError};
use crate::secret::StoreName;

use super::Pipeline;
use super::fetch::{Answered, Request};
use super::tracked::Tracked;

/// Our logins at one store.
#[derive(Default)]
pub(super) struct Terms {
    /// The one that everything is asked with.
    current: Option<u64>,
    /// All of them, by their number.
    all: BTreeMap<u64, Term>,
}

/// How long a login lives, and what is next for it.
struct Term {
    life: Life,
    /// What keeps it alive or takes its place, and when.
    next: Option<(Timestamp, Step)>,
    /// Not before this it is let go, once nothing needs it: the last try failed.
    let_go_at: Timestamp,
    /// Whether somebody else logged in for it.
    given: bool,
    /// Whether a request about it is out.
    asked: bool,
    backoff: Backoff,
}

/// A login's next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Renew,
    Replace,
    LetGo,
}

/// What came of a request about a login.
pub(super) enum SessionAnswered {
    /// More time.
    Renewed(u64, Result<Granted, StoreError>),
    /// A new one in its place.
    Replaced(u64, Result<(), StoreError>),
    /// Its end.
    LetGo(u64, Result<(), StoreError>),
}

impl SessionAnswered {
    /// What went wrong.
    pub fn error(&self) -> Option<&StoreError> {
        match self {
            SessionAnswered::Renewed(_, result) => result.as_ref().err(),
            SessionAnswered::Replaced(_, result) | SessionAnswered::LetGo(_, result) => {
                result.as_ref().err()
            }
        }
    }
}

/// What is new among the logins of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    /// There is one more.
    added: bool,
    /// The current one is another.
    replaced: bool,
}

impl Terms {
    /// The logins that an earlier process left.
    pub fn adopt(sessions: &[Session], roll: Roll) -> Terms {
        let mut terms = Terms::default();
        terms.follow(sessions, roll);
        terms
    }

    /// Takes over what the store has now, the current one first.
    fn follow(&mut self, sessions: &[Session], roll: Roll) -> News {
        let before = self.current;
        self.current = sessions.first().map(|session| session.serial);
        let mut news = News::default();
        for session in sessions {
            self.all.entry(session.serial).or_insert_with(|| {
                news.added |= !session.given;
                let at = Timestamp(session.obtained);
                let life = Life::resumed(session.first_ttl, session.ttl, session.renewable, at);
                Term {
                    life,
                    next: life.next(Kind::Token, None, roll),
                    let_go_at: Timestamp::default(),
                    given: session.given,
                    asked: false,
                    backoff: Backoff::default(),
                }
            });
        }
        self.all.retain(|serial, _| sessions.iter().any(|session| session.serial == *serial));
        news.replaced = before != self.current;
        news
    }

    /// Whether these are the logins that the store has now.
    fn are(&self, sessions: &[Session]) -> bool {
        let same = |(session, serial): (&Session, &u64)| session.serial == *serial;
        let mut sorted: Vec<&Session> = sessions.iter().collect();
        sorted.sort_by_key(|session| session.serial);
        self.current == sessions.first().map(|session| session.serial)
            && self.all.len() == sessions.len()
            && sorted.into_iter().zip(self.all.keys()).all(same)
    }

    /// Whether what was made under a login ends before what would be made now.
    pub fn is_earlier(&self, serial: u64) -> bool {
        self.current.is_some_and(|current| current != serial)
    }

    /// Whether it is a login of ours, which takes along what hangs on it.
    pub fn is_ours(&self, serial: u64) -> bool {
        self.all.get(&serial).is_some_and(|term| !term.given)
    }

    /// When a login ends.
    pub fn ends(&self, serial: u64) -> Option<Timestamp> {
        self.all.get(&serial)?.life.ends()
    }

    /// How long the current login lives.
    pub fn life(&self) -> Option<&Life> {
        Some(&self.all.get(&self.current?)?.life)
    }

    /// What each of them wants next, and when; nothing while it is asked for something. `needs`
    /// says whether something hangs on it.
    fn wishes(
        &self,
        needs: impl Fn(u64, &Term) -> bool,
    ) -> impl Iterator<Item = (Timestamp, u64, Wish)> {
        let free = self.all.iter().filter(|(_, term)| !term.asked);
        free.filter_map(move |(&serial, term)| match term.next {
            _ if !needs(serial, term) => Some((term.let_go_at, serial, Wish::LetGo)),
            Some((at, Step::Renew)) => Some((at, serial, Wish::Renew)),
            // An earlier one was replaced already.
            Some((at, Step::Replace)) if self.current == Some(serial) => {
                Some((at, serial, Wish::Replace))
            }
            _ => None,
        })
    }
}

impl Pipeline {
    /// Notes which logins there are after a request. Whatever was made under one that is not the
    /// current one any more is made anew, since it ends with that one.
    pub(super) fn note_sessions(&mut self, name: &StoreName, now: Timestamp) {
        let roll = self.rolls.roll();
        let Some(slot) = self.stores.get_mut(name) else { return };
        let sessions = slot.store.sessions();
        if slot.terms.are(&sessions) {
            return;
        }
        let news = slot.terms.follow(&sessions, roll);
        if news.added {
            self.observe.say(&Event::Login { store: name, what: "new" });
        }
        if news.replaced {
            self.replace_what_is_under_earlier(name, now);
        }
        self.save();
    }

    /// Looks whether a token that somebody else logs in for is another one now: the one before ends
    /// when they think fit, and it may be what a refused secret waits for.
    pub(super) fn look_at_given(&mut self, now: Timestamp) {
        let moved = self.stores.iter().filter(|(_, slot)| slot.store.look_at_given(now.0));
        let moved: Vec<StoreName> = moved.map(|(name, _)| name.clone()).collect();
        for name in moved {
            self.note_sessions(&name, now);
            let refused = self.secrets.values_mut().filter(|secret| {
                secret.config.from.store == name && secret.failure.is_some() && !secret.asked
            });
            refused.for_each(|secret| secret.due = Some(now));
        }
    }

    /// Asks anew for everything whose newest value hangs on an earlier login.
    pub(super) fn replace_what_is_under_earlier(&mut self, name: &StoreName, now: Timestamp) {
        let Some(slot) = self.stores.get(name) else { return };
        let earlier = self.holds.iter().filter(|hold| {
            hold.store == *name
                && hold.lease().is_some_and(|lease| slot.terms.is_earlier(lease.under))
        });
        let earlier: Vec<_> =
            earlier.map(|hold| (hold.secret.clone(), Rc::clone(&hold.value))).collect();
        for (secret, value) in earlier {
            self.replace_soon(&secret, &value, now);
        }
    }

    /// What the logins of a store want next, and when.
    fn login_wishes(
        &self,
        name: &StoreName,
        now: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, u64, Wish)> {
        let is_used = self.is_used(name);
        // What is on its way may have been made under an earlier one.
        let is_asked = self.of_store(name).any(|secret| secret.asked);
        let terms = self.stores.get(name).map(|slot| &slot.terms).into_iter();
        terms.flat_map(move |terms| {
            terms.wishes(move |serial, term| {
                // Our token takes its leases along; one that was given stays, so they go one by one.
                let mut under = self.holds.iter().filter(|hold| hold.is_under(name, serial));
                let is_current = terms.current == Some(serial);
                (is_used && is_current)
                    || is_asked
                    || under.any(|hold| hold.asked || term.given || !hold.must_go(now))
            })
        })
    }

    fn of_store<'a>(&'a self, name: &'a StoreName) -> impl Iterator<Item = &'a Tracked> {
        self.secrets.values().filter(move |secret| secret.config.from.store == *name)
    }

    /// Whether a secret comes from a store, so that a login there is needed.
    pub(super) fn is_used(&self, name: &StoreName) -> bool {
        self.of_store(name).next().is_some()
    }

    /// When a login wants something next.
    pub(super) fn login_wakes(&self, name: &StoreName, now: Timestamp) -> Option<Timestamp> {
        self.login_wishes(name, now).map(|(at, ..)| at).min()
    }

    /// What is due for a login: more time, a new one, or its end.
    pub(super) fn tend_session(&mut self, name: &StoreName, now: Timestamp) -> Option<Request> {
        let due = self.login_wishes(name, now).find(|(at, ..)| *at <= now);
        let (_, serial, wish) = due?;
        let slot = self.stores.get_mut(name)?;
        let is_current = slot.terms.current == Some(serial);
        let term = slot.terms.all.get_mut(&serial)?;
        term.asked = true;
        // The end may have come while the machine slept: nothing makes it longer any more.
        let ended = is_current && wish == Wish::Renew && term.life.is_over(now);
        let wish = if ended { Wish::Replace } else { wish };
        let (store, name) = (Rc::clone(&slot.store), name.clone());
        Some(Box::pin(async move {
            let answered = match wish {
                Wish::Renew => {
                    SessionAnswered::Renewed(serial, store.renew_session(serial, now.0).await)
                }
                Wish::Replace => SessionAnswered::Replaced(serial, store.log_in(now.0).await),
                Wish::LetGo => SessionAnswered::LetGo(serial, store.let_go(serial).await),
            };
            (name, Answered::Session(answered))
        }))
    }

    /// Takes what a request about a login brought.
    pub(super) fn note_session(
        &mut self,
        name: &StoreName,
        answered: SessionAnswered,
        now: Timestamp,
    ) {
        let roll = self.rolls.roll();
        let Some(slot) = self.stores.get_mut(name) else { return };
        let what = match answered {
            SessionAnswered::LetGo(serial, Ok(())) => {
                self.holds.retain(|hold| !hold.is_under(name, serial));
                "let_go"
            }
            SessionAnswered::LetGo(serial, Err(error)) => {
                return slot.terms.change(serial, |term| {
                    term.let_go_at = term.after(&error, now, roll);
                });
            }
            SessionAnswered::Renewed(serial, Ok(granted)) => {
                slot.terms.change(serial, |term| {
                    term.backoff.succeeded();
                    term.life.renewed(granted.span, granted.renewable, now);
                    term.next = term.life.next(Kind::Token, None, roll);
                });
                "renewed"
            }
            SessionAnswered::Renewed(serial, Err(error)) => {
                return slot.terms.change(serial, |term| {
                    let again = term.after(&error, now, roll);
                    // Renewals that fail to the end are no reason to be without a login.
                    let last_call = term.life.last_call().is_some_and(|last| last <= again);
                    let given_up = last_call || error.is_about_one_thing();
                    let (replace, renew) = ((now, Step::Replace), (again, Step::Renew));
                    term.next = Some(if given_up { replace } else { renew });
                });
            }
            // The new one has a number of its own.
            SessionAnswered::Replaced(serial, Ok(())) => {
                return slot.terms.change(serial, |term| term.next = None);
            }
            SessionAnswered::Replaced(serial, Err(error)) => {
                say_error(&error.report());
                return slot.terms.change(serial, |term| {
                    term.next = Some((term.after(&error, now, roll), Step::Replace));
                });
            }
        };
        self.observe.say(&Event::Login { store: name, what });
        self.save();
    }
}

impl Terms {
    fn change(&mut self, serial: u64, change: impl FnOnce(&mut Term)) {
        if let Some(term) = self.all.get_mut(&serial) {
            term.asked = false;
            change(term);
        }
    }
}

impl Term {
    /// When to try again after a failure. While the whole store is away, its gate decides.
    fn after(&mut self, error: &StoreError, now: Timestamp, roll: Roll) -> Timestamp {
        match (error.scope(), error.retry()) {
            (Scope::Store, retry) if retry != Retry::Permanent => now,
            (_, retry) => {
                let again = self.backoff.failed(retry, now, roll);
                self.life.hurried(again, retry, now)
            }
        }
    }
}
