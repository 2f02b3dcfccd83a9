//! `on_change:`: who is told, and what shows that they took it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::decode::At;
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::{
    Confirm, ConfirmBy, GroupConfig, HookConfig, HookKind, HttpTarget, Otherwise, ProcessMatch,
    SecretConfig, Trigger, VolumeConfig,
};
use super::super::raw::{RawConfirm, RawHook, RawHttp, RawMatch, RawSignal};
use super::super::units::SIGNALS;
use super::places::overlap;
use super::{Context, choice};
use crate::secret::{FilePath, GroupName, SecretName, VolumeName};

const WITHIN: Duration = Duration::from_secs(10);
const RETRIES: u32 = 3;
/// More tries than this are a loop, not a hope.
const MOST_RETRIES: u32 = 100;

impl Context<'_> {
    pub(super) fn hooks(
        &mut self,
        raw: Vec<At<RawHook>>,
        groups: &[GroupConfig],
        secrets: &BTreeMap<SecretName, At<SecretConfig>>,
        volumes: &BTreeMap<VolumeName, VolumeConfig>,
    ) -> Vec<HookConfig> {
        let hooks = raw.into_iter().filter_map(|hook| {
            let when = self.triggers(&hook.value, groups);
            let kind = self.kind(&hook)?;
            let confirm = match &hook.value.confirm {
                Some(confirm) => Some(self.confirm(confirm, &kind, volumes)?),
                None => None,
            };
            let config = HookConfig { kind, when, confirm };
            self.roll_back_can_work(&config, &hook.span, groups, secrets);
            Some(config)
        });
        hooks.collect()
    }

    fn triggers(&mut self, raw: &RawHook, groups: &[GroupConfig]) -> Vec<Trigger> {
        let mut triggers = Vec::new();
        for when in raw.when.iter().flat_map(|when| &when.value) {
            let file = FilePath::parse(&when.value).ok();
            let file = file.filter(|file| groups.iter().any(|group| group.files.contains(file)));
            let group = GroupName::parse(&when.value).ok();
            let group = group.filter(|name| groups.iter().any(|g| g.given.as_ref() == Some(name)));
            match (file, group) {
                (Some(file), _) => triggers.push(Trigger::File(file)),
                (None, Some(group)) => triggers.push(Trigger::Group(group)),
                (None, None) => {
                    let files =
                        groups.iter().flat_map(|group| group.files.iter().map(FilePath::as_str));
                    let given = groups.iter().filter_map(|group| group.given.as_ref());
                    let known: Vec<&str> = files.chain(given.map(GroupName::as_str)).collect();
                    self.mistakes.push(Mistake::new(
                        &when.span,
                        format!("there is no file or group `{}`", when.value.escape_debug()),
                        "`when` names files, or groups that a file names with `group:`",
                        suggest(&when.value, &known),
                    ));
                }
            }
        }
        triggers
    }

    fn kind(&mut self, hook: &At<RawHook>) -> Option<HookKind> {
        let raw = &hook.value;
        match (&raw.http, &raw.signal, &raw.command) {
            (Some(http), None, None) => self.http(http),
            (None, Some(signal), None) => self.signal(signal),
            (None, None, Some(command)) => {
                let argv: Vec<String> = command.value.iter().map(|arg| arg.value.clone()).collect();
                if argv.first().is_none_or(|program| !program.starts_with('/')) {
                    self.mistakes.push(Mistake::new(
                        &command.span,
                        "the command does not begin with the path of a program",
                        "there is no shell that would look for it",
                        "write `[\"/bin/reload\", \"argument\"]`",
                    ));
                    return None;
                }
                Some(HookKind::Command { argv })
            }
            _ => {
                self.mistakes.push(Mistake::new(
                    &hook.span,
                    "a hook is one of `http`, `signal` and `command`",
                    "this one is none of them, or more than one",
                    "write one hook for each, every one with a `-` in front",
                ));
                None
            }
        }
    }

    fn http(&mut self, http: &At<RawHttp>) -> Option<HookKind> {
        let raw = &http.value;
        let to = match (&raw.url, &raw.unix) {
            (Some(url), None) => {
                let host = url
                    .value
                    .strip_prefix("http://")
                    .or_else(|| url.value.strip_prefix("https://"));
                if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
                    self.mistakes.push(Mistake::new(
                        &url.span,
                        format!("`{}` is not a URL", url.value.escape_debug()),
                        "it begins with `http://` or `https://` and a host",
                        "write for example http://127.0.0.1:8080/-/reload",
                    ));
                    return None;
                }
                HttpTarget::Url(url.value.clone())
            }
            (None, Some(unix)) => {
                let path = raw.path.as_ref().map_or("/", |path| path.value.as_str());
                HttpTarget::Unix { socket: self.absolute(unix)?, path: path.to_owned() }
            }
            _ => {
                self.mistakes.push(Mistake::new(
                    &http.span,
                    "an HTTP hook has one of `url` and `unix`",
                    "this one has none, or both",
                    "write `url: http://…`, or `unix: /run/app.sock` and `path: /reload`",
                ));
                return None;
            }
        };
        let method = raw.method.as_ref().map_or("POST", |method| method.value.as_str());
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
            let span = raw.method.as_ref().map_or(&http.span, |method| &method.span);
            self.mistakes.push(choice(span, "method", method, &["POST", "PUT", "GET"]));
        }
        let headers = raw.headers.iter().flat_map(|headers| &headers.value);
        let headers = headers.map(|(name, value)| (name.value.clone(), value.value.clone()));
        Some(HookKind::Http { to, method: method.to_owned(), headers: headers.collect() })
    }

    fn signal(&mut self, signal: &At<RawSignal>) -> Option<HookKind> {
        let raw = &signal.value;
        let send = match &raw.send {
            None => {
                self.mistakes.push(Mistake::new(
                    &signal.span,
                    "the signal hook has no `send`",
                    "nothing says which signal",
                    "add `send: SIGHUP`",
                ));
                None
            }
            Some(send) => {
                let wanted = send.value.to_ascii_uppercase();
                let found = SIGNALS.iter().find(|(name, _)| {
                    *name == wanted || name.strip_prefix("SIG") == Some(wanted.as_str())
                });
                if found.is_none() {
                    let known = SIGNALS.map(|(name, _)| name);
                    self.mistakes.push(choice(&send.span, "send", &send.value, &known));
                }
                found.map(|(_, number)| *number)
            }
        };
        let to = match &raw.to {
            Some(to) => self.process(to),
            None => {
                self.mistakes.push(Mistake::new(
                    &signal.span,
                    "the signal hook has no `to`",
                    "nothing says which process",
                    "add `to: { name: nginx }`",
                ));
                None
            }
        };
        let even_if_fatal = raw.even_if_fatal.as_ref().is_some_and(|even| even.value);
        Some(HookKind::Signal { send: send?, to: to?, even_if_fatal })
    }

    fn process(&mut self, process: &At<RawMatch>) -> Option<ProcessMatch> {
        let raw = &process.value;
        match (&raw.name, &raw.exe, &raw.cmdline, &raw.pid_file) {
            (Some(name), None, None, None) if !name.value.is_empty() => {
                Some(ProcessMatch::Name(name.value.clone()))
            }
            (None, Some(exe), None, None) => self.absolute(exe).map(ProcessMatch::Exe),
            (None, None, Some(cmdline), None) if !cmdline.value.is_empty() => {
                Some(ProcessMatch::Cmdline(cmdline.value.clone()))
            }
            (None, None, None, Some(file)) => self.absolute(file).map(ProcessMatch::PidFile),
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

    fn confirm(
        &mut self,
        confirm: &At<RawConfirm>,
        kind: &HookKind,
        volumes: &BTreeMap<VolumeName, VolumeConfig>,
    ) -> Option<Confirm> {
        let by = self.confirm_by(confirm, kind, volumes);
        let raw = &confirm.value;
        let retries = raw.retries.as_ref().map_or(RETRIES, |retries| retries.value);
        if let Some(given) = raw.retries.as_ref().filter(|given| given.value > MOST_RETRIES) {
            self.mistakes.push(Mistake::new(
                &given.span,
                "too many retries",
                format!("more than {MOST_RETRIES} are a loop, not a hope"),
                "write 3 or 10, and give `within` the time that the application needs",
            ));
        }
        let otherwise = self.otherwise(confirm, kind);
        Some(Confirm {
            by: by?,
            within: raw.within.as_ref().map_or(WITHIN, |within| within.value.0),
            retries,
            otherwise: otherwise?,
        })
    }

    fn confirm_by(
        &mut self,
        confirm: &At<RawConfirm>,
        kind: &HookKind,
        volumes: &BTreeMap<VolumeName, VolumeConfig>,
    ) -> Option<ConfirmBy> {
        let raw = &confirm.value;
        match (&raw.status, &raw.exit, &raw.file) {
            (Some(status), None, None) => {
                if !matches!(kind, HookKind::Http { .. }) {
                    self.misfit(&status.span, "status", "an HTTP hook");
                    return None;
                }
                let code =
                    u16::try_from(status.value).ok().filter(|code| (100..600).contains(code));
                if code.is_none() {
                    self.mistakes.push(Mistake::new(
                        &status.span,
                        format!("{} is not an HTTP status", status.value),
                        "a status is a number from 100 to 599",
                        "write `status: 200`",
                    ));
                }
                code.map(ConfirmBy::Status)
            }
            (None, Some(exit), None) => {
                if !matches!(kind, HookKind::Command { .. }) {
                    self.misfit(&exit.span, "exit", "a command");
                    return None;
                }
                i32::try_from(exit.value).ok().map(ConfirmBy::Exit)
            }
            (None, None, Some(file)) => {
                let path = self.absolute(file)?;
                if volumes.values().any(|volume| overlap(&volume.path, &path)) {
                    self.mistakes.push(Mistake::new(
                        &file.span,
                        "the file that confirms stands on a volume of ours",
                        "the application can't write there",
                        "use a directory that both containers share, for example an emptyDir",
                    ));
                }
                Some(ConfirmBy::File(path))
            }
            _ => {
                self.mistakes.push(Mistake::new(
                    &confirm.span,
                    "a confirmation is one of `status`, `exit` and `file`",
                    "this names none of them, or more than one",
                    "write `status: 200`, `exit: 0` or `file: PATH`",
                ));
                None
            }
        }
    }

    fn misfit(&mut self, span: &Span, key: &str, of: &str) {
        self.mistakes.push(Mistake::new(
            span,
            format!("`{key}` does not fit this hook"),
            format!("it is the answer of {of}"),
            "use the sign that this kind of hook gives, or `file: PATH`",
        ));
    }

    fn otherwise(&mut self, confirm: &At<RawConfirm>, kind: &HookKind) -> Option<Otherwise> {
        let raw = &confirm.value;
        let Some(otherwise) = &raw.otherwise else { return Some(Otherwise::Report) };
        match otherwise.value.as_str() {
            "report" => Some(Otherwise::Report),
            "roll_back" => Some(Otherwise::RollBack),
            "restart" => match (&raw.target, kind) {
                (Some(target), _) => self.process(target).map(Otherwise::Restart),
                (None, HookKind::Signal { to, .. }) => Some(Otherwise::Restart(to.clone())),
                (None, _) => {
                    self.mistakes.push(Mistake::not_yet(
                        &otherwise.span,
                        "`restart` without a `target` is not there yet",
                        "name the process: `target: { name: app }`",
                    ));
                    None
                }
            },
            other => {
                let known = ["report", "roll_back", "restart"];
                self.mistakes.push(choice(&otherwise.span, "otherwise", other, &known));
                None
            }
        }
    }

    /// A roll-back needs old values that are still good: not those whose lease ended.
    fn roll_back_can_work(
        &mut self,
        hook: &HookConfig,
        span: &Span,
        groups: &[GroupConfig],
        secrets: &BTreeMap<SecretName, At<SecretConfig>>,
    ) {
        let rolls_back = matches!(&hook.confirm, Some(c) if c.otherwise == Otherwise::RollBack);
        if !rolls_back {
            return;
        }
        let concerned = groups.iter().filter(|group| {
            hook.when.is_empty()
                || hook.when.iter().any(|trigger| match trigger {
                    Trigger::File(file) => group.files.contains(file),
                    Trigger::Group(name) => group.given.as_ref() == Some(name),
                })
        });
        for name in concerned.flat_map(|group| &group.secrets) {
            if secrets.get(name).is_some_and(|secret| secret.value.leased) {
                self.mistakes.push(Mistake::new(
                    span,
                    format!("`roll_back` can't work for the secret `{name}`"),
                    "it has a lease: once that ends, the old value is no longer good",
                    "write `otherwise: report` or `restart`, or narrow the hook with `when`",
                ));
            }
        }
    }
}
