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
    /// The URL or the headers can't be used.
    BadRequest,
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
    /// The kernel does not let us signal the process.
    NotPermitted {
        /// Whom.
        pid: u32,
        /// Its uid.
        uid: u32,
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
        /// The code that counts.
        want: i32,
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
    /// The directory of the file that confirms can't be opened.
    NoSignDirectory {
        /// Which file.
        file: PathBuf,
    },
    /// The helper process ended.
    HelperGone,
}

impl Fault {
    /// Whether trying again at once can't help.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Fault::BadRequest
                | Fault::NoProc
                | Fault::NotPermitted { .. }
                | Fault::NotCaught { .. }
                | Fault::NotStarted { .. }
                | Fault::HelperGone
        )
    }
}

impl HookError {
    /// The error as a person reads it.
    #[expect(clippy::too_many_lines, reason = "one text for each fault, and nothing else")]
    pub fn report(&self) -> Report {
        let what = format!("hook {} (`on_change[{}]`)", self.hook + 1, self.hook);
        let new = |reason, what: String, why: &str| Report::new(reason, what, why);
        match &self.fault {
            Fault::BadRequest => new(
                Reason::HookFailed,
                format!("{what} can't be used"),
                "its URL or a header is not valid",
            )
            .hint("correct `url`, `method` or `headers` of the hook"),
            Fault::NobodyListens { to } => new(
                Reason::NobodyToTell,
                format!("{what} told nobody"),
                &format!("nobody listens on {to}"),
            )
            .hint("nothing to do if the application starts later: it then reads the new files"),
            Fault::NoAnswer { to, within } => new(
                Reason::HookFailed,
                format!("{what} got no answer"),
                &format!("{to} did not answer within {}", seconds(*within)),
            )
            .hint("answer sooner, or raise `confirm.within`"),
            Fault::Broken { to } => new(
                Reason::HookFailed,
                format!("{what} got no answer"),
                &format!("the connection to {to} broke"),
            )
            .hint("look at the application's log for this moment"),
            Fault::Status { want, got } => {
                let want = want.map_or("2xx".to_owned(), |want| want.to_string());
                new(
                    Reason::Unconfirmed,
                    format!("{what} was not confirmed"),
                    &format!("the application answered {got} where {want} confirms"),
                )
                .hint("look at the application's log: it refused the new files or has another path")
            }
            Fault::NoProc => new(
                Reason::HookFailed,
                format!("{what} can't look for processes"),
                "`/proc` can't be read",
            )
            .hint("mount /proc in the container, or use an `http` hook"),
            Fault::NotPermitted { pid, uid } => new(
                Reason::SignalNotPermitted,
                format!("{what} may not signal process {pid}"),
                &format!("it runs as uid {uid}, and without CAP_KILL a signal needs the same uid"),
            )
            .hint("run Sidekey as that uid (weaker isolation), or use an `http` hook"),
            Fault::NotCaught { pid, signal, ignored } => new(
                Reason::SignalNotCaught,
                format!("{what} did not send signal {signal} to process {pid}"),
                if *ignored {
                    "the process ignores this signal, so nothing would happen"
                } else {
                    "the process does not catch this signal and would die of it"
                },
            )
            .hint("choose the signal that reloads this program, or set `even_if_fatal: true`"),
            Fault::NotStarted { program, code } => new(
                Reason::HookFailed,
                format!("{what} could not start `{program}`"),
                match code {
                    127 => "there is no such program",
                    _ => "it can't be executed",
                },
            )
            .hint("give the full path of an executable in Sidekey's container; there is no shell"),
            Fault::TooSlow { program, within } => new(
                Reason::HookFailed,
                format!("{what} ended `{program}`"),
                &format!("it did not finish within {}", seconds(*within)),
            )
            .hint("make it faster, or raise `confirm.within`"),
            Fault::Exit { program, want, got } => new(
                Reason::Unconfirmed,
                format!("{what} was not confirmed"),
                &format!("`{program}` ended with {got} where {want} confirms"),
            )
            .hint("run the command by hand in Sidekey's container to see what it says"),
            Fault::NoSign { file, within } => new(
                Reason::Unconfirmed,
                format!("{what} was not confirmed"),
                &format!(
                    "`{}` did not hold the generation within {}",
                    file.display(),
                    seconds(*within)
                ),
            )
            .hint("write the number from `Sidekey-Generation` to that file when it is in use"),
            Fault::NoSignDirectory { file } => new(
                Reason::HookFailed,
                format!("{what} can't be used"),
                &format!("the directory of `{}` can't be opened", file.display()),
            )
            .hint("mount the directory that both containers share before Sidekey starts"),
            Fault::HelperGone => new(
                Reason::HookFailed,
                format!("{what} could not be carried out"),
                "the helper process ended",
            )
            .hint(
                "restart the container; if it happens again, look for the reason in the node's log",
            ),
        }
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
        let faults = [
            (Fault::BadRequest, "not valid"),
            (Fault::NobodyListens { to: to() }, "nobody listens on http://127.0.0.1:8080/-/reload"),
            (Fault::NoAnswer { to: to(), within }, "within 10 s"),
            (Fault::Broken { to: to() }, "broke"),
            (Fault::Status { want: None, got: 500 }, "answered 500 where 2xx confirms"),
            (Fault::Status { want: Some(204), got: 200 }, "answered 200 where 204 confirms"),
            (Fault::NoProc, "/proc"),
            (Fault::NotPermitted { pid: 7, uid: 33 }, "uid 33"),
            (Fault::NotCaught { pid: 7, signal: 1, ignored: false }, "would die of it"),
            (Fault::NotCaught { pid: 7, signal: 1, ignored: true }, "ignores"),
            (Fault::NotStarted { program: "/bin/x".into(), code: 127 }, "no such program"),
            (Fault::NotStarted { program: "/bin/x".into(), code: 126 }, "can't be executed"),
            (Fault::TooSlow { program: "/bin/x".into(), within }, "within 10 s"),
            (Fault::Exit { program: "/bin/x".into(), want: 0, got: 3 }, "ended with 3 where 0"),
            (Fault::NoSign { file: "/run/app/gen".into(), within }, "`/run/app/gen`"),
            (Fault::NoSignDirectory { file: "/run/app/gen".into() }, "`/run/app/gen`"),
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
