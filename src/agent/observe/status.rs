//! How things stand: what `/ready` answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::reason::Reason;

/// How things stand, for people, probes and dashboards.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Every required file is delivered, and the last rotation was not refused.
    pub ready: bool,
    /// The generation that was published last; 0 before the first.
    pub generation: u64,
    /// Which protections are in force.
    pub sandbox: Protections,
    /// What is not as it should be; some of it leaves the pod ready.
    #[serde(serialize_with = "words")]
    pub reasons: Vec<Reason>,
    /// Each secret by its name in the config.
    pub secrets: BTreeMap<String, SecretStatus>,
}

/// Which protections of the process are in force.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Protections {
    /// Where secret bytes are kept: `secret_memory`, `locked` or `plain`.
    pub memory: &'static str,
    /// Whether others can attach or dump.
    pub dumpable: bool,
    /// Landlock and seccomp: `none` in this version.
    pub confinement: &'static str,
}

/// How one secret stands.
#[derive(Clone, Debug, Serialize)]
pub struct SecretStatus {
    /// Whether there is a value and the last request went well.
    pub ok: bool,
    /// What is wrong.
    #[serde(serialize_with = "word")]
    pub reason: Option<Reason>,
    /// Seconds for which it has been wrong.
    pub since: Option<f64>,
    /// Seconds since the store last confirmed it.
    pub age_seconds: Option<f64>,
    /// Seconds that its lease has left.
    pub lease_seconds: Option<f64>,
    /// Seconds until it is asked for again.
    pub next: Option<f64>,
}

impl Status {
    /// Before the first generation.
    pub fn starting() -> Status {
        Status {
            ready: false,
            generation: 0,
            sandbox: Protections::default(),
            reasons: vec![Reason::Starting],
            secrets: BTreeMap::new(),
        }
    }

    /// The JSON of `/ready`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[expect(clippy::ptr_arg, reason = "serde hands over the field's type")]
fn words<S: serde::Serializer>(reasons: &Vec<Reason>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(reasons.iter().map(|reason| reason.word()))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "serde hands over the field's type"
)]
fn word<S: serde::Serializer>(reason: &Option<Reason>, to: S) -> Result<S::Ok, S::Error> {
    match reason {
        Some(reason) => to.serialize_str(reason.word()),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_fields_of_the_contract() {
        let secret = SecretStatus {
            ok: false,
            reason: Some(Reason::StoreUnreachable),
            since: Some(3.0),
            age_seconds: Some(9.5),
            lease_seconds: None,
            next: Some(1.0),
        };
        let status =
            Status { secrets: BTreeMap::from([("db".to_owned(), secret)]), ..Status::starting() };
        assert_eq!(
            status.to_json(),
            r#"{"ready":false,"generation":0,"sandbox":{"memory":"","dumpable":false,"confinement":""},"reasons":["starting"],"secrets":{"db":{"ok":false,"reason":"store_unreachable","since":3.0,"age_seconds":9.5,"lease_seconds":null,"next":1.0}}}"#
        );
    }
}
