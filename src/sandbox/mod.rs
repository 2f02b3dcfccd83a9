//! What makes the process hard to rob: guarded memory, directory handles taken before the process
//! locks itself in, and the moment of locking in itself.
//!
//! Shared by every product of this package, and knows nothing of any of them.

pub mod arena;
pub mod door;
pub mod fork;
