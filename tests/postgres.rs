//! The database behind OpenBao, before anything of ours stands between: what the tests of leases
//! rely on.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Bao, Database, Postgres};

/// A user and a password, from an answer of the database engine.
fn pair(answer: &Value) -> (String, String) {
    let text = |name: &str| answer["data"][name].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(std::time::Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_user_lives_as_long_as_his_lease_and_takes_his_connections_along() {
    let (bao, postgres) = (Bao::dev(), Postgres::start());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    assert_eq!(database.leases("orders"), Vec::<String>::new());

    let answer = bao.admin().get("database/creds/orders").good().json();
    let (user, password) = pair(&answer);
    let lease = answer["lease_id"].as_str().unwrap();
    assert_eq!(postgres.users(), [user.as_str()]);
    assert_eq!(database.leases("orders"), [lease]);
    assert_eq!(postgres.try_as(&user, &password, "SELECT number FROM orders").unwrap(), "1");
    let wrong = postgres.try_as(&user, "wrong", "SELECT 1").unwrap_err();
    assert!(wrong.contains("authentication failed"), "{wrong}");

    let mut connection = postgres.connect(&user, &password);
    connection.proves_itself().unwrap();
    assert_eq!(postgres.connections(&user), 1);
    assert_eq!(connection.failure(), None);

    database.revoke(lease);
    assert_eq!(postgres.users(), Vec::<String>::new());
    assert_eq!(database.leases("orders"), Vec::<String>::new());
    until("the connection is cut", || connection.failure().is_some());
    let gone = postgres.try_as(&user, &password, "SELECT 1").unwrap_err();
    assert!(gone.contains("authentication failed"), "{gone}");
}

#[test]
fn the_end_of_a_lease_comes_by_itself() {
    let (bao, postgres) = (Bao::dev(), Postgres::start());
    let database = Database::between(&bao, &postgres);
    database.role("brief", "2s", "2s");
    let (user, password) = pair(&bao.admin().get("database/creds/brief").good().json());
    let mut connection = postgres.connect(&user, &password);
    connection.proves_itself().unwrap();
    until("the user is dropped", || postgres.users().is_empty());
    until("the connection is cut", || connection.failure().is_some());
}

#[test]
fn a_static_user_gets_a_new_password_in_each_period() {
    let (bao, postgres) = (Bao::dev(), Postgres::start());
    let database = Database::between(&bao, &postgres);
    database.static_role("steady", "5s");
    let read = || bao.admin().get("database/static-creds/steady").good().json();
    let (user, first) = pair(&read());
    assert_eq!(user, "steady");
    postgres.try_as(&user, &first, "SELECT number FROM orders").unwrap();
    until("the password is another", || pair(&read()).1 != first);
    postgres.try_as(&user, &pair(&read()).1, "SELECT number FROM orders").unwrap();
    postgres.try_as(&user, &first, "SELECT 1").unwrap_err();
}
