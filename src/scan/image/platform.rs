//! Which images of an index are wanted. Pure.

use super::documents::{Descriptor, Platform};

/// `--platform`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Every one.
    #[default]
    All,
    /// `os/architecture[/variant]`.
    One(String),
}

impl Wanted {
    /// What the option says; `native` is this machine's.
    pub fn parse(text: &str) -> Result<Wanted, String> {
        match text {
            "all" => Ok(Wanted::All),
            "native" => Ok(Wanted::One(native())),
            text if (2..=3).contains(&text.split('/').count())
                && text.split('/').all(|part| !part.is_empty()) =>
            {
                Ok(Wanted::One(text.to_owned()))
            }
            _ => {
                Err("is `all`, `native`, or `OS/ARCHITECTURE` with or without `/VARIANT`"
                    .to_owned())
            }
        }
    }

    /// The positions of those wanted. What says no platform is always wanted.
    pub fn choose(&self, listed: &[Descriptor]) -> Vec<usize> {
        let fits = |descriptor: &Descriptor| match (self, &descriptor.platform) {
            (Wanted::All, _) | (_, None) => true,
            (Wanted::One(wanted), Some(platform)) => matches(wanted, platform),
        };
        (0..listed.len()).filter(|at| fits(&listed[*at])).collect()
    }
}

/// `linux/arm64` is every variant of it.
fn matches(wanted: &str, platform: &Platform) -> bool {
    let Some(text) = platform.text() else { return true };
    text == wanted || text.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

fn native() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}
