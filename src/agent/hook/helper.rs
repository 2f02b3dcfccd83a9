//! A small process that runs the commands of hooks, forked before the agent locks itself in.
//!
//! It takes an index into the configured commands and nothing else, so that whoever takes over the
//! agent can run only what the operator wrote down. It also resolves executables, which a process
//! in a Landlock domain can't. It ends when the agent does.
//!
//! Messages are of fixed size, little endian. Request: operation (1), index (4), generation (8),
//! milliseconds (8). Answer: kind (1), number (4); an answer to *resolve* is followed by that many
//! process numbers (4 each).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

use super::{Fault, process};
use crate::agent::config::{HookConfig, HookKind, Otherwise, ProcessMatch};

const REQUEST: usize = 21;
const RUN: u8 = 1;
const RESOLVE: u8 = 2;

const ENDED: u8 = 1;
const NOT_STARTED: u8 = 2;
const TOO_SLOW: u8 = 3;
const RESOLVED: u8 = 4;
const NO_SUCH: u8 = 5;

/// Variables that a command inherits; everything else, every login above all, stays behind.
const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Process numbers that an answer holds at most.
const MOST: usize = 1024;

/// The helper, seen from the agent.
pub struct Helper {
    pid: Pid,
    commands: Vec<Vec<String>>,
    executables: Vec<PathBuf>,
    stream: Mutex<Line>,
}

/// The agent's end of the line; it joins the runtime with its first use.
enum Line {
    Early(Option<UnixStream>),
    Joined(tokio::net::UnixStream),
}

impl Helper {
    /// Forks the helper for these hooks. There must be one thread, and nothing secret in memory.
    pub fn fork(hooks: &[HookConfig]) -> io::Result<Helper> {
        let (commands, _) = super::commands(hooks);
        let executables = executables(hooks);
        let (ours, theirs) = UnixStream::pair()?;
        let (for_child, exes) = (commands.clone(), executables.clone());
        let pid = crate::sandbox::fork::fork(theirs.into(), move |fd| {
            serve(UnixStream::from(fd), &for_child, &exes);
            0
        })?;
        ours.set_nonblocking(true)?;
        Ok(Helper { pid, commands, executables, stream: Mutex::new(Line::Early(Some(ours))) })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Runs the command at `place` and gives its exit code. Longer than `within`, it is ended with
    /// everything it started.
    pub(super) async fn run(
        &self,
        place: usize,
        generation: u64,
        within: Duration,
    ) -> Result<i32, Fault> {
        let program =
            || self.commands.get(place).and_then(|c| c.first()).cloned().unwrap_or_default();
        let (kind, number) = self.ask(RUN, place, generation, within, None).await?;
        match kind {
            ENDED => Ok(number),
            NOT_STARTED => Err(Fault::NotStarted { program: program(), code: number }),
            TOO_SLOW => Err(Fault::TooSlow { program: program(), within }),
            _ => Err(Fault::HelperGone),
        }
    }

    /// The processes that run an executable of the config.
    pub(super) async fn resolve(&self, path: &Path) -> Result<Vec<u32>, Fault> {
        let place = self.executables.iter().position(|exe| exe == path).ok_or(Fault::HelperGone)?;
        let mut pids = Vec::new();
        self.ask(RESOLVE, place, 0, Duration::ZERO, Some(&mut pids)).await?;
        Ok(pids)
    }

    async fn ask(
        &self,
        operation: u8,
        place: usize,
        generation: u64,
        within: Duration,
        pids: Option<&mut Vec<u32>>,
    ) -> Result<(u8, i32), Fault> {
        let mut request = [0; REQUEST];
        request[0] = operation;
        request[1..5].copy_from_slice(&u32::try_from(place).unwrap_or(u32::MAX).to_le_bytes());
        request[5..13].copy_from_slice(&generation.to_le_bytes());
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        request[13..].copy_from_slice(&millis.to_le_bytes());

        let mut line = self.stream.lock().await;
        if let Line::Early(early) = &mut *line {
            let early = early.take().ok_or(Fault::HelperGone)?;
            *line = Line::Joined(tokio::net::UnixStream::from_std(early)?);
        }
        let Line::Joined(stream) = &mut *line else { return Err(Fault::HelperGone) };
        stream.write_all(&request).await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        let number = i32::from_le_bytes([answer[1], answer[2], answer[3], answer[4]]);
        if answer[0] == RESOLVED {
            let mut found = Vec::new();
            for _ in 0..usize::try_from(number).unwrap_or_default().min(MOST) {
                found.push(stream.read_u32_le().await?);
            }
            if let Some(pids) = pids {
                *pids = found;
            }
        }
        Ok((answer[0], number))
    }
}

fn executables(hooks: &[HookConfig]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for hook in hooks {
        let signalled = match &hook.kind {
            HookKind::Signal { to, .. } => Some(to),
            _ => None,
        };
        let restarted = match hook.confirm.as_ref().map(|confirm| &confirm.otherwise) {
            Some(Otherwise::Restart(target)) => Some(target),
            _ => None,
        };
        for target in signalled.into_iter().chain(restarted) {
            if let ProcessMatch::Exe(path) = target {
                paths.push(path.clone());
            }
        }
    }
    paths
}

/// The helper itself: one request after the other, until the agent is gone.
fn serve(mut stream: UnixStream, commands: &[Vec<String>], executables: &[PathBuf]) {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let mut request = [0; REQUEST];
    while stream.read_exact(&mut request).is_ok() {
        let place = u32::from_le_bytes([request[1], request[2], request[3], request[4]]) as usize;
        let number = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&request[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        let answer = match request[0] {
            RUN => match commands.get(place) {
                Some(argv) => {
                    let (kind, code) = run(argv, number(5), Duration::from_millis(number(13)));
                    message(kind, code)
                }
                None => message(NO_SUCH, 0),
            },
            RESOLVE => match executables.get(place) {
                Some(path) => resolved(path),
                None => message(NO_SUCH, 0),
            },
            _ => message(NO_SUCH, 0),
        };
        reap();
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn message(kind: u8, number: i32) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(number.to_le_bytes());
    bytes
}

fn resolved(path: &Path) -> Vec<u8> {
    let runs =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == path);
    let all = process::all().unwrap_or_default();
    let pids: Vec<u32> = all.into_iter().filter(runs).take(MOST).collect();
    let mut bytes = message(RESOLVED, i32::try_from(pids.len()).unwrap_or_default());
    for pid in pids {
        bytes.extend(pid.to_le_bytes());
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "this is the helper that runs the commands")]
fn run(argv: &[String], generation: u64, within: Duration) -> (u8, i32) {
    let Some((program, arguments)) = argv.split_first() else { return (NO_SUCH, 0) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).process_group(0);
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("SIDEKEY_GENERATION", generation.to_string());
    match command.spawn() {
        Ok(child) => wait(child, within),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (NOT_STARTED, 127),
        Err(_) => (NOT_STARTED, 126),
    }
}

/// Waits for the child in small steps: a helper that sleeps 10 ms more costs nobody anything.
fn wait(mut child: Child, within: Duration) -> (u8, i32) {
    const STEP: Duration = Duration::from_millis(10);
    let mut left = within;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
                return (ENDED, code.unwrap_or(1));
            }
            Ok(None) if left.is_zero() => {
                if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait();
                return (TOO_SLOW, 0);
            }
            Ok(None) => {
                std::thread::sleep(STEP);
                left = left.saturating_sub(STEP);
            }
            Err(_) => return (NOT_STARTED, 126),
        }
    }
}

/// Takes leave of grandchildren that came to us when their parent ended.
fn reap() {
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
}
