//! What is made for a request, and what the store changes by itself: PKI, SSH, transit, static roles,
//! and a login by certificate, with the real binary and a real OpenBao.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "it runs the binary under test and its users' tools"
)]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::process::Command;

use agent::{Place, eventually, exits};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use support::{Authority, Bao, Database, Kind, Postgres};

/// A config whose store takes the root token from a file.
fn config(bao: &Bao, place: &Place, more: &str) {
    place.write("token", &bao.root);
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n{more}",
        bao.address()
    ));
}

/// A PKI whose role `orders` issues certificates for `orders.svc`.
fn pki(bao: &Bao) {
    let admin = bao.admin();
    admin.post("sys/mounts/pki", &json!({ "type": "pki" })).good();
    let root = json!({ "common_name": "the root", "ttl": "24h" });
    admin.post("pki/root/generate/internal", &root).good();
    let role = json!({
        "allowed_domains": "orders.svc", "allow_bare_domains": true, "key_type": "ec",
        "key_bits": 256, "not_before_duration": "1s",
    });
    admin.post("pki/roles/orders", &role).good();
}

fn certificates(bao: &Bao) -> usize {
    let list = bao.admin().ask("LIST", "pki/certs", None).unwrap().json();
    list["data"]["keys"].as_array().unwrap().len()
}

/// What `openssl` says of a file.
fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).output().expect("apt-get install openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_certificate_is_issued_once_for_all_starts_and_anew_by_its_own_dates() {
    let (bao, place) = (Bao::dev(), Place::new());
    pki(&bao);
    let secrets = "secrets:\n  tls: { from: \"vault:pki/issue/orders\", with: { common_name: orders.svc, ttl: TTL } }\n\
         files:\n  tls.pem: { from: [tls.private_key, tls.certificate, \"tls.ca_chain?\"] }\n";
    config(&bao, &place, &secrets.replace("TTL", "1h"));
    let before = certificates(&bao);
    exits(&place.sidekey(&["init"]), 0);
    let issued = place.text("tls.pem");
    assert_eq!(issued.matches("BEGIN CERTIFICATE").count(), 2, "{issued}");
    for _ in 0..3 {
        place.run().kill();
    }
    assert_eq!(place.text("tls.pem"), issued);
    assert_eq!(certificates(&bao) - before, 1, "one for init and three starts of run");

    // Another `ttl` is another certificate; this one is replaced at two thirds of its life.
    config(&bao, &place, &secrets.replace("TTL", "9s"));
    let agent = place.run();
    eventually("the short one", || place.text("tls.pem") != issued);
    let short = place.text("tls.pem");
    eventually("its successor", || place.text("tls.pem") != short);
    let path = place.path("volume/tls.pem").display().to_string();
    openssl(&["x509", "-in", &path, "-noout", "-checkend", "0"]);
    let ready = place.ready().unwrap();
    assert!(ready["secrets"]["tls"]["next"].as_f64().unwrap() > 0.0, "{ready}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_key_store_opens_with_its_password_and_a_restart_writes_the_same_bytes() {
    let (bao, place) = (Bao::dev(), Place::new());
    pki(&bao);
    bao.write("store", &json!({ "password": "changeit" }));
    config(
        &bao,
        &place,
        "secrets:\n  tls: { from: \"vault:pki/issue/orders\", with: { common_name: orders.svc, ttl: 1h } }\n  \
         store: { from: \"vault:secret/data/store\" }\n\
         files:\n  all.p12: { format: pkcs12, from: tls, password: store.password }\n",
    );
    let agent = place.run();
    let path = place.path("volume/all.p12").display().to_string();
    let text = openssl(&["pkcs12", "-nodes", "-in", &path, "-passin", "pass:changeit"]);
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "{text}");
    assert_eq!(text.matches("BEGIN PRIVATE KEY").count(), 1, "{text}");
    agent.kill();
    let agent = place.run();
    eventually("the secret is fine", || {
        place.ready().is_some_and(|ready| ready["secrets"]["store"]["ok"] == json!(true))
    });
    assert_eq!(place.generation().as_deref(), Some("1"), "the same content is the same file");
    bao.write("store", &json!({ "password": "another" }));
    let _ = agent;
}

#[test]
fn a_static_role_is_read_just_after_the_store_has_changed_it() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.static_role("orders", "6s");
    config(
        &bao,
        &place,
        "secrets:\n  db: { from: \"vault:database/static-creds/orders\", refresh: 1h }\n\
         files:\n  db: { from: [db.username, db.password] }\n  all.json: { format: json, from: db }\n",
    );
    let _agent = place.run();
    let works = || {
        let text = place.text("db");
        let (user, password) = text.trim().split_once('\n').unwrap();
        postgres.try_as(user, password, "SELECT number FROM orders").is_ok()
    };
    let first = place.text("db");
    eventually("the next password", || place.text("db") != first);
    eventually("it works", works);
    let second = place.text("db");
    eventually("the third", || place.text("db") != second);
    eventually("it works as well", works);
    // Its `ttl` counts down in each answer, and is no part of the secret.
    assert!(!place.text("all.json").contains("\"ttl\""));
    let log = place.log();
    let (moved, all) = (log.matches("\"moved\"").count(), log.matches("\"access\"").count());
    assert_eq!(moved.to_string(), place.generation().unwrap(), "{all} answers");
}

#[test]
fn transit_decrypts_what_stands_in_a_file_and_a_changed_file_is_a_change() {
    let (bao, place) = (Bao::dev(), Place::new());
    let admin = bao.admin();
    admin.post("sys/mounts/transit", &json!({ "type": "transit" })).good();
    admin.post("transit/keys/orders", &json!({})).good();
    let encrypt = |text: &str| {
        let plain = json!({ "plaintext": BASE64_STANDARD.encode(text) });
        let reply = admin.post("transit/encrypt/orders", &plain).good().json();
        place.write("seed.enc", reply["data"]["ciphertext"].as_str().unwrap().to_owned() + "\n");
    };
    encrypt("one");
    config(
        &bao,
        &place,
        "secrets:\n  seed: { from: \"vault:transit/decrypt/orders#plaintext\", with: { ciphertext_file: DIR/seed.enc }, refresh: 1h }\n\
         files:\n  seed: { from: seed, decode: base64 }\n",
    );
    let agent = place.run();
    assert_eq!(place.text("seed"), "one");
    encrypt("two");
    eventually("the changed file", || place.text("seed") == "two");
    agent.kill();
    let state = std::fs::read_to_string(place.path("state/state.json")).unwrap();
    assert!(!state.contains(&BASE64_STANDARD.encode("two")), "it is asked for again, not kept");
    std::fs::remove_file(place.path("seed.enc")).unwrap();
    let failed = exits(&place.sidekey(&["get", "seed"]), 75);
    assert!(failed.contains("seed.enc") && failed.contains("mount the file"), "{failed}");
}

#[test]
fn a_host_key_is_signed_and_signed_again_by_the_dates_in_it() {
    let (bao, place) = (Bao::dev(), Place::new());
    let admin = bao.admin();
    admin.post("sys/mounts/ssh", &json!({ "type": "ssh" })).good();
    admin.post("ssh/config/ca", &json!({ "generate_signing_key": true })).good();
    let role = json!({
        "key_type": "ca", "allow_host_certificates": true, "allowed_domains": "svc",
        "allow_subdomains": true, "ttl": "9s", "not_before_duration": "1s",
    });
    admin.post("ssh/roles/hosts", &role).good();
    // An ed25519 key, as `ssh-keygen` writes it.
    let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    key.extend([7; 32]);
    place.write("host.pub", format!("ssh-ed25519 {} orders\n", BASE64_STANDARD.encode(key)));
    config(
        &bao,
        &place,
        "secrets:\n  host: { from: \"vault:ssh/sign/hosts\", with: { cert_type: host, valid_principals: orders.svc, public_key_file: DIR/host.pub }, refresh: 1h }\n\
         files:\n  host-cert.pub: { from: host.signed_key }\n",
    );
    let _agent = place.run();
    let first = place.text("host-cert.pub");
    assert!(first.starts_with("ssh-ed25519-cert-v01@openssh.com "), "{first}");
    eventually("the next certificate", || place.text("host-cert.pub") != first);
}

#[test]
fn a_workload_logs_in_with_its_certificate() {
    let (servers, clients, place) =
        (Authority::new("servers"), Authority::new("clients"), Place::new());
    let certificate = servers.issue(&["localhost", "127.0.0.1"]);
    let bao = Bao::start(Kind::Tls { certificate, clients: Some(clients.pem()) });
    let admin = bao.admin();
    admin.post("sys/mounts/kv", &json!({ "type": "kv" })).good();
    admin.post("kv/app", &json!({ "key": "one" })).good();
    bao.policy("reader", &[("kv/*", &["read"])]);
    admin.post("sys/auth/cert", &json!({ "type": "cert" })).good();
    let role = json!({ "certificate": clients.pem(), "token_policies": "reader" });
    admin.post("auth/cert/certs/orders", &role).good();
    clients.issue_client("orders").write(&place.path("."), "orders");
    place.write("ca.pem", servers.pem());
    let config = |role: &str| {
        place.config(&format!(
            "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    ca_file: DIR/ca.pem\n    \
             login: {{ cert: {{ {role}cert_file: DIR/orders.pem, key_file: DIR/orders.key }} }}\n\
             secrets:\n  app: {{ from: \"vault:kv/app\" }}\nfiles:\n  key: {{ from: app.key }}\n",
            bao.tls_address()
        ));
    };
    config("role: orders, ");
    exits(&place.sidekey(&["init"]), 0);
    assert_eq!(place.text("key"), "one");
    config("");
    assert_eq!(place.sidekey(&["get", "app.key"]).stdout, b"one");
    config("role: strangers, ");
    let refused = exits(&place.sidekey(&["get", "app.key"]), 77);
    assert!(refused.contains("role `strangers`"), "{refused}");
}

#[test]
fn get_of_a_lease_warns_and_gives_it_back_unless_it_is_told_to_keep_it() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    config(&bao, &place, "secrets:\n  db: { from: \"vault:database/creds/orders\" }\n");
    let got = place.sidekey(&["get", "db.username"]);
    let said = exits(&got, 0);
    assert!(said.contains("comes with a lease") && said.contains("--keep-lease"), "{said}");
    assert!(got.stdout.starts_with(b"v-"));
    assert_eq!(postgres.users(), Vec::<String>::new());
    let got = place.sidekey(&["get", "db.username", "--keep-lease"]);
    let said = exits(&got, 0);
    assert!(said.contains("nobody renews it"), "{said}");
    assert_eq!(postgres.users(), [String::from_utf8(got.stdout).unwrap()]);
}

#[test]
fn init_alone_delivers_no_lease_unless_it_may_end() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    let stateless = |secret: &str| {
        config(
            &bao,
            &place,
            &format!(
                "secrets:\n  db: {{ from: \"vault:database/{secret} }}\nfiles:\n  db: {{ from: db.username }}\n"
            ),
        );
        let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("state:"));
        place.write("sidekey.yaml", lines.collect::<Vec<_>>().join("\n"));
    };
    stateless("creds/orders\"");
    let refused = exits(&place.sidekey(&["init"]), 78);
    assert!(refused.contains("`db`") && refused.contains("allow_expiry"), "{refused}");
    assert_eq!(postgres.users().len(), 0, "it was known before anything was asked for");
    // What was not known beforehand is given back.
    stateless("creds/orders\", lease: false");
    let refused = exits(&place.sidekey(&["init"]), 65);
    assert!(refused.contains("it is revoked"), "{refused}");
    assert_eq!((postgres.users().len(), place.generation()), (0, None));
    stateless("creds/orders\", allow_expiry: true");
    exits(&place.sidekey(&["init"]), 0);
    assert_eq!(postgres.users(), [place.text("db")]);
}

#[test]
fn check_live_asks_whether_a_lease_would_be_given_and_takes_out_none() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    config(
        &bao,
        &place,
        "secrets:\n  db: { from: \"vault:database/creds/orders\" }\nfiles:\n  db: { from: db.username }\n",
    );
    exits(&place.sidekey(&["check", "--live"]), 0);
    assert_eq!(postgres.users().len(), 0);
    bao.policy("other", &[("secret/*", &["read"])]);
    place.write("token", bao.token(&["other"], &json!({})));
    let refused = exits(&place.sidekey(&["check", "--live"]), 77);
    assert!(refused.contains("database/creds/orders") && refused.contains("grant"), "{refused}");
}
