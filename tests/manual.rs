//! Shell completions and man pages: what the programs say of themselves, in the places where shells and
//! `man` look.

#![cfg(all(feature = "agent", feature = "local", feature = "scan"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs a shell")]

#[path = "../tools/manual.rs"]
mod manual;

use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;
use tempfile::TempDir;

fn written() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    manual::write(dir.path()).unwrap();
    let path = dir.path().to_owned();
    (dir, path)
}

/// What bash offers after `words`, of which the last one is still being typed.
fn offered(script: &str, program: &str, words: &[&str]) -> Vec<String> {
    let typed = words.last().unwrap();
    let before = words.len().checked_sub(2).map_or(program, |at| words[at]);
    let registered = std::fs::read_to_string(script).unwrap();
    let registered = registered.split("complete -F ").nth(1).unwrap();
    let function = registered.split_whitespace().next().unwrap();
    let words = words.join("' '");
    let count = words.split("' '").count();
    let text = format!(
        "source '{script}'; COMP_WORDS=('{program}' '{words}'); COMP_CWORD={count}; \
         {function} '{program}' '{typed}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &text]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let (_dir, path) = written();
    let script = |name: &str| path.join("completions").join(name).display().to_string();
    let agent = script("sidekey.bash");
    assert_eq!(offered(&agent, "sidekey", &["che"]), ["check"]);
    assert_eq!(offered(&agent, "sidekey", &["check", "--sch"]), ["--schema"]);
    assert_eq!(offered(&agent, "sidekey", &["check", "--output", "j"]), ["json"]);
    let all = offered(&agent, "sidekey", &[""]);
    for command in sidekey::agent::cli::Cli::command().get_subcommands() {
        assert!(
            all.iter().any(|word| word == command.get_name()),
            "{} {all:?}",
            command.get_name()
        );
    }
    let scanner = script("sidekey-scan.bash");
    assert!(offered(&scanner, "sidekey-scan", &["--form"]).contains(&"--format".to_owned()));
    for name in ["_sidekey", "sidekey.fish", "_sidekey-scan", "sidekey-scan.fish"] {
        assert!(std::fs::metadata(script(name)).unwrap().len() > 1000, "{name}");
    }
}

#[test]
fn each_command_has_a_man_page_with_its_options_and_examples() {
    let (_dir, path) = written();
    let page = |name: &str| {
        let text = std::fs::read_to_string(path.join("man/man1").join(format!("{name}.1")));
        text.unwrap_or_else(|error| panic!("{name}.1: {error}")).replace("\\-", "-")
    };
    for program in [sidekey::agent::cli::Cli::command(), sidekey::scan::cli::Arguments::command()] {
        let name = program.get_name().to_owned();
        assert!(page(&name).contains(".TH "), "{name}");
        for command in program.get_subcommands() {
            let text = page(&format!("{name}-{}", command.get_name()));
            for option in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(text.contains(&format!("--{option}")), "{}: {option}", command.get_name());
            }
        }
    }
    assert!(page("sidekey-exec").contains("sidekey exec -- ./server --port 8080"));
    assert!(page("sidekey").contains("$SIDEKEY_CONFIG_YAML"));
}

#[test]
fn the_version_names_what_is_built_in() {
    let version = sidekey::agent::cli::Cli::command().render_long_version();
    assert!(version.starts_with(concat!("sidekey ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
    assert_eq!(version.contains(" vault"), cfg!(feature = "vault"), "{version}");
    assert!(version.contains(" local"), "{version}");
}
