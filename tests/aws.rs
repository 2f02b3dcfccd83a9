//! The whole path with the real binary and moto: what a user of AWS gets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "it runs the binary under test"
)]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::process::{Command, Output};

use agent::{Place, eventually, exits};
use serde_json::json;
use support::{Front, Moto, REGION, refusal};

/// A config of one secret `app` and what is given; `STORE` is the store that asks `front`.
fn config(place: &Place, front: &Front, text: &str) {
    let store = format!("{{ kind: aws, region: {REGION}, endpoint: \"{}\" }}", front.address());
    place.config(&text.replace("STORE", &store));
}

/// One secret that is delivered as a whole and polled quickly.
fn simple(place: &Place, front: &Front, from: &str) {
    let text = format!(
        "stores: {{ prod: STORE }}\n\
         secrets: {{ app: {{ from: \"prod:{from}\", refresh: 500ms }} }}\n\
         files: {{ app: {{ from: app }} }}"
    );
    config(place, front, &text);
}

/// `sidekey` as somebody with an access key.
fn sidekey(place: &Place, args: &[&str]) -> Command {
    let mut command = stranger(place, args);
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command
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

fn init(place: &Place) -> Output {
    sidekey(place, &["init"]).output().unwrap()
}

#[test]
fn init_delivers_a_secret_of_secrets_manager() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("first/text", "as it is\n");
    simple(&place, &front, "secretsmanager/first/text");
    exits(&init(&place), 0);
    assert_eq!(place.text("app"), "as it is\n");
    assert_eq!(front.asked(), ["GetSecretValue"]);
}

#[test]
fn a_new_version_is_noticed_by_its_id_and_only_then_read() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("polled", r#"{"key":"one"}"#);
    simple(&place, &front, "secretsmanager/polled#key");
    let agent = place.run_as(sidekey(&place, &["run", "--log-format", "json"]));
    eventually("three looks", || front.count("DescribeSecret") >= 3);
    assert_eq!(front.count("GetSecretValue"), 1);
    moto.change("polled", r#"{"key":"two"}"#);
    eventually("the new value", || place.text("app") == "two");
    assert_eq!(front.count("GetSecretValue"), 2);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_refused_look_is_remembered_and_the_value_is_read_instead() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("no-look", "one");
    front.refuse("DescribeSecret", 400, "AccessDeniedException");
    simple(&place, &front, "secretsmanager/no-look");
    let _agent = place.run_as(sidekey(&place, &["run", "--log-format", "json"]));
    moto.change("no-look", "two");
    eventually("the new value", || place.text("app") == "two");
    eventually("more reads", || front.count("GetSecretValue") >= 4);
    assert_eq!(front.count("DescribeSecret"), 1);
    assert!(place.ready().unwrap()["ready"].as_bool().unwrap());
}

#[test]
fn a_refusal_names_the_action_the_resource_and_what_is_missing() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("closed", "never seen");
    front.instead(|_, _| Some(refusal(400, "AccessDeniedException", "User: x is not authorized")));
    simple(&place, &front, "secretsmanager/closed");
    let stderr = exits(&init(&place), 77);
    for part in ["secretsmanager:GetSecretValue", "secretsmanager/closed", "policy of the role"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(!stderr.contains("User: x"), "{stderr}");
}

/// Several secrets, each delivered as a file of its name; `more` are further keys of each.
fn several(place: &Place, front: &Front, secrets: &[(&str, &str)], more: &str) {
    let mut text = "stores: { prod: STORE }\nsecrets:\n".to_owned();
    for (name, from) in secrets {
        text += &format!("  {name}: {{ from: \"prod:{from}\"{more} }}\n");
    }
    text += "files:\n";
    for (name, _) in secrets {
        text += &format!("  {name}: {{ from: {name} }}\n");
    }
    config(place, front, &text);
}

#[test]
fn text_fields_and_bytes_of_secrets_manager_arrive_as_they_are() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("forms/json", r#"{"user":"app","port":5432,"n":{"a":["x","y"]}}"#);
    let body = json!({ "Name": "forms/binary", "SecretBinary": "AP8NCgA=" });
    moto.ask("secretsmanager.CreateSecret", &body);
    let body = json!({ "Name": "/forms/slash@home", "SecretString": "slash" });
    let arn = moto.ask("secretsmanager.CreateSecret", &body)["ARN"].as_str().unwrap().to_owned();
    let first = moto.secret("forms/old", "first");
    moto.change("forms/old", "second");
    let arn = format!("secretsmanager/{}", arn.replace('@', "%40"));
    let pinned = format!("secretsmanager/forms/old@{first}");
    let secrets = [
        ("port", "secretsmanager/forms/json#port"),
        ("deep", "secretsmanager/forms/json#/n/a/1"),
        ("bytes", "secretsmanager/forms/binary"),
        ("name", "secretsmanager//forms/slash%40home"),
        ("arn", arn.as_str()),
        ("pinned", pinned.as_str()),
        ("previous", "secretsmanager/forms/old@AWSPREVIOUS"),
        ("newest", "secretsmanager/forms/old"),
    ];
    several(&place, &front, &secrets, "");
    exits(&init(&place), 0);
    let text = |name: &str| place.text(name);
    assert_eq!((text("port"), text("deep")), ("5432".into(), "y".into()));
    assert_eq!(place.delivered("bytes").unwrap(), [0, 255, 13, 10, 0]);
    assert_eq!((text("name"), text("arn")), ("slash".into(), "slash".into()));
    assert_eq!((text("pinned"), text("previous")), ("first".into(), "first".into()));
    assert_eq!(text("newest"), "second");
}

#[test]
fn many_secrets_are_first_read_in_batches_of_twenty_and_then_looked_at_one_by_one() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    let names: Vec<String> = (0..45).map(|i| format!("many{i}")).collect();
    let froms: Vec<String> = names.iter().map(|name| format!("secretsmanager/{name}")).collect();
    for name in &names {
        moto.secret(name, name);
    }
    let secrets: Vec<_> =
        names.iter().map(String::as_str).zip(froms.iter().map(String::as_str)).collect();
    several(&place, &front, &secrets, "");
    exits(&init(&place), 0);
    assert_eq!(place.text("many44"), "many44");
    assert_eq!(front.asked(), ["BatchGetSecretValue"; 3]);
}

#[test]
fn without_leave_for_batches_each_secret_is_read_alone() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("alone/a", "a");
    moto.secret("alone/b", "b");
    front.refuse("BatchGetSecretValue", 400, "AccessDeniedException");
    let secrets = [("a", "secretsmanager/alone/a"), ("b", "secretsmanager/alone/b")];
    several(&place, &front, &secrets, "");
    exits(&init(&place), 0);
    assert_eq!((place.text("a"), place.text("b")), ("a".into(), "b".into()));
    assert_eq!(front.count("BatchGetSecretValue"), 1);
}

#[test]
fn parameters_of_every_kind_arrive_in_batches_of_ten_and_a_subtree_as_one_secret() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.parameter("/kinds/text", "String", "plain");
    moto.parameter("/kinds/list", "StringList", "one,two,three");
    moto.parameter("/kinds/secure", "SecureString", "hidden");
    moto.parameter("/kinds/json", "SecureString", r#"{"user":"app"}"#);
    moto.parameter("relative", "String", "no slash");
    for value in ["v1", "v2"] {
        moto.parameter("/kinds/versions", "String", value);
    }
    let label = json!({ "Name": "/kinds/versions", "ParameterVersion": 1, "Labels": ["stable"] });
    moto.ask("AmazonSSM.LabelParameterVersion", &label);
    for i in 0..13 {
        moto.parameter(&format!("/tree/deep/p{i}"), "SecureString", &i.to_string());
    }
    let secrets = [
        ("text", "ssm//kinds/text"),
        ("list", "ssm//kinds/list"),
        ("secure", "ssm//kinds/secure"),
        ("user", "ssm//kinds/json#user"),
        ("relative", "ssm/relative"),
        ("pinned", "ssm//kinds/versions@1"),
        ("stable", "ssm//kinds/versions@stable"),
        ("newest", "ssm//kinds/versions"),
        ("leaf", "ssm//tree/*#deep/p12"),
    ];
    several(&place, &front, &secrets, "");
    exits(&init(&place), 0);
    let expected = [
        ("text", "plain"),
        ("list", "one\ntwo\nthree"),
        ("secure", "hidden"),
        ("user", "app"),
        ("relative", "no slash"),
        ("pinned", "v1"),
        ("stable", "v1"),
        ("newest", "v2"),
        ("leaf", "12"),
    ];
    for (name, value) in expected {
        assert_eq!(place.text(name), value, "{name}");
    }
    assert_eq!(front.count("GetParameters"), 1, "{:?}", front.asked());
    assert_eq!(front.count("GetParameter"), 2, "{:?}", front.asked());
    assert_eq!(front.count("GetParametersByPath"), 2, "{:?}", front.asked());
}

#[test]
fn a_parameter_that_may_not_be_read_holds_up_no_other() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.parameter("/closed/good", "String", "good");
    moto.parameter("/closed/bad", "String", "never seen");
    front.instead(|action, body| {
        let closed = action == "GetParameters" || body["Name"] == "/closed/bad";
        closed.then(|| refusal(400, "AccessDeniedException", "no"))
    });
    let more = ", optional: true";
    several(&place, &front, &[("good", "ssm//closed/good"), ("bad", "ssm//closed/bad")], more);
    exits(&init(&place), 0);
    assert_eq!(place.text("good"), "good");
}

#[test]
fn a_parameter_that_is_made_anew_with_its_old_number_is_a_change() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.parameter("/anew", "String", "first");
    simple(&place, &front, "ssm//anew");
    let _agent = place.run_as(sidekey(&place, &["run", "--log-format", "json"]));
    assert_eq!(place.text("app"), "first");
    moto.ask("AmazonSSM.DeleteParameter", &json!({ "Name": "/anew" }));
    moto.parameter("/anew", "String", "second");
    eventually("the other value", || place.text("app") == "second");
}

/// A ciphertext of KMS in base64.
fn encrypted(moto: &Moto, key: &str, plain: &str, context: &serde_json::Value) -> String {
    use base64::Engine as _;
    let plain = base64::engine::general_purpose::STANDARD.encode(plain);
    let body = json!({ "KeyId": key, "Plaintext": plain, "EncryptionContext": context });
    moto.ask("TrentService.Encrypt", &body)["CiphertextBlob"].as_str().unwrap().to_owned()
}

#[test]
fn a_ciphertext_is_decrypted_once_and_again_only_when_its_file_changes() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    let (key, context) = (moto.key(), json!({ "app": "orders" }));
    place.write("seed.enc", encrypted(moto, &key, "first", &context));
    let text = "stores: { prod: STORE }\n\
         secrets: { seed: { from: \"prod:kms/decrypt\", refresh: 500ms, \
         with: { ciphertext_file: DIR/seed.enc, context: { app: orders } } } }\n\
         files: { seed: { from: seed } }";
    config(&place, &front, text);
    let _agent = place.run_as(sidekey(&place, &["run", "--log-format", "json"]));
    assert_eq!(place.text("seed"), "first");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(front.asked(), ["Decrypt"]);
    place.write("seed.enc", encrypted(moto, &key, "second", &context));
    eventually("the new plaintext", || place.text("seed") == "second");
    assert_eq!(front.count("Decrypt"), 2);
    let whole = std::fs::read(place.path("seed.enc")).unwrap();
    place.write("seed.enc", &whole[..whole.len() - 3]);
    eventually("the cut is told", || place.says("answer_malformed"));
    assert_eq!(place.text("seed"), "second");
    place.write("seed.enc", &whole);
    eventually("it is well again", || !place.says("answer_malformed"));
}

#[test]
fn what_seal_makes_is_opened_and_a_cut_or_a_wrong_context_or_a_disabled_key_is_named() {
    use std::io::Write as _;
    use std::process::Stdio;
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    let key = moto.key();
    let text = "stores: { prod: STORE }\n\
         secrets: { seed: { from: \"prod:kms/decrypt\", \
         with: { ciphertext_file: DIR/seed.enc, context: { app: orders } } } }\n\
         files: { seed: { from: seed } }";
    config(&place, &front, text);
    let plain = "much longer than KMS takes ".repeat(400);
    let mut sealing = sidekey(&place, &["seal", "--key", &key, "--context", "app=orders"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sealing.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let sealed = String::from_utf8(sealing.wait_with_output().unwrap().stdout).unwrap();
    place.write("seed.enc", &sealed);
    exits(&init(&place), 0);
    assert_eq!(place.text("seed"), plain);

    let fails = |code: i32, word: &str| {
        let stderr = exits(&sidekey(&place, &["get", "seed"]).output().unwrap(), code);
        assert!(stderr.contains(word) && stderr.contains("hint:"), "{stderr}");
    };
    for end in [1000, 1001, sealed.len() - 10] {
        place.write("seed.enc", &sealed[..end]);
        fails(65, "cut short");
    }
    let bare = encrypted(moto, &key, "bare", &json!({ "app": "other" }));
    place.write("seed.enc", &bare);
    fails(77, "with this context");
    place.write("seed.enc", &bare[..40]);
    fails(65, "cut short");
    place.write("seed.enc", &sealed);
    // moto decrypts with a disabled key, too.
    front.refuse("Decrypt", 400, "DisabledException");
    fails(77, "the key is disabled");
}

#[test]
fn a_batch_that_is_over_its_quota_becomes_single_reads_at_once() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("quota/a", "a");
    moto.secret("quota/b", "b");
    front.refuse("BatchGetSecretValue", 400, "ThrottlingException");
    let secrets = [("a", "secretsmanager/quota/a"), ("b", "secretsmanager/quota/b")];
    several(&place, &front, &secrets, "");
    exits(&init(&place), 0);
    assert_eq!(front.asked(), ["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]);
}

#[test]
fn the_sdk_does_not_ask_again_by_itself() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("once", "value");
    for (status, code, exit) in
        [(500, "InternalServiceError", 75), (400, "ThrottlingException", 75)]
    {
        let before = front.asked().len();
        front.instead(move |_, _| Some(refusal(status, code, "no")));
        simple(&place, &front, "secretsmanager/once");
        exits(&sidekey(&place, &["get", "app"]).output().unwrap(), exit);
        assert_eq!(front.asked().len(), before + 1, "{code}");
    }
}

#[test]
fn check_live_names_every_missing_permission_before_the_roll_out() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("live/open", "value");
    moto.secret("live/closed", "value");
    moto.parameter("/live/closed", "String", "value");
    front.instead(|_, body| {
        let closed = body.to_string().contains("live/closed");
        closed.then(|| refusal(400, "AccessDeniedException", "no"))
    });
    let secrets = [
        ("open", "secretsmanager/live/open"),
        ("closed", "secretsmanager/live/closed"),
        ("parameter", "ssm//live/closed"),
        ("absent", "secretsmanager/live/absent"),
    ];
    several(&place, &front, &secrets, "");
    let stderr = exits(&sidekey(&place, &["check", "--live"]).output().unwrap(), 77);
    for part in [
        "`secretsmanager:GetSecretValue` on `secretsmanager/live/closed`",
        "`ssm:GetParameter` on `ssm//live/closed`",
        "`secretsmanager/live/absent` is not in store `prod`",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!stderr.contains("live/open"), "{stderr}");
}

#[test]
fn what_is_no_json_and_a_field_that_is_missing_are_told_apart() {
    let (moto, front, place) = (Moto::shared(), Front::start(), Place::new());
    moto.secret("fields/text", "hunter2 is not JSON");
    moto.secret("fields/json", r#"{"user":"app"}"#);
    moto.secret("fields/list", "[1]");
    for (from, word) in [
        ("secretsmanager/fields/text#key", "it is no JSON: not JSON at line 1, column 1"),
        ("secretsmanager/fields/list#key", "JSON without fields"),
        ("secretsmanager/fields/json#key", "it has: user"),
        ("secretsmanager/fields/gone", "is not in store"),
    ] {
        simple(&place, &front, from);
        let code = if from.ends_with("gone") { 66 } else { 65 };
        let stderr = exits(&sidekey(&place, &["get", "app"]).output().unwrap(), code);
        assert!(stderr.contains(word) && stderr.contains("hint:"), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}
