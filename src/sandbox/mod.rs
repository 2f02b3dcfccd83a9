//! What makes the process hard to rob: guarded memory, directory handles taken before the process
//! locks itself in, and the moment of locking in itself.
//!
//! Shared by every product of this package, and knows nothing of any of them. All `unsafe` of the
//! package is here.

pub mod allocator;
pub mod arena;
mod commands;
mod confine;
pub mod door;
pub mod fork;
pub mod jail;
mod landlock;
mod pages;
pub mod process;
mod seccomp;
pub mod signal;
mod wipe;

pub use commands::limit_commands;
pub use confine::{Confinement, Deed, offered};
pub use landlock::Grants;

/// Proof that the process has locked itself in. What may only happen afterwards (talking to a
/// store, rendering, publishing) asks for one.
#[derive(Debug)]
pub struct LockedIn(Confinement);

impl LockedIn {
    /// How far.
    pub fn confinement(&self) -> &Confinement {
        &self.0
    }
}

/// Locks the process in. To be done before, on one thread:
///
/// 1. [`process::harden`];
/// 2. the helper that runs hooks is forked (it must not inherit handles, locks or secrets);
/// 3. volumes, state and input files are opened as directory handles;
/// 4. health and metrics addresses are bound;
/// 5. the addresses of stores and hooks are known from the config.
///
/// Afterwards the kernel lets the process open only what is beneath `grants`, and connect only to
/// the ports there. What the kernel lacks is left out, and [`LockedIn::confinement`] tells.
pub fn locked_in(grants: &Grants) -> LockedIn {
    LockedIn(confine::confine(grants))
}

/// The same moment for a process that is to start programs of others, or to become one: they would
/// inherit what confines us.
pub fn not_locked_in() -> LockedIn {
    LockedIn(Confinement::default())
}
