//! What survives a restart: read at the start, written whenever it changes, and forgotten where the
//! config means another thing by the same name.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::agent::config::Config;
use crate::agent::observe::log_report;
use crate::agent::reason::{Reason, Report};
use crate::agent::state::{Snapshot, State};
use crate::agent::store::Session;
use crate::secret::{DigestKey, SecretBytes, StoreName};

/// What survives a restart, if there is a place for it.
pub(super) struct Keeper {
    state: Option<State>,
    /// Whether an earlier process left anything, …
    pub found: bool,
    /// … and whether something that was made for it is still good.
    found_holds: bool,
    /// What is kept now.
    pub snapshot: RefCell<Snapshot>,
}

impl Keeper {
    /// Opens the state and reads what an earlier process left there. What can't be used of it is
    /// reported, and holds nobody up: we log in anew.
    pub fn open(config: &Config) -> Result<Keeper, Report> {
        let state = config.state.as_ref().map(State::open).transpose().map_err(|e| e.report())?;
        let loaded = state.as_ref().and_then(|state| {
            state.load().unwrap_or_else(|error| {
                log_report(&error.report());
                None
            })
        });
        let found = loaded.is_some();
        let mut snapshot = loaded.unwrap_or_default();
        forget_strangers(&mut snapshot, config);
        let found_holds = !snapshot.holds.is_empty();
        Ok(Keeper { state, found, found_holds, snapshot: RefCell::new(snapshot) })
    }

    /// One that keeps nothing.
    pub fn of_nothing() -> Keeper {
        let snapshot = RefCell::new(Snapshot::default());
        Keeper { state: None, found: false, found_holds: false, snapshot }
    }

    /// Whether what was made is left to the next process, after a run that was `done` or failed. One
    /// that failed leaves what it was left itself: the volume may show it.
    pub fn hands_over(&self, done: bool) -> bool {
        self.keeps() && (done || self.found_holds)
    }

    /// Whether anything is handed over.
    pub fn keeps(&self) -> bool {
        self.state.is_some()
    }

    /// Changes what is kept, and writes it.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) -> Result<(), Report> {
        let mut snapshot = self.snapshot.borrow_mut();
        change(&mut snapshot);
        match &self.state {
            Some(state) => state.save(&snapshot).map_err(|error| error.report()),
            None => Ok(()),
        }
    }

    /// From the next writing on, what is kept is of this config.
    pub fn is_for(&self, config: &Config) {
        self.snapshot.borrow_mut().origins = origins(config);
    }

    /// Takes what is kept of a store's sessions.
    pub fn sessions(&self, store: &StoreName) -> Vec<Session> {
        let snapshot = self.snapshot.borrow();
        snapshot.sessions.get(store).into_iter().flatten().map(Session::duplicate).collect()
    }

    /// Whether an earlier process left a login there or something that was made there.
    pub fn is_left_something(&self, store: &StoreName) -> bool {
        let snapshot = self.snapshot.borrow();
        let mut holds = snapshot.holds.iter();
        snapshot.sessions.contains_key(store) || holds.any(|held| held.store == *store)
    }

    /// The key of this pod's digests: the one that was kept, or a new one.
    pub fn digest_key(&self) -> Result<DigestKey, Report> {
        if let Some(key) = self.snapshot.borrow().digest_key() {
            return Ok(key);
        }
        let mut bytes = vec![0; DigestKey::LEN];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).map_err(
            |_| {
                Report::new(Reason::Bug, "no random numbers", "the kernel gives none")
                    .hint("report this")
            },
        )?;
        let key = DigestKey::new(SecretBytes::from(bytes));
        self.update(|snapshot| snapshot.keep_digest_key(&key))?;
        Ok(key)
    }
}

/// What each store, secret and hook of a config is.
fn origins(config: &Config) -> BTreeMap<String, String> {
    let stores = config.stores.iter().map(|(name, store)| (format!("store {name}"), mark(store)));
    let secrets = config
        .secrets
        .iter()
        .map(|(name, secret)| (format!("secret {name}"), mark(&(&secret.from, &secret.with))));
    let hooks = config.on_change.iter().enumerate();
    let hooks = hooks.map(|(index, hook)| (format!("hook {index}"), mark(hook)));
    stores.chain(secrets).chain(hooks).collect()
}

/// Drops what was kept for another address, login or path under the same name.
fn forget_strangers(snapshot: &mut Snapshot, config: &Config) {
    let old = std::mem::replace(&mut snapshot.origins, origins(config));
    let same = |key: String| old.get(&key).is_some_and(|o| snapshot.origins.get(&key) == Some(o));
    snapshot.sessions.retain(|name, _| same(format!("store {name}")));
    // What was made elsewhere can't be given back with the logins that we have now.
    snapshot.holds.retain(|held| same(format!("store {}", held.store)));
    for held in &mut snapshot.holds {
        held.newest &= same(format!("secret {}", held.secret));
    }
    snapshot.delivered.retain(|name, _| same(format!("secret {name}")));
    snapshot.refused.retain(|name, _| same(format!("secret {name}")));
    // A hook that owes an answer is known by what it is, wherever in the list it stands now.
    let owed = std::mem::take(&mut snapshot.unconfirmed).into_iter();
    let moved = owed.filter_map(|(index, generation)| {
        let was = old.get(&format!("hook {index}"))?;
        let now = config.on_change.iter().position(|hook| mark(hook) == *was)?;
        Some((now, generation))
    });
    snapshot.unconfirmed = moved.collect();
}

/// A mark of a part of the config: SHA-256 of all that is in it, none of which is a secret.
fn mark(part: &impl std::fmt::Debug) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{part:?}").as_bytes());
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, &digest.as_ref()[..16])
}
