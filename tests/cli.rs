//! Conversations with the command line, as folders that a user could have had: each error class once.
//!
//! `tests/cli/<case>/` holds `cmd` (arguments, one line), perhaps `config.yaml`, and what is said:
//! `stdout.txt`, `stderr.txt`, `code`. Where there is a file `running`, `sidekey run` runs meanwhile. In all of them `DIR` is the place, `BAO` a real OpenBao's address
//! and `CLOSED` an address where nobody listens. `SIDEKEY_TEST_WRITE=1 cargo test --test cli` writes
//! what is said now; read it before you keep it.

#![cfg(all(feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "it runs the binary under test"
)]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::path::{Path, PathBuf};

use agent::Place;
use serde_json::json;
use support::Bao;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "found only {} cases", cases.len());
    cases
}

/// A server with what the cases ask for.
fn bao() -> Bao {
    let bao = Bao::dev();
    bao.policy(
        "reader",
        &[
            ("secret/data/app", &["read"]),
            ("secret/metadata/app", &["read"]),
            ("secret/data/absent", &["read"]),
            ("secret/data/deleted", &["read"]),
        ],
    );
    bao.write("app", &json!({ "user": "u", "password": "p" }));
    bao.write("deleted", &json!({ "x": "y" }));
    bao.admin().delete("secret/data/deleted").good();
    bao
}

struct World {
    bao: Bao,
    token: String,
    closed: String,
}

impl World {
    fn new() -> World {
        let bao = bao();
        let token = bao.token(&["reader"], &json!({}));
        // A port that was just free.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}", listener.local_addr().unwrap());
        World { bao, token, closed }
    }

    /// Runs one case and gives what was said, with the names in place of what they stand for.
    fn run(&self, case: &Path) -> (String, String, i32) {
        let place = Place::new();
        place.write("token", &self.token);
        let dir = place.path("").display().to_string();
        let dir = dir.trim_end_matches('/');
        let fill = |text: String| {
            text.replace("DIR", dir)
                .replace("BAO", &self.bao.address())
                .replace("CLOSED", &self.closed)
        };
        if let Ok(config) = std::fs::read_to_string(case.join("config.yaml")) {
            place.write("sidekey.yaml", fill(config));
        }
        let cmd = fill(std::fs::read_to_string(case.join("cmd")).unwrap());
        let args: Vec<&str> = cmd.split_whitespace().collect();
        let _agent = case.join("running").exists().then(|| place.run());
        let mut command = place.command(&args);
        // The words are the same on every machine and in every language.
        let output = command.env("COLUMNS", "100").env("LC_ALL", "C").output().unwrap();
        let plain = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let text = text.replace(dir, "DIR").replace(&self.bao.address(), "BAO");
            let text = text.replace(&self.closed, "CLOSED");
            let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
            features_apart(anywhere(timeless(&without_log(&text))))
        };
        (unaligned(&plain(output.stdout)), plain(output.stderr), output.status.code().unwrap_or(-1))
    }
}

/// What this kernel locks in is told in text as the newest kernel has it.
fn anywhere(text: String) -> String {
    let here = sidekey::sandbox::offered();
    let remarks = here.remarks().into_iter().map(|remark| format!("  {remark}\n"));
    remarks
        .fold(text, |text, remark| text.replace(&remark, ""))
        .replace(&format!("machine: {}\n", here.level()), "machine: full\n")
}

/// Log lines carry the time; what is said at the end is what these tests are about.
fn without_log(text: &str) -> String {
    let said = text.split_inclusive('\n').filter(|line| !line.starts_with("20"));
    said.collect()
}

/// What a binary is built with is up to whoever builds it.
fn features_apart(text: String) -> String {
    match text.find("\nfeatures: ") {
        Some(at) => text[..at].to_owned() + "\nfeatures: FEATURES\n",
        None => text,
    }
}

/// Ages and times to wait differ from run to run, and what the kernel guards us with from machine to machine.
fn timeless(text: &str) -> String {
    let mut text = text.to_owned();
    let differ = [
        ("age_seconds", "AGE"),
        ("next", "NEXT"),
        ("memory", "MEMORY"),
        ("confinement", "LEVEL"),
        ("landlock", "VERSION"),
        ("seccomp", "SECCOMP"),
    ];
    for (key, name) in differ {
        let key = format!("\"{key}\":");
        let Some(start) = text.find(&key).map(|at| at + key.len()) else { continue };
        let end = text[start..].find([',', '}']).map_or(text.len(), |length| start + length);
        text.replace_range(start..end, name);
    }
    text
}

/// Columns are as wide as what the names stand for.
fn unaligned(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("   ") {
        text = text.replace("   ", "  ");
    }
    text
}

#[test]
fn every_conversation_goes_as_its_folder_says() {
    let world = World::new();
    let write = std::env::var_os("SIDEKEY_TEST_WRITE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let (stdout, stderr, code) = world.run(&case);
        for (name, said) in
            [("stdout.txt", stdout), ("stderr.txt", stderr), ("code", format!("{code}\n"))]
        {
            let path = case.join(name);
            if write {
                std::fs::write(&path, said).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != said {
                let case = case.file_name().unwrap().to_string_lossy().into_owned();
                wrong.push(format!("--- {case}/{name} ---\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_error_says_what_why_and_what_to_do() {
    for case in cases() {
        let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap_or_default();
        let code = read("code");
        let explained = ["64", "65", "66", "73", "75", "77", "78"].contains(&code.trim());
        let stderr = read("stderr.txt");
        // Usage errors of single arguments are clap's own, and name the usage or the help.
        let for_machines = read("stdout.txt").starts_with('{');
        let of_clap = stderr.contains("Usage:") || stderr.contains("try '--help'");
        if explained && !for_machines && !of_clap {
            assert!(stderr.contains("error: "), "{}", case.display());
            assert!(stderr.contains("hint: "), "{}", case.display());
        }
    }
}

#[test]
fn every_class_of_exit_codes_has_a_conversation() {
    let codes: Vec<String> =
        cases().iter().map(|case| std::fs::read_to_string(case.join("code")).unwrap()).collect();
    // 70 is a bug of ours, and nobody may be able to have that conversation.
    for code in ["0", "1", "64", "65", "66", "73", "75", "77", "78"] {
        assert!(codes.iter().any(|known| known.trim() == code), "no conversation ends with {code}");
    }
}

/// What `check --live` prints is neither too little nor a guess: with it, and nothing else, it works.
#[test]
fn the_policy_that_check_prints_is_enough() {
    let (bao, place) = (Bao::dev(), Place::new());
    bao.write("app", &json!({ "password": "p" }));
    place.write("token", bao.token(&["given"], &json!({})));
    place.config(&format!(
        "stores: {{ vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }} }}\n\
         secrets: {{ app: {{ from: \"vault:secret/data/app\" }} }}\nfiles: {{ key: {{ from: app.password }} }}\n",
        bao.address()
    ));
    let live = || {
        let output = place.sidekey(&["check", "--live", "--output", "json"]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer["live"][0]["missing_policy"].as_str().unwrap().to_owned())
    };
    let (code, missing) = live();
    assert_eq!(code, Some(77));
    bao.admin().put("sys/policies/acl/given", &json!({ "policy": missing })).good();
    assert_eq!(live(), (Some(0), String::new()));
    agent::exits(&place.sidekey(&["init"]), 0);
    assert_eq!(place.text("key"), "p");
}

/// What a person sees on a terminal differs from what a file gets in its colours only.
#[test]
fn an_error_reads_the_same_without_colours() {
    let place = Place::new();
    place.write("sidekey.yaml", "sekrets: {}\n");
    let python =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let on_a_terminal = |colours: &str, term: &str| {
        let check = place.command(&["check"]);
        let mut command = std::process::Command::new("python3");
        command.args(["-c", python]).arg(check.get_program()).args(check.get_args());
        command.envs(check.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("NO_COLOR", colours).env("TERM", term).env("COLUMNS", "100");
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
    };
    let coloured = on_a_terminal("", "xterm");
    assert!(coloured.contains('\u{1b}'), "no colours on a terminal: {coloured}");
    let plain = String::from_utf8(place.sidekey(&["check"]).stderr).unwrap();
    assert!(plain.contains("error: unknown key `sekrets`") && !plain.contains('\u{1b}'), "{plain}");
    assert_eq!(without_colours(&coloured), plain);
    assert_eq!(on_a_terminal("1", "xterm"), plain);
    assert_eq!(on_a_terminal("", "dumb"), plain);
}

/// The text without its escapes.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn the_schema_is_one_json_document_and_needs_no_config() {
    let place = Place::new();
    let output = place.sidekey(&["check", "--schema"]);
    agent::exits(&output, 0);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().starts_with("https://json-schema.org/"));
    assert!(schema["properties"]["stores"].is_object());
    assert!(output.stderr.is_empty());
}
