//! The command line: arguments to a run, a run to reports and an exit code.

mod args;
mod base;
mod config;
mod error;
mod explain;
mod glob;
mod known;
mod open;
mod progress;
mod rules;
mod run;
mod setup;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

pub use args::{Arguments, Command, Scan};
pub use error::Failure;

/// Usage or failure.
const FAILED: u8 = 2;

/// Does what the arguments say.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no mistakes.
            let code = if error.use_stderr() { FAILED } else { 0 };
            return match error.print() {
                Ok(()) => code.into(),
                Err(_) => FAILED.into(),
            };
        }
    };
    let terminal = out.is_terminal();
    let done = match arguments.command {
        Some(Command::Explain(args)) => explain::run(&args, &mut out),
        Some(Command::Rules(command)) => rules::run(&command, &mut out),
        Some(Command::Scan(args)) => run::scan(&args, terminal, &mut out, &mut err),
        None => run::scan(&arguments.scan, terminal, &mut out, &mut err),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            let _ = writeln!(err, "{failure}");
            FAILED.into()
        }
    }
}
