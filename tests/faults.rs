//! Rows of the failure catalogue that only the whole binary can show: what it does while something
//! around it is wrong, and what it leaves alone meanwhile.

#![cfg(all(feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::{Place, eventually, exits, untouched};
use rustix::process::Signal;
use serde_json::json;
use support::{Bao, Proxy, Response, Script};

/// A store at an address that is logged in to with a token from a file.
fn store(name: &str, address: &str) -> String {
    format!(
        "  {name}: {{ kind: vault, address: \"{address}\", login: {{ token: {{ file: DIR/token }} }} }}\n"
    )
}

/// A server whose secrets a test changes: `kv/NAME` has a field `v`.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, String>>>);

impl Values {
    fn set(&self, name: &str, value: &str) {
        self.0.lock().unwrap().insert(name.into(), value.into());
    }

    fn set_all(&self, names: &[String], value: &str) {
        for name in names {
            self.set(name, value);
        }
    }

    fn answer(&self, path: &str) -> Response {
        let name = path.rsplit('/').next().unwrap_or_default();
        match self.0.lock().unwrap().get(name) {
            Some(value) => Response::secret(&json!({ "v": value })),
            None => Response::json(404, &[], &json!({ "errors": [] })),
        }
    }
}

/// Names with a number each.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

/// A line of a config for each name.
fn lines(names: &[String], line: impl Fn(&str) -> String) -> String {
    names.iter().map(|name| line(name)).collect::<Vec<_>>().concat()
}

fn is_ready(place: &Place) -> bool {
    place.ready().is_some_and(|ready| ready["ready"] == json!(true))
}

mod start {
    use super::*;

    // 1.
    #[test]
    fn an_init_that_finds_nobody_asks_again_gives_up_in_time_and_leaves_nothing() {
        // It takes every connection and says nothing; the other address takes none.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&visits);
        std::thread::spawn(move || {
            for visitor in listener.incoming() {
                drop(visitor);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        for address in [silent, closed] {
            let place = Place::new();
            place.write("token", "t");
            place.config(&format!(
                "stores:\n{}secrets: {{ app: {{ from: \"vault:kv/app\" }} }}\nfiles: {{ app.key: {{ from: app.v }} }}\ninit: {{ within: 3s }}\n",
                store("vault", &format!("http://{address}"))
            ));
            let stderr = exits(&place.sidekey(&["init", "--log-format", "text"]), 75);
            assert!(stderr.contains("not delivered within 3 s"), "{stderr}");
            assert_eq!(std::fs::read_dir(place.path("volume")).unwrap().count(), 0);
        }
        let visits = visits.load(Ordering::Relaxed);
        assert!((3..40).contains(&visits), "{visits} visits in three seconds");
    }

    // 73.
    #[test]
    fn no_thread_is_needed_to_deliver() {
        let values = Values::default();
        values.set("app", "one");
        let server = Script::start(move |request| values.answer(&request.path));
        let place = Place::new();
        place.write("token", "t");
        place.config(&format!(
            "stores:\n{}secrets: {{ app: {{ from: \"vault:kv/app\" }} }}\nfiles: {{ app.key: {{ from: app.v }} }}\n",
            store("vault", &server.address())
        ));
        exits(&alone(&place), 0);
        assert_eq!(place.text("app.key"), "one");
    }

    /// `sidekey init` as a user who may have no second process or thread.
    fn alone(place: &Place) -> std::process::Output {
        // Nobody else is this user, so the limit counts this process alone. To others it is over
        // already, which is just as well.
        let user = "54321";
        let here = tempfile::tempdir().unwrap();
        let binary = here.path().join("sidekey");
        std::fs::copy(agent::SIDEKEY, &binary).unwrap();
        let mut command = if rustix::process::geteuid().is_root() {
            for path in ["volume", "state", "token"].map(|name| place.path(name)) {
                std::os::unix::fs::chown(path, Some(54321), Some(54321)).unwrap();
            }
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(here.path(), open).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "prlimit"]);
            command
        } else {
            Command::new("prlimit")
        };
        command.arg("--nproc=1").arg(binary).args(["init", "--config"]);
        command.arg(place.path("sidekey.yaml")).stdin(Stdio::null());
        command.output().expect("prlimit and setpriv are needed: apt-get install util-linux")
    }

    // 72.
    #[test]
    fn sixty_four_descriptors_are_enough_for_many_secrets_and_hooks() {
        let values = Values::default();
        let names = numbered(50);
        values.set_all(&names, "one");
        let held = values.clone();
        let server = Script::start(move |request| held.answer(&request.path));
        let hook = Script::start(|_| Response::text(200, &[], ""));
        let place = Place::new();
        place.write("token", "t");
        let secrets =
            lines(&names, |n| format!("  {n}: {{ from: \"vault:kv/{n}\", refresh: 1s }}\n"));
        let files = lines(&names, |n| format!("  {n}: {{ from: {n}.v }}\n"));
        let hooks = format!("  - http: {{ url: \"{}/reload\" }}\n", hook.address()).repeat(20);
        place.config(&format!(
            "stores:\n{}secrets:\n{secrets}files:\n{files}on_change:\n{hooks}",
            store("vault", &server.address())
        ));
        let mut command = Command::new("prlimit");
        let mut child = command
            .arg("--nofile=64")
            .arg(agent::SIDEKEY)
            .args(["run", "--config"])
            .arg(place.path("sidekey.yaml"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the first generation", || place.text("s49") == "one");
        values.set_all(&names, "two");
        eventually("all changes", || names.iter().all(|name| place.text(name) == "two"));
        eventually("all notices", || hook.seen().len() >= 20);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

mod network {
    use super::*;

    // 3.
    #[test]
    fn a_store_that_says_nothing_holds_up_no_other() {
        let values = Values::default();
        values.set("slow", "one");
        values.set("quick", "one");
        let (bad, good) = (values.clone(), values.clone());
        let slow = Script::start(move |request| bad.answer(&request.path));
        let quick = Script::start(move |request| good.answer(&request.path));
        let proxy = Proxy::start(slow.port);
        let place = Place::new();
        place.write("token", "t");
        place.config(&format!(
            "stores:\n{}{}secrets:\n  slow: {{ from: \"one:kv/slow\", refresh: 500ms }}\n  quick: {{ from: \"two:kv/quick\", refresh: 500ms }}\n\
             files:\n  slow: {{ from: slow.v }}\n  quick: {{ from: quick.v }}\n",
            store("one", &proxy.address()),
            store("two", &quick.address())
        ));
        let _agent = place.run();
        proxy.set(support::Fault::BlackHole);
        let before = slow.count("/kv/slow");
        eventually("a question without an answer", || slow.count("/kv/slow") > before);
        // It is given ten seconds; the other store is asked and delivered in the meantime.
        for value in ["two", "three"] {
            values.set("quick", value);
            eventually(value, || place.text("quick") == value);
        }
        assert_eq!(slow.count("/kv/slow"), before + 1, "one question at a time");
        assert_eq!(place.text("slow"), "one");
    }

    // 31.
    #[test]
    fn no_proxy_of_the_environment_comes_between() {
        let values = Values::default();
        values.set("app", "one");
        let server = Script::start(move |request| values.answer(&request.path));
        let stranger = Script::start(|_| Response::secret(&json!({ "v": "stolen" })));
        let place = Place::new();
        place.write("token", "t");
        place.config(&format!(
            "stores:\n{}secrets: {{ app: {{ from: \"vault:kv/app\" }} }}\nfiles: {{ app.key: {{ from: app.v }} }}\n",
            store("vault", &server.address())
        ));
        let mut command = place.command(&["init"]);
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, stranger.address());
        }
        exits(&command.stdin(Stdio::null()).output().unwrap(), 0);
        assert_eq!(place.text("app.key"), "one");
        assert_eq!(stranger.seen().len(), 0);
    }
}

mod identity {
    use super::*;

    // 40: the service account is deleted, and with it the token and every further login.
    #[test]
    fn a_login_that_is_refused_from_now_on_is_tried_rarely_and_the_files_stay() {
        let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let deleted = Arc::clone(&gone);
        let server = Script::start(move |request| {
            if deleted.load(Ordering::Relaxed) {
                return Response::json(403, &[], &json!({ "errors": ["permission denied"] }));
            }
            if request.path.ends_with("/login") {
                let auth = json!({ "client_token": "t", "lease_duration": 3600 });
                return Response::json(200, &[], &json!({ "auth": auth }));
            }
            Response::secret(&json!({ "v": "one" }))
        });
        let place = Place::new();
        place.write("jwt", "signed");
        place.config(&format!(
            "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ jwt: {{ role: app, token_file: DIR/jwt }} }} }}\n\
             secrets: {{ app: {{ from: \"vault:kv/app\", refresh: 500ms }} }}\nfiles: {{ app.key: {{ from: app.v }} }}\n",
            server.address()
        ));
        let mut agent = place.run();
        let before = untouched(&place.path("volume/app.key"));
        gone.store(true, Ordering::Relaxed);
        eventually("the reason", || place.says("login_refused"));
        let logins = server.count("/login");
        std::thread::sleep(Duration::from_secs(3));
        let more = server.count("/login") - logins;
        assert!(logins <= 3 && more <= 2, "{logins} logins, and {more} in three more seconds");
        assert_eq!(untouched(&place.path("volume/app.key")), before);
        assert!(agent.is_alive() && place.get("/live").unwrap().contains("true"));
    }
}

mod time {
    use super::*;

    /// How often a process gave up the processor so far.
    fn wakes(pid: u32) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    // 1.
    #[test]
    fn an_agent_that_waits_for_its_store_sleeps() {
        let server = Script::start(|request| {
            if request.path.ends_with("/a") {
                return Response::secret(&json!({ "v": "one" }));
            }
            Response::json(503, &[], &json!({ "errors": ["Vault is sealed"] }))
        });
        let place = Place::new();
        place.write("token", "t");
        place.config(&format!(
            "stores:\n{}secrets:\n  a: {{ from: \"vault:kv/a\" }}\n  b: {{ from: \"vault:kv/b\" }}\n\
             files:\n  a: {{ from: a.v }}\n  b: {{ from: b.v }}\n",
            store("vault", &server.address())
        ));
        let agent = place.start();
        eventually("the failure", || place.says("store_sealed"));
        std::thread::sleep(Duration::from_secs(2));
        let before = wakes(agent.pid());
        std::thread::sleep(Duration::from_secs(3));
        let woken = wakes(agent.pid()) - before;
        assert!(woken < 300, "it woke up {woken} times in three seconds");
        assert_eq!(place.generation(), None, "it has not begun");
    }

    // 42.
    #[test]
    fn a_process_that_was_paused_asks_once_for_each_secret_and_rotates_once() {
        let values = Values::default();
        let names = numbered(5);
        values.set_all(&names, "one");
        let held = values.clone();
        let server = Script::start(move |request| held.answer(&request.path));
        let place = Place::new();
        place.write("token", "t");
        let secrets =
            lines(&names, |n| format!("  {n}: {{ from: \"vault:kv/{n}\", refresh: 1s }}\n"));
        let files = lines(&names, |n| format!("  {n}: {{ from: {n}.v }}\n"));
        place.config(&format!(
            "stores:\n{}secrets:\n{secrets}files:\n{files}",
            store("vault", &server.address())
        ));
        let agent = place.run();
        eventually("readiness", || is_ready(&place));
        agent.signal(Signal::STOP);
        std::thread::sleep(Duration::from_secs(6));
        values.set_all(&names, "two");
        let (before, awake) = (server.seen().len(), Instant::now());
        agent.signal(Signal::CONT);
        eventually("the change", || names.iter().all(|name| place.text(name) == "two"));
        // All are due at once, and nobody is asked six times for six missed turns: once, and once a
        // second afterwards.
        let (asked, turns) = (server.seen().len() - before, awake.elapsed().as_secs() + 2);
        assert!(asked as u64 <= turns * 5, "{asked} questions in {turns} turns of 5 secrets");
        assert_eq!(place.generation().as_deref(), Some("2"));
    }

    // 75: a container with a tenth of a processor gets it as moments in which it runs.
    #[test]
    fn a_starved_process_delivers_all_the_same_and_asks_no_more_than_otherwise() {
        let values = Values::default();
        let names = numbered(5);
        values.set_all(&names, "one");
        let held = values.clone();
        let server = Script::start(move |request| held.answer(&request.path));
        let place = Place::new();
        place.write("token", "t");
        let secrets =
            lines(&names, |n| format!("  {n}: {{ from: \"vault:kv/{n}\", refresh: 1s }}\n"));
        let files = lines(&names, |n| format!("  {n}: {{ from: {n}.v }}\n"));
        place.config(&format!(
            "stores:\n{}secrets:\n{secrets}files:\n{files}",
            store("vault", &server.address())
        ));
        let agent = place.run();
        eventually("readiness", || is_ready(&place));
        values.set_all(&names, "two");
        let (before, begun) = (server.seen().len(), Instant::now());
        eventually("the change", || {
            agent.signal(Signal::STOP);
            std::thread::sleep(Duration::from_millis(90));
            agent.signal(Signal::CONT);
            std::thread::sleep(Duration::from_millis(10));
            names.iter().all(|name| place.text(name) == "two")
        });
        let (asked, turns) = (server.seen().len() - before, begun.elapsed().as_secs() + 2);
        assert!(asked as u64 <= turns * 5, "{asked} questions in {turns} turns of 5 secrets");
        assert!(!place.log().contains("store_unreachable"), "nothing was late for the store");
    }

    // 49.
    #[test]
    fn an_end_in_the_middle_of_a_rotation_is_clean() {
        let values = Values::default();
        values.set("app", "0");
        let held = values.clone();
        let server = Script::start(move |request| held.answer(&request.path));
        let places: Vec<Place> = (0..16).map(|_| Place::new()).collect();
        for place in &places {
            place.write("token", "t");
            place.config(&format!(
                "stores:\n{}secrets: {{ app: {{ from: \"vault:kv/app\", refresh: 500ms }} }}\n\
                 files:\n  a: {{ from: app.v, group: both }}\n  d/b: {{ from: app.v, group: both }}\n",
                store("vault", &server.address())
            ));
        }
        let agents: Vec<_> = places.iter().map(Place::run).collect();
        // The next rotation comes two seconds after this one at the earliest, and a change is out one
        // second after it was seen.
        std::thread::sleep(Duration::from_secs(2));
        values.set("app", "1");
        let end = |(n, (place, agent)): (u64, (&Place, agent::Agent))| {
            let seen = || place.log().matches("\"result\":\"moved\"").count() == 2;
            eventually("the change is seen", seen);
            std::thread::sleep(Duration::from_millis(850 + 20 * n));
            agent.stop()
        };
        let ended: Vec<_> = std::thread::scope(|scope| {
            let ends = (0..).zip(places.iter().zip(agents));
            let ends: Vec<_> = ends.map(|each| scope.spawn(move || end(each))).collect();
            ends.into_iter().map(|end| end.join().unwrap()).collect()
        });
        assert_eq!(ended, vec![Some(0); places.len()]);
        let mut shown = BTreeMap::<String, usize>::new();
        for place in &places {
            assert_eq!(place.text("a"), place.text("d/b"), "one generation");
            *shown.entry(place.text("a")).or_default() += 1;
            let names = std::fs::read_dir(place.path("volume")).unwrap();
            let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
            let odd: Vec<_> = names.filter(|name| name.contains("tmp")).collect();
            assert!(odd.is_empty(), "{odd:?}");
        }
        assert_eq!(
            shown.keys().collect::<Vec<_>>(),
            ["0", "1"],
            "some before, some after: {shown:?}"
        );
    }
}

mod answers {
    use super::*;

    fn kv2(version: usize, value: &str) -> Response {
        let metadata = json!({
 "version": version, "created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": false });
        Response::secret(&json!({ "data": { "v": value }, "metadata": metadata }))
    }

    // 21.
    #[test]
    fn a_version_that_goes_back_is_doubted_and_not_delivered() {
        let version = Arc::new(AtomicUsize::new(2));
        let shown = Arc::clone(&version);
        let server = Script::start(move |request| {
            if request.path.contains("/metadata/") {
                return Response::json(403, &[], &json!({ "errors": [] }));
            }
            let version = shown.load(Ordering::Relaxed);
            kv2(version, &format!("value {version}"))
        });
        let place = Place::new();
        place.write("token", "t");
        place.config(&format!(
            "stores:\n{}secrets: {{ app: {{ from: \"vault:secret/data/app\", refresh: 500ms }} }}\nfiles: {{ app.key: {{ from: app.v }} }}\n",
            store("vault", &server.address())
        ));
        let _agent = place.run();
        assert_eq!(place.text("app.key"), "value 2");
        version.store(1, Ordering::Relaxed);
        eventually("the doubt", || place.says("version_went_back"));
        let asked = server.seen().len();
        eventually("more answers of that kind", || server.seen().len() > asked + 3);
        assert_eq!(place.text("app.key"), "value 2");
        version.store(3, Ordering::Relaxed);
        eventually("what is newer", || place.text("app.key") == "value 3");
        eventually("no more doubt", || !place.says("version_went_back"));
    }

    // 23.
    #[test]
    fn a_name_and_a_password_of_two_moments_never_meet() {
        let bao = Bao::dev();
        bao.write("user", &json!({ "v": "u1" }));
        bao.write("password", &json!({ "v": "p1" }));
        let place = Place::new();
        place.write("token", &bao.root);
        // The password's own turn would come much later.
        place.config(&format!(
            "stores:\n{}secrets:\n  user: {{ from: \"vault:secret/data/user\", refresh: 500ms }}\n  password: {{ from: \"vault:secret/data/password\", refresh: 1h }}\n\
             files:\n  user: {{ from: user.v, group: login }}\n  password: {{ from: password.v, group: login }}\n",
            store("vault", &bao.address())
        ));
        let _agent = place.run();
        // As a reader does: one directory, both files.
        let pair = || {
            let data = std::fs::canonicalize(place.path("volume/..data")).unwrap();
            ["user", "password"].map(|name| std::fs::read_to_string(data.join(name)).unwrap())
        };
        for number in 2..=3 {
            bao.write("password", &json!({ "v": format!("p{number}") }));
            bao.write("user", &json!({ "v": format!("u{number}") }));
            let new = [format!("u{number}"), format!("p{number}")];
            let old = [format!("u{}", number - 1), format!("p{}", number - 1)];
            eventually("the new pair", || {
                let now = pair();
                assert!(now == old || now == new, "{now:?}");
                now == new
            });
        }
    }
}
