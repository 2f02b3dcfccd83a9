//! The process that the config means: found, held by a pidfd, and recognized again.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::process::{self, Found};
use super::{Fault, Helper};
use crate::agent::config::ProcessMatch;
use crate::sandbox::door::Door;

/// Bytes of a pid file that we read. PostgreSQL's has some lines after the number.
const PID_FILE: usize = 4096;

/// Which process is meant, with what it takes to find it.
pub(super) struct Target {
    what: ProcessMatch,
    pid_file: Option<Door>,
    helper: Option<Rc<Helper>>,
}

/// A process that can't become another one: the descriptor means it and no other.
pub(super) struct Held {
    pub process: Found,
    pub fd: OwnedFd,
}

impl Target {
    /// Opens what is needed to find the process later. It need not be there yet.
    pub(super) fn open(what: &ProcessMatch, helper: Option<Rc<Helper>>) -> Result<Target, Fault> {
        let pid_file = match what {
            ProcessMatch::PidFile(path) => {
                Some(Door::open(path).map_err(|_| Fault::NoDirectory { file: path.clone() })?)
            }
            _ => None,
        };
        Ok(Target { what: what.clone(), pid_file, helper })
    }

    /// Whether it means this.
    pub(super) fn means(&self, what: &ProcessMatch) -> bool {
        self.what == *what
    }

    /// Every process that is meant, held. Empty: nobody is there.
    ///
    /// Between finding a number and opening it the process may have ended and its number may mean
    /// another one. So we look once more after opening: who is the same process, and still is what
    /// the config means, is the one in our hand.
    pub(super) async fn hold(&self) -> Result<Vec<Held>, Fault> {
        let found = self.find().await?;
        self.take(found).await
    }

    async fn take(&self, found: Vec<Found>) -> Result<Vec<Held>, Fault> {
        let mut held = Vec::new();
        for process in found {
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
            match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                Some(Ok(fd)) => held.push(Held { process, fd }),
                None | Some(Err(Errno::SRCH)) => {}
                Some(Err(_)) => return Err(Fault::NoPidfd),
            }
        }
        if !held.is_empty() {
            let again = self.find().await?;
            held.retain(|held| again.iter().any(|&found| found.is(held.process)));
        }
        Ok(held)
    }

    async fn find(&self) -> Result<Vec<Found>, Fault> {
        // Never ourselves, nor who carries out our orders.
        let mut not_us = vec![std::process::id()];
        not_us.extend(self.helper.as_ref().map(|helper| helper.pid()));
        let known = match (&self.what, &self.helper) {
            (ProcessMatch::Exe(path), Some(helper)) => Some(helper.resolve(path).await?),
            _ => self.pid_file.as_ref().map(|file| number(file).into_iter().collect()),
        };
        process::find(&self.what, known.as_deref(), &not_us).map_err(|_| Fault::NoProc)
    }
}

/// The first word of a pid file, if it is a number. The number is that of the PID namespace in
/// which the application wrote it: only in a shared one it means the same to us.
fn number(file: &Door) -> Option<u32> {
    let bytes = file.read(PID_FILE).ok()?;
    String::from_utf8_lossy(&bytes).split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_changed_between_finding_and_holding_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.pid");
        let parent = std::os::unix::process::parent_id();
        std::fs::write(&path, parent.to_string()).unwrap();
        let target = Target::open(&ProcessMatch::PidFile(path.clone()), None).unwrap();
        let found = target.find().await.unwrap();
        assert_eq!(found.iter().map(|found| found.pid).collect::<Vec<_>>(), [parent]);
        assert_eq!(target.take(found.clone()).await.unwrap().len(), 1);

        // Another process with the same number.
        let stranger = Found { start: found[0].start + 1, ..found[0] };
        assert!(target.take(vec![stranger]).await.unwrap().is_empty());
        // The same process, and no longer the one that is meant.
        std::fs::write(&path, "").unwrap();
        assert!(target.take(found).await.unwrap().is_empty());
    }

    #[test]
    fn a_pid_file_is_its_first_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.pid");
        let door = Door::open(&path).unwrap();
        assert_eq!(number(&door), None);
        for (text, pid) in [
            ("42\n", Some(42)),
            (" 42", Some(42)),
            ("42\n/var/lib/postgresql\n5432\n", Some(42)),
            ("", None),
            ("nginx", None),
            ("-1", None),
            ("99999999999", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(number(&door), pid, "{text:?}");
        }
    }
}
