//! Who the platform says we are, in each way that AWS has, with the real binary: what works, and
//! what is said when it does not.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::process::Command;

use agent::{Place, eventually, exits};
use serde_json::json;
use support::{Front, Moto, REGION, Response, Script, Signer, refusal, refusal_xml, unix_now};

/// A store of AWS whose services are all behind `front`, and one secret.
fn config(place: &Place, front: &Front, more: &str) {
    Moto::shared();
    let text = format!(
        "stores: {{ prod: {{ kind: aws, region: {REGION}, endpoint: \"{}\"{more} }} }}\n\
         secrets: {{ app: {{ from: \"prod:secretsmanager/who\", refresh: 500ms }} }}\n\
         files: {{ app: {{ from: app }} }}",
        front.address()
    );
    place.config(&text);
}

fn moto() -> &'static Moto {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let moto = Moto::shared();
    ONCE.call_once(|| drop(moto.secret("who", "value")));
    moto
}

/// `sidekey` without any credentials; nothing that it asks leaves the loopback address.
fn stranger(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// What `get` says to somebody with these variables, and its code.
#[track_caller]
fn get(place: &Place, variables: &[(&str, &str)], code: i32) -> String {
    let mut command = stranger(place, &["get", "app"]);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    exits(&output, code)
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

#[test]
fn without_any_credentials_every_place_that_was_looked_at_is_named() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let said = get(&place, &[], 75);
    assert!(said.contains("has no credentials") && said.contains("web identity"), "{said}");
    let said = get(&place, &KEYS[..1], 75);
    assert!(said.contains("$AWS_ACCESS_KEY_ID") && said.contains("set both"), "{said}");
    assert!(front.asked().is_empty());
}

#[test]
fn without_a_region_that_is_a_mistake_of_the_config() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
    place.write("sidekey.yaml", text.replace(&format!("region: {REGION}, "), ""));
    let said = get(&place, &KEYS, 78);
    assert!(said.contains("which region") && said.contains("AWS_REGION"), "{said}");
    get(&place, &[KEYS[0], KEYS[1], ("AWS_REGION", REGION)], 0);
}

#[test]
fn a_profile_gives_keys_and_the_region() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
    place.write("sidekey.yaml", text.replace(&format!("region: {REGION}, "), ""));
    let file = place.write(
        "aws-config",
        format!(
            "[profile work]\nregion = {REGION}\naws_access_key_id = test\n\
             aws_secret_access_key = test\n[profile broken]\nrole_arn = {ROLE}\n"
        ),
    );
    let file = file.to_str().unwrap();
    get(&place, &[("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "work")], 0);
    let broken = [("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "broken"), ("AWS_REGION", REGION)];
    let said = get(&place, &broken, 75);
    assert!(said.contains("the profile"), "{said}");
}

const ROLE: &str = "arn:aws:iam::123456789012:role/orders";

fn web(token: &str) -> [(&str, &str); 2] {
    [("AWS_WEB_IDENTITY_TOKEN_FILE", token), ("AWS_ROLE_ARN", ROLE)]
}

#[test]
fn a_web_identity_token_is_read_anew_and_its_refusals_are_told_apart() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let claims = json!({ "aud": "vault", "exp": unix_now() + 600 });
    let file = place.write("token", Signer::new().sign(&claims) + "\n");
    let web = web(file.to_str().unwrap());
    get(&place, &web, 0);
    assert_eq!(front.asked(), ["AssumeRoleWithWebIdentity", "GetSecretValue"]);

    let refuses = |code: &'static str| {
        front.instead(move |action, _| {
            (action == "AssumeRoleWithWebIdentity").then(|| refusal_xml(400, code))
        });
    };
    for (code, word) in [
        ("ExpiredTokenException", "has ended"),
        ("InvalidIdentityToken", "its audience is `vault`"),
        ("AccessDenied", "trust policy"),
    ] {
        refuses(code);
        let said = get(&place, &web, 77);
        assert!(said.contains(word) && said.contains(ROLE) && said.contains("hint:"), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    let said = get(&place, &web, 75);
    assert!(said.contains("cannot read") && said.contains("/token"), "{said}");
}

#[test]
fn pod_identity_gives_credentials_with_the_token_in_its_file() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let agent = Script::start(|request| match request.header("authorization") {
        Some("pod-token") => credentials("ASIAPOD"),
        _ => Response::json(401, &[], &json!({})),
    });
    let file = place.write("pod-token", "pod-token");
    let url = format!("{}/v1/credentials", agent.address());
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];
    get(&place, &variables, 0);
    let signed = front.seen()[0].header("authorization").unwrap().to_owned();
    assert!(signed.contains("Credential=ASIAPOD/"), "{signed}");
    place.write("pod-token", "of-another-pod");
    let said = get(&place, &variables, 75);
    assert!(said.contains("Pod Identity") && said.contains("association"), "{said}");
}

fn credentials(key: &str) -> Response {
    let body = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z",
    });
    Response::json(200, &[], &body)
}

/// An instance's metadata service, version 2 only.
fn metadata(hops: usize) -> Script {
    Script::start(move |request| {
        let token = "x-aws-ec2-metadata-token";
        match (request.method.as_str(), request.path.as_str()) {
            // One hop too many: the request arrives, and its answer does not.
            ("PUT", "/latest/api/token") if hops < 2 => Response::Stream(Box::new(|_| {
                std::thread::sleep(std::time::Duration::from_secs(4));
                Ok(())
            })),
            ("PUT", "/latest/api/token") => {
                let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
                Response::text(200, &[ttl], "metadata-token")
            }
            _ if request.header(token) != Some("metadata-token") => {
                Response::json(401, &[], &json!({}))
            }
            ("GET", "/latest/meta-data/placement/region") => Response::text(200, &[], REGION),
            ("GET", "/latest/meta-data/iam/security-credentials/") => {
                Response::text(200, &[], "node-role")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/node-role") => {
                credentials("ASIANODE")
            }
            _ => Response::json(404, &[], &json!({})),
        }
    })
}

#[test]
fn an_instance_gives_its_role_and_region_by_version_two_of_its_metadata() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
    place.write("sidekey.yaml", text.replace(&format!("region: {REGION}, "), ""));
    let service = metadata(2);
    let address = service.address();
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str()),
    ];
    get(&place, &variables, 0);
    let signed = front.seen()[0].header("authorization").unwrap().to_owned();
    assert!(signed.contains("Credential=ASIANODE/"), "{signed}");
}

#[test]
fn an_answer_that_dies_one_hop_away_is_told_with_the_way_out_and_version_one_is_not_tried() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    let service = metadata(1);
    let address = service.address();
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str()),
    ];
    let said = get(&place, &variables, 75);
    assert!(said.contains("one network hop") && said.contains("hop-limit 2"), "{said}");
    assert!(service.seen().iter().all(|request| request.method == "PUT"));
}

#[test]
fn a_role_is_assumed_with_what_the_chain_found() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, &format!(", role_arn: \"{ROLE}\", external_id: orders"));
    get(&place, &KEYS, 0);
    assert_eq!(front.asked(), ["AssumeRole", "GetSecretValue"]);
    let body = String::from_utf8(front.seen()[0].body.clone()).unwrap();
    assert!(body.contains("ExternalId=orders") && body.contains("RoleSessionName=sidekey"));
    front.instead(|action, _| (action == "AssumeRole").then(|| refusal_xml(403, "AccessDenied")));
    let said = get(&place, &KEYS, 77);
    assert!(said.contains("sts:AssumeRole") && said.contains(ROLE), "{said}");
}

#[test]
fn a_clock_that_is_wrong_is_told_from_a_key_that_is() {
    let (_, front, place) = (moto(), Front::start(), Place::new());
    config(&place, &front, "");
    front.instead(|_, _| {
        let body = json!({ "__type": "InvalidSignatureException", "message": "no" });
        Some(Response::json(400, &["Date: Thu, 01 Jan 2015 00:00:00 GMT"], &body))
    });
    let said = get(&place, &KEYS, 77);
    assert!(said.contains("clock") && said.contains("ahead of"), "{said}");
    front.instead(|_, _| Some(refusal(403, "UnrecognizedClientException", "no")));
    let said = get(&place, &KEYS, 77);
    assert!(said.contains("refused the credentials"), "{said}");
    assert!(!said.contains("clock"), "{said}");
}

#[test]
fn whatever_fails_later_leaves_the_last_good_generation_and_passes() {
    let (moto, front, place) = (moto(), Front::start(), Place::new());
    moto.secret("later", "good");
    config(&place, &front, "");
    let text = std::fs::read_to_string(place.path("sidekey.yaml")).unwrap();
    place.write("sidekey.yaml", text.replace("secretsmanager/who", "secretsmanager/later"));
    let mut run = stranger(&place, &["run", "--log-format", "json"]);
    run.envs(KEYS);
    let _agent = place.run_as(run);
    for (code, reason) in [
        ("AccessDeniedException", "permission_denied"),
        ("ResourceNotFoundException", "not_found"),
        ("ThrottlingException", "store_throttled"),
    ] {
        front.instead(move |_, _| Some(refusal(400, code, "no")));
        eventually(reason, || place.says(reason));
        assert_eq!(place.text("app"), "good");
        assert!(place.ready().unwrap()["ready"].as_bool().unwrap());
        if reason == "store_throttled" {
            break; // it waits up to a minute
        }
        front.pass();
        eventually("it is well again", || !place.says(reason));
    }
}
