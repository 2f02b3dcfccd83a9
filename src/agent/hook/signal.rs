//! Signals through a pidfd: to the process that was found and to no other.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

use super::Fault;
use super::process::{Dispositions, Found, is_same};

/// Looks whether every process could be signalled.
pub(super) fn probe(found: &[Found], signal: i32, even_if_fatal: bool) -> Result<(), Fault> {
    for &process in found {
        if let Some((_, pid)) = open(process) {
            allowed(process, signal, even_if_fatal)?;
            if test_kill_process(pid) == Err(Errno::PERM) {
                return Err(not_permitted(process));
            }
        }
    }
    Ok(())
}

/// Signals every process. `false` if all of them ended meanwhile.
pub(super) fn send(found: &[Found], signal: i32, even_if_fatal: bool) -> Result<bool, Fault> {
    let mut sent = false;
    let Some(number) = Signal::from_named_raw(signal) else { return Err(Fault::BadRequest) };
    for &process in found {
        let Some((fd, _)) = open(process) else { continue };
        allowed(process, signal, even_if_fatal)?;
        match pidfd_send_signal(&fd, number) {
            Ok(()) => sent = true,
            Err(Errno::PERM) => return Err(not_permitted(process)),
            Err(_) => {}
        }
    }
    Ok(sent)
}

/// Asks every process to end, and ends those that have not after `grace`.
pub(super) async fn end(found: &[Found], grace: Duration) -> Result<(), Fault> {
    let mut open: Vec<OwnedFd> = Vec::new();
    for &process in found {
        let Some((fd, _)) = self::open(process) else { continue };
        match pidfd_send_signal(&fd, Signal::TERM) {
            Ok(()) => open.push(fd),
            Err(Errno::PERM) => return Err(not_permitted(process)),
            Err(_) => {}
        }
    }
    let all_ended = async {
        while open.iter().any(|fd| !has_ended(fd)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        for fd in open.iter().filter(|fd| !has_ended(fd)) {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
    }
    Ok(())
}

/// A pidfd becomes readable when the process ends (`pidfd_open(2)`).
fn has_ended(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1))
}

/// Opens the process and looks again whether it is still the one that was found: the number may have
/// been given to another one in between.
fn open(process: Found) -> Option<(OwnedFd, Pid)> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    is_same(process).then_some((fd, pid))
}

fn allowed(process: Found, signal: i32, even_if_fatal: bool) -> Result<(), Fault> {
    let Some(signals) = Dispositions::of(process.pid) else { return Ok(()) };
    let harmless = [Signal::CHILD, Signal::CONT, Signal::URG, Signal::WINCH];
    let harmless = harmless.iter().any(|harmless| harmless.as_raw() == signal);
    if even_if_fatal || signals.catches(signal) || harmless {
        return Ok(());
    }
    Err(Fault::NotCaught { pid: process.pid, signal, ignored: signals.ignores(signal) })
}

fn not_permitted(process: Found) -> Fault {
    let uid = Dispositions::of(process.pid).map_or(0, |signals| signals.uid);
    Fault::NotPermitted { pid: process.pid, uid }
}
