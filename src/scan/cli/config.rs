//! The file of `--config`: more rules, and paths that are not to count.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::Failure;

/// What a user may write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Paths in a layer that do not count, as `--exclude`.
    pub exclude: Vec<String>,
    /// Files of rules, beside the config.
    pub rules: Vec<PathBuf>,
    /// Only these rules.
    pub only: Vec<String>,
    /// Not these rules.
    pub skip: Vec<String>,
}

/// Reads a config. Files that it names are beside it.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        let hint = "its keys are `exclude`, `rules`, `only` and `skip`, each a list";
        Failure::new(format!("can't use the config `{}`", path.display()), why, hint)
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let mut config: Config = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        failed(&format!("line {line}: {}", error.message()))
    })?;
    let beside = path.parent().unwrap_or(Path::new("."));
    for rules in &mut config.rules {
        *rules = beside.join(&*rules);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_read_and_a_mistake_has_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, "exclude = [\"a/**\"]\nrules = [\"r.toml\"]\n").unwrap();
        let config = read(&path).unwrap();
        assert_eq!(config.exclude, ["a/**"]);
        assert_eq!(config.rules, [directory.path().join("r.toml")]);
        std::fs::write(&path, "exclude = []\nexclud = []\n").unwrap();
        let why = read(&path).unwrap_err().why;
        assert!(why.contains("line 2") && why.contains("exclud"), "{why}");
    }
}
