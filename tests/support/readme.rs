//! The commands that a page shows in its `console` blocks, and what it says they print.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a page that can't be read is a failed test"
)]
#![allow(clippy::disallowed_methods, reason = "the test types what the page shows")]

use std::path::Path;
use std::process::{Command, Stdio};

/// Stands for any text in a line, and alone in a line for any lines.
const ANYTHING: &str = "…";

/// A command of a page.
struct Shown {
    command: String,
    prints: Vec<String>,
}

/// The commands of a page that stand at the start of a block. What follows one is what it prints, also where that looks
/// like another command.
fn shown(page: &str) -> Vec<Shown> {
    let blocks = page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = |text: &str| {
        let mut lines = text.lines().map(str::to_owned);
        let command = lines.next().unwrap();
        let command = command.strip_prefix("$ ").expect("a block begins with a command").to_owned();
        Shown { command, prints: lines.collect() }
    };
    blocks.map(block).collect()
}

/// Runs every command of the page in the root of this repository, and compares what it prints.
#[track_caller]
pub(crate) fn is_true(page: &str, environment: &[(&str, String)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(page)).unwrap();
    let all = shown(&page);
    assert!(!all.is_empty(), "the page shows no command");
    for Shown { command, prints } in all {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).current_dir(root).stdin(Stdio::null());
        for name in ["BAO_ADDR", "BAO_TOKEN", "VAULT_ADDR", "VAULT_TOKEN", "SIDEKEY_CONFIG"] {
            shell.env_remove(name);
        }
        let output = shell.envs(environment.iter().map(|(name, value)| (name, value))).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {}\n{said}\n{errors}", output.status);
        let lines: Vec<_> = said.lines().collect();
        let wanted: Vec<_> = prints.iter().map(String::as_str).collect();
        assert!(matches(&wanted, &lines), "{command} printed\n{said}\nnot\n{}", prints.join("\n"));
    }
}

fn matches(wanted: &[&str], lines: &[&str]) -> bool {
    match (wanted.split_first(), lines.split_first()) {
        (None, first) => first.is_none(),
        (Some((&ANYTHING, rest)), first) => {
            matches(rest, lines) || first.is_some_and(|(_, others)| matches(wanted, others))
        }
        (Some((want, rest)), Some((line, others))) => fits(want, line) && matches(rest, others),
        (Some(_), None) => false,
    }
}

/// Whether a line is what the page shows, where `…` is any text.
fn fits(want: &str, line: &str) -> bool {
    let Some((start, rest)) = want.split_once(ANYTHING) else { return want == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.into_iter().any(|at| fits(rest, &line[at..]))
}

#[test]
fn what_a_page_shows_is_compared_line_by_line() {
    assert!(matches(&["a", "…", "b …"], &["a", "x", "y", "b 7"]));
    assert!(matches(&["…"], &[]) && fits("1 … 3", "1 2 3") && fits("…", ""));
    assert!(!matches(&["a"], &["a", "b"]) && !matches(&["a", "b"], &["a"]) && !fits("1 …", "2 3"));
}
