//! One secret as the pipeline knows it: the newest value, when it was asked for, what is wrong.

use std::rc::Rc;

use crate::agent::config::SecretConfig;
use crate::agent::observe::FetchResult;
use crate::agent::reason::Report;
use crate::agent::rotate::{Backoff, Pace, Timestamp, WentBack};
use crate::secret::{Secret, Version};

/// What is wrong with a secret, and since when.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// What happened last.
    pub report: Report,
    /// When the first of the failures in a row happened.
    pub since: Timestamp,
    /// Whether asking again can help without anybody changing anything.
    pub transient: bool,
}

/// A secret of the config and what became of it.
pub(super) struct Tracked {
    /// What the config says.
    pub config: SecretConfig,
    /// The newest value that files may be made of.
    pub latest: Option<Rc<Secret>>,
    /// The version that the store showed last: what a probe compares with.
    pub seen: Option<Version>,
    /// A version that the application refused; it is not offered again.
    pub refused: Option<Version>,
    /// When this process began to look after it.
    pub born: Timestamp,
    /// When the store last answered for it, whatever the answer's version.
    pub answered: Option<Timestamp>,
    /// When it is asked for next; `None` while a request is out, and for ever if pinned.
    pub due: Option<Timestamp>,
    /// Whether a request is out.
    pub asked: bool,
    /// What is wrong.
    pub failure: Option<Failure>,
    /// How long to wait after a failure.
    pub backoff: Backoff,
    /// Whether a lower version than the one delivered is to be believed.
    pub went_back: WentBack,
}

impl Tracked {
    /// A secret that nobody asked for yet; it is due at once.
    pub fn new(config: SecretConfig, now: Timestamp) -> Tracked {
        Tracked {
            born: now,
            config,
            latest: None,
            seen: None,
            refused: None,
            answered: None,
            due: Some(now),
            asked: false,
            failure: None,
            backoff: Backoff::default(),
            went_back: WentBack::default(),
        }
    }

    /// When it is asked for again after an answer.
    pub fn pace(&self) -> Pace {
        match self.config.from.version {
            Some(_) => Pace::Pinned,
            None => Pace::Poll { refresh: self.config.refresh },
        }
    }

    /// Whether the first start succeeds without it.
    pub fn is_forgiven(&self) -> bool {
        self.config.optional
    }

    /// Whether the store said anything about it since the start of this process.
    pub fn was_asked(&self) -> bool {
        self.answered.is_some() || self.failure.is_some()
    }

    /// Whether the application refused the newest version that the store has.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some() && self.refused == self.seen
    }

    /// Whether the store has to be asked again to know that it did not move since `at`.
    pub fn must_be_asked_since(&self, at: Timestamp) -> bool {
        let pinned = self.config.from.version.is_some();
        !pinned && self.answered.is_none_or(|answered| answered < at)
    }

    /// The version that a probe compares with; none before the first value.
    pub fn have(&self) -> Option<&Version> {
        self.latest.as_ref().and(self.seen.as_ref())
    }

    /// Notes an answer without a new value.
    pub fn unmoved(&mut self, now: Timestamp) {
        self.answered = Some(now);
        self.failure = None;
        self.backoff.succeeded();
        self.went_back = WentBack::default();
    }

    /// Notes an answer with a value.
    pub fn moved(&mut self, secret: Secret, now: Timestamp) -> FetchResult {
        let older = self.seen.as_ref().is_some_and(|seen| secret.version.is_older_than(seen));
        if older && !self.went_back.is_confirmed(now) {
            return FetchResult::Doubted;
        }
        self.unmoved(now);
        self.seen = Some(secret.version.clone());
        if self.refused.as_ref() == Some(&secret.version) {
            return FetchResult::Refused;
        }
        self.refused = None;
        if self.latest.as_ref().is_some_and(|latest| latest.version == secret.version) {
            return FetchResult::Unmoved;
        }
        self.latest = Some(Rc::new(secret));
        FetchResult::Moved
    }

    /// Notes a failure.
    pub fn failed(&mut self, report: Report, transient: bool, now: Timestamp) {
        self.asked = false;
        let since = self.failure.as_ref().map_or(now, |failure| failure.since);
        self.failure = Some(Failure { report, since, transient });
    }

    /// Remembers that the application refused `version`, and goes back to `before`, if it is at hand.
    pub fn refuse(&mut self, version: Version, before: Option<Rc<Secret>>) {
        self.refused = Some(version);
        self.latest = before;
    }
}
