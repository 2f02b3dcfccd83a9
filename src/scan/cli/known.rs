//! `--baseline`: what somebody has looked at.

use std::path::Path;

use super::error::Failure;
use crate::scan::finding::Baseline;

/// A baseline that names this much is no baseline.
const AT_MOST: u64 = 16 << 20;

/// Reads a baseline, before anything is scanned.
pub fn read(path: &Path) -> Result<Baseline, Failure> {
    let failed = |why: &dyn std::fmt::Display, hint: &str| {
        Failure::new(format!("can't use the baseline `{}`", path.display()), why, hint)
    };
    let unreadable = |error: std::io::Error| failed(&error, "name a file that may be read");
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > AT_MOST {
        return Err(failed(&format!("it has {size} bytes"), "name the baseline, 16 MiB at most"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        failed(&"it is no UTF-8", "write it as TOML, or let `--write-baseline` do it")
    })?;
    Baseline::parse(&text)
        .map_err(|error| Failure::several(error.mistakes.iter().map(|m| m.trouble())))
}
