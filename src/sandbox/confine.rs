//! Locking the agent in: Landlock for files, ports and signals, seccomp for everything else that a
//! process can ask a kernel for, and a self-test that tries what must not work.
//!
//! The list of system calls was made from what the agent was seen to call after this moment, and
//! what stands beside it in the code (docs/sandbox.md says how to see it again). What is not on it is
//! refused with an error, so that a library which tries something new is not killed for it.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::landlock::{self, Grants, NET, SCOPE};
use super::seccomp::Filter;

/// How far the process is locked in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The version of Landlock that is in force; 0 is none.
    pub landlock: u8,
    /// Whether the list of system calls is in force.
    pub seccomp: bool,
    /// What the self-test could do all the same.
    pub possible: Vec<Deed>,
}

/// What a locked-in process must not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Start a program.
    Exec,
    /// Look into another process.
    Trace,
    /// Open what it was not given.
    Files,
    /// Connect to a port that is not in the config.
    Connect,
    /// Listen on a port.
    Bind,
}

impl Deed {
    /// Every one of them.
    pub const ALL: [Deed; 5] = [Deed::Exec, Deed::Trace, Deed::Files, Deed::Connect, Deed::Bind];

    /// The word for `/ready`.
    pub fn word(self) -> &'static str {
        match self {
            Deed::Exec => "exec",
            Deed::Trace => "ptrace",
            Deed::Files => "files",
            Deed::Connect => "connect",
            Deed::Bind => "bind",
        }
    }

    /// What it means that it is possible.
    pub fn text(self) -> &'static str {
        match self {
            Deed::Exec => "this process could start a program",
            Deed::Trace => "this process could look into another one",
            Deed::Files => "this process could read files that the config does not name",
            Deed::Connect => "this process could connect to ports that the config does not name",
            Deed::Bind => "this process could listen on a port",
        }
    }
}

impl Confinement {
    /// `full`, `partial` or `none`.
    pub fn level(&self) -> &'static str {
        match (self.landlock, self.seccomp) {
            (SCOPE.., true) if self.possible.is_empty() => "full",
            (0, false) => "none",
            _ => "partial",
        }
    }

    /// What is missing, in words for the log.
    pub fn remarks(&self) -> Vec<&'static str> {
        let landlock = match self.landlock {
            0 => Some("landlock is not available: files and ports are not confined"),
            1..NET => Some("landlock does not know ports here (Linux 6.7): they are not confined"),
            NET..SCOPE => Some(
                "landlock does not know signals here (Linux 6.12): anyone of our uid can be signalled",
            ),
            _ => None,
        };
        let seccomp =
            (!self.seccomp).then_some("seccomp is not available: every system call is allowed");
        let possible = self.possible.iter().map(|deed| deed.text());
        landlock.into_iter().chain(seccomp).chain(possible).collect()
    }
}

/// What this kernel can do, as far as can be seen without doing it.
pub fn offered() -> Confinement {
    #[expect(unsafe_code, reason = "prctl(2) has no safe wrapper for this question")]
    // SAFETY: asks for a number.
    let seccomp = unsafe { libc::prctl(libc::PR_GET_SECCOMP) } >= 0;
    Confinement { landlock: landlock::version(), seccomp, possible: Vec::new() }
}

/// Locks this process in, for ever. What the kernel does not have is left out.
pub(super) fn confine(grants: &Grants) -> Confinement {
    let _ = rustix::thread::set_no_new_privs(true);
    let landlock = landlock::restrict(grants).unwrap_or(0);
    let seccomp = filter(grants.signals).install().is_ok();
    let possible = Deed::ALL.into_iter().filter(|deed| can(*deed, grants)).collect();
    Confinement { landlock, seccomp, possible }
}

/// Whether a deed that must be impossible is possible. Leaves nothing behind.
fn can(deed: Deed, grants: &Grants) -> bool {
    match deed {
        Deed::Exec => !refused(try_to_exec()),
        Deed::Trace => !refused(try_to_trace()),
        Deed::Files => ["/etc/passwd", "/"]
            .into_iter()
            .any(|path| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()),
        Deed::Connect => {
            let port = (1..u16::MAX).find(|port| !grants.connect.contains(port)).unwrap_or(1);
            !refused(with_socket(port, |socket, to| connect(socket, to)))
        }
        Deed::Bind => !refused(with_socket(0, |socket, at| bind(socket, at))),
    }
}

fn refused(done: Result<(), Errno>) -> bool {
    matches!(done, Err(Errno::ACCESS | Errno::PERM))
}

fn with_socket(
    port: u16,
    deed: impl FnOnce(&std::os::fd::OwnedFd, &SocketAddrV4) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    deed(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// Starts a program without a name: where the call is allowed there is none.
fn try_to_exec() -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "what is asked for must not happen, so there is no wrapper")]
    // SAFETY: an empty name and no arguments; the kernel finds nothing to start.
    let result = unsafe {
        let nothing: *const *const libc::c_char = std::ptr::null();
        libc::syscall(libc::SYS_execve, c"".as_ptr(), nothing, nothing)
    };
    errno(result)
}

/// Traces nobody: where the call is allowed there is no such process.
fn try_to_trace() -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "what is asked for must not happen, so there is no wrapper")]
    // SAFETY: attaches to no process, and reads and writes no memory.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, 0, 0, 0) };
    errno(result)
}

fn errno(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

/// What the agent calls after the lock.
fn filter(signals: bool) -> Filter {
    let all = |bits: &[i32]| bits.iter().map(|bit| bit.unsigned_abs()).collect::<Vec<_>>();
    let own = [libc::PR_SET_NAME, libc::PR_GET_DUMPABLE, PR_SET_VMA];
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let requests = [FIONBIO, FIONREAD, FIOCLEX, TCGETS, TIOCGWINSZ];
    let signals = if signals { SIGNALS } else { &[] };
    Filter::allowing(CALLS.iter().chain(signals))
        .threads()
        .only(libc::SYS_socket, 0, &all(&families))
        .only(libc::SYS_prctl, 0, &all(&own))
        .only(libc::SYS_ioctl, 1, &requests)
        .without(libc::SYS_mmap, 2, libc::PROT_EXEC)
        .without(libc::SYS_mprotect, 2, libc::PROT_EXEC)
}

const PR_SET_VMA: i32 = 0x5356_4d41;
const FIONBIO: u32 = 0x5421;
const FIONREAD: u32 = 0x541b;
const FIOCLEX: u32 = 0x5451;
const TCGETS: u32 = 0x5401;
const TIOCGWINSZ: u32 = 0x5413;

/// Only where a hook signals.
const SIGNALS: &[libc::c_long] =
    &[libc::SYS_kill, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal];

/// Calls that are allowed whatever their arguments.
const CALLS: &[libc::c_long] = &[
    // Descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_flock,
    libc::SYS_pipe2,
    // Files, by path: Landlock says which.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Sockets: Landlock says to which ports. No `listen`: that was before.
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Memory; `mmap` and `mprotect` without code are below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_memfd_secret,
    // Threads, time, chance.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    // Who we are.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_geteuid,
    libc::SYS_uname,
    libc::SYS_tgkill,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_full_only_where_everything_is_in_force() {
        let at = |landlock, seccomp, possible: &[Deed]| Confinement {
            landlock,
            seccomp,
            possible: possible.to_vec(),
        };
        for (confinement, level, remarks) in [
            (at(7, true, &[]), "full", 0),
            (at(6, true, &[]), "full", 0),
            (at(6, true, &[Deed::Files]), "partial", 1),
            (at(5, true, &[]), "partial", 1),
            (at(3, true, &[Deed::Connect, Deed::Bind]), "partial", 3),
            (at(0, true, &[]), "partial", 1),
            (at(7, false, &[]), "partial", 1),
            (at(0, false, &Deed::ALL), "none", 7),
        ] {
            assert_eq!(confinement.level(), level, "{confinement:?}");
            assert_eq!(confinement.remarks().len(), remarks, "{confinement:?}");
        }
    }
}
