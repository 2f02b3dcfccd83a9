//! Two hundred real agents and one real OpenBao: they start at once, a secret changes, the store goes
//! away and comes back. `make rehearsal`; the numbers it prints are in benches/RESULTS.md.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::time::{Duration, Instant};

use agent::{Agent, Place};
use serde_json::json;
use support::{Bao, Kind};

const AGENTS: usize = 200;
/// How often each asks for each of its secrets.
const REFRESH: Duration = Duration::from_secs(5);
const OUTAGE: Duration = Duration::from_secs(15);
/// How long anything may take. Waits grow to a minute while a store is away.
const PATIENCE: Duration = Duration::from_secs(120);
const SECRETS: [&str; 3] = ["orders", "mail", "cache"];

/// What the agents did so far, by their own metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    requests: u64,
    failed: u64,
    delivered: u64,
}

/// Waits until all are so, and says how long that took.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
    begun.elapsed()
}

struct Fleet {
    places: Vec<Place>,
    agents: Vec<Agent>,
}

impl Fleet {
    /// Starts all of them, and waits for none.
    fn start(bao: &Bao) -> Fleet {
        let rules: [(&str, &[&str]); 2] =
            [("secret/data/*", &["read"]), ("secret/metadata/*", &["read"])];
        bao.policy("reader", &rules);
        let admin = bao.admin();
        admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
        let role = json!({ "token_policies": "reader", "token_ttl": "1h" });
        admin.post("auth/approle/role/pods", &role).good();
        let id = admin.get("auth/approle/role/pods/role-id").good().json();
        let places = (0..AGENTS).map(|_| {
            let place = Place::new();
            let secret = admin.post("auth/approle/role/pods/secret-id", &json!({})).good().json();
            place.write("role-id", id["data"]["role_id"].as_str().unwrap());
            place.write("secret-id", secret["data"]["secret_id"].as_str().unwrap());
            place.config(&config(bao));
            place
        });
        let places: Vec<Place> = places.collect();
        let start = |place: &Place| place.start_as(place.command(&["run", "--log-level", "warn"]));
        let agents = places.iter().map(start).collect();
        Fleet { places, agents }
    }

    fn all(&self, is_so: impl Fn(&Place) -> bool) -> bool {
        self.places.iter().all(is_so)
    }

    fn are_ready(&self) -> bool {
        self.all(|place| place.ready().is_some_and(|ready| ready["ready"] == json!(true)))
    }

    /// Whether the store has answered for every secret of every agent within this time.
    fn are_fresh(&self, within: Duration) -> bool {
        self.all(|place| {
            let ready = place.ready().unwrap();
            let fresh = |name| {
                let secret = &ready["secrets"][name];
                let age = secret["age_seconds"].as_f64();
                secret["ok"] == json!(true) && age.is_some_and(|age| age < within.as_secs_f64())
            };
            SECRETS.into_iter().all(fresh)
        })
    }

    fn deliver(&self, value: &str) -> bool {
        self.all(|place| SECRETS.iter().all(|name| place.text(name) == value))
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for metrics in self.places.iter().filter_map(|place| place.get("/metrics")) {
            for line in metrics.lines() {
                let (name, count) = line.rsplit_once(' ').unwrap_or_default();
                let count = count.parse().unwrap_or_default();
                if name.starts_with("sidekey_store_requests_total") {
                    sum.requests += count;
                    sum.failed += if name.contains("outcome=\"ok\"") { 0 } else { count };
                } else if name.starts_with("sidekey_rotations_total") {
                    sum.delivered += count;
                }
            }
        }
        sum
    }

    /// MiB that the agents have in memory, what they share counted once for each.
    fn memory(&self) -> u64 {
        let resident = |agent: &Agent| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        self.agents.iter().map(resident).sum::<u64>() / 1024
    }
}

fn config(bao: &Bao) -> String {
    let refresh = REFRESH.as_secs();
    let secret =
        |name| format!("  {name}: {{ from: \"vault:secret/data/{name}\", refresh: {refresh}s }}\n");
    let file = |name| format!("  {name}: {{ from: {name}.value }}\n");
    let (secrets, files) = (SECRETS.map(secret).concat(), SECRETS.map(file).concat());
    format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    \
         login: {{ approle: {{ role_id_file: DIR/role-id, secret_id_file: DIR/secret-id }} }}\n\
         secrets:\n{secrets}files:\n{files}",
        bao.address()
    )
}

/// Logins that are alive, besides the root token.
fn logins(bao: &Bao) -> usize {
    let list = bao.admin().ask("LIST", "auth/token/accessors", None).unwrap().json();
    list["data"]["keys"].as_array().unwrap().len() - 1
}

fn write(bao: &Bao, value: &str) {
    for name in SECRETS {
        bao.write(name, &json!({ "value": value }));
    }
}

#[test]
fn two_hundred_agents_start_rotate_and_outlive_an_outage_beside_one_store() {
    let mut bao = Bao::start(Kind::Disk);
    write(&bao, "one");

    let fleet = Fleet::start(&bao);
    let took = until("readiness of all", || fleet.are_ready());
    let started = fleet.sum();
    println!("start: all ready after {took:.1?}; {started:?}; {} MiB", fleet.memory());
    assert!(fleet.deliver("one"));
    assert_eq!(logins(&bao), AGENTS, "one login each");
    assert_eq!(started.failed, 0, "{started:?}");

    write(&bao, "two");
    let took = until("the change at all", || fleet.deliver("two"));
    let rotated = fleet.sum();
    println!("change: everywhere after {took:.1?}; {rotated:?}");
    assert_eq!(rotated.failed, 0, "{rotated:?}");
    let rotations = usize::try_from(rotated.delivered - started.delivered).unwrap();
    assert!((AGENTS..=AGENTS * SECRETS.len()).contains(&rotations), "{rotations} rotations");

    bao.stop();
    std::thread::sleep(OUTAGE);
    let away = fleet.sum();
    println!("outage of {OUTAGE:?}: {away:?}");
    // Waits that double from a quarter of a second: a handful each, and one of them for all secrets.
    let tries = away.failed - rotated.failed;
    assert!(tries > 0 && tries <= 20 * AGENTS as u64, "{tries} tries");
    assert!(fleet.deliver("two") && fleet.are_ready(), "an outage changes nothing");

    bao.start_again();
    let took = until("fresh answers for all", || fleet.are_fresh(REFRESH * 2));
    let back = fleet.sum();
    println!("return: all up to date after {took:.1?}; {back:?}");
    assert_eq!(logins(&bao), AGENTS, "nobody logged in anew");
    // Whoever found it sealed, or not there yet, asked once or twice more.
    assert!(back.failed - away.failed <= 3 * AGENTS as u64, "{away:?}, then {back:?}");
    write(&bao, "three");
    until("one more change at all", || fleet.deliver("three"));
    for agent in fleet.agents {
        assert_eq!(agent.stop(), Some(0));
    }
}
