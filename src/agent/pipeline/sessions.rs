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
        news.replaced = before.is_some() && before != self.current;
        news
    }

    /// Whether what hangs on a login is given back by itself, and not with the login.
    pub fn is_let_go_alone(&self, serial: u64) -> bool {
        let earlier = self.all.get(&serial).filter(|_| self.current != Some(serial));
        earlier.is_none_or(|term| term.given)
    }

    /// When a login ends.
    pub fn ends(&self, serial: u64) -> Option<Timestamp> {
        self.all.get(&serial)?.life.ends()
    }

    /// When any of them wants something.
    pub fn wakes(&self) -> impl Iterator<Item = Timestamp> {
        let free = self.all.values().filter(|term| !term.asked);
        free.flat_map(|term| {
            let again = Some(term.let_go_at).filter(|at| *at > Timestamp::default());
            [term.next.map(|(at, _)| at), again].into_iter().flatten()
        })
    }

    /// What is due first. `needs` says whether anything hangs on a login that is not the current one.
    fn wish(&self, now: Timestamp, needs: impl Fn(u64, &Term) -> bool) -> Option<(u64, Wish)> {
        let current = self.current?;
        self.all.iter().filter(|(_, term)| !term.asked).find_map(|(&serial, term)| {
            let due = term.next.filter(|(at, _)| *at <= now).map(|(_, step)| step);
            match due {
                _ if serial != current && !needs(serial, term) => {
                    (term.let_go_at <= now).then_some((serial, Wish::LetGo))
                }
                Some(Step::Renew) => Some((serial, Wish::Renew)),
                Some(Step::Replace) if serial == current => Some((serial, Wish::Replace)),
                _ => None,
            }
        })
    }
}

impl Pipeline {
    /// Notes which logins there are after a request. Whatever was made under one that is not the
    /// current one any more is made anew, since it ends with that one.
    pub(super) fn note_sessions(&mut self, name: &StoreName, now: Timestamp) {
        let roll = self.rolls.roll();
        let Some(slot) = self.stores.get_mut(name) else { return };
        if slot.store.serials().iter().eq(slot.terms.all.keys()) {
            return;
        }
        let news = slot.terms.follow(&slot.store.sessions(), roll);
        if news.added {
            self.observe.say(&Event::Login { store: name, what: "new" });
        }
        if news.replaced {
            self.replace_what_is_under_earlier(name, now);
        }
        self.save();
    }

    /// Asks anew for everything whose newest value hangs on an earlier login.
    pub(super) fn replace_what_is_under_earlier(&mut self, name: &StoreName, now: Timestamp) {
        let current = self.stores.get(name).and_then(|slot| slot.terms.current);
        let earlier = self.holds.iter().filter(|hold| {
            hold.store == *name && hold.lease().is_some_and(|lease| Some(lease.under) != current)
        });
        let earlier: Vec<_> =
            earlier.map(|hold| (hold.secret.clone(), Rc::clone(&hold.value))).collect();
        for (secret, value) in earlier {
            self.replace_soon(&secret, &value, now);
        }
    }

    /// What is due for a login: more time, a new one, or its end.
    pub(super) fn tend_session(&mut self, name: &StoreName, now: Timestamp) -> Option<Request> {
        let slot = self.stores.get_mut(name)?;
        let holds = &self.holds;
        let needs = |serial, term: &Term| {
            // Our token takes its leases along; one that was given stays, so they go one by one.
            let mut under = holds.iter().filter(|hold| hold.is_under(name, serial));
            under.any(|hold| hold.asked || term.given || !hold.must_go(now))
        };
        let (serial, wish) = slot.terms.wish(now, needs)?;
        slot.terms.all.get_mut(&serial)?.asked = true;
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
                    let given_up = last_call || error.retry() == Retry::Permanent;
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
            (_, retry) => self.backoff.failed(retry, now, roll),
        }
    }
}
