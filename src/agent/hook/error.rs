//! Why nobody was told, or did not confirm.

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::reason::{Reason, Report};

/// A hook that failed.
#[derive(Debug)]
pub struct HookError {
    /// Its place in the config, from 0.
    pub hook: usize,
    /// What happened.
    pub fault: Fault,
}

/// What happened to a hook.
#[derive(Debug)]
pub enum Fault {
    /// The URL, the method, a header or the signal can't be used.
    BadRequest,
    /// The platform has no certificates to trust.
    NoRoots,
    /// The host's name leads nowhere.
    NoSuchHost {
        /// The address, as in the config.
        to: String,
    },
    /// The certificate of who answered can't be trusted.
    NotTrusted {
        /// The address, as in the config.
        to: String,
    },
    /// Nobody listens there.
    NobodyListens {
        /// The address, as in the config.
        to: String,
    },
    /// No answer in time.
    NoAnswer {
        /// The address, as in the config.
        to: String,
        /// How long we waited.
        within: Duration,
    },
    /// The connection broke.
    Broken {
        /// The address, as in the config.
        to: String,
    },
    /// Another status than the one that counts.
    Status {
        /// The status that confirms; without one any 2xx does.
        want: Option<u16>,
        /// The status that came.
        got: u16,
    },
    /// `/proc` can't be read.
    NoProc,
    /// The kernel gives no descriptor for a process.
    NoPidfd,
    /// The kernel does not let us signal the process.
    NotPermitted {
        /// Whom.
        pid: u32,
        /// Its uid, if it can be seen.
        uid: Option<u32>,
    },
    /// The process would die of the signal, or not notice it.
    NotCaught {
        /// Whom.
        pid: u32,
        /// Which signal.
        signal: i32,
        /// It ignores the signal, so that nothing would happen at all.
        ignored: bool,
    },
    /// The process goes on after SIGKILL.
    DidNotEnd {
        /// Which one.
        pid: u32,
    },
    /// The command could not be started.
    NotStarted {
        /// The program.
        program: String,
        /// 127 if it is not there, 126 if it can't be run, as a shell says it.
        code: i32,
    },
    /// The command took too long and was ended.
    TooSlow {
        /// The program.
        program: String,
        /// How long it had.
        within: Duration,
    },
    /// Another exit code than the one that counts.
    Exit {
        /// The program.
        program: String,
        /// The code that confirms; without one 0 means that it was carried out.
        want: Option<i32>,
        /// The code that came; 128 and more for a signal.
        got: i32,
    },
    /// The file that confirms does not hold the generation.
    NoSign {
        /// Which file.
        file: PathBuf,
        /// How long we looked.
        within: Duration,
    },
    /// The directory of a pid file, or of the file that confirms, can't be opened.
    NoDirectory {
        /// Which file.
        file: PathBuf,
    },
    /// The helper process ended.
    HelperGone,
}

impl Fault {
    /// Whether trying again at once can't help.
    ///
    /// A process that does not catch the signal may only be starting, and is looked at again.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Fault::BadRequest
                | Fault::NoRoots
                | Fault::NotTrusted { .. }
                | Fault::NoProc
                | Fault::NoPidfd
                | Fault::NotPermitted { .. }
                | Fault::NotStarted { .. }
                | Fault::HelperGone
        )
    }

    /// The machine's word, what happened (said of the hook), why, and what to do.
    fn said(&self) -> (Reason, String, String, &'static str) {
        match self {
            Fault::BadRequest
            | Fault::NoRoots
            | Fault::NoSuchHost { .. }
            | Fault::NotTrusted { .. }
            | Fault::NobodyListens { .. }
            | Fault::NoAnswer { .. }
            | Fault::Broken { .. }
            | Fault::Status { .. } => self.said_of_http(),
            Fault::NoProc
            | Fault::NoPidfd
            | Fault::NotPermitted { .. }
            | Fault::NotCaught { .. }
            | Fault::DidNotEnd { .. } => self.said_of_processes(),
            _ => self.said_of_the_rest(),
        }
    }

    fn said_of_http(&self) -> (Reason, String, String, &'static str) {
        let no_answer = || "got no answer".to_owned();
        match self {
            Fault::NoRoots => (
                Reason::TlsVerify,
                "can't be used".into(),
                "the platform has no certificates that could prove who answers".into(),
                "put the CA's certificate into a file and name it in `SSL_CERT_FILE`",
            ),
            Fault::NoSuchHost { to } => (
                Reason::HookFailed,
                no_answer(),
                format!("the name of the host in {to} leads nowhere"),
                "correct `url`, or look whether the application's service exists",
            ),
            Fault::NotTrusted { to } => (
                Reason::TlsVerify,
                no_answer(),
                format!("the certificate of {to} can't be trusted"),
                "have the platform trust its CA, or use http on 127.0.0.1 or a Unix socket",
            ),
            Fault::NobodyListens { to } => (
                Reason::NobodyToTell,
                "told nobody".into(),
                format!("nobody listens on {to}"),
                "nothing to do if the application starts later: it then reads the new files",
            ),
            Fault::NoAnswer { to, within } => (
                Reason::HookFailed,
                no_answer(),
                format!("{to} did not answer within {}", seconds(*within)),
                "answer sooner, or raise `confirm.within`",
            ),
            Fault::Broken { to } => (
                Reason::HookFailed,
                no_answer(),
                format!("the connection to {to} broke"),
                "look at the application's log for this moment",
            ),
            Fault::Status { want: Some(want), got } => (
                Reason::Unconfirmed,
                "was not confirmed".into(),
                format!("the application answered {got} where {want} confirms"),
                "look at the application's log: it refused the new files or has another path",
            ),
            Fault::Status { want: None, got } => (
                Reason::HookFailed,
                "was refused".into(),
                format!("the application answered {got} where 2xx is expected"),
                "look at the application's log: it refused the new files or has another path",
            ),
            _ => (
                Reason::HookFailed,
                "can't be used".into(),
                "its URL, method, header or signal is not valid".into(),
                "correct `url`, `method`, `headers` or `send` of the hook",
            ),
        }
    }

    fn said_of_processes(&self) -> (Reason, String, String, &'static str) {
        match self {
            Fault::NotPermitted { pid, uid } => {
                let whose = uid.map_or("another user".to_owned(), |uid| format!("uid {uid}"));
                (
                    Reason::SignalNotPermitted,
                    format!("may not signal process {pid}"),
                    format!("it runs as {whose}, and without CAP_KILL a signal needs the same uid"),
                    "run Sidekey as that uid (weaker isolation), or use an `http` hook, or let the \
                     application watch the directory for `..data`",
                )
            }
            Fault::NotCaught { pid, signal, ignored } => (
                Reason::SignalNotCaught,
                format!("did not send signal {signal} to process {pid}"),
                match ignored {
                    true => "the process ignores this signal, so nothing would happen".into(),
                    false => "the process does not catch this signal and would die of it".into(),
                },
                "choose the signal that reloads this program; if it waits in `sigwait`, which can't be \
                 seen, or shall end, set `even_if_fatal: true`",
            ),
            Fault::DidNotEnd { pid } => (
                Reason::HookFailed,
                format!("could not end process {pid}"),
                "it goes on after SIGKILL, as process 1 of a PID namespace does".into(),
                "start the application under a small init, or share the pod's PID namespace",
            ),
            Fault::NoPidfd => (
                Reason::HookFailed,
                "can't signal anybody".into(),
                "the kernel gives no descriptor for a process (`pidfd_open`)".into(),
                "use an `http` hook, or a kernel from 5.3 on whose sandbox allows that call",
            ),
            _ => (
                Reason::HookFailed,
                "can't look for processes".into(),
                "`/proc` can't be read".into(),
                "mount /proc in the container, or use an `http` hook",
            ),
        }
    }

    fn said_of_the_rest(&self) -> (Reason, String, String, &'static str) {
        let not_confirmed = || "was not confirmed".to_owned();
        match self {
            Fault::NotStarted { program, code } => (
                Reason::HookFailed,
                format!("could not start `{program}`"),
                match code {
                    127 => "the program, or the interpreter that it names, is not there".into(),
                    _ => "it can't be executed".into(),
                },
                "give the full path of an executable in Sidekey's container; there is no shell",
            ),
            Fault::TooSlow { program, within } => (
                Reason::HookFailed,
                format!("ended `{program}`"),
                format!("it did not finish within {}", seconds(*within)),
                "make it faster, or raise `confirm.within`",
            ),
            Fault::Exit { program, want: Some(want), got } => (
                Reason::Unconfirmed,
                not_confirmed(),
                format!("`{program}` ended with {got} where {want} confirms"),
                "run the command by hand in Sidekey's container to see what it says",
            ),
            Fault::Exit { program, want: None, got } => (
                Reason::HookFailed,
                "failed".into(),
                format!("`{program}` ended with {got}"),
                "run the command by hand in Sidekey's container to see what it says",
            ),
            Fault::NoSign { file, within } => (
                Reason::Unconfirmed,
                not_confirmed(),
                format!(
                    "`{}` did not hold the generation within {}",
                    file.display(),
                    seconds(*within)
                ),
                "write the number from `Sidekey-Generation` to that file when it is in use",
            ),
            Fault::NoDirectory { file } => (
                Reason::HookFailed,
                "can't be used".into(),
                format!("the directory of `{}` can't be opened", file.display()),
                "mount the directory that both containers share before Sidekey starts",
            ),
            _ => (
                Reason::HookFailed,
                "could not be carried out".into(),
                "the helper process ended".into(),
                "restart the container; if it happens again, look in the node's log for the reason",
            ),
        }
    }
}

impl HookError {
    /// The error as a person reads it.
    pub fn report(&self) -> Report {
        let (reason, what, why, hint) = self.fault.said();
        let hook = format!("hook {} (`on_change[{}]`)", self.hook + 1, self.hook);
        Report::new(reason, format!("{hook} {what}"), why).hint(hint)
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_says_what_why_and_what_to_do() {
        let to = || "http://127.0.0.1:8080/-/reload".to_owned();
        let within = Duration::from_secs(10);
        let program = || "/bin/x".to_owned();
        let file = || PathBuf::from("/run/app/gen");
        let faults = [
            (Fault::BadRequest, "not valid"),
            (Fault::NoRoots, "no certificates"),
            (Fault::NoSuchHost { to: to() }, "host in http://127.0.0.1:8080/-/reload leads"),
            (Fault::NotTrusted { to: to() }, "http://127.0.0.1:8080/-/reload can't be trusted"),
            (Fault::NobodyListens { to: to() }, "nobody listens on http://127.0.0.1:8080/-/reload"),
            (Fault::NoAnswer { to: to(), within }, "within 10 s"),
            (Fault::Broken { to: to() }, "broke"),
            (Fault::Status { want: None, got: 500 }, "answered 500 where 2xx"),
            (Fault::Status { want: Some(204), got: 200 }, "answered 200 where 204 confirms"),
            (Fault::NoProc, "/proc"),
            (Fault::NoPidfd, "pidfd_open"),
            (Fault::NotPermitted { pid: 7, uid: Some(33) }, "uid 33"),
            (Fault::NotPermitted { pid: 7, uid: None }, "another user"),
            (Fault::NotCaught { pid: 7, signal: 1, ignored: false }, "would die of it"),
            (Fault::NotCaught { pid: 7, signal: 1, ignored: true }, "ignores"),
            (Fault::DidNotEnd { pid: 7 }, "after SIGKILL"),
            (Fault::NotStarted { program: program(), code: 127 }, "is not there"),
            (Fault::NotStarted { program: program(), code: 126 }, "can't be executed"),
            (Fault::TooSlow { program: program(), within }, "within 10 s"),
            (Fault::Exit { program: program(), want: Some(0), got: 3 }, "ended with 3 where 0"),
            (Fault::Exit { program: program(), want: None, got: 3 }, "`/bin/x` ended with 3"),
            (Fault::NoSign { file: file(), within }, "`/run/app/gen`"),
            (Fault::NoDirectory { file: file() }, "`/run/app/gen`"),
            (Fault::HelperGone, "helper process ended"),
        ];
        for (fault, why) in faults {
            let report = HookError { hook: 1, fault }.report();
            assert!(report.what.starts_with("hook 2 (`on_change[1]`)"), "{report}");
            assert!(report.why.contains(why), "{report}");
            assert!(report.hint.is_some(), "{report}");
        }
    }
}
