//! The helper's own life: it takes orders, runs commands beside each other, and takes leave of
//! what they leave behind.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, wait as wait_for_any,
};

use super::super::process;
use super::wire::{Answer, MOST, ORDER, Order};

/// Variables that a command inherits; everything else, every login above all, stays behind.
const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Commands that run at once, at most: a bound for an agent that is no longer ours.
const MOST_RUNNING: usize = 64;

/// How often we look for orphans that ended while nothing else happens.
const ORPHANS: Duration = Duration::from_secs(10);

/// How often we look at a command where the kernel can't wake us (no `pidfd_open`).
const BLIND: Duration = Duration::from_millis(20);

/// A command that runs.
struct Running {
    /// Of the order.
    id: u32,
    /// The command's process, which is also its group.
    pid: Pid,
    /// Wakes us at its end.
    wake: Option<OwnedFd>,
    /// When it is ended.
    deadline: Instant,
    /// It was ended, and that has been said.
    answered: bool,
}

/// Takes orders until the agent is gone; then ends what still runs and returns.
pub(super) fn serve(line: &OwnedFd, commands: &[Vec<String>], executables: &[PathBuf]) {
    // What a command leaves behind comes to us when it ends, and not to an agent that is process 1.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let mut running: Vec<Running> = Vec::new();
    let mut orphans = false;
    loop {
        let ordered = wait(line, &running, orphans);
        if ordered && !obey(line, commands, executables, &mut running) {
            break;
        }
        orphans = reap(line, &mut running);
        end_late(line, &mut running, Instant::now());
    }
    for command in &running {
        let _ = kill_process_group(command.pid, Signal::KILL);
    }
}

/// Waits until there is something to do. `true`: there is an order, or the agent is gone.
fn wait(line: &OwnedFd, running: &[Running], orphans: bool) -> bool {
    let mut fds = Vec::new();
    if running.len() < MOST_RUNNING {
        fds.push(PollFd::from_borrowed_fd(line.as_fd(), PollFlags::IN));
    }
    let wakes = running.iter().filter_map(|command| command.wake.as_ref());
    fds.extend(wakes.map(|wake| PollFd::from_borrowed_fd(wake.as_fd(), PollFlags::IN)));

    let now = Instant::now();
    let due = running.iter().filter(|command| !command.answered);
    let due = due.map(|command| command.deadline.saturating_duration_since(now)).min();
    let blind = running.iter().any(|command| command.wake.is_none()).then_some(BLIND);
    let wait = [due, blind, orphans.then_some(ORPHANS)].into_iter().flatten().min();
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());

    let ready = poll(&mut fds, wait.as_ref());
    ready.is_ok() && running.len() < MOST_RUNNING && !fds[0].revents().is_empty()
}

/// Does one order. `false`: the agent is gone.
fn obey(
    line: &OwnedFd,
    commands: &[Vec<String>],
    executables: &[PathBuf],
    running: &mut Vec<Running>,
) -> bool {
    let mut packet = [0; ORDER + 1];
    let length = match recv(line, &mut packet, RecvFlags::DONTWAIT) {
        Ok((0, _)) => return false,
        Ok((length, _)) => length,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
        Err(_) => return false,
    };
    let Some((id, order)) = Order::decode(&packet[..length]) else { return true };
    match order {
        Order::Run { place, generation, within } => {
            match commands.get(place).map(|argv| start(argv, generation)) {
                None => say(line, id, &Answer::NoSuch),
                Some(Err(code)) => say(line, id, &Answer::NotStarted(code)),
                Some(Ok(pid)) => {
                    let wake = pidfd_open(pid, PidfdFlags::empty()).ok();
                    // A year is for ever, and can be added to any clock.
                    let within = within.min(Duration::from_hours(24 * 365));
                    let deadline = Instant::now() + within;
                    running.push(Running { id, pid, wake, deadline, answered: false });
                }
            }
        }
        Order::Resolve { place } => {
            let pids = executables.get(place).map(|path| Answer::Resolved(who_runs(path)));
            say(line, id, &pids.unwrap_or(Answer::NoSuch));
        }
    }
    true
}

/// Starts a command; what it can't be started for is 127 or 126, as a shell says it.
#[expect(clippy::disallowed_methods, reason = "this is the helper that runs the commands")]
fn start(argv: &[String], generation: u64) -> Result<Pid, i32> {
    let (program, arguments) = argv.split_first().ok_or(127)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).process_group(0);
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("SIDEKEY_GENERATION", generation.to_string());
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    })?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(126)
}

/// Takes leave of every child that ended. `true`: there are others, who came to us as orphans.
fn reap(line: &OwnedFd, running: &mut Vec<Running>) -> bool {
    loop {
        match wait_for_any(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let Some(place) = running.iter().position(|command| command.pid == pid) else {
                    continue;
                };
                let Running { id, answered, .. } = running.swap_remove(place);
                if !answered {
                    let signal = || status.terminating_signal().map(|signal| 128 + signal);
                    let code = status.exit_status().or_else(signal).unwrap_or(1);
                    say(line, id, &Answer::Ended(code));
                }
            }
            // Children are there, and none has ended.
            Ok(None) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Ends every command that has had its time, with everything that it started in its group.
fn end_late(line: &OwnedFd, running: &mut [Running], now: Instant) {
    for command in running.iter_mut().filter(|c| !c.answered && c.deadline <= now) {
        // Its leader is not reaped yet, so that the number still is this group's.
        let _ = kill_process_group(command.pid, Signal::KILL);
        command.answered = true;
        say(line, command.id, &Answer::TooSlow);
    }
}

fn who_runs(path: &Path) -> Vec<u32> {
    let all = process::all().unwrap_or_default();
    all.into_iter().filter(|&pid| process::runs(pid, path)).take(MOST).collect()
}

fn say(line: &OwnedFd, id: u32, answer: &Answer) {
    // Should the agent be gone, the next order will tell.
    let _ = send(line, &answer.encode(id), SendFlags::NOSIGNAL);
}
