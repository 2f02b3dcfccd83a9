//! `sidekey exec` with the real binary: what the command gets, when it is started anew, how it ends.

#![cfg(all(feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use agent::{Place, SIDEKEY, eventually, exits};
use serde_json::json;
use support::{Bao, Database, Postgres};

/// A place with a local store that holds `app.key`.
fn laptop(value: &str, more: &str) -> Place {
    let place = Place::new();
    exits(&place.sidekey(&["local", "keygen", place.path("key.txt").to_str().unwrap()]), 0);
    put(&place, value);
    place.config(&format!(
        "stores:\n  dev: {{ kind: local, file: DIR/store.age, key_file: DIR/key.txt }}\n\
         secrets:\n  app: {{ from: \"dev:app\" }}\nenv: {{ APP_KEY: app.key }}\n{more}"
    ));
    place
}

fn put(place: &Place, value: &str) {
    let (store, key) = (place.path("store.age"), place.path("key.txt"));
    let mut child = place
        .command(&[
            "local",
            "set",
            store.to_str().unwrap(),
            "--key-file",
            key.to_str().unwrap(),
            "app.key",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// `sidekey exec [options] -- sh -c SCRIPT` in the place.
fn shell(place: &Place, options: &[&str], script: &str) -> Command {
    let mut command = place.command(&["exec", "--log-format", "json"]);
    command.args(options).args(["--", "sh", "-c", script]).current_dir(place.path("."));
    command.stdin(Stdio::null());
    command
}

fn start(place: &Place, script: &str) -> Child {
    let log = std::fs::File::create(place.path("agent.log")).unwrap();
    shell(place, &[], script).stderr(log).spawn().unwrap()
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn a_command_gets_secrets_by_the_config_and_by_reference_and_no_logins() {
    let place = laptop("one", "files:\n  key: { from: app.key }\n");
    let script = "printf '%s|%s|%s|%s|%s' \"$APP_KEY\" \"$BY_NAME\" \"$PLAIN\" \"$VAULT_TOKEN$MY_SECRET_ID\" \"$(cat volume/key)\"";
    for options in [&[][..], &["--replace"]] {
        let output = shell(&place, options, script)
            .env("BY_NAME", "dev:app#key")
            .env("PLAIN", "dev:no-reference")
            .env("VAULT_TOKEN", "x")
            .env("MY_SECRET_ID", "y")
            .output()
            .unwrap();
        exits(&output, 0);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "one|one|dev:no-reference||one", "{options:?}");
    }
}

#[test]
fn its_end_is_ours_whatever_it_is() {
    let place = laptop("one", "");
    for options in [&[][..], &["--replace"]] {
        assert_eq!(shell(&place, options, "exit 7").output().unwrap().status.code(), Some(7));
        let plain = place.write("plain", "no program").display().to_string();
        for (program, code) in [("/no/such/program", 127), (plain.as_str(), 126)] {
            let mut command = place.command(&["exec"]);
            let output = command.args(options).args(["--", program]).output().unwrap();
            let said = exits(&output, code);
            assert!(said.contains(program) && said.contains("there is no shell"), "{said}");
        }
    }
    let killed = shell(&place, &[], "kill -9 $$").output().unwrap();
    assert_eq!(killed.status.code(), Some(137));
    // A signal for us is for the command, and its answer is the answer.
    let mut child = start(&place, "trap 'exit 9' TERM; touch there; while :; do sleep 0.05; done");
    eventually("the command", || place.path("there").exists());
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn it_is_started_anew_with_what_is_new_and_only_then() {
    let place = laptop("one", "");
    let script = "echo $APP_KEY >> keys; exec sleep 1000";
    let mut child = start(&place, script);
    let keys = || std::fs::read_to_string(place.path("keys")).unwrap_or_default();
    eventually("the first start", || keys() == "one\n");
    put(&place, "two");
    eventually("the second start", || keys() == "one\ntwo\n");
    put(&place, "two");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(keys(), "one\ntwo\n", "the same value starts nothing");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_command_that_does_not_end_is_killed_for_its_successor() {
    let place = laptop("one", "");
    let script = "trap '' TERM; echo $APP_KEY >> keys; while :; do sleep 0.1; done";
    let mut child = start(&place, script);
    let keys = || std::fs::read_to_string(place.path("keys")).unwrap_or_default();
    eventually("the first start", || keys() == "one\n");
    put(&place, "two");
    eventually("the second start", || keys() == "one\ntwo\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let own = format!("echo $APP_KEY >> {}", "keys");
    drop(Command::new("pkill").args(["-9", "-f", &own]).status());
}

#[test]
fn the_command_inherits_nothing_of_ours_but_the_terminal() {
    let place = laptop("one", "");
    let script = "umask; ulimit -c; ls /proc/self/fd | wc -l; grep -E 'SigBlk|SigIgn' /proc/self/status | tail -c 7";
    let plain = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    for options in [&[][..], &["--replace"]] {
        let output = shell(&place, options, script).output().unwrap();
        exits(&output, 0);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), plain, "{options:?}");
    }
}

#[test]
fn with_replace_the_process_is_the_command() {
    let place = laptop("one", "");
    let child = shell(&place, &["--replace"], "echo $$").stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), pid.to_string());
}

#[test]
fn a_lease_is_given_back_when_the_command_ends_and_refused_with_replace() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    let database = Database::between(&bao, &postgres);
    database.role("orders", "1h", "2h");
    place.write("token", &bao.root);
    let text = format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: {}/token }} }} }}\n\
         secrets:\n  db: {{ from: \"vault:database/creds/orders\" }}\nenv: {{ DB_USER: db.username }}\n",
        bao.address(),
        place.path("").display()
    );
    place.write("sidekey.yaml", text);
    let output = shell(&place, &[], "echo $DB_USER; touch there; sleep 1").output().unwrap();
    exits(&output, 0);
    assert!(output.stdout.starts_with(b"v-"));
    assert_eq!(postgres.users(), Vec::<String>::new(), "given back at the end");
    let refused = exits(&shell(&place, &["--replace"], "true").output().unwrap(), 78);
    assert!(refused.contains("`db`") && refused.contains("leave out `--replace`"), "{refused}");
}

#[test]
fn what_is_wrong_is_said_before_the_command_is_started() {
    let place = laptop("one", "");
    let missing = place.command(&["exec"]).output().unwrap();
    assert!(exits(&missing, 64).contains("<CMD>"), "usage");
    let wrong = shell(&place, &[], "touch there").env("X", "dev:a#b#c#d").output().unwrap();
    assert!(exits(&wrong, 78).contains("the variable `X` holds no reference"));
    let absent = shell(&place, &[], "touch there").env("X", "dev:app#no").output().unwrap();
    let said = exits(&absent, 65);
    assert!(said.contains("`no`"), "{said}");
    assert!(!place.path("there").exists());
    let _ = (SIDEKEY, json!({}));
}
