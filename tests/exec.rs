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

/// `exec` that runs; ended when dropped, and its command with it.
struct Running(Child);

impl Running {
    fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }

    fn end(mut self) -> Option<i32> {
        self.terminate();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.terminate();
            let _ = self.0.wait();
        }
    }
}

fn start(place: &Place, script: &str) -> Running {
    let log = std::fs::File::create(place.path("agent.log")).unwrap();
    let out = log.try_clone().unwrap();
    Running(shell(place, &[], script).stdout(out).stderr(log).spawn().unwrap())
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
    let child = start(&place, "trap 'exit 9' TERM; touch there; while :; do sleep 0.05; done");
    eventually("the command", || place.path("there").exists());
    assert_eq!(child.end(), Some(9));
}

#[test]
fn it_is_started_anew_with_what_is_new_and_only_then() {
    let place = laptop("one", "");
    let script = "echo $APP_KEY >> keys; exec sleep 1000";
    let child = start(&place, script);
    let keys = || std::fs::read_to_string(place.path("keys")).unwrap_or_default();
    eventually("the first start", || keys() == "one\n");
    put(&place, "two");
    eventually("the second start", || keys() == "one\ntwo\n");
    put(&place, "two");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(keys(), "one\ntwo\n", "the same value starts nothing");
    assert_eq!(child.end(), Some(143));
}

#[test]
fn a_command_that_does_not_end_is_killed_for_its_successor() {
    let place = laptop("one", "");
    // The second one ends when it is told to.
    let script =
        "[ $APP_KEY = two ] || trap '' TERM; echo $APP_KEY >> keys; while :; do sleep 0.1; done";
    let child = start(&place, script);
    let keys = || std::fs::read_to_string(place.path("keys")).unwrap_or_default();
    eventually("the first start", || keys() == "one\n");
    put(&place, "two");
    eventually("the second start", || keys() == "one\ntwo\n");
    assert_eq!(child.end(), Some(143));
}

#[test]
fn the_command_inherits_nothing_of_ours_but_the_terminal() {
    let place = laptop("one", "");
    let script = "umask; ulimit -c; ls /proc/self/fd | wc -l; grep ^SigBlk /proc/self/status; grep ^SigIgn /proc/self/status | tail -c 9";
    let plain = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    for options in [&[][..], &["--replace"]] {
        let output = shell(&place, options, script).output().unwrap();
        exits(&output, 0);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), plain, "{options:?}");
    }
}

/// A mask would outlive `exec`, and with it SIGTERM might never arrive.
#[test]
fn a_mask_of_whoever_started_us_does_not_reach_the_command() {
    let place = laptop("one", "");
    let python = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1]); os.execvp(sys.argv[1], sys.argv[1:])";
    for options in [&[][..], &["--replace"]] {
        let plain = shell(&place, options, "grep SigBlk /proc/self/status");
        let mut blocked = Command::new("python3");
        blocked.args(["-c", python]).arg(plain.get_program()).args(plain.get_args());
        blocked.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = blocked.stdin(Stdio::null()).output().unwrap();
        exits(&output, 0);
        assert!(output.stdout.ends_with(b"0000000000000000\n"), "{options:?}: {output:?}");
    }
}

/// Needs a PID namespace, which not every machine lets everybody make: `make e2e`.
#[cfg(feature = "e2e")]
#[test]
fn the_orphans_of_the_first_process_and_every_signal_are_looked_after() {
    let place = laptop("one", "");
    // As in a container: our number is 1, so orphans become ours. A user that is nobody else's root.
    let names = "HUP INT QUIT USR1 USR2 ALRM TERM CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR ABRT";
    let script = format!(
        "import os, signal, subprocess, time\n\
         names = '{names}'.split()\n\
         wanted = [getattr(signal, 'SIG' + name) for name in names]\n\
         wanted += [signal.SIGRTMIN + 3, signal.SIGRTMAX - 1]\n\
         got = set()\n\
         for number in wanted: signal.signal(number, lambda number, _: got.add(number))\n\
         assert os.getppid() == 1, os.getppid()\n\
         for _ in range(20): subprocess.run(['sh', '-c', 'sleep 0.1 &'])\n\
         until = time.time() + 30\n\
         for number in wanted:\n    \
             os.kill(1, number)\n    \
             while number not in got and time.time() < until: time.sleep(0.01)\n\
         def zombies():\n    \
             pids = [pid for pid in os.listdir('/proc') if pid.isdigit()]\n    \
             return [pid for pid in pids if pid != '1' and int(pid) != os.getpid()]\n\
         while (len(got) < len(wanted) or zombies()) and time.time() < until: time.sleep(0.05)\n\
         print(sorted(set(wanted) - got), zombies())\n"
    );
    let exec = place.command(&["exec", "--log-format", "json", "--", "python3", "-c", &script]);
    let mut first = Command::new("unshare");
    first.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
    first.arg(exec.get_program()).args(exec.get_args());
    first.envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = first.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{error}: this needs unshare, apt-get install util-linux, and user namespaces")
    });
    exits(&output, 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "[] []\n", "signals that did not arrive, processes that nobody collected");
}

/// A user and a password of two answers would not fit.
#[test]
fn variables_that_name_one_path_are_of_one_answer() {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    Database::between(&bao, &postgres).role("orders", "1h", "2h");
    place.write("token", &bao.root);
    let token = place.path("token").display().to_string();
    let store = format!(
        "{{ kind: vault, address: \"{}\", login: {{ token: {{ file: {token} }} }} }}",
        bao.address()
    );
    place.write("sidekey.yaml", format!("stores: {{ vault: {store} }}\nsecrets: {{}}\n"));
    let script = "printf '%s %s' \"$A_USER\" \"$B_USER\"";
    let mut command = shell(&place, &[], script);
    command.env("A_USER", "vault:database/creds/orders#username");
    command.env("B_USER", "vault:database/creds/orders#username");
    let output = command.output().unwrap();
    exits(&output, 0);
    let said = String::from_utf8(output.stdout).unwrap();
    let (a, b) = said.split_once(' ').unwrap();
    assert!(a.starts_with("v-") && a == b, "{said}");
}

/// What was written together is read together, though only one of the secrets is asked for often.
#[test]
fn variables_and_files_move_together() {
    let (bao, place) = (Bao::dev(), Place::new());
    place.write("token", &bao.root);
    let put = |value: &str| {
        for name in ["b", "c", "a"] {
            bao.write(name, &json!({ "value": value }));
        }
    };
    put("1");
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
         secrets:\n  a: {{ from: \"vault:secret/data/a\", refresh: 1s }}\n  b: {{ from: \"vault:secret/data/b\", refresh: 1h }}\n  \
         c: {{ from: \"vault:secret/data/c\", refresh: 1h }}\n\
         env: {{ A: a.value, B: b.value }}\n\
         files: {{ both: {{ format: dotenv, from: {{ A: a.value, C: c.value }} }} }}\n",
        bao.address()
    ));
    let script = "echo \"$A$B$(tr -cd 0-9 < volume/both)\" >> seen; exec sleep 1000";
    let seen = || std::fs::read_to_string(place.path("seen")).unwrap_or_default();
    for (round, expected) in [("2", "1111\n2222\n"), ("3", "1111\n2222\n2222\n3333\n")] {
        // The second time there is a volume and a state of an earlier process.
        let before = seen();
        let child = start(&place, script);
        eventually("the start", || seen().len() > before.len());
        put(round);
        eventually("the new values", || {
            seen().ends_with(&format!("{round}{round}{round}{round}\n"))
        });
        assert_eq!(seen(), expected, "one start for each change");
        assert_eq!(child.end(), Some(143));
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
    assert!(said.contains("`app.no` is missing"), "{said}");
    assert!(!place.path("there").exists());
    let _ = (SIDEKEY, json!({}));
}
