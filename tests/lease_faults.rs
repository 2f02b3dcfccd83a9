//! What must not happen to leases and logins: lost, leaked, made anew for nothing, asked for in a
//! circle. With a real OpenBao and a real PostgreSQL behind it.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "it runs the binary under test"
)]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use agent::{Agent, Place, eventually, exits};
use serde_json::{Value, json};
use support::{Bao, Database, Postgres};

/// A policy for database credentials, as operators write it.
const ORDERS: [(&str, &[&str]); 2] =
    [("database/creds/*", &["read"]), ("sys/leases/revoke", &["update"])];

/// Servers, and a place for the agent.
struct Stage {
    bao: Bao,
    postgres: Postgres,
    place: Place,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage { bao: Bao::dev(), postgres: Postgres::start(), place: Place::new() };
        Database::between(&stage.bao, &stage.postgres);
        stage.bao.policy("orders", &ORDERS);
        stage
    }

    /// A role for database credentials.
    fn role(&self, name: &str, ttl: &str) {
        Database { bao: &self.bao, postgres: &self.postgres }.role(name, ttl, "2h");
    }

    /// A login with tokens as `terms` say; gives what the config says of it.
    fn approle(&self, terms: &Value) -> &'static str {
        let admin = self.bao.admin();
        admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
        let mut role = json!({ "token_policies": "orders" });
        role.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        admin.post("auth/approle/role/orders", &role).good();
        let id = admin.get("auth/approle/role/orders/role-id").good().json();
        let secret = admin.post("auth/approle/role/orders/secret-id", &json!({})).good().json();
        self.place.write("role-id", id["data"]["role_id"].as_str().unwrap());
        self.place.write("secret-id", secret["data"]["secret_id"].as_str().unwrap());
        "approle: { role_id_file: DIR/role-id, secret_id_file: DIR/secret-id }"
    }

    /// A token from somebody else, in a file that changes at once.
    fn given(&self, policies: &[&str]) -> &'static str {
        let token = self.bao.token(policies, &json!({ "ttl": "1h" }));
        self.place.write("token.new", token);
        std::fs::rename(self.place.path("token.new"), self.place.path("token")).unwrap();
        "token: { file: DIR/token }"
    }

    fn config(&self, login: &str, rest: &str) {
        let address = self.bao.address();
        let head = "stores:\n  vault: { kind: vault, address: \"";
        self.place.config(&format!("{head}{address}\", login: {{ {login} }} }}\n{rest}"));
    }

    /// The user that is delivered.
    fn user(&self, file: &str) -> String {
        self.place.text(file).lines().next().unwrap_or_default().to_owned()
    }

    fn has(&self, user: &str) -> bool {
        self.postgres.users().iter().any(|other| other == user)
    }

    /// Logins of ours that are alive, besides the root token.
    fn logins(&self) -> usize {
        let list = self.bao.admin().ask("LIST", "auth/token/accessors", None).unwrap().json();
        list["data"]["keys"].as_array().unwrap().len() - 1
    }

    /// Lines of the log with these words.
    fn said(&self, words: &str) -> usize {
        self.place.log().lines().filter(|line| line.contains(words)).count()
    }

    /// How often a lease was renewed.
    fn renewed(&self) -> usize {
        let log = self.place.log();
        let renewed = |line: &&str| line.contains("\"renewed\"") && line.contains("\"secret\"");
        log.lines().filter(renewed).count()
    }

    /// Waits until the agent has asked for, or taken over, what it delivers.
    #[track_caller]
    fn settles(&self) {
        eventually("it is ready", || self.place.ready().is_some_and(|now| now["ready"] == true));
        std::thread::sleep(Duration::from_millis(1500));
    }
}

/// How often a process wakes up within 2 s by itself.
fn wakeups(agent: &Agent) -> u64 {
    let count = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
    };
    let before = count();
    std::thread::sleep(Duration::from_secs(2));
    count() - before
}

/// More than an agent with a few things to do wakes up in 2 s, and far less than in a circle.
const FEW: u64 = 200;

const DB: &str = "  db: { from: \"vault:database/creds/orders\" }\n";
const DB_FILE: &str = "  db: { from: [db.username, db.password] }\n";

#[test]
fn nobody_wakes_up_in_vain_while_the_store_is_away_at_the_start() {
    let place = Place::new();
    place.write("token", "t");
    let port = support::free_pair();
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"http://127.0.0.1:{port}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
         secrets:\n{DB}files:\n{DB_FILE}"
    ));
    let agent = place.start();
    eventually("a failure", || place.log().contains("store_unreachable"));
    std::thread::sleep(Duration::from_secs(2));
    let woken = wakeups(&agent);
    assert!(woken < FEW, "{woken}");
}

#[test]
fn a_lease_that_the_config_dropped_is_kept_alive_until_the_grace_is_over_and_asked_for_in_time() {
    let stage = Stage::new();
    stage.role("orders", "3s");
    stage.role("other", "1h");
    let login = stage.approle(&json!({ "token_ttl": "1h" }));
    let other = "  other: { from: \"vault:database/creds/other\" }\n";
    let other_file = "  other: { from: other.password }\nrevoke: { after: 1h }\n";
    stage.config(login, &format!("secrets:\n{DB}{other}files:\n{DB_FILE}{other_file}"));
    let agent = stage.place.run();
    let user = stage.user("db");
    stage.config(login, &format!("secrets:\n{other}files:\n{other_file}"));
    agent.signal(rustix::process::Signal::HUP);
    eventually("the file is gone", || stage.place.delivered("db").is_none());
    std::thread::sleep(Duration::from_secs(7));
    assert!(stage.has(&user), "the application may still use it");
    let renewed = stage.renewed();
    assert!((2..=8).contains(&renewed), "renewed {renewed} times");
}

#[test]
fn an_earlier_login_that_waits_for_the_grace_wakes_nobody_after_a_restart() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.approle(&json!({ "token_ttl": "12s", "token_type": "batch" }));
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}revoke: {{ after: 1h }}\n"));
    let agent = stage.place.run();
    let first = stage.user("db");
    eventually("another login and another user", || stage.user("db") != first);
    agent.kill();
    let agent = stage.place.run();
    stage.settles();
    let woken = wakeups(&agent);
    assert!(woken < FEW, "{woken}");
}

#[test]
fn a_lease_that_nothing_needs_goes_though_another_one_keeps_its_login() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    stage.role("other", "1h");
    let login = stage.approle(&json!({ "token_ttl": "28s", "token_type": "batch" }));
    let other = "  other: { from: \"vault:database/creds/other\" }\n";
    let other_file =
        "  other: { from: [other.username, other.password] }\nrevoke: { after: 500ms }\n";
    stage.config(login, &format!("secrets:\n{DB}{other}files:\n{DB_FILE}{other_file}"));
    let agent = stage.place.run();
    let (first, second) = (stage.user("db"), stage.user("other"));
    let rules: [(&str, &[&str]); 3] = [ORDERS[0], ORDERS[1], ("database/creds/other", &["deny"])];
    stage.bao.policy("orders", &rules);
    eventually("one of them is another user", || stage.user("db") != first);
    let woken = wakeups(&agent);
    assert!(woken < FEW, "{woken}");
    assert!(!stage.has(&first), "the old one is gone before its login is");
    assert!(stage.has(&second) && stage.user("other") == second, "it has no successor");
}

#[test]
fn with_a_token_that_was_given_restarts_make_no_second_user() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.given(&["orders"]);
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}"));
    exits(&stage.place.sidekey(&["init"]), 0);
    for _ in 0..3 {
        let agent = stage.place.run();
        stage.settles();
        agent.kill();
    }
    assert_eq!(stage.postgres.users().len(), 1);
}

#[test]
fn what_was_made_under_a_given_token_is_replaced_when_another_token_is_given() {
    let stage = Stage::new();
    stage.role("orders", "6s");
    let login = stage.given(&["orders"]);
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}revoke: {{ after: 500ms }}\n"));
    let agent = stage.place.run();
    let first = stage.user("db");
    // It may not read yet: the lease before is renewed, and that is no reason to stay with it.
    stage.bao.policy("later", &[("sys/leases/revoke", &["update"])]);
    stage.given(&["later"]);
    agent.signal(rustix::process::Signal::HUP);
    eventually("a refusal", || stage.said("permission_denied") > 0);
    let renewed = stage.renewed();
    eventually("a renewal", || stage.renewed() > renewed);
    assert_eq!(stage.user("db"), first);
    stage.bao.policy("later", &ORDERS);
    eventually("another user", || stage.user("db") != first);
    eventually("the first one is gone", || !stage.has(&first));
}

#[test]
fn a_lease_waits_for_the_confirmation_of_its_successor_over_restarts() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.given(&["orders"]);
    let hook = "on_change: [{ command: [/usr/bin/test, -e, DIR/confirmed], confirm: { exit: 0, within: 2s, retries: 0 } }]\n";
    stage.config(
        login,
        &format!("secrets:\n{DB}files:\n{DB_FILE}revoke: {{ after: 500ms }}\n{hook}"),
    );
    let agent = stage.place.run();
    let first = stage.user("db");
    stage.given(&["orders"]);
    agent.signal(rustix::process::Signal::HUP);
    eventually("nobody confirmed", || stage.place.says("unconfirmed"));
    agent.kill();
    let agent = stage.place.run();
    eventually("nobody confirmed again", || stage.place.says("unconfirmed"));
    std::thread::sleep(Duration::from_secs(3));
    assert!(stage.has(&first), "the application may still use it");
    agent.kill();
    stage.place.write("confirmed", "");
    let _agent = stage.place.run();
    eventually("the first one is gone", || !stage.has(&first));
    assert_eq!(stage.postgres.users().len(), 1);
}

#[test]
fn a_file_that_was_never_there_does_not_keep_other_leases_after_a_restart() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.given(&["orders"]);
    let optional = "  more: { from: \"vault:secret/data/none\", optional: true }\n";
    stage.config(
        login,
        &format!(
            "secrets:\n{DB}{optional}files:\n{DB_FILE}  more: {{ from: more.x }}\nrevoke: {{ after: 500ms }}\n"
        ),
    );
    stage.place.run().kill();
    let agent = stage.place.run();
    let first = stage.user("db");
    stage.settles();
    assert_eq!(stage.user("db"), first);
    stage.given(&["orders"]);
    agent.signal(rustix::process::Signal::HUP);
    eventually("another user", || stage.user("db") != first);
    eventually("the first one is gone", || !stage.has(&first));
}

#[test]
fn a_forbidden_secret_makes_no_credential_churn_though_the_role_has_no_default_policy() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.approle(&json!({ "token_ttl": "1h", "token_no_default_policy": true }));
    let forbidden = "  more: { from: \"vault:secret/data/none\", optional: true }\n";
    stage.config(
        login,
        &format!("secrets:\n{DB}{forbidden}files:\n{DB_FILE}  more: {{ from: more.x }}\n"),
    );
    let _agent = stage.place.run();
    let first = stage.user("db");
    eventually("it was refused again and again", || stage.said("access failed") >= 3);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stage.user("db"), first);
    assert_eq!(stage.postgres.users().len(), 1);
}

#[test]
fn what_a_config_does_not_use_any_more_is_given_back_after_a_restart() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.approle(&json!({ "token_ttl": "1h" }));
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}revoke: {{ after: 500ms }}\n"));
    stage.place.run().kill();
    assert_eq!((stage.postgres.users().len(), stage.logins()), (1, 1));
    // Nothing comes from there now.
    let local = |args: &[&str], input: &str| {
        let mut command = stage.place.command(&[&["local"], args].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    let path = |name: &str| stage.place.path(name).display().to_string();
    local(&["keygen", &path("key")], "");
    local(&["set", &path("secrets.age"), "a.x", "--key-file", &path("key")], "1");
    let dev = "  dev: { kind: local, file: DIR/secrets.age, key_file: DIR/key }\n";
    stage.config(
        login,
        &format!(
            "{dev}secrets:\n  a: {{ from: \"dev:a\" }}\nfiles:\n  a: {{ from: a.x }}\nrevoke: {{ after: 500ms }}\n"
        ),
    );
    let _agent = stage.place.start();
    eventually("the user is gone", || stage.postgres.users().is_empty());
    eventually("the login is gone", || stage.logins() == 0);
}

#[test]
fn an_init_that_fails_leaves_what_it_was_left() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.approle(&json!({ "token_ttl": "1h" }));
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}"));
    stage.place.run().kill();
    let user = stage.user("db");
    let more = "  more: { from: \"vault:secret/data/none\" }\n";
    stage.config(
        login,
        &format!("secrets:\n{DB}{more}files:\n{DB_FILE}  more: {{ from: more.x }}\n"),
    );
    exits(&stage.place.sidekey(&["init"]), 77);
    assert!(stage.has(&user) && stage.user("db") == user);
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}"));
    let _agent = stage.place.run();
    stage.settles();
    assert_eq!((stage.postgres.users(), stage.user("db")), (vec![user.clone()], user));
}

#[test]
fn what_is_not_asked_for_all_the_time_is_not_stale_for_that() {
    let (bao, place) = (Bao::dev(), Place::new());
    bao.write("app", &json!({ "x": "1" }));
    bao.admin().post("sys/mounts/pki", &json!({ "type": "pki" })).good();
    let ca = json!({ "common_name": "ca", "ttl": "48h" });
    bao.admin().post("pki/root/generate/internal", &ca).good();
    let role = json!({ "allow_any_name": true, "max_ttl": "24h" });
    bao.admin().post("pki/roles/orders", &role).good();
    place.write("token", &bao.root);
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
         secrets:\n  pinned: {{ from: \"vault:secret/data/app@1\" }}\n  none: {{ from: \"vault:secret/data/none\", optional: true }}\n  \
         tls: {{ from: \"vault:pki/issue/orders\", with: {{ common_name: orders.svc, ttl: 2h }} }}\n\
         files:\n  pinned: {{ from: pinned.x }}\n  none: {{ from: none.x }}\n  tls: {{ from: [tls.private_key, tls.certificate] }}\n\
         when_down: {{ serve_stale_for: 1s, then: exit }}\n",
        bao.address()
    ));
    for _ in 0..2 {
        let mut agent = place.run();
        std::thread::sleep(Duration::from_secs(3));
        assert!(agent.is_alive() && !place.says("stale"), "{:?}", place.ready());
        agent.kill();
    }
}

#[test]
fn a_store_that_nothing_came_from_until_now_needs_a_restart() {
    let (bao, place) = (Bao::dev(), Place::new());
    bao.write("app", &json!({ "x": "1" }));
    place.write("token", &bao.root);
    let config = |more: &str, file: &str| {
        let store = format!(
            "{{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}",
            bao.address()
        );
        place.config(&format!(
            "stores:\n  one: {store}\n  two: {store}\nsecrets:\n  a: {{ from: \"one:secret/data/app\" }}\n{more}\
             files:\n  a: {{ from: a.x }}\n{file}"
        ));
    };
    config("", "");
    let agent = place.run();
    config("  b: { from: \"two:secret/data/app\" }\n", "  b: { from: b.x }\n");
    agent.signal(rustix::process::Signal::HUP);
    eventually("it says so", || place.says("restart_needed"));
    assert!(place.ready().unwrap()["ready"].as_bool().unwrap());
    drop(agent);
    let _agent = place.run();
    eventually("both are there", || place.text("b") == "1");
}

#[test]
fn a_live_check_makes_nothing_whatever_the_path_looks_like() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    // It could not give anything back.
    stage.bao.policy("reader", &[("database/creds/*", &["read"])]);
    let login = stage.given(&["reader"]);
    let db = "  db: { from: \"vault:database/creds/orders\", lease: false }\n";
    stage.config(login, &format!("secrets:\n{db}files:\n{DB_FILE}"));
    exits(&stage.place.sidekey(&["check", "--live"]), 0);
    assert!(stage.postgres.users().is_empty());
    stage.bao.policy("reader", &[("database/creds/other", &["read"])]);
    exits(&stage.place.sidekey(&["check", "--live"]), 77);
}

#[test]
fn a_lease_of_which_nothing_was_printed_is_not_kept() {
    let stage = Stage::new();
    stage.role("orders", "1h");
    let login = stage.approle(&json!({ "token_ttl": "1h" }));
    stage.config(login, &format!("secrets:\n{DB}files:\n{DB_FILE}"));
    exits(&stage.place.sidekey(&["get", "--keep-lease", "db.no"]), 65);
    eventually("it is given back", || stage.postgres.users().is_empty() && stage.logins() == 0);
    exits(&stage.place.sidekey(&["get", "--keep-lease", "db.username"]), 0);
    assert_eq!((stage.postgres.users().len(), stage.logins()), (1, 1));
}
