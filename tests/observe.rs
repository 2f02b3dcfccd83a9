//! What probes, scrapers and readers of the log get to see: the real server on a free port and on a
//! Unix socket, asked by good and by bad clients, and the log of the real binary.

#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use agent::eventually;
use sidekey::agent::config::{HealthConfig, Listen};
use sidekey::agent::observe::{Listeners, Observe, Question, SecretStatus, Server, Status, ask};
use sidekey::agent::reason::Reason;
use tokio::sync::oneshot;

/// How long anything may take before a test gives up. Not a claim about speed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a thread of its own; it ends when dropped.
struct Served {
    health: Listen,
    metrics: Option<SocketAddr>,
    quit: mpsc::Receiver<()>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(health: Listen, quit: bool, metrics: Option<SocketAddr>, status: Status) -> Served {
        let config = HealthConfig { listen: health.clone(), quit };
        let listeners = Listeners::bind(&config, metrics).unwrap();
        let (end, ended) = oneshot::channel();
        let (asked, quit) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let observe = Observe::new();
                observe.show(status);
                let server = Server::start(listeners, &observe).unwrap();
                let asks = async {
                    loop {
                        server.quit.notified().await;
                        asked.send(()).unwrap();
                    }
                };
                tokio::select! {
                    () = asks => {}
                    _ = ended => {}
                }
            });
        });
        Served { health, metrics, quit, end: Some(end), thread: Some(thread) }
    }

    /// On a free port, ready, without `/quit` and metrics.
    fn tcp() -> Served {
        Served::start(Listen::Tcp(free()), false, None, ready())
    }

    fn connect(&self) -> TcpStream {
        let Listen::Tcp(address) = self.health else { panic!("not on TCP") };
        connect(address)
    }

    fn get(&self, path: &str) -> String {
        exchange(self.connect(), &request("GET", path))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: sidekey\r\nconnection: close\r\n\r\n")
}

/// Sends bytes, and reads to the end of the connection; a reset is an end.
fn exchange(mut stream: impl Read + Write, bytes: &str) -> String {
    let _ = stream.write_all(bytes.as_bytes());
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(answer).unwrap()
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn ready() -> Status {
    Status { ready: true, generation: 3, reasons: vec![], ..Status::starting() }
}

mod paths {
    use super::*;

    #[test]
    fn each_path_has_one_method_and_there_are_no_others() {
        let metrics = free();
        for quit in [false, true] {
            let served = Served::start(Listen::Tcp(free()), quit, Some(metrics), ready());
            let (on, off) = if quit { ("200", "405") } else { ("404", "404") };
            for (method, path, expected) in [
                ("GET", "/live", "200"),
                ("GET", "/ready", "200"),
                ("GET", "/ready?verbose=1", "200"),
                ("GET", "/metrics", "200"),
                ("POST", "/quit", on),
                ("GET", "/quit", off),
                ("POST", "/live", "405"),
                ("DELETE", "/ready", "405"),
                ("PUT", "/metrics", "405"),
                ("GET", "/", "404"),
                ("GET", "/ready/", "404"),
                ("GET", "/../etc/passwd", "404"),
                ("GET", "/debug/pprof", "404"),
                ("BREW", "/coffee", "404"),
            ] {
                let answer = exchange(served.connect(), &request(method, path));
                assert_eq!(code(&answer), expected, "{method} {path}, quit: {quit}\n{answer}");
            }
            for (method, path, expected) in [
                ("GET", "/metrics", "200"),
                ("POST", "/metrics", "405"),
                ("GET", "/ready", "404"),
                ("GET", "/live", "404"),
                ("POST", "/quit", "404"),
            ] {
                let answer = exchange(connect(served.metrics.unwrap()), &request(method, path));
                assert_eq!(code(&answer), expected, "metrics: {method} {path}\n{answer}");
            }
            let asked = served.quit.try_iter().count();
            assert_eq!(asked, usize::from(quit), "asked to end only where it is on, and once");
        }
    }

    #[test]
    fn ready_is_200_or_503_and_says_why() {
        let secret = SecretStatus {
            ok: false,
            reason: Some(Reason::PermissionDenied),
            since: None,
            answered: None,
            lease_ends: None,
            next: None,
            next_step: None,
        };
        let status = Status {
            reasons: vec![Reason::Starting, Reason::PermissionDenied],
            secrets: BTreeMap::from([("db".to_owned(), secret)]),
            ..Status::starting()
        };
        let served = Served::start(Listen::Tcp(free()), false, None, status);
        let answer = served.get("/ready");
        assert_eq!(code(&answer), "503");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["reasons"], serde_json::json!(["starting", "permission_denied"]));
        assert_eq!(json["secrets"]["db"]["reason"], "permission_denied");
        assert_eq!(code(&served.get("/live")), "200", "live depends on no store");
        assert_eq!(code(&Served::tcp().get("/ready")), "200");
    }

    #[test]
    fn one_connection_may_ask_twice() {
        let served = Served::tcp();
        let first = "GET /live HTTP/1.1\r\nhost: sidekey\r\n\r\n";
        let answers = exchange(served.connect(), &(first.to_owned() + &request("GET", "/ready")));
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    }
}

/// Catalogue row 78.
mod bounds {
    use super::*;

    #[test]
    fn a_client_that_sends_byte_by_byte_is_cut_off_and_holds_up_nobody() {
        let served = Served::tcp();
        let mut slow = served.connect();
        slow.write_all(b"GET /ready HTTP/1.1\r\nx: ").unwrap();
        eventually("the end of the slow one", || {
            assert_eq!(code(&served.get("/live")), "200", "others are answered meanwhile");
            std::thread::sleep(Duration::from_millis(200));
            slow.write_all(b"x").is_err()
        });
    }

    #[test]
    fn a_client_that_says_nothing_is_cut_off() {
        assert!(!exchange(Served::tcp().connect(), "").contains("200"));
    }

    #[test]
    fn the_33rd_connection_waits_for_a_place() {
        let served = Served::start(Listen::Tcp(free()), false, Some(free()), ready());
        let mut idle: Vec<TcpStream> = (0..32).map(|_| served.connect()).collect();
        let mut late = served.connect();
        late.write_all(request("GET", "/live").as_bytes()).unwrap();
        late.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(late.read(&mut [0; 1]).is_err(), "answered though all places are taken");
        let metrics = exchange(connect(served.metrics.unwrap()), &request("GET", "/metrics"));
        assert_eq!(code(&metrics), "200", "the other address has places of its own");
        drop(idle.pop());
        late.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(code(&exchange(late, "")), "200");
    }

    #[test]
    fn a_head_over_8_kib_is_refused() {
        let served = Served::tcp();
        let padded = |bytes: usize| {
            let start = "GET /live HTTP/1.1\r\nconnection: close\r\n";
            let padding = "x".repeat(bytes - start.len() - "x: \r\n\r\n".len());
            exchange(served.connect(), &format!("{start}x: {padding}\r\n\r\n"))
        };
        assert_eq!(code(&padded(8000)), "200");
        assert_ne!(code(&padded(8 * 1024 + 1)), "200");
        assert_ne!(code(&padded(1024 * 1024)), "200");
        assert_eq!(code(&served.get("/live")), "200", "it goes on");
    }

    #[test]
    fn a_body_is_not_read() {
        let served = Served::tcp();
        let head = "POST /ready HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n";
        let answer = exchange(served.connect(), &(head.to_owned() + &"x".repeat(64 * 1024)));
        assert_eq!(code(&answer), "405");
        assert_eq!(code(&served.get("/live")), "200", "it goes on");
    }

    #[test]
    fn what_is_not_http_ends_one_connection_and_nothing_else() {
        let served = Served::tcp();
        for garbage in
            ["\r\n\r\n\r\n", "\0\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
        {
            assert_ne!(code(&exchange(served.connect(), garbage)), "200", "{garbage:?}");
        }
        assert_eq!(code(&served.get("/live")), "200");
    }
}

mod sockets {
    use super::*;

    fn unix(path: PathBuf) -> Served {
        Served::start(Listen::Unix(path), false, None, ready())
    }

    #[test]
    fn a_unix_socket_is_for_its_owner_and_group_and_takes_the_place_of_one_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("health.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err(), "left behind: nobody listens");
        let _served = unix(path.clone());
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o660);
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(code(&exchange(stream, &request("GET", "/ready"))), "200");
    }

    #[test]
    fn what_is_not_a_socket_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("precious");
        std::fs::write(&target, "precious").unwrap();
        let link = dir.path().join("link.sock");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        for path in [target.clone(), link] {
            let listen = Listen::Unix(path.clone());
            let refused = Listeners::bind(&HealthConfig { listen, quit: false }, None);
            let report = refused.err().unwrap();
            assert_eq!(report.reason, Reason::ListenRefused);
            assert!(report.what.contains(path.to_str().unwrap()), "{report}");
        }
        assert_eq!(std::fs::read_to_string(target).unwrap(), "precious");
    }

    #[test]
    fn an_address_that_is_taken_is_named_with_its_key() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        for (health, metrics, key) in
            [(address, None, "health.listen"), (free(), Some(address), "metrics.listen")]
        {
            let config = HealthConfig { listen: Listen::Tcp(health), quit: false };
            let report = Listeners::bind(&config, metrics).err().unwrap();
            assert_eq!(report.reason, Reason::ListenRefused);
            assert!(report.what.contains(&address.to_string()), "{report}");
            assert!(report.why.contains(key) && report.hint.is_some(), "{report}");
        }
    }
}

mod probe {
    use super::*;

    #[test]
    fn the_probe_tells_started_ready_and_live_apart() {
        let dir = tempfile::tempdir().unwrap();
        let starting = Status::starting();
        let refused = Status { generation: 2, ..Status::starting() };
        for (status, answers) in [
            (starting, [false, false, true]),
            (refused, [true, false, true]),
            (ready(), [true, true, true]),
        ] {
            let socket = Listen::Unix(dir.path().join("health.sock"));
            for listen in [Listen::Tcp(free()), socket] {
                let served = Served::start(listen, false, None, status.clone());
                let questions = [Question::Startup, Question::Ready, Question::Live];
                let got = questions.map(|question| ask(&served.health, question).unwrap().yes);
                assert_eq!(got, answers, "{:?}, {status:?}", served.health);
            }
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_the_loopback_one() {
        let port = free().port();
        let everywhere = SocketAddr::from(([0, 0, 0, 0], port));
        let _served = Served::start(Listen::Tcp(everywhere), false, None, ready());
        assert!(ask(&Listen::Tcp(everywhere), Question::Ready).unwrap().yes);
    }

    #[test]
    fn nobody_there_or_somebody_else_is_not_a_yes() {
        assert!(ask(&Listen::Tcp(free()), Question::Live).is_err());
        assert!(ask(&Listen::Unix("/nonexistent/health.sock".into()), Question::Live).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Listen::Tcp(listener.local_addr().unwrap());
        let silent = std::thread::spawn({
            let address = address.clone();
            move || ask(&address, Question::Live)
        });
        let (held, _) = listener.accept().unwrap();
        assert!(silent.join().unwrap().is_err(), "who never answers is not alive");
        drop(held);
        let stranger = std::thread::spawn(move || ask(&address, Question::Startup));
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "the question");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n<html>generation: 1</html>").unwrap();
        drop(stream);
        assert!(stranger.join().unwrap().is_ok_and(|answer| !answer.yes));
    }
}

#[cfg(feature = "local")]
mod log {
    use std::process::Stdio;

    use super::agent::{Place, exits};
    use super::*;

    /// A local store with `app: {key: VALUE}`, and so many files made of it.
    fn set_up(files: usize) -> Place {
        let place = Place::new();
        exits(&place.sidekey(&["local", "keygen", place.path("key.txt").to_str().unwrap()]), 0);
        set(&place, "one");
        let files: Vec<String> = (0..files)
            .map(|n| format!("  a/rather/long/name/of/file-{n:04}.key: {{ from: app.key }}"))
            .collect();
        place.config(&format!(
            "stores:\n  dev: {{ kind: local, file: DIR/store.age, key_file: DIR/key.txt }}\nsecrets:\n  \
             app: {{ from: \"dev:app\", refresh: 500ms }}\nfiles:\n{}",
            files.join("\n")
        ));
        place
    }

    fn set(place: &Place, value: &str) {
        let mut child = place
            .command(&["local", "set", "store.age", "app.key"])
            .current_dir(place.path(""))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn delivered(place: &Place) -> String {
        place.text("a/rather/long/name/of/file-0000.key")
    }

    fn lines(log: &str) -> Vec<serde_json::Value> {
        let parsed = log.lines().map(serde_json::from_str);
        parsed.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}:\n{log}"))
    }

    #[test]
    fn a_delivery_of_many_files_is_one_whole_audit_line() {
        let place = set_up(300);
        let stderr = exits(&place.sidekey(&["init", "--log-format", "json"]), 0);
        let lines = lines(&stderr);
        let deliveries: Vec<_> = lines.iter().filter(|l| l["message"] == "delivery").collect();
        assert_eq!(deliveries.len(), 1, "{stderr}");
        let changed = deliveries[0]["changed"].as_str().unwrap();
        assert_eq!(changed.split(", ").count(), 300, "{changed}");
        assert_eq!(deliveries[0]["target"], "sidekey::audit");
    }

    /// Catalogue row 76.
    #[test]
    fn a_log_that_nobody_reads_holds_up_nothing_and_the_loss_is_told() {
        let place = set_up(1);
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        let mut child = place
            .command(&["run", "--log-format", "json", "--log-level", "trace"])
            .stdin(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        for value in ["one", "two", "three"] {
            set(&place, value);
            eventually(value, || delivered(&place) == value);
        }
        // Enough is said in a while to fill 4 KiB; then somebody reads, to the end.
        std::thread::sleep(Duration::from_secs(3));
        let mut log = String::new();
        let told = |log: &str| {
            log.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()).any(|l| {
                l["message"].as_str().is_some_and(|m| m.starts_with("log lines were lost"))
                    && l["lost"].as_u64().is_some_and(|lost| lost > 0)
            })
        };
        let mut buffer = [0; 4096];
        eventually("the number of lost lines", || {
            let length = reader.read(&mut buffer).unwrap();
            log.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            told(&log)
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
