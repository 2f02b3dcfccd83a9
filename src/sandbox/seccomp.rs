//! Seccomp filters: a list of system calls that are allowed, some of them only with certain
//! arguments, and everything else is refused with an error; or a list of what is refused. Calls of a
//! foreign architecture end the process.

use std::io;

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

/// A filter in the making.
pub(super) struct Filter {
    steps: Vec<libc::sock_filter>,
    /// What happens to a call that no step decides.
    others: libc::sock_filter,
}

/// The number of a call, or of an error.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "they are small")]
fn small(number: libc::c_long) -> u32 {
    number as u32
}

fn step(code: u16, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k }
}

fn allow() -> libc::sock_filter {
    step(RETURN, ALLOW, 0, 0)
}

fn refuse() -> libc::sock_filter {
    step(RETURN, ERRNO | small(libc::EPERM.into()), 0, 0)
}

/// The lower half of an argument, counted from 0.
fn argument(index: u8) -> libc::sock_filter {
    step(LOAD, 16 + 8 * u32::from(index), 0, 0)
}

impl Filter {
    /// Allows these calls, whatever their arguments.
    pub(super) fn allowing<'a>(calls: impl IntoIterator<Item = &'a libc::c_long>) -> Filter {
        Filter::answering(calls, allow(), refuse())
    }

    /// Refuses these calls, whatever their arguments, and allows all others.
    pub(super) fn refusing<'a>(calls: impl IntoIterator<Item = &'a libc::c_long>) -> Filter {
        Filter::answering(calls, refuse(), allow())
    }

    fn answering<'a>(
        calls: impl IntoIterator<Item = &'a libc::c_long>,
        answer: libc::sock_filter,
        others: libc::sock_filter,
    ) -> Filter {
        let mut filter = Filter { steps: Filter::begin(), others };
        for call in calls {
            filter.steps.extend([step(EQUAL, small(*call), 0, 1), answer]);
        }
        filter
    }

    fn begin() -> Vec<libc::sock_filter> {
        const NUMBER: u32 = 0;
        const ARCH: u32 = 4;
        vec![
            step(LOAD, ARCH, 0, 0),
            step(EQUAL, ARCHITECTURE, 1, 0),
            step(RETURN, KILL, 0, 0),
            step(LOAD, NUMBER, 0, 0),
            step(AT_LEAST, X32, 0, 1),
            step(RETURN, KILL, 0, 0),
        ]
    }

    /// Allows a call whose argument at `index` is one of `values`.
    pub(super) fn only(mut self, call: libc::c_long, index: u8, values: &[u32]) -> Filter {
        let skip = u8::try_from(2 + 2 * values.len()).unwrap_or(u8::MAX);
        self.steps.extend([step(EQUAL, small(call), 0, skip), argument(index)]);
        for value in values {
            self.steps.extend([step(EQUAL, *value, 0, 1), allow()]);
        }
        self.steps.push(refuse());
        self
    }

    /// Allows a call that has none of these bits in its argument at `index`.
    pub(super) fn without(mut self, call: libc::c_long, index: u8, bits: i32) -> Filter {
        self.steps.extend([
            step(EQUAL, small(call), 0, 4),
            argument(index),
            step(ANY_BIT, small(bits.into()), 1, 0),
            allow(),
            refuse(),
        ]);
        self
    }

    /// `clone3` has its flags in memory, where no filter can look: glibc goes back to `clone` when
    /// there is none.
    fn no_clone3(mut self) -> Filter {
        self.steps.extend([
            step(EQUAL, small(libc::SYS_clone3), 0, 1),
            step(RETURN, ERRNO | small(libc::ENOSYS.into()), 0, 0),
        ]);
        self
    }

    /// Threads, not processes.
    pub(super) fn threads(self) -> Filter {
        let mut filter = self.no_clone3();
        filter.steps.extend([
            step(EQUAL, small(libc::SYS_clone), 0, 4),
            argument(0),
            step(ANY_BIT, small(libc::CLONE_THREAD.into()), 0, 1),
            allow(),
            refuse(),
        ]);
        filter
    }

    /// Processes, but none in a namespace of its own.
    pub(super) fn same_namespaces(self) -> Filter {
        const NAMESPACES: i32 = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        self.no_clone3().without(libc::SYS_clone, 0, NAMESPACES)
    }

    /// Puts the filter in force for this process, for ever. Needs `no_new_privs`.
    pub(super) fn install(mut self) -> io::Result<()> {
        const SET_MODE_FILTER: libc::c_long = 1;
        self.steps.push(self.others);
        let len = u16::try_from(self.steps.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog { len, filter: self.steps.as_mut_ptr() };
        #[expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]
        // SAFETY: the program and its steps live until the call returns; the kernel copies them.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                std::ptr::from_ref(&program),
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
