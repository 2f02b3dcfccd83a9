//! Which groups may move, and what a volume's next generation is made of. Decides; does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::agent::config::GroupConfig;
use crate::agent::reason::{Exit, Reason, Report};
use crate::agent::rotate::Timestamp;
use crate::secret::{FilePath, Secret, SecretBytes, SecretName, Version};

use super::tracked::{Failure, Tracked};

/// Rendered files by their path.
pub(super) type Files = BTreeMap<FilePath, Rc<SecretBytes>>;

/// A group of files and how far it has come.
pub(super) struct Group {
    /// What it is.
    pub config: GroupConfig,
    /// Its newest good files: what the next generation carries.
    pub good: Files,
    /// What they were made of.
    pub made_of: Ingredients,
    /// What the files on the volume are made of, as far as this process knows.
    pub shown: Ingredients,
    /// What was good before, for a roll-back.
    pub before: Option<Made>,
    /// The generation in which it moved last.
    pub since: u64,
    /// Whether its newest good files are not on the volume yet.
    pub pending: bool,
    /// Its files before are to be published again.
    pub rolling_back: bool,
    /// What of it was made by an earlier process or an earlier config, so that nobody knows what of.
    pub inherited: Inherited,
    /// Since when a secret of it has moved and the group has not.
    pub moved: Option<Moved>,
    /// Why it does not move.
    pub refused: Option<Refusal>,
}

/// Which files of a group somebody else made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inherited {
    /// The newest good ones.
    pub good: bool,
    /// What the volume shows.
    pub shown: bool,
}

/// The version of each secret that went into a group's files, and the secret itself if this process
/// has it.
pub(super) type Ingredients = BTreeMap<SecretName, (Version, Option<Rc<Secret>>)>;

/// Files, and what they were made of.
pub(super) struct Made {
    /// The files.
    pub files: Files,
    /// What went into them.
    pub of: Ingredients,
}

/// Secrets of a group that moved and are not delivered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// When the last of them moved. Every other secret of the group is asked again after this, so
    /// that a name and a password of two moments don't meet.
    pub at: Timestamp,
    /// How often that happened, within bounds ([`MAX_ROUNDS`]), or a store that changes all the time would
    /// hold up the group for ever.
    pub rounds: usize,
}

impl Moved {
    /// What is waited for when one more secret of `among` moved at `at`.
    ///
    /// The first answer for each of them is a move too and says nothing about a store that doesn't
    /// hold still, so those are not counted.
    pub fn again(before: Option<Moved>, at: Timestamp, among: usize) -> Moved {
        match before {
            Some(moved) if moved.rounds >= MAX_ROUNDS + among => moved,
            Some(moved) => Moved { at, rounds: moved.rounds + 1 },
            None => Moved { at, rounds: 1 },
        }
    }
}

/// How often a group waits for its secrets to hold still.
pub(super) const MAX_ROUNDS: usize = 3;

/// Why a group does not move.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// What happened.
    pub report: Report,
    /// The secrets that caused it; empty if the files as a whole did.
    pub secrets: BTreeSet<SecretName>,
}

/// Whether a group can be rendered now.
#[derive(Debug)]
pub(super) enum Standing {
    /// Every secret is there, and none moved since the others were asked.
    Complete,
    /// An answer is still out.
    Waiting,
    /// A secret can't be had.
    Missing(Refusal),
}

impl Group {
    /// A group that has delivered nothing yet.
    pub fn new(config: GroupConfig) -> Group {
        Group {
            config,
            good: Files::new(),
            made_of: Ingredients::new(),
            shown: Ingredients::new(),
            before: None,
            since: 0,
            pending: false,
            rolling_back: false,
            inherited: Inherited::default(),
            moved: None,
            refused: None,
        }
    }

    /// Whether all of its files were delivered at least once.
    pub fn is_delivered(&self) -> bool {
        self.good.len() == self.config.files.len()
    }

    /// Notes that one of its secrets moved at `at`.
    pub fn note_move(&mut self, at: Timestamp) {
        self.moved = Some(Moved::again(self.moved, at, self.config.secrets.len()));
    }

    /// Takes over what it finds on the volume: after a restart, or when the config changed.
    pub fn adopt(&mut self, on_volume: &Files) {
        let found = self
            .config
            .files
            .iter()
            .filter_map(|path| Some((path.clone(), Rc::clone(on_volume.get(path)?))));
        self.good = found.collect();
        self.inherited.good = !self.good.is_empty();
        self.inherited.shown |= self.inherited.good;
    }

    /// Takes newly rendered files as its newest good ones.
    ///
    /// What was there becomes what a roll-back goes to, unless `unconfirmed`: files that nobody has
    /// confirmed are nothing to go back to.
    pub fn take(&mut self, made: Made, unconfirmed: bool) {
        self.moved = None;
        self.refused = None;
        self.inherited.good = false;
        if same(&self.good, &made.files) {
            self.made_of = made.of;
            if !self.pending {
                self.published();
            }
            return;
        }
        let delivered = self.is_delivered();
        let files = std::mem::replace(&mut self.good, made.files);
        let of = std::mem::replace(&mut self.made_of, made.of);
        if delivered && !(unconfirmed && self.before.is_some()) {
            self.before = Some(Made { files, of });
        }
        self.pending = true;
        self.rolling_back = false;
    }

    /// Notes that its newest good files are on the volume.
    pub fn published(&mut self) {
        self.pending = false;
        self.shown = self.made_of.clone();
        self.inherited.shown = self.inherited.good;
    }

    /// Takes its files away: a secret that they need is gone, and the config wants it so.
    pub fn withdraw(&mut self) {
        self.pending |= !self.good.is_empty();
        self.good = Files::new();
        self.made_of = Ingredients::new();
        self.before = None;
        self.moved = None;
        self.inherited.good = false;
    }

    /// Goes back to the files before. Gives what they and the refused ones were made of.
    pub fn roll_back(&mut self) -> Option<(Ingredients, Ingredients)> {
        let before = self.before.take()?;
        self.good = before.files;
        let refused = std::mem::replace(&mut self.made_of, before.of.clone());
        self.moved = None;
        self.rolling_back = true;
        Some((before.of, refused))
    }
}

fn same(a: &Files, b: &Files) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((pa, a), (pb, b))| pa == pb && a.ct_eq(b))
}

/// Whether `group` can be rendered.
pub(super) fn standing(group: &Group, secrets: &BTreeMap<SecretName, Tracked>) -> Standing {
    let mut waiting = false;
    for name in &group.config.secrets {
        let Some(secret) = secrets.get(name) else { continue };
        if secret.latest.is_none() {
            match &secret.failure {
                Some(_) if secret.is_forgiven() => {}
                Some(failure) => {
                    return Standing::Missing(Refusal {
                        report: failure.report.clone(),
                        secrets: BTreeSet::from([name.clone()]),
                    });
                }
                None if secret.is_refused() => {
                    let report = Report::new(
                        Reason::RolledBack,
                        format!("group `{}` stays as it is", group.config.name),
                        format!("the application refused the newest version of `{name}`"),
                    )
                    .hint("write a version that the application takes");
                    return Standing::Missing(Refusal {
                        report,
                        secrets: BTreeSet::from([name.clone()]),
                    });
                }
                None => waiting = true,
            }
        } else if let Some(moved) = group.moved
            && group.is_delivered()
            && secret.must_be_asked_since(moved.at)
        {
            match &secret.failure {
                // Deleted and kept, or optional: what is here goes on being used.
                Some(failure)
                    if failure.report.reason == Reason::SecretDeleted || secret.is_forgiven() => {}
                Some(failure) if !failure.transient => {
                    return Standing::Missing(Refusal {
                        report: failure.report.clone(),
                        secrets: BTreeSet::from([name.clone()]),
                    });
                }
                _ => waiting = true,
            }
        }
    }
    if waiting { Standing::Waiting } else { Standing::Complete }
}

/// The secrets of a group that are there, for rendering.
pub(super) fn present<'a>(
    group: &'a GroupConfig,
    secrets: &'a BTreeMap<SecretName, Tracked>,
) -> BTreeMap<&'a SecretName, &'a Secret> {
    let there = group.secrets.iter().filter_map(|name| {
        let secret = secrets.get(name)?.latest.as_deref()?;
        Some((name, secret))
    });
    there.collect()
}

/// Whether variables may move: none of their secrets has yet to be asked since the last one moved,
/// and no files are on their way that share a secret with them. So what a command has in its
/// environment and what it reads are of one moment.
pub(super) fn variables_stand(
    names: &BTreeSet<SecretName>,
    moved: Option<Moved>,
    groups: &[Group],
    secrets: &BTreeMap<SecretName, Tracked>,
) -> bool {
    let asked = |name: &SecretName| match (moved, secrets.get(name)) {
        (Some(moved), Some(secret)) if secret.must_be_asked_since(moved.at) => {
            let kept = |why: &Failure| why.report.reason == Reason::SecretDeleted;
            secret.failure.as_ref().is_some_and(|why| kept(why) || secret.is_forgiven())
        }
        _ => true,
    };
    let mut shared = groups
        .iter()
        .filter(|group| group.is_delivered() && !group.config.secrets.is_disjoint(names));
    names.iter().all(asked)
        && shared.all(|group| group.moved.is_none() && group.refused.is_none() && !group.pending)
}

/// What a first start makes of its groups, before anything is on a volume.
#[derive(Debug)]
pub(super) enum FirstStart {
    /// Something is still out.
    Wait,
    /// Everything that must be there can be rendered.
    Go,
    /// Something that must be there can't be had.
    Fail(Vec<Report>),
}

/// Decides a first start. Failures are collected until every secret was asked once, so that all of
/// them are reported together; a failure that may pass by itself is waited for.
///
/// `variables` are secrets that the command of `exec` needs besides files.
pub(super) fn first_start(
    groups: &[Group],
    variables: &BTreeSet<SecretName>,
    secrets: &BTreeMap<SecretName, Tracked>,
) -> FirstStart {
    let mut out = false;
    let mut passing = false;
    let mut failures: BTreeMap<String, Report> = BTreeMap::new();
    let missing: Vec<&Group> = groups.iter().filter(|group| !group.is_delivered()).collect();
    let names = missing.iter().map(|group| &group.config.secrets).chain([variables]);
    for names in names {
        for name in names {
            let Some(secret) = secrets.get(name).filter(|s| s.latest.is_none()) else { continue };
            match &secret.failure {
                None => out = true,
                Some(_) if secret.is_forgiven() => {}
                Some(failure) => {
                    passing |= failure.transient;
                    failures.insert(name.to_string(), failure.report.clone());
                }
            }
        }
    }
    for group in missing {
        if let Some(refusal) = group.refused.as_ref().filter(|r| r.secrets.is_empty()) {
            failures.insert(format!("group {}", group.config.name), refusal.report.clone());
        }
    }
    if out || (passing && failures.values().all(|f| f.reason.exit() == Exit::TryAgain)) {
        FirstStart::Wait
    } else if failures.is_empty() {
        FirstStart::Go
    } else {
        FirstStart::Fail(failures.into_values().collect())
    }
}
