//! An application with a database behind it: it holds a connection for each generation of its user
//! and password, queries without a pause, and remembers every query that failed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::postgres::{Connection, Postgres};

/// How long a connection is used once there is a newer one: what was begun is brought to its end.
const DRAIN: Duration = Duration::from_millis(500);

/// A running application; it ends with the test.
pub(crate) struct Orders {
    port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    postgres: Arc<Postgres>,
    file: PathBuf,
    status: AtomicU16,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By the number of the attempt.
    connections: Vec<(usize, Connection)>,
    attempts: usize,
    users: Vec<String>,
    told: Vec<u64>,
    failures: Vec<String>,
}

impl Orders {
    /// Listens for the hook. `file` is what holds `{"username": …, "password": …}`.
    pub(crate) fn listen(postgres: &Arc<Postgres>, file: PathBuf) -> Orders {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            postgres: Arc::clone(postgres),
            file,
            status: AtomicU16::new(200),
            over: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let (told, watched) = (Arc::downgrade(&inner), Arc::clone(&inner));
        std::thread::spawn(move || hear(&listener, &told));
        std::thread::spawn(move || {
            while !watched.over.load(Ordering::Relaxed) {
                watched.look();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Orders { port, inner }
    }

    /// From now on it looks into the file itself, and connects when there is another user.
    pub(crate) fn watches_the_file(&self) {
        let inner = Arc::clone(&self.inner);
        std::thread::spawn(move || {
            let mut last = Vec::new();
            while !inner.over.load(Ordering::Relaxed) {
                let now = std::fs::read(&inner.file).unwrap_or_default();
                if now != last && !now.is_empty() {
                    inner.connect();
                    last = now;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    }

    /// Where it wants to be told.
    pub(crate) fn hook(&self) -> String {
        format!(
            "on_change:\n  - http: {{ url: \"http://127.0.0.1:{}/\" }}\n    confirm: {{ status: 200, within: 5s, retries: 0 }}\n",
            self.port
        )
    }

    /// Reads the file that is there and connects, as it does when it starts.
    pub(crate) fn connect(&self) {
        self.inner.connect();
    }

    /// What it answers from now on. Only with 200 it takes what it is told of.
    pub(crate) fn answers(&self, status: u16) {
        self.inner.status.store(status, Ordering::Relaxed);
    }

    /// The users it connected as, in order.
    pub(crate) fn users(&self) -> Vec<String> {
        self.inner.seen().users.clone()
    }

    /// The generations it was told of.
    pub(crate) fn told(&self) -> Vec<u64> {
        self.inner.seen().told.clone()
    }

    /// What failed so far.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.inner.look();
        self.inner.seen().failures.clone()
    }

    /// Fails unless queries are answered at this moment, and none has ever failed.
    #[track_caller]
    pub(crate) fn has_never_seen_a_failed_query(&self) {
        let failures = self.failures();
        assert!(failures.is_empty(), "{failures:?}, connected as {:?}", self.users());
        let mut seen = self.inner.seen();
        let (_, connection) = seen.connections.last_mut().expect("it is connected");
        connection.proves_itself().unwrap();
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::Relaxed);
        self.inner.seen().connections.clear();
    }
}

/// Takes what it is told; the application may be gone by then.
fn hear(listener: &TcpListener, application: &Weak<Inner>) {
    for mut stream in listener.incoming().flatten() {
        let Some(inner) = application.upgrade() else { return };
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
        let header = request.lines().find_map(|l| l.strip_prefix("sidekey-generation: "));
        let Some(generation) = header.and_then(|text| text.trim().parse().ok()) else { continue };
        let status = inner.status.load(Ordering::Relaxed);
        if status == 200 {
            inner.connect();
        }
        inner.seen().told.push(generation);
        let _ =
            write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects with what the file says, and lets go of older connections a little later.
    fn connect(self: &Arc<Inner>) {
        let text = std::fs::read(&self.file).unwrap_or_default();
        let pair: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let [user, password] = ["username", "password"].map(|name| pair[name].as_str());
        let (Some(user), Some(password)) = (user, password) else {
            self.seen().failures.push("no user and password are there".into());
            return;
        };
        let mut connection = self.postgres.connect(user, password);
        let proof = connection.proves_itself();
        let mut seen = self.seen();
        match proof {
            Ok(()) => {
                seen.users.push(user.to_owned());
                seen.attempts += 1;
                let attempt = seen.attempts;
                seen.connections.push((attempt, connection));
                drop(seen);
                let inner = Arc::clone(self);
                std::thread::spawn(move || {
                    std::thread::sleep(DRAIN);
                    inner.look();
                    let mut seen = inner.seen();
                    seen.connections.retain(|(other, _)| *other >= attempt);
                });
            }
            Err(failure) => seen.failures.push(format!("{user} can't connect: {failure}")),
        }
    }

    /// Looks whether a connection that is held has failed.
    fn look(&self) {
        let mut seen = self.seen();
        let mut failures = Vec::new();
        seen.connections.retain_mut(|(_, connection)| {
            let failure = connection.failure();
            failures.extend(failure.clone());
            failure.is_none()
        });
        seen.failures.extend(failures);
    }
}
