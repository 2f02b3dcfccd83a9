//! Sidekey puts secrets into pods at run time, keeps them fresh, and tells the application.
//!
//! ```text
//! config → identity → store → render → volume → hook
//!                       ↑________ rotate ________|
//! ```
//!
//! A secret travels left to right, and only [`agent::pipeline`] sees the whole road. Deciding is
//! apart from doing: pure functions decide (*when next*, *which steps*), short ones do it, and time
//! and chance are arguments.
//!
//! # What always holds
//!
//! - A volume shows exactly one complete generation, whatever is killed or full at any moment.
//! - A secret's bytes live in [`secret::SecretBytes`], which cannot be printed, compared in variable
//!   time, cloned or serialized. They leave it through `expose`, in few places, which
//!   `tests/architecture.rs` counts.
//! - Errors have no room for a payload: their fields are names, positions and numbers.
//! - Everything that binds, forks or opens a directory happens before [`sandbox::LockedIn`] exists.
//!
//! # What is deliberately absent
//!
//! A shell, a plug-in mechanism, templates with I/O, a way to switch off TLS verification, and
//! writing in place.
//!
//! # Reading order
//!
//! 1. [`secret`]: the vocabulary, defined by what it lacks.
//! 2. [`sandbox`]: memory that is hard to rob, directory handles, the moment of locking in.
//! 3. `agent`: the stages of the path in their order, then the pipeline that joins them.
//! 4. `kube`: a pod in, the edits that give it Sidekey out.
//! 5. `scan`: the scanner of images, which knows nothing of the agent.

pub mod sandbox;
#[cfg(any(feature = "agent", feature = "scan"))]
pub mod secret;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "kube")]
pub mod kube;
#[cfg(feature = "scan")]
pub mod scan;
