//! Signals through a pidfd, to processes that hear them.
//!
//! A signal without a handler ends a process, so the handler is looked for first. What can't be
//! excluded is that a process gives up its handler (`execve`) between that look and the signal.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, pidfd_send_signal, test_kill_process};

use super::Fault;
use super::process::{Effect, Found, effect, uid};
use super::target::Held;

/// How long the kernel may take to end a process that was sent SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// What would stand in the way of a signal. Sends nothing.
pub(super) fn probe(held: &[Held], signal: i32, even_if_fatal: bool) -> Result<(), Fault> {
    // Whose uid is another one's can be told nothing, whatever it catches.
    for held in held {
        let pid = i32::try_from(held.process.pid).ok().and_then(Pid::from_raw);
        let refused = pid.map(test_kill_process) == Some(Err(Errno::PERM));
        // As long as the process has not ended its number can't mean another one.
        if refused && !has_ended(&held.fd) {
            return Err(not_permitted(held.process));
        }
    }
    choose(&heard(held, signal), signal, even_if_fatal).map(|_| ())
}

/// Signals the processes. `false` if all of them ended meanwhile.
pub(super) fn send(held: &[Held], signal: i32, even_if_fatal: bool) -> Result<bool, Fault> {
    let number = Signal::from_named_raw(signal).ok_or(Fault::BadRequest)?;
    let mut sent = false;
    let mut refused = None;
    for chosen in choose(&heard(held, signal), signal, even_if_fatal)? {
        let Some(held) = held.iter().find(|held| held.process.is(chosen)) else { continue };
        match pidfd_send_signal(&held.fd, number) {
            Ok(()) => sent = true,
            Err(Errno::SRCH) => {}
            Err(Errno::PERM) => refused = Some(not_permitted(held.process)),
            Err(_) => refused = Some(Fault::NoPidfd),
        }
    }
    refused.map_or(Ok(sent), Err)
}

/// Asks processes to end, and ends those that have not after `grace`.
pub(super) async fn end(held: Vec<Held>, grace: Duration) -> Result<(), Fault> {
    let mut refused = None;
    let everybody: Vec<Found> = held.iter().map(|held| held.process).collect();
    let eldest = eldest(&everybody, &everybody);
    let mut asked = Vec::new();
    for held in held.into_iter().filter(|held| eldest.iter().any(|e| e.is(held.process))) {
        match pidfd_send_signal(&held.fd, Signal::TERM) {
            Ok(()) => asked.push(held),
            Err(Errno::SRCH) => {}
            Err(Errno::PERM) => refused = Some(not_permitted(held.process)),
            Err(_) => refused = Some(Fault::NoPidfd),
        }
    }
    if !all_ended(&asked, grace).await {
        for held in asked.iter().filter(|held| !has_ended(&held.fd)) {
            let _ = pidfd_send_signal(&held.fd, Signal::KILL);
        }
        all_ended(&asked, AFTER_KILL).await;
    }
    let alive = asked.iter().find(|held| !has_ended(&held.fd));
    let alive = alive.map(|held| Fault::DidNotEnd { pid: held.process.pid });
    refused.or(alive).map_or(Ok(()), Err)
}

async fn all_ended(held: &[Held], within: Duration) -> bool {
    let waiting = async {
        while held.iter().any(|held| !has_ended(&held.fd)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(within, waiting).await.is_ok()
}

/// A pidfd becomes readable when the process ends (`pidfd_open(2)`).
fn has_ended(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1))
}

/// What the signal would do to each process that is still there.
fn heard(held: &[Held], signal: i32) -> Vec<(Found, Effect)> {
    let heard = held.iter().filter_map(|held| {
        let process = held.process;
        effect(process.pid, signal).map(|effect| (process, effect))
    });
    heard.collect()
}

/// Who is sent the signal: of those who hear it (all, if it may be fatal) the eldest of each family,
/// because a parent passes on to its workers what concerns them, and a shell that only waits for
/// the application does not hear it.
fn choose(
    heard: &[(Found, Effect)],
    signal: i32,
    even_if_fatal: bool,
) -> Result<Vec<Found>, Fault> {
    let everybody: Vec<Found> = heard.iter().map(|(found, _)| *found).collect();
    let counts = |effect| even_if_fatal || effect == Effect::Handled;
    let hearing: Vec<Found> =
        heard.iter().filter(|(_, effect)| counts(*effect)).map(|(found, _)| *found).collect();
    match heard.first() {
        Some((process, effect)) if hearing.is_empty() => {
            Err(Fault::NotCaught { pid: process.pid, signal, ignored: *effect == Effect::None })
        }
        _ => Ok(eldest(&hearing, &everybody)),
    }
}

/// Those of `some` who have no forefather among them; `everybody` knows the parents in between.
fn eldest(some: &[Found], everybody: &[Found]) -> Vec<Found> {
    let is_eldest = |process: &&Found| {
        let mut parent = process.parent;
        // As many steps as there are processes: numbers that change hands could form a circle.
        for _ in everybody {
            if some.iter().any(|some| some.pid == parent && parent != process.pid) {
                return false;
            }
            match everybody.iter().find(|found| found.pid == parent) {
                Some(found) => parent = found.parent,
                None => return true,
            }
        }
        true
    };
    some.iter().filter(is_eldest).copied().collect()
}

fn not_permitted(process: Found) -> Fault {
    Fault::NotPermitted { pid: process.pid, uid: uid(process.pid) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the applications of these tests")]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::super::target::Target;
    use super::*;
    use crate::agent::config::ProcessMatch;

    fn process(pid: u32, parent: u32) -> Found {
        Found { pid, start: 1, parent }
    }

    #[test]
    fn the_eldest_who_hear_are_chosen() {
        use Effect::{Fatal, Handled, None};
        let pids = |chosen: Vec<Found>| chosen.iter().map(|f| f.pid).collect::<Vec<_>>();
        for (heard, even_if_fatal, chosen) in [
            // A master and its workers.
            (&[(10, 1, Handled), (11, 10, Handled), (12, 10, Handled)][..], false, &[10][..]),
            // Two instances.
            (&[(10, 1, Handled), (20, 1, Handled)], false, &[10, 20]),
            // A shell that waits for the application.
            (&[(10, 1, Fatal), (11, 10, Handled), (12, 11, Handled)], false, &[11]),
            // One in between that does not hear.
            (&[(10, 1, Handled), (11, 10, Fatal), (12, 11, Handled)], false, &[10]),
            (&[(10, 1, Fatal), (11, 10, Handled)], true, &[10]),
            (&[(10, 1, None)], true, &[10]),
            (&[(10, 11, Handled), (11, 10, Fatal)], false, &[10]),
            (&[], false, &[]),
        ] {
            let heard: Vec<_> = heard.iter().map(|&(p, pp, e)| (process(p, pp), e)).collect();
            assert_eq!(pids(choose(&heard, 1, even_if_fatal).unwrap()), chosen, "{heard:?}");
        }
    }

    #[test]
    fn who_would_die_or_not_notice_is_not_chosen() {
        for (effect, unnoticed) in [(Effect::Fatal, false), (Effect::None, true)] {
            let fault = choose(&[(process(10, 1), effect)], 1, false).unwrap_err();
            let Fault::NotCaught { pid: 10, signal: 1, ignored } = fault else { panic!() };
            assert_eq!(ignored, unnoticed);
        }
    }

    /// A shell that has set its traps, and how to mean it alone.
    fn shell(traps: &str) -> (Child, Target) {
        let mark = format!("sidekey-test-{}-{}", std::process::id(), fastrand::u64(..));
        let script = format!("{traps}; echo; while :; do sleep 0.05; done");
        let child =
            Command::new("sh").args(["-c", &script, &mark]).stdout(Stdio::piped()).spawn().unwrap();
        let mut child = child;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (child, Target::open(&ProcessMatch::Cmdline(mark), Option::None).unwrap())
    }

    #[tokio::test]
    async fn a_process_that_will_not_end_is_ended() {
        let (mut child, target) = shell("trap '' TERM");
        let began = Instant::now();
        let grace = Duration::from_millis(200);
        end(target.hold().await.unwrap(), grace).await.unwrap();
        assert!(began.elapsed() >= grace);
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    }

    #[tokio::test]
    async fn a_process_that_ends_when_asked_is_not_killed() {
        let (mut child, target) = shell("trap 'exit 7' TERM");
        end(target.hold().await.unwrap(), Duration::from_secs(60)).await.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[tokio::test]
    async fn a_signal_reaches_only_the_process_that_was_held() {
        let (mut child, target) = shell("trap 'exit 3' HUP");
        let held = target.hold().await.unwrap();
        assert_eq!(held.len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        // The number may mean another process by now; the descriptor does not.
        assert_eq!(pidfd_send_signal(&held[0].fd, Signal::HUP), Err(Errno::SRCH));
        assert!(!send(&held, libc::SIGHUP, true).unwrap());
        assert!(target.hold().await.unwrap().is_empty());
    }
}
