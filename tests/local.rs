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
    assert!(stderr.contains("this is not YAML"), "{stderr}");
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
fn a_store_is_encrypted_anew_for_others_as_it_stands() {
    let place = Place::new();
    let (mine, friend, other) =
        (keygen(&place, "key.txt"), keygen(&place, "friend.txt"), keygen(&place, "other.txt"));
    let edit = |script: &str| {
        let mut command = place.command(&["local", "edit", "s.age"]);
        let command = command.current_dir(place.path("")).env("VISUAL", script);
        command.env("XDG_RUNTIME_DIR", place.path("")).stdin(Stdio::null()).output().unwrap()
    };
    exits(&local(&place, &["set", "s.age", "db.password"], b"p"), 0);
    let text = "# ours\nzeta: 1 # last things first\ndb: {user: u, password: p}\n";
    place.write("wanted", text);
    let wanted = place.path("wanted").display().to_string();
    exits(&edit(&format!("cp {wanted}")), 0);
    let said = local(&place, &["recipients", "s.age", "--add", &friend, "--add", &other], b"");
    exits(&said, 0);
    let all = format!("{mine}\n{friend}\n{other}\n");
    assert_eq!(String::from_utf8(said.stdout).unwrap(), all);

    // Each of them can read it, change it, and shuts nobody out by that.
    for key in ["friend.txt", "other.txt"] {
        exits(&local(&place, &["set", "s.age", "n.by", "--key-file", key], key.as_bytes()), 0);
        assert_eq!(local(&place, &["get", "s.age", "n.by"], b"").stdout, key.as_bytes());
    }

    // Comments and order stay when only the recipients change.
    let marked = format!("# recipients: {mine} {friend} {other}\n{text}");
    place.write("wanted", &marked);
    exits(&edit(&format!("cp {wanted}")), 0);
    let removed = local(&place, &["recipients", "s.age", "--remove", &friend], b"");
    let warning = exits(&removed, 0);
    assert!(warning.contains("change them where they come from"), "{warning}");
    assert_eq!(String::from_utf8(removed.stdout).unwrap(), format!("{mine}\n{other}\n"));
    exits(&local(&place, &["get", "s.age", "zeta", "--key-file", "friend.txt"], b""), 77);
    exits(&edit(&format!("sh {}", place.write("see", "cp \"$1\" seen\n").display())), 0);
    let seen = std::fs::read_to_string(place.path("seen")).unwrap();
    assert_eq!(seen, format!("# recipients: {mine} {other}\n{text}"));

    // Nobody locks himself out, and a slip is told.
    let before = std::fs::read(place.path("s.age")).unwrap();
    for (who, why) in [(&mine, "the key at hand"), (&friend, "is not encrypted for it")] {
        let refused = exits(&local(&place, &["recipients", "s.age", "--remove", who], b""), 78);
        assert!(refused.contains(why), "{refused}");
    }
    exits(&local(&place, &["recipients", "s.age", "--add", "age1nonsense"], b""), 78);
    assert_eq!(std::fs::read(place.path("s.age")).unwrap(), before);
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
fn binary_values_come_back_byte_for_byte() {
    let place = Place::new();
    keygen(&place, "key.txt");
    let every: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    exits(&local(&place, &["set", "s.age", "tls.keystore"], &every), 0);
    exits(&local(&place, &["set", "s.age", "tls.password"], b"x"), 0);
    assert_eq!(local(&place, &["get", "s.age", "tls.keystore"], b"").stdout, every);
}

#[test]
fn what_is_missing_or_does_not_fit_has_its_exit_code_and_a_way_out() {
    let place = Place::new();
    let stderr = exits(&local(&place, &["get", "s.age", "db"], b""), 75);
    assert!(stderr.contains("sidekey local keygen"), "{stderr}");
    keygen(&place, "key.txt");
    let stderr = exits(&local(&place, &["get", "s.age", "db"], b""), 75);
    assert!(stderr.contains("sidekey local set"), "{stderr}");
    exits(&local(&place, &["set", "s.age", "db.password"], b"hunter2"), 0);
    let stderr = exits(&local(&place, &["get", "s.age", "bd.password"], b""), 66);
    assert!(stderr.contains("did you mean `db`?"), "{stderr}");
    let stderr = exits(&local(&place, &["get", "s.age", "db.pasword"], b""), 65);
    assert!(stderr.contains("did you mean `password`?"), "{stderr}");
    let whole = std::fs::read(place.path("s.age")).unwrap();
    std::fs::write(place.path("s.age"), &whole[..whole.len() / 2]).unwrap();
    let stderr = exits(&local(&place, &["get", "s.age", "db"], b""), 65);
    assert!(stderr.contains("cut off"), "{stderr}");
    std::fs::write(place.path("s.age"), "db: {password: hunter2}\n").unwrap();
    let stderr = exits(&local(&place, &["set", "s.age", "db.user"], b"u"), 65);
    assert!(stderr.contains("not made by age") && !stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    keygen(&place, "key.txt");
    let set = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("key.txt"), permissions).unwrap();
        exits(&local(&place, &["set", "s.age", "x"], b"y"), 0)
    };
    assert!(!set(0o600).contains("warning"));
    let stderr = set(0o644);
    assert!(stderr.contains("warning: everybody may read the key"), "{stderr}");
}

#[test]
fn nobody_who_could_open_a_file_is_shut_out_without_a_word() {
    let place = Place::new();
    let both = [keygen(&place, "key.txt"), keygen(&place, "friend.txt")];
    // As age's own tool makes it: nothing in the file names whom it is for.
    let plain = sidekey::secret::SecretBytes::copy_of(b"# mine\nx: y\n");
    let sealed = sidekey::agent::store::local::seal(&plain, &both).unwrap();
    std::fs::write(place.path("s.age"), sealed).unwrap();
    let edit = |args: &[&str]| {
        let mut command = place.command(&[&["local", "edit", "s.age"], args].concat());
        command.current_dir(place.path("")).env("VISUAL", "true").stdin(Stdio::null());
        command.output().unwrap()
    };
    let stderr = exits(&local(&place, &["set", "s.age", "x"], b"z"), 78);
    assert!(stderr.contains("2 keys can open it and only 1"), "{stderr}");
    exits(&edit(&[]), 78);
    exits(&edit(&["--recipient", &both[1]]), 0);
    exits(&local(&place, &["set", "s.age", "x"], b"z"), 0);
    let got = local(&place, &["get", "s.age", "x", "--key-file", "friend.txt"], b"");
    assert_eq!(got.stdout, b"z");
}

#[test]
fn an_edit_never_undoes_what_somebody_else_did_meanwhile() {
    let place = Place::new();
    keygen(&place, "key.txt");
    exits(&local(&place, &["set", "s.age", "x"], b"first"), 0);
    let editor = format!(
        "#!/bin/sh\nprintf second | {} local set s.age --key-file key.txt x\necho 'y: 1' >> \"$1\"\n",
        agent::SIDEKEY
    );
    let script = place.path("editor");
    std::fs::write(&script, editor).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let mut command = place.command(&["local", "edit", "s.age"]);
    command.current_dir(place.path("")).env("VISUAL", &script).stdin(Stdio::null());
    let stderr = exits(&command.output().unwrap(), 75);
    assert!(stderr.contains("meantime"), "{stderr}");
    assert_eq!(local(&place, &["get", "s.age", "x"], b"").stdout, b"second");
}

#[test]
fn a_store_that_was_broken_and_mended_is_read_at_once() {
    let place = Place::new();
    keygen(&place, "key.txt");
    exits(&local(&place, &["set", "s.age", "db.password"], b"one"), 0);
    place.config(
        "stores:\n  dev: { kind: local, file: DIR/s.age, key_file: DIR/key.txt }\n\
         secrets:\n  user: { from: \"dev:db#user\", refresh: 1h, optional: true }\n  \
         word: { from: \"dev:db#password\", refresh: 1h }\n\
         files:\n  password: { from: word }\n  user: { from: user }\n",
    );
    let _agent = place.run();
    assert_eq!(place.text("password"), "one");
    let good = std::fs::read(place.path("s.age")).unwrap();
    std::fs::write(place.path("s.age"), b"broken").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(place.text("password"), "one", "the last good one stays");
    std::fs::write(place.path("s.age"), good).unwrap();
    exits(&local(&place, &["set", "s.age", "db.user"], b"ada"), 0);
    exits(&local(&place, &["set", "s.age", "db.password"], b"two"), 0);
    agent::eventually("both new values", || {
        place.text("password") == "two" && place.text("user") == "ada"
    });
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

#[test]
fn an_interrupt_while_editing_leaves_no_plaintext_behind() {
    let place = Place::new();
    keygen(&place, "key.txt");
    exits(&local(&place, &["set", "s.age", "db.password"], b"hunter2"), 0);
    let script = place.write("editor.sh", "kill -INT $PPID\nkill -TERM $PPID\nsleep 0.2\nexit 3\n");
    let mut command = place.command(&["local", "edit", "s.age"]);
    command.current_dir(place.path("")).env("VISUAL", format!("sh {}", script.display()));
    command.env("XDG_RUNTIME_DIR", place.path("")).stdin(Stdio::null());
    let stderr = exits(&command.output().unwrap(), 78);
    assert!(stderr.contains("exit status: 3"), "{stderr}");
    let left = std::fs::read_dir(place.path("")).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("sidekey-edit")
    });
    assert_eq!(left.count(), 0);
}
