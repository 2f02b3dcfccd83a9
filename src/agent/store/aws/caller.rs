//! A signed `GetCallerIdentity`, which is sent to nobody by us: a Vault sends it to STS and learns
//! who signed it.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_types::region::Region;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::error::{Fault, Login, Origin};
use super::{AwsError, AwsStore};
use crate::agent::config::AwsConfig;
use crate::secret::{DigestKey, StoreName};

/// What is asked of STS.
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The header that binds a request to one Vault, so that it is of no use at another.
const SERVER_ID: &str = "x-vault-aws-iam-server-id";

/// Whoever the platform says we are, for a Vault.
pub struct Caller {
    aws: AwsStore,
    region: String,
    server_id: Option<String>,
}

impl Caller {
    /// Opens the directories of the files. Nothing goes over the network.
    pub fn open(
        name: &StoreName,
        config: &AwsConfig,
        region: &str,
        server_id: Option<&str>,
        digest_key: std::rc::Rc<DigestKey>,
    ) -> Result<Caller, AwsError> {
        let aws = AwsStore::build(name, config, digest_key)?;
        let server_id = server_id.map(str::to_owned);
        Ok(Caller { aws, region: region.to_owned(), server_id })
    }

    /// The body of a login at the method `aws`, but for the role.
    pub async fn login(&self, now: Duration) -> Result<Map<String, Value>, AwsError> {
        let fail = |fault| self.aws.error(super::Action::Credentials, "", fault);
        let around = self.aws.around(Some(Region::new(self.region.clone())));
        self.aws.identity.ready(&around, now).await.map_err(fail)?;
        self.sign(SystemTime::now()).await.map_err(fail)
    }

    /// Forgets the credentials, so that the next login looks for others.
    pub fn forget(&self) {
        self.aws.identity.forget();
    }

    async fn sign(&self, at: SystemTime) -> Result<Map<String, Value>, Fault> {
        let bad = |origin| Fault::Login(Login::Broken { origin });
        let held = self.aws.identity.held().provide_credentials().await;
        let identity = held.map_err(|_| bad(Origin::Environment))?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sts")
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| Fault::Malformed)?;
        let host = host(&self.region);
        let url = format!("https://{host}/");
        let mut headers = vec![
            ("host", host.as_str()),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ];
        headers.extend(self.server_id.as_deref().map(|id| (SERVER_ID, id)));
        let body = SignableBody::Bytes(BODY.as_bytes());
        let request = SignableRequest::new("POST", &url, headers.iter().copied(), body)
            .map_err(|_| Fault::Malformed)?;
        let (instructions, _) =
            sign(request, &params.into()).map_err(|_| Fault::Malformed)?.into_parts();
        let mut sent = Map::new();
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            sent.insert(name.to_owned(), json!([value]));
        }
        let mut body = Map::new();
        body.insert("iam_http_request_method".into(), "POST".into());
        body.insert("iam_request_url".into(), STANDARD.encode(&url).into());
        body.insert("iam_request_body".into(), STANDARD.encode(BODY).into());
        let sent = STANDARD.encode(Value::Object(sent).to_string());
        body.insert("iam_request_headers".into(), sent.into());
        Ok(body)
    }
}

/// The host of a region's STS, as a Vault knows it.
fn host(region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("sts.{region}.amazonaws.com{end}")
}
