//! A notice by HTTP, over TCP or a Unix socket.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, Url};
use rustls::{ClientConfig, RootCertStore};

use super::Fault;
use crate::agent::config::HttpTarget;

/// The header that carries the generation.
const GENERATION: HeaderName = HeaderName::from_static("sidekey-generation");

/// Bytes of an answer's body that we read before we hang up, so that an application which has
/// something to say can finish its sentence. Nobody looks at them.
const BODY: usize = 64 * 1024;

/// How long we listen to that sentence.
const BODY_WITHIN: Duration = Duration::from_secs(1);

/// A request that is sent with each notice.
pub(super) struct Request {
    client: Client,
    url: Url,
    method: Method,
    headers: HeaderMap,
    /// For messages: the address as in the config, without what could be a password.
    to: String,
}

impl Request {
    pub(super) fn build(
        to: &HttpTarget,
        method: &str,
        headers: &BTreeMap<String, String>,
    ) -> Result<Request, Fault> {
        let url = match to {
            HttpTarget::Url(url) => url.clone(),
            // The host is what an application behind a socket expects; nothing is resolved.
            HttpTarget::Unix { path, .. } => {
                format!("http://localhost/{}", path.strip_prefix('/').unwrap_or(path))
            }
        };
        let url = Url::parse(&url).map_err(|_| Fault::BadRequest)?;
        // reqwest takes the process' provider of cryptography; whoever comes first names it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(url.scheme() == "https")?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            // Notices are rare: a connection kept until the next one would be stale.
            .pool_max_idle_per_host(0);
        if let HttpTarget::Unix { socket, .. } = to {
            builder = builder.unix_socket(socket.as_path());
        }
        if is_next_door(to, &url) {
            builder = builder.no_proxy();
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(|_| Fault::BadRequest)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| Fault::BadRequest)?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        Ok(Request {
            client: builder.build().map_err(|_| Fault::BadRequest)?,
            to: label(to, &url),
            url,
            method: Method::from_bytes(method.as_bytes()).map_err(|_| Fault::BadRequest)?,
            headers: map,
        })
    }

    /// Sends it and gives the status.
    pub(super) async fn send(&self, generation: u64, within: Duration) -> Result<u16, Fault> {
        let to = || self.to.clone();
        let request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .header(GENERATION, generation)
            .timeout(within)
            .send();
        match request.await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let _ = tokio::time::timeout(BODY_WITHIN, hear_out(answer)).await;
                Ok(status)
            }
            Err(error) if error.is_timeout() => Err(Fault::NoAnswer { to: to(), within }),
            Err(error) => Err(match why(&error) {
                Some(Why::NobodyListens) => Fault::NobodyListens { to: to() },
                Some(Why::NotTrusted) => Fault::NotTrusted { to: to() },
                None if is_lookup(&error) => Fault::NoSuchHost { to: to() },
                None => Fault::Broken { to: to() },
            }),
        }
    }
}

/// Reads a body to its end, or as far as is decent.
async fn hear_out(mut answer: Response) {
    let mut left = BODY;
    while let Ok(Some(chunk)) = answer.chunk().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The platform's roots are read only where they are needed.
fn tls(needed: bool) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    if needed {
        let found = rustls_native_certs::load_native_certs().certs;
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(Fault::NoRoots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Fault::BadRequest)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a proxy would be the wrong neighbour.
fn is_next_door(to: &HttpTarget, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    matches!(to, HttpTarget::Unix { .. })
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The address for messages. User, password and query stay out: they may be secret.
fn label(to: &HttpTarget, url: &Url) -> String {
    match to {
        HttpTarget::Unix { socket, .. } => format!("unix:{}{}", socket.display(), url.path()),
        HttpTarget::Url(_) => {
            let host = url.host_str().unwrap_or_default();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{host}{port}{}", url.scheme(), url.path())
        }
    }
}

/// What is behind a failed request, as far as its causes tell.
enum Why {
    NobodyListens,
    NotTrusted,
}

fn why(error: &(dyn Error + 'static)) -> Option<Why> {
    if error.downcast_ref::<rustls::Error>().is_some() {
        return Some(Why::NotTrusted);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                return Some(Why::NobodyListens);
            }
            // rustls travels inside of an error of its own.
            _ => {
                if let Some(inner) = error.get_ref() {
                    return why(inner);
                }
            }
        }
    }
    error.source().and_then(why)
}

/// Whether the connection failed before there was an address. hyper-util's error for that has no
/// public type, only this text.
fn is_lookup(error: &reqwest::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = source {
        if error.to_string().starts_with("dns error") {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Result<Request, Fault> {
        Request::build(&HttpTarget::Url(url.into()), "POST", &BTreeMap::new())
    }

    #[test]
    fn no_password_gets_into_a_message() {
        let to = |url: &str| request(url).unwrap().to;
        let with_password = ["http://me:", "hunter2", "@127.0.0.1:8080/reload?token=abc"].concat();
        assert_eq!(to(&with_password), "http://127.0.0.1:8080/reload");
        assert_eq!(to("http://[::1]/"), "http://[::1]/");
        let unix = HttpTarget::Unix { socket: "/run/app.sock".into(), path: "/r?token=abc".into() };
        let unix = Request::build(&unix, "POST", &BTreeMap::new()).unwrap();
        assert_eq!(
            (unix.to.as_str(), unix.url.query()),
            ("unix:/run/app.sock/r", Some("token=abc"))
        );
    }

    #[test]
    fn a_proxy_stands_between_strangers_only() {
        for (url, next_door) in [
            ("http://127.0.0.1:8080/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:80/", true),
            ("http://localhost/", true),
            ("http://app.svc/", false),
            ("http://10.0.0.1/", false),
        ] {
            let target = HttpTarget::Url(url.into());
            assert_eq!(is_next_door(&target, &Url::parse(url).unwrap()), next_door, "{url}");
        }
    }

    #[test]
    fn what_can_never_be_sent_is_known_at_once() {
        for url in ["http://", "127.0.0.1:80", "http://[::1", ""] {
            assert!(matches!(request(url), Err(Fault::BadRequest)), "{url}");
        }
        let to = HttpTarget::Url("http://127.0.0.1/".into());
        let header = |name: &str, value: &str| BTreeMap::from([(name.into(), value.into())]);
        for headers in [header("a b", "c"), header("a", "b\nc"), header("", "")] {
            assert!(matches!(Request::build(&to, "POST", &headers), Err(Fault::BadRequest)));
        }
        assert!(matches!(Request::build(&to, "A B", &BTreeMap::new()), Err(Fault::BadRequest)));
    }
}
