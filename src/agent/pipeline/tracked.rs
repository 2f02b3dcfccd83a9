//! One secret as the pipeline knows it: the newest value, when it was asked for, what is wrong.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::agent::config::{Parameters, SecretConfig};
use crate::agent::observe::FetchResult;
use crate::agent::reason::{Reason, Report, system_word};
use crate::agent::rotate::{Backoff, Pace, Timestamp, WentBack};
use crate::agent::store::Rhythm;
use crate::sandbox::door::Door;
use crate::secret::{Secret, SecretBytes, Version};

use super::watch::Stamped;

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
    /// When the store or its own dates will have made it another one: until then it is as fresh as
    /// can be.
    pub planned: Option<Timestamp>,
    /// When it is asked for next; `None` while a request is out, and for ever if pinned.
    pub due: Option<Timestamp>,
    /// Whether a request is out.
    pub asked: bool,
    /// Whether one of its parameters' files changed since that request left.
    pub outdated: bool,
    /// What is wrong.
    pub failure: Option<Failure>,
    /// How long to wait after a failure.
    pub backoff: Backoff,
    /// Whether a lower version than the one delivered is to be believed.
    pub went_back: WentBack,
    /// What makes it change, as the last answer had it.
    pub rhythm: Rhythm,
    /// The files of its parameters, and how they were last looked at.
    pub doors: Vec<(String, Door, Stamped)>,
}

/// Bytes that the file of a parameter may have: a certificate request or a ciphertext has a few KiB.
const MAX_PARAMETER: usize = 1024 * 1024;

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
            planned: None,
            due: Some(now),
            asked: false,
            outdated: false,
            failure: None,
            backoff: Backoff::default(),
            went_back: WentBack::default(),
            rhythm: Rhythm::Unknown,
            doors: Vec::new(),
        }
    }

    /// Opens the directories of its parameters' files.
    pub fn open_files(&mut self) -> Result<(), Report> {
        let mut doors = Vec::new();
        for (name, path) in &self.config.with.files {
            let door = Door::open(path).map_err(|error| unreadable(path, error.kind()))?;
            let stamped = Stamped::of(&door);
            doors.push((name.clone(), door, stamped));
        }
        self.doors = doors;
        Ok(())
    }

    /// What stands in its parameters' files now.
    pub fn files(&self) -> Result<BTreeMap<String, SecretBytes>, Report> {
        let read = |(name, door, _): &(String, Door, Stamped)| {
            let content = door.read(MAX_PARAMETER);
            let content = content.map_err(|error| unreadable(door.path(), error.kind()))?;
            Ok((name.clone(), SecretBytes::from(content)))
        };
        self.doors.iter().map(read).collect()
    }

    /// Whether each asking makes a new one, so that what is here is kept and used while it is good.
    pub fn is_minted(&self) -> bool {
        let leased = self.latest.as_ref().is_some_and(|latest| latest.lease.is_some());
        leased || self.is_made_for_a_request()
    }

    /// Whether it is made for parameters and not only computed from them.
    fn is_made_for_a_request(&self) -> bool {
        let computed = self.config.from.path.split('/').any(|part| part == "decrypt");
        !self.config.with.is_empty() && !computed
    }

    /// When it is asked for again after an answer at `unix_now`. A lease has a life of its own.
    pub fn pace(&self, unix_now: i64) -> Pace {
        let leased = self.latest.as_ref().is_some_and(|latest| latest.lease.is_some());
        match self.rhythm {
            _ if leased || self.config.pinned => Pace::Pinned,
            Rhythm::Turns(left) => Pace::Turns { left },
            Rhythm::Dated { from, until } => {
                let span = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                Pace::Dated {
                    life: span(until.saturating_sub(from)),
                    age: span(unix_now.saturating_sub(from)),
                }
            }
            Rhythm::Unknown => Pace::Poll { refresh: self.config.refresh },
        }
    }

    /// Whether nothing can make it old: it is pinned and here, or optional and the store says that
    /// it is not there.
    pub fn is_ageless(&self) -> bool {
        let absent = self.failure.as_ref().is_some_and(|failure| !failure.transient);
        match self.latest {
            Some(_) => self.config.pinned,
            None => self.is_forgiven() && absent,
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
        let pinned = self.config.pinned;
        let made = self.latest.is_some() && self.is_minted();
        !pinned && !made && self.answered.is_none_or(|answered| answered < at)
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
        // The same words under a new lease are another secret: the old one ends.
        let same = |latest: &Rc<Secret>| latest.version == secret.version;
        if secret.lease.is_none() && self.latest.as_ref().is_some_and(same) {
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

/// What stands in the files of parameters, for a command that asks once.
pub fn parameter_files(with: &Parameters) -> Result<BTreeMap<String, SecretBytes>, Report> {
    let read = |(name, path): (&String, &PathBuf)| {
        let content = Door::open(path).and_then(|door| door.read(MAX_PARAMETER));
        let content = content.map_err(|error| unreadable(path, error.kind()))?;
        Ok((name.clone(), SecretBytes::from(content)))
    };
    with.files.iter().map(read).collect()
}

fn unreadable(path: &Path, kind: ErrorKind) -> Report {
    Report::new(
        Reason::ParameterUnreadable,
        format!("can't read the parameter in `{}`", path.display()),
        system_word(kind),
    )
    .hint("mount the file there, readable for this user; it holds at most 1 MiB")
}
