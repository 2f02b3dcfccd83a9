//! The scanner's command line: harden the process, then do what the arguments say.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: until here a neighbour of the same uid could look in.
    let _ = sidekey::sandbox::process::harden();
    sidekey::scan::cli::run(std::env::args_os())
}
