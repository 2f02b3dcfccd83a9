//! A real OpenBao, on ports of its own, that ends with whoever started it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certs::Issued;
use super::http::Client;
use super::ports;

/// What a server keeps and how it is reached.
pub(crate) enum Kind {
    /// `bao server -dev`: unsealed, in memory, KV 2 at `secret/`; empty again after a restart.
    Dev,
    /// Initialised and unsealed by us, in memory, so that it can be sealed and opened.
    Memory,
    /// As `Memory`, on a disk that outlives a restart.
    Disk,
    /// As `Memory`, with a second listener that speaks TLS.
    Tls {
        /// What it shows.
        certificate: Issued,
        /// Whom it trusts; with it, clients must show a certificate.
        clients: Option<String>,
    },
}

/// A running server.
pub(crate) struct Bao {
    kind: Kind,
    child: Child,
    dir: TempDir,
    pub(crate) port: u16,
    /// The port of the listener that speaks TLS, if there is one.
    pub(crate) tls_port: u16,
    /// Its root token.
    pub(crate) root: String,
    key: String,
}

impl Bao {
    pub(crate) fn start(kind: Kind) -> Bao {
        // Another process may take a port between the look and the start; then others are tried.
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let (port, tls_port) = (ports::free_pair(), ports::free_pair());
            configure(&kind, dir.path(), port, tls_port);
            if let Some(child) = launch(&kind, dir.path(), port) {
                let (root, key) = (["ro", "ot"].concat(), String::new());
                let mut bao = Bao { kind, child, dir, port, tls_port, root, key };
                bao.initialise();
                return bao;
            }
        }
        panic!("OpenBao found each of five free ports taken");
    }

    pub(crate) fn dev() -> Bao {
        Bao::start(Kind::Dev)
    }

    /// Where it listens without TLS.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens with TLS.
    pub(crate) fn tls_address(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls_port)
    }

    /// A client with the root token.
    pub(crate) fn admin(&self) -> Client {
        self.with_token(&self.root)
    }

    pub(crate) fn with_token(&self, token: &str) -> Client {
        Client::new(self.port).with("X-Vault-Token", token)
    }

    /// A new token with these policies; `more` are further parameters.
    pub(crate) fn token(&self, policies: &[&str], more: &Value) -> String {
        let mut body = json!({ "policies": policies });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let reply = self.admin().post("auth/token/create", &body).good().json();
        reply["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Writes a policy: lines of path and capabilities.
    pub(crate) fn policy(&self, name: &str, rules: &[(&str, &[&str])]) {
        let rule =
            |(path, can): &(&str, &[&str])| format!("path {path:?} {{ capabilities = {can:?} }}\n");
        let policy: String = rules.iter().map(rule).collect();
        self.admin().put(&format!("sys/policies/acl/{name}"), &json!({ "policy": policy })).good();
    }

    /// Writes a KV 2 secret at `secret/data/NAME`.
    pub(crate) fn write(&self, name: &str, data: &Value) {
        self.admin().post(&format!("secret/data/{name}"), &json!({ "data": data })).good();
    }

    pub(crate) fn seal(&self) {
        self.admin().put("sys/seal", &json!({})).good();
    }

    pub(crate) fn unseal(&self) {
        let body = json!({ "key": self.key });
        let client = Client::new(self.port);
        client.put("sys/unseal", &body).good();
        wait_until("it is unsealed", || client.get("sys/health").status == 200);
    }

    /// Shows another certificate from now on.
    pub(crate) fn shows(&self, certificate: &Issued) {
        certificate.write(self.dir.path(), "server");
        let shell = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        for child in children.unwrap().split_whitespace() {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "bao" {
                let pid = child.parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
            }
        }
    }

    /// Ends the process; the port answers no more.
    pub(crate) fn stop(&mut self) {
        let mut input = self.child.stdin.take().unwrap();
        input.write_all(b"keep\n").unwrap();
        drop(input);
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port. What was in memory is gone; what was on a file is sealed
    /// and opened again.
    pub(crate) fn start_again(&mut self) {
        let child = launch(&self.kind, self.dir.path(), self.port);
        self.child = child.expect("the port is still free");
        match self.kind {
            Kind::Dev => {}
            _ => self.unseal(),
        }
    }

    fn initialise(&mut self) {
        if matches!(self.kind, Kind::Dev) {
            return self.waits_for_kv();
        }
        let client = Client::new(self.port);
        let body = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let reply = client.put("sys/init", &body).good().json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.key = text(&reply["keys"][0]);
        self.root = text(&reply["root_token"]);
        self.unseal();
        let mount = json!({ "type": "kv", "options": { "version": "2" } });
        self.admin().post("sys/mounts/secret", &mount).good();
        self.waits_for_kv();
    }

    /// A new KV 2 mount answers 400 until its upgrade is done.
    fn waits_for_kv(&self) {
        wait_until("KV 2 is ready", || self.admin().get("secret/config").status == 200);
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The binary: `$SIDEKEY_TEST_BAO`, or the one that `make test` installs.
fn binary() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/bao");
    let path = std::env::var_os("SIDEKEY_TEST_BAO").map_or(installed, PathBuf::from);
    assert!(
        path.exists(),
        "there is no OpenBao at {}: `make test` installs it, or set SIDEKEY_TEST_BAO",
        path.display()
    );
    path
}

fn configure(kind: &Kind, dir: &Path, port: u16, tls_port: u16) {
    let listener = |port: u16, more: &str| {
        format!("listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  {more}\n}}\n")
    };
    let file = |name: &str| dir.join(name).display().to_string();
    let mut config = String::from("storage \"inmem\" {}\n");
    if let Kind::Disk = kind {
        std::fs::create_dir_all(dir.join("data")).unwrap();
        config = format!(
            "storage \"raft\" {{\n  path = {:?}\n  node_id = \"one\"\n  performance_multiplier = 1\n}}\n",
            file("data")
        );
    }
    config += &format!("api_addr = \"http://127.0.0.1:{port}\"\n");
    config += &format!("cluster_addr = \"http://127.0.0.1:{}\"\n", port + 1);
    config += &listener(port, "tls_disable = true");
    if let Kind::Tls { certificate, clients } = kind {
        certificate.write(dir, "server");
        let mut tls = format!("tls_cert_file = {:?}\n", file("server.pem"));
        tls += &format!("  tls_key_file = {:?}\n", file("server.key"));
        if let Some(clients) = clients {
            std::fs::write(dir.join("clients.pem"), clients).unwrap();
            tls += "  tls_require_and_verify_client_cert = true\n";
            tls += &format!("  tls_client_ca_file = {:?}\n", file("clients.pem"));
        }
        config += &listener(tls_port, &tls);
    }
    std::fs::write(dir.join("config.hcl"), config).unwrap();
}

/// Starts the server and waits until it answers; `None` if it ended instead.
fn launch(kind: &Kind, dir: &Path, port: u16) -> Option<Child> {
    let mut arguments = vec!["server".to_owned()];
    match kind {
        Kind::Dev => arguments.extend([
            "-dev".into(),
            "-dev-no-store-token".into(),
            format!("-dev-root-token-id={}", ["ro", "ot"].concat()),
            format!("-dev-listen-address=127.0.0.1:{port}"),
        ]),
        _ => arguments.push(format!("-config={}", dir.join("config.hcl").display())),
    }
    let log = std::fs::File::create(dir.join("log")).unwrap();
    // The shell ends the server and removes its directory when this process lets go of its input,
    // however this process ends: a server that is shared through a static has nobody to drop it.
    let watch = r#"exec 3<&0
        "$@" </dev/null 3<&- &
        server=$!
        (read word <&3; kill -9 $server; [ "$word" = keep ] || rm -rf "$HOME") 2>/dev/null &
        wait $server"#;
    #[expect(clippy::disallowed_methods, reason = "tests start real servers")]
    let mut command = Command::new("/bin/sh");
    let mut child = command
        .args(["-c", watch, "sh"])
        .arg(binary())
        .args(arguments)
        .env("HOME", dir)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let client = Client::new(port);
    while child.try_wait().unwrap().is_none() {
        if client.ask("GET", "sys/health", None).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    assert!(log.contains("in use"), "OpenBao ended at once: {log}");
    None
}

fn wait_until(what: &str, good: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !good() {
        assert!(Instant::now() < until, "OpenBao: not until now {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
