//! Commands and the helper that runs them: what a command gets, what it leaves behind, and who ends
//! with whom.
//!
//! Without a test harness, because a harness has threads and the helper is forked while there is
//! one. Each test runs in a process of its own, which was started as a careless shell would: signals
//! ignored, a descriptor left open, and logins in the environment.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]
#![expect(clippy::print_stdout, reason = "this is its own test harness")]
#![expect(clippy::disallowed_methods, reason = "the test runs itself")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sidekey::agent::config::{
    Confirm, ConfirmBy, HookConfig, HookKind, HttpTarget, Otherwise, ProcessMatch,
};
use sidekey::agent::hook::{Fault, Helper, Hook, HookError, Told, commands};
use sidekey::agent::reason::Reason;
use support::app::until;
use support::{Authority, Response, Script};

const TESTS: &[(&str, fn())] = &[
    ("a_command_gets_the_generation_and_little_else", a_command_gets_the_generation),
    ("a_command_begins_with_clean_signals_and_descriptors", a_command_begins_clean),
    ("a_command_can_not_trace_mount_or_leave_its_namespaces", a_command_is_limited),
    ("the_exit_code_decides", the_exit_code_decides),
    ("what_cannot_be_started_says_why_as_a_shell_would", what_cannot_be_started_says_why),
    ("a_command_that_fails_at_first_is_run_again", a_command_that_fails_at_first_is_run_again),
    ("a_command_that_takes_too_long_ends_with_its_whole_group", too_long),
    ("a_slow_command_does_not_hold_up_the_others", a_slow_command_does_not_hold_up_the_others),
    ("who_gives_up_waiting_leaves_no_answer_to_the_next", who_gives_up_waiting),
    ("what_a_command_leaves_behind_does_not_pile_up", nothing_piles_up),
    ("a_file_confirms_a_command", a_file_confirms_a_command),
    ("an_index_out_of_range_runs_nothing", an_index_out_of_range_runs_nothing),
    ("the_helper_knows_who_runs_an_executable", the_helper_knows_who_runs_an_executable),
    ("the_helper_holds_nothing_but_its_line", the_helper_holds_nothing_but_its_line),
    ("the_helper_and_its_commands_end_with_the_agent", the_helper_ends_with_the_agent),
    ("without_the_helper_hooks_fail_and_say_so", without_the_helper_hooks_fail),
    ("the_helper_itself_is_never_signalled", the_helper_itself_is_never_signalled),
    ("with_a_second_thread_there_is_no_fork", with_a_second_thread_there_is_no_fork),
    ("a_certificate_that_the_platform_trusts_is_trusted", what_the_platform_trusts),
];

/// Which test to run, for the process of one test.
const ONE: &str = "SIDEKEY_TEST_ONE";

/// Set for the agent that a test kills: the directory of its command.
const VICTIM: &str = "SIDEKEY_TEST_VICTIM";

/// How a test's process is started.
const CARELESS: &str = "trap '' HUP USR1 TERM; exec 9</dev/zero; exec \"$0\"";

fn main() -> ExitCode {
    if let Ok(dir) = std::env::var(VICTIM) {
        victim(Path::new(&dir));
    }
    if let Ok(one) = std::env::var(ONE) {
        let (_, run) = TESTS.iter().find(|(name, _)| *name == one).unwrap();
        run();
        return ExitCode::SUCCESS;
    }
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let list = std::env::args().any(|argument| argument == "--list");
    let mut failed = 0;
    for (name, _) in TESTS.iter().filter(|(name, _)| name.contains(&filter)) {
        if list {
            println!("{name}: test");
            continue;
        }
        let passed = Command::new("/bin/sh")
            .args(["-c", CARELESS])
            .arg(std::env::current_exe().unwrap())
            .env_remove("SSL_CERT_DIR")
            .envs([(ONE, *name), ("VAULT_TOKEN", "t"), ("BAO_TOKEN", "t"), ("HOME", "/")])
            .envs([("APP_SECRET_ID", "s"), ("AWS_SECRET_ACCESS_KEY", "k"), ("TZ", "UTC")])
            .status()
            .unwrap()
            .success();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    println!("test result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The hooks of one test, with their helper.
struct Hooks {
    hooks: Vec<Hook>,
    helper: Rc<Helper>,
}

impl Hooks {
    fn of(configs: &[HookConfig]) -> Hooks {
        let helper = Rc::new(Helper::fork(configs).unwrap());
        let (_, places) = commands(configs);
        let places = configs.iter().zip(places).enumerate();
        let hooks = places.map(|(index, (config, place))| {
            Hook::build(index, config, place, Some(Rc::clone(&helper))).unwrap()
        });
        Hooks { hooks: hooks.collect(), helper }
    }

    fn tell(&self, index: usize) -> Told {
        block_on(self.hooks[index].tell(7))
    }
}

thread_local! {
    /// Made after the helper was forked, as in the agent.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

fn shell(script: &str, arguments: &[&Path]) -> HookKind {
    let mut argv: Vec<String> = ["/bin/sh", "-c", script, "sh"].map(String::from).into();
    argv.extend(arguments.iter().map(|path| path.display().to_string()));
    HookKind::Command { argv }
}

fn hook(kind: HookKind) -> HookConfig {
    HookConfig { kind, when: vec![], confirm: None }
}

/// A hook that is run once.
fn once(kind: HookKind, by: ConfirmBy, within: Duration) -> HookConfig {
    let confirm = Confirm { by, within, retries: 0, otherwise: Otherwise::Report };
    HookConfig { kind, when: vec![], confirm: Some(confirm) }
}

/// Long enough for anything.
const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn error(told: Told) -> HookError {
    match told {
        Told::Failed(error) | Told::Unconfirmed(error) => error,
        other => panic!("{other:?}"),
    }
}

macro_rules! assert_told {
    ($told:expr, $($pattern:tt)+) => {{
        let told = $told;
        assert!(matches!(told, $($pattern)+), "{told:?}");
    }};
}

fn temp() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    (dir, file)
}

/// A process number that a script wrote.
fn pid_in(file: &Path) -> u32 {
    let read = || fs::read_to_string(file).unwrap_or_default();
    until("a process wrote its number", || read().ends_with('\n'));
    read().trim().parse().unwrap()
}

fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn a_command_gets_the_generation() {
    let (_dir, out) = temp();
    let script = "tr '\\0' '\\n' < /proc/$$/environ > \"$1\"";
    let hooks = Hooks::of(&[hook(shell(script, &[&out]))]);
    assert!(block_on(hooks.hooks[0].probe()).is_empty());
    assert_told!(hooks.tell(0), Told::Done);
    let text = fs::read_to_string(out).unwrap();
    let variables: BTreeSet<&str> = text.lines().collect();
    assert!(variables.contains("SIDEKEY_GENERATION=7"), "{variables:?}");
    assert!(variables.contains("HOME=/") && variables.contains("TZ=UTC"), "{variables:?}");
    let known = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SIDEKEY_GENERATION"];
    for variable in variables {
        let name = variable.split('=').next().unwrap();
        assert!(known.contains(&name), "{name}");
    }
}

fn a_command_begins_clean() {
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = ours.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & 0x4201, 0x4201, "the test was not started carelessly: {ours}");
    assert!(fs::exists("/proc/self/fd/9").unwrap());
    let (dir, out) = temp();
    let fds = dir.path().join("fds");
    let hooks = Hooks::of(&[
        hook(shell("exec cat /proc/self/status /proc/self/stat > \"$1\"", &[&out])),
        hook(shell("exec ls -l /proc/self/fd > \"$1\"", &[&fds])),
    ]);
    assert_told!(hooks.tell(0), Told::Done);
    assert_told!(hooks.tell(1), Told::Done);
    let status = fs::read_to_string(out).unwrap();
    for mask in ["SigIgn:\t", "SigBlk:\t"] {
        let mask = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
        // Two signals belong to glibc, whose posix_spawn ignores them in what it starts.
        let glibc = (1 << 31) | (1 << 32);
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & !glibc, 0, "{status}");
    }
    let number = |name: &str| -> i32 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert_eq!(number("PPid:"), i32::try_from(hooks.helper.pid()).unwrap());
    let stat = status.lines().last().unwrap().rsplit_once(") ").unwrap().1.to_owned();
    let group: i32 = stat.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(group, number("Pid:"));
    let fds = fs::read_to_string(fds).unwrap();
    let open = fds.lines().filter_map(|line| line.split_once(" -> "));
    let open: Vec<(&str, &str)> =
        open.map(|(fd, to)| (fd.rsplit(' ').next().unwrap(), to)).collect();
    // The last one is the list itself.
    let [("0", "/dev/null"), ("1", _), ("2", stderr), ("3", last)] = open[..] else {
        panic!("{fds}")
    };
    assert_eq!(fs::read_link("/proc/self/fd/2").unwrap(), Path::new(stderr));
    assert!(last.starts_with("/proc/") && last.ends_with("/fd"), "{fds}");
}

fn a_command_is_limited() {
    let (dir, out) = temp();
    let script = dir.path().join("try.py");
    let text = "import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def errno(call, *args):
    return ctypes.get_errno() if call(*args) < 0 else 0
answers = [
    errno(libc.ptrace, 0, 0, 0, 0),
    errno(libc.unshare, 0x10000000),
    errno(libc.mount, b'x', b'/nowhere', b'tmpfs', 0, 0),
]
open(sys.argv[1], 'w').write(' '.join(map(str, answers)))";
    fs::write(&script, text).unwrap();
    // Without the helper a program may be traced, so that this test can fail.
    assert!(Command::new("python3").args([&script, &out]).status().unwrap().success());
    assert!(fs::read_to_string(&out).unwrap().starts_with("0 "));
    let hooks = Hooks::of(&[hook(shell("exec python3 \"$1\" \"$2\"", &[&script, &out]))]);
    assert_told!(hooks.tell(0), Told::Done);
    assert_eq!(fs::read_to_string(out).unwrap(), "1 1 1");
}

fn the_exit_code_decides() {
    let hooks = Hooks::of(&[
        hook(shell("exit 0", &[])),
        once(shell("exit 3", &[]), ConfirmBy::Exit(3), LONG),
        once(shell("exit 0", &[]), ConfirmBy::Exit(3), LONG),
        once(shell("kill -9 $$", &[]), ConfirmBy::Exit(137), LONG),
        HookConfig { confirm: None, ..once(shell("exit 4", &[]), ConfirmBy::Exit(0), LONG) },
    ]);
    assert_told!(hooks.tell(0), Told::Done);
    assert_told!(hooks.tell(1), Told::Confirmed);
    let fault = error(hooks.tell(2));
    assert!(matches!(fault.fault, Fault::Exit { want: Some(3), got: 0, .. }), "{fault:?}");
    assert_eq!(fault.report().reason, Reason::Unconfirmed);
    assert_told!(hooks.tell(3), Told::Confirmed);
    let told = hooks.tell(4);
    assert!(matches!(told, Told::Failed(_)), "{told:?}");
    assert_eq!(error(told).report().reason, Reason::HookFailed);
}

fn what_cannot_be_started_says_why() {
    let (dir, out) = temp();
    fs::write(&out, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = |path: &str| hook(HookKind::Command { argv: vec![path.into()] });
    let hooks = Hooks::of(&[
        program("/no/such/program"),
        program("/etc/passwd"),
        program(&dir.path().display().to_string()),
        program(&out.display().to_string()),
    ]);
    for (index, code) in [127, 126, 126, 127].into_iter().enumerate() {
        let fault = error(hooks.tell(index)).fault;
        let Fault::NotStarted { code: got, .. } = fault else { panic!("{fault:?}") };
        assert_eq!(got, code, "{index}");
        // What can be seen without starting it is seen at the start.
        let seen = block_on(hooks.hooks[index].probe());
        assert_eq!(seen.len(), usize::from(index < 3), "{index}");
    }
}

fn a_command_that_fails_at_first_is_run_again() {
    let (_dir, out) = temp();
    let script = "echo >> \"$1\"; [ $(wc -l < \"$1\") -ge 3 ]";
    let hooks = Hooks::of(&[hook(shell(script, &[&out]))]);
    assert_told!(hooks.tell(0), Told::Done);
    assert_eq!(fs::read_to_string(out).unwrap().lines().count(), 3);
}

fn too_long() {
    let (dir, out) = temp();
    let child = dir.path().join("child");
    let script = "trap '' TERM HUP; echo $$ > \"$1\"; (trap '' TERM; echo $(exec sh -c 'echo $PPID') \
                  > \"$2\"; while :; do sleep 1; done) & wait";
    let within = Duration::from_millis(700);
    let hooks = Hooks::of(&[once(shell(script, &[&out, &child]), ConfirmBy::Exit(0), within)]);
    let fault = error(hooks.tell(0)).fault;
    assert!(matches!(fault, Fault::TooSlow { .. }), "{fault:?}");
    for pid in [pid_in(&out), pid_in(&child)] {
        until("the group has ended", || !is_there(pid));
    }
    // And the helper goes on.
    let fault = error(hooks.tell(0)).fault;
    assert!(matches!(fault, Fault::TooSlow { .. }), "{fault:?}");
}

fn a_slow_command_does_not_hold_up_the_others() {
    let (dir, out) = temp();
    let gate = dir.path().join("gate");
    let slow = "while [ ! -e \"$1\" ]; do sleep 0.05; done";
    let hooks = Hooks::of(&[
        once(shell(slow, &[&gate]), ConfirmBy::Exit(0), LONG),
        once(shell("echo > \"$1\"; echo > \"$2\"", &[&out, &gate]), ConfirmBy::Exit(0), LONG),
    ]);
    // The slow one ends only when the other one was run.
    let both = async { tokio::join!(hooks.hooks[0].tell(7), hooks.hooks[1].tell(7)) };
    let (slow, quick) = block_on(both);
    assert_told!(slow, Told::Confirmed);
    assert_told!(quick, Told::Confirmed);
}

fn who_gives_up_waiting() {
    let hooks = Hooks::of(&[
        once(shell("sleep 0.3; exit 5", &[]), ConfirmBy::Exit(5), LONG),
        once(shell("sleep 0.6; exit 6", &[]), ConfirmBy::Exit(6), LONG),
    ]);
    block_on(async {
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, hooks.hooks[0].tell(7)).await.is_err());
    });
    assert_told!(hooks.tell(1), Told::Confirmed);
    assert_told!(hooks.tell(0), Told::Confirmed);
}

fn nothing_piles_up() {
    // As if we were process 1: what the helper does not take comes to us.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let hooks = Hooks::of(&[hook(shell("(sleep 0.1 &); (sleep 0.1 &); exit 0", &[]))]);
    for _ in 0..5 {
        assert_told!(hooks.tell(0), Told::Done);
    }
    let zombies = || {
        let children = |pid: u32| {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            children.split_whitespace().map(|c| c.parse().unwrap()).collect::<Vec<u32>>()
        };
        // Nothing came to the agent, which may be process 1 and knows nothing of orphans.
        assert_eq!(children(std::process::id()), [hooks.helper.pid()]);
        children(hooks.helper.pid()).len()
    };
    until("the helper has taken leave of all", || zombies() == 0);
}

fn a_file_confirms_a_command() {
    let (_dir, out) = temp();
    let script = "(sleep 0.2; echo $SIDEKEY_GENERATION > \"$1\") &";
    let by = ConfirmBy::File(out.clone());
    let hooks = Hooks::of(&[once(shell(script, &[&out]), by, LONG)]);
    assert_told!(hooks.tell(0), Told::Confirmed);
}

fn an_index_out_of_range_runs_nothing() {
    let (_dir, out) = temp();
    let config = hook(shell("echo > \"$1\"", &[&out]));
    let hooks = Hooks::of(std::slice::from_ref(&config));
    for place in [1, 7, usize::MAX] {
        let hook = Hook::build(0, &config, place, Some(Rc::clone(&hooks.helper))).unwrap();
        let fault = error(block_on(hook.tell(7))).fault;
        assert!(matches!(fault, Fault::HelperGone), "{fault:?}");
    }
    assert!(!out.exists());
    // It was not offended.
    assert_told!(hooks.tell(0), Told::Done);
    assert!(out.exists());
}

fn the_helper_knows_who_runs_an_executable() {
    // An executable that only this test runs.
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("app");
    fs::copy("/bin/sh", &exe).unwrap();
    let target = ProcessMatch::Exe(exe.clone());
    let signal = |to| hook(HookKind::Signal { send: libc::SIGHUP, to, even_if_fatal: false });
    let hooks = Hooks::of(&[signal(target.clone())]);
    assert_told!(hooks.tell(0), Told::NobodyToTell);

    let (_out, log) = temp();
    let script =
        "trap 'echo hup >> \"$1\"' HUP; echo ready >> \"$1\"; while :; do sleep 0.05; done";
    let mut app = Command::new("/bin/sh")
        // A signal that was ignored when a shell began can't be trapped.
        .args(["-c", "exec env --default-signal \"$0\" -c \"$1\" sh \"$2\""])
        .args([exe.as_os_str(), script.as_ref(), log.as_os_str()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let read = || fs::read_to_string(&log).unwrap_or_default();
    until("the application is ready", || read() == "ready\n");
    assert_told!(hooks.tell(0), Told::Done);
    until("the application was told", || read() == "ready\nhup\n");

    // A newer version in its place does not make it another application.
    fs::remove_file(&exe).unwrap();
    assert_told!(hooks.tell(0), Told::Done);
    until("the application was told again", || read() == "ready\nhup\nhup\n");

    block_on(hooks.hooks[0].restart(&target)).unwrap();
    app.wait().unwrap();
}

fn the_helper_holds_nothing_but_its_line() {
    let (_dir, file) = temp();
    let _kept = fs::File::create(&file).unwrap();
    let hooks = Hooks::of(&[hook(shell("exit 0", &[]))]);
    assert_told!(hooks.tell(0), Told::Done);
    let pid = hooks.helper.pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = open.map(|fd| fd.unwrap()).map(|fd| (fd.file_name(), fs::read_link(fd.path())));
    let others = open.filter(|(name, _)| !["0", "1", "2"].map(Into::into).contains(name));
    let others: Vec<_> = others.map(|(_, to)| to.unwrap().display().to_string()).collect();
    assert!(matches!(&others[..], [line] if line.starts_with("socket:")), "{others:?}");
    let group = rustix::process::getpgid(Pid::from_raw(pid.try_into().unwrap())).unwrap();
    assert_eq!(group.as_raw_nonzero().get(), i32::try_from(pid).unwrap());
}

/// An agent whose command runs for ever.
fn victim(dir: &Path) -> ! {
    let script = "echo $$ > \"$1\"; while :; do sleep 1; done";
    let hooks = Hooks::of(&[once(shell(script, &[&dir.join("out")]), ConfirmBy::Exit(0), LONG)]);
    println!("{}", hooks.helper.pid());
    hooks.tell(0);
    panic!("nobody ended this process");
}

fn the_helper_ends_with_the_agent() {
    let (dir, out) = temp();
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .env(VICTIM, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let helper: u32 = line.trim().parse().unwrap();
    let command = pid_in(&out);
    assert!(is_there(helper) && is_there(command));
    agent.kill().unwrap();
    agent.wait().unwrap();
    until("the helper has ended", || !is_there(helper));
    until("its command has ended", || !is_there(command));
}

fn without_the_helper_hooks_fail() {
    let exe = ProcessMatch::Exe("/bin/sh".into());
    let hooks = Hooks::of(&[
        hook(shell("sleep 60", &[])),
        hook(HookKind::Signal { send: libc::SIGHUP, to: exe, even_if_fatal: false }),
    ]);
    let pid = Pid::from_raw(hooks.helper.pid().try_into().unwrap()).unwrap();
    let told = block_on(async {
        let kill = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            kill_process(pid, Signal::KILL).unwrap();
        };
        tokio::join!(hooks.hooks[0].tell(7), kill).0
    });
    // Who waits is told at once, and so is who asks later.
    assert!(matches!(error(told).fault, Fault::HelperGone));
    for index in [0, 1] {
        assert!(matches!(error(hooks.tell(index)).fault, Fault::HelperGone));
    }
    let reports = block_on(hooks.hooks[1].probe());
    assert_eq!(reports.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reason::HookFailed]);
    // Without ever having had one. To look is allowed even then: `init` and `check` tell nobody.
    let config = hook(shell("exit 0", &[]));
    let alone = Hook::build(0, &config, 0, None).unwrap();
    assert!(block_on(alone.probe()).is_empty());
    assert!(matches!(error(block_on(alone.tell(7))).fault, Fault::HelperGone));
}

fn the_helper_itself_is_never_signalled() {
    let (_dir, out) = temp();
    let target = ProcessMatch::PidFile(out.clone());
    let kill = HookKind::Signal { send: libc::SIGKILL, to: target.clone(), even_if_fatal: true };
    let hooks = Hooks::of(&[hook(kill), hook(shell("exit 0", &[]))]);
    fs::write(&out, hooks.helper.pid().to_string()).unwrap();
    assert_told!(hooks.tell(0), Told::NobodyToTell);
    block_on(hooks.hooks[0].restart(&target)).unwrap();
    assert_told!(hooks.tell(1), Told::Done);
    assert!(
        test_kill_process(Pid::from_raw(hooks.helper.pid().try_into().unwrap()).unwrap()).is_ok()
    );
}

fn with_a_second_thread_there_is_no_fork() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    assert!(Helper::fork(&[]).is_err());
    drop(stop);
    let _ = thread.join();
    assert!(Helper::fork(&[]).is_ok());
}

fn what_the_platform_trusts() {
    let (_dir, file) = temp();
    let ours = Authority::new("ours");
    fs::write(&file, ours.pem()).unwrap();
    #[expect(unsafe_code, reason = "the platform's roots are named by a variable")]
    // SAFETY: this process has one thread.
    unsafe {
        std::env::set_var("SSL_CERT_FILE", &file);
    }
    let answer = |_: &support::Request| Response::text(200, &[], "");
    let server = Script::start_tls(&ours.issue(&["127.0.0.1"]), answer);
    let other = Script::start_tls(&ours.issue(&["app.internal"]), answer);
    let hook = |port| {
        let to = HttpTarget::Url(format!("https://127.0.0.1:{port}/"));
        let kind = HookKind::Http { to, method: "POST".into(), headers: [].into() };
        Hook::build(0, &hook(kind), 0, None)
    };
    assert_told!(block_on(hook(server.port).unwrap().tell(7)), Told::Done);
    let fault = error(block_on(hook(other.port).unwrap().tell(7))).fault;
    assert!(matches!(fault, Fault::NotTrusted { .. }), "{fault:?}");
    // Nobody to trust is known at the start.
    fs::write(&file, "").unwrap();
    assert!(matches!(hook(server.port), Err(HookError { fault: Fault::NoRoots, .. })));
}
