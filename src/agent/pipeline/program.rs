//! The command of `sidekey exec`: started with secrets in its environment, told signals, started anew
//! when they change, and followed in its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::Mode as FileMode;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::agent::observe::{Event, log_report as say_error};
use crate::agent::reason::{Reason, Report, system_word};
use crate::agent::render::{self, RenderError};
use crate::agent::rotate::Timestamp;
use crate::sandbox;
use crate::secret::{Secret, SecretBytes, SecretName};

use super::Pipeline;
use super::compose::{self, Moved};
use super::tracked::Tracked;

/// How long the command may take to end after SIGTERM before it is killed, when it is started anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be run, and as what.
#[derive(Debug)]
pub struct Program {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Its environment but for secrets.
    pub environment: Vec<(OsString, OsString)>,
    /// The umask that it would have had without us.
    pub umask: FileMode,
    /// The limit on cores that it would have had without us.
    pub core_limit: Rlimit,
}

/// Variables that hold secrets.
pub type Variables = BTreeMap<String, SecretBytes>;

/// Why a command could not be started: 127 if it is not there, 126 otherwise, as a shell has it.
#[derive(Debug)]
pub struct NotStarted {
    /// The exit code.
    pub code: u8,
    /// What to say.
    pub report: Report,
}

impl Program {
    /// Becomes the command. Comes back only if that fails.
    pub fn become_it(&self, variables: &Variables) -> NotStarted {
        let mut command = self.command(variables);
        self.lend_limits(true);
        let error = command.exec();
        self.lend_limits(false);
        self.not_started(error.kind())
    }

    fn start(&self, variables: &Variables) -> Result<Pid, NotStarted> {
        let mut command = self.command(variables);
        self.lend_limits(true);
        let child = command.spawn();
        self.lend_limits(false);
        let child = child.map_err(|error| self.not_started(error.kind()))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| self.not_started(ErrorKind::Other))
    }

    #[expect(clippy::disallowed_methods, reason = "to start this command is what `exec` is for")]
    fn command(&self, variables: &Variables) -> Command {
        let name = self.argv.first().map(OsString::as_os_str).unwrap_or_default();
        let mut command = Command::new(name);
        command.args(self.argv.iter().skip(1)).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for (name, value) in variables {
            command.env(name, OsStr::from_bytes(value.expose()));
        }
        command
    }

    /// What is ours for our own safety is not the command's: it gets what it would have had. One
    /// thread makes and starts things here, so for a moment it may be ours as well.
    fn lend_limits(&self, lent: bool) {
        let ours =
            (FileMode::RWXG | FileMode::RWXO, Rlimit { current: Some(1), ..self.core_limit });
        let (umask, cores) = if lent { (self.umask, self.core_limit) } else { ours };
        rustix::process::umask(umask);
        let _ = rustix::process::setrlimit(Resource::Core, cores);
    }

    fn not_started(&self, kind: ErrorKind) -> NotStarted {
        let name = self.argv.first().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let code = if kind == ErrorKind::NotFound { 127 } else { 126 };
        let what = format!("can't start `{}`", name.escape_debug());
        let report = Report::new(Reason::CommandFailed, what, system_word(kind));
        let hint = "see that it is there, executable, and for this machine; there is no shell";
        NotStarted { code, report: report.hint(hint) }
    }
}

/// The command, as it runs now.
pub struct Runner {
    program: Program,
    /// Only until the first delivery, and then the process becomes the command.
    pub replace: bool,
    /// The running command.
    child: Option<Pid>,
    /// What it was started with …
    variables: Variables,
    /// … and the secrets that this was made of.
    pub(super) shown: Vec<Rc<Secret>>,
    /// Whether it is asked to end, so that it can be started anew.
    renewing: bool,
    /// When it is killed for that.
    kill_at: Option<Timestamp>,
    /// The generation of files that it was started with.
    generation: u64,
    /// Whether what it was started with may not be the newest.
    pub(super) due: bool,
    /// Since when a secret of its variables has moved, and it was not started anew.
    pub(super) moved: Option<Moved>,
    /// What it or we are told; until the loop takes it.
    signals: Option<mpsc::UnboundedReceiver<i32>>,
    /// How it ended.
    ended: Option<u8>,
}

impl Runner {
    /// A command that does not run yet. Needs a runtime: signals are listened to from now on.
    pub fn new(program: Program, replace: bool) -> Runner {
        let (sender, signals) = mpsc::unbounded_channel();
        for number in forwarded().chain([libc::SIGCHLD]) {
            let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { continue };
            let sender = sender.clone();
            tokio::task::spawn_local(async move {
                while stream.recv().await.is_some() && sender.send(number).is_ok() {}
            });
        }
        let (variables, shown) = (Variables::new(), Vec::new());
        let signals = Some(signals);
        Runner {
            program,
            replace,
            child: None,
            variables,
            shown,
            renewing: false,
            kill_at: None,
            generation: 0,
            due: false,
            moved: None,
            signals,
            ended: None,
        }
    }

    /// Where signals come in.
    pub fn signals(&mut self) -> Option<mpsc::UnboundedReceiver<i32>> {
        self.signals.take()
    }

    /// When it is to be killed.
    pub fn kill_at(&self) -> Option<Timestamp> {
        self.kill_at
    }

    /// The exit code, once the command has ended by itself.
    pub fn ended(&self) -> Option<u8> {
        self.ended
    }

    /// What is left to do for a process that becomes the command.
    pub fn into_command(self) -> (Program, Variables) {
        (self.program, self.variables)
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Hands a signal on, or looks who ended.
    pub fn note_signal(&mut self, number: i32) {
        if number == libc::SIGCHLD {
            self.reap();
        } else if let Some(child) = self.child {
            let _ = sandbox::signal::send(child, number);
        }
    }

    /// Collects every child that ended: as the first process of a container we inherit orphans.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if self.child == Some(pid) {
                self.child = None;
                if !self.renewing {
                    self.ended = Some(code(ExitStatus::from_raw(status.as_raw())));
                }
            }
        }
    }

    /// Starts the command with what is delivered now.
    fn start(&mut self) -> Result<(), NotStarted> {
        (self.renewing, self.kill_at) = (false, None);
        self.child = Some(self.program.start(&self.variables)?);
        Ok(())
    }

    /// Asks the command to end, so that it can be started anew.
    fn ask_to_end(&mut self, now: Timestamp) {
        if let Some(child) = self.child {
            (self.renewing, self.kill_at) = (true, Some(now.after(PATIENCE)));
            let _ = kill_process(child, Signal::TERM);
        }
    }

    /// Kills it, if it took too long to end.
    fn kill_if_late(&mut self, now: Timestamp) {
        let late = self.kill_at.take_if(|at| *at <= now).is_some();
        if let Some(child) = self.child.filter(|_| late) {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}

/// Every signal that a process may be sent and that means nothing to us ourselves, the real-time ones
/// included. On a terminal those of the keyboard reach the command without our help, and would come
/// twice.
fn forwarded() -> impl Iterator<Item = i32> {
    // What can't be caught, what tells us of our own child, pipe and faults.
    const OURS: [i32; 10] = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGCHLD,
        libc::SIGPIPE,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGSYS,
    ];
    const KEYBOARD: [i32; 5] =
        [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let terminal = rustix::termios::isatty(std::io::stdin());
    let kept = move |number: &i32| OURS.contains(number) || (terminal && KEYBOARD.contains(number));
    (1..32).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()).filter(move |number| !kept(number))
}

/// As a shell has it: the code, or 128 and the signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

impl Pipeline {
    /// The secrets that the command's variables need.
    pub(super) fn variable_secrets(&self) -> BTreeSet<SecretName> {
        match &self.runner {
            Some(_) => self.config.env.values().map(|field| field.secret.clone()).collect(),
            None => BTreeSet::new(),
        }
    }

    /// The variables as the newest values have them.
    fn variables(&self) -> Result<(Variables, Vec<Rc<Secret>>), RenderError> {
        let names = self.variable_secrets();
        let held: Vec<(&SecretName, Rc<Secret>)> = names
            .iter()
            .filter_map(|name| Some((name, self.secrets.get(name)?.latest.clone()?)))
            .collect();
        let secrets = held.iter().map(|(name, secret)| (*name, &**secret)).collect();
        let mut variables = Variables::new();
        for (name, field) in &self.config.env {
            let forgiven = self.secrets.get(&field.secret).is_some_and(Tracked::is_forgiven);
            match render::variable(name, field, &secrets) {
                Ok(Some(value)) => drop(variables.insert(name.clone(), value)),
                Ok(None) => {}
                Err(RenderError::SecretMissing { .. }) if forgiven => {}
                Err(error) => return Err(error),
            }
        }
        Ok((variables, held.into_iter().map(|(_, secret)| secret).collect()))
    }

    /// Whether variables and files are of one moment now.
    fn variables_may_move(&self) -> bool {
        let names = self.variable_secrets();
        let Some(runner) = &self.runner else { return false };
        if runner.runs() {
            return compose::variables_stand(&names, runner.moved, &self.groups, &self.secrets);
        }
        // At the start files may be there from an earlier time; what they share is asked first.
        let shared = self.groups.iter().filter(|group| !group.config.secrets.is_disjoint(&names));
        let mut secrets = shared.flat_map(|group| &group.config.secrets);
        secrets.all(|name| self.secrets.get(name).is_none_or(Tracked::was_asked))
    }

    /// Starts the command once everything is delivered, starts it anew when its variables changed or
    /// files that nobody tells it of, and says how it ended.
    pub(super) fn tend_program(&mut self, now: Timestamp) -> Option<u8> {
        let runner = self.runner.as_mut().filter(|_| self.started)?;
        if let Some(code) = runner.ended() {
            return Some(code);
        }
        runner.kill_if_late(now);
        // One that is asked to end is started with whatever is newest then.
        if runner.runs() && (runner.renewing || !runner.due) {
            return None;
        }
        if !self.variables_may_move() {
            return None;
        }
        let made = self.variables();
        let untold = self.tellers.is_empty().then_some(self.generation);
        let runner = self.runner.as_mut()?;
        (runner.due, runner.moved) = (false, None);
        let (variables, shown) = match made {
            Ok(made) => made,
            Err(error) => {
                say_error(&error.report());
                return (!runner.runs()).then(|| error.reason().exit().code());
            }
        };
        let as_started = same(&runner.variables, &variables)
            && untold.is_none_or(|generation| runner.generation == generation);
        if runner.runs() && as_started {
            runner.shown = shown;
            return None;
        }
        if runner.runs() {
            runner.ask_to_end(now);
            self.observe.say(&Event::CommandRenewed);
            return None;
        }
        runner.variables = variables;
        runner.shown = shown;
        runner.generation = self.generation;
        if runner.replace {
            return None;
        }
        let failed = runner.start().err()?;
        say_error(&failed.report);
        Some(failed.code)
    }
}

fn same(a: &Variables, b: &Variables) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((na, a), (nb, b))| na == nb && a.ct_eq(b))
}
