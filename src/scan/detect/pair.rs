//! Credentials of two halves: a key and its secret that stand together prove each other.

use serde::Deserialize;

use super::matcher::{Found, View};
use super::{placeholder, text};
use crate::scan::finding::{Confidence, Proof};

/// How far from each other the halves may stand. It is less than what is in view around every
/// match, so that it does not matter how the bytes were cut.
const NEAR: usize = 400;
/// How long an id of an access key is after its first four letters.
const ID: usize = 16;
/// How long a secret access key is.
const SECRET: usize = 40;

/// Which half a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Half {
    /// The id of an access key of AWS.
    AwsId,
    /// Its secret, or the token of its session.
    AwsSecret,
}

/// Raises what was found if its other half stands near.
pub(super) fn prove(view: &View<'_>, half: Half, found: &mut Found) {
    if found.confidence != Confidence::Likely {
        return;
    }
    let before = &view.data[found.span.start.saturating_sub(NEAR)..found.span.start];
    let after = &view.data[found.span.end..view.data.len().min(found.span.end + NEAR)];
    let stands = match half {
        Half::AwsId => has_secret,
        Half::AwsSecret => has_id,
    };
    if stands(before) || stands(after) {
        found.confidence = Confidence::Proved;
        found.proof.push(Proof::Paired);
    }
}

fn has_id(bytes: &[u8]) -> bool {
    let words = bytes.split(|b| !b.is_ascii_alphanumeric());
    words.filter(|word| word.len() == 4 + ID).any(|word| {
        (word.starts_with(b"AKIA") || word.starts_with(b"ASIA"))
            && word[4..].iter().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(b))
            && !placeholder::is_made_up(word)
    })
}

fn has_secret(bytes: &[u8]) -> bool {
    let words = bytes.split(|b| !b.is_ascii_alphanumeric() && !b"+/".contains(b));
    words.filter(|word| word.len() == SECRET).any(|word| {
        let mixed = word.iter().any(u8::is_ascii_lowercase)
            && word.iter().any(u8::is_ascii_uppercase)
            && word.iter().any(u8::is_ascii_digit);
        mixed && text::entropy(word) > 4.1 && !placeholder::is_made_up(word)
    })
}
