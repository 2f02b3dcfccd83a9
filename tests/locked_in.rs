//! What a locked-in process can't do, and what it still can: tried with the system's own calls, not
//! believed from the self-test; kubelet-style swaps after the lock; and kernels that have less.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "it runs itself and the binary under test")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::{Place, eventually};
use rustix::fs::{CWD, Mode, mkdirat, renameat};
use serde_json::json;
use sidekey::sandbox::{Confinement, Deed, Grants, locked_in};
use support::{Authority, Bao, Kind, Signer, unix_now};

/// Set in the process that locks itself in: where it may read and write.
const CHILD: &str = "SIDEKEY_TEST_LOCKED_IN";

/// Whether this is the process that is to lock itself in; otherwise it runs `test` there, after
/// `prepare`.
fn is_child(test: &str, prepare: fn() -> io::Result<()>) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(CHILD) {
        return Some(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["read", "write"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("file"), name).unwrap();
    }
    std::fs::write(dir.path().join("secret"), "").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, dir.path());
    #[expect(unsafe_code, reason = "an older kernel is made by a seccomp filter")]
    // SAFETY: `prepare` makes system calls only.
    unsafe {
        command.pre_exec(prepare);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

fn grants(dir: &Path, port: u16) -> Grants {
    Grants {
        read: BTreeSet::from([dir.join("read")]),
        write: BTreeSet::from([dir.join("write")]),
        connect: BTreeSet::from([port]),
        signals: false,
    }
}

/// The error of a system call that nobody wraps.
fn raw(number: libc::c_long, arguments: [libc::c_long; 4]) -> Option<i32> {
    #[expect(unsafe_code, reason = "these calls must fail, so that there is no wrapper to use")]
    // SAFETY: the arguments are numbers that no kernel takes for memory to write to.
    let result =
        unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3]) };
    if result >= 0 { None } else { io::Error::last_os_error().raw_os_error() }
}

#[track_caller]
fn denied<T>(what: &str, done: io::Result<T>) {
    let error = done.err().map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::PermissionDenied), "{what}");
}

#[test]
fn what_is_forbidden_fails_and_what_is_granted_works() {
    let test = "what_is_forbidden_fails_and_what_is_granted_works";
    let Some(dir) = is_child(test, || Ok(())) else { return };
    let granted = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (granted, other) = (port(&granted), port(&other));
    let parent = std::os::unix::process::parent_id().cast_signed();

    let locked = locked_in(&grants(&dir, granted));
    let full =
        Confinement { landlock: locked.confinement().landlock, seccomp: true, possible: vec![] };
    assert_eq!(locked.confinement(), &full);
    assert_eq!(full.level(), "full", "this test needs Linux 6.12: {full:?}");

    // Files.
    assert_eq!(std::fs::read(dir.join("read/file")).unwrap(), b"read");
    // As the agent does it: the older calls without `at` are not on the list.
    mkdirat(CWD, dir.join("write/new"), Mode::RWXU).unwrap();
    std::fs::write(dir.join("write/new/file"), "x").unwrap();
    renameat(CWD, dir.join("write/new/file"), CWD, dir.join("write/new/other")).unwrap();
    for path in ["/etc/passwd", "/proc/self/environ", "/proc/1/status", "/bin/true", "/dev/null"] {
        denied(path, std::fs::File::open(path));
    }
    denied("a file beside the granted directories", std::fs::read(dir.join("secret")));
    denied("the list of a directory", std::fs::read_dir(&dir));
    denied("writing where only reading is granted", std::fs::write(dir.join("read/file"), "x"));
    denied("a new file there", std::fs::write(dir.join("read/new"), "x"));
    denied("removing there", std::fs::remove_file(dir.join("read/file")));
    denied("a link", std::fs::hard_link(dir.join("read/file"), dir.join("write/link")));
    denied("a socket", std::os::unix::net::UnixListener::bind(dir.join("write/socket")));

    // The network.
    TcpStream::connect(("127.0.0.1", granted)).unwrap();
    denied("another port", TcpStream::connect(("127.0.0.1", other)));
    denied("binding", TcpListener::bind("127.0.0.1:0"));
    for family in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG] {
        let arguments = [family.into(), libc::SOCK_RAW.into(), 0, 0];
        assert_eq!(raw(libc::SYS_socket, arguments), Some(libc::EPERM), "{family}");
    }

    // Other processes, and programs.
    denied("a program", Command::new("/bin/true").status());
    let everyone = [
        (libc::SYS_execve, [0; 4]),
        (libc::SYS_execveat, [0; 4]),
        (libc::SYS_fork, [0; 4]),
        (libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0]),
        (libc::SYS_kill, [parent.into(), 0, 0, 0]),
        (libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), parent.into(), 0, 0]),
        (libc::SYS_process_vm_readv, [parent.into(), 0, 0, 0]),
        (libc::SYS_pidfd_open, [parent.into(), 0, 0, 0]),
        (libc::SYS_pidfd_getfd, [0, 0, 0, 0]),
        (libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0]),
        (libc::SYS_setns, [0; 4]),
        (libc::SYS_mount, [0; 4]),
        (libc::SYS_chroot, [0; 4]),
        (libc::SYS_bpf, [0; 4]),
        (libc::SYS_keyctl, [0; 4]),
        (libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        (libc::SYS_memfd_create, [0; 4]),
        (libc::SYS_userfaultfd, [0; 4]),
        (libc::SYS_perf_event_open, [0; 4]),
        (libc::SYS_setuid, [0; 4]),
        (libc::SYS_listen, [0; 4]),
        // Who could make us dumpable again could look in.
        (libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0]),
        (libc::SYS_mprotect, [0, 4096, libc::PROT_EXEC.into(), 0]),
        (libc::SYS_mmap, [0, 4096, libc::PROT_EXEC.into(), libc::MAP_PRIVATE.into()]),
    ];
    for (number, arguments) in everyone {
        assert_eq!(raw(number, arguments), Some(libc::EPERM), "system call {number}");
    }

    // Threads are started later, and are as confined.
    let elsewhere = dir.join("secret");
    std::thread::spawn(move || denied("in a thread", std::fs::read(elsewhere))).join().unwrap();
}

/// Answers calls with errors, as a kernel does that does not know them.
fn without(calls: &[(libc::c_long, i32)]) -> io::Result<()> {
    let step = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf,
        k,
    };
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (call, error) in calls {
        let call = u32::try_from(*call).unwrap_or_default();
        let error = libc::SECCOMP_RET_ERRNO | error.unsigned_abs();
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call, 1));
        filter.push(step(libc::BPF_RET | libc::BPF_K, error, 0));
    }
    filter.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    let len = u16::try_from(filter.len()).unwrap_or_default();
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    #[expect(unsafe_code, reason = "installing a filter is a raw system call")]
    // SAFETY: the program lives until the call returns; the kernel checks it.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn without_landlock() -> io::Result<()> {
    without(&[(libc::SYS_landlock_create_ruleset, libc::ENOSYS)])
}

fn without_anything() -> io::Result<()> {
    without(&[(libc::SYS_landlock_create_ruleset, libc::ENOSYS), (libc::SYS_seccomp, libc::EINVAL)])
}

#[test]
fn an_older_kernel_gives_less_and_the_self_test_finds_out_what() {
    let test = "an_older_kernel_gives_less_and_the_self_test_finds_out_what";
    let Some(dir) = is_child(test, without_landlock) else { return };
    let locked = locked_in(&grants(&dir, 1));
    let possible = vec![Deed::Files, Deed::Connect, Deed::Bind];
    let expected = Confinement { landlock: 0, seccomp: true, possible };
    assert_eq!(locked.confinement(), &expected);
    assert_eq!(expected.level(), "partial");
    denied("a program", Command::new("/bin/true").status());
}

#[test]
fn a_kernel_with_neither_is_reported_and_no_crash() {
    let test = "a_kernel_with_neither_is_reported_and_no_crash";
    let Some(dir) = is_child(test, without_anything) else { return };
    let locked = locked_in(&grants(&dir, 1));
    let expected = Confinement { landlock: 0, seccomp: false, possible: Deed::ALL.to_vec() };
    assert_eq!(locked.confinement(), &expected);
    assert_eq!(expected.level(), "none");
    assert!(Command::new("/bin/true").status().unwrap().success());
}

/// A server that speaks TLS and takes signed tokens, and a place with directories as the kubelet
/// projects them.
fn pod(ours: &Authority) -> (Bao, Signer, Place) {
    let certificate = ours.issue(&["127.0.0.1"]);
    let bao = Bao::start(Kind::Tls { certificate, clients: None });
    let (signer, place) = (Signer::new(), Place::new());
    bao.policy("reader", &[("secret/data/*", &["read"]), ("secret/metadata/*", &["read"])]);
    bao.admin().post("sys/auth/jwt", &json!({ "type": "jwt" })).good();
    let keys =
        json!({ "jwt_validation_pubkeys": [signer.public], "jwt_supported_algs": ["ES256"] });
    bao.admin().post("auth/jwt/config", &keys).good();
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
        "token_policies": ["reader"], "token_ttl": "1h",
    });
    bao.admin().post("auth/jwt/role/orders", &role).good();
    bao.write("app", &json!({ "key": "one" }));
    (bao, signer, place)
}

fn token(signer: &Signer) -> String {
    let end = unix_now() + 600;
    signer.sign(&json!({ "sub": "orders", "aud": "vault", "iat": end - 900, "exp": end }))
}

/// Puts a new file in the place of an old one, as the kubelet does: a new directory, one rename of
/// a link, and the old directory is removed.
fn project(dir: &Path, name: &str, round: u32, content: &str) {
    let version = |round: u32| dir.join(format!("..version_{round}"));
    std::fs::create_dir_all(version(round)).unwrap();
    std::fs::write(version(round).join(name), content).unwrap();
    let temporary = dir.join("..data_tmp");
    symlink(format!("..version_{round}"), &temporary).unwrap();
    std::fs::rename(&temporary, dir.join("..data")).unwrap();
    if round == 0 {
        symlink(format!("..data/{name}"), dir.join(name)).unwrap();
    } else {
        std::fs::remove_dir_all(version(round - 1)).unwrap();
    }
}

#[test]
fn token_ca_and_config_are_swapped_three_times_after_the_lock_and_a_new_login_succeeds() {
    let (ours, next) = (Authority::new("ours"), Authority::new("next"));
    let (bao, signer, place) = pod(&ours);
    let dir = place.path("").display().to_string();
    let config = |more: &str| {
        format!(
            "stores:\n  vault:\n    kind: vault\n    address: \"{}\"\n    ca_file: {dir}ca/ca.pem\n    \
             login: {{ jwt: {{ role: orders, token_file: {dir}tokens/vault }} }}\n\
             secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\n\
             files: {{ app.key: {{ from: app.key }}{more} }}\n\
             volume: {{ path: {dir}volume }}\nstate: {{ path: {dir}state }}\n\
             health: {{ listen: \"unix:{dir}health.sock\" }}\n",
            bao.tls_address()
        )
    };
    let projected = |round: u32, token: &str, ca: &str, more: &str| {
        project(&place.path("tokens"), "vault", round, token);
        project(&place.path("ca"), "ca.pem", round, ca);
        project(&place.path("etc"), "config.yaml", round, &config(more));
    };
    projected(0, &token(&signer), &ours.pem(), "");
    let mut command = place.command(&["run", "--log-format", "json", "--log-level", "trace"]);
    command.env("SIDEKEY_CONFIG", place.path("etc/config.yaml"));
    let agent = place.run_as(command);
    let sandbox = place.ready().unwrap()["sandbox"].clone();
    assert_eq!((&sandbox["confinement"], &sandbox["possible"]), (&json!("full"), &json!([])));

    for round in 1..=3 {
        // Only the last ones are of any use.
        let ca = if round == 3 { next.pem() } else { Authority::new("other").pem() };
        let token = if round == 3 { token(&signer) } else { "outdated".to_owned() };
        projected(round, &token, &ca, &format!(", again{round}: {{ from: app.key }}"));
        let file = format!("again{round}");
        eventually("the swapped config", || place.text(&file) == "one");
    }
    // A server that only the last CA vouches for, and a login that is gone.
    bao.shows(&next.issue(&["127.0.0.1"]));
    bao.admin().post("sys/leases/revoke-prefix/auth/jwt", &json!({})).good();
    bao.write("app", &json!({ "key": "two" }));
    eventually("the new value, by a new login", || place.text("app.key") == "two");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_command_hook_runs_after_the_lock_and_is_not_confined_by_it() {
    let (ours, place_of_app) = (Authority::new("ours"), tempfile::tempdir().unwrap());
    let (bao, signer, place) = pod(&ours);
    place.write("token", token(&signer));
    place.write("ca.pem", ours.pem());
    let seen = place_of_app.path().join("seen");
    let script =
        "grep Seccomp: /proc/self/status > \\\"$$1.part\\\" && mv \\\"$$1.part\\\" \\\"$$1\\\"";
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", ca_file: DIR/ca.pem, login: {{ jwt: {{ role: orders, token_file: DIR/token }} }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\nfiles:\n  app.key: {{ from: app.key }}\n\
         on_change:\n  - command: [/bin/sh, -c, \"{script}\", sh, \"{}\"]\n    confirm: {{ exit: 0, within: 10s }}\n",
        bao.tls_address(),
        seen.display()
    ));
    let agent = place.run();
    assert_eq!(place.ready().unwrap()["sandbox"]["confinement"], "full");
    bao.write("app", &json!({ "key": "two" }));
    eventually("the command", || seen.exists());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn on_an_older_kernel_the_agent_does_its_work_and_says_what_is_missing() {
    let ours = Authority::new("ours");
    let (bao, signer, place) = pod(&ours);
    place.write("token", token(&signer));
    place.write("ca.pem", ours.pem());
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", ca_file: DIR/ca.pem, login: {{ jwt: {{ role: orders, token_file: DIR/token }} }} }}\n\
         secrets:\n  app: {{ from: \"vault:secret/data/app\", refresh: 500ms }}\nfiles:\n  app.key: {{ from: app.key }}\n",
        bao.tls_address(),
    ));
    for (prepare, level, says) in [
        (without_landlock as fn() -> io::Result<()>, "partial", "landlock is not available"),
        (without_anything, "none", "seccomp is not available"),
    ] {
        let mut command = place.command(&["run", "--log-format", "json", "--log-level", "info"]);
        #[expect(unsafe_code, reason = "an older kernel is made by a seccomp filter")]
        // SAFETY: `prepare` makes system calls only.
        unsafe {
            command.pre_exec(prepare);
        }
        let agent = place.run_as(command);
        assert_eq!(place.text("app.key"), "one");
        assert_eq!(place.ready().unwrap()["sandbox"]["confinement"], level);
        let metric = format!("confinement=\"{level}\"}} 1");
        assert!(place.get("/metrics").unwrap().contains(&metric));
        assert!(place.log().contains(says), "{}", place.log());
        assert_eq!(agent.stop(), Some(0));
    }
}
