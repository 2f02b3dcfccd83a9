//! Shell completions and man pages of both programs, from the definitions that parse their arguments.
//!
//! `make manual` writes them to `target/manual`. They are no part of the programs: what writes them is
//! larger than some of the commands it describes.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// The shells that completions are written for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Both programs.
fn programs() -> [Command; 2] {
    [sidekey::agent::cli::Cli::command(), sidekey::scan::cli::Arguments::command()]
}

/// Writes `completions/` and `man/man1/` beneath `dir`.
pub fn write(dir: &Path) -> io::Result<()> {
    let (completions, man) = (dir.join("completions"), dir.join("man/man1"));
    std::fs::create_dir_all(&completions)?;
    std::fs::create_dir_all(&man)?;
    for program in programs() {
        let name = program.get_name().to_owned();
        for shell in SHELLS {
            clap_complete::generate_to(shell, &mut program.clone(), &name, &completions)?;
        }
        clap_mangen::generate_to(program, &man)?;
    }
    Ok(())
}

/// Writes to the directory that is named, or to `target/manual`.
#[allow(dead_code, reason = "a test has this file as a module")]
fn main() -> ExitCode {
    let dir = std::env::args_os().nth(1).unwrap_or_else(|| "target/manual".into());
    match write(Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
