//! Finds and reads the text of the config.

use std::fmt;
use std::path::{Path, PathBuf};

use super::yaml::MAX_BYTES;
use crate::agent::reason::{Reason, Report, system_word};
use crate::sandbox::door::Door;

/// Where the config is when nobody says.
pub const DEFAULT_PATH: &str = "/etc/sidekey/config.yaml";

/// The variable that holds a config's text.
const TEXT: &str = "SIDEKEY_CONFIG_YAML";

/// Where a config comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The text in `$SIDEKEY_CONFIG_YAML`.
    Variable,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => path.display().fmt(f),
            Origin::Variable => write!(f, "${TEXT}"),
        }
    }
}

/// A config's text and where it comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it comes from.
    pub origin: Origin,
    /// The text.
    pub text: String,
}

/// The first of `--config`, `$SIDEKEY_CONFIG`, `$SIDEKEY_CONFIG_YAML`, [`DEFAULT_PATH`].
pub fn locate(flag: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Origin {
    if let Some(path) = flag {
        return Origin::File(path.to_owned());
    }
    if let Some(path) = env("SIDEKEY_CONFIG").filter(|path| !path.is_empty()) {
        return Origin::File(path.into());
    }
    if env(TEXT).is_some_and(|text| !text.is_empty()) {
        return Origin::Variable;
    }
    Origin::File(DEFAULT_PATH.into())
}

/// Reads it.
pub fn read(origin: Origin, env: &dyn Fn(&str) -> Option<String>) -> Result<Source, Report> {
    let text = match &origin {
        Origin::Variable => env(TEXT).unwrap_or_default(),
        Origin::File(path) => {
            let door = Door::open(path).map_err(|e| unreadable(path, e.kind()))?;
            let bytes = door.read(MAX_BYTES).map_err(|e| unreadable(path, e.kind()))?;
            String::from_utf8(bytes)
                .map_err(|_| unreadable(path, std::io::ErrorKind::InvalidData))?
        }
    };
    Ok(Source { origin, text })
}

fn unreadable(path: &Path, kind: std::io::ErrorKind) -> Report {
    let hint = match kind {
        std::io::ErrorKind::NotFound => {
            "give a config with --config FILE, $SIDEKEY_CONFIG or $SIDEKEY_CONFIG_YAML; \
             the README has a first one"
        }
        std::io::ErrorKind::PermissionDenied => "let Sidekey's uid read the file",
        std::io::ErrorKind::FileTooLarge => "a config has at most 1 MiB",
        _ => "give a text file in UTF-8",
    };
    let what = format!("can't read the config `{}`", path.display());
    Report::new(Reason::ConfigInvalid, what, system_word(kind)).hint(hint)
}

/// Reads a config again through the handle on its directory.
pub fn read_again(origin: &Origin, door: &Door) -> Result<Source, Report> {
    let unreadable = |kind| unreadable(door.path(), kind);
    let bytes = door.read(MAX_BYTES).map_err(|error| unreadable(error.kind()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(std::io::ErrorKind::InvalidData))?;
    Ok(Source { origin: origin.clone(), text })
}
