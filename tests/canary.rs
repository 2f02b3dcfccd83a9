//! A canary crosses the whole system, failures included, at `trace`; it is looked for in every output,
//! in every encoding that might carry it. It may be found in the generations on the volume, and the
//! store's token in the state; nowhere else.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]
#![allow(clippy::format_collect, reason = "no test is slowed down by it")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use agent::{Place, eventually, exits};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use support::{Authority, Bao, Response, Script};

/// Assembled, so that it stands nowhere else; with characters that encodings change.
fn canary() -> String {
    ["c4n4ry", "/Zq8x\"", "77e1+", "Kp0w Lm~"].concat()
}

/// Every way in which `secret` might be written down.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string(secret).unwrap();
    let json = &json.as_bytes()[1..json.len() - 1];
    let percent: String = secret
        .bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    let mut forms = vec![
        ("raw", secret.as_bytes().to_vec()),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("json", json.to_vec()),
        ("debug", format!("{secret:?}").trim_matches('"').as_bytes().to_vec()),
        ("percent", percent.clone().into_bytes()),
        ("form", percent.replace("%20", "+").into_bytes()),
    ];
    for shift in 0..3 {
        // Whatever stands before shifts the alphabet; the first and last characters mix with neighbours.
        let padded = [&b"xxx"[..shift], secret.as_bytes()].concat();
        let cut = |text: String| text.as_bytes()[4..text.len() - 4].to_vec();
        forms.push(("base64", cut(BASE64_STANDARD_NO_PAD.encode(&padded))));
        forms.push(("base64url", cut(BASE64_URL_SAFE_NO_PAD.encode(&padded))));
    }
    forms
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Fails if `output` holds any of `secrets` in any form.
#[track_caller]
fn clean(what: &str, output: &[u8], secrets: &[&str]) {
    for secret in secrets {
        for (form, needle) in forms(secret) {
            assert!(!holds(output, &needle), "{what} holds a secret ({form})");
        }
    }
}

#[track_caller]
fn clean_output(what: &str, output: &Output, secrets: &[&str]) {
    clean(what, &output.stdout, secrets);
    clean(what, &output.stderr, secrets);
}

#[test]
fn the_search_finds_what_is_planted_in_every_form() {
    let secret = canary();
    for (form, needle) in forms(&secret) {
        let planted = [b"before ", &needle[..], b" after"].concat();
        let found = forms(&secret).iter().any(|(_, needle)| holds(&planted, needle));
        assert!(found, "{form}");
    }
    let found = std::panic::catch_unwind(|| clean("a plant", canary().as_bytes(), &[&canary()]));
    assert!(found.is_err());
}

/// An application that keeps every byte it is sent.
fn listener() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let keep = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            keep.lock().unwrap().extend(&request[..length]);
            let _ = stream
                .write_all(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (port, heard)
}

/// Every file beneath a directory but the generations and the files named.
fn files(dir: &Path, but: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = path.display().to_string();
        if kind.is_dir() && !name.contains("/volume") {
            found.extend(files(&path, but));
        } else if kind.is_file() && !but.iter().any(|but| name.ends_with(but)) {
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn a_canary_is_found_on_the_volume_and_nowhere_else() {
    let (bao, place, secret) = (Bao::dev(), Place::new(), canary());
    bao.policy("reader", &[("secret/data/*", &["read"]), ("secret/metadata/*", &["read"])]);
    let token = bao.token(&["reader"], &json!({}));
    let secrets: [&str; 2] = [&secret, &token];
    place.write("token", &token);
    bao.write("app", &json!({ "key": format!("1{secret}"), "pem": "none yet" }));
    let (port, heard) = listener();
    let config = format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\n  no: {{ from: \"vault:sys/raw/x\", optional: true, refresh: 500ms }}\n\
         files:\n  raw: {{ from: app.key }}\n  all.json: {{ format: json, from: app }}\n  app.env: {{ format: dotenv, from: {{ KEY: app.key }} }}\n\
         \x20 t: {{ template: \"{{{{ app.key }}}} {{{{ app.pem }}}}\" }}\n  pem: {{ from: app.pem }}\n  no: {{ from: no.x }}\n\
         on_change:\n  - http: {{ url: \"http://127.0.0.1:{port}/reload\" }}\n    confirm: {{ status: 200, within: 1s, retries: 1 }}\n\
         \x20 - command: [\"/bin/cp\", \"--no-preserve=mode\", \"/proc/self/environ\", \"DIR/hook-environ\"]\n\
         \x20 - command: [\"/bin/false\"]\n  - command: [\"/no/such\"]\n  - signal: {{ send: SIGHUP, to: {{ name: no-such-process }} }}\n",
        bao.address()
    );
    place.config(&config);

    for format in ["text", "json"] {
        let init = place.sidekey(&["init", "--log-format", format, "--log-level", "trace"]);
        exits(&init, 0);
        clean_output("init", &init, &secrets);
    }
    assert!(holds(place.text("raw").as_bytes(), secret.as_bytes()));

    let agent = place.run();
    bao.write("app", &json!({ "key": format!("2{secret}"), "pem": "still none" }));
    eventually("the rotation", || place.text("raw").starts_with('2'));
    eventually("the hooks", || place.says("unconfirmed") && place.says("hook_failed"));
    // Refused: a certificate that is none, a field that is missing.
    let broken = format!("-----BEGIN CERTIFICATE-----\n{secret}\n-----END CERTIFICATE-----\n");
    bao.write("app", &json!({ "key": format!("3{secret}"), "pem": broken }));
    eventually("the failed check", || place.says("check_failed"));
    bao.write("app", &json!({ "kee": format!("4{secret}"), "pem": secret }));
    eventually("the missing field", || place.says("field_missing"));
    eventually("the refusal", || place.says("permission_denied"));

    for path in ["/ready", "/metrics", "/live", "/nothing"] {
        clean(path, place.get(path).unwrap().as_bytes(), &secrets);
    }
    for name in ["cmdline", "environ", "status", "maps"] {
        // A process that is not dumpable may refuse `environ` even to itself.
        let proc = std::fs::read(format!("/proc/{}/{name}", agent.pid())).unwrap_or_default();
        clean(name, &proc, &secrets);
    }
    clean("what the application was sent", &heard.lock().unwrap(), &secrets);
    assert_eq!(agent.stop(), Some(0));

    let given = std::fs::read(place.path("hook-environ")).unwrap();
    assert!(holds(&given, b"SIDEKEY_GENERATION="), "the copy is of the command's environment");
    for (name, bytes) in files(&place.path(""), &["/token"]) {
        if name.ends_with("state.json") {
            clean(&name, &bytes, &[&secret]);
        } else {
            clean(&name, &bytes, &secrets);
        }
    }

    bao.write("app", &json!({ "key": secret, "pem": "x" }));
    let get = place.sidekey(&["get", "app.key"]);
    assert_eq!(get.stdout, secret.as_bytes(), "its output is the secret");
    clean("get's stderr", &get.stderr, &secrets);
    for args in
        [&["get", "app.nope"][..], &["check", "--live"], &["check", "--live", "--output", "json"]]
    {
        clean_output(&args.join(" "), &place.sidekey(args), &secrets);
    }
}

#[test]
fn a_canary_in_a_hostile_answer_is_in_no_message() {
    let (place, secret) = (Place::new(), canary());
    place.write("token", "t0ken-of-a-hostile-store");
    let bodies = [
        (200, format!("{{\"data\":{{\"data\":{{\"key\":\"{}\"}} oops", "x".repeat(3))),
        (200, format!("{{\"data\": {secret}}}")),
        (200, format!("{{\"data\":{{\"a\":1,\"a\":2,\"{}\":3}}}}", secret.replace('"', "'"))),
        (400, format!("{{\"errors\":[{}]}}", json!(secret))),
        (403, format!("{{\"errors\":[{}]}}", json!(secret))),
        (
            404,
            format!(
                "{{\"errors\":[],\"data\":{{\"metadata\":{{\"deletion_time\":{}}}}}}}",
                json!(secret)
            ),
        ),
        (500, secret.clone()),
        (503, format!("{{\"errors\":[{}]}}", json!(secret))),
    ];
    for (status, body) in bodies {
        let script = Script::start(move |_| Response::text(status, &["X-Vault-Index: x"], &body));
        place.config(&format!(
            "stores:\n  vault: {{ kind: vault, address: \"http://127.0.0.1:{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
             secrets:\n  app: {{ from: \"vault:secret/data/app\" }}\nfiles:\n  key: {{ from: app.key }}\ninit: {{ within: 1s }}\n",
            script.port
        ));
        let output = place.sidekey(&["init", "--log-level", "trace"]);
        assert!(!output.status.success(), "{status}");
        clean_output(
            &format!("init after a {status}"),
            &output,
            &[&secret, "t0ken-of-a-hostile-store"],
        );
        clean_output(
            "get",
            &place.sidekey(&["get", "app.key"]),
            &[&secret, "t0ken-of-a-hostile-store"],
        );
    }
}

/// A field, what the store hands out in it and no volume may show, and the reason that is said.
fn refused(secret: &str) -> Vec<(&'static str, serde_json::Value, &'static str)> {
    let authority = Authority::new("test");
    let (own, other) = (authority.issue(&["app"]), authority.issue(&["app"]));
    let expired = authority.issue_expired(&[secret]);
    let marked = |pem: &str| format!("{secret}\n{pem}{secret}\n");
    vec![
        ("doc", json!(format!("{secret}\0")), "format_refused"),
        ("n", json!(secret), "template_failed"),
        ("b64", json!(format!("!{secret}")), "format_refused"),
        ("cert", json!(marked(&other.certificate)), "check_failed"),
        ("cert", json!(marked(&own.certificate)), "check_failed"),
        ("cert", json!(marked(&expired.certificate)), "check_failed"),
        ("key", json!(null), "field_missing"),
    ]
}

#[test]
fn a_refused_rotation_says_nothing_of_what_it_refused() {
    refuse_all("json");
}

#[test]
fn a_refused_rotation_says_nothing_in_a_text_log_either() {
    refuse_all("text");
}

fn refuse_all(format: &str) {
    let (bao, secret) = (Bao::dev(), canary());
    let pair = Authority::new("test").issue(&["app"]);
    let good = json!({
        "doc": "x", "n": 1, "b64": "eA==", "cert": pair.certificate, "pem_key": pair.key, "key": secret,
    });
    let place = Place::new();
    place.write("token", &bao.root);
    bao.write("app", &good);
    place.config(&format!(
            "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
             secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\n\
             files:\n  doc: {{ format: dotenv, from: {{ KEY: app.doc }} }}\n  n: {{ template: \"{{{{ app.n + 1 }}}}\" }}\n\
             \x20 bin: {{ from: app.b64, decode: base64 }}\n  tls.pem: {{ from: [app.pem_key, app.cert] }}\n  key: {{ from: app.key }}\n",
            bao.address()
        ));
    let agent = place.start_logging(format);
    eventually("the first generation", || place.generation().is_some());
    let first = place.generation();
    for (field, value, reason) in refused(&secret) {
        let mut bad = good.clone();
        bad[field] = value;
        bao.write("app", &bad);
        eventually(&format!("`{reason}` for `{field}`"), || place.says(reason));
        clean("/ready", place.get("/ready").unwrap().as_bytes(), &[&secret]);
        clean("/metrics", place.get("/metrics").unwrap().as_bytes(), &[&secret]);
        bao.write("app", &good);
        eventually("the mending", || !place.says(reason));
    }
    assert_eq!(place.generation(), first, "nothing was handed out meanwhile");
    assert_eq!(agent.stop(), Some(0));
    assert!(!place.log().is_empty());
    clean("the log", place.log().as_bytes(), &[&secret, &pair.key]);
}

#[test]
fn a_token_of_a_login_is_found_in_the_state_and_nowhere_else() {
    let (bao, place) = (Bao::dev(), Place::new());
    bao.policy("reader", &[("secret/*", &["read"])]);
    bao.write("app", &json!({ "key": canary() }));
    let admin = bao.admin();
    admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
    admin.post("auth/approle/role/app", &json!({ "token_policies": "reader" })).good();
    let role = admin.get("auth/approle/role/app/role-id").good().json();
    let proof = admin.post("auth/approle/role/app/secret-id", &json!({})).good().json();
    let proof = proof["data"]["secret_id"].as_str().unwrap();
    place.write("role", role["data"]["role_id"].as_str().unwrap());
    place.write("proof", proof);
    place.config(&format!(
        "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    login: {{ approle: {{ role_id_file: DIR/role, secret_id_file: DIR/proof }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\nfiles:\n  key: {{ from: app.key }}\n",
        bao.address()
    ));
    let agent = place.run();
    let state = std::fs::read_to_string(place.path("state/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let token = state["sessions"]["vault"][0]["token"].as_str().expect("the state has the token");
    let token = String::from_utf8(BASE64_STANDARD.decode(token).unwrap()).unwrap();
    let own = bao.with_token(&token).get("auth/token/lookup-self").good().json();
    assert_eq!(own["data"]["policies"], json!(["default", "reader"]), "it is the token");
    let secrets: [&str; 2] = [&token, proof];
    for path in ["/ready", "/metrics"] {
        clean(path, place.get(path).unwrap().as_bytes(), &secrets);
    }
    clean("environ", &std::fs::read(format!("/proc/{}/environ", agent.pid())).unwrap(), &secrets);
    assert_eq!(agent.stop(), Some(0));
    for (name, bytes) in files(&place.path(""), &["/proof", "/state.json"]) {
        clean(&name, &bytes, &secrets);
    }
}

#[test]
fn a_canary_in_a_config_is_not_repeated_where_a_variable_holds_it() {
    let (place, secret) = (Place::new(), canary());
    place.config(
        "stores:\n  vault: { kind: \"${SECRET}\", address: \"${SECRET}\" }\n\
         secrets:\n  app: { from: \"${SECRET}\", refresh: \"${SECRET}\" }\n\
         files:\n  key: { from: \"${SECRET}\", mode: \"${SECRET}\", format: \"${SECRET}\" }\n",
    );
    for args in [&["check"][..], &["check", "--output", "json"], &["init"], &["run"], &["health"]] {
        let output = place.command(args).env("SECRET", &secret).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        clean_output(&args.join(" "), &output, &[&secret]);
    }
}
