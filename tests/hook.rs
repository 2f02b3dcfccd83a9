//! Hooks against real processes and servers: who is told, who is left alone, and what counts as an
//! answer. Commands are in `hook_helper.rs`.

#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sidekey::agent::config::{
    Confirm, ConfirmBy, HookConfig, HookKind, HttpTarget, Otherwise, ProcessMatch,
};
use sidekey::agent::hook::{Fault, Hook, HookError, Told};
use sidekey::agent::reason::Reason;
use support::app::{App, until};
use support::{Authority, Response, Script};

/// Catches SIGHUP and counts.
const CATCHES: &str = "
signal.signal(signal.SIGHUP, lambda *_: say('hup'))
ready(); sleep()
";

/// Catches nothing.
const DEAF: &str = "ready(); sleep()";

const GENERATION: u64 = 42;

fn hook(kind: HookKind, confirm: impl Into<Option<Confirm>>) -> Hook {
    Hook::build(0, &HookConfig { kind, when: vec![], confirm: confirm.into() }, 0, None).unwrap()
}

fn signal(send: i32, to: ProcessMatch) -> Hook {
    hook(HookKind::Signal { send, to, even_if_fatal: false }, None)
}

fn hup(to: ProcessMatch) -> Hook {
    signal(libc::SIGHUP, to)
}

fn by_cmdline(app: &App) -> ProcessMatch {
    ProcessMatch::Cmdline(app.mark())
}

fn http(to: HttpTarget, confirm: impl Into<Option<Confirm>>) -> Hook {
    let headers = BTreeMap::from([("X-From".to_owned(), "sidekey".to_owned())]);
    hook(HookKind::Http { to, method: "PUT".into(), headers }, confirm)
}

fn url(server: &Script) -> HttpTarget {
    HttpTarget::Url(format!("{}/-/reload?all=1", server.address()))
}

fn confirm(by: ConfirmBy, within: Duration, retries: u32) -> Confirm {
    Confirm { by, within, retries, otherwise: Otherwise::Report }
}

/// Long enough for anything.
const LONG: Duration = Duration::from_secs(60);

fn ok() -> Response {
    Response::text(200, &[], "reloaded")
}

#[track_caller]
fn failed(told: Told) -> HookError {
    match told {
        Told::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unconfirmed(told: Told) -> HookError {
    match told {
        Told::Unconfirmed(error) => error,
        other => panic!("{other:?}"),
    }
}

macro_rules! assert_told {
    ($told:expr, $($pattern:tt)+) => {{
        let told = $told;
        assert!(matches!(told, $($pattern)+), "{told:?}");
    }};
}

#[tokio::test]
async fn a_process_is_told_by_name_command_line_and_pid_file() {
    let name = format!("app {})(", std::process::id());
    let script = format!("open('/proc/self/comm', 'w').write('{name} and more')\n{CATCHES}");
    let app = App::start(&script);
    std::fs::write(app.path("pid"), format!("{}\n", app.pid())).unwrap();
    let targets = [
        ProcessMatch::Name(format!("{name} and more")),
        by_cmdline(&app),
        ProcessMatch::PidFile(app.path("pid")),
    ];
    for (before, target) in targets.into_iter().enumerate() {
        let hook = hup(target);
        assert!(hook.probe().await.is_empty());
        assert_told!(hook.tell(GENERATION).await, Told::Done);
        assert_eq!(app.says(before + 1).len(), before + 1);
    }
}

#[tokio::test]
async fn a_process_that_would_die_of_the_signal_is_not_sent_it() {
    let mut app = App::start(DEAF);
    let hook = hup(by_cmdline(&app));
    let reports = hook.probe().await;
    assert_eq!(reports.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reason::SignalNotCaught]);
    let error = failed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NotCaught { signal: 1, ignored: false, .. }));
    assert!(app.is_alive());
}

#[tokio::test]
async fn a_process_dies_of_the_signal_if_that_is_wished() {
    let mut app = App::start(DEAF);
    let kind = HookKind::Signal { send: libc::SIGTERM, to: by_cmdline(&app), even_if_fatal: true };
    let hook = hook(kind, None);
    assert!(hook.probe().await.is_empty());
    assert_told!(hook.tell(GENERATION).await, Told::Done);
    let status = app.ends();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));
    assert_told!(hook.tell(GENERATION).await, Told::NobodyToTell);
}

#[tokio::test]
async fn a_process_that_ignores_the_signal_is_not_called_told() {
    let app = App::start("signal.signal(signal.SIGHUP, signal.SIG_IGN); ready(); sleep()");
    let error = failed(hup(by_cmdline(&app)).tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NotCaught { ignored: true, .. }));
    // By default nothing happens either.
    let error = failed(signal(libc::SIGWINCH, by_cmdline(&app)).tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NotCaught { ignored: true, .. }));
}

#[tokio::test]
async fn a_process_that_reads_its_signals_from_a_descriptor_is_told() {
    let app = App::start(
        "
import ctypes, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
threading.Thread(target=sleep, daemon=True).start()
only_hup = (1).to_bytes(128, 'little')
descriptor = ctypes.CDLL(None).signalfd(-1, only_hup, 0)
ready()
while True:
    say(str(os.read(descriptor, 128)[0]))
",
    );
    assert_told!(hup(by_cmdline(&app)).tell(GENERATION).await, Told::Done);
    assert_eq!(app.says(1), ["1"]);
}

#[tokio::test]
async fn a_signal_that_one_thread_does_not_hold_back_is_fatal() {
    let mut app = App::start(
        "
import threading
threading.Thread(target=sleep, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
ready(); sleep()
",
    );
    let error = failed(hup(by_cmdline(&app)).tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NotCaught { ignored: false, .. }));
    assert!(app.is_alive());
}

#[tokio::test]
async fn a_process_that_is_only_starting_is_told_when_it_listens() {
    let app = App::start(&format!("ready(); time.sleep(0.4)\n{CATCHES}"));
    assert_told!(hup(by_cmdline(&app)).tell(GENERATION).await, Told::Done);
    app.says(1);
}

#[tokio::test]
async fn of_a_family_only_the_eldest_who_listens_is_told() {
    // A shell that waits, a master, and two workers that would listen as well.
    let script = "
def told(*_): say('master' if os.getpid() == master else 'worker')
master = os.getpid()
signal.signal(signal.SIGHUP, told)
for _ in range(2):
    if os.fork() == 0: sleep()
ready(); sleep()
";
    let app = App::start_by(&["sh", "-c", "python3 \"$@\" & wait", "sh"], script);
    assert_told!(hup(by_cmdline(&app)).tell(GENERATION).await, Told::Done);
    assert_eq!(app.says(1), ["master"]);
    // The next word comes after whatever the workers would have said.
    assert_told!(hup(by_cmdline(&app)).tell(GENERATION).await, Told::Done);
    assert_eq!(app.says(2), ["master", "master"]);
    end_all(&by_cmdline(&app)).await;
}

/// Ends a family: the shell's end alone would leave the others behind.
async fn end_all(target: &ProcessMatch) {
    let hook = hup(target.clone());
    while !matches!(hook.tell(GENERATION).await, Told::NobodyToTell) {
        hook.restart(target).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_there_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    for target in [
        ProcessMatch::Name("no such process".into()),
        ProcessMatch::Exe("/no/such/executable".into()),
        ProcessMatch::Cmdline(dir.path().display().to_string()),
        ProcessMatch::PidFile(pid_file.clone()),
    ] {
        let hook = hup(target.clone());
        assert!(hook.probe().await.is_empty());
        assert_told!(hook.tell(GENERATION).await, Told::NobodyToTell);
        hook.restart(&target).await.unwrap();
    }
    // A pid file of a process that has ended, and ones that are half written.
    let mut app = App::start("ready()");
    app.ends();
    for text in [app.pid().to_string(), String::new(), "soon".into(), "0".into()] {
        std::fs::write(&pid_file, text).unwrap();
        assert_told!(
            hup(ProcessMatch::PidFile(pid_file.clone())).tell(GENERATION).await,
            Told::NobodyToTell
        );
    }
}

#[tokio::test]
async fn we_never_signal_ourselves() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    std::fs::write(&pid_file, std::process::id().to_string()).unwrap();
    for target in
        [ProcessMatch::PidFile(pid_file), ProcessMatch::Exe(std::env::current_exe().unwrap())]
    {
        let kind =
            HookKind::Signal { send: libc::SIGKILL, to: target.clone(), even_if_fatal: true };
        let hook = hook(kind, None);
        assert_told!(hook.tell(GENERATION).await, Told::NobodyToTell);
        hook.restart(&target).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_of_another_user_is_found_out_at_the_start() {
    give_up_root();
    let (ours, stranger) = (rustix::process::geteuid().as_raw(), somebody_else());
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    std::fs::write(&pid_file, stranger.to_string()).unwrap();
    // A signal that hurts nobody, should this test be wrong.
    let kind = HookKind::Signal {
        send: libc::SIGWINCH,
        to: ProcessMatch::PidFile(pid_file),
        even_if_fatal: true,
    };
    let hook = hook(kind, None);
    let reports = hook.probe().await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].reason, Reason::SignalNotPermitted);
    assert!(reports[0].hint.as_ref().is_some_and(|hint| hint.contains("`http` hook")));
    let error = failed(hook.tell(GENERATION).await);
    let Fault::NotPermitted { pid, uid } = error.fault else { panic!("{error:?}") };
    assert_eq!(pid, stranger);
    assert!(uid.is_some() && uid != Some(ours));
}

/// The thread of this test, and no other, becomes nobody: to the kernel users belong to threads.
fn give_up_root() {
    const NOBODY: libc::uid_t = 65534;
    if rustix::process::geteuid().is_root() {
        #[expect(unsafe_code, reason = "libc's own setresuid changes every thread")]
        // SAFETY: numbers only.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(result, 0);
    }
}

fn somebody_else() -> u32 {
    let ours = rustix::process::geteuid().as_raw();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let not_ours = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).map(str::to_owned);
        uids.is_some_and(|uids| {
            uids.split_ascii_whitespace().all(|uid| uid.parse::<u32>() != Ok(ours))
        })
    };
    pids.find(not_ours).expect("no process of another user is in sight: run this test as root")
}

#[tokio::test]
async fn an_application_that_restarts_all_the_time_is_told_or_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let stop = Arc::new(AtomicBool::new(false));
    let (path, over) = (pid_file.clone(), Arc::clone(&stop));
    let restarts = std::thread::spawn(move || {
        let mut restarts = 0;
        while !over.load(Ordering::Relaxed) {
            let app = App::start_by(&["sh", "-c", "trap : HUP; python3 \"$@\" & wait", "sh"], DEAF);
            std::fs::write(&path, app.pid().to_string()).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            let target = ProcessMatch::Cmdline(app.mark());
            drop(app);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(hup(target.clone()).restart(&target)).unwrap();
            restarts += 1;
        }
        restarts
    });
    until("the application runs", || pid_file.exists());
    let hook = hup(ProcessMatch::PidFile(pid_file));
    for _ in 0..300 {
        assert_told!(hook.tell(GENERATION).await, Told::Done | Told::NobodyToTell);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(restarts.join().unwrap() > 0);
}

#[tokio::test]
async fn a_file_with_the_generation_confirms() {
    let app = App::start(
        "
def told(*_):
    with open(here + '/taken.new', 'w') as file: file.write('42\\n')
    os.rename(here + '/taken.new', here + '/taken')
    say('hup')
signal.signal(signal.SIGHUP, told)
ready(); sleep()
",
    );
    let kind = HookKind::Signal { send: libc::SIGHUP, to: by_cmdline(&app), even_if_fatal: false };
    let confirm = confirm(ConfirmBy::File(app.path("taken")), LONG, 0);
    // What is left over from numbers that went further does not confirm.
    std::fs::write(app.path("taken"), "99").unwrap();
    let hook = hook(kind, confirm);
    assert_told!(hook.tell(GENERATION).await, Told::Confirmed);
    assert_eq!(app.log(), ["hup"]);
}

#[tokio::test]
async fn an_application_that_does_not_confirm_is_told_again_and_then_reported() {
    let app = App::start(CATCHES);
    std::fs::write(app.path("taken"), "41").unwrap();
    let kind = HookKind::Signal { send: libc::SIGHUP, to: by_cmdline(&app), even_if_fatal: false };
    let confirm = confirm(ConfirmBy::File(app.path("taken")), Duration::from_millis(300), 2);
    let error = unconfirmed(hook(kind, confirm).tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NoSign { .. }));
    assert_eq!(error.report().reason, Reason::Unconfirmed);
    assert_eq!(app.says(3).len(), 3);
}

#[tokio::test]
async fn a_restart_asks_first() {
    let mut app =
        App::start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nready(); sleep()");
    let target = by_cmdline(&app);
    let mut confirm = confirm(ConfirmBy::Status(200), LONG, 0);
    confirm.otherwise = Otherwise::Restart(target.clone());
    let hook = http(HttpTarget::Url("http://127.0.0.1:1/".into()), confirm);
    hook.restart(&target).await.unwrap();
    assert_eq!(app.ends().code(), Some(7));
    hook.restart(&target).await.unwrap();
}

#[tokio::test]
async fn a_request_carries_the_generation_over_tcp_and_over_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("app.sock");
    let tcp = Script::start(|_| ok());
    let unix = Script::start_unix(&socket, |_| ok());
    let over_unix = HttpTarget::Unix { socket, path: "/-/reload?all=1".into() };
    for (server, to) in [(&tcp, url(&tcp)), (&unix, over_unix)] {
        let hook = http(to, None);
        assert!(hook.probe().await.is_empty());
        assert_told!(hook.tell(GENERATION).await, Told::Done);
        let seen = server.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("PUT", "/-/reload?all=1"));
        assert_eq!(seen[0].header("sidekey-generation"), Some("42"));
        assert_eq!(seen[0].header("x-from"), Some("sidekey"));
        assert!(seen[0].body.is_empty());
    }
}

#[tokio::test]
async fn only_the_status_that_was_named_confirms() {
    let server = Script::start(|_| Response::text(204, &[], ""));
    let confirmed = http(url(&server), confirm(ConfirmBy::Status(204), LONG, 0));
    assert_told!(confirmed.tell(GENERATION).await, Told::Confirmed);
    let hook = http(url(&server), confirm(ConfirmBy::Status(200), LONG, 1));
    let error = unconfirmed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::Status { want: Some(200), got: 204 }));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn an_application_that_fails_at_first_is_told_again() {
    let calls = AtomicUsize::new(0);
    let server = Script::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Response::text(503, &[], "busy"),
        _ => ok(),
    });
    assert_told!(http(url(&server), None).tell(GENERATION).await, Told::Done);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn an_application_that_always_fails_is_reported() {
    let server = Script::start(|_| Response::text(500, &[], "no"));
    let error = failed(http(url(&server), None).tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::Status { want: None, got: 500 }));
    assert_eq!(error.report().reason, Reason::HookFailed);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stranger = Script::start(|_| ok());
    let location = format!("Location: {}/", stranger.address());
    let server = Script::start(move |_| Response::text(307, &[&location], ""));
    let hook = http(url(&server), confirm(ConfirmBy::Status(200), LONG, 0));
    let error = unconfirmed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::Status { got: 307, .. }));
    assert!(stranger.seen().is_empty());
}

#[tokio::test]
async fn where_nobody_listens_nobody_is_to_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unix = |socket| HttpTarget::Unix { socket, path: "/".into() };
    for to in [
        HttpTarget::Url(format!("http://{free}/")),
        unix(stale),
        unix(dir.path().join("missing.sock")),
    ] {
        let hook = http(to, confirm(ConfirmBy::Status(200), LONG, 1));
        assert_told!(hook.tell(GENERATION).await, Told::NobodyToTell);
    }
}

#[tokio::test]
async fn an_application_that_starts_a_moment_later_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("app.sock");
    let hook = http(HttpTarget::Unix { socket: socket.clone(), path: "/".into() }, None);
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        Script::start_unix(&socket, |_| ok())
    });
    assert_told!(hook.tell(GENERATION).await, Told::Done);
    assert_eq!(late.join().unwrap().seen().len(), 1);
}

#[tokio::test]
async fn an_application_that_does_not_answer_is_not_waited_for() {
    let server = Script::start(|_| {
        std::thread::sleep(Duration::from_secs(3));
        ok()
    });
    let within = Duration::from_millis(200);
    let hook = http(url(&server), confirm(ConfirmBy::Status(200), within, 0));
    let error = unconfirmed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NoAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_without_end_does_not_hold_us() {
    let server = Script::start(|_| {
        Response::Stream(Box::new(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 8192])?;
            }
        }))
    });
    assert_told!(http(url(&server), None).tell(GENERATION).await, Told::Done);
    let silent = Script::start(|_| {
        Response::Stream(Box::new(|stream: &mut dyn Write| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx")?;
            stream.flush()?;
            std::thread::sleep(LONG);
            Ok(())
        }))
    });
    assert_told!(http(url(&silent), None).tell(GENERATION).await, Told::Done);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_reported() {
    let server = Script::start(|_| Response::Whole(b"SSH-2.0-OpenSSH\r\n".to_vec()));
    let hook = http(url(&server), confirm(ConfirmBy::Status(200), LONG, 0));
    let error = unconfirmed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_named() {
    let to = HttpTarget::Url("http://app.invalid:8080/reload".into());
    let hook = http(to, confirm(ConfirmBy::Status(200), LONG, 0));
    let error = unconfirmed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NoSuchHost { .. }), "{error:?}");
    assert!(error.report().why.contains("http://app.invalid:8080/reload"));
}

#[tokio::test]
async fn a_certificate_that_the_platform_does_not_know_is_not_trusted() {
    let server = Script::start_tls(&Authority::new("stranger").issue(&["127.0.0.1"]), |_| ok());
    let to = HttpTarget::Url(format!("https://127.0.0.1:{}/", server.port));
    let hook = http(to, None);
    let error = failed(hook.tell(GENERATION).await);
    assert!(matches!(error.fault, Fault::NotTrusted { .. }), "{error:?}");
    assert_eq!(error.report().reason, Reason::TlsVerify);
    assert!(server.seen().is_empty());
}

#[test]
fn a_hook_that_can_never_work_is_refused_at_the_start() {
    let build = |kind, confirm| {
        let config = HookConfig { kind, when: vec![], confirm };
        Hook::build(3, &config, 0, None).err().map(|error| error.report().what)
    };
    let to = ProcessMatch::PidFile("/nowhere/at/all.pid".into());
    let what = build(HookKind::Signal { send: 1, to, even_if_fatal: false }, None);
    assert_eq!(what.as_deref(), Some("hook 4 (`on_change[3]`) can't be used"));
    let to = ProcessMatch::Name("app".into());
    let confirm = confirm(ConfirmBy::File("/nowhere/at/all".into()), LONG, 0);
    assert!(build(HookKind::Signal { send: 1, to, even_if_fatal: false }, Some(confirm)).is_some());
}
