//! The vocabulary of the scanner: a hit, the place it was seen, the finding it becomes, and the
//! report that carries them all.
//!
//! ```text
//! Hit + Place = Located → assemble → Finding → ImageReport → ScanReport
//! ```
//!
//! Everything here is data. Strings that come from an image are kept as they were; whoever writes
//! them out escapes them for that output.

mod assemble;
mod baseline;
mod day;
mod fingerprint;
mod fix;
mod gate;
mod preview;
mod redact;
pub(in crate::scan) mod words;

use std::sync::Arc;

use crate::secret::SecretBytes;

pub use assemble::{Assembled, Keep, assemble};
pub use baseline::{Baseline, BaselineError, BaselineUse, Ignore, Mistake, write_baseline};
pub use day::{Day, NoDay, timestamp};
pub use fingerprint::{Fingerprints, KEY_AT_LEAST, KeyTooShort};
pub use gate::{Gate, OriginGate, StateGate};
pub use redact::{REDACTED, Redactor};
pub use words::{
    Confidence, Origin, PlaceKind, Severity, SkipReason, SourceKind, State, SuppressedBy,
    UnknownWord, Verdict, Via,
};

/// The number of a rule in the set that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

/// What a report needs to know of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its name: `github-token`.
    pub id: String,
    /// What it finds, as a noun: `GitHub personal access token`.
    pub title: String,
    /// What the credential grants, a sentence.
    pub grants: String,
    /// How to revoke it, a sentence.
    pub revoke: String,
    /// Where to revoke it, if there is a page.
    pub revoke_url: Option<String>,
    /// Rules of one family see the same value: a token found by two of them is one finding.
    pub family: String,
    /// Beginnings that every credential of the kind has, so that showing them tells nothing.
    pub prefixes: Vec<String>,
}

/// Why a hit is more than its looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// The token's own checksum fits.
    Checksum,
    /// It decodes, and the structure inside is the kind's.
    Structure,
    /// The key parses.
    KeyParses,
    /// The public half, as `SHA256:…` of its SPKI or SSH form.
    PublicKey(String),
    /// The two halves of a pair stand together.
    Paired,
    /// The key is encrypted.
    Encrypted,
    /// Its own date of expiry has passed.
    Expired,
    /// Something else, in one word.
    Other(&'static str),
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proof::Checksum => f.write_str("checksum"),
            Proof::Structure => f.write_str("structure"),
            Proof::KeyParses => f.write_str("key_parses"),
            Proof::PublicKey(fingerprint) => write!(f, "public_key {fingerprint}"),
            Proof::Paired => f.write_str("paired"),
            Proof::Encrypted => f.write_str("encrypted"),
            Proof::Expired => f.write_str("expired"),
            Proof::Other(word) => f.write_str(word),
        }
    }
}

/// One step inwards: a member of an archive or a decoding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inside {
    /// How.
    pub via: Via,
    /// The member's name, if it has one.
    pub name: Option<Vec<u8>>,
    /// Where it begins in the bytes around it.
    pub offset: u64,
}

/// A rule has matched, somewhere in a stream of bytes.
#[derive(Debug)]
pub struct Hit {
    /// Which rule.
    pub rule: RuleId,
    /// Where the secret begins, in the innermost bytes that have an address.
    pub offset: u64,
    /// How long it is there.
    pub length: u64,
    /// The line, from 1, where lines make sense.
    pub line: Option<u64>,
    /// The column in bytes, from 1.
    pub column: Option<u64>,
    /// The decodings that the detector went through, outermost first.
    pub inside: Vec<Inside>,
    /// The secret itself, decoded.
    pub secret: SecretBytes,
    /// How sure.
    pub confidence: Confidence,
    /// What it grants, after looking at it.
    pub severity: Severity,
    /// Why we are sure.
    pub proof: Vec<Proof>,
    /// A value that could be guessed (generic rules, passwords in URLs): no fingerprint over it.
    pub weak: bool,
    /// The name that the value is assigned to.
    pub key_name: Option<String>,
    /// A comment beside it says `sidekey:allow`.
    pub allowed_inline: bool,
}

/// What brought it in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Introduced {
    /// The layer, from 0; none for the config.
    pub layer: Option<u32>,
    /// The layer's digest unpacked, `sha256:…`.
    pub diff_id: Option<Arc<str>>,
    /// The instruction of the history, where it can be told.
    pub instruction: Option<Arc<str>>,
    /// The layer belongs to the base image that was named.
    pub base: bool,
}

/// Where a secret was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What kind of place.
    pub kind: PlaceKind,
    /// The file's path without a leading slash; the name of a variable, label or annotation.
    pub path: Option<Vec<u8>>,
    /// The line, from 1.
    pub line: Option<u64>,
    /// The column in bytes, from 1.
    pub column: Option<u64>,
    /// Where it begins, in the innermost bytes that have an address.
    pub offset: u64,
    /// How long it is there.
    pub length: u64,
    /// Nested members and decodings, outermost first.
    pub inside: Vec<Inside>,
    /// What brought it in.
    pub introduced: Introduced,
    /// What became of it.
    pub state: State,
    /// The layer that removed or replaced it.
    pub removed_by: Option<u32>,
}

/// A hit with the place it was seen: what the image and the detector know together.
#[derive(Debug)]
pub struct Located {
    /// What.
    pub hit: Hit,
    /// Where. Its `line`, `column`, `offset`, `length` and `inside` include the hit's.
    pub place: Place,
}

/// What to do, here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fix {
    /// All of it in one sentence.
    pub summary: String,
    /// How to make the secret worthless.
    pub revoke: String,
    /// The same, and why it comes first: a layer can't be unpublished.
    pub rotate: String,
    /// Where to do that.
    pub rotate_url: Option<String>,
    /// What to take out of the build.
    pub remove: String,
    /// The change in the Dockerfile.
    pub dockerfile: String,
    /// The Sidekey configuration that supplies the same value at run time.
    pub sidekey: String,
}

/// Why a finding does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Who says so.
    pub by: SuppressedBy,
    /// Why.
    pub reason: String,
    /// The last day it holds, `YYYY-MM-DD`.
    pub until: Option<String>,
}

/// A secret, with every place it was seen.
#[derive(Debug)]
pub struct Finding {
    /// Its name in this report; short, unique within its image.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// The rule's title.
    pub title: String,
    /// What the credential grants, a sentence.
    pub grants: String,
    /// How bad that is.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// Why we are sure.
    pub proof: Vec<String>,
    /// The same secret has the same one everywhere: `v1:` and 32 hexadecimal digits.
    pub fingerprint: String,
    /// What may be shown.
    pub preview: String,
    /// What to do.
    pub fix: Fix,
    /// Where, the most visible, then earliest, first. Never empty.
    pub places: Vec<Place>,
    /// How many places there are, also those not kept.
    pub places_total: u64,
    /// Fingerprints of findings that belong to it.
    pub related: Vec<String>,
    /// Why it does not count.
    pub suppressed: Option<Suppressed>,
    /// The secret, for `--reveal` only.
    pub secret: SecretBytes,
}

impl Finding {
    /// Whether there is no doubt.
    pub fn is_proved(&self) -> bool {
        self.confidence == Confidence::Proved
    }
}

/// Bytes that were not read as what they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skip {
    /// Why.
    pub reason: SkipReason,
    /// In which layer, from 0.
    pub layer: Option<u32>,
    /// In which file.
    pub path: Option<Vec<u8>>,
    /// In which member.
    pub inside: Vec<Inside>,
    /// A number or a name that helps: which limit, how much memory would do.
    pub detail: Option<String>,
}

/// What was read, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Bytes that met the detector, unpacked; each distinct blob once.
    pub bytes_seen: u64,
    /// Bytes known to be there that met none.
    pub bytes_skipped: u64,
    /// Files whose content was read, members of archives included.
    pub files_seen: u64,
    /// Files with a skip.
    pub files_skipped: u64,
    /// Each skip that is kept.
    pub skips: Vec<Skip>,
    /// How many skips there are, also those not kept.
    pub skips_total: u64,
    /// One of those not kept has an incomplete reason.
    pub gap_not_kept: bool,
    /// Findings beyond the number that is kept.
    pub findings_dropped: u64,
    /// What the kernel lacks for the sandbox of the parsers, one phrase each.
    pub sandbox: Vec<String>,
}

/// A layer, in the order of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// From 0.
    pub index: u32,
    /// The digest of the blob as it is stored.
    pub digest: Option<String>,
    /// The digest of the blob unpacked.
    pub diff_id: Option<String>,
    /// What the manifest says it is.
    pub media_type: Option<String>,
    /// Bytes as stored.
    pub size: u64,
    /// Bytes unpacked.
    pub unpacked: u64,
    /// The instruction that made it, where it can be told.
    pub instruction: Option<String>,
    /// Whose it is.
    pub origin: Origin,
}

/// What went wrong, why, and what to do. No values, only names and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: String,
}

/// One image on one platform.
#[derive(Debug)]
pub struct ImageReport {
    /// As it was asked for.
    pub reference: String,
    /// Where it came from.
    pub source: SourceKind,
    /// The digest of the index it was chosen from.
    pub index_digest: Option<String>,
    /// The digest of its manifest.
    pub digest: Option<String>,
    /// The digest of its config.
    pub config_digest: Option<String>,
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// The base image, if it is known.
    pub base: Option<String>,
    /// Why there is no result at all.
    pub error: Option<Trouble>,
    /// Every byte met the detector. Set by [`ScanReport::judge`].
    pub complete: bool,
    /// In their order.
    pub layers: Vec<LayerReport>,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What was read.
    pub coverage: Coverage,
}

/// Who scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The version of the program.
    pub version: String,
    /// How many rules were in use.
    pub rules: u32,
    /// A digest of the rules in use.
    pub rules_digest: String,
}

/// A whole run.
#[derive(Debug)]
pub struct ScanReport {
    /// Who scanned.
    pub tool: Tool,
    /// What counts.
    pub gate: Gate,
    /// What it says. Set by [`ScanReport::judge`].
    pub verdict: Verdict,
    /// What came of the baseline, if there was one. Set by [`Baseline::apply`].
    pub baseline: Option<BaselineUse>,
    /// In the order they were asked for.
    pub images: Vec<ImageReport>,
}
