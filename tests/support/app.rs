//! A small application that is told: a Python script with a mark in its command line.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long we wait for what must come. Not a claim about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every script begins with: `say(word)` adds a line to the log, `ready()` tells us that it
/// has come so far, and `sleep()` waits for ever.
const PRELUDE: &str = "
import os, signal, sys, time
here = sys.argv[1]
def say(word):
    with open(here + '/log', 'a') as log:
        log.write(word + '\\n')
def ready():
    open(here + '/ready', 'w').close()
def sleep():
    while True:
        time.sleep(0.05)
";

/// An application that runs until it is dropped.
pub(crate) struct App {
    /// Its directory, which stands in its command line and means it and nobody else.
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl App {
    /// Starts a script and waits until it is `ready()`.
    pub(crate) fn start(script: &str) -> App {
        App::start_by(&["python3"], script)
    }

    /// The same, by another command, which gets `-c SCRIPT DIRECTORY`.
    pub(crate) fn start_by(command: &[&str], script: &str) -> App {
        let dir = tempfile::tempdir().unwrap();
        let app = App { child: spawn(command, script, dir.path()), dir };
        until("the application is ready", || app.path("ready").exists());
        app
    }

    /// A file in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What means it and nobody else.
    pub(crate) fn mark(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(String::from).collect()
    }

    /// Waits until it has said so many words.
    pub(crate) fn says(&self, words: usize) -> Vec<String> {
        until("the application says something", || self.log().len() >= words);
        self.log()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn ends(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the application of a test")]
fn spawn(command: &[&str], script: &str, dir: &std::path::Path) -> Child {
    Command::new(command[0])
        .args(&command[1..])
        .arg("-c")
        .arg(format!("{PRELUDE}{script}"))
        .arg(dir)
        .stdin(Stdio::null())
        .spawn()
        .expect("python3 is needed: apt-get install python3")
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
