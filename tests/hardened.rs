//! What `harden` does to a process. Each test runs itself again as the process to be looked at.

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use sidekey::sandbox::process::{Guard, harden};

/// Runs `test` of this file once more, as the hardened process.
#[expect(clippy::disallowed_methods, reason = "a test runs itself as a child")]
fn as_child(test: &str, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("SIDEKEY_CHILD", "1");
    prepare(&mut command).output().unwrap()
}

fn is_child() -> bool {
    std::env::var_os("SIDEKEY_CHILD").is_some()
}

fn status(key: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn a_hardened_process_is_not_dumpable_and_gains_nothing() {
    if !is_child() {
        let out = as_child("a_hardened_process_is_not_dumpable_and_gains_nothing", |c| c);
        assert!(out.status.success(), "{out:?}");
        return;
    }
    let hardened = harden();
    assert_eq!(hardened.missing, []);
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
    assert_eq!(status("NoNewPrivs"), "1");
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core")).unwrap();
    let core: Vec<&str> = core.split_whitespace().collect();
    // Where the hard limit was 0 already, it can't be raised to 1.
    assert!(core[4] == "1" || hardened.core_limit.maximum == Some(0), "{core:?}");

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    let mode = fs::metadata(dir.path().join("f")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_panic_ends_with_70_and_shows_no_value() {
    let value = ["hunter", "2"].concat();
    if !is_child() {
        let out = as_child("a_panic_ends_with_70_and_shows_no_value", |c| c);
        assert_eq!(out.status.code(), Some(70), "{out:?}");
        let text = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(text.contains("why: panic at tests/hardened.rs:"), "{text}");
        assert!(text.contains("hint: "), "{text}");
        assert!(!text.contains(&value), "{text}");
        return;
    }
    harden();
    let thread = std::thread::spawn(move || panic!("the password is {value}"));
    let _ = thread.join();
}

#[test]
fn what_the_kernel_refuses_is_reported_and_no_crash() {
    if !is_child() {
        // SAFETY: only system calls between fork and exec.
        let out = as_child("what_the_kernel_refuses_is_reported_and_no_crash", |c| {
            #[expect(unsafe_code, reason = "a kernel that refuses is made by a seccomp filter")]
            unsafe {
                c.pre_exec(refuse_prctl)
            }
        });
        assert!(out.status.success(), "{out:?}");
        return;
    }
    let missing: Vec<Guard> = harden().missing.into_iter().map(|missing| missing.guard).collect();
    assert_eq!(missing, [Guard::NotDumpable]);
}

/// Makes `prctl(PR_SET_DUMPABLE)` fail with EPERM from here on, as a strict seccomp profile does.
fn refuse_prctl() -> std::io::Result<()> {
    let code = |bits: u32| u16::try_from(bits).unwrap_or_default();
    let load = |offset| libc::sock_filter {
        code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS),
        jt: 0,
        jf: 0,
        k: offset,
    };
    let unless = |value, skip| libc::sock_filter {
        code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
        jt: 0,
        jf: skip,
        k: value,
    };
    let answer = |k| libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k };
    let prctl = u32::try_from(libc::SYS_prctl).unwrap_or_default();
    let set_dumpable = u32::try_from(libc::PR_SET_DUMPABLE).unwrap_or_default();
    let eperm = u32::try_from(libc::EPERM).unwrap_or_default();
    // `seccomp_data` is { nr: u32, arch: u32, ip: u64, args: [u64; 6] }.
    let mut filter = [
        load(0),
        unless(prctl, 3),
        load(16),
        unless(set_dumpable, 1),
        answer(libc::SECCOMP_RET_ERRNO | eperm),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 6, filter: filter.as_mut_ptr() };
    #[expect(unsafe_code, reason = "installing a filter is a raw system call")]
    // SAFETY: the program lives until the call returns; the kernel checks it.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
    };
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
