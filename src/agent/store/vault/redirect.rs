//! Where a redirect may lead: decided from the two addresses alone.

use http::{HeaderValue, StatusCode};
use reqwest::Url;

use super::error::{Fault, RedirectFault};

/// Whether an answer sends us elsewhere with the same request. 303 would change the method, and
/// no store sends it.
pub(super) fn is_one(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 307 | 308)
}

/// The address that `location` names, if it may see our token: it must be our own host and port
/// or an allowed one, and what was encrypted stays encrypted.
pub(super) fn next(
    from: &Url,
    location: Option<&HeaderValue>,
    own: &Url,
    allowed: &[String],
) -> Result<Url, Fault> {
    let refused = |fault| Err(Fault::Redirect(fault));
    let target = location.and_then(|location| location.to_str().ok());
    let Some(mut to) = target.and_then(|target| from.join(target).ok()) else {
        return refused(RedirectFault::Unreadable);
    };
    if !matches!(to.scheme(), "http" | "https") || !to.username().is_empty() {
        return refused(RedirectFault::Unreadable);
    }
    if from.scheme() == "https" && to.scheme() != "https" {
        return refused(RedirectFault::Downgrade);
    }
    let same = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    if same(&to) != same(own) && !allowed.iter().any(|host| names(host, &to)) {
        return refused(RedirectFault::Stranger);
    }
    to.set_fragment(None);
    Ok(to)
}

/// Whether an entry (`host`, `host:port`, IPv6 in brackets) of `redirect_hosts` names `url`.
fn names(entry: &str, url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
    entry.eq_ignore_ascii_case(host)
        || with_port.is_some_and(|with_port| entry.eq_ignore_ascii_case(&with_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(own: &str, location: &str, allowed: &[&str]) -> Result<String, RedirectFault> {
        let own = Url::parse(own).unwrap();
        let from = own.join("/v1/secret/data/x?version=2").unwrap();
        let allowed: Vec<_> = allowed.iter().map(|&host| host.to_owned()).collect();
        let location = HeaderValue::from_str(location).unwrap();
        match next(&from, Some(&location), &own, &allowed) {
            Ok(url) => Ok(url.into()),
            Err(Fault::Redirect(fault)) => Err(fault),
            Err(_) => unreachable!(),
        }
    }

    // Catalogue 10.
    #[test]
    fn only_named_hosts_are_followed_and_never_out_of_encryption() {
        use RedirectFault::{Downgrade, Stranger, Unreadable};
        let own = "https://vault:8200";
        for (location, allowed, outcome) in [
            ("/v1/other#x", &[][..], Ok("https://vault:8200/v1/other")),
            ("https://vault:8200/v1/x", &[], Ok("https://vault:8200/v1/x")),
            ("https://VAULT:8200/v1/x", &[], Ok("https://vault:8200/v1/x")),
            ("https://vault:8201/v1/x", &[], Err(Stranger)),
            ("https://vault-1:8200/v1/x", &[], Err(Stranger)),
            ("https://vault-1:8200/v1/x", &["vault-1"], Ok("https://vault-1:8200/v1/x")),
            ("https://vault-1:8200/v1/x", &["vault-1:8200"], Ok("https://vault-1:8200/v1/x")),
            ("https://vault-1:8201/v1/x", &["vault-1:8200"], Err(Stranger)),
            ("https://vault-1/v1/x", &["vault-1:443"], Ok("https://vault-1/v1/x")),
            ("//evil/v1/x", &["vault-1"], Err(Stranger)),
            ("https://vault:8200@evil/v1/x", &["evil"], Err(Unreadable)),
            ("https://vault-1.evil/v1/x", &["vault-1"], Err(Stranger)),
            ("http://vault:8200/v1/x", &["vault"], Err(Downgrade)),
            ("ftp://vault:8200/v1/x", &["vault"], Err(Unreadable)),
            ("https://", &[], Err(Unreadable)),
        ] {
            assert_eq!(to(own, location, allowed), outcome.map(str::to_owned), "{location}");
        }
    }

    #[test]
    fn a_store_without_encryption_may_lead_into_it() {
        let own = "http://vault:8200";
        let location = "https://vault:8443/v1/x";
        assert_eq!(to(own, location, &["vault:8443"]), Ok("https://vault:8443/v1/x".into()));
        assert_eq!(to(own, location, &[]), Err(RedirectFault::Stranger));
    }
}
