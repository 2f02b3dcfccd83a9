//! What `/proc` says of processes: who they are, and what a signal would do to them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::agent::config::ProcessMatch;

/// A process, recognizable even if its number is given to another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot: together with the number unique.
    pub start: u64,
    /// Its parent's number.
    pub parent: u32,
}

impl Found {
    /// Whether both are the same process.
    pub(super) fn is(self, other: Found) -> bool {
        self.pid == other.pid && self.start == other.start
    }
}

/// What `/proc/PID/stat` says (`proc_pid_stat(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    /// The short name, at most 15 bytes, which are not always text.
    comm: Vec<u8>,
    /// `Z` for one that ended and waits for its parent.
    state: u8,
    /// The parent.
    parent: u32,
    /// Field 22.
    start: u64,
}

/// Bytes of the short name that the kernel keeps (`TASK_COMM_LEN` less the NUL).
const COMM: usize = 15;

/// Bytes that we read of one file of `/proc`. A command line can have megabytes; what tells one
/// process from another is in front.
const LONGEST: u64 = 64 * 1024;

/// Finds every living process that fits and is not one of `not_us`. `known` are the only ones that
/// can fit, found by another sign: what a pid file says, or whom the helper saw.
pub(super) fn find(
    what: &ProcessMatch,
    known: Option<&[u32]>,
    not_us: &[u32],
) -> io::Result<Vec<Found>> {
    let candidates = match known {
        Some(known) => known.to_vec(),
        None => all()?,
    };
    let found = candidates.into_iter().filter(|pid| !not_us.contains(pid)).filter_map(|pid| {
        let stat = stat(pid).filter(|stat| stat.state != b'Z')?;
        let fits = known.is_some() || fits(what, pid, &stat);
        fits.then_some(Found { pid, start: stat.start, parent: stat.parent })
    });
    Ok(found.collect())
}

/// The numbers of all processes that we see.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Whether a process runs this executable. Only for processes of our uid, and only outside a
/// Landlock domain, the kernel tells.
pub(super) fn runs(pid: u32, path: &Path) -> bool {
    let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    // An executable that was replaced by a newer one still is the one that is meant.
    exe == path || exe.to_str().and_then(|exe| exe.strip_suffix(" (deleted)")) == path.to_str()
}

fn fits(what: &ProcessMatch, pid: u32, stat: &Stat) -> bool {
    match what {
        ProcessMatch::Name(name) => stat.comm == name.as_bytes()[..name.len().min(COMM)],
        ProcessMatch::Exe(path) => runs(pid, path),
        ProcessMatch::Cmdline(part) => {
            read(&format!("/proc/{pid}/cmdline")).is_some_and(|line| joined(&line).contains(part))
        }
        // Known by its number only, and that was looked up before.
        ProcessMatch::PidFile(_) => false,
    }
}

/// The arguments, which end with a NUL each, joined by spaces.
fn joined(cmdline: &[u8]) -> String {
    let cmdline = String::from_utf8_lossy(cmdline);
    cmdline.trim_end_matches('\0').replace('\0', " ")
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(&format!("/proc/{pid}/stat"))?)
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name may hold anything, brackets and spaces included: it ends at the last one.
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field 3 of the manual is the first one here.
    Some(Stat {
        comm,
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// What a signal would do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It has a handler, or every thread holds the signal back, as who reads from a `signalfd` does.
    /// Who waits in `sigwait` does not: there the kernel shows the signal as if it would end the
    /// process.
    Handled,
    /// Nothing at all.
    None,
    /// It would end, or stop.
    Fatal,
}

/// Signals that do nothing by default (`signal(7)`).
const HARMLESS: [i32; 4] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];

/// What a signal would do to a process that is there.
pub(super) fn effect(pid: u32, signal: i32) -> Option<Effect> {
    let status = parse_status(&read(&format!("/proc/{pid}/status"))?)?;
    let held_back = || {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        let mut threads = threads.into_iter().flatten().filter_map(Result::ok).peekable();
        threads.peek().is_some()
            && threads.all(|thread| {
                let status = thread.path().join("status");
                let status = status.to_str().and_then(read).and_then(|text| parse_status(&text));
                status.is_some_and(|status| bit(status.blocked, signal))
            })
    };
    Some(status.effect(signal, held_back))
}

/// The uid of a process that is there.
pub(super) fn uid(pid: u32) -> Option<u32> {
    Some(parse_status(&read(&format!("/proc/{pid}/status"))?)?.uid)
}

/// What `/proc/PID/status` says of signals and identity (`proc_pid_status(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    /// `SigCgt`, of the whole process.
    caught: u64,
    /// `SigIgn`, of the whole process.
    ignored: u64,
    /// `SigBlk`, of the one thread.
    blocked: u64,
    /// The real uid: with the saved one what counts for a signal.
    uid: u32,
    /// It is process 1 of its PID namespace, as the first process of a container is. The kernel
    /// drops every signal for which such a process has no handler; even SIGKILL, if it comes from
    /// the same namespace.
    init: bool,
}

impl Status {
    fn effect(&self, signal: i32, held_back: impl FnOnce() -> bool) -> Effect {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            return Effect::Fatal;
        }
        if bit(self.caught, signal) || (bit(self.blocked, signal) && held_back()) {
            return Effect::Handled;
        }
        if bit(self.ignored, signal) || self.init || HARMLESS.contains(&signal) {
            return Effect::None;
        }
        Effect::Fatal
    }
}

fn bit(mask: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).ok().and_then(|n| 1_u64.checked_shl(n)).is_some_and(|b| mask & b != 0)
}

fn parse_status(text: &[u8]) -> Option<Status> {
    // A newline in the name is escaped here.
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    Some(Status {
        caught: mask("SigCgt:")?,
        ignored: mask("SigIgn:")?,
        blocked: mask("SigBlk:")?,
        uid: field("Uid:")?.split_ascii_whitespace().next()?.parse().ok()?,
        init: field("NSpid:").and_then(|pids| pids.split_ascii_whitespace().last()) == Some("1"),
    })
}

fn read(path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_confuse_the_fields() {
        let rest = b" S 42 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0";
        for name in [&b"nginx"[..], b") (", b"a) R 1 (b", b"x) S 7 7", b"", b"\xff\n(", b"a b c"] {
            let stat = parse_stat(&[b"7 (", name, b")", rest].concat()).unwrap();
            let comm = name.to_vec();
            assert_eq!(stat, Stat { comm, state: b'S', parent: 42, start: 987_654 });
        }
    }

    #[test]
    fn a_stat_that_is_cut_off_is_nobody() {
        let whole = b"7 (nginx) S 42 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9";
        assert!(parse_stat(whole).is_some());
        for cut in [0, 3, 8, 9, 11, 14, whole.len() - 2] {
            assert_eq!(parse_stat(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn arguments_are_joined_by_spaces() {
        assert_eq!(joined(b"python3\0app.py\0--x y\0"), "python3 app.py --x y");
        assert_eq!(joined(b""), "");
        assert_eq!(joined(b"a\0\0b\0"), "a  b");
    }

    fn status(more: &str) -> Status {
        let text = format!(
            "Name:\tx\\nSigCgt:\t0\nUid:\t33\t0\t0\t0\n{more}SigBlk:\t0000000000000200\n\
             SigIgn:\t0000000000001800\nSigCgt:\t0000000000004001\n"
        );
        parse_status(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_signal_does_is_read_from_the_masks() {
        use libc::{SIGCONT, SIGHUP, SIGKILL, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
        let app = status("NSpid:\t77\t12\n");
        let init = status("NSpid:\t77\t1\n");
        assert_eq!(app.uid, 33);
        for (signal, held_back, as_app, as_init) in [
            (SIGHUP, false, Effect::Handled, Effect::Handled),
            (SIGTERM, false, Effect::Handled, Effect::Handled),
            (SIGUSR1, true, Effect::Handled, Effect::Handled),
            (SIGUSR1, false, Effect::Fatal, Effect::None),
            (SIGUSR2, true, Effect::None, Effect::None),
            (SIGPIPE, true, Effect::None, Effect::None),
            (libc::SIGQUIT, true, Effect::Fatal, Effect::None),
            (SIGWINCH, false, Effect::None, Effect::None),
            (SIGCONT, false, Effect::None, Effect::None),
            (SIGKILL, true, Effect::Fatal, Effect::Fatal),
        ] {
            assert_eq!(app.effect(signal, || held_back), as_app, "{signal}");
            assert_eq!(init.effect(signal, || held_back), as_init, "{signal}");
        }
        assert!(!status("").init);
        assert!(!bit(u64::MAX, 0) && !bit(u64::MAX, 65) && bit(u64::MAX, 64));
    }

    #[test]
    fn we_find_ourselves_by_every_sign_unless_told_not_to() {
        let us = std::process::id();
        let name = String::from_utf8(stat(us).unwrap().comm).unwrap();
        let exe = std::env::current_exe().unwrap();
        for (target, known) in [
            (ProcessMatch::Name(name.clone()), None),
            (ProcessMatch::Name(format!("{name:x<15} and what the kernel cut off")), None),
            (ProcessMatch::Exe(exe.clone()), None),
            (ProcessMatch::Cmdline(exe.display().to_string()), None),
            (ProcessMatch::PidFile("/run/app.pid".into()), Some([us])),
        ] {
            if matches!(&target, ProcessMatch::Name(long) if long.len() > COMM) && name.len() < COMM
            {
                continue;
            }
            let known = known.as_ref().map(<[u32; 1]>::as_slice);
            let found = find(&target, known, &[]).unwrap();
            assert!(found.iter().any(|found| found.pid == us), "{target:?}");
            let others = find(&target, known, &[us]).unwrap();
            assert!(others.iter().all(|found| found.pid != us), "{target:?}");
        }
    }
}
