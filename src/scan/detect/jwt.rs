//! JSON Web Tokens: three parts, the first two of which say what it is and until when.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::class::Class;
use super::credible;
use super::matcher::{Found, Scene, View};
use super::rule::Rule;
use crate::scan::finding::{Confidence, Proof, Severity};

/// The longest token.
const LONGEST: usize = 8 << 10;

impl Scene<'_> {
    /// `at` is where the first part begins. Only those that name a Kubernetes service account, if
    /// so wanted.
    pub(super) fn jwt(
        &self,
        view: &View<'_>,
        rule: &Rule,
        number: u16,
        at: usize,
        kubernetes: bool,
    ) -> Option<Found> {
        let before = at.checked_sub(1).map(|i| view.data[i]);
        if before.is_some_and(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let rest = &view.data[at..view.data.len().min(at + LONGEST)];
        let length =
            rest.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)).count();
        let token = &rest[..length];
        let mut parts = token.split(|&b| b == b'.');
        let head = part(parts.next()?)?;
        let claims = part(parts.next()?)?;
        let signature = parts.next()?;
        head.get("alg")?.as_str()?;
        let length = at + token.len() - parts.map(|rest| rest.len() + 1).sum::<usize>();
        if is_published(&claims) || signature.len() < 20 || kubernetes != is_kubernetes(&claims) {
            return None;
        }
        let mut found = Found::new(view, rule, number, at..length);
        found.confidence = Confidence::Proved;
        found.proof.push(Proof::Structure);
        if claims.get("exp").and_then(Value::as_f64).is_some_and(|exp| exp < self.now()) {
            found.severity = Severity::Info;
            found.proof.push(Proof::Expired);
        }
        if self.class == Class::Doc || credible::is_for_show(self.path) {
            found.confidence = Confidence::Possible;
        }
        Some(found)
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
    fn now(&self) -> f64 {
        self.detector.now as f64
    }
}

fn part(text: &[u8]) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

/// The tokens of jwt.io and of the RFCs.
fn is_published(claims: &Value) -> bool {
    let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    is("sub", "1234567890")
        || is("name", "John Doe")
        || is("iss", "joe")
        || is("sub", "test")
        || claims.as_object().is_some_and(serde_json::Map::is_empty)
        || claims.get("iat").and_then(Value::as_u64) == Some(1_516_239_022)
        || claims.as_object().is_some_and(|claims| claims.len() == 1 && claims.contains_key("some"))
        || is("foo", "bar")
}

fn is_kubernetes(claims: &Value) -> bool {
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    issuer == "kubernetes/serviceaccount" || claims.get("kubernetes.io").is_some()
}
