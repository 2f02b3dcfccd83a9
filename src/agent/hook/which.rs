//! Which hooks are concerned by a rotation, and what the helper must know of them. Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::agent::config::{HookConfig, HookKind, Otherwise, ProcessMatch, Trigger};
use crate::secret::{FilePath, GroupName};

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
    hooks.iter().any(|hook| matches!(hook.kind, HookKind::Command { .. }))
        || !executables(hooks).is_empty()
}

/// The executables by which a process is meant.
pub(super) fn executables(hooks: &[HookConfig]) -> Vec<PathBuf> {
    let exe = |target: &ProcessMatch| match target {
        ProcessMatch::Exe(path) => Some(path.clone()),
        _ => None,
    };
    let paths: BTreeSet<PathBuf> = hooks.iter().flat_map(targets).filter_map(exe).collect();
    paths.into_iter().collect()
}

/// The processes that a hook may signal or end.
pub(super) fn targets(hook: &HookConfig) -> Vec<&ProcessMatch> {
    let signalled = match &hook.kind {
        HookKind::Signal { to, .. } => Some(to),
        HookKind::Http { .. } | HookKind::Command { .. } => None,
    };
    let restarted = match hook.confirm.as_ref().map(|confirm| &confirm.otherwise) {
        Some(Otherwise::Restart(target)) => Some(target),
        _ => None,
    };
    signalled.into_iter().chain(restarted).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::config::{Confirm, ConfirmBy};

    fn hook(when: &[&str], kind: HookKind) -> HookConfig {
        let when = when.iter().map(|name| match GroupName::parse(name) {
            Ok(group) if !name.contains('.') => Trigger::Group(group),
            _ => Trigger::File(FilePath::parse(name).unwrap()),
        });
        HookConfig { kind, when: when.collect(), confirm: None }
    }

    fn command(program: &str) -> HookKind {
        HookKind::Command { argv: vec![program.into()] }
    }

    fn signal(to: ProcessMatch) -> HookKind {
        HookKind::Signal { send: 1, to, even_if_fatal: false }
    }

    #[test]
    fn a_hook_is_concerned_by_its_files_its_groups_or_anything() {
        let hooks = [&[][..], &["a.txt"], &["edge"], &["b.txt", "edge"]];
        let hooks = hooks.map(|when| hook(when, command("/bin/true")));
        let hooks: Vec<&HookConfig> = hooks.iter().collect();
        let files = |names: &[&str]| names.iter().map(|n| FilePath::parse(n).unwrap()).collect();
        let groups = |names: &[&str]| names.iter().map(|n| GroupName::parse(n).unwrap()).collect();
        assert_eq!(concerned(&hooks, &files(&["a.txt"]), &groups(&[])), [0, 1]);
        assert_eq!(concerned(&hooks, &files(&["c.txt"]), &groups(&["edge"])), [0, 2, 3]);
        assert_eq!(concerned(&hooks, &files(&[]), &groups(&[])), [0_usize; 0]);
    }

    #[test]
    fn the_helper_knows_commands_by_place_and_executables_once() {
        let exe = || ProcessMatch::Exe("/app".into());
        let mut restarts = hook(&[], command("/b"));
        restarts.confirm = Some(Confirm {
            by: ConfirmBy::Exit(0),
            within: Duration::from_secs(1),
            retries: 0,
            otherwise: Otherwise::Restart(exe()),
        });
        let hooks = [hook(&[], command("/a")), hook(&[], signal(exe())), restarts];
        let (known, places) = commands(&hooks);
        assert_eq!(
            (known, places),
            (vec![vec!["/a".to_owned()], vec!["/b".into()]], vec![0, 1, 1])
        );
        assert_eq!(executables(&hooks), [PathBuf::from("/app")]);
    }

    #[test]
    fn without_a_command_or_an_executable_there_is_no_helper() {
        let named = hook(&[], signal(ProcessMatch::Name("nginx".into())));
        assert!(!need_helper(&[named]));
        assert!(need_helper(&[hook(&[], signal(ProcessMatch::Exe("/app".into())))]));
        assert!(need_helper(&[hook(&[], command("/a"))]));
    }
}
