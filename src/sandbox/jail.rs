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
    match landlock() {
        Ok(true) => {}
        Ok(false) => lacking.push(Lacking::LandlockNet),
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

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Ruleset {
    fs: u64,
    net: u64,
    scoped: u64,
}

/// Whether ports are covered too.
fn landlock() -> io::Result<bool> {
    let abi = create_ruleset(None)?;
    let fs = match abi {
        ..=1 => 0x1fff,
        2 => 0x3fff,
        3 | 4 => 0x7fff,
        _ => 0xffff,
    };
    let net = if abi >= 4 { 3 } else { 0 };
    let scoped = if abi >= 6 { 3 } else { 0 };
    // Older kernels know a shorter structure.
    let size = match abi {
        ..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    let ruleset = create_ruleset(Some((&Ruleset { fs, net, scoped }, size)))?;
    #[expect(unsafe_code, reason = "landlock_restrict_self(2) has no safe wrapper")]
    // SAFETY: takes two numbers; the descriptor is ours and is closed afterwards.
    let result = unsafe {
        let result = libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0);
        libc::close(ruleset);
        result
    };
    if result == 0 { Ok(abi >= 4) } else { Err(io::Error::last_os_error()) }
}

/// A ruleset, or without attributes the version that the kernel knows.
fn create_ruleset(attributes: Option<(&Ruleset, usize)>) -> io::Result<i32> {
    const VERSION: u32 = 1;
    let (pointer, size, flags) = match attributes {
        Some((ruleset, size)) => (std::ptr::from_ref(ruleset), size, 0),
        None => (std::ptr::null(), 0, VERSION),
    };
    #[expect(unsafe_code, reason = "landlock_create_ruleset(2) has no safe wrapper")]
    // SAFETY: the pointer is null or to a structure of at least `size` bytes.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, pointer, size, flags) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
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

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Numbers above it are of the x32 calls, which x86-64 kernels take as well.
const X32: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

fn step(code: u16, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k }
}

/// The number of a call, or of an error.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "they are small")]
fn small(number: libc::c_long) -> u32 {
    number as u32
}

/// The filter: numbers of calls, the flags of `clone`, the protection of `mprotect`.
fn program() -> Vec<libc::sock_filter> {
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    // The lower halves of the first and third argument.
    const FIRST: u32 = 16;
    const THIRD: u32 = 32;
    let refuse = ERRNO | small(libc::EPERM.into());
    let mut program = vec![
        step(LOAD, ARCH, 0, 0),
        step(EQUAL, ARCHITECTURE, 1, 0),
        step(RETURN, KILL, 0, 0),
        step(LOAD, NUMBER, 0, 0),
        step(AT_LEAST, X32, 0, 1),
        step(RETURN, KILL, 0, 0),
    ];
    for call in ALLOWED {
        program.push(step(EQUAL, small(*call), 0, 1));
        program.push(step(RETURN, ALLOW, 0, 0));
    }
    // Threads, not processes. `clone3` has its flags in memory, where no filter can look: glibc goes
    // back to `clone` when there is none.
    program.extend([
        step(EQUAL, small(libc::SYS_clone3), 0, 1),
        step(RETURN, ERRNO | small(libc::ENOSYS.into()), 0, 0),
        step(EQUAL, small(libc::SYS_clone), 0, 4),
        step(LOAD, FIRST, 0, 0),
        step(ANY_BIT, small(libc::CLONE_THREAD.into()), 0, 1),
        step(RETURN, ALLOW, 0, 0),
        step(RETURN, refuse, 0, 0),
        // Guard pages of stacks, but no code.
        step(EQUAL, small(libc::SYS_mprotect), 0, 4),
        step(LOAD, THIRD, 0, 0),
        step(ANY_BIT, small(libc::PROT_EXEC.into()), 1, 0),
        step(RETURN, ALLOW, 0, 0),
        step(RETURN, refuse, 0, 0),
        step(RETURN, refuse, 0, 0),
    ]);
    program
}

fn seccomp() -> io::Result<()> {
    let mut filter = program();
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    #[expect(unsafe_code, reason = "prctl(2) with a filter has no safe wrapper")]
    // SAFETY: the program and its steps live until the call returns; the kernel copies them.
    let result = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program))
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
