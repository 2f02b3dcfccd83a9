//! What a registry demands before it answers, and whether a token may be fetched where it says.
//! Pure.

use super::reference::{is_loopback, without_port};

/// A demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from somewhere.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header.
    pub fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (key, value) in parameters(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Challenge::Bearer { realm: realm?, service, scope })
    }
}

/// `key="value"` pairs. A comma inside of quotes belongs to the value.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let key = key.trim().trim_start_matches(',').trim().to_owned();
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.push((key, value.to_owned()));
        text = rest;
    }
    found
}

/// Whether a registry may send us, and our password, to `realm` for a token: its own host, or one of
/// its own domain; encrypted unless the registry itself is not.
pub fn may_ask(registry: &str, plain: bool, realm: &str) -> bool {
    let (scheme, rest) = realm.split_once("://").unwrap_or(("", realm));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // Nobody has a name before the host in an honest realm.
    if authority.contains('@') || authority.is_empty() {
        return false;
    }
    match scheme {
        "https" => {}
        "http" if plain || is_loopback(authority) => {}
        _ => return false,
    }
    let (registry, host) = (without_port(registry), without_port(authority));
    if registry.eq_ignore_ascii_case(host) || (is_loopback(registry) && is_loopback(host)) {
        return true;
    }
    let registry = registry.to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let Some((_, domain)) = registry.split_once('.') else { return false };
    let is_name = domain.contains('.') && !domain.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_name && (host == domain || host.ends_with(&format!(".{domain}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_commas_in_its_scope() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer { realm, service, scope }) = Challenge::parse(header) else {
            panic!("no challenge")
        };
        assert_eq!(realm, "https://auth.docker.io/token");
        assert_eq!(service.as_deref(), Some("registry.docker.io"));
        assert_eq!(scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn a_token_is_fetched_only_in_the_registrys_own_domain() {
        for (registry, realm, allowed) in [
            ("registry-1.docker.io", "https://auth.docker.io/token", true),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("ghcr.io", "https://ghcr.io/token", true),
            ("ghcr.io", "https://evil.io/token", false),
            ("registry.example.com", "https://evil.example/token", false),
            ("registry.example.com", "https://example.com.evil.net/", false),
            ("registry.example.com", "http://registry.example.com/", false),
            ("registry.example.com", "https://registry.example.com@evil.net/", false),
            ("registry.example.com", "https://evil.net/?x=.example.com", false),
            ("10.0.0.1:5000", "https://9.0.0.1/token", false),
            ("localhost:5000", "http://127.0.0.1:5001/token", true),
            ("registry.example.com", "ftp://registry.example.com/", false),
        ] {
            assert_eq!(may_ask(registry, false, realm), allowed, "{registry} {realm}");
        }
    }
}
