//! One fork, at the one moment when it is safe: while the process has a single thread.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::Pid;

/// Forks. The child runs `child` and ends with what it returns; the parent gets the child's number.
///
/// The child keeps stdin, stdout, stderr and `keep`, and no other descriptor. It has a process group
/// of its own, so that a Ctrl-C meant for the parent does not reach it.
///
/// # Errors
///
/// When the process has more than one thread, in which a child could find locks that nobody will
/// ever release; or when the kernel refuses.
pub fn fork(keep: OwnedFd, child: impl FnOnce(OwnedFd) -> i32) -> io::Result<Pid> {
    if threads()? != 1 {
        return Err(io::Error::other("a fork needs a process with one thread"));
    }
    #[expect(unsafe_code, reason = "fork(2) has no safe wrapper; the process has one thread")]
    // SAFETY: with one thread, the child's memory is a consistent copy and no lock is held.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            close_others(keep.as_raw_fd());
            let _ = rustix::process::setpgid(None, None);
            std::process::exit(child(keep));
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::Other.into()),
    }
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Closes every descriptor above stderr but one.
fn close_others(keep: i32) {
    let close = |from: i32, to: i32| {
        if from <= to {
            #[expect(unsafe_code, reason = "close_range(2) has no wrapper in rustix")]
            // SAFETY: the numbers are not used by anybody: the child owns only `keep`.
            unsafe {
                libc::syscall(libc::SYS_close_range, from, to, 0);
            }
        }
    };
    close(3, keep - 1);
    close(keep + 1, i32::MAX);
}
