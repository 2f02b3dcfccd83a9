//! Leases over time, with a real OpenBao, a real PostgreSQL behind it, and an application that holds
//! a connection with the newest generation.

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

use std::time::{Duration, Instant};

use agent::{Place, eventually, exits};
use serde_json::{Value, json};
use support::{Bao, Connection, Database, Postgres};

/// A login whose tokens live as `terms` say, and what it needs in the place.
fn logs_in(bao: &Bao, place: &Place, terms: &Value) {
    let rules: [(&str, &[&str]); 2] =
        [("database/*", &["read"]), ("sys/leases/revoke", &["update"])];
    bao.policy("orders", &rules);
    let admin = bao.admin();
    admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
    let mut role = json!({ "token_policies": "orders" });
    role.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
    admin.post("auth/approle/role/orders", &role).good();
    let id = admin.get("auth/approle/role/orders/role-id").good().json();
    let secret = admin.post("auth/approle/role/orders/secret-id", &json!({})).good().json();
    place.write("role-id", id["data"]["role_id"].as_str().unwrap());
    place.write("secret-id", secret["data"]["secret_id"].as_str().unwrap());
}

fn config(bao: &Bao, place: &Place, more: &str) {
    place.config(&format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    login: {{ approle: {{ role_id_file: DIR/role-id, secret_id_file: DIR/secret-id }} }}\n\
         secrets:\n  db: {{ from: \"vault:database/creds/orders\" }}\nfiles:\n  db: {{ from: [db.username, db.password] }}\n{more}",
        bao.address()
    ));
}

/// Logins of ours that are alive, besides the root token.
fn logins(bao: &Bao) -> usize {
    let list = bao.admin().ask("LIST", "auth/token/accessors", None).unwrap().json();
    list["data"]["keys"].as_array().unwrap().len() - 1
}

/// An application that connects with what is delivered, and holds on to it until the next one works.
struct Orders<'a> {
    place: &'a Place,
    postgres: &'a Postgres,
    user: String,
    connection: Connection,
    generations: usize,
}

impl<'a> Orders<'a> {
    fn start(place: &'a Place, postgres: &'a Postgres) -> Orders<'a> {
        let (user, connection) = Orders::connect(place, postgres);
        Orders { place, postgres, user, connection, generations: 1 }
    }

    fn connect(place: &Place, postgres: &Postgres) -> (String, Connection) {
        let text = place.text("db");
        let (user, password) = text.trim().split_once('\n').unwrap();
        let mut connection = postgres.connect(user, password);
        connection.proves_itself().unwrap();
        (user.to_owned(), connection)
    }

    /// Looks once: no query may have failed, and what is new is used from now on.
    fn look(&mut self) {
        if let Some(failure) = self.connection.failure() {
            panic!("a query of generation {} failed: {failure}", self.generations);
        }
        if !self.place.text("db").starts_with(&self.user) {
            (self.user, self.connection) = Orders::connect(self.place, self.postgres);
            self.generations += 1;
        }
    }

    fn works_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_lease_is_renewed_then_replaced_and_no_query_ever_fails() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "4s", "10s");
    logs_in(&bao, &place, &json!({ "token_ttl": "1h" }));
    config(&bao, &place, "revoke: { after: 1s }\n");
    let agent = place.run();
    let mut orders = Orders::start(&place, &postgres);
    let first = orders.user.clone();
    orders.works_for(Duration::from_secs(5));
    assert_eq!(orders.user, first, "it was renewed over its first 4 s");
    orders.works_for(Duration::from_secs(17));
    assert!(orders.generations >= 3, "its 10 s were over at least twice: {}", orders.generations);
    assert!(postgres.users().len() <= 2, "the old ones are gone: {:?}", postgres.users());
    assert_eq!(logins(&bao), 1);
    let ready = place.ready().unwrap();
    assert!(ready["ready"].as_bool().unwrap(), "{ready}");
    assert!(ready["secrets"]["db"]["lease_seconds"].as_f64().unwrap() > 0.0, "{ready}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_pod_has_one_login_and_one_user_over_init_run_and_five_restarts() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    logs_in(&bao, &place, &json!({ "token_ttl": "1h" }));
    config(&bao, &place, "");
    exits(&place.sidekey(&["init"]), 0);
    let delivered = place.text("db");
    for round in 0..5 {
        let agent = place.run();
        eventually("the secret is fine", || {
            place.ready().is_some_and(|ready| ready["secrets"]["db"]["ok"] == json!(true))
        });
        if round % 2 == 0 { agent.kill() } else { assert_eq!(agent.stop(), Some(0)) }
    }
    assert_eq!(place.text("db"), delivered);
    assert_eq!(place.generation().as_deref(), Some("1"));
    assert_eq!(postgres.users().len(), 1);
    assert_eq!(logins(&bao), 1);
}

#[test]
fn a_token_at_its_end_is_replaced_with_everything_that_hangs_on_it() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    logs_in(&bao, &place, &json!({ "token_ttl": "4s", "token_max_ttl": "10s" }));
    config(&bao, &place, "revoke: { after: 1s }\n");
    let _agent = place.run();
    let mut orders = Orders::start(&place, &postgres);
    orders.works_for(Duration::from_secs(24));
    assert!(orders.generations >= 3, "{}", orders.generations);
    assert!(postgres.users().len() <= 2, "{:?}", postgres.users());
    assert!(logins(&bao) <= 2);
}

#[test]
fn batch_tokens_are_replaced_in_time() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    logs_in(&bao, &place, &json!({ "token_ttl": "6s", "token_type": "batch" }));
    config(&bao, &place, "revoke: { after: 500ms }\n");
    let _agent = place.run();
    let mut orders = Orders::start(&place, &postgres);
    orders.works_for(Duration::from_secs(16));
    assert!(orders.generations >= 3, "{}", orders.generations);
}
