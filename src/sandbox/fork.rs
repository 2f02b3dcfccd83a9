//! One fork, at the one moment when it is safe: while the process has a single thread.

use std::fs::read_dir;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::Pid;

/// What a child that panics ends with: a bug of ours (`EX_SOFTWARE` of `sysexits.h`).
const BUG: i32 = 70;

/// Forks. The child runs `child` and ends with what it returns; the parent gets the child's number.
///
/// The child keeps stdin, stdout, stderr and `keep`, and no other descriptor. Every signal does in
/// it what it does by default, none is blocked, so that what it starts begins as from a fresh login.
/// It has a process group of its own, so that a Ctrl-C meant for the parent does not reach it.
///
/// # Errors
///
/// When the process has more than one thread, in which a child could find locks that nobody will
/// ever release; or when the kernel refuses.
pub fn fork(keep: OwnedFd, child: impl FnOnce(OwnedFd) -> i32) -> io::Result<Pid> {
    if read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a fork needs a process with one thread"));
    }
    #[expect(unsafe_code, reason = "fork(2) has no safe wrapper; the process has one thread")]
    // SAFETY: with one thread, the child's memory is a consistent copy and no lock is held.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let run = || {
                close_others(keep.as_raw_fd());
                default_signals();
                let _ = rustix::process::setpgid(None, None);
                child(keep)
            };
            // Neither a panic nor the parent's buffered output may get past this point.
            end(catch_unwind(AssertUnwindSafe(run)).unwrap_or(BUG))
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::Other.into()),
    }
}

/// Ends the process at once: what the parent had in its buffers is the parent's to write.
fn end(code: i32) -> ! {
    #[expect(unsafe_code, reason = "_exit(2) has no safe wrapper")]
    // SAFETY: nothing of this process is used afterwards.
    unsafe {
        libc::_exit(code)
    }
}

/// Undoes what the parent, or whoever started it (`nohup`), set for signals.
fn default_signals() {
    #[expect(unsafe_code, reason = "signal(2) and sigprocmask(2) have no safe wrapper")]
    // SAFETY: no handler of the parent is needed here, and the set is filled before it is read.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes every descriptor above stderr but one.
fn close_others(keep: i32) {
    if close_range(3, keep - 1) && close_range(keep + 1, i32::MAX) {
        return;
    }
    // A kernel before 5.9, or a sandbox that does not know the call.
    let open = read_dir("/proc/self/fd").into_iter().flatten();
    let open = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for fd in open.collect::<Vec<i32>>() {
        if fd > 2 && fd != keep {
            #[expect(unsafe_code, reason = "there is only a number to close")]
            // SAFETY: the child owns only `keep`; nobody uses the others.
            unsafe {
                libc::close(fd);
            }
        }
    }
}

fn close_range(from: i32, to: i32) -> bool {
    if from > to {
        return true;
    }
    #[expect(unsafe_code, reason = "close_range(2) has no wrapper in rustix")]
    // SAFETY: the child owns only `keep`, which is not in the range; nobody uses the others.
    let result = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
    result == 0
}
