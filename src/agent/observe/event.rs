//! Everything that can ever be said. The fields are names from the config, numbers and words from
//! closed lists, so that no value can be said by accident.

use crate::agent::reason::{Exit, Reason};
use crate::secret::{FilePath, SecretName, StoreName, Version, VolumeName};

/// A fact.
#[derive(Debug)]
pub enum Event<'a> {
    /// The agent begins.
    Started {
        /// `init` or `run`.
        command: &'static str,
    },
    /// What carries a volume.
    Graded {
        /// Which volume.
        volume: &'a VolumeName,
        /// `secure`, `weak` or `insecure`.
        grade: &'static str,
        /// Why it is not secure.
        flaws: &'a str,
    },
    /// Something that a volume noticed or repaired.
    Remarked {
        /// Which volume.
        volume: &'a VolumeName,
        /// What, in the volume's own words.
        remark: &'a str,
    },
    /// A protection that the kernel or the set-up does not give.
    Degraded {
        /// Which one.
        what: &'a str,
    },
    /// A store was asked.
    Asked {
        /// Which store.
        store: &'a StoreName,
        /// `ok`, or the reason why not.
        outcome: &'static str,
    },
    /// A secret's answer.
    Fetched {
        /// Which secret.
        secret: &'a SecretName,
        /// What it meant.
        result: FetchResult,
        /// The version in the store.
        version: Option<&'a Version>,
    },
    /// Something about a lease.
    Lease {
        /// Which secret.
        secret: &'a SecretName,
        /// What.
        what: LeaseStep,
    },
    /// Something about a login.
    Login {
        /// Which store.
        store: &'a StoreName,
        /// What: `new`, `renewed`, `let_go`.
        what: &'static str,
    },
    /// A secret could not be had.
    FetchFailed {
        /// Which secret.
        secret: &'a SecretName,
        /// Why.
        reason: Reason,
    },
    /// A volume shows a new generation.
    Rotated {
        /// Its number.
        generation: u64,
        /// Which volume.
        volume: &'a VolumeName,
        /// Files that are new or different.
        changed: &'a [FilePath],
        /// Files that are gone.
        removed: &'a [FilePath],
    },
    /// A group did not move.
    RotationRefused {
        /// Which group.
        group: &'a str,
        /// Why.
        reason: Reason,
    },
    /// A generation was put back.
    RolledBack {
        /// The one that was refused.
        refused: u64,
        /// The one that carries the old files.
        generation: u64,
    },
    /// A hook told somebody, or not.
    HookTold {
        /// Its place in the config, from 0.
        hook: usize,
        /// Which generation it told of.
        generation: u64,
        /// What came of it.
        result: HookResult,
    },
    /// A process was restarted because it did not confirm.
    Restarted {
        /// Whose hook.
        hook: usize,
        /// Whether it worked.
        done: bool,
    },
    /// The command of `exec` is asked to end, to be started with what is new.
    CommandRenewed,
    /// A changed config is in use.
    ConfigApplied,
    /// A changed config is not in use.
    ConfigKept {
        /// Why.
        reason: Reason,
    },
    /// Something is wrong or well again.
    Ready {
        /// Whether the pod is ready.
        ready: bool,
        /// What is wrong.
        reasons: &'a [Reason],
    },
    /// The agent ends.
    Ended {
        /// With what.
        exit: Exit,
    },
}

/// What happened to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// It lives longer.
    Renewed,
    /// The store does not know it any more, or does not renew it.
    Lost,
    /// It was given back.
    Revoked,
    /// It could not be given back.
    NotRevoked,
    /// It ended before something new was there.
    Ended,
}

impl LeaseStep {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            LeaseStep::Renewed => "renewed",
            LeaseStep::Lost => "lost",
            LeaseStep::Revoked => "revoked",
            LeaseStep::NotRevoked => "not_revoked",
            LeaseStep::Ended => "ended",
        }
    }
}

/// What an answer meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchResult {
    /// A new version.
    Moved,
    /// The version that is already here.
    Unmoved,
    /// An older version than the one delivered; not believed yet.
    Doubted,
    /// A version that the application refused before.
    Refused,
}

impl FetchResult {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            FetchResult::Moved => "moved",
            FetchResult::Unmoved => "unmoved",
            FetchResult::Doubted => "went_back",
            FetchResult::Refused => "refused",
        }
    }
}

/// What came of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotationResult {
    /// A new generation is shown.
    Done,
    /// A group did not pass.
    Refused,
    /// An old generation was put back.
    RolledBack,
}

impl RotationResult {
    /// Every one there is.
    pub const ALL: [RotationResult; 3] =
        [RotationResult::Done, RotationResult::Refused, RotationResult::RolledBack];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            RotationResult::Done => "done",
            RotationResult::Refused => "refused",
            RotationResult::RolledBack => "rolled_back",
        }
    }
}

/// What came of telling somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookResult {
    /// Told.
    Done,
    /// Told, and the application confirmed.
    Confirmed,
    /// There is nobody to tell.
    NobodyToTell,
    /// It could not be carried out.
    Failed,
    /// Told, and not confirmed in time.
    Unconfirmed,
}

impl HookResult {
    /// Every one there is.
    pub const ALL: [HookResult; 5] = [
        HookResult::Done,
        HookResult::Confirmed,
        HookResult::NobodyToTell,
        HookResult::Failed,
        HookResult::Unconfirmed,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            HookResult::Done => "done",
            HookResult::Confirmed => "confirmed",
            HookResult::NobodyToTell => "nobody_to_tell",
            HookResult::Failed => "failed",
            HookResult::Unconfirmed => "unconfirmed",
        }
    }
}
