//! A reference to an image in a registry, as every engine understands it. Pure.

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry as it is called: `docker.io`, `registry.example:5000`.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// A tag, or a digest.
    pub target: Target,
}

/// Which of the images of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one that bears the tag now.
    Tag(String),
    /// This one.
    Digest(String),
}

impl Target {
    /// As it stands in a URL.
    pub fn text(&self) -> &str {
        match self {
            Target::Tag(text) | Target::Digest(text) => text,
        }
    }
}

impl Reference {
    /// Understands a reference; `docker.io` and `latest` are what is not said.
    pub fn parse(text: &str) -> Result<Reference, &'static str> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if is_host(first) => (first, path),
            _ => ("docker.io", rest),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (path, None),
        };
        let official = registry == "docker.io" && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        if !is_repository(&repository) {
            return Err(
                "a repository is made of lower-case letters, digits and `.`, `_`, `-`, `/`",
            );
        }
        let target = match (digest, tag) {
            (Some(digest), _) if is_digest(digest) => Target::Digest(digest.to_owned()),
            (Some(_), _) => return Err("a digest is `sha256:` and 64 hexadecimal digits"),
            (None, Some(tag)) if is_tag(tag) => Target::Tag(tag.to_owned()),
            (None, Some(_)) => {
                return Err("a tag is at most 128 letters, digits, `_`, `.` and `-`");
            }
            (None, None) => Target::Tag("latest".to_owned()),
        };
        Ok(Reference { registry: registry.to_owned(), repository, target })
    }

    /// Host and port to connect to.
    pub fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }
}

fn is_host(text: &str) -> bool {
    (text.contains('.') || text.contains(':') || text == "localhost")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

fn is_repository(text: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    text.len() <= 255
        && text.split('/').all(|part| {
            part.bytes().all(fits) && part.bytes().any(|byte| byte.is_ascii_alphanumeric())
        })
}

fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with(['.', '-'])
}

/// Whether a text is a digest of the only kind that registries use.
pub fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a host (with or without a port) is this machine.
pub fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    name == "localhost"
        || name.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The name alone.
pub fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let reference = Reference::parse(text).unwrap();
        (reference.host().to_owned(), reference.repository, reference.target.text().to_owned())
    }

    #[test]
    fn names_of_the_hub_are_completed() {
        let hub = "registry-1.docker.io";
        for (text, repository, target) in [
            ("alpine", "library/alpine", "latest"),
            ("alpine:3.20", "library/alpine", "3.20"),
            ("docker.io/alpine", "library/alpine", "latest"),
            ("index.docker.io/grafana/loki:1", "grafana/loki", "1"),
            ("grafana/loki", "grafana/loki", "latest"),
        ] {
            assert_eq!(parts(text), (hub.into(), repository.into(), target.into()), "{text}");
        }
    }

    #[test]
    fn a_host_has_a_dot_or_a_port() {
        assert_eq!(parts("localhost:5000/a/b:c").0, "localhost:5000");
        assert_eq!(parts("registry.example/app").0, "registry.example");
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(parts(&format!("r.example/app:1@{digest}")).2, digest);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", "UPPER", "a b", "app:", "app@sha256:00", "r.example/../x", "a//b", "a/./b"]
        {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_name_and_address() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("localhost.example") && !is_loopback("128.0.0.1"));
    }
}
