//! How the application is told of a new generation, and how it confirms.
//!
//! A hook is tried, and tried again, until the application is told or, where the config demands it,
//! has confirmed. What follows when it does not is the pipeline's business.
//!
//! Reading order: [`which`] decides whom a rotation concerns; [`http`], [`signal`] (with
//! [`process`] and [`target`]) and [`helper`] are the three ways to tell; [`confirm`] is the file
//! by which an application answers.

mod confirm;
mod error;
mod helper;
mod http;
mod process;
mod signal;
mod target;
mod which;

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;

pub use error::{Fault, HookError};
pub use helper::Helper;
pub use which::{commands, concerned, need_helper};

use self::target::Target;
use crate::agent::config::{Confirm, ConfirmBy, HookConfig, HookKind, Otherwise, ProcessMatch};
use crate::agent::reason::Report;

/// How long one try may take where the config does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries after the first where the config does not say.
const RETRIES: u32 = 3;

/// How long a process has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// What came of telling somebody.
#[derive(Debug)]
pub enum Told {
    /// Told; no confirmation was asked for.
    Done,
    /// Told, and the application confirmed.
    Confirmed,
    /// There is nobody to tell.
    NobodyToTell,
    /// It could not be carried out.
    Failed(HookError),
    /// Not confirmed, whether or not it could be carried out.
    Unconfirmed(HookError),
}

/// A hook, ready to be used: everything it opens was opened when it was built.
pub struct Hook {
    index: usize,
    action: Action,
    confirm: Option<Confirm>,
    sign: Option<confirm::Sign>,
    ends: Option<Target>,
    helper: Option<Rc<Helper>>,
}

enum Action {
    Http(Box<http::Request>),
    Signal { send: i32, to: Target, even_if_fatal: bool },
    Command { place: usize, program: String },
}

impl Hook {
    /// Builds the hook that stands at `index` (from 0) in the config. `place` is where its command
    /// stands in the helper's list, as [`commands`] says.
    ///
    /// # Errors
    ///
    /// When it can never work: a URL or header that can't be sent, no certificates for https, or a
    /// directory (of a pid file, or of the file that confirms) that is not there.
    pub fn build(
        index: usize,
        config: &HookConfig,
        place: usize,
        helper: Option<Rc<Helper>>,
    ) -> Result<Hook, HookError> {
        Self::built(index, config, place, helper).map_err(|fault| HookError { hook: index, fault })
    }

    fn built(
        index: usize,
        config: &HookConfig,
        place: usize,
        helper: Option<Rc<Helper>>,
    ) -> Result<Hook, Fault> {
        let action = match &config.kind {
            HookKind::Http { to, method, headers } => {
                Action::Http(Box::new(http::Request::build(to, method, headers)?))
            }
            HookKind::Signal { send, to, even_if_fatal } => {
                let to = Target::open(to, helper.clone())?;
                Action::Signal { send: *send, to, even_if_fatal: *even_if_fatal }
            }
            HookKind::Command { argv } => {
                Action::Command { place, program: argv.first().cloned().unwrap_or_default() }
            }
        };
        let sign = match config.confirm.as_ref().map(|confirm| &confirm.by) {
            Some(ConfirmBy::File(path)) => Some(confirm::Sign::open(path)?),
            _ => None,
        };
        let ends = match config.confirm.as_ref().map(|confirm| &confirm.otherwise) {
            Some(Otherwise::Restart(target)) => Some(Target::open(target, helper.clone())?),
            _ => None,
        };
        Ok(Hook { index, action, confirm: config.confirm.clone(), sign, ends, helper })
    }

    /// Looks, without telling anybody, whether the hook could be carried out now, and gives what
    /// stands in the way. That nobody is there yet does not: an application may start later.
    pub async fn probe(&self) -> Vec<Report> {
        let action = match &self.action {
            Action::Http(_) => Ok(()),
            Action::Signal { send, to, even_if_fatal } => match to.hold().await {
                Ok(held) => signal::probe(&held, *send, *even_if_fatal),
                Err(fault) => Err(fault),
            },
            Action::Command { program, .. } => can_run(program),
        };
        let ends = match &self.ends {
            Some(target) => match target.hold().await {
                Ok(held) => signal::probe(&held, libc::SIGTERM, true),
                Err(fault) => Err(fault),
            },
            None => Ok(()),
        };
        let mut reports: Vec<Report> = Vec::new();
        for fault in [action, ends].into_iter().filter_map(Result::err) {
            let report = self.error(fault).report();
            if !reports.contains(&report) {
                reports.push(report);
            }
        }
        reports
    }

    /// Tells whoever is concerned that `generation` is there: tries again after failures, and waits
    /// for the confirmation where one is asked for.
    pub async fn tell(&self, generation: u64) -> Told {
        let retries = self.confirm.as_ref().map_or(RETRIES, |confirm| confirm.retries);
        let before = self.sign.as_ref().map(confirm::Sign::now);
        let mut attempt = 0;
        loop {
            match self.once(generation, before).await {
                Ok(told) => return told,
                Err(fault) if attempt >= retries || fault.is_final() => {
                    return match fault {
                        Fault::NobodyListens { .. } => Told::NobodyToTell,
                        fault if self.confirm.is_some() => Told::Unconfirmed(self.error(fault)),
                        fault => Told::Failed(self.error(fault)),
                    };
                }
                Err(_) => {
                    // One application is told by one agent: doubling is enough, chance adds nothing.
                    let wait = Duration::from_millis(250) * 2_u32.pow(attempt.min(6));
                    attempt += 1;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn once(&self, generation: u64, before: Option<confirm::Before>) -> Result<Told, Fault> {
        let within = self.confirm.as_ref().map_or(PATIENCE, |confirm| confirm.within);
        let by = self.confirm.as_ref().map(|confirm| &confirm.by);
        match &self.action {
            Action::Http(request) => {
                let got = request.send(generation, within).await?;
                match by {
                    Some(ConfirmBy::Status(want)) if got == *want => return Ok(Told::Confirmed),
                    Some(ConfirmBy::Status(want)) => {
                        return Err(Fault::Status { want: Some(*want), got });
                    }
                    _ if (200..300).contains(&got) => {}
                    _ => return Err(Fault::Status { want: None, got }),
                }
            }
            Action::Signal { send, to, even_if_fatal } => {
                if !signalled(to, *send, *even_if_fatal).await? {
                    return Ok(Told::NobodyToTell);
                }
            }
            Action::Command { place, program } => {
                let helper = self.helper.as_ref().ok_or(Fault::HelperGone)?;
                let got = helper.run(*place, generation, within).await?;
                let program = || program.clone();
                match by {
                    Some(ConfirmBy::Exit(want)) if got == *want => return Ok(Told::Confirmed),
                    Some(ConfirmBy::Exit(want)) => {
                        return Err(Fault::Exit { program: program(), want: Some(*want), got });
                    }
                    _ if got == 0 => {}
                    _ => return Err(Fault::Exit { program: program(), want: None, got }),
                }
            }
        }
        let (Some(sign), Some(before)) = (&self.sign, before) else { return Ok(Told::Done) };
        if sign.shows(generation, before, within).await {
            return Ok(Told::Confirmed);
        }
        Err(Fault::NoSign { file: sign.path().to_owned(), within })
    }

    /// Asks a process to end, and ends it after 10 s. Nobody there is no failure.
    pub async fn restart(&self, target: &ProcessMatch) -> Result<(), HookError> {
        self.end(target).await.map_err(|fault| self.error(fault))
    }

    async fn end(&self, target: &ProcessMatch) -> Result<(), Fault> {
        let held = match self.ends.as_ref().filter(|known| known.means(target)) {
            Some(known) => known.hold().await?,
            None => Target::open(target, self.helper.clone())?.hold().await?,
        };
        signal::end(held, GRACE).await
    }

    fn error(&self, fault: Fault) -> HookError {
        HookError { hook: self.index, fault }
    }
}

/// Sends a signal, once more if the process was replaced in between. `false`: nobody there.
async fn signalled(to: &Target, send: i32, even_if_fatal: bool) -> Result<bool, Fault> {
    for _ in 0..2 {
        let held = to.hold().await?;
        if signal::send(&held, send, even_if_fatal)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a program is there and may be executed, as far as can be seen without doing it.
fn can_run(program: &str) -> Result<(), Fault> {
    let path = Path::new(program);
    let code = match access(path, Access::EXEC_OK) {
        Ok(()) if path.is_dir() => 126,
        Ok(()) => return Ok(()),
        Err(Errno::NOENT | Errno::NOTDIR) => 127,
        Err(_) => 126,
    };
    Err(Fault::NotStarted { program: program.to_owned(), code })
}
