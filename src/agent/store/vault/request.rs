//! How a request is dressed, and the few requests that `vaultrs` has no type for.

use http::{HeaderValue, Request, Uri};
use rustify::endpoint::{Endpoint, MiddleWare};
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use serde_json::{Value, json};

use crate::secret::SecretBytes;

/// Puts the API's prefix before the path, and the token and the namespace beside it.
pub(super) struct Dress<'a> {
    /// The address's own path, without a slash at the end.
    pub(super) base: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) token: Option<&'a SecretBytes>,
}

impl MiddleWare for Dress<'_> {
    fn request<E: Endpoint>(
        &self,
        _: &E,
        request: &mut Request<Vec<u8>>,
    ) -> Result<(), ClientError> {
        let mut parts = request.uri().clone().into_parts();
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
        let path = format!("{}/v1/{}", self.base, path.trim_start_matches('/'));
        parts.path_and_query =
            Some(path.parse().map_err(|source| ClientError::UrlBuildError { source })?);
        *request.uri_mut() = Uri::from_parts(parts)
            .map_err(|error| ClientError::GenericError { source: error.into() })?;
        let headers = request.headers_mut();
        // OpenBao's and Vault's proxies demand it, so that no browser can be made to ask.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = self.namespace {
            headers.insert("x-vault-namespace", header(namespace.as_bytes())?);
        }
        if let Some(token) = self.token {
            let mut token = header(token.expose())?;
            token.set_sensitive(true);
            headers.insert("x-vault-token", token);
        }
        if !request.body().is_empty() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(http::header::CONTENT_TYPE, json);
        }
        Ok(())
    }

    fn response<E: Endpoint>(
        &self,
        _: &E,
        _: &mut http::Response<Vec<u8>>,
    ) -> Result<(), ClientError> {
        Ok(())
    }
}

fn header(bytes: &[u8]) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_bytes(bytes)
        .map_err(|error| ClientError::GenericError { source: error.into() })
}

/// Any path, read.
pub(super) struct Read<'a> {
    pub(super) path: &'a str,
    pub(super) version: Option<u64>,
}

impl Endpoint for Read<'_> {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.to_owned()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(self.version.map(|version| format!("version={version}")))
    }
}

/// Any path, written. `vaultrs` has no type for these, or one that says less.
pub(super) struct Write {
    pub(super) path: String,
    pub(super) body: Value,
}

impl Write {
    /// What we may do with a path.
    pub(super) fn capabilities(path: &str) -> Write {
        Write { path: "sys/capabilities-self".into(), body: json!({ "paths": [path] }) }
    }

    /// What we may do with several paths.
    pub(super) fn all_capabilities(paths: &[String]) -> Write {
        Write { path: "sys/capabilities-self".into(), body: json!({ "paths": paths }) }
    }

    /// A login by the certificate of the TLS handshake.
    pub(super) fn certificate_login(mount: &str, role: Option<&str>) -> Write {
        let body = role.map_or_else(|| json!({}), |role| json!({ "name": role }));
        Write { path: format!("auth/{mount}/login"), body }
    }

    /// A login by a signed request to AWS, which the store sends.
    #[cfg(feature = "aws")]
    pub(super) fn aws_login(
        mount: &str,
        role: Option<String>,
        mut signed: serde_json::Map<String, Value>,
    ) -> Write {
        if let Some(role) = role {
            signed.insert("role".into(), role.into());
        }
        Write { path: format!("auth/{mount}/login"), body: signed.into() }
    }

    /// More time for a lease. Without an increment: as much as the store gives by itself.
    pub(super) fn renewal(lease: &str) -> Write {
        Write { path: "sys/leases/renew".into(), body: json!({ "lease_id": lease }) }
    }

    /// The end of a lease before its time; the answer comes when it is done.
    pub(super) fn revocation(lease: &str) -> Write {
        let body = json!({ "lease_id": lease, "sync": true });
        Write { path: "sys/leases/revoke".into(), body }
    }
}

impl Endpoint for Write {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::PUT
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(Some(self.body.to_string().into_bytes()))
    }
}
