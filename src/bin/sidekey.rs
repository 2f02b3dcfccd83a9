//! The agent's command line: harden the process, then do what the arguments say.

use std::process::ExitCode;

use sidekey::sandbox::allocator::ZeroOnFree;

/// Wipes every block when it is freed, also the copies that libraries make.
#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    // Before anything else: until here a neighbour of the same uid could look in.
    let hardened = sidekey::sandbox::process::harden();
    sidekey::agent::cli::run(std::env::args_os(), &hardened)
}
