//! A secret's whole life in half a minute, without a server and without root.
//!
//! `cargo run --example quickstart` makes an encrypted local store, runs the agent and a small
//! application beside it, changes the secret, breaks it, mends it, and cleans up. Agent and
//! application are this same program, started again in another role: the agent's role is the very
//! function that the `sidekey` binary calls.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a demonstration talks")]
#![expect(clippy::disallowed_methods, reason = "it starts the agent and the application")]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROLE: &str = "SIDEKEY_QUICKSTART_ROLE";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("sidekey") => {
            let hardened = sidekey::sandbox::process::harden();
            sidekey::agent::cli::run(std::env::args_os(), &hardened)
        }
        Ok("application") => finish(application()),
        _ => finish(story()),
    }
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The story itself, one step a line.
fn story() -> Result<()> {
    let place = Place::make()?;
    let port = free_port()?;
    place.write_config(port)?;

    say(1, "make a key and an encrypted store; the plaintext never touches a disk");
    place.sidekey(&["local", "keygen", &place.key()], "")?;
    place.set("first-password")?;

    say(2, "ask `sidekey check` what would happen");
    let plan = place.sidekey(&["check", "--config", &place.config()], "")?;
    indent(&plan);

    say(3, "start the agent, then an application that reads its file and reloads when told");
    let mut agent = place.start_agent()?;
    wait_for("the first generation", || place.sidekey(&place.health("--startup"), "").is_ok())?;
    let mut app = place.start_application(port)?;
    wait_for("the application", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;

    say(4, "change the secret; the agent delivers it and tells the application");
    place.set("second-password")?;
    wait_for("the second generation", || place.delivered() == "second-password\n")?;
    wait_for("the application's answer", || place.told().contains("second-password"))?;

    say(5, "break the secret: the field is misspelt, so it is refused and the old file stays");
    place.misspell_the_field()?;
    wait_for("the refusal", || place.agent_says("field_missing"))?;
    println!("     sidekey: field_missing; the file still holds {}", place.delivered().trim());

    say(6, "mend it, and all is well again");
    place.set("third-password")?;
    wait_for("the application's answer", || place.told().contains("third-password"))?;

    say(7, "stop the agent with SIGTERM; it ends with 0");
    let code = terminate(&mut agent)?;
    app.kill()?;
    app.wait()?;
    if code != Some(0) {
        return Err(format!("the agent ended with {code:?}").into());
    }
    println!("done: three generations, no torn file, and the application knew of each.");
    Ok(())
}

fn say(step: u32, what: &str) {
    println!("{step:>2}. {what}");
}

fn indent(text: &str) {
    for line in text.lines() {
        println!("     {line}");
    }
}

/// A directory on a tmpfs with everything in it; removed at the end.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Place> {
        let candidates =
            [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some("/dev/shm".into())];
        for base in candidates.into_iter().flatten() {
            let dir = base.join(format!("sidekey-quickstart-{}", std::process::id()));
            let is_tmpfs = rustix::fs::statfs(&base).is_ok_and(|fs| fs.f_type == 0x0102_1994);
            if is_tmpfs && std::fs::DirBuilder::new().mode(0o700).create(&dir).is_ok() {
                for sub in ["volume", "state"] {
                    std::fs::DirBuilder::new().mode(0o750).create(dir.join(sub))?;
                }
                return Ok(Place(dir));
            }
        }
        Err("no writable tmpfs: neither $XDG_RUNTIME_DIR nor /dev/shm is one. As root, \
             `mount -t tmpfs -o size=8m,mode=0700 tmpfs DIR`, then run again with \
             XDG_RUNTIME_DIR=DIR"
            .into())
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn config(&self) -> String {
        self.path("sidekey.yaml")
    }

    fn store(&self) -> String {
        self.path("secrets.yaml.age")
    }

    fn key(&self) -> String {
        self.path("key.txt")
    }

    fn health(&self, question: &str) -> [String; 4] {
        ["health".to_owned(), "--config".to_owned(), self.config(), question.to_owned()]
    }

    fn write_config(&self, port: u16) -> Result<()> {
        let dir = self.0.display();
        let config = format!(
            "stores:\n  dev: {{ kind: local, file: {dir}/secrets.yaml.age, key_file: {dir}/key.txt }}\n\
             secrets:\n  db: {{ from: \"dev:db\" }}\n\
             files:\n  password: {{ template: \"{{{{ db.password }}}}\\n\" }}\n\
             volume: {{ path: {dir}/volume }}\n\
             state: {{ path: {dir}/state }}\n\
             health: {{ listen: \"unix:{dir}/health.sock\" }}\n\
             on_change:\n  - http: {{ url: \"http://127.0.0.1:{port}/-/reload\" }}\n    \
             confirm: {{ status: 200, within: 5s }}\n"
        );
        Ok(std::fs::write(self.config(), config)?)
    }

    /// This program again, as `sidekey`.
    fn command(args: &[impl AsRef<str>]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ROLE, "sidekey").args(args.iter().map(|a| OsString::from(a.as_ref())));
        Ok(command)
    }

    /// Runs `sidekey` to its end and gives what it printed.
    #[expect(clippy::unused_self, reason = "reads like the command it runs")]
    fn sidekey(&self, args: &[impl AsRef<str>], stdin: &str) -> Result<String> {
        let mut command = Place::command(args)?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().ok_or("no stdin")?.write_all(stdin.as_bytes())?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
        }
    }

    fn set(&self, password: &str) -> Result<()> {
        let args = ["local", "set", &self.store(), "--key-file", &self.key(), "db.password"];
        self.sidekey(&args, password).map(drop)
    }

    fn start_agent(&self) -> Result<Child> {
        let log = std::fs::File::create(self.path("agent.log"))?;
        Ok(Place::command(&["run", "--config", &self.config()])?
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?)
    }

    fn start_application(&self, port: u16) -> Result<Child> {
        let told = std::fs::File::create(self.path("application.log"))?;
        drop(told);
        Ok(Command::new(std::env::current_exe()?)
            .env(ROLE, "application")
            .args([self.path("volume"), port.to_string(), self.path("application.log")])
            .spawn()?)
    }

    fn delivered(&self) -> String {
        std::fs::read_to_string(self.0.join("volume/password")).unwrap_or_default()
    }

    /// What the application said so far.
    fn told(&self) -> String {
        std::fs::read_to_string(self.path("application.log")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place {
    /// Renames the field inside the encrypted store, as a slip of the editor would.
    fn misspell_the_field(&self) -> Result<()> {
        let mut command =
            Place::command(&["local", "edit", &self.store(), "--key-file", &self.key()])?;
        let output = command.env("VISUAL", "sed -i s/password:/pasword:/").output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
        }
    }

    /// Whether `/ready` names this reason.
    fn agent_says(&self, reason: &str) -> bool {
        let asked = Place::command(&self.health("--ready")).and_then(|mut c| Ok(c.output()?));
        asked.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains(reason))
    }
}

/// A small application: it reads its file when it starts and whenever it is told to.
fn application() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: VOLUME PORT LOG");
    let (volume, port, log) = (PathBuf::from(next()?), next()?.parse::<u16>()?, next()?);
    let mut log = std::fs::OpenOptions::new().append(true).open(log)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    tell(&mut log, "started with", &volume)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut request = [0; 1024];
        let length = stream.read(&mut request)?;
        if length == 0 {
            continue;
        }
        let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
        let generation = request.lines().find_map(|line| line.strip_prefix("sidekey-generation: "));
        tell(
            &mut log,
            &format!("told of generation {}, now has", generation.unwrap_or("?")),
            &volume,
        )?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    }
    Ok(())
}

/// Reads the password as docs/reading-files.md says and reports it (an example may).
fn tell(log: &mut std::fs::File, what: &str, volume: &Path) -> Result<()> {
    use rustix::fs::{Mode, OFlags, open, openat};
    let generation =
        open(volume.join("..data"), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())?;
    let mut file =
        std::fs::File::from(openat(generation, "password", OFlags::RDONLY, Mode::empty())?);
    let mut password = String::new();
    file.read_to_string(&mut password)?;
    println!("     application: {what} {}", password.trim());
    writeln!(log, "{}", password.trim())?;
    Ok(())
}

/// Waits until `done`, but no longer than a newcomer's patience.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(format!("waited 20 s for {what}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Sends SIGTERM and gives the exit code.
fn terminate(child: &mut Child) -> Result<Option<i32>> {
    let pid = i32::try_from(child.id())?;
    let pid = rustix::process::Pid::from_raw(pid).ok_or("no such process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    Ok(child.wait()?.code())
}
