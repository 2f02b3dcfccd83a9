//! Signals by their number, the real-time ones included, which have no names.

use std::io;

use rustix::process::Pid;

/// Sends a signal to a process.
///
/// # Errors
///
/// As `kill(2)`: no such process, another uid, no such signal.
pub fn send(to: Pid, number: i32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "rustix sends only signals that have a name")]
    // SAFETY: two numbers go in, and no memory is touched.
    let sent = unsafe { libc::kill(to.as_raw_pid(), number) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
