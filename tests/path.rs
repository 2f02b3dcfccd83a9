//! The whole path with the real binary and a real OpenBao: what a user gets.

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

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::{Place, eventually, exits, untouched};
use serde_json::{Value, json};
use support::Bao;

/// A config's store, logging in with a token in a file.
fn store(bao: &Bao, place: &Place) -> String {
    place.write("token", bao.token(&["reader"], &json!({})));
    format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n",
        bao.address()
    )
}

fn reader(bao: &Bao) {
    bao.policy("reader", &[("secret/data/*", &["read"]), ("secret/metadata/*", &["read"])]);
}

/// A config with one secret `app` and one file `app.key` besides what is given.
fn simple(bao: &Bao, place: &Place, more: &str) {
    let config = format!(
        "{}secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\nfiles:\n  app.key: {{ from: app.key }}\n{more}",
        store(bao, place)
    );
    place.config(&config);
}

/// A dev server with `secret/data/app` = `{key: one}`.
fn bao() -> Bao {
    let bao = Bao::dev();
    reader(&bao);
    bao.write("app", &json!({ "key": "one" }));
    bao
}

/// An application that is told over HTTP: it answers with a status and remembers the generations.
struct Application {
    port: u16,
    told: Arc<Mutex<Vec<u64>>>,
    status: Arc<Mutex<u16>>,
}

impl Application {
    fn start(status: u16) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Application {
            port: listener.local_addr().unwrap().port(),
            told: Arc::default(),
            status: Arc::new(Mutex::new(status)),
        };
        let (told, status) = (Arc::clone(&app.told), Arc::clone(&app.status));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
                let header = request.lines().find_map(|l| l.strip_prefix("sidekey-generation: "));
                if let Some(generation) = header {
                    told.lock().unwrap().push(generation.trim().parse().unwrap());
                }
                let status = *status.lock().unwrap();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            }
        });
        app
    }

    fn hook(&self, confirm: &str) -> String {
        format!(
            "on_change:\n  - http: {{ url: \"http://127.0.0.1:{}/reload\" }}\n    confirm: {{ status: 200, within: 2s, {confirm} }}\n",
            self.port
        )
    }

    fn told(&self) -> Vec<u64> {
        self.told.lock().unwrap().clone()
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }
}

#[test]
fn init_delivers_once_with_tight_modes_in_the_layout_of_the_kubelet() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "  all.json: { format: json, from: app }\n");
    exits(&place.sidekey(&["init"]), 0);
    assert_eq!(place.text("app.key"), "one");
    assert_eq!(place.text("all.json"), r#"{"key":"one"}"#);
    assert_eq!(
        std::fs::read_link(place.path("volume/app.key")).unwrap().to_str(),
        Some("..data/app.key")
    );
    assert_eq!(place.generation().as_deref(), Some("1"));
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("volume/app.key"), mode("volume/..data/")), (0o440, 0o750));
    // The same again changes nothing.
    let before = untouched(&place.path("volume/app.key"));
    exits(&place.sidekey(&["init"]), 0);
    assert_eq!(untouched(&place.path("volume/app.key")), before);
    assert_eq!(place.generation().as_deref(), Some("1"));
}

#[test]
fn a_changed_secret_is_a_new_generation_and_the_application_is_told_once() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(200));
    simple(&bao, &place, &app.hook("otherwise: report"));
    let agent = place.run();
    assert_eq!(place.text("app.key"), "one");
    bao.write("app", &json!({ "key": "two" }));
    eventually("the second generation", || place.text("app.key") == "two");
    eventually("the notice", || app.told() == [2]);
    let metrics = place.get("/metrics").unwrap();
    for line in [
        "sidekey_rotations_total{result=\"done\"} 2",
        "sidekey_hook_total{result=\"confirmed\"} 1",
        "sidekey_ready 1",
        "sidekey_info{version=\"0.1.0\"} 1",
        "sidekey_secret_age_seconds{secret=\"app\"}",
        "sidekey_store_requests_total{store=\"vault\",outcome=\"ok\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let ready = place.ready().unwrap();
    assert_eq!((&ready["ready"], &ready["generation"]), (&json!(true), &json!(2)));
    assert_eq!(ready["secrets"]["app"]["ok"], json!(true));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_unchanged_fetch_touches_no_file_and_wakes_nobody() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(200));
    simple(&bao, &place, &app.hook("otherwise: report"));
    let _agent = place.run();
    let before = untouched(&place.path("volume/app.key"));
    // The same value again is a new version in the store, and still the same file.
    bao.write("app", &json!({ "key": "one" }));
    let asked = |place: &Place| place.log().matches("\"version\":\"2\"").count();
    eventually("a look at the new version", || asked(&place) > 2);
    assert_eq!(untouched(&place.path("volume/app.key")), before);
    assert_eq!((place.generation().as_deref(), app.told()), (Some("1"), vec![]));
}

#[test]
fn ten_changes_at_once_are_one_generation_and_one_notice() {
    let (bao, place, app) = (Bao::dev(), Place::new(), Application::start(200));
    reader(&bao);
    let mut config = store(&bao, &place) + "secrets:\n";
    let mut files = String::from("files:\n");
    for n in 0..10 {
        bao.write(&format!("s{n}"), &json!({ "v": "one" }));
        config += &format!("  s{n}: {{ from: \"vault:secret/data/s{n}\", refresh: 1s }}\n");
        files += &format!("  f{n}: {{ from: s{n}.v, group: together }}\n");
    }
    place.config(&(config + &files + &app.hook("otherwise: report")));
    let _agent = place.run();
    for n in 0..10 {
        bao.write(&format!("s{n}"), &json!({ "v": "two" }));
    }
    eventually("the last file", || place.text("f9") == "two");
    for n in 0..10 {
        assert_eq!(place.text(&format!("f{n}")), "two", "one group moves together");
    }
    eventually("the notice", || !app.told().is_empty());
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((place.generation().as_deref(), app.told()), (Some("2"), vec![2]));
}

#[test]
fn a_group_that_fails_for_ever_holds_up_nobody_else() {
    let (bao, place) = (bao(), Place::new());
    bao.write("other", &json!({ "user": "u", "password": "p1" }));
    let config = store(&bao, &place)
        + "secrets:\n  app: { from: \"vault:secret/data/app\", refresh: 500ms }\n  other: { from: \"vault:secret/data/other\", refresh: 500ms }\n\
           files:\n  app.key: { from: app.key }\n  login: { template: \"{{ other.user }}:{{ other.password }}\" }\n";
    place.config(&config);
    let _agent = place.run();
    bao.write("other", &json!({ "user": "u", "password": null }));
    eventually("the refusal", || place.says("field_missing"));
    assert_eq!(place.ready().unwrap()["ready"], json!(false), "the last rotation was refused");
    for value in ["two", "three"] {
        bao.write("app", &json!({ "key": value }));
        eventually("the other group", || place.text("app.key") == value);
        assert_eq!(place.text("login"), "u:p1", "the last good file is carried forward");
    }
    bao.write("other", &json!({ "user": "u", "password": "p2" }));
    eventually("the mended group", || place.text("login") == "u:p2");
    eventually("readiness", || place.ready().is_some_and(|r| r["ready"] == json!(true)));
}

#[test]
fn a_first_start_delivers_everything_required_or_nothing() {
    let (bao, place) = (bao(), Place::new());
    let config = store(&bao, &place)
        + "secrets:\n  app: { from: \"vault:secret/data/app\" }\n  gone: { from: \"vault:secret/data/gone\" }\n\
           files:\n  app.key: { from: app.key }\n  gone.key: { from: gone.key }\n";
    place.config(&config);
    let stderr = exits(&place.sidekey(&["init"]), 66);
    assert!(stderr.contains("secret/data/gone"), "{stderr}");
    assert_eq!(std::fs::read_dir(place.path("volume")).unwrap().count(), 0);

    place.config(&config.replace("secret/data/gone\" }", "secret/data/gone\", optional: true }"));
    exits(&place.sidekey(&["init"]), 0);
    assert_eq!(place.text("app.key"), "one");
    assert!(place.delivered("gone.key").is_none());
}

#[test]
fn an_optional_secret_that_comes_later_is_delivered_then() {
    let (bao, place) = (bao(), Place::new());
    let config = store(&bao, &place)
        + "secrets:\n  app: { from: \"vault:secret/data/app\" }\n  late: { from: \"vault:secret/data/late\", optional: true, refresh: 500ms }\n\
           files:\n  both: { from: [app.key, late.key?] }\n";
    place.config(&config);
    let _agent = place.run();
    assert_eq!(place.text("both"), "one");
    bao.write("late", &json!({ "key": "late" }));
    eventually("the late part", || place.text("both") == "one\nlate");
}

#[test]
fn files_come_back_after_a_kill_and_a_restart_tells_only_what_differs() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(200));
    simple(&bao, &place, &app.hook("otherwise: report"));
    place.run().kill();
    assert_eq!(place.text("app.key"), "one");
    let before = untouched(&place.path("volume/app.key"));
    let agent = place.run();
    eventually("a look at the store", || {
        place.ready().is_some_and(|r| r["secrets"]["app"]["ok"] == json!(true))
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((untouched(&place.path("volume/app.key")), app.told()), (before, vec![]));
    agent.kill();
    bao.write("app", &json!({ "key": "two" }));
    let _agent = place.run();
    eventually("what differs", || place.text("app.key") == "two");
    eventually("the notice", || app.told() == [2]);
}

#[test]
fn an_unconfirmed_generation_is_told_again_after_a_restart() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(503));
    simple(&bao, &place, &app.hook("retries: 100, otherwise: report"));
    let agent = place.run();
    bao.write("app", &json!({ "key": "two" }));
    eventually("a refused notice", || app.told().contains(&2));
    agent.kill();
    app.answers(200);
    let before = app.told().len();
    let _agent = place.run();
    eventually("the notice again", || app.told().len() > before);
    eventually("the confirmation", || place.log().contains("\"result\":\"confirmed\""));
}

#[test]
fn without_a_confirmation_report_keeps_the_generation_and_says_so() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(500));
    simple(&bao, &place, &app.hook("retries: 1, otherwise: report"));
    let _agent = place.run();
    bao.write("app", &json!({ "key": "two" }));
    eventually("the reason", || place.says("unconfirmed"));
    assert_eq!(place.text("app.key"), "two");
    assert_eq!(
        place.ready().unwrap()["ready"],
        json!(true),
        "unconfirmed under report stays ready"
    );
    assert_eq!(app.told(), [2, 2]);
}

#[test]
fn a_roll_back_puts_the_old_files_back_as_a_new_generation_and_remembers_the_refused_version() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(500));
    simple(&bao, &place, &app.hook("retries: 0, otherwise: roll_back"));
    let agent = place.run();
    bao.write("app", &json!({ "key": "bad" }));
    eventually("the roll-back", || place.generation().as_deref() == Some("3"));
    assert_eq!(place.text("app.key"), "one");
    eventually("the reason", || place.says("rolled_back"));
    // Not offered again, and not after a restart either.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((place.generation().as_deref(), place.text("app.key").as_str()), (Some("3"), "one"));
    agent.kill();
    let agent = place.run();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((place.generation().as_deref(), place.text("app.key").as_str()), (Some("3"), "one"));
    assert!(place.says("rolled_back"), "a restart does not forget it");
    // And an `init` that is run again ends, though the store has nothing new that may be used.
    agent.kill();
    exits(&place.sidekey(&["init"]), 0);
    let _agent = place.run();
    app.answers(200);
    bao.write("app", &json!({ "key": "good" }));
    eventually("a newer version", || place.text("app.key") == "good");
    eventually("readiness", || place.ready().is_some_and(|r| r["ready"] == json!(true)));
}

#[test]
fn init_hands_its_login_over_to_run_and_to_every_restart() {
    let (bao, place) = (bao(), Place::new());
    let (role, secret) = approle(&bao);
    place.write("role", role);
    place.write("secret", secret);
    let config = format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    login: {{ approle: {{ role_id_file: DIR/role, secret_id_file: DIR/secret }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\nfiles:\n  app.key: {{ from: app.key }}\n",
        bao.address()
    );
    place.config(&config);
    let before = accessors(&bao);
    exits(&place.sidekey(&["init"]), 0);
    for _ in 0..3 {
        let agent = place.run();
        eventually("a fetch", || {
            place.ready().is_some_and(|r| r["secrets"]["app"]["ok"] == json!(true))
        });
        agent.kill();
    }
    assert_eq!(accessors(&bao) - before, 1, "one login for init and three starts of run");
}

#[test]
fn a_state_that_cannot_be_read_is_reported_and_holds_nobody_up() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    exits(&place.sidekey(&["init"]), 0);
    for (text, why) in [("{\"version\":2,", "damaged"), ("{\"version\":1}", "its layout is 1")] {
        place.write("state/state.json", text);
        let init = place.sidekey(&["init"]);
        exits(&init, 0);
        let said = String::from_utf8(init.stderr).unwrap();
        assert!(said.contains(why) && said.contains("logs in anew"), "{said}");
        let state = std::fs::read_to_string(place.path("state/state.json")).unwrap();
        assert!(state.contains("\"version\":2") && state.contains("\"sessions\""), "{state}");
    }
}

#[test]
fn init_without_a_state_gives_its_token_back() {
    let (bao, place) = (bao(), Place::new());
    let (role, secret) = approle(&bao);
    place.write("role", role);
    place.write("secret", secret);
    let config = format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    login: {{ approle: {{ role_id_file: DIR/role, secret_id_file: DIR/secret }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\" }}\nfiles:\n  app.key: {{ from: app.key }}\n",
        bao.address()
    );
    let path = place.config(&config);
    let text = std::fs::read_to_string(&path).unwrap();
    let no_state: Vec<&str> = text.lines().filter(|line| !line.starts_with("state:")).collect();
    std::fs::write(&path, no_state.join("\n")).unwrap();
    let before = accessors(&bao);
    exits(&place.sidekey(&["init"]), 0);
    exits(&place.sidekey(&["get", "app.key"]), 0);
    assert_eq!(accessors(&bao), before);
}

fn approle(bao: &Bao) -> (String, String) {
    let admin = bao.admin();
    admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
    admin
        .post("auth/approle/role/app", &json!({ "token_policies": "reader", "token_ttl": "1h" }))
        .good();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let role = admin.get("auth/approle/role/app/role-id").good().json();
    let secret = admin.post("auth/approle/role/app/secret-id", &json!({})).good().json();
    (text(&role["data"]["role_id"]), text(&secret["data"]["secret_id"]))
}

fn accessors(bao: &Bao) -> usize {
    let list = bao.admin().get("auth/token/accessors?list=true").good().json();
    list["data"]["keys"].as_array().unwrap().len()
}

#[test]
fn an_outage_changes_no_file_and_is_over_when_the_store_is_back() {
    let (mut bao, place, app) =
        (Bao::start(support::Kind::Disk), Place::new(), Application::start(200));
    reader(&bao);
    bao.write("app", &json!({ "key": "one" }));
    simple(&bao, &place, &app.hook("otherwise: report"));
    let _agent = place.run();
    let before = untouched(&place.path("volume/app.key"));
    bao.stop();
    eventually("the reason", || place.says("store_unreachable"));
    assert_eq!(place.ready().unwrap()["ready"], json!(true), "one failed fetch is not unready");
    assert!(place.get("/live").unwrap().contains("true"));
    assert_eq!((untouched(&place.path("volume/app.key")), app.told()), (before, vec![]));
    bao.start_again();
    bao.write("app", &json!({ "key": "two" }));
    eventually("the new value", || place.text("app.key") == "two");
}

#[test]
fn a_sealed_store_is_told_by_its_name() {
    let (bao, place) = (Bao::start(support::Kind::Memory), Place::new());
    reader(&bao);
    bao.write("app", &json!({ "key": "one" }));
    simple(&bao, &place, "");
    let _agent = place.run();
    bao.seal();
    eventually("the reason", || place.says("store_sealed"));
    assert_eq!(place.text("app.key"), "one");
    bao.unseal();
}

#[test]
fn a_policy_taken_away_leaves_the_last_good_file_and_others_rotate() {
    let (bao, place) = (bao(), Place::new());
    bao.write("other", &json!({ "v": "a" }));
    let config = store(&bao, &place)
        + "secrets:\n  app: { from: \"vault:secret/data/app\", refresh: 500ms }\n  other: { from: \"vault:secret/data/other\", refresh: 500ms }\n\
           files:\n  app.key: { from: app.key }\n  other: { from: other.v }\n";
    place.config(&config);
    let _agent = place.run();
    bao.policy("reader", &[("secret/data/app", &["read"]), ("secret/metadata/app", &["read"])]);
    eventually("the refusal", || place.says("permission_denied"));
    bao.write("app", &json!({ "key": "two" }));
    eventually("the other one", || place.text("app.key") == "two");
    assert_eq!(place.text("other"), "a");
    reader(&bao);
    bao.write("other", &json!({ "v": "b" }));
    eventually("the mended policy", || place.text("other") == "b");
}

#[test]
fn a_deleted_secret_keeps_its_file_and_is_reported() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    let _agent = place.run();
    bao.admin().delete("secret/data/app").good();
    eventually("the reason", || place.says("secret_deleted"));
    assert_eq!(place.text("app.key"), "one");
}

#[test]
fn a_changed_config_is_taken_over_kept_for_a_restart_or_refused() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    let path = place.path("sidekey.yaml");
    let _agent = place.run();
    let text = std::fs::read_to_string(&path).unwrap();

    place.write(
        "sidekey.yaml",
        text.replace("files:\n", "files:\n  second: { template: \"<{{ app.key }}>\" }\n"),
    );
    eventually("the second file", || place.text("second") == "<one>");

    place.write("sidekey.yaml", text.replace("from: app.key", "from: ap.key"));
    eventually("the mistake", || place.says("config_invalid"));
    assert_eq!(place.text("second"), "<one>", "the old config goes on");

    place.write("sidekey.yaml", text.replace("health.sock", "other.sock"));
    eventually("the restart", || place.says("restart_needed"));
    assert_eq!(place.ready().unwrap()["ready"], json!(true));

    place.write("sidekey.yaml", &text);
    eventually("the file that went", || place.delivered("second").is_none());
    assert_eq!(place.text("app.key"), "one");
    eventually("no complaint", || !place.says("restart_needed") && !place.says("config_invalid"));
}

#[test]
fn a_file_that_somebody_changed_is_put_right() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    let _agent = place.run();
    let real = std::fs::canonicalize(place.path("volume/app.key")).unwrap();
    std::fs::remove_file(&real).unwrap();
    std::fs::write(&real, "forged").unwrap();
    // A new version of something is the moment at which the volume looks.
    bao.write("app", &json!({ "key": "one", "other": "x" }));
    eventually("the repair", || place.text("app.key") == "one");
}

#[test]
fn post_quit_ends_the_agent_where_it_is_on() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
    place.write("sidekey.yaml", text.replace("health.sock\"", "health.sock\", quit: true"));
    let agent = place.run();
    let mut stream = std::os::unix::net::UnixStream::connect(place.path("health.sock")).unwrap();
    stream.write_all(b"POST /quit HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert_eq!(agent.end(), Some(0));
    assert_eq!(place.text("app.key"), "one", "files stay");
}

#[test]
fn two_volumes_swap_each_by_itself_and_a_shared_secret_is_fetched_once() {
    let (bao, place) = (bao(), Place::new());
    std::fs::create_dir(place.path("web")).unwrap();
    let config = store(&bao, &place)
        + "secrets:\n  app: { from: \"vault:secret/data/app\", refresh: 500ms }\n\
           files:\n  app.key: { from: app.key }\n  web/key: { from: app.key, volume: web }\n";
    let path = place.config(&config);
    let text = std::fs::read_to_string(&path).unwrap();
    let dir = place.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    let volumes =
        format!("volumes: {{ default: {{ path: {dir}/volume }}, web: {{ path: {dir}/web }} }}");
    let text = text.replace(&format!("volume: {{ path: {dir}/volume }}"), &volumes);
    place.write("sidekey.yaml", text);
    let _agent = place.run();
    let web = || std::fs::read_to_string(place.path("web/web/key")).unwrap_or_default();
    eventually("both volumes", || web() == "one" && place.text("app.key") == "one");
    let first = place.log().matches("\"result\":\"moved\"").count();
    assert_eq!(first, 1, "one fetch serves both volumes");
    bao.write("app", &json!({ "key": "two" }));
    eventually("both volumes again", || web() == "two" && place.text("app.key") == "two");
}

#[test]
fn a_secret_older_than_serve_stale_for_is_stale_and_with_keep_still_ready() {
    let (mut bao, place) = (bao(), Place::new());
    simple(&bao, &place, "when_down: { serve_stale_for: 1s, then: keep }\n");
    let _agent = place.run();
    bao.stop();
    eventually("the reason", || place.says("stale"));
    assert_eq!(place.ready().unwrap()["ready"], json!(true));
    assert_eq!(place.text("app.key"), "one");
}

#[test]
fn the_metrics_address_serves_metrics_and_nothing_else() {
    let (bao, place) = (bao(), Place::new());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    simple(&bao, &place, &format!("metrics: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let _agent = place.run();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/metrics").contains("sidekey_ready 1"));
    for path in ["/ready", "/live", "/"] {
        assert!(get(path).starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn a_hang_up_makes_the_agent_read_its_config_again() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    let agent = place.run();
    agent.signal(rustix::process::Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(place.ready().unwrap()["ready"], json!(true));
    assert_eq!(agent.stop(), Some(0));
}

/// Two secrets in one file, and a hook that rolls back.
fn pair(bao: &Bao, place: &Place, hook: &str) {
    bao.write("a", &json!({ "v": "A1" }));
    bao.write("b", &json!({ "v": "B1" }));
    let config = store(bao, place)
        + "secrets:\n  a: { from: \"vault:secret/data/a\", refresh: 500ms }\n  b: { from: \"vault:secret/data/b\", refresh: 500ms }\n\
           files:\n  pair: { template: \"{{ a.v }}:{{ b.v }}\" }\n"
        + hook;
    place.config(&config);
}

#[test]
fn a_roll_back_leaves_a_secret_alone_that_did_not_move() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(200));
    pair(&bao, &place, &app.hook("retries: 0, otherwise: roll_back"));
    let _agent = place.run();
    bao.write("b", &json!({ "v": "B2" }));
    eventually("the confirmed change", || place.text("pair") == "A1:B2" && app.told() == [2]);
    app.answers(500);
    bao.write("a", &json!({ "v": "A2" }));
    eventually("the roll-back", || place.generation().as_deref() == Some("4"));
    assert_eq!(place.text("pair"), "A1:B2");
    app.answers(200);
    bao.write("a", &json!({ "v": "A3" }));
    eventually("the newest of both", || place.text("pair") == "A3:B2");
}

#[test]
fn a_refusal_that_comes_late_undoes_nothing_newer() {
    let (bao, place, app) = (bao(), Place::new(), Application::start(500));
    simple(&bao, &place, &app.hook("retries: 3, otherwise: roll_back"));
    let _agent = place.run();
    bao.write("app", &json!({ "key": "two" }));
    eventually("the first refusal of the second", || app.told().contains(&2));
    bao.write("app", &json!({ "key": "three" }));
    eventually("the third", || place.text("app.key") == "three");
    app.answers(200);
    eventually("the confirmation", || app.told().contains(&3));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(place.text("app.key"), "three");
}

#[test]
fn a_deleted_secret_that_is_kept_does_not_hold_up_its_sibling() {
    let (bao, place) = (bao(), Place::new());
    pair(&bao, &place, "");
    let _agent = place.run();
    bao.admin().delete("secret/data/b").good();
    eventually("the reason", || place.says("secret_deleted"));
    bao.write("a", &json!({ "v": "A2" }));
    eventually("the sibling", || place.text("pair") == "A2:B1");
}

#[test]
fn what_was_kept_for_another_path_or_server_is_not_used() {
    let (bao, place) = (bao(), Place::new());
    for n in 1..=3 {
        bao.write("app", &json!({ "key": format!("old {n}") }));
    }
    bao.write("new", &json!({ "key": "new" }));
    simple(&bao, &place, "");
    place.run().stop();
    let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
    place.write("sidekey.yaml", text.replace("secret/data/app", "secret/data/new"));
    let _agent = place.run();
    eventually("the other path, whose version is lower", || place.text("app.key") == "new");
}

#[test]
fn a_second_agent_is_refused_and_takes_nothing_from_the_first() {
    let (bao, place) = (bao(), Place::new());
    simple(&bao, &place, "");
    let _agent = place.run();
    exits(&place.sidekey(&["run", "--log-format", "text"]), 73);
    assert!(place.get("/live").is_some(), "the first one still answers");
}

#[test]
fn an_init_that_is_ended_before_it_delivered_has_not_done_its_work() {
    let place = Place::new();
    place.write("token", "t");
    place.config(
        "stores:\n  vault: { kind: vault, address: \"http://127.0.0.1:1\", login: { token: { file: DIR/token } } }\n\
         secrets:\n  app: { from: \"vault:secret/data/app\" }\nfiles:\n  app.key: { from: app.key }\n",
    );
    let child = place.command(&["init", "--log-format", "text"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(75));
}

#[test]
fn a_start_is_complete_when_only_optional_secrets_are_absent() {
    let (bao, place) = (bao(), Place::new());
    let config = store(&bao, &place)
        + "secrets:\n  late: { from: \"vault:secret/data/late\", optional: true, refresh: 500ms }\nfiles:\n  late: { from: late.key }\n";
    place.config(&config);
    let _agent = place.start();
    eventually("readiness", || place.ready().is_some_and(|r| r["ready"] == json!(true)));
    exits(&place.sidekey(&["health", "--startup"]), 0);
    bao.write("late", &json!({ "key": "here" }));
    eventually("the late one", || place.text("late") == "here");
}

#[test]
fn a_hook_that_owes_an_answer_is_known_wherever_it_stands_in_the_list() {
    let (bao, place) = (bao(), Place::new());
    let (quick, slow) = (Application::start(200), Application::start(503));
    let line = |app: &Application| {
        format!(
            "  - http: {{ url: \"http://127.0.0.1:{}/r\" }}\n    confirm: {{ status: 200, within: 1s, retries: 50 }}\n",
            app.port
        )
    };
    let hooks = |a: &Application, b: &Application| format!("on_change:\n{}{}", line(a), line(b));
    simple(&bao, &place, &hooks(&quick, &slow));
    let agent = place.run();
    bao.write("app", &json!({ "key": "two" }));
    eventually("one that confirmed, one that did not", || {
        quick.told() == [2] && slow.told().contains(&2)
    });
    agent.kill();
    slow.answers(200);
    let before = slow.told().len();
    simple(&bao, &place, &hooks(&slow, &quick));
    let _agent = place.run();
    eventually("the one that owes", || slow.told().len() > before);
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(quick.told(), [2], "the other one has answered already");
}
