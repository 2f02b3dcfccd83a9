//! The first thing in `main`: what makes the process hard to look into, whatever it does later.

use std::fmt;
use std::io::{self, Write};

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// What a panic ends the process with: a bug of ours (`EX_SOFTWARE` of `sysexits.h`).
const BUG: i32 = 70;

/// One of the guards of [`harden`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Other processes of our user can't read our memory, environment and files, and no core is
    /// written (`PR_SET_DUMPABLE` 0).
    NotDumpable,
    /// No core, by a second lock: `RLIMIT_CORE` of 1 byte. 0 would not do, because a core handler
    /// behind a pipe (systemd-coredump and its like) is served all the same under 0.
    NoCore,
    /// Nothing we start gains privileges (`no_new_privs`).
    NoNewPrivileges,
}

/// A guard that the kernel refused. The process goes on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which one.
    pub guard: Guard,
    /// The kernel's error number.
    pub errno: i32,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.guard {
            Guard::NotDumpable => "neighbours with our uid can read this process's memory",
            Guard::NoCore => "a crash of this process may leave a core dump",
            Guard::NoNewPrivileges => "what this process starts may gain privileges",
        };
        write!(f, "{what}: {}", io::Error::from_raw_os_error(self.errno))
    }
}

/// What [`harden`] found and did.
#[derive(Debug)]
pub struct Hardened {
    /// What is not in force. Empty on every kernel in support.
    pub missing: Vec<Missing>,
    /// The umask as it was, for who starts a program that is not ours (`exec`).
    pub umask: Mode,
    /// The limit on cores as it was, for the same.
    pub core_limit: Rlimit,
}

/// Makes the process hard to look into. To be called before anything else, on one thread:
///
/// 1. not dumpable. A readable binary is dumpable between `execve` and here; one of mode 0111 or
///    0151 that is run by another than its owner never is;
/// 2. no core: see [`Guard::NoCore`];
/// 3. umask 077, so that a file whose mode nobody thought of is nobody else's;
/// 4. no new privileges;
/// 5. a panic prints where it happened and nothing else, because a panic's message may quote a
///    value, and ends the process with 70.
///
/// What the kernel refuses is in the answer, to be reported once there is a log.
pub fn harden() -> Hardened {
    let core_limit = rustix::process::getrlimit(Resource::Core);
    let attempts = [
        (Guard::NotDumpable, rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)),
        (Guard::NoCore, limit_core(core_limit)),
        (Guard::NoNewPrivileges, rustix::thread::set_no_new_privs(true)),
    ];
    let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    std::panic::set_hook(Box::new(|panic| end(panic.location())));
    let missing = attempts.into_iter().filter_map(|(guard, done)| {
        done.err().map(|error| Missing { guard, errno: error.raw_os_error() })
    });
    Hardened { missing: missing.collect(), umask, core_limit }
}

/// A hard limit of 0 can't be raised to 1; not being dumpable has to do then.
fn limit_core(now: Rlimit) -> rustix::io::Result<()> {
    let one = Rlimit { current: Some(1), maximum: Some(1) };
    match rustix::process::setrlimit(Resource::Core, one) {
        Err(_) if now.maximum == Some(0) => Ok(()),
        done => done,
    }
}

fn end(location: Option<&std::panic::Location<'_>>) {
    let (file, line, column) =
        location.map_or(("an unknown place", 0, 0), |at| (at.file(), at.line(), at.column()));
    let _ = writeln!(
        io::stderr(),
        "error: sidekey has a bug and stops\n  why: panic at {file}:{line}:{column}\n hint: report \
         this line; the files that were delivered stay as they are"
    );
    std::process::exit(BUG);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_guard_says_what_it_means() {
        for (guard, word) in [
            (Guard::NotDumpable, "memory"),
            (Guard::NoCore, "core dump"),
            (Guard::NoNewPrivileges, "privileges"),
        ] {
            let text = Missing { guard, errno: libc::EPERM }.to_string();
            assert!(text.contains(word) && text.contains("not permitted"), "{text}");
        }
    }
}
