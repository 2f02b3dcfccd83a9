//! Recognisers that are more than a pattern.

use serde::Deserialize;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Special {}
