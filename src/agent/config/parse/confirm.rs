//! `confirm:`: what shows that the application took a generation, and what follows if nothing does.

use std::path::PathBuf;
use std::time::Duration;

use super::super::decode::At;
use super::super::mistake::{Mistake, Span};
use super::super::model::{Confirm, ConfirmBy, HookKind, Otherwise};
use super::super::raw::RawConfirm;
use super::{Context, choice};

const WITHIN: Duration = Duration::from_secs(10);
const RETRIES: u32 = 3;
/// More tries than this are a loop, not a hope.
const MOST_RETRIES: u32 = 100;

impl Context<'_> {
    /// `kind` is nothing where a mistake in the hook itself was noted.
    pub(super) fn confirm(
        &mut self,
        confirm: &At<RawConfirm>,
        kind: Option<&HookKind>,
        private: &[PathBuf],
    ) -> Option<Confirm> {
        let by = self.confirm_by(confirm, kind, private);
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
        if let Some(within) = &raw.within {
            self.not_zero("within", within);
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
        kind: Option<&HookKind>,
        private: &[PathBuf],
    ) -> Option<ConfirmBy> {
        let raw = &confirm.value;
        match (&raw.status, &raw.exit, &raw.file) {
            (Some(status), None, None) => {
                if kind.is_some_and(|kind| !matches!(kind, HookKind::Http { .. })) {
                    self.misfit(&status.span, "status", "an HTTP hook");
                    return None;
                }
                let code = u16::try_from(status.value).ok();
                let code = code.filter(|code| (100..600).contains(code));
                if code.is_none() {
                    self.mistakes.push(Mistake::new(
                        &status.span,
                        format!("`{}` is not an HTTP status", status.shown),
                        "a status is a number from 100 to 599",
                        "write `status: 200`",
                    ));
                }
                code.map(ConfirmBy::Status)
            }
            (None, Some(exit), None) => {
                if kind.is_some_and(|kind| !matches!(kind, HookKind::Command { .. })) {
                    self.misfit(&exit.span, "exit", "a command");
                    return None;
                }
                let code = u8::try_from(exit.value).ok();
                if code.is_none() {
                    self.mistakes.push(Mistake::new(
                        &exit.span,
                        format!("`{}` is not an exit code", exit.shown),
                        "a code is a number from 0 to 255",
                        "write `exit: 0`",
                    ));
                }
                code.map(|code| ConfirmBy::Exit(code.into()))
            }
            (None, None, Some(file)) => {
                let path = self.absolute(file)?;
                if private.iter().any(|ours| path.starts_with(ours)) {
                    self.mistakes.push(Mistake::new(
                        &file.span,
                        "the file that confirms stands on a volume of ours",
                        "the application can't write there",
                        "use a directory that both containers share, for example an emptyDir",
                    ));
                }
                Some(ConfirmBy::File(path))
            }
            (None, None, None) if !raw.wrong.is_empty() => None,
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

    fn otherwise(
        &mut self,
        confirm: &At<RawConfirm>,
        kind: Option<&HookKind>,
    ) -> Option<Otherwise> {
        let raw = &confirm.value;
        let target = raw.target.as_ref().map(|target| self.process(target));
        let word = raw.otherwise.as_ref().map_or("report", |otherwise| otherwise.value.as_str());
        if let (Some(target), true) = (&raw.target, word != "restart") {
            self.mistakes.push(Mistake::new(
                &target.span,
                "`target` has no meaning here",
                "it says which process `otherwise: restart` ends",
                "remove it, or write `otherwise: restart`",
            ));
        }
        match (word, target, kind) {
            ("report", ..) => Some(Otherwise::Report),
            ("roll_back", ..) => Some(Otherwise::RollBack),
            ("restart", Some(target), _) => target.map(Otherwise::Restart),
            ("restart", None, Some(HookKind::Signal { to, .. })) => {
                Some(Otherwise::Restart(to.clone()))
            }
            ("restart", None, None) => None,
            ("restart", None, Some(_)) => {
                let span = raw.otherwise.as_ref().map_or(&confirm.span, |word| &word.span);
                self.mistakes.push(Mistake::not_yet(
                    span,
                    "`restart` without a `target` is not there yet",
                    "name the process: `target: { name: app }`",
                ));
                None
            }
            _ => {
                let known = ["report", "roll_back", "restart"];
                self.mistakes
                    .extend(raw.otherwise.as_ref().map(|w| choice("otherwise", w, &known)));
                None
            }
        }
    }
}
