//! A notice by HTTP, over TCP or a Unix socket.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use super::Fault;
use crate::agent::config::HttpTarget;

/// The header that carries the generation.
const GENERATION: HeaderName = HeaderName::from_static("sidekey-generation");

/// A request that is sent with each notice.
pub(super) struct Request {
    client: Client,
    url: Url,
    method: Method,
    headers: HeaderMap,
    /// For messages: the address as in the config.
    to: String,
}

impl Request {
    pub(super) fn build(
        to: &HttpTarget,
        method: &str,
        headers: &BTreeMap<String, String>,
    ) -> Result<Request, Fault> {
        let (url, label) = match to {
            HttpTarget::Url(url) => (url.clone(), url.clone()),
            // The host is what an application behind a socket expects; nothing is resolved.
            HttpTarget::Unix { socket, path } => {
                (format!("http://localhost{path}"), format!("unix:{}{path}", socket.display()))
            }
        };
        let url = Url::parse(&url).map_err(|_| Fault::BadRequest)?;
        // reqwest takes the process' provider of cryptography; whoever comes first names it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // The application is next door; a proxy would be the wrong neighbour.
            .no_proxy()
            .pool_max_idle_per_host(0);
        if url.scheme() == "http" {
            // Without this the platform's roots are read and kept for nothing.
            builder = builder.tls_certs_only(Vec::new());
        }
        if let HttpTarget::Unix { socket, .. } = to {
            builder = builder.unix_socket(socket.as_path());
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(|_| Fault::BadRequest)?;
            map.insert(name, HeaderValue::try_from(value).map_err(|_| Fault::BadRequest)?);
        }
        Ok(Request {
            client: builder.build().map_err(|_| Fault::BadRequest)?,
            url,
            method: Method::from_bytes(method.as_bytes()).map_err(|_| Fault::BadRequest)?,
            headers: map,
            to: label,
        })
    }

    /// Sends it and gives the status. The body of the answer is not read.
    pub(super) async fn send(&self, generation: u64, within: Duration) -> Result<u16, Fault> {
        let request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .header(GENERATION, generation)
            .timeout(within)
            .send();
        match request.await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) if error.is_timeout() => {
                Err(Fault::NoAnswer { to: self.to.clone(), within })
            }
            Err(error) if nobody_listens(&error) => {
                Err(Fault::NobodyListens { to: self.to.clone() })
            }
            Err(_) => Err(Fault::Broken { to: self.to.clone() }),
        }
    }
}

fn nobody_listens(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let kind = error.kind();
            return matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        }
        source = error.source();
    }
    false
}
