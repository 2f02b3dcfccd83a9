//! The real binary, run as a user would: a place on a tmpfs, a config, a child process.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a set-up that fails is a failed test"
)]

use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The binary under test.
pub const SIDEKEY: &str = env!("CARGO_BIN_EXE_sidekey");

/// How long anything may take before a test gives up. Not a claim about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory on a tmpfs with a `volume` and a `state`, removed at the end.
pub struct Place(PathBuf);

impl Place {
    /// Makes one.
    pub fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/dev/shm/sidekey-test-{}-{number}", std::process::id()));
        for (path, mode) in
            [(dir.clone(), 0o755), (dir.join("volume"), 0o750), (dir.join("state"), 0o700)]
        {
            std::fs::DirBuilder::new().mode(mode).create(&path).unwrap();
        }
        Place(dir)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it and gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes `sidekey.yaml`: `text` with `DIR` replaced by this place, a volume, a state and a health
    /// socket.
    pub fn config(&self, text: &str) -> PathBuf {
        let dir = self.0.display().to_string();
        let text = text.replace("DIR", &dir);
        let common = format!(
            "volume: {{ path: {dir}/volume }}\nstate: {{ path: {dir}/state }}\n\
             health: {{ listen: \"unix:{dir}/health.sock\" }}\n"
        );
        self.write("sidekey.yaml", text + "\n" + &common)
    }

    /// The bytes of a delivered file; nothing if it is not there.
    pub fn delivered(&self, file: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path("volume").join(file)).ok()
    }

    /// A delivered file as text.
    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.delivered(file).unwrap_or_default()).unwrap()
    }

    /// What `..data` shows.
    pub fn generation(&self) -> Option<String> {
        let link = std::fs::read_link(self.path("volume/..data")).ok()?;
        Some(link.to_str()?.trim_start_matches('.').to_owned())
    }

    /// Runs `sidekey` to its end.
    pub fn sidekey(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// `sidekey` with an environment that holds no login of ours.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(SIDEKEY);
        command.args(args).env("HOME", &self.0).env("SIDEKEY_CONFIG", self.path("sidekey.yaml"));
        for name in ["BAO_ADDR", "BAO_TOKEN", "VAULT_ADDR", "VAULT_TOKEN", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts `sidekey run` and waits until the first generation is there.
    pub fn run(&self) -> Agent {
        self.until_delivered(self.start())
    }

    /// The same for a command that starts `sidekey run` in its own way.
    pub fn run_as(&self, command: Command) -> Agent {
        self.until_delivered(self.start_as(command))
    }

    fn until_delivered(&self, agent: Agent) -> Agent {
        eventually("the first generation", || self.generation().is_some());
        eventually("the health socket", || self.ready().is_some());
        agent
    }

    /// Starts `sidekey run`.
    pub fn start(&self) -> Agent {
        self.start_logging("json")
    }

    /// Starts `sidekey run` with a log in this format.
    pub fn start_logging(&self, format: &str) -> Agent {
        self.start_as(self.command(&["run", "--log-format", format, "--log-level", "trace"]))
    }

    /// Starts what starts `sidekey run` in its own way.
    pub fn start_as(&self, mut command: Command) -> Agent {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Agent(child)
    }

    /// Everything the agent logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// `/ready`, parsed.
    pub fn ready(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.get("/ready")?).ok()
    }

    /// A body of the health address.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("health.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: sidekey\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Whether `/ready` names this reason, for the pod or for a secret.
    pub fn says(&self, reason: &str) -> bool {
        self.ready().is_some_and(|ready| ready.to_string().contains(&format!("\"{reason}\"")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the agent ---\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running agent; killed when dropped.
pub struct Agent(Child);

impl Agent {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.0.wait().unwrap().code()
    }

    /// SIGKILL, as a node in trouble would.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits until it ends by itself, and gives the exit code.
    pub fn end(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `done`; a failure says what for.
#[track_caller]
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asserts an exit code, showing stderr if it is another.
#[track_caller]
pub fn exits(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "stderr: {stderr}");
    stderr
}

/// The inode and the time of change of a file, to see that nobody touched it.
pub fn untouched(path: &Path) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).unwrap();
    (meta.ino(), meta.mtime(), meta.mtime_nsec())
}
