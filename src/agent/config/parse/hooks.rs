//! `on_change:`: who is told, and what shows that they took it.

use std::path::PathBuf;

use super::super::decode::{At, Named};
use super::super::mistake::{Mistake, Span, suggest};
use super::super::model::{GroupConfig, HookConfig, HookKind, Trigger};
use super::super::raw::{RawFile, RawHook};
use super::Context;
use crate::secret::{FilePath, GroupName};

impl Context<'_> {
    /// Each hook, and where it says what follows when nobody confirms. `private` are the
    /// directories that only we write to.
    pub(super) fn hooks(
        &mut self,
        raw: &[At<RawHook>],
        groups: &[GroupConfig],
        files: &Named<RawFile>,
        private: &[PathBuf],
    ) -> Vec<(HookConfig, Span)> {
        let hooks = raw.iter().filter_map(|hook| {
            let when = self.triggers(&hook.value, groups, files);
            let kind = self.kind(hook);
            let raw = hook.value.confirm.as_ref();
            let confirm = raw.map(|raw| self.confirm(raw, kind.as_ref(), private));
            let otherwise = raw.and_then(|raw| raw.value.otherwise.as_ref());
            let span = otherwise.map_or(&hook.span, |otherwise| &otherwise.span).clone();
            let confirm = match confirm {
                Some(confirm) => Some(confirm?),
                None => None,
            };
            Some((HookConfig { kind: kind?, when, confirm }, span))
        });
        hooks.collect()
    }

    fn triggers(
        &mut self,
        raw: &RawHook,
        groups: &[GroupConfig],
        files: &Named<RawFile>,
    ) -> Vec<Trigger> {
        let Some(when) = &raw.when else { return Vec::new() };
        if when.value.is_empty() {
            self.mistakes.push(Mistake::new(
                &when.span,
                "`when` names nothing",
                "this hook would never be called",
                "name files or groups, or remove `when`: then any change calls it",
            ));
        }
        when.value.iter().filter_map(|when| self.trigger(when, groups, files)).collect()
    }

    fn trigger(
        &mut self,
        when: &At<String>,
        groups: &[GroupConfig],
        files: &Named<RawFile>,
    ) -> Option<Trigger> {
        let is_file = files.names.contains(&when.value);
        let given = files.entries.iter().filter_map(|(_, file)| file.value.group.as_ref());
        let given: Vec<&str> = given.map(|group| group.value.as_str()).collect();
        let is_group = given.contains(&when.value.as_str());
        match (is_file, is_group) {
            (true, false) => {
                let file = FilePath::parse(&when.value).ok()?;
                groups
                    .iter()
                    .any(|group| group.files.contains(&file))
                    .then_some(Trigger::File(file))
            }
            (false, true) => GroupName::parse(&when.value).ok().map(Trigger::Group),
            (true, true) => {
                self.mistakes.push(Mistake::new(
                    &when.span,
                    format!("`{}` is a file and a group", when.shown),
                    "nothing says which of them is meant",
                    "rename the group",
                ));
                None
            }
            (false, false) => {
                let known: Vec<&str> = files.known().into_iter().chain(given).collect();
                self.mistakes.push(Mistake::new(
                    &when.span,
                    format!("there is no file or group `{}`", when.shown),
                    "`when` names files, or groups that a file names with `group:`",
                    suggest(&when.value, &known),
                ));
                None
            }
        }
    }

    fn kind(&mut self, hook: &At<RawHook>) -> Option<HookKind> {
        let raw = &hook.value;
        match (&raw.http, &raw.signal, &raw.command) {
            (Some(http), None, None) => self.http(http),
            (None, Some(signal), None) => self.signal(signal),
            (None, None, Some(command)) => self.command(command),
            (None, None, None) if !raw.wrong.is_empty() => None,
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

    fn command(&mut self, command: &At<Vec<At<String>>>) -> Option<HookKind> {
        let argv: Vec<String> = command.value.iter().map(|arg| arg.value.clone()).collect();
        let absolute = argv.first().is_some_and(|program| program.starts_with('/'));
        if !absolute || argv.iter().any(|arg| arg.contains('\0')) {
            self.mistakes.push(Mistake::new(
                command.value.first().map_or(&command.span, |program| &program.span),
                "the command does not begin with the path of a program",
                "there is no shell that would look for it",
                "write `[\"/bin/reload\", \"argument\"]`",
            ));
            return None;
        }
        Some(HookKind::Command { argv })
    }
}
