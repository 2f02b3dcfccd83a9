//! The shipped binary, killed or failed at every system call of an `init` that publishes a new
//! generation: the files are old or new, complete, and the next start puts everything in order.
//!
//! Needs strace and the release binary: `make e2e`.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `make build` made.
fn binary() -> PathBuf {
    let built = "target/x86_64-unknown-linux-gnu/release/sidekey";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(built);
    assert!(path.exists(), "there is no {built}: `make build` makes it");
    path
}

/// A place on a tmpfs with a store of version one delivered and version two waiting.
struct Place(PathBuf);

impl Place {
    fn new(fault: &str) -> Place {
        let name = format!("/dev/shm/sidekey-crash-{}-{fault}", std::process::id());
        let dir = PathBuf::from(name);
        let _ = std::fs::remove_dir_all(&dir);
        for sub in ["", "base/volume", "base/state"] {
            std::fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let place = Place(dir);
        place.run(&["local", "keygen", &place.path("key.txt")], "");
        place.set("one");
        let config = "stores: { dev: { kind: local, file: DIR/s.age, key_file: DIR/key.txt } }\n\
             secrets: { s: { from: \"dev:s\" } }\n\
             files: { a: { from: s.a }, sub/b: { template: \"{{ s.a }}{{ s.a }}\" } }\n\
             volume: { path: DIR/now/volume }\nstate: { path: DIR/now/state }\ninit: { within: 3s }\n";
        let dir = place.0.display().to_string();
        std::fs::write(place.path("c.yaml"), config.replace("DIR", &dir)).unwrap();
        std::fs::rename(place.path("base"), place.path("now")).unwrap();
        place.run(&["init", "--config", &place.path("c.yaml")], "");
        std::fs::rename(place.path("now"), place.path("base")).unwrap();
        place.set("two");
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn set(&self, value: &str) {
        let args =
            ["local", "set", &self.path("s.age"), "--key-file", &self.path("key.txt"), "s.a"];
        self.run(&args, value);
    }

    #[expect(clippy::unused_self, reason = "reads like what it runs")]
    fn run(&self, args: &[&str], stdin: &str) {
        let mut child = Command::new(binary())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{args:?}");
    }

    /// Version one delivered, nothing else there.
    fn reset(&self) {
        let _ = std::fs::remove_dir_all(self.0.join("now"));
        let copied =
            Command::new("cp").args(["-a", &self.path("base"), &self.path("now")]).status();
        assert!(copied.unwrap().success());
    }

    /// `init` under strace with these options.
    fn traced(&self, options: &[&str]) {
        let status = Command::new("timeout")
            .args(["-s", "KILL", "30", "strace", "-f", "-qq", "-o", &self.path("trace")])
            .args(options)
            .arg(binary())
            .args(["init", "--log-level", "error", "--config", &self.path("c.yaml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.expect("strace is needed: apt-get install strace");
    }

    fn delivered(&self) -> (String, String) {
        let read = |name: &str| {
            std::fs::read_to_string(self.0.join("now/volume").join(name)).unwrap_or_default()
        };
        (read("a"), read("sub/b"))
    }

    /// Everything in the roots of volume and state.
    fn left(&self) -> Vec<String> {
        let names = |dir: &str| {
            let entries = std::fs::read_dir(self.0.join("now").join(dir)).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
            names.collect::<Vec<_>>()
        };
        let mut all = [names("volume"), names("state")].concat();
        all.sort();
        all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The system calls of a run, in order: each with how often it was called before.
fn calls(trace: &str) -> Vec<(String, usize)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        let Some((name, _)) = call.split_once('(') else { continue };
        // The first is what starts the program; exits don't return.
        if name.is_empty() || name.contains(' ') || ["execve", "exit_group", "exit"].contains(&name)
        {
            continue;
        }
        let count = seen.entry(name.to_owned()).or_default();
        *count += 1;
        calls.push((name.to_owned(), *count));
    }
    calls
}

/// Does to an `init` what `fault` says at each of its system calls, and looks at what is left.
fn at_every_call(fault: &str) {
    let place = Place::new(fault);
    place.reset();
    place.traced(&[]);
    assert_eq!(place.delivered(), ("two".into(), "twotwo".into()));
    let calls = calls(&std::fs::read_to_string(place.path("trace")).unwrap());
    assert!(calls.len() > 100, "found only {} system calls", calls.len());
    let (mut old, mut new) = (0, 0);
    for (name, nth) in &calls {
        place.reset();
        place.traced(&["-e", &format!("inject={name}:{fault}:when={nth}")]);
        match place.delivered() {
            (a, b) if a == "one" && b == "oneone" => old += 1,
            (a, b) if a == "two" && b == "twotwo" => new += 1,
            torn => panic!("{fault} at {name} number {nth}: {torn:?}"),
        }
        place.run(&["init", "--config", &place.path("c.yaml")], "");
        assert_eq!(place.delivered(), ("two".into(), "twotwo".into()), "{name} number {nth}");
        let left = place.left();
        let generations = left.iter().filter(|n| n.starts_with("..") && *n != "..data").count();
        // The current one, the one before, and one that was pushed out and lives two seconds more.
        assert!(generations <= 3, "after {fault} at {name} number {nth}: {left:?}");
        let known = |n: &String| {
            let number = n.strip_prefix("..").is_some_and(|n| n.parse::<u64>().is_ok());
            number || ["..data", "a", "sub", "state.json"].contains(&n.as_str())
        };
        assert!(left.iter().all(known), "after {fault} at {name} number {nth}: {left:?}");
    }
    assert!(old > 0 && new > 0, "{old} old, {new} new");
}

#[test]
fn the_shipped_binary_killed_at_any_system_call_leaves_old_or_new_and_the_next_start_repairs() {
    at_every_call("signal=SIGKILL");
}

#[test]
fn the_shipped_binary_survives_a_full_disk_at_any_system_call() {
    at_every_call("error=ENOSPC");
}

#[test]
fn the_shipped_binary_survives_a_broken_disk_at_any_system_call() {
    at_every_call("error=EIO");
}

#[test]
fn the_shipped_binary_survives_the_end_of_descriptors_at_any_system_call() {
    at_every_call("error=EMFILE");
}
