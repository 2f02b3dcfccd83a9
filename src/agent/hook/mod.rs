//! How the application is told of a new generation, and how it confirms.
//!
//! A hook is tried, and tried again, until the application is told or, where the config demands it,
//! has confirmed. What follows when it does not is the pipeline's business.

mod confirm;
mod error;
mod helper;
mod http;
mod process;
mod signal;

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub use error::{Fault, HookError};
pub use helper::Helper;

use crate::agent::config::{
    Confirm, ConfirmBy, HookConfig, HookKind, Otherwise, ProcessMatch, Trigger,
};
use crate::agent::reason::Report;
use crate::secret::{FilePath, GroupName};

/// How long one try may take where the config does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries after the first where the config does not say.
const RETRIES: u32 = 3;

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
    /// Carried out, and not confirmed.
    Unconfirmed(HookError),
}

/// A hook, ready to be used: everything it opens was opened when it was built.
pub struct Hook {
    index: usize,
    action: Action,
    confirm: Option<Confirm>,
    sign: Option<confirm::Sign>,
    helper: Option<Rc<Helper>>,
}

enum Action {
    Http(Box<http::Request>),
    Signal { send: i32, to: ProcessMatch, even_if_fatal: bool },
    Command { place: usize, program: String },
}

impl Hook {
    /// Builds the hook that stands at `index` (from 0) in the config. `place` is where its command
    /// stands in the helper's list.
    pub fn build(
        index: usize,
        config: &HookConfig,
        place: usize,
        helper: Option<Rc<Helper>>,
    ) -> Result<Hook, HookError> {
        let fail = |fault| HookError { hook: index, fault };
        let action = match &config.kind {
            HookKind::Http { to, method, headers } => {
                Action::Http(Box::new(http::Request::build(to, method, headers).map_err(fail)?))
            }
            HookKind::Signal { send, to, even_if_fatal } => {
                Action::Signal { send: *send, to: to.clone(), even_if_fatal: *even_if_fatal }
            }
            HookKind::Command { argv } => {
                Action::Command { place, program: argv.first().cloned().unwrap_or_default() }
            }
        };
        let sign = match config.confirm.as_ref().map(|confirm| &confirm.by) {
            Some(ConfirmBy::File(path)) => Some(confirm::Sign::open(path).map_err(fail)?),
            _ => None,
        };
        Ok(Hook { index, action, confirm: config.confirm.clone(), sign, helper })
    }

    /// Looks, without telling anybody, whether the hook could be carried out now.
    pub async fn probe(&self) -> Vec<Report> {
        let fault = match &self.action {
            Action::Signal { send, to, even_if_fatal } => match self.find(to).await {
                Ok(found) => signal::probe(&found, *send, *even_if_fatal).err(),
                Err(fault) => Some(fault),
            },
            Action::Http(_) | Action::Command { .. } => None,
        };
        fault.into_iter().map(|fault| self.error(fault).report()).collect()
    }

    /// Tells whoever is concerned that `generation` is there: tries again after failures, and waits
    /// for the confirmation where one is asked for.
    pub async fn tell(&self, generation: u64) -> Told {
        let retries = self.confirm.as_ref().map_or(RETRIES, |confirm| confirm.retries);
        let mut attempt = 0;
        loop {
            match self.once(generation).await {
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

    async fn once(&self, generation: u64) -> Result<Told, Fault> {
        let within = self.confirm.as_ref().map_or(PATIENCE, |confirm| confirm.within);
        match &self.action {
            Action::Http(request) => {
                let status = request.send(generation, within).await?;
                match self.confirm.as_ref().map(|confirm| &confirm.by) {
                    Some(ConfirmBy::Status(want)) if status == *want => return Ok(Told::Confirmed),
                    Some(ConfirmBy::Status(want)) => {
                        return Err(Fault::Status { want: Some(*want), got: status });
                    }
                    _ if (200..300).contains(&status) => {}
                    _ => return Err(Fault::Status { want: None, got: status }),
                }
            }
            Action::Signal { send, to, even_if_fatal } => {
                if !self.signal(to, *send, *even_if_fatal).await? {
                    return Ok(Told::NobodyToTell);
                }
            }
            Action::Command { place, program } => {
                let helper = self.helper.as_ref().ok_or(Fault::HelperGone)?;
                let code = helper.run(*place, generation, within).await?;
                let want = match self.confirm.as_ref().map(|confirm| &confirm.by) {
                    Some(ConfirmBy::Exit(want)) => *want,
                    _ => 0,
                };
                if code != want {
                    return Err(Fault::Exit { program: program.clone(), want, got: code });
                }
                if matches!(&self.confirm, Some(Confirm { by: ConfirmBy::Exit(_), .. })) {
                    return Ok(Told::Confirmed);
                }
            }
        }
        match &self.sign {
            Some(sign) if sign.shows(generation, within).await => Ok(Told::Confirmed),
            Some(sign) => Err(Fault::NoSign { file: sign.path().to_owned(), within }),
            None => Ok(Told::Done),
        }
    }

    /// Sends a signal, once more if the process was replaced in between. `false`: nobody there.
    async fn signal(&self, to: &ProcessMatch, send: i32, fatal: bool) -> Result<bool, Fault> {
        for _ in 0..2 {
            let found = self.find(to).await?;
            if found.is_empty() {
                return Ok(false);
            }
            if signal::send(&found, send, fatal)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn find(&self, to: &ProcessMatch) -> Result<Vec<process::Found>, Fault> {
        let mut not_us = vec![std::process::id()];
        not_us.extend(self.helper.as_ref().map(|helper| helper.pid()));
        let resolved = match (to, &self.helper) {
            (ProcessMatch::Exe(path), Some(helper)) => Some(helper.resolve(path).await?),
            _ => None,
        };
        process::find(to, resolved.as_deref(), &not_us).map_err(|_| Fault::NoProc)
    }

    /// Asks the process to end, and ends it after [`GRACE`]. Nobody there is no failure.
    pub async fn restart(&self, target: &ProcessMatch) -> Result<(), HookError> {
        let found = self.find(target).await.map_err(|fault| self.error(fault))?;
        signal::end(&found, GRACE).await.map_err(|fault| self.error(fault))
    }

    /// Whom a restart ends, if that is what follows.
    pub fn restarts(&self) -> Option<&ProcessMatch> {
        match self.confirm.as_ref().map(|confirm| &confirm.otherwise) {
            Some(Otherwise::Restart(target)) => Some(target),
            _ => None,
        }
    }

    fn error(&self, fault: Fault) -> HookError {
        HookError { hook: self.index, fault }
    }
}

/// How long a process has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// Which hooks, by their place in the config, are concerned by files and groups that moved.
pub fn concerned(
    hooks: &[&HookConfig],
    files: &BTreeSet<FilePath>,
    groups: &BTreeSet<GroupName>,
) -> Vec<usize> {
    let waits_for = |trigger: &Trigger| match trigger {
        Trigger::File(file) => files.contains(file),
        Trigger::Group(group) => groups.contains(group),
    };
    let concerned = hooks.iter().enumerate().filter(|(_, hook)| {
        !files.is_empty() && (hook.when.is_empty() || hook.when.iter().any(waits_for))
    });
    concerned.map(|(index, _)| index).collect()
}

/// The commands of hooks, in the order in which the helper knows them, with each hook's place there.
pub fn commands(hooks: &[HookConfig]) -> (Vec<Vec<String>>, Vec<usize>) {
    let mut commands = Vec::new();
    let mut places = Vec::new();
    for hook in hooks {
        places.push(commands.len());
        if let HookKind::Command { argv } = &hook.kind {
            commands.push(argv.clone());
        }
    }
    (commands, places)
}

/// Whether these hooks need the helper: for a command, or to look up an executable.
pub fn need_helper(hooks: &[HookConfig]) -> bool {
    hooks.iter().any(|hook| {
        let by_exe = |target: &ProcessMatch| matches!(target, ProcessMatch::Exe(_));
        let restarts = match hook.confirm.as_ref().map(|confirm| &confirm.otherwise) {
            Some(Otherwise::Restart(target)) => by_exe(target),
            _ => false,
        };
        restarts
            || match &hook.kind {
                HookKind::Command { .. } => true,
                HookKind::Signal { to, .. } => by_exe(to),
                HookKind::Http { .. } => false,
            }
    })
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Fault {
        Fault::HelperGone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(when: &[&str]) -> HookConfig {
        let when = when.iter().map(|name| match GroupName::parse(name) {
            Ok(group) if !name.contains('.') => Trigger::Group(group),
            _ => Trigger::File(FilePath::parse(name).unwrap()),
        });
        HookConfig {
            kind: HookKind::Command { argv: vec!["/bin/true".into()] },
            when: when.collect(),
            confirm: None,
        }
    }

    #[test]
    fn a_hook_is_concerned_by_its_files_its_groups_or_anything() {
        let hooks = [hook(&[]), hook(&["a.txt"]), hook(&["edge"]), hook(&["b.txt", "edge"])];
        let hooks: Vec<&HookConfig> = hooks.iter().collect();
        let files = |names: &[&str]| names.iter().map(|n| FilePath::parse(n).unwrap()).collect();
        let groups = |names: &[&str]| names.iter().map(|n| GroupName::parse(n).unwrap()).collect();
        assert_eq!(concerned(&hooks, &files(&["a.txt"]), &groups(&[])), [0, 1]);
        assert_eq!(concerned(&hooks, &files(&["c.txt"]), &groups(&["edge"])), [0, 2, 3]);
        assert_eq!(concerned(&hooks, &files(&[]), &groups(&[])), [0_usize; 0]);
    }
}
