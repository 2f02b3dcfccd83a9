//! The local store from the command line, and the quick start that is made of it.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use agent::{Place, exits};

fn local(place: &Place, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = place
        .command(&[&["local"], args].concat())
        .current_dir(place.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

fn keygen(place: &Place, name: &str) -> String {
    let output = local(place, &["keygen", name], b"");
    exits(&output, 0);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_value_that_was_set_comes_back_byte_for_byte() {
    let place = Place::new();
    assert!(keygen(&place, "key.txt").starts_with("age1"));
    assert_eq!(std::fs::metadata(place.path("key.txt")).unwrap().mode() & 0o777, 0o600);
    for (name, value) in
        [("db.password", "a\n\"b\" $c \\ 'd'\n"), ("db.user", ""), ("plain", "0123")]
    {
        exits(&local(&place, &["set", "s.age", name], value.as_bytes()), 0);
    }
    for (name, value) in
        [("db.password", "a\n\"b\" $c \\ 'd'\n"), ("db.user", ""), ("plain", "0123")]
    {
        let got = local(&place, &["get", "s.age", name], b"");
        exits(&got, 0);
        assert_eq!(String::from_utf8(got.stdout).unwrap(), value, "{name}");
    }
    let sealed = std::fs::read_to_string(place.path("s.age")).unwrap();
    assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    assert_eq!(std::fs::metadata(place.path("s.age")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_key_is_never_overwritten() {
    let place = Place::new();
    keygen(&place, "key.txt");
    let before = std::fs::read(place.path("key.txt")).unwrap();
    let stderr = exits(&local(&place, &["keygen", "key.txt"], b""), 73);
    assert!(stderr.contains("already exists"), "{stderr}");
    assert_eq!(std::fs::read(place.path("key.txt")).unwrap(), before);
}

#[test]
fn an_editor_changes_the_text_in_memory_and_nothing_of_it_stays() {
    let place = Place::new();
    keygen(&place, "key.txt");
    exits(&local(&place, &["set", "s.age", "db.password"], b"old"), 0);
    let edit = |editor: &str, args: &[&str]| {
        let mut command = place.command(&[&["local", "edit", "s.age"], args].concat());
        let command = command.current_dir(place.path("")).env("VISUAL", editor);
        command.env("XDG_RUNTIME_DIR", place.path("")).stdin(Stdio::null()).output().unwrap()
    };
    exits(&edit("sed -i s/old/new/", &[]), 0);
    assert_eq!(local(&place, &["get", "s.age", "db.password"], b"").stdout, b"new");
    assert_eq!(String::from_utf8(edit("true", &[]).stdout).unwrap(), "nothing changed\n");

    // A mistake saves nothing, and neither does an editor that fails.
    let before = std::fs::read(place.path("s.age")).unwrap();
    let stderr = exits(&edit("sed -i s/db:/[/", &[]), 65);
    assert!(stderr.contains("not valid YAML"), "{stderr}");
    exits(&edit("false", &[]), 78);
    assert_eq!(std::fs::read(place.path("s.age")).unwrap(), before);

    // Another recipient can open it, and still can after the next change.
    let friend = keygen(&place, "friend.txt");
    exits(&edit("true", &["--recipient", &friend]), 0);
    exits(&local(&place, &["set", "s.age", "db.user"], b"u"), 0);
    let got = local(&place, &["get", "s.age", "db.password", "--key-file", "friend.txt"], b"");
    assert_eq!(got.stdout, b"new");
    keygen(&place, "stranger.txt");
    let got = local(&place, &["get", "s.age", "db.password", "--key-file", "stranger.txt"], b"");
    exits(&got, 77);

    let left = std::fs::read_dir(place.path("")).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("sidekey-edit")
    });
    assert_eq!(left.count(), 0, "the plaintext is gone");
}

#[test]
fn a_changed_local_store_is_noticed_without_waiting_for_the_refresh() {
    let place = Place::new();
    keygen(&place, "key.txt");
    exits(&local(&place, &["set", "s.age", "db.password"], b"one"), 0);
    place.config(
        "stores:\n  dev: { kind: local, file: DIR/s.age, key_file: DIR/key.txt }\n\
         secrets:\n  db: { from: \"dev:db\", refresh: 1h }\nfiles:\n  password: { from: db.password }\n",
    );
    let _agent = place.run();
    assert_eq!(place.text("password"), "one");
    exits(&local(&place, &["set", "s.age", "db.password"], b"two"), 0);
    agent::eventually("the new value", || place.text("password") == "two");
}

#[test]
fn the_quick_start_tells_its_story_to_the_end() {
    let binary = Path::new(agent::SIDEKEY).with_file_name("examples").join("quickstart");
    let output = Command::new(binary).output().unwrap();
    let story = String::from_utf8_lossy(&output.stdout).into_owned();
    exits(&output, 0);
    for part in ["now has second-password", "field_missing", "now has third-password", "done:"] {
        assert!(story.contains(part), "{story}");
    }
}
