//! What makes the process hard to rob: guarded memory, directory handles taken before the process
//! locks itself in, and the moment of locking in itself.
//!
//! Shared by every product of this package, and knows nothing of any of them. All `unsafe` of the
//! package is here.

pub mod allocator;
pub mod arena;
pub mod door;
pub mod fork;
pub mod jail;
mod pages;
pub mod process;
pub mod signal;
mod wipe;

/// Proof that the process has locked itself in. What may only happen afterwards (talking to a
/// store, rendering, publishing) asks for one.
#[derive(Debug)]
pub struct LockedIn(());

/// Locks the process in. To be done before, on one thread:
///
/// 1. [`process::harden`];
/// 2. the helper that runs hooks is forked (it must not inherit handles, locks or secrets);
/// 3. volumes, state and input files are opened as directory handles;
/// 4. health and metrics addresses are bound;
/// 5. the addresses of stores and hooks are known from the config.
///
/// Afterwards the agent opens files only beneath those handles and connects only to those
/// addresses. Nothing here enforces that yet: the rule holds by construction, because every stage
/// gets its handles from before.
pub fn locked_in() -> LockedIn {
    LockedIn(())
}
