//! The SDK's requests over the agent's own HTTP client: one TLS stack, no proxy, no redirect, and
//! an answer that is bounded while it is read.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use reqwest::Url;
use tokio::time::timeout;

use crate::agent::store::net::{Trouble, Unreachable, Wait, classify};

/// Bytes of one answer. Twenty secrets of the largest size, as one answer may hold, are below.
pub(super) const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Until the head of an answer is there, the connection included.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// Who asks for a connection within this time asks something on the same machine.
const NEAR: Duration = Duration::from_secs(1);

/// The agent's client, as the SDK wants one.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    /// For the services.
    pub far: reqwest::Client,
    /// For what gives credentials on the same machine, with a short time for the connection.
    pub near: reqwest::Client,
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let first_byte = settings.read_timeout().unwrap_or(FIRST_BYTE);
        let is_near = settings.connect_timeout().is_some_and(|connect| connect <= NEAR);
        let client = if is_near { &self.near } else { &self.far };
        SharedHttpConnector::new(Connector { client: client.clone(), first_byte })
    }
}

#[derive(Debug)]
struct Connector {
    client: reqwest::Client,
    first_byte: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, first_byte) = (self.client.clone(), self.first_byte);
        HttpConnectorFuture::new(async move {
            exchange(&client, request, first_byte).await.map_err(|failure| match failure {
                Failure::Trouble(trouble) => match trouble {
                    Trouble::Unreachable(Unreachable::Slow(_)) => {
                        ConnectorError::timeout(trouble.into())
                    }
                    trouble => ConnectorError::io(trouble.into()),
                },
                Failure::TooLarge => ConnectorError::user(TooLarge.into()),
                Failure::Request => ConnectorError::user("not a request".into()),
            })
        })
    }
}

/// The answer is larger than [`MAX_ANSWER`].
#[derive(Debug, thiserror::Error)]
#[error("the answer is too large")]
pub(super) struct TooLarge;

enum Failure {
    Trouble(Trouble),
    TooLarge,
    Request,
}

async fn exchange(
    client: &reqwest::Client,
    mut request: HttpRequest,
    first_byte: Duration,
) -> Result<HttpResponse, Failure> {
    let body = request.take_body();
    let request = request.try_into_http1x().map_err(|_| Failure::Request)?;
    let url = Url::parse(&request.uri().to_string()).map_err(|_| Failure::Request)?;
    let mut sent = reqwest::Request::new(request.method().clone(), url);
    *sent.headers_mut() = request.headers().clone();
    if let Some(bytes) = body.bytes().filter(|bytes| !bytes.is_empty()) {
        *sent.body_mut() = Some(bytes.to_vec().into());
    }
    let slow = Trouble::Unreachable(Unreachable::Slow(Wait::FirstByte));
    let mut answer = timeout(first_byte, client.execute(sent))
        .await
        .map_err(|_| Failure::Trouble(slow))?
        .map_err(|error| Failure::Trouble(classify(&error)))?;
    let mut body = Vec::with_capacity(
        usize::try_from(answer.content_length().unwrap_or(0)).unwrap_or(0).min(MAX_ANSWER),
    );
    while let Some(chunk) =
        answer.chunk().await.map_err(|error| Failure::Trouble(in_the_body(classify(&error))))?
    {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let status = StatusCode::try_from(answer.status().as_u16()).map_err(|_| Failure::Request)?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in answer.headers() {
        if let Ok(value) = value.to_str() {
            response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

fn in_the_body(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Unreachable(Unreachable::Cut | Unreachable::Other | Unreachable::NotHttp) => {
            Trouble::Unreachable(Unreachable::CutInBody)
        }
        trouble => trouble,
    }
}
