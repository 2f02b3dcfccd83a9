//! A small process that runs the commands of hooks, forked before the agent locks itself in.
//!
//! It takes the place of a command in the config, a generation and a time, and nothing else, so
//! that whoever takes over the agent can run only what the operator wrote down. It also says who
//! runs an executable, which a process in a Landlock domain can't see. It ends with the agent, and
//! ends what it runs then; a parent-death signal would end it before it could.

mod serve;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as Unjoined;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;

use self::wire::{ANSWER, Answer, Order};
use super::{Fault, which};
use crate::agent::config::HookConfig;

/// How much longer than a command may take we wait for the helper's word.
const STUCK: Duration = Duration::from_secs(30);

/// The helper, seen from the agent.
pub struct Helper {
    pid: Pid,
    commands: Vec<Vec<String>>,
    executables: Vec<PathBuf>,
    line: RefCell<Line>,
    last: Cell<u32>,
    waiting: Waiting,
}

/// Who waits for the answer to which order.
type Waiting = Arc<Mutex<BTreeMap<u32, oneshot::Sender<Answer>>>>;

/// The agent's end of the line. It joins the runtime with its first use, because the helper is
/// forked before there is one.
enum Line {
    Unjoined(Option<Unjoined>),
    Joined(Arc<UnixDatagram>),
}

impl Helper {
    /// Forks the helper for these hooks. There must be one thread, and nothing secret in memory.
    ///
    /// # Errors
    ///
    /// When the process has more than one thread, or the kernel refuses.
    pub fn fork(hooks: &[HookConfig]) -> io::Result<Helper> {
        let (commands, _) = which::commands(hooks);
        let executables = which::executables(hooks);
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (for_child, exes) = (commands.clone(), executables.clone());
        let pid = crate::sandbox::fork::fork(theirs, move |line: OwnedFd| {
            // A kernel without seccomp is no reason to run no hook; `check` and `/ready` tell of it.
            let _ = crate::sandbox::limit_commands();
            serve::serve(&line, &for_child, &exes);
            0
        })?;
        let ours = Unjoined::from(ours);
        ours.set_nonblocking(true)?;
        Ok(Helper {
            pid,
            commands,
            executables,
            line: RefCell::new(Line::Unjoined(Some(ours))),
            last: Cell::new(0),
            waiting: Waiting::default(),
        })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Runs the command at `place` and gives its exit code. Longer than `within`, it is ended with
    /// everything it started.
    pub(super) async fn run(
        &self,
        place: usize,
        generation: u64,
        within: Duration,
    ) -> Result<i32, Fault> {
        let command = self.commands.get(place).and_then(|argv| argv.first());
        let program = || command.cloned().unwrap_or_default();
        match self.ask(Order::Run { place, generation, within }, within).await? {
            Answer::Ended(code) => Ok(code),
            Answer::NotStarted(code) => Err(Fault::NotStarted { program: program(), code }),
            Answer::TooSlow => Err(Fault::TooSlow { program: program(), within }),
            Answer::Resolved(_) | Answer::NoSuch => Err(Fault::HelperGone),
        }
    }

    /// The processes that run an executable of the config.
    pub(super) async fn resolve(&self, path: &Path) -> Result<Vec<u32>, Fault> {
        let place = self.executables.iter().position(|exe| exe == path).ok_or(Fault::HelperGone)?;
        match self.ask(Order::Resolve { place }, Duration::ZERO).await? {
            Answer::Resolved(pids) => Ok(pids),
            _ => Err(Fault::HelperGone),
        }
    }

    /// Orders beside each other don't wait for each other: each answer finds its own.
    /// An answer that does not come means that the helper is stuck.
    async fn ask(&self, order: Order, within: Duration) -> Result<Answer, Fault> {
        let line = self.joined().map_err(|_| Fault::HelperGone)?;
        let id = self.last.get().wrapping_add(1);
        self.last.set(id);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        if line.send(&order.encode(id)).await.is_err() {
            lock(&self.waiting).remove(&id);
            return Err(Fault::HelperGone);
        }
        let answer = tokio::time::timeout(within.saturating_add(STUCK), answer).await;
        lock(&self.waiting).remove(&id);
        answer.ok().and_then(Result::ok).ok_or(Fault::HelperGone)
    }

    fn joined(&self) -> io::Result<Arc<UnixDatagram>> {
        let mut line = self.line.borrow_mut();
        if let Line::Unjoined(unjoined) = &mut *line {
            let unjoined = unjoined.take().ok_or(io::ErrorKind::NotConnected)?;
            // The type says datagrams; what matters is that both keep packets whole.
            let joined = Arc::new(UnixDatagram::from_std(unjoined)?);
            tokio::spawn(listen(Arc::clone(&joined), Arc::clone(&self.waiting)));
            *line = Line::Joined(joined);
        }
        match &*line {
            Line::Joined(joined) => Ok(Arc::clone(joined)),
            Line::Unjoined(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Hands out answers until the helper is gone; then nobody waits any longer.
async fn listen(line: Arc<UnixDatagram>, waiting: Waiting) {
    let mut packet = vec![0; ANSWER];
    while let Ok(length @ 1..) = line.recv(&mut packet).await {
        let Some((id, answer)) = Answer::decode(&packet[..length]) else { continue };
        if let Some(sender) = lock(&waiting).remove(&id) {
            // Who asked may have given up meanwhile.
            let _ = sender.send(answer);
        }
    }
    lock(&waiting).clear();
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, BTreeMap<u32, oneshot::Sender<Answer>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
