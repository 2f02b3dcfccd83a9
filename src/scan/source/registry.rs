//! A registry, by the distribution protocol: documents whole, blobs as streams that are taken up again
//! where they broke off.
//!
//! Redirects are followed here and not in the HTTP library, because a blob's redirect must not take
//! the password with it.

pub mod challenge;
pub mod credentials;
pub mod pump;
pub mod reference;

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Deserialize;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use self::challenge::{Challenge, may_ask};
use self::credentials::Credentials;
use self::reference::{Reference, Target, is_digest, is_loopback};
use super::Handed;
use crate::scan::image::store::Name;

/// What an index or manifest may be.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.artifact.manifest.v1+json";

/// Documents are not larger: [`crate::scan::limits::Limits::document_bytes`].
const DOCUMENT: u64 = 4 << 20;

/// A token and what surrounds it.
const TOKEN: u64 = 256 << 10;

/// Redirects of one request: blobs have one, to the storage.
const REDIRECTS: usize = 5;

/// Attempts of one request.
const ATTEMPTS: u32 = 5;

/// How long a registry that is asked to wait for may make us wait.
const LONGEST_WAIT: u64 = 60;

/// Who is asked how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Registries that are spoken to without TLS, besides this machine's own.
    pub plain_http: BTreeSet<String>,
    /// Certificates of more authorities.
    pub roots: Vec<Vec<u8>>,
}

/// One image in a registry.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    reference: Reference,
    agent: Agent,
    options: Options,
    credentials: Option<Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `http` or `https`, once it is known.
    scheme: Option<&'static str>,
    /// The header that a registry wants.
    authorization: Option<Zeroizing<String>>,
    /// Why the last request failed.
    trouble: Option<String>,
}

/// The certificates of authorities in a file.
pub fn read_roots(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let text = std::fs::read(path)?;
    let mut roots = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let Ok(ureq::tls::PemItem::Certificate(certificate)) = item {
            roots.push(certificate.der().to_vec());
        }
    }
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is no certificate in it"));
    }
    Ok(roots)
}

impl Registry {
    /// An image. Nothing is asked yet.
    pub fn new(text: &str, options: &Options) -> io::Result<Registry> {
        let reference = Reference::parse(text)
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let credentials = credentials::find(&reference.registry, &reference.repository)?;
        let state = Mutex::default();
        let options = options.clone();
        let agent = agent(&options);
        Ok(Registry(Arc::new(Inner { reference, agent, options, credentials, state })))
    }

    /// Why it could not be read.
    pub fn trouble(&self) -> Option<String> {
        self.0.state().trouble.clone()
    }

    /// Opens a document or blob.
    pub fn open(&self, name: &Name) -> io::Result<Handed> {
        let result = self.opened(name);
        if let (Err(error), false) = (&result, matches!(name, Name::Member(_))) {
            self.0.state().trouble = Some(error.to_string());
        }
        result
    }

    fn opened(&self, name: &Name) -> io::Result<Handed> {
        match name {
            Name::Root => self.document(self.0.reference.target.text()),
            Name::Manifest(digest) if is_digest(digest) => self.document(digest),
            Name::Blob(digest) if is_digest(digest) => pump::blob(self.clone(), digest),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// An index or manifest, whole.
    fn document(&self, target: &str) -> io::Result<Handed> {
        let path = format!("manifests/{target}");
        let mut response = self.0.get(&path, Some(MANIFESTS), None)?;
        let mut bytes = Vec::new();
        response.body_mut().as_reader().take(DOCUMENT + 1).read_to_end(&mut bytes)?;
        if let Target::Digest(digest) = &self.0.reference.target
            && digest == target
            && *digest != crate::scan::image::plan::sha256(&bytes)
        {
            let text = "the registry answers with a document of another digest";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        in_memory(&bytes)
    }
}

/// Bytes as a file.
fn in_memory(bytes: &[u8]) -> io::Result<Handed> {
    let mut file = std::fs::File::from(memfd_create("document", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(Handed { file, size: Some(bytes.len() as u64) })
}

fn agent(options: &Options) -> Agent {
    let native = rustls_native_certs::load_native_certs().certs;
    let native = native.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned());
    let given = options.roots.iter().map(|root| Certificate::from_der(root).to_owned());
    let roots: Vec<Certificate<'static>> = native.chain(given).collect();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("sidekey-scan/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without TLS.
    fn may_be_plain(&self) -> bool {
        let host = self.reference.host();
        is_loopback(host) || self.options.plain_http.contains(host)
    }

    fn schemes(&self) -> Vec<&'static str> {
        match self.state().scheme {
            Some(scheme) => vec![scheme],
            None if self.may_be_plain() => vec!["http", "https"],
            None => vec!["https"],
        }
    }

    /// Asks for something of the repository.
    fn get(
        &self,
        path: &str,
        accept: Option<&str>,
        from: Option<u64>,
    ) -> io::Result<Response<Body>> {
        let host = self.reference.host();
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for scheme in self.schemes() {
            let base = format!("{scheme}://{host}/v2/{}/{path}", self.reference.repository);
            match self.authorised(&base, accept, from) {
                // The other one may be spoken; nothing but the name of an image was said so far.
                Err(error) if self.state().scheme.is_none() && is_unspoken(&error) => last = error,
                result => {
                    self.state().scheme = Some(scheme);
                    return result;
                }
            }
        }
        Err(last)
    }

    fn authorised(
        &self,
        url: &str,
        accept: Option<&str>,
        from: Option<u64>,
    ) -> io::Result<Response<Body>> {
        let response = self.followed(url, accept, from)?;
        if response.status() != 401 {
            return checked(response);
        }
        let header = response.headers().get("www-authenticate");
        let challenge = header.and_then(|header| Challenge::parse(header.to_str().ok()?));
        let authorization = self.answer(challenge, url.starts_with("http:"))?;
        self.state().authorization = Some(authorization);
        checked(self.followed(url, accept, from)?)
    }

    /// Follows redirects; only the registry itself sees the password.
    fn followed(
        &self,
        url: &str,
        accept: Option<&str>,
        from: Option<u64>,
    ) -> io::Result<Response<Body>> {
        let mut url = url.to_owned();
        for hop in 0..=REDIRECTS {
            let authorization = if hop == 0 { self.state().authorization.clone() } else { None };
            let response = self.patient(&url, accept, from, authorization.as_deref())?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = response.headers().get("location").and_then(|to| to.to_str().ok());
            url = redirected(&url, to.unwrap_or_default(), self.may_be_plain())?;
        }
        Err(io::Error::other("the registry redirects without end"))
    }

    /// Waits where it is asked to, and tries again what broke.
    fn patient(
        &self,
        url: &str,
        accept: Option<&str>,
        from: Option<u64>,
        authorization: Option<&String>,
    ) -> io::Result<Response<Body>> {
        let mut attempt = 1;
        loop {
            let mut request = self.agent.get(url);
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            if let Some(from) = from {
                request = request.header("range", format!("bytes={from}-"));
            }
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let wait = match request.call() {
                Ok(response) if matches!(response.status().as_u16(), 429 | 500..=599) => {
                    if attempt == ATTEMPTS {
                        return Ok(response);
                    }
                    retry_after(&response).unwrap_or(1 << (attempt - 1))
                }
                Ok(response) => return Ok(response),
                Err(error) if attempt == ATTEMPTS || !is_transient(&error) => {
                    return Err(told(error));
                }
                Err(_) => 1 << (attempt - 1),
            };
            std::thread::sleep(Duration::from_secs(wait.min(LONGEST_WAIT)));
            attempt += 1;
        }
    }

    /// What a registry wants to see before it answers.
    fn answer(&self, challenge: Option<Challenge>, plain: bool) -> io::Result<Zeroizing<String>> {
        match challenge {
            Some(Challenge::Basic) => self.basic().ok_or_else(|| {
                denied("the registry wants a name and a password, and there is none for it")
            }),
            Some(Challenge::Bearer { realm, service, scope }) => {
                if !may_ask(self.reference.host(), plain && self.may_be_plain(), &realm) {
                    return Err(denied(
                        "the registry sends us outside of its own domain for a token",
                    ));
                }
                self.token(&realm, service, scope)
            }
            None => Err(denied("the registry wants a kind of login that is not known")),
        }
    }

    fn basic(&self) -> Option<Zeroizing<String>> {
        let Credentials { name, password } = self.credentials.as_ref()?;
        let mut both = Zeroizing::new(format!("{name}:").into_bytes());
        both.extend_from_slice(password.expose());
        Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(&*both))))
    }

    fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> io::Result<Zeroizing<String>> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let repository = &self.reference.repository;
        let scope = scope.unwrap_or_else(|| format!("repository:{repository}:pull"));
        let service = service.unwrap_or_default();
        let refresh = self.credentials.as_ref().filter(|credentials| credentials.name.is_empty());
        let result = if let Some(credentials) = refresh {
            let token = String::from_utf8_lossy(credentials.password.expose());
            let form = [
                ("grant_type", "refresh_token"),
                ("client_id", "sidekey-scan"),
                ("service", &service),
                ("scope", &scope),
                ("refresh_token", &token),
            ];
            self.agent.post(realm).send_form(form)
        } else {
            let request = self.agent.get(realm).query("service", &service).query("scope", &scope);
            match self.basic() {
                Some(basic) => request.header("authorization", basic.as_str()).call(),
                None => request.call(),
            }
        };
        let mut response = checked(result.map_err(told)?)?;
        let mut bytes = Zeroizing::new(Vec::new());
        response.body_mut().as_reader().take(TOKEN).read_to_end(&mut bytes)?;
        let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let token = Zeroizing::new(token.ok_or_else(|| denied("the registry gives no token"))?);
        Ok(Zeroizing::new(format!("Bearer {}", *token)))
    }
}

/// What an answer looks like that is not in the protocol that was spoken.
fn is_unspoken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::Other)
}

fn denied(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// What stands for no answer at all, or an answer that will be another one soon.
fn is_transient(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => {
            !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidData)
        }
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

fn told(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
        ureq::Error::HostNotFound => {
            io::Error::new(io::ErrorKind::HostUnreachable, "there is no host of that name")
        }
        // Not TLS, or not to be trusted; or nobody there.
        ureq::Error::Io(error) => io::Error::new(io::ErrorKind::NotConnected, error.to_string()),
        ureq::Error::Rustls(error) => {
            io::Error::new(io::ErrorKind::NotConnected, error.to_string())
        }
        error => io::Error::other(error.to_string()),
    }
}

fn checked(response: Response<Body>) -> io::Result<Response<Body>> {
    let (kind, text) = match response.status().as_u16() {
        200..=299 => return Ok(response),
        401 => (io::ErrorKind::PermissionDenied, "the registry does not accept the login (401)"),
        403 => (io::ErrorKind::PermissionDenied, "the registry refuses (403)"),
        404 => (io::ErrorKind::NotFound, "the registry does not have it (404)"),
        416 => (io::ErrorKind::UnexpectedEof, "the registry has fewer bytes than it said (416)"),
        429 => (io::ErrorKind::TimedOut, "the registry is too busy (429)"),
        status => return Err(io::Error::other(format!("the registry answers with {status}"))),
    };
    Err(io::Error::new(kind, text))
}

fn retry_after(response: &Response<Body>) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()
}

/// Where a redirect leads: never from TLS to none.
fn redirected(from: &str, to: &str, may_be_plain: bool) -> io::Result<String> {
    let to = if to.starts_with('/') && !to.starts_with("//") {
        let end = from.find("://").and_then(|at| Some(at + 3 + from[at + 3..].find('/')?));
        format!("{}{to}", &from[..end.unwrap_or(from.len())])
    } else {
        to.to_owned()
    };
    let secure = to.starts_with("https://");
    let plain = to.starts_with("http://") && from.starts_with("http://") && may_be_plain;
    if secure || plain {
        Ok(to)
    } else {
        Err(io::Error::other("the registry redirects to where there is no TLS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_encrypted() {
        let from = "https://r.example/v2/a/blobs/x";
        assert_eq!(redirected(from, "/y", false).unwrap(), "https://r.example/y");
        assert_eq!(redirected(from, "https://s.example/y", false).unwrap(), "https://s.example/y");
        for to in ["http://s.example/y", "//s.example/y", "file:///etc/passwd", ""] {
            assert!(redirected(from, to, true).is_err(), "{to}");
        }
        assert!(redirected("http://localhost/x", "http://localhost/y", true).is_ok());
    }
}
