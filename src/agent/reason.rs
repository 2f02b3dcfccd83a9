//! The closed list of reasons: one word for each thing that can be wrong, the same in errors,
//! `/ready`, metrics and audit lines, and the exit code that each one leads to.

use std::fmt;

/// What a process of Sidekey ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// `health`: the answer is no.
    No = 1,
    /// The command line was wrong.
    Usage = 64,
    /// What the store gave can't be used: a field is missing, a check failed.
    Unusable = 65,
    /// The secret is not there.
    NotThere = 66,
    /// A bug of ours.
    Bug = 70,
    /// The volume refuses: not tmpfs, locked, full, permission.
    Volume = 73,
    /// Unreachable, or the deadline is over: try again.
    TryAgain = 75,
    /// The store refused.
    Refused = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    /// The code as the shell sees it.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Which of several failures decides the exit code: the first of 78, 73, 77, 66, 65, 75.
    pub fn of_all(reasons: impl IntoIterator<Item = Reason>) -> Exit {
        const ORDER: [Exit; 7] = [
            Exit::Bug,
            Exit::Config,
            Exit::Volume,
            Exit::Refused,
            Exit::NotThere,
            Exit::Unusable,
            Exit::TryAgain,
        ];
        let rank = |exit: Exit| ORDER.iter().position(|&e| e == exit).unwrap_or(ORDER.len());
        reasons.into_iter().map(Reason::exit).min_by_key(|&exit| rank(exit)).unwrap_or(Exit::Done)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal => $exit:ident,)+) => {
        /// Why something is not as it should be.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)+];

            /// The word used in health, metrics, audit and logs.
            pub fn word(self) -> &'static str {
                match self { $(Reason::$variant => $word,)+ }
            }

            /// The exit code of a command that fails for this reason.
            pub fn exit(self) -> Exit {
                match self { $(Reason::$variant => Exit::$exit,)+ }
            }
        }
    };
}

reasons! {
    /// The config has mistakes.
    ConfigInvalid = "config_invalid" => Config,
    /// The config asks for something that this version does not do yet.
    NotYet = "not_yet" => Config,
    /// A changed config needs a restart to take effect; the old one goes on.
    RestartNeeded = "restart_needed" => Config,
    /// No answer from the store: refused, timed out, cut off.
    StoreUnreachable = "store_unreachable" => TryAgain,
    /// The store is sealed.
    StoreSealed = "store_sealed" => TryAgain,
    /// The store asks for fewer requests (429, or 503 for load).
    StoreThrottled = "store_throttled" => TryAgain,
    /// The store answered with an error of its own (5xx).
    StoreError = "store_error" => TryAgain,
    /// The store's certificate can't be trusted.
    TlsVerify = "tls_verify" => Refused,
    /// The store sent us to a host or scheme that is not allowed.
    RedirectRefused = "redirect_refused" => Refused,
    /// What proves who we are is missing, empty or expired.
    IdentityUnavailable = "identity_unavailable" => TryAgain,
    /// A file that holds a parameter of a request can't be read.
    ParameterUnreadable = "parameter_unreadable" => TryAgain,
    /// The store does not accept who we are.
    LoginRefused = "login_refused" => Refused,
    /// The store does not let us read this.
    PermissionDenied = "permission_denied" => Refused,
    /// The secret was never there, or is gone for good.
    NotFound = "not_found" => NotThere,
    /// The secret was deleted in the store.
    SecretDeleted = "secret_deleted" => NotThere,
    /// The answer is not what the store's API promises.
    AnswerMalformed = "answer_malformed" => Unusable,
    /// The answer is larger than we take.
    TooLarge = "too_large" => Unusable,
    /// The answer carries a lease where nobody would look after it.
    LeaseUnexpected = "lease_unexpected" => Unusable,
    /// A lease ended, and nothing new could be had in its place.
    LeaseEnded = "lease_ended" => TryAgain,
    /// A lease could not be given back, and lives on until its end.
    LeaseNotRevoked = "lease_not_revoked" => Refused,
    /// The store handed out an older version than the one delivered.
    VersionWentBack = "version_went_back" => Unusable,
    /// The local store can't be decrypted with this key.
    KeyMismatch = "key_mismatch" => Refused,
    /// A field that a file needs is missing or null.
    FieldMissing = "field_missing" => Unusable,
    /// A value or a whole file is empty.
    SecretEmpty = "secret_empty" => Unusable,
    /// The format can't carry this value.
    FormatRefused = "format_refused" => Unusable,
    /// The template failed.
    TemplateFailed = "template_failed" => Unusable,
    /// The rendered file does not pass its checks.
    CheckFailed = "check_failed" => Unusable,
    /// The volume is not a tmpfs.
    VolumeNotTmpfs = "volume_not_tmpfs" => Volume,
    /// Another process writes to the volume.
    VolumeLocked = "volume_locked" => Volume,
    /// The volume is full.
    VolumeFull = "volume_full" => Volume,
    /// The volume can't be used as asked: permission, owner, a link where a directory should be.
    VolumeRefused = "volume_refused" => Volume,
    /// An address to listen on is taken or forbidden.
    ListenRefused = "listen_refused" => Volume,
    /// The time that `init.within` gives is over.
    DeadlineOver = "deadline_over" => TryAgain,
    /// The data is older than `when_down.serve_stale_for`.
    Stale = "stale" => TryAgain,
    /// The first generation is not there yet.
    Starting = "starting" => TryAgain,
    /// A hook could not be carried out.
    HookFailed = "hook_failed" => Unusable,
    /// The application did not confirm the generation.
    Unconfirmed = "unconfirmed" => Unusable,
    /// The application refused the generation, and the one before was put back.
    RolledBack = "rolled_back" => Unusable,
    /// A hook asked to roll back where the old value is no longer good.
    RollBackImpossible = "roll_back_impossible" => Unusable,
    /// The process to be told is not there.
    NobodyToTell = "nobody_to_tell" => Done,
    /// The kernel does not let us signal that process.
    SignalNotPermitted = "signal_not_permitted" => Refused,
    /// The process would die of the signal.
    SignalNotCaught = "signal_not_caught" => Unusable,
    /// There is no `state`, so nothing is handed over at a restart.
    NoHandover = "no_handover" => Done,
    /// The command of `exec` could not be started.
    CommandFailed = "command_failed" => Unusable,
    /// A bug of ours.
    Bug = "bug" => Bug,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An error as a person reads it: what happened, why, and what to do. No secret fits in, because
/// whoever makes one has only names, positions and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The machine's word for it.
    pub reason: Reason,
    /// What happened: lower case, no final stop.
    pub what: String,
    /// Why, as far as we can tell.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Report {
    /// A report without a hint.
    pub fn new(reason: Reason, what: impl Into<String>, why: impl Into<String>) -> Report {
        Report { reason, what: what.into(), why: why.into(), hint: None }
    }

    /// The same report with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Report {
        Report { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  why: {}", self.what, self.why)?;
        match &self.hint {
            Some(hint) => write!(f, "\n hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The system's word for why a file or an address can't be used, as a shell would say it.
pub fn system_word(kind: std::io::ErrorKind) -> String {
    match kind {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_failure_decides_the_exit_code() {
        use Reason::*;
        for (reasons, exit) in [
            (vec![StoreUnreachable, FieldMissing], Exit::Unusable),
            (vec![FieldMissing, NotFound], Exit::NotThere),
            (vec![NotFound, PermissionDenied], Exit::Refused),
            (vec![PermissionDenied, VolumeFull], Exit::Volume),
            (vec![VolumeFull, ConfigInvalid], Exit::Config),
            (vec![], Exit::Done),
        ] {
            assert_eq!(Exit::of_all(reasons), exit);
        }
    }

    #[test]
    fn every_reason_is_one_snake_case_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
