//! How things stand: what `/ready` answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::reason::Reason;
use crate::agent::rotate::Timestamp;

/// How things stand. Moments, not ages: a reader asks later than the pipeline told.
#[derive(Clone, Debug)]
pub struct Status {
    /// Every required file is delivered, and the last rotation was not refused.
    pub ready: bool,
    /// The generation that was published last; 0 before the first.
    pub generation: u64,
    /// Which protections are in force.
    pub sandbox: Protections,
    /// What is not as it should be; some of it leaves the pod ready.
    pub reasons: Vec<Reason>,
    /// Each secret by its name in the config.
    pub secrets: BTreeMap<String, SecretStatus>,
}

/// Which protections of the process are in force.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Protections {
    /// Where secret bytes are kept: `secret`, `locked` or `plain`.
    pub memory: &'static str,
    /// Whether others can attach or dump.
    pub dumpable: bool,
    /// How far the process is locked in: `full`, `partial` or `none`.
    pub confinement: &'static str,
    /// The version of Landlock that is in force; 0 is none.
    pub landlock: u8,
    /// Whether the list of system calls is in force.
    pub seccomp: bool,
    /// What the self-test found possible that should not be.
    pub possible: Vec<&'static str>,
}

/// How one secret stands.
#[derive(Clone, Debug)]
pub struct SecretStatus {
    /// Whether there is a value and the last request went well.
    pub ok: bool,
    /// What is wrong.
    pub reason: Option<Reason>,
    /// Since when it has been wrong.
    pub since: Option<Timestamp>,
    /// When the store last confirmed it.
    pub answered: Option<Timestamp>,
    /// When its lease ends.
    pub lease_ends: Option<Timestamp>,
    /// When the store is asked next because of it.
    pub next: Option<Timestamp>,
    /// What for: `ask`, `renew` (its lease) or `replace`.
    pub next_step: Option<&'static str>,
}

/// The JSON of `/ready`, as the contract has it: ages in seconds.
#[derive(Serialize)]
struct View<'a> {
    ready: bool,
    generation: u64,
    sandbox: &'a Protections,
    reasons: Vec<&'static str>,
    secrets: BTreeMap<&'a str, SecretView>,
}

#[derive(Serialize)]
struct SecretView {
    ok: bool,
    reason: Option<&'static str>,
    since: Option<f64>,
    age_seconds: Option<f64>,
    lease_seconds: Option<f64>,
    next: Option<f64>,
    next_step: Option<&'static str>,
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

    /// The JSON of `/ready` at `now`.
    pub fn to_json(&self, now: Timestamp) -> String {
        let secrets = self.secrets.iter().map(|(name, secret)| (name.as_str(), secret.view(now)));
        let view = View {
            ready: self.ready,
            generation: self.generation,
            sandbox: &self.sandbox,
            reasons: self.reasons.iter().map(|reason| reason.word()).collect(),
            secrets: secrets.collect(),
        };
        serde_json::to_string(&view).unwrap_or_default()
    }
}

impl SecretStatus {
    /// Seconds since the store last confirmed it.
    pub fn age(&self, now: Timestamp) -> Option<f64> {
        self.answered.map(|answered| seconds(answered, now))
    }

    /// Seconds that its lease has left.
    pub fn lease(&self, now: Timestamp) -> Option<f64> {
        self.lease_ends.map(|ends| seconds(now, ends))
    }

    fn view(&self, now: Timestamp) -> SecretView {
        SecretView {
            ok: self.ok,
            reason: self.reason.map(Reason::word),
            since: self.since.map(|since| seconds(since, now)),
            age_seconds: self.age(now),
            lease_seconds: self.lease(now),
            next: self.next.map(|next| seconds(now, next)),
            next_step: self.next_step,
        }
    }
}

/// Seconds from one moment to a later one; 0 if it is not later.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.0.saturating_sub(from.0).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_json_has_the_fields_of_the_contract_and_ages_of_the_moment_it_is_read() {
        let at = |seconds| Some(Timestamp(Duration::from_secs(seconds)));
        let secret = SecretStatus {
            ok: false,
            reason: Some(Reason::StoreUnreachable),
            since: at(97),
            answered: at(90),
            lease_ends: None,
            next: at(101),
            next_step: Some("ask"),
        };
        let status =
            Status { secrets: BTreeMap::from([("db".to_owned(), secret)]), ..Status::starting() };
        assert_eq!(
            status.to_json(Timestamp(Duration::from_secs(100))),
            r#"{"ready":false,"generation":0,"sandbox":{"memory":"","dumpable":false,"confinement":"","landlock":0,"seccomp":false,"possible":[]},"reasons":["starting"],"secrets":{"db":{"ok":false,"reason":"store_unreachable","since":3.0,"age_seconds":10.0,"lease_seconds":null,"next":1.0,"next_step":"ask"}}}"#
        );
    }
}
