//! Landlock: which directories a process may still use, which ports, and whom it may signal. Told
//! to the kernel once, and never taken back.
//!
//! Rights that a kernel does not know yet are left out; the version that it has is the answer.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// What a process may still reach. Everything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Directories (or single files) beneath which files are read.
    pub read: BTreeSet<PathBuf>,
    /// Directories beneath which files are written, too.
    pub write: BTreeSet<PathBuf>,
    /// TCP ports to connect to, whatever the address. None can be bound.
    pub connect: BTreeSet<u16>,
    /// Whether processes outside may be signalled.
    pub signals: bool,
}

/// Ports are known from this version on (Linux 6.7) …
pub(super) const NET: u8 = 4;
/// … and from this one on who may be signalled, and abstract Unix sockets (Linux 6.12).
pub(super) const SCOPE: u8 = 6;

const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SYM: u64 = 1 << 12;
const TRUNCATE: u64 = 1 << 14;

const READ: u64 = READ_FILE | READ_DIR;
const WRITE: u64 =
    READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | TRUNCATE;

const BIND_AND_CONNECT: u64 = 3;
const CONNECT: u64 = 2;
const ABSTRACT_SOCKETS: u64 = 1;
const SIGNALS: u64 = 2;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Ruleset {
    fs: u64,
    net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct Port {
    allowed: u64,
    port: u64,
}

/// The version of Landlock that this kernel has; 0 is none.
pub fn version() -> u8 {
    create(None).map_or(0, |version| u8::try_from(version).unwrap_or(u8::MAX))
}

/// Restricts this thread, and every thread it starts, to what is granted. Gives the version that
/// is in force.
pub(super) fn restrict(grants: &Grants) -> io::Result<u8> {
    let version = version();
    if version == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let handled = handled(version, grants.signals);
    // Older kernels know a shorter structure.
    let size = match version {
        ..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    let ruleset = create(Some((&handled, size)))?;
    #[expect(unsafe_code, reason = "a descriptor comes back as a number")]
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    for (paths, allowed) in [(&grants.read, READ), (&grants.write, WRITE)] {
        for path in paths {
            allow_beneath(&ruleset, path, allowed & handled.fs)?;
        }
    }
    if version >= NET {
        for port in &grants.connect {
            let rule = Port { allowed: CONNECT, port: u64::from(*port) };
            add(&ruleset, 2, &rule)?;
        }
    }
    #[expect(unsafe_code, reason = "landlock_restrict_self(2) has no safe wrapper")]
    // SAFETY: takes a descriptor, which is open, and a number.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) } {
        0 => Ok(version),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Everything that this version can refuse.
fn handled(version: u8, signals: bool) -> Ruleset {
    let fs = match version {
        ..=1 => 0x1fff,
        2 => 0x3fff,
        3 | 4 => 0x7fff,
        _ => 0xffff,
    };
    let net = if version >= NET { BIND_AND_CONNECT } else { 0 };
    let scoped = match (version >= SCOPE, signals) {
        (false, _) => 0,
        (true, true) => ABSTRACT_SOCKETS,
        (true, false) => ABSTRACT_SOCKETS | SIGNALS,
    };
    Ruleset { fs, net, scoped }
}

/// What is not there, or not for us, needs no rule.
fn allow_beneath(ruleset: &OwnedFd, path: &Path, allowed: u64) -> io::Result<()> {
    let Ok(parent) = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
        return Ok(());
    };
    let is_dir = FileType::from_raw_mode(fstat(&parent)?.st_mode) == FileType::Directory;
    // Rights on directories mean nothing on a file, and the kernel says so with an error.
    let allowed = if is_dir { allowed } else { allowed & READ_FILE };
    add(ruleset, 1, &Beneath { allowed, parent: parent.as_raw_fd() })
}

fn add<T>(ruleset: &OwnedFd, kind: u32, rule: &T) -> io::Result<()> {
    #[expect(unsafe_code, reason = "landlock_add_rule(2) has no safe wrapper")]
    // SAFETY: `rule` is the structure that belongs to `kind`, and lives until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            kind,
            std::ptr::from_ref(rule),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A ruleset, or without attributes the version that the kernel has.
fn create(attributes: Option<(&Ruleset, usize)>) -> io::Result<i32> {
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
