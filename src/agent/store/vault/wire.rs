//! One request and its answer over HTTP/1.1, bounded in every direction: our own client beneath
//! the typed requests of `vaultrs`.
//!
//! Redirects are off in the HTTP library and followed here, once, to allowed hosts only. Bodies
//! are capped while they are read, and no body ever becomes part of an error. No proxy is used:
//! the agent connects to the addresses of its config and to nothing else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use reqwest::Url;
use rustify::errors::ClientError;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::error::{Fault, RedirectFault, Unreachable, Wait};
use super::redirect;
use crate::agent::store::net::{classify, dns};

/// Bytes of one answer. A KV 2 secret of the largest size that OpenBao's storage takes is below.
pub(super) const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Bytes of an answer that is an error: only its first words matter.
const MAX_REFUSAL: usize = 64 * 1024;

/// Bytes of an `X-Vault-Index` that are remembered; real ones have about a hundred.
const MAX_INDEX: usize = 4096;

const INDEX: &str = "x-vault-index";

/// How long each part of a request may take (catalogue row 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the connection stands: name, TCP and TLS.
    pub connect: Duration,
    /// Until the head of the answer is there, the connection included.
    pub first_byte: Duration,
    /// Until the whole answer is there, a redirect included.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(10),
            total: Duration::from_secs(30),
        }
    }
}

/// A store's address and the connections to it.
pub(super) struct Wire {
    /// Scheme, host and port.
    base: Url,
    /// The same as text, as `rustify` wants it.
    origin: String,
    allowed: Vec<String>,
    patience: Patience,
    client: Mutex<reqwest::Client>,
    resolver: dns::Resolver,
    index: Mutex<Option<HeaderValue>>,
}

impl Wire {
    pub(super) fn new(
        mut base: Url,
        allowed: Vec<String>,
        patience: Patience,
        tls: rustls::ClientConfig,
    ) -> Result<Wire, Fault> {
        base.set_path("");
        let resolver = dns::Resolver::default();
        let client = Mutex::new(client(tls, patience, &resolver)?);
        let origin = base.as_str().trim_end_matches('/').to_owned();
        Ok(Wire { base, origin, allowed, patience, client, resolver, index: Mutex::new(None) })
    }

    /// Uses `tls` for every connection made from now on; requests under way end undisturbed.
    pub(super) fn trust(&self, tls: rustls::ClientConfig) -> Result<(), Fault> {
        let fresh = client(tls, self.patience, &self.resolver)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Fault> {
        let (head, body) = request.into_parts();
        let body = Zeroizing::new(body);
        let url = Url::parse(&head.uri.to_string()).map_err(|_| Fault::Address)?;
        let mut headers = head.headers;
        if let Some(index) = &*self.index.lock().unwrap_or_else(PoisonError::into_inner) {
            headers.insert(INDEX, index.clone());
        }
        let answer = self.once_more_if_cut(&head.method, &url, &headers, &body).await?;
        if !redirect::is_one(answer.status()) {
            return self.collect(answer).await;
        }
        let next = redirect::next(&url, answer.headers().get(LOCATION), &self.base, &self.allowed)?;
        let answer = self.once_more_if_cut(&head.method, &next, &headers, &body).await?;
        if redirect::is_one(answer.status()) {
            return Err(Fault::Redirect(RedirectFault::TooMany));
        }
        self.collect(answer).await
    }

    /// A server may close a kept connection at the moment that we use it; what only reads is then
    /// sent again at once, on a fresh connection (catalogue row 37).
    async fn once_more_if_cut(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<reqwest::Response, Fault> {
        match self.once(method, url, headers, body).await {
            Err(Fault::Unreachable(Unreachable::Cut)) if method == Method::GET => {
                self.once(method, url, headers, body).await
            }
            outcome => outcome,
        }
    }

    async fn once(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<reqwest::Response, Fault> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = reqwest::Request::new(method.clone(), url.clone());
        *request.headers_mut() = headers.clone();
        if !body.is_empty() {
            *request.body_mut() = Some(body.to_vec().into());
        }
        match timeout(self.patience.first_byte, client.execute(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(classify(&error).into()),
            Err(_) => Err(Fault::Unreachable(Unreachable::Slow(Wait::FirstByte))),
        }
    }

    /// Reads the body within its cap.
    async fn collect(&self, mut answer: reqwest::Response) -> Result<Response<Vec<u8>>, Fault> {
        let status = answer.status();
        let encoding = answer.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Fault::Encoded);
        }
        self.remember_index(answer.headers());
        let refused = !status.is_success() && status != StatusCode::NOT_FOUND;
        let cap = if refused { MAX_REFUSAL } else { MAX_ANSWER };
        let expected = answer.content_length().unwrap_or(0);
        let mut body = Zeroizing::new(Vec::with_capacity(
            usize::try_from(expected).unwrap_or(usize::MAX).min(cap),
        ));
        let mut too_large = expected > cap as u64;
        while !too_large {
            match answer.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > cap => too_large = true,
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(Fault::from(classify(&error)).in_the_body()),
            }
        }
        if too_large && !refused {
            return Err(Fault::TooLarge { limit: cap });
        }
        if too_large {
            body.clear();
        }
        let mut response = Response::new(std::mem::take(&mut *body));
        *response.status_mut() = status;
        for name in [http::header::CONTENT_TYPE, http::header::DATE, RETRY_AFTER] {
            if let Some(value) = answer.headers().get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Ok(response)
    }

    /// A store of several servers tells with this header how far the answering one is; sent back,
    /// it keeps us from reading from one that is behind (catalogue row 11).
    fn remember_index(&self, headers: &HeaderMap) {
        if let Some(index) = headers.get(INDEX).filter(|index| index.len() <= MAX_INDEX) {
            *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        }
    }
}

fn client(
    tls: rustls::ClientConfig,
    patience: Patience,
    resolver: &dns::Resolver,
) -> Result<reqwest::Client, Fault> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(patience.connect)
        // A peer that is gone without a word is found out, and the connection is not used again.
        .tcp_keepalive(Duration::from_secs(10))
        .tcp_user_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(super::MAX_REQUESTS)
        .dns_resolver(resolver.clone())
        .user_agent(concat!("sidekey/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| Fault::Address)
}

#[async_trait]
impl rustify::client::Client for Wire {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        let slow = Fault::Unreachable(Unreachable::Slow(Wait::Total));
        timeout(self.patience.total, self.exchange(request))
            .await
            .unwrap_or(Err(slow))
            .map_err(|fault| ClientError::ResponseError { source: fault.into() })
    }

    fn base(&self) -> &str {
        &self.origin
    }

    /// The library's own would put the body of a refusal into its error.
    async fn execute(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.send(request).await
    }
}
