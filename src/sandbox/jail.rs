//! The jail of a process that parses what strangers wrote: it keeps the descriptors that it has and
//! can get hold of nothing else.
//!
//! 1. Landlock with no rule: no path can be opened, no port bound or connected to;
//! 2. seccomp: reading, writing, memory, threads and time; no `open`, no `socket`, no `exec`;
//! 3. `RLIMIT_AS`, so that running out of memory ends this process and nobody else's.
//!
//! What the kernel lacks is in the answer, and the others are in force all the same.

use std::io;

use rustix::process::{Resource, Rlimit};

use super::landlock::{self, Grants};
use super::seccomp::Filter;

/// A lock that the kernel does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// No paths and no ports, by Landlock.
    Landlock,
    /// No ports, by a Landlock that knows them (Linux 6.7).
    LandlockNet,
    /// No system calls but a few.
    Seccomp,
    /// The bound on memory.
    Memory,
}

impl Lacking {
    /// In a phrase.
    pub fn text(self) -> &'static str {
        match self {
            Lacking::Landlock => "landlock is not available",
            Lacking::LandlockNet => "landlock does not know network ports",
            Lacking::Seccomp => "seccomp is not available",
            Lacking::Memory => "the memory of the parser has no bound",
        }
    }
}

/// Locks this process in, for ever. To be called on its only thread, before the first byte is parsed.
///
/// `memory` bytes more of address space than now may be used.
pub fn lock_in(memory: u64) -> Vec<Lacking> {
    let mut lacking = Vec::new();
    if limit_memory(memory).is_err() {
        lacking.push(Lacking::Memory);
    }
    let _ = rustix::thread::set_no_new_privs(true);
    match landlock::restrict(&Grants::default()) {
        Ok(landlock::NET..) => {}
        Ok(_) => lacking.push(Lacking::LandlockNet),
        Err(_) => lacking.push(Lacking::Landlock),
    }
    if seccomp().is_err() {
        lacking.push(Lacking::Seccomp);
    }
    lacking
}

/// One heap for all threads: each further one reserves 64 MiB of address space.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "mallopt(3) has no safe wrapper")]
        // SAFETY: sets a number of the allocator.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

fn limit_memory(more: u64) -> io::Result<()> {
    // Pages of the address space come first in `statm`.
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let limit = Some(pages * rustix::param::page_size() as u64 + more);
    Ok(rustix::process::setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?)
}

/// What a process may call that reads, computes and writes.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_ppoll,
    libc::SYS_fcntl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_prctl,
    libc::SYS_restart_syscall,
];

fn seccomp() -> io::Result<()> {
    let filter = Filter::allowing(ALLOWED).threads();
    // Guard pages of stacks, but no code.
    filter.without(libc::SYS_mprotect, 2, libc::PROT_EXEC).install()
}
