//! Which process is meant, and by which signal it is told.

use super::super::decode::At;
use super::super::mistake::Mistake;
use super::super::model::{HookKind, ProcessMatch};
use super::super::raw::{RawMatch, RawSignal};
use super::super::units::SIGNALS;
use super::{Context, choice};

/// The kernel keeps this much of a process's name (`TASK_COMM_LEN` less its NUL).
const LONGEST_NAME: usize = 15;

impl Context<'_> {
    pub(super) fn signal(&mut self, signal: &At<RawSignal>) -> Option<HookKind> {
        let raw = &signal.value;
        for (key, given, why, hint) in [
            ("send", raw.send.is_some(), "nothing says which signal", "add `send: SIGHUP`"),
            ("to", raw.to.is_some(), "nothing says which process", "add `to: { name: nginx }`"),
        ] {
            if !given && !raw.wrong.contains(&key) {
                let what = format!("the signal hook has no `{key}`");
                self.mistakes.push(Mistake::new(&signal.span, what, why, hint));
            }
        }
        let send = raw.send.as_ref().and_then(|send| self.signal_number(send));
        let to = raw.to.as_ref().and_then(|to| self.process(to));
        let even_if_fatal = raw.even_if_fatal.as_ref().is_some_and(|even| even.value);
        Some(HookKind::Signal { send: send?, to: to?, even_if_fatal })
    }

    fn signal_number(&mut self, send: &At<String>) -> Option<i32> {
        let wanted = send.value.to_ascii_uppercase();
        let found = SIGNALS
            .iter()
            .find(|(name, _)| *name == wanted || name.strip_prefix("SIG") == Some(wanted.as_str()));
        if let Some((name, _)) = found.filter(|(name, _)| *name == "SIGKILL") {
            self.mistakes.push(Mistake::new(
                &send.span,
                format!("`{name}` tells nobody anything"),
                "a process can't catch it, so it would never reload",
                "send SIGHUP; `confirm: { …, otherwise: restart }` ends what does not answer",
            ));
            return None;
        }
        if found.is_none() {
            let known: Vec<&str> =
                SIGNALS.iter().map(|(name, _)| *name).filter(|name| *name != "SIGKILL").collect();
            self.mistakes.push(choice("send", send, &known));
        }
        found.map(|(_, number)| *number)
    }

    pub(super) fn process(&mut self, process: &At<RawMatch>) -> Option<ProcessMatch> {
        let raw = &process.value;
        let empty = |text: &At<String>| text.value.is_empty();
        match (&raw.name, &raw.exe, &raw.cmdline, &raw.pid_file) {
            (Some(name), None, None, None) if name.value.len() > LONGEST_NAME => {
                let kept = name.value.char_indices().map(|(at, c)| at + c.len_utf8());
                let kept = kept.take_while(|end| *end <= LONGEST_NAME).last().unwrap_or(0);
                let kept = name.value.get(..kept).filter(|_| name.shown == name.value);
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("no process is called `{}`", name.shown),
                    format!("the kernel keeps the first {LONGEST_NAME} bytes of a name"),
                    match kept {
                        Some(kept) => format!("write `name: {kept}`, or use `exe` or `cmdline`"),
                        None => "write what `ps -o comm` shows, or use `exe`".to_owned(),
                    },
                ));
                None
            }
            (Some(name), None, None, None) if !empty(name) => {
                Some(ProcessMatch::Name(name.value.clone()))
            }
            (None, Some(exe), None, None) => self.absolute(exe).map(ProcessMatch::Exe),
            (None, None, Some(cmdline), None) if !empty(cmdline) => {
                Some(ProcessMatch::Cmdline(cmdline.value.clone()))
            }
            (None, None, None, Some(file)) => self.absolute(file).map(ProcessMatch::PidFile),
            (None, None, None, None) if !raw.wrong.is_empty() => None,
            _ => {
                self.mistakes.push(Mistake::new(
                    &process.span,
                    "a process is meant by one of `name`, `exe`, `cmdline` and `pid_file`",
                    "this names none of them, or more than one",
                    "write for example `{ name: nginx }`",
                ));
                None
            }
        }
    }
}
