//! How long what was delivered stays, and what then: `when_down` and `on_delete`, with the real binary
//! and a real OpenBao.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use agent::{Place, eventually, untouched};
use serde_json::json;
use support::{Bao, Kind};

/// Two secrets and a file of each; `of_gone` is said of the one that will be deleted.
fn config(bao: &Bao, place: &Place, of_gone: &str, more: &str) {
    place.write("token", &bao.root);
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
         secrets:\n  gone: {{ from: \"vault:secret/data/gone\", refresh: 500ms{of_gone} }}\n  \
         other: {{ from: \"vault:secret/data/other\", refresh: 500ms }}\n\
         files:\n  gone: {{ from: gone.key }}\n  other: {{ from: other.key }}\n{more}",
        bao.address()
    ));
    bao.write("gone", &json!({ "key": "here" }));
    bao.write("other", &json!({ "key": "one" }));
}

fn is_ready(place: &Place) -> bool {
    place.ready().is_some_and(|ready| ready["ready"] == json!(true))
}

fn delete(bao: &Bao) {
    bao.admin().ask("DELETE", "secret/data/gone", None).unwrap();
}

#[test]
fn a_deleted_secret_takes_its_files_along_where_that_is_wished() {
    let (bao, place) = (Bao::dev(), Place::new());
    config(&bao, &place, ", on_delete: remove", "");
    let _agent = place.run();
    assert_eq!(place.text("gone"), "here");
    delete(&bao);
    eventually("the file goes", || place.delivered("gone").is_none());
    assert_eq!(place.text("other"), "one");
    assert!(!is_ready(&place) && place.says("secret_deleted"), "a required file is missing");
    bao.write("other", &json!({ "key": "two" }));
    eventually("the others go on", || place.text("other") == "two");
    bao.write("gone", &json!({ "key": "again" }));
    eventually("it comes back with the secret", || place.text("gone") == "again");
    eventually("all is well", || is_ready(&place));
}

#[test]
fn a_deleted_secret_makes_the_pod_unready_where_that_is_wished_and_its_file_stays() {
    let (bao, place) = (Bao::dev(), Place::new());
    config(&bao, &place, ", on_delete: fail", "");
    let _agent = place.run();
    let before = untouched(&place.path("volume/gone"));
    delete(&bao);
    eventually("it is not ready", || !is_ready(&place));
    assert!(place.says("secret_deleted"));
    assert_eq!(untouched(&place.path("volume/gone")), before);
    bao.write("gone", &json!({ "key": "again" }));
    eventually("all is well", || is_ready(&place) && place.text("gone") == "again");
}

#[test]
fn secrets_that_are_too_old_make_the_pod_unready_until_the_store_is_back() {
    let (mut bao, place) = (Bao::start(Kind::Disk), Place::new());
    config(&bao, &place, "", "when_down: { serve_stale_for: 3s, then: unready }\n");
    let _agent = place.run();
    assert!(is_ready(&place));
    let before = untouched(&place.path("volume/gone"));
    bao.stop();
    eventually("it is not ready", || !is_ready(&place));
    assert!(place.says("stale"));
    assert_eq!(untouched(&place.path("volume/gone")), before);
    bao.start_again();
    eventually("all is well", || is_ready(&place));
    assert!(!place.says("stale"));
}

#[test]
fn secrets_that_are_too_old_end_the_agent_where_that_is_wished() {
    let (mut bao, place) = (Bao::start(Kind::Disk), Place::new());
    config(&bao, &place, "", "when_down: { serve_stale_for: 2s, then: exit }\n");
    let agent = place.run();
    bao.stop();
    assert_eq!(agent.end(), Some(75));
    assert_eq!(place.text("gone"), "here", "the files stay");
    let log = place.log();
    assert!(log.contains("ended, because secrets are too old") && log.contains("`gone`"), "{log}");
}
