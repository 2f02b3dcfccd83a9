//! Vault and AWS together: a login by AWS identity, and secrets of both in one group.

#![cfg(all(feature = "aws", feature = "vault"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::process::Command;

use agent::{Place, eventually, exits};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{Bao, Front, Moto, REGION, Request, Response, Script};

fn sidekey(place: &Place, args: &[&str], (id, secret): (&str, &str)) -> Command {
    let mut command = place.command(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
    command
}

/// A login endpoint like Vault's: it sends the signed request to STS and lets in whom that names.
fn vault(moto: &'static Moto, server_id: &'static str) -> Script {
    Script::start(move |request| match request.path.as_str() {
        "/v1/auth/aws/login" => log_in(moto, server_id, request),
        "/v1/secret/data/app" if request.header("x-vault-token") == Some("aws-token") => {
            Response::secret(&json!({ "key": "let in" }))
        }
        _ => Response::json(403, &[], &json!({ "errors": ["permission denied"] })),
    })
}

fn log_in(moto: &Moto, server_id: &str, request: &Request) -> Response {
    let refused = || Response::json(400, &[], &json!({ "errors": ["refused"] }));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let decoded = |name: &str| STANDARD.decode(body[name].as_str().unwrap()).unwrap();
    let headers: Value = serde_json::from_slice(&decoded("iam_request_headers")).unwrap();
    let headers: Vec<(String, String)> = headers
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value[0].as_str().unwrap().to_owned()))
        .collect();
    let header = |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, v)| v);
    let signed = header("authorization").unwrap();
    // As Vault: the header must be there, hold the right words, and be under the signature.
    if header("x-vault-aws-iam-server-id").map(String::as_str) != Some(server_id)
        || !signed.contains("x-vault-aws-iam-server-id")
        || body["role"] != "orders"
        || decoded("iam_request_url") != format!("https://sts.{REGION}.amazonaws.com/").as_bytes()
    {
        return refused();
    }
    let answer = moto.replay(&headers, &decoded("iam_request_body"));
    if answer.status != 200 || !String::from_utf8_lossy(&answer.body).contains("user/orders") {
        return refused();
    }
    let auth = json!({ "client_token": "aws-token", "lease_duration": 3600, "renewable": true });
    Response::json(200, &[], &json!({ "auth": auth }))
}

fn config(place: &Place, vault: &Script, server_id: &str) {
    place.config(&format!(
        "stores: {{ vault: {{ kind: vault, address: \"{}\", login: {{ aws: {{ role: orders, \
         region: {REGION}, server_id_header: {server_id} }} }} }} }}\n\
         secrets: {{ app: {{ from: \"vault:secret/data/app#key\" }} }}\n\
         files: {{ app: {{ from: app }} }}",
        vault.address()
    ));
}

#[test]
fn a_vault_that_replays_the_signed_request_to_sts_lets_us_in_and_nobody_else() {
    let (moto, id, secret) = Moto::strict();
    let (vault, place) = (vault(moto, "vault.example"), Place::new());
    config(&place, &vault, "vault.example");
    let get = |key: (&str, &str)| sidekey(&place, &["get", "app"], key).output().unwrap();
    let output = get((id.as_str(), secret.as_str()));
    exits(&output, 0);
    assert_eq!(output.stdout, b"let in");
    let forged = exits(&get((id.as_str(), "another key")), 77);
    assert!(forged.contains("AWS identity") && forged.contains("`orders`"), "{forged}");
    config(&place, &vault, "another.example");
    exits(&get((id.as_str(), secret.as_str())), 77);
    config(&place, &vault, "vault.example");
    let said = exits(&sidekey(&place, &["get", "app"], ("", "")).output().unwrap(), 75);
    assert!(said.contains("has no credentials"), "{said}");
}

/// An application that counts how often it is told.
fn application() -> Script {
    Script::start(|_| Response::json(200, &[], &json!({})))
}

#[test]
fn secrets_of_vault_and_of_aws_that_change_together_are_one_generation_and_one_notification() {
    let (bao, moto, front, place) = (Bao::dev(), Moto::shared(), Front::start(), Place::new());
    let app = application();
    bao.write("app", &json!({ "key": "one" }));
    moto.secret("both/app", "one");
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ env: ROOT }} }} }}\n  \
         prod: {{ kind: aws, region: {REGION}, endpoint: \"{}\" }}\n\
         secrets:\n  here: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\n  \
         there: {{ from: \"prod:secretsmanager/both/app\", refresh: 500ms }}\n\
         files:\n  pair: {{ template: \"{{{{ here.key }}}} {{{{ there }}}}\" }}\n\
         on_change:\n  - http: {{ url: \"{}/reload\" }}\n    confirm: {{ status: 200 }}\n",
        bao.address(),
        front.address(),
        app.address(),
    ));
    let mut run = sidekey(&place, &["run", "--log-format", "json"], ("test", "test"));
    run.env("ROOT", &bao.root);
    let _agent = place.run_as(run);
    assert_eq!(place.text("pair"), "one one");
    for word in ["two", "three"] {
        let before = app.count("/reload");
        bao.write("app", &json!({ "key": word }));
        moto.change("both/app", word);
        let both = format!("{word} {word}");
        let mut seen = vec![place.text("pair")];
        eventually("both values", || {
            let now = place.text("pair");
            if seen.last() != Some(&now) {
                seen.push(now.clone());
            }
            now == both && app.count("/reload") > before
        });
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(app.count("/reload"), before + 1);
    }
    assert_eq!(place.generation().as_deref(), Some("3"));
}

#[test]
fn of_a_rotation_in_two_stages_only_the_end_is_delivered() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    let first = moto.secret("staged", "first");
    place.config(&format!(
        "stores: {{ prod: {{ kind: aws, region: {REGION}, endpoint: \"{}\" }} }}\n\
         secrets: {{ app: {{ from: \"prod:secretsmanager/staged\", refresh: 500ms }} }}\n\
         files: {{ app: {{ from: app }} }}",
        front.address()
    ));
    let run = sidekey(&place, &["run", "--log-format", "json"], ("test", "test"));
    let _agent = place.run_as(run);
    let id = "d5c3a1e0-0000-4000-8000-000000000042";
    moto.ask(
        "secretsmanager.PutSecretValue",
        &json!({ "SecretId": "staged", "SecretString": "second", "ClientRequestToken": id,
                 "VersionStages": ["AWSPENDING"] }),
    );
    let looks = front.count("DescribeSecret");
    eventually("three looks while it is pending", || front.count("DescribeSecret") >= looks + 3);
    assert_eq!((place.text("app").as_str(), place.generation().as_deref()), ("first", Some("1")));
    assert_eq!(front.count("GetSecretValue"), 1);
    moto.ask(
        "secretsmanager.UpdateSecretVersionStage",
        &json!({ "SecretId": "staged", "VersionStage": "AWSCURRENT", "MoveToVersionId": id,
                 "RemoveFromVersionId": first }),
    );
    eventually("the new value", || place.text("app") == "second");
    assert_eq!(place.generation().as_deref(), Some("2"));
    moto.ask(
        "secretsmanager.DeleteSecret",
        &json!({ "SecretId": "staged", "RecoveryWindowInDays": 7 }),
    );
    eventually("the deletion is told", || place.says("secret_deleted"));
    assert_eq!(place.text("app"), "second");
    moto.ask("secretsmanager.RestoreSecret", &json!({ "SecretId": "staged" }));
    eventually("it is there again", || !place.says("secret_deleted"));
}
