//! What an answer says: pure functions from a status, two headers and a body to facts. Bodies end
//! here; what leaves is a value or a [`Fault`].

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::error::{Absence, Fault, Malformed};
use super::rhythm;
use crate::agent::config::Engine;
use crate::agent::store::{Granted, Rhythm};
use crate::secret::{JsonError, SecretBytes, SecretValue};

/// Bytes that one value may have: 1 MiB of binary, once it is base64 as JSON demands.
pub(super) const MAX_VALUE: usize = (1024 * 1024_usize).div_ceil(3) * 4;

/// Bounds of what `Retry-After` may ask for (catalogue row 5).
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];

/// An answer as it came.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    /// `Retry-After` and `Date` as they came.
    pub(super) retry_after: Option<String>,
    pub(super) date: Option<String>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// The envelope of every answer. Unknown keys are let through; a key that comes twice is not.
#[derive(Deserialize, Default)]
struct Envelope<'a> {
    request_id: Option<String>,
    lease_id: Option<String>,
    lease_duration: Option<serde_json::Number>,
    renewable: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    auth: Option<Auth>,
    warnings: Option<Vec<String>>,
    errors: Option<Vec<String>>,
}

/// What a login brings.
#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    client_token: String,
    lease_duration: Option<serde_json::Number>,
    #[serde(default)]
    renewable: bool,
}

/// The shape of KV 2: exactly these two keys, and this metadata.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kv2<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Kv2Metadata,
}

#[derive(Deserialize)]
struct Kv2Metadata {
    version: u64,
    deletion_time: String,
    destroyed: bool,
    #[serde(rename = "created_time")]
    _created_time: String,
}

/// A secret as it was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: SecretValue,
    /// The version, where the engine counts them.
    pub(super) version: Option<u64>,
    /// The lease's name, where there is one.
    pub(super) lease: Option<SecretBytes>,
    /// What the lease was granted.
    pub(super) granted: Granted,
    /// What makes it change.
    pub(super) rhythm: Rhythm,
}

/// A fresh login.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) token: SecretBytes,
    pub(super) ttl: Option<Duration>,
    pub(super) renewable: bool,
}

impl Envelope<'_> {
    fn granted(&self) -> Granted {
        let span = self.lease_duration.as_ref().and_then(seconds);
        Granted { span, renewable: self.renewable.unwrap_or_default() }
    }
}

impl Reply {
    fn envelope(&self) -> Result<Envelope<'_>, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| json(&error))
    }

    /// The secret in an answer with a good status.
    pub(super) fn found(&self, engine: Option<Engine>) -> Result<Found, Fault> {
        if let Some(value) = self.certificate()? {
            let granted = Granted { span: None, renewable: false };
            return Ok(Found {
                value,
                version: None,
                lease: None,
                granted,
                rhythm: Rhythm::Unknown,
            });
        }
        let envelope = self.envelope()?;
        let granted = envelope.granted();
        let lease = envelope.lease_id.filter(|id| !id.is_empty()).map(SecretBytes::from);
        let enveloped = envelope.request_id.is_some();
        let (raw, version) = match (envelope.data, engine) {
            (Some(data), engine) => match kv2(data, engine)? {
                Some(Kv2 { data: Some(data), metadata }) => (data, Some(metadata.version)),
                Some(Kv2 { data: None, metadata }) => return Err(gone(&metadata)),
                None => (data, None),
            },
            (None, Some(Engine::Raw)) if !enveloped => {
                (serde_json::from_slice(&self.body).map_err(|error| json(&error))?, None)
            }
            (None, _) => return Err(Fault::Malformed(Malformed::NoData)),
        };
        let mut value = SecretValue::from_raw_json(raw)
            .map_err(|error| Fault::Malformed(Malformed::Json(error)))?;
        if largest(&value) > MAX_VALUE {
            return Err(Fault::TooLarge { limit: MAX_VALUE });
        }
        let rhythm = match version {
            Some(_) => Rhythm::Unknown,
            None => rhythm::of(&mut value),
        };
        Ok(Found { value, version, lease, granted, rhythm })
    }

    /// What a renewal of a lease (`auth: false`) or of a token brought.
    pub(super) fn granted(&self, auth: bool) -> Result<Granted, Fault> {
        let envelope = self.envelope()?;
        if !auth {
            return Ok(envelope.granted());
        }
        let auth = envelope.auth.ok_or(Fault::Malformed(Malformed::NoToken))?;
        let span = auth.lease_duration.as_ref().and_then(seconds);
        Ok(Granted { span, renewable: auth.renewable })
    }

    /// PKI hands certificates and lists of revoked ones out as they are. Nothing else without an
    /// envelope is taken for a secret: it could be the page of a proxy.
    fn certificate(&self) -> Result<Option<SecretValue>, Fault> {
        let kind = self.content_type.as_deref().unwrap_or("application/json");
        match kind.split(';').next().unwrap_or_default().trim() {
            "application/json" => Ok(None),
            "application/pem-certificate-chain"
            | "application/x-pem-file"
            | "application/pkix-cert"
            | "application/pkix-crl" => {
                Ok(Some(SecretValue::Text(SecretBytes::copy_of(&self.body))))
            }
            _ => Err(Fault::Malformed(Malformed::ContentType)),
        }
    }

    /// The token in the answer to a login.
    pub(super) fn login(&self) -> Result<Login, Fault> {
        let no_token = || Fault::Malformed(Malformed::NoToken);
        let auth = self.envelope()?.auth.ok_or_else(no_token)?;
        let token = SecretBytes::from(auth.client_token);
        if token.is_empty() || !token.expose().iter().all(u8::is_ascii_graphic) {
            return Err(no_token());
        }
        let ttl = auth.lease_duration.as_ref().and_then(seconds);
        Ok(Login { token, ttl, renewable: auth.renewable })
    }

    /// One text field of `data`.
    pub(super) fn text(&self, field: &str) -> Result<SecretBytes, Fault> {
        let no_data = || Fault::Malformed(Malformed::NoData);
        let data = self.envelope()?.data.ok_or_else(no_data)?;
        let value = SecretValue::from_raw_json(data)
            .map_err(|error| Fault::Malformed(Malformed::Json(error)))?;
        match value {
            SecretValue::Map(mut fields) => match fields.remove(field) {
                Some(SecretValue::Text(text)) if !text.is_empty() => Ok(text),
                _ => Err(no_data()),
            },
            _ => Err(no_data()),
        }
    }

    /// What we may do, by an answer of `sys/capabilities-self` about one path.
    pub(super) fn capabilities(&self) -> Result<Vec<String>, Fault> {
        #[derive(Deserialize)]
        struct Capabilities {
            capabilities: Vec<String>,
        }
        let no_data = || Fault::Malformed(Malformed::NoData);
        let data = self.envelope()?.data.ok_or_else(no_data)?;
        let capabilities: Capabilities = serde_json::from_str(data.get()).map_err(|e| json(&e))?;
        Ok(capabilities.capabilities)
    }

    /// The same about several paths, each by its name.
    pub(super) fn all_capabilities(&self) -> Result<BTreeMap<String, Vec<String>>, Fault> {
        let no_data = || Fault::Malformed(Malformed::NoData);
        let data = self.envelope()?.data.ok_or_else(no_data)?;
        serde_json::from_str(data.get()).map_err(|e| json(&e))
    }

    /// The newest version by an answer of `metadata/`, if it can surely be read.
    pub(super) fn current_version(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Metadata {
            current_version: u64,
            versions: BTreeMap<String, OneVersion>,
        }
        #[derive(Deserialize)]
        struct OneVersion {
            deletion_time: String,
            destroyed: bool,
        }
        let data = self.envelope().ok()?.data?;
        let metadata: Metadata = serde_json::from_str(data.get()).ok()?;
        let current = metadata.versions.get(&metadata.current_version.to_string())?;
        let readable = current.deletion_time.is_empty() && !current.destroyed;
        readable.then_some(metadata.current_version)
    }

    /// Where a KV 2 mount begins, by an answer of `sys/internal/ui/mounts/`.
    pub(super) fn kv2_mount(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Mount {
            path: String,
            options: Option<BTreeMap<String, String>>,
        }
        let data = self.envelope().ok()?.data?;
        let mount: Mount = serde_json::from_str(data.get()).ok()?;
        let versioned = mount.options?.get("version").is_some_and(|version| version == "2");
        versioned.then_some(mount.path)
    }

    /// The kind of engine at a path, by an answer of `sys/internal/ui/mounts/`.
    pub(super) fn engine_kind(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Mount {
            r#type: String,
        }
        let data = self.envelope().ok()?.data?;
        let mount: Mount = serde_json::from_str(data.get()).ok()?;
        Some(mount.r#type)
    }

    /// What a status that is no success means. `None`: 401 and 403, which the caller judges.
    pub(super) fn refusal(&self) -> Option<Fault> {
        let envelope = self.envelope().unwrap_or_default();
        let errors = envelope.errors.unwrap_or_default();
        let says = |words: &str| errors.iter().any(|error| error.contains(words));
        Some(match self.status {
            401 | 403 => return None,
            400 if self.body.windows(16).any(|words| words == b"an HTTPS server.") => {
                Fault::Tls(super::error::TlsFault::Plain)
            }
            404 => self.absence(),
            400 | 405 => Fault::NotReadable { status: self.status },
            412 => Fault::Lagging,
            429 => Fault::Throttled { status: 429, after: self.retry_after() },
            472 | 473 | 501 | 530 => Fault::NotActive { status: self.status },
            503 if says("sealed") => Fault::Sealed,
            503 if says("overload") || self.retry_after.is_some() => {
                Fault::Throttled { status: 503, after: self.retry_after() }
            }
            500..=599 => Fault::Failed { status: self.status },
            status => Fault::Malformed(Malformed::Status(status)),
        })
    }

    fn absence(&self) -> Fault {
        let envelope = self.envelope().unwrap_or_default();
        if let Some(data) = envelope.data
            && let Ok(Kv2 { metadata, .. }) = serde_json::from_str::<Kv2<'_>>(data.get())
        {
            return gone(&metadata);
        }
        let says = |list: Option<Vec<String>>, words: &[&str]| {
            let list = list.unwrap_or_default();
            list.iter().any(|text| words.iter().any(|words| text.contains(words)))
        };
        Fault::Absent(if says(envelope.warnings, &["versioned K/V"]) {
            Absence::NeedsData { meant: None }
        } else if says(envelope.errors, &["no handler for route", "namespace not found"]) {
            Absence::NoEngine
        } else {
            Absence::Never
        })
    }

    /// `Retry-After` within bounds: seconds, or a date against the server's own clock.
    fn retry_after(&self) -> Option<Duration> {
        let text = self.retry_after.as_deref()?.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let wanted = if digits {
            Duration::from_secs(text.parse().unwrap_or(u64::MAX))
        } else {
            let now = self.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok());
            let then = httpdate::parse_http_date(text).ok()?;
            then.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default()
        };
        Some(wanted.clamp(RETRY_AFTER[0], RETRY_AFTER[1]))
    }
}

/// Reads `data` as KV 2, if it has that shape and `engine` does not say otherwise.
fn kv2(data: &RawValue, engine: Option<Engine>) -> Result<Option<Kv2<'_>>, Fault> {
    match engine {
        Some(Engine::Kv1 | Engine::Raw) => Ok(None),
        Some(Engine::Kv2) => serde_json::from_str(data.get())
            .map(Some)
            .map_err(|_| Fault::Malformed(Malformed::NotKv2)),
        None => Ok(serde_json::from_str(data.get()).ok()),
    }
}

fn gone(metadata: &Kv2Metadata) -> Fault {
    let version = metadata.version;
    if metadata.destroyed {
        Fault::Absent(Absence::Destroyed { version })
    } else if metadata.deletion_time.is_empty() {
        Fault::Malformed(Malformed::NoData)
    } else {
        Fault::Deleted { version }
    }
}

/// The longest life that is believed, a hundred years in seconds: beyond it, sums with the clock
/// could overflow.
const LONGEST: u64 = 100 * 366 * 24 * 3600;

/// A duration in seconds; nothing, nonsense and what is below one second are no end at all
/// (catalogue row 43).
fn seconds(number: &serde_json::Number) -> Option<Duration> {
    let seconds = match number.as_i64() {
        Some(seconds) => u64::try_from(seconds).ok()?,
        None if number.as_f64()? >= 1.0 => number.as_u64().unwrap_or(u64::MAX),
        None => return None,
    };
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

/// Bytes of the largest leaf.
fn largest(value: &SecretValue) -> usize {
    match value {
        SecretValue::Null | SecretValue::Bool(_) => 0,
        SecretValue::Number(bytes) | SecretValue::Text(bytes) => bytes.len(),
        SecretValue::List(items) => items.iter().map(largest).max().unwrap_or(0),
        SecretValue::Map(fields) => fields.values().map(largest).max().unwrap_or(0),
    }
}

/// Keeps of an error where it happened; its text may quote the secret.
fn json(error: &serde_json::Error) -> Fault {
    let (line, column) = (error.line(), error.column());
    Fault::Malformed(Malformed::Json(JsonError::Syntax { line, column }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::FieldPath;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            content_type: None,
            retry_after: None,
            date: None,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    const META: &str = r#"{"created_time":"t","custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}"#;

    fn version(data: &str, engine: Option<Engine>) -> Result<Option<u64>, Fault> {
        let body = format!(r#"{{"request_id":"r","lease_id":"","data":{data}}}"#);
        reply(200, &body).found(engine).map(|found| found.version)
    }

    #[test]
    fn kv2_is_known_by_its_shape_alone() {
        let kv2 = format!(r#"{{"data":{{"a":1}},"metadata":{META}}}"#);
        assert_eq!(version(&kv2, None), Ok(Some(7)));
        assert_eq!(version(&kv2, Some(Engine::Kv2)), Ok(Some(7)));
        assert_eq!(version(&kv2, Some(Engine::Raw)), Ok(None));
        assert_eq!(version(&kv2, Some(Engine::Kv1)), Ok(None));
        for other in [
            format!(r#"{{"data":{{"a":1}},"metadata":{META},"more":1}}"#),
            r#"{"data":{"a":1},"metadata":{"version":7}}"#.into(),
            r#"{"a":1}"#.into(),
            r#"["a"]"#.into(),
        ] {
            assert_eq!(version(&other, None), Ok(None), "{other}");
            let not = Err(Fault::Malformed(Malformed::NotKv2));
            assert_eq!(version(&other, Some(Engine::Kv2)), not);
        }
    }

    // Catalogue 27.
    #[test]
    fn a_key_that_comes_twice_is_refused_wherever_it_is() {
        for body in [
            r#"{"request_id":"r","data":{"a":1},"data":{"a":2}}"#,
            r#"{"request_id":"r","data":{"a":1,"a":2}}"#,
            r#"{"request_id":"r","data":{"deep":[{"a":1,"a":2}]}}"#,
            &format!(r#"{{"data":{{"data":{{"a":1}},"data":{{"a":2}},"metadata":{META}}}}}"#),
            &format!(r#"{{"data":{{"data":{{"a":1,"a":2}},"metadata":{META}}}}}"#),
        ] {
            let found = reply(200, body).found(None);
            assert!(matches!(found, Err(Fault::Malformed(Malformed::Json(_)))), "{body}");
        }
    }

    #[test]
    fn an_answer_without_an_envelope_is_taken_only_when_told() {
        let body = r#"{"keys":[{"kid":"1"}]}"#;
        let no_data = Fault::Malformed(Malformed::NoData);
        assert_eq!(reply(200, body).found(None).unwrap_err(), no_data);
        let found = reply(200, body).found(Some(Engine::Raw)).unwrap();
        assert_eq!(found.value.field_names(), ["keys"]);
        let empty = r#"{"request_id":"r","data":null}"#;
        assert_eq!(reply(200, empty).found(Some(Engine::Raw)).unwrap_err(), no_data);
    }

    #[test]
    fn the_page_of_a_proxy_is_no_secret() {
        let mut page = reply(200, "<html>sign in</html>");
        page.content_type = Some("text/html; charset=utf-8".into());
        assert_eq!(page.found(None).unwrap_err(), Fault::Malformed(Malformed::ContentType));
        page.content_type = Some("application/pem-certificate-chain".into());
        assert!(matches!(page.found(None).unwrap().value, SecretValue::Text(_)));
    }

    #[test]
    fn errors_keep_no_word_of_a_body() {
        let canary = ["hunter", "2"].concat();
        let body = format!(r#"{{"data":{{"password":"{canary}" oops}}}}"#);
        let fault = reply(200, &body).found(None).unwrap_err();
        assert!(!format!("{fault:?} {fault}").contains(&canary));
    }

    // Catalogue 18, 19.
    #[test]
    fn deleted_is_told_from_destroyed_and_from_never_there() {
        let with = |metadata: &str| {
            let metadata = META.replace(r#""deletion_time":"","destroyed":false"#, metadata);
            let body = format!(r#"{{"data":{{"data":null,"metadata":{metadata}}}}}"#);
            reply(404, &body).refusal().unwrap()
        };
        assert_eq!(
            with(r#""deletion_time":"2026-01-01T00:00:00Z","destroyed":false"#),
            Fault::Deleted { version: 7 }
        );
        assert_eq!(
            with(r#""deletion_time":"","destroyed":true"#),
            Fault::Absent(Absence::Destroyed { version: 7 })
        );
        for body in [r#"{"errors":[]}"#, "", "not json"] {
            assert_eq!(reply(404, body).refusal(), Some(Fault::Absent(Absence::Never)));
        }
    }

    // Catalogue 7, 8, 9.
    #[test]
    fn every_status_has_its_own_meaning() {
        let sealed = r#"{"errors":["Vault is sealed"]}"#;
        let busy = r#"{"errors":["overloaded, try again later"]}"#;
        for (status, body, fault) in [
            (403, "", None),
            (401, "", None),
            (412, "", Some(Fault::Lagging)),
            (429, "", Some(Fault::Throttled { status: 429, after: None })),
            (472, "", Some(Fault::NotActive { status: 472 })),
            (473, "", Some(Fault::NotActive { status: 473 })),
            (501, "", Some(Fault::NotActive { status: 501 })),
            (503, sealed, Some(Fault::Sealed)),
            (503, busy, Some(Fault::Throttled { status: 503, after: None })),
            (503, "", Some(Fault::Failed { status: 503 })),
            (500, "", Some(Fault::Failed { status: 500 })),
            (504, "", Some(Fault::Failed { status: 504 })),
            (405, "", Some(Fault::NotReadable { status: 405 })),
            (303, "", Some(Fault::Malformed(Malformed::Status(303)))),
        ] {
            assert_eq!(reply(status, body).refusal(), fault, "{status} {body}");
        }
    }

    // Catalogue 5.
    #[test]
    fn retry_after_is_read_in_either_form_and_bounded() {
        for (text, seconds) in [
            ("7", Some(7)),
            ("0", Some(1)),
            ("315360000", Some(300)),
            ("99999999999999999999", Some(300)),
            ("", None),
            ("-5", None),
            ("soon", None),
            ("Tue, 24 Nov 2026 08:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 07:00:00 GMT", Some(1)),
            ("Mon, 24 Nov 2036 08:00:00 GMT", Some(300)),
        ] {
            let mut reply = reply(429, "");
            reply.retry_after = Some(text.into());
            reply.date = Some("Tue, 24 Nov 2026 08:00:00 GMT".into());
            assert_eq!(reply.retry_after(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    // Catalogue 43.
    #[test]
    fn a_lease_duration_of_any_size_is_survived() {
        for (text, ttl) in [("0", None), ("-1", None), ("60", Some(60)), ("0.5", None)] {
            let body = format!(r#"{{"auth":{{"client_token":"t","lease_duration":{text}}}}}"#);
            let login = reply(200, &body).login().unwrap();
            assert_eq!(login.ttl, ttl.map(Duration::from_secs), "{text}");
        }
        for huge in ["9223372036854775807", "18446744073709551615", "1e300"] {
            let body = format!(r#"{{"auth":{{"client_token":"t","lease_duration":{huge}}}}}"#);
            let ttl = reply(200, &body).login().unwrap().ttl.unwrap();
            assert!(ttl.as_secs() > 50 * 365 * 24 * 3600, "{huge}");
        }
        assert_eq!(reply(200, r#"{"auth":{"client_token":"t"}}"#).login().unwrap().ttl, None);
    }

    // Catalogue 24.
    #[test]
    fn a_value_as_large_as_a_mebibyte_of_binary_passes_and_more_does_not() {
        for (len, fits) in [(MAX_VALUE, true), (MAX_VALUE + 1, false)] {
            let body = format!(r#"{{"data":{{"v":"{}"}}}}"#, "x".repeat(len));
            let found = reply(200, &body).found(None);
            assert_eq!(found.is_ok(), fits);
            if let Ok(found) = found {
                let field = FieldPath::Field("v".into());
                assert!(found.value.at(&field).is_some());
            }
        }
    }

    // 43.
    #[test]
    fn absurd_spans_of_a_lease_are_no_end_or_a_far_one() {
        let span = |duration: &str| {
            let body = format!(r#"{{"lease_id":"x"{duration},"renewable":true,"data":{{}}}}"#);
            reply(200, &body).granted(false).unwrap().span
        };
        for none in
            ["", r#","lease_duration":0"#, r#","lease_duration":-1"#, r#","lease_duration":0.4"#]
        {
            assert_eq!(span(none), None, "{none}");
        }
        let far = Some(Duration::from_secs(LONGEST));
        assert_eq!(span(r#","lease_duration":9223372036854775808"#), far);
        assert_eq!(span(r#","lease_duration":1e30"#), far);
        assert_eq!(span(r#","lease_duration":60"#), Some(Duration::from_secs(60)));
    }
}
