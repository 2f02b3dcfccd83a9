//! Time that passes while nobody looks: a real agent that is stopped for longer than its lease and
//! its login live, and one that is started again on a boot-time clock that has jumped. A real OpenBao
//! with a real PostgreSQL behind it.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::time::Duration;

use agent::{Place, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Bao, Database, Postgres};

/// A login whose tokens live so long, and a config with one leased user.
fn leased(bao: &Bao, place: &Place, token_ttl: &str) {
    let rules: [(&str, &[&str]); 1] = [("database/creds/orders", &["read"])];
    bao.policy("orders", &rules);
    let admin = bao.admin();
    admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
    let role = json!({ "token_policies": "orders", "token_ttl": token_ttl });
    admin.post("auth/approle/role/orders", &role).good();
    let id = admin.get("auth/approle/role/orders/role-id").good().json();
    let secret = admin.post("auth/approle/role/orders/secret-id", &json!({})).good().json();
    place.write("role-id", id["data"]["role_id"].as_str().unwrap());
    place.write("secret-id", secret["data"]["secret_id"].as_str().unwrap());
    place.config(&format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    \
         login: {{ approle: {{ role_id_file: DIR/role-id, secret_id_file: DIR/secret-id }} }}\n\
         secrets:\n  db: {{ from: \"vault:database/creds/orders\" }}\n\
         files:\n  db: {{ from: [db.username, db.password] }}\n",
        bao.address()
    ));
}

fn user(place: &Place) -> String {
    place.text("db").lines().next().unwrap_or_default().to_owned()
}

/// Whether the delivered user can work.
fn works(place: &Place, postgres: &Postgres) -> bool {
    let text = place.text("db");
    let (user, password) = text.trim().split_once('\n').unwrap();
    postgres.connect(user, password).proves_itself().is_ok()
}

/// Requests of the agent to its store so far, and how many of them failed.
fn requests(place: &Place) -> (u64, u64) {
    let metrics = place.get("/metrics").unwrap();
    let counted = metrics.lines().filter(|line| line.starts_with("sidekey_store_requests_total"));
    let counts = counted.map(|line| {
        let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        (count, if line.contains("outcome=\"ok\"") { 0 } else { count })
    });
    counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
}

fn is_fine(place: &Place) -> bool {
    place.ready().is_some_and(|ready: Value| ready["secrets"]["db"]["ok"] == json!(true))
}

/// An agent that is stopped until its lease, and a token of such a life, are over.
fn stopped_for_longer_than_a_lease(token_ttl: &str) {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    Database::between(&bao, &postgres).role("orders", "4s", "1h");
    leased(&bao, &place, token_ttl);
    let agent = place.run();
    let (first, before) = (user(&place), requests(&place));
    assert!(works(&place, &postgres));
    agent.signal(Signal::STOP);
    eventually("the end of the lease", || postgres.users().is_empty());
    std::thread::sleep(Duration::from_secs(1));
    agent.signal(Signal::CONT);
    eventually("another user", || user(&place) != first);
    eventually("readiness", || is_fine(&place));
    assert!(works(&place, &postgres));
    assert_eq!(place.generation().as_deref(), Some("2"));
    assert_eq!(postgres.users().len(), 1);
    let (asked, failed) = requests(&place);
    // A login if it is over, a lease, and the end of the login before.
    assert!(asked - before.0 <= 3 && failed == 0, "{before:?}, then {asked} and {failed}");
}

// 42.
#[test]
fn a_process_that_was_stopped_for_longer_than_its_lease_gets_one_new_lease() {
    stopped_for_longer_than_a_lease("1h");
}

// 42.
#[test]
fn a_process_that_was_stopped_for_longer_than_its_login_gets_one_new_login_and_lease() {
    stopped_for_longer_than_a_lease("4s");
}

/// A boot-time clock that has jumped. The kernel lets nobody set the clock of a process that runs, so
/// the jump is between two of them: what is recorded is from the one, the clock is the other's.
#[cfg(feature = "e2e")]
mod jump {
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use agent::SIDEKEY;

    use super::*;

    const NEEDS: &str =
        "time namespaces need root and util-linux: be root, apt-get install util-linux";

    const RUN: [&str; 5] = ["run", "--log-format", "json", "--log-level", "trace"];

    /// A time namespace, as long as this lives.
    struct Clock {
        holder: Child,
        namespace: PathBuf,
    }

    impl Clock {
        /// One whose boot-time clock is so many seconds ahead.
        fn ahead(seconds: i64) -> Clock {
            let offset = seconds.to_string();
            let mut holder = Command::new("unshare")
                .args(["--time", "--boottime", &offset, "--fork", "--kill-child", "sleep", "600"])
                .stdin(Stdio::null())
                .spawn()
                .expect(NEEDS);
            let pid = holder.id();
            let children = format!("/proc/{pid}/task/{pid}/children");
            let mut child = String::new();
            eventually("a process in the time namespace", || {
                assert!(holder.try_wait().unwrap().is_none(), "{NEEDS}");
                child = std::fs::read_to_string(&children).unwrap_or_default();
                !child.is_empty()
            });
            Clock { namespace: PathBuf::from(format!("/proc/{}/ns/time", child.trim())), holder }
        }

        /// `sidekey` by this clock.
        fn command(&self, place: &Place, args: &[&str]) -> Command {
            let plain = place.command(args);
            let mut command = Command::new("nsenter");
            command.arg(format!("--time={}", self.namespace.display())).arg(SIDEKEY).args(args);
            for (name, value) in plain.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command
        }
    }

    impl Drop for Clock {
        fn drop(&mut self) {
            let _ = self.holder.kill();
            let _ = self.holder.wait();
        }
    }

    // 41, 42.
    #[test]
    fn a_clock_far_ahead_changes_nothing_for_an_agent_that_lives_by_it() {
        let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
        Database::between(&bao, &postgres).role("orders", "3s", "1h");
        leased(&bao, &place, "1h");
        let clock = Clock::ahead(20 * 365 * 24 * 3600);
        let agent = place.run_as(clock.command(&place, &RUN));
        let first = user(&place);
        std::thread::sleep(Duration::from_secs(8));
        assert_eq!((user(&place), place.generation()), (first, Some("1".into())), "renewed");
        assert!(works(&place, &postgres) && is_fine(&place));
        assert_eq!(agent.stop(), Some(0));
    }

    // 42.
    #[test]
    fn what_ended_while_the_machine_slept_is_known_to_be_over_and_asked_for_once() {
        let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
        Database::between(&bao, &postgres).role("orders", "1h", "2h");
        leased(&bao, &place, "2h");
        let agent = place.run();
        let first = user(&place);
        assert_eq!(agent.stop(), Some(0));
        // Within the lease: it goes on, renewed or not.
        let clock = Clock::ahead(3600 / 2);
        let agent = place.run_as(clock.command(&place, &RUN));
        eventually("readiness", || is_fine(&place));
        assert_eq!((user(&place), place.generation()), (first.clone(), Some("1".into())));
        assert_eq!(agent.stop(), Some(0));
        // Past its end, by the clock; past the end of the login in the second round.
        for (hours, generation) in [(2, "2"), (24, "3")] {
            let (before, clock) = (user(&place), Clock::ahead(hours * 3600));
            let agent = place.run_as(clock.command(&place, &RUN));
            eventually("another user", || user(&place) != before);
            eventually("readiness", || is_fine(&place));
            assert!(works(&place, &postgres), "after {hours} hours");
            assert_eq!(place.generation().as_deref(), Some(generation), "after {hours} hours");
            assert_eq!(agent.stop(), Some(0));
        }
        // Each was asked for once, and what is over by our clock went with its login.
        eventually("the old ones are gone", || postgres.users().len() == 1);
    }
}
