//! What the user called an image: where it is, told by its scheme or its looks. Pure.

use std::path::{Path, PathBuf};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file or directory: what it is, its content tells.
    Path(PathBuf, Claim),
    /// A tar on standard input.
    Stdin,
    /// A file tree.
    Tree(PathBuf),
    /// A registry.
    Registry(String),
    /// The Docker daemon.
    Docker(String),
    /// The podman service.
    Podman(String),
}

/// What a path is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing was said.
    Any,
    /// `docker-archive:`
    DockerArchive,
    /// `oci-archive:`
    OciArchive,
    /// `oci-dir:`
    OciDir,
}

/// An image to read, and what should be said about how it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As it was written.
    pub reference: String,
    /// Where it is.
    pub origin: Origin,
    /// It could have been a reference as well.
    pub remark: Option<String>,
}

/// Understands what the user wrote. `exists` tells of a path whether something is there.
pub fn parse(text: &str, exists: &dyn Fn(&Path) -> bool) -> Wanted {
    let mut remark = None;
    let origin = match scheme(text) {
        Some(origin) => origin,
        None if is_path(text) => Origin::Path(text.into(), Claim::Any),
        None if exists(Path::new(text)) => {
            remark = Some(format!(
                "`{text}` is there, so it is read as a path; write `registry:{text}` for the image in a registry"
            ));
            Origin::Path(text.into(), Claim::Any)
        }
        None => Origin::Registry(text.to_owned()),
    };
    Wanted { reference: text.to_owned(), origin, remark }
}

fn scheme(text: &str) -> Option<Origin> {
    if text == "-" {
        return Some(Origin::Stdin);
    }
    let (scheme, rest) = text.split_once(':')?;
    Some(match scheme {
        "docker-archive" => Origin::Path(rest.into(), Claim::DockerArchive),
        "oci-archive" => Origin::Path(rest.into(), Claim::OciArchive),
        "oci-dir" | "oci" => Origin::Path(rest.into(), Claim::OciDir),
        "dir" => Origin::Tree(rest.into()),
        "registry" => Origin::Registry(rest.strip_prefix("//").unwrap_or(rest).to_owned()),
        "docker" => match rest.strip_prefix("//") {
            // As skopeo writes a reference to a registry.
            Some(reference) => Origin::Registry(reference.to_owned()),
            None => Origin::Docker(rest.to_owned()),
        },
        "podman" => Origin::Podman(rest.to_owned()),
        _ => return None,
    })
}

fn is_path(text: &str) -> bool {
    let ends = [".tar", ".tar.gz", ".tgz", ".tar.zst"];
    ["/", "./", "../"].iter().any(|begin| text.starts_with(begin))
        || ends.iter().any(|end| text.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str, there: bool) -> Origin {
        parse(text, &|_| there).origin
    }

    #[test]
    fn a_scheme_decides() {
        assert_eq!(origin("-", false), Origin::Stdin);
        assert_eq!(origin("dir:/srv", false), Origin::Tree("/srv".into()));
        assert_eq!(origin("docker:app:1", true), Origin::Docker("app:1".into()));
        assert_eq!(origin("docker://app:1", true), Origin::Registry("app:1".into()));
        assert_eq!(origin("oci-dir:x", false), Origin::Path("x".into(), Claim::OciDir));
    }

    #[test]
    fn without_a_scheme_a_path_looks_like_one_or_is_there() {
        for path in ["/a", "./a", "../a", "a.tar", "a.tar.gz"] {
            assert_eq!(origin(path, false), Origin::Path(path.into(), Claim::Any));
        }
        assert_eq!(origin("alpine", false), Origin::Registry("alpine".into()));
        assert_eq!(origin("host:5000/a:1", false), Origin::Registry("host:5000/a:1".into()));
        let taken = parse("alpine", &|_| true);
        assert_eq!(taken.origin, Origin::Path("alpine".into(), Claim::Any));
        assert!(taken.remark.is_some());
    }
}
