//! The metrics of the contract. Labels are names from the config and words from closed lists.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::agent::rotate::Timestamp;

use super::{Event, HookResult, Protections, RotationResult, Status};

type Labels = Vec<(&'static str, String)>;
type Seconds = Gauge<f64, AtomicU64>;

/// Every metric there is.
pub struct Metrics {
    registry: Registry,
    good: Family<Labels, Gauge>,
    age: Family<Labels, Seconds>,
    lease: Family<Labels, Seconds>,
    rotations: Family<Labels, Counter>,
    hooks: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
    ready: Gauge,
    sandbox: Family<Labels, Gauge>,
}

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        let metrics = (
            Family::<Labels, Gauge>::default(),
            Family::<Labels, Seconds>::default(),
            Family::<Labels, Seconds>::default(),
            Family::<Labels, Counter>::default(),
            Family::<Labels, Counter>::default(),
            Family::<Labels, Counter>::default(),
            Gauge::<i64>::default(),
            Family::<Labels, Gauge>::default(),
        );
        let (good, age, lease, rotations, hooks, requests, ready, sandbox) = metrics;
        registry.register(
            "sidekey_secret_ok",
            "Whether there is a value and the last request for it went well: 1 or 0",
            good.clone(),
        );
        registry.register(
            "sidekey_secret_age_seconds",
            "Seconds since the store last confirmed this secret",
            age.clone(),
        );
        registry.register(
            "sidekey_lease_remaining_seconds",
            "Seconds that the lease of this secret has left",
            lease.clone(),
        );
        registry.register("sidekey_rotations", "Rotations by what came of them", rotations.clone());
        registry.register("sidekey_hook", "Notices by what came of them", hooks.clone());
        registry.register(
            "sidekey_store_requests",
            "Requests to stores by what came of them",
            requests.clone(),
        );
        registry.register("sidekey_ready", "Whether the pod is ready: 1 or 0", ready.clone());
        registry.register(
            "sidekey_sandbox",
            "How the process is guarded: where secrets are kept, and how far it is locked in",
            sandbox.clone(),
        );
        let info = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        // The client adds `_info` to the name.
        registry.register("sidekey", "Which Sidekey this is", info);
        // From the start: what grows from nothing to 1 is no growth to who watches.
        for result in RotationResult::ALL {
            drop(rotations.get_or_create(&label("result", result.word())));
        }
        for result in HookResult::ALL {
            drop(hooks.get_or_create(&label("result", result.word())));
        }
        Metrics { registry, good, age, lease, rotations, hooks, requests, ready, sandbox }
    }

    /// Counts what an event says.
    pub(super) fn count(&self, event: &Event<'_>) {
        match event {
            Event::Asked { store, outcome } => {
                let labels = vec![("store", store.to_string()), ("outcome", (*outcome).to_owned())];
                self.requests.get_or_create(&labels).inc();
            }
            Event::Rotated { .. } => self.rotated(RotationResult::Done),
            Event::RotationRefused { .. } => self.rotated(RotationResult::Refused),
            Event::RolledBack { .. } => self.rotated(RotationResult::RolledBack),
            Event::HookTold { result, .. } => self.told(*result),
            _ => {}
        }
    }

    fn rotated(&self, result: RotationResult) {
        self.rotations.get_or_create(&label("result", result.word())).inc();
    }

    fn told(&self, result: HookResult) {
        self.hooks.get_or_create(&label("result", result.word())).inc();
    }

    /// Sets what a status says at `now`.
    fn set(&self, status: &Status, now: Timestamp) {
        self.ready.set(i64::from(status.ready));
        self.good.clear();
        self.guarded(&status.sandbox);
        self.age.clear();
        self.lease.clear();
        for (name, secret) in &status.secrets {
            self.good.get_or_create(&label("secret", name)).set(i64::from(secret.ok));
            if let Some(age) = secret.age(now) {
                self.age.get_or_create(&label("secret", name)).set(age);
            }
            if let Some(lease) = secret.lease(now) {
                self.lease.get_or_create(&label("secret", name)).set(lease);
            }
        }
    }

    /// Before the lock there is nothing to say.
    fn guarded(&self, sandbox: &Protections) {
        self.sandbox.clear();
        if !sandbox.confinement.is_empty() {
            let labels = vec![
                ("memory", sandbox.memory.to_owned()),
                ("confinement", sandbox.confinement.to_owned()),
            ];
            self.sandbox.get_or_create(&labels).set(1);
        }
    }

    /// The text that a scrape gets at `now` (`OpenMetrics`).
    pub fn text(&self, status: &Status, now: Timestamp) -> String {
        self.set(status, now);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::agent::observe::SecretStatus;
    use crate::agent::reason::Reason;
    use crate::secret::{FilePath, StoreName, VolumeName};

    fn at(seconds: u64) -> Timestamp {
        Timestamp(Duration::from_secs(seconds))
    }

    fn status(ready: bool) -> Status {
        let secret = SecretStatus {
            ok: true,
            reason: None,
            since: None,
            answered: Some(at(90)),
            lease_ends: Some(at(160)),
            next: None,
            next_step: None,
        };
        let secrets = BTreeMap::from([("db".to_owned(), secret)]);
        let sandbox =
            Protections { memory: "secret", confinement: "full", ..Protections::default() };
        Status { ready, sandbox, secrets, ..Status::starting() }
    }

    #[test]
    fn the_names_are_those_of_the_contract() {
        let metrics = Metrics::new();
        let store = StoreName::parse("vault").unwrap();
        let volume = VolumeName::parse("default").unwrap();
        let changed = [FilePath::parse("certs/tls.pem").unwrap()];
        for event in [
            Event::Asked { store: &store, outcome: "ok" },
            Event::Asked { store: &store, outcome: Reason::StoreSealed.word() },
            Event::Rotated { generation: 2, volume: &volume, changed: &changed, removed: &[] },
            Event::RotationRefused { group: "edge", reason: Reason::SecretEmpty },
            Event::RolledBack { refused: 2, generation: 3 },
            Event::HookTold { hook: 0, generation: 2, result: HookResult::Unconfirmed },
        ] {
            metrics.count(&event);
        }
        let text = metrics.text(&status(true), at(100));
        for line in [
            r#"sidekey_secret_ok{secret="db"} 1"#,
            r#"sidekey_secret_age_seconds{secret="db"} 10.0"#,
            r#"sidekey_lease_remaining_seconds{secret="db"} 60.0"#,
            r#"sidekey_rotations_total{result="done"} 1"#,
            r#"sidekey_rotations_total{result="refused"} 1"#,
            r#"sidekey_rotations_total{result="rolled_back"} 1"#,
            r#"sidekey_hook_total{result="unconfirmed"} 1"#,
            r#"sidekey_store_requests_total{store="vault",outcome="ok"} 1"#,
            r#"sidekey_store_requests_total{store="vault",outcome="store_sealed"} 1"#,
            "sidekey_ready 1",
            r#"sidekey_sandbox{memory="secret",confinement="full"} 1"#,
            concat!("sidekey_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "OpenMetrics has an end");
        assert!(!text.contains("tls.pem"), "labels are never paths");
    }

    #[test]
    fn what_may_come_is_counted_from_nothing() {
        let text = Metrics::new().text(&Status::starting(), at(100));
        for result in RotationResult::ALL.map(RotationResult::word) {
            assert!(text.contains(&format!("sidekey_rotations_total{{result=\"{result}\"}} 0\n")));
        }
        for result in HookResult::ALL.map(HookResult::word) {
            assert!(text.contains(&format!("sidekey_hook_total{{result=\"{result}\"}} 0\n")));
        }
    }

    #[test]
    fn a_secret_that_left_the_config_leaves_the_metrics() {
        let metrics = Metrics::new();
        assert!(metrics.text(&status(true), at(100)).contains("\"db\""));
        let text = metrics.text(&Status::starting(), at(100));
        assert!(!text.contains("\"db\""), "{text}");
        assert!(text.contains("sidekey_ready 0"));
    }
}
